//! A client that sends bytes as they are and reads whatever comes back, as often as it comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for a first answer: an unoptimised binary on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a server that has answered may stay silent before we stop listening.
const QUIET: Duration = Duration::from_millis(400);

/// A final answer; interim ones are not kept.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Everything that came back on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) answers: Vec<Answer>,
    /// Whether the server ended the connection.
    pub(crate) closed: bool,
    /// Whatever could not be read as an answer.
    pub(crate) rest: Vec<u8>,
}

impl Heard {
    pub(crate) fn status(&self) -> Option<u16> {
        self.answers.first().map(|answer| answer.status)
    }
}

/// A connection to the process under test.
pub(crate) struct Line {
    stream: TcpStream,
    got: Vec<u8>,
    closed: bool,
}

impl Line {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, got: Vec::new(), closed: false }
    }

    /// Writes; a server that refuses, answers and closes early is no error.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> &mut Self {
        if self.stream.write_all(bytes).is_err() {
            self.closed = true;
        }
        self
    }

    /// Tells the server that nothing more comes.
    pub(crate) fn finish(&mut self) -> &mut Self {
        drop(self.stream.shutdown(Shutdown::Write));
        self
    }

    /// Listens for so long at most; true when the server ended the connection meanwhile.
    pub(crate) fn listen(&mut self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if !self.pull(left) {
                break;
            }
        }
        self.closed
    }

    /// Reads once; whether there was something to read.
    fn pull(&mut self, at_most: Duration) -> bool {
        let mut chunk = [0; 16 * 1024];
        self.stream.set_read_timeout(Some(at_most)).unwrap();
        match self.stream.read(&mut chunk) {
            Ok(length @ 1..) => {
                self.got.extend_from_slice(&chunk[..length]);
                true
            }
            Err(error) if is_patience(&error) => false,
            Ok(_) | Err(_) => {
                self.closed = true;
                false
            }
        }
    }

    /// Listens until the server ends the connection, or has answered and says nothing more.
    pub(crate) fn hear(&mut self, head: bool) -> Heard {
        let deadline = Instant::now() + PATIENCE;
        while !self.listen(QUIET) && Instant::now() < deadline {
            if !parse(&self.got, head).answers.is_empty() {
                break;
            }
        }
        let mut heard = parse(&self.got, head);
        heard.closed = self.closed;
        heard
    }

    /// Drops what was heard so far.
    pub(crate) fn forget(&mut self) {
        self.got.clear();
    }

    /// Listens until so many answers are there or the server ends the connection.
    pub(crate) fn hear_answers(&mut self, count: usize) -> Heard {
        let deadline = Instant::now() + PATIENCE;
        while parse(&self.got, false).answers.len() < count && !self.closed && Instant::now() < deadline {
            self.pull(Duration::from_millis(100));
        }
        let mut heard = parse(&self.got, false);
        heard.closed = self.closed;
        heard
    }
}

fn is_patience(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Sends bytes on a connection of their own and gives back what came.
pub(crate) fn tell(address: &str, bytes: &[u8]) -> Heard {
    Line::open(address).say(bytes).hear(bytes.starts_with(b"HEAD "))
}

fn parse(bytes: &[u8], head_only: bool) -> Heard {
    let mut heard = Heard::default();
    let mut rest = bytes;
    while let Some((answer, after)) = one(rest, head_only) {
        rest = after;
        if !(100..200).contains(&answer.status) || answer.status == 101 {
            heard.answers.push(answer);
        }
    }
    heard.rest = rest.to_vec();
    heard
}

fn one(bytes: &[u8], head_only: bool) -> Option<(Answer, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let bodiless = head_only || (100..200).contains(&status) || matches!(status, 204 | 304);
    let length: usize = if bodiless { 0 } else { length.unwrap_or(0) };
    let rest = &bytes[end + 4..];
    if rest.len() < length {
        return None;
    }
    Some((Answer { status, headers, body: rest[..length].to_vec() }, &rest[length..]))
}
