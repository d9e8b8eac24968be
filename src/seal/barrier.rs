//! Sealing and opening of single records.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use ring::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{RootKey, SealError};
use crate::clock::Timestamp;
use crate::secret::{SecretPath, Tenant};
use crate::store::Sealed;

const FORMAT: u8 = 1;
const TERM: u32 = 1;
const SALT: usize = 32;
const COMMIT: usize = 32;
const TAG: usize = 16;
/// format, term, time, salt, commitment
const HEADER: usize = 1 + 4 + 8 + SALT + COMMIT;

/// What a record holds; part of what it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Settings and versions of a secret.
    Head,
    /// A value.
    Value,
}

/// Where a record belongs. Opening with another place fails.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Of which secret.
    pub path: &'a SecretPath,
    /// Which version; 0 for a head.
    pub version: u64,
}

/// Seals and opens records of one tenant. INVARIANT: a record key is derived from fresh random salt and used for one
/// message, which is why the nonce may be constant.
pub struct Barrier {
    tenant: Tenant,
    store_id: [u8; 16],
    records: hmac::Key,
    index: hmac::Key,
}

impl Barrier {
    /// The barrier of `tenant` in the store `store_id` under `root`.
    #[must_use]
    pub fn new(root: &RootKey, store_id: [u8; 16], tenant: &Tenant) -> Self {
        let key = |purpose: &str| derive(root, purpose, &store_id, tenant);
        Self {
            tenant: tenant.clone(),
            store_id,
            records: hmac::Key::new(hmac::HMAC_SHA512, key("records").as_slice()),
            index: hmac::Key::new(hmac::HMAC_SHA256, key("index").as_slice()),
        }
    }

    /// The blind index of a path: what a store may know it by.
    #[must_use]
    pub fn index(&self, path: &SecretPath) -> [u8; 32] {
        let mut index = [0; 32];
        let tag = hmac::sign(&self.index, path.as_str().as_bytes());
        for (to, from) in index.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        index
    }

    /// Seals `plain` for `place`.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn seal(&self, place: Place<'_>, at: Timestamp, plain: &[u8]) -> Result<Sealed, SealError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        let (cipher, commit) = self.record_key(TERM, &salt);
        let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
        out.push(FORMAT);
        out.extend_from_slice(&TERM.to_be_bytes());
        out.extend_from_slice(&at.micros().to_be_bytes());
        out.extend_from_slice(&salt);
        out.extend_from_slice(&commit);
        out.extend_from_slice(plain);
        let aad = self.associated(TERM, place, at);
        let body = out.get_mut(HEADER..).ok_or(SealError::Broken)?;
        let tag = cipher.encrypt_inout_detached(&Nonce::default(), &aad, body.into()).map_err(|_| SealError::Broken)?;
        out.extend_from_slice(&tag);
        Ok(Sealed(out.into()))
    }

    /// Opens a record that was sealed for `place`; yields the plain bytes and the time it was sealed with.
    ///
    /// # Errors
    /// [`SealError::Broken`] if anything about it differs.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<(Zeroizing<Vec<u8>>, Timestamp), SealError> {
        let (header, rest) = sealed.0.split_at_checked(HEADER).ok_or(SealError::Broken)?;
        let (format, header) = header.split_first().ok_or(SealError::Broken)?;
        let (term, header) = header.split_first_chunk::<4>().ok_or(SealError::Broken)?;
        let (at, header) = header.split_first_chunk::<8>().ok_or(SealError::Broken)?;
        let (salt, commit) = header.split_first_chunk::<SALT>().ok_or(SealError::Broken)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(SealError::Broken)?;
        let (term, at) = (u32::from_be_bytes(*term), Timestamp::from_micros(u64::from_be_bytes(*at)));
        if *format != FORMAT || term != TERM {
            return Err(SealError::Broken);
        }
        let (cipher, expected) = self.record_key(term, salt);
        if !bool::from(expected.as_slice().ct_eq(commit)) {
            return Err(SealError::Broken);
        }
        let mut plain = Zeroizing::new(body.to_vec());
        let aad = self.associated(term, place, at);
        cipher
            .decrypt_inout_detached(&Nonce::default(), &aad, plain.as_mut_slice().into(), &Tag::from(*tag))
            .map_err(|_| SealError::Broken)?;
        Ok((plain, at))
    }

    /// The cipher and the commitment of the record with this salt: the two halves of one HMAC-SHA-512.
    fn record_key(&self, term: u32, salt: &[u8; SALT]) -> (Aes256Gcm, [u8; COMMIT]) {
        let mut context = hmac::Context::with_key(&self.records);
        context.update(b"record v1");
        context.update(&term.to_be_bytes());
        context.update(salt);
        let tag = context.sign();
        let mut key = Zeroizing::new([0_u8; 32]);
        let mut commit = [0; COMMIT];
        let (first, second) = tag.as_ref().split_at_checked(32).unwrap_or_default();
        for (to, from) in key.iter_mut().zip(first) {
            *to = *from;
        }
        for (to, from) in commit.iter_mut().zip(second) {
            *to = *from;
        }
        (Aes256Gcm::new(&(*key).into()), commit)
    }

    /// Length-prefixed: no two places share an encoding.
    fn associated(&self, term: u32, place: Place<'_>, at: Timestamp) -> Vec<u8> {
        let (tenant, path) = (self.tenant.as_str().as_bytes(), place.path.as_str().as_bytes());
        let mut aad = Vec::with_capacity(64 + tenant.len() + path.len());
        aad.push(FORMAT);
        aad.extend_from_slice(&self.store_id);
        aad.extend_from_slice(&term.to_be_bytes());
        aad.push(match place.kind {
            Kind::Head => 1,
            Kind::Value => 2,
        });
        for part in [tenant, path] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad.extend_from_slice(&place.version.to_be_bytes());
        aad.extend_from_slice(&at.micros().to_be_bytes());
        aad
    }
}

/// HMAC-SHA-512 of a labelled, length-prefixed purpose under the root key.
fn derive(root: &RootKey, purpose: &str, store_id: &[u8; 16], tenant: &Tenant) -> Zeroizing<Vec<u8>> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, root.bytes()));
    for part in [b"scaivault-proxy v1".as_slice(), purpose.as_bytes(), store_id, tenant.as_str().as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    Zeroizing::new(context.sign().as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{KeyProvider as _, RandomKey};

    fn barrier(tenant: &str) -> (Barrier, RootKey) {
        let root = RandomKey.root_key().unwrap();
        (Barrier::new(&root, [3; 16], &Tenant::parse(tenant).unwrap()), root)
    }

    #[test]
    fn a_record_opens_only_where_it_was_sealed_for() {
        let (barrier, root) = barrier("one");
        let (a, b) = (SecretPath::parse("a").unwrap(), SecretPath::parse("b").unwrap());
        let place = Place { kind: Kind::Value, path: &a, version: 1 };
        let at = Timestamp::from_secs(7);
        let sealed = barrier.seal(place, at, b"canary").unwrap();
        let (plain, when) = barrier.open(place, &sealed).unwrap();
        assert_eq!((plain.as_slice(), when), (b"canary".as_slice(), at));
        assert!(!sealed.0.windows(6).any(|w| w == b"canary"));
        for wrong in [Place { path: &b, ..place }, Place { version: 2, ..place }, Place { kind: Kind::Head, ..place }] {
            assert!(matches!(barrier.open(wrong, &sealed), Err(SealError::Broken)), "e02 {wrong:?}");
        }
        let other = Barrier::new(&root, [3; 16], &Tenant::parse("two").unwrap());
        assert!(other.open(place, &sealed).is_err(), "another tenant");
        let other = Barrier::new(&root, [4; 16], &Tenant::parse("one").unwrap());
        assert!(other.open(place, &sealed).is_err(), "another store");
        assert_ne!(barrier.index(&a), other.index(&a));
    }

    #[test]
    fn e01_every_flipped_byte_is_noticed() {
        let (barrier, _) = barrier("one");
        let path = SecretPath::parse("a/b").unwrap();
        let place = Place { kind: Kind::Head, path: &path, version: 0 };
        let sealed = barrier.seal(place, Timestamp::from_secs(1), b"value").unwrap();
        for index in 0..sealed.0.len() {
            let mut bytes = sealed.0.to_vec();
            bytes[index] ^= 1;
            assert!(barrier.open(place, &Sealed(bytes.into())).is_err(), "byte {index}");
        }
        for len in 0..sealed.0.len() {
            assert!(barrier.open(place, &Sealed(sealed.0[..len].into())).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn e11_two_seals_of_one_value_share_nothing() {
        let (barrier, _) = barrier("one");
        let path = SecretPath::parse("a").unwrap();
        let place = Place { kind: Kind::Value, path: &path, version: 1 };
        let one = barrier.seal(place, Timestamp::from_secs(1), b"same").unwrap();
        let two = barrier.seal(place, Timestamp::from_secs(1), b"same").unwrap();
        assert_ne!(one.0[HEADER..], two.0[HEADER..]);
    }
}
