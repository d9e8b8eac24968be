//! What is known of a secret without its values: the head, as it is sealed, and the part of it that is kept in memory.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::{Origin, edit, envelope};
use crate::clock::Timestamp;
use crate::secret::{Metadata, Rank, SecretType};

/// A secret's settings and versions, as sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Custom metadata.
    pub metadata: Metadata,
    /// The version that is read when none is named: the newest, unless labels were moved. 0 if none.
    pub current: u64,
    /// Microseconds since the epoch.
    pub created: u64,
    /// Microseconds since the epoch.
    pub updated: u64,
    /// Whether every write must name the version it replaces.
    pub cas_required: bool,
    /// How many versions are kept; 0 means the store's setting.
    pub max_versions: u64,
    /// Seconds after which a version deletes itself; 0 means never.
    pub delete_after_secs: u64,
    /// The version that was current before, where that is not the next lower one; 0: it is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub previous: u64,
    /// The highest number ever given; 0: it is `current`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last: u64,
    /// When the deleted secret goes for good, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<u64>,
    /// When the secret was deleted as a whole, in microseconds since the epoch: the versions deleted at this very time come
    /// back with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<u64>,
    /// By version.
    pub versions: BTreeMap<u64, HeadVersion>,
    /// Where a copied secret comes from; `None` for one that has no other home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One version, as its head knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadVersion {
    /// Microseconds since the epoch.
    pub created: u64,
    /// When it was or will be deleted, microseconds since the epoch.
    pub deleted: Option<u64>,
    /// Whether the value is gone.
    pub destroyed: bool,
    /// `json`, `text` or `binary`.
    pub secret_type: String,
    /// The backend's own identifier of a copied version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// Labels beside its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// Whether the value is in this store; `false` for a version known of a backend whose value was not copied.
    #[serde(default = "held")]
    pub held: bool,
}

const fn held() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for HeadVersion {
    fn default() -> Self {
        Self {
            created: 0,
            deleted: None,
            destroyed: false,
            secret_type: String::new(),
            native: None,
            stages: Vec::new(),
            held: held(),
        }
    }
}

impl HeadVersion {
    /// Whether the value may be read at `now`.
    #[must_use]
    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deleted.is_none_or(|at| at > now.micros())
    }

    /// How to understand the value.
    #[must_use]
    pub fn secret_type(&self) -> SecretType {
        SecretType::parse(&self.secret_type).unwrap_or(SecretType::Binary)
    }
}

impl Head {
    /// The number the next version gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        let highest = self.versions.keys().next_back().copied().unwrap_or(0);
        highest.max(self.current).max(self.last) + 1
    }

    /// The version that was current before the current one; 0 if there is none.
    #[must_use]
    pub fn previous(&self) -> u64 {
        if self.previous > 0 && self.previous != self.current && self.versions.contains_key(&self.previous) {
            return self.previous;
        }
        self.versions.range(..self.current).next_back().map_or(0, |(number, _)| *number)
    }

    /// A version's place.
    #[must_use]
    pub fn rank(&self, number: u64) -> Rank {
        match number {
            0 => Rank::Unknown,
            _ if number == self.current => Rank::Current,
            _ if number == self.previous() => Rank::Previous,
            _ => Rank::Other,
        }
    }

    /// Whether the secret as a whole was deleted, and not restored.
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        self.purge_at.is_some() || self.deleted_at.is_some()
    }

    /// Whether the secret was deleted and its time is over: there is nothing any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.purge_at.is_some_and(|at| at <= now.micros())
    }

    /// Whether there is such a secret for a reader, deleted or not, with a version or without.
    #[must_use]
    pub fn is_there(&self, now: Timestamp) -> bool {
        !edit::is_tombstone(self) && !self.is_expired(now)
    }

    /// A digest of what a change by anybody would show in: metadata, the versions with their states and times, settings.
    /// Not where it comes from, not when it was touched last. 64 hexadecimal digits, the same in every release.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut print = Print::new();
        print.number(self.metadata.len() as u64);
        for (key, value) in &self.metadata {
            print.text(key);
            print.text(value);
        }
        for number in [self.current, self.max_versions, self.delete_after_secs, u64::from(self.cas_required)] {
            print.number(number);
        }
        print.number(self.versions.len() as u64);
        for (number, version) in &self.versions {
            print.number(*number);
            print.number(version.created);
            print.number(version.deleted.map_or(0, |at| at.saturating_add(1)));
            print.number(u64::from(version.destroyed));
            print.text(&version.secret_type);
            // what no head of an earlier release has is no part of its print
            for stage in &version.stages {
                print.text(stage);
            }
        }
        if self.previous > 0 {
            print.text("previous");
            print.number(self.previous);
        }
        if let Some(at) = self.purge_at {
            print.text("purge");
            print.number(at);
        }
        envelope::hex(print.0.finish().as_ref())
    }

    /// What a planner or a reader needs to know of a copy without opening the head.
    fn copy_stamp(&self) -> Option<CopyStamp> {
        let origin = self.origin.as_ref()?;
        let agreed = origin.agreed.as_ref();
        Some(CopyStamp {
            route: origin.route,
            agreed_at: agreed.map_or(0, |agreed| agreed.at),
            conflicted: origin.conflict.is_some(),
            ahead: agreed.is_none_or(|agreed| agreed.local != self.fingerprint()),
        })
    }
}

/// A SHA-256 over length-prefixed parts.
struct Print(digest::Context);

impl Print {
    fn new() -> Self {
        let mut print = Self(digest::Context::new(&digest::SHA256));
        print.text("head v1");
        print
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }
}

/// How a copy stands to its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyStamp {
    /// [`Origin::route`].
    pub route: u64,
    /// When both sides last agreed, in microseconds since the epoch; 0 for never.
    pub agreed_at: u64,
    /// Whether nobody has won a conflict yet.
    pub conflicted: bool,
    /// Whether this side has changed since both agreed, or they never did.
    pub ahead: bool,
}

/// What the index knows of a secret: enough to answer a read of the current version with one record. Cloning is a
/// reference count.
#[derive(Clone, Debug)]
pub struct Stored(Arc<Known>);

/// What a [`Stored`] shares.
#[derive(Debug)]
pub struct Known {
    /// Under which blind index the records lie, so that a read does not compute it again.
    pub(super) index: [u8; 32],
    /// Whether the head opened; if not, neither do reads of the value.
    pub(super) is_sound: bool,
    /// The newest version; 0 if none.
    pub current: u64,
    /// What is known of the newest version; destroyed if it is not listed any more.
    pub version: HeadVersion,
    /// Custom metadata, shared.
    pub metadata: Option<Arc<Metadata>>,
    /// How a copy stands to its origin; `None` for a secret that has none.
    pub copy: Option<CopyStamp>,
    /// What [`edit::is_tombstone`] says of the head.
    is_tombstone: bool,
    /// When the deleted secret goes for good, in microseconds since the epoch.
    pub purge_at: Option<u64>,
}

impl Known {
    /// Whether all versions were removed and only the number of the last one is remembered.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.is_tombstone
    }

    /// Whether the secret was deleted and its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.purge_at.is_some_and(|at| at <= now.micros())
    }

    /// As [`Head::is_there`].
    #[must_use]
    pub fn is_there(&self, now: Timestamp) -> bool {
        !self.is_tombstone && !self.is_expired(now)
    }

    /// Whether the head does not open: the secret exists, nothing else is known of it, and reading it is an error.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        !self.is_sound
    }
}

impl Stored {
    pub(super) fn of(index: [u8; 32], head: &Head) -> Self {
        let newest = head.versions.get(&head.current).cloned();
        Self(Arc::new(Known {
            index,
            is_sound: true,
            current: head.current,
            version: newest.unwrap_or_else(|| HeadVersion { destroyed: true, held: false, ..HeadVersion::default() }),
            metadata: (!head.metadata.is_empty()).then(|| Arc::new(head.metadata.clone())),
            copy: head.copy_stamp(),
            is_tombstone: edit::is_tombstone(head),
            purge_at: head.purge_at,
        }))
    }

    /// A secret whose head does not open: it exists, and reading it is an error.
    pub(super) fn unsound(index: [u8; 32]) -> Self {
        Self(Arc::new(Known {
            index,
            is_sound: false,
            current: 1,
            version: HeadVersion::default(),
            metadata: None,
            copy: None,
            is_tombstone: false,
            purge_at: None,
        }))
    }
}

impl Deref for Stored {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Agreed, RemoteMark};

    fn head() -> Head {
        let mut head = Head { current: 2, created: 5, updated: 6, max_versions: 3, ..Head::default() };
        head.metadata.insert("owner".to_owned(), "team".to_owned());
        head.versions.insert(1, HeadVersion { created: 5, destroyed: true, ..HeadVersion::default() });
        head.versions.insert(2, HeadVersion { created: 6, secret_type: "json".to_owned(), ..HeadVersion::default() });
        head
    }

    #[test]
    fn a_fingerprint_shows_every_change_that_counts_and_no_other() {
        let before = head().fingerprint();
        assert_eq!(before.len(), 64);
        let counts: [fn(&mut Head); 10] = [
            |head| head.current = 3,
            |head| head.max_versions = 0,
            |head| head.delete_after_secs = 1,
            |head| head.cas_required = true,
            |head| head.metadata.clear(),
            |head| drop(head.metadata.insert("owner".to_owned(), "teams".to_owned())),
            |head| drop(head.versions.remove(&1)),
            |head| head.versions.get_mut(&2).unwrap().deleted = Some(0),
            |head| head.versions.get_mut(&2).unwrap().destroyed = true,
            |head| head.versions.get_mut(&2).unwrap().created = 7,
        ];
        let mut seen = std::collections::BTreeSet::from([before.clone()]);
        for change in counts {
            let mut head = head();
            change(&mut head);
            assert!(seen.insert(head.fingerprint()));
        }
        let mut same = head();
        same.updated = 99;
        same.versions.get_mut(&2).unwrap().held = false;
        same.origin =
            Some(Origin { backend: "fed".to_owned(), remote: "a".to_owned(), route: 1, agreed: None, conflict: None });
        assert_eq!(same.fingerprint(), before);
    }

    #[test]
    fn a_stamp_says_whether_this_side_is_ahead() {
        let mut head = head();
        assert!(Stored::of([0; 32], &head).copy.is_none());
        let agreed = |local: String| Agreed { local, local_version: 2, remote: RemoteMark::default(), at: 77 };
        let mut origin =
            Origin { backend: "fed".to_owned(), remote: "a".to_owned(), route: 9, agreed: None, conflict: None };
        head.origin = Some(origin.clone());
        let stamp = Stored::of([0; 32], &head).copy.unwrap();
        assert_eq!(stamp, CopyStamp { route: 9, agreed_at: 0, conflicted: false, ahead: true });
        origin.agreed = Some(agreed(head.fingerprint()));
        head.origin = Some(origin);
        let stamp = Stored::of([0; 32], &head).copy.unwrap();
        assert_eq!(stamp, CopyStamp { route: 9, agreed_at: 77, conflicted: false, ahead: false });
        head.metadata.clear();
        assert!(Stored::of([0; 32], &head).copy.unwrap().ahead);
    }

    #[test]
    fn heads_of_the_first_release_read_as_they_were_meant() {
        let text = r#"{"metadata":{},"current":1,"created":1,"updated":1,"cas_required":false,"max_versions":0,
            "delete_after_secs":0,"versions":{"1":{"created":1,"deleted":null,"destroyed":false,"secret_type":"text"}}}"#;
        let head: Head = serde_json::from_str(text).unwrap();
        assert!(head.origin.is_none() && !head.is_marked() && head.is_there(Timestamp::from_secs(1)));
        assert!(head.versions[&1].held && head.versions[&1].native.is_none());
    }

    #[test]
    fn a_newest_version_that_is_not_listed_is_not_readable() {
        let mut head = head();
        head.versions.clear();
        let stored = Stored::of([0; 32], &head);
        assert!(stored.is_tombstone() && !stored.version.is_readable(Timestamp::default()));
        assert!(!Stored::unsound([0; 32]).is_tombstone());
    }

    #[test]
    fn a_deleted_secret_is_there_until_its_time_is_over_and_one_without_a_version_is_one() {
        let mut head = head();
        head.purge_at = Some(Timestamp::from_secs(9).micros());
        for (secs, is_there) in [(8, true), (9, false)] {
            let now = Timestamp::from_secs(secs);
            assert_eq!((head.is_there(now), Stored::of([0; 32], &head).is_there(now)), (is_there, is_there));
        }
        let bare = edit::fresh(Timestamp::from_secs(1));
        assert!(Stored::of([0; 32], &bare).is_there(Timestamp::from_secs(9)));
        assert!(!Stored::of([0; 32], &Head::default()).is_there(Timestamp::default()));
    }
}
