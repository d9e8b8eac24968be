//! Hints: somebody says that a backend has changed a secret. A hint is worth a look at that one secret and nothing else, so
//! whoever forges one gains a read of what would have been read anyway; how many looks there are is bounded here and by
//! [`super::Copies`]. What is dropped is found by the next run.

use super::Replica;
use super::rate::Bucket;
use super::run::locate;
use crate::secret::{RateLimit, RemoteName};

/// How many hints of one backend are followed.
pub(super) const RATE: RateLimit = RateLimit { per_second: 100, burst: 1_000 };

/// What became of a hint; a greater one did more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// It is about nothing that is copied.
    Elsewhere,
    /// Too many came at once; the next run finds what changed.
    TooMany,
    /// The secret is looked at now, or waits for it already.
    Taken,
}

impl Replica {
    /// Takes a hint about what the backend calls `remote`.
    pub(super) fn hint(&self, remote: &RemoteName, rate: &Bucket) -> Hint {
        let path = self.router.reverse(self.index, remote).ok().map(|(path, _)| path);
        let candidate = path.and_then(|path| locate(self, &path));
        let Some(candidate) = candidate.filter(|found| self.follows(found.rule, &found.path)) else {
            return Hint::Elsewhere;
        };
        let is_taken = self.copies.hinted(candidate.rule, &candidate.path, || rate.try_take());
        if is_taken { Hint::Taken } else { Hint::TooMany }
    }
}
