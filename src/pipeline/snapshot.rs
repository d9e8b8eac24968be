//! What requests are decided by: one immutable value, made from one configuration and swapped whole. Its parts are shared
//! with the next one where that leaves them as they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::{FederationView, LocalLimits};
use crate::backend::Backend;
use crate::identity::Directory;
use crate::mapping::{Route, Router, RuleId, Table};
use crate::policy::Policies;
use crate::seal::Records;
use crate::secret::{BackendId, RuleSettings, SecretPath, Tenant, WireKind};
use crate::sync::Replica;
use crate::wire::{Frontend, ListenerFacts};

/// Everything a request needs.
pub struct Snapshot {
    /// Counts up with every reload.
    pub generation: u64,
    /// In the order of the configuration.
    pub listeners: Arc<Vec<ListenerState>>,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// By tenant.
    pub tenants: HashMap<Tenant, Arc<TenantState>>,
}

/// One listener.
pub struct ListenerState {
    /// Its key path in the configuration.
    pub key: Box<str>,
    /// Where it listens.
    pub address: Box<str>,
    /// Its wire.
    pub kind: WireKind,
    /// Its protocol.
    pub frontend: Box<dyn Frontend>,
    /// What the protocol knows of it.
    pub facts: ListenerFacts,
    /// Table 1: wire names to secret paths.
    pub paths: Table,
    /// Whether everything that arrives is the tenant's workload.
    pub workload: bool,
    /// Whose logins without a namespace these are.
    pub tenant: Tenant,
}

/// One tenant.
pub struct TenantState {
    /// Table 2: secret paths to backends.
    pub router: Arc<Router>,
    /// What its principals may do.
    pub policies: Arc<Policies>,
    /// In the order of the configuration.
    pub backends: Vec<BackendState>,
    /// By backend and rule: which segment of the remote name marks KV version 2. Known without any backend, too.
    pub kv2_segments: Vec<Vec<Option<usize>>>,
    /// Its local secrets.
    pub records: Arc<Records>,
    /// Paths kept from wires.
    pub guarded: HashMap<SecretPath, Guard>,
    /// What its local secrets live by.
    pub limits: LocalLimits,
    /// What the API shows of its backends.
    pub federation: Arc<FederationView>,
}

/// How a path is kept from wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It does not exist for clients: `secrets:` holds it.
    Hidden,
    /// Clients may write it and never read it: a backend or webhook uses it.
    WriteOnly,
}

/// One backend.
pub struct BackendState {
    /// Its identifier.
    pub id: BackendId,
    /// Its configured name.
    pub name: Box<str>,
    /// Its client.
    pub client: Arc<dyn Backend>,
    /// By rule: which segment of the remote name marks KV version 2.
    pub kv2_segments: Vec<Option<usize>>,
    /// By rule: how its paths are served, copied and written.
    pub rules: Vec<RuleSettings>,
    /// Its copies, if any of its rules is synced.
    pub replica: Option<Arc<Replica>>,
}

impl TenantState {
    /// Whether a path is kept from a wire: hidden ones always, write-only ones unless this is a write.
    #[must_use]
    pub fn is_guarded(&self, path: &SecretPath, is_write: bool) -> bool {
        match self.guarded.get(path) {
            None => false,
            Some(Guard::Hidden) => true,
            Some(Guard::WriteOnly) => !is_write,
        }
    }

    /// The backend that is asked first where a route leads; `None` for the local store.
    #[must_use]
    pub fn backend(&self, route: &Route) -> Option<&BackendState> {
        self.backends.get(route.targets.first()?.backend as usize)
    }

    /// Which segment of a rule's remote names marks KV version 2.
    #[must_use]
    pub fn kv2_segment(&self, rule: RuleId) -> Option<usize> {
        *self.kv2_segments.get(rule.backend as usize)?.get(rule.rule as usize)?
    }
}
