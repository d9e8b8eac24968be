//! What a write does to a secret's head: versions added and forgotten, settings changed; in `marks` what is deleted and
//! comes back, in `labels` which version is meant and what it is called. Local secrets and copies of remote ones are edited
//! by the same functions.
//!
//! Pure: no store, no clock. Whoever calls holds the tenant's writer and commits what comes out.

mod labels;
mod marks;

use serde_json::{Map, Value};
use thiserror::Error;

pub use self::labels::{CURRENT, MOST_LABELS, PREVIOUS, attach, check_move, done_before, relabel, repeated, select};
pub use self::marks::{Mark, bury, delete, is_tombstone, make, mark, named, restore};
use super::{Head, HeadVersion};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::secret::{
    Described, Metadata, MetadataChange, Outcome, Precondition, Rank, SecretType, SecretValue, VersionInfo,
    VersionState, WriteOptions, detail,
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
    /// The versions of the secret would carry more labels than they can.
    #[error("{}", detail::TOO_MANY_LABELS)]
    TooManyLabels,
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
            Self::CasRequired
            | Self::NotAnObject
            | Self::Deleted
            | Self::Labelled
            | Self::NotLabelled
            | Self::TooManyLabels => ErrorKind::Malformed,
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
            Self::TooManyLabels => Some(detail::TOO_MANY_LABELS),
            Self::CasRequired => Some("check-and-set parameter required for this call"),
            Self::NotAnObject => Some("the value is not a JSON object"),
        }
    }
}

/// A secret without versions, made at `now`.
#[must_use]
pub fn fresh(now: Timestamp) -> Head {
    Head { created: now.micros(), updated: now.micros(), ..Head::default() }
}

/// Whether a write may go on.
///
/// # Errors
/// When its precondition does not hold, or there is none and the secret wants one; when it brings too many labels.
pub fn check(head: &Head, options: &WriteOptions) -> Result<(), EditError> {
    if head.cas_required && !options.conditional {
        return Err(EditError::CasRequired);
    }
    let holds = match options.precondition {
        Precondition::None => true,
        Precondition::Absent => head.current == 0 || is_tombstone(head),
        Precondition::New => is_tombstone(head),
        Precondition::Version(version) => head.current == version,
        Precondition::Present => {
            check_present(head)?;
            true
        }
    };
    let is_new = matches!(options.precondition, Precondition::Absent | Precondition::New);
    if !holds {
        return Err(if is_new && head.is_marked() { EditError::Scheduled } else { EditError::Conflict });
    }
    let stages = options.stages.iter().flatten();
    labels::check_room(head, stages.map(|stage| &**stage))
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
        head.current = number;
        marks::unmark(head);
    }
    if head.current != number || head.last > 0 {
        head.last = number;
    }
    for stage in stages.unwrap_or_default() {
        attach(head, &stage, Some(number));
    }
    let gone = prune(head, max_versions);
    let known = head.versions.get(&number);
    let info = known.map(|known| info(number, known, now).ranked(head.rank(number))).unwrap_or_default();
    (info, gone)
}

/// There has to be such a secret, and it must not be deleted.
fn check_present(head: &Head) -> Result<(), EditError> {
    if is_tombstone(head) || head.created == 0 {
        return Err(EditError::Missing);
    }
    if head.is_marked() { Err(EditError::Deleted) } else { Ok(()) }
}

/// Whether a change of settings may go on; `is_there`: whether there is such a secret.
///
/// # Errors
/// When it is to be new and is not, or is to be there and is not.
pub fn check_change(head: Option<&Head>, change: &MetadataChange) -> Result<(), EditError> {
    let head = head.filter(|head| !is_tombstone(head));
    match head {
        Some(head) if change.absent => Err(if head.is_marked() { EditError::Scheduled } else { EditError::Conflict }),
        Some(head) if change.present => check_present(head),
        None if change.present => Err(EditError::Missing),
        _ => Ok(()),
    }
}

/// Adds a version that is known as a whole, and whether it is the one that is read when none is named. Yields the versions
/// forgotten for it.
#[must_use]
pub fn add(
    head: &mut Head,
    number: u64,
    (version, is_current): (HeadVersion, bool),
    max_versions: u64,
    now: Timestamp,
) -> Vec<u64> {
    if head.created == 0 {
        head.created = now.micros();
    }
    head.updated = now.micros();
    if is_current {
        if head.previous > 0 && number > head.current {
            head.previous = head.current;
        }
        head.current = head.current.max(number);
        head.last = if head.last > 0 { head.last.max(number) } else { 0 };
        marks::unmark(head);
    } else {
        head.last = head.last.max(number);
    }
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

/// Changes a secret's own settings; one that is not there is made, without a version.
pub fn change(head: &mut Head, change: MetadataChange, now: Timestamp) {
    make(head, now);
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
    if !head.is_there(now) {
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
mod tests;
