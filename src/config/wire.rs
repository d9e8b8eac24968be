//! What only one wire's listener has, and a listener's table of wire names.

use super::listener::ListenerConfig;
use super::raw::{Block, Item};
use crate::secret::{SecretPath, WireKind};

/// Every key that belongs to one wire.
pub(super) const KEYS: [&str; 5] = ["mounts", "passthrough", "account", "region", "projects"];

/// A mount of the vault wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted: segments, without a slash at either end.
    pub path: String,
    /// What is mounted there.
    pub kind: MountKind,
}

impl Default for Mount {
    /// The mount of a listener that names none: `secret`, KV version 2.
    fn default() -> Self {
        Self { path: "secret".to_owned(), kind: MountKind::Kv2 }
    }
}

/// What is mounted at a path of the vault wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// KV version 1.
    Kv1,
    /// KV version 2.
    Kv2,
    /// Anything else, served by passthrough.
    Logical,
}

/// A template of paths the vault wire passes on as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// The template.
    pub path: String,
    /// What may be passed on; never empty.
    pub operations: Vec<PassOperation>,
    /// The key path of the template.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// A kind of call that can be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOperation {
    /// `GET`.
    Read,
    /// `LIST`.
    List,
    /// Everything else.
    Write,
}

/// A project of the gcp wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project's id.
    pub id: String,
    /// The project's number, which answers carry in its place.
    pub number: u64,
}

/// A template pair of a listener's `paths`: wire name to secret path. The templates are not compiled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRule {
    /// The template of wire names.
    pub from: String,
    /// The template of secret paths.
    pub to: String,
    /// What joins segments into one.
    pub separator: Option<String>,
    /// Whether foreign characters are escaped.
    pub escape: bool,
    /// The key path of the pair.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

const OPERATIONS: [(&str, PassOperation); 3] =
    [("read", PassOperation::Read), ("list", PassOperation::List), ("write", PassOperation::Write)];

/// Reads the keys of the listener's own wire and refuses those of the others.
pub(super) fn compile(block: &mut Block<'_>, listener: &mut ListenerConfig) {
    let elsewhere = format!("is not a key of the {} wire", listener.wire.as_str());
    match listener.wire {
        WireKind::Scaivault | WireKind::Azure => block.out_of_place(&KEYS, &elsewhere),
        WireKind::Vault => {
            block.out_of_place(&["account", "region", "projects"], &elsewhere);
            if let Some(item) = block.optional("mounts") {
                listener.mounts = mounts(&item);
            }
            listener.passthrough = block.some("passthrough", passthrough);
        }
        WireKind::Aws => {
            block.out_of_place(&["mounts", "passthrough", "projects"], &elsewhere);
            listener.account = block.required("account").and_then(|item| item.parse(account));
            listener.region = block.required("region").and_then(|item| item.parse(region));
        }
        WireKind::Gcp => {
            block.out_of_place(&["mounts", "passthrough", "account", "region"], &elsewhere);
            listener.projects = block.required("projects").map(|item| projects(&item)).unwrap_or_default();
        }
    }
}

fn mounts(item: &Item<'_>) -> Vec<Mount> {
    let Some(entries) = item.entries() else { return Vec::new() };
    if entries.is_empty() {
        item.refuse("names no mount; remove the key for the default `secret: {kv: 2}`");
    }
    let mount = |(path, item): &(&str, Item<'_>)| {
        let path = mount_path(path, item);
        let kind = mount_kind(item);
        Some(Mount { path: path?, kind: kind? })
    };
    entries.iter().filter_map(mount).collect()
}

fn mount_path(path: &str, item: &Item<'_>) -> Option<String> {
    const RESERVED: [&str; 4] = ["sys", "auth", "identity", "cubbyhole"];
    match SecretPath::parse(path) {
        Ok(path) if path.segments().next().is_some_and(|first| RESERVED.contains(&first)) => {
            item.refuse("a mount cannot stand at sys, auth, identity or cubbyhole");
            None
        }
        Ok(path) => Some(path.as_str().to_owned()),
        Err(why) => {
            item.refuse(format!("a mount is named by segments: {why}"));
            None
        }
    }
}

fn mount_kind(item: &Item<'_>) -> Option<MountKind> {
    item.block(|block| {
        let kv = block.optional("kv");
        let logical = block.optional("logical");
        match (kv, logical) {
            (Some(kv), None) => match kv.count::<u64>()? {
                1 => Some(MountKind::Kv1),
                2 => Some(MountKind::Kv2),
                _ => {
                    kv.refuse("expected 1 or 2");
                    None
                }
            },
            (None, Some(logical)) => {
                let is_logical = logical.flag()?;
                if !is_logical {
                    logical.refuse("expected true; a mount is {kv: 1}, {kv: 2} or {logical: true}");
                }
                is_logical.then_some(MountKind::Logical)
            }
            _ => {
                item.refuse("a mount is exactly one of {kv: 1}, {kv: 2} and {logical: true}");
                None
            }
        }
    })
}

fn passthrough(item: &Item<'_>) -> Option<Passthrough> {
    item.block(|block| {
        let path = block.required("path").and_then(|item| item.string());
        let given = block.holds("operations");
        let operations = block.some("operations", |item| item.word(&OPERATIONS));
        if !given {
            block.scope().refuse(&block.key_of("operations"), Some(block.line()), "is required");
        }
        Some(Passthrough { path: path?, operations, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

fn projects(item: &Item<'_>) -> Vec<Project> {
    let Some(entries) = item.entries() else { return Vec::new() };
    if entries.is_empty() {
        item.refuse("names no project");
    }
    let project = |(id, item): &(&str, Item<'_>)| {
        let fits = (1..=63).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':'));
        if !fits {
            item.refuse("is not a project id");
        }
        Some(Project { id: (*id).to_owned(), number: item.count()? })
    };
    entries.iter().filter_map(project).collect()
}

/// Reads one of a listener's `paths`.
pub(super) fn path_rule(item: &Item<'_>) -> Option<PathRule> {
    item.block(|block| {
        let from = block.required("from").and_then(|item| item.string());
        let to = block.required("to").and_then(|item| item.string());
        let separator = block.string("separator");
        let escape = block.flag("escape", false);
        Some(PathRule { from: from?, to: to?, separator, escape, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

fn account(text: &str) -> Result<String, &'static str> {
    let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("expected an AWS account: 12 digits in quotes") }
}

/// An AWS region: lower-case letters, digits and dashes.
pub(super) fn region(text: &str) -> Result<String, &'static str> {
    let fits = (3..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(text.to_owned()) } else { Err("expected an AWS region such as eu-west-1") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, listening, refuses};

    fn refuses_listener(listener: &str, key: &str, part: &str) {
        refuses(&listening(&format!("- {{{listener}}}"), ""), &format!("listeners[0]{key}"), part);
    }

    #[test]
    fn mounts_keep_their_order_and_may_nest() {
        let text = listening("- {wire: vault, mounts: {kv: {kv: 2}, kv/old: {kv: 1}, database: {logical: true}}}", "");
        let mount = |path: &str, kind| Mount { path: path.to_owned(), kind };
        assert_eq!(
            accepted(&text).listeners[0].mounts,
            [mount("kv", MountKind::Kv2), mount("kv/old", MountKind::Kv1), mount("database", MountKind::Logical)]
        );
    }

    #[test]
    fn a_mount_is_exactly_one_thing_at_a_path_of_segments() {
        for (mounts, key, part) in [
            ("{}", ".mounts", "names no mount"),
            ("{a: {}}", ".mounts.a", "exactly one of"),
            ("{a: {kv: 1, logical: true}}", ".mounts.a", "exactly one of"),
            ("{a: {kv: 3}}", ".mounts.a.kv", "expected 1 or 2"),
            ("{a: {logical: false}}", ".mounts.a.logical", "expected true"),
            ("{a/: {kv: 1}}", ".mounts[\"a/\"]", "segment 1 is empty"),
            ("{sys: {kv: 1}}", ".mounts.sys", "cannot stand at sys"),
            ("{auth/x: {kv: 1}}", ".mounts[\"auth/x\"]", "cannot stand at sys"),
            ("[a]", ".mounts", "expected a mapping, found a list"),
        ] {
            refuses_listener(&format!("wire: vault, mounts: {mounts}"), key, part);
        }
    }

    #[test]
    fn passthrough_names_operations_of_the_closed_set() {
        let text = listening("- {wire: vault, passthrough: [{path: 'db/*', operations: [read, list, write]}]}", "");
        let rule = accepted(&text).listeners[0].passthrough.remove(0);
        assert_eq!(rule.operations, [PassOperation::Read, PassOperation::List, PassOperation::Write]);
        assert_eq!(rule.key, "listeners[0].passthrough[0]");
        for (rule, key, part) in [
            ("{path: x, operations: [sudo]}", "[0].operations[0]", "expected one of: read, list, write"),
            ("{path: x, operations: []}", "[0].operations", "is an empty list"),
            ("{path: x}", "[0].operations", "is required"),
            ("{operations: [read]}", "[0].path", "is required"),
        ] {
            refuses_listener(&format!("wire: vault, passthrough: [{rule}]"), &format!(".passthrough{key}"), part);
        }
    }

    #[test]
    fn keys_of_one_wire_are_refused_on_the_others() {
        refuses_listener("wire: vault, account: '123456789012'", ".account", "is not a key of the vault wire");
        refuses_listener("wire: scaivault, mounts: {a: {kv: 1}}", ".mounts", "is not a key of the scaivault wire");
        refuses_listener("wire: vault, projects: {p: 1}", ".projects", "is not a key of the vault wire");
    }

    #[test]
    fn the_aws_wire_has_an_account_and_a_region() {
        refuses_listener("wire: aws, region: eu-west-1", ".account", "is required");
        refuses_listener("wire: aws, account: '123456789012'", ".region", "is required");
        refuses_listener("wire: aws, region: eu-west-1, account: 123456789012", ".account", "put it in quotes");
        refuses_listener("wire: aws, region: eu-west-1, account: '12345'", ".account", "12 digits");
        refuses_listener("wire: aws, region: 'eu west', account: '123456789012'", ".region", "expected an AWS region");
    }

    #[test]
    fn the_gcp_wire_has_projects() {
        let text = listening("- {wire: gcp, h2c: true, projects: {my-project: 1234}}", "");
        assert_eq!(accepted(&text).listeners[0].projects, [Project { id: "my-project".to_owned(), number: 1234 }]);
        refuses_listener("wire: gcp, h2c: true", ".projects", "is required");
        refuses_listener("wire: gcp, h2c: true, projects: {}", ".projects", "names no project");
        refuses_listener("wire: gcp, h2c: true, projects: {a/b: 1}", ".projects[\"a/b\"]", "is not a project id");
    }
}
