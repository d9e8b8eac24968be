//! `check --expect cases.yaml`: decisions written down beforehand, held against a policy set.
//!
//! A pure function over text. A case that cannot be understood is a failure like one that is decided differently.

use std::net::IpAddr;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::identity::{Method, Principal};
use crate::secret::{Action, Folder, Mode, SecretPath, Tenant, WireKind};

use super::Policies;
use super::question::{Context, Resource, SystemArea};
use super::verdict::{Decision, Explanation};

const METHODS: [Method; 6] =
    [Method::Workload, Method::Token, Method::Approle, Method::Aws, Method::Jwt, Method::Certificate];
const ACTIONS: [Action; 7] =
    [Action::Read, Action::Describe, Action::List, Action::Write, Action::Delete, Action::Destroy, Action::Administer];
const WIRES: [WireKind; 5] = [WireKind::Scaivault, WireKind::Vault, WireKind::Aws, WireKind::Azure, WireKind::Gcp];
const MODES: [Mode; 3] = [Mode::Proxy, Mode::Sync, Mode::Local];
const DECISIONS: [Decision; 2] = [Decision::Permit, Decision::Deny];

/// One case as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    principal: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    folders: Vec<String>,
    method: String,
    action: String,
    resource: Target,
    wire: String,
    mode: String,
    source_ip: Option<String>,
    now: Option<String>,
    expect: String,
    policy: Option<String>,
}

/// Exactly one of these, but a backend may say which folder it belongs to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    secret: Option<String>,
    folder: Option<String>,
    backend: Option<String>,
    system: Option<String>,
}

/// Holds a YAML list of cases against a policy set: what is expected (`permit` or `deny`), and optionally the `@id` of
/// a policy that has to be among those that decided. Answers with the number of cases.
///
/// # Errors
/// One line for each case that is decided differently or makes no sense, with its number from 1; or what is wrong with
/// the file as a whole.
pub fn check_cases(text: &str, policies: &Policies) -> Result<usize, Vec<String>> {
    let cases: Vec<Case> = serde_saphyr::from_str(text).map_err(|error| vec![error.to_string()])?;
    if cases.is_empty() {
        return Err(vec!["the file holds no cases".to_owned()]);
    }
    let failures: Vec<String> = cases
        .iter()
        .enumerate()
        .filter_map(|(index, case)| Some(format!("case {}: {}", index + 1, case.check(policies).err()?)))
        .collect();
    if failures.is_empty() { Ok(cases.len()) } else { Err(failures) }
}

impl Case {
    fn check(&self, policies: &Policies) -> Result<(), String> {
        let expected = one_of(&DECISIONS, Decision::as_str, &self.expect, "expect")?;
        let action = one_of(&ACTIONS, Action::as_str, &self.action, "action")?;
        let principal = self.principal()?;
        let named = self.resource.name()?;
        let context = self.context(policies)?;
        let found = policies.explain(&principal, action, named.as_resource(), &context);
        if found.decision != expected {
            return Err(format!("expected {}, got {}", expected.as_str(), told(&found)));
        }
        match &self.policy {
            Some(id) if !found.policies.iter().any(|policy| **policy == **id) => {
                Err(format!("expected {} by `{id}`, got {}", expected.as_str(), told(&found)))
            }
            _ => Ok(()),
        }
    }

    fn principal(&self) -> Result<Principal, String> {
        let method = one_of(&METHODS, Method::as_str, &self.method, "method")?;
        let groups = self.groups.iter().map(|group| Box::from(group.as_str())).collect();
        let folders = self
            .folders
            .iter()
            .map(|text| Folder::parse(text).map_err(|error| format!("folders: {text:?}: {error}")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Principal::new(Tenant::default_tenant(), &self.principal, method, groups, folders))
    }

    fn context(&self, policies: &Policies) -> Result<Context, String> {
        let now = match &self.now {
            Some(text) => {
                Timestamp::parse_rfc3339(text).ok_or_else(|| format!("now: {text:?} is not an RFC 3339 time"))?
            }
            None if policies.mentions().now => {
                return Err("the policies look at the time; give the case a `now`".to_owned());
            }
            None => Timestamp::default(),
        };
        let source_ip = match &self.source_ip {
            Some(text) => Some(
                text.parse::<IpAddr>().map_err(|_| format!("source_ip: {text:?} is not an IPv4 or IPv6 address"))?,
            ),
            None => None,
        };
        Ok(Context {
            wire: one_of(&WIRES, WireKind::as_str, &self.wire, "wire")?,
            mode: one_of(&MODES, Mode::as_str, &self.mode, "mode")?,
            now,
            source_ip,
        })
    }
}

/// A resource that owns its names.
enum Named<'a> {
    Secret(SecretPath),
    Folder(Folder),
    Backend(&'a str, Option<Folder>),
    System(SystemArea),
}

impl Target {
    fn name(&self) -> Result<Named<'_>, String> {
        match (&self.secret, &self.folder, &self.backend, &self.system) {
            (Some(path), None, None, None) => SecretPath::parse(path)
                .map(Named::Secret)
                .map_err(|error| format!("resource.secret: {path:?}: {error}")),
            (None, Some(path), None, None) => folder(path).map(Named::Folder),
            (None, None, Some(name), None) => Ok(Named::Backend(name, None)),
            (None, Some(path), Some(name), None) => Ok(Named::Backend(name, Some(folder(path)?))),
            (None, None, None, Some(area)) => {
                one_of(&SystemArea::ALL, SystemArea::as_str, area, "resource.system").map(Named::System)
            }
            _ => Err("resource: give one of secret, folder, backend, system (a backend may have a folder)".to_owned()),
        }
    }
}

impl Named<'_> {
    fn as_resource(&self) -> Resource<'_> {
        match self {
            Self::Secret(path) => Resource::Secret(path),
            Self::Folder(folder) => Resource::Folder(folder),
            Self::Backend(name, folder) => Resource::Backend { name, folder: folder.as_ref() },
            Self::System(area) => Resource::System(*area),
        }
    }
}

fn folder(path: &str) -> Result<Folder, String> {
    Folder::parse(path).map_err(|error| format!("resource.folder: {path:?}: {error}"))
}

/// The value with that name, or which names there are.
fn one_of<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str, key: &str) -> Result<T, String> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name).collect();
        format!("{key}: {text:?} is none of {}", names.join(", "))
    })
}

fn told(found: &Explanation) -> String {
    let mut told = found.decision.as_str().to_owned();
    if found.policies.is_empty() {
        told.push_str(" (no policy decided)");
    } else {
        told.push_str(" by ");
        told.push_str(&found.policies.join(", "));
    }
    for error in &found.errors {
        told.push_str("; ");
        told.push_str(error);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::tests::{compiled, shipped};
    use super::*;

    const CASES: &str = r#"
- principal: payments/ledger
  groups: [apps, ledger]
  folders: [apps/ledger, apps/shared]
  method: approle
  action: read
  resource: { secret: apps/ledger/db }
  wire: vault
  mode: sync
  expect: permit
  policy: apps-read-own-folders
- principal: payments/ledger
  groups: [apps, ledger]
  folders: [apps/ledger]
  method: approle
  action: list
  resource: { folder: "" }
  wire: aws
  mode: proxy
  expect: deny
- principal: payments/oncall
  groups: [oncall]
  method: token
  action: read
  resource: { secret: apps/break-glass/root }
  wire: scaivault
  mode: local
  source_ip: 10.20.0.7
  now: 2026-11-23T10:00:00Z
  expect: permit
- principal: payments/oncall
  groups: [oncall]
  method: token
  action: read
  resource: { secret: apps/break-glass/root }
  wire: scaivault
  mode: local
  source_ip: 10.21.0.7
  expect: deny
  policy: break-glass-only-from-bastion
- principal: payments/oncall
  groups: [oncall]
  method: certificate
  action: administer
  resource: { backend: vault-prod, folder: apps }
  wire: scaivault
  mode: local
  expect: permit
- principal: payments/oncall
  groups: [oncall]
  method: jwt
  action: administer
  resource: { system: seal }
  wire: scaivault
  mode: local
  expect: deny
"#;

    #[test]
    fn cases_that_hold_are_counted() {
        assert_eq!(check_cases(CASES, &shipped()), Ok(6));
    }

    #[test]
    fn each_case_that_does_not_hold_is_told_by_its_number() {
        let wrong = CASES
            .replacen("expect: permit", "expect: deny", 1)
            .replace("policy: break-glass-only-from-bastion", "policy: nobody-destroys")
            .replace("system: seal", "system: everything")
            .replace("method: certificate", "method: password");
        let failures = check_cases(&wrong, &shipped()).unwrap_err();
        assert_eq!(
            failures,
            [
                "case 1: expected deny, got permit by apps-read-own-folders",
                "case 4: expected deny by `nobody-destroys`, got deny by break-glass-only-from-bastion",
                "case 5: method: \"password\" is none of workload, token, approle, aws, jwt, certificate",
                "case 6: resource.system: \"everything\" is none of federation, tokens, events, seal, audit",
            ]
        );
    }

    #[test]
    fn a_case_is_never_guessed_at() {
        for (from, to, why) in [
            ("resource: { secret: apps/ledger/db }", "resource: { secret: apps//db }", "segment"),
            ("resource: { secret: apps/ledger/db }", "resource: { secret: a, folder: a }", "give one of"),
            ("resource: { secret: apps/ledger/db }", "resource: {}", "give one of"),
            ("source_ip: 10.20.0.7", "source_ip: bastion", "IPv4"),
            ("now: 2026-11-23T10:00:00Z", "now: today", "RFC 3339"),
            ("wire: vault", "wire: Vault", "none of"),
            ("expect: deny", "expect: forbid", "none of permit, deny"),
            ("  mode: sync\n", "", "mode"),
            ("mode: sync", "mode: sync\n  colour: red", "colour"),
        ] {
            let text = CASES.replacen(from, to, 1);
            assert_ne!(text, CASES, "{from}");
            let failures = check_cases(&text, &shipped()).unwrap_err();
            assert!(failures.iter().any(|failure| failure.contains(why)), "{to}: {failures:?}");
        }
        assert_eq!(check_cases("[]", &shipped()), Err(vec!["the file holds no cases".to_owned()]));
    }

    #[test]
    fn a_case_for_policies_that_look_at_the_time_has_to_say_when() {
        let timed =
            compiled(r#"@id("x") permit (principal, action, resource) when { context.now < datetime("2026-06-01") };"#);
        let failures = check_cases(CASES, &timed).unwrap_err();
        assert!(failures[0].contains("give the case a `now`"), "{failures:?}");
        assert!(failures.iter().any(|failure| failure.starts_with("case 3: expected permit, got deny (no policy")));
    }
}
