//! A store that forgets everything when the process ends.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::{Batch, RecordKey, Sealed, Store, StoreError};

/// Sealed records in a map. A batch is applied under one write lock, so readers see all of it or nothing.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<HashMap<RecordKey, Sealed>>);

#[async_trait]
impl Store for MemoryStore {
    fn read(&self, key: &RecordKey) -> Result<Option<Sealed>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut records = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for key in &batch.remove {
            records.remove(key);
        }
        records.extend(batch.put);
        Ok(())
    }
}
