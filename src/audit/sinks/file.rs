//! A regular file or a FIFO, only ever appended to.
//!
//! Refuses what others could swap, read or fill: symbolic links, directories open to others, anything that is neither a
//! regular file nor a FIFO, and a file another process is writing. Makes nothing but the file itself, with mode 0600.

use std::fs::{self, File, FileType, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{AuditSink, Tail};
use crate::audit::AuditError;

/// How often it is checked that the file still has a name.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of the end is read for the last line: first this, then, for a very long line, that.
const TAIL_BYTES: [u64; 2] = [64 << 10, 4 << 20];

pub(in crate::audit) struct FileSink {
    path: PathBuf,
    durable: bool,
    open: Option<Open>,
    /// What stood at the end of a file opened since the last batch.
    tail: Option<Tail>,
    asked_to_reopen: bool,
    looked_at: Instant,
}

struct Open {
    file: File,
    is_fifo: bool,
}

/// Why a path is not written to.
enum Fault {
    Rule(&'static str),
    Io(io::Error),
}

impl FileSink {
    /// Opens the file. A FIFO without a reader is opened later.
    pub(super) fn open(path: &Path, key: &str, durable: bool) -> Result<Self, AuditError> {
        let mut sink = Self {
            path: path.to_owned(),
            durable,
            open: None,
            tail: None,
            asked_to_reopen: false,
            looked_at: Instant::now(),
        };
        let target = || path.display().to_string();
        match sink.replace() {
            Ok(()) => Ok(sink),
            Err(Fault::Io(error)) if error.raw_os_error() == Some(libc::ENXIO) => Ok(sink),
            Err(Fault::Io(source)) => Err(AuditError::Open { key: key.to_owned(), target: target(), source }),
            Err(Fault::Rule(reason)) => Err(AuditError::Refused { key: key.to_owned(), target: target(), reason }),
        }
    }

    /// Opens what the path names now, unless that is what is open already.
    fn replace(&mut self) -> Result<(), Fault> {
        check_directory(&self.path)?;
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::Io(error)),
        };
        if let (Some(found), Some(open)) = (&found, &self.open)
            && is_same(found, &open.file.metadata()?)
        {
            return Ok(());
        }
        let is_fifo = found.as_ref().is_some_and(|found| found.file_type().is_fifo());
        if let Some(found) = &found {
            check_type(found.file_type())?;
        }
        let file = open(&self.path, is_fifo)?;
        // Looked at again: the path may have been swapped between the look and the opening.
        let opened = file.metadata()?;
        if check_type(opened.file_type()).is_err() || opened.file_type().is_fifo() != is_fifo {
            return Err(Fault::Rule("changed while it was being opened"));
        }
        self.tail = Some(if is_fifo { Tail::default() } else { self.take_over(&file, opened.len())? });
        self.open = Some(Open { file, is_fifo });
        Ok(())
    }

    /// Locks a regular file for this process and reads its end.
    fn take_over(&self, file: &File, bytes: u64) -> Result<Tail, Fault> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Fault::Rule("another process is writing it: give each process a file of its own"));
            }
            // A file system without locks still serves.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        if self.durable
            && bytes == 0
            && let Some(directory) = directory_of(&self.path)
        {
            File::open(directory)?.sync_all()?;
        }
        Ok(read_tail(file, bytes)?)
    }

    /// Whether the open file has lost its last name: what is written to it now would vanish.
    fn has_vanished(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked_at = Instant::now();
        self.open.as_ref().is_some_and(Open::is_nameless)
    }
}

impl AuditSink for FileSink {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn is_ready(&self) -> bool {
        self.open.is_some()
    }

    fn is_quick(&self) -> bool {
        !self.durable && self.open.as_ref().is_some_and(|open| !open.is_fifo)
    }

    fn prepare(&mut self) -> io::Result<Option<Tail>> {
        let vanished = self.has_vanished();
        if self.open.is_none() || self.asked_to_reopen || vanished {
            match self.replace() {
                Ok(()) => self.asked_to_reopen = false,
                Err(fault) => {
                    let error = fault.into_error();
                    // What is open is still the trail as long as it has a name: better there than nowhere.
                    if vanished || self.open.as_ref().is_none_or(Open::is_nameless) {
                        self.open = None;
                        return Err(error);
                    }
                    self.asked_to_reopen = false;
                    tracing::error!(path = %self.path.display(), %error, "the audit file was not reopened");
                }
            }
        }
        Ok(self.tail.take())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.open {
            Some(open) => open.file.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match &self.open {
            Some(open) if !open.is_fifo => open.file.sync_data(),
            _ => Ok(()),
        }
    }

    fn failed(&mut self) {
        // A FIFO fails when its last reader has gone; a regular file may have space again later.
        if self.open.as_ref().is_some_and(|open| open.is_fifo) {
            self.open = None;
        }
    }

    fn reopen(&mut self) {
        self.asked_to_reopen = true;
    }
}

impl Open {
    fn is_nameless(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

impl Fault {
    fn into_error(self) -> io::Error {
        match self {
            Self::Rule(reason) => io::Error::new(io::ErrorKind::PermissionDenied, reason),
            Self::Io(error) => error,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn open(path: &Path, is_fifo: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Non-blocking matters to a FIFO only; it is always set so that no swapped path can hang the opening.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).mode(0o600);
    if is_fifo {
        // Never for reading, or a FIFO would be its own reader.
        options.write(true);
    } else {
        options.read(true).append(true).create(true);
    }
    options.open(path)
}

fn check_directory(path: &Path) -> Result<(), Fault> {
    let directory = directory_of(path).ok_or(Fault::Rule("is not the path of a file"))?;
    let metadata = fs::metadata(directory)?;
    if !metadata.is_dir() {
        return Err(Fault::Rule("does not lie in a directory"));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(Fault::Rule("its directory is writable by everyone: make it mode 0750 or stricter"));
    }
    if metadata.mode() & 0o004 != 0 {
        return Err(Fault::Rule("its directory is readable by everyone: make it mode 0750 or stricter"));
    }
    Ok(())
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.file_name()?;
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

fn check_type(file_type: FileType) -> Result<(), Fault> {
    if file_type.is_symlink() {
        return Err(Fault::Rule("is a symbolic link: name the file itself"));
    }
    if file_type.is_file() || file_type.is_fifo() {
        return Ok(());
    }
    Err(Fault::Rule("is neither a regular file nor a FIFO"))
}

fn is_same(left: &Metadata, right: &Metadata) -> bool {
    left.dev() == right.dev() && left.ino() == right.ino()
}

fn read_tail(file: &File, bytes: u64) -> io::Result<Tail> {
    let mut tail = Tail::default();
    for window in TAIL_BYTES {
        let length = window.min(bytes);
        let mut end = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut end, bytes - length)?;
        let is_whole = length == bytes;
        let is_enough;
        (tail, is_enough) = split_tail(&end, is_whole);
        if is_whole || is_enough {
            break;
        }
    }
    Ok(tail)
}

/// The last line and what follows it, and whether the whole of that line is there.
fn split_tail(end: &[u8], is_whole_file: bool) -> (Tail, bool) {
    let mut parts = end.rsplitn(3, |byte| *byte == b'\n');
    let fragment = parts.next().filter(|part| !part.is_empty()).map(<[u8]>::to_vec);
    let last = parts.next().map(<[u8]>::to_vec);
    let is_complete = parts.next().is_some() || is_whole_file;
    (Tail { last, fragment }, is_complete)
}

#[cfg(test)]
impl FileSink {
    /// A sink on a file that the rules would refuse.
    pub(in crate::audit) fn unchecked(file: File) -> Self {
        Self {
            path: PathBuf::new(),
            durable: false,
            open: Some(Open { file, is_fifo: false }),
            tail: Some(Tail::default()),
            asked_to_reopen: false,
            looked_at: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    use super::*;
    use crate::audit::tests::Directory;

    fn refusal(path: &Path) -> String {
        match FileSink::open(path, "audit.sinks[0].path", false) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_file_is_made_for_its_owner_only_and_nothing_else_is_made() {
        let directory = Directory::new();
        let path = directory.path("audit.jsonl");
        assert_eq!(refusal(&path), "none");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let missing = refusal(&directory.path("missing/audit.jsonl"));
        assert!(missing.contains("cannot be opened"), "{missing}");
        assert!(!directory.path("missing").exists());
        assert_eq!(fs::read_dir(directory.path("")).unwrap().count(), 1);
    }

    #[test]
    fn links_odd_files_and_open_directories_are_refused() {
        let directory = Directory::new();
        let link = directory.path("link");
        symlink(directory.path("target"), &link).unwrap();
        assert!(refusal(&link).contains("symbolic link"), "{}", refusal(&link));
        assert!(refusal(Path::new("/dev/full")).contains("directory"), "{}", refusal(Path::new("/dev/full")));
        let inner = directory.path("inner");
        fs::DirBuilder::new().mode(0o700).create(&inner).unwrap();
        assert!(refusal(&inner).contains("regular file"), "{}", refusal(&inner));
        for (mode, word) in [(0o755, "readable"), (0o702, "writable"), (0o777, "writable")] {
            let open = directory.path(&format!("{mode:o}"));
            fs::DirBuilder::new().mode(0o700).create(&open).unwrap();
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let said = refusal(&open.join("audit.jsonl"));
            assert!(said.contains(word) && said.contains("audit.sinks[0].path"), "{said}");
        }
    }

    #[test]
    fn one_file_has_one_writer() {
        let directory = Directory::new();
        let path = directory.path("audit.jsonl");
        let first = FileSink::open(&path, "k", false).unwrap();
        assert!(refusal(&path).contains("another process"), "{}", refusal(&path));
        drop(first);
        assert_eq!(refusal(&path), "none");
    }

    #[test]
    fn a02_the_end_of_a_file_is_its_last_whole_line_and_what_is_torn() {
        let tail = |last: Option<&[u8]>, fragment: Option<&[u8]>| Tail {
            last: last.map(<[u8]>::to_vec),
            fragment: fragment.map(<[u8]>::to_vec),
        };
        assert_eq!(split_tail(b"", true), (tail(None, None), true));
        assert_eq!(split_tail(b"a\nb\n", true), (tail(Some(b"b"), None), true));
        assert_eq!(split_tail(b"a\nb\ntorn", false), (tail(Some(b"b"), Some(b"torn")), true));
        assert_eq!(split_tail(b"torn", true), (tail(None, Some(b"torn")), true));
        assert_eq!(split_tail(b"cut off\n", false), (tail(Some(b"cut off"), None), false));
        let directory = Directory::new();
        let path = directory.path("long");
        let long = "x".repeat(100_000);
        fs::write(&path, format!("first\n{long}\n")).unwrap();
        let mut sink = FileSink::open(&path, "k", true).unwrap();
        assert_eq!(sink.prepare().unwrap(), Some(tail(Some(long.as_bytes()), None)));
        assert_eq!(sink.prepare().unwrap(), None);
    }

    #[test]
    fn a_renamed_file_is_left_and_a_failed_reopening_keeps_it() {
        let directory = Directory::new();
        let path = directory.path("audit.jsonl");
        let mut sink = FileSink::open(&path, "k", false).unwrap();
        sink.prepare().unwrap();
        sink.reopen();
        assert_eq!(sink.prepare().unwrap(), None, "the same file is not opened twice");
        fs::rename(&path, directory.path("audit.1")).unwrap();
        symlink("elsewhere", &path).unwrap();
        sink.reopen();
        assert_eq!(sink.prepare().unwrap(), None);
        sink.write(b"kept\n").unwrap();
        assert_eq!(fs::read(directory.path("audit.1")).unwrap(), b"kept\n");
        fs::remove_file(&path).unwrap();
        sink.reopen();
        assert_eq!(sink.prepare().unwrap(), Some(Tail::default()));
        sink.write(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }
}
