//! Copies of remote secrets: when they are made, how they are compared, served and written.
//!
//! The engine runs one task a backend, which lists, compares and commits; a [`Replica`] is one backend as both the engine
//! and the line see it. What a run decides is pure (`plan`); what it does goes through policy and audit as `system/sync`,
//! like anybody's call. A listing that failed, was cut or came back empty deletes nothing; a change on the local side
//! alone is never lost; two sides that both changed are never merged by guessing.
//!
//! This room knows backends by their trait only. It must not know wires, the pipeline or the configuration.

mod batch;
mod board;
mod commit;
mod copies;
mod desk;
mod engine;
mod hint;
mod intent;
mod mailbox;
mod mark;
mod meters;
mod plan;
mod pull;
mod push;
mod quarantine;
mod rate;
mod replica;
mod report;
mod resolve;
mod run;
mod schedule;
mod sight;
mod state;
mod station;
mod step;
mod tally;
#[cfg(test)]
mod tests;
mod walk;
mod write;

pub use copies::{Claim, Copies};
pub use engine::Engine;
pub use hint::Hint;
pub use quarantine::{Emptied, Quarantine, Quarantined};
pub use replica::{Replica, ServeError, Served, children};
pub use report::{Failure, Health, Progress, Report, RunId, RunOutcome, Skipped, Status, Summary};
pub use resolve::{ConflictItem, Keep, ResolveError};
pub use write::{Settled, WriteError};
