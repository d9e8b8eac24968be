//! Sealing a tenant's records again under its active term, a few at a time, while calls go on.
//!
//! INVARIANT: a record changes only between the commits of others, is opened again before it replaces what it was made
//! of, and keeps its place and its time.

use std::collections::HashMap;

use super::barrier::term_of;
use super::commit::Staged;
use super::{DocumentKind, Place, Records, SealError};
use crate::secret::SecretPath;
use crate::store::{RecordKey, Sealed, Table};

const BATCH: usize = 64;
const BATCH_BYTES: usize = 4 << 20;

type Names = HashMap<[u8; 32], SecretPath>;

impl Records {
    /// Seals again every record of an older term that opens; yields how many.
    pub(super) async fn reseal(&self) -> Result<usize, SealError> {
        let names = self.names()?;
        let mut resealed = 0;
        for table in Table::ALL {
            let stale = self.stale(table)?;
            let mut rest = stale.as_slice();
            while !rest.is_empty() {
                let (done, kept) = self.reseal_some(rest, &names).await?;
                resealed += kept;
                rest = rest.get(done..).unwrap_or_default();
            }
        }
        Ok(resealed)
    }

    /// Where the records of older terms lie.
    pub(super) fn stale(&self, table: Table) -> Result<Vec<RecordKey>, SealError> {
        let active = self.barrier.active_term();
        let mut stale = Vec::new();
        self.store.scan(table, self.barrier.tenant_id(), &mut |key, sealed| {
            if term_of(sealed) != active {
                stale.push(*key);
            }
            true
        })?;
        Ok(stale)
    }

    /// Takes the first few of `keys`; yields how many it took and how many of them it sealed again.
    async fn reseal_some(&self, keys: &[RecordKey], names: &Names) -> Result<(usize, usize), SealError> {
        let _writer = self.writer().await;
        let _sealing = self.sealing.write().await;
        self.finish_commits().await;
        let mut staged = Staged::default();
        let (mut done, mut bytes) = (0, 0);
        for key in keys {
            if done == BATCH || bytes >= BATCH_BYTES {
                break;
            }
            done += 1;
            // gone meanwhile, written meanwhile, or damaged: what is left in the end is counted by who asked for this
            let Some(sealed) = self.store.read(key)? else { continue };
            let Some(again) = self.sealed_again(key, &sealed, names)? else { continue };
            bytes += again.0.len();
            staged.batch.put.push((*key, again));
        }
        let kept = staged.batch.put.len();
        self.keep(staged).await?;
        Ok((done, kept))
    }

    fn sealed_again(&self, key: &RecordKey, sealed: &Sealed, names: &Names) -> Result<Option<Sealed>, SealError> {
        if term_of(sealed) == self.barrier.active_term() {
            return Ok(None);
        }
        let Some(place) = place_of(key, names) else { return Ok(None) };
        let Ok((plain, at)) = self.barrier.open(place, sealed) else { return Ok(None) };
        let again = self.barrier.seal(place, at, &plain)?;
        let (check, _) = self.barrier.open(place, &again)?;
        if check == plain { Ok(Some(again)) } else { Err(SealError::Broken) }
    }
}

/// `None` for a record whose secret has no readable name.
fn place_of<'a>(key: &'a RecordKey, names: &'a Names) -> Option<Place<'a>> {
    let path = names.get(&key.index);
    match key.table {
        Table::Head => path.map(|path| Place::Head { path }),
        Table::Version => path.map(|path| Place::Value { path, version: key.version }),
        Table::Name => Some(Place::Name { index: &key.index }),
        Table::Document => DocumentKind::from_code(key.version).map(|kind| Place::Document { kind, index: &key.index }),
    }
}
