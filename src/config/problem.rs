//! What is wrong with a configuration, and where it stands.
//!
//! INVARIANT: no message holds a value of the file. A value may have landed under the wrong key, so every scalar is
//! treated as a secret; messages name keys, expected types and closed sets of words only.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error::ErrorKind;

/// One finding about a configuration: an error, a warning, or something this release does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key path, as in `backends[0].path_mapping[2].to`; `(document)` for the file as a whole.
    pub key: String,
    /// The line in the file, from 1, where it is known.
    pub line: Option<u32>,
    /// What is wrong and what to do, in one line without a value of the file.
    pub message: String,
}

impl Problem {
    /// A finding at `key`.
    pub fn new(key: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Self {
        Self { key: key.into(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} (line {line}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// Why a configuration file was not accepted. `Display` prints every problem, one a line.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The cap, in bytes.
        limit: usize,
    },
    /// The file is not UTF-8.
    #[error("{}: is not UTF-8 text", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file was read and is wrong.
    #[error("{}", lines(.problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, in the order of the file; never empty.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// What this is to metrics and exit codes.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { .. } => ErrorKind::Internal,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::NotText { .. } | Self::Invalid { .. } => ErrorKind::Malformed,
        }
    }

    /// Everything that is wrong with the content; empty when the file could not be read at all.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::NotText { .. } => &[],
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_printed_on_its_own_line() {
        let problems = vec![Problem::new("a.b", Some(3), "is required"), Problem::new("c", None, "unknown key")];
        let error = ConfigError::Invalid { path: PathBuf::from("x.yaml"), problems };
        assert_eq!(error.to_string(), "a.b (line 3): is required\nc: unknown key");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert_eq!(error.problems().len(), 2);
    }
}
