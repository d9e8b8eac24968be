//! A socket that takes lines from whoever connects and answers nothing.
//!
//! A peer is never made to wait: whoever reports to us may wait for us in turn. One that sends a line that is too long or
//! does not end, or nothing that is understood, is cut off, and so is one too many. A Unix socket is open to its owner only.
//! Nothing of a line is kept; what it means is for whoever hears it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// How much is read at once, and how large a buffer may stay between lines.
const CHUNK: usize = 16 * 1024;
/// How long nobody is accepted after that failed: the process may be out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TOO_LONG: &str = "it sent a line that is too long";
const TOO_SLOW: &str = "it did not end a line in time";
const NOT_UNDERSTOOD: &str = "it sent nothing but what is not understood";

/// What one socket bears.
#[derive(Clone, Copy, Debug)]
pub struct LineCaps {
    /// The longest line, in bytes, without its end.
    pub line_bytes: usize,
    /// How many peers at once.
    pub connections: usize,
    /// How long a line may take from its first byte to its end. Between lines a peer may be silent for ever.
    pub line_timeout: Duration,
    /// How many lines in a row need not be understood.
    pub misunderstood: usize,
}

/// What happens at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A peer connected.
    Opened,
    /// A peer was one too many.
    Refused,
    /// A line, without its end.
    Line(&'a [u8]),
    /// A peer is gone; with a reason if it was cut off.
    Closed(Option<&'static str>),
}

/// Whoever is told of it; must not wait. What it says of a line is whether it was understood.
pub type Hear = Arc<dyn Fn(Heard<'_>) -> bool + Send + Sync>;

/// A socket that is bound and not served yet: peers may connect and wait. The file of a Unix socket goes with it.
pub struct LineSocket {
    bound: Bound,
    file: Option<SocketFile>,
}

enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl LineSocket {
    /// Binds a TCP port.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let bound = std::net::TcpListener::bind(address)?;
        bound.set_nonblocking(true)?;
        Ok(Self { bound: Bound::Tcp(bound), file: None })
    }

    /// Binds a Unix socket with mode 0600, in place of one that nobody answers on.
    ///
    /// # Errors
    /// When it cannot be bound, somebody answers there, or a file that is no socket is in the way.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let taken = |why: &'static str| io::Error::new(io::ErrorKind::AddrInUse, why);
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => return Err(taken("a file that is no socket is there")),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(taken("another process listens there")),
            // a process that was killed left it
            Ok(_) => fs::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let bound = std::os::unix::net::UnixListener::bind(path)?;
        let file = SocketFile::at(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        bound.set_nonblocking(true)?;
        Ok(Self { bound: Bound::Unix(bound), file: Some(file) })
    }

    /// Hears everybody until it is dropped, which cuts all peers off.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub async fn serve(self, caps: LineCaps, hear: Hear) -> io::Result<()> {
        let Self { bound, file: _file } = self;
        let door = match bound {
            Bound::Tcp(bound) => Door::Tcp(TcpListener::from_std(bound)?),
            Bound::Unix(bound) => Door::Unix(UnixListener::from_std(bound)?),
        };
        let mut peers = JoinSet::new();
        loop {
            tokio::select! {
                // who left makes room for who comes
                biased;
                Some(_) = peers.join_next() => {}
                accepted = door.accept() => match accepted {
                    Ok(peer) if peers.len() < caps.connections => {
                        hear(Heard::Opened);
                        let visit = Visit { hear: hear.clone(), why: None };
                        peers.spawn(attend(peer, caps, visit));
                    }
                    Ok(_) => {
                        hear(Heard::Refused);
                    }
                    Err(_) => sleep(PAUSE).await,
                },
            }
        }
    }
}

type Peer = Box<dyn AsyncRead + Send + Unpin>;

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    async fn accept(&self) -> io::Result<Peer> {
        let peer: Peer = match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        };
        Ok(peer)
    }
}

/// A peer that is there. However it goes, that is told.
struct Visit {
    hear: Hear,
    why: Option<&'static str>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        (self.hear)(Heard::Closed(self.why));
    }
}

async fn attend(mut peer: Peer, caps: LineCaps, mut visit: Visit) {
    visit.why = follow(&mut peer, caps, &visit.hear).await;
}

/// Hears a peer out; yields why it is cut off, or `None` if it left.
async fn follow(peer: &mut Peer, caps: LineCaps, hear: &Hear) -> Option<&'static str> {
    let mut chunk = vec![0_u8; CHUNK];
    let mut held: Vec<u8> = Vec::new();
    // when the line began that has not ended
    let mut begun: Option<Instant> = None;
    let mut misunderstood = 0;
    loop {
        let read = peer.read(&mut chunk);
        let count = match begun {
            None => read.await,
            Some(begun) => match timeout_at(begun + caps.line_timeout, read).await {
                Ok(count) => count,
                Err(_) => return Some(TOO_SLOW),
            },
        };
        let mut rest = match count {
            Ok(0) | Err(_) => return None,
            Ok(count) => chunk.get(..count).unwrap_or_default(),
        };
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if held.len() + line.len() > caps.line_bytes {
                return Some(TOO_LONG);
            }
            let is_understood = if held.is_empty() {
                hear(Heard::Line(line))
            } else {
                held.extend_from_slice(line);
                hear(Heard::Line(&held))
            };
            misunderstood = if is_understood { 0 } else { misunderstood + 1 };
            if misunderstood > caps.misunderstood {
                return Some(NOT_UNDERSTOOD);
            }
            held.clear();
            held.shrink_to(CHUNK);
            begun = None;
        }
        if held.len() + rest.len() > caps.line_bytes {
            return Some(TOO_LONG);
        }
        if !rest.is_empty() {
            held.extend_from_slice(rest);
            begun.get_or_insert_with(Instant::now);
        }
    }
}

/// The file of a Unix socket, removed unless another one has taken its place.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Mutex;

    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const CAPS: LineCaps =
        LineCaps { line_bytes: 40_000, connections: 2, line_timeout: Duration::from_secs(10), misunderstood: 3 };

    /// Everything that was heard, as text. What begins with `?` is not understood.
    fn ear() -> (Arc<Mutex<Vec<String>>>, Hear) {
        let all: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = all.clone();
        let hear: Hear = Arc::new(move |heard: Heard<'_>| {
            let (text, is_understood) = match heard {
                Heard::Line(line) => (String::from_utf8(line.to_vec()).unwrap(), !line.starts_with(b"?")),
                other => (format!("{other:?}"), true),
            };
            kept.lock().unwrap().push(text);
            is_understood
        });
        (all, hear)
    }

    /// What is heard of a peer that sends these pieces and leaves, and why it was cut off.
    async fn sent(pieces: &[&[u8]]) -> (Vec<String>, Option<&'static str>) {
        let (all, hear) = ear();
        let (mut peer, ours): (DuplexStream, DuplexStream) = duplex(1 << 20);
        for piece in pieces {
            peer.write_all(piece).await.unwrap();
        }
        drop(peer);
        let mut ours: Peer = Box::new(ours);
        let why = follow(&mut ours, CAPS, &hear).await;
        let heard = all.lock().unwrap().clone();
        (heard, why)
    }

    #[tokio::test]
    async fn lines_are_heard_however_they_are_cut() {
        let (heard, why) = sent(&[b"one\ntw", b"o\n\nthr", b"ee\nnever ended"]).await;
        assert_eq!((heard, why), (["one", "two", "", "three"].map(str::to_owned).to_vec(), None));
        let long = "x".repeat(CAPS.line_bytes);
        let (heard, why) = sent(&[long.as_bytes(), b"\nafter\n"]).await;
        assert_eq!((heard, why), (vec![long.clone(), "after".to_owned()], None));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_cuts_its_peer_off() {
        let long = "x".repeat(CAPS.line_bytes + 1);
        assert_eq!(sent(&[long.as_bytes()]).await, (Vec::new(), Some(TOO_LONG)), "it need not end");
        let (heard, why) = sent(&[b"before\n", long.as_bytes(), b"\nafter\n"]).await;
        assert_eq!((heard, why), (vec!["before".to_owned()], Some(TOO_LONG)));
    }

    #[tokio::test]
    async fn who_says_nothing_that_is_understood_is_cut_off() {
        let (heard, why) = sent(&[b"?1\n?2\n?3\nfine\n?4\n?5\n?6\n"]).await;
        assert_eq!((heard.len(), why), (7, None));
        let (heard, why) = sent(&[b"fine\n?1\n?2\n?3\n?4\nfine\n"]).await;
        assert_eq!((heard.len(), why), (5, Some(NOT_UNDERSTOOD)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_must_end_in_time_and_silence_is_fine() {
        let (all, hear) = ear();
        let (mut peer, ours) = duplex(1024);
        let mut ours: Peer = Box::new(ours);
        let following = tokio::spawn(async move { follow(&mut ours, CAPS, &hear).await });
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        peer.write_all(b"one\ntw").await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        peer.write_all(b"o").await.unwrap();
        assert!(!following.is_finished());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(following.await.unwrap(), Some(TOO_SLOW), "a byte now and then is no progress");
        assert_eq!(*all.lock().unwrap(), ["one"]);
    }

    async fn until(all: &Mutex<Vec<String>>, is_there: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_there(&all.lock().unwrap()) {
            assert!(Instant::now() < deadline, "{:?}", all.lock().unwrap());
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn count(heard: &[String], what: &str) -> usize {
        heard.iter().filter(|text| *text == what).count()
    }

    #[tokio::test]
    async fn a_unix_socket_is_its_owners_and_bears_so_many_peers() {
        let directory = std::env::temp_dir().join(format!("scaivault-lines-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("device");
        fs::write(&path, "").unwrap();
        assert!(LineSocket::unix(&path).is_err(), "a file stays");
        fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = LineSocket::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let (all, hear) = ear();
        let serving = tokio::spawn(socket.serve(CAPS, hear));
        let mut first = tokio::net::UnixStream::connect(&path).await.unwrap();
        let second = tokio::net::UnixStream::connect(&path).await.unwrap();
        first.write_all(b"hello\n").await.unwrap();
        until(&all, |heard| count(heard, "hello") == 1 && count(heard, "Opened") == 2).await;
        let mut third = tokio::net::UnixStream::connect(&path).await.unwrap();
        until(&all, |heard| count(heard, "Refused") == 1).await;
        assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0);
        drop(second);
        until(&all, |heard| count(heard, "Closed(None)") == 1).await;
        let _fourth = tokio::net::UnixStream::connect(&path).await.unwrap();
        until(&all, |heard| count(heard, "Opened") == 3).await;
        assert!(LineSocket::unix(&path).is_err(), "somebody listens there");
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        until(&all, |heard| count(heard, "Closed(None)") == 3).await;
        assert!(!path.exists(), "the file goes with the socket");
        fs::remove_dir(&directory).unwrap();
    }

    #[tokio::test]
    async fn a_tcp_port_is_taken_once() {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free.local_addr().unwrap().port());
        assert!(LineSocket::tcp(address).is_err());
        drop(free);
        let socket = LineSocket::tcp(address).unwrap();
        let (all, hear) = ear();
        let serving = tokio::spawn(socket.serve(CAPS, hear));
        let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
        peer.write_all(b"over tcp\n").await.unwrap();
        until(&all, |heard| count(heard, "over tcp") == 1).await;
        serving.abort();
    }
}
