//! Values on their way out.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{NOW, TOKEN, answer, aws, facts, name, reveal, told};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::secret::{
    Metadata, NativeReply, Outcome, Rank, Reply, SecretRecord, SecretType, SecretValue, VersionInfo, VersionState,
};
use crate::wire::aws::{Asked, Shape, encode, name as names, value, version};
use crate::wire::{Fault, Reveal};

fn record(value: Option<&[u8]>, secret_type: SecretType, info: VersionInfo) -> Box<SecretRecord> {
    let value = value.map(SecretValue::copy_of);
    Box::new(SecretRecord { value, secret_type, metadata: Metadata::new(), info, updated_at: None })
}

fn info() -> VersionInfo {
    VersionInfo {
        version: 3,
        native_id: Some(TOKEN.into()),
        created_at: Timestamp::from_secs(NOW),
        rank: Rank::Current,
        ..VersionInfo::default()
    }
}

fn read(asked: Asked, record: Box<SecretRecord>) -> (u16, Value) {
    answer(&Shape::Value(name("app/db"), asked), Outcome::Record(record))
}

#[test]
fn a_value_is_text_where_it_is_text_and_base64_where_it_is_not() {
    let arn = names::arn("app/db", &aws());
    for (bytes, secret_type, member, expected) in [
        (&br#"{"u":"x", "p":"fake-1"}"#[..], SecretType::Json, "SecretString", r#"{"u":"x", "p":"fake-1"}"#),
        ("gr\u{fc}n \"x\"\n\u{1}\t\\".as_bytes(), SecretType::Text, "SecretString", "gr\u{fc}n \"x\"\n\u{1}\t\\"),
        (b"\x00\xff\x01", SecretType::Binary, "SecretBinary", "AP8B"),
        (b"text", SecretType::Binary, "SecretBinary", "dGV4dA=="),
        (b"\xff", SecretType::Text, "SecretBinary", "/w=="),
        (b"", SecretType::Text, "SecretString", ""),
    ] {
        let (status, body) = read(Asked::Current, record(Some(bytes), secret_type, info()));
        let expected = json!({
            "ARN": arn,
            "Name": "app/db",
            "VersionId": TOKEN,
            member: expected,
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": NOW,
        });
        assert_eq!((status, body), (200, expected));
    }
}

#[test]
fn a_value_is_written_into_one_allocation() {
    let text = "\"\\\n\u{1}x".repeat(2000);
    let bytes =
        value::single("app/db", &record(Some(text.as_bytes()), SecretType::Text, info()), &Asked::Current, &aws());
    let bytes = bytes.unwrap();
    // of five characters two, two, two, six and one; a vector that has to grow doubles
    let room = Vec::from(bytes).capacity();
    assert!((13 * 2000..13 * 2000 + 512).contains(&room), "{room}");
}

#[test]
fn versions_show_their_own_identifier_or_one_made_of_their_number() {
    let body = |info| read(Asked::Current, record(Some(b"x"), SecretType::Text, info)).1;
    let synthetic = body(VersionInfo { native_id: None, ..info() });
    assert_eq!(synthetic["VersionId"], version::id("app/db", 3));
    let azure = body(VersionInfo { native_id: Some("0123456789abcdef0123456789abcdef".into()), ..info() });
    assert_eq!(azure["VersionId"], "0123456789abcdef0123456789abcdef");
    let staged = body(VersionInfo { rank: Rank::Previous, stages: vec!["mine".into()], ..info() });
    assert_eq!(staged["VersionStages"], json!(["AWSPREVIOUS", "mine"]));
    assert_eq!(body(VersionInfo { rank: Rank::Other, ..info() })["VersionStages"], json!([]));
    let unknown = body(VersionInfo { created_at: Timestamp::default(), rank: Rank::Unknown, ..info() });
    assert_eq!((unknown.get("VersionStages"), unknown.get("CreatedDate")), (None, None));
}

#[test]
fn a_version_without_a_value_says_why() {
    let deleted = VersionInfo { state: VersionState::Deleted(Timestamp::from_secs(1)), ..info() };
    let destroyed = VersionInfo { state: VersionState::Destroyed(None), ..info() };
    let no = "Secrets Manager can't find the specified secret value for";
    for (info, asked, code, message) in [
        (
            deleted,
            Asked::Current,
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.".to_owned(),
        ),
        (info(), Asked::Current, "ResourceNotFoundException", format!("{no} staging label: AWSCURRENT")),
        (info(), Asked::Stage("mine".into()), "ResourceNotFoundException", format!("{no} staging label: mine")),
        (destroyed, Asked::Version(TOKEN.into()), "ResourceNotFoundException", format!("{no} VersionId: {TOKEN}")),
    ] {
        let (status, body) = read(asked, record(None, SecretType::Text, info));
        assert_eq!((status, body), (400, json!({"__type": code, "Message": message})));
    }
    let (_, body) = answer(&Shape::Value(name("app/db"), Asked::Current), Outcome::NotFound);
    assert_eq!(body["Message"], "Secrets Manager can't find the specified secret.");
}

fn native(status: StatusCode, body: &'static str) -> Reply {
    let body = Bytes::from_static(body.as_bytes());
    Reply::Native(NativeReply {
        status,
        headers: HeaderMap::new(),
        body,
        spans: Vec::new(),
        version: None,
        request_id: None,
    })
}

const NATIVE: &str = r#"{"ARN":"arn:aws:secretsmanager:eu-west-1:999999999999:secret:prod/db-zvhYAY","Name":"prod/db","SecretString":"fake","KmsKeyId":"k"}"#;

#[test]
fn a_native_answer_is_the_services_own_under_our_name() {
    let ours = NATIVE
        .replace("prod/db\"", "app/db\"")
        .replace("arn:aws:secretsmanager:eu-west-1:999999999999:secret:prod/db-zvhYAY", &names::arn("app/db", &aws()));
    for shape in [Shape::Value(name("app/db"), Asked::Current), Shape::Described(name("app/db"))] {
        let response = encode::reply(&shape, native(StatusCode::OK, NATIVE), reveal(&facts()));
        assert_eq!(super::text(&response), ours);
        assert_eq!(told(&response).0, 200);
    }
    let value = Shape::Value(name("app/db"), Asked::Current);
    for (shape, status, body) in [
        (value.clone(), StatusCode::OK, "<html>"),
        (value.clone(), StatusCode::OK, ""),
        (value, StatusCode::NOT_FOUND, NATIVE),
        (Shape::Catalogue, StatusCode::OK, NATIVE),
    ] {
        let (status, body) = told(&encode::reply(&shape, native(status, body), reveal(&facts())));
        assert_eq!((status, &body["__type"]), (500, &json!("InternalServiceError")), "never an empty success");
    }
}

#[test]
fn a_batch_holds_what_there_is_and_why_the_rest_is_not() {
    let record = |text: &'static str| {
        let info = VersionInfo { native_id: None, ..info() };
        Ok(Reply::Neutral(Outcome::Record(record(Some(text.as_bytes()), SecretType::Text, info))))
    };
    let gone = super::values::record(None, SecretType::Text, info());
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:no/way-abcdef";
    let asked: Vec<(_, Box<str>)> = vec![
        (name("no/way"), arn.into()),
        (name("a"), "a".into()),
        (name("none"), "none".into()),
        (name("b"), "b".into()),
        (name("empty"), "empty".into()),
        (name("app/db"), "app/db".into()),
    ];
    let results = vec![
        ("no/way".to_owned(), Err(Fault::of(ErrorKind::Denied))),
        ("a".to_owned(), record("fake-a")),
        ("none".to_owned(), Err(Fault::of(ErrorKind::NotFound))),
        ("b".to_owned(), record("fake-\"b\"")),
        ("empty".to_owned(), Ok(Reply::Neutral(Outcome::Record(gone)))),
        ("app/db".to_owned(), Ok(native(StatusCode::OK, NATIVE))),
    ];
    let (status, body) = told(&value::several(&asked, results, false, reveal(&facts())));
    assert_eq!(status, 200);
    let values = body["SecretValues"].as_array().unwrap();
    let pairs: Vec<_> = values.iter().map(|value| (&value["Name"], &value["SecretString"])).collect();
    let expected =
        [("a", "fake-a"), ("b", "fake-\"b\""), ("app/db", "fake")].map(|(one, other)| (json!(one), json!(other)));
    assert_eq!(pairs, expected.iter().map(|(one, other)| (one, other)).collect::<Vec<_>>());
    assert_eq!(values[0]["VersionId"], version::id("a", 3));
    let errors = body["Errors"].as_array().unwrap();
    let codes: Vec<_> = errors.iter().map(|error| (&error["SecretId"], &error["ErrorCode"])).collect();
    let expected =
        [(arn, "AccessDeniedException"), ("none", "ResourceNotFoundException"), ("empty", "ResourceNotFoundException")]
            .map(|(one, other)| (json!(one), json!(other)));
    assert_eq!(codes, expected.iter().map(|(one, other)| (one, other)).collect::<Vec<_>>());
    assert!(errors.iter().all(|error| error["Message"].is_string()));
    assert_eq!(body.get("NextToken"), None);
}

#[test]
fn a_batch_goes_on_behind_its_last_name() {
    let facts = facts();
    let results = vec![("a".to_owned(), Err(Fault::of(ErrorKind::Timeout)))];
    let (_, body) = told(&value::several(&[], results, true, Reveal { more: false, ..reveal(&facts) }));
    assert_eq!(body["SecretValues"], json!([]));
    assert_eq!(facts.cursors.open(body["NextToken"].as_str().unwrap()).as_deref(), Some("a"));
    assert_eq!(body["Errors"][0]["SecretId"], "a");
    let (_, body) = told(&value::several(&[], Vec::new(), true, reveal(&facts)));
    assert_eq!(body, json!({"SecretValues": [], "Errors": []}));
}
