//! Logging in to a Vault or OpenBao server: what each method sends, and the calls about our own token. Nothing is kept
//! here; tokens live in their session.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::schema::{Answered, Auth, Told};
use crate::backend::{Answer, BackendError, HttpClient, UpstreamRequest};
use crate::secret::SecretValue;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a stored credential; called at each login, so that a rotated one is picked up.
pub type CredentialSource = Arc<dyn Fn() -> Result<SecretValue, &'static str> + Send + Sync>;

/// Makes a proof of an AWS identity; called at each login. It has deadlines of its own.
pub type IdentityProver = Arc<dyn Fn() -> Proving + Send + Sync>;

/// A proof on its way.
pub type Proving = Pin<Box<dyn Future<Output = Result<SignedIdentity, BackendError>> + Send>>;

/// A signed request to AWS' token service that asks who signed it. The server sends it and believes the answer.
#[derive(Serialize)]
pub struct SignedIdentity {
    /// Its method.
    #[serde(rename = "iam_http_request_method")]
    pub method: &'static str,
    /// Its URL, base64.
    #[serde(rename = "iam_request_url")]
    pub url: Zeroizing<String>,
    /// Its body, base64.
    #[serde(rename = "iam_request_body")]
    pub body: Zeroizing<String>,
    /// Its headers as a JSON object of lists, base64.
    #[serde(rename = "iam_request_headers")]
    pub headers: Zeroizing<String>,
}

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
    /// An AWS identity.
    Aws {
        /// Auth mount.
        mount: String,
        /// Role to log in to.
        role: String,
        /// Proves the identity.
        prove: IdentityProver,
    },
}

/// A server and our way in. Cheap to clone: every session at one server shares the connections.
#[derive(Clone)]
pub(super) struct Account {
    http: Arc<HttpClient>,
    /// Ends in `v1`.
    base: url::Url,
    namespace: Option<HeaderValue>,
    method: AuthMethod,
}

/// A token as the server just gave or extended it.
pub(super) struct Fresh {
    pub(super) token: HeaderValue,
    /// Zero is one that does not end.
    pub(super) ttl: Duration,
    pub(super) renewable: bool,
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

#[derive(Serialize)]
struct AwsLogin<'a> {
    role: &'a str,
    #[serde(flatten)]
    signed: SignedIdentity,
}

#[derive(Deserialize)]
struct LookedUp {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Account {
    pub(super) fn new(
        http: HttpClient,
        endpoint: url::Url,
        namespace: Option<HeaderValue>,
        method: AuthMethod,
    ) -> Self {
        let mut base = endpoint;
        if let Ok(mut path) = base.path_segments_mut() {
            path.pop_if_empty().push("v1");
        }
        Self { http: Arc::new(http), base, namespace, method }
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Whether every login yields the same token.
    pub(super) const fn has_one_token(&self) -> bool {
        matches!(self.method, AuthMethod::Token(_))
    }

    /// `<endpoint>/v1/<segments>`, each segment encoded.
    pub(super) fn url<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> url::Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    /// The headers of a request under `token`; the only ones a backend ever sees from us.
    pub(super) fn headers(&self, token: Option<&HeaderValue>) -> HeaderMap {
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

    /// Obtains a token.
    pub(super) async fn log_in(&self) -> Result<Fresh, BackendError> {
        match &self.method {
            AuthMethod::Token(source) => {
                let credential: TokenCredential = parse(source)?;
                within(self.look_up(sensitive(&credential.token)?)).await
            }
            AuthMethod::Approle { mount, source } => {
                let credential: ApproleCredential = parse(source)?;
                within(self.post_login(mount, &credential)).await
            }
            AuthMethod::Kubernetes { mount, role, token_path } => {
                within(async {
                    let jwt = tokio::fs::read_to_string(token_path).await.map(Zeroizing::new);
                    let jwt = jwt.map_err(|_| BackendError::Login("token_path cannot be read"))?;
                    self.post_login(mount, &KubernetesLogin { role, jwt: jwt.trim_end() }).await
                })
                .await
            }
            AuthMethod::Aws { mount, role, prove } => {
                let login = AwsLogin { role, signed: prove().await? };
                within(self.post_login(mount, &login)).await
            }
        }
    }

    /// Whether the server knows `token`.
    pub(super) async fn knows(&self, token: &HeaderValue) -> Result<bool, BackendError> {
        let answer = within(self.send_look_up(token)).await?;
        Ok(answer.status != StatusCode::FORBIDDEN)
    }

    /// Extends `token`. A [`BackendError::Login`] says that the server does not do that any more.
    pub(super) async fn renew(&self, token: &HeaderValue) -> Result<Fresh, BackendError> {
        let url = self.url(["auth", "token", "renew-self"]);
        within(self.authenticate(&url, self.headers(Some(token)), b"{}".to_vec())).await
    }

    /// A configured token's lifetime.
    async fn look_up(&self, token: HeaderValue) -> Result<Fresh, BackendError> {
        let answer = self.send_look_up(&token).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        let found: Option<Told<LookedUp>> = serde_json::from_slice(&answer.body).ok();
        let found = found.and_then(|found| found.data);
        let LookedUp { ttl, renewable } = found.ok_or(BackendError::Login("lookup-self answered something else"))?;
        Ok(Fresh { token, ttl: Duration::from_secs(ttl), renewable })
    }

    async fn send_look_up(&self, token: &HeaderValue) -> Result<Answer, BackendError> {
        let url = self.url(["auth", "token", "lookup-self"]);
        let headers = self.headers(Some(token));
        self.http.send(UpstreamRequest { method: Method::GET, url: &url, headers, body: None }).await
    }

    async fn post_login(&self, mount: &str, body: &impl Serialize) -> Result<Fresh, BackendError> {
        let body = serde_json::to_vec(body).map_err(|_| BackendError::Login("the credential cannot be encoded"))?;
        let url = self.url(["auth"].into_iter().chain(mount.split('/')).chain(["login"]));
        self.authenticate(&url, self.headers(None), body).await
    }

    async fn authenticate(&self, url: &url::Url, mut headers: HeaderMap, body: Vec<u8>) -> Result<Fresh, BackendError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = UpstreamRequest { method: Method::POST, url, headers, body: Some(Bytes::from(body)) };
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        let auth = serde_json::from_slice::<Answered<'_>>(&answer.body).ok().and_then(|answered| answered.auth);
        let auth: Option<Auth> = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let auth = auth.ok_or(BackendError::Login("the login answered no token"))?;
        let token = Zeroizing::new(auth.client_token);
        let ttl = Duration::from_secs(auth.lease_duration);
        Ok(Fresh { token: sensitive(&token)?, ttl, renewable: auth.renewable })
    }
}

async fn within<T>(work: impl Future<Output = Result<T, BackendError>>) -> Result<T, BackendError> {
    tokio::time::timeout(LOGIN_TIMEOUT, work).await.unwrap_or(Err(BackendError::Timeout))
}

fn refused(answer: &Answer) -> BackendError {
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => BackendError::RateLimited(answer.retry_after().or(Some(1))),
        status if status.is_server_error() => BackendError::Failing(status.as_u16()),
        _ => BackendError::REFUSED_LOGIN,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aws_identity_is_proved_in_the_words_the_server_reads() {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let signed =
            SignedIdentity { method: "POST", url: text("dXJs"), body: text("Ym9keQ=="), headers: text("e30=") };
        assert_eq!(
            serde_json::to_string(&AwsLogin { role: "app", signed }).unwrap(),
            r#"{"role":"app","iam_http_request_method":"POST","iam_request_url":"dXJs","iam_request_body":"Ym9keQ==","iam_request_headers":"e30="}"#
        );
    }
}
