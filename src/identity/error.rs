//! Why somebody is not let in, and why a token call fails.
//!
//! `Display` is for operators and audit; a client sees only what its wire renders from the kind. Nothing here ever
//! holds a credential or a text taken from an unverified one.

use thiserror::Error;

use crate::error::ErrorKind;

/// What a client is told whose request bears no signature.
pub const SIGNATURE_MISSING: &str = "Missing Authentication Token";

/// What a client is told whose signature lacks a part, has one twice, or has one that cannot be read.
pub const SIGNATURE_INCOMPLETE: &str =
    "The signature of the request is incomplete or malformed, or does not cover every header that it must cover.";

/// What a client is told whose signature is readable and not the one this request has to bear.
pub const SIGNATURE_MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// What a client is told whose signature was made too long ago, or is dated in the future.
pub const SIGNATURE_EXPIRED: &str =
    "Signature expired: the time of the request is not within 5 minutes of ours, or the presigned request has ended.";

/// Why an authentication, a login or a call about tokens failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Nothing was presented.
    #[error("no credential was presented")]
    Missing,
    /// What was presented cannot be a credential.
    #[error("the credential is malformed: {0}")]
    Malformed(&'static str),
    /// A token nobody holds now: never issued, expired or revoked. Which of these is not told.
    #[error("the credential is unknown, expired or revoked")]
    Unknown,
    /// The credential is good and its principal is revoked.
    #[error("all credentials of principal `{0}` are revoked")]
    Revoked(Box<str>),
    /// A verified client certificate whose names no rule knows.
    #[error("no rule under `identity.certificates` names the client certificate")]
    UnknownCertificate,
    /// A verified client certificate whose names belong to several principals.
    #[error("the names of the client certificate belong to more than one principal")]
    AmbiguousCertificate,
    /// An AppRole login that failed; which half was wrong is not told.
    #[error("invalid role or secret ID")]
    Approle,
    /// A JWT that does not prove what it claims.
    #[error("the JWT is refused: {0}")]
    Jwt(#[from] JwtFault),
    /// A signed request whose signature counts for nothing, whoever made it.
    #[error("the signature is refused: {0}")]
    Signature(#[from] SignatureFault),
    /// No key of the issuer is known and none could be fetched.
    #[error("the keys of issuer `{0}` are not available")]
    KeysUnavailable(Box<str>),
    /// The listener names its workload, but the tenant has no `identity.workload`.
    #[error("tenant `{0}` has no `identity.workload`")]
    NoWorkload(Box<str>),
    /// A tenant that is not configured.
    #[error("tenant `{0}` is not configured")]
    UnknownTenant(Box<str>),
    /// The tenant holds as many run-time tokens as it may.
    #[error("the tenant has too many live tokens")]
    TooManyTokens,
    /// The tenant has as many revoked principals as it may.
    #[error("the tenant has too many revoked principals")]
    TooManyRevocations,
    /// Only renewable run-time tokens can be renewed.
    #[error("the token is not renewable")]
    NotRenewable,
    /// The credential is configured, or not ours, and cannot be ended from here.
    #[error("the credential was not issued here: remove it from the configuration or revoke its principal")]
    NotRevocable,
    /// A child asks for a group its parent does not have.
    #[error("a child token can only have groups of its parent")]
    BeyondParent,
    /// A child that would outlive its parent.
    #[error("tokens without a parent are issued by `POST /v1/tokens` only")]
    Orphan,
    /// Parents of parents, too many.
    #[error("the chain of parent tokens is too long")]
    TooDeep,
    /// A property of Vault tokens that does not exist here.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A field of a request that does not hold what it must.
    #[error("{what} {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// No live token of the tenant has this value or accessor.
    #[error("no such token")]
    TokenNotFound,
    /// A principal that `identity.revoked` lists cannot be restored by a call.
    #[error("the principal is listed in `identity.revoked`: remove it there")]
    RevokedByConfiguration,
    /// What was issued or ended cannot be written down, or what was cannot be read.
    #[error("tokens and revocations cannot be kept: {0}")]
    Unkept(Box<str>),
    /// A defect on our side.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl IdentityError {
    /// The kind wires, metrics and audit see.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing
            | Self::Unknown
            | Self::Revoked(_)
            | Self::UnknownCertificate
            | Self::AmbiguousCertificate
            | Self::Approle
            | Self::Jwt(_)
            | Self::Signature(_)
            | Self::NoWorkload(_)
            | Self::UnknownTenant(_) => ErrorKind::Unauthenticated,
            Self::Malformed(_) | Self::NotRenewable | Self::TooDeep | Self::Invalid { .. } => ErrorKind::Malformed,
            Self::KeysUnavailable(_) => ErrorKind::UpstreamUnavailable,
            Self::TooManyTokens | Self::TooManyRevocations => ErrorKind::RateLimited,
            Self::NotRevocable | Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::BeyondParent | Self::Orphan => ErrorKind::Denied,
            Self::TokenNotFound => ErrorKind::NotFound,
            Self::RevokedByConfiguration => ErrorKind::Conflict,
            Self::Unkept(_) => ErrorKind::Sealed,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// What a client may be told beyond the kind: one of [`SIGNATURE_MISSING`], [`SIGNATURE_INCOMPLETE`],
    /// [`SIGNATURE_MISMATCH`] and [`SIGNATURE_EXPIRED`], or nothing. An unknown, ended or revoked credential has nothing.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Signature(fault) => Some(fault.detail()),
            _ => None,
        }
    }
}

/// What is wrong with the signature of a request. Never holds a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureFault {
    /// Neither the `Authorization` header nor the query holds one.
    #[error("there is none")]
    Missing,
    /// A part is absent, malformed or given twice, or a header that must be signed is not.
    #[error("it is incomplete: {0}")]
    Incomplete(&'static str),
    /// It is not what the key would have made of this request, or not for this region, service or day.
    #[error("it does not match: {0}")]
    Mismatch(&'static str),
    /// It is too old, or dated in the future.
    #[error("it is not of this time: {0}")]
    Expired(&'static str),
}

impl SignatureFault {
    /// The text for the client.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Missing => SIGNATURE_MISSING,
            Self::Incomplete(_) => SIGNATURE_INCOMPLETE,
            Self::Mismatch(_) => SIGNATURE_MISMATCH,
            Self::Expired(_) => SIGNATURE_EXPIRED,
        }
    }
}

/// What is wrong with a JWT. Never holds a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JwtFault {
    /// Not three parts of unpadded base64url, or too large.
    #[error("it is not a compact JWS")]
    Shape,
    /// The header is not a JSON object with unique members, or asks for something that is not understood.
    #[error("its header is malformed or asks for an extension")]
    Header,
    /// `none`, an HMAC, or an algorithm the key is not for.
    #[error("its algorithm is not one the key is for")]
    Algorithm,
    /// The claims are not a JSON object with unique members.
    #[error("its claims are not a JSON object with unique members")]
    Claims,
    /// No issuer of that name is configured (for this tenant).
    #[error("its issuer is not configured")]
    Issuer,
    /// `exp` is absent or `exp`, `nbf` or `iat` is not a time.
    #[error("`exp` is missing, or `exp`, `nbf` or `iat` is not a time")]
    Time,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("it is not valid yet")]
    NotYet,
    /// No configured audience is in `aud`.
    #[error("it is for another audience")]
    Audience,
    /// A claim under `allow` is absent or has another value.
    #[error("a claim under `allow` is absent or has another value")]
    Claim,
    /// The issuer has no such key.
    #[error("the issuer has no such key")]
    Key,
    /// The signature does not verify.
    #[error("its signature does not verify")]
    Signature,
    /// A claim a template needs is absent, has two values, or is not one path segment.
    #[error("a claim that `principal`, `groups` or `folders` needs is absent or not one path segment")]
    Template,
    /// More than one tenant accepts it.
    #[error("more than one tenant accepts it")]
    Ambiguous,
}

/// Why an issuer's keys could not be had. Given by a [`super::JwksSource`] or found in what it returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JwksError {
    /// No answer: connection, TLS, deadline, or a file that cannot be read.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// An answer other than 200; redirects are answers.
    #[error("answered with status {0}")]
    Status(u16),
    /// More bytes or keys than the caps allow.
    #[error("is too large")]
    TooLarge,
    /// An answer that is not what it should be.
    #[error("is not usable: {0}")]
    Unusable(&'static str),
}

impl JwksError {
    /// The kind wires, metrics and audit see.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable(_) | Self::Status(_) | Self::TooLarge | Self::Unusable(_) => {
                ErrorKind::UpstreamUnavailable
            }
        }
    }
}
