//! Signed requests that changed something, remembered for as long as their signature could be used again.
//!
//! INVARIANT: what is forgotten is too old to be accepted by anybody; when there are too many, new ones are refused.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Line, No, TenantState};
use crate::audit::Refusal;
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::Route;
use crate::seal::{Head, edit};
use crate::secret::{Operation, SecretAction, SecretCall, detail};
use crate::wire::Fault;

/// Signatures are accepted for five minutes on either side of their time.
const KEEP: Duration = Duration::from_secs(601);
const MOST: usize = 200_000;
/// How long a signed write may be valid.
const LONGEST_WRITE: Duration = Duration::from_secs(300);

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

impl Line<'_> {
    /// A second request with the same signature is the first one again, whoever sends it. A write that says which version
    /// it makes is done once by itself, where the store keeps that.
    pub(super) fn check_replay(
        &self,
        operation: Operation,
        secret: &SecretCall,
        tenant: &TenantState,
        route: &Route,
        caller: &Caller,
    ) -> Result<(), No> {
        let Some(signature) = caller.signature.filter(|_| operation.is_write()) else { return Ok(()) };
        // no client signs a write for later: nobody needs to remember one for days
        let is_for_later = caller.not_after.is_some_and(|end| end > self.now.after(LONGEST_WRITE));
        if is_for_later {
            let kind = ErrorKind::Unauthenticated;
            let fault = Fault::because(kind, detail::SIGNED_FOR_LATER);
            return Err(No::new(Refusal::Other { kind, path: None }, fault));
        }
        if self.pipeline.seen.is_new(signature, self.now, caller.not_after) {
            return Ok(());
        }
        // what it made is still there and is told again; nothing is written
        let token = match &secret.action {
            SecretAction::Write { options, .. } => options.token.as_deref(),
            _ => None,
        };
        let head = token.and_then(|_| tenant.records.head(&route.path).ok().flatten());
        let is_there = |head: Head| !head.is_expired(self.now) && edit::repeated(&head, token).is_some();
        if head.is_some_and(is_there) {
            return Ok(());
        }
        // whoever means it asks again later, under a new date and so a new signature
        let kind = ErrorKind::RateLimited;
        Err(No::new(Refusal::Other { kind, path: None }, Fault::because(kind, detail::REPLAYED)))
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
