//! The remote side of a path, as a run looks at it: described if that can be had, read if not, compared with ours.
//!
//! Metadata first: values are read only where nothing else tells. What the backend says there is nothing of is absent for
//! certain; every doubt is an error.

use std::collections::btree_map::Entry;
use std::sync::atomic::Ordering;

use super::desk::{Candidate, Desk, StepError, is_denial};
use super::mark;
use super::plan::{Same, is_gone};
use super::pull::Fetched;
use super::write::{Sight, selector_of};
use crate::backend::BackendError;
use crate::clock::Timestamp;
use crate::seal::Head;
use crate::seal::edit::is_same;
use crate::secret::{
    Action, Outcome, Rank, Reply, SecretRecord, SecretType, SecretValue, VersionInfo, VersionSelector,
};

const NO_METADATA: &str = "our credential may not read all metadata: values are read instead, every time";

impl Sight {
    /// What is known of the newest version.
    pub(super) fn newest(&self) -> Option<&VersionInfo> {
        self.described.versions.iter().find(|info| info.version == self.described.current_version)
    }
}

/// What the backend has under this name; `None` if it says that there is nothing.
pub(super) async fn look(desk: &Desk, candidate: &Candidate) -> Result<Option<Sight>, StepError> {
    let client = &desk.replica.client;
    if let Some(described) = desk.take_told(&candidate.remote) {
        let mark = mark::of_described(&described);
        return Ok(Some(Sight { mark, described, fetched: Fetched::new(), is_bare: false }));
    }
    if !desk.is_blind(candidate.rule) {
        let ask = desk.ask(candidate.rule, &candidate.remote);
        match desk.call(client.glance(ask)).await {
            Ok(Reply::Neutral(Outcome::Described(described))) => {
                let mark = mark::of_described(&described);
                let seen = Sight { mark, described: *described, fetched: Fetched::new(), is_bare: false };
                return Ok(Some(seen));
            }
            Ok(Reply::Neutral(Outcome::NotFound)) => return Ok(None),
            Ok(_) => return Err(BackendError::Unusable("not a description").into()),
            Err(BackendError::Unsupported) => desk.blinded(candidate.rule),
            Err(error) if is_denial(&error) => return look_at_value(desk, candidate, Some(error)).await,
            Err(error) => return Err(error.into()),
        }
    }
    look_at_value(desk, candidate, None).await
}

/// As [`look`], where the value has to be read for it. `denied` is why its description could not be had.
async fn look_at_value(
    desk: &Desk,
    candidate: &Candidate,
    denied: Option<BackendError>,
) -> Result<Option<Sight>, StepError> {
    let record = match read(desk, candidate, &VersionSelector::Current).await {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(None),
        Err(error) => return Err(denied.unwrap_or(error).into()),
    };
    if denied.is_some() {
        desk.note(NO_METADATA);
    }
    Ok(Some(Sight::of_record(record)))
}

/// Reads one version with its value; `None` if there is none.
async fn read(
    desk: &Desk,
    candidate: &Candidate,
    version: &VersionSelector,
) -> Result<Option<SecretRecord>, BackendError> {
    let ask = desk.ask(candidate.rule, &candidate.remote);
    counted(desk, desk.call(desk.replica.client.read(ask, version)).await)
}

/// A record, counted as read.
fn counted(desk: &Desk, reply: Result<Reply, BackendError>) -> Result<Option<SecretRecord>, BackendError> {
    match reply? {
        Reply::Neutral(Outcome::Record(record)) => {
            if let Some(value) = &record.value {
                desk.reads.fetch_add(1, Ordering::Relaxed);
                desk.bytes.fetch_add(value.len() as u64, Ordering::Relaxed);
            }
            Ok(Some(*record))
        }
        Reply::Neutral(Outcome::NotFound) => Ok(None),
        _ => Err(BackendError::Unusable("not a record")),
    }
}

/// Reads the value of a version already described; `None` if it went meanwhile.
pub(super) async fn fetch(desk: &Desk, candidate: &Candidate, info: &VersionInfo) -> Result<Option<Read>, StepError> {
    let told = if info.rank == Rank::Current { desk.current(candidate).await } else { None };
    let at_once = match told {
        Some(reply) => counted(desk, reply)?.filter(|record| record.info.native_id == info.native_id),
        None => None,
    };
    let record = match at_once {
        Some(record) => Some(record),
        // read alone, or another version is current by now
        None => read(desk, candidate, &selector_of(info)).await?,
    };
    let created_at = record.as_ref().map(|record| record.info.created_at).unwrap_or_default();
    Ok(record.and_then(|record| Some(Read { value: record.value?, secret_type: record.secret_type, created_at })))
}

/// A version's value.
pub(super) struct Read {
    pub(super) value: SecretValue,
    pub(super) secret_type: SecretType,
    /// As whoever gave the value says.
    pub(super) created_at: Timestamp,
}

/// Whether both sides hold the same. Values are compared only if nothing else decides.
pub(super) async fn compare(
    desk: &Desk,
    candidate: &Candidate,
    head: &Head,
    seen: &mut Sight,
    now: Timestamp,
) -> Result<Same, StepError> {
    let Likeness::Values { newest, if_equal } = likeness(head, seen, now) else { return Ok(Same::No) };
    let Some(newest) = newest else { return Ok(if_equal) };
    let _permit = desk.grant(candidate, Action::Read)?;
    if let Entry::Vacant(unread) = seen.fetched.entry(newest.version) {
        let Some(read) = fetch(desk, candidate, &newest).await? else { return Ok(Same::No) };
        unread.insert((read.value, read.secret_type));
    }
    let ours = desk.replica.records.value(&candidate.path, head.current)?;
    let theirs = seen.fetched.get(&newest.version).map(|(value, _)| value);
    let is_equal = ours.as_ref().zip(theirs).is_some_and(|(ours, theirs)| is_same(ours, theirs));
    Ok(if is_equal { if_equal } else { Same::No })
}

/// What two sides have in common without their values.
pub(super) enum Likeness {
    /// They differ.
    Different,
    /// What they hold depends on whether our newest value equals this one; `None` if it surely does.
    Values { newest: Option<VersionInfo>, if_equal: Same },
}

/// Compares everything but values. Pure.
pub(super) fn likeness(head: &Head, seen: &Sight, now: Timestamp) -> Likeness {
    let is_readable = !is_gone(head, now) && head.current > 0;
    let has_same_metadata = seen.is_bare || head.metadata == seen.described.metadata;
    let if_equal = if has_same_metadata { Same::Yes } else { Same::Value };
    if is_readable != seen.mark.readable {
        return Likeness::Different;
    }
    match seen.newest().filter(|_| is_readable) {
        None if has_same_metadata => Likeness::Values { newest: None, if_equal },
        Some(newest) if has_same_metadata || may_be_ours(head, seen) => {
            let known = head.versions.get(&head.current);
            let is_linked = known.is_some_and(|known| mark::is_link(head.current, known, newest));
            Likeness::Values { newest: (!is_linked).then(|| newest.clone()), if_equal }
        }
        _ => Likeness::Different,
    }
}

/// Whether the remote side may be what was agreed and a value on top that we wrote, before its metadata could follow.
fn may_be_ours(head: &Head, seen: &Sight) -> bool {
    match head.origin.as_ref().and_then(|origin| origin.agreed.as_ref()) {
        Some(agreed) => seen.described.current_version == agreed.remote.version + 1,
        None => seen.described.current_version == 1 && seen.described.metadata.is_empty(),
    }
}
