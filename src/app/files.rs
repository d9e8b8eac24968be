//! Files the configuration names: read whole, bounded, with the key path in every error.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::Problem;

const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file's text without one trailing newline.
pub(super) fn credential(path: &Path, key: &str, line: Option<u32>) -> Result<Zeroizing<String>, Problem> {
    let mut text = text(path, key, line)?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.is_empty() {
        return Err(Problem::new(key, line, format!("{} is empty", path.display())));
    }
    Ok(text)
}

/// A file's text.
pub(super) fn text(path: &Path, key: &str, line: Option<u32>) -> Result<Zeroizing<String>, Problem> {
    let bytes = bytes(path).map_err(|error| Problem::new(key, line, format!("{}: {error}", path.display())))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Problem::new(key, line, format!("{} is not UTF-8 text", path.display()))),
    }
}

/// A file's bytes, at most 4 MiB.
pub(super) fn bytes(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    // a FIFO or a device would hold up whoever reads, and the trail's own pipe must not be read at all
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "larger than 4 MiB"));
    }
    Ok(bytes)
}
