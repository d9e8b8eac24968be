//! The shapes both roles share: envelopes, versions, error bodies.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::secret::{Metadata, SecretType, VersionInfo, VersionState};

/// `{"errors": […]}`.
#[derive(Serialize)]
pub(super) struct Errors<'a> {
    pub(super) errors: [&'a str; 1],
}

/// An answer's envelope, on the way out.
#[derive(Serialize)]
pub(super) struct Envelope<'a, D, A> {
    pub(super) request_id: &'a str,
    pub(super) lease_id: &'static str,
    pub(super) renewable: bool,
    pub(super) lease_duration: u64,
    pub(super) data: D,
    pub(super) wrap_info: (),
    pub(super) warnings: Option<[&'a str; 1]>,
    pub(super) auth: A,
}

impl<'a, D, A> Envelope<'a, D, A> {
    pub(super) const fn new(request_id: &'a str, data: D, auth: A) -> Self {
        Self {
            request_id,
            lease_id: "",
            renewable: false,
            lease_duration: 0,
            data,
            wrap_info: (),
            warnings: None,
            auth,
        }
    }
}

/// What an answer's envelope says besides its data, on the way in.
#[derive(Deserialize)]
pub(super) struct Answered<'a> {
    #[serde(default, borrow)]
    pub(super) request_id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) auth: Option<&'a RawValue>,
}

/// The `data` of an answer's envelope and nothing else, on the way in.
#[derive(Deserialize)]
pub(super) struct Told<T> {
    pub(super) data: Option<T>,
}

/// A token, as a login or renewal answers it.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// `data` of a KV version 2 read, on the way in.
#[derive(Deserialize)]
pub(super) struct ReadData<'a> {
    #[serde(default, borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) metadata: VersionMetadata,
}

/// What KV version 2 says of one version.
#[derive(Deserialize)]
pub(super) struct VersionMetadata {
    pub(super) created_time: String,
    #[serde(default)]
    pub(super) custom_metadata: Option<Metadata>,
    #[serde(default)]
    pub(super) deletion_time: String,
    #[serde(default)]
    pub(super) destroyed: bool,
    #[serde(default)]
    pub(super) version: u64,
}

impl VersionMetadata {
    /// In the neutral language; `None` if a time is not one.
    pub(super) fn info(&self, version: u64, now: Timestamp) -> Option<VersionInfo> {
        let deletion = match self.deletion_time.as_str() {
            "" => None,
            text => Some(Timestamp::parse_rfc3339(text)?),
        };
        let state = match deletion {
            _ if self.destroyed => VersionState::Destroyed(deletion),
            Some(at) if at <= now => VersionState::Deleted(at),
            _ => VersionState::Current,
        };
        let created_at = Timestamp::parse_rfc3339(&self.created_time)?;
        let deletes_at = deletion.filter(|at| *at > now);
        Some(VersionInfo { version, created_at, state, deletes_at, ..VersionInfo::default() })
    }
}

/// `data` of a KV version 2 metadata read, on the way in.
#[derive(Deserialize)]
pub(super) struct Metadata2 {
    #[serde(default)]
    pub(super) cas_required: bool,
    pub(super) created_time: String,
    pub(super) current_version: u64,
    #[serde(default)]
    pub(super) custom_metadata: Option<Metadata>,
    #[serde(default)]
    pub(super) delete_version_after: String,
    #[serde(default)]
    pub(super) max_versions: u64,
    #[serde(default)]
    pub(super) oldest_version: u64,
    pub(super) updated_time: String,
    #[serde(default)]
    pub(super) versions: BTreeMap<u64, VersionMetadata>,
}

/// `data.keys` of a list, on the way in.
#[derive(Deserialize)]
pub(super) struct Keys {
    // an answer without them is no list: it must never pass for an empty one
    pub(super) keys: Vec<String>,
}

/// A value as KV fields (PRODUCT §3): a JSON object as it is, everything else under `value`. `None` if it is not what its
/// type says.
pub(super) fn fields(bytes: &[u8], secret_type: SecretType) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Wrapped<'a, V> {
        value: V,
        #[serde(skip_serializing_if = "Option::is_none")]
        encoding: Option<&'a str>,
    }
    match secret_type {
        SecretType::Json => {
            let value: &RawValue = serde_json::from_slice(bytes).ok()?;
            if value.get().starts_with('{') {
                return Some(value.to_owned());
            }
            to_raw_value(&Wrapped { value, encoding: None }).ok()
        }
        SecretType::Text => {
            let value = std::str::from_utf8(bytes).ok()?;
            to_raw_value(&Wrapped { value, encoding: None }).ok()
        }
        SecretType::Binary => {
            let value = Zeroizing::new(STANDARD.encode(bytes));
            to_raw_value(&Wrapped { value: value.as_str(), encoding: Some("base64") }).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w11_values_become_fields_byte_for_byte_or_not_at_all() {
        let good: [(&[u8], SecretType, &str); 6] = [
            (b"{\"b\": 1.50, \"a\":\t\"x\"}", SecretType::Json, "{\"b\": 1.50, \"a\":\t\"x\"}"),
            (b"[1, 2]", SecretType::Json, r#"{"value":[1, 2]}"#),
            (b"12345678901234567890.10", SecretType::Json, r#"{"value":12345678901234567890.10}"#),
            ("gr\u{fc}n \"x\"\n".as_bytes(), SecretType::Text, "{\"value\":\"gr\u{fc}n \\\"x\\\"\\n\"}"),
            (b"", SecretType::Text, r#"{"value":""}"#),
            (b"\xff\x00", SecretType::Binary, r#"{"value":"/wA=","encoding":"base64"}"#),
        ];
        for (bytes, secret_type, expected) in good {
            assert_eq!(fields(bytes, secret_type).unwrap().get(), expected);
        }
        let bad: [(&[u8], SecretType); 4] = [
            (b"{\"a\":1},\"options\":{\"cas\":0}", SecretType::Json),
            (b"{", SecretType::Json),
            (b"", SecretType::Json),
            (b"\xff", SecretType::Text),
        ];
        for (bytes, secret_type) in bad {
            assert!(fields(bytes, secret_type).is_none(), "{bytes:?}");
        }
    }
}
