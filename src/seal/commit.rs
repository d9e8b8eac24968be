//! Changes of a tenant's records: sealed, staged into one batch, kept whole or not at all.
//!
//! INVARIANT: the index changes only once the store has accepted the batch, in the order of commits, and whether or not
//! the caller still waits. Heads and values change under the tenant's one writer.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::MutexGuard;
use zeroize::Zeroizing;

use super::documents::DocumentChange;
use super::index::Lookup;
use super::{Head, Place, Records, SealError, Stored};
use crate::clock::Timestamp;
use crate::secret::{SecretPath, SecretValue};
use crate::store::{Batch, Table};

/// The right to change a tenant's secrets: hold it from reading a head to committing its successor.
pub type Writer<'a> = MutexGuard<'a, ()>;

/// What a commit makes of one secret.
#[derive(Debug)]
pub struct Change {
    /// Which secret; named once in a commit.
    pub path: SecretPath,
    /// What is known of it from now on; `None` removes it with all versions.
    pub head: Option<Head>,
    /// Values of versions that were not there.
    pub values: Vec<(u64, SecretValue)>,
    /// Versions whose values go.
    pub gone: Vec<u64>,
}

impl Records {
    /// Takes the tenant's one writer.
    pub async fn writer(&self) -> Writer<'_> {
        let writer = self.writer.lock().await;
        self.finish_commits().await;
        writer
    }

    /// Waits for commits that nobody waits for any more, so that what is read next is not about to change.
    pub(super) async fn finish_commits(&self) {
        if self.is_unfinished.swap(false, Ordering::AcqRel) {
            let unfinished = Unfinished(Some(&self.is_unfinished));
            // a store that is closed says so at the next real commit
            drop(self.store.commit(Batch::default()).await);
            unfinished.settle();
        }
    }

    /// Stores a head, optionally a new value, and drops the values of `gone`.
    ///
    /// # Errors
    /// When nothing was kept.
    pub async fn commit(
        &self,
        _writer: &Writer<'_>,
        path: &SecretPath,
        head: &Head,
        value: Option<(u64, &SecretValue)>,
        gone: &[u64],
    ) -> Result<(), SealError> {
        let _sealing = self.sealing.read().await;
        let mut staged = Staged::default();
        self.stage_head(&mut staged, path, head, value, gone)?;
        self.keep(staged).await
    }

    /// Makes several changes and documents visible together or not at all.
    ///
    /// # Errors
    /// When nothing was kept.
    pub async fn commit_all(
        &self,
        _writer: &Writer<'_>,
        changes: Vec<Change>,
        documents: Vec<DocumentChange>,
    ) -> Result<(), SealError> {
        let _sealing = self.sealing.read().await;
        let mut staged = Staged::default();
        for Change { path, head, values, gone } in &changes {
            match head {
                Some(head) => {
                    let values = values.iter().map(|(version, value)| (*version, value));
                    self.stage_head(&mut staged, path, head, values, gone)?;
                }
                None => self.stage_purge(&mut staged, path, gone)?,
            }
        }
        // values are sealed by now, and wiped before anything is waited for
        drop(changes);
        for document in &documents {
            let content = document.content.as_ref().map(|content| content.as_slice());
            self.stage_document(&mut staged.batch, document.kind, &document.id, content)?;
        }
        drop(documents);
        self.keep(staged).await
    }

    /// Removes a secret with everything it has.
    ///
    /// # Errors
    /// When nothing was removed.
    pub async fn purge(&self, _writer: &Writer<'_>, path: &SecretPath, head: &Head) -> Result<(), SealError> {
        let _sealing = self.sealing.read().await;
        let mut staged = Staged::default();
        self.stage_removal(&mut staged, path, head.versions.keys().copied());
        self.keep(staged).await
    }

    fn stage_head<'a>(
        &self,
        staged: &mut Staged,
        path: &SecretPath,
        head: &Head,
        values: impl IntoIterator<Item = (u64, &'a SecretValue)>,
        gone: &[u64],
    ) -> Result<(), SealError> {
        let index = self.barrier.index(path);
        let at = Timestamp::from_micros(head.updated);
        let plain = Zeroizing::new(serde_json::to_vec(head).map_err(|_| SealError::Form)?);
        let batch = &mut staged.batch;
        batch.put.push((self.at(Table::Head, index, 0), self.barrier.seal(Place::Head { path }, at, &plain)?));
        if !matches!(self.index.look_up(path), Lookup::Known(stored) if stored.is_sound) {
            let name = self.barrier.seal(Place::Name { index: &index }, at, path.as_str().as_bytes())?;
            batch.put.push((self.name_key(index), name));
        }
        for (version, value) in values {
            let sealed = self.barrier.seal(Place::Value { path, version }, at, value.expose())?;
            batch.put.push((self.at(Table::Version, index, version), sealed));
        }
        batch.remove.extend(gone.iter().map(|version| self.at(Table::Version, index, *version)));
        staged.learned.push((path.clone(), Some(Stored::of(index, head))));
        Ok(())
    }

    fn stage_purge(&self, staged: &mut Staged, path: &SecretPath, gone: &[u64]) -> Result<(), SealError> {
        let index = self.barrier.index(path);
        let versions: Vec<u64> = match self.head_at(path, index) {
            Ok(head) => head.unwrap_or_default().versions.into_keys().chain(gone.iter().copied()).collect(),
            // what does not open can be removed all the same
            Err(SealError::Broken | SealError::Form) => self.versions_in_store(index)?,
            Err(error) => return Err(error),
        };
        self.stage_removal(staged, path, versions);
        Ok(())
    }

    fn stage_removal(&self, staged: &mut Staged, path: &SecretPath, versions: impl IntoIterator<Item = u64>) {
        let index = self.barrier.index(path);
        let remove = &mut staged.batch.remove;
        remove.extend([self.at(Table::Head, index, 0), self.name_key(index)]);
        remove.extend(versions.into_iter().map(|version| self.at(Table::Version, index, version)));
        staged.learned.push((path.clone(), None));
    }

    /// Looks at every value of the tenant: for a secret whose head cannot say.
    fn versions_in_store(&self, index: [u8; 32]) -> Result<Vec<u64>, SealError> {
        let mut versions = Vec::new();
        self.store.scan(Table::Version, self.barrier.tenant_id(), &mut |key, _| {
            if key.index == index {
                versions.push(key.version);
            }
            true
        })?;
        Ok(versions)
    }

    pub(super) async fn keep(&self, staged: Staged) -> Result<(), SealError> {
        let Staged { mut batch, learned } = staged;
        if !learned.is_empty() {
            let index = self.index.clone();
            batch.then.push(move || index.learn(learned));
        }
        let unfinished = Unfinished(Some(&self.is_unfinished));
        let outcome = self.store.commit(batch).await;
        unfinished.settle();
        outcome.map_err(SealError::from)
    }
}

/// A batch in the making, and what the index learns once it is kept.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) batch: Batch,
    learned: Vec<(SecretPath, Option<Stored>)>,
}

/// Notes that a commit was left before it was over.
struct Unfinished<'a>(Option<&'a AtomicBool>);

impl Unfinished<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(flag) = self.0 {
            flag.store(true, Ordering::Release);
        }
    }
}
