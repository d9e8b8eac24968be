//! What a backend that ended leaves: copies nobody is served, until somebody adopts or purges them; and the flips of a
//! backend's mode.

use serde_json::{Value, json};

use super::{BACKENDS, api, get, made, on_bao, put_on_bao, report, stop, sync, with_bao};
use crate::harness::{Proxy, wait_until};

const SECRETS: u64 = 3;

/// A backend whose secrets are copied.
fn copied(proxy: &Proxy, name: &str, from: &str) -> String {
    for number in 0..SECRETS {
        put_on_bao(&format!("{name}/s{number}"), &format!("value {number}"));
    }
    let mut body = on_bao(name, &format!("{from}/**"), &format!("secret/data/{name}/**"));
    body["mode"] = json!("sync");
    body["sync_interval"] = json!("1h");
    let at = made(proxy, &body);
    assert_eq!(report(proxy, &sync(proxy, &at, &Value::Null))["outcome"], "completed");
    at
}

fn count(proxy: &Proxy, at: &str) -> Value {
    get(proxy, &format!("{at}/quarantine"))["count"].clone()
}

#[test]
fn copies_outlive_their_backend_in_quarantine() {
    let mut proxy = with_bao();
    let at = copied(&proxy, "quarantine", "external/quarantine");
    assert_eq!(count(&proxy, &at), 0);
    assert_eq!(api(&proxy, "DELETE", &at, &Value::Null).status, 204);
    for number in 0..SECRETS {
        let path = format!("/v1/secrets/external/quarantine/s{number}");
        assert_eq!(api(&proxy, "GET", &path, &Value::Null).status, 403, "a copy of nobody is served");
    }
    stop(&mut proxy);
    proxy.start_again();
    wait_until(super::SOON, "the names to be read", || {
        api(&proxy, "GET", &format!("{at}/quarantine"), &Value::Null).status == 200
    });
    let held = get(&proxy, &format!("{at}/quarantine"));
    assert_eq!(held["count"], SECRETS, "{held:#}");
    let copy = &held["copies"][0];
    assert_eq!(
        (&copy["path"], &copy["remote"]),
        (&json!("external/quarantine/s0"), &json!("secret/data/quarantine/s0"))
    );
    assert_eq!((&copy["ahead"], &copy["conflicted"]), (&json!(false), &json!(false)), "{held:#}");

    // they lie outside store.local: they stay where they are
    let adopted = api(&proxy, "POST", &format!("{at}/quarantine/adopt"), &Value::Null);
    assert_eq!((adopted.status, &adopted.json()["adopted"]), (200, &json!(0)), "{}", adopted.text());
    assert_eq!(adopted.json()["left"].as_array().unwrap().len() as u64, SECRETS, "{}", adopted.text());
    let purged = api(&proxy, "POST", &format!("{at}/quarantine/purge"), &json!({}));
    assert_eq!((purged.status, purged.json()), (200, json!({"purged": SECRETS})), "{}", purged.text());
    assert_eq!(count(&proxy, &at), 0);
    let again = made(&proxy, &on_bao("quarantine", "external/quarantine/**", "secret/data/quarantine/**"));
    assert_ne!(again, at, "an id is used once");
}

#[test]
fn copies_under_a_local_folder_are_adopted_once_their_rule_is_gone() {
    let mut proxy = with_bao();
    let at = copied(&proxy, "adopted", "team");
    assert_eq!(api(&proxy, "DELETE", &at, &Value::Null).status, 204);
    stop(&mut proxy);
    // the folder becomes local with the next start
    let bao = crate::peers::openbao();
    let config =
        super::CONFIG.replace("BAO", bao.address()).replace("local: [apps, infra]", "local: [apps, infra, team]");
    proxy.write_config(&config);
    proxy.start_again();
    assert_eq!(api(&proxy, "GET", "/v1/secrets/team/s1", &Value::Null).status, 404, "quarantined is not served");
    let mut adopted = json!(null);
    wait_until(super::SOON, "the names to be read", || {
        let answer = api(&proxy, "POST", &format!("{at}/quarantine/adopt"), &Value::Null);
        adopted = answer.json();
        answer.status == 200
    });
    assert_eq!(adopted, json!({"adopted": SECRETS, "left": []}));
    let secret = get(&proxy, "/v1/secrets/team/s1");
    assert_eq!(
        (&secret["data"]["value"], &secret["source"]["mode"]),
        (&json!("value 1"), &json!("local")),
        "{secret:#}"
    );
    let written = api(&proxy, "PUT", "/v1/secrets/team/s1", &json!({"data": {"value": "ours now"}}));
    assert_eq!(written.status, 200, "{}", written.text());
    assert!(written.json()["version"].as_u64() > secret["version"].as_u64(), "versions go on: {}", written.text());
}

#[test]
fn a_backend_flips_to_sync_and_back_and_not_with_changes_that_are_nowhere_else() {
    let proxy = with_bao();
    put_on_bao("flip/x", "remote");
    let at = made(&proxy, &on_bao("flip", "external/flip/**", "secret/data/flip/**"));
    let read = || get(&proxy, "/v1/secrets/external/flip/x");
    assert_eq!(read()["source"]["mode"], "proxy");
    let patch = |body: Value| api(&proxy, "PATCH", &at, &body);
    let flipped = patch(json!({"mode": "sync", "sync_interval": "1h", "write_mode": "local"}));
    assert_eq!(flipped.status, 200, "{}", flipped.text());
    assert_eq!(report(&proxy, &sync(&proxy, &at, &Value::Null))["outcome"], "completed");
    assert_eq!(read()["source"]["mode"], "sync");
    // nothing is only here: back it goes, and the copy with it
    let back = patch(json!({"mode": "proxy", "write_mode": "disabled"}));
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!((&read()["source"]["mode"], count(&proxy, &at)), (&json!("proxy"), json!(0)));

    assert_eq!(patch(json!({"mode": "sync", "write_mode": "local"})).status, 200);
    assert_eq!(report(&proxy, &sync(&proxy, &at, &Value::Null))["outcome"], "completed");
    let ours = api(&proxy, "PUT", "/v1/secrets/external/flip/x", &json!({"data": {"value": "ours"}}));
    assert_eq!(ours.status, 200, "{}", ours.text());
    let refused = patch(json!({"mode": "proxy", "write_mode": "disabled"}));
    assert_eq!((refused.status, &refused.json()["kind"]), (409, &json!("conflict")), "{}", refused.text());
    assert_eq!(read()["data"]["value"], "ours", "nothing was lost");
    assert_eq!(get(&proxy, &at)["mode"], "sync");
    assert_eq!(get(&proxy, BACKENDS)["backends"][0]["mode"], "sync");
}
