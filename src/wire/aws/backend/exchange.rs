//! One call to Secrets Manager: signed, sent under deadlines, its answer classified. What the answer says is for whoever
//! asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::credentials::Account;
use super::fault::{Refusal, Told, weigh};
use super::keyring::{Keyring, Keys, jitter};
use super::sign::{Scope, signed};
use crate::backend::{Attempt, BackendError, HttpClient, Resilience, UpstreamRequest};
use crate::clock::{Clock as _, SystemClock};

/// What calls and answers are made of.
pub(super) const JSON: &str = "application/x-amz-json-1.1";
const SERVICE: &str = "secretsmanager";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Between tries of a call that was throttled without a word on when to come back; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const NOT_ENCODED: BackendError = BackendError::Unusable("the request cannot be encoded");
const NO_PLACE: BackendError = BackendError::Unavailable("the endpoint is no place a request can be sent to");

/// Secrets Manager in one region, our keys there, and how its bad days are survived.
pub(super) struct Upstream {
    keyring: Arc<Keyring>,
    http: Arc<HttpClient>,
    region: String,
    endpoint: Url,
    uri: Option<Uri>,
    resilience: Resilience,
}

/// A request to be made, as often as it takes.
struct Call<'a> {
    target: String,
    body: Bytes,
    repeat: Attempt,
    request_id: &'a str,
}

impl Upstream {
    /// It connects and gets keys when first used or tended.
    pub(super) fn new(account: Account, endpoint: Url, resilience: Resilience) -> Self {
        let (http, region) = (account.http.clone(), account.region.clone());
        let uri = endpoint.as_str().parse().ok();
        Self { keyring: Arc::new(Keyring::new(account)), http, region, endpoint, uri, resilience }
    }

    pub(super) const fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Makes a call. It is made again, within its deadline, while the service has no time for it: a throttled call did
    /// nothing, whatever it is.
    pub(super) async fn call(
        &self,
        action: &str,
        body: &impl Serialize,
        repeat: Attempt,
        request_id: &str,
    ) -> Result<Told, BackendError> {
        let body = Bytes::from(serde_json::to_vec(body).map_err(|_| NOT_ENCODED)?);
        let call = Call { target: format!("{SERVICE}.{action}"), body, repeat, request_id };
        let until = self.resilience.deadline();
        let mut pause = FIRST_PAUSE;
        let mut has_failed = false;
        loop {
            let error = match self.attempts(&call).await {
                Err(error @ (BackendError::RateLimited(None) | BackendError::Failing(500))) => error,
                result => return result,
            };
            let is_throttled = matches!(error, BackendError::RateLimited(_));
            let wait = jitter(pause);
            let is_allowed = is_throttled || (repeat == Attempt::Repeatable && !has_failed);
            if !is_allowed || Instant::now() + wait >= until {
                return Err(if is_throttled { BackendError::RateLimited(Some(1)) } else { error });
            }
            has_failed |= !is_throttled;
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// As [`Self::call`], for calls that only read.
    pub(super) async fn ask(
        &self,
        action: &str,
        body: &impl Serialize,
        request_id: &str,
    ) -> Result<Told, BackendError> {
        self.call(action, body, Attempt::Repeatable, request_id).await
    }

    async fn attempts(&self, call: &Call<'_>) -> Result<Told, BackendError> {
        let under_way = &AtomicBool::new(false);
        match self.resilience.run(call.repeat, move || attempt(self, call, under_way)).await {
            // the deadline passed while the request was out, or while it could not yet have been
            Err(BackendError::Timeout) if under_way.load(Ordering::Relaxed) => {
                Err(BackendError::Unknown("no answer within the deadline"))
            }
            result => result,
        }
    }

    /// `under_way` is set while a write may have reached the service.
    async fn send(&self, call: &Call<'_>, keys: &Keys, under_way: &AtomicBool) -> Result<Told, Refusal> {
        let url = self.uri.as_ref().ok_or(NO_PLACE)?;
        let given = [("content-type", JSON), ("x-amz-target", call.target.as_str())];
        let scope = Scope { region: &self.region, service: SERVICE };
        let now = SystemClock.now();
        let mut headers = signed(self.endpoint.as_str(), &given, &call.body, keys.identity(), scope, now)?;
        // not signed: it is for whoever reads logs
        if let Ok(id) = HeaderValue::from_str(call.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        let request = UpstreamRequest { method: Method::POST, url, headers, body: Some(call.body.clone()) };
        if call.repeat != Attempt::Write {
            return weigh(self.http.send(request).await?, call.repeat);
        }
        under_way.store(true, Ordering::Relaxed);
        let result = self.http.send_once(request).await;
        under_way.store(false, Ordering::Relaxed);
        weigh(result?, call.repeat)
    }
}

/// One try, with a second one under other keys if the service does not take ours: then it did nothing.
async fn attempt(upstream: &Upstream, call: &Call<'_>, under_way: &AtomicBool) -> Result<Told, BackendError> {
    let keyring = &upstream.keyring;
    let keys = keyring.keys().await?;
    match upstream.send(call, &keys, under_way).await {
        Ok(told) => return Ok(told),
        Err(Refusal::Error(error)) => return Err(error),
        Err(Refusal::Stale) => {}
    }
    let keys = keyring.suspect(keys.generation).await?;
    match upstream.send(call, &keys, under_way).await {
        Ok(told) => Ok(told),
        Err(Refusal::Error(error)) => Err(error),
        Err(Refusal::Stale) => {
            keyring.condemn(keys.generation).await;
            Err(BackendError::REFUSED_LOGIN)
        }
    }
}
