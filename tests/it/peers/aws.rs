//! The stand-ins for AWS: moto, which knows what the service means and looks at no credential, and ministack, which verifies
//! every signature, session token and IAM policy.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{here, installed};

/// A seeded stand-in. A server of a test's own ends with its value, the shared ones with the process.
pub(crate) struct Aws {
    /// `http://127.0.0.1:PORT`.
    pub(crate) addr: String,
    /// Twelve digits.
    pub(crate) account: String,
    /// What `peers/aws.py` printed: credentials, a role, and a plan for the sessions under `plan`.
    pub(crate) seed: Value,
    // the server ends when this end of the pipe closes
    stdin: Option<ChildStdin>,
    child: Child,
}

impl Aws {
    /// A moto of a test's own, with so many secrets `bulk/N/app-N` in a region.
    pub(crate) fn filled(region: &str, count: usize) -> Self {
        launch("moto", &["--fill", &format!("{region}={count}")])
    }

    /// A ministack of a test's own, in this account.
    pub(crate) fn of_account(account: &str) -> Self {
        launch("ministack", &["--account", account])
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.addr.strip_prefix("http://").unwrap()
    }

    /// One of the seed's texts.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.seed[name].as_str().unwrap_or_else(|| panic!("the seed has no text `{name}`"))
    }

    /// A credential as the proxy takes it: `root`, `backend` or `app`.
    pub(crate) fn credential(&self, who: &str) -> Value {
        let own = &self.seed[who];
        json!({"access_key_id": own["access_key_id"], "secret_access_key": own["secret_access_key"]})
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}

/// The one moto of this test process.
///
/// # Panics
/// When it does not start; its log is `moto.log` beside the test directories.
pub(crate) fn moto() -> &'static Aws {
    static MOTO: OnceLock<Aws> = OnceLock::new();
    MOTO.get_or_init(|| launch("moto", &[]))
}

/// The one ministack of this test process, with `AUTH=true`.
///
/// # Panics
/// When it does not start; its log is `ministack.log` beside the test directories.
pub(crate) fn ministack() -> &'static Aws {
    static MINISTACK: OnceLock<Aws> = OnceLock::new();
    MINISTACK.get_or_init(|| launch("ministack", &[]))
}

fn launch(kind: &str, further: &[&str]) -> Aws {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kind}.log"));
    let python = &installed().python;
    let mut child = Command::new(python)
        .arg(here().join("aws.py"))
        .args(["--kind", kind, "--log"])
        .arg(&log)
        .args(further)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let stdin = child.stdin.take();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let seed: Value = serde_json::from_str(&line)
        .unwrap_or_else(|error| panic!("{kind} did not start ({error}), see {}: {line}", log.display()));
    let text = |name: &str| seed[name].as_str().unwrap_or_else(|| panic!("no `{name}` in the seed")).to_owned();
    Aws { addr: text("addr"), account: text("account"), seed, stdin, child }
}
