//! A proxy in front of a mount: its configuration, its clients, and who hears of its events.

use serde_json::{Value, json};

use super::source::{self, Source};
use crate::harness::{ADMIN, Proxy, ProxyBuilder, Response, config, wait_until};
use crate::stub::{Seen, Stub};

/// What all configurations of this suite begin with. The vault wire shows secret paths below `secret/`, KV version 2.
const HEAD: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
identity:
  tokens: [{principal: t/admin, groups: [admins], file: {dir}/admin.token}]
policies: [{dir}/policies.cedar]
secrets:
  infra/openbao: {file: {dir}/openbao.json}
  infra/hook: {file: {dir}/hook.key}
seal: {provider: file, path: {dir}/seal.key}
"#
);
/// The file the suite's stores are in.
pub(super) const STORE: &str = "path: {dir}/store/store.redb";
/// Base64 of 32 bytes.
pub(super) const SEAL_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\n";
const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const HOOK_KEY: &str = "the-key-of-the-webhook-of-the-sync-suite";

/// A configuration: the keys of `store`, then whatever else, at top level.
pub(super) fn config(store: &str, rest: &str) -> String {
    format!("{HEAD}store: {{{store}}}\n{rest}")
}

/// `backends:` with these.
pub(super) fn backends(all: &[String]) -> String {
    format!("backends:\n{}", all.concat())
}

/// One backend: its keys line by line, then its rules, each a flow mapping without its braces.
pub(super) fn backend(name: &str, address: &str, keys: &[&str], rules: &[String]) -> String {
    let mut text = format!(
        "  - name: {name}\n    type: hashicorp-vault\n    config: {{endpoint: 'http://{address}', auth_method: token, \
         auth_config_path: infra/openbao}}\n"
    );
    for key in keys {
        text.push_str(&format!("    {key}\n"));
    }
    text.push_str("    path_mapping:\n");
    for rule in rules {
        text.push_str(&format!("      - {{{rule}}}\n"));
    }
    text
}

/// The rule of a folder that has the same name in the mount, with further keys or none.
pub(super) fn rule(source: &Source, folder: &str, further: &str) -> String {
    let comma = if further.is_empty() { "" } else { ", " };
    format!("from: '{folder}/**', to: '{}/data/{folder}/**'{comma}{further}", source.mount)
}

/// A proxy with the credential of a mount.
pub(super) fn proxy(source: &Source, config: &str) -> Proxy {
    with_files(Proxy::builder(), source).config(config).start()
}

/// The files every configuration of the suite names.
pub(super) fn with_files(builder: ProxyBuilder, source: &Source) -> ProxyBuilder {
    builder
        .file("openbao.json", json!({"token": source.token}).to_string())
        .file("hook.key", HOOK_KEY)
        .file("seal.key", SEAL_KEY)
}

/// Puts another configuration in force.
pub(super) fn reload(proxy: &mut Proxy, config: &str) {
    let before = generation(proxy);
    proxy.write_config(config);
    wait_until(SOON, "the new configuration", || generation(proxy) > before);
}

/// Tries to put another configuration in force, which is refused and changes nothing.
pub(super) fn reload_in_vain(proxy: &mut Proxy, config: &str) {
    let before = generation(proxy);
    proxy.write_config(config);
    wait_until(SOON, "the rejection", || proxy.metric("scaivault_config_rejected", &[]) == Some(1.0));
    assert_eq!(generation(proxy), before);
}

/// The number of the configuration in force.
fn generation(proxy: &Proxy) -> u64 {
    let response = proxy.scaivault_call(ADMIN, "GET", "/v1/federation/backends", b"");
    proxy.audit_of(&response)[0]["config_generation"].as_u64().unwrap()
}

/// A read-like or other call over the vault wire: an area, and a secret path with its query.
pub(super) fn vault(proxy: &Proxy, method: &str, area: &str, path: &str, body: &Value) -> Response {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    proxy.vault_call(ADMIN, method, &format!("/v1/secret/{area}/{path}"), &bytes)
}

/// Writes a version over the vault wire.
pub(super) fn put(proxy: &Proxy, path: &str, body: &Value) -> Response {
    vault(proxy, "POST", "data", path, body)
}

/// What a client of the vault wire learns from a read, as [`source::told`].
pub(super) fn told(proxy: &Proxy, path: &str) -> Value {
    source::told(&vault(proxy, "GET", "data", path, &Value::Null))
}

/// The current value over the vault wire; null if there is none.
pub(super) fn value(proxy: &Proxy, path: &str) -> Value {
    told(proxy, path)["data"].clone()
}

/// The custom metadata and versions over the vault wire, as [`source::described`].
pub(super) fn described(proxy: &Proxy, path: &str) -> Value {
    source::described(&vault(proxy, "GET", "metadata", path, &Value::Null))
}

/// The names of a folder over the vault wire; the folder ends in a slash.
pub(super) fn names(proxy: &Proxy, folder: &str) -> Value {
    source::names(&vault(proxy, "GET", "metadata", &format!("{folder}?list=true"), &Value::Null))
}

/// A read over the scaivault wire.
pub(super) fn secret(proxy: &Proxy, path: &str) -> Response {
    proxy.scaivault_call(ADMIN, "GET", &format!("/v1/secrets/{path}"), b"")
}

/// The word of the trail for how a read was answered: `hit`, `stale`, `miss`, `live`.
pub(super) fn cache(proxy: &Proxy, response: &Response) -> String {
    let lines = proxy.audit_of(response);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0]["cache"].as_str().unwrap_or_default().to_owned()
}

/// A read over the vault wire, and how it was answered.
pub(super) fn read(proxy: &Proxy, path: &str) -> (u16, String) {
    let response = vault(proxy, "GET", "data", path, &Value::Null);
    let cache = cache(proxy, &response);
    (response.status, cache)
}

/// Whoever is told of events.
pub(super) struct Ear(Stub);

impl Ear {
    pub(super) fn open() -> Self {
        Self(Stub::start(|_: &Seen| (204, String::new())))
    }

    /// What the configuration says of it, at top level.
    pub(super) fn config(&self) -> String {
        format!("events: {{webhooks: [{{url: 'http://{}/events', secret_path: infra/hook}}]}}\n", self.0.address())
    }

    /// The events of a type, each once however often it was delivered.
    pub(super) fn heard(&self, kind: &str) -> Vec<Value> {
        let mut heard: Vec<Value> = Vec::new();
        for seen in self.0.seen() {
            let event: Value = serde_json::from_slice(&seen.body).unwrap();
            if event["type"] == kind && !heard.iter().any(|known| known["id"] == event["id"]) {
                heard.push(event);
            }
        }
        heard
    }
}
