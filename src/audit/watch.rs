//! The one thread that looks at the time: it gives up calls that waited for their budget and writes overdue summaries.
//!
//! It sleeps without any timer while nothing waits, and a call only pays a load of a flag for it. It uses the machine's
//! monotonic time, so a paused runtime clock makes no call fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lane::lock;
use super::trail::Trail;

/// Quiet ticks before the thread sleeps for good.
const QUIET_TICKS: u32 = 8;
const LONGEST_TICK: Duration = Duration::from_millis(125);
const SHORTEST_TICK: Duration = Duration::from_millis(1);

pub(super) struct Watch {
    asleep: AtomicBool,
    stopped: Mutex<bool>,
    bell: Condvar,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { asleep: AtomicBool::new(false), stopped: Mutex::new(false), bell: Condvar::new() }
    }

    /// Called after something was queued that somebody waits for.
    pub(super) fn nudge(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            drop(lock(&self.stopped));
            self.bell.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.bell.notify_one();
    }

    /// Waits one tick; true if the watch is stopped.
    fn tick(&self, length: Duration) -> bool {
        let stopped = lock(&self.stopped);
        if *stopped {
            return true;
        }
        *self.bell.wait_timeout(stopped, length).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until nudged or stopped.
    fn sleep(&self) {
        let mut stopped = lock(&self.stopped);
        while !*stopped && self.asleep.load(Ordering::SeqCst) {
            stopped = self.bell.wait(stopped).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The thread's body.
pub(super) fn run(trail: &Trail) {
    let watch = trail.watch();
    let tick = (trail.budget() / 16).clamp(SHORTEST_TICK, LONGEST_TICK);
    // A call is given up in the tick before its budget ends, never after.
    let patience = trail.budget().saturating_sub(tick);
    let mut quiet = 0;
    while !watch.tick(tick) {
        if trail.tick(Instant::now(), patience) {
            quiet = 0;
            continue;
        }
        quiet += 1;
        if quiet >= QUIET_TICKS {
            quiet = 0;
            // INVARIANT: the flag is raised before the last look, so that what is queued after that look sees it.
            watch.asleep.store(true, Ordering::SeqCst);
            if trail.tick(Instant::now(), patience) {
                watch.asleep.store(false, Ordering::SeqCst);
            } else {
                watch.sleep();
            }
        }
    }
}
