//! The keys requests are signed with: got when first needed, replaced ahead of their end and when the service no longer
//! takes them. One at a time gets new ones; failures are spaced out.
//!
//! INVARIANT: keys the service refused are not used again. The same keys, found once more, are no new ones.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::credentials::Account;
use super::sign::system_time;
use crate::backend::BackendError;
use crate::clock::{Clock as _, SystemClock};

/// Sync tells this one from other failures of a login.
const WAITING: BackendError = BackendError::Login("the last login failed; the next one waits");
const ENDED: BackendError = BackendError::Login("the credentials found have ended already");

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
/// How long to wait after a failure before trying again on our own account.
const AGAIN: Duration = Duration::from_secs(2);
/// Keys are replaced this much ahead of their end, and no more than a quarter of the time they have.
const LEAD: Duration = Duration::from_secs(600);
/// What does not end.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Keys that work, as far as we know.
pub(super) struct Keys {
    pub(super) generation: u64,
    credentials: Credentials,
    identity: Identity,
    renew_at: Instant,
    ends_at: Instant,
}

/// Keeps one set of keys good.
pub(super) struct Keyring {
    account: Account,
    keys: ArcSwapOption<Keys>,
    turn: Mutex<Turn>,
}

/// What only the one who gets keys may touch.
#[derive(Default)]
struct Turn {
    generation: u64,
    not_before: Option<Instant>,
    backoff: Option<Duration>,
    /// The last failure was a refusal.
    is_refused: bool,
}

impl Keyring {
    pub(super) fn new(account: Account) -> Self {
        Self { account, keys: ArcSwapOption::empty(), turn: Mutex::default() }
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    /// Live keys, got now if there are none.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<Arc<Keys>, BackendError> {
        match self.keys.load_full() {
            Some(keys) if Instant::now() < keys.ends_at => Ok(keys),
            _ => self.detached(None, false).await,
        }
    }

    /// Called when the service refused the keys of `generation`: others, if there are any.
    pub(super) async fn suspect(self: &Arc<Self>, generation: u64) -> Result<Arc<Keys>, BackendError> {
        self.detached(Some(generation), true).await
    }

    /// Called when the service refused the keys that took the place of refused ones.
    pub(super) async fn condemn(&self, generation: u64) {
        let mut turn = self.turn.lock().await;
        if self.keys.load_full().is_some_and(|keys| keys.generation == generation) {
            self.keys.store(None);
            turn.fail(&BackendError::REFUSED_LOGIN);
        }
    }

    /// Replaces the keys ahead of their end, for as long as the backend exists.
    pub(super) async fn tend(self: &Arc<Self>) {
        loop {
            let done = match self.keys.load_full() {
                None => self.detached(None, false).await.map(|_| ()),
                Some(keys) if Instant::now() < keys.renew_at => Ok(()),
                Some(keys) => self.detached(Some(keys.generation), false).await.map(|_| ()),
            };
            let soon = Instant::now() + AGAIN;
            let next = match (done, self.keys.load_full()) {
                (Ok(()), Some(keys)) => keys.renew_at.max(soon),
                _ => soon,
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Runs on its own task: a caller that gives up must not cut an exchange with the token service in half.
    async fn detached(self: &Arc<Self>, stale: Option<u64>, refused: bool) -> Result<Arc<Keys>, BackendError> {
        let keyring = self.clone();
        let work = tokio::spawn(async move { keyring.replace(stale, refused).await });
        work.await.unwrap_or(Err(BackendError::Login("the login task ended")))
    }

    /// Gets keys unless somebody else just did. `stale` is a generation that must not be given back; `refused` says that
    /// the service does not take it any more.
    async fn replace(&self, stale: Option<u64>, refused: bool) -> Result<Arc<Keys>, BackendError> {
        let mut turn = self.turn.lock().await;
        let before = self.keys.load_full();
        if let Some(keys) = &before
            && Instant::now() < keys.ends_at
            && stale != Some(keys.generation)
        {
            return Ok(keys.clone());
        }
        if turn.not_before.is_some_and(|at| Instant::now() < at) {
            // who waits is told what is in the way: a service that refuses us is not one that is gone
            return Err(if turn.is_refused { BackendError::REFUSED_LOGIN } else { WAITING });
        }
        let found = self.account.obtain().await.and_then(|credentials| match &before {
            Some(keys) if refused && is_same(&keys.credentials, &credentials) => Err(BackendError::REFUSED_LOGIN),
            _ => Keys::new(turn.generation + 1, credentials),
        });
        match found {
            Ok(keys) => {
                *turn = Turn { generation: keys.generation, ..Turn::default() };
                let keys = Arc::new(keys);
                self.keys.store(Some(keys.clone()));
                Ok(keys)
            }
            Err(error) => {
                turn.fail(&error);
                // keys that only could not be replaced go on until they end
                if refused || before.is_none_or(|keys| Instant::now() >= keys.ends_at) {
                    self.keys.store(None);
                }
                tracing::warn!(error = %error, "no AWS credentials for the backend");
                Err(error)
            }
        }
    }
}

impl Turn {
    fn fail(&mut self, error: &BackendError) {
        self.is_refused = error.is_refusal();
        let wait = self.backoff.map_or(BACKOFF_FIRST, |last| (last * 2).min(BACKOFF_LONGEST));
        self.backoff = Some(wait);
        self.not_before = Some(Instant::now() + jitter(wait));
    }
}

impl Keys {
    fn new(generation: u64, credentials: Credentials) -> Result<Self, BackendError> {
        let left = match credentials.expiry() {
            None => FOREVER,
            Some(end) => end.duration_since(system_time(SystemClock.now())).map_err(|_| ENDED)?.min(FOREVER),
        };
        let now = Instant::now();
        let lead = jitter((left / 4).min(LEAD));
        let identity = Identity::from(credentials.clone());
        Ok(Self { generation, credentials, identity, renew_at: now + (left - lead), ends_at: now + left })
    }

    /// What signs.
    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.secret_access_key() == other.secret_access_key()
        && one.session_token() == other.session_token()
}

/// Up to a tenth less, so that many processes do not act in step.
pub(super) fn jitter(around: Duration) -> Duration {
    let mut byte = [0; 1];
    let _uniform_enough = getrandom::fill(&mut byte);
    around.saturating_sub(around / 10 * u32::from(byte.first().copied().unwrap_or(0)) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(left: Option<Duration>) -> Result<Keys, BackendError> {
        let ends = left.map(|left| system_time(SystemClock.now().after(left)));
        Keys::new(1, Credentials::new("ASIAFAKE", "made-up", None, ends, "test"))
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_replaced_ahead_of_their_end() {
        let now = Instant::now();
        let hour = keys(Some(Duration::from_secs(3600))).unwrap();
        let lead = hour.ends_at - hour.renew_at;
        assert!(lead <= LEAD && lead >= LEAD / 10 * 9, "{lead:?}");
        assert!(hour.ends_at > now + Duration::from_secs(3590));
        let short = keys(Some(Duration::from_secs(100))).unwrap();
        assert!(short.ends_at - short.renew_at <= Duration::from_secs(25));
        assert!(keys(None).unwrap().renew_at > now + FOREVER / 2);
    }

    #[test]
    fn keys_that_have_ended_are_none() {
        let past = system_time(crate::clock::Timestamp::from_secs(1_000_000));
        let ended = Credentials::new("ASIAFAKE", "made-up", None, Some(past), "test");
        assert!(matches!(Keys::new(1, ended), Err(BackendError::Login(_))));
    }
}
