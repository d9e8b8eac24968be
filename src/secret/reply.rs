//! What executing a call yields.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Described, Entry, SecretRecord, VersionInfo};

/// A success, neutral or already in the wire's own bytes.
#[derive(Debug)]
pub enum Reply {
    /// In the neutral language; any wire can render it.
    Neutral(Outcome),
    /// The backend's own bytes. INVARIANT: made only when the wire and the backend are of one family.
    Native(NativeReply),
}

/// What a call found or did.
#[derive(Debug)]
pub enum Outcome {
    /// One version. Its value is absent when it is deleted, destroyed or disabled.
    Record(Box<SecretRecord>),
    /// Metadata and versions.
    Described(Box<Described>),
    /// Names directly in a folder, sorted; folders end in `/`.
    Names(Vec<String>),
    /// A page of a catalogue.
    Catalogue(Vec<Entry>),
    /// A new version was written.
    Written(VersionInfo, super::Metadata),
    /// Done, with nothing to say.
    Done,
    /// There is nothing there.
    NotFound,
}

/// Where identifiers stand in a native body, to be replaced by the client's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What the client knows the identifier as, already encoded for its place.
    pub replacement: Box<str>,
}

/// A backend's own answer.
#[derive(Debug)]
pub struct NativeReply {
    /// 2xx, or 404.
    pub status: StatusCode,
    /// The headers a client may see; nothing hop-by-hop, no length, no date.
    pub headers: HeaderMap,
    /// The body as received.
    pub body: Bytes,
    /// Identifiers to replace, ascending and apart.
    pub spans: Vec<Span>,
    /// The version disclosed, if the backend said so.
    pub version: Option<u64>,
    /// The backend's request id, for the audit line.
    pub request_id: Option<Box<str>>,
}
