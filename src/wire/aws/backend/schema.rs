//! The shapes of Secrets Manager's JSON, as far as a client needs them.
//!
//! What the service leaves out, others send as `null`: both mean the same. Times are seconds since the epoch with a
//! fraction; milliseconds of them are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Timestamp;

/// A time on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Deserialize)]
pub(super) struct Epoch(pub(super) f64);

impl Epoch {
    /// Milliseconds since the epoch; what lies before it is the epoch.
    pub(super) fn millis(self) -> u64 {
        // the cast saturates
        (self.0 * 1000.0).round() as u64
    }

    pub(super) fn at(self) -> Timestamp {
        at_millis(self.millis())
    }
}

pub(super) const fn at_millis(millis: u64) -> Timestamp {
    Timestamp::from_micros(millis.saturating_mul(1000))
}

/// Labels by version id.
pub(super) type Stages = BTreeMap<String, Vec<String>>;

/// A secret without its value: an answer to `DescribeSecret`, or an entry of `ListSecrets`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created_date: Option<Epoch>,
    pub(super) last_changed_date: Option<Epoch>,
    pub(super) deleted_date: Option<Epoch>,
    pub(super) tags: Option<Vec<Tag>>,
    /// As a description calls it.
    pub(super) version_ids_to_stages: Option<Stages>,
    /// As a list calls it. Both may be there.
    pub(super) secret_versions_to_stages: Option<Stages>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// An answer to `GetSecretValue`, or an entry of `BatchGetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Value {
    #[serde(rename = "ARN")]
    pub(super) arn: Option<String>,
    pub(super) name: String,
    pub(super) version_id: String,
    pub(super) version_stages: Option<Vec<String>>,
    pub(super) created_date: Option<Epoch>,
    pub(super) secret_string: Option<Zeroizing<String>>,
    pub(super) secret_binary: Option<Zeroizing<String>>,
}

/// What has to be known of an answer to `GetSecretValue` that is passed on as it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ValueGlance {
    pub(super) name: String,
    pub(super) version_stages: Option<Vec<String>>,
    pub(super) created_date: Option<Epoch>,
    pub(super) secret_string: Option<serde::de::IgnoredAny>,
    pub(super) secret_binary: Option<serde::de::IgnoredAny>,
}

/// A page of `ListSecretVersionIds`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionPage {
    pub(super) versions: Option<Vec<Version>>,
    pub(super) next_token: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    pub(super) version_id: String,
    pub(super) version_stages: Option<Vec<String>>,
    pub(super) created_date: Option<Epoch>,
}

/// A page of `ListSecrets`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretPage {
    pub(super) secret_list: Vec<Secret>,
    pub(super) next_token: Option<String>,
}

/// A page of `BatchGetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchPage {
    pub(super) secret_values: Option<Vec<Value>>,
    pub(super) errors: Option<Vec<BatchError>>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchError {
    pub(super) secret_id: Option<String>,
    pub(super) error_code: Option<String>,
    pub(super) message: Option<String>,
}

/// An answer to a write of a value.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Written {
    pub(super) version_id: Option<String>,
}

/// `DescribeSecret`, `RestoreSecret`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named<'a> {
    pub(super) secret_id: &'a str,
}

/// `GetSecretValue`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Get<'a> {
    pub(super) secret_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_stage: Option<&'a str>,
}

/// `ListSecretVersionIds`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListVersions<'a> {
    pub(super) secret_id: &'a str,
    pub(super) include_deprecated: bool,
    pub(super) max_results: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<&'a str>,
}

/// `ListSecrets`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecrets<'a> {
    pub(super) max_results: u32,
    pub(super) include_planned_deletion: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filters: Option<[NameFilter<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameFilter<'a> {
    pub(super) key: &'static str,
    pub(super) values: [&'a str; 1],
}

/// `BatchGetSecretValue`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetMany<'a> {
    pub(super) secret_id_list: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<&'a str>,
}

/// `PutSecretValue`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put<'a> {
    pub(super) secret_id: &'a str,
    pub(super) client_request_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_binary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_stages: Option<&'a [String]>,
}

/// `CreateSecret`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_request_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_binary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kms_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) tags: &'a [Tag],
}

/// `UpdateSecretVersionStage`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MoveLabel<'a> {
    pub(super) secret_id: &'a str,
    pub(super) version_stage: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remove_from_version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) move_to_version_id: Option<&'a str>,
}

/// `TagResource`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagSecret<'a> {
    pub(super) secret_id: &'a str,
    pub(super) tags: &'a [Tag],
}

/// `UntagResource`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagSecret<'a> {
    pub(super) secret_id: &'a str,
    pub(super) tag_keys: &'a [&'a str],
}

/// `UpdateSecret`, without a value.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Update<'a> {
    pub(super) secret_id: &'a str,
    pub(super) client_request_token: &'a str,
    pub(super) description: &'a str,
}

/// `DeleteSecret`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete<'a> {
    pub(super) secret_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recovery_window_in_days: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) force_delete_without_recovery: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_however_they_are_written() {
        for (text, millis) in [
            ("1795428417", 1_795_428_417_000),
            ("1.523477145713E9", 1_523_477_145_713),
            ("1795428417.4567", 1_795_428_417_457),
            ("0", 0),
            ("-5", 0),
        ] {
            let time: Epoch = serde_json::from_str(text).unwrap();
            assert_eq!(time.millis(), millis, "{text}");
        }
        assert_eq!(Epoch(1.5).at(), Timestamp::from_micros(1_500_000));
    }

    #[test]
    fn nulls_are_absences_and_lists_and_descriptions_are_one_shape() {
        let text = r#"{"ARN":"arn:x","Name":"app/db","LastChangedDate":1795428417,"LastAccessedDate":null,"DeletedDate":null,
            "Tags":null,"VersionIdsToStages":{"a":["AWSCURRENT"]},"SecretVersionsToStages":{"a":["AWSCURRENT"]}}"#;
        let secret: Secret = serde_json::from_str(text).unwrap();
        assert_eq!(secret.name, "app/db");
        assert!(secret.tags.is_none() && secret.deleted_date.is_none() && secret.created_date.is_none());
        assert_eq!(secret.version_ids_to_stages, secret.secret_versions_to_stages);
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let get = Get { secret_id: "app/db", version_id: None, version_stage: Some("AWSPREVIOUS") };
        assert_eq!(serde_json::to_string(&get).unwrap(), r#"{"SecretId":"app/db","VersionStage":"AWSPREVIOUS"}"#);
        let create = Create {
            name: "n",
            client_request_token: Some("t"),
            description: None,
            secret_string: Some("s"),
            secret_binary: None,
            kms_key_id: None,
            tags: &[],
        };
        assert_eq!(
            serde_json::to_string(&create).unwrap(),
            r#"{"Name":"n","ClientRequestToken":"t","SecretString":"s"}"#
        );
        let tag = Tag { key: "team".to_owned(), value: Some("a".to_owned()) };
        let create = Create { kms_key_id: Some("k"), tags: &[tag], ..create };
        let text = serde_json::to_string(&create).unwrap();
        assert!(text.ends_with(r#""KmsKeyId":"k","Tags":[{"Key":"team","Value":"a"}]}"#), "{text}");
    }
}
