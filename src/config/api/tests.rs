use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::compile_text;
use crate::secret::{Folder, Mode, SyncScope};

/// The backend bodies of the federation chapter, as printed there.
const CHAPTER: [(&str, &str); 4] = [
    (
        "hashicorp-vault",
        r#"{
    "name": "hashicorp-production",
    "type": "hashicorp-vault",
    "config": {
      "endpoint": "https://vault.internal:8200",
      "auth_method": "approle",
      "auth_config_path": "infra/hashicorp/approle",
      "tls_verify": true,
      "namespace": "acme"
    },
    "path_mapping": {
      "external/hashicorp/**": "secret/data/**"
    },
    "mode": "proxy"
  }"#,
    ),
    (
        "aws-secrets-manager",
        r#"{
    "name": "aws-prod-sm",
    "type": "aws-secrets-manager",
    "config": {
      "region": "us-east-1",
      "credentials_path": "infra/aws/sm/reader",
      "role_arn": "arn:aws:iam::123456789012:role/scaivault-sm-reader"
    },
    "path_mapping": {
      "external/aws/**": "prod/**"
    },
    "mode": "sync",
    "sync_interval": "15m"
  }"#,
    ),
    (
        "azure-key-vault",
        r#"{
  "name": "azure-prod-kv",
  "type": "azure-key-vault",
  "config": {
    "vault_url": "https://acme-prod.vault.azure.net",
    "auth_method": "managed_identity"
  },
  "path_mapping": {
    "external/azure/**": "**"
  },
  "mode": "proxy"
}"#,
    ),
    (
        "google-secret-manager",
        r#"{
  "name": "gcp-prod-sm",
  "type": "google-secret-manager",
  "config": {
    "project_id": "acme-prod",
    "credentials_path": "infra/gcp/sm/reader-sa"
  },
  "path_mapping": {
    "external/gcp/**": "**"
  },
  "mode": "sync",
  "sync_interval": "30m"
}"#,
    ),
];

fn vault() -> Value {
    json!({
        "name": "v", "type": "hashicorp-vault",
        "config": {"endpoint": "https://v", "auth_method": "token", "auth_config_path": "infra/t"},
        "path_mapping": [{"from": "a/**", "to": "secret/data/**"}],
    })
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

fn refused(body: &Value) -> Vec<Problem> {
    compile_backend(&body.to_string(), false).unwrap_err()
}

#[test]
fn the_chapters_examples_compile_as_printed() {
    for (kind, text) in CHAPTER {
        let settings = compile_backend(text, true).unwrap_or_else(|found| panic!("{kind}: {found:#?}"));
        assert_eq!(settings.config.backend_type().as_str(), kind);
        assert!(settings.from_object && settings.path_mapping.len() == 1 && settings.line.is_none());
        assert_eq!(settings.sync_scope, SyncScope::All);
        let is_built = matches!(kind, "hashicorp-vault" | "aws-secrets-manager");
        assert_eq!(why_unsupported(&settings).is_none(), is_built, "{kind}");
        // what passes through a JSON library and our own kept form means the same
        let body: Value = serde_json::from_str(text).unwrap();
        let again = compile_backend(&kept_body(&body).to_string(), true).unwrap();
        assert_eq!(describe_backend(&again), describe_backend(&settings));
        assert!(describe_backend(&settings)["path_mapping"].is_array());
    }
    let aws = compile_backend(CHAPTER[1].1, false).unwrap();
    assert_eq!(
        (aws.mode, aws.sync_interval, aws.sync_scope),
        (Mode::Sync, Duration::from_secs(900), SyncScope::Demand)
    );
}

#[test]
fn problems_are_keyed_by_the_path_in_the_body() {
    let mut body = vault();
    body["path_mapping"] = json!([{"from": "a", "to": "b", "mode": "no"}, {"from": "a"}]);
    body["modes"] = json!("proxy");
    body["config"]["endpoint"] = json!("http://v");
    body["mode"] = Value::Null;
    let found = refused(&body);
    let mut keys = keys(&found);
    keys.sort_unstable();
    assert_eq!(keys, ["config.endpoint", "mode", "modes", "path_mapping[0].mode", "path_mapping[1].to"]);
    assert!(found.iter().all(|problem| problem.line.is_none()));
    let object = json!({"external/a b/**": 5});
    body = vault();
    body["path_mapping"] = object;
    assert_eq!(self::keys(&refused(&body)), ["path_mapping[\"external/a b/**\"]"]);
}

#[test]
fn m10_duplicate_keys_are_refused_at_any_depth() {
    let text = vault().to_string();
    for (from, to) in [
        (r#""name":"v""#, r#""name":"v","name":"w""#),
        (r#""auth_method":"token""#, r#""auth_method":"token","auth_method":"approle""#),
        (r#""from":"a/**""#, r#""from":"a/**","from":"b/**""#),
    ] {
        let found = compile_backend(&text.replace(from, to), false).unwrap_err();
        assert!(found.iter().any(|problem| problem.message.contains("duplicate key")), "{to}: {found:?}");
    }
    for text in ["", "[]", "text", "{} {}", "a: &a {b: *a}"] {
        assert!(!compile_backend(text, false).unwrap_err().is_empty(), "{text}");
    }
}

#[test]
fn no_message_shows_a_value() {
    let mut body = vault();
    body["config"]["auth_config_path"] = json!("canary canary");
    body["config"]["role"] = json!("canary-role");
    body["config"]["namespace"] = json!("canary/..");
    body["mode"] = json!("canary-mode");
    body["max_versions"] = json!("canary-count");
    for problem in refused(&body) {
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
}

#[test]
fn sockets_of_the_machine_are_not_the_apis_to_open() {
    let mut body = vault();
    body["mode"] = json!("sync");
    body["config"]["audit_device"] = json!({"address": "127.0.0.1:9000"});
    let found = refused(&body);
    assert_eq!(keys(&found), ["config.audit_device"], "{found:?}");
    assert!(found[0].message.contains("opens a socket"), "{found:?}");
}

#[test]
fn files_of_the_machine_are_not_the_apis_to_name() {
    for (kind, config, key) in [
        (
            "hashicorp-vault",
            json!({"endpoint": "https://v", "auth_method": "kubernetes", "role": "r", "token_path": "/etc/shadow"}),
            "config.token_path",
        ),
        (
            "hashicorp-vault",
            json!({
                "endpoint": "https://v", "auth_method": "kubernetes", "role": "r",
                "client_cert_path": "/c", "client_key_path": "/k"
            }),
            "config.client_cert_path",
        ),
        ("aws-secrets-manager", json!({"region": "eu-west-1", "profile": "admin"}), "config.profile"),
        (
            "google-secret-manager",
            json!({"project_id": "p", "auth_method": "workload_identity", "token_path": "/t"}),
            "config.token_path",
        ),
        (
            "hashicorp-vault",
            json!({"endpoint": "https://v", "auth_method": "kubernetes", "role": "r", "ca_path": "/run/a-fifo"}),
            "config.ca_path",
        ),
        ("aws-secrets-manager", json!({"region": "eu-west-1", "ca_path": "/etc/shadow"}), "config.ca_path"),
        (
            "azure-key-vault",
            json!({"vault_url": "https://v", "auth_method": "managed_identity", "ca_path": "/ca"}),
            "config.ca_path",
        ),
    ] {
        let body = json!({"name": "b", "type": kind, "config": config, "path_mapping": {"a/**": "b/**"}});
        let found = refused(&body);
        assert_eq!(keys(&found).first(), Some(&key), "{found:?}");
        assert!(found[0].message.contains("configuration file"));
    }
    let kubernetes = json!({"endpoint": "https://v", "auth_method": "kubernetes", "role": "r"});
    let body = json!({"name": "b", "type": "hashicorp-vault", "config": kubernetes, "path_mapping": {"a/**": "b/**"}});
    let settings = compile_backend(&body.to_string(), false).unwrap();
    let shown = describe_backend(&settings);
    assert!(shown["config"].get("token_path").is_none());
    assert_eq!(compile_backend(&shown.to_string(), false).map(|again| describe_backend(&again)), Ok(shown));
}

#[test]
fn only_the_file_switches_verification_off_or_names_roots() {
    let mut body = vault();
    body["config"]["tls_verify"] = json!(false);
    let found = refused(&body);
    assert_eq!(keys(&found), ["config.tls_verify"]);
    assert!(found[0].message.contains("configuration file"), "{found:?}");
    let file = "version: 1\nlisteners: [{wire: vault}]\npolicies: [p]\nsecrets: {infra/t: {file: f}}\n\
                backends: [{name: v, type: hashicorp-vault, config: {endpoint: 'https://v', auth_method: token, \
                auth_config_path: infra/t, tls_verify: false, ca_path: ca}, path_mapping: [{from: a, to: b}]}]\n";
    let config = compile_text(file, Path::new("/etc")).unwrap();
    let shown = describe_backend(&config.tenants[0].backends[0]);
    assert_eq!(shown["config"]["tls_verify"], false);
    assert_eq!(shown["config"]["ca_path"], "/etc/ca");
    let mut found: Vec<String> = refused(&shown).into_iter().map(|problem| problem.key).collect();
    found.sort_unstable();
    assert_eq!(found, ["config.ca_path", "config.tls_verify"]);
}

#[test]
fn every_setting_is_shown_and_read_back() {
    let body = json!({
        "name": "v", "type": "hashicorp-vault", "mode": "sync", "sync_interval": "1h30m", "sync_scope": "all",
        "write_mode": "write_through", "history": "all", "max_versions": 3, "conflict_on": "any",
        "conflict_policy": "manual", "on_backend_delete": "keep", "max_stale": "24h", "deny_grace": "500ms",
        "rate_limit": {"per_second": 5, "burst": 9},
        "config": {
            "endpoint": "https://v:1/base", "namespace": "a/b", "tls_verify": true, "auth_method": "approle",
            "mount": "approle-2", "auth_config_path": "infra/t", "timeout": "9s", "attempt_timeout": "3s"
        },
        "path_mapping": [{
            "from": "a/**", "to": "b/**", "mode": "sync", "sync_interval": "1m", "sync_scope": "demand",
            "write_mode": "local", "history": "none", "max_versions": 2, "max_stale": "1h", "kv_version": 1,
            "separator": "--", "escape": true, "fallback": [{"backend": "w", "to": "c"}]
        }],
    });
    let settings = compile_backend(&body.to_string(), false).unwrap();
    assert_eq!(describe_backend(&settings), body);
}

#[test]
fn a_patch_is_merged_as_rfc_7396_says() {
    for (kept, patch, merged) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(patched_body(&kept, &patch), merged, "{kept} {patch}");
    }
    let kept = json!({"a": 1, "b": 2, "c": 3});
    assert_eq!(patched_body(&kept, &json!({"a": null, "d": 4})).to_string(), r#"{"b":2,"c":3,"d":4}"#);
    let body = kept_body(&json!({"path_mapping": {"z": "1", "a": "2"}}));
    assert_eq!(body.to_string(), r#"{"path_mapping":[{"from":"z","to":"1"},{"from":"a","to":"2"}]}"#);
    let patched = patched_body(&vault(), &json!({"mode": "sync", "config": {"namespace": "n"}, "max_versions": null}));
    let settings = compile_backend(&patched.to_string(), false).unwrap();
    assert_eq!((settings.mode, settings.max_versions), (Mode::Sync, 10));
}

#[test]
fn a_backend_must_agree_with_its_tenant() {
    let file = "version: 1\nlisteners: [{wire: vault}]\npolicies: [p]\nstore: {local: [infra]}\n\
                secrets: {other/key: {file: f}}\nbackends: [{name: v, type: aws-secrets-manager, \
                config: {region: eu-west-1}, path_mapping: {x: y}}]\n";
    let config = compile_text(file, Path::new("/etc")).unwrap();
    let tenant = &config.tenants[0];
    let others: Vec<&BackendSettings> = tenant.backends.iter().collect();
    let check = |body: Value| {
        let settings = compile_backend(&body.to_string(), false).unwrap();
        check_backend(&settings, tenant, &others).into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    let mut body = vault();
    assert_eq!(check(body.clone()), ["name"]);
    body["name"] = json!("w");
    assert_eq!(check(body.clone()), Vec::<String>::new());
    body["config"]["auth_config_path"] = json!("other/key");
    assert_eq!(check(body.clone()), ["config.auth_config_path"]);
    body["config"]["auth_config_path"] = json!("apps/key");
    body["path_mapping"] = json!([{"from": "a", "to": "b", "fallback": [{"backend": "x", "to": "c"}]}]);
    assert_eq!(check(body.clone()), ["path_mapping[0].fallback[0].backend", "config.auth_config_path"]);
    body["path_mapping"] = json!([]);
    assert_eq!(check(body), ["path_mapping", "config.auth_config_path"]);
}

#[test]
fn a_credential_of_the_api_is_stored_by_a_client_and_used_by_nothing_of_the_file() {
    let file = "version: 1\nlisteners: [{wire: vault}]\npolicies: [p]\nstore: {local: [infra]}\n\
                secrets: {infra/file: {file: f}, other/key: {file: f}}\nbackends:\n\
                - {name: v, type: hashicorp-vault, config: {endpoint: 'https://v', auth_method: aws, role: r, \
                auth_config_path: infra/vault}, path_mapping: [{from: a, to: b}]}\n\
                - {name: s, type: aws-secrets-manager, config: {region: eu-west-1, credentials_path: infra/aws}, \
                path_mapping: [{from: c, to: d}]}\n\
                events: {webhooks: [{url: 'https://h', secret_path: infra/hook}]}\n";
    let mut tenant = compile_text(file, Path::new("/etc")).unwrap().tenants.remove(0);
    let check = |tenant: &TenantConfig, path: &str| {
        let mut vault = vault();
        vault["name"] = json!("of-the-api");
        vault["config"]["auth_config_path"] = json!(path);
        let aws = json!({
            "name": "of-the-api", "type": "aws-secrets-manager", "path_mapping": {"x/**": "y/**"},
            "config": {"region": "eu-west-1", "credentials_path": path},
        });
        let others: Vec<&BackendSettings> = tenant.backends.iter().collect();
        let [vault, aws] = [vault, aws].map(|body| {
            let settings = compile_backend(&body.to_string(), false).unwrap();
            check_backend(&settings, tenant, &others)
        });
        assert_eq!((vault.len(), aws.len()), (vault.len().min(1), vault.len()), "{path}: {vault:?} {aws:?}");
        let keys = [&vault, &aws].map(|found| found.first().map(|problem| problem.key.clone()));
        let expected = ["config.auth_config_path", "config.credentials_path"].map(|key| Some(key.to_owned()));
        assert!(vault.is_empty() || keys == expected, "{path}: {keys:?}");
        vault.into_iter().next().map(|problem| problem.message)
    };
    let refused = |tenant: &TenantConfig, path: &str, part: &str| {
        let message = check(tenant, path).unwrap_or_else(|| panic!("{path} is accepted"));
        assert!(message.contains(part), "{path}: {message}");
    };
    assert_eq!(check(&tenant, "infra/own"), None);
    refused(&tenant, "other/key", "a secret of the configuration file");
    refused(&tenant, "infra/file", "a secret of the configuration file");
    refused(&tenant, "apps/x", "store.local");
    refused(&tenant, "infra/vault", "the credential of a backend");
    refused(&tenant, "infra/aws", "the credential of a backend");
    refused(&tenant, "infra/hook", "the secret of a webhook");
    // `dev`: what no rule maps is local
    tenant.local.folders = vec![Folder::root()];
    assert_eq!(check(&tenant, "apps/x"), None);
    refused(&tenant, "infra/vault", "the credential of a backend");
}

#[test]
fn the_credentials_of_every_type_are_known() {
    let google = json!({"project_id": "p", "credentials_path": "infra/c"});
    let azure = |method: &str| json!({"vault_url": "https://v", "auth_method": method, "credentials_path": "infra/c"});
    let vault = |method: &str, more: Value| {
        let config = json!({"endpoint": "https://v", "auth_method": method});
        patched_body(&config, &more)
    };
    let stored = json!({"auth_config_path": "infra/c"});
    let by_role = json!({"role": "r", "auth_config_path": "infra/c"});
    for (kind, config, key) in [
        ("hashicorp-vault", vault("approle", stored.clone()), Some("config.auth_config_path")),
        ("hashicorp-vault", vault("token", stored), Some("config.auth_config_path")),
        ("hashicorp-vault", vault("aws", by_role.clone()), Some("config.auth_config_path")),
        ("hashicorp-vault", vault("gcp", by_role), Some("config.auth_config_path")),
        ("hashicorp-vault", vault("kubernetes", json!({"role": "r"})), None),
        ("hashicorp-vault", vault("aws", json!({"role": "r"})), None),
        (
            "aws-secrets-manager",
            json!({"region": "eu-west-1", "credentials_path": "infra/c"}),
            Some("config.credentials_path"),
        ),
        ("aws-secrets-manager", json!({"region": "eu-west-1"}), None),
        ("azure-key-vault", azure("client_secret"), Some("config.credentials_path")),
        ("azure-key-vault", azure("certificate"), Some("config.credentials_path")),
        ("google-secret-manager", google, Some("config.credentials_path")),
    ] {
        let body = json!({"name": "b", "type": kind, "config": config, "path_mapping": {"a/**": "b/**"}});
        let settings = compile_backend(&body.to_string(), false).unwrap_or_else(|found| panic!("{body}: {found:?}"));
        let found: Vec<(&str, &str)> =
            backend_credentials(&settings).into_iter().map(|(key, path)| (key, path.as_str())).collect();
        assert_eq!(found, key.map(|key| (key, "infra/c")).into_iter().collect::<Vec<_>>(), "{body}");
    }
}

#[test]
fn keys_of_the_whole_configuration_become_paths_in_the_body() {
    let file = "version: 1\nlisteners: [{wire: vault}]\ntenants: {t: {policies: [p]}}\n";
    let tenant = compile_text(file, Path::new("/etc")).unwrap().tenants.remove(0);
    let problem = |key: &str| Problem::new(key, Some(3), "x");
    let found = problems_in_body(
        vec![
            problem("tenants.t.backends[1].path_mapping[0].from"),
            problem(".config"),
            problem("tenants.t.backends[1]"),
            problem("tenants.t.store.local[0]"),
            problem("tenants.t.backends[10].name"),
        ],
        &tenant,
        1,
    );
    let expected =
        ["path_mapping[0].from", "config", "(document)", "tenants.t.store.local[0]", "tenants.t.backends[10].name"];
    assert_eq!(keys(&found), expected);
}
