//! JWTs verified before, found by their keyed hash.
//!
//! Bounded: each shard keeps two halves and drops the older one when the younger is full, so what is used often stays.
//! Only verified tokens get in, so strangers cannot push others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::key_ring::KeyRing;
use crate::clock::Timestamp;
use crate::identity::Principal;
use crate::identity::digest::Digest;

const SHARDS: usize = 8;
const MAX_PER_HALF: usize = 1024;

/// What a verified token proved.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) principal: Arc<Principal>,
    /// When it stops counting.
    pub(super) end: Timestamp,
    /// The keys that proved it, and which generation of them.
    pub(super) ring: Arc<KeyRing>,
    pub(super) generation: u64,
}

/// The cache.
pub(super) struct VerifiedTokens(Vec<Mutex<Halves>>);

#[derive(Default)]
struct Halves {
    young: HashMap<Digest, Verified>,
    old: HashMap<Digest, Verified>,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Verified> {
        let mut halves = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verified) = halves.young.get(digest) {
            return Some(verified.clone());
        }
        let verified = halves.old.remove(digest)?;
        halves.put(*digest, verified.clone());
        Some(verified)
    }

    pub(super) fn insert(&self, digest: &Digest, verified: Verified) {
        if let Some(shard) = self.shard(digest) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).put(*digest, verified);
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        if let Some(shard) = self.shard(digest) {
            let mut halves = shard.lock().unwrap_or_else(PoisonError::into_inner);
            halves.young.remove(digest);
            halves.old.remove(digest);
        }
    }

    fn shard(&self, digest: &Digest) -> Option<&Mutex<Halves>> {
        self.0.get(digest.spread() % SHARDS)
    }
}

impl Halves {
    fn put(&mut self, digest: Digest, verified: Verified) {
        if self.young.len() >= MAX_PER_HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Method;
    use crate::identity::digest::{Digester, Place};
    use crate::identity::tests::rig::issuer;
    use crate::secret::Tenant;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let digester = Digester::new().unwrap();
        let ring = Arc::new(KeyRing::new(issuer("https://i.example")));
        let principal = Arc::new(Principal::new(Tenant::default_tenant(), "p", Method::Jwt, vec![], vec![]));
        let verified = Verified { principal, end: Timestamp::from_secs(1), ring, generation: 1 };
        let cache = VerifiedTokens::new();
        let digest = |n: usize| digester.digest(Place::Credential, &n.to_string());
        let total = SHARDS * MAX_PER_HALF * 5;
        for n in 0..total {
            cache.insert(&digest(n), verified.clone());
            if n % 64 == 0 {
                assert!(cache.find(&digest(0)).is_some(), "after {n}");
            }
        }
        let kept = (0..total).filter(|n| cache.find(&digest(*n)).is_some()).count();
        assert!(kept <= SHARDS * MAX_PER_HALF * 2, "{kept}");
        cache.remove(&digest(0));
        assert!(cache.find(&digest(0)).is_none());
    }
}
