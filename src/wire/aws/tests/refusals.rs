//! What is refused before anybody is asked who sent it.

use super::{JSON, TOKEN, ask, facts, headers, send};
use crate::error::ErrorKind;
use crate::secret::detail;
use crate::wire::Fault;
use crate::wire::aws::{fault, list, version};

/// The code a client sees.
fn code(operation: &str, body: &str) -> &'static str {
    fault::words(no(operation, body)).code
}

fn no(operation: &str, body: &str) -> Fault {
    ask(operation, body).map(|_| ()).expect_err(body)
}

#[test]
fn s24_m01_m02_m14_a_request_is_one_operation_of_this_service_or_nothing() {
    let target = ("x-amz-target", "secretsmanager.ListSecrets");
    let json = ("content-type", JSON);
    assert!(send("POST", "/", &headers(&[target, json]), b"{}").is_ok());
    let override_ = ("x-http-method-override", "GET");
    assert!(send("POST", "/", &headers(&[target, json, override_]), b"{}").is_ok(), "M01: not looked at");
    for (method, path, pairs) in [
        ("GET", "/", vec![target, json]),
        ("PUT", "/", vec![target, json]),
        ("post", "/", vec![target, json]),
        ("OPTIONS", "/", vec![target, json]),
        ("HEAD", "/", vec![target, json]),
        ("POST", "", vec![target, json]),
        ("POST", "//", vec![target, json]),
        ("POST", "/x", vec![target, json]),
        ("POST", "/.", vec![target, json]),
        ("POST", "/%2f", vec![target, json]),
        ("POST", "/", vec![json]),
        ("POST", "/", vec![target, target, json]),
        ("POST", "/", vec![target, json, json]),
        ("POST", "/", vec![("x-amz-target", "DynamoDB_20120810.ListTables"), json]),
        ("POST", "/", vec![("x-amz-target", "Secretsmanager.ListSecrets"), json]),
        ("POST", "/", vec![("x-amz-target", "secretsmanager.listsecrets"), json]),
        ("POST", "/", vec![("x-amz-target", "secretsmanager.ListSecrets "), json]),
        ("POST", "/", vec![("x-amz-target", "secretsmanager."), json]),
        ("POST", "/", vec![("x-amz-target", ""), json]),
        ("POST", "/", vec![target]),
        ("POST", "/", vec![target, ("content-type", "application/x-amz-json-1.0")]),
        ("POST", "/", vec![target, ("content-type", "application/json")]),
        ("POST", "/", vec![target, ("content-type", "text/plain")]),
        ("POST", "/", vec![target, ("content-type", "application/x-www-form-urlencoded")]),
    ] {
        let fault = send(method, path, &headers(&pairs), b"{}").map(|_| ()).expect_err(path);
        assert_eq!(fault.kind, ErrorKind::Malformed, "{method} {path} {pairs:?}");
        assert_eq!(fault::words(fault).code, "UnknownOperationException", "{method} {path} {pairs:?}");
    }
    let fault = send("POST", "/", &headers(&[target, json, ("content-encoding", "gzip")]), b"{}").map(|_| ());
    assert_eq!(fault::words(fault.unwrap_err()).code, "SerializationException");
}

#[test]
fn p42_s12_a_query_is_a_signature_or_refused() {
    let headers = headers(&[("x-amz-target", "secretsmanager.ListSecrets"), ("content-type", JSON)]);
    for query in [
        "x=1",
        "X-Amz-Signature=0&X-Amz-Signature=0",
        "X-Amz-Target=secretsmanager.DeleteSecret",
        "_method=GET",
        "X-Amz-Date=%",
        "X-Amz-Date=%0d",
    ] {
        let fault = send("POST", &format!("/?{query}"), &headers, b"{}").map(|_| ()).expect_err(query);
        assert_eq!(fault.kind, ErrorKind::Malformed, "{query}");
    }
}

#[test]
fn m10_m11_m12_bodies_that_parsers_read_differently_are_refused() {
    let deep = format!(r#"{{"SecretId":"a","x":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        r#"{"SecretId":"a","SecretId":"b"}"#,
        r#"{"SecretId":"a","\u0053ecretId":"b"}"#,
        r#"{"SecretId":"a","x":{"y":1,"y":2}}"#,
        r#"{"SecretId":"a"} {"SecretId":"b"}"#,
        r#"{"SecretId":"a"}x"#,
        "\u{feff}{\"SecretId\":\"a\"}",
        r#"{"SecretId":"a","x":NaN}"#,
        r#"{"SecretId":"a","x":1e400}"#,
        r#"["a"]"#,
        r#"["a",null,null]"#,
        r#""a""#,
        "null",
        "",
        "{nope",
        &deep,
    ] {
        assert_eq!(code("GetSecretValue", body), "SerializationException", "{body:.60}");
    }
    for (operation, body) in [
        ("GetSecretValue", r#"{"SecretId":1}"#),
        ("GetSecretValue", r#"{"SecretId":["a"]}"#),
        ("GetSecretValue", r#"{"SecretId":"a","VersionId":{}}"#),
        ("ListSecrets", r#"{"MaxResults":"10"}"#),
        ("ListSecrets", r#"{"MaxResults":1.5}"#),
        ("ListSecrets", r#"{"Filters":{"Key":"name"}}"#),
        ("DeleteSecret", r#"{"SecretId":"a","ForceDeleteWithoutRecovery":"true"}"#),
        ("PutSecretValue", r#"{"SecretId":"a","SecretString":{"a":1}}"#),
        ("PutSecretValue", r#"{"SecretId":"a","SecretBinary":"%%%"}"#),
        ("PutSecretValue", r#"{"SecretId":"a","SecretBinary":"AP8"}"#),
        ("TagResource", r#"{"SecretId":"a","Tags":{"x":"y"}}"#),
    ] {
        assert_eq!(code(operation, body), "SerializationException", "{operation} {body}");
    }
}

#[test]
fn parameters_are_within_the_bounds_of_the_service() {
    const VALIDATION: &str = "ValidationException";
    const PARAMETER: &str = "InvalidParameterException";
    const REQUEST: &str = "InvalidRequestException";
    let long = |count: usize| "x".repeat(count);
    let tags: Vec<String> = (0..51).map(|number| format!(r#"{{"Key":"k{number}"}}"#)).collect();
    for (operation, body, expected) in [
        ("GetSecretValue", "{}".to_owned(), VALIDATION),
        ("GetSecretValue", r#"{"SecretId":null}"#.to_owned(), VALIDATION),
        ("GetSecretValue", r#"{"SecretId":""}"#.to_owned(), VALIDATION),
        ("GetSecretValue", r#"{"SecretId":"bad name!*"}"#.to_owned(), VALIDATION),
        ("GetSecretValue", r#"{"SecretId":"a\u0000"}"#.to_owned(), VALIDATION),
        ("GetSecretValue", format!(r#"{{"SecretId":"a","VersionId":"{}"}}"#, long(31)), VALIDATION),
        ("GetSecretValue", format!(r#"{{"SecretId":"a","VersionId":"{}"}}"#, long(65)), VALIDATION),
        ("GetSecretValue", r#"{"SecretId":"a","VersionStage":""}"#.to_owned(), VALIDATION),
        ("GetSecretValue", format!(r#"{{"SecretId":"a","VersionStage":"{}"}}"#, long(257)), VALIDATION),
        ("ListSecrets", r#"{"MaxResults":0}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"MaxResults":101}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"MaxResults":-1}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"SortOrder":"up"}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"SortBy":"size"}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"SortBy":"last-accessed-date"}"#.to_owned(), REQUEST),
        ("ListSecrets", r#"{"Filters":[{"Key":"bogus","Values":["x"]}]}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"Filters":[{"Key":"name","Values":[]}]}"#.to_owned(), VALIDATION),
        ("ListSecrets", r#"{"Filters":[{"Values":["x"]}]}"#.to_owned(), VALIDATION),
        ("ListSecretVersionIds", r#"{"SecretId":"a","MaxResults":101}"#.to_owned(), VALIDATION),
        ("BatchGetSecretValue", "{}".to_owned(), PARAMETER),
        ("BatchGetSecretValue", r#"{"Filters":[]}"#.to_owned(), PARAMETER),
        (
            "BatchGetSecretValue",
            r#"{"SecretIdList":["a"],"Filters":[{"Key":"name","Values":["x"]}]}"#.into(),
            PARAMETER,
        ),
        ("BatchGetSecretValue", r#"{"SecretIdList":["a"],"MaxResults":2}"#.to_owned(), PARAMETER),
        ("BatchGetSecretValue", r#"{"SecretIdList":["a","b","a"]}"#.to_owned(), PARAMETER),
        ("BatchGetSecretValue", r#"{"SecretIdList":[]}"#.to_owned(), VALIDATION),
        ("BatchGetSecretValue", format!(r#"{{"SecretIdList":[{}"z"]}}"#, r#""a","#.repeat(20)), VALIDATION),
        ("BatchGetSecretValue", r#"{"Filters":[{"Key":"name","Values":["x"]}],"MaxResults":21}"#.into(), VALIDATION),
        ("CreateSecret", r#"{"SecretString":"x"}"#.to_owned(), VALIDATION),
        ("CreateSecret", r#"{"Name":"bad name!*"}"#.to_owned(), VALIDATION),
        ("CreateSecret", r#"{"Name":"rds!x"}"#.to_owned(), VALIDATION),
        ("CreateSecret", r#"{"Name":"arn:aws:secretsmanager:us-east-1:123456789012:secret:x"}"#.to_owned(), VALIDATION),
        ("CreateSecret", r#"{"Name":"a","SecretString":"x"}"#.to_owned(), REQUEST),
        ("CreateSecret", r#"{"Name":"a","ClientRequestToken":"short"}"#.to_owned(), VALIDATION),
        ("CreateSecret", format!(r#"{{"Name":"a","Description":"{}"}}"#, long(2049)), VALIDATION),
        ("CreateSecret", r#"{"Name":"a","KmsKeyId":"alias/mine"}"#.to_owned(), REQUEST),
        ("CreateSecret", r#"{"Name":"a","AddReplicaRegions":[{"Region":"eu-west-1"}]}"#.to_owned(), REQUEST),
        ("CreateSecret", r#"{"Name":"a","Type":"partner"}"#.to_owned(), REQUEST),
        ("CreateSecret", format!(r#"{{"Name":"a","Tags":[{}]}}"#, tags.join(",")), VALIDATION),
        ("CreateSecret", r#"{"Name":"a","Tags":[{"Key":"k"},{"Key":"k"}]}"#.to_owned(), PARAMETER),
        ("TagResource", r#"{"SecretId":"a"}"#.to_owned(), VALIDATION),
        ("TagResource", r#"{"SecretId":"a","Tags":[{"Value":"v"}]}"#.to_owned(), VALIDATION),
        ("TagResource", r#"{"SecretId":"a","Tags":[{"Key":""}]}"#.to_owned(), VALIDATION),
        ("TagResource", format!(r#"{{"SecretId":"a","Tags":[{{"Key":"{}"}}]}}"#, long(129)), VALIDATION),
        ("TagResource", format!(r#"{{"SecretId":"a","Tags":[{{"Key":"k","Value":"{}"}}]}}"#, long(257)), VALIDATION),
        ("TagResource", r#"{"SecretId":"a","Tags":[{"Key":"aws:description","Value":"x"}]}"#.to_owned(), PARAMETER),
        ("TagResource", r#"{"SecretId":"a","Tags":[{"Key":"AWS:x"}]}"#.to_owned(), PARAMETER),
        ("UntagResource", r#"{"SecretId":"a","TagKeys":["aws:description"]}"#.to_owned(), PARAMETER),
        ("UntagResource", r#"{"SecretId":"a"}"#.to_owned(), VALIDATION),
        ("PutSecretValue", format!(r#"{{"SecretId":"a","ClientRequestToken":"{TOKEN}"}}"#), REQUEST),
        ("PutSecretValue", r#"{"SecretId":"a","SecretString":"x"}"#.to_owned(), REQUEST),
        ("PutSecretValue", r#"{"SecretId":"a","SecretString":"a","SecretBinary":"Yg=="}"#.to_owned(), PARAMETER),
        ("PutSecretValue", r#"{"SecretId":"a","SecretString":""}"#.to_owned(), VALIDATION),
        ("PutSecretValue", r#"{"SecretId":"a","SecretBinary":""}"#.to_owned(), VALIDATION),
        ("PutSecretValue", format!(r#"{{"SecretId":"a","SecretString":"{}"}}"#, long(65)), PARAMETER),
        ("UpdateSecret", r#"{"SecretId":"a","SecretString":"x"}"#.to_owned(), REQUEST),
        ("UpdateSecret", r#"{"SecretId":"a","KmsKeyId":"1234"}"#.to_owned(), REQUEST),
        ("DeleteSecret", r#"{"SecretId":"a","RecoveryWindowInDays":6}"#.to_owned(), PARAMETER),
        ("DeleteSecret", r#"{"SecretId":"a","RecoveryWindowInDays":31}"#.to_owned(), PARAMETER),
        ("DeleteSecret", r#"{"SecretId":"a","RecoveryWindowInDays":65543}"#.to_owned(), PARAMETER),
        (
            "DeleteSecret",
            r#"{"SecretId":"a","ForceDeleteWithoutRecovery":true,"RecoveryWindowInDays":7}"#.to_owned(),
            PARAMETER,
        ),
        ("UpdateSecretVersionStage", r#"{"SecretId":"a","VersionStage":"x"}"#.to_owned(), PARAMETER),
        ("UpdateSecretVersionStage", format!(r#"{{"SecretId":"a","MoveToVersionId":"{TOKEN}"}}"#), VALIDATION),
        ("GetRandomPassword", r#"{"PasswordLength":0}"#.to_owned(), VALIDATION),
        ("GetRandomPassword", r#"{"PasswordLength":4097}"#.to_owned(), VALIDATION),
        ("GetRandomPassword", r#"{"PasswordLength":3}"#.to_owned(), PARAMETER),
        (
            "GetRandomPassword",
            r#"{"ExcludeLowercase":true,"ExcludeUppercase":true,"ExcludeNumbers":true,"ExcludePunctuation":true}"#
                .into(),
            PARAMETER,
        ),
        ("NoSuchOperation", "{}".to_owned(), "UnknownOperationException"),
    ] {
        assert_eq!(code(operation, &body), expected, "{operation} {body:.120}");
    }
    for stages in ["[]", r#"["a","a"]"#, r#"[""]"#] {
        let body =
            format!(r#"{{"SecretId":"a","SecretString":"x","ClientRequestToken":"{TOKEN}","VersionStages":{stages}}}"#);
        assert_eq!(no("PutSecretValue", &body).kind, ErrorKind::Malformed, "{stages}");
    }
}

#[test]
fn an_identifier_of_this_wire_is_no_token_for_another_version() {
    let ours = version::id("a", 3);
    let body = |name| format!(r#"{{"SecretId":"{name}","SecretString":"x","ClientRequestToken":"{ours}"}}"#);
    let fault = no("PutSecretValue", &body("a"));
    assert_eq!((fault.kind, fault.detail), (ErrorKind::Conflict, Some(detail::TOKEN_REUSED)));
    assert!(ask("PutSecretValue", &body("b")).is_ok(), "it says nothing of another secret");
}

#[test]
fn a_page_goes_on_only_with_a_token_of_the_same_kind() {
    let cursors = facts().cursors;
    let name = cursors.seal("a");
    let version = list::version_token(&cursors, "a", 3, TOKEN);
    let other = list::version_token(&cursors, "b", 3, TOKEN);
    let long = "A".repeat(4097);
    for (operation, token) in [
        ("ListSecrets", "garbage"),
        ("ListSecrets", "2"),
        ("ListSecrets", ""),
        ("ListSecrets", version.as_str()),
        ("ListSecretVersionIds", name.as_str()),
        ("ListSecretVersionIds", other.as_str()),
        ("ListSecretVersionIds", "garbage"),
        ("ListSecrets", long.as_str()),
    ] {
        let body = format!(r#"{{"SecretId":"a","NextToken":"{token}"}}"#);
        assert_eq!(code(operation, &body), "InvalidNextTokenException", "{operation} {token:.60}");
    }
}

#[test]
fn s15_arns_of_elsewhere_are_denied_whatever_is_asked() {
    for operation in ["GetSecretValue", "DescribeSecret", "ListSecretVersionIds", "DeleteSecret", "RestoreSecret"] {
        let body = r#"{"SecretId":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-zvhYAY"}"#;
        assert_eq!(code(operation, body), "AccessDeniedException", "{operation}");
    }
    let body = r#"{"SecretIdList":["a","arn:aws:secretsmanager:us-east-1:000000000000:secret:app/db-zvhYAY"]}"#;
    assert_eq!(code("BatchGetSecretValue", body), "AccessDeniedException");
}

#[test]
fn what_the_service_has_and_this_wire_has_not_is_refused_by_name() {
    for operation in [
        "GetResourcePolicy",
        "PutResourcePolicy",
        "DeleteResourcePolicy",
        "ValidateResourcePolicy",
        "RotateSecret",
        "CancelRotateSecret",
        "ReplicateSecretToRegions",
        "RemoveRegionsFromReplication",
        "StopReplicationToReplica",
    ] {
        let fault = no(operation, r#"{"SecretId":"a"}"#);
        assert_eq!(fault.kind, ErrorKind::Unsupported, "{operation}");
        let trouble = fault::words(fault);
        assert_eq!(trouble.code, "InvalidRequestException");
        assert!(trouble.message.starts_with(operation), "{}", trouble.message);
        assert!(trouble.message.contains("not supported by scaivault-proxy"), "{}", trouble.message);
    }
}
