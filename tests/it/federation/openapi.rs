//! `GET /v1/openapi.json`: it lists what is served and nothing else, and what is served answers as it says, for thousands
//! of requests somebody else's program makes up from it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{NOBODYS, api, made, on_bao, put_on_bao, report, sync, with_bao};
use crate::harness::{ADMIN, Proxy, request};
use crate::peers;

/// Every route of the scaivault wire.
const ROUTES: [&str; 30] = [
    "DELETE /v1/federation/backends/{id}",
    "DELETE /v1/federation/backends/{id}/syncs/{run}",
    "DELETE /v1/principals/{principal}/revocation",
    "DELETE /v1/secrets/{path}",
    "DELETE /v1/tokens",
    "GET /v1/events",
    "GET /v1/federation/backends",
    "GET /v1/federation/backends/{id}",
    "GET /v1/federation/backends/{id}/conflicts",
    "GET /v1/federation/backends/{id}/quarantine",
    "GET /v1/federation/backends/{id}/status",
    "GET /v1/federation/backends/{id}/syncs",
    "GET /v1/federation/backends/{id}/syncs/{run}",
    "GET /v1/federation/explain",
    "GET /v1/health",
    "GET /v1/openapi.json",
    "GET /v1/secrets",
    "GET /v1/secrets/{path}",
    "HEAD /v1/secrets/{path}",
    "PATCH /v1/federation/backends/{id}",
    "POST /v1/federation/backends",
    "POST /v1/federation/backends/{id}/check",
    "POST /v1/federation/backends/{id}/conflicts/resolve",
    "POST /v1/federation/backends/{id}/quarantine/adopt",
    "POST /v1/federation/backends/{id}/quarantine/purge",
    "POST /v1/federation/backends/{id}/sync",
    "POST /v1/seal/rotate",
    "POST /v1/tokens",
    "PUT /v1/principals/{principal}/revocation",
    "PUT /v1/secrets/{path}",
];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Requests of each phase for each call.
const EXAMPLES: &str = "6";
/// What holds for every answer. Whether a well-formed request is accepted is not among it: names, ids and endpoints must
/// also be somebody's.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,ignored_auth";

fn document(proxy: &Proxy) -> Value {
    let answer = request(&proxy.address("scaivault"), "GET", "/v1/openapi.json", &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

#[test]
fn the_description_lists_every_route_and_needs_no_credential() {
    let proxy = with_bao();
    let document = document(&proxy);
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let paths = document["paths"].as_object().unwrap();
    let told: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let expected: BTreeSet<String> = ROUTES.iter().map(|route| (*route).to_owned()).collect();
    assert_eq!(told, expected);
    // a method that is not there is answered with those that are
    for path in paths.keys() {
        let told: BTreeSet<&str> = told
            .iter()
            .filter_map(|route| route.split_once(' ').filter(|(_, own)| own == path).map(|(m, _)| m))
            .collect();
        let target = path
            .replace("{id}", NOBODYS)
            .replace("{run}", "run_01J9ZQ6W3N8X2T5V7Y0R4M6K8P")
            .replace("{path}", "apps/none")
            .replace("{principal}", "t/nobody");
        for method in METHODS.into_iter().filter(|method| !told.contains(method)) {
            let answer = api(&proxy, method, &target, &Value::Null);
            // the root of the secrets is a secret without a path, unless it is listed
            let status = if path == "/v1/secrets" { 400 } else { 405 };
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
    }
    // without any credential: it is the same for everybody and says nothing of anybody
    assert_eq!(api(&proxy, "GET", "/v1/openapi.json", &Value::Null).json(), document);
    let secret = request(&proxy.address("vault"), "GET", "/v1/openapi.json", &[], b"");
    assert!(secret.status >= 400, "{}", secret.text());
}

#[test]
fn answers_are_what_the_description_says() {
    let proxy = with_bao();
    put_on_bao("conform/one", "a value");
    let mut body = on_bao("conform", "external/conform/**", "secret/data/conform/**");
    body["mode"] = json!("sync");
    body["sync_interval"] = json!("1h");
    let at = made(&proxy, &body);
    report(&proxy, &sync(&proxy, &at, &Value::Null));
    assert_eq!(api(&proxy, "PUT", "/v1/secrets/apps/one", &json!({"data": {"a": 1}})).status, 201);
    // names that are there, so that successes are looked at as well
    let id = at.rsplit('/').next().unwrap();
    let settings = format!(
        r#"
[[operations]]
include-operation-id = [
  "showBackend", "backendStatus", "listSyncs", "listConflicts", "listQuarantine", "checkBackend", "syncBackend",
  "resolveConflict",
]
parameters = {{ "path.id" = "{id}" }}

[[operations]]
include-operation-id = ["readSecret", "headSecret", "writeSecret"]
parameters = {{ "path.path" = "apps/one" }}
"#
    );
    proxy.write("schemathesis.toml", settings);
    let output = Command::new(peers::installed().python.with_file_name("schemathesis"))
        .args(["--config-file", "schemathesis.toml", "--no-color", "run"])
        .arg(format!("{}/v1/openapi.json", proxy.scaivault()))
        .args(["--header", &format!("Authorization: Bearer {ADMIN}")])
        // a stream has no end to wait for
        .args(["--exclude-path", "/v1/events"])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--generation-deterministic", "--suppress-health-check", "filter_too_much", "--warnings", "off"])
        // several threads trip over each other in Python's own parser (its recursion counter is shared)
        .args(["--workers", "1"])
        .current_dir(proxy.dir())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("schemathesis is not among the installed peers: {error}"));
    let told = String::from_utf8_lossy(&output.stdout);
    let log = proxy.stderr();
    assert!(!log.contains("panicked"), "{log}");
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("28 passed"), "not every call was tried:\n{told}");
}
