//! Which part of all names a catalogue is to show: what its conditions leave of them, and what lies behind its cursor.
//!
//! What the window leaves out is neither asked for nor looked at. What it lets through may still be more than is shown.

use crate::secret::{CatalogueOptions, CatalogueSort, NamePrefixes};

/// A part of all names.
#[derive(Clone, Debug)]
pub(super) struct Window {
    prefixes: NamePrefixes,
    /// The name behind which it begins, and whether names go down from there.
    after: Option<(Box<str>, bool)>,
}

impl Window {
    /// Every name.
    pub(super) fn all() -> Self {
        Self { prefixes: NamePrefixes::all(), after: None }
    }

    /// What can be on the page that is asked for.
    pub(super) fn of(options: &CatalogueOptions) -> Self {
        // in any other order a name says nothing of its place
        let after = options.after.clone().filter(|_| options.sort == CatalogueSort::Name);
        Self { prefixes: NamePrefixes::of(&options.filters), after: after.map(|name| (name, options.descending)) }
    }

    /// The folders to begin in.
    pub(super) fn folders(&self) -> Vec<&str> {
        self.prefixes.folders()
    }

    /// Whether a secret of this name can be in it.
    pub(super) fn admits(&self, name: &str) -> bool {
        let is_behind = match &self.after {
            None => true,
            Some((after, false)) => name > &**after,
            Some((after, true)) => name < &**after,
        };
        is_behind && self.prefixes.admit(name)
    }

    /// Whether names that begin with `folder`, which is empty or ends in a slash, can be in it.
    pub(super) fn reaches(&self, folder: &str) -> bool {
        let is_behind = match &self.after {
            None => true,
            Some((after, false)) => after.starts_with(folder) || folder > &**after,
            Some((after, true)) => folder < &**after,
        };
        is_behind && self.prefixes.reach(folder)
    }

    /// What all names in it that begin with `folder` go on with, as far as the next slash.
    pub(super) fn behind(&self, folder: &str) -> &str {
        self.prefixes.behind(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Filter, FilterKey, FilterValue};

    fn window(after: Option<&str>, descending: bool, sort: CatalogueSort) -> Window {
        Window::of(&CatalogueOptions { after: after.map(Box::from), descending, sort, ..CatalogueOptions::default() })
    }

    #[test]
    fn a_cursor_leaves_out_the_folders_before_it() {
        let up = window(Some("app/db"), false, CatalogueSort::Name);
        for (folder, reaches) in [("", true), ("app/", true), ("aaa/", false), ("app/db/", true), ("b/", true)] {
            assert_eq!(up.reaches(folder), reaches, "{folder}");
        }
        for (name, admits) in [("app/da", false), ("app/db", false), ("app/db/x", true), ("app/dc", true)] {
            assert_eq!(up.admits(name), admits, "{name}");
        }
        let down = window(Some("app/db"), true, CatalogueSort::Name);
        for (folder, reaches) in [("", true), ("app/", true), ("aaa/", true), ("app/db/", false), ("b/", false)] {
            assert_eq!(down.reaches(folder), reaches, "{folder}");
        }
        assert!(down.admits("app/da") && !down.admits("app/db") && !down.admits("app/db/x"));
        let by_time = window(Some("app/db"), false, CatalogueSort::Created);
        assert!(by_time.admits("aaa") && by_time.reaches("aaa/"), "the order is not that of names");
    }

    #[test]
    fn conditions_and_cursor_hold_both() {
        let values = vec![FilterValue { prefix: "app/".to_owned(), negated: false }];
        let filters = vec![Filter { key: FilterKey::Name, values }];
        let options = CatalogueOptions { filters, after: Some("app/m".into()), ..CatalogueOptions::default() };
        let window = Window::of(&options);
        assert_eq!(window.folders(), ["app"]);
        assert!(window.admits("app/n") && !window.admits("app/a") && !window.admits("b"));
        assert!(window.reaches("app/n/") && !window.reaches("app/a/") && !window.reaches("b/"));
        assert_eq!((window.behind("app/"), window.behind("")), ("", "app/"));
        assert!(Window::all().admits("a") && Window::all().reaches("") && Window::all().folders() == [""]);
    }
}
