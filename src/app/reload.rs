//! Reload: on SIGHUP, and when the configuration or a file it names changes. A reload that fails changes nothing.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Extras, Ground, build};
use crate::audit::Auditor;
use crate::config::{self, BackendConfig, Config, JwtKeys};
use crate::listener::TlsReloader;
use crate::pipeline::Pipeline;

/// How often files are looked at. A revocation written into the file takes effect within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Watches and reloads.
pub(super) struct Reloader {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) ground: Arc<Ground>,
    pub(super) auditor: Arc<Auditor>,
    pub(super) tls: Arc<Vec<TlsReloader>>,
    pub(super) extras: Extras,
    pub(super) source: Option<PathBuf>,
}

impl Reloader {
    /// Runs as long as the process.
    pub(super) async fn run(self, mut config: Config) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let rejected = self.ground.metrics.gauge("scaivault_config_rejected", Vec::new());
        rejected.set(0.0);
        let mut generation = 1;
        let mut seen = Some(self.look(&config));
        loop {
            let asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                () = tokio::time::sleep(LOOK) => false,
            };
            if asked {
                self.auditor.reopen();
            }
            let now = self.look(&config);
            if !asked && Some(now) == seen {
                continue;
            }
            let result = self.reload(&config, generation + 1);
            // what changed while it was being read is read again
            let torn = self.look(&config) != now;
            match result {
                Ok(next) => {
                    generation += 1;
                    config = next;
                    rejected.set(0.0);
                    tracing::info!(generation, "configuration reloaded");
                }
                Err(problems) => {
                    rejected.set(1.0);
                    tracing::error!(%problems, "configuration rejected; the one before stays");
                }
            }
            seen = if torn { None } else { Some(self.look(&config)) };
        }
    }

    fn reload(&self, old: &Config, generation: u64) -> Result<Config, String> {
        let next = match &self.source {
            None => old.clone(),
            Some(path) => config::load(path).map_err(|error| error.to_string())?,
        };
        let refused = unchangeable(old, &next);
        if !refused.is_empty() {
            return Err(format!("cannot change without a restart: {}", refused.join(", ")));
        }
        let not_built = next.not_built();
        if !not_built.is_empty() {
            return Err(super::listed(&not_built));
        }
        let snapshot =
            build(&next, &self.extras, &self.ground, generation).map_err(|problems| super::listed(&problems))?;
        let staged: Result<Vec<_>, _> = self.tls.iter().map(TlsReloader::stage).collect();
        let staged = staged.map_err(|error| error.to_string())?;
        // from here on nothing can fail
        for (tls, staged) in self.tls.iter().zip(staged) {
            tls.commit(staged);
        }
        self.ground.settle(&snapshot);
        self.pipeline.replace(snapshot);
        Ok(next)
    }

    /// A fingerprint of the configuration and every file it names: identity, size and time of each.
    fn look(&self, config: &Config) -> u64 {
        let mut hasher = DefaultHasher::new();
        for path in self.source.iter().cloned().chain(named(config)) {
            stamp(&path).hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
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
        files.extend(tenant.identity.tokens.iter().map(|token| token.file.clone()));
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
