//! From a request to a call.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Shape, federation};
use crate::error::ErrorKind;
use crate::identity::Credential;
use crate::secret::{
    Call, Dialect, ListOptions, Metadata, Operation, Precondition, SecretAction, SecretCall, SecretType, SecretValue,
    VersionSelector, VersionSet, WireName, WriteOptions,
};
use crate::wire::{
    AdminRequest, Decoded, ExplainFor, ExplainRequest, Fault, ListenerFacts, Query, Request, Shape as WireShape,
    SystemRequest, TargetError, WireRequest, check_json, decode_segments,
};

const MAX_LIMIT: usize = 1000;
const MAX_TTL: u64 = 366 * 86_400;

pub(super) fn decode<'r>(request: &WireRequest<'r>, facts: &ListenerFacts) -> Result<Decoded<'r>, Fault> {
    let credential = credential(request.headers, facts)?;
    let segments = decode_segments(request.path).map_err(malformed)?;
    let mut query = Query::parse(request.query).map_err(malformed)?;
    let names: Vec<&str> = segments.iter().map(Cow::as_ref).collect();
    let method = method(request.method.as_str(), &names);
    if !request.body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        check_body(request)?;
    }
    if method == "GET" && !request.body.is_empty() {
        return Err(Fault::malformed("a read has no body"));
    }
    let (decoded, shape) = match names.as_slice() {
        ["v1", "secrets", path @ ..] => secret(method, path, request, &mut query, facts)?,
        rest => (own(method, rest, (request.headers, request.body), &mut query)?, Shape::Other),
    };
    if !query.is_empty() {
        return Err(Fault::malformed("unsupported query parameter"));
    }
    Ok(Decoded { credential, namespace: None, request: decoded, shape: WireShape::Scaivault(shape) })
}

/// HEAD of a secret is a read whose body the listener leaves out (M05).
fn method<'m>(method: &'m str, names: &[&str]) -> &'m str {
    match names {
        ["v1", "secrets", ..] if method == "HEAD" => "GET",
        _ => method,
    }
}

/// Everything that is not about secrets.
fn own(
    method: &str,
    names: &[&str],
    (headers, body): (&HeaderMap, &[u8]),
    query: &mut Query<'_>,
) -> Result<Request, Fault> {
    let request = match (method, names) {
        ("GET", ["v1", "health"]) => return Ok(Request::System(SystemRequest::Health)),
        ("GET", ["v1", "openapi.json"]) => return Ok(Request::System(SystemRequest::OpenApi)),
        ("POST", ["v1", "tokens"]) => issue(body)?,
        ("DELETE", ["v1", "tokens"]) => revoke(body)?,
        ("PUT" | "DELETE", ["v1", "principals", principal @ .., "revocation"]) if !principal.is_empty() => {
            nothing(body)?;
            AdminRequest::Revocation { principal: principal.join("/"), revoked: method == "PUT" }
        }
        ("GET", ["v1", "federation", "explain"]) => explain(query)?,
        ("GET", ["v1", "events"]) => AdminRequest::Events { after: last_event(headers)? },
        ("POST", ["v1", "seal", "rotate"]) => federation::rotate(body)?,
        (_, ["v1", "federation", rest @ ..]) => {
            federation::decode(method, rest, body)?.ok_or_else(|| no_such_call(names))?
        }
        _ => return Err(no_such_call(names)),
    };
    Ok(Request::Admin(request))
}

/// The event a client saw last, as a browser's event source sends it when it comes back.
fn last_event(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    const NOT_AN_ID: Fault = Fault::malformed("Last-Event-ID is not the id of an event");
    let mut sent = headers.get_all("last-event-id").iter();
    let (Some(first), None) = (sent.next(), sent.next()) else {
        return if headers.contains_key("last-event-id") { Err(NOT_AN_ID) } else { Ok(None) };
    };
    let text = first.to_str().map_err(|_| NOT_AN_ID)?;
    let is_id = text.len() == 26 && text.parse::<ulid::Ulid>().is_ok_and(|id| id.to_string() == text);
    match text {
        "" => Ok(None),
        id if is_id => Ok(Some(id.to_owned())),
        _ => Err(NOT_AN_ID),
    }
}

/// A path that is not ours, or one of ours asked with another method.
fn no_such_call(names: &[&str]) -> Fault {
    match allowed(names) {
        Some(allow) => {
            Fault { allow: Some(allow), ..Fault::because(ErrorKind::Unsupported, "no such method here; see Allow") }
        }
        None => Fault::because(ErrorKind::NotFound, "no such endpoint"),
    }
}

fn allowed(names: &[&str]) -> Option<&'static str> {
    match names {
        ["v1", "secrets", ..] => Some("GET, HEAD, PUT, DELETE"),
        ["v1", "tokens"] => Some("POST, DELETE"),
        ["v1", "principals", principal @ .., "revocation"] if !principal.is_empty() => Some("PUT, DELETE"),
        ["v1", "health" | "events" | "openapi.json"] => Some("GET"),
        ["v1", "seal", "rotate"] => Some("POST"),
        ["v1", "federation", rest @ ..] => federation::allowed(rest),
        _ => None,
    }
}

fn secret(
    method: &str,
    path: &[&str],
    request: &WireRequest<'_>,
    query: &mut Query<'_>,
    facts: &ListenerFacts,
) -> Result<(Request, Shape), Fault> {
    let listing = flag(query, "list")?;
    let path = match path.split_last() {
        Some((last, rest)) if last.is_empty() && listing => rest,
        _ => path,
    };
    if path.iter().any(|part| part.is_empty()) {
        return Err(malformed(TargetError::EmptySegment));
    }
    let text = path.join("/");
    let name =
        if text.is_empty() { None } else { Some(WireName::parse(&text).ok_or(malformed(TargetError::Character))?) };
    if name.is_none() && !listing {
        return Err(Fault::malformed("no secret path"));
    }
    let (operation, action, shape) = match method {
        "GET" if listing => {
            let options = ListOptions { after: cursor(query, facts)?, limit: limit(query)? };
            (Operation::List, SecretAction::List(options), Shape::Names(text))
        }
        "GET" if flag(query, "versions")? => (Operation::Describe, SecretAction::Describe, Shape::Versions(text)),
        "GET" => (Operation::Read, SecretAction::Read(version(query)?), Shape::Secret(text)),
        "PUT" if flag(query, "undelete")? => {
            nothing(request.body)?;
            (Operation::Undelete, SecretAction::Undelete(version_set(query)?), Shape::Other)
        }
        "PUT" => (Operation::Write, write(request.body, facts.value_bytes)?, Shape::Written(text)),
        "DELETE" => {
            nothing(request.body)?;
            if flag(query, "destroy")? {
                (Operation::Destroy, SecretAction::Destroy(version_set(query)?), Shape::Other)
            } else {
                (Operation::Delete, SecretAction::Delete(version_set(query)?, None), Shape::Other)
            }
        }
        _ => return Err(no_such_call(&["v1", "secrets"])),
    };
    let secret = SecretCall { name, action, dialect: Dialect::Neutral };
    Ok((Request::Secret(Call { operation, secret }), shape))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody<'b> {
    #[serde(borrow)]
    data: &'b RawValue,
    #[serde(default)]
    secret_type: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    cas: Option<u64>,
}

fn write(body: &[u8], limit: usize) -> Result<SecretAction, Fault> {
    let put: PutBody<'_> = read(body)?;
    let raw = put.data.get();
    let secret_type = match put.secret_type.as_deref() {
        None if raw.starts_with('"') => SecretType::Text,
        None => SecretType::Json,
        Some(word) => SecretType::parse(word).ok_or(Fault::malformed("secret_type is json, text or binary"))?,
    };
    let value = match secret_type {
        SecretType::Json => SecretValue::copy_of(raw.as_bytes()),
        SecretType::Text => SecretValue::new(string(raw)?.into_bytes()),
        SecretType::Binary => {
            let text = Zeroizing::new(string(raw)?);
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| Fault::malformed("binary data is not base64"))?;
            SecretValue::new(bytes)
        }
    };
    if value.len() > limit {
        return Err(Fault::because(ErrorKind::TooLarge, "the value is larger than limits.value_bytes"));
    }
    let precondition = match put.cas {
        None => Precondition::None,
        Some(0) => Precondition::Absent,
        Some(version) => Precondition::Version(version),
    };
    let options = WriteOptions {
        precondition,
        conditional: put.cas.is_some(),
        metadata: put.metadata,
        ..WriteOptions::default()
    };
    Ok(SecretAction::Write { value, secret_type, options })
}

fn string(raw: &str) -> Result<String, Fault> {
    serde_json::from_str(raw).map_err(|_| Fault::malformed("data is not a string"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueBody {
    principal: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    folders: Vec<String>,
    #[serde(default)]
    ttl_seconds: Option<u64>,
    #[serde(default)]
    access_key: bool,
}

fn issue(body: &[u8]) -> Result<AdminRequest, Fault> {
    let IssueBody { principal, groups, folders, ttl_seconds, access_key } = read(body)?;
    if ttl_seconds.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Fault::malformed("ttl_seconds is longer than a year"));
    }
    let ttl = ttl_seconds.map(Duration::from_secs);
    Ok(AdminRequest::IssueToken { principal, groups, folders, ttl, is_access_key: access_key })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    #[serde(default)]
    token: Option<Zeroizing<String>>,
    #[serde(default)]
    accessor: Option<Zeroizing<String>>,
}

fn revoke(body: &[u8]) -> Result<AdminRequest, Fault> {
    match read(body)? {
        RevokeBody { token: Some(named), accessor: None } | RevokeBody { token: None, accessor: Some(named) } => {
            Ok(AdminRequest::RevokeToken(named))
        }
        _ => Err(Fault::malformed("give either token or accessor")),
    }
}

fn explain(query: &mut Query<'_>) -> Result<AdminRequest, Fault> {
    let mut take = |key| query.take(key).map(Cow::into_owned);
    if let Some(id) = take("request") {
        return Ok(AdminRequest::Explain(ExplainRequest::Request(id)));
    }
    let name = take("name").ok_or(Fault::malformed("give name or request"))?;
    let (wire, operation, group, folder) = (take("wire"), take("operation"), take("group"), take("folder"));
    // one parameter each, because none may come twice; neither a group nor a folder can hold a comma
    let list = |text: Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
    };
    let principal = match take("as") {
        Some(id) => Some(ExplainFor { id, groups: list(group), folders: list(folder) }),
        None if group.is_none() && folder.is_none() => None,
        None => return Err(Fault::malformed("group and folder describe the principal that `as` names")),
    };
    Ok(AdminRequest::Explain(ExplainRequest::Name { wire, name, operation, principal }))
}

/// Reads an object; the library would read an array by position.
pub(super) fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Fault> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::malformed("the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|_| Fault::malformed("a field is missing, unknown or of the wrong type"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Accepts no body, or an object without a field: what a caller says and nobody reads would be a promise.
pub(super) fn nothing(body: &[u8]) -> Result<(), Fault> {
    if body.is_empty() { Ok(()) } else { read::<Nothing>(body).map(|Nothing {}| ()) }
}

/// JSON by its media type, and unambiguous. A browser cannot send this type across origins without asking first.
fn check_body(request: &WireRequest<'_>) -> Result<(), Fault> {
    if request.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Fault::because(ErrorKind::Unsupported, super::encode::COMPRESSED));
    }
    if request.body.is_empty() {
        return Ok(());
    }
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_patch = request.method == http::Method::PATCH && kind == "application/merge-patch+json";
    if kind != "application/json" && !is_patch {
        return Err(Fault::because(ErrorKind::Unsupported, super::encode::WRONG_MEDIA_TYPE));
    }
    check_json(request.body).map_err(|_| Fault::malformed("the body is not one unambiguous JSON document"))
}

fn credential<'r>(headers: &'r HeaderMap, facts: &ListenerFacts) -> Result<Credential<'r>, Fault> {
    if facts.workload {
        return Ok(Credential::None);
    }
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credential::None) };
    if values.next().is_some() {
        return Err(Fault::malformed("Authorization given more than once"));
    }
    let text = value.to_str().map_err(|_| Fault::malformed("Authorization is not visible ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(Fault::malformed("Authorization is not `Bearer <token>`"));
    }
    Ok(Credential::Bearer(token))
}

fn flag(query: &mut Query<'_>, key: &str) -> Result<bool, Fault> {
    match query.take(key).as_deref() {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err(Fault::malformed("a boolean parameter is neither true nor false")),
    }
}

fn number(query: &mut Query<'_>, key: &str) -> Result<Option<u64>, Fault> {
    match query.take(key) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) if number > 0 && !text.starts_with('+') => Ok(Some(number)),
            _ => Err(Fault::malformed("a number parameter is not a positive number")),
        },
    }
}

fn version(query: &mut Query<'_>) -> Result<VersionSelector, Fault> {
    Ok(number(query, "version")?.map_or(VersionSelector::Current, VersionSelector::Number))
}

fn version_set(query: &mut Query<'_>) -> Result<VersionSet, Fault> {
    Ok(number(query, "version")?.map_or(VersionSet::Current, |version| VersionSet::Numbers(vec![version])))
}

fn limit(query: &mut Query<'_>) -> Result<Option<usize>, Fault> {
    Ok(number(query, "limit")?.map(|limit| usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)))
}

fn cursor(query: &mut Query<'_>, facts: &ListenerFacts) -> Result<Option<Box<str>>, Fault> {
    match query.take("cursor") {
        None => Ok(None),
        Some(text) => facts.cursors.open(&text).map(Some).ok_or(Fault::malformed("the cursor is not one of ours")),
    }
}

fn malformed(error: TargetError) -> Fault {
    Fault::malformed(error.detail())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Option<ExplainFor>, Fault> {
        match explain(&mut Query::parse(Some(query)).unwrap())? {
            AdminRequest::Explain(ExplainRequest::Name { principal, .. }) => Ok(principal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_principal_is_described_with_its_groups_and_folders() {
        let principal = asked("name=a&as=ci&group=apps,ops&folder=apps/ci").unwrap().unwrap();
        assert_eq!((principal.id.as_str(), principal.groups.len()), ("ci", 2));
        assert_eq!(principal.folders, ["apps/ci"]);
        assert!(asked("name=a&as=ci").unwrap().unwrap().groups.is_empty());
        assert!(asked("name=a").unwrap().is_none());
        assert_eq!(asked("name=a&group=apps").unwrap_err().kind, ErrorKind::Malformed, "of nobody");
    }
}
