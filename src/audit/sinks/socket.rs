//! A stream socket to a collector. A line counts as taken once the kernel has it; a connection that broke is opened
//! again by the writer's next attempt, and the chain goes on there.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::{AuditSink, Tail};
use crate::audit::AuditError;

const CONNECT_WITHIN: Duration = Duration::from_millis(500);

pub(super) struct SocketSink {
    address: Address,
    connection: Option<Connection>,
}

/// Where a collector listens.
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

/// A stream that never waits.
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl SocketSink {
    /// Connects later, so that the collector may be started after us.
    pub(super) fn new(address: &str, key: &str) -> Result<Self, AuditError> {
        Ok(Self { address: Address::checked(address, key)?, connection: None })
    }
}

impl AuditSink for SocketSink {
    fn kind(&self) -> &'static str {
        "socket"
    }

    fn is_ready(&self) -> bool {
        false
    }

    fn prepare(&mut self) -> io::Result<Option<Tail>> {
        if self.connection.as_mut().is_some_and(|connection| !connection.is_open()) {
            self.connection = None;
        }
        if self.connection.is_some() {
            return Ok(None);
        }
        self.connection = Some(self.address.connect()?);
        Ok(Some(Tail::default()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.connection {
            Some(connection) => connection.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn failed(&mut self) {
        self.connection = None;
    }
}

impl Address {
    /// The address of a sink, which stands under `key`.
    pub(super) fn checked(text: &str, key: &str) -> Result<Self, AuditError> {
        Self::parse(text).ok_or_else(|| AuditError::Refused {
            key: key.to_owned(),
            target: text.to_owned(),
            reason: "must be HOST:PORT, or unix: followed by an absolute path",
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(PathBuf::from(path)));
        }
        let (host, port) = text.rsplit_once(':')?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        (!host.is_empty() && is_port).then(|| Self::Tcp(text.to_owned()))
    }

    pub(super) fn connect(&self) -> io::Result<Connection> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Connection::Unix(stream))
            }
            Self::Tcp(address) => {
                let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
                for address in address.to_socket_addrs()? {
                    result = TcpStream::connect_timeout(&address, CONNECT_WITHIN);
                    if result.is_ok() {
                        break;
                    }
                }
                let stream = result?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(Connection::Tcp(stream))
            }
        }
    }
}

impl Connection {
    /// Writes what the kernel takes at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// Whether the collector has not closed it: without looking, lines written after a close would be lost unnoticed.
    /// What a collector sends is thrown away.
    pub(super) fn is_open(&mut self) -> bool {
        let mut scrap = [0; 256];
        let read = match self {
            Self::Tcp(stream) => stream.read(&mut scrap),
            Self::Unix(stream) => stream.read(&mut scrap),
        };
        match read {
            Ok(bytes) => bytes > 0,
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_a_host_with_a_port_or_an_absolute_path() {
        for good in ["127.0.0.1:6514", "[::1]:6514", "collector:1", "unix:/run/audit.sock"] {
            assert!(SocketSink::new(good, "k").is_ok(), "{good}");
        }
        for bad in ["", "host", ":1", "host:", "host:0", "host:70000", "unix:", "unix:run/a"] {
            assert!(matches!(SocketSink::new(bad, "k"), Err(AuditError::Refused { .. })), "{bad}");
        }
    }

    #[test]
    fn a_connection_the_collector_closed_is_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sink = SocketSink::new(&listener.local_addr().unwrap().to_string(), "k").unwrap();
        assert_eq!(sink.prepare().unwrap(), Some(Tail::default()));
        let (first, _) = listener.accept().unwrap();
        assert_eq!(sink.prepare().unwrap(), None);
        drop(first);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while sink.prepare().unwrap().is_none() {
            assert!(std::time::Instant::now() < deadline, "the close was never noticed");
            std::thread::yield_now();
        }
        let (second, _) = listener.accept().unwrap();
        assert_eq!(sink.write(b"line\n").unwrap(), 5);
        let mut line = String::new();
        BufReader::new(second).read_line(&mut line).unwrap();
        assert_eq!(line, "line\n");
    }
}
