//! The first run copies everything, the next ones ask for metadata only, and reads of copies ask for nothing.

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{STORE, backend, backends, config, names, proxy, read, rule, secret, value};

/// How many secrets there are, in so many folders.
const SECRETS: usize = 1_000;
const FOLDERS: usize = 20;
/// How many of them are read afterwards.
const SAMPLES: usize = 40;

#[test]
fn a_first_run_copies_everything_and_a_second_one_reads_no_value() {
    let source = Source::new("sync-first");
    let all: Vec<String> = (0..SECRETS).map(|at| format!("apps/team-{}/app-{at}", at % FOLDERS)).collect();
    source.put_many(&all);
    let relay = Relay::to(&source.address);
    let keys = ["mode: sync", "sync_interval: 1h"];
    let vault = backend("vault", relay.address(), &keys, &[rule(&source, "apps", "")]);
    let proxy = proxy(&source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");

    let first = api.complete();
    assert_eq!(first["scope"], "full");
    for count in ["created", "read"] {
        assert_eq!(api.total(count), SECRETS as u64, "{count}: {first:#}");
    }
    for count in ["updated", "deleted", "skipped_count", "conflicts", "error_count", "unconfirmed", "pushed"] {
        assert_eq!(api.total(count), 0, "{count}: {first:#}");
    }
    let bytes: usize = all.iter().map(|name| json!({"name": name}).to_string().len()).sum();
    assert_eq!(api.total("bytes"), bytes as u64);
    assert_eq!(relay.count("/data/"), SECRETS, "each value was read once");

    relay.forget();
    let second = api.complete();
    for (count, expected) in [("unchanged", SECRETS), ("read", 0), ("bytes", 0), ("created", 0)] {
        assert_eq!(second[count], expected, "{count}: {second:#}");
    }
    assert_eq!(relay.count("/data/"), 0, "a value was read although nothing had changed");
    // the rule also maps a secret `apps`, which no list of the folder would name
    let looks = SECRETS + 1;
    assert_eq!(relay.count("/metadata/"), looks + FOLDERS + 1, "one look each, and one at each folder");
    assert_eq!(second["calls"], relay.calls().len(), "the report counts what went over the wire");

    let status = api.status();
    assert_eq!((&status["state"], &status["secrets_synced"]), (&json!("healthy"), &json!(SECRETS)), "{status:#}");
    assert_eq!((&status["running"], &status["consecutive_failures"]), (&Value::Null, &json!(0)), "{status:#}");
    assert_eq!((&status["last_sync"]["id"], &status["conflicts"]), (&second["id"], &json!(0)), "{status:#}");
    for field in ["last_sync_at", "next_sync_at", "connection_latency_ms", "staleness_seconds"] {
        assert!(!status[field].is_null(), "{field}: {status:#}");
    }

    relay.forget();
    for path in all.iter().step_by(SECRETS / SAMPLES) {
        assert_eq!(read(&proxy, path), (200, "hit".to_owned()), "{path}");
        assert_eq!(value(&proxy, path), json!({"name": path}));
        let own = secret(&proxy, path).json();
        assert_eq!((&own["data"]["name"], &own["version"]), (&json!(path), &json!(1)), "{own}");
        assert_eq!((&own["source"]["backend"], &own["source"]["mode"]), (&json!("vault"), &json!("sync")), "{own}");
    }
    assert_eq!(read(&proxy, "apps/team-0/nobody").0, 404, "what is not copied is known not to be there");
    assert_eq!(relay.calls(), [""; 0], "reads of copies ask nobody");
    for folder in ["apps/", "apps/team-3/"] {
        assert_eq!(names(&proxy, folder), source.names(folder), "{folder}");
    }
    assert_eq!(relay.calls(), [""; 0], "lists of copies ask nobody");
}
