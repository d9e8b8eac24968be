//! The `config` block of a backend, by the backend's type.
//!
//! Credentials are never here: `credentials_path` and `auth_config_path` are secret paths of the tenant, every other
//! `*_path` is a file that is read again at each use.

mod aws;
mod azure;
mod google;
mod vault;

use std::path::PathBuf;
use std::time::Duration;

pub use aws::AwsConfig;
pub use azure::{AzureAuthMethod, AzureConfig};
pub use google::{GoogleAuthMethod, GoogleConfig, Replication};
pub(super) use vault::SERVICE_ACCOUNT_TOKEN;
pub use vault::{ClientCertificate, VaultAuth, VaultConfig};

use super::address::Address;
use super::raw::{Block, Item};
use super::url::HttpUrl;
use crate::secret::{RateLimit, SyncScope};

/// A type of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendType {
    /// HashiCorp Vault and OpenBao.
    HashicorpVault,
    /// AWS Secrets Manager.
    AwsSecretsManager,
    /// Azure Key Vault.
    AzureKeyVault,
    /// GCP Secret Manager.
    GoogleSecretManager,
}

impl BackendType {
    /// The word used in the configuration and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HashicorpVault => "hashicorp-vault",
            Self::AwsSecretsManager => "aws-secrets-manager",
            Self::AzureKeyVault => "azure-key-vault",
            Self::GoogleSecretManager => "google-secret-manager",
        }
    }
}

/// What a vendor lets a whole account (AWS, per region), vault (Azure) or project (Google) ask for by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    /// Requests a second of the kind that copying everything is made of.
    all: u32,
    /// Requests a second of the kind that reads one secret.
    one: u32,
}

/// Of a quota, what one process takes to copy everything: others are in the same account.
const SHARE_OF_ALL: u32 = 4;
/// What it takes to copy what was asked for: there are many of these.
const SHARE_ON_DEMAND: u32 = 400;
/// How many seconds' worth of requests may go out at once.
const BURST_SECONDS: u32 = 4;

impl BackendType {
    /// What a sync may ask of a backend of this type where nothing is configured; `None` for no limit but that of
    /// concurrency.
    #[must_use]
    pub fn rate_limit(self, scope: SyncScope) -> Option<RateLimit> {
        let Quota { all, one } = self.quota()?;
        let per_second = match scope {
            SyncScope::All => all / SHARE_OF_ALL,
            SyncScope::Demand => one / SHARE_ON_DEMAND,
        };
        let per_second = per_second.max(1);
        Some(RateLimit { per_second, burst: per_second * BURST_SECONDS })
    }

    const fn quota(self) -> Option<Quota> {
        match self {
            // the operator's own, with limits of his own
            Self::HashicorpVault => None,
            // pages of lists and batches of values; GetSecretValue and DescribeSecret together
            Self::AwsSecretsManager => Some(Quota { all: 100, one: 10_000 }),
            // 4,000 in ten seconds, whatever they are
            Self::AzureKeyVault => Some(Quota { all: 400, one: 400 }),
            // 90,000 accesses of values a minute
            Self::GoogleSecretManager => Some(Quota { all: 1_500, one: 1_500 }),
        }
    }
}

/// How a backend is reached and logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// HashiCorp Vault and OpenBao.
    HashicorpVault(VaultConfig),
    /// AWS Secrets Manager.
    AwsSecretsManager(AwsConfig),
    /// Azure Key Vault.
    AzureKeyVault(AzureConfig),
    /// GCP Secret Manager.
    GoogleSecretManager(GoogleConfig),
}

impl BackendConfig {
    /// Which type of backend this is for.
    #[must_use]
    pub const fn backend_type(&self) -> BackendType {
        match self {
            Self::HashicorpVault(_) => BackendType::HashicorpVault,
            Self::AwsSecretsManager(_) => BackendType::AwsSecretsManager,
            Self::AzureKeyVault(_) => BackendType::AzureKeyVault,
            Self::GoogleSecretManager(_) => BackendType::GoogleSecretManager,
        }
    }

    /// What all types share.
    #[must_use]
    pub const fn upstream(&self) -> &UpstreamConfig {
        match self {
            Self::HashicorpVault(config) => &config.upstream,
            Self::AwsSecretsManager(config) => &config.upstream,
            Self::AzureKeyVault(config) => &config.upstream,
            Self::GoogleSecretManager(config) => &config.upstream,
        }
    }

    /// Where the backend's audit device is listened for; only a Vault or OpenBao server has one.
    #[must_use]
    pub const fn audit_device(&self) -> Option<&Address> {
        match self {
            Self::HashicorpVault(config) => config.audit_device.as_ref(),
            Self::AwsSecretsManager(_) | Self::AzureKeyVault(_) | Self::GoogleSecretManager(_) => None,
        }
    }
}

/// How any backend is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// A forward proxy.
    pub proxy_url: Option<HttpUrl>,
    /// How long a call may take with all its attempts.
    pub timeout: Duration,
    /// How long one attempt may take; at most `timeout`.
    pub attempt_timeout: Duration,
    /// Roots that replace the system's, PEM.
    pub ca_path: Option<PathBuf>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            proxy_url: None,
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            ca_path: None,
        }
    }
}

pub(super) const TYPES: [(&str, BackendType); 4] = [
    (BackendType::HashicorpVault.as_str(), BackendType::HashicorpVault),
    (BackendType::AwsSecretsManager.as_str(), BackendType::AwsSecretsManager),
    (BackendType::AzureKeyVault.as_str(), BackendType::AzureKeyVault),
    (BackendType::GoogleSecretManager.as_str(), BackendType::GoogleSecretManager),
];

/// Reads a `config` block.
pub(super) fn compile(item: &Item<'_>, backend: BackendType) -> Option<BackendConfig> {
    item.block(|block| match backend {
        BackendType::HashicorpVault => vault::compile(block).map(BackendConfig::HashicorpVault),
        BackendType::AwsSecretsManager => aws::compile(block).map(BackendConfig::AwsSecretsManager),
        BackendType::AzureKeyVault => azure::compile(block).map(BackendConfig::AzureKeyVault),
        BackendType::GoogleSecretManager => google::compile(block).map(BackendConfig::GoogleSecretManager),
    })
}

fn upstream(block: &mut Block<'_>) -> UpstreamConfig {
    let default = UpstreamConfig::default();
    let proxy_url = block.optional("proxy_url").and_then(|item| item.parse(HttpUrl::parse_proxy));
    let timeout = block.duration("timeout").unwrap_or(default.timeout);
    let mut attempt_timeout = default.attempt_timeout.min(timeout);
    if let Some(item) = block.optional("attempt_timeout") {
        attempt_timeout = item.duration().unwrap_or(attempt_timeout);
        if attempt_timeout > timeout {
            item.refuse("is longer than timeout, which covers all attempts");
        }
    }
    UpstreamConfig { proxy_url, timeout, attempt_timeout, ca_path: block.file("ca_path") }
}

/// A URL credentials are sent to.
fn endpoint(block: &mut Block<'_>, name: &'static str) -> Option<HttpUrl> {
    block.optional(name)?.parse(HttpUrl::parse)
}

/// A mapping of texts to texts, in the order of the file.
fn tags(block: &mut Block<'_>) -> Vec<(String, String)> {
    let entries = block.optional("tags").and_then(|item| item.entries()).unwrap_or_default();
    entries.iter().filter_map(|(name, item)| Some(((*name).to_owned(), item.string()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, refuses, with};

    fn text(backend: &str, config: &str) -> String {
        with(&format!(
            "secrets: {{infra/x: {{file: x}}}}\nbackends: [{{name: b, type: {backend}, config: {{{config}}}, \
             path_mapping: [{{from: a, to: b}}]}}]"
        ))
    }

    #[test]
    fn a_sync_takes_its_share_of_the_vendors_quota() {
        for (backend, scope, expected) in [
            (BackendType::HashicorpVault, SyncScope::All, None),
            (BackendType::HashicorpVault, SyncScope::Demand, None),
            (BackendType::AwsSecretsManager, SyncScope::All, Some((25, 100))),
            (BackendType::AwsSecretsManager, SyncScope::Demand, Some((25, 100))),
            (BackendType::AzureKeyVault, SyncScope::All, Some((100, 400))),
            (BackendType::AzureKeyVault, SyncScope::Demand, Some((1, 4))),
            (BackendType::GoogleSecretManager, SyncScope::All, Some((375, 1500))),
            (BackendType::GoogleSecretManager, SyncScope::Demand, Some((3, 12))),
        ] {
            let limit = backend.rate_limit(scope);
            assert_eq!(limit.map(|limit| (limit.per_second, limit.burst)), expected, "{backend:?} {scope:?}");
        }
    }

    #[test]
    fn cloud_backends_are_read() {
        for (backend, config) in [
            ("aws-secrets-manager", "region: eu-west-1, credentials_path: infra/x, endpoint: 'http://localhost:1'"),
            (
                "aws-secrets-manager",
                "region: eu-west-1, role_arn: 'arn:aws:iam::123456789012:role/r', external_id: e, session_name: s, \
                 token_path: t, sts_endpoint: 'https://sts', kms_key_id: k, tags: {team: a}",
            ),
            ("aws-secrets-manager", "region: eu-west-1, profile: p"),
            ("azure-key-vault", "vault_url: 'https://a.vault.azure.net', auth_method: managed_identity, client_id: c"),
            (
                "azure-key-vault",
                "vault_url: 'https://a.vault.azure.net', auth_method: client_secret, credentials_path: infra/x",
            ),
            (
                "azure-key-vault",
                "vault_url: 'https://a', auth_method: workload_identity, client_id: c, tenant_id: t, token_path: f, \
                 authority: 'https://login', resource: 'https://vault.azure.net', tags: {team: a}",
            ),
            ("google-secret-manager", "project_id: p, credentials_path: infra/x, replication: automatic"),
            (
                "google-secret-manager",
                "project_id: p, auth_method: workload_identity, token_path: t, endpoint: 'https://g', \
                 replication: [europe-west1], kms_key_name: k",
            ),
        ] {
            let read = accepted(&text(backend, config)).tenants.remove(0).backends.remove(0);
            assert_eq!(read.config.backend_type().as_str(), backend);
            assert_eq!(read.config.upstream(), &UpstreamConfig::default());
        }
    }

    #[test]
    fn cloud_backends_are_checked() {
        let azure = "vault_url: 'https://a'";
        for (backend, config, key, part) in [
            ("aws-secrets-manager", "profile: p".to_owned(), ".region", "is required"),
            ("aws-secrets-manager", "region: eu-west-1, token_path: t".to_owned(), ".token_path", "needs role_arn"),
            ("aws-secrets-manager", "region: eu-west-1, role_arn: x".to_owned(), ".role_arn", "expected the ARN"),
            (
                "aws-secrets-manager",
                "region: eu-west-1, profile: p, credentials_path: infra/x".to_owned(),
                ".profile",
                "excludes",
            ),
            (
                "aws-secrets-manager",
                "region: eu-west-1, credentials_path: infra/y".to_owned(),
                ".credentials_path",
                "no path",
            ),
            ("aws-secrets-manager", "region: eu-west-1, vault_url: x".to_owned(), ".vault_url", "unknown key"),
            ("azure-key-vault", azure.to_owned(), ".auth_method", "is required"),
            ("azure-key-vault", format!("{azure}, auth_method: certificate"), ".credentials_path", "is required"),
            (
                "azure-key-vault",
                format!("{azure}, auth_method: managed_identity, tenant_id: t"),
                ".tenant_id",
                "not a key",
            ),
            ("google-secret-manager", "project_id: p".to_owned(), "", "needs credentials_path"),
            ("google-secret-manager", "auth_method: workload_identity".to_owned(), ".project_id", "is required"),
            (
                "google-secret-manager",
                "project_id: p, auth_method: workload_identity, replication: []".to_owned(),
                ".replication",
                "is an empty list",
            ),
        ] {
            refuses(&text(backend, &config), &format!("backends[0].config{key}"), part);
        }
        refuses(
            &with("backends: [{name: b, type: s3, path_mapping: {a: b}}]"),
            "backends[0].type",
            "expected one of: ",
        );
        let missing = "backends: [{name: b, type: hashicorp-vault, path_mapping: {a: b}}]";
        refuses(&with(missing), "backends[0].config", "is required");
    }
}
