//! What every [`super::Copies`] of one backend shares, however often its routes change: who writes what, since when the
//! backend denies us, and which routes are synced at all.
//!
//! INVARIANT: only the engine says which routes are synced, before anybody can see the replica it says it of.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use tokio::sync::Notify;

use super::lock;
use crate::secret::SecretPath;

#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// Microseconds; 0: the backend does not deny us.
    pub(super) denied_since: AtomicU64,
    pub(super) claims: Mutex<HashSet<SecretPath>>,
    pub(super) released: Notify,
    /// Routes that the newest replica syncs; `None` while no engine has said so.
    synced: Mutex<Option<HashSet<u64>>>,
    /// Routes whose memory the backend's station has to forget.
    dropped: Mutex<HashSet<u64>>,
}

impl Lineage {
    pub(super) fn keep_routes(&self, routes: HashSet<u64>) {
        *lock(&self.synced) = Some(routes);
    }

    /// Whether a route is synced, as far as anybody said; `otherwise` if nobody did.
    pub(super) fn syncs(&self, route: u64, otherwise: bool) -> bool {
        lock(&self.synced).as_ref().map_or(otherwise, |routes| routes.contains(&route))
    }

    pub(super) fn drop_routes(&self, routes: impl IntoIterator<Item = u64>) {
        lock(&self.dropped).extend(routes);
    }

    pub(super) fn take_dropped(&self) -> HashSet<u64> {
        std::mem::take(&mut *lock(&self.dropped))
    }
}
