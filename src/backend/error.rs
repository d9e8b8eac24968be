//! Why a backend gave no answer, in our own words.

use thiserror::Error;

use crate::error::ErrorKind;
use crate::secret::detail;

const REFUSED: &str = "the backend refused our credential";
/// How a server words it.
const NOT_RENEWABLE: &str = "lease is not renewable";

/// Why a backend gave no answer that could be passed on. Never holds the backend's own words: they may hold anything.
#[derive(Clone, Debug, Error)]
pub enum BackendError {
    /// No connection, or it broke. The text is ours.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The backend answered with a status that says it cannot serve.
    #[error("answered {0}")]
    Failing(u16),
    /// Too many calls; not before so many seconds.
    #[error("too many calls")]
    RateLimited(Option<u64>),
    /// The backend does not let our own credential do this.
    #[error("our credential is not allowed to do this")]
    Denied,
    /// The backend refused the request for another reason.
    #[error("refused the request with {0}")]
    Rejected(u16),
    /// Nothing came back in time.
    #[error("no answer within the deadline")]
    Timeout,
    /// We could not log in.
    #[error("not logged in: {0}")]
    Login(&'static str),
    /// The answer was not one we accept: too large, compressed, cut, a redirect, or not of the expected form.
    #[error("unusable answer: {0}")]
    Unusable(&'static str),
    /// The version named does not carry the label it was named with.
    #[error("{}", detail::LABEL_NOT_THERE)]
    Mislabelled,
    /// What was lent can only be given back. The backend was not asked.
    #[error("{}", NOT_RENEWABLE)]
    NotRenewable,
    /// The backend does not offer this operation.
    #[error("not offered by this backend")]
    Unsupported,
    /// A write named the version it replaces, and another one is current. Nothing was written.
    #[error("changed meanwhile")]
    Conflict,
    /// A write may have reached the backend and what became of it is not known: only reading back tells. Never given for a
    /// write that surely did nothing, nor for anything but a write.
    #[error("the answer to a write was lost: {0}")]
    Unknown(&'static str),
}

impl BackendError {
    /// A login that the backend answered by refusing our credential. The backend is there, and does not know us.
    pub const REFUSED_LOGIN: Self = Self::Login(REFUSED);

    /// Whether it is [`Self::REFUSED_LOGIN`], and no other trouble with logging in.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Login(why) if *why == REFUSED)
    }

    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) | Self::Failing(_) | Self::Login(_) => ErrorKind::UpstreamUnavailable,
            Self::RateLimited(_) => ErrorKind::RateLimited,
            Self::Denied | Self::Rejected(_) | Self::Unusable(_) => ErrorKind::UpstreamRejected,
            Self::Timeout | Self::Unknown(_) => ErrorKind::Timeout,
            Self::NotRenewable | Self::Mislabelled => ErrorKind::Malformed,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Conflict => ErrorKind::Conflict,
        }
    }

    /// What a client is told beyond the kind.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::NotRenewable => Some(NOT_RENEWABLE),
            Self::Mislabelled => Some(detail::LABEL_NOT_THERE),
            _ => None,
        }
    }

    /// Seconds after which a retry makes sense, if known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(after) => *after,
            _ => None,
        }
    }

    /// Whether the same call may be sent again, if it is one that can be repeated at all.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Failing(502..=504))
    }

    /// Whether it says that the backend is not well. One that refuses our credential is.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Failing(_) | Self::Timeout | Self::Unknown(_) => true,
            Self::Login(_) => !self.is_refusal(),
            Self::RateLimited(_)
            | Self::Denied
            | Self::Rejected(_)
            | Self::Unusable(_)
            | Self::NotRenewable
            | Self::Mislabelled
            | Self::Unsupported
            | Self::Conflict => false,
        }
    }
}
