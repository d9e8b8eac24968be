//! Listing through a table: where the names directly in a folder can come from.
//!
//! A folder of the `from` side is walked through every rule's template. The answer may promise too much, never too
//! little: whoever lists drops each name that does not resolve forward to the same rule, and each folder for which
//! `could_yield` is false.

use super::pattern::{Capture, Piece, is_capture};
use super::table::{Rule, Table};

/// A source of names for a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSource {
    /// Index of the rule in the table.
    pub rule: usize,
    /// What the rule can contribute.
    pub kind: FolderKind,
}

/// What a rule can contribute to a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderKind {
    /// Every child of `folder` on the other side (its leaf or folder name, unchanged) is a child of the asked folder.
    Children {
        /// The folder to list on the other side; empty for its root, no trailing slash.
        folder: String,
    },
    /// The rule can yield only this child of the asked folder.
    Fixed {
        /// A folder when it ends in `/`, else a leaf that exists if `target` exists.
        name: String,
        /// The leaf's name on the other side; empty for a folder.
        target: String,
    },
    /// Names on the other side are no folders for this rule: map every one that begins with `prefix` backward and keep
    /// what lies below the asked folder.
    Flat {
        /// The text every name of the rule begins with on the other side; may be empty.
        prefix: String,
    },
}

impl Table {
    /// Every rule's contributions to `folder` (empty for the root), in rule order. A rule can contribute more than
    /// once; a folder that cannot be one has none.
    #[must_use]
    pub fn folders(&self, folder: &str) -> Vec<FolderSource> {
        let segments: Vec<&str> = folder.split('/').filter(|_| !folder.is_empty()).collect();
        if !segments.iter().all(|segment| is_capture(segment)) {
            return Vec::new();
        }
        let mut sources = Vec::new();
        for (index, rule) in self.compiled().iter().enumerate() {
            let mut walk = Walk { rule, captures: Vec::new(), kinds: Vec::new() };
            if !rule.from.is_plain() || !rule.to.is_plain() {
                if rule.from.reaches_below(segments.iter().copied()) {
                    walk.add(FolderKind::Flat { prefix: rule.to.literal_prefix() });
                }
            } else {
                walk.enter(rule.from.pieces(), &segments);
            }
            sources.extend(walk.kinds.into_iter().map(|kind| FolderSource { rule: index, kind }));
        }
        sources
    }
}

/// One rule's template laid over the segments of a folder, in every way that fits.
struct Walk<'r> {
    rule: &'r Rule,
    captures: Vec<Option<String>>,
    kinds: Vec<FolderKind>,
}

impl Walk<'_> {
    fn enter(&mut self, pieces: &[Piece], segments: &[&str]) {
        let Some((piece, after)) = pieces.split_first() else { return };
        match (piece, segments.split_first()) {
            (Piece::Literal(literal), None) => self.end_before_literal(literal, after),
            (Piece::Literal(literal), Some((segment, rest))) => {
                if **literal == **segment {
                    self.enter(after, rest);
                }
            }
            (Piece::One, None) => self.children(false),
            (Piece::One, Some((segment, rest))) => {
                self.capturing(Some((*segment).to_owned()), |walk| walk.enter(after, rest))
            }
            (Piece::Many, _) => {
                self.capturing(joined(segments), |walk| walk.children(true));
                for length in 0..=segments.len() {
                    let Some((taken, rest)) = segments.split_at_checked(length) else { break };
                    self.capturing(joined(taken), |walk| walk.enter(after, rest));
                }
            }
        }
    }

    /// The folder is used up and the template goes on with a literal.
    fn end_before_literal(&mut self, literal: &str, after: &[Piece]) {
        match after {
            [] => self.leaf(literal),
            [Piece::Many] => {
                // `a/**` is both everything below `a` and, over zero segments, `a`.
                self.folder(literal);
                self.capturing(None, |walk| walk.leaf(literal));
            }
            _ => self.folder(literal),
        }
    }

    fn folder(&mut self, literal: &str) {
        self.add(FolderKind::Fixed { name: format!("{literal}/"), target: String::new() });
    }

    fn leaf(&mut self, literal: &str) {
        let target = self.rule.to.render(&self.rule.from, &self.taken());
        if let Some(target) = target.filter(|target| !target.is_empty()) {
            self.add(FolderKind::Fixed { name: literal.to_owned(), target });
        }
    }

    fn children(&mut self, is_open: bool) {
        let folder = self.rule.to.prefix(&self.taken(), is_open);
        self.add(FolderKind::Children { folder });
    }

    fn capturing(&mut self, capture: Option<String>, then: impl FnOnce(&mut Self)) {
        self.captures.push(capture);
        then(self);
        self.captures.pop();
    }

    fn taken(&self) -> Vec<Capture<'_>> {
        self.captures.iter().map(Option::as_deref).collect()
    }

    fn add(&mut self, kind: FolderKind) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }
}

fn joined(segments: &[&str]) -> Option<String> {
    (!segments.is_empty()).then(|| segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{RuleSpec, Side};

    fn sources(from: &str, to: &str, separator: Option<&str>, folder: &str) -> Vec<FolderKind> {
        let spec = RuleSpec { from: from.into(), to: to.into(), separator: separator.map(String::from), escape: false };
        let table = Table::compile(&[spec], Side::To).unwrap();
        table.folders(folder).into_iter().map(|source| source.kind).collect()
    }

    fn children(folder: &str) -> FolderKind {
        FolderKind::Children { folder: folder.into() }
    }

    fn fixed(name: &str, target: &str) -> FolderKind {
        FolderKind::Fixed { name: name.into(), target: target.into() }
    }

    #[test]
    fn a_folder_is_walked_through_the_template() {
        for (from, to, folder, expected) in [
            ("apps/**", "kv/data/**", "", vec![fixed("apps/", ""), fixed("apps", "kv/data")]),
            ("apps/**", "kv/data/**", "apps", vec![children("kv/data")]),
            ("apps/**", "kv/data/**", "apps/x/y", vec![children("kv/data/x/y")]),
            ("apps/**", "kv/data/**", "infra", vec![]),
            ("**", "**", "", vec![children("")]),
            ("**", "prod/**", "a", vec![children("prod/a")]),
            ("a/b/*", "r/*", "", vec![fixed("a/", "")]),
            ("a/b/*", "r/s/*", "a/b", vec![children("r/s")]),
            ("a/b/*", "r/*", "a/b/c", vec![]),
            ("*/db", "x/*/y", "", vec![children("x")]),
            ("*/db", "x/*/y", "one", vec![fixed("db", "x/one/y")]),
            ("*/*/z", "p/*/q/*", "one", vec![children("p/one/q")]),
            ("a/b", "r", "a", vec![fixed("b", "r")]),
            ("a/b", "r", "a/b", vec![]),
            ("**/db", "r/**/pw", "a", vec![children("r/a"), fixed("db", "r/a/pw")]),
            ("**/x/*", "**/y/*", "a/x", vec![children("a/x"), children("a/y"), fixed("x/", "")]),
        ] {
            assert_eq!(sources(from, to, None, folder), expected, "{from} -> {to} in {folder:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_one_has_no_sources() {
        for folder in ["/", "a/", "/a", "a//b", ".", "a/..", "a\0"] {
            assert!(sources("**", "**", None, folder).is_empty(), "{folder:?}");
        }
    }

    #[test]
    fn a_rule_with_a_separator_is_flat() {
        let flat = |prefix: &str| vec![FolderKind::Flat { prefix: prefix.into() }];
        assert_eq!(sources("apps/**", "prod/**", Some("--"), "apps/x"), flat("prod"));
        assert_eq!(sources("apps/**", "prod/**", Some("--"), ""), flat("prod"));
        assert_eq!(sources("apps/*/*", "prod/*/*", Some("--"), "apps/x"), flat("prod--"));
        assert!(sources("apps/*/*", "prod/*/*", Some("--"), "apps/x/y").is_empty());
        assert!(sources("apps/**", "prod/**", Some("--"), "infra").is_empty());
    }
}
