//! What is fuzzed, as plain functions: each takes any bytes and panics when a promise is broken. `cargo fuzz` feeds them on
//! nightly, `tests/it/fuzz_replay.rs` includes this file and feeds them the corpora on stable.

#![allow(unreachable_pub, reason = "a crate of its own for cargo-fuzz, a private module of the integration tests")]

use std::fs::{DirBuilder, remove_file};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use scaivault_proxy::audit::{
    AuditKey, AuditSettings, Auditor, Note, Refusal, RequestId, SinkKind, SinkSettings, Subject,
};
use scaivault_proxy::clock::{ManualClock, SystemClock, Timestamp};
use scaivault_proxy::config::compile_text;
use scaivault_proxy::identity::{
    self, Caller, Credential, Directory, JwksError, JwksSource, JwtIssuer, Principal, Sessions, SignedRequest,
    StaticAccessKey, TenantIdentity,
};
use scaivault_proxy::mapping::{RuleSpec, Side, Table};
use scaivault_proxy::secret::{Folder, Operation, SecretPath, Tenant, WireKind};
use scaivault_proxy::wire::{
    AwsFacts, Cursors, Frontend, ListenerFacts, Mount, MountKind, PassOperation, Passthrough, Query, Request,
    WireRequest, aws, decode_segments, vault,
};
use serde_json::Value;

/// Longest input that is looked at: what is longer is refused before it gets here.
const MAX: usize = 64 << 10;

/// Paths: the grammar accepts what it was given or nothing, and a request's path is decoded exactly once.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(cut(data)) else { return };
    if let Ok(path) = SecretPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert_eq!(SecretPath::parse(path.as_str()).as_ref(), Ok(&path));
        assert_eq!(path.segments().collect::<Vec<_>>().join("/"), text);
        assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..")));
        assert!(path.folder().holds(&path) && path.leaf() == path.segments().next_back().unwrap_or_default());
    }
    if let Ok(folder) = Folder::parse(text) {
        assert_eq!(folder.as_str(), text);
        assert_eq!(folder.ancestors().last(), Some(""));
    }
    if let Ok(segments) = decode_segments(text) {
        for (index, segment) in segments.iter().enumerate() {
            assert!(!segment.is_empty() || index + 1 == segments.len(), "an empty segment in {text:?}");
            assert!(!matches!(&**segment, "." | ".."), "a dot segment in {text:?}");
            assert!(!segment.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')), "{segment:?} in {text:?}");
        }
        let encode = |segment: &str| segment.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let encoded: String = segments.iter().map(|segment| format!("/{}", encode(segment))).collect();
        assert_eq!(decode_segments(&encoded).as_ref(), Ok(&segments), "{text:?}");
    }
    if let Ok(mut query) = Query::parse(Some(text)) {
        drop((query.take("version"), query.take("list"), query.is_empty()));
    }
}

/// Mapping: what goes forward comes back by the same rule. Lines of rules `from => to [separator] [!]`, a blank line, lines
/// of names; a first line `<` makes the `from` side the foreign one.
pub fn mapping(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(cut(data)) else { return };
    let (foreign, text) = text.strip_prefix("<\n").map_or((Side::To, text), |rest| (Side::From, rest));
    let (rules, names) = text.split_once("\n\n").unwrap_or((text, ""));
    let specs: Vec<RuleSpec> = rules.lines().take(12).filter_map(rule).collect();
    match Table::compile(&specs, foreign) {
        Err(problems) => assert!(!problems.is_empty()),
        Ok(table) => {
            drop((table.collisions(), table.overlaps()));
            for name in names.lines().take(24) {
                round_trip(&table, specs.len(), name);
            }
        }
    }
}

fn rule(line: &str) -> Option<RuleSpec> {
    let (from, rest) = line.split_once(" => ")?;
    let mut words = rest.split(' ');
    let mut spec = RuleSpec { from: from.to_owned(), to: words.next()?.to_owned(), ..RuleSpec::default() };
    for word in words {
        if word == "!" {
            spec.escape = true;
        } else {
            spec.separator = Some(word.to_owned());
        }
    }
    Some(spec)
}

fn round_trip(table: &Table, rules: usize, name: &str) {
    let there = table.forward(name);
    let tried = table.trial(name);
    let found = tried.last().and_then(|trial| Some((trial.rule, trial.outcome.clone().ok()?)));
    assert_eq!(there.as_ref().map(|mapped| (mapped.rule, mapped.name.clone())), found, "explained otherwise: {name:?}");
    drop(table.folders(name));
    if let Some(there) = there {
        let back =
            table.backward(&there.name).unwrap_or_else(|why| panic!("{name:?} -> {there:?} has no way back: {why}"));
        let again = table.forward(&back.name);
        let same = again.as_ref().is_some_and(|again| again.rule == back.rule && again.name == there.name);
        assert!(same, "{name:?} -> {there:?} -> {back:?} -> {again:?}");
        assert!(rules > 1 || back.name == name, "{name:?} came back as {back:?}");
    }
    if let Ok(back) = table.backward(name) {
        let forth = table.forward(&back.name).unwrap_or_else(|| panic!("{name:?} <- {back:?} leads nowhere"));
        assert_eq!((forth.rule, forth.name.as_str()), (back.rule, name));
    }
}

/// The vault wire's decoder: a first line `METHOD TARGET`, headers, a blank line, the body. Never panics, and what comes out
/// is a name that means one thing.
pub fn vault_decode(data: &[u8]) {
    let Some(heard) = Heard::of(cut(data)) else { return };
    let head = heard.head;
    for facts in [facts(false), facts(true)] {
        let request = heard.request();
        let Ok(decoded) = vault::VaultFrontend.decode(&request, &facts) else { continue };
        let Request::Secret(call) = decoded.request else { continue };
        let name = call.secret.name.as_ref().map_or("", |name| name.as_str());
        assert!(!name.is_empty(), "a call about nothing: {head:?}");
        for segment in name.split('/') {
            assert!(!matches!(segment, "" | "." | ".."), "{name:?} from {head:?}");
            assert!(!segment.chars().any(|c| c.is_control() || c == '\\'), "{name:?} from {head:?}");
        }
        let mounted =
            facts.mounts.iter().any(|mount| name == mount.path || name.starts_with(&format!("{}/", mount.path)));
        assert!(mounted, "{name:?} lies in no mount: {head:?}");
        if let Some(namespace) = &decoded.namespace {
            assert!(namespace.split('/').all(|part| SecretPath::parse(part).is_ok()), "{namespace:?}");
        }
    }
}

/// The aws wire's decoder, written as for [`vault_decode`]. Never panics, and what comes out is a name that AWS could
/// have, or none.
pub fn aws_decode(data: &[u8]) {
    let Some(heard) = Heard::of(cut(data)) else { return };
    let facts = ListenerFacts {
        aws: Some(AwsFacts { account: "123456789012".to_owned(), region: REGION.to_owned() }),
        ..facts(false)
    };
    let Ok(decoded) = aws::AwsFrontend.decode(&heard.request(), &facts) else { return };
    assert!(decoded.namespace.is_none(), "{:?}", heard.head);
    let Request::Secret(call) = decoded.request else { return };
    let Some(name) = &call.secret.name else { return };
    let name = name.as_str();
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    assert!((1..=512).contains(&name.len()) && name.bytes().all(is_one), "{name:?} from {:?}", heard.head);
}

/// Signatures, written as for [`vault_decode`]. Never panics; whoever is let in is the owner of the key, and the same
/// signature over another body, query or method lets nobody in.
pub fn sigv4(data: &[u8]) {
    let Some(heard) = Heard::of(cut(data)) else { return };
    let request = heard.request();
    let signed = SignedRequest {
        method: request.method,
        path: request.path,
        query: request.query,
        host: request.host,
        headers: request.headers,
        body: request.body,
        region: REGION,
        service: "secretsmanager",
    };
    let Ok(caller) = who(signed) else { return };
    assert_eq!(caller.principal.id(), "fuzz");
    assert!(caller.signature.is_some());
    let body = [request.body, b" "].concat();
    assert!(who(SignedRequest { body: &body, ..signed }).is_err(), "another body: {:?}", heard.head);
    let query = format!("{}&x=y", request.query.unwrap_or_default());
    assert!(who(SignedRequest { query: Some(query.as_str()), ..signed }).is_err(), "another query: {:?}", heard.head);
    assert!(who(SignedRequest { method: &Method::OPTIONS, ..signed }).is_err(), "another method: {:?}", heard.head);
}

const REGION: &str = "us-east-1";
/// When the requests of the corpus were signed, in seconds.
const SIGNED_AT: u64 = 1_795_428_417;

fn who(request: SignedRequest<'_>) -> Result<Caller, identity::IdentityError> {
    static DIRECTORY: OnceLock<Directory> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(SIGNED_AT)));
        let mut settings = TenantIdentity::new(Tenant::default_tenant());
        settings.access_keys.push(StaticAccessKey {
            principal: "fuzz".to_owned(),
            groups: Vec::new(),
            folders: Vec::new(),
            id: "AKIDEXAMPLEOFAFUZZER".to_owned(),
            secret: "secret-access-key-of-the-fuzzer-00000001".to_owned().into(),
            key: "identity.access_keys[0]".to_owned(),
        });
        let sessions = Arc::new(Sessions::new(clock.clone()).expect("random bytes"));
        Directory::compile(vec![settings], sessions, Arc::new(NoKeys), clock).expect("an access key")
    });
    directory.authenticate_now(Credential::Signed(request), None, None, false).expect("a signature waits for nothing")
}

/// No issuer is configured, so nobody asks.
struct NoKeys;

#[async_trait]
impl JwksSource for NoKeys {
    async fn fetch(&self, _issuer: &JwtIssuer) -> Result<Vec<u8>, JwksError> {
        unreachable!("no issuer is configured")
    }
}

/// A request as the corpora write it: a first line `METHOD TARGET`, headers, a blank line, the body.
struct Heard<'d> {
    head: &'d str,
    method: Method,
    target: &'d str,
    headers: HeaderMap,
    host: &'d str,
    body: &'d [u8],
}

impl<'d> Heard<'d> {
    fn of(data: &'d [u8]) -> Option<Self> {
        let (head, body) = split(data);
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let (method, target) = lines.next()?.split_once(' ')?;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        if !target.starts_with('/') {
            return None;
        }
        let (mut headers, mut host) = (HeaderMap::new(), "localhost");
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if let (Ok(name), Ok(sent)) =
                (HeaderName::try_from(name.trim()), HeaderValue::from_bytes(value.trim().as_bytes()))
            {
                if name == "host" {
                    host = value.trim();
                }
                headers.append(name, sent);
            }
        }
        Some(Self { head, method, target, headers, host, body })
    }

    fn request(&self) -> WireRequest<'_> {
        let (path, query) =
            self.target.split_once('?').map_or((self.target, None), |(path, query)| (path, Some(query)));
        let Self { method, headers, host, body, .. } = self;
        WireRequest { method, path, query, host, headers, body }
    }
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, b""),
    }
}

fn facts(workload: bool) -> ListenerFacts {
    let mount = |path: &str, kind| Mount { path: path.to_owned(), kind };
    ListenerFacts {
        aws: None,
        mounts: vec![
            mount("kv/old", MountKind::Kv1),
            mount("secret", MountKind::Kv2),
            mount("database", MountKind::Logical),
        ],
        passthrough: vec![Passthrough {
            path: ["database", "creds", "*"].map(str::to_owned).to_vec(),
            operations: vec![PassOperation::Read, PassOperation::List, PassOperation::Write],
        }],
        require_request_header: false,
        workload,
        max_versions: 10,
        value_bytes: 4096,
        hosts: Vec::new(),
        cursors: Cursors::new(&[7; 32]),
    }
}

/// Configuration: any text is a configuration or a list of what is wrong with it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(cut(data)) else { return };
    match compile_text(text, Path::new("/etc/scaivault-proxy")) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && !config.tenants.is_empty());
            drop((format!("{config:?}"), config.not_built()));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(!problem.key.is_empty() && !problem.message.is_empty(), "{problem:?}");
                assert!(!problem.to_string().contains('\n'), "more than one line: {problem:?}");
            }
        }
    }
}

/// The trail: any text in any field is one line that reads back equal and moves no terminal.
pub fn audit_line(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(4096)]).into_owned();
    let mirrored: String = text.chars().rev().collect();
    let mut desk = desk().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (first, second) = (subject(), subject());
    let refusal = Refusal::Malformed { path: Some(Box::from(text.as_str())) };
    wait(desk.auditor.refuse(first.clone(), refusal)).unwrap_or_else(|error| panic!("{error}"));
    wait(desk.auditor.record(second.clone(), Note::ok("fuzz").about(&mirrored)))
        .unwrap_or_else(|error| panic!("{error}"));
    for (subject, field, expected) in [(first, "path", &text), (second, "target", &mirrored)] {
        let line = desk.line_of(&subject.request_id.to_string());
        assert_eq!(line[field], expected.as_str());
        assert_eq!(line["principal"], "fuzz");
    }
}

/// A trail that is written to a socket of ours.
struct Desk {
    auditor: Arc<Auditor>,
    listener: UnixListener,
    lines: Option<BufReader<UnixStream>>,
}

fn desk() -> &'static Mutex<Desk> {
    static DESK: OnceLock<Mutex<Desk>> = OnceLock::new();
    DESK.get_or_init(|| {
        let root = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = root.join(format!("fuzz-{}", std::process::id()));
        DirBuilder::new().mode(0o700).recursive(true).create(&directory).expect("a directory of our own");
        let socket = directory.join("trail");
        // what an earlier run with this process id may have left
        drop(remove_file(&socket));
        let listener = UnixListener::bind(&socket).expect("a socket of our own");
        let kind = SinkKind::Socket { address: format!("unix:{}", socket.display()) };
        let sinks = vec![SinkSettings { kind, required: true }];
        let settings = AuditSettings::new(AuditKey::from_bytes([7; 32]), "fuzz".to_owned(), sinks);
        let auditor = Auditor::start(settings, Arc::new(SystemClock)).expect("a trail");
        Mutex::new(Desk { auditor, listener, lines: None })
    })
}

impl Desk {
    /// Reads on until the line of a request.
    fn line_of(&mut self, id: &str) -> Value {
        let lines =
            self.lines.get_or_insert_with(|| BufReader::new(self.listener.accept().expect("the trail connects").0));
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).expect("lines are UTF-8");
            let text = line.strip_suffix('\n').expect("a line ends");
            let strange = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
            assert!(!text.chars().any(strange), "{text:?}");
            let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
            if value["request_id"] == id {
                return value;
            }
        }
    }
}

fn subject() -> Subject {
    let tenant = Tenant::default_tenant();
    let principal = Principal::new(tenant.clone(), "fuzz", identity::Method::Token, Vec::new(), Vec::new());
    Subject {
        request_id: RequestId::fresh(&SystemClock),
        tenant,
        wire: WireKind::Vault,
        operation: Operation::Read,
        source: Some([127, 0, 0, 1].into()),
        principal: Some(Arc::new(principal)),
        credential: Some([7; 16]),
        config_generation: 1,
        started: Instant::now(),
    }
}

fn cut(data: &[u8]) -> &[u8] {
    &data[..data.len().min(MAX)]
}

/// Runs a future on this thread: the targets must not need a runtime.
fn wait<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
