//! Which requests are plain and whole, and the head of their answers: pure, on bytes that were read at once.
//!
//! This takes a request only if every reader takes it for the same one and the library would hand the wires exactly the
//! same of it. It refuses nothing: whatever it does not take is read, and refused where it must be, by the library.

use std::mem::MaybeUninit;

use ::http::header::{self, HeaderName};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use bytes::Bytes;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_http::ResponseHeader;

use super::gate::Caps;
use super::head::{self, Target};
use crate::wire;

/// As many as a head may have that is not refused.
const MAX_HEADERS: usize = 64;

/// What an answer says of its connection and its length is not the wire's to say.
static OURS: [HeaderName; 4] = [header::CONTENT_LENGTH, header::DATE, header::CONNECTION, header::TRANSFER_ENCODING];

/// A request of which nothing is left to be read, checked as every other one is.
pub(super) struct Whole<'r> {
    pub(super) method: Method,
    pub(super) target: Target<'r>,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r [u8],
}

/// The request that is all of `read`, if it is a plain one; `headers` is empty and becomes its headers.
pub(super) fn whole<'r>(read: &'r Bytes, caps: &Caps, headers: &'r mut HeaderMap) -> Option<Whole<'r>> {
    let (method, end) = framed(read, caps, headers)?;
    let (head, body) = read.split_at_checked(end)?;
    let headers: &'r HeaderMap = headers;
    let target = head::check_h1(head, Version::HTTP_11, headers, caps.header_bytes).ok()?;
    // an answer without an end is not written here
    (!wire::may_stream(target.path)).then_some(Whole { method, target, headers, body })
}

/// The method, and where the head ends, if what follows it is the whole body and nothing else.
fn framed(read: &Bytes, caps: &Caps, headers: &mut HeaderMap) -> Option<(Method, usize)> {
    // httparse skips empty lines before a request
    if !read.first().is_some_and(u8::is_ascii_uppercase) {
        return None;
    }
    let mut room: [MaybeUninit<httparse::Header<'_>>; MAX_HEADERS] = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(end)) = parsed.parse_with_uninit_headers(read, &mut room) else { return None };
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let is_odd = matches!(method, Method::HEAD | Method::CONNECT | Method::TRACE | Method::OPTIONS);
    if is_odd || parsed.version != Some(1) || end > caps.header_bytes || !is_plain_target(parsed.path?) {
        return None;
    }
    let mut length = None;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name.as_str() {
            "transfer-encoding" | "expect" | "upgrade" | "te" | "trailer" | "http2-settings" | "proxy-connection" => {
                return None;
            }
            "connection" if !field.value.eq_ignore_ascii_case(b"keep-alive") => return None,
            "content-length" if length.is_some() => return None,
            "content-length" => length = Some(number(field.value)?),
            // the library refuses user information by itself
            "host" if field.value.contains(&b'@') => return None,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(read.slice_ref(field.value)).ok()?;
        headers.try_append(name, value).ok()?;
    }
    let length = length.unwrap_or(0);
    (length <= caps.body_bytes && read.len().checked_sub(end) == Some(length)).then_some((method, end))
}

/// A path that begins one way for everybody, and holds nothing a parser of URLs stumbles over.
fn is_plain_target(target: &str) -> bool {
    target.starts_with('/') && !target.starts_with("//") && target.bytes().all(is_plain)
}

/// A letter, a digit or one of `/-._~%?&=+:@,;!$'()*`.
const fn is_plain(byte: u8) -> bool {
    // from `$` to `;` all of ASCII is among them
    matches!(byte, b'a'..=b'z' | b'$'..=b';' | b'?'..=b'Z' | b'_' | b'=' | b'~' | b'!')
}

fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// Appends the head of an answer as the library writes it; without a length it has no body.
pub(super) fn write_head(
    page: &mut Vec<u8>,
    status: StatusCode,
    mut headers: HeaderMap,
    length: Option<usize>,
    closes: bool,
) {
    if headers.keys().any(|name| OURS.contains(name)) {
        for name in &OURS {
            headers.remove(name);
        }
    }
    let (mut parts, ()) = ::http::Response::new(()).into_parts();
    (parts.status, parts.headers) = (status, headers);
    let head = ResponseHeader::from(parts);
    page.extend_from_slice(b"HTTP/1.1 ");
    page.extend_from_slice(status.as_str().as_bytes());
    page.push(b' ');
    page.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    page.extend_from_slice(b"\r\n");
    head.header_to_h1_wire(page);
    if let Some(length) = length {
        page.extend_from_slice(b"Content-Length: ");
        page.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        page.extend_from_slice(b"\r\n");
    }
    page.extend_from_slice(b"Date: ");
    page.extend_from_slice(get_cached_date().as_bytes());
    let connection: &[u8] =
        if closes { b"\r\nConnection: close\r\n\r\n" } else { b"\r\nConnection: keep-alive\r\n\r\n" };
    page.extend_from_slice(connection);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const CAPS: Caps = Caps {
        connections: 1,
        requests_per_connection: 10,
        header_bytes: 1024,
        header_timeout: Duration::from_secs(2),
        body_bytes: 16,
        body_timeout: Duration::from_secs(2),
        h2_streams: 1,
        h2_header_list_bytes: 4096,
        h2_resets: 1,
    };

    /// Method, path, body of what is taken.
    fn take(read: &str) -> Option<(String, String, String)> {
        let read = Bytes::copy_from_slice(read.as_bytes());
        let mut headers = HeaderMap::new();
        let whole = whole(&read, &CAPS, &mut headers)?;
        assert_eq!(whole.target.host, "a");
        let body = String::from_utf8(whole.body.to_vec()).unwrap();
        Some((whole.method.to_string(), whole.target.path.to_owned(), body))
    }

    fn taken(method: &str, path: &str, body: &str) -> Option<(String, String, String)> {
        Some((method.to_owned(), path.to_owned(), body.to_owned()))
    }

    #[test]
    fn plain_bytes_are_those_that_are_listed() {
        for byte in 0..=u8::MAX {
            let is_listed = byte.is_ascii_alphanumeric() || b"/-._~%?&=+:@,;!$'()*".contains(&byte);
            assert_eq!(is_plain(byte), is_listed, "{byte:#x}");
        }
    }

    #[test]
    fn plain_whole_requests_are_taken() {
        let get = "GET /v1/s/x?version=2 HTTP/1.1\r\nHost: a\r\nX-Vault-Token: t\r\n";
        assert_eq!(take(&format!("{get}\r\n")), taken("GET", "/v1/s/x", ""));
        assert_eq!(take(&format!("{get}Connection: Keep-Alive\r\n\r\n")), taken("GET", "/v1/s/x", ""));
        assert_eq!(take(&format!("{get}Content-Length: 0\r\n\r\n")), taken("GET", "/v1/s/x", ""));
        assert_eq!(take("LIST /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n"), taken("LIST", "/v1/s/x", ""));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(take(post), taken("POST", "/", "hello"));
        let full = "PUT /v1/s/x HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
        assert_eq!(take(full), taken("PUT", "/v1/s/x", "0123456789abcdef"));
    }

    #[test]
    fn whatever_is_not_plainly_whole_is_the_librarys() {
        for head in [
            "GET /v1/s/x HTTP/1.1\r\nHost: a\r\n",
            "GET /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\nGET",
            "GET /v1/s/x HTTP/1.0\r\nHost: a\r\n\r\n",
            "\r\nGET /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "\nGET /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "get /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET //v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/s/x<y> HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/s/\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/s/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  /v1/s/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\r\nHost: b@a\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\nHost: a\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET /v1/s/x HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/%65vents HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(take(head), None, "{head:?}");
        }
        assert_eq!(take(""), None);
    }

    #[test]
    fn headers_that_change_framing_or_the_connection_are_the_librarys() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n";
        for header in [
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Expect: 100-continue",
            "Upgrade: websocket",
            "TE: trailers",
            "Trailer: x",
            "HTTP2-Settings: AAMAAABk",
            "Proxy-Connection: keep-alive",
            "Connection: close",
            "Connection: keep-alive, x",
            "Connection:",
            "Connection: keep-alive\r\nConnection: close",
            "Content-Length: 1",
        ] {
            assert_eq!(take(&format!("{get}{header}\r\n\r\n")), None, "{header}");
        }
        assert!(take(&format!("{get}X-A: b\r\n\r\n")).is_some());
        for header in [
            "Content-Length: 4",
            "Content-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length:",
            "Content-Length: 99999999999999999999999",
            "X-A: b",
        ] {
            assert_eq!(take(&format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\nhello")), None, "{header}");
        }
        let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n0123456789abcdefg";
        assert_eq!(take(large), None, "a body over the cap");
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "x".repeat(CAPS.header_bytes));
        assert_eq!(take(&long), None, "a head over the cap");
        let many: String = (0..MAX_HEADERS).map(|index| format!("X-{index}:\r\n")).collect();
        assert_eq!(take(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), None, "a header over the cap");
    }

    fn head(status: StatusCode, headers: HeaderMap, length: Option<usize>, closes: bool) -> String {
        let mut page = Vec::new();
        write_head(&mut page, status, headers, length, closes);
        let head = String::from_utf8(page).unwrap();
        let at = head.find("Date: ").unwrap();
        let (before, rest) = head.split_at(at);
        let (date, after) = rest.split_once("\r\n").unwrap();
        assert!(date.ends_with(" GMT") && date.len() == "Date: Tue, 24 Nov 2026 00:00:00 GMT".len(), "{date}");
        format!("{before}Date\r\n{after}")
    }

    #[test]
    fn heads_of_answers_are_the_librarys() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-request-id", HeaderValue::from_static("1"));
        headers.append("x-request-id", HeaderValue::from_static("2"));
        assert_eq!(
            head(StatusCode::OK, headers.clone(), Some(12), false),
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nx-request-id: 1\r\nx-request-id: 2\r\nContent-Length: 12\r\n\
             Date\r\nConnection: keep-alive\r\n\r\n"
        );
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.remove("x-request-id");
        assert_eq!(
            head(StatusCode::NO_CONTENT, headers, None, true),
            "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\nDate\r\nConnection: close\r\n\r\n"
        );
        let unnamed = head(StatusCode::from_u16(599).unwrap(), HeaderMap::new(), Some(0), true);
        assert_eq!(unnamed, "HTTP/1.1 599 \r\nContent-Length: 0\r\nDate\r\nConnection: close\r\n\r\n");
    }

    proptest! {
        #[test]
        fn the_headers_are_what_the_lines_say(
            fields in proptest::collection::vec(("x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8),
            pad in "[ \t]{0,2}",
        ) {
            let mut text = "GET /v1/s/x HTTP/1.1\r\nHost: a\r\n".to_owned();
            let mut expected = HeaderMap::new();
            expected.insert(header::HOST, HeaderValue::from_static("a"));
            for (name, value) in &fields {
                text.push_str(&format!("{name}:{pad}{value}{pad}\r\n"));
                expected.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            text.push_str("\r\n");
            let read = Bytes::from(text);
            let mut headers = HeaderMap::new();
            prop_assert!(whole(&read, &CAPS, &mut headers).is_some());
            prop_assert_eq!(headers, expected);
        }
    }
}
