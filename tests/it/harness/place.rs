//! A directory of a test's own, below the target directory, closed to everybody else.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A fresh directory with mode 0700. Removed with its value unless the test is failing.
pub(crate) struct Place(PathBuf);

impl Place {
    /// Makes one.
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(root).unwrap();
        let path = root.join(format!("it-{}-{number}", std::process::id()));
        // what an earlier run with this process id may have left
        drop(fs::remove_dir_all(&path));
        let place = Self(path);
        place.directory("");
        place
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory below it, mode 0700.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = if name.is_empty() { self.0.clone() } else { self.0.join(name) };
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&path).unwrap();
        path
    }

    /// Writes a file below it, mode 0600, so that a reader sees the old or the new content and nothing between.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = Path::new(name).parent().and_then(Path::to_str).filter(|parent| !parent.is_empty()) {
            self.directory(parent);
        }
        let fresh = path.with_extension("fresh");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).unwrap();
        file.write_all(content).unwrap();
        drop(file);
        fs::rename(&fresh, &path).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for you to look at: {}", self.0.display());
        } else {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}
