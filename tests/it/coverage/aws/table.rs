//! Every operation of the service, in the order of a secret's life.

use serde_json::{Value, json};

use super::case::{Case, NONE};

pub(super) const ONE: &str = "apps/cov/one";
const BARE: &str = "apps/cov/bare";
const MISSING: &str = "apps/cov/missing";

/// Operations of the service that are refused whoever asks, before anything is asked.
pub(super) const NOT_SERVED: [&str; 9] = [
    "CancelRotateSecret",
    "DeleteResourcePolicy",
    "GetResourcePolicy",
    "PutResourcePolicy",
    "RemoveRegionsFromReplication",
    "ReplicateSecretToRegions",
    "RotateSecret",
    "StopReplicationToReplica",
    "ValidateResourcePolicy",
];

/// All others of the service.
pub(super) const SERVED: [&str; 14] = [
    "BatchGetSecretValue",
    "CreateSecret",
    "DeleteSecret",
    "DescribeSecret",
    "GetRandomPassword",
    "GetSecretValue",
    "ListSecretVersionIds",
    "ListSecrets",
    "PutSecretValue",
    "RestoreSecret",
    "TagResource",
    "UntagResource",
    "UpdateSecret",
    "UpdateSecretVersionStage",
];

/// A version's identifier, as clients make them up.
fn version(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn arn(region: &str, account: &str) -> String {
    format!("arn:aws:secretsmanager:{region}:{account}:secret:{ONE}")
}

/// A call that says no more than which secret.
fn just(operation: &'static str, name: &str) -> (&'static str, Value) {
    (operation, json!({"SecretId": name}))
}

fn put(operation: &'static str, name: &str, number: u32) -> (&'static str, Value) {
    (operation, json!({"SecretId": name, "ClientRequestToken": version(number), "SecretString": "made-up"}))
}

pub(super) fn create(name: &str, number: u32) -> (&'static str, Value) {
    ("CreateSecret", json!({"Name": name, "ClientRequestToken": version(number), "SecretString": "made-up"}))
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = begun();
    all.extend(read());
    all.extend(several());
    all.extend(changed());
    all.extend(ended());
    all.extend(unread());
    all
}

fn begun() -> Vec<Case> {
    vec![
        Case::write(create(ONE, 1), "write", ONE),
        Case::vain(create(ONE, 9), "write", ("outcome", "conflict", ONE), "ResourceExistsException"),
        Case::write(("CreateSecret", json!({"Name": BARE})), "write_metadata", BARE),
        Case::write(put("PutSecretValue", ONE, 2), "write", ONE),
        Case::write(put("UpdateSecret", ONE, 3), "write", ONE),
        Case::write(("UpdateSecret", json!({"SecretId": ONE, "Description": "of a test"})), "write_metadata", ONE),
    ]
}

fn read() -> Vec<Case> {
    let value = |more: Value| {
        let mut body = json!({"SecretId": ONE});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("GetSecretValue", body)
    };
    let none = "ResourceNotFoundException";
    let misnamed = || ("ValidationException", vec![("refusal", "malformed", NONE)]);
    vec![
        Case::read(just("GetSecretValue", ONE), "read", ONE),
        Case::read(just("GetSecretValue", &arn("us-east-1", "123456789012")), "read", ONE),
        Case::read(value(json!({"VersionId": version(1)})), "read", ONE),
        Case::read(value(json!({"VersionStage": "AWSPREVIOUS"})), "read", ONE),
        Case::absent(value(json!({"VersionStage": "NOBODYS"})), ONE, none),
        Case::absent(value(json!({"VersionId": version(77)})), ONE, none),
        Case::absent(just("GetSecretValue", BARE), BARE, none),
        Case::absent(just("GetSecretValue", MISSING), MISSING, none),
        Case::read(just("GetSecretValue", "live/one"), "read", "live/one"),
        Case::absent(just("GetSecretValue", "live/missing"), "live/missing", none),
        Case::read(just("DescribeSecret", ONE), "describe", ONE),
        Case::read(("ListSecretVersionIds", json!({"SecretId": ONE, "IncludeDeprecated": true})), "describe", ONE),
        // policy may allow it: there is no such place, and whatever holds the backend's credential is nobody's
        outside("GetSecretValue", "unmapped/one"),
        outside("DescribeSecret", "infra/backend"),
        Case::about(just("GetSecretValue", "apps//one"), "read", NONE, misnamed()).but_denied(misnamed()),
    ]
}

/// A secret the admin is refused as everybody is.
fn outside(operation: &'static str, path: &'static str) -> Case {
    let label = if operation == "DescribeSecret" { "describe" } else { "read" };
    let refused = ("AccessDeniedException", vec![("refusal", "denied", path)]);
    Case::about(just(operation, path), label, path, refused)
}

/// Calls about several secrets: what a call cannot have of one is told in its answer, and in a line of its own.
fn several() -> Vec<Case> {
    let prefix = json!({"Filters": [{"Key": "name", "Values": ["apps/cov"]}]});
    let both = ("BatchGetSecretValue", json!({"SecretIdList": [ONE, MISSING]}));
    let found = ("", vec![("read", "ok", ONE), ("read", "not_found", MISSING)]);
    let none = ("", vec![("refusal", "denied", ONE), ("refusal", "denied", MISSING)]);
    let listed = |folder: &'static str| ("", vec![("list", "ok", folder)]);
    let told = || ("", vec![("note", "ok", NONE)]);
    vec![
        Case::about(both, "read", NONE, found).but_denied(none),
        Case::about(("ListSecrets", json!({})), "scan", NONE, listed("/")),
        Case::about(("ListSecrets", prefix), "scan", NONE, listed("apps/")),
        Case::about(("GetRandomPassword", json!({})), "system", NONE, told()).but_denied(told()),
    ]
}

fn changed() -> Vec<Case> {
    let moved = json!({"SecretId": ONE, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": version(3),
        "MoveToVersionId": version(2)});
    let tags = json!({"SecretId": ONE, "Tags": [{"Key": "owner", "Value": "it"}]});
    let read_only = ("AccessDeniedException", vec![("refusal", "read_only", "live/one")]);
    vec![
        Case::write(("UpdateSecretVersionStage", moved), "write_metadata", ONE),
        Case::write(("TagResource", tags), "write_metadata", ONE),
        Case::write(("UntagResource", json!({"SecretId": ONE, "TagKeys": ["owner"]})), "write_metadata", ONE),
        Case::vain(
            put("PutSecretValue", MISSING, 5),
            "write",
            ("outcome", "not_found", MISSING),
            "ResourceNotFoundException",
        ),
        Case::about(put("PutSecretValue", "live/one", 6), "write", "live/one", read_only),
    ]
}

fn ended() -> Vec<Case> {
    let deleted = "InvalidRequestException";
    let forced = json!({"SecretId": ONE, "ForceDeleteWithoutRecovery": true});
    vec![
        Case::write(("DeleteSecret", json!({"SecretId": ONE, "RecoveryWindowInDays": 7})), "delete", ONE),
        Case::absent(just("GetSecretValue", ONE), ONE, deleted),
        Case::vain(put("PutSecretValue", ONE, 4), "write", ("outcome", "malformed", ONE), deleted),
        Case::write(just("RestoreSecret", ONE), "undelete", ONE),
        Case::read(just("GetSecretValue", ONE), "read", ONE),
        Case::write(("DeleteSecret", forced), "purge", ONE),
        Case::absent(just("GetSecretValue", ONE), ONE, "ResourceNotFoundException"),
        Case::vain(
            just("DeleteSecret", MISSING),
            "delete",
            ("outcome", "not_found", MISSING),
            "ResourceNotFoundException",
        ),
    ]
}

/// Refused before anybody asks who is asking.
fn unread() -> Vec<Case> {
    let mut all: Vec<Case> = NOT_SERVED
        .into_iter()
        .map(|operation| Case::unread(just(operation, ONE), "unsupported", "InvalidRequestException"))
        .collect();
    all.extend([
        Case::unread(just("NoSuchOperation", ONE), "malformed", "UnknownOperationException"),
        Case::unread(("GetSecretValue", json!([ONE])), "malformed", "SerializationException"),
        Case::unread(just("GetSecretValue", &arn("eu-west-1", "123456789012")), "denied", "AccessDeniedException"),
        Case::unread(just("GetSecretValue", &arn("us-east-1", "210987654321")), "denied", "AccessDeniedException"),
    ]);
    all
}
