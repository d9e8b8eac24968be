//! The chain that makes the trail tamper-evident: a number and a MAC on every line.
//!
//! A line's `mac` is HMAC-SHA-256 over its text up to and including `"prev":"…"`, and `prev` is the `mac` of the line
//! before, so each line proves itself and names its place wherever it is found. The first line of a chain has number 1
//! and a `prev` of zeros. INVARIANT: one position has one successor; whoever appends a line that was not written in full
//! goes back to the position before it.

use std::borrow::Cow;

use ring::hmac;
use serde::Deserialize;

use super::draft::{Fields, hex_digit};
use crate::clock::Timestamp;

const MAC_TEXT: usize = 64;
const MAC_KEY: &[u8; 8] = b",\"mac\":\"";
const PREV_KEY: &[u8; 9] = b",\"prev\":\"";
/// `,"mac":"…"}`
const MAC_FIELD: usize = MAC_KEY.len() + MAC_TEXT + 2;

/// A place in a chain: the last line's number and MAC in hex.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) mac: [u8; MAC_TEXT],
}

impl Position {
    /// Before the first line.
    pub(super) const GENESIS: Self = Self { seq: 0, mac: [b'0'; MAC_TEXT] };
}

/// One chain: its key, its instance and where it stands.
pub(super) struct Chain {
    key: hmac::Key,
    /// What stands between a line's time and its number.
    head: Vec<u8>,
    position: Position,
    stamp: Stamp,
}

impl Chain {
    pub(super) fn new(key: hmac::Key, instance: &str) -> Self {
        let mut head = String::from("\",");
        Fields::new(&mut head).text("instance", instance);
        head.push_str(",\"seq\":");
        Self { key, head: head.into_bytes(), position: Position::GENESIS, stamp: Stamp::default() }
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// Goes back (or to where another process stopped).
    pub(super) const fn stand_at(&mut self, position: Position) {
        self.position = position;
    }

    /// Appends one line, newline included, with the body given in parts, and stands behind it.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, time: Timestamp, body: &[&[u8]]) {
        let start = out.len();
        let seq = self.position.seq.saturating_add(1);
        out.extend_from_slice(b"{\"time\":\"");
        self.stamp.write(time, out);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
        out.push(b',');
        for part in body {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(PREV_KEY);
        out.extend_from_slice(&self.position.mac);
        out.push(b'"');
        let tag = hmac::sign(&self.key, out.get(start..).unwrap_or_default());
        let mac = to_hex(tag.as_ref());
        out.extend_from_slice(MAC_KEY);
        out.extend_from_slice(&mac);
        out.extend_from_slice(b"\"}\n");
        self.position = Position { seq, mac };
    }

    /// Where the chain stands after `line` (without its newline); `None` if the line is not one of this key.
    pub(super) fn position_after(&self, line: &[u8]) -> Option<Position> {
        let link = Link::parse(line)?;
        let head: Head<'_> = serde_json::from_slice(line).ok()?;
        link.is_authentic(&self.key).then(|| Position { seq: head.seq, mac: to_hex(&link.mac) })
    }
}

/// What verification needs of a line's fields.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    pub(super) instance: Cow<'a, str>,
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) run: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) sink: Option<Cow<'a, str>>,
}

/// A line taken apart: what is signed, and the two MACs. Nothing is checked yet.
pub(super) struct Link<'a> {
    signed: &'a [u8],
    pub(super) prev: [u8; 32],
    pub(super) mac: [u8; 32],
}

impl<'a> Link<'a> {
    /// `None` if the text does not end in `,"prev":"…","mac":"…"}`.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (signed, tail) = line.split_at_checked(line.len().checked_sub(MAC_FIELD)?)?;
        let mac = from_hex(tail.strip_prefix(MAC_KEY)?.strip_suffix(b"\"}")?)?;
        let unquoted = signed.strip_suffix(b"\"")?;
        let (before, prev) = unquoted.split_at_checked(unquoted.len().checked_sub(MAC_TEXT)?)?;
        before.ends_with(PREV_KEY).then_some(())?;
        Some(Self { signed, prev: from_hex(prev)?, mac })
    }

    /// Compares the MAC in constant time.
    pub(super) fn is_authentic(&self, key: &hmac::Key) -> bool {
        hmac::verify(key, self.signed, &self.mac).is_ok()
    }
}

fn to_hex(bytes: &[u8]) -> [u8; MAC_TEXT] {
    let mut text = [b'0'; MAC_TEXT];
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = digits {
            *high = hex_digit(byte >> 4);
            *low = hex_digit(byte & 15);
        }
    }
    text
}

/// Only the spelling that [`to_hex`] makes.
fn from_hex(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != MAC_TEXT {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = digits else { return None };
        *byte = (hex_value(*high)? << 4) | hex_value(*low)?;
    }
    Some(bytes)
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Writes times, formatting the date and the second only when they change.
#[derive(Default)]
struct Stamp {
    second: Option<u64>,
    /// `2026-11-23T10:06:57.`
    text: String,
}

impl Stamp {
    fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        if self.second != Some(time.secs()) {
            self.second = Some(time.secs());
            self.text.clear();
            time.write_rfc3339(&mut self.text);
            // Keeps everything up to the point; a time out of range is written as no time.
            self.text.truncate(self.text.find('.').map_or(0, |point| point + 1));
        }
        if self.text.is_empty() {
            return;
        }
        out.extend_from_slice(self.text.as_bytes());
        let micros = time.micros() % 1_000_000;
        let mut unit = 100_000;
        while unit > 0 {
            out.push(b'0' + u8::try_from(micros / unit % 10).unwrap_or(0));
            unit /= 10;
        }
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditKey;

    fn chain() -> Chain {
        Chain::new(AuditKey::from_bytes([7; 32]).chain_key(), "node \"1\"")
    }

    #[test]
    fn a_line_is_json_and_proves_itself() {
        let mut chain = chain();
        let mut out = Vec::new();
        let time = Timestamp::from_micros(1_795_428_417_000_042);
        chain.append(&mut out, time, &[b"\"id\":\"x\",", b"\"kind\":\"read\""]);
        let first = chain.position();
        chain.append(&mut out, time, &[b"\"id\":\"y\",\"kind\":\"read\""]);
        let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
        let [one, two, rest] = lines[..] else { panic!("two lines") };
        assert!(rest.is_empty());
        let json: serde_json::Value = serde_json::from_slice(one).unwrap();
        assert_eq!(json["time"], time.rfc3339());
        assert_eq!(json["instance"], "node \"1\"");
        assert_eq!(json["seq"], 1);
        assert_eq!(json["kind"], "read");
        assert_eq!(json["prev"], "0".repeat(64));
        assert_eq!(chain.position_after(one), Some(first));
        assert_eq!(chain.position_after(two), Some(chain.position()));
        assert_eq!(Link::parse(two).unwrap().prev, Link::parse(one).unwrap().mac);
    }

    #[test]
    fn a14_any_changed_byte_is_noticed() {
        let mut chain = chain();
        let mut out = Vec::new();
        chain.append(&mut out, Timestamp::from_secs(1), &[b"\"kind\":\"read\",\"path\":\"a/b\""]);
        out.pop();
        assert!(chain.position_after(&out).is_some());
        for at in 0..out.len() {
            let mut changed = out.clone();
            changed[at] ^= 1;
            assert_eq!(chain.position_after(&changed), None, "byte {at}");
        }
        for shorter in 0..out.len() {
            assert_eq!(chain.position_after(&out[..shorter]), None);
        }
    }

    #[test]
    fn times_equal_those_of_the_clock() {
        let mut stamp = Stamp::default();
        for micros in [0, 999_999, 1_000_000, 1_795_428_417_123_456, 1_795_428_417_000_001, 5] {
            let mut out = Vec::new();
            stamp.write(Timestamp::from_micros(micros), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), Timestamp::from_micros(micros).rfc3339());
        }
    }
}
