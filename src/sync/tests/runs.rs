//! What a run copies, what it leaves, and what it costs.

use std::time::Duration;

use super::fake::Asked;
use super::rig::{Rig, path, settings};
use crate::clock::{Clock as _, Timestamp};
use crate::secret::{History, RateLimit, RuleSettings, SyncScope, VersionState};
use crate::sync::report::RunOutcome;
use crate::sync::run::Scope;

#[tokio::test]
async fn a_first_run_copies_everything_and_a_second_one_reads_no_value() {
    let mut rig = Rig::new();
    for index in 0..40 {
        rig.fake.put(&format!("kv/data/team-{}/s{index}", index % 4), &format!(r#"{{"n":{index}}}"#));
    }
    rig.fake.describe_as("kv/data/team-0/s0", "owner", "me");
    let first = rig.sync().await;
    assert_eq!(first.outcome, RunOutcome::Completed, "{first:?}");
    assert_eq!((first.found, first.created, first.read), (40, 40, 40));
    assert_eq!(rig.count(), 40);
    assert_eq!(rig.value("apps/team-3/s7").as_deref(), Some(r#"{"n":7}"#));
    assert_eq!(rig.head("apps/team-0/s0").unwrap().metadata["owner"], "me");
    assert!(rig.replica.copies.whole(0));
    let asked = rig.fake.asked();
    assert_eq!(asked, Asked { lists: 5, descriptions: 40, reads: 40, writes: 0, probes: 0 });
    assert_eq!((first.calls, first.bytes), (85, 40 * 8 - 10), "ten values are a digit shorter");
    let second = rig.sync().await;
    assert_eq!((second.unchanged, second.read, second.created, second.updated), (40, 0, 0, 0));
    assert_eq!(rig.fake.asked(), Asked { lists: 5, descriptions: 40, reads: 0, writes: 0, probes: 3 });
}

#[tokio::test(start_paused = true)]
async fn each_page_of_a_list_is_a_call_for_report_and_rate() {
    let limit = RateLimit { per_second: 10, burst: 1 };
    let mut rig = Rig::with(|replica| replica.rate_limit = Some(limit));
    rig.fake.put("kv/data/a", "1");
    rig.fake.set(|switches| switches.more_pages = 30);
    let before = tokio::time::Instant::now();
    let report = rig.sync().await;
    let took = before.elapsed().as_secs_f64();
    assert_eq!((report.created, report.calls), (1, 33), "a list of 31 pages, a description, a value: {report:?}");
    assert!(took >= 3.1, "{took}");
}

#[tokio::test]
async fn changed_added_deleted_undeleted_and_destroyed_secrets_arrive() {
    let mut rig = Rig::with(|replica| replica.rules = vec![RuleSettings { history: History::All, ..settings() }]);
    for name in ["a", "b", "c"] {
        rig.fake.put(&format!("kv/data/{name}"), "1");
        rig.fake.put(&format!("kv/data/{name}"), "2");
    }
    rig.sync().await;
    assert_eq!(rig.values("apps/a").into_values().collect::<Vec<_>>(), ["1", "2"]);
    rig.fake.put("kv/data/a", "3");
    rig.fake.put("kv/data/new", "1");
    rig.fake.mark("kv/data/b", 0, VersionState::Deleted(rig.clock.now()));
    rig.fake.mark("kv/data/c", 1, VersionState::Destroyed(None));
    let report = rig.sync().await;
    assert_eq!((report.created, report.updated, report.read), (1, 3, 2), "{report:?}");
    assert_eq!(rig.value("apps/a").as_deref(), Some("3"));
    assert_eq!(rig.value("apps/new").as_deref(), Some("1"));
    assert_eq!(rig.value("apps/b"), None);
    assert_eq!(rig.values("apps/c").into_keys().collect::<Vec<_>>(), [2]);
    rig.fake.mark("kv/data/b", 0, VersionState::Current);
    rig.fake.describe_as("kv/data/a", "k", "v");
    rig.fake.purge("kv/data/new");
    let report = rig.sync().await;
    assert_eq!((report.updated, report.deleted, report.read), (2, 1, 0), "{report:?}");
    assert_eq!(rig.value("apps/b").as_deref(), Some("2"));
    assert_eq!(rig.head("apps/a").unwrap().metadata["k"], "v");
    assert!(rig.head("apps/new").is_none());
}

#[tokio::test]
async fn names_that_cannot_be_paths_are_skipped_with_their_reason_and_the_rest_is_counted() {
    let mut rig = Rig::new();
    let long = "x".repeat(200);
    for name in ["ok", "a b", "a+b", "é", &long, "dir/with space/inner", "..", "good/deep/one"] {
        rig.fake.put(&format!("kv/data/{name}"), "1");
    }
    let report = rig.sync().await;
    assert_eq!(report.outcome, RunOutcome::Completed, "{report:?}");
    assert_eq!((report.created, rig.count()), (2, 2));
    let mut skipped: Vec<&str> = report.skipped.iter().map(|skipped| skipped.remote.as_str()).collect();
    skipped.sort_unstable();
    let long = format!("kv/data/{long}");
    let mut expected =
        vec!["kv/data/..", "kv/data/a b", "kv/data/a+b", "kv/data/dir/with space/inner", long.as_str(), "kv/data/é"];
    expected.sort_unstable();
    assert_eq!(skipped, expected);
    assert!(report.skipped.iter().all(|skipped| skipped.reason.contains("secret path")), "{:?}", report.skipped);
    assert_eq!(report.skipped_count, 6);
}

#[tokio::test]
async fn a_value_that_is_too_large_or_leased_is_skipped_and_its_reads_go_through() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/large", &"x".repeat(2000));
    rig.fake.put("kv/data/leased", "1");
    rig.fake.put("kv/data/fine", "1");
    rig.fake.set(|switches| switches.leased = ["kv/data/leased".to_owned()].into());
    let report = rig.sync().await;
    assert_eq!((report.created, report.skipped_count, report.outcome), (1, 2, RunOutcome::Completed));
    assert!(rig.replica.copies.is_failing(0, &path("apps/large")));
    assert!(rig.replica.copies.is_failing(0, &path("apps/leased")));
    assert!(!rig.replica.copies.is_failing(0, &path("apps/fine")));
    let remembered = rig.memory.rule(7).unwrap().uncopied.len();
    assert_eq!(remembered, 2, "a restart knows them too");
}

#[tokio::test]
async fn a_history_that_is_wanted_later_is_filled_without_a_change() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/a", "1");
    rig.fake.put("kv/data/a", "2");
    rig.sync().await;
    assert_eq!(rig.values("apps/a").into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(rig.head("apps/a").unwrap().versions.len(), 2, "older versions are known without their values");
    let records = rig.replica.records.clone();
    let copies = rig.replica.copies.clone();
    let fake = rig.fake.clone();
    let all = super::rig::replica(fake, |replica| {
        replica.rules = vec![RuleSettings { history: History::All, ..settings() }];
        (replica.records, replica.copies) = (records, copies);
    });
    rig.replica = std::sync::Arc::new(all);
    let report = rig.sync().await;
    assert_eq!((report.updated, report.read), (1, 1));
    assert_eq!(rig.values("apps/a").into_keys().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rig.sync().await.unchanged, 1);
}

#[tokio::test]
async fn on_demand_only_what_was_asked_for_is_copied_by_its_exact_name() {
    let mut rig = Rig::with(|replica| {
        replica.rules = vec![RuleSettings { scope: SyncScope::Demand, ..settings() }];
        replica.prefetch = vec![path("apps/first")];
    });
    for name in ["first", "read", "other"] {
        rig.fake.put(&format!("kv/data/{name}"), "1");
    }
    rig.replica.copies.want(0, &path("apps/read"));
    rig.replica.copies.want(0, &path("apps/nothing"));
    let report = rig.sync().await;
    assert_eq!((report.created, report.outcome), (2, RunOutcome::Completed), "{report:?}");
    assert_eq!(rig.fake.asked().lists, 0);
    assert!(rig.head("apps/other").is_none());
    assert!(!rig.replica.copies.whole(0), "lists go live");
    assert_eq!(rig.replica.copies.demanded(0), [path("apps/read")], "what is not there is wanted no longer");
    rig.fake.purge("kv/data/read");
    rig.fake.put("kv/data/first", "2");
    let report = rig.sync().await;
    assert_eq!((report.updated, report.deleted), (1, 1), "the backend said so about this very name");
}

#[tokio::test]
async fn named_paths_are_looked_at_by_themselves() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/a", "1");
    rig.fake.put("kv/data/b", "1");
    rig.sync().await;
    rig.fake.put("kv/data/a", "2");
    rig.fake.put("kv/data/b", "2");
    let before = rig.clock.now();
    rig.fake.asked();
    let report = rig.run(Scope::Paths(vec![path("apps/a"), path("elsewhere/x")])).await;
    assert_eq!((report.updated, report.skipped_count, report.calls), (1, 1, 2), "{report:?}");
    assert_eq!(rig.fake.asked(), Asked { descriptions: 1, reads: 1, ..Asked::default() });
    assert_eq!((rig.value("apps/a").as_deref(), rig.value("apps/b").as_deref()), (Some("2"), Some("1")));
    assert!(rig.replica.copies.checked_at(0, &path("apps/a"), 0) > before);
    assert!(rig.replica.copies.checked_at(0, &path("apps/b"), 0) < before);
}

#[tokio::test]
async fn a_store_without_versions_is_compared_by_value_and_counted_here() {
    let mut rig = Rig::new();
    rig.fake.set(|switches| switches.bare = true);
    rig.fake.put("kv/data/a", "1");
    let report = rig.sync().await;
    assert_eq!((report.created, report.read), (1, 1), "{report:?}");
    let report = rig.sync().await;
    assert_eq!((report.unchanged, report.updated), (1, 0));
    rig.fake.put("kv/data/a", "2");
    let report = rig.sync().await;
    assert_eq!(report.updated, 1);
    assert_eq!((rig.value("apps/a").as_deref(), rig.head("apps/a").unwrap().current), (Some("2"), 2));
    rig.fake.purge("kv/data/a");
    rig.fake.put("kv/data/b", "1");
    assert_eq!(rig.sync().await.deleted, 1);
}

#[tokio::test]
async fn every_copy_is_in_the_trail_and_no_value_is() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/a", r#"{"k":"canary-1"}"#);
    rig.fake.put("kv/data/b", r#"{"k":"canary-2"}"#);
    rig.sync().await;
    rig.fake.purge("kv/data/b");
    rig.sync().await;
    let lines = rig.trail();
    let of = |kind: &str, operation: &str| -> Vec<&str> {
        let lines = lines.iter().filter(|line| line["kind"] == kind && line["operation"] == operation);
        let mut paths: Vec<&str> = lines.map(|line| line["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        paths
    };
    assert_eq!(of("intent", "write"), ["apps/a", "apps/b"]);
    assert_eq!(of("outcome", "write"), ["apps/a", "apps/b"]);
    assert_eq!((of("intent", "delete"), of("outcome", "delete")), (vec!["apps/b"], vec!["apps/b"]));
    for line in &lines {
        assert!(line["principal"] == "system/sync" && line["mode"] == "sync", "{line}");
        assert_eq!(line["policies"], serde_json::json!(["system"]), "{line}");
        assert!(!line.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn a_version_that_deletes_itself_changes_nothing_when_it_does() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/a", "1");
    let at = rig.clock.now().after(Duration::from_secs(100));
    rig.fake.mark("kv/data/a", 0, VersionState::Current);
    rig.sync().await;
    rig.fake.mark("kv/data/a", 0, VersionState::Deleted(at));
    rig.sync().await;
    assert_eq!(rig.value("apps/a").as_deref(), Some("1"), "not yet");
    rig.clock.advance(Duration::from_secs(200));
    assert_eq!(rig.value("apps/a"), None);
    assert_eq!(rig.sync().await.unchanged, 1);
    assert!(rig.replica.copies.checked_at(0, &path("apps/a"), 0) > Timestamp::from_secs(1_000_200));
}
