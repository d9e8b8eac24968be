//! The file itself: who may have it, what it survives, what it refuses.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::{Scratch, key, sealed};
use crate::store::{Batch, FileStore, Store, StoreError, Table};

fn one(text: &str) -> Batch {
    Batch { put: vec![(key(Table::Head, 1, 1, 0), sealed(text))], ..Batch::default() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_store_is_opened_again() {
    let scratch = Scratch::new("reopen");
    for round in 0..3 {
        let store = FileStore::open(&scratch.file()).unwrap();
        if round > 0 {
            let expected = sealed(&(round - 1).to_string());
            assert_eq!(store.read(&key(Table::Head, 1, 1, 0)).unwrap(), Some(expected));
        }
        let mut batch = one(&round.to_string());
        batch.meta.push(("round".to_owned(), Some(vec![round])));
        store.commit(batch).await.unwrap();
        assert_eq!(store.meta("round").unwrap(), Some(vec![round]));
    }
    let left: Vec<_> = fs::read_dir(scratch.file().parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the store: {left:?}");
}

#[test]
fn e05_only_its_owner_may_look_at_a_store() {
    let scratch = Scratch::new("e05-modes");
    let path = scratch.file();
    drop(FileStore::open(&path).unwrap());
    let directory = path.parent().unwrap();
    assert_eq!((mode(&path), mode(directory)), (0o600, 0o700));
    for (place, bits) in [(&*path, 0o604), (directory, 0o701), (directory, 0o707)] {
        let before = mode(place);
        allow(place, bits);
        let refused = FileStore::open(&path).unwrap_err();
        assert!(matches!(&refused, StoreError::Exposed { mode, .. } if mode & 0o777 == bits), "{refused}");
        allow(place, before);
    }
    allow(&path, 0o660);
    allow(directory, 0o770);
    FileStore::open(&path).unwrap();
}

#[test]
fn e05_a_second_open_is_refused_while_the_first_lasts() {
    let scratch = Scratch::new("e05-twice");
    let first = FileStore::open(&scratch.file()).unwrap();
    let refused = FileStore::open(&scratch.file()).unwrap_err();
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused}");
    assert!(refused.to_string().contains("store.redb"));
    drop(first);
    FileStore::open(&scratch.file()).unwrap();
}

#[test]
fn e05_a_place_that_cannot_hold_a_store_is_named() {
    let scratch = Scratch::new("e05-place");
    let file = scratch.0.join("file");
    fs::write(&file, "x").unwrap();
    allow(&scratch.0, 0o700);
    allow(&file, 0o600);
    let refused = FileStore::open(&file.join("store.redb")).unwrap_err();
    assert!(matches!(&refused, StoreError::Io { path, .. } if path.contains("file")), "{refused}");
    let refused = FileStore::open(&scratch.0).unwrap_err();
    assert!(matches!(refused, StoreError::Exposed { .. } | StoreError::Io { .. }), "{refused}");
    let link = scratch.0.join("link");
    std::os::unix::fs::symlink(scratch.0.join("nowhere"), &link).unwrap();
    let refused = FileStore::open(&link).unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
}

#[test]
fn e04_a_newer_format_is_refused_and_a_file_of_another_program_too() {
    let scratch = Scratch::new("e04-format");
    let path = scratch.file();
    drop(FileStore::open(&path).unwrap());
    let meta: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
    let set = |key: &str, value: &str| {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(meta).unwrap().insert(key, value.as_bytes()).unwrap();
        transaction.commit().unwrap();
    };
    // a newer writer that this release can still read
    set("format", "7");
    FileStore::open(&path).unwrap();
    set("readable_by", "2");
    let before = fs::read(&path).unwrap();
    let refused = FileStore::open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { format: 2, known: 1, .. }), "{refused}");
    assert!(fs::read(&path).unwrap() == before, "a refused open changed the file");
    set("readable_by", "first");
    assert!(matches!(FileStore::open(&path), Err(StoreError::Broken { .. })));

    let other = path.with_file_name("other.redb");
    drop(redb::Database::create(&other).unwrap());
    allow(&other, 0o600);
    let refused = FileStore::open(&other).unwrap_err();
    assert!(matches!(refused, StoreError::Broken { .. }), "{refused}");
}

/// A disk that refuses to write when told so.
#[derive(Debug)]
struct Disk {
    bytes: InMemoryBackend,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(&self.bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&self.bytes, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        StorageBackend::set_len(&self.bytes, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        StorageBackend::write(&self.bytes, offset, data)
    }
}

#[tokio::test]
async fn e09_nothing_is_written_after_a_commit_that_failed() {
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = Disk { bytes: InMemoryBackend::new(), is_full: is_full.clone() };
    let store = FileStore::over(Path::new("/disk/store.redb"), disk, true).unwrap();
    store.commit(one("kept")).await.unwrap();
    assert!(store.takes_writes());
    is_full.store(true, Ordering::SeqCst);
    let told = Arc::new(AtomicU32::new(0));
    let mut lost = one("lost");
    let tell = told.clone();
    lost.then.push(move || {
        tell.fetch_add(1, Ordering::SeqCst);
    });
    let refused = store.commit(lost).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Io { path, .. } if path == "/disk/store.redb"), "{refused}");
    assert!(!store.takes_writes());
    is_full.store(false, Ordering::SeqCst);
    for batch in [one("later"), Batch::default()] {
        assert_eq!(store.commit(batch).await, Err(StoreError::Closed));
    }
    assert_eq!(told.load(Ordering::SeqCst), 0);
    // what was acknowledged is read on
    assert_eq!(store.read(&key(Table::Head, 1, 1, 0)), Ok(Some(sealed("kept"))));
}

#[tokio::test]
async fn batches_that_wait_together_are_all_kept() {
    let scratch = Scratch::new("group");
    let store = Arc::new(FileStore::open(&scratch.file()).unwrap());
    let mut tasks = Vec::new();
    for index in 0..200 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let put = vec![(key(Table::Version, 1, index, 1), sealed(&index.to_string()))];
            store.commit(Batch { put, ..Batch::default() }).await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for index in 0..200 {
        let found = store.read(&key(Table::Version, 1, index, 1)).unwrap();
        assert_eq!(found, Some(sealed(&index.to_string())));
    }
}
