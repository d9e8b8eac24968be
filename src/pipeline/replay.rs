//! Signed requests that changed something, remembered for as long as their signature could be used again.
//!
//! INVARIANT: what is forgotten is too old to be accepted by anybody; when a tenant has too many, new ones of that tenant
//! are refused, and nobody else's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Line, No, TenantState};
use crate::audit::Refusal;
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::Route;
use crate::seal::{Head, edit};
use crate::secret::{Operation, SecretAction, SecretCall, Tenant, detail};
use crate::wire::Fault;

/// Signatures are accepted for five minutes on either side of their time.
const KEEP: Duration = Duration::from_secs(601);
/// Of one tenant.
const MOST: usize = 200_000;
/// How long a signed write may be valid.
const LONGEST_WRITE: Duration = Duration::from_secs(300);

/// Signatures seen, each tenant's apart.
#[derive(Debug)]
pub(super) struct Seen {
    tenants: Mutex<HashMap<Tenant, Arc<Mutex<Kept>>>>,
    most: usize,
}

/// One tenant's.
#[derive(Debug, Default)]
struct Kept {
    /// Each with the second from which on nobody accepts it.
    known: HashMap<[u8; 32], u64>,
    /// The same by that second. There are no more seconds than a signature is accepted for, so that finding the first, or
    /// any, costs the same however many signatures there are.
    by_end: BTreeMap<u64, HashSet<[u8; 32]>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { tenants: Mutex::default(), most: MOST }
    }
}

impl Seen {
    /// Remembers a signature; `false` if it was known, or its tenant has no room to remember it. `end` is when it stops
    /// being accepted, where that is later than for other requests.
    pub(super) fn is_new(&self, tenant: &Tenant, signature: [u8; 32], now: Timestamp, end: Option<Timestamp>) -> bool {
        let kept = self.of(tenant, now);
        let mut kept = locked(&kept);
        kept.forget_until(now);
        if kept.known.len() >= self.most || kept.known.contains_key(&signature) {
            return false;
        }
        let least = now.after(KEEP);
        let end = end.map_or(least, |end| end.after(Duration::from_secs(1)).max(least));
        // a second that has begun is not over
        let second = end.micros().div_ceil(1_000_000);
        kept.known.insert(signature, second);
        kept.by_end.entry(second).or_default().insert(signature)
    }

    /// What it asked for was not done: it may come again.
    pub(super) fn forget(&self, tenant: &Tenant, signature: [u8; 32]) {
        let kept = locked(&self.tenants).get(tenant).cloned();
        if let Some(kept) = kept {
            locked(&kept).forget(&signature);
        }
    }

    /// A tenant's, with room for a new one made by those that hold nothing any more.
    fn of(&self, tenant: &Tenant, now: Timestamp) -> Arc<Mutex<Kept>> {
        let mut tenants = locked(&self.tenants);
        if let Some(kept) = tenants.get(tenant) {
            return kept.clone();
        }
        tenants.retain(|_, kept| {
            // somebody is about to remember something there
            let is_used = Arc::strong_count(kept) > 1;
            let mut kept = locked(kept);
            kept.forget_until(now);
            is_used || !kept.known.is_empty()
        });
        tenants.entry(tenant.clone()).or_default().clone()
    }
}

impl Kept {
    fn forget_until(&mut self, now: Timestamp) {
        while let Some(first) = self.by_end.first_entry().filter(|first| *first.key() <= now.secs()) {
            for old in first.remove() {
                self.known.remove(&old);
            }
        }
    }

    fn forget(&mut self, signature: &[u8; 32]) {
        let Some(second) = self.known.remove(signature) else { return };
        if let Some(all) = self.by_end.get_mut(&second) {
            all.remove(signature);
            if all.is_empty() {
                self.by_end.remove(&second);
            }
        }
    }
}

// A panic while a lock is held leaves whole entries behind, never half ones: the data stays usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        if self.pipeline.seen.is_new(caller.principal.tenant(), signature, self.now, caller.not_after) {
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

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    fn with_room_for(most: usize) -> Seen {
        Seen { most, ..Seen::default() }
    }

    #[test]
    fn s17_a_signature_is_new_once_while_it_could_be_used() {
        let (seen, a) = (Seen::default(), tenant("a"));
        let at = Timestamp::from_secs;
        assert!(seen.is_new(&a, [1; 32], at(1000), None));
        assert!(!seen.is_new(&a, [1; 32], at(1000), None));
        assert!(seen.is_new(&a, [2; 32], at(1001), None));
        assert!(!seen.is_new(&a, [1; 32], at(1600), None));
        assert!(seen.is_new(&a, [1; 32], at(1601), None));
        assert!(!seen.is_new(&a, [2; 32], at(1601), None));
        assert!(seen.is_new(&a, [3; 32], at(1601), Some(at(9000))));
        assert!(!seen.is_new(&a, [3; 32], at(9000), Some(at(9000))), "a presigned request lives longer");
        assert!(seen.is_new(&a, [3; 32], at(9001), None));
        // within a second as well
        let late = |micros: u64| Timestamp::from_micros(20_000_000_000 + micros);
        assert!(seen.is_new(&a, [4; 32], late(999_999), None));
        assert!(!seen.is_new(&a, [4; 32], late(601_999_998), None));
        assert!(seen.is_new(&a, [4; 32], late(602_000_000), None));
    }

    #[test]
    fn what_was_not_done_may_come_again() {
        let (seen, a) = (with_room_for(2), tenant("a"));
        let now = Timestamp::from_secs(1000);
        // forgetting makes room at once, however often
        for _ in 0..1000 {
            assert!(seen.is_new(&a, [1; 32], now, None) && !seen.is_new(&a, [1; 32], now, None));
            assert!(seen.is_new(&a, [2; 32], now, None));
            seen.forget(&a, [1; 32]);
            seen.forget(&a, [2; 32]);
        }
        assert!(seen.is_new(&a, [1; 32], now, None));
        let kept = seen.of(&a, now);
        let kept = locked(&kept);
        assert_eq!((kept.known.len(), kept.by_end.len()), (1, 1));
        assert_eq!(kept.by_end.values().map(HashSet::len).sum::<usize>(), 1);
    }

    #[test]
    fn s17_a_tenant_that_is_full_is_refused_alone_and_until_its_oldest_are_over() {
        let seen = with_room_for(3);
        let (a, b) = (tenant("a"), tenant("b"));
        let at = Timestamp::from_secs;
        for number in 0..3_u8 {
            assert!(seen.is_new(&a, [number; 32], at(1000 + u64::from(number)), None));
        }
        assert!(!seen.is_new(&a, [9; 32], at(1600), None), "nobody remembers it, so nobody does it");
        assert!(seen.is_new(&b, [9; 32], at(1600), None));
        assert!(seen.is_new(&b, [0; 32], at(1600), None), "of another tenant it is another request");
        seen.forget(&b, [1; 32]);
        assert!(!seen.is_new(&a, [1; 32], at(1600), None), "one tenant forgets nothing of another's");
        assert!(seen.is_new(&a, [9; 32], at(1601), None));
        assert!(!seen.is_new(&a, [8; 32], at(1601), None));
    }

    #[test]
    fn tenants_that_are_gone_take_no_room() {
        let seen = Seen::default();
        for number in 0..50_u64 {
            assert!(seen.is_new(&tenant(&format!("t{number}")), [1; 32], Timestamp::from_secs(number * 1000), None));
        }
        assert_eq!(locked(&seen.tenants).len(), 1);
    }
}
