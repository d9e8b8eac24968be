//! Signal 9 under writes. `kill_loop.py` does the work, so that the same loop runs here for a few rounds and by hand for
//! thousands: `python3 tests/it/store/kill_loop.py --binary target/release/scaivault-proxy --rounds 2000`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::Place;
use crate::peers;

const ROUNDS: u32 = 50;

#[test]
fn e06_e07_what_was_acknowledged_survives_signal_9_under_local_writes_write_through_and_sync() {
    let (peers, bao) = (peers::installed(), peers::openbao());
    let place = Place::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/kill_loop.py");
    let output = Command::new(&peers.python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .args(["--binary", env!("CARGO_BIN_EXE_scaivault-proxy"), "--rounds", &ROUNDS.to_string()])
        .args(["--bao", &bao.addr, "--bao-token", bao.text("backend_token")])
        .arg("--dir")
        .arg(place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["rounds"], ROUNDS, "{done}");
    assert!(done["acknowledged"].as_u64().unwrap() >= u64::from(ROUNDS), "{done}");
    assert!(done["killed_while_starting"].as_u64().unwrap() > 0, "{done}");
    for count in ["changed_at_the_server", "syncs_ordered"] {
        assert!(done[count].as_u64().unwrap() >= u64::from(ROUNDS), "{done}");
    }
    println!("{done}");
}
