//! Who may: every route of the API with no, an unknown, a denied and an allowed credential, what an operator of some
//! backends may, what is recorded, and requests a browser could be made to send.

use serde_json::{Value, json};

use super::{BACKENDS, NOBODYS, OPERATOR, api, by, get, made, on_bao, put_on_bao, report, sync, told, with_bao};
use crate::harness::{ADMIN, Proxy, READER, Response, request};

const BEARER: &str = "Bearer admin-token-of-the-harness";

/// Every route, with a body where it takes one: method, path, body, and what the admin is answered.
fn routes(at: &str) -> Vec<(&'static str, String, Value, u16)> {
    let of = |below: &str| format!("{at}{below}");
    vec![
        ("GET", BACKENDS.to_owned(), Value::Null, 200),
        ("POST", BACKENDS.to_owned(), json!({"name": "rights-2"}), 400),
        ("GET", of(""), Value::Null, 200),
        ("PATCH", of(""), json!({"max_versions": 4}), 200),
        ("POST", of("/check"), Value::Null, 200),
        ("POST", of("/sync"), Value::Null, 202),
        ("GET", of("/syncs"), Value::Null, 200),
        ("GET", of("/syncs/run_01J9ZQ6W3N8X2T5V7Y0R4M6K8P"), Value::Null, 404),
        ("DELETE", of("/syncs/run_01J9ZQ6W3N8X2T5V7Y0R4M6K8P"), Value::Null, 409),
        ("GET", of("/status"), Value::Null, 200),
        ("GET", of("/conflicts"), Value::Null, 200),
        ("POST", of("/conflicts/resolve"), json!({"path": "external/rights/x", "keep": "local"}), 404),
        ("GET", of("/quarantine"), Value::Null, 200),
        ("POST", of("/quarantine/adopt"), Value::Null, 200),
        ("POST", of("/quarantine/purge"), Value::Null, 200),
        ("POST", "/v1/seal/rotate".to_owned(), json!({"key": "tenant"}), 200),
        ("DELETE", of(""), Value::Null, 204),
    ]
}

/// A synced backend under `external`, copied once.
fn backend(proxy: &Proxy, name: &str, folder: &str) -> String {
    put_on_bao("rights/x", "a value");
    let mut body = on_bao(name, &format!("{folder}/**"), "secret/data/rights/**");
    body["mode"] = json!("sync");
    body["sync_interval"] = json!("1h");
    let at = made(proxy, &body);
    report(proxy, &sync(proxy, &at, &Value::Null));
    at
}

/// The lines of one answer: kind and outcome.
fn lines(proxy: &Proxy, answer: &Response) -> Vec<(String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    proxy.audit_of(answer).iter().map(|line| (text(line, "kind"), text(line, "outcome"))).collect()
}

#[test]
fn every_route_is_for_those_who_administer_it() {
    let proxy = with_bao();
    let at = backend(&proxy, "rights", "external/rights");
    for (method, path, body, status) in routes(&at) {
        for (token, expected, outcome) in
            [("", 401, "unauthenticated"), ("a-token-that-nobody-has", 401, "unauthenticated"), (READER, 403, "denied")]
        {
            let refused = by(&proxy, token, method, &path, &body);
            assert_eq!(refused.status, expected, "{method} {path}: {}", refused.text());
            assert_eq!(lines(&proxy, &refused), [("refusal".to_owned(), outcome.to_owned())], "{method} {path}");
            assert!(!refused.text().contains("rights"), "{}", refused.text());
        }
        let answer = api(&proxy, method, &path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let told = lines(&proxy, &answer);
        assert!((1..=2).contains(&told.len()), "{method} {path}: {told:?}");
        assert!(told.iter().all(|(kind, _)| kind == "note"), "{method} {path}: {told:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
    }
}

#[test]
fn an_operator_of_a_folder_runs_its_backends_and_makes_none() {
    let proxy = with_bao();
    let ours = backend(&proxy, "ours", "external/ours");
    let theirs = backend(&proxy, "theirs", "team/theirs");
    let operator = |method: &str, path: &str, body: &Value| by(&proxy, OPERATOR, method, path, body);

    let listed = operator("GET", BACKENDS, &Value::Null).json();
    let names: Vec<&Value> = listed["backends"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("ours")]);
    assert_eq!(get(&proxy, BACKENDS)["backends"].as_array().unwrap().len(), 2);
    for (method, below, body, status) in [
        ("GET", "", Value::Null, 200),
        ("GET", "/status", Value::Null, 200),
        ("POST", "/check", Value::Null, 200),
        ("POST", "/sync", Value::Null, 202),
        ("PATCH", "", json!({"sync_interval": "2h", "max_stale": "24h"}), 200),
        // what decides which secrets are reached, and as whom
        ("PATCH", "", json!({"name": "renamed"}), 403),
        ("PATCH", "", json!({"config": {"endpoint": "https://vault.internal:8200"}}), 403),
        ("PATCH", "", json!({"path_mapping": {"external/ours/**": "secret/data/**"}}), 403),
        ("PATCH", "", json!({"type": "hashicorp-vault"}), 403),
    ] {
        let answer = operator(method, &format!("{ours}{below}"), &body);
        assert_eq!(answer.status, status, "{method} {below} {body}: {}", answer.text());
    }
    // another's backend and one that does not exist look the same
    for (method, below, body) in [
        ("GET", "", Value::Null),
        ("GET", "/quarantine", Value::Null),
        ("PATCH", "", json!({"max_versions": 2})),
        ("DELETE", "", Value::Null),
    ] {
        let [their, none] = [theirs.clone(), format!("{BACKENDS}/{NOBODYS}")].map(|at| {
            let answer = operator(method, &format!("{at}{below}"), &body);
            let mut document = answer.json();
            document["request_id"] = Value::Null;
            (answer.status, document)
        });
        assert_eq!(their.0, 403, "{method} {below}");
        assert_eq!(their, none, "{method} {below}");
    }
    for path in [BACKENDS, "/v1/seal/rotate"] {
        let answer = operator("POST", path, &on_bao("new", "external/new/**", "secret/data/new/**"));
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.text());
    }
    let made = operator("POST", BACKENDS, &on_bao("new", "external/new/**", "secret/data/new/**"));
    assert_eq!(made.status, 403, "{}", made.text());
    assert_eq!(operator("GET", "/v1/events", &Value::Null).status, 403);
    // administering is not reading
    assert_eq!(operator("GET", "/v1/secrets/external/ours/x", &Value::Null).status, 403);
    assert_eq!(get(&proxy, &ours)["name"], "ours");
    assert_eq!(operator("DELETE", &ours, &Value::Null).status, 204);
}

#[test]
fn what_is_done_is_recorded_with_its_word_and_what_it_is_about() {
    let proxy = with_bao();
    let at = backend(&proxy, "recorded", "external/recorded");
    let id = at.rsplit('/').next().unwrap().to_owned();
    for (method, below, body) in [
        ("GET", "", Value::Null),
        ("GET", "/status", Value::Null),
        ("GET", "/syncs", Value::Null),
        ("GET", "/conflicts", Value::Null),
        ("GET", "/quarantine", Value::Null),
        ("POST", "/check", Value::Null),
        ("POST", "/quarantine/purge", Value::Null),
        ("PATCH", "", json!({"max_versions": 0})),
        ("PATCH", "", json!({"max_versions": 7})),
        ("DELETE", "", Value::Null),
    ] {
        api(&proxy, method, &format!("{at}{below}"), &body);
    }
    api(&proxy, "GET", BACKENDS, &Value::Null);
    let about = |word: &str, outcome: &str| [word, outcome, id.as_str()].map(str::to_owned);
    let reads = told(&proxy, "federation_read");
    for word in ["backend_show", "backend_status", "sync_list", "conflict_list", "quarantine_list", "backend_check"] {
        assert!(reads.contains(&about(word, "ok")), "{word}: {reads:#?}");
    }
    assert!(reads.contains(&["backend_list", "ok", "-"].map(str::to_owned)), "{reads:#?}");
    let writes = told(&proxy, "federation_write");
    let expected = [
        ["backend_create_intent", "ok", "-"].map(str::to_owned),
        about("backend_create", "ok"),
        about("sync", "ok"),
        about("quarantine_purge_intent", "ok"),
        about("quarantine_purge", "ok"),
        about("backend_update_intent", "ok"),
        about("backend_update", "malformed"),
        about("backend_update_intent", "ok"),
        about("backend_update", "ok"),
        about("backend_delete_intent", "ok"),
        about("backend_delete", "ok"),
    ];
    assert_eq!(writes, expected);
    for line in proxy.audit().iter().filter(|line| line["operation"] == "federation_write") {
        assert_eq!(
            (&line["principal"], &line["tenant"], &line["wire"]),
            (&json!("t/admin"), &json!("default"), &json!("scaivault"))
        );
    }
}

#[test]
fn x04_requests_a_page_could_make_are_refused() {
    let proxy = with_bao();
    let body = on_bao("csrf", "external/csrf/**", "secret/data/csrf/**").to_string();
    let send = |headers: &[(&str, &str)]| {
        let mut all = vec![("Authorization", BEARER)];
        all.extend_from_slice(headers);
        request(&proxy.address("scaivault"), "POST", BACKENDS, &all, body.as_bytes())
    };
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    for (headers, statuses) in [
        (vec![JSON, ("Origin", "https://evil.example")], 403_u16..=403),
        (vec![JSON, ("Origin", "null")], 403..=403),
        (vec![JSON, ("Sec-Fetch-Site", "cross-site")], 403..=403),
        (vec![("Content-Type", "text/plain")], 415..=415),
        (vec![("Content-Type", "application/x-www-form-urlencoded")], 415..=415),
        (vec![], 415..=415),
        (vec![JSON, ("Host", "rebound.evil.example")], 400..=421),
        (vec![JSON, ("Content-Encoding", "gzip")], 415..=415),
    ] {
        let answer = send(&headers);
        assert!(statuses.contains(&answer.status), "{headers:?}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(get(&proxy, BACKENDS), json!({"backends": []}), "something was made");
    assert_eq!(BEARER, format!("Bearer {ADMIN}"));
    assert_eq!(send(&[JSON]).status, 201);
    // nothing of it is on the vault wire, and nothing on the admin listener
    for name in ["vault", "admin"] {
        let answer = request(&proxy.address(name), "GET", BACKENDS, &[("Authorization", BEARER)], b"");
        assert!(answer.status >= 400, "{name}: {}", answer.text());
    }
}
