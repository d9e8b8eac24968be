//! Paths and bodies of the federation calls. What a backend's settings mean is not looked at here.

use serde::Deserialize;

use super::decode::{nothing, read};
use crate::secret::{BackendId, SecretPath};
use crate::wire::{AdminRequest, BackendAction, Fault, FederationRequest, JsonBody, Winner};

const MAX_PATHS: usize = 1000;

/// The methods of a path below `/v1/federation`; `None` if there is no such path.
pub(super) fn allowed(rest: &[&str]) -> Option<&'static str> {
    match rest {
        ["explain"] => Some("GET"),
        ["backends"] => Some("GET, POST"),
        ["backends", _] => Some("GET, PATCH, DELETE"),
        ["backends", _, "check" | "sync"] => Some("POST"),
        ["backends", _, "syncs" | "status" | "conflicts" | "quarantine"] => Some("GET"),
        ["backends", _, "syncs", _] => Some("GET, DELETE"),
        ["backends", _, "conflicts", "resolve"] | ["backends", _, "quarantine", "adopt" | "purge"] => Some("POST"),
        _ => None,
    }
}

/// Decodes a call whose path and method [`allowed`] names; `None` for any other.
pub(super) fn decode(method: &str, rest: &[&str], body: &[u8]) -> Result<Option<AdminRequest>, Fault> {
    let request = match (method, rest) {
        ("GET", ["backends"]) => FederationRequest::List,
        ("POST", ["backends"]) => FederationRequest::Create(object(body)?),
        (_, ["backends", id, below @ ..]) => match action(method, below, body)? {
            Some(action) => FederationRequest::Backend { id: backend(id)?, action },
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(AdminRequest::Federation(request)))
}

fn action(method: &str, below: &[&str], body: &[u8]) -> Result<Option<BackendAction>, Fault> {
    Ok(Some(match (method, below) {
        ("GET", []) => BackendAction::Show,
        ("PATCH", []) => BackendAction::Update(object(body)?),
        ("DELETE", []) => nothing(body).map(|()| BackendAction::Delete)?,
        ("POST", ["check"]) => nothing(body).map(|()| BackendAction::Check)?,
        ("POST", ["sync"]) => BackendAction::Sync(paths(body)?),
        ("GET", ["syncs"]) => BackendAction::Syncs,
        ("GET", ["syncs", run]) => BackendAction::Run((*run).to_owned()),
        ("DELETE", ["syncs", run]) => nothing(body).map(|()| BackendAction::Cancel((*run).to_owned()))?,
        ("GET", ["status"]) => BackendAction::Status,
        ("GET", ["conflicts"]) => BackendAction::Conflicts,
        ("POST", ["conflicts", "resolve"]) => resolve(body)?,
        ("GET", ["quarantine"]) => BackendAction::Quarantine,
        ("POST", ["quarantine", "adopt"]) => nothing(body).map(|()| BackendAction::Adopt)?,
        ("POST", ["quarantine", "purge"]) => nothing(body).map(|()| BackendAction::Purge)?,
        _ => return Ok(None),
    }))
}

fn backend(id: &str) -> Result<BackendId, Fault> {
    BackendId::parse(id).ok_or(Fault::malformed("a backend's id is fed_ and 26 characters"))
}

fn object(body: &[u8]) -> Result<JsonBody, Fault> {
    read::<serde_json::Map<String, serde_json::Value>>(body).map(|fields| JsonBody(fields.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncBody {
    #[serde(default)]
    paths: Option<Vec<String>>,
}

fn paths(body: &[u8]) -> Result<Option<Vec<SecretPath>>, Fault> {
    if body.is_empty() {
        return Ok(None);
    }
    let SyncBody { paths } = read(body)?;
    let Some(texts) = paths else { return Ok(None) };
    if texts.is_empty() || texts.len() > MAX_PATHS {
        return Err(Fault::malformed("paths holds 1 to 1000 secret paths; leave it out to sync everything"));
    }
    let parsed: Result<Vec<SecretPath>, _> = texts.iter().map(|text| SecretPath::parse(text)).collect();
    parsed.map(Some).map_err(|_| Fault::malformed("paths holds a text that is not a secret path"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    path: String,
    keep: Keep,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keep {
    Local,
    Backend,
}

fn resolve(body: &[u8]) -> Result<BackendAction, Fault> {
    let ResolveBody { path, keep } = read(body)?;
    let path = SecretPath::parse(&path).map_err(|_| Fault::malformed("path is not a secret path"))?;
    let keep = match keep {
        Keep::Local => Winner::Local,
        Keep::Backend => Winner::Backend,
    };
    Ok(BackendAction::Resolve { path, keep })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateBody {
    key: Key,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Root,
    Tenant,
}

/// Decodes `POST /v1/seal/rotate`.
pub(super) fn rotate(body: &[u8]) -> Result<AdminRequest, Fault> {
    let RotateBody { key } = read(body)?;
    Ok(AdminRequest::RotateSeal { root: matches!(key, Key::Root) })
}
