//! Names that OpenBao holds and a secret path cannot: skipped, and said so.

use serde_json::{Value, json};

use super::api::Api;
use super::source::Source;
use super::world::{STORE, backend, backends, config, names, proxy, rule, value};

/// As they are sent, and as they are called.
const STRANGE: [(&str, &str); 8] = [
    ("with%20space", "with space"),
    ("a+b", "a+b"),
    ("gr%C3%BC%C3%9Fe-%E9%9B%AA", "grüße-雪"),
    ("semi;colon", "semi;colon"),
    ("per%25cent", "per%cent"),
    ("question%3Fmark", "question?mark"),
    ("fol%20der/leaf", "fol der/leaf"),
    ("plain/also+this", "plain/also+this"),
];
const ORDINARY: [&str; 4] = ["plain/this", "UPPER_and.dots", "..dots..", "deep/er/still"];

#[test]
fn names_that_no_secret_path_can_spell_are_skipped_with_the_reason() {
    let source = Source::new("sync-names");
    let long = "n".repeat(200);
    let strange = STRANGE.iter().map(|(sent, name)| ((*sent).to_owned(), (*name).to_owned()));
    let strange: Vec<(String, String)> = strange.chain([(long.clone(), long)]).collect();
    for (sent, _) in &strange {
        source.put(&format!("apps/{sent}"), &json!({"is": "strange"}));
    }
    for name in ORDINARY {
        source.put(&format!("apps/{name}"), &json!({"is": name}));
    }
    let keys = ["mode: sync", "sync_interval: 1h"];
    let vault = backend("vault", &source.address, &keys, &[rule(&source, "apps", "")]);
    let proxy = proxy(&source, &config(STORE, &backends(&[vault])));
    let api = Api::of(&proxy, "vault");

    let report = api.complete();
    assert_eq!((&json!(api.total("created")), &report["error_count"]), (&json!(ORDINARY.len()), &json!(0)));
    assert_eq!(report["skipped_count"], strange.len(), "{report:#}");
    let skipped = report["skipped"].as_array().unwrap();
    for (_, name) in &strange {
        let remote = format!("sync-names/data/apps/{name}");
        let entry = skipped.iter().find(|entry| entry["remote"] == remote.as_str());
        let entry = entry.unwrap_or_else(|| panic!("nothing of {remote} in {report:#}"));
        let reason = entry["reason"].as_str().unwrap();
        assert!(reason.contains("cannot be spelled as a secret path"), "{remote}: {reason}");
    }
    let status = api.status();
    assert_eq!((&status["skipped"], &status["state"]), (&json!(strange.len()), &json!("healthy")), "{status:#}");

    for name in ORDINARY {
        assert_eq!(value(&proxy, &format!("apps/{name}")), json!({"is": name}), "{name}");
    }
    assert_eq!(names(&proxy, "apps/"), json!(["..dots..", "UPPER_and.dots", "deep/", "plain/"]));
    assert_eq!(names(&proxy, "apps/plain/"), json!(["this"]));

    // the report has them every time
    let again = api.complete();
    assert_eq!(remotes(&again), remotes(&report));
}

/// What a report says was skipped, in order: lists come back in any.
fn remotes(report: &Value) -> Vec<String> {
    let skipped = report["skipped"].as_array().unwrap().iter();
    let mut remotes: Vec<String> = skipped.map(|entry| entry["remote"].as_str().unwrap().to_owned()).collect();
    remotes.sort_unstable();
    remotes
}
