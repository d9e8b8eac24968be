//! Lists name what is served, and nothing of what is kept from wires.

use serde_json::{Value, json};

use crate::harness::{ADMIN, BASIC, Proxy};

/// A backend that is never asked; its credential is a local secret that clients may write and never read.
const BACKEND: &str = "secrets: {infra/own/key: {file: {dir}/own}}
backends:
  - name: elsewhere
    type: hashicorp-vault
    config: {endpoint: 'http://127.0.0.1:9', auth_method: token, auth_config_path: infra/creds/token}
    path_mapping: [{from: 'external/a/*', to: 'secret/data/*'}]
";

fn started() -> Proxy {
    let config = BASIC.replace("local: [apps, scratch]", "local: [apps, infra]");
    Proxy::builder().config(&format!("{config}{BACKEND}")).file("own", "a-value-of-the-proxys-own").start()
}

fn put(proxy: &Proxy, path: &str) {
    let answer = proxy.scaivault_call(ADMIN, "PUT", &format!("/v1/secrets/{path}"), br#"{"data":{"token":"x"}}"#);
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
}

/// What the vault wire lists; null where there is nothing.
fn on_vault(proxy: &Proxy, folder: &str) -> Value {
    let answer = proxy.vault_call(ADMIN, "LIST", &format!("/v1/secret/metadata/{folder}"), b"");
    match answer.status {
        404 => Value::Null,
        200 => answer.json()["data"]["keys"].clone(),
        status => panic!("{folder}: {status} {}", answer.text()),
    }
}

fn on_scaivault(proxy: &Proxy, folder: &str) -> Value {
    let answer = proxy.scaivault_call(ADMIN, "GET", &format!("/v1/secrets/{folder}?list=true"), b"");
    assert_eq!(answer.status, 200, "{folder}: {}", answer.text());
    answer.json()["names"].clone()
}

#[test]
fn g11_a_folder_that_holds_only_what_is_kept_from_wires_is_not_named() {
    let proxy = started();
    put(&proxy, "apps/db/main");
    put(&proxy, "infra/creds/token");
    assert_eq!(on_vault(&proxy, ""), json!(["apps/", "external/"]));
    assert_eq!(on_vault(&proxy, "infra"), Value::Null);
    assert_eq!(on_scaivault(&proxy, "infra"), json!([]));

    put(&proxy, "infra/creds/other");
    put(&proxy, "infra/open");
    assert_eq!(on_vault(&proxy, ""), json!(["apps/", "external/", "infra/"]));
    assert_eq!(on_vault(&proxy, "infra"), json!(["creds/", "open"]));
    assert_eq!(on_vault(&proxy, "infra/creds"), json!(["other"]));
    assert_eq!(on_scaivault(&proxy, "infra"), json!(["creds/", "open"]));
}
