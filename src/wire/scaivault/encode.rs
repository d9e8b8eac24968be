//! Answers and problem documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Shape;
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::secret::{Described, Metadata, Outcome, Reply, SecretRecord, SecretType, VersionInfo, VersionState};
use crate::wire::{Answer, Fault, Reveal, SystemRequest, WireResponse};

/// Rendered with status 415.
pub(super) const WRONG_MEDIA_TYPE: &str = "bodies are application/json";
/// Rendered with status 415.
pub(super) const COMPRESSED: &str = "compressed request bodies are not supported";
const JSON: &str = "application/json";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) fn encode(shape: &Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
    let mut response = match answer {
        Answer::Secret(disclosure) => match disclosure.into_reply() {
            Reply::Neutral(outcome) => secret(shape, outcome, reveal),
            // native replies are asked for by their own wire only
            Reply::Native(_) => return problem(Fault::of(ErrorKind::Internal), reveal),
        },
        Answer::Issued(issued) => json(
            StatusCode::CREATED,
            &IssuedOut {
                token: &issued.token,
                accessor: &issued.info.accessor,
                principal: issued.info.principal.id(),
                expires_at: issued.info.expires_at.map(Timestamp::rfc3339),
            },
        ),
        Answer::AccessKey(key) => json(
            StatusCode::CREATED,
            &AccessKeyOut {
                access_key_id: &key.id,
                secret_access_key: &key.secret,
                session_token: &key.session_token,
                accessor: &key.info.accessor,
                principal: key.info.principal.id(),
                expires_at: key.info.expires_at.map(Timestamp::rfc3339),
            },
        ),
        Answer::Explained(value) => json(StatusCode::OK, &value),
        Answer::System(SystemRequest::Health, _) | Answer::Public(SystemRequest::Health) => {
            json(StatusCode::OK, &serde_json::json!({"status": "ok"}))
        }
        Answer::Document { status, body, headers } => {
            let mut response = json(status, &body);
            response.headers.extend(headers);
            response
        }
        Answer::Stream(chunks) => WireResponse::events(chunks),
        Answer::Public(SystemRequest::OpenApi) | Answer::System(SystemRequest::OpenApi, _) => {
            WireResponse::new(StatusCode::OK, JSON, crate::api::document())
        }
        Answer::Done => WireResponse::new(StatusCode::NO_CONTENT, JSON, Bytes::new()),
        Answer::Batch(..)
        | Answer::Token(..)
        | Answer::Renewed(..)
        | Answer::Capabilities(_)
        | Answer::System(..)
        | Answer::Public(_) => {
            return problem(Fault::of(ErrorKind::Internal), reveal);
        }
    };
    mark(&mut response, reveal);
    response
}

fn mark(response: &mut WireResponse, reveal: Reveal<'_>) {
    response.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(reveal.request_id) {
        response.headers.insert(REQUEST_ID, id);
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> WireResponse {
    WireResponse::new(status, JSON, Bytes::from(serde_json::to_vec(body).unwrap_or_default()))
}

#[derive(Serialize)]
struct IssuedOut<'a> {
    token: &'a str,
    accessor: &'a str,
    principal: &'a str,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct AccessKeyOut<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    accessor: &'a str,
    principal: &'a str,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct SecretOut<'a> {
    path: &'a str,
    data: Data<'a>,
    secret_type: &'static str,
    version: u64,
    metadata: &'a Metadata,
    created_at: String,
    updated_at: Option<String>,
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64(Zeroizing<String>),
}

#[derive(Serialize)]
struct Source<'a> {
    backend: Option<&'a str>,
    mode: &'static str,
    native_id: Option<&'a str>,
    age_seconds: u64,
}

#[derive(Serialize)]
struct VersionsOut<'a> {
    path: &'a str,
    current_version: u64,
    metadata: &'a Metadata,
    created_at: String,
    updated_at: String,
    versions: Vec<VersionOut<'a>>,
}

#[derive(Serialize)]
struct VersionOut<'a> {
    version: u64,
    native_id: Option<&'a str>,
    created_at: String,
    state: &'static str,
    deleted_at: Option<String>,
    deletes_at: Option<String>,
}

#[derive(Serialize)]
struct NamesOut<'a> {
    path: &'a str,
    names: &'a [String],
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct WrittenOut<'a> {
    path: &'a str,
    version: u64,
    created_at: String,
}

fn secret(shape: &Shape, outcome: Outcome, reveal: Reveal<'_>) -> WireResponse {
    let missing = || problem(Fault::of(ErrorKind::NotFound), reveal);
    match (outcome, shape) {
        (Outcome::NotFound, _) => missing(),
        (Outcome::Record(record), Shape::Secret(path)) => {
            read(&record, path, reveal).map_or_else(missing, |out| json(StatusCode::OK, &out))
        }
        (Outcome::Described(described), Shape::Versions(path)) => json(StatusCode::OK, &versions(&described, path)),
        (Outcome::Names(names), Shape::Names(path)) => {
            let next_cursor = reveal.more.then(|| names.last().map(|last| reveal.facts.cursors.seal(last))).flatten();
            json(StatusCode::OK, &NamesOut { path, names: &names, next_cursor })
        }
        (Outcome::Written(info, _), Shape::Written(path)) => {
            // the first version is a new secret
            let status = if info.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            json(status, &WrittenOut { path, version: info.version, created_at: info.created_at.rfc3339() })
        }
        (Outcome::Done | Outcome::Written(..), _) => WireResponse::new(StatusCode::NO_CONTENT, JSON, Bytes::new()),
        (Outcome::Record(_) | Outcome::Described(_) | Outcome::Names(_) | Outcome::Catalogue(_), _) => {
            problem(Fault::of(ErrorKind::Internal), reveal)
        }
    }
}

fn read<'a>(record: &'a SecretRecord, path: &'a str, reveal: Reveal<'a>) -> Option<SecretOut<'a>> {
    let bytes = record.value.as_ref()?.expose();
    let data = match record.secret_type {
        SecretType::Json => Data::Json(serde_json::from_slice(bytes).ok()?),
        SecretType::Text => Data::Text(std::str::from_utf8(bytes).ok()?),
        SecretType::Binary => Data::Base64(Zeroizing::new(STANDARD.encode(bytes))),
    };
    Some(SecretOut {
        path,
        data,
        secret_type: record.secret_type.as_str(),
        version: record.info.version,
        metadata: &record.metadata,
        created_at: record.info.created_at.rfc3339(),
        updated_at: record.updated_at.map(Timestamp::rfc3339),
        source: Source {
            backend: reveal.backend,
            mode: reveal.mode.map_or("local", crate::secret::Mode::as_str),
            native_id: record.info.native_id.as_deref(),
            age_seconds: reveal.age_seconds.unwrap_or(0),
        },
    })
}

fn versions<'a>(described: &'a Described, path: &'a str) -> VersionsOut<'a> {
    let version = |info: &'a VersionInfo| VersionOut {
        version: info.version,
        native_id: info.native_id.as_deref(),
        created_at: info.created_at.rfc3339(),
        state: match info.state {
            VersionState::Current => "current",
            VersionState::Deleted(_) => "deleted",
            VersionState::Destroyed(_) => "destroyed",
            VersionState::Disabled => "disabled",
        },
        deleted_at: match info.state {
            VersionState::Deleted(at) | VersionState::Destroyed(Some(at)) => Some(at.rfc3339()),
            VersionState::Current | VersionState::Destroyed(None) | VersionState::Disabled => None,
        },
        deletes_at: info.deletes_at.map(Timestamp::rfc3339),
    };
    VersionsOut {
        path,
        current_version: described.current_version,
        metadata: &described.metadata,
        created_at: described.created_at.rfc3339(),
        updated_at: described.updated_at.rfc3339(),
        versions: described.versions.iter().map(version).collect(),
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    kind: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError<'a>>,
}

#[derive(Serialize)]
struct FieldError<'a> {
    key: &'a str,
    message: &'a str,
}

/// An RFC 9457 problem document; `kind` is the machine's word, `errors` what is wrong field by field.
pub(super) fn problem(fault: Fault, reveal: Reveal<'_>) -> WireResponse {
    let (status, title) = match fault.kind {
        ErrorKind::Malformed => (StatusCode::BAD_REQUEST, "The request cannot be understood"),
        ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
        ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "A valid credential is needed"),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, "Not allowed"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "In conflict with what is there"),
        ErrorKind::ReadOnly => (StatusCode::FORBIDDEN, "This path is served read-only"),
        ErrorKind::Unsupported if matches!(fault.detail, Some(WRONG_MEDIA_TYPE | COMPRESSED)) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
        }
        ErrorKind::Unsupported => (StatusCode::METHOD_NOT_ALLOWED, "Not offered here"),
        ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        ErrorKind::UpstreamRejected => (StatusCode::BAD_GATEWAY, "The backend refused the request"),
        ErrorKind::UpstreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "The backend is unavailable"),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The backend did not answer in time"),
        ErrorKind::Sealed => (StatusCode::SERVICE_UNAVAILABLE, "Sealed: keys or a required audit sink are missing"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
    };
    let errors = reveal.problems.iter().map(|(key, message)| FieldError { key, message });
    let body = Problem {
        r#type: "about:blank",
        title,
        status: status.as_u16(),
        detail: fault.detail,
        kind: fault.kind.label(),
        request_id: reveal.request_id,
        errors: errors.collect(),
    };
    let mut response = json(status, &body);
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(after) = fault.retry_after {
        response.headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    if let Some(allow) = fault.allow {
        response.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    mark(&mut response, reveal);
    response
}
