//! What changes a running process: a snapshot is staged, which can fail, and then put in force, which cannot.

use std::sync::Arc;

use super::devices::{Devices, Opened};
use super::made::AllMade;
use super::{Extras, Ground, build, flips};
use crate::config::{Config, Problem};
use crate::events::{Bus, Webhook};
use crate::pipeline::{Pipeline, Snapshot};
use crate::seal::Records;
use crate::sync::{Engine, Replica};

/// Everything a change touches.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) ground: Arc<Ground>,
    pub(super) engine: Arc<Engine>,
    pub(super) events: Bus,
    pub(super) devices: Arc<Devices>,
    pub(super) extras: Extras,
}

/// A change that was found to be possible.
pub(super) struct Staged {
    snapshot: Snapshot,
    hooks: Vec<Webhook>,
    devices: Opened,
    flips: Vec<flips::Flip>,
    /// Of tenants that are new.
    opened: Vec<Arc<Records>>,
}

impl Hands {
    /// Builds what a configuration and the backends of the API ask for. Nothing that is in force changes.
    pub(super) async fn stage(&self, config: &Config, made: &AllMade, generation: u64) -> Result<Staged, Vec<Problem>> {
        let opened = self.ground.unindexed();
        // files are read: what else runs here must not wait for a slow disk
        let (snapshot, hooks) = tokio::task::block_in_place(|| {
            let snapshot = build::build(config, made, &self.extras, &self.ground, generation)?;
            Ok::<_, Vec<Problem>>((snapshot, build::webhooks(config, &self.extras, &self.ground)?))
        })?;
        let flips = flips::between(&self.pipeline.current(), &snapshot);
        let hindrances = flips::hindrances(config, &flips);
        if !hindrances.is_empty() {
            return Err(hindrances);
        }
        Ok(Staged { snapshot, hooks, devices: self.devices.open(config)?, flips, opened })
    }

    /// Puts a staged change in force.
    pub(super) async fn commit(&self, staged: Staged) {
        let Staged { snapshot, hooks, devices, flips, opened } = staged;
        self.ground.settle(&snapshot);
        self.engine.keep(replicas(&snapshot));
        self.devices.keep(devices);
        self.events.keep(hooks);
        self.pipeline.replace(snapshot);
        flips::purge(&flips).await;
        for records in opened {
            drop(tokio::task::spawn_blocking(move || index(&records)));
        }
    }
}

/// Every replica of a snapshot.
pub(super) fn replicas(snapshot: &Snapshot) -> Vec<Arc<Replica>> {
    let backends = snapshot.tenants.values().flat_map(|tenant| &tenant.backends);
    backends.filter_map(|backend| backend.replica.clone()).collect()
}

/// Fills a tenant's index. Exact reads do not wait for it.
pub(super) fn index(records: &Records) {
    match records.rebuild() {
        Ok(secrets) if secrets > 0 => {
            tracing::info!(tenant = records.tenant().as_str(), secrets, "the store's names are indexed");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the store's names cannot be indexed: nothing can be listed"),
    }
}
