//! The chain over restarts, rotations and reconnections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_stopped() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    for _ in 0..3 {
        let auditor = start(&path);
        read(&auditor, &grant("db")).await.unwrap();
        auditor.stop();
        assert!(matches!(read(&auditor, &grant("db")).await, Err(AuditError::Unavailable)));
        assert!(!auditor.is_healthy());
    }
    let written = lines(&path);
    assert_eq!(kinds(&written), ["start", "read", "stop"].repeat(3));
    assert_eq!(written[0].get("resumed"), None);
    assert_eq!(written[3]["resumed"], true);
    assert_ne!(written[0]["run"], written[3]["run"]);
    let report = verify_files(&[path]);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.chains.len(), report.chains[0].last_seq), (1, 9));
}

#[tokio::test]
async fn a02_a_torn_tail_is_closed_and_told_and_merges_with_nothing() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    drop(start(&path));
    let torn = b"{\"time\":\"2026-11-23T10:06:57.000042Z\",\"inst";
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(torn).unwrap();
    let auditor = start(&path);
    read(&auditor, &grant("db")).await.unwrap();
    auditor.stop();
    let text = fs::read_to_string(&path).unwrap();
    let whole: Vec<&str> = text.lines().filter(|line| line.ends_with('}')).collect();
    let written = parse(&whole.join("\n"));
    assert_eq!(kinds(&written), ["start", "stop", "start", "read", "stop"]);
    assert_eq!(written[2]["torn"], true);
    assert_eq!(written[2]["resumed"], true);
    let report = verify_files(&[path]);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.count(FindingKind::Torn), report.findings.len()), (1, 1));
}

#[tokio::test]
async fn a02_a_last_line_that_lacks_only_its_newline_counts() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    drop(start(&path));
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 1]).unwrap();
    drop(start(&path));
    let written = lines(&path);
    assert_eq!(kinds(&written), ["start", "stop", "start", "stop"]);
    assert_eq!(written[2].get("torn"), None);
    assert!(verify_files(&[path]).findings.is_empty());
}

#[test]
fn a_file_of_another_key_is_not_continued() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    fs::write(&path, "not ours\n").unwrap();
    drop(start(&path));
    let text = fs::read_to_string(&path).unwrap();
    let written = parse(text.split_once('\n').unwrap().1);
    assert_eq!(written[0]["seq"], 1);
    assert_eq!(written[0]["unverified"], true);
    let report = verify_files(&[path]);
    assert_eq!((report.count(FindingKind::Foreign), report.findings.len()), (1, 1));
}

#[test]
fn a15_rotation_by_rename_under_load_loses_nothing() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let reader = {
        let auditor = Arc::clone(&auditor);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let grant = grant("db");
            for _ in 0..2000 {
                runtime.block_on(read(&auditor, &grant)).unwrap();
            }
        })
    };
    let mut files = Vec::new();
    for turn in 0..5 {
        let due = auditor.lines_written() + 200;
        wait_until("more lines", || auditor.lines_written() >= due || reader.is_finished());
        files.push(directory.path(&format!("audit.{turn}")));
        fs::rename(&path, &files[turn]).unwrap();
        auditor.reopen();
        wait_until("the new file", || path.exists());
    }
    reader.join().unwrap();
    auditor.stop();
    files.push(path);
    let counts = files.iter().map(|file| lines(file).iter().filter(|line| line["kind"] == "read").count());
    assert_eq!(counts.sum::<usize>(), 2000);
    for file in &files {
        assert_eq!(lines(file)[0]["kind"], "start");
    }
    assert_eq!(lines(&files[5])[0]["resumed"], true);
    files.reverse();
    let report = verify_files(&files);
    assert_eq!((report.findings, report.chains.len()), (vec![], 1));
}

#[tokio::test]
async fn a_file_that_was_deleted_is_made_again() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    read(&auditor, &grant("db")).await.unwrap();
    fs::remove_file(&path).unwrap();
    auditor.reopen();
    read(&auditor, &grant("db")).await.unwrap();
    let written = lines(&path);
    assert_eq!(kinds(&written), ["start", "read"]);
    assert_eq!(written[0]["seq"], 3);
}

#[tokio::test]
async fn a_socket_takes_lines_again_after_the_collector_came_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sink = SinkSettings { kind: SinkKind::Socket { address }, required: true };
    let auditor = Auditor::start(settings(vec![sink], Duration::from_secs(60)), Arc::new(SystemClock)).unwrap();
    read(&auditor, &grant("db")).await.unwrap();
    assert!(auditor.is_healthy());
    let mut first = BufReader::new(listener.accept().unwrap().0);
    let mut text = String::new();
    for _ in 0..2 {
        first.read_line(&mut text).unwrap();
    }
    drop(first);
    // The close travels on its own; lines sent before it arrives are the kernel's to lose.
    listener.set_nonblocking(true).unwrap();
    let mut second = None;
    while second.is_none() {
        read(&auditor, &grant("db")).await.unwrap();
        second = listener.accept().ok();
    }
    auditor.stop();
    let mut second = second.unwrap().0;
    second.set_nonblocking(false).unwrap();
    let mut rest = String::new();
    second.read_to_string(&mut rest).unwrap();
    let (before, after) = (parse(&text), parse(&rest));
    assert_eq!(kinds(&before), ["start", "read"]);
    assert_eq!(after[0]["kind"], "start");
    assert_eq!(after[0]["resumed"], true);
    assert_eq!(after.last().unwrap()["kind"], "stop");
    let report = verify_texts(&[&text, &rest]);
    assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::Missing), "{:?}", report.findings);
}
