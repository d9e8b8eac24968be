//! What a call does, in the words policy, audit and metrics use.

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WireKind {
    /// Our own REST API.
    Scaivault,
    /// HashiCorp Vault and OpenBao.
    Vault,
    /// AWS Secrets Manager.
    Aws,
    /// Azure Key Vault.
    Azure,
    /// GCP Secret Manager.
    Gcp,
}

impl WireKind {
    /// The word used in configuration, audit, metrics and policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scaivault => "scaivault",
            Self::Vault => "vault",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }
}

/// How a secret path is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Every read is forwarded; nothing is kept.
    Proxy,
    /// Reads are answered from the local copy.
    Sync,
    /// The local store is the only home.
    Local,
}

impl Mode {
    /// The word used in configuration, audit, metrics and policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Sync => "sync",
            Self::Local => "local",
        }
    }
}

/// A policy action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// See a value.
    Read,
    /// See metadata, versions, subkeys.
    Describe,
    /// See the names in a folder.
    List,
    /// Put, patch, change metadata, undelete.
    Write,
    /// Delete so that it can be undeleted.
    Delete,
    /// Destroy or remove for good.
    Destroy,
    /// Run the proxy.
    Administer,
}

impl Action {
    /// The action's name in the policy schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Describe => "describe",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Destroy => "destroy",
            Self::Administer => "administer",
        }
    }
}

/// What a call does. A closed set: it is an audit field and a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Read a value.
    Read,
    /// Read metadata and versions.
    Describe,
    /// Read the names of the fields of a value.
    Subkeys,
    /// List a folder.
    List,
    /// List a folder and everything below.
    Scan,
    /// Write a new version.
    Write,
    /// Merge into the current version.
    Patch,
    /// Change metadata.
    WriteMetadata,
    /// Soft-delete versions.
    Delete,
    /// Undo a soft delete.
    Undelete,
    /// Destroy versions for good.
    Destroy,
    /// Remove a secret with all its versions.
    Purge,
    /// Read a mount's settings.
    ReadConfig,
    /// A passthrough read.
    PassRead,
    /// A passthrough list.
    PassList,
    /// A passthrough write.
    PassWrite,
    /// Log in.
    Login,
    /// Look a token up.
    TokenLookup,
    /// Renew a token.
    TokenRenew,
    /// Revoke a token.
    TokenRevoke,
    /// Make a child token.
    TokenCreate,
    /// Make a token by administration.
    TokenIssue,
    /// End or restore all credentials of a principal.
    PrincipalRevocation,
    /// Explain a decision.
    Explain,
    /// See backends, their syncs, conflicts and quarantine, or follow events.
    FederationRead,
    /// Make, change or end a backend, run or stop a sync, settle what is left.
    FederationWrite,
    /// Make new keys for the store.
    SealRotate,
    /// Health, seal status, mounts, capabilities: answered from configuration and policy.
    System,
    /// Could not be decoded far enough to know.
    Unknown,
}

impl Operation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 29] = [
        Self::Read,
        Self::Describe,
        Self::Subkeys,
        Self::List,
        Self::Scan,
        Self::Write,
        Self::Patch,
        Self::WriteMetadata,
        Self::Delete,
        Self::Undelete,
        Self::Destroy,
        Self::Purge,
        Self::ReadConfig,
        Self::PassRead,
        Self::PassList,
        Self::PassWrite,
        Self::Login,
        Self::TokenLookup,
        Self::TokenRenew,
        Self::TokenRevoke,
        Self::TokenCreate,
        Self::TokenIssue,
        Self::PrincipalRevocation,
        Self::Explain,
        Self::FederationRead,
        Self::FederationWrite,
        Self::SealRotate,
        Self::System,
        Self::Unknown,
    ];

    /// The word used in audit lines and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Describe => "describe",
            Self::Subkeys => "subkeys",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Write => "write",
            Self::Patch => "patch",
            Self::WriteMetadata => "write_metadata",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
            Self::Purge => "purge",
            Self::ReadConfig => "read_config",
            Self::PassRead => "pass_read",
            Self::PassList => "pass_list",
            Self::PassWrite => "pass_write",
            Self::Login => "login",
            Self::TokenLookup => "token_lookup",
            Self::TokenRenew => "token_renew",
            Self::TokenRevoke => "token_revoke",
            Self::TokenCreate => "token_create",
            Self::TokenIssue => "token_issue",
            Self::PrincipalRevocation => "principal_revocation",
            Self::Explain => "explain",
            Self::FederationRead => "federation_read",
            Self::FederationWrite => "federation_write",
            Self::SealRotate => "seal_rotate",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }

    /// The policy action a call about a secret or folder needs; `None` for calls that are not about one.
    #[must_use]
    pub const fn action(self) -> Option<Action> {
        match self {
            Self::Read | Self::PassRead => Some(Action::Read),
            Self::Describe | Self::Subkeys => Some(Action::Describe),
            Self::List | Self::Scan | Self::PassList => Some(Action::List),
            Self::Write | Self::Patch | Self::WriteMetadata | Self::Undelete | Self::PassWrite => Some(Action::Write),
            Self::Delete => Some(Action::Delete),
            Self::Destroy | Self::Purge => Some(Action::Destroy),
            Self::TokenIssue
            | Self::PrincipalRevocation
            | Self::FederationRead
            | Self::FederationWrite
            | Self::SealRotate => Some(Action::Administer),
            Self::ReadConfig
            | Self::Login
            | Self::TokenLookup
            | Self::TokenRenew
            | Self::TokenRevoke
            | Self::TokenCreate
            | Self::Explain
            | Self::System
            | Self::Unknown => None,
        }
    }

    /// Whether the operation changes something: such calls get an intent line before and an outcome line after.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::Write
                | Self::Patch
                | Self::WriteMetadata
                | Self::Delete
                | Self::Undelete
                | Self::Destroy
                | Self::Purge
                | Self::PassWrite
                | Self::TokenIssue
                | Self::PrincipalRevocation
                | Self::FederationWrite
                | Self::SealRotate
        )
    }
}
