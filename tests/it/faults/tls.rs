//! Certificates of backends: the right one is taken, every other one is refused before a byte of a request is sent.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::{DEFAULT_VERSIONS, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::{READ_OK, proxy_with};
use crate::certs::{Authority, Pair};
use crate::harness::wait_until;

/// A server with one certificate; what it was asked over a connection that stood.
struct TlsServer {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl TlsServer {
    fn start(pair: &Pair, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let config = pair.serving(versions);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, counter) = (config.clone(), counter.clone());
                thread::spawn(move || {
                    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    let mut chunk = [0; 8192];
                    while let Ok(length @ 1..) = tls.read(&mut chunk) {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let text = String::from_utf8_lossy(&chunk[..length]).into_owned();
                        let body = if text.contains("lookup-self") {
                            r#"{"data":{"ttl":0,"renewable":false}}"#
                        } else {
                            READ_OK
                        };
                        if tls.write_all(&super::server::answer(200, body)).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }
}

#[test]
fn q30_x11_x12_only_the_right_certificate_of_a_backend_is_taken() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let local = ["localhost", "127.0.0.1"];
    let start = |pair: Pair| TlsServer::start(&pair, DEFAULT_VERSIONS);
    let right = start(ours.server());
    let older = TlsServer::start(&ours.server(), &[&rustls::version::TLS12]);
    let bad = [
        ("stranger", start(theirs.server())),
        ("misnamed", start(ours.server_called(&["vault.example", "10.0.0.1"]))),
        ("expired", start(ours.server_but(&local, |params| params.not_after = date_time_ymd(2020, 1, 1)))),
        ("early", start(ours.server_but(&local, |params| params.not_before = date_time_ymd(2090, 1, 1)))),
        (
            "client",
            start(ours.server_but(&local, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            })),
        ),
        ("itself", {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(local.map(str::to_owned).to_vec()).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            start(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
        }),
    ];
    let mut backends = String::new();
    let mut add = |name: &str, endpoint: String, more: &str| backends.push_str(&backend(name, &endpoint, more));
    let ca = "      ca_path: {dir}/ca.pem\n";
    add("right", format!("https://127.0.0.1:{}", right.port()), ca);
    add("byname", format!("https://localhost:{}", right.port()), ca);
    add("older", format!("https://127.0.0.1:{}", older.port()), ca);
    add("system", format!("https://127.0.0.1:{}", right.port()), "");
    for (name, server) in &bad {
        add(name, format!("https://127.0.0.1:{}", server.port()), ca);
    }
    let proxy = proxy_with(&backends, |builder| {
        let keys = builder.dir().join("tls-keys").display().to_string();
        builder
            .file("ca.pem", ours.pem())
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent")
            .env("SSLKEYLOGFILE", keys)
    });
    let read = |name: &str| proxy.vault_call(crate::harness::ADMIN, "GET", &format!("/v1/secret/data/{name}/x"), b"");
    for name in ["right", "byname", "older"] {
        wait_until(std::time::Duration::from_secs(10), name, || read(name).status == 200);
    }
    let asked = right.asked.load(Ordering::SeqCst);
    for name in ["system"].into_iter().chain(bad.iter().map(|(name, _)| *name)) {
        let answer = read(name);
        assert_eq!(answer.status, 503, "{name}: {}", answer.text());
        let lines = proxy.audit_of(&answer);
        assert_eq!(lines.len(), 1, "{name}");
        assert_eq!(lines[0]["outcome"], "upstream_unavailable", "{name}");
    }
    for (name, server) in &bad {
        assert_eq!(server.asked.load(Ordering::SeqCst), 0, "{name} was asked for something");
    }
    assert_eq!(right.asked.load(Ordering::SeqCst), asked, "a backend with other roots used a connection of another");
    assert!(!proxy.dir().join("tls-keys").exists(), "the keys of connections were written to a file");
    assert!(!proxy.stderr().contains("panicked"));
}

fn backend(name: &str, endpoint: &str, more: &str) -> String {
    format!(
        "  - name: {name}\n    type: hashicorp-vault\n    config:\n      endpoint: {endpoint}\n      auth_method: token\n      \
         auth_config_path: infra/token\n      timeout: 3s\n      attempt_timeout: 1s\n{more}    path_mapping:\n      \
         - {{from: \"{name}/**\", to: \"secret/data/**\"}}\n"
    )
}
