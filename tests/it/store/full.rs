//! A disk that is full: the write that does not fit is refused, later ones too, and nothing acknowledged is lost.

use std::process::Command;

use super::{Run, builder, file_of, holds, read, restart, stop, write};
use crate::harness::{ADMIN, Proxy, try_request};

/// Files may grow by so much, in blocks of 512 bytes.
const ROOM: u64 = 32_768;
/// One write.
const SIZE: usize = 400_000;

/// The same process where files cannot grow beyond a size; the signal that says so is not taken.
fn where_files_end(proxy: &Proxy, blocks: u64) -> Run {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" serve --config config.yaml");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_scaivault-proxy")]);
    Run::spawn(command, proxy.dir(), &[])
}

fn put(proxy: &Proxy, name: &str) -> u16 {
    let body = format!(r#"{{"data":{{"value":"{}"}}}}"#, "x".repeat(SIZE));
    proxy.scaivault_call(ADMIN, "PUT", &format!("/v1/secrets/apps/full/{name}"), body.as_bytes()).status
}

#[test]
fn e09_a_full_disk_refuses_writes_and_loses_nothing() {
    let mut proxy = builder().start();
    write(&proxy, "apps/before", "written before");
    restart(&mut proxy);
    stop(&mut proxy);
    let blocks = std::fs::metadata(file_of(&proxy)).unwrap().len().div_ceil(512) + ROOM;
    let mut run = where_files_end(&proxy, blocks);
    assert_eq!(run.settled(&proxy.address("admin")), None, "{}", run.said());
    let mut kept = Vec::new();
    let refused = (0..200).find(|number| {
        let name = format!("n{number}");
        let status = put(&proxy, &name);
        if status == 201 {
            kept.push(name);
        } else {
            assert_eq!(status, 503, "{}", run.said());
        }
        status != 201
    });
    let refused = refused.unwrap_or_else(|| panic!("{ROOM} blocks hold {} writes", kept.len()));
    assert!(!kept.is_empty(), "nothing was kept");
    // the store has closed itself: nothing is written on top of what failed, and whoever watches is told
    let page = |path: &str| try_request(&proxy.address("admin"), "GET", path, &[], b"").unwrap();
    let ready = page("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("the store takes no writes"), "{}", ready.text());
    assert_eq!(page("/livez").status, 200);
    assert!(page("/metrics").text().lines().any(|line| line == "scaivault_store_writable 0"));
    assert_eq!(put(&proxy, "later"), 503);
    assert_eq!(put(&proxy, &format!("n{refused}")), 503);
    // everything that was acknowledged is still read, also what the database has to fetch
    for name in &kept {
        let answer = read(&proxy, &format!("apps/full/{name}"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.json()["data"]["value"].as_str().unwrap().len(), SIZE, "{name}");
    }
    assert!(!run.said().contains("panicked"), "{}", run.said());
    assert_eq!(run.said().matches("the store is closed for writing").count(), 1, "{}", run.said());
    drop(run);

    proxy.start_again();
    holds(&proxy, "apps/before", "written before");
    for name in &kept {
        let answer = read(&proxy, &format!("apps/full/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.json()["data"]["value"].as_str().unwrap().len(), SIZE, "{name}");
    }
    assert!(matches!(put(&proxy, &format!("n{refused}")), 200 | 201), "there is room again");
}
