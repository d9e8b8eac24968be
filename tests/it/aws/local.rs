//! The local store over the aws wire: every operation, and what each leaves for the other wires to see.

use serde_json::{Value, json};

use super::sign::Scope;
use super::world::{Client, admin, app, builder, code, config, narrow, nobody, partial_arn, secret, token};
use crate::harness::{ADMIN, Proxy};
use crate::peers::moto;

/// A proxy without a backend; names below `local` are here.
fn started() -> (Proxy, Client) {
    let proxy = builder(moto()).config(&config("local: [local]", "")).start();
    let client = Client::of(&proxy, admin());
    (proxy, client)
}

fn id(name: &str) -> Value {
    json!({"SecretId": name})
}

/// The labels of every version, by its identifier.
fn labels(client: &Client, name: &str) -> Value {
    client.ok("DescribeSecret", &id(name))["VersionIdsToStages"].clone()
}

#[test]
fn a_secret_lives_and_dies_as_it_does_at_the_service() {
    let (proxy, client) = started();
    let (first, second, third) = (token(), token(), token());
    let made = client.ok(
        "CreateSecret",
        &json!({"Name": "local/one", "SecretString": r#"{"a": 1}"#, "ClientRequestToken": first, "Description": "one",
            "Tags": [{"Key": "owner", "Value": "x"}]}),
    );
    assert_eq!((&made["VersionId"], &made["Name"]), (&json!(first), &json!("local/one")));
    assert!(made["ARN"].as_str().unwrap().starts_with(&format!("{}-", partial_arn("local/one"))), "{made}");
    let put = json!({"SecretId": "local/one", "SecretString": "plain text", "ClientRequestToken": second});
    assert_eq!(client.ok("PutSecretValue", &put)["VersionStages"], json!(["AWSCURRENT"]));
    assert_eq!(client.ok("PutSecretValue", &put)["VersionId"], json!(second), "the same again is done once");
    assert_eq!(labels(&client, "local/one"), json!({&first: ["AWSPREVIOUS"], &second: ["AWSCURRENT"]}));
    let other = json!({"SecretId": "local/one", "SecretString": "other", "ClientRequestToken": second});
    assert_eq!(client.refused("PutSecretValue", &other), "ResourceExistsException");

    // a version beside the current one, then the current one
    let staged = json!({"SecretId": "local/one", "SecretString": "staged", "ClientRequestToken": third,
        "VersionStages": ["GREEN"]});
    client.ok("PutSecretValue", &staged);
    assert_eq!(client.text("local/one"), "plain text");
    let green = json!({"SecretId": "local/one", "VersionStage": "GREEN"});
    assert_eq!(client.ok("GetSecretValue", &green)["SecretString"], "staged");
    let moved = json!({"SecretId": "local/one", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": second,
        "MoveToVersionId": third});
    client.ok("UpdateSecretVersionStage", &moved);
    assert_eq!(client.text("local/one"), "staged");
    assert_eq!(secret(&proxy, "local/one").json()["data"], "staged", "for the other wires, too");
    // the order of the members makes it another request than the one before, which would be a replay
    let moved = json!({"MoveToVersionId": third, "SecretId": "local/one", "VersionStage": "AWSCURRENT",
        "RemoveFromVersionId": second});
    assert_eq!(client.refused("UpdateSecretVersionStage", &moved), "InvalidParameterException", "it has moved");
    let told = labels(&client, "local/one");
    assert_eq!((&told[&second], told[&third].as_array().unwrap().len()), (&json!(["AWSPREVIOUS"]), 2), "{told}");

    client.ok("UpdateSecret", &json!({"SecretId": "local/one", "Description": "changed"}));
    client.ok("TagResource", &json!({"SecretId": "local/one", "Tags": [{"Key": "more", "Value": "y"}]}));
    client.ok("UntagResource", &json!({"SecretId": "local/one", "TagKeys": ["owner"]}));
    let described = client.ok("DescribeSecret", &id("local/one"));
    assert_eq!(
        (&described["Description"], &described["Tags"]),
        (&json!("changed"), &json!([{"Key": "more", "Value": "y"}]))
    );

    client.ok("DeleteSecret", &json!({"SecretId": "local/one", "RecoveryWindowInDays": 7}));
    assert_eq!(client.refused("GetSecretValue", &id("local/one")), "InvalidRequestException");
    assert!(client.ok("DescribeSecret", &id("local/one"))["DeletedDate"].is_number());
    assert!(client.names("local/").is_empty(), "deleted ones are not listed");
    assert_eq!(secret(&proxy, "local/one").status, 404);
    client.ok("RestoreSecret", &id("local/one"));
    assert_eq!(client.text("local/one"), "staged");
    client.ok("DeleteSecret", &json!({"SecretId": "local/one", "ForceDeleteWithoutRecovery": true}));
    assert_eq!(client.refused("DescribeSecret", &id("local/one")), "ResourceNotFoundException");
}

#[test]
fn lists_are_paged_sorted_and_filtered_and_hold_only_what_may_be_listed() {
    let (_proxy, client) = started();
    for at in 0..25 {
        let name = if at % 5 == 0 { format!("local/app/s{at:02}") } else { format!("local/team/s{at:02}") };
        let tags = json!([{"Key": "parity", "Value": if at % 2 == 0 { "even" } else { "odd" }}]);
        client.ok("CreateSecret", &json!({"Name": name, "SecretString": format!("v{at}"), "Tags": tags}));
    }
    let mut pages = Vec::new();
    let mut parameters = json!({"MaxResults": 10, "SortBy": "name", "SortOrder": "desc"});
    loop {
        let page = client.ok("ListSecrets", &parameters);
        pages.push(page["SecretList"].as_array().unwrap().iter().map(|one| one["Name"].clone()).collect::<Vec<_>>());
        let Some(next) = page["NextToken"].as_str() else { break };
        parameters["NextToken"] = json!(next);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let all = pages.concat();
    assert!(all.windows(2).all(|two| two[0].as_str() > two[1].as_str()), "{all:?}");
    parameters["NextToken"] = json!("x".repeat(40));
    assert_eq!(client.refused("ListSecrets", &parameters), "InvalidNextTokenException");

    let even = json!({"Filters": [{"Key": "tag-value", "Values": ["even"]}, {"Key": "name", "Values": ["local/app"]}]});
    let found = client.ok("ListSecrets", &even);
    assert_eq!(found["SecretList"].as_array().unwrap().len(), 3, "{found}");
    let values = client.ok("BatchGetSecretValue", &json!({"Filters": [{"Key": "name", "Values": ["local/app"]}]}));
    assert_eq!(values["SecretValues"].as_array().unwrap().len(), 5, "{values}");

    // who may list one folder sees that one, and no values or names of another
    let reader = Client { address: client.address.clone(), region: client.region.clone(), keys: app() };
    assert_eq!(reader.names("local/").len(), 5);
    assert_eq!(reader.text("local/app/s05"), "v5");
    for name in ["local/team/s01", "local/team/none"] {
        assert_eq!(reader.refused("GetSecretValue", &id(name)), "AccessDeniedException", "{name}");
    }
    let partly = reader.ok("BatchGetSecretValue", &json!({"SecretIdList": ["local/app/s05", "local/team/s01"]}));
    assert_eq!(partly["SecretValues"].as_array().unwrap().len(), 1);
    assert_eq!(partly["Errors"][0]["ErrorCode"], "AccessDeniedException");
    let create = json!({"Name": "local/app/new", "SecretString": "x"});
    assert_eq!(reader.refused("CreateSecret", &create), "AccessDeniedException");
}

/// The names of a page.
fn listed(page: &Value) -> Vec<&str> {
    page["SecretList"].as_array().unwrap().iter().map(|one| one["Name"].as_str().unwrap()).collect()
}

#[test]
fn who_may_list_one_deep_folder_sees_it_and_learns_of_no_other() {
    let (proxy, client) = started();
    for name in ["local/own/one", "local/own/sub/two", "local/other/three", "local/four"] {
        client.ok("CreateSecret", &json!({"Name": name, "SecretString": "x"}));
    }
    let narrow = Client { address: client.address.clone(), region: client.region.clone(), keys: narrow() };
    let own = ["local/own/one", "local/own/sub/two"];
    let before = proxy.audit().len();
    assert_eq!(listed(&narrow.ok("ListSecrets", &json!({}))), own);
    let trail = proxy.audit().split_off(before);
    let lines: Vec<_> = trail.iter().filter(|line| line["principal"] == "t/narrow").collect();
    assert_eq!(lines.len(), 1, "{trail:?}");
    // the folder that holds both that it may list, its own and the one of another policy, which holds nothing here
    assert_eq!((&lines[0]["path"], &lines[0]["count"]), (&json!("/"), &json!(2)), "{trail:?}");

    let first = narrow.ok("ListSecrets", &json!({"MaxResults": 1}));
    assert_eq!(listed(&first), own[..1]);
    let second = narrow.ok("ListSecrets", &json!({"MaxResults": 1, "NextToken": first["NextToken"]}));
    assert_eq!((listed(&second), second["NextToken"].is_null()), (own[1..].to_vec(), true), "{second}");
    assert_eq!(narrow.names("local/o"), own);
    for unseen in ["local/other/", "local/four", "nowhere/", "local//x"] {
        assert!(narrow.names(unseen).is_empty(), "{unseen}");
    }
    let batch = narrow.ok("BatchGetSecretValue", &json!({"Filters": [{"Key": "name", "Values": ["local/"]}]}));
    let values = batch["SecretValues"].as_array().unwrap();
    assert_eq!(values.iter().map(|one| one["Name"].as_str().unwrap()).collect::<Vec<_>>(), own);
    assert!(!batch.to_string().contains("local/other"), "{batch}");
}

#[test]
fn who_may_list_nothing_is_refused_whatever_is_there() {
    let (proxy, client) = started();
    client.ok("CreateSecret", &json!({"Name": "local/own/one", "SecretString": "x"}));
    let nobody = Client { address: client.address.clone(), region: client.region.clone(), keys: nobody() };
    let of = |prefix: &str| json!({"Filters": [{"Key": "name", "Values": [prefix]}]});
    for parameters in [json!({}), of("local/own/"), of("nowhere/")] {
        assert_eq!(nobody.refused("ListSecrets", &parameters), "AccessDeniedException", "{parameters}");
    }
    assert_eq!(nobody.refused("BatchGetSecretValue", &of("local/")), "AccessDeniedException");
    let lines: Vec<_> = proxy.audit().into_iter().filter(|line| line["principal"] == "t/nobody").collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line["outcome"] == "denied"), "{lines:?}");
}

#[test]
fn names_that_are_no_secret_path_are_refused_and_never_become_another_name() {
    let (_proxy, client) = started();
    client.ok("CreateSecret", &json!({"Name": "local/a", "SecretString": "x"}));
    for name in
        ["local//a", "local/./a", "local/x/../a", "/local/a", "local/a/", "local/%61", "local/a b", "local/\u{e4}", ""]
    {
        let told = client.refused("GetSecretValue", &id(name));
        assert!(matches!(told.as_str(), "ValidationException" | "AccessDeniedException"), "{name:?}: {told}");
        let told = client.refused("CreateSecret", &json!({"Name": name, "SecretString": "x"}));
        assert!(matches!(told.as_str(), "ValidationException" | "AccessDeniedException"), "{name:?}: {told}");
    }
    assert_eq!(client.names("local"), ["local/a"]);
}

/// However a secret is spelled, policy and trail know it by one name; and no change meant for one is done to another.
#[test]
fn p31_p32_a_secret_is_one_in_every_spelling_and_a_change_meets_no_other() {
    let (proxy, client) = started();
    let make = |name: &str| {
        let made = client.ok("CreateSecret", &json!({"Name": name, "SecretString": format!("value of {name}")}));
        made["ARN"].as_str().unwrap().to_owned()
    };
    let reader = Client::of(&proxy, app());
    for (name, status, outcome) in [("local/app/db", 200, "ok"), ("local/other/db", 400, "denied")] {
        let spellings = [name.to_owned(), make(name), partial_arn(name), format!("{}-AbCdEf", partial_arn(name))];
        for spelling in spellings {
            let answer = reader.call("GetSecretValue", &id(&spelling));
            assert_eq!(answer.status, status, "{spelling}: {}", answer.text());
            let lines = proxy.audit_of(&answer);
            assert!(lines.len() == 1 && lines[0]["path"] == name && lines[0]["outcome"] == outcome, "{lines:?}");
        }
    }

    let longer = make("local/app/db-backup");
    let ambiguous = partial_arn("local/app/db-backup");
    for (operation, more) in [
        ("PutSecretValue", json!({"SecretString": "x"})),
        ("UpdateSecret", json!({"Description": "x"})),
        ("UpdateSecretVersionStage", json!({"VersionStage": "A", "MoveToVersionId": token()})),
        ("TagResource", json!({"Tags": [{"Key": "a", "Value": "b"}]})),
        ("UntagResource", json!({"TagKeys": ["a"]})),
        ("RestoreSecret", json!({})),
        ("DeleteSecret", json!({"ForceDeleteWithoutRecovery": true})),
    ] {
        let mut body = id(&ambiguous);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(client.refused(operation, &body), "ValidationException", "{operation}");
    }
    assert_eq!(client.text("local/app/db"), "value of local/app/db");
    client.ok("DeleteSecret", &json!({"SecretId": longer, "ForceDeleteWithoutRecovery": true}));
    assert_eq!(client.names("local/app"), ["local/app/db"], "by the ARN it was given it is found");
    client.ok("DeleteSecret", &id(&partial_arn("local/app/db")));
}

#[test]
fn requests_that_cannot_be_meant_are_refused_with_the_service_s_codes() {
    let (proxy, client) = started();
    client.ok("CreateSecret", &json!({"Name": "local/a", "SecretString": "x"}));
    let raw = |operation: &str, body: &[u8]| {
        let signed = client.keys.sign(&client.address, &Scope::now(), operation, body);
        code(&signed.send(&client.address).unwrap())
    };
    for (operation, body, expected) in [
        ("GetSecretValue", "not json", "SerializationException"),
        ("GetSecretValue", "[]", "SerializationException"),
        ("GetSecretValue", r#"{"SecretId": 7}"#, "SerializationException"),
        ("GetSecretValue", r#"{"SecretId": "local/a", "SecretId": "local/b"}"#, "SerializationException"),
        ("GetSecretValue", "{}", "ValidationException"),
        ("NoSuchOperation", "{}", "UnknownOperationException"),
        ("RotateSecret", r#"{"SecretId": "local/a"}"#, "InvalidRequestException"),
        ("GetResourcePolicy", r#"{"SecretId": "local/a"}"#, "InvalidRequestException"),
        ("PutSecretValue", r#"{"SecretId": "local/a", "SecretString": "y"}"#, "InvalidRequestException"),
        ("ListSecrets", r#"{"NextToken": "x"}"#, "InvalidNextTokenException"),
    ] {
        assert_eq!(raw(operation, body.as_bytes()), expected, "{operation} {body}");
    }
    let large = json!({"SecretId": "local/a", "SecretString": "x".repeat(1_100_000), "ClientRequestToken": token()});
    assert_eq!(client.call("PutSecretValue", &large).status / 100, 4);
    assert_eq!(client.text("local/a"), "x");
    assert!(!proxy.audit().is_empty());
}

#[test]
fn random_passwords_follow_their_rules_and_differ() {
    let (_proxy, client) = started();
    let ask =
        |parameters: Value| client.ok("GetRandomPassword", &parameters)["RandomPassword"].as_str().unwrap().to_owned();
    assert_eq!(ask(json!({})).len(), 32);
    assert_ne!(ask(json!({})), ask(json!({})));
    let digits = ask(json!({"PasswordLength": 200, "ExcludeLowercase": true, "ExcludeUppercase": true,
        "ExcludePunctuation": true, "ExcludeCharacters": "01", "RequireEachIncludedType": true}));
    assert!(digits.len() == 200 && digits.bytes().all(|byte| (b'2'..=b'9').contains(&byte)), "{digits}");
    let seen: std::collections::BTreeSet<u8> = digits.bytes().collect();
    assert_eq!(seen.len(), 8, "every digit that is allowed turns up in 200: {digits}");
}

/// A value written over one wire is read over the others as each of them has it.
#[test]
fn values_keep_their_meaning_between_wires() {
    let (proxy, client) = started();
    client.ok("CreateSecret", &json!({"Name": "local/json", "SecretString": r#"{"a": 1.50, "b": "x"}"#}));
    client.ok("CreateSecret", &json!({"Name": "local/text", "SecretString": "plain"}));
    client.ok("CreateSecret", &json!({"Name": "local/binary", "SecretBinary": "AAECAw=="}));
    let vault = |path: &str| proxy.vault_call(ADMIN, "GET", &format!("/v1/secret/data/local/{path}"), b"").json();
    assert_eq!(vault("json")["data"]["data"], json!({"a": 1.5, "b": "x"}));
    assert_eq!(vault("text")["data"]["data"], json!({"value": "plain"}));
    assert_eq!(vault("binary")["data"]["data"], json!({"value": "AAECAw==", "encoding": "base64"}));
    assert_eq!(client.text("local/json"), r#"{"a": 1.50, "b": "x"}"#, "byte for byte where it came from");

    let put = |path: &str, body: &str| {
        let path = format!("/v1/secret/data/local/{path}");
        assert_eq!(proxy.vault_call(ADMIN, "POST", &path, body.as_bytes()).status, 200);
    };
    put("of-vault", r#"{"data": {"user": "u", "n": 7}}"#);
    let read: Value = serde_json::from_str(&client.text("local/of-vault")).unwrap();
    assert_eq!(read, json!({"user": "u", "n": 7}));
    let one = client.ok("GetSecretValue", &id("local/of-vault"));
    put("of-vault", r#"{"data": {"user": "v"}}"#);
    let two = client.ok("GetSecretValue", &id("local/of-vault"));
    assert_ne!(one["VersionId"], two["VersionId"]);
    let again = json!({"SecretId": "local/of-vault", "VersionId": one["VersionId"]});
    let again: Value =
        serde_json::from_str(client.ok("GetSecretValue", &again)["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(again, json!({"user": "u", "n": 7}), "an identifier made of a number leads back to it");
    let text = proxy.scaivault_call(
        ADMIN,
        "PUT",
        "/v1/secrets/local/of-ours",
        json!({"data": "text of ours", "secret_type": "text", "metadata": {"owner": "us"}}).to_string().as_bytes(),
    );
    assert_eq!(text.status, 201, "{}", text.text());
    assert_eq!(client.text("local/of-ours"), "text of ours");
    let tags = client.ok("DescribeSecret", &id("local/of-ours"))["Tags"].clone();
    assert_eq!(tags, json!([{"Key": "owner", "Value": "us"}]), "metadata are tags");
}
