//! Decisions of whole policy sets, and the principals and names that the tests of this room share.

mod reference;

use std::net::IpAddr;

use cedar_policy::PolicySet;

use super::*;
use crate::clock::Timestamp;
use crate::identity::Method;
use crate::secret::{Folder, Mode, SecretPath, Tenant, WireKind};

const APPS: &str = include_str!("../../config/policies/apps.cedar");
const GUARDRAILS: &str = include_str!("../../config/policies/guardrails.cedar");

pub(super) fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

pub(super) fn folder(text: &str) -> Folder {
    Folder::parse(text).unwrap()
}

pub(super) fn here() -> Context {
    Context { wire: WireKind::Vault, mode: Mode::Sync, now: Timestamp::from_secs(1_795_428_417), source_ip: None }
}

pub(super) fn someone(id: &str, groups: &[&str], folders: &[&str]) -> Principal {
    let groups = groups.iter().copied().map(Box::from).collect();
    let folders = folders.iter().copied().map(folder).collect();
    Principal::new(Tenant::default_tenant(), id, Method::Approle, groups, folders)
}

pub(super) fn ledger() -> Principal {
    someone("payments/ledger", &["apps", "ledger"], &["apps/ledger", "apps/shared"])
}

pub(super) fn oncall() -> Principal {
    someone("payments/oncall", &["oncall"], &[])
}

fn sources(texts: &[&str]) -> Vec<(String, String)> {
    texts.iter().enumerate().map(|(index, text)| (format!("{index}.cedar"), (*text).to_owned())).collect()
}

pub(super) fn compiled(text: &str) -> Policies {
    Policies::compile(&sources(&[text]), 1).unwrap()
}

pub(super) fn shipped() -> Policies {
    Policies::compile(&sources(&[APPS, GUARDRAILS]), 1).unwrap()
}

/// The deciding `@id`s, `Ok` if they permitted.
fn ask(
    policies: &Policies,
    principal: &Principal,
    action: Action,
    resource: Resource<'_>,
    context: &Context,
) -> Result<Vec<String>, Vec<String>> {
    let explained = policies.explain(principal, action, resource, context);
    let named = |ids: &[Box<str>]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let verdict = policies.authorize(principal, action, resource, context);
    let again = policies.authorize(principal, action, resource, context);
    assert_eq!(verdict.is_ok(), again.is_ok());
    assert_eq!(verdict.is_ok(), explained.decision == Decision::Permit);
    let (decided, kept) = match (&verdict, &again) {
        (Ok(permit), Ok(again)) => (named(permit.policies()), named(again.policies())),
        (Err(denial), Err(again)) => (named(denial.policies()), named(again.policies())),
        _ => unreachable!(),
    };
    assert_eq!(decided, kept);
    assert_eq!(decided, named(&explained.policies));
    if verdict.is_ok() { Ok(decided) } else { Err(decided) }
}

pub(super) fn secret(
    policies: &Policies,
    principal: &Principal,
    action: Action,
    text: &str,
) -> Result<Vec<String>, Vec<String>> {
    ask(policies, principal, action, Resource::Secret(&path(text)), &here())
}

fn list(policies: &Policies, principal: &Principal, text: &str) -> Result<Vec<String>, Vec<String>> {
    ask(policies, principal, Action::List, Resource::Folder(&folder(text)), &here())
}

fn by(id: &str) -> Vec<String> {
    vec![id.to_owned()]
}

#[test]
fn apps_read_their_own_folders_and_no_other() {
    let (policies, ledger) = (shipped(), ledger());
    let own = Ok(by("apps-read-own-folders"));
    for name in ["apps/ledger/db", "apps/ledger/signing/key", "apps/shared/smtp"] {
        assert_eq!(secret(&policies, &ledger, Action::Read, name), own, "{name}");
        assert_eq!(secret(&policies, &ledger, Action::Describe, name), own, "{name}");
    }
    for name in ["apps/ledger", "apps/ledger/signing", "apps/shared"] {
        assert_eq!(list(&policies, &ledger, name), own, "{name}");
    }
    for name in ["apps/indexer/db", "apps/ledgers/db", "apps/Ledger/db", "apps/ledger", "other", "apps/break-glass/x"] {
        assert!(secret(&policies, &ledger, Action::Read, name).is_err(), "{name}");
    }
    for name in ["", "apps", "apps/indexer", "apps/ledgers", "database"] {
        assert_eq!(list(&policies, &ledger, name), Err(vec![]), "{name}");
    }
    let stranger = someone("payments/ledger", &["app"], &["apps/ledger"]);
    assert_eq!(secret(&policies, &stranger, Action::Read, "apps/ledger/db"), Err(vec![]));
}

#[test]
fn only_the_ledger_writes_shared_and_reads_its_database_user() {
    let (policies, ledger) = (shipped(), ledger());
    let indexer = someone("search/indexer", &["apps"], &["apps/indexer", "apps/shared"]);
    assert_eq!(secret(&policies, &ledger, Action::Write, "apps/shared/smtp"), Ok(by("ledger-writes-shared")));
    assert_eq!(secret(&policies, &ledger, Action::Write, "apps/ledger/db"), Err(vec![]));
    assert_eq!(secret(&policies, &ledger, Action::Delete, "apps/shared/smtp"), Err(vec![]));
    assert_eq!(secret(&policies, &indexer, Action::Write, "apps/shared/smtp"), Err(vec![]));
    assert_eq!(secret(&policies, &ledger, Action::Read, "database/creds/ledger"), Ok(by("ledger-database-user")));
    assert_eq!(secret(&policies, &ledger, Action::Read, "database/creds/ledger-admin"), Err(vec![]));
    assert_eq!(secret(&policies, &indexer, Action::Read, "database/creds/ledger"), Err(vec![]));
}

#[test]
fn break_glass_opens_only_from_the_bastion() {
    let (policies, oncall) = (shipped(), oncall());
    let glass = path("apps/break-glass/root");
    let from = |ip: Option<&str>| Context { source_ip: ip.map(|ip| ip.parse::<IpAddr>().unwrap()), ..here() };
    let read = |context: Context| ask(&policies, &oncall, Action::Read, Resource::Secret(&glass), &context);
    let opened = Ok(by("oncall-reads-break-glass"));
    assert_eq!(read(from(Some("10.20.0.7"))), opened);
    assert_eq!(read(from(Some("::ffff:10.20.0.7"))), opened);
    for elsewhere in [None, Some("10.20.1.7"), Some("127.0.0.1"), Some("::1"), Some("::10.20.0.7")] {
        assert_eq!(read(from(elsewhere)), Err(by("break-glass-only-from-bastion")), "{elsewhere:?}");
    }
    let owner = someone("apps/glass", &["apps"], &["apps/break-glass"]);
    let context = from(Some("10.20.0.7"));
    let stolen = ask(&policies, &owner, Action::Read, Resource::Secret(&glass), &context);
    assert_eq!(stolen, Err(by("break-glass-only-from-bastion")));
}

#[test]
fn nobody_destroys_even_if_everything_is_permitted() {
    let policies = Policies::compile(&sources(&[APPS, GUARDRAILS, PERMIT_ALL]), 1).unwrap();
    let someone = someone("someone", &[], &[]);
    assert_eq!(secret(&policies, &someone, Action::Destroy, "apps/x"), Err(by("nobody-destroys")));
    assert_eq!(secret(&policies, &someone, Action::Delete, "apps/x"), Ok(by("dev-permit-all")));
    let two = ["dev-permit-all".to_owned(), "ledger-writes-shared".to_owned()].to_vec();
    assert_eq!(secret(&policies, &ledger(), Action::Write, "apps/shared/x"), Ok(two));
}

#[test]
fn administering_follows_the_folder_of_the_thing() {
    let (policies, oncall) = (shipped(), oncall());
    let (apps, deep, root) = (folder("apps"), folder("apps/ledger"), folder(""));
    let allowed = |resource: Resource<'_>| ask(&policies, &oncall, Action::Administer, resource, &here()).is_ok();
    assert!(allowed(Resource::Folder(&apps)));
    assert!(allowed(Resource::Folder(&deep)));
    assert!(!allowed(Resource::Folder(&root)));
    assert!(allowed(Resource::Backend { name: "vault-prod", folder: Some(&apps) }));
    assert!(allowed(Resource::Backend { name: "vault-prod", folder: Some(&deep) }));
    assert!(!allowed(Resource::Backend { name: "vault-prod", folder: Some(&root) }));
    assert!(!allowed(Resource::Backend { name: "apps", folder: None }));
    assert!(SystemArea::ALL.into_iter().all(|area| !allowed(Resource::System(area))));
}

#[test]
fn g01_what_no_policy_permits_is_denied() {
    let policies = compiled(r#"@id("x") permit (principal == Principal::"a", action == Action::"read", resource);"#);
    let (a, b) = (someone("a", &[], &[]), someone("b", &["a"], &[]));
    assert_eq!(secret(&policies, &a, Action::Read, "s"), Ok(by("x")));
    assert_eq!(secret(&policies, &a, Action::Describe, "s"), Err(vec![]));
    assert_eq!(secret(&policies, &b, Action::Read, "s"), Err(vec![]));
    let denial = policies.authorize(&b, Action::Read, Resource::Secret(&path("s")), &here()).unwrap_err();
    assert!(!denial.is_error());
}

#[test]
fn g02_a_set_without_policies_denies_everything() {
    let someone = someone("dev", &["system"], &[""]);
    for texts in [&[] as &[&str], &[""], &["", "// nothing here\n"]] {
        let policies = Policies::compile(&sources(texts), 1).unwrap();
        assert!(policies.is_cacheable());
        assert_eq!(secret(&policies, &someone, Action::Read, "a"), Err(vec![]));
        assert_eq!(list(&policies, &someone, ""), Err(vec![]));
        let seal = ask(&policies, &someone, Action::Administer, Resource::System(SystemArea::Seal), &here());
        assert_eq!(seal, Err(vec![]));
    }
}

#[test]
fn g04_folders_end_at_segments() {
    let policies = compiled(r#"@id("x") permit (principal, action, resource in Folder::"secret/foo");"#);
    let someone = someone("a", &[], &[]);
    assert!(secret(&policies, &someone, Action::Read, "secret/foo/bar").is_ok());
    assert!(secret(&policies, &someone, Action::Read, "secret/foo/a/b").is_ok());
    assert!(secret(&policies, &someone, Action::Read, "secret/foobar").is_err());
    assert!(secret(&policies, &someone, Action::Read, "secret/foo").is_err());
    assert!(list(&policies, &someone, "secret/foo").is_ok());
    assert!(list(&policies, &someone, "secret").is_err());
}

#[test]
fn g10_a_list_of_a_forbidden_folder_is_denied_below_a_permitted_one() {
    let policies = compiled(
        r#"
        @id("lists") permit (principal, action == Action::"list", resource in Folder::"foo/metadata");
        @id("private") forbid (principal, action == Action::"list", resource in Folder::"foo/metadata/private");
        "#,
    );
    let someone = someone("a", &[], &[]);
    for name in ["foo/metadata", "foo/metadata/public", "foo/metadata/privateer", "foo/metadata/public/private"] {
        assert_eq!(list(&policies, &someone, name), Ok(by("lists")), "{name}");
    }
    for name in ["foo/metadata/private", "foo/metadata/private/a", "foo/metadata/private/a/b"] {
        assert_eq!(list(&policies, &someone, name), Err(by("private")), "{name}");
    }
    for name in ["", "foo", "foo/metadatas", "metadata/private"] {
        assert_eq!(list(&policies, &someone, name), Err(vec![]), "{name}");
    }
}

#[test]
fn g16_groups_and_principals_are_compared_as_written() {
    let policies = compiled(
        r#"
        @id("group") permit (principal in Group::"Admin", action == Action::"read", resource);
        @id("id") permit (principal == Principal::"root", action == Action::"write", resource);
        "#,
    );
    assert!(secret(&policies, &someone("a", &["Admin"], &[]), Action::Read, "s").is_ok());
    for group in ["admin", "ADMIN", "Admin ", " Admin", "Admin\"", "Group::\"Admin\""] {
        assert!(secret(&policies, &someone("a", &[group], &[]), Action::Read, "s").is_err(), "{group}");
    }
    assert!(secret(&policies, &someone("root", &[], &[]), Action::Write, "s").is_ok());
    for id in ["ROOT", "root ", " root", "Principal::\"root\""] {
        assert!(secret(&policies, &someone(id, &["root"], &[]), Action::Write, "s").is_err(), "{id:?}");
    }
}

#[test]
fn an_evaluation_error_denies_whatever_else_permits() {
    for broken in [
        r#"@id("broken") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#,
        r#"@id("broken") permit (principal, action, resource) when { Folder::"elsewhere".path == "x" };"#,
    ] {
        let policies = Policies::compile(&sources(&[PERMIT_ALL, broken]), 1).unwrap();
        let someone = someone("a", &[], &[]);
        assert_eq!(secret(&policies, &someone, Action::Read, "s"), Err(by("broken")), "{broken}");
        let secret = path("s");
        let denial = policies.authorize(&someone, Action::Read, Resource::Secret(&secret), &here()).unwrap_err();
        assert!(denial.is_error());
        let explained = policies.explain(&someone, Action::Read, Resource::Secret(&secret), &here());
        assert_eq!(explained.decision, Decision::Deny);
        assert!(explained.errors[0].contains("broken"), "{:?}", explained.errors);
    }
}

#[test]
fn an_absent_source_address_denies_if_a_policy_does_not_test_for_it() {
    // Strict validation refuses such a policy; this is what happens should it ever get past.
    let text = r#"forbid (principal, action, resource) when { context.source_ip.isInRange(ip("10.0.0.0/8")) };"#;
    let set = format!("{text}\npermit (principal, action, resource);").parse::<PolicySet>().unwrap();
    let engine = Engine::new(set, Mentions::ALL);
    let (someone, secret) = (someone("a", &[], &[]), path("s"));
    let answer = |context: &Context| {
        let question =
            Question { principal: &someone, action: Action::Read, resource: Resource::Secret(&secret), context };
        engine.evaluate(&question).into_verdict()
    };
    assert!(answer(&here()).unwrap_err().is_error());
    let outside = Context { source_ip: Some("192.0.2.1".parse().unwrap()), ..here() };
    assert!(answer(&outside).is_ok());
    let inside = Context { source_ip: Some("10.1.2.3".parse().unwrap()), ..here() };
    assert!(!answer(&inside).unwrap_err().is_error());
}

#[test]
fn a_question_that_makes_no_sense_is_denied_even_to_dev() {
    let policies = Policies::permit_all(1);
    let someone = someone("dev", &[], &[]);
    let root = folder("");
    let denial = policies.authorize(&someone, Action::Read, Resource::Folder(&root), &here()).unwrap_err();
    assert!(denial.is_error() && denial.policies().is_empty());
}

#[test]
fn time_and_context_decide_when_policies_ask_for_them() {
    let policies = compiled(
        r#"
        @id("until") permit (principal, action == Action::"read", resource)
          when { context.now < datetime("2026-11-23T10:06:57.123Z") };
        @id("wire") permit (principal, action == Action::"write", resource)
          when { context.wire == "aws" && context.mode == "local" && principal.method == "approle" };
        "#,
    );
    assert!(!policies.is_cacheable());
    let (someone, secret) = (someone("a", &[], &[]), path("s"));
    let at = |micros| Context { now: Timestamp::from_micros(micros), ..here() };
    let read = |context: &Context| ask(&policies, &someone, Action::Read, Resource::Secret(&secret), context);
    assert_eq!(read(&at(1_795_428_417_122_999)), Ok(by("until")));
    assert_eq!(read(&at(1_795_428_417_123_000)), Err(vec![]));
    let local = Context { wire: WireKind::Aws, mode: Mode::Local, ..here() };
    let write = |context: &Context| ask(&policies, &someone, Action::Write, Resource::Secret(&secret), context);
    assert_eq!(write(&local), Ok(by("wire")));
    assert_eq!(write(&here()), Err(vec![]));
}

#[test]
fn only_timeless_sets_are_cached() {
    assert!(Policies::compile(&sources(&[APPS]), 1).unwrap().is_cacheable());
    assert!(!shipped().is_cacheable());
    assert!(Policies::permit_all(1).is_cacheable());
    assert!(Policies::system().is_cacheable());
    let timed = r#"@id("t") forbid (principal, action, resource) when { context.now > datetime("2026-01-01") };"#;
    assert!(!Policies::compile(&sources(&[APPS, timed]), 1).unwrap().is_cacheable());
}

#[test]
fn g20_a_new_generation_knows_nothing_of_the_old_decisions() {
    let someone = someone("a", &[], &[]);
    let old = Policies::permit_all(1);
    assert!(secret(&old, &someone, Action::Read, "s").is_ok());
    let new = Policies::compile(&[], 2).unwrap();
    assert!(secret(&new, &someone, Action::Read, "s").is_err());
    assert!(secret(&old, &someone, Action::Read, "s").is_ok());
    assert_eq!((old.generation(), new.generation()), (1, 2));
}

#[test]
fn the_folders_that_policies_name_are_known() {
    let policies = compiled(
        r#"
        @id("a") permit (principal, action == Action::"list", resource in Folder::"apps/db");
        @id("b") permit (principal, action == Action::"list", resource) when { resource == Folder::"infra" };
        @id("c") forbid (principal, action == Action::"list", resource in Folder::"apps/db") unless { resource in Folder::"" };
        @id("d") permit (principal, action == Action::"read", resource == Secret::"apps/one");
        "#,
    );
    assert_eq!(policies.folders(), [folder(""), folder("apps/db"), folder("infra")]);
    assert!(Policies::permit_all(1).folders().is_empty());
}

#[test]
fn the_built_in_sets_say_what_they_promise() {
    let (dev, sync) = (someone("dev", &[], &[]), someone("system/sync", &["system"], &[]));
    let (permit_all, system) = (Policies::permit_all(7), Policies::system());
    assert!(permit_all.warnings().is_empty() && system.warnings().is_empty());
    for action in [Action::Read, Action::Describe, Action::Write, Action::Delete, Action::Destroy] {
        assert_eq!(secret(&permit_all, &dev, action, "a/b"), Ok(by("dev-permit-all")));
        let may = if action == Action::Destroy { Err(vec![]) } else { Ok(by("system")) };
        assert_eq!(secret(&system, &sync, action, "a/b"), may);
        assert_eq!(secret(&system, &dev, action, "a/b"), Err(vec![]));
    }
    assert_eq!(list(&permit_all, &dev, ""), Ok(by("dev-permit-all")));
    assert_eq!(list(&system, &sync, ""), Ok(by("system")));
    let seal = Resource::System(SystemArea::Seal);
    assert_eq!(ask(&permit_all, &dev, Action::Administer, seal, &here()), Ok(by("dev-permit-all")));
    assert_eq!(ask(&system, &sync, Action::Administer, seal, &here()), Err(vec![]));
}
