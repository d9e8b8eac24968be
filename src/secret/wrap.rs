//! Text and bytes in stores that hold nothing but JSON objects: `{"value": …}`, with `"encoding": "base64"` for bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{SecretRecord, SecretType, SecretValue};

impl SecretRecord {
    /// What was wrapped, where this is a wrapper and nothing else; for wires whose stores hold text and bytes as they are.
    pub fn unwrap_value(&mut self) {
        let wrapped = self.value.as_ref().filter(|_| self.secret_type == SecretType::Json);
        if let Some((value, secret_type)) = wrapped.and_then(|value| inner(value.expose())) {
            self.value = Some(value);
            self.secret_type = secret_type;
        }
    }
}

fn inner(bytes: &[u8]) -> Option<(SecretValue, SecretType)> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper {
        value: Zeroizing<String>,
        encoding: Option<String>,
    }
    let Wrapper { value, encoding } = serde_json::from_slice(bytes).ok()?;
    match encoding.as_deref() {
        None => Some((SecretValue::copy_of(value.as_bytes()), SecretType::Text)),
        Some("base64") => Some((SecretValue::new(STANDARD.decode(value.as_bytes()).ok()?), SecretType::Binary)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrapper_is_unwrapped() {
        for (text, expected) in [
            (r#"{"value":"x\n"}"#, Some((&b"x\n"[..], SecretType::Text))),
            (r#"{"value":"AAH/","encoding":"base64"}"#, Some((&[0, 1, 255], SecretType::Binary))),
            (r#"{"value":"AAH","encoding":"base64"}"#, None),
            (r#"{"value":"x","encoding":"hex"}"#, None),
            (r#"{"value":1}"#, None),
            (r#"{"value":"x","other":1}"#, None),
            (r#"{"other":"x"}"#, None),
        ] {
            let found = inner(text.as_bytes());
            let found = found.as_ref().map(|(value, secret_type)| (value.expose(), *secret_type));
            assert_eq!(found, expected, "{text}");
        }
    }
}
