//! The configuration: one YAML file to one checked value.
//!
//! Reads text into a tree, the tree into typed values, and checks what the values say about each other; every problem is
//! found in one pass and named by its key path. A [`Config`] that exists is complete: addresses and durations are parsed,
//! defaults filled, relative files resolved. Unknown keys, duplicate keys and values of a wrong type are errors, and no
//! message ever shows a value. Files named in the configuration are not opened here, and templates stay text: what they
//! mean is for the rooms that use them.

mod address;
mod api;
mod audit;
mod backend;
mod check;
mod compile;
#[cfg(test)]
mod harness;
mod identity;
mod jwt;
mod listener;
mod not_built;
mod place;
mod problem;
mod process;
mod raw;
mod rule;
mod seal;
mod source;
mod store;
mod tenant;
mod url;
mod vendor;
mod webhook;
mod wire;

use std::path::Path;

pub use self::url::HttpUrl;
pub use address::{Address, PeerAddress};
pub use api::{
    AllowedEndpoints, backend_credentials, check_backend, compile_backend, describe_backend, kept_body, patched_body,
    problems_in_body, why_unsupported,
};
pub use audit::{AuditConfig, Durability, SinkConfig, SinkKind};
pub use backend::BackendSettings;
pub use identity::{AccessKeyConfig, ApproleConfig, CertificateConfig, IdentityConfig, PrincipalConfig, TokenConfig};
pub use jwt::{JwtConfig, JwtKeys};
pub use listener::{ListenerAuth, ListenerConfig, TlsConfig, default_address};
pub use place::{is_meant, is_special_address};
pub use problem::{ConfigError, Problem};
pub use process::{AdminConfig, InterceptConfig, ServerCaps};
pub use rule::{BackendRule, Fallback};
pub use seal::{PassphraseSource, SealConfig, SealKey, SealService};
pub use source::load;
pub use store::{LocalConfig, StoreConfig};
pub use tenant::{PrefetchConfig, SecretFile, TenantConfig};
pub use vendor::{
    AwsConfig, AzureAuthMethod, AzureConfig, BackendConfig, BackendType, ClientCertificate, GoogleAuthMethod,
    GoogleConfig, Replication, UpstreamConfig, VaultAuth, VaultConfig,
};
pub use webhook::{EVENT_TYPES, WebhookConfig};
pub use wire::{Mount, MountKind, PassOperation, Passthrough, PathRule, Project};

use crate::secret::Tenant;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where records are kept.
    pub store: StoreConfig,
    /// Where the root key comes from; `None` makes one in memory.
    pub seal: Option<SealConfig>,
    /// The audit trail.
    pub audit: AuditConfig,
    /// Caps of the process.
    pub server: ServerCaps,
    /// TLS interception.
    pub intercept: InterceptConfig,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// What is spoken where; never empty in a compiled file.
    pub listeners: Vec<ListenerConfig>,
    /// The tenants, in the order of the file; one named `default` unless the file has `tenants`.
    pub tenants: Vec<TenantConfig>,
    /// What works and is probably not meant.
    pub warnings: Vec<Problem>,
}

impl Default for Config {
    /// Every default of a configuration file, no listener, and an empty tenant `default`.
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            seal: None,
            audit: AuditConfig::default(),
            server: ServerCaps::default(),
            intercept: InterceptConfig::default(),
            admin: AdminConfig::default(),
            listeners: Vec::new(),
            tenants: vec![TenantConfig::new(Tenant::default_tenant())],
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// The tenant named so.
    #[must_use]
    pub fn tenant(&self, name: &Tenant) -> Option<&TenantConfig> {
        self.tenants.iter().find(|tenant| tenant.tenant == *name)
    }
}

/// Compiles the text of a configuration file. Pure: opens nothing, asks for no time and no environment. Relative files
/// start from `base_dir`.
///
/// # Errors
/// Everything that is wrong, in the order of the file; never empty.
pub fn compile_text(text: &str, base_dir: &Path) -> Result<Config, Vec<Problem>> {
    let scope = raw::Scope::new(base_dir);
    let config = raw::parse(text, &scope).and_then(|root| compile::document(&raw::Item::root(&root, &scope), &scope));
    let warnings = scope.conclude()?;
    match config {
        Some(config) => Ok(Config { warnings, ..config }),
        None => Err(vec![Problem::new("(document)", None, "cannot be compiled")]),
    }
}
