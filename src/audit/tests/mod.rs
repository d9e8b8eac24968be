//! What the room's tests share: directories, calls, a sink that does as it is told.

mod calls;
mod failures;
mod led;
mod proof;
mod restarts;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::sinks::{AuditSink, Tail};
use super::*;
use crate::clock::{SystemClock, Timestamp};
use crate::identity::{Method, Principal};
use crate::mapping::{BackendRules, Route, RouteSpec, Router, RuleSpec};
use crate::policy::{Context, Permit, Policies, Resource};
use crate::secret::{
    Action, Metadata, Mode, Operation, Outcome, SecretPath, SecretRecord, SecretType, SecretValue, Tenant, VersionInfo,
    VersionState, WireKind,
};

pub(super) const KEY: [u8; 32] = [7; 32];

/// An empty directory, closed to others, gone when dropped.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("scaivault-audit-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// What a scripted sink does next.
pub(super) enum Step {
    Take(usize),
    /// All but the last byte.
    TakeAlmost,
    Fail(io::ErrorKind),
}

/// A sink in memory. Follows its steps, then fails as told or takes everything.
#[derive(Default)]
pub(super) struct Script {
    pub(super) bytes: Vec<u8>,
    pub(super) steps: VecDeque<Step>,
    pub(super) broken: Option<io::ErrorKind>,
    pub(super) sync_broken: bool,
    pub(super) is_new: bool,
    pub(super) is_quick: bool,
    /// The threads that wrote, by name.
    pub(super) writers: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    pub(super) fn new() -> Self {
        let sink = Self::default();
        sink.with(|script| script.is_new = true);
        sink
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Script) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }

    pub(super) fn text(&self) -> String {
        self.with(|script| String::from_utf8(script.bytes.clone()).unwrap())
    }

    pub(super) fn opened(&self, required: bool) -> Opened {
        Opened { name: "scripted".into(), key: "audit.sinks[0]".into(), required, sink: Box::new(self.clone()) }
    }
}

impl AuditSink for Scripted {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn is_quick(&self) -> bool {
        self.with(|script| script.is_quick)
    }

    fn prepare(&mut self) -> io::Result<Option<Tail>> {
        Ok(self.with(|script| std::mem::take(&mut script.is_new)).then(Tail::default))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|script| {
            script.writers.push(std::thread::current().name().unwrap_or_default().to_owned());
            let length = match script.steps.pop_front() {
                Some(Step::Take(length)) => length.min(bytes.len()),
                Some(Step::TakeAlmost) => bytes.len() - 1,
                Some(Step::Fail(kind)) => return Err(kind.into()),
                None => match script.broken {
                    Some(kind) => return Err(kind.into()),
                    None => bytes.len(),
                },
            };
            script.bytes.extend_from_slice(&bytes[..length]);
            Ok(length)
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|script| if script.sync_broken { Err(io::ErrorKind::Other.into()) } else { Ok(()) })
    }
}

pub(super) fn settings(sinks: Vec<SinkSettings>, budget: Duration) -> AuditSettings {
    AuditSettings { budget, ..AuditSettings::new(AuditKey::from_bytes(KEY), "node-1".into(), sinks) }
}

pub(super) fn file_sink(path: &Path) -> SinkSettings {
    SinkSettings { kind: SinkKind::File { path: path.to_owned() }, required: true }
}

/// A trail in one file, with a budget no healthy test comes near.
pub(super) fn start(path: &Path) -> Arc<Auditor> {
    let patient = settings(vec![file_sink(path)], Duration::from_secs(60));
    Auditor::start(patient, Arc::new(SystemClock)).unwrap()
}

/// A trail in scripted sinks.
pub(super) fn start_with(sinks: Vec<Opened>, budget: Duration, durability: Durability) -> Arc<Auditor> {
    let settings = AuditSettings { durability, ..settings(vec![], budget) };
    Auditor::assemble(&settings, sinks, Arc::new(SystemClock)).unwrap()
}

pub(super) fn principal() -> Arc<Principal> {
    Arc::new(Principal::new(Tenant::default_tenant(), "payments/orders", Method::Token, vec![], vec![]))
}

pub(super) fn subject(operation: Operation) -> Subject {
    Subject {
        request_id: RequestId::fresh(&SystemClock),
        tenant: Tenant::default_tenant(),
        wire: WireKind::Vault,
        operation,
        source: Some("10.1.2.3".parse().unwrap()),
        principal: Some(principal()),
        credential: Some([0xab; 16]),
        config_generation: 4,
        started: Instant::now(),
    }
}

pub(super) fn permit(path: &SecretPath) -> Permit {
    let context = Context { wire: WireKind::Vault, mode: Mode::Proxy, now: Timestamp::from_secs(1), source_ip: None };
    let verdict = Policies::permit_all(1).authorize(&principal(), Action::Read, Resource::Secret(path), &context);
    verdict.ok().unwrap()
}

pub(super) fn route(path: &SecretPath) -> Route {
    let rule = RuleSpec { from: "apps/**".into(), to: "secret/data/**".into(), ..RuleSpec::default() };
    let rules = vec![RouteSpec { rule, mode: Mode::Proxy, kv_version: None, writable: true }];
    let router = Router::compile(&[BackendRules { backend: "vault".into(), rules }], &[], false).ok().unwrap();
    router.resolve(path).unwrap()
}

/// A grant for `apps/<name>`.
pub(super) fn grant(name: &str) -> Grant {
    let path = SecretPath::parse(&format!("apps/{name}")).unwrap();
    Grant { permit: permit(&path), route: route(&path) }
}

/// The reply to a read of version 3, with a value no line may show.
pub(super) fn reply() -> Reply {
    let info = VersionInfo {
        version: 3,
        native_id: None,
        created_at: Timestamp::from_secs(1),
        state: VersionState::Current,
        ..VersionInfo::default()
    };
    Reply::Neutral(Outcome::Record(Box::new(SecretRecord {
        value: Some(SecretValue::copy_of(b"canary")),
        secret_type: SecretType::Text,
        metadata: Metadata::new(),
        info,
        updated_at: None,
    })))
}

/// A read of `grant`, from admission to disclosure.
pub(super) async fn read(auditor: &Auditor, grant: &Grant) -> Result<Disclosure, AuditError> {
    let receipt = auditor.admit(subject(Operation::Read), Grants::one(grant.clone())).await?;
    auditor.disclose(receipt, &Facts::default(), reply()).await
}

pub(super) fn parse(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

pub(super) fn lines(path: &Path) -> Vec<serde_json::Value> {
    parse(&fs::read_to_string(path).unwrap())
}

/// The kinds of the lines, in order.
pub(super) fn kinds(lines: &[serde_json::Value]) -> Vec<&str> {
    lines.iter().map(|line| line["kind"].as_str().unwrap()).collect()
}

pub(super) fn verify_texts(texts: &[&str]) -> Report {
    let files = texts.iter().enumerate().map(|(index, text)| (format!("file{index}"), text.as_bytes())).collect();
    verify(files, &KEY, None)
}

pub(super) fn verify_files(paths: &[PathBuf]) -> Report {
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    verify_texts(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Panics unless the texts hold only whole lines of whole chains.
pub(super) fn assert_clean(texts: &[&str]) {
    let report = verify_texts(texts);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// Waits for what other threads bring about.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
