//! What a write does to a secret's head: versions added, marked and forgotten, settings changed. Local secrets and copies
//! of remote ones are edited by the same functions.
//!
//! Pure: no store, no clock. Whoever calls holds the tenant's writer and commits what comes out.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Head, HeadVersion};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::secret::{
    Described, LabelMove, Metadata, MetadataChange, Outcome, Precondition, Rank, SecretType, SecretValue, VersionInfo,
    VersionSelector, VersionSet, VersionState, WriteOptions, detail,
};

/// The `native` of a version that was written here, under a backend's rule, and that the backend does not have.
pub const ONLY_HERE: &str = "local";

/// The label of the version that is read when none is named.
const CURRENT: &str = "AWSCURRENT";
/// The label of the one before.
const PREVIOUS: &str = "AWSPREVIOUS";

/// Why a head is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// The version named is not the current one, or the secret exists already.
    #[error("the precondition does not hold")]
    Conflict,
    /// The secret wants every write to name the version it replaces.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// There is no such secret.
    #[error("there is no such secret")]
    Missing,
    /// It was deleted and not restored.
    #[error("{}", detail::MARKED_FOR_DELETION)]
    Deleted,
    /// It was deleted and can be restored, so the name is taken.
    #[error("{}", detail::STILL_DELETED)]
    Scheduled,
    /// The identifier of the new version was used before, for another value.
    #[error("{}", detail::TOKEN_REUSED)]
    Reused,
    /// A label is moved away from a version that was not named.
    #[error("{}", detail::LABEL_ELSEWHERE)]
    Labelled,
    /// A version was named with a label it does not carry.
    #[error("{}", detail::LABEL_NOT_THERE)]
    NotLabelled,
    /// A value that is no JSON object cannot be patched.
    #[error("the value is not a JSON object")]
    NotAnObject,
}

impl EditError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Conflict | Self::Scheduled | Self::Reused => ErrorKind::Conflict,
            Self::Missing => ErrorKind::NotFound,
            Self::CasRequired | Self::NotAnObject | Self::Deleted | Self::Labelled | Self::NotLabelled => {
                ErrorKind::Malformed
            }
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Conflict | Self::Missing => None,
            Self::Deleted => Some(detail::MARKED_FOR_DELETION),
            Self::Scheduled => Some(detail::STILL_DELETED),
            Self::Reused => Some(detail::TOKEN_REUSED),
            Self::Labelled => Some(detail::LABEL_ELSEWHERE),
            Self::NotLabelled => Some(detail::LABEL_NOT_THERE),
            Self::CasRequired => Some("check-and-set parameter required for this call"),
            Self::NotAnObject => Some("the value is not a JSON object"),
        }
    }
}

/// How versions are marked; a secret keeps the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Soft-deleted at this time, unless it cannot be read anyway.
    Deleted(Timestamp),
    /// Not deleted any more, unless it was destroyed.
    Undeleted,
    /// Gone for good.
    Destroyed,
}

/// A secret without versions, made at `now`.
#[must_use]
pub fn fresh(now: Timestamp) -> Head {
    Head { created: now.micros(), updated: now.micros(), ..Head::default() }
}

/// Whether all versions were removed and the number of the last one is remembered, so that a sync knows it from a
/// secret that was never here.
#[must_use]
pub fn is_tombstone(head: &Head) -> bool {
    head.current > 0 && head.versions.is_empty()
}

/// Removes everything but what [`is_tombstone`] needs; the values of the versions returned go too.
#[must_use]
pub fn bury(head: &mut Head, now: Timestamp) -> Vec<u64> {
    // the numbers of all go on, also where a label had made an older one current
    head.current = head.next() - 1;
    (head.last, head.previous, head.purge_at) = (0, 0, None);
    let gone = std::mem::take(&mut head.versions).into_keys().collect();
    head.metadata.clear();
    (head.cas_required, head.max_versions, head.delete_after_secs) = (false, 0, 0);
    head.updated = now.micros();
    gone
}

/// Whether a write may go on.
///
/// # Errors
/// When its precondition does not hold, or there is none and the secret wants one.
pub fn check(head: &Head, options: &WriteOptions) -> Result<(), EditError> {
    if head.cas_required && !options.conditional {
        return Err(EditError::CasRequired);
    }
    let holds = match options.precondition {
        Precondition::None => true,
        Precondition::Absent => head.current == 0 || is_tombstone(head),
        Precondition::Version(version) => head.current == version,
        Precondition::Present => return check_present(head),
    };
    if !holds && options.precondition == Precondition::Absent && head.purge_at.is_some() {
        return Err(EditError::Scheduled);
    }
    if holds { Ok(()) } else { Err(EditError::Conflict) }
}

/// Adds the next version. Yields what is known of it, and the versions forgotten for it.
#[must_use]
pub fn put(
    head: &mut Head,
    secret_type: SecretType,
    metadata: Option<Metadata>,
    max_versions: u64,
    now: Timestamp,
) -> (VersionInfo, Vec<u64>) {
    let options = WriteOptions { metadata, ..WriteOptions::default() };
    put_with(head, secret_type, options, max_versions, now)
}

/// As [`put`], with all that a write can say of its version.
#[must_use]
pub fn put_with(
    head: &mut Head,
    secret_type: SecretType,
    options: WriteOptions,
    max_versions: u64,
    now: Timestamp,
) -> (VersionInfo, Vec<u64>) {
    let WriteOptions { metadata, merge, token, stages, .. } = options;
    let deleted = (head.delete_after_secs > 0)
        .then(|| now.after(std::time::Duration::from_secs(head.delete_after_secs)).micros());
    let version = HeadVersion {
        created: now.micros(),
        deleted,
        destroyed: false,
        secret_type: secret_type.as_str().to_owned(),
        native: token.map(String::from),
        stages: Vec::new(),
        held: true,
    };
    let number = head.next();
    if let Some(metadata) = metadata {
        head.metadata = metadata;
    }
    merge_metadata(head, merge);
    let is_current = head.current == 0 || stages.as_ref().is_none_or(|stages| stages.iter().any(|s| &**s == CURRENT));
    if head.created == 0 {
        head.created = now.micros();
    }
    head.updated = now.micros();
    head.versions.insert(number, version);
    if is_current {
        // the one before is the next lower one, unless labels were moved
        let lower = head.versions.range(..number).next_back().map_or(0, |(lower, _)| *lower);
        head.previous = if lower == head.current { 0 } else { head.current };
        (head.current, head.purge_at) = (number, None);
    }
    if head.current != number || head.last > 0 {
        head.last = number;
    }
    for stage in stages.unwrap_or_default() {
        label(head, &stage, Some(number));
    }
    let gone = prune(head, max_versions);
    let known = head.versions.get(&number);
    let info = known.map(|known| info(number, known, now).ranked(head.rank(number))).unwrap_or_default();
    (info, gone)
}

/// The version a client's identifier stands for already.
#[must_use]
pub fn repeated(head: &Head, token: Option<&str>) -> Option<u64> {
    let token = token?;
    head.versions.iter().find(|(_, known)| known.native.as_deref() == Some(token)).map(|(number, _)| *number)
}

/// The version a selector names; `None` if there is none.
///
/// # Errors
/// When it is named with a label it does not carry.
pub fn select(head: &Head, selector: &VersionSelector) -> Result<Option<u64>, EditError> {
    let native = |id: &str| repeated(head, Some(id));
    let number = match selector {
        VersionSelector::Current => Some(head.current),
        VersionSelector::Number(number) => Some(*number),
        VersionSelector::Native(id) => native(id),
        VersionSelector::Stage(stage) => carrier(head, stage),
        VersionSelector::Labelled { version, stage } => {
            let number = select(head, version)?;
            let Some(carried) = number.filter(|number| head.versions.contains_key(number)) else { return Ok(None) };
            if carrier(head, stage) != Some(carried) {
                return Err(EditError::NotLabelled);
            }
            number
        }
    };
    Ok(number.filter(|number| head.versions.contains_key(number)))
}

/// Moves a label.
///
/// # Errors
/// When a version is not there, or carries the label and is not the one named.
pub fn relabel(head: &mut Head, change: &LabelMove, now: Timestamp) -> Result<(), EditError> {
    let named = |selector: &Option<VersionSelector>| match selector {
        None => Ok(None),
        Some(selector) => select(head, selector)?.map(Some).ok_or(EditError::Missing),
    };
    let (from, to) = (named(&change.from)?, named(&change.to)?);
    let carried = carrier(head, &change.stage);
    if from.is_some() && from != carried {
        return Err(if carried.is_some() { EditError::Labelled } else { EditError::NotLabelled });
    }
    if carried.is_some() && carried != to && from.is_none() {
        return Err(EditError::Labelled);
    }
    if head.purge_at.is_some() {
        return Err(EditError::Deleted);
    }
    // what is gone for good can be nobody's current version
    if to.is_some_and(|to| head.versions.get(&to).is_none_or(|known| known.destroyed)) {
        return Err(EditError::Missing);
    }
    if to.is_none() && &*change.stage == CURRENT {
        return Err(EditError::Labelled);
    }
    label(head, &change.stage, to);
    head.updated = now.micros();
    Ok(())
}

/// Which version carries a label.
fn carrier(head: &Head, stage: &str) -> Option<u64> {
    let number = match stage {
        CURRENT => head.current,
        PREVIOUS => head.previous(),
        _ => {
            let labelled = head.versions.iter().find(|(_, known)| known.stages.iter().any(|has| has == stage));
            labelled.map_or(0, |(number, _)| *number)
        }
    };
    (number > 0).then_some(number)
}

fn label(head: &mut Head, stage: &str, to: Option<u64>) {
    match (stage, to) {
        (CURRENT, Some(to)) if to != head.current => {
            head.last = head.next() - 1;
            (head.previous, head.current) = (head.current, to);
        }
        (CURRENT, _) => {}
        (PREVIOUS, to) => head.previous = to.unwrap_or(0),
        (stage, to) => {
            for known in head.versions.values_mut() {
                known.stages.retain(|has| has != stage);
            }
            if let Some(known) = to.and_then(|to| head.versions.get_mut(&to)) {
                known.stages.push(stage.to_owned());
            }
        }
    }
}

/// There has to be such a secret, and it must not be deleted.
fn check_present(head: &Head) -> Result<(), EditError> {
    if is_tombstone(head) || head.created == 0 {
        return Err(EditError::Missing);
    }
    if head.purge_at.is_some() { Err(EditError::Deleted) } else { Ok(()) }
}

/// Whether a change of settings may go on; `is_there`: whether there is such a secret.
///
/// # Errors
/// When it is to be new and is not, or is to be there and is not.
pub fn check_change(head: Option<&Head>, change: &MetadataChange) -> Result<(), EditError> {
    let head = head.filter(|head| !is_tombstone(head));
    match head {
        Some(head) if change.absent => {
            Err(if head.purge_at.is_some() { EditError::Scheduled } else { EditError::Conflict })
        }
        Some(head) if change.present => check_present(head),
        None if change.present => Err(EditError::Missing),
        _ => Ok(()),
    }
}

/// Adds a version that is known as a whole. Yields the versions forgotten for it.
#[must_use]
pub fn add(head: &mut Head, number: u64, version: HeadVersion, max_versions: u64, now: Timestamp) -> Vec<u64> {
    if head.created == 0 {
        head.created = now.micros();
    }
    head.updated = now.micros();
    head.current = head.current.max(number);
    head.last = if head.last > 0 { head.last.max(number) } else { 0 };
    head.versions.insert(number, version);
    prune(head, max_versions)
}

/// Forgets the oldest versions beyond what is kept (`default` unless the secret says otherwise); returns them.
#[must_use]
pub fn prune(head: &mut Head, default: u64) -> Vec<u64> {
    let keep = if head.max_versions > 0 { head.max_versions } else { default }.max(1);
    let excess = usize::try_from((head.versions.len() as u64).saturating_sub(keep)).unwrap_or(0);
    let current = head.current;
    let is_spare = |(number, known): &(&u64, &HeadVersion)| **number != current && known.stages.is_empty();
    let gone: Vec<u64> = head.versions.iter().filter(is_spare).map(|(number, _)| *number).take(excess).collect();
    for version in &gone {
        head.versions.remove(version);
    }
    gone
}

/// The numbers a set names in this head, known or not.
#[must_use]
pub fn named(head: &Head, set: &VersionSet) -> Vec<u64> {
    match set {
        VersionSet::Current => vec![head.current],
        VersionSet::Numbers(numbers) => numbers.clone(),
        VersionSet::All => head.versions.keys().copied().collect(),
    }
}

/// Marks versions; unknown ones are passed over. Yields those whose values go.
#[must_use]
pub fn mark(head: &mut Head, numbers: &[u64], mark: Mark, now: Timestamp) -> Vec<u64> {
    let mut gone = Vec::new();
    for number in numbers {
        let Some(version) = head.versions.get_mut(number) else { continue };
        match mark {
            Mark::Deleted(at) if version.is_readable(now) => version.deleted = Some(at.micros()),
            Mark::Undeleted if !version.destroyed => version.deleted = None,
            Mark::Destroyed => {
                version.destroyed = true;
                version.held = false;
            }
            Mark::Deleted(_) | Mark::Undeleted => {}
        }
        if version.destroyed {
            gone.push(*number);
        }
    }
    // whose current version can be read again is not deleted any more
    if mark == Mark::Undeleted && head.versions.get(&head.current).is_some_and(|known| known.is_readable(now)) {
        head.purge_at = None;
    }
    gone
}

/// Changes a secret's own settings.
pub fn change(head: &mut Head, change: MetadataChange, now: Timestamp) {
    if let Some(entries) = change.metadata {
        if !change.merge {
            head.metadata.clear();
        }
        merge_metadata(head, entries);
    }
    head.cas_required = change.cas_required.unwrap_or(head.cas_required);
    head.max_versions = change.max_versions.unwrap_or(head.max_versions);
    head.delete_after_secs = change.delete_after_secs.unwrap_or(head.delete_after_secs);
    head.updated = now.micros();
}

/// Puts entries into the custom metadata; `None` removes a key.
pub fn merge_metadata(head: &mut Head, entries: Vec<(String, Option<String>)>) {
    for (key, value) in entries {
        match value {
            Some(value) => drop(head.metadata.insert(key, value)),
            None => drop(head.metadata.remove(&key)),
        }
    }
}

/// RFC 7396 on two JSON objects.
///
/// # Errors
/// When one of them is none.
pub fn merged(current: &SecretValue, patch: &SecretValue) -> Result<SecretValue, EditError> {
    let object = |value: &SecretValue| serde_json::from_slice::<Map<String, Value>>(value.expose());
    let (Ok(mut target), Ok(patch)) = (object(current), object(patch)) else { return Err(EditError::NotAnObject) };
    merge(&mut target, patch);
    serde_json::to_vec(&target).map(SecretValue::new).map_err(|_| EditError::NotAnObject)
}

fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(&key)),
            Value::Object(inner) => {
                let slot = target.entry(key).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(below) = slot {
                    merge(below, inner);
                }
            }
            other => drop(target.insert(key, other)),
        }
    }
}

/// Whether two values say the same: the same bytes, or JSON documents that differ in spelling only. A backend may give
/// back what was written to it spelled another way.
#[must_use]
pub fn is_same(one: &SecretValue, other: &SecretValue) -> bool {
    if one.expose() == other.expose() {
        return true;
    }
    let json = |value: &SecretValue| serde_json::from_slice::<Value>(value.expose()).ok();
    json(one).is_some_and(|one| json(other).is_some_and(|other| one == other))
}

/// What is known of a version, as a client may see it.
#[must_use]
pub fn info(number: u64, known: &HeadVersion, now: Timestamp) -> VersionInfo {
    let deleted = known.deleted.map(Timestamp::from_micros);
    let state = match deleted {
        _ if known.destroyed => VersionState::Destroyed(deleted),
        Some(at) if at <= now => VersionState::Deleted(at),
        _ => VersionState::Current,
    };
    VersionInfo {
        version: number,
        native_id: known.native.as_deref().filter(|native| *native != ONLY_HERE).map(Box::from),
        created_at: Timestamp::from_micros(known.created),
        state,
        deletes_at: deleted.filter(|at| *at > now),
        rank: Rank::Unknown,
        stages: known.stages.iter().map(|stage| Box::from(stage.as_str())).collect(),
    }
}

/// What is known of a secret and all its versions, as a client may see it.
#[must_use]
pub fn described(head: &Head, now: Timestamp) -> Outcome {
    if is_tombstone(head) || head.is_expired(now) {
        return Outcome::NotFound;
    }
    Outcome::Described(Box::new(summary(head, now)))
}

/// As [`described`], whatever became of the secret.
#[must_use]
pub fn summary(head: &Head, now: Timestamp) -> Described {
    let ranked = |(number, known): (&u64, &HeadVersion)| info(*number, known, now).ranked(head.rank(*number));
    let versions: Vec<VersionInfo> = head.versions.iter().map(ranked).collect();
    Described {
        metadata: head.metadata.clone(),
        current_version: head.current,
        oldest_version: versions.first().map_or(0, |first| first.version),
        created_at: Timestamp::from_micros(head.created),
        updated_at: Timestamp::from_micros(head.updated),
        cas_required: head.cas_required,
        max_versions: head.max_versions,
        delete_after_secs: head.delete_after_secs,
        purges_at: head.purge_at.map(Timestamp::from_micros),
        versions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
