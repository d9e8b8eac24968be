//! OpenBao takes our rights away, all of them or some: what that does to copies, and what it never does.

use serde_json::{Value, json};

use super::api::Api;
use super::source::{ALL, Source};
use super::world::{Ear, STORE, backend, backends, config, names, proxy, read, rule, secret, value};
use crate::harness::wait_until;

const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const INTERVAL: &str = "sync_interval: 1h";

#[test]
fn a_backend_that_denies_us_ends_reads_at_once_or_after_the_grace() {
    let source = Source::new("sync-denied");
    for folder in ["strict", "lenient"] {
        source.put(&format!("{folder}/one"), &json!({"of": folder}));
        source.put(&format!("{folder}/two"), &json!({"of": folder}));
    }
    let ear = Ear::open();
    let strict = backend("strict", &source.address, &["mode: sync", INTERVAL], &[rule(&source, "strict", "")]);
    let keys = ["mode: sync", INTERVAL, "deny_grace: 1h"];
    let lenient = backend("lenient", &source.address, &keys, &[rule(&source, "lenient", "")]);
    let proxy = proxy(&source, &config(STORE, &(ear.config() + &backends(&[strict, lenient]))));
    let both = ["strict", "lenient"].map(|name| Api::of(&proxy, name));
    for api in &both {
        api.complete();
    }

    // values alone, and everything
    let described_only = r#"path "MOUNT/metadata/*" { capabilities = ["read", "list"] }"#;
    let elsewhere = r#"path "MOUNT/data/elsewhere" { capabilities = ["read"] }"#;
    for (round, rights) in [(1, described_only), (2, elsewhere)] {
        for name in ["strict/one", "lenient/one"] {
            assert_eq!(read(&proxy, name), (200, "hit".to_owned()), "until the next run nobody knows: {name}");
        }
        source.allow(rights);
        for api in &both {
            let report = api.sync();
            assert_eq!((&report["outcome"], &report["deleted"]), (&json!("failed"), &json!(0)), "{rights}: {report:#}");
            assert_eq!(api.status()["state"], "denied", "{rights}");
        }
        let refused = secret(&proxy, "strict/one");
        assert_eq!(refused.status, 502, "{rights}: {}", refused.text());
        assert_eq!(refused.json()["kind"], "upstream_rejected");
        assert_eq!(read(&proxy, "strict/two").0, 502, "{rights}");
        for name in ["lenient/one", "lenient/two"] {
            assert_eq!(read(&proxy, name).0, 200, "{rights}: the grace holds for {name}");
            assert_eq!(value(&proxy, name), json!({"of": "lenient"}));
        }
        wait_until(SOON, "both to be told", || ear.heard("federation.backend.denied").len() == 2 * round);

        source.allow(ALL);
        for api in &both {
            api.complete();
            assert_eq!(api.status()["state"], "healthy", "{rights}");
        }
        for name in ["strict/one", "strict/two", "lenient/one"] {
            assert_eq!(read(&proxy, name).0, 200, "{rights}: {name}");
        }
    }
    assert_eq!(ear.heard("federation.backend.denied").len(), 4, "once a denial");
    assert_eq!(both.map(|api| api.total("deleted")), [0, 0]);
}

#[test]
fn a_folder_that_cannot_be_listed_deletes_nothing() {
    let source = Source::new("sync-cut");
    let all = ["apps/top", "apps/stays", "apps/sub/one", "apps/sub/two", "apps/sub/deep/three"];
    for name in all {
        source.put(name, &json!({"name": name}));
    }
    let vault = backend("vault", &source.address, &["mode: sync", INTERVAL], &[rule(&source, "apps", "")]);
    let proxy = proxy(&source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");
    api.complete();

    source.allow(&format!("{ALL}\npath \"MOUNT/metadata/apps/sub/\" {{ capabilities = [\"deny\"] }}"));
    for name in ["apps/top", "apps/sub/one", "apps/sub/deep/three"] {
        source.change("DELETE", "metadata", name, &Value::Null);
    }
    source.put("apps/stays", &json!({"name": "changed meanwhile"}));
    let report = api.sync();
    assert_eq!((&report["outcome"], &report["deleted"]), (&json!("failed"), &json!(0)), "{report:#}");
    assert_eq!((&report["unconfirmed"], &report["updated"]), (&json!(3), &json!(1)), "{report:#}");
    let failed: Vec<_> = report["errors"].as_array().unwrap().iter().map(|failure| failure["remote"].clone()).collect();
    assert_eq!(failed, ["sync-cut/data/apps/sub/"], "{report:#}");
    assert_eq!(api.status()["state"], "degraded", "one folder is not the backend");
    for name in all {
        assert_eq!(read(&proxy, name), (200, "hit".to_owned()), "{name}");
    }
    assert_eq!(value(&proxy, "apps/stays"), json!({"name": "changed meanwhile"}), "the rest goes on");

    source.allow_all();
    let report = api.sync();
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert_eq!(api.total("deleted"), 3, "now it is known that they are gone");
    for name in ["apps/top", "apps/sub/one", "apps/sub/deep/three"] {
        assert_eq!(read(&proxy, name).0, 404, "{name}");
    }
    assert_eq!(value(&proxy, "apps/sub/two"), json!({"name": "apps/sub/two"}));
}

#[test]
fn an_empty_list_is_believed_when_a_second_run_confirms_it() {
    let source = Source::new("sync-empty");
    let all = ["apps/one", "apps/two", "apps/three"];
    for name in all {
        source.put(name, &json!({"name": name}));
    }
    let vault = backend("vault", &source.address, &["mode: sync", INTERVAL], &[rule(&source, "apps", "")]);
    let proxy = proxy(&source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");
    api.complete();

    for name in all {
        source.change("DELETE", "metadata", name, &Value::Null);
    }
    let first = api.complete();
    assert_eq!((&first["deleted"], &first["unconfirmed"]), (&json!(0), &json!(3)), "{first:#}");
    for name in all {
        assert_eq!(read(&proxy, name).0, 200, "{name}");
    }
    let second = api.complete();
    assert_eq!((&second["deleted"], &second["unconfirmed"]), (&json!(3), &json!(0)), "{second:#}");
    for name in all {
        assert_eq!(read(&proxy, name).0, 404, "{name}");
    }
    assert_eq!(names(&proxy, "apps/"), Value::Null);

    // what was empty once is filled again like anything else
    source.put("apps/one", &json!({"name": "again"}));
    assert_eq!(api.complete()["created"], 1);
    assert_eq!(value(&proxy, "apps/one"), json!({"name": "again"}));
}
