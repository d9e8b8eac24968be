//! Lists: the union of everything that can yield a child of the folder, each name only if it leads back to where it came
//! from. One source that fails makes the list fail: an incomplete list looks like deletions.

use std::collections::{BTreeSet, VecDeque};

use super::{BackendState, Line, TenantState, proxy};
use crate::audit::{Facts, Grants};
use crate::backend::{Ask, Listed};
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::{FolderKind, ListSource, RuleId};
use crate::policy::{Denial, Permit, Resource};
use crate::secret::{
    Action, Dialect, Folder, ListOptions, Mode, NativeReply, Operation, Outcome, RemoteName, Reply, SecretAction,
    SecretCall, VersionSelector,
};
use crate::wire::{Fault, Shape, WireResponse};

const MAX_BACKEND_CALLS: usize = 1000;

/// One folder of secret paths that a wire folder stands for.
struct Place {
    folder: Folder,
    permit: Permit,
}

/// What a walk may still do and has found.
struct Walk<'w> {
    wire_folder: &'w str,
    calls_left: usize,
    names: BTreeSet<String>,
    native: Option<NativeReply>,
    is_pure: bool,
}

impl Line<'_> {
    pub(super) async fn list(
        &self,
        operation: Operation,
        secret: SecretCall,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        let wire_folder = secret.name.as_ref().map_or("", |name| name.as_str());
        let (places, fixed) = self.places(tenant, caller, wire_folder).await?;
        let (options, deep) = match secret.action {
            SecretAction::Scan(options) => (options, true),
            SecretAction::List(options) => (options, false),
            _ => return Err(Fault::of(ErrorKind::Internal)),
        };
        let mut walk = Walk {
            wire_folder,
            calls_left: MAX_BACKEND_CALLS,
            names: fixed,
            native: None,
            is_pure: !deep && options == ListOptions::default() && places.len() == 1,
        };
        walk.is_pure &= walk.names.is_empty();
        let Some(first) = places.first() else { return Err(Fault::of(ErrorKind::NotFound)) };
        let grants = Grants::folder(first.permit.clone(), first.folder.clone());
        let receipt = self.admit(caller, operation, grants).await?;
        let mut facts = Facts::default();
        let result = self.collect(tenant, &places, deep, secret.dialect, &mut walk, &mut facts).await;
        let (reply, more) = match result {
            Err(fault) => (Err(fault), false),
            Ok(()) => match walk.native.take().filter(|_| walk.is_pure) {
                Some(native) => (Ok(Reply::Native(native)), false),
                None => {
                    let (names, more) = page(walk.names, &options);
                    facts.outcome_count = Some(names.len());
                    (Ok(Reply::Neutral(Outcome::Names(names))), more)
                }
            },
        };
        let disclosure = self.disclose(receipt, facts, reply).await?;
        Ok(self.encode_secret(shape, disclosure, None, Mode::Local, more))
    }

    /// The folders that may be listed. Those that may not are left out; if none is left the list is refused.
    async fn places(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        wire_folder: &str,
    ) -> Result<(Vec<Place>, BTreeSet<String>), Fault> {
        let (mut places, mut fixed) = (Vec::new(), BTreeSet::new());
        let mut denial: Option<(Folder, Denial)> = None;
        for source in self.state.paths.folders(wire_folder) {
            let (folder, name) = match source.kind {
                FolderKind::Children { folder } => (folder, None),
                FolderKind::Fixed { name, target } => (parent(&target).to_owned(), Some(name)),
                FolderKind::Flat { .. } => return Err(Fault::of(ErrorKind::Unsupported)),
            };
            let Ok(folder) = Folder::parse(&folder) else { continue };
            match self.decide(tenant, caller, Action::List, Resource::Folder(&folder), Mode::Local) {
                Ok(permit) => match name {
                    None => places.push(Place { folder, permit }),
                    Some(name) => {
                        fixed.insert(name);
                        if places.is_empty() {
                            places.push(Place { folder, permit });
                        }
                    }
                },
                Err(no) => denial = Some((folder, no)),
            }
        }
        if places.is_empty() {
            return Err(self.no_place(caller, denial).await);
        }
        Ok((places, fixed))
    }

    async fn no_place(&self, caller: &Caller, denial: Option<(Folder, Denial)>) -> Fault {
        let refusal = match denial {
            Some((folder, denial)) => {
                let path = (!folder.is_root()).then(|| Box::from(folder.as_str()));
                crate::audit::Refusal::Denied { path, denial, rule: None }
            }
            None => crate::audit::Refusal::Unmapped { path: None },
        };
        self.refused(Some(caller), refusal, Fault::of(ErrorKind::Denied)).await
    }

    async fn collect(
        &self,
        tenant: &TenantState,
        places: &[Place],
        deep: bool,
        dialect: Dialect,
        walk: &mut Walk<'_>,
        facts: &mut Facts,
    ) -> Result<(), Fault> {
        for place in places {
            let mut open = VecDeque::from([(place.folder.clone(), String::new())]);
            while let Some((folder, below)) = open.pop_front() {
                let children = self.children(tenant, &folder, &below, dialect, walk, facts).await?;
                for child in children {
                    match child.strip_suffix('/') {
                        Some(name) if deep => {
                            if let Ok(path) = folder.join(name) {
                                open.push_back((Folder::from(path), format!("{below}{child}")));
                            }
                        }
                        _ => drop(walk.names.insert(format!("{below}{child}"))),
                    }
                }
            }
        }
        Ok(())
    }

    /// The children of one folder over all its sources.
    async fn children(
        &self,
        tenant: &TenantState,
        folder: &Folder,
        below: &str,
        dialect: Dialect,
        walk: &mut Walk<'_>,
        facts: &mut Facts,
    ) -> Result<BTreeSet<String>, Fault> {
        let mut children = BTreeSet::new();
        let sources = tenant.router.list(folder);
        walk.is_pure &= sources.len() == 1;
        let wire_folder = walk.wire_folder;
        for source in sources {
            let (rule, backend, kind) = match source {
                ListSource::Local => {
                    let place = Source { tenant, folder, below, rule: None, wire_folder };
                    let listing = tenant.records.list(folder);
                    let folders = listing.folders.into_iter().map(|name| format!("{name}/"));
                    let found = listing.leaves.into_iter().chain(folders);
                    children.extend(found.filter(|child| self.leads_back(&place, child)));
                    continue;
                }
                ListSource::Backend { rule, backend, kind, .. } => (rule, backend, kind),
            };
            let Some(state) = tenant.backends.get(backend as usize) else { continue };
            let remote = match kind {
                FolderKind::Flat { .. } => return Err(Fault::of(ErrorKind::Unsupported)),
                FolderKind::Fixed { name, .. } if name.ends_with('/') => {
                    children.insert(name);
                    continue;
                }
                FolderKind::Fixed { name, target } => {
                    let found = self.exists(tenant, state, rule, &target, walk).await?;
                    children.extend(found.then_some(name));
                    continue;
                }
                FolderKind::Children { folder } => folder,
            };
            let Some(remote) = RemoteName::parse(&remote) else { continue };
            walk.spend()?;
            let ask =
                Ask { remote: &remote, kv2_segment: tenant.kv2_segment(rule), dialect, request_id: &self.id_text };
            let listed = state.client.list(ask).await;
            let Listed { names, native } = listed.map_err(|error| proxy::fault(&error, &self.id_text))?;
            facts.backend = Some(state.name.clone());
            facts.remote = Some(Box::from(remote.as_str()));
            facts.cache = Some("live");
            let found = names.len();
            let place = Source { tenant, folder, below, rule: Some(rule), wire_folder };
            children.extend(names.into_iter().filter(|child| self.leads_back(&place, child)));
            walk.is_pure &= children.len() == found;
            walk.native = native;
        }
        Ok(children)
    }

    /// Whether the one secret a rule can yield here is there.
    async fn exists(
        &self,
        tenant: &TenantState,
        state: &BackendState,
        rule: RuleId,
        target: &str,
        walk: &mut Walk<'_>,
    ) -> Result<bool, Fault> {
        let kv2_segment = tenant.kv2_segment(rule);
        let Some(remote) = RemoteName::parse(target).filter(|remote| is_holdable(remote, kv2_segment)) else {
            return Ok(false);
        };
        walk.spend()?;
        let ask = Ask { remote: &remote, kv2_segment, dialect: Dialect::Neutral, request_id: &self.id_text };
        let found = match kv2_segment {
            Some(_) => state.client.describe(ask).await,
            None => state.client.read(ask, &VersionSelector::Current).await,
        };
        let found = found.map_err(|error| proxy::fault(&error, &self.id_text))?;
        Ok(!matches!(found, Reply::Neutral(Outcome::NotFound)))
    }

    /// Whether the client's own name for a child leads back to the source that named it.
    fn leads_back(&self, source: &Source<'_>, child: &str) -> bool {
        let Source { tenant, folder, below, rule, wire_folder } = source;
        let (name, is_folder) = child.strip_suffix('/').map_or((child, false), |name| (name, true));
        let Ok(path) = folder.join(name) else { return false };
        let joint = if wire_folder.is_empty() { "" } else { "/" };
        let wire_name = format!("{wire_folder}{joint}{below}{name}");
        let paths = &self.state.paths;
        if is_folder {
            let here = Folder::from(path);
            let yields = (0..paths.rules().count()).any(|table1| paths.could_yield(table1, &wire_name));
            return yields && rule.is_none_or(|rule| tenant.router.could_yield(rule, &here));
        }
        let forward = paths.forward(&wire_name);
        let known = forward.is_some_and(|mapped| mapped.name == path.as_str()) && !tenant.is_guarded(&path, false);
        known && tenant.router.resolve(&path).is_some_and(|route| route.rule == *rule)
    }
}

/// Where a child was named.
struct Source<'s> {
    tenant: &'s TenantState,
    folder: &'s Folder,
    below: &'s str,
    rule: Option<RuleId>,
    wire_folder: &'s str,
}

impl Walk<'_> {
    fn spend(&mut self) -> Result<(), Fault> {
        let detail = "the list needs more than 1,000 backend calls";
        self.calls_left = self.calls_left.checked_sub(1).ok_or(Fault::because(ErrorKind::Unsupported, detail))?;
        Ok(())
    }
}

/// Whether a remote name names a secret: in KV version 2 something must follow the marker.
pub(super) fn is_holdable(remote: &RemoteName, kv2_segment: Option<usize>) -> bool {
    kv2_segment.is_none_or(|marker| remote.as_str().split('/').count() > marker + 1)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Cuts a page out of all names: those after `after`, at most `limit`; and whether there are more.
fn page(names: BTreeSet<String>, options: &ListOptions) -> (Vec<String>, bool) {
    let after = options.after.as_deref();
    let mut rest = names.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
    let limit = options.limit.unwrap_or(usize::MAX);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    (page, rest.next().is_some())
}
