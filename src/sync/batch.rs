//! Current values, read several at a time where the backend can: steps that want one wait for each other a moment.
//!
//! INVARIANT: whoever waits here is answered, also when the step that asked for all of them went away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
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
    waiting: Mutex<Vec<Waiting>>,
    is_refused: AtomicBool,
}

impl Batch {
    fn take(&self, least: usize) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < least { Vec::new() } else { std::mem::take(&mut *waiting) }
    }

    fn add(&self, waiting: Waiting) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
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
        self.batch.add(Waiting { rule: candidate.rule, remote: candidate.remote.clone(), told });
        let full = self.batch.take(size);
        if full.is_empty() {
            tokio::select! {
                told = &mut answer => return told.unwrap_or(Some(Err(LOST))),
                () = sleep(LINGER) => self.ask_for(self.batch.take(1), size).await,
            }
        } else {
            self.ask_for(full, size).await;
        }
        answer.await.unwrap_or(Some(Err(LOST)))
    }

    async fn ask_for(&self, mut waiting: Vec<Waiting>, size: usize) {
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(size));
            self.ask_at_once(std::mem::replace(&mut waiting, rest)).await;
        }
    }

    async fn ask_at_once(&self, waiting: Vec<Waiting>) {
        let asks: Vec<Ask<'_>> = waiting.iter().map(|one| self.ask(one.rule, &one.remote)).collect();
        let answers = self.call(self.replica.client.read_many(&asks)).await;
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for one in waiting {
                    let answer = answers.next().unwrap_or(Err(BackendError::Unusable("fewer values than asked for")));
                    let _gone = one.told.send(Some(answer));
                }
            }
            Err(error @ (BackendError::Denied | BackendError::Unsupported)) => {
                self.batch.is_refused.store(true, Ordering::Release);
                if matches!(error, BackendError::Denied) {
                    self.note(ONE_BY_ONE);
                }
                for one in waiting {
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
