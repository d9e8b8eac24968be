//! Where a backend made over the API may point (`federation.allow_endpoints`).
//!
//! A caller of the API chooses the address our credentials are sent to and answers are read from, so it is checked against
//! what the operator listed, by the parsed parts of the URL and never by its text. Addresses that mean this machine, its
//! link or its cloud's metadata service are admitted only where they are listed by name. A host name is judged by its
//! spelling when a backend is made, and by what it stands for at each connection.

mod ourselves;

use std::net::SocketAddr;

use crate::config::backend::BackendSettings;
use crate::config::place::{address, canonical, is_local_name, is_meant, is_special, is_this_machine};
use crate::config::problem::Problem;
use crate::config::url::HttpUrl;
use crate::config::vendor::{BackendConfig, VaultAuth};

const NOT_LISTED: &str =
    "is not under federation.allow_endpoints, which says where backends made over the API may point";
const SPECIAL: &str = "is an address of this machine, its link or its cloud's metadata service; only listing this host in \
                       federation.allow_endpoints admits it";
const OURSELVES: &str = "is a listener of this very process";
const EXPECTED: &str =
    "expected an http(s) URL prefix, HOST, HOST:PORT, *.DOMAIN or * for any host that is not special";

/// The endpoints that are admitted.
#[derive(Clone, Debug, Default)]
pub struct AllowedEndpoints {
    entries: Vec<Entry>,
    loopback: bool,
    own: Vec<SocketAddr>,
}

/// One listed endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Any host that is not special.
    Any,
    /// Everything below a URL.
    Below { url: HttpUrl },
    /// A host, on one port or on all.
    Host { host: String, port: Option<u16> },
    /// Every name below a domain.
    Domain { suffix: String, port: Option<u16> },
}

/// Checks one text of `federation.allow_endpoints` when the file is read.
///
/// # Errors
/// What is accepted.
pub(in crate::config) fn entry(text: &str) -> Result<String, &'static str> {
    Entry::parse(text).map(|_| text.to_owned()).ok_or(EXPECTED)
}

impl AllowedEndpoints {
    /// What `federation.allow_endpoints` lists; `loopback` admits this machine as well (`dev`). `own` are the addresses this
    /// process listens on itself: those are never admitted.
    ///
    /// # Errors
    /// A problem for each text that is no entry, keyed `[0]`.
    pub fn compile(texts: &[String], loopback: bool, own: Vec<SocketAddr>) -> Result<Self, Vec<Problem>> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for (at, text) in texts.iter().enumerate() {
            match Entry::parse(text) {
                Some(entry) => entries.push(entry),
                None => problems.push(Problem::new(format!("[{at}]"), None, EXPECTED)),
            }
        }
        if problems.is_empty() { Ok(Self { entries, loopback, own }) } else { Err(problems) }
    }

    /// Everything in a backend's settings that points where it must not, or would log in there as this process, by its key
    /// in the body.
    #[must_use]
    pub fn check(&self, settings: &BackendSettings) -> Vec<Problem> {
        let refused = |(key, url): (&'static str, &HttpUrl)| Some(Problem::new(key, None, self.refusal(url)?));
        pointed_at(settings).into_iter().filter_map(refused).chain(self.refused_login(settings)).collect()
    }

    /// Whether a backend that points to `host` may be connected to at `to`. What `host` stands for is looked up anew for
    /// each connection, and may have changed since the backend was made.
    ///
    /// An address of this machine, its link or its metadata service is admitted for a name only where the list holds that
    /// address too.
    #[must_use]
    pub fn admits(&self, host: &str, to: SocketAddr) -> bool {
        !self.is_own_address(to) && (is_meant(host, to.ip()) || self.entries.iter().any(|entry| entry.names(to)))
    }

    fn is_own_address(&self, to: SocketAddr) -> bool {
        let ip = canonical(to.ip());
        let is_own = |own: &SocketAddr| own.port() == to.port() && (is_this_machine(ip) || canonical(own.ip()) == ip);
        self.own.iter().any(is_own)
    }

    fn refusal(&self, url: &HttpUrl) -> Option<&'static str> {
        if self.is_own(url) {
            return Some(OURSELVES);
        }
        let is_special = is_special(url.host());
        if self.entries.iter().any(|entry| entry.covers(url, is_special)) || (self.loopback && url.is_loopback()) {
            return None;
        }
        Some(if is_special { SPECIAL } else { NOT_LISTED })
    }

    fn is_own(&self, url: &HttpUrl) -> bool {
        let ip = address(url.host());
        let is_here = url.is_loopback() || is_local_name(url.host()) || ip.is_some_and(is_this_machine);
        self.own.iter().any(|own| own.port() == url.port() && (is_here || ip == Some(canonical(own.ip()))))
    }
}

/// The URLs a backend's settings name. A vendor's own endpoint, which nobody names, is not among them.
fn pointed_at(settings: &BackendSettings) -> Vec<(&'static str, &HttpUrl)> {
    let own: [(&'static str, Option<&HttpUrl>); 2] = match &settings.config {
        BackendConfig::HashicorpVault(config) => {
            let sts = match &config.auth {
                VaultAuth::Aws { sts_endpoint, .. } => sts_endpoint.as_ref(),
                VaultAuth::Approle { .. }
                | VaultAuth::Token { .. }
                | VaultAuth::Kubernetes { .. }
                | VaultAuth::Gcp { .. } => None,
            };
            [("config.endpoint", Some(&config.endpoint)), ("config.sts_endpoint", sts)]
        }
        BackendConfig::AwsSecretsManager(config) => {
            [("config.endpoint", config.endpoint.as_ref()), ("config.sts_endpoint", config.sts_endpoint.as_ref())]
        }
        BackendConfig::AzureKeyVault(config) => {
            [("config.vault_url", Some(&config.vault_url)), ("config.authority", config.authority.as_ref())]
        }
        BackendConfig::GoogleSecretManager(config) => [("config.endpoint", config.endpoint.as_ref()), ("", None)],
    };
    let proxy = ("config.proxy_url", settings.config.upstream().proxy_url.as_ref());
    own.into_iter().chain([proxy]).filter_map(|(key, url)| Some((key, url?))).collect()
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        if text.contains("://") {
            return HttpUrl::parse_proxy(text).ok().map(|url| Self::Below { url });
        }
        if text.contains('/') {
            return None;
        }
        let (text, is_domain) = text.strip_prefix("*.").map_or((text, false), |domain| (domain, true));
        let url = HttpUrl::parse_proxy(&format!("https://{text}")).ok()?;
        // the last colon that is no part of an IPv6 address in brackets
        let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        let (host, port) = (url.host().to_ascii_lowercase(), has_port.then(|| url.port()));
        match (is_domain, address(&host)) {
            (false, _) => Some(Self::Host { host, port }),
            (true, None) => Some(Self::Domain { suffix: format!(".{host}"), port }),
            (true, Some(_)) => None,
        }
    }

    fn covers(&self, url: &HttpUrl, is_special: bool) -> bool {
        let port_fits = |port: &Option<u16>| port.is_none_or(|port| port == url.port());
        match self {
            Self::Any => !is_special,
            Self::Below { url: above } => is_same_origin(above, url) && is_below(path(above), path(url)),
            Self::Host { host, port } => port_fits(port) && is_same_host(host, url.host()),
            Self::Domain { suffix, port } => {
                !is_special && port_fits(port) && url.host().to_ascii_lowercase().ends_with(suffix.as_str())
            }
        }
    }
}

impl Entry {
    /// Whether the entry is this very address.
    fn names(&self, to: SocketAddr) -> bool {
        let (host, port) = match self {
            Self::Below { url } => (url.host(), Some(url.port())),
            Self::Host { host, port } => (host.as_str(), *port),
            Self::Any | Self::Domain { .. } => return false,
        };
        address(host) == Some(canonical(to.ip())) && port.is_none_or(|port| port == to.port())
    }
}

/// The path of a URL, without a slash at either end.
fn path(url: &HttpUrl) -> &str {
    let rest = url.base().split_once("://").map_or("", |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path)
}

/// Whether one path is the other or lies below it, segment by segment.
fn is_below(above: &str, path: &str) -> bool {
    above.is_empty() || path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn is_same_origin(one: &HttpUrl, other: &HttpUrl) -> bool {
    one.is_tls() == other.is_tls() && one.port() == other.port() && is_same_host(one.host(), other.host())
}

fn is_same_host(one: &str, other: &str) -> bool {
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.eq_ignore_ascii_case(other),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::api::compile_backend;

    fn allowed(texts: &[&str], loopback: bool) -> AllowedEndpoints {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let own = vec!["127.0.0.1:8449".parse().unwrap(), "0.0.0.0:8440".parse().unwrap()];
        AllowedEndpoints::compile(&texts, loopback, own).unwrap()
    }

    /// What is said of a Vault backend at this endpoint; `None` if it is admitted.
    fn verdict(allowed: &AllowedEndpoints, endpoint: &str) -> Option<String> {
        let body = serde_json::json!({
            "name": "v", "type": "hashicorp-vault", "path_mapping": [{"from": "a/**", "to": "secret/data/**"}],
            "config": {"endpoint": endpoint, "auth_method": "token", "auth_config_path": "infra/x"},
        });
        match compile_backend(&body.to_string(), false) {
            Err(problems) => {
                assert_eq!(problems[0].key, "config.endpoint", "{endpoint}: {problems:?}");
                Some(problems[0].message.clone())
            }
            Ok(settings) => allowed.check(&settings).pop().map(|problem| {
                assert_eq!(problem.key, "config.endpoint");
                problem.message
            }),
        }
    }

    #[test]
    fn x01_special_addresses_are_refused_in_every_spelling() {
        let allowed = allowed(&["*", "*.internal", "https://vault.internal:8200"], false);
        for endpoint in [
            "http://169.254.169.254/",
            "https://169.254.169.254",
            "https://[fd00:ec2::254]",
            "https://[FD00:0EC2:0:0::254]",
            "https://[fd20:ce::254]",
            "https://metadata.google.internal",
            "https://METADATA.google.internal",
            "https://metadata",
            "https://instance-data.ec2.internal",
            "https://127.0.0.1:8449",
            "http://127.0.0.1:8449",
            "http://127.0.0.1:9",
            "https://127.9.9.9",
            "https://0.0.0.0",
            "https://0.1.2.3",
            "https://[::]",
            "https://[::1]",
            "https://[::ffff:169.254.169.254]",
            "https://[::ffff:a9fe:a9fe]",
            "https://[::169.254.169.254]",
            "https://[64:ff9b::169.254.169.254]",
            "https://[2002:a9fe:a9fe::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1]",
            "https://[ff02::1]",
            "https://224.0.0.1",
            "https://255.255.255.255",
            "https://100.100.100.200",
            "https://168.63.129.16",
            "https://192.0.0.192",
            "https://2852039166",
            "https://0xa9fea9fe",
            "https://0xa9.0xfe.0xa9.0xfe",
            "https://0251.0376.0251.0376",
            "https://169.254.43518",
            "https://localhost",
            "https://LOCALHOST:8200",
            "https://a.localhost",
            "https://localhost.",
            "https://vault.internal@169.254.169.254",
            "file:///etc/passwd",
            "unix:/run/x",
            "gopher://vault.internal",
            "https://169.254.169.254#vault.internal",
        ] {
            assert!(verdict(&allowed, endpoint).is_some(), "{endpoint}");
        }
        for endpoint in ["https://vault.internal:8200", "https://a.internal", "https://10.0.0.1", "https://8.8.8.8:1"] {
            assert_eq!(verdict(&allowed, endpoint), None, "{endpoint}");
        }
    }

    #[test]
    fn what_is_listed_is_admitted_and_nothing_beside_it() {
        for (entry, good, bad) in [
            (
                "https://vault.internal:8200",
                vec!["https://vault.internal:8200", "https://VAULT.internal:8200/", "https://vault.internal:8200/a/b"],
                vec![
                    "https://vault.internal",
                    "https://vault.internal.evil.example:8200",
                    "https://vault.internal:82001",
                ],
            ),
            (
                "https://h/base/",
                vec!["https://h/base", "https://h:443/base/x"],
                vec!["https://h", "https://h/basement", "https://h/other", "https://h:444/base"],
            ),
            (
                "vault.internal",
                vec!["https://vault.internal", "https://vault.internal:1/x"],
                vec!["https://a.vault.internal"],
            ),
            ("vault.internal:8200", vec!["https://vault.internal:8200"], vec!["https://vault.internal"]),
            (
                "*.vault.azure.net",
                vec!["https://acme.vault.azure.net", "https://a.b.vault.azure.net"],
                vec![
                    "https://vault.azure.net",
                    "https://evilvault.azure.net",
                    "https://a.vault.azure.net.evil.example",
                ],
            ),
            ("10.0.0.1", vec!["https://10.0.0.1:8200", "https://[::ffff:10.0.0.1]"], vec!["https://10.0.0.2"]),
            ("[2001:db8::1]:8200", vec!["https://[2001:DB8:0::1]:8200"], vec!["https://[2001:db8::1]"]),
            ("[2001:db8::1]", vec!["https://[2001:db8::1]:8200"], vec!["https://[2001:db8::2]"]),
            (
                "http://127.0.0.1:8200",
                vec!["http://127.0.0.1:8200"],
                vec!["https://127.0.0.1:8200", "http://127.0.0.1:8201"],
            ),
            ("169.254.7.7", vec!["https://169.254.7.7"], vec!["https://169.254.169.254"]),
        ] {
            let allowed = allowed(&[entry], false);
            for endpoint in good {
                assert_eq!(verdict(&allowed, endpoint), None, "{entry} {endpoint}");
            }
            for endpoint in bad {
                assert!(verdict(&allowed, endpoint).is_some(), "{entry} {endpoint}");
            }
        }
        assert!(verdict(&allowed(&[], false), "https://vault.internal").unwrap().contains("allow_endpoints"));
    }

    #[test]
    fn dev_admits_loopback_but_never_the_process_itself() {
        let dev = allowed(&["localhost"], true);
        for good in ["http://127.0.0.1:8200", "http://localhost:8200", "https://[::1]:8200"] {
            assert_eq!(verdict(&dev, good), None, "{good}");
        }
        for own in ["http://127.0.0.1:8449", "http://localhost:8449", "http://127.0.0.2:8440", "https://[::1]:8440"] {
            assert_eq!(verdict(&dev, own).as_deref(), Some(OURSELVES), "{own}");
        }
        assert!(verdict(&dev, "https://vault.internal").is_some());
    }

    #[test]
    fn x02_what_a_listed_name_stands_for_is_looked_at_for_each_connection() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let list = allowed(&["*", "https://vault.internal:8200", "localhost", "127.0.0.7:9000"], false);
        for (host, to, is_admitted) in [
            ("vault.internal", "10.0.0.5:8200", true),
            ("vault.internal", "127.0.0.1:8200", false),
            ("vault.internal", "169.254.169.254:80", false),
            ("vault.internal", "[::ffff:169.254.169.254]:80", false),
            ("vault.internal", "[fd00:ec2::254]:80", false),
            ("vault.internal", "0.0.0.0:8200", false),
            ("localhost", "127.0.0.1:8200", true),
            ("localhost", "[::1]:8200", true),
            ("localhost", "169.254.169.254:80", false),
            // listed by its address, for whatever name stands for it
            ("vault.internal", "127.0.0.7:9000", true),
            ("vault.internal", "127.0.0.7:9001", false),
            // this very process
            ("localhost", "127.0.0.1:8449", false),
            ("vault.internal", "127.0.0.1:8440", false),
            ("127.0.0.1", "127.0.0.1:8449", false),
        ] {
            assert_eq!(list.admits(host, at(to)), is_admitted, "{host} {to}");
        }
        let own = AllowedEndpoints::compile(&["*".to_owned()], false, vec![at("10.1.2.3:8440")]).unwrap();
        assert!(!own.admits("vault.internal", at("10.1.2.3:8440")), "our own address on the network");
        assert!(own.admits("vault.internal", at("10.1.2.3:8200")));
    }

    #[test]
    fn every_url_of_every_type_is_checked() {
        let nowhere = allowed(&[], false);
        let keys = |kind: &str, config: serde_json::Value| {
            let body = serde_json::json!({
                "name": "b", "type": kind, "config": config, "path_mapping": {"a/**": "b/**"}
            });
            let settings = compile_backend(&body.to_string(), false).unwrap();
            nowhere.check(&settings).into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        let aws = serde_json::json!({"region": "eu-west-1", "endpoint": "https://e", "sts_endpoint": "https://s"});
        assert_eq!(keys("aws-secrets-manager", aws), ["config.endpoint", "config.sts_endpoint"]);
        let plain = serde_json::json!({"region": "eu-west-1", "credentials_path": "infra/x"});
        assert!(keys("aws-secrets-manager", plain).is_empty(), "the vendor's own endpoint is nobody's choice");
        let azure = serde_json::json!({
            "vault_url": "https://v", "auth_method": "managed_identity", "authority": "https://l", "proxy_url": "http://p:1"
        });
        assert_eq!(keys("azure-key-vault", azure), ["config.vault_url", "config.authority", "config.proxy_url"]);
        let google = serde_json::json!({"project_id": "p", "credentials_path": "infra/x", "endpoint": "https://g"});
        assert_eq!(keys("google-secret-manager", google), ["config.endpoint"]);
    }

    #[test]
    fn entries_that_say_nothing_clear_are_refused() {
        for bad in ["", "https://", "a/b", "*.", "*.*", "*.10.0.0.1", "h:0", "h:x", "user@h", "127.1", "a b", "http:h"]
        {
            let found = AllowedEndpoints::compile(&[bad.to_owned()], false, Vec::new()).unwrap_err();
            assert_eq!(found[0].key, "[0]", "{bad}");
        }
    }
}
