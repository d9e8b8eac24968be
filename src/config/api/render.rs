//! A backend's settings as the API shows them: every setting with its effective value, rules as a list. What it shows of
//! a backend made over the API, [`super::compile_backend`] reads back as the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::backend::BackendSettings;
use crate::config::rule::{BackendRule, Fallback};
use crate::config::url::HttpUrl;
use crate::config::vendor::{
    AwsConfig, AzureAuthMethod, AzureConfig, BackendConfig, GoogleAuthMethod, GoogleConfig, Replication,
    SERVICE_ACCOUNT_TOKEN, UpstreamConfig, VaultAuth, VaultConfig,
};
use crate::secret::{
    ConflictOn, ConflictPolicy, History, Mode, OnBackendDelete, RateLimit, SecretPath, SyncScope, WriteMode,
};

/// The settings of a backend, of the file or of the API, as one JSON object; what is not set and has no default is left
/// out. Credentials are references in it, as they are in the settings.
#[must_use]
pub fn describe_backend(settings: &BackendSettings) -> Value {
    let mut fields = Fields::default();
    fields.put("name", settings.name.as_str());
    fields.put("type", settings.config.backend_type().as_str());
    fields.put("mode", settings.mode.as_str());
    fields.put("sync_interval", spell(settings.sync_interval));
    fields.put("sync_scope", scope(settings.sync_scope));
    fields.put("write_mode", write_mode(settings.write_mode));
    fields.put("history", history(settings.history));
    fields.put("max_versions", settings.max_versions);
    let conflict_on = match settings.conflict_on {
        ConflictOn::Both => "both",
        ConflictOn::Any => "any",
    };
    fields.put("conflict_on", conflict_on);
    let policy = match settings.conflict_policy {
        ConflictPolicy::BackendWins => "backend_wins",
        ConflictPolicy::LocalWins => "local_wins",
        ConflictPolicy::Manual => "manual",
    };
    fields.put("conflict_policy", policy);
    let on_delete = match settings.on_backend_delete {
        OnBackendDelete::Delete => "delete",
        OnBackendDelete::Keep => "keep",
    };
    fields.put("on_backend_delete", on_delete);
    fields.set("max_stale", settings.max_stale.map(spell));
    fields.set("deny_grace", settings.deny_grace.map(spell));
    let rate = |RateLimit { per_second, burst }: RateLimit| json!({"per_second": per_second, "burst": burst});
    fields.set("rate_limit", settings.rate_limit.map(rate));
    fields.put("config", config(&settings.config));
    fields.put("path_mapping", settings.path_mapping.iter().map(rule).collect::<Vec<_>>());
    Value::Object(fields.0)
}

const fn scope(scope: SyncScope) -> &'static str {
    match scope {
        SyncScope::All => "all",
        SyncScope::Demand => "demand",
    }
}

const fn write_mode(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Disabled => "disabled",
        WriteMode::WriteThrough => "write_through",
        WriteMode::Local => "local",
    }
}

const fn history(history: History) -> &'static str {
    match history {
        History::None => "none",
        History::All => "all",
    }
}

/// A duration as the configuration writes it: `1h30m`.
fn spell(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest / millis > 0 {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    text
}

/// An object under construction: what is not set is not shown.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn url(&mut self, key: &str, url: Option<&HttpUrl>) {
        self.set(key, url.map(HttpUrl::as_str));
    }

    fn path(&mut self, key: &str, path: Option<&SecretPath>) {
        self.set(key, path.map(SecretPath::as_str));
    }

    fn file(&mut self, key: &str, file: Option<&PathBuf>) {
        self.set(key, file.map(|file| file.display().to_string()));
    }

    fn text(&mut self, key: &str, text: Option<&String>) {
        self.set(key, text.map(String::as_str));
    }

    fn tags(&mut self, tags: &[(String, String)]) {
        if !tags.is_empty() {
            let tags = tags.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            self.put("tags", tags.collect::<Map<_, _>>());
        }
    }
}

fn rule(rule: &BackendRule) -> Value {
    let mut fields = Fields::default();
    fields.put("from", rule.from.as_str());
    fields.put("to", rule.to.as_str());
    fields.set("mode", rule.mode.map(Mode::as_str));
    fields.set("sync_interval", rule.sync_interval.map(spell));
    fields.set("sync_scope", rule.sync_scope.map(scope));
    fields.set("write_mode", rule.write_mode.map(write_mode));
    fields.set("history", rule.history.map(history));
    fields.set("max_versions", rule.max_versions);
    fields.set("max_stale", rule.max_stale.map(spell));
    fields.set("kv_version", rule.kv_version);
    fields.text("separator", rule.separator.as_ref());
    if rule.escape {
        fields.put("escape", true);
    }
    if !rule.fallback.is_empty() {
        let further = |Fallback { backend, to, .. }: &Fallback| json!({"backend": backend, "to": to});
        fields.put("fallback", rule.fallback.iter().map(further).collect::<Vec<_>>());
    }
    Value::Object(fields.0)
}

fn config(config: &BackendConfig) -> Value {
    let mut fields = Fields::default();
    match config {
        BackendConfig::HashicorpVault(config) => vault(config, &mut fields),
        BackendConfig::AwsSecretsManager(config) => aws(config, &mut fields),
        BackendConfig::AzureKeyVault(config) => azure(config, &mut fields),
        BackendConfig::GoogleSecretManager(config) => google(config, &mut fields),
    }
    upstream(config.upstream(), &mut fields);
    Value::Object(fields.0)
}

fn upstream(config: &UpstreamConfig, fields: &mut Fields) {
    fields.url("proxy_url", config.proxy_url.as_ref());
    fields.put("timeout", spell(config.timeout));
    fields.put("attempt_timeout", spell(config.attempt_timeout));
    fields.file("ca_path", config.ca_path.as_ref());
}

fn vault(config: &VaultConfig, fields: &mut Fields) {
    fields.url("endpoint", Some(&config.endpoint));
    fields.text("namespace", config.namespace.as_ref());
    fields.put("tls_verify", config.tls_verify);
    fields.put("auth_method", config.auth.as_str());
    if !matches!(config.auth, VaultAuth::Token { .. }) {
        fields.put("mount", config.mount.as_str());
    }
    match &config.auth {
        VaultAuth::Approle { auth_config_path } | VaultAuth::Token { auth_config_path } => {
            fields.path("auth_config_path", Some(auth_config_path));
        }
        VaultAuth::Kubernetes { role, token_path, audience } => {
            fields.text("role", Some(role));
            // the default is no choice of anybody's, and could not be sent back
            fields.file("token_path", Some(token_path).filter(|path| **path != Path::new(SERVICE_ACCOUNT_TOKEN)));
            fields.text("audience", audience.as_ref());
        }
        VaultAuth::Aws { role, region, sts_endpoint, server_id, auth_config_path } => {
            fields.text("role", Some(role));
            fields.text("region", region.as_ref());
            fields.url("sts_endpoint", sts_endpoint.as_ref());
            fields.text("server_id", server_id.as_ref());
            fields.path("auth_config_path", auth_config_path.as_ref());
        }
        VaultAuth::Gcp { role, audience, token_path, auth_config_path } => {
            fields.text("role", Some(role));
            fields.text("audience", audience.as_ref());
            fields.file("token_path", token_path.as_ref());
            fields.path("auth_config_path", auth_config_path.as_ref());
        }
    }
    let device = config.audit_device.as_ref().map(|address| json!({"address": address.to_string()}));
    fields.set("audit_device", device);
    fields.file("client_cert_path", config.client_certificate.as_ref().map(|pair| &pair.certificate));
    fields.file("client_key_path", config.client_certificate.as_ref().map(|pair| &pair.private_key));
}

fn aws(config: &AwsConfig, fields: &mut Fields) {
    fields.text("region", Some(&config.region));
    fields.path("credentials_path", config.credentials_path.as_ref());
    fields.text("role_arn", config.role_arn.as_ref());
    fields.text("external_id", config.external_id.as_ref());
    fields.text("session_name", config.session_name.as_ref());
    fields.file("token_path", config.token_path.as_ref());
    fields.text("profile", config.profile.as_ref());
    fields.url("endpoint", config.endpoint.as_ref());
    fields.url("sts_endpoint", config.sts_endpoint.as_ref());
    fields.text("kms_key_id", config.kms_key_id.as_ref());
    fields.tags(&config.tags);
}

fn azure(config: &AzureConfig, fields: &mut Fields) {
    fields.url("vault_url", Some(&config.vault_url));
    let method = match config.auth_method {
        AzureAuthMethod::ManagedIdentity => "managed_identity",
        AzureAuthMethod::WorkloadIdentity => "workload_identity",
        AzureAuthMethod::ClientSecret => "client_secret",
        AzureAuthMethod::Certificate => "certificate",
    };
    fields.put("auth_method", method);
    fields.path("credentials_path", config.credentials_path.as_ref());
    fields.text("client_id", config.client_id.as_ref());
    fields.text("tenant_id", config.tenant_id.as_ref());
    fields.file("token_path", config.token_path.as_ref());
    fields.url("authority", config.authority.as_ref());
    fields.text("resource", config.resource.as_ref());
    fields.tags(&config.tags);
}

fn google(config: &GoogleConfig, fields: &mut Fields) {
    fields.text("project_id", Some(&config.project_id));
    let method = match config.auth_method {
        GoogleAuthMethod::ServiceAccount => "service_account",
        GoogleAuthMethod::WorkloadIdentity => "workload_identity",
    };
    fields.put("auth_method", method);
    fields.path("credentials_path", config.credentials_path.as_ref());
    fields.file("token_path", config.token_path.as_ref());
    fields.url("endpoint", config.endpoint.as_ref());
    match &config.replication {
        Replication::Automatic => fields.put("replication", "automatic"),
        Replication::Locations(locations) => fields.put("replication", locations.clone()),
    }
    fields.text("kms_key_name", config.kms_key_name.as_ref());
}
