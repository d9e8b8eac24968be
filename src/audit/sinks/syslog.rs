//! A syslog daemon or collector: each line is one RFC 5424 message, a datagram or (RFC 6587) a frame of counted octets.
//!
//! A line counts as taken when its whole message is the kernel's: in the daemon's own queue on a Unix datagram socket, on
//! its way to it on a stream. Nobody answers in this protocol, so no transport can promise more; UDP, which promises less
//! than that, is not spoken. INVARIANT: a message that was begun is ended or its connection is closed.

use std::fs;
use std::io;
use std::mem;
use std::os::unix::net::UnixDatagram;

use super::socket::{Address, Connection};
use super::{AuditSink, Tail};
use crate::audit::AuditError;
use crate::clock::{Clock as _, SystemClock};

/// Facility 13 (log audit), severity 6 (informational).
const PRIORITY: &str = "<110>1 ";
const APP_NAME: &str = "scaivault-proxy";
const MESSAGE_ID: &str = "audit";
/// What stands for a field that is not known.
const NIL: &str = "-";
const LONGEST_HOST_NAME: usize = 255;

pub(super) struct SyslogSink {
    address: Address,
    transport: Option<Transport>,
    /// What stands between the time and the line.
    origin: String,
    /// The message of the line that has been begun, and how much of it the kernel has.
    begun: Option<(Vec<u8>, usize)>,
}

enum Transport {
    Datagram(UnixDatagram),
    Stream(Connection),
}

impl SyslogSink {
    /// Connects later, so that the daemon may be started after us.
    pub(super) fn new(address: &str, key: &str) -> Result<Self, AuditError> {
        let address = Address::checked(address, key)?;
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let origin = format!(" {} {APP_NAME} {} {MESSAGE_ID} {NIL} ", host_name(&host), std::process::id());
        Ok(Self { address, transport: None, origin, begun: None })
    }

    fn connect(&self) -> io::Result<Transport> {
        if let Address::Unix(path) = &self.address {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                // what listens there is a stream
                Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {}
                connected => {
                    connected?;
                    socket.set_nonblocking(true)?;
                    return Ok(Transport::Datagram(socket));
                }
            }
        }
        self.address.connect().map(Transport::Stream)
    }

    fn message(&self, line: &[u8], is_counted: bool) -> Vec<u8> {
        let time = SystemClock.now().rfc3339();
        let time = if time.is_empty() { NIL } else { &time };
        let length = PRIORITY.len() + time.len() + self.origin.len() + line.len();
        let count = if is_counted { format!("{length} ") } else { String::new() };
        let mut message = Vec::with_capacity(count.len() + length);
        for part in [count.as_bytes(), PRIORITY.as_bytes(), time.as_bytes(), self.origin.as_bytes(), line] {
            message.extend_from_slice(part);
        }
        message
    }
}

impl AuditSink for SyslogSink {
    fn kind(&self) -> &'static str {
        "syslog"
    }

    fn is_ready(&self) -> bool {
        false
    }

    fn prepare(&mut self) -> io::Result<Option<Tail>> {
        let is_closed = match &mut self.transport {
            Some(Transport::Stream(stream)) => !stream.is_open(),
            Some(Transport::Datagram(_)) | None => false,
        };
        if is_closed {
            self.failed();
        }
        if self.transport.is_some() {
            return Ok(None);
        }
        self.transport = Some(self.connect()?);
        Ok(Some(Tail::default()))
    }

    /// One line of those in `bytes`, or the end of the one that has been begun. Of a line whose message the kernel took in
    /// part one byte counts as written: the caller then comes back with the rest of it and with nothing else.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let whole = bytes.len().min(line.len() + 1);
        let (message, sent) = match mem::take(&mut self.begun) {
            Some(begun) => begun,
            // a newline by itself ends nothing here: messages have ends of their own
            None if line.is_empty() => return Ok(whole),
            None => (self.message(line, matches!(self.transport, Some(Transport::Stream(_)))), 0),
        };
        let was_begun = sent > 0;
        let (sent, ended) = match &mut self.transport {
            None => return Err(io::ErrorKind::NotConnected.into()),
            // all of it or nothing
            Some(Transport::Datagram(socket)) => return socket.send(&message).map(|_| whole),
            Some(Transport::Stream(stream)) => push(stream, &message, sent),
        };
        match ended {
            Ok(()) => Ok(whole),
            Err(error) if sent == 0 => Err(error),
            Err(error) => {
                self.begun = Some((message, sent));
                let is_patience = error.kind() == io::ErrorKind::WouldBlock;
                if is_patience && !was_begun { Ok(1) } else { Err(error) }
            }
        }
    }

    fn failed(&mut self) {
        self.transport = None;
        self.begun = None;
    }
}

/// Writes a message from `sent` on; yields how much of it the kernel has, and why that is not all.
fn push(stream: &mut Connection, message: &[u8], mut sent: usize) -> (usize, io::Result<()>) {
    while let Some(rest) = message.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return (sent, Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}

/// A host name as the header takes it: visible ASCII.
fn host_name(text: &str) -> &str {
    let text = text.trim();
    let is_name = (1..=LONGEST_HOST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { text } else { NIL }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;
    use crate::clock::Timestamp;

    fn sink(address: &str) -> SyslogSink {
        SyslogSink::new(address, "audit.sinks[0].address").unwrap()
    }

    fn socket_path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("scaivault-syslog-{}-{name}", std::process::id()));
        drop(fs::remove_file(&path));
        path
    }

    /// The line of a message whose header is as it should be.
    fn line_of(message: &str) -> &str {
        let fields: Vec<&str> = message.splitn(8, ' ').collect();
        let [priority, time, host, name, process, id, data, line] = fields[..] else { panic!("{message}") };
        assert_eq!((priority, name, id, data), ("<110>1", "scaivault-proxy", "audit", "-"), "{message}");
        assert!(Timestamp::parse_rfc3339(time).is_some(), "{message}");
        assert_eq!(process, std::process::id().to_string());
        assert!(!host.is_empty() && host.len() <= 255);
        line
    }

    /// Reads one frame of counted octets.
    fn frame(stream: &mut impl Read) -> String {
        let mut count = 0;
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            match byte[0] {
                b' ' => break,
                digit => {
                    assert!(digit.is_ascii_digit(), "not a count: {digit}");
                    count = count * 10 + usize::from(digit - b'0');
                }
            }
        }
        let mut message = vec![0; count];
        stream.read_exact(&mut message).unwrap();
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn a_datagram_is_a_line() {
        let path = socket_path("datagram");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut sink = sink(&format!("unix:{}", path.display()));
        assert_eq!(sink.prepare().unwrap(), Some(Tail::default()));
        assert_eq!(sink.prepare().unwrap(), None);
        let lines = b"{\"a\":\"one line\"}\n{\"b\":2}\n";
        assert_eq!(sink.write(lines).unwrap(), 17);
        assert_eq!(sink.write(&lines[17..]).unwrap(), 8);
        for expected in ["{\"a\":\"one line\"}", "{\"b\":2}"] {
            let mut buffer = [0; 1024];
            let length = daemon.recv(&mut buffer).unwrap();
            assert_eq!(line_of(std::str::from_utf8(&buffer[..length]).unwrap()), expected);
        }
        // a daemon that went away is noticed with the next line, one that is back is found
        drop(daemon);
        assert!(sink.write(lines).is_err());
        sink.failed();
        assert!(sink.prepare().is_err());
        fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert_eq!(sink.prepare().unwrap(), Some(Tail::default()));
        assert_eq!(sink.write(b"{}\n").unwrap(), 3);
        assert!(daemon.recv(&mut [0; 1024]).unwrap() > 2);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_daemon_that_takes_no_more_asks_for_patience() {
        let path = socket_path("patience");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut sink = sink(&format!("unix:{}", path.display()));
        sink.prepare().unwrap();
        let mut taken = 0;
        let error = loop {
            match sink.write(b"{\"n\":1}\n") {
                Ok(bytes) => taken += usize::from(bytes == 8),
                Err(error) => break error,
            }
            assert!(taken < 1_000_000, "nothing is that deep");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        daemon.recv(&mut [0; 1024]).unwrap();
        assert_eq!(sink.write(b"{\"n\":1}\n").unwrap(), 8);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_stream_counts_octets_on_tcp_and_where_a_unix_socket_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tcp = sink(&listener.local_addr().unwrap().to_string());
        tcp.prepare().unwrap();
        let (mut collector, _) = listener.accept().unwrap();
        let path = socket_path("stream");
        let local = UnixListener::bind(&path).unwrap();
        let mut unix = sink(&format!("unix:{}", path.display()));
        unix.prepare().unwrap();
        let (mut daemon, _) = local.accept().unwrap();
        for sink in [&mut tcp, &mut unix] {
            assert_eq!(sink.write(b"\n").unwrap(), 1, "nothing is sent for an empty line");
            assert_eq!(sink.write("{\"a\":\"é\"}\n{}\n".as_bytes()).unwrap(), 11);
            assert_eq!(sink.write(b"{}\n").unwrap(), 3);
        }
        for (one, two) in [(frame(&mut collector), frame(&mut collector)), (frame(&mut daemon), frame(&mut daemon))] {
            assert_eq!((line_of(&one), line_of(&two)), ("{\"a\":\"é\"}", "{}"));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_message_that_was_begun_is_ended_before_anything_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sink = sink(&listener.local_addr().unwrap().to_string());
        sink.prepare().unwrap();
        let (mut collector, _) = listener.accept().unwrap();
        let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(100_000)).into_bytes();
        // as the audit writer does: on with the rest after a part, the same again after `WouldBlock`
        let (mut lines, mut at) = (0, 0);
        let begun = loop {
            match sink.write(&line[at..]) {
                Ok(bytes) => at += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break at;
                }
            }
            if at == line.len() {
                (lines, at) = (lines + 1, 0);
            }
            assert!(lines < 10_000, "no buffer is that large");
        };
        assert!(begun <= 1 && lines > 0, "{begun}");
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < lines + 1 {
                assert_eq!(line_of(&frame(&mut collector)).len(), 100_011, "a whole line");
                seen += 1;
            }
        });
        while at < line.len() {
            match sink.write(&line[at..]) {
                Ok(bytes) => at += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        reader.join().unwrap();
    }

    #[test]
    fn a_host_name_is_visible_ascii_or_nothing() {
        let long = "a".repeat(256);
        for (text, expected) in [("node-1\n", "node-1"), ("", "-"), ("a b", "-"), ("é", "-"), (long.as_str(), "-")] {
            assert_eq!(host_name(text), expected);
        }
    }
}
