//! The server's own bytes for a client that speaks the same wire: checked to be what they should, with no header a client
//! has no business with.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Deserialize;

use super::schema::Answered;
use crate::backend::{Answer, BackendError};
use crate::secret::NativeReply;

/// What a client may see of a backend's headers.
const SHOWN: [HeaderName; 3] = [CONTENT_TYPE, CACHE_CONTROL, STRICT_TRANSPORT_SECURITY];

/// Any answer.
pub(super) fn reply(answer: Answer) -> Result<NativeReply, BackendError> {
    let mut request_id = None;
    if !is_blank(&answer) {
        let answered: Answered<'_> = serde_json::from_slice(&answer.body)
            .map_err(|_| BackendError::Unusable("not the JSON of a Vault server"))?;
        request_id = answered.request_id.map(|id| Box::from(&*id));
    }
    Ok(shown(answer, None, request_id))
}

/// A read of KV version 2.
pub(super) fn read(answer: Answer) -> Result<NativeReply, BackendError> {
    if answer.status == StatusCode::NOT_FOUND {
        return reply(answer);
    }
    // one pass over the body says that it is whole, of the right form, which version it is and whose request it was
    let glance: Glance<'_> =
        serde_json::from_slice(&answer.body).map_err(|_| BackendError::Unusable("not a KV version 2 read"))?;
    let (version, request_id) = (glance.data.metadata.version, glance.request_id.map(|id| Box::from(&*id)));
    Ok(shown(answer, Some(version), request_id))
}

/// Whether there is nothing to read in the answer.
pub(super) fn is_blank(answer: &Answer) -> bool {
    answer.status == StatusCode::NO_CONTENT || answer.body.is_empty()
}

/// What the trail wants to know of a KV version 2 read.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(default, borrow)]
    request_id: Option<Cow<'a, str>>,
    data: GlanceData,
}

#[derive(Deserialize)]
struct GlanceData {
    metadata: GlanceMetadata,
}

#[derive(Deserialize)]
struct GlanceMetadata {
    version: u64,
}

/// The answer as a client may see it.
fn shown(mut answer: Answer, version: Option<u64>, request_id: Option<Box<str>>) -> NativeReply {
    let mut headers = HeaderMap::with_capacity(8);
    for name in SHOWN {
        if let Some(value) = answer.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    let (status, body) = (answer.status, answer.body);
    NativeReply { status, headers, body, spans: Vec::new(), version, request_id }
}
