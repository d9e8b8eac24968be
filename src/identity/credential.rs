//! What a client presents, and who it turned out to be.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::{IdentityError, Principal, TokenHandle};
use crate::clock::Timestamp;

pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;
pub(super) const MAX_JWT_BYTES: usize = 16 * 1024;

/// What a client presented. Borrowed from the request; `Debug` shows the kind only.
#[derive(Clone, Copy, Default)]
pub enum Credential<'a> {
    /// Nothing in the request itself; a client certificate may speak for the connection.
    #[default]
    None,
    /// A token in a header of its own (`X-Vault-Token`).
    Token(&'a str),
    /// A token or a JWT after `Authorization: Bearer`.
    Bearer(&'a str),
    /// A signature over the whole request (AWS Signature Version 4).
    Signed(SignedRequest<'a>),
}

/// A request that is signed as a whole. Whether a signature is there, and what it says, is read from it when it is
/// verified.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without the question mark.
    pub query: Option<&'a str>,
    /// The one host the request names, as sent.
    pub host: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// The region a signature has to be for.
    pub region: &'a str,
    /// The service a signature has to be for.
    pub service: &'static str,
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(..)",
            Self::Bearer(_) => "Bearer(..)",
            Self::Signed(_) => "Signed(..)",
        })
    }
}

/// Which kind of credential decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerVia {
    /// The listener names its workload.
    Workload,
    /// A token of the configuration.
    StaticToken,
    /// A token this process issued.
    RunTimeToken,
    /// A JWT as bearer.
    Jwt,
    /// A client certificate.
    Certificate,
    /// An access key, by a request signed with it.
    AccessKey,
}

/// An authenticated client.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// A keyed hash of the credential, for audit: equal for equal credentials while the process lives.
    pub credential: [u8; 16],
    /// The run-time token, if that is what was presented.
    pub token: Option<TokenHandle>,
    /// Which kind of credential decided.
    pub via: CallerVia,
    /// When the credential ends, for a JWT and for a presigned request.
    pub not_after: Option<Timestamp>,
    /// What tells this signed request from every other; a second one of it is a replay.
    pub signature: Option<[u8; 32]>,
}

/// Whether `text` can be a credential at all: 1 to `max` bytes of visible ASCII.
pub(super) fn check_text(text: &str, max: usize) -> Result<(), IdentityError> {
    if text.is_empty() {
        Err(IdentityError::Malformed("it is empty"))
    } else if text.len() > max {
        Err(IdentityError::Malformed("it is too long"))
    } else if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(IdentityError::Malformed("it holds a character that is not visible ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_credential() {
        assert_eq!(
            format!("{:?} {:?}", Credential::Token("hunter2"), Credential::Bearer("hunter2")),
            "Token(..) Bearer(..)"
        );
    }

    #[test]
    fn v05_what_cannot_be_a_token_is_malformed() {
        for bad in ["", "a ", "a\n", "a\0", "é", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(check_text(bad, MAX_TOKEN_BYTES).is_err(), "{} bytes", bad.len());
        }
        assert_eq!(check_text(&"a".repeat(MAX_TOKEN_BYTES), MAX_TOKEN_BYTES), Ok(()));
    }
}
