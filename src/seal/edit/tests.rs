use super::*;
use crate::secret::{LabelMove, VersionSelector};

const NOW: Timestamp = Timestamp::from_secs(100);

fn head(versions: u64) -> Head {
    let mut head = Head::default();
    for _ in 0..versions {
        let _ = put(&mut head, SecretType::Json, None, 10, NOW);
    }
    head
}

#[test]
fn numbers_go_on_after_everything_was_removed() {
    let mut head = head(3);
    assert_eq!(bury(&mut head, NOW), [1, 2, 3]);
    assert!(is_tombstone(&head));
    assert!(matches!(described(&head, NOW), Outcome::NotFound));
    let absent = WriteOptions { precondition: Precondition::Absent, conditional: true, ..WriteOptions::default() };
    assert_eq!(check(&head, &absent), Ok(()));
    let (info, _) = put(&mut head, SecretType::Json, None, 10, NOW);
    assert_eq!(info.version, 4);
    assert!(!is_tombstone(&head));
}

#[test]
fn the_oldest_versions_go_and_the_secrets_own_number_counts() {
    let mut head = head(3);
    head.max_versions = 2;
    let (info, gone) = put(&mut head, SecretType::Json, None, 10, NOW);
    assert_eq!((info.version, gone), (4, vec![1, 2]));
}

#[test]
fn marks_are_what_a_client_sees() {
    let mut head = head(2);
    assert!(mark(&mut head, &[2, 9], Mark::Deleted(NOW), NOW).is_empty());
    assert_eq!(info(2, &head.versions[&2], NOW).state, VersionState::Deleted(NOW));
    assert!(mark(&mut head, &[2], Mark::Undeleted, NOW).is_empty());
    assert_eq!(info(2, &head.versions[&2], NOW).state, VersionState::Current);
    assert_eq!(mark(&mut head, &[1], Mark::Destroyed, NOW), [1]);
    assert_eq!(mark(&mut head, &[1], Mark::Undeleted, NOW), [1]);
    assert_eq!(info(1, &head.versions[&1], NOW).state, VersionState::Destroyed(None));
    assert!(!head.versions[&1].held);
}

#[test]
fn a_secret_that_can_be_read_again_is_not_removed_later() {
    let mut head = head(2);
    head.purge_at = Some(NOW.micros() + 1);
    let _ = mark(&mut head, &[1, 2], Mark::Deleted(NOW), NOW);
    let _ = mark(&mut head, &[1], Mark::Undeleted, NOW);
    assert!(head.purge_at.is_some(), "the current version is still deleted");
    let _ = mark(&mut head, &[2], Mark::Undeleted, NOW);
    assert_eq!(head.purge_at, None);
}

#[test]
fn what_was_removed_is_not_expected_to_go_again_and_its_numbers_stay_its_own() {
    let mut head = head(3);
    let to = |number| Some(VersionSelector::Number(number));
    relabel(&mut head, &LabelMove { stage: CURRENT.into(), from: to(3), to: to(1) }, NOW).unwrap();
    head.purge_at = Some(NOW.micros());
    assert_eq!(bury(&mut head, NOW), [1, 2, 3]);
    assert!(is_tombstone(&head) && !head.is_expired(NOW));
    assert_eq!(put(&mut head, SecretType::Json, None, 10, NOW).0.version, 4);
}

#[test]
fn labels_move_only_from_where_they_are_to_what_is_there() {
    let mut head = head(3);
    let to = |number| Some(VersionSelector::Number(number));
    let mut moved = |from: Option<VersionSelector>, to: Option<VersionSelector>| {
        relabel(&mut head, &LabelMove { stage: CURRENT.into(), from, to }, NOW)
    };
    assert_eq!(moved(None, to(1)), Err(EditError::Labelled));
    assert_eq!(moved(to(2), to(1)), Err(EditError::Labelled));
    assert_eq!(moved(to(3), to(9)), Err(EditError::Missing));
    assert_eq!(moved(to(3), to(1)), Ok(()));
    assert_eq!((head.current, head.previous(), head.next()), (1, 3, 4));
    let _ = mark(&mut head, &[2], Mark::Destroyed, NOW);
    let gone = LabelMove { stage: CURRENT.into(), from: to(1), to: to(2) };
    assert_eq!(relabel(&mut head, &gone, NOW), Err(EditError::Missing));
}

#[test]
fn a_version_that_is_only_here_has_no_foreign_name() {
    let version = HeadVersion { native: Some(ONLY_HERE.to_owned()), ..HeadVersion::default() };
    assert_eq!(info(1, &version, NOW).native_id, None);
    let version = HeadVersion { native: Some("7".to_owned()), ..HeadVersion::default() };
    assert_eq!(info(1, &version, NOW).native_id.as_deref(), Some("7"));
}

#[test]
fn spelling_makes_no_difference_and_content_does() {
    let value = |text: &str| SecretValue::copy_of(text.as_bytes());
    assert!(is_same(&value(r#"{"a":1,"b":2}"#), &value(r#"{ "b": 2, "a": 1 }"#)));
    assert!(!is_same(&value(r#"{"a":1}"#), &value(r#"{"a":2}"#)));
    assert!(!is_same(&value("a"), &value("b")));
}

#[test]
fn what_is_restored_is_what_was_deleted_with_the_secret() {
    let mut head = head(3);
    let later = Timestamp::from_secs(200);
    let _ = mark(&mut head, &[1], Mark::Deleted(NOW), NOW);
    assert!(
        restore(&mut head, NOW).is_empty() && !head.versions[&1].is_readable(NOW),
        "nothing was deleted as a whole"
    );
    let _ = delete(&mut head, Some(7), later);
    assert_eq!(head.purge_at, Some(Timestamp::from_secs(200 + 7 * 86_400).micros()));
    assert!(head.is_marked() && head.versions.values().all(|known| !known.is_readable(later)));
    let again = Timestamp::from_secs(300);
    let _ = delete(&mut head, Some(30), again);
    assert_eq!(head.purge_at, Some(Timestamp::from_secs(300 + 30 * 86_400).micros()), "a new window");
    let _ = restore(&mut head, again);
    let readable: Vec<bool> = head.versions.values().map(|known| known.is_readable(again)).collect();
    assert_eq!(readable, [false, true, true], "what had been deleted alone stays so");
    assert!(!head.is_marked());
}

#[test]
fn a_secret_deleted_by_an_earlier_release_comes_back_whole() {
    let mut head = head(2);
    let _ = mark(&mut head, &[1, 2], Mark::Deleted(NOW), NOW);
    head.purge_at = Some(NOW.micros() + 1);
    let _ = restore(&mut head, NOW);
    assert!(head.versions.values().all(|known| known.is_readable(NOW)) && !head.is_marked());
}

#[test]
fn a_new_secret_is_one_that_is_not_there_at_all() {
    let options = |precondition| WriteOptions { precondition, conditional: true, ..WriteOptions::default() };
    let mut bare = fresh(NOW);
    assert_eq!(check(&bare, &options(Precondition::Absent)), Ok(()), "it has no version");
    assert_eq!(check(&bare, &options(Precondition::New)), Err(EditError::Conflict));
    assert_eq!(check(&bare, &options(Precondition::Present)), Ok(()));
    let _ = delete(&mut bare, Some(7), NOW);
    assert_eq!(check(&bare, &options(Precondition::New)), Err(EditError::Scheduled));
    let _ = bury(&mut bare, NOW);
    for gone in [bare, Head::default()] {
        assert_eq!(check(&gone, &options(Precondition::New)), Ok(()));
        assert_eq!(check(&gone, &options(Precondition::Present)), Err(EditError::Missing));
    }
}

#[test]
fn a_secret_made_without_a_version_is_one_and_numbers_go_on() {
    let mut head = head(2);
    let _ = bury(&mut head, NOW);
    change(&mut head, MetadataChange { absent: true, ..MetadataChange::default() }, Timestamp::from_secs(500));
    assert!(!is_tombstone(&head) && head.is_there(NOW));
    assert_eq!((head.current, head.created), (0, Timestamp::from_secs(500).micros()));
    assert_eq!(put(&mut head, SecretType::Json, None, 10, NOW).0.version, 3);
}

#[test]
fn labels_are_bounded_and_those_that_are_there_can_move() {
    let mut head = head(2);
    let name = |number: usize| format!("label-{number}").into_boxed_str();
    let to = |number| Some(VersionSelector::Number(number));
    for number in 0..MOST_LABELS {
        relabel(&mut head, &LabelMove { stage: name(number), from: None, to: to(1) }, NOW).unwrap();
    }
    let more = LabelMove { stage: name(MOST_LABELS), from: None, to: to(2) };
    assert_eq!(relabel(&mut head, &more, NOW), Err(EditError::TooManyLabels));
    let staged = |stages: Vec<Box<str>>| WriteOptions { stages: Some(stages), ..WriteOptions::default() };
    assert_eq!(check(&head, &staged(vec![name(MOST_LABELS)])), Err(EditError::TooManyLabels));
    assert_eq!(check(&head, &staged(vec![CURRENT.into(), name(0)])), Ok(()));
    relabel(&mut head, &LabelMove { stage: name(0), from: to(1), to: to(2) }, NOW).unwrap();
    relabel(&mut head, &LabelMove { stage: name(1), from: to(1), to: None }, NOW).unwrap();
    relabel(&mut head, &more, NOW).unwrap();
    assert_eq!((head.versions[&1].stages.len(), head.versions[&2].stages.len()), (18, 2));
}
