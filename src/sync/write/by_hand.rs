//! A copy after a write through, where the other side could not be looked at afterwards or has gone on since: the copy is
//! edited as far as the answer told, and the next comparison finds the other side changed. Pure.

use super::Errand;
use crate::clock::Timestamp;
use crate::seal::edit::{self, Mark};
use crate::seal::{Agreed, Head, HeadVersion, RemoteMark};
use crate::secret::{Metadata, Outcome, SecretValue, VersionInfo};
use crate::sync::intent::{Intent, Step, local_number, numbering};
use crate::sync::mark;

/// What the client is told of a write that left no copy.
pub(super) fn told(info: Option<VersionInfo>, intent: &Intent) -> Outcome {
    let metadata = match &intent.step {
        Step::Put { metadata, .. } => metadata.clone().unwrap_or_default(),
        _ => Metadata::new(),
    };
    info.map_or(Outcome::Done, |info| Outcome::Written(info, metadata))
}

pub(super) type ByHand = (Head, Vec<(u64, SecretValue)>, Vec<u64>);

/// The copy with the write in it. `None` if the copy has it already, or cannot have it.
pub(super) fn by_hand(
    errand: &Errand<'_>,
    mut head: Head,
    written: Option<SecretValue>,
    (intent, info): (&Intent, Option<&VersionInfo>),
    is_metadata_lost: bool,
    now: Timestamp,
) -> Option<ByHand> {
    let local = |head: &Head, versions: &[u64]| -> Vec<u64> {
        versions.iter().filter_map(|version| local_number(head, *version)).collect()
    };
    let (mut values, mut gone) = (Vec::new(), Vec::new());
    match &intent.step {
        Step::Put { metadata, .. } => {
            let number;
            (number, gone) = put(errand, &mut head, written.is_some(), (intent, info?), now)?;
            values.extend(written.filter(|_| !gone.contains(&number)).map(|value| (number, value)));
            if let Some(metadata) = metadata.as_ref().filter(|_| !is_metadata_lost) {
                head.metadata.clone_from(metadata);
            }
        }
        Step::Create(metadata) | Step::Metadata(metadata) => {
            edit::make(&mut head, now);
            head.metadata.clone_from(metadata);
        }
        Step::Label { stage, to, .. } => {
            let to = match to {
                // one that was never copied comes with the next look
                Some(to) => Some(edit::repeated(&head, Some(to.as_str()))?),
                None => None,
            };
            edit::attach(&mut head, stage, to);
        }
        Step::Delete(versions) if versions.is_empty() => gone = edit::delete(&mut head, intent.days, now),
        Step::Delete(versions) => {
            let numbers = local(&head, versions);
            gone = edit::mark(&mut head, &numbers, Mark::Deleted(now), now);
        }
        Step::Undelete(versions) if versions.is_empty() => gone = edit::restore(&mut head, now),
        Step::Undelete(versions) => {
            let numbers = local(&head, versions);
            gone = edit::mark(&mut head, &numbers, Mark::Undeleted, now);
        }
        Step::Destroy(versions) => {
            let numbers = local(&head, versions);
            gone = edit::mark(&mut head, &numbers, Mark::Destroyed, now);
        }
        // dealt with before
        Step::Purge => return None,
    }
    head.updated = now.micros();
    let version = info.map_or_else(|| intent.base.as_ref().map_or(0, |base| base.version), |info| info.version);
    let native = info.and_then(|info| info.native_id.as_deref()).map(str::to_owned);
    // a mark that nothing looks like
    let remote = RemoteMark { version, native, readable: true, digest: String::new() };
    let agreed = Agreed { local: head.fingerprint(), local_version: head.current, remote, at: now.micros() };
    if let Some(origin) = &mut head.origin {
        origin.agreed = Some(agreed);
    }
    Some((head, values, gone))
}

/// Adds the version a put made; yields its number and the versions forgotten for it.
fn put(
    errand: &Errand<'_>,
    head: &mut Head,
    held: bool,
    (intent, info): (&Intent, &VersionInfo),
    now: Timestamp,
) -> Option<(u64, Vec<u64>)> {
    if head.versions.iter().any(|(number, known)| mark::is_link(*number, known, info)) {
        return None;
    }
    let number = numbering(head, info);
    let created = if mark::is_timeless(info) { now } else { info.created_at };
    let version = HeadVersion {
        created: created.micros(),
        deleted: mark::deletion(info),
        destroyed: false,
        secret_type: intent.secret_type().as_str().to_owned(),
        native: mark::native_of(number, info),
        stages: info.stages.iter().map(|stage| stage.to_string()).collect(),
        held,
    };
    let gone = edit::add(head, number, (version, intent.is_for_current()), errand.settings.max_versions, now);
    for stage in intent.stages().into_iter().flatten() {
        edit::attach(head, stage, Some(number));
    }
    Some((number, gone))
}
