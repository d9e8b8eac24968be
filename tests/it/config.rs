//! What ships under `config/` works, and what is wrong is refused at once with every reason.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{BASIC, POLICIES, Place, Proxy};

fn shipped() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn scaivault(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scaivault-proxy")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_shipped_configuration_loads_without_a_warning() {
    let files = shipped();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let config =
            scaivault_proxy::config::load(&file).unwrap_or_else(|error| panic!("{}:\n{error}", file.display()));
        assert!(config.warnings.is_empty(), "{}: {:?}", file.display(), config.warnings);
    }
}

#[test]
fn the_shipped_policies_are_the_reference_of_the_schema() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            sources.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(sources.len() >= 2);
    if let Err(problems) = scaivault_proxy::policy::Policies::compile(&sources, 1) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn check_accepts_the_shipped_configurations_on_a_machine_without_their_files() {
    for file in shipped() {
        let output = scaivault(&["check", "--config", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}:\n{}", file.display(), said(&output));
        let output = scaivault(&["--output", "json", "check", "--config", file.to_str().unwrap()]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        assert_eq!(answer["valid"], true, "{answer:#}");
        assert_eq!(answer["problems"], serde_json::json!([]), "{answer:#}");
    }
}

#[test]
fn what_is_valid_and_not_served_stops_serve_and_is_told_by_check() {
    let place = Place::new();
    let text = "version: 1\nadmin: {ui: {}}\nlisteners:\n- {wire: gcp, h2c: true, projects: {p: 1}}\n";
    let file = place.write("config.yaml", text.as_bytes());
    let output = scaivault(&["serve", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success(), "it is not served by this release");
    let keys: Vec<String> =
        scaivault_proxy::config::load(&file).unwrap().not_built().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["admin.ui", "listeners[0].wire"]);
    for key in keys {
        assert!(said(&output).contains(&key), "`{key}` is not told:\n{}", said(&output));
    }
}

#[test]
fn o05_every_mistake_is_told_at_once_with_its_key_and_without_its_value() {
    let place = Place::new();
    let config = "version: 1\nlistners: []\naudit: {sinks: [{type: flie, path: /canary-in-a-path}]}\n\
                  listeners:\n- {wire: vault, adress: x}\nserver: {drain: canary-in-a-duration}\n";
    let file = place.write("config.yaml", config.as_bytes());
    let output = scaivault(&["check", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = said(&output);
    for key in ["listners", "audit.sinks[0].type", "listeners[0].adress", "server.drain"] {
        assert!(said.contains(key), "`{key}` is not told:\n{said}");
    }
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn serve_tells_every_problem_of_the_files_it_needs() {
    let builder = Proxy::builder().file("policies.cedar", "permit (principal, action, resource);\n");
    let ended = builder.file("reader.token", "shortcanary").try_start().map(drop).unwrap_err();
    assert!(!ended.status.success());
    for part in ["policies", "policies.cedar", "identity.tokens[0].file"] {
        assert!(ended.stderr.contains(part), "`{part}` is not told:\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[test]
fn expected_decisions_are_checked_with_the_configuration() {
    let place = Place::new();
    let config = BASIC
        .replace("{dir}", place.path().to_str().unwrap())
        .replace("{admin}", "127.0.0.1:1")
        .replace("{scaivault}", "127.0.0.1:2")
        .replace("{vault}", "127.0.0.1:3");
    let config = place.write("config.yaml", config.as_bytes());
    place.write("policies.cedar", POLICIES.as_bytes());
    let case = |expect: &str| {
        format!(
            "- {{principal: t/admin, groups: [admins], method: token, action: read, resource: {{secret: apps/db/main}}, \
             wire: vault, mode: local, expect: {expect}}}\n"
        )
    };
    for (expect, holds) in [("permit", true), ("deny", false)] {
        let cases = place.write("cases.yaml", case(expect).as_bytes());
        let arguments = ["check", "--config", config.to_str().unwrap(), "--expect", cases.to_str().unwrap()];
        let output = scaivault(&arguments);
        assert_eq!(output.status.success(), holds, "{expect}:\n{}", said(&output));
    }
}
