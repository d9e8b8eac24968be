//! A secret and what is known about it.

use std::collections::BTreeMap;

use super::{SecretType, SecretValue};
use crate::clock::Timestamp;

/// Custom metadata, tags or labels.
pub type Metadata = BTreeMap<String, String>;

/// What a version is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Readable.
    #[default]
    Current,
    /// Deleted and restorable, since this time.
    Deleted(Timestamp),
    /// Gone for good. The time is that of a deletion that came before, if any.
    Destroyed(Option<Timestamp>),
    /// Kept, and not to be read.
    Disabled,
}

impl VersionState {
    /// Whether the value may be read.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        matches!(self, Self::Current)
    }
}

/// What is known about one version, without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionInfo {
    /// The integer version, from 1.
    pub version: u64,
    /// The backend's own identifier, where it is not the integer.
    pub native_id: Option<Box<str>>,
    /// When the version was written.
    pub created_at: Timestamp,
    /// What it is now.
    pub state: VersionState,
    /// When it will delete itself, if it will.
    pub deletes_at: Option<Timestamp>,
    /// Its place among the versions.
    pub rank: Rank,
    /// Labels it carries beside its rank.
    pub stages: Vec<Box<str>>,
}

impl VersionInfo {
    /// The same, at this place.
    #[must_use]
    pub fn ranked(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }
}

/// A version's place among the versions of its secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rank {
    /// Whoever told of it did not say.
    #[default]
    Unknown,
    /// The one that is read when none is named (`AWSCURRENT`).
    Current,
    /// The one that was current before (`AWSPREVIOUS`).
    Previous,
    /// Any other.
    Other,
}

/// One version of a secret. `value` is `None` unless the version is readable.
#[derive(Debug)]
pub struct SecretRecord {
    /// The bytes as they were written.
    pub value: Option<SecretValue>,
    /// How to understand them.
    pub secret_type: SecretType,
    /// Custom metadata of the secret.
    pub metadata: Metadata,
    /// Which version this is.
    pub info: VersionInfo,
    /// When the secret last changed, if known.
    pub updated_at: Option<Timestamp>,
}

impl SecretRecord {
    /// What a read finds where there is a secret and not the version asked for: version 0.
    #[must_use]
    pub fn without_version() -> Self {
        Self {
            value: None,
            secret_type: SecretType::Json,
            metadata: Metadata::new(),
            info: VersionInfo::default(),
            updated_at: None,
        }
    }
}

/// What is known about a secret and all its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Custom metadata.
    pub metadata: Metadata,
    /// The newest version; 0 if none was written yet.
    pub current_version: u64,
    /// The oldest version still known; 0 if none.
    pub oldest_version: u64,
    /// When the secret was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether every write must name the version it replaces.
    pub cas_required: bool,
    /// How many versions are kept; 0 means the store's default.
    pub max_versions: u64,
    /// Seconds after which a version deletes itself; 0 means never.
    pub delete_after_secs: u64,
    /// When the deleted secret goes for good, if it does by itself.
    pub purges_at: Option<Timestamp>,
    /// Oldest first.
    pub versions: Vec<VersionInfo>,
}

/// A secret of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The client's name for it.
    pub name: String,
    /// What is known of it; absent where that would have cost another call, or may not be told.
    pub described: Option<Box<Described>>,
}
