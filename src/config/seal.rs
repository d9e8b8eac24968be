//! The `seal` block: where the root key comes from.

use std::path::PathBuf;

use super::raw::{Block, Item};
use super::vendor::{self, BackendConfig, BackendType};

/// Where the root key comes from, and where the one before it came from while a rotation runs.
#[derive(Clone, Debug, PartialEq)]
pub struct SealConfig {
    /// The key new records are sealed under.
    pub current: SealKey,
    /// The key older records may still be sealed under.
    pub previous: Option<SealKey>,
}

/// A source of a root key.
#[derive(Clone, Debug, PartialEq)]
pub enum SealKey {
    /// Base64 of 32 bytes in a file.
    File {
        /// The file, read at start and at rotation.
        path: PathBuf,
    },
    /// Base64 of 32 bytes in an environment variable.
    Env {
        /// The variable's name.
        variable: String,
    },
    /// A key derived from a passphrase.
    Passphrase(PassphraseSource),
    /// A key wrapped by a key service.
    Service {
        /// Which service.
        provider: SealService,
        /// The service's name for its key.
        key: String,
        /// How the service is reached and logged in to.
        config: Box<BackendConfig>,
    },
}

/// Where a passphrase is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A key service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealService {
    /// Vault's transit engine.
    VaultTransit,
    /// AWS KMS.
    AwsKms,
    /// Azure Key Vault keys.
    AzureKey,
    /// GCP KMS.
    GcpKms,
}

impl SealService {
    const fn backend(self) -> BackendType {
        match self {
            Self::VaultTransit => BackendType::HashicorpVault,
            Self::AwsKms => BackendType::AwsSecretsManager,
            Self::AzureKey => BackendType::AzureKeyVault,
            Self::GcpKms => BackendType::GoogleSecretManager,
        }
    }
}

impl SealKey {
    /// Whether the key is read from this machine as it is, without a service or a derivation.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Env { .. })
    }
}

#[derive(Clone, Copy)]
enum Provider {
    File,
    Env,
    Passphrase,
    Service(SealService),
}

const PROVIDERS: [(&str, Provider); 7] = [
    ("file", Provider::File),
    ("env", Provider::Env),
    ("passphrase", Provider::Passphrase),
    ("vault-transit", Provider::Service(SealService::VaultTransit)),
    ("aws-kms", Provider::Service(SealService::AwsKms)),
    ("azure-key", Provider::Service(SealService::AzureKey)),
    ("gcp-kms", Provider::Service(SealService::GcpKms)),
];

/// Reads `seal`.
pub(super) fn compile(item: &Item<'_>) -> Option<SealConfig> {
    item.block(|block| {
        let previous = block.optional("previous").and_then(|item| item.block(key));
        let current = key(block);
        Some(SealConfig { current: current?, previous })
    })
}

fn key(block: &mut Block<'_>) -> Option<SealKey> {
    const ELSEWHERE: &str = "is not a key of this provider";
    let provider = block.required("provider").and_then(|item| item.word(&PROVIDERS));
    match provider {
        None => {
            block.skip(&["path", "variable", "key", "config"]);
            None
        }
        Some(Provider::File) => {
            block.out_of_place(&["variable", "key", "config"], ELSEWHERE);
            Some(SealKey::File { path: block.required("path")?.file()? })
        }
        Some(Provider::Env) => {
            block.out_of_place(&["path", "key", "config"], ELSEWHERE);
            Some(SealKey::Env { variable: block.required("variable")?.parse(variable)? })
        }
        Some(Provider::Passphrase) => {
            block.out_of_place(&["key", "config"], ELSEWHERE);
            passphrase(block).map(SealKey::Passphrase)
        }
        Some(Provider::Service(provider)) => {
            block.out_of_place(&["path", "variable"], ELSEWHERE);
            let key = block.required("key").and_then(|item| item.string());
            let config = block.required("config").and_then(|item| {
                let config = vendor::compile(&item, provider.backend())?;
                if config.audit_device().is_some() {
                    let key = format!("{}.audit_device", item.key());
                    block.scope().refuse(&key, Some(item.line()), "is for backends: a seal copies nothing");
                }
                Some(config)
            });
            Some(SealKey::Service { provider, key: key?, config: Box::new(config?) })
        }
    }
}

fn passphrase(block: &mut Block<'_>) -> Option<PassphraseSource> {
    let path = block.optional("path").and_then(|item| item.file());
    let variable = block.optional("variable").and_then(|item| item.parse(variable));
    match (path, variable) {
        (Some(path), None) => Some(PassphraseSource::File(path)),
        (None, Some(variable)) => Some(PassphraseSource::Env(variable)),
        _ => {
            let message = "a passphrase is read from exactly one of path and variable";
            block.scope().refuse(block.key(), Some(block.line()), message);
            None
        }
    }
}

fn variable(text: &str) -> Result<String, &'static str> {
    let fits =
        !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(text.to_owned()) } else { Err("expected the name of an environment variable") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, refuses, with};

    fn key(keys: &str) -> SealKey {
        accepted(&with(&format!("seal: {{{keys}}}"))).seal.unwrap().current
    }

    #[test]
    fn every_provider_is_read() {
        assert_eq!(key("provider: file, path: k"), SealKey::File { path: PathBuf::from("/etc/proxy/k") });
        assert_eq!(key("provider: env, variable: SEAL_KEY"), SealKey::Env { variable: "SEAL_KEY".to_owned() });
        assert_eq!(
            key("provider: passphrase, variable: P"),
            SealKey::Passphrase(PassphraseSource::Env("P".to_owned()))
        );
        let aws = key("provider: aws-kms, key: alias/x, config: {region: eu-west-1}");
        assert!(matches!(aws, SealKey::Service { provider: SealService::AwsKms, config, .. }
            if config.backend_type() == BackendType::AwsSecretsManager));
    }

    #[test]
    fn keys_belong_to_their_provider() {
        for (keys, key, part) in [
            ("path: k", "seal.provider", "is required"),
            ("provider: hsm", "seal.provider", "expected one of: file, env"),
            ("provider: file", "seal.path", "is required"),
            ("provider: file, path: k, variable: V", "seal.variable", "is not a key of this provider"),
            ("provider: env", "seal.variable", "is required"),
            ("provider: env, variable: 1V", "seal.variable", "expected the name of an environment variable"),
            ("provider: passphrase", "seal", "exactly one of path and variable"),
            ("provider: passphrase, path: p, variable: V", "seal", "exactly one of path and variable"),
            ("provider: gcp-kms, config: {project_id: p, auth_method: workload_identity}", "seal.key", "is required"),
            ("provider: gcp-kms, key: k", "seal.config", "is required"),
            (
                "provider: vault-transit, key: k, config: {endpoint: 'https://v', auth_method: kubernetes, role: r, \
                 audit_device: {address: 'unix:/run/d'}}",
                "seal.config.audit_device",
                "is for backends",
            ),
            ("provider: file, path: k, previous: {provider: file}", "seal.previous.path", "is required"),
            (
                "provider: file, path: k, previous: {provider: file, path: o, previous: {}}",
                "seal.previous.previous",
                "unknown key",
            ),
        ] {
            refuses(&with(&format!("seal: {{{keys}}}")), key, part);
        }
    }
}
