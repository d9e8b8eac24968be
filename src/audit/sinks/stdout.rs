//! Standard output, for collectors of container logs. The process logs to standard error, so the two never mix.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::{AuditSink, Tail};
use crate::audit::AuditError;

/// Writes past the standard library's buffer, which would hide how much was written. Blocks its thread while the reader
/// does not read: others share the pipe, so it must not be made non-blocking.
pub(super) struct StdoutSink {
    out: File,
    is_new: bool,
}

impl StdoutSink {
    pub(super) fn open(key: &str) -> Result<Self, AuditError> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned();
        let out = descriptor.map_err(|source| AuditError::Open {
            key: key.to_owned(),
            target: "standard output".to_owned(),
            source,
        })?;
        Ok(Self { out: File::from(out), is_new: true })
    }
}

impl AuditSink for StdoutSink {
    fn kind(&self) -> &'static str {
        "stdout"
    }

    fn prepare(&mut self) -> io::Result<Option<Tail>> {
        Ok(std::mem::take(&mut self.is_new).then(Tail::default))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }
}
