//! The fields of lines, whole: PRODUCT §7.

use serde_json::{Value, json};

use super::{NOBODY, builder, stub};
use crate::harness::{ADMIN, Response};

/// Fields whose values differ from run to run; the rest is compared as it is.
const MOVING: [&str; 8] = ["time", "seq", "id", "request_id", "credential", "latency_us", "prev", "mac"];

fn steady(line: &Value) -> Value {
    let mut line = line.clone();
    let fields = line.as_object_mut().unwrap();
    for name in MOVING {
        let moving = fields.remove(name);
        let is_there =
            moving.is_some_and(|value| value.is_number() || value.as_str().is_some_and(|text| !text.is_empty()));
        assert!(is_there || name == "credential", "`{name}` is missing or empty");
    }
    line
}

#[test]
fn a_proxied_read_is_one_line_with_everything_known_of_it() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let response = proxy.vault_call(ADMIN, "GET", "/v1/secret/data/live/one", b"");
    assert_eq!(response.status, 200, "{}", response.text());
    let lines = proxy.audit_of(&response);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(
        steady(&lines[0]),
        json!({
            "instance": "it", "upstream_request_id": "9c8f1f8e-0000-4000-8000-000000000001", "config_generation": 1,
            "tenant": "default", "principal": "t/admin", "wire": "vault", "operation": "read", "path": "live/one", "version": 1,
            "backend": "stub", "remote": "secret/data/live/one", "rule": "0/0", "mode": "proxy",
            "policies": ["admins-do-everything"], "outcome": "ok", "cache": "live", "source": "127.0.0.1", "kind": "read",
        })
    );
}

#[test]
fn a_local_write_is_an_intent_and_an_outcome() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let response = proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/apps/one", br#"{"data":{"a":"value-of-one"}}"#);
    assert_eq!(response.status, 201, "{}", response.text());
    let lines = proxy.audit_of(&response);
    let common = json!({
        "instance": "it", "config_generation": 1, "tenant": "default", "principal": "t/admin", "wire": "scaivault",
        "operation": "write", "path": "apps/one", "mode": "local", "policies": ["admins-do-everything"], "source": "127.0.0.1",
    });
    let with = |more: Value| {
        let mut line = common.clone();
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let steadied: Vec<Value> = lines.iter().map(steady).collect();
    assert_eq!(
        steadied,
        [with(json!({"kind": "intent"})), with(json!({"kind": "outcome", "outcome": "ok", "version": 1}))],
        "{lines:#?}"
    );
    assert_eq!(lines[0]["credential"], lines[1]["credential"]);
    assert!(!format!("{lines:?}").contains("value-of-one"));
}

#[test]
fn refusals_say_who_and_why_and_nothing_else() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let denied = proxy.vault_call(NOBODY, "GET", "/v1/secret/data/live/one", b"");
    let unmapped = proxy.vault_call(ADMIN, "GET", "/v1/secret/data/unmapped/one", b"");
    let unknown = proxy.vault_call("s.unknownunknownunknownun", "GET", "/v1/secret/data/live/one", b"");
    let line = |response: &Response| proxy.audit_of(response).first().map(steady).unwrap_or_default();
    let common = |more: Value| {
        let mut line = json!({
            "instance": "it", "config_generation": 1, "tenant": "default", "wire": "vault", "operation": "read",
            "source": "127.0.0.1", "kind": "refusal",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    assert_eq!(
        line(&denied),
        common(
            json!({"principal": "t/nobody", "path": "live/one", "rule": "0/0", "policies": [], "outcome": "denied"})
        )
    );
    assert_eq!(
        line(&unmapped),
        common(json!({"principal": "t/admin", "path": "unmapped/one", "rule": "none", "outcome": "denied"}))
    );
    assert_eq!(line(&unknown), common(json!({"outcome": "unauthenticated"})));
    assert!(stub.seen().iter().all(|seen| !seen.target.contains("live")), "a refused read reached the backend");
}

#[test]
fn a_runtime_token_lives_from_its_line_to_its_line() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let made = proxy.scaivault_call(ADMIN, "POST", "/v1/tokens", br#"{"principal":"t/made","groups":["admins"]}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let told = |response: &Response| {
        let line = proxy.audit_of(response).first().cloned().unwrap_or_default();
        ["operation", "principal", "detail", "target", "outcome"]
            .map(|name| line[name].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(told(&made), ["token_issue", "t/admin", "issue", "t/made", "ok"]);
    let read = proxy.vault_call(&token, "GET", "/v1/secret/data/live/one", b"");
    assert_eq!((read.status, told(&read)[1].as_str()), (200, "t/made"));
    let renewed = proxy.vault_call(&token, "POST", "/v1/auth/token/renew-self", b"{}");
    assert_eq!(
        (renewed.status, told(&renewed)),
        (200, ["token_renew", "t/made", "renew", "-", "ok"].map(str::to_owned))
    );
    let body = format!(r#"{{"token":"{token}"}}"#);
    let ended = proxy.scaivault_call(ADMIN, "DELETE", "/v1/tokens", body.as_bytes());
    assert_eq!(
        (ended.status, told(&ended)),
        (204, ["token_revoke", "t/admin", "revoke", "-", "ok"].map(str::to_owned))
    );
    assert_eq!(proxy.vault_call(&token, "GET", "/v1/secret/data/live/one", b"").status, 403);
    let again = proxy.scaivault_call(ADMIN, "DELETE", "/v1/tokens", body.as_bytes());
    assert_eq!(again.status, 404, "{}", again.text());
    let text = std::fs::read_to_string(proxy.dir().join("audit/audit.jsonl")).unwrap();
    assert!(!text.contains(&token), "a token is in the trail");
}
