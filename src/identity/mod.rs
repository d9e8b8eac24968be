//! Who is calling: from what a client presents to a [`Principal`].
//!
//! Promises: a credential is compared only after keyed hashing, a signature in constant time; an unknown, expired,
//! revoked or ambiguous one is refused and never falls back to another kind; the credential alone decides the tenant; no
//! credential reaches a log, an error or a `Debug` output. [`Directory`] is an immutable snapshot of the configuration;
//! what is issued at run time (tokens, revocations, issuers' keys) lives in [`Sessions`] and survives a reload; tokens and
//! revocations survive a restart where a [`Journal`] keeps them.
//!
//! Knows no wire, no policy, no store and no HTTP: issuers' keys come through [`JwksSource`], which the composition root
//! provides, as it does the journals.

mod access_key;
mod certificate;
mod compile;
mod credential;
mod digest;
mod directory;
mod error;
mod journal;
mod jwt;
mod kept;
mod login;
mod moment;
mod namespace;
mod principal;
mod revocation;
mod session;
mod sessions;
mod settings;
mod sigv4;
#[cfg(test)]
mod tests;
mod tokens;

pub use access_key::AccessKey;
pub use certificate::{CertificateError, PeerCertificate};
pub use compile::Problem;
pub use credential::{Caller, CallerVia, Credential, SignedRequest};
pub use directory::Directory;
pub use error::{
    IdentityError, JwksError, JwtFault, SIGNATURE_EXPIRED, SIGNATURE_INCOMPLETE, SIGNATURE_MISMATCH, SIGNATURE_MISSING,
    SignatureFault,
};
pub use journal::{Journal, JournalEntries, JournalEntry, JournalError, JournalKind};
pub use jwt::{JwksSource, discovery_url, jwks_uri};
pub use login::Login;
pub use namespace::parse_namespace;
pub use principal::{Method, Principal};
pub use session::{Issued, TokenHandle, TokenInfo};
pub use sessions::Sessions;
pub use settings::{
    Approle, CertRule, JwksLocation, JwtIssuer, StaticAccessKey, StaticToken, TenantIdentity, WorkloadSettings,
};
pub use tokens::{ChildSpec, IssueSpec};
