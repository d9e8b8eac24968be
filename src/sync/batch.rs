//! Current values, read several at a time where the backend can: steps that want one wait for each other a moment.
//!
//! INVARIANT: whoever waits here is answered, also when the step that asked for all of them went away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::desk::{Candidate, Desk};
use crate::backend::{Ask, BackendError};
use crate::secret::{RemoteName, Reply};

/// How long a value is waited for others.
const LINGER: Duration = Duration::from_millis(100);
const ONE_BY_ONE: &str = "our credential may not read values in batches: they are read one by one";
const LOST: BackendError = BackendError::Unavailable("the call for several values ended before its answer");

/// What a step that waits is told: its answer, or to read for itself.
type Told = Option<Result<Reply, BackendError>>;

/// Who waits for a current value.
struct Waiting {
    rule: u32,
    remote: RemoteName,
    told: oneshot::Sender<Told>,
}

/// The values waited for.
#[derive(Default)]
pub(super) struct Batch {
    queue: Mutex<Queue>,
    is_refused: AtomicBool,
    ended: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    under_way: usize,
    /// Whether one was ever answered: until then there is one at a time.
    is_granted: bool,
}

impl Batch {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch that is to be asked for now: a full one, or what there is when nobody else can come.
    fn ready(&self, size: usize, is_late: bool) -> Option<Vec<Waiting>> {
        let mut queue = self.queue();
        let is_full = queue.waiting.len() >= size && (queue.is_granted || queue.under_way == 0);
        let is_last = is_late && queue.under_way == 0 && !queue.waiting.is_empty();
        if !is_full && !is_last {
            return None;
        }
        queue.under_way += 1;
        let rest = queue.waiting.len().min(size);
        let rest = queue.waiting.split_off(rest);
        Some(std::mem::replace(&mut queue.waiting, rest))
    }

    fn done(&self, is_granted: bool) {
        let mut queue = self.queue();
        queue.under_way = queue.under_way.saturating_sub(1);
        queue.is_granted |= is_granted;
        drop(queue);
        self.ended.notify_waiters();
    }
}

/// Tells the others that a call is over, however it ends.
struct Ended<'b> {
    batch: &'b Batch,
    is_granted: bool,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.batch.done(self.is_granted);
    }
}

impl Desk {
    /// The current value of a secret, in one call with others; `None` if this backend has no such call for us.
    pub(super) async fn current(&self, candidate: &Candidate) -> Told {
        let size = usize::from(self.replica.client.capabilities().batch);
        if size == 0 || self.batch.is_refused.load(Ordering::Acquire) {
            return None;
        }
        let (told, mut answer) = oneshot::channel();
        self.batch.queue().waiting.push(Waiting { rule: candidate.rule, remote: candidate.remote.clone(), told });
        let mut is_late = false;
        loop {
            if let Some(waiting) = self.batch.ready(size, is_late) {
                self.ask_at_once(waiting).await;
                continue;
            }
            tokio::select! {
                told = &mut answer => return told.unwrap_or(Some(Err(LOST))),
                () = self.batch.ended.notified() => is_late = false,
                () = sleep(LINGER) => is_late = true,
            }
        }
    }

    async fn ask_at_once(&self, waiting: Vec<Waiting>) {
        let asks: Vec<Ask<'_>> = waiting.iter().map(|one| self.ask(one.rule, &one.remote)).collect();
        let mut ended = Ended { batch: &self.batch, is_granted: false };
        let answers = self.call(self.replica.client.read_many(&asks)).await;
        if matches!(answers, Err(BackendError::Denied | BackendError::Unsupported)) {
            self.batch.is_refused.store(true, Ordering::Release);
        }
        ended.is_granted = answers.is_ok();
        drop(ended);
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for one in waiting {
                    let answer = answers.next().unwrap_or(Err(BackendError::Unusable("fewer values than asked for")));
                    let _gone = one.told.send(Some(answer));
                }
            }
            Err(error @ (BackendError::Denied | BackendError::Unsupported)) => {
                if matches!(error, BackendError::Denied) {
                    self.note(ONE_BY_ONE);
                }
                let others = std::mem::take(&mut self.batch.queue().waiting);
                for one in waiting.into_iter().chain(others) {
                    let _gone = one.told.send(None);
                }
            }
            Err(error) => {
                for one in waiting {
                    let _gone = one.told.send(Some(Err(error.clone())));
                }
            }
        }
    }
}
