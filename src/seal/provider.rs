//! Where the root key comes from, and how it is wrapped where the store keeps it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::locked::Pinned;
use super::{SealError, envelope};

const KEY_BYTES: usize = 32;
const MAX_FILE_BYTES: u64 = 4096;
const WRAP: &str = "store root key v1";

/// The key everything else is derived from; wiped when dropped, kept out of swap where the system allows it.
pub struct RootKey(Pinned<Zeroizing<[u8; KEY_BYTES]>>);

impl RootKey {
    /// Takes over 32 bytes that a provider unwrapped.
    pub(super) fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Pinned::new(bytes))
    }

    /// The bytes, for deriving only.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The bytes, for wrapping only.
    pub(super) fn whole(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.0
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
        Ok(Self::new(key))
    }

    /// Says which key it is without saying anything about it.
    fn id(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let tag = hmac::sign(&key, b"scaivault-proxy key id v1");
        envelope::hex(tag.as_ref().get(..8).unwrap_or_default())
    }

    /// Wraps a store's root key under this one.
    pub(super) fn wrap(
        &self,
        provider: &str,
        store_id: &[u8; 16],
        root: &[u8; KEY_BYTES],
        parameters: serde_json::Value,
    ) -> Result<Wrapped, SealError> {
        let key_id = self.id();
        let sealed = envelope::seal(self.bytes(), WRAP, [store_id, provider.as_bytes()], root)?;
        Ok(Wrapped { provider: provider.to_owned(), key_id, ciphertext: STANDARD.encode(sealed), parameters })
    }

    /// The inverse of [`Self::wrap`]; `origin` is what the key was read from.
    pub(super) fn unwrap(
        &self,
        provider: &str,
        store_id: &[u8; 16],
        wrapped: &Wrapped,
        origin: &str,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
        wrapped.expect(provider)?;
        if wrapped.key_id != self.id() {
            return Err(SealError::Key(format!(
                "{origin}: key {}, but the store is sealed under key {} (set seal.previous while you change keys)",
                self.id(),
                wrapped.key_id
            )));
        }
        let sealed = STANDARD.decode(&wrapped.ciphertext).map_err(|_| SealError::Form)?;
        let plain = envelope::open(self.bytes(), WRAP, [store_id, provider.as_bytes()], &sealed)?;
        let mut root = Zeroizing::new([0_u8; KEY_BYTES]);
        if plain.len() != KEY_BYTES {
            return Err(SealError::Form);
        }
        envelope::fill(root.as_mut_slice(), &plain);
        Ok(root)
    }
}

/// A store's root key, as the store keeps it: encrypted by a provider, with what the provider needs to decrypt it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wrapped {
    /// [`KeyProvider::kind`] of the provider.
    pub provider: String,
    /// Which of the provider's keys; never the key.
    pub key_id: String,
    /// Of the provider's own form.
    pub ciphertext: String,
    /// What else the provider needs: a salt, a version.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

impl Wrapped {
    /// Whether it is this provider's.
    ///
    /// # Errors
    /// Names both providers if it is not.
    pub fn expect(&self, provider: &str) -> Result<(), SealError> {
        if self.provider == provider {
            return Ok(());
        }
        Err(SealError::Key(format!(
            "the store is sealed by provider {} (key {}), seal.provider is {provider}; set seal.previous to change it",
            self.provider, self.key_id
        )))
    }
}

/// Keeps the key above a store's root key. Asked at start and at rotation, never on a request.
#[async_trait]
pub trait KeyProvider: Send + Sync {
    /// The word in `seal.provider`.
    fn kind(&self) -> &'static str;

    /// Encrypts a store's root key, bound to the store.
    ///
    /// # Errors
    /// What is missing or wrong and where.
    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError>;

    /// Decrypts what [`Self::wrap`] made for the same store.
    ///
    /// # Errors
    /// When it is another provider's, another key's, another store's or was changed; what is missing and where.
    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError>;

    /// The provider's own key, for a process without a store.
    ///
    /// # Errors
    /// What is missing or wrong and where; when this provider does not give its key away.
    fn root_key(&self) -> Result<RootKey, SealError> {
        Err(SealError::Key(format!("seal.provider {} needs a store: set store.path", self.kind())))
    }
}

/// A key made at start and gone at exit; seals nothing that outlives the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomKey;

#[async_trait]
impl KeyProvider for RandomKey {
    fn kind(&self) -> &'static str {
        "random"
    }

    async fn wrap(&self, _: &[u8; 16], _: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        Err(SealError::Key("a store that outlives the process needs a key that does: set seal".to_owned()))
    }

    async fn unwrap(&self, _: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        wrapped.expect(self.kind())?;
        Err(SealError::Form)
    }

    fn root_key(&self) -> Result<RootKey, SealError> {
        envelope::random_key().map(RootKey::new)
    }
}

/// A key in a file: base64 of 32 bytes, symlinks and group read accepted (Kubernetes mounts), world access not.
#[derive(Clone, Debug)]
pub struct FileKey(pub PathBuf);

#[async_trait]
impl KeyProvider for FileKey {
    fn kind(&self) -> &'static str {
        "file"
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        self.root_key()?.wrap(self.kind(), store_id, root, serde_json::Value::Null)
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        wrapped.expect(self.kind())?;
        self.root_key()?.unwrap(self.kind(), store_id, wrapped, &self.0.display().to_string())
    }

    fn root_key(&self) -> Result<RootKey, SealError> {
        RootKey::from_base64(&read_text(&self.0)?, &self.0.display().to_string())
    }
}

/// A key in an environment variable: base64 of 32 bytes.
#[derive(Clone, Debug)]
pub struct EnvKey(pub String);

#[async_trait]
impl KeyProvider for EnvKey {
    fn kind(&self) -> &'static str {
        "env"
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        self.root_key()?.wrap(self.kind(), store_id, root, serde_json::Value::Null)
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        wrapped.expect(self.kind())?;
        self.root_key()?.unwrap(self.kind(), store_id, wrapped, &origin_of(&self.0))
    }

    fn root_key(&self) -> Result<RootKey, SealError> {
        RootKey::from_base64(&read_variable(&self.0)?, &origin_of(&self.0))
    }
}

/// The text of a small file that not everyone may read.
pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, SealError> {
    let origin = path.display();
    let failed = |error: std::io::Error| SealError::Key(format!("{origin}: {error}"));
    let file = File::open(path).map_err(failed)?;
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
    // room for all of it at once: a buffer that grows leaves copies behind
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize + 1));
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The text of an environment variable.
pub(super) fn read_variable(name: &str) -> Result<Zeroizing<String>, SealError> {
    std::env::var(name).map(Zeroizing::new).map_err(|_| SealError::Key(format!("{}: not set", origin_of(name))))
}

pub(super) fn origin_of(variable: &str) -> String {
    format!("environment variable {variable}")
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

    #[tokio::test]
    async fn e04_a_root_key_unwraps_with_its_own_key_for_its_own_store_only() {
        let (path, other) = (scratch("e04"), scratch("e04-other"));
        generate_key_file(&path).unwrap();
        generate_key_file(&other).unwrap();
        let (key, other) = (FileKey(path.clone()), FileKey(other));
        let root = Zeroizing::new([7; 32]);
        let wrapped = key.wrap(&[1; 16], &root).await.unwrap();
        let text = serde_json::to_string(&wrapped).unwrap();
        let read: Wrapped = serde_json::from_str(&text).unwrap();
        assert_eq!(key.unwrap(&[1; 16], &read).await.unwrap(), root);
        assert!(!text.contains(fs::read_to_string(&path).unwrap().trim()), "never the key");
        let error = other.unwrap(&[1; 16], &wrapped).await.unwrap_err().to_string();
        assert!(error.contains(&wrapped.key_id) && error.contains("seal.previous"), "{error}");
        assert!(matches!(key.unwrap(&[2; 16], &wrapped).await, Err(SealError::Broken)), "another store");
        let error = EnvKey("UNSET".to_owned()).unwrap(&[1; 16], &wrapped).await.unwrap_err().to_string();
        assert!(error.contains("provider file") && error.contains("env"), "{error}");
        let unnamed = Wrapped { key_id: String::new(), ..wrapped };
        assert!(matches!(key.unwrap(&[1; 16], &unnamed).await, Err(SealError::Key(_))), "no key id");
        assert!(RandomKey.wrap(&[1; 16], &root).await.is_err());
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
