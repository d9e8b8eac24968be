//! A client of a running proxy's scaivault listener, for the verbs that are REST clients.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use crate::backend::{HttpClient, HttpSettings, UpstreamRequest, client_config};

/// One proxy, and the token to talk to it with (`SCAIVAULT_TOKEN`, CA in `SCAIVAULT_CACERT`).
pub(super) struct Rest {
    base: reqwest::Url,
    client: HttpClient,
    token: Option<HeaderValue>,
}

impl Rest {
    pub(super) fn new(server: &str) -> Result<Self, String> {
        let base = reqwest::Url::parse(server).map_err(|error| format!("--server: {error}"))?;
        let ca = std::env::var_os("SCAIVAULT_CACERT").map(std::path::PathBuf::from);
        let tls = client_config(ca.as_deref(), None, true)?;
        let client = HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(5) });
        let token = match std::env::var("SCAIVAULT_TOKEN") {
            Ok(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                Some(value.map_err(|_| "SCAIVAULT_TOKEN is not visible ASCII".to_owned())?)
            }
            Err(_) => None,
        };
        Ok(Self { base, client: client.map_err(|error| error.to_string())?, token })
    }

    /// Sends one request; the answer's JSON, or what the problem document says.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let mut url = self.base.clone();
        url.set_path(path);
        url.query_pairs_mut().extend_pairs(query);
        if query.is_empty() {
            url.set_query(None);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let body = body.map(|body| Bytes::from(body.to_string()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let request = UpstreamRequest { method, url: &url, headers, body };
        let answer = runtime.block_on(self.client.send(request)).map_err(|error| format!("{}: {error}", self.base))?;
        let value: Value = if answer.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer.body)
                .map_err(|_| format!("{} answered something else than JSON", self.base))?
        };
        if answer.status.is_success() {
            return Ok(value);
        }
        let say = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(format!("{} {} {} (request {})", answer.status.as_u16(), say("title"), say("detail"), say("request_id")))
    }
}
