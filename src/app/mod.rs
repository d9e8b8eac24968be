//! The composition root: a configuration becomes parts, parts become a running process. The only room that names every
//! concrete type.
//!
//! Build never spawns, run spawns. What outlives a reload (keys, records, sessions, the trail, metrics, unchanged backends)
//! is the [`Ground`]; what a reload replaces is a snapshot built on it.

mod build;
mod desk;
mod devices;
mod examine;
mod files;
mod flips;
mod ground;
mod hands;
mod journal;
mod keeper;
mod keys;
mod made;
mod reload;
mod run;
mod tend;
mod touch;

pub(crate) use build::build;
pub use build::{Extras, outline};
pub use examine::{Examined, examine};
pub use ground::Ground;
pub use keys::HttpKeys;
pub(crate) use run::audit_key;
pub use run::{AppError, Running, prepare, serve};

use crate::config::Problem;

/// Problems as one text, one a line.
pub(crate) fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}\n")).collect()
}
