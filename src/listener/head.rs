//! A request head, read strictly from its raw bytes: anything two implementations could frame differently is refused.

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Version};

const MAX_HEADERS: usize = 64;
const MAX_VALUE_BYTES: usize = 8192;

/// Why a head is refused, as an HTTP status and a fixed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadHead {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

const fn bad(reason: &'static str) -> BadHead {
    BadHead { status: 400, reason }
}

/// The parts of a head that routing and framing depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) host: &'a str,
}

/// Checks an HTTP/1 head. `raw` is everything up to the blank line as it was received.
pub(super) fn check_h1<'a>(
    raw: &'a [u8],
    version: Version,
    headers: &'a HeaderMap,
    limit: usize,
) -> Result<Target<'a>, BadHead> {
    if raw.len() > limit {
        return Err(BadHead { status: 431, reason: "request head too large" });
    }
    if !matches!(version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(BadHead { status: 505, reason: "HTTP version not supported" });
    }
    check_sizes(headers)?;
    check_lines(raw)?;
    let seen = Seen::of(headers)?;
    check_framing(version, &seen)?;
    let target = request_target(raw)?;
    let host = match (seen.host, seen.hosts) {
        (Some(host), 1) => host.to_str().map_err(|_| bad("Host is not visible ASCII"))?,
        (None, 0) if version == Version::HTTP_10 => "",
        _ => return Err(bad("exactly one Host is needed")),
    };
    if host.is_empty() && version == Version::HTTP_11 {
        return Err(bad("Host is empty"));
    }
    let target = strip_authority(target, host)?;
    split(target, host)
}

/// Checks what an HTTP/2 peer sent; the protocol library has already refused connection-specific headers.
pub(super) fn check_h2<'a>(uri: &'a http::Uri, headers: &'a HeaderMap) -> Result<Target<'a>, BadHead> {
    check_sizes(headers)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("the :scheme is neither http nor https"));
    }
    if headers.get_all(HOST).iter().count() > 1 {
        return Err(bad("more than one Host"));
    }
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = match (uri.authority().map(http::uri::Authority::as_str), named) {
        (Some(authority), Some(host)) if authority != host => return Err(bad(":authority and Host differ")),
        (Some(host), _) | (None, Some(host)) if !host.is_empty() => host,
        _ => return Err(bad("no :authority")),
    };
    if host.contains('@') {
        return Err(bad("user information in the authority"));
    }
    let path = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    split(path, host)
}

fn check_sizes(headers: &HeaderMap) -> Result<(), BadHead> {
    let large = BadHead { status: 431, reason: "too many headers, or one too long" };
    if headers.len() > MAX_HEADERS || headers.values().any(|value| value.len() > MAX_VALUE_BYTES) {
        return Err(large);
    }
    Ok(())
}

/// Every line ends in CRLF and no header line is folded or begins with white space.
fn check_lines(raw: &[u8]) -> Result<(), BadHead> {
    const BARE: BadHead = bad("bare CR, LF or NUL in the request head");
    let mut rest = raw;
    while !rest.is_empty() {
        // the last line may lack its end; a CR, LF or NUL anywhere else is bare
        let end = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
        let (_, tail) = rest.split_at_checked(end).ok_or(BARE)?;
        rest = match tail {
            [] => tail,
            [b'\r', b'\n', next @ ..] => next,
            _ => return Err(BARE),
        };
        if matches!(rest.first(), Some(b' ' | b'\t')) {
            return Err(bad("folded header line"));
        }
    }
    Ok(())
}

/// The headers that framing depends on, found in one pass.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a HeaderValue>,
    hosts: usize,
    coding: Option<&'a HeaderValue>,
    codings: usize,
    length: Option<&'a HeaderValue>,
    lengths: usize,
    expect: Option<&'a HeaderValue>,
}

impl<'a> Seen<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, BadHead> {
        let mut seen = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" => {
                    seen.host = seen.host.or(Some(value));
                    seen.hosts += 1;
                }
                "transfer-encoding" => {
                    seen.coding = seen.coding.or(Some(value));
                    seen.codings += 1;
                }
                "content-length" => {
                    seen.length = seen.length.or(Some(value));
                    seen.lengths += 1;
                }
                "expect" => seen.expect = seen.expect.or(Some(value)),
                "connection" => check_connection(value)?,
                _ => {}
            }
        }
        Ok(seen)
    }
}

fn check_framing(version: Version, seen: &Seen<'_>) -> Result<(), BadHead> {
    if seen.codings > 0 {
        let chunked = seen.coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if version == Version::HTTP_10 || seen.codings > 1 || !chunked {
            return Err(bad("the only transfer coding taken is one `chunked`, in HTTP/1.1"));
        }
        if seen.lengths > 0 {
            return Err(bad("both Content-Length and Transfer-Encoding"));
        }
    }
    if seen.lengths > 1 {
        return Err(bad("more than one Content-Length"));
    }
    if let Some(length) = seen.length
        && (length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(bad("Content-Length is not a number"));
    }
    if seen.expect.is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(BadHead { status: 417, reason: "unknown expectation" });
    }
    Ok(())
}

/// The library drops a Content-Length beside a Transfer-Encoding before we see it, so the raw head is asked.
pub(super) fn both_framings(raw: &[u8]) -> bool {
    let named = |name: &[u8]| {
        raw.split(|byte| *byte == b'\n').skip(1).any(|line| {
            line.split_at_checked(name.len())
                .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(name) && rest.first() == Some(&b':'))
        })
    };
    named(b"content-length") && named(b"transfer-encoding")
}

fn check_connection(value: &HeaderValue) -> Result<(), BadHead> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    for option in value.as_bytes().split(|byte| *byte == b',') {
        let option = option.trim_ascii();
        if option.is_empty() || !option.iter().all(token) {
            return Err(bad("Connection names something that is no header"));
        }
    }
    Ok(())
}

fn request_target(raw: &[u8]) -> Result<&str, BadHead> {
    const ODD: BadHead = bad("the request line is not `method target version`");
    const UNFIT: BadHead = bad("the request target holds a byte it cannot hold");
    let end = memchr::memchr(b'\r', raw).unwrap_or(raw.len());
    let line = raw.get(..end).unwrap_or_default();
    let mut spaces = memchr::memchr_iter(b' ', line);
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else { return Err(ODD) };
    let target = line.get(first + 1..second).ok_or(ODD)?;
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(UNFIT);
    }
    std::str::from_utf8(target).map_err(|_| UNFIT)
}

/// Absolute targets must name the host that `Host` names.
fn strip_authority<'a>(target: &'a str, host: &str) -> Result<&'a str, BadHead> {
    if target.starts_with('/') {
        return Ok(target);
    }
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    let rest = rest.ok_or(bad("the request target is neither a path nor an absolute URL"))?;
    let at = rest.find('/').ok_or(bad("the request target has no path"))?;
    let (authority, path) = rest.split_at_checked(at).ok_or(bad("the request target has no path"))?;
    if authority.eq_ignore_ascii_case(host) { Ok(path) } else { Err(bad("the request target names another host")) }
}

fn split<'a>(target: &'a str, host: &'a str) -> Result<Target<'a>, BadHead> {
    let bytes = target.as_bytes();
    if !target.starts_with('/') || memchr::memchr(b'#', bytes).is_some() {
        return Err(bad("the request target is not a path"));
    }
    let (path, query) = match memchr::memchr(b'?', bytes).and_then(|at| target.split_at_checked(at)) {
        Some((path, rest)) => (path, rest.strip_prefix('?')),
        None => (target, None),
    };
    Ok(Target { path, query, host })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn check(head: &str) -> Result<(String, Option<String>), BadHead> {
        let raw = head.replace('\n', "\r\n");
        let mut headers = HeaderMap::new();
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name = HeaderName::from_bytes(name.trim().as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        let version = if head.contains("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
        check_h1(raw.as_bytes(), version, &headers, 32_768)
            .map(|target| (target.path.to_owned(), target.query.map(str::to_owned)))
    }

    #[test]
    fn group_h_heads() {
        for (id, head, status) in [
            ("H01", "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", 400),
            ("H04", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: xchunked\n\n", 400),
            ("H04", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, identity\n\n", 400),
            ("H04", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", 400),
            ("H05", "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n", 400),
            ("H15", "GET / HTTP/1.1\n\n", 400),
            ("H15", "GET / HTTP/1.1\nHost: a\nHost: a\n\n", 400),
            ("H15", "GET / HTTP/1.1\nHost: \n\n", 400),
            ("P22", "GET http://other/v1/x HTTP/1.1\nHost: a\n\n", 400),
            ("P20", "GET /v1/x#y HTTP/1.1\nHost: a\n\n", 400),
            ("H17", "GET / HTTP/1.1\nHost: a\nConnection: \"X-Forwarded-For\"\n\n", 400),
            ("H17", "GET / HTTP/1.1\nHost: a\nConnection: :path\n\n", 400),
            ("M17", "POST / HTTP/1.1\nHost: a\nExpect: 200-ok\n\n", 417),
            ("M06", "CONNECT a:443 HTTP/1.1\nHost: a\n\n", 400),
            ("H02", "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1\n\n", 400),
            ("L01", "POST / HTTP/1.1\nHost: a\nContent-Length: +1\n\n", 400),
        ] {
            assert_eq!(check(head).err().map(|bad| bad.status), Some(status), "{id}: {head}");
        }
        assert!(check_lines(b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n").is_err(), "H07");
        assert!(check_lines(b"GET / HTTP/1.1\nHost: a\r\n\r\n").is_err(), "H10");
        let many: String = (0..65).map(|index| format!("X-{index}: a\n")).collect();
        assert_eq!(check(&format!("GET / HTTP/1.1\nHost: a\n{many}\n")).err().unwrap().status, 431, "H20");
        let (path, query) = check("GET http://a/v1/x?list=true HTTP/1.1\nHost: A\nConnection: close, X-Y\n\n").unwrap();
        assert_eq!((path.as_str(), query.as_deref()), ("/v1/x", Some("list=true")));
        assert!(both_framings(b"POST / HTTP/1.1\r\ncontent-length: 1\r\nTransfer-encoding: chunked\r\n\r\n"));
        assert!(!both_framings(b"POST / HTTP/1.1\r\nx-content-length: 1\r\nTransfer-encoding: chunked\r\n\r\n"));
    }

    /// What a request line is, part by part.
    fn plain_target(raw: &[u8]) -> Option<&str> {
        let line = raw.split(|byte| *byte == b'\r').next()?;
        let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [_, target, _] = parts[..] else { return None };
        let is_fit = target.iter().all(u8::is_ascii_graphic) && !target.contains(&b'#');
        is_fit.then(|| std::str::from_utf8(target).unwrap())
    }

    proptest! {
        #[test]
        fn request_lines_have_three_parts(
            raw in proptest::collection::vec(proptest::sample::select(&b"G/ /? a#\r\n\x00\xc3\xa9"[..]), 0..24),
        ) {
            prop_assert_eq!(request_target(&raw).ok(), plain_target(&raw));
        }

        #[test]
        fn targets_are_split_at_the_first_question_mark(target in "/?[/a?#%é]{0,16}") {
            let expected = (target.starts_with('/') && !target.contains('#')).then(|| match target.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (target.as_str(), None),
            });
            prop_assert_eq!(split(&target, "a").ok().map(|split| (split.path, split.query)), expected);
        }
    }
}
