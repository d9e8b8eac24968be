//! Where lines go. A sink moves bytes and knows neither lines nor chains; one writer thread owns each.

mod file;
mod socket;
mod stdout;
mod syslog;

use std::io;

use super::{AuditError, SinkKind};

pub(super) use file::FileSink;
use socket::SocketSink;
use stdout::StdoutSink;
use syslog::SyslogSink;

/// A place for bytes, owned by one writer thread. What was written and then synced without an error is durable.
pub(super) trait AuditSink: Send {
    /// The word for start lines: `file`, `stdout`, `socket` or `syslog`.
    fn kind(&self) -> &'static str;

    /// Whether the sink can be expected to take lines at once; false if somebody else has to be there first.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether a write is a copy into the kernel's memory: callers may then write themselves instead of waking a thread.
    fn is_quick(&self) -> bool {
        false
    }

    /// Called before every batch: opens what is not open. `Some` if what follows goes to a new place, with what stands
    /// at its end; the writer then begins with a start line.
    fn prepare(&mut self) -> io::Result<Option<Tail>>;

    /// Writes some of the bytes with one system call. `WouldBlock` means that the rest can follow later; after any
    /// other error but `Interrupted` what was written last is torn.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes what was written durable. Called after every batch under `durability: fsync`.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Called after a write failed: what cannot be written on is closed.
    fn failed(&mut self) {}

    /// SIGHUP: the place may have been renamed. Takes effect with the next [`Self::prepare`].
    fn reopen(&mut self) {}
}

/// The end of what a new place already holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last line that ends in a newline, without it.
    pub(super) last: Option<Vec<u8>>,
    /// What follows the last newline.
    pub(super) fragment: Option<Vec<u8>>,
}

/// Builds a configured sink. `index` is its place in `audit.sinks`.
pub(super) fn build(kind: &SinkKind, index: usize, durable: bool) -> Result<Box<dyn AuditSink>, AuditError> {
    match kind {
        SinkKind::File { path } => Ok(Box::new(FileSink::open(path, &format!("audit.sinks[{index}].path"), durable)?)),
        SinkKind::Stdout => Ok(Box::new(StdoutSink::open(&format!("audit.sinks[{index}].type"))?)),
        SinkKind::Socket { address } => {
            Ok(Box::new(SocketSink::new(address, &format!("audit.sinks[{index}].address"))?))
        }
        SinkKind::Syslog { address } => {
            Ok(Box::new(SyslogSink::new(address, &format!("audit.sinks[{index}].address"))?))
        }
    }
}

/// The name of a sink in logs.
pub(super) fn describe(kind: &SinkKind) -> String {
    match kind {
        SinkKind::File { path } => format!("file {}", path.display()),
        SinkKind::Stdout => "stdout".to_owned(),
        SinkKind::Socket { address } => format!("socket {address}"),
        SinkKind::Syslog { address } => format!("syslog {address}"),
    }
}
