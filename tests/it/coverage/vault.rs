//! The vault wire's operations, in the order of a secret's life.

use super::case::{Case, Expected, Told};

const MERGE: &[(&str, &str)] = &[("Content-Type", "application/merge-patch+json")];

pub(super) fn cases() -> Vec<Case> {
    let mut all = kv2();
    all.extend(kv1());
    all.extend(live());
    all.extend(session());
    all.extend(system());
    all
}

fn kv2() -> Vec<Case> {
    let one = "apps/cov/one";
    vec![
        Case::write(("vault", "POST", "/v1/secret/data/apps/cov/one", r#"{"data":{"a":"1"}}"#), "write", one, 200),
        Case::write(("vault", "PUT", "/v1/secret/data/apps/cov/one", r#"{"data":{"a":"2"}}"#), "write", one, 200),
        Case::read(("vault", "GET", "/v1/secret/data/apps/cov/one", ""), "read", one, 200),
        Case::read(("vault", "GET", "/v1/secret/data/apps/cov/one?version=1", ""), "read", one, 200),
        Case::read(("vault", "GET", "/v1/secret/subkeys/apps/cov/one", ""), "subkeys", one, 200),
        Case::read(("vault", "GET", "/v1/secret/metadata/apps/cov/one", ""), "describe", one, 200),
        Case::list(("vault", "LIST", "/v1/secret/metadata/apps/cov", ""), "list", "apps/cov", "apps/cov/"),
        Case::list(("vault", "GET", "/v1/secret/metadata/apps/cov/?list=true", ""), "list", "apps/cov", "apps/cov/"),
        Case::list(("vault", "SCAN", "/v1/secret/metadata/apps", ""), "scan", "apps", "apps/"),
        Case::write(("vault", "PATCH", "/v1/secret/data/apps/cov/one", r#"{"data":{"b":"3"}}"#), "patch", one, 200)
            .with(MERGE),
        Case::write(
            ("vault", "POST", "/v1/secret/metadata/apps/cov/one", r#"{"custom_metadata":{"owner":"it"}}"#),
            "write_metadata",
            one,
            204,
        ),
        Case::write(
            ("vault", "PATCH", "/v1/secret/metadata/apps/cov/one", r#"{"custom_metadata":{"more":"it"}}"#),
            "write_metadata",
            one,
            204,
        )
        .with(MERGE),
        Case::write(("vault", "DELETE", "/v1/secret/data/apps/cov/one", ""), "delete", one, 204),
        Case::read(("vault", "GET", "/v1/secret/data/apps/cov/one", ""), "read", one, 404),
        Case::write(("vault", "POST", "/v1/secret/undelete/apps/cov/one", r#"{"versions":[3]}"#), "undelete", one, 204),
        Case::write(("vault", "POST", "/v1/secret/delete/apps/cov/one", r#"{"versions":[1]}"#), "delete", one, 204),
        Case::write(("vault", "PUT", "/v1/secret/destroy/apps/cov/one", r#"{"versions":["2"]}"#), "destroy", one, 204),
        Case::read(("vault", "GET", "/v1/secret/data/apps/cov/one?version=2", ""), "read", one, 404),
        Case::write(("vault", "DELETE", "/v1/secret/metadata/apps/cov/one", ""), "purge", one, 204),
        Case::read(("vault", "GET", "/v1/secret/data/apps/cov/one", ""), "read", one, 404),
        Case::read(("vault", "GET", "/v1/secret/metadata/apps/cov/one", ""), "describe", one, 404),
    ]
}

fn kv1() -> Vec<Case> {
    let one = "scratch/v1/one";
    vec![
        Case::write(("vault", "PUT", "/v1/kv1/one", r#"{"a":"1"}"#), "write", one, 204),
        Case::read(("vault", "GET", "/v1/kv1/one", ""), "read", one, 200),
        Case::list(("vault", "LIST", "/v1/kv1", ""), "list", "scratch/v1", "scratch/v1/"),
        Case::write(("vault", "DELETE", "/v1/kv1/one", ""), "purge", one, 204),
        Case::read(("vault", "GET", "/v1/kv1/one", ""), "read", one, 404),
    ]
}

/// What a backend answers: proxied reads, and passthrough.
fn live() -> Vec<Case> {
    vec![
        Case::read(("vault", "GET", "/v1/secret/data/live/one", ""), "read", "live/one", 200),
        Case::read(("vault", "GET", "/v1/secret/data/live/missing", ""), "read", "live/missing", 404),
        Case::read(("vault", "GET", "/v1/db/creds/app", ""), "pass_read", "db/creds/app", 200),
        Case::list(("vault", "LIST", "/v1/db/creds", ""), "pass_list", "db/creds", "db/creds"),
        Case::write(("vault", "POST", "/v1/db/creds/app", r#"{"ttl":"1h"}"#), "pass_write", "db/creds/app", 200),
    ]
}

/// Logins, and a caller's own token. A configured token is neither renewed nor revoked by its holder.
fn session() -> Vec<Case> {
    const GOOD: &str = r#"{"role_id":"role-of-the-coverage","secret_id":"secret-id-of-the-coverage"}"#;
    const BAD: &str = r#"{"role_id":"role-of-the-coverage","secret_id":"another-secret-id-altogether"}"#;
    let login = Told { kind: "note", outcome: "ok", path: "-", principal: Some("t/role") };
    let refused = Told { kind: "refusal", outcome: "unauthenticated", path: "-", principal: Some("-") };
    let path = "/v1/auth/approle/login";
    vec![
        Case::open(("vault", "POST", path, GOOD), "login", &Expected::new(200, &[login])),
        Case::open(("vault", "PUT", path, BAD), "login", &Expected::new(400, &[refused])),
        Case::own(("vault", "GET", "/v1/auth/token/lookup-self", ""), "token_lookup", 200, "ok"),
        Case::own(("vault", "POST", "/v1/auth/token/renew-self", "{}"), "token_renew", 400, "malformed"),
        Case::own(("vault", "POST", "/v1/auth/token/revoke-self", ""), "token_revoke", 405, "unsupported"),
        Case::own(("vault", "POST", "/v1/auth/token/create", r#"{"ttl":"5m"}"#), "token_create", 200, "ok"),
    ]
}

fn system() -> Vec<Case> {
    let silent = Expected::new(200, &[]);
    let system = |method, target, body| Case::own(("vault", method, target, body), "system", 200, "ok");
    vec![
        Case::open(("vault", "GET", "/v1/sys/health", ""), "system", &silent),
        Case::open(("vault", "GET", "/v1/sys/seal-status", ""), "system", &silent),
        Case::open(("vault", "GET", "/v1/sys/leader", ""), "system", &silent),
        system("GET", "/v1/sys/mounts", ""),
        system("GET", "/v1/sys/internal/ui/mounts", ""),
        system("GET", "/v1/sys/internal/ui/mounts/secret/apps/cov", ""),
        system("GET", "/v1/secret/config", ""),
        system("POST", "/v1/sys/capabilities-self", r#"{"paths":["secret/data/apps/cov/one"]}"#),
    ]
}
