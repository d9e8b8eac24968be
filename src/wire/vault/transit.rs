//! The store's root key, wrapped by a key of Vault's or OpenBao's transit engine. The key there never leaves the server; the
//! wrapped form is bound to the store by associated data and opens for no other.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::VaultSettings;
use super::exchange::{Plan, Upstream};
use super::neutral;
use crate::backend::{Answer, Attempt, BackendError};
use crate::seal::{KeyProvider, SealError, Wrapped};

const KIND: &str = "vault-transit";
const KEY_BYTES: usize = 32;
const MAX_CIPHERTEXT: usize = 4096;
/// Both sides' logs meet in it.
const REQUEST_ID: &str = "seal";

/// A key of the transit engine; one without derivation, so that it takes no context.
pub struct TransitKey {
    upstream: Upstream,
    mount: String,
    key: String,
}

#[derive(Serialize)]
struct Encrypt<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: Zeroizing<String>,
}

impl TransitKey {
    /// The key `key` of the engine at `mount` (`transit`); it connects and logs in when first used.
    #[must_use]
    pub fn new(settings: VaultSettings, mount: &str, key: &str) -> Self {
        Self { upstream: Upstream::new(settings), mount: mount.to_owned(), key: key.to_owned() }
    }

    /// `<mount>/<key>`: names the key and says nothing of it.
    fn key_id(&self) -> String {
        format!("{}/{}", self.mount, self.key)
    }

    async fn encrypt(&self, store_id: &[u8; 16], root: &[u8; KEY_BYTES]) -> Result<String, BackendError> {
        let plaintext = Zeroizing::new(STANDARD.encode(root));
        let associated_data = &STANDARD.encode(store_id);
        let answer = self.ask("encrypt", &Encrypt { plaintext: &plaintext, associated_data }).await?;
        ciphertext(&answer)
    }

    async fn decrypt(&self, store_id: &[u8; 16], ciphertext: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, BackendError> {
        let associated_data = &STANDARD.encode(store_id);
        let answer = self.ask("decrypt", &Decrypt { ciphertext, associated_data }).await?;
        plaintext(&answer)
    }

    /// Both calls change nothing, so they may be repeated.
    async fn ask(&self, operation: &str, body: &impl Serialize) -> Result<Answer, BackendError> {
        let url = self.upstream.url(self.mount.split('/').chain([operation, self.key.as_str()]));
        let plan = Plan::json(Method::POST, url, body, Attempt::Repeatable, REQUEST_ID)?;
        self.upstream.exchange(&plan).await
    }

    fn failed(&self, doing: &str, error: &BackendError) -> SealError {
        let hint = match error {
            BackendError::Rejected(_) => " (no such key, another key than it was wrapped by, or another store's file)",
            BackendError::Denied => " (it needs update on `encrypt/` and `decrypt/` of this key)",
            _ => "",
        };
        SealError::Key(format!("{KIND} key {}: {doing}: {error}{hint}", self.key_id()))
    }
}

#[async_trait]
impl KeyProvider for TransitKey {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn wrap(&self, store_id: &[u8; 16], root: &Zeroizing<[u8; 32]>) -> Result<Wrapped, SealError> {
        let doing = "wrapping the root key";
        let ciphertext = self.encrypt(store_id, root).await.map_err(|error| self.failed(doing, &error))?;
        // a credential that may only wrap would make a store that never opens again
        let opened = self.decrypt(store_id, &ciphertext).await.map_err(|error| self.failed(doing, &error))?;
        if !bool::from(opened.as_slice().ct_eq(root.as_slice())) {
            return Err(SealError::Key(format!("{KIND} key {}: {doing}: it opened as something else", self.key_id())));
        }
        let parameters = serde_json::Value::Null;
        Ok(Wrapped { provider: KIND.to_owned(), key_id: self.key_id(), ciphertext, parameters })
    }

    async fn unwrap(&self, store_id: &[u8; 16], wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, SealError> {
        wrapped.expect(KIND)?;
        let doing = format!("unwrapping the root key that {} wrapped", wrapped.key_id);
        self.decrypt(store_id, &wrapped.ciphertext).await.map_err(|error| self.failed(&doing, &error))
    }
}

fn ciphertext(answer: &Answer) -> Result<String, BackendError> {
    let told: Option<Encrypted> = neutral::data(answer).ok().flatten();
    let text = told.map(|told| told.ciphertext);
    text.filter(|text| text.starts_with("vault:v") && text.len() <= MAX_CIPHERTEXT)
        .ok_or(BackendError::Unusable("not what transit answers to encrypt"))
}

fn plaintext(answer: &Answer) -> Result<Zeroizing<[u8; KEY_BYTES]>, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not what transit answers to decrypt");
    let told: Option<Decrypted> = neutral::data(answer).ok().flatten();
    let Decrypted { plaintext } = told.ok_or(UNUSABLE)?;
    let bytes = Zeroizing::new(STANDARD.decode(plaintext.as_bytes()).map_err(|_| UNUSABLE)?);
    if bytes.len() != KEY_BYTES {
        return Err(UNUSABLE);
    }
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    key.copy_from_slice(&bytes);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }
    }

    #[test]
    fn what_is_sent_is_what_the_engine_takes() {
        let associated_data = &STANDARD.encode([7_u8; 16]);
        let sent = serde_json::to_string(&Encrypt { plaintext: "AAEC", associated_data }).unwrap();
        assert_eq!(sent, r#"{"plaintext":"AAEC","associated_data":"BwcHBwcHBwcHBwcHBwcHBw=="}"#);
        let sent = serde_json::to_string(&Decrypt { ciphertext: "vault:v1:x", associated_data }).unwrap();
        assert_eq!(sent, r#"{"ciphertext":"vault:v1:x","associated_data":"BwcHBwcHBwcHBwcHBwcHBw=="}"#);
    }

    #[test]
    fn answers_are_a_wrapped_key_and_32_bytes_or_nothing() {
        let body = r#"{"request_id":"ba5c","data":{"ciphertext":"vault:v1:OK58IwQHQMZ0","key_version":1},"auth":null}"#;
        assert_eq!(ciphertext(&answer(body)).unwrap(), "vault:v1:OK58IwQHQMZ0");
        for body in [r#"{"data":{"ciphertext":"AAEC"}}"#, r#"{"data":{}}"#, r#"{"data":null}"#, "", "{}"] {
            assert!(ciphertext(&answer(body)).is_err(), "{body}");
        }
        let opened = |text: &str| plaintext(&answer(&format!(r#"{{"data":{{"plaintext":"{text}"}}}}"#)));
        assert_eq!(*opened(&STANDARD.encode([9_u8; 32])).unwrap(), [9_u8; 32]);
        for text in ["", "aGVsbG8", "%", &STANDARD.encode([9_u8; 31]), &STANDARD.encode([9_u8; 33])] {
            assert!(opened(text).is_err(), "{text}");
        }
    }
}
