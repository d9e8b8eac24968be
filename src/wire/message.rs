//! What a frontend sees of a request and gives back as a response, and what it knows of its listener.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::mpsc;

use super::Cursors;

/// A whole request. The target's raw bytes are kept; decoding them is the frontend's business, once.
#[derive(Clone, Copy)]
pub struct WireRequest<'a> {
    /// The method, case-sensitive.
    pub method: &'a Method,
    /// The path as sent, beginning with `/`, not decoded.
    pub path: &'a str,
    /// The query as sent, without the question mark.
    pub query: Option<&'a str>,
    /// The one host the request names, as sent.
    pub host: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// A response.
#[derive(Debug)]
pub struct WireResponse {
    /// Status.
    pub status: StatusCode,
    /// Headers; the listener adds length and connection.
    pub headers: HeaderMap,
    /// Body.
    pub body: WireBody,
    /// Trailers, for the wires that have them. Not after [`WireBody::Events`].
    pub trailers: Option<HeaderMap>,
}

/// What a response's body is. `Debug` shows how long it is and none of it.
pub enum WireBody {
    /// All of it.
    Whole(Bytes),
    /// Server-sent events, each chunk sent as it comes, until the sender is gone. The listener adds comments that keep
    /// the connection awake, and ends the body sooner when the client leaves or the process drains.
    Events(mpsc::Receiver<Bytes>),
}

impl WireBody {
    /// All of it; `None` if it is made as it is sent.
    #[must_use]
    pub const fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Events(_) => None,
        }
    }
}

impl From<Bytes> for WireBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl fmt::Debug for WireBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Events(_) => f.write_str("Events(..)"),
        }
    }
}

impl WireResponse {
    /// A response with a content type, not to be stored by anybody.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        // the type of almost every answer is checked when compiling
        let content_type =
            if content_type == "application/json" { JSON } else { HeaderValue::from_static(content_type) };
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(header::CONTENT_TYPE, content_type);
        Self { status, headers, body: WireBody::Whole(body), trailers: None }
    }

    /// A response that goes on: what `chunks` brings, as `text/event-stream`.
    #[must_use]
    pub fn events(chunks: mpsc::Receiver<Bytes>) -> Self {
        let empty = Self::new(StatusCode::OK, "text/event-stream", Bytes::new());
        Self { body: WireBody::Events(chunks), ..empty }
    }
}

/// What kind of engine a mount of the vault wire stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Key-value, version 1.
    Kv1,
    /// Key-value, version 2.
    Kv2,
    /// Any other engine: passthrough only.
    Logical,
}

/// A declared mount of the vault wire.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Segments without slashes at the ends.
    pub path: String,
    /// Which engine.
    pub kind: MountKind,
}

/// What a passthrough entry allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOperation {
    /// GET.
    Read,
    /// LIST.
    List,
    /// Everything else.
    Write,
}

/// What a frontend knows of its listener.
#[derive(Clone, Debug)]
pub struct ListenerFacts {
    /// Declared mounts, longest path first.
    pub mounts: Vec<Mount>,
    /// Wire-name templates that may be passed through.
    pub passthrough: Vec<Passthrough>,
    /// Whether requests must carry `X-Vault-Request: true`.
    pub require_request_header: bool,
    /// Whether everything that arrives is one workload.
    pub workload: bool,
    /// How many versions the local store keeps.
    pub max_versions: u64,
    /// Largest value of a write, in bytes.
    pub value_bytes: usize,
    /// Host names this listener answers for; empty: not checked by wires that do not need it.
    pub hosts: Vec<String>,
    /// Makes and checks list cursors.
    pub cursors: Cursors,
    /// The account and region that names of the aws wire lie in.
    pub aws: Option<AwsFacts>,
}

impl ListenerFacts {
    /// Whether the host a request names is one of this listener's; every host is where none are listed.
    #[must_use]
    pub fn answers_for(&self, host: &str) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let name = inner.filter(|inner| inner.contains(':')).unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// What the aws wire's names lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsFacts {
    /// Twelve digits.
    pub account: String,
    /// A region's name.
    pub region: String,
}

/// One passthrough entry.
#[derive(Clone, Debug)]
pub struct Passthrough {
    /// Template segments; `*` is one segment, `**` any number.
    pub path: Vec<String>,
    /// What is allowed.
    pub operations: Vec<PassOperation>,
}

impl Passthrough {
    /// Whether the entry covers an operation on a name.
    #[must_use]
    pub fn allows(&self, name: &[&str], operation: PassOperation) -> bool {
        self.operations.contains(&operation) && matches(&self.path, name)
    }
}

fn matches(template: &[String], name: &[&str]) -> bool {
    match template.split_first() {
        None => name.is_empty(),
        Some((first, rest)) if first == "**" => {
            (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|n| matches(rest, n)))
        }
        Some((first, rest)) => {
            name.split_first().is_some_and(|(head, tail)| (first == "*" || first == head) && matches(rest, tail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_body() {
        let response = WireResponse::new(StatusCode::OK, "text/plain", Bytes::from_static(b"canary"));
        let shown = format!("{response:?}");
        assert!(shown.contains("6 bytes") && !shown.contains("canary"), "{shown}");
        assert_eq!(response.body.whole().map(|body| body.len()), Some(6));
        let (_sender, chunks) = mpsc::channel(1);
        let response = WireResponse::events(chunks);
        assert_eq!(response.headers.get(header::CONTENT_TYPE).unwrap(), "text/event-stream");
        assert!(response.body.whole().is_none());
    }
}
