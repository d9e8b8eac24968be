//! A connection's bytes while a request head is being read: counted, and given a total deadline that starts with the first
//! byte. The HTTP library only has a deadline for each read. Chunked bodies are followed as they arrive.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::chunks::Chunks;

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
const CHUNKED: u8 = 5;
const LOOSE: u8 = 6;

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
    /// Whether something of the request was kept.
    keeps: AtomicBool,
    body: Mutex<Body>,
}

/// What may be the beginning of a chunked body, and how far one was followed.
#[derive(Default)]
struct Body {
    kept: Vec<u8>,
    chunks: Chunks,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
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

    /// Keeps what was read with a head: the beginning of the body may be in it, and the library does not show it as it
    /// came. A GET or HEAD has none that anybody would look at.
    fn keep(&self, read: &[u8], is_first: bool) {
        let is_bodiless = is_first && (read.starts_with(b"GET ") || read.starts_with(b"HEAD "));
        if is_bodiless || !(is_first || self.keeps.load(Ordering::Relaxed)) {
            return;
        }
        self.keeps.store(true, Ordering::Relaxed);
        self.body().kept.extend_from_slice(read);
    }

    /// The request has no chunked body: what was kept is let go.
    pub(super) fn forget(&self) {
        if self.keeps.swap(false, Ordering::Relaxed) {
            *self.body() = Body::default();
        }
    }

    /// The head that was read announces a chunked body: it is followed from its first byte on. False if what came with
    /// the head is already wrong, or was not kept.
    pub(super) fn expect_chunks(&self) -> bool {
        if !self.keeps.swap(false, Ordering::Relaxed) {
            return false;
        }
        let mut body = self.body();
        let kept = std::mem::take(&mut *body).kept;
        // an earlier body of the connection was followed to its end: this one begins anew
        let mut chunks = Chunks::default();
        let Some(end) = memchr::memmem::find(&kept, b"\r\n\r\n") else { return false };
        let is_fine = chunks.follow(kept.get(end + 4..).unwrap_or_default());
        body.chunks = chunks;
        self.phase.store(if is_fine { CHUNKED } else { LOOSE }, Ordering::Relaxed);
        is_fine
    }

    /// Follows what was read of a chunked body.
    fn follow(&self, read: &[u8]) -> io::Result<()> {
        if self.body().chunks.follow(read) {
            return Ok(());
        }
        self.phase.store(LOOSE, Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::InvalidData, "request body refused"))
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Read before, and counted then.
    replay: Bytes,
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
        Self { inner, gate, limit, preface, timeout: caps.header_timeout, timer: None, replay: Bytes::new() }
    }

    /// What was read from this stream is to be read from it again, as part of the same request. What is left of it when
    /// the next one may begin is that one's, and counted as its own.
    pub(super) fn replay(&mut self, read: Bytes) {
        self.replay = read;
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.replay.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let piece = self.replay.split_to(self.replay.len().min(buf.remaining()));
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
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
        let is_refused = matches!(phase, TOO_LARGE | TOO_SLOW | LOOSE);
        if !this.replay.is_empty() && phase != IDLE && !is_refused {
            return this.poll_inner(cx, buf);
        }
        if phase == OPEN {
            this.timer = None;
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        if phase == CHUNKED {
            this.timer = None;
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let followed = this.gate.follow(buf.filled().get(before..).unwrap_or_default());
            if followed.is_err() {
                // what a reader refuses it has not read
                buf.set_filled(before);
            }
            return Poll::Ready(followed);
        }
        if is_refused {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request head refused")));
        }
        if phase == IDLE {
            // a head that begins now has its whole time
            this.timer = None;
        }
        match this.poll_inner(cx, buf) {
            Poll::Pending if phase == HEAD => this.too_slow(cx).map(Err),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let read = buf.filled().get(before..).unwrap_or_default();
                let seen_before = this.gate.seen.load(Ordering::Relaxed);
                let seen = seen_before + read.len();
                this.gate.seen.store(seen, Ordering::Relaxed);
                if !read.is_empty() {
                    this.gate.phase.store(HEAD, Ordering::Relaxed);
                    if !this.preface {
                        this.gate.keep(read, seen_before == 0);
                    }
                }
                if this.preface && seen >= PREFACE_BYTES {
                    this.gate.open();
                    return Poll::Ready(Ok(()));
                }
                if seen > this.limit {
                    this.gate.phase.store(TOO_LARGE, Ordering::Relaxed);
                    buf.set_filled(before);
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

/// INVARIANT: the library moves streams as `Any`; what it gives back between requests is what it was given.
const _: fn(Box<GatedStream>) -> Box<dyn Any> = |stream| stream.into_any();

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const CAPS: Caps = Caps {
        connections: 1,
        requests_per_connection: 10,
        header_bytes: 4096,
        header_timeout: Duration::from_secs(2),
        body_bytes: 4096,
        body_timeout: Duration::from_secs(2),
        h2_streams: 1,
        h2_header_list_bytes: 4096,
        h2_resets: 1,
    };
    const HEAD: &str = "POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Whether a body is read to its end, when so much of it comes with the head.
    async fn is_taken(body: &str, with_head: usize) -> bool {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let gate = Arc::new(Gate::default());
        let mut stream = GatedStream::new(Box::new(server), gate.clone(), &CAPS, false);
        let (first, rest) = body.split_at(with_head);
        client.write_all(format!("{HEAD}{first}").as_bytes()).await.unwrap();
        let mut read = vec![0; HEAD.len() + with_head];
        stream.read_exact(&mut read).await.unwrap();
        gate.open();
        if !gate.expect_chunks() {
            return false;
        }
        client.write_all(rest.as_bytes()).await.unwrap();
        drop(client);
        stream.read_to_end(&mut read).await.is_ok()
    }

    #[tokio::test]
    async fn h10_a_chunked_body_is_followed_wherever_it_is_cut() {
        let (good, bad) = ("5;a=b\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n");
        for cut in 0..good.len() {
            assert!(is_taken(good, cut).await, "cut at {cut}");
            assert!(!is_taken(bad, cut).await, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn h10_every_chunked_body_of_a_connection_is_followed() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let gate = Arc::new(Gate::default());
        let mut stream = GatedStream::new(Box::new(server), gate.clone(), &CAPS, false);
        let (good, bad) = ("5;a=b\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n");
        for (body, is_fine) in [(good, true), (good, true), (bad, false)] {
            let request = format!("{HEAD}{body}");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut read = vec![0; request.len()];
            stream.read_exact(&mut read).await.unwrap();
            gate.open();
            assert_eq!(gate.expect_chunks(), is_fine, "{body:?}");
            gate.next();
        }
    }

    #[tokio::test]
    async fn what_came_with_a_head_is_let_go() {
        let (mut client, server) = tokio::io::duplex(4096);
        let gate = Arc::new(Gate::default());
        let mut stream = GatedStream::new(Box::new(server), gate.clone(), &CAPS, false);
        for (request, is_kept) in [("POST / HTTP/1.1\r\n\r\nbody", true), ("GET / HTTP/1.1\r\n\r\n", false)] {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut read = vec![0; request.len()];
            stream.read_exact(&mut read).await.unwrap();
            gate.open();
            assert_eq!(!gate.body().kept.is_empty(), is_kept, "{request}");
            gate.forget();
            assert!(gate.body().kept.is_empty());
            assert!(!gate.expect_chunks(), "nothing was kept to follow");
            gate.next();
        }
    }
}
