//! Without a durable store only what is read is copied: the first read goes through, the next ones are answered here,
//! lists are asked of OpenBao, and nothing is served that is older than `max_stale`.

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{backend, backends, cache, config, names, proxy, put, read, rule, secret, told, value, vault};
use crate::harness::{Response, wait_until};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
/// A store in memory.
const MEMORY: &str = "max_versions: 10";

#[test]
fn c07_the_first_read_goes_through_and_the_next_ones_are_answered_here() {
    let source = Source::new("sync-demand");
    for name in ["apps/one", "apps/two", "apps/unread"] {
        source.put(name, &json!({"name": name}));
    }
    let relay = Relay::to(&source.address);
    let keys = ["mode: sync", "sync_interval: 1h"];
    let vault_backend = backend("vault", relay.address(), &keys, &[rule(&source, "apps", "")]);
    let proxy = proxy(&source, &config(MEMORY, &backends(&[vault_backend])));
    let api = Api::of(&proxy, "vault");
    api.complete();
    assert_eq!(relay.count("/data/"), 0, "nobody wanted anything yet");

    let first = vault(&proxy, "GET", "data", "apps/one", &Value::Null);
    assert_eq!((first.status, cache(&proxy, &first)), (200, "miss".to_owned()), "{}", first.text());
    let first = secret(&proxy, "apps/two");
    assert_eq!((first.status, cache(&proxy, &first)), (200, "miss".to_owned()), "{}", first.text());
    for name in ["apps/one", "apps/two"] {
        wait_until(SOON, "a copy of what was read", || read(&proxy, name) == (200, "hit".to_owned()));
    }
    relay.forget();
    for name in ["apps/one", "apps/two"] {
        assert_eq!(told(&proxy, name), source.told(name));
        assert_eq!(secret(&proxy, name).json()["data"]["name"], name);
        assert_eq!(relay.calls(), [""; 0], "a copy asks nobody");
    }
    assert_eq!(api.status()["secrets_synced"], 2);

    relay.forget();
    assert_eq!(names(&proxy, "apps/"), source.names("apps/"));
    assert_eq!(relay.count("/metadata/apps/?list=true"), 1, "what is there is asked of OpenBao");
    for _ in 0..2 {
        assert_eq!(read(&proxy, "apps/nobody"), (404, "miss".to_owned()), "what is not there is asked for every time");
    }

    source.put("apps/one", &json!({"name": "changed"}));
    source.change("DELETE", "metadata", "apps/two", &Value::Null);
    source.put("apps/unread", &json!({"name": "changed, too"}));
    relay.forget();
    let report = api.complete();
    assert_eq!((&report["found"], &report["updated"], &report["deleted"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(relay.count("apps/unread"), 0, "only what was read is looked at");
    assert_eq!(relay.count("list=true"), 0);
    assert_eq!((value(&proxy, "apps/one"), read(&proxy, "apps/two").0), (json!({"name": "changed"}), 404));
    assert_eq!(put(&proxy, "apps/one", &json!({"data": {}})).status, 403);
}

#[test]
fn c12_what_is_older_than_max_stale_is_not_served() {
    let source = Source::new("sync-stale");
    for folder in ["bounded", "unbounded"] {
        source.put(&format!("{folder}/one"), &json!({"of": folder}));
    }
    let relay = Relay::to(&source.address);
    let keys = ["mode: sync", "sync_interval: 1s"];
    let rules = [rule(&source, "bounded", "max_stale: 4s"), rule(&source, "unbounded", "")];
    let vault_backend = backend("vault", relay.address(), &keys, &rules);
    let proxy = proxy(&source, &config(MEMORY, &backends(&[vault_backend])));
    let get = |path: &str| -> (Response, String) {
        let response = vault(&proxy, "GET", "data", path, &Value::Null);
        let cache = cache(&proxy, &response);
        (response, cache)
    };
    for path in ["bounded/one", "unbounded/one"] {
        wait_until(SOON, "a copy of what was read", || read(&proxy, path) == (200, "hit".to_owned()));
    }

    relay.cut();
    wait_until(SOON, "the copy to be too old", || get("bounded/one").0.status != 200);
    let (refused, _) = get("bounded/one");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let own = secret(&proxy, "bounded/one");
    assert_eq!((own.status, &own.json()["kind"]), (503, &json!("upstream_unavailable")), "{}", own.text());
    let (served, cache) = get("unbounded/one");
    assert_eq!((served.status, cache.as_str()), (200, "stale"), "without a bound it is served, however old");
    let age = secret(&proxy, "unbounded/one").json()["source"]["age_seconds"].as_u64().unwrap();
    assert!(age >= 2, "{age}");

    relay.mend();
    wait_until(SOON, "the copy to be fresh again", || get("bounded/one").0.status == 200);
    source.put("bounded/one", &json!({"of": "afterwards"}));
    wait_until(SOON, "what changed to arrive", || value(&proxy, "bounded/one") == json!({"of": "afterwards"}));
}
