//! A backend's part of a snapshot: its client, and where its credential is read.

use std::sync::Arc;

use super::Extras;
use crate::app::{Ground, files};
use crate::backend::{Backend, HttpClient, HttpSettings, client_config};
use crate::config::{BackendConfig, BackendRule, BackendSettings, Problem, TenantConfig, VaultAuth, VaultConfig};
use crate::pipeline::BackendState;
use crate::secret::{SecretPath, SecretValue};
use crate::wire::vault::{AuthMethod, CredentialSource, VaultBackend, VaultSettings};

pub(super) fn state(
    tenant: &TenantConfig,
    settings: &BackendSettings,
    extras: &Extras,
    ground: &Ground,
) -> Result<BackendState, Problem> {
    let failed = |text: String| Problem::new(format!("{}.config", settings.key), settings.line, text);
    let BackendConfig::HashicorpVault(vault) = &settings.config else {
        return Err(Problem::new(format!("{}.type", settings.key), settings.line, "not served by this release"));
    };
    let ca = vault.upstream.ca_path.as_deref();
    let identity = vault.client_certificate.as_ref();
    let mut named = Vec::new();
    let pair = identity.map(|identity| [&identity.certificate, &identity.private_key]);
    for file in vault.upstream.ca_path.iter().chain(pair.iter().flatten().copied()) {
        let bytes = files::bytes(file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
        named.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    }
    let client = ground.backend(&tenant.tenant, settings, named, || {
        let identity = identity.map(|identity| (identity.certificate.as_path(), identity.private_key.as_path()));
        let tls = client_config(ca, identity, vault.tls_verify).map_err(failed)?;
        let http = HttpClient::new(HttpSettings { tls, connect_timeout: vault.upstream.attempt_timeout })
            .map_err(|error| failed(error.to_string()))?;
        let endpoint = reqwest::Url::parse(vault.endpoint.base()).map_err(|error| failed(error.to_string()))?;
        let namespace = vault.namespace.as_deref().map(http::HeaderValue::from_str).transpose();
        let client: Arc<dyn Backend> = Arc::new(VaultBackend::new(VaultSettings {
            endpoint,
            namespace: namespace.map_err(|_| failed("namespace is not visible ASCII".to_owned()))?,
            method: method(tenant, vault, extras, ground).map_err(failed)?,
            http,
            timeout: vault.upstream.timeout,
            attempt_timeout: vault.upstream.attempt_timeout,
        }));
        Ok(client)
    })?;
    let kv2 = |rule: &BackendRule| {
        if rule.kv_version == Some(1) { None } else { data_segment(&rule.to) }
    };
    let kv2_segments = settings.path_mapping.iter().map(kv2).collect();
    Ok(BackendState { name: Box::from(settings.name.as_str()), client, kv2_segments })
}

fn method(tenant: &TenantConfig, vault: &VaultConfig, extras: &Extras, ground: &Ground) -> Result<AuthMethod, String> {
    let source = |path: &SecretPath| credential_source(tenant, path, extras, ground);
    Ok(match &vault.auth {
        VaultAuth::Token { auth_config_path } => AuthMethod::Token(source(auth_config_path)),
        VaultAuth::Approle { auth_config_path } => {
            AuthMethod::Approle { mount: vault.mount.clone(), source: source(auth_config_path) }
        }
        VaultAuth::Kubernetes { role, token_path, .. } => {
            AuthMethod::Kubernetes { mount: vault.mount.clone(), role: role.clone(), token_path: token_path.clone() }
        }
        VaultAuth::Aws { .. } | VaultAuth::Gcp { .. } => {
            return Err("auth_method is not served by this release".to_owned());
        }
    })
}

/// Where a backend's credential is read at each login: a file of `secrets:`, else the local store.
fn credential_source(tenant: &TenantConfig, path: &SecretPath, extras: &Extras, ground: &Ground) -> CredentialSource {
    if let Some((_, file)) = extras.token_file.as_ref().filter(|(dev, _)| dev == path) {
        let file = file.clone();
        return Arc::new(move || {
            let token = files::credential(&file, "--backend-token-file", None);
            let token = token.map_err(|_| "the backend token file cannot be read")?;
            let json = serde_json::to_vec(&serde_json::json!({"token": token.as_str()}));
            json.map(SecretValue::new).map_err(|_| "the backend token cannot be used")
        });
    }
    if let Some(secret) = tenant.secrets.iter().find(|secret| secret.path == *path) {
        let file = secret.file.clone();
        return Arc::new(move || {
            let bytes = files::bytes(&file).map_err(|_| "the file of the stored credential cannot be read")?;
            Ok(SecretValue::copy_of(&bytes))
        });
    }
    let (records, clock, path) = (ground.records(&tenant.tenant), ground.clock.clone(), path.clone());
    Arc::new(move || {
        let stored = records.stored(&path).filter(|stored| stored.version.is_readable(clock.now()));
        let stored = stored.ok_or("the stored credential does not exist, or is deleted")?;
        let value = records.value(&path, stored.current).map_err(|_| "the stored credential cannot be opened")?;
        value.ok_or("the stored credential has no value")
    })
}

/// The first literal `data` segment before any `**`: everything before it is one segment a piece.
pub(super) fn data_segment(to: &str) -> Option<usize> {
    to.split('/').take_while(|segment| *segment != "**").position(|segment| segment == "data")
}
