//! Lists: the union of everything that can yield a child of the folder, each name only if it leads back to where it came
//! from and its folder may be listed. One source that fails makes the list fail: an incomplete list looks like deletions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Line, No, TenantState, catalogue};
use crate::audit::{Facts, Grants, Refusal};
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::{FolderKind, ListSource, RuleId};
use crate::policy::{Denial, Permit, Resource};
use crate::secret::{
    Action, Call, CatalogueOptions, Described, Dialect, Folder, ListOptions, Mode, NativeReply, Outcome, RemoteName,
    Reply, SecretAction, SecretPath,
};
use crate::wire::{Fault, Shape, WireResponse};

const MAX_BACKEND_CALLS: usize = 1000;
/// How far fixed parts of names are followed to something that may be listed.
const MAX_FIXED_DEPTH: usize = 32;

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
    calls_left: usize,
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
        let (wanted, deep) = match secret.action {
            SecretAction::Scan(options) => (Wanted::Names(options), true),
            SecretAction::List(options) => (Wanted::Names(options), false),
            SecretAction::Catalogue(options) => (Wanted::Catalogue(options), true),
            _ => return Err(Fault::of(ErrorKind::Internal)),
        };
        let wire_folder = secret.name.as_ref().map_or("", |name| name.as_str());
        let (places, fixed) = self.places(tenant, caller, wire_folder, deep).await?;
        let (first, others) = match places.split_first() {
            Some((first, others)) => ((first.permit.clone(), first.folder.clone()), others),
            None => (fixed.seen_by.clone().ok_or(Fault::of(ErrorKind::Internal))?, [].as_slice()),
        };
        let receipt = self.admit(caller, operation, Grants::folder(first.0, first.1)).await?;
        let mut walk = Walk::new(tenant, caller, &fixed);
        (walk.wire_folder, walk.dialect) = (wire_folder, secret.dialect);
        walk.is_pure = !deep
            && matches!(&wanted, Wanted::Names(options) if *options == ListOptions::default())
            && places.len() == 1
            && fixed.names.is_empty()
            && fixed.leaves.is_empty();
        let result = self.collect(&places, &fixed.leaves, deep, &mut walk).await;
        let mut facts = std::mem::take(&mut walk.facts);
        let (reply, more) = match result {
            Err(fault) => (Err(fault), false),
            Ok(()) => match walk.native.take().filter(|_| walk.is_pure) {
                Some(native) => (Ok(Reply::Native(native)), false),
                None => {
                    let names = std::mem::take(&mut walk.names);
                    let (outcome, more) = match wanted {
                        Wanted::Names(options) => {
                            let (names, more) = page(names.into_keys(), &options);
                            facts.outcome_count = Some(names.len());
                            (Outcome::Names(names), more)
                        }
                        Wanted::Catalogue(options) => {
                            let entries = self.entries(names, &walk, &options, Action::List);
                            let (entries, more) = catalogue::page(entries, &options);
                            facts.outcome_count = Some(entries.len());
                            (Outcome::Catalogue(entries), more)
                        }
                    };
                    (Ok(Reply::Neutral(outcome)), more)
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
    pub(super) async fn places(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        wire_folder: &str,
        deep: bool,
    ) -> Result<(Vec<Place>, Fixed), Fault> {
        let (mut places, mut fixed) = (Vec::new(), Fixed::default());
        let mut denial: Option<(Folder, Denial)> = None;
        let mut open = vec![(wire_folder.to_owned(), String::new(), 0)];
        while let Some((wire_folder, prefix, depth)) = open.pop() {
            for source in self.state.paths.folders(&wire_folder) {
                match source.kind {
                    FolderKind::Flat { .. } => return Err(Fault::of(ErrorKind::Unsupported)),
                    FolderKind::Children { folder } => {
                        let Ok(folder) = Folder::parse(&folder) else { continue };
                        match self.decide_list(tenant, caller, &folder) {
                            Ok((permit, modes)) => {
                                places.push(Place { folder, permit, modes, prefix: prefix.clone() });
                            }
                            Err(refused) => denial = Some((folder, refused)),
                        }
                    }
                    FolderKind::Fixed { name, target } => match name.strip_suffix('/') {
                        Some(below) if deep && depth < MAX_FIXED_DEPTH => {
                            open.push((join(&wire_folder, below), format!("{prefix}{name}"), depth + 1));
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
                                fixed.leaves.push((format!("{prefix}{name}"), path));
                            }
                        }
                    },
                }
            }
        }
        if places.is_empty() && fixed.seen_by.is_none() {
            return Err(self.no_place(caller, denial).await);
        }
        Ok((places, fixed))
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

    async fn no_place(&self, caller: &Caller, denial: Option<(Folder, Denial)>) -> Fault {
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
        deep: bool,
        walk: &mut Walk<'_>,
    ) -> Result<(), Fault> {
        for (name, path) in leaves {
            if self.leaf_exists(path, walk).await? {
                walk.names.insert(name.clone(), None);
            }
        }
        for place in places {
            let mut open = VecDeque::from([(place.folder.clone(), place.modes.clone(), place.prefix.clone())]);
            while let Some((folder, modes, below)) = open.pop_front() {
                for (child, described) in self.children(&folder, &modes, &below, walk).await? {
                    let below = format!("{below}{child}");
                    let Some(name) = child.strip_suffix('/').filter(|_| deep) else {
                        walk.names.insert(below, described);
                        continue;
                    };
                    // each folder below is a folder of its own to policy
                    if let Ok(path) = folder.join(name)
                        && let Ok((_, modes)) = self.decide_list(walk.tenant, walk.caller, &Folder::from(path.clone()))
                    {
                        open.push_back((Folder::from(path), modes, below));
                    }
                }
            }
        }
        Ok(())
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
            calls_left: MAX_BACKEND_CALLS,
            names: fixed.names.iter().map(|name| (name.clone(), None)).collect(),
            native: None,
            is_pure: false,
            facts: Facts::default(),
            flat: Vec::new(),
        }
    }

    pub(super) fn spend(&mut self) -> Result<(), Fault> {
        let detail = "the list needs more than 1,000 backend calls";
        self.calls_left = self.calls_left.checked_sub(1).ok_or(Fault::because(ErrorKind::Unsupported, detail))?;
        Ok(())
    }
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

/// What a list is to be.
enum Wanted {
    Names(ListOptions),
    Catalogue(CatalogueOptions),
}

/// Cuts a page out of all names: those after `after`, at most `limit`; and whether there are more.
fn page(names: impl Iterator<Item = String>, options: &ListOptions) -> (Vec<String>, bool) {
    let after = options.after.as_deref();
    let mut rest = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
    let limit = options.limit.unwrap_or(usize::MAX);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    (page, rest.next().is_some())
}
