//! The proof values of the line: what was asked, what was granted, that it was recorded.
//!
//! INVARIANT: a [`Receipt`] exists only for calls that were admitted, a [`Disclosure`] only for replies whose line is
//! durable; neither can be made outside this room. A receipt that is dropped without an end writes that end itself.

use std::fmt;
use std::net::IpAddr;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use super::AuditError;
use super::draft::Draft;
use super::event::{Event, Kind};
use super::id::RequestId;
use super::ticket::Wait;
use super::trail::Trail;
use crate::error::ErrorKind;
use crate::identity::Principal;
use crate::mapping::Route;
use crate::policy::Permit;
use crate::secret::{Folder, NativeReply, Operation, Outcome, Reply, Tenant, WireKind};

/// Everything known about a request when the decision was made.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The identifier the client is told.
    pub request_id: RequestId,
    /// Whose call it is.
    pub tenant: Tenant,
    /// Through which wire it came.
    pub wire: WireKind,
    /// What it does.
    pub operation: Operation,
    /// From where; `None` on a Unix socket and for the proxy's own work.
    pub source: Option<IpAddr>,
    /// For whom; `None` if the caller is not known (yet).
    pub principal: Option<Arc<Principal>>,
    /// The keyed hash of the credential, made by identity; never the credential.
    pub credential: Option<[u8; 16]>,
    /// The configuration it was decided under.
    pub config_generation: u64,
    /// When the call arrived, for its latency.
    pub started: Instant,
}

/// One route that policy permits.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Policy's answer.
    pub permit: Permit,
    /// Where the secret path leads.
    pub route: Route,
}

/// What a call was granted: its routes, or the folder it may list. One route costs no allocation.
#[derive(Debug)]
pub struct Grants(Held);

#[derive(Debug)]
enum Held {
    One(Grant),
    Many(Vec<Grant>),
    Folder { permit: Permit, folder: Folder },
}

impl Grants {
    /// One route.
    #[must_use]
    pub const fn one(grant: Grant) -> Self {
        Self(Held::One(grant))
    }

    /// Several routes, in order. With none of them the call is recorded as about no path.
    #[must_use]
    pub const fn many(grants: Vec<Grant>) -> Self {
        Self(Held::Many(grants))
    }

    /// A folder to list, the root included. It is no route; each source of the list is a matter of the pipeline.
    #[must_use]
    pub const fn folder(permit: Permit, folder: Folder) -> Self {
        Self(Held::Folder { permit, folder })
    }

    /// The first route; `None` for a folder.
    #[must_use]
    pub fn first(&self) -> Option<&Grant> {
        self.routes().first()
    }

    /// Every route, in order; none for a folder.
    pub fn iter(&self) -> slice::Iter<'_, Grant> {
        self.routes().iter()
    }

    /// The folder that may be listed, with policy's answer.
    #[must_use]
    pub const fn as_folder(&self) -> Option<(&Permit, &Folder)> {
        match &self.0 {
            Held::Folder { permit, folder } => Some((permit, folder)),
            Held::One(_) | Held::Many(_) => None,
        }
    }

    fn routes(&self) -> &[Grant] {
        match &self.0 {
            Held::One(grant) => slice::from_ref(grant),
            Held::Many(grants) => grants,
            Held::Folder { .. } => &[],
        }
    }

    /// The grants the lines of this kind are about: each route, but a list is one line, and nothing is one line too.
    fn lines(&self, kind: Kind) -> &[Grant] {
        let routes = self.routes();
        if kind == Kind::List { routes.get(..1).unwrap_or_default() } else { routes }
    }
}

impl<'a> IntoIterator for &'a Grants {
    type Item = &'a Grant;
    type IntoIter = slice::Iter<'a, Grant>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What became known while the call was served. What is absent is taken from the reply or the first route, where they
/// say it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The version that was read or written.
    pub version: Option<u64>,
    /// The name of the backend that answered.
    pub backend: Option<Box<str>>,
    /// The name the backend knows the secret by.
    pub remote: Option<Box<str>>,
    /// The backend's identifier of its own request.
    pub upstream_request_id: Option<Box<str>>,
    /// `hit`, `stale`, `miss` or `live`.
    pub cache: Option<&'static str>,
    /// How old the copy is, in seconds.
    pub age_seconds: Option<u64>,
    /// How many names a list has.
    pub outcome_count: Option<usize>,
}

/// An admitted call: owns its permits and routes, and owes the trail exactly one end.
pub struct Receipt {
    trail: Arc<Trail>,
    subject: Subject,
    grants: Grants,
    /// What the end is if the receipt is dropped; `None` once the end was queued.
    unfinished: Option<ErrorKind>,
}

impl Receipt {
    pub(super) const fn new(trail: Arc<Trail>, subject: Subject, grants: Grants) -> Self {
        Self { trail, subject, grants, unfinished: Some(ErrorKind::Internal) }
    }

    /// What was granted.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Who asked for what.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Queues the intent of a write. Until [`Self::intend_done`] the call counts as one that was never begun.
    pub(super) fn intend(&mut self) -> Result<Wait, AuditError> {
        self.unfinished = Some(ErrorKind::Sealed);
        let (subject, grants) = (&self.subject, &self.grants);
        self.trail.submit(|draft, now| write_lines(draft, now, subject, grants, Kind::Intent, &Ending::NONE))
    }

    /// The intent is durable.
    pub(super) const fn intend_done(&mut self) {
        self.unfinished = Some(ErrorKind::Internal);
    }

    /// Queues the end. No second one is written, whether or not this one is awaited.
    pub(super) fn end(&mut self, ending: &Ending<'_>) -> Result<Wait, AuditError> {
        self.unfinished = None;
        let (subject, grants) = (&self.subject, &self.grants);
        let kind = Kind::last(subject.operation);
        self.trail.submit(|draft, now| write_lines(draft, now, subject, grants, kind, ending))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(error) = self.unfinished.take() {
            let (subject, grants) = (&self.subject, &self.grants);
            let kind = Kind::last(subject.operation);
            let ending = Ending { outcome: Some(Err(error)), ..Ending::NONE };
            self.trail.post(|draft, now| write_lines(draft, now, subject, grants, kind, &ending));
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// How a call ended: what the facts and the reply say together.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    outcome: Option<Result<(), ErrorKind>>,
    version: Option<u64>,
    count: Option<u64>,
    backend: Option<&'a str>,
    remote: Option<&'a str>,
    upstream_request_id: Option<&'a str>,
    cache: Option<&'static str>,
    age: Option<u64>,
}

impl<'a> Ending<'a> {
    const NONE: Self = Self {
        outcome: None,
        version: None,
        count: None,
        backend: None,
        remote: None,
        upstream_request_id: None,
        cache: None,
        age: None,
    };

    pub(super) fn failure(kind: ErrorKind, facts: &'a Facts) -> Self {
        Self {
            outcome: Some(Err(kind)),
            version: facts.version,
            count: facts.outcome_count.map(to_u64),
            backend: facts.backend.as_deref(),
            remote: facts.remote.as_deref(),
            upstream_request_id: facts.upstream_request_id.as_deref(),
            cache: facts.cache,
            age: facts.age_seconds,
        }
    }

    /// A reply that says there is nothing (left) to read ends as `not_found`.
    pub(super) fn success(reply: &'a Reply, facts: &'a Facts) -> Self {
        let mut ending = Self { outcome: Some(Ok(())), ..Self::failure(ErrorKind::NotFound, facts) };
        let version = match reply {
            Reply::Native(native) => ending.add_native(native),
            Reply::Neutral(Outcome::Record(record)) => {
                if record.value.is_none() {
                    ending.outcome = Some(Err(ErrorKind::NotFound));
                }
                Some(record.info.version)
            }
            Reply::Neutral(Outcome::Written(info, _)) => Some(info.version),
            Reply::Neutral(Outcome::Names(names)) => {
                ending.count = ending.count.or(Some(to_u64(names.len())));
                None
            }
            Reply::Neutral(Outcome::Catalogue(entries)) => {
                ending.count = ending.count.or(Some(to_u64(entries.len())));
                None
            }
            Reply::Neutral(Outcome::NotFound) => {
                ending.outcome = Some(Err(ErrorKind::NotFound));
                None
            }
            Reply::Neutral(Outcome::Described(_) | Outcome::Done) => None,
        };
        ending.version = ending.version.or(version);
        ending
    }

    fn add_native(&mut self, native: &'a NativeReply) -> Option<u64> {
        if native.status == http::StatusCode::NOT_FOUND {
            self.outcome = Some(Err(ErrorKind::NotFound));
        }
        self.upstream_request_id = self.upstream_request_id.or(native.request_id.as_deref());
        native.version
    }

    fn apply(&self, kind: Kind, event: Event<'a>) -> Event<'a> {
        Event {
            kind,
            outcome: self.outcome,
            version: self.version,
            count: self.count,
            backend: self.backend,
            remote: self.remote.or(event.remote),
            upstream_request_id: self.upstream_request_id,
            cache: self.cache,
            age: self.age,
            ..event
        }
    }
}

fn write_lines(draft: &mut Draft, now: Instant, subject: &Subject, grants: &Grants, kind: Kind, ending: &Ending<'_>) {
    let latency = now.saturating_duration_since(subject.started);
    let mut line = |event: Event<'_>| draft.line(|fields| ending.apply(kind, event).write(subject, latency, fields));
    let lines = grants.lines(kind);
    for grant in lines {
        line(Event::about(grant));
    }
    if lines.is_empty() {
        line(grants.as_folder().map_or_else(Event::default, |(permit, folder)| Event {
            folder: Some(folder.as_str()),
            policies: Some(permit.policies()),
            ..Event::default()
        }));
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A reply whose line is durable. The only thing a wire may encode a success from.
pub struct Disclosure(Reply);

impl Disclosure {
    pub(super) const fn new(reply: Reply) -> Self {
        Self(reply)
    }

    /// The reply, to be encoded.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        self.0
    }

    /// The reply, to be looked at.
    #[must_use]
    pub const fn reply(&self) -> &Reply {
        &self.0
    }
}

impl fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disclosure")
    }
}
