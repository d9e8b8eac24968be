//! Where this process listens and where it connects to without a URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The longest path a Unix socket can have, without the closing zero byte.
const LONGEST_SOCKET_PATH: usize = 107;

/// An address to listen on: `IP:PORT`, `localhost:PORT` (127.0.0.1) or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port on one address or on all. Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix stream socket at an absolute path.
    Unix(PathBuf),
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// A sentence that says what is accepted; it does not hold the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("unix:") {
            Some(path) => socket_path(path).map(Self::Unix),
            None => {
                let tcp = socket_addr(text).map(Self::Tcp);
                tcp.map_err(|_| "expected IP:PORT, localhost:PORT or unix:/PATH")
            }
        }
    }

    /// Whether only this machine (or pod) can reach the address.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both cannot be bound at the same time. Port 0 never clashes.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Tcp(one), Self::Tcp(two)) => {
                let everywhere = covers(one.ip(), two.ip()) || covers(two.ip(), one.ip());
                one.port() != 0 && one.port() == two.port() && (one.ip() == two.ip() || everywhere)
            }
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether listening on `wide` takes `narrow` too. `[::]` takes IPv4 as well on a dual-stack system.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

/// `IP:PORT` or `localhost:PORT`.
///
/// # Errors
/// A sentence that says what is accepted.
pub(super) fn socket_addr(text: &str) -> Result<SocketAddr, &'static str> {
    const EXPECTED: &str = "expected IP:PORT or localhost:PORT";
    match text.strip_prefix("localhost:") {
        Some(digits) => {
            let port = port(digits).ok_or(EXPECTED)?;
            Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
        None => text.parse().map_err(|_| EXPECTED),
    }
}

fn socket_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    if !path.is_absolute() || text.len() > LONGEST_SOCKET_PATH || text.ends_with('/') {
        return Err("expected unix:/PATH with an absolute path of at most 107 bytes");
    }
    Ok(path.to_owned())
}

/// A decimal port, digits only.
fn port(digits: &str) -> Option<u16> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Where an audit sink sends its lines: `HOST:PORT` or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// A host name or an IP address (IPv6 without brackets) and a port above zero.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl PeerAddress {
    /// Parses an address to connect to.
    ///
    /// # Errors
    /// A sentence that says what is accepted; it does not hold the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected HOST:PORT or unix:/PATH";
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix);
        }
        let (host, digits) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let port = port(digits).filter(|port| *port != 0).ok_or(EXPECTED)?;
        let host = host_name(host).ok_or(EXPECTED)?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// A host as URLs write it: a name, an IPv4 address, or an IPv6 address in brackets, which are taken off. Forms of an IPv4
/// address that only some resolvers understand (`127.1`, `0x7f.1`) are refused.
pub(super) fn host_name(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return None;
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if numeric && text.parse::<Ipv4Addr>().is_err() { None } else { Some(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses_are_ip_literals_localhost_or_sockets() {
        assert_eq!(Address::parse("127.0.0.1:8441").unwrap().to_string(), "127.0.0.1:8441");
        assert_eq!(Address::parse("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(Address::parse("[::1]:0").unwrap().to_string(), "[::1]:0");
        assert_eq!(Address::parse("unix:/run/p.sock").unwrap().to_string(), "unix:/run/p.sock");
        let long = format!("unix:/{}", "a".repeat(107));
        let bad = ["8441", ":8441", "example.com:80", "127.0.0.1", "localhost:+1", "localhost:", "127.0.0.1:99999"];
        for text in bad.into_iter().chain(["unix:run/p", "unix:", "unix:/run/", "http://127.0.0.1:1", "[::1", &long]) {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn o05_addresses_that_cannot_both_be_bound_clash() {
        for (one, two, clash) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "127.0.0.1:1", false),
        ] {
            let (a, b) = (Address::parse(one).unwrap(), Address::parse(two).unwrap());
            assert_eq!(a.clashes_with(&b), clash, "{one} {two}");
            assert_eq!(b.clashes_with(&a), clash, "{two} {one}");
        }
    }

    #[test]
    fn peers_may_be_names() {
        let peer = |host: &str, port| Ok(PeerAddress::Tcp { host: host.to_owned(), port });
        assert_eq!(PeerAddress::parse("logs.internal:514"), peer("logs.internal", 514));
        assert_eq!(PeerAddress::parse("[::1]:514"), peer("::1", 514));
        assert_eq!(PeerAddress::parse("unix:/dev/log"), Ok(PeerAddress::Unix(PathBuf::from("/dev/log"))));
        for bad in ["logs", "logs:0", "::1:514", "a b:1", ":514", "127.1:1", "0x7f.0x1:1", "[::1:1"] {
            assert!(PeerAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
