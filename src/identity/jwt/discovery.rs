//! OpenID discovery and which addresses keys may come from. Pure: the fetching is the [`super::JwksSource`]'s.

use std::net::IpAddr;

use super::json::{Json, parse_object};
use crate::identity::JwksError;

/// Where the discovery document of `issuer` is.
#[must_use]
pub fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// The `jwks_uri` of a discovery document, if the document is the issuer's own.
///
/// # Errors
/// When it is not a JSON object with unique members, is another issuer's, or points to an address that is not `https`
/// (`http` is accepted for loopback addresses).
pub fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, JwksError> {
    let object = parse_object(document).ok_or(JwksError::Unusable("the discovery document is not a JSON object"))?;
    if object.get("issuer").and_then(Json::as_text) != Some(issuer) {
        return Err(JwksError::Unusable("the discovery document is another issuer's"));
    }
    let address = object.get("jwks_uri").and_then(Json::as_text);
    match address.filter(|address| is_fetchable(address)) {
        Some(address) => Ok(address.to_owned()),
        None => Err(JwksError::Unusable("the discovery document has no `https` address as `jwks_uri`")),
    }
}

/// Whether keys may be fetched from `address`: an `https` URL, or an `http` URL of a loopback address, without
/// userinfo.
pub(super) fn is_fetchable(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    match uri.scheme_str() {
        Some("https") => !authority.host().is_empty(),
        Some("http") => is_loopback(authority.host()),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_must_be_the_issuers_own() {
        let document = br#"{"issuer":"https://i.example","jwks_uri":"https://i.example/keys","x":1}"#;
        assert_eq!(jwks_uri(document, "https://i.example").as_deref(), Ok("https://i.example/keys"));
        assert!(jwks_uri(document, "https://i.example/").is_err());
        assert!(jwks_uri(br#"{"issuer":"i","jwks_uri":"file:///etc/passwd"}"#, "i").is_err());
        assert!(jwks_uri(br#"{"issuer":"i","issuer":"i","jwks_uri":"https://a/b"}"#, "i").is_err());
        assert_eq!(discovery_url("https://i.example/"), "https://i.example/.well-known/openid-configuration");
    }

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in [
            "https://a.example/k",
            "https://10.0.0.1:8443/k",
            "http://127.0.0.1:1/k",
            "http://[::1]:1/k",
            "http://localhost/k",
        ] {
            assert!(is_fetchable(good), "{good}");
        }
        for bad in [
            "http://a.example/k",
            "http://169.254.169.254/k",
            "ftp://a/k",
            "/k",
            "a",
            "",
            "https://u:p@a/k",
            "http://127.0.0.1.a/k",
        ] {
            assert!(!is_fetchable(bad), "{bad}");
        }
    }
}
