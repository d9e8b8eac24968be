//! Access keys that follow from run-time tokens.

use std::time::Duration;

use super::super::*;
use super::forge::{Forge, set};
use super::rig::{Rig, START_SECS, access_key, issuer, settings, static_token, tenant};
use super::signer::{KEY_ID, NAMES, PRESIGNED_NAMES, SECRET, Sent, Signer};
use crate::clock::Timestamp;

const TOKEN: &str = "0123456789abcdef";
const ALL_NAMES: &str = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
const HOUR: Duration = Duration::from_secs(3600);

fn rigged() -> (Rig, Directory) {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    a.access_keys = vec![access_key("search/indexer", KEY_ID, SECRET)];
    let directory = rig.directory(vec![a]);
    (rig, directory)
}

fn issued(directory: &Directory) -> AccessKey {
    let spec = IssueSpec { principal: "ci".into(), groups: vec!["apps".into()], ..IssueSpec::default() };
    directory.access_key(&directory.issue(&tenant("a"), spec).unwrap())
}

fn signer(key: &AccessKey) -> Signer {
    Signer {
        id: key.id.clone(),
        secret: key.secret.to_string(),
        token: Some(key.session_token.to_string()),
        ..Signer::at(START_SECS)
    }
}

fn refused(directory: &Directory, signer: &Signer) -> Option<&'static str> {
    let header = directory.signed(signer.sign(Sent::read(), ALL_NAMES).request()).unwrap_err();
    let query = directory.signed(signer.presign(Sent::read(), PRESIGNED_NAMES, "60").request()).unwrap_err();
    assert_eq!(header, query);
    header.detail()
}

#[test]
fn a_token_is_an_access_key() {
    let (_rig, directory) = rigged();
    let key = issued(&directory);
    assert!(key.id.starts_with("ASIA") && key.id.len() == 20 && key.secret.len() == 40);
    let signer = signer(&key);
    let by_header = directory.signed(signer.sign(Sent::read(), ALL_NAMES).request()).unwrap();
    assert_eq!((by_header.principal.id(), by_header.via), ("ci", CallerVia::AccessKey));
    assert_eq!(directory.lookup(&by_header).accessor, key.info.accessor, "it is the token itself");
    let by_query = directory.signed(signer.presign(Sent::read(), PRESIGNED_NAMES, "60").request()).unwrap();
    assert_eq!(by_query.credential, by_header.credential);
    let by_crate = directory.signed(signer.sign_by_crate(Sent::read()).request()).unwrap();
    assert_eq!(by_crate.signature, by_header.signature);
    assert_eq!(directory.by(&key.session_token).unwrap().via, CallerVia::RunTimeToken, "and still a token");
    let shown = format!("{key:?}");
    assert!(!shown.contains(key.secret.as_str()) && !shown.contains(key.session_token.as_str()));
}

#[test]
fn s22_a_key_and_its_session_token_belong_together() {
    let (_rig, directory) = rigged();
    let (one, two) = (issued(&directory), issued(&directory));
    let good = signer(&one);
    let without = Signer { token: None, ..good.clone() };
    let sent = without.sign(Sent::read(), NAMES);
    assert_eq!(directory.signed(sent.request()).err(), Some(IdentityError::Unknown), "missing");
    assert_eq!(refused(&directory, &Signer { token: Some(two.session_token.to_string()), ..good.clone() }), None);
    assert_eq!(refused(&directory, &Signer { id: two.id.clone(), ..good.clone() }), None, "another key's id");
    let wrong = Signer { secret: two.secret.to_string(), ..good.clone() };
    assert_eq!(refused(&directory, &wrong), Some(SIGNATURE_MISMATCH), "another key's secret");
    for token in [TOKEN, "svp.x", &"a".repeat(8193), &"a".repeat(16 * 1024)] {
        let signer = Signer { token: Some(token.to_owned()), ..good.clone() };
        let sent = signer.sign(Sent::read(), ALL_NAMES);
        assert_eq!(directory.signed(sent.request()).err(), Some(IdentityError::Unknown), "{} bytes", token.len());
    }
    let configured = Signer { token: Some(one.session_token.to_string()), ..Signer::at(START_SECS) };
    assert_eq!(refused(&directory, &configured), None, "a configured key has no session token");
    let mut twice = good.sign(Sent::read(), ALL_NAMES);
    twice.add("x-amz-security-token", &one.session_token);
    assert_eq!(directory.signed(twice.request()).unwrap_err().detail(), Some(SIGNATURE_INCOMPLETE));
}

#[test]
fn a_key_ends_with_its_token() {
    let (rig, directory) = rigged();
    let (one, two) = (issued(&directory), issued(&directory));
    let caller = directory.signed(signer(&one).sign(Sent::read(), ALL_NAMES).request()).unwrap();
    directory.revoke(&caller).unwrap();
    assert_eq!(refused(&directory, &signer(&one)), None, "revoked");
    rig.hands.advance(HOUR);
    let late = Signer { at: START_SECS + 3600, ..signer(&two) };
    assert_eq!(refused(&directory, &late), None, "expired");
    let three = Signer { at: START_SECS + 3600, ..signer(&issued(&directory)) };
    directory.revoke_principal(&tenant("a"), "ci").unwrap();
    assert_eq!(refused(&directory, &three), None, "its principal is revoked");
    let other_process = Rig::new();
    let mut a = settings("a");
    a.access_keys = vec![access_key("search/indexer", KEY_ID, SECRET)];
    assert_eq!(refused(&other_process.directory(vec![a]), &signer(&two)), None);
}

#[test]
fn an_exchange_ends_with_what_was_exchanged() {
    let (rig, directory) = rigged();
    let by_static = directory.exchange(&directory.by(TOKEN).unwrap()).unwrap();
    assert_eq!((by_static.info.ttl, by_static.info.renewable, by_static.info.orphan), (HOUR, false, false));
    assert_eq!(by_static.info.path, "v1/credentials");
    assert_eq!(by_static.info.expires_at, Some(Timestamp::from_secs(START_SECS + 3600)));
    let key = directory.access_key(&by_static);
    let caller = directory.signed(signer(&key).sign(Sent::read(), ALL_NAMES).request()).unwrap();
    assert_eq!((caller.principal.id(), caller.principal.method()), ("oncall", Method::Token));
    assert_eq!(directory.renew(&caller, None).err(), Some(IdentityError::NotRenewable));

    rig.hands.advance(Duration::from_secs(1800));
    let again = directory.exchange(&directory.by(&by_static.token).unwrap()).unwrap();
    assert_eq!(again.info.ttl, Duration::from_secs(1800), "a key exchanged for a key is no longer one");
    directory.revoke(&directory.by(&by_static.token).unwrap()).unwrap();
    assert!(directory.by(&again.token).is_err());

    let short = Signer::at(START_SECS + 1800).presign(Sent::read(), PRESIGNED_NAMES, "60");
    let short = directory.exchange(&directory.signed(short.request()).unwrap()).unwrap();
    assert_eq!(short.info.ttl, Duration::from_secs(60), "a presigned request yields nothing beyond its own end");
    let long = Signer::at(START_SECS + 1800).sign(Sent::read(), NAMES);
    let long = directory.exchange(&directory.signed(long.request()).unwrap()).unwrap();
    assert_eq!(long.info.ttl, HOUR);
    let (static_only, mut gone) = (settings("a"), settings("a"));
    gone.tokens = vec![static_token("oncall", TOKEN)];
    assert!(rig.directory(vec![gone]).by(&long.token).is_err(), "the key it came from left the configuration");
    assert!(rig.directory(vec![static_only]).by(&long.token).is_err());
}

#[tokio::test]
async fn an_exchange_of_a_jwt_ends_with_it() {
    let rig = Rig::new();
    let forge = Forge::es256("k");
    rig.source.serve(&set(&[forge.jwk()]));
    let mut a = settings("a");
    a.jwt = vec![issuer("https://oidc.example")];
    let directory = rig.directory(vec![a]);
    let end = START_SECS + 600;
    let claims = format!(r#"{{"iss":"https://oidc.example","aud":"scaivault","exp":{end},"sub":"pod"}}"#);
    let jwt = forge.sign(&claims);
    let caller = directory.authenticate(Credential::Bearer(&jwt), None, None, false).await.unwrap();
    let issued = directory.exchange(&caller).unwrap();
    assert_eq!((issued.info.principal.id(), issued.info.ttl), ("pod", Duration::from_secs(630)), "30 s of leeway");
}

#[test]
fn a_workloads_key_is_kept_nowhere() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.workload = Some(WorkloadSettings { principal: "w".into(), groups: vec!["apps".into()], folders: vec![] });
    let directory = rig.directory(vec![a]);
    let at = tenant("a");
    let caller = directory.authenticate_now(Credential::None, None, Some(&at), true).unwrap().unwrap();
    let issued = directory.exchange(&caller).unwrap();
    assert_eq!((issued.info.ttl, issued.info.path.as_str()), (HOUR, "v1/credentials"));
    assert_eq!(rig.sessions.count(&at), 0);
    assert_eq!(refused(&directory, &signer(&directory.access_key(&issued))), None, "and is worth nothing elsewhere");
}
