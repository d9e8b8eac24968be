//! An ordered list of rules: the first that matches wins, in both directions.
//!
//! INVARIANT: `backward` answers a name only if `forward` of that name gives the asked one by the same rule, so that
//! what is found on the other side is never served under a name that leads elsewhere.
//! What an earlier rule's pattern matches but its other side cannot hold is not matched by it, and goes to later rules.

use super::pattern::{Notation, Pattern};
use super::{Problem, RuleSpec, Side, Unmapped};
use crate::secret::{SecretPath, has_control};

/// One mapping table: ordered template pairs.
#[derive(Clone, Debug)]
pub struct Table {
    rules: Box<[Rule]>,
    /// The side whose names are not secret paths.
    foreign: Side,
}

/// A name on the other side, and the rule that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Index of the rule in the table.
    pub rule: usize,
    /// The name on the other side.
    pub name: String,
}

/// A rule tried on a name, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Index of the rule in the table.
    pub rule: usize,
    /// Its `from` as configured.
    pub from: String,
    /// Its `to` as configured.
    pub to: String,
    /// The name on the other side, or why the rule does not apply.
    pub outcome: Result<String, &'static str>,
}

impl Table {
    /// Compiles rules in order. `foreign` is the side whose names are not secret paths: [`Side::From`] for a listener,
    /// [`Side::To`] for a backend. With a separator every segment of a foreign name is joined by it, except that on a
    /// listener the literals before the first wildcard keep their `/` (mount, vault or project).
    ///
    /// # Errors
    /// Every problem of every rule, keyed `[0].from`, `[0].to` or `[0].separator`.
    pub fn compile(specs: &[RuleSpec], foreign: Side) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::with_capacity(specs.len());
        for (index, spec) in specs.iter().enumerate() {
            match Rule::compile(spec, foreign) {
                Ok(rule) => rules.push(rule),
                Err(found) => problems.extend(
                    found.into_iter().map(|(field, message)| Problem { key: format!("[{index}].{field}"), message }),
                ),
            }
        }
        if problems.is_empty() { Ok(Self { rules: rules.into_boxed_slice(), foreign }) } else { Err(problems) }
    }

    /// A listener's default: `** -> **`.
    #[must_use]
    pub fn identity() -> Self {
        let spec = RuleSpec { from: "**".to_owned(), to: "**".to_owned(), ..RuleSpec::default() };
        let rules = Rule::compile(&spec, Side::From).into_iter().collect();
        Self { rules, foreign: Side::From }
    }

    /// The other name of `name`, by the first rule that matches.
    #[must_use]
    pub fn forward(&self, name: &str) -> Option<Mapped> {
        if self.is_name(name, Side::From) { self.first(name) } else { None }
    }

    /// The name that `forward` maps to `name`, by the first rule for which there is one.
    ///
    /// # Errors
    /// Why there is none; of several reasons, the first rule's.
    pub fn backward(&self, name: &str) -> Result<Mapped, Unmapped> {
        let locate = |from: &str| self.first(from).map(|mapped| (mapped.rule, mapped.name));
        let (rule, name) = self.backward_by(name, |rule| rule, locate)?;
        Ok(Mapped { rule, name })
    }

    /// Every rule up to and including the first that matches, with what became of it.
    #[must_use]
    pub fn trial(&self, name: &str) -> Vec<Trial> {
        let is_name = self.is_name(name, Side::From);
        let mut trials = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let outcome = if is_name { rule.map(name, Side::To) } else { Err(Miss::Name) };
            let is_match = outcome.is_ok();
            trials.push(Trial {
                rule: index,
                from: rule.from.text().to_owned(),
                to: rule.to.text().to_owned(),
                outcome: outcome.map_err(Miss::as_str),
            });
            if is_match {
                break;
            }
        }
        trials
    }

    /// `(from, to)` of every rule as configured, in order.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().map(|rule| (rule.from.text(), rule.to.text()))
    }

    /// Pairs of rules, earlier first, whose `from` can match one name.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(usize, usize)> {
        self.pairs().filter(|(_, a, _, b)| a.from.overlaps(&b.from)).map(|(i, _, j, _)| (i, j)).collect()
    }

    /// Whether a name strictly below `folder` (empty for the root) could match the rule's `from`.
    #[must_use]
    pub fn could_yield(&self, rule: usize, folder: &str) -> bool {
        let segments = folder.split('/').filter(|_| !folder.is_empty());
        self.rules.get(rule).is_some_and(|rule| rule.from.reaches_below(segments))
    }

    /// As [`Table::forward`], for a name already known to be one of the `from` side.
    pub(super) fn first(&self, name: &str) -> Option<Mapped> {
        self.rules
            .iter()
            .enumerate()
            .find_map(|(rule, candidate)| Some(Mapped { rule, name: candidate.map(name, Side::To).ok()? }))
    }

    /// As [`Table::backward`], where `locate` says which rule takes a name, and `id` names this table's rules the way
    /// `locate` does.
    pub(super) fn backward_by<R: PartialEq>(
        &self,
        name: &str,
        id: impl Fn(usize) -> R,
        locate: impl Fn(&str) -> Option<(R, String)>,
    ) -> Result<(R, String), Unmapped<R>> {
        if !self.is_name(name, Side::To) {
            return Err(Unmapped::NotAName);
        }
        let mut reason = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let missed = match rule.map(name, Side::From) {
                Err(Miss::Pattern) => continue,
                Err(_) => Unmapped::NotAName,
                Ok(from) => match locate(&from) {
                    Some((by, to)) if by == id(index) && to == name => return Ok((by, from)),
                    Some((by, _)) if by != id(index) => Unmapped::Shadowed { rule: id(index), by },
                    Some(_) | None => Unmapped::NotAName,
                },
            };
            reason = reason.or(Some(missed));
        }
        Err(reason.unwrap_or(Unmapped::NoRule))
    }

    pub(super) fn compiled(&self) -> &[Rule] {
        &self.rules
    }

    fn is_name(&self, name: &str, side: Side) -> bool {
        if side == self.foreign { !name.is_empty() && !has_control(name) } else { SecretPath::is_path(name) }
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, &Rule, usize, &Rule)> {
        let rules = move || self.rules.iter().enumerate();
        rules().flat_map(move |(i, a)| rules().skip(i + 1).map(move |(j, b)| (i, a, j, b)))
    }
}

/// A compiled pair of templates.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) from: Pattern,
    pub(super) to: Pattern,
    foreign: Side,
}

/// Why a rule does not apply to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Miss {
    Name,
    Pattern,
    Capture,
    Empty,
    NotAPath,
}

impl Miss {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "this cannot be a name on the rule's side",
            Self::Pattern => "the name does not match the pattern",
            Self::Capture => "the name matches, but a captured segment cannot be spelled on the other side",
            Self::Empty => "the name matches, but its other name would be empty",
            Self::NotAPath => "the name matches, but its other name is not a secret path",
        }
    }
}

impl Rule {
    fn compile(spec: &RuleSpec, foreign: Side) -> Result<Self, Vec<(&'static str, String)>> {
        let separator = spec.separator.as_deref();
        if separator.is_some_and(|text| text.is_empty() || text.chars().any(|c| c.is_control() || "/*".contains(c))) {
            let message = "a separator is one or more characters without `/`, `*` and control characters";
            return Err(vec![("separator", message.to_owned())]);
        }
        let notation = Notation { side: foreign, separator, escape: spec.escape };
        let side = |side: Side, text: &str| {
            if side == foreign { Pattern::foreign(text, notation) } else { Pattern::path(text) }
        };
        match (side(Side::From, &spec.from), side(Side::To, &spec.to)) {
            (Ok(from), Ok(to)) if from.wildcards().eq(to.wildcards()) => Ok(Self { from, to, foreign }),
            (Ok(_), Ok(_)) => Err(vec![("to", "both sides must hold the same wildcards in the same order".to_owned())]),
            (from, to) => Err([("from", from.err()), ("to", to.err())]
                .into_iter()
                .filter_map(|(field, message)| Some((field, message?)))
                .collect()),
        }
    }

    /// Maps a name towards a side.
    pub(super) fn map(&self, name: &str, toward: Side) -> Result<String, Miss> {
        let (source, sink) = match toward {
            Side::To => (&self.from, &self.to),
            Side::From => (&self.to, &self.from),
        };
        let captures = source.captures(name).ok_or(Miss::Pattern)?;
        let mapped = sink.render(source, &captures).ok_or(Miss::Capture)?;
        if mapped.is_empty() {
            return Err(Miss::Empty);
        }
        if toward != self.foreign && !SecretPath::is_path(&mapped) {
            return Err(Miss::NotAPath);
        }
        Ok(mapped)
    }
}

#[cfg(test)]
mod tests;
