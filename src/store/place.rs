//! Where a store's file lies: a directory nobody else may look into, a file nobody else may read, and a new file that
//! appears under its name only once it is a whole store. Nothing here ever replaces a file that exists.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StoreError;

const EVERYONE: u32 = 0o007;
const BITS: u32 = 0o7777;

/// What the system said about `path`.
pub(super) fn refused(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), what: error.to_string() }
}

/// The directory of a store's file, made (0700) if it is not there.
pub(super) fn directory(path: &Path) -> Result<PathBuf, StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let failed = |error: io::Error| refused(&directory, &error);
    match fs::metadata(&directory) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    let found = fs::metadata(&directory).map_err(failed)?;
    if !found.is_dir() {
        return Err(failed(io::Error::from(ErrorKind::NotADirectory)));
    }
    closed_to_others(&directory, found.mode())?;
    Ok(directory)
}

/// The file at `path`, if there is one; refused if it cannot be a store or others may read it.
pub(super) fn existing(path: &Path) -> Result<Option<File>, StoreError> {
    let failed = |error: io::Error| refused(path, &error);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    let broken = |what: &str| StoreError::Broken { path: path.display().to_string(), what: what.to_owned() };
    if !found.is_file() {
        return Err(broken("not a regular file"));
    }
    closed_to_others(path, found.mode())?;
    if found.len() == 0 {
        return Err(broken("the file is empty"));
    }
    Ok(Some(file))
}

/// Group access is how Kubernetes mounts a volume for a pod's user; access for everyone is never meant.
fn closed_to_others(path: &Path, mode: u32) -> Result<(), StoreError> {
    if mode & EVERYONE == 0 {
        return Ok(());
    }
    Err(StoreError::Exposed { path: path.display().to_string(), mode: mode & BITS })
}

/// A file under a name of its own, removed when dropped, until it takes the name it is meant for.
pub(super) struct Unnamed {
    path: PathBuf,
}

impl Unnamed {
    /// A new empty file (0600) in `directory`.
    pub(super) fn create(directory: &Path) -> Result<(Self, File), StoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| refused(directory, &io::Error::other(error.to_string())))?;
        let path = directory.join(format!(".store-{:016x}.new", u64::from_be_bytes(random)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| refused(&path, &error))?;
        Ok((Self { path }, file))
    }

    /// Gives the file its name. `false` if that is taken.
    pub(super) fn take_name(self, path: &Path) -> Result<bool, StoreError> {
        let failed = |error: io::Error| refused(path, &error);
        match fs::hard_link(&self.path, path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            // file systems without hard links: the best there is
            Err(error) if is_unsupported(&error) => {
                if fs::symlink_metadata(path).is_ok() {
                    return Ok(false);
                }
                fs::rename(&self.path, path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let directory = self.path.parent().unwrap_or(path).to_path_buf();
        drop(self);
        File::open(&directory).and_then(|opened| opened.sync_all()).map_err(|error| refused(&directory, &error))?;
        Ok(true)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}
