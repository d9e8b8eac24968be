//! A store in one file, by redb: sealed records that survive the process.
//!
//! Every commit is durable (two fsyncs, two phases) before it is acknowledged; one thread writes, and groups the batches
//! that wait. After the first commit that fails nothing more is written until the process starts anew, and reads go on
//! with what was acknowledged. The whole file is checked when it is opened, so that a damaged one is refused there instead
//! of being met in the middle of a call; the check rebuilds what recovery needs, which is why commits do not carry it. An
//! existing file is never recreated, and not written to before the first commit: an open that is refused, also for its
//! keys, leaves every byte as it was.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase as _, ReadableTableMetadata as _,
    StorageBackend, StorageError, TableDefinition, WriteTransaction,
};
use tokio::sync::oneshot;

use super::held::Hold;
use super::room::Room;
use super::{Batch, RecordKey, Sealed, Store, StoreError, Table, place};

/// The format this release writes, and the newest it reads.
const FORMAT: u32 = 1;
/// The oldest format a reader has to know to read what this release writes.
const READABLE_BY: u32 = 1;
pub(super) const PAGE_CACHE: usize = 8 << 20;
/// Batches are grouped until they hold this many records.
const GROUP: usize = 256;
/// tenant, index, version
const KEY: usize = 16 + 32 + 8;

type Key = &'static [u8; KEY];
type Bytes = &'static [u8];
type Records<'a> = redb::Table<'a, Key, Bytes>;

const HEADS: TableDefinition<'static, Key, Bytes> = TableDefinition::new("heads");
const VERSIONS: TableDefinition<'static, Key, Bytes> = TableDefinition::new("versions");
const NAMES: TableDefinition<'static, Key, Bytes> = TableDefinition::new("names");
const DOCUMENTS: TableDefinition<'static, Key, Bytes> = TableDefinition::new("documents");
const META: TableDefinition<'static, &'static str, Bytes> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_READABLE_BY: &str = "readable_by";

struct Job {
    batch: Batch,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// Sealed records in a file that one process has open at a time.
pub struct FileStore {
    shared: Arc<Shared>,
    room: Room,
    queue: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer have in common.
struct Shared {
    path: PathBuf,
    /// What is read after a commit that failed: everything acknowledged before it.
    last: OnceLock<ReadTransaction>,
    closed: AtomicBool,
    database: Database,
    hold: Arc<Hold>,
}

impl FileStore {
    /// Opens the store at `path`, or makes one (0600, in a directory that is made 0700) if nothing is there. Reads the
    /// whole file.
    ///
    /// # Errors
    /// When the file is in use, damaged, newer than this release, open to other users, or cannot be read and written.
    /// It is left as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let directory = place::directory(path)?;
        if let Some(file) = place::existing(path)? {
            return Self::over(path, backend(path, file)?, false);
        }
        let (unnamed, file) = place::Unnamed::create(&directory)?;
        let store = Self::over(path, backend(path, file)?, true)?;
        if unnamed.take_name(path)? {
            return Ok(store);
        }
        // another process was quicker
        drop(store);
        let file = place::existing(path)?.ok_or_else(|| store_io(path, "the name is taken by a link to nothing"))?;
        Self::over(path, backend(path, file)?, false)
    }

    /// The store in `storage`; a fresh one is given its tables.
    pub(super) fn over(path: &Path, storage: impl StorageBackend, is_fresh: bool) -> Result<Self, StoreError> {
        let hold = Hold::over(storage, !is_fresh);
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(hold.storage()).map_err(|error| unopened(path, error))?;
        if is_fresh {
            found(&database).map_err(|error| failure(path, error))?;
        }
        if let Some(what) = hold.failure() {
            return Err(store_io(path, &what));
        }
        let len = hold.len().map_err(|error| place::refused(path, &error))?;
        let room = Room::of(&database, len).map_err(|error| failure(path, error))?;
        let (last, closed) = (OnceLock::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { path: path.to_path_buf(), last, closed, database, hold });
        let (queue, jobs) = channel();
        let writer = {
            let shared = shared.clone();
            thread::Builder::new().name("store".to_owned()).spawn(move || shared.write_all(&jobs))
        };
        let writer = writer.map_err(|error| place::refused(path, &error))?;
        let store = Self { shared, room, queue: Some(queue), writer: Some(writer) };
        store.check_format()?;
        Ok(store)
    }

    /// Whether most of a large file is free, so that it is worth a [`Self::compact`] before anybody is served.
    #[must_use]
    pub const fn is_loose(&self) -> bool {
        self.room.is_loose()
    }

    fn check_format(&self) -> Result<(), StoreError> {
        self.number(META_FORMAT)?;
        let format = self.number(META_READABLE_BY)?;
        if format > FORMAT {
            return Err(StoreError::Newer { path: self.shared.path.display().to_string(), format, known: FORMAT });
        }
        for table in Table::ALL {
            self.with(|reader| reader.open_table(definition(table)).map(drop).map_err(redb::Error::from))?;
        }
        Ok(())
    }

    fn number(&self, key: &str) -> Result<u32, StoreError> {
        let value = self.meta(key)?;
        let text = value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| broken(&self.shared.path, format!("it has no {key} of this program's stores")))
    }

    fn with<T>(&self, ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let Shared { path, last, closed, database, .. } = &*self.shared;
        let answer = match last.get() {
            Some(reader) => ask(reader),
            None => database.begin_read().map_err(redb::Error::from).and_then(|reader| ask(&reader)),
        };
        answer.map_err(|error| if closed.load(Ordering::Acquire) { StoreError::Closed } else { failure(path, error) })
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
        {
            drop(writer.join());
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.shared.path.display())
    }
}

#[async_trait]
impl Store for FileStore {
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
        self.with(|reader| {
            let table = reader.open_table(definition(key.table))?;
            let found = table.get(&encoded(key))?;
            Ok(found.map(|value| Sealed(Arc::from(value.value()))))
        })
    }

    fn scan(
        &self,
        table: Table,
        tenant: &[u8; 16],
        visit: &mut dyn FnMut(&RecordKey, &Sealed) -> bool,
    ) -> Result<(), StoreError> {
        let low = encoded(&RecordKey { table, tenant: *tenant, index: [0; 32], version: 0 });
        let high = encoded(&RecordKey { table, tenant: *tenant, index: [0xff; 32], version: u64::MAX });
        self.with(|reader| {
            let records = reader.open_table(definition(table))?;
            for record in records.range::<&[u8; KEY]>(&low..=&high)? {
                let (key, value) = record?;
                let key = decoded(table, key.value());
                if !visit(&key, &Sealed(Arc::from(value.value()))) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|reader| {
            let found = reader.open_table(META)?.get(key)?;
            Ok(found.map(|value| value.value().to_vec()))
        })
    }

    fn metas(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.with(|reader| {
            let mut entries = Vec::new();
            for entry in reader.open_table(META)?.range::<&str>(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(entries)
        })
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        self.with(|reader| {
            for table in Table::ALL {
                if !reader.open_table(definition(table))?.is_empty()? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn takes_writes(&self) -> bool {
        let is_there = self.writer.as_ref().is_some_and(|writer| !writer.is_finished());
        is_there && !self.shared.closed.load(Ordering::Acquire)
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Job { batch, reply }).map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Shared {
    /// The one writer: takes what waits, commits it as one, tells everybody.
    fn write_all(&self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut records = first.batch.len();
            let mut jobs = vec![first];
            while records < GROUP
                && let Ok(next) = queue.try_recv()
            {
                records += next.batch.len();
                jobs.push(next);
            }
            let outcome = if self.closed.load(Ordering::Acquire) {
                Err(StoreError::Closed)
            } else if records == 0 {
                Ok(())
            } else {
                self.keep(&jobs)
            };
            for Job { batch, reply } in jobs {
                if outcome.is_ok() {
                    batch.then.run();
                }
                // a caller that went away is no error: the batch is kept or not all the same
                drop(reply.send(outcome.clone()));
            }
        }
    }

    /// Commits jobs as one; closes the store if that fails.
    fn keep(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let before = self.database.begin_read();
        // who commits holds the keys
        self.hold.release();
        let written = if self.hold.failure().is_none() { write(&self.database, jobs) } else { Ok(()) };
        // the database does not know of a write that did not reach the file
        let Some(what) = self.hold.failure().or_else(|| written.err().map(|error| error.to_string())) else {
            return Ok(());
        };
        if let Ok(before) = before {
            drop(self.last.set(before));
        }
        self.closed.store(true, Ordering::Release);
        let error = store_io(&self.path, &format!("a commit failed: {what}; {HELP}"));
        tracing::error!(%error, "the store is closed for writing; what it holds is still read");
        Err(error)
    }
}

const HELP: &str = "the store takes no more writes until the process starts anew";

fn write(database: &Database, jobs: &[Job]) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    {
        let mut tables = Tables::open(&transaction)?;
        let mut meta = transaction.open_table(META)?;
        for Job { batch, .. } in jobs {
            for key in &batch.remove {
                tables.of(key.table).remove(&encoded(key))?;
            }
            for (key, sealed) in &batch.put {
                tables.of(key.table).insert(&encoded(key), &*sealed.0)?;
            }
            for (key, value) in &batch.meta {
                match value {
                    Some(value) => drop(meta.insert(key.as_str(), value.as_slice())?),
                    None => drop(meta.remove(key.as_str())?),
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Makes the tables of a new store.
fn found(database: &Database) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    Tables::open(&transaction)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT.to_string().as_bytes())?;
        meta.insert(META_READABLE_BY, READABLE_BY.to_string().as_bytes())?;
    }
    transaction.commit()?;
    Ok(())
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

struct Tables<'a> {
    heads: Records<'a>,
    versions: Records<'a>,
    names: Records<'a>,
    documents: Records<'a>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        let open = |table| transaction.open_table(definition(table));
        Ok(Self {
            heads: open(Table::Head)?,
            versions: open(Table::Version)?,
            names: open(Table::Name)?,
            documents: open(Table::Document)?,
        })
    }

    const fn of(&mut self, table: Table) -> &mut Records<'a> {
        match table {
            Table::Head => &mut self.heads,
            Table::Version => &mut self.versions,
            Table::Name => &mut self.names,
            Table::Document => &mut self.documents,
        }
    }
}

const fn definition(table: Table) -> TableDefinition<'static, Key, Bytes> {
    match table {
        Table::Head => HEADS,
        Table::Version => VERSIONS,
        Table::Name => NAMES,
        Table::Document => DOCUMENTS,
    }
}

/// Sorts by tenant, index and version.
fn encoded(key: &RecordKey) -> [u8; KEY] {
    let mut bytes = [0; KEY];
    let parts = key.tenant.iter().chain(&key.index).copied().chain(key.version.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}

fn decoded(table: Table, bytes: &[u8; KEY]) -> RecordKey {
    let mut key = RecordKey { table, tenant: [0; 16], index: [0; 32], version: 0 };
    let mut version = [0; 8];
    let parts = key.tenant.iter_mut().chain(&mut key.index).chain(&mut version);
    for (to, from) in parts.zip(bytes) {
        *to = *from;
    }
    key.version = u64::from_be_bytes(version);
    key
}

pub(super) fn backend(path: &Path, file: std::fs::File) -> Result<FileBackend, StoreError> {
    FileBackend::new(file).map_err(|error| unopened(path, error))
}

pub(super) fn unopened(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Busy { path: path.display().to_string() }
        }
        DatabaseError::Storage(StorageError::Io(error)) if is_of_content(&error) => broken(path, error.to_string()),
        other => failure(path, other.into()),
    }
}

/// Whether the file's content is at fault and not the system.
fn is_of_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

pub(super) fn failure(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => StoreError::Closed,
        redb::Error::Io(error) => place::refused(path, &error),
        other => broken(path, other.to_string()),
    }
}

fn broken(path: &Path, what: String) -> StoreError {
    StoreError::Broken { path: path.display().to_string(), what }
}

pub(super) fn store_io(path: &Path, what: &str) -> StoreError {
    StoreError::Io { path: path.display().to_string(), what: what.to_owned() }
}
