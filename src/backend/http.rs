//! The one HTTP client: no redirects, no proxies from the environment, no compression, bounded answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;

use super::BackendError;
use super::tls::TlsClient;

/// Largest answer taken: a value of 1 MiB in JSON with escapes, twice over.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
const MAX_RETRY_AFTER: u64 = 300;

/// How a backend is reached.
pub struct HttpSettings {
    /// Trust, identity, verification.
    pub tls: TlsClient,
    /// Deadline of a connection attempt.
    pub connect_timeout: Duration,
}

/// A pooled client of one backend. Connections are never shared with another one: its TLS identity is its own.
pub struct HttpClient(reqwest::Client);

/// A request to a backend, built from neutral types only.
pub struct UpstreamRequest<'a> {
    /// Method.
    pub method: Method,
    /// Absolute.
    pub url: &'a reqwest::Url,
    /// Exactly these.
    pub headers: HeaderMap,
    /// Body.
    pub body: Option<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, complete.
    pub body: Bytes,
}

impl HttpClient {
    /// Builds a client; it connects when first used.
    ///
    /// # Errors
    /// When the TLS settings are unusable.
    pub fn new(settings: HttpSettings) -> Result<Self, BackendError> {
        let TlsClient(tls) = settings.tls;
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(256)
            .http2_max_header_list_size(65_536)
            .build()
            .map(Self)
            .map_err(|_| BackendError::Unavailable("the HTTP client could not be built"))
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When there is none, it is a redirect, compressed or larger than 4 MiB. Statuses are the caller's business.
    pub async fn send(&self, request: UpstreamRequest<'_>) -> Result<Answer, BackendError> {
        let mut headers = request.headers;
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("scaivault-proxy/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = self.0.request(request.method, request.url.clone()).headers(headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let mut response = builder.send().await.map_err(|error| classify(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(BackendError::Unusable("a redirect"));
        }
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(BackendError::Unusable("a compressed body"));
        }
        if response.content_length().is_some_and(|length| length > MAX_ANSWER as u64) {
            return Err(BackendError::Unusable("a body larger than 4 MiB"));
        }
        let first = response.chunk().await.map_err(|error| classify(&error))?;
        let body = match first {
            None => Bytes::new(),
            Some(first) => whole(&mut response, first).await?,
        };
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status, headers, body })
    }
}

/// Most answers are one chunk and are not copied.
async fn whole(response: &mut reqwest::Response, first: Bytes) -> Result<Bytes, BackendError> {
    let Some(second) = response.chunk().await.map_err(|error| classify(&error))? else { return Ok(first) };
    let mut all = BytesMut::from(first.as_ref());
    all.extend_from_slice(&second);
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if all.len() + chunk.len() > MAX_ANSWER {
            return Err(BackendError::Unusable("a body larger than 4 MiB"));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

fn classify(error: &reqwest::Error) -> BackendError {
    if error.is_timeout() {
        BackendError::Timeout
    } else if error.is_connect() {
        BackendError::Unavailable("no connection (refused, unknown host, or its certificate was not accepted)")
    } else if error.is_decode() || error.is_body() {
        BackendError::Unavailable("the answer broke off")
    } else {
        BackendError::Unavailable("the connection broke")
    }
}

impl Answer {
    /// `Retry-After` in seconds, clamped to five minutes; dates and garbage count as absent.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse::<u64>().ok().map(|seconds| seconds.min(MAX_RETRY_AFTER))
    }
}
