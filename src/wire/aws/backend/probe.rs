//! What our credential may do, asked without doing it, and what it would have to be allowed.
//!
//! The service decides about rights before it looks for anything: asking for a version that cannot exist tells whether
//! reading is allowed and discloses nothing. No such question exists for writes, so nothing is said about them; nor for
//! the key a value is encrypted with.

use serde_json::{Value, json};

use super::AwsBackend;
use super::place;
use super::schema::{Get, ListSecrets};
use crate::backend::{Ask, BackendError};

/// The name asked about in a folder; nothing is read there.
const ANY_NAME: &str = "scaivault-proxy-probe";
/// A version nobody has: identifiers are random or a client's own, and this one is all zeros.
const NO_VERSION: &str = "00000000-0000-0000-0000-000000000000";

impl AwsBackend {
    pub(super) async fn permissions(&self, ask: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        let name = asked_about(ask.remote.as_str());
        let get = Get { secret_id: &name, version_id: Some(NO_VERSION), version_stage: None };
        let read = self.upstream.ask("GetSecretValue", &get, ask.request_id).await;
        let read = allowed(read)?;
        Ok(vec![("read", read), ("list", self.may_list(ask.request_id).await?)])
    }

    /// Whether secrets may be listed. The right is for all or none of them.
    pub(super) async fn may_list(&self, request_id: &str) -> Result<bool, BackendError> {
        let list = ListSecrets { max_results: 1, include_planned_deletion: false, filters: None, next_token: None };
        allowed(self.upstream.ask("ListSecrets", &list, request_id).await)
    }
}

fn allowed<T>(told: Result<T, BackendError>) -> Result<bool, BackendError> {
    match told {
        // an answer, or a complaint about the question: both come after the decision
        Ok(_) | Err(BackendError::Rejected(400)) => Ok(true),
        Err(BackendError::Denied) => Ok(false),
        Err(error) => Err(error),
    }
}

fn asked_about(name: &str) -> String {
    if name.is_empty() || name.ends_with('/') { format!("{name}{ANY_NAME}") } else { name.to_owned() }
}

/// The least an identity has to be allowed for some names of a region, as an IAM policy document. `names` are remote names
/// or templates of them, each with whether it is written too.
#[must_use]
pub fn minimal_policy(region: &str, names: &[(&str, bool)]) -> Value {
    let mut statements = vec![
        json!({
            "Effect": "Allow",
            "Action": ["secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue"],
            "Resource": "*",
        }),
        json!({
            "Effect": "Allow",
            "Action": [
                "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret", "secretsmanager:ListSecretVersionIds",
            ],
            "Resource": arns(region, names.iter().map(|(name, _)| *name)),
        }),
    ];
    if names.iter().any(|(_, is_written)| *is_written) {
        statements.push(json!({
            "Effect": "Allow",
            "Action": [
                "secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecret",
                "secretsmanager:UpdateSecretVersionStage", "secretsmanager:TagResource", "secretsmanager:UntagResource",
                "secretsmanager:DeleteSecret", "secretsmanager:RestoreSecret",
            ],
            "Resource": arns(region, names.iter().filter(|(_, is_written)| *is_written).map(|(name, _)| *name)),
        }));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn arns<'n>(region: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let partition = place::partition(region);
    names.map(|name| format!("arn:{partition}:secretsmanager:{region}:*:secret:{}", pattern(name))).collect()
}

/// A template of names as IAM's wildcards have it: up to its first wildcard, or with the six characters the service adds.
fn pattern(name: &str) -> String {
    name.split_once('*').map_or_else(|| format!("{name}-??????"), |(literal, _)| format!("{literal}*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_a_name() {
        for (remote, expected) in
            [("app/db", "app/db"), ("app/", "app/scaivault-proxy-probe"), ("", "scaivault-proxy-probe")]
        {
            assert_eq!(asked_about(remote), expected);
        }
        for (told, expected) in
            [(Ok(()), true), (Err(BackendError::Rejected(400)), true), (Err(BackendError::Denied), false)]
        {
            assert_eq!(allowed(told).unwrap(), expected);
        }
        assert!(allowed::<()>(Err(BackendError::Timeout)).is_err());
    }

    #[test]
    fn the_least_policy_names_what_is_mapped_and_no_more() {
        let policy = minimal_policy("eu-west-1", &[("app/**", false), ("db-*/x", true), ("one", false)]);
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 3);
        assert_eq!(
            statements[1]["Resource"],
            json!([
                "arn:aws:secretsmanager:eu-west-1:*:secret:app/*",
                "arn:aws:secretsmanager:eu-west-1:*:secret:db-*",
                "arn:aws:secretsmanager:eu-west-1:*:secret:one-??????",
            ])
        );
        assert_eq!(statements[2]["Resource"], json!(["arn:aws:secretsmanager:eu-west-1:*:secret:db-*"]));
        assert_eq!(minimal_policy("cn-north-1", &[("a", false)])["Statement"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_least_policy_allows_every_call_a_write_makes() {
        let policy = minimal_policy("eu-west-1", &[("a", true)]);
        let actions = policy["Statement"][2]["Action"].as_array().unwrap();
        let sends = |name: &str| include_str!("write.rs").contains(&format!("\"{name}\""));
        for name in [
            "CreateSecret",
            "PutSecretValue",
            "UpdateSecret",
            "UpdateSecretVersionStage",
            "TagResource",
            "UntagResource",
            "DeleteSecret",
            "RestoreSecret",
        ] {
            assert!(sends(name), "{name} is not sent any more");
            assert!(actions.contains(&json!(format!("secretsmanager:{name}"))), "{name} is not allowed");
        }
        assert_eq!(actions.len(), 8);
    }
}
