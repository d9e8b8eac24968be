//! Our own credential at a Vault or OpenBao server: obtained when first needed, renewed before it ends, replaced when the
//! server no longer knows it. One login at a time; failures are spaced out so that a use-limited credential is not burned.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::schema::{Answered, Auth};
use crate::backend::{BackendError, HttpClient, UpstreamRequest};
use crate::secret::SecretValue;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
/// How long a look-up that found our token valid is believed when calls are denied.
const TRUST: Duration = Duration::from_secs(5);
/// How long to wait after a renewal that failed while the token still works.
const RENEW_AGAIN: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Reads a stored credential; called at each login, so that a rotated one is picked up.
pub type CredentialSource = Arc<dyn Fn() -> Result<SecretValue, &'static str> + Send + Sync>;

/// How to log in.
#[derive(Clone)]
pub enum AuthMethod {
    /// A token, stored as `{"token"}`.
    Token(CredentialSource),
    /// An AppRole, stored as `{"role_id", "secret_id"}`.
    Approle {
        /// Auth mount.
        mount: String,
        /// The stored credential.
        source: CredentialSource,
    },
    /// A Kubernetes service account.
    Kubernetes {
        /// Auth mount.
        mount: String,
        /// Role to log in to.
        role: String,
        /// Projected token, read again at each login.
        token_path: PathBuf,
    },
}

/// A token that works, as far as we know.
pub(super) struct Lease {
    generation: u64,
    token: HeaderValue,
    /// When to renew and when it ends.
    renew_at: Instant,
    ends_at: Instant,
    renewable: bool,
}

/// Keeps one token alive.
pub(super) struct Session {
    http: HttpClient,
    base: reqwest::Url,
    namespace: Option<HeaderValue>,
    method: AuthMethod,
    lease: ArcSwapOption<Lease>,
    desk: Mutex<Desk>,
}

/// What only the one who logs in may touch.
#[derive(Default)]
struct Desk {
    generation: u64,
    validated: Option<Instant>,
    not_before: Option<Instant>,
    backoff: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenCredential {
    token: Zeroizing<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ApproleCredential {
    role_id: Zeroizing<String>,
    secret_id: Zeroizing<String>,
}

#[derive(Serialize)]
struct KubernetesLogin<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Deserialize)]
struct LookedUp {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Session {
    pub(super) fn new(
        http: HttpClient,
        base: reqwest::Url,
        namespace: Option<HeaderValue>,
        method: AuthMethod,
    ) -> Self {
        Self { http, base, namespace, method, lease: ArcSwapOption::empty(), desk: Mutex::default() }
    }

    pub(super) const fn http(&self) -> &HttpClient {
        &self.http
    }

    /// `<base>/v1/<segments>`, each segment encoded.
    pub(super) fn url<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> reqwest::Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    /// The headers of a request under `token`; the only ones a backend ever sees from us.
    fn headers(&self, token: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(token) = token {
            headers.insert(TOKEN, token.clone());
        }
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        headers
    }

    /// Headers with a live token, logging in first if there is none.
    pub(super) async fn signed(self: &Arc<Self>) -> Result<(HeaderMap, Arc<Lease>), BackendError> {
        let lease = match self.lease.load_full() {
            Some(lease) if Instant::now() < lease.ends_at => lease,
            _ => self.detached(|session| async move { session.replace(None, false).await }).await?,
        };
        Ok((self.headers(Some(&lease.token)), lease))
    }

    /// Called when the server answered 403 under `lease`: finds out whether the token is gone. `true` means there is a new
    /// one and the call may be tried again.
    pub(super) async fn suspect(self: &Arc<Self>, lease: &Lease) -> Result<bool, BackendError> {
        let generation = lease.generation;
        self.detached(move |session| async move { session.revalidate(generation).await }).await
    }

    /// Runs on its own task: a caller that gives up must not cut a login in half.
    async fn detached<T, F, Fut>(self: &Arc<Self>, work: F) -> Result<T, BackendError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Self>) -> Fut,
        Fut: Future<Output = Result<T, BackendError>> + Send + 'static,
    {
        tokio::spawn(work(self.clone())).await.unwrap_or(Err(BackendError::Login("the login task ended")))
    }

    async fn revalidate(self: Arc<Self>, generation: u64) -> Result<bool, BackendError> {
        {
            let mut desk = self.desk.lock().await;
            let Some(lease) = self.lease.load_full() else { return Ok(false) };
            if lease.generation != generation {
                return Ok(true);
            }
            if desk.validated.is_some_and(|at| at.elapsed() < TRUST) {
                return Ok(false);
            }
            let request = UpstreamRequest {
                method: Method::GET,
                url: &self.url(["auth", "token", "lookup-self"]),
                headers: self.headers(Some(&lease.token)),
                body: None,
            };
            let answer = within(self.http.send(request)).await?;
            if answer.status != StatusCode::FORBIDDEN {
                desk.validated = Some(Instant::now());
                return Ok(false);
            }
        }
        self.replace(Some(generation), true).await.map(|_| true)
    }

    /// Logs in unless somebody else just did. `stale` is a generation that must not be given back;
    /// `revoked` says that the server no longer knows it.
    async fn replace(self: Arc<Self>, stale: Option<u64>, revoked: bool) -> Result<Arc<Lease>, BackendError> {
        let mut desk = self.desk.lock().await;
        if let Some(lease) = self.lease.load_full()
            && Instant::now() < lease.ends_at
            && stale != Some(lease.generation)
        {
            return Ok(lease);
        }
        let now = Instant::now();
        if desk.not_before.is_some_and(|at| now < at) {
            return Err(BackendError::Login("the last login failed; the next one waits"));
        }
        match within(self.login()).await {
            Ok((token, ttl, renewable)) => {
                desk.generation += 1;
                *desk = Desk { generation: desk.generation, ..Desk::default() };
                let lease = Arc::new(Lease::new(desk.generation, token, ttl, renewable));
                self.lease.store(Some(lease.clone()));
                Ok(lease)
            }
            Err(error) => {
                let wait = desk.backoff.map_or(BACKOFF_FIRST, |last| (last * 2).min(BACKOFF_LONGEST));
                desk.backoff = Some(wait);
                desk.not_before = Some(Instant::now() + jitter(wait));
                // a token that only could not be renewed goes on until it ends
                let gone = |lease: &Lease| revoked || Instant::now() >= lease.ends_at;
                if self.lease.load().as_deref().is_none_or(gone) {
                    self.lease.store(None);
                }
                tracing::warn!(error = %error, "login at the backend failed");
                Err(error)
            }
        }
    }

    async fn login(&self) -> Result<(HeaderValue, Duration, bool), BackendError> {
        match &self.method {
            AuthMethod::Token(source) => {
                let credential: TokenCredential = parse(source)?;
                let token = sensitive(&credential.token)?;
                let (ttl, renewable) = self.look_up(&token).await?;
                Ok((token, ttl, renewable))
            }
            AuthMethod::Approle { mount, source } => {
                let credential: ApproleCredential = parse(source)?;
                self.post_login(mount, &credential).await
            }
            AuthMethod::Kubernetes { mount, role, token_path } => {
                let jwt = tokio::fs::read_to_string(token_path).await.map(Zeroizing::new);
                let jwt = jwt.map_err(|_| BackendError::Login("token_path cannot be read"))?;
                self.post_login(mount, &KubernetesLogin { role, jwt: jwt.trim_end() }).await
            }
        }
    }

    /// A configured token's lifetime; zero is one that does not end.
    async fn look_up(&self, token: &HeaderValue) -> Result<(Duration, bool), BackendError> {
        let request = UpstreamRequest {
            method: Method::GET,
            url: &self.url(["auth", "token", "lookup-self"]),
            headers: self.headers(Some(token)),
            body: None,
        };
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(refused(answer.status));
        }
        let found = serde_json::from_slice::<Answered<'_>>(&answer.body).ok();
        let found = found.and_then(|found| found.data).and_then(|data| serde_json::from_str(data.get()).ok());
        let LookedUp { ttl, renewable } = found.ok_or(BackendError::Login("lookup-self answered something else"))?;
        Ok((Duration::from_secs(ttl), renewable))
    }

    async fn post_login(
        &self,
        mount: &str,
        body: &impl Serialize,
    ) -> Result<(HeaderValue, Duration, bool), BackendError> {
        let body = serde_json::to_vec(body).map_err(|_| BackendError::Login("the credential cannot be encoded"))?;
        let segments = ["auth"].into_iter().chain(mount.split('/')).chain(["login"]);
        let url = self.url(segments);
        self.authenticate(&url, self.headers(None), body).await
    }

    async fn authenticate(
        &self,
        url: &reqwest::Url,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(HeaderValue, Duration, bool), BackendError> {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = UpstreamRequest { method: Method::POST, url, headers, body: Some(Bytes::from(body)) };
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(refused(answer.status));
        }
        let auth = serde_json::from_slice::<Answered<'_>>(&answer.body).ok().and_then(|answered| answered.auth);
        let auth: Option<Auth> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let auth = auth.ok_or(BackendError::Login("the login answered no token"))?;
        let token = Zeroizing::new(auth.client_token);
        Ok((sensitive(&token)?, Duration::from_secs(auth.lease_duration), auth.renewable))
    }

    /// Renews the token ahead of its end, for as long as the backend exists.
    pub(super) async fn tend(self: &Arc<Self>) {
        loop {
            let lease = match self.lease.load_full() {
                Some(lease) => lease,
                None => match self.detached(|session| async move { session.replace(None, false).await }).await {
                    Ok(lease) => lease,
                    Err(_) => {
                        tokio::time::sleep(jitter(Duration::from_secs(2))).await;
                        continue;
                    }
                },
            };
            tokio::time::sleep_until(lease.renew_at).await;
            if self.lease.load_full().is_some_and(|current| current.generation != lease.generation) {
                continue;
            }
            let generation = lease.generation;
            if self.detached(move |session| async move { session.renew(generation).await }).await.is_err() {
                tokio::time::sleep(jitter(RENEW_AGAIN)).await;
            }
        }
    }

    async fn renew(self: Arc<Self>, generation: u64) -> Result<(), BackendError> {
        let Some(lease) = self.lease.load_full().filter(|lease| lease.generation == generation) else { return Ok(()) };
        if lease.renewable {
            let url = self.url(["auth", "token", "renew-self"]);
            let renewed = within(self.authenticate(&url, self.headers(Some(&lease.token)), b"{}".to_vec())).await;
            if let Ok((token, ttl, renewable)) = renewed {
                let _desk = self.desk.lock().await;
                if self.lease.load_full().is_none_or(|current| current.generation != generation) {
                    return Ok(());
                }
                let fresh = Lease::new(generation, token, ttl, renewable);
                // a renewal that no longer gives time is followed by a login before the end
                if fresh.ends_at > lease.ends_at || ttl > Duration::from_secs(10) {
                    self.lease.store(Some(Arc::new(fresh)));
                    return Ok(());
                }
            }
        }
        self.replace(Some(generation), false).await.map(|_| ())
    }
}

impl Lease {
    fn new(generation: u64, token: HeaderValue, ttl: Duration, renewable: bool) -> Self {
        let ttl = if ttl.is_zero() { FOREVER } else { ttl };
        let now = Instant::now();
        Self { generation, token, renew_at: now + jitter(ttl * 2 / 3), ends_at: now + ttl, renewable }
    }
}

/// Up to a tenth less, so that many processes do not act in step.
fn jitter(around: Duration) -> Duration {
    let mut byte = [0; 1];
    let _uniform_enough = getrandom::fill(&mut byte);
    around.saturating_sub(around / 10 * u32::from(byte.first().copied().unwrap_or(0)) / 255)
}

async fn within<T>(work: impl Future<Output = Result<T, BackendError>>) -> Result<T, BackendError> {
    tokio::time::timeout(LOGIN_TIMEOUT, work).await.unwrap_or(Err(BackendError::Timeout))
}

fn refused(status: StatusCode) -> BackendError {
    if status.is_server_error() {
        BackendError::Failing(status.as_u16())
    } else {
        BackendError::Login("the backend refused our credential")
    }
}

fn parse<T: for<'de> Deserialize<'de>>(source: &CredentialSource) -> Result<T, BackendError> {
    let value = source().map_err(BackendError::Login)?;
    serde_json::from_slice(value.expose())
        .map_err(|_| BackendError::Login("the stored credential is not of the expected form"))
}

fn sensitive(token: &str) -> Result<HeaderValue, BackendError> {
    let mut value = HeaderValue::from_str(token).map_err(|_| BackendError::Login("the token is not visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}
