//! The federation API of the real process: the chapter's own calls first, then everything else a backend can be asked and
//! told, who may, what is recorded of it, and what outlives the process.

mod chapter;
mod command;
mod endpoints;
mod files;
mod life;
mod openapi;
mod quarantine;
mod rights;
mod syncs;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{ADMIN, Proxy, ProxyBuilder, Response, config, wait_until};
use crate::peers;

const BACKENDS: &str = "/v1/federation/backends";
const SOON: Duration = Duration::from_secs(20);
const TERM: i32 = 15;
/// May administer what lies under `external`, and nothing else.
const OPERATOR: &str = "operator-token-of-the-federation";
/// An id of the right form that nobody has.
const NOBODYS: &str = "fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P";
/// base64 of 32 bytes
const SEAL_KEY: &str = "a2V5LW9mLXRoZS1mZWRlcmF0aW9uLXN1aXRlcy0wMDE=\n";

/// Both wires over a durable store; backends may point at the chapter's endpoints and at `http://BAO`.
const CONFIG: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
store: {path: {dir}/store/store.redb, local: [apps, infra]}
seal: {provider: file, path: {dir}/seal.key}
federation: {allow_endpoints: ["https://vault.internal:8200", "*.vault.azure.net", "http://BAO"]}
identity:
  tokens:
    - {principal: t/reader, groups: [readers], folders: [apps/db], file: {dir}/reader.token}
    - {principal: t/operator, groups: [operators], file: {dir}/operator.token}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
policies: [{dir}/policies.cedar, {dir}/operators.cedar]
"#
);

const OPERATORS: &str = r#"
@id("operators-run-external")
permit (principal in Group::"operators", action == Action::"administer", resource in Folder::"external");
"#;

/// A proxy over [`CONFIG`] that may point backends at an address.
fn builder(address: &str) -> ProxyBuilder {
    Proxy::builder()
        .config(&CONFIG.replace("BAO", address))
        .file("operators.cedar", OPERATORS)
        .file("operator.token", OPERATOR)
        .file("seal.key", SEAL_KEY)
}

/// A proxy that may point backends at the real server and has its credential under `infra/bao`.
fn with_bao() -> Proxy {
    let bao = peers::openbao();
    let proxy = builder(bao.address()).start();
    let credential = json!({"data": {"token": bao.text("backend_token")}});
    let stored = api(&proxy, "PUT", "/v1/secrets/infra/bao", &credential);
    assert_eq!(stored.status, 201, "{}", stored.text());
    proxy
}

/// A backend on the real server.
fn on_bao(name: &str, from: &str, to: &str) -> Value {
    json!({
        "name": name, "type": "hashicorp-vault", "path_mapping": [{"from": from, "to": to}],
        "config": {"endpoint": peers::openbao().addr, "auth_method": "token", "auth_config_path": "infra/bao"},
    })
}

/// A call by the admin; no body for `null`.
fn api(proxy: &Proxy, method: &str, path: &str, body: &Value) -> Response {
    by(proxy, ADMIN, method, path, body)
}

fn by(proxy: &Proxy, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    proxy.scaivault_call(token, method, path, body.as_bytes())
}

/// The document of a call that must succeed.
fn get(proxy: &Proxy, path: &str) -> Value {
    let answer = api(proxy, "GET", path, &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Makes a backend; yields its path in the API.
fn made(proxy: &Proxy, body: &Value) -> String {
    let answer = api(proxy, "POST", BACKENDS, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let path = answer.header("location").unwrap_or_else(|| panic!("no Location: {answer:?}")).to_owned();
    assert_eq!(path, format!("{BACKENDS}/{}", text(&answer.json(), "id")));
    path
}

/// A text of a document.
fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_else(|| panic!("no `{key}`: {document:#}")).to_owned()
}

/// The keys a refusal is about.
fn wrong_keys(refused: &Response) -> Vec<String> {
    let document = refused.json();
    let errors = document["errors"].as_array().unwrap_or_else(|| panic!("no `errors`: {document:#}"));
    errors.iter().map(|error| text(error, "key")).collect()
}

/// Waits for the end of a run; yields its report.
fn report(proxy: &Proxy, run: &str) -> Value {
    let mut report = Value::Null;
    wait_until(SOON, "the sync to end", || {
        let answer = api(proxy, "GET", run, &Value::Null);
        report = answer.json();
        answer.status == 200 && report["outcome"] != "running"
    });
    report
}

/// Starts a sync; yields its path in the API.
fn sync(proxy: &Proxy, backend: &str, body: &Value) -> String {
    let answer = api(proxy, "POST", &format!("{backend}/sync"), body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let path = answer.header("location").unwrap_or_else(|| panic!("no Location: {answer:?}")).to_owned();
    assert_eq!(path, format!("{backend}/syncs/{}", text(&answer.json(), "run")));
    path
}

/// Puts a secret where only this test looks.
fn put_on_bao(path: &str, value: &str) {
    let body = json!({"data": {"value": value}}).to_string();
    let answer = peers::openbao().root("POST", &format!("/v1/secret/data/{path}"), body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Detail, outcome and target of an operation's lines.
fn told(proxy: &Proxy, operation: &str) -> Vec<[String; 3]> {
    let lines = proxy.audit().into_iter().filter(|line| line["operation"] == operation);
    lines
        .map(|line| ["detail", "outcome", "target"].map(|name| line[name].as_str().unwrap_or("-").to_owned()))
        .collect()
}

fn stop(proxy: &mut Proxy) {
    proxy.signal(TERM);
    let status = proxy.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}:\n{}", proxy.stderr());
}
