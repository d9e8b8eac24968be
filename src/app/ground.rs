//! What outlives a reload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::app::tend::Tender;
use crate::backend::Backend;
use crate::clock::{Clock, SystemClock};
use crate::config::{BackendSettings, Problem, SealConfig, SealKey};
use crate::identity::Sessions;
use crate::pipeline::Snapshot;
use crate::seal::{Barrier, EnvKey, FileKey, KeyProvider, RandomKey, Records, RootKey};
use crate::secret::Tenant;
use crate::store::{MemoryStore, Store};
use crate::telemetry::Metrics;
use crate::wire::Cursors;

/// A backend's client, and what it was made from.
struct Kept {
    settings: BackendSettings,
    files: Vec<u8>,
    client: Arc<dyn Backend>,
}

/// Everything a snapshot stands on.
pub struct Ground {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// The registry.
    pub metrics: Metrics,
    /// What identity issued at run time.
    pub sessions: Arc<Sessions>,
    /// Keeps backends' credentials alive.
    pub tender: Tender,
    pub(super) cursors: Cursors,
    root: RootKey,
    store: Arc<dyn Store>,
    records: Mutex<HashMap<Tenant, Arc<Records>>>,
    backends: Mutex<HashMap<(Tenant, String), Kept>>,
}

impl Ground {
    /// Reads the root key and prepares an empty store.
    ///
    /// # Errors
    /// What is wrong with the root key, by its key path.
    pub fn lay(seal: Option<&SealConfig>) -> Result<Self, Problem> {
        let failed = |text: String| Problem::new("seal", None, text);
        let root = root_key(seal).map_err(|error| failed(error.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sessions = Sessions::new(clock.clone()).map_err(|error| failed(error.to_string()))?;
        let mut cursor_key = [0; 32];
        getrandom::fill(&mut cursor_key).map_err(|_| failed("the system's random source failed".to_owned()))?;
        Ok(Self {
            clock,
            metrics: Metrics::new(),
            sessions: Arc::new(sessions),
            tender: Tender::default(),
            cursors: Cursors::new(&cursor_key),
            root,
            store: Arc::new(MemoryStore::default()),
            records: Mutex::default(),
            backends: Mutex::default(),
        })
    }

    /// The root key's bytes, for deriving the audit key.
    pub(super) fn root(&self) -> &[u8] {
        self.root.bytes()
    }

    /// A tenant's records; the same ones for as long as the process lives.
    pub(super) fn records(&self, tenant: &Tenant) -> Arc<Records> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            // a store in memory belongs to this process only, so its id needs no place to be kept
            let barrier = Barrier::new(&self.root, [0; 16], tenant);
            Arc::new(Records::new(barrier, self.store.clone()))
        };
        records.entry(tenant.clone()).or_insert_with(open).clone()
    }

    /// A backend's client: the one there is, if neither its settings nor the files they name have changed.
    pub(super) fn backend(
        &self,
        tenant: &Tenant,
        settings: &BackendSettings,
        files: Vec<u8>,
        make: impl FnOnce() -> Result<Arc<dyn Backend>, Problem>,
    ) -> Result<Arc<dyn Backend>, Problem> {
        let key = (tenant.clone(), settings.name.clone());
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = backends.get(&key)
            && kept.settings.config == settings.config
            && kept.files == files
        {
            return Ok(kept.client.clone());
        }
        let client = make()?;
        let kept = Kept { settings: settings.clone(), files, client: client.clone() };
        backends.insert(key, kept);
        Ok(client)
    }
}

impl Ground {
    /// Tends exactly a snapshot's backends from now on, and forgets the clients it does not use.
    pub(super) fn settle(&self, snapshot: &Snapshot) {
        let used: Vec<_> = snapshot
            .tenants
            .values()
            .flat_map(|tenant| &tenant.backends)
            .map(|backend| backend.client.clone())
            .collect();
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.retain(|_, kept| used.iter().any(|client| Arc::ptr_eq(client, &kept.client)));
        drop(backends);
        self.tender.keep(used);
    }
}

fn root_key(seal: Option<&SealConfig>) -> Result<RootKey, crate::seal::SealError> {
    match seal.map(|seal| &seal.current) {
        None => RandomKey.root_key(),
        Some(SealKey::File { path }) => FileKey(path.clone()).root_key(),
        Some(SealKey::Env { variable }) => EnvKey(variable.clone()).root_key(),
        Some(SealKey::Passphrase(_) | SealKey::Service { .. }) => {
            Err(crate::seal::SealError::Key("this provider is not served by this release".to_owned()))
        }
    }
}
