//! Requests by somebody who may do everything, refused for what they are: each leaves exactly one line.

use super::{builder, stub, summary};
use crate::harness::{ADMIN, Proxy, Response, raw, request};

/// A request by the admin, the status, and the line's kind, wire, operation, outcome, principal and path.
struct Refused {
    wire: &'static str,
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    line: &'static str,
}

const fn vault(
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    line: &'static str,
) -> Refused {
    Refused { wire: "vault", method, target, headers, body, status, line }
}

const fn own(
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    line: &'static str,
) -> Refused {
    Refused { wire: "scaivault", method, target, headers, body, status, line }
}

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

fn refused() -> Vec<Refused> {
    let unread = |outcome: &'static str| match outcome {
        "denied" => "refusal vault unknown denied - -",
        "unsupported" => "refusal vault unknown unsupported - -",
        "not_found" => "refusal vault unknown not_found - -",
        _ => "refusal vault unknown malformed - -",
    };
    vec![
        // names
        vault("GET", "/v1/nowhere/data/x", &[], "", 403, unread("denied")),
        vault("GET", "/v1/secret/data/unmapped/x", &[], "", 403, "refusal vault read denied t/admin unmapped/x"),
        vault("GET", "/v1/secret/data/infra/backend", &[], "", 403, "refusal vault read denied t/admin infra/backend"),
        vault(
            "POST",
            "/v1/secret/data/infra/backend",
            &[],
            r#"{"data":{}}"#,
            403,
            "refusal vault write denied t/admin infra/backend",
        ),
        vault("GET", "/v1/secret/data/apps%2Fcov", &[], "", 400, unread("malformed")),
        vault("GET", "/v1/secret/data/apps/../x", &[], "", 400, unread("malformed")),
        vault("GET", "/v1/secret/data/apps//x", &[], "", 400, unread("malformed")),
        vault("GET", "/v1/secret/data/apps/", &[], "", 400, unread("malformed")),
        vault("GET", "/v2/secret/data/apps/x", &[], "", 404, unread("not_found")),
        vault("GET", "/v1/sys/config/state", &[], "", 403, unread("denied")),
        vault("GET", "/v1/cubbyhole/x", &[], "", 403, unread("denied")),
        // headers
        vault("GET", "/v1/secret/data/apps/x", &[("X-Vault-Wrap-TTL", "60s")], "", 400, unread("malformed")),
        vault(
            "GET",
            "/v1/secret/data/apps/x",
            &[("Authorization", "Bearer another-token-entirely")],
            "",
            400,
            unread("malformed"),
        ),
        vault(
            "GET",
            "/v1/secret/data/apps/x",
            &[("X-Vault-Namespace", "other")],
            "",
            403,
            "refusal vault read denied t/admin -",
        ),
        vault("POST", "/v1/secret/data/apps/x", &[("Content-Encoding", "gzip")], "x", 415, unread("unsupported")), // R05
        // methods and bodies
        vault("TRACE", "/v1/secret/data/apps/x", &[], "", 405, unread("unsupported")),
        vault("POST", "/v1/secret/subkeys/apps/x", &[], "{}", 405, unread("unsupported")),
        vault("POST", "/v1/secret/data/apps/x", &[], r#"{"data": "#, 400, unread("malformed")),
        vault("POST", "/v1/secret/data/apps/x", &[], r#"{"data":{},"data":{}}"#, 400, unread("malformed")),
        vault("POST", "/v1/secret/data/apps/x", &[], r#"{"data":"text"}"#, 400, unread("malformed")),
        vault("POST", "/v1/secret/data/apps/x", &[], r#"[{"a":"1"}]"#, 400, unread("malformed")),
        vault("POST", "/v1/sys/capabilities-self", &[], r#"["secret/data/apps/x"]"#, 400, unread("malformed")),
        vault("GET", "/v1/secret/data/apps/x?version=one", &[], "", 400, unread("malformed")),
        vault("GET", "/v1/secret/data/apps/x?unknown=1", &[], "", 400, unread("malformed")),
        vault("PATCH", "/v1/secret/data/apps/x", JSON, r#"{"data":{}}"#, 415, unread("unsupported")),
        // what is served read-only
        vault(
            "POST",
            "/v1/secret/data/live/one",
            &[],
            r#"{"data":{}}"#,
            403,
            "refusal vault write read_only t/admin live/one",
        ),
        vault("DELETE", "/v1/secret/metadata/live/one", &[], "", 403, "refusal vault purge read_only t/admin live/one"),
        // passthrough only where it is declared
        vault("GET", "/v1/db/config/app", &[], "", 403, unread("denied")),
        vault("POST", "/v1/db/creds", &[], "{}", 403, unread("denied")),
        own(
            "GET",
            "/v1/secrets/apps/x",
            &[("Host", "evil.example")],
            "",
            400,
            "refusal scaivault unknown malformed - -",
        ),
        own(
            "PUT",
            "/v1/secrets/apps/x",
            &[("Content-Type", "text/plain")],
            r#"{"data":1}"#,
            415,
            "refusal scaivault unknown unsupported - -",
        ),
        own(
            "PUT",
            "/v1/secrets/apps/x",
            JSON,
            r#"{"data":1,"more":2}"#,
            400,
            "refusal scaivault unknown malformed - -",
        ),
        own("PUT", "/v1/secrets/apps/x", JSON, r#"["text"]"#, 400, "refusal scaivault unknown malformed - -"),
        own("POST", "/v1/tokens", JSON, r#"["t/anybody",["admins"]]"#, 400, "refusal scaivault unknown malformed - -"),
        own("POST", "/v1/secrets/apps/x", JSON, "{}", 405, "refusal scaivault unknown unsupported - -"),
        own("GET", "/v1/elsewhere", &[], "", 404, "refusal scaivault unknown not_found - -"),
        own("POST", "/v1/federation/backends", JSON, "[]", 400, "refusal scaivault unknown malformed - -"),
        own("PUT", "/v1/federation/backends", JSON, "{}", 405, "refusal scaivault unknown unsupported - -"),
        own("GET", "/v1/federation/backends/fed_abc", &[], "", 400, "refusal scaivault unknown malformed - -"),
        own("POST", "/v1/seal/rotate", JSON, r#"{"key":"other"}"#, 400, "refusal scaivault unknown malformed - -"),
        own(
            "GET",
            "/v1/secrets/apps/x?list=true&cursor=forged",
            &[],
            "",
            400,
            "refusal scaivault unknown malformed - -",
        ),
        own("GET", "/v1/secrets/unmapped/x", &[], "", 403, "refusal scaivault read denied t/admin unmapped/x"),
        own(
            "PUT",
            "/v1/secrets/live/one",
            JSON,
            r#"{"data":{}}"#,
            403,
            "refusal scaivault write read_only t/admin live/one",
        ),
    ]
}

fn send(proxy: &Proxy, refused: &Refused) -> Response {
    let bearer = format!("Bearer {ADMIN}");
    let mut headers = refused.headers.to_vec();
    headers.push(if refused.wire == "vault" { ("X-Vault-Token", ADMIN) } else { ("Authorization", bearer.as_str()) });
    request(&proxy.address(refused.wire), refused.method, refused.target, &headers, refused.body.as_bytes())
}

#[test]
fn what_is_refused_leaves_one_line_and_reaches_nothing() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let mut wrong = Vec::new();
    for refused in refused() {
        let before = proxy.audit().len();
        let response = send(&proxy, &refused);
        let told: Vec<String> = proxy.audit().drain(before..).map(|line| summary(&line)).collect();
        if response.status != refused.status || told != [refused.line] {
            let Refused { method, target, headers, status, line, .. } = refused;
            wrong.push(format!(
                "{method} {target} {headers:?}: {} expected {status}: {}\n  {told:?}\n  expected {line}",
                response.status,
                response.text().trim_end()
            ));
        }
        assert!(!response.request_id().is_empty());
    }
    let reached: Vec<String> = stub.seen().into_iter().map(|seen| seen.target).collect();
    assert!(reached.iter().all(|target| target.starts_with("/v1/auth/")), "the backend was asked: {reached:?}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a12_heads_that_cannot_be_read_leave_one_line_without_their_text() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let filler = "x".repeat(40_000);
    for (head, status) in [
        (
            "GET /v1/secret/data/apps/x HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Vault-Token: marker-in-head\r\n\r\n"
                .to_owned(),
            400,
        ),
        (
            "GET /v1/secret/data/apps/x HTTP/1.1\r\nHost: a\r\nX-Vault-Token: marker-in-head\r\n folded\r\n\r\n"
                .to_owned(),
            400,
        ),
        (format!("GET /v1/sys/health HTTP/1.1\r\nHost: a\r\nX-Vault-Token: marker-in-head{filler}\r\n\r\n"), 431),
        (
            "POST /v1/secret/data/apps/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\nmarker-in-head"
                .to_owned(),
            413,
        ),
        ("GET /marker-in-head HTTP/1.1\nHost: a\r\n\r\n".to_owned(), 400),
    ] {
        let before = proxy.audit().len();
        let answer = String::from_utf8_lossy(&raw(&proxy.address("vault"), head.as_bytes())).into_owned();
        let shown = &head[..head.len().min(120)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        let lines: Vec<_> = proxy.audit().drain(before..).collect();
        let outcome = if status == 413 { "too_large" } else { "malformed" };
        let told: Vec<String> = lines.iter().map(summary).collect();
        assert_eq!(told, [format!("refusal vault unknown {outcome} - -")], "{shown:?}");
        assert_eq!(lines[0]["source"], "127.0.0.1");
        assert!(!lines[0].to_string().contains("marker") && !answer.contains("marker"), "{answer}");
    }
}

#[test]
fn a_question_about_a_request_nobody_remembers_is_told_too() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let answer = proxy.scaivault_call(ADMIN, "GET", "/v1/federation/explain?request=01ARZ3NDEKTSV4RRFFQ69G5FAV", b"");
    assert_eq!(answer.status, 404, "{}", answer.text());
    let lines = proxy.audit_of(&answer);
    let told: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["operation"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [("explain", "not_found")]);
}
