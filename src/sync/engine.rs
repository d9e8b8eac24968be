//! All backends' stations: made, replaced and ended with the configuration, asked and told from any thread.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Replica;
use super::board::Board;
use super::desk::Parts;
use super::hint::{self, Hint};
use super::mailbox::Mailbox;
use super::meters::{Levels, Meters};
use super::rate::Bucket;
use super::report::{Health, Report, RunId, Status};
use super::state::{self, Memory};
use super::station::{Station, Tools};
use crate::audit::Auditor;
use crate::clock::{Clock, Timestamp};
use crate::events::Bus;
use crate::policy::Policies;
use crate::seal::{Records, SealError};
use crate::secret::{BackendId, Mode, RemoteName, SecretPath, SyncScope, Tenant};
use crate::telemetry::Metrics;

/// How often metrics show the state of all backends.
const SHOWN_EVERY: Duration = Duration::from_secs(5);
/// How long stations have to come to an end when the process does.
const PATIENCE: Duration = Duration::from_secs(10);

type Key = (Tenant, BackendId);

/// Runs the syncs of all tenants. Shared by `Arc`; nothing runs before [`Self::attach`].
pub struct Engine {
    clock: Arc<dyn Clock>,
    auditor: Arc<Auditor>,
    bus: Bus,
    meters: Meters,
    policies: Arc<Policies>,
    desk: Mutex<Posts>,
}

#[derive(Default)]
struct Posts {
    runtime: Option<Handle>,
    stations: HashMap<Key, Post>,
    /// Stations that were told to end.
    ending: Vec<JoinHandle<()>>,
    upkeep: Option<JoinHandle<()>>,
    is_stopped: bool,
}

/// The engine's end of one station.
struct Post {
    replica: watch::Sender<Arc<Replica>>,
    board: Arc<Board>,
    mailbox: Arc<Mailbox>,
    /// How many hints are followed.
    hints: Arc<Bucket>,
    task: Option<JoinHandle<()>>,
}

impl Engine {
    /// An engine without backends.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, auditor: Arc<Auditor>, events: Bus, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            clock,
            auditor,
            bus: events,
            meters: Meters::new(metrics),
            policies: Arc::new(Policies::system()),
            desk: Mutex::default(),
        })
    }

    /// Starts working on a runtime; later calls do nothing.
    pub fn attach(self: &Arc<Self>, runtime: Handle) {
        let mut posts = self.lock();
        if posts.runtime.is_some() || posts.is_stopped {
            return;
        }
        for post in posts.stations.values_mut() {
            self.start(post, &runtime);
        }
        let engine = Arc::downgrade(self);
        posts.upkeep = Some(runtime.spawn(async move {
            loop {
                tokio::time::sleep(SHOWN_EVERY).await;
                let Some(engine) = engine.upgrade() else { return };
                engine.show();
            }
        }));
        posts.runtime = Some(runtime);
    }

    /// Works for exactly these from now on. A run of a backend whose replica is another one now is given up; what it has
    /// not stored yet is discarded.
    pub fn keep(&self, replicas: Vec<Arc<Replica>>) {
        let mut posts = self.lock();
        let mut before = std::mem::take(&mut posts.stations);
        if posts.is_stopped {
            return;
        }
        for replica in replicas {
            let key = (replica.tenant.clone(), replica.id.clone());
            let post = match before.remove(&key) {
                Some(post) => {
                    let old = post.replica.borrow().clone();
                    if !Arc::ptr_eq(&old, &replica) {
                        let leads_further = succeed(&old, &replica);
                        post.replica.send_replace(replica);
                        if leads_further {
                            // reads of what is not copied yet are live until then
                            post.mailbox.order(&*self.clock, None);
                        }
                    }
                    post
                }
                None => {
                    begin(&replica);
                    // at once, so that a restart is no gap in what can be asked
                    let board = Board::default();
                    match state::reports(&replica.records, &replica.id) {
                        Ok(reports) => board.restore(reports),
                        Err(error) => tracing::warn!(%error, "the reports of earlier runs cannot be read"),
                    }
                    let mut post = Post {
                        replica: watch::Sender::new(replica),
                        board: Arc::new(board),
                        mailbox: Arc::default(),
                        hints: Arc::new(Bucket::new(Some(hint::RATE))),
                        task: None,
                    };
                    if let Some(runtime) = &posts.runtime {
                        self.start(&mut post, runtime);
                    }
                    post
                }
            };
            posts.stations.insert(key, post);
        }
        for post in before.values() {
            // what is on its way must not be committed any more
            post.replica.borrow().copies.keep_routes(HashSet::new());
        }
        posts.ending.retain(|task| !task.is_finished());
        // without its sender, a station comes to its end
        posts.ending.extend(before.into_values().filter_map(|post| post.task));
    }

    /// Orders a run: of everything, or of these paths only. Paths join a run under way; everything else comes after it.
    /// Yields which run it will be, or `None` if there is no such backend.
    pub fn sync_now(&self, tenant: &Tenant, id: &BackendId, paths: Option<Vec<SecretPath>>) -> Option<RunId> {
        self.with(tenant, id, |post| post.mailbox.order(&*self.clock, paths))
    }

    /// Takes somebody's word that a backend has changed what it calls `remote`: its copy is looked at now, without a report.
    /// Nothing is believed but that a look may be worth its calls.
    pub fn hint(&self, tenant: &Tenant, id: &BackendId, remote: &RemoteName) -> Hint {
        let seen = self.with(tenant, id, |post| (post.replica.borrow().clone(), post.hints.clone()));
        seen.map_or(Hint::Elsewhere, |(replica, hints)| replica.hint(remote, &hints))
    }

    /// Cancels the backend's run: nothing new is begun, what was begun comes to its end and is kept. False if there is
    /// none.
    pub fn cancel(&self, tenant: &Tenant, id: &BackendId) -> bool {
        self.with(tenant, id, |post| post.mailbox.cancel()).unwrap_or(false)
    }

    /// How a backend is doing; `None` if there is no such backend. Costs a look at every record of the tenant.
    #[must_use]
    pub fn status(&self, tenant: &Tenant, id: &BackendId) -> Option<Status> {
        let seen = self.with(tenant, id, |post| (post.board.clone(), post.replica.borrow().clone()));
        seen.map(|(board, replica)| board.status(&replica, self.clock.now()))
    }

    /// The reports of a backend's last runs, newest first.
    #[must_use]
    pub fn runs(&self, tenant: &Tenant, id: &BackendId) -> Vec<Report> {
        let reports = self.with(tenant, id, |post| post.board.reports()).unwrap_or_default();
        reports.iter().map(|report| (**report).clone()).collect()
    }

    /// The report of one run, once it ended; `None` if it is too old or never was.
    #[must_use]
    pub fn run(&self, tenant: &Tenant, id: &BackendId, run: &str) -> Option<Report> {
        let reports = self.with(tenant, id, |post| post.board.reports())?;
        reports.iter().find(|report| report.id == run).map(|report| (**report).clone())
    }

    /// Whether a run was ordered or began and has no report yet. Who looks for a run asks this first: its report is kept
    /// before this says no.
    #[must_use]
    pub fn is_ordered(&self, tenant: &Tenant, id: &BackendId, run: &str) -> bool {
        self.with(tenant, id, |post| post.mailbox.is_open(run)).unwrap_or(false)
    }

    /// Removes what is remembered of a backend that is gone for good: reports and times, not its copies.
    ///
    /// # Errors
    /// When the store or the seal fails.
    pub async fn forget(&self, records: &Records, id: &BackendId) -> Result<(), SealError> {
        state::forget(records, id).await
    }

    /// Ends every station. What a run under way has begun to change on the other side comes to its end; what it has not
    /// stored yet is discarded. Waits ten seconds at most.
    pub async fn stop(&self) {
        let tasks: Vec<JoinHandle<()>> = {
            let mut posts = self.lock();
            posts.is_stopped = true;
            if let Some(upkeep) = posts.upkeep.take() {
                upkeep.abort();
            }
            let stations = std::mem::take(&mut posts.stations);
            let ending = std::mem::take(&mut posts.ending);
            stations.into_values().filter_map(|post| post.task).chain(ending).collect()
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for task in tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                abort.abort();
            }
        }
    }

    fn start(&self, post: &mut Post, runtime: &Handle) {
        let parts = Parts {
            clock: self.clock.clone(),
            auditor: self.auditor.clone(),
            policies: self.policies.clone(),
            bucket: Arc::new(Bucket::new(post.replica.borrow().rate_limit)),
            latency: post.board.latency.clone(),
        };
        let tools = Tools {
            parts,
            bus: self.bus.clone(),
            meters: self.meters.of(&post.replica.borrow().tenant),
            board: post.board.clone(),
            mailbox: post.mailbox.clone(),
        };
        post.task = Some(runtime.spawn(Station::new(tools, post.replica.subscribe()).work()));
    }

    fn show(&self) {
        let mut all: BTreeMap<Tenant, Levels> = BTreeMap::new();
        let now = self.clock.now();
        for post in self.lock().stations.values() {
            let replica = post.replica.borrow();
            let levels = all.entry(replica.tenant.clone()).or_default();
            let (health, counts, staleness) = post.board.gauges(&replica, now);
            let at = Health::ALL.iter().position(|known| *known == health);
            if let Some(backends) = at.and_then(|at| levels.backends.get_mut(at)) {
                *backends += 1;
            }
            levels.copies += counts.copies;
            levels.conflicts += counts.conflicts;
            levels.staleness = levels.staleness.max(staleness.unwrap_or(0));
            levels.saved += post.board.newly_saved(&replica);
        }
        self.meters.show(&all);
    }

    fn with<T>(&self, tenant: &Tenant, id: &BackendId, look: impl FnOnce(&Post) -> T) -> Option<T> {
        self.lock().stations.get(&(tenant.clone(), id.clone())).map(look)
    }

    fn lock(&self) -> MutexGuard<'_, Posts> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A replica of a backend nobody worked for: a denial holds until a run is let in again, also over a restart, and rules
/// that lead further than before it were not copied whole.
fn begin(replica: &Replica) {
    replica.copies.keep_routes(routes(replica, |_| true));
    match Memory::load(&replica.records, replica.id.as_str()) {
        Ok(memory) => {
            if memory.denied_since > 0 {
                replica.copies.denied(Timestamp::from_micros(memory.denied_since));
            }
            replica.forget_runs(&memory.widened(replica));
        }
        Err(error) => {
            let (tenant, backend) = (replica.tenant.as_str(), &*replica.name);
            tracing::warn!(tenant, backend, %error, "what was remembered of earlier runs cannot be read");
        }
    }
}

/// A replica takes another one's place: what is known of copies stays for rules that go on being copied whole and lead to
/// no path they did not lead to. Yields whether some lead further.
fn succeed(old: &Replica, new: &Replica) -> bool {
    new.copies.follow(&old.copies);
    new.copies.keep_routes(routes(new, |_| true));
    let is_all = |scope: SyncScope| scope == SyncScope::All;
    let (before, now) = (routes(old, is_all), routes(new, is_all));
    let widened = state::widened(&state::ahead(old), &state::ahead(new));
    let changed: Vec<u64> = before.symmetric_difference(&now).chain(&widened).copied().collect();
    old.forget_runs(&changed);
    new.forget_runs(&changed);
    !widened.is_empty()
}

/// The routes a replica syncs in one of these scopes.
fn routes(replica: &Replica, is_meant: impl Fn(SyncScope) -> bool) -> HashSet<u64> {
    let synced = replica.rules.iter().filter(|rule| rule.mode == Mode::Sync && is_meant(rule.scope));
    synced.map(|rule| rule.route).collect()
}
