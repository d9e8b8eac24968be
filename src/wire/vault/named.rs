//! Names as people write them in questions: `secret/app/db`, or the API path of a call, `/v1/secret/data/app/db`.

use super::decode::mount_of;
use crate::secret::Action;
use crate::wire::{ListenerFacts, MountKind, Named, PassOperation};

/// What follows a KV version 2 mount in API paths.
const AREAS: [&str; 6] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys"];

pub(super) fn named(text: &str, action: Action, facts: &ListenerFacts) -> Result<Named, &'static str> {
    let is_list = action == Action::List;
    let text = text.strip_prefix("/v1/").unwrap_or(text);
    let text = text.strip_suffix('/').filter(|_| is_list).unwrap_or(text);
    let names: Vec<&str> = text.split('/').collect();
    let (mount, rest) = mount_of(&names, facts).ok_or("mount")?;
    let is_passed = mount.kind == MountKind::Logical;
    if is_passed && !facts.passthrough.iter().any(|entry| entry.allows(&names, operation(action))) {
        return Err("passthrough");
    }
    let rest = match rest.split_first() {
        // a secret that is itself called so is asked about by its API path
        Some((area, name)) if mount.kind == MountKind::Kv2 && AREAS.contains(area) && (is_list || !name.is_empty()) => {
            name
        }
        _ => rest,
    };
    let parts: Vec<&str> = [mount.path.as_str()].into_iter().chain(rest.iter().copied()).collect();
    Ok(Named { name: parts.join("/"), is_passed })
}

const fn operation(action: Action) -> PassOperation {
    match action {
        Action::Read | Action::Describe => PassOperation::Read,
        Action::List => PassOperation::List,
        Action::Write | Action::Delete | Action::Destroy | Action::Administer => PassOperation::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cursors, Mount, Passthrough};

    fn facts() -> ListenerFacts {
        let mount = |path: &str, kind| Mount { path: path.to_owned(), kind };
        let path = ["db", "creds", "*"].map(str::to_owned).to_vec();
        ListenerFacts {
            aws: None,
            mounts: vec![
                mount("team/kv", MountKind::Kv2),
                mount("secret", MountKind::Kv2),
                mount("old", MountKind::Kv1),
                mount("db", MountKind::Logical),
            ],
            passthrough: vec![Passthrough { path, operations: vec![PassOperation::Read, PassOperation::Write] }],
            require_request_header: false,
            workload: false,
            max_versions: 10,
            value_bytes: 1024,
            hosts: Vec::new(),
            cursors: Cursors::new(&[0; 32]),
        }
    }

    #[test]
    fn names_and_api_paths_mean_the_same() {
        let facts = facts();
        for (text, action, expected) in [
            ("secret/app/db", Action::Read, "secret/app/db"),
            ("secret/data/app/db", Action::Read, "secret/app/db"),
            ("/v1/secret/data/app/db", Action::Read, "secret/app/db"),
            ("/v1/secret/metadata/app/db", Action::Describe, "secret/app/db"),
            ("/v1/secret/data/data/x", Action::Read, "secret/data/x"),
            ("secret/data", Action::Read, "secret/data"),
            ("secret/metadata", Action::List, "secret"),
            ("secret/metadata/app/", Action::List, "secret/app"),
            ("secret/app/", Action::Read, "secret/app/"),
            ("team/kv/data/x", Action::Write, "team/kv/x"),
            ("old/data/x", Action::Read, "old/data/x"),
        ] {
            let named = named(text, action, &facts).unwrap();
            assert_eq!((named.name.as_str(), named.is_passed), (expected, false), "{text}");
        }
    }

    #[test]
    fn what_no_mount_or_passthrough_entry_holds_is_told() {
        let facts = facts();
        for text in ["kv/app/db", "secretx/app", "team/app", "/secret/app", "", "v1/secret/data/app"] {
            assert_eq!(named(text, Action::Read, &facts), Err("mount"), "{text}");
        }
        let passed = named("db/creds/app", Action::Write, &facts).unwrap();
        assert_eq!((passed.name.as_str(), passed.is_passed), ("db/creds/app", true));
        assert_eq!(named("db/creds/app", Action::List, &facts), Err("passthrough"));
        assert_eq!(named("db/config/app", Action::Read, &facts), Err("passthrough"));
    }
}
