//! What callers and threads share: the lanes, the clock and the flood control.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::AuditError;
use super::draft::Draft;
use super::flood::Flood;
use super::lane::Lane;
use super::outbox::summary_fields;
use super::ticket::{Ticket, Wait};
use super::watch::Watch;
use super::writer::Writer;
use crate::clock::Clock;

pub(super) struct Trail {
    lanes: Vec<Arc<Lane>>,
    required: usize,
    clock: Arc<dyn Clock>,
    budget: Duration,
    flood: Flood,
    watch: Watch,
    born: Instant,
    /// When a caller last came, in nanoseconds since `born`.
    last: AtomicU64,
}

/// Callers that come this close to one another wait for each other, and one writes for all.
const TOGETHER: u64 = 100_000;

/// A caller that waits. If it goes away before its lines are written, the threads write them.
struct Waiting<'a> {
    trail: &'a Trail,
    ticket: &'a Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.ticket.has_ended() {
            self.trail.lanes.iter().for_each(|lane| lane.call());
        }
    }
}

impl Trail {
    pub(super) fn new(lanes: Vec<Arc<Lane>>, clock: Arc<dyn Clock>, budget: Duration, refusals: u32) -> Self {
        let required = lanes.iter().filter(|lane| lane.is_required()).count();
        Self {
            lanes,
            required,
            clock,
            budget,
            flood: Flood::new(refusals),
            watch: Watch::new(),
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    pub(super) fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    pub(super) const fn budget(&self) -> Duration {
        self.budget
    }

    pub(super) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Queues lines for every sink. They are written whether or not the result is awaited.
    ///
    /// # Errors
    /// When a required sink has no room; what the other sinks got is then written as withheld.
    pub(super) fn submit(&self, write: impl FnOnce(&mut Draft, Instant)) -> Result<Wait, AuditError> {
        let now = Instant::now();
        Draft::with(self.clock.now(), |draft| {
            write(draft, now);
            let ticket = Ticket::new(now, self.required.saturating_mul(draft.cuts.len()));
            if !self.push(draft, Some(&ticket)) {
                ticket.give_up();
                return Err(AuditError::Unavailable);
            }
            self.watch.nudge();
            Ok(Wait(ticket))
        })
    }

    /// Waits until every required sink took the lines, and writes them where callers do that themselves.
    ///
    /// # Errors
    /// When they were not taken in time.
    pub(super) async fn settle(&self, wait: Wait) -> Result<(), AuditError> {
        let ticket = Arc::clone(&wait.0);
        let _waiting = Waiting { trail: self, ticket: &ticket };
        if self.lanes.iter().any(|lane| lane.is_led()) {
            let now = ticket.issued().saturating_duration_since(self.born).as_nanos();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            if now.saturating_sub(self.last.swap(now, Ordering::Relaxed)) < TOGETHER {
                // whoever else is ready on this thread queues its lines first: one system call for all of them
                tokio::task::yield_now().await;
            }
            if !ticket.has_ended() {
                self.lanes.iter().for_each(Writer::lead);
            }
        }
        wait.await
    }

    /// Queues lines nobody waits for. What finds no room is counted.
    pub(super) fn post(&self, write: impl FnOnce(&mut Draft, Instant)) {
        Draft::with(self.clock.now(), |draft| {
            write(draft, Instant::now());
            self.push(draft, None);
        });
    }

    /// False if a required sink has no room.
    fn push(&self, draft: &Draft, ticket: Option<&Arc<Ticket>>) -> bool {
        let mut has_room = true;
        for lane in &self.lanes {
            has_room &= lane.push(draft, ticket) || !lane.is_required();
        }
        has_room
    }

    /// Whether a refusal of a caller without a principal is written in full.
    pub(super) fn admits_refusal(&self) -> bool {
        let is_written = self.flood.admit(self.clock.now().secs(), |count| self.summarise(count));
        if !is_written {
            self.watch.nudge();
        }
        is_written
    }

    /// One look at the time; true if there will be something to look for again.
    pub(super) fn tick(&self, now: Instant, patience: Duration) -> bool {
        let mut waiting = self.flood.tell_overdue(self.clock.now().secs(), |count| self.summarise(count));
        for lane in &self.lanes {
            waiting |= lane.expire(now, patience);
        }
        waiting
    }

    /// Ends everything: returns when the writers have ended, or after the budget.
    pub(super) fn close(&self) {
        let deadline = Instant::now() + self.budget;
        self.flood.tell_all(|count| self.summarise(count));
        for lane in &self.lanes {
            lane.close(deadline);
        }
        for lane in &self.lanes {
            lane.wait_closed(deadline);
        }
        self.watch.stop();
    }

    /// One line for so many refusals that were not written.
    fn summarise(&self, refusals: u64) {
        self.post(|draft, _| {
            draft.line(|fields| {
                summary_fields(fields, "refusals", refusals);
                None
            });
        });
    }
}
