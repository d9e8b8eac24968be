//! Chunked request bodies, followed byte by byte beside the library's reader, which takes any byte for part of a chunk
//! extension: a bare LF there is the end of a line to another implementation.
//!
//! Digits, extensions of visible ASCII, CRLF where it belongs, bounded lines. Nothing of the data is kept or looked at.

use super::head::BadHead;

/// Bytes of a size line, or of all trailers.
const MAX_LINE: usize = 4096;
const MAX_DIGITS: u8 = 16;

pub(super) const LOOSE: BadHead = BadHead { status: 400, reason: "the body is not chunked as it should be" };

/// Where in a chunked body the bytes stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// How far a chunked body was followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk, what is still to come.
    size: u64,
    digits: u8,
    line: usize,
}

impl Chunks {
    /// Follows more of the body; false if nobody should read on. What comes behind the body is none of it.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((byte, rest)) = bytes.split_first() {
            match self.at {
                At::Done => return true,
                At::Data => bytes = self.skip(bytes),
                _ => {
                    if !self.step(*byte) {
                        return false;
                    }
                    bytes = rest;
                }
            }
        }
        true
    }

    fn skip<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
        self.size = self.size.saturating_sub(here as u64);
        if self.size == 0 {
            self.at = At::DataCr;
        }
        bytes.get(here..).unwrap_or_default()
    }

    fn step(&mut self, byte: u8) -> bool {
        self.line += 1;
        self.at = match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Size, _) => match char::from(byte).to_digit(16) {
                Some(digit) if self.digits < MAX_DIGITS => {
                    self.digits += 1;
                    self.size = (self.size << 4) | u64::from(digit);
                    At::Size
                }
                _ => return false,
            },
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~') => At::Extension,
            (At::SizeLf, b'\n') if self.size == 0 => self.next_line(At::TrailerStart),
            (At::SizeLf, b'\n') => self.next_line(At::Data),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => self.next_line(At::Size),
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::Done,
            // no folding: a trailer begins with its name
            (At::TrailerStart, b'!'..=b'~') | (At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            _ => return false,
        };
        self.line <= MAX_LINE
    }

    fn next_line(&mut self, at: At) -> At {
        (self.digits, self.line) = (0, 0);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same whole, and a byte at a time.
    fn follow(body: &[u8]) -> (bool, At) {
        let (mut whole, mut slow) = (Chunks::default(), Chunks::default());
        let fine = whole.follow(body);
        assert_eq!(body.iter().all(|byte| slow.follow(&[*byte])), fine, "{}", body.escape_ascii());
        assert_eq!(whole.at, slow.at, "{}", body.escape_ascii());
        (fine, whole.at)
    }

    #[test]
    fn h10_bodies_that_every_reader_frames_alike_are_taken() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhel\r\n\r\n000a\r\n0123456789\r\n00\r\n\r\n",
            "A;name=value;other=\"a b\"\r\n0123456789\r\n0\r\nX-A: b\r\nX-B:\tc\r\n\r\n",
            "0\r\n\r\nGET / HTTP/1.1\nwhatever comes behind",
        ] {
            assert_eq!(follow(body.as_bytes()), (true, At::Done), "{body:?}");
        }
        for body in ["", "5", "5\r", "5\r\nhel", "5\r\nhello\r", "5\r\nhello\r\n0\r\n", "0\r\nX-A"] {
            let (fine, at) = follow(body.as_bytes());
            assert!(fine && at != At::Done, "{body:?}");
        }
    }

    #[test]
    fn h10_everything_else_is_refused() {
        for body in [
            "\r\n",
            "5\nhello\r\n",
            "5;a\nb\r\nhello",
            "5;a\0b\r\nhello",
            "5;a\rb\r\nhello",
            "5;\u{7f}\r\n",
            "5;\u{e9}\r\n",
            "5 \r\nhello",
            " 5\r\nhello",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            "g\r\n",
            "00000000000000005\r\n",
            ";a\r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello world\r\n",
            "5\r\nhello\n",
            "0\r\n\n",
            "0\r\nX: a\nb\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\n\r0",
        ] {
            assert!(!follow(body.as_bytes()).0, "{body:?}");
        }
        assert!(!follow(format!("5;{}", "x".repeat(MAX_LINE)).as_bytes()).0);
        assert!(!follow(format!("0\r\nX: {}", "x".repeat(MAX_LINE)).as_bytes()).0);
        assert!(follow(b"ffffffffffffffff\r\nhello").0, "a size too large is the cap's business");
    }
}
