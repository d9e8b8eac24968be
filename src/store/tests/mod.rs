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
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("scaivault-store-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// In a directory that does not exist yet.
    fn file(&self) -> PathBuf {
        self.0.join("store/store.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn key(table: Table, tenant: u8, index: u8, version: u64) -> RecordKey {
    RecordKey { table, tenant: [tenant; 16], index: [index; 32], version }
}

fn sealed(text: &str) -> Sealed {
    Sealed(Arc::from(text.as_bytes()))
}
