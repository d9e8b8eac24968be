//! Secrets through crashes: whatever reached the disk, every record opens, what was acknowledged is there, and a change is
//! there whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Fixed, Scratch, current, opened, path, put, text};
use crate::seal::{
    Agreed, Change, DocumentChange, DocumentKind, Head, HeadVersion, KeyProvider, Keyring, Origin, Records, RemoteMark,
};
use crate::secret::{SecretValue, Tenant};
use crate::store::tests::disk::{Cut, Disk, Film};
use crate::store::{FileStore, RecordKey, Sealed, Store, Table};

const STEPS: u64 = 15;

/// A secret's head and the values it has.
type Secret = (Head, BTreeMap<u64, String>);
/// Every secret by path, every intent by its name.
type Contents = (BTreeMap<String, Secret>, BTreeMap<String, Vec<u8>>);

/// Opens everything there is; panics if something does not open, or if what counts and lists disagree.
fn contents(records: &Records) -> Contents {
    let mut paths = Vec::new();
    records.copies(|path, _| paths.push(path.clone()));
    let (mut secrets, mut values_kept) = (BTreeMap::new(), 0);
    for path in &paths {
        let head = records.head(path).unwrap().unwrap();
        let mut values = BTreeMap::new();
        for (number, version) in &head.versions {
            let value = text(records.value(path, *number).unwrap());
            assert_eq!(value.is_some(), version.held && !version.destroyed, "{path:?} {number}");
            values.extend(value.map(|value| (*number, value)));
        }
        values_kept += values.len();
        secrets.insert(path.as_str().to_owned(), (head, values));
    }
    let mut found = BTreeMap::new();
    for table in Table::ALL {
        let mut visit = |_: &RecordKey, _: &Sealed| {
            *found.entry(table).or_insert(0_usize) += 1;
            true
        };
        records.store.scan(table, records.barrier.tenant_id(), &mut visit).unwrap();
    }
    let documents = records.documents(DocumentKind::Intent).unwrap();
    let intents: BTreeMap<_, _> = documents.into_iter().map(|(id, said)| (id, said.to_vec())).collect();
    let count = |table: Table| found.get(&table).copied().unwrap_or(0);
    assert_eq!(count(Table::Head), secrets.len());
    assert_eq!(count(Table::Name), secrets.len());
    assert_eq!(count(Table::Version), values_kept, "a value without a head");
    assert_eq!(count(Table::Document), intents.len());
    assert_eq!((records.len(), records.damaged()), (secrets.len(), 0));
    (secrets, intents)
}

/// Writes the next version of a secret and lets go of all but the last three.
async fn write(records: &Records, name: &str, at: u64) {
    let writer = records.writer().await;
    let mut head = records.head(&path(name)).unwrap().unwrap_or_default();
    let number = head.next();
    let version = HeadVersion { created: at, secret_type: "text".to_owned(), ..HeadVersion::default() };
    head.versions.insert(number, version);
    (head.current, head.updated) = (number, at);
    let gone: Vec<u64> = head.versions.keys().copied().filter(|old| old + 3 <= number).collect();
    head.versions.retain(|old, _| !gone.contains(old));
    let value = SecretValue::copy_of(format!("{name} {at} ").repeat(20).as_bytes());
    records.commit(&writer, &path(name), &head, Some((number, &value)), &gone).await.unwrap();
}

/// A copy of a remote secret, and the intent that it settles.
async fn copy(records: &Records, name: &str, at: u64) {
    let remote = RemoteMark { version: at, native: None, readable: true, digest: format!("digest {at}") };
    let agreed = Agreed { local: format!("print {at}"), local_version: at, remote, at };
    let origin = Origin {
        backend: "fed_1".to_owned(),
        remote: format!("remote/{name}"),
        route: 7,
        agreed: Some(agreed),
        conflict: None,
    };
    let mut head = super::head(at);
    head.origin = Some(origin);
    let gone = records.head(&path(name)).unwrap().unwrap_or_default().versions.into_keys().collect();
    let values = vec![(at, SecretValue::copy_of(format!("copied {at}").as_bytes()))];
    let change = Change { path: path(name), head: Some(head), values, gone };
    let settled = DocumentChange { kind: DocumentKind::Intent, id: name.to_owned(), content: None };
    let writer = records.writer().await;
    records.commit_all(&writer, vec![change], vec![settled]).await.unwrap();
}

/// Changes what is known of a secret, and which of its values are gone.
async fn edit(records: &Records, name: &str, gone: &[u64], change: impl FnOnce(&mut Head)) {
    let writer = records.writer().await;
    let mut head = records.head(&path(name)).unwrap().unwrap();
    change(&mut head);
    records.commit(&writer, &path(name), &head, None, gone).await.unwrap();
}

/// One step of a life: writes with history, metadata, deletion, destruction, copies with their intents, purges and new keys.
async fn live(keyring: &Keyring, records: &Records, step: u64) {
    match step {
        0..=4 => write(records, ["a", "b/c"][usize::from(step == 2)], step).await,
        5 => {
            edit(records, "a", &[], |head| {
                head.metadata.insert("owner".to_owned(), "someone".to_owned());
                head.updated = 50;
            })
            .await;
        }
        6 => records.put_document(DocumentKind::Intent, "copied/one", Some(b"carry")).await.unwrap(),
        7 | 9 => copy(records, "copied/one", step).await,
        8 => keyring.rotate_root(&Fixed(2)).await.unwrap(),
        10 => {
            let newest = records.head(&path("a")).unwrap().unwrap().current;
            edit(records, "a", &[newest], |head| {
                head.versions.get_mut(&newest).unwrap().destroyed = true;
            })
            .await;
        }
        11 => {
            keyring.rotate_tenant(records).await.unwrap();
        }
        12 => {
            let writer = records.writer().await;
            let head = records.head(&path("b/c")).unwrap().unwrap();
            records.purge(&writer, &path("b/c"), &head).await.unwrap();
        }
        _ => write(records, "z", step).await,
    }
}

/// Opens what a crash left as a start does: the new provider's key is configured, the one before is `seal.previous`.
async fn recovered(disk: &Disk, what: &str) -> (Keyring, Records) {
    let store = disk.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let store: Arc<dyn Store> = Arc::new(store);
    let keyring = Keyring::open(store.clone(), &Fixed(2), Some(&Fixed(1))).await;
    let keyring = keyring.unwrap_or_else(|error| panic!("{what}: {error}"));
    let barrier = keyring.barrier(&Tenant::default_tenant()).await.unwrap();
    let records = Records::open(barrier, store);
    records.rebuild().unwrap();
    keyring.finish_rotation(&records).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    (keyring, records)
}

#[tokio::test]
async fn e06_e07_e10_secrets_keys_and_intents_survive_a_crash_at_any_step() {
    let disk = Disk::default();
    let store: Arc<dyn Store> = Arc::new(disk.open().unwrap());
    let (keyring, records) = opened(&store, &Fixed(1)).await;
    disk.take_steps();
    let (before, mut states, mut acknowledged) = (disk.bytes(), vec![contents(&records)], Vec::new());
    for step in 0..STEPS {
        live(&keyring, &records, step).await;
        acknowledged.push(disk.done());
        states.push(contents(&records));
    }
    drop((keyring, records, store));
    let (mut film, mut twice) = (Film::of(before), 0);
    for (at, step) in disk.take_steps().iter().enumerate() {
        film.play(step);
        let cut = Cut::ALL[at % Cut::ALL.len()];
        let Some(image) = film.left(cut).or_else(|| film.left(Cut::Kill)) else { continue };
        let known = acknowledged.iter().filter(|done| **done <= at + 1).count();
        let allowed = &states[known..(known + 2).min(states.len())];
        let what = format!("{cut:?} behind step {at}");
        let disk = Disk::of(image.clone());
        let (keyring, records) = recovered(&disk, &what).await;
        let found = contents(&records);
        assert!(allowed.contains(&found), "{what}, {known} steps of the life were acknowledged");
        if at % 40 != 0 {
            continue;
        }
        // and again, while it recovers and goes on
        put(&records, "after", 1, "after").await.unwrap();
        let kept = disk.done();
        drop((keyring, records));
        let mut again = Film::of(image);
        for (n, step) in disk.take_steps().iter().enumerate() {
            again.play(step);
            if n % 3 != 0 {
                continue;
            }
            let cut = Cut::ALL[n / 3 % Cut::ALL.len()];
            let Some(image) = again.left(cut).or_else(|| again.left(Cut::Kill)) else { continue };
            let what = format!("{what}, then {cut:?} behind step {n} of the recovery");
            let (_, records) = recovered(&Disk::of(image), &what).await;
            let (mut secrets, intents) = contents(&records);
            assert!(secrets.remove("after").is_some() || n + 1 < kept, "{what}: an acknowledged write is gone");
            assert!((secrets, intents) == found, "{what}");
            twice += 1;
        }
    }
    assert!(twice > 20, "{twice} double crashes");
}

#[tokio::test]
async fn e04_a_wrong_key_leaves_every_byte_of_the_file_as_it_was() {
    let scratch = Scratch::new("e04-bytes");
    {
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
        let (_, records) = opened(&store, &Fixed(1)).await;
        put(&records, "a", 1, "one").await.unwrap();
    }
    let image = std::fs::read(scratch.file()).unwrap();
    let other = Fixed(3);
    let previous: [Option<&dyn KeyProvider>; 2] = [None, Some(&other)];
    for previous in previous {
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
        assert!(Keyring::open(store.clone(), &Fixed(2), previous).await.is_err());
        drop(store);
        assert!(std::fs::read(scratch.file()).unwrap() == image, "something was written");
    }
    // with its key it is only read, too, until somebody writes
    let store: Arc<dyn Store> = Arc::new(FileStore::open(&scratch.file()).unwrap());
    let (_, records) = opened(&store, &Fixed(1)).await;
    assert_eq!(current(&records, "a").unwrap().as_deref(), Some("one"));
    put(&records, "a", 2, "two").await.unwrap();
    assert!(std::fs::read(scratch.file()).unwrap() != image);
}
