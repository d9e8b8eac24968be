//! A client of a running proxy's scaivault listener, for the verbs that are REST clients.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use crate::backend::{Answer, HttpClient, HttpSettings, UpstreamRequest, client_config};

/// One proxy, and the token to talk to it with (`SCAIVAULT_TOKEN`, CA in `SCAIVAULT_CACERT`).
pub(super) struct Rest {
    base: url::Url,
    client: HttpClient,
    token: Option<HeaderValue>,
}

impl Rest {
    pub(super) fn new(server: &str) -> Result<Self, String> {
        let base = url::Url::parse(server).map_err(|error| format!("--server: {error}"))?;
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
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.send(method, path, query, body)?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        self.json(&answer.body)
    }

    /// Sends one request; the answer's bytes, or what the problem document says.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, String> {
        let answer = self.ask(method, path, query, body)?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.trouble(&answer)) }
    }

    /// Sends one request; the answer whatever its status.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, String> {
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let request = UpstreamRequest { method, url: &url, headers, body };
        runtime.block_on(self.client.send(request)).map_err(|error| format!("{}: {error}", self.base))
    }

    pub(super) fn json(&self, body: &[u8]) -> Result<Value, String> {
        serde_json::from_slice(body).map_err(|_| format!("{} answered something else than JSON", self.base))
    }

    /// What a problem document says, with everything that is wrong by its key.
    pub(super) fn trouble(&self, answer: &Answer) -> String {
        let problem = match self.json(&answer.body) {
            Ok(problem) => problem,
            Err(other) => return format!("{} ({other})", answer.status),
        };
        let say = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut text = format!("{} {}", answer.status.as_u16(), say(&problem, "title"));
        let detail = say(&problem, "detail");
        if !detail.is_empty() {
            text.push_str(": ");
            text.push_str(&detail);
        }
        text.push_str(&format!(" (request {})", say(&problem, "request_id")));
        for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!("\n  {}: {}", say(error, "key"), say(error, "message")));
        }
        text
    }
}
