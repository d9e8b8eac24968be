//! Callers that write their lines themselves.

use std::io::ErrorKind as IoKind;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn quick() -> (Scripted, Arc<Auditor>) {
    let sink = Scripted::new();
    sink.with(|script| script.is_quick = true);
    let auditor = start_with(vec![sink.opened(true)], LONG, Durability::Write);
    wait_until("the start line", || !sink.text().is_empty());
    (sink, auditor)
}

fn writers(sink: &Scripted) -> Vec<String> {
    sink.with(|script| script.writers.clone())
}

#[tokio::test]
async fn a_caller_writes_its_own_line() {
    let (sink, auditor) = quick();
    let lane = auditor.trail.lanes()[0].clone();
    wait_until("the lane is led", || lane.is_led());
    read(&auditor, &grant("db")).await.unwrap();
    let last = writers(&sink).pop().unwrap();
    assert_ne!(last, "audit-writer", "a wake-up of another thread costs more than the write");
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let auditor = auditor.clone();
            tokio::spawn(async move { read(&auditor, &grant("db")).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    auditor.stop();
    assert_clean(&[&sink.text()]);
    assert_eq!(kinds(&parse(&sink.text())).iter().filter(|kind| **kind == "read").count(), 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a16_callers_on_many_threads_write_one_whole_chain() {
    let (sink, auditor) = quick();
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let auditor = auditor.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    read(&auditor, &grant("db")).await.unwrap();
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    auditor.stop();
    assert_clean(&[&sink.text()]);
    assert_eq!(kinds(&parse(&sink.text())).iter().filter(|kind| **kind == "read").count(), 3200);
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "another caller at the desk is what this is about")]
async fn a11_the_line_of_a_caller_that_went_away_is_written_all_the_same() {
    let (sink, auditor) = quick();
    let lane = auditor.trail.lanes()[0].clone();
    wait_until("the lane is led", || lane.is_led());
    let desk = lane.desk();
    let going = tokio::time::timeout(Duration::from_millis(1), read(&auditor, &grant("db"))).await;
    assert!(going.is_err());
    drop(desk);
    wait_until("its line", || kinds(&parse(&sink.text())).contains(&"read"));
    // and of one nobody waits for at all
    drop(auditor.admit(subject(Operation::Read), Grants::one(grant("db"))).await.unwrap());
    wait_until("the line of a receipt without an end", || parse(&sink.text()).len() == 3);
}

#[tokio::test]
async fn a04_a_sink_that_fails_is_the_threads_again_and_recovers() {
    let sink = Scripted::new();
    sink.with(|script| script.is_quick = true);
    let auditor = start_with(vec![sink.opened(true)], Duration::from_millis(300), Durability::Write);
    let lane = auditor.trail.lanes()[0].clone();
    wait_until("the lane is led", || lane.is_led());
    sink.with(|script| script.broken = Some(IoKind::StorageFull));
    assert!(matches!(read(&auditor, &grant("db")).await, Err(AuditError::Unavailable)));
    assert!(!lane.is_led() && !auditor.is_healthy());
    sink.with(|script| script.broken = None);
    wait_until("recovery without a call", || auditor.is_healthy());
    read(&auditor, &grant("db")).await.unwrap();
    auditor.stop();
    assert_clean(&[&sink.text()]);
}
