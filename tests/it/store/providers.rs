//! Where the root key comes from: every provider makes a store, opens it again, and opens no store of another key.

use serde_json::{Value, json};

use super::damage::{entry, set_meta};
use super::{
    FILE_SEAL, KEY_FILE, OTHER_KEY_FILE, Run, builder, file_of, holds, refused, restart, sealed_by, stop, write,
};
use crate::harness::{Proxy, ProxyBuilder};
use crate::peers;
use crate::stub::Stub;

const PASSPHRASE: &str = "correct horse battery staple";

/// A provider, and what its store must not open with.
struct Provider {
    seal: &'static str,
    /// A change of the seal, and what is said about it.
    wrong: Option<(&'static str, &'static str)>,
}

fn started(builder: ProxyBuilder, seal: &str) -> Proxy {
    let proxy = builder.config(&sealed_by(seal)).start();
    write(&proxy, "apps/one", "sealed once");
    proxy
}

/// Makes a store, opens it again, tries a wrong key on it, and opens it once more.
fn opens_with_its_key_only(proxy: &mut Proxy, provider: &Provider, config: &dyn Fn(&str) -> String) {
    restart(proxy);
    holds(proxy, "apps/one", "sealed once");
    let Some((wrong, part)) = provider.wrong else { return };
    stop(proxy);
    proxy.write_config(&config(wrong));
    let said = refused(proxy, &[]);
    assert!(said.contains(part), "{wrong}: `{part}` is not told:\n{said}");
    for secret in [KEY_FILE.trim(), OTHER_KEY_FILE.trim(), PASSPHRASE] {
        assert!(!said.contains(secret), "{said}");
    }
    proxy.write_config(&config(provider.seal));
    proxy.start_again();
    holds(proxy, "apps/one", "sealed once");
}

#[test]
fn a_key_in_a_file() {
    let other = "{provider: file, path: {dir}/other.key}";
    let mut proxy = started(builder(), FILE_SEAL);
    let provider = Provider { seal: FILE_SEAL, wrong: Some((other, "sealed under key")) };
    opens_with_its_key_only(&mut proxy, &provider, &sealed_by);
}

#[test]
fn a_key_in_the_environment() {
    let seal = "{provider: env, variable: SEAL_KEY}";
    let builder = builder().env("SEAL_KEY", KEY_FILE.trim()).env("OTHER_KEY", OTHER_KEY_FILE.trim());
    let mut proxy = started(builder, seal);
    let unset = "{provider: env, variable: NO_SUCH_KEY}";
    let provider = Provider { seal, wrong: Some((unset, "NO_SUCH_KEY")) };
    opens_with_its_key_only(&mut proxy, &provider, &sealed_by);
    stop(&mut proxy);
    let said = refused(&proxy, &[("SEAL_KEY", OTHER_KEY_FILE.trim())]);
    assert!(said.contains("SEAL_KEY") && said.contains("sealed under key"), "{said}");
    // the same key by another provider: the store says which one it is sealed by
    proxy.write_config(&sealed_by(FILE_SEAL));
    let said = refused(&proxy, &[]);
    assert!(said.contains("sealed by provider env") && said.contains("seal.previous"), "{said}");
}

#[test]
fn a_passphrase_in_a_file() {
    let seal = "{provider: passphrase, path: {dir}/passphrase}";
    let builder = builder().file("passphrase", format!("{PASSPHRASE}\n")).file("wrong", "incorrect horse battery");
    let mut proxy = started(builder, seal);
    let provider = Provider { seal, wrong: Some(("{provider: passphrase, path: {dir}/wrong}", "wrong")) };
    opens_with_its_key_only(&mut proxy, &provider, &sealed_by);
}

#[test]
fn a_passphrase_in_the_environment() {
    let seal = "{provider: passphrase, variable: PASSPHRASE}";
    let mut proxy = started(builder().env("PASSPHRASE", PASSPHRASE), seal);
    opens_with_its_key_only(&mut proxy, &Provider { seal, wrong: None }, &sealed_by);
}

/// Sealed by a key of the real server's transit engine, with the credential in `transit.json`.
fn transit(key: &str) -> String {
    transit_at(&peers::openbao().addr, key, "5s")
}

fn transit_at(address: &str, key: &str, timeout: &str) -> String {
    let login = "auth_method: token, auth_config_path: infra/transit";
    let config = format!("{{endpoint: \"{address}\", {login}, timeout: {timeout}}}");
    let seal = format!("{{provider: vault-transit, key: {key}, config: {config}}}");
    format!("{}secrets: {{infra/transit: {{file: {{dir}}/transit.json}}}}\n", sealed_by(&seal))
}

/// Makes a key of the transit engine; yields a credential that may use it and nothing else.
fn transit_key(name: &str) -> String {
    let bao = peers::openbao();
    let made = |method: &str, path: &str, body: &Value| {
        let answer = bao.root(method, path, body.to_string().as_bytes());
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer
    };
    made("POST", &format!("/v1/transit/keys/{name}"), &json!({}));
    let rule = |call: &str| format!(r#"path "transit/{call}/{name}" {{ capabilities = ["create", "update"] }}"#);
    let policy = json!({"policy": format!("{}\n{}", rule("encrypt"), rule("decrypt"))});
    made("PUT", &format!("/v1/sys/policies/acl/{name}"), &policy);
    let token = made("POST", "/v1/auth/token/create-orphan", &json!({"policies": [name], "period": "24h"}));
    json!({"token": token.json()["auth"]["client_token"]}).to_string()
}

#[test]
fn e14_a_key_of_vaults_transit_engine() {
    let credential = transit_key("store-suite");
    let bao = peers::openbao();
    let mut proxy = builder().config(&transit("store-suite")).file("transit.json", credential.as_str()).start();
    write(&proxy, "apps/one", "sealed once");
    restart(&mut proxy);
    holds(&proxy, "apps/one", "sealed once");
    // the engine's key may be rotated without us
    assert!(bao.root("POST", "/v1/transit/keys/store-suite/rotate", b"").status < 300);
    restart(&mut proxy);
    holds(&proxy, "apps/one", "sealed once");
    stop(&mut proxy);

    let sealed = Stub::start(|_| (503, r#"{"errors":["sealed"]}"#.to_owned()));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (what, config, token) in [
        ("another key", transit("no-such-key"), credential.as_str()),
        ("nobody there", transit_at(&format!("http://{gone}"), "store-suite", "2s"), credential.as_str()),
        (
            "a sealed server",
            transit_at(&format!("http://{}", sealed.address()), "store-suite", "2s"),
            credential.as_str(),
        ),
        ("a token nobody knows", transit("store-suite"), r#"{"token":"s.no-such-token-at-all"}"#),
        ("a credential that is none", transit("store-suite"), r#"{"tokens":"canary-of-a-token"}"#),
    ] {
        proxy.write("transit.json", token);
        proxy.write_config(&config);
        let said = refused(&proxy, &[]);
        assert!(said.contains("vault-transit") && said.contains("transit/"), "{what}:\n{said}");
        assert!(!said.contains("no-such-token") && !said.contains("canary"), "{what}:\n{said}");
    }
    proxy.write("transit.json", credential.as_str());
    proxy.write_config(&transit("store-suite"));
    proxy.start_again();
    holds(&proxy, "apps/one", "sealed once");

    // a running process does not need the engine
    let revoked = bao.root("POST", "/v1/auth/token/revoke", credential.as_bytes());
    assert!(revoked.status < 300, "{}", revoked.text());
    write(&proxy, "apps/two", "sealed without it");
    holds(&proxy, "apps/two", "sealed without it");
}

#[test]
fn e14_a_wrapped_key_opens_its_own_store_only() {
    let credential = transit_key("store-bound");
    let start = || builder().config(&transit("store-bound")).file("transit.json", credential.as_str()).start();
    let (mut one, mut two) = (start(), start());
    write(&one, "apps/one", "of one");
    write(&two, "apps/one", "of two");
    stop(&mut one);
    stop(&mut two);
    let wrapped = entry(&file_of(&one), "root");
    let before = std::fs::read(file_of(&two)).unwrap();
    set_meta(&file_of(&two), "root", Some(&wrapped));
    let said = refused(&two, &[]);
    assert!(said.contains("vault-transit") && said.contains("store-bound"), "{said}");
    std::fs::write(file_of(&two), before).unwrap();
    two.start_again();
    holds(&two, "apps/one", "of two");
}

#[test]
fn a_seal_without_a_store_that_needs_one_is_refused() {
    let config =
        sealed_by("{provider: passphrase, path: {dir}/passphrase}").replace("  path: {dir}/store/store.redb\n", "");
    let ended = builder().config(&config).file("passphrase", PASSPHRASE).try_start().map(drop).unwrap_err();
    assert!(ended.stderr.contains("seal") && ended.stderr.contains("store"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(PASSPHRASE), "{}", ended.stderr);
}

#[test]
fn a_start_that_was_refused_can_be_tried_again() {
    let seal = "{provider: file, path: {dir}/missing.key}";
    let mut builder = builder().config(&sealed_by(seal));
    builder.write_config();
    let mut run = Run::start(builder.dir(), &[]);
    assert_eq!(run.ended().code(), Some(1));
    assert!(run.said().contains("missing.key"), "{}", run.said());
    let mut proxy = started(builder.file("missing.key", KEY_FILE), seal);
    restart(&mut proxy);
    holds(&proxy, "apps/one", "sealed once");
}
