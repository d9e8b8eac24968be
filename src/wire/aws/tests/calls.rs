//! Every operation, as boto3 and the JS SDK send it.

use http::Method;

use super::{TOKEN, act, ask, call, facts, headers, name};
use crate::identity::Credential;
use crate::secret::{
    CatalogueOptions, CatalogueSort, Dialect, FilterKey, LabelMove, Metadata, MetadataChange, Operation, Precondition,
    SecretAction, SecretType, VersionSelector, VersionSet, WriteOptions,
};
use crate::wire::aws::{Asked, AwsFrontend, Shape, list, version};
use crate::wire::{Frontend as _, PasswordRules, Request, SystemRequest, WireRequest};

#[test]
fn a_request_is_given_to_whoever_verifies_it_as_it_came() {
    let mut headers = headers(&[("content-type", "application/x-amz-json-1.1; charset=utf-8"), ("authorization", "x")]);
    headers.insert("x-amz-target", "secretsmanager.GetSecretValue".parse().unwrap());
    let (facts, body) = (facts(), br#"{"SecretId": "app/db"}"#);
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261123&X-Amz-Expires=60&X-Amz-Signature=0";
    let host = "127.0.0.1:19500";
    for query in [None, Some(query)] {
        let request = WireRequest { method: &Method::POST, path: "/", query, host, headers: &headers, body };
        let decoded = AwsFrontend.decode(&request, &facts).unwrap();
        let Credential::Signed(signed) = decoded.credential else { panic!("{:?}", decoded.credential) };
        assert_eq!((signed.path, signed.query, signed.host, signed.body), ("/", query, host, &body[..]));
        assert_eq!((signed.region, signed.service), ("us-east-1", "secretsmanager"));
        assert_eq!(signed.headers.len(), 3);
    }
}

#[test]
fn reads_name_their_version_in_every_way_there_is() {
    let ours = version::id("app/db", 3);
    let native = || VersionSelector::Native(TOKEN.into());
    let labelled = |version| VersionSelector::Labelled { version: Box::new(version), stage: "AWSCURRENT".into() };
    let by_id = || Asked::Version(TOKEN.into());
    for (body, selector, asked) in [
        (r#"{"SecretId": "app/db"}"#.to_owned(), VersionSelector::Current, Asked::Current),
        (r#"{"SecretId":"app/db","VersionStage":"AWSCURRENT"}"#.to_owned(), VersionSelector::Current, Asked::Current),
        (
            r#"{"SecretId": "app/db", "VersionStage": "AWSPREVIOUS"}"#.to_owned(),
            VersionSelector::Stage("AWSPREVIOUS".into()),
            Asked::Stage("AWSPREVIOUS".into()),
        ),
        (format!(r#"{{"SecretId": "app/db", "VersionId": "{TOKEN}"}}"#), native(), by_id()),
        (
            format!(r#"{{"SecretId":"app/db","VersionId":"{TOKEN}","VersionStage":"AWSCURRENT"}}"#),
            labelled(native()),
            by_id(),
        ),
        (
            format!(r#"{{"SecretId":"app/db","VersionId":"{ours}","VersionStage":"AWSCURRENT"}}"#),
            labelled(VersionSelector::Number(3)),
            Asked::Version(ours.as_str().into()),
        ),
        (
            r#"{"SecretId":"app/db","VersionId":null,"VersionStage":null,"Unknown":{"a":[1]}}"#.to_owned(),
            VersionSelector::Current,
            Asked::Current,
        ),
    ] {
        let (call, shape) = call("GetSecretValue", &body);
        assert_eq!((call.operation, call.secret.dialect), (Operation::Read, Dialect::Aws));
        assert_eq!(call.secret.name, Some(name("app/db")));
        assert!(matches!(&call.secret.action, SecretAction::Read(read) if *read == selector), "{body}: {call:?}");
        assert_eq!(shape, Shape::Value(name("app/db"), asked));
    }
    let other = format!(r#"{{"SecretId":"app/other","VersionId":"{ours}"}}"#);
    let (_, action) = act("GetSecretValue", &other);
    assert!(matches!(action, SecretAction::Read(VersionSelector::Native(id)) if *id == *ours), "of another name");
    let arn = r#"{"SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-zvhYAY"}"#;
    assert_eq!(act("GetSecretValue", arn).0, "app/db");
    assert_eq!(act("GetSecretValue", "{\n\"SecretId\":\"app\\/db\"}\n").0, "app/db");
}

#[test]
fn descriptions_are_native_for_one_operation_only() {
    let (one, shape) = call("DescribeSecret", r#"{"SecretId": "app/db"}"#);
    assert_eq!((one.operation, one.secret.dialect), (Operation::Describe, Dialect::Aws));
    assert!(matches!(one.secret.action, SecretAction::Describe));
    assert_eq!(shape, Shape::Described(name("app/db")));
    let (other, shape) = call("ListSecretVersionIds", r#"{"SecretId": "app/db", "IncludeDeprecated": true}"#);
    assert_eq!((other.operation, other.secret.dialect), (Operation::Describe, Dialect::Neutral));
    assert_eq!(shape, Shape::Versions { name: name("app/db"), deprecated: true, after: None, limit: 100 });
    let token = list::version_token(&facts().cursors, "app/db", 7, TOKEN);
    let body = format!(r#"{{"SecretId": "app/db", "MaxResults": 1, "NextToken": "{token}"}}"#);
    let (_, shape) = call("ListSecretVersionIds", &body);
    let after = Some((7, TOKEN.into()));
    assert_eq!(shape, Shape::Versions { name: name("app/db"), deprecated: false, after, limit: 1 });
}

fn catalogue(operation: &str, body: &str) -> CatalogueOptions {
    let request = match ask(operation, body) {
        Ok((Request::Secret(call), Shape::Catalogue)) => call,
        Ok((Request::Gather(call), Shape::Values(asked))) if asked.is_empty() => call,
        other => panic!("{other:?}"),
    };
    assert_eq!((request.operation, &request.secret.name), (Operation::Scan, &None));
    match request.secret.action {
        SecretAction::Catalogue(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_carry_their_filters_order_and_page() {
    let all = CatalogueOptions { limit: Some(100), ..CatalogueOptions::default() };
    assert_eq!(catalogue("ListSecrets", "{}"), all);
    let token = facts().cursors.seal("app/db");
    let body = format!(r#"{{"MaxResults": 2, "NextToken": "{token}", "IncludePlannedDeletion": true}}"#);
    let page = catalogue("ListSecrets", &body);
    assert_eq!((page.limit, page.after.as_deref(), page.with_deleted), (Some(2), Some("app/db"), true));
    for (body, sort, descending) in [
        (r#"{"SortOrder": "asc"}"#, CatalogueSort::Created, false),
        (r#"{"SortBy": "name", "SortOrder": "desc"}"#, CatalogueSort::Name, true),
        (r#"{"SortBy": "created-date"}"#, CatalogueSort::Created, false),
        (r#"{"SortBy": "last-changed-date", "SortOrder": "desc"}"#, CatalogueSort::Changed, true),
    ] {
        let options = catalogue("ListSecrets", body);
        assert_eq!((options.sort, options.descending), (sort, descending), "{body}");
    }
    for (word, key) in [
        ("name", FilterKey::Name),
        ("description", FilterKey::Description),
        ("tag-key", FilterKey::TagKey),
        ("tag-value", FilterKey::TagValue),
        ("all", FilterKey::All),
        ("primary-region", FilterKey::Nothing),
        ("owning-service", FilterKey::Nothing),
    ] {
        let body = format!(r#"{{"Filters": [{{"Key": "{word}", "Values": ["pg/", "!app"]}}]}}"#);
        for (operation, limit) in [("ListSecrets", 100), ("BatchGetSecretValue", 20)] {
            let options = catalogue(operation, &body);
            assert_eq!((options.limit, options.filters.len(), options.filters[0].key), (Some(limit), 1, key));
            let values: Vec<_> = options.filters[0].values.iter().map(|v| (v.prefix.as_str(), v.negated)).collect();
            assert_eq!(values, [("pg/", false), ("app", true)]);
        }
    }
}

#[test]
fn a_batch_reads_each_secret_it_names() {
    let body =
        r#"{"SecretIdList": ["app/db", "arn:aws:secretsmanager:us-east-1:123456789012:secret:pg/s1-abcdef", "nope"]}"#;
    let Ok((Request::Batch(calls), Shape::Values(asked))) = ask("BatchGetSecretValue", body) else { panic!() };
    let names: Vec<_> = calls.iter().map(|call| call.secret.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["app/db", "pg/s1", "nope"]);
    let is_read = |action: &SecretAction| matches!(action, SecretAction::Read(VersionSelector::Current));
    assert!(calls.iter().all(|call| call.operation == Operation::Read && is_read(&call.secret.action)));
    assert_eq!(asked.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    assert!(asked[1].1.ends_with("-abcdef"), "errors name what the client named");
}

fn write(operation: &str, body: &str) -> (Vec<u8>, SecretType, WriteOptions) {
    match act(operation, body) {
        (name, SecretAction::Write { value, secret_type, options }) if name == "app/db" => {
            (value.expose().to_vec(), secret_type, options)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_secret_is_written_where_there_is_none() {
    let body = r#"{"Name": "app/db", "Description": "d", "SecretString": "{\"u\":\"x\",\"p\":\"fake-1\"}", "Tags": [{"Key": "team", "Value": "red"}], "ClientRequestToken": "6cda964a-b839-48fd-88b6-92663ebe5943"}"#;
    let (value, secret_type, options) = write("CreateSecret", body);
    assert_eq!((&value[..], secret_type), (&br#"{"u":"x","p":"fake-1"}"#[..], SecretType::Json));
    let metadata = [("aws:description", "d"), ("team", "red")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let expected = WriteOptions {
        precondition: Precondition::New,
        conditional: true,
        metadata: Some(metadata.into()),
        token: Some(TOKEN.into()),
        ..WriteOptions::default()
    };
    assert_eq!(options, expected);
    assert_eq!(call("CreateSecret", body).1, Shape::Written(name("app/db"), false));
    let body = r#"{"Name":"app/db","ClientRequestToken":"6cda964a-b839-48fd-88b6-92663ebe5943","SecretBinary":"AP8B"}"#;
    let (value, secret_type, options) = write("CreateSecret", body);
    assert_eq!((&value[..], secret_type), (&b"\x00\xff\x01"[..], SecretType::Binary));
    assert_eq!(options.metadata, Some(Metadata::new()));
    let body = r#"{"Name": "app/db", "Description": "", "KmsKeyId": "alias/aws/secretsmanager"}"#;
    let (call, _) = call("CreateSecret", body);
    assert_eq!(call.operation, Operation::WriteMetadata);
    let expected = MetadataChange { metadata: Some(Vec::new()), absent: true, ..MetadataChange::default() };
    assert!(matches!(call.secret.action, SecretAction::WriteMetadata(change) if change == expected));
}

#[test]
fn text_is_json_only_where_every_reader_agrees() {
    for (text, secret_type) in [
        (r#"{\"a\":1}"#, SecretType::Json),
        (r#"{\"a\":1}\n"#, SecretType::Json),
        ("{}", SecretType::Json),
        (r#"{\"a\":1,\"a\":2}"#, SecretType::Text),
        ("{", SecretType::Text),
        ("[1]", SecretType::Text),
        (r#"\"x\""#, SecretType::Text),
        ("fake", SecretType::Text),
    ] {
        let body = format!(r#"{{"SecretId":"app/db","SecretString":"{text}","ClientRequestToken":"{TOKEN}"}}"#);
        assert_eq!(write("PutSecretValue", &body).1, secret_type, "{text}");
    }
}

#[test]
fn a_new_version_is_written_where_there_is_a_secret() {
    let body = format!(
        r#"{{"SecretId": "app/db", "SecretString": "fake-pend", "VersionStages": ["AWSPENDING"], "ClientRequestToken": "{TOKEN}"}}"#
    );
    let put =
        WriteOptions { precondition: Precondition::Present, token: Some(TOKEN.into()), ..WriteOptions::default() };
    let staged = WriteOptions { stages: Some(vec!["AWSPENDING".into()]), ..put.clone() };
    assert_eq!(write("PutSecretValue", &body), (b"fake-pend".to_vec(), SecretType::Text, staged));
    assert_eq!(call("PutSecretValue", &body).1, Shape::Written(name("app/db"), true));
    let body = format!(r#"{{"SecretId": "app/db", "SecretString": "fake-3", "ClientRequestToken": "{TOKEN}"}}"#);
    assert_eq!(write("UpdateSecret", &body), (b"fake-3".to_vec(), SecretType::Text, put.clone()));
    let body = body.replace(r#""SecretString""#, r#""Description":"d2","SecretString""#);
    let merge = vec![("aws:description".to_owned(), Some("d2".to_owned()))];
    assert_eq!(write("UpdateSecret", &body).2, WriteOptions { merge, ..put });
    assert_eq!(call("UpdateSecret", &body).1, Shape::Written(name("app/db"), false));
}

#[test]
fn settings_are_merged_into_those_of_a_secret_there_is() {
    let entry = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    for (operation, body, entries) in [
        ("UpdateSecret", r#"{"SecretId":"a","Description":"d2"}"#, vec![entry("aws:description", Some("d2"))]),
        ("UpdateSecret", r#"{"SecretId":"a","Description":""}"#, vec![entry("aws:description", None)]),
        ("UpdateSecret", r#"{"SecretId":"a"}"#, vec![]),
        ("TagResource", r#"{"SecretId": "a", "Tags": [{"Key": "x", "Value": "y"}]}"#, vec![entry("x", Some("y"))]),
        ("TagResource", r#"{"SecretId": "a", "Tags": [{"Key": "x"}]}"#, vec![entry("x", Some(""))]),
        ("UntagResource", r#"{"SecretId": "a", "TagKeys": ["x", "z"]}"#, vec![entry("x", None), entry("z", None)]),
    ] {
        let (call, _) = call(operation, body);
        assert_eq!(call.operation, Operation::WriteMetadata);
        let metadata = (!entries.is_empty()).then_some(entries);
        let expected = MetadataChange { metadata, merge: true, present: true, ..MetadataChange::default() };
        assert!(matches!(call.secret.action, SecretAction::WriteMetadata(change) if change == expected), "{body}");
    }
}

#[test]
fn a_secret_ends_and_comes_back_as_a_whole() {
    for (body, days) in [(r#"{"SecretId": "a", "RecoveryWindowInDays": 7}"#, 7), (r#"{"SecretId": "a"}"#, 30)] {
        let (call, shape) = call("DeleteSecret", body);
        assert_eq!(call.operation, Operation::Delete);
        assert!(matches!(call.secret.action, SecretAction::Delete(VersionSet::All, Some(given)) if given == days));
        assert_eq!(shape, Shape::Deleted(name("a"), days));
    }
    let (forced, shape) = call("DeleteSecret", r#"{"SecretId": "a", "ForceDeleteWithoutRecovery": true}"#);
    assert_eq!(forced.operation, Operation::Purge);
    assert!(matches!(forced.secret.action, SecretAction::Purge));
    assert_eq!(shape, Shape::Deleted(name("a"), 0));
    let (restored, _) = call("RestoreSecret", r#"{"SecretId": "a"}"#);
    assert_eq!(restored.operation, Operation::Undelete);
    assert!(matches!(restored.secret.action, SecretAction::Undelete(VersionSet::All)));
}

#[test]
fn labels_move_between_versions() {
    let ours = version::id("a", 2);
    for (body, from, to) in [
        (format!(r#""MoveToVersionId": "{TOKEN}""#), None, Some(VersionSelector::Native(TOKEN.into()))),
        (
            format!(r#""RemoveFromVersionId": "{ours}", "MoveToVersionId": "{TOKEN}""#),
            Some(VersionSelector::Number(2)),
            Some(VersionSelector::Native(TOKEN.into())),
        ),
        (format!(r#""RemoveFromVersionId": "{ours}""#), Some(VersionSelector::Number(2)), None),
    ] {
        let body = format!(r#"{{"SecretId": "a", "VersionStage": "mine", {body}}}"#);
        let (call, shape) = call("UpdateSecretVersionStage", &body);
        assert_eq!((call.operation, shape), (Operation::WriteMetadata, Shape::Named(name("a"))));
        let expected = LabelMove { stage: "mine".into(), from, to };
        assert!(matches!(call.secret.action, SecretAction::Label(label) if label == expected), "{body}");
    }
}

#[test]
fn passwords_are_made_of_what_is_asked_for() {
    let rules = |body: &str| match ask("GetRandomPassword", body) {
        Ok((Request::System(SystemRequest::RandomPassword(rules)), Shape::Password)) => rules,
        other => panic!("{other:?}"),
    };
    let PasswordRules { length, kinds, each_kind } = rules("{}");
    assert_eq!((length, each_kind), (32, true));
    assert_eq!(kinds.iter().map(String::len).collect::<Vec<_>>(), [26, 26, 10, 32]);
    let body = r#"{"PasswordLength": 12, "ExcludePunctuation": true, "ExcludeUppercase": true, "IncludeSpace": true, "ExcludeCharacters": "02468abc", "RequireEachIncludedType": false}"#;
    let expected = ["defghijklmnopqrstuvwxyz", "13579", " "].map(str::to_owned).to_vec();
    assert_eq!(rules(body), PasswordRules { length: 12, kinds: expected, each_kind: false });
    assert_eq!(rules(r#"{"ExcludeCharacters": "0123456789"}"#).kinds.len(), 3, "a kind that is empty is none");
}

#[test]
fn a_name_in_a_question_is_a_name_or_an_arn() {
    let facts = facts();
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-zvhYAY";
    for (text, expected) in [("app/db", "app/db"), (arn, "app/db"), ("not a name", "not a name")] {
        let named = AwsFrontend.named(text, crate::secret::Action::Read, &facts).unwrap();
        assert_eq!((named.name.as_str(), named.is_passed), (expected, false));
    }
    assert_eq!(AwsFrontend.kind(), crate::secret::WireKind::Aws);
}
