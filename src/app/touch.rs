//! A change of one backend of the API: what it touches is made anew, everything else stays as it is in force.
//!
//! INVARIANT: no file of another tenant is read, and none of this one's that the backend does not name: whatever became of
//! them since they were read, the change is judged by itself. What they say now is for the next reload.

use super::hands::{Hands, replicas};
use super::made::Made;
use super::{build, flips};
use crate::config::{Config, Problem, TenantConfig};
use crate::pipeline::Snapshot;
use crate::secret::BackendId;

/// What is to change.
#[derive(Clone, Copy)]
pub(super) struct Touch<'a> {
    /// As it is in force.
    pub(super) config: &'a Config,
    /// Whose backend it is.
    pub(super) tenant: &'a TenantConfig,
    /// All backends the tenant is to have beside those of the file.
    pub(super) made: &'a [Made],
    /// The one of them that is new or another one now, or was.
    pub(super) id: &'a BackendId,
    /// Of what is made.
    pub(super) generation: u64,
}

/// A change that was found to be possible.
pub(super) struct Touched {
    snapshot: Snapshot,
    flips: Vec<flips::Flip>,
}

impl Hands {
    /// Builds what a change asks for. Nothing that is in force changes.
    pub(super) fn stage_one(&self, touch: Touch<'_>) -> Result<Touched, Vec<Problem>> {
        let current = self.pipeline.current();
        let snapshot = build::rebuild(&current, touch, &self.extras, &self.ground)?;
        let flips = flips::between(&current, &snapshot);
        let hindrances = flips::hindrances(touch.config, &flips);
        if hindrances.is_empty() { Ok(Touched { snapshot, flips }) } else { Err(hindrances) }
    }

    /// Puts a change in force.
    pub(super) async fn commit_one(&self, touched: Touched) {
        let Touched { snapshot, flips } = touched;
        self.ground.settle(&snapshot);
        self.engine.keep(replicas(&snapshot));
        self.pipeline.replace(snapshot);
        flips::purge(&flips).await;
    }
}
