//! Copies of an account's secrets: what a run asks AWS for, counted at the stand-in.

use serde_json::{Value, json};

use super::relay::Relay;
use super::world::{Client, Desk, admin, app, backend, backends, builder, config, secret};
use crate::harness::Proxy;
use crate::peers::{Aws, moto};

const STORE: &str = "path: {dir}/store/store.redb";
/// So that a test does not wait for a quota.
const UNLIMITED: &str = "rate_limit: {per_second: 10000, burst: 10000}";
/// Names of a page of `ListSecrets`, and of a batch.
const PAGE: usize = 100;
const BATCH: usize = 20;

/// A proxy that copies what a region holds below `bulk/` to `external/aws/`.
fn copies(server: &Aws, address: &str, region: &str, further: &[&str]) -> Proxy {
    let mut keys = vec!["mode: sync", "sync_interval: 1h", UNLIMITED];
    keys.extend(further);
    let one = backend("aws", address, region, &keys, &["from: 'external/aws/**', to: 'bulk/**'"]);
    builder(server).config(&config(STORE, &backends(&[one]))).start()
}

/// So many secrets below `bulk/` in a region of the shared moto.
pub(super) fn fill(region: &str, count: usize) -> Client {
    let direct = Client::direct(moto(), region);
    for at in 0..count {
        let value = json!({"name": format!("app-{at}")}).to_string();
        direct.ok("CreateSecret", &json!({"Name": format!("bulk/{}/app-{at}", at % 20), "SecretString": value}));
    }
    direct
}

/// The whole account at once: list pages and batches for the first run, list pages for the second.
#[test]
fn five_thousand_secrets_are_copied_by_lists_and_batches_and_looked_at_by_lists() {
    const COUNT: usize = 5_000;
    let server = Aws::filled("us-west-2", COUNT);
    let relay = Relay::to(server.address());
    let proxy = copies(&server, relay.address(), "us-west-2", &[]);
    let desk = Desk::of(&proxy, "aws");
    let first = desk.complete();
    assert_eq!(desk.total("created"), COUNT as u64, "{first:#}");
    // the run at the start and the one ordered here may be two
    let lists = relay.count("ListSecrets");
    assert!(lists == COUNT / PAGE || lists == 2 * (COUNT / PAGE), "{lists} lists");
    // a commit that takes its time leaves a batch now and then less than full
    let batches = relay.count("BatchGetSecretValue");
    let least = COUNT.div_ceil(BATCH);
    assert!((least..=least + least / 20).contains(&batches), "each value in one batch: {batches} of {least}");
    let asked: usize =
        relay.calls().iter().map(|call| call.parameters["SecretIdList"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(asked, COUNT, "each value once");
    let others: Vec<_> = relay
        .calls()
        .into_iter()
        .filter(|call| !matches!(call.operation.as_str(), "ListSecrets" | "BatchGetSecretValue"))
        .collect();
    // `**` may stand for nothing: the one secret that is called like the folder is looked at by its name
    let is_folder = |call: &super::relay::Call| call.parameters["SecretId"] == "bulk";
    assert!(others.len() <= 2 && others.iter().all(is_folder), "lists and batches, nothing more: {others:?}");
    let ids = |call: &super::relay::Call| call.parameters["SecretIdList"].as_array().map_or(0, Vec::len);
    assert!(relay.calls().iter().all(|call| ids(call) <= BATCH), "the service takes {BATCH} in a batch");

    relay.forget();
    let second = desk.complete();
    assert_eq!((&second["unchanged"], &second["read"]), (&json!(COUNT), &json!(0)), "{second:#}");
    let others = relay.calls().iter().filter(|call| call.operation != "ListSecrets" && !is_folder(call)).count();
    assert_eq!((relay.count("ListSecrets"), others), (COUNT / PAGE, 0), "a second run lists only");

    relay.forget();
    let client = Client::of(&proxy, app());
    for at in (0..COUNT).step_by(COUNT / 20) {
        let value: Value = serde_json::from_str(&client.text(&format!("external/aws/{}/app-{at}", at % 20))).unwrap();
        assert_eq!(value["name"], format!("app-{at}"));
    }
    assert!(relay.calls().is_empty(), "reads of copies ask nobody");
}

#[test]
fn what_changed_arrives_and_only_that_is_read() {
    const COUNT: usize = 230;
    let region = "eu-west-2";
    let direct = fill(region, COUNT);
    let relay = Relay::to(moto().address());
    let proxy = copies(moto(), relay.address(), region, &[]);
    let desk = Desk::of(&proxy, "aws");
    desk.complete();
    let client = Client::of(&proxy, app());
    let before = client.ok("GetSecretValue", &json!({"SecretId": "external/aws/7/app-7"}));

    direct.ok("PutSecretValue", &json!({"SecretId": "bulk/7/app-7", "SecretString": "rotated"}));
    direct.ok("TagResource", &json!({"SecretId": "bulk/8/app-8", "Tags": [{"Key": "owner", "Value": "new"}]}));
    direct.ok("CreateSecret", &json!({"Name": "bulk/new", "SecretString": "new"}));
    direct.ok("DeleteSecret", &json!({"SecretId": "bulk/9/app-9", "RecoveryWindowInDays": 7}));
    direct.ok("DeleteSecret", &json!({"SecretId": "bulk/10/app-10", "ForceDeleteWithoutRecovery": true}));
    relay.forget();
    let report = desk.complete();
    assert_eq!((&report["created"], &report["error_count"]), (&json!(1), &json!(0)), "{report:#}");
    assert_eq!(client.text("external/aws/7/app-7"), "rotated");
    assert_eq!(client.text("external/aws/new"), "new");
    let after =
        client.ok("GetSecretValue", &json!({"SecretId": "external/aws/7/app-7", "VersionStage": "AWSPREVIOUS"}));
    assert_eq!((&after["VersionId"], &after["SecretString"]), (&before["VersionId"], &before["SecretString"]));
    let tagged = client.ok("DescribeSecret", &json!({"SecretId": "external/aws/8/app-8"}));
    assert_eq!(tagged["Tags"], json!([{"Key": "owner", "Value": "new"}]));
    let id = |name: &str| json!({"SecretId": format!("external/aws/{name}")});
    assert_eq!(
        client.refused("GetSecretValue", &id("9/app-9")),
        "InvalidRequestException",
        "a window is a soft delete"
    );
    assert_eq!(client.refused("GetSecretValue", &id("10/app-10")), "ResourceNotFoundException");
    let values: usize =
        relay.calls().iter().map(|call| call.parameters["SecretIdList"].as_array().map_or(0, Vec::len)).sum();
    assert!(values + relay.count("GetSecretValue") <= 6, "what did not change was read: {:?}", relay.calls());

    // back from its window
    direct.ok("RestoreSecret", &json!({"SecretId": "bulk/9/app-9"}));
    desk.complete();
    assert!(client.text("external/aws/9/app-9").contains("app-9"));
}

/// Each new staged version that is not the current one costs one call of its own, once.
#[test]
fn staged_versions_come_along_and_unlabelled_ones_only_with_all_history() {
    let region = "eu-west-3";
    let direct = Client::direct(moto(), region);
    direct.ok("CreateSecret", &json!({"Name": "bulk/staged", "SecretString": "one"}));
    direct.ok("PutSecretValue", &json!({"SecretId": "bulk/staged", "SecretString": "two"}));
    direct.ok("PutSecretValue", &json!({"SecretId": "bulk/staged", "SecretString": "three"}));
    let green = json!({"SecretId": "bulk/staged", "SecretString": "green", "VersionStages": ["GREEN"]});
    direct.ok("PutSecretValue", &green);
    for (history, calls) in [("history: none", 2), ("history: all", 3)] {
        let relay = Relay::to(moto().address());
        let proxy = copies(moto(), relay.address(), region, &[history]);
        let desk = Desk::of(&proxy, "aws");
        desk.complete();
        let client = Client::of(&proxy, app());
        assert_eq!(client.text("external/aws/staged"), "three");
        let stage = |stage: &str| {
            let answer =
                client.ok("GetSecretValue", &json!({"SecretId": "external/aws/staged", "VersionStage": stage}));
            answer["SecretString"].as_str().unwrap().to_owned()
        };
        assert_eq!((stage("AWSPREVIOUS"), stage("GREEN")), ("two".to_owned(), "green".to_owned()));
        assert_eq!(relay.count("GetSecretValue"), calls, "{history}: {:?}", relay.calls());
        relay.forget();
        desk.complete();
        assert_eq!(relay.count("GetSecretValue"), 0, "{history}: a version is read once");
    }
}

#[test]
fn names_that_are_no_secret_path_are_skipped_and_reported_once() {
    let region = "eu-south-1";
    let direct = Client::direct(moto(), region);
    for name in ["bulk/good", "bulk//empty", "bulk/plus+sign", "bulk/at@sign", "bulk/equals=sign", "elsewhere/one"] {
        direct.ok("CreateSecret", &json!({"Name": name, "SecretString": "x"}));
    }
    let proxy = copies(moto(), moto().address(), region, &[]);
    let desk = Desk::of(&proxy, "aws");
    let report = desk.complete();
    assert_eq!(report["skipped_count"], 4, "{report:#}");
    for name in ["bulk//empty", "bulk/plus+sign", "bulk/at@sign", "bulk/equals=sign"] {
        assert!(report.to_string().contains(name), "{name}: {report:#}");
    }
    assert!(!report.to_string().contains("elsewhere"), "names outside all rules are not listed: {report:#}");
    assert_eq!(Client::of(&proxy, admin()).names("external/"), ["external/aws/good"]);
}

#[test]
fn a_copy_is_served_when_aws_is_gone_and_after_a_restart() {
    let region = "ca-central-1";
    fill(region, 30);
    let relay = Relay::to(moto().address());
    let mut proxy = copies(moto(), relay.address(), region, &[]);
    Desk::of(&proxy, "aws").complete();
    drop(relay);
    let expected = json!({"name": "app-11"}).to_string();
    assert_eq!(Client::of(&proxy, app()).text("external/aws/11/app-11"), expected);
    proxy.signal(15);
    proxy.wait_exit(std::time::Duration::from_secs(30));
    proxy.start_again();
    assert_eq!(Client::of(&proxy, app()).text("external/aws/11/app-11"), expected);
    assert_eq!(secret(&proxy, "external/aws/11/app-11").json()["source"]["mode"], "sync");
}
