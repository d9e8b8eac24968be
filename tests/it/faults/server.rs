//! A backend that misbehaves on command and counts what it is asked. Logins and calls about tokens are answered as a Vault
//! server answers them; everything else goes by the fault that is set.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What becomes of a call.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    /// The right answer.
    #[default]
    None,
    /// Nothing, for as long as the caller waits.
    Silence,
    /// So many bytes of the right answer, then a reset.
    ResetAt(usize),
    /// So many bytes of the right answer, then the end of the connection.
    CutAt(usize),
    /// The right answer, a byte at a time.
    Drip,
    /// These bytes instead, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes instead, on a connection that stays open.
    Kept(Vec<u8>),
    /// A body without an end.
    Endless,
}

/// What was set and what was counted.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) fault: Fault,
    /// What becomes of logins.
    pub(crate) login: Fault,
    /// What becomes of renewals.
    pub(crate) renewal: Fault,
    /// Seconds that tokens live; 0 is for ever.
    pub(crate) lease: u64,
    /// Tokens that are no longer known.
    pub(crate) revoked: HashSet<String>,
    /// Tokens given so far.
    pub(crate) given: Vec<String>,
    /// Calls that are not about tokens, login attempts, look-ups, renewals.
    pub(crate) calls: usize,
    pub(crate) logins: usize,
    pub(crate) lookups: usize,
    pub(crate) renewals: usize,
}

/// A running server; its threads end with the test process.
pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Forgets every token given so far.
    pub(crate) fn revoke_all(&self) {
        let mut state = self.state();
        let given = state.given.clone();
        state.revoked.extend(given);
    }
}

/// One connection. A request is looked at before it is taken from the socket: closing with it unread is a reset.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let end = loop {
            let length = stream.peek(&mut buffer).ok()?;
            if length == 0 {
                return None;
            }
            if let Some(at) = buffer[..length].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            thread::yield_now();
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let (fault, right) = decide(&head, &mut state.lock().unwrap());
        if let Fault::ResetAt(at) = fault {
            stream.write_all(&right[..at.min(right.len())]).ok()?;
            return None;
        }
        let mut taken = vec![0; end + content_length(&head)];
        stream.read_exact(&mut taken).ok()?;
        play(&mut stream, fault, &right)?;
    }
}

fn play(stream: &mut TcpStream, fault: Fault, right: &[u8]) -> Option<()> {
    match fault {
        Fault::None => stream.write_all(right).ok(),
        Fault::Kept(bytes) => stream.write_all(&bytes).ok(),
        Fault::Silence => {
            // until the caller gives up
            while stream.read(&mut [0; 512]).ok()? > 0 {}
            None
        }
        Fault::CutAt(at) => {
            stream.write_all(&right[..at.min(right.len())]).ok()?;
            None
        }
        Fault::Bytes(bytes) => {
            stream.write_all(&bytes).ok()?;
            None
        }
        Fault::Drip => {
            stream.set_read_timeout(Some(Duration::from_millis(30))).ok()?;
            for byte in right {
                stream.write_all(&[*byte]).ok()?;
                // listening for what never comes is the pause
                if stream.peek(&mut [0]).is_ok_and(|length| length == 0) {
                    break;
                }
            }
            None
        }
        Fault::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
                .ok()?;
            let chunk = [format!("{:x}\r\n", 64 << 10).into_bytes(), vec![b' '; 64 << 10], b"\r\n".to_vec()].concat();
            while stream.write_all(&chunk).is_ok() {}
            None
        }
        Fault::ResetAt(_) => None,
    }
}

fn content_length(head: &str) -> usize {
    header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn header<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What becomes of a request, and what would be right.
fn decide(head: &str, state: &mut State) -> (Fault, Vec<u8>) {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let token = header(head, "x-vault-token").unwrap_or_default().to_owned();
    let known = state.given.contains(&token) && !state.revoked.contains(&token);
    let denied = || answer(403, r#"{"errors":["permission denied"]}"#);
    match path {
        "/v1/auth/approle/login" => {
            state.logins += 1;
            let right = if matches!(state.login, Fault::None) {
                let token = format!("given-token-number-{}", state.given.len() + 1);
                state.given.push(token.clone());
                answer(200, &auth(&token, state.lease))
            } else {
                Vec::new()
            };
            (state.login.clone(), right)
        }
        "/v1/auth/token/renew-self" => {
            state.renewals += 1;
            let right = if known { answer(200, &auth(&token, state.lease)) } else { denied() };
            (state.renewal.clone(), right)
        }
        "/v1/auth/token/lookup-self" => {
            state.lookups += 1;
            let right = if known { answer(200, r#"{"data":{"ttl":0,"renewable":false}}"#) } else { denied() };
            (Fault::None, right)
        }
        _ => {
            state.calls += 1;
            if known { (state.fault.clone(), answer(200, &value(path))) } else { (Fault::None, denied()) }
        }
    }
}

fn auth(token: &str, lease: u64) -> String {
    format!(
        r#"{{"request_id":"r","data":null,"auth":{{"client_token":"{token}","lease_duration":{lease},"renewable":true}}}}"#
    )
}

/// What a path holds: its own last segment, so that an answer to another question shows.
fn value(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    format!(
        r#"{{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{{"data":{{"is":"{name}"}},"metadata":{{"created_time":"2026-01-02T03:04:05Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}}},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}

/// A whole answer with a length.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    answer_with(status, "", body.as_bytes())
}

/// The same with more headers, each ending in CRLF.
pub(crate) fn answer_with(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Counts who comes, and keeps what they say.
pub(crate) struct Trap {
    pub(crate) address: String,
    caught: Arc<Mutex<Vec<u8>>>,
}

impl Trap {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let caught = Arc::new(Mutex::new(Vec::new()));
        let shared = caught.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut chunk = [0; 4096];
                shared.lock().unwrap().extend_from_slice(b"[came]");
                drop(stream.set_read_timeout(Some(Duration::from_secs(1))));
                while let Ok(length @ 1..) = stream.read(&mut chunk) {
                    shared.lock().unwrap().extend_from_slice(&chunk[..length]);
                }
            }
        });
        Self { address, caught }
    }

    /// Everything anybody said.
    pub(crate) fn caught(&self) -> String {
        String::from_utf8_lossy(&self.caught.lock().unwrap()).into_owned()
    }
}
