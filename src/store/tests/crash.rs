//! Crashes at every step that reaches the disk, while the store is written to, while it recovers and while it is compacted;
//! and disks that refuse a step.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::{Cut, Disk, Film, Step, Trouble};
use super::{key, sealed};
use crate::store::room::tighten;
use crate::store::{Batch, FileStore, RecordKey, Sealed, Store, StoreError, Table};

const TENANT: u8 = 1;
const ROUNDS: u8 = 12;
/// Rounds whose records make the file grow, and one that takes them out again.
const GROWS: [u8; 2] = [4, 7];
const SHRINKS: u8 = 9;
const LARGE: u8 = 0xf0;

/// What one commit changes.
#[derive(Clone, Default)]
struct Edit {
    put: Vec<(RecordKey, Sealed)>,
    remove: Vec<RecordKey>,
    meta: Vec<(String, Option<Vec<u8>>)>,
}

impl Edit {
    fn batch(&self) -> Batch {
        let Self { put, remove, meta } = self.clone();
        Batch { put, remove, meta, ..Batch::default() }
    }
}

/// Everything that a store holds.
type Contents = (BTreeMap<RecordKey, Sealed>, BTreeMap<String, Vec<u8>>);

fn contents(store: &FileStore) -> Contents {
    let mut records = BTreeMap::new();
    for table in Table::ALL {
        let mut visit = |key: &RecordKey, sealed: &Sealed| {
            records.insert(*key, sealed.clone());
            true
        };
        store.scan(table, &[TENANT; 16], &mut visit).unwrap();
    }
    (records, store.metas("").unwrap().into_iter().collect())
}

/// What the contents become.
fn edited(mut contents: Contents, edit: &Edit) -> Contents {
    for key in &edit.remove {
        contents.0.remove(key);
    }
    contents.0.extend(edit.put.iter().cloned());
    for (key, value) in &edit.meta {
        match value {
            Some(value) => drop(contents.1.insert(key.clone(), value.clone())),
            None => drop(contents.1.remove(key)),
        }
    }
    contents
}

/// A secret's new version with its head, an older version's end, the intent of a write and the end of the one before.
fn round(round: u8) -> Edit {
    let (secret, number) = (round % 4, u64::from(round));
    let mut edit = Edit::default();
    edit.put.push((key(Table::Head, TENANT, secret, 0), sealed(&format!("head {round}"))));
    edit.put.push((key(Table::Name, TENANT, secret, 0), sealed(&format!("name {secret}"))));
    edit.put.push((key(Table::Version, TENANT, secret, number), sealed(&format!("value {round}").repeat(30))));
    edit.put.push((key(Table::Document, TENANT, round, 3), sealed(&format!("intent {round}"))));
    edit.meta.push((format!("rotation.{}", round % 3), round.is_multiple_of(2).then(|| vec![round; 40])));
    if let Some(before) = round.checked_sub(1) {
        edit.remove.push(key(Table::Document, TENANT, before, 3));
    }
    if let Some(older) = round.checked_sub(8) {
        edit.remove.push(key(Table::Version, TENANT, secret, u64::from(older)));
    }
    if GROWS.contains(&round) {
        let large = |part: u8| (key(Table::Version, TENANT, LARGE + part, number), sealed(&"large".repeat(9_000)));
        edit.put.extend((0..2).map(large));
    }
    if round == SHRINKS {
        let large = |of: u8| (0..2).map(move |part| key(Table::Version, TENANT, LARGE + part, u64::from(of)));
        edit.remove.extend(GROWS.into_iter().flat_map(large));
    }
    edit
}

/// A store that was written to and closed: what the disk held before, each step since, how many steps were done when the
/// n-th commit was acknowledged, and what the store held then (first: before any).
struct Take {
    before: Vec<u8>,
    steps: Vec<Step>,
    acknowledged: Vec<usize>,
    states: Vec<Contents>,
}

impl Take {
    async fn record() -> Self {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        let (before, mut states, mut acknowledged) = (disk.bytes(), vec![contents(&store)], Vec::new());
        disk.take_steps();
        for number in 0..ROUNDS {
            let edit = round(number);
            store.commit(edit.batch()).await.unwrap();
            acknowledged.push(disk.done());
            states.push(edited(states.last().unwrap().clone(), &edit));
            assert!(contents(&store) == *states.last().unwrap(), "round {number}");
        }
        drop(store);
        Self { before, steps: disk.take_steps(), acknowledged, states }
    }

    /// What a store may hold after a crash behind so many steps: everything acknowledged, and the commit under way or not.
    fn allowed(&self, done: usize) -> &[Contents] {
        let acknowledged = self.acknowledged.iter().filter(|at| **at <= done).count();
        let end = (acknowledged + 2).min(self.states.len());
        &self.states[acknowledged..end]
    }
}

/// Opens what a crash left.
fn reopened(image: Vec<u8>, what: &str) -> (Disk, FileStore) {
    let disk = Disk::of(image);
    let store = disk.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    (disk, store)
}

#[tokio::test]
async fn e06_a_crash_at_any_step_leaves_what_was_acknowledged_and_nothing_by_halves() {
    let take = Take::record().await;
    assert!(take.steps.iter().any(|step| matches!(step, Step::Length(_))), "the file never changed its length");
    let (mut film, mut images, mut under_way) = (Film::of(take.before.clone()), 0, 0);
    for (at, step) in take.steps.iter().enumerate() {
        film.play(step);
        for cut in Cut::ALL {
            let Some(image) = film.left(cut) else { continue };
            let what = format!("{cut:?} behind step {at}");
            let (_, store) = reopened(image, &what);
            let (found, allowed) = (contents(&store), take.allowed(at + 1));
            assert!(allowed.contains(&found), "{what}: neither what was acknowledged nor that and the next commit");
            under_way += u32::from(found != allowed[0]);
            images += 1;
        }
    }
    assert!(images > 100 && under_way > 0, "{images} images, {under_way} with a commit that was not acknowledged");
}

#[tokio::test]
async fn e07_a_crash_while_a_crash_is_recovered_from_leaves_the_same() {
    let take = Take::record().await;
    let stride = (take.steps.len() / 12).max(1);
    let mut film = Film::of(take.before.clone());
    let mut images = 0;
    for (at, step) in take.steps.iter().enumerate() {
        film.play(step);
        if at % stride != 0 {
            continue;
        }
        let cut = Cut::ALL[at / stride % Cut::ALL.len()];
        let Some(image) = film.left(cut).or_else(|| film.left(Cut::Kill)) else { continue };
        let (disk, store) = reopened(image.clone(), "the first crash");
        let first = contents(&store);
        assert!(take.allowed(at + 1).contains(&first), "{cut:?} behind step {at}");
        // what the recovery put in order reaches the disk with the first commit
        assert_eq!(disk.done(), 0, "an open wrote");
        let edit = round(ROUNDS + 1);
        store.commit(edit.batch()).await.unwrap();
        let (acknowledged, second) = (disk.done(), edited(first.clone(), &edit));
        assert!(contents(&store) == second, "{cut:?} behind step {at}: the next commit");
        drop(store);
        let mut again = Film::of(image);
        for (n, step) in disk.take_steps().iter().enumerate() {
            again.play(step);
            let Some(image) = again.left(Cut::ALL[(at + n) % Cut::ALL.len()]) else { continue };
            let what = format!("{cut:?} behind step {at}, then behind step {n} of the recovery");
            let found = contents(&reopened(image, &what).1);
            let is_old = found == first && n + 1 < acknowledged;
            assert!(is_old || found == second, "{what}");
            images += 1;
        }
    }
    assert!(images > 50, "{images} images");
}

#[tokio::test]
async fn e06_a_crash_while_a_store_is_compacted_leaves_everything() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    for number in 0..SHRINKS {
        store.commit(round(number).batch()).await.unwrap();
    }
    let large = |of: u8| (0..2).map(move |part| key(Table::Version, TENANT, LARGE + part, u64::from(of)));
    store.commit(Batch { remove: large(GROWS[0]).collect(), ..Batch::default() }).await.unwrap();
    let expected = contents(&store);
    drop(store);
    disk.take_steps();
    let before = disk.bytes();
    tighten(Path::new("/disk/store.redb"), disk.clone()).unwrap();
    assert!(disk.bytes().len() <= before.len(), "{} bytes of {}", disk.bytes().len(), before.len());
    assert!(contents(&disk.open().unwrap()) == expected);
    let mut film = Film::of(before);
    for (at, step) in disk.take_steps().iter().enumerate() {
        film.play(step);
        let Some(image) = film.left(Cut::ALL[at % Cut::ALL.len()]) else { continue };
        let what = format!("behind step {at}");
        assert!(contents(&reopened(image, &what).1) == expected, "{what}");
    }
}

#[tokio::test]
async fn writes_stop_after_the_first_sync_that_fails_and_reads_go_on() {
    let take = Take::record().await;
    let disk = Disk::of(take.before.clone());
    take.steps.iter().for_each(|step| disk.redo(step));
    let (image, expected) = (disk.bytes(), take.states.last().unwrap());
    let lost = round(ROUNDS + 1);
    for sync in 0.. {
        // freshly opened: nothing is in the page cache
        let (disk, store) = reopened(image.clone(), "the image");
        disk.fail(Trouble::Sync(sync));
        let outcome = store.commit(lost.batch()).await;
        if outcome.is_ok() {
            assert!(sync >= 3, "only {sync} syncs: the recovery's and two phases");
            break;
        }
        assert!(matches!(&outcome, Err(StoreError::Io { what, .. }) if what.contains("trouble")), "{outcome:?}");
        let reached = disk.bytes();
        assert!(!store.takes_writes(), "sync {sync}");
        assert!(contents(&store) == *expected, "sync {sync}: what was acknowledged is read on, and nothing else");
        // the disk is well again: that does not help
        for batch in [lost.batch(), Batch::default()] {
            assert_eq!(store.commit(batch).await, Err(StoreError::Closed));
        }
        assert!(contents(&store) == *expected);
        drop(store);
        assert!(disk.bytes() == reached, "sync {sync}: something was written after the failure");
        let (_, store) = reopened(reached, "after the failure");
        let found = contents(&store);
        assert!(found == *expected || found == edited(expected.clone(), &lost), "sync {sync}");
        store.commit(lost.batch()).await.unwrap();
        assert!(store.takes_writes());
    }
}

#[tokio::test]
async fn e06_a_disk_that_takes_nothing_more_loses_nothing_that_was_acknowledged() {
    let take = Take::record().await;
    for done in (0..take.steps.len()).step_by(5) {
        let disk = Disk::of(take.before.clone());
        let store = disk.open().unwrap();
        disk.fail(Trouble::After(done));
        let (mut kept, mut failed) = (0, None);
        for number in 0..ROUNDS {
            match store.commit(round(number).batch()).await {
                Ok(()) if failed.is_none() => kept += 1,
                Ok(()) => panic!("{done}: a commit after one that failed"),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        assert!(contents(&store) == take.states[kept], "{done} steps, then {failed:?}");
        assert_eq!(store.takes_writes(), failed.is_none());
        drop(store);
        disk.fail(Trouble::None);
        let found = contents(&disk.open().unwrap());
        let next = (kept + 1).min(take.states.len() - 1);
        assert!(found == take.states[kept] || found == take.states[next], "{done} steps, {kept} acknowledged");
    }
}

#[tokio::test]
async fn a_store_that_is_only_read_leaves_every_byte_as_it_was() {
    let take = Take::record().await;
    let mut film = Film::of(take.before.clone());
    take.steps.iter().for_each(|step| film.play(step));
    let closed = film.left(Cut::Kill).unwrap();
    let mut film = Film::of(take.before.clone());
    take.steps[..take.acknowledged[3]].iter().for_each(|step| film.play(step));
    let crashed = film.left(Cut::Kill).unwrap();
    for (image, state) in [(closed, take.states.last().unwrap()), (crashed, &take.states[4])] {
        let (disk, store) = reopened(image.clone(), "the image");
        assert!(contents(&store) == *state);
        drop(store);
        assert!(disk.bytes() == image && disk.done() == 0, "{} steps", disk.done());
    }
}
