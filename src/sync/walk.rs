//! Where the names of a run come from: the remote folders of its rules, listed from the top down.
//!
//! The walk goes through the rules' templates on both sides at once, so a remote folder is listed only if a rule maps
//! something in it. Every name found goes backwards through the router; what has no way back is skipped with its reason,
//! what is outside all rules is counted. A folder that could not be listed, or came back empty, is told apart from one
//! that has nothing any more.

use std::collections::HashSet;

use super::Replica;
use super::desk::Candidate;
use crate::mapping::{FolderKind, ListSource, RuleId, Unmapped};
use crate::secret::{Folder, Mode, RemoteName, SecretPath, SyncScope};

/// Deeper remote folders are not followed. A secret path has 32 segments; a remote name may have a few more.
const MAX_DEPTH: usize = 48;
const TOO_DEEP: &str = "the folder is nested too deep";
const NOT_A_NAME: &str = "the name cannot be spelled as a secret path";
const SHADOWED: &str = "an earlier rule takes the secret path this would have";
const NO_ROOT: &str = "the rule's remote side has no folder that could be listed";

/// A remote folder to be listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) rule: u32,
    pub(super) remote: RemoteName,
    pub(super) kind: PlaceKind,
    depth: usize,
}

/// What is known of a remote folder on our side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PlaceKind {
    /// Its children are this folder's.
    Mapped(Folder),
    /// Names are mapped one by one.
    Flat,
    /// No secret path can lead here: it is listed only to say what is skipped.
    Foreign,
}

/// The names of a run so far.
pub(super) struct Walk {
    /// By rule: whether the run is about it.
    rules: Vec<bool>,
    found: HashSet<SecretPath>,
    places: HashSet<Place>,
    folders: HashSet<Folder>,
    /// Places still to be listed.
    open: Vec<Place>,
    /// Paths found and not taken yet.
    candidates: Vec<Candidate>,
    /// Names that are not copied, with the reason.
    skipped: Vec<(String, &'static str)>,
    outside: u64,
    /// Folders whose list came back empty, by rule.
    empty: Vec<(u32, String)>,
    is_cut: bool,
    /// Rules one of whose folders could be listed, and rules whose own folder has no lists at all.
    listed: HashSet<u32>,
    unlisted: HashSet<u32>,
}

impl Walk {
    /// The places to begin with, for those of the rules that copy everything.
    pub(super) fn new(replica: &Replica, rules: &[u32]) -> Self {
        let is_walked = |index: usize, scope: SyncScope| {
            scope == SyncScope::All && rules.iter().any(|rule| usize::try_from(*rule).is_ok_and(|rule| rule == index))
        };
        let walked = replica.rules.iter().enumerate();
        let walked = walked.map(|(index, rule)| rule.mode == Mode::Sync && is_walked(index, rule.scope));
        let mut walk = Self {
            rules: walked.collect(),
            found: HashSet::new(),
            places: HashSet::new(),
            folders: HashSet::new(),
            open: Vec::new(),
            candidates: Vec::new(),
            skipped: Vec::new(),
            outside: 0,
            empty: Vec::new(),
            is_cut: false,
            listed: HashSet::new(),
            unlisted: HashSet::new(),
        };
        if walk.rules.contains(&true) {
            walk.enter(replica, Folder::root(), 0);
        }
        walk
    }

    /// A place to list next.
    pub(super) fn next_place(&mut self) -> Option<Place> {
        self.open.pop()
    }

    /// Whether there are places to list.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A place is to be listed again.
    pub(super) fn reopen(&mut self, place: Place) {
        self.open.push(place);
    }

    /// Paths found since the last call.
    pub(super) fn take_candidates(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.candidates)
    }

    /// Names skipped since the last call.
    pub(super) fn take_skipped(&mut self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.skipped)
    }

    /// Whether a path was found.
    pub(super) fn has_found(&self, path: &SecretPath) -> bool {
        self.found.contains(path)
    }

    /// Whether the rule is walked.
    pub(super) fn walks(&self, rule: u32) -> bool {
        usize::try_from(rule).ok().and_then(|rule| self.rules.get(rule)).copied().unwrap_or(false)
    }

    pub(super) const fn outside(&self) -> u64 {
        self.outside
    }

    /// Folders whose lists came back empty, by rule.
    pub(super) fn empty(&self) -> &[(u32, String)] {
        &self.empty
    }

    /// Whether a folder of a rule could not be listed: what was not found may still be there.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// A place is in no engine that lists. Yields whether that is all there is of its rule, which is then left alone.
    pub(super) fn give_up(&mut self, place: &Place) -> bool {
        let is_own = place.kind != PlaceKind::Foreign && !self.listed.contains(&place.rule);
        if is_own {
            self.unlisted.insert(place.rule);
        }
        is_own
    }

    /// Whether the rule's own folder has no lists: nothing can be said of what it could name.
    pub(super) fn is_unlisted(&self, rule: u32) -> bool {
        self.unlisted.contains(&rule)
    }

    /// A place could not be listed. Yields whether that matters.
    pub(super) fn failed(&mut self, place: &Place) -> bool {
        let matters = place.kind != PlaceKind::Foreign;
        self.is_cut |= matters;
        if !matters {
            self.skipped.push((format!("{}/", place.remote), NOT_A_NAME));
        }
        matters
    }

    /// The names in a place.
    pub(super) fn listed(&mut self, replica: &Replica, place: &Place, names: &[String]) {
        self.listed.insert(place.rule);
        if names.is_empty() && place.kind != PlaceKind::Foreign {
            self.empty.push((place.rule, place.remote.as_str().to_owned()));
        }
        for name in names {
            match name.strip_suffix('/') {
                Some(child) => self.folder(replica, place, child),
                None => self.leaf(replica, &place.remote.child(name)),
            }
        }
    }

    fn leaf(&mut self, replica: &Replica, name: &str) {
        let Some(remote) = RemoteName::parse(name) else {
            return self.skipped.push((name.escape_debug().to_string(), NOT_A_NAME));
        };
        match replica.router.reverse(replica.index, &remote) {
            Ok((path, RuleId { rule, .. })) => self.found(rule, path, remote),
            Err(Unmapped::NoRule) => self.outside += 1,
            Err(Unmapped::Shadowed { .. }) => self.skipped.push((name.to_owned(), SHADOWED)),
            Err(Unmapped::NotAName) => self.skipped.push((name.to_owned(), NOT_A_NAME)),
        }
    }

    fn found(&mut self, rule: u32, path: SecretPath, remote: RemoteName) {
        if self.walks(rule) && self.found.insert(path.clone()) {
            self.candidates.push(Candidate { rule, path, remote, may_delete: true, is_guess: false, tries: 0 });
        }
    }

    fn folder(&mut self, replica: &Replica, place: &Place, child: &str) {
        let name = format!("{}/{child}", place.remote);
        let depth = place.depth + 1;
        // a dot segment would be another folder for the backend
        let is_name = !matches!(child, "" | "." | "..") && !child.contains('/');
        let Some(remote) = RemoteName::parse(&name).filter(|_| is_name) else {
            return self.skipped.push((format!("{}/", name.escape_debug()), NOT_A_NAME));
        };
        if depth > MAX_DEPTH {
            self.is_cut |= place.kind != PlaceKind::Foreign;
            return self.skipped.push((format!("{name}/"), TOO_DEEP));
        }
        let kind = match &place.kind {
            PlaceKind::Mapped(folder) => match folder.join(child) {
                Ok(path) => return self.enter(replica, Folder::from(path), depth),
                Err(_) => PlaceKind::Foreign,
            },
            PlaceKind::Flat => PlaceKind::Flat,
            PlaceKind::Foreign => PlaceKind::Foreign,
        };
        self.open(Place { rule: place.rule, remote, kind, depth });
    }

    /// Everything the rules can yield directly in one of our folders.
    fn enter(&mut self, replica: &Replica, folder: Folder, depth: usize) {
        if depth > MAX_DEPTH || !self.folders.insert(folder.clone()) {
            return;
        }
        for source in replica.router.list(&folder) {
            let ListSource::Backend { rule: RuleId { backend, rule }, kind, .. } = source else { continue };
            if backend != replica.index || !self.walks(rule) {
                continue;
            }
            match kind {
                FolderKind::Children { folder: remote } => {
                    self.root(replica, rule, &remote, PlaceKind::Mapped(folder.clone()), depth)
                }
                FolderKind::Flat { prefix } => {
                    // what names begin with may end inside a segment, and a store without folders lists whole ones
                    let folder = match prefix.rsplit_once('/') {
                        _ if !replica.client.capabilities().flat => prefix.trim_end_matches('/'),
                        Some((folder, _)) => folder,
                        None => "",
                    };
                    self.root(replica, rule, folder, PlaceKind::Flat, depth)
                }
                FolderKind::Fixed { name, target } => match name.strip_suffix('/') {
                    Some(child) => {
                        if let Ok(path) = folder.join(child) {
                            self.enter(replica, Folder::from(path), depth + 1);
                        }
                    }
                    None => self.fixed(replica, rule, &target),
                },
            }
        }
    }

    fn root(&mut self, replica: &Replica, rule: u32, remote: &str, kind: PlaceKind, depth: usize) {
        let is_flat = replica.client.capabilities().flat;
        let whole = (is_flat && remote.is_empty()).then(RemoteName::root);
        // a store without folders is listed once by prefix
        let kind = if is_flat { PlaceKind::Flat } else { kind };
        match whole.or_else(|| RemoteName::parse(remote)) {
            // a flat rule is walked once, wherever on our side it was met
            Some(remote) => {
                self.open(Place { rule, remote, depth: if kind == PlaceKind::Flat { 0 } else { depth }, kind })
            }
            None => {
                self.is_cut = true;
                self.skipped.push((remote.to_owned(), NO_ROOT));
            }
        }
    }

    /// The one secret a literal rule can yield. Whether it is there is found out by looking at it.
    fn fixed(&mut self, replica: &Replica, rule: u32, target: &str) {
        let marker = replica.rules.get(rule as usize).and_then(|settings| settings.kv2_segment);
        let is_holdable = marker.is_none_or(|marker| target.split('/').count() > marker + 1);
        let Some(remote) = RemoteName::parse(target).filter(|_| is_holdable) else { return };
        if let Ok((path, id)) = replica.router.reverse(replica.index, &remote) {
            // `apps/**` may stand for `apps` itself, which hardly anybody has
            let is_guess = replica.router.could_yield(id, &Folder::from(path.clone()));
            let before = self.candidates.len();
            self.found(id.rule, path, remote);
            for candidate in self.candidates.iter_mut().skip(before) {
                candidate.is_guess = is_guess;
            }
        }
    }

    fn open(&mut self, place: Place) {
        if self.places.insert(place.clone()) {
            self.open.push(place);
        }
    }
}

/// Whether a remote name lies in a remote folder.
pub(super) fn lies_in(remote: &str, folder: &str) -> bool {
    folder.is_empty() || remote.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::lies_in;

    #[test]
    fn w14_everything_lies_in_the_root_of_a_store_without_folders() {
        assert!(lies_in("app/db", "") && lies_in("db", "") && lies_in("app/db", "app"));
        assert!(!lies_in("apps/db", "app") && !lies_in("app", "app"));
    }
}
