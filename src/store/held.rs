//! Between the database and its file. Two things are kept off the disk here: what an open puts in order, until somebody
//! who holds the keys writes; and everything after a write or sync that failed, so that what was acknowledged is read on.
//!
//! INVARIANT: what is held reaches the file in the order it was made, syncs included, or not at all. After a failure
//! nothing reaches it any more, and the database is not told: whoever commits asks [`Hold::failure`].

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{BackendError, StorageBackend};

/// Something that changes a file.
enum Step<'a> {
    Write(u64, Cow<'a, [u8]>),
    Length(u64),
    Sync,
}

impl Step<'_> {
    fn into_owned(self) -> Step<'static> {
        match self {
            Self::Write(offset, data) => Step::Write(offset, Cow::Owned(data.into_owned())),
            Self::Length(len) => Step::Length(len),
            Self::Sync => Step::Sync,
        }
    }
}

/// What has not reached the file.
#[derive(Default)]
struct Kept {
    is_holding: bool,
    steps: Vec<Step<'static>>,
    failure: Option<String>,
}

/// A file, and what is held of it.
pub(super) struct Hold {
    file: Box<dyn StorageBackend>,
    kept: RwLock<Kept>,
}

impl Hold {
    /// A file that is written to at once, or (`is_holding`) not before [`Self::release`].
    pub(super) fn over(file: impl StorageBackend, is_holding: bool) -> Arc<Self> {
        let kept = RwLock::new(Kept { is_holding, ..Kept::default() });
        Arc::new(Self { file: Box::new(file), kept })
    }

    /// What the database is given.
    pub(super) fn storage(self: &Arc<Self>) -> Held {
        Held(self.clone())
    }

    /// Writes what is held; what comes later is written at once.
    pub(super) fn release(&self) {
        let mut kept = self.change();
        if !kept.is_holding || kept.failure.is_some() {
            return;
        }
        let failed = kept.steps.iter().find_map(|step| self.apply(step).err());
        match failed {
            Some(error) => kept.failure = Some(error.to_string()),
            None => *kept = Kept::default(),
        }
    }

    /// Why nothing reaches the file any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.look().failure.clone()
    }

    /// How long the file is, as the database sees it; in bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        self.len_with(&self.look())
    }

    /// The file itself is asked each time: it may change until the database has locked it.
    fn len_with(&self, kept: &Kept) -> io::Result<u64> {
        let held = kept.steps.iter().rev().find_map(|step| match step {
            Step::Length(len) => Some(*len),
            Step::Write(..) | Step::Sync => None,
        });
        held.map_or_else(|| self.file.len(), Ok)
    }

    fn take(&self, step: Step<'_>) {
        let failed = {
            let kept = self.look();
            if kept.is_holding { None } else { Some(self.apply(&step)) }
        };
        let failure = match failed {
            Some(Ok(())) => return,
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        let mut kept = self.change();
        kept.is_holding = true;
        if kept.failure.is_none() {
            kept.failure = failure;
        }
        kept.steps.push(step.into_owned());
    }

    fn apply(&self, step: &Step<'_>) -> io::Result<()> {
        match step {
            Step::Write(offset, data) => self.file.write(*offset, data),
            Step::Length(len) => self.file.set_len(*len),
            Step::Sync => self.file.sync_data(),
        }
    }

    /// What the file would hold if everything had reached it.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.look();
        if !kept.is_holding {
            return self.file.read(offset, out);
        }
        let len = self.len_with(&kept)?;
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > len) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let there = distance(offset, self.file.len()?).min(out.len());
        let (there, beyond) = out.split_at_mut_checked(there).unwrap_or_default();
        if !there.is_empty() {
            self.file.read(offset, there)?;
        }
        beyond.fill(0);
        for step in &kept.steps {
            match step {
                Step::Write(at, data) => overlay(offset, out, *at, data),
                Step::Length(len) => out.get_mut(distance(offset, *len)..).unwrap_or_default().fill(0),
                Step::Sync => {}
            }
        }
        Ok(())
    }

    fn look(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far `to` lies behind `from`.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// Copies the part of `data`, which lies at `at`, that falls into `out`, which lies at `offset`.
fn overlay(offset: u64, out: &mut [u8], at: u64, data: &[u8]) {
    let target = out.get_mut(distance(offset, at)..).unwrap_or_default();
    let source = data.get(distance(at, offset)..).unwrap_or_default();
    let len = target.len().min(source.len());
    if let (Some(target), Some(source)) = (target.get_mut(..len), source.get(..len)) {
        target.copy_from_slice(source);
    }
}

/// A [`Hold`] as the database uses it.
pub(super) struct Held(Arc<Hold>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.0.file)
    }
}

impl StorageBackend for Held {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.take(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.take(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.take(Step::Write(offset, Cow::Borrowed(data)));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use redb::backends::InMemoryBackend;

    use super::*;

    /// A file of `len` bytes, each one its offset.
    fn file(len: u64) -> InMemoryBackend {
        let file = InMemoryBackend::new();
        StorageBackend::set_len(&file, len).unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        StorageBackend::write(&file, 0, &bytes).unwrap();
        file
    }

    fn all(storage: &dyn StorageBackend) -> Vec<u8> {
        let mut bytes = vec![0xee; usize::try_from(storage.len().unwrap()).unwrap()];
        storage.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_held_is_read_back_and_reaches_the_file_when_it_is_released() {
        let hold = Hold::over(file(10), true);
        let held = hold.storage();
        held.write(2, &[0xa0, 0xa1, 0xa2]).unwrap();
        held.set_len(4).unwrap();
        held.set_len(14).unwrap();
        held.write(12, &[0xb0, 0xb1]).unwrap();
        held.write(1, &[0xc0, 0xc1]).unwrap();
        held.sync_data().unwrap();
        let expected: [u8; 14] = [0, 0xc0, 0xc1, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0xb1];
        assert_eq!(all(&held), expected);
        for from in 0..expected.len() {
            for to in from..=expected.len() {
                let mut out = vec![0xee; to - from];
                held.read(from as u64, &mut out).unwrap();
                assert_eq!(out, expected[from..to], "{from}..{to}");
            }
        }
        assert!(held.read(13, &mut [0; 2]).is_err(), "beyond the end");
        assert_eq!(all(&*hold.file), (0..10).collect::<Vec<u8>>(), "the file is as it was");
        hold.release();
        assert_eq!(hold.failure(), None);
        assert_eq!((all(&*hold.file), all(&held)), (expected.to_vec(), expected.to_vec()));
        held.write(0, &[7]).unwrap();
        assert_eq!((all(&*hold.file)[0], hold.len().unwrap()), (7, 14), "from then on it is written at once");
    }

    /// Takes so many changes and no more.
    #[derive(Debug)]
    struct Failing(InMemoryBackend, AtomicU64);

    impl Failing {
        fn check(&self) -> io::Result<()> {
            match self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => Ok(()),
                Err(_) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            }
        }
    }

    impl StorageBackend for Failing {
        fn len(&self) -> io::Result<u64> {
            StorageBackend::len(&self.0)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            StorageBackend::read(&self.0, offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check()?;
            StorageBackend::set_len(&self.0, len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            StorageBackend::write(&self.0, offset, data)
        }
    }

    #[test]
    fn after_a_failure_nothing_reaches_the_file_and_everything_is_read_back() {
        for is_holding in [false, true] {
            for changes in 0..5 {
                let hold = Hold::over(Failing(file(4), AtomicU64::new(changes)), is_holding);
                let held = hold.storage();
                held.set_len(6).unwrap();
                held.write(5, &[0xa5]).unwrap();
                held.sync_data().unwrap();
                held.write(0, &[0xa0]).unwrap();
                held.write(1, &[0xa1]).unwrap();
                hold.release();
                let seen: [u8; 6] = [0xa0, 0xa1, 2, 3, 0, 0xa5];
                assert_eq!(all(&held), seen, "{changes}");
                assert!(hold.failure().is_some(), "{changes}");
                let reached = all(&*hold.file);
                held.write(2, &[9]).unwrap();
                hold.release();
                assert_eq!(all(&*hold.file), reached, "{changes}: nothing more");
                assert_eq!(all(&held)[2], 9);
            }
            let hold = Hold::over(Failing(file(4), AtomicU64::new(2)), is_holding);
            hold.storage().write(0, &[1]).unwrap();
            hold.storage().sync_data().unwrap();
            hold.release();
            assert_eq!(hold.failure(), None, "it failed for no reason");
        }
    }
}
