//! Deliveries to one webhook: one at a time, oldest first, a failed one again later while others go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::Counted;
use super::event::{Told, draw};
use super::sign::sign;
use super::webhook::{QUEUE, Target, Webhook};
use crate::backend::{BackendError, UpstreamRequest};
use crate::clock::Clock;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How long a webhook is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries of one event in all.
    pub tries: u32,
    /// The pause before the second try, give or take a quarter.
    pub first: Duration,
    /// How many times longer each further pause is.
    pub factor: u32,
    /// Deadline of one try.
    pub deadline: Duration,
}

impl Default for Patience {
    /// Six tries, 5 s to 405 s apart: ten minutes.
    fn default() -> Self {
        Self { tries: 6, first: Duration::from_secs(5), factor: 3, deadline: Duration::from_secs(10) }
    }
}

impl Patience {
    /// The pause after so many tries, at least as long as the receiver asked for; `None` after the last.
    fn pause(&self, tries: u32, asked: Option<u64>) -> Option<Duration> {
        if tries >= self.tries {
            return None;
        }
        let whole = self.first.saturating_mul(self.factor.saturating_pow(tries.saturating_sub(1)));
        let per_mille = u32::try_from(750 + draw() % 501).unwrap_or(1000);
        let pause = whole.saturating_mul(per_mille) / 1000;
        Some(pause.max(Duration::from_secs(asked.unwrap_or(0))))
    }
}

/// Why a try was none.
#[derive(Debug, Error)]
enum Failure {
    #[error("its signing key {0}")]
    Key(&'static str),
    #[error("answered {0}")]
    Status(u16, Option<u64>),
    #[error("answered 410: it is gone")]
    Gone,
    #[error("no answer within the deadline")]
    Late,
    #[error(transparent)]
    Unanswered(#[from] BackendError),
}

/// An event on its way to one webhook.
struct Letter {
    told: Arc<Told>,
    tries: u32,
}

/// The one owner of a webhook's deliveries.
pub(super) struct Worker {
    target: Arc<Target>,
    inbox: mpsc::Receiver<Arc<Told>>,
    /// By the time of the next try, then by age. INVARIANT: the second number is never used twice.
    waiting: BTreeMap<(Instant, u64), Letter>,
    taken: u64,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

impl Worker {
    pub(super) fn new(
        target: Arc<Target>,
        inbox: mpsc::Receiver<Arc<Told>>,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Self {
        Self { target, inbox, waiting: BTreeMap::new(), taken: 0, clock, patience }
    }

    /// Delivers until the queue's other end is gone.
    pub(super) async fn run(mut self) {
        loop {
            while self.waiting.len() < QUEUE
                && let Ok(told) = self.inbox.try_recv()
            {
                self.take(told);
            }
            let due = self.waiting.keys().next().map(|(due, _)| *due);
            if due.is_some_and(|due| due <= Instant::now()) {
                self.deliver_first().await;
            } else if !self.wait(due).await {
                return;
            }
        }
    }

    fn take(&mut self, told: Arc<Told>) {
        self.taken += 1;
        self.waiting.insert((Instant::now(), self.taken), Letter { told, tries: 0 });
    }

    /// Waits for a new letter or for an old one's time; `false` when there is nobody left to send any.
    async fn wait(&mut self, due: Option<Instant>) -> bool {
        let time = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let has_room = self.waiting.len() < QUEUE;
        tokio::select! {
            told = self.inbox.recv(), if has_room => match told {
                Some(told) => {
                    self.take(told);
                    true
                }
                None => false,
            },
            () = time => true,
        }
    }

    async fn deliver_first(&mut self) {
        let Some(((_, age), mut letter)) = self.waiting.pop_first() else { return };
        let hook = self.target.hook.load_full();
        letter.tries += 1;
        let failure = match self.post(&hook, &letter.told).await {
            Ok(()) => return self.target.count(Counted::Delivered),
            Err(failure) => failure,
        };
        let (tenant, webhook, event) = (&hook.tenant, hook.origin(), letter.told.kind.as_str());
        if matches!(failure, Failure::Gone) {
            self.target.is_gone.store(true, Ordering::Relaxed);
            let letters = 1 + self.forget();
            self.target.bury(letters);
            tracing::warn!(%tenant, %webhook, event, letters, "a webhook is gone; it is tried again after a reload");
            return;
        }
        let asked = match &failure {
            Failure::Status(_, asked) => *asked,
            Failure::Unanswered(_) | Failure::Key(_) | Failure::Late | Failure::Gone => None,
        };
        match self.patience.pause(letter.tries, asked) {
            Some(pause) => {
                self.target.count(Counted::Retried);
                tracing::debug!(%tenant, %webhook, event, reason = %failure, "an event was not delivered yet");
                self.waiting.insert((Instant::now() + pause, age), letter);
            }
            None => {
                self.target.bury(1);
                let (id, tries) = (letter.told.id.as_str(), letter.tries);
                tracing::warn!(%tenant, %webhook, event, id, tries, reason = %failure, "an event was given up");
            }
        }
    }

    /// Drops everything that waits and says how much it was.
    fn forget(&mut self) -> usize {
        let mut letters = self.waiting.len();
        self.waiting.clear();
        while self.inbox.try_recv().is_ok() {
            letters += 1;
        }
        letters
    }

    async fn post(&self, hook: &Webhook, told: &Told) -> Result<(), Failure> {
        let headers = self.headers(hook, told)?;
        let body = Some(Bytes::copy_from_slice(told.text.as_bytes()));
        let request = UpstreamRequest { method: Method::POST, url: &hook.url, headers, body };
        let answer = timeout(self.patience.deadline, hook.client.send(request)).await.map_err(|_| Failure::Late)??;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            410 => Err(Failure::Gone),
            status => Err(Failure::Status(status, answer.retry_after())),
        }
    }

    /// Signed with the key as it is now, at the time it is now.
    fn headers(&self, hook: &Webhook, told: &Told) -> Result<HeaderMap, Failure> {
        let now = self.clock.now().secs();
        let key = (hook.key)().ok_or(Failure::Key("cannot be read"))?;
        let signature = sign(&key, &told.id, now, told.text.as_bytes()).map_err(Failure::Key)?;
        let visible = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::Key("makes no signature"));
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
        headers.insert(WEBHOOK_ID, visible(&told.id)?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now));
        headers.insert(WEBHOOK_SIGNATURE, visible(&signature)?);
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_for_ten_minutes_and_vary() {
        let patience = Patience::default();
        let pauses: Vec<Duration> = (1..).map_while(|tries| patience.pause(tries, None)).collect();
        assert_eq!(pauses.len(), 5, "six tries");
        for (pause, whole) in pauses.iter().zip([5.0, 15.0, 45.0, 135.0, 405.0]) {
            assert!((0.75..=1.25).contains(&(pause.as_secs_f64() / whole)), "{pause:?} is not about {whole} s");
        }
        let varied: std::collections::HashSet<_> = (0..20).filter_map(|_| patience.pause(5, None)).collect();
        assert!(varied.len() > 1);
    }

    #[test]
    fn r14_a_receiver_that_asks_for_a_longer_pause_gets_it() {
        let patience = Patience::default();
        assert_eq!(patience.pause(1, Some(300)), Some(Duration::from_secs(300)));
        assert!(patience.pause(5, Some(1)).unwrap() > Duration::from_secs(300), "a shorter one changes nothing");
        assert_eq!(patience.pause(6, Some(1)), None);
        let long = Patience { factor: u32::MAX, first: Duration::MAX, ..patience };
        assert!(long.pause(3, None).is_some());
    }
}
