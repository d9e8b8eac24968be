//! A replica of the fake server and everything a run needs, without an engine: runs go one by one, when a test says so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::fake::Fake;
use crate::audit::{AuditKey, AuditSettings, Auditor, SinkKind, SinkSettings};
use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::events::{Bus, Subscription};
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec};
use crate::policy::Policies;
use crate::seal::{Barrier, Change, Head, KeyProvider as _, RandomKey, Records, edit};
use crate::secret::{
    BackendId, ConflictOn, ConflictPolicy, History, Mode, OnBackendDelete, RuleSettings, SecretPath, SecretType,
    SecretValue, SyncScope, Tenant, WriteMode,
};
use crate::store::MemoryStore;
use crate::sync::board::Board;
use crate::sync::desk::{Desk, Latency, Parts, Verdict, principal};
use crate::sync::mailbox::Mailbox;
use crate::sync::rate::Bucket;
use crate::sync::report::{Report, RunId};
use crate::sync::run::{Ended, Run, Scope};
use crate::sync::state::Memory;
use crate::sync::tally::{Exclusions, Tally};
use crate::sync::{Copies, Replica};

/// An empty directory, closed to others, gone when dropped.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("scaivault-sync-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    /// Every line of the trail that is about a call.
    pub(super) fn lines(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.0.join("audit.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line.get("operation").is_some()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn auditor(directory: &Directory) -> Arc<Auditor> {
    let sink = SinkSettings { kind: SinkKind::File { path: directory.0.join("audit.jsonl") }, required: true };
    let settings = AuditSettings::new(AuditKey::from_bytes([7; 32]), "node-1".to_owned(), vec![sink]);
    Auditor::start(AuditSettings { budget: Duration::from_secs(60), ..settings }, Arc::new(SystemClock)).unwrap()
}

pub(super) fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

pub(super) fn settings() -> RuleSettings {
    RuleSettings {
        mode: Mode::Sync,
        interval: Duration::from_secs(3600),
        scope: SyncScope::All,
        write_mode: WriteMode::Disabled,
        history: History::None,
        max_versions: 10,
        max_stale: None,
        deny_grace: None,
        route: 7,
        kv2_segment: Some(1),
    }
}

/// A replica of the fake server, `apps/**` on `kv/data/**`, with what a test wants otherwise.
pub(super) fn replica(client: Arc<Fake>, change: impl FnOnce(&mut Replica)) -> Replica {
    let rule = RuleSpec { from: "apps/**".into(), to: "kv/data/**".into(), ..RuleSpec::default() };
    let rules = vec![RouteSpec { rule, mode: Mode::Sync, kv_version: None, writable: true }];
    let router = Router::compile(&[BackendRules { backend: "vault".into(), rules }], &[], false).ok().unwrap();
    let root = RandomKey.root_key().unwrap();
    let barrier = Barrier::new(&root, [0; 16], &Tenant::default_tenant());
    let mut replica = Replica {
        tenant: Tenant::default_tenant(),
        id: BackendId::from_bytes([1; 16]),
        name: "vault".into(),
        index: 0,
        client,
        records: Arc::new(Records::new(barrier, Arc::new(MemoryStore::default()))),
        router: Arc::new(router),
        rules: vec![settings()],
        conflict_on: ConflictOn::Both,
        conflict_policy: ConflictPolicy::BackendWins,
        on_backend_delete: OnBackendDelete::Delete,
        rate_limit: None,
        prefetch: Vec::new(),
        max_value_bytes: 1000,
        copies: Arc::new(Copies::new(1)),
    };
    change(&mut replica);
    replica
}

pub(super) struct Rig {
    pub(super) fake: Arc<Fake>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) replica: Arc<Replica>,
    pub(super) replicas: watch::Sender<Arc<Replica>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) board: Arc<Board>,
    pub(super) memory: Memory,
    pub(super) events: Subscription,
    pub(super) verdict: Verdict,
    exclusions: Exclusions,
    parts: Parts,
    bus: Bus,
    directory: Directory,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Replica)) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000)));
        let fake = Fake::new(clock.clone());
        let replica = Arc::new(replica(fake.clone(), change));
        let directory = Directory::new();
        let bus = Bus::new(clock.clone());
        let parts = Parts {
            clock: clock.clone(),
            auditor: auditor(&directory),
            policies: Arc::new(Policies::system()),
            bucket: Arc::new(Bucket::new(replica.rate_limit)),
            latency: Arc::new(Latency::default()),
        };
        Self {
            fake,
            clock,
            replicas: watch::Sender::new(replica.clone()),
            events: bus.subscribe(&replica.tenant),
            replica,
            mailbox: Arc::default(),
            board: Arc::default(),
            memory: Memory::default(),
            verdict: Verdict::Unknown,
            exclusions: Exclusions::default(),
            parts,
            bus,
            directory,
        }
    }

    /// One whole run.
    pub(super) async fn sync(&mut self) -> Report {
        let rules = (0_u32..).take(self.replica.rules.len()).collect();
        self.run(Scope::Rules(rules)).await
    }

    pub(super) async fn run(&mut self, scope: Scope) -> Report {
        self.clock.advance(Duration::from_secs(1));
        let clock: Arc<dyn Clock> = self.clock.clone();
        let id = RunId::fresh(&*clock);
        self.mailbox.begin(&id);
        let mut exclusions = std::mem::take(&mut self.exclusions);
        if matches!(scope, Scope::Rules(_)) {
            exclusions.next_run();
        }
        let report = Report { id: id.to_string(), scope: "full".to_owned(), ..Report::default() };
        let tally = Tally::new(self.replica.clone(), self.bus.clone(), report, exclusions);
        let principal = principal(&self.replica.tenant);
        let desk = Desk::new(self.replica.clone(), self.parts.clone(), principal, id.request_id(&*clock));
        let run = Run::new(Arc::new(desk), (&*self.board, &*self.mailbox, &self.memory), tally, scope);
        let mut receiver = self.replicas.subscribe();
        let Ended { report, exclusions, verdict, whole, .. } = run.drive(&mut receiver).await;
        self.exclusions = exclusions;
        self.verdict = verdict;
        for (route, rule) in whole {
            self.memory.learn(route, rule);
        }
        report
    }

    pub(super) fn head(&self, name: &str) -> Option<Head> {
        self.replica.records.head(&path(name)).unwrap()
    }

    /// The current value of a copy, if it may be read and is here.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let head = self.head(name)?;
        let version = head.versions.get(&head.current)?;
        let value = self.replica.records.value(&path(name), head.current).unwrap()?;
        let is_served = version.held && version.is_readable(self.clock.now());
        is_served.then(|| String::from_utf8(value.expose().to_vec()).unwrap())
    }

    /// The values of all versions a copy holds.
    pub(super) fn values(&self, name: &str) -> BTreeMap<u64, String> {
        let Some(head) = self.head(name) else { return BTreeMap::new() };
        let value = |number: &u64| {
            let value = self.replica.records.value(&path(name), *number).unwrap()?;
            Some((*number, String::from_utf8(value.expose().to_vec()).unwrap()))
        };
        head.versions.keys().filter_map(value).collect()
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.replica.records.len()
    }

    /// A change made here and nowhere else, as a write with `write_mode: local` makes it.
    pub(super) async fn edit(
        &self,
        name: &str,
        change: impl FnOnce(&mut Head) -> (Option<(u64, SecretValue)>, Vec<u64>),
    ) {
        self.clock.advance(Duration::from_secs(1));
        let records = &self.replica.records;
        let writer = records.writer().await;
        let mut head = self.head(name).unwrap();
        let (value, gone) = change(&mut head);
        let values = value.into_iter().collect();
        let change = Change { path: path(name), head: Some(head), values, gone };
        records.commit_all(&writer, vec![change], Vec::new()).await.unwrap();
    }

    pub(super) async fn put_here(&self, name: &str, text: &str) {
        let now = self.clock.now();
        let value = SecretValue::copy_of(text.as_bytes());
        self.edit(name, |head| {
            let (info, gone) = edit::put(head, SecretType::Json, None, 10, now);
            (Some((info.version, value)), gone)
        })
        .await;
    }

    /// Every line of the trail so far.
    pub(super) fn trail(&self) -> Vec<serde_json::Value> {
        self.directory.lines()
    }

    /// The kinds of all events so far.
    pub(super) async fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), self.events.next()).await {
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            told.push(event["type"].as_str().unwrap().to_owned());
        }
        told
    }
}

/// Waits for what other tasks bring about.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
