//! The two foreign spellings of a secret's name: the client's and the backend's.

use std::fmt;

/// A secret as a client calls it, before the listener's mapping: `<mount>/<logical path>` on the vault wire, the secret
/// name on aws, `<vault>/<name>` on azure, `<project>/<id>` on gcp, the secret path on scaivault. Percent-decoded once,
/// valid UTF-8, no control character; nothing more is promised.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireName(Box<str>);

/// A secret as its backend calls it, after the backend's mapping.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteName(Box<str>);

impl WireName {
    /// Wraps a decoded name; `None` if it is empty or holds a control character.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        plausible(text).then(|| Self(Box::from(text)))
    }

    /// As [`Self::parse`], keeping the text; it is not copied if its capacity is its length.
    #[must_use]
    pub fn from_text(text: String) -> Option<Self> {
        plausible(&text).then(|| Self(text.into_boxed_str()))
    }

    /// The name as decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RemoteName {
    /// Wraps a mapped name; `None` if it is empty or holds a control character.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        plausible(text).then(|| Self(Box::from(text)))
    }

    /// The folder above everything: only a store without folders has one that can be listed.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::from(""))
    }

    /// Whether this is [`Self::root`].
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// What `name` in this folder is called.
    #[must_use]
    pub fn child(&self, name: &str) -> String {
        if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.0) }
    }

    /// The name as the backend spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn plausible(text: &str) -> bool {
    !text.is_empty() && !has_control(text)
}

/// Whether a text holds a control character.
pub(crate) fn has_control(text: &str) -> bool {
    // of most texts every byte is visible ASCII, and no character needs to be made
    text.bytes().any(|byte| !matches!(byte, b' '..=b'~')) && text.chars().any(char::is_control)
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireName({:?})", self.0)
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteName({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_found_wherever_they_are() {
        for character in '\0'..='\u{2fff}' {
            assert_eq!(has_control(&format!("a{character}b")), character.is_control(), "{character:?}");
        }
        assert!(!has_control(""));
    }

    proptest! {
        #[test]
        fn a_kept_text_is_what_a_copied_one_is(text in "[a/ é\\x00\\x7f\\u{85}]{0,6}|\\PC{0,6}") {
            prop_assert_eq!(has_control(&text), text.chars().any(char::is_control));
            prop_assert_eq!(WireName::from_text(text.clone()), WireName::parse(&text));
            prop_assert_eq!(WireName::parse(&text).is_some(), !text.is_empty() && !has_control(&text));
        }
    }
}
