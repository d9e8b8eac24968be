//! Draining: on SIGTERM connections finish what they are doing, are told to go, and the process leaves when they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the process is going away, and how many connections there are.
#[derive(Clone)]
pub struct Drain {
    /// The same as `draining`, to be asked by every request.
    flag: Arc<AtomicBool>,
    draining: Arc<watch::Sender<bool>>,
    connections: Arc<watch::Sender<usize>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            flag: Arc::default(),
            draining: Arc::new(watch::Sender::new(false)),
            connections: Arc::new(watch::Sender::new(0)),
        }
    }
}

/// A connection that is counted as long as this lives.
pub(super) struct Counted(Arc<watch::Sender<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Drain {
    /// Whether connections should end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    pub(super) fn count(&self) -> Counted {
        self.connections.send_modify(|count| *count += 1);
        Counted(self.connections.clone())
    }

    /// Tells connections to end and waits until they have, at most `grace`.
    pub async fn run(&self, grace: Duration) {
        self.flag.store(true, Ordering::Release);
        self.draining.send_replace(true);
        let mut left = self.connections.subscribe();
        drop(tokio::time::timeout(grace, left.wait_for(|count| *count == 0)).await);
    }
}

/// Our own signal handling: SIGTERM and SIGINT drain, a second one ends at once.
pub struct ShutdownHook {
    /// What drains.
    pub drain: Drain,
    /// How long connections may take.
    pub grace: Duration,
    /// Whether signals are somebody else's business: `exec` lives as long as its command.
    pub is_deaf: bool,
}

#[async_trait]
impl ShutdownSignalWatch for ShutdownHook {
    async fn recv(&self) -> ShutdownSignal {
        if self.is_deaf {
            return std::future::pending().await;
        }
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            return ShutdownSignal::FastShutdown;
        };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!(connections = self.drain.connections(), "draining");
        tokio::select! {
            () = self.drain.run(self.grace) => ShutdownSignal::GracefulTerminate,
            _ = term.recv() => ShutdownSignal::FastShutdown,
            _ = int.recv() => ShutdownSignal::FastShutdown,
        }
    }
}
