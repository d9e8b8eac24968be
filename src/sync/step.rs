//! One path of a run: look at both sides, decide, and prepare what is to be committed. Nothing is stored here.
//!
//! A value is read only if it is kept and not held yet, and after policy allowed its copy.

use std::collections::btree_map::Entry;

use super::desk::{Candidate, Desk, StepError, is_denial};
use super::mark;
use super::plan::{Decision, Foreign, Same, Sides, plan};
use super::pull::{Fetched, Layout, Source, Taken};
use super::push::{Why, push};
use super::sight::{Read, compare, fetch, look};
use super::tally::MAX_TRIES;
use super::write::Sight;
use crate::audit::Grant;
use crate::backend::BackendError;
use crate::clock::Timestamp;
use crate::seal::{Change, Conflict, Head, RemoteMark};
use crate::secret::{Action, Described, History, Operation, Outcome, Reply, RuleSettings, VersionInfo};

const LEASED: &str = "a lease-bearing or dynamic value is not copied";
const TOO_LARGE: &str = "the value is larger than limits.value_bytes";
const LOCAL: &str = "a local secret stands at this path";
const QUARANTINED: &str = "a quarantined copy with changes of its own stands at this path: adopt or purge it";
const NO_SETTINGS: &str = "fields of the provider (cas_required, max_versions, delete_version_after) are not copied";

/// What looking at a path came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Both sides are as they were.
    Unchanged,
    /// There is nothing on either side.
    Absent,
    /// The sides differ and are left so.
    Kept,
    /// The backend says it is gone, and this run may not believe that yet.
    Unconfirmed,
    /// Flagged before and not resolved.
    Held,
    /// Not to be copied, with the reason.
    Skipped(&'static str),
    /// It changed while it was looked at.
    Again,
    /// To be committed.
    Edit(Box<Edit>),
}

/// What one path's head becomes.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) candidate: Candidate,
    /// The head this was decided on.
    pub(super) seen: Option<Head>,
    pub(super) change: Change,
    pub(super) kind: EditKind,
    /// What goes into the trail; `None` where no value is copied or removed.
    pub(super) grant: Option<(Operation, Grant)>,
    /// Whether a conflict was found, settled or not.
    pub(super) conflict: bool,
}

/// What an edit is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EditKind {
    Created,
    Updated,
    Deleted,
    Pushed,
    /// Both sides were found to agree.
    Confirmed,
    Flagged,
}

impl Edit {
    /// How many bytes wait in it.
    pub(super) fn weight(&self) -> usize {
        self.change.values.iter().map(|(_, value)| value.len()).sum()
    }
}

/// Looks at one path.
pub(super) async fn check(desk: &Desk, candidate: &Candidate) -> Result<Step, StepError> {
    let Some(settings) = desk.settings(candidate.rule) else { return Ok(Step::Absent) };
    let now = desk.parts.clock.now();
    // before the remote side: a write that comes in between then shows as a head that is not the one seen here
    let local = desk.replica.records.head(&candidate.path)?;
    let mut seen = match look(desk, candidate).await {
        Err(StepError::Backend(BackendError::Unsupported)) => return Ok(Step::Skipped(LEASED)),
        // rights to a folder's names are none to a secret called like the folder
        Err(StepError::Backend(error)) if candidate.is_guess && local.is_none() && is_denial(&error) => {
            return Ok(Step::Absent);
        }
        seen => seen?,
    };
    if seen.is_none() && !candidate.may_delete {
        return Ok(if local.is_some() { Step::Unconfirmed } else { Step::Absent });
    }
    let terms = desk.terms(settings);
    let mut same = Same::Unknown;
    let decision = loop {
        let remote = seen.as_ref().map(|seen| &seen.mark);
        let decided = plan(&Sides { local: local.as_ref(), remote, same, now }, &terms);
        if decided != Decision::Compare {
            break decided;
        }
        let (Some(head), Some(seen)) = (&local, &mut seen) else { return Ok(Step::Again) };
        same = compare(desk, candidate, head, seen, now).await?;
    };
    let case = Case { desk, candidate, settings, now };
    match (decision, local, seen) {
        (Decision::Nothing, None, None) => Ok(Step::Absent),
        (Decision::Nothing, Some(head), Some(seen)) if case.lacks(&head, &seen) => {
            case.pull(Some(head), seen, false).await
        }
        (Decision::Nothing, ..) => Ok(Step::Unchanged),
        (Decision::Keep, ..) => Ok(Step::Kept),
        (Decision::Held, ..) => Ok(Step::Held),
        (Decision::Foreign(Foreign::Local), ..) => Ok(Step::Skipped(LOCAL)),
        (Decision::Foreign(Foreign::Quarantined), ..) => Ok(Step::Skipped(QUARANTINED)),
        (Decision::Pull { conflict }, local, Some(seen)) => case.pull(local, seen, conflict).await,
        (Decision::DeleteLocal { conflict }, Some(head), _) => case.remove(head, conflict),
        (Decision::Confirm, Some(head), Some(seen)) => Ok(case.confirm(head, &seen)),
        (Decision::Flag, Some(head), seen) => Ok(case.flag(head, seen)),
        (Decision::Push { conflict }, Some(head), seen) => {
            let why = Why { operation: Operation::Write, conflict, is_equal: same == Same::Value };
            push(desk, candidate, (head, seen), why).await
        }
        (Decision::DeleteRemote { conflict }, Some(head), seen) => {
            let why = Why { operation: Operation::Delete, conflict, is_equal: false };
            push(desk, candidate, (head, seen), why).await
        }
        // not reached: each of these has the sides it needs
        _ => Ok(Step::Again),
    }
}

/// One decided path.
struct Case<'a> {
    desk: &'a Desk,
    candidate: &'a Candidate,
    settings: &'a RuleSettings,
    now: Timestamp,
}

impl Case<'_> {
    fn source<'s>(&self, local: Option<&'s Head>, described: &'s Described) -> Source<'s> {
        let (backend, route) = (self.desk.replica.id.as_str(), self.settings.route);
        let is_ours =
            |head: &Head| head.origin.as_ref().is_some_and(|origin| origin.backend == backend && origin.route == route);
        Source {
            described,
            local,
            is_ours: local.is_some_and(is_ours),
            history: self.settings.history,
            max_versions: self.settings.max_versions,
            now: self.now,
        }
    }

    /// Whether a version is to be kept and its value is not here, although nothing changed.
    fn lacks(&self, head: &Head, seen: &Sight) -> bool {
        !seen.is_bare && !Layout::of(self.source(Some(head), &seen.described)).wanted().is_empty()
    }

    async fn pull(&self, local: Option<Head>, seen: Sight, conflict: bool) -> Result<Step, StepError> {
        let (desk, candidate) = (self.desk, self.candidate);
        let grant = desk.grant(candidate, Action::Write)?;
        let Sight { mark, mut described, mut fetched, .. } = seen;
        if self.settings.history == History::All && desk.replica.client.capabilities().flat {
            let ask = desk.ask(candidate.rule, &candidate.remote);
            if let Reply::Neutral(Outcome::Described(whole)) = desk.call(desk.replica.client.describe(ask)).await? {
                complete(&mut described, *whole);
            }
        }
        let layout = Layout::of(self.source(local.as_ref(), &described));
        let wanted: Vec<VersionInfo> = layout.wanted().into_iter().cloned().collect();
        for info in &wanted {
            if let Entry::Vacant(unread) = fetched.entry(info.version) {
                let read = match fetch(desk, candidate, info).await {
                    Err(StepError::Backend(BackendError::Unsupported)) => return Ok(Step::Skipped(LEASED)),
                    read => read?,
                };
                if let Some(Read { value, secret_type, created_at }) = read {
                    // a list tells no times of versions
                    let known = described.versions.iter_mut().find(|known| known.version == info.version);
                    if let Some(known) = known.filter(|known| known.native_id.is_some()) {
                        known.created_at = created_at;
                    }
                    unread.insert((value, secret_type));
                } else if info.version == described.current_version && candidate.tries < MAX_TRIES {
                    // deleted since it was described: a copy without the value would go on saying that it is there
                    return Ok(Step::Again);
                }
            }
            let size = fetched.get(&info.version).map_or(0, |(value, _)| value.len());
            if size > desk.replica.max_value_bytes {
                if info.version == described.current_version {
                    return Ok(Step::Skipped(TOO_LARGE));
                }
                fetched.remove(&info.version);
            }
        }
        if described.cas_required || described.max_versions > 0 || described.delete_after_secs > 0 {
            desk.note(NO_SETTINGS);
        }
        let layout = Layout::of(self.source(local.as_ref(), &described));
        let Taken { mut head, values, gone } = layout.take(fetched);
        head.origin = Some(desk.replica.origin(self.settings, &candidate.remote));
        self.agree(&mut head, mark);
        let kind = if local.is_none() { EditKind::Created } else { EditKind::Updated };
        let change = Change { path: candidate.path.clone(), head: Some(head), values, gone };
        let grant = Some((Operation::Write, grant));
        Ok(self.edit(local, change, kind, grant, conflict))
    }

    fn remove(&self, head: Head, conflict: bool) -> Result<Step, StepError> {
        let grant = self.desk.grant(self.candidate, Action::Delete)?;
        let gone = head.versions.keys().copied().collect();
        let change = Change { path: self.candidate.path.clone(), head: None, values: Vec::new(), gone };
        Ok(self.edit(Some(head), change, EditKind::Deleted, Some((Operation::Delete, grant)), conflict))
    }

    /// Both sides hold the same: the newest versions are one from now on, and the states of the older ones follow.
    fn confirm(&self, seen_head: Head, seen: &Sight) -> Step {
        let mut head = seen_head.clone();
        let mut gone = Vec::new();
        if let Some(newest) = seen.newest().filter(|info| info.state.is_readable()) {
            link(&mut head, newest);
        }
        if !seen.is_bare {
            let taken = Layout::of(self.source(Some(&head), &seen.described)).take(Fetched::new());
            (head, gone) = (Head { origin: head.origin, ..taken.head }, taken.gone);
        }
        self.agree(&mut head, seen.mark.clone());
        self.bookkeeping(seen_head, (head, gone), EditKind::Confirmed)
    }

    fn flag(&self, seen_head: Head, seen: Option<Sight>) -> Step {
        let mut head = seen_head.clone();
        if let Some(origin) = &mut head.origin {
            origin.conflict = Some(Conflict { since: self.now.micros(), remote: seen.map(|seen| seen.mark) });
        }
        self.bookkeeping(seen_head, (head, Vec::new()), EditKind::Flagged)
    }

    fn bookkeeping(&self, seen: Head, (head, gone): (Head, Vec<u64>), kind: EditKind) -> Step {
        let path = self.candidate.path.clone();
        let change = Change { path, head: Some(head), values: Vec::new(), gone };
        self.edit(Some(seen), change, kind, None, kind == EditKind::Flagged)
    }

    fn edit(
        &self,
        seen: Option<Head>,
        change: Change,
        kind: EditKind,
        grant: Option<(Operation, Grant)>,
        conflict: bool,
    ) -> Step {
        Step::Edit(Box::new(Edit { candidate: self.candidate.clone(), seen, change, kind, grant, conflict }))
    }

    fn agree(&self, head: &mut Head, mark: RemoteMark) {
        let agreed = mark::agreed(head, mark, self.now);
        if let Some(origin) = &mut head.origin {
            origin.agreed = Some(agreed);
            origin.conflict = None;
        }
    }
}

/// Adds the versions a glance does not tell of, before those it does, and when each was made.
fn complete(described: &mut Described, whole: Described) {
    let (mut older, mut known) = (Vec::new(), std::mem::take(&mut described.versions));
    for info in whole.versions {
        match known.iter_mut().find(|known| known.native_id == info.native_id) {
            Some(known) => known.created_at = info.created_at,
            None => older.push(info),
        }
    }
    older.append(&mut known);
    described.versions = older;
}

/// Our newest version is this remote one from now on.
pub(super) fn link(head: &mut Head, newest: &VersionInfo) {
    let number = head.current;
    if let Some(known) = head.versions.get_mut(&number)
        && !mark::is_link(number, known, newest)
    {
        let native = newest.native_id.as_deref().map_or_else(|| newest.version.to_string(), str::to_owned);
        known.native = (!mark::is_timeless(newest)).then_some(native);
    }
}
