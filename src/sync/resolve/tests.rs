//! Decisions for either side, by write mode.

use super::*;
use crate::secret::{SecretAction, VersionSelector, WriteMode};
use crate::sync::replica::tests::fake::{NAME, Rig, settings};

const OURS: &str = r#"{"our":1}"#;
const THEIRS: &str = r#"{"their":1}"#;

/// Both sides changed, and it is flagged.
async fn flagged(write_mode: WriteMode) -> Rig {
    let mut rig = Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await;
    rig.put(OURS).await.unwrap();
    rig.fake.put(NAME, THEIRS);
    let ask = rig.replica.ask(rig.settings(), &rig.remote, "test");
    let remote = rig.replica.look(ask, false).await.unwrap().map(|sight| sight.mark);
    let mut head = rig.head().unwrap();
    head.origin.as_mut().unwrap().conflict = Some(Conflict { since: 5, remote });
    rig.keep(&head).await;
    rig.replica.rules[0].write_mode = write_mode;
    rig
}

async fn resolve(rig: &Rig, keep: Keep) -> Result<(), ResolveError> {
    rig.replica.resolve(&rig.path, keep, &*rig.clock, "test").await
}

#[tokio::test]
async fn w02_a_conflict_is_listed_with_both_sides() {
    let rig = flagged(WriteMode::Local).await;
    let expected = ConflictItem {
        path: rig.path.clone(),
        remote: NAME.to_owned(),
        since: Timestamp::from_micros(5),
        local_version: 2,
        remote_version: Some(2),
        agreed_version: Some(1),
    };
    assert_eq!(rig.replica.conflicts(), [expected]);
}

#[tokio::test]
async fn the_backends_side_replaces_ours_and_ours_stays_readable() {
    let rig = flagged(WriteMode::Local).await;
    resolve(&rig, Keep::Backend).await.unwrap();
    assert_eq!(rig.read(VersionSelector::Current), format!("hit 3 {THEIRS}"));
    assert_eq!(rig.read(VersionSelector::Number(2)), format!("hit 2 {OURS}"));
    assert!(rig.replica.conflicts().is_empty() && rig.is_agreed().await);
    assert!(matches!(resolve(&rig, Keep::Backend).await, Err(ResolveError::NoConflict)));
}

#[tokio::test]
async fn our_side_stays_ahead_of_a_state_both_know() {
    for write_mode in [WriteMode::Local, WriteMode::WriteThrough] {
        let rig = flagged(write_mode).await;
        resolve(&rig, Keep::Local).await.unwrap();
        assert_eq!(rig.read(VersionSelector::Current), format!("hit 2 {OURS}"));
        let agreed = rig.head().unwrap().origin.unwrap().agreed.unwrap();
        assert_eq!((agreed.remote.version, agreed.local_version), (2, 1));
        assert!(rig.replica.records.stored(&rig.path).unwrap().copy.unwrap().ahead);
        assert_eq!(rig.told().await, 1, "the engine pushes it, or sees that it may not");
        assert!(rig.replica.conflicts().is_empty());
    }
}

#[tokio::test]
async fn a_decision_about_an_older_state_is_asked_for_again() {
    let rig = flagged(WriteMode::WriteThrough).await;
    rig.fake.put(NAME, r#"{"their":2}"#);
    assert!(matches!(resolve(&rig, Keep::Local).await, Err(ResolveError::Moved)));
    assert_eq!(rig.replica.conflicts()[0].remote_version, Some(3));
    resolve(&rig, Keep::Local).await.unwrap();
    assert_eq!(rig.fake.versions(NAME).len(), 3, "nothing was written yet");
}

#[tokio::test]
async fn a_side_that_is_gone_can_be_kept_too() {
    let rig = flagged(WriteMode::Local).await;
    rig.fake.remove(NAME);
    assert!(matches!(resolve(&rig, Keep::Local).await, Err(ResolveError::Moved)));
    assert_eq!(rig.replica.conflicts()[0].remote_version, None);
    resolve(&rig, Keep::Local).await.unwrap();
    assert!(rig.head().unwrap().origin.unwrap().agreed.is_none());
    let rig = flagged(WriteMode::Local).await;
    rig.fake.remove(NAME);
    resolve(&rig, Keep::Backend).await.unwrap();
    assert!(rig.head().is_none());
    let gone = rig.replica.serve(0, &rig.path, &SecretAction::Describe, rig.clock.now());
    assert!(matches!(gone, Ok(crate::sync::replica::Served::Reply { outcome: crate::secret::Outcome::NotFound, .. })));
}

#[tokio::test]
async fn a_backend_that_does_not_answer_decides_nothing() {
    let rig = flagged(WriteMode::Local).await;
    rig.fake.down(true);
    for keep in [Keep::Local, Keep::Backend] {
        assert!(matches!(resolve(&rig, keep).await, Err(ResolveError::Backend(_))));
    }
    assert_eq!(rig.replica.conflicts().len(), 1);
}
