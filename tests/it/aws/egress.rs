//! A forward proxy between the proxy and AWS: whichever host of AWS a connection is asked for, it is led to a [`Relay`], which
//! is spoken to in that host's name. So clients go where they really go, by name and with TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::{DEFAULT_VERSIONS, ServerConfig, ServerConnection, StreamOwned};

use super::relay::{Line, Relay};
use crate::certs::Authority;
use crate::harness::{Listening, ProxyBuilder};

/// Whom it can speak as; the first one is itself.
const NAMES: [&str; 4] =
    ["127.0.0.1", "*.us-east-1.amazonaws.com", "*.us-east-1.api.aws", "portal.sso.us-east-1.amazonaws.com"];

/// A running forward proxy. Ends with its value.
pub(super) struct Egress {
    listening: Listening,
    is_sealed: bool,
    authority: Authority,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a connection needs.
struct Means {
    tls: Arc<ServerConfig>,
    line: Arc<Line>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Egress {
    /// One that leads to this relay, and is itself spoken to over TLS if it is sealed.
    pub(super) fn before(relay: &Relay, is_sealed: bool) -> Self {
        let authority = Authority::new("whom the machine trusts");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let tls = authority.server_called(&NAMES).serving(DEFAULT_VERSIONS);
        let means = Means { tls, line: relay.line(), asked: asked.clone() };
        let listening = Listening::start(move |stream| means.begin(stream, is_sealed));
        Self { listening, is_sealed, authority, asked }
    }

    /// As a `proxy_url`.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.is_sealed { "https" } else { "http" }, self.listening.address())
    }

    /// The builder of a proxy on a machine that trusts whom this one speaks as, and nobody else.
    pub(super) fn trusted_by(&self, builder: ProxyBuilder) -> ProxyBuilder {
        let builder = builder.file("machine.pem", self.authority.pem());
        let file = builder.dir().join("machine.pem").display().to_string();
        builder.env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", "/nonexistent")
    }

    /// The places connections were asked for, each once, sorted.
    pub(super) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Means {
    fn begin(&self, stream: TcpStream, is_sealed: bool) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if is_sealed { self.lead(self.tls(stream)?) } else { self.lead(stream) }
    }

    fn tls<S: Read + Write>(&self, stream: S) -> io::Result<StreamOwned<ServerConnection, S>> {
        Ok(StreamOwned::new(ServerConnection::new(self.tls.clone()).map_err(io::Error::other)?, stream))
    }

    fn lead<S: Read + Write>(&self, mut stream: S) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let place = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
        self.asked.lock().unwrap().push(place.map_or_else(|| format!("no place: {head}"), str::to_owned));
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        stream.flush()?;
        self.line.carry(self.tls(stream)?)
    }
}
