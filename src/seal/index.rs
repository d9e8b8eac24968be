//! The names of one tenant's secrets in memory, with what a read needs to know of each.
//!
//! INVARIANT: an entry is what the store's head says, in the order of commits. While the index is being filled, what was
//! committed meanwhile wins over what the filling finds, and what it does not know may still be in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Stored;
use crate::secret::{Folder, SecretPath};

/// Entries looked at under one lock when all are shown.
const CHUNK: usize = 1024;

/// What lies directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Secrets, by their last segment, sorted.
    pub leaves: Vec<String>,
    /// Folders, by their last segment, sorted.
    pub folders: Vec<String>,
}

/// What the index says of a path.
pub(super) enum Lookup {
    Known(Stored),
    Absent,
    /// The store has to be asked.
    Unknown,
}

pub(super) struct Index {
    entries: RwLock<Entries>,
    /// Records whose names could not be read: the index is not the whole truth then.
    damaged: AtomicU64,
}

struct Entries {
    known: BTreeMap<SecretPath, Stored>,
    /// Paths committed since the filling began; `None` once the index is whole.
    touched: Option<BTreeSet<SecretPath>>,
}

impl Index {
    /// Of an empty store.
    pub(super) fn whole() -> Self {
        Self::with(None)
    }

    /// Of a store that may hold anything.
    pub(super) fn unfilled() -> Self {
        Self::with(Some(BTreeSet::new()))
    }

    fn with(touched: Option<BTreeSet<SecretPath>>) -> Self {
        Self { entries: RwLock::new(Entries { known: BTreeMap::new(), touched }), damaged: AtomicU64::new(0) }
    }

    fn entries(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look_up(&self, path: &SecretPath) -> Lookup {
        let entries = self.entries();
        if let Some(stored) = entries.known.get(path) {
            return Lookup::Known(stored.clone());
        }
        match &entries.touched {
            None if self.damaged() == 0 => Lookup::Absent,
            Some(touched) if touched.contains(path) => Lookup::Absent,
            _ => Lookup::Unknown,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.entries().touched.is_none()
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.entries().known.len()
    }

    /// What a commit made of its paths.
    pub(super) fn learn(&self, changes: Vec<(SecretPath, Option<Stored>)>) {
        let mut entries = self.change();
        for (path, stored) in changes {
            if let Some(touched) = &mut entries.touched {
                touched.insert(path.clone());
            }
            match stored {
                Some(stored) => drop(entries.known.insert(path, stored)),
                None => drop(entries.known.remove(&path)),
            }
        }
    }

    /// What the filling found, unless a commit knows better.
    pub(super) fn add(&self, path: SecretPath, stored: Stored) {
        let mut entries = self.change();
        if entries.touched.as_ref().is_some_and(|touched| !touched.contains(&path)) {
            entries.known.insert(path, stored);
        }
    }

    /// The filling is over; `damaged` records had no readable name.
    pub(super) fn finish(&self, damaged: u64) {
        let mut entries = self.change();
        self.damaged.store(damaged, Ordering::Release);
        entries.touched = None;
    }

    /// What lies directly in `folder`, in steps of one look-up a child.
    pub(super) fn list(&self, folder: &Folder) -> Listing {
        let prefix = if folder.is_root() { String::new() } else { format!("{folder}/") };
        let entries = self.entries();
        let mut listing = Listing::default();
        let mut from = prefix.clone();
        while let Some((name, stored)) = next_below(&entries.known, &from, &prefix) {
            if stored.is_tombstone() {
                from = format!("{prefix}{name}\0");
            } else if let Some((child, _)) = name.split_once('/') {
                listing.folders.push(child.to_owned());
                // '0' follows '/': the first text after everything below this child folder
                from = format!("{prefix}{child}0");
            } else {
                listing.leaves.push(name.to_owned());
                from = format!("{prefix}{name}\0");
            }
        }
        listing
    }

    /// Every path below `folder`, sorted.
    pub(super) fn scan(&self, folder: &Folder) -> Vec<SecretPath> {
        let entries = self.entries();
        let below = entries.known.iter().filter(|(path, stored)| folder.holds(path) && !stored.is_tombstone());
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Shows every entry, sorted, a part at a time: `visit` may take its time and ask the index.
    pub(super) fn each(&self, mut visit: impl FnMut(&SecretPath, &Stored)) {
        let mut from: Option<SecretPath> = None;
        loop {
            let part: Vec<(SecretPath, Stored)> = {
                let start = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let entries = self.entries();
                let range = entries.known.range::<SecretPath, _>((start, Bound::Unbounded));
                range.take(CHUNK).map(|(path, stored)| (path.clone(), stored.clone())).collect()
            };
            for (path, stored) in &part {
                visit(path, stored);
            }
            match part.into_iter().next_back() {
                Some((last, _)) => from = Some(last),
                None => return,
            }
        }
    }
}

/// The first indexed name at or after `from` that lies below `prefix`, without the prefix.
fn next_below<'a>(known: &'a BTreeMap<SecretPath, Stored>, from: &str, prefix: &str) -> Option<(&'a str, &'a Stored)> {
    let (path, stored) = known.range::<str, _>((Bound::Included(from), Bound::Unbounded)).next()?;
    Some((path.as_str().strip_prefix(prefix)?, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Head, HeadVersion};

    fn path(text: &str) -> SecretPath {
        SecretPath::parse(text).unwrap()
    }

    fn live() -> Stored {
        let mut head = Head { current: 1, ..Head::default() };
        head.versions.insert(1, HeadVersion::default());
        Stored::of([0; 32], &head)
    }

    fn tombstone() -> Stored {
        Stored::of([0; 32], &Head { current: 4, ..Head::default() })
    }

    #[test]
    fn listing_yields_each_child_once_and_only_children_and_no_tombstones() {
        let index = Index::whole();
        for name in ["a/b", "a/b/c", "a/b0", "a/bc/d", "a/bc/e", "ab/x", "z"] {
            index.learn(vec![(path(name), Some(live()))]);
        }
        for name in ["a/a", "a/bb/x", "a/bc/a", "dead/x"] {
            index.learn(vec![(path(name), Some(tombstone()))]);
        }
        let listing = index.list(&Folder::parse("a").unwrap());
        assert_eq!(listing.leaves, ["b", "b0"]);
        assert_eq!(listing.folders, ["b", "bc"]);
        let root = index.list(&Folder::root());
        assert_eq!((root.leaves, root.folders), (vec!["z".to_owned()], vec!["a".to_owned(), "ab".to_owned()]));
        assert_eq!(index.scan(&Folder::parse("a/b").unwrap()), [path("a/b/c")]);
        assert_eq!(index.scan(&Folder::root()).len(), 7);
    }

    #[test]
    fn what_was_committed_while_the_index_was_filled_wins() {
        let index = Index::unfilled();
        assert!(matches!(index.look_up(&path("a")), Lookup::Unknown));
        index.learn(vec![(path("gone"), None), (path("new"), Some(tombstone()))]);
        index.add(path("gone"), live());
        index.add(path("new"), live());
        index.add(path("a"), live());
        assert!(matches!(index.look_up(&path("gone")), Lookup::Absent));
        assert!(matches!(index.look_up(&path("new")), Lookup::Known(stored) if stored.is_tombstone()));
        assert!(matches!(index.look_up(&path("b")), Lookup::Unknown));
        assert!(!index.is_whole());
        index.finish(0);
        assert!(index.is_whole());
        assert!(matches!(index.look_up(&path("b")), Lookup::Absent));
        index.add(path("late"), live());
        assert_eq!(index.len(), 2, "nothing is filled into a whole index");
        index.finish(1);
        assert!(matches!(index.look_up(&path("b")), Lookup::Unknown), "a nameless record may be this one");
    }

    #[test]
    fn every_entry_is_shown_once_in_order() {
        let index = Index::whole();
        index.learn((0..3000).map(|number| (path(&format!("n/{number:05}")), Some(live()))).collect());
        let mut seen = Vec::new();
        index.each(|path, _| {
            assert!(matches!(index.look_up(path), Lookup::Known(_)));
            seen.push(path.clone());
        });
        assert_eq!(seen.len(), 3000);
        assert!(seen.is_sorted());
        Index::whole().each(|_, _| unreachable!());
    }
}
