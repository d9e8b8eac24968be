//! A disk in memory that remembers what was done to it, fails when it is told to, and shows what a crash would have left.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::store::{FileStore, StoreError};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Something that was done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

/// What goes wrong from now on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Every step after so many.
    After(usize),
    /// One sync, after so many.
    Sync(usize),
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    trouble: Trouble,
}

/// Shared by its clones: one stays with the test while the store has another.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// One that holds this.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { bytes, ..State::default() })))
    }

    /// The store on it, opened as any store is.
    pub(crate) fn open(&self) -> Result<FileStore, StoreError> {
        let is_fresh = self.state().bytes.is_empty();
        FileStore::over(Path::new("/disk/store.redb"), self.clone(), is_fresh)
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// How many steps were done since [`Self::take_steps`].
    pub(crate) fn done(&self) -> usize {
        self.state().steps.len()
    }

    /// What was done since this was asked before.
    pub(crate) fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.state().steps)
    }

    pub(crate) fn fail(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Does a step that was done to another disk, without noting it.
    pub(crate) fn redo(&self, step: &Step) {
        apply(&mut self.state().bytes, step);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn take(&self, step: Step) -> io::Result<()> {
        let mut state = self.state();
        let is_sync = matches!(step, Step::Sync);
        let (fails, next) = match state.trouble {
            Trouble::None => (false, Trouble::None),
            Trouble::After(0) => (true, Trouble::After(0)),
            Trouble::After(left) => (false, Trouble::After(left - 1)),
            Trouble::Sync(0) if is_sync => (true, Trouble::None),
            Trouble::Sync(left) if is_sync => (false, Trouble::Sync(left - 1)),
            Trouble::Sync(left) => (false, Trouble::Sync(left)),
        };
        state.trouble = next;
        if fails {
            return Err(io::Error::other("the disk is in trouble"));
        }
        apply(&mut state.bytes, &step);
        state.steps.push(step);
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(at, data) => {
            let end = at + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(data);
        }
        Step::Length(len) => bytes.resize(*len, 0),
        Step::Sync => {}
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let from = size(offset);
        let found = state.bytes.get(from..from + out.len());
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take(Step::Length(size(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.take(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take(Step::Write(size(offset), data.to_vec()))
    }
}

/// How a crash goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// The process ends: what was done is there.
    Kill,
    /// As that, but the last write is there by its first half only.
    Half,
    /// The power goes: of what was done since the last sync some lengths and some sectors are there and some are not,
    /// whatever their order was.
    Power,
}

impl Cut {
    pub(crate) const ALL: [Self; 3] = [Self::Kill, Self::Half, Self::Power];
}

/// Steps played again one by one, to see what a crash after each would leave.
pub(crate) struct Film {
    synced: Vec<u8>,
    loose: Vec<Step>,
    played: u64,
}

impl Film {
    /// Over a disk that held this.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { synced: bytes, loose: Vec::new(), played: 0 }
    }

    pub(crate) fn play(&mut self, step: &Step) {
        self.played += 1;
        if matches!(step, Step::Sync) {
            for step in self.loose.drain(..) {
                apply(&mut self.synced, &step);
            }
        } else {
            self.loose.push(step.clone());
        }
    }

    /// What a crash leaves; `None` where it would be no other than [`Cut::Kill`].
    pub(crate) fn left(&self, cut: Cut) -> Option<Vec<u8>> {
        let mut image = self.synced.clone();
        match cut {
            Cut::Kill => self.loose.iter().for_each(|step| apply(&mut image, step)),
            Cut::Half => {
                let (last, before) = self.loose.split_last()?;
                let Step::Write(at, data) = last else { return None };
                before.iter().for_each(|step| apply(&mut image, step));
                apply(&mut image, &Step::Write(*at, data[..data.len() / 2].to_vec()));
            }
            Cut::Power => {
                if self.loose.is_empty() {
                    return None;
                }
                let mut dice = Dice(self.played.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                for step in &self.loose {
                    match step {
                        Step::Write(at, data) => {
                            for (sector, part) in data.chunks(SECTOR).enumerate() {
                                if dice.falls() {
                                    apply(&mut image, &Step::Write(at + sector * SECTOR, part.to_vec()));
                                }
                            }
                        }
                        other if dice.falls() => apply(&mut image, other),
                        _ => {}
                    }
                }
            }
        }
        Some(image)
    }
}

/// The same in every run.
struct Dice(u64);

impl Dice {
    fn falls(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 63 == 1
    }
}
