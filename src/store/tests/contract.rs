//! The one suite that every store passes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::{Scratch, key, sealed};
use crate::store::{Batch, Cached, FileStore, MemoryStore, RecordKey, Sealed, Store, Table};

fn put(records: &[(RecordKey, &str)]) -> Batch {
    let put = records.iter().map(|(key, text)| (*key, sealed(text))).collect();
    Batch { put, ..Batch::default() }
}

async fn keeps_records(store: &dyn Store) {
    let head = key(Table::Head, 1, 1, 0);
    let one = key(Table::Version, 1, 1, 1);
    assert!(store.is_empty().unwrap());
    assert_eq!(store.read(&head).unwrap(), None);
    store.commit(put(&[(head, "head"), (one, "one")])).await.unwrap();
    assert!(!store.is_empty().unwrap());
    assert_eq!(store.read(&one).unwrap(), Some(sealed("one")));
    // a key is all of its parts
    for other in [
        key(Table::Version, 2, 1, 1),
        key(Table::Version, 1, 2, 1),
        key(Table::Version, 1, 1, 2),
        key(Table::Head, 1, 1, 1),
        key(Table::Name, 1, 1, 0),
        key(Table::Document, 1, 1, 0),
    ] {
        assert_eq!(store.read(&other).unwrap(), None, "{other:?}");
    }
    let mut change = put(&[(one, "uno"), (key(Table::Version, 1, 1, 2), "two")]);
    // what is removed and put in one batch is there; what is not there is removed all the same
    change.remove = vec![one, head, key(Table::Name, 9, 9, 9)];
    store.commit(change).await.unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(sealed("uno")));
    assert_eq!(store.read(&head).unwrap(), None);
    store.evict(&one);
    assert_eq!(store.read(&one).unwrap(), Some(sealed("uno")), "evicted is not removed");
    let long = "long".repeat(1 << 18);
    store.commit(put(&[(one, ""), (head, &long)])).await.unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(sealed("")));
    assert_eq!(store.read(&head).unwrap(), Some(sealed(&long)));
    store.commit(Batch::default()).await.unwrap();
}

async fn shows_each_tenant_its_own(store: &dyn Store) {
    let records: Vec<(RecordKey, &str)> = [Table::Name, Table::Document]
        .into_iter()
        .flat_map(|table| (0..=255).step_by(51).map(move |tenant| (table, tenant)))
        .flat_map(|(table, tenant)| (0..3).map(move |index| (key(table, tenant, index, u64::from(index)), "x")))
        .collect();
    store.commit(put(&records)).await.unwrap();
    for tenant in [0, 102, 255] {
        let mut seen = BTreeSet::new();
        store
            .scan(Table::Name, &[tenant; 16], &mut |key, sealed| {
                assert_eq!(store.read(key).unwrap().as_ref(), Some(sealed), "a visit may read");
                assert!(seen.insert(*key));
                true
            })
            .unwrap();
        let expected = (0..3).map(|index| key(Table::Name, tenant, index, u64::from(index))).collect();
        assert_eq!(seen, expected);
    }
    let mut seen = 0;
    store
        .scan(Table::Document, &[0; 16], &mut |_, _| {
            seen += 1;
            false
        })
        .unwrap();
    assert_eq!(seen, 1, "a visit that says no is the last one");
}

async fn keeps_entries(store: &dyn Store) {
    let meta = |key: &str, value: Option<&str>| (key.to_owned(), value.map(|value| value.as_bytes().to_vec()));
    let entries = vec![meta("t.b", Some("2")), meta("t.a", Some("1")), meta("u", Some("3")), meta("t", Some("0"))];
    store.commit(Batch { meta: entries, ..Batch::default() }).await.unwrap();
    assert_eq!(store.meta("t.a").unwrap().as_deref(), Some(b"1".as_slice()));
    let found: Vec<String> = store.metas("t.").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, ["t.a", "t.b"]);
    let entries = vec![meta("t.a", None), meta("absent", None), meta("t.b", Some("two"))];
    store.commit(Batch { meta: entries, ..Batch::default() }).await.unwrap();
    assert_eq!(store.meta("t.a").unwrap(), None);
    assert_eq!(store.metas("t.").unwrap(), [("t.b".to_owned(), b"two".to_vec())]);
}

async fn tells_once_visible(store: &Arc<dyn Store>) {
    let place = key(Table::Version, 7, 7, 7);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut batch = put(&[(place, "seen")]);
    for step in ["outer", "inner"] {
        let order = order.clone();
        batch.then.push(move || order.lock().unwrap().push(step));
    }
    store.commit(batch).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["inner", "outer"]);
    // nobody waits, and it happens all the same
    let told = Arc::new(AtomicU32::new(0));
    let mut batch = put(&[(place, "later")]);
    let tell = told.clone();
    batch.then.push(move || {
        tell.fetch_add(1, Ordering::SeqCst);
    });
    let mut commit = store.commit(batch);
    let waker = std::task::Waker::noop();
    drop(commit.as_mut().poll(&mut std::task::Context::from_waker(waker)));
    drop(commit);
    store.commit(Batch::default()).await.unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 1, "an empty batch waits for those before it");
    assert_eq!(store.read(&place).unwrap(), Some(sealed("later")));
}

/// A reader sees all of a batch or nothing of it.
fn is_atomic(store: &dyn Store, rounds: u32) {
    let place = |index: u8| key(Table::Version, 3, index, 1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for round in 0..rounds {
                let value = Sealed(Arc::from(round.to_be_bytes().as_slice()));
                let put = vec![(place(1), value.clone()), (place(2), value)];
                runtime.block_on(store.commit(Batch { put, ..Batch::default() })).unwrap();
            }
        });
        while !writer.is_finished() {
            // read in the order in which a torn batch would show the first without the second
            let (second, first) = (store.read(&place(2)).unwrap(), store.read(&place(1)).unwrap());
            let bytes = |found: Option<Sealed>| found.map(|found| found.0.to_vec());
            assert!(bytes(first) >= bytes(second), "half a batch was seen");
        }
    });
}

async fn keeps_the_contract(store: Arc<dyn Store>, rounds: u32) {
    keeps_records(&*store).await;
    shows_each_tenant_its_own(&*store).await;
    keeps_entries(&*store).await;
    tells_once_visible(&store).await;
    is_atomic(&*store, rounds);
}

#[tokio::test]
async fn a_memory_store_keeps_the_contract() {
    keeps_the_contract(Arc::new(MemoryStore::default()), 2_000).await;
}

#[tokio::test]
async fn a_file_store_keeps_the_contract() {
    let scratch = Scratch::new("contract");
    keeps_the_contract(Arc::new(FileStore::open(&scratch.file()).unwrap()), 50).await;
}

#[tokio::test]
async fn a_cached_store_keeps_the_contract() {
    for bytes in [0, 1 << 20] {
        keeps_the_contract(Arc::new(Cached::new(Arc::new(MemoryStore::default()), bytes)), 2_000).await;
    }
    let scratch = Scratch::new("contract-cached");
    let file = Arc::new(FileStore::open(&scratch.file()).unwrap());
    keeps_the_contract(Arc::new(Cached::new(file, 1 << 20)), 50).await;
}
