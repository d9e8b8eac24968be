//! A directory with its clocks and key source in the test's hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

use super::super::jwt::JwksSource;
use super::super::moment::Timer;
use super::super::*;
use crate::clock::{Clock, Timestamp};
use crate::secret::Tenant;

pub(in crate::identity) const START_SECS: u64 = 1_800_000_000;

/// Both clocks.
pub(in crate::identity) struct Hands {
    wall: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
}

struct HandsClock(Arc<AtomicU64>);

impl Clock for HandsClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl Default for Hands {
    fn default() -> Self {
        Self { wall: Arc::new(AtomicU64::new(START_SECS * 1_000_000)), ticks: Arc::default() }
    }
}

impl Hands {
    pub(in crate::identity) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(HandsClock(Arc::clone(&self.wall)))
    }

    pub(in crate::identity) fn timer(&self) -> Timer {
        let ticks = Arc::clone(&self.ticks);
        Timer::with_ticks(self.clock(), Box::new(move || Duration::from_micros(ticks.load(Ordering::SeqCst))))
    }

    pub(in crate::identity) fn secs(&self) -> u64 {
        self.wall.load(Ordering::SeqCst) / 1_000_000
    }

    pub(in crate::identity) fn advance(&self, by: Duration) {
        self.advance_wall(by);
        self.advance_ticks(by);
    }

    pub(in crate::identity) fn advance_wall(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }

    pub(in crate::identity) fn advance_ticks(&self, by: Duration) {
        self.ticks.fetch_add(micros(by), Ordering::SeqCst);
    }

    pub(in crate::identity) fn set_wall_back(&self, by: Duration) {
        self.wall.fetch_sub(micros(by), Ordering::SeqCst);
    }
}

fn micros(by: Duration) -> u64 {
    u64::try_from(by.as_micros()).unwrap()
}

/// A key source that serves what it is told, and counts.
#[derive(Default)]
pub(in crate::identity) struct FakeSource {
    body: Mutex<Option<String>>,
    calls: AtomicUsize,
    held: Arc<tokio::sync::Mutex<()>>,
}

impl FakeSource {
    pub(in crate::identity) fn serve(&self, body: &str) {
        *self.body.lock().unwrap() = Some(body.to_owned());
    }

    pub(in crate::identity) fn fail(&self) {
        *self.body.lock().unwrap() = None;
    }

    pub(in crate::identity) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Answers nothing until the guard is dropped.
    pub(in crate::identity) fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.held).try_lock_owned().unwrap()
    }
}

#[async_trait]
impl JwksSource for FakeSource {
    async fn fetch(&self, _: &JwtIssuer) -> Result<Vec<u8>, JwksError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _free = self.held.lock().await;
        let body = self.body.lock().unwrap().clone();
        body.map(String::into_bytes).ok_or_else(|| JwksError::Unreachable("down".into()))
    }
}

/// What outlives a directory.
pub(in crate::identity) struct Rig {
    pub(in crate::identity) hands: Hands,
    pub(in crate::identity) sessions: Arc<Sessions>,
    pub(in crate::identity) source: Arc<FakeSource>,
}

impl Rig {
    pub(in crate::identity) fn new() -> Self {
        let hands = Hands::default();
        let sessions = Arc::new(Sessions::with(hands.timer(), 1000).unwrap());
        Self { hands, sessions, source: Arc::default() }
    }

    pub(in crate::identity) fn compile(&self, settings: Vec<TenantIdentity>) -> Result<Directory, Vec<Problem>> {
        let source = Arc::clone(&self.source) as Arc<dyn JwksSource>;
        Directory::compile(settings, Arc::clone(&self.sessions), source, self.hands.clock())
    }

    pub(in crate::identity) fn directory(&self, settings: Vec<TenantIdentity>) -> Directory {
        self.compile(settings).unwrap()
    }

    pub(in crate::identity) fn problem_keys(&self, settings: Vec<TenantIdentity>) -> Vec<String> {
        let problems = self.compile(settings).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect()
    }
}

pub(in crate::identity) fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

pub(in crate::identity) fn settings(name: &str) -> TenantIdentity {
    TenantIdentity::new(tenant(name))
}

pub(in crate::identity) fn static_token(principal: &str, token: &str) -> StaticToken {
    StaticToken {
        principal: principal.into(),
        groups: vec!["apps".into(), "ops".into()],
        folders: vec!["apps/shared".into()],
        token: Zeroizing::new(token.into()),
        key: "identity.tokens[0]".into(),
        dev: false,
    }
}

pub(in crate::identity) fn access_key(principal: &str, id: &str, secret: &str) -> StaticAccessKey {
    StaticAccessKey {
        principal: principal.into(),
        groups: vec!["apps".into(), "ops".into()],
        folders: vec!["apps/shared".into()],
        id: id.into(),
        secret: Zeroizing::new(secret.into()),
        key: "identity.access_keys[0]".into(),
    }
}

pub(in crate::identity) fn approle(principal: &str, role_id: &str, secret_id: &str) -> Approle {
    Approle {
        principal: principal.into(),
        groups: vec!["apps".into(), "ledger".into()],
        folders: vec![],
        role_id: role_id.into(),
        secret_ids: vec![Zeroizing::new(secret_id.into())],
        token_ttl: None,
        token_max_ttl: None,
    }
}

pub(in crate::identity) fn issuer(name: &str) -> JwtIssuer {
    JwtIssuer {
        issuer: name.into(),
        audiences: vec!["scaivault".into()],
        jwks: JwksLocation::Discovery,
        ca_path: None,
        allow: BTreeMap::new(),
        principal: "{sub}".into(),
        groups: vec!["apps".into()],
        folders: vec!["apps/{sub}".into()],
    }
}

pub(in crate::identity) fn names(groups: &[Box<str>]) -> Vec<&str> {
    groups.iter().map(AsRef::as_ref).collect()
}

impl Directory {
    /// Authenticates a token of the `X-Vault-Token` kind.
    pub(in crate::identity) fn by(&self, token: &str) -> Result<Caller, IdentityError> {
        self.authenticate_now(Credential::Token(token), None, None, false).unwrap()
    }

    /// Authenticates a signed request.
    pub(in crate::identity) fn signed(&self, request: SignedRequest<'_>) -> Result<Caller, IdentityError> {
        self.authenticate_now(Credential::Signed(request), None, None, false).unwrap()
    }
}
