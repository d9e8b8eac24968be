//! Room in a store's file: how much of it holds nothing, and giving that back while nobody uses the file.

use std::fs;
use std::path::Path;

use redb::{Builder, Database, StorageBackend};

use super::file::{PAGE_CACHE, backend, failure, store_io, unopened};
use super::{FileStore, StoreError, place};

/// A smaller file is left as it is.
const WORTH: u64 = 16 << 20;
/// More than this is not moved while somebody waits for the start: it bounds the time.
const MOST: u64 = 1 << 30;

/// How long a file is and how much of it is in use; in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    file: u64,
    used: u64,
}

impl Room {
    /// Looks at every page of a file that is large enough to matter.
    pub(super) fn of(database: &Database, file: u64) -> Result<Self, redb::Error> {
        if file <= WORTH {
            return Ok(Self { file, used: file });
        }
        let transaction = database.begin_write()?;
        let stats = transaction.stats()?;
        transaction.abort()?;
        Ok(Self { file, used: stats.allocated_pages().saturating_mul(stats.page_size() as u64) })
    }

    pub(super) const fn is_loose(&self) -> bool {
        self.file > WORTH && self.used < self.file / 2 && self.used <= MOST
    }
}

impl FileStore {
    /// Moves what a store holds to the front of its file and gives the rest back. Nobody may have it open. A crash on the
    /// way leaves everything in it. Yields the length before and after, in bytes.
    ///
    /// # Errors
    /// When the file is in use, or cannot be read and written. What it holds is then still in it.
    pub fn compact(path: &Path) -> Result<(u64, u64), StoreError> {
        let file = place::existing(path)?.ok_or_else(|| store_io(path, "it is not there any more"))?;
        let len = || fs::metadata(path).map(|found| found.len()).map_err(|error| place::refused(path, &error));
        let before = len()?;
        tighten(path, backend(path, file)?)?;
        Ok((before, len()?))
    }
}

/// The work of [`FileStore::compact`]. A write that fails ends it: nothing is held back here.
pub(super) fn tighten(path: &Path, storage: impl StorageBackend) -> Result<(), StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(PAGE_CACHE);
    let mut database = builder.create_with_backend(storage).map_err(|error| unopened(path, error))?;
    database.compact().map_err(|error| failure(path, error.into()))?;
    database.close().map_err(|error| unopened(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_file_that_is_mostly_free_and_holds_not_too_much_is_loose() {
        let is_loose = |file, used| Room { file, used }.is_loose();
        assert!(is_loose(WORTH + 2, WORTH / 2));
        assert!(!is_loose(WORTH, 0), "small");
        assert!(!is_loose(64 << 20, 32 << 20), "half of it is in use");
        assert!(is_loose(8 << 30, 1 << 30) && !is_loose(8 << 30, (1 << 30) + 4096), "too much to move");
    }
}
