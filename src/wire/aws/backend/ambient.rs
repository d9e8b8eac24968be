//! The keys an SDK would find in the process's surroundings, through `aws-config` and over our own HTTP client.
//!
//! INVARIANT: variables that lead AWS clients elsewhere are not seen by it. They are what this proxy hands to workloads,
//! and would lead it to itself. Variables that say where an identity comes from are followed: they are the identity.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::{
    HttpClient as SdkClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_types::os_shim_internal::{Env, Fs};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::time::timeout;

use crate::backend::{BackendError, HttpClient, UpstreamRequest};

/// Of a whole search, attempts to reach what is not there included.
const LIMIT: Duration = Duration::from_secs(20);
/// Of one exchange, where the SDK says nothing.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(5);
/// What leads clients elsewhere.
const ELSEWHERE: &str = "AWS_ENDPOINT_URL";
/// Keys that would come before those of a profile that was asked for.
const BEFORE_PROFILES: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];
const NO_PROFILE: BackendError = BackendError::Login("the profile is in no shared AWS configuration file");
const NO_FILES: BackendError = BackendError::Login("the shared AWS configuration files cannot be read");
const NOWHERE: BackendError = BackendError::Login("there are no ambient AWS credentials");

/// The keys, found anew: files and variables are read as they are now.
pub(super) async fn keys(
    http: &Arc<HttpClient>,
    region: &str,
    profile: Option<&str>,
) -> Result<Credentials, BackendError> {
    let search = search(http, region, profile);
    timeout(LIMIT, search).await.unwrap_or(Err(BackendError::Login("the ambient AWS credentials did not come in time")))
}

async fn search(http: &Arc<HttpClient>, region: &str, profile: Option<&str>) -> Result<Credentials, BackendError> {
    let env = Env::from(variables(std::env::vars_os(), profile));
    if let Some(profile) = profile {
        let (fs, files) = (Fs::real(), Default::default());
        let known = aws_config::profile::load(&fs, &env, &files, None).await.map_err(|_| NO_FILES)?;
        known.get_profile(profile).ok_or(NO_PROFILE)?;
    }
    let config = aws_config::defaults(BehaviorVersion::latest())
        .env(env)
        .region(Region::new(region.to_owned()))
        .http_client(Adaptor(http.clone()))
        .load()
        .await;
    let provider = config.credentials_provider().ok_or(NOWHERE)?;
    provider.provide_credentials().await.map_err(|error| refusal(&error))
}

/// Our own words: the source's may hold anything.
const fn refusal(error: &CredentialsError) -> BackendError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => NOWHERE,
        CredentialsError::ProviderTimedOut(_) => {
            BackendError::Login("the source of the ambient AWS credentials did not answer in time")
        }
        CredentialsError::InvalidConfiguration(_) => {
            BackendError::Login("the ambient AWS configuration is not understood")
        }
        _ => BackendError::Login("the source of the ambient AWS credentials failed"),
    }
}

/// The environment as the SDK sees it.
pub(super) fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
    profile: Option<&str>,
) -> HashMap<String, String> {
    let is_seen = |name: &str| !name.starts_with(ELSEWHERE) && (profile.is_none() || !BEFORE_PROFILES.contains(&name));
    let texts = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut seen: HashMap<String, String> = texts.filter(|(name, _)| is_seen(name)).collect();
    if let Some(profile) = profile {
        seen.insert("AWS_PROFILE".to_owned(), profile.to_owned());
    }
    seen
}

/// Our client, as the SDK wants one.
struct Adaptor(Arc<HttpClient>);

impl fmt::Debug for Adaptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Adaptor")
    }
}

impl SdkClient for Adaptor {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let asked = settings.connect_timeout().unwrap_or_default() + settings.read_timeout().unwrap_or_default();
        let limit = if asked.is_zero() { EXCHANGE_LIMIT } else { asked.min(EXCHANGE_LIMIT) };
        SharedHttpConnector::new(Connector { http: self.0.clone(), limit })
    }
}

struct Connector {
    http: Arc<HttpClient>,
    limit: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, limit) = (self.http.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let exchange = exchange(&http, request);
            let late = || Err(ConnectorError::timeout("no answer in time".into()));
            timeout(limit, exchange).await.unwrap_or_else(|_| late())
        })
    }
}

async fn exchange(http: &HttpClient, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let (method, uri, headers, body) = parts(&request).ok_or_else(|| ConnectorError::user("not a request".into()))?;
    let sent = UpstreamRequest { method, url: &uri, headers, body: Some(body) };
    let answer = http.send(sent).await.map_err(|error| match error {
        BackendError::Timeout => ConnectorError::timeout(error.into()),
        error => ConnectorError::io(error.into()),
    })?;
    let unusable = |_| ConnectorError::user("not an answer".into());
    let status: StatusCode = answer.status.as_u16().try_into().map_err(unusable)?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            let (name, value) = (name.as_str().to_owned(), value.to_owned());
            response.headers_mut().try_append(name, value).map_err(unusable)?;
        }
    }
    Ok(response)
}

/// What our client sends for it; `None` if that cannot be said.
fn parts(request: &HttpRequest) -> Option<(Method, Uri, HeaderMap, Bytes)> {
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let uri = request.uri().parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some((method, uri, headers, Bytes::copy_from_slice(request.body().bytes()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(profile: Option<&str>) -> Vec<String> {
        let names = [
            "HOME",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_STS",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_ACCESS_KEY_ID",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ];
        let all = names.into_iter().map(|name| (OsString::from(name), OsString::from("x")));
        let mut seen: Vec<String> = variables(all, profile).into_keys().collect();
        seen.sort();
        seen
    }

    #[test]
    fn endpoints_of_the_environment_are_not_seen() {
        assert_eq!(seen(None), ["AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "HOME"]);
    }

    #[test]
    fn a_profile_that_was_asked_for_comes_first() {
        assert_eq!(seen(Some("p")), ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_PROFILE", "HOME"]);
    }

    #[test]
    fn requests_are_taken_over_whole() {
        let mut request = HttpRequest::new(SdkBody::from("a=b"));
        request.set_method("PUT").unwrap();
        request.set_uri("http://169.254.169.254/latest/api/token").unwrap();
        request.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        let (method, uri, headers, body) = parts(&request).unwrap();
        assert_eq!((method, uri.path()), (Method::PUT, "/latest/api/token"));
        assert_eq!(headers["x-aws-ec2-metadata-token-ttl-seconds"], "21600");
        assert_eq!(&*body, b"a=b");
    }
}
