//! A write on its way to a backend, as it is remembered until both sides have it or neither.
//!
//! INVARIANT: an intent is durable before its write is sent and goes in the commit that ends it, one way or the other.
//! What became of a write whose answer was lost is read from the backend and judged here, never guessed. Pure.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::mark;
use crate::seal::{Head, HeadVersion, RemoteMark};
use crate::secret::{BackendId, Described, Metadata, SecretPath, SecretType, SecretValue, VersionInfo, VersionState};

/// What was sent, or is about to be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) path: String,
    pub(super) remote: String,
    /// The route it was made under.
    pub(super) route: u64,
    /// Microseconds.
    pub(super) made: u64,
    /// The request it belongs to.
    pub(super) request_id: String,
    /// Tells it from any other write of the path.
    #[serde(default)]
    pub(super) nonce: [u8; 16],
    /// What the remote side was when the write was decided on; `None`: there was nothing.
    pub(super) base: Option<RemoteMark>,
    /// Whether there is a copy to bring along.
    pub(super) copied: bool,
    pub(super) step: Step,
    /// Travels behind the rest, as bytes.
    #[serde(skip)]
    pub(super) value: Option<SecretValue>,
}

/// What a write does on the other side. Versions are the remote side's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Put {
        secret_type: String,
        metadata: Option<Metadata>,
        /// The client's own identifier of the version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    Metadata(Metadata),
    /// None: all of them.
    Delete(Vec<u64>),
    /// None: all of them.
    Undelete(Vec<u64>),
    Destroy(Vec<u64>),
    Purge,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was carried out; for a put, as this version.
    Applied(Option<VersionInfo>),
    /// The remote side is what it was before.
    Dropped,
    /// The remote side is neither.
    Overtaken,
}

impl Intent {
    /// What no other intent has.
    pub(super) fn fresh_nonce() -> [u8; 16] {
        let mut nonce = [0; 16];
        // without randomness the time and the request still tell them apart
        let _filled = getrandom::fill(&mut nonce);
        nonce
    }

    /// Whether a kept document is this intent.
    pub(super) fn is_kept_as(&self, content: &[u8]) -> bool {
        let kept = Self::decode(content);
        kept.is_some_and(|kept| {
            (kept.nonce, kept.made, kept.request_id.as_str()) == (self.nonce, self.made, self.request_id.as_str())
        })
    }

    /// Under which name it is kept: one intent a path and backend.
    pub(super) fn id(backend: &BackendId, path: &SecretPath) -> String {
        format!("{backend} {path}")
    }

    /// Whether a kept intent is this backend's.
    pub(super) fn is_of(id: &str, backend: &BackendId) -> bool {
        id.split_once(' ').is_some_and(|(of, _)| of == backend.as_str())
    }

    /// The document: one line of JSON, then the value. `None` cannot happen.
    pub(super) fn encode(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(serde_json::to_vec(self).ok()?);
        bytes.push(b'\n');
        if let Some(value) = &self.value {
            bytes.extend_from_slice(value.expose());
        }
        Some(bytes)
    }

    /// The inverse of [`Self::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = bytes.split_at_checked(end)?;
        let mut intent: Self = serde_json::from_slice(line).ok()?;
        let value = rest.split_first().map(|(_, value)| value).unwrap_or_default();
        if matches!(intent.step, Step::Put { .. }) {
            intent.value = Some(SecretValue::copy_of(value));
        }
        Some(intent)
    }

    pub(super) fn token(&self) -> Option<&str> {
        match &self.step {
            Step::Put { token, .. } => token.as_deref(),
            _ => None,
        }
    }

    pub(super) fn secret_type(&self) -> SecretType {
        match &self.step {
            Step::Put { secret_type, .. } => SecretType::parse(secret_type).unwrap_or(SecretType::Binary),
            _ => SecretType::Json,
        }
    }

    /// Whether the remote side still is what it was when the write was decided on.
    pub(super) fn is_untouched(&self, seen: Option<&RemoteMark>) -> bool {
        match (&self.base, seen) {
            (None, None) => true,
            (Some(base), Some(seen)) => mark::is_same(base, seen),
            _ => false,
        }
    }

    /// Remote versions that could be what a put made: newer than its base, oldest first, readable.
    pub(super) fn candidates<'d>(&self, described: &'d Described) -> impl Iterator<Item = &'d VersionInfo> {
        let base = self.base.as_ref().map_or(0, |base| base.version);
        let native = self.base.as_ref().and_then(|base| base.native.as_deref());
        let is_newer = move |info: &&VersionInfo| match info.native_id.as_deref() {
            // an identifier says nothing of age: the one that is current now and was not then
            Some(id) => info.version == described.current_version && Some(id) != native,
            None => info.version > base,
        };
        described.versions.iter().filter(move |info| is_newer(info) && info.state.is_readable())
    }

    /// What became of anything but a put, from what the remote side is now.
    pub(super) fn judge(&self, seen: Option<(&RemoteMark, Option<&Described>)>) -> Verdict {
        let described = seen.and_then(|(_, described)| described);
        let all = |versions: &[u64], holds: fn(Option<VersionState>) -> bool| {
            let state = |version: &u64| {
                described.and_then(|d| d.versions.iter().find(|info| info.version == *version)).map(|info| info.state)
            };
            match versions.is_empty() {
                true => described.is_some_and(|d| d.versions.iter().all(|info| holds(Some(info.state)))),
                false => described.is_some() && versions.iter().all(|version| holds(state(version))),
            }
        };
        let is_done = match &self.step {
            Step::Put { .. } => false,
            Step::Purge => seen.is_none(),
            Step::Metadata(metadata) => described.is_some_and(|described| described.metadata == *metadata),
            Step::Delete(versions) => all(versions, |state| state.is_none_or(|state| !state.is_readable())),
            Step::Undelete(versions) => all(versions, |state| !matches!(state, Some(VersionState::Deleted(_)))),
            Step::Destroy(versions) => all(versions, |state| matches!(state, None | Some(VersionState::Destroyed(_)))),
        };
        match is_done {
            true => Verdict::Applied(None),
            false if self.is_untouched(seen.map(|(mark, _)| mark)) => Verdict::Dropped,
            false => Verdict::Overtaken,
        }
    }
}

/// Our number for a remote version that was not here yet: its own while nobody wrote here, else the next free one.
pub(super) fn numbering(head: &Head, info: &VersionInfo) -> u64 {
    let next = head.next();
    if info.native_id.is_none() && info.version > next { info.version } else { next }
}

/// The remote version that stands behind our number; `None` if there is none that can be told by its number.
pub(super) fn remote_number(head: &Head, number: u64) -> Option<u64> {
    let agreed = head.origin.as_ref().and_then(|origin| origin.agreed.as_ref());
    // what was written here since both sides agreed
    let is_ours = |number: u64| agreed.is_none_or(|agreed| number > agreed.local_version);
    if let Some(known) = head.versions.get(&number) {
        return match known.native.as_deref() {
            Some(native) => native.parse().ok(),
            None => (!is_ours(number)).then_some(number),
        };
    }
    // below the first number that is not the remote side's own, all are
    let is_own = |number: u64, known: &HeadVersion| match known.native.as_deref() {
        Some(native) => native.parse::<u64>() == Ok(number),
        None => !is_ours(number),
    };
    match head.versions.iter().find(|(number, known)| !is_own(**number, known)) {
        Some((first, _)) => (number < *first).then_some(number),
        None => agreed.is_none_or(|agreed| agreed.local_version == agreed.remote.version).then_some(number),
    }
}

/// Our number for a remote version that is known here.
pub(super) fn local_number(head: &Head, remote_version: u64) -> Option<u64> {
    // what says whose it is goes before what merely has the same number
    let is_named = |known: &HeadVersion| known.native.as_deref().is_some_and(|n| n.parse() == Ok(remote_version));
    let named = head.versions.iter().find(|(_, known)| is_named(known)).map(|(number, _)| *number);
    named.or_else(|| head.versions.keys().copied().find(|number| remote_number(head, *number) == Some(remote_version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::seal::{Agreed, Origin};

    fn mark_of(version: u64, digest: &str) -> RemoteMark {
        RemoteMark { version, native: None, readable: true, digest: digest.to_owned() }
    }

    fn intent(step: Step, base: Option<RemoteMark>) -> Intent {
        Intent {
            path: "a/b".to_owned(),
            remote: "secret/data/b".to_owned(),
            route: 7,
            made: 5,
            request_id: "r".to_owned(),
            nonce: [3; 16],
            base,
            copied: true,
            step,
            value: None,
        }
    }

    fn described(states: &[VersionState]) -> Described {
        let versions: Vec<VersionInfo> = (1..)
            .zip(states)
            .map(|(version, state)| VersionInfo {
                version,
                created_at: Timestamp::from_secs(version),
                state: *state,
                ..VersionInfo::default()
            })
            .collect();
        Described {
            metadata: Metadata::new(),
            current_version: versions.len() as u64,
            oldest_version: 1,
            created_at: Timestamp::from_secs(1),
            updated_at: Timestamp::from_secs(1),
            cas_required: false,
            max_versions: 0,
            delete_after_secs: 0,
            purges_at: None,
            versions,
        }
    }

    #[test]
    fn an_intent_reads_back_with_any_bytes() {
        for bytes in [&b""[..], b"\n", b"{\"a\":1}\n\0\xff"] {
            let mut written = intent(Step::Put { secret_type: "json".to_owned(), metadata: None, token: None }, None);
            written.value = Some(SecretValue::copy_of(bytes));
            let read = Intent::decode(&written.encode().unwrap()).unwrap();
            assert_eq!(read.value.as_ref().unwrap().expose(), bytes);
            assert_eq!((read.step, read.route, read.base), (written.step, 7, None));
        }
        let read = Intent::decode(&intent(Step::Purge, Some(mark_of(3, "x"))).encode().unwrap()).unwrap();
        assert_eq!((read.base.unwrap().version, read.value.is_none()), (3, true));
        assert!(Intent::decode(b"{}").is_none());
    }

    #[test]
    fn an_intent_is_told_from_another_write_of_the_path() {
        let one = intent(Step::Purge, None);
        let kept = one.encode().unwrap();
        let other = Intent { nonce: Intent::fresh_nonce(), ..intent(Step::Purge, None) };
        assert!(one.is_kept_as(&kept) && !other.is_kept_as(&kept) && !one.is_kept_as(b"{}"));
    }

    #[test]
    fn an_intent_is_one_backends() {
        let (one, other) = (BackendId::from_bytes([1; 16]), BackendId::from_bytes([2; 16]));
        let id = Intent::id(&one, &SecretPath::parse("a/b").unwrap());
        assert!(Intent::is_of(&id, &one) && !Intent::is_of(&id, &other));
    }

    #[test]
    fn w04_a_lost_answer_is_judged_by_what_the_remote_side_is() {
        let deleted = VersionState::Deleted(Timestamp::from_secs(9));
        let before = described(&[VersionState::Current, VersionState::Current]);
        let base = mark::of_described(&before);
        let judge = |step: Step, after: Option<&Described>| {
            let mark = after.map(mark::of_described);
            intent(step, Some(base.clone())).judge(mark.as_ref().map(|mark| (mark, after)))
        };
        let after = described(&[VersionState::Current, deleted]);
        let gone = described(&[VersionState::Current, VersionState::Destroyed(None)]);
        assert_eq!(judge(Step::Delete(vec![2]), Some(&after)), Verdict::Applied(None));
        assert_eq!(judge(Step::Delete(vec![2]), Some(&before)), Verdict::Dropped);
        assert_eq!(judge(Step::Delete(vec![1]), Some(&after)), Verdict::Overtaken);
        assert_eq!(judge(Step::Destroy(vec![2]), Some(&gone)), Verdict::Applied(None));
        assert_eq!(judge(Step::Undelete(vec![2]), Some(&after)), Verdict::Overtaken);
        assert_eq!(judge(Step::Purge, None), Verdict::Applied(None));
        assert_eq!(judge(Step::Purge, Some(&before)), Verdict::Dropped);
        assert_eq!(judge(Step::Delete(vec![2]), None), Verdict::Overtaken);
        assert_eq!(judge(Step::Metadata(Metadata::from([("a".into(), "b".into())])), Some(&before)), Verdict::Dropped);
    }

    fn head(numbers: &[(u64, Option<&str>)], agreed: Option<(u64, u64)>) -> Head {
        let version =
            |native: Option<&str>| HeadVersion { native: native.map(str::to_owned), ..HeadVersion::default() };
        Head {
            current: numbers.last().map_or(0, |(number, _)| *number),
            versions: numbers.iter().map(|(number, native)| (*number, version(*native))).collect(),
            origin: Some(Origin {
                backend: String::new(),
                remote: String::new(),
                route: 1,
                agreed: agreed.map(|(local_version, remote)| Agreed {
                    local: String::new(),
                    local_version,
                    remote: mark_of(remote, ""),
                    at: 1,
                }),
                conflict: None,
            }),
            ..Head::default()
        }
    }

    #[test]
    fn numbers_are_the_remote_sides_own_until_somebody_writes_here() {
        let aligned = head(&[(4, None), (5, None)], Some((5, 5)));
        assert_eq!(numbering(&aligned, &VersionInfo { version: 6, ..VersionInfo::default() }), 6);
        for number in [2, 4, 5, 9] {
            assert_eq!(remote_number(&aligned, number), Some(number));
        }
        let ahead = head(&[(5, None), (6, None)], Some((5, 5)));
        assert_eq!(numbering(&ahead, &VersionInfo { version: 6, ..VersionInfo::default() }), 7);
        for (number, remote) in [(2, Some(2)), (5, Some(5)), (6, None), (9, None)] {
            assert_eq!(remote_number(&ahead, number), remote);
        }
        let apart = head(&[(5, None), (6, None), (7, Some("6"))], Some((7, 6)));
        for (number, remote) in [(7, Some(6)), (3, Some(3)), (8, None)] {
            assert_eq!(remote_number(&apart, number), remote);
        }
        assert_eq!(
            (local_number(&apart, 6), local_number(&apart, 5), local_number(&apart, 3)),
            (Some(7), Some(5), None)
        );
        let pushed = head(&[(5, None), (6, Some("6"))], Some((6, 6)));
        assert_eq!((remote_number(&pushed, 6), remote_number(&pushed, 9)), (Some(6), Some(9)));
        assert_eq!(numbering(&Head::default(), &VersionInfo { version: 5, ..VersionInfo::default() }), 5);
    }
}
