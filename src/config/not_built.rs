//! What a configuration may say and this release does not serve.
//!
//! `check` accepts it and lists it, `serve` refuses to start: an accepted key that does nothing would be a promise broken
//! in silence. A key leaves this list with the change that builds it.

use super::backend::BackendSettings;
use super::rule::BackendRule;
use super::seal::{SealKey, SealService};
use super::tenant::TenantConfig;
use super::vendor::{BackendConfig, VaultAuth};
use super::{Config, Problem};
use crate::secret::WireKind;

impl Config {
    /// Everything in this configuration that is valid and not served by this release, by key path.
    #[must_use]
    pub fn not_built(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        self.process(&mut found);
        for tenant in &self.tenants {
            of_tenant(tenant, &mut found);
        }
        found.0
    }

    fn process(&self, found: &mut Found) {
        if let Some(seal) = &self.seal {
            found.when(is_other_service(&seal.current), "seal.provider", None);
            found.when(seal.previous.as_ref().is_some_and(is_other_service), "seal.previous.provider", None);
        }
        found.when(!self.intercept.hosts.is_empty(), "intercept.hosts", None);
        found.when(self.admin.ui.is_some(), "admin.ui", None);
        for listener in &self.listeners {
            let is_built = match listener.wire {
                WireKind::Scaivault | WireKind::Vault | WireKind::Aws => true,
                WireKind::Azure | WireKind::Gcp => false,
            };
            found.when(!is_built, format!("{}.wire", listener.key), listener.line);
        }
    }
}

fn is_other_service(key: &SealKey) -> bool {
    matches!(key, SealKey::Service { provider, .. } if *provider != SealService::VaultTransit)
}

/// The list while it grows.
struct Found(Vec<Problem>);

impl Found {
    fn when(&mut self, is_used: bool, key: impl Into<String>, line: Option<u32>) {
        if is_used {
            self.0.push(Problem::new(key, line, "valid, not served by this release"));
        }
    }
}

fn of_tenant(tenant: &TenantConfig, found: &mut Found) {
    for backend in &tenant.backends {
        of_backend(backend, found);
    }
}

fn of_backend(backend: &BackendSettings, found: &mut Found) {
    let (key, line) = (&backend.key, backend.line);
    match &backend.config {
        BackendConfig::HashicorpVault(config) => {
            let is_built = match config.auth {
                VaultAuth::Approle { .. }
                | VaultAuth::Token { .. }
                | VaultAuth::Kubernetes { .. }
                | VaultAuth::Aws { .. } => true,
                VaultAuth::Gcp { .. } => false,
            };
            found.when(!is_built, format!("{key}.config.auth_method"), line);
        }
        BackendConfig::AwsSecretsManager(_) => {}
        BackendConfig::AzureKeyVault(_) | BackendConfig::GoogleSecretManager(_) => {
            found.when(true, format!("{key}.type"), line);
        }
    }
    for rule in &backend.path_mapping {
        of_rule(rule, found);
    }
}

fn of_rule(rule: &BackendRule, found: &mut Found) {
    found.when(!rule.fallback.is_empty(), format!("{}.fallback", rule.key), rule.line);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::harness::{accepted, backend, listening, vault, with};
    use crate::config::{Config, load};

    fn keys(config: &Config) -> Vec<String> {
        config.not_built().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn all_of_the_shipped_files_is_built() {
        for name in ["sidecar.yaml", "gateway.yaml"] {
            let shipped = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap();
            assert_eq!(keys(&shipped), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_proxied_vault_is_built() {
        let text = backend("path_mapping: [{from: 'a/**', to: 'secret/data/**', mode: proxy, kv_version: 2}]");
        assert_eq!(keys(&accepted(&text)), Vec::<String>::new());
    }

    #[test]
    fn a_vault_behind_a_forward_proxy_is_built() {
        let text = vault("endpoint: 'https://v', auth_method: kubernetes, role: r, proxy_url: 'http://p:1'");
        assert_eq!(keys(&accepted(&text)), Vec::<String>::new());
    }

    #[test]
    fn aws_is_built_in_both_roles() {
        let backends = "secrets: {infra/x: {file: x}}\n\
                        identity: {access_keys: [{principal: p, file: k}]}\n\
                        backends: [{name: a, type: aws-secrets-manager, \
                        config: {region: eu-west-1, credentials_path: infra/x}, \
                        path_mapping: [{from: 'a/**', to: 'a/**'}]}]";
        let listener = "- {wire: aws, account: '123456789012', region: eu-west-1}";
        assert_eq!(keys(&accepted(&listening(listener, backends))), Vec::<String>::new());
        let vault = vault("endpoint: 'https://v', auth_method: aws, role: r, region: eu-west-1");
        assert_eq!(keys(&accepted(&vault)), Vec::<String>::new());
    }

    #[test]
    fn every_key_that_is_not_built_is_named() {
        for (text, key) in [
            (with("seal: {provider: aws-kms, key: k, config: {region: eu-west-1}}"), "seal.provider"),
            (
                with(
                    "seal: {provider: env, variable: K, \
                      previous: {provider: aws-kms, key: k, config: {region: eu-west-1}}}",
                ),
                "seal.previous.provider",
            ),
            (with("intercept: {hosts: [secretsmanager.googleapis.com]}"), "intercept.hosts"),
            (with("admin: {ui: {}}"), "admin.ui"),
            (listening("- {wire: gcp, h2c: true, projects: {p: 1}}", ""), "listeners[0].wire"),
            (listening("- {wire: azure, tls: {certificate: c, key: k}}", ""), "listeners[0].wire"),
            (vault("endpoint: 'https://v', auth_method: gcp, role: r"), "backends[0].config.auth_method"),
        ] {
            assert_eq!(keys(&accepted(&text)), [key]);
        }
        let text =
            backend("mode: sync, write_mode: local, path_mapping: [{from: a, to: b, fallback: [{backend: w, to: c}]}]");
        let second =
            "\n- {name: w, type: hashicorp-vault, config: {endpoint: 'https://w', auth_method: kubernetes, role: r}}";
        assert_eq!(
            keys(&accepted(&format!("{}{second}\n", text.trim_end()))),
            ["backends[0].path_mapping[0].fallback"]
        );
    }
}
