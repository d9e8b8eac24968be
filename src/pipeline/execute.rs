//! What an admitted call does, and its end in the trail.

use std::pin::Pin;

use super::{LocalError, Pipeline, TenantState, local, proxy, replica};
use crate::audit::{AuditError, Disclosure, Facts, Grant, Receipt};
use crate::clock::{Clock, Timestamp};
use crate::error::ErrorKind;
use crate::secret::{Mode, Outcome, Reply, SecretAction, SecretCall};
use crate::wire::Fault;

/// A call to a backend, under way.
pub(super) type Live<'c> = Pin<Box<dyn Future<Output = (Facts, Result<Reply, Fault>)> + Send + 'c>>;

/// A call under way: what is here is answered at once, what is elsewhere is waited for.
#[expect(clippy::large_enum_variant, reason = "the large one is the one that must not cost an allocation")]
pub(super) enum Executed<'c> {
    Done(Facts, Result<Reply, Fault>),
    Live(Live<'c>),
}

/// Reads from where the admitted route leads.
pub(super) fn execute<'c>(
    tenant: &'c TenantState,
    secret: &'c SecretCall,
    receipt: &'c Receipt,
    now: Timestamp,
    request_id: &'c str,
) -> Executed<'c> {
    let Some(Grant { route, .. }) = receipt.grants().first() else {
        return Executed::Done(Facts::default(), Err(Fault::of(ErrorKind::Internal)));
    };
    if route.mode == Mode::Local {
        let result = local::read(&tenant.records, &route.path, &secret.action, now);
        let result = result.map(Reply::Neutral).map_err(|error| local_fault(&error));
        return Executed::Done(Facts::default(), result);
    }
    if route.mode == Mode::Sync && !matches!(secret.action, SecretAction::Pass(_)) {
        return replica::read(tenant, secret, route, now, request_id);
    }
    let principal = receipt.subject().principal.as_deref();
    Executed::Live(Box::pin(proxy::execute(tenant, secret, route, principal, request_id)))
}

pub(super) async fn write_local(
    tenant: &TenantState,
    secret: SecretCall,
    receipt: &Receipt,
    clock: &dyn Clock,
) -> (Facts, Result<Reply, Fault>) {
    let Some(Grant { route, .. }) = receipt.grants().first() else {
        return (Facts::default(), Err(Fault::of(ErrorKind::Internal)));
    };
    let result = local::write(&tenant.records, &route.path, secret.action, tenant.limits, clock.now()).await;
    (Facts::default(), result.map(Reply::Neutral).map_err(|error| local_fault(&error)))
}

fn local_fault(error: &LocalError) -> Fault {
    Fault { detail: error.detail(), ..Fault::of(error.kind()) }
}

/// Where there is nothing, there is no reply.
pub(super) fn found(result: Result<Reply, Fault>) -> Result<Reply, Fault> {
    match result {
        Ok(Reply::Neutral(Outcome::NotFound)) => Err(Fault::of(ErrorKind::NotFound)),
        other => other,
    }
}

/// Text and bytes of stores that hold only objects, for a wire that has them as they are.
pub(super) fn unwrap_value(reply: &mut Reply) {
    if let Reply::Neutral(Outcome::Record(record)) = reply {
        record.unwrap_value();
    }
}

pub(super) fn untaken(error: AuditError) -> Fault {
    Fault::of(error.kind())
}

/// The end of an admitted call in the trail, and its reply if the trail took it.
pub(super) async fn finish(
    pipeline: &Pipeline,
    receipt: Receipt,
    facts: Facts,
    result: Result<Reply, Fault>,
) -> Result<Disclosure, Fault> {
    match found(result) {
        Ok(reply) => pipeline.auditor.disclose(receipt, &facts, reply).await.map_err(untaken),
        Err(fault) => match pipeline.auditor.fail(receipt, &facts, fault.kind).await {
            Ok(()) => Err(fault),
            Err(error) => Err(untaken(error)),
        },
    }
}
