//! `explain`: what stopped a request, by its id and for those who may know, and what a name would come to for somebody.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{ADMIN, BASIC, POLICIES, Proxy, ProxyBuilder, READER, Response};
use crate::stub::Stub;

const FORBID: &str = r#"
@id("nobody-reads-private")
forbid (principal in Group::"readers", action, resource in Folder::"apps/db/private");
"#;

const BACKEND: &str = r#"
secrets:
  infra/backend:
    file: {dir}/backend.json
backends:
  - name: stub
    type: hashicorp-vault
    config: {endpoint: "http://STUB", auth_method: approle, auth_config_path: infra/backend}
    path_mapping:
      - {from: "live/**", to: "secret/data/live/**"}
"#;

/// A backend that knows the proxy and lets it read nothing.
fn denying() -> Stub {
    Stub::start(|_| (403, r#"{"errors":["permission denied"]}"#.to_owned()))
}

fn builder(stub: &Stub) -> ProxyBuilder {
    Proxy::builder()
        .config(&format!("{BASIC}{}", BACKEND.replace("STUB", stub.address())))
        .file("policies.cedar", format!("{POLICIES}{FORBID}"))
        .file("backend.json", r#"{"role_id":"role-at-the-backend","secret_id":"secret-id-at-the-backend"}"#)
}

fn ask(proxy: &Proxy, token: &str, question: &str) -> Response {
    proxy.scaivault_call(token, "GET", &format!("/v1/federation/explain?{question}"), b"")
}

/// What stopped a request, as somebody is told.
fn stopped(proxy: &Proxy, token: &str, refused: &Response) -> Value {
    let answer = ask(proxy, token, &format!("request={}", refused.request_id()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["request_id"], refused.request_id());
    answer.json()["stopped_by"].clone()
}

fn named(stopped: &Value) -> (&str, &str) {
    let text = |key: &str| stopped[key].as_str().unwrap_or_else(|| panic!("no `{key}`: {stopped}"));
    (text("stage"), text("kind"))
}

/// The command line's answer, with nothing of the caller's environment but a token.
fn explain(arguments: &[&str], token: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
        .args(["--output", "json", "explain"])
        .args(arguments)
        .env_clear()
        .env("SCAIVAULT_TOKEN", token)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_request_without_a_credential_is_explained_to_an_administrator_only() {
    let stub = denying();
    let proxy = builder(&stub).start();
    for refused in [
        proxy.vault_call("", "GET", "/v1/secret/data/apps/db/x", b""),
        proxy.scaivault_call("", "GET", "/v1/secrets/apps/db/x", b""),
        proxy.scaivault_call("a-token-that-nobody-has", "GET", "/v1/secrets/apps/db/x", b""),
    ] {
        assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
        assert_eq!(named(&stopped(&proxy, ADMIN, &refused)), ("credential", "unauthenticated"));
        let question = format!("request={}", refused.request_id());
        let answer = ask(&proxy, READER, &question);
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(!answer.text().contains("stopped_by"), "{}", answer.text());
        assert_eq!(ask(&proxy, "", &question).status, 401);
    }
}

#[test]
fn an_undeclared_mount_is_explained_to_an_administrator() {
    let stub = denying();
    let proxy = builder(&stub).start();
    let refused = proxy.vault_call(ADMIN, "GET", "/v1/nowhere/data/apps/db/x", b"");
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(named(&stopped(&proxy, ADMIN, &refused)), ("mapping", "denied"));
}

#[test]
fn a_denial_names_the_policy_and_the_path_to_the_one_it_happened_to() {
    let stub = denying();
    let proxy = builder(&stub).start();
    let refused = proxy.vault_call(READER, "GET", "/v1/secret/data/apps/db/private/x", b"");
    assert_eq!(refused.status, 403, "{}", refused.text());
    for token in [READER, ADMIN] {
        let stopped = stopped(&proxy, token, &refused);
        assert_eq!(named(&stopped), ("policy", "denied"));
        assert_eq!(stopped["policies"], json!(["nobody-reads-private"]), "{stopped}");
        assert_eq!(stopped["path"], "apps/db/private/x", "{stopped}");
    }
    // nothing permits it: there is no policy to name
    let refused = proxy.vault_call(READER, "GET", "/v1/secret/data/apps/other", b"");
    let stopped = stopped(&proxy, READER, &refused);
    assert_eq!((named(&stopped), &stopped["policies"]), (("policy", "denied"), &json!([])));
}

#[test]
fn a_backend_that_denies_us_is_told_from_a_policy_that_denies_the_caller() {
    let stub = denying();
    let proxy = builder(&stub).start();
    let refused = proxy.vault_call(ADMIN, "GET", "/v1/secret/data/live/one", b"");
    assert!(refused.status >= 400, "{}", refused.text());
    assert_eq!(named(&stopped(&proxy, ADMIN, &refused)), ("backend", "upstream_rejected"));
    let told = explain(&["--server", &proxy.scaivault(), "--request", refused.request_id()], ADMIN);
    assert_eq!(named(&told["stopped_by"]), ("backend", "upstream_rejected"));
}

#[test]
fn as_somebody_of_the_configuration_means_with_their_groups_and_folders() {
    let stub = denying();
    let proxy = builder(&stub).start();
    let config = proxy.dir().join("config.yaml");
    let (config, server) = (config.to_str().unwrap(), proxy.scaivault());
    for (principal, name, decision, policies) in [
        ("t/reader", "secret/apps/db/x", "permit", json!(["readers-read-own-folders"])),
        ("t/reader", "secret/apps/db/private/x", "deny", json!(["nobody-reads-private"])),
        ("t/reader", "secret/live/one", "deny", json!([])),
        ("t/admin", "secret/live/one", "permit", json!(["admins-do-everything"])),
    ] {
        let question = ["--wire", "vault", "--as", principal, name];
        let with = |key: &str, place: &str| explain(&[[key, place].as_slice(), question.as_slice()].concat(), ADMIN);
        for answer in [with("--config", config), with("--server", &server)] {
            let found = (answer["decision"].as_str(), &answer["policies"]);
            assert_eq!(found, (Some(decision), &policies), "{principal} {name}: {answer:#}");
        }
    }
}
