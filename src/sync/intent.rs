//! A write on its way to a backend, as it is remembered until both sides have it or neither.
//!
//! INVARIANT: an intent is durable before its write is sent and goes in the commit that ends it, one way or the other.
//! What became of a write whose answer was lost is read from the backend and judged here, never guessed. Pure.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::mark;
use crate::seal::edit::{CURRENT, PREVIOUS};
use crate::seal::{Head, HeadVersion, RemoteMark};
use crate::secret::{
    BackendId, Described, Metadata, Rank, SecretPath, SecretType, SecretValue, VersionInfo, VersionState,
};

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
    /// For how many days a secret that is deleted can be restored, where the client said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<u16>,
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
        /// Its labels, where the client chose them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stages: Option<Vec<String>>,
    },
    /// A secret without a version, with this metadata.
    Create(Metadata),
    /// A label goes from one version to another; both by the remote side's identifiers.
    Label {
        stage: String,
        from: Option<String>,
        to: Option<String>,
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

    /// The labels a put gives to its version, where the client chose them.
    pub(super) fn stages(&self) -> Option<&[String]> {
        match &self.step {
            Step::Put { stages, .. } => stages.as_deref(),
            _ => None,
        }
    }

    /// Whether what is read when no version is named is what a put made: its first version is that in any case.
    pub(super) fn is_for_current(&self) -> bool {
        let is_first = self.base.as_ref().is_none_or(|base| base.version == 0);
        is_first || self.stages().is_none_or(|stages| stages.iter().any(|stage| stage == CURRENT))
    }

    /// The identifier of the version that is current once this is done, where versions have identifiers. `made` is that of
    /// the version a put made.
    pub(super) fn leads_to<'i>(&'i self, made: Option<&'i str>) -> Option<&'i str> {
        match &self.step {
            Step::Put { .. } if self.is_for_current() => made,
            Step::Label { stage, to: Some(to), .. } if stage == CURRENT => Some(to.as_str()),
            _ => self.base.as_ref().and_then(|base| base.native.as_deref()),
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
        let (token, is_for_current) = (self.token(), self.is_for_current());
        let is_newer = move |info: &&VersionInfo| match info.native_id.as_deref() {
            Some(id) if token == Some(id) => true,
            // an identifier says nothing of age: the one that is current now and was not then
            Some(id) => is_for_current && info.version == described.current_version && Some(id) != native,
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
        let is_untouched = self.is_untouched(seen.map(|(mark, _)| mark));
        let ends = described.is_some_and(|described| described.purges_at.is_some());
        let is_done = match &self.step {
            Step::Put { .. } => false,
            Step::Create(metadata) => !is_untouched && described.is_some_and(|found| is_made(found, metadata)),
            Step::Label { stage, to, .. } => described.is_some_and(|found| carrier(found, stage) == to.as_deref()),
            Step::Purge => seen.is_none(),
            // a secret without a version is deleted if it has an end
            Step::Delete(versions) if versions.is_empty() && described.is_some_and(|d| d.versions.is_empty()) => ends,
            Step::Undelete(versions) if versions.is_empty() && ends => false,
            Step::Metadata(metadata) => described.is_some_and(|described| described.metadata == *metadata),
            Step::Delete(versions) => all(versions, |state| state.is_none_or(|state| !state.is_readable())),
            Step::Undelete(versions) => all(versions, |state| !matches!(state, Some(VersionState::Deleted(_)))),
            Step::Destroy(versions) => all(versions, |state| matches!(state, None | Some(VersionState::Destroyed(_)))),
        };
        match is_done {
            true => Verdict::Applied(None),
            false if is_untouched => Verdict::Dropped,
            false => Verdict::Overtaken,
        }
    }
}

/// Whether a secret is what it is made as: without a version. A backend may add metadata of its own.
fn is_made(found: &Described, metadata: &Metadata) -> bool {
    let is_bare = found.current_version == 0 && found.versions.is_empty() && found.purges_at.is_none();
    is_bare && metadata.iter().all(|(key, value)| found.metadata.get(key) == Some(value))
}

/// The identifier of the version that carries a label.
fn carrier<'d>(found: &'d Described, stage: &str) -> Option<&'d str> {
    let carries = |info: &&VersionInfo| match stage {
        CURRENT => info.rank == Rank::Current,
        PREVIOUS => info.rank == Rank::Previous,
        stage => info.stages.iter().any(|has| **has == *stage),
    };
    found.versions.iter().find(carries).and_then(|info| info.native_id.as_deref())
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
mod tests;
