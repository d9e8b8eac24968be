//! Copies that are given up: a flip to proxy purges them unless something in them is nowhere else, a rule that goes
//! leaves them in quarantine until somebody decides.

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{
    Ear, STORE, backend, backends, config, names, proxy, put, read, reload, reload_in_vain, rule, secret, value,
};
use crate::harness::{Proxy, wait_until};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const INTERVAL: &str = "sync_interval: 1h";

#[test]
fn a_flip_to_proxy_waits_for_what_is_only_here_and_then_purges() {
    let source = Source::new("sync-flip");
    for name in ["apps/one", "apps/two"] {
        source.put(name, &json!({"n": 1}));
    }
    let relay = Relay::to(&source.address);
    let ear = Ear::open();
    let with = |keys: &[&str]| {
        let vault = backend("vault", relay.address(), keys, &[rule(&source, "apps", "")]);
        config(STORE, &(ear.config() + &backends(&[vault])))
    };
    let local = with(&["mode: sync", INTERVAL, "write_mode: local"]);
    let mut proxy = proxy(&source, &local);
    let api = Api::of(&proxy, "vault");
    api.complete();
    assert_eq!(put(&proxy, "apps/one", &json!({"data": {"n": "only here"}})).status, 200);

    let proxied = with(&["mode: proxy"]);
    reload_in_vain(&mut proxy, &proxied);
    wait_until(SOON, "the rejection to be told", || !ear.heard("config.rejected").is_empty());
    let told = ear.heard("config.rejected")[0]["data"].to_string();
    assert!(told.contains("only here: 1"), "{told}");
    assert_eq!(value(&proxy, "apps/one"), json!({"n": "only here"}), "nothing has changed");
    assert_eq!(read(&proxy, "apps/two"), (200, "hit".to_owned()));
    assert_eq!(source.value("apps/one"), json!({"n": 1}));

    // once OpenBao has it, nothing stands in the way
    reload(&mut proxy, &with(&["mode: sync", INTERVAL, "write_mode: write_through"]));
    api.complete();
    assert_eq!(source.value("apps/one"), json!({"n": "only here"}));
    reload(&mut proxy, &proxied);
    source.put("apps/two", &json!({"n": 2}));
    relay.forget();
    assert_eq!(read(&proxy, "apps/one"), (200, "live".to_owned()));
    assert_eq!(value(&proxy, "apps/two"), json!({"n": 2}), "what is there now");
    assert_eq!(relay.count("/data/"), 2);
    assert_eq!(put(&proxy, "apps/one", &json!({"data": {"n": 3}})).status, 403, "proxied paths are read-only");
    wait_until(SOON, "the copies to be gone", || api.quarantined().is_empty());

    // and back: until the first run nothing is known, and everything is asked of OpenBao
    reload(&mut proxy, &local);
    for (name, n) in [("apps/one", json!("only here")), ("apps/two", json!(2))] {
        assert_eq!(value(&proxy, name)["n"], n, "{name}: the copies are gone, the secrets are not");
    }
    assert_eq!(names(&proxy, "apps/"), source.names("apps/"));
    api.complete();
    assert_eq!(read(&proxy, "apps/two"), (200, "hit".to_owned()));
}

#[test]
fn a_rule_that_flips_beside_another_one_forgets_what_it_knew() {
    let source = Source::new("sync-rule-flip");
    for name in ["apps/one", "team/one"] {
        source.put(name, &json!({"name": name}));
    }
    let with = |further: &str| {
        let rules = [rule(&source, "apps", further), rule(&source, "team", "")];
        config(STORE, &backends(&[backend("vault", &source.address, &["mode: sync", INTERVAL], &rules)]))
    };
    let mut proxy = proxy(&source, &with(""));
    let api = Api::of(&proxy, "vault");
    api.complete();
    reload(&mut proxy, &with("mode: proxy"));
    assert_eq!(read(&proxy, "apps/one"), (200, "live".to_owned()));
    assert_eq!(read(&proxy, "team/one"), (200, "hit".to_owned()), "the other rule has nothing to do with it");
    wait_until(SOON, "the copies to be gone", || api.status()["secrets_synced"] == 1);
    reload(&mut proxy, &with(""));
    assert_eq!(value(&proxy, "apps/one"), json!({"name": "apps/one"}), "it is there, whether or not it is copied");
    assert_eq!(names(&proxy, "apps/"), json!(["one"]));
    api.complete();
    assert_eq!(read(&proxy, "apps/one"), (200, "hit".to_owned()));
}

#[test]
fn a_flip_is_refused_while_a_conflict_waits() {
    let source = Source::new("sync-flip-conflict");
    source.put("apps/one", &json!({"n": 1}));
    let with = |keys: &[&str]| {
        config(STORE, &backends(&[backend("vault", &source.address, keys, &[rule(&source, "apps", "")])]))
    };
    let manual = ["mode: sync", INTERVAL, "conflict_on: any", "conflict_policy: manual"];
    let mut proxy = proxy(&source, &with(&manual));
    let api = Api::of(&proxy, "vault");
    api.complete();
    source.put("apps/one", &json!({"n": 2}));
    assert_eq!(api.complete()["conflicts"], 1);
    reload_in_vain(&mut proxy, &with(&["mode: proxy"]));
    assert_eq!(value(&proxy, "apps/one"), json!({"n": 1}));
    assert_eq!(api.resolve("apps/one", "backend").status, 204);
    // the file is as it was: a hangup reads it again
    let hangup = 1;
    proxy.signal(hangup);
    wait_until(SOON, "the flip", || read(&proxy, "apps/one") == (200, "live".to_owned()));
}

#[test]
fn copies_no_rule_leads_to_are_kept_unserved_until_they_are_adopted_or_purged() {
    let source = Source::new("sync-quarantine");
    for name in ["apps/one", "apps/two", "team/one", "kept/one"] {
        source.put(name, &json!({"name": name}));
    }
    source.change("POST", "metadata", "apps/one", &json!({"custom_metadata": {"owner": "team-one"}}));
    let with = |store: &str, folders: &[&str]| {
        let rules: Vec<String> = folders.iter().map(|folder| rule(&source, folder, "")).collect();
        let vault = backend("vault", &source.address, &["mode: sync", INTERVAL, "write_mode: local"], &rules);
        config(&format!("{STORE}{store}"), &backends(&[vault]))
    };
    let mut proxy = proxy(&source, &with("", &["kept", "apps", "team"]));
    let api = Api::of(&proxy, "vault");
    api.complete();
    assert_eq!(put(&proxy, "apps/one", &json!({"data": {"name": "written here"}})).status, 200);

    reload(&mut proxy, &with(", local: [apps]", &["kept"]));
    let quarantined = ["apps/one", "apps/two", "team/one"];
    assert_eq!(api.quarantined(), quarantined);
    assert_eq!(read(&proxy, "kept/one"), (200, "hit".to_owned()));
    let is_unserved = |proxy: &Proxy| {
        for (path, status) in [("apps/one", 404), ("apps/two", 404), ("team/one", 403)] {
            assert_eq!(read(proxy, path).0, status, "{path}");
            assert_eq!(secret(proxy, path).status, status, "{path}");
        }
        assert_eq!(names(proxy, "apps/"), Value::Null);
    };
    is_unserved(&proxy);
    let in_the_way = put(&proxy, "apps/one", &json!({"data": {"name": "another"}}));
    assert_eq!(in_the_way.status, 400, "{}", in_the_way.text());
    assert!(in_the_way.text().contains("quarantined"), "{}", in_the_way.text());
    api.complete();
    assert_eq!(api.quarantined(), quarantined, "a run leaves them alone");

    let adopted = api.call("POST", "/quarantine/adopt", &Value::Null);
    assert_eq!(adopted.status, 200, "{}", adopted.text());
    let adopted = adopted.json();
    assert_eq!(adopted["adopted"], 2, "{adopted:#}");
    assert_eq!(adopted["left"][0]["path"], "team/one", "{adopted:#}");
    assert!(adopted["left"][0]["reason"].as_str().unwrap().contains("store.local"), "{adopted:#}");
    assert_eq!(value(&proxy, "apps/one"), json!({"name": "written here"}), "with what was written to it here");
    let own = secret(&proxy, "apps/one").json();
    assert_eq!((&own["source"]["mode"], &own["metadata"]["owner"]), (&json!("local"), &json!("team-one")), "{own:#}");
    assert_eq!(names(&proxy, "apps/"), json!(["one", "two"]));
    assert_eq!(put(&proxy, "apps/two", &json!({"data": {"name": "ours now"}})).status, 200);
    assert_eq!(source.value("apps/two"), json!({"name": "apps/two"}));

    assert_eq!(api.quarantined(), ["team/one"]);
    let purged = api.call("POST", "/quarantine/purge", &Value::Null);
    assert_eq!((purged.status, &purged.json()["purged"]), (200, &json!(1)), "{}", purged.text());
    assert!(api.quarantined().is_empty());

    reload(&mut proxy, &with(", local: [apps]", &["kept", "team"]));
    assert_eq!(value(&proxy, "team/one"), json!({"name": "team/one"}), "a rule leads to it again");
    api.complete();
    assert_eq!(read(&proxy, "team/one"), (200, "hit".to_owned()));
    assert_eq!(value(&proxy, "apps/two"), json!({"name": "ours now"}));

    // the same without a run in between: what was known of the copies went with them
    reload(&mut proxy, &with(", local: [apps]", &["kept"]));
    assert_eq!(api.call("POST", "/quarantine/purge", &Value::Null).json()["purged"], 1);
    reload(&mut proxy, &with(", local: [apps]", &["kept", "team"]));
    assert_eq!(value(&proxy, "team/one"), json!({"name": "team/one"}), "purging a copy is not deleting a secret");
}
