//! Cedar's authorizer over one policy set.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Authorizer, Diagnostics, PolicySet};

use super::mention::Mentions;
use super::question::Question;
use super::request;
use super::verdict::Evaluation;

/// A policy set whose policies are named by their `@id`.
pub(super) struct Engine {
    set: PolicySet,
    mentions: Mentions,
    authorizer: Authorizer,
    /// The list that holds nothing but one `@id`, which is what almost every decision ends with.
    singles: HashMap<Box<str>, Arc<[Box<str>]>>,
    nobody: Arc<[Box<str>]>,
}

impl Engine {
    pub(super) fn new(set: PolicySet, mentions: Mentions) -> Self {
        let singles = set
            .policies()
            .map(|policy| {
                let id: &str = policy.id().as_ref();
                (Box::from(id), only(id))
            })
            .collect();
        Self { set, mentions, authorizer: Authorizer::new(), singles, nobody: Arc::default() }
    }

    pub(super) const fn mentions(&self) -> Mentions {
        self.mentions
    }

    /// Answers a question. Whatever keeps it from being answered ends up in the errors.
    pub(super) fn evaluate(&self, question: &Question<'_>) -> Evaluation {
        let (request, entities) = match request::build(question, self.mentions) {
            Ok(built) => built,
            Err(error) => {
                return Evaluation { permits: false, policies: Arc::clone(&self.nobody), errors: vec![error] };
            }
        };
        let response = self.authorizer.is_authorized(&request, &self.set, &entities);
        let permits = response.decision() == cedar_policy::Decision::Allow;
        let diagnostics = response.diagnostics();
        Evaluation {
            permits,
            policies: self.deciding(permits, diagnostics),
            errors: diagnostics.errors().map(ToString::to_string).collect(),
        }
    }

    /// The `@id`s that decided: the policies that could not be evaluated, and those Cedar names, unless they permitted
    /// and are overruled by the errors.
    fn deciding(&self, permits: bool, diagnostics: &Diagnostics) -> Arc<[Box<str>]> {
        let mut ids: Vec<&str> = diagnostics
            .errors()
            .map(|error| {
                let AuthorizationError::PolicyEvaluationError(error) = error;
                AsRef::<str>::as_ref(error.policy_id())
            })
            .collect();
        if ids.is_empty() || !permits {
            ids.extend(diagnostics.reason().map(AsRef::<str>::as_ref));
        }
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Arc::clone(&self.nobody),
            [id] => self.singles.get(*id).cloned().unwrap_or_else(|| only(id)),
            many => many.iter().copied().map(Box::from).collect(),
        }
    }
}

fn only(id: &str) -> Arc<[Box<str>]> {
    let list: [Box<str>; 1] = [Box::from(id)];
    Arc::from(list)
}
