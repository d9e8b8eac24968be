//! A row of the table of the aws wire.

use serde_json::Value;

use super::{admin, nobody};
use crate::aws::sign::Keys;

/// What a principal is written as where there is none, and a path where there is none.
pub(super) const NONE: &str = "-";

/// Who asks, and how that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Unsigned,
    Unknown,
    Forged,
    Denied,
    Allowed,
}

impl Who {
    pub(super) const ALL: [Self; 5] = [Self::Unsigned, Self::Unknown, Self::Forged, Self::Denied, Self::Allowed];

    const fn principal(self) -> &'static str {
        match self {
            Self::Unsigned | Self::Unknown | Self::Forged => NONE,
            Self::Denied => "t/nobody",
            Self::Allowed => "t/admin",
        }
    }

    /// What a request is told whose signature is no good; `None` of those that are good.
    const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Unsigned => Some("MissingAuthenticationTokenException"),
            Self::Unknown => Some("UnrecognizedClientException"),
            Self::Forged => Some("InvalidSignatureException"),
            Self::Denied | Self::Allowed => None,
        }
    }

    pub(super) fn keys(self) -> Keys {
        match self {
            Self::Unsigned | Self::Allowed => admin(),
            Self::Unknown => Keys::new("AKIAUNKNOWNUNKNOWN01", &admin().secret),
            Self::Forged => Keys::new(&admin().id, &nobody().secret),
            Self::Denied => nobody(),
        }
    }
}

/// A line's kind, outcome and path.
pub(super) type Told = (&'static str, &'static str, &'static str);

/// A code, empty when the call worked, and the lines.
pub(super) type Answer = (&'static str, Vec<Told>);

/// A call, what the trail calls it, and what becomes of it for whom no policy names and for the admin.
pub(super) struct Case {
    pub(super) operation: &'static str,
    pub(super) body: Value,
    label: &'static str,
    denied: Answer,
    allowed: Answer,
    /// Refused for what it is, whoever asks.
    is_unread: bool,
}

impl Case {
    /// A call about a path, or about no path in particular.
    pub(super) fn about(call: (&'static str, Value), label: &'static str, path: &'static str, allowed: Answer) -> Self {
        let (operation, body) = call;
        let denied = ("AccessDeniedException", vec![("refusal", "denied", path)]);
        Self { operation, body, label, denied, allowed, is_unread: false }
    }

    pub(super) fn read(call: (&'static str, Value), label: &'static str, path: &'static str) -> Self {
        Self::about(call, label, path, ("", vec![("read", "ok", path)]))
    }

    /// A read of what is not there, in the service's code.
    pub(super) fn absent(call: (&'static str, Value), path: &'static str, code: &'static str) -> Self {
        Self::about(call, "read", path, (code, vec![("read", "not_found", path)]))
    }

    pub(super) fn write(call: (&'static str, Value), label: &'static str, path: &'static str) -> Self {
        Self::about(call, label, path, ("", vec![("intent", NONE, path), ("outcome", "ok", path)]))
    }

    /// A write that policy allows and the store does not take.
    pub(super) fn vain(call: (&'static str, Value), label: &'static str, outcome: Told, code: &'static str) -> Self {
        Self::about(call, label, outcome.2, (code, vec![("intent", NONE, outcome.2), outcome]))
    }

    /// A call whose code, outcome and line are the same for everybody.
    pub(super) fn unread(call: (&'static str, Value), outcome: &'static str, code: &'static str) -> Self {
        let (operation, body) = call;
        let answer = (code, vec![("refusal", outcome, NONE)]);
        Self { operation, body, label: "unknown", denied: answer.clone(), allowed: answer, is_unread: true }
    }

    /// The same with another end for whom no policy names.
    pub(super) fn but_denied(self, denied: Answer) -> Self {
        Self { denied, ..self }
    }

    /// The code, and the lines in short.
    pub(super) fn expected(&self, who: Who) -> (&'static str, Vec<String>) {
        let unauthenticated = (who.refusal().unwrap_or_default(), vec![("refusal", "unauthenticated", NONE)]);
        let (code, lines) = match who {
            _ if self.is_unread => &self.allowed,
            Who::Unsigned | Who::Unknown | Who::Forged => &unauthenticated,
            Who::Denied => &self.denied,
            Who::Allowed => &self.allowed,
        };
        let principal = if self.is_unread { NONE } else { who.principal() };
        let line = |(kind, outcome, path): &Told| [*kind, "aws", self.label, *outcome, principal, *path].join(" ");
        (*code, lines.iter().map(line).collect())
    }
}
