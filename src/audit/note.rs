//! Lines about calls without a receipt: those that were refused, and those that are not about secrets.

use std::time::Instant;

use super::Subject;
use super::draft::Draft;
use super::event::{Event, Kind, Rule};
use crate::error::ErrorKind;
use crate::mapping::RuleId;
use crate::policy::Denial;

/// Why a call was not admitted. A path is given only if it parsed as a secret path; no other name of a client is ever
/// recorded.
#[derive(Debug)]
pub enum Refusal {
    /// It could not be understood.
    Malformed {
        /// The secret path, if it got that far.
        path: Option<Box<str>>,
    },
    /// No credential, or one that is not known.
    Unauthenticated,
    /// No rule maps the name.
    Unmapped {
        /// The secret path, if the listener's table yields one.
        path: Option<Box<str>>,
    },
    /// Policy said no.
    Denied {
        /// The secret path.
        path: Option<Box<str>>,
        /// Policy's answer.
        denial: Denial,
        /// The rule that maps the path, if one does.
        rule: Option<RuleId>,
    },
    /// Anything else that ends a call before it is admitted.
    Other {
        /// How it is told to the client.
        kind: ErrorKind,
        /// The secret path, if it got that far.
        path: Option<Box<str>>,
    },
}

impl Refusal {
    /// What the client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } => ErrorKind::Malformed,
            Self::Unauthenticated => ErrorKind::Unauthenticated,
            Self::Unmapped { .. } | Self::Denied { .. } => ErrorKind::Denied,
            Self::Other { kind, .. } => *kind,
        }
    }

    fn event(&self) -> Event<'_> {
        let event = Event { kind: Kind::Refusal, outcome: Some(Err(self.kind())), ..Event::default() };
        match self {
            Self::Unauthenticated => event,
            Self::Malformed { path } | Self::Other { path, .. } => Event { path: path.as_deref(), ..event },
            Self::Unmapped { path } => Event { path: path.as_deref(), rule: Rule::Unmapped, ..event },
            Self::Denied { path, denial, rule } => Event {
                path: path.as_deref(),
                rule: rule.map_or(Rule::Untold, Rule::Id),
                policies: Some(denial.policies()),
                detail: denial.is_error().then_some("policy_error"),
                ..event
            },
        }
    }

    pub(super) fn write(&self, subject: &Subject, draft: &mut Draft, now: Instant) {
        write_event(&self.event(), subject, draft, now);
    }
}

/// How a call ended that is not about a secret: logins, token calls, administration, the system. The subject's
/// operation says which call it was.
#[derive(Clone, Debug)]
pub struct Note {
    /// How it ended.
    pub outcome: Result<(), ErrorKind>,
    /// A word of a closed set that says more (a login method, a reason), or empty.
    pub detail: &'static str,
    /// What it was about, such as the principal whose credentials end. Never a credential and never an accessor.
    pub target: Option<Box<str>>,
}

impl Note {
    /// A call that succeeded.
    #[must_use]
    pub const fn ok(detail: &'static str) -> Self {
        Self { outcome: Ok(()), detail, target: None }
    }

    /// A call that ended in an error.
    #[must_use]
    pub const fn failed(kind: ErrorKind, detail: &'static str) -> Self {
        Self { outcome: Err(kind), detail, target: None }
    }

    /// The same, about `target`.
    #[must_use]
    pub fn about(self, target: &str) -> Self {
        Self { target: Some(Box::from(target)), ..self }
    }

    pub(super) fn write(&self, subject: &Subject, draft: &mut Draft, now: Instant) {
        let event = Event {
            kind: Kind::Note,
            outcome: Some(self.outcome),
            detail: Some(self.detail).filter(|detail| !detail.is_empty()),
            target: self.target.as_deref(),
            ..Event::default()
        };
        write_event(&event, subject, draft, now);
    }
}

fn write_event(event: &Event<'_>, subject: &Subject, draft: &mut Draft, now: Instant) {
    let latency = now.saturating_duration_since(subject.started);
    draft.line(|fields| event.write(subject, latency, fields));
}
