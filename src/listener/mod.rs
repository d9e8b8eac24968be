//! Sockets and bounded bytes: the only room that speaks pingora.
//!
//! A connection gets a permit, a deadline for everything it sends and a cap on every size before anything is decoded. What
//! two HTTP implementations could read differently is refused here, from the raw head, and never reaches a wire.

pub mod admin;
mod chunks;
mod connection;
mod gate;
mod head;
mod http;
mod lifecycle;
mod lines;
mod plain;
mod stream;
mod tls;
mod whole;

pub use connection::{Endpoint, Gateway, Service};
pub use gate::Caps;
pub use lifecycle::{Drain, ShutdownHook};
pub use lines::{Hear, Heard, LineCaps, LineSocket};
pub use tls::{StagedTls, TlsError, TlsFiles, TlsReloader};
