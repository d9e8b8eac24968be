//! The words of federation: how a backend's paths are copied, written and settled.

use std::fmt;
use std::time::Duration;

use super::Mode;

/// A backend's identifier: `fed_` and 26 characters. INVARIANT: made by [`BackendId::parse`] or from 16 bytes only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(Box<str>);

impl BackendId {
    /// From 16 bytes: a ULID for backends made by the API, a hash of tenant and name for those of the file.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("fed_{}", ulid::Ulid::from_bytes(bytes)).into())
    }

    /// Only the spelling that [`Self::from_bytes`] makes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ulid = ulid::Ulid::from_string(text.strip_prefix("fed_")?).ok()?;
        let id = Self::from_bytes(ulid.to_bytes());
        (&*id.0 == text).then_some(id)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which paths a sync pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncScope {
    /// Everything the rules can name.
    All,
    /// What was prefetched or read.
    Demand,
}

/// Whether and how synced paths are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Not at all.
    Disabled,
    /// The backend first, then the copy.
    WriteThrough,
    /// The copy only.
    Local,
}

/// Which versions a sync keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The current one.
    None,
    /// All the backend has, up to `max_versions`.
    All,
}

/// What counts as a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictOn {
    /// Both sides changed.
    Both,
    /// The remote side changed, alone or not.
    Any,
}

/// Who wins a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The backend.
    BackendWins,
    /// The copy.
    LocalWins,
    /// Nobody until a person decides.
    Manual,
}

/// What happens to the copy of a secret the backend deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBackendDelete {
    /// It is deleted too.
    Delete,
    /// It stays.
    Keep,
}

/// What a sync may ask of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a second in the long run.
    pub per_second: u32,
    /// Calls at once.
    pub burst: u32,
}

/// How the paths of one rule are served, copied and written: the rule's own settings over its backend's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// [`Mode::Proxy`] or [`Mode::Sync`].
    pub mode: Mode,
    /// How often a sync runs.
    pub interval: Duration,
    /// Which paths are copied.
    pub scope: SyncScope,
    /// Whether and how they are written.
    pub write_mode: WriteMode,
    /// Which versions are kept.
    pub history: History,
    /// How many versions are kept.
    pub max_versions: u64,
    /// The age past which a copy is not served; `None` is any age.
    pub max_stale: Option<Duration>,
    /// How long a copy is served after the backend denied us; `None` is not at all.
    pub deny_grace: Option<Duration>,
    /// Fingerprint of the backend's id and the rule's templates: copies made under another one are not served.
    pub route: u64,
    /// Which segment of remote names marks Vault's KV version 2.
    pub kv2_segment: Option<usize>,
}
