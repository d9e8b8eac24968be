//! How fast one backend is asked: a token bucket that all requests of its runs share, and a pause the backend itself asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use crate::backend::{BackendError, Toll};
use crate::secret::RateLimit;

/// More than this a backend cannot make us wait at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A token bucket. Without a limit only pauses hold calls back.
pub(super) struct Bucket {
    limit: Option<RateLimit>,
    level: Mutex<Level>,
}

struct Level {
    /// Below zero: tokens that were promised and are waited for.
    tokens: f64,
    at: Instant,
    paused_until: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        let tokens = limit.map_or(0.0, |limit| f64::from(limit.burst.max(1)));
        Self { limit, level: Mutex::new(Level { tokens, at: Instant::now(), paused_until: None }) }
    }

    /// What it was made with.
    pub(super) const fn limit(&self) -> Option<RateLimit> {
        self.limit
    }

    /// Waits until one request may be made.
    pub(super) async fn take(&self) {
        let mut until = self.reserve();
        while let Some(at) = until {
            sleep_until(at).await;
            until = self.pause_after(at);
        }
    }

    /// Takes a token if there is one now. Without a limit there always is, and pauses do not matter.
    pub(super) fn try_take(&self) -> bool {
        let Some(RateLimit { per_second, burst }) = self.limit else { return true };
        let now = Instant::now();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * f64::from(per_second.max(1));
        level.tokens = (level.tokens + gained).min(f64::from(burst.max(1)));
        level.at = now;
        let is_there = level.tokens >= 1.0;
        if is_there {
            level.tokens -= 1.0;
        }
        is_there
    }

    /// So many requests were made that nobody waited for: whoever comes next waits for them, too.
    pub(super) fn owe(&self, requests: u64) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.tokens -= f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
    }

    /// Nobody calls for so long.
    pub(super) fn pause(&self, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds.max(1)).min(LONGEST_PAUSE);
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.paused_until = level.paused_until.max(Some(until));
    }

    /// Takes a token, from the future if there is none; yields when it is there.
    fn reserve(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = level.paused_until.filter(|until| *until > now);
        let Some(RateLimit { per_second, burst }) = self.limit else { return paused };
        let (rate, burst) = (f64::from(per_second.max(1)), f64::from(burst.max(1)));
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * rate;
        level.tokens = (level.tokens + gained).min(burst) - 1.0;
        level.at = now;
        let owed = (level.tokens < 0.0).then(|| now + Duration::from_secs_f64(-level.tokens / rate));
        paused.max(owed)
    }

    /// The end of a pause that was asked for while a caller waited until `at`.
    fn pause_after(&self, at: Instant) -> Option<Instant> {
        let level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.paused_until.filter(|until| *until > at)
    }
}

#[async_trait]
impl Toll for Bucket {
    async fn further(&self) -> Result<(), BackendError> {
        self.take().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds(bucket: &Bucket, calls: u32) -> f64 {
        let start = Instant::now();
        for _ in 0..calls {
            bucket.take().await;
        }
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_the_rest_comes_at_the_rate() {
        let bucket = Bucket::new(Some(RateLimit { per_second: 10, burst: 5 }));
        assert!(seconds(&bucket, 5).await < 0.001);
        let took = seconds(&bucket, 20).await;
        assert!((1.9..2.2).contains(&took), "{took}");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(seconds(&bucket, 5).await < 0.001, "it fills up again, to the burst");
        assert!(seconds(&bucket, 1).await > 0.05);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_gets_what_is_there() {
        let bucket = Bucket::new(Some(RateLimit { per_second: 10, burst: 5 }));
        let taken = |bucket: &Bucket| (0..100).filter(|_| bucket.try_take()).count();
        assert_eq!(taken(&bucket), 5);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(taken(&bucket), 2, "what was refused is owed to nobody");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(taken(&bucket), 5);
        assert_eq!(taken(&Bucket::new(None)), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_nobody_waited_for_are_waited_for_by_the_next() {
        let bucket = Bucket::new(Some(RateLimit { per_second: 10, burst: 5 }));
        assert!(seconds(&bucket, 1).await < 0.001);
        bucket.owe(24);
        let took = seconds(&bucket, 1).await;
        assert!((2.0..2.2).contains(&took), "{took}");
        let free = Bucket::new(None);
        free.owe(1000);
        assert!(seconds(&free, 1).await < 0.001);
    }

    #[tokio::test(start_paused = true)]
    async fn r14_a_pause_holds_everybody_back_and_is_clamped() {
        let bucket = Bucket::new(None);
        assert!(seconds(&bucket, 100).await < 0.001);
        bucket.pause(7);
        let took = seconds(&bucket, 1).await;
        assert!((7.0..7.1).contains(&took), "{took}");
        bucket.pause(u64::MAX);
        assert!(seconds(&bucket, 1).await < 301.0);
    }
}
