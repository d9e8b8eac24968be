//! One tenant's secrets in a store: sealed heads, sealed values, and an index of names kept in memory.
//!
//! INVARIANT: the index changes only after the store accepted the batch, under the tenant's one writer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::{Barrier, Kind, Place, SealError};
use crate::clock::Timestamp;
use crate::secret::{Folder, Metadata, SecretPath, SecretType, SecretValue};
use crate::store::{Batch, RecordKey, Sealed, Store, Table};

/// A secret's settings and versions, as sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Custom metadata.
    pub metadata: Metadata,
    /// The newest version; 0 if none.
    pub current: u64,
    /// Microseconds since the epoch.
    pub created: u64,
    /// Microseconds since the epoch.
    pub updated: u64,
    /// Whether every write must name the version it replaces.
    pub cas_required: bool,
    /// How many versions are kept; 0 means the store's setting.
    pub max_versions: u64,
    /// Seconds after which a version deletes itself; 0 means never.
    pub delete_after_secs: u64,
    /// By version.
    pub versions: BTreeMap<u64, HeadVersion>,
}

/// One version, as its head knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadVersion {
    /// Microseconds since the epoch.
    pub created: u64,
    /// When it was or will be deleted, microseconds since the epoch.
    pub deleted: Option<u64>,
    /// Whether the value is gone.
    pub destroyed: bool,
    /// `json`, `text` or `binary`.
    pub secret_type: String,
}

impl HeadVersion {
    /// Whether the value may be read at `now`.
    #[must_use]
    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deleted.is_none_or(|at| at > now.micros())
    }

    /// How to understand the value.
    #[must_use]
    pub fn secret_type(&self) -> SecretType {
        SecretType::parse(&self.secret_type).unwrap_or(SecretType::Binary)
    }
}

/// What the index knows of a secret: enough to answer a read of the current version with one record.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Under which blind index the records lie, so that a read does not compute it again.
    index: [u8; 32],
    /// The newest version; 0 if none.
    pub current: u64,
    /// What is known of the newest version.
    pub version: HeadVersion,
    /// Custom metadata, shared.
    pub metadata: Option<Arc<Metadata>>,
}

/// What lies directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Secrets, by their last segment, sorted.
    pub leaves: Vec<String>,
    /// Folders, by their last segment, sorted.
    pub folders: Vec<String>,
}

/// One tenant's door to a store.
pub struct Records {
    barrier: Barrier,
    store: Arc<dyn Store>,
    index: RwLock<BTreeMap<SecretPath, Stored>>,
    writer: Mutex<()>,
}

impl Records {
    /// A tenant's records in an empty store.
    #[must_use]
    pub fn new(barrier: Barrier, store: Arc<dyn Store>) -> Self {
        Self { barrier, store, index: RwLock::default(), writer: Mutex::default() }
    }

    /// What the index knows of `path`.
    #[must_use]
    pub fn stored(&self, path: &SecretPath) -> Option<Stored> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// How many secrets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The head of `path`.
    ///
    /// # Errors
    /// When the store fails or the record does not open.
    pub fn head(&self, path: &SecretPath) -> Result<Option<Head>, SealError> {
        let Some(sealed) = self.store.read(&self.key(Table::Head, path, 0))? else { return Ok(None) };
        let (plain, _) = self.barrier.open(Place { kind: Kind::Head, path, version: 0 }, &sealed)?;
        let head: Head = serde_json::from_slice(&plain).map_err(|_| SealError::Form)?;
        Ok(Some(head))
    }

    /// The value of one version; `None` if the store has none.
    ///
    /// # Errors
    /// When the store fails or the record does not open.
    pub fn value(&self, path: &SecretPath, version: u64) -> Result<Option<SecretValue>, SealError> {
        self.open(path, self.key(Table::Version, path, version))
    }

    /// The value of one version of a secret the index was asked about.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn value_of(&self, path: &SecretPath, stored: &Stored, version: u64) -> Result<Option<SecretValue>, SealError> {
        self.open(path, RecordKey { table: Table::Version, index: stored.index, version })
    }

    fn open(&self, path: &SecretPath, key: RecordKey) -> Result<Option<SecretValue>, SealError> {
        let Some(sealed) = self.store.read(&key)? else { return Ok(None) };
        let place = Place { kind: Kind::Value, path, version: key.version };
        let (mut plain, _) = self.barrier.open(place, &sealed)?;
        Ok(Some(SecretValue::new(std::mem::take(&mut *plain))))
    }

    /// What lies directly in `folder`, in steps of one look-up a child.
    #[must_use]
    pub fn list(&self, folder: &Folder) -> Listing {
        let prefix = if folder.is_root() { String::new() } else { format!("{folder}/") };
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut listing = Listing::default();
        let mut from = prefix.clone();
        while let Some(name) = next_below(&index, &from, &prefix) {
            if let Some((child, _)) = name.split_once('/') {
                listing.folders.push(child.to_owned());
                // '0' follows '/': the first text after everything below this child folder
                from = format!("{prefix}{child}0");
            } else {
                listing.leaves.push(name.to_owned());
                from = format!("{prefix}{name}\0");
            }
        }
        listing
    }

    /// Every secret path below `folder`, sorted.
    #[must_use]
    pub fn scan(&self, folder: &Folder) -> Vec<SecretPath> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.keys().filter(|path| folder.holds(path)).cloned().collect()
    }

    /// Takes the tenant's one writer; hold it from reading a head to committing its successor.
    pub async fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().await
    }

    /// Stores a head, optionally a new value, and drops the values of `gone`.
    ///
    /// # Errors
    /// When nothing was kept.
    pub async fn commit(
        &self,
        _writer: &MutexGuard<'_, ()>,
        path: &SecretPath,
        head: &Head,
        value: Option<(u64, &SecretValue)>,
        gone: &[u64],
    ) -> Result<(), SealError> {
        let at = Timestamp::from_micros(head.updated);
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(head).map_err(|_| SealError::Form)?);
        let sealed = self.barrier.seal(Place { kind: Kind::Head, path, version: 0 }, at, &plain)?;
        let mut batch = Batch::default();
        batch.put.push((self.key(Table::Head, path, 0), sealed));
        if let Some((version, value)) = value {
            let sealed = self.seal_value(path, version, at, value)?;
            batch.put.push((self.key(Table::Version, path, version), sealed));
        }
        batch.remove.extend(gone.iter().map(|version| self.key(Table::Version, path, *version)));
        self.store.commit(batch).await?;
        self.remember(path, head);
        Ok(())
    }

    /// Removes a secret with everything it has.
    ///
    /// # Errors
    /// When nothing was removed.
    pub async fn purge(&self, _writer: &MutexGuard<'_, ()>, path: &SecretPath, head: &Head) -> Result<(), SealError> {
        let mut batch = Batch::default();
        batch.remove.push(self.key(Table::Head, path, 0));
        batch.remove.extend(head.versions.keys().map(|version| self.key(Table::Version, path, *version)));
        self.store.commit(batch).await?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(path);
        Ok(())
    }

    fn seal_value(
        &self,
        path: &SecretPath,
        version: u64,
        at: Timestamp,
        value: &SecretValue,
    ) -> Result<Sealed, SealError> {
        self.barrier.seal(Place { kind: Kind::Value, path, version }, at, value.expose())
    }

    fn remember(&self, path: &SecretPath, head: &Head) {
        let stored = Stored {
            index: self.barrier.index(path),
            current: head.current,
            version: head.versions.get(&head.current).cloned().unwrap_or_default(),
            metadata: (!head.metadata.is_empty()).then(|| Arc::new(head.metadata.clone())),
        };
        self.index.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), stored);
    }

    fn key(&self, table: Table, path: &SecretPath, version: u64) -> RecordKey {
        RecordKey { table, index: self.barrier.index(path), version }
    }
}

/// The first indexed name at or after `from` that lies below `prefix`, without the prefix.
fn next_below<'a>(index: &'a BTreeMap<SecretPath, Stored>, from: &str, prefix: &str) -> Option<&'a str> {
    let (path, _) = index.range::<str, _>((Bound::Included(from), Bound::Unbounded)).next()?;
    path.as_str().strip_prefix(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{KeyProvider as _, RandomKey};
    use crate::secret::Tenant;
    use crate::store::MemoryStore;

    fn records() -> Records {
        let root = RandomKey.root_key().unwrap();
        Records::new(Barrier::new(&root, [0; 16], &Tenant::default_tenant()), Arc::new(MemoryStore::default()))
    }

    async fn put(records: &Records, path: &str) {
        let path = SecretPath::parse(path).unwrap();
        let head = Head { current: 1, ..Head::default() };
        let value = SecretValue::copy_of(b"v");
        let writer = records.writer().await;
        records.commit(&writer, &path, &head, Some((1, &value)), &[]).await.unwrap();
    }

    #[tokio::test]
    async fn listing_yields_each_child_once_and_only_children() {
        let records = records();
        for path in ["a/b", "a/b/c", "a/b0", "a/bc/d", "a/bc/e", "ab/x", "z"] {
            put(&records, path).await;
        }
        let listing = records.list(&Folder::parse("a").unwrap());
        assert_eq!(listing.leaves, ["b", "b0"]);
        assert_eq!(listing.folders, ["b", "bc"]);
        let root = records.list(&Folder::root());
        assert_eq!((root.leaves, root.folders), (vec!["z".to_owned()], vec!["a".to_owned(), "ab".to_owned()]));
        assert_eq!(records.scan(&Folder::parse("a/b").unwrap()).len(), 1);
    }

    #[tokio::test]
    async fn what_is_purged_is_gone_from_store_and_index() {
        let records = records();
        put(&records, "a").await;
        let path = SecretPath::parse("a").unwrap();
        let mut head = records.head(&path).unwrap().unwrap();
        head.versions.insert(1, HeadVersion::default());
        let writer = records.writer().await;
        records.purge(&writer, &path, &head).await.unwrap();
        assert!(records.head(&path).unwrap().is_none());
        assert!(records.value(&path, 1).unwrap().is_none());
        assert!(records.stored(&path).is_none());
    }
}
