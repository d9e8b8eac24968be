//! Live reads: one admitted route, one backend call, nothing kept.

use super::TenantState;
use crate::audit::Facts;
use crate::backend::{Ask, Asker, BackendError};
use crate::error::ErrorKind;
use crate::identity::Principal;
use crate::mapping::Route;
use crate::secret::{Operation, Reply, SecretAction, SecretCall};
use crate::wire::Fault;

pub(super) async fn execute(
    tenant: &TenantState,
    secret: &SecretCall,
    route: &Route,
    principal: Option<&Principal>,
    request_id: &str,
) -> (Facts, Result<Reply, Fault>) {
    let target = route.targets.first();
    let backend = target.and_then(|target| tenant.backends.get(target.backend as usize));
    let (Some(target), Some(backend)) = (target, backend) else {
        return (Facts::default(), Err(Fault::of(ErrorKind::Internal)));
    };
    let kv2_segment = route.rule.and_then(|rule| tenant.kv2_segment(rule));
    let principal = principal.zip(secret.name.as_ref());
    let principal = principal.map(|(principal, name)| Asker { id: principal.id(), name: name.as_str() });
    let ask = Ask { remote: &target.remote, kv2_segment, dialect: secret.dialect, request_id, principal };
    let client = &backend.client;
    let result = match &secret.action {
        SecretAction::Read(version) => client.read(ask, version).await,
        SecretAction::Describe => client.describe(ask).await,
        SecretAction::Subkeys { version, depth } => client.subkeys(ask, version, *depth).await,
        SecretAction::Pass(call) => client.pass(ask, call, is_list(call)).await,
        _ => Err(BackendError::Unsupported),
    };
    let mut facts = Facts {
        backend: Some(backend.name.clone()),
        remote: Some(Box::from(target.remote.as_str())),
        cache: Some("live"),
        ..Facts::default()
    };
    if let Ok(Reply::Native(native)) = &result {
        facts.version = native.version;
        facts.upstream_request_id.clone_from(&native.request_id);
    }
    (facts, result.map_err(|error| fault(&error, request_id)))
}

fn is_list(call: &crate::secret::PassCall) -> bool {
    call.operation == Operation::PassList
}

/// What a client is told of a backend's trouble; the log gets our own words for it.
pub(super) fn fault(error: &BackendError, request_id: &str) -> Fault {
    tracing::warn!(request_id, error = %error, "the backend gave no usable answer");
    Fault { detail: error.detail(), retry_after: error.retry_after(), ..Fault::of(error.kind()) }
}
