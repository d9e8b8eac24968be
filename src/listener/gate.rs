//! A connection's bytes while a request head is being read: counted, and given a total deadline that starts with the first
//! byte. The HTTP library only has a deadline for each read.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a connection, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Connections at once.
    pub connections: usize,
    /// Requests on one connection.
    pub requests_per_connection: u32,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// HTTP/2 streams at once on one connection.
    pub h2_streams: u32,
    /// Bytes of a decoded HTTP/2 header list.
    pub h2_header_list_bytes: u32,
    /// HTTP/2 streams a peer may reset before its connection ends.
    pub h2_resets: usize,
}

const PREFACE_BYTES: usize = 24;
const IDLE: u8 = 0;
const HEAD: u8 = 1;
const OPEN: u8 = 2;
const TOO_LARGE: u8 = 3;
const TOO_SLOW: u8 = 4;

/// Why a head was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    TooLarge,
    TooSlow,
}

/// Where a connection stands; shared between its stream and whoever handles its requests.
#[derive(Debug, Default)]
pub(super) struct Gate {
    phase: AtomicU8,
    seen: AtomicUsize,
}

impl Gate {
    /// The head is complete (or this is HTTP/2, whose heads the protocol itself bounds): nothing is counted until
    /// [`Self::next`].
    pub(super) fn open(&self) {
        self.phase.store(OPEN, Ordering::Relaxed);
    }

    /// A new head may begin.
    pub(super) fn next(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.phase.store(IDLE, Ordering::Relaxed);
    }

    /// Whether nothing of a next request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == IDLE
    }

    /// How many bytes of the head were read.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Why reading ended, if the gate ended it.
    pub(super) fn cut(&self) -> Option<Cut> {
        match self.phase.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Cut::TooLarge),
            TOO_SLOW => Some(Cut::TooSlow),
            _ => None,
        }
    }
}

/// The stream a connection's requests are read from.
pub(super) struct GatedStream {
    inner: Stream,
    gate: Arc<Gate>,
    limit: usize,
    preface: bool,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl GatedStream {
    /// With `preface` the peer speaks HTTP/2: its opening bytes have the deadline of a head, from now on; after them the
    /// protocol bounds itself.
    pub(super) fn new(inner: Stream, gate: Arc<Gate>, caps: &Caps, preface: bool) -> Self {
        // the library reads ahead into the body; the exact size of a head is checked once it is parsed
        let limit = caps.header_bytes + 64 * 1024;
        if preface {
            gate.phase.store(HEAD, Ordering::Relaxed);
        }
        Self { inner, gate, limit, preface, timeout: caps.header_timeout, timer: None }
    }

    fn too_slow(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        self.gate.phase.store(TOO_SLOW, Ordering::Relaxed);
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "request head too slow"))
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.gate.phase.load(Ordering::Relaxed);
        if phase == OPEN {
            this.timer = None;
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        if phase > OPEN {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request head refused")));
        }
        if phase == IDLE {
            // a head that begins now has its whole time
            this.timer = None;
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Pending if phase == HEAD => this.too_slow(cx).map(Err),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let read = buf.filled().len() - before;
                let seen = this.gate.seen.load(Ordering::Relaxed) + read;
                this.gate.seen.store(seen, Ordering::Relaxed);
                if read > 0 {
                    this.gate.phase.store(HEAD, Ordering::Relaxed);
                }
                if this.preface && seen >= PREFACE_BYTES {
                    this.gate.open();
                    return Poll::Ready(Ok(()));
                }
                if seen > this.limit {
                    this.gate.phase.store(TOO_LARGE, Ordering::Relaxed);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request head too large")));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for GatedStream {
    async fn shutdown(&mut self) {
        inner_mut(&mut self.inner).shutdown().await;
    }
}

/// The object inside the box: the box itself implements some of the same traits.
fn inner(stream: &Stream) -> &dyn IO {
    stream.as_ref()
}

fn inner_mut(stream: &mut Stream) -> &mut dyn IO {
    stream.as_mut()
}

impl UniqueID for GatedStream {
    fn id(&self) -> UniqueIDType {
        inner(&self.inner).id()
    }
}

impl Ssl for GatedStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        inner(&self.inner).get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        inner(&self.inner).selected_alpn_proto()
    }
}

impl GetTimingDigest for GatedStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // nobody here asks how long a handshake took, and the answer is built anew for every request
        Vec::new()
    }
}

impl GetProxyDigest for GatedStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        inner(&self.inner).get_proxy_digest()
    }
}

impl GetSocketDigest for GatedStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        inner(&self.inner).get_socket_digest()
    }
}

#[async_trait]
impl Peek for GatedStream {
    /// What speaks here was found out before, under a deadline; the library must not wait for it again.
    async fn try_peek(&mut self, _buf: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }
}

impl fmt::Debug for GatedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatedStream")
    }
}

/// INVARIANT: the library moves streams as `Any`; nothing here downcasts.
const _: fn(Box<GatedStream>) -> Box<dyn Any> = |stream| stream.into_any();
