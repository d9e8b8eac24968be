//! The command line against a running proxy: every verb of `backend`, `secret` and `seal rotate`, as the README shows them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{on_bao, put_on_bao, text, with_bao};
use crate::harness::{ADMIN, Proxy};

/// Calls it as the admin, with this on its standard input and nothing else in its environment.
fn run(proxy: &Proxy, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
        .args(arguments)
        .env_clear()
        .env("SCAIVAULT_ADDR", proxy.scaivault())
        .env("SCAIVAULT_TOKEN", ADMIN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // a verb that reads nothing may be gone before it is told anything
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

/// What it prints; it has to go through.
#[track_caller]
fn printed(proxy: &Proxy, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(proxy, arguments, input);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same, of a verb that reads nothing and prints text.
#[track_caller]
fn said(proxy: &Proxy, arguments: &[&str]) -> String {
    String::from_utf8(printed(proxy, arguments, b"")).unwrap()
}

/// The same, of one that prints JSON: where standard output is no terminal all do.
#[track_caller]
fn told(proxy: &Proxy, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(proxy, arguments)).unwrap()
}

/// A table for people.
#[track_caller]
fn table(proxy: &Proxy, arguments: &[&str]) -> String {
    said(proxy, &[&["--output", "table"][..], arguments].concat())
}

/// Why it did not do it. Nothing is printed where a program would read it.
#[track_caller]
fn refused(proxy: &Proxy, arguments: &[&str], input: &[u8]) -> String {
    let output = run(proxy, arguments, input);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn backends_are_made_followed_decided_about_and_ended() {
    let proxy = with_bao();
    for name in ["one", "two"] {
        put_on_bao(&format!("command/{name}"), "of the server");
    }
    let mut body = on_bao("command", "external/command/**", "secret/data/command/**");
    for (key, value) in
        [("mode", "sync"), ("sync_interval", "1h"), ("write_mode", "local"), ("conflict_policy", "manual")]
    {
        body[key] = json!(value);
    }
    let made = printed(&proxy, &["backend", "create", "-f", "-"], body.to_string().as_bytes());
    let made: Value = serde_json::from_slice(&made).unwrap();
    let id = text(&made, "id");
    assert_eq!(told(&proxy, &["backend", "list"])["backends"], json!([made]));
    for name in ["command", id.as_str()] {
        assert_eq!(told(&proxy, &["backend", "show", name]), made);
    }
    assert_eq!(told(&proxy, &["backend", "check", "command"])["ok"], true);
    let changed =
        told(&proxy, &["backend", "update", "command", "--set", "max_versions=3", "--set", "config.timeout=9s"]);
    assert_eq!((&changed["max_versions"], &changed["config"]["timeout"]), (&json!(3), &json!("9s")));

    let report = told(&proxy, &["backend", "sync", "command", "--wait"]);
    assert_eq!((&report["outcome"], &report["scope"]), (&json!("completed"), &json!("full")), "{report:#}");
    assert_eq!(told(&proxy, &["backend", "syncs", "command", &text(&report, "id")]), report);
    assert_eq!(told(&proxy, &["backend", "syncs", "command"])["syncs"][0]["id"], report["id"]);
    let status = told(&proxy, &["backend", "status", "command"]);
    assert_eq!((&status["state"], &status["secrets_synced"]), (&json!("healthy"), &json!(2)), "{status:#}");
    let over = refused(&proxy, &["backend", "cancel", "command", &text(&report, "id")], b"");
    assert!(over.contains("409") && over.contains("does not run"), "{over}");

    // both sides change
    printed(&proxy, &["secret", "put", "external/command/one"], br#"{"value": "ours"}"#);
    put_on_bao("command/one", "theirs");
    let started = told(&proxy, &["backend", "sync", "command", "external/command/two"]);
    assert_eq!(started["state"], "started", "{started:#}");
    let report = told(&proxy, &["backend", "sync", "command", "external/command/one", "--wait"]);
    assert_eq!((&report["scope"], &report["conflicts"]), (&json!("paths"), &json!(1)), "{report:#}");
    let conflicts = told(&proxy, &["backend", "conflicts", "command"]);
    assert_eq!(conflicts["conflicts"][0]["path"], "external/command/one", "{conflicts:#}");
    assert_eq!(said(&proxy, &["secret", "get", "external/command/one", "--field", "value"]), "ours\n");
    let tables: [(&[&str], &str); 6] = [
        (&["list"], "hashicorp-vault"),
        (&["show", "command"], "external/command/**"),
        (&["check", "command"], "external/command/**"),
        (&["status", "command"], "healthy"),
        (&["syncs", "command"], "completed"),
        (&["conflicts", "command"], "external/command/one"),
    ];
    for (verb, part) in tables {
        let shown = table(&proxy, &[&["backend"][..], verb].concat());
        assert!(shown.contains(part) && !shown.trim_start().starts_with('{'), "{verb:?}: {shown}");
    }
    assert_eq!(said(&proxy, &["backend", "resolve", "command", "external/command/one", "--keep", "backend"]), "");
    assert_eq!(said(&proxy, &["secret", "get", "external/command/one", "--field", "value"]), "theirs\n");
    assert_eq!(told(&proxy, &["backend", "conflicts", "command"]), json!({"conflicts": []}));
    let twice = refused(&proxy, &["backend", "resolve", "command", "external/command/one", "--keep", "local"], b"");
    assert!(twice.contains("404") && twice.contains("request "), "{twice}");

    assert_eq!(said(&proxy, &["backend", "delete", "command"]), "");
    assert_eq!(told(&proxy, &["backend", "quarantine", &id])["count"], 2);
    let adopted = told(&proxy, &["backend", "quarantine", &id, "--adopt"]);
    assert_eq!((&adopted["adopted"], adopted["left"].as_array().unwrap().len()), (&json!(0), 2), "{adopted:#}");
    assert_eq!(told(&proxy, &["backend", "quarantine", &id, "--purge"]), json!({"purged": 2}));
    assert!(table(&proxy, &["backend", "quarantine", &id]).starts_with("PATH"));
}

#[test]
fn a_check_or_a_sync_that_fails_ends_with_a_failure_and_says_why() {
    let proxy = with_bao();
    printed(&proxy, &["secret", "put", "infra/wrong"], br#"{"token": "s.Canary-of-no-token"}"#);
    let mut body = on_bao("wrong", "external/wrong/**", "secret/data/command/**");
    body["mode"] = json!("sync");
    body["config"]["auth_config_path"] = json!("infra/wrong");
    proxy.write("wrong.json", body.to_string());
    let file = proxy.dir().join("wrong.json");
    printed(&proxy, &["backend", "create", "-f", file.to_str().unwrap()], b"");
    let failing: [(&[&str], &str, Value); 2] = [
        (&["backend", "check", "wrong"], "ok", json!(false)),
        (&["backend", "sync", "wrong", "--wait"], "outcome", json!("failed")),
    ];
    for (arguments, key, value) in failing {
        let output = run(&proxy, arguments, b"");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told[key], value, "{told:#}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("Canary"), "{told:#}");
    }
    let unknown = refused(&proxy, &["backend", "status", "nobody"], b"");
    assert!(unknown.contains("there is no backend nobody"), "{unknown}");
    let mut bad = body;
    bad["name"] = json!("bad");
    bad["max_versions"] = json!(0);
    let bad = refused(&proxy, &["backend", "create", "-f", "-"], bad.to_string().as_bytes());
    assert!(bad.contains("400") && bad.contains("\n  max_versions: "), "the key is told: {bad}");
    let twice = refused(&proxy, &["backend", "create", "-f", "-"], br#"{"name": "a", "name": "b"}"#);
    assert!(twice.contains("duplicate keys"), "{twice}");
}

#[test]
fn secrets_are_written_read_listed_deleted_and_brought_back() {
    let proxy = with_bao();
    let value = br#"{"number": 12345678901234567890.10, "password": "p w"}"#;
    let put = ["secret", "put", "apps/one", "--metadata", "owner=me", "--cas", "0"];
    let written: Value = serde_json::from_slice(&printed(&proxy, &put, value)).unwrap();
    assert_eq!((&written["path"], &written["version"]), (&json!("apps/one"), &json!(1)), "{written}");
    assert!(refused(&proxy, &put, value).contains("409"), "there is one by now");
    assert_eq!(printed(&proxy, &["secret", "get", "apps/one", "--raw"], b""), value, "byte for byte");
    assert_eq!(said(&proxy, &["secret", "get", "apps/one", "--field", "number"]), "12345678901234567890.10\n");
    let read = told(&proxy, &["secret", "get", "apps/one"]);
    assert_eq!((&read["metadata"], &read["source"]["mode"]), (&json!({"owner": "me"}), &json!("local")), "{read}");

    let bytes = [0_u8, 255, 10, 128];
    proxy.write("key.der", bytes);
    let file = proxy.dir().join("key.der");
    said(&proxy, &["secret", "put", "apps/deep/key", "-f", file.to_str().unwrap(), "--type", "binary"]);
    assert_eq!(printed(&proxy, &["secret", "get", "apps/deep/key", "--raw"], b""), bytes);
    printed(&proxy, &["secret", "put", "apps/text", "--type", "text"], "grüße\n".as_bytes());
    assert_eq!(said(&proxy, &["secret", "get", "apps/text", "--raw"]), "grüße\n");
    assert_eq!(told(&proxy, &["secret", "list", "apps"]), json!(["deep/", "one", "text"]));
    assert_eq!(table(&proxy, &["secret", "list", "apps/deep/"]), "key\n");

    printed(&proxy, &["secret", "put", "apps/one"], b"{}");
    assert_eq!(said(&proxy, &["secret", "get", "apps/one", "--version", "1", "--field", "password"]), "p w\n");
    assert_eq!(said(&proxy, &["secret", "delete", "apps/one"]), "");
    assert!(refused(&proxy, &["secret", "get", "apps/one"], b"").contains("404"));
    assert_eq!(said(&proxy, &["secret", "undelete", "apps/one"]), "");
    assert_eq!(said(&proxy, &["secret", "get", "apps/one", "--raw"]), "{}");
    assert_eq!(said(&proxy, &["secret", "destroy", "apps/one", "--version", "1"]), "");
    let versions = told(&proxy, &["secret", "versions", "apps/one"]);
    let states: Vec<&Value> = versions["versions"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["destroyed", "current"], "{versions:#}");
    assert!(table(&proxy, &["secret", "versions", "apps/one"]).contains("destroyed"));
    assert!(table(&proxy, &["secret", "get", "apps/text"]).contains("grüße"));

    let requests = || proxy.audit().iter().filter(|line| line.get("request_id").is_some()).count();
    let before = requests();
    for path in ["apps/../infra/bao", "apps//one", "apps/one?version=1", ""] {
        refused(&proxy, &["secret", "get", path], b"");
    }
    assert_eq!(requests(), before, "what is no path is not asked for");
    assert!(refused(&proxy, &["secret", "put", "apps/one"], b"no json").contains("--type"));
}

#[test]
fn keys_are_rotated_while_secrets_stay() {
    let proxy = with_bao();
    printed(&proxy, &["secret", "put", "apps/one"], br#"{"n": 1}"#);
    for key in ["root", "tenant"] {
        assert_eq!(told(&proxy, &["seal", "rotate", "--key", key])["key"], key);
        assert_eq!(said(&proxy, &["secret", "get", "apps/one", "--field", "n"]), "1\n");
    }
    assert!(table(&proxy, &["seal", "rotate", "--key", "tenant"]).contains("key  tenant"));
}
