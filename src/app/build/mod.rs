//! From a configuration to a snapshot: each part has a file of its own, and they meet here.

mod backend;
mod identity;
mod listener;
mod reach;
mod tenant;
mod webhooks;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use self::tenant::Scope;
use super::Ground;
use super::made::AllMade;
use super::touch::Touch;
use crate::config::{Config, Problem};
use crate::pipeline::Snapshot;
use crate::secret::SecretPath;
use crate::wire::frontend;

pub(super) use backend::{file_id, seal_credentials};
pub(super) use identity::{Credentials, directory};
pub(super) use listener::paths;
pub(super) use reach::{allowed, as_named, as_told_by};
pub(super) use tenant::{policies, router};
pub(super) use webhooks::webhooks;

/// What `dev` adds to a configuration.
#[derive(Clone, Default)]
pub struct Extras {
    /// Permit everything to everybody, and keep what no rule maps locally.
    pub dev: bool,
    /// The token that is needed then.
    pub root_token: Option<Arc<Zeroizing<String>>>,
    /// A file that holds a bare backend token, for backends that log in with the path given.
    pub token_file: Option<(SecretPath, PathBuf)>,
}

/// Builds what requests are decided by. Nothing is connected and nothing spawned.
///
/// # Errors
/// Everything that is wrong, by key path; the ground is as it was then.
pub(crate) fn build(
    config: &Config,
    made: &AllMade,
    extras: &Extras,
    ground: &Ground,
    generation: u64,
) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut tenants = HashMap::new();
    for settings in &config.tenants {
        let made = made.get(&settings.tenant).map(Vec::as_slice).unwrap_or_default();
        match tenant::state((config, settings), made, extras, ground, Scope::Whole(generation)) {
            Ok(state) => drop(tenants.insert(settings.tenant.clone(), Arc::new(state))),
            Err(found) => problems.extend(found),
        }
    }
    let mut listeners = Vec::new();
    for settings in &config.listeners {
        match listener::state(settings, config, ground) {
            Ok(state) => listeners.push(state),
            Err(found) => problems.extend(found),
        }
    }
    let (sessions, clock) = (ground.sessions.clone(), ground.clock.clone());
    match directory(config, extras, Credentials::Files, sessions, clock) {
        Ok(directory) if problems.is_empty() => {
            let (listeners, directory) = (Arc::new(listeners), Arc::new(directory));
            Ok(Snapshot { generation, listeners, directory, tenants })
        }
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

/// Builds anew what a change of one backend of the API touches: its tenant's table and view, and the backend. All else is
/// that of `current`, whatever has become of the files it was made of.
///
/// # Errors
/// Everything that is wrong with the tenant's backends, by key path; the ground is as it was then.
pub(super) fn rebuild(
    current: &Snapshot,
    touch: Touch<'_>,
    extras: &Extras,
    ground: &Ground,
) -> Result<Snapshot, Vec<Problem>> {
    let name = &touch.tenant.tenant;
    let unserved = || vec![Problem::new(touch.tenant.key_of("backends"), None, "the tenant is not served")];
    let before = current.tenants.get(name).ok_or_else(unserved)?;
    let scope = Scope::Backend(touch.id, before.policies.clone());
    let state = tenant::state((touch.config, touch.tenant), touch.made, extras, ground, scope)?;
    let mut tenants = current.tenants.clone();
    tenants.insert(name.clone(), Arc::new(state));
    let (listeners, directory) = (current.listeners.clone(), current.directory.clone());
    Ok(Snapshot { generation: touch.generation, listeners, directory, tenants })
}

/// What `explain` needs of a configuration: tables, policies and principals, without credentials, backends or files other
/// than policies. It can serve nobody.
///
/// # Errors
/// Everything that is wrong, by key path.
pub fn outline(config: &Config, extras: &Extras, ground: &Ground) -> Result<Snapshot, Vec<Problem>> {
    let mut tenants = HashMap::new();
    for settings in &config.tenants {
        tenants.insert(settings.tenant.clone(), Arc::new(tenant::outline(settings, extras, ground)?));
    }
    let served = config.listeners.iter().filter(|settings| frontend(settings.wire).is_some());
    let listeners: Result<Vec<_>, _> = served.map(|settings| listener::state(settings, config, ground)).collect();
    let (sessions, clock) = (ground.sessions.clone(), ground.clock.clone());
    let directory = directory(config, extras, Credentials::MadeUp, sessions, clock)?;
    Ok(Snapshot { generation: 1, listeners: Arc::new(listeners?), directory: Arc::new(directory), tenants })
}
