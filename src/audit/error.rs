//! What can go wrong in this room. Nothing here ever holds a name a client sent.

use std::io;

use thiserror::Error;

use crate::error::ErrorKind;

/// Why a line was not taken, or why the trail cannot be started.
#[derive(Debug, Error)]
pub enum AuditError {
    /// A required sink did not take the line within the budget, its queue is full, or the trail is stopped.
    #[error("a required audit sink does not take lines, so nothing is disclosed; the log names the sink and its error")]
    Unavailable,
    /// No sink is configured.
    #[error("audit.sinks is empty: name at least one sink, for example `{{type: stdout}}`")]
    NoSink,
    /// A place the trail must not be written to.
    #[error("{key}: {target}: {reason}")]
    Refused {
        /// The configuration key.
        key: String,
        /// The path or address as configured.
        target: String,
        /// Which rule it breaks and what to do.
        reason: &'static str,
    },
    /// A sink that cannot be opened, or a writer thread that cannot be started.
    #[error("{key}: {target} cannot be opened: {source}")]
    Open {
        /// The configuration key.
        key: String,
        /// The path or address as configured.
        target: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl AuditError {
    /// What a caller may know of it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable | Self::NoSink | Self::Refused { .. } | Self::Open { .. } => ErrorKind::Sealed,
        }
    }
}
