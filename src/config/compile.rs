//! The document as a whole: which block is read by whom, and whether tenant keys stand at top level or under `tenants`.

use super::Config;
use super::check;
use super::raw::{Block, Item, Scope};
use super::store::LocalConfig;
use super::tenant::{self, TenantConfig};
use super::{audit, listener, process, seal, store};
use crate::secret::Tenant;

/// Tenant keys other than those in `store`.
const TENANT_KEYS: [&str; 9] =
    ["namespaces", "identity", "policies", "secrets", "prefetch", "federation", "limits", "events", "backends"];
/// Tenant keys in `store`.
const STORE_KEYS: [&str; 2] = ["local", "max_versions"];

/// Reads the document and checks it. `None`, or problems in `scope`, mean that it is wrong.
pub(super) fn document(root: &Item<'_>, scope: &Scope) -> Option<Config> {
    root.block(|block| {
        version(block);
        let store = block.optional("store");
        let (process, local) = store.as_ref().and_then(store::top_level).unwrap_or_default();
        let durable = process.path.is_some();
        let seal = block.optional("seal").and_then(|item| seal::compile(&item));
        if durable && process.state.is_none() && !block.holds("seal") {
            scope.refuse("seal", Some(block.line()), "is required with store.path: nothing else keeps the root key");
        }
        // A key service is logged in to before any tenant has secrets, so its credentials are not looked up there.
        let _ = scope.take_references();
        let audit = block.optional("audit").and_then(|item| audit::compile(&item)).unwrap_or_default();
        let server = block.optional("server").and_then(|item| process::server(&item)).unwrap_or_default();
        let intercept = block.optional("intercept").and_then(|item| process::intercept(&item)).unwrap_or_default();
        let admin = block.optional("admin").and_then(|item| process::admin(&item)).unwrap_or_default();
        let mut listeners = match block.required("listeners") {
            Some(_) => block.some("listeners", listener::compile),
            None => Vec::new(),
        };
        let tenants = tenants(block, store.as_ref(), local, durable);
        if tenants.iter().any(|tenant| tenant.tenant == Tenant::default_tenant()) {
            for listener in &mut listeners {
                listener.tenant.get_or_insert_with(Tenant::default_tenant);
            }
        }
        let warnings = Vec::new();
        let config = Config { store: process, seal, audit, server, intercept, admin, listeners, tenants, warnings };
        check::all(&config, scope);
        Some(config)
    })
}

fn version(block: &mut Block<'_>) {
    let Some(item) = block.required("version") else { return };
    if item.count::<u64>().is_some_and(|version| version != 1) {
        item.refuse("expected 1: this release reads version 1 of the configuration");
    }
}

fn tenants(block: &mut Block<'_>, store: Option<&Item<'_>>, local: LocalConfig, durable: bool) -> Vec<TenantConfig> {
    let Some(item) = block.optional("tenants") else {
        return vec![tenant::compile(block, Tenant::default_tenant(), local, durable)];
    };
    report_both(block, store, &item);
    let Some(entries) = item.entries() else { return Vec::new() };
    if entries.is_empty() {
        item.refuse("names no tenant; remove the key to have one named default");
    }
    let compile = |(name, entry): &(&str, Item<'_>)| {
        let name = Tenant::parse(name).map_err(|why| entry.refuse(why.to_string())).ok();
        // A tenant without a usable name is read all the same, to find what else is wrong with it.
        let stand_in = name.clone().unwrap_or_else(Tenant::default_tenant);
        let tenant = entry.block(|block| Some(tenant::nested(block, stand_in, durable)));
        name.and(tenant)
    };
    entries.iter().filter_map(compile).collect()
}

fn report_both(block: &mut Block<'_>, store: Option<&Item<'_>>, tenants: &Item<'_>) {
    let mut keys: Vec<String> =
        TENANT_KEYS.iter().filter(|name| block.holds(name)).map(|name| (*name).to_owned()).collect();
    if let Some(store) = store {
        let held = STORE_KEYS.iter().filter(|name| store.holds(name));
        keys.extend(held.map(|name| format!("store.{name}")));
    }
    block.skip(&TENANT_KEYS);
    if !keys.is_empty() {
        let message = format!("excludes tenant keys at top level; move under a tenant: {}", keys.join(", "));
        tenants.refuse(message);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::config::harness::{accepted, refused};
    use crate::config::{
        AdminConfig, AuditConfig, BackendConfig, Config, MountKind, ServerCaps, StoreConfig, compile_text,
    };
    use crate::secret::{SyncScope, Tenant};

    #[test]
    fn defaults_are_filled() {
        let config = accepted("version: 1\nlisteners: [{wire: vault}]\n");
        assert_eq!(config.server, ServerCaps::default());
        assert_eq!((&config.admin, &config.store), (&AdminConfig::default(), &StoreConfig::default()));
        assert_eq!(config.audit, AuditConfig::default());
        assert_eq!(config.server.body_bytes, 2_097_152);
        assert_eq!(config.server.drain, Duration::from_secs(20));
        let listener = &config.listeners[0];
        assert_eq!(listener.address.to_string(), "127.0.0.1:8441");
        assert_eq!(listener.tenant, Some(Tenant::default_tenant()));
        assert_eq!((listener.mounts[0].path.as_str(), listener.mounts[0].kind), ("secret", MountKind::Kv2));
        let tenant = &config.tenants[0];
        assert_eq!((tenant.value_bytes, tenant.local.max_versions), (1_048_576, 10));
        assert_eq!(tenant.prefetch.deadline, Duration::from_secs(20));
        assert_eq!(tenant.identity.token_max_ttl, Duration::from_secs(86_400));
        assert_eq!(config.warnings.len(), 1);
        assert_eq!(config.warnings[0].key, "policies");
    }

    #[test]
    fn o05_unknown_keys_at_every_depth_are_found_at_once() {
        let text = "\
version: 1
verifi: true
listeners:
  - {wire: vault, adress: x}
backends:
  - name: a
    type: hashicorp-vault
    config: {endpoint: https://v, auth_method: token, auth_config_path: infra/t, tls_verifi: true}
    path_mapping: [{from: a/**, to: secret/data/**, fallbak: []}]
secrets: {infra/t: {file: t, typ: text}}
";
        let found = refused(text);
        let keys: Vec<_> = found.iter().map(|line| line.split(": unknown key").next().unwrap()).collect();
        assert_eq!(
            keys,
            [
                "verifi (line 2)",
                "listeners[0].adress (line 4)",
                "backends[0].config.tls_verifi (line 8)",
                "backends[0].path_mapping[0].fallbak (line 9)",
                "secrets[\"infra/t\"].typ (line 10)",
            ]
        );
        assert!(found[0].contains("known here: version, store, "), "{}", found[0]);
    }

    #[test]
    fn o05_problems_of_every_sort_are_found_in_one_pass_and_show_no_value() {
        let text = "\
version: canary-1
listeners:
  - {wire: canary-2, address: canary-3}
server: {drain: canary-4, connections: 0, body_bytes: \"canary-5\"}
limits: {value_bytes: [canary-6]}
limits: {value_bytes: canary-7}
identity: {tokens: {canary: canary-8}}
backends:
  - {name: 'canary 9', type: hashicorp-vault, mode: canary-10, config: {endpoint: 'https://u:canary-11@h'}}
";
        let found = refused(text);
        for key in [
            "version (line 1)",
            "listeners[0].wire (line 3)",
            "listeners[0].address (line 3)",
            "server.drain (line 4)",
            "server.connections (line 4)",
            "server.body_bytes (line 4)",
            "limits.value_bytes (line 5)",
            "limits (line 6): duplicate key",
            "identity.tokens (line 7): expected a list, found a mapping",
            "backends[0].name (line 9)",
            "backends[0].mode (line 9): expected one of: proxy, sync",
            "backends[0].config.endpoint (line 9): must not hold credentials",
            "backends[0].config.auth_method (line 9): is required",
        ] {
            assert!(found.iter().any(|line| line.starts_with(key)), "{key}: {found:#?}");
        }
        assert!(!found.iter().any(|line| line.contains("canary-")), "{found:#?}");
    }

    #[test]
    fn tenant_keys_stand_in_one_place() {
        let text = "\
version: 1
listeners: [{wire: vault}]
store: {local: [a], cache_bytes: 1}
policies: [x]
backends: []
tenants: {a: {}, b: {}}
";
        let found = refused(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("tenants (line 6): "));
        assert!(found[0].ends_with("move under a tenant: policies, backends, store.local"), "{}", found[0]);
    }

    #[test]
    fn tenants_have_the_tenant_keys_and_no_others() {
        let config = accepted(
            "version: 1\nlisteners: [{wire: vault}]\ntenants: {a: {store: {local: [x], max_versions: 3}, policies: [p]}}\n",
        );
        assert_eq!(config.tenants[0].local.max_versions, 3);
        assert_eq!(config.tenants[0].policies, [Path::new("/etc/proxy/p")]);
        assert_eq!(config.tenants[0].key_of("policies"), "tenants.a.policies");
        assert_eq!(config.listeners[0].tenant, None);

        let found =
            refused("version: 1\nlisteners: [{wire: vault}]\ntenants: {A: {}, b: {store: {path: x}, server: {}}}\n");
        for key in
            ["tenants.A (line 3): a tenant is", "tenants.b.store.path (line 3): unk", "tenants.b.server (line 3): unk"]
        {
            assert!(found.iter().any(|line| line.starts_with(key)), "{key}: {found:#?}");
        }
        let found = refused("version: 1\nlisteners: [{wire: vault}]\ntenants: {}\n");
        assert!(found[0].starts_with("tenants (line 3): names no tenant"));
        let found = refused("version: 1\nlisteners: [{wire: vault}]\ntenants: {a: {}, a: {}}\n");
        assert!(found[0].starts_with("tenants.a (line 3): duplicate key"));
    }

    #[test]
    fn a_document_has_version_1_and_a_listener() {
        assert_eq!(refused("audit: {}\n"), ["version (line 1): is required", "listeners (line 1): is required"]);
        assert!(refused("version: 2\nlisteners: [{wire: vault}]\n")[0].starts_with("version (line 1): expected 1"));
        assert!(refused("version: 1\nlisteners: []\n")[0].starts_with("listeners (line 2): is an empty list"));
        assert!(refused("[]")[0].starts_with("(document) (line 1): expected a mapping"));
        let found = refused("version: 1\nlisteners: [{wire: vault}]\nserver:\n");
        assert!(found[0].starts_with("server (line 3): has no value"));
    }

    #[test]
    fn json_is_accepted() {
        let config =
            accepted("{\"version\": 1, \"listeners\": [{\"wire\": \"scaivault\", \"address\": \"unix:/run/p\"}]}");
        assert!(config.listeners[0].address.is_local());
    }

    #[test]
    fn a_durable_store_needs_a_seal_and_syncs_all() {
        let found = refused("version: 1\nlisteners: [{wire: vault}]\nstore: {path: s}\n");
        assert!(found[0].starts_with("seal (line 1): is required with store.path"), "{found:?}");
        let backend = "backends: [{name: a, type: aws-secrets-manager, mode: sync, config: {region: eu-west-1}, \
                       path_mapping: {'a/**': 'b/**'}}]\n";
        let durable = format!(
            "version: 1\nlisteners: [{{wire: vault}}]\nstore: {{path: s}}\nseal: {{provider: env, variable: K}}\n{backend}"
        );
        assert_eq!(accepted(&durable).tenants[0].backends[0].sync_scope, SyncScope::All);
        let memory = format!("version: 1\nlisteners: [{{wire: vault}}]\n{backend}");
        let backend = accepted(&memory).tenants.remove(0).backends.remove(0);
        assert_eq!(backend.sync_scope, SyncScope::Demand);
        assert!(backend.from_object && matches!(backend.config, BackendConfig::AwsSecretsManager(_)));
    }

    #[test]
    fn a_configuration_made_in_code_starts_from_the_same_defaults() {
        let config = Config::default();
        assert_eq!(config.tenants[0].tenant, Tenant::default_tenant());
        assert!(config.not_built().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_answered_with_a_configuration_or_with_problems(text in "[ -~\n]{0,200}") {
            if let Err(problems) = compile_text(&text, Path::new("/")) {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| !problem.to_string().contains('\n')));
            }
        }
    }
}
