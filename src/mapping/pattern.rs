//! One side of a rule: a template that is matched against a name or filled in with what the other side captured.
//!
//! A template is literals, `*` (exactly one segment) and `**` (zero or more whole segments, at most one). Only the
//! template has metacharacters: everything in a name is literal. A foreign side may join its segments by a separator
//! instead of `/` and may hold characters a secret path cannot; both are reversible or refused.
//! This module knows neither rules nor their order.

use std::borrow::Cow;

use super::{Side, escape};
use crate::secret::{SecretPath, has_control};

const MAX_PIECES: usize = 32;

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Box<str>),
    One,
    Many,
}

/// How the foreign side of a rule is written.
#[derive(Clone, Copy)]
pub(super) struct Notation<'a> {
    pub(super) side: Side,
    pub(super) separator: Option<&'a str>,
    pub(super) escape: bool,
}

/// What a wildcard took, in the spelling of the side it was taken from; `None` is a `**` over zero segments.
pub(super) type Capture<'n> = Option<&'n str>;

/// A compiled template.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    pieces: Box<[Piece]>,
    /// Index of the `**`.
    many: Option<usize>,
    /// How many leading literals are followed by `/` whatever the joint is.
    heads: usize,
    /// What stands between segments.
    joint: Box<str>,
    escape: bool,
    is_foreign: bool,
}

impl Pattern {
    /// A template whose names are secret paths.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn path(text: &str) -> Result<Self, String> {
        let pieces = text.split('/').map(|segment| piece(segment, is_path_segment)).collect::<Result<_, _>>()?;
        let pattern = Self::assemble(text, pieces)?;
        if pattern.pieces.len() > MAX_PIECES + usize::from(pattern.many.is_some()) {
            return Err(format!("the template has more than {MAX_PIECES} segments; no secret path has"));
        }
        Ok(pattern)
    }

    /// A template whose names are wire names or remote names.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn foreign(text: &str, notation: Notation<'_>) -> Result<Self, String> {
        let mut segments = text.split('/').peekable();
        let mut pieces = Vec::new();
        let mut heads = 0;
        if let Some(separator) = notation.separator {
            // On a wire the vault, project or mount before the name is not part of what the separator joins.
            while notation.side == Side::From && segments.peek().is_some_and(|segment| !segment.contains('*')) {
                pieces.extend(segments.next().map(|segment| piece(segment, is_capture)).transpose()?);
                heads += 1;
            }
            for segment in segments.flat_map(|segment| segment.split(separator)) {
                pieces.push(piece(segment, |literal| is_capture(literal) && !touches(literal, separator))?);
            }
        } else {
            for segment in segments {
                pieces.push(piece(segment, is_capture)?);
            }
        }
        let joint = Box::from(notation.separator.unwrap_or("/"));
        Ok(Self { heads, joint, escape: notation.escape, is_foreign: true, ..Self::assemble(text, pieces)? })
    }

    fn assemble(text: &str, pieces: Vec<Piece>) -> Result<Self, String> {
        if pieces.iter().filter(|piece| **piece == Piece::Many).count() > 1 {
            return Err("a template may hold `**` once".to_owned());
        }
        Ok(Self {
            text: Box::from(text),
            many: pieces.iter().position(|piece| *piece == Piece::Many),
            pieces: pieces.into_boxed_slice(),
            heads: 0,
            joint: Box::from("/"),
            escape: false,
            is_foreign: false,
        })
    }

    /// The template as configured.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What stands between segments.
    pub(super) fn joint(&self) -> &str {
        &self.joint
    }

    /// The name of this side that these segments make, as many as the template has pieces or, with a `**`, any number.
    pub(super) fn spell(&self, segments: &[&str]) -> String {
        let mut line = Line::default();
        for (index, segment) in segments.iter().enumerate() {
            line.push(segment, self.joint_after(index));
        }
        line.text
    }

    /// The wildcards, in order.
    pub(super) fn wildcards(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(|piece| !matches!(piece, Piece::Literal(_)))
    }

    /// Whether names of this side are segments joined by `/` and spelled as on the other side.
    pub(super) fn is_plain(&self) -> bool {
        !self.escape && &*self.joint == "/"
    }

    /// Whether both split names at the same places.
    pub(super) fn splits_like(&self, other: &Self) -> bool {
        self.joint == other.joint && self.heads == other.heads
    }

    /// What the wildcards take of `name`; `None` when it does not match. Captures are not yet checked.
    pub(super) fn captures<'n>(&self, name: &'n str) -> Option<Vec<Capture<'n>>> {
        let mut captures = Vec::new();
        let mut rest = Some(name);
        for (index, piece) in self.pieces.iter().enumerate().take(self.many.unwrap_or(usize::MAX)) {
            let (segment, after) = match split_once(rest?, self.joint_after(index)) {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest?, None),
            };
            rest = after;
            capture(piece, segment, &mut captures)?;
        }
        let Some(many) = self.many else {
            return rest.is_none().then_some(captures);
        };
        let kept = captures.len();
        for piece in self.pieces.iter().skip(many + 1).rev() {
            let (before, segment) = match rest?.rsplit_once(&*self.joint) {
                Some((before, segment)) => (Some(before), segment),
                None => (None, rest?),
            };
            rest = before;
            capture(piece, segment, &mut captures)?;
        }
        captures.push(rest);
        captures.get_mut(kept..)?.reverse();
        Some(captures)
    }

    /// This side's name for what `source`, the other side of the rule, captured; `None` when a captured segment
    /// cannot be written here reversibly. The result may be empty.
    pub(super) fn render(&self, source: &Self, captures: &[Capture<'_>]) -> Option<String> {
        let is_kept = self.is_plain() && source.is_plain();
        let room = self.text.len() + captures.iter().flatten().map(|taken| taken.len()).sum::<usize>();
        let mut captures = captures.iter();
        let mut line = Line { text: String::with_capacity(room), joint: "" };
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => line.push(literal, self.joint_after(index)),
                Piece::One => line.push(&self.converted(source, (*captures.next()?)?)?, &self.joint),
                Piece::Many => match captures.next()? {
                    None => {}
                    // split, spelled and joined alike on both sides
                    Some(text) if is_kept && are_captures(text) => line.push(text, &self.joint),
                    Some(_) if is_kept => return None,
                    Some(text) => {
                        for segment in text.split(&*source.joint) {
                            line.push(&self.converted(source, segment)?, &self.joint);
                        }
                    }
                },
            }
        }
        Some(line.text)
    }

    /// The beginning of a name: literals and captures up to the first wildcard without a capture. With `open` the last
    /// capture is a `**` that may go on, and the text ends with it.
    pub(super) fn prefix(&self, captures: &[Capture<'_>], open: bool) -> String {
        let mut captures = captures.iter();
        let mut line = Line::default();
        for (index, piece) in self.pieces.iter().enumerate() {
            if let Piece::Literal(literal) = piece {
                line.push(literal, self.joint_after(index));
                continue;
            }
            let Some(taken) = captures.next() else { break };
            if let Some(taken) = taken {
                line.push(taken, &self.joint);
            }
            if open && captures.len() == 0 {
                break;
            }
        }
        line.text
    }

    /// The text every name of this side begins with.
    pub(super) fn literal_prefix(&self) -> String {
        let mut line = Line::default();
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => line.push(literal, self.joint_after(index)),
                Piece::One => {
                    line.text.push_str(line.joint);
                    break;
                }
                // The `**` may be empty: no joint then.
                Piece::Many => break,
            }
        }
        line.text
    }

    /// The leading literals, without the last segment of the template.
    pub(super) fn literal_folder(&self) -> Vec<&str> {
        let folders = self.pieces.iter().take(self.pieces.len().saturating_sub(1));
        let literals = folders.map_while(|piece| match piece {
            Piece::Literal(literal) => Some(&**literal),
            Piece::One | Piece::Many => None,
        });
        literals.collect()
    }

    /// Whether a name strictly below the folder made of `segments` could match.
    pub(super) fn reaches_below<'s>(&self, segments: impl Iterator<Item = &'s str>) -> bool {
        let mut pieces = self.pieces.iter();
        for segment in segments {
            match pieces.next() {
                Some(Piece::Literal(literal)) if **literal == *segment => {}
                Some(Piece::One) => {}
                Some(Piece::Many) => return true,
                Some(Piece::Literal(_)) | None => return false,
            }
        }
        pieces.next().is_some()
    }

    fn joint_after(&self, index: usize) -> &str {
        if index < self.heads { "/" } else { &self.joint }
    }

    /// A segment captured by `source`, spelled for this side.
    fn converted<'s>(&self, source: &Self, segment: &'s str) -> Option<Cow<'s, str>> {
        if self.is_foreign {
            let foreign = if self.escape { escape::decode(segment)? } else { Cow::Borrowed(segment) };
            return self.admits(&foreign).then_some(foreign);
        }
        if !source.admits(segment) {
            return None;
        }
        Some(if source.escape { escape::encode(segment) } else { Cow::Borrowed(segment) })
    }

    /// Whether a foreign segment survives being joined and split again.
    fn admits(&self, segment: &str) -> bool {
        let joint = &*self.joint;
        is_capture(segment)
            && !segment.contains(joint)
            && (self.escape || !segment.contains('/'))
            && (joint == "/" || !touches(segment, joint))
    }
}

/// A name being written: each segment is preceded by the joint that belongs after the one before it.
#[derive(Default)]
struct Line<'p> {
    text: String,
    joint: &'p str,
}

impl<'p> Line<'p> {
    fn push(&mut self, segment: &str, joint_after: &'p str) {
        self.text.push_str(self.joint);
        self.text.push_str(segment);
        self.joint = joint_after;
    }
}

fn capture<'n>(piece: &Piece, segment: &'n str, captures: &mut Vec<Capture<'n>>) -> Option<()> {
    match piece {
        Piece::Literal(literal) => (**literal == *segment).then_some(()),
        Piece::One => (!segment.is_empty()).then(|| captures.push(Some(segment))),
        Piece::Many => None,
    }
}

fn piece(segment: &str, is_literal: impl Fn(&str) -> bool) -> Result<Piece, String> {
    match segment {
        "" => Err("a segment is empty (leading, trailing or double slash or separator)".to_owned()),
        "*" => Ok(Piece::One),
        "**" => Ok(Piece::Many),
        _ if segment.contains('*') => {
            Err(format!("`{}` mixes `*` with other text; a wildcard is a whole segment", segment.escape_debug()))
        }
        _ if is_literal(segment) => Ok(Piece::Literal(Box::from(segment))),
        _ => Err(format!("`{}` cannot be a segment on this side", segment.escape_debug())),
    }
}

fn is_path_segment(segment: &str) -> bool {
    SecretPath::is_path(segment)
}

/// As `str::split_once`, whose search for texts costs more than the rest of a match; almost every joint is a slash.
fn split_once<'n>(text: &'n str, joint: &str) -> Option<(&'n str, &'n str)> {
    if joint == "/" { text.split_once('/') } else { text.split_once(joint) }
}

/// What a segment may be on any side.
pub(super) fn is_capture(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && !has_control(segment)
}

/// Whether all that slashes separate may be segments.
fn are_captures(text: &str) -> bool {
    let mut segments = text.as_bytes().split(|byte| *byte == b'/');
    segments.all(|segment| !matches!(segment, [] | [b'.'] | [b'.', b'.'])) && !has_control(text)
}

/// Whether joining `segment` by `separator` could move the place where the name is split again.
fn touches(segment: &str, separator: &str) -> bool {
    segment.starts_with(|c: char| separator.contains(c)) || segment.ends_with(|c: char| separator.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Result<Pattern, String> {
        Pattern::foreign(text, Notation { side: Side::To, separator: None, escape: false })
    }

    #[test]
    fn templates() {
        for good in ["a", "*", "**", "a/**/b", "*/x/**", "a!b/é ü/*"] {
            assert!(plain(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", "a*", "*a", "***", "a/b*c", "**/**", "a/./b", "..", "a\0", "a\nb"] {
            assert!(plain(bad).is_err(), "{bad:?}");
        }
        for bad in ["a!b", "a b/*", "é", "a/", &"a".repeat(129), &["a"; 33].join("/")] {
            assert!(Pattern::path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn g04_a_star_is_never_part_of_a_segment() {
        assert!(plain("secret/foo*").is_err());
        let below = plain("secret/foo/*").unwrap();
        assert_eq!(below.captures("secret/foo"), None);
        assert_eq!(below.captures("secret/foobar"), None);
        assert_eq!(below.captures("secret/foo/"), None);
        assert_eq!(below.captures("secret/foo/x"), Some(vec![Some("x")]));
    }

    #[test]
    fn g05_one_star_is_one_segment_and_two_are_any_number() {
        let one = plain("a/*/z").unwrap();
        assert_eq!(one.captures("a/b/z"), Some(vec![Some("b")]));
        assert_eq!(one.captures("a/b/c/z"), None);
        assert_eq!(one.captures("a/z"), None);
        let many = plain("a/*/**/*/z").unwrap();
        assert_eq!(many.captures("a/b/c/z"), Some(vec![Some("b"), None, Some("c")]));
        assert_eq!(many.captures("a/b/x/y/c/z"), Some(vec![Some("b"), Some("x/y"), Some("c")]));
        assert_eq!(many.captures("a/b/z"), None);
        assert_eq!(plain("a/**").unwrap().captures("a"), Some(vec![None]));
        assert_eq!(plain("a/**").unwrap().captures("ab"), None);
    }

    #[test]
    fn g06_metacharacters_of_a_name_are_literal() {
        let literal = plain("secret/a").unwrap();
        for name in ["secret/*", "secret/?", "secret/[a]", "secret/{a}", "secret/a+", "*/a", "**"] {
            assert_eq!(literal.captures(name), None, "{name}");
        }
        assert_eq!(plain("secret/*").unwrap().captures("secret/**"), Some(vec![Some("**")]));
    }

    #[test]
    fn a_separator_leaves_what_stands_before_the_name_on_a_wire() {
        let notation = Notation { side: Side::From, separator: Some("--"), escape: false };
        let wire = Pattern::foreign("vault-1/prod--**", notation).unwrap();
        assert_eq!(wire.captures("vault-1/prod--a--b"), Some(vec![Some("a--b")]));
        assert_eq!(wire.captures("vault-1--prod--a"), None);
        assert_eq!(wire.literal_prefix(), "vault-1/prod");
        let remote = Pattern::foreign("prod/*/**", Notation { side: Side::To, ..notation }).unwrap();
        assert_eq!(remote.captures("prod--a--b--c"), Some(vec![Some("a"), Some("b--c")]));
        assert_eq!(remote.literal_prefix(), "prod--");
        assert!(Pattern::foreign("-a/**", Notation { side: Side::To, ..notation }).is_err());
    }

    proptest! {
        #[test]
        fn what_many_segments_may_be_each_of_them_may_be(text in "[a./é\\x00\\u{85}]{0,10}|\\PC{0,20}") {
            prop_assert_eq!(are_captures(&text), text.split('/').all(is_capture));
            for joint in ["/", "--", "é"] {
                prop_assert_eq!(split_once(&text, joint), text.split_once(joint));
            }
        }

        #[test]
        fn a_kept_capture_is_what_its_segments_make(text in "[ab./_x\\x00é-]{1,10}") {
            for notation in [false, true].map(|escape| Notation { side: Side::To, separator: None, escape }) {
                let (path, remote) = (Pattern::path("a/**").unwrap(), Pattern::foreign("r/s/**", notation).unwrap());
                for (source, sink, name, head) in [(&path, &remote, "a", "r/s"), (&remote, &path, "r/s", "a")] {
                    let name = format!("{name}/{text}");
                    let captures = source.captures(&name).unwrap();
                    let segments: Option<Vec<_>> = text.split('/').map(|part| sink.converted(source, part)).collect();
                    let expected = segments.map(|segments| format!("{head}/{}", segments.join("/")));
                    prop_assert_eq!(sink.render(source, &captures), expected);
                }
            }
        }
    }
}
