//! Line bodies that wait, with who waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::draft::{Cut, Draft};
use super::ticket::Ticket;
use crate::clock::Timestamp;

/// Bounds of a queue. As many again can be under way.
pub(super) const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 4 << 20;
/// A buffer that grew beyond this in a burst is given back.
const KEPT_BYTES: usize = 256 << 10;

/// Line bodies in one buffer, oldest first.
#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where the first entry's body begins.
    start: usize,
    entries: VecDeque<Entry>,
}

pub(super) struct Entry {
    pub(super) time: Timestamp,
    pub(super) cut: Cut,
    ticket: Option<Arc<Ticket>>,
}

impl Entry {
    /// Whether the caller was told that nothing is disclosed, although the body says `ok`.
    pub(super) fn is_withheld(&self) -> bool {
        self.cut.ok_at.is_some() && self.ticket.as_ref().is_some_and(|ticket| ticket.is_given_up())
    }
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries with their bodies.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let mut rest: &[u8] = self.bytes.get(self.start..).unwrap_or_default();
        self.entries.iter().map(move |entry| {
            let (body, after) = rest.split_at_checked(entry.cut.len).unwrap_or_default();
            rest = after;
            (entry, body)
        })
    }

    pub(super) fn has_room(&self, draft: &Draft) -> bool {
        self.entries.len().saturating_add(draft.cuts.len()) <= MAX_LINES
            && self.bytes.len().saturating_add(draft.text.len()) <= MAX_BYTES
    }

    pub(super) fn push(&mut self, draft: &Draft, ticket: Option<&Arc<Ticket>>) {
        self.bytes.extend_from_slice(draft.text.as_bytes());
        let entry = |cut: &Cut| Entry { time: draft.time, cut: *cut, ticket: ticket.cloned() };
        self.entries.extend(draft.cuts.iter().map(entry));
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<Option<Arc<Ticket>>> {
        let count = count.min(self.entries.len());
        let taken: Vec<_> = self
            .entries
            .drain(..count)
            .map(|entry| {
                self.start += entry.cut.len;
                entry.ticket
            })
            .collect();
        if self.entries.is_empty() {
            self.clear();
        }
        taken
    }

    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
    }

    /// Gives up every ticket that is `patience` old and marks ill health first; true if others still wait.
    pub(super) fn expire(&self, now: Instant, patience: Duration, healthy: &AtomicBool) -> bool {
        for ticket in self.entries.iter().filter_map(|entry| entry.ticket.as_ref()) {
            if ticket.age(now) < patience {
                // Later lines have younger tickets.
                return true;
            }
            healthy.store(false, Ordering::Release);
            ticket.give_up();
        }
        false
    }
}
