//! The real servers and clients, installed once into `target/peers` and started once for the whole test process.
//!
//! Everything is locked by hash in the files beside this one. What cannot be had ends the tests that need it with a sentence
//! that says what to install.

#![allow(dead_code, reason = "a tool box: what one suite does not need the next one does")]

mod aws;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

pub(crate) use self::aws::{Aws, ministack, moto};
use crate::harness::{Response, request, send_signal};

/// Where the tools are.
pub(crate) struct Peers {
    pub(crate) python: PathBuf,
    pub(crate) bao: PathBuf,
    pub(crate) node: PathBuf,
    pub(crate) node_modules: PathBuf,
    pub(crate) gosession: PathBuf,
    /// The same for AWS.
    pub(crate) awssession: PathBuf,
}

/// A seeded OpenBao development server.
pub(crate) struct OpenBao {
    /// `http://127.0.0.1:PORT`.
    pub(crate) addr: String,
    /// May do everything.
    pub(crate) root_token: String,
    /// What `peers/seed.py` answered: credentials, names, and a plan for the sessions under `plan`.
    pub(crate) seed: Value,
    // The server ends when this end of the pipe closes: when the test process ends, however it ends.
    stdin: Option<ChildStdin>,
    child: Child,
}

impl OpenBao {
    /// A server of a test's own with nothing in it, which keeps what it is told in a directory: ended and started again
    /// over the same directory and addresses (`127.0.0.1:PORT` of its API and of its cluster), it is the same server.
    ///
    /// # Panics
    /// When it does not start; its log is `openbao.log` in the directory.
    pub(crate) fn kept(data: &Path, address: &str, cluster: &str) -> Self {
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        std::fs::create_dir_all(data).unwrap();
        let arguments = ["--port".to_owned(), port(address), "--cluster-port".to_owned(), port(cluster)];
        launch(&data.join("openbao.log"), |command| command.arg("--data").arg(data).args(arguments))
    }

    /// Kills the server outright, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        let pid = self.seed["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap();
        send_signal(pid, 9);
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.addr.strip_prefix("http://").unwrap()
    }

    /// One of the seed's texts.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.seed[name].as_str().unwrap_or_else(|| panic!("the seed has no text `{name}`"))
    }

    /// A call with the root token.
    pub(crate) fn root(&self, method: &str, path: &str, body: &[u8]) -> Response {
        request(self.address(), method, path, &[("X-Vault-Token", &self.root_token)], body)
    }
}

/// The tools, installed if they are not there yet: the first run takes minutes and needs the package indexes.
///
/// # Panics
/// When something is missing; the installer's words above the panic say what to do.
pub(crate) fn installed() -> &'static Peers {
    static PEERS: OnceLock<Peers> = OnceLock::new();
    PEERS.get_or_init(|| {
        let into = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("peers");
        let script = here().join("install.py");
        let output = Command::new("python3")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(&script)
            .arg("--into")
            .arg(&into)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!(
                "the tests against real servers and clients need Python 3.10 or newer as `python3` in PATH, with its venv \
                 module (Debian and Ubuntu: apt install python3 python3-venv): {error}"
            )
        });
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{} failed; its last words on stderr say what to install", script.display());
        let paths: Value = serde_json::from_str(stdout.trim_end().lines().last().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{} printed no paths ({error}): {stdout}", script.display()));
        let path = |name: &str| PathBuf::from(paths[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {paths}")));
        Peers {
            python: path("python"),
            bao: path("bao"),
            node: path("node"),
            node_modules: path("node_modules"),
            gosession: path("gosession"),
            awssession: path("awssession"),
        }
    })
}

/// The one OpenBao server of this test process.
///
/// # Panics
/// When it does not start; its log is `openbao.log` beside the test directories.
pub(crate) fn openbao() -> &'static OpenBao {
    static OPENBAO: OnceLock<OpenBao> = OnceLock::new();
    OPENBAO.get_or_init(start)
}

fn start() -> OpenBao {
    launch(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("openbao.log"), |command| command)
}

/// Starts a server by its script, with further arguments.
fn launch(log: &Path, further: impl FnOnce(&mut Command) -> &mut Command) -> OpenBao {
    let peers = installed();
    let mut command = Command::new(&peers.python);
    command.arg(here().join("openbao.py")).arg("--bao").arg(&peers.bao).arg("--log").arg(log);
    let mut child = further(&mut command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", peers.python.display()));
    let stdin = child.stdin.take();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let seed: Value = serde_json::from_str(&line)
        .unwrap_or_else(|error| panic!("OpenBao did not start ({error}), see {}: {line}", log.display()));
    let text = |name: &str| seed[name].as_str().unwrap_or_else(|| panic!("no `{name}` in the seed")).to_owned();
    OpenBao { addr: text("addr"), root_token: text("root_token"), seed, stdin, child }
}

/// The directory of the scripts.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers")
}
