//! SIGTERM: what is being answered is answered, what is idle ends, and the process leaves in time with exit code 0.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{ADMIN, Connection, Proxy, READER, request, try_request, wait_until};
use crate::stub::{Door, Seen, Stub, kv2_body};

const TERM: i32 = 15;
/// Longer than anything here takes: a process that leaves only when it is over has not drained.
const DRAIN: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(12);

const CONFIG: &str = r#"
version: 1
store: {local: [apps, scratch]}
server: {drain: 30s}
audit:
  key: {file: {dir}/audit.key}
  sinks: [{type: file, path: {dir}/audit/audit.jsonl}]
admin: {address: {admin}}
listeners:
  - {wire: scaivault, address: {scaivault}}
  - {wire: vault, address: {vault}, paths: [{from: "secret/**", to: "**"}]}
identity:
  tokens:
    - {principal: t/reader, groups: [readers], folders: [apps/db], file: {dir}/reader.token}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
policies: [{dir}/policies.cedar]
secrets: {infra/backend: {file: {dir}/backend.json}}
backends:
  - name: stub
    type: hashicorp-vault
    config: {endpoint: "http://STUB", auth_method: approle, auth_config_path: infra/backend, timeout: 20s, attempt_timeout: 20s}
    path_mapping: [{from: "live/**", to: "secret/data/live/**"}]
"#;

/// A proxy over a backend whose reads wait at the door.
fn with_door() -> (Proxy, Stub, Door) {
    let door = Door::default();
    let waits = door.clone();
    let stub = Stub::start(move |seen: &Seen| {
        if seen.target.starts_with("/v1/secret/data/live/") {
            waits.pass();
        }
        (200, kv2_body(r#"{"password":"made-up"}"#))
    });
    let proxy = Proxy::builder()
        .config(&CONFIG.replace("STUB", stub.address()))
        .file("backend.json", r#"{"role_id":"role-at-the-backend","secret_id":"secret-id-at-the-backend"}"#)
        .start();
    (proxy, stub, door)
}

fn wait_until_draining(proxy: &Proxy) {
    wait_until(SOON, "the drain to begin", || proxy.stderr().contains("draining"));
}

#[test]
fn a_slow_request_is_finished_and_its_connection_closed() {
    let (mut proxy, _stub, door) = with_door();
    let mut slow = Connection::open(&proxy.address("vault")).unwrap();
    slow.send("GET", "/v1/secret/data/live/one", &[("X-Vault-Token", ADMIN)], b"").unwrap();
    wait_until(SOON, "the request to reach the backend", || door.waiting() == 1);
    proxy.signal(TERM);
    wait_until_draining(&proxy);
    door.open();
    let opened = Instant::now();
    let response = slow.receive().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["data"]["data"]["password"], "made-up");
    assert_eq!(response.header("connection"), Some("close"), "it says that it was the last: {:?}", response.headers);
    let status = proxy.wait_exit(DRAIN + SOON);
    assert_eq!(status.code(), Some(0));
    assert!(opened.elapsed() < SOON, "it left {:?} after its last answer", opened.elapsed());
    let lines = proxy.audit();
    assert_eq!(lines.last().unwrap()["kind"], "stop", "the trail is closed last");
    assert!(lines.iter().any(|line| line["request_id"] == response.request_id() && line["outcome"] == "ok"));
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let mut proxy = Proxy::builder().start();
    let bearer = format!("Bearer {READER}");
    let mut used = Connection::open(&proxy.address("scaivault")).unwrap();
    let answer = used.call("GET", "/v1/secrets/apps/db/x", &[("Authorization", &bearer)], b"").unwrap();
    assert_eq!(answer.status, 404);
    assert_ne!(answer.header("connection"), Some("close"), "before the drain a connection is kept");
    let mut unused = Connection::open(&proxy.address("vault")).unwrap();
    // the one that asks is counted too
    wait_until(SOON, "both connections to be counted", || {
        proxy.metric("scaivault_connections", &[]).is_some_and(|count| count >= 3.0)
    });
    let started = Instant::now();
    proxy.signal(TERM);
    assert_eq!(proxy.wait_exit(DRAIN).code(), Some(0));
    assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
    assert!(used.is_closed() && unused.is_closed());
}

#[test]
fn a_request_that_began_before_the_drain_is_answered_and_told_to_close() {
    let mut proxy = Proxy::builder().start();
    let mut stream = TcpStream::connect(proxy.address("vault")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\n").unwrap();
    // the other request shows that what was sent before it has arrived
    wait_until(SOON, "the connection to be counted", || {
        proxy.metric("scaivault_connections", &[]).is_some_and(|count| count >= 2.0)
    });
    assert_eq!(request(&proxy.address("vault"), "GET", "/v1/sys/health", &[], b"").status, 200);
    proxy.signal(TERM);
    wait_until_draining(&proxy);
    stream.write_all(b"Host: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(proxy.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_new_connection_during_the_drain_is_served_once_and_readiness_says_no() {
    let (mut proxy, _stub, door) = with_door();
    let mut slow = Connection::open(&proxy.address("vault")).unwrap();
    slow.send("GET", "/v1/secret/data/live/one", &[("X-Vault-Token", ADMIN)], b"").unwrap();
    wait_until(SOON, "the request to reach the backend", || door.waiting() == 1);
    proxy.signal(TERM);
    wait_until_draining(&proxy);
    for _ in 0..5 {
        let mut late = Connection::open(&proxy.address("vault")).unwrap();
        let answer = late.call("GET", "/v1/sys/health", &[], b"").expect("a late request is answered");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(late.is_closed());
    }
    let ready =
        try_request(&proxy.address("admin"), "GET", "/readyz", &[], b"").expect("health is answered while draining");
    assert_eq!((ready.status, ready.text().as_str()), (503, "draining\n"));
    door.open();
    assert_eq!(slow.receive().unwrap().status, 200);
    assert_eq!(proxy.wait_exit(SOON).code(), Some(0));
}

#[test]
fn what_does_not_end_is_cut_off_when_the_drain_is_over() {
    let config = CONFIG.replace("drain: 30s", "drain: 1s");
    let door = Door::default();
    let waits = door.clone();
    let stub = Stub::start(move |seen: &Seen| {
        if seen.target.starts_with("/v1/secret/data/live/") {
            waits.pass();
        }
        (200, kv2_body("{}"))
    });
    let mut proxy = Proxy::builder()
        .config(&config.replace("STUB", stub.address()))
        .file("backend.json", r#"{"role_id":"role-at-the-backend","secret_id":"secret-id-at-the-backend"}"#)
        .start();
    let mut slow = Connection::open(&proxy.address("vault")).unwrap();
    slow.send("GET", "/v1/secret/data/live/one", &[("X-Vault-Token", ADMIN)], b"").unwrap();
    wait_until(SOON, "the request to reach the backend", || door.waiting() == 1);
    proxy.signal(TERM);
    assert_eq!(proxy.wait_exit(SOON).code(), Some(0), "a drain that was not enough is not a failure of the process");
    door.open();
}
