//! Secret paths: the canonical name of a secret, and folders, its prefixes.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

const MAX_BYTES: usize = 512;
const MAX_SEGMENTS: usize = 32;
const MAX_SEGMENT_BYTES: usize = 128;

/// Why a text is not a secret path. Never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// No text at all.
    #[error("the path is empty")]
    Empty,
    /// Longer than 512 bytes.
    #[error("the path is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// More than 32 segments.
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooDeep,
    /// `a//b`, a leading or a trailing slash.
    #[error("segment {0} is empty (leading, trailing or double slash)")]
    EmptySegment(usize),
    /// Longer than 128 bytes.
    #[error("segment {0} is longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong(usize),
    /// `.` or `..`.
    #[error("segment {0} is a dot segment")]
    DotSegment(usize),
    /// Outside `A-Z a-z 0-9 . _ -`.
    #[error("segment {0} holds a character outside A-Z a-z 0-9 . _ -")]
    Character(usize),
}

/// The canonical name of a secret: 1 to 32 segments joined by `/`, each 1 to 128 bytes of `A-Z a-z 0-9 . _ -`, no dot
/// segment, at most 512 bytes. Case-sensitive. Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPath(Arc<str>);

impl SecretPath {
    /// The only way to make one.
    ///
    /// # Errors
    /// The first rule of the grammar that `text` breaks. Nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        validate(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// Whether [`Self::parse`] would make one of `text`.
    #[must_use]
    pub fn is_path(text: &str) -> bool {
        validate(text).is_ok()
    }

    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn leaf(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds this secret.
    #[must_use]
    pub fn folder(&self) -> Folder {
        match self.0.rsplit_once('/') {
            Some((folder, _)) => Folder(Arc::from(folder)),
            None => Folder::root(),
        }
    }
}

fn validate(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(PathError::TooLong);
    }
    for (index, segment) in text.as_bytes().split(|byte| *byte == b'/').enumerate() {
        if index >= MAX_SEGMENTS {
            return Err(PathError::TooDeep);
        }
        validate_segment(segment, index)?;
    }
    Ok(())
}

fn validate_segment(segment: &[u8], index: usize) -> Result<(), PathError> {
    match segment {
        [] => return Err(PathError::EmptySegment(index)),
        [b'.'] | [b'.', b'.'] => return Err(PathError::DotSegment(index)),
        _ => {}
    }
    if segment.len() > MAX_SEGMENT_BYTES {
        return Err(PathError::SegmentTooLong(index));
    }
    if segment.iter().copied().all(is_segment_byte) { Ok(()) } else { Err(PathError::Character(index)) }
}

const fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPath({})", self.0)
    }
}

impl std::borrow::Borrow<str> for SecretPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A folder: the root (empty text) or anything that parses as a [`SecretPath`]. Written without a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Folder(Arc<str>);

impl Folder {
    /// The folder that holds everything.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// Parses a folder; the empty text is the root.
    ///
    /// # Errors
    /// As [`SecretPath::parse`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if !text.is_empty() {
            validate(text)?;
        }
        Ok(Self(Arc::from(text)))
    }

    /// The folder as written, empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret `name` directly in this folder.
    ///
    /// # Errors
    /// When the joined text is not a secret path.
    pub fn join(&self, name: &str) -> Result<SecretPath, PathError> {
        if self.is_root() { SecretPath::parse(name) } else { SecretPath::parse(&format!("{}/{name}", self.0)) }
    }

    /// Whether `path` lies in this folder, at any depth.
    #[must_use]
    pub fn holds(&self, path: &SecretPath) -> bool {
        self.is_root() || path.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The texts of this folder and its ancestors, deepest first, the root (`""`) last.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        let mut next = Some(&*self.0);
        std::iter::from_fn(move || {
            let current = next?;
            next = match current.rsplit_once('/') {
                Some((parent, _)) => Some(parent),
                None if current.is_empty() => None,
                None => Some(""),
            };
            Some(current)
        })
    }
}

impl From<SecretPath> for Folder {
    fn from(path: SecretPath) -> Self {
        Self(path.0)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar_edges() {
        for good in ["a", "a/b", "...", "a/....", "A.b_c-9", &"a".repeat(128), &["a"; 32].join("/")] {
            assert!(SecretPath::parse(good).is_ok(), "{good}");
        }
        let long = vec!["a".repeat(127); 5].join("/");
        for (bad, why) in [
            ("", PathError::Empty),
            ("/a", PathError::EmptySegment(0)),
            ("a/", PathError::EmptySegment(1)),
            ("a//b", PathError::EmptySegment(1)),
            ("a/./b", PathError::DotSegment(1)),
            ("..", PathError::DotSegment(0)),
            ("a b", PathError::Character(0)),
            ("a/é", PathError::Character(1)),
            ("a%2fb", PathError::Character(0)),
            ("a\\b", PathError::Character(0)),
            ("a\0", PathError::Character(0)),
            (&"a".repeat(129), PathError::SegmentTooLong(0)),
            (&["a"; 33].join("/"), PathError::TooDeep),
            (&long, PathError::TooLong),
        ] {
            assert_eq!(SecretPath::parse(bad), Err(why), "{bad:?}");
            assert!(!SecretPath::is_path(bad), "{bad:?}");
        }
    }

    /// The grammar, said of text.
    fn first_fault(text: &str) -> Option<PathError> {
        if text.is_empty() {
            return Some(PathError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Some(PathError::TooLong);
        }
        text.split('/').enumerate().find_map(|(index, segment)| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            match segment {
                _ if index >= MAX_SEGMENTS => Some(PathError::TooDeep),
                "" => Some(PathError::EmptySegment(index)),
                "." | ".." => Some(PathError::DotSegment(index)),
                _ if segment.len() > MAX_SEGMENT_BYTES => Some(PathError::SegmentTooLong(index)),
                _ => (!segment.chars().all(is_allowed)).then_some(PathError::Character(index)),
            }
        })
    }

    #[test]
    fn folders_hold_what_lies_below_on_segment_boundaries() {
        let folder = Folder::parse("apps/led").unwrap();
        assert!(folder.holds(&SecretPath::parse("apps/led/x").unwrap()));
        assert!(!folder.holds(&SecretPath::parse("apps/ledger/x").unwrap()));
        assert!(!folder.holds(&SecretPath::parse("apps/led").unwrap()));
        assert!(Folder::root().holds(&SecretPath::parse("x").unwrap()));
        assert_eq!(folder.ancestors().collect::<Vec<_>>(), ["apps/led", "apps", ""]);
        assert_eq!(Folder::root().ancestors().collect::<Vec<_>>(), [""]);
    }

    proptest! {
        #[test]
        fn bytes_are_refused_as_text_is(
            text in "[a./é%]{0,12}|([a-z._-]{0,2}/){28,36}|([a-c]{1,2}/){30,34}a|(a{120,130}/?){1,5}|\\PC{0,20}",
        ) {
            let expected = first_fault(&text);
            prop_assert_eq!(SecretPath::parse(&text).err(), expected);
            prop_assert_eq!(SecretPath::is_path(&text), expected.is_none());
        }

        #[test]
        fn parsing_never_changes_the_text(text in "[ -~]{0,40}") {
            if let Ok(path) = SecretPath::parse(&text) {
                prop_assert_eq!(path.as_str(), text.as_str());
                prop_assert_eq!(path.segments().collect::<Vec<_>>().join("/"), text);
            }
        }
    }
}
