//! Syncs asked for over the API: started, followed, listed, stopped. What a sync does is for the suite of its own.

use serde_json::{Value, json};

use super::{NOBODYS, api, get, made, on_bao, put_on_bao, report, stop, sync, text, told, with_bao, wrong_keys};
use crate::harness::Proxy;

const SECRETS: usize = 5;

/// A synced backend over a few secrets of its own.
fn synced(proxy: &Proxy, name: &str) -> String {
    for number in 0..SECRETS {
        put_on_bao(&format!("{name}/s{number}"), &format!("value {number}"));
    }
    let mut body = on_bao(name, &format!("external/{name}/**"), &format!("secret/data/{name}/**"));
    body["mode"] = json!("sync");
    body["sync_interval"] = json!("1h");
    made(proxy, &body)
}

#[test]
fn a_sync_is_started_followed_and_reported() {
    let mut proxy = with_bao();
    let at = synced(&proxy, "syncs-api");
    let first = report(&proxy, &sync(&proxy, &at, &Value::Null));
    assert_eq!(first["outcome"], "completed", "{first:#}");
    let found = ["created", "unchanged"].map(|key| first[key].as_u64().unwrap());
    assert_eq!(found.iter().sum::<u64>(), SECRETS as u64, "{first:#}");
    let second = report(&proxy, &sync(&proxy, &at, &json!({})));
    assert_eq!((&second["read"], &second["unchanged"]), (&json!(0), &json!(SECRETS)), "{second:#}");

    let runs = get(&proxy, &format!("{at}/syncs"));
    let ids: Vec<String> = runs["syncs"].as_array().unwrap().iter().map(|run| text(run, "id")).collect();
    assert_eq!(ids.first(), Some(&text(&second, "id")), "the newest first");
    assert!(ids.contains(&text(&first, "id")), "{ids:?}");
    let status = get(&proxy, &format!("{at}/status"));
    assert_eq!((&status["state"], &status["secrets_synced"]), (&json!("healthy"), &json!(SECRETS)), "{status:#}");
    assert_eq!((&status["running"], &status["consecutive_failures"]), (&Value::Null, &json!(0)), "{status:#}");
    assert_eq!(status["last_sync"]["id"], second["id"], "{status:#}");
    for key in ["last_sync_at", "next_sync_at"] {
        assert!(text(&status, key).ends_with('Z'), "{status:#}");
    }
    assert!(status["staleness_seconds"].is_u64() && status["connection_latency_ms"].is_u64(), "{status:#}");
    let secret = get(&proxy, "/v1/secrets/external/syncs-api/s1");
    assert_eq!((&secret["data"]["value"], &secret["source"]["mode"]), (&json!("value 1"), &json!("sync")));

    // reports outlive the process, and so do the copies
    stop(&mut proxy);
    proxy.start_again();
    assert_eq!(get(&proxy, &format!("{at}/syncs/{}", text(&first, "id"))), first);
    assert_eq!(get(&proxy, "/v1/secrets/external/syncs-api/s1")["data"]["value"], "value 1");
    let lines = told(&proxy, "federation_write");
    let id = at.rsplit('/').next().unwrap();
    assert_eq!(lines.iter().filter(|line| **line == ["sync", "ok", id].map(str::to_owned)).count(), 2, "{lines:#?}");
}

#[test]
fn single_paths_are_synced_on_request_and_foreign_ones_refused() {
    let proxy = with_bao();
    let at = synced(&proxy, "syncs-paths");
    report(&proxy, &sync(&proxy, &at, &Value::Null));
    put_on_bao("syncs-paths/s2", "a newer value");
    let run = report(&proxy, &sync(&proxy, &at, &json!({"paths": ["external/syncs-paths/s2"]})));
    assert_eq!((&run["scope"], &run["updated"], &run["read"]), (&json!("paths"), &json!(1), &json!(1)), "{run:#}");
    assert_eq!(get(&proxy, "/v1/secrets/external/syncs-paths/s2")["data"]["value"], "a newer value");
    for (body, keys) in [
        (json!({"paths": ["external/syncs-paths/s2", "apps/x"]}), vec!["paths[1]"]),
        (json!({"paths": ["elsewhere/x", "apps/x"]}), vec!["paths[0]", "paths[1]"]),
    ] {
        let refused = api(&proxy, "POST", &format!("{at}/sync"), &body);
        assert_eq!((refused.status, wrong_keys(&refused)), (400, keys.iter().map(|key| (*key).to_owned()).collect()));
    }
    for body in [json!({"paths": []}), json!({"paths": ["a//b"]}), json!({"path": "a"}), json!({"paths": "a"})] {
        let refused = api(&proxy, "POST", &format!("{at}/sync"), &body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
}

#[test]
fn what_does_not_run_is_not_stopped_and_what_is_not_synced_has_no_runs() {
    let proxy = with_bao();
    let at = synced(&proxy, "syncs-none");
    let done = sync(&proxy, &at, &Value::Null);
    report(&proxy, &done);
    let refused = api(&proxy, "DELETE", &done, &Value::Null);
    assert_eq!((refused.status, &refused.json()["kind"]), (409, &json!("conflict")), "{}", refused.text());
    for run in [NOBODYS, "run_01J9ZQ6W3N8X2T5V7Y0R4M6K8P", "x"] {
        let unknown = api(&proxy, "GET", &format!("{at}/syncs/{run}"), &Value::Null);
        assert_eq!(unknown.status, 404, "{run}: {}", unknown.text());
    }
    let proxied = made(&proxy, &on_bao("syncs-proxied", "external/proxied/**", "secret/data/syncs-none/**"));
    let refused = api(&proxy, "POST", &format!("{proxied}/sync"), &Value::Null);
    assert_eq!((refused.status, &refused.json()["kind"]), (409, &json!("conflict")), "{}", refused.text());
    assert_eq!(get(&proxy, &format!("{proxied}/syncs")), json!({"syncs": []}));
    assert_eq!(get(&proxy, &format!("{proxied}/conflicts")), json!({"conflicts": []}));
    let none = json!({"path": "external/syncs-none/s1", "keep": "backend"});
    let unresolved = api(&proxy, "POST", &format!("{at}/conflicts/resolve"), &none);
    assert_eq!(unresolved.status, 404, "{}", unresolved.text());
    for body in [
        json!({}),
        json!({"path": "a"}),
        json!({"path": "a", "keep": "both"}),
        json!({"path": "a//b", "keep": "local"}),
    ] {
        let refused = api(&proxy, "POST", &format!("{at}/conflicts/resolve"), &body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
}

#[test]
fn a_sync_can_be_followed_from_its_answer_on() {
    let proxy = with_bao();
    let at = synced(&proxy, "syncs-followed");
    for _ in 0..10 {
        let run = sync(&proxy, &at, &Value::Null);
        // until it ends there is no moment at which it is not there
        let mut told = get(&proxy, &run);
        while told["outcome"] == "running" {
            told = get(&proxy, &run);
        }
        assert_eq!(told["outcome"], "completed", "{told:#}");
    }
}
