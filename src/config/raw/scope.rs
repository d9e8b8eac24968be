//! Where a compilation collects what it finds.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::super::problem::Problem;
use crate::secret::SecretPath;

/// The directory relative paths start from, and everything found so far.
pub(crate) struct Scope {
    base: PathBuf,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    references: RefCell<Vec<Reference>>,
}

/// A secret path that a key refers to, to be looked up once the tenant's secrets are known.
pub(crate) struct Reference {
    pub(crate) path: SecretPath,
    pub(crate) key: String,
    pub(crate) line: u32,
}

impl Scope {
    pub(crate) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
            references: RefCell::default(),
        }
    }

    /// Reports an error.
    pub(crate) fn refuse(&self, key: &str, line: Option<u32>, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(named(key), line, message));
    }

    /// Reports something that works and is probably not meant.
    pub(crate) fn warn(&self, key: &str, line: Option<u32>, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::new(named(key), line, message));
    }

    /// Keeps a reference for [`Self::take_references`].
    pub(crate) fn refer(&self, reference: Reference) {
        self.references.borrow_mut().push(reference);
    }

    /// The references made since the last call.
    pub(crate) fn take_references(&self) -> Vec<Reference> {
        self.references.take()
    }

    /// A file named in the configuration; relative ones start from the configuration's directory.
    pub(crate) fn file(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// All errors, or all warnings if there is no error; each in the order of the file.
    pub(crate) fn conclude(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(in_order(self.warnings.into_inner())) } else { Err(in_order(problems)) }
    }
}

fn named(key: &str) -> &str {
    if key.is_empty() { "(document)" } else { key }
}

fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.line.unwrap_or(u32::MAX));
    problems
}

/// The key path of `name` under `parent`. Names that are not plain words are quoted, escaped and cut, so that a key path
/// stays one readable line whatever the file holds.
pub(crate) fn child(parent: &str, name: &str) -> String {
    const LONGEST: usize = 96;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain && name.len() <= LONGEST {
        return if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    }
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_default).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("{parent}[\"{shown}\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_paths_are_one_readable_line() {
        assert_eq!(child("", "server"), "server");
        assert_eq!(child("server", "drain"), "server.drain");
        assert_eq!(child("secrets", "infra/a"), "secrets[\"infra/a\"]");
        assert_eq!(child("", "a\nb\u{1b}"), "[\"a\\nb\\u{1b}\"]");
        assert!(child("", &"x".repeat(5000)).len() < 200);
    }

    #[test]
    fn findings_come_in_the_order_of_the_file() {
        let scope = Scope::new(Path::new("/etc"));
        scope.refuse("b", Some(9), "late");
        scope.refuse("", None, "nowhere");
        scope.refuse("a", Some(2), "early");
        let keys: Vec<_> = scope.conclude().unwrap_err().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["a", "b", "(document)"]);
    }
}
