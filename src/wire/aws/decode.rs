//! From a request to a call: where it goes by path, media type and `X-Amz-Target`; the signature is read by whoever
//! verifies it.

use http::{HeaderMap, Method, header};
use serde::Deserialize;

use super::{Shape, fault, keys, list, password, read, sts, write};
use crate::error::ErrorKind;
use crate::identity::{Credential, SignedRequest};
use crate::secret::WireName;
use crate::wire::{
    AwsFacts, Decoded, Fault, ListenerFacts, Query, Request, Shape as WireShape, WireRequest, check_json,
};

const SERVICE: &str = "secretsmanager";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";
/// What a signature in the query consists of.
const SIGNATURE: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// What calls are decoded from.
pub(super) struct Input<'a> {
    pub(super) body: &'a [u8],
    pub(super) aws: &'a AwsFacts,
    pub(super) facts: &'a ListenerFacts,
}

/// What a call is decoded to.
pub(super) type Routed = Result<(Request, Shape), Fault>;

pub(super) fn decode<'r>(request: &WireRequest<'r>, facts: &'r ListenerFacts) -> Result<Decoded<'r>, Fault> {
    let aws = facts.aws.as_ref().ok_or(Fault::of(ErrorKind::Internal))?;
    if request.path == keys::PATH {
        return keys::decode(request, facts);
    }
    if request.method != Method::POST || request.path != "/" {
        return Err(Fault::malformed(fault::NO_OPERATION));
    }
    let target = single(request.headers, "x-amz-target")?;
    let media = single(request.headers, "content-type")?.unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if target.is_none() && media.eq_ignore_ascii_case(FORM) {
        return sts::decode(request);
    }
    let operation = target.and_then(|target| target.strip_prefix("secretsmanager."));
    let operation = operation.ok_or(Fault::malformed(fault::NO_OPERATION))?;
    if !media.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Fault::malformed(fault::WRONG_MEDIA_TYPE));
    }
    if request.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Fault::malformed(fault::COMPRESSED));
    }
    check_query(request.query)?;
    check_json(request.body).map_err(|_| Fault::malformed(fault::NOT_JSON))?;
    let (call, shape) = route(operation, &Input { body: request.body, aws, facts })?;
    let credential = signed(request, aws);
    Ok(Decoded { credential, namespace: None, request: call, shape: WireShape::Aws(shape) })
}

/// The request as whoever verifies its signature needs it; whether there is one is seen there.
fn signed<'r>(request: &WireRequest<'r>, aws: &'r AwsFacts) -> Credential<'r> {
    Credential::Signed(SignedRequest {
        method: request.method,
        path: request.path,
        query: request.query,
        host: request.host,
        headers: request.headers,
        body: request.body,
        region: &aws.region,
        service: SERVICE,
    })
}

fn route(operation: &str, input: &Input<'_>) -> Routed {
    match operation {
        "GetSecretValue" => read::value(input),
        "BatchGetSecretValue" => read::values(input),
        "DescribeSecret" => read::describe(input),
        "ListSecretVersionIds" => read::versions(input),
        "ListSecrets" => list::secrets(input),
        "CreateSecret" => write::create(input),
        "PutSecretValue" => write::put(input),
        "UpdateSecret" => write::update(input),
        "UpdateSecretVersionStage" => write::label(input),
        "DeleteSecret" => write::delete(input),
        "RestoreSecret" => write::restore(input),
        "TagResource" => write::tag(input),
        "UntagResource" => write::untag(input),
        "GetRandomPassword" => password::decode(input),
        other => Err(refused(other)),
    }
}

/// Operations the service has and this wire has not, and why.
const REFUSED: [(&str, &str); 9] = [
    (
        "GetResourcePolicy",
        "GetResourcePolicy is not supported by scaivault-proxy: what may be read is decided by its own policies.",
    ),
    (
        "PutResourcePolicy",
        "PutResourcePolicy is not supported by scaivault-proxy: access is granted by its own policies.",
    ),
    (
        "DeleteResourcePolicy",
        "DeleteResourcePolicy is not supported by scaivault-proxy: access is taken away by its own policies.",
    ),
    (
        "ValidateResourcePolicy",
        "ValidateResourcePolicy is not supported by scaivault-proxy: secrets have no resource policies here.",
    ),
    (
        "RotateSecret",
        "RotateSecret is not supported by scaivault-proxy: rotate the secret in the store that holds it, or write a new \
         version.",
    ),
    (
        "CancelRotateSecret",
        "CancelRotateSecret is not supported by scaivault-proxy: rotation belongs to the store that holds the secret.",
    ),
    (
        "ReplicateSecretToRegions",
        "ReplicateSecretToRegions is not supported by scaivault-proxy: a listener has one region.",
    ),
    (
        "RemoveRegionsFromReplication",
        "RemoveRegionsFromReplication is not supported by scaivault-proxy: a listener has one region.",
    ),
    (
        "StopReplicationToReplica",
        "StopReplicationToReplica is not supported by scaivault-proxy: a listener has one region.",
    ),
];

fn refused(operation: &str) -> Fault {
    match REFUSED.iter().find(|(name, _)| *name == operation) {
        Some((_, why)) => Fault::because(ErrorKind::Unsupported, why),
        None => Fault::malformed(fault::UNKNOWN_OPERATION),
    }
}

/// A header that may come once. Which of two a signature covers is nothing to guess about.
pub(super) fn single<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Fault::malformed(fault::NO_OPERATION));
    }
    value.to_str().map(Some).map_err(|_| Fault::malformed(fault::NO_OPERATION))
}

fn check_query(query: Option<&str>) -> Result<(), Fault> {
    let mut query = Query::parse(query).map_err(|error| Fault::malformed(error.detail()))?;
    for name in SIGNATURE {
        let _signature = query.take(name);
    }
    if query.is_empty() { Ok(()) } else { Err(Fault::malformed(fault::QUERY)) }
}

impl<'a> Input<'a> {
    /// Reads the body, an object (the library would read an array by position), saying nothing of its content when it
    /// does not fit.
    pub(super) fn read<T: Deserialize<'a>>(&self) -> Result<T, Fault> {
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return Err(Fault::malformed(fault::NOT_JSON));
        }
        serde_json::from_slice(self.body).map_err(|_| Fault::malformed(fault::WRONG_TYPE))
    }

    /// The secret that a call names.
    pub(super) fn secret(&self, id: Option<&str>) -> Result<WireName, Fault> {
        super::name::secret(id.ok_or(Fault::malformed(fault::SECRET_ID_MISSING))?, self.aws)
    }

    /// The secret that a call is to change.
    pub(super) fn changed(&self, id: Option<&str>) -> Result<WireName, Fault> {
        super::name::changed(id.ok_or(Fault::malformed(fault::SECRET_ID_MISSING))?, self.aws)
    }
}
