//! What the trail is started with: the compiled form of the `audit` block of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ring::hmac;
use zeroize::Zeroizing;

/// What separates the trail's key from other keys derived from one root.
const LABEL: &[u8] = b"scaivault-proxy audit chain v1";

/// When a line counts as taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the kernel has accepted it.
    #[default]
    Write,
    /// When it is on the disk. All lines that wait share one `fdatasync`. Sinks that are no regular file behave as with
    /// [`Self::Write`].
    Fsync,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A regular file or a FIFO.
    File {
        /// Its path. The directory must be closed to others.
        path: PathBuf,
    },
    /// Standard output.
    Stdout,
    /// A collector that reads lines from a stream.
    Socket {
        /// `HOST:PORT` or `unix:/PATH`.
        address: String,
    },
    /// A syslog daemon or collector that reads RFC 5424: a line a message.
    Syslog {
        /// `HOST:PORT` (TCP, octets counted) or `unix:/PATH` (datagrams, or a stream with octets counted).
        address: String,
    },
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Where its lines go.
    pub kind: SinkKind,
    /// Whether nothing may be disclosed while this sink takes no lines.
    pub required: bool,
}

/// The key of the chain: 32 bytes, wiped when dropped, never shown.
pub struct AuditKey(Zeroizing<[u8; 32]>);

impl AuditKey {
    /// The key of `audit.key`.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key that belongs to a root key (HMAC-SHA-256 of a fixed label), for configurations without `audit.key`.
    /// `root` must be as hard to guess as a key.
    #[must_use]
    pub fn derive(root: &[u8]) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, root), LABEL);
        let mut key = Self(Zeroizing::new([0; 32]));
        for (to, from) in key.0.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        key
    }

    /// The bytes, for [`super::verify()`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    pub(super) fn chain_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.as_bytes())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(32 bytes)")
    }
}

/// Everything the trail is started with.
#[derive(Debug)]
pub struct AuditSettings {
    /// When a line counts as taken.
    pub durability: Durability,
    /// The key of the chain.
    pub key: AuditKey,
    /// The name of this process in every line; by default the host name.
    pub instance: String,
    /// At least one.
    pub sinks: Vec<SinkSettings>,
    /// How long a call waits for the required sinks, at most; 2 s by default.
    pub budget: Duration,
    /// How many refusals of callers without a principal are written in full each second; the rest are counted.
    pub unauthenticated_per_second: u32,
}

impl AuditSettings {
    /// Settings with the documented defaults: `durability: write`, a budget of 2 s, 100 unauthenticated refusals a
    /// second.
    #[must_use]
    pub const fn new(key: AuditKey, instance: String, sinks: Vec<SinkSettings>) -> Self {
        Self {
            durability: Durability::Write,
            key,
            instance,
            sinks,
            budget: Duration::from_secs(2),
            unauthenticated_per_second: 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_the_derived_key_depends_on_the_root_and_is_never_the_root() {
        let (one, two) = (AuditKey::derive(&[1; 32]), AuditKey::derive(&[2; 32]));
        assert_ne!(one.as_bytes(), two.as_bytes());
        assert_ne!(one.as_bytes(), [1; 32]);
        assert_eq!(one.as_bytes(), AuditKey::derive(&[1; 32]).as_bytes());
        assert_eq!(format!("{one:?}"), "AuditKey(32 bytes)");
    }
}
