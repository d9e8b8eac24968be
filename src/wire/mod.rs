//! The protocols. A folder a vendor, both roles inside: the frontend (server role: bytes to calls, answers to bytes) and
//! the backend (client role). Frontends are pure; they know names and shapes of their vendor and nothing of listeners,
//! mapping, policy or other wires.

pub mod aws;
mod cursor;
mod federation;
mod message;
pub mod scaivault;
mod strict;
mod target;
pub mod vault;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

pub use cursor::Cursors;
pub use federation::{BackendAction, FederationRequest, JsonBody, Winner};
pub use message::{
    AwsFacts, ListenerFacts, Mount, MountKind, PassOperation, Passthrough, WireBody, WireRequest, WireResponse,
};
pub use strict::{JsonError, check_json};
pub use target::{Query, TargetError, decode_segments};

use crate::audit::Disclosure;
use crate::error::ErrorKind;
use crate::identity::{AccessKey, Credential, Issued, Principal, TokenInfo};
use crate::secret::{Action, Call, Mode, WireKind};

/// Whether the answer to a request for this path, not decoded, may be [`WireBody::Events`] on any wire. Yes for more paths
/// than have such answers, and for every one that has.
#[must_use]
pub fn may_stream(path: &str) -> bool {
    // `/v1/events` of our own wire, however its letters are spelled: an encoded slash is no path anywhere
    path.bytes().filter(|byte| *byte == b'/').count() == 2
}

/// A request, decoded.
#[derive(Debug)]
pub struct Decoded<'r> {
    /// What was presented; borrowed from the request, never logged.
    pub credential: Credential<'r>,
    /// The namespace asked for, canonical: no leading or trailing slash; `None` is the root.
    pub namespace: Option<String>,
    /// What is asked for.
    pub request: Request,
    /// What the answer must look like; only the frontend that made it reads it.
    pub shape: Shape,
}

/// What a client asks for.
#[derive(Debug)]
pub enum Request {
    /// About secrets: goes through mapping and policy.
    Secret(Call),
    /// About several secrets at once: each call goes through mapping and policy by itself. Reads only.
    Batch(Vec<Call>),
    /// The values of all secrets of a catalogue that the caller may read: a call with
    /// [`crate::secret::SecretAction::Catalogue`].
    Gather(Call),
    /// Log in; needs no credential.
    Login(LoginRequest),
    /// Exchange what was presented for an access key of the same principal that ends by itself.
    AccessKey,
    /// About the caller's own token.
    Token(TokenRequest),
    /// Answered from configuration and policy.
    System(SystemRequest),
    /// Administration of this proxy.
    Admin(AdminRequest),
}

/// A login.
#[derive(Debug)]
pub struct LoginRequest {
    /// The auth mount in the path.
    pub mount: String,
    /// What the client brought; `None` if it is no method this proxy checks (a workload listener answers it all the same).
    pub proof: Option<LoginProof>,
}

/// What a client logs in with.
pub enum LoginProof {
    /// Role id and secret id.
    Approle {
        /// Public half.
        role_id: String,
        /// Secret half.
        secret_id: Zeroizing<String>,
    },
    /// A signed token of an identity provider or a Kubernetes cluster.
    Jwt {
        /// The token.
        jwt: Zeroizing<String>,
        /// The role the client names; decides nothing.
        role: Option<String>,
    },
}

impl std::fmt::Debug for LoginProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Approle { .. } => "Approle",
            Self::Jwt { .. } => "Jwt",
        })
    }
}

/// A call about the caller's own token.
#[derive(Debug)]
pub enum TokenRequest {
    /// Describe it.
    Lookup,
    /// Extend it.
    Renew(Option<Duration>),
    /// End it.
    Revoke,
    /// Make a child with a subset of the groups.
    Create(ChildRequest),
}

/// What a child token is to be.
#[derive(Debug, Default)]
pub struct ChildRequest {
    /// Groups wanted; `None`: the parent's.
    pub policies: Option<Vec<String>>,
    /// Lifetime wanted.
    pub ttl: Option<Duration>,
    /// Lifetime that renewing cannot pass.
    pub explicit_max_ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Shown in look-ups.
    pub display_name: Option<String>,
    /// Shown in look-ups.
    pub meta: Vec<(String, String)>,
}

/// A call answered from configuration and policy, with every backend down.
#[derive(Debug)]
pub enum SystemRequest {
    /// Health: no credential, no audit line.
    Health,
    /// Whether there is anything to unseal: no credential, no audit line.
    Init,
    /// Seal status: no credential, no audit line.
    SealStatus,
    /// Leader: no credential, no audit line.
    Leader,
    /// All mounts, as the CLI asks.
    UiMounts,
    /// The mount that a path lies in.
    UiMount(String),
    /// All mounts.
    Mounts,
    /// A key-value mount's settings.
    MountConfig,
    /// What the caller may do at API paths.
    Capabilities(Vec<Probe>),
    /// A random password.
    RandomPassword(PasswordRules),
    /// The description of our own API: no credential, no audit line; it is the same for everybody.
    OpenApi,
}

/// What a random password is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// How many characters, 1 to 4096.
    pub length: u16,
    /// Characters it may have, by kind; none of them empty.
    pub kinds: Vec<String>,
    /// Whether it has one of each kind.
    pub each_kind: bool,
}

/// One path of a capabilities question.
#[derive(Debug)]
pub struct Probe {
    /// As the client wrote it.
    pub asked: String,
    /// The calls it could make there, if the path is one this wire serves.
    pub calls: Vec<(&'static str, Call)>,
}

/// Administration over the scaivault wire.
#[derive(Debug)]
pub enum AdminRequest {
    /// Make a token.
    IssueToken {
        /// Principal id.
        principal: String,
        /// Groups.
        groups: Vec<String>,
        /// Folders it calls its own.
        folders: Vec<String>,
        /// Lifetime wanted.
        ttl: Option<Duration>,
        /// An access key instead.
        is_access_key: bool,
    },
    /// End a token, named by itself or its accessor.
    RevokeToken(Zeroizing<String>),
    /// End (`true`) or allow again (`false`) all credentials of a principal.
    Revocation {
        /// Principal id.
        principal: String,
        /// Whether its credentials end.
        revoked: bool,
    },
    /// Why a read of a wire name would be allowed or not, or why a past request failed.
    Explain(ExplainRequest),
    /// Backends and what concerns them.
    Federation(FederationRequest),
    /// Make a new key: the store's root key (`true`), or the tenant's.
    RotateSeal {
        /// Which.
        root: bool,
    },
    /// Follow the tenant's events.
    Events {
        /// Begin with what came behind this one.
        after: Option<String>,
    },
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub enum ExplainRequest {
    /// A name on a wire.
    Name {
        /// Which wire's names.
        wire: Option<String>,
        /// The wire name.
        name: String,
        /// The operation; a read if absent.
        operation: Option<String>,
        /// Another principal than the caller.
        principal: Option<ExplainFor>,
    },
    /// A request by its id.
    Request(String),
}

/// The principal something is to be explained for, as the question describes it. Nothing is checked yet.
#[derive(Clone, Debug, Default)]
pub struct ExplainFor {
    /// Its id.
    pub id: String,
    /// Its groups; with neither groups nor folders it is taken as it is configured.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
}

/// What a name that a person wrote means on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The wire name.
    pub name: String,
    /// Whether calls about it are passed through: then writes are, too.
    pub is_passed: bool,
}

/// What an answer must look like. One variant a wire; a wire only reads its own.
#[derive(Clone, Debug)]
pub enum Shape {
    /// The vault wire.
    Vault(vault::Shape),
    /// The scaivault wire.
    Scaivault(scaivault::Shape),
    /// The aws wire.
    Aws(aws::Shape),
}

/// A success on its way out.
pub enum Answer<'a> {
    /// Secrets: only what the audit trail has taken.
    Secret(Disclosure),
    /// Several secrets, each by the name it was asked for or found under; whether there are more behind the last.
    Batch(Vec<(String, Result<Disclosure, Fault>)>, bool),
    /// An access key.
    AccessKey(AccessKey),
    /// A new token, by login or creation.
    Issued(Issued),
    /// A token's description; the token itself where the caller presented it.
    Token(TokenInfo, Option<&'a str>),
    /// A renewed token.
    Renewed(TokenInfo, Option<&'a str>),
    /// Nothing to say.
    Done,
    /// What an API path allows, by asked path.
    Capabilities(Vec<(String, Vec<&'static str>)>),
    /// A system answer that needs nothing but the listener's facts.
    System(&'a SystemRequest, Arc<Principal>),
    /// As [`Self::System`], for callers without a credential.
    Public(&'a SystemRequest),
    /// A decision explained, as JSON.
    Explained(serde_json::Value),
    /// A document of our own API.
    Document {
        /// A success.
        status: http::StatusCode,
        /// What it says; never a value of a secret.
        body: serde_json::Value,
        /// Headers beside those every answer has.
        headers: http::HeaderMap,
    },
    /// What goes on for as long as its sender: server-sent events, chunk by chunk.
    Stream(mpsc::Receiver<Bytes>),
}

/// What every answer may use.
#[derive(Clone, Copy, Debug)]
pub struct Reveal<'a> {
    /// The request's id: 26 characters, as audit and log know it.
    pub request_id: &'a str,
    /// The same number as a UUID, for wires whose clients expect one.
    pub request_uuid: &'a str,
    /// The listener's facts.
    pub facts: &'a ListenerFacts,
    /// Seconds since the epoch.
    pub now_secs: u64,
    /// The backend that answered, if one did.
    pub backend: Option<&'a str>,
    /// How the path is served, for answers about secrets.
    pub mode: Option<Mode>,
    /// Whether a list goes on behind its last name.
    pub more: bool,
    /// How old the copy is that was read, in seconds; `None` for what is not a copy.
    pub age_seconds: Option<u64>,
    /// What is wrong with a request, field by field: key path and message. Only for failures.
    pub problems: &'a [(String, String)],
}

/// A failure on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What kind.
    pub kind: ErrorKind,
    /// What was wrong with the request, from a closed set of texts.
    pub detail: Option<&'static str>,
    /// Seconds after which a retry makes sense.
    pub retry_after: Option<u64>,
    /// What was refused.
    pub about: About,
    /// The methods the resource has, where the request's is not one of them.
    pub allow: Option<&'static str>,
}

impl Fault {
    /// A fault without further detail.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Self {
        Self { kind, detail: None, retry_after: None, about: About::Call, allow: None }
    }

    /// A fault that says what was wrong.
    #[must_use]
    pub const fn because(kind: ErrorKind, detail: &'static str) -> Self {
        Self { kind, detail: Some(detail), retry_after: None, about: About::Call, allow: None }
    }

    /// A request that cannot be understood.
    #[must_use]
    pub const fn malformed(detail: &'static str) -> Self {
        Self::because(ErrorKind::Malformed, detail)
    }
}

/// What was refused, where wires have other words for it than for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A call like any other.
    Call,
    /// The question which mount a path belongs to, which clients of the vault wire ask before a call.
    Preflight,
    /// A login. That of the aws wire is STS, another protocol than its calls.
    Login,
}

/// The server role of a wire: bytes to calls and answers to bytes, without IO.
pub trait Frontend: Send + Sync {
    /// Which wire this is.
    fn kind(&self) -> WireKind;

    /// Called once for every request, after the listener has read it whole. Nothing after it looks at the request again.
    ///
    /// # Errors
    /// What the client got wrong; nothing is repaired.
    fn decode<'r>(&self, request: &WireRequest<'r>, facts: &'r ListenerFacts) -> Result<Decoded<'r>, Fault>;

    /// Called for a name in a question about decisions: what it means in a call that needs `action`. An API path of the
    /// wire is understood as well.
    ///
    /// # Errors
    /// Which of the listener's own lists no such call gets past: `mount` or `passthrough`.
    fn named(&self, text: &str, action: Action, facts: &ListenerFacts) -> Result<Named, &'static str>;

    /// Called for a success. Secrets arrive only inside a [`Disclosure`].
    fn encode(&self, shape: &Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse;

    /// Called for a failure.
    fn refuse(&self, fault: Fault, reveal: Reveal<'_>) -> WireResponse;
}

/// The frontend of a wire; `None` for wires this release does not serve.
#[must_use]
pub fn frontend(kind: WireKind) -> Option<Box<dyn Frontend>> {
    match kind {
        WireKind::Vault => Some(Box::new(vault::VaultFrontend)),
        WireKind::Scaivault => Some(Box::new(scaivault::ScaivaultFrontend)),
        WireKind::Aws => Some(Box::new(aws::AwsFrontend)),
        WireKind::Azure | WireKind::Gcp => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_path_of_the_events_may_stream() {
        for path in ["/v1/events", "/v1/%65vents", "/%761/%65%76ents", "/v1/health"] {
            assert!(may_stream(path), "{path}");
        }
        for path in ["/v1%2Fevents", "/v1/events/", "/v1//events"] {
            let is_events = decode_segments(path).is_ok_and(|names| names == ["v1", "events"]);
            assert!(!may_stream(path) && !is_events, "{path}");
        }
        for path in ["/", "/v1/secrets/a", "/v1/secret/data/a/b", "/v1/auth/token/lookup-self"] {
            assert!(!may_stream(path), "{path}");
        }
    }
}
