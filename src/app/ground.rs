//! What outlives a reload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::StoredJournal;
use super::keeper::{self, Keeper};
use super::tend::Tender;
use crate::backend::Backend;
use crate::clock::{Clock, SystemClock};
use crate::config::{BackendSettings, Config, Problem};
use crate::identity::Sessions;
use crate::pipeline::Snapshot;
use crate::seal::Records;
use crate::secret::{BackendId, Tenant};
use crate::sync::Copies;
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
    keeper: Keeper,
    records: Mutex<HashMap<Tenant, Arc<Records>>>,
    backends: Mutex<Clients>,
    /// Made for a snapshot that is not in use yet. A reload may still be rejected, and must then have changed nothing.
    staged: Mutex<Clients>,
    /// What is known of copies, by whose they are.
    copies: Mutex<HashMap<(Tenant, BackendId), Known>>,
}

/// The routes of a backend, and what is known of the copies made under them.
type Known = (Vec<u64>, Arc<Copies>);

impl Ground {
    /// Opens the store a configuration names, and every tenant's records.
    ///
    /// # Errors
    /// What is wrong with the store or its keys, by its key path.
    pub fn lay(config: &Config) -> Result<Self, Problem> {
        let ground = Self::on(Keeper::open(config)?)?;
        let failed = |text: String| Problem::new("store.path", None, text);
        keeper::wait(ground.admit(config)).map_err(failed)??;
        Ok(ground)
    }

    /// A ground that keeps nothing: for explaining a configuration.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn bare() -> Result<Self, Problem> {
        Self::on(Keeper::in_memory()?)
    }

    fn on(keeper: Keeper) -> Result<Self, Problem> {
        let failed = |text: String| Problem::new("seal", None, text);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sessions = match keeper.keyring() {
            Some(keyring) => Sessions::keyed(clock.clone(), &keyring.derive("identity")),
            None => Sessions::new(clock.clone()).map_err(|error| failed(error.to_string()))?,
        };
        let mut cursor_key = [0; 32];
        getrandom::fill(&mut cursor_key).map_err(|_| failed("the system's random source failed".to_owned()))?;
        Ok(Self {
            clock,
            metrics: Metrics::new(),
            sessions: Arc::new(sessions),
            tender: Tender::default(),
            cursors: Cursors::new(&cursor_key),
            keeper,
            records: Mutex::default(),
            backends: Mutex::default(),
            staged: Mutex::default(),
            copies: Mutex::default(),
        })
    }

    pub(super) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Opens the records of tenants that have none open yet, and takes up the tokens and revocations they keep.
    pub(super) async fn admit(&self, config: &Config) -> Result<(), Problem> {
        for tenant in &config.tenants {
            if locked(&self.records).contains_key(&tenant.tenant) {
                continue;
            }
            let records = self.keeper.records(&tenant.tenant).await;
            let records = records.map_err(|error| Problem::new("store.path", None, error.to_string()))?;
            if self.keeper.keyring().is_some() {
                let journal = Arc::new(StoredJournal(records.clone()));
                let restored = self.sessions.restore(&tenant.tenant, journal);
                restored.map_err(|error| Problem::new("store.path", None, error.to_string()))?;
            }
            locked(&self.records).insert(tenant.tenant.clone(), records);
        }
        Ok(())
    }

    /// A tenant's records; the same ones for as long as the process lives.
    ///
    /// # Errors
    /// When the store is a file and [`Self::admit`] has not seen the tenant.
    pub(super) fn records(&self, tenant: &Tenant) -> Result<Arc<Records>, Problem> {
        let mut known = locked(&self.records);
        if let Some(records) = known.get(tenant) {
            return Ok(records.clone());
        }
        let unknown = || Problem::new("store.path", None, format!("the records of tenant {tenant} are not open"));
        let records = self.keeper.records_now(tenant).ok_or_else(unknown)?;
        known.insert(tenant.clone(), records.clone());
        Ok(records)
    }

    /// The records of tenants whose index nobody fills yet.
    pub(super) fn unindexed(&self) -> Vec<Arc<Records>> {
        self.all_records().into_iter().filter(|records| !records.is_indexed()).collect()
    }

    /// Every tenant's records.
    pub(super) fn all_records(&self) -> Vec<Arc<Records>> {
        locked(&self.records).values().cloned().collect()
    }

    /// What is known of a backend's copies: as before if its routes are the same, else nothing.
    pub(super) fn copies(&self, tenant: &Tenant, id: &BackendId, routes: &[u64]) -> Arc<Copies> {
        let kept = locked(&self.copies);
        let kept = kept.get(&(tenant.clone(), id.clone())).filter(|(known, _)| known == routes);
        kept.map_or_else(|| Arc::new(Copies::new(routes.len())), |(_, copies)| copies.clone())
    }

    /// The client of a backend with these settings that is in use.
    pub(super) fn in_use(&self, tenant: &Tenant, settings: &BackendSettings) -> Option<Arc<dyn Backend>> {
        let backends = locked(&self.backends);
        let kept = backends.get(&(tenant.clone(), settings.name.clone()));
        kept.filter(|kept| kept.settings.config == settings.config).map(|kept| kept.client.clone())
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
        let replicas = snapshot.tenants.values().flat_map(|tenant| &tenant.backends).filter_map(|b| b.replica.as_ref());
        let known = replicas.map(|replica| {
            let routes = replica.rules.iter().map(|rule| rule.route).collect();
            ((replica.tenant.clone(), replica.id.clone()), (routes, replica.copies.clone()))
        });
        *locked(&self.copies) = known.collect();
    }
}

// Whole entries are put in and taken out: a panic in between leaves none half.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
