//! Webhooks: who is posted to, and the queue in front of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;

use super::delivery::Worker;
use super::event::Told;
use super::{BusSettings, Count, Counted, EventKind};
use crate::backend::HttpClient;
use crate::clock::Clock;
use crate::secret::{SecretValue, Tenant};

/// Events that wait for a webhook's worker, and as many again for another try.
pub(super) const QUEUE: usize = 256;

/// A receiver of events.
pub struct Webhook {
    /// Whose events it gets.
    pub tenant: Tenant,
    /// Where they are posted. Plain http is the caller's to refuse.
    pub url: url::Url,
    /// The client they are posted with, which follows no redirect.
    pub client: HttpClient,
    /// The key they are signed with, read for each delivery: at least 16 bytes as they are, base64 behind `whsec_`, or
    /// either as the string `key` of a JSON object. `None` when it cannot be read. May read a file and wait for nothing
    /// else.
    pub key: Arc<dyn Fn() -> Option<SecretValue> + Send + Sync>,
    /// The kinds it gets.
    pub kinds: Vec<EventKind>,
}

impl Webhook {
    /// Where it is, as far as a log may show it: paths of webhooks hold tokens.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// What a webhook's queue and its worker share.
pub(super) struct Target {
    pub(super) hook: ArcSwap<Webhook>,
    /// It answered 410: nothing is sent until the configuration is read again.
    pub(super) is_gone: AtomicBool,
    is_full: AtomicBool,
    tally: Count,
}

impl Target {
    /// Counts letters that nobody will get.
    pub(super) fn bury(&self, letters: usize) {
        (self.tally)(&self.hook.load().tenant, Counted::DeadLetter, letters.try_into().unwrap_or(u64::MAX));
    }

    pub(super) fn count(&self, what: Counted) {
        (self.tally)(&self.hook.load().tenant, what, 1);
    }
}

/// A webhook's queue and the worker behind it, which ends with this.
pub(super) struct Post {
    target: Arc<Target>,
    inbox: mpsc::Sender<Arc<Told>>,
    /// Until it is started.
    worker: Option<Worker>,
    task: Option<AbortHandle>,
}

impl Post {
    pub(super) fn new(hook: Webhook, clock: &Arc<dyn Clock>, settings: &BusSettings) -> Self {
        let (sender, inbox) = mpsc::channel(QUEUE);
        let target = Arc::new(Target {
            hook: ArcSwap::from_pointee(hook),
            is_gone: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            tally: settings.count.clone(),
        });
        let worker = Worker::new(target.clone(), inbox, clock.clone(), settings.patience);
        Self { target, inbox: sender, worker: Some(worker), task: None }
    }

    /// Whether this posts to the same place for the same tenant.
    pub(super) fn is_for(&self, hook: &Webhook) -> bool {
        let own = self.target.hook.load();
        own.tenant == hook.tenant && own.url == hook.url
    }

    /// The same queue for a webhook that was read anew.
    pub(super) fn turned_to(self, hook: Webhook) -> Self {
        self.target.hook.store(Arc::new(hook));
        self.target.is_gone.store(false, Ordering::Relaxed);
        self
    }

    pub(super) fn start(&mut self, runtime: &Handle) {
        if let Some(worker) = self.worker.take() {
            self.task = Some(runtime.spawn(worker.run()).abort_handle());
        }
    }

    /// Queues an event that this webhook wants; one that does not fit any more is given up.
    pub(super) fn offer(&self, tenant: &Tenant, told: &Arc<Told>) {
        let hook = self.target.hook.load();
        let wants = hook.tenant == *tenant && hook.kinds.contains(&told.kind);
        if !wants || self.target.is_gone.load(Ordering::Relaxed) {
            return;
        }
        match self.inbox.try_send(told.clone()) {
            Ok(()) => self.target.is_full.store(false, Ordering::Relaxed),
            Err(TrySendError::Closed(_) | TrySendError::Full(_)) => {
                self.target.bury(1);
                if !self.target.is_full.swap(true, Ordering::Relaxed) {
                    let webhook = hook.origin();
                    tracing::warn!(%tenant, %webhook, "a webhook's queue is full; its events are given up");
                }
            }
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
