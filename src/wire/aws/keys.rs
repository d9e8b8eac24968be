//! The endpoint that SDKs fetch container credentials from (`AWS_CONTAINER_CREDENTIALS_FULL_URI`): whoever presents a
//! credential gets an access key of the same principal, which ends by itself.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

use super::{Shape, decode, encode, fault};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::{AccessKey, Credential};
use crate::wire::{Decoded, Fault, ListenerFacts, Request, Reveal, Shape as WireShape, WireRequest, WireResponse};

/// Where it is.
pub(super) const PATH: &str = "/v1/credentials";
/// After which a client asks again for a key that has no end of its own.
const AGAIN_SECONDS: u64 = 3600;

pub(super) fn decode<'r>(request: &WireRequest<'r>, facts: &ListenerFacts) -> Result<Decoded<'r>, Fault> {
    if request.method != Method::GET || request.query.is_some() || !request.body.is_empty() {
        return Err(Fault::malformed(fault::NO_OPERATION));
    }
    // SDKs send the text they were given as it is, without a scheme
    let token = if facts.workload { None } else { decode::single(request.headers, "authorization")? };
    let credential = token.map_or(Credential::None, Credential::Bearer);
    Ok(Decoded { credential, namespace: None, request: Request::AccessKey, shape: WireShape::Aws(Shape::AccessKey) })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyOut<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    account_id: &'a str,
}

pub(super) fn render(key: &AccessKey, reveal: Reveal<'_>) -> WireResponse {
    let Some(aws) = &reveal.facts.aws else { return fault::render(Fault::of(ErrorKind::Internal), reveal) };
    let out = KeyOut {
        access_key_id: &key.id,
        secret_access_key: &key.secret,
        token: &key.session_token,
        expiration: expiration(key, reveal),
        account_id: &aws.account,
    };
    // grown once: no piece of it stays behind
    let mut body = Vec::with_capacity(512 + key.session_token.len());
    let written = serde_json::to_writer(&mut body, &out);
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
    let mut response = WireResponse::new(StatusCode::OK, "application/json", Bytes::from(body));
    encode::mark(&mut response, reveal);
    response
}

/// When the key ends, in whole seconds: not all SDKs read fractions.
pub(super) fn expiration(key: &AccessKey, reveal: Reveal<'_>) -> String {
    let ends = key.info.expires_at.unwrap_or(Timestamp::from_secs(reveal.now_secs.saturating_add(AGAIN_SECONDS)));
    let mut text = ends.rfc3339();
    if let Some(at) = text.find('.') {
        text.truncate(at);
        text.push('Z');
    }
    text
}
