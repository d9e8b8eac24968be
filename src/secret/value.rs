//! Secret values in memory.

use std::fmt;

use zeroize::Zeroizing;

/// How a value is to be understood when it crosses from one wire family to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretType {
    /// A JSON document (an object, for the stores that hold fields).
    Json,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl SecretType {
    /// `json`, `text` or `binary`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            "binary" => Some(Self::Binary),
            _ => None,
        }
    }
}

/// The bytes of a secret, wiped when dropped. No `Clone`, no `Display`, no `Serialize`; `Debug` shows the length only.
/// INVARIANT: every read of the bytes goes through [`Self::expose`], which the architecture test counts.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over without copying them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies the bytes into an allocation of exactly their size.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// The bytes. Callers are the wires that encode them, the barrier that seals them and backends that write them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte() {
        let value = SecretValue::copy_of(b"canary");
        assert_eq!(format!("{value:?}"), "SecretValue(6 bytes)");
    }
}
