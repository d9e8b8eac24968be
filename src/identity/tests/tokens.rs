//! Run-time tokens: their lives, and revocation.

use std::time::Duration;

use super::super::*;
use super::rig::{Rig, START_SECS, approle, settings, static_token, tenant};
use crate::clock::Timestamp;
use crate::error::ErrorKind;

const TOKEN: &str = "0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

fn directory(rig: &Rig) -> Directory {
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    a.approles = vec![approle("payments/ledger", "role", "0123456789abcdef-secret")];
    rig.directory(vec![a, settings("b")])
}

fn spec(principal: &str, ttl: Option<Duration>) -> IssueSpec {
    IssueSpec { principal: principal.into(), groups: vec!["apps".into()], folders: vec!["apps/x".into()], ttl }
}

#[test]
fn a_token_lives_its_ttl_and_with_renewals_its_maximum() {
    let rig = Rig::new();
    let directory = directory(&rig);
    let issued = directory.issue(&tenant("a"), spec("ci", None)).unwrap();
    assert_eq!(issued.info.expires_at, Some(Timestamp::from_secs(START_SECS + 3600)));
    let caller = directory.by(&issued.token).unwrap();
    rig.hands.advance(Duration::from_secs(3000));
    assert_eq!(directory.lookup(&caller).ttl, Duration::from_secs(600));
    assert_eq!(directory.renew(&caller, None).unwrap().ttl, HOUR);
    assert_eq!(directory.renew(&caller, Some(Duration::from_secs(60))).unwrap().ttl, Duration::from_secs(60));
    assert_eq!(directory.renew(&caller, Some(Duration::ZERO)).unwrap().ttl, HOUR, "zero means the default");
    assert_eq!(directory.renew(&caller, Some(100 * HOUR)).unwrap().ttl, 24 * HOUR - Duration::from_secs(3000));
    rig.hands.advance(24 * HOUR - Duration::from_secs(3001));
    assert!(directory.by(&issued.token).is_ok());
    assert_eq!(directory.renew(&caller, None).unwrap().ttl, Duration::from_secs(1), "k06: nothing beyond the maximum");
    rig.hands.advance(Duration::from_secs(1));
    assert_eq!(directory.by(&issued.token).err(), Some(IdentityError::Unknown));
    assert_eq!(directory.renew(&caller, None).err(), Some(IdentityError::Unknown));
    assert_eq!(directory.lookup(&caller).ttl, Duration::ZERO);
}

#[test]
fn k01_no_clock_alone_keeps_a_token_alive() {
    let rig = Rig::new();
    let directory = directory(&rig);
    let (one, two) = (
        directory.issue(&tenant("a"), spec("ci", None)).unwrap(),
        directory.issue(&tenant("a"), spec("ci", None)).unwrap(),
    );
    let caller = directory.by(&one.token).unwrap();
    rig.hands.set_wall_back(Duration::from_secs(START_SECS));
    rig.hands.advance_ticks(HOUR - Duration::from_secs(1));
    assert!(directory.by(&one.token).is_ok());
    assert!(directory.renew(&caller, Some(100 * HOUR)).unwrap().ttl <= 24 * HOUR - HOUR + Duration::from_secs(1));
    rig.hands.advance_ticks(Duration::from_secs(1));
    assert!(directory.by(&one.token).is_ok() && directory.by(&two.token).is_err());
    rig.hands.advance_wall(24 * HOUR);
    assert!(directory.by(&one.token).is_err());
}

#[test]
fn issued_tokens_are_what_was_asked_for() {
    let rig = Rig::new();
    let directory = directory(&rig);
    let issued = directory.issue(&tenant("a"), spec("ci/deploy@x", Some(HOUR * 2))).unwrap();
    assert_eq!(
        (issued.info.creation_ttl, issued.info.orphan, issued.info.path.as_str()),
        (HOUR * 2, true, "v1/tokens")
    );
    assert!(!format!("{issued:?}").contains(issued.token.as_str()));
    for bad in [
        spec("system/sync", None),
        spec("", None),
        spec("a b", None),
        spec("ci", Some(25 * HOUR)),
        IssueSpec { groups: vec!["Admin ".into()], ..spec("ci", None) },
        IssueSpec { folders: vec!["a/../b".into()], ..spec("ci", None) },
        IssueSpec { folders: vec![String::new()], ..spec("ci", None) },
    ] {
        assert_eq!(directory.issue(&tenant("a"), bad.clone()).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
    }
    assert!(directory.issue(&tenant("c"), spec("ci", None)).is_err());
}

#[test]
fn v15_only_the_own_tenant_can_revoke_by_value_or_accessor() {
    let rig = Rig::new();
    let directory = directory(&rig);
    let (a, b) = (tenant("a"), tenant("b"));
    let (one, two) = (directory.issue(&a, spec("ci", None)).unwrap(), directory.issue(&a, spec("ci", None)).unwrap());
    for name in [one.token.as_str(), two.info.accessor.as_str(), "svp.unknown", TOKEN] {
        assert_eq!(directory.revoke_token(&b, name), Err(IdentityError::TokenNotFound));
    }
    assert_eq!(directory.revoke_token(&a, &one.token), Ok(()));
    assert_eq!(directory.revoke_token(&a, &two.info.accessor), Ok(()));
    assert!(directory.by(&one.token).is_err() && directory.by(&two.token).is_err());
    assert_eq!(directory.revoke_token(&a, &one.token), Err(IdentityError::TokenNotFound));
    assert_eq!(
        directory.revoke_token(&a, TOKEN),
        Err(IdentityError::TokenNotFound),
        "configured ones are not ours to end"
    );
    assert!(directory.by(TOKEN).is_ok());
    assert_eq!(rig.sessions.count(&a), 0);
}

#[test]
fn own_calls_work_on_run_time_tokens_only() {
    let rig = Rig::new();
    let directory = directory(&rig);
    let configured = directory.by(TOKEN).unwrap();
    let info = directory.lookup(&configured);
    assert_eq!((info.expires_at, info.ttl, info.renewable), (None, Duration::ZERO, false));
    assert_eq!(directory.renew(&configured, None).unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(directory.revoke(&configured).unwrap_err().kind(), ErrorKind::Unsupported);
    let issued = directory.issue(&tenant("a"), spec("ci", None)).unwrap();
    let caller = directory.by(&issued.token).unwrap();
    assert_eq!(directory.revoke(&caller), Ok(()));
    assert_eq!(directory.by(&issued.token).err(), Some(IdentityError::Unknown));
}

#[tokio::test]
async fn k05_revoking_a_principal_ends_all_its_credentials_at_once() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("ci", TOKEN)];
    a.approles = vec![approle("ci", "role", "0123456789abcdef-secret")];
    a.certificates = vec![CertRule { san: "dns:ci".into(), principal: "ci".into(), groups: vec![], folders: vec![] }];
    a.workload = Some(WorkloadSettings { principal: "ci".into(), groups: vec![], folders: vec![] });
    let mut b = settings("b");
    b.tokens = vec![static_token("ci", "fedcba9876543210")];
    let directory = rig.directory(vec![a, b]);
    let at = tenant("a");
    let issued = directory.issue(&at, spec("ci", None)).unwrap();
    let login = Login::Approle { mount: "approle", role_id: "role", secret_id: "0123456789abcdef-secret" };
    let peer = PeerCertificate { sans: vec!["dns:ci".into()] };
    directory.revoke_principal(&at, "ci").unwrap();
    let revoked = || Some(IdentityError::Revoked("ci".into()));
    assert_eq!(directory.by(TOKEN).err(), revoked());
    assert_eq!(directory.by(&issued.token).err(), Some(IdentityError::Unknown));
    assert_eq!(directory.login(&at, login).await.err(), revoked());
    assert_eq!(directory.issue(&at, spec("ci", None)).err(), revoked());
    assert_eq!(directory.authenticate(Credential::None, Some(&peer), None, false).await.err(), revoked());
    assert_eq!(directory.authenticate(Credential::None, None, Some(&at), true).await.err(), revoked());
    assert_eq!(directory.workload_login(&at, "approle").err(), revoked());
    assert!(directory.by("fedcba9876543210").is_ok(), "the other tenant's principal of that name is another");
    assert_eq!(directory.revoked_principals(&at), ["ci"]);

    assert_eq!(directory.restore_principal(&at, "ci"), Ok(true));
    assert_eq!(directory.restore_principal(&at, "ci"), Ok(false), "there was nothing left to restore");
    assert!(directory.by(TOKEN).is_ok());
    assert_eq!(directory.by(&issued.token).err(), Some(IdentityError::Unknown), "run-time tokens ended for good");
    assert!(directory.revoked_principals(&at).is_empty());
    assert_eq!(directory.revoke_principal(&at, "a b").unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn configured_revocations_are_restored_in_the_configuration_only() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("ci", TOKEN)];
    a.revoked = vec!["ci".into()];
    let directory = rig.directory(vec![a.clone()]);
    assert_eq!(directory.by(TOKEN).unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(directory.restore_principal(&tenant("a"), "ci").unwrap_err().kind(), ErrorKind::Conflict);
    a.revoked.clear();
    assert!(rig.directory(vec![a]).by(TOKEN).is_ok());
}

#[test]
fn a_reload_keeps_tokens_and_revocations_but_not_of_tenants_that_are_gone() {
    let rig = Rig::new();
    let first = directory(&rig);
    let issued = first.issue(&tenant("a"), spec("ci", None)).unwrap();
    first.revoke_principal(&tenant("a"), "oncall").unwrap();
    let second = directory(&rig);
    assert!(second.by(&issued.token).is_ok());
    assert!(matches!(second.by(TOKEN), Err(IdentityError::Revoked(_))));
    let third = rig.directory(vec![settings("b")]);
    assert_eq!(third.by(&issued.token).err(), Some(IdentityError::Unknown));
}

#[test]
fn configured_principals_are_found_by_name_with_all_they_have() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("ci", TOKEN), static_token("ci", "0123456789abcdeg")];
    a.approles = vec![approle("ci", "role", "0123456789abcdef-secret")];
    a.certificates = vec![CertRule {
        san: "dns:pod".into(),
        principal: "pod".into(),
        groups: vec!["apps".into()],
        folders: vec!["apps/pod".into()],
    }];
    a.workload = Some(WorkloadSettings { principal: "pod".into(), groups: vec![], folders: vec![] });
    let directory = rig.directory(vec![a, settings("b")]);
    let found = |at: &str, id: &str| -> Vec<(&'static str, Vec<String>)> {
        let texts = |groups: &[Box<str>]| -> Vec<String> { groups.iter().map(|group| group.to_string()).collect() };
        let all = directory.configured(&tenant(at), id);
        all.iter().map(|principal| (principal.method().as_str(), texts(principal.groups()))).collect()
    };
    let list = |groups: &[&str]| -> Vec<String> { groups.iter().map(|group| (*group).to_owned()).collect() };
    assert_eq!(found("a", "ci"), [("approle", list(&["apps", "ledger"])), ("token", list(&["apps", "ops"]))]);
    assert_eq!(found("a", "pod"), [("certificate", list(&["apps"])), ("workload", list(&[]))]);
    assert!(found("b", "ci").is_empty() && found("a", "nobody").is_empty());
}
