//! A client that reads one secret again and again, and must never be refused or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::harness::{Connection, Proxy};

/// Runs until [`Self::finish`].
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<usize, String>>,
}

impl Load {
    /// Starts reading `path` of the scaivault wire.
    pub(super) fn start(proxy: &Proxy, token: &str, path: &str) -> Self {
        let address = proxy.address("scaivault");
        let (bearer, path) = (format!("Bearer {token}"), path.to_owned());
        Self::repeat(move || {
            let mut connection = Connection::open(&address).map_err(|error| error.to_string())?;
            // the same connection as long as the server keeps it
            for count in 1..200 {
                let answer = connection.call("GET", &path, &[("Authorization", &bearer)], b"");
                let answer = answer.map_err(|error| format!("request {count} of a connection: {error}"))?;
                if answer.status != 200 {
                    return Err(format!("status {}: {}", answer.status, answer.text()));
                }
                if answer.header("connection") == Some("close") {
                    return Ok(count);
                }
            }
            Ok(199)
        })
    }

    /// Repeats something that says how many requests it made.
    pub(super) fn repeat(mut once: impl FnMut() -> Result<usize, String> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let client = std::thread::spawn(move || {
            let mut made = 0;
            while !stopped.load(Ordering::Relaxed) {
                made += once()?;
            }
            Ok(made)
        });
        Self { stop, client }
    }

    /// Stops, and shows what went wrong.
    ///
    /// # Panics
    /// When a request was refused or dropped.
    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        match self.client.join().unwrap() {
            Ok(made) => assert!(made > 0, "no request was made at all"),
            Err(failure) => panic!("a request failed during a reload: {failure}"),
        }
    }
}
