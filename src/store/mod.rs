//! Bytes at rest. A store is untrusted: it sees only sealed records and blind keys, and whatever it gives back is
//! checked by the barrier before anything believes it. It knows neither paths nor values nor tenants by name.

mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

pub use memory::MemoryStore;

use crate::error::ErrorKind;

/// Which kind of record a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// A secret's settings and the list of its versions.
    Head,
    /// One version's value.
    Version,
}

/// Where a record lies: a blind index of tenant and path (a keyed hash), never a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// Which kind of record.
    pub table: Table,
    /// Keyed hash of tenant and secret path.
    pub index: [u8; 32],
    /// The version; 0 for a head.
    pub version: u64,
}

/// Sealed bytes, as the barrier made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub Arc<[u8]>);

/// Puts and removals that become visible together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records to write, replacing what is there.
    pub put: Vec<(RecordKey, Sealed)>,
    /// Records to remove; absent ones are no error.
    pub remove: Vec<RecordKey>,
}

/// Why a store could not do its work.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing more is accepted after a failed commit.
    #[error("the store is closed after a failed commit; restart after checking the disk")]
    Closed,
}

impl StoreError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed => ErrorKind::Sealed,
        }
    }
}

/// Sealed records by blind key.
#[async_trait]
pub trait Store: Send + Sync {
    /// One record. Called for every local read; must not block.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError>;

    /// Makes a batch visible; `Ok` means it is as durable as this store can make it.
    ///
    /// # Errors
    /// When nothing of the batch was kept.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}
