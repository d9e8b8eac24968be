//! A tenant's keys: one for blind indexes, which never changes, and one a term for records.

use zeroize::Zeroizing;

use super::{SealError, envelope};

const KEY: usize = 32;
/// index key, active term
const FIXED: usize = KEY + 4;
/// number, key
const TERM: usize = 4 + KEY;

/// The keys in clear; wiped when dropped.
pub(super) struct TenantKeys {
    index: Zeroizing<[u8; KEY]>,
    active: u32,
    terms: Vec<(u32, Zeroizing<[u8; KEY]>)>,
}

impl TenantKeys {
    /// New keys in their first term.
    pub(super) fn random() -> Result<Self, SealError> {
        Ok(Self { index: envelope::random_key()?, active: 1, terms: vec![(1, envelope::random_key()?)] })
    }

    pub(super) fn index(&self) -> &[u8] {
        self.index.as_slice()
    }

    pub(super) const fn active(&self) -> u32 {
        self.active
    }

    pub(super) fn terms(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        self.terms.iter().map(|(term, key)| (*term, key.as_slice()))
    }

    /// Starts the next term; the ones before still open.
    pub(super) fn add_term(&mut self) -> Result<(), SealError> {
        let next = self.active.checked_add(1).ok_or(SealError::Form)?;
        self.terms.push((next, envelope::random_key()?));
        self.active = next;
        Ok(())
    }

    /// Keeps the active term only.
    pub(super) fn drop_old_terms(&mut self) {
        let active = self.active;
        self.terms.retain(|(term, _)| *term == active);
    }

    /// For sealing.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(FIXED + self.terms.len() * TERM));
        bytes.extend_from_slice(self.index());
        bytes.extend_from_slice(&self.active.to_be_bytes());
        for (term, key) in self.terms() {
            bytes.extend_from_slice(&term.to_be_bytes());
            bytes.extend_from_slice(key);
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let (index, rest) = bytes.split_first_chunk::<KEY>().ok_or(SealError::Form)?;
        let (active, rest) = rest.split_first_chunk::<4>().ok_or(SealError::Form)?;
        let (active, whole) = (u32::from_be_bytes(*active), rest.chunks_exact(TERM));
        if !whole.remainder().is_empty() {
            return Err(SealError::Form);
        }
        let terms: Vec<_> = whole.filter_map(term).collect();
        if !terms.iter().any(|(term, _)| *term == active) {
            return Err(SealError::Form);
        }
        Ok(Self { index: Zeroizing::new(*index), active, terms })
    }
}

fn term(bytes: &[u8]) -> Option<(u32, Zeroizing<[u8; KEY]>)> {
    let (number, key) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), Zeroizing::new(*key.first_chunk::<KEY>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_they_were_written_or_not_at_all() {
        let mut keys = TenantKeys::random().unwrap();
        keys.add_term().unwrap();
        keys.add_term().unwrap();
        let bytes = keys.to_bytes();
        assert_eq!(bytes.len(), FIXED + 3 * TERM);
        let read = TenantKeys::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.terms().map(|(term, _)| term).collect::<Vec<_>>(), [1, 2, 3]);
        for len in 0..bytes.len() {
            // whole terms may be missing, but not the active one
            assert!(TenantKeys::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
        }
        keys.drop_old_terms();
        assert_eq!(keys.to_bytes().len(), FIXED + TERM);
        assert_ne!(TenantKeys::random().unwrap().to_bytes(), TenantKeys::random().unwrap().to_bytes());
    }
}
