//! A way through a forward proxy: it is told where to connect to, and from its yes on it carries bytes it does not see into.
//!
//! INVARIANT: nothing of a request, a name apart, is said before the proxy agreed; a proxy that does not agree has carried
//! nothing.

use std::error::Error;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Where TLS is if the URI names no port.
const TLS_PORT: u16 = 443;
/// Of an answer's head.
const MAX_HEAD: usize = 8 * 1024;

/// The proxy did not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTunnel {
    /// It wants to know who asks.
    #[error("the forward proxy asks for a credential")]
    Credential,
    /// Any other answer, or none.
    #[error("the forward proxy did not make the connection")]
    Refused,
}

/// Asks the proxy at the other end of `line` for a connection to where `to` points.
pub(super) async fn open<S>(line: S, to: &Uri) -> Result<S, Box<dyn Error + Send + Sync>>
where
    S: Read + Write + Unpin,
{
    let host = to.host().ok_or(NoTunnel::Refused)?;
    let port = to.port_u16().unwrap_or(TLS_PORT);
    let mut line = TokioIo::new(line);
    let asked = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    line.write_all(asked.as_bytes()).await?;
    line.flush().await?;
    let mut head = Vec::with_capacity(256);
    // byte by byte: what comes after the head is not the proxy's any more
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(NoTunnel::Refused.into());
        }
        head.push(line.read_u8().await.map_err(|_| NoTunnel::Refused)?);
    }
    match status(&head) {
        Some(200..=299) => Ok(line.into_inner()),
        Some(407) => Err(NoTunnel::Credential.into()),
        _ => Err(NoTunnel::Refused.into()),
    }
}

/// The status of an answer of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?;
    (version.starts_with("HTTP/1.") && code.len() == 3).then(|| code.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_http_has_a_status() {
        for (head, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            ("HTTP/1.0 200\r\n\r\n", Some(200)),
            ("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", Some(407)),
            ("HTTP/1.1 2000 OK\r\n\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("SSH-2.0-x 200 y\r\n\r\n", None),
            ("200 OK\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), expected, "{head:?}");
        }
    }

    /// What a proxy is asked for `to`, and what became of it after this answer.
    async fn asked(to: &'static str, answer: &'static [u8]) -> (String, Result<String, NoTunnel>) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let proxy = async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let client = async move {
            let line = open(TokioIo::new(ours), &Uri::from_static(to)).await;
            let line = line.map_err(|error| *error.downcast::<NoTunnel>().unwrap())?;
            let mut rest = String::new();
            line.into_inner().read_to_string(&mut rest).await.unwrap();
            Ok::<_, NoTunnel>(rest)
        };
        tokio::join!(proxy, client)
    }

    #[tokio::test]
    async fn a_proxy_is_told_the_place_and_what_follows_its_head_is_left_alone() {
        for (to, place) in [
            ("https://sts.eu-west-1.amazonaws.com/x?y", "sts.eu-west-1.amazonaws.com:443"),
            ("https://vault.internal:8200", "vault.internal:8200"),
            ("https://[2001:db8::1]:8200/", "[2001:db8::1]:8200"),
        ] {
            let (head, rest) = asked(to, b"HTTP/1.1 200 Yes\r\nVia: x\r\n\r\nbytes of the other end").await;
            assert_eq!(head, format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"));
            assert_eq!(rest.as_deref(), Ok("bytes of the other end"));
        }
    }

    #[tokio::test]
    async fn anything_but_a_yes_is_no_way_through() {
        let endless: &'static [u8] = Box::leak(vec![b'x'; MAX_HEAD + 1].into_boxed_slice());
        let cases: [(&'static [u8], NoTunnel); 6] = [
            (b"HTTP/1.1 407 Who\r\n\r\n", NoTunnel::Credential),
            (b"HTTP/1.1 403 No\r\n\r\n", NoTunnel::Refused),
            (b"HTTP/1.1 302 Elsewhere\r\nLocation: https://x/\r\n\r\n", NoTunnel::Refused),
            (b"HTTP/1.1 200 cut o", NoTunnel::Refused),
            (b"", NoTunnel::Refused),
            (endless, NoTunnel::Refused),
        ];
        for (answer, expected) in cases {
            let (_, result) = asked("https://vault.internal:8200", answer).await;
            assert_eq!(result, Err(expected), "{:?}", String::from_utf8_lossy(answer.get(..40).unwrap_or(answer)));
        }
    }
}
