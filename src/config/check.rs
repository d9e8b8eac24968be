//! What blocks say about each other: addresses, tenants, and credentials that must decide one caller.

use std::collections::HashMap;
use std::hash::Hash;

use super::Config;
use super::address::Address;
use super::listener::{ListenerAuth, ListenerConfig};
use super::raw::Scope;
use super::tenant::TenantConfig;

/// Reports every contradiction between blocks.
pub(super) fn all(config: &Config, scope: &Scope) {
    addresses(config, scope);
    for listener in &config.listeners {
        tenant_of(listener, config, scope);
    }
    namespaces(&config.tenants, scope);
    credentials(&config.tenants, scope);
    warn_of_reachable_sidecar(config, scope);
    if !config.audit.sinks.iter().any(|sink| sink.required) {
        scope.warn("audit.sinks", None, "no sink is required: values leave even when nothing records it");
    }
}

fn addresses(config: &Config, scope: &Scope) {
    let admin = [("admin.address", Some(config.admin.address)), ("admin.ui.address", config.admin.ui)];
    let admin = admin.into_iter().filter_map(|(key, address)| Some((key.to_owned(), None, Address::Tcp(address?))));
    let listeners = config.listeners.iter();
    let listeners = listeners.map(|item| (format!("{}.address", item.key), item.line, item.address.clone()));
    let devices = config.tenants.iter().flat_map(|tenant| &tenant.backends).filter_map(|backend| {
        let address = backend.config.audit_device()?;
        Some((format!("{}.config.audit_device.address", backend.key), backend.line, address.clone()))
    });
    let mut taken: Vec<(String, Address)> = Vec::new();
    for (key, line, address) in listeners.chain(admin).chain(devices) {
        if let Some((earlier, _)) = taken.iter().find(|(_, earlier)| earlier.clashes_with(&address)) {
            scope.refuse(&key, line, format!("cannot be bound beside {earlier}"));
        }
        taken.push((key, address));
    }
}

fn tenant_of(listener: &ListenerConfig, config: &Config, scope: &Scope) {
    let is_workload = listener.auth == ListenerAuth::Workload;
    let refuse =
        |name: &str, message: String| scope.refuse(&format!("{}.{name}", listener.key), listener.line, message);
    match listener.tenant.as_ref().map(|name| config.tenant(name)) {
        None if is_workload => refuse("tenant", "is required: auth: workload is the workload of one tenant".to_owned()),
        Some(None) => refuse("tenant", "names no tenant of this configuration".to_owned()),
        Some(Some(tenant)) if is_workload && tenant.identity.workload.is_none() => {
            refuse("auth", format!("needs {}", tenant.key_of("identity.workload")));
        }
        None | Some(Some(_)) => {}
    }
}

fn namespaces(tenants: &[TenantConfig], scope: &Scope) {
    let all = tenants.iter().flat_map(|tenant| {
        let name = move |at: usize| format!("{}[{at}]", tenant.key_of("namespaces"));
        tenant.namespaces.iter().enumerate().map(move |(at, namespace)| (namespace, name(at), None))
    });
    refuse_repeated(all, "repeats a namespace; a namespace belongs to one tenant", scope);
}

/// A credential decides its tenant and its principal, so it stands in one place.
fn credentials(tenants: &[TenantConfig], scope: &Scope) {
    let all = || tenants.iter().map(|tenant| &tenant.identity);
    let roles = all().flat_map(|identity| &identity.approles);
    let roles = roles.map(|role| (&role.role_id, format!("{}.role_id", role.key), role.line));
    refuse_repeated(roles, "repeats the role_id of an earlier AppRole", scope);
    let tokens = all().flat_map(|identity| &identity.tokens);
    let tokens = tokens.map(|token| (&token.file, format!("{}.file", token.key), token.line));
    refuse_repeated(tokens, "repeats the file of an earlier token", scope);
    let keys = all().flat_map(|identity| &identity.access_keys);
    let keys = keys.map(|key| (&key.file, format!("{}.file", key.key), key.line));
    refuse_repeated(keys, "repeats the file of an earlier access key", scope);
    let certificates = all().flat_map(|identity| &identity.certificates);
    let certificates = certificates.map(|entry| (&entry.san, format!("{}.san", entry.key), entry.line));
    refuse_repeated(certificates, "repeats the name of an earlier certificate", scope);
}

fn refuse_repeated<T: Eq + Hash>(all: impl Iterator<Item = (T, String, Option<u32>)>, why: &str, scope: &Scope) {
    let mut seen: HashMap<T, String> = HashMap::new();
    for (value, key, line) in all {
        match seen.get(&value) {
            Some(earlier) => scope.refuse(&key, line, format!("{why} ({earlier})")),
            None => {
                seen.insert(value, key);
            }
        }
    }
}

/// A file with a workload identity is a sidecar's, whose listeners are for its own pod.
fn warn_of_reachable_sidecar(config: &Config, scope: &Scope) {
    if config.tenants.iter().all(|tenant| tenant.identity.workload.is_none()) {
        return;
    }
    for listener in config.listeners.iter().filter(|listener| !listener.address.is_local()) {
        let message = "is reachable from outside in a configuration with a workload identity: use 127.0.0.1 or unix:";
        scope.warn(&format!("{}.address", listener.key), listener.line, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::harness::{accepted, listening, refused, refuses, with};

    #[test]
    fn o05_listeners_do_not_share_an_address() {
        let twice = "- {wire: vault, address: '127.0.0.1:9000'}\n- {wire: scaivault, address: '0.0.0.0:9000'}";
        refuses(&listening(twice, ""), "listeners[1].address", "cannot be bound beside listeners[0].address");
        let admin = "- {wire: vault, address: 'localhost:8449'}";
        refuses(&listening(admin, ""), "admin.address", "beside listeners[0].address");
        let sockets = "- {wire: vault, address: 'unix:/run/a'}\n- {wire: aws, account: '123456789012', region: eu-west-1, \
                       address: 'unix:/run/a'}";
        refuses(&listening(sockets, ""), "listeners[1].address", "cannot be bound");
        let device = |name: &str, address: &str| {
            format!(
                "- {{name: {name}, type: hashicorp-vault, mode: sync, path_mapping: [{{from: {name}, to: b}}], config: \
                 {{endpoint: 'https://v', auth_method: kubernetes, role: r, audit_device: {{address: '{address}'}}}}}}\n"
            )
        };
        let twice = format!("backends:\n{}{}", device("one", "unix:/run/a"), device("two", "unix:/run/a"));
        refuses(&with(&twice), "backends[1].config.audit_device.address", "beside backends[0].config.audit_device");
        let admin = format!("backends:\n{}", device("one", "127.0.0.1:8449"));
        refuses(&with(&admin), "backends[0].config.audit_device.address", "beside admin.address");
        accepted(&with(&format!("backends:\n{}{}", device("one", "unix:/run/a"), device("two", "unix:/run/b"))));
        accepted(&listening(
            "- {wire: vault, address: '127.0.0.1:0'}\n- {wire: scaivault, address: '127.0.0.1:0'}",
            "",
        ));
    }

    #[test]
    fn listeners_belong_to_a_tenant_that_exists() {
        refuses(&listening("- {wire: vault, tenant: other}", ""), "listeners[0].tenant", "names no tenant");
        refuses(
            "version: 1\nlisteners: [{wire: vault, auth: workload}]\ntenants: {a: {identity: {workload: {principal: p}}}}\n",
            "listeners[0].tenant",
            "is required",
        );
        refuses(&listening("- {wire: vault, auth: workload}", ""), "listeners[0].auth", "needs identity.workload");
        refuses(
            "version: 1\nlisteners: [{wire: vault, auth: workload, tenant: a}]\ntenants: {a: {}}\n",
            "listeners[0].auth",
            "needs tenants.a.identity.workload",
        );
        accepted(&listening("- {wire: vault, auth: workload}", "identity: {workload: {principal: ns/sa}}"));
    }

    #[test]
    fn a_namespace_and_a_credential_decide_one_tenant() {
        let shared =
            "version: 1\nlisteners: [{wire: vault}]\ntenants:\n  a: {namespaces: [x, y]}\n  b: {namespaces: [y]}\n";
        refuses(shared, "tenants.b.namespaces[0]", "a namespace belongs to one tenant (tenants.a.namespaces[1])");
        let role = "identity: {approles: [{principal: p, role_id: r-1, secret_id_files: [f]}]}";
        let token = "identity: {tokens: [{principal: p, file: t}]}";
        for (entry, key) in [(role, "approles[0].role_id"), (token, "tokens[0].file")] {
            let text =
                format!("version: 1\nlisteners: [{{wire: vault}}]\ntenants:\n  a:\n    {entry}\n  b:\n    {entry}\n");
            refuses(&text, &format!("tenants.b.identity.{key}"), "repeats the");
        }
        let found = refused(&with("identity: {certificates: [{san: a, principal: p}, {san: a, principal: q}]}"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn o07_reachable_listeners_are_warned_of() {
        let text = listening(
            "- {wire: vault, address: '0.0.0.0:8441'}\n- {wire: scaivault}",
            "identity: {workload: {principal: p}}\naudit: {sinks: [{type: stdout, required: false}]}",
        );
        let warnings: Vec<_> = accepted(&text).warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 3, "{warnings:#?}");
        assert!(warnings[0].starts_with("listeners[0] (line 4): listens on a network address without tls"));
        assert!(warnings[1].starts_with("listeners[0].address (line 4): is reachable from outside"));
        assert!(warnings[2].starts_with("audit.sinks: no sink is required"));
    }
}
