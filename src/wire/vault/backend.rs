//! The client role: KV versions 1 and 2 and passthrough on a Vault or OpenBao server. What a request is made of is here;
//! what answers mean is in `neutral`, `native`, `write`, `probe` and `lent`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method};

use super::exchange::{Address, Plan, Upstream};
use super::lease_call::LeaseCall;
use super::leases::LeaseDesk;
use super::login::AuthMethod;
use super::{lent, native, neutral};
use crate::backend::{Answer, Ask, Attempt, Backend, BackendError, Capabilities, Change, HttpClient, Listed};
use crate::clock::{Clock as _, SystemClock};
use crate::secret::{Dialect, Outcome, PassCall, Rank, Reply, VersionSelector};

/// Everything a client of one server needs.
pub struct VaultSettings {
    /// Absolute; a path in it is kept.
    pub endpoint: url::Url,
    /// Sent with every call.
    pub namespace: Option<HeaderValue>,
    /// How to log in.
    pub method: AuthMethod,
    /// The connection pool.
    pub http: HttpClient,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Deadline of one try.
    pub attempt_timeout: Duration,
}

/// One Vault or OpenBao server.
pub struct VaultBackend {
    upstream: Upstream,
    desk: LeaseDesk,
}

/// What wires with labels call the version before the current one.
const PREVIOUS: &str = "AWSPREVIOUS";

impl VaultBackend {
    /// The version before the current one; `None` if there is none.
    async fn previous(&self, ask: Ask<'_>) -> Result<Option<u64>, BackendError> {
        let described = self.describe(Ask { dialect: Dialect::Neutral, ..ask }).await?;
        let Reply::Neutral(Outcome::Described(found)) = described else { return Ok(None) };
        let versions = found.versions.iter().map(|info| info.version);
        Ok(versions.filter(|version| *version < found.current_version).max())
    }

    /// A client; it connects and logs in when first used or tended.
    #[must_use]
    pub fn new(settings: VaultSettings) -> Self {
        let upstream = Upstream::new(settings);
        let desk = LeaseDesk::new(upstream.session().clone());
        Self { upstream, desk }
    }

    pub(super) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(super) const fn desk(&self) -> &LeaseDesk {
        &self.desk
    }

    pub(super) async fn fetch(&self, ask: Ask<'_>, area: &str, query: Option<&str>) -> Result<Answer, BackendError> {
        let url = self.upstream.url_asking(segments(ask, area), query);
        self.upstream.exchange(&Plan::bare(Method::GET, url, Attempt::Repeatable, ask.request_id)).await
    }

    /// Where a remote name lies. In KV version 2 its marker segment becomes `area`.
    pub(super) fn locate(&self, ask: Ask<'_>, area: &str) -> Address {
        self.upstream.url(segments(ask, area))
    }
}

/// A remote name's segments at the server. In KV version 2 the marker segment becomes `area`.
fn segments<'a>(ask: Ask<'a>, area: &'a str) -> impl Iterator<Item = &'a str> {
    let named = ask.remote.as_str().split('/').enumerate();
    named.map(move |(index, segment)| if ask.kv2_segment == Some(index) { area } else { segment })
}

#[async_trait]
impl Backend for VaultBackend {
    fn capabilities(&self) -> Capabilities {
        // names of KV version 1 have none of these, and say so when asked
        Capabilities {
            conditional_writes: true,
            versions: true,
            describe: true,
            soft_delete: true,
            wraps: true,
            ..Capabilities::default()
        }
    }

    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        let number = match version {
            VersionSelector::Current => None,
            VersionSelector::Number(number) => Some(*number),
            VersionSelector::Stage(stage) if &**stage == PREVIOUS => match self.previous(ask).await? {
                Some(number) => Some(number),
                None => return Ok(Reply::Neutral(Outcome::NotFound)),
            },
            // it has neither identifiers nor labels
            VersionSelector::Native(_) | VersionSelector::Stage(_) | VersionSelector::Labelled { .. } => {
                return Ok(Reply::Neutral(Outcome::NotFound));
            }
        };
        let query = number.map(|number| format!("version={number}"));
        let answer = self.fetch(ask, "data", query.as_deref()).await?;
        match (ask.kv2_segment, ask.dialect) {
            (Some(_), Dialect::VaultKv2) => native::read(answer).map(Reply::Native),
            (Some(_), _) => {
                let mut outcome = neutral::read_v2(&answer, SystemClock.now())?;
                if let (Outcome::Record(record), None) = (&mut outcome, number) {
                    record.info.rank = Rank::Current;
                }
                Ok(Reply::Neutral(outcome))
            }
            (None, dialect) => {
                lent::refuse(self, &answer, ask.request_id).await?;
                match dialect {
                    Dialect::VaultKv1 | Dialect::VaultLogical => native::reply(answer).map(Reply::Native),
                    _ if number.is_some_and(|number| number > 1) => Ok(Reply::Neutral(Outcome::NotFound)),
                    _ => neutral::read_v1(&answer).map(Reply::Neutral),
                }
            }
        }
    }

    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        if ask.kv2_segment.is_none() {
            return Err(BackendError::Unsupported);
        }
        let answer = self.fetch(ask, "metadata", None).await?;
        match ask.dialect {
            Dialect::VaultKv2 => native::reply(answer).map(Reply::Native),
            _ => neutral::described(&answer, SystemClock.now()).map(Reply::Neutral),
        }
    }

    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, depth: u32) -> Result<Reply, BackendError> {
        if ask.kv2_segment.is_none() || ask.dialect != Dialect::VaultKv2 {
            return self.read(Ask { dialect: Dialect::Neutral, ..ask }, version).await;
        }
        let mut query = format!("depth={depth}");
        if let VersionSelector::Number(number) = version {
            query.push_str(&format!("&version={number}"));
        }
        let answer = self.fetch(ask, "subkeys", Some(&query)).await?;
        native::reply(answer).map(Reply::Native)
    }

    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError> {
        // a folder is asked for with a slash at the end
        let folder = segments(ask, "metadata").chain([""]);
        let url = self.upstream.url_asking(folder, Some("list=true"));
        let plan = Plan::bare(Method::GET, url, Attempt::Repeatable, ask.request_id);
        let answer = self.upstream.exchange(&plan).await?;
        let names = neutral::names(&answer)?;
        let native = match ask.dialect {
            Dialect::VaultKv1 | Dialect::VaultKv2 if answer.status.is_success() => Some(native::reply(answer)?),
            _ => None,
        };
        Ok(Listed { names, native, described: Vec::new() })
    }

    async fn write(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        self.change(ask, change).await
    }

    async fn pass(&self, ask: Ask<'_>, call: &PassCall, list: bool) -> Result<Reply, BackendError> {
        if let Some(lease) = LeaseCall::of(call) {
            return lent::ask_about(self, ask, &lease).await;
        }
        let query = if list { Some("list=true") } else { call.query.as_deref() };
        let url = self.upstream.url_asking(ask.remote.as_str().split('/'), query);
        let method = if list { Method::GET } else { call.method.clone() };
        // a read of another engine may make a credential: it is never sent twice
        let repeat = if list { Attempt::Repeatable } else { Attempt::Once };
        let body = (!call.body.is_empty()).then(|| Bytes::copy_from_slice(call.body.expose()));
        let content_type = call.content_type.clone();
        let plan = Plan { method, url, content_type, body, repeat, request_id: ask.request_id };
        match ask.principal {
            Some(asker) if !list => lent::pass(self, ask, asker, &plan).await,
            _ => {
                let answer = self.upstream.exchange(&plan).await?;
                lent::refuse(self, &answer, ask.request_id).await?;
                native::reply(answer).map(Reply::Native)
            }
        }
    }

    async fn check(&self) -> Result<(), BackendError> {
        self.upstream.session().signed().await.map(|_| ())
    }

    async fn probe(&self, ask: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        self.permissions(ask).await
    }

    fn calls(&self) -> u64 {
        self.upstream.session().account().http().calls()
    }

    async fn tend(&self) {
        self.upstream.session().tend().await;
    }
}
