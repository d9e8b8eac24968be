//! Local secrets in a store that outlives the process: they survive restarts and crashes, nothing of them can be read in
//! the file, and a key that does not open it is an error that loses nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::source;
use super::world::{SEAL_KEY, STORE, config, names, put, vault};
use crate::canary::Canaries;
use crate::harness::{ADMIN, Proxy, wait_until};

const TERM: i32 = 15;
const KILL: i32 = 9;
const SOON: std::time::Duration = std::time::Duration::from_secs(30);
/// Base64 of 32 other bytes.
const OTHER_KEY: &str = "MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3BxcnN0dXY=\n";
const PATHS: [&str; 7] = [
    "apps/canary-path-json",
    "apps/canary-path-text",
    "apps/canary-path-binary",
    "apps/canary-path-deleted",
    "apps/canary-path-destroyed",
    "apps/deep/canary-path-vault",
    "apps/nobody",
];

fn started() -> Proxy {
    Proxy::builder()
        .file("openbao.json", "{}")
        .file("hook.key", "unused")
        .file("seal.key", SEAL_KEY)
        .config(&config(&format!("{STORE}, local: [apps]"), ""))
        .start()
}

fn own(proxy: &Proxy, method: &str, path: &str, body: &Value) {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let done = proxy.scaivault_call(ADMIN, method, &format!("/v1/secrets/{path}"), &bytes);
    assert!(done.status < 300, "{method} {path}: {}", done.text());
}

/// Every kind of secret in every state.
fn fill(proxy: &Proxy) {
    for n in 1..=3 {
        let data = json!({"password": format!("canary-value-{n}"), "n": n});
        let metadata = json!({"owner": "canary-metadata"});
        own(proxy, "PUT", PATHS[0], &json!({"data": data, "metadata": metadata}));
    }
    own(proxy, "PUT", PATHS[1], &json!({"data": "canary-text-grüße", "secret_type": "text"}));
    own(proxy, "PUT", PATHS[2], &json!({"data": "Y2FuYXJ5AP/+AQ==", "secret_type": "binary"}));
    for path in [PATHS[3], PATHS[4]] {
        own(proxy, "PUT", path, &json!({"data": {"gone": "canary-value-4"}}));
        own(proxy, "PUT", path, &json!({"data": {"gone": "canary-value-5"}}));
    }
    own(proxy, "DELETE", PATHS[3], &Value::Null);
    own(proxy, "DELETE", &format!("{}?destroy=true&version=1", PATHS[4]), &Value::Null);
    let body = br#"{"data": {"b":1.50, "a":"\u00e9 canary-value-6"}}"#;
    let written = proxy.vault_call(ADMIN, "POST", &format!("/v1/secret/data/{}", PATHS[5]), body);
    assert_eq!(written.status, 200, "{}", written.text());
    let limited = vault(proxy, "POST", "metadata", PATHS[5], &json!({"cas_required": true, "max_versions": 3}));
    assert_eq!(limited.status, 204, "{}", limited.text());
}

/// Everything that can be known of them over both wires.
fn seen(proxy: &Proxy) -> Vec<Value> {
    let mut seen = vec![names(proxy, "apps/"), names(proxy, "apps/deep/")];
    for path in PATHS {
        for query in ["", "?version=1", "?version=2", "?versions=true"] {
            let told = proxy.scaivault_call(ADMIN, "GET", &format!("/v1/secrets/{path}{query}"), b"");
            let body = if told.status == 200 { told.json() } else { Value::Null };
            seen.extend([json!(told.status), body]);
        }
        seen.push(source::told(&vault(proxy, "GET", "data", path, &Value::Null)));
        let metadata = vault(proxy, "GET", "metadata", path, &Value::Null);
        seen.extend([json!(metadata.status), metadata.json()["data"].clone()]);
    }
    seen
}

fn restarted(proxy: &mut Proxy, signal: i32) {
    proxy.signal(signal);
    let status = proxy.wait_exit(SOON);
    assert_eq!(status.success(), signal == TERM);
    proxy.start_again();
    // exact reads do not wait for the names, lists do
    wait_until(SOON, "the names to be known again", || !names(proxy, "apps/").is_null());
}

#[test]
fn local_secrets_survive_a_restart_and_a_crash() {
    let mut proxy = started();
    fill(&proxy);
    let before = seen(&proxy);
    assert!(before.iter().any(|told| told.to_string().contains("canary-value-3")), "{before:#?}");
    for signal in [TERM, KILL] {
        restarted(&mut proxy, signal);
        assert_eq!(seen(&proxy), before);
    }
    let bytes = br#"{"b":1.50, "a":"\u00e9 canary-value-6"}"#;
    let kept = vault(&proxy, "GET", "data", PATHS[5], &Value::Null);
    assert!(kept.body.windows(bytes.len()).any(|window| window == bytes), "as it was written: {}", kept.text());
    let refused = put(&proxy, PATHS[5], &json!({"data": {"n": 1}}));
    assert_eq!(refused.status, 400, "cas_required is kept, too: {}", refused.text());

    // numbers go on where they were, and what was acknowledged right before a crash is there
    let written = put(&proxy, PATHS[0], &json!({"data": {"n": "canary-value-7"}}));
    assert_eq!((written.status, &written.json()["data"]["version"]), (200, &json!(4)), "{}", written.text());
    let before = seen(&proxy);
    restarted(&mut proxy, KILL);
    assert_eq!(seen(&proxy), before);
}

#[test]
fn nothing_can_be_read_in_the_file_and_another_key_loses_nothing_of_it() {
    let mut proxy = started();
    fill(&proxy);
    let before = seen(&proxy);
    proxy.signal(TERM);
    assert!(proxy.wait_exit(SOON).success());
    let file = proxy.dir().join("store/store.redb");
    let inode = || fs::metadata(&file).unwrap().ino();
    let (made, kept) = (inode(), fs::read(&file).unwrap());
    let canaries = Canaries::new([
        ("a value", "canary-value"),
        ("a text", "canary-text"),
        ("a path", "canary-path"),
        ("metadata", "canary-metadata"),
        ("the seal key", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"),
    ]);
    canaries.are_not_in("the store", &kept);

    for (key, what) in [(OTHER_KEY, "another key"), ("not a key\n", "no key at all")] {
        proxy.write("seal.key", key);
        let ended = proxy.try_start_again().expect_err(what);
        assert!(!ended.status.success(), "{what}");
        assert!(ended.stderr.contains("seal"), "{what}: {}", ended.stderr);
        canaries.are_not_in("the error", ended.stderr.as_bytes());
    }
    fs::remove_file(proxy.dir().join("seal.key")).unwrap();
    let ended = proxy.try_start_again().expect_err("no key file");
    assert!(ended.stderr.contains("seal.key"), "{}", ended.stderr);
    assert_eq!(inode(), made, "it is never begun anew");

    proxy.write("seal.key", SEAL_KEY);
    proxy.start_again();
    wait_until(SOON, "the names to be known again", || !names(&proxy, "apps/").is_null());
    assert_eq!(seen(&proxy), before);
}
