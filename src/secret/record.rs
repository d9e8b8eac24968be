//! A secret and what is known about it.

use std::collections::BTreeMap;

use super::{SecretType, SecretValue};
use crate::clock::Timestamp;

/// Custom metadata, tags or labels.
pub type Metadata = BTreeMap<String, String>;

/// What a version is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Readable.
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What is known about a secret and all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Oldest first.
    pub versions: Vec<VersionInfo>,
}
