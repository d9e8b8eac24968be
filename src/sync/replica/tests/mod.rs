//! What copies answer.

pub(in crate::sync) mod fake;

use std::time::Duration;

use self::fake::{NAME, Rig, settings};
use super::*;
use crate::clock::Clock as _;
use crate::error::ErrorKind;
use crate::seal::Listing;
use crate::secret::{Folder, History, Outcome, Precondition, SecretAction, VersionSelector, VersionSet};

fn current(rig: &Rig) -> String {
    rig.read(VersionSelector::Current)
}

fn number(rig: &Rig, version: u64) -> String {
    rig.read(VersionSelector::Number(version))
}

#[tokio::test]
async fn reads_fall_through_until_the_first_sync_and_never_wait_after_it() {
    let rig = Rig::new(settings());
    assert_eq!(current(&rig), "live");
    rig.fake.put(NAME, r#"{"a":1}"#);
    rig.pull().await;
    rig.fake.down(true);
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
    let other = SecretPath::parse("app/other").unwrap();
    let ask = |path| rig.replica.serve(0, path, &SecretAction::Describe, rig.clock.now());
    assert!(matches!(ask(&other), Ok(Served::Live)), "not everything was looked at yet");
    rig.replica.copies.run_ended(0, rig.clock.now());
    assert!(matches!(ask(&other), Ok(Served::Reply { outcome: Outcome::NotFound, .. })));
    rig.replica.copies.path_failed(&other);
    assert!(matches!(ask(&other), Ok(Served::Live)), "it is there, and could not be copied");
    assert_eq!(rig.replica.copies.saved_calls(), 2);
}

#[tokio::test]
async fn a_demanded_path_without_a_copy_is_always_live() {
    let rig = Rig::new(RuleSettings { scope: SyncScope::Demand, ..settings() });
    rig.replica.copies.run_ended(0, rig.clock.now());
    assert_eq!(current(&rig), "live");
    assert_eq!(rig.replica.list(0, &Folder::root(), rig.clock.now()).unwrap(), None);
    rig.fake.put(NAME, "{}");
    rig.pull().await;
    assert_eq!(current(&rig), "hit 1 {}");
}

#[tokio::test]
async fn a_missed_interval_shows_and_max_stale_and_denials_end_serving() {
    let strict = RuleSettings { max_stale: Some(Duration::from_secs(300)), ..settings() };
    let rig = Rig::synced(RuleSettings { deny_grace: Some(Duration::from_secs(30)), ..strict }).await;
    rig.clock.advance(Duration::from_secs(119));
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
    rig.clock.advance(Duration::from_secs(2));
    assert_eq!(current(&rig), r#"stale 1 {"a":1}"#);
    rig.clock.advance(Duration::from_secs(300));
    assert_eq!(current(&rig), "the copy is older than max_stale allows");
    rig.replica.copies.run_ended(0, rig.clock.now());
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
    rig.replica.copies.denied(rig.clock.now());
    rig.clock.advance(Duration::from_secs(30));
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(current(&rig), "the backend denies us for longer than deny_grace allows");
    rig.replica.copies.not_denied();
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
}

#[tokio::test]
async fn without_a_grace_a_denial_ends_serving_at_once() {
    let rig = Rig::synced(settings()).await;
    rig.replica.copies.denied(rig.clock.now());
    assert_eq!(current(&rig), "the backend denies us for longer than deny_grace allows");
    assert_eq!(ServeError::Denied.kind(), ErrorKind::UpstreamRejected);
    assert_eq!(ServeError::Stale.kind(), ErrorKind::UpstreamUnavailable);
}

#[tokio::test]
async fn versions_the_copy_lacks_go_live_by_the_backends_number() {
    let rig = Rig::new(RuleSettings { history: History::None, ..settings() });
    rig.fake.put(NAME, "1");
    rig.fake.put(NAME, "2");
    rig.pull().await;
    assert_eq!(current(&rig), "hit 2 2");
    assert_eq!(number(&rig, 2), "hit 2 2");
    assert_eq!(number(&rig, 1), "live", "known, and not kept");
    assert_eq!(number(&rig, 9), "live", "the backend may have gone on");
    let mut head = rig.head().unwrap();
    let mut version = head.versions.remove(&2).unwrap();
    version.native = Some("2".to_owned());
    version.held = false;
    head.versions.insert(5, version);
    head.current = 5;
    rig.keep(&head).await;
    assert_eq!(number(&rig, 5), "live Number(2) as 5");
}

#[tokio::test]
async fn c06_every_version_is_its_own_answer() {
    let rig = Rig::synced(settings()).await;
    rig.fake.put(NAME, r#"{"a":2}"#);
    rig.pull().await;
    assert_eq!(number(&rig, 1), r#"hit 1 {"a":1}"#);
    assert_eq!(number(&rig, 2), r#"hit 2 {"a":2}"#);
    assert_eq!(current(&rig), r#"hit 2 {"a":2}"#);
    let describe = rig.replica.serve(0, &rig.path, &SecretAction::Describe, rig.clock.now());
    let Ok(Served::Reply { outcome: Outcome::Described(described), .. }) = describe else { panic!("not described") };
    assert_eq!((described.current_version, described.versions.len()), (2, 2));
}

#[tokio::test]
async fn w17_a_copy_of_another_route_is_as_if_it_were_not_there() {
    let mut rig = Rig::synced(settings()).await;
    rig.replica.rules[0].route = 8;
    assert_eq!(current(&rig), "live");
    assert_eq!(rig.replica.exists(0, &rig.path, rig.clock.now()).unwrap(), None);
    let listing = rig.replica.list(0, &Folder::parse("app").unwrap(), rig.clock.now()).unwrap().unwrap();
    assert_eq!(listing, Listing::default());
}

#[tokio::test]
async fn a_flagged_copy_is_still_served() {
    let rig = Rig::synced(settings()).await;
    let mut head = rig.head().unwrap();
    head.origin.as_mut().unwrap().conflict = Some(crate::seal::Conflict { since: 1, remote: None });
    rig.keep(&head).await;
    assert_eq!(current(&rig), r#"hit 1 {"a":1}"#);
}

#[tokio::test]
async fn lists_hold_copies_and_what_could_not_be_copied_and_nothing_that_was_removed() {
    let rig = Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await;
    rig.replica.copies.path_failed(&SecretPath::parse("app/deep/big").unwrap());
    rig.replica.copies.path_failed(&SecretPath::parse("app/large").unwrap());
    let list = |folder: &str| {
        let listing = rig.replica.list(0, &Folder::parse(folder).unwrap(), rig.clock.now()).unwrap().unwrap();
        (listing.leaves.join(" "), listing.folders.join(" "))
    };
    assert_eq!(list("app"), ("db large".to_owned(), "deep".to_owned()));
    assert_eq!(list(""), (String::new(), "app".to_owned()));
    assert_eq!(list("app/deep"), ("big".to_owned(), String::new()));
    rig.act(SecretAction::Purge).await.unwrap();
    assert_eq!(list("app"), ("large".to_owned(), "deep".to_owned()));
    assert_eq!(rig.replica.exists(0, &rig.path, rig.clock.now()).unwrap(), Some(false));
    assert_eq!(current(&rig), "hit NotFound");
}

#[tokio::test]
async fn a_deleted_secret_whose_time_is_over_is_gone_from_copies_too() {
    let rig = Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await;
    rig.act(SecretAction::Delete(VersionSet::All, Some(7))).await.unwrap();
    let (app, second) = (Folder::parse("app").unwrap(), Duration::from_secs(1));
    for (wait, is_there) in [(Duration::from_secs(7 * 86_400) - second, true), (second, false)] {
        rig.clock.advance(wait);
        let now = rig.clock.now();
        assert_eq!(rig.replica.exists(0, &rig.path, now).unwrap(), Some(is_there));
        let listed = rig.replica.list(0, &app, now).unwrap().unwrap();
        let ahead = rig.replica.list_ahead(0, &app, now);
        let expected = if is_there { vec!["db".to_owned()] } else { Vec::new() };
        assert_eq!((listed.leaves, ahead.leaves), (expected.clone(), expected));
        let told = rig.replica.serve(0, &rig.path, &SecretAction::Describe, now).unwrap();
        assert_eq!(matches!(told, Served::Reply { outcome: Outcome::Described(_), .. }), is_there);
        assert_eq!(current(&rig).ends_with("NotFound"), !is_there, "{}", current(&rig));
    }
    assert_eq!(rig.put_if("{}", Precondition::New).await.unwrap(), 2, "numbers go on");
    assert!(current(&rig).ends_with(" 2 {}") && rig.value(1).is_none());
}
