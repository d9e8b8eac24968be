//! A KV version 2 server in memory that has bad days, and a replica of it. Without an engine: tests pull by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::{Ask, Backend, BackendError, Capabilities, Change, Listed};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec};
use crate::seal::{Barrier, DocumentKind, Head, KeyProvider as _, RandomKey, Records};
use crate::secret::{
    BackendId, ConflictOn, ConflictPolicy, Described, Folder, History, Metadata, Mode, OnBackendDelete, Outcome,
    PassCall, Precondition, RemoteName, Reply, RuleSettings, SecretAction, SecretPath, SecretRecord, SecretType,
    SecretValue, SyncScope, Tenant, VersionInfo, VersionSelector, VersionSet, VersionState, WriteMode, WriteOptions,
};
use crate::store::MemoryStore;
use crate::sync::write::{WriteError, selector_of};
use crate::sync::{Copies, Replica, mark};

/// What happens to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) enum Fate {
    /// Refused by our credential's rights.
    Denied,
    /// Carried out, and the answer is lost.
    LostAfter,
    /// Not carried out, and nobody knows.
    LostBefore,
    /// Somebody else writes instead, and the answer is lost.
    Overtaken,
    /// As `LostAfter`, and nothing answers from then on.
    LostAfterAndDown,
}

#[derive(Default)]
struct Server {
    secrets: BTreeMap<String, Secret>,
    fate: Option<Fate>,
    is_down: bool,
    /// Answers like an engine without versions.
    is_bare: bool,
    writes: u64,
    calls: u64,
}

#[derive(Default)]
struct Secret {
    metadata: Metadata,
    versions: Vec<(VersionInfo, Vec<u8>)>,
}

/// The server.
pub(in crate::sync) struct Fake {
    clock: Arc<ManualClock>,
    server: Mutex<Server>,
}

impl Fake {
    pub(in crate::sync) fn fate(&self, fate: Fate) {
        self.server.lock().unwrap().fate = Some(fate);
    }

    pub(in crate::sync) fn down(&self, is_down: bool) {
        self.server.lock().unwrap().is_down = is_down;
    }

    pub(in crate::sync) fn bare(&self) {
        self.server.lock().unwrap().is_bare = true;
    }

    /// Writes that were asked for, whatever became of them.
    pub(in crate::sync) fn writes(&self) -> u64 {
        self.server.lock().unwrap().writes
    }

    /// Somebody else writes.
    pub(in crate::sync) fn put(&self, name: &str, text: &str) {
        self.add(&mut self.server.lock().unwrap(), name, text.as_bytes());
    }

    /// Somebody else removes.
    pub(in crate::sync) fn remove(&self, name: &str) {
        self.server.lock().unwrap().secrets.remove(name);
    }

    /// Every version: its value, `-` if it is deleted and `x` if it is destroyed.
    pub(in crate::sync) fn versions(&self, name: &str) -> Vec<String> {
        let server = self.server.lock().unwrap();
        let show = |(info, value): &(VersionInfo, Vec<u8>)| match info.state {
            VersionState::Current => String::from_utf8(value.clone()).unwrap(),
            VersionState::Destroyed(_) => "x".to_owned(),
            _ => "-".to_owned(),
        };
        server.secrets.get(name).map(|secret| secret.versions.iter().map(show).collect()).unwrap_or_default()
    }

    pub(in crate::sync) fn metadata(&self, name: &str) -> Metadata {
        self.server.lock().unwrap().secrets.get(name).map(|secret| secret.metadata.clone()).unwrap_or_default()
    }

    fn add(&self, server: &mut Server, name: &str, value: &[u8]) -> VersionInfo {
        self.clock.advance(Duration::from_secs(1));
        let is_bare = server.is_bare;
        let versions = &mut server.secrets.entry(name.to_owned()).or_default().versions;
        if is_bare {
            versions.clear();
        }
        let created_at = if is_bare { Timestamp::default() } else { self.clock.now() };
        let version = versions.len() as u64 + 1;
        let info = VersionInfo { version, created_at, ..VersionInfo::default() };
        versions.push((info.clone(), value.to_vec()));
        info
    }

    fn carry(&self, server: &mut Server, name: &str, change: Change<'_>) -> Result<Outcome, BackendError> {
        let now = self.clock.now();
        if let Change::Put { value, expected, .. } = change {
            let current = server.secrets.get(name).map_or(0, |secret| secret.versions.len() as u64);
            return match expected {
                Some(_) if server.is_bare => Err(BackendError::Unsupported),
                Some(expected) if expected != current => Err(BackendError::Conflict),
                _ => Ok(Outcome::Written(self.add(server, name, value.expose()), Metadata::new())),
            };
        }
        if let Change::Metadata(metadata) = change {
            if server.is_bare {
                return Err(BackendError::Unsupported);
            }
            server.secrets.entry(name.to_owned()).or_default().metadata = metadata.clone();
            return Ok(Outcome::Done);
        }
        if matches!(change, Change::Purge) {
            return Ok(if server.secrets.remove(name).is_some() { Outcome::Done } else { Outcome::NotFound });
        }
        let Some(secret) = server.secrets.get_mut(name) else { return Ok(Outcome::NotFound) };
        let (set, state): (&VersionSet, fn(Timestamp) -> VersionState) = match change {
            Change::Delete(set, _) => (set, VersionState::Deleted),
            Change::Undelete(set) => (set, |_| VersionState::Current),
            Change::Destroy(set) => (set, |_| VersionState::Destroyed(None)),
            _ => return Err(BackendError::Unsupported),
        };
        let current = secret.versions.len() as u64;
        for (info, _) in &mut secret.versions {
            let is_meant = match set {
                VersionSet::Current => info.version == current,
                VersionSet::Numbers(numbers) => numbers.contains(&info.version),
                VersionSet::All => true,
            };
            if is_meant && !matches!(info.state, VersionState::Destroyed(_)) {
                info.state = state(now);
            }
        }
        Ok(Outcome::Done)
    }

    fn call(&self) -> Result<std::sync::MutexGuard<'_, Server>, BackendError> {
        let mut server = self.server.lock().unwrap();
        server.calls += 1;
        if server.is_down { Err(BackendError::Unavailable("the test server is down")) } else { Ok(server) }
    }
}

#[async_trait]
impl Backend for Fake {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_writes: true,
            versions: true,
            describe: true,
            soft_delete: true,
            ..Capabilities::default()
        }
    }

    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        let server = self.call()?;
        let found = server.secrets.get(ask.remote.as_str()).and_then(|secret| {
            let number = match version {
                VersionSelector::Number(number) => *number,
                _ => secret.versions.len() as u64,
            };
            let (info, value) = secret.versions.iter().find(|(info, _)| info.version == number)?;
            let value = info.state.is_readable().then(|| SecretValue::copy_of(value));
            let (metadata, info) = (secret.metadata.clone(), info.clone());
            Some(SecretRecord { value, secret_type: SecretType::Json, metadata, info, updated_at: None })
        });
        Ok(Reply::Neutral(found.map_or(Outcome::NotFound, |record| Outcome::Record(Box::new(record)))))
    }

    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        let server = self.call()?;
        if server.is_bare {
            return Err(BackendError::Unsupported);
        }
        let found = server.secrets.get(ask.remote.as_str()).map(|secret| Described {
            metadata: secret.metadata.clone(),
            current_version: secret.versions.len() as u64,
            oldest_version: 1,
            created_at: Timestamp::from_secs(1),
            updated_at: Timestamp::from_secs(1),
            versions: secret.versions.iter().map(|(info, _)| info.clone()).collect(),
            ..Described::default()
        });
        Ok(Reply::Neutral(found.map_or(Outcome::NotFound, |described| Outcome::Described(Box::new(described)))))
    }

    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, _: u32) -> Result<Reply, BackendError> {
        self.read(ask, version).await
    }

    async fn list(&self, _: Ask<'_>) -> Result<Listed, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn write(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        let mut server = self.call()?;
        server.writes += 1;
        let name = ask.remote.as_str();
        match server.fate.take() {
            None => self.carry(&mut server, name, change),
            Some(Fate::Denied) => Err(BackendError::Denied),
            Some(Fate::LostBefore) => Err(BackendError::Unknown("lost")),
            Some(Fate::Overtaken) => {
                self.add(&mut server, name, br#"{"by":"another"}"#);
                Err(BackendError::Unknown("lost"))
            }
            Some(fate @ (Fate::LostAfter | Fate::LostAfterAndDown)) => {
                self.carry(&mut server, name, change)?;
                server.is_down = fate == Fate::LostAfterAndDown;
                Err(BackendError::Unknown("lost"))
            }
        }
    }

    async fn pass(&self, _: Ask<'_>, _: &PassCall, _: bool) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn check(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn probe(&self, _: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        Ok(Vec::new())
    }

    fn calls(&self) -> u64 {
        self.server.lock().unwrap().calls
    }

    async fn tend(&self) {}
}

/// A replica with one rule, `app/**` on `secret/data/**`, and one secret: `app/db`.
pub(in crate::sync) struct Rig {
    pub(in crate::sync) replica: Replica,
    pub(in crate::sync) fake: Arc<Fake>,
    pub(in crate::sync) clock: Arc<ManualClock>,
    pub(in crate::sync) path: SecretPath,
    pub(in crate::sync) remote: RemoteName,
}

pub(in crate::sync) const NAME: &str = "secret/data/db";

pub(in crate::sync) fn settings() -> RuleSettings {
    RuleSettings {
        mode: Mode::Sync,
        interval: Duration::from_secs(60),
        scope: SyncScope::All,
        write_mode: WriteMode::WriteThrough,
        history: History::All,
        max_versions: 5,
        max_stale: None,
        deny_grace: None,
        route: 7,
        kv2_segment: Some(1),
    }
}

impl Rig {
    pub(in crate::sync) fn new(settings: RuleSettings) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1000)));
        let fake = Arc::new(Fake { clock: clock.clone(), server: Mutex::default() });
        let rule = RuleSpec { from: "app/**".to_owned(), to: "secret/data/**".to_owned(), ..RuleSpec::default() };
        let rules = vec![RouteSpec { rule, mode: Mode::Sync, kv_version: None, writable: true }];
        let local = [Folder::parse("local").unwrap()];
        let router = Router::compile(&[BackendRules { backend: "b".into(), rules }], &local, false).unwrap();
        let barrier = Barrier::new(&RandomKey.root_key().unwrap(), [0; 16], &Tenant::default_tenant());
        let replica = Replica {
            tenant: Tenant::default_tenant(),
            id: BackendId::from_bytes([1; 16]),
            name: "b".into(),
            index: 0,
            client: fake.clone(),
            records: Arc::new(Records::new(barrier, Arc::new(MemoryStore::default()))),
            router: Arc::new(router),
            rules: vec![settings],
            conflict_on: ConflictOn::Both,
            conflict_policy: ConflictPolicy::BackendWins,
            on_backend_delete: OnBackendDelete::Delete,
            rate_limit: None,
            prefetch: Vec::new(),
            max_value_bytes: 256,
            copies: Arc::new(Copies::new(1)),
        };
        let (path, remote) = (SecretPath::parse("app/db").unwrap(), RemoteName::parse(NAME).unwrap());
        Self { replica, fake, clock, path, remote }
    }

    /// With a first full run over, and one version of the secret copied.
    pub(in crate::sync) async fn synced(settings: RuleSettings) -> Self {
        let rig = Self::new(settings);
        rig.fake.put(NAME, r#"{"a":1}"#);
        rig.pull().await;
        rig.replica.copies.run_ended(0, rig.clock.now());
        rig
    }

    pub(in crate::sync) fn settings(&self) -> &RuleSettings {
        &self.replica.rules[0]
    }

    /// What a run would do for the one secret.
    pub(in crate::sync) async fn pull(&self) {
        let ask = self.replica.ask(self.settings(), &self.remote, "test");
        let mut sight = self.replica.look(ask, true).await.unwrap().unwrap();
        let head = self.replica.records.head(&self.path).unwrap();
        for info in self.replica.lacking(self.settings(), &sight, head.as_ref(), self.clock.now()) {
            let read = self.replica.value_at(ask, &selector_of(&info)).await.unwrap();
            sight.fetched.extend(read.map(|read| (info.version, read)));
        }
        let local = (head.as_ref(), head.is_some());
        let taken = self.replica.taken(self.settings(), &self.remote, sight, local, self.clock.now());
        let (head, values, gone) = (Some(taken.head), taken.values, taken.gone);
        let change = crate::seal::Change { path: self.path.clone(), head, values, gone };
        let writer = self.replica.records.writer().await;
        self.replica.records.commit_all(&writer, vec![change], Vec::new()).await.unwrap();
    }

    /// Stores a head as it is.
    pub(in crate::sync) async fn keep(&self, head: &Head) {
        let writer = self.replica.records.writer().await;
        self.replica.records.commit(&writer, &self.path, head, None, &[]).await.unwrap();
    }

    pub(in crate::sync) async fn act(&self, action: SecretAction) -> Result<Outcome, WriteError> {
        self.clock.advance(Duration::from_secs(1));
        self.replica.write(0, &self.path, &self.remote, action, &*self.clock, "test").await
    }

    pub(in crate::sync) async fn put(&self, text: &str) -> Result<u64, WriteError> {
        self.put_if(text, Precondition::None).await
    }

    pub(in crate::sync) async fn put_if(&self, text: &str, precondition: Precondition) -> Result<u64, WriteError> {
        let conditional = precondition != Precondition::None;
        let options = WriteOptions { precondition, conditional, ..WriteOptions::default() };
        let value = SecretValue::copy_of(text.as_bytes());
        match self.act(SecretAction::Write { value, secret_type: SecretType::Json, options }).await? {
            Outcome::Written(info, _) => Ok(info.version),
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::sync) fn head(&self) -> Option<Head> {
        self.replica.records.head(&self.path).unwrap()
    }

    pub(in crate::sync) fn value(&self, version: u64) -> Option<String> {
        let value = self.replica.records.value(&self.path, version).unwrap()?;
        Some(String::from_utf8(value.expose().to_vec()).unwrap())
    }

    /// What a client reads: the value and how it was had.
    pub(in crate::sync) fn read(&self, version: VersionSelector) -> String {
        use crate::sync::replica::Served;
        let served = self.replica.serve(0, &self.path, &SecretAction::Read(version), self.clock.now());
        match served {
            Ok(Served::Reply { outcome: Outcome::Record(record), cache, .. }) => {
                let value = record.value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap());
                format!("{cache} {} {}", record.info.version, value.as_deref().unwrap_or("-"))
            }
            Ok(Served::Reply { outcome, cache, .. }) => format!("{cache} {outcome:?}"),
            Ok(Served::Live) => "live".to_owned(),
            Ok(Served::LiveAs { version, number }) => format!("live {version:?} as {number}"),
            Err(error) => error.to_string(),
        }
    }

    pub(in crate::sync) fn intents(&self) -> usize {
        self.replica.records.documents(DocumentKind::Intent).unwrap().len()
    }

    /// Whether both sides are what they last agreed on, as a run would see it.
    pub(in crate::sync) async fn is_agreed(&self) -> bool {
        let ask = self.replica.ask(self.settings(), &self.remote, "test");
        let sight = self.replica.look(ask, false).await.unwrap();
        match (self.head(), sight) {
            (None, None) => true,
            (Some(head), Some(sight)) => {
                let agreed = head.origin.as_ref().and_then(|origin| origin.agreed.as_ref());
                agreed.is_some_and(|a| a.local == head.fingerprint() && mark::is_same(&a.remote, &sight.mark))
            }
            _ => false,
        }
    }

    /// The paths the engine is told to look at now.
    pub(in crate::sync) async fn told(&self) -> usize {
        self.replica.copies.refresh(9, &self.path);
        self.replica.copies.wanted().await.len() - 1
    }
}
