//! A made-up HTTP/1.1 server that plays a Vault: for what a real one cannot be told to do, such as waiting.
//!
//! Knows the calls a client makes about its own token; everything else is the test's.

#![allow(dead_code, reason = "a tool box: what one suite does not need the next one does")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use crate::harness::{Listening, read_headers};

/// The token the stub gives to whoever logs in.
pub(crate) const STUB_TOKEN: &str = "s.StubStubStubStubStubStub";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

type Answer = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// The server. Ends with its value; a request that waits in the test's function is not cut off.
pub(crate) struct Stub {
    listening: Listening,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    /// Starts one that answers with what the function says: a status and a JSON body.
    pub(crate) fn start(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = seen.clone();
        Self { listening: Listening::start(move |stream| serve(stream, &kept, &answer)), seen }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.listening.address()
    }

    /// Everything it was asked, its logins included.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A door that requests wait at until it is opened, and that says how many do.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Door {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.1 += 1;
        while !state.0 {
            state = changed.wait(state).unwrap();
        }
        state.1 -= 1;
    }

    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().0 = true;
        self.0.1.notify_all();
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().1
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Seen>>, answer: &Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        kept.lock().unwrap().push(request.clone());
        let (status, body) = about_itself(&request).unwrap_or_else(|| answer(&request));
        let head = format!(
            "HTTP/1.1 {status} Stub\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all(head.as_bytes())?;
        writer.write_all(body.as_bytes())?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = read_headers(reader)?;
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Seen { method, target, headers, body }))
}

/// Logins, look-ups and renewals of its own token.
fn about_itself(request: &Seen) -> Option<(u16, String)> {
    let auth = format!(
        r#"{{"request_id":"9c8f1f8e-0000-4000-8000-000000000000","lease_id":"","renewable":false,"lease_duration":0,"data":null,
        "wrap_info":null,"warnings":null,"auth":{{"client_token":"{STUB_TOKEN}","accessor":"a","policies":["p"],
        "token_policies":["p"],"metadata":null,"lease_duration":3600,"renewable":true,"token_type":"service"}}}}"#
    );
    match (request.method.as_str(), request.target.as_str()) {
        (_, "/v1/auth/approle/login" | "/v1/auth/token/renew-self") => Some((200, auth)),
        (_, "/v1/auth/token/lookup-self") => Some((200, r#"{"data":{"ttl":3600,"renewable":true}}"#.to_owned())),
        _ => None,
    }
}

/// A KV version 2 read's body.
pub(crate) fn kv2_body(data: &str) -> String {
    format!(
        r#"{{"request_id":"9c8f1f8e-0000-4000-8000-000000000001","lease_id":"","renewable":false,"lease_duration":0,
        "data":{{"data":{data},"metadata":{{"created_time":"2026-11-23T10:00:00.000000Z","custom_metadata":null,
        "deletion_time":"","destroyed":false,"version":1}}}},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}
