//! What can be asked about backends over our own API, in neutral words.

use std::fmt;

use crate::secret::{BackendId, SecretPath};

/// A call about backends. Bodies are JSON objects, checked to be unambiguous; what they mean is for the configuration.
#[derive(Debug)]
pub enum FederationRequest {
    /// All backends the caller may administer.
    List,
    /// Make one.
    Create(JsonBody),
    /// About one of them.
    Backend {
        /// Which.
        id: BackendId,
        /// What.
        action: BackendAction,
    },
}

/// What is to be done with one backend.
#[derive(Debug)]
pub enum BackendAction {
    /// Show its settings.
    Show,
    /// Merge a patch (RFC 7396) into its settings.
    Update(JsonBody),
    /// End it; its copies are quarantined.
    Delete,
    /// Connect, log in and ask what we may do.
    Check,
    /// Sync now: these paths, or everything.
    Sync(Option<Vec<SecretPath>>),
    /// The reports of the last syncs.
    Syncs,
    /// The report of one sync.
    Run(String),
    /// Stop a running sync.
    Cancel(String),
    /// How it is doing.
    Status,
    /// Paths where both sides changed.
    Conflicts,
    /// Decide a conflict.
    Resolve {
        /// Of this path.
        path: SecretPath,
        /// In favour of this side.
        keep: Winner,
    },
    /// Copies no rule leads to any more.
    Quarantine,
    /// Make quarantined copies local secrets.
    Adopt,
    /// Remove quarantined copies for good.
    Purge,
}

/// The side that wins a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    /// The copy.
    Local,
    /// The backend.
    Backend,
}

/// A JSON object as a client sent it, checked to be unambiguous. `Debug` does not show it: people put credentials into
/// fields where they do not belong.
#[derive(Clone, PartialEq)]
pub struct JsonBody(pub serde_json::Value);

impl fmt::Debug for JsonBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonBody")
    }
}
