//! `config` of a hashicorp-vault backend.

use std::path::PathBuf;

use super::{UpstreamConfig, endpoint, upstream};
use crate::config::address::Address;
use crate::config::raw::{Block, Item};
use crate::config::url::HttpUrl;
use crate::config::wire::region;
use crate::secret::SecretPath;

/// Where Kubernetes puts a pod's token.
pub(in crate::config) const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How a Vault or OpenBao server is reached and logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// The server; https unless it is on loopback.
    pub endpoint: HttpUrl,
    /// The namespace: segments, without a slash at either end.
    pub namespace: Option<String>,
    /// How to log in.
    pub auth: VaultAuth,
    /// Where the auth method is mounted under `auth/`; the method's name unless set.
    pub mount: String,
    /// Whether the server's certificate is verified.
    pub tls_verify: bool,
    /// A certificate shown to the server.
    pub client_certificate: Option<ClientCertificate>,
    /// Where the server's audit device is listened for: on loopback or a Unix socket, never port 0.
    pub audit_device: Option<Address>,
    /// What all types of backends share.
    pub upstream: UpstreamConfig,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
}

/// How to log in to Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAuth {
    /// AppRole.
    Approle {
        /// The secret with `role_id` and `secret_id`.
        auth_config_path: SecretPath,
    },
    /// A token that is there already.
    Token {
        /// The secret with `token`.
        auth_config_path: SecretPath,
    },
    /// A Kubernetes service account.
    Kubernetes {
        /// The role asked for.
        role: String,
        /// The file with the service account's token.
        token_path: PathBuf,
        /// The audience the token must be for, if it is to be checked before it is sent.
        audience: Option<String>,
    },
    /// A signed AWS identity.
    Aws {
        /// The role asked for.
        role: String,
        /// The region whose STS is named.
        region: Option<String>,
        /// Another STS.
        sts_endpoint: Option<HttpUrl>,
        /// The value of the server id header.
        server_id: Option<String>,
        /// The secret with AWS credentials; `None` uses the ambient ones.
        auth_config_path: Option<SecretPath>,
    },
    /// A Google identity.
    Gcp {
        /// The role asked for.
        role: String,
        /// The audience of the token.
        audience: Option<String>,
        /// A file with a token; `None` asks the metadata service.
        token_path: Option<PathBuf>,
        /// The secret with a service account key; `None` uses the ambient identity.
        auth_config_path: Option<SecretPath>,
    },
}

impl VaultAuth {
    /// The word used in the configuration, and the default mount.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Approle { .. } => Method::Approle.as_str(),
            Self::Token { .. } => Method::Token.as_str(),
            Self::Kubernetes { .. } => Method::Kubernetes.as_str(),
            Self::Aws { .. } => Method::Aws.as_str(),
            Self::Gcp { .. } => Method::Gcp.as_str(),
        }
    }
}

#[derive(Clone, Copy)]
enum Method {
    Approle,
    Token,
    Kubernetes,
    Aws,
    Gcp,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Approle => "approle",
            Self::Token => "token",
            Self::Kubernetes => "kubernetes",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        }
    }

    /// The keys this method has of its own.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Approle => &["auth_config_path", "mount"],
            Self::Token => &["auth_config_path"],
            Self::Kubernetes => &["role", "mount", "token_path", "audience"],
            Self::Aws => &["role", "mount", "region", "sts_endpoint", "server_id", "auth_config_path"],
            Self::Gcp => &["role", "mount", "audience", "token_path", "auth_config_path"],
        }
    }
}

const METHODS: [(&str, Method); 5] = [
    (Method::Approle.as_str(), Method::Approle),
    (Method::Token.as_str(), Method::Token),
    (Method::Kubernetes.as_str(), Method::Kubernetes),
    (Method::Aws.as_str(), Method::Aws),
    (Method::Gcp.as_str(), Method::Gcp),
];
const METHOD_KEYS: [&str; 8] =
    ["auth_config_path", "role", "mount", "token_path", "audience", "region", "sts_endpoint", "server_id"];

pub(super) fn compile(block: &mut Block<'_>) -> Option<VaultConfig> {
    let endpoint = block.required("endpoint").and_then(|item| item.parse(HttpUrl::parse));
    let namespace = block.optional("namespace").and_then(|item| segments(&item));
    let method = block.required("auth_method").and_then(|item| item.word(&METHODS));
    let mount = block.optional("mount").and_then(|item| segments(&item));
    let auth = match method {
        Some(method) => auth(block, method),
        None => {
            block.skip(&METHOD_KEYS);
            None
        }
    };
    let tls_verify = block.flag("tls_verify", true);
    if let Some(item) = block.optional("tls_verify").filter(|_| !tls_verify) {
        item.warn("the backend's certificate is not verified: anyone on the way can read and change secrets");
    }
    let client_certificate = client_certificate(block);
    let audit_device = block.optional("audit_device").and_then(|item| item.block(audit_device));
    let upstream = upstream(block);
    let mount = mount.unwrap_or_else(|| method.map_or("", Method::as_str).to_owned());
    Some(VaultConfig {
        endpoint: endpoint?,
        namespace,
        auth: auth?,
        mount,
        tls_verify,
        client_certificate,
        audit_device,
        upstream,
    })
}

fn auth(block: &mut Block<'_>, method: Method) -> Option<VaultAuth> {
    for &name in METHOD_KEYS.iter().filter(|name| !method.keys().contains(*name)) {
        block.out_of_place(&[name], "is not a key of this auth_method");
    }
    match method {
        Method::Approle => Some(VaultAuth::Approle { auth_config_path: credential(block)? }),
        Method::Token => Some(VaultAuth::Token { auth_config_path: credential(block)? }),
        Method::Kubernetes => {
            let role = block.required("role").and_then(|item| item.string());
            let token_path = block.file("token_path").unwrap_or_else(|| PathBuf::from(SERVICE_ACCOUNT_TOKEN));
            let audience = block.string("audience");
            Some(VaultAuth::Kubernetes { role: role?, token_path, audience })
        }
        Method::Aws => {
            let role = block.required("role").and_then(|item| item.string());
            let region = block.optional("region").and_then(|item| item.parse(region));
            let sts_endpoint = endpoint(block, "sts_endpoint");
            let server_id = block.string("server_id");
            let auth_config_path = block.optional("auth_config_path").and_then(|item| item.reference());
            Some(VaultAuth::Aws { role: role?, region, sts_endpoint, server_id, auth_config_path })
        }
        Method::Gcp => {
            let role = block.required("role").and_then(|item| item.string());
            let audience = block.string("audience");
            let token_path = block.file("token_path");
            let auth_config_path = block.optional("auth_config_path").and_then(|item| item.reference());
            Some(VaultAuth::Gcp { role: role?, audience, token_path, auth_config_path })
        }
    }
}

fn credential(block: &mut Block<'_>) -> Option<SecretPath> {
    block.required("auth_config_path")?.reference()
}

fn client_certificate(block: &mut Block<'_>) -> Option<ClientCertificate> {
    let (has_certificate, has_key) = (block.holds("client_cert_path"), block.holds("client_key_path"));
    let certificate = block.file("client_cert_path");
    let private_key = block.file("client_key_path");
    if has_certificate != has_key {
        let missing = if has_certificate { "client_key_path" } else { "client_cert_path" };
        block.scope().refuse(
            &block.key_of(missing),
            Some(block.line()),
            "is required: certificate and key go together",
        );
    }
    Some(ClientCertificate { certificate: certificate?, private_key: private_key? })
}

/// The lines that come are neither encrypted nor signed, so that only what is on this machine may bring them.
fn audit_device(block: &mut Block<'_>) -> Option<Address> {
    block.required("address")?.parse(|text| match Address::parse(text) {
        Ok(Address::Tcp(address)) if address.port() == 0 => Err("expected a port above zero: the device is told of it"),
        Ok(address) if address.is_local() => Ok(address),
        Ok(_) => Err("expected a loopback or unix: address: audit devices do not encrypt what they send"),
        Err(why) => Err(why),
    })
}

/// Names joined by slashes, as namespaces and mounts are: what a header or a URL path can hold without escaping.
fn segments(item: &Item<'_>) -> Option<String> {
    item.secret_path().map(|path| path.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::BackendConfig;
    use crate::config::harness::{accepted, refuses, vault, with};

    fn config(keys: &str) -> VaultConfig {
        let backend = accepted(&vault(keys)).tenants.remove(0).backends.remove(0);
        let BackendConfig::HashicorpVault(config) = backend.config else { panic!("not a vault") };
        config
    }

    #[test]
    fn defaults_are_the_methods_own() {
        let config = config("endpoint: 'https://v:8200', auth_method: kubernetes, role: r");
        assert_eq!((config.mount.as_str(), config.tls_verify, config.namespace), ("kubernetes", true, None));
        let VaultAuth::Kubernetes { role, token_path, audience } = config.auth else { panic!("not kubernetes") };
        assert_eq!((role.as_str(), token_path.as_path(), audience), ("r", Path::new(SERVICE_ACCOUNT_TOKEN), None));
        assert_eq!(config.upstream, UpstreamConfig::default());
    }

    #[test]
    fn all_keys_are_read() {
        let config = config(
            "endpoint: 'http://127.0.0.1:8200', auth_method: approle, auth_config_path: infra/x, namespace: a/b, \
             mount: approle-2, client_cert_path: c, client_key_path: k, timeout: 9s, attempt_timeout: 3s, ca_path: ca, \
             proxy_url: 'http://proxy:3128'",
        );
        assert_eq!(config.audit_device, None);
        assert_eq!((config.namespace.as_deref(), config.mount.as_str()), (Some("a/b"), "approle-2"));
        assert!(
            matches!(config.auth, VaultAuth::Approle { auth_config_path } if auth_config_path.as_str() == "infra/x")
        );
        let upstream = &config.upstream;
        assert_eq!((upstream.timeout, upstream.attempt_timeout), (Duration::from_secs(9), Duration::from_secs(3)));
        assert_eq!(upstream.ca_path.as_deref(), Some(Path::new("/etc/proxy/ca")));
        assert_eq!(config.client_certificate.unwrap().private_key, Path::new("/etc/proxy/k"));
    }

    #[test]
    fn a_short_timeout_shortens_the_attempt() {
        let config = config("endpoint: 'https://v', auth_method: kubernetes, role: r, timeout: 1s");
        assert_eq!(config.upstream.attempt_timeout, Duration::from_secs(1));
    }

    #[test]
    fn x10_plain_http_and_credentials_in_the_endpoint_are_refused() {
        for (endpoint, part) in [
            ("http://vault.internal:8200", "loopback only"),
            ("https://u:p@vault.internal", "must not hold credentials"),
            ("https://vault.internal/?x=1", "query"),
            ("vault.internal:8200", "absolute"),
        ] {
            let text = vault(&format!("endpoint: '{endpoint}', auth_method: kubernetes, role: r"));
            refuses(&text, "backends[0].config.endpoint", part);
        }
    }

    #[test]
    fn each_method_needs_its_keys_and_refuses_the_others() {
        for (keys, key, part) in [
            ("auth_method: approle", "auth_config_path", "is required"),
            ("auth_method: token", "auth_config_path", "is required"),
            ("auth_method: kubernetes", "role", "is required"),
            ("auth_method: aws", "role", "is required"),
            ("auth_method: gcp", "role", "is required"),
            ("auth_method: userpass", "auth_method", "expected one of: approle, token, kubernetes, aws, gcp"),
            ("role: r", "auth_method", "is required"),
            ("auth_method: kubernetes, role: r, auth_config_path: infra/x", "auth_config_path", "not a key of this"),
            ("auth_method: token, auth_config_path: infra/x, mount: m", "mount", "not a key of this"),
            ("auth_method: approle, auth_config_path: infra/x, region: eu-west-1", "region", "not a key of this"),
            ("auth_method: kubernetes, role: r, mount: /m", "mount", "segment 0 is empty"),
            ("auth_method: kubernetes, role: r, namespace: 'a b'", "namespace", "holds a character"),
            ("auth_method: kubernetes, role: r, client_cert_path: c", "client_key_path", "go together"),
            ("auth_method: kubernetes, role: r, attempt_timeout: 6s", "attempt_timeout", "longer than timeout"),
            ("auth_method: kubernetes, role: r, tls_verify: no", "tls_verify", "expected true or false"),
        ] {
            let text = vault(&format!("endpoint: 'https://v', {keys}"));
            refuses(&text, &format!("backends[0].config.{key}"), part);
        }
    }

    #[test]
    fn an_audit_device_comes_from_this_machine() {
        let text = |mode: &str, keys: &str| {
            with(&format!(
                "backends: [{{name: v, type: hashicorp-vault, mode: {mode}, path_mapping: [{{from: a, to: b}}], config: \
                 {{endpoint: 'https://v', auth_method: kubernetes, role: r, audit_device: {{{keys}}}}}}}]"
            ))
        };
        for address in ["unix:/run/device.sock", "127.0.0.1:9000", "[::1]:9000"] {
            let tenant = accepted(&text("sync", &format!("address: '{address}'"))).tenants.remove(0);
            let found = tenant.backends[0].config.audit_device().map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(address));
        }
        let key = "backends[0].config.audit_device.address";
        for (keys, part) in [
            ("address: '0.0.0.0:9000'", "a loopback or unix: address"),
            ("address: '10.0.0.1:9000'", "a loopback or unix: address"),
            ("address: '127.0.0.1:0'", "a port above zero"),
            ("address: 'bao:9000'", "expected IP:PORT"),
            ("", "is required"),
        ] {
            refuses(&text("sync", keys), key, part);
        }
        refuses(&text("proxy", "address: 'unix:/run/d'"), "backends[0].config.audit_device", "needs mode: sync");
        refuses(
            &text("sync", "address: 'unix:/run/d', mode: 1"),
            "backends[0].config.audit_device.mode",
            "unknown key",
        );
    }

    #[test]
    fn an_unverified_backend_is_warned_of() {
        let text = vault("endpoint: 'https://v', auth_method: kubernetes, role: r, tls_verify: false");
        let warnings = accepted(&text).warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].key, "backends[0].config.tls_verify");
    }
}
