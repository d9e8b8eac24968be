//! How one call survives a bad backend: a deadline an attempt and one in all, retries from a budget and only of what is
//! safe to repeat, and a breaker that stops asking a backend that keeps failing.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::BackendError;

const MAX_ATTEMPTS: u32 = 3;
/// A retry costs ten tokens, a success earns one: at most a tenth of the traffic is retries.
const RETRY_COST: u32 = 10;
const RETRY_BUDGET: u32 = 100;
const BREAK_AFTER: u32 = 5;
const BREAK_FIRST: Duration = Duration::from_millis(500);
const BREAK_LONGEST: Duration = Duration::from_secs(30);

/// Whether an operation may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Reads and lists.
    Repeatable,
    /// Anything that might change something.
    Once,
    /// A write of a secret: once, and it has the whole deadline, because one that is cut short leaves a doubt behind and
    /// no second try could use the time.
    Write,
}

/// Deadlines, budget and breaker of one backend.
pub struct Resilience {
    timeout: Duration,
    attempt_timeout: Duration,
    state: Mutex<State>,
}

struct State {
    budget: u32,
    failures: u32,
    pause: Duration,
    open_until: Option<Instant>,
    /// Set by `Retry-After`: nobody is asked before.
    limited_until: Option<Instant>,
}

impl Resilience {
    /// `timeout` in all, `attempt_timeout` for each try.
    #[must_use]
    pub fn new(timeout: Duration, attempt_timeout: Duration) -> Self {
        let state =
            State { budget: RETRY_BUDGET, failures: 0, pause: BREAK_FIRST, open_until: None, limited_until: None };
        Self { timeout, attempt_timeout, state: Mutex::new(state) }
    }

    /// The instant at which a call that starts now ends in any case.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs `attempt`, again if that is allowed and may help.
    ///
    /// # Errors
    /// The last attempt's, or that nobody was asked because the breaker is open.
    pub async fn run<T, F, Fut>(&self, repeat: Attempt, mut attempt: F) -> Result<T, BackendError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, BackendError>>,
    {
        let deadline = self.deadline();
        for nth in 1.. {
            self.admit()?;
            let until = match repeat {
                Attempt::Write => deadline,
                Attempt::Repeatable | Attempt::Once => deadline.min(Instant::now() + self.attempt_timeout),
            };
            let result = timeout_at(until, attempt()).await.unwrap_or(Err(BackendError::Timeout));
            self.learn(&result);
            let Err(error) = &result else { return result };
            let again = repeat == Attempt::Repeatable
                && nth < MAX_ATTEMPTS
                && error.is_transient()
                && Instant::now() < deadline
                && self.spend();
            if !again {
                return result;
            }
        }
        Err(BackendError::Timeout)
    }

    /// Whether the breaker lets calls through now.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open_until.is_none()
    }

    fn admit(&self) -> Result<(), BackendError> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.limited_until {
            if now < until {
                return Err(BackendError::RateLimited(Some((until - now).as_secs().max(1))));
            }
            state.limited_until = None;
        }
        match state.open_until {
            Some(until) if now < until => Err(BackendError::Unavailable("failing; not asked again yet")),
            Some(_) => {
                // one caller probes; the rest wait as long again
                state.open_until = Some(now + state.pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn learn<T>(&self, result: &Result<T, BackendError>) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(BackendError::RateLimited(Some(seconds))) => {
                state.limited_until = Some(now + Duration::from_secs((*seconds).min(30)));
            }
            Err(error) if error.is_failure() => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= BREAK_AFTER {
                    state.open_until = Some(now + state.pause);
                    state.pause = (state.pause * 2).min(BREAK_LONGEST);
                }
            }
            _ => {
                state.failures = 0;
                state.pause = BREAK_FIRST;
                state.open_until = None;
                state.budget = (state.budget + 1).min(RETRY_BUDGET);
            }
        }
    }

    fn spend(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.budget.checked_sub(RETRY_COST) {
            Some(left) => {
                state.budget = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn resilience() -> Resilience {
        Resilience::new(Duration::from_secs(5), Duration::from_secs(2))
    }

    async fn failing(resilience: &Resilience, repeat: Attempt, error: BackendError) -> u32 {
        let calls = AtomicU32::new(0);
        let result: Result<(), _> = resilience
            .run(repeat, || {
                calls.fetch_add(1, Ordering::SeqCst);
                let error = error.clone();
                async { Err(error) }
            })
            .await;
        assert!(result.is_err());
        calls.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_safe_is_repeated() {
        assert_eq!(failing(&resilience(), Attempt::Repeatable, BackendError::Failing(503)).await, 3);
        assert_eq!(failing(&resilience(), Attempt::Once, BackendError::Failing(503)).await, 1);
        assert_eq!(failing(&resilience(), Attempt::Write, BackendError::Unavailable("gone")).await, 1);
        assert_eq!(failing(&resilience(), Attempt::Write, BackendError::Unknown("cut")).await, 1);
        assert_eq!(failing(&resilience(), Attempt::Repeatable, BackendError::Denied).await, 1);
        assert_eq!(failing(&resilience(), Attempt::Repeatable, BackendError::Timeout).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_keeps_failing_is_left_alone_and_asked_again_by_one() {
        let resilience = resilience();
        assert_eq!(failing(&resilience, Attempt::Repeatable, BackendError::Failing(503)).await, 3);
        assert_eq!(failing(&resilience, Attempt::Repeatable, BackendError::Failing(503)).await, 2);
        assert!(!resilience.is_closed());
        assert_eq!(failing(&resilience, Attempt::Repeatable, BackendError::Failing(503)).await, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(failing(&resilience, Attempt::Once, BackendError::Failing(503)).await, 1, "a probe");
        tokio::time::advance(Duration::from_secs(60)).await;
        resilience.run(Attempt::Once, || async { Ok(()) }).await.unwrap();
        assert!(resilience.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_refuses_our_credential_is_not_one_that_fails() {
        let resilience = resilience();
        for _ in 0..BREAK_AFTER * 2 {
            assert_eq!(failing(&resilience, Attempt::Repeatable, BackendError::REFUSED_LOGIN).await, 1);
        }
        assert!(resilience.is_closed(), "an open breaker would hide the refusal");
        for _ in 0..BREAK_AFTER {
            failing(&resilience, Attempt::Once, BackendError::Login("the stored credential does not exist")).await;
        }
        assert!(!resilience.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn r14_retry_after_is_honoured_and_clamped() {
        let resilience = resilience();
        assert_eq!(failing(&resilience, Attempt::Once, BackendError::RateLimited(Some(1_000_000_000))).await, 1);
        assert_eq!(failing(&resilience, Attempt::Once, BackendError::Denied).await, 0);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(failing(&resilience, Attempt::Once, BackendError::Denied).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_and_the_whole_call_have_deadlines() {
        let resilience = resilience();
        let start = Instant::now();
        let result: Result<(), _> = resilience.run(Attempt::Repeatable, std::future::pending).await;
        assert!(matches!(result, Err(BackendError::Timeout)));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        let start = Instant::now();
        let result: Result<(), _> = resilience.run(Attempt::Write, std::future::pending).await;
        assert!(matches!(result, Err(BackendError::Timeout)));
        assert_eq!(start.elapsed(), Duration::from_secs(5), "a write is not cut short");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_come_from_a_budget() {
        let resilience = resilience();
        let mut retries = 0;
        for _ in 0..40 {
            retries += failing(&resilience, Attempt::Repeatable, BackendError::Failing(503)).await.saturating_sub(1);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert!(retries <= RETRY_BUDGET / RETRY_COST, "{retries}");
    }
}
