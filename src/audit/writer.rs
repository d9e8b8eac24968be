//! The writer of one sink and its chain, worked by its thread or by callers in turn.
//!
//! It takes everything queued, gives each line its place in the chain, writes the batch with one system call and tells
//! the callers. INVARIANT: the chain stands behind the last line that was written in full; a line that was not is closed
//! with a newline, if any of it was written, and written again from its beginning. A sink that only asks for patience
//! (`WouldBlock`) gets the rest of the line it has begun first.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::{Chain, Position};
use super::draft::Fields;
use super::id::RequestId;
use super::lane::{Lane, Pace, Turn};
use super::lines::Lines;
use super::outbox::{Mark, Outbox, Part, summary_fields};
use super::sinks::{AuditSink, Tail};
use crate::clock::{Clock, Timestamp};
use crate::error::ErrorKind;

/// Lines and time between checkpoints.
const CHECKPOINT_LINES: u64 = 1000;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// About how much is written with one system call, at most.
const WRITE_BYTES: usize = 256 << 10;
/// Pauses after `WouldBlock` and after other errors; doubled each time.
const BLOCKED_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
const FAILED_PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];
/// From so many lines in a batch on, callers are taken to come at the same time.
const BUSY_LINES: usize = 2;
/// Turns a caller takes before it hands over to the thread.
const LEAD_TURNS: usize = 4;
/// A turn that takes longer shows that the disk makes writers wait.
const SLOW_TURN: Duration = Duration::from_millis(2);
/// So many quick turns of the thread in a row before callers write again.
const QUICK_TURNS: u32 = 64;
/// The outcome of a line whose caller was told that it was not taken.
const SEALED: &[u8] = ErrorKind::Sealed.label().as_bytes();

pub(super) struct Writer {
    lane: Arc<Lane>,
    sink: Box<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    chain: Chain,
    /// Behind the last line written in full; `chain` runs ahead of it while a batch is under way.
    written: Position,
    run: RequestId,
    is_fsync: bool,
    outbox: Outbox,
    /// A start line is due, and what it says.
    start: Option<Start>,
    /// The last thing in the sink is a line without its newline.
    owes_newline: bool,
    /// Lines written whose sync failed, not told of yet.
    unsynced: Option<u64>,
    has_begun: bool,
    has_ended: bool,
    checkpoint: (u64, Instant),
    pause: Duration,
    /// Lines in the last batch.
    batch: usize,
    quick_turns_due: u32,
    /// With one processor a caller that hangs in the kernel would stop everything; then only the thread writes.
    callers_may: bool,
    scratch: String,
}

#[derive(Clone, Copy, Default)]
struct Start {
    resumed: bool,
    torn: bool,
    unverified: bool,
}

enum Progress {
    Done,
    Blocked,
    Failed,
}

/// However the writer ends, nobody goes on waiting for it.
struct Farewell(Arc<Lane>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Writer {
    pub(super) fn new(
        lane: Arc<Lane>,
        sink: Box<dyn AuditSink>,
        chain: Chain,
        clock: Arc<dyn Clock>,
        is_fsync: bool,
    ) -> Self {
        let run = RequestId::fresh(&*clock);
        Self {
            lane,
            sink,
            clock,
            written: chain.position(),
            chain,
            run,
            is_fsync,
            outbox: Outbox::default(),
            start: None,
            owes_newline: false,
            unsynced: None,
            has_begun: false,
            has_ended: false,
            checkpoint: (0, Instant::now()),
            pause: Duration::ZERO,
            batch: 0,
            quick_turns_due: 0,
            callers_may: std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1),
            scratch: String::new(),
        }
    }

    /// The thread's body: returns after the stop line, or when the trail was stopped and the sink took too long.
    pub(super) fn run(lane: &Arc<Lane>) {
        let farewell = Farewell(Arc::clone(lane));
        let mut pace = Pace::Now;
        loop {
            lane.rest(pace);
            let mut desk = lane.desk();
            let Some(writer) = desk.as_mut() else { break };
            let began = Instant::now();
            let turn = lane.turn();
            if turn.reopen {
                writer.sink.reopen();
            }
            let progress = writer.attempt(&turn);
            if writer.has_ended || turn.closing.is_some_and(|deadline| Instant::now() >= deadline) {
                // The file is closed, and its lock released, before anyone is told that the writer has ended.
                *desk = None;
                break;
            }
            writer.note_pace(&progress, began.elapsed());
            pace = writer.next_pace(&progress);
        }
        drop(farewell);
    }

    /// A caller's turn: writes what is queued, if nobody else is at it. Whoever comes meanwhile is served by it too.
    pub(super) fn lead(lane: &Arc<Lane>) {
        for _ in 0..LEAD_TURNS {
            if !lane.is_for_callers() {
                return;
            }
            let Some(mut desk) = lane.free_desk() else { return };
            let Some(writer) = desk.as_mut() else { return };
            let began = Instant::now();
            let turn = lane.turn();
            if turn.reopen {
                lane.reopen();
            }
            let progress = writer.attempt(&turn);
            if writer.has_ended {
                *desk = None;
                lane.call();
                return;
            }
            writer.note_pace(&progress, began.elapsed());
            if !lane.is_led() || writer.has_more() {
                lane.call();
                return;
            }
        }
        lane.call();
    }

    /// Decides who writes next: callers where that is quick, the thread for a while after it was not.
    fn note_pace(&mut self, progress: &Progress, took: Duration) {
        if matches!(progress, Progress::Done) && took < SLOW_TURN {
            self.quick_turns_due = self.quick_turns_due.saturating_sub(1);
        } else {
            self.quick_turns_due = QUICK_TURNS;
        }
        self.lane.set_led(self.callers_may && self.quick_turns_due == 0 && self.sink.is_quick());
    }

    fn attempt(&mut self, turn: &Turn) -> Progress {
        match self.sink.prepare() {
            Ok(None) => {}
            Ok(Some(tail)) => self.begin(&tail),
            Err(error) => return self.fail(&error),
        }
        if self.outbox.is_empty() {
            self.compose(turn);
        }
        let sent = self.send();
        self.settle(sent)
    }

    /// What follows goes to a new place.
    fn begin(&mut self, tail: &Tail) {
        self.outbox.clear();
        self.chain.stand_at(self.written);
        self.owes_newline = tail.fragment.is_some();
        let mut start = Start { resumed: self.written.seq > 0, torn: tail.fragment.is_some(), unverified: false };
        if !mem::replace(&mut self.has_begun, true) {
            self.resume(tail, &mut start);
        }
        self.start = Some(start);
    }

    /// Continues the chain another run left in the file, if it is one of this key.
    fn resume(&mut self, tail: &Tail, start: &mut Start) {
        let position = |line: &Option<Vec<u8>>| line.as_ref().and_then(|line| self.chain.position_after(line));
        let found = if let Some(whole) = position(&tail.fragment) {
            // All but the newline was written.
            start.torn = false;
            Some(whole)
        } else {
            position(&tail.last)
        };
        start.resumed = found.is_some();
        start.unverified = found.is_none() && tail.last.is_some();
        self.written = found.unwrap_or(Position::GENESIS);
        self.chain.stand_at(self.written);
        self.checkpoint.0 = self.written.seq;
    }

    fn next_pace(&mut self, progress: &Progress) -> Pace {
        let [first, last] = match progress {
            Progress::Done => {
                self.pause = Duration::ZERO;
                return if self.has_more() { Pace::Now } else { Pace::Idle { busy: self.batch >= BUSY_LINES } };
            }
            Progress::Blocked => BLOCKED_PAUSES,
            Progress::Failed => FAILED_PAUSES,
        };
        self.pause = (self.pause * 2).clamp(first, last);
        Pace::After(self.pause)
    }

    fn has_more(&self) -> bool {
        self.start.is_some()
            || self.unsynced.is_some()
            || self.lane.untold() > 0
            || !self.lane.in_flight(Lines::is_empty)
    }

    fn fail(&self, error: &io::Error) -> Progress {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Progress::Blocked;
        }
        if self.lane.set_healthy(false) || self.pause.is_zero() {
            tracing::error!(sink = self.lane.name(), %error, "the audit sink does not take lines");
        }
        Progress::Failed
    }
}

/// Composing a batch.
impl Writer {
    fn compose(&mut self, turn: &Turn) {
        self.outbox.clear();
        if self.owes_newline {
            self.outbox.bytes.push(b'\n');
            self.outbox.has_lead = true;
        }
        if self.start.is_some() {
            self.own_line(Part::Start);
        }
        if let Some(lines) = self.unsynced {
            self.own_line(Part::Unsynced(lines));
        }
        let dropped = self.lane.untold();
        if dropped > 0 {
            self.own_line(Part::Dropped(dropped));
        }
        let lane = Arc::clone(&self.lane);
        let is_all = lane.in_flight(|lines| self.compose_entries(lines));
        if is_all && turn.drained && turn.closing.is_some() {
            self.own_line(Part::Stop);
        }
    }

    /// False if there are more lines in flight than one batch takes.
    fn compose_entries(&mut self, lines: &Lines) -> bool {
        let (mut checked, checked_at) = self.checkpoint;
        for (entry, body) in lines.iter() {
            if self.outbox.bytes.len() >= WRITE_BYTES {
                return false;
            }
            let withheld = entry.cut.ok_at.filter(|_| entry.is_withheld()).and_then(|at| body.split_at_checked(at));
            match withheld {
                Some((before, after)) => {
                    let rest = after.strip_prefix(b"ok").unwrap_or(after);
                    self.append(entry.time, &[before, SEALED, rest], Part::Entry);
                }
                None => self.append(entry.time, &[body], Part::Entry),
            }
            if self.chain.position().seq.saturating_sub(checked) >= CHECKPOINT_LINES {
                self.own_line(Part::Checkpoint);
                checked = self.chain.position().seq;
            }
        }
        if checked_at.elapsed() >= CHECKPOINT_EVERY && self.chain.position().seq > checked {
            self.own_line(Part::Checkpoint);
        }
        true
    }

    fn append(&mut self, time: Timestamp, body: &[&[u8]], part: Part) {
        self.chain.append(&mut self.outbox.bytes, time, body);
        self.outbox.marks.push_back(Mark { end: self.outbox.bytes.len(), after: self.chain.position(), part });
    }

    /// A line of the writer's own.
    fn own_line(&mut self, part: Part) {
        let now = self.clock.now();
        let mut body = mem::take(&mut self.scratch);
        body.clear();
        let mut fields = Fields::new(&mut body);
        fields.id("id", RequestId::at(now));
        match &part {
            Part::Entry => {}
            Part::Start => self.start_fields(&mut fields),
            Part::Checkpoint | Part::Stop => {
                fields.word("kind", if matches!(part, Part::Stop) { "stop" } else { "checkpoint" });
                fields.id("run", self.run);
                fields.number("lines", self.lane.written());
            }
            Part::Dropped(lines) => summary_fields(&mut fields, "dropped", *lines),
            Part::Unsynced(lines) => summary_fields(&mut fields, "unsynced", *lines),
        }
        self.append(now, &[body.as_bytes()], part);
        self.scratch = body;
    }

    fn start_fields(&self, fields: &mut Fields<'_>) {
        let start = self.start.unwrap_or_default();
        fields.word("kind", "start");
        fields.id("run", self.run);
        fields.word("sink", self.sink.kind());
        fields.word("release", env!("CARGO_PKG_VERSION"));
        for (name, is_set) in [("resumed", start.resumed), ("torn", start.torn), ("unverified", start.unverified)] {
            if is_set {
                fields.flag(name);
            }
        }
    }
}

/// Writing a batch and telling who waits for it.
impl Writer {
    fn send(&mut self) -> io::Result<()> {
        while let Some(rest) = self.outbox.rest() {
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.outbox.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn settle(&mut self, sent: io::Result<()>) -> Progress {
        if self.outbox.has_lead && self.outbox.sent > 0 {
            self.owes_newline = false;
        }
        let is_torn = sent.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        let mut settled = self.outbox.take_sent();
        if is_torn {
            settled.extend(self.outbox.take_unended());
        }
        let has_progress = !settled.is_empty() || (sent.is_ok() && self.outbox.sent > 0);
        let durability = if has_progress && self.is_fsync { self.sink.sync() } else { Ok(()) };
        if has_progress {
            self.commit(settled, durability.is_ok());
        }
        match (sent, durability) {
            (Ok(()), Ok(())) => {
                self.outbox.clear();
                self.chain.stand_at(self.written);
                Progress::Done
            }
            (Err(error), Ok(())) if !is_torn => {
                self.outbox.keep_begun();
                self.chain.stand_at(self.outbox.marks.back().map_or(self.written, |mark| mark.after));
                self.fail(&error)
            }
            (Err(error), _) | (Ok(()), Err(error)) => {
                self.owes_newline |= self.outbox.is_within_line();
                self.outbox.clear();
                self.chain.stand_at(self.written);
                self.sink.failed();
                self.fail(&error)
            }
        }
    }

    /// These lines are in the sink in full.
    fn commit(&mut self, settled: Vec<Mark>, is_durable: bool) {
        let mut entries = 0;
        let mut told = false;
        for mark in settled {
            self.written = mark.after;
            match mark.part {
                Part::Entry => entries += 1,
                Part::Start => {
                    self.start = None;
                    self.checkpoint = (mark.after.seq, Instant::now());
                }
                Part::Checkpoint => self.checkpoint = (mark.after.seq, Instant::now()),
                Part::Dropped(lines) => self.lane.told(lines),
                Part::Unsynced(_) => told = true,
                Part::Stop => self.has_ended = true,
            }
        }
        if is_durable && told {
            self.unsynced = None;
        }
        if !is_durable {
            // Told of by a line of its own, whose sync shows when the disk is well again.
            let lines = u64::try_from(entries).unwrap_or(u64::MAX);
            self.unsynced = Some(self.unsynced.unwrap_or(0).saturating_add(lines));
        }
        self.batch = entries;
        let was_healthy = self.lane.settle(entries, self.written.seq, is_durable);
        if is_durable && !was_healthy {
            tracing::info!(sink = self.lane.name(), "the audit sink takes lines");
        }
    }
}
