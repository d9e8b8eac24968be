//! Bodies of the JSON protocol, as they come. Members that are not listed are ignored; one that is listed and of another
//! type is an error.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// `GetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSecretValue {
    pub(super) secret_id: Option<String>,
    pub(super) version_id: Option<String>,
    pub(super) version_stage: Option<String>,
}

/// `BatchGetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchGetSecretValue {
    pub(super) secret_id_list: Option<Vec<String>>,
    pub(super) filters: Option<Vec<FilterIn>>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
}

/// Calls that name a secret and nothing else: `DescribeSecret`, `RestoreSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JustSecret {
    pub(super) secret_id: Option<String>,
}

/// `ListSecretVersionIds`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecretVersionIds {
    pub(super) secret_id: Option<String>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
    pub(super) include_deprecated: Option<bool>,
}

/// `ListSecrets`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecrets {
    pub(super) include_planned_deletion: Option<bool>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
    pub(super) filters: Option<Vec<FilterIn>>,
    pub(super) sort_order: Option<String>,
    pub(super) sort_by: Option<String>,
}

/// A condition of a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FilterIn {
    pub(super) key: Option<String>,
    pub(super) values: Option<Vec<String>>,
}

/// `CreateSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateSecret {
    pub(super) name: Option<String>,
    pub(super) client_request_token: Option<String>,
    pub(super) description: Option<String>,
    pub(super) kms_key_id: Option<String>,
    pub(super) secret_binary: Option<Zeroizing<String>>,
    pub(super) secret_string: Option<Zeroizing<String>>,
    pub(super) tags: Option<Vec<TagIn>>,
    pub(super) add_replica_regions: Option<Vec<serde::de::IgnoredAny>>,
    pub(super) r#type: Option<String>,
}

/// `PutSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSecretValue {
    pub(super) secret_id: Option<String>,
    pub(super) client_request_token: Option<String>,
    pub(super) secret_binary: Option<Zeroizing<String>>,
    pub(super) secret_string: Option<Zeroizing<String>>,
    pub(super) version_stages: Option<Vec<String>>,
}

/// `UpdateSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateSecret {
    pub(super) secret_id: Option<String>,
    pub(super) client_request_token: Option<String>,
    pub(super) description: Option<String>,
    pub(super) kms_key_id: Option<String>,
    pub(super) secret_binary: Option<Zeroizing<String>>,
    pub(super) secret_string: Option<Zeroizing<String>>,
    pub(super) r#type: Option<String>,
}

/// `UpdateSecretVersionStage`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateSecretVersionStage {
    pub(super) secret_id: Option<String>,
    pub(super) version_stage: Option<String>,
    pub(super) remove_from_version_id: Option<String>,
    pub(super) move_to_version_id: Option<String>,
}

/// `DeleteSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteSecret {
    pub(super) secret_id: Option<String>,
    pub(super) recovery_window_in_days: Option<i64>,
    pub(super) force_delete_without_recovery: Option<bool>,
}

/// `TagResource`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagResource {
    pub(super) secret_id: Option<String>,
    pub(super) tags: Option<Vec<TagIn>>,
}

/// `UntagResource`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagResource {
    pub(super) secret_id: Option<String>,
    pub(super) tag_keys: Option<Vec<String>>,
}

/// A tag on its way in.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagIn {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

/// A tag on its way out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagOut<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// `GetRandomPassword`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRandomPassword {
    pub(super) password_length: Option<i64>,
    pub(super) exclude_characters: Option<String>,
    pub(super) exclude_numbers: Option<bool>,
    pub(super) exclude_punctuation: Option<bool>,
    pub(super) exclude_uppercase: Option<bool>,
    pub(super) exclude_lowercase: Option<bool>,
    pub(super) include_space: Option<bool>,
    pub(super) require_each_included_type: Option<bool>,
}

/// A failure.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    #[serde(rename = "__type")]
    pub(super) code: &'a str,
    #[serde(rename = "Message")]
    pub(super) message: &'a str,
}
