//! AWS Signature Version 4, from the verifier's side: what a signed request claims, and whether a secret bears it out.
//!
//! Promises: every rule that needs no secret is checked by [`Claim::read`], so that an unknown key and a known one are
//! refused for the same reasons in the same order; [`Claim::verify`] signs the request again, by the `aws-sigv4` crate,
//! with exactly the headers the client listed, and compares in constant time. Region and service are the listener's, the
//! body hash is of the bytes received, the host is the one the request names, port included, and nothing is read in two
//! ways: what has several spellings is accepted in the signed one only.
//!
//! Knows no keys, no principals and no operations.

mod headers;
mod parse;
mod presigned;
mod query;
mod scope;
#[cfg(test)]
mod tests;
mod verify;

use std::borrow::Cow;
use std::time::Duration;

use ring::digest;

use self::parse::Parts;
use self::presigned::Presigned;
use self::scope::Scope;
use super::{SignatureFault, SignedRequest};
use crate::clock::Timestamp;

/// How far the time of a request may lie from ours.
const SKEW: Duration = Duration::from_secs(300);
/// Longer targets are refused before anything is made of them.
const MAX_TARGET_BYTES: usize = 32 * 1024;

/// A signed request that may be what it says: all that is left to ask is who signed it.
pub(super) struct Claim<'a> {
    request: SignedRequest<'a>,
    key_id: Box<str>,
    at: Timestamp,
    signed_headers: Cow<'a, str>,
    signature: [u8; 32],
    session_token: Option<Cow<'a, str>>,
    form: Form,
    /// SHA-256 of the body, in lower-case hexadecimal.
    body_hash: String,
}

/// Where a signature stands.
enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query.
    Query {
        /// How long it is good for.
        life: Duration,
        /// What of the query is not the signature's, as sent.
        rest: String,
    },
}

impl<'a> Claim<'a> {
    /// Reads the signature of a request and checks everything about it that can be checked without a secret.
    ///
    /// # Errors
    /// What is missing, malformed, given twice, not for this region, service or day, or not of this time.
    pub(super) fn read(request: SignedRequest<'a>, now: Timestamp) -> Result<Self, SignatureFault> {
        check_target(&request)?;
        let presigned = presigned::read(request.query)?;
        let authorization = headers::single(request.headers, "authorization")?;
        let claim = match (authorization, presigned) {
            (None, None) => return Err(SignatureFault::Missing),
            (Some(_), Some(_)) => return Err(SignatureFault::Incomplete("it stands in a header and in the query")),
            (Some(value), None) => Self::of_header(request, value)?,
            (None, Some(presigned)) => Self::of_query(request, presigned)?,
        };
        headers::check(&claim)?;
        claim.check_time(now)?;
        Ok(claim)
    }

    /// The access key id, which is plain ASCII letters and digits.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The session token, as sent.
    pub(super) fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// When a presigned request ends.
    pub(super) fn not_after(&self) -> Option<Timestamp> {
        match self.form {
            Form::Header => None,
            Form::Query { life, .. } => Some(self.at.after(life)),
        }
    }

    fn of_header(request: SignedRequest<'a>, authorization: &'a str) -> Result<Self, SignatureFault> {
        let parts = parse::authorization(authorization)?;
        let date = headers::single(request.headers, headers::DATE)?;
        let date = date.ok_or(SignatureFault::Incomplete("there is no X-Amz-Date"))?;
        let session_token = headers::single(request.headers, headers::SESSION_TOKEN)?.map(Cow::Borrowed);
        let signed_headers = Cow::Borrowed(parts.signed_headers);
        Self::new(request, &parts, date, signed_headers, session_token, Form::Header)
    }

    fn of_query(request: SignedRequest<'a>, presigned: Presigned<'a>) -> Result<Self, SignatureFault> {
        let parts = Parts {
            credential: &presigned.credential,
            signed_headers: &presigned.signed_headers,
            signature: &presigned.signature,
        };
        let form = Form::Query { life: presigned.life, rest: presigned.rest };
        let signed_headers = presigned.signed_headers.clone();
        Self::new(request, &parts, &presigned.date, signed_headers, presigned.session_token, form)
    }

    fn new(
        request: SignedRequest<'a>,
        parts: &Parts<'_>,
        date: &str,
        signed_headers: Cow<'a, str>,
        session_token: Option<Cow<'a, str>>,
        form: Form,
    ) -> Result<Self, SignatureFault> {
        let at = scope::moment(date)?;
        let scope = Scope::parse(parts.credential)?;
        scope.check(date, request.region, request.service)?;
        Ok(Self {
            key_id: Box::from(scope.key_id),
            at,
            signed_headers,
            signature: parse::signature(parts.signature)?,
            session_token,
            form,
            body_hash: parse::hexadecimal(&sha256(&[request.body])),
            request,
        })
    }

    fn check_time(&self, now: Timestamp) -> Result<(), SignatureFault> {
        let life = match self.form {
            Form::Header => SKEW,
            Form::Query { life, .. } => life,
        };
        if self.at.since(now) > SKEW {
            Err(SignatureFault::Expired("it is dated more than 5 minutes ahead of us"))
        } else if now.since(self.at) > life {
            Err(SignatureFault::Expired("its time has passed"))
        } else {
            Ok(())
        }
    }
}

/// The signature is over the path without dot segments and doubled slashes: a path that has them would be signed as another
/// one, and is refused. The query is checked pair by pair.
fn check_target(request: &SignedRequest<'_>) -> Result<(), SignatureFault> {
    if request.path.len() + request.query.map_or(0, str::len) > MAX_TARGET_BYTES {
        return Err(SignatureFault::Incomplete("the target is too long"));
    }
    let Some(below) = request.path.strip_prefix('/') else {
        return Err(SignatureFault::Incomplete("the path does not begin with a slash"));
    };
    let is_dotted = below.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_dotted || request.path.contains("//") {
        return Err(SignatureFault::Mismatch("the path has dot segments or doubled slashes"));
    }
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if request.path.bytes().all(is_path) {
        Ok(())
    } else {
        Err(SignatureFault::Incomplete("the path holds a character that must be escaped"))
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}
