//! Both sides changed: who wins by policy, what waits for a decision, what is served meanwhile; nothing is lost.

use serde_json::{Value, json};

use super::api::Api;
use super::source::Source;
use super::world::{Ear, STORE, backend, backends, config, proxy, put, read, reload, rule, secret, told, value, vault};
use crate::harness::{Proxy, wait_until};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const INTERVAL: &str = "sync_interval: 1h";
const ONE: &str = "apps/one";

fn ours() -> Value {
    json!({"by": "us"})
}

fn theirs() -> Value {
    json!({"by": "them"})
}

/// A proxy over `apps/…` with these keys, in which everything was copied.
fn started(source: &Source, keys: &[&str], ear: &Ear) -> (Proxy, Api) {
    let keys: Vec<&str> = ["mode: sync", INTERVAL].iter().chain(keys).copied().collect();
    let vault = backend("vault", &source.address, &keys, &[rule(source, "apps", "")]);
    let proxy = proxy(source, &config(STORE, &(ear.config() + &backends(&[vault]))));
    let api = Api::of(&proxy, "vault");
    api.complete();
    (proxy, api)
}

/// Both sides write a version on top of the first one.
fn diverge(source: &Source, proxy: &Proxy, path: &str) {
    let written = put(proxy, path, &json!({"data": ours()}));
    assert_eq!(written.status, 200, "{}", written.text());
    source.put(path, &theirs());
}

fn detected(ear: &Ear, count: usize) -> Vec<Value> {
    let heard = || ear.heard("federation.conflict.detected");
    wait_until(SOON, "the conflicts to be told", || heard().len() >= count);
    assert_eq!(heard().len(), count);
    heard().into_iter().map(|event| event["data"]["outcome"].clone()).collect()
}

#[test]
fn the_backend_wins_by_default_and_ours_stays_a_version() {
    let source = Source::new("sync-backend-wins");
    source.put(ONE, &json!({"n": 1}));
    let ear = Ear::open();
    let (proxy, api) = started(&source, &["write_mode: local"], &ear);
    // a change on one side alone is none
    source.put(ONE, &json!({"n": 2}));
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["updated"]), (&json!(0), &json!(1)), "{report:#}");

    diverge(&source, &proxy, ONE);
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["updated"]), (&json!(1), &json!(1)), "{report:#}");
    assert_eq!(detected(&ear, 1), ["backend"]);
    assert!(api.conflicts().is_empty(), "nobody has to decide");
    let now = told(&proxy, ONE);
    assert_eq!((&now["data"], &now["version"]), (&theirs(), &json!(4)), "a number that was never used: {now:#}");
    assert_eq!(told(&proxy, "apps/one?version=3")["data"], ours(), "what was written here can still be read");
    assert_eq!(told(&proxy, "apps/one?version=4")["data"], theirs());
    assert_eq!(api.complete()["unchanged"], 1);
}

#[test]
fn with_conflict_on_any_a_change_in_openbao_alone_is_one() {
    let source = Source::new("sync-any");
    source.put(ONE, &json!({"n": 1}));
    let ear = Ear::open();
    let (proxy, api) = started(&source, &["conflict_on: any", "conflict_policy: manual"], &ear);
    source.put(ONE, &theirs());
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["updated"]), (&json!(1), &json!(0)), "{report:#}");
    assert_eq!(value(&proxy, ONE), json!({"n": 1}), "still served as it was");
    assert_eq!(detected(&ear, 1), ["flagged"]);
    assert_eq!(api.resolve(ONE, "backend").status, 204);
    assert_eq!(value(&proxy, ONE), theirs());
}

#[test]
fn local_wins_overwrites_openbao_where_writes_go_through() {
    let source = Source::new("sync-local-wins");
    source.put(ONE, &json!({"n": 1}));
    let ear = Ear::open();
    let (proxy, api) = started(&source, &["write_mode: write_through", "conflict_policy: local_wins"], &ear);
    let written = put(&proxy, ONE, &json!({"data": ours()}));
    assert_eq!(written.status, 200, "{}", written.text());
    assert_eq!(source.put(ONE, &theirs()), 3);
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["pushed"]), (&json!(1), &json!(1)), "{report:#}");
    assert_eq!(detected(&ear, 1), ["local"]);
    let there = source.told(ONE);
    assert_eq!((&there["data"], &there["version"]), (&ours(), &json!(4)), "{there:#}");
    assert_eq!(source.value("apps/one?version=3"), theirs(), "what was overwritten can still be read there");
    assert_eq!(value(&proxy, ONE), ours());
    assert_eq!(api.complete()["unchanged"], 1);
}

#[test]
fn local_wins_without_write_through_keeps_both_apart_and_says_so() {
    let source = Source::new("sync-apart");
    source.put(ONE, &json!({"n": 1}));
    let ear = Ear::open();
    let (proxy, api) = started(&source, &["write_mode: local", "conflict_policy: local_wins"], &ear);
    diverge(&source, &proxy, ONE);
    assert_eq!(api.complete()["conflicts"], 1);
    let conflicts = api.conflicts();
    assert_eq!((conflicts.len(), &conflicts[0]["path"]), (1, &json!(ONE)), "{conflicts:#?}");
    assert_eq!((value(&proxy, ONE), source.value(ONE)), (ours(), theirs()));
    assert_eq!(detected(&ear, 1), ["flagged"]);
}

#[test]
fn a_manual_conflict_is_served_listed_and_ended_by_a_decision() {
    let source = Source::new("sync-manual");
    let all = ["apps/keep-ours", "apps/keep-theirs", "apps/gone-there", "apps/gone-here"];
    for path in all {
        source.put(path, &json!({"n": 1}));
    }
    let ear = Ear::open();
    let (proxy, api) = started(&source, &["write_mode: local", "conflict_policy: manual"], &ear);
    for path in [all[0], all[1]] {
        diverge(&source, &proxy, path);
    }
    let written = put(&proxy, all[2], &json!({"data": ours()}));
    assert_eq!(written.status, 200, "{}", written.text());
    source.change("DELETE", "metadata", all[2], &Value::Null);
    let deleted = vault(&proxy, "DELETE", "data", all[3], &Value::Null);
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    source.put(all[3], &theirs());
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["updated"], &report["deleted"]), (&json!(4), &json!(0), &json!(0)));
    assert_eq!(detected(&ear, 4), ["flagged"; 4]);
    let status = api.status();
    assert_eq!((&status["conflicts"], &status["state"]), (&json!(4), &json!("healthy")), "{status:#}");

    let conflicts = api.conflicts();
    let listed: Vec<_> = conflicts.iter().map(|conflict| conflict["path"].as_str().unwrap()).collect();
    let mut sorted = all;
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    let of = |path: &str| conflicts.iter().find(|conflict| conflict["path"] == path).unwrap().clone();
    let first = of(all[0]);
    assert_eq!(first["remote"], format!("sync-manual/data/{}", all[0]).as_str());
    let versions = ["local_version", "remote_version", "agreed_version"].map(|field| first[field].clone());
    assert_eq!(versions, [json!(2), json!(2), json!(1)], "{first:#}");
    assert_eq!(of(all[2])["remote_version"], Value::Null, "it is gone there");
    // served as they are here, run after run
    let again = api.complete();
    assert_eq!((&again["conflicts"], &again["held"]), (&json!(0), &json!(4)), "{again:#}");
    for path in [all[0], all[1], all[2]] {
        assert_eq!(value(&proxy, path), ours(), "{path}");
    }
    assert_eq!(read(&proxy, all[3]).0, 404);

    for (path, keep) in [(all[0], "local"), (all[1], "backend"), (all[2], "backend"), (all[3], "backend")] {
        let resolved = api.resolve(path, keep);
        assert_eq!(resolved.status, 204, "{path}: {}", resolved.text());
    }
    let twice = api.resolve(all[1], "local");
    assert_eq!(twice.status, 404, "{}", twice.text());
    assert_eq!(value(&proxy, all[0]), ours());
    assert_eq!(value(&proxy, all[1]), theirs());
    assert_eq!(secret(&proxy, all[2]).status, 404, "the backend's side was that it is gone");
    assert_eq!(value(&proxy, all[3]), theirs());
    assert!(api.conflicts().is_empty());
    let report = api.complete();
    assert_eq!((&report["conflicts"], &report["held"]), (&json!(0), &json!(0)), "a decision lasts: {report:#}");
    assert_eq!((value(&proxy, all[0]), source.value(all[0])), (ours(), theirs()), "ours is kept here, not pushed");
}

#[test]
fn a_decision_for_ours_is_pushed_where_writes_go_through_and_is_about_what_was_shown() {
    let source = Source::new("sync-decide");
    let (pushed, moved) = ("apps/pushed", "apps/moved");
    for path in [pushed, moved] {
        source.put(path, &json!({"n": 1}));
    }
    let keys = ["mode: sync", INTERVAL, "write_mode: local", "conflict_policy: manual"];
    let with = |keys: &[&str]| {
        config(STORE, &backends(&[backend("vault", &source.address, keys, &[rule(&source, "apps", "")])]))
    };
    let mut proxy = proxy(&source, &with(&keys));
    let api = Api::of(&proxy, "vault");
    api.complete();
    for path in [pushed, moved] {
        diverge(&source, &proxy, path);
    }
    assert_eq!(api.complete()["conflicts"], 2);
    let through = ["mode: sync", INTERVAL, "write_mode: write_through", "conflict_policy: manual"];
    reload(&mut proxy, &with(&through));
    assert_eq!(api.conflicts().len(), 2, "conflicts outlive the change of the write mode");
    let refused = put(&proxy, moved, &json!({"data": {"by": "nobody"}}));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("a conflict of this secret is not resolved yet"), "{}", refused.text());

    source.put(moved, &json!({"by": "them again"}));
    let stale = api.resolve(moved, "local");
    assert_eq!(stale.status, 409, "{}", stale.text());
    assert_eq!(api.conflicts().iter().find(|conflict| conflict["path"] == moved).unwrap()["remote_version"], 3);
    for path in [pushed, moved] {
        let resolved = api.resolve(path, "local");
        assert_eq!(resolved.status, 204, "{path}: {}", resolved.text());
    }
    wait_until(SOON, "the decisions to arrive there", || {
        [pushed, moved].iter().all(|path| source.value(path) == ours())
    });
    assert_eq!((&source.told(pushed)["version"], &source.told(moved)["version"]), (&json!(3), &json!(4)));
    api.complete();
    assert!(api.conflicts().is_empty());
}
