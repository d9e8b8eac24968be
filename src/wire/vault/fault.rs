//! Failures, as a real server words them.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::body::{COMPRESSED, WRONG_MEDIA_TYPE};
use super::decode::MISSING_REQUEST_HEADER;
use crate::error::ErrorKind;
use crate::wire::{About, Fault, Reveal, WireResponse};

pub(super) fn render(fault: Fault, reveal: Reveal<'_>) -> WireResponse {
    let (status, text) = words(fault);
    let body = match text {
        None => Bytes::from_static(b"{\"errors\":[]}\n"),
        Some(text) => errors(text),
    };
    let mut response = WireResponse::new(status, "application/json", body);
    if let Some(after) = fault.retry_after {
        response.headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    super::encode::mark(&mut response, reveal);
    response
}

/// The status and the one text in `errors`; `None` is the empty list.
fn words(fault: Fault) -> (StatusCode, Option<&'static str>) {
    let detail = |text| Some(fault.detail.unwrap_or(text));
    match fault.kind {
        ErrorKind::Malformed if fault.detail == Some(MISSING_REQUEST_HEADER) => {
            (StatusCode::PRECONDITION_FAILED, fault.detail)
        }
        ErrorKind::Malformed => (StatusCode::BAD_REQUEST, detail("malformed request")),
        ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, detail("http: request body too large")),
        ErrorKind::Unauthenticated => (StatusCode::FORBIDDEN, detail("permission denied")),
        ErrorKind::Denied if fault.about == About::Preflight => (
            StatusCode::FORBIDDEN,
            Some("preflight capability check returned 403, please ensure client's policies grant access to the path"),
        ),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, detail("1 error occurred:\n\t* permission denied\n\n")),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, None),
        ErrorKind::Conflict => {
            (StatusCode::BAD_REQUEST, detail("check-and-set parameter did not match the current version"))
        }
        ErrorKind::ReadOnly => {
            (StatusCode::FORBIDDEN, Some("1 error occurred:\n\t* permission denied: this path is served read-only\n\n"))
        }
        ErrorKind::Unsupported if matches!(fault.detail, Some(WRONG_MEDIA_TYPE | COMPRESSED)) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, fault.detail)
        }
        ErrorKind::Unsupported => {
            (StatusCode::METHOD_NOT_ALLOWED, detail("1 error occurred:\n\t* unsupported operation\n\n"))
        }
        ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, detail("request limit reached; retry later")),
        ErrorKind::UpstreamRejected => (StatusCode::BAD_GATEWAY, Some("the backend refused the request")),
        ErrorKind::UpstreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, Some("the backend is unavailable")),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, Some("the backend did not answer in time")),
        ErrorKind::Sealed => (StatusCode::SERVICE_UNAVAILABLE, Some("Vault is sealed")),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Some("internal error")),
    }
}

fn errors(text: &str) -> Bytes {
    let mut body = serde_json::to_vec(&super::schema::Errors { errors: [text] }).unwrap_or_default();
    body.push(b'\n');
    Bytes::from(body)
}
