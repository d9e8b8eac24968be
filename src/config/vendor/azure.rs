//! `config` of an azure-key-vault backend.

use std::path::PathBuf;

use super::{UpstreamConfig, endpoint, tags, upstream};
use crate::config::raw::Block;
use crate::config::url::HttpUrl;
use crate::secret::SecretPath;

/// How Azure Key Vault is reached and logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureConfig {
    /// The vault.
    pub vault_url: HttpUrl,
    /// How to log in.
    pub auth_method: AzureAuthMethod,
    /// The secret with a client secret or a certificate; set exactly for those two methods.
    pub credentials_path: Option<SecretPath>,
    /// The client, for the methods whose credential does not name it.
    pub client_id: Option<String>,
    /// The directory, for the methods whose credential does not name it.
    pub tenant_id: Option<String>,
    /// A file with a federated token.
    pub token_path: Option<PathBuf>,
    /// Another authority.
    pub authority: Option<HttpUrl>,
    /// Another resource tokens are asked for.
    pub resource: Option<String>,
    /// The tags of secrets this process creates.
    pub tags: Vec<(String, String)>,
    /// What all types of backends share.
    pub upstream: UpstreamConfig,
}

/// How to log in to Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureAuthMethod {
    /// The machine's or pod's identity.
    ManagedIdentity,
    /// A federated token.
    WorkloadIdentity,
    /// A client secret.
    ClientSecret,
    /// A certificate.
    Certificate,
}

const METHODS: [(&str, AzureAuthMethod); 4] = [
    ("managed_identity", AzureAuthMethod::ManagedIdentity),
    ("workload_identity", AzureAuthMethod::WorkloadIdentity),
    ("client_secret", AzureAuthMethod::ClientSecret),
    ("certificate", AzureAuthMethod::Certificate),
];

pub(super) fn compile(block: &mut Block<'_>) -> Option<AzureConfig> {
    const ELSEWHERE: &str = "is not a key of this auth_method";
    let vault_url = block.required("vault_url").and_then(|item| item.parse(HttpUrl::parse));
    let method = block.required("auth_method").and_then(|item| item.word(&METHODS));
    let credential = match method {
        Some(AzureAuthMethod::ManagedIdentity) => {
            block.out_of_place(&["credentials_path", "tenant_id", "token_path"], ELSEWHERE);
            None
        }
        Some(AzureAuthMethod::WorkloadIdentity) => {
            block.out_of_place(&["credentials_path"], ELSEWHERE);
            None
        }
        Some(AzureAuthMethod::ClientSecret | AzureAuthMethod::Certificate) => {
            block.out_of_place(&["token_path"], ELSEWHERE);
            block.required("credentials_path").and_then(|item| item.reference())
        }
        None => {
            block.skip(&["credentials_path"]);
            None
        }
    };
    let client_id = block.string("client_id");
    let tenant_id = block.string("tenant_id");
    let token_path = block.file("token_path");
    let authority = endpoint(block, "authority");
    let resource = block.string("resource");
    let tags = tags(block);
    let upstream = upstream(block);
    Some(AzureConfig {
        vault_url: vault_url?,
        auth_method: method?,
        credentials_path: credential,
        client_id,
        tenant_id,
        token_path,
        authority,
        resource,
        tags,
        upstream,
    })
}
