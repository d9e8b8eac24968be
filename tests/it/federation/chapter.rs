//! The federation chapter's own commands, run by a shell as they are printed there; only the address is another one.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{BACKENDS, api, builder, get, stop, text};
use crate::canary::Canaries;
use crate::harness::{ADMIN, Proxy};
use crate::peers;

const PRINTED: &str = "https://scaivault.scailabs.ai";
const VAULT: &str = include_str!("chapter/vault.sh");
const AWS: &str = include_str!("chapter/aws.sh");
const AZURE: &str = include_str!("chapter/azure.json");
const GCP: &str = include_str!("chapter/gcp.json");
const CONFLICTS: &str = include_str!("chapter/conflicts.sh");

/// Runs commands with a token; yields status and document of each request they make.
fn run(proxy: &Proxy, commands: &str) -> Vec<(u16, Value)> {
    assert!(commands.contains(PRINTED), "the commands go nowhere: {commands}");
    let telling = r#"curl() { command curl --silent --show-error --noproxy '*' --max-time 30 --write-out '\n%{http_code}\n' "$@"; }"#;
    let script = format!("set -eu\n{telling}\n{}", commands.replace(PRINTED, &proxy.scaivault()));
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("TOKEN", ADMIN)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("a POSIX shell as `sh` is needed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_ne!(
        output.status.code(),
        Some(127),
        "the chapter's commands need curl (Debian: apt install curl): {errors}"
    );
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let answer = |pair: &[&str]| (pair[1].parse().unwrap(), serde_json::from_str(pair[0]).unwrap_or_default());
    assert_eq!(lines.len() % 2, 0, "{told}");
    lines.chunks(2).map(answer).collect()
}

/// A document of the chapter, sent as its commands send theirs.
fn posted(proxy: &Proxy, document: &str) -> (u16, Value) {
    let answer = proxy.scaivault_call(ADMIN, "POST", BACKENDS, document.as_bytes());
    (answer.status, answer.json())
}

/// Everything in `part` is in `whole` as well.
fn is_within(part: &Value, whole: &Value) -> bool {
    match part {
        Value::Object(fields) => fields.iter().all(|(key, value)| is_within(value, &whole[key.as_str()])),
        other => other == whole,
    }
}

#[test]
fn every_backend_of_the_chapter_is_made_as_printed() {
    let mut proxy = builder("127.0.0.1:1").start();
    let vault = run(&proxy, VAULT);
    let statuses: Vec<u16> = vault.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [201, 201], "{vault:#?}");
    assert_eq!(vault[0].1["path"], "infra/hashicorp/approle");
    let aws = run(&proxy, AWS).remove(0);
    let (azure, gcp) = (posted(&proxy, AZURE), posted(&proxy, GCP));
    for (status, document) in [&aws, &azure, &gcp] {
        assert_eq!(*status, 201, "{document:#}");
    }
    let expected = [
        (&vault[1].1, "hashicorp-production", "hashicorp-vault", "proxy", ["external/hashicorp/**", "secret/data/**"]),
        (&aws.1, "aws-prod-sm", "aws-secrets-manager", "sync", ["external/aws/**", "prod/**"]),
        (&azure.1, "azure-prod-kv", "azure-key-vault", "proxy", ["external/azure/**", "**"]),
        (&gcp.1, "gcp-prod-sm", "google-secret-manager", "sync", ["external/gcp/**", "**"]),
    ];
    let listed = get(&proxy, BACKENDS);
    let listed = listed["backends"].as_array().unwrap();
    assert_eq!(listed.len(), 4, "{listed:#?}");
    for ((document, name, kind, mode, [from, to]), listed) in expected.into_iter().zip(listed) {
        assert_eq!(document, listed, "the list says something else");
        assert_eq!(*document, get(&proxy, &format!("{BACKENDS}/{}", text(document, "id"))));
        let told = ["name", "type", "mode", "source"].map(|key| text(document, key));
        assert_eq!(told, [name, kind, mode, "api"]);
        assert_eq!((&document["read_only"], &document["config_key"]), (&json!(false), &Value::Null));
        let rules = document["path_mapping"].as_array().unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!((&rules[0]["from"], &rules[0]["to"]), (&json!(from), &json!(to)));
    }
    for (printed, shown) in [(AZURE, &azure.1), (GCP, &gcp.1)] {
        let mut printed: Value = serde_json::from_str(printed).unwrap();
        printed["path_mapping"] = shown["path_mapping"].clone();
        assert!(is_within(&printed, shown), "{printed:#}\nis shown as\n{shown:#}");
    }
    assert_eq!((&aws.1["sync_interval"], &gcp.1["sync_interval"]), (&json!("15m"), &json!("30m")));
    assert_eq!(vault[1].1["config"]["namespace"], "acme");
    assert_eq!(aws.1["config"]["role_arn"], "arn:aws:iam::123456789012:role/scaivault-sm-reader");

    // a type without a client in this release is kept and says so
    assert_eq!([&vault[1].1["unsupported"], &aws.1["unsupported"]], [&Value::Null, &Value::Null]);
    for (_, document) in [&azure, &gcp] {
        let at = format!("{BACKENDS}/{}", text(document, "id"));
        assert!(text(document, "unsupported").contains(&text(document, "type")), "{document:#}");
        let status = get(&proxy, &format!("{at}/status"));
        assert_eq!(status["state"], "unsupported", "{status:#}");
        assert!(!text(&status, "reason").is_empty());
        let check = api(&proxy, "POST", &format!("{at}/check"), &Value::Null);
        assert_eq!((check.status, &check.json()["ok"]), (200, &json!(false)), "{}", check.text());
        assert!(!text(&check.json(), "unsupported").is_empty());
        let from = text(&document["path_mapping"][0], "from").replace("**", "one");
        let read = api(&proxy, "GET", &format!("/v1/secrets/{from}"), &Value::Null);
        assert_eq!(read.status, 403, "what nobody serves is not mapped: {}", read.text());
    }

    // and the chapter's look at conflicts, of the backend it belongs to
    let id = text(&aws.1, "id");
    let conflicts = run(&proxy, &CONFLICTS.replace("fed_abc", &id));
    assert_eq!(conflicts, [(200, json!({"conflicts": []}))]);
    let (status, document) = run(&proxy, CONFLICTS).remove(0);
    assert_eq!((status, &document["kind"]), (400, &json!("malformed")), "fed_abc is no id: {document:#}");

    let before = get(&proxy, BACKENDS);
    stop(&mut proxy);
    proxy.start_again();
    assert_eq!(get(&proxy, BACKENDS), before, "they outlive the process");
}

#[test]
fn the_chapters_proxy_reads_from_a_real_server_and_says_nothing_of_its_credential() {
    let bao = peers::openbao();
    let team = &bao.seed["namespace"];
    let proxy = builder(bao.address()).start();
    let secret_id = text(team, "backend_secret_id");
    let commands = VAULT
        .replacen("\"...\"", &format!("\"{}\"", text(team, "backend_role_id")), 1)
        .replacen("\"...\"", &format!("\"{secret_id}\""), 1)
        .replace("https://vault.internal:8200", &bao.addr)
        .replace("\"acme\"", &format!("\"{}\"", text(team, "name")));
    let told = run(&proxy, &commands);
    assert!(told.iter().all(|(status, _)| *status == 201), "{told:#?}");
    let at = format!("{BACKENDS}/{}", text(&told[1].1, "id"));

    let read = api(&proxy, "GET", "/v1/secrets/external/hashicorp/app/db", &Value::Null);
    assert_eq!(read.status, 200, "{}", read.text());
    let secret = read.json();
    assert_eq!(secret["data"]["password"], "made-up-3", "{secret:#}");
    assert_eq!(
        (&secret["source"]["backend"], &secret["source"]["mode"]),
        (&json!("hashicorp-production"), &json!("proxy"))
    );
    let line = proxy.audit_of(&read).remove(0);
    let told_of =
        ["path", "backend", "remote", "mode", "outcome", "cache"].map(|name| line[name].as_str().unwrap_or("-"));
    let expected = ["external/hashicorp/app/db", "hashicorp-production", "secret/data/app/db", "proxy", "ok", "live"];
    assert_eq!(told_of, expected);
    let write = api(&proxy, "PUT", "/v1/secrets/external/hashicorp/app/db", &json!({"data": {"a": 1}}));
    assert_eq!((write.status, &write.json()["kind"]), (403, &json!("read_only")), "{}", write.text());

    let check = api(&proxy, "POST", &format!("{at}/check"), &Value::Null).json();
    assert_eq!((&check["ok"], &check["reachable"]), (&json!(true), &json!(true)), "{check:#}");
    let permissions = json!({"read": true, "list": true, "write": true});
    assert_eq!(check["rules"][0]["permissions"], permissions, "{check:#}");
    let status = get(&proxy, &format!("{at}/status"));
    assert_eq!(status["state"], "healthy", "{status:#}");
    assert!(status["connection_latency_ms"].is_u64(), "{status:#}");

    // a credential that a backend uses is write-only from then on
    for suffix in ["", "?versions=true", "?version=1"] {
        let path = format!("/v1/secrets/infra/hashicorp/approle{suffix}");
        let read = api(&proxy, "GET", &path, &Value::Null);
        assert_eq!(read.status, 403, "{path}: {}", read.text());
    }
    let said = [
        told.iter().map(|(_, document)| document.to_string()).collect::<String>(),
        get(&proxy, BACKENDS).to_string(),
        get(&proxy, &at).to_string(),
        check.to_string(),
        status.to_string(),
        proxy.stderr(),
        std::fs::read_to_string(proxy.dir().join("audit/audit.jsonl")).unwrap(),
    ];
    Canaries::new([("the secret id", secret_id.as_str())]).are_not_in("something said", said.concat().as_bytes());
}
