//! What stores promise, and what they do when the disk or another process does not play along.

mod compact;
mod contract;
mod crash;
mod damage;
pub(crate) mod disk;
mod file;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::{RecordKey, Sealed, Table};

/// A directory of its own for one test, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("scaivault-{name}-{}", ulid::Ulid::new()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// In a directory that does not exist yet.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store/store.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The methods of [`Store`](super::Store) that a store of a test's own leaves to its `inner`: all but `read` and `commit`.
macro_rules! leaves_the_rest_to_inner {
    () => {
        fn scan(
            &self,
            table: $crate::store::Table,
            tenant: &[u8; 16],
            visit: &mut dyn FnMut(&$crate::store::RecordKey, &$crate::store::Sealed) -> bool,
        ) -> Result<(), $crate::store::StoreError> {
            self.inner.scan(table, tenant, visit)
        }

        fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, $crate::store::StoreError> {
            self.inner.meta(key)
        }

        fn metas(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, $crate::store::StoreError> {
            self.inner.metas(prefix)
        }

        fn is_empty(&self) -> Result<bool, $crate::store::StoreError> {
            self.inner.is_empty()
        }
    };
}
pub(crate) use leaves_the_rest_to_inner;

fn key(table: Table, tenant: u8, index: u8, version: u64) -> RecordKey {
    RecordKey { table, tenant: [tenant; 16], index: [index; 32], version }
}

fn sealed(text: &str) -> Sealed {
    Sealed(Arc::from(text.as_bytes()))
}
