//! Writes to copied paths: not at all, here only, or to the backend first and here after it.
//!
//! INVARIANT: one path is written by one at a time ([`super::Copies::claim`]). A write through leaves both sides with it or
//! neither: its intent is durable before it is sent, and what became of it is known or read back, never guessed. No lock
//! of the store is held while a backend is asked.

mod by_hand;
mod here;
mod look;
mod settle;
mod through;

use thiserror::Error;

pub(super) use self::look::{Sight, selector_of};
pub use self::settle::Settled;
use super::Replica;
use crate::backend::BackendError;
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::seal::SealError;
use crate::seal::edit::EditError;
use crate::secret::{Outcome, RemoteName, RuleSettings, SecretAction, SecretPath, WriteMode};

/// Why a write to a copied path was not done.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The rule's paths are not written.
    #[error("the rule's write_mode is disabled")]
    ReadOnly,
    /// What the client wants does not fit what is there.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The result would be larger than `limits.value_bytes`.
    #[error("the value is larger than limits.value_bytes")]
    TooLarge,
    /// Not something that can be written through.
    #[error("not offered for synced secrets")]
    Unsupported,
    /// The other side changed since both agreed; the copy is being refreshed.
    #[error("the secret changed in the backend")]
    Conflict,
    /// A conflict of the path waits for somebody to resolve it.
    #[error("a conflict of this secret is not resolved yet")]
    Flagged,
    /// A record kept from another rule, or a local one, stands at the path.
    #[error("a quarantined record stands at this path: adopt or purge it")]
    InTheWay,
    /// The rule is not synced any more, or another configuration's write of the path is on its way. Nothing was written.
    #[error("the configuration changed while this was written")]
    Replaced,
    /// What became of an earlier write of the path is not known, and the backend cannot be asked.
    #[error("an earlier write of this secret is not settled yet: {0}")]
    Pending(BackendError),
    /// The value is written on both sides; its metadata is not.
    #[error("the value was written, its metadata was not: {0}")]
    Metadata(BackendError),
    /// The backend did not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store or the seal failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl WriteError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Edit(error) => error.kind(),
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Conflict | Self::Flagged | Self::InTheWay => ErrorKind::Conflict,
            Self::Replaced => ErrorKind::UpstreamUnavailable,
            Self::Pending(error) | Self::Metadata(error) | Self::Backend(error) => error.kind(),
            Self::Seal(error) => error.kind(),
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Edit(error) => error.detail(),
            Self::Flagged => Some("a conflict of this secret is not resolved yet"),
            Self::InTheWay => Some("a quarantined record stands at this path"),
            Self::Replaced => Some("the configuration changed while this was written; try again"),
            Self::Pending(_) => Some("an earlier write of this secret is not settled yet"),
            Self::Metadata(_) => Some("the value was written, its metadata was not"),
            Self::ReadOnly | Self::TooLarge | Self::Unsupported | Self::Conflict | Self::Backend(_) | Self::Seal(_) => {
                None
            }
        }
    }

    /// Seconds after which a retry makes sense, if known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Pending(error) | Self::Metadata(error) | Self::Backend(error) => error.retry_after(),
            Self::Replaced => Some(1),
            _ => None,
        }
    }
}

/// One write and what it is about.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) rule: u32,
    pub(super) settings: &'a RuleSettings,
    pub(super) path: &'a SecretPath,
    pub(super) remote: &'a RemoteName,
    pub(super) clock: &'a dyn Clock,
    pub(super) request_id: &'a str,
}

impl Replica {
    /// Carries a write by the rule's `write_mode`. Called on a task of its own, after policy and the trail's intent line.
    ///
    /// # Errors
    /// When it was not done. After [`BackendError::Unknown`] it may still turn out to be done once the backend can be
    /// asked; [`WriteError::Metadata`] did the greater part.
    pub async fn write(
        &self,
        rule: u32,
        path: &SecretPath,
        remote: &RemoteName,
        action: SecretAction,
        clock: &dyn Clock,
        request_id: &str,
    ) -> Result<Outcome, WriteError> {
        let Some(settings) = self.rules.get(rule as usize) else { return Err(WriteError::ReadOnly) };
        if let SecretAction::Write { value, .. } = &action
            && value.len() > self.max_value_bytes
        {
            return Err(WriteError::TooLarge);
        }
        let errand = Errand { rule, settings, path, remote, clock, request_id };
        match self.write_mode(rule) {
            WriteMode::Disabled => Err(WriteError::ReadOnly),
            WriteMode::Local => self.write_here(&errand, action).await,
            WriteMode::WriteThrough => self.write_through(&errand, action).await,
        }
    }
}

#[cfg(test)]
mod tests;
