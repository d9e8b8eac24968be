//! A listener's view of one tenant's events, and the server-sent event stream made of it.
//!
//! A subscriber that is slower than the events misses some and is told how many; it never holds anybody else up.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::event::Told;
use super::recent::Since;
use super::{Count, Counted, EventKind};
use crate::secret::Tenant;

/// Chunks a stream holds for a client that reads slowly.
const CHUNKS: usize = 16;
/// How often a stream asks whether its client may still listen.
const LOOK: Duration = Duration::from_millis(500);
/// After so long a client connects and is authenticated anew.
const LIFE: Duration = Duration::from_secs(3600);
/// What every stream begins with: clients come back two seconds after its end.
const GREETING: &str = "retry: 2000\n: listening\n\n";

/// The events of one tenant from now on, behind those that were asked for once more.
pub struct Subscription {
    tenant: Tenant,
    first: Since,
    receiver: broadcast::Receiver<Arc<Told>>,
    /// Empty: all.
    kinds: Vec<EventKind>,
    count: Count,
}

/// What a subscriber is told.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something happened.
    Event(Arc<Told>),
    /// So many events, of any kind, came faster than they were taken.
    Missed(u64),
    /// Of what happened before, something may be missing.
    Gap,
}

impl Subscription {
    pub(super) fn new(tenant: &Tenant, first: Since, receiver: broadcast::Receiver<Arc<Told>>, count: Count) -> Self {
        Self { tenant: tenant.clone(), first, receiver, kinds: Vec::new(), count }
    }

    /// The same for these kinds only; for all if there are none.
    #[must_use]
    pub fn only(self, kinds: Vec<EventKind>) -> Self {
        Self { kinds, ..self }
    }

    /// The next event as CloudEvents JSON on one line; `None` when there will be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            if let Heard::Event(told) = self.hear().await? {
                return Some(told.text.clone());
            }
        }
    }

    /// The chunks of a `text/event-stream`, made by a task on the current runtime.
    ///
    /// The task ends with the receiver, when `may` says no, or after an hour. `may` is asked before each event and twice
    /// a second, and must not block: it is whether the client that asked would be let in again.
    #[must_use]
    pub fn into_chunks(self, may: impl Fn() -> bool + Send + Sync + 'static) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        tokio::spawn(pump(self, may, sender));
        receiver
    }

    /// Cancel safe: nothing is taken before it is given.
    pub(super) async fn hear(&mut self) -> Option<Heard> {
        if mem::take(&mut self.first.is_partial) {
            return Some(Heard::Gap);
        }
        while let Some(told) = self.first.events.pop_front() {
            if self.wants(&told) {
                return Some(Heard::Event(told));
            }
        }
        loop {
            match self.receiver.recv().await {
                Ok(told) if self.wants(&told) => return Some(Heard::Event(told)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    (self.count)(&self.tenant, Counted::Missed, missed);
                    return Some(Heard::Missed(missed));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, told: &Told) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&told.kind)
    }
}

async fn pump(mut subscription: Subscription, may: impl Fn() -> bool + Send + Sync, sender: mpsc::Sender<Bytes>) {
    let end = Instant::now() + LIFE;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut chunk = Some(Bytes::from_static(GREETING.as_bytes()));
    loop {
        if !may() {
            return;
        }
        if let Some(chunk) = chunk.take()
            && sender.send(chunk).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = sleep_until(end) => return,
            _ = look.tick() => {}
            heard = subscription.hear() => match heard {
                Some(heard) => chunk = Some(frame(&heard)),
                None => return,
            },
        }
    }
}

/// One message of the stream.
fn frame(heard: &Heard) -> Bytes {
    Bytes::from(match heard {
        Heard::Event(told) => format!("id: {}\nevent: {}\ndata: {}\n\n", told.id, told.kind.as_str(), told.text),
        Heard::Missed(count) => format!(": missed {count}\n\n"),
        Heard::Gap => ": events may be missing here\n\n".to_owned(),
    })
}
