//! One request: head, body, the pipeline, response. Everything read is bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Method, Version};
use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;

use super::chunks;
use super::connection::{Connection, Service};
use super::gate::Cut;
use super::head::{self, BadHead, Target};
use super::stream;
use crate::error::ErrorKind;
use crate::wire::{Fault, WireBody, WireRequest, WireResponse};

pub(super) const IDLE_SECONDS: u64 = 60;
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const TOO_MANY: &str = "too many headers";

/// Reads and answers one request; `None` if nothing can follow it on its connection.
pub(super) async fn serve(connection: &Arc<Connection>, session: &mut ServerSession) -> Option<()> {
    match session.read_request().await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            // what the library says of a head with more headers than it has room for; its own text is not repeated
            let is_crowded = error.root_cause().to_string() == TOO_MANY;
            Box::pin(refuse_head(connection, session, is_crowded)).await;
            return None;
        }
    }
    if !connection.is_h2 {
        connection.gate.open();
    }
    connection.count_request();
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(IDLE_SECONDS));
    }
    session.set_write_timeout(Some(WRITE_TIMEOUT));
    let response = match respond(connection, session).await {
        Ok(response) => response,
        Err(bad) => {
            session.set_keepalive(None);
            Box::pin(refuse_target(connection, bad)).await
        }
    };
    if connection.is_closing() || (!connection.is_h2 && connection.is_used_up()) {
        session.set_keepalive(None);
    }
    let head_only = session.req_header().method == Method::HEAD;
    write(connection, session, response, head_only).await.ok()
}

async fn refuse_target(connection: &Connection, bad: BadHead) -> WireResponse {
    let request_id = note_malformed(connection).await;
    let mut response = plain(bad);
    if let Ok(id) = ::http::HeaderValue::from_str(&request_id) {
        response.headers.insert("x-request-id", id);
    }
    response
}

/// A head the library could not read, or that the gate cut off. Its text, which may hold a credential, is not looked at.
async fn refuse_head(connection: &Connection, session: &mut ServerSession, is_crowded: bool) {
    let status = match connection.gate.cut() {
        Some(Cut::TooLarge) => 431,
        Some(Cut::TooSlow) => 408,
        // the library gives up on a target before it has counted the head
        None if is_crowded || connection.gate.seen() > connection.caps.header_bytes => 431,
        None => 400,
    };
    let request_id = note_malformed(connection).await;
    let Ok(mut head) = ResponseHeader::build_no_case(status, Some(4)) else { return };
    let written = head
        .insert_header(::http::header::CONTENT_LENGTH, 0)
        .and_then(|()| head.insert_header(::http::header::CACHE_CONTROL, "no-store"))
        .and_then(|()| head.insert_header("x-request-id", request_id));
    if written.is_ok() {
        drop(session.write_error_response(head, Bytes::new()).await);
    }
}

/// Tells the trail; yields the id of the refusal.
async fn note_malformed(connection: &Connection) -> String {
    match &connection.endpoint.service {
        Service::Wire(pipeline, listener) => pipeline.refuse_unread(*listener, &connection.peer).await,
        Service::Admin(_) => String::new(),
    }
}

async fn respond(connection: &Connection, session: &mut ServerSession) -> Result<WireResponse, BadHead> {
    let raw = session.as_http1().map(|h1| h1.get_headers_raw_bytes());
    let is_coded = session.req_header().headers.contains_key(::http::header::TRANSFER_ENCODING);
    if is_coded && raw.as_deref().is_some_and(head::both_framings) {
        return Err(BadHead { status: 400, reason: "both Content-Length and Transfer-Encoding" });
    }
    if !session.is_body_empty() {
        // nothing of a body is read behind a head that is refused
        target(connection, session, raw.as_deref())?;
    }
    // HTTP/2 frames its bodies itself
    if raw.is_some() && is_coded {
        if !connection.gate.expect_chunks() {
            return Err(chunks::LOOSE);
        }
    } else {
        connection.gate.forget();
    }
    let body = match body(connection, session).await {
        Ok(body) => body,
        Err(unread) => {
            // what is left of the body must not become the next request
            session.set_keepalive(None);
            return match unread {
                Unread::TooLarge => Ok(Box::pin(too_large(connection)).await),
                Unread::Broken => Err(BadHead { status: 400, reason: "the body is not what the head announced" }),
                Unread::TooSlow => Err(BadHead { status: 408, reason: "the body came too slowly" }),
            };
        }
    };
    let head = session.req_header();
    let target = target(connection, session, raw.as_deref())?;
    let request = WireRequest {
        method: &head.method,
        path: target.path,
        query: target.query,
        host: target.host,
        headers: &head.headers,
        body: &body,
    };
    Ok(match &connection.endpoint.service {
        Service::Wire(pipeline, listener) => pipeline.handle(*listener, request, &connection.peer).await,
        Service::Admin(admin) => admin.handle(request),
    })
}

/// The request's target, from the raw head of HTTP/1 or the pseudo-headers of HTTP/2.
fn target<'s>(
    connection: &Connection,
    session: &'s ServerSession,
    raw: Option<&'s [u8]>,
) -> Result<Target<'s>, BadHead> {
    let request = session.req_header();
    match raw {
        Some(raw) => head::check_h1(raw, request.version, &request.headers, connection.caps.header_bytes),
        None => head::check_h2(&request.uri, &request.headers),
    }
}

/// The whole body; reading one is apart, since most requests have none.
async fn body(connection: &Connection, session: &mut ServerSession) -> Result<Bytes, Unread> {
    if session.is_body_empty() {
        return Ok(Bytes::new());
    }
    Box::pin(read_body(connection, session)).await
}

enum Unread {
    TooLarge,
    TooSlow,
    Broken,
}

async fn read_body(connection: &Connection, session: &mut ServerSession) -> Result<Bytes, Unread> {
    let caps = &connection.caps;
    let announced = content_length(&session.req_header().headers);
    if announced.is_some_and(|length| length > caps.body_bytes as u64) {
        return Err(Unread::TooLarge);
    }
    if session.is_body_empty() {
        return Ok(Bytes::new());
    }
    if session.req_header().headers.contains_key(::http::header::EXPECT) {
        drop(session.write_continue_response().await);
    }
    let reading = async {
        let Some(first) = session.read_request_body().await.map_err(|_| Unread::Broken)? else {
            return Ok(Bytes::new());
        };
        let mut body: Option<BytesMut> = None;
        let mut size = first.len();
        while size <= caps.body_bytes {
            let Some(next) = session.read_request_body().await.map_err(|_| Unread::Broken)? else {
                return Ok(body.map_or(first, BytesMut::freeze));
            };
            size += next.len();
            body.get_or_insert_with(|| BytesMut::from(first.as_ref())).extend_from_slice(&next);
        }
        Err(Unread::TooLarge)
    };
    tokio::time::timeout(caps.body_timeout, reading).await.unwrap_or(Err(Unread::TooSlow))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(::http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn too_large(connection: &Connection) -> WireResponse {
    match &connection.endpoint.service {
        Service::Wire(pipeline, listener) => {
            pipeline.refuse_whole(*listener, &connection.peer, Fault::of(ErrorKind::TooLarge)).await
        }
        Service::Admin(_) => plain(BadHead { status: 413, reason: "body too large" }),
    }
}

/// An answer given before any wire is known to be spoken.
fn plain(bad: BadHead) -> WireResponse {
    let status = ::http::StatusCode::from_u16(bad.status).unwrap_or(::http::StatusCode::BAD_REQUEST);
    WireResponse::new(status, "text/plain", Bytes::from_static(bad.reason.as_bytes()))
}

async fn write(
    connection: &Connection,
    session: &mut ServerSession,
    response: WireResponse,
    head_only: bool,
) -> Result<(), ()> {
    let (mut parts, ()) = ::http::Response::new(()).into_parts();
    parts.status = response.status;
    parts.headers = response.headers;
    let mut head = ResponseHeader::from(parts);
    head.set_version(Version::HTTP_11);
    let body = match response.body {
        WireBody::Whole(body) => body,
        // its state is kept out of the way of every other answer
        WireBody::Events(chunks) => {
            return Box::pin(stream::write(connection, session, head, chunks, head_only)).await;
        }
    };
    let bodiless = response.status == ::http::StatusCode::NO_CONTENT;
    if !bodiless {
        head.insert_header(::http::header::CONTENT_LENGTH, body.len()).map_err(drop)?;
    }
    session.write_response_header(Box::new(head)).await.map_err(drop)?;
    let body = if head_only || bodiless { Bytes::new() } else { body };
    session.write_response_body(body, response.trailers.is_none()).await.map_err(drop)?;
    match response.trailers {
        None => Ok(()),
        Some(trailers) => Box::pin(session.write_response_trailers(trailers)).await.map_err(drop),
    }
}
