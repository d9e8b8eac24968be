//! Successes, as a real server words them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::Shape;
use super::schema::Envelope;
use super::system_answer;
use crate::clock::Timestamp;
use crate::identity::{Issued, TokenInfo};
use crate::secret::{
    Described, Metadata, NativeReply, Outcome, Reply, SecretRecord, SecretType, VersionInfo, VersionState,
};
use crate::wire::{Answer, Reveal, WireResponse};

const JSON: &str = "application/json";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a real server's KV version 1 engine says of every read.
const KV1_LEASE_SECONDS: u64 = 2_764_800;

pub(super) fn encode(shape: Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
    let mut response = match answer {
        Answer::Secret(disclosure) => match disclosure.into_reply() {
            Reply::Native(native) => self::native(native),
            Reply::Neutral(outcome) => neutral(shape, outcome, reveal),
        },
        Answer::Issued(issued) => ok(&Envelope::new(reveal.request_uuid, (), issued_auth(&issued))),
        Answer::Renewed(info, token) => {
            ok(&Envelope::new(reveal.request_uuid, (), auth(&info, token.unwrap_or_default())))
        }
        Answer::Token(info, token) => ok(&Envelope::new(reveal.request_uuid, lookup(&info, token, reveal), ())),
        // the rest is asked for over other wires only
        Answer::Done
        | Answer::Explained(_)
        | Answer::Document { .. }
        | Answer::Stream(_)
        | Answer::Batch(..)
        | Answer::AccessKey(_) => empty(),
        Answer::Capabilities(paths) => system_answer::capabilities(&paths, reveal),
        Answer::System(request, _) | Answer::Public(request) => system_answer::render(request, reveal),
    };
    mark(&mut response, reveal);
    response
}

/// What every answer of this wire carries.
pub(super) fn mark(response: &mut WireResponse, reveal: Reveal<'_>) {
    const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
    response.headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    if let Ok(id) = HeaderValue::from_str(reveal.request_id) {
        response.headers.insert(REQUEST_ID, id);
    }
}

pub(super) fn ok(body: &impl Serialize) -> WireResponse {
    json(StatusCode::OK, body)
}

fn json(status: StatusCode, body: &impl Serialize) -> WireResponse {
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    WireResponse::new(status, JSON, Bytes::from(bytes))
}

fn empty() -> WireResponse {
    WireResponse::new(StatusCode::NO_CONTENT, JSON, Bytes::new())
}

fn not_found() -> WireResponse {
    WireResponse::new(StatusCode::NOT_FOUND, JSON, Bytes::from_static(b"{\"errors\":[]}\n"))
}

/// A backend's own bytes, with identifiers replaced where the client knows other ones.
fn native(reply: NativeReply) -> WireResponse {
    let body = if reply.spans.is_empty() { reply.body } else { splice(&reply) };
    let mut response = WireResponse { status: reply.status, headers: reply.headers, body: body.into(), trailers: None };
    response.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn splice(reply: &NativeReply) -> Bytes {
    let mut out = Vec::with_capacity(reply.body.len() + 64);
    let mut from = 0;
    for span in &reply.spans {
        out.extend_from_slice(reply.body.get(from..span.start).unwrap_or_default());
        out.extend_from_slice(span.replacement.as_bytes());
        from = span.end;
    }
    out.extend_from_slice(reply.body.get(from..).unwrap_or_default());
    Bytes::from(out)
}

fn neutral(shape: Shape, outcome: Outcome, reveal: Reveal<'_>) -> WireResponse {
    match outcome {
        Outcome::NotFound => not_found(),
        Outcome::Done | Outcome::Catalogue(_) => empty(),
        Outcome::Names(names) if names.is_empty() => not_found(),
        Outcome::Names(keys) => ok(&Envelope::new(reveal.request_uuid, Keys { keys }, ())),
        Outcome::Described(described) => ok(&Envelope::new(reveal.request_uuid, metadata(&described), ())),
        Outcome::Written(info, custom) => match shape {
            Shape::Kv2Written => ok(&Envelope::new(reveal.request_uuid, version_metadata(&info, &custom), ())),
            _ => empty(),
        },
        // no version at all is nothing at all
        Outcome::Record(record) if record.info.version == 0 && record.value.is_none() => not_found(),
        Outcome::Record(record) => match shape {
            Shape::Kv2Subkeys(depth) => subkeys(&record, depth, reveal),
            Shape::Kv1 => read_v1(&record, reveal),
            _ => read_v2(&record, reveal),
        },
    }
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<String>,
}

/// The envelope is written by hand so that the value is copied once, as it was stored, and never parsed.
fn read_v2(record: &SecretRecord, reveal: Reveal<'_>) -> WireResponse {
    let Ok(metadata) = version_metadata(&record.info, &record.metadata).to_json() else { return not_found() };
    let size = record.value.as_ref().map_or(0, crate::secret::SecretValue::len);
    let mut out = Vec::with_capacity(size + metadata.len() + 256);
    open(&mut out, reveal.request_uuid, 0);
    out.extend_from_slice(b"{\"data\":");
    fields(&mut out, record);
    out.extend_from_slice(b",\"metadata\":");
    out.extend_from_slice(&metadata);
    out.push(b'}');
    close(&mut out);
    let status = if record.value.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    WireResponse::new(status, JSON, Bytes::from(out))
}

fn read_v1(record: &SecretRecord, reveal: Reveal<'_>) -> WireResponse {
    if record.value.is_none() {
        return not_found();
    }
    let size = record.value.as_ref().map_or(0, crate::secret::SecretValue::len);
    let mut out = Vec::with_capacity(size + 256);
    open(&mut out, reveal.request_uuid, KV1_LEASE_SECONDS);
    fields(&mut out, record);
    close(&mut out);
    WireResponse::new(StatusCode::OK, JSON, Bytes::from(out))
}

fn open(out: &mut Vec<u8>, request_id: &str, lease: u64) {
    out.extend_from_slice(b"{\"request_id\":\"");
    out.extend_from_slice(request_id.as_bytes());
    out.extend_from_slice(b"\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":");
    out.extend_from_slice(itoa::Buffer::new().format(lease).as_bytes());
    out.extend_from_slice(b",\"data\":");
}

fn close(out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"wrap_info\":null,\"warnings\":null,\"auth\":null}\n");
}

/// The value as KV fields (PRODUCT §3): a JSON object as it is, text and binary under `value`.
fn fields(out: &mut Vec<u8>, record: &SecretRecord) {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        value: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        encoding: Option<&'static str>,
    }
    let Some(value) = &record.value else { return out.extend_from_slice(b"null") };
    let bytes = value.expose();
    match record.secret_type {
        SecretType::Json if bytes.first() == Some(&b'{') => out.extend_from_slice(bytes),
        SecretType::Json => {
            out.extend_from_slice(b"{\"value\":");
            out.extend_from_slice(bytes);
            out.push(b'}');
        }
        SecretType::Text | SecretType::Binary => {
            let text = if record.secret_type == SecretType::Text { std::str::from_utf8(bytes).ok() } else { None };
            let wrapped = match text {
                Some(text) => serde_json::to_writer(&mut *out, &Wrapped { value: text, encoding: None }),
                None => {
                    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
                    let text = zeroize::Zeroizing::new(text);
                    serde_json::to_writer(&mut *out, &Wrapped { value: &text, encoding: Some("base64") })
                }
            };
            debug_assert!(wrapped.is_ok(), "writing to memory cannot fail");
        }
    }
}

fn subkeys(record: &SecretRecord, depth: u32, reveal: Reveal<'_>) -> WireResponse {
    #[derive(Serialize)]
    struct Subkeys<'a> {
        metadata: VersionOut<'a>,
        subkeys: Option<serde_json::Value>,
    }
    let shape = record.value.as_ref().and_then(|value| serde_json::from_slice(value.expose()).ok());
    let status = if record.value.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let subkeys = shape.map(|value| hollow(value, if depth == 0 { u32::MAX } else { depth }));
    let body = Subkeys { metadata: version_metadata(&record.info, &record.metadata), subkeys };
    json(status, &Envelope::new(reveal.request_uuid, body, ()))
}

/// Replaces every leaf, and everything below `depth` levels of objects, by null.
fn hollow(value: serde_json::Value, depth: u32) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) if depth > 0 && !map.is_empty() => {
            map.into_iter().map(|(key, value)| (key, hollow(value, depth - 1))).collect()
        }
        _ => serde_json::Value::Null,
    }
}

#[derive(Serialize)]
pub(super) struct VersionOut<'a> {
    created_time: String,
    custom_metadata: Option<&'a Metadata>,
    deletion_time: String,
    destroyed: bool,
    version: u64,
}

impl VersionOut<'_> {
    /// What serde writes, for less: this is in every answer to a read. Times need no escape.
    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(224);
        out.extend_from_slice(b"{\"created_time\":\"");
        out.extend_from_slice(self.created_time.as_bytes());
        out.extend_from_slice(b"\",\"custom_metadata\":");
        match self.custom_metadata {
            Some(custom) => serde_json::to_writer(&mut out, custom)?,
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"deletion_time\":\"");
        out.extend_from_slice(self.deletion_time.as_bytes());
        out.extend_from_slice(b"\",\"destroyed\":");
        out.extend_from_slice(if self.destroyed { "true" } else { "false" }.as_bytes());
        out.extend_from_slice(b",\"version\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.version).as_bytes());
        out.push(b'}');
        Ok(out)
    }
}

fn version_metadata<'a>(info: &VersionInfo, custom: &'a Metadata) -> VersionOut<'a> {
    let (deletion_time, destroyed) = deletion(info);
    VersionOut {
        created_time: info.created_at.rfc3339(),
        custom_metadata: (!custom.is_empty()).then_some(custom),
        deletion_time,
        destroyed,
        version: info.version,
    }
}

fn deletion(info: &VersionInfo) -> (String, bool) {
    let at = match info.state {
        VersionState::Deleted(at) | VersionState::Destroyed(Some(at)) => Some(at),
        VersionState::Current | VersionState::Disabled | VersionState::Destroyed(None) => info.deletes_at,
    };
    (at.map(Timestamp::rfc3339).unwrap_or_default(), matches!(info.state, VersionState::Destroyed(_)))
}

#[derive(Serialize)]
struct VersionEntry {
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

#[derive(Serialize)]
struct MetadataOut<'a> {
    cas_required: bool,
    created_time: String,
    current_version: u64,
    custom_metadata: Option<&'a Metadata>,
    delete_version_after: String,
    max_versions: u64,
    oldest_version: u64,
    updated_time: String,
    versions: BTreeMap<String, VersionEntry>,
}

fn metadata(described: &Described) -> MetadataOut<'_> {
    let entry = |info: &VersionInfo| {
        let (deletion_time, destroyed) = deletion(info);
        (info.version.to_string(), VersionEntry { created_time: info.created_at.rfc3339(), deletion_time, destroyed })
    };
    MetadataOut {
        cas_required: described.cas_required,
        created_time: described.created_at.rfc3339(),
        current_version: described.current_version,
        custom_metadata: (!described.metadata.is_empty()).then_some(&described.metadata),
        delete_version_after: go_duration(described.delete_after_secs),
        max_versions: described.max_versions,
        // a real server says 0 until it has forgotten a version
        oldest_version: if described.oldest_version > 1 { described.oldest_version } else { 0 },
        updated_time: described.updated_at.rfc3339(),
        versions: described.versions.iter().map(entry).collect(),
    }
}

/// Seconds as Go prints a duration: `0s`, `1m0s`, `3h25m19s`.
fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[derive(Serialize)]
struct AuthOut<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: Vec<&'a str>,
    token_policies: Vec<&'a str>,
    metadata: Option<BTreeMap<&'a str, &'a str>>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'static str,
    token_type: &'static str,
    orphan: bool,
    mfa_requirement: (),
    num_uses: u64,
}

fn issued_auth(issued: &Issued) -> AuthOut<'_> {
    auth(&issued.info, &issued.token)
}

fn auth<'a>(info: &'a TokenInfo, token: &'a str) -> AuthOut<'a> {
    AuthOut {
        client_token: token,
        accessor: &info.accessor,
        policies: policies(info),
        token_policies: policies(info),
        metadata: meta(info),
        // what is left, rounded up: a token that was just made says the whole of its time
        lease_duration: u64::try_from(info.ttl.as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
        renewable: info.renewable,
        entity_id: "",
        token_type: "service",
        orphan: info.orphan,
        mfa_requirement: (),
        num_uses: 0,
    }
}

/// A token's groups, in the order a real server lists policies.
fn policies(info: &TokenInfo) -> Vec<&str> {
    let mut policies: Vec<&str> = info.policies().iter().map(|policy| &**policy).collect();
    policies.sort_unstable();
    policies
}

fn meta(info: &TokenInfo) -> Option<BTreeMap<&str, &str>> {
    (!info.meta.is_empty()).then(|| info.meta.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

#[derive(Serialize)]
struct LookupOut<'a> {
    accessor: &'a str,
    creation_time: u64,
    creation_ttl: u64,
    display_name: &'a str,
    entity_id: &'static str,
    expire_time: Option<String>,
    explicit_max_ttl: u64,
    id: &'a str,
    issue_time: String,
    meta: Option<BTreeMap<&'a str, &'a str>>,
    num_uses: u64,
    orphan: bool,
    path: &'a str,
    policies: Vec<&'a str>,
    renewable: bool,
    ttl: u64,
    r#type: &'static str,
}

fn lookup<'a>(info: &'a TokenInfo, token: Option<&'a str>, reveal: Reveal<'_>) -> LookupOut<'a> {
    let left = info.expires_at.map_or(0, |at| at.secs().saturating_sub(reveal.now_secs));
    LookupOut {
        accessor: &info.accessor,
        creation_time: info.issued_at.secs(),
        creation_ttl: info.creation_ttl.as_secs(),
        display_name: &info.display_name,
        entity_id: "",
        expire_time: info.expires_at.map(Timestamp::rfc3339),
        explicit_max_ttl: info.explicit_max_ttl.map_or(0, |ttl| ttl.as_secs()),
        id: token.unwrap_or_default(),
        issue_time: info.issued_at.rfc3339(),
        meta: meta(info),
        num_uses: 0,
        orphan: info.orphan,
        path: &info.path,
        policies: policies(info),
        renewable: info.renewable,
        ttl: left,
        r#type: "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m0s"), (12_319, "3h25m19s")] {
            assert_eq!(go_duration(seconds), text);
        }
    }

    #[test]
    fn what_is_said_of_a_version_is_what_serde_says() {
        let custom = Metadata::from([("a\"b".to_owned(), "c\\\n\u{e9}".to_owned()), ("d".to_owned(), String::new())]);
        let at = Timestamp::from_micros(1_795_428_417_123_456);
        for custom in [Metadata::new(), custom] {
            for created_at in [at, Timestamp::from_micros(u64::MAX)] {
                for state in [
                    VersionState::Current,
                    VersionState::Deleted(at),
                    VersionState::Destroyed(None),
                    VersionState::Destroyed(Some(at)),
                    VersionState::Disabled,
                ] {
                    let info = VersionInfo { version: u64::MAX, created_at, state, ..VersionInfo::default() };
                    let version = version_metadata(&info, &custom);
                    assert_eq!(version.to_json().unwrap(), serde_json::to_vec(&version).unwrap());
                }
            }
        }
    }

    #[test]
    fn subkeys_never_hold_a_leaf() {
        let value = serde_json::json!({"a": "canary", "b": {"c": {"d": 1}}, "e": [1], "f": {}});
        assert_eq!(hollow(value.clone(), u32::MAX).to_string(), r#"{"a":null,"b":{"c":{"d":null}},"e":null,"f":null}"#);
        assert_eq!(hollow(value, 1).to_string(), r#"{"a":null,"b":null,"e":null,"f":null}"#);
    }
}
