//! Principals revoked at run time. Looked at on every authentication, changed rarely.

use std::collections::{BTreeSet, HashMap, HashSet};

use arc_swap::ArcSwap;

use super::IdentityError;
use crate::secret::Tenant;

const MAX_PER_TENANT: usize = 10_000;

type ByTenant = HashMap<Tenant, BTreeSet<Box<str>>>;

/// The set of `(tenant, principal)` pairs none of whose credentials work.
#[derive(Default)]
pub(super) struct Revocations(ArcSwap<ByTenant>);

impl Revocations {
    pub(super) fn contains(&self, tenant: &Tenant, id: &str) -> bool {
        let all = self.0.load();
        !all.is_empty() && all.get(tenant).is_some_and(|ids| ids.contains(id))
    }

    pub(super) fn insert(&self, tenant: &Tenant, id: &str) -> Result<(), IdentityError> {
        let mut full = false;
        self.0.rcu(|all| {
            let mut next = ByTenant::clone(all);
            let ids = next.entry(tenant.clone()).or_default();
            full = ids.len() >= MAX_PER_TENANT && !ids.contains(id);
            if !full {
                ids.insert(Box::from(id));
            }
            next
        });
        if full { Err(IdentityError::TooManyRevocations) } else { Ok(()) }
    }

    /// Takes up those of an earlier process: however many they are, none is left out.
    pub(super) fn insert_all(&self, tenant: &Tenant, before: &HashSet<String>) {
        if before.is_empty() {
            return;
        }
        self.0.rcu(|all| {
            let mut next = ByTenant::clone(all);
            next.entry(tenant.clone()).or_default().extend(before.iter().map(|id| Box::from(id.as_str())));
            next
        });
    }

    /// Yields whether it was there.
    pub(super) fn remove(&self, tenant: &Tenant, id: &str) -> bool {
        let mut was_there = false;
        self.0.rcu(|all| {
            let mut next = ByTenant::clone(all);
            was_there = next.get_mut(tenant).is_some_and(|ids| ids.remove(id));
            next.retain(|_, ids| !ids.is_empty());
            next
        });
        was_there
    }

    pub(super) fn of(&self, tenant: &Tenant) -> Vec<String> {
        self.0.load().get(tenant).map(|ids| ids.iter().map(|id| id.to_string()).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocations_are_per_tenant_and_bounded() {
        let (a, b) = (Tenant::parse("a").unwrap(), Tenant::parse("b").unwrap());
        let revoked = Revocations::default();
        revoked.insert(&a, "p").unwrap();
        assert!(revoked.contains(&a, "p") && !revoked.contains(&b, "p") && !revoked.contains(&a, "P"));
        assert_eq!(revoked.of(&a), ["p"]);
        assert!(!revoked.remove(&b, "p"));
        assert!(revoked.contains(&a, "p"));
        assert!(revoked.remove(&a, "p"));
        assert!(!revoked.contains(&a, "p") && revoked.of(&a).is_empty());
    }
}
