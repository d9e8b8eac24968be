//! Signed requests that changed something, remembered for as long as their signature could be used again.
//!
//! INVARIANT: what is forgotten is too old to be accepted by anybody; when there are too many, new ones are refused.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
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
    by_age: VecDeque<(Timestamp, [u8; 32])>,
}

impl Seen {
    /// Remembers a signature; `false` if it was known, or there is no room to remember it.
    pub(super) fn is_new(&self, signature: [u8; 32], now: Timestamp) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, old)) = kept.by_age.front().copied().filter(|(at, _)| at.after(KEEP) <= now) {
            let _: Timestamp = at;
            kept.by_age.pop_front();
            kept.known.remove(&old);
        }
        if kept.known.len() >= MOST || !kept.known.insert(signature) {
            return false;
        }
        kept.by_age.push_back((now, signature));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_a_signature_is_new_once_while_it_could_be_used() {
        let seen = Seen::default();
        let at = Timestamp::from_secs;
        assert!(seen.is_new([1; 32], at(1000)));
        assert!(!seen.is_new([1; 32], at(1000)));
        assert!(seen.is_new([2; 32], at(1001)));
        assert!(!seen.is_new([1; 32], at(1600)));
        assert!(seen.is_new([1; 32], at(1601)));
        assert!(!seen.is_new([2; 32], at(1601)));
    }
}
