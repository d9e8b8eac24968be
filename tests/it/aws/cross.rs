//! Any wire, any store: AWS clients read from Vault and Vault clients from AWS, live and from a copy, by one set of rules for
//! values, versions and names.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::relay::Relay;
use super::sign::ACCOUNT;
use super::world::{Client, Desk, admin, app, backend, backends, builder, config, secret, token};
use crate::harness::{ADMIN, Proxy, Response};
use crate::peers::{Aws, moto, openbao};

/// A region of this file's tests.
const OWN_REGION: &str = "ap-northeast-1";
/// The copy's file.
const STORE: &str = "path: {dir}/store/store.redb, local: [local]";

/// One proxy before moto (`external/aws/**`) and OpenBao (`external/vault/**`), both in this mode.
fn started(server: &Aws, address: &str, name: &str, mode: &str) -> Proxy {
    let bao = openbao();
    let keys = [mode, "sync_interval: 1h", "history: all"];
    let keys: &[&str] = if mode == "mode: sync" { &keys } else { &keys[..1] };
    let aws = backend("aws", address, OWN_REGION, keys, &[&format!("from: 'external/aws/**', to: '{name}/**'")]);
    let vault = format!(
        "  - name: vault\n    type: hashicorp-vault\n    config: {{endpoint: '{}', auth_method: approle, auth_config_path: \
         infra/vault}}\n    {}\n    path_mapping: [{{from: 'external/vault/**', to: 'secret/data/app/**'}}]\n",
        bao.addr,
        keys.join("\n    ")
    );
    let rest = format!(
        "secrets:\n  infra/aws: {{file: {{dir}}/backend.json}}\n  infra/vault: {{file: {{dir}}/vault.json}}\nbackends:\n{aws}{vault}"
    );
    let credential = json!({"role_id": bao.text("backend_role_id"), "secret_id": bao.text("backend_secret_id")});
    builder(server).file("vault.json", credential.to_string()).config(&config(STORE, &rest)).start()
}

/// What moto holds for the suite below `NAME/`.
fn fill(server: &Aws, name: &str) -> Client {
    let direct = Client::direct(server, OWN_REGION);
    let tags = json!([{"Key": "owner", "Value": "team-one"}]);
    let first = json!({"Name": format!("{name}/json"), "SecretString": r#"{"user":"u","n":1}"#, "Tags": tags});
    direct.ok("CreateSecret", &first);
    direct.ok("PutSecretValue", &json!({"SecretId": format!("{name}/json"), "SecretString": r#"{"user":"v","n":2}"#}));
    direct.ok("CreateSecret", &json!({"Name": format!("{name}/text"), "SecretString": "made-up text"}));
    direct.ok("CreateSecret", &json!({"Name": format!("{name}/binary"), "SecretBinary": "AAECAw=="}));
    direct.ok("CreateSecret", &json!({"Name": format!("{name}/folder/deep"), "SecretString": r#"{"deep":true}"#}));
    direct
}

fn vault(proxy: &Proxy, area: &str, path: &str) -> Response {
    proxy.vault_call(ADMIN, "GET", &format!("/v1/secret/{area}/external/{path}"), b"")
}

/// An AWS client at what OpenBao holds (`peers/seed.py`): the same over both modes.
fn aws_wire_over_vault(proxy: &Proxy) {
    let client = Client::of(proxy, app());
    let id = |name: &str| json!({"SecretId": format!("external/vault/{name}")});
    let current = client.ok("GetSecretValue", &id("db"));
    let value: Value = serde_json::from_str(current["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&value["user"], &value["password"], &value["port"]),
        (&json!("app"), &json!("made-up-3"), &json!(5432))
    );
    assert_eq!((&current["VersionStages"], &current["Name"]), (&json!(["AWSCURRENT"]), &json!("external/vault/db")));
    let prefix = format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:external/vault/db-");
    assert!(current["ARN"].as_str().unwrap().starts_with(&prefix), "{current}");
    let previous = json!({"SecretId": "external/vault/db", "VersionStage": "AWSPREVIOUS"});
    let previous = client.call("GetSecretValue", &previous);
    assert_eq!(previous.status, 200, "the version before: {}", previous.text());

    let described = client.ok("DescribeSecret", &id("db"));
    let tags = described["Tags"].as_array().unwrap();
    assert!(tags.contains(&json!({"Key": "owner", "Value": "team-one"})), "custom metadata are tags: {described}");
    let versions =
        client.ok("ListSecretVersionIds", &json!({"SecretId": "external/vault/db", "IncludeDeprecated": true}));
    let versions = versions["Versions"].as_array().unwrap();
    assert_eq!(versions.len(), 3, "{versions:?}");
    for version in versions {
        let by_id = json!({"SecretId": "external/vault/db", "VersionId": version["VersionId"]});
        let read = client.ok("GetSecretValue", &by_id);
        assert_eq!(read["VersionId"], version["VersionId"], "an identifier made of a number leads back to it");
    }
    assert_eq!(client.refused("GetSecretValue", &id("gone")), "InvalidRequestException", "deleted and restorable");
    assert_eq!(client.refused("GetSecretValue", &id("missing")), "ResourceNotFoundException");
    assert!(client.text("external/vault/nested/deep").contains("made-up"));
    let names = client.names("external/vault/");
    assert!(
        names.contains(&"external/vault/db".to_owned()) && names.contains(&"external/vault/nested/deep".to_owned()),
        "{names:?}"
    );
    let batch =
        client.ok("BatchGetSecretValue", &json!({"SecretIdList": ["external/vault/db", "external/vault/gone"]}));
    assert_eq!(batch["SecretValues"][0]["SecretString"], current["SecretString"]);
    assert_eq!(batch["Errors"][0]["ErrorCode"], "InvalidRequestException");
}

/// A Vault client at what moto holds.
fn vault_wire_over_aws(proxy: &Proxy) {
    let read = |path: &str| vault(proxy, "data", &format!("aws/{path}")).json()["data"].clone();
    let current = read("json");
    assert_eq!(current["data"], json!({"user": "v", "n": 2}));
    assert!(current["metadata"]["version"].as_u64().is_some_and(|version| version > 0), "{current}");
    assert_eq!(read("text")["data"], json!({"value": "made-up text"}));
    assert_eq!(read("binary")["data"], json!({"value": "AAECAw==", "encoding": "base64"}));
    let described = vault(proxy, "metadata", "aws/json").json()["data"].clone();
    assert_eq!(described["custom_metadata"]["owner"], "team-one", "{described}");
    let versions = described["versions"].as_object().unwrap();
    assert_eq!(versions.len(), 2, "{described}");
    let mut values = Vec::new();
    for version in versions.keys() {
        values.push(read(&format!("json?version={version}"))["data"]["n"].clone());
    }
    assert_eq!(values, [1, 2], "the oldest first");
    let list = vault(proxy, "metadata", "aws/?list=true").json()["data"]["keys"].clone();
    assert_eq!(list, json!(["binary", "folder/", "json", "text"]));
    assert_eq!(vault(proxy, "data", "aws/missing").status, 404);
}

/// Our own wire at what moto holds.
fn our_wire_over_aws(proxy: &Proxy, mode: &str) {
    let read = |path: &str| secret(proxy, &format!("external/aws/{path}")).json();
    let json = read("json");
    assert_eq!((&json["data"], &json["secret_type"]), (&json!({"user": "v", "n": 2}), &json!("json")));
    assert_eq!((&json["source"]["backend"], &json["source"]["mode"]), (&json!("aws"), &json!(mode)));
    assert!(json["source"]["native_id"].as_str().is_some_and(|id| id.len() == 36), "{json}");
    assert_eq!((&read("text")["data"], &read("text")["secret_type"]), (&json!("made-up text"), &json!("text")));
    assert_eq!(read("binary")["secret_type"], "binary");
    let names = proxy.scaivault_call(ADMIN, "GET", "/v1/secrets/external/aws/?list=true", b"");
    assert_eq!(names.status, 200, "{}", names.text());
    assert!(names.text().contains("folder/") && names.text().contains("json"), "{}", names.text());
}

fn every_wire(mode: &str) {
    let server = moto();
    let name = format!("cross-{mode}");
    fill(server, &name);
    let relay = Relay::to(server.address());
    let proxy = started(server, relay.address(), &name, &format!("mode: {mode}"));
    if mode == "sync" {
        Desk::of(&proxy, "aws").complete();
        Desk::of(&proxy, "vault").complete();
        relay.forget();
    }
    aws_wire_over_vault(&proxy);
    vault_wire_over_aws(&proxy);
    our_wire_over_aws(&proxy, mode);
    if mode == "sync" {
        assert!(relay.calls().is_empty(), "reads of copies ask nobody: {:?}", relay.calls());
    }
}

#[test]
fn every_wire_reads_every_store_live() {
    every_wire("proxy");
}

#[test]
fn every_wire_reads_every_store_from_copies() {
    every_wire("sync");
}

/// A proxy that copies what moto holds below `NAME/` to `external/aws/`, and writes through.
fn through(server: &Aws, address: &str, name: &str) -> Proxy {
    let keys = ["mode: sync", "sync_interval: 1h", "write_mode: write_through"];
    let one = backend("aws", address, OWN_REGION, &keys, &[&format!("from: 'external/aws/**', to: '{name}/**'")]);
    builder(server).config(&config(STORE, &backends(&[one]))).start()
}

/// A write over one wire reaches a store of another vendor, and comes back the same.
#[test]
fn writes_are_carried_through_to_the_other_vendor() {
    let server = moto();
    let direct = fill(server, "cross-through");
    let proxy = through(server, server.address(), "cross-through");
    let desk = Desk::of(&proxy, "aws");
    desk.complete();

    let put = proxy.vault_call(ADMIN, "POST", "/v1/secret/data/external/aws/json", br#"{"data":{"of":"vault"}}"#);
    assert_eq!(put.status, 200, "{}", put.text());
    let there: Value = serde_json::from_str(&direct.text("cross-through/json")).unwrap();
    assert_eq!(there, json!({"of": "vault"}));
    let client = Client::of(&proxy, admin());
    client.ok("PutSecretValue", &json!({"SecretId": "external/aws/text", "SecretString": "of an AWS client"}));
    assert_eq!(direct.text("cross-through/text"), "of an AWS client");
    client.ok("CreateSecret", &json!({"Name": "external/aws/made", "SecretString": "made here"}));
    assert_eq!(
        (direct.text("cross-through/made"), client.text("external/aws/made")),
        ("made here".into(), "made here".into())
    );
    client.ok("TagResource", &json!({"SecretId": "external/aws/text", "Tags": [{"Key": "k", "Value": "v"}]}));
    let tags = direct.ok("DescribeSecret", &json!({"SecretId": "cross-through/text"}))["Tags"].clone();
    assert_eq!(tags, json!([{"Key": "k", "Value": "v"}]));
    client.ok("DeleteSecret", &json!({"SecretId": "external/aws/made"}));
    assert!(direct.ok("DescribeSecret", &json!({"SecretId": "cross-through/made"}))["DeletedDate"].is_number());
    client.ok("RestoreSecret", &json!({"SecretId": "external/aws/made"}));
    assert_eq!(direct.text("cross-through/made"), "made here");
    let report = desk.complete();
    assert_eq!((&report["conflicts"], &report["updated"]), (&json!(0), &json!(0)), "{report:#}");
}

/// One secret below `cross-labels/`: three versions, the last of them beside the current one as `GREEN`.
fn staged(direct: &Client) -> [String; 3] {
    let name = "cross-labels/one";
    let versions = [token(), token(), token()];
    let [first, second, third] = &versions;
    direct.ok("CreateSecret", &json!({"Name": name, "SecretString": "one", "ClientRequestToken": first}));
    direct.ok("PutSecretValue", &json!({"SecretId": name, "SecretString": "two", "ClientRequestToken": second}));
    let green =
        json!({"SecretId": name, "SecretString": "three", "ClientRequestToken": third, "VersionStages": ["GREEN"]});
    direct.ok("PutSecretValue", &green);
    versions
}

/// A label goes to the version the client names, and a deletion keeps the window the client gives it.
#[test]
fn labels_and_recovery_windows_are_carried_through() {
    const WEEK: f64 = 7.0 * 86_400.0;
    let (server, id) = (moto(), "external/aws/one");
    let direct = Client::direct(server, OWN_REGION);
    let [first, second, third] = staged(&direct);
    let there = || direct.ok("DescribeSecret", &json!({"SecretId": "cross-labels/one"}));
    let relay = Relay::to(server.address());
    let sent = |operation: &str| {
        let mut calls = relay.calls();
        calls.retain(|call| call.operation == operation);
        calls.pop().unwrap_or_else(|| panic!("no {operation}: {:?}", relay.calls())).parameters
    };
    let proxy = through(server, relay.address(), "cross-labels");
    let desk = Desk::of(&proxy, "aws");
    desk.complete();
    let client = Client::of(&proxy, admin());

    for (stage, from, to, labels) in [
        ("AWSCURRENT", &second, &third, json!({&first: [], &second: ["AWSPREVIOUS"], &third: ["GREEN", "AWSCURRENT"]})),
        ("GREEN", &third, &second, json!({&first: [], &second: ["AWSPREVIOUS", "GREEN"], &third: ["AWSCURRENT"]})),
    ] {
        let moved = |id: &str| json!({"SecretId": id, "VersionStage": stage, "RemoveFromVersionId": from, "MoveToVersionId": to});
        client.ok("UpdateSecretVersionStage", &moved(id));
        assert_eq!(sent("UpdateSecretVersionStage"), moved("cross-labels/one"));
        assert_eq!(there()["VersionIdsToStages"], labels, "{stage}");
    }
    let green = client.ok("GetSecretValue", &json!({"SecretId": id, "VersionStage": "GREEN"}));
    assert_eq!((&green["VersionId"], &green["SecretString"]), (&json!(second), &json!("two")));
    assert_eq!(client.text(id), "three");

    let deleted = client.ok("DeleteSecret", &json!({"SecretId": id, "RecoveryWindowInDays": 7}));
    assert_eq!(sent("DeleteSecret"), json!({"SecretId": "cross-labels/one", "RecoveryWindowInDays": 7}));
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + WEEK;
    for date in [&deleted["DeletionDate"], &there()["DeletedDate"]] {
        assert!((date.as_f64().unwrap() - end).abs() < 600.0, "{date} is not a week from now, {end}");
    }
    assert_eq!(client.refused("GetSecretValue", &json!({"SecretId": id})), "InvalidRequestException");
    client.ok("RestoreSecret", &json!({"SecretId": id}));
    assert_eq!(sent("RestoreSecret"), json!({"SecretId": "cross-labels/one"}));
    assert_eq!((&there()["DeletedDate"], client.text(id).as_str()), (&Value::Null, "three"));
    let report = desk.complete();
    assert_eq!((&report["conflicts"], &report["updated"]), (&json!(0), &json!(0)), "{report:#}");
}
