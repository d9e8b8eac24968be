//! One backend as both the engine and the line see it.
//!
//! INVARIANT: a record is served only as a copy of the route that leads to it now; anything else at its path is as if it
//! were not there. A read never waits for the backend here: what the copy cannot answer is said to be live.

mod listing;
mod serve;

use std::sync::Arc;

pub use self::listing::children;
pub(super) use self::serve::remote_selector;
pub use self::serve::{ServeError, Served};
use super::copies::Copies;
use super::plan;
use crate::backend::Backend;
use crate::mapping::Router;
use crate::seal::{CopyStamp, Head, Origin, Records, SealError, Stored};
use crate::secret::{
    BackendId, ConflictOn, ConflictPolicy, Mode, OnBackendDelete, RateLimit, RemoteName, RuleSettings, SecretPath,
    SyncScope, Tenant, WriteMode,
};

/// One backend of one tenant. Immutable but for `copies`; a reload makes a new one, with the same `copies` if the
/// backend's id and its routes are the same.
pub struct Replica {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its identifier.
    pub id: BackendId,
    /// Its configured name.
    pub name: Box<str>,
    /// Its position in the router.
    pub index: u32,
    /// Its client.
    pub client: Arc<dyn Backend>,
    /// Where copies are kept.
    pub records: Arc<Records>,
    /// Table 2 of the tenant.
    pub router: Arc<Router>,
    /// How each rule's paths are served, copied and written.
    pub rules: Vec<RuleSettings>,
    /// What counts as a conflict.
    pub conflict_on: ConflictOn,
    /// Who wins one.
    pub conflict_policy: ConflictPolicy,
    /// What a deletion on the other side does to copies.
    pub on_backend_delete: OnBackendDelete,
    /// What a sync may ask for.
    pub rate_limit: Option<RateLimit>,
    /// What is copied before anything else.
    pub prefetch: Vec<SecretPath>,
    /// Larger values are neither copied nor written, in bytes.
    pub max_value_bytes: usize,
    /// What is known of the copies in memory.
    pub copies: Arc<Copies>,
}

/// What stands at a path in the store, as far as one rule is concerned.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing.
    Empty,
    /// A copy of the rule's route.
    Copy(Head),
    /// A copy of another route that holds nothing its backend did not have: it may be replaced.
    Spent(Head),
    /// A local secret, or a copy of another route with changes that are nowhere else.
    Foreign,
}

impl Replica {
    /// How the paths of a rule are written; not at all if there is no such rule.
    #[must_use]
    pub fn write_mode(&self, rule: u32) -> WriteMode {
        let settings = self.rules.get(rule as usize).filter(|settings| settings.mode == Mode::Sync);
        settings.map_or(WriteMode::Disabled, |settings| settings.write_mode)
    }

    /// Whether copies of a route may still be committed: a newer configuration may not sync it any more. Asked under the
    /// tenant's writer.
    pub(super) fn is_live(&self, route: u64) -> bool {
        self.copies.is_live(route)
    }

    /// Nothing earlier runs said of these routes holds any more: a missing copy of theirs is no missing secret.
    pub(super) fn forget_runs(&self, routes: &[u64]) {
        self.copies.drop_routes(routes.iter().copied());
        for (settings, rule) in self.rules.iter().zip(0_u32..) {
            if routes.contains(&settings.route) {
                self.copies.forget(rule);
            }
        }
    }

    /// What the index knows of a path.
    fn kept(&self, settings: &RuleSettings, path: &SecretPath) -> Kept {
        let Some(stored) = self.records.stored(path) else { return Kept::Nothing };
        match stored.copy.filter(|copy| copy.route == settings.route) {
            Some(copy) => Kept::Copy(stored, copy),
            None => Kept::Other,
        }
    }

    /// Whether everything the rule can name has been copied once.
    fn is_whole(&self, rule: u32, settings: &RuleSettings) -> bool {
        settings.mode == Mode::Sync && settings.scope == SyncScope::All && self.copies.whole(rule)
    }

    /// Whether a path without a copy does not exist.
    pub(super) fn knows_absent(&self, rule: u32, settings: &RuleSettings, path: &SecretPath) -> bool {
        self.is_whole(rule, settings) && !self.copies.is_failing(rule, path)
    }

    /// Whether a path of the rule is copied, or would be by its next run: all are, or somebody asked for this one.
    pub(super) fn follows(&self, rule: u32, path: &SecretPath) -> bool {
        let Some(settings) = self.rules.get(rule as usize) else { return false };
        let is_all = settings.scope == SyncScope::All;
        is_all
            || matches!(self.kept(settings, path), Kept::Copy(..))
            || self.copies.is_demanded(rule, path)
            || self.prefetch.contains(path)
    }

    /// What stands at a path, by its sealed head.
    pub(super) fn standing(&self, settings: &RuleSettings, path: &SecretPath) -> Result<Standing, SealError> {
        let Some(head) = self.records.head(path)? else { return Ok(Standing::Empty) };
        let Some(origin) = &head.origin else { return Ok(Standing::Foreign) };
        if origin.backend == self.id.as_str() && origin.route == settings.route {
            return Ok(Standing::Copy(head));
        }
        Ok(if plan::is_spent(&head, origin) { Standing::Spent(head) } else { Standing::Foreign })
    }

    /// Where a copy of the rule comes from, before anything was agreed on.
    pub(super) fn origin(&self, settings: &RuleSettings, remote: &RemoteName) -> Origin {
        Origin {
            backend: self.id.to_string(),
            remote: remote.as_str().to_owned(),
            route: settings.route,
            agreed: None,
            conflict: None,
        }
    }
}

/// What is kept at a path.
enum Kept {
    Nothing,
    /// A copy of the rule's route.
    Copy(Stored, CopyStamp),
    /// Something else, or what cannot be read.
    Other,
}

#[cfg(test)]
pub(super) mod tests;
