//! Polling with a deadline.

use std::time::{Duration, Instant};

/// Asks until the answer is yes.
///
/// # Panics
/// When it is still no after `within`, naming `what` was waited for.
pub(crate) fn wait_until(within: Duration, what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    loop {
        if f() {
            return;
        }
        assert!(Instant::now() < deadline, "waited {within:?} for {what}");
        pause();
    }
}

/// The step between two looks. The only place of the suites that lets time pass on purpose.
pub(super) fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}
