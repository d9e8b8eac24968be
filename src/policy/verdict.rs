//! What comes out: a permit, a denial, or an explanation that is neither.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::ErrorKind;

/// Proof that the policies of a tenant permitted one action on one resource. Made only by
/// [`Policies::authorize`](super::Policies::authorize); cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Permit {
    policies: Arc<[Box<str>]>,
}

impl Permit {
    /// The `@id`s of the policies that permitted, sorted; never empty.
    #[must_use]
    pub fn policies(&self) -> &[Box<str>] {
        &self.policies
    }
}

/// Why an action is not permitted. Cloning is a reference count. Meant for operators; a client learns only that it was
/// denied.
#[derive(Clone, Debug)]
pub struct Denial {
    policies: Arc<[Box<str>]>,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// No policy permits.
    Default,
    /// A policy forbids.
    Forbidden,
    /// The question could not be answered.
    Error,
}

impl Denial {
    /// The `@id`s of the policies that decided, sorted: those that forbade and those that could not be evaluated. Empty
    /// when no policy permitted, or when the question itself could not be put.
    #[must_use]
    pub fn policies(&self) -> &[Box<str>] {
        &self.policies
    }

    /// Whether something could not be evaluated. It denies, whatever the other policies say.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.cause == Cause::Error
    }

    /// Always [`ErrorKind::Denied`]: a client must not be able to tell a forbid from a defect in a policy.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.cause {
            Cause::Default | Cause::Forbidden | Cause::Error => ErrorKind::Denied,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = self.policies.join(", ");
        match self.cause {
            Cause::Default => f.write_str("no policy permits it"),
            Cause::Forbidden => write!(f, "forbidden by {policies}"),
            Cause::Error if policies.is_empty() => f.write_str("the policies could not be asked"),
            Cause::Error => write!(f, "not every policy could be evaluated: {policies}"),
        }
    }
}

impl Error for Denial {}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A policy permits, none forbids, all could be evaluated.
    Permit,
    /// Everything else.
    Deny,
}

impl Decision {
    /// The word used in explanations and expectation files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
        }
    }
}

/// What would be decided, and why. Grants nothing.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What [`Policies::authorize`](super::Policies::authorize) would say.
    pub decision: Decision,
    /// The `@id`s that decided, as in [`Permit::policies`] or [`Denial::policies`].
    pub policies: Arc<[Box<str>]>,
    /// What could not be evaluated, for operators.
    pub errors: Vec<String>,
}

/// A question answered.
pub(super) struct Evaluation {
    /// Whether a policy permits and none forbids; worth nothing if there are errors.
    pub(super) permits: bool,
    pub(super) policies: Arc<[Box<str>]>,
    pub(super) errors: Vec<String>,
}

impl Evaluation {
    // INVARIANT: the only way to yes. An evaluation error denies even if another policy permits.
    fn decision(&self) -> Decision {
        if self.permits && self.errors.is_empty() { Decision::Permit } else { Decision::Deny }
    }

    pub(super) fn into_verdict(self) -> Result<Permit, Denial> {
        match self.decision() {
            Decision::Permit => Ok(Permit { policies: self.policies }),
            Decision::Deny => {
                let cause = if !self.errors.is_empty() {
                    Cause::Error
                } else if self.policies.is_empty() {
                    Cause::Default
                } else {
                    Cause::Forbidden
                };
                Err(Denial { policies: self.policies, cause })
            }
        }
    }

    pub(super) fn into_explanation(self) -> Explanation {
        Explanation { decision: self.decision(), policies: self.policies, errors: self.errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(permits: bool, policies: &[&str], errors: &[&str]) -> Evaluation {
        Evaluation {
            permits,
            policies: policies.iter().copied().map(Box::from).collect(),
            errors: errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn only_a_permit_without_errors_is_a_permit() {
        assert_eq!(&*evaluation(true, &["a"], &[]).into_verdict().unwrap().policies()[0], "a");
        let broken = evaluation(true, &["a"], &["overflow"]).into_verdict().unwrap_err();
        assert!(broken.is_error());
        assert_eq!(broken.to_string(), "not every policy could be evaluated: a");
        let forbidden = evaluation(false, &["b", "c"], &[]).into_verdict().unwrap_err();
        assert!(!forbidden.is_error());
        assert_eq!(forbidden.to_string(), "forbidden by b, c");
        let default = evaluation(false, &[], &[]).into_verdict().unwrap_err();
        assert_eq!((default.to_string().as_str(), default.kind()), ("no policy permits it", ErrorKind::Denied));
        let explained = evaluation(true, &["a"], &["overflow"]).into_explanation();
        assert_eq!((explained.decision, explained.decision.as_str()), (Decision::Deny, "deny"));
    }
}
