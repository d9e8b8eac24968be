//! Fetches issuers' keys over the one HTTP client.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode};

use super::build::{as_named, as_told_by};
use crate::backend::{BackendError, HttpClient, HttpSettings, Reach, UpstreamRequest, client_config};
use crate::identity::{JwksError, JwksLocation, JwksSource, JwtIssuer, discovery_url, jwks_uri};

const MAX_BYTES: usize = 256 * 1024;
const CONNECT: Duration = Duration::from_secs(2);

/// A client is made for each fetch: fetches are rare, and each issuer may have its own CA.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpKeys;

#[async_trait]
impl JwksSource for HttpKeys {
    async fn fetch(&self, issuer: &JwtIssuer) -> Result<Vec<u8>, JwksError> {
        let ca = issuer.ca_path.as_deref();
        match &issuer.jwks {
            JwksLocation::Url(url) => load(url, ca, as_named()).await,
            JwksLocation::Discovery => {
                let discovery = discovery_url(&issuer.issuer);
                let document = load(&discovery, ca, as_named()).await?;
                let told = as_told_by(parsed(&discovery)?.host_str().unwrap_or_default());
                load(&jwks_uri(&document, &issuer.issuer)?, ca, told).await
            }
            JwksLocation::File(_) => Err(JwksError::Unusable("a file is not fetched")),
        }
    }
}

async fn load(url: &str, ca: Option<&Path>, reach: Reach) -> Result<Vec<u8>, JwksError> {
    let unreachable = |error: BackendError| JwksError::Unreachable(error.to_string());
    let url = parsed(url)?;
    let tls = client_config(ca, None, true).map_err(JwksError::Unreachable)?;
    let settings = HttpSettings { tls, connect_timeout: CONNECT };
    let client = HttpClient::within(settings, reach).map_err(unreachable)?;
    let request = UpstreamRequest { method: Method::GET, url: &url, headers: HeaderMap::new(), body: None };
    let answer = client.send(request).await.map_err(unreachable)?;
    if answer.status != StatusCode::OK {
        return Err(JwksError::Status(answer.status.as_u16()));
    }
    if answer.body.len() > MAX_BYTES {
        return Err(JwksError::TooLarge);
    }
    Ok(answer.body.to_vec())
}

fn parsed(url: &str) -> Result<url::Url, JwksError> {
    url::Url::parse(url).map_err(|_| JwksError::Unusable("the address is not a URL"))
}
