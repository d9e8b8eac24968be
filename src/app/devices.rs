//! Hears the audit devices of Vault and OpenBao servers, and has the copies of what was just written looked at.
//!
//! A line is worth a look at the backend and nothing else: no value of it is read, nothing of it is kept, and a forged one
//! gains nobody more than a read that is bounded. A socket stays as it is, with whoever is connected, for as long as some
//! backend names its address; sockets of a change that is refused are never heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Label};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::build::file_id;
use crate::config::{Address, BackendConfig, BackendSettings, Config, Problem, TenantConfig};
use crate::listener::{Hear, Heard, LineCaps, LineSocket};
use crate::secret::{BackendId, RemoteName, Tenant};
use crate::sync::{Engine, Hint};
use crate::telemetry::Metrics;
use crate::wire::vault::{MAX_AUDIT_LINE, changed};

/// A server has one connection, and for a moment an old one; a cluster has as many servers.
const CAPS: LineCaps =
    LineCaps { line_bytes: MAX_AUDIT_LINE, connections: 16, line_timeout: Duration::from_secs(10), misunderstood: 100 };
/// The same is logged once in so long.
const SELDOM: Duration = Duration::from_secs(10);

/// All sockets of the process.
pub(super) struct Devices {
    engine: Arc<Engine>,
    meters: Arc<Meters>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    runtime: Option<Handle>,
    ears: HashMap<Address, Ear>,
}

/// One socket. It is closed when dropped.
struct Ear {
    whose: Arc<ArcSwap<Whose>>,
    /// Until there is a runtime.
    waiting: Option<LineSocket>,
    task: Option<AbortHandle>,
}

/// Which backend a socket's lines are about.
struct Whose {
    tenant: Tenant,
    id: BackendId,
    name: Box<str>,
    /// The one all its calls are made in.
    namespace: String,
}

/// The sockets of a configuration that is not in force yet; those that are not open now are bound.
pub(super) struct Opened(Vec<(Address, Whose, Option<LineSocket>)>);

impl Devices {
    /// No sockets yet.
    pub(super) fn new(engine: Arc<Engine>, metrics: &Metrics) -> Self {
        Self { engine, meters: Arc::new(Meters::new(metrics)), desk: Mutex::default() }
    }

    /// Binds what a configuration asks for and is not bound yet. What is heard now is still heard as before.
    pub(super) fn open(&self, config: &Config) -> Result<Opened, Vec<Problem>> {
        let desk = self.lock();
        let (mut opened, mut problems) = (Vec::new(), Vec::new());
        for tenant in &config.tenants {
            for settings in &tenant.backends {
                let Some(address) = settings.config.audit_device() else { continue };
                let bound = if desk.ears.contains_key(address) { Ok(None) } else { bind(address).map(Some) };
                match bound {
                    Ok(socket) => opened.push((address.clone(), Whose::of(tenant, settings), socket)),
                    Err(error) => {
                        let key = format!("{}.config.audit_device.address", settings.key);
                        let message = format!("cannot listen on {address}: {error}");
                        problems.push(Problem::new(key, settings.line, message));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(Opened(opened)) } else { Err(problems) }
    }

    /// Hears exactly these from now on.
    pub(super) fn keep(&self, opened: Opened) {
        let mut desk = self.lock();
        let Desk { runtime, ears } = &mut *desk;
        let mut before = std::mem::take(ears);
        for (address, whose, socket) in opened.0 {
            let ear = match (before.remove(&address), socket) {
                (Some(ear), _) => {
                    ear.whose.store(Arc::new(whose));
                    ear
                }
                (None, Some(socket)) => {
                    let (tenant, backend) = (whose.tenant.as_str(), &*whose.name);
                    tracing::info!(tenant, backend, %address, "listening for an audit device");
                    let whose = Arc::new(ArcSwap::from_pointee(whose));
                    let mut ear = Ear { whose, waiting: Some(socket), task: None };
                    if let Some(runtime) = runtime.as_ref() {
                        self.start(&mut ear, runtime);
                    }
                    ear
                }
                // not reached: what was open then is open still
                (None, None) => continue,
            };
            ears.insert(address, ear);
        }
    }

    /// Starts hearing on a runtime; later calls do nothing. Who connected before waits until then.
    pub(super) fn attach(&self, runtime: Handle) {
        let mut desk = self.lock();
        if desk.runtime.is_none() {
            desk.ears.values_mut().for_each(|ear| self.start(ear, &runtime));
            desk.runtime = Some(runtime);
        }
    }

    /// Hears nobody any more.
    pub(super) fn close(&self) {
        self.lock().ears.clear();
    }

    fn start(&self, ear: &mut Ear, runtime: &Handle) {
        let Some(socket) = ear.waiting.take() else { return };
        let post = Post {
            engine: self.engine.clone(),
            meters: self.meters.clone(),
            whose: ear.whose.clone(),
            told: Told::default(),
        };
        let hear: Hear = Arc::new(move |heard: Heard<'_>| post.hear(heard));
        let serving = runtime.spawn(async move {
            if let Err(error) = socket.serve(CAPS, hear).await {
                tracing::error!(%error, "an audit device cannot be listened for");
            }
        });
        ear.task = Some(serving.abort_handle());
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Whose {
    fn of(tenant: &TenantConfig, settings: &BackendSettings) -> Self {
        let namespace = match &settings.config {
            BackendConfig::HashicorpVault(vault) => vault.namespace.clone(),
            _ => None,
        };
        Self {
            tenant: tenant.tenant.clone(),
            id: file_id(&tenant.tenant, &settings.name),
            name: Box::from(settings.name.as_str()),
            namespace: namespace.unwrap_or_default(),
        }
    }
}

fn bind(address: &Address) -> std::io::Result<LineSocket> {
    match address {
        Address::Tcp(address) => LineSocket::tcp(*address),
        Address::Unix(path) => LineSocket::unix(path),
    }
}

/// Whoever hears one socket.
struct Post {
    engine: Arc<Engine>,
    meters: Arc<Meters>,
    whose: Arc<ArcSwap<Whose>>,
    told: Told,
}

/// When the log was last told of each: whoever connects must not fill it.
#[derive(Default)]
struct Told {
    opened: Seldom,
    refused: Seldom,
    cut: Seldom,
    overflow: Seldom,
}

impl Post {
    fn hear(&self, heard: Heard<'_>) -> bool {
        let whose = self.whose.load();
        let (tenant, backend) = (whose.tenant.as_str(), &*whose.name);
        match heard {
            Heard::Line(line) => return self.line(&whose, line),
            Heard::Opened => {
                self.meters.connections.increment(1.0);
                if self.told.opened.is_due() {
                    tracing::info!(tenant, backend, "an audit device connected");
                }
            }
            Heard::Refused if self.told.refused.is_due() => {
                tracing::warn!(tenant, backend, most = CAPS.connections, "too many connect as audit devices");
            }
            Heard::Refused => {}
            Heard::Closed(why) => {
                self.meters.connections.decrement(1.0);
                if let Some(why) = why.filter(|_| self.told.cut.is_due()) {
                    tracing::warn!(tenant, backend, why, "an audit device was cut off");
                }
            }
        }
        true
    }

    /// False if it is no line of an audit device.
    fn line(&self, whose: &Whose, line: &[u8]) -> bool {
        let Ok(changed) = changed(line) else {
            self.meters.malformed.increment(1);
            return false;
        };
        let names = changed.map(|changed| changed.remote_names_in(&whose.namespace)).unwrap_or_default();
        let remotes = names.iter().filter_map(|name| RemoteName::parse(name));
        let hints = remotes.map(|remote| self.engine.hint(&whose.tenant, &whose.id, &remote));
        match hints.max() {
            Some(Hint::Taken) => self.meters.refreshed.increment(1),
            Some(Hint::TooMany) => {
                self.meters.dropped.increment(1);
                if self.told.overflow.is_due() {
                    let (tenant, backend) = (whose.tenant.as_str(), &*whose.name);
                    tracing::warn!(tenant, backend, "too much changes at once: the next sync finds the rest");
                }
            }
            Some(Hint::Elsewhere) | None => self.meters.ignored.increment(1),
        }
        true
    }
}

#[derive(Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= SELDOM);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// What all sockets together came to.
struct Meters {
    refreshed: Counter,
    ignored: Counter,
    malformed: Counter,
    dropped: Counter,
    connections: Gauge,
}

impl Meters {
    fn new(metrics: &Metrics) -> Self {
        let lines = |result: &'static str| {
            metrics.counter("scaivault_audit_device_lines_total", vec![Label::new("result", result)])
        };
        Self {
            refreshed: lines("refreshed"),
            ignored: lines("ignored"),
            malformed: lines("malformed"),
            dropped: lines("dropped"),
            connections: metrics.gauge("scaivault_audit_device_connections", Vec::new()),
        }
    }
}
