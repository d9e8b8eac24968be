//! Identifiers of versions. A version that was given one keeps it; any other has one made of its number, which leads back
//! to the number for the secret of that name and for no other.

use std::borrow::Cow;

use ring::digest::{Context, SHA256};

use crate::secret::VersionInfo;

/// The highest number an identifier has room for stands for all that have none.
const MAX: u64 = (1 << 48) - 1;
/// How long an identifier of this wire is.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=64;

/// The identifier of a version by its number: a UUID of version 8.
pub(super) fn id(name: &str, number: u64) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"scaivault version\0");
    context.update(name.as_bytes());
    let digest = context.finish();
    let hash: &[u8] = digest.as_ref();
    let number = number.min(MAX).to_be_bytes();
    let mut bytes = [0; 16];
    for (slot, byte) in bytes.iter_mut().zip(number.iter().skip(2).chain(hash)) {
        *slot = *byte;
    }
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

/// The number in an identifier that [`id`] made for this name.
pub(super) fn number(name: &str, text: &str) -> Option<u64> {
    let (high, rest) = text.split_at_checked(8)?;
    let (low, _) = rest.strip_prefix('-')?.split_at_checked(4)?;
    let number = u64::from_str_radix(&[high, low].concat(), 16).ok()?;
    ((1..MAX).contains(&number) && id(name, number) == text).then_some(number)
}

/// Under which identifier a client sees a version; `None` if nothing is known of it.
pub(super) fn shown<'i>(name: &str, info: &'i VersionInfo) -> Option<Cow<'i, str>> {
    match info.native_id.as_deref() {
        Some(native) if is_id(native) => Some(Cow::Borrowed(native)),
        _ => (info.version > 0).then(|| Cow::Owned(id(name, info.version))),
    }
}

/// Whether the text can be an identifier. Stores with shorter ones have numbers as well.
pub(super) fn is_id(text: &str) -> bool {
    LENGTH.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_lead_back_to_their_number_for_their_name_only() {
        for version in [1, 2, 10, 255, 65_536, 1_795_428_417_123, MAX - 1] {
            let text = id("app/db", version);
            assert_eq!(text.len(), 36, "{text}");
            assert!(text.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{text}");
            assert_eq!(text.chars().nth(14), Some('8'), "version 8: {text}");
            assert!(matches!(text.chars().nth(19), Some('8' | '9' | 'a' | 'b')), "variant: {text}");
            assert!(is_id(&text));
            assert_eq!(number("app/db", &text), Some(version));
            assert_eq!(number("app/other", &text), None);
            assert_eq!(number("app/db", &text.to_uppercase()).filter(|_| text != text.to_uppercase()), None);
        }
        assert_eq!(id("app/db", 1).split_at(13).0, "00000000-0001");
    }

    #[test]
    fn other_identifiers_are_nobodys_number() {
        for text in [
            "",
            "00000000-0001",
            "6cda964a-b839-48fd-88b6-92663ebe5943",
            "+0000000-0001-8000-8000-000000000000",
            "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}",
            &id("app/db", 0),
            &id("app/db", u64::MAX),
        ] {
            assert_eq!(number("app/db", text), None, "{text}");
        }
    }

    #[test]
    fn a_version_keeps_its_own_identifier_where_it_can_be_one_here() {
        let info = |native: Option<&str>, version| VersionInfo {
            version,
            native_id: native.map(Box::from),
            ..VersionInfo::default()
        };
        let native = "6cda964a-b839-48fd-88b6-92663ebe5943";
        assert_eq!(shown("a", &info(Some(native), 3)).as_deref(), Some(native));
        assert_eq!(shown("a", &info(Some(native), 0)).as_deref(), Some(native));
        assert_eq!(shown("a", &info(None, 3)).as_deref(), Some(id("a", 3).as_str()));
        assert_eq!(
            shown("a", &info(Some("7"), 7)).as_deref(),
            Some(id("a", 7).as_str()),
            "an integer of another store"
        );
        assert_eq!(shown("a", &info(None, 0)), None);
    }
}
