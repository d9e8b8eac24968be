//! Both sides change: pushes, conflicts, and answers that are lost in between.

use super::rig::{Rig, path, settings};
use crate::clock::Clock as _;
use crate::seal::edit::{self, Mark};
use crate::seal::{Change, Head};
use crate::secret::{
    ConflictPolicy, OnBackendDelete, RemoteName, RuleSettings, SecretType, SecretValue, VersionState, WriteMode,
};
use crate::sync::report::RunOutcome;

/// One copied secret, `kv/data/a` with the value `base`.
async fn copied(mode: WriteMode, policy: ConflictPolicy) -> Rig {
    let mut rig = Rig::with(|replica| {
        replica.rules = vec![RuleSettings { write_mode: mode, ..settings() }];
        replica.conflict_policy = policy;
    });
    rig.fake.put("kv/data/a", r#"{"v":"base"}"#);
    rig.sync().await;
    rig.fake.asked();
    rig
}

const HERE: &str = r#"{"v":"here"}"#;
const THERE: &str = r#"{"v":"there"}"#;

fn is_flagged(rig: &Rig) -> bool {
    rig.head("apps/a").unwrap().origin.unwrap().conflict.is_some()
}

#[tokio::test]
async fn a_change_here_alone_is_pushed_or_kept_and_never_lost() {
    for mode in [WriteMode::Disabled, WriteMode::Local, WriteMode::WriteThrough] {
        for policy in [ConflictPolicy::BackendWins, ConflictPolicy::LocalWins, ConflictPolicy::Manual] {
            let mut rig = copied(mode, policy).await;
            rig.put_here("apps/a", HERE).await;
            let report = rig.sync().await;
            let is_through = mode == WriteMode::WriteThrough;
            assert_eq!(report.pushed, u64::from(is_through), "{mode:?} {policy:?} {report:?}");
            assert_eq!(rig.value("apps/a").as_deref(), Some(HERE));
            let there = if is_through { HERE } else { r#"{"v":"base"}"# };
            assert_eq!(rig.fake.current("kv/data/a").as_deref(), Some(there));
            let again = rig.sync().await;
            assert_eq!((again.pushed, again.updated, again.conflicts, again.unchanged), (0, 0, 0, 1));
        }
    }
}

#[tokio::test]
async fn a_deletion_here_is_carried_over_and_an_undeletion_too() {
    let mut rig = copied(WriteMode::WriteThrough, ConflictPolicy::BackendWins).await;
    let now = rig.clock.now();
    rig.edit("apps/a", |head| (None, edit::mark(head, &[1], Mark::Deleted(now), now))).await;
    assert_eq!(rig.sync().await.pushed, 1);
    assert_eq!(rig.fake.current("kv/data/a"), None);
    rig.edit("apps/a", |head| (None, edit::mark(head, &[1], Mark::Undeleted, now))).await;
    assert_eq!(rig.sync().await.pushed, 1);
    assert_eq!(rig.fake.current("kv/data/a").as_deref(), Some(r#"{"v":"base"}"#));
    assert_eq!(rig.fake.version_count("kv/data/a"), 1, "restored, not written again");
    rig.edit("apps/a", |head| (None, edit::bury(head, now))).await;
    assert_eq!(rig.sync().await.pushed, 1);
    assert_eq!(rig.fake.current("kv/data/a"), None, "w07: it does not come back");
    assert_eq!(rig.sync().await.unchanged, 1);
    let trail = rig.trail();
    let pushed = trail.iter().filter(|line| line["kind"] == "outcome" && line["operation"] == "delete");
    assert_eq!(pushed.count(), 2);
}

#[tokio::test]
async fn w02_both_changed_and_the_policy_decides() {
    for (mode, policy, here, there, flagged) in [
        (WriteMode::Local, ConflictPolicy::BackendWins, THERE, THERE, false),
        (WriteMode::WriteThrough, ConflictPolicy::BackendWins, THERE, THERE, false),
        (WriteMode::Local, ConflictPolicy::LocalWins, HERE, THERE, true),
        (WriteMode::WriteThrough, ConflictPolicy::LocalWins, HERE, HERE, false),
        (WriteMode::Local, ConflictPolicy::Manual, HERE, THERE, true),
        (WriteMode::WriteThrough, ConflictPolicy::Manual, HERE, THERE, true),
    ] {
        let mut rig = copied(mode, policy).await;
        rig.put_here("apps/a", HERE).await;
        rig.fake.put("kv/data/a", THERE);
        let report = rig.sync().await;
        assert_eq!((report.conflicts, report.outcome), (1, RunOutcome::Completed), "{mode:?} {policy:?} {report:?}");
        assert_eq!(rig.value("apps/a").as_deref(), Some(here), "{mode:?} {policy:?}");
        assert_eq!(rig.fake.current("kv/data/a").as_deref(), Some(there), "{mode:?} {policy:?}");
        assert_eq!(is_flagged(&rig), flagged, "{mode:?} {policy:?}");
        assert_eq!(rig.told().await, ["federation.conflict.detected"]);
        let again = rig.sync().await;
        assert_eq!((again.conflicts, again.held), (0, u64::from(flagged)), "{mode:?} {policy:?}");
        if policy == ConflictPolicy::BackendWins {
            let values: Vec<String> = rig.values("apps/a").into_values().collect();
            assert!(values.contains(&HERE.to_owned()), "the loser stays readable by its number");
        }
    }
}

#[tokio::test]
async fn local_wins_over_a_change_over_there_alone() {
    let mut rig = copied(WriteMode::WriteThrough, ConflictPolicy::LocalWins).await;
    rig.fake.put("kv/data/a", THERE);
    let report = rig.sync().await;
    assert_eq!((report.pushed, report.conflicts), (1, 1));
    assert_eq!(rig.fake.current("kv/data/a").as_deref(), Some(r#"{"v":"base"}"#));
    rig.fake.purge("kv/data/a");
    rig.fake.put("kv/data/other", "1");
    assert_eq!(rig.sync().await.pushed, 1);
    assert_eq!(rig.fake.current("kv/data/a").as_deref(), Some(r#"{"v":"base"}"#), "made again");
}

#[tokio::test]
async fn two_sides_that_changed_to_the_same_value_are_no_conflict() {
    let mut rig = copied(WriteMode::Local, ConflictPolicy::Manual).await;
    rig.put_here("apps/a", HERE).await;
    rig.fake.put("kv/data/a", r#"{ "v" : "here" }"#);
    let report = rig.sync().await;
    assert_eq!((report.conflicts, report.unchanged), (0, 1), "{report:?}");
    assert!(!is_flagged(&rig));
    rig.fake.put("kv/data/a", THERE);
    let report = rig.sync().await;
    assert_eq!((report.updated, report.conflicts), (1, 0), "they agreed before");
    assert_eq!(rig.value("apps/a").as_deref(), Some(THERE));
}

#[tokio::test]
async fn w04_a_push_whose_answer_is_lost_is_found_out_by_reading_and_never_repeated() {
    let mut rig = copied(WriteMode::WriteThrough, ConflictPolicy::Manual).await;
    rig.put_here("apps/a", HERE).await;
    rig.fake.set(|switches| switches.write_unanswered = true);
    let report = rig.sync().await;
    assert_eq!((report.conflicts, report.error_count), (0, 0), "{report:?}");
    assert_eq!(rig.fake.version_count("kv/data/a"), 2, "written once");
    assert_eq!(rig.fake.asked().writes, 1);
    let again = rig.sync().await;
    assert_eq!((again.pushed, again.unchanged), (0, 1));
    // the value is there and its metadata is not: the rest follows
    let now = rig.clock.now();
    rig.put_here("apps/a", r#"{"v":"later"}"#).await;
    rig.edit("apps/a", |head| {
        head.metadata.insert("k".to_owned(), "v".to_owned());
        head.updated = now.micros();
        (None, Vec::new())
    })
    .await;
    rig.fake.set(|switches| switches.write_unanswered = true);
    let report = rig.sync().await;
    assert_eq!((report.conflicts, report.error_count), (0, 0), "{report:?}");
    assert_eq!(rig.fake.version_count("kv/data/a"), 3);
    assert_eq!(rig.fake.metadata("kv/data/a")["k"], "v");
}

#[tokio::test]
async fn a_secret_made_here_is_made_there_and_a_kept_deletion_keeps_the_copy() {
    let mut rig = copied(WriteMode::WriteThrough, ConflictPolicy::BackendWins).await;
    let origin = rig.replica.origin(&rig.replica.rules[0], &RemoteName::parse("kv/data/new").unwrap());
    let now = rig.clock.now();
    let head = Head { origin: Some(origin), ..edit::fresh(now) };
    let change = Change { path: path("apps/new"), head: Some(head), values: vec![], gone: vec![] };
    let writer = rig.replica.records.writer().await;
    rig.replica.records.commit_all(&writer, vec![change], vec![]).await.unwrap();
    drop(writer);
    rig.put_here("apps/new", HERE).await;
    assert_eq!(rig.sync().await.pushed, 1);
    assert_eq!(rig.fake.current("kv/data/new").as_deref(), Some(HERE));
    assert_eq!(rig.sync().await.unchanged, 2);
}

#[tokio::test]
async fn a_deletion_over_there_leaves_the_copy_where_it_is_kept() {
    let mut rig = Rig::with(|replica| replica.on_backend_delete = OnBackendDelete::Keep);
    for name in ["a", "b", "c"] {
        rig.fake.put(&format!("kv/data/{name}"), "1");
    }
    rig.sync().await;
    rig.fake.purge("kv/data/a");
    rig.fake.mark("kv/data/b", 0, VersionState::Deleted(rig.clock.now()));
    let report = rig.sync().await;
    assert_eq!((report.deleted, report.updated, report.unchanged), (0, 0, 3), "{report:?}");
    assert_eq!((rig.value("apps/a").as_deref(), rig.value("apps/b").as_deref()), (Some("1"), Some("1")));
}

#[tokio::test]
async fn w17_a_local_secret_in_the_way_is_never_overwritten() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/a", THERE);
    let now = rig.clock.now();
    let mut head = edit::fresh(now);
    let (info, _) = edit::put(&mut head, SecretType::Json, None, 10, now);
    let value = SecretValue::copy_of(HERE.as_bytes());
    let values = vec![(info.version, value)];
    let change = Change { path: path("apps/a"), head: Some(head), values, gone: vec![] };
    let writer = rig.replica.records.writer().await;
    rig.replica.records.commit_all(&writer, vec![change], vec![]).await.unwrap();
    drop(writer);
    let report = rig.sync().await;
    assert_eq!((report.created, report.updated, report.skipped_count), (0, 0, 1), "{report:?}");
    assert_eq!(rig.value("apps/a").as_deref(), Some(HERE));
}
