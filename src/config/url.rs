//! URLs of the configuration: absolute, http or https, nothing but a place.
//!
//! INVARIANT: an [`HttpUrl`] carries no credential, no query and no fragment; one made by [`HttpUrl::parse`] speaks plain
//! http to loopback only.

use std::fmt;
use std::net::IpAddr;

use super::address::host_name;

/// An absolute `https://` or `http://` URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    text: String,
    host: String,
    port: Option<u16>,
    tls: bool,
}

impl HttpUrl {
    /// Parses a URL that credentials or secrets are sent to: plain http is accepted for loopback only.
    ///
    /// # Errors
    /// A sentence that says what is accepted; it does not hold the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Self::parse_proxy(text)?;
        if url.tls || url.is_loopback() { Ok(url) } else { Err("plain http is accepted for loopback only; use https") }
    }

    /// Parses the URL of a forward proxy, which carries TLS and may itself speak plain http anywhere.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_proxy(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected an absolute http(s) URL";
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(EXPECTED),
        };
        if rest.contains('@') {
            return Err("must not hold credentials");
        }
        if rest.contains(['?', '#']) {
            return Err("must not hold a query or a fragment");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority).ok_or(EXPECTED)?;
        if !is_path(path) {
            return Err("holds a path that is empty in places, relative or escaped");
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned(), port, tls })
    }

    /// The URL as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL without a slash at its end, for a path to be appended.
    #[must_use]
    pub fn base(&self) -> &str {
        self.text.strip_suffix('/').unwrap_or(&self.text)
    }

    /// The host; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, as written or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// Whether it is https.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the host is `localhost` or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority.get(bracket..)?.find(':').map(|at| bracket.saturating_add(at)),
        None => authority.find(':'),
    };
    let Some(colon) = colon else { return Some((host_name(authority)?, None)) };
    let (host, port) = authority.split_at_checked(colon)?;
    let digits = port.strip_prefix(':')?;
    let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten()?;
    if port == 0 { None } else { Some((host_name(host)?, Some(port))) }
}

/// Segments of unreserved characters and `: + = ,`; one slash may end it.
fn is_path(path: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:+=,".contains(&b))
    };
    path.is_empty() || path.strip_suffix('/').unwrap_or(path).split('/').all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let url = HttpUrl::parse("https://vault.internal:8200/base/").unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("vault.internal", 8200, true));
        assert_eq!(url.base(), "https://vault.internal:8200/base");
        assert_eq!(url.as_str(), "https://vault.internal:8200/base/");
        let url = HttpUrl::parse("http://[::1]:8200").unwrap();
        assert_eq!((url.host(), url.port(), url.is_loopback()), ("::1", 8200, true));
        assert_eq!(HttpUrl::parse("https://[2001:db8::1]").unwrap().port(), 443);
    }

    #[test]
    fn x10_plain_http_goes_to_loopback_only() {
        for good in ["http://127.0.0.1:1", "http://localhost", "http://LOCALHOST:80/x", "http://127.9.9.9"] {
            assert!(HttpUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://vault.internal:8200",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(HttpUrl::parse_proxy("http://proxy.internal:3128").is_ok());
    }

    #[test]
    fn anything_but_a_place_is_refused() {
        for bad in [
            "vault.internal",
            "ftp://h",
            "HTTPS://h",
            "https://",
            "https:///x",
            "https://user:pw@h",
            "https://h?x=1",
            "https://h/#f",
            "https://h:0",
            "https://h:99999",
            "https://h:",
            "https://h:+80",
            "https://h/../x",
            "https://h//x",
            "https://h//",
            "https://h/%2e%2e",
            "https://h\\x",
            "https://a b",
            "https://é.example",
            "https://127.1",
            "https://2130706433",
            "https://[::1",
            "https://[::1]x:1",
            "https://-.-/ x",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
