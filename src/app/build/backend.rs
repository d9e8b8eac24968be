//! A backend's part of a snapshot: its client, and where its credential is read.

mod aws;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

pub(in crate::app) use self::vault::seal_credentials;
use super::{Extras, reach};
use crate::app::{Ground, files};
use crate::backend::{Backend, ForwardProxy, HttpClient, HttpSettings, Reach, client_config};
use crate::config::{
    AllowedEndpoints, BackendConfig, BackendRule, BackendSettings, HttpUrl, Problem, TenantConfig, UpstreamConfig,
};
use crate::mapping::Router;
use crate::pipeline::BackendState;
use crate::seal::Stored;
use crate::secret::{BackendId, Mode, RuleSettings, SecretPath, SecretValue, SyncScope, Tenant};
use crate::sync::Replica;
use crate::wire::aws::{AwsBackend, KeySource};
use crate::wire::vault::{CredentialSource, VaultBackend};

/// Finds where a stored credential is read.
type Sources<'a> = &'a dyn Fn(&SecretPath) -> Result<CredentialSource, String>;

/// A backend that was made, wherever that was.
pub(super) struct Whose<'a> {
    pub(super) tenant: &'a TenantConfig,
    pub(super) settings: &'a BackendSettings,
    pub(super) id: BackendId,
    /// Its position in the router.
    pub(super) index: u32,
    /// Where it may point, if it came over the API.
    pub(super) allowed: Option<&'a AllowedEndpoints>,
    /// Whether its client is the one in use, whatever has become of the files that was made with.
    pub(super) stays: bool,
}

pub(super) fn state(
    whose: Whose<'_>,
    router: &Arc<Router>,
    extras: &Extras,
    ground: &Ground,
) -> Result<BackendState, Problem> {
    let Whose { tenant, settings, id, index, allowed, stays } = whose;
    let failed = |text: String| Problem::new(format!("{}.config", settings.key), settings.line, text);
    let made = || {
        let mut named = digests(&settings.config).map_err(failed)?;
        // another list makes another client: the one in use was let go where it may no longer
        named.extend_from_slice(format!("{allowed:?}").as_bytes());
        ground.backend(&tenant.tenant, settings, named, || {
            let source = |path: &SecretPath| credential_source(tenant, path, extras, ground);
            let reach = allowed.map_or_else(Reach::anywhere, reach::of_api);
            client(&settings.config, &source, reach).map_err(failed)
        })
    };
    let in_use = if stays { ground.in_use(&tenant.tenant, settings) } else { None };
    let client = in_use.map_or_else(made, Ok)?;
    let rules = rules(&id, settings);
    let mut state = BackendState {
        name: Box::from(settings.name.as_str()),
        client,
        kv2_segments: rules.iter().map(|rule| rule.kv2_segment).collect(),
        rules,
        replica: None,
        id,
    };
    if state.rules.iter().any(|rule| rule.mode == Mode::Sync) {
        state.replica = Some(Arc::new(replica(tenant, settings, (index, &state), router, ground)?));
    }
    Ok(state)
}

/// A client of the backend's type. A `type` this release does not serve was refused before.
fn client(config: &BackendConfig, source: Sources<'_>, reach: Reach) -> Result<Arc<dyn Backend>, String> {
    let client: Arc<dyn Backend> = match config {
        BackendConfig::HashicorpVault(config) => Arc::new(VaultBackend::new(vault::settings(config, source, reach)?)),
        BackendConfig::AwsSecretsManager(config) => Arc::new(AwsBackend::new(aws::settings(config, source, reach)?)?),
        BackendConfig::AzureKeyVault(_) | BackendConfig::GoogleSecretManager(_) => {
            return Err("type is not served by this release".to_owned());
        }
    };
    Ok(client)
}

/// What is in the files that are read when a client is made. With others it is another client.
fn digests(config: &BackendConfig) -> Result<Vec<u8>, String> {
    let identity = match config {
        BackendConfig::HashicorpVault(config) => config.client_certificate.as_ref(),
        _ => None,
    };
    let pair = identity.map(|identity| [&identity.certificate, &identity.private_key]);
    let mut digests = Vec::new();
    for file in config.upstream().ca_path.iter().chain(pair.iter().flatten().copied()) {
        let bytes = files::bytes(file).map_err(|error| format!("{}: {error}", file.display()))?;
        digests.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    }
    Ok(digests)
}

fn replica(
    tenant: &TenantConfig,
    settings: &BackendSettings,
    (index, state): (u32, &BackendState),
    router: &Arc<Router>,
    ground: &Ground,
) -> Result<Replica, Problem> {
    let routes: Vec<u64> = state.rules.iter().map(|rule| rule.route).collect();
    let leads_here = |path: &&SecretPath| {
        let route = router.resolve(path);
        route.is_some_and(|route| route.targets.first().is_some_and(|target| target.backend == index))
    };
    Ok(Replica {
        tenant: tenant.tenant.clone(),
        id: state.id.clone(),
        name: state.name.clone(),
        index,
        client: state.client.clone(),
        records: ground.records(&tenant.tenant)?,
        router: router.clone(),
        rules: state.rules.clone(),
        conflict_on: settings.conflict_on,
        conflict_policy: settings.conflict_policy,
        on_backend_delete: settings.on_backend_delete,
        rate_limit: settings.rate_limit.or_else(|| settings.config.backend_type().rate_limit(scope(&state.rules))),
        prefetch: tenant.prefetch.paths.iter().filter(leads_here).cloned().collect(),
        max_value_bytes: tenant.value_bytes,
        copies: ground.copies(&tenant.tenant, &state.id, &routes),
    })
}

/// What its syncs copy at most.
fn scope(rules: &[RuleSettings]) -> SyncScope {
    let is_whole = |rule: &RuleSettings| rule.mode == Mode::Sync && rule.scope == SyncScope::All;
    if rules.iter().any(is_whole) { SyncScope::All } else { SyncScope::Demand }
}

/// How each rule's paths are served: its own settings over its backend's.
pub(in crate::app) fn rules(id: &BackendId, settings: &BackendSettings) -> Vec<RuleSettings> {
    let one = |rule: &BackendRule| RuleSettings {
        mode: settings.mode_of(rule),
        interval: rule.sync_interval.unwrap_or(settings.sync_interval),
        scope: rule.sync_scope.unwrap_or(settings.sync_scope),
        write_mode: rule.write_mode.unwrap_or(settings.write_mode),
        history: rule.history.unwrap_or(settings.history),
        max_versions: rule.max_versions.unwrap_or(settings.max_versions).into(),
        max_stale: rule.max_stale.or(settings.max_stale),
        deny_grace: settings.deny_grace,
        route: route(id, rule),
        kv2_segment: kv2_segment(settings, rule),
    };
    settings.path_mapping.iter().map(one).collect()
}

/// Which segment of a rule's remote names marks KV version 2.
fn kv2_segment(settings: &BackendSettings, rule: &BackendRule) -> Option<usize> {
    match settings.config {
        BackendConfig::HashicorpVault(_) if rule.kv_version != Some(1) => data_segment(&rule.to),
        _ => None,
    }
}

/// The same of every rule of a backend.
pub(super) fn kv2_segments(settings: &BackendSettings) -> Vec<Option<usize>> {
    settings.path_mapping.iter().map(|rule| kv2_segment(settings, rule)).collect()
}

/// What copies of a rule are known by: which backend, and which names stand for which.
fn route(id: &BackendId, rule: &BackendRule) -> u64 {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let version = rule.kv_version.map(|version| version.to_string()).unwrap_or_default();
    let separator = rule.separator.as_deref().unwrap_or_default();
    let escape = if rule.escape { "escape" } else { "" };
    for part in [id.as_str(), &rule.from, &rule.to, separator, escape, &version] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    digest.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The id of a backend of the configuration file.
pub(in crate::app) fn file_id(tenant: &Tenant, name: &str) -> BackendId {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for part in ["backend of a file", tenant.as_str(), name] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    BackendId::from_bytes(digest.as_ref().first_chunk::<16>().copied().unwrap_or_default())
}

fn file_source(file: PathBuf) -> CredentialSource {
    Arc::new(move || {
        let bytes = files::bytes(&file).map_err(|_| "the file of the stored credential cannot be read")?;
        Ok(SecretValue::copy_of(&bytes))
    })
}

/// A client of its own for one backend: connections are not shared with others.
fn http(ca: Option<&Path>, upstream: &UpstreamConfig, reach: Reach) -> Result<HttpClient, String> {
    let settings = HttpSettings { tls: client_config(ca, None, true)?, connect_timeout: upstream.attempt_timeout };
    HttpClient::through(settings, reach, forward_proxy(upstream)?).map_err(|error| error.to_string())
}

/// The forward proxy of a backend, if it has one. It is trusted by the backend's roots, and is shown no certificate of ours.
fn forward_proxy(upstream: &UpstreamConfig) -> Result<Option<ForwardProxy>, String> {
    let Some(configured) = &upstream.proxy_url else { return Ok(None) };
    let tls = client_config(upstream.ca_path.as_deref(), None, true)?;
    Ok(Some(ForwardProxy { url: url(configured)?, tls }))
}

/// The process's own AWS identity. Where it comes from is trusted by the system's roots, whatever the backend is by,
/// and it may be anywhere: nobody but the process's own surroundings points there. What is not on this machine or its link
/// lies behind the backend's forward proxy.
fn ambient(profile: Option<String>, upstream: &UpstreamConfig) -> Result<KeySource, String> {
    Ok(KeySource::Ambient { profile, http: Arc::new(http(None, upstream, Reach::anywhere())?) })
}

fn url(configured: &HttpUrl) -> Result<Url, String> {
    Url::parse(configured.base()).map_err(|error| error.to_string())
}

/// Where a credential is read at each use: a file of `secrets:`, else the local store.
pub(super) fn credential_source(
    tenant: &TenantConfig,
    path: &SecretPath,
    extras: &Extras,
    ground: &Ground,
) -> Result<CredentialSource, String> {
    if let Some((_, file)) = extras.token_file.as_ref().filter(|(dev, _)| dev == path) {
        let file = file.clone();
        return Ok(Arc::new(move || {
            let token = files::credential(&file, "--backend-token-file", None);
            let token = token.map_err(|_| "the backend token file cannot be read")?;
            let json = serde_json::to_vec(&serde_json::json!({"token": token.as_str()}));
            json.map(SecretValue::new).map_err(|_| "the backend token cannot be used")
        }));
    }
    if let Some(secret) = tenant.secrets.iter().find(|secret| secret.path == *path) {
        return Ok(file_source(secret.file.clone()));
    }
    let records = ground.records(&tenant.tenant).map_err(|problem| problem.to_string())?;
    let (clock, path) = (ground.clock.clone(), path.clone());
    Ok(Arc::new(move || {
        // a copy is somebody else's word, and may be quarantined
        let is_own = |stored: &Stored| stored.copy.is_none() && stored.version.is_readable(clock.now());
        let stored = records.stored(&path).filter(is_own);
        let stored = stored.ok_or("the stored credential does not exist, or is deleted")?;
        let value = records.value(&path, stored.current).map_err(|_| "the stored credential cannot be opened")?;
        value.ok_or("the stored credential has no value")
    }))
}

/// The first literal `data` segment before any `**`: everything before it is one segment a piece.
pub(super) fn data_segment(to: &str) -> Option<usize> {
    to.split('/').take_while(|segment| *segment != "**").position(|segment| segment == "data")
}
