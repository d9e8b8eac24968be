//! The client role: Secrets Manager in one region of an account. How requests are made is in `exchange`, with whose keys in
//! `keyring` and `credentials`; what answers mean is in `neutral`, `read`, `many`, `list` and `write`.

mod ambient;
mod credentials;
mod exchange;
mod fault;
mod identity_proof;
mod keyring;
mod list;
mod many;
mod neutral;
mod place;
mod probe;
mod read;
mod schema;
mod sign;
mod sts;
mod surroundings;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use self::credentials::Account;
pub use self::credentials::{AwsIdentity, CredentialSource, KeySource, Role};
use self::exchange::Upstream;
pub use self::identity_proof::{IdentityProof, ProofSettings, Prover};
use self::place::Kind;
pub use self::probe::minimal_policy;
use self::schema::Tag;
pub use self::surroundings::Surroundings;
use crate::backend::{Ask, Backend, BackendError, Capabilities, Change, HttpClient, Listed, Resilience};
use crate::secret::{Dialect, Outcome, PassCall, Reply, VersionSelector};

/// The most values the service gives in one call.
const BATCH: u16 = 20;

/// Everything a client of one region needs.
pub struct AwsSettings {
    /// The region that is signed for.
    pub region: String,
    /// Where Secrets Manager is, if not at the region's own endpoint: FIPS and dual-stack ones, too. A path is kept.
    pub endpoint: Option<Url>,
    /// Where the token service is, if not at the region's own endpoint.
    pub sts_endpoint: Option<Url>,
    /// Who signs.
    pub identity: AwsIdentity,
    /// The key of secrets that are made; the account's own if absent.
    pub kms_key_id: Option<String>,
    /// Tags of secrets that are made.
    pub tags: Vec<(String, String)>,
    /// The connection pool, of the service and the token service.
    pub http: HttpClient,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Deadline of one try.
    pub attempt_timeout: Duration,
}

/// Secrets Manager in one region.
pub struct AwsBackend {
    upstream: Upstream,
    kms_key_id: Option<String>,
    tags: Vec<Tag>,
}

impl AwsBackend {
    /// A client; it connects and gets its keys when first used or tended.
    ///
    /// # Errors
    /// When the region cannot be part of a host name.
    pub fn new(settings: AwsSettings) -> Result<Self, String> {
        let AwsSettings { region, endpoint, sts_endpoint, identity, kms_key_id, tags, http, .. } = settings;
        let resilience = Resilience::new(settings.timeout, settings.attempt_timeout);
        let endpoint = endpoint.map_or_else(|| place::endpoint("secretsmanager", &region, Kind::default()), Ok)?;
        let sts = sts_endpoint.map_or_else(|| place::endpoint("sts", &region, Kind::default()), Ok)?;
        let account = Account { identity, http: Arc::new(http), region, sts };
        let tags = tags.into_iter().map(|(key, value)| Tag { key, value: Some(value) }).collect();
        Ok(Self { upstream: Upstream::new(account, endpoint, resilience), kms_key_id, tags })
    }
}

#[async_trait]
impl Backend for AwsBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_writes: false,
            versions: true,
            describe: true,
            soft_delete: true,
            flat: true,
            wraps: false,
            labels: true,
            batch: BATCH,
        }
    }

    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        self.read_version(ask, version).await
    }

    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        self.described(ask).await
    }

    async fn glance(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        self.glanced(ask).await
    }

    async fn read_many(&self, asks: &[Ask<'_>]) -> Result<Vec<Result<Reply, BackendError>>, BackendError> {
        self.values(asks).await
    }

    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, _depth: u32) -> Result<Reply, BackendError> {
        self.read_version(Ask { dialect: Dialect::Neutral, ..ask }, version).await
    }

    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError> {
        self.names(ask, "").await
    }

    async fn list_by_prefix(&self, ask: Ask<'_>, prefix: &str) -> Result<Listed, BackendError> {
        self.names(ask, prefix).await
    }

    async fn write(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        self.change(ask, change).await
    }

    async fn pass(&self, _ask: Ask<'_>, _call: &PassCall, _list: bool) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn check(&self) -> Result<(), BackendError> {
        // being told that we may not list is being known
        self.may_list("check").await.map(|_| ())
    }

    async fn probe(&self, ask: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        self.permissions(ask).await
    }

    fn calls(&self) -> u64 {
        self.upstream.http().calls() + self.upstream.keyring().account().calls()
    }

    async fn tend(&self) {
        self.upstream.keyring().tend().await;
    }
}

#[cfg(test)]
mod tests;
