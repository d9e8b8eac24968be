//! Signatures of deliveries, as the Standard Webhooks scheme has them: HMAC-SHA256 over `id.timestamp.body`, in base64
//! after `v1,`. A receiver that checks them and the timestamp knows who sent a delivery and that it is not an old one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// A shorter key could be found by trying.
const MIN_KEY: usize = 16;
const MARK: &[u8] = b"whsec_";

/// A key in the form stores that only hold objects keep it in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    key: Zeroizing<String>,
}

/// The value of `webhook-signature`.
///
/// The key is the value's bytes without one newline at the end, or the string `key` of a JSON object; behind `whsec_`
/// it is base64.
///
/// # Errors
/// What is wrong with the key.
pub(super) fn sign(key: &SecretValue, id: &str, timestamp: u64, body: &[u8]) -> Result<String, &'static str> {
    let key = material(key.expose())?;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    Ok(format!("v1,{}", STANDARD.encode(context.sign())))
}

fn material(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let unwrapped;
    let text = if bytes.trim_ascii_start().starts_with(b"{") {
        let read: Result<Wrapped, _> = serde_json::from_slice(bytes);
        unwrapped = read.map_err(|_| "is an object other than {\"key\": \"…\"}")?.key;
        unwrapped.as_bytes()
    } else {
        bytes.strip_suffix(b"\n").unwrap_or(bytes)
    };
    let key = match text.strip_prefix(MARK) {
        None => Zeroizing::new(text.to_vec()),
        Some(coded) => Zeroizing::new(STANDARD.decode(coded).map_err(|_| "is not base64 behind whsec_")?),
    };
    if key.len() < MIN_KEY { Err("is shorter than 16 bytes") } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_other_implementations_make() {
        // made with Python's hmac module over b"msg_1.1614265330.{}"
        let key = SecretValue::copy_of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(
            sign(&key, "msg_1", 1_614_265_330, b"{}").unwrap(),
            "v1,ZztYR0IIDCBCUcYzh8ZE+qsQWpIgtHU7R1hpe8htaD4="
        );
    }

    #[test]
    fn every_spelling_of_a_key_is_the_same_key() {
        let same = |value: &[u8]| sign(&SecretValue::copy_of(value), "i", 1, b"b");
        let plain = same(b"a-key-of-sixteen-bytes").unwrap();
        assert_eq!(same(b"a-key-of-sixteen-bytes\n").unwrap(), plain);
        assert_eq!(same(br#"{"key":"a-key-of-sixteen-bytes"}"#).unwrap(), plain);
        let coded = format!("whsec_{}", STANDARD.encode(b"a-key-of-sixteen-bytes"));
        assert_eq!(same(coded.as_bytes()).unwrap(), plain);
        assert_ne!(same(b"another-key-of-sixteen").unwrap(), plain);
    }

    #[test]
    fn l04_a_key_that_cannot_be_used_is_refused_without_being_shown() {
        for bad in ["", "\n", "canary-short", "whsec_canary!", r#"{"canary":"x"}"#, r#"{"key":"canary"}"#, "{"] {
            let error = sign(&SecretValue::copy_of(bad.as_bytes()), "i", 1, b"b").unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
