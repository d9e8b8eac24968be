//! The neutral language every wire and every backend translates to and from.
//!
//! Nothing here does IO and nothing here knows a vendor. A name, a value or a version that exists as one of these
//! types has been validated; everything after decoding (policy input, audit line, store key, upstream request) is
//! derived from these types only, never from the bytes of the request.

mod call;
pub mod detail;
mod federation;
mod filter;
mod name;
mod operation;
mod path;
mod record;
mod reply;
mod tenant;
mod value;
mod version;
mod wrap;

pub use call::{
    Call, CatalogueOptions, CatalogueSort, Dialect, LabelMove, ListOptions, MetadataChange, PassCall, SecretAction,
    SecretCall, VersionSet, WriteOptions,
};
pub use federation::{
    BackendId, ConflictOn, ConflictPolicy, History, OnBackendDelete, RateLimit, RuleSettings, SyncScope, WriteMode,
};
pub use filter::{DESCRIPTION, Filter, FilterKey, FilterValue, NamePrefixes};
pub(crate) use name::has_control;
pub use name::{RemoteName, WireName};
pub use operation::{Action, Mode, Operation, WireKind};
pub use path::{Folder, PathError, SecretPath};
pub use record::{Described, Entry, Metadata, Rank, SecretRecord, VersionInfo, VersionState};
pub use reply::{NativeReply, Outcome, Reply, Span};
pub use tenant::{Tenant, TenantError};
pub use value::{SecretType, SecretValue};
pub use version::{Precondition, VersionSelector};
