//! The process under test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Response, request, try_request};
use super::fill::fill;
use super::place::Place;
use super::wait::{pause, wait_until};
use super::{ADMIN, AUDIT_KEY, BASIC, POLICIES, READER};

/// Two busy cores and an unoptimised binary: generous, since a process that fails ends earlier by itself.
const START: Duration = Duration::from_secs(60);

/// What a proxy is started with.
pub(crate) struct ProxyBuilder {
    place: Place,
    config: String,
    env: Vec<(String, String)>,
    ports: BTreeMap<String, String>,
}

/// A running `scaivault-proxy serve`. Ends with its value.
pub(crate) struct Proxy {
    child: Child,
    ports: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    // removed last
    place: Place,
}

/// A process that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl ProxyBuilder {
    /// A file in the proxy's directory, mode 0600. Placeholders are left as they are.
    pub(crate) fn file(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.place.write(name, &content.into());
        self
    }

    /// The configuration. `{dir}` is the proxy's directory, every other `{name}` a loopback address `127.0.0.1:PORT` that
    /// is free and stays the same for the name; `{{name}}` is the text `{name}`. The admin address must be `{admin}`.
    pub(crate) fn config(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.config);
        self
    }

    /// A variable of its environment, which otherwise holds nothing but `PATH` and `HOME`.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.place.path()
    }

    /// The address a port placeholder stands for.
    pub(crate) fn port(&mut self, name: &str) -> String {
        fill(&format!("{{{name}}}"), "", &mut self.ports)
    }

    /// Writes the configuration as [`Self::start`] does, and says where: for verbs that start nothing.
    pub(crate) fn write_config(&mut self) -> PathBuf {
        let config = fill(&self.config, &self.place.path().display().to_string(), &mut self.ports);
        self.place.write("config.yaml", config.as_bytes())
    }

    /// Starts it and waits until `/startupz` says 200.
    ///
    /// # Panics
    /// When it ends before, with what it said.
    pub(crate) fn start(self) -> Proxy {
        match self.try_start() {
            Ok(proxy) => proxy,
            Err(ended) => panic!("the proxy did not start ({}):\n{}", ended.status, ended.stderr),
        }
    }

    /// [`Self::start`] for configurations that may be refused.
    pub(crate) fn try_start(mut self) -> Result<Proxy, Ended> {
        self.write_config();
        assert!(self.ports.contains_key("admin"), "the configuration has no `admin: {{address: {{admin}}}}`");
        let child = spawn(&self.place, &self.env);
        let mut proxy = Proxy { child, ports: self.ports, env: self.env, place: self.place };
        match proxy.wait_for_start() {
            Ok(()) => Ok(proxy),
            Err(status) => Err(Ended { status, stderr: proxy.stderr() }),
        }
    }
}

impl Proxy {
    /// A builder with [`BASIC`], its policies, tokens and audit key, and a closed directory `audit`.
    pub(crate) fn builder() -> ProxyBuilder {
        let place = Place::new();
        place.directory("audit");
        ProxyBuilder { place, config: BASIC.to_owned(), env: Vec::new(), ports: BTreeMap::new() }
            .file("policies.cedar", POLICIES)
            .file("reader.token", READER)
            .file("admin.token", ADMIN)
            .file("audit.key", AUDIT_KEY)
    }

    /// `http://127.0.0.1:PORT` of the vault wire.
    pub(crate) fn vault(&self) -> String {
        format!("http://{}", self.address("vault"))
    }

    /// `http://127.0.0.1:PORT` of the scaivault wire.
    pub(crate) fn scaivault(&self) -> String {
        format!("http://{}", self.address("scaivault"))
    }

    /// `http://127.0.0.1:PORT` of health and metrics.
    pub(crate) fn admin(&self) -> String {
        format!("http://{}", self.address("admin"))
    }

    /// `127.0.0.1:PORT` of a placeholder.
    pub(crate) fn address(&self, name: &str) -> String {
        self.ports.get(name).unwrap_or_else(|| panic!("the configuration has no {{{name}}}")).clone()
    }

    /// A request to the vault wire with a token; an empty one sends none.
    pub(crate) fn vault_call(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Response {
        let all = [("X-Vault-Token", token)];
        request(&self.address("vault"), method, path, if token.is_empty() { &[] } else { &all }, body)
    }

    /// A JSON request to the scaivault wire with a token; an empty one sends none.
    pub(crate) fn scaivault_call(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Response {
        let bearer = format!("Bearer {token}");
        let all = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
        request(&self.address("scaivault"), method, path, if token.is_empty() { &all[..1] } else { &all }, body)
    }

    /// One of the admin listener's pages.
    pub(crate) fn page(&self, path: &str) -> Response {
        request(&self.address("admin"), "GET", path, &[], b"")
    }

    /// The value of a metric: the sum over all lines whose name and labels contain every part.
    pub(crate) fn metric(&self, name: &str, parts: &[&str]) -> Option<f64> {
        let text = self.page("/metrics").text();
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = text.lines().filter(of_name).filter(|line| parts.iter().all(|part| line.contains(part)));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        if values.is_empty() { None } else { Some(values.iter().sum()) }
    }

    /// The lines of the file sink so far, parsed; a line that is still being written is left out.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("audit/audit.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// The audit lines of one answered request, in the order written.
    pub(crate) fn audit_of(&self, response: &Response) -> Vec<Value> {
        let id = response.request_id();
        self.audit().into_iter().filter(|line| line["request_id"] == id).collect()
    }

    /// Everything it logged.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir().join("stderr.log")).unwrap_or_default()).into_owned()
    }

    /// Everything it printed.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir().join("stdout.log")).unwrap_or_default()).into_owned()
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Replaces a file in its directory whole, mode 0600.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.place.write(name, content.as_ref());
    }

    /// Replaces the configuration; placeholders mean what they meant at the start.
    pub(crate) fn write_config(&mut self, yaml: &str) {
        let config = fill(yaml, &self.place.path().display().to_string(), &mut self.ports);
        self.place.write("config.yaml", config.as_bytes());
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by number.
    pub(crate) fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is still there after `within`.
    pub(crate) fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(within, "the proxy to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Starts the process again over the same files and ports, after its end.
    pub(crate) fn start_again(&mut self) {
        if let Err(ended) = self.try_start_again() {
            panic!("the proxy did not start again ({}):\n{}", ended.status, ended.stderr);
        }
    }

    /// [`Self::start_again`] where that may be refused; yields what it said this time.
    pub(crate) fn try_start_again(&mut self) -> Result<(), Ended> {
        assert!(self.child.try_wait().unwrap().is_some(), "it is still running");
        let before = self.stderr().len();
        self.child = spawn(&self.place, &self.env);
        self.wait_for_start().map_err(|status| Ended { status, stderr: self.stderr()[before..].to_owned() })
    }

    fn wait_for_start(&mut self) -> Result<(), ExitStatus> {
        let deadline = Instant::now() + START;
        let admin = self.address("admin");
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(status);
            }
            if try_request(&admin, "GET", "/startupz", &[], b"").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "not started after {START:?}:\n{}", self.stderr());
            pause();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let stderr = self.stderr();
            let lines: Vec<&str> = stderr.lines().collect();
            let last = lines.len().saturating_sub(40);
            eprintln!("the end of the proxy's log:\n{}", lines[last..].join("\n"));
        }
    }
}

/// Sends a process of ours a signal by number.
pub(crate) fn send_signal(pid: u32, signal: i32) {
    let command = format!("kill -{signal} {pid}");
    let done = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

fn spawn(place: &Place, env: &[(String, String)]) -> Child {
    let log = |name: &str| {
        let path = place.path().join(name);
        Stdio::from(fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).unwrap())
    };
    Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
        .args(["serve", "--config"])
        .arg(place.path().join("config.yaml"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", place.path())
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(log("stdout.log"))
        .stderr(log("stderr.log"))
        .spawn()
        .unwrap()
}
