//! One run of one backend: lists, looks and commits side by side, at most so many calls at once, until everything is
//! through, the backend is lost, or somebody stops it.
//!
//! The run itself is one task; what waits for the backend or the store runs beside it and comes back here, so nothing is
//! shared and nothing locked. What was started is always waited for: a change of the remote side is never cut in half.

mod ending;
mod known;
mod names;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Replica;
use super::board::Board;
use super::commit::{Committed, commit};
use super::desk::{CONCURRENCY, Candidate, Desk, StepError};
use super::mailbox::Mailbox;
use super::state::Memory;
use super::step::{Edit, Step, check};
use super::tally::{Next, Tally};
use super::walk::{Place, Walk};
use crate::backend::Listed;
use crate::clock::Timestamp;
use crate::secret::SecretPath;

pub(super) use ending::Ended;
use known::known;
pub(super) use known::locate;

/// Where values are read in batches, steps enough wait for them to fill so many. Calls are still `CONCURRENCY` at once.
const BATCHES: usize = 4;
/// Changes and bytes of one commit.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;
/// How long a change waits for others.
const LINGER: Duration = Duration::from_millis(50);
/// More changes than this do not wait: nothing new is looked at until they are stored.
const MAX_PENDING: usize = 1024;
const MAX_PENDING_BYTES: usize = 16 << 20;
/// While so many paths wait to be looked at by themselves no more are taken; whoever names them coalesces them meanwhile.
const MAX_URGENT: usize = 1_000;
/// How many lists may be tried again because the backend asked for a pause.
const MAX_RELISTS: u32 = 100;
/// How many copies are asked about to see whether our credential may still read.
const SAMPLES: usize = 3;

/// What a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything these rules can name, or was demanded of them.
    Rules(Vec<u32>),
    /// Only these paths.
    Paths(Vec<SecretPath>),
}

/// What comes back from beside a run.
enum Done {
    Listed(Place, Result<Vec<String>, StepError>),
    Checked(Candidate, Result<Step, StepError>),
    Committed(Committed),
}

/// Why a run woke up.
enum Woke {
    Done(Option<Done>),
    Rung,
    Wanted(Vec<(u32, SecretPath)>),
    Replaced,
    Time,
}

/// A run under way.
pub(super) struct Run<'a> {
    desk: Arc<Desk>,
    board: &'a Board,
    mailbox: &'a Mailbox,
    memory: &'a Memory,
    scope: Scope,
    tally: Tally,
    walk: Walk,
    /// Copies the rules had before, to be looked at even if no list names them.
    known: Vec<Candidate>,
    is_known_queued: bool,
    urgent: VecDeque<Candidate>,
    queue: VecDeque<Candidate>,
    pending: Vec<Edit>,
    pending_since: Option<Instant>,
    beside: JoinSet<Done>,
    /// How many may wait for the backend at once.
    width: usize,
    asking: usize,
    listing: usize,
    is_committing: bool,
    relists: u32,
    is_cancelled: bool,
    is_ordered: bool,
    lacks_rights: bool,
    started: Instant,
    started_at: Timestamp,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        desk: Arc<Desk>,
        (board, mailbox, memory): (&'a Board, &'a Mailbox, &'a Memory),
        tally: Tally,
        scope: Scope,
    ) -> Self {
        let rules = match &scope {
            Scope::Rules(rules) => rules.clone(),
            Scope::Paths(_) => Vec::new(),
        };
        let walk = Walk::new(&desk.replica, &rules);
        let known = known(&desk.replica, &rules);
        let mut run = Self {
            board,
            mailbox,
            memory,
            tally,
            walk,
            known,
            is_known_queued: matches!(scope, Scope::Paths(_)),
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            pending: Vec::new(),
            pending_since: None,
            beside: JoinSet::new(),
            width: CONCURRENCY.max(BATCHES * usize::from(desk.replica.client.capabilities().batch)),
            asking: 0,
            listing: 0,
            is_committing: false,
            relists: 0,
            is_cancelled: false,
            is_ordered: false,
            lacks_rights: false,
            started: Instant::now(),
            started_at: desk.parts.clock.now(),
            desk,
            scope,
        };
        if let Scope::Paths(paths) = run.scope.clone() {
            run.look_at(paths);
        }
        run.taken_from_walk();
        run
    }

    /// Goes on until there is nothing left to do.
    pub(super) async fn drive(mut self, replicas: &mut watch::Receiver<Arc<Replica>>) -> Ended {
        self.sample_rights().await;
        loop {
            self.start_commit();
            self.start_calls();
            if self.beside.is_empty() && self.pending.is_empty() {
                let late = self.mailbox.end(self.is_over());
                if late.is_empty() {
                    // who replaced the replica meanwhile may have given up what this run speaks for
                    self.is_cancelled |= replicas.has_changed().unwrap_or(true);
                    return self.end();
                }
                self.is_ordered = true;
                self.look_at(late);
                continue;
            }
            let woke = self.wait(replicas).await;
            self.woken(woke);
            self.board.progressed(self.tally.done, self.total());
        }
    }

    async fn wait(&mut self, replicas: &mut watch::Receiver<Arc<Replica>>) -> Woke {
        let copies = self.desk.replica.copies.clone();
        let (mailbox, is_over) = (self.mailbox, self.is_over());
        let has_time = !is_over && self.urgent.len() < MAX_URGENT;
        let flush_at = self.pending_since.filter(|_| !self.is_committing).map(|since| since + LINGER);
        tokio::select! {
            Some(done) = self.beside.join_next() => Woke::Done(done.ok()),
            () = mailbox.rung() => Woke::Rung,
            wanted = copies.wanted(), if has_time => Woke::Wanted(wanted),
            _ = replicas.changed(), if !is_over => Woke::Replaced,
            () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => Woke::Time,
        }
    }

    fn woken(&mut self, woke: Woke) {
        match woke {
            Woke::Done(Some(Done::Checked(candidate, result))) => {
                self.asking = self.asking.saturating_sub(1);
                let next = self.tally.stepped(candidate, result);
                self.follow(next);
            }
            Woke::Done(Some(Done::Listed(place, result))) => {
                self.asking = self.asking.saturating_sub(1);
                self.listing = self.listing.saturating_sub(1);
                self.listed(place, result);
            }
            Woke::Done(Some(Done::Committed(committed))) => self.committed(committed),
            // a defect: the task panicked, and what it held is looked at in the next run
            Woke::Done(None) => {
                self.tally.fatal.get_or_insert_with(|| "a task of the run panicked".to_owned());
                self.desk.is_over.store(true, Ordering::Release);
                self.recount();
            }
            Woke::Rung => {
                self.is_cancelled |= self.mailbox.is_cancelled();
                if !self.is_over() {
                    let paths = self.mailbox.take_paths();
                    self.is_ordered |= !paths.is_empty();
                    self.look_at(paths);
                }
            }
            Woke::Wanted(wanted) => self.look_at(wanted.into_iter().map(|(_, path)| path).collect()),
            Woke::Replaced => {
                self.is_cancelled = true;
                self.desk.is_over.store(true, Ordering::Release);
            }
            Woke::Time => {}
        }
    }

    /// After a panic nobody knows which call it was.
    fn recount(&mut self) {
        self.asking = self.beside.len();
        self.listing = 0;
        self.is_committing = false;
    }

    /// Whether nothing new is started.
    fn is_over(&self) -> bool {
        self.is_cancelled || self.tally.fatal.is_some() || self.desk.contact.is_hopeless()
    }

    fn start_calls(&mut self) {
        while self.asking < self.width && !self.is_over() && self.has_room() {
            let desk = self.desk.clone();
            if let Some(candidate) = self.urgent.pop_front() {
                self.start_check(candidate);
            } else if let Some(place) = self.walk.next_place() {
                self.asking += 1;
                self.listing += 1;
                self.beside.spawn(async move {
                    let listed = desk.call(desk.replica.client.list(desk.ask(place.rule, &place.remote))).await;
                    let listed = listed.map(|Listed { names, described, .. }| {
                        desk.listed(&place.remote, &names, described);
                        names
                    });
                    Done::Listed(place, listed.map_err(StepError::from))
                });
            } else if let Some(candidate) = self.queue.pop_front() {
                self.start_check(candidate);
            } else if self.listing == 0 && !self.is_known_queued {
                self.queue_known();
            } else {
                return;
            }
        }
    }

    fn start_check(&mut self, candidate: Candidate) {
        let desk = self.desk.clone();
        self.asking += 1;
        self.beside.spawn(async move {
            let result = check(&desk, &candidate).await;
            Done::Checked(candidate, result)
        });
    }

    fn has_room(&self) -> bool {
        let weight: usize = self.pending.iter().map(Edit::weight).sum();
        self.pending.len() < MAX_PENDING && weight < MAX_PENDING_BYTES
    }

    fn start_commit(&mut self) {
        if self.is_committing || self.pending.is_empty() {
            return;
        }
        let (mut count, mut weight) = (0, 0);
        for edit in &self.pending {
            if count == BATCH || (count > 0 && weight + edit.weight() > BATCH_BYTES) {
                break;
            }
            (count, weight) = (count + 1, weight + edit.weight());
        }
        let is_full = count == BATCH || count < self.pending.len();
        let is_due = self.pending_since.is_some_and(|since| since.elapsed() >= LINGER);
        let is_last = self.asking == 0 && (self.is_over() || !self.has_more());
        if !is_full && !is_due && !is_last {
            return;
        }
        let batch: Vec<Edit> = self.pending.drain(..count).collect();
        self.pending_since = (!self.pending.is_empty()).then(Instant::now);
        self.is_committing = true;
        let desk = self.desk.clone();
        self.beside.spawn(async move { Done::Committed(commit(&desk, batch).await) });
    }

    /// Whether there is something to ask the backend.
    fn has_more(&self) -> bool {
        !self.urgent.is_empty() || !self.queue.is_empty() || self.walk.has_open() || !self.is_known_queued
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::Done => {}
            Next::Again(candidate) => self.urgent.push_back(candidate),
            Next::Commit(edit) => {
                self.pending_since.get_or_insert_with(Instant::now);
                self.pending.push(*edit);
            }
        }
    }

    fn committed(&mut self, committed: Committed) {
        self.is_committing = false;
        for stored in &committed.stored {
            self.tally.stored(stored);
        }
        for candidate in committed.again {
            let next = self.tally.again(candidate);
            self.follow(next);
        }
        if let Some(error) = committed.error {
            self.tally.fatal.get_or_insert_with(|| error.to_string());
            for candidate in committed.lost {
                self.tally.failed(&candidate, &error);
            }
        }
    }

    fn total(&self) -> Option<u64> {
        let waiting = self.urgent.len() + self.queue.len() + self.asking + self.pending.len();
        let is_known = self.is_known_queued && self.listing == 0;
        is_known.then(|| self.tally.done + waiting as u64)
    }
}
