//! Who may do what: Cedar behind [`Policies::authorize`].
//!
//! Promises: nothing is permitted unless a policy permits it, a forbid beats every permit, and a policy that cannot be
//! evaluated denies. A [`Permit`] exists only because a policy set said yes to one question; nothing outside this room
//! can make one. Decisions are pure: the same set answers the same question in the same way.
//!
//! The room knows secret paths, principals and the context of a request, never a wire name, a remote name or a value.
//! Entities are built for each question from the ancestors of the path; there is no table of them to keep in step.

mod cache;
mod compile;
mod engine;
mod expect;
mod mention;
mod question;
mod request;
mod verdict;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::identity::Principal;
use crate::secret::{Action, Folder};

use cache::Decisions;
use compile::Compiled;
use engine::Engine;
use mention::Mentions;
use question::Question;

pub use expect::check_cases;
pub use question::{Context, Resource, SystemArea};
pub use verdict::{Decision, Denial, Explanation, Permit};

/// What `dev` runs under.
const PERMIT_ALL: &str = r#"@id("dev-permit-all") permit (principal, action, resource);"#;

/// What `system/*` principals (sync, migration) run under: everything but destroying and administering.
const SYSTEM: &str = r#"
@id("system")
permit (
  principal in Group::"system",
  action in [Action::"read", Action::"describe", Action::"list", Action::"write", Action::"delete"],
  resource
);
"#;

/// One tenant's policies, compiled: an immutable snapshot. A reload makes a new one, with an empty decision cache.
pub struct Policies {
    engine: Engine,
    /// Present only when a decision depends on nothing but what the cache's key holds.
    decisions: Option<Decisions>,
    warnings: Vec<String>,
    folders: Vec<Folder>,
    generation: u64,
}

impl Policies {
    /// Compiles policy files, each given as its name and its text. No file, or files without a policy, make a set that
    /// denies everything.
    ///
    /// # Errors
    /// Every problem of every file, each as `file:line:column: what is wrong`: syntax, a policy without an `@id` or
    /// with one used before, a template, a name that can never match, and all that strict validation against the
    /// shipped schema finds.
    pub fn compile(sources: &[(String, String)], generation: u64) -> Result<Self, Vec<String>> {
        Ok(Self::assemble(compile::compile(sources)?, generation))
    }

    /// The built-in set of `dev`: everyone may do everything, decided by `dev-permit-all`.
    #[must_use]
    pub fn permit_all(generation: u64) -> Self {
        Self::built_in(PERMIT_ALL, generation)
    }

    /// The built-in set of `system/*` principals: members of the group `system` may read, describe, list, write and
    /// delete everything, decided by `system`.
    #[must_use]
    pub fn system() -> Self {
        Self::built_in(SYSTEM, 0)
    }

    fn built_in(text: &str, generation: u64) -> Self {
        // A built-in text that did not compile would deny everything; a test compiles both.
        let compiled = compile::compile(&[("built-in".to_owned(), text.to_owned())]).unwrap_or_default();
        Self::assemble(compiled, generation)
    }

    fn assemble(compiled: Compiled, generation: u64) -> Self {
        let Compiled { set, mentions, warnings } = compiled;
        let decisions = mentions.is_timeless().then(Decisions::new);
        let folders = compile::folders(&set);
        Self { engine: Engine::new(set, mentions), decisions, warnings, folders, generation }
    }

    /// Decides. Called once per route of a call, after mapping and before anything is read or written.
    ///
    /// # Errors
    /// A [`Denial`] when no policy permits, a policy forbids, or a policy could not be evaluated.
    pub fn authorize(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource<'_>,
        context: &Context,
    ) -> Result<Permit, Denial> {
        let question = Question { principal, action, resource, context };
        let Some(decisions) = &self.decisions else {
            return self.engine.evaluate(&question).into_verdict();
        };
        if let Some(verdict) = decisions.find(&question) {
            return verdict;
        }
        let verdict = self.engine.evaluate(&question).into_verdict();
        decisions.keep(&question, &verdict);
        verdict
    }

    /// Decides without the cache, and says why. Grants nothing.
    #[must_use]
    pub fn explain(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource<'_>,
        context: &Context,
    ) -> Explanation {
        self.engine.evaluate(&Question { principal, action, resource, context }).into_explanation()
    }

    /// Whether decisions are cached: the policies mention neither `context.now` nor `context.source_ip`.
    #[must_use]
    pub const fn is_cacheable(&self) -> bool {
        self.decisions.is_some()
    }

    /// Which configuration generation the set was compiled for; 0 for [`Self::system`].
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Every folder that a policy names. To be named says nothing of what is permitted: it is where permission may begin.
    #[must_use]
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// What strict validation found odd but not wrong (a policy that never applies, look-alike characters), each as
    /// `file:line:column: what`.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn mentions(&self) -> Mentions {
        self.engine.mentions()
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("generation", &self.generation)
            .field("is_cacheable", &self.is_cacheable())
            .finish_non_exhaustive()
    }
}
