//! Group R: what takes too long or too much. Each row has a proxy with small caps and ends with a good client served.

use std::time::{Duration, Instant};

use super::case::{Case, bad, bytes, good, read, vault};
use super::runner::Score;
use super::socket::{Line, tell};
use super::world::{DOOR, READER, World};
use crate::certs::{self, Authority};
use crate::harness::{BASIC, Proxy, wait_until};

const OWN: &str = "/v1/secret/data/scratch/r";
/// The head and body deadlines of the world, and what a busy machine may add.
const DEADLINE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(6);

/// R04, R05 and what else fits the table.
pub(super) fn cases() -> Vec<Case> {
    let post = |size: usize| {
        let filler = "x".repeat(size.saturating_sub(r#"{"data":{"a":""}}"#.len()));
        vault("POST", OWN, &[], format!(r#"{{"data":{{"a":"{filler}"}}}}"#).as_bytes())
    };
    let announced = |size: &str| vault("POST", OWN, &[("Content-Length", size)], b"{");
    let chunked = |total: usize| {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        vault("POST", OWN, &[("Transfer-Encoding", "chunked")], chunk.repeat(total / 4096).as_bytes())
    };
    let large = |note: &str, send| bad("R04", note, send).status(&[413]).audit(&["too_large"]).closes();
    let mut all = vec![
        good("R04", "64 KiB", post(64 << 10)),
        good("R04", "exactly the cap", post(131_072)),
        large("one byte more", post(131_073)).or_closed(),
        large("1 MiB announced", announced("1048576")),
        large("32 MiB announced", announced("33554432")),
        large("all there is announced", announced("9223372036854775807")),
        large("1 MiB", post(1 << 20)).or_closed(),
        large("1 MiB in chunks, no end", chunked(1 << 20)).or_closed(),
    ];
    for coding in ["gzip", "br", "zstd", "deflate", "gzip, gzip", "x-unknown"] {
        let send = vault("POST", OWN, &[("Content-Encoding", coding)], b"\x1f\x8b\x08\0\0\0\0\0");
        let case = bad("R05", coding, send).status(&[415]).audit(&["unsupported"]);
        all.push(case);
    }
    for coding in ["gzip", "br, zstd", "*", "identity;q=0"] {
        let send = vault("GET", "/v1/secret/data/app/db", &[("Accept-Encoding", coding)], b"");
        all.push(
            good("R05", format!("accepting {coding}"), send)
                .reaches("/v1/secret/data/app/db")
                .absent("content-encoding"),
        );
    }
    all
}

/// R01, R02: heads and bodies that never end.
pub(super) fn slow(world: &World, score: &mut Score) {
    let head = "GET /v1/secret/data/app/db HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let drip = |line: &mut Line, first: &[u8]| {
        let begun = Instant::now();
        line.say(first);
        while !line.listen(Duration::from_millis(200)) && begun.elapsed() < DEADLINE + SLACK {
            line.say(b"X");
        }
        begun.elapsed()
    };
    for (note, first) in [("a head", head), ("a request line", "GET /"), ("one byte", "G")] {
        let mut line = world.line();
        let took = drip(&mut line, first.as_bytes());
        let status = line.hear_answers(1).status();
        let fine = took < DEADLINE + SLACK && status.is_none_or(|status| status == 408);
        score.count("R01", &format!("{note}, a byte at a time"), (!fine).then(|| format!("{took:?}, {status:?}")));
    }
    let mut silent = world.line();
    let ended = silent.say(head.as_bytes()).listen(DEADLINE + SLACK);
    score.check("R01", "half a head, then silence", ended);
    let body = format!(
        "POST {OWN} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Token: {READER}\r\nContent-Length: 100000\r\n\r\n{{"
    );
    let mut line = world.line();
    let took = drip(&mut line, body.as_bytes());
    let status = line.hear_answers(1).status();
    let fine = took < DEADLINE + SLACK && status.is_none_or(|status| status == 408);
    score.count("R02", "a body, a byte at a time", (!fine).then(|| format!("{took:?}, {status:?}")));
    let mut line = world.line();
    let ended = line.say(body.as_bytes()).listen(DEADLINE + SLACK);
    score.check("R02", "a body that stops", ended);
    let mut line = world.line();
    let chunked =
        body.replace("Content-Length: 100000", "Transfer-Encoding: chunked").replace("\r\n\r\n{", "\r\n\r\n5\r\nhel");
    let ended = line.say(chunked.as_bytes()).listen(DEADLINE + SLACK);
    score.check("R02", "a chunk that stops", ended);
    idle_between_requests(world, score);
    many_slow_ones(world, score);
}

/// The deadline is that of one head: a patient client that sends each head in two parts is never cut off.
fn idle_between_requests(world: &World, score: &mut Score) {
    let request =
        bytes("GET", b"/v1/secret/data/app/db", &[("X-Vault-Token", READER), ("Connection", "keep-alive")], b"");
    let (one, two) = request.split_at(20);
    let mut line = world.line();
    for round in 1..=3 {
        line.say(one);
        line.listen(Duration::from_millis(150));
        line.say(two);
        let heard = line.hear_answers(round);
        let fine = heard.answers.len() == round && heard.answers.iter().all(|answer| answer.status == 200);
        let statuses: Vec<u16> = heard.answers.iter().map(|answer| answer.status).collect();
        score.count("R01", &format!("head {round} in two parts"), (!fine).then(|| format!("answered {statuses:?}")));
        // longer than a head may take, and no part of one
        line.listen(DEADLINE + Duration::from_millis(500));
    }
}

/// Hundreds of slow heads at once: an ordinary client does not notice, and all of them are ended.
fn many_slow_ones(world: &World, score: &mut Score) {
    let before = world.resident();
    let mut lines: Vec<Line> = (0..200).map(|_| world.line()).collect();
    for line in &mut lines {
        line.say(b"GET /v1/secret/data/app/db HTTP/1.1\r\nHost: ");
    }
    let begun = Instant::now();
    let served = world.serves();
    score.check("R01", "200 slow heads: another client is served", served && begun.elapsed() < Duration::from_secs(5));
    let grown = world.resident().saturating_sub(before);
    score.count("R01", "200 slow heads: memory", (grown > 48 << 10).then(|| format!("grew by {grown} KiB")));
    let deadline = Instant::now() + DEADLINE + SLACK;
    let ended = lines.iter_mut().all(|line| {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10));
        line.listen(left)
    });
    score.check("R01", "200 slow heads: all ended", ended);
}

/// Connections at once, and requests on one.
pub(super) fn caps(score: &mut Score) {
    let world = World::start_with(
        |builder| builder,
        |config| {
            config.replace(
                "  header_timeout: 2s",
                "  connections: 20\n  requests_per_connection: 5\n  header_timeout: 2s",
            )
        },
    );
    let address = world.proxy.address(DOOR);
    let mut held: Vec<Line> = (0..40).map(|_| Line::open(&address)).collect();
    let mut open = 0;
    for line in &mut held {
        open += usize::from(!line.listen(Duration::from_millis(25)));
    }
    let fine = (1..=20).contains(&open);
    score.count("R02", "40 connections, 20 allowed", (!fine).then(|| format!("{open} were kept open")));
    drop(held);
    wait_until(Duration::from_secs(10), "a good client to be served again", || world.serves());
    score.check("R02", "served again when they are gone", true);
    let request =
        bytes("GET", b"/v1/secret/data/app/db", &[("X-Vault-Token", READER), ("Connection", "keep-alive")], b"");
    let mut line = Line::open(&address);
    let mut served = 0;
    for round in 1..=10 {
        line.say(&request);
        let heard = line.hear_answers(round);
        if heard.answers.len() < round {
            break;
        }
        served = round;
    }
    let fine = (4..=6).contains(&served);
    score.count("R02", "5 requests on one connection", (!fine).then(|| format!("{served} were served")));
    world.assert_calm();
}

/// R02: a TLS handshake that is not finished has the time of a head, and is one of the connections there may be.
pub(super) fn handshakes(score: &mut Score) {
    let authority = Authority::new("servers");
    let pair = authority.server();
    let tls = "    address: {vault}\n    tls: {certificate: {dir}/tls.crt, key: {dir}/tls.key}\n";
    let config = BASIC.replace("    address: {vault}\n", tls);
    let proxy = Proxy::builder()
        .config(&format!("{config}server: {{header_timeout: 2s, connections: 20}}\n"))
        .file("tls.crt", pair.certificate)
        .file("tls.key", pair.key)
        .start();
    let address = proxy.address("vault");
    let is_served = || {
        certs::get(&address, &authority, "/v1/secret/data/apps/x", "")
            .is_ok_and(|said| said.starts_with("HTTP/1.1 403"))
    };
    score.check("R02", "a handshake in time", is_served());
    // a record of 512 bytes is announced
    let hello = [&[22_u8, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7_u8; 32][..]].concat();
    for (note, first) in
        [("nothing of it", &[][..]), ("half a hello", &hello[..]), ("no TLS", &b"GET / HTTP/1.1\r\n"[..])]
    {
        let begun = Instant::now();
        let ended = Line::open(&address).say(first).listen(DEADLINE + SLACK);
        score.count(
            "R02",
            &format!("a handshake: {note}"),
            (!ended).then(|| format!("open after {:?}", begun.elapsed())),
        );
    }
    old_handshakes(&address, score);
    let mut line = Line::open(&address);
    let begun = Instant::now();
    line.say(&hello);
    while !line.listen(Duration::from_millis(200)) && begun.elapsed() < DEADLINE + SLACK {
        line.say(&[7]);
    }
    let took = begun.elapsed();
    let fine = took < DEADLINE + SLACK;
    score.count("R02", "a handshake, a byte at a time", (!fine).then(|| format!("{took:?}")));
    let mut held: Vec<Line> = (0..40).map(|_| Line::open(&address)).collect();
    let mut open = 0;
    for line in &mut held {
        open += usize::from(!line.listen(Duration::from_millis(25)));
    }
    score.count("R02", "40 handshakes, 20 connections allowed", (open > 20).then(|| format!("{open} were kept open")));
    drop(held);
    wait_until(Duration::from_secs(10), "a good client to be served again", is_served);
    assert!(!proxy.stderr().contains("panicked"), "{}", proxy.stderr());
}

/// X09: versions, suites and protocols that are not spoken end a handshake at once, long before its deadline.
fn old_handshakes(address: &str, score: &mut Score) {
    let is_ended = |hello: &[u8]| Line::open(address).say(hello).listen(Duration::from_secs(1));
    score.check("X09", "TLS 1.2, AES-GCM, and no name of a server", !is_ended(&client_hello(0x0303, 0xc02b, b"")));
    for (note, version, suite, protocol) in [
        ("SSL 3.0", 0x0300, 0xc02b, &b""[..]),
        ("TLS 1.0", 0x0301, 0xc02b, b""),
        ("TLS 1.1", 0x0302, 0xc02b, b""),
        ("a suite with RC4", 0x0303, 0xc007, b""),
        ("a suite with CBC", 0x0303, 0xc009, b""),
        ("a suite without forward secrecy", 0x0303, 0x009c, b""),
        ("a protocol of nobody's", 0x0303, 0xc02b, b"foo"),
    ] {
        score.check("X09", note, is_ended(&client_hello(version, suite, protocol)));
    }
}

/// What a client says first that knows one version, one suite, P-256, ECDSA with SHA-256, and at most one protocol.
fn client_hello(version: u16, suite: u16, protocol: &[u8]) -> Vec<u8> {
    let mut extensions: Vec<u8> = vec![0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3, 0, 11, 0, 2, 1, 0];
    if !protocol.is_empty() {
        let length = u8::try_from(protocol.len()).unwrap();
        extensions.extend([0, 16, 0, length + 3, 0, length + 1, length]);
        extensions.extend(protocol);
    }
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([0, 0, 2]);
    body.extend(suite.to_be_bytes());
    body.extend([1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

/// R06: no file descriptors left. Accepting stops and comes back; nothing ends.
pub(super) fn descriptors(score: &mut Score) {
    let world = World::start();
    let pid = world.proxy.pid();
    let limit = |soft: &str| {
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")])
            .output();
        done.is_ok_and(|done| done.status.success())
    };
    assert!(limit("64"), "R06 needs prlimit (util-linux)");
    let address = world.proxy.address(DOOR);
    let held: Vec<Line> = (0..100).map(|_| Line::open(&address)).collect();
    let before = cpu(pid);
    let begun = Instant::now();
    wait_until(Duration::from_secs(5), "two seconds without descriptors", || begun.elapsed() > Duration::from_secs(2));
    let spent = cpu(pid) - before;
    // clock ticks, 100 a second: an accept loop that spins would take all of one core
    score.count("R06", "no spinning", (spent > 120).then(|| format!("{spent} ticks in 2 s")));
    drop(held);
    wait_until(Duration::from_secs(20), "a good client to be served again", || world.serves());
    score.check("R06", "served again", true);
    world.assert_calm();
}

/// User and system time of a process, in clock ticks.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// R16, R11: floods of refusals are counted, not written one by one, and cost no memory.
pub(super) fn floods(world: &World, score: &mut Score) {
    let before = world.resident();
    let address = world.proxy.address(DOOR);
    let lines_before = world.proxy.audit().len();
    let request = bytes(
        "GET",
        b"/v1/secret/data/app/db",
        &[("X-Vault-Token", "unknown-unknown-unknown"), ("Connection", "keep-alive")],
        b"",
    );
    let mut line = Line::open(&address);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(3) && sent < 3_000 {
        line.say(&request);
        sent += 1;
        let heard = line.hear_answers(1);
        if heard.closed || heard.status() != Some(403) {
            line = Line::open(&address);
        } else {
            line.forget();
        }
    }
    let seconds = begun.elapsed().as_secs() + 2;
    let written = u64::try_from(world.proxy.audit().len() - lines_before).unwrap();
    let fine = written <= seconds * 110;
    score.count("R16", &format!("{sent} unknown callers"), (!fine).then(|| format!("{written} lines in {seconds} s")));
    for n in 0..300 {
        tell(&address, &read(format!("/v1/secret/data/app/unknown-{n}")));
    }
    let grown = world.resident().saturating_sub(before);
    score.count("R11", "names nobody has", (grown > 48 << 10).then(|| format!("grew by {grown} KiB")));
    world.assert_calm();
}
