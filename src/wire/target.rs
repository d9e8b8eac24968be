//! Request targets: decoded once, refused when ambiguous, never repaired.

use std::borrow::Cow;

use thiserror::Error;

use crate::secret::has_control;

const MAX_PARAMETERS: usize = 32;

/// What is wrong with a target. The texts go to clients and never quote the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// `//` or an empty part.
    #[error("empty path segment")]
    EmptySegment,
    /// `.` or `..`, encoded or not.
    #[error("relative paths not supported")]
    DotSegment,
    /// A `%` without two hexadecimal digits.
    #[error("invalid percent-encoding")]
    Encoding,
    /// Bytes that are not UTF-8 after decoding.
    #[error("path is not valid UTF-8")]
    Utf8,
    /// A control character, a slash, a backslash or a byte a target cannot hold.
    #[error("path holds a character that is not allowed")]
    Character,
    /// A query parameter given twice.
    #[error("query parameter given more than once")]
    Duplicate,
    /// More than 32 query parameters.
    #[error("too many query parameters")]
    Parameters,
}

impl TargetError {
    /// The text as a constant.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::EmptySegment => "empty path segment",
            Self::DotSegment => "relative paths not supported",
            Self::Encoding => "invalid percent-encoding",
            Self::Utf8 => "path is not valid UTF-8",
            Self::Character => "path holds a character that is not allowed",
            Self::Duplicate => "query parameter given more than once",
            Self::Parameters => "too many query parameters",
        }
    }
}

/// Decodes a path that begins with `/` into its segments. A single trailing slash yields a last empty segment; any other
/// empty segment is an error.
///
/// # Errors
/// The first thing that makes the path ambiguous or not a path.
pub fn decode_segments(path: &str) -> Result<Vec<Cow<'_, str>>, TargetError> {
    let mut rest = Some(path.strip_prefix('/').ok_or(TargetError::Character)?);
    let mut segments: Vec<Cow<'_, str>> = Vec::with_capacity(8);
    while let Some(text) = rest {
        let (part, after) = first_part(text);
        if part.is_empty() && (after.is_some() || segments.is_empty()) {
            return Err(TargetError::EmptySegment);
        }
        rest = after;
        let segment = decode(part)?;
        // what was not encoded holds none of these
        if let Cow::Owned(text) = &segment
            && (has_control(text) || text.contains(['/', '\\']))
        {
            return Err(TargetError::Character);
        }
        if matches!(&*segment, "." | "..") {
            return Err(TargetError::DotSegment);
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// What stands before the first slash and, if there is one, what stands behind it. Segments are short: looking at each
/// byte is faster than searching.
fn first_part(text: &str) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == b'/').and_then(|at| text.split_at_checked(at)) {
        Some((part, rest)) => (part, rest.strip_prefix('/')),
        None => (text, None),
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, TargetError> {
    let mut is_encoded = false;
    for byte in text.bytes() {
        match byte {
            b'%' => is_encoded = true,
            b'<' | b'>' | b'"' | b'#' | b'\\' => return Err(TargetError::Character),
            b'!'..=b'~' => {}
            _ => return Err(TargetError::Character),
        }
    }
    if !is_encoded {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (rest.next().and_then(hex), rest.next().and_then(hex));
            let (Some(high), Some(low)) = (high, low) else { return Err(TargetError::Encoding) };
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| TargetError::Utf8)
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The parameters of a query: keys and values decoded once (`+` is a space), each key at most once.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Parses what stands behind the question mark.
    ///
    /// # Errors
    /// On a duplicate key, broken encoding or a control character.
    pub fn parse(query: Option<&'a str>) -> Result<Self, TargetError> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (decode_parameter(key)?, decode_parameter(value)?);
            if pairs.len() >= MAX_PARAMETERS {
                return Err(TargetError::Parameters);
            }
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(TargetError::Duplicate);
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    /// Takes a parameter out.
    pub fn take(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decode_parameter(text: &str) -> Result<Cow<'_, str>, TargetError> {
    let decoded =
        if text.contains('+') { Cow::Owned(decode(&text.replace('+', "%20"))?.into_owned()) } else { decode(text)? };
    if has_control(&decoded) { Err(TargetError::Character) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn group_p_spellings() {
        for (id, path, error) in [
            ("P04", "/v1/secret/data/../../sys/mounts", TargetError::DotSegment),
            ("P07", "/v1/secret/data/%c0%ae%c0%ae%c0%af", TargetError::Utf8),
            ("P01", "/v1/secret/data/a%2fb", TargetError::Character),
            ("P02", "/v1/secret/data/a%2Fb", TargetError::Character),
            ("P09", "/v1/secret/data/..%5c..%5c", TargetError::Character),
            ("P09", "/v1/secret/data/..\\x", TargetError::Character),
            ("P10", "/v1//secret/data/a", TargetError::EmptySegment),
            ("P11", "//v1/secret/data/a", TargetError::EmptySegment),
            ("P15", "/v1/secret/data/.", TargetError::DotSegment),
            ("P15", "/v1/secret/data/%2e/", TargetError::DotSegment),
            ("P16", "/v1/secret/data/a%00", TargetError::Character),
            ("P17", "/v1/secret/data/%0d%0aX-Vault-Token:%20x", TargetError::Character),
            ("P19", "/v1/secret/data/a<b", TargetError::Character),
            ("P20", "/v1/secret/data/a#b", TargetError::Character),
            ("P29", "/v1/secret/data/%ff", TargetError::Utf8),
            ("P06", "/v1/secret/data/%2", TargetError::Encoding),
        ] {
            assert_eq!(decode_segments(path).err(), Some(error), "{id} {path}");
        }
        assert_eq!(decode_segments("/a/%252e%252e").unwrap(), ["a", "%2e%2e"], "P06: decoded once");
        assert_eq!(decode_segments("/a/.../b").unwrap(), ["a", "...", "b"], "P14");
        assert_eq!(decode_segments("/a/%3fb").unwrap(), ["a", "?b"], "P21");
        assert_eq!(decode_segments("/a/b/").unwrap(), ["a", "b", ""]);
    }

    #[test]
    fn p42_a_parameter_comes_once() {
        assert_eq!(Query::parse(Some("version=1&version=2")).err(), Some(TargetError::Duplicate));
        let many: String = (0..33).map(|index| format!("{index}&")).collect();
        assert_eq!(Query::parse(Some(&many)).err(), Some(TargetError::Parameters));
        assert_eq!(Query::parse(Some("list=true&l%69st=false")).err(), Some(TargetError::Duplicate));
        let mut query = Query::parse(Some("api%2Dversion=7&x=a+b")).unwrap();
        assert_eq!(query.take("api-version").as_deref(), Some("7"));
        assert_eq!(query.take("x").as_deref(), Some("a b"));
        assert!(query.is_empty());
    }

    /// The rules of a path, one after the other, each on the whole of a part.
    fn plain_segments(path: &str) -> Result<Vec<String>, TargetError> {
        let parts: Vec<&str> = path.strip_prefix('/').ok_or(TargetError::Character)?.split('/').collect();
        let mut segments = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if part.is_empty() && (index + 1 < parts.len() || index == 0) {
                return Err(TargetError::EmptySegment);
            }
            let segment = plain_decode(part)?;
            if segment.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
                return Err(TargetError::Character);
            }
            if matches!(&*segment, "." | "..") {
                return Err(TargetError::DotSegment);
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    fn owned_segments(path: &str) -> Result<Vec<String>, TargetError> {
        decode_segments(path).map(|segments| segments.into_iter().map(Cow::into_owned).collect())
    }

    fn plain_decode(text: &str) -> Result<String, TargetError> {
        if !text.chars().all(|c| c.is_ascii_graphic() && !"<>\"#\\".contains(c)) {
            return Err(TargetError::Character);
        }
        let mut pieces = text.split('%');
        let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
        for piece in pieces {
            let digits = piece.get(..2).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
            let digits = digits.ok_or(TargetError::Encoding)?;
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            bytes.extend_from_slice(&piece.as_bytes()[2..]);
        }
        String::from_utf8(bytes).map_err(|_| TargetError::Utf8)
    }

    proptest! {
        #[test]
        fn paths_are_decoded_by_the_plain_rules(
            path in r#"/?([a/.%<>"\\#é \x00\x7f]|%[0-9a-fA-F]{2}|%2[ef]|%5c|%c3%a9|%c2%8[0-9]|a/b|/\.\.){0,8}"#,
        ) {
            prop_assert_eq!(owned_segments(&path), plain_segments(&path));
        }

        #[test]
        fn any_text_is_decoded_by_the_plain_rules(text in "/\\PC{0,20}") {
            prop_assert_eq!(owned_segments(&text), plain_segments(&text));
        }
    }
}
