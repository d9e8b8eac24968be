//! What the room promises as a whole: over stores that end, fail, lie and are opened again.

mod crash;
mod keys;
mod records;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Head, HeadVersion, KeyProvider, Keyring, Records, RootKey, SealError, Wrapped};
use crate::secret::{SecretPath, SecretValue, Tenant};
use crate::store::tests::{Scratch, leaves_the_rest_to_inner};
use crate::store::{Batch, MemoryStore, RecordKey, Sealed, Store, StoreError};

/// A provider whose key is one byte over and over.
struct Fixed(u8);

impl Fixed {
    fn key(&self) -> RootKey {
        RootKey::new(Zeroizing::new([self.0; 32]))
    }
}

#[async_trait]
impl KeyProvider for Fixed {
    fn kind(&self) -> &'static str {
        "fixed"
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        self.key().wrap(self.kind(), store_id, root, serde_json::Value::Null)
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        self.key().unwrap(self.kind(), store_id, wrapped, "a test's key")
    }
}

/// A store whose process ends after so many commits; the last one may or may not have reached the disk.
struct Mortal {
    inner: Arc<MemoryStore>,
    left: AtomicI64,
    keeps_last: bool,
}

impl Mortal {
    fn new(inner: &Arc<MemoryStore>, commits: i64, keeps_last: bool) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), left: AtomicI64::new(commits), keeps_last })
    }
}

#[async_trait]
impl Store for Mortal {
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
        self.inner.read(key)
    }

    leaves_the_rest_to_inner!();

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1.. => self.inner.commit(batch).await,
            0 if self.keeps_last => {
                self.inner.commit(batch).await?;
                Err(StoreError::Closed)
            }
            _ => Err(StoreError::Closed),
        }
    }
}

fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

/// A tenant's records in a store that may hold some, with an unfilled index.
async fn unfilled(store: &Arc<dyn Store>, key: &dyn KeyProvider, tenant: &str) -> (Keyring, Records) {
    let keyring = Keyring::open(store.clone(), key, None).await.unwrap();
    let barrier = keyring.barrier(&Tenant::parse(tenant).unwrap()).await.unwrap();
    (keyring, Records::open(barrier, store.clone()))
}

/// As [`unfilled`], with the index filled.
async fn opened(store: &Arc<dyn Store>, key: &dyn KeyProvider) -> (Keyring, Records) {
    let (keyring, records) = unfilled(store, key, "default").await;
    records.rebuild().unwrap();
    (keyring, records)
}

/// A head with this one version.
fn head(version: u64) -> Head {
    let mut head = Head { current: version, created: 1, updated: version, ..Head::default() };
    let known = HeadVersion { created: version, secret_type: "text".to_owned(), ..HeadVersion::default() };
    head.versions.insert(version, known);
    head
}

/// Writes one version of a secret, as the only one its head lists.
async fn put(records: &Records, name: &str, version: u64, value: &str) -> Result<(), SealError> {
    let value = SecretValue::copy_of(value.as_bytes());
    let writer = records.writer().await;
    records.commit(&writer, &path(name), &head(version), Some((version, &value)), &[]).await
}

fn text(value: Option<SecretValue>) -> Option<String> {
    value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
}

/// The current value, the way requests read it.
fn current(records: &Records, name: &str) -> Result<Option<String>, SealError> {
    let path = path(name);
    let Some(stored) = records.stored(&path) else { return Ok(None) };
    records.value_of(&path, &stored, stored.current).map(text)
}
