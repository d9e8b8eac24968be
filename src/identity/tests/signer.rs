//! A signer of its own, made from the description of the protocol and of nothing that the room uses, and the crate's signer
//! beside it.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::{digest, hmac};
use time::OffsetDateTime;

use super::super::{Directory, SignedRequest};
use super::rig::{Rig, START_SECS, access_key, settings};
use crate::error::ErrorKind;

pub(super) const REGION: &str = "eu-west-1";
pub(super) const SERVICE: &str = "secretsmanager";
pub(super) const HOST: &str = "secrets.internal:8442";
pub(super) const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(super) const OTHER_ID: &str = "AKIAI44QH8DHBEXAMPLE";
pub(super) const OTHER_SECRET: &str = "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY";
/// What every request of the service signs, and the date.
pub(super) const NAMES: &str = "content-type;host;x-amz-date;x-amz-target";
/// The same in the query.
pub(super) const PRESIGNED_NAMES: &str = "content-type;host;x-amz-target";

/// A directory that knows a key of tenant `a` and another of tenant `b`.
pub(super) fn rigged() -> (Rig, Directory) {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    a.access_keys = vec![access_key("search/indexer", KEY_ID, SECRET)];
    b.access_keys = vec![access_key("search/indexer", OTHER_ID, OTHER_SECRET)];
    let directory = rig.directory(vec![a, b]);
    (rig, directory)
}

/// The signer whose clock is ours.
pub(super) fn now() -> Signer {
    Signer::at(START_SECS)
}

pub(super) fn signed() -> Sent {
    now().sign(Sent::read(), NAMES)
}

pub(super) fn presigned() -> Sent {
    now().presign(Sent::read(), PRESIGNED_NAMES, "900")
}

/// What the client is told of a request that must be refused.
pub(super) fn told(directory: &Directory, sent: &Sent) -> Option<&'static str> {
    let error = directory.signed(sent.request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    error.detail()
}

/// A way to alter a request.
pub(super) type Change = fn(&mut Sent);

pub(super) fn each_is_told(directory: &Directory, good: &Sent, changes: &[(&str, &'static str, Change)]) {
    directory.signed(good.request()).unwrap();
    for (what, expected, change) in changes {
        let mut sent = good.clone();
        change(&mut sent);
        assert_eq!(told(directory, &sent), Some(*expected), "{what}");
    }
}

/// A request as it arrives.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) host: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Sent {
    /// A read of a secret, unsigned.
    pub(super) fn read() -> Self {
        let mut sent = Self {
            method: Method::POST,
            path: "/".to_owned(),
            query: None,
            host: HOST.to_owned(),
            headers: HeaderMap::new(),
            body: br#"{"SecretId":"prod/db"}"#.to_vec(),
        };
        sent.set("host", HOST);
        sent.set("content-type", "application/x-amz-json-1.1");
        sent.set("x-amz-target", "secretsmanager.GetSecretValue");
        sent.set("user-agent", "Boto3/1.43");
        sent
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }

    pub(super) fn value(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub(super) fn request(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            host: &self.host,
            headers: &self.headers,
            body: &self.body,
            region: REGION,
            service: SERVICE,
        }
    }

    /// Replaces a part of the `Authorization` header.
    pub(super) fn in_authorization(&mut self, from: &str, to: &str) {
        let value = self.value("authorization");
        assert!(value.contains(from), "{value} lacks {from}");
        self.set("authorization", &value.replacen(from, to, 1));
    }

    /// Replaces a part of the query.
    pub(super) fn in_query(&mut self, from: &str, to: &str) {
        let query = self.query.clone().unwrap();
        assert!(query.contains(from), "{query} lacks {from}");
        self.query = Some(query.replacen(from, to, 1));
    }
}

/// Who signs, when, and for what.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
    pub(super) at: u64,
    /// The day of the scope; that of `at` unless set.
    pub(super) day: Option<String>,
    pub(super) region: String,
    pub(super) service: String,
}

impl Signer {
    pub(super) fn at(at: u64) -> Self {
        Self {
            id: KEY_ID.to_owned(),
            secret: SECRET.to_owned(),
            token: None,
            at,
            day: None,
            region: REGION.to_owned(),
            service: SERVICE.to_owned(),
        }
    }

    /// The same with a session token.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Signs in the header. `x-amz-date` and the session token are set, and signed if listed.
    pub(super) fn sign(&self, mut sent: Sent, names: &str) -> Sent {
        sent.set("x-amz-date", &moment(self.at));
        if let Some(token) = &self.token {
            sent.set("x-amz-security-token", token);
        }
        let query = sorted(sent.query.as_deref().unwrap_or_default());
        let signature = self.signature(&canonical(&sent, &query, names));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
            self.id,
            self.scope()
        );
        sent.set("authorization", &value);
        sent
    }

    /// Signs in the query.
    pub(super) fn presign(&self, mut sent: Sent, names: &str, expires: &str) -> Sent {
        let own = sent.query.take().map(|query| format!("{query}&")).unwrap_or_default();
        let credential = escaped(&format!("{}/{}", self.id, self.scope()));
        let mut query = format!(
            "{own}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders={}",
            moment(self.at),
            escaped(names)
        );
        if let Some(token) = &self.token {
            query = format!("{query}&X-Amz-Security-Token={}", escaped(token));
        }
        let signature = self.signature(&canonical(&sent, &sorted(&query), names));
        sent.query = Some(format!("{query}&X-Amz-Signature={signature}"));
        sent
    }

    /// As [`Self::sign`], by the crate that the Rust SDK signs with: everything it signs by itself of what is there.
    pub(super) fn sign_by_crate(&self, mut sent: Sent) -> Sent {
        let identity = Credentials::new(&self.id, &self.secret, self.token.clone(), None, "test").into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.at))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{}{}", sent.host, sent.path);
        let headers: Vec<(String, String)> =
            sent.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request =
            SignableRequest::new(sent.method.as_str(), uri, headers, SignableBody::Bytes(&sent.body)).unwrap();
        let (made, _) = sign(request, &params).unwrap().into_parts();
        let made: Vec<(String, String)> =
            made.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, value) in made {
            sent.set(&name, &value);
        }
        sent
    }

    fn scope(&self) -> String {
        let day = self.day.clone().unwrap_or_else(|| moment(self.at).split_once('T').unwrap().0.to_owned());
        format!("{day}/{}/{}/aws4_request", self.region, self.service)
    }

    fn signature(&self, canonical: &str) -> String {
        let scope = self.scope();
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", moment(self.at));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/').chain([text.as_str()]) {
            let signing = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&signing, part.as_bytes()).as_ref().to_vec();
        }
        hex(&key)
    }
}

fn canonical(sent: &Sent, query: &str, names: &str) -> String {
    let mut text = format!("{}\n{}\n{query}\n", sent.method, sent.path);
    for name in names.split(';') {
        let values: Vec<String> = sent
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                value.to_str().unwrap().split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let body = hex(digest::digest(&digest::SHA256, &sent.body).as_ref());
    format!("{text}\n{names}\n{body}")
}

fn sorted(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_by_key(|pair| pair.split_once('=').unwrap());
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `20270115T080000Z`.
pub(super) fn moment(secs: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(secs.try_into().unwrap()).unwrap();
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

pub(super) fn body_hash(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
