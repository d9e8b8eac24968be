//! A tenant's read cache: sealed values in memory, in front of a store.
//!
//! INVARIANT: everything that writes a tenant's records goes through the tenant's one cache. From before a commit starts
//! until it is visible or lost, the records it writes are neither held nor kept: reads of them go to the store, and a
//! read that began earlier keeps nothing. So what is held is what the store has, and batches stay whole for readers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use moka::sync::Cache;

use super::{Batch, RecordKey, Sealed, Store, StoreError, Table};

/// What an entry costs beside its bytes: the key, counters, the map.
const OVERHEAD: usize = 160;

/// One read of the store that others asking for the same record wait for.
type Fill = OnceLock<Result<Option<Sealed>, StoreError>>;

/// A store with the values read most kept in memory, as sealed as they lie there. Heads, names and documents are not
/// kept: the index has what reads need of them.
pub struct Cached {
    inner: Arc<dyn Store>,
    held: Arc<Held>,
}

struct Held {
    values: Cache<RecordKey, Sealed>,
    busy: Mutex<HashMap<RecordKey, Busy>>,
}

/// What is going on with a record.
enum Busy {
    /// It is being read; what is found will be kept.
    Reading(Arc<Fill>),
    /// So many commits are writing it.
    Writing(u32),
}

impl Held {
    fn busy(&self) -> MutexGuard<'_, HashMap<RecordKey, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read to start or to join; `None` while the record is being written.
    fn fill(&self, key: &RecordKey) -> Option<Arc<Fill>> {
        match self.busy().entry(*key).or_insert_with(|| Busy::Reading(Arc::default())) {
            Busy::Reading(fill) => Some(fill.clone()),
            Busy::Writing(_) => None,
        }
    }

    /// Keeps what a read found, unless a commit, an eviction or another reader was there first.
    fn settle(&self, key: &RecordKey, fill: &Arc<Fill>, found: &Result<Option<Sealed>, StoreError>) {
        let mut busy = self.busy();
        if !matches!(busy.get(key), Some(Busy::Reading(current)) if Arc::ptr_eq(current, fill)) {
            return;
        }
        busy.remove(key);
        if let Ok(Some(sealed)) = found {
            self.values.insert(*key, sealed.clone());
        }
    }

    fn start_writing(&self, keys: &[RecordKey]) {
        let mut busy = self.busy();
        for key in keys {
            match busy.get_mut(key) {
                Some(Busy::Writing(commits)) => *commits += 1,
                _ => drop(busy.insert(*key, Busy::Writing(1))),
            }
            self.values.invalidate(key);
        }
    }

    fn end_writing(&self, keys: &[RecordKey]) {
        let mut busy = self.busy();
        for key in keys {
            match busy.get_mut(key) {
                Some(Busy::Writing(commits)) if *commits > 1 => *commits -= 1,
                _ => drop(busy.remove(key)),
            }
        }
    }

    fn evict(&self, key: &RecordKey) {
        let mut busy = self.busy();
        if matches!(busy.get(key), Some(Busy::Reading(_))) {
            busy.remove(key);
        }
        self.values.invalidate(key);
    }
}

impl Cached {
    /// `inner` with up to `bytes` of one tenant's values in memory; 0 keeps none.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, bytes: u64) -> Self {
        let weigh = |_: &RecordKey, sealed: &Sealed| u32::try_from(sealed.0.len() + OVERHEAD).unwrap_or(u32::MAX);
        let values = Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Self { inner, held: Arc::new(Held { values, busy: Mutex::default() }) }
    }

    /// About how many bytes are held.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.held.values.run_pending_tasks();
        self.held.values.weighted_size()
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({} values)", self.held.values.entry_count())
    }
}

#[async_trait]
impl Store for Cached {
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
        if key.table != Table::Version {
            return self.inner.read(key);
        }
        if let Some(sealed) = self.held.values.get(key) {
            return Ok(Some(sealed));
        }
        let Some(fill) = self.held.fill(key) else { return self.inner.read(key) };
        let found = fill.get_or_init(|| self.inner.read(key)).clone();
        self.held.settle(key, &fill, &found);
        found
    }

    fn scan(
        &self,
        table: Table,
        tenant: &[u8; 16],
        visit: &mut dyn FnMut(&RecordKey, &Sealed) -> bool,
    ) -> Result<(), StoreError> {
        self.inner.scan(table, tenant, visit)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.meta(key)
    }

    fn metas(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.inner.metas(prefix)
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        self.inner.is_empty()
    }

    fn takes_writes(&self) -> bool {
        self.inner.takes_writes()
    }

    fn evict(&self, key: &RecordKey) {
        self.held.evict(key);
        self.inner.evict(key);
    }

    async fn commit(&self, mut batch: Batch) -> Result<(), StoreError> {
        let written = batch.put.iter().map(|(key, _)| key).chain(&batch.remove);
        let values: Vec<RecordKey> = written.filter(|key| key.table == Table::Version).copied().collect();
        if !values.is_empty() {
            // new values are not put in: most of what a sync writes is never read. If the commit fails, they are read
            // from the store from now on; it takes no more writes then
            self.held.start_writing(&values);
            let held = self.held.clone();
            batch.then.push(move || held.end_writing(&values));
        }
        self.inner.commit(batch).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    use super::*;
    use crate::store::MemoryStore;
    use crate::store::tests::leaves_the_rest_to_inner;

    /// A store whose reads are counted and, while the gate is shut, wait after they have found something.
    #[derive(Default)]
    struct Gate {
        inner: MemoryStore,
        reads: AtomicU32,
        is_shut: AtomicBool,
    }

    #[async_trait]
    impl Store for Gate {
        fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
            let found = self.inner.read(key);
            self.reads.fetch_add(1, Ordering::SeqCst);
            while self.is_shut.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            found
        }

        leaves_the_rest_to_inner!();

        async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
            self.inner.commit(batch).await
        }
    }

    fn key(index: u8) -> RecordKey {
        RecordKey { table: Table::Version, tenant: [1; 16], index: [index; 32], version: 1 }
    }

    fn sealed(text: &str) -> Sealed {
        Sealed(Arc::from(text.as_bytes()))
    }

    fn put(cached: &Cached, index: u8, text: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batch = Batch { put: vec![(key(index), sealed(text))], ..Batch::default() };
        runtime.block_on(cached.commit(batch)).unwrap();
    }

    /// Ends the readers however the test ends.
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn wait_for(holds: impl Fn() -> bool) {
        while !holds() {
            thread::yield_now();
        }
    }

    #[test]
    fn c07_only_values_that_are_there_are_held_until_they_are_written_or_evicted() {
        let gate = Arc::new(Gate::default());
        let cached = Cached::new(gate.clone(), 1 << 20);
        let reads = || gate.reads.load(Ordering::SeqCst);
        put(&cached, 1, "one");
        for _ in 0..3 {
            assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("one")));
        }
        assert_eq!(reads(), 1);
        put(&cached, 1, "two");
        assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("two")));
        assert_eq!(reads(), 2);
        cached.evict(&key(1));
        assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("two")));
        assert_eq!(reads(), 3);
        let head = RecordKey { table: Table::Head, version: 0, ..key(1) };
        for _ in 0..2 {
            assert_eq!(cached.read(&head).unwrap(), None);
        }
        assert_eq!(reads(), 5, "only values are held");
        for _ in 0..2 {
            assert_eq!(cached.read(&key(2)).unwrap(), None);
        }
        assert_eq!(reads(), 7, "what is not there is looked for every time");
        assert!(cached.held.busy().is_empty());
    }

    #[test]
    fn c09_a_read_that_a_write_overtook_is_not_kept() {
        let gate = Arc::new(Gate::default());
        let cached = Cached::new(gate.clone(), 1 << 20);
        put(&cached, 1, "old");
        gate.is_shut.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let slow = scope.spawn(|| cached.read(&key(1)).unwrap());
            wait_for(|| gate.reads.load(Ordering::SeqCst) == 1);
            put(&cached, 1, "new");
            gate.is_shut.store(false, Ordering::SeqCst);
            assert_eq!(slow.join().unwrap(), Some(sealed("old")), "it began before the write");
        });
        assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("new")));
        assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("new")));
    }

    #[test]
    fn c10_what_was_evicted_while_it_was_read_is_not_kept() {
        let gate = Arc::new(Gate::default());
        let cached = Cached::new(gate.clone(), 1 << 20);
        put(&cached, 1, "one");
        gate.is_shut.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let slow = scope.spawn(|| cached.read(&key(1)).unwrap());
            wait_for(|| gate.reads.load(Ordering::SeqCst) == 1);
            cached.evict(&key(1));
            gate.is_shut.store(false, Ordering::SeqCst);
            assert_eq!(slow.join().unwrap(), Some(sealed("one")));
        });
        assert_eq!(cached.weight(), 0, "it came back");
        assert_eq!(cached.read(&key(1)).unwrap(), Some(sealed("one")));
        assert_eq!(gate.reads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn c01_c06_tenants_secrets_and_versions_have_entries_of_their_own() {
        let cached = Cached::new(Arc::new(MemoryStore::default()), 1 << 20);
        let keys = [key(1), RecordKey { tenant: [2; 16], ..key(1) }, RecordKey { version: 2, ..key(1) }, key(2)];
        let put = keys.iter().zip(0_u8..).map(|(key, at)| (*key, sealed(&at.to_string()))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(cached.commit(Batch { put, ..Batch::default() })).unwrap();
        for _ in 0..2 {
            for (key, at) in keys.iter().zip(0_u8..) {
                assert_eq!(cached.read(key).unwrap(), Some(sealed(&at.to_string())));
            }
        }
    }

    #[test]
    fn c19_reads_writes_and_evictions_at_once_never_go_back() {
        let cached = Cached::new(Arc::new(MemoryStore::default()), 20_000);
        let is_over = AtomicBool::new(false);
        let text = |number: u32| format!("{number:08}{}", "x".repeat(500));
        thread::scope(|scope| {
            for reader in 0..8_u8 {
                let (cached, is_over) = (&cached, &is_over);
                scope.spawn(move || {
                    let (mut last, mut turn) = ([0_u32; 32], usize::from(reader));
                    while !is_over.load(Ordering::Relaxed) {
                        turn += 1;
                        let at = u8::try_from(turn % last.len()).unwrap();
                        let found = cached.read(&key(at)).unwrap().map(|found| found.0[..8].to_vec());
                        let number: u32 = found.map_or(0, |found| String::from_utf8(found).unwrap().parse().unwrap());
                        assert!(number >= last[usize::from(at)], "{at}: {number} after {}", last[usize::from(at)]);
                        last[usize::from(at)] = number;
                        if turn % 7 == 0 {
                            cached.evict(&key(at));
                        }
                    }
                });
            }
            let over = Over(&is_over);
            for number in 1..=100 {
                for at in 0..32 {
                    put(&cached, at, &text(number));
                    assert_eq!(cached.read(&key(at)).unwrap(), Some(sealed(&text(number))), "our own write is seen");
                }
            }
            drop(over);
        });
        assert!(cached.weight() <= 20_000, "{}", cached.weight());
        assert!(cached.held.busy().is_empty());
    }

    #[test]
    fn r12_readers_of_one_record_share_one_read() {
        let gate = Arc::new(Gate::default());
        let cached = Cached::new(gate.clone(), 1 << 20);
        put(&cached, 1, "one");
        gate.is_shut.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| cached.read(&key(1)).unwrap())).collect();
            wait_for(|| match cached.held.busy().get(&key(1)) {
                Some(Busy::Reading(fill)) => Arc::strong_count(fill) == 5,
                _ => false,
            });
            gate.is_shut.store(false, Ordering::SeqCst);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), Some(sealed("one")));
            }
        });
        assert_eq!(gate.reads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn c16_no_more_is_held_than_the_budget_allows() {
        let cached = Cached::new(Arc::new(MemoryStore::default()), 10_000);
        for index in 0..200 {
            put(&cached, index, &"x".repeat(400));
            assert!(cached.read(&key(index)).unwrap().is_some());
        }
        assert!(cached.weight() <= 10_000, "{}", cached.weight());
        assert!(cached.weight() > 5_000, "{}", cached.weight());
    }
}
