//! The blocks that belong to the process and not to a tenant: caps, interception, the admin listener.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::address::{self, Address};
use super::raw::{Block, Item};

/// Caps of the process. All are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerCaps {
    /// Open client connections.
    pub connections: usize,
    /// Requests served on one connection before it is closed.
    pub requests_per_connection: u32,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Concurrent HTTP/2 streams of a connection.
    pub h2_streams: u32,
    /// Bytes of an HTTP/2 header list.
    pub h2_header_list_bytes: u32,
    /// HTTP/2 streams a connection may reset before it is closed.
    pub h2_resets: usize,
    /// How long a stopping process waits for running requests.
    pub drain: Duration,
}

impl Default for ServerCaps {
    fn default() -> Self {
        Self {
            connections: 10_000,
            requests_per_connection: 10_000,
            header_bytes: 32_768,
            header_timeout: Duration::from_secs(10),
            body_bytes: 2_097_152,
            body_timeout: Duration::from_secs(30),
            h2_streams: 100,
            h2_header_list_bytes: 32_768,
            h2_resets: 100,
            drain: Duration::from_secs(20),
        }
    }
}

/// Cloud host names whose TLS this process answers in place of the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterceptConfig {
    /// Host names; empty means no interception.
    pub hosts: Vec<String>,
}

/// Where health and metrics are answered, and the page for people if it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Health and metrics.
    pub address: SocketAddr,
    /// The page; loopback only, `None` is off.
    pub ui: Option<SocketAddr>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8449), ui: None }
    }
}

/// Reads `server`.
pub(super) fn server(item: &Item<'_>) -> Option<ServerCaps> {
    item.block(|block| {
        let default = ServerCaps::default();
        Some(ServerCaps {
            connections: block.count("connections", default.connections),
            requests_per_connection: block.count("requests_per_connection", default.requests_per_connection),
            header_bytes: block.count("header_bytes", default.header_bytes),
            header_timeout: block.duration("header_timeout").unwrap_or(default.header_timeout),
            body_bytes: block.count("body_bytes", default.body_bytes),
            body_timeout: block.duration("body_timeout").unwrap_or(default.body_timeout),
            h2_streams: block.count("h2_streams", default.h2_streams),
            h2_header_list_bytes: block.count("h2_header_list_bytes", default.h2_header_list_bytes),
            h2_resets: block.count("h2_resets", default.h2_resets),
            drain: block.duration("drain").unwrap_or(default.drain),
        })
    })
}

/// Reads `intercept`.
pub(super) fn intercept(item: &Item<'_>) -> Option<InterceptConfig> {
    item.block(|block| Some(InterceptConfig { hosts: block.each("hosts", host) }))
}

/// Reads `admin`.
pub(super) fn admin(item: &Item<'_>) -> Option<AdminConfig> {
    item.block(|block| {
        let default = AdminConfig::default();
        let address = tcp(block).unwrap_or(default.address);
        let ui = block.optional("ui").and_then(|item| item.block(ui));
        Some(AdminConfig { address, ui })
    })
}

fn ui(block: &mut Block<'_>) -> Option<SocketAddr> {
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8450);
    let address = tcp(block).unwrap_or(default);
    if !Address::Tcp(address).is_local() {
        block.scope().refuse(&block.key_of("address"), Some(block.line()), "must be a loopback address");
    }
    Some(address)
}

fn tcp(block: &mut Block<'_>) -> Option<SocketAddr> {
    block.optional("address")?.parse(address::socket_addr)
}

/// A host name or IP address without a port, in lower case.
pub(super) fn host(item: &Item<'_>) -> Option<String> {
    item.parse(|text| match address::host_name(text) {
        Some(host) => Ok(host.to_ascii_lowercase()),
        None => Err("expected a host name or an IP address (IPv6 in brackets), without a port"),
    })
}

#[cfg(test)]
mod tests {
    use crate::config::harness::{accepted, refuses, with};

    #[test]
    fn caps_are_above_zero() {
        let config = accepted(&with("server: {connections: 5, header_timeout: 1s, h2_resets: 7}"));
        assert_eq!((config.server.connections, config.server.h2_resets, config.server.h2_streams), (5, 7, 100));
        for key in ["connections", "requests_per_connection", "header_bytes", "body_bytes", "h2_streams", "h2_resets"] {
            refuses(&with(&format!("server: {{{key}: 0}}")), &format!("server.{key}"), "above zero");
            refuses(&with(&format!("server: {{{key}: -1}}")), &format!("server.{key}"), "above zero");
            refuses(&with(&format!("server: {{{key}: 1_0}}")), &format!("server.{key}"), "above zero");
        }
        refuses(&with("server: {h2_streams: 4294967296}"), "server.h2_streams", "is too large");
        refuses(&with("server: {drain: 0s}"), "server.drain", "longer than zero");
        refuses(&with("server: {drain: 20}"), "server.drain", "put it in quotes");
    }

    #[test]
    fn the_page_for_people_is_on_loopback() {
        let config = accepted(&with("admin: {address: '0.0.0.0:9000', ui: {}}"));
        assert_eq!(config.admin.address.to_string(), "0.0.0.0:9000");
        assert_eq!(config.admin.ui.unwrap().to_string(), "127.0.0.1:8450");
        refuses(&with("admin: {ui: {address: '0.0.0.0:8450'}}"), "admin.ui.address", "must be a loopback address");
        refuses(&with("admin: {address: 'unix:/p'}"), "admin.address", "expected IP:PORT");
    }
}
