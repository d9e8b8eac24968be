//! What a restart must find again: where run-time tokens and revocations are written down, and what is still to be.
//!
//! The tables in memory decide; a journal follows them. Whoever changes a table notes what changed, and whoever must not
//! answer before that is durable waits for [`super::Sessions::settled`]. What is written is what the table says at that
//! moment, by one writer a tenant at a time: a change that is noted later is written later, so nothing that ended comes
//! back.
//!
//! Knows no store: the composition root gives each tenant's journal.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use thiserror::Error;
use zeroize::Zeroizing;

use super::digest::Digest;
use crate::secret::Tenant;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JournalKind {
    /// A run-time token, named by the keyed hash of its value.
    Token,
    /// A revoked principal, by its name.
    Revocation,
}

/// What is to be known of one token or principal from now on.
pub struct JournalEntry {
    /// What it is about.
    pub kind: JournalKind,
    /// Its name within its kind; never a credential.
    pub id: String,
    /// What is known of it; `None` forgets it.
    pub content: Option<Zeroizing<Vec<u8>>>,
}

/// Entries as they are read: the id of each, and what is known of it.
pub type JournalEntries = Vec<(String, Zeroizing<Vec<u8>>)>;

/// Why a journal was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// Where one tenant's entries lie. Everything in it is sealed and bound to the tenant by whoever provides it.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Every entry of a kind. Asked once, before the tenant is served; may block.
    ///
    /// # Errors
    /// When entries cannot be read. A revocation that cannot be read is always an error: it would be lifted.
    fn read(&self, kind: JournalKind) -> Result<JournalEntries, JournalError>;

    /// Keeps all of it, durably, or nothing. Never called again before it returned or was dropped; what was dropped
    /// half-way must not take effect after a later call.
    ///
    /// # Errors
    /// When nothing was kept.
    async fn write(&self, entries: Vec<JournalEntry>) -> Result<(), JournalError>;
}

/// Something of a table that is to be written down.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    Token(Digest),
    Principal(Box<str>),
}

/// The journals of all tenants that have one.
#[derive(Default)]
pub(super) struct Ledger(Mutex<HashMap<Tenant, Arc<Page>>>);

impl Ledger {
    /// Gives a tenant its journal; `marks` is what is to be written first.
    pub(super) fn open(&self, tenant: &Tenant, journal: Arc<dyn Journal>, marks: HashSet<Mark>) {
        let page = Page { journal, marks: Mutex::new(marks), turn: tokio::sync::Mutex::default() };
        locked(&self.0).insert(tenant.clone(), Arc::new(page));
    }

    /// The journal of a tenant; `None` if what it has ends with the process.
    pub(super) fn page(&self, tenant: &Tenant) -> Option<Arc<Page>> {
        locked(&self.0).get(tenant).map(Arc::clone)
    }

    /// Notes that something changed. To be called after it did.
    pub(super) fn mark(&self, tenant: &Tenant, mark: Mark) {
        if let Some(page) = self.page(tenant) {
            locked(&page.marks).insert(mark);
        }
    }
}

/// One tenant's journal and what is not in it yet.
pub(super) struct Page {
    pub(super) journal: Arc<dyn Journal>,
    marks: Mutex<HashSet<Mark>>,
    /// Held while entries are written: one writer at a time, in the order they asked.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Page {
    /// Everything to be written, until it is.
    pub(super) fn take(&self) -> Taken<'_> {
        Taken { page: self, marks: std::mem::take(&mut *locked(&self.marks)) }
    }
}

/// Marks on their way into the journal. Dropped before they are, they are to be written again.
pub(super) struct Taken<'a> {
    page: &'a Page,
    marks: HashSet<Mark>,
}

impl Taken<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn written(mut self) {
        self.marks.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.marks.is_empty() {
            locked(&self.page.marks).extend(self.marks.drain());
        }
    }
}

// A panic while a lock is held leaves whole entries behind, never half ones: the data stays usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
