//! Sinks that fail: nothing is disclosed, nobody hangs, and the trail recovers by itself.

use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::*;
use crate::audit::sinks::FileSink;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a17_only_sinks_that_can_be_written_to_are_started() {
    let start = |sinks| Auditor::start(settings(sinks, SHORT), Arc::new(SystemClock)).map(drop);
    assert!(matches!(start(vec![]), Err(AuditError::NoSink)));
    let syslog = SinkSettings { kind: SinkKind::Syslog { address: "udp:514x".into() }, required: false };
    let directory = Directory::new();
    let error = start(vec![file_sink(&directory.path("a")), syslog]).unwrap_err();
    assert!(error.to_string().starts_with("audit.sinks[1].address: udp:514x"), "{error}");
    let error = start(vec![file_sink(Path::new("/tmp/audit.jsonl"))]).unwrap_err();
    assert!(error.to_string().starts_with("audit.sinks[0].path: /tmp/audit.jsonl"), "{error}");
}

#[tokio::test]
async fn a01_a_full_disk_discloses_nothing_within_the_budget() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let sink: Box<dyn AuditSink> = Box::new(FileSink::unchecked(full));
    let opened = Opened { name: "full".into(), key: "k".into(), required: true, sink };
    let auditor = start_with(vec![opened], SHORT, Durability::Write);
    let before = Instant::now();
    assert!(matches!(read(&auditor, &grant("db")).await, Err(AuditError::Unavailable)));
    assert!(before.elapsed() < Duration::from_secs(10));
    let written = auditor.admit(subject(Operation::Write), Grants::one(grant("db"))).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Sealed);
    let refused = auditor.refuse(subject(Operation::Read), Refusal::Unauthenticated).await;
    assert!(matches!(refused, Err(AuditError::Unavailable)));
    assert!(!auditor.is_healthy());
}

#[tokio::test]
async fn a01_a_line_that_came_too_late_says_that_it_was_withheld() {
    let sink = Scripted::new();
    let auditor = start_with(vec![sink.opened(true)], SHORT, Durability::Write);
    read(&auditor, &grant("db")).await.unwrap();
    sink.with(|script| script.broken = Some(IoKind::StorageFull));
    assert!(read(&auditor, &grant("db")).await.is_err());
    let written = auditor.admit(subject(Operation::Write), Grants::one(grant("db"))).await;
    assert!(written.is_err());
    assert!(!auditor.is_healthy());
    sink.with(|script| script.broken = None);
    wait_until("recovery without a call", || auditor.is_healthy());
    read(&auditor, &grant("db")).await.unwrap();
    auditor.stop();
    let written = parse(&sink.text());
    let told: Vec<_> = written.iter().map(|line| (line["kind"].as_str(), line["outcome"].as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("start"), None),
            (Some("read"), Some("ok")),
            (Some("read"), Some("sealed")),
            (Some("intent"), None),
            (Some("outcome"), Some("sealed")),
            (Some("read"), Some("ok")),
            (Some("stop"), None),
        ]
    );
    assert_clean(&[&sink.text()]);
}

#[tokio::test]
async fn a02_a_line_cut_by_a_full_disk_is_closed_and_written_again() {
    let sink = Scripted::new();
    let auditor = start_with(vec![sink.opened(true)], LONG, Durability::Write);
    read(&auditor, &grant("db")).await.unwrap();
    let full = || Step::Fail(IoKind::StorageFull);
    sink.with(|script| script.steps.extend([Step::Take(100), full(), full(), Step::Take(50), full()]));
    read(&auditor, &grant("db")).await.unwrap();
    assert!(auditor.is_healthy());
    auditor.stop();
    let text = sink.text();
    let whole: Vec<&str> = text.lines().filter(|line| line.ends_with("\"}")).collect();
    assert_eq!(kinds(&parse(&whole.join("\n"))), ["start", "read", "read", "stop"]);
    let report = verify_texts(&[&text]);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.count(FindingKind::Torn), report.lines), (2, 4));
}

#[tokio::test]
async fn a02_a_line_cut_just_before_its_newline_is_taken_once() {
    let sink = Scripted::new();
    let auditor = start_with(vec![sink.opened(true)], LONG, Durability::Write);
    read(&auditor, &grant("db")).await.unwrap();
    for _ in 0..3 {
        sink.with(|script| script.steps.extend([Step::TakeAlmost, Step::Fail(IoKind::StorageFull)]));
        read(&auditor, &grant("db")).await.unwrap();
        wait_until("the newline and good health", || auditor.is_healthy() && sink.text().ends_with('\n'));
    }
    auditor.stop();
    assert_eq!(kinds(&parse(&sink.text())), ["start", "read", "read", "read", "read", "stop"]);
    assert_clean(&[&sink.text()]);
}

#[tokio::test]
async fn a_sink_that_asks_for_patience_gets_every_line_whole() {
    let sink = Scripted::new();
    let auditor = start_with(vec![sink.opened(true)], LONG, Durability::Write);
    for length in [1, 80, 100, 300] {
        let blocked = || Step::Fail(IoKind::WouldBlock);
        let steps = [Step::Take(length), blocked(), blocked(), Step::Take(7), blocked()];
        sink.with(|script| script.steps.extend(steps));
        read(&auditor, &grant("db")).await.unwrap();
    }
    auditor.stop();
    let written = parse(&sink.text());
    assert_eq!(kinds(&written), ["start", "read", "read", "read", "read", "stop"]);
    assert_clean(&[&sink.text()]);
}

#[tokio::test]
async fn a04_a_blocked_fifo_costs_the_budget_and_recovers_when_drained() {
    let directory = Directory::new();
    let path = directory.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let auditor = Auditor::start(settings(vec![file_sink(&path)], SHORT), Arc::new(SystemClock)).unwrap();
    let grant = grant("db");
    let mut taken = 0;
    let waited = loop {
        let before = Instant::now();
        match read(&auditor, &grant).await {
            Ok(_) => taken += 1,
            Err(error) => {
                assert!(matches!(error, AuditError::Unavailable));
                break before.elapsed();
            }
        }
        assert!(taken < 10_000, "a pipe holds no more than 1 MiB");
    };
    assert!(taken > 0 && waited < Duration::from_secs(10));
    assert!(!auditor.is_healthy());
    let drain = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return String::from_utf8(text).unwrap(),
                Ok(length) => text.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == IoKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
    wait_until("recovery", || auditor.is_healthy());
    wait_until("an empty queue", || auditor.queue_depth() == 0);
    auditor.stop();
    let text = drain.join().unwrap();
    let written = parse(&text);
    assert_eq!(written.iter().filter(|line| line["kind"] == "read").count(), taken + 1);
    assert_clean(&[&text]);
}

#[tokio::test]
async fn a_syslog_daemon_gets_each_line_in_a_message_of_its_own_and_the_chain_holds() {
    let directory = Directory::new();
    let path = directory.path("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let sink = SinkSettings { kind: SinkKind::Syslog { address }, required: true };
    let auditor = Auditor::start(settings(vec![sink], LONG), Arc::new(SystemClock)).unwrap();
    read(&auditor, &grant("db")).await.unwrap();
    assert!(auditor.is_healthy());
    auditor.stop();
    daemon.set_nonblocking(true).unwrap();
    let (mut text, mut message) = (String::new(), [0; 65_536]);
    while let Ok(length) = daemon.recv(&mut message) {
        let (_, line) = std::str::from_utf8(&message[..length]).unwrap().split_once(" audit - ").unwrap();
        text.push_str(line);
        text.push('\n');
    }
    assert_eq!(kinds(&parse(&text)), ["start", "read", "stop"]);
    assert_clean(&[&text]);
}

#[tokio::test]
async fn a05_a_required_syslog_daemon_that_is_gone_stops_disclosure_until_it_is_back() {
    let directory = Directory::new();
    let path = directory.path("log");
    let address = format!("unix:{}", path.display());
    let sink = SinkSettings { kind: SinkKind::Syslog { address }, required: true };
    let auditor = Auditor::start(settings(vec![sink], SHORT), Arc::new(SystemClock)).unwrap();
    assert!(matches!(read(&auditor, &grant("db")).await, Err(AuditError::Unavailable)));
    let daemon = UnixDatagram::bind(&path).unwrap();
    wait_until("the daemon to be found", || auditor.is_healthy());
    read(&auditor, &grant("db")).await.unwrap();
    drop(daemon);
    fs::remove_file(&path).unwrap();
    assert!(matches!(read(&auditor, &grant("db")).await, Err(AuditError::Unavailable)));
    assert!(!auditor.is_healthy());
}

#[tokio::test]
async fn a05_a_required_sink_that_fails_stops_disclosure_and_an_optional_one_does_not() {
    for required in [true, false] {
        let (good, bad) = (Scripted::new(), Scripted::new());
        bad.with(|script| script.broken = Some(IoKind::BrokenPipe));
        let auditor = start_with(vec![good.opened(true), bad.opened(required)], SHORT, Durability::Write);
        assert_eq!(read(&auditor, &grant("db")).await.is_err(), required);
        wait_until("the good sink's line", || good.text().contains("\"read\""));
        assert_eq!(bad.text(), "");
        assert_eq!(auditor.is_healthy(), !required);
    }
}

#[test]
fn an_optional_sink_tells_how_many_lines_it_missed() {
    let sink = Scripted::new();
    sink.with(|script| script.broken = Some(IoKind::BrokenPipe));
    let auditor = start_with(vec![sink.opened(false)], LONG, Durability::Write);
    let (grant, calls) = (grant("db"), 9000);
    for _ in 0..calls {
        let grants = Grants::one(grant.clone());
        drop(Receipt::new(Arc::clone(&auditor.trail), subject(Operation::Read), grants));
    }
    assert!(auditor.lines_dropped() > 0);
    sink.with(|script| script.broken = None);
    wait_until("an empty queue", || auditor.queue_depth() == 0);
    auditor.stop();
    let written = parse(&sink.text());
    let reads = written.iter().filter(|line| line["kind"] == "read").count();
    let missed: u64 =
        written.iter().filter(|line| line["about"] == "dropped").filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(missed, auditor.lines_dropped());
    assert_eq!(u64::try_from(reads).unwrap() + missed, calls);
    assert_clean(&[&sink.text()]);
}

#[tokio::test]
async fn a19_a_line_that_cannot_be_synced_is_not_taken() {
    let sink = Scripted::new();
    let auditor = start_with(vec![sink.opened(true)], LONG, Durability::Fsync);
    read(&auditor, &grant("db")).await.unwrap();
    sink.with(|script| script.sync_broken = true);
    assert!(read(&auditor, &grant("db")).await.is_err());
    assert!(!auditor.is_healthy());
    sink.with(|script| script.sync_broken = false);
    wait_until("recovery without a call", || auditor.is_healthy());
    read(&auditor, &grant("db")).await.unwrap();
    auditor.stop();
    let text = sink.text();
    assert!(text.contains("\"about\":\"unsynced\",\"count\":1,"), "{text}");
    assert_clean(&[&text]);
}

#[tokio::test]
async fn a_file_is_synced_before_the_call_goes_on() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let durable = AuditSettings { durability: Durability::Fsync, ..settings(vec![file_sink(&path)], LONG) };
    let auditor = Auditor::start(durable, Arc::new(SystemClock)).unwrap();
    for _ in 0..10 {
        read(&auditor, &grant("db")).await.unwrap();
    }
    assert_eq!(lines(&path).len(), 11);
    assert!(auditor.is_healthy());
}
