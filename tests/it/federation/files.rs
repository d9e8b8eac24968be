//! Backends of the configuration file beside those of the API: shown, read-only, tried first.

use serde_json::{Value, json};

use super::{BACKENDS, api, by, get, made, on_bao, put_on_bao, stop, text, told, wrong_keys};
use crate::harness::{Proxy, READER};
use crate::peers;

/// A configuration with two backends of its own on the real server.
fn with_two() -> Proxy {
    let bao = peers::openbao();
    let config = super::CONFIG.replace("BAO", bao.address());
    let config = format!(
        r#"{config}secrets: {{infra/file: {{file: {{dir}}/bao.json}}}}
backends:
  - name: first
    type: hashicorp-vault
    config: {{endpoint: "{0}", auth_method: token, auth_config_path: infra/file}}
    path_mapping: [{{from: "external/first/**", to: "secret/data/files/first/**"}}]
  - name: second
    type: hashicorp-vault
    mode: sync
    sync_interval: 1h
    config: {{endpoint: "{0}", auth_method: token, auth_config_path: infra/file}}
    path_mapping: [{{from: "external/second/**", to: "secret/data/files/second/**"}}]
"#,
        bao.addr
    );
    put_on_bao("files/first/one", "of the first");
    put_on_bao("files/second/one", "of the second");
    put_on_bao("files/api/one", "of the api");
    let credential = json!({"token": bao.text("backend_token")}).to_string();
    super::builder(bao.address()).config(&config).file("bao.json", credential).start()
}

#[test]
fn backends_of_the_file_are_shown_and_changed_in_the_file_only() {
    let mut proxy = with_two();
    let stored = api(
        &proxy,
        "PUT",
        "/v1/secrets/infra/bao",
        &json!({"data": {"token": peers::openbao().text("backend_token")}}),
    );
    assert_eq!(stored.status, 201, "{}", stored.text());
    let third = made(&proxy, &on_bao("third", "external/api/**", "secret/data/files/api/**"));
    let listed = get(&proxy, BACKENDS);
    let listed = listed["backends"].as_array().unwrap();
    let shown: Vec<Value> =
        listed.iter().map(|one| json!([one["name"], one["source"], one["read_only"], one["config_key"]])).collect();
    assert_eq!(
        shown,
        [
            json!(["first", "file", true, "backends[0]"]),
            json!(["second", "file", true, "backends[1]"]),
            json!(["third", "api", false, null]),
        ]
    );
    for (place, value) in [("first", "of the first"), ("second", "of the second"), ("api", "of the api")] {
        let read = get(&proxy, &format!("/v1/secrets/external/{place}/one"));
        assert_eq!(read["data"]["value"], value, "{read:#}");
    }
    for (at, one) in listed.iter().take(2).enumerate() {
        let path = format!("{BACKENDS}/{}", text(one, "id"));
        assert_eq!(get(&proxy, &path), *one);
        for (method, body) in [("PATCH", json!({"sync_interval": "1m"})), ("DELETE", Value::Null)] {
            let refused = api(&proxy, method, &path, &body);
            assert_eq!((refused.status, &refused.json()["kind"]), (409, &json!("conflict")), "{}", refused.text());
            assert_eq!(wrong_keys(&refused), [format!("backends[{at}]")]);
            assert_eq!(by(&proxy, READER, method, &path, &body).status, 403, "and first of all one must be allowed to");
        }
        // what changes nothing in the file may be asked
        assert_eq!(api(&proxy, "POST", &format!("{path}/check"), &Value::Null).json()["ok"], true);
        let state = text(&get(&proxy, &format!("{path}/status")), "state");
        assert!(matches!(state.as_str(), "healthy" | "behind"), "{state}");
    }
    let refusals = told(&proxy, "federation_write").into_iter().filter(|[_, outcome, _]| outcome == "conflict");
    let words: Vec<String> = refusals.map(|[word, _, _]| word).collect();
    assert_eq!(words, ["backend_update", "backend_delete", "backend_update", "backend_delete"]);

    // ids are of tenant and name: they stay when the file is read again
    let ids: Vec<String> = listed.iter().map(|one| text(one, "id")).collect();
    stop(&mut proxy);
    proxy.start_again();
    let again = get(&proxy, BACKENDS);
    let again: Vec<String> = again["backends"].as_array().unwrap().iter().map(|one| text(one, "id")).collect();
    assert_eq!(again, ids);
    assert_eq!(api(&proxy, "DELETE", &third, &Value::Null).status, 204);
}

#[test]
fn a_name_and_a_path_belong_to_whoever_had_them_first() {
    let proxy = with_two();
    let stored = api(
        &proxy,
        "PUT",
        "/v1/secrets/infra/bao",
        &json!({"data": {"token": peers::openbao().text("backend_token")}}),
    );
    assert_eq!(stored.status, 201, "{}", stored.text());
    let refused = api(&proxy, "POST", BACKENDS, &on_bao("first", "external/x/**", "secret/data/x/**"));
    assert_eq!((refused.status, wrong_keys(&refused)), (400, vec!["name".to_owned()]));
    // the same paths behind another backend: those before it are asked
    let shadowed = made(&proxy, &on_bao("shadowed", "external/**", "secret/data/files/api/**"));
    assert_eq!(get(&proxy, "/v1/secrets/external/first/one")["data"]["value"], "of the first");
    assert_eq!(get(&proxy, "/v1/secrets/external/one")["data"]["value"], "of the api");
    // a secret of the file is not the API's to log in with, and is served by nobody
    let mut by_file = on_bao("by-file", "external/by-file/**", "secret/data/files/api/**");
    by_file["config"]["auth_config_path"] = json!("infra/file");
    let refused = api(&proxy, "POST", BACKENDS, &by_file);
    assert_eq!((refused.status, wrong_keys(&refused)), (400, vec!["config.auth_config_path".to_owned()]));
    assert_eq!(api(&proxy, "GET", "/v1/secrets/infra/file", &Value::Null).status, 403);
    assert_eq!(api(&proxy, "DELETE", &shadowed, &Value::Null).status, 204);
    // what a local folder holds is not a backend's
    let local = api(&proxy, "POST", BACKENDS, &on_bao("local", "apps/**", "secret/data/files/api/**"));
    assert_eq!(local.status, 400, "{}", local.text());
}
