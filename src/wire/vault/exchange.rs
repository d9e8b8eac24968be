//! One call to a Vault or OpenBao server: signed, sent under deadlines, its status classified. What the answer says is
//! for whoever asked.

mod address;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use self::address::Address;
use self::address::Origin;
use super::VaultSettings;
use super::login::Account;
use super::token::{Login, Session};
use crate::backend::{Answer, Attempt, BackendError, Resilience, UpstreamRequest};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOT_ENCODED: BackendError = BackendError::Unusable("the request cannot be encoded");
/// How a real server words a failed check-and-set.
const NOT_THE_VERSION: &str = "check-and-set parameter did not match the current version";

/// A server, our own session there, and how its bad days are survived.
pub(super) struct Upstream {
    session: Arc<Session>,
    origin: Origin,
    resilience: Resilience,
}

/// A request to be made, as often as it takes.
pub(super) struct Plan<'a> {
    pub(super) method: Method,
    pub(super) url: Address,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) body: Option<Bytes>,
    pub(super) repeat: Attempt,
    pub(super) request_id: &'a str,
}

impl<'a> Plan<'a> {
    /// A request without a body.
    pub(super) const fn bare(method: Method, url: Address, repeat: Attempt, request_id: &'a str) -> Self {
        Self { method, url, content_type: None, body: None, repeat, request_id }
    }

    /// A request with a JSON body.
    pub(super) fn json(
        method: Method,
        url: Address,
        body: &impl Serialize,
        repeat: Attempt,
        request_id: &'a str,
    ) -> Result<Self, BackendError> {
        let body = serde_json::to_vec(body).map_err(|_| NOT_ENCODED)?;
        let content_type = Some(HeaderValue::from_static("application/json"));
        Ok(Self { method, url, content_type, body: Some(Bytes::from(body)), repeat, request_id })
    }
}

impl Upstream {
    /// It connects and logs in when first used or tended.
    pub(super) fn new(settings: VaultSettings) -> Self {
        let origin = Origin::new(&settings.endpoint);
        let account = Account::new(settings.http, settings.endpoint, settings.namespace, settings.method);
        let session = Arc::new(Session::new(account));
        Self { session, origin, resilience: Resilience::new(settings.timeout, settings.attempt_timeout) }
    }

    /// The session calls are made under that concern no principal of their own.
    pub(super) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// `<endpoint>/v1/<segments>`, each segment encoded.
    pub(super) fn url<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> Address {
        self.origin.address(segments, None)
    }

    /// As [`Self::url`], with a query that is encoded too.
    pub(super) fn url_asking<'s>(&self, segments: impl IntoIterator<Item = &'s str>, query: Option<&str>) -> Address {
        self.origin.address(segments, query)
    }

    /// Makes a call under our own session.
    pub(super) async fn exchange(&self, plan: &Plan<'_>) -> Result<Answer, BackendError> {
        self.exchange_as(&self.session, plan).await.map(|(answer, _)| answer)
    }

    /// Makes a call under `session`; yields the token it was made with too.
    pub(super) async fn exchange_as(
        &self,
        session: &Arc<Session>,
        plan: &Plan<'_>,
    ) -> Result<(Answer, Arc<Login>), BackendError> {
        let uri = plan.url.uri().ok_or(NOT_ENCODED)?;
        let under_way = &AtomicBool::new(false);
        match self.resilience.run(plan.repeat, move || attempt(session, plan, uri, under_way)).await {
            // the deadline passed while the request was out, or while it could not yet have been
            Err(BackendError::Timeout) if under_way.load(Ordering::Relaxed) => {
                Err(BackendError::Unknown("no answer within the deadline"))
            }
            result => result,
        }
    }
}

/// One try, with a second one under a new token if the server no longer knew ours: then it did nothing.
async fn attempt(
    session: &Arc<Session>,
    plan: &Plan<'_>,
    uri: &Uri,
    under_way: &AtomicBool,
) -> Result<(Answer, Arc<Login>), BackendError> {
    let (answer, login) = send(session, plan, uri, under_way).await?;
    if answer.status != StatusCode::FORBIDDEN {
        return Ok((accept(answer, plan.repeat)?, login));
    }
    if !session.suspect(&login).await? {
        return Err(BackendError::Denied);
    }
    let (answer, login) = send(session, plan, uri, under_way).await?;
    Ok((accept(answer, plan.repeat)?, login))
}

/// `under_way` is set while a write may have reached the server.
async fn send(
    session: &Arc<Session>,
    plan: &Plan<'_>,
    uri: &Uri,
    under_way: &AtomicBool,
) -> Result<(Answer, Arc<Login>), BackendError> {
    let (mut headers, login) = session.signed().await?;
    if let Ok(id) = HeaderValue::from_str(plan.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(kind) = &plan.content_type {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    let request = UpstreamRequest { method: plan.method.clone(), url: uri, headers, body: plan.body.clone() };
    let http = session.account().http();
    if plan.repeat != Attempt::Write {
        return Ok((http.send(request).await?, login));
    }
    under_way.store(true, Ordering::Relaxed);
    let result = http.send_once(request).await;
    under_way.store(false, Ordering::Relaxed);
    Ok((result?, login))
}

/// Successes and honest absences pass; the rest is classified.
fn accept(answer: Answer, repeat: Attempt) -> Result<Answer, BackendError> {
    match answer.status.as_u16() {
        200..=299 => Ok(answer),
        404 if is_absence(&answer.body) => Ok(answer),
        400 if says(&answer.body, NOT_THE_VERSION) => Err(BackendError::Conflict),
        403 => Err(BackendError::Denied),
        429 => Err(BackendError::RateLimited(answer.retry_after().or(Some(1)))),
        500..=599 if repeat == Attempt::Write && is_doubtful(&answer) => {
            Err(BackendError::Unknown("the backend failed while it wrote"))
        }
        status @ (412 | 472 | 473 | 500..=599) => Err(BackendError::Failing(status)),
        status => Err(BackendError::Rejected(status)),
    }
}

/// Only a server's own 503 (sealed, standby) says that nothing was done; a gateway's may mean anything.
fn is_doubtful(failed: &Answer) -> bool {
    failed.status != StatusCode::SERVICE_UNAVAILABLE || !says(&failed.body, "")
}

#[derive(Deserialize)]
struct Absence<'a> {
    #[serde(default)]
    errors: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    warnings: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// A 404 means "not there" only as `{"errors": []}` without warnings, or with the metadata of a deleted version. Anything
/// else (no such mount, no such namespace, a path of another engine) is about our mapping, not about the secret.
fn is_absence(body: &[u8]) -> bool {
    let Ok(absence) = serde_json::from_slice::<Absence<'_>>(body) else { return false };
    let quiet = absence.warnings.is_none_or(|warnings| warnings.is_empty());
    let empty = absence.errors.as_ref().is_some_and(Vec::is_empty);
    (empty && quiet) || (absence.errors.is_none() && absence.data.is_some_and(|data| data.get() != "null"))
}

#[derive(Deserialize)]
struct Complaint {
    errors: Vec<String>,
}

/// Whether the body is a server's own list of errors and one of them holds `text`.
fn says(body: &[u8], text: &str) -> bool {
    serde_json::from_slice::<Complaint>(body).is_ok_and(|told| told.errors.iter().any(|error| error.contains(text)))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_404_is_an_absence_only_when_the_server_says_nothing_else() {
        for (body, absence) in [
            (r#"{"errors":[]}"#, true),
            (r#"{"data":{"data":null,"metadata":{"version":1}},"request_id":"x"}"#, true),
            (r#"{"errors":["no handler for route \"x/\". route entry not found."]}"#, false),
            (r#"{"errors":["namespace not found"]}"#, false),
            // engines that list nothing, as OpenBao 2.7 words them for `database/creds/`, `pki/`, `pki/cert/`
            (r#"{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}"#, false),
            (r#"{"errors":["unsupported path"]}"#, false),
            (r#"{"errors":["1 error occurred:\n\t* unsupported operation\n\n"]}"#, false),
            (r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine"]}"#, false),
            ("<html>404</html>", false),
            ("", false),
            ("{}", false),
            (r#"{"data":null}"#, false),
        ] {
            assert_eq!(is_absence(body.as_bytes()), absence, "{body}");
        }
    }

    fn verdict(status: u16, body: &'static str, repeat: Attempt) -> BackendError {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) };
        accept(answer, repeat).unwrap_err()
    }

    #[test]
    fn w01_only_a_failed_check_and_set_is_a_conflict() {
        let body = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
        assert!(matches!(verdict(400, body, Attempt::Write), BackendError::Conflict));
        for body in [r#"{"errors":["check-and-set parameter required for this call"]}"#, r#"{"errors":[]}"#, "no"] {
            assert!(matches!(verdict(400, body, Attempt::Write), BackendError::Rejected(400)), "{body}");
        }
    }

    #[test]
    fn w04_a_failure_while_writing_is_a_doubt_unless_the_server_itself_was_not_serving() {
        for (status, body) in [
            (500, r#"{"errors":["internal error"]}"#),
            (502, "<html>"),
            (503, "upstream connect error"),
            (503, r#"{"errors":[]}"#),
            (504, ""),
        ] {
            assert!(matches!(verdict(status, body, Attempt::Write), BackendError::Unknown(_)), "{status} {body}");
            assert!(matches!(verdict(status, body, Attempt::Repeatable), BackendError::Failing(_)), "{status} {body}");
        }
        let sealed = verdict(503, r#"{"errors":["Vault is sealed"]}"#, Attempt::Write);
        assert!(matches!(sealed, BackendError::Failing(503)));
        assert!(matches!(verdict(403, "{}", Attempt::Write), BackendError::Denied));
        assert!(matches!(verdict(429, "{}", Attempt::Write), BackendError::RateLimited(Some(1))));
    }
}
