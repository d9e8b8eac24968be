//! Backends that came over the API: kept as sealed documents, one a backend, and served behind those of the file.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ground;
use crate::config::{
    AllowedEndpoints, BackendSettings, Config, Problem, TenantConfig, compile_backend, why_unsupported,
};
use crate::seal::{DocumentKind, SealError};
use crate::secret::{BackendId, Tenant};

/// One of them.
#[derive(Clone)]
pub(crate) struct Made {
    pub(super) id: BackendId,
    /// As it is kept: the client's own object, its rules as a list.
    pub(super) body: Value,
    pub(super) settings: BackendSettings,
}

/// By tenant, in the order they were made.
pub(crate) type AllMade = HashMap<Tenant, Vec<Made>>;

/// A backend's document.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Orders them.
    made_at: u64,
    body: Value,
}

impl Made {
    /// Why it is kept and not served: this release cannot, or its login is ours and is not lent to it (any more).
    pub(super) fn unsupported(&self, allowed: &AllowedEndpoints) -> Option<&'static str> {
        why_unsupported(&self.settings).or_else(|| allowed.why_not_as_us(&self.settings))
    }
}

/// Whether the store outlives the process, which decides what a sync pulls.
pub(super) fn is_durable(config: &Config) -> bool {
    config.store.path.is_some()
}

/// Reads those of every tenant that is not among `all`.
///
/// # Errors
/// A document that does not open or is no longer valid: serving on without it would quarantine its copies.
pub(super) fn load(config: &Config, ground: &Ground, mut all: AllMade) -> Result<AllMade, Vec<Problem>> {
    let mut problems = Vec::new();
    for tenant in &config.tenants {
        if all.contains_key(&tenant.tenant) {
            continue;
        }
        match of_tenant(tenant, is_durable(config), ground) {
            Ok(made) => drop(all.insert(tenant.tenant.clone(), made)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

fn of_tenant(tenant: &TenantConfig, durable: bool, ground: &Ground) -> Result<Vec<Made>, Vec<Problem>> {
    // a tenant's own key, so that nobody else is told
    let broken = |id: &str, text: String| vec![Problem::new(tenant.key_of(&format!("backends({id})")), None, text)];
    let records = ground.records(&tenant.tenant).map_err(|problem| vec![problem])?;
    let documents = records.documents(DocumentKind::Backend).map_err(|error| broken("-", error.to_string()))?;
    let mut kept = Vec::new();
    for (text, content) in documents {
        let id = BackendId::parse(&text).ok_or_else(|| broken("-", "its id is none".to_owned()))?;
        let document: Kept = serde_json::from_slice(&content)
            .map_err(|_| broken(&text, "its document is not of the expected form".to_owned()))?;
        kept.push((document.made_at, id, document.body));
    }
    kept.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    kept.into_iter()
        .map(|(_, id, body)| {
            let settings = compile_backend(&body.to_string(), durable).map_err(|problems| {
                problems.into_iter().flat_map(|problem| broken(id.as_str(), problem.to_string())).collect::<Vec<_>>()
            })?;
            Ok(Made { id, body, settings })
        })
        .collect()
}

/// Keeps one, or forgets it.
///
/// # Errors
/// When the store does not take it; what was kept before stays.
pub(super) async fn keep(
    ground: &Ground,
    tenant: &Tenant,
    id: &BackendId,
    made: Option<&Made>,
) -> Result<(), SealError> {
    let records = ground.records(tenant).map_err(|problem| SealError::Key(problem.to_string()))?;
    let made_at = match made {
        None => return records.put_document(DocumentKind::Backend, id.as_str(), None).await,
        Some(_) => {
            let before = records.document(DocumentKind::Backend, id.as_str())?;
            let before = before.and_then(|content| serde_json::from_slice::<Kept>(&content).ok());
            before.map_or_else(|| ground.clock.now().micros(), |kept| kept.made_at)
        }
    };
    let document = made.map(|made| Kept { made_at, body: made.body.clone() });
    let content = serde_json::to_vec(&document).map_err(|_| SealError::Form)?;
    records.put_document(DocumentKind::Backend, id.as_str(), Some(&content)).await
}
