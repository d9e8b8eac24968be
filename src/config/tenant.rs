//! What belongs to one tenant.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::backend::{self, BackendSettings};
use super::identity::{self, IdentityConfig};
use super::raw::{Block, Item, child};
use super::store::{self, LocalConfig};
use super::webhook::{self, WebhookConfig};
use crate::secret::{SecretPath, SecretType, Tenant};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantConfig {
    /// Its name.
    pub tenant: Tenant,
    /// The key path its keys stand under: empty at top level, else as in `tenants.payments`.
    pub key: String,
    /// The namespaces its callers may name; empty is unset.
    pub namespaces: Vec<String>,
    /// What it keeps in the local store for its clients.
    pub local: LocalConfig,
    /// Who it knows.
    pub identity: IdentityConfig,
    /// Policy files, in order.
    pub policies: Vec<PathBuf>,
    /// Secrets this process itself needs; served on no wire.
    pub secrets: Vec<SecretFile>,
    /// What is read before the process is ready.
    pub prefetch: PrefetchConfig,
    /// Where a backend made by the API may point.
    pub allow_endpoints: Vec<String>,
    /// The largest value, in bytes.
    pub value_bytes: usize,
    /// Who is told of events.
    pub webhooks: Vec<WebhookConfig>,
    /// The backends, in the order they are tried.
    pub backends: Vec<BackendSettings>,
}

impl TenantConfig {
    /// A tenant with every default of a configuration file: it knows nobody and serves nothing.
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            key: String::new(),
            namespaces: Vec::new(),
            local: LocalConfig::default(),
            identity: IdentityConfig::default(),
            policies: Vec::new(),
            secrets: Vec::new(),
            prefetch: PrefetchConfig::default(),
            allow_endpoints: Vec::new(),
            value_bytes: VALUE_BYTES,
            webhooks: Vec::new(),
            backends: Vec::new(),
        }
    }

    /// The key path of one of the tenant's keys: `policies`, or `tenants.payments.policies`.
    #[must_use]
    pub fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }
}

/// A secret of the configuration, kept in a file that is read again at each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Its secret path.
    pub path: SecretPath,
    /// The file.
    pub file: PathBuf,
    /// How to understand it; `None` is JSON if it is an object, else text.
    pub secret_type: Option<SecretType>,
}

/// What is read before the process is ready. A path that is proxied is an error the caller finds by its mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefetchConfig {
    /// The paths.
    pub paths: Vec<SecretPath>,
    /// How long readiness waits for them.
    pub deadline: Duration,
}

impl Default for PrefetchConfig {
    fn default() -> Self {
        Self { paths: Vec::new(), deadline: Duration::from_secs(20) }
    }
}

const VALUE_BYTES: usize = 1_048_576;
const SECRET_TYPES: [(&str, SecretType); 3] = [
    (SecretType::Json.as_str(), SecretType::Json),
    (SecretType::Text.as_str(), SecretType::Text),
    (SecretType::Binary.as_str(), SecretType::Binary),
];

/// Reads the tenant's keys from the block they stand in, `store` excepted: at top level that block holds more.
pub(super) fn compile(block: &mut Block<'_>, tenant: Tenant, local: LocalConfig, durable: bool) -> TenantConfig {
    let key = block.key().to_owned();
    let namespaces = block.some("namespaces", |item| Some(item.secret_path()?.as_str().to_owned()));
    let identity = block.optional("identity").and_then(|item| identity::compile(&item)).unwrap_or_default();
    let policies = policies(block);
    let secrets = block.optional("secrets").map(|item| secrets(&item)).unwrap_or_default();
    let prefetch = block.optional("prefetch").and_then(|item| item.block(prefetch)).unwrap_or_default();
    let federation = block.optional("federation");
    let allow_endpoints = federation
        .and_then(|item| item.block(|block| Some(block.some("allow_endpoints", |item| item.parse(super::api::entry)))));
    let limits = block.optional("limits");
    let value_bytes = limits.and_then(|item| item.block(|block| Some(block.count("value_bytes", VALUE_BYTES))));
    let webhooks = block.optional("events").and_then(|item| webhook::compile(&item)).unwrap_or_default();
    let backends = backends(block, durable);
    report_missing_secrets(block, &secrets, &local);
    TenantConfig {
        tenant,
        key,
        namespaces,
        local,
        identity,
        policies,
        secrets,
        prefetch,
        allow_endpoints: allow_endpoints.unwrap_or_default(),
        value_bytes: value_bytes.unwrap_or(VALUE_BYTES),
        webhooks,
        backends,
    }
}

/// Reads a tenant under `tenants`, with its own `store` block.
pub(super) fn nested(block: &mut Block<'_>, tenant: Tenant, durable: bool) -> TenantConfig {
    let local = block.optional("store").and_then(|item| store::of_tenant(&item)).unwrap_or_default();
    compile(block, tenant, local, durable)
}

fn policies(block: &mut Block<'_>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let files = block.each("policies", |item| {
        let file = item.file()?;
        if !seen.insert(file.clone()) {
            item.refuse("repeats an earlier file");
        }
        Some(file)
    });
    if files.is_empty() {
        block.scope().warn(&block.key_of("policies"), None, "no policy: everything is denied");
    }
    files
}

fn secrets(item: &Item<'_>) -> Vec<SecretFile> {
    let secret = |(path, item): &(&str, Item<'_>)| {
        let path = SecretPath::parse(path).map_err(|why| item.refuse(format!("is not a secret path: {why}"))).ok();
        // Without a file the entry still stands for its path, so that references to it are not reported as well.
        let file = item.block(|block| {
            let file = block.required("file").and_then(|item| item.file());
            Some((file.unwrap_or_default(), block.word("secret_type", &SECRET_TYPES)))
        });
        let (file, secret_type) = file.unwrap_or_default();
        Some(SecretFile { path: path?, file, secret_type })
    };
    item.entries().unwrap_or_default().iter().filter_map(secret).collect()
}

fn prefetch(block: &mut Block<'_>) -> Option<PrefetchConfig> {
    let default = PrefetchConfig::default();
    let paths = block.each("paths", Item::secret_path);
    Some(PrefetchConfig { paths, deadline: block.duration("deadline").unwrap_or(default.deadline) })
}

fn backends(block: &mut Block<'_>, durable: bool) -> Vec<BackendSettings> {
    let items = block.optional("backends").and_then(|item| item.items()).unwrap_or_default();
    let complete: Vec<Option<BackendSettings>> = items.iter().map(|item| backend::compile(item, durable)).collect();
    let all_known = complete.iter().all(Option::is_some);
    let backends: Vec<BackendSettings> = complete.into_iter().flatten().collect();
    let scope = block.scope();
    for (at, backend) in backends.iter().enumerate() {
        if backends.iter().take(at).any(|earlier| earlier.name == backend.name) {
            scope.refuse(&child(&backend.key, "name"), backend.line, "repeats the name of an earlier backend");
        }
        let named = |other: &BackendSettings| other.path_mapping.iter().any(|rule| rule.falls_back_to(&backend.name));
        if all_known && backend.path_mapping.is_empty() && !backends.iter().any(named) {
            scope.refuse(&child(&backend.key, "path_mapping"), backend.line, "a backend without a rule serves nothing");
        }
        for fallback in backend.path_mapping.iter().flat_map(|rule| &rule.fallback) {
            if fallback.backend == backend.name {
                scope.refuse(&child(&fallback.key, "backend"), fallback.line, "names the backend of the rule itself");
            } else if all_known && !backends.iter().any(|other| other.name == fallback.backend) {
                scope.refuse(&child(&fallback.key, "backend"), fallback.line, "names no backend of this tenant");
            }
        }
    }
    backends
}

/// Credentials of backends and webhooks must be where this process can read them before anything works.
fn report_missing_secrets(block: &Block<'_>, secrets: &[SecretFile], local: &LocalConfig) {
    let scope = block.scope();
    for reference in scope.take_references() {
        let known = secrets.iter().any(|secret| secret.path == reference.path)
            || local.folders.iter().any(|folder| folder.holds(&reference.path));
        if !known {
            let message = "names no path under this tenant's secrets or store.local";
            scope.refuse(&reference.key, Some(reference.line), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, backend, refused, refuses, vault, with};

    #[test]
    fn what_a_tenant_holds_is_read() {
        let tenant = accepted(&with(
            "namespaces: [a, b/c]\nlimits: {value_bytes: 10}\nfederation: {allow_endpoints: ['https://x']}\n\
             prefetch: {paths: [a/b], deadline: 1s}\nsecrets: {a/b: {file: /f, secret_type: binary}}\n\
             events: {webhooks: [{url: 'https://h/x', secret_path: a/b}]}",
        ))
        .tenants
        .remove(0);
        assert_eq!((tenant.namespaces.len(), tenant.value_bytes, tenant.allow_endpoints.len()), (2, 10, 1));
        assert_eq!(tenant.secrets[0].secret_type, Some(SecretType::Binary));
        assert_eq!(tenant.webhooks[0].types, crate::config::EVENT_TYPES);
        assert_eq!(tenant.key_of("backends"), "backends");
    }

    #[test]
    fn credentials_are_secrets_of_the_tenant() {
        let keys = "endpoint: 'https://v', auth_method: approle, auth_config_path: infra";
        accepted(&vault(&format!("{keys}/x")));
        refuses(&vault(&format!("{keys}/y")), "backends[0].config.auth_config_path", "names no path under");
        accepted(&format!("{}store: {{local: [infra]}}\n", vault(&format!("{keys}/y"))));
        let hook = "events: {webhooks: [{url: 'https://h', secret_path: a/b, types: [config.rejected]}]}";
        refuses(&with(hook), "events.webhooks[0].secret_path", "names no path under");
        let elsewhere = "version: 1\nlisteners: [{wire: vault}]\ntenants:\n  a: {secrets: {k: {file: f}}}\n  \
                         b: {events: {webhooks: [{url: 'https://h', secret_path: k}]}}\n";
        refuses(elsewhere, "tenants.b.events.webhooks[0].secret_path", "names no path under");
    }

    #[test]
    fn each_part_is_checked() {
        for (text, key, part) in [
            ("policies: [a, b, a]", "policies (line 4)", "duplicate key"),
            ("secrets: {a b: {file: f}}", "secrets[\"a b\"]", "is not a secret path"),
            ("secrets: {a: {}}", "secrets.a.file", "is required"),
            (
                "secrets: {a: {file: f, secret_type: xml}}",
                "secrets.a.secret_type",
                "expected one of: json, text, binary",
            ),
            ("namespaces: []", "namespaces", "is an empty list"),
            ("namespaces: [a/]", "namespaces[0]", "segment 1 is empty"),
            ("federation: {allow_endpoints: []}", "federation.allow_endpoints", "is an empty list"),
            ("federation: {allow_endpoints: ['*', 'a/b']}", "federation.allow_endpoints[1]", "expected an http(s) URL"),
            ("prefetch: {paths: [a//b]}", "prefetch.paths[0]", "segment 1 is empty"),
            ("limits: {value_bytes: 0}", "limits.value_bytes", "above zero"),
            ("events: {webhooks: [{url: 'http://h', secret_path: a}]}", "events.webhooks[0].url", "loopback only"),
        ] {
            let found = refused(&with(text));
            assert!(found.iter().any(|line| line.starts_with(key) && line.contains(part)), "{key} {part}: {found:#?}");
        }
        refuses(
            "version: 1\nlisteners: [{wire: vault}]\npolicies: [a, b, ./a]\n",
            "policies[2]",
            "repeats an earlier file",
        );
        let types = "secrets: {k: {file: f}}\nevents: {webhooks: [{url: 'https://h', secret_path: k, types: [x]}]}";
        refuses(&with(types), "events.webhooks[0].types[0]", "expected one of: federation.sync.completed");
    }

    #[test]
    fn backends_are_named_once_and_serve_something() {
        let rule = "path_mapping: [{from: a, to: b}]";
        let other = "{name: v, type: aws-secrets-manager, config: {region: eu-west-1}";
        let twice = format!("{}- {other}, {rule}}}\n", backend(rule));
        refuses(&twice, "backends[1].name", "repeats the name");
        refuses(&backend("path_mapping: []"), "backends[0].path_mapping", "serves nothing");
        refuses(&backend("mode: proxy"), "backends[0].path_mapping", "serves nothing");
        let unknown = backend("path_mapping: [{from: a, to: b, fallback: [{backend: w, to: c}]}]");
        refuses(&unknown, "backends[0].path_mapping[0].fallback[0].backend", "names no backend");
        let itself = backend("path_mapping: [{from: a, to: b, fallback: [{backend: v, to: c}]}]");
        refuses(&itself, "backends[0].path_mapping[0].fallback[0].backend", "the rule itself");
    }
}
