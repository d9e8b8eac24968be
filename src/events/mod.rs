//! What happened, for those who want to hear of it: CloudEvents over server-sent events and signed webhooks.
//!
//! Emitting never waits and never fails: subscribers that are too slow miss events and are told so, deliveries that
//! cannot be made are retried, then counted and given up. Nothing crosses tenants. An event never holds a secret's
//! value or a credential. Undelivered events, and the last ones that are kept for who comes back, do not outlive the
//! process.

mod delivery;
mod event;
mod recent;
mod sign;
mod subscription;
mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::broadcast;

pub use delivery::Patience;
pub use event::{Event, EventKind};
pub use subscription::Subscription;
pub use webhook::Webhook;

use self::event::{Told, segment};
use self::recent::{Recent, Since};
use self::webhook::Post;
use crate::clock::Clock;
use crate::secret::Tenant;

/// Events a subscriber may be behind before it misses some.
const BEHIND: usize = 256;

/// What becomes of events. A closed set: it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Happened.
    Emitted,
    /// Taken by a webhook.
    Delivered,
    /// Not taken by a webhook, to be tried again.
    Retried,
    /// Given up for a webhook.
    DeadLetter,
    /// Missed by a subscriber.
    Missed,
}

impl Counted {
    /// Every one, in declaration order.
    pub const ALL: [Self; 5] = [Self::Emitted, Self::Delivered, Self::Retried, Self::DeadLetter, Self::Missed];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Emitted => "emitted",
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::DeadLetter => "dead_letter",
            Self::Missed => "missed",
        }
    }
}

/// Counts so many of one tenant's. Called from anywhere; must not block and must not emit.
pub type Count = Arc<dyn Fn(&Tenant, Counted, u64) + Send + Sync>;

/// What a bus is made with.
#[derive(Clone)]
pub struct BusSettings {
    /// The process's name in the `source` of events.
    pub instance: String,
    /// What counts.
    pub count: Count,
    /// How long webhooks are tried.
    pub patience: Patience,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { instance: "local".to_owned(), count: Arc::new(|_, _, _| {}), patience: Patience::default() }
    }
}

/// Where events are emitted and heard. Clones are the same bus.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    settings: BusSettings,
    channels: Mutex<HashMap<Tenant, Channel>>,
    office: Mutex<Office>,
}

/// One tenant's events.
#[derive(Default)]
struct Channel {
    /// While anybody listens.
    sender: Option<broadcast::Sender<Arc<Told>>>,
    recent: Recent,
}

/// The webhooks, and where their deliveries run once that is known.
#[derive(Default)]
struct Office {
    runtime: Option<Handle>,
    posts: Vec<Post>,
}

impl Bus {
    /// A bus that counts nothing, of an instance called `local`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with(clock, BusSettings::default())
    }

    /// A bus.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, settings: BusSettings) -> Self {
        let settings = BusSettings { instance: segment(&settings.instance), ..settings };
        Self(Arc::new(Inner { clock, settings, channels: Mutex::default(), office: Mutex::default() }))
    }

    /// Tells whoever listens. Neither waits nor fails; callable from any thread.
    pub fn emit(&self, event: Event) {
        let tenant = event.tenant.clone();
        let told = Arc::new(event.tell(&self.0.settings.instance, self.0.clock.now()));
        (self.0.settings.count)(&tenant, Counted::Emitted, 1);
        self.broadcast(&tenant, &told);
        for post in &locked(&self.0.office).posts {
            post.offer(&tenant, &told);
        }
    }

    /// The tenant's events from now on.
    #[must_use]
    pub fn subscribe(&self, tenant: &Tenant) -> Subscription {
        self.listen(tenant, |_| Since::default())
    }

    /// The tenant's events from the one after `last` on, as far as they are still known: `last` is the `id` of the event
    /// a subscriber was told of last, a ULID. Where some may be missing, a stream begins with a comment that says so.
    #[must_use]
    pub fn resume(&self, tenant: &Tenant, last: &str) -> Subscription {
        self.listen(tenant, |recent| recent.since(last))
    }

    /// What is told first and what comes after it meet without a gap: both are looked up under one lock.
    fn listen(&self, tenant: &Tenant, first: impl FnOnce(&Recent) -> Since) -> Subscription {
        let mut channels = locked(&self.0.channels);
        let channel = channels.entry(tenant.clone()).or_default();
        let sender = channel.sender.get_or_insert_with(|| broadcast::channel(BEHIND).0);
        let receiver = sender.subscribe();
        Subscription::new(tenant, first(&channel.recent), receiver, self.0.settings.count.clone())
    }

    /// Starts deliveries on a runtime; later calls do nothing. What was emitted before waits until then.
    pub fn attach(&self, runtime: Handle) {
        let mut office = locked(&self.0.office);
        if office.runtime.is_none() {
            office.posts.iter_mut().for_each(|post| post.start(&runtime));
            office.runtime = Some(runtime);
        }
    }

    /// Delivers to exactly these from now on. A webhook with the tenant and URL of one there was goes on with what that
    /// one still had to deliver, and one that had said it is gone is tried again.
    pub fn keep(&self, hooks: Vec<Webhook>) {
        let mut office = locked(&self.0.office);
        let mut known = std::mem::take(&mut office.posts);
        for hook in hooks {
            let mut post = match known.iter().position(|post| post.is_for(&hook)) {
                Some(at) => known.swap_remove(at).turned_to(hook),
                None => Post::new(hook, &self.0.clock, &self.0.settings),
            };
            if let Some(runtime) = &office.runtime {
                post.start(runtime);
            }
            office.posts.push(post);
        }
    }

    fn broadcast(&self, tenant: &Tenant, told: &Arc<Told>) {
        let mut channels = locked(&self.0.channels);
        let channel = channels.entry(tenant.clone()).or_default();
        channel.recent.keep(told.clone());
        // an error says that nobody listens any more
        if channel.sender.as_ref().is_some_and(|sender| sender.send(told.clone()).is_err()) {
            channel.sender = None;
        }
    }
}

/// A panic elsewhere leaves nothing half done here: what is behind these locks changes by whole values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
