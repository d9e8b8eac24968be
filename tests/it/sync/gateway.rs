//! A sidecar whose backend is another scaivault-proxy: how many pods share one gateway. To the sidecar the gateway is a
//! Vault; to the gateway the sidecar is one more principal, and behind the gateway is its own store and an OpenBao.

use serde_json::{Value, json};

use super::api::Api;
use super::source::Source;
use super::world::{described, names, put, read, told, value, vault};
use crate::harness::{ADMIN, Proxy, READER, config, request, wait_until};
use crate::identity::Issuer;

const TERM: i32 = 15;
const SOON: std::time::Duration = std::time::Duration::from_secs(30);
/// Base64 of 32 bytes.
const SEAL_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\n";

/// Local secrets, an OpenBao's behind it, and sidecars that log in by token or as a service account.
const GATEWAY: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
store: {path: {dir}/store/store.redb, local: [apps]}
seal: {provider: file, path: {dir}/seal.key}
identity:
  tokens:
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
    - {principal: t/sidecar, groups: [sidecars], folders: [apps/ledger, bao], file: {dir}/reader.token}
  jwt:
    - issuer: https://issuer.example
      audiences: [scaivault]
      jwks_file: {dir}/jwks.json
      allow: {namespace: [payments]}
      principal: "{{namespace}}/{{service_account}}"
      groups: [sidecars]
      folders: ["apps/{{service_account}}", bao]
policies: [{dir}/policies.cedar, {dir}/sidecars.cedar]
secrets: {infra/openbao: {file: {dir}/openbao.json}}
backends:
  - name: openbao
    type: hashicorp-vault
    config: {endpoint: 'http://BAO', auth_method: token, auth_config_path: infra/openbao}
    path_mapping: [{from: "bao/**", to: "MOUNT/data/**"}]
"#
);

/// What the gateway lets sidecars do.
const SIDECARS: &str = r#"
@id("sidecars-use-their-own-folders")
permit (
  principal in Group::"sidecars",
  action in [Action::"read", Action::"describe", Action::"list", Action::"write", Action::"delete", Action::"destroy"],
  resource
) when { resource in principal.folders };
"#;

/// Live and copied names of the gateway, and one folder that is another's there.
const SIDECAR: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
store: {path: {dir}/store/store.redb}
seal: {provider: file, path: {dir}/seal.key}
identity:
  tokens: [{principal: t/admin, groups: [admins], file: {dir}/admin.token}]
policies: [{dir}/policies.cedar]
secrets: {infra/gateway: {file: {dir}/gateway.json}}
backends:
  - name: gateway
    type: hashicorp-vault
    mode: sync
    sync_interval: 1h
    config: {endpoint: 'http://GATEWAY', LOGIN}
    path_mapping:
      - {from: "live/**", to: "secret/data/apps/ledger/live/**", mode: proxy}
      - {from: "foreign/**", to: "secret/data/apps/other/**", mode: proxy}
      - {from: "remote/**", to: "secret/data/bao/ledger/**"}
      - {from: "own/**", to: "secret/data/apps/ledger/own/**", write_mode: write_through}
"#
);

/// How a sidecar shows who it is, and who that is at the gateway.
struct Login {
    keys: &'static str,
    principal: &'static str,
}

const TOKEN: Login = Login { keys: "auth_method: token, auth_config_path: infra/gateway", principal: "t/sidecar" };
const KUBERNETES: Login =
    Login { keys: "auth_method: kubernetes, role: ledger, token_path: {dir}/sa.jwt", principal: "payments/ledger" };

/// Names of the sidecar, what the gateway calls them, and how the sidecar answers a read.
const READS: [(&str, &str, &str); 5] = [
    ("live/one", "apps/ledger/live/one", "live"),
    ("own/one", "apps/ledger/own/one", "hit"),
    ("own/deep/two", "apps/ledger/own/deep/two", "hit"),
    ("remote/db", "bao/ledger/db", "hit"),
    ("remote/deep/key", "bao/ledger/deep/key", "hit"),
];

/// A sidecar in front of a gateway in front of an OpenBao, after the first run.
struct Chain {
    source: Source,
    gateway: Proxy,
    sidecar: Proxy,
    api: Api,
}

impl Chain {
    fn start(mount: &str, login: &Login) -> Self {
        let source = Source::new(mount);
        source.put("ledger/db", &json!({"n": 1}));
        source.put("ledger/db", &json!({"n": 2}));
        source.change("POST", "metadata", "ledger/db", &json!({"custom_metadata": {"owner": "team-one"}}));
        source.put("ledger/deep/key", &json!({"key": "of openbao"}));
        let issuer = Issuer::new("one");
        let gateway = Proxy::builder()
            .file("seal.key", SEAL_KEY)
            .file("jwks.json", issuer.jwks())
            .file("sidecars.cedar", SIDECARS)
            .file("openbao.json", json!({"token": source.token}).to_string())
            .config(&GATEWAY.replace("BAO", &source.address).replace("MOUNT", mount))
            .start();
        for (_, path, _) in READS.iter().filter(|(_, path, _)| path.starts_with("apps/")) {
            at_gateway(&gateway, path, &json!({"data": {"is": path}, "metadata": {"owner": "gateway"}}));
        }
        at_gateway(&gateway, "apps/other/one", &json!({"data": {"is": "another's"}}));
        let sidecar = Proxy::builder()
            .file("seal.key", SEAL_KEY)
            .file("sa.jwt", issuer.token())
            .file("gateway.json", json!({"token": READER}).to_string())
            .config(&SIDECAR.replace("GATEWAY", &gateway.address("vault")).replace("LOGIN", login.keys))
            .start();
        let api = Api::of(&sidecar, "gateway");
        api.complete();
        assert_eq!(api.total("created"), 4);
        Self { source, gateway, sidecar, api }
    }

    /// How many calls about secrets the gateway has had, and whose the sidecar's were.
    fn asked(&self) -> (usize, Vec<String>) {
        let lines = self.gateway.audit();
        let principals = lines.iter().filter(|line| line["path"].is_string()).map(|line| line["principal"].as_str());
        let principals: Vec<String> = principals.map(|who| who.unwrap_or("nobody").to_owned()).collect();
        let mut others = principals.clone();
        others.retain(|who| who != "t/admin");
        others.sort_unstable();
        others.dedup();
        (principals.len(), others)
    }
}

/// Writes a secret at the gateway, on its own wire.
fn at_gateway(gateway: &Proxy, path: &str, body: &Value) {
    let written = gateway.scaivault_call(ADMIN, "PUT", &format!("/v1/secrets/{path}"), body.to_string().as_bytes());
    assert!(matches!(written.status, 200 | 201), "{path}: {}", written.text());
}

fn reads(mount: &str, login: &Login) {
    let Chain { source, gateway, sidecar, .. } = &Chain::start(mount, login);
    for (name, path, cache) in READS {
        assert_eq!(read(sidecar, name), (200, cache.to_owned()), "{name}");
        assert_eq!(told(sidecar, name), told(gateway, path), "{name}");
        assert_eq!(described(sidecar, name), described(gateway, path), "{name}");
    }
    for name in ["db", "db?version=1", "deep/key"] {
        assert_eq!(told(sidecar, &format!("remote/{name}")), source.told(&format!("ledger/{name}")), "{name}");
    }
    for (folder, there) in [
        ("live/", "apps/ledger/live/"),
        ("own/", "apps/ledger/own/"),
        ("own/deep/", "apps/ledger/own/deep/"),
        ("remote/", "bao/ledger/"),
    ] {
        assert!(names(sidecar, folder).is_array(), "{folder}");
        assert_eq!(names(sidecar, folder), names(gateway, there), "{folder}");
    }
    for absent in ["live/nobody", "own/nobody", "remote/nobody"] {
        assert_eq!(read(sidecar, absent).0, 404, "{absent}");
    }
    assert_eq!(read(sidecar, "foreign/one").0, 502, "the gateway's policies say what a sidecar may read");
}

#[test]
fn a_sidecar_with_a_token_shows_what_the_gateway_and_openbao_behind_it_have() {
    reads("gateway-token", &TOKEN);
}

#[test]
fn a_sidecar_with_a_service_account_shows_what_the_gateway_and_openbao_behind_it_have() {
    reads("gateway-jwt", &KUBERNETES);
}

#[test]
fn copies_ask_the_gateway_nothing_and_its_trail_names_the_sidecar() {
    for (mount, login) in [("gateway-trail-token", TOKEN), ("gateway-trail-jwt", KUBERNETES)] {
        let chain = Chain::start(mount, &login);
        let (before, whose) = chain.asked();
        assert_eq!(whose, [login.principal]);
        for (name, _, cache) in READS {
            assert_eq!(read(&chain.sidecar, name), (200, cache.to_owned()), "{name}");
        }
        names(&chain.sidecar, "own/");
        assert_eq!(chain.asked().0, before + 1, "one read is live");
        // what changes at the gateway or behind it arrives with the next run
        at_gateway(&chain.gateway, "apps/ledger/own/late", &json!({"data": {"is": "late"}}));
        chain.source.put("ledger/db", &json!({"n": 3}));
        let report = chain.api.complete();
        assert_eq!((&report["created"], &report["updated"]), (&json!(1), &json!(1)), "{report:#}");
        assert_eq!((&report["unchanged"], &report["read"]), (&json!(3), &json!(2)), "{report:#}");
        assert_eq!(value(&chain.sidecar, "own/late"), json!({"is": "late"}));
        assert_eq!(value(&chain.sidecar, "remote/db"), json!({"n": 3}));
    }
}

#[test]
fn writes_go_through_to_the_gateway_and_both_have_the_same() {
    let Chain { gateway, sidecar, api, .. } = &Chain::start("gateway-through", &KUBERNETES);
    let is_the_same = |name: &str| {
        let there = format!("apps/ledger/{name}");
        assert_eq!(told(sidecar, name), told(gateway, &there), "{name}");
        assert_eq!(described(sidecar, name), described(gateway, &there), "{name}");
    };
    let ended = |method: &str, area: &str, body: &Value| {
        let answer = vault(sidecar, method, area, "own/one", body);
        assert_eq!(answer.status, 204, "{method} {area}: {}", answer.text());
        is_the_same("own/one");
    };
    let second = json!({"data": {"n": 2}, "options": {"cas": 1}});
    let written = put(sidecar, "own/one", &second);
    assert_eq!((written.status, &written.json()["data"]["version"]), (200, &json!(2)), "{}", written.text());
    assert_eq!(value(gateway, "apps/ledger/own/one"), json!({"n": 2}));
    is_the_same("own/one");
    let stale = put(sidecar, "own/one", &second);
    assert_eq!(stale.status, 400, "{}", stale.text());
    let headers = [("X-Vault-Token", ADMIN), ("Content-Type", "application/merge-patch+json")];
    let patched =
        request(&sidecar.address("vault"), "PATCH", "/v1/secret/data/own/one", &headers, br#"{"data":{"more":true}}"#);
    assert_eq!(patched.status, 200, "{}", patched.text());
    assert_eq!(value(gateway, "apps/ledger/own/one"), json!({"n": 2, "more": true}));
    is_the_same("own/one");
    ended("POST", "metadata", &json!({"custom_metadata": {"owner": "both"}}));
    ended("DELETE", "data", &Value::Null);
    assert_eq!(told(gateway, "apps/ledger/own/one")["deleted"], true);
    ended("POST", "undelete", &json!({"versions": [3]}));
    ended("POST", "delete", &json!({"versions": [2]}));
    ended("POST", "destroy", &json!({"versions": [1]}));
    let created = put(sidecar, "own/deep/new", &json!({"data": {"n": 1}, "options": {"cas": 0}}));
    assert_eq!(created.status, 200, "{}", created.text());
    is_the_same("own/deep/new");
    ended("DELETE", "metadata", &Value::Null);
    assert_eq!(read(gateway, "apps/ledger/own/one").0, 404);

    for name in ["live/one", "remote/db"] {
        assert_eq!(put(sidecar, name, &json!({"data": {}})).status, 403, "{name} is read-only here");
    }
    let report = api.complete();
    let counts = ["created", "updated", "deleted", "pushed", "conflicts", "read"].map(|count| report[count].clone());
    assert_eq!(counts, [0, 0, 0, 0, 0, 0].map(Value::from), "{report:#}");
}

#[test]
fn a_gateway_that_starts_again_is_found_again_and_copies_never_noticed() {
    for (mount, login) in [("gateway-again-token", TOKEN), ("gateway-again-jwt", KUBERNETES)] {
        let Chain { gateway, sidecar, api, .. } = &mut Chain::start(mount, &login);
        assert_eq!(read(sidecar, "live/one").0, 200);
        gateway.signal(TERM);
        assert!(gateway.wait_exit(SOON).success(), "{}", gateway.stderr());
        for name in ["own/one", "own/deep/two", "remote/db"] {
            assert_eq!(read(sidecar, name), (200, "hit".to_owned()), "{name}");
        }
        assert_eq!(read(sidecar, "live/one").0, 503);
        let refused = put(sidecar, "own/one", &json!({"data": {"n": 2}}));
        assert_eq!(refused.status, 503, "{}", refused.text());

        // logins of the life before are unknown to it, and its issuer has another key by now
        let issuer = Issuer::new("two");
        gateway.write("jwks.json", issuer.jwks());
        sidecar.write("sa.jwt", issuer.token());
        gateway.start_again();
        // a login is not given up in its first seconds
        wait_until(SOON, "live reads to work again", || read(sidecar, "live/one").0 == 200);
        let report = api.complete();
        assert_eq!((&report["unchanged"], &report["read"]), (&json!(4), &json!(0)), "{report:#}");
        let written = put(sidecar, "own/one", &json!({"data": {"n": 2}, "options": {"cas": 1}}));
        assert_eq!(written.status, 200, "what was refused was not made up for: {}", written.text());
        assert_eq!(value(gateway, "apps/ledger/own/one"), json!({"n": 2}));
    }
}
