//! Whether a table leads two names to one.
//!
//! Names that two rules could both lead to are spelled out, one for each way in which the rules' templates fit each
//! other, and sent back through both. It counts only what then really leads there: an exception that stands before a wider
//! rule takes its names, and is no collision. Templates with different separators are tried on each other's names.

use super::Side;
use super::pattern::{Pattern, Piece};
use super::table::{Rule, Table};

/// How many segments a `**` stands for at most where it meets another.
const MAX_WORDS: usize = 3;
/// More ways than these in which two templates fit are not tried.
const MAX_NAMES: usize = 256;
/// Templates longer than any name in use are not tried; each piece is a step of recursion.
const MAX_PIECES: usize = 128;

impl Table {
    /// What leads two names to one: a sentence for each pair of rules that do, with an example.
    #[must_use]
    pub fn collisions(&self) -> Vec<String> {
        let word = self.free_word();
        self.pairs().filter_map(|(i, a, j, b)| self.collision((i, a), (j, b), &word)).collect()
    }

    fn collision(&self, (i, a): (usize, &Rule), (j, b): (usize, &Rule), word: &str) -> Option<String> {
        let (one, other, name) = names(&a.to, &b.to, word).into_iter().find_map(|name| {
            let (one, other) = (self.origin(i, a, &name)?, self.origin(j, b, &name)?);
            (one != other).then_some((one, other, name))
        })?;
        Some(format!(
            "rules {i} (`{}` -> `{}`) and {j} (`{}` -> `{}`) lead two names to one, such as `{}` and `{}` to `{}`",
            a.from.text().escape_debug(),
            a.to.text().escape_debug(),
            b.from.text().escape_debug(),
            b.to.text().escape_debug(),
            one.escape_debug(),
            other.escape_debug(),
            name.escape_debug(),
        ))
    }

    /// The name that a rule, and no earlier one, leads to `name`.
    fn origin(&self, index: usize, rule: &Rule, name: &str) -> Option<String> {
        let from = rule.map(name, Side::From).ok()?;
        let taken = self.forward(&from)?;
        (taken.rule == index && taken.name == name).then_some(from)
    }

    /// A segment that is no literal of the table, and shares nothing with its separators.
    fn free_word(&self) -> String {
        let is_free = |letter: &char| {
            let mut patterns = self.compiled().iter().flat_map(|rule| [&rule.from, &rule.to]);
            patterns.all(|pattern| {
                let is_literal = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.chars().eq([*letter]));
                !pattern.joint().contains(*letter) && !pattern.pieces().iter().any(is_literal)
            })
        };
        "xyzabcdefghijklmnopqrstuvw".chars().find(is_free).unwrap_or('x').to_string()
    }
}

/// Names that both templates could match.
fn names(one: &Pattern, other: &Pattern, word: &str) -> Vec<String> {
    if one.splits_like(other) {
        return Fit::of(one.pieces(), other.pieces(), word).iter().map(|segments| one.spell(segments)).collect();
    }
    let anything = [Piece::Many];
    let own = |pattern: &Pattern| -> Vec<String> {
        Fit::of(pattern.pieces(), &anything, word).iter().map(|segments| pattern.spell(segments)).collect()
    };
    [own(one), own(other)].concat()
}

/// Two templates on their way through each other.
struct Fit<'p> {
    word: &'p str,
    taken: Vec<&'p str>,
    found: Vec<Vec<&'p str>>,
}

impl<'p> Fit<'p> {
    /// The segments of names that both match, a wildcard on both sides standing for `word`.
    fn of(one: &'p [Piece], other: &'p [Piece], word: &'p str) -> Vec<Vec<&'p str>> {
        let mut fit = Self { word, taken: Vec::new(), found: Vec::new() };
        if one.len().max(other.len()) <= MAX_PIECES {
            fit.walk(one, other);
        }
        fit.found
    }

    fn walk(&mut self, one: &'p [Piece], other: &'p [Piece]) {
        if self.found.len() >= MAX_NAMES {
            return;
        }
        match (one.split_first(), other.split_first()) {
            (None, None) => self.found.push(self.taken.clone()),
            (Some((Piece::Many, after)), next) => {
                // the `**` ends here, or it takes what comes next on the other side
                self.walk(after, other);
                match next {
                    None => {}
                    Some((Piece::Many, rest)) => {
                        // both take some segments, then either of them ends first
                        for words in 1..=MAX_WORDS {
                            self.with(words, self.word, |fit| {
                                fit.walk(after, other);
                                fit.walk(one, rest);
                            });
                        }
                    }
                    Some((piece, rest)) => self.with(1, self.segment(piece), |fit| fit.walk(one, rest)),
                }
            }
            (_, Some((Piece::Many, _))) => self.walk(other, one),
            (Some((a, one)), Some((b, other))) => {
                let segment = match (a, b) {
                    (Piece::Literal(a), Piece::Literal(b)) if a != b => return,
                    (Piece::Literal(_), _) => self.segment(a),
                    _ => self.segment(b),
                };
                self.with(1, segment, |fit| fit.walk(one, other));
            }
            (None, Some(_)) | (Some(_), None) => {}
        }
    }

    fn segment(&self, piece: &'p Piece) -> &'p str {
        match piece {
            Piece::Literal(text) => text,
            Piece::One | Piece::Many => self.word,
        }
    }

    fn with(&mut self, times: usize, segment: &'p str, then: impl FnOnce(&mut Self)) {
        let before = self.taken.len();
        self.taken.extend(std::iter::repeat_n(segment, times));
        then(self);
        self.taken.truncate(before);
    }
}
