//! A signer of its own, so that what the proxy verifies with is not what made the signature; and requests that can be altered
//! piece by piece after they were signed.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::{digest, hmac};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::harness::{Connection, Response};

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "123456789012";
const JSON: &str = "application/x-amz-json-1.1";

/// An access key.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// What goes with a key that ends by itself.
    pub(crate) session: Option<String>,
}

/// What a signature is good for.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) region: String,
    pub(crate) service: String,
    /// Seconds since 1970.
    pub(crate) at: i64,
}

/// A request as it goes over the wire; changing it does not sign it again.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Keys {
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), session: None }
    }

    /// Of `{"access_key_id", "secret_access_key"}`, the form the configuration's files have.
    pub(crate) fn of(stored: &Value) -> Self {
        Self::new(stored["access_key_id"].as_str().unwrap(), stored["secret_access_key"].as_str().unwrap())
    }

    /// Of what the container endpoint answers: `{"AccessKeyId", "SecretAccessKey", "Token"}`.
    pub(crate) fn of_container(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
        Self { id: text("AccessKeyId"), secret: text("SecretAccessKey"), session: Some(text("Token")) }
    }

    /// As the configuration's files have it.
    pub(crate) fn stored(&self) -> String {
        serde_json::json!({"access_key_id": self.id, "secret_access_key": self.secret}).to_string()
    }

    /// A call of the service, signed in its headers.
    pub(crate) fn sign(&self, host: &str, scope: &Scope, operation: &str, body: &[u8]) -> Signed {
        let target = format!("secretsmanager.{operation}");
        let mut headers = vec![
            ("content-type".to_owned(), JSON.to_owned()),
            ("host".to_owned(), host.to_owned()),
            ("x-amz-date".to_owned(), scope.date()),
        ];
        headers.extend(self.session.iter().map(|token| ("x-amz-security-token".to_owned(), token.clone())));
        headers.push(("x-amz-target".to_owned(), target));
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let signature = self.signature(scope, "", &headers, &names, body);
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
            self.id,
            scope.path()
        );
        headers.push(("authorization".to_owned(), value));
        Signed { method: "POST".to_owned(), target: "/".to_owned(), headers, body: body.to_vec() }
    }

    /// The same, signed in the query and good for a number of seconds.
    pub(crate) fn presign(&self, host: &str, scope: &Scope, life: &str, operation: &str, body: &[u8]) -> Signed {
        let headers = vec![
            ("content-type".to_owned(), JSON.to_owned()),
            ("host".to_owned(), host.to_owned()),
            ("x-amz-target".to_owned(), format!("secretsmanager.{operation}")),
        ];
        let names = "content-type;host;x-amz-target";
        let mut query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={life}",
            escaped(&format!("{}/{}", self.id, scope.path())),
            scope.date(),
        );
        if let Some(token) = &self.session {
            query.push_str(&format!("&X-Amz-Security-Token={}", escaped(token)));
        }
        query.push_str(&format!("&X-Amz-SignedHeaders={}", escaped(names)));
        let signature = self.signature(scope, &query, &headers, names, body);
        let target = format!("/?{query}&X-Amz-Signature={signature}");
        Signed { method: "POST".to_owned(), target, headers, body: body.to_vec() }
    }

    fn signature(&self, scope: &Scope, query: &str, headers: &[(String, String)], names: &str, body: &[u8]) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n/\n{query}\n{lines}\n{names}\n{}", hash(body));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", scope.date(), scope.path(), hash(request.as_bytes()));
        let parts =
            [scope.day().as_str(), scope.region.as_str(), scope.service.as_str(), "aws4_request", text.as_str()]
                .map(str::to_owned);
        let first = format!("AWS4{}", self.secret).into_bytes();
        let last = parts.iter().fold(first, |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
        });
        hex(&last)
    }
}

impl Scope {
    /// Of now and of the listener's region.
    pub(crate) fn now() -> Self {
        Self { region: REGION.to_owned(), service: "secretsmanager".to_owned(), at: seconds() }
    }

    /// Some seconds from now.
    pub(crate) fn after(seconds: i64) -> Self {
        let now = Self::now();
        Self { at: now.at + seconds, ..now }
    }

    pub(crate) fn of_region(region: &str) -> Self {
        Self { region: region.to_owned(), ..Self::now() }
    }

    pub(crate) fn of_service(service: &str) -> Self {
        Self { service: service.to_owned(), ..Self::now() }
    }

    fn date(&self) -> String {
        let at = OffsetDateTime::from_unix_timestamp(self.at).unwrap();
        at.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap()
    }

    fn day(&self) -> String {
        self.date()[..8].to_owned()
    }

    /// What a credential's key id is followed by.
    fn path(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }
}

impl Signed {
    /// Sends it on a connection of its own, byte for byte. `None` if nobody answered: the connection was closed.
    pub(crate) fn send(&self, address: &str) -> Option<Response> {
        let mut connection = Connection::open(address).unwrap();
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("connection", "close"));
        connection.call(&self.method, &self.target, &headers, &self.body).ok()
    }

    /// The same with another value of a header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let place = self.headers.iter_mut().find(|(own, _)| own == name);
        value.clone_into(&mut place.unwrap_or_else(|| panic!("no {name}")).1);
        self
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> &str {
        let own = self.headers.iter().find(|(own, _)| own == name);
        &own.unwrap_or_else(|| panic!("no {name}")).1
    }

    /// The same without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// The same with one more header.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub(crate) fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As in a canonical query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[test]
fn the_signer_makes_the_signature_that_the_sdk_makes() {
    let keys = Keys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let scope = Scope { at: 1_440_938_160, ..Scope::now() };
    let signed = keys.sign("127.0.0.1:4566", &scope, "GetSecretValue", br#"{"SecretId": "app/db"}"#);
    assert_eq!(signed.header("x-amz-date"), "20150830T123600Z");
    assert!(signed.header("authorization").ends_with(SDK_SIGNATURE), "{signed:?}");
}

/// What botocore 1.43.106 made of the same request.
const SDK_SIGNATURE: &str = "3d6cdc940ceef59677265f85bab15325276ba25b7f2b1f7a9fd4dd3f27982068";
