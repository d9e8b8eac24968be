//! Which version a call means, and the labels versions carry: two that say a version's place, and a bounded number that
//! clients give.

use super::{EditError, info};
use crate::clock::Timestamp;
use crate::seal::Head;
use crate::secret::{LabelMove, Outcome, SecretValue, VersionSelector};

/// The label of the version that is read when none is named.
pub const CURRENT: &str = "AWSCURRENT";
/// The label of the one before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// How many labels the versions of a secret carry, all in all, beside those two. A labelled version is never forgotten,
/// so this bounds versions, too.
pub const MOST_LABELS: usize = 20;

/// The version a client's identifier stands for already.
#[must_use]
pub fn repeated(head: &Head, token: Option<&str>) -> Option<u64> {
    let token = token?;
    head.versions.iter().find(|(_, known)| known.native.as_deref() == Some(token)).map(|(number, _)| *number)
}

/// The answer to a write that came before, as version `number`, of which `held` is kept: the same value is done already.
///
/// # Errors
/// When it is another value, or the version's is not kept.
pub fn done_before(
    head: &Head,
    number: u64,
    held: Option<SecretValue>,
    value: &SecretValue,
    now: Timestamp,
) -> Result<Outcome, EditError> {
    match (held, head.versions.get(&number)) {
        (Some(held), Some(known)) if held.expose() == value.expose() => {
            let info = info(number, known, now).ranked(head.rank(number));
            Ok(Outcome::Written(info, head.metadata.clone()))
        }
        _ => Err(EditError::Reused),
    }
}

/// The version a selector names; `None` if there is none.
///
/// # Errors
/// When it is named with a label it does not carry.
pub fn select(head: &Head, selector: &VersionSelector) -> Result<Option<u64>, EditError> {
    let native = |id: &str| repeated(head, Some(id));
    let number = match selector {
        VersionSelector::Current => Some(head.current),
        VersionSelector::Number(number) => Some(*number),
        VersionSelector::Native(id) => native(id),
        VersionSelector::Stage(stage) => carrier(head, stage),
        VersionSelector::Labelled { version, stage } => {
            let number = select(head, version)?;
            let Some(carried) = number.filter(|number| head.versions.contains_key(number)) else { return Ok(None) };
            if carrier(head, stage) != Some(carried) {
                return Err(EditError::NotLabelled);
            }
            number
        }
    };
    Ok(number.filter(|number| head.versions.contains_key(number)))
}

/// Moves a label.
///
/// # Errors
/// When a version is not there, or carries the label and is not the one named; when there are too many labels.
pub fn relabel(head: &mut Head, change: &LabelMove, now: Timestamp) -> Result<(), EditError> {
    let to = named(head, change.to.as_ref())?;
    check_move(head, change, to)?;
    // what is gone for good can be nobody's current version
    if to.is_some_and(|to| head.versions.get(&to).is_none_or(|known| known.destroyed)) {
        return Err(EditError::Missing);
    }
    attach(head, &change.stage, to);
    head.updated = now.micros();
    Ok(())
}

/// Whether a label may leave the version that carries it. `to` is the version it goes to; `None` if it goes to nobody, or
/// to one that is not known here.
///
/// # Errors
/// As [`relabel`].
pub fn check_move(head: &Head, change: &LabelMove, to: Option<u64>) -> Result<(), EditError> {
    let from = named(head, change.from.as_ref())?;
    let carried = carrier(head, &change.stage);
    if from.is_some() && from != carried {
        return Err(if carried.is_some() { EditError::Labelled } else { EditError::NotLabelled });
    }
    if carried.is_some() && carried != to && from.is_none() {
        return Err(EditError::Labelled);
    }
    if head.is_marked() {
        return Err(EditError::Deleted);
    }
    if change.to.is_none() && &*change.stage == CURRENT {
        return Err(EditError::Labelled);
    }
    if change.to.is_some() { check_room(head, std::iter::once(&*change.stage)) } else { Ok(()) }
}

/// Whether these labels can be given, wherever they are now.
///
/// # Errors
/// When there would be more than [`MOST_LABELS`].
pub(super) fn check_room<'s>(head: &Head, stages: impl Iterator<Item = &'s str>) -> Result<(), EditError> {
    let carried: usize = head.versions.values().map(|known| known.stages.len()).sum();
    let is_carried = |stage: &str| head.versions.values().any(|known| known.stages.iter().any(|has| has == stage));
    let more = stages.filter(|stage| !matches!(*stage, CURRENT | PREVIOUS) && !is_carried(stage)).count();
    // a head that has too many already may still move them
    if more > 0 && carried + more > MOST_LABELS { Err(EditError::TooManyLabels) } else { Ok(()) }
}

/// Gives a label to a version, wherever it was; `None` takes it away. Nobody's current version stays the current one.
pub fn attach(head: &mut Head, stage: &str, to: Option<u64>) {
    match (stage, to) {
        (CURRENT, Some(to)) if to != head.current => {
            head.last = head.next() - 1;
            (head.previous, head.current) = (head.current, to);
        }
        (CURRENT, _) => {}
        (PREVIOUS, to) => head.previous = to.unwrap_or(0),
        (stage, to) => {
            for known in head.versions.values_mut() {
                known.stages.retain(|has| has != stage);
            }
            if let Some(known) = to.and_then(|to| head.versions.get_mut(&to)) {
                known.stages.push(stage.to_owned());
            }
        }
    }
}

/// The version a selector names, which has to be there.
fn named(head: &Head, selector: Option<&VersionSelector>) -> Result<Option<u64>, EditError> {
    match selector {
        None => Ok(None),
        Some(selector) => select(head, selector)?.map(Some).ok_or(EditError::Missing),
    }
}

/// Which version carries a label.
fn carrier(head: &Head, stage: &str) -> Option<u64> {
    let number = match stage {
        CURRENT => head.current,
        PREVIOUS => head.previous(),
        _ => {
            let labelled = head.versions.iter().find(|(_, known)| known.stages.iter().any(|has| has == stage));
            labelled.map_or(0, |(number, _)| *number)
        }
    };
    (number > 0).then_some(number)
}
