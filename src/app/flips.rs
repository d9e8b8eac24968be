//! Rules that are no longer synced although they lead where they led: their copies go, unless something is in them that is
//! nowhere else.

use std::sync::Arc;

use crate::config::{Config, Problem};
use crate::pipeline::Snapshot;
use crate::seal::SealError;
use crate::secret::{Mode, RuleSettings};
use crate::sync::Replica;

/// A replica and which of its rules flips.
pub(super) struct Flip {
    replica: Arc<Replica>,
    rule: u32,
}

/// What flips from one snapshot to the next. A rule that is gone flips nothing: its copies are quarantined.
pub(super) fn between(old: &Snapshot, next: &Snapshot) -> Vec<Flip> {
    let mut flips = Vec::new();
    for (tenant, state) in &old.tenants {
        for replica in state.backends.iter().filter_map(|backend| backend.replica.as_ref()) {
            let backends = next.tenants.get(tenant).map(|tenant| tenant.backends.as_slice()).unwrap_or_default();
            let Some(backend) = backends.iter().find(|backend| backend.id == replica.id) else { continue };
            for (rule, before) in (0_u32..).zip(&replica.rules) {
                let is_proxied = |after: &RuleSettings| after.route == before.route && after.mode == Mode::Proxy;
                if before.mode == Mode::Sync && backend.rules.iter().any(is_proxied) {
                    flips.push(Flip { replica: replica.clone(), rule });
                }
            }
        }
    }
    flips
}

/// Why copies cannot be given up.
pub(super) fn hindrances(config: &Config, flips: &[Flip]) -> Vec<Problem> {
    let mut found = Vec::new();
    for Flip { replica, rule } in flips {
        let key = format!("backends[{}].path_mapping[{rule}].mode", replica.index);
        let whose = config.tenants.iter().find(|tenant| tenant.tenant == replica.tenant);
        let key = whose.map_or(key.clone(), |tenant| tenant.key_of(&key));
        match replica.unsettled(Some(*rule)) {
            Ok(reasons) => found.extend(reasons.into_iter().map(|reason| Problem::new(key.clone(), None, reason))),
            Err(error) => found.push(Problem::new(key, None, error.to_string())),
        }
    }
    found
}

/// Removes the copies, once nobody is served from them any more.
pub(super) async fn purge(flips: &[Flip]) {
    match purge_all(flips).await {
        Ok(0) => {}
        Ok(purged) => tracing::info!(purged, "copies of rules that are no longer synced are gone"),
        Err(error) => tracing::error!(%error, "copies of rules that are no longer synced could not be removed"),
    }
}

async fn purge_all(flips: &[Flip]) -> Result<u64, SealError> {
    let mut purged = 0;
    for Flip { replica, rule } in flips {
        purged += replica.purge_copies(Some(*rule)).await?;
    }
    Ok(purged)
}
