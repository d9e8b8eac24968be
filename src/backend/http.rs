//! The one HTTP client: no redirects, no proxies from the environment, no compression, bounded answers.
//!
//! A pool of connections and nothing around it. INVARIANT: a failure says whether the request may have got through; only a
//! connection that was not made is certain to have carried nothing.

mod connect;
mod tunnel;

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use self::connect::{Connector, OutOfReach};
use self::tunnel::NoTunnel;
use super::BackendError;
use super::tls::TlsClient;
use super::toll;

pub use self::connect::Reach;

/// Largest answer taken: a value of 1 MiB in JSON with escapes, twice over.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
const MAX_RETRY_AFTER: u64 = 300;
/// Of an answer's headers over HTTP/2.
const MAX_HEADERS: u32 = 65_536;
const IDLE_LONGEST: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 256;
const NO_CONNECTION: BackendError =
    BackendError::Unavailable("no connection (refused, unknown host, or its certificate was not accepted)");
const OUT_OF_REACH: BackendError =
    BackendError::Unavailable("its name stands for an address where it may not be reached; nothing was sent there");
const NO_WAY: BackendError = BackendError::Unavailable("its forward proxy did not make the connection");
const NO_PASS: BackendError =
    BackendError::Unavailable("its forward proxy asks for a credential, which is not given to one");

/// How a backend is reached.
pub struct HttpSettings {
    /// Trust, identity, verification.
    pub tls: TlsClient,
    /// Deadline of a connection attempt, name resolution and handshake included.
    pub connect_timeout: Duration,
}

/// A forward proxy that connections with TLS are made through. It learns where they go and nothing else, and gets no
/// credential.
pub struct ForwardProxy {
    /// Where it is; it may itself be reached without TLS.
    pub url: Url,
    /// Trust in the proxy itself, where its URL is https.
    pub tls: TlsClient,
}

/// A pooled client of one backend. Connections are never shared with another one: its TLS identity is its own.
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    calls: AtomicU64,
}

/// A request to a backend, built from neutral types only.
pub struct UpstreamRequest<'a, T = Url> {
    /// Method.
    pub method: Method,
    /// Absolute: a [`Uri`] made of parsed parts where requests are many, a [`Url`] where they are few.
    pub url: &'a T,
    /// These, and those that say who asks and that the answer is wanted as it is.
    pub headers: HeaderMap,
    /// Body.
    pub body: Option<Bytes>,
}

/// Where a request can be sent: a [`Uri`] or a [`Url`].
pub trait Destination {
    /// The absolute URI; `None` if nothing can be sent there.
    fn uri(&self) -> Option<Uri>;
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
    /// Builds a client that connects anywhere; it does so when first used. HTTP/2 is spoken only where `tls` offers it and
    /// the other side takes it; else it is HTTP/1.1.
    ///
    /// # Errors
    /// None any more: TLS settings that exist are usable.
    pub fn new(settings: HttpSettings) -> Result<Self, BackendError> {
        Self::within(settings, Reach::anywhere())
    }

    /// As [`Self::new`], for a client that connects only where `reach` says. Somebody other than the operator chose what it
    /// is pointed at.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn within(settings: HttpSettings, reach: Reach) -> Result<Self, BackendError> {
        Self::through(settings, reach, None)
    }

    /// As [`Self::within`], for a client that makes its connections with TLS through a forward proxy if there is one. Those
    /// without are made straight.
    ///
    /// # Errors
    /// When the proxy's URL is none that can be connected to.
    pub fn through(settings: HttpSettings, reach: Reach, proxy: Option<ForwardProxy>) -> Result<Self, BackendError> {
        let TlsClient(tls) = settings.tls;
        let proxy = match proxy {
            None => None,
            Some(ForwardProxy { url, tls: TlsClient(tls) }) => Some((url.uri().ok_or(NO_WAY)?, tls)),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LONGEST)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_max_header_list_size(MAX_HEADERS)
            .build(Connector::new(tls, settings.connect_timeout, reach, proxy));
        Ok(Self { client, calls: AtomicU64::new(0) })
    }

    /// How many requests were begun since the client was built.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When there is none, it is a redirect, compressed or larger than 4 MiB. Statuses are the caller's business.
    pub async fn send<T: Destination>(&self, request: UpstreamRequest<'_, T>) -> Result<Answer, BackendError> {
        self.exchange(request.prepared()).await.map_err(|failure| failure.error)
    }

    /// As [`Self::send`], for a request that changes something.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] when the other side may have acted on it and there is no answer; any other error says
    /// that it did not.
    pub async fn send_once<T: Destination>(&self, request: UpstreamRequest<'_, T>) -> Result<Answer, BackendError> {
        self.exchange(request.prepared()).await.map_err(|failure| match failure.error {
            error if !failure.reached => error,
            BackendError::Unavailable(text) | BackendError::Unusable(text) => BackendError::Unknown(text),
            _ => BackendError::Unknown("no answer within the deadline"),
        })
    }

    async fn exchange(&self, request: Option<Request<Full<Bytes>>>) -> Result<Answer, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        toll::sent();
        let Some(request) = request else { return Err(Failure::unsent(NO_CONNECTION)) };
        let response = self.client.request(request).await.map_err(|error| Failure::of(&error))?;
        let (head, body) = response.into_parts();
        if head.status.is_redirection() {
            // whoever sends elsewhere has not done it
            return Err(Failure::unsent(BackendError::Unusable("a redirect")));
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Failure::after("a compressed body"));
        }
        let body = whole(body).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

impl<T: Destination> UpstreamRequest<'_, T> {
    /// As it is sent; `None` if it cannot be.
    fn prepared(self) -> Option<Request<Full<Bytes>>> {
        let Self { method, url, mut headers, body } = self;
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("scaivault-proxy/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = url.uri()?;
        *request.headers_mut() = headers;
        Some(request)
    }
}

impl Destination for Uri {
    fn uri(&self) -> Option<Uri> {
        (self.scheme().is_some() && self.authority().is_some()).then(|| self.clone())
    }
}

impl Destination for Url {
    fn uri(&self) -> Option<Uri> {
        if matches!(self.scheme(), "http" | "https") { self.as_str().parse().ok() } else { None }
    }
}

/// An exchange without an answer, and whether the request may have got through.
struct Failure {
    reached: bool,
    error: BackendError,
}

impl Failure {
    /// The other side surely did nothing.
    const fn unsent(error: BackendError) -> Self {
        Self { reached: false, error }
    }

    /// An answer came, and it cannot be used.
    const fn after(what: &'static str) -> Self {
        Self { reached: true, error: BackendError::Unusable(what) }
    }

    /// Only without a connection is it certain that nothing got through.
    fn of(error: &legacy::Error) -> Self {
        let reached = !error.is_connect();
        let error = if is_timeout(error) {
            BackendError::Timeout
        } else if causes(error).any(|cause| cause.is::<OutOfReach>()) {
            OUT_OF_REACH
        } else if let Some(refusal) = causes(error).find_map(|cause| cause.downcast_ref::<NoTunnel>()) {
            match refusal {
                NoTunnel::Credential => NO_PASS,
                NoTunnel::Refused => NO_WAY,
            }
        } else if reached {
            BackendError::Unavailable("the connection broke")
        } else {
            NO_CONNECTION
        };
        Self { reached, error }
    }

    /// The answer began and did not end.
    fn cut(error: &hyper::Error) -> Self {
        let error =
            if is_timeout(error) { BackendError::Timeout } else { BackendError::Unavailable("the answer broke off") };
        Self { reached: true, error }
    }
}

/// Whether a deadline, ours or the system's, is at the bottom of it.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut systems = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    systems.any(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// An error and everything behind it.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Most answers are one chunk and are not copied; of the rest, those that say their length are copied once.
async fn whole(mut body: Incoming) -> Result<Bytes, Failure> {
    const TOO_LARGE: &str = "a body larger than 4 MiB";
    let told = body.size_hint().exact().unwrap_or(0);
    if told > MAX_ANSWER as u64 {
        return Err(Failure::after(TOO_LARGE));
    }
    let Some(first) = chunk(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = chunk(&mut body).await? else { return Ok(first) };
    let told = usize::try_from(told).unwrap_or(0);
    let mut all = BytesMut::with_capacity(told.max(first.len() + second.len()));
    all.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(part) = next {
        if all.len() + part.len() > MAX_ANSWER {
            return Err(Failure::after(TOO_LARGE));
        }
        all.extend_from_slice(&part);
        next = chunk(&mut body).await?;
    }
    Ok(all.freeze())
}

/// The next bytes of a body. Trailers are nothing to us.
async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::cut(&error))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

impl Answer {
    /// `Retry-After` in seconds, clamped to five minutes; dates and garbage count as absent.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse::<u64>().ok().map(|seconds| seconds.min(MAX_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests;
