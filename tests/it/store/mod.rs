//! The sealed store of the real process: what survives it, what is readable in its file, what becomes of a file somebody
//! changed, who may open it, and where its key comes from.

mod damage;
mod full;
mod hidden;
mod kill;
mod place;
mod providers;
mod rotation;
mod survival;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{ADMIN, Proxy, ProxyBuilder, Response, config, try_request, wait_until};

const TERM: i32 = 15;
const SOON: Duration = Duration::from_secs(15);
/// An unoptimised binary on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// The root key in a file, as the bytes it stands for and as the file says it.
const ROOT_KEY: &str = "root-key-of-these-store-suites-1";
const KEY_FILE: &str = "cm9vdC1rZXktb2YtdGhlc2Utc3RvcmUtc3VpdGVzLTE=\n";
const OTHER_KEY_FILE: &str = "YW5vdGhlci1yb290LWtleS1vZi10aGVzZS1zdWl0ZXM=\n";
/// Where the root key is read from unless a suite says otherwise.
const FILE_SEAL: &str = "{provider: file, path: {dir}/seal.key}";

/// Both wires over the local folders of a store in `{dir}/store`, sealed as `SEAL` says.
const STORED: &str = config!(
    r#"    mounts:
      secret: {kv: 2}
    paths:
      - {from: "secret/**", to: "**"}
store:
  path: {dir}/store/store.redb
  local: [apps, scratch, infra]
seal: SEAL
identity:
  tokens:
    - {principal: t/reader, groups: [readers], folders: [apps/db], file: {dir}/reader.token}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
policies:
  - {dir}/policies.cedar
"#
);

/// [`STORED`] with a seal.
fn sealed_by(seal: &str) -> String {
    STORED.replace("SEAL", seal)
}

/// A proxy over [`STORED`] with the root key in `seal.key` and another one in `other.key`.
fn builder() -> ProxyBuilder {
    Proxy::builder().config(&sealed_by(FILE_SEAL)).file("seal.key", KEY_FILE).file("other.key", OTHER_KEY_FILE)
}

/// Ends a process as an orchestrator does.
fn stop(proxy: &mut Proxy) {
    proxy.signal(TERM);
    let status = proxy.wait_exit(PATIENCE);
    assert!(status.success(), "{status}:\n{}", proxy.stderr());
}

/// Ends it and starts it again over the same files.
fn restart(proxy: &mut Proxy) {
    stop(proxy);
    proxy.start_again();
}

fn file_of(proxy: &Proxy) -> PathBuf {
    proxy.dir().join("store/store.redb")
}

fn write(proxy: &Proxy, path: &str, value: &str) {
    let body = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    let answer = proxy.scaivault_call(ADMIN, "PUT", &format!("/v1/secrets/{path}"), body.as_bytes());
    assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
}

fn read(proxy: &Proxy, path: &str) -> Response {
    proxy.scaivault_call(ADMIN, "GET", &format!("/v1/secrets/{path}"), b"")
}

/// Asserts that a secret is what [`write`] made it.
fn holds(proxy: &Proxy, path: &str, value: &str) {
    let answer = read(proxy, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.json()["data"]["value"], value, "{path}");
}

/// The binary over a configuration that is there already, apart from the harness: for starts that may be refused. Ends
/// with its value.
struct Run {
    child: Child,
    log: PathBuf,
}

impl Run {
    /// Starts it with `config.yaml` of a directory.
    fn start(dir: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"));
        command.args(["serve", "--config"]).arg(dir.join("config.yaml"));
        Self::spawn(command, dir, env)
    }

    /// Starts a command in a directory, with nothing in its environment but `PATH` and what is given.
    fn spawn(mut command: Command, dir: &Path, env: &[(&str, &str)]) -> Self {
        let log = dir.join("run.log");
        let out = fs::File::create(&log).unwrap();
        let child = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(env.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Everything it said.
    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it serves or has ended; `None` if it serves.
    fn settled(&mut self, admin: &str) -> Option<ExitStatus> {
        let mut ended = None;
        wait_until(PATIENCE, "the process to serve or to end", || {
            ended = self.child.try_wait().unwrap();
            let is_up = || try_request(admin, "GET", "/startupz", &[], b"").is_ok_and(|answer| answer.status == 200);
            ended.is_some() || is_up()
        });
        ended
    }

    /// Waits for its end.
    fn ended(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until(PATIENCE, "the process to end", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts a stopped proxy's binary over its files: it must end by itself with a failure. What it said.
fn refused(proxy: &Proxy, env: &[(&str, &str)]) -> String {
    let mut run = Run::start(proxy.dir(), env);
    let status = run.settled(&proxy.address("admin"));
    let said = run.said();
    let Some(status) = status else { panic!("it serves:\n{said}") };
    assert_eq!(status.code(), Some(1), "{status}:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A proxy's audit lines of an operation: each one's detail and outcome.
fn told(proxy: &Proxy, operation: &str) -> Vec<(String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let lines = proxy.audit().into_iter().filter(|line| line["operation"] == operation);
    lines.map(|line| (text(&line, "detail"), text(&line, "outcome"))).collect()
}
