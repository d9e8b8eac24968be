//! Sealing and opening of single records.

use arc_swap::ArcSwap;
use ring::hmac;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::envelope::{self, COMMIT, SALT, TAG};
use super::locked::Pinned;
use super::tenant_keys::TenantKeys;
use super::{DocumentKind, RootKey, SealError};
use crate::clock::Timestamp;
use crate::secret::{SecretPath, Tenant};
use crate::store::Sealed;

const FORMAT: u8 = 1;
/// The term of keys that are derived and never rotated.
const FIRST_TERM: u32 = 1;
const TERM_AT: usize = 1;
/// format, term, time, salt, commitment
const HEADER: usize = TERM_AT + 4 + 8 + SALT + COMMIT;

/// Where a record belongs. Opening with another place fails.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The settings and versions of a secret.
    Head {
        /// Of which secret.
        path: &'a SecretPath,
    },
    /// A value.
    Value {
        /// Of which secret.
        path: &'a SecretPath,
        /// Of which version.
        version: u64,
    },
    /// A secret's path.
    Name {
        /// [`Barrier::index`] of the path, as the store has it.
        index: &'a [u8; 32],
    },
    /// A tenant's document.
    Document {
        /// Which kind.
        kind: DocumentKind,
        /// [`Barrier::document_index`] of kind and id.
        index: &'a [u8; 32],
    },
}

/// Seals and opens records of one tenant. New records are sealed under the active term; older terms open what is not
/// sealed again yet.
pub struct Barrier {
    tenant: Tenant,
    tenant_id: [u8; 16],
    store_id: [u8; 16],
    index: Pinned<hmac::Key>,
    terms: ArcSwap<Terms>,
}

struct Terms {
    active: u32,
    keys: Vec<Pinned<(u32, hmac::Key)>>,
}

impl Terms {
    fn key(&self, term: u32) -> Option<&hmac::Key> {
        self.keys.iter().find(|pinned| pinned.0 == term).map(|pinned| &pinned.1)
    }
}

impl Barrier {
    /// The barrier of `tenant` in the store `store_id`, with keys derived from `root`: for a store that ends with the
    /// process. Others get theirs from a [`super::Keyring`].
    #[must_use]
    pub fn new(root: &RootKey, store_id: [u8; 16], tenant: &Tenant) -> Self {
        let key = |purpose: &str| derive(root, purpose, &store_id, tenant);
        let records = Pinned::new((FIRST_TERM, hmac::Key::new(hmac::HMAC_SHA512, key("records").as_slice())));
        Self {
            tenant: tenant.clone(),
            tenant_id: tenant_id(&store_id, tenant),
            store_id,
            index: Pinned::new(hmac::Key::new(hmac::HMAC_SHA256, key("index").as_slice())),
            terms: ArcSwap::from_pointee(Terms { active: FIRST_TERM, keys: vec![records] }),
        }
    }

    /// The barrier of `tenant` with keys of its own.
    pub(super) fn with_keys(keys: &TenantKeys, store_id: [u8; 16], tenant: &Tenant) -> Self {
        Self {
            tenant: tenant.clone(),
            tenant_id: tenant_id(&store_id, tenant),
            store_id,
            index: Pinned::new(hmac::Key::new(hmac::HMAC_SHA256, keys.index())),
            terms: ArcSwap::from_pointee(terms(keys)),
        }
    }

    /// From now on, seals under the active term of `keys` and opens under any of them.
    pub(super) fn renew(&self, keys: &TenantKeys) {
        self.terms.store(terms(keys).into());
    }

    /// The term that new records are sealed under.
    pub(super) fn active_term(&self) -> u32 {
        self.terms.load().active
    }

    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What a store knows the tenant by.
    #[must_use]
    pub const fn tenant_id(&self) -> &[u8; 16] {
        &self.tenant_id
    }

    /// The blind index of a path: what a store may know it by.
    #[must_use]
    pub fn index(&self, path: &SecretPath) -> [u8; 32] {
        let mut index = [0; 32];
        envelope::fill(&mut index, hmac::sign(&self.index, path.as_str().as_bytes()).as_ref());
        index
    }

    /// The blind index of a document. No path starts with the byte that sets it apart.
    #[must_use]
    pub fn document_index(&self, kind: DocumentKind, id: &str) -> [u8; 32] {
        let mut index = [0; 32];
        let mut digest = hmac::Context::with_key(&self.index);
        digest.update(&[0, kind.code()]);
        digest.update(id.as_bytes());
        envelope::fill(&mut index, digest.sign().as_ref());
        index
    }

    /// Seals `plain` for `place`.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn seal(&self, place: Place<'_>, at: Timestamp, plain: &[u8]) -> Result<Sealed, SealError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        let terms = self.terms.load();
        let key = terms.key(terms.active).ok_or(SealError::Broken)?;
        let term = terms.active.to_be_bytes();
        let (cipher, commit) = envelope::message_key(key, [b"record v1", &term, &salt]);
        let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
        out.push(FORMAT);
        out.extend_from_slice(&term);
        out.extend_from_slice(&at.micros().to_be_bytes());
        out.extend_from_slice(&salt);
        out.extend_from_slice(&commit);
        out.extend_from_slice(plain);
        let aad = self.associated(terms.active, place, at);
        let body = out.get_mut(HEADER..).ok_or(SealError::Broken)?;
        let tag = envelope::encrypt(&cipher, &aad, body)?;
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
        let (number, at) = (u32::from_be_bytes(*term), Timestamp::from_micros(u64::from_be_bytes(*at)));
        let terms = self.terms.load();
        let key = terms.key(number).filter(|_| *format == FORMAT).ok_or(SealError::Broken)?;
        let (cipher, expected) = envelope::message_key(key, [b"record v1", term, salt]);
        if !bool::from(expected.as_slice().ct_eq(commit)) {
            return Err(SealError::Broken);
        }
        let plain = envelope::decrypt(&cipher, &self.associated(number, place, at), body, *tag)?;
        Ok((plain, at))
    }

    /// Length-prefixed: no two places share an encoding.
    fn associated(&self, term: u32, place: Place<'_>, at: Timestamp) -> Vec<u8> {
        let (kind, subject, version) = match place {
            Place::Head { path } => (1, path.as_str().as_bytes(), 0),
            Place::Value { path, version } => (2, path.as_str().as_bytes(), version),
            Place::Name { index } => (3, index.as_slice(), 0),
            Place::Document { kind, index } => (4, index.as_slice(), u64::from(kind.code())),
        };
        let tenant = self.tenant.as_str().as_bytes();
        let mut aad = Vec::with_capacity(64 + tenant.len() + subject.len());
        aad.push(FORMAT);
        aad.extend_from_slice(&self.store_id);
        aad.extend_from_slice(&term.to_be_bytes());
        aad.push(kind);
        for part in [tenant, subject] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad.extend_from_slice(&version.to_be_bytes());
        aad.extend_from_slice(&at.micros().to_be_bytes());
        aad
    }
}

/// What a store knows `tenant` by: the same in one store for ever, and of no use in another.
pub(super) fn tenant_id(store_id: &[u8; 16], tenant: &Tenant) -> [u8; 16] {
    let mut digest = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, store_id));
    digest.update(b"tenant v1");
    digest.update(tenant.as_str().as_bytes());
    let mut id = [0; 16];
    envelope::fill(&mut id, digest.sign().as_ref());
    id
}

/// The term a record says it was sealed under; 0 if it is too short to say.
pub(super) fn term_of(sealed: &Sealed) -> u32 {
    let term = sealed.0.get(TERM_AT..).and_then(|rest| rest.first_chunk::<4>());
    term.map_or(0, |term| u32::from_be_bytes(*term))
}

fn terms(keys: &TenantKeys) -> Terms {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA512, bytes);
    Terms { active: keys.active(), keys: keys.terms().map(|(term, bytes)| Pinned::new((term, key(bytes)))).collect() }
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
    use std::collections::HashSet;

    use super::*;
    use crate::seal::{KeyProvider as _, RandomKey};

    fn barrier(tenant: &str) -> (Barrier, RootKey) {
        let root = RandomKey.root_key().unwrap();
        (Barrier::new(&root, [3; 16], &Tenant::parse(tenant).unwrap()), root)
    }

    fn path(text: &str) -> SecretPath {
        SecretPath::parse(text).unwrap()
    }

    #[test]
    fn e02_a_record_opens_only_where_it_was_sealed_for() {
        let (barrier, root) = barrier("one");
        let (a, b) = (path("a"), path("b"));
        let place = Place::Value { path: &a, version: 1 };
        let at = Timestamp::from_secs(7);
        let sealed = barrier.seal(place, at, b"canary").unwrap();
        let (plain, when) = barrier.open(place, &sealed).unwrap();
        assert_eq!((plain.as_slice(), when), (b"canary".as_slice(), at));
        assert!(!sealed.0.windows(6).any(|w| w == b"canary"));
        let index = barrier.index(&a);
        for wrong in [
            Place::Value { path: &b, version: 1 },
            Place::Value { path: &a, version: 2 },
            Place::Head { path: &a },
            Place::Name { index: &index },
            Place::Document { kind: DocumentKind::Run, index: &index },
        ] {
            assert!(matches!(barrier.open(wrong, &sealed), Err(SealError::Broken)), "{wrong:?}");
        }
        let other = Barrier::new(&root, [3; 16], &Tenant::parse("two").unwrap());
        assert!(other.open(place, &sealed).is_err(), "another tenant");
        assert_ne!((barrier.index(&a), barrier.tenant_id()), (other.index(&a), other.tenant_id()));
        let other = Barrier::new(&root, [4; 16], &Tenant::parse("one").unwrap());
        assert!(other.open(place, &sealed).is_err(), "another store");
        assert_ne!((barrier.index(&a), barrier.tenant_id()), (other.index(&a), other.tenant_id()));
    }

    #[test]
    fn e02_a_name_and_a_document_open_only_under_their_own_index() {
        let (barrier, _) = barrier("one");
        let (one, other) = (barrier.index(&path("a")), barrier.index(&path("b")));
        let sealed = barrier.seal(Place::Name { index: &one }, Timestamp::default(), b"a").unwrap();
        assert!(barrier.open(Place::Name { index: &one }, &sealed).is_ok());
        assert!(barrier.open(Place::Name { index: &other }, &sealed).is_err());
        let index = barrier.document_index(DocumentKind::Run, "1");
        let place = Place::Document { kind: DocumentKind::Run, index: &index };
        let sealed = barrier.seal(place, Timestamp::default(), b"{}").unwrap();
        assert!(barrier.open(place, &sealed).is_ok());
        assert!(barrier.open(Place::Document { kind: DocumentKind::Intent, index: &index }, &sealed).is_err());
        assert_ne!(index, barrier.document_index(DocumentKind::Intent, "1"));
        assert_ne!(index, barrier.document_index(DocumentKind::Run, "2"));
    }

    #[test]
    fn e01_every_flipped_byte_is_noticed() {
        let (barrier, _) = barrier("one");
        let path = path("a/b");
        let place = Place::Head { path: &path };
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
    fn e11_no_two_seals_share_salt_or_ciphertext() {
        let (barrier, _) = barrier("one");
        let path = path("a");
        let place = Place::Value { path: &path, version: 1 };
        let mut seen = HashSet::new();
        for _ in 0..20_000 {
            let sealed = barrier.seal(place, Timestamp::from_secs(1), b"the same value").unwrap();
            assert!(seen.insert(sealed.0[HEADER - SALT - COMMIT..HEADER - COMMIT].to_vec()), "salt");
            assert!(seen.insert(sealed.0[HEADER..].to_vec()), "ciphertext");
        }
    }

    #[test]
    fn e16_a_record_does_not_open_under_a_second_key() {
        let (one, _) = barrier("one");
        let (two, _) = barrier("one");
        let path = path("a");
        let place = Place::Head { path: &path };
        let of = |barrier: &Barrier| barrier.seal(place, Timestamp::from_secs(1), b"plain").unwrap().0.to_vec();
        let (first, second) = (of(&one), of(&two));
        // whatever is mixed of two records, neither key takes a ciphertext without its own commitment
        for from in [HEADER - COMMIT, HEADER] {
            let mixed: Vec<u8> = first[..from].iter().chain(&second[from..]).copied().collect();
            assert!(one.open(place, &Sealed(mixed.clone().into())).is_err());
            assert!(two.open(place, &Sealed(mixed.into())).is_err());
        }
        assert!(two.open(place, &Sealed(first.into())).is_err());
    }

    #[test]
    fn e10_a_record_says_its_term_and_opens_while_the_term_lasts() {
        let tenant = Tenant::default_tenant();
        let mut keys = TenantKeys::random().unwrap();
        let barrier = Barrier::with_keys(&keys, [1; 16], &tenant);
        let path = path("a");
        let place = Place::Head { path: &path };
        let old = barrier.seal(place, Timestamp::from_secs(1), b"old").unwrap();
        assert_eq!((term_of(&old), barrier.active_term()), (1, 1));
        keys.add_term().unwrap();
        barrier.renew(&keys);
        let new = barrier.seal(place, Timestamp::from_secs(1), b"new").unwrap();
        assert_eq!(term_of(&new), 2);
        assert!(barrier.open(place, &old).is_ok() && barrier.open(place, &new).is_ok());
        keys.drop_old_terms();
        barrier.renew(&keys);
        assert!(barrier.open(place, &old).is_err() && barrier.open(place, &new).is_ok());
        // a record cannot claim another term
        let mut lying = new.0.to_vec();
        lying[TERM_AT + 3] = 1;
        assert!(barrier.open(place, &Sealed(lying.into())).is_err());
        assert_eq!(term_of(&Sealed(Vec::new().into())), 0);
    }
}
