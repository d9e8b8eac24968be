//! The one task that works for a backend: it waits for what is due, ordered or wanted, and lets one run at a time go.
//!
//! INVARIANT: everything a backend's runs remember has this one owner; what others may see of it is on the board.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Replica;
use super::board::{Board, Counts, Turn};
use super::desk::{Desk, Parts, Verdict, principal};
use super::mailbox::{Mailbox, Order};
use super::meters::TenantMeters;
use super::rate::Bucket;
use super::report::{Report, RunId, RunOutcome};
use super::run::{Ended, Run, Scope, locate};
use super::schedule::Schedule;
use super::state::{self, Memory};
use super::tally::{Exclusions, Tally};
use crate::clock::Timestamp;
use crate::events::{Bus, Event, EventKind};
use crate::identity::Principal;
use crate::seal::trim_memory;
use crate::secret::{Mode, SecretPath, SyncScope};

/// After a run over so many secrets memory is given back to the system.
const TRIM_AFTER: u64 = 1_000;
/// How often a station that waits for the index of names looks whether it is there.
const INDEX_POLL: Duration = Duration::from_millis(20);

/// What a station is made with.
pub(super) struct Tools {
    pub(super) parts: Parts,
    pub(super) bus: Bus,
    pub(super) meters: Arc<TenantMeters>,
    pub(super) board: Arc<Board>,
    pub(super) mailbox: Arc<Mailbox>,
}

/// One backend's task.
pub(super) struct Station {
    tools: Tools,
    replicas: watch::Receiver<Arc<Replica>>,
    replica: Arc<Replica>,
    principal: Arc<Principal>,
    schedule: Schedule,
    memory: Memory,
    exclusions: Exclusions,
    /// Paths that were looked at because they are to be there first.
    prefetched: Vec<SecretPath>,
    failures: u32,
}

/// What a waiting station woke up for.
enum Woke {
    /// There is another replica, or none any more.
    Changed(bool),
    Rung,
    Wanted(Vec<SecretPath>),
    Due,
}

impl Station {
    pub(super) fn new(tools: Tools, replicas: watch::Receiver<Arc<Replica>>) -> Self {
        let replica = replicas.borrow().clone();
        let principal = principal(&replica.tenant);
        Self {
            tools,
            replicas,
            replica,
            principal,
            schedule: Schedule::default(),
            memory: Memory::default(),
            exclusions: Exclusions::default(),
            prefetched: Vec::new(),
            failures: 0,
        }
    }

    /// Works until the backend is gone.
    pub(super) async fn work(mut self) {
        if !self.restore().await {
            return;
        }
        // what can be served comes before what has to be asked
        self.adopt();
        if self.replica.copies.denied_since().is_some() {
            // only a run can find out whether that is still so
            self.schedule.at_once();
        }
        self.settle().await;
        loop {
            if self.replicas.has_changed().is_err() {
                return;
            }
            let current = self.replicas.borrow_and_update().clone();
            if !Arc::ptr_eq(&current, &self.replica) {
                self.replica = current;
                self.adopt();
            }
            if !self.work_once().await {
                return;
            }
        }
    }

    /// One run or one wait; false if the backend is gone.
    async fn work_once(&mut self) -> bool {
        let first = self.to_prefetch();
        if !first.is_empty() {
            self.prefetched.clone_from(&self.replica.prefetch);
            self.refresh(first).await;
            return true;
        }
        let clock = self.tools.parts.clock.clone();
        match self.tools.mailbox.next(&*clock) {
            Some(Order::Paths(id, paths)) => {
                self.run(id, Scope::Paths(paths), true).await;
                return true;
            }
            Some(Order::Full(id)) => {
                self.run(id, Scope::Rules(self.schedule.all()), true).await;
                return true;
            }
            None => {}
        }
        let due = self.schedule.due(Instant::now());
        if !due.is_empty() {
            self.run(RunId::fresh(&*clock), Scope::Rules(due), false).await;
            return true;
        }
        self.tools.board.next_at(self.next_at());
        let (mailbox, copies) = (self.tools.mailbox.clone(), self.replica.copies.clone());
        let next = self.schedule.next();
        let woke = tokio::select! {
            changed = self.replicas.changed() => Woke::Changed(changed.is_ok()),
            () = mailbox.rung() => Woke::Rung,
            wanted = copies.wanted() => Woke::Wanted(wanted.into_iter().map(|(_, path)| path).collect()),
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => Woke::Due,
        };
        match woke {
            Woke::Wanted(paths) => self.refresh(paths).await,
            Woke::Changed(is_there) => return is_there,
            Woke::Rung | Woke::Due => {}
        }
        true
    }

    /// Reads what an earlier process left, once the names are known; false if the backend went meanwhile.
    async fn restore(&mut self) -> bool {
        while !self.replica.records.is_indexed() {
            sleep(INDEX_POLL).await;
            if self.replicas.has_changed().is_err() {
                return false;
            }
        }
        let (records, id) = (self.replica.records.clone(), self.replica.id.clone());
        match Memory::load(&records, id.as_str()) {
            Ok(memory) => self.memory = memory,
            Err(error) => self.warn("what was remembered of earlier runs cannot be read", &error.to_string()),
        }
        true
    }

    /// Follows the replica.
    fn adopt(&mut self) {
        let replica = self.replica.clone();
        if self.tools.parts.bucket.limit() != replica.rate_limit {
            self.tools.parts.bucket = Arc::new(Bucket::new(replica.rate_limit));
        }
        self.forget();
        let memory = &self.memory;
        self.schedule.adopt(&replica, |route| memory.whole_at(route), self.tools.parts.clock.now());
        for (settings, rule) in replica.rules.iter().zip(0_u32..) {
            let is_whole = settings.mode == Mode::Sync && settings.scope == SyncScope::All;
            let Some(known) = self.memory.rule(settings.route).filter(|known| is_whole && known.is_whole) else {
                continue;
            };
            if replica.copies.whole(rule) {
                continue;
            }
            for path in known.uncopied.iter().filter_map(|path| SecretPath::parse(path).ok()) {
                replica.copies.path_failed(&path);
            }
            replica.copies.run_ended(rule, Timestamp::from_micros(known.whole));
        }
        self.tools.board.aged(self.oldest());
        self.tools.board.ended(Some(Counts::of(&replica)));
    }

    /// Keeps in mind only what was said of rules that have been synced ever since.
    fn forget(&mut self) {
        let replica = &self.replica;
        let dropped = replica.copies.take_dropped();
        let is_synced =
            |route: u64| replica.rules.iter().any(|settings| settings.mode == Mode::Sync && settings.route == route);
        self.memory.retain(|route| is_synced(route) && !dropped.contains(&route));
    }

    /// Paths that are to be there first and were not looked at yet.
    fn to_prefetch(&self) -> Vec<SecretPath> {
        let wanted = self.replica.prefetch.iter().filter(|path| !self.prefetched.contains(path));
        wanted.filter(|path| locate(&self.replica, path).is_some()).cloned().collect()
    }

    /// Looks at a few paths by themselves; nobody asks for a report.
    async fn refresh(&mut self, paths: Vec<SecretPath>) {
        let id = RunId::fresh(&*self.tools.parts.clock);
        self.run(id, Scope::Paths(paths), false).await;
    }

    async fn settle(&self) {
        let clock = self.tools.parts.clock.clone();
        let id = RunId::fresh(&*clock).request_id(&*clock).to_string();
        match self.replica.settle_intents(&*clock, &id).await {
            Ok(settled) if settled.open > 0 => {
                self.warn("writes wait for the backend to tell what became of them", &settled.open.to_string());
            }
            Ok(_) => {}
            Err(error) => self.warn("writes that had not come to an end cannot be settled", &error.to_string()),
        }
    }

    async fn run(&mut self, id: RunId, scope: Scope, is_ordered: bool) {
        let clock = self.tools.parts.clock.clone();
        let (started, is_full) = (Instant::now(), matches!(scope, Scope::Rules(_)));
        let late_at = match &scope {
            Scope::Rules(rules) => started.checked_add(self.schedule.interval(rules)),
            Scope::Paths(_) => None,
        };
        let (mailbox, board) = (self.tools.mailbox.clone(), self.tools.board.clone());
        mailbox.begin(&id);
        board.began(&id, late_at);
        if is_full {
            self.settle().await;
            self.exclusions.next_run();
        }
        let named = if is_full { "full" } else { "paths" };
        let report = Report { id: id.to_string(), scope: named.to_owned(), ..Report::default() };
        let exclusions = std::mem::take(&mut self.exclusions);
        let mut tally = Tally::new(self.replica.clone(), self.tools.bus.clone(), report, exclusions);
        if let Some(last) = board.last_full().filter(|_| is_full) {
            tally.knows(&last);
        }
        let request_id = id.request_id(&*clock);
        let desk = Desk::new(self.replica.clone(), self.tools.parts.clone(), self.principal.clone(), request_id);
        let run = Run::new(Arc::new(desk), (&*board, &*mailbox, &self.memory), tally, scope.clone());
        let ended = run.drive(&mut self.replicas).await;
        board.ended(is_full.then(|| Counts::of(&self.replica)));
        let is_awaited = is_ordered || mailbox.is_promised(&id);
        let found = ended.report.found;
        self.after(ended, scope, started, is_awaited).await;
        mailbox.told(&id);
        if found >= TRIM_AFTER {
            // what a large run needed is not needed again for long
            trim_memory();
        }
    }

    /// What a run taught.
    async fn after(&mut self, ended: Ended, scope: Scope, started: Instant, is_ordered: bool) {
        let Ended { report, exclusions, verdict, whole, is_ordered: was_ordered, is_telling, took } = ended;
        self.exclusions = exclusions;
        let is_full = matches!(scope, Scope::Rules(_));
        self.contacted(verdict, is_full, is_telling);
        self.tools.meters.count(&report, is_full);
        if !is_full && !is_ordered && !was_ordered {
            if verdict == Verdict::Lost {
                let rules = self.schedule.all();
                self.schedule.hurry(&rules, self.failures.max(1));
            }
            if self.memory.denied_since != self.denied_since() {
                self.save(None, &[]).await;
            }
            return;
        }
        for (route, rule) in whole {
            self.memory.learn(route, rule);
        }
        if let Scope::Rules(rules) = &scope {
            self.forget();
            self.memory.runs += 1;
            let is_late = took > self.schedule.interval(rules);
            self.failures = self.tools.board.ran(&report, is_late, self.oldest());
            match report.outcome {
                RunOutcome::Failed => self.schedule.failed(rules, self.failures),
                RunOutcome::Cancelled if !self.is_current() => {}
                _ => self.schedule.ended(rules, started),
            }
            self.tell(&report);
        }
        let old = self.tools.board.keep(report.clone());
        self.save(Some(&report), &old).await;
    }

    async fn save(&mut self, report: Option<&Report>, old: &[String]) {
        self.memory.denied_since = self.denied_since();
        if let Err(error) = state::keep(&self.replica, &self.memory, report, old).await {
            self.warn("what a run taught cannot be kept", &error.to_string());
        }
    }

    /// In microseconds; 0: the backend does not deny us.
    fn denied_since(&self) -> u64 {
        self.replica.copies.denied_since().map_or(0, Timestamp::micros)
    }

    /// Whether the replica is still the one to work for.
    fn is_current(&self) -> bool {
        self.replicas.has_changed().is_ok() && Arc::ptr_eq(&self.replicas.borrow(), &self.replica)
    }

    /// What the answers said about the backend. A few paths that are denied are not the backend, so only a whole run finds
    /// a denial; only a telling one ends it.
    fn contacted(&self, verdict: Verdict, is_full: bool, is_telling: bool) {
        let copies = &self.replica.copies;
        let turn = match verdict {
            Verdict::Fine | Verdict::Denied => self.tools.board.reached(),
            Verdict::Lost => self.tools.board.lost(),
            Verdict::Unknown => None,
        };
        match turn {
            Some(Turn::Unreachable) => self.emit(EventKind::BackendUnreachable, serde_json::json!({})),
            Some(Turn::Recovered) => self.emit(EventKind::BackendRecovered, serde_json::json!({})),
            None => {}
        }
        match verdict {
            Verdict::Fine if is_telling => copies.not_denied(),
            Verdict::Denied if is_full && copies.denied_since().is_none() => {
                let now = self.tools.parts.clock.now();
                copies.denied(now);
                self.emit(EventKind::BackendDenied, serde_json::json!({"since": now.rfc3339()}));
            }
            Verdict::Fine | Verdict::Denied | Verdict::Lost | Verdict::Unknown => {}
        }
    }

    fn tell(&self, report: &Report) {
        let (tenant, backend) = (self.replica.tenant.as_str(), &*self.replica.name);
        tracing::info!(
            tenant,
            backend,
            run = %report.id,
            outcome = report.outcome.as_str(),
            created = report.created,
            updated = report.updated,
            deleted = report.deleted,
            skipped = report.skipped_count,
            errors = report.error_count,
            calls = report.calls,
            duration_ms = report.duration_ms,
            "a sync run ended"
        );
        let kind = match report.outcome {
            RunOutcome::Completed | RunOutcome::Partial => EventKind::SyncCompleted,
            RunOutcome::Failed => EventKind::SyncFailed,
            RunOutcome::Cancelled => return,
        };
        let first = report.errors.first();
        let data = serde_json::json!({
            "run": report.id,
            "outcome": report.outcome.as_str(),
            "read": report.read,
            "created": report.created,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "deleted": report.deleted,
            "pushed": report.pushed,
            "skipped": report.skipped_count,
            "conflicts": report.conflicts,
            "errors": report.error_count,
            "first_error": first.map(|failure| failure.error.clone()),
            "duration_ms": report.duration_ms,
        });
        self.emit(kind, data);
    }

    fn emit(&self, kind: EventKind, data: serde_json::Value) {
        let backend = Some((self.replica.id.clone(), self.replica.name.clone()));
        self.tools.bus.emit(Event { tenant: self.replica.tenant.clone(), kind, backend, data });
    }

    fn warn(&self, what: &'static str, error: &str) {
        let (tenant, backend) = (self.replica.tenant.as_str(), &*self.replica.name);
        tracing::warn!(tenant, backend, error, "{what}");
    }

    /// The oldest of the rules' last whole runs; `None` until each had one.
    fn oldest(&self) -> Option<Timestamp> {
        let synced = self.replica.rules.iter().filter(|settings| settings.mode == Mode::Sync);
        let ages: Option<Vec<Timestamp>> = synced.map(|settings| self.memory.whole_at(settings.route)).collect();
        ages?.into_iter().min()
    }

    fn next_at(&self) -> Option<Timestamp> {
        let wait = self.schedule.next()?.saturating_duration_since(Instant::now());
        Some(self.tools.parts.clock.now().after(wait))
    }
}
