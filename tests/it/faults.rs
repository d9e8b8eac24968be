//! A backend that misbehaves in every way there is: each fault is one answer, one line in the trail and no more calls than
//! are safe, and ends when the fault ends.

mod logins;
mod rows;
mod server;
mod tls;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rows::{Row, status};
use server::{Fault, Server, Trap, answer_with};

use crate::harness::{ADMIN, Connection, Proxy, ProxyBuilder, Response, config, wait_until};

/// What a KV version 2 read answers.
const READ_OK: &str = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"is":"x"},"metadata":{"created_time":"2026-01-02T03:04:05Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;
/// What a backend must never get through to a client.
const CANARY: &str = "hvs.canary-of-the-backend-at-10.1.2.3";

const CONFIG: &str = config!(
    r#"    mounts:
      secret: {kv: 2}
      logical: {logical: true}
    passthrough:
      - {path: "logical/do/*", operations: [read, write]}
    paths:
      - {from: "secret/**", to: "**"}
      - {from: "logical/**", to: "eng/**"}
identity:
  tokens:
    - principal: t/admin
      groups: [admins]
      file: {dir}/admin.token
policies:
  - {dir}/policies.cedar
secrets:
  infra/token:
    file: {dir}/token.json
  infra/approle:
    file: {dir}/approle.json
backends:
"#
);

const FLAKY: &str = r#"  - name: flaky
    type: hashicorp-vault
    config:
      endpoint: http://FLAKY
      auth_method: approle
      auth_config_path: infra/approle
      timeout: 2s
      attempt_timeout: 700ms
    path_mapping:
      - {from: "flaky/**", to: "secret/data/**"}
      - {from: "eng/**", to: "logical/**"}
"#;

/// A proxy in front of these backends.
fn proxy_with(backends: &str, prepare: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Proxy {
    let builder = Proxy::builder()
        .file("token.json", r#"{"token":"token-of-the-proxy-0001"}"#)
        .file("approle.json", r#"{"role_id":"role-of-the-proxy","secret_id":"secret-id-of-the-proxy"}"#);
    prepare(builder).config(&format!("{CONFIG}{backends}")).start()
}

/// A proxy in front of one misbehaving server.
fn flaky(server: &Server, prepare: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Proxy {
    proxy_with(&FLAKY.replace("FLAKY", &server.address), prepare)
}

fn read(proxy: &Proxy, name: &str) -> Response {
    proxy.vault_call(ADMIN, "GET", &format!("/v1/secret/data/flaky/{name}"), b"")
}

fn recovers(proxy: &Proxy, what: &str) {
    wait_until(Duration::from_secs(45), &format!("reads to be served again after: {what}"), || {
        let answer = read(proxy, "again");
        assert!(
            answer.status != 200 || answer.text().contains(r#""is":"again""#),
            "an answer to another question: {}",
            answer.text()
        );
        answer.status == 200
    });
}

#[test]
fn every_fault_is_one_answer_one_line_and_no_more_calls_than_are_safe() {
    let server = Server::start();
    let trap = Trap::start();
    let at_trap = format!("http://{}", trap.address);
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "VAULT_ADDR",
        "BAO_ADDR",
        "VAULT_PROXY_ADDR",
    ];
    let proxy = flaky(&server, |builder| {
        let builder = names.into_iter().fold(builder, |builder, name| builder.env(name, at_trap.as_str()));
        builder.env("VAULT_TOKEN", "token-of-the-environment").env("VAULT_NAMESPACE", "elsewhere")
    });
    recovers(&proxy, "the start");
    let resident = resident(&proxy);
    let mut wrong = Vec::new();
    let rows = rows::all(&trap);
    let tried = rows.len();
    for row in rows {
        let Row { note, fault, statuses, outcomes, calls } = row;
        server.set(fault);
        let before = server.state().calls;
        let begun = Instant::now();
        let answer = read(&proxy, "fault");
        let took = begun.elapsed();
        server.set(Fault::None);
        let seen = server.state().calls - before;
        let lines = proxy.audit_of(&answer);
        let written: Vec<&str> = lines.iter().filter_map(|line| line["outcome"].as_str()).collect();
        let fine = statuses.contains(&answer.status)
            && calls.contains(&seen)
            && matches!(written.as_slice(), [outcome] if outcomes.contains(outcome))
            && took < Duration::from_secs(5)
            && !answer.text().contains(CANARY)
            && !answer.text().contains("poison")
            && answer.header("location").is_none();
        if !fine {
            wrong.push(format!(
                "{note}: {} after {seen} calls and {took:?}, the trail says {written:?}: {}",
                answer.status,
                answer.text()
            ));
        }
        recovers(&proxy, note);
        refill(&proxy);
    }
    println!("faults tried {tried}, survived as specified {}", tried - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(trap.caught(), "", "X06, X07: somebody followed a redirect or a variable of the environment");
    assert!(!proxy.stderr().contains(CANARY), "X17: the backend's words are in the log");
    assert!(!proxy.stderr().contains("panicked"));
    let grown = self::resident(&proxy).saturating_sub(resident);
    assert!(grown < 64 << 10, "X19: grew by {grown} KiB");
}

/// Retries come from a budget that successes fill: enough of them for the next row's.
fn refill(proxy: &Proxy) {
    let mut connection = Connection::open(&proxy.address("vault")).unwrap();
    for _ in 0..25 {
        let answer = connection.call("GET", "/v1/secret/data/flaky/again", &[("X-Vault-Token", ADMIN)], b"").unwrap();
        assert_eq!(answer.status, 200);
    }
}

fn resident(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn only_what_changes_nothing_is_sent_twice() {
    let server = Server::start();
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    // a read of another engine may make a credential
    let (secret, engine) = ("/v1/secret/data/flaky/x", "/v1/logical/do/x");
    for (fault, reads) in
        [(status(503), 2..=3), (Fault::ResetAt(0), 2..=3), (Fault::CutAt(0), 2..=3), (Fault::Silence, 1..=3)]
    {
        for (method, path, calls) in [
            ("GET", secret, reads),
            ("GET", engine, 1..=1),
            ("POST", engine, 1..=1),
            ("PUT", engine, 1..=1),
            ("DELETE", engine, 1..=1),
        ] {
            server.set(fault.clone());
            let before = server.state().calls;
            let body: &[u8] = if method == "GET" { b"" } else { b"{}" };
            let answer = proxy.vault_call(ADMIN, method, path, body);
            server.set(Fault::None);
            let seen = server.state().calls - before;
            let text = answer.text();
            assert!(matches!(answer.status, 503 | 504), "{method} {path} under {fault:?}: {} {text}", answer.status);
            assert!(calls.contains(&seen), "{method} {path} under {fault:?}: {seen} calls");
            recovers(&proxy, method);
            refill(&proxy);
        }
    }
}

#[test]
fn a_backend_that_keeps_failing_is_left_alone_and_tried_again() {
    let server = Server::start();
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    server.set(status(503));
    let mut spared = 0;
    for _ in 0..30 {
        let before = server.state().calls;
        let answer = read(&proxy, "x");
        assert_eq!(answer.status, 503);
        spared += usize::from(server.state().calls == before);
    }
    assert!(spared >= 15, "only {spared} of 30 calls were kept from a backend that answers 503");
    server.set(Fault::None);
    recovers(&proxy, "the breaker");
    server.set(Fault::Kept(answer_with(429, "Retry-After: 2\r\n", b"")));
    let first = read(&proxy, "x");
    assert_eq!((first.status, first.header("retry-after")), (429, Some("2")));
    server.set(Fault::None);
    let before = server.state().calls;
    let second = read(&proxy, "x");
    assert_eq!(second.status, 429, "asked again before it was time");
    assert_eq!(server.state().calls, before);
    recovers(&proxy, "Retry-After");
    server.set(Fault::Kept(answer_with(429, "Retry-After: 1000000000\r\n", b"")));
    let answer = read(&proxy, "x");
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(answer.status == 429 && after <= 300, "R14: {} and {after}", answer.status);
}

#[test]
fn a_backend_that_is_not_there_yet_is_used_once_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxy = proxy_with(&FLAKY.replace("FLAKY", &address.to_string()), |builder| builder);
    assert_eq!(proxy.page("/readyz").status, 200, "a proxy whose backend is down serves what it can");
    let answer = read(&proxy, "x");
    assert_eq!(answer.status, 503, "{}", answer.text());
    let lines = proxy.audit_of(&answer);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["outcome"], "upstream_unavailable");
    let preflight = proxy.vault_call(ADMIN, "GET", "/v1/sys/internal/ui/mounts/secret/flaky/x", b"");
    assert_eq!(preflight.status, 200, "the client's preflight works with the backend down");
    let _server = Server::on(TcpListener::bind(address).unwrap());
    recovers(&proxy, "the backend came up");
}
