//! What each stage of a read costs by itself: decode, mapping, policy, the audit line, opening a sealed value, encode.
//!
//! `cargo bench --bench stages [-- FILTER]`. These figures say where a request's time goes; what a request may cost as
//! a whole is gated by `compare/`, beside other programs. Every stage runs through the crate's public API on what the
//! product would give it: the shipped policies, a 300-byte secret, a required audit file.

#![allow(clippy::unwrap_used, reason = "a stage that cannot be set up has nothing to measure")]

use std::fs::{self, DirBuilder};
use std::hint::black_box;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use scaivault_proxy::audit::{
    AuditKey, AuditSettings, Auditor, Disclosure, Facts, Grant, Grants, RequestId, SinkKind, SinkSettings, Subject,
};
use scaivault_proxy::clock::{SystemClock, Timestamp};
use scaivault_proxy::identity::{Method as Way, Principal};
use scaivault_proxy::mapping::{BackendRules, RouteSpec, Router, RuleSpec, Side, Table};
use scaivault_proxy::policy::{Context, Policies, Resource};
use scaivault_proxy::seal::{Barrier, KeyProvider as _, Place, RandomKey};
use scaivault_proxy::secret::{
    Action, Folder, Metadata, Mode, Operation, Outcome, Reply, SecretPath, SecretRecord, SecretType, SecretValue,
    Tenant, VersionInfo, WireKind,
};
use scaivault_proxy::wire::vault::{self, VaultFrontend};
use scaivault_proxy::wire::{
    Answer, Cursors, Frontend as _, ListenerFacts, Mount, MountKind, Reveal, Shape, WireRequest,
};

/// Rules a request passes before the one that matches, and that one.
const RULES: usize = 10;
/// Requests under way at once, as in the comparison.
const CONNECTIONS: u64 = 32;
const SECRET_BYTES: usize = 300;
const APPS: &str = include_str!("../config/policies/apps.cedar");
const GUARDRAILS: &str = include_str!("../config/policies/guardrails.cedar");

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    decode(&mut criterion);
    mapping(&mut criterion);
    policy(&mut criterion);
    audit(&mut criterion);
    open(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}

fn decode(criterion: &mut Criterion) {
    let facts = facts();
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8441"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Go-http-client/1.1"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert("x-vault-request", HeaderValue::from_static("true"));
    headers.insert("x-vault-token", HeaderValue::from_static("bench-0123456789abcdef0123456789abcdef"));
    let method = Method::GET;
    let request = WireRequest {
        method: &method,
        path: "/v1/secret/data/orders/db",
        query: None,
        host: "127.0.0.1:8441",
        headers: &headers,
        body: b"",
    };
    criterion.bench_function("decode/vault KV v2 read", |bencher| {
        bencher.iter(|| VaultFrontend.decode(black_box(&request), &facts).unwrap());
    });
}

/// The worst place in either table: the last rule.
fn mapping(criterion: &mut Criterion) {
    let table = Table::compile(&rules("secret/", "apps/"), Side::From).unwrap();
    let router = router();
    let wire_name = format!("secret/team{}/orders/db", RULES - 1);
    let path = secret_path();
    let mut group = criterion.benchmark_group("mapping");
    group.bench_function("table 1, rule 10 of 10", |bencher| {
        bencher.iter(|| table.forward(black_box(&wire_name)).unwrap());
    });
    group.bench_function("table 2, rule 10 of 10", |bencher| {
        bencher.iter(|| router.resolve(black_box(&path)).unwrap());
    });
    group.bench_function("both, with the path's grammar", |bencher| {
        bencher.iter(|| {
            let mapped = table.forward(black_box(&wire_name)).unwrap();
            router.resolve(&SecretPath::parse(&mapped.name).unwrap()).unwrap()
        });
    });
    group.finish();
}

fn policy(criterion: &mut Criterion) {
    let source = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let timeless = Policies::compile(&[source("apps.cedar", APPS)], 1).unwrap();
    let both = [source("apps.cedar", APPS), source("guardrails.cedar", GUARDRAILS)];
    let with_address = Policies::compile(&both, 1).unwrap();
    assert!(timeless.is_cacheable() && !with_address.is_cacheable(), "the shipped policies changed: measure others");

    let (principal, path, context) = (principal(), secret_path(), context());
    let authorize = |policies: &Policies| {
        policies.authorize(black_box(&principal), Action::Read, Resource::Secret(&path), &context).unwrap()
    };
    let mut group = criterion.benchmark_group("policy");
    group.bench_function("cached decision", |bencher| bencher.iter(|| authorize(&timeless)));
    group.bench_function("uncached decision", |bencher| bencher.iter(|| authorize(&with_address)));
    group.finish();
}

/// From the receipt to the disclosure. One at a time is mostly two threads waking each other; many at a time is what a
/// loaded proxy sees, because waiting lines share a write.
fn audit(criterion: &mut Criterion) {
    let trail = Trail::start();
    let mut group = criterion.benchmark_group("audit line");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read, one at a time", |bencher| bencher.iter(|| trail.disclosure()));
    group.throughput(Throughput::Elements(CONNECTIONS));
    group.bench_function("read, 32 at a time", |bencher| bencher.iter(|| trail.disclosures()));
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let barrier = Barrier::new(&RandomKey.root_key().unwrap(), [1; 16], &Tenant::default_tenant());
    let path = secret_path();
    let place = Place::Value { path: &path, version: 1 };
    let sealed = barrier.seal(place, Timestamp::from_secs(1), secret().as_bytes()).unwrap();
    criterion.bench_function("seal/open 300 bytes", |bencher| {
        bencher.iter(|| barrier.open(place, black_box(&sealed)).unwrap());
    });
}

fn encode(criterion: &mut Criterion) {
    let (trail, facts) = (Trail::start(), facts());
    let shape = Shape::Vault(vault::Shape::Kv2Data);
    let reveal = Reveal {
        request_id: "01K00000000000000000000000",
        request_uuid: "01980000-0000-0000-0000-000000000000",
        facts: &facts,
        now_secs: 1_795_428_417,
        backend: None,
        mode: Some(Mode::Local),
        more: false,
        age_seconds: None,
        problems: &[],
    };
    criterion.bench_function("encode/vault KV v2 read", |bencher| {
        bencher.iter_batched(
            || trail.disclosure(),
            |disclosure| VaultFrontend.encode(&shape, Answer::Secret(disclosure), reveal),
            BatchSize::SmallInput,
        );
    });
}

/// A trail in a file of its own, and the runtime its callers wait on. The directory is gone when it is dropped.
struct Trail {
    auditor: Arc<Auditor>,
    grant: Grant,
    runtime: Runtime,
    directory: PathBuf,
}

impl Trail {
    fn start() -> Self {
        let name = format!("scaivault-bench-{}-{}", std::process::id(), RequestId::fresh(&SystemClock));
        let directory = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let sink = SinkSettings { kind: SinkKind::File { path: directory.join("audit.jsonl") }, required: true };
        let settings = AuditSettings::new(AuditKey::from_bytes([7; 32]), "bench".to_owned(), vec![sink]);
        Self {
            auditor: Auditor::start(settings, Arc::new(SystemClock)).unwrap(),
            grant: grant(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            directory,
        }
    }

    fn disclosure(&self) -> Disclosure {
        self.runtime.block_on(disclose(&self.auditor, self.grant.clone()))
    }

    fn disclosures(&self) {
        self.runtime.block_on(async {
            let mut calls = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let (auditor, grant) = (Arc::clone(&self.auditor), self.grant.clone());
                calls.spawn(async move { disclose(&auditor, grant).await });
            }
            while let Some(call) = calls.join_next().await {
                black_box(call.unwrap());
            }
        });
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.auditor.stop();
        drop(fs::remove_dir_all(&self.directory));
    }
}

async fn disclose(auditor: &Auditor, grant: Grant) -> Disclosure {
    let receipt = auditor.admit(subject(), Grants::one(grant)).await.unwrap();
    auditor.disclose(receipt, &Facts::default(), reply()).await.unwrap()
}

fn subject() -> Subject {
    Subject {
        request_id: RequestId::fresh(&SystemClock),
        tenant: Tenant::default_tenant(),
        wire: WireKind::Vault,
        operation: Operation::Read,
        source: "127.0.0.1".parse().ok(),
        principal: Some(Arc::new(principal())),
        credential: Some([0xab; 16]),
        config_generation: 1,
        started: Instant::now(),
    }
}

fn grant() -> Grant {
    let path = secret_path();
    let policies = Policies::permit_all(1);
    let permit = policies.authorize(&principal(), Action::Read, Resource::Secret(&path), &context()).unwrap();
    Grant { permit, route: router().resolve(&path).unwrap() }
}

fn reply() -> Reply {
    let info = VersionInfo { version: 3, created_at: Timestamp::from_secs(1_795_428_417), ..VersionInfo::default() };
    Reply::Neutral(Outcome::Record(Box::new(SecretRecord {
        value: Some(SecretValue::copy_of(secret().as_bytes())),
        secret_type: SecretType::Json,
        metadata: Metadata::new(),
        info,
        updated_at: None,
    })))
}

/// A JSON object of exactly [`SECRET_BYTES`].
fn secret() -> String {
    let frame = r#"{"value":""}"#;
    format!(r#"{{"value":"{}"}}"#, "x".repeat(SECRET_BYTES - frame.len()))
}

fn secret_path() -> SecretPath {
    SecretPath::parse(&format!("apps/team{}/orders/db", RULES - 1)).unwrap()
}

fn principal() -> Principal {
    let own = Folder::parse(&format!("apps/team{}", RULES - 1)).unwrap();
    let shared = Folder::parse("apps/shared").unwrap();
    Principal::new(Tenant::default_tenant(), "payments/orders", Way::Token, vec![Box::from("apps")], vec![own, shared])
}

fn context() -> Context {
    Context {
        wire: WireKind::Vault,
        mode: Mode::Proxy,
        now: Timestamp::from_secs(1_795_428_417),
        source_ip: "127.0.0.1".parse().ok(),
    }
}

/// Rules for one team each, so that nothing but the last matches what is asked.
fn rules(from: &str, to: &str) -> Vec<RuleSpec> {
    let rule = |team| RuleSpec {
        from: format!("{from}team{team}/**"),
        to: format!("{to}team{team}/**"),
        ..RuleSpec::default()
    };
    (0..RULES).map(rule).collect()
}

fn router() -> Router {
    let served = |rule| RouteSpec { rule, mode: Mode::Proxy, kv_version: None, writable: false };
    let rules = rules("apps/", "secret/data/").into_iter().map(served).collect();
    Router::compile(&[BackendRules { backend: Box::from("vault"), rules }], &[], false).unwrap()
}

fn facts() -> ListenerFacts {
    ListenerFacts {
        aws: None,
        mounts: vec![Mount { path: "secret".to_owned(), kind: MountKind::Kv2 }],
        passthrough: Vec::new(),
        require_request_header: false,
        workload: false,
        max_versions: 10,
        value_bytes: 1 << 20,
        hosts: Vec::new(),
        cursors: Cursors::new(&[7; 32]),
    }
}
