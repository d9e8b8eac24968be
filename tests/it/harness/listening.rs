//! A server of a test's own, whatever it speaks: a loopback port with a thread for every connection.

use std::io::{self, BufRead};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A port that is listened at. Ends with its value; connections that stand are not cut off.
pub(crate) struct Listening {
    address: String,
    is_over: Arc<AtomicBool>,
}

impl Listening {
    /// Serves whoever connects to a free port.
    pub(crate) fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, serve) = (is_over.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let serve = serve.clone();
                // whoever hangs up ends their thread
                thread::spawn(move || drop(stream.and_then(|client| serve(client))));
            }
        });
        Self { address, is_over }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // wakes the thread that waits for the next connection
        drop(TcpStream::connect(&self.address));
    }
}

/// The headers of a request, up to the empty line: names in lower case.
pub(crate) fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}
