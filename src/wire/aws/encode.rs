//! From answers to responses: which shape an answer has was decided with its request.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::fault::{self, Trouble};
use super::{Shape, answer, describe, keys, password, sts, value};
use crate::error::ErrorKind;
use crate::secret::{Outcome, Reply};
use crate::wire::{Answer, AwsFacts, Fault, Reveal, SystemRequest, WireResponse};

pub(super) const JSON: &str = "application/x-amz-json-1.1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) fn encode(shape: &Shape, answer: Answer<'_>, reveal: Reveal<'_>) -> WireResponse {
    match (answer, shape) {
        (Answer::Secret(disclosure), _) => reply(shape, disclosure.into_reply(), reveal),
        (Answer::Batch(results, more), Shape::Values(asked)) => {
            let results = results.into_iter().map(|(name, result)| (name, result.map(|known| known.into_reply())));
            value::several(asked, results.collect(), more, reveal)
        }
        (Answer::AccessKey(key), Shape::AccessKey) => keys::render(&key, reveal),
        (Answer::AccessKey(key), Shape::WebIdentity { role, session }) => sts::render(&key, (role, session), reveal),
        (Answer::System(SystemRequest::RandomPassword(rules), _), _) => rendered(password::answer(rules), reveal),
        _ => internal(reveal),
    }
}

/// An answer about one secret, or a page of them.
pub(super) fn reply(shape: &Shape, reply: Reply, reveal: Reveal<'_>) -> WireResponse {
    let Some(aws) = &reveal.facts.aws else { return internal(reveal) };
    let told = match reply {
        Reply::Native(native) => match shape {
            Shape::Value(name, _) | Shape::Described(name) => value::native(name.as_str(), native, aws),
            _ => Err(none()),
        },
        Reply::Neutral(outcome) => neutral(shape, outcome, aws, reveal),
    };
    rendered(told, reveal)
}

fn rendered(told: Result<Bytes, Trouble>, reveal: Reveal<'_>) -> WireResponse {
    match told {
        Ok(body) => whole(body, reveal),
        Err(trouble) => trouble.render(reveal),
    }
}

fn neutral(shape: &Shape, outcome: Outcome, aws: &AwsFacts, reveal: Reveal<'_>) -> Result<Bytes, Trouble> {
    match (shape, outcome) {
        // who wants it gone for good has what was wanted
        (Shape::Deleted(name, 0), Outcome::NotFound) => answer::deleted(name, 0, aws, reveal.now_secs),
        (_, Outcome::NotFound) => Err(fault::words(Fault::of(ErrorKind::NotFound))),
        (Shape::Value(name, asked), Outcome::Record(record)) => value::single(name.as_str(), &record, asked, aws),
        (Shape::Described(name), Outcome::Described(described)) => describe::secret(name.as_str(), &described, aws),
        (Shape::Versions { name, deprecated, after, limit }, Outcome::Described(described)) => {
            let page = describe::Page { deprecated: *deprecated, after: after.as_ref(), limit: *limit };
            describe::versions(name.as_str(), &described, &page, reveal.facts, aws)
        }
        (Shape::Catalogue, Outcome::Catalogue(entries)) => describe::catalogue(&entries, reveal, aws),
        (Shape::Written(name, stages), Outcome::Written(info, _)) => answer::written(name, Some((&info, *stages)), aws),
        (Shape::Written(name, _), _) => answer::written(name, None, aws),
        (Shape::Named(name), _) => answer::written(name, None, aws),
        (Shape::Deleted(name, days), _) => answer::deleted(name, *days, aws, reveal.now_secs),
        (Shape::Empty, _) => Ok(Bytes::from_static(b"{}")),
        _ => Err(none()),
    }
}

/// The answer to something else than was asked: a defect.
pub(super) fn none() -> Trouble {
    fault::words(Fault::of(ErrorKind::Internal))
}

fn internal(reveal: Reveal<'_>) -> WireResponse {
    fault::render(Fault::of(ErrorKind::Internal), reveal)
}

pub(super) fn whole(body: Bytes, reveal: Reveal<'_>) -> WireResponse {
    let mut response = WireResponse::new(StatusCode::OK, JSON, body);
    mark(&mut response, reveal);
    response
}

/// A body, written into an allocation of at least `room` bytes. What SDKs cannot parse they may take for an empty
/// success, so nothing that is not whole is ever one.
pub(super) fn bytes(body: &impl Serialize, room: usize) -> Result<Bytes, Trouble> {
    let mut out = Vec::with_capacity(room);
    serde_json::to_writer(&mut out, body).map_err(|_| none())?;
    Ok(Bytes::from(out))
}

/// What every answer of this wire carries.
pub(super) fn mark(response: &mut WireResponse, reveal: Reveal<'_>) {
    if let Ok(id) = HeaderValue::from_str(reveal.request_uuid) {
        response.headers.insert(REQUEST_ID, id);
    }
    // the same id as the trail and the log have it
    if let Ok(id) = HeaderValue::from_str(reveal.request_id) {
        response.headers.insert(OWN_REQUEST_ID, id);
    }
}
