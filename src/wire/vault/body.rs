//! Request bodies: checked whole, then read; the value of a secret is kept as the client wrote it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ErrorKind;
use crate::secret::{MetadataChange, Precondition, SecretValue, WriteOptions};
use crate::wire::{Fault, check_json};

/// Rendered with status 415.
pub(super) const WRONG_MEDIA_TYPE: &str = "PATCH wants Content-Type application/merge-patch+json";

/// Rendered with status 415.
pub(super) const COMPRESSED: &str = "compressed request bodies are not supported";

const MAX_VERSIONS_IN_A_CALL: usize = 1000;
const MAX_CUSTOM_KEYS: usize = 64;
const MAX_CUSTOM_KEY: usize = 128;
const MAX_CUSTOM_VALUE: usize = 512;

/// Checks a body to be one unambiguous JSON document.
pub(super) fn check(body: &[u8]) -> Result<(), Fault> {
    check_json(body).map_err(|_| Fault::malformed("failed to decode JSON input: not one unambiguous document"))
}

/// Reads a body, which must be an object (the library would read an array by position), into `T`, saying nothing of its
/// content when it does not fit.
pub(super) fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Fault> {
    check(body)?;
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::malformed("failed to decode JSON input: not an object"));
    }
    serde_json::from_slice(body)
        .map_err(|_| Fault::malformed("failed to decode JSON input: a field has the wrong type or is unknown"))
}

#[derive(Deserialize)]
struct WriteV2<'b> {
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    cas: Option<i64>,
}

pub(super) fn write_v2(body: &[u8], limit: usize) -> Result<(SecretValue, WriteOptions), Fault> {
    if body.trim_ascii() == b"null" {
        return Err(Fault::malformed("no data provided"));
    }
    let write: WriteV2<'_> = read(body)?;
    let data = write.data.filter(|data| data.get() != "null").ok_or(Fault::malformed("no data provided"))?;
    let value = object(data.get(), limit)?;
    let cas = write.options.and_then(|options| options.cas);
    let precondition = match cas {
        None => Precondition::None,
        Some(0) => Precondition::Absent,
        Some(version) => Precondition::Version(u64::try_from(version).map_err(|_| Fault::of(ErrorKind::Conflict))?),
    };
    Ok((value, WriteOptions { precondition, conditional: cas.is_some(), ..WriteOptions::default() }))
}

pub(super) fn write_v1(body: &[u8], limit: usize) -> Result<SecretValue, Fault> {
    if body.is_empty() {
        return Err(Fault::malformed("missing data fields"));
    }
    let data: &RawValue = read(body)?;
    let value = object(data.get(), limit)?;
    if value.expose().iter().filter(|byte| !byte.is_ascii_whitespace()).count() <= 2 {
        return Err(Fault::malformed("missing data fields"));
    }
    Ok(value)
}

fn object(text: &str, limit: usize) -> Result<SecretValue, Fault> {
    if !text.starts_with('{') {
        return Err(Fault::malformed("failed to decode JSON input: data is not a JSON object"));
    }
    if text.len() > limit {
        return Err(Fault::because(ErrorKind::TooLarge, "the value is larger than limits.value_bytes"));
    }
    Ok(SecretValue::copy_of(text.as_bytes()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versions {
    versions: Vec<Number>,
}

/// Clients write versions as numbers or as strings of digits.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

pub(super) fn versions(body: &[u8]) -> Result<Vec<u64>, Fault> {
    let Versions { versions } = read(body)?;
    if versions.is_empty() || versions.len() > MAX_VERSIONS_IN_A_CALL {
        return Err(Fault::malformed("no version number provided"));
    }
    let number = |number| match number {
        Number::Number(number) => Some(number),
        Number::Text(text) => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten(),
    };
    versions
        .into_iter()
        .map(|text| {
            number(text).filter(|number| *number > 0).ok_or(Fault::malformed("a version is not a positive number"))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataBody {
    #[serde(default)]
    max_versions: Option<u64>,
    #[serde(default)]
    cas_required: Option<bool>,
    #[serde(default)]
    delete_version_after: Option<GoDuration>,
    #[serde(default, deserialize_with = "present")]
    custom_metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
}

/// Tells `null` from absent.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

pub(super) fn metadata(body: &[u8], merge: bool) -> Result<MetadataChange, Fault> {
    let wanted: MetadataBody = if body.is_empty() { read(b"{}")? } else { read(body)? };
    let metadata = match wanted.custom_metadata {
        None => None,
        // null removes everything when replacing and nothing when merging
        Some(None) => (!merge).then(Vec::new),
        Some(Some(map)) => Some(custom(map, merge)?),
    };
    Ok(MetadataChange {
        metadata,
        merge,
        cas_required: wanted.cas_required,
        max_versions: wanted.max_versions,
        delete_after_secs: wanted.delete_version_after.map(|GoDuration(after)| after.as_secs()),
        ..MetadataChange::default()
    })
}

fn custom(
    map: serde_json::Map<String, serde_json::Value>,
    merge: bool,
) -> Result<Vec<(String, Option<String>)>, Fault> {
    if map.len() > MAX_CUSTOM_KEYS {
        return Err(Fault::malformed("custom_metadata holds more than 64 keys"));
    }
    map.into_iter()
        .map(|(key, value)| {
            let value = match value {
                serde_json::Value::String(text) => Some(text),
                serde_json::Value::Null if merge => None,
                _ => return Err(Fault::malformed("custom_metadata values must be strings")),
            };
            let printable = |text: &str| !text.chars().any(char::is_control);
            let fits = !key.is_empty()
                && key.len() <= MAX_CUSTOM_KEY
                && printable(&key)
                && value.as_deref().is_none_or(|value| value.len() <= MAX_CUSTOM_VALUE && printable(value));
            if fits { Ok((key, value)) } else { Err(Fault::malformed("a custom_metadata key or value is too long")) }
        })
        .collect()
}

/// A duration as Go clients write it: seconds as a number or digits, or `1h30m`, `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Seconds(u64),
            Text(String),
        }
        match Spelling::deserialize(from)? {
            Spelling::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Spelling::Text(text) => duration(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not a duration")),
        }
    }
}

/// Parses a Go duration or a number of seconds. Nothing negative; at most 100 years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const MAX: Duration = Duration::from_secs(100 * 366 * 86_400);
    if text.is_empty() {
        return Some(Duration::ZERO);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds)).filter(|total| *total <= MAX);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let number: u32 = number.parse().ok()?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len)?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = tail;
    }
    (total <= MAX).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v12_cas_is_a_number_or_the_write_is_refused() {
        let (value, options) = write_v2(br#"{"data":{"b":1,"a":2},"options":{"cas":3}}"#, 100).unwrap();
        assert_eq!(value.expose(), br#"{"b":1,"a":2}"#, "kept as written");
        assert_eq!(options.precondition, Precondition::Version(3));
        for bad in [
            r#"{"data":{},"options":{"cas":"3"}}"#,
            r#"{"data":{},"options":{"cas":-1}}"#,
            r#"{"data":{},"options":{"cas":9223372036854775808}}"#,
            r#"{"data":{},"options":{"ttl":1}}"#,
            r#"{"data":[]}"#,
            r#"{"data":null}"#,
            r"{}",
            r#"{"data":{},"data":{}}"#,
        ] {
            assert!(write_v2(bad.as_bytes(), 100).is_err(), "{bad}");
        }
        assert_eq!(write_v2(br#"{"data":{"a":"bcdef"}}"#, 5).err().unwrap().kind, ErrorKind::TooLarge);
    }

    #[test]
    fn versions_come_as_numbers_or_digits() {
        assert_eq!(versions(br#"{"versions":["3",1]}"#).unwrap(), [3, 1]);
        for bad in [r#"{"versions":[]}"#, r#"{"versions":[0]}"#, r#"{"versions":["+1"]}"#, r#"{"versions":[-1]}"#, "{}"]
        {
            assert!(versions(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn go_durations() {
        for (text, seconds) in [("30m", 1800), ("1h30m", 5400), ("60", 60), ("", 0), ("3h25m19s", 12_319)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["-1s", "1x", "h", "1h-", "99999999999999h", "1.5h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
