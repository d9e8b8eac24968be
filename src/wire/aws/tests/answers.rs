//! Answers without values.

use serde_json::{Value, json};

use super::{NOW, TOKEN, answer, aws, facts, name, reveal, told};
use crate::clock::Timestamp;
use crate::identity::{Method, Principal};
use crate::secret::{Described, Entry, Metadata, Outcome, Rank, Reply, Tenant, VersionInfo, VersionState};
use crate::wire::aws::{AwsFrontend, Shape, encode, name as names, version};
use crate::wire::{Answer, Frontend as _, PasswordRules, Reveal, Shape as WireShape, SystemRequest};

const CURRENT: &str = "a117b628-7aba-4e03-9bd7-78b5898e73ca";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000 + millis * 1000)
}

fn version_info(number: u64, rank: Rank, stages: &[&str]) -> VersionInfo {
    VersionInfo {
        version: number,
        created_at: at(number),
        rank,
        stages: stages.iter().map(|stage| Box::from(*stage)).collect(),
        ..VersionInfo::default()
    }
}

fn described() -> Described {
    let entries = [("aws:description", "d2"), ("team", "red")];
    let mut versions = vec![
        version_info(1, Rank::Other, &[]),
        version_info(2, Rank::Previous, &["mine"]),
        version_info(3, Rank::Other, &["AWSPENDING"]),
        version_info(4, Rank::Current, &[]),
    ];
    versions[3].native_id = Some(CURRENT.into());
    Described {
        metadata: entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Metadata>(),
        current_version: 4,
        oldest_version: 1,
        created_at: at(0),
        updated_at: at(250),
        versions,
        ..Described::default()
    }
}

fn describe(described: Described) -> Value {
    let (status, body) = answer(&Shape::Described(name("app/db")), Outcome::Described(Box::new(described)));
    assert_eq!(status, 200);
    body
}

#[test]
fn a_description_has_all_that_is_known() {
    let expected = json!({
        "ARN": names::arn("app/db", &aws()),
        "Name": "app/db",
        "Description": "d2",
        "LastChangedDate": 1_795_428_417.25,
        "Tags": [{"Key": "team", "Value": "red"}],
        "VersionIdsToStages": {
            version::id("app/db", 2): ["AWSPREVIOUS", "mine"],
            version::id("app/db", 3): ["AWSPENDING"],
            CURRENT: ["AWSCURRENT"],
        },
        "CreatedDate": NOW,
    });
    assert_eq!(describe(described()), expected);
    let bare = describe(Described::default());
    assert_eq!(bare, json!({"ARN": names::arn("app/db", &aws()), "Name": "app/db"}));
}

#[test]
fn places_are_those_of_numbers_where_nobody_says_them() {
    let mut described = described();
    for info in &mut described.versions {
        (info.rank, info.native_id) = (Rank::Unknown, None);
        info.stages.clear();
    }
    let expected = json!({version::id("app/db", 3): ["AWSPREVIOUS"], version::id("app/db", 4): ["AWSCURRENT"]});
    assert_eq!(describe(described)["VersionIdsToStages"], expected);
}

#[test]
fn a_deleted_secret_says_when_it_is_gone() {
    let deleted = Described { purges_at: Some(at(7 * 86_400_000)), ..described() };
    assert_eq!(describe(deleted)["DeletedDate"], NOW + 7 * 86_400);
    let mut deleted = described();
    deleted.versions[3].state = VersionState::Deleted(at(0));
    assert_eq!(describe(deleted)["DeletedDate"], NOW);
    assert_eq!(describe(described()).get("DeletedDate"), None);
}

fn versions(described: &Described, deprecated: bool, after: Option<(u64, Box<str>)>, limit: usize) -> Value {
    let shape = Shape::Versions { name: name("app/db"), deprecated, after, limit };
    answer(&shape, Outcome::Described(Box::new(described.clone()))).1
}

fn ids(body: &Value) -> Vec<&str> {
    body["Versions"].as_array().unwrap().iter().map(|version| version["VersionId"].as_str().unwrap()).collect()
}

#[test]
fn versions_are_listed_newest_first_and_page_by_page() {
    let described = described();
    let id = |number| version::id("app/db", number);
    let body = versions(&described, false, None, 100);
    assert_eq!(ids(&body), [CURRENT, &id(3), &id(2)]);
    assert_eq!(
        body["Versions"][1],
        json!({
            "VersionId": id(3), "VersionStages": ["AWSPENDING"], "CreatedDate": 1_795_428_417.003,
        })
    );
    assert_eq!((body.get("NextToken"), &body["Name"]), (None, &json!("app/db")));
    assert_eq!(body["ARN"], names::arn("app/db", &aws()));

    let all = versions(&described, true, None, 4);
    assert_eq!(ids(&all), [CURRENT, &id(3), &id(2), &id(1)]);
    assert_eq!((all.get("NextToken"), all["Versions"][3].get("VersionStages")), (None, None));

    let first = versions(&described, true, None, 2);
    assert_eq!(ids(&first), [CURRENT, &id(3)]);
    let token = first["NextToken"].as_str().unwrap();
    let request = format!(r#"{{"SecretId":"app/db","IncludeDeprecated":true,"MaxResults":2,"NextToken":"{token}"}}"#);
    let (_, shape) = super::call("ListSecretVersionIds", &request);
    let second = answer(&shape, Outcome::Described(Box::new(described.clone()))).1;
    assert_eq!(ids(&second), [&id(2), &id(1)]);
    assert_eq!(second.get("NextToken"), None);

    let mut destroyed = described;
    destroyed.versions[1].state = VersionState::Destroyed(None);
    assert_eq!(ids(&versions(&destroyed, true, None, 100)), [CURRENT, &id(3), &id(1)]);
}

#[test]
fn a_catalogue_tells_of_each_secret_what_may_be_told() {
    let facts = facts();
    let entries = vec![
        Entry { name: "a".to_owned(), described: None },
        Entry { name: "app/db".to_owned(), described: Some(Box::new(described())) },
    ];
    let page = |entries, more| {
        let reply = Reply::Neutral(Outcome::Catalogue(entries));
        told(&encode::reply(&Shape::Catalogue, reply, Reveal { more, ..reveal(&facts) })).1
    };
    let body = page(entries, true);
    assert_eq!(body["SecretList"][0], json!({"ARN": names::arn("a", &aws()), "Name": "a"}));
    let known = &body["SecretList"][1];
    assert_eq!(known["SecretVersionsToStages"][CURRENT], json!(["AWSCURRENT"]));
    assert_eq!((known.get("VersionIdsToStages"), &known["Description"]), (None, &json!("d2")));
    assert_eq!(known["Tags"], json!([{"Key": "team", "Value": "red"}]));
    assert_eq!(facts.cursors.open(body["NextToken"].as_str().unwrap()).as_deref(), Some("app/db"));
    assert_eq!(page(Vec::new(), false), json!({"SecretList": []}));
}

#[test]
fn changes_name_the_secret_and_the_version_they_made() {
    let arn = names::arn("app/db", &aws());
    let made = || VersionInfo { native_id: Some(TOKEN.into()), ..version_info(5, Rank::Current, &[]) };
    let written = |info| Outcome::Written(info, Metadata::new());
    let named = json!({"ARN": arn, "Name": "app/db"});
    let versioned = json!({"ARN": arn, "Name": "app/db", "VersionId": TOKEN});
    let staged = json!({"ARN": arn, "Name": "app/db", "VersionId": TOKEN, "VersionStages": ["AWSCURRENT"]});
    let unranked = VersionInfo { rank: Rank::Unknown, ..made() };
    let secret = name("app/db");
    for (shape, outcome, expected) in [
        (Shape::Written(secret.clone(), false), written(made()), versioned.clone()),
        (Shape::Written(secret.clone(), true), written(made()), staged),
        (Shape::Written(secret.clone(), true), written(unranked), versioned),
        (Shape::Written(secret.clone(), false), Outcome::Done, named.clone()),
        (Shape::Named(secret.clone()), Outcome::Done, named.clone()),
        (Shape::Named(secret), Outcome::Described(Box::new(described())), named),
        (Shape::Empty, Outcome::Done, json!({})),
    ] {
        assert_eq!(answer(&shape, outcome), (200, expected), "{shape:?}");
    }
}

#[test]
fn a_deletion_says_when_it_is_for_good() {
    let arn = names::arn("app/db", &aws());
    for (days, outcome, date) in
        [(7, Outcome::Done, NOW + 7 * 86_400), (0, Outcome::Done, NOW), (0, Outcome::NotFound, NOW)]
    {
        let expected = json!({"ARN": arn, "Name": "app/db", "DeletionDate": date});
        assert_eq!(answer(&Shape::Deleted(name("app/db"), days), outcome), (200, expected));
    }
    let (status, body) = answer(&Shape::Deleted(name("app/db"), 7), Outcome::NotFound);
    assert_eq!((status, &body["__type"]), (400, &json!("ResourceNotFoundException")));
}

#[test]
fn a_random_password_is_an_answer() {
    let facts = facts();
    let rules = PasswordRules { length: 12, kinds: vec!["\"\\".to_owned()], each_kind: true };
    let request = SystemRequest::RandomPassword(rules);
    let tenant = Tenant::parse("default").unwrap();
    let principal = std::sync::Arc::new(Principal::new(tenant, "apps", Method::Aws, Vec::new(), Vec::new()));
    let answer = Answer::System(&request, principal);
    let (status, body) = told(&AwsFrontend.encode(&WireShape::Aws(Shape::Password), answer, reveal(&facts)));
    let password = body["RandomPassword"].as_str().unwrap();
    assert_eq!((status, password.chars().filter(|character| "\"\\".contains(*character)).count()), (200, 12));
}

#[test]
fn an_answer_to_something_else_is_an_error_and_no_success() {
    let facts = facts();
    for (shape, outcome) in [
        (Shape::Described(name("a")), Outcome::Done),
        (Shape::Catalogue, Outcome::Names(vec!["a".to_owned()])),
        (Shape::Password, Outcome::Done),
    ] {
        let (status, body) = answer(&shape, outcome);
        assert_eq!((status, &body["__type"]), (500, &json!("InternalServiceError")), "{shape:?}");
    }
    let (status, _) = told(&AwsFrontend.encode(&WireShape::Aws(Shape::Empty), Answer::Done, reveal(&facts)));
    assert_eq!(status, 500);
}
