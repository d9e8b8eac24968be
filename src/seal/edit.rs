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
    Described, Metadata, MetadataChange, Outcome, Precondition, SecretType, SecretValue, VersionInfo, VersionSet,
    VersionState, WriteOptions,
};

/// The `native` of a version that was written here, under a backend's rule, and that the backend does not have.
pub const ONLY_HERE: &str = "local";

/// Why a head is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// The version named is not the current one, or the secret exists already.
    #[error("the precondition does not hold")]
    Conflict,
    /// The secret wants every write to name the version it replaces.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// A value that is no JSON object cannot be patched.
    #[error("the value is not a JSON object")]
    NotAnObject,
}

impl EditError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Conflict => ErrorKind::Conflict,
            Self::CasRequired | Self::NotAnObject => ErrorKind::Malformed,
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Conflict => None,
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
    };
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
    let deleted = (head.delete_after_secs > 0)
        .then(|| now.after(std::time::Duration::from_secs(head.delete_after_secs)).micros());
    let version = HeadVersion {
        created: now.micros(),
        deleted,
        destroyed: false,
        secret_type: secret_type.as_str().to_owned(),
        native: None,
        held: true,
    };
    let number = head.current + 1;
    let info = info(number, &version, now);
    if let Some(metadata) = metadata {
        head.metadata = metadata;
    }
    (info, add(head, number, version, max_versions, now))
}

/// Adds a version that is known as a whole. Yields the versions forgotten for it.
#[must_use]
pub fn add(head: &mut Head, number: u64, version: HeadVersion, max_versions: u64, now: Timestamp) -> Vec<u64> {
    if head.created == 0 {
        head.created = now.micros();
    }
    head.updated = now.micros();
    head.current = head.current.max(number);
    head.versions.insert(number, version);
    prune(head, max_versions)
}

/// Forgets the oldest versions beyond what is kept (`default` unless the secret says otherwise); returns them.
#[must_use]
pub fn prune(head: &mut Head, default: u64) -> Vec<u64> {
    let keep = if head.max_versions > 0 { head.max_versions } else { default }.max(1);
    let excess = usize::try_from((head.versions.len() as u64).saturating_sub(keep)).unwrap_or(0);
    let gone: Vec<u64> = head.versions.keys().copied().take(excess).collect();
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
    gone
}

/// Changes a secret's own settings.
pub fn change(head: &mut Head, change: MetadataChange, now: Timestamp) {
    if let Some(entries) = change.metadata {
        if !change.merge {
            head.metadata.clear();
        }
        for (key, value) in entries {
            match value {
                Some(value) => drop(head.metadata.insert(key, value)),
                None => drop(head.metadata.remove(&key)),
            }
        }
    }
    head.cas_required = change.cas_required.unwrap_or(head.cas_required);
    head.max_versions = change.max_versions.unwrap_or(head.max_versions);
    head.delete_after_secs = change.delete_after_secs.unwrap_or(head.delete_after_secs);
    head.updated = now.micros();
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
    }
}

/// What is known of a secret and all its versions, as a client may see it.
#[must_use]
pub fn described(head: &Head, now: Timestamp) -> Outcome {
    if is_tombstone(head) {
        return Outcome::NotFound;
    }
    let versions: Vec<VersionInfo> = head.versions.iter().map(|(number, known)| info(*number, known, now)).collect();
    Outcome::Described(Box::new(Described {
        metadata: head.metadata.clone(),
        current_version: head.current,
        oldest_version: versions.first().map_or(0, |first| first.version),
        created_at: Timestamp::from_micros(head.created),
        updated_at: Timestamp::from_micros(head.updated),
        cas_required: head.cas_required,
        max_versions: head.max_versions,
        delete_after_secs: head.delete_after_secs,
        versions,
    }))
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
        let absent = WriteOptions { precondition: Precondition::Absent, conditional: true, metadata: None };
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
