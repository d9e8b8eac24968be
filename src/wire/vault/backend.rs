//! The client role: KV versions 1 and 2 and passthrough on a Vault or OpenBao server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::login::{AuthMethod, Session};
use super::schema::{Answered, Keys, Metadata2, ReadData};
use crate::backend::{Answer, Ask, Attempt, Backend, BackendError, HttpClient, Listed, Resilience, UpstreamRequest};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::secret::{
    Described, Dialect, NativeReply, Outcome, PassCall, Reply, SecretRecord, SecretType, SecretValue, VersionInfo,
    VersionSelector, VersionState,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a client may see of a backend's headers.
const SHOWN: [HeaderName; 3] = [CONTENT_TYPE, CACHE_CONTROL, STRICT_TRANSPORT_SECURITY];

/// Everything a client of one server needs.
pub struct VaultSettings {
    /// Absolute; a path in it is kept.
    pub endpoint: reqwest::Url,
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
    session: Arc<Session>,
    resilience: Resilience,
}

/// Which engine a remote name lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Kv1,
    Kv2(usize),
}

/// A request to be made, as often as it takes.
struct Plan<'a> {
    method: Method,
    url: reqwest::Url,
    content_type: Option<&'a HeaderValue>,
    body: Option<Bytes>,
    repeat: Attempt,
    request_id: &'a str,
}

impl VaultBackend {
    /// A client; it connects and logs in when first used or tended.
    #[must_use]
    pub fn new(settings: VaultSettings) -> Self {
        let session = Session::new(settings.http, settings.endpoint, settings.namespace, settings.method);
        let resilience = Resilience::new(settings.timeout, settings.attempt_timeout);
        Self { session: Arc::new(session), resilience }
    }

    async fn exchange(&self, plan: Plan<'_>) -> Result<Answer, BackendError> {
        let plan = &plan;
        self.resilience.run(plan.repeat, move || self.attempt(plan)).await
    }

    /// One try, with a second one under a new token if the server no longer knew ours.
    async fn attempt(&self, plan: &Plan<'_>) -> Result<Answer, BackendError> {
        let (headers, lease) = self.session.signed().await?;
        let answer = self.send(plan, headers).await?;
        if answer.status != StatusCode::FORBIDDEN {
            return accept(answer);
        }
        if !self.session.suspect(&lease).await? {
            return Err(BackendError::Denied);
        }
        let (headers, _) = self.session.signed().await?;
        accept(self.send(plan, headers).await?)
    }

    async fn send(&self, plan: &Plan<'_>, mut headers: HeaderMap) -> Result<Answer, BackendError> {
        if let Ok(id) = HeaderValue::from_str(plan.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(kind) = plan.content_type {
            headers.insert(CONTENT_TYPE, kind.clone());
        }
        let request = UpstreamRequest { method: plan.method.clone(), url: &plan.url, headers, body: plan.body.clone() };
        self.session.http().send(request).await
    }

    /// Leases belong to whoever asked; keeping them is not part of this release. One that was made is ended again.
    async fn refuse_leases(&self, answer: &Answer, request_id: &str) -> Result<(), BackendError> {
        let answered = answered(answer)?;
        if let Some(lease) = answered.lease_id.as_deref().filter(|lease| !lease.is_empty()) {
            let body = serde_json::to_vec(&serde_json::json!({"lease_id": lease})).unwrap_or_default();
            let plan = Plan {
                method: Method::PUT,
                url: self.session.url(["sys", "leases", "revoke"]),
                content_type: None,
                body: Some(Bytes::from(body)),
                repeat: Attempt::Once,
                request_id,
            };
            if let Err(error) = self.exchange(plan).await {
                tracing::warn!(request_id, %error, "a lease that is not passed on could not be revoked");
            }
            return Err(BackendError::Unsupported);
        }
        let some = |raw: Option<&serde_json::value::RawValue>| raw.is_some_and(|raw| raw.get() != "null");
        if some(answered.auth) || some(answered.wrap_info) { Err(BackendError::Unsupported) } else { Ok(()) }
    }

    async fn fetch(&self, ask: Ask<'_>, area: &str, query: Option<&str>) -> Result<(Answer, Engine), BackendError> {
        let (mut url, engine) = self.locate(ask, area)?;
        url.set_query(query);
        let plan = Plan {
            method: Method::GET,
            url,
            content_type: None,
            body: None,
            repeat: Attempt::Repeatable,
            request_id: ask.request_id,
        };
        Ok((self.exchange(plan).await?, engine))
    }

    /// The URL of a remote name. In KV version 2 its marker segment becomes `area`.
    fn locate(&self, ask: Ask<'_>, area: &str) -> Result<(reqwest::Url, Engine), BackendError> {
        let segments = ask.remote.as_str().split('/');
        let Some(marker) = ask.kv2_segment else {
            return Ok((self.session.url(segments), Engine::Kv1));
        };
        let renamed = segments.enumerate().map(|(index, segment)| if index == marker { area } else { segment });
        Ok((self.session.url(renamed), Engine::Kv2(marker)))
    }
}

#[async_trait]
impl Backend for VaultBackend {
    async fn read(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        let number = match version {
            VersionSelector::Current => None,
            VersionSelector::Number(number) => Some(*number),
            VersionSelector::Native(_) | VersionSelector::Stage(_) => return Err(BackendError::Unsupported),
        };
        let query = number.map(|number| format!("version={number}"));
        let (answer, engine) = self.fetch(ask, "data", query.as_deref()).await?;
        match (engine, ask.dialect) {
            (Engine::Kv2(_), Dialect::VaultKv2) => native_read(answer),
            (Engine::Kv1, Dialect::VaultKv1 | Dialect::VaultLogical) => {
                if answer.status != StatusCode::NOT_FOUND {
                    self.refuse_leases(&answer, ask.request_id).await?;
                }
                native(answer)
            }
            (Engine::Kv2(_), _) => read_v2(&answer),
            (Engine::Kv1, _) if number.is_some_and(|number| number > 1) => Ok(Reply::Neutral(Outcome::NotFound)),
            (Engine::Kv1, _) => read_v1(&answer),
        }
    }

    async fn describe(&self, ask: Ask<'_>) -> Result<Reply, BackendError> {
        let (answer, engine) = self.fetch(ask, "metadata", None).await?;
        match (engine, ask.dialect) {
            (Engine::Kv2(_), Dialect::VaultKv2) => native(answer),
            (Engine::Kv2(_), _) => describe_v2(&answer),
            (Engine::Kv1, _) => Err(BackendError::Unsupported),
        }
    }

    async fn subkeys(&self, ask: Ask<'_>, version: &VersionSelector, depth: u32) -> Result<Reply, BackendError> {
        let mut query = format!("depth={depth}");
        if let VersionSelector::Number(number) = version {
            query.push_str(&format!("&version={number}"));
        }
        if ask.kv2_segment.is_none() || ask.dialect != Dialect::VaultKv2 {
            return self.read(Ask { dialect: Dialect::Neutral, ..ask }, version).await;
        }
        let (answer, _) = self.fetch(ask, "subkeys", Some(&query)).await?;
        native(answer)
    }

    async fn list(&self, ask: Ask<'_>) -> Result<Listed, BackendError> {
        let (mut url, _) = self.locate(ask, "metadata")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("");
        }
        url.set_query(Some("list=true"));
        let plan = Plan {
            method: Method::GET,
            url,
            content_type: None,
            body: None,
            repeat: Attempt::Repeatable,
            request_id: ask.request_id,
        };
        let answer = self.exchange(plan).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Listed::default());
        }
        let Keys { keys: names } = data(&answer).ok_or(BackendError::Unusable("not a list"))?;
        let native = match (ask.dialect, native(answer)?) {
            (Dialect::VaultKv1 | Dialect::VaultKv2, Reply::Native(reply)) => Some(reply),
            _ => None,
        };
        Ok(Listed { names, native })
    }

    async fn pass(&self, ask: Ask<'_>, call: &PassCall, list: bool) -> Result<Reply, BackendError> {
        let mut url = self.session.url(ask.remote.as_str().split('/'));
        url.set_query(call.query.as_deref());
        if list {
            url.set_query(Some("list=true"));
        }
        let method = if list { Method::GET } else { call.method.clone() };
        // a read of another engine may make a credential: it is never sent twice
        let repeat = if list { Attempt::Repeatable } else { Attempt::Once };
        let body = (!call.body.is_empty()).then(|| Bytes::copy_from_slice(call.body.expose()));
        let content_type = call.content_type.as_ref();
        let plan = Plan { method, url, content_type, body, repeat, request_id: ask.request_id };
        let answer = self.exchange(plan).await?;
        if answer.status != StatusCode::NO_CONTENT && !answer.body.is_empty() {
            self.refuse_leases(&answer, ask.request_id).await?;
        }
        native(answer)
    }

    async fn check(&self) -> Result<(), BackendError> {
        self.session.signed().await.map(|_| ())
    }

    async fn tend(&self) {
        self.session.tend().await;
    }
}

/// Successes and honest absences pass; the rest is classified.
fn accept(answer: Answer) -> Result<Answer, BackendError> {
    match answer.status.as_u16() {
        200..=299 => Ok(answer),
        404 if is_absence(&answer.body) => Ok(answer),
        403 => Err(BackendError::Denied),
        429 => Err(BackendError::RateLimited(answer.retry_after().or(Some(1)))),
        status @ (412 | 472 | 473 | 500..=599) => Err(BackendError::Failing(status)),
        status => Err(BackendError::Rejected(status)),
    }
}

#[derive(Deserialize)]
struct Absence<'a> {
    #[serde(default)]
    errors: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    warnings: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default, borrow)]
    data: Option<&'a serde_json::value::RawValue>,
}

/// A 404 means "not there" only as `{"errors": []}` without warnings, or with the metadata of a deleted version. Anything
/// else (no such mount, no such namespace, a path of another engine) is about our mapping, not about the secret.
fn is_absence(body: &[u8]) -> bool {
    let Ok(absence) = serde_json::from_slice::<Absence<'_>>(body) else { return false };
    let quiet = absence.warnings.is_none_or(|warnings| warnings.is_empty());
    let empty = absence.errors.as_ref().is_some_and(Vec::is_empty);
    (empty && quiet) || (absence.errors.is_none() && absence.data.is_some_and(|data| data.get() != "null"))
}

fn answered(answer: &Answer) -> Result<Answered<'_>, BackendError> {
    serde_json::from_slice(&answer.body).map_err(|_| BackendError::Unusable("not the JSON of a Vault server"))
}

fn data<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Option<T> {
    answered(answer).ok().and_then(|answered| answered.data).and_then(|data| serde_json::from_str(data.get()).ok())
}

fn native_read(answer: Answer) -> Result<Reply, BackendError> {
    if answer.status == StatusCode::NOT_FOUND {
        return native(answer);
    }
    // one pass over the body says that it is whole, of the right form, which version it is and whose request it was
    let glance: Glance<'_> =
        serde_json::from_slice(&answer.body).map_err(|_| BackendError::Unusable("not a KV version 2 read"))?;
    let (version, request_id) = (glance.data.metadata.version, glance.request_id.map(|id| Box::from(&*id)));
    Ok(shown(answer, Some(version), request_id))
}

/// What the trail wants to know of a KV version 2 read.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(default, borrow)]
    request_id: Option<std::borrow::Cow<'a, str>>,
    data: GlanceData,
}

#[derive(Deserialize)]
struct GlanceData {
    metadata: GlanceMetadata,
}

#[derive(Deserialize)]
struct GlanceMetadata {
    version: u64,
}

fn native(answer: Answer) -> Result<Reply, BackendError> {
    let mut request_id = None;
    if answer.status != StatusCode::NO_CONTENT && !answer.body.is_empty() {
        request_id = answered(&answer)?.request_id.map(|id| Box::from(&*id));
    }
    Ok(shown(answer, None, request_id))
}

/// The answer as a client may see it.
fn shown(mut answer: Answer, version: Option<u64>, request_id: Option<Box<str>>) -> Reply {
    let mut headers = HeaderMap::with_capacity(8);
    for name in SHOWN {
        if let Some(value) = answer.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    let (status, body) = (answer.status, answer.body);
    Reply::Native(NativeReply { status, headers, body, spans: Vec::new(), version, request_id })
}

fn read_v2(answer: &Answer) -> Result<Reply, BackendError> {
    let unusable = || BackendError::Unusable("not a KV version 2 read");
    if answer.status == StatusCode::NOT_FOUND && answered(answer)?.data.is_none() {
        return Ok(Reply::Neutral(Outcome::NotFound));
    }
    let read: ReadData<'_> = data(answer).ok_or_else(unusable)?;
    let info = read.metadata.info(read.metadata.version, SystemClock.now()).ok_or_else(unusable)?;
    let value = read.data.filter(|data| data.get() != "null" && info.state.is_readable());
    let record = SecretRecord {
        value: value.map(|data| SecretValue::copy_of(data.get().as_bytes())),
        secret_type: SecretType::Json,
        metadata: read.metadata.custom_metadata.unwrap_or_default(),
        info,
        updated_at: None,
    };
    Ok(Reply::Neutral(Outcome::Record(Box::new(record))))
}

/// Version 1 keeps neither versions nor times.
fn read_v1(answer: &Answer) -> Result<Reply, BackendError> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Reply::Neutral(Outcome::NotFound));
    }
    let data = answered(answer)?.data.ok_or(BackendError::Unusable("not a KV version 1 read"))?;
    let info = VersionInfo {
        version: 1,
        native_id: None,
        created_at: Timestamp::default(),
        state: VersionState::Current,
        deletes_at: None,
    };
    let record = SecretRecord {
        value: Some(SecretValue::copy_of(data.get().as_bytes())),
        secret_type: SecretType::Json,
        metadata: crate::secret::Metadata::new(),
        info,
        updated_at: None,
    };
    Ok(Reply::Neutral(Outcome::Record(Box::new(record))))
}

fn describe_v2(answer: &Answer) -> Result<Reply, BackendError> {
    let unusable = || BackendError::Unusable("not KV version 2 metadata");
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Reply::Neutral(Outcome::NotFound));
    }
    let found: Metadata2 = data(answer).ok_or_else(unusable)?;
    let now = SystemClock.now();
    let versions: Option<Vec<VersionInfo>> =
        found.versions.iter().map(|(version, metadata)| metadata.info(*version, now)).collect();
    let described = Described {
        metadata: found.custom_metadata.unwrap_or_default(),
        current_version: found.current_version,
        oldest_version: found.oldest_version,
        created_at: Timestamp::parse_rfc3339(&found.created_time).ok_or_else(unusable)?,
        updated_at: Timestamp::parse_rfc3339(&found.updated_time).ok_or_else(unusable)?,
        cas_required: found.cas_required,
        max_versions: found.max_versions,
        delete_after_secs: super::body::duration(&found.delete_version_after).map_or(0, |after| after.as_secs()),
        versions: versions.ok_or_else(unusable)?,
    };
    Ok(Reply::Neutral(Outcome::Described(Box::new(described))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_is_an_absence_only_when_the_server_says_nothing_else() {
        for (body, absence) in [
            (r#"{"errors":[]}"#, true),
            (r#"{"data":{"data":null,"metadata":{"version":1}},"request_id":"x"}"#, true),
            (r#"{"errors":["no handler for route \"x/\". route entry not found."]}"#, false),
            (r#"{"errors":["namespace not found"]}"#, false),
            (r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine"]}"#, false),
            ("<html>404</html>", false),
            ("", false),
            ("{}", false),
            (r#"{"data":null}"#, false),
        ] {
            assert_eq!(is_absence(body.as_bytes()), absence, "{body}");
        }
    }
}
