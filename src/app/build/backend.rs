//! A backend's part of a snapshot: its client, and where its credential is read.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Extras, reach};
use crate::app::{Ground, files};
use crate::backend::{Backend, HttpClient, HttpSettings, Reach, client_config};
use crate::config::{
    AllowedEndpoints, BackendConfig, BackendRule, BackendSettings, Config, Problem, TenantConfig, VaultAuth,
    VaultConfig,
};
use crate::mapping::Router;
use crate::pipeline::BackendState;
use crate::seal::Stored;
use crate::secret::{BackendId, Mode, RuleSettings, SecretPath, SecretValue, Tenant};
use crate::sync::Replica;
use crate::wire::vault::{AuthMethod, CredentialSource, VaultBackend, VaultSettings};

/// A backend that was made, wherever that was.
pub(super) struct Whose<'a> {
    pub(super) tenant: &'a TenantConfig,
    pub(super) settings: &'a BackendSettings,
    pub(super) id: BackendId,
    /// Its position in the router.
    pub(super) index: u32,
    /// Where it may point, if it came over the API.
    pub(super) allowed: Option<&'a AllowedEndpoints>,
}

pub(super) fn state(
    whose: Whose<'_>,
    router: &Arc<Router>,
    extras: &Extras,
    ground: &Ground,
) -> Result<BackendState, Problem> {
    let Whose { tenant, settings, id, index, allowed } = whose;
    let failed = |text: String| Problem::new(format!("{}.config", settings.key), settings.line, text);
    let BackendConfig::HashicorpVault(vault) = &settings.config else {
        return Err(Problem::new(format!("{}.type", settings.key), settings.line, "not served by this release"));
    };
    let mut named = Vec::new();
    let pair = vault.client_certificate.as_ref().map(|identity| [&identity.certificate, &identity.private_key]);
    for file in vault.upstream.ca_path.iter().chain(pair.iter().flatten().copied()) {
        let bytes = files::bytes(file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
        named.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    }
    // another list makes another client: the one in use was let go where it may no longer
    named.extend_from_slice(format!("{allowed:?}").as_bytes());
    let client = ground.backend(&tenant.tenant, settings, named, || {
        let source = |path: &SecretPath| credential_source(tenant, path, extras, ground);
        let reach = allowed.map_or_else(Reach::anywhere, reach::of_api);
        let vault = vault_settings(vault, &source, reach).map_err(failed)?;
        let client: Arc<dyn Backend> = Arc::new(VaultBackend::new(vault));
        Ok(client)
    })?;
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
        rate_limit: settings.rate_limit,
        prefetch: tenant.prefetch.paths.iter().filter(leads_here).cloned().collect(),
        max_value_bytes: tenant.value_bytes,
        copies: ground.copies(&tenant.tenant, &state.id, &routes),
    })
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
        kv2_segment: if rule.kv_version == Some(1) { None } else { data_segment(&rule.to) },
    };
    settings.path_mapping.iter().map(one).collect()
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

/// The settings of a client, with its credential read from `source` at each login.
fn vault_settings(
    vault: &VaultConfig,
    source: &dyn Fn(&SecretPath) -> Result<CredentialSource, String>,
    reach: Reach,
) -> Result<VaultSettings, String> {
    let identity = vault.client_certificate.as_ref();
    let identity = identity.map(|identity| (identity.certificate.as_path(), identity.private_key.as_path()));
    let tls = client_config(vault.upstream.ca_path.as_deref(), identity, vault.tls_verify)?;
    let settings = HttpSettings { tls, connect_timeout: vault.upstream.attempt_timeout };
    let http = HttpClient::within(settings, reach).map_err(|error| error.to_string())?;
    let endpoint = url::Url::parse(vault.endpoint.base()).map_err(|error| error.to_string())?;
    let namespace = vault.namespace.as_deref().map(http::HeaderValue::from_str).transpose();
    Ok(VaultSettings {
        endpoint,
        namespace: namespace.map_err(|_| "namespace is not visible ASCII".to_owned())?,
        method: method(vault, source)?,
        http,
        timeout: vault.upstream.timeout,
        attempt_timeout: vault.upstream.attempt_timeout,
    })
}

/// The settings of the client that unwraps the store's key: its credential is in no store, but in a file of `secrets:`.
pub(in crate::app) fn seal_credentials(config: &Config, vault: &VaultConfig) -> Result<VaultSettings, String> {
    let source = |path: &SecretPath| {
        let mut secrets = config.tenants.iter().flat_map(|tenant| &tenant.secrets);
        let secret = secrets.find(|secret| secret.path == *path);
        let secret = secret.ok_or_else(|| format!("{path} must be one of secrets: the store is not open yet"))?;
        Ok(file_source(secret.file.clone()))
    };
    vault_settings(vault, &source, Reach::anywhere())
}

fn file_source(file: PathBuf) -> CredentialSource {
    Arc::new(move || {
        let bytes = files::bytes(&file).map_err(|_| "the file of the stored credential cannot be read")?;
        Ok(SecretValue::copy_of(&bytes))
    })
}

fn method(
    vault: &VaultConfig,
    source: &dyn Fn(&SecretPath) -> Result<CredentialSource, String>,
) -> Result<AuthMethod, String> {
    Ok(match &vault.auth {
        VaultAuth::Token { auth_config_path } => AuthMethod::Token(source(auth_config_path)?),
        VaultAuth::Approle { auth_config_path } => {
            AuthMethod::Approle { mount: vault.mount.clone(), source: source(auth_config_path)? }
        }
        VaultAuth::Kubernetes { role, token_path, .. } => {
            AuthMethod::Kubernetes { mount: vault.mount.clone(), role: role.clone(), token_path: token_path.clone() }
        }
        VaultAuth::Aws { .. } | VaultAuth::Gcp { .. } => {
            return Err("auth_method is not served by this release".to_owned());
        }
    })
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
