//! What a restart leaves as it was: every version in every state, on both wires, in their own words.

use serde_json::{Value, json};

use super::{builder, restart};
use crate::harness::{ADMIN, Proxy, READER, wait_until};

/// Requests whose answers must not change.
const READS: [(&str, &str, &str); 16] = [
    ("scaivault", "GET", "/v1/secrets/apps/json"),
    ("scaivault", "GET", "/v1/secrets/apps/json?version=1"),
    ("scaivault", "GET", "/v1/secrets/apps/json?versions=true"),
    ("scaivault", "GET", "/v1/secrets/apps/text"),
    ("scaivault", "GET", "/v1/secrets/apps/binary"),
    ("scaivault", "GET", "/v1/secrets/apps/deleted"),
    ("scaivault", "GET", "/v1/secrets/apps/deleted?versions=true"),
    ("scaivault", "GET", "/v1/secrets/apps/destroyed?versions=true"),
    ("scaivault", "GET", "/v1/secrets/apps/purged"),
    ("scaivault", "GET", "/v1/secrets/apps?list=true"),
    ("scaivault", "GET", "/v1/secrets?list=true"),
    ("vault", "GET", "/v1/secret/data/apps/json"),
    ("vault", "GET", "/v1/secret/metadata/apps/json"),
    ("vault", "GET", "/v1/secret/data/apps/vault"),
    ("vault", "GET", "/v1/secret/metadata/apps/vault"),
    ("vault", "LIST", "/v1/secret/metadata/apps"),
];

fn own(proxy: &Proxy, method: &str, path: &str, body: &Value, status: u16) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = proxy.scaivault_call(ADMIN, method, &format!("/v1/secrets/apps/{path}"), body.as_bytes());
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
}

fn vault(proxy: &Proxy, method: &str, path: &str, body: &Value, status: u16) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = proxy.vault_call(ADMIN, method, &format!("/v1/secret/{path}"), body.as_bytes());
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
}

fn fill(proxy: &Proxy) {
    let metadata = json!({"owner": "it", "note": "gr\u{fc}\u{df}e, \u{96ea}"});
    own(proxy, "PUT", "json", &json!({"data": {"b": 1, "a": [true, null]}, "metadata": metadata}), 201);
    own(proxy, "PUT", "json", &json!({"data": {"a": 1.50}, "cas": 1}), 200);
    own(proxy, "PUT", "text", &json!({"data": "line one\nline two", "secret_type": "text"}), 201);
    own(proxy, "PUT", "binary", &json!({"data": "AAECAwT/", "secret_type": "binary"}), 201);
    for path in ["deleted", "destroyed"] {
        own(proxy, "PUT", path, &json!({"data": {"n": 1}}), 201);
        own(proxy, "PUT", path, &json!({"data": {"n": 2}}), 200);
    }
    own(proxy, "DELETE", "deleted", &Value::Null, 204);
    own(proxy, "DELETE", "destroyed?destroy=true&version=1", &Value::Null, 204);
    own(proxy, "PUT", "purged", &json!({"data": {"n": 1}}), 201);
    vault(proxy, "DELETE", "metadata/apps/purged", &Value::Null, 204);
    vault(proxy, "POST", "data/apps/vault", &json!({"data": {"password": "made-up"}}), 200);
    vault(proxy, "POST", "metadata/apps/vault", &json!({"custom_metadata": {"team": "one"}, "max_versions": 4}), 204);
}

/// An answer without what belongs to the request.
fn answers(proxy: &Proxy) -> Vec<(u16, Value)> {
    let ask = |(wire, method, path): &(&str, &str, &str)| {
        let answer = match *wire {
            "vault" => proxy.vault_call(ADMIN, method, path, b""),
            _ => proxy.scaivault_call(ADMIN, method, path, b""),
        };
        let mut body = answer.json();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("request_id");
        }
        (answer.status, body)
    };
    READS.iter().map(ask).collect()
}

#[test]
fn every_version_in_every_state_is_as_it_was() {
    let mut proxy = builder().start();
    fill(&proxy);
    let before = answers(&proxy);
    let statuses: Vec<u16> = before.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 404, 200, 200, 404, 200, 200, 200, 200, 200, 200, 200]);
    for _ in 0..2 {
        restart(&mut proxy);
        wait_until(super::SOON, "the names to be read", || {
            proxy.scaivault_call(ADMIN, "GET", "/v1/secrets?list=true", b"").status == 200
        });
        for ((request, before), now) in READS.iter().zip(&before).zip(answers(&proxy)) {
            assert_eq!(*before, now, "{request:?}");
        }
    }
    // and it goes on from there
    own(&proxy, "PUT", "deleted?undelete=true&version=2", &Value::Null, 204);
    own(&proxy, "PUT", "json", &json!({"data": {"n": 3}, "cas": 2}), 200);
    super::write(&proxy, "apps/purged", "there again");
    let refused = proxy.scaivault_call(READER, "GET", "/v1/secrets/apps/json", b"");
    assert_eq!(refused.status, 403, "policy applies as before");
}

#[test]
fn a_store_is_filled_and_read_by_whoever_has_its_configuration_however_it_ended() {
    let mut proxy = builder().start();
    fill(&proxy);
    let before = answers(&proxy);
    proxy.signal(9);
    proxy.wait_exit(super::SOON);
    proxy.start_again();
    wait_until(super::SOON, "the names to be read", || {
        proxy.scaivault_call(ADMIN, "GET", "/v1/secrets?list=true", b"").status == 200
    });
    assert_eq!(answers(&proxy), before);
}
