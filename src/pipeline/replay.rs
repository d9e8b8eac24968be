//! Signed requests that changed something, remembered for as long as their signature could be used again.
//!
//! INVARIANT: what is forgotten is too old to be accepted by anybody; when there are too many, new ones are refused.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Signatures are accepted for five minutes on either side of their time.
const KEEP: Duration = Duration::from_secs(601);
const MOST: usize = 200_000;

/// Signatures seen.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    known: HashSet<[u8; 32]>,
    by_end: BTreeSet<(Timestamp, [u8; 32])>,
}

impl Seen {
    /// Remembers a signature; `false` if it was known, or there is no room to remember it. `end` is when it stops being
    /// accepted, where that is later than for other requests.
    pub(super) fn is_new(&self, signature: [u8; 32], now: Timestamp, end: Option<Timestamp>) -> bool {
        let mut kept = self.lock();
        while let Some((_, old)) = kept.by_end.first().copied().filter(|(end, _)| *end <= now) {
            kept.by_end.pop_first();
            kept.known.remove(&old);
        }
        if kept.known.len() >= MOST || !kept.known.insert(signature) {
            return false;
        }
        let least = now.after(KEEP);
        let end = end.map_or(least, |end| end.after(Duration::from_secs(1)).max(least));
        kept.by_end.insert((end, signature))
    }

    /// What it asked for was not done: it may come again.
    pub(super) fn forget(&self, signature: [u8; 32]) {
        let mut kept = self.lock();
        if kept.known.remove(&signature) {
            kept.by_end.retain(|(_, known)| *known != signature);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_a_signature_is_new_once_while_it_could_be_used() {
        let seen = Seen::default();
        let at = Timestamp::from_secs;
        assert!(seen.is_new([1; 32], at(1000), None));
        assert!(!seen.is_new([1; 32], at(1000), None));
        assert!(seen.is_new([2; 32], at(1001), None));
        assert!(!seen.is_new([1; 32], at(1600), None));
        assert!(seen.is_new([1; 32], at(1601), None));
        assert!(!seen.is_new([2; 32], at(1601), None));
        assert!(seen.is_new([3; 32], at(1601), Some(at(9000))));
        assert!(!seen.is_new([3; 32], at(9000), Some(at(9000))), "a presigned request lives longer");
        assert!(seen.is_new([3; 32], at(9001), None));
    }

    #[test]
    fn what_was_not_done_may_come_again() {
        let seen = Seen::default();
        let now = Timestamp::from_secs(1000);
        assert!(seen.is_new([1; 32], now, None) && !seen.is_new([1; 32], now, None));
        seen.forget([1; 32]);
        assert!(seen.is_new([1; 32], now, None));
        assert!(seen.lock().by_end.len() == 1);
    }
}
