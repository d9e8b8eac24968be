//! A key made of a passphrase by Argon2id. The salt and the cost are not secret and lie beside what they sealed, so that
//! the cost can grow: every new wrap takes a new salt and the cost of today.

use std::fs;
use std::path::PathBuf;

use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::provider::{origin_of, read_text, read_variable};
use super::{KeyProvider, RootKey, SealError, Wrapped};

const KIND: &str = "passphrase";
const MIN_BYTES: usize = 12;
const SALT: usize = 16;
/// Below this much memory, the cost is time instead.
const SMALL: u64 = 256 << 20;
/// What a store's own file may ask of this machine.
const MOST: Cost = Cost { memory_kib: 1 << 20, passes: 64, lanes: 8 };

/// What deriving a key costs whoever tries passphrases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    const USUAL: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
    const SMALL: Self = Self { memory_kib: 19 << 10, passes: 8, lanes: 1 };

    fn of_today() -> Self {
        match memory_bytes() {
            Some(bytes) if bytes < SMALL => Self::SMALL,
            _ => Self::USUAL,
        }
    }

    const fn is_bearable(self) -> bool {
        self.memory_kib <= MOST.memory_kib && self.passes <= MOST.passes && self.lanes <= MOST.lanes
    }
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    kdf: String,
    salt: String,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Variable(String),
}

/// A passphrase of at least 12 bytes, read at start and at rotation; one trailing newline is not part of it.
#[derive(Clone, Debug)]
pub struct Passphrase {
    source: Source,
    /// Of new wraps; `None` is the cost of today.
    cost: Option<Cost>,
}

impl Passphrase {
    /// In a file: symlinks and group read accepted, world access not.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), cost: None }
    }

    /// In an environment variable.
    #[must_use]
    pub fn from_variable(name: impl Into<String>) -> Self {
        Self { source: Source::Variable(name.into()), cost: None }
    }

    fn origin(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Variable(name) => origin_of(name),
        }
    }

    fn text(&self) -> Result<Zeroizing<String>, SealError> {
        match &self.source {
            Source::File(path) => read_text(path),
            Source::Variable(name) => read_variable(name),
        }
    }

    /// Runs where it may take its time.
    async fn derive(&self, salt: Vec<u8>, cost: Cost) -> Result<RootKey, SealError> {
        let (text, origin) = (self.text()?, self.origin());
        let work = move || derive(text.strip_suffix('\n').unwrap_or(&text), &salt, cost, &origin);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(work).await.map_err(|_| SealError::Key("interrupted".to_owned()))?,
            Err(_) => work(),
        }
    }
}

#[async_trait]
impl KeyProvider for Passphrase {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        let mut salt = vec![0; SALT];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        let cost = self.cost.unwrap_or_else(Cost::of_today);
        let parameters = Parameters { kdf: Algorithm::Argon2id.to_string(), salt: STANDARD.encode(&salt), cost };
        let parameters = serde_json::to_value(parameters).map_err(|_| SealError::Form)?;
        self.derive(salt, cost).await?.wrap(KIND, store_id, root, parameters)
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        wrapped.expect(KIND)?;
        let parameters = Parameters::deserialize(&wrapped.parameters).map_err(|_| SealError::Form)?;
        let salt = STANDARD.decode(&parameters.salt).map_err(|_| SealError::Form)?;
        if parameters.kdf != Algorithm::Argon2id.as_str() || !parameters.cost.is_bearable() {
            return Err(SealError::Form);
        }
        self.derive(salt, parameters.cost).await?.unwrap(KIND, store_id, wrapped, &self.origin())
    }
}

fn derive(text: &str, salt: &[u8], cost: Cost, origin: &str) -> Result<RootKey, SealError> {
    if text.len() < MIN_BYTES {
        return Err(SealError::Key(format!("{origin}: a passphrase has at least {MIN_BYTES} bytes")));
    }
    let failed = |error: argon2::Error| SealError::Key(format!("{origin}: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(text.as_bytes(), salt, key.as_mut_slice()).map_err(failed)?;
    Ok(RootKey::new(key))
}

/// What this process may use: the smaller of its control group's limit and the machine's memory.
fn memory_bytes() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    [group, machine_bytes()].into_iter().flatten().min()
}

fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn passphrase(path: &Path, text: &str) -> Passphrase {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        Passphrase { cost: Some(CHEAP), ..Passphrase::from_file(path) }
    }

    #[tokio::test]
    async fn e04_a_passphrase_opens_what_it_sealed_and_no_other_does() {
        let dir = std::env::temp_dir().join(format!("scaivault-passphrase-{}", std::process::id()));
        let right = passphrase(&dir.join("right"), "correct horse battery\n");
        let wrong = passphrase(&dir.join("wrong"), "correct horse batterz\n");
        let root = Zeroizing::new([9; 32]);
        let wrapped = right.wrap(&[1; 16], &root).await.unwrap();
        let text = serde_json::to_string(&wrapped).unwrap();
        assert!(text.contains("argon2id") && text.contains("memory_kib") && !text.contains("horse"));
        let read: Wrapped = serde_json::from_str(&text).unwrap();
        let dear = Passphrase { cost: None, ..right.clone() };
        assert_eq!(dear.unwrap(&[1; 16], &read).await.unwrap(), root, "the cost is the one it was sealed with");
        assert!(matches!(wrong.unwrap(&[1; 16], &wrapped).await, Err(SealError::Key(_))));
        assert!(matches!(right.unwrap(&[2; 16], &wrapped).await, Err(SealError::Broken)));
        let again = right.wrap(&[1; 16], &root).await.unwrap();
        assert_ne!(again.parameters["salt"], wrapped.parameters["salt"], "a new salt each time");
        assert!(right.root_key().err().unwrap().to_string().contains("store.path"));

        let mut greedy = wrapped.clone();
        greedy.parameters["memory_kib"] = (1_u64 << 24).into();
        assert!(matches!(right.unwrap(&[1; 16], &greedy).await, Err(SealError::Form)));
        let mut other = wrapped;
        other.parameters["kdf"] = "argon2d".into();
        assert!(matches!(right.unwrap(&[1; 16], &other).await, Err(SealError::Form)));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn e15_a_passphrase_anyone_could_guess_or_read_is_refused() {
        let dir = std::env::temp_dir().join(format!("scaivault-passphrase-e15-{}", std::process::id()));
        let root = Zeroizing::new([9; 32]);
        let path = dir.join("short");
        let short = passphrase(&path, "hunter2\n");
        assert!(short.wrap(&[1; 16], &root).await.is_err());
        let open = passphrase(&path, "correct horse battery");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open.wrap(&[1; 16], &root).await.unwrap_err().to_string().contains("open to everyone"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
