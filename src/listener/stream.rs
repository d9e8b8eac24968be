//! Answers without an end of their own: server-sent events, a chunk at a time.
//!
//! Such an answer ends with its source, with the process, with an hour of silence, and as soon as its client is gone; what
//! the client does not read for 30 s ends it too.

use std::time::Duration;

use ::http::Version;
use ::http::header::TRANSFER_ENCODING;
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Connection;

/// Silence after which a comment tells the client, and whatever is between, that the connection lives.
const BEAT: Duration = Duration::from_secs(15);
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
/// Comments in a row: an hour.
const MAX_BEATS: u32 = 240;

/// Writes the head, then each chunk as it comes. An HTTP/1 connection is not used again.
pub(super) async fn write(
    connection: &Connection,
    session: &mut ServerSession,
    mut head: ResponseHeader,
    chunks: mpsc::Receiver<Bytes>,
    head_only: bool,
) -> Result<(), ()> {
    session.set_keepalive(None);
    // older clients read until the end of the connection; HTTP/2 has frames
    if session.req_header().version == Version::HTTP_11 {
        head.insert_header(TRANSFER_ENCODING, "chunked").map_err(drop)?;
    }
    session.write_response_header(Box::new(head)).await.map_err(drop)?;
    if !head_only {
        relay(connection, session, chunks).await?;
    }
    session.write_response_body(Bytes::new(), true).await.map_err(drop)
}

async fn relay(
    connection: &Connection,
    session: &mut ServerSession,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<(), ()> {
    let mut beats = 0;
    loop {
        let chunk = tokio::select! {
            biased;
            () = connection.closed() => return Ok(()),
            // the client's end, or bytes it may not send before ours
            _ = session.read_body_or_idle(true) => return Err(()),
            chunk = chunks.recv() => match chunk {
                Some(chunk) => {
                    beats = 0;
                    chunk
                }
                None => return Ok(()),
            },
            () = sleep(BEAT) => {
                beats += 1;
                if beats > MAX_BEATS {
                    return Ok(());
                }
                Bytes::from_static(KEEP_ALIVE)
            }
        };
        session.write_response_body(chunk, false).await.map_err(drop)?;
    }
}
