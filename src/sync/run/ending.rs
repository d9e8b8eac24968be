//! How a run ends: what it is called, what its report says, and which rules it speaks for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Run, Scope};
use crate::secret::SyncScope;
use crate::sync::desk::Verdict;
use crate::sync::report::{Report, RunOutcome};
use crate::sync::state::RuleMemory;
use crate::sync::tally::{Exclusions, Tally};

/// How a run ended.
pub(in crate::sync) struct Ended {
    pub(in crate::sync) report: Report,
    pub(in crate::sync) exclusions: Exclusions,
    pub(in crate::sync) verdict: Verdict,
    /// What is to be remembered of rules that were copied whole, by route.
    pub(in crate::sync) whole: Vec<(u64, RuleMemory)>,
    /// Whether somebody ordered it, or some of it.
    pub(in crate::sync) is_ordered: bool,
    /// Whether a good end of it shows that our credential may still read.
    pub(in crate::sync) is_telling: bool,
    pub(in crate::sync) took: Duration,
}

impl Run<'_> {
    pub(super) fn end(mut self) -> Ended {
        let verdict = if self.lacks_rights { Verdict::Denied } else { self.desk.contact.verdict() };
        let outcome = self.outcome();
        if outcome == RunOutcome::Failed || outcome == RunOutcome::Cancelled {
            self.leave_rest();
        }
        let whole = match outcome {
            RunOutcome::Completed | RunOutcome::Partial => self.whole(),
            RunOutcome::Failed | RunOutcome::Cancelled => Vec::new(),
        };
        let now = self.desk.parts.clock.now();
        let took = self.started.elapsed();
        let is_telling = matches!(self.scope, Scope::Rules(_)) || self.desk.reads.load(Ordering::Relaxed) > 0;
        let Tally { mut report, exclusions, fatal, .. } = self.tally;
        for note in self.desk.notes() {
            report.note(note);
        }
        if let Some(fatal) = fatal {
            report.note(&fatal);
        }
        report.outcome = outcome;
        report.started_at = self.started_at.rfc3339();
        report.ended_at = now.rfc3339();
        report.outside = self.walk.outside();
        report.read = self.desk.reads.load(Ordering::Relaxed);
        report.bytes = self.desk.bytes.load(Ordering::Relaxed);
        report.calls = self.desk.contact.calls.load(Ordering::Relaxed);
        report.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Ended { report, exclusions, verdict, whole, is_ordered: self.is_ordered, is_telling, took }
    }

    fn outcome(&self) -> RunOutcome {
        let has_rest = !self.urgent.is_empty() || !self.queue.is_empty() || !self.is_known_queued;
        if self.is_cancelled {
            return RunOutcome::Cancelled;
        }
        if self.tally.fatal.is_some() || self.lacks_rights || self.walk.is_cut() || has_rest {
            return RunOutcome::Failed;
        }
        let is_empty_handed = self.tally.report.error_count > 0 && self.desk.contact.verdict() != Verdict::Fine;
        match self.tally.report.error_count {
            0 => RunOutcome::Completed,
            _ if is_empty_handed => RunOutcome::Failed,
            _ => RunOutcome::Partial,
        }
    }

    /// Paths somebody waits for that were not looked at: they are not forgotten.
    fn leave_rest(&mut self) {
        for candidate in self.urgent.drain(..) {
            self.desk.replica.copies.path_failed(&candidate.path);
        }
    }

    /// The rules that were copied whole.
    fn whole(&self) -> Vec<(u64, RuleMemory)> {
        let Scope::Rules(rules) = &self.scope else { return Vec::new() };
        let mut whole = Vec::new();
        for rule in rules {
            let Some(settings) = self.desk.settings(*rule) else { continue };
            if !self.desk.replica.is_live(settings.route) {
                continue;
            }
            let is_all = settings.scope == SyncScope::All && !self.walk.is_unlisted(*rule);
            match is_all {
                true => self.desk.replica.copies.run_ended(*rule, self.started_at),
                false => self.desk.replica.copies.refreshed(*rule, self.started_at),
            }
            let empty = self.walk.empty().iter().filter(|(of, _)| of == rule).map(|(_, folder)| folder.clone());
            let uncopied = self.tally.uncopied(*rule);
            let memory = RuleMemory {
                whole: self.started_at.micros(),
                is_whole: is_all && uncopied.is_some(),
                uncopied: uncopied.unwrap_or_default(),
                empty: empty.collect(),
            };
            whole.push((settings.route, memory));
        }
        whole
    }
}
