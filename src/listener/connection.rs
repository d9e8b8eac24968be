//! One data service for all listeners: finds out which listener a connection came in on, gives it a permit and a gate, and
//! hands it to pingora's HTTP loop, on the wires by way of ours.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::protocols::{ALPN, IO, SocketDigest, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::sync::{Semaphore, watch};

use super::admin::Admin;
use super::gate::{Caps, Gate, GatedStream};
use super::http;
use super::lifecycle::Drain;
use super::whole;
use crate::pipeline::{Peer, Pipeline};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const ADMIN_CONNECTIONS: usize = 64;
/// How long a connection may take to ask that came during the drain, or was told before it that it may ask again.
pub(super) const LATE: Duration = Duration::from_secs(2);
const H2_IDLE: Duration = Duration::from_secs(300);

/// What answers on an endpoint.
#[derive(Clone)]
pub enum Service {
    /// The wire of the listener with this index in the configuration.
    Wire(Arc<Pipeline>, usize),
    /// Health and metrics.
    Admin(Arc<Admin>),
}

/// An address that is listened on.
pub struct Endpoint {
    /// `IP:PORT`, or the path of a Unix socket.
    pub address: String,
    /// What answers.
    pub service: Service,
    /// Whether clear-text HTTP/2 is taken.
    pub h2c: bool,
    /// What shakes hands, where TLS is spoken. The library has no part in it: its own deadline is a minute, and it would
    /// shake hands with connections that have no permit.
    pub tls: Option<Acceptor>,
}

/// The application behind every endpoint of the data service.
pub struct Gateway {
    endpoints: Vec<Arc<Endpoint>>,
    caps: Caps,
    permits: Arc<Semaphore>,
    /// Apart: whoever fills the wires must not make the process look dead.
    admin_permits: Arc<Semaphore>,
    drain: Drain,
    attach: Box<dyn Fn() + Send + Sync>,
}

impl Gateway {
    /// The application for these endpoints. `attach` is called on the data runtime for each connection, before it is served.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>, caps: Caps, drain: Drain, attach: Box<dyn Fn() + Send + Sync>) -> Self {
        let permits = Arc::new(Semaphore::new(caps.connections));
        let admin_permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
        Self { endpoints: endpoints.into_iter().map(Arc::new).collect(), caps, permits, admin_permits, drain, attach }
    }

    /// The endpoint a socket was accepted on: by its local address, else (wildcard listeners) by its port.
    fn endpoint(&self, digest: &SocketDigest) -> Option<Arc<Endpoint>> {
        match digest.local_addr()? {
            PeerAddr::Inet(local) => {
                let (exact, port) = (local.to_string(), format!(":{}", local.port()));
                let found = self.endpoints.iter().find(|endpoint| endpoint.address == exact);
                let wildcard = |endpoint: &&Arc<Endpoint>| {
                    endpoint.address.ends_with(&port)
                        && (endpoint.address.starts_with("0.0.0.0:") || endpoint.address.starts_with("[::]:"))
                };
                found.or_else(|| self.endpoints.iter().find(wildcard)).cloned()
            }
            PeerAddr::Unix(local) => {
                let path = local.as_pathname()?.to_str()?;
                self.endpoints.iter().find(|endpoint| endpoint.address == path).cloned()
            }
        }
    }

    /// The stream as its endpoint speaks: a TLS handshake has the time of a request head.
    async fn shaken(&self, endpoint: &Endpoint, stream: Stream) -> Option<Stream> {
        let Some(acceptor) = &endpoint.tls else { return Some(stream) };
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        match tokio::time::timeout(self.caps.header_timeout, acceptor.tls_handshake(*socket)).await {
            Ok(Ok(tls)) => Some(Box::new(tls)),
            Ok(Err(error)) => {
                tracing::debug!(%error, address = %endpoint.address, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(address = %endpoint.address, "a TLS handshake took too long");
                None
            }
        }
    }

    /// Whether a clear-text client speaks HTTP/2 first. Reads as long as what comes is the preface, under the deadline of a
    /// request head.
    async fn is_h2c(&self, stream: &mut Stream) -> Option<bool> {
        let io: &mut dyn IO = stream.as_mut();
        let peek = async {
            let mut first = [0; 3];
            if !io.try_peek(&mut first).await.ok()? || !PREFACE.starts_with(&first) {
                return Some(false);
            }
            let mut whole = [0; PREFACE.len()];
            Some(io.try_peek(&mut whole).await.ok()? && whole == *PREFACE)
        };
        tokio::time::timeout(self.caps.header_timeout, peek).await.ok()?
    }
}

#[async_trait]
impl ServerApp for Gateway {
    async fn process_new(self: &Arc<Self>, stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        (self.attach)();
        let io: &dyn IO = stream.as_ref();
        let digest = io.get_socket_digest()?;
        let endpoint = self.endpoint(&digest)?;
        let permits = match endpoint.service {
            Service::Wire(..) => &self.permits,
            Service::Admin(_) => &self.admin_permits,
        };
        let _permit = permits.clone().try_acquire_owned().ok()?;
        let mut stream = self.shaken(&endpoint, stream).await?;
        let io: &dyn IO = stream.as_ref();
        let tls = io.get_ssl_digest();
        let alpn_h2 = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        let h2c = endpoint.h2c && tls.is_none() && self.is_h2c(&mut stream).await?;
        let certificate = tls.as_ref().and_then(|tls| tls.extension.get::<super::tls::ClientCertificate>());
        let peer = Peer {
            source: digest.peer_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip().to_canonical()),
            certificate: certificate.map(|found| found.0.clone()),
        };
        let gate = Arc::new(Gate::default());
        let is_h2 = alpn_h2 || h2c;
        let (close, closing) = watch::channel(false);
        let connection = Arc::new(Connection {
            endpoint,
            peer,
            caps: self.caps,
            gate: gate.clone(),
            is_h2,
            options: options(h2c, &self.caps),
            requests: AtomicU32::new(0),
            parked: Mutex::new(None),
            close,
            drain: self.drain.clone(),
        });
        let _counted = self.drain.count();
        let stream = Box::new(GatedStream::new(stream, gate, &self.caps, is_h2));
        connection.serve(stream, closing).await;
        None
    }
}

fn options(h2c: bool, caps: &Caps) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    options.keepalive_request_limit = Some(caps.requests_per_connection);
    options.h2_idle_timeout = Some(H2_IDLE);
    options
}

/// One connection; pingora asks it for options and gives it its requests.
pub(super) struct Connection {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) peer: Peer,
    pub(super) caps: Caps,
    pub(super) gate: Arc<Gate>,
    pub(super) is_h2: bool,
    options: HttpServerOptions,
    requests: AtomicU32,
    /// The stream on its way back from pingora, between two requests.
    parked: Mutex<Option<Stream>>,
    close: watch::Sender<bool>,
    drain: Drain,
}

impl Connection {
    /// Serves until the peer leaves, its requests are used up, or the process drains.
    async fn serve(self: &Arc<Self>, stream: Box<GatedStream>, closing: ShutdownWatch) {
        let mut drained = self.drain.watch();
        let serving: Pin<Box<dyn Future<Output = ()> + Send + '_>> = if self.is_ours() {
            Box::pin(whole::serve(self, stream, &closing))
        } else {
            let all = <Self as ServerApp>::process_new(self, stream, &closing);
            Box::pin(async move { drop(all.await) })
        };
        let drained = drained.wait_for(|draining| *draining);
        tokio::pin!(serving, drained);
        // the drain is registered once; after that its flag says what woke us
        let mut is_registered = false;
        let is_over = poll_fn(|context| {
            if serving.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            let is_draining = if is_registered {
                self.drain.is_draining()
            } else {
                is_registered = true;
                drained.as_mut().poll(context).is_ready()
            };
            if is_draining { Poll::Ready(false) } else { Poll::Pending }
        });
        if is_over.await {
            return;
        }
        // HTTP/2 sends GOAWAY; an HTTP/1 connection between requests has nothing to finish
        self.close.send_replace(true);
        if !self.is_h2 && self.gate.is_idle() {
            if self.requests.load(Ordering::Relaxed) == 0 {
                // it came while we drain and is about to ask: one answer, then it is told to go
                drop(tokio::time::timeout(LATE, serving).await);
            }
            return;
        }
        serving.await;
    }

    /// Counts a request; the last one allowed makes an HTTP/2 connection go away.
    pub(super) fn count_request(&self) {
        let seen = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_h2 && seen >= self.caps.requests_per_connection {
            self.close.send_replace(true);
        }
    }

    /// Whether requests are looked at before pingora is given them.
    fn is_ours(&self) -> bool {
        !self.is_h2 && matches!(self.endpoint.service, Service::Wire(..))
    }

    /// Whether the next request is the last one allowed, as pingora counts them: the limit is how often a connection is
    /// used again.
    pub(super) fn is_last_next(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.caps.requests_per_connection
    }

    /// Whether the request that was counted last is the last one allowed. pingora is given a connection of ours many times
    /// and begins to count each time.
    pub(super) fn is_used_up(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > self.caps.requests_per_connection
    }

    fn park(&self, stream: Stream) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    /// The stream pingora gave back, if the connection goes on.
    pub(super) fn unpark(&self) -> Option<Box<GatedStream>> {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        parked.into_any().downcast().ok()
    }

    /// Returns when the connection is to end; what has no end of its own ends then.
    pub(super) async fn closed(&self) {
        let mut close = self.close.subscribe();
        drop(close.wait_for(|closing| *closing).await);
    }

    /// Whether this is the connection's last request.
    pub(super) fn is_closing(&self) -> bool {
        *self.close.borrow() || self.drain.is_draining()
    }
}

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        http::serve(self, &mut session).await?;
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        self.gate.next();
        if self.is_ours() {
            // what was read beyond the request would be lost, but pipelining is off: such a connection is not used again
            if let (stream, None) = reusable.into_parts() {
                self.park(stream);
            }
            return None;
        }
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = H2Options::new();
        options
            .max_header_list_size(self.caps.h2_header_list_bytes)
            .max_concurrent_streams(self.caps.h2_streams)
            .max_pending_accept_reset_streams(self.caps.h2_resets)
            .max_concurrent_reset_streams(self.caps.h2_resets)
            .max_local_error_reset_streams(Some(self.caps.h2_resets))
            .max_send_buffer_size(256 * 1024)
            .initial_window_size(64 * 1024)
            .initial_connection_window_size(256 * 1024);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
