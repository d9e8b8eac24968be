//! Our own API's operations.

use super::case::{Case, Expected};

pub(super) fn cases() -> Vec<Case> {
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
    ]
}
