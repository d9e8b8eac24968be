//! What the steps of a run came to: counted for its report, told to whoever serves the copies, and remembered where a path
//! keeps failing by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Replica;
use super::commit::Stored;
use super::desk::{Candidate, StepError, is_denial};
use super::report::{Failure, Report};
use super::step::{Edit, EditKind, Step};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::events::{Bus, Event, EventKind};
use crate::seal::SealError;
use crate::secret::{ConflictPolicy, SecretPath};

/// How often a path is tried again in one run.
pub(super) const MAX_TRIES: u8 = 3;
/// How often it is tried again when the backend asked for a pause.
const MAX_PAUSES: u8 = 10;
/// A path that failed in so many runs in a row is left out for a while.
const EXCLUDED_AFTER: u32 = 3;
/// The longest it is left out, in runs, as a power of two.
const LONGEST_EXCLUSION: u32 = 4;
/// How many paths that could not be copied are remembered for a rule.
const MAX_UNCOPIED: usize = 10_000;
/// How many conflicts of one run are told as events.
const MAX_EVENTS: u64 = 100;

/// Paths that keep failing by themselves. A name a person asks for is tried in any case.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    paths: HashMap<SecretPath, Exclusion>,
    run: u64,
}

#[derive(Debug)]
struct Exclusion {
    failures: u32,
    /// The first run in which it is tried again.
    until: u64,
    reason: String,
}

impl Exclusions {
    /// A whole run begins.
    pub(super) fn next_run(&mut self) {
        self.run += 1;
    }

    /// Why a path is left out of this run.
    fn reason(&self, path: &SecretPath) -> Option<&str> {
        self.paths.get(path).filter(|known| known.until > self.run).map(|known| known.reason.as_str())
    }

    fn failed(&mut self, path: &SecretPath, reason: &str) {
        let run = self.run;
        let known = self.paths.entry(path.clone()).or_insert_with(|| Exclusion {
            failures: 0,
            until: 0,
            reason: String::new(),
        });
        known.failures = known.failures.saturating_add(1);
        known.reason = reason.to_owned();
        if let Some(beyond) = known.failures.checked_sub(EXCLUDED_AFTER) {
            known.until = run + 1 + (1 << (beyond + 1).min(LONGEST_EXCLUSION));
        }
    }

    fn succeeded(&mut self, path: &SecretPath) {
        self.paths.remove(path);
    }
}

/// What is to be done after a step.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing more.
    Done,
    /// Look again.
    Again(Candidate),
    /// Store it.
    Commit(Box<Edit>),
}

/// The counts of one run.
pub(super) struct Tally {
    pub(super) report: Report,
    pub(super) exclusions: Exclusions,
    /// How many paths are through.
    pub(super) done: u64,
    /// Something that makes it pointless to go on: the store or the trail does not take anything.
    pub(super) fatal: Option<String>,
    replica: Arc<Replica>,
    bus: Bus,
    /// Paths that are looked at by themselves, with the time from before they were.
    exact: HashMap<SecretPath, Timestamp>,
    /// By rule: what could not be copied.
    uncopied: HashMap<u32, HashSet<SecretPath>>,
    /// Names that were skipped in the run before: the log has them.
    logged: HashSet<String>,
}

impl Tally {
    pub(super) fn new(replica: Arc<Replica>, bus: Bus, report: Report, exclusions: Exclusions) -> Self {
        Self {
            report,
            exclusions,
            done: 0,
            fatal: None,
            replica,
            bus,
            exact: HashMap::new(),
            uncopied: HashMap::new(),
            logged: HashSet::new(),
        }
    }

    /// What the run before skipped needs no log line again.
    pub(super) fn knows(&mut self, before: &Report) {
        self.logged = before.skipped.iter().map(|skipped| skipped.remote.clone()).collect();
    }

    /// The paths of a rule that could not be copied; `None` if there are too many to remember.
    pub(super) fn uncopied(&self, rule: u32) -> Option<Vec<String>> {
        let Some(paths) = self.uncopied.get(&rule) else { return Some(Vec::new()) };
        (paths.len() <= MAX_UNCOPIED).then(|| paths.iter().map(|path| path.as_str().to_owned()).collect())
    }

    /// A path is looked at by itself: its result counts for it from `at` on.
    pub(super) fn single_out(&mut self, path: &SecretPath, at: Timestamp) {
        self.exact.insert(path.clone(), at);
    }

    /// Whether a path found by a run takes part in it.
    pub(super) fn admits(&mut self, candidate: &Candidate) -> bool {
        let Some(reason) = self.exclusions.reason(&candidate.path) else { return true };
        let reason = format!("left out of some runs because it kept failing: {reason}");
        self.report.skip(candidate.remote.as_str().to_owned(), &reason);
        self.not_copied(candidate);
        false
    }

    /// A name that is not copied.
    pub(super) fn skip(&mut self, remote: String, reason: &str) {
        if !self.logged.contains(&remote) {
            let (tenant, backend) = (self.replica.tenant.as_str(), &*self.replica.name);
            tracing::debug!(tenant, backend, remote = %remote.escape_debug(), reason, "not copied");
        }
        self.report.skip(remote, reason);
    }

    /// One path was looked at.
    pub(super) fn stepped(&mut self, candidate: Candidate, result: Result<Step, StepError>) -> Next {
        match result {
            Ok(Step::Edit(edit)) => return Next::Commit(edit),
            Ok(Step::Again) => return self.again(candidate),
            Err(StepError::Backend(error))
                if error.kind() == ErrorKind::RateLimited && candidate.tries < MAX_PAUSES =>
            {
                return Next::Again(Candidate { tries: candidate.tries + 1, ..candidate });
            }
            Err(error) => {
                self.failed(&candidate, &error);
                return Next::Done;
            }
            Ok(Step::Unchanged | Step::Kept) => {
                self.report.unchanged += 1;
                self.through(&candidate.path);
            }
            Ok(Step::Absent) => {
                self.replica.copies.unwant(candidate.rule, &candidate.path);
                self.through(&candidate.path);
            }
            Ok(Step::Unconfirmed) => {
                self.report.unconfirmed += 1;
                self.not_copied(&candidate);
            }
            Ok(Step::Held) => {
                self.report.held += 1;
                self.not_copied(&candidate);
            }
            Ok(Step::Skipped(reason)) => {
                self.skip(candidate.remote.as_str().to_owned(), reason);
                self.exclusions.failed(&candidate.path, reason);
                self.not_copied(&candidate);
            }
        }
        self.done += 1;
        Next::Done
    }

    /// It changed under our hands: it is looked at again, but not forever.
    pub(super) fn again(&mut self, candidate: Candidate) -> Next {
        if candidate.tries >= MAX_TRIES {
            self.failed(&candidate, &StepError::Restless);
            return Next::Done;
        }
        Next::Again(Candidate { tries: candidate.tries + 1, ..candidate })
    }

    /// One path could not be looked at or stored.
    pub(super) fn failed(&mut self, candidate: &Candidate, error: &StepError) {
        self.done += 1;
        match error {
            // one record that does not open is that path's trouble
            StepError::Seal(SealError::Broken | SealError::Form) => {
                self.exclusions.failed(&candidate.path, &error.to_string());
            }
            StepError::Audit(_) | StepError::Seal(_) => {
                self.fatal.get_or_insert_with(|| error.to_string());
            }
            StepError::Backend(cause) if is_denial(cause) || cause.kind() != ErrorKind::UpstreamRejected => {}
            StepError::Backend(_) | StepError::Denied(_) => self.exclusions.failed(&candidate.path, &error.to_string()),
            StepError::Restless => {}
        }
        self.fail(candidate.remote.as_str().to_owned(), error);
        self.not_copied(candidate);
    }

    /// Something went wrong that is about no single path.
    pub(super) fn fail(&mut self, remote: String, error: &StepError) {
        self.report.fail(Failure { remote, kind: error.kind().label().to_owned(), error: error.to_string() });
    }

    /// One edit is stored.
    pub(super) fn stored(&mut self, stored: &Stored) {
        let report = &mut self.report;
        match stored.kind {
            EditKind::Created => report.created += 1,
            EditKind::Updated => report.updated += 1,
            EditKind::Deleted => report.deleted += 1,
            EditKind::Pushed => report.pushed += 1,
            EditKind::Confirmed => report.unchanged += 1,
            EditKind::Flagged => {}
        }
        if stored.kind == EditKind::Deleted {
            self.replica.copies.unwant(stored.rule, &stored.path);
        }
        if stored.conflict {
            self.conflicted(stored);
        }
        self.done += 1;
        self.through(&stored.path);
    }

    fn conflicted(&mut self, stored: &Stored) {
        self.report.conflicts += 1;
        if self.report.conflicts > MAX_EVENTS {
            return;
        }
        let outcome = match (stored.kind, self.replica.conflict_policy) {
            (EditKind::Flagged, _) => "flagged",
            (_, ConflictPolicy::LocalWins) => "local",
            _ => "backend",
        };
        let data = serde_json::json!({
            "run": self.report.id, "path": stored.path.as_str(), "outcome": outcome,
        });
        self.bus.emit(Event {
            tenant: self.replica.tenant.clone(),
            kind: EventKind::ConflictDetected,
            backend: Some((self.replica.id.clone(), self.replica.name.clone())),
            data,
        });
    }

    fn through(&mut self, path: &SecretPath) {
        self.exclusions.succeeded(path);
        if let Some(at) = self.exact.get(path) {
            self.replica.copies.path_checked(path, *at);
        }
    }

    fn not_copied(&mut self, candidate: &Candidate) {
        let paths = self.uncopied.entry(candidate.rule).or_default();
        if paths.len() <= MAX_UNCOPIED {
            paths.insert(candidate.path.clone());
        }
        self.replica.copies.path_failed(&candidate.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_keeps_failing_is_left_out_ever_longer_and_comes_back() {
        let path = SecretPath::parse("a").unwrap();
        let mut exclusions = Exclusions::default();
        let mut tried = Vec::new();
        for run in 1..=60 {
            exclusions.next_run();
            if exclusions.reason(&path).is_none() {
                exclusions.failed(&path, "why");
                tried.push(run);
            }
        }
        assert_eq!(tried, [1, 2, 3, 6, 11, 20, 37, 54]);
        exclusions.next_run();
        assert_eq!(exclusions.reason(&path), Some("why"));
        exclusions.succeeded(&path);
        assert_eq!(exclusions.reason(&path), None);
    }
}
