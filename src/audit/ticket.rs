//! How a call waits for its lines: one small shared slot for all its lines and all required sinks.
//!
//! A ticket ends once, as taken or as given up. A caller that goes away changes nothing: its lines are still written.
//! Waiting uses no timer of the runtime; the watch gives up overdue tickets by the machine's clock.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::AuditError;
use super::lane::lock;

/// The runtime a caller waits on, one value a thread.
pub(super) struct Home(Handle);

thread_local! {
    static HOME: RefCell<Option<Arc<Home>>> = const { RefCell::new(None) };
}

impl Home {
    /// This thread's, if a runtime runs on it.
    fn here() -> Option<Arc<Self>> {
        HOME.try_with(|home| {
            let mut home = home.try_borrow_mut().ok()?;
            if home.is_none() {
                *home = Handle::try_current().ok().map(|handle| Arc::new(Self(handle)));
            }
            home.clone()
        })
        .ok()
        .flatten()
    }
}

/// Wakes callers. A wake from another thread costs a system call each; callers of one thread are woken together, by a
/// task of their own runtime.
#[derive(Default)]
pub(super) struct Alarm(Vec<(Arc<Home>, Vec<Waker>)>);

impl Alarm {
    pub(super) fn add(&mut self, ticket: &Ticket, waker: Waker) {
        let Some(home) = &ticket.home else { return waker.wake() };
        match self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, home)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.0.push((Arc::clone(home), vec![waker])),
        }
    }

    pub(super) fn ring(self) {
        for (home, wakers) in self.0 {
            if wakers.len() == 1 {
                wakers.into_iter().for_each(Waker::wake);
            } else {
                home.0.spawn(async move { wakers.into_iter().for_each(Waker::wake) });
            }
        }
    }
}

pub(super) struct Ticket {
    home: Option<Arc<Home>>,
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
        Arc::new(Self { home: Home::here(), issued, given_up: AtomicBool::new(false), progress })
    }

    pub(super) const fn issued(&self) -> Instant {
        self.issued
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.issued)
    }

    /// Whether there is nothing to wait for any more.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.progress).end.is_some()
    }

    /// Whether the caller was told that its line was not taken.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// One required sink took one line. Yields who is to be woken, if that was the last one.
    pub(super) fn taken(&self) -> Option<Waker> {
        let mut progress = lock(&self.progress);
        progress.missing = progress.missing.saturating_sub(1);
        if progress.missing > 0 || progress.end.is_some() {
            return None;
        }
        progress.end = Some(Ok(()));
        progress.waker.take()
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
