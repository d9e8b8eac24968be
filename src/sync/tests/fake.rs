//! A KV version 2 server in memory, with switches for everything that can go wrong with one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::backend::{Ask, Backend, BackendError, Capabilities, Change, Listed, further};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::secret::{
    Described, Metadata, Outcome, PassCall, Reply, SecretRecord, SecretType, SecretValue, VersionInfo, VersionSelector,
    VersionSet, VersionState,
};

/// One remote secret. The newest version is the last one.
#[derive(Clone, Debug, Default)]
struct Secret {
    metadata: Metadata,
    created: Timestamp,
    versions: Vec<(VersionInfo, Vec<u8>)>,
}

/// What is wrong with the server.
#[derive(Default)]
pub(super) struct Switches {
    /// Nothing answers.
    pub(super) lost: bool,
    /// Nothing is allowed.
    pub(super) denied: bool,
    /// Values may not be read.
    pub(super) values_denied: bool,
    /// Lists are answered by an error.
    pub(super) lists_fail: bool,
    /// Lists are cut short.
    pub(super) lists_cut: bool,
    /// Each list takes so many further pages.
    pub(super) more_pages: u32,
    /// Lists come back empty.
    pub(super) lists_empty: bool,
    /// So many calls are answered by "too many calls".
    pub(super) limited: u32,
    /// The answer to the next write is lost, after it was carried out.
    pub(super) write_unanswered: bool,
    /// The engine keeps neither versions nor metadata.
    pub(super) bare: bool,
    /// Remote names whose values are made for whoever asks.
    pub(super) leased: BTreeSet<String>,
    /// Remote names that answer nonsense.
    pub(super) broken: BTreeSet<String>,
    /// Remote names whose newest version is deleted when its value is asked for.
    pub(super) deleted_when_read: BTreeSet<String>,
    /// Every description waits for a permit.
    pub(super) gate: Option<Arc<Semaphore>>,
}

/// How often the server was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) lists: u64,
    pub(super) descriptions: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) probes: u64,
}

pub(super) struct Fake {
    clock: Arc<ManualClock>,
    secrets: Mutex<BTreeMap<String, Secret>>,
    switches: Mutex<Switches>,
    asked: Mutex<Asked>,
}

impl Fake {
    pub(super) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self { clock, secrets: Mutex::default(), switches: Mutex::default(), asked: Mutex::default() })
    }

    /// Changes what is wrong.
    pub(super) fn set(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.switches.lock().unwrap());
    }

    /// How often it was asked since this was called last.
    pub(super) fn asked(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Writes a version; yields its number.
    pub(super) fn put(&self, name: &str, value: &str) -> u64 {
        self.put_bytes(name, value.as_bytes()).version
    }

    fn put_bytes(&self, name: &str, value: &[u8]) -> VersionInfo {
        let now = self.tick();
        let bare = self.switches.lock().unwrap().bare;
        let mut secrets = self.secrets();
        let secret = secrets.entry(name.to_owned()).or_insert_with(|| Secret { created: now, ..Secret::default() });
        if bare {
            secret.versions.clear();
        }
        let version = secret.versions.last().map_or(1, |(info, _)| info.version + 1);
        let created_at = if bare { Timestamp::default() } else { now };
        let info = VersionInfo { version, created_at, ..VersionInfo::default() };
        secret.versions.push((info.clone(), value.to_vec()));
        info
    }

    /// Changes a version's state; the newest one's for 0.
    pub(super) fn mark(&self, name: &str, version: u64, state: VersionState) {
        self.tick();
        let mut secrets = self.secrets();
        let versions = &mut secrets.get_mut(name).unwrap().versions;
        let newest = versions.last().map_or(0, |(info, _)| info.version);
        let version = if version == 0 { newest } else { version };
        versions.iter_mut().find(|(info, _)| info.version == version).unwrap().0.state = state;
    }

    pub(super) fn describe_as(&self, name: &str, key: &str, value: &str) {
        self.tick();
        self.secrets().get_mut(name).unwrap().metadata.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn purge(&self, name: &str) {
        self.secrets().remove(name).unwrap();
    }

    /// What a reader gets.
    pub(super) fn current(&self, name: &str) -> Option<String> {
        let secrets = self.secrets();
        let (info, value) = secrets.get(name)?.versions.last()?;
        info.state.is_readable().then(|| String::from_utf8(value.clone()).unwrap())
    }

    pub(super) fn metadata(&self, name: &str) -> Metadata {
        self.secrets().get(name).map(|secret| secret.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn version_count(&self, name: &str) -> usize {
        self.secrets().get(name).map_or(0, |secret| secret.versions.len())
    }

    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, Secret>> {
        self.secrets.lock().unwrap()
    }

    /// No two things happen at the same time.
    fn tick(&self) -> Timestamp {
        self.clock.advance(Duration::from_micros(1000));
        self.clock.now()
    }

    /// What every call goes through.
    fn admit(&self, count: impl FnOnce(&mut Asked)) -> Result<(), BackendError> {
        count(&mut self.asked.lock().unwrap());
        let mut switches = self.switches.lock().unwrap();
        if switches.lost {
            return Err(BackendError::Unavailable("the connection was refused"));
        }
        if let Some(left) = switches.limited.checked_sub(1) {
            switches.limited = left;
            return Err(BackendError::RateLimited(Some(1)));
        }
        if switches.denied { Err(BackendError::Denied) } else { Ok(()) }
    }

    fn marked(&self, name: &str, set: &VersionSet, state: impl Fn(&VersionInfo) -> VersionState) -> Outcome {
        let mut secrets = self.secrets();
        let Some(secret) = secrets.get_mut(name) else { return Outcome::NotFound };
        let newest = secret.versions.last().map_or(0, |(info, _)| info.version);
        for (info, _) in &mut secret.versions {
            let is_meant = match set {
                VersionSet::Current => info.version == newest,
                VersionSet::Numbers(numbers) => numbers.contains(&info.version),
                VersionSet::All => true,
            };
            if is_meant && !matches!(info.state, VersionState::Destroyed(_)) {
                info.state = state(info);
            }
        }
        Outcome::Done
    }

    fn changed(&self, name: &str, change: Change<'_>) -> Result<Outcome, BackendError> {
        let now = self.tick();
        match change {
            Change::Put { value, expected, .. } => {
                let newest = self.secrets().get(name).and_then(|s| s.versions.last().map(|(info, _)| info.version));
                if expected.is_some_and(|expected| expected != newest.unwrap_or(0)) {
                    return Err(BackendError::Conflict);
                }
                Ok(Outcome::Written(self.put_bytes(name, value.expose()), Metadata::new()))
            }
            Change::Metadata(metadata) => {
                self.secrets().entry(name.to_owned()).or_default().metadata = metadata.clone();
                Ok(Outcome::Done)
            }
            Change::Delete(set, _) => Ok(self.marked(name, set, |_| VersionState::Deleted(now))),
            Change::Undelete(set) => Ok(self.marked(name, set, |_| VersionState::Current)),
            Change::Destroy(set) => Ok(self.marked(name, set, |_| VersionState::Destroyed(None))),
            Change::Create(_) | Change::Label { .. } => Err(BackendError::Unsupported),
            Change::Purge => Ok(self.secrets().remove(name).map_or(Outcome::NotFound, |_| Outcome::Done)),
        }
    }
}

#[async_trait]
impl Backend for Fake {
    fn capabilities(&self) -> Capabilities {
        let bare = self.switches.lock().unwrap().bare;
        Capabilities {
            conditional_writes: !bare,
            versions: !bare,
            describe: true,
            soft_delete: !bare,
            ..Capabilities::default()
        }
    }

    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        self.admit(|asked| asked.reads += 1)?;
        let name = ask.remote.as_str();
        if self.switches.lock().unwrap().deleted_when_read.remove(name) {
            let at = self.tick();
            let mut secrets = self.secrets();
            secrets.get_mut(name).unwrap().versions.last_mut().unwrap().0.state = VersionState::Deleted(at);
        }
        {
            let switches = self.switches.lock().unwrap();
            if switches.values_denied {
                return Err(BackendError::Denied);
            }
            if switches.leased.contains(name) {
                return Err(BackendError::Unsupported);
            }
            if switches.broken.contains(name) {
                return Err(BackendError::Unusable("not a KV version 2 read"));
            }
        }
        let secrets = self.secrets();
        let Some(secret) = secrets.get(name) else { return Ok(Reply::Neutral(Outcome::NotFound)) };
        let found = match version {
            VersionSelector::Number(number) => secret.versions.iter().find(|(info, _)| info.version == *number),
            _ => secret.versions.last(),
        };
        let Some((info, value)) = found else { return Ok(Reply::Neutral(Outcome::NotFound)) };
        let record = SecretRecord {
            value: info.state.is_readable().then(|| SecretValue::copy_of(value)),
            secret_type: SecretType::Json,
            metadata: secret.metadata.clone(),
            info: info.clone(),
            updated_at: None,
        };
        Ok(Reply::Neutral(Outcome::Record(Box::new(record))))
    }

    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        let gate = self.switches.lock().unwrap().gate.clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.admit(|asked| asked.descriptions += 1)?;
        if self.switches.lock().unwrap().bare {
            return Err(BackendError::Unsupported);
        }
        let secrets = self.secrets();
        let Some(secret) = secrets.get(ask.remote.as_str()) else { return Ok(Reply::Neutral(Outcome::NotFound)) };
        let versions: Vec<VersionInfo> = secret.versions.iter().map(|(info, _)| info.clone()).collect();
        let described = Described {
            metadata: secret.metadata.clone(),
            current_version: versions.last().map_or(0, |info| info.version),
            oldest_version: versions.first().map_or(0, |info| info.version),
            created_at: secret.created,
            updated_at: versions.last().map_or(secret.created, |info| info.created_at),
            versions,
            ..Described::default()
        };
        Ok(Reply::Neutral(Outcome::Described(Box::new(described))))
    }

    async fn subkeys(&self, _: Ask<'_>, _: &VersionSelector, _: u32) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError> {
        self.admit(|asked| asked.lists += 1)?;
        {
            let switches = self.switches.lock().unwrap();
            if switches.lists_fail {
                return Err(BackendError::Failing(500));
            }
            if switches.lists_cut {
                return Err(BackendError::Unusable("cut short"));
            }
            if switches.lists_empty {
                return Ok(Listed::default());
            }
        }
        let more_pages = self.switches.lock().unwrap().more_pages;
        for _ in 0..more_pages {
            further().await?;
        }
        let prefix = format!("{}/", ask.remote);
        let below = |name: &String| {
            let rest = name.strip_prefix(&prefix)?;
            Some(rest.split_once('/').map_or_else(|| rest.to_owned(), |(folder, _)| format!("{folder}/")))
        };
        let names: BTreeSet<String> = self.secrets().keys().filter_map(below).collect();
        Ok(Listed { names: names.into_iter().collect(), native: None, described: Vec::new() })
    }

    async fn write(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        self.admit(|asked| asked.writes += 1)?;
        let outcome = self.changed(ask.remote.as_str(), change)?;
        if std::mem::take(&mut self.switches.lock().unwrap().write_unanswered) {
            return Err(BackendError::Unknown("the connection broke"));
        }
        Ok(outcome)
    }

    async fn pass(&self, _: Ask<'_>, _: &PassCall, _: bool) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn check(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn probe(&self, _: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        self.asked.lock().unwrap().probes += 1;
        let switches = self.switches.lock().unwrap();
        if switches.lost {
            return Err(BackendError::Unavailable("the connection was refused"));
        }
        let may_read = !switches.denied && !switches.values_denied;
        Ok(vec![("read", may_read), ("list", !switches.denied), ("write", !switches.denied)])
    }

    fn calls(&self) -> u64 {
        0
    }

    async fn tend(&self) {}
}
