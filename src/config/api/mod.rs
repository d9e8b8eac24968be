//! Backends made over the API: the same settings as in the file, read from one JSON object by the same code.
//!
//! Promises: what a file may say about a backend the API may say too, except what only an operator of this machine decides:
//! which of its files are used, where backends may point, whether their certificates are verified, and what is listened
//! on. Problems are keyed by the path in the body (`path_mapping[0].from`). Bodies hold references to credentials, never
//! credentials, and no message shows a value.
//! Knows nothing of who is asking.

mod endpoints;
mod render;

use std::path::Path;

use serde_json::{Map, Value, json};

pub use endpoints::AllowedEndpoints;
pub(super) use endpoints::entry;
pub use render::describe_backend;

use super::backend::{self, BackendSettings};
use super::problem::Problem;
use super::raw;
use super::tenant::TenantConfig;
use super::vendor::{BackendConfig, VaultAuth, VaultConfig};
use crate::secret::SecretPath;

/// Files are sent to a server of the caller's choice, or prove somebody else's identity to it; and to open one can tell
/// whether it is there, or never end.
const FILE_KEYS: [&str; 5] = ["token_path", "client_cert_path", "client_key_path", "ca_path", "profile"];
const FILE_KEY: &str = "names a file of the proxy's machine; that is for backends of its configuration file";
const UNVERIFIED: &str = "only the configuration file may switch the verification of a backend's certificate off";
const DEVICE: &str = "opens a socket on the proxy's machine; that is for backends of its configuration file";

/// Compiles the JSON object of one backend with the code of the file; `durable` is whether the store outlives the
/// process, which decides what a sync pulls. The result's `key` is empty, so that keys below it are paths in the body.
///
/// # Errors
/// Everything that is wrong, keyed relative to the body; never empty. Duplicate keys are among it.
pub fn compile_backend(text: &str, durable: bool) -> Result<BackendSettings, Vec<Problem>> {
    let scope = raw::Scope::new(Path::new("/"));
    let settings = raw::parse(text, &scope).and_then(|root| {
        let item = raw::Item::root(&root, &scope);
        refuse_files(&item);
        let settings = backend::compile(&item, durable)?;
        if let BackendConfig::HashicorpVault(config) = &settings.config
            && !config.tls_verify
        {
            scope.refuse("config.tls_verify", None, UNVERIFIED);
        }
        if settings.config.audit_device().is_some() {
            scope.refuse("config.audit_device", None, DEVICE);
        }
        Some(settings)
    });
    let _warnings = scope.conclude().map_err(without_lines)?;
    let mut settings = settings.ok_or_else(|| vec![Problem::new("(document)", None, "cannot be compiled")])?;
    settings.line = None;
    for rule in &mut settings.path_mapping {
        rule.line = None;
        rule.fallback.iter_mut().for_each(|fallback| fallback.line = None);
    }
    Ok(settings)
}

/// What a new backend of the API must agree on with its tenant, as the file has it: `others` are the tenant's other
/// backends, of the file and of the API. Whether its rules fit beside theirs is for the router.
///
/// Its credential must be one that clients store under `store.local`. One that the file holds or uses would be sent to a
/// server of the caller's choice, whoever may not read it.
#[must_use]
pub fn check_backend(settings: &BackendSettings, tenant: &TenantConfig, others: &[&BackendSettings]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut refuse = |key: String, message: &str| found.push(Problem::new(key, None, message));
    if others.iter().any(|other| other.name == settings.name) {
        refuse("name".to_owned(), "is the name of another backend of this tenant");
    }
    if settings.path_mapping.is_empty() {
        refuse("path_mapping".to_owned(), "a backend without a rule serves nothing");
    }
    for fallback in settings.path_mapping.iter().flat_map(|rule| &rule.fallback) {
        if !others.iter().any(|other| other.name == fallback.backend) {
            refuse(format!("{}.backend", fallback.key), "names no other backend of this tenant");
        }
    }
    let ambient = match &settings.config {
        BackendConfig::AwsSecretsManager(aws) if aws.credentials_path.is_none() => Some("config.credentials_path"),
        BackendConfig::HashicorpVault(VaultConfig { auth: VaultAuth::Aws { auth_config_path: None, .. }, .. }) => {
            Some("config.auth_config_path")
        }
        _ => None,
    };
    if let Some(key) = ambient {
        refuse(key.to_owned(), "is required: this process's own identity is for backends of its configuration file");
    }
    for (key, path) in backend_credentials(settings) {
        if let Some(message) = why_no_credential(path, tenant) {
            refuse(key.to_owned(), message);
        }
    }
    found
}

/// Why a backend of the API may not log in with a path; `None` if it may.
fn why_no_credential(path: &SecretPath, tenant: &TenantConfig) -> Option<&'static str> {
    if tenant.secrets.iter().any(|secret| secret.path == *path) {
        return Some("names a secret of the configuration file; store one under store.local and name that");
    }
    if !tenant.local.folders.iter().any(|folder| folder.holds(path)) {
        return Some("names no path under this tenant's store.local");
    }
    if tenant.webhooks.iter().any(|hook| hook.secret_path == *path) {
        return Some("names the secret of a webhook; store one of its own and name that");
    }
    let is_used = tenant.backends.iter().flat_map(backend_credentials).any(|(_, used)| used == path);
    is_used.then_some("names the credential of a backend of the configuration file; store one of its own and name that")
}

/// The secret paths a backend of any type logs in with, each with its key in the body.
#[must_use]
pub fn backend_credentials(settings: &BackendSettings) -> Vec<(&'static str, &SecretPath)> {
    const AUTH: &str = "config.auth_config_path";
    const CREDENTIALS: &str = "config.credentials_path";
    let (key, path) = match &settings.config {
        BackendConfig::HashicorpVault(config) => match &config.auth {
            VaultAuth::Approle { auth_config_path } | VaultAuth::Token { auth_config_path } => {
                (AUTH, Some(auth_config_path))
            }
            VaultAuth::Kubernetes { .. } => (AUTH, None),
            VaultAuth::Aws { auth_config_path, .. } | VaultAuth::Gcp { auth_config_path, .. } => {
                (AUTH, auth_config_path.as_ref())
            }
        },
        BackendConfig::AwsSecretsManager(config) => (CREDENTIALS, config.credentials_path.as_ref()),
        BackendConfig::AzureKeyVault(config) => (CREDENTIALS, config.credentials_path.as_ref()),
        BackendConfig::GoogleSecretManager(config) => (CREDENTIALS, config.credentials_path.as_ref()),
    };
    path.map(|path| (key, path)).into_iter().collect()
}

/// Why this release cannot serve a backend, valid as it is; `None` if it can. Such a backend is kept and reported as
/// `unsupported`.
#[must_use]
pub fn why_unsupported(settings: &BackendSettings) -> Option<&'static str> {
    if settings.path_mapping.iter().any(|rule| !rule.fallback.is_empty()) {
        return Some("path_mapping: this release does not serve fallback");
    }
    match &settings.config {
        BackendConfig::HashicorpVault(config) => match config.auth {
            VaultAuth::Approle { .. }
            | VaultAuth::Token { .. }
            | VaultAuth::Kubernetes { .. }
            | VaultAuth::Aws { .. } => None,
            VaultAuth::Gcp { .. } => {
                Some("config.auth_method: this release does not log in to Vault with a Google identity")
            }
        },
        BackendConfig::AwsSecretsManager(_) => None,
        BackendConfig::AzureKeyVault(_) => Some("type: this release has no client for azure-key-vault"),
        BackendConfig::GoogleSecretManager(_) => Some("type: this release has no client for google-secret-manager"),
    }
}

/// A body as it is kept: rules given as an object become a list in their order, which tools leave alone.
#[must_use]
pub fn kept_body(body: &Value) -> Value {
    let mut kept = body.clone();
    if let Some(mapping) = kept.get_mut("path_mapping")
        && let Value::Object(rules) = mapping
    {
        let rules = std::mem::take(rules).into_iter().map(|(from, to)| json!({"from": from, "to": to}));
        *mapping = Value::Array(rules.collect());
    }
    kept
}

/// Merges `patch` into a kept body (RFC 7396): objects are merged, `null` removes a key, anything else replaces what is
/// there. A list is replaced whole.
#[must_use]
pub fn patched_body(kept: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut fields = match kept {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    for (key, change) in changes {
        if change.is_null() {
            // in place: the order of what stays is kept
            fields.shift_remove(key);
            continue;
        }
        let merged = patched_body(fields.get(key).unwrap_or(&Value::Null), change);
        fields.insert(key.clone(), merged);
    }
    Value::Object(fields)
}

/// Keys of a whole configuration, as the router and the clients report them, as paths in the body of the backend at
/// `index` of the tenant's backends. A key outside it (`store.local[0]`) stays as it is.
#[must_use]
pub fn problems_in_body(problems: Vec<Problem>, tenant: &TenantConfig, index: usize) -> Vec<Problem> {
    let prefix = tenant.key_of(&format!("backends[{index}]"));
    let relative = |problem: Problem| {
        let below = problem.key.strip_prefix(&prefix).unwrap_or(&problem.key);
        let key = below.strip_prefix('.').unwrap_or(below);
        Problem::new(if key.is_empty() { "(document)" } else { key }, None, problem.message)
    };
    problems.into_iter().map(relative).collect()
}

fn refuse_files(item: &raw::Item<'_>) {
    for config in below(item).filter(|(name, _)| *name == "config").map(|(_, config)| config) {
        below(&config).filter(|(name, _)| FILE_KEYS.contains(name)).for_each(|(_, item)| item.refuse(FILE_KEY));
    }
}

/// What a mapping holds; nothing if it is none, which is reported where it is read.
fn below<'a>(item: &raw::Item<'a>) -> impl Iterator<Item = (&'a str, raw::Item<'a>)> {
    let entries = if item.is_mapping() { item.entries() } else { None };
    entries.unwrap_or_default().into_iter()
}

fn without_lines(problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().map(|problem| Problem { line: None, ..problem }).collect()
}

#[cfg(test)]
mod tests;
