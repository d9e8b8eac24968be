//! OpenBao killed: reads and lists go on, whoever watches is told once, and what changed arrives after it is back.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::Api;
use super::source::Source;
use super::world::{
    Ear, STORE, backend, backends, config, described, names, read, rule, secret, told, value, with_files,
};
use crate::harness::{Proxy, wait_until};
use crate::peers::OpenBao;

const TERM: i32 = 15;
/// Three failures over thirty seconds make a backend unreachable; two busy cores may take longer to look.
const UNREACHABLE: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(60);
const HELD: [&str; 3] = ["apps/one", "apps/two", "apps/deep/three"];

/// Everything a client can ask of a copy.
fn seen(proxy: &Proxy) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in HELD {
        let own = secret(proxy, path).json();
        seen.extend([told(proxy, path), described(proxy, path), own["data"].clone(), own["version"].clone()]);
    }
    seen.extend([names(proxy, "apps/"), names(proxy, "apps/deep/"), told(proxy, "apps/nobody")]);
    seen
}

#[test]
fn reads_go_on_without_the_backend_and_whoever_watches_is_told_once() {
    let mut builder = Proxy::builder();
    let (address, cluster) = (builder.port("openbao"), builder.port("cluster"));
    let data = builder.dir().join("openbao");
    let openbao = OpenBao::kept(&data, &address, &cluster);
    let source = Source::on(&openbao, "kv");
    for name in HELD {
        source.put(name, &json!({"name": name, "n": 1}));
        source.put(name, &json!({"name": name, "n": 2}));
    }
    source.change("POST", "metadata", HELD[0], &json!({"custom_metadata": {"owner": "team-one"}}));
    let ear = Ear::open();
    let vault = backend("vault", &source.address, &["mode: sync", "sync_interval: 1s"], &[rule(&source, "apps", "")]);
    let config = config(STORE, &(ear.config() + &backends(&[vault])));
    let mut proxy = with_files(builder, &source).config(&config).start();
    let api = Api::of(&proxy, "vault");
    api.complete();
    let before = seen(&proxy);
    assert_eq!(before[0], source.told(HELD[0]));

    openbao.kill();
    wait_until(UNREACHABLE, "the backend to be unreachable", || {
        assert_eq!(seen(&proxy), before, "the copies are served whether or not the backend is there");
        api.status()["state"] == "unreachable"
    });
    let status = api.status();
    assert!(status["staleness_seconds"].as_u64().unwrap() >= 29, "{status:#}");
    let failures = status["consecutive_failures"].as_u64().unwrap();
    assert!(failures >= 3, "{status:#}");
    assert!(!status["last_sync_at"].is_null() && status["last_sync"]["outcome"] == "failed", "{status:#}");
    let (code, cache) = read(&proxy, HELD[0]);
    assert_eq!((code, cache.as_str()), (200, "stale"), "older than two intervals");
    let older = secret(&proxy, &format!("{}?version=1", HELD[0]));
    assert_eq!(older.status, 503, "what the copy lacks is asked of the backend: {}", older.text());
    assert_eq!(older.json()["kind"], "upstream_unavailable");
    wait_until(SOON, "two more failures", || api.status()["consecutive_failures"].as_u64().unwrap() > failures + 1);
    wait_until(SOON, "the event", || !ear.heard("federation.backend.unreachable").is_empty());
    let events = ear.heard("federation.backend.unreachable");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["subject"].as_str(), api.id(), "{events:#?}");
    assert!(!ear.heard("federation.sync.failed").is_empty());
    assert!(ear.heard("federation.backend.recovered").is_empty());

    let openbao = OpenBao::kept(&data, &address, &cluster);
    source.put(HELD[1], &json!({"name": HELD[1], "n": 3}));
    wait_until(SOON, "what changed to arrive", || value(&proxy, HELD[1])["n"] == 3);
    wait_until(SOON, "the backend to be well", || api.status()["state"] == "healthy");
    wait_until(SOON, "the event", || !ear.heard("federation.backend.recovered").is_empty());
    let told = ["federation.backend.unreachable", "federation.backend.recovered"].map(|kind| ear.heard(kind).len());
    assert_eq!(told, [1, 1]);
    assert!(api.status()["staleness_seconds"].as_u64().unwrap() < 29, "{:#}", api.status());

    // and again, this time with a restart of ours in between
    let before = seen(&proxy);
    openbao.kill();
    proxy.signal(TERM);
    assert!(proxy.wait_exit(SOON).success());
    proxy.start_again();
    wait_until(SOON, "the names to be known again", || names(&proxy, "apps/") == before[before.len() - 3]);
    wait_until(SOON, "everything to be served again", || seen(&proxy) == before);
    wait_until(SOON, "a failure", || api.status()["consecutive_failures"].as_u64().unwrap() > 0);
    assert_eq!(seen(&proxy), before);
    let status = api.status();
    assert_eq!(status["secrets_synced"], HELD.len(), "{status:#}");
    assert!(!status["last_sync_at"].is_null() && !status["staleness_seconds"].is_null(), "{status:#}");
    assert_eq!(ear.heard("federation.backend.recovered").len(), 1);
}
