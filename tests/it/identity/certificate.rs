//! Client certificates: the names in a certificate of a known authority are the caller.

use reqwest::{Client, Identity, StatusCode, Version};

use super::with_secrets;
use crate::certs::{Authority, Pair};
use crate::harness::{ADMIN, BASIC, Proxy, READER};

const LEDGER: &str = "spiffe://it/payments/ledger";

fn config() -> String {
    let plain = "    address: {vault}\n";
    assert!(BASIC.contains(plain));
    let tls = format!(
        "{plain}    tls: {{certificate: {{dir}}/tls.crt, key: {{dir}}/tls.key, client_ca: {{dir}}/clients.pem}}\n"
    );
    let certificates = "identity:\n  certificates:\n    - {san: 'uri:spiffe://it/payments/ledger', \
                        principal: payments/ledger, groups: [readers], folders: [apps/ledger]}\n";
    BASIC.replace(plain, &tls).replace("identity:\n", certificates)
}

fn client(authority: &Authority, identity: Option<&Pair>) -> Client {
    // the first one to come wins; all are the same
    drop(rustls::crypto::ring::default_provider().install_default());
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let builder = Client::builder().no_proxy().tls_certs_only([root]);
    let builder = match identity {
        None => builder,
        Some(pair) => {
            let pem = format!("{}{}", pair.certificate, pair.key);
            builder.identity(Identity::from_pem(pem.as_bytes()).unwrap())
        }
    };
    builder.build().unwrap()
}

async fn read(proxy: &Proxy, client: &Client, path: &str, token: Option<&str>) -> Result<StatusCode, reqwest::Error> {
    let mut request = client.get(format!("https://{}/v1/secret/data/{path}", proxy.address("vault")));
    if let Some(token) = token {
        request = request.header("X-Vault-Token", token);
    }
    let answer = request.send().await?;
    assert_eq!(answer.version(), Version::HTTP_2, "offered by ALPN");
    let status = answer.status();
    assert!(!answer.text().await?.is_empty());
    Ok(status)
}

#[tokio::test]
async fn a_certificate_reads_its_own_folder_and_a_token_beside_it_decides() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = servers.server();
    let proxy = with_secrets(
        Proxy::builder()
            .config(&config())
            .file("tls.crt", server.certificate)
            .file("tls.key", server.key)
            .file("clients.pem", clients.pem()),
    );
    let ledger = client(&servers, Some(&clients.client(LEDGER)));
    assert_eq!(read(&proxy, &ledger, "apps/ledger/db", None).await.unwrap(), 200);
    assert_eq!(read(&proxy, &ledger, "apps/other/db", None).await.unwrap(), 403);
    assert_eq!(read(&proxy, &ledger, "apps/other/db", Some(ADMIN)).await.unwrap(), 200);
    assert_eq!(read(&proxy, &ledger, "apps/ledger/db", Some(READER)).await.unwrap(), 403);
    assert_eq!(read(&proxy, &ledger, "apps/ledger/db", Some("unknown-token-entirely")).await.unwrap(), 403);
    let principals: Vec<String> = proxy
        .audit()
        .iter()
        .filter(|line| line["wire"] == "vault" && line["outcome"] == "ok")
        .map(|line| line["principal"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert_eq!(principals, ["payments/ledger", "t/admin"]);
}

#[tokio::test]
async fn no_name_another_name_and_another_authority_open_nothing() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = servers.server();
    let proxy = with_secrets(
        Proxy::builder()
            .config(&config())
            .file("tls.crt", server.certificate)
            .file("tls.key", server.key)
            .file("clients.pem", clients.pem()),
    );
    let nobody = client(&servers, None);
    assert_eq!(read(&proxy, &nobody, "apps/ledger/db", None).await.unwrap(), 403);
    assert_eq!(read(&proxy, &nobody, "apps/ledger/db", Some(ADMIN)).await.unwrap(), 200);
    for name in ["spiffe://it/payments/ledger2", "spiffe://it/payments", "spiffe://IT/payments/ledger"] {
        let other = client(&servers, Some(&clients.client(name)));
        assert_eq!(read(&proxy, &other, "apps/ledger/db", None).await.unwrap(), 403, "{name}");
    }
    let forged = client(&servers, Some(&Authority::new("clients").client(LEDGER)));
    assert!(read(&proxy, &forged, "apps/ledger/db", None).await.is_err(), "the handshake must fail");
    assert_eq!(read(&proxy, &nobody, "apps/ledger/db", Some(ADMIN)).await.unwrap(), 200, "others are not affected");

    let revoked = proxy.scaivault_call(ADMIN, "PUT", "/v1/principals/payments/ledger/revocation", b"");
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    let ledger = client(&servers, Some(&clients.client(LEDGER)));
    assert_eq!(read(&proxy, &ledger, "apps/ledger/db", None).await.unwrap(), 403);
}
