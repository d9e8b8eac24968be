//! An issuer's key set.
//!
//! A key that is weak, for encryption, private or symmetric is skipped; a set that is too large, says something twice
//! or holds no usable key is refused as a whole, so that the set before stays in use.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::digest;
use serde::de::IgnoredAny;

use super::json::{Json, Object, parse_object};
use crate::identity::{JwksError, JwtFault};

const MAX_BYTES: u64 = 256 * 1024;
const MAX_KEYS: usize = 64;
const MIN_RSA_BYTES: usize = 256;
const MAX_RSA_BYTES: usize = 1024;
const MAX_EXPONENT_BYTES: usize = 5;
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// The bytes of a key set file, at most 256 KiB.
pub(in crate::identity) fn read_file(path: &Path) -> Result<Vec<u8>, JwksError> {
    let unreadable = |error: std::io::Error| JwksError::Unreachable(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The usable keys of a JWKS.
pub(in crate::identity) struct KeySet {
    // INVARIANT: `None` for a key id that several keys of the set claim: nobody can tell which one signs.
    named: HashMap<String, Option<Arc<Key>>>,
    // INVARIANT: set only if the set has one usable key in all; tokens without a key id can mean no other.
    sole: Option<Arc<Key>>,
    fingerprint: Box<[u8]>,
}

impl KeySet {
    /// Parses a JWKS.
    pub(in crate::identity) fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
            return Err(JwksError::TooLarge);
        }
        let set =
            parse_object(bytes).ok_or(JwksError::Unusable("the key set is not a JSON object with unique members"))?;
        let entries =
            set.get("keys").and_then(Json::as_list).ok_or(JwksError::Unusable("the key set has no `keys`"))?;
        if entries.len() > MAX_KEYS {
            return Err(JwksError::TooLarge);
        }
        let mut times_named = BTreeMap::<&str, usize>::new();
        for kid in entries.iter().filter_map(kid) {
            *times_named.entry(kid).or_default() += 1;
        }
        let mut named = HashMap::new();
        let mut usable = Vec::new();
        for entry in entries {
            let Some(key) = entry.as_object().and_then(Key::parse).map(Arc::new) else { continue };
            if let Some(kid) = kid(entry) {
                let is_alone = times_named.get(kid) == Some(&1);
                named.insert(kid.to_owned(), is_alone.then(|| Arc::clone(&key)));
            }
            usable.push(key);
        }
        let sole = match usable.as_slice() {
            [] => return Err(JwksError::Unusable("the key set has no usable key")),
            [only] => Some(Arc::clone(only)),
            _ => None,
        };
        let fingerprint: Box<[u8]> = Box::from(digest::digest(&digest::SHA256, bytes).as_ref());
        Ok(Self { named, sole, fingerprint })
    }

    /// The key of exactly this id; without an id the only key there is.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match kid {
            Some(kid) => self.named.get(kid)?.as_deref(),
            None => self.sole.as_deref(),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

fn kid(entry: &Json) -> Option<&str> {
    entry.as_object()?.get("kid")?.as_text()
}

/// A public key and what it is for.
pub(super) struct Key {
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// Verifies the signature of `token`, made with `algorithm`, and that it is the issuer's and for an audience.
    pub(super) fn verify(
        &self,
        token: &str,
        algorithm: Algorithm,
        issuer: &str,
        audiences: &[String],
    ) -> Result<(), JwtFault> {
        if !self.algorithms.contains(&algorithm) {
            return Err(JwtFault::Algorithm);
        }
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(audiences);
        // The times were checked against this process's clock (`Claims::end`); the library reads the system's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        decode::<IgnoredAny>(token, &self.decoding, &validation).map(|_| ()).map_err(|_| JwtFault::Signature)
    }

    fn parse(entry: &Object) -> Option<Self> {
        if PRIVATE_MEMBERS.iter().any(|name| entry.contains_key(*name)) || !is_for_signatures(entry) {
            return None;
        }
        let (algorithms, decoding) = match text(entry, "kty")? {
            "RSA" => (RSA.to_vec(), rsa(entry)?),
            "EC" => match text(entry, "crv")? {
                "P-256" => (vec![Algorithm::ES256], point(entry, 32)?),
                "P-384" => (vec![Algorithm::ES384], point(entry, 48)?),
                _ => return None,
            },
            "OKP" if text(entry, "crv")? == "Ed25519" => (vec![Algorithm::EdDSA], edwards(entry)?),
            _ => return None,
        };
        let algorithms = match entry.get("alg") {
            None => algorithms,
            Some(name) => {
                let only = name.as_text()?.parse::<Algorithm>().ok()?;
                algorithms.contains(&only).then(|| vec![only])?
            }
        };
        Some(Self { algorithms, decoding })
    }
}

fn is_for_signatures(entry: &Object) -> bool {
    let right_use = entry.get("use").is_none_or(|usage| usage.as_text() == Some("sig"));
    let right_operation = entry.get("key_ops").is_none_or(|operations| {
        operations.as_list().is_some_and(|list| list.iter().any(|one| one.as_text() == Some("verify")))
    });
    right_use && right_operation
}

fn rsa(entry: &Object) -> Option<DecodingKey> {
    let modulus = bytes(entry, "n")?;
    let exponent = bytes(entry, "e")?;
    let is_strong = (MIN_RSA_BYTES..=MAX_RSA_BYTES).contains(&modulus.len())
        && modulus.first().is_some_and(|first| *first >= 0x80 || (*first != 0 && modulus.len() > MIN_RSA_BYTES));
    let value = exponent.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    let is_sound = (1..=MAX_EXPONENT_BYTES).contains(&exponent.len())
        && exponent.first().is_some_and(|first| *first != 0)
        && value >= 3
        && value % 2 == 1;
    (is_strong && is_sound).then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn point(entry: &Object, size: usize) -> Option<DecodingKey> {
    let (x, y) = (bytes(entry, "x")?, bytes(entry, "y")?);
    if x.len() != size || y.len() != size {
        return None;
    }
    let mut uncompressed = Vec::with_capacity(1 + 2 * size);
    uncompressed.push(4);
    uncompressed.extend_from_slice(&x);
    uncompressed.extend_from_slice(&y);
    Some(DecodingKey::from_ec_der(&uncompressed))
}

fn edwards(entry: &Object) -> Option<DecodingKey> {
    let x = bytes(entry, "x")?;
    (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))
}

fn text<'a>(entry: &'a Object, name: &str) -> Option<&'a str> {
    entry.get(name)?.as_text()
}

fn bytes(entry: &Object, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(entry, name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::forge::{Forge, set};

    fn parse(entries: &[String]) -> Result<KeySet, JwksError> {
        KeySet::parse(set(entries).as_bytes())
    }

    fn with(entry: &str, extra: &str) -> String {
        entry.replacen('{', &format!("{{{extra},"), 1)
    }

    #[test]
    fn j06_lookup_is_exact_and_duplicates_name_nothing() {
        let (one, two) = (Forge::es256("k1"), Forge::ed25519("k2"));
        let keys = parse(&[one.jwk(), two.jwk()]).unwrap();
        assert!(keys.find(Some("k1")).is_some() && keys.find(Some("k2")).is_some());
        for kid in [None, Some("K1"), Some("k1 "), Some(""), Some("../k1")] {
            assert!(keys.find(kid).is_none(), "{kid:?}");
        }
        assert!(parse(&[one.jwk()]).unwrap().find(None).is_some(), "the only key needs no id");
        let twice = parse(&[one.jwk(), Forge::es256("k1").jwk(), two.jwk()]).unwrap();
        assert!(twice.find(Some("k1")).is_none() && twice.find(Some("k2")).is_some());
    }

    #[test]
    fn j09_keys_that_must_not_verify_are_skipped() {
        let good = Forge::es256("good").jwk();
        let rsa = |n: &[u8], e: &[u8]| {
            let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
            format!(r#"{{"kty":"RSA","kid":"bad","n":"{n}","e":"{e}"}}"#)
        };
        let bad = Forge::es256("bad").jwk();
        for entry in [
            rsa(&[0xff; 64], &[1, 0, 1]),
            rsa(&[0xff; 128], &[1, 0, 1]),
            rsa(&[0x7f; 256], &[1, 0, 1]),
            rsa(&[&[0_u8][..], &[0xff; 255]].concat(), &[1, 0, 1]),
            rsa(&[0xff; 1025], &[1, 0, 1]),
            rsa(&[0xff; 256], &[1]),
            rsa(&[0xff; 256], &[2]),
            rsa(&[0xff; 256], &[0, 1, 0, 1]),
            rsa(&[0xff; 256], &[1; 9]),
            rsa(&[0xff; 256], &[]),
            with(&bad, r#""use":"enc""#),
            with(&bad, r#""key_ops":["sign"]"#),
            with(&bad, r#""alg":"RS256""#),
            with(&bad, r#""alg":"HS256""#),
            with(&bad, r#""d":"AAAA""#),
            bad.replace("P-256", "P-384"),
            bad.replace("P-256", "secp256k1"),
            r#"{"kty":"oct","kid":"bad","alg":"HS256","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"OKP","kid":"bad","crv":"Ed448","x":"AAAA"}"#.to_owned(),
        ] {
            let keys = parse(&[good.clone(), entry.clone()]).unwrap();
            assert!(keys.find(Some("bad")).is_none(), "{entry}");
            assert!(keys.find(Some("good")).is_some());
        }
        for entry in [with(&bad, r#""use":"sig""#), with(&bad, r#""alg":"ES256""#), rsa(&[0xff; 256], &[1, 0, 1])] {
            assert!(parse(&[entry]).unwrap().find(Some("bad")).is_some());
        }
    }

    #[test]
    fn j09_sets_that_are_refused_as_a_whole() {
        let many: Vec<String> = (0..=MAX_KEYS).map(|n| Forge::ed25519(&n.to_string()).jwk()).collect();
        assert_eq!(parse(&many).err(), Some(JwksError::TooLarge));
        let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(256 * 1024));
        assert_eq!(KeySet::parse(long.as_bytes()).err(), Some(JwksError::TooLarge));
        for bad in
            ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[1,null]}"#, r#"{"keys":[],"keys":[]}"#]
        {
            assert!(matches!(KeySet::parse(bad.as_bytes()), Err(JwksError::Unusable(_))), "{bad}");
        }
    }
}
