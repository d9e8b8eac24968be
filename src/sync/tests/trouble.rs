//! What a run does when the backend, the network or the configuration does not do its part.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::rig::{Rig, path, replica, until};
use crate::clock::Clock as _;
use crate::sync::board::Turn;
use crate::sync::desk::Verdict;
use crate::sync::report::{Health, RunOutcome};
use crate::sync::run::Scope;

async fn copied(names: &[&str]) -> Rig {
    let mut rig = Rig::new();
    for name in names {
        rig.fake.put(&format!("kv/data/{name}"), "1");
    }
    rig.sync().await;
    rig.fake.asked();
    rig
}

#[tokio::test]
async fn w14_a_list_that_came_back_empty_deletes_nothing_until_a_second_run_confirms_it() {
    let mut rig = copied(&["a", "b", "c/d"]).await;
    for name in ["a", "b", "c/d"] {
        rig.fake.purge(&format!("kv/data/{name}"));
    }
    let report = rig.sync().await;
    assert_eq!((report.deleted, report.unconfirmed, rig.count()), (0, 3, 3), "{report:?}");
    let report = rig.sync().await;
    assert_eq!((report.deleted, report.unconfirmed, rig.count()), (3, 0, 0), "{report:?}");
}

#[tokio::test]
async fn w14_an_empty_list_that_was_an_outage_is_forgotten_by_the_next_run() {
    let mut rig = copied(&["a", "b"]).await;
    rig.fake.set(|switches| switches.lists_empty = true);
    let report = rig.sync().await;
    assert_eq!((report.deleted, report.unchanged), (0, 2), "by their exact names they are still there: {report:?}");
    rig.fake.set(|switches| switches.lists_empty = false);
    rig.sync().await;
    rig.fake.purge("kv/data/a");
    rig.fake.purge("kv/data/b");
    assert_eq!(rig.sync().await.deleted, 0, "a fresh doubt");
    assert_eq!(rig.sync().await.deleted, 2);
}

#[tokio::test]
async fn w14_a_list_that_failed_or_was_cut_fails_the_run_and_deletes_nothing() {
    for cut in [false, true] {
        let mut rig = copied(&["a", "b", "c"]).await;
        let checked = rig.replica.copies.checked_at(0, &path("apps/a"), 0);
        rig.fake.set(|switches| (switches.lists_fail, switches.lists_cut) = (!cut, cut));
        rig.fake.purge("kv/data/a");
        rig.fake.put("kv/data/b", "2");
        let report = rig.sync().await;
        assert_eq!((report.outcome, report.deleted, rig.count()), (RunOutcome::Failed, 0, 3), "{report:?}");
        assert_eq!(report.errors[0].remote, "kv/data/");
        assert_eq!(rig.value("apps/b").as_deref(), Some("2"), "what is known is looked at all the same");
        assert_eq!(rig.replica.copies.checked_at(0, &path("apps/a"), 0), checked, "the run speaks for nobody");
    }
}

#[tokio::test]
async fn one_secret_that_is_gone_goes_at_once_and_so_does_a_folder() {
    let mut rig = copied(&["a", "b", "c/d"]).await;
    rig.fake.purge("kv/data/a");
    rig.fake.purge("kv/data/c/d");
    let report = rig.sync().await;
    assert_eq!((report.deleted, report.unchanged, rig.count()), (2, 1, 1), "{report:?}");
}

#[tokio::test]
async fn a_backend_that_denies_us_is_told_from_one_that_has_nothing() {
    let mut rig = copied(&["a", "b"]).await;
    rig.fake.set(|switches| switches.denied = true);
    let report = rig.sync().await;
    assert_eq!((report.outcome, rig.verdict), (RunOutcome::Failed, Verdict::Denied), "{report:?}");
    assert_eq!((report.deleted, rig.count()), (0, 2));
    rig.fake.set(|switches| switches.denied = false);
    assert_eq!(rig.sync().await.outcome, RunOutcome::Completed);
    assert_eq!(rig.verdict, Verdict::Fine);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_denied_us_and_then_went_away_is_unreachable_until_it_is_back() {
    let rig = copied(&["a"]).await;
    let state = || rig.board.status(&rig.replica, rig.clock.now()).state;
    rig.replica.copies.denied(rig.clock.now());
    assert_eq!(state(), Health::Denied);
    assert_eq!((rig.board.lost(), rig.board.lost()), (None, None));
    assert_eq!(state(), Health::Denied, "not for a short time");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(rig.board.lost(), Some(Turn::Unreachable));
    assert_eq!(state(), Health::Unreachable);
    assert!(rig.replica.copies.denied_since().is_some(), "the grace goes on: nobody let us in again");
    assert_eq!(rig.board.reached(), Some(Turn::Recovered));
    assert_eq!(state(), Health::Denied, "it is back, and nothing shows that it lets us in");
    rig.replica.copies.not_denied();
    assert_eq!(state(), Health::Healthy);
}

#[tokio::test]
async fn k05_a_right_to_values_that_was_taken_away_shows_although_nothing_changed() {
    let mut rig = copied(&["a", "b", "c", "d", "e"]).await;
    rig.fake.set(|switches| switches.values_denied = true);
    let report = rig.sync().await;
    assert_eq!((rig.verdict, report.outcome), (Verdict::Denied, RunOutcome::Failed), "{report:?}");
    rig.fake.set(|switches| switches.values_denied = false);
    rig.sync().await;
    assert_eq!(rig.verdict, Verdict::Fine);
}

#[tokio::test]
async fn a_backend_that_is_gone_is_not_asked_for_every_secret() {
    let mut rig = Rig::new();
    for index in 0..200 {
        rig.fake.put(&format!("kv/data/s{index}"), "1");
    }
    rig.sync().await;
    rig.fake.asked();
    rig.fake.set(|switches| switches.lost = true);
    let report = rig.sync().await;
    assert_eq!((report.outcome, rig.verdict, rig.count()), (RunOutcome::Failed, Verdict::Lost, 200));
    assert!(report.calls < 60, "{}", report.calls);
    assert_eq!(rig.value("apps/s7").as_deref(), Some("1"), "reads go on");
}

#[tokio::test]
async fn one_broken_secret_leaves_the_others_alone_and_is_left_out_after_a_while() {
    let mut rig = Rig::new();
    rig.fake.put("kv/data/bad", "1");
    rig.fake.put("kv/data/good", "1");
    rig.fake.set(|switches| switches.broken = ["kv/data/bad".to_owned()].into());
    for _ in 0..3 {
        let report = rig.sync().await;
        assert_eq!((report.outcome, report.error_count), (RunOutcome::Partial, 1), "{report:?}");
    }
    rig.fake.asked();
    let report = rig.sync().await;
    assert_eq!((report.outcome, report.error_count, report.skipped_count), (RunOutcome::Completed, 0, 1));
    assert!(report.skipped[0].reason.contains("kept failing"), "{report:?}");
    assert_eq!(rig.fake.asked().descriptions, 1);
    rig.fake.set(|switches| switches.broken.clear());
    let report = rig.run(Scope::Paths(vec![path("apps/bad")])).await;
    assert_eq!(report.created, 1, "whoever asks for it gets it tried");
    assert_eq!(rig.sync().await.unchanged, 2);
}

#[tokio::test(start_paused = true)]
async fn r14_too_many_calls_are_waited_out() {
    let mut rig = Rig::new();
    for index in 0..20 {
        rig.fake.put(&format!("kv/data/s{index}"), "1");
    }
    rig.fake.set(|switches| switches.limited = 5);
    let report = rig.sync().await;
    assert_eq!((report.outcome, report.created, report.error_count), (RunOutcome::Completed, 20, 0), "{report:?}");
    assert!(report.duration_ms >= 1000, "{}", report.duration_ms);
}

#[tokio::test]
async fn a_version_deleted_between_its_description_and_its_value_is_copied_as_deleted() {
    let mut rig = copied(&["old"]).await;
    rig.fake.put("kv/data/new", "1");
    rig.fake.put("kv/data/old", "2");
    let both = ["kv/data/new", "kv/data/old"].map(str::to_owned);
    rig.fake.set(|switches| switches.deleted_when_read = both.into());
    let report = rig.sync().await;
    assert_eq!((report.outcome, report.error_count), (RunOutcome::Completed, 0), "{report:?}");
    for (name, version) in [("apps/new", 1), ("apps/old", 2)] {
        let head = rig.head(name).unwrap();
        assert_eq!(head.current, version, "{name}");
        assert!(!head.versions[&version].is_readable(rig.clock.now()), "{name}");
    }
}

#[tokio::test]
async fn a_cancelled_run_stops_and_keeps_what_it_has() {
    let mut rig = Rig::new();
    for index in 0..100 {
        rig.fake.put(&format!("kv/data/s{index}"), "1");
    }
    let gate = Arc::new(Semaphore::new(10));
    rig.fake.set(|switches| switches.gate = Some(gate.clone()));
    let (fake, mailbox) = (rig.fake.clone(), rig.mailbox.clone());
    let cancel = async {
        let mut described = 0;
        until("ten are through", || {
            described += fake.asked().descriptions;
            described >= 10
        })
        .await;
        assert!(mailbox.cancel());
        gate.add_permits(100);
    };
    let (report, ()) = tokio::join!(rig.sync(), cancel);
    assert_eq!(report.outcome, RunOutcome::Cancelled);
    assert!((10..60).contains(&report.created), "{report:?}");
    assert_eq!(rig.count() as u64, report.created);
    assert!(!rig.replica.copies.whole(0));
}

#[tokio::test]
async fn a_run_of_a_replaced_configuration_stores_nothing_more() {
    let mut rig = Rig::new();
    for index in 0..10 {
        rig.fake.put(&format!("kv/data/s{index}"), "1");
    }
    let gate = Arc::new(Semaphore::new(0));
    rig.fake.set(|switches| switches.gate = Some(gate.clone()));
    let (fake, replicas) = (rig.fake.clone(), rig.replicas.clone());
    let other = Arc::new(replica(rig.fake.clone(), |_| {}));
    let replace = async {
        until("the run waits", || fake.asked().lists > 0).await;
        replicas.send_replace(other);
        // the run is the only one with something to do: it takes notice
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(100);
    };
    let (report, ()) = tokio::join!(rig.sync(), replace);
    assert_eq!((report.outcome, report.created, rig.count()), (RunOutcome::Cancelled, 0, 0), "{report:?}");
}

#[tokio::test]
async fn a_path_somebody_waits_for_overtakes_a_long_run() {
    let mut rig = copied(&["hot"]).await;
    for index in 0..100 {
        rig.fake.put(&format!("kv/data/s{index}"), "1");
    }
    let gate = Arc::new(Semaphore::new(1));
    rig.fake.set(|switches| switches.gate = Some(gate.clone()));
    let (fake, mailbox, clock) = (rig.fake.clone(), rig.mailbox.clone(), rig.clock.clone());
    let records = rig.replica.records.clone();
    let hot = async {
        until("the run is on its way", || fake.asked().descriptions > 0).await;
        fake.put("kv/data/hot", "2");
        mailbox.order(&*clock, Some(vec![path("apps/hot")]));
        gate.add_permits(40);
        until("the hot path is through before the others can be", || {
            records.head(&path("apps/hot")).unwrap().is_some_and(|head| head.current == 2)
        })
        .await;
        gate.add_permits(1000);
    };
    let (report, ()) = tokio::join!(rig.sync(), hot);
    assert_eq!((report.created, report.outcome), (100, RunOutcome::Completed), "{report:?}");
}
