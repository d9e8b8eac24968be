//! Bringing the remote side up to date with the copy: versions written here while the backend was away or not asked.
//!
//! The trail has its intent before the backend is asked to change anything. Afterwards the remote side is looked at
//! again; both sides agree only if what is found is what was written and nothing else. An answer that was lost, or a
//! process that died in between, leaves a remote side that compares equal to ours next time.

use std::sync::atomic::Ordering;

use super::desk::{Candidate, Desk, StepError};
use super::mark;
use super::plan::is_gone;
use super::sight::look;
use super::step::{Edit, EditKind, Step, link};
use super::write::Sight;
use crate::audit::{Facts, Grants};
use crate::backend::{BackendError, Change as RemoteChange};
use crate::clock::Timestamp;
use crate::seal::edit::{is_same, is_tombstone};
use crate::seal::{Change, Head, SealError};
use crate::secret::{Action, Operation, Outcome, Reply, VersionSet, VersionState};

/// What a push is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why {
    /// What the trail calls it.
    pub(super) operation: Operation,
    /// Whether the remote side's change is given up for it.
    pub(super) conflict: bool,
    /// Whether our newest value is there already.
    pub(super) is_equal: bool,
}

/// What the remote side should be after a push.
struct Expected {
    /// The newest version, where the store numbers versions.
    version: Option<u64>,
    /// The identifier a put got, where versions have one.
    native: Option<Box<str>>,
}

/// Makes the remote side what the copy is. `seen` is what was found there.
pub(super) async fn push(
    desk: &Desk,
    candidate: &Candidate,
    (head, seen): (Head, Option<Sight>),
    why: Why,
) -> Result<Step, StepError> {
    let Why { operation, conflict, .. } = why;
    let _claim = desk.replica.copies.claim(&candidate.path).await;
    let is_live = desk.settings(candidate.rule).is_some_and(|settings| desk.replica.is_live(settings.route));
    let is_over = !is_live || desk.is_over.load(Ordering::Acquire);
    if is_over || desk.replica.records.head(&candidate.path)?.as_ref() != Some(&head) {
        return Ok(Step::Again);
    }
    let now = desk.parts.clock.now();
    let grant = desk.grant(candidate, operation.action().unwrap_or(Action::Write))?;
    let receipt = desk.parts.auditor.admit(desk.subject(operation), Grants::one(grant)).await?;
    let carried = carry(desk, candidate, (&head, seen.as_ref()), why, now).await;
    let facts = Facts { backend: Some(desk.replica.name.clone()), version: Some(head.current), ..Facts::default() };
    match &carried {
        Ok(_) => drop(desk.parts.auditor.disclose(receipt, &facts, Reply::Neutral(Outcome::Done)).await?),
        Err(error) => desk.parts.auditor.fail(receipt, &facts, error.kind()).await?,
    }
    let expected = match carried {
        // somebody else was faster, or nobody knows: reading back tells
        Err(StepError::Backend(BackendError::Conflict | BackendError::Unknown(_))) => return Ok(Step::Again),
        carried => carried?,
    };
    settle(desk, candidate, head, &expected, conflict).await
}

/// What has to be changed on the remote side for it to be what the copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    pub(super) value: Value,
    pub(super) metadata: bool,
}

/// What has to happen to the newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Put,
    Undelete,
    Delete,
}

/// Compares both sides. `is_equal`: our newest value is known to be theirs. Pure.
pub(super) fn needed(head: &Head, seen: Option<&Sight>, is_equal: bool, now: Timestamp) -> Needed {
    let is_readable = !is_gone(head, now) && head.current > 0;
    let newest = seen.and_then(Sight::newest);
    let known = head.versions.get(&head.current);
    let is_linked = newest.zip(known).is_some_and(|(info, known)| mark::is_link(head.current, known, info));
    let is_deleted = newest.is_some_and(|info| matches!(info.state, VersionState::Deleted(_)));
    let value = match (is_readable, seen.is_some_and(|seen| seen.mark.readable)) {
        (true, true) if is_linked || is_equal => Value::Nothing,
        (true, false) if is_linked && is_deleted => Value::Undelete,
        (true, _) => Value::Put,
        (false, true) => Value::Delete,
        (false, false) => Value::Nothing,
    };
    let metadata = seen.map_or(!head.metadata.is_empty(), |seen| seen.described.metadata != head.metadata);
    Needed { value, metadata }
}

/// Changes the remote side, in as many calls as it takes.
async fn carry(
    desk: &Desk,
    candidate: &Candidate,
    (head, seen): (&Head, Option<&Sight>),
    why: Why,
    now: Timestamp,
) -> Result<Expected, StepError> {
    let Needed { value, metadata } = needed(head, seen, why.is_equal, now);
    let mut native = None;
    let mut version = seen.map_or(0, |seen| seen.described.current_version);
    match value {
        Value::Nothing => {}
        Value::Put => {
            let revives = seen.is_some_and(|seen| !seen.mark.readable);
            (version, native) = put(desk, candidate, head, (version, revives)).await?;
        }
        Value::Undelete => {
            let whole = desk.replica.client.capabilities().flat;
            let versions = if whole { VersionSet::All } else { VersionSet::Numbers(vec![version]) };
            change(desk, candidate, RemoteChange::Undelete(&versions)).await?;
        }
        Value::Delete => {
            // a version that came meanwhile is not the one that was deleted here
            let capabilities = desk.replica.client.capabilities();
            let is_numbered = capabilities.versions && !capabilities.flat && !desk.is_blind(candidate.rule);
            let versions = if is_numbered { VersionSet::Numbers(vec![version]) } else { VersionSet::Current };
            change(desk, candidate, RemoteChange::Delete(&versions, days_left(head, now))).await?;
        }
    }
    let is_bare = seen.is_none() && head.current == 0 && !is_tombstone(head);
    if is_bare && desk.replica.client.capabilities().labels {
        change(desk, candidate, RemoteChange::Create(&head.metadata)).await?;
    } else if (metadata || is_bare) && !desk.is_blind(candidate.rule) {
        change(desk, candidate, RemoteChange::Metadata(&head.metadata)).await?;
    }
    // where versions have identifiers, numbers are made up by whoever tells of them
    let capabilities = desk.replica.client.capabilities();
    let is_numbered = capabilities.versions && !capabilities.flat;
    Ok(Expected { version: is_numbered.then_some(version), native })
}

/// For how many days a secret that was deleted here can still be restored, if its time is known.
fn days_left(head: &Head, now: Timestamp) -> Option<u16> {
    let left = Timestamp::from_micros(head.purge_at?).since(now);
    Some(u16::try_from(left.as_secs().div_ceil(86_400)).unwrap_or(u16::MAX))
}

/// Writes our newest value; yields its number and its identifier there.
async fn put(
    desk: &Desk,
    candidate: &Candidate,
    head: &Head,
    (version, revives): (u64, bool),
) -> Result<(u64, Option<Box<str>>), StepError> {
    let value = desk.replica.records.value(&candidate.path, head.current)?.ok_or(SealError::Broken)?;
    let secret_type = head.versions.get(&head.current).ok_or(SealError::Form)?.secret_type();
    let is_conditional = desk.replica.client.capabilities().conditional_writes && !desk.is_blind(candidate.rule);
    let expected = is_conditional.then_some(version);
    let (token, stages) = (None, None);
    let put = RemoteChange::Put { value: &value, secret_type, expected, token, stages, revives };
    match change(desk, candidate, put).await? {
        Outcome::Written(info, _) => Ok((info.version, info.native_id)),
        _ => Ok((version + 1, None)),
    }
}

async fn change(desk: &Desk, candidate: &Candidate, change: RemoteChange<'_>) -> Result<Outcome, StepError> {
    let ask = desk.ask(candidate.rule, &candidate.remote);
    Ok(desk.call(desk.replica.client.write(ask, change)).await?)
}

/// Looks at the remote side again. Both sides agree if it is what was written, and nothing else happened to it.
async fn settle(
    desk: &Desk,
    candidate: &Candidate,
    seen_head: Head,
    expected: &Expected,
    conflict: bool,
) -> Result<Step, StepError> {
    let now = desk.parts.clock.now();
    let is_readable = !is_gone(&seen_head, now) && seen_head.current > 0;
    let path = candidate.path.clone();
    let edit = |seen, change, kind| Edit { candidate: candidate.clone(), seen, change, kind, grant: None, conflict };
    let Some(found) = look(desk, candidate).await? else {
        if is_readable {
            return Ok(Step::Again);
        }
        // deleted here, carried there, and nothing of it is left
        let grant = desk.grant(candidate, Action::Delete)?;
        let gone = seen_head.versions.keys().copied().collect();
        let change = Change { path, head: None, values: Vec::new(), gone };
        let edit = edit(Some(seen_head), change, EditKind::Deleted);
        return Ok(Step::Edit(Box::new(Edit { grant: Some((Operation::Delete, grant)), ..edit })));
    };
    let is_native = |native: &str| found.newest().is_some_and(|newest| newest.native_id.as_deref() == Some(native));
    let is_version = expected.version.is_none_or(|version| version == found.described.current_version)
        && expected.native.as_deref().is_none_or(is_native);
    let is_described = is_version && found.described.metadata == seen_head.metadata;
    let is_expected = (found.is_bare || is_described)
        && found.mark.readable == is_readable
        && (!found.is_bare || !is_readable || holds(desk, candidate, &seen_head, &found)?);
    if !is_expected {
        return Ok(Step::Again);
    }
    let mut head = seen_head.clone();
    if let Some(newest) = found.newest().filter(|_| is_readable) {
        link(&mut head, newest);
    }
    let agreed = mark::agreed(&head, found.mark, now);
    if let Some(origin) = &mut head.origin {
        origin.agreed = Some(agreed);
        origin.conflict = None;
    }
    let change = Change { path, head: Some(head), values: Vec::new(), gone: Vec::new() };
    Ok(Step::Edit(Box::new(edit(Some(seen_head), change, EditKind::Pushed))))
}

/// Whether a store that tells nothing but values holds ours.
fn holds(desk: &Desk, candidate: &Candidate, head: &Head, found: &Sight) -> Result<bool, StepError> {
    let ours = desk.replica.records.value(&candidate.path, head.current)?;
    let theirs = found.fetched.values().next().map(|(value, _)| value);
    Ok(ours.as_ref().zip(theirs).is_some_and(|(ours, theirs)| is_same(ours, theirs)))
}
