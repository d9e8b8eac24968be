//! Decisions already made, for policy sets whose answers depend on nothing but the question.
//!
//! Bounded, and owned by one policy set: a reload starts empty. The key holds everything a timeless policy can look at,
//! compared in full, so two questions never share an entry. A look-up borrows the question and allocates nothing.

use std::hash::{Hash, Hasher};

use moka::Equivalent;
use moka::sync::Cache;

use crate::identity::Method;
use crate::secret::{Action, Folder, Mode, WireKind};

use super::question::{Question, Resource};
use super::verdict::{Denial, Permit};

const CAPACITY: u64 = 10_000;

/// The cache of one policy set.
pub(super) struct Decisions(Cache<Key, Result<Permit, Denial>>);

impl Decisions {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// What was decided for the very same question.
    pub(super) fn find(&self, question: &Question<'_>) -> Option<Result<Permit, Denial>> {
        self.0.get(&Lookup::of(question))
    }

    /// Keeps a decision. What could not be evaluated is tried again: the cause may not lie in the question.
    pub(super) fn keep(&self, question: &Question<'_>, verdict: &Result<Permit, Denial>) {
        if verdict.as_ref().is_err_and(Denial::is_error) {
            return;
        }
        self.0.insert(Lookup::of(question).to_key(), verdict.clone());
    }
}

/// What a decision depends on, borrowed from the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lookup<'a> {
    /// No principal with another id, other groups or other folders has it. The method is told apart by itself.
    principal: u64,
    method: Method,
    action: Action,
    wire: WireKind,
    mode: Mode,
    kind: Kind,
    text: &'a str,
    folder: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Secret,
    Folder,
    Backend,
    System,
}

impl<'a> Lookup<'a> {
    fn of(question: &Question<'a>) -> Self {
        let (kind, text, folder) = match question.resource {
            Resource::Secret(path) => (Kind::Secret, path.as_str(), None),
            Resource::Folder(folder) => (Kind::Folder, folder.as_str(), None),
            Resource::Backend { name, folder } => (Kind::Backend, name, folder.map(Folder::as_str)),
            Resource::System(area) => (Kind::System, area.as_str(), None),
        };
        Self {
            principal: question.principal.key(),
            method: question.principal.method(),
            action: question.action,
            wire: question.context.wire,
            mode: question.context.mode,
            kind,
            text,
            folder,
        }
    }

    fn to_key(self) -> Key {
        Key {
            principal: self.principal,
            method: self.method,
            action: self.action,
            wire: self.wire,
            mode: self.mode,
            kind: self.kind,
            text: Box::from(self.text),
            folder: self.folder.map(Box::from),
        }
    }
}

/// The same, owned. It hashes and compares as the [`Lookup`] it lends.
struct Key {
    principal: u64,
    method: Method,
    action: Action,
    wire: WireKind,
    mode: Mode,
    kind: Kind,
    text: Box<str>,
    folder: Option<Box<str>>,
}

impl Key {
    fn lookup(&self) -> Lookup<'_> {
        Lookup {
            principal: self.principal,
            method: self.method,
            action: self.action,
            wire: self.wire,
            mode: self.mode,
            kind: self.kind,
            text: &self.text,
            folder: self.folder.as_deref(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lookup().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.lookup() == other.lookup()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.lookup()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::question::{Context, SystemArea};
    use super::super::tests::{folder, here, ledger, oncall, path};
    use super::super::verdict::Evaluation;
    use super::*;

    fn verdict(permits: bool, errors: &[&str]) -> Result<Permit, Denial> {
        let errors = errors.iter().map(ToString::to_string).collect();
        let policies = ["p"].into_iter().map(Box::from).collect();
        Evaluation { permits, policies, errors }.into_verdict()
    }

    #[test]
    fn questions_that_differ_in_one_thing_do_not_share_a_decision() {
        let (ledger, oncall) = (ledger(), oncall());
        let (secret, other, home, root) = (path("audit"), path("audit/x"), folder("audit"), folder(""));
        let aws = Context { wire: WireKind::Aws, ..here() };
        let sync = Context { mode: Mode::Local, ..here() };
        let here = here();
        let ask = |principal, action, resource, context| Question { principal, action, resource, context };
        let questions = [
            ask(&ledger, Action::Read, Resource::Secret(&secret), &here),
            ask(&oncall, Action::Read, Resource::Secret(&secret), &here),
            ask(&ledger, Action::Write, Resource::Secret(&secret), &here),
            ask(&ledger, Action::Read, Resource::Secret(&other), &here),
            ask(&ledger, Action::Read, Resource::Secret(&secret), &aws),
            ask(&ledger, Action::Read, Resource::Secret(&secret), &sync),
            ask(&ledger, Action::Administer, Resource::Folder(&home), &here),
            ask(&ledger, Action::Administer, Resource::System(SystemArea::Audit), &here),
            ask(&ledger, Action::Administer, Resource::Backend { name: "audit", folder: None }, &here),
            ask(&ledger, Action::Administer, Resource::Backend { name: "audit", folder: Some(&root) }, &here),
            ask(&ledger, Action::Administer, Resource::Backend { name: "audit", folder: Some(&home) }, &here),
        ];
        let keys: HashSet<Key> = questions.iter().map(|question| Lookup::of(question).to_key()).collect();
        assert_eq!(keys.len(), questions.len());

        for kept in &questions {
            let decisions = Decisions::new();
            decisions.keep(kept, &verdict(true, &[]));
            let found = questions.iter().filter(|question| decisions.find(question).is_some()).count();
            assert_eq!(found, 1);
            assert!(decisions.find(kept).unwrap().is_ok());
        }
    }

    #[test]
    fn denials_are_kept_and_evaluation_errors_are_not() {
        let (ledger, secret, here) = (ledger(), path("a/b"), here());
        let question =
            Question { principal: &ledger, action: Action::Read, resource: Resource::Secret(&secret), context: &here };
        let decisions = Decisions::new();
        decisions.keep(&question, &verdict(true, &["overflow"]));
        assert!(decisions.find(&question).is_none());
        decisions.keep(&question, &verdict(false, &[]));
        assert!(decisions.find(&question).unwrap().is_err());
    }
}
