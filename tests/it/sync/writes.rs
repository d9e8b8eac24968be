//! Writes to copied paths: refused, kept here, or carried to OpenBao first; on the vault wire as its clients send them.

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{
    STORE, backend, backends, config, described, names, proxy, put, read, reload, rule, secret, told, value, vault,
};
use crate::harness::{ADMIN, Proxy, Response, request, wait_until};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const PATCH: &str = "application/merge-patch+json";

/// A mount with `FOLDER/one`, copied and written by the mode.
fn started(source: &Source, relay: &Relay, folder: &str, mode: &str) -> (Proxy, Api) {
    source.put(&format!("{folder}/one"), &json!({"n": 1}));
    let keys = ["mode: sync", "sync_interval: 1h", mode];
    let vault = backend("vault", relay.address(), &keys, &[rule(source, folder, "")]);
    let proxy = proxy(source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");
    api.complete();
    relay.forget();
    (proxy, api)
}

fn data(n: u64) -> Value {
    json!({"data": {"n": n}})
}

fn cas(n: u64, expected: u64) -> Value {
    json!({"data": {"n": n}, "options": {"cas": expected}})
}

fn patch(proxy: &Proxy, path: &str, body: &Value) -> Response {
    let headers = [("X-Vault-Token", ADMIN), ("Content-Type", PATCH)];
    let body = body.to_string();
    request(&proxy.address("vault"), "PATCH", &format!("/v1/secret/data/{path}"), &headers, body.as_bytes())
}

#[track_caller]
fn written(response: &Response, version: u64) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["data"]["version"], version, "{}", response.text());
}

#[track_caller]
fn empty(response: &Response) {
    assert_eq!(response.status, 204, "{}", response.text());
}

#[track_caller]
fn not_the_version(response: &Response) {
    assert_eq!(response.status, 400, "{}", response.text());
    let errors = &response.json()["errors"];
    assert_eq!(errors[0], "check-and-set parameter did not match the current version");
}

#[test]
fn without_a_write_mode_nothing_is_written_anywhere() {
    let source = Source::new("sync-disabled");
    let relay = Relay::to(&source.address);
    let (proxy, _api) = started(&source, &relay, "ro", "write_mode: disabled");
    let refused = [
        put(&proxy, "ro/one", &data(2)),
        put(&proxy, "ro/new", &data(1)),
        patch(&proxy, "ro/one", &data(2)),
        vault(&proxy, "DELETE", "data", "ro/one", &Value::Null),
        vault(&proxy, "POST", "delete", "ro/one", &json!({"versions": [1]})),
        vault(&proxy, "POST", "undelete", "ro/one", &json!({"versions": [1]})),
        vault(&proxy, "POST", "destroy", "ro/one", &json!({"versions": [1]})),
        vault(&proxy, "POST", "metadata", "ro/one", &json!({"custom_metadata": {"a": "b"}})),
        vault(&proxy, "DELETE", "metadata", "ro/one", &Value::Null),
    ];
    for response in &refused {
        assert_eq!(response.status, 403, "{}", response.text());
        assert!(response.text().contains("served read-only"), "{}", response.text());
    }
    let own = proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/ro/one", data(2).to_string().as_bytes());
    assert_eq!((own.status, &own.json()["kind"]), (403, &json!("read_only")), "{}", own.text());
    assert_eq!(relay.calls(), [""; 0], "OpenBao heard of it");
    assert_eq!((value(&proxy, "ro/one"), source.value("ro/one")), (json!({"n": 1}), json!({"n": 1})));
}

#[test]
fn local_writes_stay_here_and_survive_every_run() {
    let source = Source::new("sync-local");
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "lo", "write_mode: local");
    written(&put(&proxy, "lo/one", &cas(2, 1)), 2);
    not_the_version(&put(&proxy, "lo/one", &cas(3, 1)));
    written(&put(&proxy, "lo/new", &cas(1, 0)), 1);
    not_the_version(&put(&proxy, "lo/new", &cas(2, 0)));
    written(&patch(&proxy, "lo/one", &json!({"data": {"more": true}})), 3);
    empty(&vault(&proxy, "POST", "metadata", "lo/one", &json!({"custom_metadata": {"owner": "here"}})));
    let is_as_written = |proxy: &Proxy| {
        assert_eq!(told(proxy, "lo/one")["data"], json!({"n": 2, "more": true}));
        assert_eq!(told(proxy, "lo/one")["custom_metadata"], json!({"owner": "here"}));
        assert_eq!(told(proxy, "lo/one?version=2")["data"], json!({"n": 2}));
        assert_eq!(secret(proxy, "lo/new").json()["data"], json!({"n": 1}));
        assert_eq!(names(proxy, "lo/"), json!(["new", "one"]));
    };
    is_as_written(&proxy);
    assert_eq!(relay.writes(), [""; 0], "nothing of it went to OpenBao");
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["pushed"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!((&report["updated"], &report["deleted"]), (&json!(0), &json!(0)), "{report:#}");
    is_as_written(&proxy);
    assert_eq!((source.value("lo/one"), source.names("lo/")), (json!({"n": 1}), json!(["one"])));

    // a deletion here stays a deletion here, too
    empty(&vault(&proxy, "DELETE", "metadata", "lo/one", &Value::Null));
    assert_eq!(read(&proxy, "lo/one").0, 404);
    api.complete();
    assert_eq!((read(&proxy, "lo/one").0, names(&proxy, "lo/")), (404, json!(["new"])));
    assert_eq!(source.value("lo/one"), json!({"n": 1}));
}

#[test]
fn writes_go_through_to_openbao_and_both_sides_have_the_same() {
    let source = Source::new("sync-through");
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "wt", "write_mode: write_through");
    let is_the_same = |name: &str| {
        assert_eq!(told(&proxy, name), source.told(name), "{name}");
        assert_eq!(described(&proxy, name), source.described(name), "{name}");
    };
    written(&put(&proxy, "wt/one", &cas(2, 1)), 2);
    is_the_same("wt/one");
    assert_eq!(source.value("wt/one"), json!({"n": 2}));
    relay.forget();
    not_the_version(&put(&proxy, "wt/one", &cas(3, 1)));
    assert_eq!(relay.writes(), [""; 0], "what cannot succeed is not sent");
    written(&put(&proxy, "wt/one", &data(3)), 3);
    written(&patch(&proxy, "wt/one", &json!({"data": {"more": [1, 2]}})), 4);
    assert_eq!(source.value("wt/one"), json!({"n": 3, "more": [1, 2]}));
    is_the_same("wt/one");
    empty(&vault(&proxy, "POST", "metadata", "wt/one", &json!({"custom_metadata": {"owner": "both"}})));
    is_the_same("wt/one");
    empty(&vault(&proxy, "DELETE", "data", "wt/one", &Value::Null));
    assert_eq!((source.told("wt/one")["status"].clone(), read(&proxy, "wt/one").0), (json!(404), 404));
    is_the_same("wt/one");
    empty(&vault(&proxy, "POST", "undelete", "wt/one", &json!({"versions": [4]})));
    is_the_same("wt/one");
    empty(&vault(&proxy, "POST", "delete", "wt/one", &json!({"versions": [3]})));
    empty(&vault(&proxy, "POST", "destroy", "wt/one", &json!({"versions": [1]})));
    is_the_same("wt/one");

    written(&put(&proxy, "wt/deep/new", &cas(1, 0)), 1);
    not_the_version(&put(&proxy, "wt/deep/new", &cas(1, 0)));
    is_the_same("wt/deep/new");
    let own = json!({"data": {"k": "v"}, "metadata": {"team": "own"}});
    let own = proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/wt/own", own.to_string().as_bytes());
    assert_eq!(own.status, 201, "{}", own.text());
    assert_eq!(source.told("wt/own")["custom_metadata"], json!({"team": "own"}));
    is_the_same("wt/own");
    empty(&vault(&proxy, "DELETE", "metadata", "wt/own", &Value::Null));
    assert_eq!((source.told("wt/own")["status"].clone(), read(&proxy, "wt/own").0), (json!(404), 404));

    // nothing is left for a run to do
    let report = api.complete();
    let counts = ["created", "updated", "deleted", "pushed", "conflicts", "read"].map(|count| report[count].clone());
    assert_eq!(counts, [0, 0, 0, 0, 0, 0].map(Value::from), "{report:#}");
}

#[test]
fn a_write_over_what_changed_in_openbao_is_a_conflict_and_the_copy_catches_up() {
    let source = Source::new("sync-behind");
    let relay = Relay::to(&source.address);
    let (proxy, _api) = started(&source, &relay, "wt", "write_mode: write_through");
    source.put("wt/one", &json!({"n": "theirs"}));
    assert_eq!(value(&proxy, "wt/one"), json!({"n": 1}), "nobody told us");
    not_the_version(&put(&proxy, "wt/one", &cas(2, 1)));
    assert_eq!(source.told("wt/one")["version"], 2, "and theirs is still there");
    wait_until(SOON, "the copy to catch up", || value(&proxy, "wt/one") == json!({"n": "theirs"}));
    written(&put(&proxy, "wt/one", &cas(3, 2)), 3);
    assert_eq!(source.value("wt/one"), json!({"n": 3}));
}

#[test]
fn a_write_that_does_not_reach_openbao_is_done_on_neither_side() {
    let source = Source::new("sync-neither");
    let relay = Relay::to(&source.address);
    let (proxy, api) = started(&source, &relay, "wt", "write_mode: write_through");
    relay.cut();
    for (path, body) in [("wt/one", data(2)), ("wt/new", cas(1, 0))] {
        let refused = put(&proxy, path, &body);
        assert!(matches!(refused.status, 503 | 504), "{path}: {}", refused.text());
    }
    assert_eq!(read(&proxy, "wt/one").0, 200, "reads go on");
    assert_eq!(value(&proxy, "wt/one"), json!({"n": 1}));
    relay.mend();
    wait_until(SOON, "a write to get through", || put(&proxy, "wt/one", &cas(3, 1)).status == 200);
    assert_eq!(source.told("wt/one")["version"], 2, "the one that was refused was not made up for");
    assert_eq!((source.value("wt/one"), value(&proxy, "wt/one")), (json!({"n": 3}), json!({"n": 3})));
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["pushed"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(source.told("wt/new")["status"], 404);
    assert_eq!(read(&proxy, "wt/new").0, 404);
}

#[test]
fn what_was_written_here_goes_to_openbao_when_the_write_mode_becomes_write_through() {
    let source = Source::new("sync-ahead");
    let relay = Relay::to(&source.address);
    source.put("lo/purged", &json!({"n": 1}));
    let (mut proxy, api) = started(&source, &relay, "lo", "write_mode: local");
    written(&put(&proxy, "lo/one", &data(2)), 2);
    written(&put(&proxy, "lo/one", &data(3)), 3);
    written(&put(&proxy, "lo/new", &data(1)), 1);
    empty(&vault(&proxy, "POST", "metadata", "lo/new", &json!({"custom_metadata": {"owner": "here"}})));
    empty(&vault(&proxy, "DELETE", "data", "lo/purged", &Value::Null));
    api.complete();
    assert_eq!(source.names("lo/"), json!(["one", "purged"]));

    let keys = ["mode: sync", "sync_interval: 1h", "write_mode: write_through"];
    let vault = backend("vault", relay.address(), &keys, &[rule(&source, "lo", "")]);
    reload(&mut proxy, &config(STORE, &backends(&[vault])));
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["error_count"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(api.total("pushed"), 3);
    assert_eq!(source.value("lo/one"), json!({"n": 3}), "the newest of our versions");
    assert_eq!(source.told("lo/new")["custom_metadata"], json!({"owner": "here"}));
    assert_eq!(source.value("lo/new"), json!({"n": 1}));
    assert_eq!(source.told("lo/purged")["deleted"], true);
    assert_eq!(value(&proxy, "lo/one"), json!({"n": 3}));
    let report = api.complete();
    assert_eq!((&report["pushed"], &report["unchanged"]), (&json!(0), &json!(3)), "{report:#}");
}
