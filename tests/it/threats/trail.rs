//! Group A: one line for everything that happened, none for what did not, and no value without its line.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use scaivault_proxy::audit::{Report, verify};
use serde_json::Value;

use super::case::{bytes, read, vault};
use super::fake::VALUE;
use super::runner::Score;
use super::socket::{Line, tell};
use super::world::{DOOR, READER, World};
use crate::harness::{try_request, wait_until};

const DB: &str = "/v1/secret/data/app/db";
const OWN: &str = "/v1/secret/data/scratch/a";
/// What the harness's `AUDIT_KEY` spells.
const KEY: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// Everything of the group that one ordinary process can show.
pub(super) fn lines(world: &World, score: &mut Score) {
    fields(world, score);
    hostile(world, score);
    values(world, score);
    together(world, score);
    unread(world, score);
    unaudited(world, score);
    // last: the lines of clients that went away may come late
    cancelled(world, score);
    let report = verified(world);
    score.count("A14", "the whole trail verifies", (!report.is_sound()).then(|| format!("{:?}", report.findings)));
}

fn verified(world: &World) -> Report {
    let content = std::fs::read(world.proxy.dir().join("audit/audit.jsonl")).unwrap();
    verify(vec![("audit.jsonl".to_owned(), content.as_slice())], KEY, None)
}

fn of(world: &World, id: &str) -> Vec<Value> {
    world.proxy.audit().into_iter().filter(|line| line["request_id"] == id).collect()
}

/// G20: a read's line says by which configuration and policies it was decided, and where the value came from.
fn fields(world: &World, score: &mut Score) {
    let heard = tell(&world.proxy.address(DOOR), &read(DB));
    let id = heard.answers[0].header("x-request-id").unwrap_or_default().to_owned();
    let lines = of(world, &id);
    let expected = [
        ("tenant", "default"),
        ("principal", "t/p0"),
        ("wire", "vault"),
        ("operation", "read"),
        ("path", "app/db"),
        ("backend", "fake"),
        ("remote", "secret/data/app/db"),
        ("rule", "0/2"),
        ("mode", "proxy"),
        ("outcome", "ok"),
        ("cache", "live"),
        ("source", "127.0.0.1"),
        ("upstream_request_id", "fake-1"),
        ("instance", "it"),
    ];
    let line = lines.first().cloned().unwrap_or_default();
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(name, value)| line[*name] != *value)
        .map(|(name, _)| format!("{name}: {}", line[*name]))
        .collect();
    score.count(
        "G20",
        "the fields of a read",
        (lines.len() != 1 || !wrong.is_empty()).then(|| format!("{wrong:?} of {} lines", lines.len())),
    );
    let decided = line["policies"] == serde_json::json!(["readers-read"])
        && line["config_generation"] == 1
        && line["version"] == 3;
    score.count("G20", "what decided", (!decided).then(|| line.to_string()));
    let credential = line["credential"].as_str().unwrap_or_default();
    score.check("A10", "a credential is a keyed hash", credential.len() == 32 && !READER.contains(credential));
}

/// A07: whatever a client sends, a line is a line.
fn hostile(world: &World, score: &mut Score) {
    let agents = ["a\"}{\"b", "\u{2028}\u{2029}", "\u{1b}[31m", "{\"outcome\":\"ok\"}", "\\\"\\", "a\tb"];
    for agent in agents {
        let send = vault("GET", DB, &[("User-Agent", agent), ("X-Request-Id", agent), ("X-Forwarded-For", agent)], b"");
        let heard = tell(&world.proxy.address(DOOR), &send);
        let served = heard.status().is_some();
        // `audit` fails if any line is no JSON
        let adopted = world.proxy.audit().iter().any(|line| line["request_id"] == agent);
        score.check("A07", &agent.escape_debug().to_string(), served && !adopted);
    }
    let text = std::fs::read_to_string(world.proxy.dir().join("audit/audit.jsonl")).unwrap();
    let plain = text.chars().all(|c| c == '\n' || !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')));
    score.check("A07", "no control character in the file", plain);
}

/// A09: no part of a value, whatever its type.
fn values(world: &World, score: &mut Score) {
    let body = br#"{"data":{"canary-key-7781":"canary-text-7781","n":778199881,"f":7781.25,"b":true,"l":["canary-item-7781"],"o":{"canary-inner-7781":null}}}"#;
    let wrote = tell(&world.proxy.address(DOOR), &vault("POST", OWN, &[], body)).status() == Some(200);
    tell(&world.proxy.address(DOOR), &read(OWN));
    let text = std::fs::read_to_string(world.proxy.dir().join("audit/audit.jsonl")).unwrap();
    for part in
        ["canary-key-7781", "canary-text-7781", "778199881", "7781.25", "canary-item-7781", "canary-inner-7781", VALUE]
    {
        score.check("A09", part, wrote && !text.contains(part));
    }
}

/// A11: a client that goes away has its one line all the same.
fn cancelled(world: &World, score: &mut Score) {
    let before = finals(world).len();
    for _ in 0..50 {
        let mut line = world.line();
        line.say(&read(DB));
        drop(line);
    }
    for _ in 0..50 {
        let mut line = world.line();
        line.say(&vault("POST", OWN, &[], br#"{"data":{"a":"b"}}"#));
        drop(line);
    }
    // the requests of the first loop may have been read or not; those that were have an end each
    wait_until(Duration::from_secs(20), "the writes to end", || {
        let lines = world.proxy.audit();
        let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        count("intent") == count("outcome") && finals(world).len() > before
    });
    let ends = finals(world);
    let twice: Vec<&String> = ends.iter().filter(|(_, count)| **count != 1).map(|(id, _)| id).collect();
    score.count(
        "A11",
        "100 clients that went away",
        (!twice.is_empty()).then(|| format!("{} ids with several ends", twice.len())),
    );
    score.check("A11", "some of them were served", ends.len() > before);
}

/// How many ends each request has.
fn finals(world: &World) -> HashMap<String, usize> {
    let mut ends: HashMap<String, usize> = HashMap::new();
    for line in world.proxy.audit() {
        if let (Some(id), Some(_)) = (line["request_id"].as_str(), line["outcome"].as_str()) {
            *ends.entry(id.to_owned()).or_default() += 1;
        }
    }
    ends
}

/// A12: what could not be read has a line with its peer and its reason, and nothing else of it.
fn unread(world: &World, score: &mut Score) {
    let before = world.proxy.audit().len();
    tell(&world.proxy.address(DOOR), b"GET /canary-of-the-head HTTP/1.1\r\nHost: a\r\nX-Canary-Of-The-Head\r\n\r\n");
    let lines = world.proxy.audit().split_off(before);
    let told = lines
        .iter()
        .any(|line| line["outcome"] == "malformed" && line["source"] == "127.0.0.1" && line["wire"] == "vault");
    score.count("A12", "a head that cannot be read", (!told).then(|| format!("{lines:?}")));
    let text = std::fs::read_to_string(world.proxy.dir().join("audit/audit.jsonl")).unwrap().to_ascii_lowercase();
    score.check("A12", "none of its bytes", !text.contains("canary-of-the-head"));
}

/// A16: writers at once do not interleave, and the chain has no gap.
fn together(world: &World, score: &mut Score) {
    let address = world.proxy.address(DOOR);
    let before = world.proxy.audit().len();
    let served: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..25).filter(|_| tell(&address, &read(DB)).status() == Some(200)).count()))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let lines = world.proxy.audit().split_off(before);
    let reads = lines.iter().filter(|line| line["kind"] == "read" && line["outcome"] == "ok").count();
    score.count(
        "A16",
        "8 at once",
        (reads != served || served != 200).then(|| format!("{reads} lines for {served} of 200 reads")),
    );
}

/// A20: health and metrics are not recorded and know no tenant.
fn unaudited(world: &World, score: &mut Score) {
    let before = world.proxy.audit().len();
    for page in ["/livez", "/readyz", "/startupz", "/metrics"] {
        let body = world.proxy.page(page).text();
        let names = ["t/p0", "app/db", "scratch", "readers", "secret/data", "fake-1"];
        let found: Vec<&&str> = names.iter().filter(|name| body.contains(**name)).collect();
        score.count("A20", page, (!found.is_empty()).then(|| format!("{found:?}")));
    }
    for path in ["/v1/secret/data/app/db", "/v1/secrets/app/db", "/", "/livez/../metrics", "//livez"] {
        let heard =
            tell(&world.proxy.address("admin"), &bytes("GET", path.as_bytes(), &[("X-Vault-Token", READER)], b""));
        score.check("A20", path, heard.status().is_some_and(|status| matches!(status, 400 | 404)));
    }
    score.check("A20", "no line about them", world.proxy.audit().len() == before);
}

/// A06: an end in the middle of everything leaves a trail that verifies, and says which writes are in doubt.
pub(super) fn killed(score: &mut Score) {
    let mut world = World::start();
    let address = world.proxy.address(DOOR);
    let stop = Instant::now() + Duration::from_secs(20);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let token = [("X-Vault-Token", READER)];
                while Instant::now() < stop {
                    let Ok(answer) = try_request(&address, "POST", OWN, &token, br#"{"data":{"a":"b"}}"#) else {
                        break;
                    };
                    assert_eq!(answer.status, 200);
                }
            });
        }
        let proxy = &world.proxy;
        wait_until(Duration::from_secs(10), "some writes", || proxy.audit().len() > 100);
        proxy.signal(9);
    });
    world.proxy.wait_exit(Duration::from_secs(10));
    world.proxy.start_again();
    let report = verified(&world);
    score.count("A06", "killed while writing", (!report.is_sound()).then(|| format!("{:?}", report.findings)));
    score.check("A06", "few writes in doubt", report.unresolved.len() <= 4);
    world.assert_calm();
}

/// A01, A05, A19: a required collector that goes away, one that is not required, and lines that are synced.
pub(super) fn collectors(score: &mut Score) {
    for required in [true, false] {
        let mut socket = None;
        let mut kept = Vec::new();
        let world = World::start_with(
            |builder| {
                let path = builder.dir().join("collector.sock");
                kept.push(Collector::start(&path));
                socket = Some(path);
                builder
            },
            |config| {
                let sink = format!(
                    "    - type: socket\n      address: unix:{{dir}}/collector.sock\n      required: {required}\nadmin:"
                );
                config.replace("admin:", &sink).replace("audit:\n", "audit:\n  durability: fsync\n")
            },
        );
        let socket = socket.unwrap();
        let door = world.proxy.address(DOOR);
        wait_until(Duration::from_secs(10), "the first line to be taken", || world.serves());
        drop(kept.pop());
        drop(std::fs::remove_file(&socket));
        let begun = Instant::now();
        let mut leaked = 0;
        let mut refused = 0;
        for _ in 0..4 {
            let heard = tell(&door, &read(DB));
            leaked += usize::from(heard.answers.iter().any(|answer| answer.text().contains(VALUE)));
            refused += usize::from(heard.status() == Some(503));
        }
        let took = begun.elapsed();
        if required {
            // what the kernel took before the end was noticed counts as taken
            score.count(
                "A01",
                "a required collector is gone",
                (leaked > 1 || refused < 3).then(|| format!("{leaked} values left, {refused} refusals")),
            );
            score.count(
                "A04",
                "within the budget",
                (took > Duration::from_secs(14)).then(|| format!("{took:?} for 4 reads")),
            );
            wait_until(Duration::from_secs(10), "the process to say that it is not ready", || {
                world.proxy.page("/readyz").status == 503
            });
            score.check("A01", "alive all the same", world.proxy.page("/livez").status == 200);
        } else {
            score.count(
                "A05",
                "a collector that is not required is gone",
                (leaked < 4).then(|| format!("{leaked} of 4 reads served")),
            );
        }
        kept.push(Collector::start(&socket));
        wait_until(Duration::from_secs(30), "reads to be served again", || world.serves());
        wait_until(Duration::from_secs(10), "the process to be ready again", || {
            world.proxy.page("/readyz").status == 200
        });
        score.check(if required { "A01" } else { "A05" }, "recovered by itself", true);
        score.check("A19", "with synced lines", verified(&world).is_sound());
        world.assert_calm();
        // before the world's directory goes, and with it the way to wake its thread
        kept.clear();
    }
}

/// Reads whatever comes until dropped; then nobody listens any more.
struct Collector {
    path: PathBuf,
    ended: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Collector {
    fn start(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (ended, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (flag, kept) = (ended.clone(), streams.clone());
        let accepting = thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                kept.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || drop(io::copy(&mut stream, &mut io::sink())));
            }
        });
        Self { path: path.to_owned(), ended, streams, accepting: Some(accepting) }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // wakes the thread that waits for the next connection
        drop(UnixStream::connect(&self.path));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// A15: lines are where the file went, and behind it where the file is now.
pub(super) fn rotated(score: &mut Score) {
    let world = World::start();
    let address = world.proxy.address(DOOR);
    let directory = world.proxy.dir().join("audit");
    let stop = Instant::now() + Duration::from_secs(3);
    let served = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0_usize;
                    let mut line = Line::open(&address);
                    let request =
                        bytes("GET", DB.as_bytes(), &[("X-Vault-Token", READER), ("Connection", "keep-alive")], b"");
                    while Instant::now() < stop {
                        let heard = line.say(&request).hear_answers(1);
                        assert_eq!(heard.status(), Some(200));
                        line.forget();
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for number in 0..3 {
            let lines = world.proxy.audit().len();
            wait_until(Duration::from_secs(10), "more lines", || world.proxy.audit().len() > lines + 20);
            std::fs::rename(directory.join("audit.jsonl"), directory.join(format!("old-{number}"))).unwrap();
            world.proxy.signal(1);
            wait_until(Duration::from_secs(10), "a new file", || directory.join("audit.jsonl").exists());
        }
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let mut files = Vec::new();
    for name in ["audit.jsonl", "old-0", "old-1", "old-2"] {
        files.push((name.to_owned(), std::fs::read(directory.join(name)).unwrap()));
    }
    let reads: usize =
        files.iter().map(|(_, text)| String::from_utf8_lossy(text).matches("\"kind\":\"read\"").count()).sum();
    score.count("A15", "renamed under load", (reads != served).then(|| format!("{reads} lines for {served} reads")));
    let all = files.iter().map(|(name, text)| (name.clone(), text.as_slice())).collect();
    let report = verify(all, KEY, None);
    score.count("A15", "one chain over all files", (!report.is_sound()).then(|| format!("{:?}", report.findings)));
    world.assert_calm();
}
