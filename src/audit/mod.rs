//! The trail: who was given what, written before it is given.
//!
//! Promises: no [`Disclosure`] exists before every required sink took its line, no write begins before its intent was
//! taken, and each admitted call has exactly one end in the trail. Lines form a keyed chain per sink, in which edits,
//! drops and reorders show. A sink that does not take lines makes calls fail within the budget; it never makes them hang
//! and never makes them silent.
//!
//! The room knows names, numbers and outcomes. It must not know values, credentials, or names that did not parse.

mod chain;
mod draft;
mod error;
mod event;
mod flood;
mod id;
mod lane;
mod lines;
mod note;
mod outbox;
mod query;
mod receipt;
mod settings;
mod sinks;
#[cfg(test)]
mod tests;
mod ticket;
mod trail;
mod verify;
mod walk;
mod watch;
mod writer;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::secret::Reply;

use chain::Chain;
use lane::Lane;
use receipt::Ending;
use sinks::AuditSink;
use trail::Trail;
use writer::Writer;

pub use error::AuditError;
pub use id::{IdText, RequestId};
pub use note::{Note, Refusal};
pub use query::{Filter, Line, Searched, query};
pub use receipt::{Disclosure, Facts, Grant, Grants, Receipt, Subject};
pub use settings::{AuditKey, AuditSettings, Durability, SinkKind, SinkSettings};
pub use verify::{ChainSummary, Expected, Finding, FindingKind, Report, verify};

/// Enough for a writer, which recurses nowhere.
const STACK_BYTES: usize = 256 << 10;

/// The one way to admit, disclose and refuse. Shared by `Arc`; dropping the last one stops the trail.
pub struct Auditor {
    trail: Arc<Trail>,
}

/// A sink on its way to its thread.
struct Opened {
    name: String,
    key: String,
    required: bool,
    sink: Box<dyn AuditSink>,
}

impl Auditor {
    /// Opens every sink and starts one thread for each, and one that watches the time.
    ///
    /// # Errors
    /// When a sink is of a kind that is not available, its place must not be written to, or it cannot be opened. A
    /// collector or reader that is not there yet is no error: the trail starts unhealthy.
    pub fn start(settings: AuditSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, AuditError> {
        let is_fsync = settings.durability == Durability::Fsync;
        let mut opened = Vec::with_capacity(settings.sinks.len());
        for (index, sink) in settings.sinks.iter().enumerate() {
            opened.push(Opened {
                name: sinks::describe(&sink.kind),
                key: format!("audit.sinks[{index}]"),
                required: sink.required,
                sink: sinks::build(&sink.kind, index, is_fsync)?,
            });
        }
        Self::assemble(&settings, opened, clock)
    }

    fn assemble(settings: &AuditSettings, opened: Vec<Opened>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, AuditError> {
        if opened.is_empty() {
            return Err(AuditError::NoSink);
        }
        let lane = |one: &Opened| Arc::new(Lane::new(&one.name, one.required, one.sink.is_ready()));
        let lanes: Vec<Arc<Lane>> = opened.iter().map(lane).collect();
        let refusals = settings.unauthenticated_per_second;
        let trail = Trail::new(lanes.clone(), Arc::clone(&clock), settings.budget, refusals);
        // From here on, an early return stops what was started.
        let auditor = Arc::new(Self { trail: Arc::new(trail) });
        for (one, lane) in opened.into_iter().zip(lanes) {
            let chain = Chain::new(settings.key.chain_key(), &settings.instance);
            let is_fsync = settings.durability == Durability::Fsync;
            let writer = Writer::new(Arc::clone(&lane), one.sink, chain, Arc::clone(&clock), is_fsync);
            *lane.desk() = Some(writer);
            spawn("audit-writer", move || Writer::run(&lane)).map_err(|source| AuditError::Open {
                key: one.key,
                target: one.name,
                source,
            })?;
        }
        let trail = Arc::clone(&auditor.trail);
        spawn("audit-watch", move || watch::run(&trail)).map_err(|source| AuditError::Open {
            key: "audit".to_owned(),
            target: "the watching thread".to_owned(),
            source,
        })?;
        Ok(auditor)
    }

    /// Called once per call, after policy permitted every route and before anything is read or written. A write's
    /// intent line is taken by every required sink before this returns; a read writes nothing yet.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: the call must not go on.
    pub async fn admit(&self, subject: Subject, grants: Grants) -> Result<Receipt, AuditError> {
        let is_write = subject.operation.is_write();
        let mut receipt = Receipt::new(Arc::clone(&self.trail), subject, grants);
        if is_write {
            let intended = receipt.intend()?;
            self.trail.settle(intended).await?;
            receipt.intend_done();
        }
        Ok(receipt)
    }

    /// [`Self::admit`] for reads, which need no line yet and no wait; `None` for a write.
    #[must_use]
    pub fn admit_read(&self, subject: Subject, grants: Grants) -> Option<Receipt> {
        let is_read = !subject.operation.is_write();
        is_read.then(|| Receipt::new(Arc::clone(&self.trail), subject, grants))
    }

    /// Called once with a reply, before any of it leaves. The reply comes back when every required sink took the line,
    /// and is dropped otherwise.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: nothing is disclosed.
    pub async fn disclose(&self, mut receipt: Receipt, facts: &Facts, reply: Reply) -> Result<Disclosure, AuditError> {
        let taken = receipt.end(&Ending::success(&reply, facts))?;
        drop(receipt);
        self.trail.settle(taken).await?;
        Ok(Disclosure::new(reply))
    }

    /// Called instead of [`Self::disclose`] when an admitted call ended in an error.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: the client is told that instead.
    pub async fn fail(&self, mut receipt: Receipt, facts: &Facts, kind: ErrorKind) -> Result<(), AuditError> {
        let taken = receipt.end(&Ending::failure(kind, facts))?;
        self.trail.settle(taken).await
    }

    /// Called instead of [`Self::admit`] for a call that is malformed, unauthenticated, unmapped or denied. Above so
    /// many a second, those without a principal are only counted.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: the client is told that instead.
    pub async fn refuse(&self, subject: Subject, refusal: Refusal) -> Result<(), AuditError> {
        if subject.principal.is_none() && !self.trail.admits_refusal() {
            return Ok(());
        }
        let taken = self.trail.submit(|draft, now| refusal.write(&subject, draft, now))?;
        self.trail.settle(taken).await
    }

    /// Called once for a call that is not about secrets, before its answer leaves. Failures without a principal are
    /// subject to the limit of [`Self::refuse`].
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]: what the call made (a token) must not leave.
    pub async fn record(&self, subject: Subject, note: Note) -> Result<(), AuditError> {
        if subject.principal.is_none() && note.outcome.is_err() && !self.trail.admits_refusal() {
            return Ok(());
        }
        let taken = self.trail.submit(|draft, now| note.write(&subject, draft, now))?;
        self.trail.settle(taken).await
    }

    /// Called at SIGHUP: files that were renamed are opened anew under their path before the next line.
    pub fn reopen(&self) {
        for lane in self.trail.lanes() {
            lane.reopen();
        }
    }

    /// Called at the end of the process: writes what is queued and the stop lines. Blocks for the budget at most;
    /// afterwards every call ends in [`AuditError::Unavailable`].
    pub fn stop(&self) {
        self.trail.close();
    }

    /// Whether every required sink takes lines, as far as is known. False from the moment one fails or makes a call
    /// wait too long until it takes a line again.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.trail.lanes().iter().all(|lane| lane.is_healthy() || !lane.is_required())
    }

    /// How many lines about calls all sinks took since the start.
    #[must_use]
    pub fn lines_written(&self) -> u64 {
        self.trail.lanes().iter().map(|lane| lane.written()).sum()
    }

    /// How many lines found no room in a sink's queue since the start.
    #[must_use]
    pub fn lines_dropped(&self) -> u64 {
        self.trail.lanes().iter().map(|lane| lane.dropped()).sum()
    }

    /// How many lines wait in the fullest queue.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.trail.lanes().iter().map(|lane| lane.depth()).max().unwrap_or(0)
    }

    /// The number of the last line of each sink, in configured order: what `audit verify --expect-seq` is given.
    #[must_use]
    pub fn last_seqs(&self) -> Vec<u64> {
        self.trail.lanes().iter().map(|lane| lane.seq()).collect()
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").field("is_healthy", &self.is_healthy()).finish_non_exhaustive()
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body).map(drop)
}
