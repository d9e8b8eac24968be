//! The token service, as far as roles are assumed with it: forms in, XML out.

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;
use url::form_urlencoded::Serializer;

use super::credentials::Role;
use super::sign::{Scope, signed, system_time};
use crate::backend::{Answer, BackendError, HttpClient, UpstreamRequest};
use crate::clock::{Clock as _, SystemClock, Timestamp};

pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
pub(super) const VERSION: &str = "2011-06-15";
/// What sessions are called unless they are given a name.
const SESSION: &str = "scaivault-proxy";
const UNUSABLE: BackendError = BackendError::Login("the token service answered something else than keys");

/// One endpoint of the token service.
pub(super) struct Sts<'a> {
    pub(super) http: &'a HttpClient,
    pub(super) endpoint: &'a Url,
    pub(super) region: &'a str,
}

impl Sts<'_> {
    /// Keys of a role, asked for with `keys`.
    pub(super) async fn assume(&self, role: &Role, keys: Credentials) -> Result<Credentials, BackendError> {
        let body = form("AssumeRole", role, role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let identity = Identity::from(keys);
        let scope = Scope { region: self.region, service: "sts" };
        let given = [(header::CONTENT_TYPE.as_str(), FORM)];
        let now = SystemClock.now();
        let headers = signed(self.endpoint.as_str(), &given, body.as_bytes(), &identity, scope, now)?;
        self.ask(headers, body).await
    }

    /// Keys of a role, asked for with a token of an identity provider. Nothing is signed.
    pub(super) async fn assume_with_token(&self, role: &Role, token: &str) -> Result<Credentials, BackendError> {
        let body = form("AssumeRoleWithWebIdentity", role, Some(("WebIdentityToken", token)));
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(FORM))]);
        self.ask(headers, body).await
    }

    async fn ask(&self, headers: HeaderMap, body: String) -> Result<Credentials, BackendError> {
        let body = Some(Bytes::from(body));
        let request = UpstreamRequest { method: Method::POST, url: self.endpoint, headers, body };
        keys(&self.http.send(request).await?)
    }
}

fn form(action: &str, role: &Role, more: Option<(&str, &str)>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", action);
    form.append_pair("Version", VERSION);
    form.append_pair("RoleArn", &role.arn);
    form.append_pair("RoleSessionName", role.session_name.as_deref().unwrap_or(SESSION));
    form.extend_pairs(more);
    form.finish()
}

fn keys(answer: &Answer) -> Result<Credentials, BackendError> {
    let text = std::str::from_utf8(&answer.body).map_err(|_| UNUSABLE)?;
    if !answer.status.is_success() {
        return Err(refusal(answer, text));
    }
    let found = element(text, "Credentials").ok_or(UNUSABLE)?;
    let part = |name| element(found, name).and_then(plain).filter(|text| !text.is_empty()).ok_or(UNUSABLE);
    let ends = Timestamp::parse_rfc3339(&part("Expiration")?).ok_or(UNUSABLE)?;
    let (id, secret, token) = (part("AccessKeyId")?, part("SecretAccessKey")?, part("SessionToken")?);
    Ok(Credentials::new(id, secret, Some(token), Some(system_time(ends)), "role"))
}

fn refusal(answer: &Answer, text: &str) -> BackendError {
    let code = element(text, "Code").unwrap_or_default();
    let status = answer.status.as_u16();
    if status == 429 || code.contains("Throttl") {
        BackendError::RateLimited(answer.retry_after().or(Some(1)))
    } else if answer.status.is_server_error() {
        BackendError::Failing(status)
    } else {
        BackendError::REFUSED_LOGIN
    }
}

/// What stands between the first `<name>` and the next `</name>`.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// The text of an element that has no other in it.
fn plain(content: &str) -> Option<String> {
    const ENTITIES: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    if content.contains('<') {
        return None;
    }
    // ampersands come last: what they made is no entity any more
    Some(ENTITIES.iter().fold(content.trim().to_owned(), |text, (entity, sign)| text.replace(entity, sign)))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    const ASSUMED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
        <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser><Credentials>\n\
        <AccessKeyId>ASIAFAKE</AccessKeyId><SecretAccessKey>x/&amp;lt;y</SecretAccessKey>\
        <SessionToken> tok== </SessionToken><Expiration>2026-11-23T11:14:11Z</Expiration></Credentials>\
        </AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>";

    #[test]
    fn keys_are_read_with_their_end() {
        let keys = keys(&answer(200, ASSUMED)).unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("ASIAFAKE", "x/&lt;y"));
        assert_eq!(keys.session_token(), Some("tok=="));
        let ends = Timestamp::parse_rfc3339("2026-11-23T11:14:11Z").unwrap();
        assert_eq!(keys.expiry(), Some(system_time(ends)));
    }

    #[test]
    fn anything_else_is_no_login() {
        for body in
            ["", "{}", "<Credentials></Credentials>", &ASSUMED.replace("2026", "soon"), &ASSUMED.replace("tok", "<b/>")]
        {
            assert!(matches!(keys(&answer(200, body)), Err(BackendError::Login(_))), "{body}");
        }
        let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>";
        assert!(keys(&answer(403, denied)).unwrap_err().is_refusal());
        let throttled = denied.replace("AccessDenied", "Throttling");
        assert!(matches!(keys(&answer(400, &throttled)), Err(BackendError::RateLimited(Some(1)))));
        assert!(matches!(keys(&answer(503, "")), Err(BackendError::Failing(503))));
    }

    #[test]
    fn forms_are_encoded() {
        let role = Role { arn: "arn:aws:iam::123456789012:role/a b".to_owned(), external_id: None, session_name: None };
        assert_eq!(
            form("AssumeRole", &role, Some(("ExternalId", "x&y"))),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fa+b\
             &RoleSessionName=scaivault-proxy&ExternalId=x%26y"
        );
    }
}
