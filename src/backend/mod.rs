//! Remote stores, client side: what every vendor's client offers, the one HTTP client they share, and how a call survives
//! a bad day (deadlines, a retry budget, a breaker). Vendors live with their wire; this room knows none of them.

mod http;
mod resilient;
mod tls;

use async_trait::async_trait;
use thiserror::Error;

pub use self::http::{Answer, HttpClient, HttpSettings, UpstreamRequest};
pub use resilient::{Attempt, Resilience};
pub use tls::{TlsClient, client_config};

use crate::error::ErrorKind;
use crate::secret::{Dialect, NativeReply, PassCall, RemoteName, Reply, VersionSelector};

/// What a call is about, on the backend's side.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The secret, or the folder of a list.
    pub remote: &'a RemoteName,
    /// Which segment of the remote name is the literal that marks Vault's KV version 2; `None` for anything else.
    pub kv2_segment: Option<usize>,
    /// What the client speaks; a backend of the same dialect answers in native bytes.
    pub dialect: Dialect,
    /// Sent along, so that both sides' logs meet.
    pub request_id: &'a str,
}

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
    /// The backend does not offer this operation.
    #[error("not offered by this backend")]
    Unsupported,
}

impl BackendError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) | Self::Failing(_) | Self::Login(_) => ErrorKind::UpstreamUnavailable,
            Self::RateLimited(_) => ErrorKind::RateLimited,
            Self::Denied | Self::Rejected(_) | Self::Unusable(_) => ErrorKind::UpstreamRejected,
            Self::Timeout => ErrorKind::Timeout,
            Self::Unsupported => ErrorKind::Unsupported,
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
    const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Failing(502..=504))
    }

    /// Whether it says something about the backend's health.
    const fn is_failure(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Failing(_) | Self::Timeout | Self::Login(_))
    }
}

/// The names directly in a remote folder; folders end in `/`.
#[derive(Debug, Default)]
pub struct Listed {
    /// All of them, as the backend spells them.
    pub names: Vec<String>,
    /// The same in the backend's own bytes, if it speaks the client's dialect.
    pub native: Option<NativeReply>,
}

/// A remote store. Every method has its own deadline and holds no lock while waiting.
/// `Outcome::NotFound` is never a doubt: it is given only when the backend said so about this very name.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Called for a read after policy and audit admitted it.
    ///
    /// # Errors
    /// When there is no answer to pass on.
    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError>;

    /// Called for metadata and the list of versions.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError>;

    /// Called for the shape of a value.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, depth: u32) -> Result<Reply, BackendError>;

    /// Called for the names directly in the folder `ask.remote`. A list that was cut short is an error.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError>;

    /// Called for another API of the vendor, already allowed by listener, policy and audit.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn pass(&self, ask: Ask<'_>, call: &PassCall, list: bool) -> Result<Reply, BackendError>;

    /// Called by `check`: connect and log in.
    ///
    /// # Errors
    /// What is in the way.
    async fn check(&self) -> Result<(), BackendError>;

    /// Runs until dropped: keeps the credential alive. Called once, on the runtime that serves requests.
    async fn tend(&self);
}
