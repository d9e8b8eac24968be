//! AWS Secrets Manager, server role: the JSON protocol of the SDKs, the login of STS with a web identity, and the endpoint
//! the SDKs fetch container credentials from.
//!
//! Wire names are secret names; an ARN is reduced to its name, and only one of the listener's account and region is
//! taken. Members this wire does not know are ignored, as the service does; a member that asks for something it does not
//! do (replication, a key of the client's choice, a session policy) is an error. Of what the service would call by
//! creation time, lists say names unless they are asked for a sort: nothing else is known at no further cost.

mod answer;
mod backend;
mod decode;
mod describe;
mod encode;
mod fault;
mod keys;
mod list;
mod name;
mod native;
mod password;
mod read;
mod schema;
mod sts;
#[cfg(test)]
mod tests;
mod value;
mod version;
mod write;

pub use backend::{
    AwsBackend, AwsIdentity, AwsSettings, CredentialSource, IdentityProof, KeySource, ProofSettings, Prover, Role,
    Surroundings, minimal_policy,
};

use super::{Answer, Decoded, Fault, Frontend, ListenerFacts, Named, Reveal, WireRequest, WireResponse};
use crate::error::ErrorKind;
use crate::secret::{Action, WireKind, WireName};

/// The server role.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsFrontend;

/// What the answer to a call must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value.
    Value(WireName, Asked),
    /// What is known of a secret, under this name.
    Described(WireName),
    /// A page of the versions of a secret, newest first.
    Versions {
        /// Whose.
        name: WireName,
        /// Those without a label, too.
        deprecated: bool,
        /// Only what is older than this number and identifier.
        after: Option<(u64, Box<str>)>,
        /// At most so many.
        limit: usize,
    },
    /// A page of secrets.
    Catalogue,
    /// Several values; what was asked for by name, and how it was written.
    Values(Vec<(WireName, Box<str>)>),
    /// A write, and whether the answer names the labels of the new version.
    Written(WireName, bool),
    /// The secret that something was done to.
    Named(WireName),
    /// A deletion, and after how many days it is for good.
    Deleted(WireName, u16),
    /// An object without members.
    Empty,
    /// A random password.
    Password,
    /// Container credentials.
    AccessKey,
    /// A login with a web identity.
    WebIdentity {
        /// The role's name as the client knows it; decides nothing.
        role: Box<str>,
        /// What the client calls its session.
        session: Box<str>,
    },
}

/// Which version a client asked for, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// None in particular.
    Current,
    /// By its label.
    Stage(Box<str>),
    /// By its identifier.
    Version(Box<str>),
}

impl Frontend for AwsFrontend {
    fn kind(&self) -> WireKind {
        WireKind::Aws
    }

    fn decode<'r>(&self, request: &WireRequest<'r>, facts: &'r ListenerFacts) -> Result<Decoded<'r>, Fault> {
        decode::decode(request, facts)
    }

    fn named(&self, text: &str, _action: Action, facts: &ListenerFacts) -> Result<Named, &'static str> {
        // what is no name is left as it is: the question is about the text the person wrote
        let name = facts.aws.as_ref().and_then(|aws| name::secret(text, aws).ok());
        let name = name.map_or_else(|| text.to_owned(), |name| name.as_str().to_owned());
        Ok(Named { name, is_passed: false })
    }

    fn encode(&self, shape: &super::Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
        match shape {
            super::Shape::Aws(shape) => encode::encode(shape, answer, reveal),
            _ => fault::render(Fault::of(ErrorKind::Internal), reveal),
        }
    }

    fn refuse(&self, fault: Fault, reveal: Reveal<'_>) -> WireResponse {
        fault::render(fault, reveal)
    }
}
