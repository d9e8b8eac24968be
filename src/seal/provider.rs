//! Where the root key comes from.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::SealError;

const KEY_BYTES: usize = 32;
const MAX_FILE_BYTES: u64 = 4096;

/// The key everything else is derived from; wiped when dropped.
pub struct RootKey(Zeroizing<[u8; KEY_BYTES]>);

impl RootKey {
    /// The bytes, for deriving only.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Reads base64 of exactly 32 bytes, with at most one trailing newline.
    ///
    /// # Errors
    /// What is wrong, naming `origin` and never the text.
    pub fn from_base64(text: &str, origin: &str) -> Result<Self, SealError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| {
            SealError::Key(format!("{origin}: not base64 (make one with `scaivault-proxy seal init`)"))
        })?);
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(SealError::Key(format!(
                "{origin}: {} bytes after decoding, expected {KEY_BYTES}",
                bytes.len()
            )));
        }
        key.copy_from_slice(&bytes);
        bytes.zeroize();
        if key.iter().all(|byte| *byte == 0) {
            return Err(SealError::Key(format!("{origin}: all zeros is not a key")));
        }
        Ok(Self(key))
    }
}

/// Yields the root key. Called at start and at rotation, never on a request.
pub trait KeyProvider: Send + Sync {
    /// The key.
    ///
    /// # Errors
    /// What is missing or wrong and where.
    fn root_key(&self) -> Result<RootKey, SealError>;
}

/// A key made at start and gone at exit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomKey;

impl KeyProvider for RandomKey {
    fn root_key(&self) -> Result<RootKey, SealError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| SealError::Random)?;
        Ok(RootKey(key))
    }
}

/// A key in a file: base64 of 32 bytes, symlinks and group read accepted (Kubernetes mounts), world access not.
#[derive(Clone, Debug)]
pub struct FileKey(pub PathBuf);

impl KeyProvider for FileKey {
    fn root_key(&self) -> Result<RootKey, SealError> {
        let origin = self.0.display().to_string();
        let failed = |error: std::io::Error| SealError::Key(format!("{origin}: {error}"));
        let file = fs::File::open(&self.0).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(SealError::Key(format!("{origin}: not a regular file")));
        }
        if meta.mode() & 0o007 != 0 {
            return Err(SealError::Key(format!(
                "{origin}: open to everyone (mode {:o}); chmod o= it",
                meta.mode() & 0o777
            )));
        }
        let mut text = Zeroizing::new(String::with_capacity(64));
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
        RootKey::from_base64(&text, &origin)
    }
}

/// A key in an environment variable: base64 of 32 bytes.
#[derive(Clone, Debug)]
pub struct EnvKey(pub String);

impl KeyProvider for EnvKey {
    fn root_key(&self) -> Result<RootKey, SealError> {
        let origin = format!("environment variable {}", self.0);
        let text = Zeroizing::new(std::env::var(&self.0).map_err(|_| SealError::Key(format!("{origin}: not set")))?);
        RootKey::from_base64(&text, &origin)
    }
}

/// Writes a new random key to `path` (mode 0600), which must not exist.
///
/// # Errors
/// When the file exists or cannot be written; nothing is left behind then.
pub fn generate_key_file(path: &Path) -> Result<(), SealError> {
    let origin = path.display().to_string();
    let failed = |error: std::io::Error| SealError::Key(format!("{origin}: {error}"));
    let key = RandomKey.root_key()?;
    let text = Zeroizing::new(STANDARD.encode(key.bytes()));
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => SealError::Key(format!(
            "{origin}: exists already, and a key is never overwritten: what it seals would be lost. Choose another file"
        )),
        _ => failed(error),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all());
    written.map_err(|error| {
        drop(fs::remove_file(path));
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("scaivault-seal-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        dir.join("key")
    }

    #[test]
    fn e15_key_files_that_cannot_be_trusted_are_refused() {
        let path = scratch("e15");
        generate_key_file(&path).unwrap();
        let again = generate_key_file(&path).unwrap_err().to_string();
        assert!(again.contains("exists already, and a key is never overwritten"), "{again}");
        assert!(FileKey(path.clone()).root_key().is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(FileKey(path.clone()).root_key().is_ok(), "group read is how Kubernetes mounts it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(FileKey(path.clone()).root_key().err().unwrap().to_string().contains("open to everyone"));
        for bad in
            ["", "AAAA", &STANDARD.encode([0_u8; 32]), "not base64", &format!("{}\n\n", STANDARD.encode([1_u8; 32]))]
        {
            fs::write(&path, bad).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(FileKey(path.clone()).root_key().is_err(), "{bad:?}");
        }
        let link = path.with_file_name("link");
        fs::write(&path, format!("{}\n", STANDARD.encode([7_u8; 32]))).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(FileKey(link).root_key().is_ok(), "Kubernetes mounts are symlinks");
    }
}
