//! Bytes at rest. A store is untrusted: it sees only sealed records and blind keys, and whatever it gives back is
//! checked by the barrier before anything believes it. It knows neither paths nor values nor tenants by name.
//!
//! [`FileStore`] keeps records in one file, [`MemoryStore`] until the process ends, [`Cached`] holds a tenant's sealed
//! values in memory in front of either. All three keep the contract that `tests/contract.rs` of this room states.

mod cached;
mod file;
mod held;
mod memory;
mod place;
mod room;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

pub use cached::Cached;
pub use file::FileStore;
pub use memory::MemoryStore;

use crate::error::ErrorKind;

/// Which kind of record a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// A secret's settings and the list of its versions.
    Head,
    /// One version's value.
    Version,
    /// A secret's path.
    Name,
    /// Anything else a tenant keeps: backends, intents, reports.
    Document,
}

impl Table {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 4] = [Self::Head, Self::Version, Self::Name, Self::Document];
}

/// Where a record lies: keyed hashes of tenant and path, never a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// Which kind of record.
    pub table: Table,
    /// Keyed hash of the tenant.
    pub tenant: [u8; 16],
    /// Keyed hash of the secret path, or of a document's kind and id.
    pub index: [u8; 32],
    /// The version; 0 for heads and names, the kind for documents.
    pub version: u64,
}

/// Sealed bytes, as the barrier made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub Arc<[u8]>);

/// Puts and removals that become visible together or not at all. What is removed and put in one batch is there.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records to write, replacing what is there.
    pub put: Vec<(RecordKey, Sealed)>,
    /// Records to remove; absent ones are no error.
    pub remove: Vec<RecordKey>,
    /// The store's own entries to set or (`None`) to remove: ids and wrapped keys, nothing secret in clear.
    pub meta: Vec<(String, Option<Vec<u8>>)>,
    /// What happens once the batch is visible.
    pub then: Then,
}

impl Batch {
    /// How many records and entries it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.put.len() + self.remove.len() + self.meta.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What happens once a batch is visible and before its commit is acknowledged, whether or not anybody still waits for
/// the acknowledgement. Runs in the order of commits, the last step added first: an inner layer forgets what it holds
/// before an outer one tells of the new state. Never runs for a batch that failed.
#[derive(Default)]
pub struct Then(Vec<Box<dyn FnOnce() + Send>>);

impl Then {
    /// Adds a step; it must be quick and must not call the store.
    pub fn push(&mut self, step: impl FnOnce() + Send + 'static) {
        self.0.push(Box::new(step));
    }

    fn run(self) {
        for step in self.0.into_iter().rev() {
            step();
        }
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Then({} steps)", self.0.len())
    }
}

/// Why a store could not do its work. Texts name files and what is wrong with them, never what is in them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Nothing more is accepted after a failed commit.
    #[error("the store is closed after a failed commit; restart after checking the disk")]
    Closed,
    /// Another process has the file.
    #[error("{path}: another process has it open; a store file belongs to one process at a time")]
    Busy {
        /// The file.
        path: String,
    },
    /// It exists and is not a sound store.
    #[error("{path}: not a sound store ({what}). It was left as it is: restore a copy, or move it away to start anew")]
    Broken {
        /// The file.
        path: String,
        /// What was found.
        what: String,
    },
    /// Written by a release that this one cannot follow.
    #[error("{path}: written by a newer release (format {format}, this release reads up to {known})")]
    Newer {
        /// The file.
        path: String,
        /// The oldest format a reader has to know.
        format: u32,
        /// The newest format this release knows.
        known: u32,
    },
    /// The file or its directory is open to every user of the machine.
    #[error("{path}: open to everyone (mode {mode:o}); chmod o= it, or name a file in a directory of its own")]
    Exposed {
        /// The file or directory.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error("{path}: {what}")]
    Io {
        /// The file or directory.
        path: String,
        /// What the system said.
        what: String,
    },
}

impl StoreError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed
            | Self::Busy { .. }
            | Self::Broken { .. }
            | Self::Newer { .. }
            | Self::Exposed { .. }
            | Self::Io { .. } => ErrorKind::Sealed,
        }
    }
}

/// Sealed records by blind key.
#[async_trait]
pub trait Store: Send + Sync {
    /// One record. Called for every read of a copied or local secret; waits for the disk at most.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError>;

    /// Shows `visit` every record of a tenant's table, as of one moment, in no particular order, until it says `false`.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn scan(
        &self,
        table: Table,
        tenant: &[u8; 16],
        visit: &mut dyn FnMut(&RecordKey, &Sealed) -> bool,
    ) -> Result<(), StoreError>;

    /// One of the store's own entries.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The store's own entries whose keys start with `prefix`, sorted by key.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn metas(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Whether there is no record of anybody.
    ///
    /// # Errors
    /// When the store can no longer serve.
    fn is_empty(&self) -> Result<bool, StoreError>;

    /// Whether it still takes writes: after a failed commit none does any more. Called for readiness and metrics; waits for
    /// nothing.
    fn takes_writes(&self) -> bool {
        true
    }

    /// Forgets what is held of a record in memory only; the record stays.
    fn evict(&self, _key: &RecordKey) {}

    /// Makes a batch visible; `Ok` means it is as durable as this store can make it. An empty batch waits for those
    /// before it. A caller that stops waiting does not stop the batch.
    ///
    /// # Errors
    /// When nothing of the batch was kept.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

#[cfg(test)]
pub(crate) mod tests;
