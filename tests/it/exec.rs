//! `exec`: a command with a proxy of its own, before a real OpenBao or a stand-in for AWS. The command's secrets client works,
//! its other clients are left alone, the command's end is the whole's end, and nothing is left behind.

mod aws;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use crate::harness::{Place, send_signal, wait_until};
use crate::peers::openbao;

const TERM: i32 = 15;
const SOON: Duration = Duration::from_secs(60);
/// What OpenBao holds at `secret/app/db`.
const PASSWORD: &str = "made-up-3";

/// A client that knows nothing but its environment, and ends by itself should its test have gone.
const CLIENT: &str = r#"
import json, os, signal, sys, urllib.request

signal.alarm(120)

def read():
    url = os.environ["VAULT_ADDR"] + "/v1/secret/data/app/db"
    request = urllib.request.Request(url, headers={"X-Vault-Token": os.environ["VAULT_TOKEN"]})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["data"]["data"]["password"]

def say(text):
    print(text, flush=True)

"#;

/// `exec` for Vault's clients with these options around this command, its temporary files in a directory of the test's.
fn exec(place: &Place, options: &[&str], command: &[&str]) -> Command {
    exec_for("vault", place, options, command)
}

/// The same for other clients.
fn exec_for(wires: &str, place: &Place, options: &[&str], command: &[&str]) -> Command {
    let mut exec = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"));
    exec.args(["exec", "--wire", wires]).args(options).arg("--").args(command);
    exec.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", place.directory("tmp"))
        .stdin(Stdio::null());
    exec
}

/// The client with more of its program, before OpenBao.
fn client(place: &Place, program: &str) -> Command {
    let openbao = openbao();
    let token = place.write("token.txt", openbao.text("backend_token").as_bytes());
    let backend = format!("hashicorp-vault={}", openbao.addr);
    let options = ["--backend", backend.as_str(), "--backend-token-file", token.to_str().unwrap()];
    exec(place, &options, &["python3", "-c", &format!("{CLIENT}{program}")])
}

/// What is left of the temporary files.
fn left(place: &Place) -> Vec<PathBuf> {
    std::fs::read_dir(place.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The environment that `env` finds itself in.
fn variables(command: &mut Command) -> BTreeSet<(String, String)> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", complained(&output));
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    said(&output).lines().filter_map(pair).collect()
}

fn names(variables: &BTreeSet<(String, String)>) -> Vec<&str> {
    variables.iter().map(|(name, _)| name.as_str()).collect()
}

/// A running `exec` whose command talks. Ends with its value.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, mut command: Command) -> Self {
        let log = std::fs::File::create(place.path().join("stderr.log")).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line the command says; empty at its end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Closes the command's standard input.
    fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end of both: the exit code, and what was said last.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut status = None;
        wait_until(SOON, "exec to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (status.unwrap().code(), rest.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_command_reads_through_its_own_proxy_and_its_exit_code_is_passed_on() {
    let place = Place::new();
    let output = client(&place, "say(read())\nsys.exit(7)\n").output().unwrap();
    assert_eq!((said(&output).as_str(), output.status.code()), (PASSWORD, Some(7)), "{}", complained(&output));
    assert!(!complained(&output).contains(PASSWORD));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

#[test]
fn only_what_the_secrets_client_needs_is_set_and_a_token_that_is_there_stays() {
    let place = Place::new();
    let set = variables(&mut exec(&place, &[], &["env"]));
    assert_eq!(names(&set), ["BAO_ADDR", "LANG", "PATH", "TMPDIR", "VAULT_ADDR", "VAULT_TOKEN"]);
    for (name, value) in set.iter().filter(|(name, _)| name.ends_with("_ADDR")) {
        assert!(value.starts_with("http://127.0.0.1:"), "{name}={value}");
    }

    let mut command = exec(&place, &[], &["env"]);
    let set = variables(command.env("VAULT_TOKEN", "of-the-caller").env("VAULT_ADDR", "http://elsewhere.example"));
    assert!(set.contains(&("VAULT_TOKEN".to_owned(), "of-the-caller".to_owned())), "{set:?}");
    assert!(set.iter().all(|(_, value)| !value.contains("elsewhere")), "{set:?}");
}

#[test]
fn the_end_of_a_command_is_told_as_a_shell_would() {
    let place = Place::new();
    let plain = place.write("plain.txt", b"no program");
    for (command, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 3"], 3),
        (vec!["sh", "-c", "kill -KILL $$"], 128 + 9),
        (vec!["no-such-program-anywhere"], 127),
        (vec![plain.to_str().unwrap()], 126),
    ] {
        let output = exec(&place, &[], &command).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", complained(&output));
        assert_eq!(left(&place), Vec::<PathBuf>::new(), "{command:?}");
    }
}

#[test]
fn a_command_that_is_terminated_ends_exec_with_it() {
    let place = Place::new();
    let mut running = Running::start(&place, client(&place, "say(read())\nsignal.pause()\n"));
    assert_eq!(running.line(), PASSWORD);
    send_signal(running.child.id(), TERM);
    assert_eq!(running.end(), (Some(128 + TERM), String::new()));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

#[test]
fn the_proxy_answers_while_a_terminated_command_ends() {
    let place = Place::new();
    // blocked and waited for: a handler and a pause() would lose a signal that comes between the two
    let program = "mask = {signal.SIGTERM}\nsignal.pthread_sigmask(signal.SIG_BLOCK, mask)\nsay('ready')\n\
                   signal.sigwait(mask)\nsay(read())\nsys.exit(9)\n";
    let mut running = Running::start(&place, client(&place, program));
    assert_eq!(running.line(), "ready");
    send_signal(running.child.id(), TERM);
    assert_eq!(running.end(), (Some(9), PASSWORD.to_owned()));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

#[test]
fn two_commands_side_by_side_have_a_proxy_each() {
    let program = "say(os.environ['VAULT_ADDR'])\nsay(read())\nsys.stdin.read()\nsay(read())\n";
    let places = [Place::new(), Place::new()];
    let [mut one, mut other] = places.each_ref().map(|place| Running::start(place, client(place, program)));
    let (first, second) = (one.line(), other.line());
    assert_ne!(first, second);
    assert!(first.starts_with("http://127.0.0.1:") && second.starts_with("http://127.0.0.1:"), "{first} {second}");
    assert_eq!([one.line(), other.line()], [PASSWORD, PASSWORD]);
    // one ends while the other goes on
    one.let_go();
    assert_eq!(one.end(), (Some(0), PASSWORD.to_owned()));
    other.let_go();
    assert_eq!(other.end(), (Some(0), PASSWORD.to_owned()));
    for place in &places {
        assert_eq!(left(place), Vec::<PathBuf>::new());
    }
}

/// A file with one vault listener at `address`, its trail in the directory `audit`.
fn config(place: &Place, address: &str, audit: &Path) -> PathBuf {
    let text = format!(
        "version: 1\naudit: {{sinks: [{{type: file, path: '{}'}}]}}\nadmin: {{address: '127.0.0.1:1'}}\n\
         listeners: [{{wire: vault, address: '{address}', auth: workload}}]\nidentity: {{workload: {{principal: t/exec}}}}\n",
        audit.join("audit.jsonl").display()
    );
    place.write("config.yaml", text.as_bytes())
}

#[test]
fn a_file_is_served_on_ports_of_its_own() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = config(&place, &address, &place.directory("audit"));
    let output = exec(&place, &["--config", config.to_str().unwrap()], &["env"]).output().unwrap();
    assert!(output.status.success(), "{}", complained(&output));
    assert!(said(&output).contains("VAULT_ADDR=http://127.0.0.1:"), "{}", said(&output));
    assert!(!said(&output).contains(&address), "{}", said(&output));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

#[test]
fn a_start_that_fails_says_why_runs_nothing_and_leaves_nothing() {
    let place = Place::new();
    let token = place.write("token.txt", b"token-of-nobody-at-all-1");
    // the directory of the trail is not there
    let config = config(&place, "127.0.0.1:2", &place.path().join("audit"));
    let [token, config] = [&token, &config].map(|path| path.to_str().unwrap());
    let here = "hashicorp-vault=http://127.0.0.1:1";
    for options in [
        vec!["--backend", here],
        vec!["--backend", here, "--backend-token-file", "no/such/file"],
        vec!["--backend", "hashicorp-vault=http://vault.example:8200", "--backend-token-file", token],
        vec!["--backend", "some-other-store=x", "--backend-token-file", token],
        vec!["--config", "no/such/file.yaml"],
        vec!["--config", config],
    ] {
        let output = exec(&place, &options, &["echo", "it-ran"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}: {}", complained(&output));
        assert_eq!(said(&output), "", "{options:?}");
        assert!(complained(&output).contains("scaivault-proxy: "), "{options:?}: {}", complained(&output));
        assert_eq!(left(&place), Vec::<PathBuf>::new(), "{options:?}");
    }
}
