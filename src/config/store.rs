//! The `store` block: where records are kept, and which folders have no other home.

use std::path::PathBuf;

use super::raw::{Block, Item};
use crate::secret::Folder;

const MAX_VERSIONS: u32 = 10;

/// Where the process keeps records and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The store's file; `None` keeps everything in memory.
    pub path: Option<PathBuf>,
    /// A directory that survives a restart of the container but not of the pod.
    pub state: Option<PathBuf>,
    /// Bytes of the read cache of each tenant.
    pub cache_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: None, state: None, cache_bytes: 67_108_864 }
    }
}

/// What a tenant keeps in the local store for its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The folders whose secrets have no backend.
    pub folders: Vec<Folder>,
    /// How many versions of a local secret are kept.
    pub max_versions: u32,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { folders: Vec::new(), max_versions: MAX_VERSIONS }
    }
}

/// Reads the `store` block of the document, which holds the process's keys and those of the tenant `default`.
pub(super) fn top_level(item: &Item<'_>) -> Option<(StoreConfig, LocalConfig)> {
    item.block(|block| {
        let default = StoreConfig::default();
        let store = StoreConfig {
            path: block.file("path"),
            state: block.file("state"),
            cache_bytes: block.count("cache_bytes", default.cache_bytes),
        };
        Some((store, local(block)))
    })
}

/// Reads the `store` block under `tenants.NAME`.
pub(super) fn of_tenant(item: &Item<'_>) -> Option<LocalConfig> {
    item.block(|block| Some(local(block)))
}

fn local(block: &mut Block<'_>) -> LocalConfig {
    LocalConfig { folders: block.each("local", folder), max_versions: block.count("max_versions", MAX_VERSIONS) }
}

/// A folder other than the root, which nobody means by an empty text.
pub(super) fn folder(item: &Item<'_>) -> Option<Folder> {
    item.parse(Folder::parse)
}

#[cfg(test)]
mod tests {
    use crate::config::harness::{accepted, refuses, with};

    #[test]
    fn process_and_tenant_keys_stand_in_one_block() {
        let config = accepted(&with("store: {state: s, cache_bytes: 1024, local: [a/b, c], max_versions: 3}"));
        assert_eq!(config.store.cache_bytes, 1024);
        let local = &config.tenants[0].local;
        assert_eq!((local.folders.len(), local.max_versions), (2, 3));
        refuses(&with("store: {local: ['']}"), "store.local[0]", "is empty");
        refuses(&with("store: {local: [a/]}"), "store.local[0]", "segment 1 is empty");
        refuses(&with("store: {max_versions: 0}"), "store.max_versions", "above zero");
    }
}
