//! A backend's life: made, shown, changed by merge patches, asked how it is, ended; and what is refused on the way, with
//! the key that is wrong and with nothing changed by it.

use serde_json::{Value, json};

use super::{BACKENDS, NOBODYS, api, get, made, on_bao, put_on_bao, stop, text, told, with_bao, wrong_keys};
use crate::harness::Proxy;

fn patch(proxy: &Proxy, at: &str, body: &Value) -> (u16, Value) {
    let answer = api(proxy, "PATCH", at, body);
    (answer.status, answer.json())
}

fn value(proxy: &Proxy, path: &str) -> Value {
    get(proxy, &format!("/v1/secrets/{path}"))["data"]["value"].clone()
}

#[test]
fn a_backend_is_made_changed_and_ended() {
    let mut proxy = with_bao();
    put_on_bao("life/one/x", "of one");
    put_on_bao("life/two/x", "of two");
    let at = made(&proxy, &on_bao("life", "external/life/**", "secret/data/life/one/**"));
    assert_eq!(value(&proxy, "external/life/x"), "of one");

    // a merge patch: objects are merged, null removes, lists are replaced
    let (status, shown) = patch(&proxy, &at, &json!({"max_versions": 3, "config": {"timeout": "9s"}}));
    assert_eq!((status, &shown["max_versions"], &shown["config"]["timeout"]), (200, &json!(3), &json!("9s")));
    assert_eq!(shown["config"]["auth_config_path"], "infra/bao", "{shown:#}");
    assert_eq!(get(&proxy, &at), shown);
    let (status, shown) = patch(&proxy, &at, &json!({"max_versions": null, "config": {"timeout": null}}));
    assert_eq!((status, &shown["max_versions"], &shown["config"]["timeout"]), (200, &json!(10), &json!("5s")));
    let rules = json!([{"from": "external/life/**", "to": "secret/data/life/two/**"}]);
    let (status, shown) = patch(&proxy, &at, &json!({"path_mapping": rules}));
    assert_eq!((status, &shown["path_mapping"][0]["to"]), (200, &json!("secret/data/life/two/**")));
    assert_eq!(value(&proxy, "external/life/x"), "of two", "the change is in force with its answer");
    // an object of rules keeps its order and is shown as a list
    let object =
        json!({"external/life/one/*": "secret/data/life/one/*", "external/life/two/*": "secret/data/life/two/*"});
    let (status, shown) = patch(&proxy, &at, &json!({"path_mapping": object}));
    let froms: Vec<String> = shown["path_mapping"].as_array().unwrap().iter().map(|rule| text(rule, "from")).collect();
    assert_eq!((status, froms), (200, vec!["external/life/one/*".to_owned(), "external/life/two/*".to_owned()]));
    let (status, shown) = patch(&proxy, &at, &json!({"name": "life-renamed"}));
    assert_eq!((status, &shown["name"]), (200, &json!("life-renamed")));
    assert_eq!(value(&proxy, "external/life/one/x"), "of one");

    // all of it outlives the process
    stop(&mut proxy);
    proxy.start_again();
    assert_eq!(get(&proxy, &at), shown);
    assert_eq!(value(&proxy, "external/life/two/x"), "of two");

    let ended = api(&proxy, "DELETE", &at, &Value::Null);
    assert_eq!((ended.status, ended.body.len()), (204, 0));
    for (method, below) in [("GET", ""), ("GET", "/status"), ("DELETE", ""), ("PATCH", ""), ("POST", "/check")] {
        let body = if method == "PATCH" { json!({}) } else { Value::Null };
        let gone = api(&proxy, method, &format!("{at}{below}"), &body);
        assert_eq!(
            (gone.status, &gone.json()["kind"]),
            (404, &json!("not_found")),
            "{method} {below}: {}",
            gone.text()
        );
    }
    let read = api(&proxy, "GET", "/v1/secrets/external/life/one/x", &Value::Null);
    assert_eq!(read.status, 403, "nobody serves it any more: {}", read.text());
    assert_eq!(get(&proxy, BACKENDS), json!({"backends": []}));

    let id = at.rsplit('/').next().unwrap();
    let lines = told(&proxy, "federation_write");
    for word in ["backend_create", "backend_update", "backend_delete"] {
        let of_word = |wanted: &str| lines.iter().filter(|line| line[0] == wanted && line[1] == "ok").count();
        assert_eq!(of_word(word), of_word(&format!("{word}_intent")), "{word}: {lines:#?}");
        assert!(lines.iter().any(|line| *line == [word, "ok", id].map(str::to_owned)), "{word}: {lines:#?}");
    }
}

#[test]
fn what_is_wrong_is_told_by_its_key_and_changes_nothing() {
    let proxy = with_bao();
    put_on_bao("life/one/x", "of one");
    let good = on_bao("wrong", "external/wrong/**", "secret/data/life/one/**");
    let at = made(&proxy, &good);
    let before = get(&proxy, &at);
    let other = |change: &dyn Fn(&mut Value)| {
        let mut body = on_bao("other", "external/other/**", "secret/data/life/one/**");
        change(&mut body);
        body
    };
    for (body, keys) in [
        (json!({}), "name type"),
        (other(&|body| body["name"] = json!("two words")), "name"),
        (other(&|body| body["name"] = json!("wrong")), "name"),
        (other(&|body| body["type"] = json!("no-such-type")), "type"),
        (other(&|body| body["mode"] = json!("local")), "mode"),
        (other(&|body| body["modes"] = json!("proxy")), "modes"),
        (other(&|body| body["sync_interval"] = json!("soon")), "sync_interval"),
        (other(&|body| body["path_mapping"] = json!([])), "path_mapping"),
        (other(&|body| body["path_mapping"][0]["to"] = json!("secret/data/x")), "path_mapping[0]"),
        (other(&|body| body["path_mapping"][0]["more"] = json!(1)), "path_mapping[0].more"),
        (other(&|body| body["path_mapping"] = json!({"a/**": "b/**", "a/*": "c/*"})), "path_mapping"),
        (other(&|body| body["config"]["auth_config_path"] = json!("elsewhere/x")), "config.auth_config_path"),
        (other(&|body| body["config"]["auth_method"] = json!("userpass")), "config.auth_method"),
        (other(&|body| body["config"]["token"] = json!("Canary-token-in-a-body")), "config.token"),
        (other(&|body| body["config"]["client_key_path"] = json!("/etc/shadow")), "config.client_key_path"),
        (other(&|body| body["config"]["ca_path"] = json!("/no/such/file")), "config"),
    ] {
        let refused = api(&proxy, "POST", BACKENDS, &body);
        assert_eq!((refused.status, &refused.json()["kind"]), (400, &json!("malformed")), "{body}: {}", refused.text());
        let told = wrong_keys(&refused);
        for key in keys.split(' ') {
            assert!(told.iter().any(|own| own.starts_with(key)), "{body}: `{key}` is not among {told:?}");
        }
        assert!(!refused.text().contains("Canary"), "{}", refused.text());
        // as a patch of what is there, where it means the same
        if body["name"] == "other" {
            let refused = api(&proxy, "PATCH", &at, &body);
            assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        }
    }
    for body in ["", "[]", "null", "{\"name\":\"a\",\"name\":\"b\"}", "{\"name\": ", "\"text\""] {
        let refused = proxy.scaivault_call(crate::harness::ADMIN, "POST", BACKENDS, body.as_bytes());
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
    for (method, path, status) in [
        ("GET", format!("{BACKENDS}/fed_abc"), 400),
        ("GET", format!("{BACKENDS}/{}", NOBODYS.to_lowercase()), 400),
        ("GET", format!("{BACKENDS}/{NOBODYS}"), 404),
        ("GET", format!("{BACKENDS}/"), 400),
        ("GET", format!("{BACKENDS}/{NOBODYS}/nothing"), 404),
        ("PUT", at.clone(), 405),
        ("DELETE", BACKENDS.to_owned(), 405),
        ("GET", format!("{at}/check"), 405),
        ("GET", format!("{BACKENDS}?limit=1"), 400),
    ] {
        let answer = api(&proxy, method, &path, &Value::Null);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(get(&proxy, &at), before, "something was changed");
    assert_eq!(get(&proxy, BACKENDS)["backends"].as_array().unwrap().len(), 1);
    assert_eq!(value(&proxy, "external/wrong/x"), "of one");
}

#[test]
fn what_this_release_cannot_serve_is_kept_and_says_why() {
    let proxy = with_bao();
    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut body = on_bao(name, &format!("external/{name}/**"), "secret/data/life/one/**");
        change(&mut body);
        body
    };
    let google = changed("google", &|body| {
        body["config"] = json!({"endpoint": crate::peers::openbao().addr, "auth_method": "gcp", "role": "r"});
    });
    let fallback = changed("fallback", &|body| {
        body["path_mapping"][0]["fallback"] = json!([{"backend": "google", "to": "secret/data/x/**"}]);
    });
    for (body, part) in [(google, "config.auth_method"), (fallback, "fallback")] {
        let at = made(&proxy, &body);
        let shown = get(&proxy, &at);
        assert!(text(&shown, "unsupported").contains(part), "{shown:#}");
        assert_eq!(get(&proxy, &format!("{at}/status"))["state"], "unsupported");
        let path = format!("/v1/secrets/external/{}/x", text(&shown, "name"));
        assert_eq!(api(&proxy, "GET", &path, &Value::Null).status, 403);
        let synced = api(&proxy, "POST", &format!("{at}/sync"), &Value::Null);
        assert_eq!(synced.status, 409, "{}", synced.text());
    }
}

#[test]
fn a_check_tells_what_is_in_the_way() {
    let proxy = with_bao();
    let stored = api(&proxy, "PUT", "/v1/secrets/infra/wrong", &json!({"data": {"token": "s.Canary-of-no-token"}}));
    assert_eq!(stored.status, 201, "{}", stored.text());
    let with_login = |name: &str, path: &str| {
        let mut body = on_bao(name, &format!("external/{name}/**"), "secret/data/life/one/**");
        body["config"]["auth_config_path"] = json!(path);
        body
    };
    for (body, state) in [
        (with_login("wrong-token", "infra/wrong"), "denied"),
        (with_login("no-credential", "infra/not-there"), "unreachable"),
    ] {
        let at = made(&proxy, &body);
        let check = api(&proxy, "POST", &format!("{at}/check"), &Value::Null);
        assert_eq!(check.status, 200, "{}", check.text());
        let told = check.json();
        assert_eq!((&told["ok"], &told["reachable"]), (&json!(false), &json!(false)), "{told:#}");
        assert!(!text(&told["error"], "message").is_empty() && !text(&told["error"], "kind").is_empty());
        let status = get(&proxy, &format!("{at}/status"));
        assert_eq!(text(&status, "state"), state, "{status:#}");
        assert!(!check.text().contains("Canary") && !status.to_string().contains("Canary"));
    }
    // what the rules name and our credential may not read
    let closed = made(&proxy, &on_bao("closed", "external/closed/**", "cubbyhole-of-others/data/**"));
    let told = api(&proxy, "POST", &format!("{closed}/check"), &Value::Null).json();
    assert_eq!((&told["ok"], &told["reachable"]), (&json!(false), &json!(true)), "{told:#}");
    let nothing = json!({"read": false, "list": false, "write": false});
    assert_eq!(told["rules"][0]["permissions"], nothing, "{told:#}");
    assert!(told["latency_ms"].is_u64(), "{told:#}");
}
