//! Versions and secrets that are deleted, come back, or are gone for good.
//!
//! INVARIANT: what was deleted with the secret as a whole comes back with it, and nothing else does. Numbers go on,
//! whatever was removed.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::seal::{Head, HeadVersion};
use crate::secret::VersionSet;

const DAY_SECS: u64 = 86_400;

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

/// Whether there is no such secret, or none any more, and at most the number of its last version is remembered, so that a
/// sync knows it from a secret that was never here.
#[must_use]
pub fn is_tombstone(head: &Head) -> bool {
    // one that was made and has no version yet is a secret
    head.versions.is_empty() && (head.current > 0 || head.created == 0)
}

/// Removes everything but what [`is_tombstone`] needs; the values of the versions returned go too.
#[must_use]
pub fn bury(head: &mut Head, now: Timestamp) -> Vec<u64> {
    // the numbers of all go on, also where a label had made an older one current
    head.current = head.next() - 1;
    if head.current == 0 {
        head.created = 0;
    }
    (head.last, head.previous) = (0, 0);
    unmark(head);
    let gone = std::mem::take(&mut head.versions).into_keys().collect();
    head.metadata.clear();
    (head.cas_required, head.max_versions, head.delete_after_secs) = (false, 0, 0);
    head.updated = now.micros();
    gone
}

/// Makes a secret without a version where there is none. Numbers go on where an earlier one left off.
pub fn make(head: &mut Head, now: Timestamp) {
    if is_tombstone(head) {
        (head.last, head.current) = (head.next() - 1, 0);
        head.created = now.micros();
    }
}

/// Deletes the secret as a whole: all versions that can be read, to come back with [`restore`]. After `days` it is gone
/// for good. Deleted once more, it gets a new window. Yields the versions whose values go.
#[must_use]
pub fn delete(head: &mut Head, days: Option<u16>, now: Timestamp) -> Vec<u64> {
    if !head.is_marked() {
        head.deleted_at = Some(now.micros());
    }
    let window = |days: u16| now.after(Duration::from_secs(u64::from(days) * DAY_SECS));
    head.purge_at = days.map(|days| window(days).micros());
    let at = head.deleted_at.map_or(now, Timestamp::from_micros).min(now);
    let numbers = named(head, &VersionSet::All);
    mark(head, &numbers, Mark::Deleted(at), now)
}

/// Undoes [`delete`]: versions that had been deleted before it one by one stay deleted. Yields the versions whose values
/// go.
#[must_use]
pub fn restore(head: &mut Head, now: Timestamp) -> Vec<u64> {
    if !head.is_marked() {
        return Vec::new();
    }
    // heads of earlier releases do not tell: all that is deleted comes back
    let at = head.deleted_at;
    let is_meant = |(_, known): &(&u64, &HeadVersion)| at.is_none() || known.deleted == at;
    let numbers: Vec<u64> = head.versions.iter().filter(is_meant).map(|(number, _)| *number).collect();
    unmark(head);
    mark(head, &numbers, Mark::Undeleted, now)
}

/// The secret as a whole is not deleted any more, whatever its versions are.
pub(super) fn unmark(head: &mut Head) {
    (head.purge_at, head.deleted_at) = (None, None);
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
        unmark(head);
    }
    gone
}
