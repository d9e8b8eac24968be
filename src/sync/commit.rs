//! Storing what a run decided, in batches: one intent and one outcome in the trail, one commit in the store.
//!
//! INVARIANT: under the tenant's writer every head still is what its edit was decided on, the run is still the current
//! one and the rule is still synced; what is not goes back to be looked at again.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::desk::{Candidate, Desk, StepError};
use super::step::{Edit, EditKind};
use crate::audit::{Facts, Grant, Grants, Receipt};
use crate::error::ErrorKind;
use crate::seal::SealError;
use crate::secret::{Operation, Outcome, Reply, SecretPath};

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// What is stored now.
    pub(super) stored: Vec<Stored>,
    /// Changed meanwhile: to be looked at again.
    pub(super) again: Vec<Candidate>,
    /// Nothing of these was stored.
    pub(super) lost: Vec<Candidate>,
    /// Why.
    pub(super) error: Option<StepError>,
}

/// One edit, stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) path: SecretPath,
    pub(super) rule: u32,
    pub(super) kind: EditKind,
    pub(super) conflict: bool,
}

/// Stores a batch. Nothing of it is kept when the run is over.
pub(super) async fn commit(desk: &Desk, edits: Vec<Edit>) -> Committed {
    let records = &desk.replica.records;
    let mut committed = Committed::default();
    let writer = records.writer().await;
    if desk.is_over.load(Ordering::Acquire) {
        return committed;
    }
    let mut fresh = Vec::with_capacity(edits.len());
    let mut paths = HashSet::new();
    for edit in edits {
        let settings = desk.settings(edit.candidate.rule);
        if settings.is_none_or(|settings| !desk.replica.is_live(settings.route)) {
            continue;
        }
        if !paths.insert(edit.change.path.clone()) {
            committed.again.push(edit.candidate);
            continue;
        }
        match records.head(&edit.change.path) {
            Ok(head) if head == edit.seen => fresh.push(edit),
            // looking again tells what is wrong with a record that does not open
            Ok(_) | Err(SealError::Broken | SealError::Form) => committed.again.push(edit.candidate),
            Err(error) => {
                committed.lost.push(edit.candidate);
                committed.error = Some(error.into());
            }
        }
    }
    let grants = |wanted: Operation| -> Vec<Grant> {
        let granted = fresh.iter().filter_map(|edit| edit.grant.as_ref());
        granted.filter(|(operation, _)| *operation == wanted).map(|(_, grant)| grant.clone()).collect()
    };
    let (written, deleted) = (grants(Operation::Write), grants(Operation::Delete));
    let mut receipts = Vec::new();
    for (operation, grants) in [(Operation::Write, written), (Operation::Delete, deleted)] {
        if grants.is_empty() {
            continue;
        }
        match desk.parts.auditor.admit(desk.subject(operation), Grants::many(grants)).await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => return lose(committed, fresh, error.into()),
        }
    }
    let (mut changes, mut stored, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for Edit { candidate, change, kind, conflict, .. } in fresh {
        stored.push(Stored { path: candidate.path.clone(), rule: candidate.rule, kind, conflict });
        candidates.push(candidate);
        changes.push(change);
    }
    let result = records.commit_all(&writer, changes, Vec::new()).await;
    drop(writer);
    for receipt in receipts {
        if let Err(error) = end(desk, receipt, result.as_ref().err().map(|error| error.kind())).await {
            // what was stored stays stored, and the trail has its intent
            committed.error = Some(error);
        }
    }
    match result {
        Ok(()) => committed.stored = stored,
        Err(error) => {
            committed.lost.extend(candidates);
            committed.error = Some(error.into());
        }
    }
    committed
}

async fn end(desk: &Desk, receipt: Receipt, failure: Option<ErrorKind>) -> Result<(), StepError> {
    let facts = Facts { backend: Some(desk.replica.name.clone()), ..Facts::default() };
    match failure {
        None => drop(desk.parts.auditor.disclose(receipt, &facts, Reply::Neutral(Outcome::Done)).await?),
        Some(kind) => desk.parts.auditor.fail(receipt, &facts, kind).await?,
    }
    Ok(())
}

fn lose(committed: Committed, fresh: Vec<Edit>, error: StepError) -> Committed {
    let lost = committed.lost.into_iter().chain(fresh.into_iter().map(|edit| edit.candidate)).collect();
    Committed { lost, error: Some(error), ..committed }
}
