//! List cursors: the last name given out, authenticated, so that a cursor is only ever one of ours.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

const TAG: usize = 32;

/// Makes and checks cursors. Cursors end with the process.
#[derive(Clone)]
pub struct Cursors(hmac::Key);

impl Cursors {
    /// Cursors under a key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The cursor after `name`.
    #[must_use]
    pub fn seal(&self, name: &str) -> String {
        let mut bytes = hmac::sign(&self.0, name.as_bytes()).as_ref().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The name in a cursor, if it is one of ours.
    #[must_use]
    pub fn open(&self, cursor: &str) -> Option<Box<str>> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, name) = bytes.split_at_checked(TAG)?;
        hmac::verify(&self.0, name, tag).ok()?;
        std::str::from_utf8(name).ok().map(Box::from)
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_cursors_open() {
        let (ours, theirs) = (Cursors::new(&[1; 32]), Cursors::new(&[2; 32]));
        assert_eq!(ours.open(&ours.seal("db1")).as_deref(), Some("db1"));
        assert_eq!(ours.open(&theirs.seal("db1")), None);
        assert_eq!(ours.open("AAAA"), None);
        assert_eq!(ours.open(""), None);
    }
}
