//! What changes in OpenBao arrives: values, versions and their states, metadata, whole secrets; the rest is left alone.

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{STORE, backend, backends, config, described, names, proxy, read, rule, secret, told, value};
use crate::harness::Proxy;

const FOLDER: &str = "apps/";

/// The copies are what the source is: the same names, and of each the same versions with the same states, values and
/// metadata. Nobody is asked for it.
fn is_the_same(proxy: &Proxy, source: &Source, relay: &Relay, gone: &[&str]) {
    relay.forget();
    let listed = source.names(FOLDER);
    assert_eq!(names(proxy, FOLDER), listed);
    for name in listed.as_array().unwrap() {
        let path = format!("{FOLDER}{}", name.as_str().unwrap());
        let states = source.described(&path);
        assert_eq!(described(proxy, &path), states, "{path}");
        assert_eq!(told(proxy, &path), source.told(&path), "{path}");
        for version in states["versions"].as_object().unwrap().keys() {
            let one = format!("{path}?version={version}");
            assert_eq!(told(proxy, &one), source.told(&one), "{one}");
        }
    }
    for path in gone {
        assert_eq!(told(proxy, path)["status"], 404, "{path}");
        assert_eq!(described(proxy, path)["status"], 404, "{path}");
        assert_eq!(secret(proxy, path).status, 404, "{path}");
    }
    assert_eq!(relay.calls(), [""; 0], "the copies have everything");
}

fn started(source: &Source, relay: &Relay, history: &str) -> (Proxy, Api) {
    let keys = ["mode: sync", "sync_interval: 1h", history];
    let vault = backend("vault", relay.address(), &keys, &[rule(source, "apps", "")]);
    let proxy = proxy(source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");
    (proxy, api)
}

#[test]
fn with_history_the_copies_are_the_source_version_by_version() {
    let source = Source::new("sync-history");
    for version in 1..=4 {
        source.put("apps/full", &json!({"password": format!("made-up-{version}"), "n": version}));
    }
    source.change("POST", "metadata", "apps/full", &json!({"custom_metadata": {"owner": "team-one", "tier": "gold"}}));
    source.change("PUT", "destroy", "apps/full", &json!({"versions": [1]}));
    source.change("POST", "delete", "apps/full", &json!({"versions": [2]}));
    for name in ["changed", "deleted", "undeleted", "destroyed", "purged", "described", "alone"] {
        source.put(&format!("apps/{name}"), &json!({"name": name, "text": "grüße, 雪 & <tags>", "number": 1.50}));
        source.put(&format!("apps/{name}"), &json!({"name": name, "version": 2, "nested": {"list": [1, null, true]}}));
    }
    source.change("DELETE", "data", "apps/undeleted", &Value::Null);
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "history: all");
    api.complete();
    is_the_same(&proxy, &source, &relay, &["apps/added"]);

    source.put("apps/changed", &json!({"name": "changed", "version": 3}));
    source.put("apps/added", &json!({"name": "added"}));
    source.change("DELETE", "data", "apps/deleted", &Value::Null);
    source.change("POST", "undelete", "apps/undeleted", &json!({"versions": [2]}));
    source.change("PUT", "destroy", "apps/destroyed", &json!({"versions": [1, 2]}));
    source.change("DELETE", "metadata", "apps/purged", &Value::Null);
    source.change("POST", "metadata", "apps/described", &json!({"custom_metadata": {"owner": "team-two"}}));
    source.change("POST", "undelete", "apps/full", &json!({"versions": [2]}));
    source.put("apps/full", &json!({"password": "made-up-5"}));
    source.change("POST", "metadata", "apps/full", &json!({"custom_metadata": {"tier": "silver"}}));
    assert_eq!(value(&proxy, "apps/changed")["version"], 2, "until the next run the copy is as it was");
    let report = api.complete();
    assert_eq!((&report["created"], &report["deleted"]), (&json!(1), &json!(1)), "{report:#}");
    assert_eq!((&report["updated"], &report["unchanged"]), (&json!(6), &json!(1)), "{report:#}");
    assert_eq!((&report["conflicts"], &report["skipped_count"]), (&json!(0), &json!(0)), "{report:#}");
    is_the_same(&proxy, &source, &relay, &["apps/purged"]);

    let again = api.complete();
    assert_eq!((&again["read"], &again["unchanged"]), (&json!(0), &json!(8)), "{again:#}");
}

#[test]
fn without_history_the_newest_version_is_copied_and_the_backend_is_asked_for_older_ones() {
    let source = Source::new("sync-newest");
    for version in 1..=3 {
        source.put("apps/one", &json!({"n": version}));
    }
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "history: none");
    let report = api.complete();
    assert_eq!(report["error_count"], 0, "{report:#}");
    assert_eq!(api.total("read"), 1);
    relay.forget();
    assert_eq!(read(&proxy, "apps/one"), (200, "hit".to_owned()));
    assert_eq!(read(&proxy, "apps/one?version=3"), (200, "hit".to_owned()));
    assert_eq!(relay.calls(), [""; 0]);
    for version in 1..=2 {
        let one = format!("apps/one?version={version}");
        assert_eq!(told(&proxy, &one), source.told(&one), "{one}");
    }
    assert_eq!(relay.count("/data/apps/one"), 2);
    assert_eq!(described(&proxy, "apps/one"), source.described("apps/one"), "all versions are known");
}

#[test]
fn a_secret_that_was_purged_and_made_again_gets_a_number_that_was_never_used() {
    let source = Source::new("sync-again");
    source.put("apps/one", &json!({"life": "first", "n": 1}));
    source.put("apps/one", &json!({"life": "first", "n": 2}));
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "history: all");
    api.complete();
    source.change("DELETE", "metadata", "apps/one", &Value::Null);
    source.put("apps/one", &json!({"life": "second"}));
    api.complete();
    let now = told(&proxy, "apps/one");
    assert_eq!((&now["data"]["life"], &now["version"]), (&json!("second"), &json!(3)), "{now:#}");
    assert_eq!(told(&proxy, "apps/one?version=3"), now);
}

#[test]
fn one_path_is_refreshed_at_once_and_nothing_else_is_looked_at() {
    let source = Source::new("sync-path");
    for name in ["rotated", "other", "gone"] {
        source.put(&format!("apps/{name}"), &json!({"n": 1}));
    }
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "history: none");
    api.complete();
    source.put("apps/rotated", &json!({"n": 2}));
    source.put("apps/other", &json!({"n": 2}));
    source.put("apps/fresh", &json!({"n": 1}));
    source.change("DELETE", "metadata", "apps/gone", &Value::Null);

    relay.forget();
    let report = api.sync_paths(&["apps/rotated", "apps/fresh", "apps/gone"]);
    assert_eq!((&report["scope"], &report["outcome"]), (&json!("paths"), &json!("completed")), "{report:#}");
    let counts = ["created", "updated", "deleted", "read"].map(|count| report[count].clone());
    assert_eq!(counts, [json!(1), json!(1), json!(1), json!(2)], "{report:#}");
    assert_eq!(relay.count("apps/other"), 0);
    assert_eq!(value(&proxy, "apps/rotated"), json!({"n": 2}));
    assert_eq!(value(&proxy, "apps/fresh"), json!({"n": 1}));
    assert_eq!(read(&proxy, "apps/gone").0, 404);
    assert_eq!(value(&proxy, "apps/other"), json!({"n": 1}));

    let foreign = api.call("POST", "/sync", &json!({"paths": ["elsewhere/x"]}));
    assert_eq!(foreign.status, 400, "{}", foreign.text());
    assert!(foreign.text().contains("is not synced from this backend"), "{}", foreign.text());
}
