//! Events as they leave the process: server-sent events over HTTP/1.1 and HTTP/2, signed webhooks in clear and over TLS,
//! and how a stream ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use rustls::{DEFAULT_VERSIONS, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::certs::{Authority, Pair};
use crate::harness::{ADMIN, BASIC, POLICIES, Proxy, READER, request, wait_until};
use crate::stub::{Seen, Stub};

const TERM: i32 = 15;
const SOON: Duration = Duration::from_secs(15);
/// Longer than the time between two signs of life.
const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "the-key-of-a-webhook-of-these-suites";
const COUNTED: &str = "scaivault_events_total";

/// [`BASIC`] with webhooks, each a URL and further keys of its entry.
fn with_webhooks(hooks: &[(String, &str)]) -> String {
    let mut config = format!("{BASIC}secrets: {{infra/hook: {{file: {{dir}}/hook.key}}}}\nevents:\n  webhooks:\n");
    for (url, more) in hooks {
        config.push_str(&format!("    - {{url: '{url}', secret_path: infra/hook{more}}}\n"));
    }
    config
}

/// The same configuration with a key nobody knows.
fn spoiled(config: &str) -> String {
    config.replace("policies:", "polices:")
}

/// A client of `GET /v1/events` over HTTP/1.1.
struct Listener {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Listener {
    fn open(proxy: &Proxy, token: &str) -> Self {
        Self::open_with(proxy, token, "")
    }

    /// The same with further lines in the head, each with its end.
    fn open_with(proxy: &Proxy, token: &str, lines: &str) -> Self {
        let address = proxy.address("scaivault");
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n{lines}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "no head: {head}");
        }
        Self { reader, head }
    }

    /// One that has been let in and hears everything from now on.
    fn listening(proxy: &Proxy, token: &str) -> Self {
        Self::open(proxy, token).greeted()
    }

    /// The admin, who was there before and heard this event last.
    fn back(proxy: &Proxy, last: &str) -> Self {
        Self::open_with(proxy, ADMIN, &format!("Last-Event-ID: {last}\r\n")).greeted()
    }

    fn greeted(mut self) -> Self {
        assert!(self.head.starts_with("HTTP/1.1 200 "), "{}", self.head);
        assert_eq!(self.chunk().unwrap(), "retry: 2000\n: listening\n\n");
        self
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap_or_default()
    }

    /// The next chunk of the body; `None` at its proper end.
    fn chunk(&mut self) -> Option<String> {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "the stream broke off");
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// The next event.
    fn event(&mut self) -> Value {
        data(&self.message()).unwrap()
    }

    /// The next message that holds an event.
    fn message(&mut self) -> String {
        loop {
            let chunk = self.chunk().expect("the stream ended");
            if data(&chunk).is_some() {
                return chunk;
            }
        }
    }
}

/// The CloudEvent in a message of a stream; `None` for a comment.
fn data(message: &str) -> Option<Value> {
    let data = message.lines().find_map(|line| line.strip_prefix("data: "))?;
    Some(serde_json::from_str(data).unwrap())
}

fn is_signed(id: &str, timestamp: &str, signature: &str, body: &[u8]) -> bool {
    let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), &signed, &signature).is_ok()
}

#[test]
fn a_rejected_configuration_is_told_to_subscribers_and_webhooks() {
    let stub = Stub::start(|_: &Seen| (204, String::new()));
    let hooks = [
        (format!("http://{}/wanted/canary-path", stub.address()), ", types: [config.rejected]"),
        (format!("http://{}/unwanted", stub.address()), ", types: [federation.sync.failed]"),
    ];
    let config = with_webhooks(&hooks);
    let mut proxy = Proxy::builder().config(&config).file("hook.key", format!("{KEY}\n")).start();
    let mut listener = Listener::listening(&proxy, ADMIN);
    assert_eq!(listener.header("content-type"), "text/event-stream");
    assert_eq!(listener.header("cache-control"), "no-store");
    assert_eq!(listener.header("transfer-encoding"), "chunked");

    proxy.write_config(&spoiled(&config));
    let event = listener.event();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "config.rejected");
    assert_eq!(event["source"], "/scaivault-proxy/it/tenants/default");
    assert_eq!(event["data"]["generation"], 1);
    assert!(event["data"]["problems"].to_string().contains("polices"), "{event}");

    wait_until(SOON, "the webhook to be called", || !stub.seen().is_empty());
    let seen = stub.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/wanted/canary-path"));
    assert_eq!(seen.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), event, "both are told the same");
    let header = |name: &str| seen.header(name).unwrap().to_owned();
    assert_eq!(header("webhook-id"), event["id"].as_str().unwrap());
    let (timestamp, signature) = (header("webhook-timestamp"), header("webhook-signature"));
    assert!(is_signed(&header("webhook-id"), &timestamp, &signature, &seen.body));
    wait_until(SOON, "the delivery to be counted", || {
        proxy.metric(COUNTED, &[r#"outcome="delivered""#]).is_some_and(|count| count >= 1.0)
    });
    assert!(stub.seen().iter().all(|seen| seen.target != "/unwanted"));

    let id = listener.header("x-request-id");
    assert!(proxy.audit().iter().any(|line| line["request_id"] == id), "following events is in the trail");
    let log = proxy.stderr();
    assert!(!log.contains(KEY) && !log.contains("canary-path"), "{log}");
}

#[test]
fn events_are_for_those_who_administer_them() {
    let proxy = Proxy::builder().start();
    for (token, status) in [("", 401), ("a-token-nobody-has", 401), (READER, 403)] {
        let refused = proxy.scaivault_call(token, "GET", "/v1/events", b"");
        assert_eq!(refused.status, status, "{}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn a_stream_ends_with_the_rights_of_its_client() {
    let policies = format!(
        "{POLICIES}\n@id(\"readers-follow-events\")\npermit (principal in Group::\"readers\", \
         action == Action::\"administer\", resource == System::\"events\");\n"
    );
    let proxy = Proxy::builder().file("policies.cedar", policies).start();
    let (mut reader, mut admin) = (Listener::listening(&proxy, READER), Listener::listening(&proxy, ADMIN));
    let revoked = proxy.scaivault_call(ADMIN, "PUT", "/v1/principals/t/reader/revocation", b"");
    assert!(revoked.status < 300, "{}", revoked.text());
    assert_eq!(reader.chunk(), None, "the stream of a revoked principal ends");
    let restored = proxy.scaivault_call(ADMIN, "DELETE", "/v1/principals/t/reader/revocation", b"");
    assert!(restored.status < 300, "{}", restored.text());

    let mut reader = Listener::listening(&proxy, READER);
    proxy.write("policies.cedar", POLICIES);
    assert_eq!(reader.chunk(), None, "the stream of a principal that may no longer administer events ends");
    proxy.write("policies.cedar", "permit (");
    assert_eq!(admin.event()["type"], "config.rejected", "the others go on");
}

#[test]
fn a_silent_stream_is_kept_alive_and_ends_when_the_process_drains() {
    let mut proxy = Proxy::builder().start();
    let mut listener = Listener::listening(&proxy, ADMIN);
    assert_eq!(listener.chunk().unwrap(), ": keep-alive\n\n");
    // one that has left without a word holds nothing up
    drop(Listener::listening(&proxy, ADMIN));
    proxy.signal(TERM);
    assert_eq!(listener.chunk(), None);
    assert!(proxy.wait_exit(SOON).success());
}

#[test]
fn who_comes_back_is_told_what_happened_meanwhile_and_then_what_happens() {
    let mut proxy = Proxy::builder().start();
    let mut gone = Listener::listening(&proxy, ADMIN);
    let mut witness = Listener::listening(&proxy, ADMIN);
    proxy.write_config(&spoiled(BASIC));
    let message = gone.message();
    drop(gone);
    let first = witness.event();
    let id = first["id"].as_str().unwrap();
    assert!(message.starts_with(&format!("id: {id}\nevent: config.rejected\ndata: ")), "{message}");

    proxy.write_config(&BASIC.replace("identity:", "identitty:"));
    let second = witness.event();
    assert!(second["data"]["problems"].to_string().contains("identitty"), "{second}");
    let mut back = Listener::back(&proxy, id);
    assert_eq!(back.event(), second, "nothing is told twice, and nothing is left out");
    let mut stranger = Listener::back(&proxy, "00000000000000000000000000");
    assert_eq!(stranger.chunk().unwrap(), ": events may be missing here\n\n", "of an event nobody knows");
    assert_eq!([stranger.event(), stranger.event()], [first.clone(), second.clone()]);
    let mut anew = Listener::back(&proxy, "");

    proxy.write_config(&BASIC.replace("listeners:", "listners:"));
    let third = witness.event();
    assert!(third != first && third != second, "{third}");
    for (who, listener) in [("back", &mut back), ("a stranger", &mut stranger), ("anew", &mut anew)] {
        assert_eq!(listener.event(), third, "{who}");
    }
}

#[test]
fn what_is_no_id_of_an_event_is_refused() {
    let proxy = Proxy::builder().start();
    let bearer = format!("Bearer {ADMIN}");
    let id = "01J9ZQ6W3N8X2T5V7Y0R4M6K8P";
    let lower = id.to_ascii_lowercase();
    let (short, long) = (&id[1..], format!("{id}0"));
    // the last one would be of a time after the end of ULIDs
    for bad in ["nonsense", "1", lower.as_str(), short, long.as_str(), "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
        let headers = [("Authorization", bearer.as_str()), ("Last-Event-ID", bad)];
        refuses(&proxy, &headers, bad);
    }
    refuses(&proxy, &[("Authorization", &bearer), ("Last-Event-ID", id), ("Last-Event-ID", id)], "one too many");
}

/// A subscription that is refused as malformed, in one line.
fn refuses(proxy: &Proxy, headers: &[(&str, &str)], what: &str) {
    let refused = request(&proxy.address("scaivault"), "GET", "/v1/events", headers, b"");
    assert_eq!(refused.status, 400, "{what}: {}", refused.text());
    assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(refused.json()["kind"], "malformed", "{what}");
    let lines = proxy.audit_of(&refused);
    assert_eq!((lines.len(), lines[0]["outcome"].as_str()), (1, Some("malformed")), "{what}: {lines:?}");
}

#[test]
fn events_stream_over_http2() {
    let plain = "    address: {scaivault}\n";
    assert!(BASIC.contains(plain));
    let config = BASIC.replace(plain, &format!("{plain}    h2c: true\n"));
    let mut proxy = Proxy::builder().config(&config).start();
    let url = format!("{}/v1/events", proxy.scaivault());
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let followed = async {
        let mut answer = client.get(&url).bearer_auth(ADMIN).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
        let mut text = String::new();
        while !text.contains("listening") {
            text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        }
        proxy.write_config(&spoiled(&config));
        while !(text.contains("data: ") && text.ends_with("\n\n")) {
            text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        }
        proxy.signal(TERM);
        while answer.chunk().await.expect("the stream ends as it should").is_some() {}
        data(&text).unwrap()
    };
    let event = runtime.block_on(async { tokio::time::timeout(PATIENCE, followed).await.expect("no event came") });
    assert_eq!(event["type"], "config.rejected");
    drop(client);
    drop(runtime);
    assert!(proxy.wait_exit(SOON).success());
}

/// A receiver over TLS: the port, and the requests it was sent over connections that stood.
fn receive_over_tls(pair: &Pair) -> (String, Arc<Mutex<Vec<String>>>) {
    let config = pair.serving(DEFAULT_VERSIONS);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let (mut text, mut chunk) = (String::new(), [0; 8192]);
            while let Ok(length @ 1..) = tls.read(&mut chunk) {
                text.push_str(&String::from_utf8_lossy(&chunk[..length]));
                // the body is one line of JSON
                if text.ends_with('}') {
                    kept.lock().unwrap().push(std::mem::take(&mut text));
                    drop(tls.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"));
                    tls.conn.send_close_notify();
                    drop(tls.flush());
                    break;
                }
            }
        }
    });
    (url, seen)
}

#[test]
fn x05_a_webhook_is_posted_to_only_if_its_certificate_is_one_the_configuration_trusts() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (right, seen) = receive_over_tls(&ours.server());
    let (wrong, unseen) = receive_over_tls(&theirs.server());
    let trusted = ", ca_path: {dir}/hook-ca.pem";
    let config = with_webhooks(&[(right, trusted), (wrong, trusted)]);
    let mut proxy = Proxy::builder().config(&config).file("hook.key", KEY).file("hook-ca.pem", ours.pem()).start();
    proxy.write_config(&spoiled(&config));
    wait_until(SOON, "the delivery over TLS", || !seen.lock().unwrap().is_empty());
    let text = seen.lock().unwrap().remove(0);
    assert!(text.starts_with("POST /hook HTTP/1.1\r\n") && text.contains("\"config.rejected\""), "{text}");
    wait_until(SOON, "the failure of the other one", || {
        proxy.metric(COUNTED, &[r#"outcome="retried""#]).is_some_and(|count| count >= 1.0)
    });
    assert!(unseen.lock().unwrap().is_empty(), "a request was sent to a stranger");
}
