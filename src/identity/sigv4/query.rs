//! The pairs of a signed query.
//!
//! A signature is over the decoded pairs, encoded anew in one spelling. What was sent must be in that spelling already:
//! else two different queries would have one signature. Only the order of the pairs is the client's own.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::super::SignatureFault;

const FORM: SignatureFault =
    SignatureFault::Incomplete("the query is not of `name=value` pairs escaped as they are in a signature");

/// One pair, decoded, and as sent.
pub(super) struct Pair<'a> {
    pub(super) raw: &'a str,
    pub(super) name: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
}

/// The pairs of a query in their order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, SignatureFault>> {
    query.split('&').map(|raw| {
        let (name, value) = raw.split_once('=').ok_or(FORM)?;
        Ok(Pair { raw, name: decoded(name)?, value: decoded(value)? })
    })
}

fn decoded(text: &str) -> Result<Cow<'_, str>, SignatureFault> {
    if is_canonical(text) { percent_decode_str(text).decode_utf8().map_err(|_| FORM) } else { Err(FORM) }
}

/// Whether everything that must be escaped is, in upper-case digits, and nothing else.
fn is_canonical(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = if byte == b'%' {
            let (high, low) = (bytes.next().and_then(upper_digit), bytes.next().and_then(upper_digit));
            high.zip(low).is_some_and(|(high, low)| !is_plain((high << 4) | low))
        } else {
            is_plain(byte)
        };
        if !fits {
            return false;
        }
    }
    true
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn upper_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Vec<(String, String)>, SignatureFault> {
        pairs(query).map(|pair| pair.map(|pair| (pair.name.into_owned(), pair.value.into_owned()))).collect()
    }

    #[test]
    fn s12_a_query_has_the_spelling_of_its_signature() {
        assert_eq!(read("b=2&a=").unwrap(), [("b".into(), "2".into()), ("a".into(), String::new())]);
        assert_eq!(read("a=%2520").unwrap(), [("a".into(), "%20".into())], "decoded once");
        assert!(read("a=~-._&a=%20%2F%2B%E1%88%B4").is_ok());
        for bad in [
            "",
            "a",
            "&",
            "a=1&",
            "&a=1",
            "a=1&&b=2",
            "a=+",
            "a=%2f",
            "a=%7E",
            "a=%41",
            "a=%",
            "a=%2",
            "a=%GG",
            "a=/",
            "a=:",
            "a=b=c",
            "a=*",
            "a=é",
            "a=%FF",
            "a=%C3",
            "a=%ED%A0%80",
            "a=\"",
            "a b=c",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
