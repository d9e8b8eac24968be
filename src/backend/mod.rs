//! Remote stores, client side: what every vendor's client offers, the one HTTP client they share, and how a call survives
//! a bad day (deadlines, a retry budget, a breaker). Vendors live with their wire; this room knows none of them.

mod error;
mod http;
mod resilient;
mod tls;
mod toll;

use async_trait::async_trait;

pub use self::error::BackendError;
pub use self::http::{Answer, ForwardProxy, HttpClient, HttpSettings, Reach, UpstreamRequest};
pub use resilient::{Attempt, Resilience};
pub use tls::{TlsClient, client_config};
pub use toll::{Spent, Toll, further, tolled};

use crate::secret::{
    Described, Dialect, Metadata, NativeReply, Outcome, PassCall, RemoteName, Reply, SecretType, SecretValue,
    VersionSelector, VersionSet,
};

/// What a call is about, on the backend's side.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The secret, or the folder of a list.
    pub remote: &'a RemoteName,
    /// Which segment of the remote name is the literal that marks Vault's KV version 2; `None` for anything else.
    pub kv2_segment: Option<usize>,
    /// What the client speaks; a backend of the same dialect answers in native bytes.
    pub dialect: Dialect,
    /// Sent along, so that both sides' logs meet.
    pub request_id: &'a str,
    /// On whose behalf a call is passed on; `None` where nobody's leases can be concerned.
    pub principal: Option<Asker<'a>>,
}

/// Who asks for a call to be passed on. What a backend lends belongs to whoever asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The principal's name in its tenant, the same at every login of it. Compared only, never logged or sent.
    pub id: &'a str,
    /// The wire name of the call: how the client spells what `remote` is on the other side.
    pub name: &'a str,
}

/// What a backend can do at its best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// A write can name the version it replaces, and the backend checks that itself.
    pub conditional_writes: bool,
    /// Versions are integers, and those before the current one can be read.
    pub versions: bool,
    /// Metadata and versions can be had without the value.
    pub describe: bool,
    /// A delete can be undone.
    pub soft_delete: bool,
    /// Names have no folders: a list yields everything below a prefix, which may be empty, with slashes inside.
    pub flat: bool,
    /// It holds nothing but JSON objects: text and bytes are wrapped in one.
    pub wraps: bool,
    /// Versions carry labels that clients give and move, and a secret can be made without a version.
    pub labels: bool,
    /// How many current values [`Backend::read_many`] takes at once; 0: it takes none.
    pub batch: u16,
}

/// A change of a remote secret.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A new version.
    Put {
        /// The bytes.
        value: &'a SecretValue,
        /// How to understand them.
        secret_type: SecretType,
        /// The version that must be the newest one at that moment, readable or not; `Some(0)`: there must be none.
        expected: Option<u64>,
        /// The new version's identifier, where the client chose one and the backend lets clients do so.
        token: Option<&'a str>,
        /// Its labels, where the client chose them. Without `AWSCURRENT` among them it is not the current one, unless it is
        /// the first.
        stages: Option<&'a [String]>,
        /// Whether a secret that was deleted as a whole comes back with it: only where the writer knew of the deletion.
        revives: bool,
    },
    /// Makes a secret without a version, with this metadata; a conflict where there is one.
    Create(&'a Metadata),
    /// Moves a label between versions, told by their own identifiers.
    Label {
        /// The label.
        stage: &'a str,
        /// The version that carries it.
        from: Option<&'a str>,
        /// The version that shall carry it; `None`: nobody.
        to: Option<&'a str>,
    },
    /// Replaces the custom metadata.
    Metadata(&'a Metadata),
    /// Deletes versions so that they can be restored; the secret as a whole for so many days, where the backend keeps it
    /// for a number of days.
    Delete(&'a VersionSet, Option<u16>),
    /// Restores deleted versions.
    Undelete(&'a VersionSet),
    /// Destroys versions for good.
    Destroy(&'a VersionSet),
    /// Removes the secret with all its versions.
    Purge,
}

/// The names directly in a remote folder; folders end in `/`.
#[derive(Debug, Default)]
pub struct Listed {
    /// All of them, as the backend spells them.
    pub names: Vec<String>,
    /// The same in the backend's own bytes, if it speaks the client's dialect.
    pub native: Option<NativeReply>,
    /// What the list says of each name, in their order; empty if it says nothing but names. It is what
    /// [`Backend::glance`] would say.
    pub described: Vec<Described>,
}

/// A remote store. Every method has its own deadline and holds no lock while waiting.
/// `Outcome::NotFound` is never a doubt: it is given only when the backend said so about this very name.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What it can do at its best; a name of an engine that can do less answers `Unsupported`.
    fn capabilities(&self) -> Capabilities;

    /// Called for a read after policy and audit admitted it, and by sync. With [`Dialect::Neutral`] the value's bytes are
    /// those the backend holds, and version, custom metadata and times are complete.
    ///
    /// # Errors
    /// When there is no answer to pass on.
    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError>;

    /// Called for metadata and the list of versions. With [`Dialect::Neutral`] every version the backend knows is there.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError>;

    /// Called by sync to see whether a secret changed: as [`Self::describe`] with [`Dialect::Neutral`], and only what one
    /// cheap call tells. Two glances at the same state are equal.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn glance(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        self.describe(ask).await
    }

    /// Called by sync for the current values of at most [`Capabilities::batch`] secrets: an answer each, in their order, as
    /// [`Self::read`] would give it.
    ///
    /// # Errors
    /// When there is no answer to any; [`BackendError::Denied`] where only this kind of call is not allowed.
    async fn read_many(&self, asks: &[Ask<'_>]) -> Result<Vec<Result<Reply, BackendError>>, BackendError> {
        let _ = asks;
        Err(BackendError::Unsupported)
    }

    /// Called for the shape of a value.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, depth: u32) -> Result<Reply, BackendError>;

    /// Called for the names directly in the folder `ask.remote`. A list that was cut short is an error.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError>;

    /// As [`Self::list`] of a store without folders: names in the folder that do not begin with `prefix` may be left out.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn list_by_prefix(&self, ask: Ask<'_>, prefix: &str) -> Result<Listed, BackendError> {
        let _ = prefix;
        self.list(ask).await
    }

    /// Called for a write after its durable intent. It is sent once; only a request that the backend answered by not
    /// knowing our token is sent again, under a new one. A `Put` yields `Written` with no metadata, the rest `Done`, or
    /// `NotFound` if there was nothing to change.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] if it may have happened, [`BackendError::Conflict`] if another version is current; with
    /// any other error nothing was changed.
    async fn write(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError>;

    /// Called for another API of the vendor, already allowed by listener, policy and audit.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn pass(&self, ask: Ask<'_>, call: &PassCall, list: bool) -> Result<Reply, BackendError>;

    /// Called by `check`: connect and log in.
    ///
    /// # Errors
    /// What is in the way.
    async fn check(&self) -> Result<(), BackendError>;

    /// Called by `check`: what our credential may do with `ask.remote` (`read`, `list`, `write`), without doing it. A name
    /// that ends in `/` is a folder: reading and writing is then about a name in it. Listing is about the folder itself,
    /// or the one a secret lies in.
    ///
    /// # Errors
    /// When that cannot be known.
    async fn probe(&self, ask: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError>;

    /// How many requests were sent since this was made, logins included.
    fn calls(&self) -> u64;

    /// Runs until dropped: keeps the credential alive. Called once, on the runtime that serves requests.
    async fn tend(&self);
}
