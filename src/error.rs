//! The closed list of ways a call can fail.
//!
//! Every room has its own `thiserror` enum with an exhaustive `kind()`; this is what those map to. The kind is the
//! metric label, the audit outcome and the only thing a wire may render for a client. Adding a kind breaks every
//! wire's rendering on purpose.

use std::fmt;

/// Why a call ended without a success, as seen by metrics, audit and wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request cannot be understood or is ambiguous.
    Malformed,
    /// The request or a value in it is larger than a cap.
    TooLarge,
    /// No credential, or one this proxy does not know.
    Unauthenticated,
    /// Policy said no, or the name is not mapped.
    Denied,
    /// Allowed, and not there.
    NotFound,
    /// A precondition (`cas`, a replay, a concurrent edit) failed.
    Conflict,
    /// A write to a path that is served read-only.
    ReadOnly,
    /// Understood and not offered here.
    Unsupported,
    /// Too many requests; try later.
    RateLimited,
    /// The backend answered, and refused us.
    UpstreamRejected,
    /// The backend could not be reached or failed.
    UpstreamUnavailable,
    /// The backend did not answer within its deadline.
    Timeout,
    /// A required part of this process cannot serve: the seal or a required audit sink.
    Sealed,
    /// A defect on our side.
    Internal,
}

impl ErrorKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::ReadOnly,
        Self::Unsupported,
        Self::RateLimited,
        Self::UpstreamRejected,
        Self::UpstreamUnavailable,
        Self::Timeout,
        Self::Sealed,
        Self::Internal,
    ];

    /// The stable `snake_case` word used in metrics, audit lines and problem documents.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::ReadOnly => "read_only",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::UpstreamRejected => "upstream_rejected",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::Timeout => "timeout",
            Self::Sealed => "sealed",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
