//! Keeps backends' credentials alive, on the runtime that serves requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::backend::Backend;

/// Runs one task a backend. Tasks start when the data runtime is known and end when their backend is gone.
#[derive(Default)]
pub struct Tender {
    runtime: OnceLock<Handle>,
    tended: Mutex<HashMap<usize, Tended>>,
}

/// A client and its task, once started.
type Tended = (Arc<dyn Backend>, Option<AbortHandle>);

impl Tender {
    /// Called on the data runtime with its first connection; later calls do nothing.
    pub fn attach(&self) {
        if self.runtime.get().is_some() {
            return;
        }
        if self.runtime.set(Handle::current()).is_ok() {
            let mut tended = self.tended.lock().unwrap_or_else(PoisonError::into_inner);
            for (client, task) in tended.values_mut() {
                self.start(client, task);
            }
        }
    }

    /// Tends exactly these from now on.
    pub(super) fn keep(&self, clients: Vec<Arc<dyn Backend>>) {
        let mut tended = self.tended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        for client in clients {
            let id = Arc::as_ptr(&client).cast::<()>().addr();
            let (client, mut task) = tended.remove(&id).unwrap_or((client, None));
            self.start(&client, &mut task);
            next.insert(id, (client, task));
        }
        for (_, (_, task)) in tended.drain() {
            if let Some(task) = task {
                task.abort();
            }
        }
        *tended = next;
    }

    fn start(&self, client: &Arc<dyn Backend>, task: &mut Option<AbortHandle>) {
        if let (Some(runtime), None) = (self.runtime.get(), &task) {
            let client = client.clone();
            *task = Some(runtime.spawn(async move { client.tend().await }).abort_handle());
        }
    }
}
