//! What a tenant keeps beside secrets: backends made by the API, what a sync remembers, writes under way, reports, tokens.

use zeroize::Zeroizing;

use super::commit::Staged;
use super::{Place, Records, SealError};
use crate::clock::Timestamp;
use crate::store::{Batch, Table};

/// A name and what it names, opened.
pub type Opened = (String, Zeroizing<Vec<u8>>);

/// What a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocumentKind {
    /// A backend that was made by the API.
    Backend,
    /// What a backend's sync remembers between runs.
    SyncState,
    /// A write that is carried to a backend and whose outcome is not settled.
    Intent,
    /// The report of a run.
    Run,
    /// What the seal remembers.
    Seal,
    /// A run-time token, by the keyed hash of its value.
    Token,
    /// A principal none of whose credentials work.
    Revocation,
}

impl DocumentKind {
    /// Part of what a document is bound to: never changes.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Backend => 1,
            Self::SyncState => 2,
            Self::Intent => 3,
            Self::Run => 4,
            Self::Seal => 5,
            Self::Token => 6,
            Self::Revocation => 7,
        }
    }

    pub(super) fn from_code(code: u64) -> Option<Self> {
        [Self::Backend, Self::SyncState, Self::Intent, Self::Run, Self::Seal, Self::Token, Self::Revocation]
            .into_iter()
            .find(|kind| u64::from(kind.code()) == code)
    }
}

/// What a commit makes of one document.
#[derive(Debug)]
pub struct DocumentChange {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name within its kind; any text.
    pub id: String,
    /// What it says from now on; `None` removes it.
    pub content: Option<Zeroizing<Vec<u8>>>,
}

impl Records {
    /// One document; `None` if there is none.
    ///
    /// # Errors
    /// When the store fails or the record does not open.
    pub fn document(&self, kind: DocumentKind, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
        let index = self.barrier.document_index(kind, id);
        let key = self.at(Table::Document, index, kind.code().into());
        let Some(plain) = self.fetch(Place::Document { kind, index: &index }, &key)? else { return Ok(None) };
        let (found, content) = unframed(&plain)?;
        if found != id {
            return Err(SealError::Form);
        }
        Ok(Some(Zeroizing::new(content.to_vec())))
    }

    /// Every document of a kind with its id, sorted by id.
    ///
    /// # Errors
    /// When the store fails or one of them does not open.
    pub fn documents(&self, kind: DocumentKind) -> Result<Vec<Opened>, SealError> {
        let mut documents = self.each_document(kind)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        documents.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(documents)
    }

    /// Every document of a kind that opens, with its id, in no order; and how many do not.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sound_documents(&self, kind: DocumentKind) -> Result<(Vec<Opened>, usize), SealError> {
        let (mut sound, mut damaged) = (Vec::new(), 0);
        for document in self.each_document(kind)? {
            match document {
                Ok(document) => sound.push(document),
                Err(SealError::Broken | SealError::Form) => damaged += 1,
                Err(error) => return Err(error),
            }
        }
        Ok((sound, damaged))
    }

    fn each_document(&self, kind: DocumentKind) -> Result<Vec<Result<Opened, SealError>>, SealError> {
        let mut found: Vec<[u8; 32]> = Vec::new();
        self.store.scan(Table::Document, self.barrier.tenant_id(), &mut |key, _| {
            if key.version == u64::from(kind.code()) {
                found.push(key.index);
            }
            true
        })?;
        let mut documents = Vec::with_capacity(found.len());
        for index in &found {
            // by the way of a single read, so that a rotation meanwhile does not look like damage
            let key = self.at(Table::Document, *index, kind.code().into());
            let plain = self.fetch(Place::Document { kind, index }, &key).transpose();
            documents.extend(plain.map(|plain| self.named(kind, index, &plain?)));
        }
        Ok(documents)
    }

    /// A document that was found by its index.
    fn named(&self, kind: DocumentKind, index: &[u8; 32], plain: &[u8]) -> Result<Opened, SealError> {
        let (id, content) = unframed(plain)?;
        if self.barrier.document_index(kind, id) != *index {
            return Err(SealError::Form);
        }
        Ok((id.to_owned(), Zeroizing::new(content.to_vec())))
    }

    /// Keeps several documents, or removes them, all or none. Needs no writer, and may be called by who holds it.
    ///
    /// # Errors
    /// When nothing was kept.
    pub async fn put_documents(&self, changes: Vec<DocumentChange>) -> Result<(), SealError> {
        let _sealing = self.sealing.read().await;
        let mut staged = Staged::default();
        for change in &changes {
            let content = change.content.as_ref().map(|content| content.as_slice());
            self.stage_document(&mut staged.batch, change.kind, &change.id, content)?;
        }
        drop(changes);
        self.keep(staged).await
    }

    /// Keeps one document, or removes it. Needs no writer, and may be called by who holds it.
    ///
    /// # Errors
    /// When nothing was kept.
    pub async fn put_document(&self, kind: DocumentKind, id: &str, content: Option<&[u8]>) -> Result<(), SealError> {
        let _sealing = self.sealing.read().await;
        let mut staged = Staged::default();
        self.stage_document(&mut staged.batch, kind, id, content)?;
        self.keep(staged).await
    }

    pub(super) fn stage_document(
        &self,
        batch: &mut Batch,
        kind: DocumentKind,
        id: &str,
        content: Option<&[u8]>,
    ) -> Result<(), SealError> {
        let index = self.barrier.document_index(kind, id);
        let key = self.at(Table::Document, index, kind.code().into());
        match content {
            None => batch.remove.push(key),
            Some(content) => {
                let place = Place::Document { kind, index: &index };
                let sealed = self.barrier.seal(place, Timestamp::default(), &framed(id, content))?;
                batch.put.push((key, sealed));
            }
        }
        Ok(())
    }
}

/// A document's id lies in front of what it says: the store knows it by its index only.
fn framed(id: &str, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(8 + id.len() + content.len()));
    plain.extend_from_slice(&(id.len() as u64).to_be_bytes());
    plain.extend_from_slice(id.as_bytes());
    plain.extend_from_slice(content);
    plain
}

fn unframed(plain: &[u8]) -> Result<(&str, &[u8]), SealError> {
    let (len, rest) = plain.split_first_chunk::<8>().ok_or(SealError::Form)?;
    let len = usize::try_from(u64::from_be_bytes(*len)).map_err(|_| SealError::Form)?;
    let (id, content) = rest.split_at_checked(len).ok_or(SealError::Form)?;
    Ok((std::str::from_utf8(id).map_err(|_| SealError::Form)?, content))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Barrier, KeyProvider as _, RandomKey};
    use crate::secret::Tenant;
    use crate::store::{MemoryStore, Sealed, Store};

    fn change(kind: DocumentKind, id: &str, content: Option<&str>) -> DocumentChange {
        let content = content.map(|content| Zeroizing::new(content.as_bytes().to_vec()));
        DocumentChange { kind, id: id.to_owned(), content }
    }

    #[tokio::test]
    async fn documents_change_together_and_one_that_is_damaged_hides_no_other() {
        let root = RandomKey.root_key().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let records = Records::new(Barrier::new(&root, [3; 16], &Tenant::default_tenant()), store.clone());
        let kind = DocumentKind::Token;
        let all = vec![
            change(kind, "a", Some("1")),
            change(kind, "b", Some("2")),
            change(DocumentKind::Revocation, "a", Some("")),
        ];
        records.put_documents(all).await.unwrap();
        let ids = |kind| records.documents(kind).unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!((ids(kind), ids(DocumentKind::Revocation)), (vec!["a".into(), "b".into()], vec!["a".to_owned()]));
        let changes = vec![change(kind, "a", None), change(kind, "c", Some("3"))];
        records.put_documents(changes).await.unwrap();
        assert_eq!(ids(kind), ["b", "c"]);

        let key = records.at(Table::Document, records.barrier.document_index(kind, "b"), kind.code().into());
        let sealed = Sealed(vec![1_u8; 200].into());
        store.commit(Batch { put: vec![(key, sealed)], ..Batch::default() }).await.unwrap();
        assert!(matches!(records.documents(kind), Err(SealError::Broken)));
        let (sound, damaged) = records.sound_documents(kind).unwrap();
        assert_eq!((sound.len(), sound[0].0.as_str(), damaged), (1, "c", 1));
    }

    #[test]
    fn every_kind_is_found_by_its_code() {
        for code in 1..=7 {
            assert_eq!(DocumentKind::from_code(code).map(|kind| u64::from(kind.code())), Some(code));
        }
        assert_eq!(DocumentKind::from_code(8), None);
    }
}
