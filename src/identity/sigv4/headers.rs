//! Which headers a signature covers, and which must be there once.

use http::{HeaderMap, Method};

use super::super::SignatureFault;
use super::{Claim, Form};

pub(super) const HOST: &str = "host";
pub(super) const DATE: &str = "x-amz-date";
pub(super) const SESSION_TOKEN: &str = "x-amz-security-token";
const TARGET: &str = "x-amz-target";
const CONTENT_TYPE: &str = "content-type";
const BODY_HASH: &str = "x-amz-content-sha256";
const MAX_NAMES: usize = 128;

/// The one value of a header.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureFault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map(Some);
            text.map_err(|_| SignatureFault::Incomplete("a header of the signature is not visible ASCII"))
        }
        _ => Err(SignatureFault::Incomplete("a header that decides is there twice")),
    }
}

/// Checks what is signed, and that what decides is there once.
pub(super) fn check(claim: &Claim<'_>) -> Result<(), SignatureFault> {
    let headers = claim.request.headers;
    check_names(claim)?;
    check_required(claim)?;
    for name in [TARGET, CONTENT_TYPE] {
        single(headers, name)?;
    }
    if single(headers, HOST)?.is_some_and(|host| host != claim.request.host) {
        return Err(SignatureFault::Incomplete("the request names two hosts"));
    }
    if single(headers, BODY_HASH)?.is_some_and(|hash| hash != claim.body_hash) {
        return Err(SignatureFault::Mismatch("X-Amz-Content-Sha256 is not the hash of the body"));
    }
    let chunked =
        |value: &http::HeaderValue| value.as_bytes().to_ascii_lowercase().windows(11).any(|w| w == b"aws-chunked");
    if headers.get_all("content-encoding").iter().any(chunked) {
        return Err(SignatureFault::Mismatch("the body is signed in chunks"));
    }
    Ok(())
}

/// The list is sorted, without repeats, in lower case, and of headers that are there.
fn check_names(claim: &Claim<'_>) -> Result<(), SignatureFault> {
    let mut last = "";
    for (index, name) in claim.signed_headers.split(';').enumerate() {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
        if name <= last || !is_plain || index >= MAX_NAMES {
            return Err(SignatureFault::Incomplete("SignedHeaders is not a sorted list of lower-case names"));
        }
        if name != HOST && !claim.request.headers.contains_key(name) {
            return Err(SignatureFault::Incomplete("SignedHeaders names a header that is not there"));
        }
        last = name;
    }
    Ok(())
}

/// `X-Amz-Target` selects the operation, so a signature without it would be good for all of them.
fn check_required(claim: &Claim<'_>) -> Result<(), SignatureFault> {
    let headers = claim.request.headers;
    let is_signed = |wanted: &str| claim.signed_headers.split(';').any(|name| name == wanted);
    let has_type = claim.request.method == Method::POST || headers.contains_key(CONTENT_TYPE);
    if !is_signed(HOST) || !is_signed(TARGET) || (has_type && !is_signed(CONTENT_TYPE)) {
        return Err(SignatureFault::Incomplete("Host, X-Amz-Target and Content-Type must be signed"));
    }
    match claim.form {
        Form::Header => {
            if !is_signed(DATE) || (headers.contains_key(SESSION_TOKEN) && !is_signed(SESSION_TOKEN)) {
                return Err(SignatureFault::Incomplete("X-Amz-Date and X-Amz-Security-Token must be signed"));
            }
        }
        Form::Query { .. } => {
            if headers.contains_key(DATE) || headers.contains_key(SESSION_TOKEN) {
                return Err(SignatureFault::Incomplete(
                    "its date or session token stands in a header and in the query",
                ));
            }
        }
    }
    Ok(())
}
