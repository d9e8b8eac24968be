//! Unmodified clients at work: each session runs against OpenBao and against the proxy in front of the same OpenBao, and what
//! it saw is compared line by line.
//!
//! What may differ is the table in `sdk/allowed.rs` (for AWS `sdk/allowed_aws.rs`), by client, step and field. A difference
//! that is not listed fails, and so does a listed one that no longer occurs.

mod allowed;
mod allowed_aws;
mod aws;
mod difference;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use self::difference::{Recorded, compare};
use crate::canary::Canaries;
use crate::harness::{Place, Proxy};
use crate::peers::{OpenBao, installed, openbao};

/// A client and the program that uses it.
#[derive(Clone, Copy, Debug)]
enum Client {
    Hvac,
    Bao,
    Node,
    Go,
}

/// Secret paths `kv2/…` and `kv1/…` for the two mounts: what the sessions only read is proxied, where they write is local.
const CONFIG: &str = r#"
version: 1
store: {local: [kv2/scratch, kv1/scratch]}
audit:
  key: {file: {dir}/audit.key}
  sinks: [{type: file, path: {dir}/audit/audit.jsonl}]
admin: {address: {admin}}
listeners:
  - wire: vault
    address: {vault}
    mounts: {secret: {kv: 2}, kv1: {kv: 1}}
    paths:
      - {from: "secret/**", to: "kv2/**"}
      - {from: "kv1/**", to: "kv1/**"}
identity:
  tokens:
    - {principal: app, groups: [app-read, app-token, app-write, default], file: {dir}/app.token}
  approles:
    - principal: app
      groups: [app-read, app-token, app-write, default]
      role_id: ROLE_ID
      secret_id_files: [{dir}/app.secret-id]
      token_ttl: 20m
      token_max_ttl: 4h
policies: [{dir}/sdk.cedar]
secrets: {infra/openbao: {file: {dir}/backend.json}}
backends:
  - name: openbao
    type: hashicorp-vault
    config: {endpoint: "ENDPOINT", auth_method: approle, auth_config_path: infra/openbao}
    path_mapping:
      - {from: "kv2/app/**", to: "secret/data/app/**"}
      - {from: "kv2/other/**", to: "secret/data/other/**"}
      - {from: "kv1/app/**", to: "kv1/app/**"}
"#;

/// What OpenBao's policies of the same names grant, in secret paths.
const POLICIES: &str = r#"
@id("app-read")
permit (
  principal in Group::"app-read",
  action in [Action::"read", Action::"describe", Action::"list"],
  resource
) when { resource in Folder::"kv2/app" || resource in Folder::"kv1/app" };

@id("app-write")
permit (
  principal in Group::"app-write",
  action in [Action::"read", Action::"describe", Action::"list", Action::"write", Action::"delete", Action::"destroy"],
  resource
) when { resource in Folder::"kv2/scratch" || resource in Folder::"kv1/scratch" };
"#;

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Hvac => "hvac",
            Self::Bao => "bao",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    /// The program, without the plan.
    fn command(self) -> Command {
        let peers = installed();
        match self {
            Self::Hvac => with(&peers.python, &[&here("hvac_session.py")]),
            Self::Bao => with(&peers.python, &[&here("bao_session.py"), Path::new("--bao"), &peers.bao]),
            Self::Node => {
                let mut command = with(&peers.node, &[&here("node_session.js")]);
                command.env("NODE_PATH", &peers.node_modules);
                command
            }
            Self::Go => with(&peers.gosession, &[]),
        }
    }

    /// Runs the session and answers what it recorded, in lines that are equal whenever the sessions behaved equally.
    ///
    /// # Panics
    /// When a step did not come out as the plan asks.
    fn run(self, address: &str, plan: &Value) -> Ran {
        let place = Place::new();
        let file = place.write("plan.json", plan.to_string().as_bytes());
        let mut command = self.command();
        command.env("HOME", place.path()).env("VAULT_ADDR", address).arg(&file);
        let session = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&session.stderr).into_owned();
        let name = self.name();
        assert!(session.status.success(), "{name} against {address} ended with {}:\n{stderr}", session.status);

        let mut command = with(&installed().python, &[&here("normalise.py"), &file]);
        command.env("VAULT_ADDR", address).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut normaliser = command.spawn().unwrap();
        normaliser.stdin.take().unwrap().write_all(&session.stdout).unwrap();
        let normalised = normaliser.wait_with_output().unwrap();
        assert!(normalised.status.success(), "{name}: the record could not be normalised");
        Ran { recorded: Recorded::parse(&String::from_utf8(normalised.stdout).unwrap()), stderr }
    }
}

/// A session that went as planned.
struct Ran {
    recorded: Recorded,
    stderr: String,
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdk").join(name)
}

/// A command with a clean environment: nothing of the machine's proxies, tokens or certificates.
fn with(program: &Path, arguments: &[&Path]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn start(openbao: &OpenBao) -> Proxy {
    let credential =
        json!({"role_id": openbao.text("backend_role_id"), "secret_id": openbao.text("backend_secret_id")});
    Proxy::builder()
        .config(&CONFIG.replace("ROLE_ID", openbao.text("role_id")).replace("ENDPOINT", &openbao.addr))
        .file("app.token", openbao.text("app_token"))
        .file("app.secret-id", openbao.text("secret_id"))
        .file("backend.json", credential.to_string())
        .file("sdk.cedar", POLICIES)
        .start()
}

/// Nothing of what the session wrote, read or presented is in what the proxy says, nor in what the client logs.
fn search(openbao: &OpenBao, proxy: &Proxy, proxied: &Ran) {
    let canaries = Canaries::new([
        ("a seeded value", "made-up-1"),
        ("a seeded value", "made-up-3"),
        ("a seeded value", "made-up-api-key"),
        ("a seeded value", "made-up-one"),
        ("a hidden value", "made-up-hidden"),
        ("a written value", "made-up-first"),
        ("a written value", "made-up-second"),
        ("a written value", "made-up-patched"),
        ("a written value", "made-up-kv1"),
        ("the session's token", openbao.text("app_token")),
        ("the session's secret id", openbao.text("secret_id")),
        ("the backend's secret id", openbao.text("backend_secret_id")),
        ("the backend's token", openbao.text("backend_token")),
    ]);
    canaries.are_not_in("the proxy's log", proxy.stderr().as_bytes());
    canaries.are_not_in("the proxy's output", proxy.stdout().as_bytes());
    canaries.are_not_in("the trail", &std::fs::read(proxy.dir().join("audit/audit.jsonl")).unwrap());
    canaries.are_not_in("the metrics", &proxy.page("/metrics").body);
    canaries.are_not_in("the client's log", proxied.stderr.as_bytes());
}

fn behaves_as_with_openbao(client: Client) {
    let openbao = openbao();
    let proxy = start(openbao);
    let mut plan = openbao.seed["plan"].clone();
    // a place of its own for each session: they run at the same time
    plan["writable_prefix"] = json!(format!("scratch/session-{}", client.name()));
    let mut proxied_plan = plan.clone();
    proxied_plan["expect_wrap"] = json!(false);
    let (direct, proxied) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| client.run(&openbao.addr, &plan));
        let proxied = scope.spawn(|| client.run(&proxy.vault(), &proxied_plan));
        (direct.join(), proxied.join())
    });
    let direct = direct.unwrap_or_else(|_| panic!("the session against OpenBao itself did not go as planned"));
    let proxied = proxied.unwrap_or_else(|_| panic!("the session against the proxy did not go as planned"));
    search(openbao, &proxy, &proxied);
    if let Err(report) = compare(client.name(), &direct.recorded, &proxied.recorded) {
        panic!("{report}");
    }
}

#[test]
fn hvac_behaves_as_with_openbao() {
    behaves_as_with_openbao(Client::Hvac);
}

#[test]
fn the_bao_command_line_behaves_as_with_openbao() {
    behaves_as_with_openbao(Client::Bao);
}

#[test]
fn node_vault_behaves_as_with_openbao() {
    behaves_as_with_openbao(Client::Node);
}

#[test]
fn the_go_client_behaves_as_with_openbao() {
    behaves_as_with_openbao(Client::Go);
}
