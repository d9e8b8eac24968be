use std::path::Path;

use super::*;
use crate::app::{Extras, Ground, outline};
use crate::clock::{Clock as _, SystemClock};
use crate::config::compile_text;

const CONFIG: &str = "
version: 1
listeners:
- {wire: vault, address: '127.0.0.1:1', paths: [{from: 'secret/other/**', to: 'other/**'}]}
- wire: vault
  address: 127.0.0.1:2
  mounts: {secret: {kv: 2}, database: {logical: true}}
  passthrough: [{path: 'database/creds/*', operations: [read]}]
  paths: [{from: 'secret/**', to: 'apps/**'}, {from: 'database/creds/*', to: 'database/creds/*'}]
- {wire: vault, address: '127.0.0.1:3', paths: [{from: 'secret/ci/*', to: 'apps/ci/*'}]}
identity: {tokens: [{principal: ci, groups: [apps], folders: [apps/ci], file: not-here}]}
policies: [policies/apps.cedar]
secrets: {infra/x: {file: not-here}}
backends:
- name: prod
  type: hashicorp-vault
  config: {endpoint: 'https://vault.example', auth_method: token, auth_config_path: infra/x}
  mode: sync
  path_mapping:
  - {from: 'apps/shared/through/*', to: 'secret/data/shared/through/*', write_mode: write_through}
  - {from: 'apps/shared/local/*', to: 'secret/data/shared/local/*', write_mode: local}
  - {from: 'apps/shared/copied/*', to: 'secret/data/shared/copied/*'}
  - {from: 'apps/**', to: 'secret/data/**', mode: proxy}
  - {from: 'database/creds/*', to: 'database/creds/*', mode: proxy}
";

fn outlined() -> Snapshot {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let config = compile_text(CONFIG, &shipped).unwrap();
    outline(&config, &Extras::default(), &Ground::bare().unwrap()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn asked(snapshot: &Snapshot, name: &str, action: Action, asked: &ExplainFor) -> Value {
    let who = who(&snapshot.directory, &Tenant::default_tenant(), asked).unwrap();
    let listeners = snapshot.listeners.iter().collect();
    explain(snapshot, &Question { listeners, who: &who, name, action, now: SystemClock.now() }).unwrap()
}

fn named(id: &str) -> ExplainFor {
    ExplainFor { id: id.to_owned(), ..ExplainFor::default() }
}

fn described(id: &str, group: &str, folder: &str) -> ExplainFor {
    ExplainFor { id: id.to_owned(), groups: vec![group.to_owned()], folders: vec![folder.to_owned()] }
}

#[test]
fn the_listener_on_which_a_name_resolves_answers() {
    let snapshot = outlined();
    for name in ["secret/ci/db", "/v1/secret/data/ci/db"] {
        let answer = asked(&snapshot, name, Action::Read, &named("ci"));
        for (key, value) in [
            ("listener", "listeners[1]"),
            ("address", "127.0.0.1:2"),
            ("name", "secret/ci/db"),
            ("principal_from", "configuration"),
            ("secret_path", "apps/ci/db"),
            ("backend", "prod"),
            ("remote_name", "secret/data/ci/db"),
            ("decision", "permit"),
        ] {
            assert_eq!(answer[key], value, "{key} of {name}: {answer:#}");
        }
        assert_eq!(answer["groups"], json!(["apps"]));
        assert_eq!(answer["other_listeners"], json!(["listeners[2]"]));
        assert!(answer.get("stopped_by").is_none(), "{answer:#}");
    }
}

#[test]
fn what_stops_a_name_is_told_at_each_step() {
    let snapshot = outlined();
    let ledger = described("ledger", "ledger", "apps/shared");
    for (name, action, who, stopped_by, listener) in [
        ("kv/ci/db", Action::Read, named("ci"), "mount", "listeners[0]"),
        ("database/config/x", Action::Read, named("ci"), "passthrough", "listeners[1]"),
        ("database/creds/x", Action::List, named("ci"), "passthrough", "listeners[1]"),
        ("secret/a b", Action::Read, named("ci"), "name", "listeners[0]"),
        ("secret/other/x", Action::Read, named("ci"), "policy", "listeners[1]"),
        // the mount alone is the backend's `secret/data`, behind which KV version 2 has no name
        ("secret", Action::Read, described("ci", "apps", "apps"), "path_mapping", "listeners[1]"),
        ("secret/ci/db", Action::Write, named("ci"), "policy", "listeners[1]"),
        ("secret/ci/db", Action::Read, named("nobody"), "policy", "listeners[1]"),
        ("secret/shared/x", Action::Write, ledger.clone(), "mode", "listeners[1]"),
    ] {
        let answer = asked(&snapshot, name, action, &who);
        assert_eq!(answer["stopped_by"], stopped_by, "{name}: {answer:#}");
        assert_eq!(answer["listener"], listener, "{name}: {answer:#}");
        assert_eq!(answer["decision"], "deny", "{name}");
    }
    let answer = asked(&snapshot, "database/creds/ledger", Action::Read, &ledger);
    assert_eq!(answer["decision"], "permit", "{answer:#}");
}

#[test]
fn copied_paths_are_written_as_their_rule_says() {
    let snapshot = outlined();
    let ledger = described("ledger", "ledger", "apps/shared");
    for (name, mode, stopped_by) in [
        ("secret/shared/through/x", "sync", None),
        ("secret/shared/local/x", "sync", None),
        ("secret/shared/copied/x", "sync", Some("mode")),
        ("secret/shared/x", "proxy", Some("mode")),
    ] {
        let answer = asked(&snapshot, name, Action::Write, &ledger);
        let told = answer.get("stopped_by").and_then(Value::as_str);
        assert_eq!((answer["mode"].as_str(), told), (Some(mode), stopped_by), "{name}: {answer:#}");
    }
}

#[test]
fn a_described_principal_beats_a_configured_one_of_its_name() {
    let snapshot = outlined();
    let answer = asked(&snapshot, "secret/db/x", Action::Read, &described("ci", "apps", "apps/db"));
    assert_eq!((&answer["decision"], &answer["principal_from"]), (&json!("permit"), &json!("question")));
    let answer = asked(&snapshot, "secret/db/x", Action::Read, &named("somebody"));
    assert_eq!((&answer["decision"], &answer["principal_from"]), (&json!("deny"), &json!("name")));
    let refused = |asked: ExplainFor| who(&snapshot.directory, &Tenant::default_tenant(), &asked).is_err();
    assert!(refused(named("a b")) && refused(named("system/sync")));
    assert!(refused(described("ci", "a b", "apps")) && refused(described("ci", "apps", "")));
}
