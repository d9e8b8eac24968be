//! How a connection is made: by address or by the system's resolver, with TLS where the scheme says so, all within one
//! deadline.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

/// A connection nobody uses is probed after so long, and given up after so many probes without an answer.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_AGAIN: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
/// What was sent has to be acknowledged within this time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<Line, BoxError>> + Send>>;

/// Makes connections. The pool copies it for every request, so it is one pointer.
#[derive(Clone)]
pub(super) struct Connector(Arc<Means>);

struct Means {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

/// A connection that says of itself only which protocol it speaks. Whatever else it said would be copied into every
/// answer.
pub(super) struct Line(MaybeHttpsStream<TokioIo<TcpStream>>);

impl Connector {
    pub(super) fn new(tls: ClientConfig, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_AGAIN));
        tcp.set_keepalive_retries(Some(PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self(Arc::new(Means { inner: HttpsConnector::from((tcp, tls)), limit }))
    }
}

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Connecting {
        let (mut inner, limit) = (self.0.inner.clone(), self.0.limit);
        let made = async move {
            poll_fn(|context| inner.poll_ready(context)).await?;
            inner.call(to).await
        };
        Box::pin(async move {
            match tokio::time::timeout(limit, made).await {
                Ok(made) => made.map(Line),
                Err(_) => Err(BoxError::from(io::Error::from(io::ErrorKind::TimedOut))),
            }
        })
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let bare = Connected::new();
        if self.0.connected().is_negotiated_h2() { bare.negotiated_h2() } else { bare }
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }
}
