//! Reads of a copy that is being replaced: every one of them is answered, with the old value or the new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::api::Api;
use super::source::Source;
use super::world::{STORE, backend, backends, config, proxy, put, rule};
use crate::harness::{ADMIN, Connection, Proxy};

const READERS: usize = 4;
const WRITES: u64 = 150;
/// How many reads a connection is used for: fewer than the proxy allows.
const TURN: u64 = 5_000;

/// Ends the readers however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads `wt/one` until told to stop; how many reads there were. The version never goes back.
fn read_all_the_while(proxy: &Proxy, is_over: &AtomicBool) -> u64 {
    let open = || Connection::open(&proxy.address("vault")).unwrap();
    let (mut connection, mut reads, mut last) = (open(), 0, 0);
    while !is_over.load(Ordering::Relaxed) {
        if reads % TURN == TURN - 1 {
            connection = open();
        }
        let answer = connection.call("GET", "/v1/secret/data/wt/one", &[("X-Vault-Token", ADMIN)], b"").unwrap();
        assert_eq!(answer.status, 200, "after {reads} reads: {}", answer.text());
        let data = answer.json()["data"].clone();
        let version = data["metadata"]["version"].as_u64().unwrap();
        assert_eq!(data["data"], json!({"n": version}), "a value of another version");
        assert!(version >= last, "{version} after {last}");
        (reads, last) = (reads + 1, version);
    }
    reads
}

#[test]
fn every_read_is_answered_while_a_copy_is_written_and_synced() {
    let source = Source::new("sync-under-writes");
    source.put("wt/one", &json!({"n": 1}));
    let keys = ["mode: sync", "sync_interval: 1h", "write_mode: write_through"];
    let vault = backend("vault", &source.address, &keys, &[rule(&source, "wt", "")]);
    let proxy = &proxy(&source, &config(STORE, &backends(&[vault])));
    let api = Api::of(proxy, "vault");
    api.complete();
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [(); READERS].map(|()| scope.spawn(move || read_all_the_while(proxy, is_over)));
        let over = Over(is_over);
        let mut wrong = None;
        for n in 2..=WRITES {
            // both ways a copy is replaced
            if n % 10 == 0 {
                source.put("wt/one", &json!({"n": n}));
                api.sync_paths(&["wt/one"]);
            } else {
                let written = put(proxy, "wt/one", &json!({"data": {"n": n}}));
                wrong = wrong.or_else(|| (written.status != 200).then(|| written.text()));
            }
        }
        drop(over);
        assert_eq!(wrong, None);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
