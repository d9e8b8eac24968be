//! Identifiers of requests, lines and runs.
//!
//! They are unique, not secret: each thread draws from its own generator, seeded once from the operating system, so
//! that an identifier costs no system call.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;

use ulid::{ULID_LEN, Ulid};

use super::draft::hex_digit;
use crate::clock::{Clock, Timestamp};

const UUID_LEN: usize = 36;

/// The identifier of one request: 128 bits, shown as the 26 characters of a ULID. Every error a client sees carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Ulid);

impl RequestId {
    /// A new one, made of the time in milliseconds and 80 random bits.
    #[must_use]
    pub fn fresh(clock: &dyn Clock) -> Self {
        Self::at(clock.now())
    }

    /// The identifier that text shows, as a ULID or as a UUID; `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == UUID_LEN {
            let digits = text.replace('-', "");
            return u128::from_str_radix(&digits, 16).ok().map(|bits| Self(Ulid(bits)));
        }
        Ulid::from_string(text).ok().map(Self)
    }

    /// Its characters.
    #[must_use]
    pub fn to_text(self) -> IdText {
        let mut text = IdText { bytes: [0; UUID_LEN], len: ULID_LEN };
        let mut ulid = [0; ULID_LEN];
        self.0.array_to_str(&mut ulid);
        for (to, from) in text.bytes.iter_mut().zip(ulid) {
            *to = from;
        }
        text
    }

    /// The same number as a UUID.
    #[must_use]
    pub fn to_uuid(self) -> IdText {
        let mut text = IdText { bytes: [b'-'; UUID_LEN], len: UUID_LEN };
        let digits = self.0.0.to_be_bytes().into_iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)]);
        let places = text.bytes.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        for ((_, to), digit) in places.zip(digits) {
            *to = digit;
        }
        text
    }

    /// A new one of a given time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(Ulid::from_parts(time.micros() / 1000, draw()))
    }

    pub(super) fn write(self, out: &mut String) {
        out.push_str(self.0.array_to_str(&mut [0; ULID_LEN]));
    }
}

/// An identifier's text, without an allocation.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; UUID_LEN],
    len: usize,
}

impl Deref for IdText {
    type Target = str;

    fn deref(&self) -> &str {
        self.bytes.get(..self.len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.array_to_str(&mut [0; ULID_LEN]))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

thread_local! {
    static STREAM: Cell<[u64; 2]> = Cell::new([seed(), seed()]);
}

/// The standard library keys its hashers from the operating system's randomness and never fails to.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Two splitmix64 streams side by side; the increments differ so that they never run in step.
fn draw() -> u128 {
    STREAM.with(|stream| {
        let [high, low] = stream.get();
        let next = [high.wrapping_add(0x9e37_79b9_7f4a_7c15), low.wrapping_add(0xd1b5_4a32_d192_ed03)];
        stream.set(next);
        let [high, low] = next.map(mix);
        (u128::from(high) << 64) | u128::from(low)
    })
}

const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn identifiers_of_one_instant_differ_and_read_back() {
        let clock = ManualClock::at(Timestamp::from_secs(1_795_428_417));
        let other = std::thread::spawn(|| (0..1000).map(|_| draw()).collect::<Vec<_>>()).join().unwrap();
        let mut seen: HashSet<u128> = other.into_iter().map(|bits| bits & ((1 << 80) - 1)).collect();
        for _ in 0..1000 {
            let id = RequestId::fresh(&clock);
            let text = id.to_string();
            assert_eq!((text.len(), &*id.to_text()), (26, text.as_str()));
            let uuid = id.to_uuid();
            assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert_eq!(RequestId::parse(&text), Some(id));
            assert_eq!(RequestId::parse(&id.to_uuid()), Some(id));
            assert!(seen.insert(id.0.random()));
        }
        assert_eq!(seen.len(), 2000);
    }
}
