//! Whether a backend of the API may log in as this process: with the token of its pod, or with the identity of its machine.
//!
//! Whoever makes a backend chooses what is asked with that login and which secret paths it is served under, so that a
//! listed server is not enough: the operator lists the login itself, as `https://HOST/v1/auth/kubernetes/login`. Identities
//! that are proven in other ways than to a login of a server are never lent.

use super::{AllowedEndpoints, Entry, is_same_origin, path};
use crate::config::backend::BackendSettings;
use crate::config::problem::Problem;
use crate::config::url::HttpUrl;
use crate::config::vendor::{BackendConfig, VaultAuth, VaultConfig};

const LOGIN: &str = "logs in as this process, which takes that federation.allow_endpoints lists the login itself, as in \
                     https://HOST/v1/auth/kubernetes/login; or store a credential and name it";
const NEVER: &str = "logs in as this process, which is for backends of its configuration file; store a credential and \
                     name it";

impl AllowedEndpoints {
    /// Why a backend of the API cannot have the login it asks for; `None` if it brings its own, or the login is listed.
    #[must_use]
    pub fn why_not_as_us(&self, settings: &BackendSettings) -> Option<&'static str> {
        let brought = match &settings.config {
            BackendConfig::HashicorpVault(config) => match &config.auth {
                VaultAuth::Approle { .. } | VaultAuth::Token { .. } => return None,
                VaultAuth::Kubernetes { .. } => return if self.lists_login(config) { None } else { Some(LOGIN) },
                VaultAuth::Aws { auth_config_path, .. } | VaultAuth::Gcp { auth_config_path, .. } => auth_config_path,
            },
            BackendConfig::AwsSecretsManager(config) => &config.credentials_path,
            BackendConfig::AzureKeyVault(config) => &config.credentials_path,
            BackendConfig::GoogleSecretManager(config) => &config.credentials_path,
        };
        if brought.is_some() { None } else { Some(NEVER) }
    }

    /// The same of a body that is to be kept. What no release lends is refused elsewhere or reported as unsupported.
    pub(super) fn refused_login(&self, settings: &BackendSettings) -> Option<Problem> {
        let BackendConfig::HashicorpVault(VaultConfig { auth: VaultAuth::Kubernetes { .. }, .. }) = &settings.config
        else {
            return None;
        };
        Some(Problem::new("config.auth_method", None, self.why_not_as_us(settings)?))
    }

    /// Whether the list holds the very URL, with or without `login` at its end, that the pod's token is sent to.
    fn lists_login(&self, config: &VaultConfig) -> bool {
        let mount = format!("{}/v1/auth/{}", path(&config.endpoint), config.mount);
        let mount = mount.trim_start_matches('/');
        let is_login = |listed: &HttpUrl| {
            let listed = path(listed);
            listed == mount || listed.strip_suffix("/login") == Some(mount)
        };
        let names_it = |entry: &Entry| match entry {
            Entry::Below { url } => is_same_origin(url, &config.endpoint) && is_login(url),
            Entry::Any | Entry::Host { .. } | Entry::Domain { .. } => false,
        };
        self.entries.iter().any(names_it)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::api::compile_backend;

    fn why(listed: &[&str], kind: &str, config: &Value) -> (Option<&'static str>, Vec<String>) {
        let listed: Vec<String> = listed.iter().map(|text| (*text).to_owned()).collect();
        let allowed = AllowedEndpoints::compile(&listed, true, Vec::new()).unwrap();
        let body = json!({"name": "b", "type": kind, "config": config, "path_mapping": {"a/**": "b/**"}});
        let settings = compile_backend(&body.to_string(), false).unwrap();
        let keys = allowed.check(&settings).into_iter().map(|problem| problem.key).collect();
        (allowed.why_not_as_us(&settings), keys)
    }

    fn pod(endpoint: &str, mount: &str) -> Value {
        json!({"endpoint": endpoint, "auth_method": "kubernetes", "role": "r", "mount": mount})
    }

    #[test]
    fn x14_the_token_of_the_pod_goes_only_to_a_login_that_is_listed() {
        let at = "https://vault.internal:8200";
        let refused = (Some(LOGIN), vec!["config.auth_method".to_owned()]);
        for listed in [
            &["*"][..],
            &["*.internal"],
            &["vault.internal"],
            &["vault.internal:8200"],
            &[at],
            &[at, "https://vault.internal:8200/v1"],
            &[at, "https://vault.internal:8200/v1/auth"],
            &[at, "https://vault.internal:8200/v1/auth/other/login"],
            &[at, "https://vault.internal:8200/v1/auth/kubernetes/login/login"],
            &[at, "https://vault.internal:8200/v1/auth/kubernetes/role"],
            &[at, "https://vault.internal:8200/base/v1/auth/kubernetes/login"],
            &[at, "https://vault.internal/v1/auth/kubernetes/login"],
            &[at, "https://other.internal:8200/v1/auth/kubernetes/login"],
            &[at, "http://vault.internal:8200/v1/auth/kubernetes/login"],
        ] {
            assert_eq!(why(listed, "hashicorp-vault", &pod(at, "kubernetes")), refused, "{listed:?}");
        }
        for (listed, endpoint, mount) in [
            ("https://vault.internal:8200/v1/auth/kubernetes/login", at, "kubernetes"),
            ("https://VAULT.internal:8200/v1/auth/kubernetes", at, "kubernetes"),
            ("https://vault.internal:8200/v1/auth/k8s/prod/login", at, "k8s/prod"),
            ("https://vault.internal:8200/base/v1/auth/login", "https://vault.internal:8200/base/", "login"),
        ] {
            let all = ["vault.internal", listed];
            assert_eq!(why(&all, "hashicorp-vault", &pod(endpoint, mount)), (None, Vec::new()), "{listed}");
        }
        // nor to this machine, where `dev` lets backends point
        let (why, keys) = why(&[], "hashicorp-vault", &pod("http://127.0.0.1:8200", "kubernetes"));
        assert_eq!((why, keys), refused);
    }

    #[test]
    fn who_brings_no_credential_is_not_served_as_us() {
        let vault = |method: &str| json!({"endpoint": "https://v", "auth_method": method, "role": "r"});
        let azure = |method: &str| json!({"vault_url": "https://v", "auth_method": method});
        let google = json!({"project_id": "p", "auth_method": "workload_identity"});
        for (kind, ours) in [
            ("hashicorp-vault", vault("aws")),
            ("hashicorp-vault", vault("gcp")),
            ("aws-secrets-manager", json!({"region": "eu-west-1"})),
            ("azure-key-vault", azure("managed_identity")),
            ("azure-key-vault", azure("workload_identity")),
            ("google-secret-manager", google),
        ] {
            let (why, keys) = why(&["v"], kind, &ours);
            assert_eq!((why, keys), (Some(NEVER), Vec::new()), "{ours}");
        }
        let stored = |key: &str, mut config: Value| {
            config[key] = json!("infra/x");
            config
        };
        for (kind, theirs) in [
            ("hashicorp-vault", stored("auth_config_path", vault("aws"))),
            ("hashicorp-vault", stored("auth_config_path", vault("gcp"))),
            ("hashicorp-vault", json!({"endpoint": "https://v", "auth_method": "token", "auth_config_path": "a"})),
            ("hashicorp-vault", json!({"endpoint": "https://v", "auth_method": "approle", "auth_config_path": "a"})),
            ("aws-secrets-manager", stored("credentials_path", json!({"region": "eu-west-1"}))),
            ("azure-key-vault", stored("credentials_path", azure("client_secret"))),
            ("google-secret-manager", stored("credentials_path", json!({"project_id": "p"}))),
        ] {
            assert_eq!(why(&["v"], kind, &theirs), (None, Vec::new()), "{theirs}");
        }
    }
}
