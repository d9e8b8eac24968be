//! The ways in that need keys: client certificates over TLS, signed tokens of an issuer, and the end of all of them.

mod certificate;
mod issuer;
mod jwt;
mod revocation;

pub(crate) use issuer::Issuer;

use crate::harness::{ADMIN, BASIC, Proxy, ProxyBuilder};

/// The tenant's issuer in [`jwt_config`].
const ISSUER: &str = "https://issuer.example";

/// [`BASIC`] with one issuer whose keys are in `jwks.json`: workloads of the namespace `payments` are readers of the
/// folder named after their service account.
fn jwt_config() -> String {
    let jwt = "identity:\n  jwt:\n    - issuer: https://issuer.example\n      audiences: [scaivault]\n      \
               jwks_file: {dir}/jwks.json\n      allow: {namespace: [payments]}\n      \
               principal: \"{{namespace}}/{{service_account}}\"\n      groups: [readers]\n      \
               folders: [\"apps/{{service_account}}\"]\n";
    BASIC.replace("identity:\n", jwt)
}

/// Writes what the identities of these tests may and may not read.
fn with_secrets(builder: ProxyBuilder) -> Proxy {
    let proxy = builder.start();
    for path in ["apps/ledger/db", "apps/other/db"] {
        let written = proxy.scaivault_call(ADMIN, "PUT", &format!("/v1/secrets/{path}"), br#"{"data":{"a":1}}"#);
        assert_eq!(written.status, 201, "{}", written.text());
    }
    proxy
}

/// The statuses of a bearer's reads of its own folder and of another's.
fn reads(proxy: &Proxy, bearer: &str) -> (u16, u16) {
    let read = |path: &str| proxy.scaivault_call(bearer, "GET", path, b"").status;
    (read("/v1/secrets/apps/ledger/db"), read("/v1/secrets/apps/other/db"))
}
