//! Every operation of every wire with no, an unknown, a denied and an allowed credential: the exact status, and exactly the
//! audit lines it must leave.

mod aws;
mod case;
mod fields;
mod refusals;
mod scaivault;
mod vault;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::case::{Case, Who};
use crate::harness::{ADMIN, Proxy, ProxyBuilder, Response, request, wait_until};
use crate::stub::{Seen, Stub, kv2_body};

/// A credential that exists and that no policy names.
const NOBODY: &str = "nobody-token-of-the-coverage";
const UNKNOWN: &str = "s.unknownunknownunknownun";
const SECRET_ID: &str = "secret-id-of-the-coverage";
/// base64 of 32 bytes
const SEAL_KEY: &str = "c2VhbC1rZXktb2YtdGhlLWNvdmVyYWdlLXN1aXRlLTE=\n";
/// Below the number of refusals without a principal that the trail writes in full in a second.
const REFUSALS_A_SECOND: usize = 60;

/// Two wires over local folders of a durable store, a passthrough mount and a proxied folder; the admin may do everything.
const CONFIG: &str = r#"
version: 1
store: {path: {dir}/store/store.redb, local: [apps, scratch]}
seal: {provider: file, path: {dir}/seal.key}
audit:
  key: {file: {dir}/audit.key}
  instance: it
  sinks: [{type: file, path: {dir}/audit/audit.jsonl}]
admin: {address: {admin}}
listeners:
  - {wire: scaivault, address: {scaivault}}
  - wire: vault
    address: {vault}
    mounts: {secret: {kv: 2}, kv1: {kv: 1}, db: {logical: true}}
    passthrough:
      - {path: "db/creds/*", operations: [read, write]}
      - {path: "db/creds", operations: [list]}
    paths:
      - {from: "secret/**", to: "**"}
      - {from: "kv1/**", to: "scratch/v1/**"}
      - {from: "db/**", to: "db/**"}
identity:
  tokens:
    - {principal: t/nobody, file: {dir}/nobody.token}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
  approles:
    - {principal: t/role, groups: [admins], role_id: role-of-the-coverage, secret_id_files: [{dir}/secret-id]}
policies: [{dir}/policies.cedar]
secrets: {infra/backend: {file: {dir}/backend.json}}
backends:
  - name: stub
    type: hashicorp-vault
    config: {endpoint: "http://STUB", auth_method: approle, auth_config_path: infra/backend}
    path_mapping:
      - {from: "live/**", to: "secret/data/live/**"}
      - {from: "db/creds/**", to: "db/creds/**"}
"#;

fn stub() -> Stub {
    Stub::start(|seen: &Seen| {
        let data = |data: &str| {
            format!(
                r#"{{"request_id":"9c8f1f8e-0000-4000-8000-000000000002","lease_id":"","renewable":false,"lease_duration":0,
                "data":{data},"wrap_info":null,"warnings":null,"auth":null}}"#
            )
        };
        match (seen.method.as_str(), seen.target.split('?').next().unwrap_or_default()) {
            ("GET", "/v1/secret/data/live/one") => (200, kv2_body(r#"{"password":"made-up"}"#)),
            ("GET", "/v1/db/creds") => (200, data(r#"{"keys":["app"]}"#)),
            ("GET", "/v1/db/creds/app") => (200, data(r#"{"username":"made-up"}"#)),
            ("POST" | "PUT", "/v1/db/creds/app") => (200, data(r#"{"done":true}"#)),
            _ => (404, r#"{"errors":[]}"#.to_owned()),
        }
    })
}

fn builder(stub: &Stub) -> ProxyBuilder {
    Proxy::builder()
        .config(&CONFIG.replace("STUB", stub.address()))
        .file("nobody.token", NOBODY)
        .file("secret-id", SECRET_ID)
        .file("seal.key", SEAL_KEY)
        .file("backend.json", r#"{"role_id":"role-at-the-backend","secret_id":"secret-id-at-the-backend"}"#)
}

/// Sends a case's request once for every credential and collects what is not as it says.
struct Probe<'p> {
    proxy: &'p Proxy,
    refusals: usize,
    second: u64,
    wrong: Vec<String>,
    operations: BTreeSet<String>,
}

impl<'p> Probe<'p> {
    fn new(proxy: &'p Proxy) -> Self {
        Self { proxy, refusals: 0, second: seconds(), wrong: Vec::new(), operations: BTreeSet::new() }
    }

    fn run(&mut self, case: &Case) {
        for (who, expected) in case.answers() {
            self.pace(who);
            let before = self.proxy.audit().len();
            let response = self.send(case, who);
            let mut lines = self.proxy.audit();
            lines.drain(..before);
            let told: Vec<String> = lines.iter().map(summary).collect();
            let wanted: Vec<String> = expected.lines.iter().map(|told| told.summary(case, who)).collect();
            if response.status != expected.status || told != wanted {
                self.wrong.push(format!(
                    "{} {} by {who:?}\n  status {} expected {}: {}\n  lines {told:#?}\n  expected {wanted:#?}",
                    case.method,
                    case.target,
                    response.status,
                    expected.status,
                    response.text().trim_end(),
                ));
            }
            for line in &lines {
                self.operations.insert(line["operation"].as_str().unwrap_or_default().to_owned());
                if line["request_id"] != response.request_id() {
                    self.wrong.push(format!("{} {}: the line is of another request", case.method, case.target));
                }
            }
        }
    }

    fn send(&self, case: &Case, who: Who) -> Response {
        let token = match who {
            Who::None => "",
            Who::Unknown => UNKNOWN,
            Who::Denied => NOBODY,
            Who::Allowed => ADMIN,
        };
        let bearer = format!("Bearer {token}");
        let mut headers = case.headers.to_vec();
        match (case.wire, token) {
            (_, "") => {}
            ("vault", token) => headers.push(("X-Vault-Token", token)),
            _ => headers.push(("Authorization", bearer.as_str())),
        }
        if case.wire == "scaivault" && !case.body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        request(&self.proxy.address(case.wire), case.method, case.target, &headers, case.body.as_bytes())
    }

    /// Keeps below the rate at which refusals without a principal are only counted.
    fn pace(&mut self, who: Who) {
        if !matches!(who, Who::None | Who::Unknown) {
            return;
        }
        self.refusals += 1;
        if self.refusals > REFUSALS_A_SECOND {
            let last = self.second.max(seconds());
            wait_until(Duration::from_secs(3), "the next second", || seconds() > last);
            self.refusals = 1;
        }
        self.second = seconds();
    }

    fn finish(self) -> BTreeSet<String> {
        assert!(self.wrong.is_empty(), "{} differences:\n{}", self.wrong.len(), self.wrong.join("\n"));
        self.operations
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What is compared of a line: kind, wire, operation, outcome, principal, path.
fn summary(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or("-");
    let names = ["kind", "wire", "operation", "outcome", "principal", "path"];
    names.map(text).join(" ")
}

/// Operations that no wire of this release makes.
const NOT_MADE: [&str; 2] = [
    "read_config", // the settings of a mount are answered as `system`
    "unknown",     // only of requests that could not be decoded: `refusals`
];

#[test]
fn every_operation_is_answered_and_told_by_who_asks() {
    let stub = stub();
    let proxy = builder(&stub).start();
    let mut probe = Probe::new(&proxy);
    for case in vault::cases().iter().chain(&scaivault::cases()) {
        probe.run(case);
    }
    let operations = probe.finish();
    for operation in scaivault_proxy::secret::Operation::ALL {
        let label = operation.label();
        assert_eq!(operations.contains(label), !NOT_MADE.contains(&label), "the table and `{label}`");
    }
}
