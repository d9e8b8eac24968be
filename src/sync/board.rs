//! What is shown of one backend's runs, while they go and after.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Replica;
use super::desk::Latency;
use super::report::{Health, Progress, Report, RunId, RunOutcome, Status};
use super::state::MAX_REPORTS;
use crate::clock::Timestamp;

/// How many failures without an answer, and over how long, make a backend unreachable.
const UNREACHABLE_AFTER: u32 = 3;
const UNREACHABLE_OVER: Duration = Duration::from_secs(30);

/// The shown side of a station.
#[derive(Debug, Default)]
pub(super) struct Board {
    shown: Mutex<Shown>,
    pub(super) latency: Arc<Latency>,
    saved_told: AtomicU64,
}

#[derive(Debug, Default)]
struct Shown {
    /// Newest first.
    reports: VecDeque<Arc<Report>>,
    running: Option<Running>,
    next_sync: Option<Timestamp>,
    last_sync: Option<Timestamp>,
    /// The oldest of the rules' last whole runs; `None` until each had one.
    oldest: Option<Timestamp>,
    /// Whole runs in a row that did not go through.
    failures: u32,
    lost: u32,
    lost_since: Option<Instant>,
    is_unreachable: bool,
    is_behind: bool,
    counts: Counts,
}

#[derive(Debug)]
struct Running {
    id: RunId,
    total: Option<u64>,
    done: u64,
    /// When it takes longer than its interval.
    late_at: Option<Instant>,
}

/// How many copies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) copies: u64,
    pub(super) conflicts: u64,
}

impl Counts {
    /// Counts a replica's copies. Costs a look at every record; nothing while the index of names is being built.
    pub(super) fn of(replica: &Replica) -> Self {
        let mut counts = Self::default();
        if replica.records.is_indexed() {
            replica.records.copies(|_, stored| {
                let is_ours = |route: u64| replica.rules.iter().any(|settings| settings.route == route);
                if let Some(copy) = stored.copy.as_ref().filter(|copy| is_ours(copy.route)) {
                    counts.copies += 1;
                    counts.conflicts += u64::from(copy.conflicted);
                }
            });
        }
        counts
    }
}

/// What changed in how the backend can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Unreachable,
    Recovered,
}

impl Board {
    /// What an earlier process left.
    pub(super) fn restore(&self, reports: Vec<Report>) {
        let mut shown = self.lock();
        let through = reports.iter().find(|report| is_through(report));
        shown.last_sync = through.and_then(|report| Timestamp::parse_rfc3339(&report.ended_at));
        shown.reports = reports.into_iter().map(Arc::new).collect();
    }

    pub(super) fn began(&self, id: &RunId, late_at: Option<Instant>) {
        self.lock().running = Some(Running { id: id.clone(), total: None, done: 0, late_at });
    }

    pub(super) fn progressed(&self, done: u64, total: Option<u64>) {
        if let Some(running) = &mut self.lock().running {
            (running.done, running.total) = (done, total);
        }
    }

    /// A run ended, with the counts after it if they were made.
    pub(super) fn ended(&self, counts: Option<Counts>) {
        let mut shown = self.lock();
        shown.running = None;
        shown.counts = counts.unwrap_or(shown.counts);
    }

    /// Keeps a report; yields the identifiers of those that are too old now.
    pub(super) fn keep(&self, report: Report) -> Vec<String> {
        let mut shown = self.lock();
        shown.reports.push_front(Arc::new(report));
        let beyond = MAX_REPORTS.min(shown.reports.len());
        shown.reports.split_off(beyond).into_iter().map(|old| old.id.clone()).collect()
    }

    /// A whole run ended. Yields how many in a row did not go through.
    pub(super) fn ran(&self, report: &Report, is_late: bool, oldest: Option<Timestamp>) -> u32 {
        let mut shown = self.lock();
        match report.outcome {
            RunOutcome::Completed | RunOutcome::Partial => {
                shown.failures = 0;
                shown.is_behind = is_late;
                shown.last_sync = Timestamp::parse_rfc3339(&report.ended_at);
            }
            RunOutcome::Failed => shown.failures = shown.failures.saturating_add(1),
            RunOutcome::Cancelled => {}
        }
        shown.oldest = oldest;
        shown.failures
    }

    pub(super) fn aged(&self, oldest: Option<Timestamp>) {
        self.lock().oldest = oldest;
    }

    pub(super) fn next_at(&self, at: Option<Timestamp>) {
        self.lock().next_sync = at;
    }

    /// The backend answered.
    pub(super) fn reached(&self) -> Option<Turn> {
        let mut shown = self.lock();
        (shown.lost, shown.lost_since) = (0, None);
        std::mem::take(&mut shown.is_unreachable).then_some(Turn::Recovered)
    }

    /// It did not, once more.
    pub(super) fn lost(&self) -> Option<Turn> {
        let now = Instant::now();
        let mut shown = self.lock();
        shown.lost = shown.lost.saturating_add(1);
        let since = *shown.lost_since.get_or_insert(now);
        let is_turn = !shown.is_unreachable
            && shown.lost >= UNREACHABLE_AFTER
            && now.saturating_duration_since(since) >= UNREACHABLE_OVER;
        shown.is_unreachable |= is_turn;
        is_turn.then_some(Turn::Unreachable)
    }

    /// The last whole run, for what it skipped.
    pub(super) fn last_full(&self) -> Option<Arc<Report>> {
        self.lock().reports.iter().find(|report| is_full(report)).cloned()
    }

    pub(super) fn reports(&self) -> Vec<Arc<Report>> {
        self.lock().reports.iter().cloned().collect()
    }

    /// The status, with counts made now.
    pub(super) fn status(&self, replica: &Replica, now: Timestamp) -> Status {
        let counts = Counts::of(replica);
        let shown = self.lock();
        let last_full = shown.reports.iter().find(|report| is_full(report));
        Status {
            state: shown.health(replica),
            last_sync_at: shown.last_sync.map(Timestamp::rfc3339),
            next_sync_at: shown.next_sync.map(Timestamp::rfc3339),
            last_sync: last_full.map(|report| report.summary()),
            secrets_synced: counts.copies,
            connection_latency_ms: self.latency.millis(),
            consecutive_failures: shown.failures,
            conflicts: counts.conflicts,
            skipped: last_full.map_or(0, |report| report.skipped_count),
            staleness_seconds: shown.oldest.map(|at| now.since(at).as_secs()),
            running: shown.running.as_ref().map(|running| Progress {
                run: running.id.to_string(),
                total: running.total,
                done: running.done,
            }),
        }
    }

    /// Health, counts and staleness as of the last run, for metrics.
    pub(super) fn gauges(&self, replica: &Replica, now: Timestamp) -> (Health, Counts, Option<u64>) {
        let shown = self.lock();
        (shown.health(replica), shown.counts, shown.oldest.map(|at| now.since(at).as_secs()))
    }

    /// How many calls were saved since this was asked last.
    pub(super) fn newly_saved(&self, replica: &Replica) -> u64 {
        let now = replica.copies.saved_calls();
        let before = self.saved_told.swap(now, Ordering::Relaxed);
        now.checked_sub(before).unwrap_or(now)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn health(&self, replica: &Replica) -> Health {
        let late_at = self.running.as_ref().and_then(|running| running.late_at);
        let last = self.reports.iter().find(|report| is_full(report)).map(|report| report.outcome);
        // what cannot be asked cannot be said to deny us still; whether copies are served does not depend on this
        if self.is_unreachable {
            Health::Unreachable
        } else if replica.copies.denied_since().is_some() {
            Health::Denied
        } else if self.is_behind || late_at.is_some_and(|at| Instant::now() >= at) {
            Health::Behind
        } else if self.failures > 0 || matches!(last, Some(RunOutcome::Partial | RunOutcome::Failed)) {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

fn is_full(report: &Report) -> bool {
    report.scope == "full"
}

fn is_through(report: &Report) -> bool {
    is_full(report) && matches!(report.outcome, RunOutcome::Completed | RunOutcome::Partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn unreachable_takes_three_failures_over_thirty_seconds_and_is_told_once() {
        let board = Board::default();
        let wait = |secs| tokio::time::advance(Duration::from_secs(secs));
        assert_eq!(board.reached(), None);
        assert_eq!((board.lost(), board.lost(), board.lost(), board.lost()), (None, None, None, None), "too soon");
        wait(31).await;
        assert_eq!(board.lost(), Some(Turn::Unreachable));
        assert_eq!(board.lost(), None);
        assert_eq!(board.reached(), Some(Turn::Recovered));
        assert_eq!(board.reached(), None);
        assert_eq!(board.lost(), None);
        wait(60).await;
        assert_eq!(board.lost(), None, "too few");
        assert_eq!(board.lost(), Some(Turn::Unreachable));
    }

    #[test]
    fn the_last_twenty_reports_are_kept() {
        let board = Board::default();
        for run in 0..25 {
            let old = board.keep(Report { id: format!("run_{run:02}"), ..Report::default() });
            assert_eq!(old, if run < 20 { vec![] } else { vec![format!("run_{:02}", run - 20)] });
        }
        assert_eq!(board.reports().len(), 20);
        assert_eq!(board.reports().first().map(|report| report.id.clone()), Some("run_24".to_owned()));
    }
}
