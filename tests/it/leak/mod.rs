//! Canaries through everything, then a search of everything the process said: logs, standard output, trail, metrics, error
//! bodies, in six encodings.

mod backend;
mod malformed;
mod traffic;

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canary::Canaries;
use crate::certs::Authority;
use crate::harness::{ADMIN, AUDIT_KEY, Proxy, READER, Response, raw, wait_until};
use crate::stub::STUB_TOKEN;

/// The value of every secret that is written.
const VALUE: &str = "CanaryValue7fQ2mXw9";
/// The value of every secret a backend has, and a text in everything it answers.
const REMOTE: &str = "CanaryRemote3kT8vBz1";
/// A static token.
const TOKEN: &str = "CanaryToken5hJ0pLs4cD";
/// Presented where no credential is known.
const GUESS: &str = "CanaryGuess8nR6yVf2gE";
const ROLE_ID: &str = "CanaryRoleId1wZ9aQk7";
const SECRET_ID: &str = "CanarySecretId4uC3xMt6";
const BACKEND_ROLE_ID: &str = "CanaryUpRole2bN7eHy5";
const BACKEND_SECRET_ID: &str = "CanaryUpSecret9dG4jPw8";
/// Thirty-two bytes.
const SEAL_KEY: &str = "CanarySealKey6oI1sFr3lAvXq0tUz5m";

const CONFIG: &str = r#"
version: 1
store: {local: [apps, scratch]}
seal: {provider: file, path: {dir}/seal.key}
audit:
  key: {file: {dir}/audit.key}
  sinks:
    - {type: file, path: {dir}/audit/audit.jsonl}
    - {type: stdout}
admin: {address: {admin}}
limits: {value_bytes: 4096}
listeners:
  - {wire: scaivault, address: {scaivault}}
  - wire: vault
    address: {vault}
    mounts: {secret: {kv: 2}, kv1: {kv: 1}, db: {logical: true}}
    passthrough: [{path: "db/**", operations: [read, write]}]
    paths:
      - {from: "secret/**", to: "**"}
      - {from: "kv1/**", to: "scratch/v1/**"}
      - {from: "db/**", to: "db/**"}
  - wire: vault
    address: {tls}
    tls: {certificate: {dir}/tls.crt, key: {dir}/tls.key}
    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
identity:
  tokens: [{principal: t/admin, groups: [admins], file: {dir}/canary.token}]
  approles: [{principal: t/role, groups: [admins], role_id: CanaryRoleId1wZ9aQk7, secret_id_files: [{dir}/secret-id]}]
policies: [{dir}/policies.cedar]
secrets: {infra/backend: {file: {dir}/backend.json}}
backends:
  - name: stub
    type: hashicorp-vault
    config: {endpoint: "http://STUB", auth_method: approle, auth_config_path: infra/backend, timeout: 2s, attempt_timeout: 1s}
    path_mapping:
      - {from: "live/**", to: "secret/data/live/**"}
      - {from: "db/**", to: "db/**"}
"#;

/// A running proxy and everything it must not have said in an error.
struct Scene {
    proxy: Proxy,
    authority: Authority,
    /// Bodies and headers of every answer that is no success.
    errors: Vec<u8>,
    /// Tokens that were made on the way.
    issued: Vec<String>,
}

impl Scene {
    fn start(log: Option<&str>) -> (Self, crate::stub::Stub) {
        let stub = backend::start();
        let authority = Authority::new("leak");
        let server = authority.server();
        let config = CONFIG.replace("STUB", stub.address());
        let credential = format!(r#"{{"role_id":"{BACKEND_ROLE_ID}","secret_id":"{BACKEND_SECRET_ID}"}}"#);
        let mut builder = Proxy::builder()
            .config(&config)
            .file("seal.key", STANDARD.encode(SEAL_KEY))
            .file("canary.token", TOKEN)
            .file("secret-id", SECRET_ID)
            .file("backend.json", credential)
            .file("tls.crt", server.certificate)
            .file("tls.key", server.key);
        if let Some(log) = log {
            builder = builder.env("RUST_LOG", log);
        }
        (Self { proxy: builder.start(), authority, errors: Vec::new(), issued: Vec::new() }, stub)
    }

    /// Keeps what an answer says unless it is a success.
    fn note(&mut self, response: Response) -> Response {
        if response.status >= 400 {
            self.errors.extend_from_slice(format!("{:?}\n", response.headers).as_bytes());
            self.errors.extend_from_slice(&response.body);
        }
        response
    }

    /// Ends the process and looks everywhere.
    fn search(mut self) {
        let metrics = self.proxy.page("/metrics").body;
        let health = self.proxy.page("/readyz").body;
        self.proxy.signal(1);
        wait_until(Duration::from_secs(15), "a reload", || self.proxy.stderr().contains("reloaded"));
        self.proxy.signal(15);
        assert!(self.proxy.wait_exit(Duration::from_secs(40)).success());
        let audit_key = STANDARD.decode(AUDIT_KEY.trim()).unwrap();
        let audit_key = String::from_utf8(audit_key).unwrap();
        let mut all = vec![
            ("the value", VALUE),
            ("the backend's value", REMOTE),
            ("the static token", TOKEN),
            ("the guessed token", GUESS),
            ("the role id", ROLE_ID),
            ("the secret id", SECRET_ID),
            ("the backend's role id", BACKEND_ROLE_ID),
            ("the backend's secret id", BACKEND_SECRET_ID),
            ("the backend's token", STUB_TOKEN),
            ("the seal key", SEAL_KEY),
            ("the audit key", audit_key.as_str()),
        ];
        all.extend(self.issued.iter().map(|token| ("an issued token", token.as_str())));
        let canaries = Canaries::new(all);
        let read = |name: &str| fs::read(self.proxy.dir().join(name)).unwrap();
        let (stderr, audit) = (read("stderr.log"), read("audit/audit.jsonl"));
        assert!(!stderr.is_empty() && !audit.is_empty() && !self.errors.is_empty(), "nothing was collected");
        canaries.are_not_in("the log", &stderr);
        canaries.are_not_in("standard output", &read("stdout.log"));
        canaries.are_not_in("the trail", &audit);
        canaries.are_not_in("the metrics", &metrics);
        canaries.are_not_in("readiness", &health);
        canaries.are_not_in("an error's answer", &self.errors);
    }
}

fn everything(log: Option<&str>) {
    let (mut scene, _stub) = Scene::start(log);
    traffic::local(&mut scene);
    traffic::sessions(&mut scene);
    traffic::http2(&scene);
    traffic::remote(&mut scene);
    malformed::heads(&mut scene);
    malformed::bodies(&mut scene);
    malformed::names(&mut scene);
    scene.search();
}

#[test]
fn l01_nothing_secret_is_said_by_any_operation_or_malformed_request() {
    everything(None);
}

#[test]
fn l02_nothing_secret_is_said_with_every_log_line_on() {
    everything(Some("trace"));
}

#[test]
fn l15_answers_name_no_software() {
    let proxy = Proxy::builder().start();
    for response in [
        proxy.vault_call("", "GET", "/v1/sys/health", b""),
        proxy.scaivault_call("", "GET", "/v1/secrets/apps/x", b""),
        proxy.page("/livez"),
    ] {
        for name in ["server", "via", "x-powered-by"] {
            assert_eq!(response.header(name), None, "{:?}", response.headers);
        }
    }
    let unread = raw(&proxy.address("vault"), b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n");
    let unread = String::from_utf8_lossy(&unread).to_ascii_lowercase();
    assert!(
        unread.starts_with("http/1.1 400 ") && !unread.contains("pingora") && !unread.contains("server:"),
        "{unread}"
    );
}

#[test]
fn l14_denied_and_missing_look_alike_to_who_may_not_list() {
    let proxy = Proxy::builder().start();
    let written = proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/apps/there", br#"{"data":{"a":1}}"#);
    assert_eq!(written.status, 201);
    let ask = |path: &str| {
        let answer = proxy.vault_call(READER, "GET", path, b"");
        let names: Vec<String> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        (answer.status, names, answer.body)
    };
    assert_eq!(ask("/v1/secret/data/apps/there"), ask("/v1/secret/data/apps/absent"));
    assert_eq!(ask("/v1/secret/data/apps/there"), ask("/v1/secret/data/unmapped/absent"));
    assert_eq!(ask("/v1/secret/metadata/apps/there"), ask("/v1/secret/metadata/apps/absent"));
}
