//! Keyed hashes of credentials, and fresh ones.
//!
//! The key is random per process, or follows from the store's where tokens outlive the process, and never leaves this
//! module: a digest is worth nothing elsewhere and comparing digests with `==` tells an attacker nothing about the
//! credential behind them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::IdentityError;

const NO_RANDOM: IdentityError = IdentityError::Internal("the system gave no random bytes");
const TOKEN_PREFIX: &str = "svp.";
const TOKEN_BYTES: usize = 32;
const TOKEN_CHARS: usize = 4 + 43;
const ACCESSOR_BYTES: usize = 18;

/// What a digest is of. Equal texts in different places have different digests.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Credential = 1,
    RoleId = 2,
    SecretId = 3,
    Certificate = 4,
    Workload = 5,
    /// The id of an access key, configured or derived.
    AccessKey = 6,
    /// A configured access key, id and secret together.
    AccessPair = 7,
    /// What the id of a token's access key is made of.
    DerivedId = 8,
    /// What the secret of a token's access key is made of.
    DerivedSecret = 9,
}

/// HMAC-SHA-256 of a text under the process key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// The first half, which audit lines may show.
    pub(super) fn short(&self) -> [u8; 16] {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(self.0) {
            *to = from;
        }
        short
    }

    /// All of it.
    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a journal knows it by.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What [`Self::text`] was made of.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        <[u8; 32]>::try_from(bytes).ok().map(Self)
    }

    /// An evenly spread small number.
    pub(super) fn spread(&self) -> usize {
        self.0.last().copied().map_or(0, usize::from)
    }
}

/// The process key and the source of random credentials.
pub(super) struct Digester {
    key: hmac::Key,
    random: SystemRandom,
}

impl Digester {
    pub(super) fn new() -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| NO_RANDOM)?;
        Ok(Self { key, random })
    }

    /// The digester of a key that outlives the process.
    pub(super) fn keyed(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), random: SystemRandom::new() }
    }

    pub(super) fn digest(&self, place: Place, text: &str) -> Digest {
        Digest(*self.derive(place, text))
    }

    /// The bytes of a digest, for secrets that follow from one: only this process can make them.
    pub(super) fn derive(&self, place: Place, text: &str) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[place as u8]);
        context.update(text.as_bytes());
        let tag = context.sign();
        let bytes: &[u8] = tag.as_ref();
        let mut derived = Zeroizing::new([0_u8; 32]);
        for (to, from) in derived.iter_mut().zip(bytes) {
            *to = *from;
        }
        derived
    }

    /// A new token: `svp.` and 256 random bits.
    pub(super) fn token(&self) -> Result<Zeroizing<String>, IdentityError> {
        let mut bytes = Zeroizing::new([0_u8; TOKEN_BYTES]);
        self.random.fill(bytes.as_mut_slice()).map_err(|_| NO_RANDOM)?;
        let mut token = Zeroizing::new(String::with_capacity(TOKEN_CHARS));
        token.push_str(TOKEN_PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut token);
        Ok(token)
    }

    /// A new accessor: names a token without being one.
    pub(super) fn accessor(&self) -> Result<Box<str>, IdentityError> {
        let mut bytes = [0_u8; ACCESSOR_BYTES];
        self.random.fill(&mut bytes).map_err(|_| NO_RANDOM)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes).into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_depend_on_key_place_and_text() {
        let (one, two) = (Digester::new().unwrap(), Digester::new().unwrap());
        let base = one.digest(Place::Credential, "a");
        assert!(base == one.digest(Place::Credential, "a"));
        assert!(base != one.digest(Place::Credential, "b"));
        assert!(base != one.digest(Place::RoleId, "a"));
        assert!(base != two.digest(Place::Credential, "a"));
        let (one, again) = (Digester::keyed(&[1; 32]), Digester::keyed(&[1; 32]));
        assert!(one.digest(Place::Credential, "a") == again.digest(Place::Credential, "a"));
        assert!(one.digest(Place::Credential, "a") != Digester::keyed(&[2; 32]).digest(Place::Credential, "a"));
    }

    #[test]
    fn a_digest_is_read_back_from_its_text_and_from_nothing_else() {
        let digest = Digester::keyed(&[1; 32]).digest(Place::Credential, "a");
        assert!(Digest::parse(&digest.text()) == Some(digest));
        for bad in ["", "svp.a", &format!("{}A", digest.text()), &format!("{}=", digest.text())] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_long_visible_and_new() {
        let digester = Digester::new().unwrap();
        let (one, two) = (digester.token().unwrap(), digester.token().unwrap());
        assert!(one.starts_with("svp.") && one.len() == TOKEN_CHARS && one.bytes().all(|b| b.is_ascii_graphic()));
        assert_ne!(*one, *two);
        assert_eq!(one.capacity(), TOKEN_CHARS, "the buffer must not have moved");
        assert_eq!(digester.accessor().unwrap().len(), 24);
    }
}
