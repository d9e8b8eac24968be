//! HashiCorp Vault and OpenBao, both roles: the KV engines, token and login calls, the `sys` calls clients make before
//! anything else, and passthrough of whatever else a listener lists.
//!
//! Mounts are what the listener declares; an undeclared one is refused. A header or parameter that asks for something
//! this wire does not do (response wrapping, MFA, a second factor of any kind) is an error, never ignored.

mod backend;
mod body;
mod decode;
mod device;
mod encode;
mod exchange;
mod fault;
mod kv;
mod lease_call;
mod leases;
mod lent;
mod login;
mod named;
mod native;
mod neutral;
mod probe;
mod schema;
mod session;
mod system;
mod system_answer;
mod token;
mod transit;
mod write;

pub use backend::{VaultBackend, VaultSettings};
pub use device::{Changed, MAX_AUDIT_LINE, NoAuditLine, changed};
pub use login::{AuthMethod, CredentialSource, IdentityProver, Proving, SignedIdentity};
pub use transit::TransitKey;

use super::{Answer, Decoded, Fault, Frontend, ListenerFacts, Named, Reveal, WireRequest, WireResponse};
use crate::secret::{Action, WireKind};

/// The server role.
#[derive(Clone, Copy, Debug, Default)]
pub struct VaultFrontend;

/// What the answer to a vault call must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// KV version 2, `data/`.
    Kv2Data,
    /// KV version 2, the result of a write to `data/`.
    Kv2Written,
    /// KV version 2, `metadata/`.
    Kv2Metadata,
    /// KV version 2, `subkeys/`, down to so many levels (0: all).
    Kv2Subkeys(u32),
    /// KV version 1.
    Kv1,
    /// `data.keys`.
    Keys,
    /// Anything that has no body on success.
    Empty,
    /// Passthrough: native bytes only.
    Pass,
    /// Tokens and logins.
    Auth,
    /// `sys/*`.
    System,
}

impl Frontend for VaultFrontend {
    fn kind(&self) -> WireKind {
        WireKind::Vault
    }

    fn decode<'r>(&self, request: &WireRequest<'r>, facts: &ListenerFacts) -> Result<Decoded<'r>, Fault> {
        decode::decode(request, facts)
    }

    fn named(&self, text: &str, action: Action, facts: &ListenerFacts) -> Result<Named, &'static str> {
        named::named(text, action, facts)
    }

    fn encode(&self, shape: &super::Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
        let shape = if let super::Shape::Vault(shape) = shape { *shape } else { Shape::Empty };
        encode::encode(shape, answer, reveal)
    }

    fn refuse(&self, fault: Fault, reveal: Reveal<'_>) -> WireResponse {
        fault::render(fault, reveal)
    }
}
