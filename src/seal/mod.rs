//! The door between secrets and stores: what goes in is sealed, what comes out is checked.
//!
//! Key hierarchy: a provider's key wraps a store's root key; under the root key lie each tenant's keys, one for blind
//! indexes and one a term for records; from the latter comes a fresh key per record (32 random bytes of salt), used once
//! with AES-256-GCM. A store in memory derives tenants' keys from a root key instead. The associated data binds a record
//! to its store, term, tenant, kind, path, version and time, and a commitment binds the ciphertext to its key. No record
//! can be moved, swapped or opened under another key. This room knows no wire and no backend.

mod barrier;
mod commit;
mod documents;
pub mod edit;
mod envelope;
mod head;
mod index;
mod keyring;
mod locked;
mod origin;
mod passphrase;
mod provider;
mod records;
mod reseal;
mod tenant_keys;

use thiserror::Error;

pub use barrier::{Barrier, Place};
pub use commit::{Change, Writer};
pub use documents::{DocumentChange, DocumentKind, Opened};
pub use head::{CopyStamp, Head, HeadVersion, Known, Stored};
pub use index::Listing;
pub use keyring::{Keyring, Rotation};
pub use locked::{ZeroOnFree, harden_process, swappable_keys, trim_memory};
pub use origin::{Agreed, Conflict, Origin, RemoteMark};
pub use passphrase::Passphrase;
pub use provider::{EnvKey, FileKey, KeyProvider, RandomKey, RootKey, Wrapped, generate_key_file};
pub use records::Records;

use crate::error::ErrorKind;
use crate::store::StoreError;

/// Why something could not be sealed, opened or kept.
#[derive(Debug, Error)]
pub enum SealError {
    /// A key could not be read, wrapped or unwrapped. The text names where it comes from and what is wrong with it.
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
    /// The names of all secrets are still being read.
    #[error("the store is starting: the names of its secrets are still being read")]
    Indexing,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SealError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_) | Self::Broken | Self::Random | Self::Form | Self::Indexing => ErrorKind::Sealed,
            Self::Store(error) => error.kind(),
        }
    }
}

#[cfg(test)]
mod tests;
