//! What a run did and how a backend is doing, as the API, the command line and dashboards see it. No value is ever in it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::RequestId;
use crate::clock::Clock;

/// How many skipped names a report lists; the rest is counted.
const MAX_SKIPPED: usize = 1000;
/// How many errors a report lists; the rest is counted.
const MAX_ERRORS: usize = 100;

/// The identifier of a run: `run_` and 26 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunId(Box<str>);

impl RunId {
    pub(super) fn fresh(clock: &dyn Clock) -> Self {
        Self::of(RequestId::fresh(clock))
    }

    pub(super) fn of(id: RequestId) -> Self {
        Self(format!("run_{id}").into())
    }

    /// The identifier audit lines of the run carry.
    pub(super) fn request_id(&self, clock: &dyn Clock) -> RequestId {
        let id = self.0.strip_prefix("run_").and_then(RequestId::parse);
        id.unwrap_or_else(|| RequestId::fresh(clock))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Everything was looked at.
    #[default]
    Completed,
    /// It went through, but some secrets or folders could not be looked at.
    Partial,
    /// It could not go through: what was not looked at stays as it is, and nothing was deleted for being absent.
    Failed,
    /// It was cancelled, or the configuration it ran under was replaced.
    Cancelled,
}

impl RunOutcome {
    /// The word used in metrics and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A remote name that is not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The name as the backend spells it; a folder ends in `/`.
    pub remote: String,
    /// Why.
    pub reason: String,
}

/// A remote name that could not be looked at or copied this time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name as the backend spells it; a folder ends in `/`.
    pub remote: String,
    /// A word of the closed list of error kinds.
    pub kind: String,
    /// What happened, in our words.
    pub error: String,
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its identifier.
    pub id: String,
    /// `full` for a whole run over rules, `paths` for named paths only.
    pub scope: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; empty while it runs.
    pub ended_at: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Remote names found that a rule of the run maps.
    pub found: u64,
    /// Values read from the backend.
    pub read: u64,
    /// Copies made for the first time.
    pub created: u64,
    /// Copies brought up to date.
    pub updated: u64,
    /// Copies that were up to date.
    pub unchanged: u64,
    /// Copies removed because the backend's secret is gone.
    pub deleted: u64,
    /// Remote secrets brought up to date with the copy.
    pub pushed: u64,
    /// Copies kept although their name came back from no listing, until a second run confirms that.
    pub unconfirmed: u64,
    /// Names that are not copied, the first 1,000 of them.
    pub skipped: Vec<Skipped>,
    /// How many there were.
    pub skipped_count: u64,
    /// Names outside all rules.
    pub outside: u64,
    /// Conflicts found in this run, settled or flagged.
    pub conflicts: u64,
    /// Copies left out because they were flagged before and nobody resolved them yet.
    #[serde(default)]
    pub held: u64,
    /// What went wrong, the first 100.
    pub errors: Vec<Failure>,
    /// How many there were.
    pub error_count: u64,
    /// Said once a run: fields that are not copied, rights that are missing.
    pub notes: Vec<String>,
    /// Calls made to the backend.
    pub calls: u64,
    /// Bytes of the values read.
    pub bytes: u64,
    /// How long it took.
    pub duration_ms: u64,
}

impl Report {
    pub(super) fn skip(&mut self, remote: String, reason: &str) {
        self.skipped_count += 1;
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(Skipped { remote, reason: reason.to_owned() });
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.error_count += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(failure);
        }
    }

    pub(super) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// The short form for a status.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            id: self.id.clone(),
            started_at: self.started_at.clone(),
            ended_at: self.ended_at.clone(),
            outcome: self.outcome,
            read: self.read,
            created: self.created,
            updated: self.updated,
            unchanged: self.unchanged,
            deleted: self.deleted,
            pushed: self.pushed,
            skipped: self.skipped_count,
            conflicts: self.conflicts,
            errors: self.error_count,
            duration_ms: self.duration_ms,
        }
    }
}

/// A report without its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The run's identifier.
    pub id: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub ended_at: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Values read from the backend.
    pub read: u64,
    /// Copies made for the first time.
    pub created: u64,
    /// Copies brought up to date.
    pub updated: u64,
    /// Copies that were up to date.
    pub unchanged: u64,
    /// Copies removed.
    pub deleted: u64,
    /// Remote secrets brought up to date.
    pub pushed: u64,
    /// Names that are not copied.
    pub skipped: u64,
    /// Conflicts found.
    pub conflicts: u64,
    /// What went wrong.
    pub errors: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// How a backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The last run went through.
    Healthy,
    /// The last run did not, or not for everything.
    Degraded,
    /// A run does not end within its interval.
    Behind,
    /// Three failures over thirty seconds: the backend cannot be reached.
    Unreachable,
    /// The backend refuses our credential.
    Denied,
    /// This build has no client for the backend's type.
    Unsupported,
}

impl Health {
    /// Every state, in declaration order.
    pub const ALL: [Self; 6] =
        [Self::Healthy, Self::Degraded, Self::Behind, Self::Unreachable, Self::Denied, Self::Unsupported];

    /// The word used in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Behind => "behind",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
        }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The run's identifier.
    pub run: String,
    /// How many secrets there are to look at; `None` until that is known.
    pub total: Option<u64>,
    /// How many were looked at.
    pub done: u64,
}

/// Everything a dashboard polls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// How the backend is doing.
    pub state: Health,
    /// When the last run that went through ended, RFC 3339.
    pub last_sync_at: Option<String>,
    /// When the next run is due, RFC 3339.
    pub next_sync_at: Option<String>,
    /// The last run.
    pub last_sync: Option<Summary>,
    /// How many copies there are.
    pub secrets_synced: u64,
    /// How long the backend takes to answer, smoothed.
    pub connection_latency_ms: Option<u64>,
    /// Runs in a row that could not go through.
    pub consecutive_failures: u32,
    /// Copies that are in conflict.
    pub conflicts: u64,
    /// Names the last whole run did not copy.
    pub skipped: u64,
    /// The age of the oldest whole run among the rules; `None` until each had one.
    pub staleness_seconds: Option<u64>,
    /// The run under way.
    pub running: Option<Progress>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn lists_are_bounded_and_counts_are_not() {
        let mut report = Report::default();
        for index in 0..1500 {
            report.skip(format!("kv/{index}"), "a reason");
            let failure = Failure { remote: format!("kv/{index}"), kind: "timeout".into(), error: "late".into() };
            report.fail(failure);
            report.note("said once");
        }
        assert_eq!((report.skipped.len(), report.skipped_count), (1000, 1500));
        assert_eq!((report.errors.len(), report.error_count), (100, 1500));
        assert_eq!(report.notes, ["said once"]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn a_run_and_its_audit_lines_share_their_identifier() {
        let id = RunId::fresh(&SystemClock);
        assert_eq!(format!("run_{}", id.request_id(&SystemClock)), id.as_str());
        assert_eq!(id.as_str().len(), 30);
    }
}
