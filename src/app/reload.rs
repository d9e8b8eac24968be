//! Reload: on SIGHUP, and when the configuration or a file it names changes. A reload that fails changes nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::desk::Book;
use super::hands::Hands;
use super::made::{self, AllMade};
use crate::audit::Auditor;
use crate::config::{self, BackendConfig, Config, JwtKeys, Problem};
use crate::events::Event;
use crate::listener::TlsReloader;
use crate::pipeline::Errand;

/// How often files are looked at. A revocation written into the file takes effect within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Watches and reloads, and carries out what the API asks of the configuration.
pub(super) struct Reloader {
    pub(super) hands: Hands,
    pub(super) auditor: Arc<Auditor>,
    pub(super) tls: Arc<Vec<TlsReloader>>,
    pub(super) source: Option<PathBuf>,
    pub(super) errands: mpsc::Receiver<Errand>,
}

impl Reloader {
    /// Runs as long as the process.
    pub(super) async fn run(mut self, mut book: Book) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let rejected = self.hands.ground.metrics.gauge("scaivault_config_rejected", Vec::new());
        rejected.set(0.0);
        let mut told = Vec::new();
        let mut seen = Some(self.look(&book.config));
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                // what the API asks must not keep a revocation in the file from being seen
                biased;
                asked = hangup.recv() => asked.is_some(),
                _ = ticks.tick() => false,
                Some(errand) = self.errands.recv() => {
                    let (command, answer) = errand.open();
                    match book.aside(&self.hands, command) {
                        Ok(aside) => drop(tokio::spawn(async move { answer(aside.await) })),
                        Err(command) => answer(book.carry_out(&self.hands, command).await),
                    }
                    continue;
                }
            };
            if asked {
                self.auditor.reopen();
            }
            let before = self.look(&book.config);
            if !asked && seen.as_ref() == Some(&before) {
                continue;
            }
            let result = self.reload(&book).await;
            match result {
                Ok((next, made)) => {
                    book.generation += 1;
                    book.config = next;
                    book.made = made;
                    rejected.set(0.0);
                    told.clear();
                    tracing::info!(generation = book.generation, "configuration reloaded");
                }
                Err(problems) => {
                    rejected.set(1.0);
                    let listed = super::listed(&problems);
                    tracing::error!(problems = %listed, "configuration rejected; the one before stays");
                    let pairs: Vec<_> = problems.into_iter().map(|problem| (problem.key, problem.message)).collect();
                    // a torn read is tried again: the same rejection is told once
                    if told != pairs {
                        for tenant in &book.config.tenants {
                            self.hands.events.emit(Event::rejected(&tenant.tenant, book.generation, &pairs));
                        }
                        told = pairs;
                    }
                }
            }
            // what changed while it was being read is read again; one look says both, so that no change falls between two
            let after = self.look(&book.config);
            let is_torn = before.iter().any(|(path, stamp)| after.get(path).is_some_and(|now| now != stamp));
            seen = (!is_torn).then_some(after);
        }
    }

    async fn reload(&self, book: &Book) -> Result<(Config, AllMade), Vec<Problem>> {
        let next = match &self.source {
            None => book.config.clone(),
            Some(path) => config::load(path).map_err(unread)?,
        };
        let refused = unchangeable(&book.config, &next);
        if !refused.is_empty() {
            let restart = |key: &'static str| Problem::new(key, None, "cannot change without a restart");
            return Err(refused.into_iter().map(restart).collect());
        }
        let not_built = next.not_built();
        if !not_built.is_empty() {
            return Err(not_built);
        }
        let staged_tls: Result<Vec<_>, _> = self.tls.iter().map(TlsReloader::stage).collect();
        let staged_tls = staged_tls.map_err(|error| vec![Problem::new("listeners", None, error.to_string())])?;
        self.hands.ground.admit(&next).await.map_err(|problem| vec![problem])?;
        let made = made::load(&next, &self.hands.ground, book.made.clone())?;
        let staged = self.hands.stage(&next, &made, book.generation + 1).await?;
        // from here on nothing can fail
        for (tls, staged) in self.tls.iter().zip(staged_tls) {
            tls.commit(staged);
        }
        self.hands.commit(staged).await;
        Ok((next, made))
    }

    /// The configuration and every file it names, each with its identity, size and time.
    fn look(&self, config: &Config) -> Seen {
        let paths = self.source.iter().cloned().chain(named(config));
        paths.map(|path| (path.clone(), stamp(&path))).collect()
    }
}

fn unread(error: config::ConfigError) -> Vec<Problem> {
    match error {
        config::ConfigError::Invalid { problems, .. } => problems,
        other => vec![Problem::new("(document)", None, other.to_string())],
    }
}

/// Files as they were looked at; `None` for one that is not there.
type Seen = BTreeMap<PathBuf, Option<Stamp>>;
/// Identity, size, and time in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// What a running process cannot change: its sockets, its trail, its keys, its caps.
fn unchangeable(old: &Config, next: &Config) -> Vec<&'static str> {
    let sockets = |config: &Config| -> Vec<_> {
        let socket = |l: &config::ListenerConfig| (l.wire, l.address.clone(), l.tls.clone(), l.h2c, l.socket_mode);
        config.listeners.iter().map(socket).collect()
    };
    let mut refused = Vec::new();
    if sockets(old) != sockets(next) {
        refused.push("listeners (wire, address, tls files, h2c, socket_mode)");
    }
    for (changed, key) in [
        (old.audit != next.audit, "audit"),
        (old.seal != next.seal, "seal"),
        (old.store != next.store, "store"),
        (old.server != next.server, "server"),
        (old.admin != next.admin, "admin"),
    ] {
        if changed {
            refused.push(key);
        }
    }
    refused
}

/// The files whose change means a reload.
fn named(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            files.extend([tls.certificate.clone(), tls.private_key.clone()]);
            files.extend(tls.client_ca.clone());
        }
    }
    for tenant in &config.tenants {
        files.extend(tenant.policies.iter().cloned());
        files.extend(tenant.webhooks.iter().filter_map(|hook| hook.ca_path.clone()));
        files.extend(tenant.identity.tokens.iter().map(|token| token.file.clone()));
        files.extend(tenant.identity.access_keys.iter().map(|key| key.file.clone()));
        files.extend(tenant.identity.approles.iter().flat_map(|role| role.secret_id_files.iter().cloned()));
        for jwt in &tenant.identity.jwt {
            if let JwtKeys::File(path) = &jwt.keys {
                files.push(path.clone());
            }
        }
        for backend in &tenant.backends {
            files.extend(backend.config.upstream().ca_path.clone());
            if let BackendConfig::HashicorpVault(vault) = &backend.config
                && let Some(pair) = &vault.client_certificate
            {
                files.extend([pair.certificate.clone(), pair.private_key.clone()]);
            }
        }
    }
    files
}
