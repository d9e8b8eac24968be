//! Records: committed, read, purged, damaged, found again.

use std::fs;
use std::sync::Arc;
use std::task::{Context, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Fixed, Mortal, Scratch, current, head, opened, path, put, text, unfilled};
use crate::seal::{Change, DocumentChange, DocumentKind, Head, Records, SealError, envelope};
use crate::secret::{Folder, SecretValue};
use crate::store::{Batch, Cached, FileStore, MemoryStore, RecordKey, Sealed, Store, Table};

async fn fresh() -> (Arc<dyn Store>, Records) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (_, records) = opened(&store, &Fixed(1)).await;
    (store, records)
}

/// Changes one byte of a stored record.
async fn damage(store: &Arc<dyn Store>, key: RecordKey) {
    let mut bytes = store.read(&key).unwrap().unwrap().0.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    store.commit(Batch { put: vec![(key, Sealed(bytes.into()))], ..Batch::default() }).await.unwrap();
}

fn key_of(records: &Records, table: Table, name: &str, version: u64) -> RecordKey {
    records.at(table, records.barrier.index(&path(name)), version)
}

#[tokio::test]
async fn what_is_purged_is_gone_from_store_and_index() {
    let (store, records) = fresh().await;
    put(&records, "a", 1, "v").await.unwrap();
    let writer = records.writer().await;
    let known = records.head(&path("a")).unwrap().unwrap();
    records.purge(&writer, &path("a"), &known).await.unwrap();
    assert!(records.head(&path("a")).unwrap().is_none());
    assert!(records.value(&path("a"), 1).unwrap().is_none());
    assert!(records.stored(&path("a")).is_none());
    assert!(store.is_empty().unwrap(), "not even the name is left");
}

#[tokio::test]
async fn a_store_opened_again_answers_at_once_and_lists_when_it_can() {
    let scratch = Scratch::new("reopen");
    {
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
        let (_, records) = opened(&store, &Fixed(1)).await;
        for name in ["a/one", "a/two", "b"] {
            put(&records, name, 3, name).await.unwrap();
        }
    }
    let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
    let (_, records) = unfilled(&store, &Fixed(1), "default").await;
    assert!(matches!(records.indexed(), Err(SealError::Indexing)));
    assert_eq!(current(&records, "a/two").unwrap().as_deref(), Some("a/two"));
    assert!(records.stored(&path("nothing")).is_none());
    put(&records, "a/two", 4, "newer").await.unwrap();
    let writer = records.writer().await;
    let known = records.head(&path("b")).unwrap().unwrap();
    records.purge(&writer, &path("b"), &known).await.unwrap();
    assert!(records.stored(&path("b")).is_none());
    assert_eq!(records.rebuild().unwrap(), 2);
    records.indexed().unwrap();
    assert_eq!(records.list(&Folder::parse("a").unwrap()).leaves, ["one", "two"]);
    assert_eq!(current(&records, "a/two").unwrap().as_deref(), Some("newer"));
    assert!(records.stored(&path("b")).is_none());
    assert_eq!(records.damaged(), 0);
}

#[tokio::test]
async fn a_commit_of_many_changes_is_kept_whole_or_not_at_all() {
    let memory = Arc::new(MemoryStore::default());
    let changes = |is_first: bool| {
        let value = |text: &str| SecretValue::copy_of(text.as_bytes());
        let made = Change { path: path("made"), head: Some(head(2)), values: vec![(2, value("two"))], gone: vec![] };
        let gone = Change { path: path("gone"), head: None, values: vec![], gone: vec![9] };
        let content = is_first.then(|| Zeroizing::new(b"state".to_vec()));
        (vec![made, gone], vec![DocumentChange { kind: DocumentKind::SyncState, id: "fed".to_owned(), content }])
    };
    let store: Arc<dyn Store> = memory.clone();
    let (_, records) = opened(&store, &Fixed(1)).await;
    put(&records, "gone", 1, "v").await.unwrap();
    let mortal: Arc<dyn Store> = Mortal::new(&memory, 0, false);
    let (_, failing) = opened(&mortal, &Fixed(1)).await;
    let (first, documents) = changes(true);
    let writer = failing.writer().await;
    assert!(matches!(failing.commit_all(&writer, first, documents).await, Err(SealError::Store(_))));
    assert!(failing.stored(&path("made")).is_none() && failing.stored(&path("gone")).is_some());

    let writer = records.writer().await;
    let (first, documents) = changes(true);
    records.commit_all(&writer, first, documents).await.unwrap();
    assert_eq!(current(&records, "made").unwrap().as_deref(), Some("two"));
    assert!(records.stored(&path("gone")).is_none() && records.value(&path("gone"), 1).unwrap().is_none());
    assert_eq!(records.document(DocumentKind::SyncState, "fed").unwrap().unwrap().as_slice(), b"state");
    let (again, documents) = changes(false);
    records.commit_all(&writer, again, documents).await.unwrap();
    assert!(records.document(DocumentKind::SyncState, "fed").unwrap().is_none());
}

#[tokio::test]
async fn e02_swapped_records_are_refused() {
    let (store, records) = fresh().await;
    put(&records, "a", 1, "one").await.unwrap();
    put(&records, "a", 2, "two").await.unwrap();
    put(&records, "b", 1, "other").await.unwrap();
    let swaps = [
        (key_of(&records, Table::Version, "a", 1), key_of(&records, Table::Version, "b", 1)),
        (key_of(&records, Table::Version, "a", 1), key_of(&records, Table::Version, "a", 2)),
        (key_of(&records, Table::Head, "a", 0), key_of(&records, Table::Head, "b", 0)),
        (key_of(&records, Table::Name, "a", 0), key_of(&records, Table::Name, "b", 0)),
    ];
    for (one, other) in swaps {
        let (first, second) = (store.read(&one).unwrap().unwrap(), store.read(&other).unwrap().unwrap());
        let swapped = vec![(one, second.clone()), (other, first.clone())];
        store.commit(Batch { put: swapped, ..Batch::default() }).await.unwrap();
        match one.table {
            Table::Version => {
                assert!(matches!(records.value(&path("a"), 1), Err(SealError::Broken)));
                let (name, version) = if one.index == other.index { ("a", 2) } else { ("b", 1) };
                assert!(matches!(records.value(&path(name), version), Err(SealError::Broken)));
            }
            Table::Head => assert!(matches!(records.head(&path("a")), Err(SealError::Broken))),
            _ => {
                let (_, again) = opened(&store, &Fixed(1)).await;
                assert_eq!((again.len(), again.damaged()), (0, 2));
                assert_eq!(current(&again, "a").unwrap().as_deref(), Some("two"), "found by its path");
            }
        }
        store.commit(Batch { put: vec![(one, first), (other, second)], ..Batch::default() }).await.unwrap();
    }
    assert_eq!(text(records.value(&path("a"), 1).unwrap()).as_deref(), Some("one"));
}

#[tokio::test]
async fn e01_a_damaged_secret_is_an_error_and_not_an_absence() {
    let (store, records) = fresh().await;
    for name in ["head", "name", "value", "sound"] {
        put(&records, name, 1, name).await.unwrap();
    }
    damage(&store, key_of(&records, Table::Head, "head", 0)).await;
    damage(&store, key_of(&records, Table::Name, "name", 0)).await;
    damage(&store, key_of(&records, Table::Version, "value", 1)).await;
    let (_, again) = unfilled(&store, &Fixed(1), "default").await;
    for is_filled in [false, true] {
        if is_filled {
            assert_eq!(again.rebuild().unwrap(), 3);
        }
        assert!(matches!(current(&again, "head"), Err(SealError::Broken)));
        assert!(matches!(again.head(&path("head")), Err(SealError::Broken)));
        assert!(again.stored(&path("head")).unwrap().is_damaged());
        assert!(matches!(current(&again, "value"), Err(SealError::Broken)));
        assert_eq!(current(&again, "name").unwrap().as_deref(), Some("name"), "its name is in nobody's way");
        assert_eq!(current(&again, "sound").unwrap().as_deref(), Some("sound"));
        assert!(again.stored(&path("absent")).is_none());
    }
    assert_eq!(again.damaged(), 1);
    // what is written anew is whole again, and what is purged is gone with its values
    put(&again, "name", 2, "renamed").await.unwrap();
    let writer = again.writer().await;
    let purge = Change { path: path("head"), head: None, values: vec![], gone: vec![] };
    again.commit_all(&writer, vec![purge], vec![]).await.unwrap();
    assert!(again.value(&path("head"), 1).unwrap().is_none());
    let (_, healed) = opened(&store, &Fixed(1)).await;
    assert_eq!((healed.damaged(), healed.len()), (0, 3));
    assert_eq!(current(&healed, "name").unwrap().as_deref(), Some("renamed"));
}

#[tokio::test]
async fn documents_are_apart_by_kind_and_by_id() {
    let (_, records) = fresh().await;
    let long = "x".repeat(300);
    for (kind, id, said) in [
        (DocumentKind::Run, "b", "run b"),
        (DocumentKind::Run, "a", "run a"),
        (DocumentKind::Run, long.as_str(), ""),
        (DocumentKind::Backend, "a", "backend a"),
    ] {
        records.put_document(kind, id, Some(said.as_bytes())).await.unwrap();
    }
    records.put_document(DocumentKind::Run, "a", Some(b"run a again")).await.unwrap();
    records.put_document(DocumentKind::Run, "b", None).await.unwrap();
    records.put_document(DocumentKind::Intent, "absent", None).await.unwrap();
    let runs = records.documents(DocumentKind::Run).unwrap();
    let runs: Vec<_> = runs.iter().map(|(id, said)| (id.as_str(), said.as_slice())).collect();
    assert_eq!(runs, [("a", b"run a again".as_slice()), (long.as_str(), b"".as_slice())]);
    assert_eq!(records.documents(DocumentKind::Backend).unwrap().len(), 1);
    assert!(records.document(DocumentKind::Run, "b").unwrap().is_none());
    assert!(records.documents(DocumentKind::SyncState).unwrap().is_empty());
    assert!(records.is_empty(), "a document is no secret");
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_known_all_the_same() {
    let scratch = Scratch::new("cancelled");
    let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
    let (_, records) = opened(&store, &Fixed(1)).await;
    put(&records, "a", 1, "one").await.unwrap();
    let value = SecretValue::copy_of(b"two");
    {
        let writer = records.writer().await;
        let (path, head) = (path("a"), head(2));
        let mut commit = Box::pin(records.commit(&writer, &path, &head, Some((2, &value)), &[]));
        drop(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    }
    let _writer = records.writer().await;
    assert_eq!(records.head(&path("a")).unwrap().unwrap().current, 2, "the next writer sees it");
    assert_eq!(current(&records, "a").unwrap().as_deref(), Some("two"));
}

#[tokio::test]
async fn an_evicted_secret_is_read_from_the_store() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let cached = Arc::new(Cached::new(store.clone(), 1 << 20));
    let dynamic: Arc<dyn Store> = cached.clone();
    let (_, records) = opened(&dynamic, &Fixed(1)).await;
    put(&records, "a", 1, "one").await.unwrap();
    assert_eq!(current(&records, "a").unwrap().as_deref(), Some("one"));
    assert!(cached.weight() > 0);
    records.evict(&path("a")).unwrap();
    assert_eq!(cached.weight(), 0);
    assert_eq!(current(&records, "a").unwrap().as_deref(), Some("one"));
    records.evict(&path("absent")).unwrap();
}

#[tokio::test]
async fn every_record_is_shown_with_its_stamp() {
    let (_, records) = fresh().await;
    put(&records, "a", 1, "one").await.unwrap();
    let writer = records.writer().await;
    records.commit(&writer, &path("dead"), &Head { current: 2, ..Head::default() }, None, &[]).await.unwrap();
    let mut seen = Vec::new();
    records.copies(|path, stored| seen.push((path.clone(), stored.is_tombstone(), stored.copy.is_none())));
    assert_eq!(seen, [(path("a"), false, true), (path("dead"), true, true)]);
    assert_eq!(records.scan(&Folder::root()), [path("a")]);
}

#[tokio::test]
async fn nothing_that_anyone_could_read_lies_in_the_file() {
    const VALUE: &str = "canary-value-7f3a";
    const NAME: &str = "canary-name-51bd";
    const NOTE: &str = "canary-note-90ce";
    let scratch = Scratch::new("canary");
    let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
    let (keyring, records) = unfilled(&store, &Fixed(1), "canary-tenant-4e").await;
    let mut known = head(1);
    known.metadata.insert("note".to_owned(), NOTE.to_owned());
    let value = SecretValue::copy_of(VALUE.as_bytes());
    let writer = records.writer().await;
    records.commit(&writer, &path(NAME), &known, Some((1, &value)), &[]).await.unwrap();
    drop(writer);
    records.put_document(DocumentKind::Backend, NAME, Some(NOTE.as_bytes())).await.unwrap();
    keyring.rotate_tenant(&records).await.unwrap();
    keyring.rotate_root(&Fixed(1)).await.unwrap();
    drop((keyring, records, store));
    let bytes = fs::read(scratch.file()).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"store_id"), "the scan works");
    for canary in [VALUE, NAME, NOTE, "canary-tenant-4e", "canary"] {
        let reversed: Vec<u8> = canary.bytes().rev().collect();
        let wide: Vec<u8> = canary.bytes().flat_map(|byte| [byte, 0]).collect();
        let hex = envelope::hex(canary.as_bytes());
        let coded = STANDARD.encode(canary).trim_end_matches('=').to_owned();
        for form in [canary.as_bytes(), &reversed, &wide, hex.as_bytes(), hex.to_uppercase().as_bytes()] {
            assert!(!holds(form), "{canary}");
        }
        assert!(!holds(&coded.as_bytes()[..coded.len() - 1]), "{canary} in base64");
    }
}
