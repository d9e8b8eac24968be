//! Signature Version 4 of a request of ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::backend::BackendError;
use crate::clock::Timestamp;

const NOT_SIGNED: BackendError = BackendError::Login("the request cannot be signed with the credential");

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'static str,
}

/// The headers of a `POST` to `uri` (absolute, encoded): those given, and those that sign them, the host and the body.
pub(super) fn signed(
    uri: &str,
    given: &[(&str, &str)],
    body: &[u8],
    identity: &Identity,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<HeaderMap, BackendError> {
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(system_time(now))
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| NOT_SIGNED)?
        .into();
    let request =
        SignableRequest::new("POST", uri, given.iter().copied(), SignableBody::Bytes(body)).map_err(|_| NOT_SIGNED)?;
    let (instructions, _) = sign(request, &params).map_err(|_| NOT_SIGNED)?.into_parts();
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in given.iter().copied() {
        insert(&mut headers, name, value, false)?;
    }
    for (name, value) in instructions.headers() {
        insert(&mut headers, name, value, true)?;
    }
    Ok(headers)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str, is_sensitive: bool) -> Result<(), BackendError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NOT_SIGNED)?;
    let mut value = HeaderValue::from_str(value).map_err(|_| NOT_SIGNED)?;
    value.set_sensitive(is_sensitive);
    headers.insert(name, value);
    Ok(())
}

/// Wall time as the SDK's crates want it.
pub(super) fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(at.micros())).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    fn headers(token: Option<&str>, body: &[u8]) -> HeaderMap {
        let identity = Credentials::new("AKIDEXAMPLE", "made-up", token.map(str::to_owned), None, "test").into();
        let scope = Scope { region: "eu-west-1", service: "secretsmanager" };
        let given = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.GetSecretValue")];
        // 2026-11-23T17:00:00Z
        let now = Timestamp::from_secs(1_795_453_200);
        signed("https://secretsmanager.eu-west-1.amazonaws.com/", &given, body, &identity, scope, now).unwrap()
    }

    #[test]
    fn a_signature_covers_host_target_and_body() {
        let one = headers(None, b"{}");
        assert_eq!(one["x-amz-date"], "20261123T170000Z");
        let text = one["authorization"].to_str().unwrap();
        assert!(
            text.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/secretsmanager/aws4_request,")
        );
        assert!(text.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"), "{text}");
        assert!(one["authorization"].is_sensitive());
        assert_eq!(headers(None, b"{}")["authorization"], text);
        assert_ne!(headers(None, b"{ }")["authorization"], text);
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let headers = headers(Some("made-up-token"), b"{}");
        assert_eq!(headers["x-amz-security-token"], "made-up-token");
        assert!(headers["authorization"].to_str().unwrap().contains(";x-amz-security-token;x-amz-target,"));
    }

    #[test]
    fn a_token_that_is_no_header_is_refused_without_a_panic() {
        let identity = Credentials::new("AKID", "made-up", Some("a\nb".to_owned()), None, "test").into();
        let scope = Scope { region: "eu-west-1", service: "sts" };
        let result = signed("https://sts/", &[], b"", &identity, scope, Timestamp::from_secs(1));
        assert!(matches!(result, Err(BackendError::Login(_))));
    }
}
