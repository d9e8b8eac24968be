//! A decoded request about secrets.

use super::{Filter, Metadata, Operation, Precondition, SecretType, SecretValue, VersionSelector, WireName};

/// What a client asks for, once decoded. Calls that are not about secrets (logins, token calls, system status,
/// administration) are the wire room's business.
#[derive(Debug)]
pub struct Call {
    /// What the call does: audit field and metric label.
    pub operation: Operation,
    /// About which secrets, and how.
    pub secret: SecretCall,
}

/// A call about one secret or folder under a client's own name.
#[derive(Debug)]
pub struct SecretCall {
    /// The client's name for it. For a list the folder without trailing slash; `None` is the root of the wire.
    pub name: Option<WireName>,
    /// What is to be done.
    pub action: SecretAction,
    /// What the client speaks, so that a backend that speaks the same may answer in its own bytes.
    pub dialect: Dialect,
}

/// The exact form of a client's request. Native replies exist only between equal dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// None that a backend could answer in natively.
    Neutral,
    /// Vault KV version 1.
    VaultKv1,
    /// Vault KV version 2.
    VaultKv2,
    /// Any other Vault engine.
    VaultLogical,
    /// AWS Secrets Manager's JSON protocol.
    Aws,
}

/// Which versions a delete, undelete or destroy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSet {
    /// The current one.
    Current,
    /// These, in the order given; never empty.
    Numbers(Vec<u64>),
    /// All of them: the secret as a whole.
    All,
}

/// How much of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only names after this one.
    pub after: Option<Box<str>>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// What goes with a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must hold at the moment of the write.
    pub precondition: Precondition,
    /// Whether the client gave a precondition at all (a secret may require one).
    pub conditional: bool,
    /// Replaces the custom metadata if given.
    pub metadata: Option<Metadata>,
    /// Merged into the custom metadata with the write (`None` removes a key).
    pub merge: Vec<(String, Option<String>)>,
    /// The client's own identifier of the new version. A write that comes again with it is done once; with another value
    /// it is a conflict.
    pub token: Option<Box<str>>,
    /// Labels of the new version beside its rank. `Some` without `AWSCURRENT` among them: it does not become the current
    /// one.
    pub stages: Option<Vec<Box<str>>>,
}

/// What of a flat store's secrets is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueOptions {
    /// What an entry has to meet, all of them.
    pub filters: Vec<Filter>,
    /// Deleted and restorable ones, too.
    pub with_deleted: bool,
    /// What entries are sorted by.
    pub sort: CatalogueSort,
    /// The other way round.
    pub descending: bool,
    /// Only entries behind the one of this name, in that order.
    pub after: Option<Box<str>>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// What a catalogue is sorted by; names decide between equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatalogueSort {
    /// The name.
    #[default]
    Name,
    /// When the secret was created.
    Created,
    /// When it last changed.
    Changed,
}

/// What is to be done with a secret.
#[derive(Debug)]
pub enum SecretAction {
    /// Read a version's value.
    Read(VersionSelector),
    /// Read metadata and the list of versions.
    Describe,
    /// Read the shape of a value down to `depth` levels (0: all), never the leaves.
    Subkeys {
        /// Which version.
        version: VersionSelector,
        /// How deep.
        depth: u32,
    },
    /// The names directly in the folder.
    List(ListOptions),
    /// The names in the folder and below.
    Scan(ListOptions),
    /// The secrets in the folder and below it, with what is known of them at no further cost.
    Catalogue(CatalogueOptions),
    /// Write a new version.
    Write {
        /// The bytes.
        value: SecretValue,
        /// How to understand them.
        secret_type: SecretType,
        /// What goes with it.
        options: WriteOptions,
    },
    /// Merge a JSON object into the current version (RFC 7396).
    Patch {
        /// The merge patch: a JSON object.
        patch: SecretValue,
        /// What goes with it.
        options: WriteOptions,
    },
    /// Change the secret's own settings; absent fields stay.
    WriteMetadata(MetadataChange),
    /// Soft-delete. With a number of days, the secret as a whole goes for good after them.
    Delete(VersionSet, Option<u16>),
    /// Undo a soft delete.
    Undelete(VersionSet),
    /// Destroy for good.
    Destroy(VersionSet),
    /// Move a label between versions; the label `AWSCURRENT` decides which one is current.
    Label(LabelMove),
    /// Remove the secret with all its versions.
    Purge,
    /// Call another API of the same vendor as is.
    Pass(PassCall),
}

/// A change of a secret's settings; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// Custom metadata: replaced by these, or merged when `merge` is set (`None` removes a key).
    pub metadata: Option<Vec<(String, Option<String>)>>,
    /// Merge instead of replace.
    pub merge: bool,
    /// Whether every write must name the version it replaces.
    pub cas_required: Option<bool>,
    /// How many versions are kept.
    pub max_versions: Option<u64>,
    /// Seconds after which a version deletes itself.
    pub delete_after_secs: Option<u64>,
    /// Only if there is no such secret yet: this makes one without a version. Otherwise a missing one is not found,
    /// where `present` is set.
    pub absent: bool,
    /// Only if there is such a secret.
    pub present: bool,
}

/// A label that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMove {
    /// The label.
    pub stage: Box<str>,
    /// The version that carries it now; it has to be named where one does.
    pub from: Option<VersionSelector>,
    /// The version that shall carry it; `None`: nobody.
    pub to: Option<VersionSelector>,
}

/// A call to an API of the backend's vendor that is not about a stored secret.
#[derive(Debug)]
pub struct PassCall {
    /// Whether it reads, lists or writes.
    pub operation: Operation,
    /// The method as the client sent it.
    pub method: http::Method,
    /// The query as the client sent it, checked to be plain `key=value` pairs, without the question mark.
    pub query: Option<Box<str>>,
    /// The body's media type, if the client gave one.
    pub content_type: Option<http::HeaderValue>,
    /// The body as the client sent it.
    pub body: SecretValue,
}
