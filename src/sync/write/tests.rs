//! Every way a write can go, by write mode.

mod labels;

use super::*;
use crate::seal::edit;
use crate::secret::{
    ConflictPolicy, Metadata, MetadataChange, Precondition, SecretType, SecretValue, SyncScope, VersionSelector,
    VersionSet, WriteOptions,
};
use crate::sync::intent::{Intent, Step};
use crate::sync::replica::tests::fake::{Fate, NAME, Rig, settings};

const ONE: &str = r#"{"a":1}"#;
const TWO: &str = r#"{"a":2}"#;
const OTHER: &str = r#"{"by":"another"}"#;

async fn through() -> Rig {
    Rig::synced(settings()).await
}

async fn here() -> Rig {
    Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await
}

fn current(rig: &Rig) -> String {
    rig.read(VersionSelector::Current)
}

/// Nothing of the write is left anywhere.
async fn is_untouched(rig: &Rig) -> bool {
    rig.intents() == 0 && rig.value(2).is_none() && rig.fake.versions(NAME) == [ONE] && rig.is_agreed().await
}

#[tokio::test]
async fn a_disabled_rule_is_read_only_before_anything() {
    let rig = Rig::synced(RuleSettings { write_mode: WriteMode::Disabled, ..settings() }).await;
    assert!(matches!(rig.put(TWO).await, Err(WriteError::ReadOnly)));
    assert!(matches!(rig.act(SecretAction::Purge).await, Err(WriteError::ReadOnly)));
    assert_eq!(rig.fake.writes(), 0);
}

#[tokio::test]
async fn w10_a_value_too_large_is_refused_before_anything() {
    let rig = through().await;
    let large = format!(r#"{{"a":"{}"}}"#, "y".repeat(300));
    assert!(matches!(rig.put(&large).await, Err(WriteError::TooLarge)));
    let patch = SecretValue::copy_of(large.as_bytes());
    let patched = rig.act(SecretAction::Patch { patch, options: WriteOptions::default() }).await;
    assert!(matches!(patched, Err(WriteError::TooLarge)));
    assert_eq!(rig.fake.writes(), 0);
}

#[tokio::test]
async fn a_write_here_stays_here_and_counts_above_what_was_seen() {
    let rig = here().await;
    rig.fake.down(true);
    assert_eq!(rig.put_if(TWO, Precondition::Version(1)).await.unwrap(), 2);
    assert!(matches!(rig.put_if(TWO, Precondition::Version(1)).await, Err(WriteError::Edit(_))));
    assert_eq!(current(&rig), format!("hit 2 {TWO}"));
    assert_eq!(rig.fake.versions(NAME), [ONE]);
    let stamp = rig.replica.records.stored(&rig.path).unwrap().copy.unwrap();
    assert!(stamp.ahead && stamp.agreed_at > 0);
    rig.fake.down(false);
    rig.fake.put(NAME, OTHER);
    rig.pull().await;
    assert_eq!(current(&rig), format!("hit 3 {OTHER}"), "the backend's own 2 was taken");
    assert_eq!(rig.read(VersionSelector::Number(2)), format!("hit 2 {TWO}"));
}

#[tokio::test]
async fn a_write_here_without_a_copy_is_based_on_what_the_backend_has() {
    let demand = RuleSettings { write_mode: WriteMode::Local, scope: SyncScope::Demand, ..settings() };
    let rig = Rig::new(demand.clone());
    rig.fake.put(NAME, ONE);
    rig.fake.down(true);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Backend(BackendError::Unavailable(_)))));
    assert!(rig.head().is_none());
    rig.fake.down(false);
    assert_eq!(rig.put(TWO).await.unwrap(), 2);
    let origin = rig.head().unwrap().origin.unwrap();
    assert_eq!(origin.agreed.unwrap().remote.version, 1);
    assert_eq!(rig.read(VersionSelector::Number(1)), "live");
    let rig = Rig::new(demand);
    assert_eq!(rig.put(ONE).await.unwrap(), 1, "there is nothing of this name");
    assert!(rig.head().unwrap().origin.unwrap().agreed.is_none());
}

#[tokio::test]
async fn a_write_here_whose_copy_goes_away_meanwhile_names_no_value_that_is_gone() {
    let rig = here().await;
    let head = rig.head().unwrap();
    let writer = rig.replica.records.writer().await;
    let purged = async {
        // by now the write has looked at the copy, and waits for the writer
        rig.replica.records.purge(&writer, &rig.path, &head).await.unwrap();
        drop(writer);
    };
    let (written, ()) = tokio::join!(rig.put(TWO), purged);
    let written = written.unwrap();
    let head = rig.head().unwrap();
    for (number, version) in &head.versions {
        assert_eq!(rig.value(*number).is_some(), version.held, "version {number}");
    }
    assert_eq!(current(&rig), format!("hit {written} {TWO}"));
}

#[tokio::test]
async fn w07_what_is_removed_here_is_remembered_as_long_as_the_backend_has_it() {
    let rig = here().await;
    rig.act(SecretAction::Delete(VersionSet::Current, None)).await.unwrap();
    assert_eq!(current(&rig), "hit 1 -");
    rig.act(SecretAction::Undelete(VersionSet::Numbers(vec![1]))).await.unwrap();
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    rig.act(SecretAction::Purge).await.unwrap();
    assert_eq!(current(&rig), "hit NotFound");
    assert!(edit::is_tombstone(&rig.head().unwrap()));
    assert!(rig.value(1).is_none());
    assert_eq!(rig.put_if(TWO, Precondition::Absent).await.unwrap(), 2);
    let rig = Rig::new(RuleSettings { write_mode: WriteMode::Local, ..settings() });
    rig.replica.copies.run_ended(0, rig.clock.now());
    rig.put(ONE).await.unwrap();
    rig.act(SecretAction::Purge).await.unwrap();
    assert!(rig.head().is_none(), "the backend never had it");
}

#[tokio::test]
async fn a_write_through_is_on_both_sides() {
    let rig = through().await;
    assert_eq!(rig.put_if(TWO, Precondition::Version(1)).await.unwrap(), 2);
    assert_eq!(rig.fake.versions(NAME), [ONE, TWO]);
    assert_eq!(current(&rig), format!("hit 2 {TWO}"));
    assert_eq!(rig.read(VersionSelector::Number(1)), format!("hit 1 {ONE}"));
    assert!(rig.is_agreed().await);
    assert_eq!((rig.intents(), rig.told().await), (0, 0));
    assert!(matches!(rig.put_if(TWO, Precondition::Version(1)).await, Err(WriteError::Edit(_))));
}

#[tokio::test]
async fn a_secret_made_through_is_new_on_both_sides() {
    let rig = Rig::new(settings());
    rig.replica.copies.run_ended(0, rig.clock.now());
    assert_eq!(rig.put_if(ONE, Precondition::Absent).await.unwrap(), 1);
    assert_eq!(rig.fake.versions(NAME), [ONE]);
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    assert!(rig.is_agreed().await);
}

#[tokio::test]
async fn a_write_through_without_a_copy_leaves_the_copy_to_the_engine() {
    let rig = Rig::new(RuleSettings { scope: SyncScope::Demand, ..settings() });
    rig.fake.put(NAME, ONE);
    assert_eq!(rig.put_if(TWO, Precondition::Version(1)).await.unwrap(), 2);
    assert_eq!(rig.fake.versions(NAME), [ONE, TWO]);
    assert!(rig.head().is_none());
    assert_eq!((rig.intents(), rig.replica.copies.demanded(0).len()), (0, 1));
    assert!(matches!(rig.put_if(TWO, Precondition::Version(1)).await, Err(WriteError::Edit(_))));
    let patch = SecretValue::copy_of(br#"{"b":3}"#);
    rig.act(SecretAction::Patch { patch, options: WriteOptions::default() }).await.unwrap();
    assert_eq!(rig.fake.versions(NAME).last().unwrap(), r#"{"a":2,"b":3}"#);
}

#[tokio::test]
async fn w01_a_remote_change_is_never_overwritten_unseen() {
    let rig = through().await;
    rig.fake.put(NAME, OTHER);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Conflict)));
    assert_eq!(rig.fake.versions(NAME), [ONE, OTHER]);
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    assert_eq!((rig.intents(), rig.told().await), (0, 1), "the engine looks at it next");
    let delete = rig.act(SecretAction::Delete(VersionSet::Current, None)).await;
    assert!(matches!(delete, Err(WriteError::Conflict)));
    assert_eq!(rig.fake.versions(NAME), [ONE, OTHER]);
    rig.pull().await;
    assert_eq!(rig.put(TWO).await.unwrap(), 3);
}

#[tokio::test]
async fn a_backend_that_surely_did_nothing_leaves_both_sides_as_they_were() {
    let rig = through().await;
    rig.fake.down(true);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Backend(BackendError::Unavailable(_)))));
    rig.fake.down(false);
    assert!(is_untouched(&rig).await);
    rig.fake.fate(Fate::Denied);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Backend(BackendError::Denied))));
    assert!(is_untouched(&rig).await);
}

#[tokio::test]
async fn w04_a_lost_answer_is_read_back() {
    let rig = through().await;
    rig.fake.fate(Fate::LostAfter);
    assert_eq!(rig.put(TWO).await.unwrap(), 2, "it was done");
    assert_eq!(current(&rig), format!("hit 2 {TWO}"));
    assert!(rig.is_agreed().await && rig.intents() == 0);
    let rig = through().await;
    rig.fake.fate(Fate::LostBefore);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Backend(BackendError::Unknown(_)))));
    assert!(is_untouched(&rig).await);
    rig.fake.fate(Fate::LostAfter);
    rig.act(SecretAction::Delete(VersionSet::Current, None)).await.unwrap();
    assert_eq!((rig.fake.versions(NAME), current(&rig)), (vec!["-".to_owned()], "hit 1 -".to_owned()));
    assert!(rig.is_agreed().await && rig.intents() == 0);
    rig.fake.fate(Fate::LostBefore);
    assert!(rig.act(SecretAction::Purge).await.is_err());
    assert_eq!((rig.fake.versions(NAME).len(), rig.intents()), (1, 0));
}

#[tokio::test]
async fn w04_what_cannot_be_read_back_stays_open_until_it_can() {
    let rig = through().await;
    rig.fake.fate(Fate::LostAfterAndDown);
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Backend(BackendError::Unknown(_)))));
    assert_eq!((rig.intents(), current(&rig)), (1, format!("hit 1 {ONE}")));
    assert!(matches!(rig.put(TWO).await, Err(WriteError::Pending(_))));
    let open = rig.replica.settle_intents(&*rig.clock, "test").await.unwrap();
    assert_eq!(open, Settled { open: 1, ..Settled::default() });
    rig.fake.down(false);
    let settled = rig.replica.settle_intents(&*rig.clock, "test").await.unwrap();
    assert_eq!(settled, Settled { applied: 1, ..Settled::default() });
    assert_eq!(current(&rig), format!("hit 2 {TWO}"));
    assert!(rig.is_agreed().await && rig.intents() == 0);
}

#[tokio::test]
async fn a_write_that_another_one_overtook_is_settled_by_the_policy() {
    for policy in [ConflictPolicy::BackendWins, ConflictPolicy::LocalWins, ConflictPolicy::Manual] {
        let mut rig = through().await;
        rig.replica.conflict_policy = policy;
        rig.fake.fate(Fate::Overtaken);
        assert!(matches!(rig.put(TWO).await, Err(WriteError::Conflict)), "{policy:?}");
        assert_eq!(rig.fake.versions(NAME), [ONE, OTHER], "{policy:?}");
        assert_eq!((rig.intents(), rig.told().await), (0, 1), "{policy:?}");
        let ours = if policy == ConflictPolicy::BackendWins { None } else { Some(TWO.to_owned()) };
        assert_eq!(rig.value(2), ours, "{policy:?}: what was to be written is kept for who decides");
        let conflict = rig.head().unwrap().origin.unwrap().conflict;
        assert_eq!(conflict.is_some(), policy == ConflictPolicy::Manual);
        if policy == ConflictPolicy::Manual {
            assert_eq!(conflict.unwrap().remote.unwrap().version, 2);
            assert!(matches!(rig.put(TWO).await, Err(WriteError::Flagged)));
        }
    }
}

#[tokio::test]
async fn w15_a_crash_around_the_backends_call_loses_and_repeats_nothing() {
    for is_sent in [false, true] {
        let rig = through().await;
        let step = Step::Put { secret_type: "json".to_owned(), metadata: None, token: None, stages: None };
        let intent = Intent {
            path: rig.path.as_str().to_owned(),
            remote: NAME.to_owned(),
            route: 7,
            made: 1,
            request_id: "test".to_owned(),
            nonce: [3; 16],
            base: rig.head().unwrap().origin.unwrap().agreed.map(|agreed| agreed.remote),
            copied: true,
            step,
            days: None,
            value: Some(SecretValue::copy_of(TWO.as_bytes())),
        };
        let id = Intent::id(&rig.replica.id, &rig.path);
        let content = intent.encode().unwrap();
        rig.replica.records.put_document(crate::seal::DocumentKind::Intent, &id, Some(&content)).await.unwrap();
        if is_sent {
            rig.fake.put(NAME, r#"{ "a": 2 }"#);
        }
        let settled = rig.replica.settle_intents(&*rig.clock, "test").await.unwrap();
        assert_eq!((settled.applied, settled.dropped), if is_sent { (1, 0) } else { (0, 1) });
        assert_eq!(rig.value(2).as_deref(), is_sent.then_some(TWO));
        assert!(rig.is_agreed().await && rig.intents() == 0);
    }
}

#[tokio::test]
async fn a_write_whose_rule_is_not_synced_any_more_leaves_nothing() {
    for write_mode in [WriteMode::Local, WriteMode::WriteThrough] {
        let rig = Rig::synced(RuleSettings { write_mode, ..settings() }).await;
        rig.replica.copies.keep_routes(std::collections::HashSet::from([8]));
        let refused = rig.put(TWO).await;
        assert!(matches!(&refused, Err(WriteError::Replaced)), "{refused:?}");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::UpstreamUnavailable);
        assert!(is_untouched(&rig).await && rig.fake.writes() == 0);
        rig.replica.copies.keep_routes(std::collections::HashSet::from([7]));
        assert_eq!(rig.put(TWO).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn an_intent_of_a_rule_that_is_gone_is_given_up() {
    let mut rig = through().await;
    rig.fake.fate(Fate::LostAfterAndDown);
    assert!(rig.put(TWO).await.is_err());
    rig.replica.rules[0].route = 8;
    let settled = rig.replica.settle_intents(&*rig.clock, "test").await.unwrap();
    assert_eq!((settled.dropped, rig.intents()), (1, 0));
}

#[tokio::test]
async fn versions_are_deleted_undeleted_destroyed_and_removed_on_both_sides() {
    let rig = through().await;
    rig.put(TWO).await.unwrap();
    let numbers = |numbers: &[u64]| VersionSet::Numbers(numbers.to_vec());
    rig.act(SecretAction::Delete(numbers(&[1, 2]), None)).await.unwrap();
    assert_eq!((rig.fake.versions(NAME).join(" "), current(&rig)), ("- -".to_owned(), "hit 2 -".to_owned()));
    rig.act(SecretAction::Undelete(numbers(&[2]))).await.unwrap();
    assert_eq!((rig.fake.versions(NAME).join(" "), current(&rig)), (format!("- {TWO}"), format!("hit 2 {TWO}")));
    rig.act(SecretAction::Destroy(numbers(&[1]))).await.unwrap();
    assert_eq!(rig.fake.versions(NAME), ["x", TWO]);
    assert!(rig.value(1).is_none() && rig.is_agreed().await);
    rig.act(SecretAction::Purge).await.unwrap();
    assert!(rig.fake.versions(NAME).is_empty() && rig.head().is_none() && rig.value(2).is_none());
    let writes = rig.fake.writes();
    rig.act(SecretAction::Delete(VersionSet::Current, None)).await.unwrap();
    assert_eq!(rig.fake.writes(), writes, "there is nothing to delete");
}

#[tokio::test]
async fn metadata_goes_through_and_settings_of_the_provider_do_not() {
    let rig = through().await;
    let owner = || vec![("owner".to_owned(), Some("me".to_owned()))];
    let change = MetadataChange { metadata: Some(owner()), merge: true, ..MetadataChange::default() };
    rig.act(SecretAction::WriteMetadata(change)).await.unwrap();
    let expected = Metadata::from([("owner".to_owned(), "me".to_owned())]);
    assert_eq!((rig.fake.metadata(NAME), rig.head().unwrap().metadata), (expected.clone(), expected));
    assert!(rig.is_agreed().await);
    let change = MetadataChange { max_versions: Some(3), ..MetadataChange::default() };
    assert!(matches!(rig.act(SecretAction::WriteMetadata(change)).await, Err(WriteError::Unsupported)));
    let value = SecretValue::copy_of(TWO.as_bytes());
    let metadata = Some(Metadata::from([("b".to_owned(), "c".to_owned())]));
    let options = WriteOptions { metadata: metadata.clone(), ..WriteOptions::default() };
    rig.act(SecretAction::Write { value, secret_type: SecretType::Json, options }).await.unwrap();
    assert_eq!(Some(rig.fake.metadata(NAME)), metadata);
    assert_eq!(Some(rig.head().unwrap().metadata), metadata);
    assert!(rig.is_agreed().await);
}

#[tokio::test]
async fn a_patch_goes_through_as_a_whole_value() {
    let rig = through().await;
    let patch = || SecretValue::copy_of(br#"{"a":null,"b":2}"#);
    let options = WriteOptions { precondition: Precondition::Version(9), conditional: true, ..WriteOptions::default() };
    let refused = rig.act(SecretAction::Patch { patch: patch(), options }).await;
    assert!(matches!(refused, Err(WriteError::Edit(edit::EditError::Conflict))));
    rig.act(SecretAction::Patch { patch: patch(), options: WriteOptions::default() }).await.unwrap();
    assert_eq!(rig.fake.versions(NAME), [ONE, r#"{"b":2}"#]);
    assert_eq!(current(&rig), r#"hit 2 {"b":2}"#);
    rig.fake.remove(NAME);
    let lost = rig.act(SecretAction::Patch { patch: patch(), options: WriteOptions::default() }).await;
    assert!(matches!(lost, Err(WriteError::Conflict)));
}

#[tokio::test]
async fn after_a_write_here_a_write_through_gets_the_next_number_of_both_sides() {
    let mut rig = here().await;
    rig.put(r#"{"local":1}"#).await.unwrap();
    rig.replica.rules[0].write_mode = WriteMode::WriteThrough;
    let refused = rig.act(SecretAction::Delete(VersionSet::Current, None)).await;
    assert!(matches!(refused, Err(WriteError::Conflict)), "the backend has no such version yet");
    assert_eq!(rig.put(TWO).await.unwrap(), 3);
    assert_eq!(rig.fake.versions(NAME), [ONE, TWO]);
    assert_eq!(current(&rig), format!("hit 3 {TWO}"));
    assert_eq!(rig.head().unwrap().versions[&3].native.as_deref(), Some("2"));
    assert!(rig.is_agreed().await);
    rig.act(SecretAction::Delete(VersionSet::Numbers(vec![3]), None)).await.unwrap();
    assert_eq!(rig.fake.versions(NAME), [ONE, "-"]);
}

#[tokio::test]
async fn an_engine_without_versions_is_looked_at_before_and_after() {
    let rig = Rig::new(settings());
    rig.fake.bare();
    rig.fake.put(NAME, ONE);
    rig.pull().await;
    rig.put(TWO).await.unwrap();
    assert_eq!(rig.fake.versions(NAME), [TWO]);
    assert!(rig.is_agreed().await);
    assert!(current(&rig).ends_with(TWO));
    rig.fake.put(NAME, OTHER);
    assert!(matches!(rig.put(ONE).await, Err(WriteError::Conflict)));
    assert_eq!((rig.fake.versions(NAME), rig.intents()), (vec![OTHER.to_owned()], 0));
    rig.pull().await;
    rig.fake.fate(Fate::LostBefore);
    assert!(rig.put(ONE).await.is_err());
    assert!(rig.is_agreed().await && rig.intents() == 0);
}

#[tokio::test]
async fn a_quarantined_record_with_changes_of_its_own_is_not_written_over() {
    for write_mode in [WriteMode::Local, WriteMode::WriteThrough] {
        let mut rig = here().await;
        rig.put(TWO).await.unwrap();
        rig.replica.rules[0].route = 8;
        rig.replica.rules[0].write_mode = write_mode;
        assert!(matches!(rig.put(ONE).await, Err(WriteError::InTheWay)));
        assert_eq!(rig.value(2).as_deref(), Some(TWO));
    }
}
