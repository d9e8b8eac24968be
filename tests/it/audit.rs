//! The trail of a running process: it verifies, it shows edits, and without it nothing leaves.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{ADMIN, BASIC, Proxy, READER, wait_until};

const TERM: i32 = 15;
const HUP: i32 = 1;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn verify(proxy: &Proxy, more: &[&str]) -> Output {
    let key = proxy.dir().join("audit.key");
    Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
        .args(["--output", "json", "audit", "verify", "--key"])
        .arg(key)
        .args(more)
        .current_dir(proxy.dir().join("audit"))
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Some writes, reads and refusals.
fn use_it(proxy: &Proxy) {
    for number in 0..5 {
        let path = format!("/v1/secrets/apps/db/{number}");
        let written = proxy.scaivault_call(ADMIN, "PUT", &path, br#"{"data":{"a":1}}"#);
        assert!(matches!(written.status, 200 | 201), "{}", written.text());
        assert_eq!(proxy.scaivault_call(READER, "GET", &path, b"").status, 200);
        assert_eq!(proxy.scaivault_call(READER, "DELETE", &path, b"").status, 403);
    }
}

#[test]
fn a14_the_trail_of_a_session_verifies_and_every_edit_of_it_shows() {
    let mut proxy = Proxy::builder().start();
    use_it(&proxy);
    proxy.signal(TERM);
    assert!(proxy.wait_exit(seconds(30)).success());
    proxy.start_again();
    use_it(&proxy);
    proxy.signal(TERM);
    assert!(proxy.wait_exit(seconds(30)).success());
    let output = verify(&proxy, &["audit.jsonl"]);
    let whole = report(&output);
    assert!(output.status.success(), "{whole:#}");
    let lines = proxy.audit();
    assert_eq!(whole["lines"], lines.len(), "{whole:#}");
    assert_eq!(lines.last().unwrap()["kind"], "stop");
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<u64>>(), "one chain over both runs");

    let text = fs::read_to_string(proxy.dir().join("audit/audit.jsonl")).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let read = all.iter().position(|line| line.contains(r#""kind":"read""#)).unwrap();
    let edited: String = text.replacen("t/reader", "t/readex", 1);
    let without = |at: usize| -> String {
        all.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, line)| format!("{line}\n")).collect()
    };
    let mut swapped = all.clone();
    swapped.swap(read, read + 1);
    for (name, content) in [
        ("edited", edited),
        ("dropped", without(read)),
        ("swapped", swapped.iter().map(|line| format!("{line}\n")).collect()),
    ] {
        fs::write(proxy.dir().join("audit").join(name), content).unwrap();
        let output = verify(&proxy, &[name]);
        assert!(!output.status.success(), "{name}: {:#}", report(&output));
        assert!(!report(&output)["findings"].as_array().unwrap().is_empty(), "{name}");
    }

    let last = lines.len() as u64;
    fs::write(proxy.dir().join("audit/cut"), without(all.len() - 1)).unwrap();
    let expected = format!("it={last}");
    assert!(verify(&proxy, &["cut"]).status.success(), "a cut tail leaves no trace by itself");
    assert!(!verify(&proxy, &["--expect-seq", &expected, "cut"]).status.success());
    assert!(verify(&proxy, &["--expect-seq", &expected, "audit.jsonl"]).status.success());
}

#[test]
fn a15_a_renamed_file_is_left_at_hangup_and_nothing_is_lost() {
    let proxy = Proxy::builder().start();
    use_it(&proxy);
    let directory = proxy.dir().join("audit");
    let before = proxy.audit().len();
    fs::rename(directory.join("audit.jsonl"), directory.join("audit.1")).unwrap();
    proxy.signal(HUP);
    wait_until(seconds(10), "the file to be opened anew", || {
        proxy.scaivault_call(READER, "GET", "/v1/secrets/apps/db/0", b"");
        directory.join("audit.jsonl").exists()
    });
    use_it(&proxy);
    let old = fs::read_to_string(directory.join("audit.1")).unwrap().lines().count();
    assert!(old >= before);
    let output = verify(&proxy, &["audit.jsonl", "audit.1"]);
    let report = report(&output);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["lines"], old + proxy.audit().len(), "{report:#}");
}

#[test]
fn a_second_process_on_the_same_file_does_not_start() {
    let first = Proxy::builder().start();
    let elsewhere = first.dir().join("audit/audit.jsonl");
    let config = BASIC.replace("{dir}/audit/audit.jsonl", elsewhere.to_str().unwrap());
    let ended = Proxy::builder().config(&config).try_start().map(drop).unwrap_err();
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("audit.sinks[0]"), "{}", ended.stderr);
}

/// Makes a FIFO in the proxy's directory and configures it as the sink.
fn with_fifo() -> (Proxy, PathBuf) {
    let builder = Proxy::builder().config(&BASIC.replace("audit/audit.jsonl", "audit/fifo"));
    let fifo = builder.dir().join("audit/fifo");
    let made = Command::new("mkfifo").args(["-m", "600"]).arg(&fifo).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (builder.start(), fifo)
}

#[test]
fn a04_a_sink_nobody_reads_withholds_every_value_within_its_budget() {
    let (proxy, fifo) = with_fifo();
    assert_eq!(proxy.page("/readyz").status, 503, "{}", proxy.page("/readyz").text());
    assert_eq!(proxy.page("/livez").status, 200);
    for (token, method, path, body) in [
        (ADMIN, "GET", "/v1/secrets/apps/db/x", ""),
        (ADMIN, "PUT", "/v1/secrets/apps/db/x", r#"{"data":{"a":1}}"#),
        (ADMIN, "POST", "/v1/tokens", r#"{"principal":"t/x"}"#),
        (READER, "GET", "/v1/secrets/apps/other", ""),
        ("", "GET", "/v1/secrets/apps/db/x", ""),
    ] {
        let started = Instant::now();
        let response = proxy.scaivault_call(token, method, path, body.as_bytes());
        assert_eq!(response.status, 503, "{method} {path}: {}", response.text());
        assert!(started.elapsed() < seconds(4), "{method} {path} took {:?}", started.elapsed());
        assert_eq!(response.json()["kind"], "sealed");
    }
    // health is answered from memory and told to nobody
    assert_eq!(proxy.scaivault_call("", "GET", "/v1/health", b"").status, 200);

    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // waits until the process opens the other end
        let mut reader = fs::OpenOptions::new().read(true).open(&fifo).unwrap();
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut chunk) {
            if sender.send(chunk[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    wait_until(seconds(20), "the process to be ready again", || {
        proxy.scaivault_call(READER, "GET", "/v1/secrets/apps/other", b"");
        proxy.page("/readyz").status == 200
    });
    let read = proxy.scaivault_call(ADMIN, "GET", "/v1/secrets/apps/db/x", b"");
    assert_eq!(read.status, 404, "the write that was refused was not carried out: {}", read.text());
    let id = read.request_id().to_owned();
    let mut seen = Vec::new();
    wait_until(seconds(10), "the read's line", || {
        seen.extend(lines.try_iter().flatten());
        String::from_utf8_lossy(&seen).contains(&id)
    });
}

#[test]
fn a05_a_sink_that_is_not_required_withholds_nothing() {
    let sinks = "    - type: file\n      path: {dir}/audit/audit.jsonl\n";
    assert!(BASIC.contains(sinks));
    let both = format!("{sinks}    - {{type: socket, address: \"unix:{{dir}}/nobody\", required: false}}\n");
    let proxy = Proxy::builder().config(&BASIC.replace(sinks, &both)).start();
    assert_eq!(proxy.page("/readyz").status, 200);
    use_it(&proxy);
    let required = both.replace("required: false", "required: true");
    let proxy = Proxy::builder().config(&BASIC.replace(sinks, &required)).start();
    assert_eq!(proxy.page("/readyz").status, 503);
    assert_eq!(proxy.scaivault_call(READER, "GET", "/v1/secrets/apps/db/0", b"").status, 503);
}
