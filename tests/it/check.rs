//! `check` and `serve` say the same: a configuration one of them refuses the other refuses too, by the same key.

use std::process::Command;

use crate::harness::{BASIC, Proxy, ProxyBuilder};

/// What is wrong, the key that must be named, and the configuration.
type Row = (&'static str, &'static str, String);

fn replaced(part: &str, by: &str) -> String {
    assert!(BASIC.contains(part), "{part}");
    BASIC.replace(part, by)
}

/// [`BASIC`] with more under `identity`.
fn identity(more: &str) -> String {
    replaced("identity:\n", &format!("identity:\n{more}\n"))
}

fn certificates(sans: &[&str]) -> String {
    let entry = |san: &&str| format!("    - {{san: '{san}', principal: t/certificate}}\n");
    identity(&format!("  certificates:\n{}", sans.iter().map(entry).collect::<String>()))
}

/// One issuer, its keys to be found by discovery: nothing is fetched before a token comes.
fn issuer(keys: &str) -> String {
    identity(&format!("  jwt: [{{issuer: 'https://issuer.example', audiences: [scaivault], {keys}}}]"))
}

/// [`BASIC`] with the vault listener elsewhere or otherwise.
fn vault_listener(keys: &str) -> String {
    replaced("    address: {vault}\n", keys)
}

/// [`BASIC`] with a backend.
fn backend(endpoint: &str, credential: &str, rule: &str) -> String {
    format!(
        "{BASIC}secrets: {{infra/backend: {{file: {{dir}}/backend.json}}}}\nbackends:\n- name: one\n  \
         type: hashicorp-vault\n  config: {{endpoint: '{endpoint}', auth_method: token, auth_config_path: {credential}}}\n  \
         path_mapping: [{{{rule}}}]\n"
    )
}

/// A tenant's own keys stand under its name.
const TENANT: &str = r#"
version: 1
audit: {sinks: [{type: file, path: {dir}/audit/audit.jsonl}]}
admin: {address: {admin}}
listeners: [{wire: vault, address: {vault}}]
tenants:
  pay:
    identity: {certificates: [{san: "spiffe://it/payments", principal: t/certificate}]}
"#;

fn of_identity() -> Vec<Row> {
    let workload = "  workload: {principal: 'a//b'}";
    let approle = "  approles: [{principal: 'r!', role_id: role-one, secret_id_files: [{dir}/secret-id]}]";
    vec![
        ("a name without its kind", "identity.certificates[0].san", certificates(&["spiffe://it/payments"])),
        ("a wildcard name", "identity.certificates[0].san", certificates(&["dns:*.example"])),
        ("no address", "identity.certificates[0].san", certificates(&["ip:localhost"])),
        ("one name twice", "identity.certificates[1].san", certificates(&["dns:A.example", "dns:a.example"])),
        ("two claims in one segment", "identity.jwt[0].principal", issuer("principal: '{{a}}{{b}}'")),
        ("a reserved principal", "identity.jwt[0].principal", issuer("principal: 'system/{{sub}}'")),
        ("no group", "identity.jwt[0].groups[0]", issuer("principal: '{{sub}}', groups: ['a,b']")),
        ("no folder", "identity.jwt[0].folders[0]", issuer("principal: '{{sub}}', folders: ['a//{{sub}}']")),
        ("no principal", "identity.tokens[0].principal", replaced("t/reader", "'t/read!er'")),
        ("no group", "identity.tokens[0].groups[0]", replaced("[readers]", "['a,b']")),
        ("no principal", "identity.approles[0].principal", identity(approle)),
        ("no principal", "identity.workload.principal", identity(workload)),
        ("no principal", "identity.revoked[0]", identity("  revoked: ['a!b']")),
        ("no time", "identity.token_ttl", identity("  token_ttl: 0s")),
        ("no namespace", "namespaces[0]", format!("{BASIC}namespaces: [root]\n")),
        ("a name without its kind", "tenants.pay.identity.certificates[0].san", TENANT.to_owned()),
    ]
}

fn of_backends() -> Vec<Row> {
    let (here, stored) = ("http://127.0.0.1:1", "infra/backend");
    vec![
        (
            "a wildcard on one side",
            "backends[0].path_mapping[0].to",
            backend(here, stored, "from: 'live/**', to: secret/data/one"),
        ),
        (
            "KV version 2 without its marker",
            "backends[0].path_mapping[0].to",
            backend(here, stored, "from: 'live/**', to: 'secret/**', kv_version: 2"),
        ),
        (
            "a local folder in a rule's reach",
            "store.local[0]",
            backend(here, stored, "from: '**', to: 'secret/data/**'"),
        ),
        (
            "a live path prefetched",
            "prefetch.paths[0]",
            format!(
                "{}prefetch: {{paths: [live/x]}}\n",
                backend(here, stored, "from: 'live/**', to: 'secret/data/**'")
            ),
        ),
        (
            "a credential that is nowhere",
            "backends[0].config.auth_config_path",
            backend(here, "infra/other", "from: 'live/**', to: 'secret/data/**'"),
        ),
        (
            "a credential in the clear",
            "backends[0].config.endpoint",
            backend("http://vault.example:8200", stored, "from: 'live/**', to: 'secret/data/**'"),
        ),
    ]
}

fn of_listeners() -> Vec<Row> {
    let open = "    address: 0.0.0.0:1\n    auth: workload\n";
    let nobody = "    address: {vault}\n    auth: workload\n";
    let socket = "    address: unix:{dir}/socket\n    tls: {certificate: {dir}/tls.crt, key: {dir}/tls.key}\n";
    vec![
        ("a wildcard on one side", "listeners[1].paths[0].to", replaced(r#"to: "**""#, "to: apps")),
        ("a workload anybody reaches", "listeners[1]", vault_listener(open)),
        ("a workload without a name", "listeners[1].auth", vault_listener(nobody)),
        ("an address twice", "listeners[1].address", vault_listener("    address: {scaivault}\n")),
        ("TLS on a Unix socket", "listeners[1].tls", vault_listener(socket)),
    ]
}

fn builder(config: &str) -> ProxyBuilder {
    let builder = Proxy::builder().config(config);
    builder.file("backend.json", r#"{"token":"token-of-the-proxy-0001"}"#).file("secret-id", "secret-id-of-the-check")
}

/// Whether `check` accepts it, and what it says.
fn check(builder: &mut ProxyBuilder) -> (bool, String) {
    let file = builder.write_config();
    let output =
        Command::new(env!("CARGO_BIN_EXE_scaivault-proxy")).args(["check", "--config"]).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn o05_what_serve_would_refuse_check_refuses_by_the_same_key() {
    let mut wrong = Vec::new();
    for (note, key, config) in [of_identity(), of_backends(), of_listeners()].concat() {
        let mut builder = builder(&config);
        let (accepted, said) = check(&mut builder);
        if accepted || !said.contains(key) {
            wrong.push(format!("{note}: check (accepted: {accepted}) does not name {key}:\n{said}"));
        }
        match builder.try_start() {
            Ok(_) => wrong.push(format!("{note}: it is served, {key} or not")),
            Err(ended) if !ended.stderr.contains(key) => {
                wrong.push(format!("{note}: serve does not name {key}:\n{}", ended.stderr));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_check_accepts_is_served() {
    let good = backend("http://127.0.0.1:1", "infra/backend", "from: 'live/**', to: 'secret/data/**'");
    let identities = "identity:\n  certificates: [{san: 'uri:spiffe://it/payments', principal: t/certificate}]\n  \
                      jwt: [{issuer: 'https://issuer.example', audiences: [scaivault], principal: '{{a}}/{{b}}'}]\n";
    let mut builder = builder(&good.replace("identity:\n", identities));
    let (accepted, said) = check(&mut builder);
    assert!(accepted, "{said}");
    builder.start();
}
