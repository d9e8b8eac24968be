//! `config` of an aws-secrets-manager backend.

use std::path::PathBuf;

use super::{UpstreamConfig, endpoint, tags, upstream};
use crate::config::raw::Block;
use crate::config::url::HttpUrl;
use crate::config::wire::region;
use crate::secret::SecretPath;

/// How AWS Secrets Manager is reached and signed for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// The region.
    pub region: String,
    /// The secret with an access key; `None` uses `token_path`, `profile` or the ambient identity.
    pub credentials_path: Option<SecretPath>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id of that assumption.
    pub external_id: Option<String>,
    /// The session name of that assumption.
    pub session_name: Option<String>,
    /// A file with a web identity token for that assumption.
    pub token_path: Option<PathBuf>,
    /// A profile of the shared configuration.
    pub profile: Option<String>,
    /// Another Secrets Manager endpoint.
    pub endpoint: Option<HttpUrl>,
    /// Another STS endpoint.
    pub sts_endpoint: Option<HttpUrl>,
    /// The KMS key of secrets this process creates.
    pub kms_key_id: Option<String>,
    /// The tags of secrets this process creates.
    pub tags: Vec<(String, String)>,
    /// What all types of backends share.
    pub upstream: UpstreamConfig,
}

pub(super) fn compile(block: &mut Block<'_>) -> Option<AwsConfig> {
    let region = block.required("region").and_then(|item| item.parse(region));
    if !block.holds("role_arn") {
        block.out_of_place(&["external_id", "session_name", "token_path"], "needs role_arn");
    }
    if block.holds("credentials_path") {
        block.out_of_place(&["profile", "token_path"], "excludes credentials_path: name one source of credentials");
    }
    let credentials_path = block.optional("credentials_path").and_then(|item| item.reference());
    let role_arn = block.optional("role_arn").and_then(|item| item.parse(role_arn));
    let config = AwsConfig {
        region: region.unwrap_or_default(),
        credentials_path,
        role_arn,
        external_id: block.string("external_id"),
        session_name: block.string("session_name"),
        token_path: block.file("token_path"),
        profile: block.string("profile"),
        endpoint: endpoint(block, "endpoint"),
        sts_endpoint: endpoint(block, "sts_endpoint"),
        kms_key_id: block.string("kms_key_id"),
        tags: tags(block),
        upstream: upstream(block),
    };
    Some(config)
}

fn role_arn(text: &str) -> Result<String, &'static str> {
    let mut parts = text.splitn(6, ':');
    let fits = parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("iam")
        && parts.next() == Some("")
        && parts.next().is_some_and(|account| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
        && parts.next().is_some_and(|role| role.starts_with("role/") && role.len() > "role/".len());
    if fits { Ok(text.to_owned()) } else { Err("expected the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME") }
}
