//! The reversible spelling of foreign characters in a secret-path segment.
//!
//! A character outside `A-Z a-z 0-9 . _ -` becomes `_x<lowercase hex of its code point>_`, and the `_` of an `_x`
//! that is already in the foreign text becomes `_x5f_`, so that an `_x` in a path always begins an escape. Decoding
//! accepts only what encoding writes: two paths never name one foreign segment.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The path spelling of a foreign segment.
pub(super) fn encode(segment: &str) -> Cow<'_, str> {
    if segment.chars().all(is_plain) && !segment.contains("_x") {
        return Cow::Borrowed(segment);
    }
    let mut text = String::with_capacity(segment.len() + 8);
    let mut characters = segment.chars().peekable();
    while let Some(character) = characters.next() {
        let begins_escape = character == '_' && characters.peek() == Some(&'x');
        if is_plain(character) && !begins_escape {
            text.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "_x{:x}_", u32::from(character));
        }
    }
    Cow::Owned(text)
}

/// The foreign spelling of a path segment; `None` when `segment` is not what [`encode`] writes for it.
pub(super) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains("_x") {
        return Some(Cow::Borrowed(segment));
    }
    let mut text = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((plain, escape)) = rest.split_once("_x") {
        let (digits, after) = escape.split_once('_')?;
        text.push_str(plain);
        text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    text.push_str(rest);
    (encode(&text) == segment).then_some(Cow::Owned(text))
}

const fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spells_foreign_characters() {
        for (foreign, path) in [
            ("plain-1._", "plain-1._"),
            ("a!b", "a_x21_b"),
            ("!x", "_x21_x"),
            ("_x", "_x5f_x"),
            ("__x", "__x5f_x"),
            ("_!", "__x21_"),
            ("_x21_", "_x5f_x21_"),
            ("é", "_xe9_"),
            ("a b", "a_x20_b"),
        ] {
            assert_eq!(encode(foreign), path);
            assert_eq!(decode(path).as_deref(), Some(foreign));
        }
    }

    #[test]
    fn refuses_every_other_spelling() {
        for path in
            ["_x", "_x21", "_x_", "_x61_", "_x021_", "_xE9_", "_x5f_", "_x5f_y", "_x+21_", "_x110000_", "_xd800_"]
        {
            assert_eq!(decode(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn encoding_is_injective_and_inverted(text in "[_x5f2a!é/ ]{0,10}") {
            let path = encode(&text).into_owned();
            prop_assert!(path.chars().all(is_plain));
            let decoded = decode(&path);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn a_decoded_path_encodes_to_itself(path in "[_x25f1ab]{0,12}") {
            if let Some(text) = decode(&path) {
                prop_assert_eq!(encode(&text).into_owned(), path.clone());
            }
        }
    }
}
