//! Requests that arrive whole are answered by a way of their own, everything else by the library's: nobody can tell which.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{ADMIN, Proxy, raw, request};

const PATH: &str = "/v1/secret/data/apps/db/whole";
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection, written to byte for byte.
struct Talk {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Talk {
    fn open(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.address("vault")).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, got: Vec::new() }
    }

    /// Sends a request in these parts, and yields the answer with what differs each time masked. Between two parts another
    /// connection is answered, so that the first has been read by then.
    fn ask(&mut self, proxy: &Proxy, parts: &[&str]) -> String {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                for _ in 0..3 {
                    request(&proxy.address("vault"), "GET", "/v1/sys/health", &[], b"");
                }
            }
            self.stream.write_all(part.as_bytes()).unwrap();
        }
        self.answer()
    }

    fn answer(&mut self) -> String {
        let head = loop {
            if let Some(at) = self.got.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.take(at + 4);
            }
            self.more();
        };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |digits| digits.parse().unwrap());
        while self.got.len() < length {
            self.more();
        }
        let body = self.take(length);
        masked(&head, &body)
    }

    fn take(&mut self, length: usize) -> String {
        String::from_utf8(self.got.drain(..length).collect()).unwrap()
    }

    fn more(&mut self) {
        let mut chunk = [0; 4096];
        let length = self.stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the connection ended: {}", String::from_utf8_lossy(&self.got));
        self.got.extend_from_slice(&chunk[..length]);
    }

    /// Whether nothing more comes but the end.
    fn has_ended(&mut self) -> bool {
        self.got.is_empty() && self.stream.read(&mut [0; 1]).is_ok_and(|length| length == 0)
    }
}

fn masked(head: &str, body: &str) -> String {
    let mut out = String::new();
    for line in head.split_inclusive("\r\n") {
        let name = ["x-request-id: ", "Date: "].into_iter().find(|name| line.starts_with(name));
        match name {
            Some(name) => out.extend([name, "\r\n"]),
            None => out.push_str(line),
        }
    }
    let Some((before, rest)) = body.split_once(r#""request_id":""#) else { return out + body };
    let after = rest.split_once('"').unwrap().1;
    out + before + after
}

fn head(method: &str, more: &str) -> String {
    format!("{method} {PATH} HTTP/1.1\r\nHost: a\r\nX-Vault-Token: {ADMIN}\r\n{more}\r\n")
}

/// The same request on one connection: whole, in two parts, and marked so that only the library takes it.
fn ask_all_ways(talk: &mut Talk, proxy: &Proxy, method: &str, more: &str, body: &str) -> Vec<String> {
    let head = head(method, more);
    let (first, second) = head.split_at(20);
    let (start, end) = body.split_at(body.len() / 2);
    let whole = format!("{head}{body}");
    let rest = format!("{second}{body}");
    let begun = format!("{head}{start}");
    let odd = format!("{}{body}", self::head(method, &format!("{more}TE: trailers\r\n")));
    let (whole, odd) = (whole.as_str(), odd.as_str());
    let mut ways = vec![vec![whole], vec![first, rest.as_str()], vec![whole], vec![odd], vec![whole]];
    if !body.is_empty() {
        ways.extend([vec![begun.as_str(), end], vec![whole]]);
    }
    ways.iter().map(|parts| talk.ask(proxy, parts)).collect()
}

fn one(answers: &[String]) -> &str {
    for answer in answers {
        assert_eq!(answer, &answers[0]);
    }
    &answers[0]
}

#[test]
fn an_answer_does_not_show_how_its_request_arrived() {
    let proxy = Proxy::builder().start();
    let written = proxy.vault_call(ADMIN, "POST", PATH, br#"{"data":{"a":"made-up"}}"#);
    assert_eq!(written.status, 200, "{}", written.text());
    let mut talk = Talk::open(&proxy);

    let answers = ask_all_ways(&mut talk, &proxy, "GET", "", "");
    let read = one(&answers);
    assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && read.contains("\r\nConnection: keep-alive\r\n"), "{read}");
    assert!(read.contains("made-up"), "{read}");

    // a refusal by the wire, so that nothing of the answer depends on what was written before
    let body = r#"{"data":{"a":"b"},"options":{"cas":99}}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    let answers = ask_all_ways(&mut talk, &proxy, "POST", &length, body);
    assert!(one(&answers).starts_with("HTTP/1.1 400 "), "{answers:?}");

    // no content, and no length
    let answers = ask_all_ways(&mut talk, &proxy, "DELETE", "", "");
    let deleted = one(&answers);
    assert!(deleted.starts_with("HTTP/1.1 204 No Content\r\n") && !deleted.contains("Content-Length"), "{deleted}");

    let last = talk.ask(&proxy, &[&head("GET", "Connection: close\r\n")]);
    assert!(last.contains("\r\nConnection: close\r\n"), "{last}");
    assert!(talk.has_ended());
}

#[test]
fn what_is_pipelined_is_the_librarys() {
    let proxy = Proxy::builder().start();
    let twice = head("GET", "").repeat(2);
    let got = String::from_utf8(raw(&proxy.address("vault"), twice.as_bytes())).unwrap();
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "one answer, then the end: {got}");
}

#[test]
fn h10_every_chunked_body_of_a_connection_is_followed() {
    let proxy = Proxy::builder().start();
    let chunked = |extension: &str| {
        let head = head("POST", "Transfer-Encoding: chunked\r\n");
        format!("{head}12;{extension}\r\n{{\"data\":{{\"a\":\"b\"}}}}\r\n0\r\n\r\n")
    };
    let (good, bad) = (chunked("a=b"), chunked("a\nb"));
    let mut talk = Talk::open(&proxy);
    for request in [good.clone(), head("GET", ""), good] {
        assert!(talk.ask(&proxy, &[&request]).starts_with("HTTP/1.1 200 "), "{request}");
    }
    assert!(talk.ask(&proxy, &[&bad]).starts_with("HTTP/1.1 400 "));
    assert!(talk.has_ended());
}

#[test]
fn refusals_are_the_librarys_and_end_the_connection() {
    let proxy = Proxy::builder().start();
    let mut talk = Talk::open(&proxy);
    assert!(talk.ask(&proxy, &[&head("GET", "")]).starts_with("HTTP/1.1 404 "));
    let refused = talk.ask(&proxy, &[&head("GET", "Host: b\r\n")]);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(talk.has_ended());
}

#[test]
fn a_connection_is_used_as_often_as_it_may_be_however_its_requests_arrive() {
    let limited = crate::harness::BASIC.to_owned() + "server: {requests_per_connection: 4}\n";
    let proxy = Proxy::builder().config(&limited).start();
    let (plain, odd) = (head("GET", ""), head("GET", "TE: trailers\r\n"));
    let (plain, odd) = (plain.as_str(), odd.as_str());
    for order in [[plain; 5], [odd; 5], [plain, odd, plain, odd, odd]] {
        let mut talk = Talk::open(&proxy);
        for (index, request) in order.into_iter().enumerate() {
            let answer = talk.ask(&proxy, &[request]);
            assert_eq!(answer.contains("\r\nConnection: close\r\n"), index == 4, "request {index}: {answer}");
        }
        assert!(talk.has_ended());
    }
}
