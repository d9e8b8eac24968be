//! A Vault or OpenBao client's settings.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Sources, ambient, file_source, forward_proxy, url};
use crate::backend::{HttpClient, HttpSettings, Reach, client_config};
use crate::config::{Config, VaultAuth, VaultConfig};
use crate::secret::SecretPath;
use crate::wire::aws::{IdentityProof, KeySource, ProofSettings, Prover};
use crate::wire::vault::{AuthMethod, IdentityProver, Proving, SignedIdentity, VaultSettings};

/// The settings of a client, with its credential read from `source` at each login.
pub(super) fn settings(vault: &VaultConfig, source: Sources<'_>, reach: Reach) -> Result<VaultSettings, String> {
    let identity = vault.client_certificate.as_ref();
    let identity = identity.map(|identity| (identity.certificate.as_path(), identity.private_key.as_path()));
    let tls = client_config(vault.upstream.ca_path.as_deref(), identity, vault.tls_verify)?;
    let settings = HttpSettings { tls, connect_timeout: vault.upstream.attempt_timeout };
    let proxy = forward_proxy(&vault.upstream)?;
    let http = HttpClient::through(settings, reach, proxy).map_err(|error| error.to_string())?;
    let namespace = vault.namespace.as_deref().map(http::HeaderValue::from_str).transpose();
    Ok(VaultSettings {
        endpoint: url(&vault.endpoint)?,
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
    settings(vault, &source, Reach::anywhere())
}

fn method(vault: &VaultConfig, source: Sources<'_>) -> Result<AuthMethod, String> {
    Ok(match &vault.auth {
        VaultAuth::Token { auth_config_path } => AuthMethod::Token(source(auth_config_path)?),
        VaultAuth::Approle { auth_config_path } => {
            AuthMethod::Approle { mount: vault.mount.clone(), source: source(auth_config_path)? }
        }
        VaultAuth::Kubernetes { role, token_path, .. } => {
            AuthMethod::Kubernetes { mount: vault.mount.clone(), role: role.clone(), token_path: token_path.clone() }
        }
        VaultAuth::Aws { role, region, sts_endpoint, server_id, auth_config_path } => {
            let keys = match auth_config_path {
                Some(path) => KeySource::Stored(source(path)?),
                None => ambient(None, &vault.upstream)?,
            };
            let sts_endpoint = sts_endpoint.as_ref().map(url).transpose()?;
            let proof = ProofSettings { keys, region: region.clone(), sts_endpoint, server_id: server_id.clone() };
            AuthMethod::Aws { mount: vault.mount.clone(), role: role.clone(), prove: prover(Prover::new(proof)?) }
        }
        VaultAuth::Gcp { .. } => return Err("auth_method is not served by this release".to_owned()),
    })
}

/// What one wire proves, in the words another asks for it in.
fn prover(prover: Prover) -> IdentityProver {
    let prover = Arc::new(prover);
    Arc::new(move || -> Proving {
        let prover = prover.clone();
        Box::pin(async move { prover.prove().await.map(signed) })
    })
}

fn signed(proof: IdentityProof) -> SignedIdentity {
    let IdentityProof { method, url, body, headers } = proof;
    SignedIdentity { method, url: Zeroizing::new(url), body: Zeroizing::new(body), headers: Zeroizing::new(headers) }
}
