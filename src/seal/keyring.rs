//! A store's keys: the root key, wrapped by a provider, and under it the keys of each tenant, all kept in the store.
//!
//! INVARIANT: what is wrapped or sealed anew is read back and opened before what it replaces goes, and it replaces it in
//! one commit. A process that ends at any step leaves a store that opens with the keys it had or with the new ones.
//! Tenants' keys are asked for once; the store is changed by one process.

use std::sync::Arc;

use ring::hmac;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::barrier::tenant_id;
use super::locked::Pinned;
use super::tenant_keys::TenantKeys;
use super::{Barrier, KeyProvider, Opened, Records, RootKey, SealError, Wrapped, envelope};
use crate::secret::Tenant;
use crate::store::{Batch, Store, Table};

const STORE_ID: &str = "store_id";
const ROOT: &str = "root";
const PROCESS: &str = "process";
const TENANTS: &str = "tenant.";
/// In front of what a rotation has written and not put in force.
const NEXT: &str = "next.";
const BLOB: &str = "key blob v1";

/// What a rotation of a tenant's keys did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The term in force.
    pub term: u32,
    /// How many records were sealed again.
    pub resealed: usize,
}

/// The keys of one store.
pub struct Keyring {
    store: Arc<dyn Store>,
    store_id: [u8; 16],
    root: Mutex<RootKey>,
    process: Pinned<hmac::Key>,
    /// One tenant's rotation at a time.
    rotating: Mutex<()>,
}

impl Keyring {
    /// Opens the keys of `store`, or makes them if it is new. A store that is still sealed by `previous` is sealed by
    /// `current` from now on. What an interrupted rotation left is removed.
    ///
    /// # Errors
    /// When neither provider unwraps the root key, or something of the keys is missing or was changed.
    pub async fn open(
        store: Arc<dyn Store>,
        current: &dyn KeyProvider,
        previous: Option<&dyn KeyProvider>,
    ) -> Result<Self, SealError> {
        let Some(store_id) = store.meta(STORE_ID)? else { return Self::found(store, current).await };
        let store_id = <[u8; 16]>::try_from(store_id.as_slice()).map_err(|_| SealError::Form)?;
        let wrapped = read_wrapped(store.meta(ROOT)?)?;
        let root = match current.unwrap(&store_id, &wrapped).await {
            Ok(root) => RootKey::new(root),
            Err(error) => {
                let Some(previous) = previous else { return Err(error) };
                let root = RootKey::new(previous.unwrap(&store_id, &wrapped).await.map_err(|_| error)?);
                let meta = vec![(ROOT.to_owned(), Some(wrap(current, &store_id, &root).await?))];
                store.commit(Batch { meta, ..Batch::default() }).await?;
                root
            }
        };
        let left = store.metas(NEXT)?;
        if !left.is_empty() {
            let meta = left.into_iter().map(|(key, _)| (key, None)).collect();
            store.commit(Batch { meta, ..Batch::default() }).await?;
        }
        let process = store.meta(PROCESS)?.ok_or_else(missing)?;
        let process = open_blob(&root, &store_id, PROCESS, &process)?;
        Ok(Self::with(store, store_id, root, &process))
    }

    /// Makes the keys of a new store.
    async fn found(store: Arc<dyn Store>, provider: &dyn KeyProvider) -> Result<Self, SealError> {
        if !store.is_empty()? || store.meta(ROOT)?.is_some() || !store.metas(TENANTS)?.is_empty() {
            return Err(missing());
        }
        let mut store_id = [0; 16];
        getrandom::fill(&mut store_id).map_err(|_| SealError::Random)?;
        let root = RootKey::new(envelope::random_key()?);
        let process = envelope::random_key()?;
        let meta = vec![
            (STORE_ID.to_owned(), Some(store_id.to_vec())),
            (ROOT.to_owned(), Some(wrap(provider, &store_id, &root).await?)),
            (PROCESS.to_owned(), Some(seal_blob(&root, &store_id, PROCESS, process.as_slice())?)),
        ];
        store.commit(Batch { meta, ..Batch::default() }).await?;
        Ok(Self::with(store, store_id, root, process.as_slice()))
    }

    fn with(store: Arc<dyn Store>, store_id: [u8; 16], root: RootKey, process: &[u8]) -> Self {
        let process = Pinned::new(hmac::Key::new(hmac::HMAC_SHA512, process));
        Self { store, store_id, root: Mutex::new(root), process, rotating: Mutex::default() }
    }

    /// The store's identity: 16 random bytes, not secret.
    #[must_use]
    pub const fn store_id(&self) -> &[u8; 16] {
        &self.store_id
    }

    /// A key for `purpose` that is the same for as long as the store lives, whatever is rotated: for audit digests,
    /// session keys and the like. Never for records.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut digest = hmac::Context::with_key(&self.process);
        digest.update(b"process v1");
        digest.update(purpose.as_bytes());
        let mut key = Zeroizing::new([0; 32]);
        envelope::fill(key.as_mut_slice(), digest.sign().as_ref());
        key
    }

    /// The barrier of a tenant, with the keys it has in this store or with new ones. Ask once a tenant: a rotation reaches
    /// the [`Records`] it is given and no other.
    ///
    /// # Errors
    /// When the keys do not open, are missing though there are records, or cannot be kept.
    pub async fn barrier(&self, tenant: &Tenant) -> Result<Barrier, SealError> {
        let root = self.root.lock().await;
        let id = tenant_id(&self.store_id, tenant);
        let keys = match self.load(&root, &id)? {
            Some(keys) => keys,
            None if self.has_records(&id)? => return Err(missing()),
            None => {
                let keys = TenantKeys::random()?;
                self.save(&root, &id, &keys).await?;
                keys
            }
        };
        Ok(Barrier::with_keys(&keys, self.store_id, tenant))
    }

    fn has_records(&self, tenant: &[u8; 16]) -> Result<bool, SealError> {
        let mut found = false;
        for table in Table::ALL {
            self.store.scan(table, tenant, &mut |_, _| {
                found = true;
                false
            })?;
        }
        Ok(found)
    }

    /// Puts a new root key in force: every tenant's keys are sealed under it, read back and opened, and then replace what
    /// there was in one commit. `provider` wraps the new key; it may be another than the one before.
    ///
    /// # Errors
    /// When any step fails; the old key is in force then.
    pub async fn rotate_root(&self, provider: &dyn KeyProvider) -> Result<(), SealError> {
        let mut root = self.root.lock().await;
        let fresh = RootKey::new(envelope::random_key()?);
        let mut staged = Batch::default();
        staged.meta.push((next(ROOT), Some(wrap(provider, &self.store_id, &fresh).await?)));
        for (key, plain) in self.blobs(&root)? {
            staged.meta.push((next(&key), Some(seal_blob(&fresh, &self.store_id, &key, &plain)?)));
        }
        self.store.commit(staged).await?;
        let (fresh, promoted) = match self.verified(provider, &root).await {
            Ok(verified) => verified,
            Err(error) => {
                let meta = self.store.metas(NEXT)?.into_iter().map(|(key, _)| (key, None)).collect();
                self.store.commit(Batch { meta, ..Batch::default() }).await?;
                return Err(error);
            }
        };
        self.store.commit(promoted).await?;
        *root = fresh;
        Ok(())
    }

    /// Reads back what a rotation has written; yields the new root key and the commit that puts it in force.
    async fn verified(&self, provider: &dyn KeyProvider, old: &RootKey) -> Result<(RootKey, Batch), SealError> {
        let wrapped = self.store.meta(&next(ROOT))?.ok_or(SealError::Form)?;
        let root = provider.unwrap(&self.store_id, &read_wrapped(Some(wrapped.clone()))?).await?;
        let root = RootKey::new(root);
        let mut meta = vec![(ROOT.to_owned(), Some(wrapped)), (next(ROOT), None)];
        for (key, plain) in self.blobs(old)? {
            let blob = self.store.meta(&next(&key))?.ok_or(SealError::Form)?;
            if open_blob(&root, &self.store_id, &key, &blob)? != plain {
                return Err(SealError::Broken);
            }
            meta.push((next(&key), None));
            meta.push((key, Some(blob)));
        }
        Ok((root, Batch { meta, ..Batch::default() }))
    }

    /// Everything that lies under the root key, opened.
    fn blobs(&self, root: &RootKey) -> Result<Vec<Opened>, SealError> {
        let mut blobs = self.store.metas(TENANTS)?;
        blobs.push((PROCESS.to_owned(), self.store.meta(PROCESS)?.ok_or_else(missing)?));
        let mut opened = Vec::with_capacity(blobs.len());
        for (key, blob) in blobs {
            let plain = open_blob(root, &self.store_id, &key, &blob)?;
            opened.push((key, plain));
        }
        Ok(opened)
    }

    /// Starts a new term for a tenant, seals its records again under it and forgets the older terms. Calls go on
    /// meanwhile; run it on a task of its own, it blocks its thread while it looks for records.
    ///
    /// # Errors
    /// When a step fails or a record does not open. New records are sealed under the new term by then, the older terms
    /// stay, and [`Self::finish_rotation`] takes it up again.
    pub async fn rotate_tenant(&self, records: &Records) -> Result<Rotation, SealError> {
        let _rotating = self.rotating.lock().await;
        {
            let root = self.root.lock().await;
            let mut keys = self.load(&root, records.barrier.tenant_id())?.ok_or_else(missing)?;
            keys.add_term()?;
            self.save(&root, records.barrier.tenant_id(), &keys).await?;
            renew(records, &keys).await;
        }
        self.finish(records).await
    }

    /// Takes up a tenant's rotation that was interrupted; does nothing if there is none. To be called after a start.
    ///
    /// # Errors
    /// As [`Self::rotate_tenant`].
    pub async fn finish_rotation(&self, records: &Records) -> Result<Rotation, SealError> {
        let _rotating = self.rotating.lock().await;
        self.finish(records).await
    }

    async fn finish(&self, records: &Records) -> Result<Rotation, SealError> {
        let id = records.barrier.tenant_id();
        let term = records.barrier.active_term();
        let terms = {
            let root = self.root.lock().await;
            self.load(&root, id)?.ok_or_else(missing)?.terms().len()
        };
        if terms < 2 {
            return Ok(Rotation { term, resealed: 0 });
        }
        let resealed = records.reseal().await?;
        let mut left = 0;
        for table in Table::ALL {
            left += records.stale(table)?.len();
        }
        if left > 0 {
            return Err(SealError::Key(format!(
                "{left} records do not open and could not be sealed again; the older terms of their keys are kept"
            )));
        }
        let root = self.root.lock().await;
        let mut keys = self.load(&root, id)?.ok_or_else(missing)?;
        keys.drop_old_terms();
        self.save(&root, id, &keys).await?;
        renew(records, &keys).await;
        Ok(Rotation { term, resealed })
    }

    fn load(&self, root: &RootKey, tenant: &[u8; 16]) -> Result<Option<TenantKeys>, SealError> {
        let name = tenant_name(tenant);
        let Some(blob) = self.store.meta(&name)? else { return Ok(None) };
        TenantKeys::from_bytes(&open_blob(root, &self.store_id, &name, &blob)?).map(Some)
    }

    /// Keeps a tenant's keys, and opens what was kept.
    async fn save(&self, root: &RootKey, tenant: &[u8; 16], keys: &TenantKeys) -> Result<(), SealError> {
        let name = tenant_name(tenant);
        let blob = seal_blob(root, &self.store_id, &name, &keys.to_bytes())?;
        if open_blob(root, &self.store_id, &name, &blob)? != keys.to_bytes() {
            return Err(SealError::Broken);
        }
        let meta = vec![(name, Some(blob))];
        self.store.commit(Batch { meta, ..Batch::default() }).await?;
        let kept = self.load(root, tenant)?.ok_or_else(missing)?;
        if kept.to_bytes() == keys.to_bytes() { Ok(()) } else { Err(SealError::Broken) }
    }
}

/// Puts terms in force between two commits, when nothing sealed under others is on its way.
async fn renew(records: &Records, keys: &TenantKeys) {
    let _sealing = records.sealing.write().await;
    records.finish_commits().await;
    records.barrier.renew(keys);
}

fn missing() -> SealError {
    SealError::Key("the store has lost keys that its records need; restore a copy of it".to_owned())
}

fn next(key: &str) -> String {
    format!("{NEXT}{key}")
}

fn tenant_name(tenant: &[u8; 16]) -> String {
    format!("{TENANTS}{}", envelope::hex(tenant))
}

fn seal_blob(root: &RootKey, store_id: &[u8; 16], name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    envelope::seal(root.bytes(), BLOB, [store_id, name.as_bytes()], plain)
}

fn open_blob(root: &RootKey, store_id: &[u8; 16], name: &str, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    envelope::open(root.bytes(), BLOB, [store_id, name.as_bytes()], blob)
}

fn read_wrapped(stored: Option<Vec<u8>>) -> Result<Wrapped, SealError> {
    let stored = stored.ok_or_else(missing)?;
    serde_json::from_slice(&stored).map_err(|_| SealError::Form)
}

/// Wraps a root key and unwraps it again, as it will be read.
async fn wrap(provider: &dyn KeyProvider, store_id: &[u8; 16], root: &RootKey) -> Result<Vec<u8>, SealError> {
    let wrapped = provider.wrap(store_id, root.whole()).await?;
    let text = serde_json::to_vec(&wrapped).map_err(|_| SealError::Form)?;
    let read: Wrapped = serde_json::from_slice(&text).map_err(|_| SealError::Form)?;
    if provider.unwrap(store_id, &read).await? == *root.whole() {
        return Ok(text);
    }
    Err(SealError::Key(format!("seal.provider {} does not unwrap what it wrapped", provider.kind())))
}
