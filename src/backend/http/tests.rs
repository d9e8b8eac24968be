use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::backend::client_config;

async fn write(url: &str) -> Result<Answer, BackendError> {
    let tls = client_config(None, None, false).unwrap();
    let client = HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(5) }).unwrap();
    let url = Url::parse(url).unwrap();
    let body = Some(Bytes::from_static(b"{}"));
    let request = UpstreamRequest { method: Method::POST, url: &url, headers: HeaderMap::new(), body };
    let result = client.send_once(request).await;
    assert_eq!(client.calls(), 1);
    result
}

/// Sends a write to a server that reads a little, answers so and closes.
async fn written_to(scheme: &str, answer: &'static [u8]) -> Result<Answer, BackendError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/x", listener.local_addr().unwrap());
    let server = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(seen > 0);
        stream.write_all(answer).await.unwrap();
    };
    let ((), result) = tokio::join!(server, write(&url));
    result
}

#[tokio::test]
async fn w04_a_write_that_may_have_got_through_is_in_doubt() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nconte",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}",
    ] {
        let error = written_to("http", answer).await.unwrap_err();
        assert!(matches!(error, BackendError::Unknown(_)), "{error:?} {}", String::from_utf8_lossy(answer));
    }
    let answered = written_to("http", b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    assert_eq!((answered.status.as_u16(), &*answered.body), (500, &b"{}"[..]));
}

#[tokio::test]
async fn a_write_that_surely_did_nothing_is_not_in_doubt() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let redirect = b"HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    for (what, result) in [
        ("refused", write(&format!("http://{closed}/x")).await),
        ("no TLS there", written_to("https", b"HTTP/1.1 400 Plain\r\n\r\n").await),
    ] {
        assert!(matches!(result, Err(BackendError::Unavailable(_))), "{what}: {result:?}");
    }
    let redirected = written_to("http", redirect).await;
    assert!(matches!(redirected, Err(BackendError::Unusable(_))), "{redirected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_is_a_connection_that_was_not_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let result = write(&format!("https://{}/x", listener.local_addr().unwrap())).await;
    assert!(matches!(result, Err(BackendError::Timeout)), "{result:?}");
}

#[tokio::test]
async fn where_nothing_can_be_sent_nothing_was() {
    for url in ["ftp://127.0.0.1/x", "data:text/plain,x", "unix:/run/x"] {
        let result = write(url).await;
        assert!(matches!(result, Err(BackendError::Unavailable(_))), "{url}: {result:?}");
    }
    assert!(Uri::from_static("/v1/x").uri().is_none());
    assert!(Uri::from_static("host.example:1").uri().is_none());
    let whole = Uri::from_static("http://host.example:1/v1/x?y");
    assert_eq!(whole.uri(), Some(whole));
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let told = [&b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"[..], b"def", b"ghi"];
    let chunked = [
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n"[..],
        b"3\r\nghi\r\n0\r\n",
        b"trailer: x\r\n\r\n",
    ];
    let to_the_end = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"abcdef", b"ghi"];
    for pieces in [told, chunked, to_the_end] {
        let answered = in_pieces(&pieces).await.unwrap();
        assert_eq!((answered.status.as_u16(), &*answered.body), (200, &b"abcdefghi"[..]));
    }
    assert!(in_pieces(&[b"HTTP/1.1 204 No\r\n\r\n"]).await.unwrap().body.is_empty());
    assert!(in_pieces(&[b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await.unwrap().body.is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_say_how_long_it_is_ends_at_the_limit_too() {
    let endless = vec![b'x'; MAX_ANSWER + 1];
    let result = in_pieces(&[b"HTTP/1.1 200 OK\r\n\r\n", &endless]).await;
    assert!(matches!(result, Err(BackendError::Unknown("a body larger than 4 MiB"))), "{result:?}");
}

/// Sends a write to a server that answers piece by piece and closes.
async fn in_pieces(pieces: &[&[u8]]) -> Result<Answer, BackendError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let server = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        for piece in pieces {
            // the client may have heard enough
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), result) = tokio::join!(server, write(&url));
    result
}

#[tokio::test]
async fn a_request_says_who_asks_and_for_what_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url: Uri = format!("http://{address}/v1/a%2Fb?x=%20").parse().unwrap();
    let server = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4096];
        let length = stream.read(&mut seen).await.unwrap();
        seen.truncate(length);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let tls = client_config(None, None, false).unwrap();
    let client = HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(5) }).unwrap();
    let request = UpstreamRequest { method: Method::GET, url: &url, headers: HeaderMap::new(), body: None };
    let (seen, answered) = tokio::join!(server, client.send(request));
    assert_eq!(answered.unwrap().status, StatusCode::OK);
    let mut lines: Vec<&str> = seen.trim_end().split("\r\n").collect();
    lines.sort_unstable();
    let agent = concat!("user-agent: scaivault-proxy/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {address}");
    let expected = ["GET /v1/a%2Fb?x=%20 HTTP/1.1", "accept-encoding: identity", "accept: */*", host.as_str(), agent];
    assert_eq!(lines, expected);
}

/// Sends a write to a listener of this machine under the name `localhost`, within a reach that asks `admits`.
async fn write_within(
    admits: impl Fn(&str, std::net::SocketAddr) -> bool + Send + Sync + 'static,
) -> (Result<Answer, BackendError>, bool) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = Url::parse(&format!("http://localhost:{}/x", listener.local_addr().unwrap().port())).unwrap();
    let tls = client_config(None, None, false).unwrap();
    let settings = HttpSettings { tls, connect_timeout: Duration::from_secs(5) };
    let client = HttpClient::within(settings, Reach::checked(admits)).unwrap();
    let request = UpstreamRequest { method: Method::POST, url: &url, headers: HeaderMap::new(), body: None };
    let listener = TcpListener::from_std(listener).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let mut is_asked = false;
    let result = tokio::select! {
        biased;
        result = client.send_once(request) => result,
        result = async { server.await; is_asked = true; std::future::pending().await } => result,
    };
    (result, is_asked)
}

#[tokio::test]
async fn x02_a_name_is_judged_by_what_it_stands_for_when_it_is_connected_to() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let asked = seen.clone();
    let (result, is_asked) = write_within(move |host, to| {
        asked.lock().unwrap().push((host.to_owned(), to));
        !to.ip().is_loopback()
    })
    .await;
    // not sent, and not in doubt
    assert!(
        matches!(&result, Err(BackendError::Unavailable(text)) if text.contains("may not be reached")),
        "{result:?}"
    );
    assert!(!is_asked, "the address was connected to");
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|(host, to)| host == "localhost" && to.port() != 0), "{seen:?}");
}

#[tokio::test]
async fn what_is_admitted_is_connected_to() {
    let (result, is_asked) = write_within(|_, to| to.ip().is_loopback()).await;
    assert_eq!(result.unwrap().status, StatusCode::OK);
    assert!(is_asked);
}

/// Sends a write through a forward proxy.
async fn write_through(proxy: &TcpListener, url: &str, reach: Reach) -> Result<Answer, BackendError> {
    let tls = || client_config(None, None, false).unwrap();
    let at = Url::parse(&format!("http://{}", proxy.local_addr().unwrap())).unwrap();
    let settings = HttpSettings { tls: tls(), connect_timeout: Duration::from_secs(5) };
    let client = HttpClient::through(settings, reach, Some(ForwardProxy { url: at, tls: tls() })).unwrap();
    let url = Url::parse(url).unwrap();
    let request = UpstreamRequest { method: Method::POST, url: &url, headers: HeaderMap::new(), body: None };
    client.send_once(request).await
}

#[tokio::test]
async fn a_forward_proxy_that_does_not_agree_carried_nothing() {
    let cases: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n", "asks for a credential"),
        (b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "did not make the connection"),
        (b"", "did not make the connection"),
    ];
    for (answer, words) in cases {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = async {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let length = stream.read(&mut seen).await.unwrap();
            seen.truncate(length);
            stream.write_all(answer).await.unwrap();
            String::from_utf8(seen).unwrap()
        };
        let sent = write_through(&proxy, "https://backend.example/secret-name", Reach::anywhere());
        let (seen, result) = tokio::join!(server, sent);
        assert_eq!(seen, "CONNECT backend.example:443 HTTP/1.1\r\nHost: backend.example:443\r\n\r\n");
        // not sent, and not in doubt
        assert!(matches!(&result, Err(BackendError::Unavailable(text)) if text.contains(words)), "{result:?}");
    }
}

#[tokio::test]
async fn what_is_not_sealed_goes_to_no_forward_proxy() {
    let (proxy, here) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}/x", here.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = here.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let ((), result) = tokio::join!(server, write_through(&proxy, &url, Reach::anywhere()));
    assert_eq!(result.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn x02_where_there_is_a_forward_proxy_its_address_is_judged() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = proxy.local_addr().unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let asked = seen.clone();
    let reach = Reach::checked(move |host, to| {
        asked.lock().unwrap().push((host.to_owned(), to));
        false
    });
    let result = write_through(&proxy, "https://backend.example/x", reach).await;
    assert!(
        matches!(&result, Err(BackendError::Unavailable(text)) if text.contains("may not be reached")),
        "{result:?}"
    );
    assert_eq!(*seen.lock().unwrap(), [("127.0.0.1".to_owned(), own)]);
}

#[tokio::test]
async fn x02_an_address_in_the_url_is_judged_too() {
    let tls = client_config(None, None, false).unwrap();
    let settings = HttpSettings { tls, connect_timeout: Duration::from_secs(5) };
    let client =
        HttpClient::within(settings, Reach::checked(|host, to| host != "::1" && !to.ip().is_loopback())).unwrap();
    for url in ["http://127.0.0.1:1/x", "https://127.0.0.1:1/x", "http://[::1]:1/x"] {
        let url = Url::parse(url).unwrap();
        let request = UpstreamRequest { method: Method::GET, url: &url, headers: HeaderMap::new(), body: None };
        let result = client.send(request).await;
        assert!(
            matches!(&result, Err(BackendError::Unavailable(text)) if text.contains("may not")),
            "{url}: {result:?}"
        );
    }
}
