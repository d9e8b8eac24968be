//! Names to names: a client's name to a secret path, a secret path to a backend's name, and both ways back.
//!
//! One language serves both tables: an ordered list of template pairs, of which the first that matches wins. What is
//! not mapped has no name on the other side; nothing is normalised into another name, and a name that comes back from
//! the other side is only accepted if it would go there again by the same rule.
//! Pure: no IO, no clock, no knowledge of wires, of backends beyond their position, or of who is asking.

mod collision;
mod escape;
mod folders;
mod overlap;
mod pattern;
mod route;
mod table;
mod target;

use std::fmt;

use thiserror::Error;

use crate::error::ErrorKind;

pub use folders::{FolderKind, FolderSource};
pub use route::{BackendRules, ListSource, Route, RouteSpec, Router, RuleId};
pub use table::{Mapped, Table, Trial};
pub use target::{Target, Targets};

/// A side of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What a name is mapped from.
    From,
    /// What a name is mapped to.
    To,
}

/// One pair of templates as configured.
#[derive(Clone, Debug, Default)]
pub struct RuleSpec {
    /// The template names are matched against.
    pub from: String,
    /// The template that makes the other name: the same wildcards in the same order.
    pub to: String,
    /// What joins the segments on the foreign side instead of `/`.
    pub separator: Option<String>,
    /// Whether characters a secret path cannot hold are spelled `_x<hex>_` in it.
    pub escape: bool,
}

/// A problem found while compiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, relative to what was compiled: `[2].to`, `backends[1].path_mapping[0].from`.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Why a name of the `to` side has no usable name on the `from` side. `R` names a rule: its index in a table, or a
/// [`RuleId`] in a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unmapped<R = usize> {
    /// Outside every rule.
    #[error("no rule maps anything to this name")]
    NoRule,
    /// A rule covers it, but an earlier one takes the name it would come from.
    #[error("an earlier rule takes the name this would come from")]
    Shadowed {
        /// The rule that covers the name.
        rule: R,
        /// The rule that comes first for its other name.
        by: R,
    },
    /// A rule covers it, but what it would come from cannot be a name there.
    #[error("the name cannot be spelled on the other side")]
    NotAName,
}

impl<R> Unmapped<R> {
    /// How a call about such a name ends.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoRule | Self::Shadowed { .. } | Self::NotAName => ErrorKind::Denied,
        }
    }
}
