//! Proxy mode, AWS in and AWS out: the caller's signature ends at the proxy, and the request goes on under its mapped name
//! with a signature of the proxy's own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::relay::{Fate, Relay};
use super::sign::{Keys, REGION};
use super::world::{Client, admin, app, backend, backends, builder, code, config, narrow, partial_arn, secret};
use crate::harness::Proxy;
use crate::peers::{Aws, ministack, moto};

/// A region of this file's tests.
const OWN_REGION: &str = "eu-central-1";

/// A proxy before a stand-in: `external/aws/**` are its names below `NAME/`.
fn proxied(server: &Aws, address: &str, region: &str, name: &str, keys: &[&str]) -> Proxy {
    let rule = format!("from: 'external/aws/**', to: '{name}/**'");
    let text = config("local: [local]", &backends(&[backend("aws", address, region, keys, &[&rule])]));
    builder(server).config(&text).start()
}

/// Secrets `NAME/db` (two versions) and `NAME/folder/deep`, and one outside that no rule reaches.
fn fill(server: &Aws, region: &str, name: &str) -> Client {
    let direct = Client::direct(server, region);
    let first = json!({"Name": format!("{name}/db"), "SecretString": r#"{"password":"made-up-one"}"#,
        "Tags": [{"Key": "owner", "Value": "team"}], "Description": "a database"});
    direct.ok("CreateSecret", &first);
    let second = r#"{ "password" : "made-up-two" }"#;
    direct.ok("PutSecretValue", &json!({"SecretId": format!("{name}/db"), "SecretString": second}));
    direct.ok("CreateSecret", &json!({"Name": format!("{name}/folder/deep"), "SecretString": "made-up text"}));
    direct.ok("CreateSecret", &json!({"Name": format!("{name}-outside"), "SecretString": "made-up outside"}));
    direct
}

fn reads(server: &Aws, name: &str) {
    let relay = Relay::to(server.address());
    let direct = fill(server, OWN_REGION, name);
    let proxy = proxied(server, relay.address(), OWN_REGION, name, &[]);
    let client = Client::of(&proxy, app());

    let theirs = direct.ok("GetSecretValue", &json!({"SecretId": format!("{name}/db")}));
    let ours = client.ok("GetSecretValue", &json!({"SecretId": "external/aws/db"}));
    assert_eq!(ours["SecretString"], r#"{ "password" : "made-up-two" }"#, "byte for byte");
    assert_eq!((&ours["VersionId"], &ours["VersionStages"]), (&theirs["VersionId"], &theirs["VersionStages"]));
    assert_eq!(ours["Name"], "external/aws/db", "the client's name, not the backend's");
    assert!(!ours.to_string().contains(&format!("{name}/db")), "{ours}");
    let arn = ours["ARN"].as_str().unwrap();
    assert!(arn.starts_with(&format!("{}-", partial_arn("external/aws/db"))), "{arn}");

    for id in [arn.to_owned(), partial_arn("external/aws/db")] {
        assert_eq!(client.ok("GetSecretValue", &json!({"SecretId": id}))["VersionId"], ours["VersionId"], "{id}");
    }
    let previous = json!({"SecretId": "external/aws/db", "VersionStage": "AWSPREVIOUS"});
    let previous = client.ok("GetSecretValue", &previous);
    assert_eq!(previous["SecretString"], r#"{"password":"made-up-one"}"#);
    let by_id = json!({"SecretId": "external/aws/db", "VersionId": previous["VersionId"]});
    assert_eq!(client.ok("GetSecretValue", &by_id)["SecretString"], previous["SecretString"]);

    let described = client.ok("DescribeSecret", &json!({"SecretId": "external/aws/db"}));
    assert_eq!((&described["Name"], &described["Description"]), (&json!("external/aws/db"), &json!("a database")));
    assert_eq!(described["Tags"], json!([{"Key": "owner", "Value": "team"}]));
    assert_eq!(described["VersionIdsToStages"].as_object().unwrap().len(), 2);
    let versions = client.ok("ListSecretVersionIds", &json!({"SecretId": "external/aws/db"}));
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 2);
    assert_eq!(client.names("external/aws/"), ["external/aws/db", "external/aws/folder/deep"]);
    let batch = client.ok("BatchGetSecretValue", &json!({"SecretIdList": ["external/aws/db", "external/aws/missing"]}));
    assert_eq!(batch["SecretValues"][0]["SecretString"], r#"{ "password" : "made-up-two" }"#);
    assert_eq!(batch["Errors"][0]["ErrorCode"], "ResourceNotFoundException");
    assert_eq!(batch["Errors"][0]["SecretId"], "external/aws/missing");

    assert_eq!(
        client.refused("GetSecretValue", &json!({"SecretId": "external/aws/missing"})),
        "ResourceNotFoundException"
    );
    for hidden in [format!("{name}-outside"), format!("{name}/db")] {
        assert_eq!(client.refused("GetSecretValue", &json!({"SecretId": hidden})), "AccessDeniedException", "{hidden}");
    }
    signed_anew(&relay, &app());
}

/// What reached the stand-in bears the backend's signature over the whole request, and nothing of the client's.
fn signed_anew(relay: &Relay, client: &Keys) {
    let calls = relay.calls();
    assert!(!calls.is_empty());
    for call in calls {
        let authorization = call.header("authorization");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential="), "{call:?}");
        assert!(
            !authorization.contains(&client.id) && authorization.contains(&format!("/{OWN_REGION}/secretsmanager/"))
        );
        assert_eq!(call.header("host"), relay.address(), "signed for where it goes");
        assert_eq!(call.header("x-forwarded-for"), "", "nothing of the client goes along");
    }
}

#[test]
fn reads_go_to_moto_under_their_mapped_names() {
    reads(moto(), "proxy-reads");
}

/// The stand-in that refuses whatever is not signed exactly.
#[test]
fn reads_go_to_ministack_signed_anew() {
    reads(ministack(), "proxy-reads");
}

/// Two backends, one of which nobody answers for: a list fails only if that one could have a part in it.
#[test]
fn a_filtered_list_asks_only_whom_it_concerns_and_only_for_what_it_wants() {
    const LISTS_REGION: &str = "us-east-2";
    let server = moto();
    let relay = Relay::to(server.address());
    let direct = Client::direct(server, LISTS_REGION);
    for name in ["narrowed/team/db/one", "narrowed/team/db-two", "narrowed/team/web", "narrowed/other"] {
        direct.ok("CreateSecret", &json!({"Name": name, "SecretString": "x"}));
    }
    let there = backend("aws", relay.address(), LISTS_REGION, &[], &["from: 'external/aws/**', to: 'narrowed/**'"]);
    let gone = backend("gone", "127.0.0.1:1", LISTS_REGION, &[], &["from: 'external/gone/**', to: 'gone/**'"]);
    let proxy = builder(server).config(&config("local: [local]", &backends(&[there, gone]))).start();
    let client = Client::of(&proxy, admin());
    let asked = || {
        let calls = relay.calls();
        relay.forget();
        let wanted = |call: &super::relay::Call| call.parameters["Filters"][0]["Values"][0].clone();
        calls.iter().filter(|call| call.operation == "ListSecrets").map(wanted).collect::<Vec<_>>()
    };

    assert_eq!(client.names("external/aws/team/db"), ["external/aws/team/db-two", "external/aws/team/db/one"]);
    assert_eq!(asked(), ["narrowed/team/db"]);
    assert_eq!(client.names("external/aws/team/db/").len(), 1);
    assert_eq!(asked(), ["narrowed/team/db/"]);
    assert_eq!(client.names("external/aws/").len(), 4);
    assert_eq!(asked(), ["narrowed/"], "one list holds all folders");
    assert!(client.names("nowhere/").is_empty() && asked().is_empty());
    assert_ne!(client.call("ListSecrets", &json!({})).status, 200, "a list without one of its parts is none");
    let concerned = json!({"Filters": [{"Key": "name", "Values": ["external/g"]}]});
    assert_ne!(client.call("ListSecrets", &concerned).status, 200);

    relay.forget();
    let narrow = Client { address: client.address.clone(), region: client.region.clone(), keys: narrow() };
    assert_eq!(narrow.names(""), ["external/aws/team/db/one"], "and nobody is asked whose names it may not list");
    assert_eq!(asked(), ["narrowed/team/db/"]);
}

#[test]
fn writes_to_proxied_names_are_refused_before_the_backend_is_asked() {
    let server = moto();
    let relay = Relay::to(server.address());
    fill(server, OWN_REGION, "proxy-writes");
    let proxy = proxied(server, relay.address(), OWN_REGION, "proxy-writes", &[]);
    let client = Client::of(&proxy, admin());
    let current = client.ok("GetSecretValue", &json!({"SecretId": "external/aws/db"}));
    relay.forget();
    let id = "external/aws/db";
    for (operation, parameters) in [
        ("CreateSecret", json!({"Name": "external/aws/new", "SecretString": "x"})),
        ("PutSecretValue", json!({"SecretId": id, "SecretString": "x"})),
        ("UpdateSecret", json!({"SecretId": id, "SecretString": "x"})),
        ("UpdateSecret", json!({"SecretId": id, "Description": "x"})),
        (
            "UpdateSecretVersionStage",
            json!({"SecretId": id, "VersionStage": "A", "MoveToVersionId": current["VersionId"]}),
        ),
        ("TagResource", json!({"SecretId": id, "Tags": [{"Key": "a", "Value": "b"}]})),
        ("UntagResource", json!({"SecretId": id, "TagKeys": ["owner"]})),
        ("DeleteSecret", json!({"SecretId": id})),
        ("DeleteSecret", json!({"SecretId": id, "ForceDeleteWithoutRecovery": true})),
        ("RestoreSecret", json!({"SecretId": id})),
    ] {
        let answer = client.call(operation, &parameters);
        assert_eq!((answer.status, code(&answer)), (400, "AccessDeniedException".to_owned()), "{operation}");
        let lines = proxy.audit_of(&answer);
        assert!(lines.iter().all(|line| line["outcome"] == "read_only"), "{operation}: {lines:#?}");
    }
    assert!(relay.calls().is_empty(), "{:?}", relay.calls());
}

#[test]
fn x16_another_account_or_region_is_nobody_s_secret_here() {
    let server = moto();
    let relay = Relay::to(server.address());
    fill(server, OWN_REGION, "proxy-arn");
    let proxy = proxied(server, relay.address(), OWN_REGION, "proxy-arn", &[]);
    let client = Client::of(&proxy, admin());
    client.text("external/aws/db");
    relay.forget();
    for arn in [
        "arn:aws:secretsmanager:us-east-1:999999999999:secret:external/aws/db",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:external/aws/db",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:external/aws/db-AbCdEf",
    ] {
        for operation in ["GetSecretValue", "DescribeSecret", "DeleteSecret"] {
            assert_eq!(
                client.refused(operation, &json!({"SecretId": arn})),
                "AccessDeniedException",
                "{operation} {arn}"
            );
        }
    }
    assert!(relay.calls().is_empty());
}

#[test]
fn an_assumed_role_reads_what_the_role_may() {
    let server = ministack();
    let relay = Relay::to(server.address());
    let keys = format!(
        "config: {{region: {REGION}, endpoint: 'http://{0}', sts_endpoint: 'http://{0}', credentials_path: infra/aws, \
         role_arn: '{1}', external_id: '{2}', session_name: of-the-proxy}}",
        relay.address(),
        server.text("role_arn"),
        server.text("external_id")
    );
    let rules =
        "    path_mapping: [{from: 'external/aws/**', to: 'prod/**'}, {from: 'external/other/**', to: 'other/**'}]\n";
    let one = format!("  - name: aws\n    type: aws-secrets-manager\n    {keys}\n{rules}");
    let proxy = builder(server).config(&config("local: [local]", &backends(&[one]))).start();
    let client = Client::of(&proxy, app());
    assert_eq!(client.text("external/aws/orders/db"), r#"{"password":"made-up-prod"}"#);
    assert_eq!(client.text("external/aws/orders/db"), r#"{"password":"made-up-prod"}"#);
    assert_eq!(relay.count("AssumeRole"), 1, "one session serves many reads");
    let read = relay.calls().into_iter().find(|call| call.operation == "GetSecretValue").unwrap();
    assert!(!read.header("x-amz-security-token").is_empty(), "{read:?}");
    // the role may not: the client is not told why, and is not told to try again
    let answer = client.call("GetSecretValue", &json!({"SecretId": "external/other/hidden"}));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(!answer.text().contains("assumed-role") && !answer.text().contains("made-up"), "{}", answer.text());
}

#[test]
fn what_the_backend_says_when_it_fails_becomes_what_sdks_decide_by() {
    let server = moto();
    let relay = Relay::to(server.address());
    fill(server, OWN_REGION, "proxy-faults");
    let proxy =
        proxied(server, relay.address(), OWN_REGION, "proxy-faults", &["rate_limit: {per_second: 1000, burst: 1000}"]);
    let client = Client::of(&proxy, app());
    client.text("external/aws/db");
    let page = || Fate::Answer(502, "<html>Bad Gateway</html>".to_owned());
    type Row<'a> = (&'a str, fn() -> Fate, &'a [u16]);
    let rows: [Row<'_>; 3] = [
        // the client backs off by itself
        ("throttled", Fate::throttled, &[400]),
        ("denied", Fate::denied, &[400]),
        // once more within the call's time, then a 5xx that every SDK tries again
        ("a page", page, &[500, 503]),
    ];
    for (what, fate, statuses) in rows {
        relay.decide(move |_| fate());
        let answer = client.call("GetSecretValue", &json!({"SecretId": "external/aws/db"}));
        assert!(statuses.contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        let told = code(&answer);
        assert_eq!(told == "ThrottlingException", what == "throttled", "{what}: {told}");
        assert!(!answer.text().contains("<html>") && !answer.text().contains("user/b"), "{what}: {}", answer.text());
    }
    relay.decide(|_| Fate::Pass);
    assert_eq!(client.text("external/aws/folder/deep"), "made-up text", "and then goes on");
}

#[test]
fn a_value_disclosed_is_in_the_trail_before_it_leaves_and_never_with_its_value() {
    let server = moto();
    fill(server, OWN_REGION, "proxy-trail");
    let proxy = proxied(server, server.address(), OWN_REGION, "proxy-trail", &[]);
    let client = Client::of(&proxy, app());
    let answer = client.call("GetSecretValue", &json!({"SecretId": "external/aws/db"}));
    let lines = proxy.audit_of(&answer);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = &lines[0];
    let expected = [
        ("wire", "aws"),
        ("operation", "read"),
        ("path", "external/aws/db"),
        ("backend", "aws"),
        ("remote", "proxy-trail/db"),
        ("mode", "proxy"),
        ("principal", "t/app"),
        ("outcome", "ok"),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    let batch = json!({"SecretIdList": ["external/aws/db", "external/aws/folder/deep", "local/app/none"]});
    let lines = proxy.audit_of(&client.call("BatchGetSecretValue", &batch));
    let disclosed: Vec<&Value> =
        lines.iter().filter(|line| line["outcome"] == "ok").map(|line| &line["path"]).collect();
    // they are read at the same time
    let disclosed: BTreeSet<&str> = disclosed.iter().filter_map(|path| path.as_str()).collect();
    let expected = BTreeSet::from(["external/aws/db", "external/aws/folder/deep"]);
    assert_eq!(disclosed, expected, "one line a secret disclosed: {lines:#?}");
    let trail = std::fs::read_to_string(proxy.dir().join("audit/audit.jsonl")).unwrap();
    assert!(!trail.contains("made-up"), "a value is in the trail");
    assert_eq!(secret(&proxy, "external/aws/db").status, 200, "our own wire reads the same");
}
