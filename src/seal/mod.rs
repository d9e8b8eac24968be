//! The door between secrets and stores: what goes in is sealed, what comes out is checked.
//!
//! Key hierarchy: a root key from a [`KeyProvider`], from it one key per tenant and purpose, from that a fresh key per
//! record (32 random bytes of salt), used once with AES-256-GCM. The associated data binds a record to its tenant, kind,
//! path, version and time, and a commitment binds the ciphertext to its key. No record can be moved, swapped or opened
//! under another key. This room knows no wire and no backend.

mod barrier;
mod locked;
mod provider;
mod records;

use thiserror::Error;

pub use barrier::{Barrier, Kind, Place};
pub use locked::{ZeroOnFree, harden_process, trim_memory};
pub use provider::{EnvKey, FileKey, KeyProvider, RandomKey, RootKey, generate_key_file};
pub use records::{Head, HeadVersion, Listing, Records, Stored};

use crate::error::ErrorKind;
use crate::store::StoreError;

/// Why something could not be sealed, opened or kept.
#[derive(Debug, Error)]
pub enum SealError {
    /// A root key could not be read. The text names the file or variable and what is wrong with it.
    #[error("{0}")]
    Key(String),
    /// A record does not open: it was changed, moved or sealed under another key.
    #[error("a stored record does not open under this key; it was changed, moved, or sealed by another key")]
    Broken,
    /// The random source failed.
    #[error("the system's random source failed")]
    Random,
    /// A record opened and does not read as what it should be.
    #[error("a stored record opened and is not of the expected form")]
    Form,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SealError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_) | Self::Broken | Self::Random | Self::Form => ErrorKind::Sealed,
            Self::Store(error) => error.kind(),
        }
    }
}
