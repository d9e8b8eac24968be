//! The listener's certificate, replaced while clients connect.

use super::{ADMIN, Load, Proxy, SOON, rejected, wait_until};
use crate::certs::{Authority, der, get, presented};
use crate::harness::BASIC;

fn config() -> String {
    let plain = "    address: {vault}\n";
    assert!(BASIC.contains(plain));
    let tls = format!("{plain}    tls: {{certificate: {{dir}}/tls.crt, key: {{dir}}/tls.key}}\n");
    BASIC.replace(plain, &tls)
}

#[test]
fn o01_a_new_certificate_is_shown_to_new_connections_and_none_is_dropped() {
    let authority = Authority::new("scaivault-proxy it");
    let (first, second) = (authority.server(), authority.server());
    let proxy = Proxy::builder()
        .config(&config())
        .file("tls.crt", first.certificate.clone())
        .file("tls.key", first.key.clone())
        .start();
    proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/apps/db/x", br#"{"data":{"a":1}}"#);
    let address = proxy.address("vault");
    assert_eq!(presented(&address, &authority).unwrap(), der(&first.certificate));

    let (place, roots) = (address.clone(), authority.clone());
    let load = Load::repeat(move || {
        let headers = format!("X-Vault-Token: {ADMIN}\r\n");
        let answer = get(&place, &roots, "/v1/secret/data/apps/db/x", &headers).map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200 ") { Ok(1) } else { Err(answer) }
    });

    proxy.write("tls.crt", &second.certificate);
    proxy.write("tls.key", &second.key);
    let shown = der(&second.certificate);
    wait_until(SOON, "the second certificate", || presented(&address, &authority).is_ok_and(|found| found == shown));
    wait_until(SOON, "both files to be taken", || rejected(&proxy) == 0.0);

    for (name, bad) in [("tls.crt", "no certificate"), ("tls.key", first.key.as_str())] {
        proxy.write(name, bad);
        wait_until(SOON, "the bad file to be rejected", || rejected(&proxy) == 1.0);
        assert_eq!(presented(&address, &authority).unwrap(), shown, "{name}");
        let good = if name == "tls.crt" { &second.certificate } else { &second.key };
        proxy.write(name, good);
        wait_until(SOON, "the rejection to be over", || rejected(&proxy) == 0.0);
    }
    assert!(!proxy.stderr().contains("PRIVATE KEY"));
    load.finish();
}
