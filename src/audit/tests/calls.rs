//! What is written for which call, and that it is written once.

use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use super::*;
use crate::clock::ManualClock;
use crate::secret::Folder;

#[tokio::test]
async fn a_read_is_one_line_with_every_field_in_order_and_no_value() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_795_428_417_000_042)));
    let auditor = Auditor::start(settings(vec![file_sink(&path)], Duration::from_secs(60)), clock).unwrap();
    let asked = subject(Operation::Read);
    let id = asked.request_id.to_string();
    let receipt = auditor.admit(asked, Grants::one(grant("db"))).await.unwrap();
    assert_eq!(auditor.lines_written(), 0, "a read is written when it is disclosed");
    let facts = Facts {
        backend: Some("vault".into()),
        upstream_request_id: Some("up-1".into()),
        cache: Some("hit"),
        age_seconds: Some(12),
        ..Facts::default()
    };
    let disclosed = auditor.disclose(receipt, &facts, reply()).await.unwrap();
    assert!(matches!(disclosed.into_reply(), Reply::Neutral(Outcome::Record(_))));
    let written = lines(&path);
    assert_eq!(kinds(&written), ["start", "read"], "the line is there before the reply is");
    let keys: Vec<&str> = written[1].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "time instance seq id request_id upstream_request_id config_generation tenant principal credential \
                    wire operation path version backend remote rule mode policies outcome cache age source latency_us \
                    kind prev mac";
    assert_eq!(keys.join(" "), expected);
    let mut line = written[1].clone();
    assert!(line["latency_us"].take().is_u64());
    for (key, value) in [("time", "2026-11-23T10:06:57.000042Z"), ("request_id", id.as_str()), ("path", "apps/db")] {
        assert_eq!(line[key], value);
    }
    assert_eq!((line["remote"].take(), line["rule"].take()), ("secret/data/db".into(), "0/0".into()));
    assert_eq!((line["version"].take(), line["mode"].take()), (3.into(), "proxy".into()));
    assert_eq!((line["credential"].take(), line["source"].take()), ("ab".repeat(16).into(), "10.1.2.3".into()));
    assert_eq!((line["policies"].take(), line["outcome"].take()), (serde_json::json!(["dev-permit-all"]), "ok".into()));
    assert!(!fs::read_to_string(&path).unwrap().contains("canary"));
    auditor.stop();
    assert!(verify_files(&[path]).is_sound());
}

#[tokio::test]
async fn a06_a_write_has_an_intent_before_and_an_outcome_after() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let grants = || Grants::one(grant("db"));
    let receipt = auditor.admit(subject(Operation::Write), grants()).await.unwrap();
    assert_eq!(kinds(&lines(&path)), ["start", "intent"]);
    assert_eq!(verify_files(std::slice::from_ref(&path)).unresolved, [receipt.subject().request_id.to_string()]);
    auditor.disclose(receipt, &Facts::default(), Reply::Neutral(Outcome::Done)).await.unwrap();
    let receipt = auditor.admit(subject(Operation::Destroy), grants()).await.unwrap();
    auditor.fail(receipt, &Facts::default(), ErrorKind::Timeout).await.unwrap();
    let written = lines(&path);
    assert_eq!(kinds(&written), ["start", "intent", "outcome", "intent", "outcome"]);
    assert_eq!(written[1].get("outcome"), None);
    assert_eq!(written[2]["outcome"], "ok");
    assert_eq!(written[4]["outcome"], "timeout");
    assert_eq!(verify_files(&[path]).unresolved, Vec::<String>::new());
}

#[tokio::test]
async fn lists_are_one_line_and_batches_one_a_secret() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let names = || Reply::Neutral(Outcome::Names(vec!["a".into(), "b/".into()]));
    let many = || Grants::many(vec![grant("one"), grant("two")]);
    let root = || Grants::folder(permit(&SecretPath::parse("apps").unwrap()), Folder::root());
    for (operation, grants, reply) in [
        (Operation::List, root(), names()),
        (Operation::List, many(), names()),
        (Operation::Read, many(), reply()),
        (Operation::Read, Grants::one(grant("gone")), Reply::Neutral(Outcome::NotFound)),
    ] {
        let receipt = auditor.admit(subject(operation), grants).await.unwrap();
        auditor.disclose(receipt, &Facts::default(), reply).await.unwrap();
    }
    let written = lines(&path);
    let field = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
    let told = written.iter().skip(1).map(|line| ["kind", "path", "outcome"].map(|name| field(line, name)));
    let told: Vec<_> = told.map(|fields| fields.join(" ")).collect();
    assert_eq!(
        told,
        ["list / ok", "list apps/one ok", "read apps/one ok", "read apps/two ok", "read apps/gone not_found",]
    );
    assert_eq!(written[1]["count"], 2);
}

#[tokio::test]
async fn a12_refusals_and_notes_say_why_and_no_foreign_name() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let secret = SecretPath::parse("apps/db").unwrap();
    let context = Context { wire: WireKind::Vault, mode: Mode::Proxy, now: Timestamp::from_secs(1), source_ip: None };
    let policies = Policies::compile(&[], 1).ok().unwrap();
    let verdict = policies.authorize(&principal(), Action::Read, Resource::Secret(&secret), &context);
    let denial = verdict.err().unwrap();
    let at = || -> Option<Box<str>> { Some("apps/db".into()) };
    for refusal in [
        Refusal::Malformed { path: None },
        Refusal::Unauthenticated,
        Refusal::Unmapped { path: at() },
        Refusal::Denied { path: at(), denial, rule: route(&secret).rule },
        Refusal::Other { kind: ErrorKind::ReadOnly, path: at() },
    ] {
        auditor.refuse(subject(Operation::Read), refusal).await.unwrap();
    }
    auditor.record(subject(Operation::Login), Note::failed(ErrorKind::Denied, "approle")).await.unwrap();
    auditor.record(subject(Operation::PrincipalRevocation), Note::ok("revoked").about("ops")).await.unwrap();
    let written = lines(&path);
    let told: Vec<String> = written
        .iter()
        .skip(1)
        .map(|line| {
            let field = |name: &str| line.get(name).map_or("-".to_owned(), ToString::to_string);
            ["kind", "outcome", "path", "rule", "policies", "detail", "target"].map(field).join(" ").replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "refusal malformed - - - - -",
            "refusal unauthenticated - - - - -",
            "refusal denied apps/db none - - -",
            "refusal denied apps/db 0/0 [] - -",
            "refusal read_only apps/db - - - -",
            "note denied - - - approle -",
            "note ok - - - revoked ops",
        ]
    );
}

#[tokio::test]
async fn a11_a_call_has_one_end_however_it_goes_away() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let admitted = |operation| auditor.admit(subject(operation), Grants::one(grant("db")));
    // Dropped by whoever held it.
    drop(admitted(Operation::Read).await.unwrap());
    drop(admitted(Operation::Write).await.unwrap());
    // Dropped before the disclosure was begun, and after.
    drop(auditor.disclose(admitted(Operation::Read).await.unwrap(), &Facts::default(), reply()));
    let receipt = admitted(Operation::Read).await.unwrap();
    {
        let facts = Facts::default();
        let mut disclosing = pin!(auditor.disclose(receipt, &facts, reply()));
        let poll = disclosing.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Pending | Poll::Ready(Ok(_))));
    }
    // Ended as it should be.
    let receipt = admitted(Operation::Read).await.unwrap();
    auditor.fail(receipt, &Facts::default(), ErrorKind::NotFound).await.unwrap();
    auditor.stop();
    let written = lines(&path);
    let ends: Vec<_> = written.iter().filter_map(|line| line.get("outcome")?.as_str()).collect();
    assert_eq!(ends, ["internal", "internal", "internal", "ok", "not_found"]);
    let requests = written.iter().filter(|line| line.get("outcome").is_some()).map(|line| &line["request_id"]);
    let mut requests: Vec<_> = requests.map(ToString::to_string).collect();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), 5);
    assert!(verify_files(&[path]).unresolved.is_empty());
}

#[tokio::test]
async fn r16_a_flood_of_strangers_is_counted_and_granted_calls_are_not() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_428_417)));
    let limited =
        AuditSettings { unauthenticated_per_second: 3, ..settings(vec![file_sink(&path)], Duration::from_secs(60)) };
    let auditor = Auditor::start(limited, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let stranger = || Subject { principal: None, ..subject(Operation::Login) };
    for _ in 0..5 {
        auditor.refuse(stranger(), Refusal::Unauthenticated).await.unwrap();
        auditor.record(stranger(), Note::failed(ErrorKind::Unauthenticated, "token")).await.unwrap();
    }
    auditor.refuse(subject(Operation::Read), Refusal::Unmapped { path: None }).await.unwrap();
    auditor.record(stranger(), Note::ok("approle")).await.unwrap();
    read(&auditor, &grant("db")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    auditor.refuse(stranger(), Refusal::Unauthenticated).await.unwrap();
    let written = lines(&path);
    let seen = kinds(&written);
    assert_eq!(seen, ["start", "refusal", "note", "refusal", "refusal", "note", "read", "summary", "refusal"]);
    assert_eq!(written[7]["about"], "refusals");
    assert_eq!(written[7]["count"], 7);
    // What is left when the trail ends is told too.
    for _ in 0..4 {
        auditor.refuse(stranger(), Refusal::Unauthenticated).await.unwrap();
    }
    auditor.stop();
    let written = lines(&path);
    assert_eq!(kinds(&written[11..]), ["summary", "stop"]);
    assert_eq!(written[11]["count"], 2);
}

#[test]
fn a16_many_writers_make_whole_lines_of_one_chain() {
    let directory = Directory::new();
    let path = directory.path("audit.jsonl");
    let auditor = start(&path);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let work = (0..8).map(|task| {
            let (auditor, grant) = (Arc::clone(&auditor), grant(&"x".repeat(task + 1)));
            tokio::spawn(async move {
                for _ in 0..500 {
                    read(&auditor, &grant).await.unwrap();
                }
            })
        });
        for task in work.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    auditor.stop();
    let written = lines(&path);
    assert_eq!(written.iter().filter(|line| line["kind"] == "read").count(), 4000);
    assert_eq!(auditor.lines_written(), 4000);
    assert!(kinds(&written).contains(&"checkpoint"));
    assert!(written.iter().map(|line| line["seq"].as_u64().unwrap()).eq(1..=auditor.last_seqs()[0]));
    let report = verify_files(&[path]);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.chains.len(), report.chains[0].is_stopped), (1, true));
}
