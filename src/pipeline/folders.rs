//! Lists: the union of everything that can yield a child of the folder, each name only if it leads back to where it came
//! from and its folder may be listed. One source that fails makes the list fail: an incomplete list looks like deletions.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::sources::below_of;
use super::window::Window;
use super::{Line, No, TenantState, proxy};
use crate::audit::{Facts, Grants, Refusal};
use crate::backend::{BackendError, Toll, tolled};
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::{FolderKind, ListSource, RuleId};
use crate::policy::{Denial, Permit, Resource};
use crate::secret::{
    Action, Call, Described, Dialect, Folder, ListOptions, Mode, NativeReply, Outcome, RemoteName, Reply, SecretAction,
    SecretPath,
};
use crate::wire::{Fault, Shape, WireResponse};

const MAX_BACKEND_CALLS: usize = 1000;
/// How far fixed parts of names are followed to something that may be listed.
const MAX_FIXED_DEPTH: usize = 32;
const TOO_MANY_CALLS: &str = "the list needs more than 1,000 backend calls";

/// How far a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The folder itself, which has to be allowed.
    Folder,
    /// It and everything below it.
    Below,
    /// All folders that may be listed, wherever they are below it.
    Allowed,
}

/// Whose folders are looked for, and which.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) tenant: &'s TenantState,
    pub(super) caller: &'s Caller,
    pub(super) extent: Extent,
    pub(super) window: &'s Window,
}

/// A folder and why it may not be listed.
type Refused = Option<(Folder, Denial)>;

/// One folder of secret paths that a wire folder stands for, and what of it the caller may list.
pub(super) struct Place {
    pub(super) folder: Folder,
    pub(super) permit: Permit,
    modes: Vec<Mode>,
    /// What literals of the listener's table put before its names.
    prefix: String,
}

/// Names that a table's literals spell out, with the permit that makes them visible.
#[derive(Default)]
pub(super) struct Fixed {
    names: BTreeSet<String>,
    pub(super) leaves: Vec<(String, SecretPath)>,
    pub(super) seen_by: Option<(Permit, Folder)>,
}

/// What a walk may still do and has found.
pub(super) struct Walk<'w> {
    pub(super) tenant: &'w TenantState,
    pub(super) caller: &'w Caller,
    pub(super) wire_folder: &'w str,
    pub(super) dialect: Dialect,
    pub(super) window: Window,
    budget: Arc<Budget>,
    pub(super) names: Names,
    pub(super) native: Option<NativeReply>,
    pub(super) is_pure: bool,
    pub(super) facts: Facts,
    /// What stores without folders listed, by backend and prefix: their folders are all in one list.
    pub(super) flat: Vec<FlatList>,
}

/// A backend, a prefix of its names, and the names with what the list told of them.
pub(super) type FlatList = (u32, String, Vec<(String, Option<Described>)>);

/// Names, and what a list told of them beside.
pub(super) type Names = BTreeMap<String, Option<Described>>;

impl Line<'_> {
    pub(super) async fn list(&self, call: Call, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let Call { operation, secret } = call;
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        let (options, extent) = match secret.action {
            SecretAction::Scan(options) => (options, Extent::Below),
            SecretAction::List(options) => (options, Extent::Folder),
            SecretAction::Catalogue(options) => return self.catalogue(operation, &options, caller, shape).await,
            _ => return Err(Fault::of(ErrorKind::Internal)),
        };
        let wire_folder = secret.name.as_ref().map_or("", |name| name.as_str());
        let everything = Window::all();
        let search = Search { tenant, caller, extent, window: &everything };
        let (places, fixed) = self.places(&search, wire_folder).await?;
        let (first, others) = match places.split_first() {
            Some((first, others)) => ((first.permit.clone(), first.folder.clone()), others),
            None => (fixed.seen_by.clone().ok_or(Fault::of(ErrorKind::Internal))?, [].as_slice()),
        };
        let receipt = self.admit(caller, operation, Grants::folder(first.0, first.1)).await?;
        let mut walk = Walk::new(tenant, caller, &fixed);
        (walk.wire_folder, walk.dialect) = (wire_folder, secret.dialect);
        walk.is_pure = extent == Extent::Folder
            && options == ListOptions::default()
            && places.len() == 1
            && fixed.names.is_empty()
            && fixed.leaves.is_empty();
        let result = self.collect(&places, &fixed.leaves, extent, &mut walk).await;
        let mut facts = std::mem::take(&mut walk.facts);
        let (reply, more) = match result {
            Err(fault) => (Err(fault), false),
            Ok(()) => match walk.native.take().filter(|_| walk.is_pure) {
                Some(native) => (Ok(Reply::Native(native)), false),
                None => {
                    let (names, more) = page(std::mem::take(&mut walk.names).into_keys(), &options);
                    facts.outcome_count = Some(names.len());
                    (Ok(Reply::Neutral(Outcome::Names(names))), more)
                }
            },
        };
        if reply.is_ok() {
            // every folder that was listed has its line before any name leaves
            for place in others {
                let grants = Grants::folder(place.permit.clone(), place.folder.clone());
                let further = self.admit(caller, operation, grants).await?;
                let _told = self.disclose(caller, further, Facts::default(), Ok(Reply::Neutral(Outcome::Done))).await?;
            }
        }
        let disclosure = self.disclose(caller, receipt, facts, reply).await?;
        Ok(self.encode_list(shape, disclosure, more))
    }

    /// Whether the caller may list a folder, and from which kinds of source: policy sees each source's own mode.
    pub(super) fn decide_list(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        folder: &Folder,
    ) -> Result<(Permit, Vec<Mode>), Denial> {
        let mut modes: Vec<Mode> = tenant.router.list(folder).iter().map(mode).collect();
        modes.sort_unstable();
        modes.dedup();
        if modes.is_empty() {
            modes.push(Mode::Local);
        }
        let (mut permit, mut denial, mut allowed) = (None, None, Vec::new());
        for mode in modes {
            match self.decide(tenant, caller, Action::List, Resource::Folder(folder), mode) {
                Ok(given) => {
                    permit = permit.or(Some(given));
                    allowed.push(mode);
                }
                Err(refused) => denial = Some(refused),
            }
        }
        match (permit, denial) {
            (Some(permit), _) => Ok((permit, allowed)),
            (None, Some(denial)) => Err(denial),
            // not reached: at least one mode was decided
            (None, None) => self
                .decide(tenant, caller, Action::List, Resource::Folder(folder), Mode::Local)
                .map(|permit| (permit, allowed)),
        }
    }

    /// The folders that may be listed. Those that may not are left out; if nothing is left the list is refused.
    pub(super) async fn places(&self, search: &Search<'_>, wire_folder: &str) -> Result<(Vec<Place>, Fixed), Fault> {
        let (places, fixed, denial) = self.find_places(search, vec![(wire_folder.to_owned(), String::new())])?;
        if places.is_empty() && fixed.seen_by.is_none() {
            return Err(self.no_place(search.caller, denial).await);
        }
        Ok((places, fixed))
    }

    /// As [`Self::places`], from several wire folders, each with what it puts before the names in it; and the first that
    /// may not be listed.
    pub(super) fn find_places(
        &self,
        search: &Search<'_>,
        starts: Vec<(String, String)>,
    ) -> Result<(Vec<Place>, Fixed, Refused), Fault> {
        let Search { tenant, caller, extent, window } = *search;
        let (mut places, mut fixed) = (Vec::new(), Fixed::default());
        let mut denial: Refused = None;
        let mut open: Vec<_> = starts.into_iter().map(|(wire_folder, prefix)| (wire_folder, prefix, 0)).collect();
        let mut seen = HashSet::new();
        while let Some((wire_folder, prefix, depth)) = open.pop() {
            if !seen.insert(wire_folder.clone()) {
                continue;
            }
            for source in self.state.paths.folders(&wire_folder) {
                match source.kind {
                    FolderKind::Flat { .. } => return Err(Fault::of(ErrorKind::Unsupported)),
                    FolderKind::Children { folder } => {
                        let Ok(folder) = Folder::parse(&folder) else { continue };
                        match self.decide_list(tenant, caller, &folder) {
                            Ok((permit, modes)) => {
                                places.push(Place { folder, permit, modes, prefix: prefix.clone() });
                            }
                            Err(refused) => {
                                let inner =
                                    |name: String| (join(&wire_folder, &name), format!("{prefix}{name}/"), depth + 1);
                                if extent == Extent::Allowed && depth < MAX_FIXED_DEPTH {
                                    let further = promising(tenant, caller, &folder).into_iter().map(inner);
                                    open.extend(further.filter(|(_, prefix, _)| window.reaches(prefix)));
                                }
                                denial.get_or_insert((folder, refused));
                            }
                        }
                    }
                    FolderKind::Fixed { name, target } => match name.strip_suffix('/') {
                        Some(below) if extent != Extent::Folder && depth < MAX_FIXED_DEPTH => {
                            let prefix = format!("{prefix}{name}");
                            if window.reaches(&prefix) {
                                open.push((join(&wire_folder, below), prefix, depth + 1));
                            }
                        }
                        Some(below) => {
                            let inner = join(&wire_folder, below);
                            if let Some(seen_by) = self.reachable(tenant, caller, &inner, 0) {
                                fixed.names.insert(name);
                                fixed.seen_by.get_or_insert(seen_by);
                            }
                        }
                        None => {
                            let Ok(path) = SecretPath::parse(&target) else { continue };
                            if let Ok((permit, _)) = self.decide_list(tenant, caller, &path.folder()) {
                                fixed.seen_by.get_or_insert((permit, path.folder()));
                                let name = format!("{prefix}{name}");
                                if window.admits(&name) {
                                    fixed.leaves.push((name, path));
                                }
                            }
                        }
                    },
                }
            }
        }
        Ok((places, fixed, denial))
    }

    /// Something below a wire folder that the caller may list: what makes a literal part of names visible.
    fn reachable(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        wire_folder: &str,
        depth: usize,
    ) -> Option<(Permit, Folder)> {
        if depth > MAX_FIXED_DEPTH {
            return None;
        }
        self.state.paths.folders(wire_folder).into_iter().find_map(|source| match source.kind {
            FolderKind::Children { folder } => {
                let folder = Folder::parse(&folder).ok()?;
                let (permit, _) = self.decide_list(tenant, caller, &folder).ok()?;
                Some((permit, folder))
            }
            FolderKind::Fixed { name, target } => match name.strip_suffix('/') {
                Some(below) => self.reachable(tenant, caller, &join(wire_folder, below), depth + 1),
                None => {
                    let folder = SecretPath::parse(&target).ok()?.folder();
                    let (permit, _) = self.decide_list(tenant, caller, &folder).ok()?;
                    Some((permit, folder))
                }
            },
            FolderKind::Flat { .. } => None,
        })
    }

    async fn no_place(&self, caller: &Caller, denial: Refused) -> Fault {
        let refusal = match denial {
            Some((folder, denial)) => {
                let path = (!folder.is_root()).then(|| Box::from(folder.as_str()));
                Refusal::Denied { path, denial, rule: None }
            }
            None => Refusal::Unmapped { path: None },
        };
        self.refused(Some(caller), No::new(refusal, Fault::of(ErrorKind::Denied))).await
    }

    pub(super) async fn collect(
        &self,
        places: &[Place],
        leaves: &[(String, SecretPath)],
        extent: Extent,
        walk: &mut Walk<'_>,
    ) -> Result<(), Fault> {
        let deep = extent != Extent::Folder;
        let mut seen = HashSet::new();
        for (name, path) in leaves {
            if self.leaf_exists(path, walk).await? {
                walk.names.insert(name.clone(), None);
            }
        }
        for place in places {
            let mut open = VecDeque::from([(place.folder.clone(), place.modes.clone(), place.prefix.clone())]);
            while let Some((folder, modes, below)) = open.pop_front() {
                // one place may lie in another
                if !seen.insert((folder.clone(), below.clone())) {
                    continue;
                }
                for (child, described) in self.children(&folder, &modes, &below, walk).await? {
                    let below = format!("{below}{child}");
                    let Some(name) = child.strip_suffix('/').filter(|_| deep) else {
                        if walk.window.admits(&below) {
                            walk.names.insert(below, described);
                        }
                        continue;
                    };
                    if let Ok(path) = folder.join(name) {
                        open.extend(self.allowed(walk, Folder::from(path), below));
                    }
                }
            }
        }
        Ok(())
    }

    /// Each folder below is a folder of its own to policy: this one, or where below it something may be listed.
    fn allowed(&self, walk: &Walk<'_>, folder: Folder, below: String) -> Vec<(Folder, Vec<Mode>, String)> {
        let (tenant, caller) = (walk.tenant, walk.caller);
        if !walk.window.reaches(&below) {
            return Vec::new();
        }
        if let Ok((_, modes)) = self.decide_list(tenant, caller, &folder) {
            return vec![(folder, modes, below)];
        }
        let further = promising(tenant, caller, &folder).into_iter().filter_map(|name| {
            let below = format!("{below}{name}/");
            let inner = Folder::from(folder.join(&name).ok().filter(|_| walk.window.reaches(&below))?);
            let (_, modes) = self.decide_list(tenant, caller, &inner).ok()?;
            Some((inner, modes, below))
        });
        further.collect()
    }

    /// Whether the client's own name for a child leads back to the source that named it.
    pub(super) fn leads_back(&self, walk: &Walk<'_>, source: &Source<'_>, child: &str) -> bool {
        let (name, is_folder) = child.strip_suffix('/').map_or((child, false), |name| (name, true));
        let Ok(path) = source.folder.join(name) else { return false };
        let wire_name = join(walk.wire_folder, &format!("{}{name}", source.below));
        let paths = &self.state.paths;
        if is_folder {
            let here = Folder::from(path);
            let leads = paths.folders(&wire_name).into_iter().any(|found| match found.kind {
                FolderKind::Children { folder } => folder == here.as_str(),
                FolderKind::Fixed { target, .. } => {
                    target.is_empty() || SecretPath::parse(&target).is_ok_and(|target| here.holds(&target))
                }
                FolderKind::Flat { .. } => false,
            });
            return leads && source.rule.is_none_or(|rule| walk.tenant.router.could_yield(rule, &here));
        }
        let forward = paths.forward(&wire_name);
        let known = forward.is_some_and(|mapped| mapped.name == path.as_str()) && !walk.tenant.is_guarded(&path, false);
        known && walk.tenant.router.resolve(&path).is_some_and(|route| route.rule == source.rule)
    }
}

/// Where a child was named.
pub(super) struct Source<'s> {
    pub(super) folder: &'s Folder,
    pub(super) below: &'s str,
    pub(super) rule: Option<RuleId>,
}

impl<'w> Walk<'w> {
    /// A walk over everything, whose names begin with those that literals spell out.
    pub(super) fn new(tenant: &'w TenantState, caller: &'w Caller, fixed: &Fixed) -> Self {
        Self {
            tenant,
            caller,
            wire_folder: "",
            dialect: Dialect::Neutral,
            window: Window::all(),
            budget: Arc::new(Budget(AtomicUsize::new(MAX_BACKEND_CALLS))),
            names: fixed.names.iter().map(|name| (name.clone(), None)).collect(),
            native: None,
            is_pure: false,
            facts: Facts::default(),
            flat: Vec::new(),
        }
    }

    /// Calls a backend, as long as the list may; every page of an answer is a call.
    pub(super) async fn call<T>(
        &self,
        request_id: &str,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Fault> {
        let too_many = Fault::because(ErrorKind::Unsupported, TOO_MANY_CALLS);
        if !self.budget.spend(1) {
            return Err(too_many);
        }
        let (result, spent) = tolled(self.budget.clone(), call).await;
        let is_within = self.budget.spend(usize::try_from(spent.unasked()).unwrap_or(usize::MAX));
        match result {
            Err(BackendError::Unsupported) if !is_within || self.budget.is_spent() => Err(too_many),
            result => result.map_err(|error| proxy::fault(&error, request_id)),
        }
    }
}

/// How many calls to backends a list may still make.
struct Budget(AtomicUsize);

impl Budget {
    /// Takes so many, all that are left if there are fewer; false then.
    fn spend(&self, calls: usize) -> bool {
        let less = |left: usize| Some(left.saturating_sub(calls));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0);
        before >= calls
    }

    fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[async_trait]
impl Toll for Budget {
    async fn further(&self) -> Result<(), BackendError> {
        if self.spend(1) { Ok(()) } else { Err(BackendError::Unsupported) }
    }
}

/// Where below a folder that may not be listed there may be some that may: the folders that policies or the caller's
/// identity name, and those that the literals of rules spell out. No backend is asked: nothing permits that yet.
fn promising(tenant: &TenantState, caller: &Caller, folder: &Folder) -> BTreeSet<String> {
    let named = tenant.policies.folders().iter().chain(caller.principal.folders());
    let named = named.filter_map(|other| below_of(other.as_str(), folder.as_str())).map(str::to_owned);
    let spelled = tenant.router.list(folder).into_iter().filter_map(|source| match source {
        ListSource::Backend { kind: FolderKind::Fixed { name, .. }, .. } => name.strip_suffix('/').map(str::to_owned),
        _ => None,
    });
    named.chain(spelled).filter(|name| !name.is_empty()).collect()
}

pub(super) const fn mode(source: &ListSource) -> Mode {
    match source {
        ListSource::Local => Mode::Local,
        ListSource::Backend { mode, .. } => *mode,
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Whether a remote name names a secret: in KV version 2 something must follow the marker.
pub(super) fn is_holdable(remote: &RemoteName, kv2_segment: Option<usize>) -> bool {
    kv2_segment.is_none_or(|marker| remote.as_str().split('/').count() > marker + 1)
}

/// Cuts a page out of all names: those after `after`, at most `limit`; and whether there are more.
fn page(names: impl Iterator<Item = String>, options: &ListOptions) -> (Vec<String>, bool) {
    let after = options.after.as_deref();
    let mut rest = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
    let limit = options.limit.unwrap_or(usize::MAX);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    (page, rest.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_page_of_a_list_is_a_call_and_there_are_so_many() {
        let budget = Arc::new(Budget(AtomicUsize::new(4)));
        assert!(budget.spend(1));
        let pages = |count: u64| async move {
            for _ in 1..count {
                crate::backend::further().await?;
            }
            Ok::<u64, BackendError>(count)
        };
        let (result, _) = tolled(budget.clone(), pages(3)).await;
        assert_eq!(result.unwrap(), 3);
        assert!(!budget.is_spent() && budget.spend(1) && budget.is_spent());
        let (result, _) = tolled(budget.clone(), pages(2)).await;
        assert!(matches!(result, Err(BackendError::Unsupported)));
        assert!(!budget.spend(1));
    }
}
