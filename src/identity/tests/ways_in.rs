//! Configured tokens, AppRoles, certificates, workloads, namespaces, and what the compiler refuses.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::*;
use super::forge::{Forge, set};
use super::rig::{Rig, approle, issuer, names, settings, static_token, tenant};
use crate::error::ErrorKind;

const TOKEN: &str = "0123456789abcdef";
const ROLE: &str = "6f9c2c1e-4a31-4f0e-9d0b-5f6a2f1f7c11";
const SECRET: &str = "61ef7a55-0000-4000-8000-000000000001";

fn cert(san: &str, principal: &str) -> CertRule {
    CertRule { san: san.into(), principal: principal.into(), groups: vec![], folders: vec![] }
}

fn workload(principal: &str) -> Option<WorkloadSettings> {
    Some(WorkloadSettings { principal: principal.into(), groups: vec!["apps".into()], folders: vec![] })
}

fn peer(sans: &[&str]) -> PeerCertificate {
    PeerCertificate { sans: sans.iter().map(|san| (*san).to_owned()).collect() }
}

#[test]
fn the_credential_decides_the_tenant() {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    a.tokens = vec![static_token("oncall", TOKEN)];
    b.tokens = vec![static_token("oncall", "fedcba9876543210")];
    let directory = rig.directory(vec![a, b]);
    let caller = directory.by("fedcba9876543210").unwrap();
    assert_eq!((caller.principal.tenant().as_str(), caller.principal.id()), ("b", "oncall"));
    assert_eq!((caller.via, caller.principal.method()), (CallerVia::StaticToken, Method::Token));
    assert_eq!(caller.principal.folders().len(), 1);
    let bearer = directory.authenticate_now(Credential::Bearer(TOKEN), None, None, false).unwrap().unwrap();
    assert_eq!(bearer.principal.tenant().as_str(), "a");
    assert_eq!(bearer.credential, directory.by(TOKEN).unwrap().credential, "one credential, one audit hash");
    assert_ne!(bearer.credential, caller.credential);
}

#[test]
fn v05_a_wrong_token_is_unknown_and_an_impossible_one_malformed() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    let directory = rig.directory(vec![a]);
    for wrong in ["0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "svp.AAAA", "hvs.x"] {
        assert_eq!(directory.by(wrong).err(), Some(IdentityError::Unknown), "{wrong}");
    }
    for bad in ["", "0123456789abcdef ", " 0123456789abcdef", "0123456789abcdef\n", "é", &"a".repeat(8193)] {
        assert_eq!(directory.by(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
        let bearer = directory.authenticate_now(Credential::Bearer(bad), None, None, false).unwrap();
        assert_eq!(bearer.unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
    }
    let nothing = directory.authenticate_now(Credential::None, None, None, false).unwrap();
    assert_eq!(nothing.err(), Some(IdentityError::Missing));
}

#[tokio::test]
async fn s19_an_approle_login_does_not_tell_which_half_was_wrong() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.approles = vec![approle("payments/ledger", ROLE, SECRET)];
    let directory = rig.directory(vec![a, settings("b")]);
    let login =
        |role_id: &'static str, secret_id: &'static str| Login::Approle { mount: "approle", role_id, secret_id };
    let issued = directory.login(&tenant("a"), login(ROLE, SECRET)).await.unwrap();
    assert_eq!(issued.info.path, "auth/approle/login");
    assert_eq!(issued.info.display_name, "approle");
    assert_eq!(names(issued.info.policies()), ["apps", "ledger"]);
    assert_eq!((issued.info.ttl, issued.info.renewable, issued.info.orphan), (Duration::from_secs(3600), true, true));
    let caller = directory.by(&issued.token).unwrap();
    assert_eq!((caller.principal.method(), caller.via), (Method::Approle, CallerVia::RunTimeToken));
    for (at, role_id, secret_id) in [
        ("a", ROLE, "wrong"),
        ("a", "wrong", SECRET),
        ("a", "", SECRET),
        ("a", ROLE, ""),
        ("a", SECRET, ROLE),
        ("b", ROLE, SECRET),
    ] {
        let error = directory.login(&tenant(at), login(role_id, secret_id)).await.unwrap_err();
        assert_eq!(error.to_string(), "invalid role or secret ID");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }
    let odd = Login::Approle { mount: "../sys", role_id: ROLE, secret_id: SECRET };
    assert_eq!(directory.login(&tenant("a"), odd).await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn approle_lifetimes_replace_the_tenants() {
    let rig = Rig::new();
    let mut a = settings("a");
    let mut role = approle("p", ROLE, SECRET);
    role.token_ttl = Some(Duration::from_secs(10));
    role.token_max_ttl = Some(Duration::from_secs(20));
    a.approles = vec![role];
    let directory = rig.directory(vec![a]);
    let login = Login::Approle { mount: "approle", role_id: ROLE, secret_id: SECRET };
    let issued = directory.login(&tenant("a"), login).await.unwrap();
    assert_eq!((issued.info.ttl, issued.info.max_ttl), (Duration::from_secs(10), Some(Duration::from_secs(20))));
}

#[test]
fn certificates_speak_only_without_a_credential_and_without_doubt() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.certificates = vec![cert("uri:spiffe://c/orders", "orders"), cert("dns:Ledger.example", "ledger")];
    let directory = rig.directory(vec![a]);
    let by =
        |credential, sans: &[&str]| directory.authenticate_now(credential, Some(&peer(sans)), None, false).unwrap();
    let caller = by(Credential::None, &["dns:other", "uri:spiffe://c/orders"]).unwrap();
    assert_eq!((caller.principal.id(), caller.via), ("orders", CallerVia::Certificate));
    assert!(by(Credential::None, &["dns:ledger.example"]).is_ok());
    for unknown in [&[][..], &["uri:spiffe://c/Orders"], &["dns:x.ledger.example"], &["uri:spiffe://c/orders/x"]] {
        assert_eq!(by(Credential::None, unknown).err(), Some(IdentityError::UnknownCertificate), "{unknown:?}");
    }
    let both = by(Credential::None, &["dns:ledger.example", "uri:spiffe://c/orders"]);
    assert_eq!(both.err(), Some(IdentityError::AmbiguousCertificate));
    let wrong_token = by(Credential::Token("not-a-token"), &["uri:spiffe://c/orders"]);
    assert_eq!(wrong_token.err(), Some(IdentityError::Unknown), "no falling back to the certificate");
}

#[test]
fn on_a_workload_listener_nothing_is_read() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.workload = workload("payments/orders");
    a.tokens = vec![static_token("admin", TOKEN)];
    let directory = rig.directory(vec![a, settings("b")]);
    let at = tenant("a");
    for credential in [Credential::None, Credential::Token(TOKEN), Credential::Token("\n"), Credential::Bearer("a.b.c")]
    {
        let caller = directory.authenticate_now(credential, None, Some(&at), true).unwrap().unwrap();
        assert_eq!((caller.principal.id(), caller.via), ("payments/orders", CallerVia::Workload));
        let info = directory.lookup(&caller);
        assert_eq!((info.ttl, info.renewable), (Duration::from_secs(3600), true));
        let renewed = directory.renew(&caller, Some(Duration::from_secs(60))).unwrap();
        assert_eq!(renewed.ttl, Duration::from_secs(60));
        assert_eq!(directory.revoke(&caller), Ok(()));
    }
    let (one, two) =
        (directory.workload_login(&at, "kubernetes").unwrap(), directory.workload_login(&at, "approle").unwrap());
    assert_ne!(*one.token, *two.token);
    assert_eq!((one.info.path.as_str(), two.info.path.as_str()), ("auth/kubernetes/login", "auth/approle/login"));
    assert_eq!(rig.sessions.count(&at), 0, "nothing is kept");
    assert_eq!(directory.by(&one.token).err(), Some(IdentityError::Unknown), "and it is worth nothing elsewhere");
    for other in [Some(&tenant("b")), None] {
        let error = directory.authenticate_now(Credential::None, None, other, true).unwrap().unwrap_err();
        assert!(matches!(error, IdentityError::NoWorkload(_)));
    }
}

#[test]
fn v01_v02_namespaces_name_one_tenant_each() {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    a.namespaces = vec!["payments".into(), "acme/pay".into()];
    b.workload = workload("w");
    let directory = rig.directory(vec![a, b]);
    let (a, b) = (tenant("a"), tenant("b"));
    for good in ["payments", "payments/", "/payments", "acme/pay/"] {
        assert_eq!(directory.tenant_of_namespace(good), Some(&a));
        assert!(directory.namespace_allowed(&a, good) && !directory.namespace_allowed(&b, good));
    }
    for bad in
        ["root", "root/", "/", "", "..", "payments//", "payments/../payments", " payments", "Payments", "acme", "a"]
    {
        assert_eq!(directory.tenant_of_namespace(bad), None, "{bad:?}");
        assert!(!directory.namespace_allowed(&a, bad) && !directory.namespace_allowed(&b, bad), "{bad:?}");
    }
    assert!(
        directory.workload_namespace_allowed(&b, "anything/at/all"),
        "a workload listener takes any if none is set"
    );
    assert!(!directory.workload_namespace_allowed(&b, "any//thing"));
    assert!(
        directory.workload_namespace_allowed(&a, "payments/") && !directory.workload_namespace_allowed(&a, "other")
    );
}

#[test]
fn every_problem_is_found_at_once() {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    a.namespaces = vec!["shared".into(), "x/".into(), "root".into()];
    a.token_ttl = Duration::ZERO;
    a.revoked = vec!["not valid".into()];
    a.workload = workload("system/sync");
    a.tokens = vec![static_token("p", TOKEN), static_token("q", "short")];
    let mut role = approle("", ROLE, "short");
    role.folders = vec![String::new()];
    a.approles = vec![role, approle("p", ROLE, SECRET), approle("q", ROLE, SECRET)];
    a.approles[2].secret_ids.clear();
    a.certificates = vec![cert("orders.example", "p"), cert("dns:orders.example", "p")];
    b.namespaces = vec!["shared".into()];
    b.tokens = vec![static_token("p", TOKEN)];
    b.certificates = vec![cert("dns:ORDERS.example", "p")];
    let problems = rig.compile(vec![a, b]).unwrap_err();
    let found: Vec<String> = problems.iter().map(|problem| format!("{} {}", problem.tenant, problem.key)).collect();
    assert_eq!(
        found,
        [
            "a namespaces[1]",
            "a namespaces[2]",
            "a identity.token_ttl",
            "a identity.revoked[0]",
            "a identity.workload.principal",
            "a identity.tokens[0].file",
            "a identity.approles[0].principal",
            "a identity.approles[0].folders[0]",
            "a identity.approles[0].secret_id_files[0]",
            "a identity.approles[2].secret_id_files",
            "a identity.approles[2].role_id",
            "a identity.certificates[0].san",
            "b namespaces[0]",
            "b identity.tokens[0].file",
            "b identity.certificates[0].san",
        ]
    );
    assert!(problems.iter().all(|problem| !problem.message.contains(TOKEN)));
}

#[test]
fn a_dev_token_may_be_short_and_a_tenant_comes_once() {
    let rig = Rig::new();
    let mut dev = settings("default");
    dev.tokens = vec![StaticToken { dev: true, key: "--root-token".into(), ..static_token("dev", "r") }];
    assert!(rig.directory(vec![dev.clone()]).by("r").is_ok());
    dev.tokens[0].token = Zeroizing::new(String::new());
    assert_eq!(rig.problem_keys(vec![dev]), ["--root-token"]);
    assert_eq!(rig.problem_keys(vec![settings("a"), settings("a")]), ["identity"]);
}

#[test]
fn key_files_are_read_when_compiling() {
    let rig = Rig::new();
    let path = std::env::temp_dir().join(format!("scaivault-jwks-{}.json", std::process::id()));
    let with = |path: PathBuf| {
        let mut a = settings("a");
        a.jwt = vec![JwtIssuer { jwks: JwksLocation::File(path), ..issuer("kubernetes") }];
        vec![a]
    };
    let forge = Forge::es256("k");
    std::fs::write(&path, set(&[forge.jwk()])).unwrap();
    let directory = rig.directory(with(path.clone()));
    let end = rig.hands.secs() + 60;
    let token = forge.sign(&format!(r#"{{"iss":"kubernetes","aud":"scaivault","exp":{end},"sub":"a"}}"#));
    assert!(directory.authenticate_now(Credential::Bearer(&token), None, None, false).unwrap().is_ok());
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(rig.problem_keys(with(path.clone())), ["identity.jwt[0].jwks_file"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rig.problem_keys(with(path)), ["identity.jwt[0].jwks_file"]);
    assert_eq!(rig.source.calls(), 0);
}
