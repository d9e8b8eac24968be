//! One message under a key: AES-256-GCM with a key derived for this message alone, and a commitment to that key.
//!
//! INVARIANT: a message key is derived from fresh random salt and used once, which is why the nonce may be constant.
//! Whoever holds two keys cannot make a message that opens under both: the commitment is the other half of the HMAC that
//! the message key comes from, and is compared before anything is decrypted.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use ring::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::SealError;

pub(super) const SALT: usize = 32;
pub(super) const COMMIT: usize = 32;
pub(super) const TAG: usize = 16;
const FORMAT: u8 = 1;
const HEADER: usize = 1 + SALT + COMMIT;

/// The cipher and the commitment of one message: the two halves of one HMAC-SHA-512. `key` is for HMAC-SHA-512;
/// `context` is of one shape for each use of a key.
pub(super) fn message_key(key: &hmac::Key, context: [&[u8]; 3]) -> (Aes256Gcm, [u8; COMMIT]) {
    let mut digest = hmac::Context::with_key(key);
    for part in context {
        digest.update(part);
    }
    let tag = digest.sign();
    let mut cipher = Zeroizing::new([0_u8; 32]);
    let mut commit = [0; COMMIT];
    let (first, second) = tag.as_ref().split_at_checked(32).unwrap_or_default();
    fill(cipher.as_mut_slice(), first);
    fill(&mut commit, second);
    (Aes256Gcm::new(&(*cipher).into()), commit)
}

/// Encrypts `body` where it is; yields the tag.
pub(super) fn encrypt(cipher: &Aes256Gcm, aad: &[u8], body: &mut [u8]) -> Result<Tag, SealError> {
    cipher.encrypt_inout_detached(&Nonce::default(), aad, body.into()).map_err(|_| SealError::Broken)
}

/// Decrypts a copy of `body`.
pub(super) fn decrypt(
    cipher: &Aes256Gcm,
    aad: &[u8],
    body: &[u8],
    tag: [u8; TAG],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut plain = Zeroizing::new(body.to_vec());
    cipher
        .decrypt_inout_detached(&Nonce::default(), aad, plain.as_mut_slice().into(), &Tag::from(tag))
        .map_err(|_| SealError::Broken)?;
    Ok(plain)
}

/// Seals `plain` under `key` (32 bytes): `purpose` and `place` say what for and where it belongs.
pub(super) fn seal(key: &[u8], purpose: &str, place: [&[u8]; 2], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
    let (cipher, commit) = message_key(&envelope_key(key), [b"envelope v1", purpose.as_bytes(), &salt]);
    let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
    out.push(FORMAT);
    out.extend_from_slice(&salt);
    out.extend_from_slice(&commit);
    out.extend_from_slice(plain);
    let body = out.get_mut(HEADER..).ok_or(SealError::Broken)?;
    let tag = encrypt(&cipher, &associated(purpose, place), body)?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens what [`seal`] made with the same key, purpose and place.
pub(super) fn open(
    key: &[u8],
    purpose: &str,
    place: [&[u8]; 2],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (header, rest) = sealed.split_at_checked(HEADER).ok_or(SealError::Broken)?;
    let (format, header) = header.split_first().ok_or(SealError::Broken)?;
    let (salt, commit) = header.split_first_chunk::<SALT>().ok_or(SealError::Broken)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(SealError::Broken)?;
    let (cipher, expected) = message_key(&envelope_key(key), [b"envelope v1", purpose.as_bytes(), salt]);
    if *format != FORMAT || !bool::from(expected.as_slice().ct_eq(commit)) {
        return Err(SealError::Broken);
    }
    decrypt(&cipher, &associated(purpose, place), body, *tag)
}

fn envelope_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA512, key)
}

/// Length-prefixed: no two places share an encoding.
fn associated(purpose: &str, place: [&[u8]; 2]) -> Vec<u8> {
    let mut aad = vec![FORMAT];
    for part in [purpose.as_bytes()].into_iter().chain(place) {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

/// Copies as much of `from` as there is room for.
pub(super) fn fill(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// 32 random bytes.
pub(super) fn random_key() -> Result<Zeroizing<[u8; 32]>, SealError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| SealError::Random)?;
    Ok(key)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_only_with_its_key_for_its_purpose_in_its_place() {
        let sealed = seal(&[1; 32], "p", [b"a", b"b"], b"canary").unwrap();
        assert_eq!(open(&[1; 32], "p", [b"a", b"b"], &sealed).unwrap().as_slice(), b"canary");
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert!(open(&[2; 32], "p", [b"a", b"b"], &sealed).is_err());
        assert!(open(&[1; 32], "q", [b"a", b"b"], &sealed).is_err());
        let places: [[&[u8]; 2]; 4] = [[b"a", b"c"], [b"ab", b""], [b"", b"ab"], [b"b", b"a"]];
        for place in places {
            assert!(open(&[1; 32], "p", place, &sealed).is_err(), "{place:?}");
        }
        for index in 0..sealed.len() {
            let mut bytes = sealed.clone();
            bytes[index] ^= 1;
            assert!(open(&[1; 32], "p", [b"a", b"b"], &bytes).is_err(), "byte {index}");
            assert!(open(&[1; 32], "p", [b"a", b"b"], &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn hex_is_hex() {
        assert_eq!(hex(&[0, 15, 16, 255]), "000f10ff");
    }
}
