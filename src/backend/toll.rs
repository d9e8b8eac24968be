//! What one call costs: its requests are counted where they are sent, and whoever made it is asked before it sends one more
//! of its own accord.
//!
//! A client may need several requests for one call: pages of a list, a login, a second try. Whoever makes the call knows
//! nothing of that; it says who is to be asked, and is told afterwards. What runs on a task of its own is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::BackendError;

tokio::task_local! {
    static BILL: Arc<Bill>;
}

/// Who is asked before a call sends more requests than one.
#[async_trait]
pub trait Toll: Send + Sync {
    /// Called before a further request that a call means to send, such as the next page. May wait.
    ///
    /// # Errors
    /// What the call ends with instead.
    async fn further(&self) -> Result<(), BackendError>;
}

/// What a call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    sent: u64,
    further: u64,
}

struct Bill {
    toll: Arc<dyn Toll>,
    sent: AtomicU64,
    further: AtomicU64,
}

impl Spent {
    /// How many requests it was: one at least, whether or not it got as far as being sent.
    #[must_use]
    pub fn requests(self) -> u64 {
        self.sent.max(self.further + 1)
    }

    /// How many of them nobody was asked about, the first apart: logins and second tries.
    #[must_use]
    pub fn unasked(self) -> u64 {
        self.requests() - self.further - 1
    }
}

/// Makes a call. Before each further request of it `toll` is asked.
pub async fn tolled<T>(toll: Arc<dyn Toll>, call: impl Future<Output = T>) -> (T, Spent) {
    let bill = Arc::new(Bill { toll, sent: AtomicU64::new(0), further: AtomicU64::new(0) });
    let result = BILL.scope(bill.clone(), call).await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (result, Spent { sent: count(&bill.sent), further: count(&bill.further) })
}

/// Called by clients before each further request they mean to send for one call.
///
/// # Errors
/// Whoever made the call allows no more.
pub async fn further() -> Result<(), BackendError> {
    let Ok(bill) = BILL.try_with(Arc::clone) else { return Ok(()) };
    bill.toll.further().await?;
    bill.further.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A request is being sent.
pub(super) fn sent() {
    // outside of a call that is counted there is nobody to tell
    let _uncounted = BILL.try_with(|bill| bill.sent.fetch_add(1, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows so many.
    struct Allowed(AtomicU64);

    #[async_trait]
    impl Toll for Allowed {
        async fn further(&self) -> Result<(), BackendError> {
            let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| BackendError::Unsupported)
        }
    }

    fn allowed(count: u64) -> Arc<Allowed> {
        Arc::new(Allowed(AtomicU64::new(count)))
    }

    async fn pages(count: u64) -> Result<u64, BackendError> {
        for page in 0..count {
            if page > 0 {
                further().await?;
            }
            sent();
        }
        Ok(count)
    }

    #[tokio::test]
    async fn every_request_is_counted_and_further_ones_are_asked_for() {
        let (result, spent) = tolled(allowed(9), pages(4)).await;
        assert_eq!((result.unwrap(), spent.requests(), spent.unasked()), (4, 4, 0));
        let (_, spent) = tolled(allowed(9), async {
            sent();
            pages(2).await
        })
        .await;
        assert_eq!((spent.requests(), spent.unasked()), (3, 1), "a second try is nobody's decision");
        let (_, spent) = tolled(allowed(9), async {}).await;
        assert_eq!((spent.requests(), spent.unasked()), (1, 0));
    }

    #[tokio::test]
    async fn a_call_ends_where_no_more_is_allowed() {
        let (result, spent) = tolled(allowed(2), pages(5)).await;
        assert!(matches!(result, Err(BackendError::Unsupported)));
        assert_eq!(spent.requests(), 3);
        assert_eq!(pages(5).await.unwrap(), 5, "who is not asked goes on");
    }
}
