//! A built configuration, running.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::Label;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service as DataService;
use thiserror::Error;
use tokio::sync::mpsc;

use super::build::{build, webhooks};
use super::desk::Book;
use super::devices::Devices;
use super::hands::{Hands, index, replicas};
use super::made::{self, AllMade};
use super::{Extras, Ground, files, listed, reload};
use crate::audit::{AuditKey, AuditSettings, Auditor};
use crate::config::{self, Address, Config, ListenerAuth, ListenerConfig, Problem};
use crate::events::{self, Bus, BusSettings, Patience};
use crate::listener::admin::Admin;
use crate::listener::{Caps, Drain, Endpoint, Gateway, Service, ShutdownHook, TlsFiles, TlsReloader};
use crate::pipeline::{Desk, Errand, Pipeline};
use crate::seal::{RootKey, harden_process, swappable_keys, trim_memory};
use crate::secret::SecretPath;
use crate::sync::{Engine, Replica};
use crate::telemetry::Meter;

const AUDIT_BUDGET: Duration = Duration::from_secs(2);
const UNAUTHENTICATED_LINES: u32 = 100;

/// Why the process does not run.
#[derive(Debug, Error)]
pub enum AppError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The configuration is valid and cannot be served.
    #[error("the configuration cannot be served:\n{}", listed(.0))]
    Problems(Vec<Problem>),
    /// The audit trail cannot be started.
    #[error("audit: {0}")]
    Audit(#[from] crate::audit::AuditError),
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {reason}")]
    Listen {
        /// Key path.
        key: String,
        /// The address.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A thread or runtime could not be started.
    #[error("{0}")]
    System(String),
}

/// Everything that serves, built and not yet started.
pub struct Running {
    hands: Hands,
    auditor: Arc<Auditor>,
    tls: Arc<Vec<TlsReloader>>,
    errands: mpsc::Receiver<Errand>,
    made: AllMade,
    admin: Arc<Admin>,
    drain: Drain,
    is_deaf: bool,
    config: Config,
    service: DataService<Gateway>,
}

impl Running {
    /// Leaves signals to the caller: the process ends when the caller ends it.
    #[must_use]
    pub fn deaf(self) -> Self {
        Self { is_deaf: true, ..self }
    }
}

/// Builds everything a configuration asks for: reads its files, checks that its addresses are free, opens the trail.
///
/// # Errors
/// Everything that stands in the way, all at once where that is possible.
pub fn prepare(config: Config, extras: Extras) -> Result<Running, AppError> {
    // before any key is read
    for failed in harden_process() {
        tracing::warn!(setting = failed, "the system did not take a hardening setting");
    }
    let not_built = config.not_built();
    if !not_built.is_empty() {
        return Err(AppError::Problems(not_built));
    }
    let one = |problem: Problem| AppError::Problems(vec![problem]);
    let tls = tls(&config)?;
    for listener in &config.listeners {
        probe(&listener.key, &listener.address)?;
    }
    probe("admin.address", &Address::Tcp(config.admin.address))?;
    let ground = Arc::new(Ground::lay(&config).map_err(one)?);
    if swappable_keys() > 0 {
        tracing::warn!("the system does not lock keys in memory (RLIMIT_MEMLOCK): they may be swapped out");
    }
    let made = made::load(&config, &ground, AllMade::new()).map_err(AppError::Problems)?;
    let snapshot = build(&config, &made, &extras, &ground, 1).map_err(AppError::Problems)?;
    let hooks = webhooks(&config, &extras, &ground).map_err(AppError::Problems)?;
    ground.settle(&snapshot);
    let auditor = Auditor::start(audit_settings(&config, &ground)?, ground.clock.clone())?;
    let events = bus(&config, &ground);
    events.keep(hooks);
    let engine = Engine::new(ground.clock.clone(), auditor.clone(), events.clone(), ground.metrics.clone());
    engine.keep(replicas(&snapshot));
    let devices = Arc::new(Devices::new(engine.clone(), &ground.metrics));
    devices.keep(devices.open(&config).map_err(AppError::Problems)?);
    let (desk, errands) = Desk::new();
    let meter = Meter::new(ground.metrics.clone());
    let parts = (engine.clone(), desk, events.clone());
    let pipeline = Arc::new(Pipeline::new(snapshot, auditor.clone(), ground.clock.clone(), meter, parts));
    let drain = Drain::default();
    let kept = ground.clone();
    let admin = Arc::new(Admin {
        metrics: ground.metrics.clone(),
        auditor: auditor.clone(),
        takes_writes: Box::new(move || kept.keeper().takes_writes()),
        drain: drain.clone(),
        keeps_ready: config.listeners.iter().any(|listener| listener.auth == ListenerAuth::Workload),
        started: AtomicBool::new(false),
    });
    let service = service(&config, &pipeline, &admin, &drain, &ground, &tls)?;
    let hands = Hands { pipeline, ground, engine, events, devices, extras };
    let tls = Arc::new(tls);
    Ok(Running { hands, auditor, tls, errands, made, admin, drain, is_deaf: false, config, service })
}

/// Serves until SIGTERM or SIGINT, drained. `source` is the file to read again on SIGHUP or change.
///
/// # Errors
/// When the background runtime cannot be started.
pub fn serve(running: Running, source: Option<std::path::PathBuf>) -> Result<(), AppError> {
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(|error| AppError::System(format!("the background runtime: {error}")))?;
    let Running { hands, auditor, tls, errands, made, admin, drain, is_deaf, config, service } = running;
    let upkeep = hands.ground.metrics.clone();
    background.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.tidy();
        }
    });
    let (engine, devices) = (hands.engine.clone(), hands.devices.clone());
    hands.events.attach(background.handle().clone());
    devices.attach(background.handle().clone());
    background.spawn(wake(hands.clone(), admin.clone(), prefetched(&config, &hands)));
    let reloader = reload::Reloader { hands, auditor: auditor.clone(), tls, source, errands };
    background.spawn(reloader.run(Book::new(config.clone(), made)));
    let hook = ShutdownHook { drain, grace: config.server.drain, is_deaf };
    let mut server = Server::new_with_opt_and_conf(None, server_conf());
    server.add_service(service);
    server.bootstrap();
    trim_memory();
    tracing::info!(listeners = config.listeners.len(), admin = %config.admin.address, "serving");
    server.run(RunArgs { shutdown_signal: Box::new(hook) });
    devices.close();
    background.block_on(engine.stop());
    background.shutdown_timeout(Duration::from_secs(1));
    remove_sockets(&config);
    auditor.stop();
    Ok(())
}

/// Fills the indexes, then lets the engine run, and says that everything is up once what was to be prefetched is there.
async fn wake(hands: Hands, admin: Arc<Admin>, prefetched: (Vec<(Arc<Replica>, SecretPath)>, Duration)) {
    let ground = hands.ground.clone();
    let filled = tokio::task::spawn_blocking(move || ground.all_records().iter().for_each(|records| index(records)));
    let (waited_for, patience) = prefetched;
    if waited_for.is_empty() {
        admin.started.store(true, Ordering::Relaxed);
    }
    drop(filled.await);
    if let Some(keyring) = hands.ground.keeper().keyring() {
        for records in hands.ground.all_records() {
            if let Err(error) = keyring.finish_rotation(&records).await {
                tracing::error!(%error, "an interrupted rotation could not be finished");
            }
            // what ended while nothing ran is forgotten
            if let Err(error) = hands.ground.sessions.settled(records.tenant()).await {
                tracing::error!(%error, "tokens that ended could not be removed from the store");
            }
        }
    }
    hands.engine.attach(tokio::runtime::Handle::current());
    let is_there = |(replica, path): &(Arc<Replica>, SecretPath)| {
        replica.records.stored(path).is_some_and(|stored| stored.copy.is_some())
    };
    let all_there = async {
        while !waited_for.iter().all(is_there) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(patience, all_there).await.is_err() {
        tracing::warn!("not everything of prefetch.paths could be read within prefetch.deadline");
    }
    admin.started.store(true, Ordering::Relaxed);
}

/// What is waited for before the process says that it has started, and how long.
fn prefetched(config: &Config, hands: &Hands) -> (Vec<(Arc<Replica>, SecretPath)>, Duration) {
    let snapshot = hands.pipeline.current();
    let replicas = replicas(&snapshot);
    let paths = replicas.iter().flat_map(|replica| replica.prefetch.iter().map(|path| (replica.clone(), path.clone())));
    let patience = config.tenants.iter().map(|tenant| tenant.prefetch.deadline).max().unwrap_or_default();
    (paths.collect(), patience)
}

fn bus(config: &Config, ground: &Ground) -> Bus {
    let metrics = ground.metrics.clone();
    let count: events::Count = Arc::new(move |tenant, what, number| {
        let labels = vec![Label::new("tenant", tenant.as_str().to_owned()), Label::new("outcome", what.label())];
        metrics.counter("scaivault_events_total", labels).increment(number);
    });
    let instance = config.audit.instance.clone().unwrap_or_else(host_name);
    Bus::with(ground.clock.clone(), BusSettings { instance, count, patience: Patience::default() })
}

fn server_conf() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        // draining is ours; this is for the last GOAWAY frames
        grace_period_seconds: Some(1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

fn audit_settings(config: &Config, ground: &Ground) -> Result<AuditSettings, AppError> {
    let key = match &config.audit.key {
        None => ground.keeper().audit_key(config).map_err(|problem| AppError::Problems(vec![problem]))?,
        Some(path) => audit_key(path).map_err(|problem| AppError::Problems(vec![problem]))?,
    };
    let sinks = config.audit.sinks.iter().map(|sink| crate::audit::SinkSettings {
        kind: match &sink.kind {
            config::SinkKind::File { path } => crate::audit::SinkKind::File { path: path.clone() },
            config::SinkKind::Stdout => crate::audit::SinkKind::Stdout,
            config::SinkKind::Socket { address } => crate::audit::SinkKind::Socket { address: address.to_string() },
            config::SinkKind::Syslog { address } => crate::audit::SinkKind::Syslog { address: address.to_string() },
        },
        required: sink.required,
    });
    Ok(AuditSettings {
        durability: match config.audit.durability {
            config::Durability::Write => crate::audit::Durability::Write,
            config::Durability::Fsync => crate::audit::Durability::Fsync,
        },
        key,
        instance: config.audit.instance.clone().unwrap_or_else(host_name),
        sinks: sinks.collect(),
        budget: AUDIT_BUDGET,
        unauthenticated_per_second: UNAUTHENTICATED_LINES,
    })
}

/// Reads an audit key: base64 of 32 bytes, as `seal init` makes them.
pub(crate) fn audit_key(path: &std::path::Path) -> Result<AuditKey, Problem> {
    let text = files::credential(path, "audit.key.file", None)?;
    let key = RootKey::from_base64(&text, &path.display().to_string());
    let key = key.map_err(|error| Problem::new("audit.key.file", None, error.to_string()))?;
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(key.bytes()) {
        *to = *from;
    }
    Ok(AuditKey::from_bytes(bytes))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "scaivault-proxy".to_owned() } else { name.to_owned() }
}

fn tls(config: &Config) -> Result<Vec<TlsReloader>, AppError> {
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for listener in &config.listeners {
        let Some(files) = &listener.tls else { continue };
        problems.extend(socket_tls(listener));
        let files = TlsFiles {
            certificate: files.certificate.clone(),
            key: files.private_key.clone(),
            client_ca: files.client_ca.clone(),
        };
        match TlsReloader::load(files) {
            Ok(tls) => loaded.push(tls),
            Err(error) => {
                problems.push(Problem::new(format!("{}.tls", listener.key), listener.line, error.to_string()))
            }
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(AppError::Problems(problems)) }
}

/// TLS where nothing needs it.
pub(super) fn socket_tls(listener: &ListenerConfig) -> Option<Problem> {
    let is_socket = matches!(listener.address, Address::Unix(_));
    let text = "TLS on a Unix socket is not served; the socket's mode says who may connect";
    (is_socket && listener.tls.is_some()).then(|| Problem::new(format!("{}.tls", listener.key), listener.line, text))
}

/// Removes the files of Unix sockets. Where somebody answers, another process has taken the place over.
fn remove_sockets(config: &Config) {
    for listener in &config.listeners {
        if let Address::Unix(path) = &listener.address
            && UnixStream::connect(path).is_err()
        {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Pingora ends a process that cannot bind with a panic; this says why first.
fn probe(key: &str, address: &Address) -> Result<(), AppError> {
    let failed = |reason: String| AppError::Listen { key: key.to_owned(), address: address.to_string(), reason };
    match address {
        Address::Tcp(address) => TcpListener::bind(address).map(drop).map_err(|error| failed(error.to_string())),
        Address::Unix(path) => {
            if UnixStream::connect(path).is_ok() {
                return Err(failed("another process listens there".to_owned()));
            }
            match path.parent().map(std::fs::metadata) {
                Some(Ok(meta)) if meta.is_dir() => Ok(()),
                _ => Err(failed("its directory does not exist".to_owned())),
            }
        }
    }
}

fn service(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    admin: &Arc<Admin>,
    drain: &Drain,
    ground: &Arc<Ground>,
    tls: &[TlsReloader],
) -> Result<DataService<Gateway>, AppError> {
    let mut endpoints = vec![Endpoint {
        address: config.admin.address.to_string(),
        service: Service::Admin(admin.clone()),
        h2c: false,
        tls: None,
    }];
    let mut tls = tls.iter();
    for (index, listener) in config.listeners.iter().enumerate() {
        let address = match &listener.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        let acceptor = match &listener.tls {
            None => None,
            Some(_) => {
                let Some(Ok(acceptor)) = tls.next().map(TlsReloader::acceptor) else {
                    return Err(AppError::System(format!("{}.tls: cannot be set up", listener.key)));
                };
                Some(acceptor)
            }
        };
        let service = Service::Wire(pipeline.clone(), index);
        endpoints.push(Endpoint { address, service, h2c: listener.h2c, tls: acceptor });
    }
    let caps = caps(config);
    let ground = ground.clone();
    let gateway = Gateway::new(endpoints, caps, drain.clone(), Box::new(move || ground.tender.attach()));
    let mut service = DataService::new("data".to_owned(), gateway);
    service.add_tcp(&config.admin.address.to_string());
    for listener in &config.listeners {
        match &listener.address {
            Address::Unix(path) => {
                let permissions = std::fs::Permissions::from_mode(listener.socket_mode);
                service.add_uds(&path.display().to_string(), Some(permissions));
            }
            Address::Tcp(address) => service.add_tcp(&address.to_string()),
        }
    }
    Ok(service)
}

fn caps(config: &Config) -> Caps {
    let server = &config.server;
    Caps {
        connections: server.connections,
        requests_per_connection: server.requests_per_connection,
        header_bytes: server.header_bytes,
        header_timeout: server.header_timeout,
        body_bytes: server.body_bytes,
        body_timeout: server.body_timeout,
        h2_streams: server.h2_streams,
        h2_header_list_bytes: server.h2_header_list_bytes,
        h2_resets: server.h2_resets,
    }
}
