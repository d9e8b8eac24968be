//! JWTs of configured issuers.
//!
//! Promises: a JWT counts only if it is one compact JWS with unique header members and claims, signed by a key of its
//! issuer for an algorithm that key is for (never an HMAC, never one the token chose), for a configured audience,
//! within its times, and if every claim a rule needs is there and plain. Keys come from configured places only: `jku`,
//! `x5u`, `jwk` and `x5c` in a token are never looked at. A verified token is remembered until it ends or the issuer's
//! keys change; whether its principal is revoked is not this module's business.

mod claims;
mod discovery;
mod issuers;
mod json;
mod key_ring;
mod keys;
mod parts;
mod ring_provider;
mod rule;
mod source;
mod template;
mod verified;

pub use discovery::{discovery_url, jwks_uri};
pub use source::JwksSource;

pub(super) use issuers::{Accepted, Issuers, Verdict};
pub(super) use key_ring::KeyRing;
pub(super) use keys::{KeySet, read_file};
pub(super) use ring_provider::install as install_provider;
pub(super) use rule::{IssuerRule, parse_folder};

/// Whether a bearer text has the shape of a compact JWS, so that it is worth parsing as one.
pub(super) fn looks_like(text: &str) -> bool {
    text.starts_with("ey") && text.bytes().filter(|b| *b == b'.').count() == 2
}
