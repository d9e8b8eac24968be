//! What is known of one backend's copies in memory: how fresh they are, which paths are wanted, who writes what.
//!
//! INVARIANT: reading a copy's freshness takes atomics only, unless some path is an exception to its rule's last run;
//! a lock is held for lines and never across an await. Nothing here survives the process: the engine restores runs and a
//! denial from their documents, and records know by themselves when they last agreed with the backend.

mod lineage;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use self::lineage::Lineage;
use crate::clock::Timestamp;
use crate::secret::SecretPath;

/// More than so many paths are not remembered as demanded.
const MAX_DEMANDED: usize = 100_000;
/// No more paths than this wait because somebody said that they changed.
const MAX_HINTED: usize = 1_000;

/// What is known of the copies of one backend.
#[derive(Debug)]
pub struct Copies {
    rules: Box<[RuleCopies]>,
    /// Shared with the copies of the same backend under other routes.
    lineage: ArcSwap<Lineage>,
    saved: AtomicU64,
    exceptions: Mutex<HashMap<SecretPath, Exception>>,
    /// How many exceptions there are, so that nobody locks to find none.
    exceptional: AtomicUsize,
    demand: Mutex<Demand>,
    bell: Notify,
}

/// One rule's copies.
#[derive(Debug, Default)]
struct RuleCopies {
    whole: AtomicBool,
    /// When the last whole run began, in microseconds; 0: never.
    run_at: AtomicU64,
    /// How many whole runs ended, or refreshes of all that was demanded.
    runs: AtomicU64,
    /// When the last of either began, in microseconds; 0: never.
    seen_at: AtomicU64,
}

/// A path that its rule's last run does not speak for.
#[derive(Debug, Default)]
struct Exception {
    /// When the path was checked by itself, in microseconds.
    own: u64,
    /// For each rule, what its runs vouched for when the path failed; the reader knows which rule is the path's.
    failed: Option<Box<[Before]>>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    runs: u64,
    run_at: u64,
}

#[derive(Debug, Default)]
struct Demand {
    known: HashSet<(u32, SecretPath)>,
    fresh: Vec<(u32, SecretPath)>,
}

impl Copies {
    /// Nothing known yet of the copies of so many rules.
    #[must_use]
    pub fn new(rules: usize) -> Self {
        Self {
            rules: (0..rules).map(|_| RuleCopies::default()).collect(),
            lineage: ArcSwap::default(),
            saved: AtomicU64::new(0),
            exceptions: Mutex::default(),
            exceptional: AtomicUsize::new(0),
            demand: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Whether a first full sync of the rule is over: what it has no copy of does not exist.
    #[must_use]
    pub fn whole(&self, rule: u32) -> bool {
        self.rule(rule).is_some_and(|rule| rule.whole.load(Ordering::Acquire))
    }

    /// When the rule's last whole run began; the epoch if there was none.
    pub(super) fn ran_at(&self, rule: u32) -> Timestamp {
        Timestamp::from_micros(self.rule(rule).map_or(0, |rule| rule.run_at.load(Ordering::Acquire)))
    }

    /// When a copy was last known to be what the backend has: the latest of `agreed_at` (microseconds, from the record),
    /// the path's own check and its rule's last whole run, unless the path failed in it.
    #[must_use]
    pub fn checked_at(&self, rule: u32, path: &SecretPath, agreed_at: u64) -> Timestamp {
        let run_at = self.rule(rule).map_or(0, |rule| rule.run_at.load(Ordering::Acquire));
        if self.exceptional.load(Ordering::Acquire) == 0 {
            return Timestamp::from_micros(run_at.max(agreed_at));
        }
        let mut exceptions = lock(&self.exceptions);
        let vouched = match exceptions.get_mut(path) {
            None => run_at,
            Some(exception) => exception.own.max(self.before(exception, rule).unwrap_or(run_at)),
        };
        Timestamp::from_micros(vouched.max(agreed_at))
    }

    /// A whole run of a rule that began at `started` is over. Paths it could not copy for whatever reason (failed, too
    /// large, leased) have to be marked by [`Self::path_failed`] before.
    pub fn run_ended(&self, rule: u32, started: Timestamp) {
        let Some(rule) = self.rule(rule) else { return };
        let mut exceptions = lock(&self.exceptions);
        rule.run_at.fetch_max(started.micros(), Ordering::AcqRel);
        rule.runs.fetch_add(1, Ordering::AcqRel);
        rule.seen_at.fetch_max(started.micros(), Ordering::AcqRel);
        rule.whole.store(true, Ordering::Release);
        self.tidy(&mut exceptions);
    }

    /// A run over everything that was demanded of a rule, begun at `started`, is over. It speaks only for the paths it
    /// looked at, each of which was marked by itself.
    pub(super) fn refreshed(&self, rule: u32, started: Timestamp) {
        let Some(rule) = self.rule(rule) else { return };
        let mut exceptions = lock(&self.exceptions);
        rule.runs.fetch_add(1, Ordering::AcqRel);
        rule.seen_at.fetch_max(started.micros(), Ordering::AcqRel);
        self.tidy(&mut exceptions);
    }

    /// Drops exceptions that every rule has looked past since: paths that are gone are not remembered for ever.
    fn tidy(&self, exceptions: &mut HashMap<SecretPath, Exception>) {
        let least = self.rules.iter().map(|rule| rule.seen_at.load(Ordering::Acquire)).filter(|at| *at > 0).min();
        exceptions.retain(|_, exception| {
            if exception.failed.as_deref().is_some_and(|failed| self.is_made_up(failed)) {
                exception.failed = None;
            }
            exception.failed.is_some() || exception.own >= least.unwrap_or(0)
        });
        self.exceptional.store(exceptions.len(), Ordering::Release);
    }

    /// Whether every rule that runs ran without the failure.
    fn is_made_up(&self, failed: &[Before]) -> bool {
        let mut ended = self.rules.iter().zip(failed).filter_map(|(rule, before)| {
            let runs = rule.runs.load(Ordering::Acquire);
            (runs > 0).then(|| runs.saturating_sub(before.runs))
        });
        ended.next().is_some_and(|first| first >= 2) && ended.all(|runs| runs >= 2)
    }

    /// Nothing a run of the rule said holds any more: its copies were given up, or it was not synced for a while.
    pub(super) fn forget(&self, rule: u32) {
        let Some(rule) = self.rule(rule) else { return };
        let _no_run_ends = lock(&self.exceptions);
        rule.whole.store(false, Ordering::Release);
        rule.run_at.store(0, Ordering::Release);
    }

    /// Takes the place of other copies of the same backend: what does not depend on routes is one and the same.
    pub(super) fn follow(&self, before: &Self) {
        self.lineage.store(before.lineage.load_full());
    }

    /// Exactly these routes of the backend are synced from now on, in these copies and all it has in common with.
    pub(super) fn keep_routes(&self, routes: HashSet<u64>) {
        self.lineage.load().keep_routes(routes);
    }

    /// Whether copies of a route may be committed: it is synced in the newest configuration. Asked under the tenant's
    /// writer.
    pub(super) fn is_live(&self, route: u64) -> bool {
        self.lineage.load().syncs(route, true)
    }

    /// Whether the newest configuration is known to sync a route.
    pub(super) fn is_kept(&self, route: u64) -> bool {
        self.lineage.load().syncs(route, false)
    }

    /// What is remembered of runs over these routes is to be forgotten.
    pub(super) fn drop_routes(&self, routes: impl IntoIterator<Item = u64>) {
        self.lineage.load().drop_routes(routes);
    }

    /// Routes whose memory is to be forgotten. Meant for one caller.
    pub(super) fn take_dropped(&self) -> HashSet<u64> {
        self.lineage.load().take_dropped()
    }

    /// A path by itself was found to be what the backend has at `at`.
    pub fn path_checked(&self, path: &SecretPath, at: Timestamp) {
        let mut exceptions = lock(&self.exceptions);
        let exception = exceptions.entry(path.clone()).or_default();
        exception.own = exception.own.max(at.micros());
        exception.failed = None;
        self.exceptional.store(exceptions.len(), Ordering::Release);
    }

    /// A path could not be copied: the run under way does not speak for it, and a read of it goes to the backend unless
    /// there is a copy. A later whole run in which it does not fail makes up for it.
    pub fn path_failed(&self, path: &SecretPath) {
        let mut exceptions = lock(&self.exceptions);
        let exception = exceptions.entry(path.clone()).or_default();
        let before = self.rules.iter().enumerate().map(|(index, rule)| {
            let now = Before { runs: rule.runs.load(Ordering::Acquire), run_at: rule.run_at.load(Ordering::Acquire) };
            let earlier = exception.failed.as_ref().and_then(|failed| failed.get(index));
            match earlier.filter(|earlier| now.runs.saturating_sub(earlier.runs) < 2) {
                Some(earlier) => Before { runs: now.runs, run_at: earlier.run_at },
                None => now,
            }
        });
        let before: Box<[Before]> = before.collect();
        exception.failed = Some(before);
        self.exceptional.store(exceptions.len(), Ordering::Release);
    }

    /// Whether a path of the rule could not be copied when it was last tried.
    #[must_use]
    pub fn is_failing(&self, rule: u32, path: &SecretPath) -> bool {
        if self.exceptional.load(Ordering::Acquire) == 0 {
            return false;
        }
        lock(&self.exceptions).get_mut(path).is_some_and(|exception| self.before(exception, rule).is_some())
    }

    /// Every path that could not be copied when it was last tried, whichever rule is its.
    #[must_use]
    pub fn failing(&self) -> Vec<SecretPath> {
        if self.exceptional.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let exceptions = lock(&self.exceptions);
        exceptions.iter().filter(|(_, exception)| exception.failed.is_some()).map(|(path, _)| path.clone()).collect()
    }

    /// The backend denied us. The first time counts.
    pub fn denied(&self, at: Timestamp) {
        let lineage = self.lineage.load();
        let since = &lineage.denied_since;
        let _kept = since.compare_exchange(0, at.micros().max(1), Ordering::AcqRel, Ordering::Acquire);
    }

    /// The backend lets us in again.
    pub fn not_denied(&self) {
        self.lineage.load().denied_since.store(0, Ordering::Release);
    }

    /// Since when the backend denies us; `None` if it does not.
    #[must_use]
    pub fn denied_since(&self) -> Option<Timestamp> {
        match self.lineage.load().denied_since.load(Ordering::Acquire) {
            0 => None,
            at => Some(Timestamp::from_micros(at)),
        }
    }

    /// Somebody wants a path that has no copy. Known paths and those beyond 100,000 change nothing.
    pub fn want(&self, rule: u32, path: &SecretPath) {
        let mut demand = lock(&self.demand);
        let wanted = (rule, path.clone());
        if demand.known.len() >= MAX_DEMANDED || demand.known.contains(&wanted) {
            return;
        }
        demand.known.insert(wanted.clone());
        demand.fresh.push(wanted);
        drop(demand);
        self.bell.notify_one();
    }

    /// A copy is known to be behind: it is to be looked at now, demanded or not.
    pub fn refresh(&self, rule: u32, path: &SecretPath) {
        let mut demand = lock(&self.demand);
        let wanted = (rule, path.clone());
        if demand.fresh.len() < MAX_DEMANDED && !demand.fresh.contains(&wanted) {
            demand.fresh.push(wanted);
        }
        drop(demand);
        self.bell.notify_one();
    }

    /// Somebody says that a path has changed on the other side: it is to be looked at now. A path that waits already waits
    /// once. False if there are too many, or `admits` says no; it is asked only where one more would wait.
    pub(super) fn hinted(&self, rule: u32, path: &SecretPath, admits: impl FnOnce() -> bool) -> bool {
        let mut demand = lock(&self.demand);
        let hinted = (rule, path.clone());
        if !demand.fresh.contains(&hinted) {
            if demand.fresh.len() >= MAX_HINTED || !admits() {
                return false;
            }
            demand.fresh.push(hinted);
        }
        drop(demand);
        self.bell.notify_one();
        true
    }

    /// Whether a path of the rule was wanted and not found to be missing since.
    pub(super) fn is_demanded(&self, rule: u32, path: &SecretPath) -> bool {
        lock(&self.demand).known.contains(&(rule, path.clone()))
    }

    /// A path turned out not to exist: it is demanded no longer.
    pub fn unwant(&self, rule: u32, path: &SecretPath) {
        lock(&self.demand).known.remove(&(rule, path.clone()));
    }

    /// Waits for paths to look at now and takes them. Meant for one caller.
    pub async fn wanted(&self) -> Vec<(u32, SecretPath)> {
        loop {
            let fresh = std::mem::take(&mut lock(&self.demand).fresh);
            if !fresh.is_empty() {
                return fresh;
            }
            self.bell.notified().await;
        }
    }

    /// Every path of the rule that was wanted so far. Copies kept from before a restart are not among them.
    #[must_use]
    pub fn demanded(&self, rule: u32) -> Vec<SecretPath> {
        let demand = lock(&self.demand);
        demand.known.iter().filter(|(of, _)| *of == rule).map(|(_, path)| path.clone()).collect()
    }

    /// How many reads were answered without asking the backend.
    #[must_use]
    pub fn saved_calls(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    pub(super) fn saved_one(&self) {
        self.saved.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nobody else carries a change of `path` to the backend, and keeps others waiting until dropped. The
    /// engine takes it too before it pushes.
    pub async fn claim(&self, path: &SecretPath) -> Claim {
        let lineage = self.lineage.load_full();
        loop {
            let mut released = std::pin::pin!(lineage.released.notified());
            // registered before the look, so that a release in between is not missed
            released.as_mut().enable();
            if lock(&lineage.claims).insert(path.clone()) {
                return Claim { lineage: lineage.clone(), path: path.clone() };
            }
            released.await;
        }
    }

    fn rule(&self, rule: u32) -> Option<&RuleCopies> {
        self.rules.get(rule as usize)
    }

    /// What a failing path's rule vouched for before it failed; `None` if a later run made up for it.
    fn before(&self, exception: &mut Exception, rule: u32) -> Option<u64> {
        let before = exception.failed.as_ref()?.get(rule as usize).copied()?;
        // the run in which it failed ends once more; the next one that ends did not see it fail again
        let ended = self.rule(rule)?.runs.load(Ordering::Acquire).saturating_sub(before.runs);
        if ended < 2 {
            return Some(before.run_at);
        }
        exception.failed = None;
        None
    }
}

/// The right to carry changes of one path to the backend.
#[derive(Debug)]
pub struct Claim {
    lineage: Arc<Lineage>,
    path: SecretPath,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.lineage.claims).remove(&self.path);
        self.lineage.released.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
