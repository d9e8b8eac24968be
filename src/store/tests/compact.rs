//! A large file that holds little.

use std::fs;

use super::{Scratch, key, sealed};
use crate::store::{Batch, FileStore, Store, StoreError, Table};

/// Records of a page of 64 KiB each.
const RECORDS: u64 = 400;
const LEN: usize = 60_000;
const KEPT: u64 = 5;

#[tokio::test]
async fn a_large_file_that_is_mostly_free_is_made_smaller_and_keeps_what_it_holds() {
    let scratch = Scratch::new("compact");
    let path = scratch.file();
    let store = FileStore::open(&path).unwrap();
    let at = |number: u64| key(Table::Version, 1, 1, number);
    let value = |number: u64| sealed(&char::from(b'a' + (number % 26) as u8).to_string().repeat(LEN));
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        let put = numbers.iter().map(|number| (at(*number), value(*number))).collect();
        store.commit(Batch { put, ..Batch::default() }).await.unwrap();
    }
    let remove = (0..RECORDS).filter(|number| number % KEPT != 0).map(at).collect();
    store.commit(Batch { remove, ..Batch::default() }).await.unwrap();
    assert!(matches!(FileStore::compact(&path), Err(StoreError::Busy { .. })), "it is in use");
    drop(store);

    let store = FileStore::open(&path).unwrap();
    assert!(store.is_loose(), "{} bytes", fs::metadata(&path).unwrap().len());
    drop(store);
    let (before, after) = FileStore::compact(&path).unwrap();
    assert!(after < before / 2, "{before} bytes became {after}");
    assert_eq!(fs::metadata(&path).unwrap().len(), after);
    let store = FileStore::open(&path).unwrap();
    assert!(!store.is_loose());
    for number in 0..RECORDS {
        let expected = (number % KEPT == 0).then(|| value(number));
        assert!(store.read(&at(number)).unwrap() == expected, "record {number}");
    }
    store.commit(Batch { put: vec![(at(1), value(1))], ..Batch::default() }).await.unwrap();
}

#[test]
fn what_is_not_there_is_not_compacted_into_being() {
    let scratch = Scratch::new("compact-nothing");
    let path = scratch.file();
    assert!(matches!(FileStore::compact(&path), Err(StoreError::Io { .. })));
    assert!(!path.exists());
}
