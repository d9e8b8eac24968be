//! Which version a call is about, and what must hold for a write.

/// Which version of a secret is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum VersionSelector {
    /// The current one.
    #[default]
    Current,
    /// A version by its integer, from 1.
    Number(u64),
    /// A version by the backend's own identifier.
    Native(Box<str>),
    /// A version by a label (`AWSPREVIOUS`, a GCP alias).
    Stage(Box<str>),
    /// A version, if it carries this label.
    Labelled {
        /// Which.
        version: Box<VersionSelector>,
        /// The label.
        stage: Box<str>,
    },
}

/// What must hold at the moment of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The secret has no version yet (Vault `cas: 0`).
    Absent,
    /// There is no such secret, not even one without a version (AWS `CreateSecret`).
    New,
    /// The current version is this one.
    Version(u64),
    /// There is such a secret, and it is not deleted.
    Present,
}
