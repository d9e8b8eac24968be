//! What becomes of a file that somebody changed: it is refused, or everything in it is still right.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::{Scratch, key, sealed};
use crate::store::{Batch, FileStore, RecordKey, Sealed, Store, StoreError, Table};

/// Offsets tried in the body of the file; all of the header's are.
const STEPS: usize = 250;
const HEADER: usize = 320;

fn records() -> Vec<(RecordKey, Sealed)> {
    Table::ALL
        .into_iter()
        .flat_map(|table| (0..4).map(move |index| (table, index)))
        .map(|(table, index)| (key(table, 1, index, 1), sealed(&format!("{table:?} {index}").repeat(20))))
        .collect()
}

/// A store with these records, closed, as bytes.
async fn image(name: &str) -> Vec<u8> {
    let scratch = Scratch::new(name);
    let store = FileStore::open(&scratch.file()).unwrap();
    store.commit(Batch { put: records(), ..Batch::default() }).await.unwrap();
    // both commit slots hold everything: going back by one commit loses nothing
    store.commit(Batch { put: records(), ..Batch::default() }).await.unwrap();
    drop(store);
    fs::read(scratch.file()).unwrap()
}

fn opened(bytes: &[u8]) -> Result<FileStore, StoreError> {
    let memory = InMemoryBackend::new();
    StorageBackend::set_len(&memory, bytes.len() as u64).unwrap();
    StorageBackend::write(&memory, 0, bytes).unwrap();
    FileStore::over(Path::new("/damaged/store.redb"), memory, false)
}

/// `Err` names what was wrong with the outcome, not with the file.
fn outcome(bytes: &[u8]) -> Result<bool, String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let Ok(store) = opened(bytes) else { return Ok(false) };
        for (key, expected) in records() {
            match store.read(&key) {
                Ok(Some(found)) if found == expected => {}
                Ok(other) => return Err(format!("{key:?} reads as {other:?}")),
                Err(_) => {}
            }
        }
        Ok(true)
    }));
    tried.unwrap_or_else(|_| Err("a panic".to_owned()))
}

#[tokio::test]
async fn e01_a_flipped_byte_is_refused_or_harms_nothing() {
    let image = image("e01").await;
    assert_eq!(outcome(&image), Ok(true), "untouched");
    let stride = (image.len() / STEPS).max(1) | 1;
    let offsets = (0..HEADER).chain((HEADER..image.len()).step_by(stride));
    let mut refused = 0;
    for offset in offsets {
        let mut bytes = image.clone();
        bytes[offset] ^= 0x41;
        match outcome(&bytes) {
            Ok(true) => {}
            Ok(false) => refused += 1,
            Err(what) => panic!("byte {offset}: {what}"),
        }
    }
    assert!(refused > 5, "only {refused} flips were noticed");
}

#[tokio::test]
async fn e04_a_torn_file_is_refused_or_whole() {
    let image = image("e04-torn").await;
    for len in (1..image.len()).step_by((image.len() / 40).max(1)) {
        assert!(outcome(&image[..len]).is_ok(), "cut at {len}");
        let mut zeroed = image.clone();
        zeroed[len..].fill(0);
        assert!(outcome(&zeroed).is_ok(), "zeros from {len}");
        let mut hole = image.clone();
        let end = (len + 4096).min(image.len());
        hole[len..end].fill(0);
        assert!(outcome(&hole).is_ok(), "zeros from {len} to {end}");
    }
    let mut longer = image.clone();
    longer.extend([0x5a; 5000]);
    assert!(outcome(&longer).is_ok());
}

#[test]
fn e04_a_damaged_file_is_never_recreated() {
    let scratch = Scratch::new("e04-kept");
    let path = scratch.file();
    drop(FileStore::open(&path).unwrap());
    let whole = fs::read(&path).unwrap();
    let mut magic = whole.clone();
    magic[0] ^= 0xff;
    let contents: [&[u8]; 5] = [b"", b"r", &[0; 8192], &magic, &whole[..512]];
    for content in contents {
        fs::write(&path, content).unwrap();
        let error = FileStore::open(&path).err();
        assert!(matches!(error, Some(StoreError::Broken { .. })), "{} bytes: {error:?}", content.len());
        assert_eq!(fs::read(&path).unwrap(), content, "left as it was");
    }
}
