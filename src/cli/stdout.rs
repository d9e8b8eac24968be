//! Standard output, for every verb.
//!
//! A reader that has seen enough (`| head`) is no error: what it did not take is dropped, and the verb ends as it would have.
//! Any other trouble is kept until the verb has ended, so that half an answer never looks like a whole one.

use std::fmt;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::sync::OnceLock;

/// The first thing that went wrong.
static TROUBLE: OnceLock<Error> = OnceLock::new();

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($text:tt)+) => { $crate::cli::stdout::line(format_args!($($text)+)) };
}
pub(super) use say;

/// Prints a line.
pub(super) fn line(text: fmt::Arguments<'_>) {
    note(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Prints bytes as they are.
pub(super) fn bytes(parts: &[&[u8]]) {
    let mut out = std::io::stdout().lock();
    let written = parts.iter().try_for_each(|part| out.write_all(part));
    note(written.and_then(|()| out.flush()));
}

/// Keeps what went wrong with a write to standard output.
pub(super) fn note(written: Result<()>) {
    if let Some(error) = worth_telling(written) {
        let _told_already = TROUBLE.set(error);
    }
}

/// What went wrong, if anything did.
pub(super) fn trouble() -> Option<&'static Error> {
    TROUBLE.get()
}

fn worth_telling(written: Result<()>) -> Option<Error> {
    written.err().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_trouble() {
        assert!(worth_telling(Ok(())).is_none());
        assert!(worth_telling(Err(ErrorKind::BrokenPipe.into())).is_none());
        let full = worth_telling(Err(ErrorKind::StorageFull.into()));
        assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::StorageFull));
    }

    #[test]
    fn a_pipe_nobody_reads_ends_quietly() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let written = writer.write_all(b"line\n");
        assert!(written.is_err() && worth_telling(written).is_none());
    }
}
