//! Groups V, J21 and X14/X15: what only a Vault server has, and credentials given in odd ways.

use super::case::{Case, bad, bytes, denied, good, read, vault, with_token};
use super::world::{ADMIN, NOBODY, PLAIN, READER, SECRET_ID, STRICT, UPSTREAM};

const DB: &str = "/v1/secret/data/app/db";
const OWN: &str = "/v1/secret/data/scratch/v";
const UNKNOWN: &[&str] = &["unauthenticated"];

pub(super) fn cases() -> Vec<Case> {
    let mut all = namespaces();
    all.extend(credentials());
    all.extend(headers());
    all.extend(closed_paths());
    all.extend(writes());
    all.extend(logins());
    all
}

fn namespaces() -> Vec<Case> {
    let named = |namespace: &str, target: &str| vault("GET", target, &[("X-Vault-Namespace", namespace)], b"");
    let mut all = vec![
        good("V01", "the header", named("team/a", DB)).reaches(DB),
        good("V01", "the header, slash behind", named("team/a/", DB)).reaches(DB),
        good("V01", "the header, slashes around", named("/team/a/", DB)).reaches(DB),
        good("V01", "the path", read("/v1/team/a/secret/data/app/db")).reaches(DB),
        good("V01", "both, joined", named("team", "/v1/a/secret/data/app/db")).reaches(DB),
        denied("V01", "both, joined to another", named("team/a", "/v1/a/secret/data/app/db")),
        denied("V01", "another in the header", named("ns1", DB)),
        denied("V01", "another in the path", read("/v1/ns1/secret/data/app/db")),
        denied("V01", "the header of one, the path of another", named("ns1", "/v1/ns2/secret/data/app/db")),
        denied("V01", "half of one", named("team", DB)),
        denied("V02", "root", named("root", DB)),
        denied("V02", "root/", named("root/", DB)),
        denied("V02", "another case", named("Team/A", DB)),
    ];
    for namespace in
        ["..", "ns1/../ns2", "team/./a", "ns1//", "//team/a", "team//a", "team a", "team/a%2f", "team\\a", "\u{e9}"]
    {
        all.push(bad("V02", namespace, named(namespace, DB)));
    }
    let two = [("X-Vault-Namespace", "team/a"), ("X-Vault-Namespace", "team/a")];
    all.push(bad("V02", "two headers", vault("GET", DB, &two, b"")));
    all.push(
        denied(
            "V02",
            "a login to another",
            bytes("POST", b"/v1/auth/approle/login", &[("X-Vault-Namespace", "ns1")], b"{}"),
        )
        .status(&[400, 403])
        .audit(&["denied", "malformed", "unauthenticated"]),
    );
    all
}

fn credentials() -> Vec<Case> {
    let with = |headers: &[(&str, &str)]| bytes("GET", DB.as_bytes(), headers, b"");
    let bearer = |scheme: &str| with(&[("Authorization", &format!("{scheme} {READER}"))]);
    let nobody_is_known = |id, note: &str, send| denied(id, note, send).audit(UNKNOWN);
    let other = format!("Bearer {ADMIN}");
    let same = format!("Bearer {READER}");
    let mut all = vec![
        bad("V04", "two different ones", with(&[("X-Vault-Token", READER), ("Authorization", &other)])),
        bad("V04", "an unknown one beside", with(&[("X-Vault-Token", "nonsense"), ("Authorization", &same)])),
        good("V04", "the same twice", with(&[("X-Vault-Token", READER), ("Authorization", &same)])).reaches(DB),
        bad("V05", "two tokens", with(&[("X-Vault-Token", READER), ("X-Vault-Token", ADMIN)])),
        bad("V05", "the same token twice", with(&[("X-Vault-Token", READER), ("X-Vault-Token", READER)])),
        nobody_is_known("V05", "an empty one", with(&[("X-Vault-Token", "")]))
            .status(&[400, 403])
            .audit(&["unauthenticated", "malformed"]),
        bad("V05", "one with a blank in it", with(&[("X-Vault-Token", "a b")])),
        bad("V05", "one with a byte above ASCII", with(&[("X-Vault-Token", "token-\u{e9}-token-token")])),
        bad("V05", "9 KiB", with(&[("X-Vault-Token", &"t".repeat(9 << 10))]))
            .status(&[400, 413, 431])
            .audit(&["malformed", "too_large"]),
        bad("V05", "64 KiB", with(&[("X-Vault-Token", &"t".repeat(64 << 10))])).status(&[400, 413, 431]).or_closed(),
        nobody_is_known("V05", "none", with(&[])),
        nobody_is_known("V05", "unknown", with(&[("X-Vault-Token", "hvs.CAESIunknown-unknown")])),
        nobody_is_known("V05", "a prefix of a known one", with(&[("X-Vault-Token", &READER[..READER.len() - 1])])),
        nobody_is_known("V05", "a known one in another case", with(&[("X-Vault-Token", &READER.to_ascii_uppercase())])),
        nobody_is_known("X15", "the proxy's own token for the backend", with(&[("X-Vault-Token", UPSTREAM)])),
        denied(
            "X14",
            "what the backend's identity could read",
            with_token(ADMIN, "GET", "/v1/secret/data/team-b/x", &[], b""),
        ),
        good("J21", "a bearer", bearer("Bearer")).reaches(DB),
        good("J21", "another case", bearer("bEaReR")).reaches(DB),
        bad("J21", "two blanks", bearer("Bearer ")),
        bad("J21", "no blank", with(&[("Authorization", "Bearer")])),
        bad("J21", "another scheme", bearer("Basic")),
        bad("J21", "no scheme", with(&[("Authorization", READER)])),
        bad("J21", "two headers", with(&[("Authorization", &same), ("Authorization", &same)])),
        bad("J21", "a list", with(&[("Authorization", &format!("{same}, {other}"))])),
        bad("J21", "in the query", bytes("GET", format!("{DB}?token={READER}").as_bytes(), &[], b"")),
        bad(
            "J21",
            "in the query, as OAuth does",
            bytes("GET", format!("{DB}?access_token={READER}").as_bytes(), &[], b""),
        ),
        nobody_is_known("J21", "in a cookie", with(&[("Cookie", &format!("token={READER}"))])),
        nobody_is_known(
            "J21",
            "in the body",
            bytes("GET", DB.as_bytes(), &[], format!("{{\"token\":\"{READER}\"}}").as_bytes()),
        ),
    ];
    let plain = |headers: &[(&str, &str)]| bytes("GET", b"/v1/secrets/app/db", headers, b"");
    let unknown = |note: &str, send| denied("J21", note, send).on(PLAIN).status(&[401]).audit(UNKNOWN);
    all.extend([
        bad("J21", "scaivault: two headers", plain(&[("Authorization", &same), ("Authorization", &other)])).on(PLAIN),
        bad("J21", "scaivault: another scheme", plain(&[("Authorization", &format!("Basic {READER}"))])).on(PLAIN),
        good("J21", "scaivault: another case", plain(&[("Authorization", &format!("BEARER {READER}"))]))
            .on(PLAIN)
            .reaches(DB),
        unknown("scaivault: none", plain(&[])),
        unknown("scaivault: the other wire's header", plain(&[("X-Vault-Token", READER)])),
        unknown("scaivault: a cookie", plain(&[("Cookie", &format!("authorization={same}"))])),
    ]);
    all
}

fn headers() -> Vec<Case> {
    let with = |name: &str, value: &str| vault("GET", DB, &[(name, value)], b"");
    let mut all = Vec::new();
    for (id, value) in
        [("V06", "60s"), ("V06", "1m0s"), ("V07", "-1"), ("V07", "9999999h"), ("V07", "abc"), ("V07", "0"), ("V07", "")]
    {
        all.push(bad(id, format!("X-Vault-Wrap-TTL: {value}"), with("X-Vault-Wrap-TTL", value)));
    }
    all.push(bad("V06", "on a write", vault("POST", OWN, &[("X-Vault-Wrap-TTL", "60s")], br#"{"data":{"a":"b"}}"#)));
    all.push(bad("V06", "a format", with("X-Vault-Wrap-Format", "jwt")));
    for name in ["X-Vault-Policy-Override", "X-Vault-MFA"] {
        all.push(bad("V10", name, with(name, "true")));
    }
    for name in ["X-Vault-Index", "X-Vault-Inconsistent", "X-Vault-Forward", "X-Vault-No-Request-Forwarding"] {
        all.push(good("V10", name, with(name, "x-canary")).reaches(DB));
    }
    let strict = |headers: &[(&str, &str)]| {
        let mut given = vec![("Host", "vault.internal")];
        given.extend_from_slice(headers);
        vault("GET", DB, &given, b"")
    };
    let missing = |note: &str, send| bad("V09", note, send).on(STRICT).status(&[412]);
    all.push(missing("absent", strict(&[])));
    all.push(missing("false", strict(&[("X-Vault-Request", "false")])));
    all.push(missing("empty", strict(&[("X-Vault-Request", "")])));
    all.push(good("V09", "present", strict(&[("X-Vault-Request", "true")])).on(STRICT).reaches(DB));
    all
}

/// V11, V14, V15: everything that is not served is denied, with and without a token, and never travels on.
fn closed_paths() -> Vec<Case> {
    let mut all = Vec::new();
    for (method, path) in [
        ("GET", "sys/generate-root/attempt"),
        ("POST", "sys/generate-root/attempt"),
        ("PUT", "sys/generate-root/update"),
        ("GET", "sys/rekey/init"),
        ("PUT", "sys/rekey/init"),
        ("PUT", "sys/rotate"),
        ("PUT", "sys/seal"),
        ("PUT", "sys/unseal"),
        ("PUT", "sys/init"),
        ("PUT", "sys/step-down"),
        ("GET", "sys/raw/core/master"),
        ("GET", "sys/audit"),
        ("PUT", "sys/audit/file"),
        ("GET", "sys/auth"),
        ("POST", "sys/auth/userpass"),
        ("POST", "sys/mounts/new"),
        ("DELETE", "sys/mounts/secret"),
        ("GET", "sys/policies/acl/default"),
        ("PUT", "sys/policy/root"),
        ("GET", "sys/config/state/sanitized"),
        ("GET", "sys/host-info"),
        ("GET", "sys/pprof/heap"),
        ("GET", "sys/metrics"),
        ("GET", "sys/monitor"),
        ("GET", "sys/namespaces/x"),
        ("POST", "sys/wrapping/wrap"),
        ("POST", "sys/wrapping/unwrap"),
        ("PUT", "sys/tools/random"),
        ("GET", "sys/plugins/catalog"),
        ("GET", "sys/storage/raft/snapshot"),
        ("PUT", "sys/leases/renew"),
        ("PUT", "sys/leases/revoke"),
        ("PUT", "sys/leases/revoke-prefix/database"),
        ("PUT", "sys/renew/x"),
        ("GET", "identity/entity/id"),
        ("POST", "identity/group"),
        ("GET", "cubbyhole/x"),
        ("POST", "auth/token/lookup"),
        ("POST", "auth/token/lookup-accessor"),
        ("POST", "auth/token/renew"),
        ("POST", "auth/token/renew-accessor"),
        ("POST", "auth/token/revoke"),
        ("POST", "auth/token/revoke-accessor"),
        ("POST", "auth/token/revoke-orphan"),
        ("POST", "auth/token/create-orphan"),
        ("LIST", "auth/token/accessors"),
        ("GET", "auth/token/roles/x"),
        ("GET", "auth/approle/role"),
        ("POST", "auth/approle/role/x/secret-id"),
        ("GET", "database/creds/x"),
        ("GET", "logical/other/x"),
        ("POST", "logical/ok/x"),
        ("DELETE", "logical/ok/x"),
        ("GET", "logical/do/x"),
        ("GET", "logical/ok"),
    ] {
        let id = match path {
            _ if path.starts_with("sys/leases") || path.starts_with("sys/renew") => "V14",
            _ if path.contains("accessor") => "V15",
            _ => "V11",
        };
        for token in [ADMIN, ""] {
            let note = format!("{method} {path}{}", if token.is_empty() { ", no token" } else { "" });
            let body: &[u8] = if method == "PUT" { b"{}" } else { b"" };
            let send = with_token(token, method, format!("/v1/{path}"), &[], body);
            all.push(denied(id, note, send).status(&[403, 405]).audit(&["denied", "unsupported", "unauthenticated"]));
        }
    }
    for path in ["sys/health", "sys/seal-status", "sys/leader"] {
        let send = with_token("", "GET", format!("/v1/{path}"), &[], b"");
        all.push(good("V11", format!("{path} is answered here"), send).audit(&[]).absent("fake"));
    }
    all.push(good("V11", "a listed passthrough path", read("/v1/logical/ok/x")).reaches("/v1/logical/ok/x"));
    all.push(
        good("V11", "a listed write", vault("POST", "/v1/logical/do/x", &[], b"{\"a\":\"b\"}"))
            .reaches("/v1/logical/do/x"),
    );
    all.push(bad("V11", "an empty login mount", bytes("POST", b"/v1/auth//login", &[], b"{}")));
    all
}

/// V12: nothing is written unless the precondition is one and holds.
fn writes() -> Vec<Case> {
    let write =
        |options: &str| vault("POST", OWN, &[], format!(r#"{{"data":{{"a":"b"}},"options":{options}}}"#).as_bytes());
    let mut all = vec![
        good("V12", "the first", write(r#"{"cas":0}"#)).present("\"version\":1"),
        bad("V12", "not the first", write(r#"{"cas":0}"#)).audit(&["conflict"]),
        bad("V12", "a stale one", write(r#"{"cas":7}"#)).audit(&["conflict"]),
        bad("V12", "a negative one", write(r#"{"cas":-1}"#)).audit(&["conflict", "malformed"]),
    ];
    for options in [
        r#"{"cas":"1"}"#,
        r#"{"cas":1.0}"#,
        r#"{"cas":9223372036854775808}"#,
        r#"{"cas":true}"#,
        r#"{"cas":[1]}"#,
        r#"{"casual":1}"#,
        "1",
    ] {
        all.push(bad("V12", options, write(options)));
    }
    all.push(good("V12", "nothing was written", read(OWN)).present("\"version\":1"));
    let metadata = vault("POST", "/v1/secret/metadata/scratch/v", &[], br#"{"cas_required":true}"#);
    all.push(good("V12", "from now on required", metadata).status(&[204]));
    all.push(bad("V12", "missing when required", vault("POST", OWN, &[], br#"{"data":{"a":"c"}}"#)));
    all.push(good("V12", "given when required", write(r#"{"cas":1}"#)).present("\"version\":2"));
    for body in [
        r#"{"versions":[0]}"#,
        r#"{"versions":[-1]}"#,
        r#"{"versions":["+1"]}"#,
        r#"{"versions":[1.5]}"#,
        r#"{"versions":[]}"#,
        "{}",
    ] {
        all.push(bad(
            "V12",
            format!("delete {body}"),
            vault("POST", "/v1/secret/delete/scratch/v", &[], body.as_bytes()),
        ));
    }
    all
}

/// Logins that must not work; one that must.
fn logins() -> Vec<Case> {
    let login =
        |mount: &str, body: String| bytes("POST", format!("/v1/auth/{mount}/login").as_bytes(), &[], body.as_bytes());
    let role = |role: &str, secret: &str| format!(r#"{{"role_id":"{role}","secret_id":"{secret}"}}"#);
    let refused = |note: &str, send| {
        bad("V16", note, send)
            .status(&[400, 403])
            .audit(&["unauthenticated", "malformed", "denied"])
            .absent("client_token")
    };
    vec![
        good("V16", "the right role", login("approle", role("role-of-the-threats", SECRET_ID))).present("client_token"),
        refused("a wrong secret id", login("approle", role("role-of-the-threats", "secret-id-of-somebody-else"))),
        refused("a wrong role", login("approle", role("role-of-nobody", SECRET_ID))),
        refused("no secret id", login("approle", r#"{"role_id":"role-of-the-threats"}"#.to_owned())),
        refused("an empty secret id", login("approle", role("role-of-the-threats", ""))),
        refused("numbers", login("approle", r#"{"role_id":1,"secret_id":2}"#.to_owned())),
        refused("null", login("approle", r#"{"role_id":"role-of-the-threats","secret_id":null}"#.to_owned())),
        refused(
            "two kinds at once",
            login("approle", format!(r#"{{"role_id":"role-of-the-threats","secret_id":"{SECRET_ID}","jwt":"a.b.c"}}"#)),
        ),
        refused("another method", login("userpass", r#"{"password":"x"}"#.to_owned())),
        refused("a JWT of nobody", login("kubernetes", r#"{"role":"x","jwt":"eyJhbGciOiJub25lIn0.e30."}"#.to_owned())),
        refused("no body", login("approle", String::new())),
        denied(
            "V11",
            "a child with more than its parent",
            with_token(NOBODY, "POST", "/v1/auth/token/create", &[], br#"{"policies":["admins"]}"#),
        )
        .status(&[400, 403])
        .audit(&["denied", "malformed"]),
    ]
}
