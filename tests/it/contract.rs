//! What every backend and every store must do, as suites that each implementation runs: backends against their real
//! server, stores on their own.

use std::sync::Arc;
use std::time::Duration;

use scaivault_proxy::backend::{Ask, Backend, BackendError, Change, HttpClient, HttpSettings, Listed, client_config};
use scaivault_proxy::error::ErrorKind;
use scaivault_proxy::secret::{
    Described, Dialect, Metadata, NativeReply, Operation, Outcome, PassCall, RemoteName, Reply, SecretRecord,
    SecretType, SecretValue, VersionSelector, VersionSet, VersionState,
};
use scaivault_proxy::store::{Batch, Cached, FileStore, MemoryStore, RecordKey, Sealed, Store, Table};
use scaivault_proxy::wire::vault::{AuthMethod, CredentialSource, VaultBackend, VaultSettings};
use serde_json::{Value, json};

use crate::harness::Place;
use crate::peers;

/// What a server holds for the suite, in its own names.
struct Sample {
    /// Marks KV version 2 in the names.
    marker: Option<usize>,
    /// A secret with three versions, custom metadata `owner` and the value of the third.
    current: &'static str,
    value: Value,
    first: Value,
    /// A secret that is soft-deleted, and one whose first version is destroyed.
    deleted: &'static str,
    destroyed: &'static str,
    missing: &'static str,
    /// A folder, what is directly in it, and a folder with nothing in it.
    folder: &'static str,
    children: Vec<&'static str>,
    empty: &'static str,
}

fn sample() -> Sample {
    let value = json!({"user": "app", "password": "made-up-3", "port": 5432,
        "options": {"tls": true, "hosts": ["db-1", "db-2"]}, "note": "gr\u{fc}\u{df}e, \u{96ea} & <tags>"});
    Sample {
        marker: Some(1),
        current: "secret/data/app/db",
        value,
        first: json!({"user": "app", "password": "made-up-1"}),
        deleted: "secret/data/app/gone",
        destroyed: "secret/data/app/destroyed",
        missing: "secret/data/app/no-such-secret",
        folder: "secret/data/app",
        children: vec!["api", "db", "destroyed", "gone", "nested/"],
        empty: "secret/data/no-such-folder",
    }
}

/// A question in some dialect.
struct Question {
    remote: RemoteName,
    marker: Option<usize>,
    dialect: Dialect,
}

impl Question {
    fn new(remote: &str, marker: Option<usize>, dialect: Dialect) -> Self {
        Self { remote: RemoteName::parse(remote).unwrap(), marker, dialect }
    }

    fn ask(&self) -> Ask<'_> {
        let (remote, kv2_segment, dialect) = (&self.remote, self.marker, self.dialect);
        Ask { remote, kv2_segment, dialect, request_id: "contract", principal: None }
    }
}

/// The neutral half: any wire can be served from any backend.
async fn neutral_suite(backend: &dyn Backend, has: &Sample) {
    let question = |remote: &str| Question::new(remote, has.marker, Dialect::Neutral);
    let current = question(has.current);
    backend.check().await.unwrap();

    let record = record(backend.read(current.ask(), &VersionSelector::Current).await).unwrap();
    assert_eq!((value(&record), record.info.version), (Some(has.value.clone()), 3));
    assert_eq!((record.secret_type, record.info.state), (SecretType::Json, VersionState::Current));
    assert_eq!(record.metadata.get("owner").map(String::as_str), Some("team-one"));
    assert!(record.info.created_at.secs() > 1_700_000_000);

    let first = self::record(backend.read(current.ask(), &VersionSelector::Number(1)).await).unwrap();
    assert_eq!((value(&first), first.info.version), (Some(has.first.clone()), 1));
    assert!(self::record(backend.read(current.ask(), &VersionSelector::Number(99)).await).is_none());
    assert!(self::record(backend.read(question(has.missing).ask(), &VersionSelector::Current).await).is_none());

    let deleted = self::record(backend.read(question(has.deleted).ask(), &VersionSelector::Current).await).unwrap();
    assert!(deleted.value.is_none() && matches!(deleted.info.state, VersionState::Deleted(_)), "{deleted:?}");
    let destroyed = question(has.destroyed);
    let gone = self::record(backend.read(destroyed.ask(), &VersionSelector::Number(1)).await).unwrap();
    assert!(gone.value.is_none() && matches!(gone.info.state, VersionState::Destroyed(_)), "{gone:?}");
    assert!(self::record(backend.read(destroyed.ask(), &VersionSelector::Current).await).unwrap().value.is_some());

    let Reply::Neutral(Outcome::Described(described)) = backend.describe(current.ask()).await.unwrap() else {
        panic!("not described");
    };
    assert_eq!((described.current_version, described.versions.len()), (3, 3));
    assert_eq!(described.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(described.metadata.get("rotation").map(String::as_str), Some("30d"));
    let nothing = backend.describe(question(has.missing).ask()).await.unwrap();
    assert!(matches!(nothing, Reply::Neutral(Outcome::NotFound)), "{nothing:?}");

    let Listed { mut names, native, .. } = backend.list(question(has.folder).ask()).await.unwrap();
    names.sort();
    assert_eq!(names, has.children);
    assert!(native.is_none(), "native bytes nobody asked for");
    assert!(backend.list(question(has.empty).ask()).await.unwrap().names.is_empty());
    for selector in [VersionSelector::Native("x".into()), VersionSelector::Stage("AWSCURRENT".into())] {
        // it has neither identifiers nor labels
        let nothing = backend.read(current.ask(), &selector).await.unwrap();
        assert!(matches!(nothing, Reply::Neutral(Outcome::NotFound)), "{selector:?}: {nothing:?}");
    }
}

/// The native half, for a backend whose wire the client speaks: the server's own bytes.
async fn native_suite(backend: &dyn Backend, has: &Sample) {
    let question = |remote: &str| Question::new(remote, has.marker, Dialect::VaultKv2);
    let current = question(has.current);

    let read = native(backend.read(current.ask(), &VersionSelector::Current).await);
    assert_eq!((read.status.as_u16(), read.version), (200, Some(3)));
    assert_eq!(body(&read)["data"]["data"], has.value);
    let own_id = body(&read)["request_id"].as_str().map(str::to_owned);
    assert_eq!(read.request_id.as_deref().map(str::to_owned), own_id);
    let allowed = ["content-type", "cache-control", "strict-transport-security"];
    assert!(read.headers.keys().all(|name| allowed.contains(&name.as_str())), "{:?}", read.headers);
    let missing = native(backend.read(question(has.missing).ask(), &VersionSelector::Current).await);
    assert_eq!((missing.status.as_u16(), body(&missing)), (404, json!({"errors": []})));
    let deleted = native(backend.read(question(has.deleted).ask(), &VersionSelector::Current).await);
    assert_eq!(deleted.status.as_u16(), 404);
    assert!(body(&deleted)["data"]["data"].is_null() && body(&deleted)["data"]["metadata"]["deletion_time"] != "");

    let described = native(backend.describe(current.ask()).await);
    assert_eq!(body(&described)["data"]["current_version"], 3);
    let subkeys = native(backend.subkeys(current.ask(), &VersionSelector::Current, 0).await);
    assert_eq!(body(&subkeys)["data"]["subkeys"]["password"], Value::Null);
    assert!(!String::from_utf8_lossy(&subkeys.body).contains("made-up"), "a value among subkeys");
    let Listed { names, native: bytes, .. } = backend.list(question(has.folder).ask()).await.unwrap();
    assert_eq!(body(&bytes.unwrap())["data"]["keys"], json!(names));
}

/// KV version 1 has neither versions nor times.
async fn kv1_suite(backend: &dyn Backend) {
    let question = |remote: &str, dialect| Question::new(remote, None, dialect);
    let read = native(backend.read(question("kv1/app/one", Dialect::VaultKv1).ask(), &VersionSelector::Current).await);
    assert_eq!(body(&read)["data"], json!({"user": "one", "password": "made-up-one"}));
    let neutral = question("kv1/app/one", Dialect::Neutral);
    let found = record(backend.read(neutral.ask(), &VersionSelector::Current).await).unwrap();
    assert_eq!((value(&found), found.info.version), (Some(json!({"user": "one", "password": "made-up-one"})), 1));
    assert!(record(backend.read(neutral.ask(), &VersionSelector::Number(2)).await).is_none());
    let missing = question("kv1/app/no-such-secret", Dialect::Neutral);
    assert!(record(backend.read(missing.ask(), &VersionSelector::Current).await).is_none());
    let listed = backend.list(question("kv1/app", Dialect::Neutral).ask()).await.unwrap();
    assert_eq!(listed.names, ["nested/", "one"]);
    assert_eq!(backend.describe(neutral.ask()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    // asked as version 2 it holds nothing: no field of it is taken for a version
    let confused = Question::new("kv1/data/app/one", Some(1), Dialect::VaultKv2);
    let found = backend.read(confused.ask(), &VersionSelector::Current).await;
    assert!(!matches!(found, Ok(Reply::Native(NativeReply { version: Some(_), .. }))), "{found:?}");
}

/// Another API of the server, under the permissions of our own credential.
async fn pass_suite(backend: &dyn Backend) {
    let call = |body: &[u8]| PassCall {
        operation: Operation::PassWrite,
        method: http::Method::POST,
        query: None,
        content_type: None,
        body: SecretValue::copy_of(body),
    };
    let encrypt = Question::new("transit/encrypt/seal", None, Dialect::VaultLogical);
    let done = native(backend.pass(encrypt.ask(), &call(br#"{"plaintext":"aGVsbG8="}"#), false).await);
    assert!(body(&done)["data"]["ciphertext"].as_str().unwrap().starts_with("vault:v1:"));
    let bad = backend.pass(encrypt.ask(), &call(br#"{"plaintext":"not base64 at all"}"#), false).await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::UpstreamRejected, "{bad:?}");
    for closed in ["transit/keys/seal", "sys/raw/x", "no-such-mount/x"] {
        let question = Question::new(closed, None, Dialect::VaultLogical);
        let denied = backend.pass(question.ask(), &call(b"{}"), false).await.unwrap_err();
        assert!(matches!(denied, BackendError::Denied | BackendError::Rejected(_)), "{closed}: {denied:?}");
    }
    // a mount that is not there is about our mapping, never an absent secret
    let nowhere = Question::new("nowhere/data/x", Some(1), Dialect::Neutral);
    for error in [
        backend.read(nowhere.ask(), &VersionSelector::Current).await.unwrap_err(),
        backend.describe(nowhere.ask()).await.unwrap_err(),
        backend.list(nowhere.ask()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::UpstreamRejected, "{error:?}");
    }
}

/// Changes: each is sent once, and a conflict changes nothing.
async fn write_suite(backend: &dyn Backend, remote: &str) {
    let question = Question::new(remote, Some(1), Dialect::Neutral);
    let put = async |text: &str, expected| {
        let value = SecretValue::copy_of(text.as_bytes());
        let change = Change::Put {
            value: &value,
            secret_type: SecretType::Json,
            expected,
            token: None,
            stages: None,
            revives: false,
        };
        backend.write(question.ask(), change).await
    };
    let version = |outcome: Result<Outcome, BackendError>| match outcome.unwrap() {
        Outcome::Written(info, metadata) => {
            assert!(metadata.is_empty());
            info.version
        }
        other => panic!("not written: {other:?}"),
    };
    let state = async |version| {
        let read = backend.read(question.ask(), &VersionSelector::Number(version)).await;
        record(read).unwrap().info.state
    };
    let calls = backend.calls();
    assert_eq!(version(put(r#"{"a":"made-up-1"}"#, Some(0)).await), 1);
    assert!(backend.calls() > calls, "requests are counted");
    for expected in [0, 7] {
        let conflict = put(r#"{"a":"lost"}"#, Some(expected)).await.unwrap_err();
        assert!(matches!(conflict, BackendError::Conflict), "{conflict:?}");
    }
    // not reserialised: spelling and order are kept as far as the server keeps them
    assert_eq!(version(put(r#"{"b":"made-up-2","a":1.5}"#, Some(1)).await), 2);
    assert_eq!(version(put(r#"{"c":"made-up-3"}"#, None).await), 3);
    let found = record(backend.read(question.ask(), &VersionSelector::Number(2)).await).unwrap();
    assert_eq!(value(&found), Some(json!({"b": "made-up-2", "a": 1.5})));

    let owner = Metadata::from([("owner".to_owned(), "contract".to_owned())]);
    for metadata in [&owner, &Metadata::new(), &owner] {
        done(backend.write(question.ask(), Change::Metadata(metadata)).await);
        assert_eq!(described(backend, &question).await.metadata, *metadata, "replaced as a whole");
    }
    done(backend.write(question.ask(), Change::Delete(&VersionSet::Current, None)).await);
    assert!(matches!(state(3).await, VersionState::Deleted(_)));
    done(backend.write(question.ask(), Change::Undelete(&VersionSet::Numbers(vec![3]))).await);
    done(backend.write(question.ask(), Change::Delete(&VersionSet::Numbers(vec![2]), None)).await);
    done(backend.write(question.ask(), Change::Destroy(&VersionSet::Numbers(vec![1]))).await);
    assert!(matches!(state(1).await, VersionState::Destroyed(_)));
    assert!(matches!(state(2).await, VersionState::Deleted(_)));
    assert_eq!(state(3).await, VersionState::Current);
    done(backend.write(question.ask(), Change::Purge).await);
    assert!(record(backend.read(question.ask(), &VersionSelector::Current).await).is_none());
    let conflict = put(r#"{"a":"late"}"#, Some(3)).await.unwrap_err();
    assert!(matches!(conflict, BackendError::Conflict), "what is gone is at no version: {conflict:?}");
}

fn done(outcome: Result<Outcome, BackendError>) {
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
}

async fn described(backend: &dyn Backend, question: &Question) -> Described {
    match backend.describe(question.ask()).await.unwrap() {
        Reply::Neutral(Outcome::Described(described)) => *described,
        other => panic!("not described: {other:?}"),
    }
}

/// What our credential may do, asked without doing it.
async fn probe_suite(backend: &dyn Backend) {
    for (remote, marker, expected) in [
        ("secret/data/app/db", Some(1), [("read", true), ("list", true), ("write", true)]),
        ("secret/data/app/", Some(1), [("read", true), ("list", true), ("write", true)]),
        ("transit/keys/seal", None, [("read", false), ("list", false), ("write", false)]),
    ] {
        let question = Question::new(remote, marker, Dialect::Neutral);
        assert_eq!(backend.probe(question.ask()).await.unwrap(), expected, "{remote}");
    }
}

#[tokio::test]
async fn vault_backend_keeps_the_contract_with_a_token() {
    let bao = peers::openbao();
    let backend = vault(&bao.addr, AuthMethod::Token(credential(json!({"token": bao.text("backend_token")}))));
    let has = sample();
    neutral_suite(&backend, &has).await;
    native_suite(&backend, &has).await;
    kv1_suite(&backend).await;
    pass_suite(&backend).await;
    write_suite(&backend, "secret/data/contract/token").await;
    probe_suite(&backend).await;
}

#[tokio::test]
async fn vault_backend_keeps_the_contract_with_an_approle() {
    let bao = peers::openbao();
    let stored = json!({"role_id": bao.text("backend_role_id"), "secret_id": bao.text("backend_secret_id")});
    let method = AuthMethod::Approle { mount: "approle".to_owned(), source: credential(stored) };
    let backend = vault(&bao.addr, method);
    neutral_suite(&backend, &sample()).await;
    native_suite(&backend, &sample()).await;
}

#[tokio::test]
async fn vault_backend_without_a_credential_that_works_says_so() {
    let bao = peers::openbao();
    let question = Question::new("secret/data/app/db", Some(1), Dialect::VaultKv2);
    let approle = |stored| AuthMethod::Approle { mount: "approle".to_owned(), source: credential(stored) };
    for method in [
        AuthMethod::Token(credential(json!({"token": "s.no-such-token"}))),
        AuthMethod::Token(credential(json!({"tokens": "s.no-such-token"}))),
        AuthMethod::Token(credential(json!("s.no-such-token"))),
        AuthMethod::Token(Arc::new(|| Err("the file is not there"))),
        approle(json!({"role_id": "role-backend", "secret_id": "no-such-secret-id"})),
        approle(json!({"role_id": "role-backend"})),
    ] {
        let backend = vault(&bao.addr, method);
        assert_eq!(backend.check().await.unwrap_err().kind(), ErrorKind::UpstreamUnavailable);
        let refused = backend.read(question.ask(), &VersionSelector::Current).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UpstreamUnavailable, "{refused:?}");
    }
    let app = vault(&bao.addr, AuthMethod::Token(credential(json!({"token": bao.text("app_token")}))));
    let hidden = Question::new("secret/data/other/hidden", Some(1), Dialect::Neutral);
    let denied = app.read(hidden.ask(), &VersionSelector::Current).await.unwrap_err();
    assert!(matches!(denied, BackendError::Denied), "{denied:?}");
}

fn credential(stored: Value) -> CredentialSource {
    Arc::new(move || Ok(SecretValue::new(stored.to_string().into_bytes())))
}

fn vault(addr: &str, method: AuthMethod) -> VaultBackend {
    let tls = client_config(None, None, true).unwrap();
    let connect_timeout = Duration::from_secs(2);
    VaultBackend::new(VaultSettings {
        endpoint: reqwest::Url::parse(addr).unwrap(),
        namespace: None,
        method,
        http: HttpClient::new(HttpSettings { tls, connect_timeout }).unwrap(),
        timeout: Duration::from_secs(10),
        attempt_timeout: Duration::from_secs(5),
    })
}

/// The record of a neutral read; `None` if there is nothing.
fn record(reply: Result<Reply, BackendError>) -> Option<Box<SecretRecord>> {
    match reply.unwrap() {
        Reply::Neutral(Outcome::Record(record)) => Some(record),
        Reply::Neutral(Outcome::NotFound) => None,
        other => panic!("not a neutral read: {other:?}"),
    }
}

fn native(reply: Result<Reply, BackendError>) -> NativeReply {
    match reply.unwrap() {
        Reply::Native(native) => native,
        Reply::Neutral(outcome) => panic!("not native: {outcome:?}"),
    }
}

fn value(record: &SecretRecord) -> Option<Value> {
    record.value.as_ref().map(|value| serde_json::from_slice(value.expose()).unwrap())
}

fn body(reply: &NativeReply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// Records of tenant 1 unless a key says otherwise.
const fn key(index: u8, version: u64, table: Table) -> RecordKey {
    RecordKey { table, tenant: [1; 16], index: [index; 32], version }
}

fn sealed(text: &str) -> Sealed {
    Sealed(Arc::from(text.as_bytes()))
}

fn puts(put: Vec<(RecordKey, Sealed)>) -> Batch {
    Batch { put, ..Batch::default() }
}

/// What every store must do with sealed records.
async fn store_suite(store: &dyn Store) {
    let head = key(1, 0, Table::Head);
    assert!(store.is_empty().unwrap());
    assert_eq!(store.read(&head).unwrap(), None);
    store.commit(puts(vec![(head, sealed("head")), (key(1, 1, Table::Version), sealed("one"))])).await.unwrap();
    assert_eq!(store.read(&head).unwrap(), Some(sealed("head")));
    // a key is all of its parts
    let foreign = RecordKey { tenant: [2; 16], ..head };
    for other in [
        key(2, 0, Table::Head),
        key(1, 1, Table::Head),
        key(1, 0, Table::Version),
        key(1, 2, Table::Version),
        key(1, 0, Table::Name),
        key(1, 0, Table::Document),
        foreign,
    ] {
        assert_eq!(store.read(&other).unwrap(), None, "{other:?}");
    }
    let put = vec![(head, sealed("new head")), (key(1, 2, Table::Version), sealed("two"))];
    let remove = vec![key(1, 1, Table::Version), key(9, 9, Table::Version)];
    store.commit(Batch { put, remove, ..Batch::default() }).await.unwrap();
    assert_eq!(store.read(&head).unwrap(), Some(sealed("new head")));
    assert_eq!(store.read(&key(1, 1, Table::Version)).unwrap(), None);
    assert_eq!(store.read(&key(1, 2, Table::Version)).unwrap(), Some(sealed("two")));
    store.commit(Batch::default()).await.unwrap();
    // what is removed and put in one batch is there
    let both = Batch { put: vec![(head, sealed("again"))], remove: vec![head], ..Batch::default() };
    store.commit(both).await.unwrap();
    assert_eq!(store.read(&head).unwrap(), Some(sealed("again")));
    let empty = key(3, 0, Table::Head);
    store.commit(puts(vec![(empty, sealed(""))])).await.unwrap();
    assert_eq!(store.read(&empty).unwrap(), Some(sealed("")));
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    store.commit(puts(vec![(empty, Sealed(Arc::from(bytes.as_slice())))])).await.unwrap();
    assert_eq!(store.read(&empty).unwrap().unwrap().0.as_ref(), bytes.as_slice());
}

/// A tenant's records are its own, and the store's own entries nobody's.
async fn tenants_are_apart(store: &dyn Store) {
    let of = |tenant: u8, index: u8| RecordKey { tenant: [tenant; 16], ..key(index, 0, Table::Name) };
    let meta = |key: &str, value: Option<&str>| (key.to_owned(), value.map(|value| value.as_bytes().to_vec()));
    let put = vec![(of(7, 1), sealed("seven")), (of(7, 2), sealed("seven too")), (of(8, 1), sealed("eight"))];
    let entries = vec![meta("k.one", Some("1")), meta("k.two", Some("2")), meta("other", Some("3"))];
    store.commit(Batch { put, meta: entries, ..Batch::default() }).await.unwrap();
    let seen = |tenant: u8| {
        let mut seen = Vec::new();
        let visit = &mut |key: &RecordKey, sealed: &Sealed| {
            seen.push((*key, sealed.clone()));
            true
        };
        store.scan(Table::Name, &[tenant; 16], visit).unwrap();
        seen.sort_by_key(|(key, _)| *key);
        seen
    };
    assert_eq!(seen(7), [(of(7, 1), sealed("seven")), (of(7, 2), sealed("seven too"))]);
    assert_eq!(seen(8), [(of(8, 1), sealed("eight"))]);
    assert!(seen(9).is_empty());
    let names = |prefix: &str| store.metas(prefix).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(names("k."), ["k.one", "k.two"]);
    store.commit(Batch { meta: vec![meta("k.one", None)], ..Batch::default() }).await.unwrap();
    assert_eq!((names("k."), store.meta("k.two").unwrap()), (vec!["k.two".to_owned()], Some(b"2".to_vec())));
}

/// A reader sees all of a batch or nothing of it.
fn store_is_atomic(store: &Arc<dyn Store>, rounds: u32) {
    let key = |index: u8| key(index, 1, Table::Version);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for round in 0..rounds {
                let value = Sealed(Arc::from(round.to_be_bytes().as_slice()));
                runtime.block_on(store.commit(puts(vec![(key(41), value.clone()), (key(42), value)]))).unwrap();
            }
        });
        while !writer.is_finished() {
            // read in the order in which a torn batch would show the first without the second
            let (second, first) = (store.read(&key(42)).unwrap(), store.read(&key(41)).unwrap());
            assert!(
                first.map(|first| first.0.to_vec()) >= second.map(|second| second.0.to_vec()),
                "half a batch was seen"
            );
        }
    });
}

async fn keeps_the_contract(store: Arc<dyn Store>, rounds: u32) {
    store_suite(&*store).await;
    tenants_are_apart(&*store).await;
    store_is_atomic(&store, rounds);
}

#[tokio::test]
async fn memory_store_keeps_the_contract() {
    keeps_the_contract(Arc::new(MemoryStore::default()), 2_000).await;
}

#[tokio::test]
async fn file_store_keeps_the_contract_and_its_records() {
    let place = Place::new();
    let path = place.path().join("store/store.redb");
    let store: Arc<dyn Store> = Arc::new(FileStore::open(&path).unwrap());
    keeps_the_contract(store.clone(), 50).await;
    drop(store);
    let store = FileStore::open(&path).unwrap();
    assert_eq!(store.read(&key(1, 0, Table::Head)).unwrap(), Some(sealed("again")));
    assert_eq!(store.meta("k.two").unwrap(), Some(b"2".to_vec()));
    assert!(!store.is_empty().unwrap());
}

#[tokio::test]
async fn cached_store_keeps_the_contract() {
    let place = Place::new();
    let file = FileStore::open(&place.path().join("store/store.redb")).unwrap();
    keeps_the_contract(Arc::new(Cached::new(Arc::new(file), 1 << 20)), 50).await;
    keeps_the_contract(Arc::new(Cached::new(Arc::new(MemoryStore::default()), 0)), 2_000).await;
}
