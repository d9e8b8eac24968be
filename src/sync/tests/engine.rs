//! The engine itself: stations, orders, reports that outlive it, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use super::fake::Fake;
use super::rig::{Directory, auditor, path, replica, until};
use crate::clock::{ManualClock, SystemClock, Timestamp};
use crate::events::Bus;
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec};
use crate::secret::{BackendId, Mode, RemoteName, SecretPath, SyncScope, Tenant};
use crate::sync::report::{Health, Report, RunOutcome};
use crate::sync::{Copies, Engine, Hint, Replica};
use crate::telemetry::Metrics;

struct Bench {
    engine: Arc<Engine>,
    bus: Bus,
    fake: Arc<Fake>,
    replica: Arc<Replica>,
    tenant: Tenant,
    id: BackendId,
    _directory: Directory,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Replica)) -> Self {
        let fake = Fake::new(Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000))));
        let replica = Arc::new(replica(fake.clone(), change));
        Self::of(fake, replica)
    }

    fn of(fake: Arc<Fake>, replica: Arc<Replica>) -> Self {
        let directory = Directory::new();
        let bus = Bus::new(Arc::new(SystemClock));
        let engine = Engine::new(Arc::new(SystemClock), auditor(&directory), bus.clone(), Metrics::new());
        let (tenant, id) = (replica.tenant.clone(), replica.id.clone());
        Self { engine, bus, fake, replica, tenant, id, _directory: directory }
    }

    fn start(&self) {
        self.engine.keep(vec![self.replica.clone()]);
        self.engine.attach(tokio::runtime::Handle::current());
    }

    /// Orders a run and waits for its report.
    async fn run(&self, paths: Option<Vec<SecretPath>>) -> Report {
        let run = self.engine.sync_now(&self.tenant, &self.id, paths).unwrap();
        until("the run ends", || self.engine.run(&self.tenant, &self.id, run.as_str()).is_some()).await;
        self.engine.run(&self.tenant, &self.id, run.as_str()).unwrap()
    }
}

#[tokio::test]
async fn an_ordered_run_is_done_and_reported_and_another_backend_is_not_there() {
    let bench = Bench::new(|_| {});
    bench.fake.put("kv/data/a", "1");
    let other = BackendId::from_bytes([9; 16]);
    assert!(bench.engine.sync_now(&bench.tenant, &bench.id, None).is_none(), "nothing is kept yet");
    bench.start();
    assert!(bench.engine.sync_now(&bench.tenant, &other, None).is_none());
    let foreign = Tenant::parse("other").unwrap();
    assert!(bench.engine.sync_now(&foreign, &bench.id, None).is_none());
    assert!(bench.engine.status(&foreign, &bench.id).is_none());
    let report = bench.run(None).await;
    assert_eq!((report.outcome, report.scope.as_str()), (RunOutcome::Completed, "full"));
    bench.fake.put("kv/data/a", "2");
    let report = bench.run(Some(vec![path("apps/a")])).await;
    assert_eq!((report.scope.as_str(), report.updated), ("paths", 1), "{report:?}");
    let status = bench.engine.status(&bench.tenant, &bench.id).unwrap();
    assert_eq!((status.state, status.secrets_synced, status.conflicts), (Health::Healthy, 1, 0));
    assert!(status.last_sync_at.is_some() && status.staleness_seconds.is_some());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["state"], "healthy");
    assert!(!bench.engine.cancel(&bench.tenant, &bench.id), "nothing runs");
    bench.engine.stop().await;
    assert!(bench.engine.status(&bench.tenant, &bench.id).is_none());
}

#[tokio::test]
async fn what_a_reader_wants_is_fetched_without_anybody_ordering_it() {
    let bench = Bench::new(|replica| {
        replica.rules[0].scope = SyncScope::Demand;
        replica.prefetch = vec![path("apps/first")];
    });
    bench.fake.put("kv/data/first", "1");
    bench.fake.put("kv/data/wanted", "1");
    bench.start();
    let has = |name: &str| bench.replica.records.stored(&path(name)).is_some();
    until("the prefetched path is there", || has("apps/first")).await;
    bench.replica.copies.want(0, &path("apps/wanted"));
    until("the wanted path is there", || has("apps/wanted")).await;
    bench.engine.stop().await;
}

fn hint(bench: &Bench, remote: &str) -> Hint {
    bench.engine.hint(&bench.tenant, &bench.id, &RemoteName::parse(remote).unwrap())
}

#[tokio::test]
async fn a_hint_has_one_path_looked_at_and_makes_no_report() {
    let bench = Bench::new(|_| {});
    bench.fake.put("kv/data/a", "1");
    assert_eq!(hint(&bench, "kv/data/a"), Hint::Elsewhere, "nothing is kept yet");
    bench.start();
    bench.run(None).await;
    let reports = bench.engine.runs(&bench.tenant, &bench.id).len();
    bench.fake.put("kv/data/a", "2");
    bench.fake.put("kv/data/b", "1");
    bench.fake.put("kv/data/new", "1");
    let current = |name: &str| bench.replica.records.stored(&path(name)).map_or(0, |stored| stored.current);
    for remote in ["kv/data/a", "kv/data/new"] {
        assert_eq!(hint(&bench, remote), Hint::Taken, "{remote}");
    }
    until("what was hinted at is copied", || current("apps/a") == 2 && current("apps/new") == 1).await;
    assert_eq!(current("apps/b"), 0, "nothing else is looked at");
    for remote in ["kv/metadata/a", "other/data/a", "kv/data/a b"] {
        assert_eq!(hint(&bench, remote), Hint::Elsewhere, "{remote}");
    }
    let foreign =
        bench.engine.hint(&Tenant::parse("other").unwrap(), &bench.id, &RemoteName::parse("kv/data/a").unwrap());
    assert_eq!(foreign, Hint::Elsewhere);
    assert_eq!(bench.engine.runs(&bench.tenant, &bench.id).len(), reports);
    bench.engine.stop().await;
    assert_eq!(hint(&bench, "kv/data/a"), Hint::Elsewhere);
}

#[tokio::test]
async fn where_copies_are_made_on_demand_a_hint_makes_none() {
    let bench = Bench::new(|replica| replica.rules[0].scope = SyncScope::Demand);
    bench.fake.put("kv/data/read", "1");
    bench.fake.put("kv/data/unread", "1");
    bench.start();
    assert_eq!(hint(&bench, "kv/data/read"), Hint::Elsewhere, "nobody has read it yet");
    bench.replica.copies.want(0, &path("apps/read"));
    let current = || bench.replica.records.stored(&path("apps/read")).map_or(0, |stored| stored.current);
    until("the copy is there", || current() == 1).await;
    bench.fake.put("kv/data/read", "2");
    assert_eq!(hint(&bench, "kv/data/unread"), Hint::Elsewhere);
    assert_eq!(hint(&bench, "kv/data/read"), Hint::Taken);
    until("the copy follows", || current() == 2).await;
    bench.engine.stop().await;
}

#[tokio::test]
async fn more_hints_than_there_is_room_for_are_dropped() {
    let bench = Bench::new(|_| {});
    // nothing works on them yet
    bench.engine.keep(vec![bench.replica.clone()]);
    let taken = (0..1_200).filter(|n| hint(&bench, &format!("kv/data/{n}")) == Hint::Taken).count();
    assert_eq!(taken, 1_000);
    assert_eq!(hint(&bench, "kv/data/one-more"), Hint::TooMany);
    assert_eq!(hint(&bench, "kv/data/7"), Hint::Taken, "it waits already");
}

#[tokio::test]
async fn reports_and_wholeness_outlive_the_engine() {
    let bench = Bench::new(|_| {});
    bench.fake.put("kv/data/a", "1");
    bench.fake.put("kv/data/large", &"x".repeat(2000));
    bench.start();
    let report = bench.run(None).await;
    bench.engine.stop().await;
    let records = bench.replica.records.clone();
    let copies = Arc::new(Copies::new(1));
    let restarted = replica(bench.fake.clone(), |replica| {
        (replica.records, replica.copies) = (records, copies.clone());
    });
    bench.fake.set(|switches| switches.lost = true);
    let later = Bench::of(bench.fake.clone(), Arc::new(restarted));
    later.start();
    until("it remembers", || copies.whole(0)).await;
    assert!(copies.checked_at(0, &path("apps/a"), 0) > Timestamp::from_secs(1));
    assert!(copies.is_failing(0, &path("apps/large")), "its reads go through, also after a restart");
    assert_eq!(later.engine.run(&later.tenant, &later.id, &report.id), Some(report));
    later.engine.stop().await;
}

/// `apps/**`, behind another backend's `apps/db/**` or not.
fn routed(is_shadowed: bool) -> Router {
    let backend = |name: &str, from: &str, to: &str, mode| {
        let rule = RuleSpec { from: from.to_owned(), to: to.to_owned(), ..RuleSpec::default() };
        let rules = vec![RouteSpec { rule, mode, kv_version: None, writable: true }];
        BackendRules { backend: name.into(), rules }
    };
    let mut backends = vec![backend("vault", "apps/**", "kv/data/**", Mode::Sync)];
    if is_shadowed {
        backends.insert(0, backend("other", "apps/db/**", "db/data/**", Mode::Proxy));
    }
    Router::compile(&backends, &[], false).ok().unwrap()
}

/// A replica with what another one kept.
fn successor(before: &Replica, fake: &Arc<Fake>, is_shadowed: bool, copies: Arc<Copies>) -> Arc<Replica> {
    let records = before.records.clone();
    Arc::new(replica(fake.clone(), |replica| {
        (replica.records, replica.copies) = (records, copies);
        (replica.router, replica.index) = (Arc::new(routed(is_shadowed)), u32::from(is_shadowed));
    }))
}

#[tokio::test]
async fn w17_what_an_earlier_rule_no_longer_takes_is_not_taken_for_absent() {
    let fake = Fake::new(Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000))));
    let first = Arc::new(replica(fake.clone(), |replica| {
        (replica.router, replica.index) = (Arc::new(routed(true)), 1);
    }));
    let bench = Bench::of(fake.clone(), first.clone());
    fake.put("kv/data/a", "1");
    fake.put("kv/data/db/x", "1");
    bench.start();
    assert_eq!(bench.run(None).await.skipped_count, 1, "the earlier rule has it");
    assert!(first.copies.whole(0));

    // a configuration that says the same changes nothing
    bench.engine.keep(vec![successor(&first, &fake, true, first.copies.clone())]);
    assert!(first.copies.whole(0));
    let unshadowed = successor(&first, &fake, false, first.copies.clone());
    bench.engine.keep(vec![unshadowed.clone()]);
    assert!(!unshadowed.copies.whole(0), "reads of what is not copied go live");
    until("it is copied", || unshadowed.records.stored(&path("apps/db/x")).is_some()).await;
    until("all is known again", || unshadowed.copies.whole(0)).await;
    bench.engine.stop().await;
}

#[tokio::test]
async fn w17_a_rule_that_went_while_nobody_looked_is_noticed_too() {
    for is_shadowed in [true, false] {
        let fake = Fake::new(Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000))));
        let first = Arc::new(replica(fake.clone(), |replica| {
            (replica.router, replica.index) = (Arc::new(routed(true)), 1);
        }));
        let bench = Bench::of(fake.clone(), first.clone());
        fake.put("kv/data/db/x", "1");
        bench.start();
        bench.run(None).await;
        bench.engine.stop().await;
        fake.set(|switches| switches.lost = true);
        let later = successor(&first, &fake, is_shadowed, Arc::new(Copies::new(1)));
        let restarted = Bench::of(fake.clone(), later.clone());
        restarted.start();
        assert_eq!(restarted.run(None).await.outcome, RunOutcome::Failed);
        assert_eq!(later.copies.whole(0), is_shadowed);
        restarted.engine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let bench = Bench::new(|replica| replica.rules[0].interval = Duration::from_secs(20));
    bench.fake.put("kv/data/a", "1");
    bench.fake.set(|switches| switches.lost = true);
    let mut events = bench.bus.subscribe(&bench.tenant);
    bench.start();
    let mut told: Vec<String> = Vec::new();
    let mut next = async || {
        let event: serde_json::Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        event["type"].as_str().unwrap().to_owned()
    };
    while told.last().is_none_or(|kind| kind != "federation.backend.unreachable") {
        told.push(next().await);
    }
    assert!(told.len() >= 4, "three failures come first: {told:?}");
    assert_eq!(bench.engine.status(&bench.tenant, &bench.id).unwrap().state, Health::Unreachable);
    for _ in 0..10 {
        assert_eq!(next().await, "federation.sync.failed", "it is told once");
    }
    bench.fake.set(|switches| switches.lost = false);
    while told.last().is_none_or(|kind| kind != "federation.sync.completed") {
        told.push(next().await);
    }
    let recovered = told.iter().filter(|kind| *kind == "federation.backend.recovered").count();
    assert_eq!(recovered, 1, "{told:?}");
    assert_ne!(bench.engine.status(&bench.tenant, &bench.id).unwrap().state, Health::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_told_once_and_shows_until_we_are_let_in() {
    let bench = Bench::new(|replica| replica.rules[0].interval = Duration::from_secs(20));
    bench.fake.put("kv/data/a", "1");
    bench.fake.set(|switches| switches.denied = true);
    let mut events = bench.bus.subscribe(&bench.tenant);
    bench.start();
    let mut told: Vec<String> = Vec::new();
    while told.len() < 6 {
        let event: serde_json::Value = serde_json::from_str(&events.next().await.unwrap()).unwrap();
        told.push(event["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.iter().filter(|kind| *kind == "federation.backend.denied").count(), 1, "{told:?}");
    assert!(bench.replica.copies.denied_since().is_some());
    assert_eq!(bench.engine.status(&bench.tenant, &bench.id).unwrap().state, Health::Denied);
    bench.fake.set(|switches| switches.denied = false);
    until("we are let in", || bench.replica.copies.denied_since().is_none()).await;
}

#[tokio::test]
async fn exactly_the_kept_backends_are_worked_for() {
    let bench = Bench::new(|_| {});
    bench.start();
    let same = bench.engine.sync_now(&bench.tenant, &bench.id, None);
    assert!(same.is_some());
    bench.engine.keep(vec![bench.replica.clone()]);
    assert!(bench.engine.status(&bench.tenant, &bench.id).is_some());
    bench.engine.keep(Vec::new());
    assert!(bench.engine.status(&bench.tenant, &bench.id).is_none());
    bench.engine.stop().await;
    bench.engine.keep(vec![bench.replica.clone()]);
    assert!(bench.engine.status(&bench.tenant, &bench.id).is_none(), "it was stopped");
}
