//! What stands between the callers and one writer: a bounded queue, and the lines the writer is busy with.
//!
//! Callers append bytes under a mutex that is held for a copy; the writer takes everything at once by a swap. Lines under
//! way stay visible here, so that the watch can give up their tickets while the writer hangs in the kernel.
//! The writer lies on a desk. Its thread works at it; where a write is a mere copy the lane is *led*: callers work at it
//! themselves, one at a time, and the thread sleeps until it is called.
//! Lock order: desk, then queue, then flight.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::draft::Draft;
use super::lines::Lines;
use super::ticket::{Alarm, Ticket};
use super::writer::Writer;

/// How long lines of callers that come at the same time are gathered.
const GATHER: Duration = Duration::from_micros(50);

pub(super) struct Lane {
    name: Box<str>,
    required: bool,
    /// Empty before the writer is there and after it has ended.
    desk: Mutex<Option<Writer>>,
    led: AtomicBool,
    queue: Mutex<Queue>,
    wake: Condvar,
    flight: Mutex<Lines>,
    depth: AtomicUsize,
    healthy: AtomicBool,
    seq: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Dropped lines no summary tells of yet.
    untold: AtomicU64,
    done: Mutex<bool>,
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Lines,
    sleeping: bool,
    /// The thread is wanted although callers lead.
    called: bool,
    reopen: bool,
    closing: Option<Instant>,
}

/// When the writer wants its next turn.
pub(super) enum Pace {
    /// At once: there is more to do.
    Now,
    /// When there is something to do; `busy` if the last batch held lines of several callers.
    Idle {
        /// Wait a moment for more lines before taking them.
        busy: bool,
    },
    /// After a pause, because the sink did not take everything.
    After(Duration),
}

/// What the writer is to do in a turn, besides the lines in flight.
pub(super) struct Turn {
    pub(super) reopen: bool,
    /// Set when the trail is being stopped: until when.
    pub(super) closing: Option<Instant>,
    /// Nothing waits behind the lines in flight.
    pub(super) drained: bool,
}

impl Lane {
    pub(super) fn new(name: &str, required: bool, healthy: bool) -> Self {
        Self {
            name: Box::from(name),
            required,
            desk: Mutex::default(),
            led: AtomicBool::new(false),
            queue: Mutex::default(),
            wake: Condvar::new(),
            flight: Mutex::default(),
            depth: AtomicUsize::new(0),
            healthy: AtomicBool::new(healthy),
            seq: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            done: Mutex::new(false),
            ended: Condvar::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Returns what it was before.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::AcqRel)
    }

    /// The number of the last line written.
    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Dropped lines that the next summary has to tell of.
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Lines queued or under way.
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Queues all lines of the draft, or none; false if there is no room or the trail is stopped.
    pub(super) fn push(&self, draft: &Draft, ticket: Option<&Arc<Ticket>>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.closing.is_some() || !queue.lines.has_room(draft) {
            drop(queue);
            self.note_dropped(draft.cuts.len());
            return false;
        }
        queue.lines.push(draft, ticket);
        self.depth.fetch_add(draft.cuts.len(), Ordering::Relaxed);
        // whoever has a ticket leads as soon as it waits for it
        let is_for_thread = ticket.is_none() || !self.is_led();
        queue.called |= is_for_thread;
        let sleeping = is_for_thread && mem::take(&mut queue.sleeping);
        drop(queue);
        if sleeping {
            self.wake.notify_one();
        }
        true
    }

    /// Whether callers write their lines themselves.
    pub(super) fn is_led(&self) -> bool {
        self.led.load(Ordering::Acquire)
    }

    pub(super) fn set_led(&self, led: bool) {
        self.led.store(led, Ordering::Release);
    }

    /// Wakes the thread, whoever leads.
    pub(super) fn call(&self) {
        let mut queue = lock(&self.queue);
        queue.called = true;
        queue.sleeping = false;
        drop(queue);
        self.wake.notify_one();
    }

    /// The desk, with the writer on it unless it has ended.
    pub(super) fn desk(&self) -> MutexGuard<'_, Option<Writer>> {
        lock(&self.desk)
    }

    /// The desk, unless somebody works at it. Who does looks for new lines after leaving it.
    pub(super) fn free_desk(&self) -> Option<MutexGuard<'_, Option<Writer>>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn note_dropped(&self, lines: usize) {
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        self.untold.fetch_add(lines, Ordering::Relaxed);
    }

    /// Asks the writer to open its file anew before the next line.
    pub(super) fn reopen(&self) {
        lock(&self.queue).reopen = true;
        self.wake.notify_one();
    }

    /// Takes no more lines; the writer ends with a stop line, at the latest at `deadline`.
    pub(super) fn close(&self, deadline: Instant) {
        let mut queue = lock(&self.queue);
        queue.closing = queue.closing.or(Some(deadline));
        drop(queue);
        self.wake.notify_one();
    }

    /// Waits until the writer has ended or `deadline`; then gives up whatever still waits.
    pub(super) fn wait_closed(&self, deadline: Instant) {
        let mut done = lock(&self.done);
        while !*done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            done = self.ended.wait_timeout(done, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(done);
        self.healthy.store(false, Ordering::Release);
        self.expire(Instant::now(), Duration::ZERO);
    }

    /// Gives up every ticket that is `patience` old; true if others still wait. Nobody waits for a sink that is not
    /// required.
    pub(super) fn expire(&self, now: Instant, patience: Duration) -> bool {
        if !self.required {
            return false;
        }
        // INVARIANT: the mark of ill health is set under the lock of the lines it is about, as the writer's mark of good
        // health is, so that the last word is the writer's once nothing is left to write.
        let queued = lock(&self.queue).lines.expire(now, patience, &self.healthy);
        let flying = lock(&self.flight).expire(now, patience, &self.healthy);
        queued || flying
    }
}

/// The writer's side.
impl Lane {
    /// The thread's wait, as `pace` says.
    pub(super) fn rest(&self, pace: Pace) {
        let mut queue = lock(&self.queue);
        match pace {
            Pace::Now => {}
            Pace::Idle { busy } => {
                // lines queued before the lane was led have nobody else
                let mut is_wanted = !queue.lines.is_empty();
                while !is_wanted && !queue.called && !queue.reopen && queue.closing.is_none() {
                    queue.sleeping = true;
                    queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    is_wanted = !self.is_led() && !queue.lines.is_empty();
                }
                if busy && !self.is_led() && !queue.reopen && queue.closing.is_none() {
                    // callers come at the same time: a moment's wait makes one system call and one wake-up of many
                    queue.sleeping = false;
                    drop(queue);
                    std::thread::sleep(GATHER);
                    queue = lock(&self.queue);
                }
            }
            Pace::After(pause) => {
                queue = self.wake.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        queue.sleeping = false;
        queue.called = false;
    }

    /// The next lines are in flight, unless some still were. Called at the desk.
    pub(super) fn turn(&self) -> Turn {
        let mut queue = lock(&self.queue);
        let mut flight = lock(&self.flight);
        if flight.is_empty() {
            flight.clear();
            mem::swap(&mut queue.lines, &mut *flight);
        }
        Turn { reopen: mem::take(&mut queue.reopen), closing: queue.closing, drained: queue.lines.is_empty() }
    }

    /// Whether a caller may take a turn: there are lines, and nothing that only the thread does.
    pub(super) fn is_for_callers(&self) -> bool {
        let queue = lock(&self.queue);
        self.is_led() && !queue.lines.is_empty() && !queue.reopen && queue.closing.is_none()
    }

    /// Looks at the lines in flight.
    pub(super) fn in_flight<R>(&self, look: impl FnOnce(&Lines) -> R) -> R {
        look(&lock(&self.flight))
    }

    /// The first `lines` in flight have been written, up to number `seq`: their tickets are told, as taken or, if they
    /// are not durable, as given up. Returns whether the sink was healthy before.
    pub(super) fn settle(&self, lines: usize, seq: u64, durable: bool) -> bool {
        self.seq.store(seq, Ordering::Relaxed);
        let mut flight = lock(&self.flight);
        let settled = flight.take(lines);
        let was_healthy = self.set_healthy(durable);
        drop(flight);
        self.depth.fetch_sub(lines, Ordering::Relaxed);
        self.written.fetch_add(u64::try_from(lines).unwrap_or(0), Ordering::Relaxed);
        if self.required {
            let mut alarm = Alarm::default();
            for ticket in settled.into_iter().flatten() {
                if !durable {
                    ticket.give_up();
                } else if let Some(waker) = ticket.taken() {
                    alarm.add(&ticket, waker);
                }
            }
            alarm.ring();
        }
        was_healthy
    }

    /// A summary told of `lines` dropped lines.
    pub(super) fn told(&self, lines: u64) {
        self.untold.fetch_sub(lines, Ordering::Relaxed);
    }

    /// The writer is gone: nothing is taken any more, nobody waits any longer.
    pub(super) fn finish(&self) {
        self.close(Instant::now());
        self.healthy.store(false, Ordering::Release);
        self.expire(Instant::now(), Duration::ZERO);
        *lock(&self.done) = true;
        self.ended.notify_all();
    }
}

/// A lock that outlives a panic elsewhere: what it guards is whole between any two statements that could panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::draft::Cut;
    use crate::audit::lines::MAX_LINES;
    use crate::clock::Timestamp;

    fn push(lane: &Lane, body: &str, ticket: Option<&Arc<Ticket>>) -> bool {
        Draft::with(Timestamp::from_secs(1), |draft| {
            draft.text.push_str(body);
            draft.cuts.push(Cut { len: body.len(), ok_at: None });
            lane.push(draft, ticket)
        })
    }

    fn bodies(lane: &Lane) -> Vec<String> {
        lane.in_flight(|lines| lines.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect())
    }

    #[test]
    fn lines_stay_in_order_through_partial_settling() {
        let lane = Lane::new("test", true, true);
        assert!(push(&lane, "one", None) && push(&lane, "two", None) && push(&lane, "three", None));
        assert!(lane.turn().drained);
        assert_eq!(bodies(&lane), ["one", "two", "three"]);
        assert!(push(&lane, "four", None));
        lane.settle(2, 2, true);
        assert!(!lane.turn().drained);
        assert_eq!(bodies(&lane), ["three"]);
        lane.settle(1, 3, true);
        assert!(lane.turn().drained);
        assert_eq!(bodies(&lane), ["four"]);
        assert_eq!((lane.depth(), lane.written(), lane.seq()), (1, 3, 3));
    }

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let lane = Lane::new("test", true, true);
        for _ in 0..MAX_LINES {
            assert!(push(&lane, "x", None));
        }
        assert!(!push(&lane, "y", None));
        assert_eq!((lane.depth(), lane.dropped(), lane.untold()), (MAX_LINES, 1, 1));
    }

    #[test]
    fn overdue_tickets_are_given_up_queued_or_under_way() {
        let lane = Lane::new("test", true, true);
        let now = Instant::now();
        let (old, young) = (Ticket::new(now, 1), Ticket::new(now + Duration::from_secs(10), 1));
        assert!(push(&lane, "old", Some(&old)));
        lane.turn();
        assert!(push(&lane, "young", Some(&young)));
        assert!(lane.expire(now + Duration::from_secs(2), Duration::from_secs(2)));
        assert!(old.is_given_up() && !young.is_given_up() && !lane.is_healthy());
        lane.finish();
        assert!(young.is_given_up() && !push(&lane, "late", None));
    }
}
