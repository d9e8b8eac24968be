//! Group T: hostile HTTP/2, tried by `peers/h2_attack.py` against a listener in clear text and one with TLS.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::runner::Score;
use super::world::{DOOR, READER, World};
use crate::certs::Authority;
use crate::peers;

const CAPS: &str = "  h2_streams: 20\n  h2_header_list_bytes: 16384\n  h2_resets: 50\n  requests_per_connection: 100\n  header_timeout: 2s";
const LISTENERS: &str = r#"  - wire: vault
    address: {clear}
    h2c: true
    paths:
      - {from: "secret/**", to: "**"}
  - wire: vault
    address: {tls}
    tls:
      certificate: {dir}/tls.crt
      key: {dir}/tls.key
    paths:
      - {from: "secret/**", to: "**"}
namespaces:"#;

pub(super) fn attack(score: &mut Score) {
    let authority = Authority::new("threats");
    let pair = authority.server();
    let world = World::start_with(
        |builder| builder.file("tls.crt", pair.certificate).file("tls.key", pair.key),
        |config| {
            let config =
                config.replace("  header_timeout: 2s", CAPS).replace("body_bytes: 131072", "body_bytes: 32768");
            config.replace("namespaces:", LISTENERS)
        },
    );
    let before = world.resident();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/h2_attack.py");
    let output = Command::new(&peers::installed().python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .args(["--clear", &world.proxy.address("clear"), "--plain", &world.proxy.address(DOOR)])
        .args(["--tls", &world.proxy.address("tls"), "--token", READER, "--path", "/v1/secret/data/app/db"])
        .args(["--streams", "20", "--list-bytes", "16384", "--requests", "100", "--deadline", "2"])
        .output()
        .unwrap();
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let problem = (row["ok"] != true).then(|| text("detail"));
        score.count(&text("id"), &text("note"), problem);
    }
    assert!(output.status.success(), "h2_attack.py: {}", String::from_utf8_lossy(&output.stderr));
    let grown = world.resident().saturating_sub(before);
    score.count("T01", "memory after all of it", (grown > 64 << 10).then(|| format!("grew by {grown} KiB")));
    // what travelled on was built by us: nothing of these requests is in it
    let violations = world.fake.take_violations();
    score.count("T12", "nothing was injected", (!violations.is_empty()).then(|| format!("{violations:?}")));
    let strange: Vec<String> = world
        .fake
        .seen()
        .into_iter()
        .map(|seen| seen.target)
        .filter(|target| target != "/v1/secret/data/app/db")
        .collect();
    score.count("T09", "no other secret was asked for", (!strange.is_empty()).then(|| format!("{strange:?}")));
    world.assert_calm();
}
