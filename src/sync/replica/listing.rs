//! Lists of copies: what of a folder's records one rule serves, and what is known to be missing among them.

use super::{Kept, Replica, ServeError};
use crate::clock::Timestamp;
use crate::seal::{Listing, Records, Stored};
use crate::secret::{Folder, RuleSettings, SecretPath, WriteMode};

impl Replica {
    /// What lies directly in a folder, of one rule's paths; `None` if only the backend can tell. Secrets that are known to
    /// exist and could not be copied are among it.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn list(&self, rule: u32, folder: &Folder, now: Timestamp) -> Result<Option<Listing>, ServeError> {
        let Some(settings) = self.rules.get(rule as usize) else { return Ok(None) };
        if !self.is_whole(rule, settings) {
            return Ok(None);
        }
        self.records.indexed()?;
        self.check_fresh(settings, self.copies.ran_at(rule), now)?;
        let mut listing = children(&self.records, folder, |_, stored| is_copy(settings, stored, now));
        for path in self.copies.failing() {
            let is_ours = self.router.resolve(&path).and_then(|route| route.rule);
            if folder.holds(&path) && is_ours.is_some_and(|of| of.backend == self.index && of.rule == rule) {
                add(&mut listing, folder, &path);
            }
        }
        self.copies.saved_one();
        Ok(Some(listing))
    }

    /// What lies directly in a folder that was written here and that the backend may not have, of one rule's paths.
    #[must_use]
    pub fn list_ahead(&self, rule: u32, folder: &Folder, now: Timestamp) -> Listing {
        match self.rules.get(rule as usize).filter(|settings| settings.write_mode != WriteMode::Disabled) {
            None => Listing::default(),
            Some(settings) => {
                let is_ahead = |stored: &Stored| stored.copy.is_some_and(|copy| copy.ahead);
                children(&self.records, folder, |_, stored| is_ahead(stored) && is_copy(settings, stored, now))
            }
        }
    }

    /// Whether one path of a rule exists; `None` if only the backend can tell.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn exists(&self, rule: u32, path: &SecretPath, now: Timestamp) -> Result<Option<bool>, ServeError> {
        let Some(settings) = self.rules.get(rule as usize) else { return Ok(None) };
        let (is_there, agreed_at) = match self.kept(settings, path) {
            Kept::Copy(stored, copy) => (stored.is_there(now), copy.agreed_at),
            Kept::Nothing if self.knows_absent(rule, settings, path) => (false, 0),
            Kept::Nothing | Kept::Other => return Ok(None),
        };
        self.freshness(rule, settings, path, agreed_at, now)?;
        Ok(Some(is_there))
    }
}

/// What lies directly in a folder, of the records that are to be kept: a folder is if one below it is.
#[must_use]
pub fn children(records: &Records, folder: &Folder, keep: impl Fn(&SecretPath, &Stored) -> bool) -> Listing {
    let Listing { mut leaves, mut folders } = records.list(folder);
    let is_kept = |path: &SecretPath| records.stored(path).is_some_and(|stored| keep(path, &stored));
    leaves.retain(|name| folder.join(name).is_ok_and(|path| is_kept(&path)));
    folders.retain(|name| folder.join(name).is_ok_and(|path| any_below(records, Folder::from(path), &is_kept)));
    Listing { leaves, folders }
}

fn any_below(records: &Records, folder: Folder, is_kept: &impl Fn(&SecretPath) -> bool) -> bool {
    let mut open = vec![folder];
    while let Some(folder) = open.pop() {
        let Listing { leaves, folders } = records.list(&folder);
        if leaves.iter().any(|name| folder.join(name).is_ok_and(|path| is_kept(&path))) {
            return true;
        }
        open.extend(folders.iter().filter_map(|name| folder.join(name).ok()).map(Folder::from));
    }
    false
}

/// Whether a record is a copy of the rule's route that still stands for something.
fn is_copy(settings: &RuleSettings, stored: &Stored, now: Timestamp) -> bool {
    stored.copy.is_some_and(|copy| copy.route == settings.route) && stored.is_there(now)
}

/// Adds the name in `folder` that leads to `path`.
fn add(listing: &mut Listing, folder: &Folder, path: &SecretPath) {
    let below = if folder.is_root() { Some(path.as_str()) } else { path.as_str().strip_prefix(folder.as_str()) };
    let below = below.map(|below| below.trim_start_matches('/'));
    let (names, name) = match below.map(|below| below.split_once('/').map_or((below, None), |(a, b)| (a, Some(b)))) {
        Some((name, None)) => (&mut listing.leaves, name),
        Some((name, Some(_))) => (&mut listing.folders, name),
        None => return,
    };
    if let Err(at) = names.binary_search_by(|known| known.as_str().cmp(name)) {
        names.insert(at, name.to_owned());
    }
}
