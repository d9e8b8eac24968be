//! Where a copied secret comes from, and what both sides last agreed on: the memory that three-way comparison needs.

use serde::{Deserialize, Serialize};

/// Kept in a secret's head, sealed with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The backend's id (`fed_…`).
    pub backend: String,
    /// The remote name.
    pub remote: String,
    /// [`crate::secret::RuleSettings::route`] of the rule the copy was made under. Under another one it is quarantined.
    pub route: u64,
    /// What both sides were when they last agreed; `None` if the secret was never on the other side.
    pub agreed: Option<Agreed>,
    /// Set while nobody has won.
    pub conflict: Option<Conflict>,
}

/// Both sides, when they were known to hold the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// [`super::Head::fingerprint`] of the local side.
    pub local: String,
    /// Our number of the version that was current then.
    pub local_version: u64,
    /// The remote side.
    pub remote: RemoteMark,
    /// When, in microseconds since the epoch.
    pub at: u64,
}

/// A remote secret, as far as it can be seen without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMark {
    /// The newest version's number; 0 if there is none.
    pub version: u64,
    /// The newest version's own identifier, where that is not a number.
    pub native: Option<String>,
    /// Whether the newest version can be read.
    pub readable: bool,
    /// A digest of everything else that a change would show in: metadata, states and times of the versions; of the value
    /// itself where a store has nothing else to tell.
    pub digest: String,
}

/// Two sides that both changed, or would have to be overwritten against the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// When it was found, in microseconds since the epoch.
    pub since: u64,
    /// What the remote side was then; `None` if it was gone.
    pub remote: Option<RemoteMark>,
}
