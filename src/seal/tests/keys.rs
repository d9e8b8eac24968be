//! Keys: made, wrapped, rotated, lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Fixed, Mortal, current, opened, path, put, unfilled};
use crate::seal::barrier::term_of;
use crate::seal::{DocumentKind, KeyProvider, Keyring, Records, SealError, Wrapped};
use crate::secret::Tenant;
use crate::store::{Batch, MemoryStore, Sealed, Store, Table};

const NAMES: [&str; 4] = ["a", "a/b", "c/d/e", "z"];

/// Unwraps once: enough for the check before anything is written, not for the one after.
struct Forgetful(AtomicU32);

#[async_trait]
impl KeyProvider for Forgetful {
    fn kind(&self) -> &'static str {
        "fixed"
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        Fixed(9).wrap(store_id, root).await
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Fixed(9).unwrap(store_id, wrapped).await,
            _ => Err(SealError::Key("access revoked".to_owned())),
        }
    }
}

async fn filled() -> Arc<MemoryStore> {
    let memory = Arc::new(MemoryStore::default());
    let store: Arc<dyn Store> = memory.clone();
    let (_, records) = opened(&store, &Fixed(1)).await;
    for name in NAMES {
        put(&records, name, 1, name).await.unwrap();
    }
    records.put_document(DocumentKind::Intent, "one", Some(b"carry")).await.unwrap();
    memory
}

fn is_whole(records: &Records) {
    for name in NAMES {
        assert_eq!(current(records, name).unwrap().as_deref(), Some(name));
    }
    let documents = records.documents(DocumentKind::Intent).unwrap();
    let documents: Vec<_> = documents.iter().map(|(id, said)| (id.as_str(), said.as_slice())).collect();
    assert_eq!(documents, [("one", b"carry".as_slice())]);
    assert_eq!(records.len(), NAMES.len());
}

fn terms(records: &Records, store: &dyn Store) -> BTreeSet<u32> {
    let mut terms = BTreeSet::new();
    for table in Table::ALL {
        store
            .scan(table, records.barrier.tenant_id(), &mut |_, sealed| {
                terms.insert(term_of(sealed));
                true
            })
            .unwrap();
    }
    terms
}

async fn failure(store: &Arc<dyn Store>, key: &dyn KeyProvider, previous: Option<&dyn KeyProvider>) -> String {
    Keyring::open(store.clone(), key, previous).await.err().unwrap().to_string()
}

#[tokio::test]
async fn e10_a_rotated_tenant_has_one_term_and_everything_it_had() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let (keyring, records) = opened(&store, &Fixed(1)).await;
    for term in 2..4 {
        let rotation = keyring.rotate_tenant(&records).await.unwrap();
        assert_eq!((rotation.term, rotation.resealed), (term, 3 * NAMES.len() + 1));
        assert_eq!(terms(&records, &*memory), BTreeSet::from([term]));
        is_whole(&records);
        let (_, again) = opened(&store, &Fixed(1)).await;
        is_whole(&again);
    }
    assert_eq!(keyring.finish_rotation(&records).await.unwrap().resealed, 0, "nothing to take up");
}

#[tokio::test]
async fn e10_a_tenants_rotation_may_end_at_any_step() {
    for keeps_last in [false, true] {
        let mut interrupted = 0;
        for commits in 0.. {
            let memory = filled().await;
            let store: Arc<dyn Store> = memory.clone();
            let rotated = {
                let mortal: Arc<dyn Store> = Mortal::new(&memory, commits, keeps_last);
                let (keyring, records) = opened(&mortal, &Fixed(1)).await;
                let rotated = keyring.rotate_tenant(&records).await;
                is_whole(&records);
                rotated.is_ok()
            };
            let (keyring, records) = opened(&store, &Fixed(1)).await;
            is_whole(&records);
            let rotation = keyring.finish_rotation(&records).await.unwrap();
            assert_eq!(terms(&records, &*memory), BTreeSet::from([rotation.term]), "after {commits} commits");
            is_whole(&records);
            keyring.rotate_tenant(&records).await.unwrap();
            is_whole(&records);
            if rotated {
                break;
            }
            interrupted += 1;
        }
        assert!(interrupted >= 5, "only {interrupted} steps");
    }
}

#[tokio::test]
async fn e10_a_root_rotation_may_end_at_any_step() {
    for keeps_last in [false, true] {
        let mut interrupted = 0;
        for commits in 0.. {
            let memory = filled().await;
            let store: Arc<dyn Store> = memory.clone();
            let rotated = {
                let mortal: Arc<dyn Store> = Mortal::new(&memory, commits, keeps_last);
                let (keyring, records) = opened(&mortal, &Fixed(1)).await;
                let rotated = keyring.rotate_root(&Fixed(1)).await;
                is_whole(&records);
                rotated.is_ok()
            };
            let (keyring, records) = opened(&store, &Fixed(1)).await;
            is_whole(&records);
            assert!(memory.metas("next.").unwrap().is_empty(), "what was not put in force is removed");
            keyring.rotate_root(&Fixed(2)).await.unwrap();
            let (_, records) = opened(&store, &Fixed(2)).await;
            is_whole(&records);
            assert!(failure(&store, &Fixed(1), None).await.contains("sealed under key"));
            if rotated {
                break;
            }
            interrupted += 1;
        }
        assert!(interrupted >= 2, "only {interrupted} steps");
    }
}

#[tokio::test]
async fn e10_a_root_that_cannot_be_verified_is_not_put_in_force() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let (keyring, _) = opened(&store, &Fixed(1)).await;
    let error = keyring.rotate_root(&Forgetful(AtomicU32::new(0))).await.unwrap_err();
    assert_eq!(error.to_string(), "access revoked");
    assert!(memory.metas("next.").unwrap().is_empty());
    let (_, records) = opened(&store, &Fixed(1)).await;
    is_whole(&records);
    // the keyring that failed goes on with the old root
    keyring.barrier(&Tenant::parse("new").unwrap()).await.unwrap();
    keyring.rotate_root(&Fixed(1)).await.unwrap();
}

#[tokio::test]
async fn e10_secrets_are_written_while_a_tenant_is_rotated() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let (keyring, records) = opened(&store, &Fixed(1)).await;
    let (keyring, records) = (Arc::new(keyring), Arc::new(records));
    let writing = {
        let records = records.clone();
        tokio::spawn(async move {
            for version in 1..200 {
                let name = format!("w/{}", version % 7);
                put(&records, &name, version, &version.to_string()).await.unwrap();
                records.put_document(DocumentKind::Run, &name, Some(name.as_bytes())).await.unwrap();
                assert_eq!(current(&records, &name).unwrap(), Some(version.to_string()));
                tokio::task::yield_now().await;
            }
        })
    };
    for _ in 0..5 {
        keyring.rotate_tenant(&records).await.unwrap();
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    let rotation = keyring.rotate_tenant(&records).await.unwrap();
    assert_eq!(terms(&records, &*memory), BTreeSet::from([rotation.term]));
    let (_, again) = opened(&store, &Fixed(1)).await;
    for version in 193..200_u64 {
        assert_eq!(current(&again, &format!("w/{}", version % 7)).unwrap(), Some(version.to_string()));
    }
}

#[tokio::test]
async fn e10_a_record_that_does_not_open_keeps_its_term() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let (keyring, records) = opened(&store, &Fixed(1)).await;
    let key = records.at(Table::Version, records.barrier.index(&path("a")), 1);
    let mut bytes = memory.read(&key).unwrap().unwrap().0.to_vec();
    let whole = Sealed(bytes.clone().into());
    *bytes.last_mut().unwrap() ^= 1;
    store.commit(Batch { put: vec![(key, Sealed(bytes.into()))], ..Batch::default() }).await.unwrap();
    let error = keyring.rotate_tenant(&records).await.unwrap_err().to_string();
    assert!(error.starts_with("1 records do not open"), "{error}");
    assert_eq!(current(&records, "z").unwrap().as_deref(), Some("z"));
    // restored, it opens: its term is still there
    store.commit(Batch { put: vec![(key, whole)], ..Batch::default() }).await.unwrap();
    assert_eq!(keyring.finish_rotation(&records).await.unwrap().resealed, 1);
    is_whole(&records);
}

#[tokio::test]
async fn e04_a_store_whose_keys_are_wrong_or_lost_is_not_started_afresh() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let before = memory.metas("").unwrap();
    assert!(failure(&store, &Fixed(2), None).await.contains("seal.previous"));
    assert!(failure(&store, &Fixed(2), Some(&Fixed(3))).await.contains("seal.previous"));
    for lost in ["store_id", "root", "process"] {
        let whole = memory.meta(lost).unwrap();
        store.commit(Batch { meta: vec![(lost.to_owned(), None)], ..Batch::default() }).await.unwrap();
        assert!(failure(&store, &Fixed(1), None).await.contains("lost keys"), "{lost}");
        store.commit(Batch { meta: vec![(lost.to_owned(), whole)], ..Batch::default() }).await.unwrap();
    }
    for (name, whole) in memory.metas("").unwrap().into_iter().filter(|(name, _)| name != "store_id") {
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.commit(Batch { meta: vec![(name.clone(), Some(bytes))], ..Batch::default() }).await.unwrap();
        let opened = async {
            let keyring = Keyring::open(store.clone(), &Fixed(1), None).await?;
            keyring.barrier(&Tenant::default_tenant()).await
        };
        assert!(opened.await.is_err(), "{name}");
        store.commit(Batch { meta: vec![(name, Some(whole))], ..Batch::default() }).await.unwrap();
    }
    assert_eq!(memory.metas("").unwrap(), before, "nothing was replaced");

    let tenant = memory.metas("tenant.").unwrap().remove(0);
    store.commit(Batch { meta: vec![(tenant.0.clone(), None)], ..Batch::default() }).await.unwrap();
    let keyring = Keyring::open(store.clone(), &Fixed(1), None).await.unwrap();
    let error = keyring.barrier(&Tenant::default_tenant()).await.err().unwrap().to_string();
    assert!(error.contains("lost keys"), "{error}");
    store.commit(Batch { meta: vec![(tenant.0, Some(tenant.1))], ..Batch::default() }).await.unwrap();
    let (_, records) = opened(&store, &Fixed(1)).await;
    is_whole(&records);
}

#[tokio::test]
async fn a_store_is_handed_from_one_key_to_the_next() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    drop(Keyring::open(store.clone(), &Fixed(2), Some(&Fixed(1))).await.unwrap());
    // the previous key is not needed any more, and does not help any more
    let (_, records) = opened(&store, &Fixed(2)).await;
    is_whole(&records);
    assert!(failure(&store, &Fixed(1), None).await.contains("sealed under key"));
}

#[tokio::test]
async fn what_is_derived_from_a_store_outlives_its_rotations() {
    let store: Arc<dyn Store> = filled().await;
    let (keyring, records) = opened(&store, &Fixed(1)).await;
    let audit = keyring.derive("audit");
    assert_ne!(audit, keyring.derive("sessions"));
    keyring.rotate_root(&Fixed(1)).await.unwrap();
    keyring.rotate_tenant(&records).await.unwrap();
    let (again, _) = opened(&store, &Fixed(1)).await;
    assert_eq!(audit, again.derive("audit"));
    assert_eq!(keyring.store_id(), again.store_id());
    let other: Arc<dyn Store> = filled().await;
    let (other, _) = opened(&other, &Fixed(1)).await;
    assert_ne!(audit, other.derive("audit"), "another store");
}

#[tokio::test]
async fn tenants_of_one_store_see_nothing_of_each_other() {
    let memory = filled().await;
    let store: Arc<dyn Store> = memory.clone();
    let (keyring, other) = unfilled(&store, &Fixed(1), "other").await;
    other.rebuild().unwrap();
    assert!(other.is_empty());
    assert!(other.stored(&path("a")).is_none());
    assert!(other.document(DocumentKind::Intent, "one").unwrap().is_none());
    put(&other, "a", 1, "theirs").await.unwrap();
    keyring.rotate_tenant(&other).await.unwrap();
    let (_, records) = opened(&store, &Fixed(1)).await;
    is_whole(&records);
    assert_eq!(terms(&records, &*memory), BTreeSet::from([1]));
    // e02: a record of one tenant in the place of the other's
    let (mine, theirs) = (
        records.at(Table::Version, records.barrier.index(&path("a")), 1),
        other.at(Table::Version, other.barrier.index(&path("a")), 1),
    );
    let (one, two) = (memory.read(&mine).unwrap().unwrap(), memory.read(&theirs).unwrap().unwrap());
    store.commit(Batch { put: vec![(mine, two), (theirs, one)], ..Batch::default() }).await.unwrap();
    assert!(matches!(current(&records, "a"), Err(SealError::Broken)));
    assert!(matches!(current(&other, "a"), Err(SealError::Broken)));
}
