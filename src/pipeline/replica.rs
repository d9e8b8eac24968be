//! Copied paths: reads from the copy, the backend only where the copy cannot answer, and writes as their rule says.

use super::execute::Executed;
use super::{BackendState, TenantState, proxy};
use crate::audit::Facts;
use crate::clock::{Clock, Timestamp};
use crate::error::ErrorKind;
use crate::mapping::{FolderKind, Route, RuleId};
use crate::secret::{
    Dialect, Folder, Mode, Outcome, Reply, SecretAction, SecretCall, SecretPath, SyncScope, VersionSelector, WriteMode,
};
use crate::sync::{Replica, ServeError, Served, WriteError};
use crate::wire::Fault;

/// Whether a path's rule lets it be written.
pub(super) fn is_writable(tenant: &TenantState, route: &Route) -> bool {
    match route.mode {
        Mode::Local => true,
        Mode::Proxy => false,
        Mode::Sync => {
            found(tenant, route).is_some_and(|(replica, rule, _)| replica.write_mode(rule.rule) != WriteMode::Disabled)
        }
    }
}

/// Reads from the copy at once, else from the backend.
pub(super) fn read<'c>(
    tenant: &'c TenantState,
    secret: &'c SecretCall,
    route: &'c Route,
    now: Timestamp,
    request_id: &'c str,
) -> Executed<'c> {
    let Some((replica, rule, state)) = found(tenant, route) else {
        return Executed::Live(Box::pin(proxy::execute(tenant, secret, route, None, request_id)));
    };
    let facts = Facts { backend: Some(state.name.clone()), ..Facts::default() };
    match replica.serve(rule.rule, &route.path, &secret.action, now) {
        Ok(Served::Reply { outcome, age_seconds, cache }) => {
            let facts = Facts { cache: Some(cache), age_seconds: Some(age_seconds), ..facts };
            Executed::Done(facts, Ok(Reply::Neutral(outcome)))
        }
        Ok(Served::Live) => Executed::Live(Box::pin(async move {
            let read = proxy::execute(tenant, secret, route, None, request_id).await;
            missed(replica, rule, route, read)
        })),
        Ok(Served::LiveAs { version, number }) => Executed::Live(Box::pin(async move {
            let action = of_version(&secret.action, version);
            let secret = SecretCall { name: None, action, dialect: Dialect::Neutral };
            let (facts, result) = proxy::execute(tenant, &secret, route, None, request_id).await;
            missed(replica, rule, route, (facts, result.map(|reply| numbered(reply, number))))
        })),
        Err(error) => Executed::Done(facts, Err(unserved(&error, request_id))),
    }
}

/// A read that went to the backend: what is read on demand is copied from now on.
fn missed(
    replica: &Replica,
    rule: RuleId,
    route: &Route,
    (facts, result): (Facts, Result<Reply, Fault>),
) -> (Facts, Result<Reply, Fault>) {
    let is_demanded = replica.rules.get(rule.rule as usize).is_some_and(|rule| rule.scope == SyncScope::Demand);
    if is_demanded && result.as_ref().is_ok_and(is_there) {
        replica.copies.want(rule.rule, &route.path);
    }
    (Facts { cache: Some("miss"), ..facts }, result)
}

/// Writes by the rule's `write_mode`. Called on the task of a write, after its intent line.
pub(super) async fn write(
    tenant: &TenantState,
    secret: SecretCall,
    route: &Route,
    clock: &dyn Clock,
    request_id: &str,
) -> (Facts, Result<Reply, Fault>) {
    let (Some((replica, rule, state)), Some(target)) = (found(tenant, route), route.targets.first()) else {
        return (Facts::default(), Err(Fault::of(ErrorKind::ReadOnly)));
    };
    let facts = Facts { backend: Some(state.name.clone()), ..Facts::default() };
    let result = replica.write(rule.rule, &route.path, &target.remote, secret.action, clock, request_id).await;
    (facts, result.map(Reply::Neutral).map_err(|error| unwritten(&error, request_id)))
}

/// The children of a folder by one synced rule, folders with a slash; `None` if the backend has to be asked.
pub(super) fn children(
    state: &BackendState,
    rule: RuleId,
    (folder, kind): (&Folder, &FolderKind),
    now: Timestamp,
    request_id: &str,
) -> Result<Option<Vec<String>>, Fault> {
    let Some(replica) = &state.replica else { return Ok(None) };
    if let FolderKind::Fixed { name, .. } = kind {
        let is_there = match name.strip_suffix('/') {
            // what a rule's literals spell out is a folder whether or not something is in it
            Some(_) => Some(true),
            None => match folder.join(name) {
                Ok(path) => replica.exists(rule.rule, &path, now).map_err(|error| unserved(&error, request_id))?,
                Err(_) => Some(false),
            },
        };
        return Ok(is_there.map(|is_there| is_there.then(|| name.clone()).into_iter().collect()));
    }
    let listing = replica.list(rule.rule, folder, now).map_err(|error| unserved(&error, request_id))?;
    Ok(listing.map(names))
}

/// What was written here, of one synced rule, and may not be in the backend's own list.
pub(super) fn ahead(state: &BackendState, rule: RuleId, folder: &Folder, now: Timestamp) -> Vec<String> {
    state.replica.as_ref().map(|replica| names(replica.list_ahead(rule.rule, folder, now))).unwrap_or_default()
}

/// Whether a path of a synced rule exists; `None` if the backend has to be asked.
pub(super) fn exists(
    state: &BackendState,
    rule: RuleId,
    path: &SecretPath,
    now: Timestamp,
    request_id: &str,
) -> Result<Option<bool>, Fault> {
    let Some(replica) = &state.replica else { return Ok(None) };
    replica.exists(rule.rule, path, now).map_err(|error| unserved(&error, request_id))
}

/// The local secrets directly in a folder, folders with a slash: copies are listed by their rules. A folder is named if a
/// read of something below it could be served: one that holds nothing but what is kept from wires is not there.
pub(super) fn local_children(tenant: &TenantState, folder: &Folder, now: Timestamp) -> Result<Vec<String>, Fault> {
    tenant.records.indexed().map_err(|error| Fault::of(error.kind()))?;
    let is_served = |path: &SecretPath| {
        !tenant.is_guarded(path, false) && tenant.router.resolve(path).is_some_and(|route| route.rule.is_none())
    };
    Ok(names(crate::sync::children(&tenant.records, folder, |path, stored| {
        stored.copy.is_none() && stored.is_there(now) && is_served(path)
    })))
}

fn found<'t>(tenant: &'t TenantState, route: &Route) -> Option<(&'t Replica, RuleId, &'t BackendState)> {
    let rule = route.rule.filter(|_| route.mode == Mode::Sync)?;
    let state = tenant.backends.get(rule.backend as usize)?;
    Some((state.replica.as_deref()?, rule, state))
}

fn names(listing: crate::seal::Listing) -> Vec<String> {
    let folders = listing.folders.into_iter().map(|name| format!("{name}/"));
    listing.leaves.into_iter().chain(folders).collect()
}

fn of_version(action: &SecretAction, version: VersionSelector) -> SecretAction {
    match action {
        SecretAction::Subkeys { depth, .. } => SecretAction::Subkeys { version, depth: *depth },
        _ => SecretAction::Read(version),
    }
}

/// The backend's version under the number it has here.
fn numbered(mut reply: Reply, number: u64) -> Reply {
    if let Reply::Neutral(Outcome::Record(record)) = &mut reply {
        record.info.version = number;
    }
    reply
}

/// Whether a reply says that there is something to copy.
fn is_there(reply: &Reply) -> bool {
    match reply {
        Reply::Native(native) => native.status.is_success(),
        Reply::Neutral(outcome) => !matches!(outcome, Outcome::NotFound),
    }
}

fn unserved(error: &ServeError, request_id: &str) -> Fault {
    tracing::warn!(request_id, error = %error, "a copy is not served");
    let detail = matches!(error, ServeError::Mislabelled).then_some(crate::secret::detail::LABEL_NOT_THERE);
    Fault { detail, ..Fault::of(error.kind()) }
}

fn unwritten(error: &WriteError, request_id: &str) -> Fault {
    if let WriteError::Pending(error) | WriteError::Metadata(error) | WriteError::Backend(error) = error {
        tracing::warn!(request_id, error = %error, "the backend did not carry out a write");
    }
    Fault { detail: error.detail(), retry_after: error.retry_after(), ..Fault::of(error.kind()) }
}
