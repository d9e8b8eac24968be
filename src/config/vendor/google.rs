//! `config` of a google-secret-manager backend.

use std::path::PathBuf;

use super::{UpstreamConfig, endpoint, upstream};
use crate::config::raw::{Block, Item};
use crate::config::url::HttpUrl;
use crate::secret::SecretPath;

/// How GCP Secret Manager is reached and logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleConfig {
    /// The project.
    pub project_id: String,
    /// How to log in.
    pub auth_method: GoogleAuthMethod,
    /// The secret with a service account key; set exactly for that method.
    pub credentials_path: Option<SecretPath>,
    /// A file with a token to exchange.
    pub token_path: Option<PathBuf>,
    /// Another endpoint.
    pub endpoint: Option<HttpUrl>,
    /// Where secrets this process creates are kept.
    pub replication: Replication,
    /// The KMS key of secrets this process creates.
    pub kms_key_name: Option<String>,
    /// What all types of backends share.
    pub upstream: UpstreamConfig,
}

/// How to log in to Google.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoogleAuthMethod {
    /// A service account key.
    ServiceAccount,
    /// The workload's own identity.
    WorkloadIdentity,
}

/// Where a new secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Google chooses.
    Automatic,
    /// These locations; never empty.
    Locations(Vec<String>),
}

const METHODS: [(&str, GoogleAuthMethod); 2] =
    [("service_account", GoogleAuthMethod::ServiceAccount), ("workload_identity", GoogleAuthMethod::WorkloadIdentity)];

pub(super) fn compile(block: &mut Block<'_>) -> Option<GoogleConfig> {
    let project_id = block.required("project_id").and_then(|item| item.string());
    // A stored key says how to log in; without one the method must be named, so that nothing is tried by accident.
    let default = block.holds("credentials_path").then_some(GoogleAuthMethod::ServiceAccount);
    let named = block.word("auth_method", &METHODS);
    if !block.holds("auth_method") && default.is_none() {
        let message = "needs credentials_path, or auth_method: workload_identity";
        block.scope().refuse(block.key(), Some(block.line()), message);
    }
    let method = named.or(default);
    let credentials_path = match method {
        Some(GoogleAuthMethod::ServiceAccount) => {
            block.out_of_place(&["token_path"], "is not a key of this auth_method");
            block.required("credentials_path").and_then(|item| item.reference())
        }
        Some(GoogleAuthMethod::WorkloadIdentity) => {
            block.out_of_place(&["credentials_path"], "is not a key of this auth_method");
            None
        }
        None => None,
    };
    let token_path = block.file("token_path");
    let endpoint = endpoint(block, "endpoint");
    let replication = block.optional("replication").and_then(|item| replication(&item));
    let kms_key_name = block.string("kms_key_name");
    let upstream = upstream(block);
    Some(GoogleConfig {
        project_id: project_id?,
        auth_method: method?,
        credentials_path,
        token_path,
        endpoint,
        replication: replication.unwrap_or(Replication::Automatic),
        kms_key_name,
        upstream,
    })
}

fn replication(item: &Item<'_>) -> Option<Replication> {
    if !item.is_list() {
        return item.word(&[("automatic", ())]).map(|()| Replication::Automatic);
    }
    let items = item.items()?;
    if items.is_empty() {
        item.refuse("is an empty list; name locations or write automatic");
    }
    Some(Replication::Locations(items.iter().filter_map(Item::string).collect()))
}
