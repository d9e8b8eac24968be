//! A made-up issuer that signs with ES256.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::ISSUER;

/// One signing key.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    kid: &'static str,
}

impl Issuer {
    pub(crate) fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { key, kid }
    }

    /// Its public key as a key set.
    pub(crate) fn jwks(&self) -> String {
        // one byte of format, then both coordinates
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        json!({"keys": [key]}).to_string()
    }

    /// A token of the service account `ledger` in the namespace `payments`, good for an hour.
    pub(crate) fn token(&self) -> String {
        self.token_with(&json!({}))
    }

    /// The same with other claims; `null` takes one out.
    pub(crate) fn token_with(&self, changes: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), changes)
    }

    /// A token whose header says that it is not signed, and is not.
    pub(crate) fn unsigned(&self) -> String {
        let signed = self.signed(&json!({"alg": "none", "kid": self.kid}), &json!({}));
        let (content, _) = signed.rsplit_once('.').unwrap();
        format!("{content}.")
    }

    fn signed(&self, header: &Value, changes: &Value) -> String {
        let now = now();
        let mut claims = json!({
            "iss": ISSUER, "aud": "scaivault", "sub": "system:serviceaccount:payments:ledger", "iat": now, "nbf": now,
            "exp": now + 3600, "namespace": "payments", "service_account": "ledger",
        });
        let fields = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => drop(fields.insert(name.clone(), value.clone())),
            }
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", part(header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), content.as_bytes()).unwrap();
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
