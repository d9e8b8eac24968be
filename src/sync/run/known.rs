//! Paths a run looks at without any list naming them.

use crate::secret::{Mode, SecretPath, SyncScope};
use crate::sync::Replica;
use crate::sync::desk::Candidate;

/// Where a path of the backend is, if one of its rules copies it.
pub(in crate::sync) fn locate(replica: &Replica, path: &SecretPath) -> Option<Candidate> {
    let route = replica.router.resolve(path)?;
    let (id, target) = (route.rule?, route.targets.first()?);
    let is_ours = id.backend == replica.index && target.backend == replica.index && route.mode == Mode::Sync;
    let candidate = Candidate {
        rule: id.rule,
        path: path.clone(),
        remote: target.remote.clone(),
        may_delete: true,
        is_guess: false,
        tries: 0,
    };
    is_ours.then_some(candidate)
}

/// The copies the rules have, and what was demanded of those that copy on demand.
pub(super) fn known(replica: &Replica, rules: &[u32]) -> Vec<Candidate> {
    let settings = |rule: &u32| replica.rules.get(*rule as usize).map(|settings| (*rule, settings));
    let ours: Vec<_> = rules.iter().filter_map(settings).collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let mut paths: Vec<SecretPath> = Vec::new();
    replica.records.copies(|path, stored| {
        if stored.copy.as_ref().is_some_and(|copy| ours.iter().any(|(_, settings)| settings.route == copy.route)) {
            paths.push(path.clone());
        }
    });
    for (rule, _) in ours.iter().filter(|(_, settings)| settings.scope == SyncScope::Demand) {
        paths.extend(replica.copies.demanded(*rule));
    }
    if ours.iter().any(|(_, settings)| settings.scope == SyncScope::Demand) {
        paths.extend(replica.prefetch.iter().cloned());
    }
    paths.sort_unstable();
    paths.dedup();
    let mut known: Vec<Candidate> = paths.iter().filter_map(|path| locate(replica, path)).collect();
    known.retain(|candidate| rules.contains(&candidate.rule));
    known
}
