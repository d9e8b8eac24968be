//! One tenant's secrets in a store: sealed heads, sealed values, sealed names, and an index of names kept in memory.
//!
//! INVARIANT: the index changes only once the store has accepted the batch, in the order of commits, and whether or not
//! the caller still waits. Heads and values change under the tenant's one writer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Mutex, RwLock};
use zeroize::Zeroizing;

use super::index::{Index, Lookup};
use super::{Barrier, Head, Listing, Place, SealError, Stored};
use crate::secret::{Folder, SecretPath, SecretValue, Tenant};
use crate::store::{RecordKey, Sealed, Store, Table};

/// One tenant's door to a store.
pub struct Records {
    pub(super) barrier: Barrier,
    pub(super) store: Arc<dyn Store>,
    pub(super) index: Arc<Index>,
    pub(super) writer: Mutex<()>,
    /// Shared by commits, held alone while a term ends or records are sealed again.
    pub(super) sealing: RwLock<()>,
    /// Whether a caller stopped waiting for a commit that may still be under way.
    pub(super) is_unfinished: AtomicBool,
}

impl Records {
    /// A tenant's records in an empty store.
    #[must_use]
    pub fn new(barrier: Barrier, store: Arc<dyn Store>) -> Self {
        Self::with(barrier, store, Index::whole())
    }

    /// A tenant's records in a store that may hold some. Exact reads work at once; what needs the whole index works once
    /// [`Self::rebuild`] is through.
    #[must_use]
    pub fn open(barrier: Barrier, store: Arc<dyn Store>) -> Self {
        Self::with(barrier, store, Index::unfilled())
    }

    fn with(barrier: Barrier, store: Arc<dyn Store>, index: Index) -> Self {
        Self {
            barrier,
            store,
            index: Arc::new(index),
            writer: Mutex::default(),
            sealing: RwLock::default(),
            is_unfinished: AtomicBool::new(false),
        }
    }

    /// Whose records they are.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        self.barrier.tenant()
    }

    /// Fills the index from the store; yields how many secrets there are. Blocks, for about 10 µs a secret. Calls go on
    /// meanwhile.
    ///
    /// # Errors
    /// When the store fails; the index is then as unfilled as before.
    pub fn rebuild(&self) -> Result<usize, SealError> {
        if self.is_indexed() {
            return Ok(self.len());
        }
        let names = self.names()?;
        let (mut damaged, mut failed) = (0, None);
        self.store.scan(Table::Head, self.barrier.tenant_id(), &mut |key, sealed| {
            if let Some(path) = names.get(&key.index) {
                let place = Place::Head { path };
                let head = self.barrier.open(place, sealed).and_then(|(plain, _)| read_head(&plain));
                let stored = head.map_or_else(|_| Stored::unsound(key.index), |head| Stored::of(key.index, &head));
                self.index.add(path.clone(), stored);
                return true;
            }
            // made since the names were read, and known by its commit; or nameless
            match self.store.read(&self.name_key(key.index)) {
                Ok(Some(name)) if self.open_name(&key.index, &name).is_ok() => {}
                Ok(_) => damaged += 1,
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => {
                self.index.finish(damaged);
                Ok(self.len())
            }
        }
    }

    /// Whether the index is whole.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.index.is_whole()
    }

    /// To be asked before [`Self::list`], [`Self::scan`], [`Self::len`] and [`Self::copies`] are believed.
    ///
    /// # Errors
    /// [`SealError::Indexing`] until the index is whole.
    pub fn indexed(&self) -> Result<(), SealError> {
        if self.is_indexed() { Ok(()) } else { Err(SealError::Indexing) }
    }

    /// How many secrets have no readable name: they are in no listing, and found by their path only.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.index.damaged()
    }

    /// What is known of `path`. Exact at any time; where its head does not open, reading its value is the error.
    #[must_use]
    pub fn stored(&self, path: &SecretPath) -> Option<Stored> {
        match self.index.look_up(path) {
            Lookup::Known(stored) => Some(stored),
            Lookup::Absent => None,
            Lookup::Unknown => {
                let index = self.barrier.index(path);
                match self.head_at(path, index) {
                    Ok(head) => head.map(|head| Stored::of(index, &head)),
                    Err(_) => Some(Stored::unsound(index)),
                }
            }
        }
    }

    /// How many secrets the index knows, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The head of `path`.
    ///
    /// # Errors
    /// When the store fails or the record does not open.
    pub fn head(&self, path: &SecretPath) -> Result<Option<Head>, SealError> {
        self.head_at(path, self.barrier.index(path))
    }

    pub(super) fn head_at(&self, path: &SecretPath, index: [u8; 32]) -> Result<Option<Head>, SealError> {
        let plain = self.fetch(Place::Head { path }, &self.at(Table::Head, index, 0))?;
        plain.map(|plain| read_head(&plain)).transpose()
    }

    /// The value of one version; `None` if the store has none.
    ///
    /// # Errors
    /// When the store fails or the record does not open.
    pub fn value(&self, path: &SecretPath, version: u64) -> Result<Option<SecretValue>, SealError> {
        self.value_at(path, self.barrier.index(path), version)
    }

    /// The value of one version of a secret the index was asked about.
    ///
    /// # Errors
    /// As [`Self::value`]; always if the secret's head does not open.
    pub fn value_of(&self, path: &SecretPath, stored: &Stored, version: u64) -> Result<Option<SecretValue>, SealError> {
        if !stored.is_sound {
            return Err(SealError::Broken);
        }
        self.value_at(path, stored.index, version)
    }

    fn value_at(&self, path: &SecretPath, index: [u8; 32], version: u64) -> Result<Option<SecretValue>, SealError> {
        let plain = self.fetch(Place::Value { path, version }, &self.at(Table::Version, index, version))?;
        Ok(plain.map(|mut plain| SecretValue::new(std::mem::take(&mut *plain))))
    }

    /// Reads and opens one record.
    pub(super) fn fetch(&self, place: Place<'_>, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        let Some(sealed) = self.store.read(key)? else { return Ok(None) };
        let error = match self.barrier.open(place, &sealed) {
            Ok((plain, _)) => return Ok(Some(plain)),
            Err(error) => error,
        };
        // a rotation may have sealed it again and dropped its old term between the two steps above
        match self.store.read(key)? {
            None => Ok(None),
            Some(again) if again != sealed => self.barrier.open(place, &again).map(|(plain, _)| Some(plain)),
            Some(_) => Err(error),
        }
    }

    /// What lies directly in `folder`, tombstones left out. Ask [`Self::indexed`] first.
    #[must_use]
    pub fn list(&self, folder: &Folder) -> Listing {
        self.index.list(folder)
    }

    /// Every secret path below `folder`, sorted, tombstones left out. Ask [`Self::indexed`] first.
    #[must_use]
    pub fn scan(&self, folder: &Folder) -> Vec<SecretPath> {
        self.index.scan(folder)
    }

    /// Shows every secret, tombstones included, sorted by path. Ask [`Self::indexed`] first. Changes made meanwhile may or
    /// may not be seen.
    pub fn copies(&self, visit: impl FnMut(&SecretPath, &Stored)) {
        self.index.each(visit);
    }

    /// Forgets the values of a secret that are held in memory only; nothing is removed.
    ///
    /// # Errors
    /// When the head cannot be read.
    pub fn evict(&self, path: &SecretPath) -> Result<(), SealError> {
        let index = self.barrier.index(path);
        for version in self.head_at(path, index)?.unwrap_or_default().versions.keys() {
            self.store.evict(&self.at(Table::Version, index, *version));
        }
        Ok(())
    }

    /// Every readable name by index.
    pub(super) fn names(&self) -> Result<HashMap<[u8; 32], SecretPath>, SealError> {
        let mut names = HashMap::new();
        self.store.scan(Table::Name, self.barrier.tenant_id(), &mut |key, sealed| {
            // one that does not open is counted when its head is met
            if let Ok(path) = self.open_name(&key.index, sealed) {
                names.insert(key.index, path);
            }
            true
        })?;
        Ok(names)
    }

    fn open_name(&self, index: &[u8; 32], sealed: &Sealed) -> Result<SecretPath, SealError> {
        let (plain, _) = self.barrier.open(Place::Name { index }, sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| SealError::Form)?;
        SecretPath::parse(text).map_err(|_| SealError::Form)
    }

    pub(super) fn name_key(&self, index: [u8; 32]) -> RecordKey {
        self.at(Table::Name, index, 0)
    }

    pub(super) fn at(&self, table: Table, index: [u8; 32], version: u64) -> RecordKey {
        RecordKey { table, tenant: *self.barrier.tenant_id(), index, version }
    }
}

fn read_head(plain: &[u8]) -> Result<Head, SealError> {
    serde_json::from_slice(plain).map_err(|_| SealError::Form)
}
