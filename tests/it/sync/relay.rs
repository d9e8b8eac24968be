//! What stands between the proxy and OpenBao: passes every byte on, remembers every request line, and can be cut.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::Listening;

/// A running relay. Ends with its value.
pub(super) struct Relay {
    listening: Listening,
    line: Arc<Line>,
}

struct Line {
    upstream: String,
    /// `METHOD PATH` of every request, in the order they came.
    calls: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
    is_cut: AtomicBool,
}

impl Relay {
    /// One to `127.0.0.1:PORT`.
    pub(super) fn to(upstream: &str) -> Self {
        let line = Arc::new(Line {
            upstream: upstream.to_owned(),
            calls: Mutex::default(),
            streams: Mutex::default(),
            is_cut: AtomicBool::new(false),
        });
        let kept = line.clone();
        Self { listening: Listening::start(move |client| kept.carry(client)), line }
    }

    /// `127.0.0.1:PORT` of this end.
    pub(super) fn address(&self) -> &str {
        self.listening.address()
    }

    /// The requests since [`Self::forget`] that concern secrets, each `METHOD PATH`: what the proxy asks about its own
    /// credential is left out.
    pub(super) fn calls(&self) -> Vec<String> {
        let calls = self.line.calls.lock().unwrap();
        calls.iter().filter(|call| !call.contains(" /v1/auth/")).cloned().collect()
    }

    /// How many of them have this part.
    pub(super) fn count(&self, part: &str) -> usize {
        self.calls().iter().filter(|call| call.contains(part)).count()
    }

    /// Those that may change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let is_write = |call: &String| !call.starts_with("GET ") && !call.contains(" /v1/sys/capabilities");
        self.calls().into_iter().filter(is_write).collect()
    }

    /// Begins to count anew.
    pub(super) fn forget(&self) {
        self.line.calls.lock().unwrap().clear();
    }

    /// From now on nobody gets through, and whoever is talking is cut off.
    pub(super) fn cut(&self) {
        self.line.is_cut.store(true, Ordering::SeqCst);
        self.line.hang_up();
    }

    /// Everybody gets through again.
    pub(super) fn mend(&self) {
        self.line.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // the listener ends after this: whoever connects until then is not let through
        self.cut();
    }
}

impl Line {
    fn carry(&self, client: TcpStream) -> io::Result<()> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut server = TcpStream::connect(&self.upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.streams.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
        if self.is_cut.load(Ordering::SeqCst) {
            self.hang_up();
        }
        let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            drop(io::copy(&mut answers, &mut back));
            drop(back.shutdown(Shutdown::Both));
        });
        let result = self.requests(&mut BufReader::new(client), &mut server);
        drop(server.shutdown(Shutdown::Both));
        result
    }

    fn requests(&self, client: &mut BufReader<TcpStream>, server: &mut TcpStream) -> io::Result<()> {
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if client.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let call: Vec<&str> = head.split(' ').take(2).collect();
            self.calls.lock().unwrap().push(call.join(" "));
            server.write_all(head.as_bytes())?;
            let length = head.lines().filter_map(|line| line.split_once(": ")).find_map(|(name, value)| {
                if name.eq_ignore_ascii_case("content-length") { value.parse().ok() } else { None }
            });
            io::copy(&mut client.by_ref().take(length.unwrap_or(0)), server)?;
        }
    }

    fn hang_up(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
