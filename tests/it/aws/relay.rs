//! What stands between the proxy and a stand-in for AWS: remembers every call, and can answer in the stand-in's place.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{Connection, Listening, Response, read_headers};

/// A call as it came from the proxy.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The operation, or the `Action` of a form.
    pub(super) operation: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The parameters; null for a form.
    pub(super) parameters: Value,
    body: Vec<u8>,
}

impl Call {
    /// A header by its lower-case name.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str())
    }

    /// A field of a form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body).find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }
}

/// What becomes of a call.
pub(super) enum Fate {
    /// It goes to the stand-in, whose answer comes back.
    Pass,
    /// It does not: a status and a JSON body.
    Answer(u16, String),
    /// It does not: this whole answer.
    Say(Response),
    /// It does, and this is done to the answer's body.
    Change(fn(&mut Value)),
    /// The connection is closed.
    Close,
}

impl Fate {
    /// What the service says when it is asked too often.
    pub(super) fn throttled() -> Self {
        Self::Answer(400, r#"{"__type":"ThrottlingException","Message":"Rate exceeded"}"#.to_owned())
    }

    /// What the service says when it does not let somebody.
    pub(super) fn denied() -> Self {
        let text = "User: arn:aws:iam::123456789012:user/b is not authorized to perform: this on resource: that because no \
                    identity-based policy allows it";
        Self::Answer(400, serde_json::json!({"__type": "AccessDeniedException", "Message": text}).to_string())
    }
}

type Decide = dyn Fn(&Call) -> Fate + Send + Sync;

/// A running relay. Ends with its value.
pub(super) struct Relay {
    listening: Listening,
    line: Arc<Line>,
}

/// What calls are carried over.
pub(super) struct Line {
    upstream: String,
    calls: Mutex<Vec<Call>>,
    decide: Mutex<Arc<Decide>>,
}

impl Relay {
    /// One to `127.0.0.1:PORT` that passes everything on.
    pub(super) fn to(upstream: &str) -> Self {
        let line = Arc::new(Line {
            upstream: upstream.to_owned(),
            calls: Mutex::default(),
            decide: Mutex::new(Arc::new(|_: &Call| Fate::Pass)),
        });
        let kept = line.clone();
        Self { listening: Listening::start(move |client| kept.begin(client)), line }
    }

    /// `127.0.0.1:PORT` of this end.
    pub(super) fn address(&self) -> &str {
        self.listening.address()
    }

    /// For connections that come by another way.
    pub(super) fn line(&self) -> Arc<Line> {
        self.line.clone()
    }

    /// From now on this decides.
    pub(super) fn decide(&self, decide: impl Fn(&Call) -> Fate + Send + Sync + 'static) {
        *self.line.decide.lock().unwrap() = Arc::new(decide);
    }

    /// The calls since [`Self::forget`].
    pub(super) fn calls(&self) -> Vec<Call> {
        self.line.calls.lock().unwrap().clone()
    }

    /// How many of them are of an operation.
    pub(super) fn count(&self, operation: &str) -> usize {
        self.calls().iter().filter(|call| call.operation == operation).count()
    }

    /// Begins to count anew.
    pub(super) fn forget(&self) {
        self.line.calls.lock().unwrap().clear();
    }
}

impl Line {
    fn begin(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        self.carry(client)
    }

    /// Carries what comes over a connection, to its end.
    pub(super) fn carry(&self, client: impl Read + Write) -> io::Result<()> {
        let mut client = BufReader::new(client);
        while let Some(call) = read(&mut client)? {
            let decide = self.decide.lock().unwrap().clone();
            self.calls.lock().unwrap().push(call.clone());
            let answer = match decide(&call) {
                Fate::Close => return Ok(()),
                Fate::Answer(status, body) => plain(status, body.into_bytes()),
                Fate::Say(answer) => answer,
                Fate::Pass => self.ask(&call)?,
                Fate::Change(change) => {
                    let answer = self.ask(&call)?;
                    let mut body = answer.json();
                    change(&mut body);
                    Response { body: body.to_string().into_bytes(), ..answer }
                }
            };
            write(client.get_mut(), &answer)?;
        }
        Ok(())
    }

    /// Every header goes on as it came, `Host` too: it is signed.
    fn ask(&self, call: &Call) -> io::Result<Response> {
        let headers: Vec<(&str, &str)> = call
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "connection" | "transfer-encoding"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Connection::open(&self.upstream)?.call("POST", &call.target, &headers, &call.body)
    }
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let headers = read_headers(reader)?;
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action="));
    let operation =
        header("x-amz-target").and_then(|target| target.split('.').nth(1)).or(action).unwrap_or("-").to_owned();
    let parameters = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(Call { operation, target, headers, parameters, body }))
}

fn plain(status: u16, body: Vec<u8>) -> Response {
    let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())];
    Response { status, headers, body }
}

fn write(writer: &mut impl Write, answer: &Response) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Relayed\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        if !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding" | "date" | "server") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    writer.write_all(head.as_bytes())?;
    writer.write_all(&answer.body)?;
    writer.flush()
}
