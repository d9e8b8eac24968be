//! Copies when AWS is unwell: a run that is throttled ends complete, one that is cut short deletes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::relay::{Fate, Relay};
use super::sync::fill;
use super::world::{Client, Desk, app, backend, backends, builder, config};
use crate::harness::Proxy;
use crate::peers::moto;

fn copies(relay: &Relay, region: &str) -> Proxy {
    let keys = ["mode: sync", "sync_interval: 1h", "rate_limit: {per_second: 10000, burst: 10000}"];
    let one = backend("aws", relay.address(), region, &keys, &["from: 'external/aws/**', to: 'bulk/**'"]);
    let rest = backends(&[one]);
    builder(moto()).config(&config("path: {dir}/store/store.redb", &rest)).start()
}

#[test]
fn with_half_of_the_calls_throttled_a_run_still_ends_complete() {
    const COUNT: usize = 220;
    let region = "ap-south-1";
    let direct = fill(region, COUNT);
    let relay = Relay::to(moto().address());
    let turn = AtomicUsize::new(0);
    relay.decide(
        move |_| if turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { Fate::throttled() } else { Fate::Pass },
    );
    let proxy = copies(&relay, region);
    let desk = Desk::of(&proxy, "aws");
    let report = desk.complete();
    assert_eq!((desk.total("created"), &report["error_count"]), (COUNT as u64, &json!(0)), "{report:#}");
    assert!(relay.calls().len() >= 2 * (COUNT.div_ceil(100) + COUNT.div_ceil(20)), "half of them were throttled");
    direct.ok("PutSecretValue", &json!({"SecretId": "bulk/3/app-3", "SecretString": "rotated"}));
    desk.complete();
    assert_eq!(Client::of(&proxy, app()).text("external/aws/3/app-3"), "rotated");
}

#[test]
fn a_list_that_fails_ends_early_or_comes_back_empty_deletes_nothing() {
    const COUNT: usize = 150;
    let region = "ap-southeast-1";
    let direct = fill(region, COUNT);
    let relay = Relay::to(moto().address());
    let proxy = copies(&relay, region);
    let desk = Desk::of(&proxy, "aws");
    desk.complete();
    let client = Client::of(&proxy, app());
    let is_whole = |what: &str| assert_eq!(client.names("external/aws/").len(), COUNT, "{what}");
    is_whole("at first");

    let second_page =
        |call: &super::relay::Call| call.operation == "ListSecrets" && !call.parameters["NextToken"].is_null();
    relay.decide(move |call| if second_page(call) { Fate::Close } else { Fate::Pass });
    assert_ne!(desk.sync()["outcome"], "completed", "the second page never came");
    is_whole("after a list that was cut");
    relay.decide(move |call| if second_page(call) { Fate::denied() } else { Fate::Pass });
    assert_ne!(desk.sync()["outcome"], "completed");
    is_whole("after a list that was denied half way");
    relay.decide(move |call| match call.operation.as_str() {
        "ListSecrets" => Fate::Change(|page| page["SecretList"] = json!({"not": "a list"})),
        _ => Fate::Pass,
    });
    assert_ne!(desk.sync()["outcome"], "completed");
    is_whole("after a list that was none");

    let empty = |page: &mut serde_json::Value| *page = json!({"SecretList": []});
    relay.decide(move |call| if call.operation == "ListSecrets" { Fate::Change(empty) } else { Fate::Pass });
    let report = desk.sync();
    assert_eq!(report["deleted"], 0, "{report:#}");
    is_whole("after a list that came back empty for the first time");

    // what was really removed goes with the next list that is whole
    relay.decide(|_| Fate::Pass);
    direct.ok("DeleteSecret", &json!({"SecretId": "bulk/1/app-1", "ForceDeleteWithoutRecovery": true}));
    let report = desk.complete();
    assert_eq!(report["deleted"], 1, "{report:#}");
    assert_eq!(client.names("external/aws/").len(), COUNT - 1);
}

/// The spec's two permissions suffice.
#[test]
fn where_batches_are_denied_values_are_read_one_by_one_and_that_is_reported_once() {
    const COUNT: usize = 45;
    let region = "ap-southeast-2";
    let direct = fill(region, COUNT);
    let relay = Relay::to(moto().address());
    relay.decide(|call| if call.operation == "BatchGetSecretValue" { Fate::denied() } else { Fate::Pass });
    let proxy = copies(&relay, region);
    let desk = Desk::of(&proxy, "aws");
    let report = desk.sync();
    assert!(matches!(report["outcome"].as_str(), Some("completed" | "partial")), "{report:#}");
    assert_eq!(desk.total("created"), COUNT as u64, "{report:#}");
    assert_eq!(relay.count("GetSecretValue"), COUNT);
    assert!(
        relay.count("BatchGetSecretValue") <= 2,
        "not asked again within a run: {}",
        relay.count("BatchGetSecretValue")
    );
    let client = Client::of(&proxy, app());
    assert!(client.text("external/aws/4/app-44").contains("app-44"));
    // allowed again: batches again
    relay.decide(|_| Fate::Pass);
    for at in 0..21 {
        direct.ok("PutSecretValue", &json!({"SecretId": format!("bulk/{}/app-{at}", at % 20), "SecretString": "new"}));
    }
    relay.forget();
    desk.complete();
    assert_eq!(client.text("external/aws/0/app-20"), "new");
    assert_eq!(relay.count("BatchGetSecretValue"), 2);
}
