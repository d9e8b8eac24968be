//! The faults of a backend: what it does, what must become of a read, and how often it may be asked.

use std::ops::RangeInclusive;

use super::server::{Fault, Trap, answer, answer_with};
use super::{CANARY, READ_OK};

/// A fault, and what must become of a read.
pub(super) struct Row {
    pub(super) note: &'static str,
    pub(super) fault: Fault,
    pub(super) statuses: &'static [u16],
    pub(super) outcomes: &'static [&'static str],
    /// How many calls the backend may see.
    pub(super) calls: RangeInclusive<usize>,
}

/// Every row.
pub(super) fn all(trap: &Trap) -> Vec<Row> {
    connections().into_iter().chain(statuses()).chain(bodies()).chain(redirects(trap)).collect()
}

fn row(
    note: &'static str,
    fault: Fault,
    statuses: &'static [u16],
    outcomes: &'static [&'static str],
    calls: RangeInclusive<usize>,
) -> Row {
    Row { note, fault, statuses, outcomes, calls }
}

/// Worth asking again.
fn gone(note: &'static str, fault: Fault) -> Row {
    row(note, fault, &[503], &["upstream_unavailable"], 2..=3)
}

/// An answer that cannot be passed on; asking again would not change it.
fn unusable(note: &'static str, fault: Fault) -> Row {
    row(note, fault, &[502], &["upstream_rejected"], 1..=1)
}

/// What the HTTP library refuses to read: we do not see whether it might be worth asking again.
fn unreadable(note: &'static str, text: &str) -> Row {
    let fault = Fault::Bytes(text.replace('\n', "\r\n").into_bytes());
    row(note, fault, &[502, 503], &["upstream_rejected", "upstream_unavailable"], 1..=3)
}

pub(super) fn status(status: u16) -> Fault {
    Fault::Kept(answer(status, &format!(r#"{{"errors":["{CANARY}"]}}"#)))
}

fn connections() -> Vec<Row> {
    let whole = answer(200, READ_OK).len();
    vec![
        row("silence", Fault::Silence, &[504], &["timeout"], 1..=3),
        row("a byte at a time", Fault::Drip, &[504], &["timeout"], 1..=3),
        gone("a reset at once", Fault::ResetAt(0)),
        gone("a reset in the status line", Fault::ResetAt(7)),
        gone("a reset in the headers", Fault::ResetAt(40)),
        gone("a reset in the body", Fault::ResetAt(whole - 30)),
        gone("closed at once", Fault::CutAt(0)),
        gone("closed in the headers", Fault::CutAt(40)),
        gone("closed in the body", Fault::CutAt(whole - 30)),
        unreadable("no HTTP at all", "+OK Dovecot ready.\n\n"),
        unreadable("bytes", "\u{0}\u{1}\u{2}\u{3}\n\n"),
        unreadable("HTTP of another version", "HTTP/3.0 200 OK\nContent-Length: 2\n\n{}"),
        unreadable("a status that is none", "HTTP/1.1 2000 OK\nContent-Length: 2\n\n{}"),
        // H21: what could be read as two answers is none
        unreadable("H21 two lengths", "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 5\n\n{}abc"),
        unreadable("H21 a folded header", "HTTP/1.1 200 OK\nX-A: b\n c: d\nContent-Length: 2\n\n{}"),
        unreadable("H21 a bare CR in a header", "HTTP/1.1 200 OK\nX-A: b\rX-B: c\nContent-Length: 2\n\n{}"),
        unreadable("H21 a length that is none", "HTTP/1.1 200 OK\nContent-Length: +2\n\n{}"),
        unreadable("H20 300 headers", &format!("HTTP/1.1 200 OK\n{}Content-Length: 2\n\n{{}}", "X-A: b\n".repeat(300))),
        unreadable(
            "H20 a header of 1 MiB",
            &format!("HTTP/1.1 200 OK\nX-A: {}\nContent-Length: 2\n\n{{}}", "b".repeat(1 << 20)),
        ),
        unreadable(
            "H22 protocols switched unasked",
            "HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: upgrade\n\nabc",
        ),
        unreadable(
            "H22 no content, with content",
            &format!("HTTP/1.1 204 No Content\nContent-Length: {}\n\n{READ_OK}", READ_OK.len()),
        ),
    ]
}

fn statuses() -> Vec<Row> {
    let mut all = vec![
        row(
            "429",
            Fault::Kept(answer_with(429, "Retry-After: 1\r\n", b"{\"errors\":[]}")),
            &[429],
            &["rate_limited"],
            1..=1,
        ),
        row(
            "R14 429, at once",
            Fault::Kept(answer_with(429, "Retry-After: 0\r\n", b"")),
            &[429],
            &["rate_limited"],
            1..=1,
        ),
        row(
            "R14 429, a date",
            Fault::Kept(answer_with(429, "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n", b"")),
            &[429],
            &["rate_limited"],
            1..=1,
        ),
        row(
            "R14 429, rubbish",
            Fault::Kept(answer_with(429, "Retry-After: -1, soon\r\n", b"")),
            &[429],
            &["rate_limited"],
            1..=1,
        ),
        row("nothing there", Fault::Kept(answer(404, r#"{"errors":[]}"#)), &[404], &["not_found"], 1..=1),
        row("V21 an active node elsewhere (472)", status(472), &[503], &["upstream_unavailable"], 1..=3),
        row("V21 a standby (473)", status(473), &[503], &["upstream_unavailable"], 1..=3),
        row("V21 a missing index (412)", status(412), &[503], &["upstream_unavailable"], 1..=3),
        row("500", status(500), &[502, 503], &["upstream_unavailable", "upstream_rejected"], 1..=3),
        row("501", status(501), &[502, 503], &["upstream_unavailable", "upstream_rejected"], 1..=3),
        gone("502", status(502)),
        gone("V21 sealed (503)", status(503)),
        gone("504", status(504)),
    ];
    for (note, code) in
        [("400", 400), ("401", 401), ("403", 403), ("405", 405), ("409", 409), ("418", 418), ("431", 431)]
    {
        all.push(unusable(note, status(code)));
    }
    for (note, body) in [
        ("404, no such mount", r#"{"errors":["no handler for route \"secret/data/x\". route entry not found."]}"#),
        ("404, a page", "<html>not found</html>"),
        ("404, a warning", r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine."]}"#),
        ("404, nothing at all", ""),
        ("404, null", "null"),
        ("404, another object", r#"{"message":"not here"}"#),
    ] {
        all.push(unusable(note, Fault::Kept(answer(404, body))));
    }
    all
}

fn bodies() -> Vec<Row> {
    let good = READ_OK.as_bytes();
    let coded = |coding: &str| Fault::Kept(answer_with(200, &format!("Content-Encoding: {coding}\r\n"), good));
    let large = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", 50 << 20);
    let large = [large.into_bytes(), vec![b' '; 50 << 20]].concat();
    let mut all = vec![
        unusable("X19 50 MiB", Fault::Bytes(large)),
        unusable("X19 no end", Fault::Endless),
        unusable("R05 gzip", coded("gzip")),
        unusable("R05 br", coded("br")),
        unusable("R05 unknown", coded("x-unknown")),
        row(
            "H22 more behind the body",
            Fault::Kept(
                [
                    answer(200, &READ_OK.replace("\"x\"", "\"fault\"")),
                    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec(),
                ]
                .concat(),
            ),
            &[200],
            &["ok"],
            1..=1,
        ),
        row(
            "H22 1,000 interim answers",
            Fault::Kept(
                [b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), answer(200, &READ_OK.replace("\"x\"", "\"fault\""))]
                    .concat(),
            ),
            &[200, 502, 503, 504],
            &["ok", "upstream_rejected", "upstream_unavailable", "timeout"],
            1..=3,
        ),
    ];
    for (note, body) in [
        ("a page", "<html>welcome</html>"),
        ("nothing", ""),
        ("half a document", &READ_OK[..READ_OK.len() / 2]),
        ("another document", r#"{"hello":"world"}"#),
        ("a list", "[]"),
        ("data of another engine", r#"{"request_id":"r","data":{"is":"x"}}"#),
        ("a version that is a text", r#"{"data":{"data":{},"metadata":{"created_time":"","version":"one"}}}"#),
        ("two documents", "{}{}"),
        ("deep", &"[".repeat(100_000)),
    ] {
        all.push(unusable(note, Fault::Kept(answer(200, body))));
    }
    all
}

/// X06, X07: not followed, not passed on, and not a byte of a credential where they point.
fn redirects(trap: &Trap) -> Vec<Row> {
    let mut all = Vec::new();
    for code in [300, 301, 302, 303, 304, 305, 307, 308] {
        for location in [
            format!("http://{}/v1/secret/data/fault", trap.address),
            format!("//{}/", trap.address),
            "/v1/secret/data/other".to_owned(),
            String::new(),
        ] {
            let fault = Fault::Kept(answer_with(code, &format!("Location: {location}\r\n"), b""));
            all.push(unusable("X06 a redirect", fault));
        }
    }
    all
}
