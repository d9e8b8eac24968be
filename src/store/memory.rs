//! A store that forgets everything when the process ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;

use super::{Batch, RecordKey, Sealed, Store, StoreError, Table};

/// Sealed records in a map. A batch is applied under one write lock, so readers see all of it or nothing.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<Contents>);

#[derive(Debug, Default)]
struct Contents {
    records: HashMap<RecordKey, Sealed>,
    meta: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
        Ok(self.contents().records.get(key).cloned())
    }

    fn scan(
        &self,
        table: Table,
        tenant: &[u8; 16],
        visit: &mut dyn FnMut(&RecordKey, &Sealed) -> bool,
    ) -> Result<(), StoreError> {
        let is_asked = |key: &RecordKey| key.table == table && key.tenant == *tenant;
        // copied out, so that `visit` may read the store
        let found: Vec<(RecordKey, Sealed)> = {
            let contents = self.contents();
            let asked = contents.records.iter().filter(|(key, _)| is_asked(key));
            asked.map(|(key, sealed)| (*key, sealed.clone())).collect()
        };
        for (key, sealed) in &found {
            if !visit(key, sealed) {
                break;
            }
        }
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.contents().meta.get(key).cloned())
    }

    fn metas(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let contents = self.contents();
        let found = contents.meta.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.contents().records.is_empty())
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { put, remove, meta, then } = batch;
        {
            let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
            for key in &remove {
                contents.records.remove(key);
            }
            contents.records.extend(put);
            for (key, value) in meta {
                match value {
                    Some(value) => drop(contents.meta.insert(key, value)),
                    None => drop(contents.meta.remove(&key)),
                }
            }
        }
        then.run();
        Ok(())
    }
}
