//! Our own REST API: secrets, tokens, revocation, explanation, federation, seal and events, with problem documents
//! (RFC 9457) for errors.
//!
//! Every path of it is described in the `api` room; a path that is not there is not served.

mod decode;
mod encode;
mod federation;
#[cfg(test)]
mod tests;

use super::{Answer, Decoded, Fault, Frontend, ListenerFacts, Named, Reveal, WireRequest, WireResponse};
use crate::secret::{Action, WireKind};

/// The server role; there is no client role of its own (another proxy is reached over the vault wire).
#[derive(Clone, Copy, Debug, Default)]
pub struct ScaivaultFrontend;

/// What the answer must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A secret, under the path that was asked for.
    Secret(String),
    /// The versions of a secret.
    Versions(String),
    /// Names in a folder.
    Names(String),
    /// A write.
    Written(String),
    /// Anything else.
    Other,
}

impl Frontend for ScaivaultFrontend {
    fn kind(&self) -> WireKind {
        WireKind::Scaivault
    }

    fn decode<'r>(&self, request: &WireRequest<'r>, facts: &ListenerFacts) -> Result<Decoded<'r>, Fault> {
        decode::decode(request, facts)
    }

    fn named(&self, text: &str, _action: Action, _facts: &ListenerFacts) -> Result<Named, &'static str> {
        let name = text.strip_prefix("/v1/secrets/").unwrap_or(text).to_owned();
        Ok(Named { name, is_passed: false })
    }

    fn encode(&self, shape: &super::Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
        match shape {
            super::Shape::Scaivault(shape) => encode::encode(shape, answer, reveal),
            super::Shape::Vault(_) | super::Shape::Aws(_) => encode::encode(&Shape::Other, answer, reveal),
        }
    }

    fn refuse(&self, fault: Fault, reveal: Reveal<'_>) -> WireResponse {
        encode::problem(fault, reveal)
    }
}
