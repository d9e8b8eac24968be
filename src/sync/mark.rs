//! What a remote secret is, seen without its value where the store allows that, and which of its versions are ours.
//!
//! INVARIANT: a mark does not depend on when it is made. A version that deletes itself at a known time carries that time
//! before and after, so the passing of time alone never looks like a change.

use ring::digest::{Context, SHA256};

use crate::clock::Timestamp;
use crate::seal::{Agreed, Head, HeadVersion, RemoteMark};
use crate::secret::{Described, Metadata, Rank, SecretRecord, SecretValue, VersionInfo, VersionState};

/// The mark of a secret whose store tells metadata and versions apart from values.
pub(super) fn of_described(described: &Described) -> RemoteMark {
    let mut digest = Digest::new("described");
    digest.metadata(&described.metadata);
    for info in &described.versions {
        digest.version(info);
    }
    if let Some(end) = described.purges_at.filter(|_| described.versions.is_empty()) {
        // of a secret without versions nothing else shows that it was deleted
        digest.part(b"purges");
        digest.number(end.micros());
    }
    let newest = described.versions.iter().find(|info| info.version == described.current_version);
    RemoteMark {
        version: described.current_version,
        native: newest.and_then(|info| info.native_id.as_deref()).map(str::to_owned),
        readable: newest.is_some_and(|info| info.state.is_readable()),
        digest: digest.finish(),
    }
}

/// The mark of a secret whose store has nothing to tell but the value itself.
pub(super) fn of_record(record: &SecretRecord) -> RemoteMark {
    let mut digest = Digest::new("value");
    digest.metadata(&record.metadata);
    digest.version(&record.info);
    if let Some(value) = &record.value {
        digest.value(value);
    }
    RemoteMark {
        version: record.info.version,
        native: record.info.native_id.as_deref().map(str::to_owned),
        readable: record.value.is_some(),
        digest: digest.finish(),
    }
}

/// Whether two marks are of the same state. Readability follows from the rest and the time, so it is not compared.
pub(super) fn is_same(one: &RemoteMark, other: &RemoteMark) -> bool {
    one.version == other.version && one.native == other.native && one.digest == other.digest
}

/// Both sides hold the same now: what a later comparison starts from.
pub(super) fn agreed(head: &Head, remote: RemoteMark, at: Timestamp) -> Agreed {
    Agreed { local: head.fingerprint(), local_version: head.current, remote, at: at.micros() }
}

/// Whether our version `number` is the remote version `info`: it carries the remote identifier, or it has the same
/// number and was written at the same time. Stores that keep no times have no versions to tell apart.
pub(super) fn is_link(number: u64, known: &HeadVersion, info: &VersionInfo) -> bool {
    match (&known.native, &info.native_id) {
        (Some(known), Some(native)) => **known == **native,
        (Some(known), None) => *known == info.version.to_string(),
        (None, Some(_)) => false,
        (None, None) => number == info.version && known.created == info.created_at.micros() && !is_timeless(info),
    }
}

/// The identifier our version `number` carries for the remote version: none where the number says it all.
pub(super) fn native_of(number: u64, info: &VersionInfo) -> Option<String> {
    match &info.native_id {
        Some(native) => Some(native.to_string()),
        None if number == info.version || is_timeless(info) => None,
        None => Some(info.version.to_string()),
    }
}

/// Whether the store keeps no times, and with them no versions.
pub(super) fn is_timeless(info: &VersionInfo) -> bool {
    info.created_at == Timestamp::default()
}

/// When a version was or will be deleted, in microseconds.
pub(super) fn deletion(info: &VersionInfo) -> Option<u64> {
    let at = match info.state {
        VersionState::Current => info.deletes_at,
        VersionState::Deleted(at) => Some(at),
        VersionState::Destroyed(at) => at,
        // kept and not to be read: a copy has no other word for it
        VersionState::Disabled => Some(info.created_at),
    };
    at.map(Timestamp::micros)
}

/// A SHA-256 over length-prefixed parts.
struct Digest(Context);

impl Digest {
    fn new(purpose: &str) -> Self {
        let mut digest = Self(Context::new(&SHA256));
        digest.part(b"remote mark v1");
        digest.part(purpose.as_bytes());
        digest
    }

    fn part(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn metadata(&mut self, metadata: &Metadata) {
        self.number(metadata.len() as u64);
        for (key, value) in metadata {
            self.part(key.as_bytes());
            self.part(value.as_bytes());
        }
    }

    fn version(&mut self, info: &VersionInfo) {
        self.number(info.version);
        self.part(info.native_id.as_deref().unwrap_or_default().as_bytes());
        self.number(info.created_at.micros());
        self.number(deletion(info).map_or(0, |at| at.saturating_add(1)));
        self.number(match info.state {
            VersionState::Current | VersionState::Deleted(_) => 0,
            VersionState::Destroyed(_) => 1,
            VersionState::Disabled => 2,
        });
        for stage in &info.stages {
            self.part(stage.as_bytes());
        }
        if info.rank == Rank::Previous && info.native_id.is_some() {
            self.part(b"previous");
        }
    }

    fn value(&mut self, value: &SecretValue) {
        self.part(value.expose());
    }

    fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| DIGITS.get(usize::from(half)).copied().map_or('0', char::from);
        let digest = self.0.finish();
        digest.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretType;

    fn info(version: u64) -> VersionInfo {
        VersionInfo { version, created_at: Timestamp::from_secs(version), ..VersionInfo::default() }
    }

    fn described(versions: Vec<VersionInfo>) -> Described {
        Described {
            current_version: versions.last().map_or(0, |info| info.version),
            oldest_version: versions.first().map_or(0, |info| info.version),
            created_at: Timestamp::from_secs(1),
            updated_at: Timestamp::from_secs(9),
            versions,
            ..Described::default()
        }
    }

    #[test]
    fn a_secret_without_versions_shows_its_deletion_all_the_same() {
        let ended = |described: &Described| Described { purges_at: Some(Timestamp::from_secs(9)), ..described.clone() };
        let bare = described(Vec::new());
        assert!(!is_same(&of_described(&bare), &of_described(&ended(&bare))));
        let full = described(vec![info(1)]);
        assert!(is_same(&of_described(&full), &of_described(&ended(&full))), "elsewhere the versions show it");
    }

    #[test]
    fn a_mark_tells_every_change_apart_and_nothing_else() {
        let base = described(vec![info(1), info(2)]);
        let mark = of_described(&base);
        assert_eq!((mark.version, mark.readable), (2, true));
        let mut touched = base.clone();
        touched.updated_at = Timestamp::from_secs(99);
        touched.cas_required = true;
        assert!(is_same(&mark, &of_described(&touched)), "what is not copied is no change");
        let changed = |change: fn(&mut Described)| {
            let mut other = base.clone();
            change(&mut other);
            of_described(&other)
        };
        for other in [
            changed(|d| drop(d.metadata.insert("a".into(), "b".into()))),
            changed(|d| d.versions[0].state = VersionState::Destroyed(None)),
            changed(|d| d.versions[1].state = VersionState::Deleted(Timestamp::from_secs(5))),
            changed(|d| d.versions[1].deletes_at = Some(Timestamp::from_secs(5))),
            changed(|d| d.versions[1].created_at = Timestamp::from_secs(5)),
            changed(|d| drop(d.versions.remove(0))),
            changed(|d| d.current_version = 1),
        ] {
            assert!(!is_same(&mark, &other), "{other:?}");
        }
    }

    #[test]
    fn a_version_that_deletes_itself_is_no_change_when_it_does() {
        let at = Timestamp::from_secs(50);
        let mut before = described(vec![info(1)]);
        before.versions[0].deletes_at = Some(at);
        let mut after = described(vec![info(1)]);
        after.versions[0].state = VersionState::Deleted(at);
        let (before, after) = (of_described(&before), of_described(&after));
        assert!(is_same(&before, &after));
        assert_ne!(before.readable, after.readable);
    }

    #[test]
    fn a_store_without_descriptions_is_compared_by_its_value() {
        let record = |text: &str| SecretRecord {
            value: Some(SecretValue::copy_of(text.as_bytes())),
            secret_type: SecretType::Json,
            metadata: Metadata::new(),
            info: VersionInfo { created_at: Timestamp::default(), ..info(1) },
            updated_at: None,
        };
        assert!(is_same(&of_record(&record("a")), &of_record(&record("a"))));
        assert!(!is_same(&of_record(&record("a")), &of_record(&record("b"))));
        assert_eq!(of_record(&record("a")).digest.len(), 64);
    }

    #[test]
    fn versions_are_linked_by_identifier_or_by_number_and_time() {
        let ours = |created: u64, native: Option<&str>| HeadVersion {
            created: created * 1_000_000,
            native: native.map(str::to_owned),
            ..HeadVersion::default()
        };
        assert!(is_link(3, &ours(3, None), &info(3)));
        assert!(!is_link(3, &ours(4, None), &info(3)), "another secret of the same name");
        assert!(is_link(7, &ours(1, Some("3")), &info(3)));
        assert!(!is_link(3, &ours(3, Some("2")), &info(3)));
        assert_eq!((native_of(3, &info(3)), native_of(4, &info(3))), (None, Some("3".to_owned())));
    }
}
