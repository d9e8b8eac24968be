//! What outlives a reload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Clients by tenant and backend name.
type Clients = HashMap<(Tenant, String), Kept>;

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
    backends: Mutex<Clients>,
    /// Made for a snapshot that is not in use yet. A reload may still be rejected, and must then have changed nothing.
    staged: Mutex<Clients>,
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
            staged: Mutex::default(),
        })
    }

    /// The root key's bytes, for deriving the audit key.
    pub(super) fn root(&self) -> &[u8] {
        self.root.bytes()
    }

    /// A tenant's records; the same ones for as long as the process lives.
    pub(super) fn records(&self, tenant: &Tenant) -> Arc<Records> {
        let mut records = locked(&self.records);
        let open = || {
            // a store in memory belongs to this process only, so its id needs no place to be kept
            let barrier = Barrier::new(&self.root, [0; 16], tenant);
            Arc::new(Records::new(barrier, self.store.clone()))
        };
        records.entry(tenant.clone()).or_insert_with(open).clone()
    }

    /// A backend's client: the one in use, if neither its settings nor the files they name have changed, else a new one.
    pub(super) fn backend(
        &self,
        tenant: &Tenant,
        settings: &BackendSettings,
        files: Vec<u8>,
        make: impl FnOnce() -> Result<Arc<dyn Backend>, Problem>,
    ) -> Result<Arc<dyn Backend>, Problem> {
        let key = (tenant.clone(), settings.name.clone());
        let is_same = |kept: &&Kept| kept.settings.config == settings.config && kept.files == files;
        let in_use = locked(&self.backends).get(&key).filter(is_same).map(|kept| kept.client.clone());
        if let Some(client) = in_use {
            return Ok(client);
        }
        let client = make()?;
        let kept = Kept { settings: settings.clone(), files, client: client.clone() };
        locked(&self.staged).insert(key, kept);
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
        let is_used = |kept: &Kept| used.iter().any(|client| Arc::ptr_eq(client, &kept.client));
        // what a rejected reload staged is not used, and must not replace what is
        let staged = std::mem::take(&mut *locked(&self.staged));
        let mut backends = locked(&self.backends);
        backends.extend(staged.into_iter().filter(|(_, kept)| is_used(kept)));
        backends.retain(|_, kept| is_used(kept));
        drop(backends);
        self.tender.keep(used);
    }
}

// Whole entries are put in and taken out: a panic in between leaves none half.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::app::{Extras, build};
    use crate::config::{Config, compile_text};

    fn config(port: u16) -> Config {
        let text = format!(
            "version: 1\nlisteners: [{{wire: vault}}]\nsecrets: {{infra/x: {{file: x}}}}\nbackends: [{{name: v, \
             type: hashicorp-vault, config: {{endpoint: 'http://127.0.0.1:{port}', auth_method: token, \
             auth_config_path: infra/x}}, path_mapping: [{{from: 'a/**', to: 'secret/data/**'}}]}}]\n"
        );
        compile_text(&text, Path::new("/nowhere")).unwrap()
    }

    fn built(ground: &Ground, port: u16) -> (Snapshot, Arc<dyn Backend>) {
        let snapshot =
            build(&config(port), &Extras::default(), ground, 1).map_err(|found| format!("{found:?}")).unwrap();
        let client = snapshot.tenants[&Tenant::default_tenant()].backends[0].client.clone();
        (snapshot, client)
    }

    #[test]
    fn a_rejected_reload_leaves_the_clients_in_use_alone() {
        let ground = Ground::lay(None).unwrap();
        let (snapshot, first) = built(&ground, 1);
        ground.settle(&snapshot);
        let (rejected, changed) = built(&ground, 2);
        drop(rejected);
        assert!(!Arc::ptr_eq(&first, &changed));

        let (snapshot, again) = built(&ground, 1);
        assert!(Arc::ptr_eq(&first, &again), "a login was thrown away for a configuration that was never in use");
        ground.settle(&snapshot);
        let (snapshot, still) = built(&ground, 1);
        assert!(Arc::ptr_eq(&first, &still));
        drop(snapshot);

        let (snapshot, changed) = built(&ground, 2);
        ground.settle(&snapshot);
        let (_, kept) = built(&ground, 2);
        assert!(Arc::ptr_eq(&changed, &kept), "an accepted one is in use from then on");
    }
}
