//! JWTs, as bearer and behind logins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::*;
use super::forge::{Forge, set};
use super::rig::{Rig, issuer, names, settings, tenant};
use crate::error::ErrorKind;

const ISSUER: &str = "https://oidc.example/cluster-1";
const COOLDOWN: Duration = Duration::from_secs(30);

fn kubernetes(rig: &Rig, namespace: &str, account: &str) -> String {
    let end = rig.hands.secs() + 3600;
    format!(
        r#"{{"iss":"{ISSUER}","aud":["scaivault"],"exp":{end},"nbf":{start},
            "sub":"system:serviceaccount:{namespace}:{account}",
            "kubernetes.io":{{"namespace":"{namespace}","serviceaccount":{{"name":"{account}","uid":"u"}}}}}}"#,
        start = rig.hands.secs(),
    )
}

fn plain(rig: &Rig, sub: &str) -> String {
    let end = rig.hands.secs() + 3600;
    format!(r#"{{"iss":"{ISSUER}","aud":"scaivault","exp":{end},"sub":"{sub}"}}"#)
}

fn payments(namespaces: &[&str]) -> JwtIssuer {
    let values = namespaces.iter().map(|name| (*name).to_owned()).collect();
    JwtIssuer {
        allow: BTreeMap::from([("namespace".to_owned(), values)]),
        principal: "{namespace}/{service_account}".into(),
        folders: vec!["apps/{service_account}".into()],
        ..issuer(ISSUER)
    }
}

fn with_issuer(name: &str, jwt: JwtIssuer) -> TenantIdentity {
    TenantIdentity { jwt: vec![jwt], ..settings(name) }
}

fn login_with(jwt: &str) -> Login<'_> {
    Login::Jwt { mount: "kubernetes", jwt, role: None }
}

async fn bear(directory: &Directory, token: &str) -> Result<Caller, IdentityError> {
    directory.authenticate(Credential::Bearer(token), None, None, false).await
}

async fn fault(directory: &Directory, token: &str) -> Option<JwtFault> {
    match bear(directory, token).await {
        Err(IdentityError::Jwt(fault)) => Some(fault),
        _ => None,
    }
}

#[tokio::test]
async fn a_service_account_is_the_principal_its_template_says() {
    let rig = Rig::new();
    let forge = Forge::rsa("k1", "RS256");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = rig.directory(vec![with_issuer("payments", payments(&["payments"])), settings("other")]);
    let token = forge.sign(&kubernetes(&rig, "payments", "ledger"));
    assert!(
        directory.authenticate_now(Credential::Bearer(&token), None, None, false).is_none(),
        "keys are needed first"
    );
    let caller = bear(&directory, &token).await.unwrap();
    assert_eq!((caller.principal.tenant().as_str(), caller.principal.id()), ("payments", "payments/ledger"));
    assert_eq!((caller.principal.method(), caller.via), (Method::Jwt, CallerVia::Jwt));
    assert_eq!(names(caller.principal.groups()), ["apps"]);
    assert_eq!(caller.principal.folders().iter().map(|folder| folder.as_str()).collect::<Vec<_>>(), ["apps/ledger"]);
    assert_eq!(directory.lookup(&caller).ttl, Duration::from_secs(3630));
    assert_eq!(directory.renew(&caller, None).err(), Some(IdentityError::NotRenewable));
    assert_eq!(fault(&directory, &forge.sign(&kubernetes(&rig, "search", "ledger"))).await, Some(JwtFault::Claim));

    let next = forge.sign(&kubernetes(&rig, "payments", "ledger").replace("\"u\"", "\"v\""));
    let again = bear(&directory, &next).await.unwrap();
    assert!(Arc::ptr_eq(&again.principal, &caller.principal), "a new token of the same account is the same principal");
    assert_ne!(again.credential, caller.credential);
    assert_eq!(rig.source.calls(), 1);
}

#[tokio::test]
async fn every_algorithm_verifies_with_its_own_kind_of_key_only() {
    let rig = Rig::new();
    let mut forges = Vec::from(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|alg| Forge::rsa(alg, alg)));
    forges.extend([Forge::es256("ES256"), Forge::es384("ES384"), Forge::ed25519("EdDSA")]);
    let entries: Vec<String> = forges.iter().map(Forge::jwk).collect();
    rig.source.serve(&set(&entries));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    for forge in &forges {
        let token = forge.sign(&plain(&rig, "ok"));
        assert!(bear(&directory, &token).await.is_ok());
        let (message, _) = token.rsplit_once('.').unwrap();
        for signature in ["AAAA".to_owned(), URL_SAFE_NO_PAD.encode([0_u8; 64]), URL_SAFE_NO_PAD.encode([0xff_u8; 256])]
        {
            assert_eq!(fault(&directory, &format!("{message}.{signature}")).await, Some(JwtFault::Signature));
        }
    }
    let ec = &forges[6];
    for (alg, kid) in [("RS256", "ES256"), ("ES384", "ES256"), ("EdDSA", "ES256"), ("ES256", "RS256")] {
        let token = ec.sign_with(&format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#), &plain(&rig, "ok"));
        assert_eq!(fault(&directory, &token).await, Some(JwtFault::Algorithm), "{alg} {kid}");
    }
}

#[tokio::test]
async fn j01_j02_j04_j05_nothing_in_the_token_chooses_how_it_is_verified() {
    let rig = Rig::new();
    let (ours, theirs) = (Forge::es256("k"), Forge::es256("k"));
    rig.source.serve(&set(&[ours.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let claims = plain(&rig, "admin");
    assert!(bear(&directory, &ours.sign(&claims)).await.is_ok());
    let jwk = theirs.jwk();
    for header in [
        r#"{"alg":"ES256","kid":"k"}"#.to_owned(),
        r#"{"alg":"ES256","kid":"k","jku":"http://169.254.169.254/keys","x5u":"file:///etc/passwd"}"#.to_owned(),
        format!(r#"{{"alg":"ES256","kid":"k","jwk":{jwk}}}"#),
        r#"{"alg":"ES256","kid":"k","x5c":["MIIB"],"x5t":"AAAA"}"#.to_owned(),
    ] {
        assert_eq!(fault(&directory, &theirs.sign_with(&header, &claims)).await, Some(JwtFault::Signature), "{header}");
    }
    for alg in ["none", "None", "HS256", "HS512"] {
        let token = theirs.sign_with(&format!(r#"{{"alg":"{alg}","kid":"k"}}"#), &claims);
        assert_eq!(fault(&directory, &token).await, Some(JwtFault::Algorithm), "{alg}");
    }
    assert_eq!(rig.source.calls(), 1);
}

#[tokio::test]
async fn j10_j12_claims_are_checked_under_the_configuration_and_our_clock() {
    let rig = Rig::new();
    let forge = Forge::ed25519("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let good = plain(&rig, "ok");
    let token = forge.sign(&good);
    assert!(bear(&directory, &token).await.is_ok());
    for (bad, expected) in [
        (good.replace("\"aud\":\"scaivault\"", "\"aud\":\"https://kubernetes.default.svc\""), JwtFault::Audience),
        (good.replace("\"aud\":\"scaivault\",", ""), JwtFault::Audience),
        (good.replace(ISSUER, "https://other.example"), JwtFault::Issuer),
        (good.replace(&format!("\"{ISSUER}\""), &format!("[\"{ISSUER}\"]")), JwtFault::Issuer),
        (good.replace("\"exp\"", "\"exq\""), JwtFault::Time),
        (good.replace("\"sub\":\"ok\"", "\"sub\":\"a/b\""), JwtFault::Template),
        (good.replace("\"sub\":\"ok\"", "\"sub\":\"..\""), JwtFault::Template),
        (good.replace("\"sub\":\"ok\"", "\"sub\":\"system\""), JwtFault::Template),
        (good.replace("{\"iss\"", "{\"iss\":\"x\",\"iss\""), JwtFault::Claims),
    ] {
        assert_eq!(fault(&directory, &forge.sign(&bad)).await, Some(expected), "{bad}");
    }
    let listed = good.replace("\"sub\":\"ok\"", "\"sub\":[\"ok\"]");
    assert!(bear(&directory, &forge.sign(&listed)).await.is_err(), "a subject is one text");
    rig.hands.advance(Duration::from_secs(3600 + 29));
    assert!(bear(&directory, &token).await.is_ok(), "within the leeway");
    rig.hands.advance(Duration::from_secs(1));
    assert_eq!(fault(&directory, &token).await, Some(JwtFault::Expired), "a remembered token ends too");
}

#[tokio::test]
async fn j07_unknown_keys_cost_one_fetch_per_cooldown() {
    let rig = Rig::new();
    let (old, new) = (Forge::es256("old"), Forge::es256("new"));
    rig.source.serve(&set(&[old.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let (first, second) = (old.sign(&plain(&rig, "one")), new.sign(&plain(&rig, "two")));
    assert!(bear(&directory, &first).await.is_ok());
    for _ in 0..100 {
        assert_eq!(fault(&directory, &second).await, Some(JwtFault::Key));
    }
    assert_eq!(rig.source.calls(), 1);
    rig.source.fail();
    rig.hands.advance(COOLDOWN);
    for _ in 0..100 {
        assert_eq!(fault(&directory, &second).await, Some(JwtFault::Key));
    }
    assert_eq!(rig.source.calls(), 2);
    assert!(bear(&directory, &old.sign(&plain(&rig, "three"))).await.is_ok(), "good keys are kept");
    rig.source.serve(&set(&[old.jwk(), new.jwk()]));
    rig.hands.advance(COOLDOWN);
    assert!(bear(&directory, &second).await.is_ok(), "j26: a new key works after the cooldown at the latest");
    assert_eq!(rig.source.calls(), 3);
}

#[tokio::test]
async fn j26_a_withdrawn_key_stops_working_also_for_remembered_tokens() {
    let rig = Rig::new();
    let (old, new) = (Forge::es256("old"), Forge::es256("new"));
    rig.source.serve(&set(&[old.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let token = old.sign(&plain(&rig, "one"));
    assert!(bear(&directory, &token).await.is_ok());
    rig.source.serve(&set(&[new.jwk()]));
    rig.hands.advance(Duration::from_secs(15 * 60));
    assert!(directory.authenticate_now(Credential::Bearer(&token), None, None, false).is_none());
    assert_eq!(fault(&directory, &token).await, Some(JwtFault::Key));
}

#[tokio::test]
async fn without_keys_the_issuer_is_unavailable_not_the_client_wrong() {
    let rig = Rig::new();
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let token = Forge::es256("k").sign(&plain(&rig, "one"));
    let error = bear(&directory, &token).await.unwrap_err();
    assert_eq!((error.kind(), rig.source.calls()), (ErrorKind::UpstreamUnavailable, 1));
    assert_eq!(bear(&directory, &token).await.unwrap_err().kind(), ErrorKind::UpstreamUnavailable);
    assert_eq!(rig.source.calls(), 1);
}

#[tokio::test]
async fn many_at_once_wait_for_one_fetch() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = Arc::new(rig.directory(vec![with_issuer("a", issuer(ISSUER))]));
    let hold = rig.source.hold();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (directory, token) = (Arc::clone(&directory), forge.sign(&plain(&rig, &format!("c{n}"))));
            tokio::spawn(async move { bear(&directory, &token).await.map(|caller| caller.principal.id().to_owned()) })
        })
        .collect();
    while rig.source.calls() == 0 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), Ok(format!("c{n}")));
    }
    assert_eq!(rig.source.calls(), 1);
}

#[tokio::test]
async fn two_tenants_of_one_issuer_never_share_a_token() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let both = || vec![with_issuer("a", payments(&["x", "both"])), with_issuer("b", payments(&["y", "both"]))];
    let directory = rig.directory(both());
    let of = |namespace: &str| forge.sign(&kubernetes(&rig, namespace, "s"));
    assert_eq!(bear(&directory, &of("x")).await.unwrap().principal.tenant().as_str(), "a");
    assert_eq!(bear(&directory, &of("y")).await.unwrap().principal.tenant().as_str(), "b");
    assert_eq!(fault(&directory, &of("both")).await, Some(JwtFault::Ambiguous));
    assert_eq!(rig.source.calls(), 1, "they share the keys");

    let issued = directory.login(&tenant("b"), login_with(&of("both"))).await.unwrap();
    assert_eq!(issued.info.principal.tenant().as_str(), "b", "a login names its tenant");
    let refused = directory.login(&tenant("b"), login_with(&of("x"))).await.unwrap_err();
    assert_eq!(refused, IdentityError::Jwt(JwtFault::Claim));

    let open = with_issuer("c", issuer(ISSUER));
    assert_eq!(rig.problem_keys(vec![with_issuer("a", payments(&["x"])), open]), ["identity.jwt[0].allow"]);
}

#[tokio::test]
async fn a_login_issues_a_token_and_its_role_decides_nothing() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = rig.directory(vec![with_issuer("payments", payments(&["payments"])), settings("other")]);
    let at = tenant("payments");
    let jwt = forge.sign(&kubernetes(&rig, "payments", "ledger"));
    let login = |role| Login::Jwt { mount: "kubernetes", jwt: &jwt, role };
    let issued = directory.login(&at, login(Some("admin"))).await.unwrap();
    assert_eq!(
        (issued.info.path.as_str(), issued.info.display_name.as_str()),
        ("auth/kubernetes/login", "kubernetes-payments-ledger")
    );
    assert_eq!(issued.info.meta.last().unwrap(), &("role".to_owned(), "admin".to_owned()));
    let caller = directory.by(&issued.token).unwrap();
    assert_eq!((caller.principal.id(), caller.principal.method()), ("payments/ledger", Method::Jwt));
    assert_eq!(directory.login(&at, login(Some("a\nb"))).await.unwrap().info.meta.len(), 1);
    assert_eq!(directory.login(&tenant("other"), login(None)).await.err(), Some(IdentityError::Jwt(JwtFault::Issuer)));
    assert_eq!(directory.by(&jwt).err(), Some(IdentityError::Unknown), "a JWT is no token of `X-Vault-Token`");

    directory.revoke_principal(&at, "payments/ledger").unwrap();
    assert!(
        matches!(bear(&directory, &jwt).await, Err(IdentityError::Revoked(_))),
        "k05: also as bearer, also remembered"
    );
    assert!(matches!(directory.login(&at, login(None)).await, Err(IdentityError::Revoked(_))));
}

#[tokio::test]
async fn a_child_of_a_jwt_ends_with_it() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let end = rig.hands.secs() + 600;
    let claims = format!(r#"{{"iss":"{ISSUER}","aud":"scaivault","exp":{end},"sub":"a"}}"#);
    let caller = bear(&directory, &forge.sign(&claims)).await.unwrap();
    let child = directory.create_child(&caller, ChildSpec::default()).unwrap();
    assert_eq!(child.info.ttl, Duration::from_secs(630));
    let holder = directory.by(&child.token).unwrap();
    rig.hands.advance(Duration::from_secs(600));
    assert_eq!(directory.renew(&holder, None).unwrap().ttl, Duration::from_secs(30));
}

#[tokio::test]
async fn j17_j21_what_is_no_compact_jws_is_an_unknown_token() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let directory = rig.directory(vec![with_issuer("a", issuer(ISSUER))]);
    let good = forge.sign(&plain(&rig, "one"));
    for bad in [format!("{good}.x"), format!("{good}.x.y"), good.replacen('.', "", 1), format!("x{good}")] {
        assert_eq!(bear(&directory, &bad).await.err(), Some(IdentityError::Unknown));
    }
    assert_eq!(fault(&directory, &format!("{good}=")).await, Some(JwtFault::Shape));
    assert_eq!(bear(&directory, &format!("{good} ")).await.unwrap_err().kind(), ErrorKind::Malformed);
    let huge = forge.sign(&plain(&rig, &"a".repeat(16 * 1024)));
    assert_eq!(bear(&directory, &huge).await.unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(rig.source.calls(), 0, "nothing was fetched for any of them");
}
