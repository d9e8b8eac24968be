//! The SDKs of AWS: each walks through `aws_steps.json` against a stand-in for AWS and against the proxy in front of the same
//! stand-in, and must see the same but for the stand-in's flaws, which `allowed_aws.rs` lists.
//!
//! What the steps only read is proxied; where they write is the local store. Against the proxy every step must come out as the
//! real service would have it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::difference::{Recorded, compare};
use super::{here, with};
use crate::canary::Canaries;
use crate::harness::{Place, Proxy};
use crate::peers::{Aws, installed, ministack, moto};

/// A client and the program that uses it.
#[derive(Clone, Copy, Debug)]
enum Client {
    Boto3,
    Js,
    Cli,
    Go,
}

/// Secret paths as names: what the sessions only read is proxied, where they write is local.
const CONFIG: &str = r#"
version: 1
store: {local: [scratch]}
audit:
  key: {file: {dir}/audit.key}
  sinks: [{type: file, path: {dir}/audit/audit.jsonl}]
admin: {address: {admin}}
listeners:
  - {wire: aws, address: {aws}, account: "ACCOUNT", region: us-east-1}
identity:
  access_keys:
    - {principal: app, groups: [app], file: {dir}/app.json}
policies: [{dir}/sdk.cedar]
secrets: {infra/aws: {file: {dir}/backend.json}}
backends:
  - name: aws
    type: aws-secrets-manager
    config: {region: us-east-1, endpoint: "ENDPOINT", sts_endpoint: "ENDPOINT", credentials_path: infra/aws}
    path_mapping:
      - {from: "app/**", to: "app/**"}
      - {from: "other/**", to: "other/**"}
"#;

const POLICIES: &str = r#"
@id("app-reads")
permit (
  principal in Group::"app",
  action in [Action::"read", Action::"describe", Action::"list", Action::"write", Action::"delete", Action::"destroy"],
  resource
) when { resource in Folder::"app" || resource in Folder::"scratch" };

@id("app-lists")
permit (principal in Group::"app", action == Action::"list", resource) unless { resource in Folder::"other" };
"#;

/// What the sessions sign with against the proxy.
const KEY_ID: &str = "AKIASESSIONSESSION01";
const KEY: &str = "made-up/secret+access/key/of/the/session0";

impl Client {
    const ALL: [Self; 4] = [Self::Boto3, Self::Js, Self::Cli, Self::Go];

    const fn name(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3",
            Self::Js => "js",
            Self::Cli => "cli",
            Self::Go => "go",
        }
    }

    /// The program, without the plan.
    fn command(self) -> Command {
        let peers = installed();
        match self {
            Self::Boto3 => with(&peers.python, &[&here("aws_session.py")]),
            Self::Cli => with(&peers.python, &[&here("aws_cli_session.py")]),
            Self::Js => {
                let mut command = with(&peers.node, &[&here("aws_session.js")]);
                command.env("NODE_PATH", &peers.node_modules);
                command
            }
            Self::Go => with(&peers.awssession, &[&here("aws_steps.json")]),
        }
    }
}

/// Where a session goes and as whom.
struct Target {
    endpoint: String,
    key_id: String,
    key: String,
    /// Whether this is the stand-in itself.
    is_direct: bool,
}

impl Target {
    fn direct(server: &Aws) -> Self {
        let text = |name: &str| server.seed["app"][name].as_str().unwrap().to_owned();
        let (key_id, key) = (text("access_key_id"), text("secret_access_key"));
        Self { endpoint: server.addr.clone(), key_id, key, is_direct: true }
    }

    fn proxied(proxy: &Proxy) -> Self {
        let endpoint = format!("http://{}", proxy.address("aws"));
        Self { endpoint, key_id: KEY_ID.to_owned(), key: KEY.to_owned(), is_direct: false }
    }

    /// Runs a program with a plan; yields what it printed and what it logged.
    fn run(&self, mut command: Command, place: &Place, plan: &Path) -> (Vec<u8>, String) {
        let session = command
            .env("HOME", place.path())
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &self.key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // moto's crashes are tried again
            .env("AWS_MAX_ATTEMPTS", "2")
            .arg(plan)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&session.stderr).into_owned();
        assert!(
            session.status.success(),
            "{command:?} against {} ended with {}:\n{stderr}",
            self.endpoint,
            session.status
        );
        (session.stdout, stderr)
    }

    /// Walks through the steps; yields the record in lines that are equal whenever sessions behaved equally.
    fn walk(&self, client: Client, plan: &Value) -> (Recorded, String) {
        let place = Place::new();
        let file = place.write("plan.json", plan.to_string().as_bytes());
        let (record, log) = self.run(client.command(), &place, &file);
        let mut command = with(&installed().python, &[&here("aws_normalise.py"), &file]);
        let mut normaliser = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        normaliser.stdin.take().unwrap().write_all(&record).unwrap();
        let lines = normaliser.wait_with_output().unwrap();
        assert!(lines.status.success(), "{client:?}: the record could not be normalised");
        (Recorded::parse_of(&String::from_utf8(lines.stdout).unwrap(), self.is_direct), log)
    }
}

fn start(server: &Aws) -> Proxy {
    let key = json!({"access_key_id": KEY_ID, "secret_access_key": KEY});
    Proxy::builder()
        .config(&CONFIG.replace("ACCOUNT", &server.account).replace("ENDPOINT", &server.addr))
        .file("app.json", key.to_string())
        .file("backend.json", server.credential("backend").to_string())
        .file("sdk.cedar", POLICIES)
        .start()
}

/// Nothing of what the session wrote, read or signed with is in what the proxy says, nor in what the client logs.
fn search(server: &Aws, proxy: &Proxy, log: &str) {
    let backend = server.seed["backend"]["secret_access_key"].as_str().unwrap();
    let mut texts = vec![
        ("a seeded value", "made-up-1"),
        ("a seeded value", "made-up-2"),
        ("a seeded value", "made-up text, no object"),
        ("a hidden value", "made-up-hidden"),
        ("a written value", "made-up-first"),
        ("a written value", "made-up-second"),
        ("a written value", "made-up-staged"),
        ("a written value", "made-up-updated"),
        ("a refused value", "made-up-refused"),
        ("the session's key", KEY),
    ];
    // moto takes any, and has a word
    texts.extend(Some(("the backend's key", backend)).filter(|(_, key)| key.len() > 8));
    let canaries = Canaries::new(texts);
    canaries.are_not_in("the proxy's log", proxy.stderr().as_bytes());
    canaries.are_not_in("the proxy's output", proxy.stdout().as_bytes());
    canaries.are_not_in("the trail", &std::fs::read(proxy.dir().join("audit/audit.jsonl")).unwrap());
    canaries.are_not_in("the metrics", &proxy.page("/metrics").body);
    canaries.are_not_in("the client's log", log.as_bytes());
}

fn plan(server: &Aws, client: &str, is_proxied: bool) -> Value {
    let mut plan = server.seed["plan"].clone();
    // a place of its own for each session: they run at the same time
    plan["writable_prefix"] = json!(format!("scratch/session-{client}"));
    plan["is_proxied"] = json!(is_proxied);
    plan
}

fn behaves_as_with(client: Client, server: &Aws) {
    let proxy = start(server);
    let (own, proxied) = (plan(server, client.name(), false), plan(server, client.name(), true));
    let (direct, proxied) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| Target::direct(server).walk(client, &own));
        let proxied = scope.spawn(|| Target::proxied(&proxy).walk(client, &proxied));
        (direct.join(), proxied.join())
    });
    let (direct, _) = direct.unwrap_or_else(|_| panic!("the session against the stand-in itself broke off"));
    let (proxied, log) = proxied.unwrap_or_else(|_| panic!("the session against the proxy did not go as planned"));
    search(server, &proxy, &log);
    let name = format!("{}@{}", client.name(), server.text("kind"));
    if let Err(report) = compare(&name, &direct, &proxied) {
        panic!("{report}");
    }
}

#[test]
fn boto3_behaves_as_with_aws() {
    behaves_as_with(Client::Boto3, moto());
    behaves_as_with(Client::Boto3, ministack());
}

#[test]
fn the_javascript_sdk_behaves_as_with_aws() {
    behaves_as_with(Client::Js, moto());
    behaves_as_with(Client::Js, ministack());
}

#[test]
fn the_go_sdk_for_aws_behaves_as_with_aws() {
    behaves_as_with(Client::Go, moto());
    behaves_as_with(Client::Go, ministack());
}

/// Built on botocore like boto3, so one stand-in is enough for it.
#[test]
fn the_aws_command_line_behaves_as_with_aws() {
    behaves_as_with(Client::Cli, ministack());
}

#[test]
fn the_python_cache_reads_what_it_reads_of_aws_and_as_often() {
    let server = ministack();
    let proxy = start(server);
    let run = |target: Target, plan: &Value| {
        let place = Place::new();
        let file = place.write("plan.json", plan.to_string().as_bytes());
        let command = with(&installed().python, &[&here("aws_cache_session.py")]);
        let (said, _) = target.run(command, &place, &file);
        serde_json::from_slice::<Value>(&said).unwrap()
    };
    let direct = run(Target::direct(server), &plan(server, "cache", false));
    let proxied = run(Target::proxied(&proxy), &plan(server, "cache", true));
    assert_eq!(proxied, direct);
    assert_eq!(proxied["refreshed"], json!([true, "made-up-after"]));
    // two secrets described once, two versions of the one and one of the other read once
    assert_eq!(proxied["calls_of_22_reads"], json!({"DescribeSecret": 2, "GetSecretValue": 3}));
}

#[test]
fn every_step_has_an_outcome_and_every_refusal_a_code() {
    let steps: Vec<Value> = serde_json::from_slice(&std::fs::read(here("aws_steps.json")).unwrap()).unwrap();
    let is_code = |want: &Value| want.as_str().is_some_and(|want| want == "ok" || want.ends_with("Exception"));
    for step in &steps {
        let wanted = step["want"].as_array().map_or_else(|| vec![&step["want"]], |all| all.iter().collect());
        assert!(!wanted.is_empty() && wanted.into_iter().all(is_code), "{step}");
        assert!(step["text"].is_null() || step["want"] != "ok", "{step}");
    }
    assert_eq!(Client::ALL.map(Client::name), ["boto3", "js", "cli", "go"]);
}
