//! How a connection is made: by address or by the system's resolver, through a forward proxy where there is one, with TLS
//! where the scheme says so, all within one deadline.
//!
//! INVARIANT: where a client may not connect to every address, names are resolved here, and the addresses that were looked
//! at are the ones that are connected to: nothing is resolved a second time.

use std::error::Error;
use std::fmt;
use std::future::{Ready, poll_fn, ready};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tower_service::Service;

use super::tunnel;

/// A connection nobody uses is probed after so long, and given up after so many probes without an answer.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_AGAIN: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
/// What was sent has to be acknowledged within this time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type Admits = dyn Fn(&str, SocketAddr) -> bool + Send + Sync;

/// Where a client may connect to.
#[derive(Clone, Default)]
pub struct Reach(Option<Arc<Admits>>);

/// A name stands for an address that [`Reach`] does not admit.
#[derive(Debug, thiserror::Error)]
#[error("it stands for an address where it may not be reached")]
pub(super) struct OutOfReach;

/// Makes connections. The pool copies it for every request, so it is one pointer.
#[derive(Clone)]
pub(super) struct Connector(Arc<Means>);

struct Means {
    inner: HttpsConnector<Way>,
    limit: Duration,
}

/// Makes the connection below the backend's TLS: straight, or through a forward proxy. Only what is sealed with TLS goes
/// through one: plain text is for this machine and its link.
#[derive(Clone)]
struct Way {
    straight: Tcp,
    proxy: Option<Proxy>,
}

/// A forward proxy, and how it is spoken to.
#[derive(Clone)]
struct Proxy {
    at: Uri,
    line: HttpsConnector<Tcp>,
}

/// TLS of the backend's is inside of one of the proxy's, where that has any.
type Carried = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes the connection below all TLS.
#[derive(Clone)]
struct Tcp {
    system: HttpConnector,
    reach: Reach,
    limit: Duration,
}

/// The addresses of the one host there is.
#[derive(Clone)]
struct Found(Vec<SocketAddr>);

/// A connection that says of itself only which protocol it speaks. Whatever else it said would be copied into every
/// answer.
pub(super) struct Line(MaybeHttpsStream<Carried>);

impl Reach {
    /// Every address.
    #[must_use]
    pub const fn anywhere() -> Self {
        Self(None)
    }

    /// Only where `admits` says yes to a host, as it stands in the URL but for the brackets of an IPv6 address, and every
    /// address it stands for at that moment. It is asked before each connection. Where that is one to a forward proxy it is
    /// asked about the proxy: what names stand for behind it is the proxy's to find out.
    #[must_use]
    pub fn checked(admits: impl Fn(&str, SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(admits)))
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reach(checked)" } else { "Reach(anywhere)" })
    }
}

impl Connector {
    /// `proxy` is where a forward proxy is, and how TLS is spoken with the proxy itself.
    pub(super) fn new(tls: ClientConfig, limit: Duration, reach: Reach, proxy: Option<(Uri, ClientConfig)>) -> Self {
        let straight = Tcp { system: prepared(HttpConnector::new(), limit), reach, limit };
        let proxy = proxy.map(|(at, tls)| Proxy { at, line: HttpsConnector::from((straight.clone(), tls)) });
        Self(Arc::new(Means { inner: HttpsConnector::from((Way { straight, proxy }, tls)), limit }))
    }
}

fn prepared<R>(mut tcp: HttpConnector<R>, limit: Duration) -> HttpConnector<R> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(limit));
    tcp.set_keepalive(Some(PROBE_AFTER));
    tcp.set_keepalive_interval(Some(PROBE_AGAIN));
    tcp.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = BoxError;
    type Future = Connecting<Line>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Connecting<Line> {
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

impl Service<Uri> for Way {
    type Response = Carried;
    type Error = BoxError;
    type Future = Connecting<Carried>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match &mut self.proxy {
            Some(proxy) if to.scheme() == Some(&Scheme::HTTPS) => {
                let connecting = proxy.line.call(proxy.at.clone());
                Box::pin(async move { tunnel::open(connecting.await?, &to).await })
            }
            _ => {
                let connecting = self.straight.call(to);
                Box::pin(async move { connecting.await.map(MaybeHttpsStream::Http) })
            }
        }
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Reach(Some(admits)) = self.reach.clone() else {
            let connecting = self.system.call(to);
            return Box::pin(async move { connecting.await.map_err(BoxError::from) });
        };
        let limit = self.limit;
        Box::pin(async move {
            let found = Found(looked_up(&to, &*admits).await?);
            let connecting = prepared(HttpConnector::new_with_resolver(found), limit).call(to);
            connecting.await.map_err(BoxError::from)
        })
    }
}

/// The addresses a host stands for now, if all of them are admitted: a name that stands for others too is a trick.
async fn looked_up(to: &Uri, admits: &Admits) -> Result<Vec<SocketAddr>, BoxError> {
    let host = to.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let port = to.port_u16().unwrap_or(if to.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
    let found: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    if found.iter().all(|address| admits(host, *address)) { Ok(found) } else { Err(OutOfReach.into()) }
}

impl Service<Name> for Found {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
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
