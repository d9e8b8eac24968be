//! Where records are kept: in memory under a key that is never stored, or in a file whose keys a provider unwraps.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::seal_credentials;
use crate::config::{BackendConfig, Config, PassphraseSource, Problem, SealKey, SealService};
use crate::seal::{
    Barrier, EnvKey, FileKey, KeyProvider, Keyring, Passphrase, RandomKey, Records, RootKey, SealError,
    generate_key_file,
};
use crate::secret::Tenant;
use crate::store::{Cached, FileStore, MemoryStore, Store};
use crate::wire::vault::TransitKey;

/// The mount every transit engine has unless somebody moved it.
const TRANSIT: &str = "transit";

/// The store of a process.
pub(super) enum Keeper {
    /// Gone with the process.
    Memory {
        root: RootKey,
        store: Arc<dyn Store>,
    },
    File {
        keyring: Arc<Keyring>,
        file: Arc<dyn Store>,
        cache_bytes: u64,
    },
}

impl Keeper {
    /// A store in memory under a random key.
    pub(super) fn in_memory() -> Result<Self, Problem> {
        let root = RandomKey.root_key().map_err(|error| Problem::new("seal", None, error.to_string()))?;
        Ok(Self::Memory { root, store: Arc::new(MemoryStore::default()) })
    }

    /// The store a configuration names. One that cannot be opened is an error, never a fresh start.
    pub(super) fn open(config: &Config) -> Result<Self, Problem> {
        let Some((key, path)) = path(config) else {
            let root = root_key(config).map_err(|error| Problem::new("seal", None, error.to_string()))?;
            return Ok(Self::Memory { root, store: Arc::new(MemoryStore::default()) });
        };
        let current = current(config)?;
        let previous = config.seal.as_ref().and_then(|seal| seal.previous.as_ref());
        let previous = previous.map(|key| provider(config, key, "seal.previous")).transpose()?;
        let unlock = || unlocked(key, &path, &*current, previous.as_deref());
        let (mut file, mut keyring) = unlock()?;
        // only now is it known that the file is ours to change
        if file.is_loose() {
            drop((file, keyring));
            tighten(&path);
            (file, keyring) = unlock()?;
        }
        Ok(Self::File { keyring: Arc::new(keyring), file, cache_bytes: config.store.cache_bytes })
    }

    /// A tenant's records: to be asked for once a tenant.
    pub(super) async fn records(&self, tenant: &Tenant) -> Result<Arc<Records>, SealError> {
        match self {
            Self::Memory { root, store } => Ok(in_memory(root, store, tenant)),
            Self::File { keyring, file, cache_bytes } => {
                let barrier = keyring.barrier(tenant).await?;
                let cached = Cached::new(file.clone(), *cache_bytes);
                Ok(Arc::new(Records::open(barrier, Arc::new(cached))))
            }
        }
    }

    /// The same where nothing has to be waited for.
    pub(super) fn records_now(&self, tenant: &Tenant) -> Option<Arc<Records>> {
        match self {
            Self::Memory { root, store } => Some(in_memory(root, store, tenant)),
            Self::File { .. } => None,
        }
    }

    /// Whether what is written is still kept.
    pub(super) fn takes_writes(&self) -> bool {
        match self {
            Self::Memory { store, .. } => store.takes_writes(),
            Self::File { file, .. } => file.takes_writes(),
        }
    }

    pub(super) fn keyring(&self) -> Option<&Arc<Keyring>> {
        match self {
            Self::Memory { .. } => None,
            Self::File { keyring, .. } => Some(keyring),
        }
    }

    /// The audit key of a configuration that names none: it follows the root key where that can be had without the store,
    /// so that the trail can be verified elsewhere.
    pub(super) fn audit_key(&self, config: &Config) -> Result<crate::audit::AuditKey, Problem> {
        use crate::audit::AuditKey;
        match self {
            Self::Memory { root, .. } => Ok(AuditKey::derive(root.bytes())),
            Self::File { keyring, .. } => match config.seal.as_ref().map(|seal| &seal.current) {
                Some(key) if key.is_direct() => {
                    let root = root_key(config).map_err(|error| Problem::new("seal", None, error.to_string()))?;
                    Ok(AuditKey::derive(root.bytes()))
                }
                _ => Ok(AuditKey::derive(keyring.derive("audit").as_slice())),
            },
        }
    }
}

/// Opens a store's file, which the key of the configuration `at` names, and its keys.
fn unlocked(
    at: &str,
    path: &Path,
    current: &dyn KeyProvider,
    previous: Option<&dyn KeyProvider>,
) -> Result<(Arc<FileStore>, Keyring), Problem> {
    let failed = |error: String| Problem::new(at, None, error);
    let file = Arc::new(FileStore::open(path).map_err(|error| failed(error.to_string()))?);
    let keyring = wait(Keyring::open(file.clone(), current, previous)).map_err(failed)?;
    let keyring = keyring.map_err(|error| Problem::new("seal", None, format!("{}: {error}", path.display())))?;
    Ok((file, keyring))
}

/// Gives back what most of a file is: free space. A store that cannot be made smaller is as good as it was.
fn tighten(path: &Path) {
    let file = path.display();
    match FileStore::compact(path) {
        Ok((before, after)) => tracing::info!(%file, before, after, "the store's file was mostly free: compacted"),
        Err(error) => tracing::warn!(%error, "the store's file is mostly free and could not be compacted"),
    }
}

fn in_memory(root: &RootKey, store: &Arc<dyn Store>, tenant: &Tenant) -> Arc<Records> {
    // a store in memory belongs to this process only, so its id needs no place to be kept
    Arc::new(Records::new(Barrier::new(root, [0; 16], tenant), store.clone()))
}

/// Where the store's file is, and the key that says so.
fn path(config: &Config) -> Option<(&'static str, PathBuf)> {
    let store = &config.store;
    let in_state = || store.state.as_ref().map(|state| ("store.state", state.join("state.redb")));
    store.path.clone().map(|path| ("store.path", path)).or_else(in_state)
}

/// What wraps the store's root key: the configured provider, else a key kept in the state directory (`dev`: beside the
/// store).
pub(super) fn current(config: &Config) -> Result<Box<dyn KeyProvider>, Problem> {
    match (&config.seal, path(config)) {
        (Some(seal), _) => provider(config, &seal.current, "seal"),
        (None, Some((at, store))) => {
            let beside = store.parent().unwrap_or(Path::new("."));
            let directory = config.store.state.as_deref().unwrap_or(beside);
            kept_key(directory, &store).map_err(|error| Problem::new(at, None, error))
        }
        (None, None) => Ok(Box::new(RandomKey)),
    }
}

fn provider(config: &Config, key: &SealKey, at: &str) -> Result<Box<dyn KeyProvider>, Problem> {
    let failed = |text: String| Problem::new(at, None, text);
    Ok(match key {
        SealKey::File { path } => Box::new(FileKey(path.clone())),
        SealKey::Env { variable } => Box::new(EnvKey(variable.clone())),
        SealKey::Passphrase(PassphraseSource::File(path)) => Box::new(Passphrase::from_file(path)),
        SealKey::Passphrase(PassphraseSource::Env(name)) => Box::new(Passphrase::from_variable(name)),
        SealKey::Service { provider: SealService::VaultTransit, key, config: service } => {
            let BackendConfig::HashicorpVault(vault) = &**service else {
                return Err(failed("config is not that of a Vault server".to_owned()));
            };
            let settings = seal_credentials(config, vault).map_err(failed)?;
            Box::new(TransitKey::new(settings, TRANSIT, key))
        }
        SealKey::Service { .. } => return Err(failed("this provider is not served by this release".to_owned())),
    })
}

/// Runs a future to its end where no runtime is.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("a runtime cannot be started: {error}"))?;
    Ok(runtime.block_on(future))
}

fn root_key(config: &Config) -> Result<RootKey, SealError> {
    match config.seal.as_ref().map(|seal| &seal.current) {
        None => RandomKey.root_key(),
        Some(SealKey::File { path }) => FileKey(path.clone()).root_key(),
        Some(SealKey::Env { variable }) => EnvKey(variable.clone()).root_key(),
        Some(SealKey::Passphrase(_) | SealKey::Service { .. }) => {
            Err(SealError::Key("this provider needs store.path or store.state: it wraps the key of a store".to_owned()))
        }
    }
}

/// A key for a store nobody gave one: made with the store, and only with it.
fn kept_key(directory: &Path, store: &Path) -> Result<Box<dyn KeyProvider>, String> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(format!("{}: {error}", directory.display()));
        }
        _ => {}
    }
    let key = directory.join("root-key");
    if !key.exists() && !store.exists() {
        generate_key_file(&key).map_err(|error| error.to_string())?;
    }
    Ok(Box::new(FileKey(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, RecordKey, Sealed, Table};

    #[test]
    fn a_generated_key_lies_in_the_state_directory_and_not_beside_what_it_seals() {
        let scratch = std::env::temp_dir().join(format!("scaivault-keeper-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&scratch));
        DirBuilder::new().mode(0o700).create(&scratch).unwrap();
        let (data, state) = (scratch.join("data"), scratch.join("state"));
        let mut config = Config::default();
        config.store.path = Some(data.join("store.redb"));
        config.store.state = Some(state.clone());
        drop(Keeper::open(&config).unwrap());
        assert!(state.join("root-key").exists() && !data.join("root-key").exists());
        drop(Keeper::open(&config).unwrap());
        // a lost key is a lost store, never a new one
        std::fs::remove_file(state.join("root-key")).unwrap();
        let problem = Keeper::open(&config).err().unwrap().to_string();
        assert!(problem.contains("root-key"), "{problem}");
        assert!(!state.join("root-key").exists());
        std::fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_file_that_is_mostly_free_is_compacted_once_its_key_is_known_to_be_right() {
        let scratch = std::env::temp_dir().join(format!("scaivault-keeper-loose-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&scratch));
        DirBuilder::new().mode(0o700).create(&scratch).unwrap();
        let (path, state) = (scratch.join("store.redb"), scratch.join("state"));
        let mut config = Config::default();
        config.store.path = Some(path.clone());
        config.store.state = Some(state.clone());
        drop(Keeper::open(&config).unwrap());
        let at = |version: u64| RecordKey { table: Table::Version, tenant: [1; 16], index: [1; 32], version };
        let filling = async {
            let store = FileStore::open(&path).unwrap();
            for from in [0, 100, 200, 300] {
                let put = (from..from + 100).map(|version| (at(version), Sealed(Arc::from(vec![7; 60_000])))).collect();
                store.commit(Batch { put, ..Batch::default() }).await.unwrap();
            }
            let remove = (0..400).filter(|version| version % 5 != 0).map(at).collect();
            store.commit(Batch { remove, ..Batch::default() }).await.unwrap();
        };
        wait(filling).unwrap();
        let loose = std::fs::read(&path).unwrap();
        let (key, kept) = (state.join("root-key"), scratch.join("kept"));
        std::fs::rename(&key, &kept).unwrap();
        generate_key_file(&key).unwrap();
        assert!(Keeper::open(&config).is_err());
        assert!(std::fs::read(&path).unwrap() == loose, "not ours to change");
        std::fs::rename(&kept, &key).unwrap();
        let Keeper::File { file, .. } = Keeper::open(&config).unwrap() else { panic!("a store in memory") };
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len < loose.len() as u64 / 2, "{} bytes became {len}", loose.len());
        for version in 0..400 {
            assert_eq!(file.read(&at(version)).unwrap().is_some(), version % 5 == 0, "record {version}");
        }
        drop(file);
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
