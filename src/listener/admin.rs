//! The admin listener: health for whoever restarts us, metrics for whoever watches. Never a secret, never audited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::StatusCode;

use super::Drain;
use crate::audit::Auditor;
use crate::telemetry::Metrics;
use crate::wire::{WireRequest, WireResponse};

/// What the admin listener knows.
pub struct Admin {
    /// Rendered at `/metrics`.
    pub metrics: Metrics,
    /// A required sink that takes no lines makes the process unready.
    pub auditor: Arc<Auditor>,
    /// Whether the store takes writes: after a failed commit it takes none until the process starts anew.
    pub takes_writes: Box<dyn Fn() -> bool + Send + Sync>,
    /// A draining process is not ready.
    pub drain: Drain,
    /// Whether the failure of a required sink or of the store leaves readiness alone: a sidecar's pod must not be taken out
    /// for it.
    pub keeps_ready: bool,
    /// Set once everything is up.
    pub started: AtomicBool,
}

impl Admin {
    pub(super) fn handle(&self, request: WireRequest<'_>) -> WireResponse {
        if !matches!(*request.method, http::Method::GET | http::Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match request.path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/startupz" if self.started.load(Ordering::Relaxed) => text(StatusCode::OK, "ok\n"),
            "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            "/readyz" => self.ready(),
            "/metrics" => {
                self.metrics.gauge("scaivault_connections", Vec::new()).set(self.drain.connections() as f64);
                let writable = if (self.takes_writes)() { 1.0 } else { 0.0 };
                self.metrics.gauge("scaivault_store_writable", Vec::new()).set(writable);
                self.metrics.tidy();
                let body = Bytes::from(self.metrics.render());
                WireResponse::new(StatusCode::OK, "text/plain; version=0.0.4", body)
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn ready(&self) -> WireResponse {
        if !self.started.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "starting\n");
        }
        if self.drain.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let status = if self.keeps_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if !self.auditor.is_healthy() {
            return text(status, "a required audit sink takes no lines\n");
        }
        if !(self.takes_writes)() {
            return text(status, "the store takes no writes after a failed commit\n");
        }
        text(StatusCode::OK, "ok\n")
    }
}

fn text(status: StatusCode, body: &'static str) -> WireResponse {
    WireResponse::new(status, "text/plain", Bytes::from_static(body.as_bytes()))
}
