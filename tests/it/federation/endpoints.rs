//! Where a backend made over the API may point: X01. Whoever makes one chooses where our credential goes.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{BACKENDS, api, builder, get, made, text, wrong_keys};
use crate::harness::Proxy;

/// Spellings of this machine, its link and its cloud's metadata service.
const SPECIAL: [&str; 35] = [
    "http://169.254.169.254/",
    "https://169.254.169.254",
    "https://169.254.169.254:8200",
    "https://[fd00:ec2::254]",
    "https://[FD00:0EC2:0:0::254]",
    "https://metadata.google.internal",
    "https://METADATA.google.internal",
    "https://metadata.google.internal.",
    "https://metadata",
    "https://instance-data.ec2.internal",
    "https://100.100.100.200",
    "https://168.63.129.16",
    "http://0.0.0.0",
    "https://0.0.0.0:8440",
    "https://[::]",
    "https://[::1]:8440",
    "https://127.9.9.9",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:a9fe:a9fe]",
    "https://[::169.254.169.254]",
    "https://[64:ff9b::169.254.169.254]",
    "https://[2002:a9fe:a9fe::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[fe80::1]",
    "https://2852039166",
    "https://0xa9fea9fe",
    "https://0xa9.0xfe.0xa9.0xfe",
    "https://0251.0376.0251.0376",
    "https://169.254.43518",
    "https://localhost",
    "https://localhost.",
    "https://a.localhost",
    "https://\u{ff11}\u{ff16}\u{ff19}.254.169.254",
    "https://169\u{3002}254\u{3002}169\u{3002}254",
    "https://vault.internal@169.254.169.254",
];

const NOT_URLS: [&str; 12] = [
    "",
    "file:///etc/passwd",
    "unix:/run/docker.sock",
    "unix:///run/docker.sock",
    "gopher://vault.internal:8200/_x",
    "ftp://vault.internal",
    "vault.internal:8200",
    "//vault.internal:8200",
    "https://",
    "https://vault.internal:8200/?x=1",
    "https://vault.internal:8200#x",
    "https://user:password@vault.internal:8200",
];

fn vault(endpoint: &str) -> Value {
    json!({
        "name": "x01", "type": "hashicorp-vault", "path_mapping": [{"from": "external/x01/**", "to": "secret/data/**"}],
        "config": {"endpoint": endpoint, "auth_method": "token", "auth_config_path": "infra/x01"},
    })
}

/// A listener nobody may connect to, and how often somebody did.
fn trap() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (address, count)
}

fn refused(proxy: &Proxy, body: &Value, key: &str) {
    let answer = api(proxy, "POST", BACKENDS, body);
    assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    let keys = wrong_keys(&answer);
    assert!(keys.iter().any(|own| own == key), "{body}: `{key}` is not among {keys:?}");
}

/// The same proxy with another list.
fn allowing(list: &str) -> Proxy {
    let listed = super::CONFIG.replace(r#"["https://vault.internal:8200", "*.vault.azure.net", "http://BAO"]"#, list);
    assert_ne!(listed, super::CONFIG);
    builder("").config(&listed).start()
}

#[test]
fn x01_special_addresses_are_refused_in_every_spelling_even_where_everything_is_allowed() {
    let proxy = allowing(r#"["*", "*.internal", "*.localhost"]"#);
    for endpoint in SPECIAL.iter().chain(&NOT_URLS) {
        refused(&proxy, &vault(endpoint), "config.endpoint");
    }
    assert_eq!(get(&proxy, BACKENDS), json!({"backends": []}));
    // what is not special is admitted there; nobody is asked yet
    let at = made(&proxy, &vault("https://vault.internal:8200"));
    for endpoint in ["http://169.254.169.254", "https://metadata", "https://localhost:8200"] {
        let changed = api(&proxy, "PATCH", &at, &json!({"config": {"endpoint": endpoint}}));
        assert_eq!((changed.status, wrong_keys(&changed)), (400, vec!["config.endpoint".to_owned()]));
    }
    assert_eq!(text(&get(&proxy, &at)["config"], "endpoint"), "https://vault.internal:8200");
}

#[test]
fn x01_only_what_is_listed_is_admitted() {
    let (trapped, count) = trap();
    let (listed, _) = trap();
    let proxy = allowing(&format!(r#"["https://vault.internal:8200/base", "*.vault.azure.net", "http://{listed}"]"#));
    for endpoint in [
        "https://vault.internal:8200",
        "https://vault.internal:8200/basement",
        "https://vault.internal:8200/base/../other",
        "https://vault.internal/base",
        "https://vault.internal.evil.example:8200/base",
        "https://evil.example/vault.internal:8200/base",
        "https://vault.azure.net",
        "https://evilvault.azure.net",
        &format!("http://{trapped}"),
        &format!("https://{listed}"),
    ] {
        refused(&proxy, &vault(endpoint), "config.endpoint");
    }
    for (at, endpoint) in
        ["https://vault.internal:8200/base", "https://VAULT.internal:8200/base/x", &format!("http://{listed}")]
            .into_iter()
            .enumerate()
    {
        let mut body = vault(endpoint);
        body["name"] = json!(format!("listed-{at}"));
        made(&proxy, &body);
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "what was refused was asked");
}

#[test]
fn x01_every_url_of_every_type_is_looked_at() {
    let proxy = allowing(r#"["https://fine.example"]"#);
    let metadata = "https://169.254.169.254";
    for (kind, config, key) in [
        (
            "hashicorp-vault",
            json!({"endpoint": "https://fine.example", "auth_method": "aws", "role": "r", "auth_config_path": "infra/aws",
                "sts_endpoint": metadata}),
            "config.sts_endpoint",
        ),
        (
            "aws-secrets-manager",
            json!({"region": "eu-west-1", "credentials_path": "infra/aws", "endpoint": metadata}),
            "config.endpoint",
        ),
        (
            "aws-secrets-manager",
            json!({"region": "eu-west-1", "credentials_path": "infra/aws", "sts_endpoint": metadata}),
            "config.sts_endpoint",
        ),
        // the identity of this process is its operator's
        ("aws-secrets-manager", json!({"region": "eu-west-1"}), "config.credentials_path"),
        (
            "hashicorp-vault",
            json!({"endpoint": "https://fine.example", "auth_method": "aws", "role": "r"}),
            "config.auth_config_path",
        ),
        (
            "hashicorp-vault",
            json!({"endpoint": "https://fine.example", "auth_method": "kubernetes", "role": "r"}),
            "config.auth_method",
        ),
        ("azure-key-vault", json!({"vault_url": metadata, "auth_method": "managed_identity"}), "config.vault_url"),
        (
            "azure-key-vault",
            json!({"vault_url": "https://fine.example", "auth_method": "managed_identity", "authority": metadata}),
            "config.authority",
        ),
        (
            "google-secret-manager",
            json!({"project_id": "p", "auth_method": "workload_identity", "endpoint": metadata}),
            "config.endpoint",
        ),
        (
            "google-secret-manager",
            json!({"project_id": "p", "auth_method": "workload_identity", "proxy_url": "http://169.254.169.254:80"}),
            "config.proxy_url",
        ),
    ] {
        let body = json!({"name": "x01", "type": kind, "config": config, "path_mapping": {"external/x/**": "x/**"}});
        refused(&proxy, &body, key);
    }
}

#[test]
fn x01_without_a_list_a_backend_points_nowhere_and_never_at_this_process() {
    let config = super::CONFIG.replace(
        r#"federation: {allow_endpoints: ["https://vault.internal:8200", "*.vault.azure.net", "http://BAO"]}"#,
        "",
    );
    assert_ne!(config, super::CONFIG);
    let proxy = builder("").config(&config).start();
    refused(&proxy, &vault("https://vault.internal:8200"), "config.endpoint");
    // a vendor's own endpoint is nobody's choice
    let aws = json!({"region": "eu-west-1", "credentials_path": "infra/aws"});
    made(
        &proxy,
        &json!({"name": "aws", "type": "aws-secrets-manager", "config": aws, "path_mapping": {"x/**": "x/**"}}),
    );

    let listed = r#"["127.0.0.1", "localhost", "[::1]"]"#;
    let proxy = allowing(listed);
    for name in ["admin", "scaivault", "vault"] {
        let address = proxy.address(name);
        let port = address.rsplit(':').next().unwrap();
        for endpoint in
            [format!("http://{address}"), format!("http://localhost:{port}"), format!("https://[::1]:{port}")]
        {
            refused(&proxy, &vault(&endpoint), "config.endpoint");
        }
    }
    made(&proxy, &vault("http://127.0.0.1:9"));
}
