//! Where a tenant's run-time tokens and revocations are kept: sealed documents of its store.

use std::sync::Arc;

use async_trait::async_trait;

use crate::identity::{Journal, JournalEntries, JournalEntry, JournalError, JournalKind};
use crate::seal::{DocumentChange, DocumentKind, Records, SealError};

/// One tenant's.
pub(super) struct StoredJournal(pub(super) Arc<Records>);

#[async_trait]
impl Journal for StoredJournal {
    fn read(&self, kind: JournalKind) -> Result<JournalEntries, JournalError> {
        match kind {
            // who is let in although revoked is worse than who has to log in again
            JournalKind::Revocation => self.0.documents(document(kind)).map_err(failed),
            JournalKind::Token => {
                let (tokens, damaged) = self.0.sound_documents(document(kind)).map_err(failed)?;
                if damaged > 0 {
                    let tenant = self.0.tenant().as_str();
                    tracing::error!(tenant, damaged, "stored tokens do not open and are not valid");
                }
                Ok(tokens)
            }
        }
    }

    async fn write(&self, entries: Vec<JournalEntry>) -> Result<(), JournalError> {
        let change = |entry: JournalEntry| {
            let JournalEntry { kind, id, content } = entry;
            DocumentChange { kind: document(kind), id, content }
        };
        self.0.put_documents(entries.into_iter().map(change).collect()).await.map_err(failed)
    }
}

const fn document(kind: JournalKind) -> DocumentKind {
    match kind {
        JournalKind::Token => DocumentKind::Token,
        JournalKind::Revocation => DocumentKind::Revocation,
    }
}

fn failed(error: SealError) -> JournalError {
    JournalError(error.to_string())
}
