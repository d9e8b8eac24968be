//! The connections of the wires, as far as their requests arrive whole and are plain: read at once, answered at once.
//!
//! Almost every request a client of ours sends is one small head and a small body in one packet; the library's state
//! machine, which must be ready for everything else, costs as much as the whole pipeline. So what arrives is looked at
//! first. INVARIANT: whatever is not plainly a whole request is read by the library, from its first byte, and so is
//! everything that is refused. The connection comes back when the library is done with the request.
//!
//! A connection that waits holds no buffer: pages and header maps belong to the thread and are wiped after use.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use pingora_core::apps::ServerApp;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::connection::{Connection, LATE, Service};
use super::gate::GatedStream;
use super::http::{IDLE_SECONDS, WRITE_TIMEOUT};
use super::plain;
use crate::wire::{WireBody, WireRequest, WireResponse};

/// How much is read at once, and how large a page may stay with its thread.
const PAGE: usize = 16 * 1024;
/// What the library reads at once: a smaller cap on heads must not make both see different things.
const MIN_READ: usize = 4096;
/// Room for the head of an answer.
const HEAD: usize = 1024;
const IDLE: Duration = Duration::from_secs(IDLE_SECONDS);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; PAGE]);
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static HEADERS: Cell<HeaderMap> = Cell::new(HeaderMap::new());
}

/// How a connection goes on.
enum Next {
    Request,
    /// What was read is the library's.
    Library,
    End,
}

/// Serves the requests of a connection until it ends.
pub(super) async fn serve(connection: &Arc<Connection>, mut stream: Box<GatedStream>, closing: &ShutdownWatch) {
    let room = connection.caps.header_bytes.clamp(MIN_READ, PAGE);
    let mut idle = Idle::default();
    while let Some(read) = receive(&mut stream, &mut idle, room, patience(connection)).await {
        match exchange(connection, &mut stream, &read).await {
            Next::Request => {}
            Next::End => return,
            Next::Library => {
                stream.replay(read);
                drop(<Connection as ServerApp>::process_new(connection, stream, closing).await);
                let Some(parked) = connection.unpark() else { return };
                stream = parked;
            }
        }
    }
}

/// How long a peer may take to ask: not long, once the listener is closing.
fn patience(connection: &Connection) -> Duration {
    if connection.is_closing() { LATE } else { IDLE }
}

/// Answers what was read, if it is a request that is answered here.
async fn exchange(connection: &Connection, stream: &mut GatedStream, read: &Bytes) -> Next {
    let Service::Wire(pipeline, listener) = &connection.endpoint.service else { return Next::Library };
    if connection.is_closing() || connection.is_last_next() {
        return Next::Library;
    }
    let mut headers = Headers::spare();
    let Some(request) = plain::whole(read, &connection.caps, &mut headers.0) else { return Next::Library };
    connection.gate.open();
    connection.count_request();
    connection.gate.forget();
    let request = WireRequest {
        method: &request.method,
        path: request.target.path,
        query: request.target.query,
        host: request.target.host,
        headers: request.headers,
        body: request.body,
    };
    let response = pipeline.handle(*listener, request, &connection.peer).await;
    answer(connection, stream, response).await
}

async fn answer(connection: &Connection, stream: &mut GatedStream, response: WireResponse) -> Next {
    // trailers are for HTTP/2
    let WireResponse { status, headers, body, .. } = response;
    let (status, headers, body, closes) = match body {
        WireBody::Whole(body) if !status.is_informational() => (status, headers, body, connection.is_closing()),
        // nothing without an end gets here; if it does, nobody must wait for it
        _ => (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new(), Bytes::new(), true),
    };
    let bodiless = status == StatusCode::NO_CONTENT;
    let mut page = Page::spare();
    plain::write_head(&mut page.0, status, headers, (!bodiless).then_some(body.len()), closes);
    let body = if bodiless || status == StatusCode::NOT_MODIFIED { Bytes::new() } else { body };
    // a large body is not copied
    let apart = if body.len() + page.0.len() <= PAGE {
        page.0.reserve(body.len());
        page.0.extend_from_slice(&body);
        Bytes::new()
    } else {
        body
    };
    if deliver(stream, &page.0, &apart, closes).await.is_none() || closes {
        return Next::End;
    }
    connection.gate.next();
    Next::Request
}

/// Writes an answer, and the end of the connection behind the last one; `None` if the client does not take it.
async fn deliver(stream: &mut GatedStream, page: &[u8], apart: &[u8], closes: bool) -> Option<()> {
    let writing = async {
        stream.write_all(page).await?;
        stream.write_all(apart).await?;
        stream.flush().await?;
        if closes { stream.shutdown().await } else { Ok(()) }
    };
    within(WRITE_TIMEOUT, writing).await?.ok()
}

/// What comes next, as much of it as is there; `None` if nothing does before the peer is gone or has been silent too long.
async fn receive(stream: &mut GatedStream, idle: &mut Idle, room: usize, patience: Duration) -> Option<Bytes> {
    let mut until = None;
    poll_fn(|context| {
        if let Poll::Ready(read) = poll_receive(stream, room, context) {
            return Poll::Ready(read.ok().filter(|read| !read.is_empty()));
        }
        let until = *until.get_or_insert_with(|| Instant::now() + patience);
        idle.poll_until(until, context).map(|()| None)
    })
    .await
}

fn poll_receive(stream: &mut GatedStream, room: usize, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    READ.with_borrow_mut(|page| -> Poll<io::Result<Bytes>> {
        let mut into = ReadBuf::new(page.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(stream).poll_read(context, &mut into))?;
        let read = Bytes::copy_from_slice(into.filled());
        wipe(into.filled_mut());
        Poll::Ready(Ok(read))
    })
}

/// Ends the connection of a peer that asks nothing: one timer for its life, which is set anew only when it goes off.
#[derive(Default)]
struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    fn poll_until(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

/// A time limit that costs nothing for what is done at once.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        timer.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The header map of a request, lent by the thread.
struct Headers(HeaderMap);

impl Headers {
    fn spare() -> Self {
        Self(HEADERS.take())
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        let mut map = mem::take(&mut self.0);
        map.clear();
        // a thread that ends takes nothing back
        let _: Result<(), _> = HEADERS.try_with(|spare| spare.set(map));
    }
}

/// The bytes of an answer, lent by the thread.
struct Page(Vec<u8>);

impl Page {
    fn spare() -> Self {
        let mut page = WRITE.take();
        page.reserve(HEAD);
        Self(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut page = mem::take(&mut self.0);
        wipe(&mut page);
        page.clear();
        if page.capacity() <= PAGE {
            let _: Result<(), _> = WRITE.try_with(|spare| spare.set(page));
        }
    }
}

/// Overwrites what may be a secret, at the price of a `memset`: memory that is kept and used again is really written.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::gate::{Caps, Gate};
    use super::*;
    use std::future::{pending, ready as at_once};
    use tokio::io::{AsyncReadExt as _, DuplexStream};

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

    fn connected() -> (DuplexStream, GatedStream, Arc<Gate>) {
        let (client, server) = tokio::io::duplex(1 << 16);
        let gate = Arc::new(Gate::default());
        (client, GatedStream::new(Box::new(server), gate.clone(), &CAPS, false), gate)
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once_and_the_page_is_wiped() {
        let (mut client, mut stream, gate) = connected();
        let mut idle = Idle::default();
        for request in ["GET / HTTP/1.1\r\nX-Vault-Token: canary\r\n\r\n", "GET / HTTP/1.1\r\n"] {
            client.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(receive(&mut stream, &mut idle, PAGE, IDLE).await.unwrap(), request.as_bytes());
            assert!(!gate.is_idle());
            assert_eq!(gate.seen(), request.len());
            assert!(READ.with_borrow(|page| page.iter().all(|byte| *byte == 0)));
            gate.open();
            gate.next();
        }
        drop(client);
        assert_eq!(receive(&mut stream, &mut idle, PAGE, IDLE).await, None, "the peer is gone");
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_its_time_and_no_more() {
        let (mut client, mut stream, _gate) = connected();
        let mut idle = Idle::default();
        assert_eq!(receive(&mut stream, &mut idle, PAGE, Duration::ZERO).await, None);
        // the timer has gone off; the next wait has its own time
        let (read, ()) = tokio::join!(receive(&mut stream, &mut idle, PAGE, IDLE), async {
            tokio::task::yield_now().await;
            client.write_all(b"GET").await.unwrap();
        });
        assert_eq!(read.unwrap(), "GET");
        assert_eq!(receive(&mut stream, &mut Idle::default(), PAGE, Duration::ZERO).await, None);
    }

    #[tokio::test]
    async fn what_was_read_is_replayed_and_counted_once() {
        let (mut client, mut stream, gate) = connected();
        let request = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhel";
        client.write_all(request.as_bytes()).await.unwrap();
        let read = receive(&mut stream, &mut Idle::default(), PAGE, IDLE).await.unwrap();
        stream.replay(read);
        let mut again = vec![0; request.len()];
        stream.read_exact(&mut again).await.unwrap();
        assert_eq!(again, request.as_bytes());
        assert_eq!(gate.seen(), request.len());
        gate.open();
        assert!(gate.expect_chunks(), "the body is followed from where the head ends");
        client.write_all(b"lo\r\n0\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
        client.write_all(b"what comes behind").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_library_leaves_of_a_replay_is_the_next_request() {
        let (mut client, mut stream, gate) = connected();
        client.write_all(b"GET /1\r\n\r\nPOST /2\r\n\r\n").await.unwrap();
        let read = receive(&mut stream, &mut Idle::default(), PAGE, IDLE).await.unwrap();
        stream.replay(read);
        stream.read_exact(&mut [0; 10]).await.unwrap();
        gate.open();
        gate.forget();
        gate.next();
        assert_eq!(receive(&mut stream, &mut Idle::default(), PAGE, IDLE).await.unwrap(), "POST /2\r\n\r\n");
        assert!(!gate.is_idle() && gate.seen() == 11);
        assert!(gate.expect_chunks(), "it was kept");
    }

    #[tokio::test]
    async fn answers_are_written_whole_and_end_what_ends() {
        for body in ["", "small", &"large".repeat(PAGE)] {
            let (mut client, mut stream, _gate) = connected();
            let writing = deliver(&mut stream, b"head ", body.as_bytes(), true);
            let mut got = String::new();
            let (done, _) = tokio::join!(writing, client.read_to_string(&mut got));
            assert_eq!(done, Some(()));
            assert_eq!(got, format!("head {body}"));
        }
        let (client, mut stream, _gate) = connected();
        drop(client);
        assert_eq!(deliver(&mut stream, b"head", b"", false).await, None);
    }

    #[tokio::test]
    async fn a_page_is_wiped_before_it_is_used_again() {
        let mut page = Page::spare();
        page.0.extend_from_slice(b"canary");
        let room = page.0.capacity();
        drop(page);
        let again = Page::spare();
        assert!(again.0.is_empty() && again.0.capacity() == room);
        drop(again);
        let mut large = Page::spare();
        large.0.reserve(2 * PAGE);
        drop(large);
        assert!(Page::spare().0.capacity() <= PAGE);
        assert_eq!(within(Duration::ZERO, at_once(1)).await, Some(1));
        assert_eq!(within(Duration::ZERO, pending::<()>()).await, None);
    }
}
