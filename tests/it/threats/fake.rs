//! A strict stand-in for a Vault server: keeps every byte it was sent and complains about every header that has no
//! business there. What a client of ours sends must never be found here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Everything the backend may ever see from us.
const ALLOWED: [&str; 9] = [
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-request-id",
    "x-vault-request",
    "x-vault-token",
];

/// The one value every secret of this backend has.
pub(crate) const VALUE: &str = "value-behind-the-proxy";
/// A name in a folder that readers may not list.
pub(crate) const HIDDEN: &str = "hidden-name";

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
}

#[derive(Default)]
struct Record {
    seen: Vec<Seen>,
    violations: Vec<String>,
    /// Bytes that must not come here.
    canaries: Vec<String>,
}

/// A running stand-in; its threads end with the test process.
pub(crate) struct Fake {
    pub(crate) address: String,
    record: Arc<Mutex<Record>>,
}

impl Fake {
    /// Listens on a free port. `token` is the only credential it takes, `canaries` what must never arrive.
    pub(crate) fn start(token: &'static str, canaries: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let canaries = canaries.iter().map(|&text| text.to_owned()).collect();
        let record = Arc::new(Mutex::new(Record { canaries, ..Record::default() }));
        let shared = record.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(stream, token, &shared));
            }
        });
        Self { address, record }
    }

    /// Requests so far, those about our own token left out.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let record = self.record.lock().unwrap();
        record.seen.iter().filter(|seen| !seen.target.starts_with("/v1/auth/token/")).cloned().collect()
    }

    /// What was wrong with them, at most once each.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.record.lock().unwrap().violations)
    }
}

fn serve(stream: TcpStream, token: &str, record: &Mutex<Record>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let length = header(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut line = text.split(' ');
        let seen = Seen {
            method: line.next().unwrap_or_default().to_owned(),
            target: line.next().unwrap_or_default().to_owned(),
        };
        let (status, answer) = answer(&seen);
        {
            let mut record = record.lock().unwrap();
            let found = examine(&text, &body, token, &record.canaries);
            record.violations.extend(found.into_iter().map(|what| format!("{} {}: {what}", seen.method, seen.target)));
            record.seen.push(seen);
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all(head.as_bytes()).ok()?;
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

fn header<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Q8: only the headers of the list, each once, our own token, and none of the clients' bytes.
fn examine(head: &str, body: &[u8], token: &str, canaries: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for line in head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !ALLOWED.contains(&name.as_str()) {
            found.push(format!("header {name}"));
        }
        if names.contains(&name) {
            found.push(format!("header {name} twice"));
        }
        names.push(name);
    }
    if header(head, "x-vault-token") != Some(token) {
        found.push("another token than ours".to_owned());
    }
    if header(head, "accept-encoding") != Some("identity") {
        found.push("asks for a coding".to_owned());
    }
    let body = String::from_utf8_lossy(body);
    found.extend(
        canaries.iter().filter(|text| head.contains(*text) || body.contains(*text)).map(|text| format!("holds {text}")),
    );
    found
}

fn answer(seen: &Seen) -> (u16, String) {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let envelope = |data: &str| {
        format!(
            r#"{{"request_id":"fake-1","lease_id":"","renewable":false,"lease_duration":0,"data":{data},"wrap_info":null,"warnings":null,"auth":null}}"#
        ) + "\n"
    };
    let version = r#"{"created_time":"2026-01-02T03:04:05.123456789Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}"#;
    let settings = r#"{"cas_required":false,"created_time":"2026-01-02T03:04:05Z","current_version":3,"custom_metadata":null,"delete_version_after":"0s","max_versions":0,"oldest_version":3,"updated_time":"2026-01-02T03:04:05Z","versions":{"3":{"created_time":"2026-01-02T03:04:05Z","deletion_time":"","destroyed":false}}}"#;
    if path == "/v1/auth/token/lookup-self" {
        return (200, envelope(r#"{"ttl":0,"renewable":false}"#));
    }
    if query == "list=true" {
        let keys = match path {
            "/v1/secret/metadata/app/" => r#"["db","private/","pub/"]"#,
            "/v1/secret/metadata/app/private/" => r#"["hidden-name"]"#,
            "/v1/secret/metadata/app/pub/" => r#"["one","two"]"#,
            "/v1/logical/keys" => r#"["one"]"#,
            _ => return (404, "{\"errors\":[]}\n".to_owned()),
        };
        return (200, envelope(&format!(r#"{{"keys":{keys}}}"#)));
    }
    // a folder, and no secret of its own
    if path.starts_with("/v1/secret/") && path.ends_with("/app") {
        return (404, "{\"errors\":[]}\n".to_owned());
    }
    if seen.method == "GET" && path.starts_with("/v1/secret/data/") {
        return (200, envelope(&format!(r#"{{"data":{{"password":"{VALUE}"}},"metadata":{version}}}"#)));
    }
    if seen.method == "GET" && path.starts_with("/v1/secret/metadata/") {
        return (200, envelope(settings));
    }
    if seen.method == "GET" && path.starts_with("/v1/secret/subkeys/") {
        return (200, envelope(&format!(r#"{{"subkeys":{{"password":null}},"metadata":{version}}}"#)));
    }
    if path == "/v1/kv1/app" || path.starts_with("/v1/logical/") {
        return (200, envelope(&format!(r#"{{"password":"{VALUE}"}}"#)));
    }
    (404, "{\"errors\":[]}\n".to_owned())
}
