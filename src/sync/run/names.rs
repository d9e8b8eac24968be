//! How names come into a run: from lists, from copies no list named, from whoever asks for a path.

use super::{MAX_RELISTS, Run, SAMPLES, locate};
use crate::backend::BackendError;
use crate::error::ErrorKind;
use crate::secret::SecretPath;
use crate::sync::desk::{Candidate, StepError};
use crate::sync::walk::{Place, lies_in};

const NO_LISTS: &str = "the backend lists nothing here: dynamic values are never synced";

impl Run<'_> {
    pub(super) fn listed(&mut self, place: Place, result: Result<Vec<String>, StepError>) {
        match result {
            Ok(names) => self.walk.listed(&self.desk.replica, &place, &names),
            Err(error) if error.kind() == ErrorKind::RateLimited && self.relists < MAX_RELISTS => {
                self.relists += 1;
                self.walk.reopen(place);
            }
            Err(error) if is_no_kv(&error) && self.walk.give_up(&place) => {
                self.tally.skip(format!("{}/", place.remote), NO_LISTS);
            }
            Err(error) => {
                if self.walk.failed(&place) {
                    self.tally.fail(format!("{}/", place.remote), &error);
                }
            }
        }
        self.taken_from_walk();
    }

    pub(super) fn taken_from_walk(&mut self) {
        for (remote, reason) in self.walk.take_skipped() {
            self.tally.skip(remote, reason);
        }
        for candidate in self.walk.take_candidates() {
            self.tally.report.found += 1;
            if self.tally.admits(&candidate) {
                self.queue.push_back(candidate);
            }
        }
    }

    /// All lists are in: now for the copies no list named.
    pub(super) fn queue_known(&mut self) {
        self.is_known_queued = true;
        let is_cut = self.walk.is_cut();
        for candidate in std::mem::take(&mut self.known) {
            if self.walk.has_found(&candidate.path) {
                continue;
            }
            let is_demanded = !self.walk.walks(candidate.rule);
            if is_demanded {
                self.tally.report.found += 1;
                self.tally.single_out(&candidate.path, self.started_at);
            }
            let is_cut = is_cut || self.walk.is_unlisted(candidate.rule);
            let may_delete = is_demanded || (!is_cut && !self.is_unconfirmed(&candidate));
            if self.tally.admits(&candidate) {
                self.queue.push_back(Candidate { may_delete, ..candidate });
            }
        }
    }

    /// Whether a copy lies in a folder whose list came back empty, for the first time.
    fn is_unconfirmed(&self, candidate: &Candidate) -> bool {
        let Some(settings) = self.desk.settings(candidate.rule) else { return true };
        let empty = self.walk.empty().iter().filter(|(rule, _)| *rule == candidate.rule);
        empty
            .filter(|(_, folder)| lies_in(candidate.remote.as_str(), folder))
            .any(|(_, folder)| !self.memory.was_empty(settings.route, folder))
    }

    /// Paths to look at before anything else, by themselves.
    pub(super) fn look_at(&mut self, paths: Vec<SecretPath>) {
        let at = self.desk.parts.clock.now();
        for path in paths {
            match locate(&self.desk.replica, &path) {
                Some(candidate) => {
                    self.tally.single_out(&path, at);
                    self.tally.report.found += 1;
                    self.urgent.push_back(candidate);
                }
                None => self.tally.skip(path.as_str().to_owned(), "no rule of this backend copies this path"),
            }
        }
    }

    /// Rights to values may go while names and metadata can still be had; then nothing else would show it.
    pub(super) async fn sample_rights(&mut self) {
        if self.desk.replica.client.capabilities().flat {
            // it has no call that tells rights
            return;
        }
        let step = (self.known.len() / SAMPLES).max(1);
        let (mut asked, mut refused) = (0, 0);
        for candidate in self.known.iter().step_by(step).take(SAMPLES) {
            match self.desk.may_read(candidate).await {
                Some(allowed) => (asked, refused) = (asked + 1, refused + u32::from(!allowed)),
                None => return,
            }
        }
        self.lacks_rights = asked > 0 && asked == refused;
        if self.lacks_rights {
            self.tally.fail(String::new(), &StepError::from(BackendError::Denied));
        }
    }
}

/// Whether the engine behind a folder has no lists at all.
fn is_no_kv(error: &StepError) -> bool {
    matches!(error, StepError::Backend(BackendError::Unsupported | BackendError::Rejected(404 | 405)))
}
