//! Our own API's operations.

use super::case::{Case, Expected};

pub(super) fn cases() -> Vec<Case> {
    let mut all = secrets();
    all.extend(administration());
    all.extend(federation());
    all
}

fn secrets() -> Vec<Case> {
    let two = "apps/cov/two";
    vec![
        Case::write(("scaivault", "PUT", "/v1/secrets/apps/cov/two", r#"{"data":{"a":1}}"#), "write", two, 201),
        Case::read(("scaivault", "GET", "/v1/secrets/apps/cov/two", ""), "read", two, 200),
        Case::read(("scaivault", "GET", "/v1/secrets/apps/cov/two?version=9", ""), "read", two, 404),
        Case::read(("scaivault", "GET", "/v1/secrets/apps/cov/two?versions=true", ""), "describe", two, 200),
        Case::list(("scaivault", "GET", "/v1/secrets/apps/cov?list=true", ""), "list", "apps/cov", "apps/cov/"),
        Case::list(("scaivault", "GET", "/v1/secrets/?list=true", ""), "list", "-", "/"),
        Case::write(("scaivault", "DELETE", "/v1/secrets/apps/cov/two", ""), "delete", two, 204),
        Case::read(("scaivault", "GET", "/v1/secrets/apps/cov/two", ""), "read", two, 404),
        Case::write(("scaivault", "PUT", "/v1/secrets/apps/cov/two?undelete=true&version=1", ""), "undelete", two, 204),
        Case::write(
            ("scaivault", "DELETE", "/v1/secrets/apps/cov/two?destroy=true&version=1", ""),
            "destroy",
            two,
            204,
        ),
        Case::read(("scaivault", "GET", "/v1/secrets/live/one", ""), "read", "live/one", 200),
    ]
}

fn administration() -> Vec<Case> {
    vec![
        Case::administration(
            ("scaivault", "POST", "/v1/tokens", r#"{"principal":"t/issued","groups":["g"],"ttl_seconds":60}"#),
            "token_issue",
            201,
        ),
        Case::administration(
            ("scaivault", "PUT", "/v1/principals/t/ghost/revocation", ""),
            "principal_revocation",
            204,
        ),
        Case::administration(
            ("scaivault", "DELETE", "/v1/principals/t/ghost/revocation", ""),
            "principal_revocation",
            204,
        ),
        Case::own(
            ("scaivault", "GET", "/v1/federation/explain?wire=vault&name=secret/apps/x", ""),
            "explain",
            200,
            "ok",
        ),
        Case::administration(
            ("scaivault", "GET", "/v1/federation/explain?wire=vault&name=secret/apps/x&as=t/other", ""),
            "explain",
            200,
        ),
        Case::open(("scaivault", "GET", "/v1/health", ""), "system", &Expected::new(200, &[])),
        Case::open(("scaivault", "GET", "/v1/openapi.json", ""), "system", &Expected::new(200, &[])),
        Case::change(("scaivault", "POST", "/v1/seal/rotate", r#"{"key":"tenant"}"#), "seal_rotate", 200, "ok"),
        Case::change(("scaivault", "POST", "/v1/seal/rotate", r#"{"key":"root"}"#), "seal_rotate", 200, "ok"),
    ]
}

/// Every route has a table of its own in the federation suite.
fn federation() -> Vec<Case> {
    const NOBODYS: &str = "/v1/federation/backends/fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P";
    const AWS: &str = r#"{"name":"aws","type":"aws-secrets-manager","config":{"region":"eu-west-1","credentials_path":"apps/aws"},
        "path_mapping":{"external/aws/**":"prod/**"}}"#;
    let backends = |method, body| ("scaivault", method, "/v1/federation/backends", body);
    vec![
        Case::administration(backends("GET", ""), "federation_read", 200),
        Case::administration_refused(("scaivault", "GET", NOBODYS, ""), "federation_read", 404, "not_found"),
        Case::change(backends("POST", AWS), "federation_write", 201, "ok"),
        Case::change(backends("POST", r#"{"name":"two words"}"#), "federation_write", 400, "malformed"),
        Case::administration_refused(("scaivault", "DELETE", NOBODYS, ""), "federation_write", 404, "not_found"),
    ]
}
