//! How a call waits for its lines: one small shared slot for all its lines and all required sinks.
//!
//! A ticket ends once, as taken or as given up. A caller that goes away changes nothing: its lines are still written.
//! Waiting uses no timer of the runtime; the watch gives up overdue tickets by the machine's clock.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::AuditError;
use super::lane::lock;

pub(super) struct Ticket {
    issued: Instant,
    given_up: AtomicBool,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Lines times required sinks still to come.
    missing: usize,
    end: Option<Result<(), ()>>,
    waker: Option<Waker>,
}

impl Ticket {
    pub(super) fn new(issued: Instant, missing: usize) -> Arc<Self> {
        let end = (missing == 0).then_some(Ok(()));
        let progress = Mutex::new(Progress { missing, end, waker: None });
        Arc::new(Self { issued, given_up: AtomicBool::new(false), progress })
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.issued)
    }

    /// Whether the caller was told that its line was not taken.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// One required sink took one line.
    pub(super) fn taken(&self) {
        let mut progress = lock(&self.progress);
        progress.missing = progress.missing.saturating_sub(1);
        if progress.missing > 0 || progress.end.is_some() {
            return;
        }
        progress.end = Some(Ok(()));
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the wait without success. False if it had ended before.
    pub(super) fn give_up(&self) -> bool {
        let mut progress = lock(&self.progress);
        if progress.end.is_some() {
            return false;
        }
        progress.end = Some(Err(()));
        self.given_up.store(true, Ordering::Release);
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Ready when every required sink took every line of the ticket, or when the ticket was given up.
#[must_use]
pub(super) struct Wait(pub(super) Arc<Ticket>);

impl Future for Wait {
    type Output = Result<(), AuditError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut progress = lock(&self.0.progress);
        if let Some(end) = progress.end {
            return Poll::Ready(end.map_err(|()| AuditError::Unavailable));
        }
        match &mut progress.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(wait: &mut Wait) -> Poll<bool> {
        Pin::new(wait).poll(&mut Context::from_waker(Waker::noop())).map(|end| end.is_ok())
    }

    #[test]
    fn a_ticket_needs_every_line_and_ends_once() {
        let ticket = Ticket::new(Instant::now(), 2);
        let mut wait = Wait(Arc::clone(&ticket));
        assert_eq!(poll(&mut wait), Poll::Pending);
        ticket.taken();
        assert_eq!(poll(&mut wait), Poll::Pending);
        ticket.taken();
        assert_eq!(poll(&mut wait), Poll::Ready(true));
        assert!(!ticket.give_up());
        assert!(!ticket.is_given_up());
    }

    #[test]
    fn a_ticket_given_up_stays_so() {
        let ticket = Ticket::new(Instant::now(), 1);
        assert!(ticket.give_up());
        ticket.taken();
        assert_eq!(poll(&mut Wait(Arc::clone(&ticket))), Poll::Ready(false));
        assert_eq!(poll(&mut Wait(Ticket::new(Instant::now(), 0))), Poll::Ready(true));
    }
}
