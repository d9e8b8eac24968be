//! Reads of copies: one look-up and one sealed record for the current version; how old a copy may be.

use thiserror::Error;

use super::{Kept, Replica};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::seal::{Head, HeadVersion, SealError, Stored, edit};
use crate::secret::{Outcome, Rank, RuleSettings, SecretAction, SecretPath, SecretRecord, VersionSelector, detail};
use crate::sync::intent::remote_number;

/// How a read goes on.
#[derive(Debug)]
pub enum Served {
    /// From the copy.
    Reply {
        /// What it found.
        outcome: Outcome,
        /// Seconds since the copy was known to be what the backend has.
        age_seconds: u64,
        /// `hit`, or `stale` once a whole interval was missed.
        cache: &'static str,
    },
    /// Only the backend can answer.
    Live,
    /// Only the backend can answer, and it calls the version asked for otherwise.
    LiveAs {
        /// What the backend calls it.
        version: VersionSelector,
        /// What we call it.
        number: u64,
    },
}

/// Why a copy is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// It is older than `max_stale` allows.
    #[error("the copy is older than max_stale allows")]
    Stale,
    /// The backend denies us, for longer than `deny_grace` allows.
    #[error("the backend denies us for longer than deny_grace allows")]
    Denied,
    /// The version asked for does not carry the label it was asked for with.
    #[error("{}", detail::LABEL_NOT_THERE)]
    Mislabelled,
    /// The store or the seal failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl ServeError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Stale => ErrorKind::UpstreamUnavailable,
            Self::Denied => ErrorKind::UpstreamRejected,
            Self::Mislabelled => ErrorKind::Malformed,
            Self::Seal(error) => error.kind(),
        }
    }
}

impl Replica {
    /// Answers a read, a describe or a subkeys call from the copy, or says that it has to go live. Costs a look-up in the
    /// index and, for the current version, one sealed record.
    ///
    /// # Errors
    /// When there is a copy and it must not or cannot be served.
    pub fn serve(
        &self,
        rule: u32,
        path: &SecretPath,
        action: &SecretAction,
        now: Timestamp,
    ) -> Result<Served, ServeError> {
        let version = match action {
            SecretAction::Read(version) | SecretAction::Subkeys { version, .. } => Some(version),
            SecretAction::Describe => None,
            _ => return Ok(Served::Live),
        };
        let Some(settings) = self.rules.get(rule as usize) else { return Ok(Served::Live) };
        let (stored, copy) = match self.kept(settings, path) {
            Kept::Copy(stored, copy) => (stored, copy),
            Kept::Nothing if self.knows_absent(rule, settings, path) => {
                let (age_seconds, cache) = self.freshness(rule, settings, path, 0, now)?;
                self.copies.saved_one();
                return Ok(Served::Reply { outcome: Outcome::NotFound, age_seconds, cache });
            }
            Kept::Nothing | Kept::Other => return Ok(Served::Live),
        };
        let (age_seconds, cache) = self.freshness(rule, settings, path, copy.agreed_at, now)?;
        if !stored.is_there(now) {
            self.copies.saved_one();
            return Ok(Served::Reply { outcome: Outcome::NotFound, age_seconds, cache });
        }
        let found = match version {
            Some(version) => self.version(path, &stored, version, now)?,
            None => {
                let head = self.records.head(path)?;
                Found::Here(head.map_or(Outcome::NotFound, |head| edit::described(&head, now)))
            }
        };
        Ok(match found {
            Found::Here(outcome) => {
                self.copies.saved_one();
                Served::Reply { outcome, age_seconds, cache }
            }
            Found::Mislabelled => return Err(ServeError::Mislabelled),
            Found::There(None) => Served::Live,
            Found::There(Some((version, number))) => Served::LiveAs { version, number },
        })
    }

    /// How old a copy is, in seconds, and the word for it.
    pub(super) fn freshness(
        &self,
        rule: u32,
        settings: &RuleSettings,
        path: &SecretPath,
        agreed_at: u64,
        now: Timestamp,
    ) -> Result<(u64, &'static str), ServeError> {
        let checked = self.copies.checked_at(rule, path, agreed_at);
        self.check_fresh(settings, checked, now)?;
        let age = if checked == Timestamp::default() { std::time::Duration::ZERO } else { now.since(checked) };
        let is_late = age > settings.interval.saturating_mul(2);
        Ok((age.as_secs(), if is_late { "stale" } else { "hit" }))
    }

    pub(super) fn check_fresh(
        &self,
        settings: &RuleSettings,
        checked: Timestamp,
        now: Timestamp,
    ) -> Result<(), ServeError> {
        if let Some(since) = self.copies.denied_since()
            && settings.deny_grace.is_none_or(|grace| now.since(since) > grace)
        {
            return Err(ServeError::Denied);
        }
        // what never was on the other side cannot lag behind it
        let lags = checked != Timestamp::default();
        match settings.max_stale {
            Some(most) if lags && now.since(checked) > most => Err(ServeError::Stale),
            _ => Ok(()),
        }
    }

    fn version(
        &self,
        path: &SecretPath,
        stored: &Stored,
        version: &VersionSelector,
        now: Timestamp,
    ) -> Result<Found, SealError> {
        let is_current = match version {
            // a secret that was made and has no version yet
            VersionSelector::Current if stored.current == 0 => return Ok(no_version()),
            VersionSelector::Current => true,
            VersionSelector::Number(number) => *number == stored.current,
            VersionSelector::Native(_) | VersionSelector::Stage(_) | VersionSelector::Labelled { .. } => false,
        };
        if !is_current {
            return self.other_version(path, stored, version, now);
        }
        let (number, known) = (stored.current, &stored.version);
        let info = edit::info(number, known, now).ranked(Rank::Current);
        let is_readable = info.state.is_readable();
        if is_readable && !known.held {
            return Ok(Found::There(foreign(known).map(|native| (selector(native), number))));
        }
        let value = if is_readable { self.records.value_of(path, stored, number)? } else { None };
        if is_readable && value.is_none() {
            return self.behind_the_index(path, stored, version, now);
        }
        let metadata = stored.metadata.as_ref().map(|shared| (**shared).clone()).unwrap_or_default();
        let (secret_type, updated_at) = (known.secret_type(), Some(info.created_at));
        Ok(Found::Here(Outcome::Record(Box::new(SecretRecord { value, secret_type, metadata, info, updated_at }))))
    }

    /// The index names a value that is not in the store. Either a commit took it of which the index is still to learn, then
    /// the head in the store knows better; or it is lost.
    fn behind_the_index(
        &self,
        path: &SecretPath,
        stored: &Stored,
        version: &VersionSelector,
        now: Timestamp,
    ) -> Result<Found, SealError> {
        let Some(head) = self.records.head(path)?.filter(|head| head.current > 0 && head.is_there(now)) else {
            return Ok(Found::Here(Outcome::NotFound));
        };
        let is_named = |known: &HeadVersion| known.held && known.is_readable(now);
        if head.versions.get(&stored.current).is_some_and(is_named) {
            return Err(SealError::Broken);
        }
        self.other_version(path, stored, version, now)
    }

    /// A version before the current one, or one the copy does not know.
    fn other_version(
        &self,
        path: &SecretPath,
        stored: &Stored,
        version: &VersionSelector,
        now: Timestamp,
    ) -> Result<Found, SealError> {
        let Some(head) = self.records.head(path)? else { return Ok(Found::Here(Outcome::NotFound)) };
        let number = match version {
            VersionSelector::Current => head.current,
            VersionSelector::Number(number) => *number,
            selector => match edit::select(&head, selector) {
                Ok(Some(number)) => number,
                Ok(None) => return Ok(Found::There(None)),
                Err(_) => return Ok(Found::Mislabelled),
            },
        };
        let Some(known) = head.versions.get(&number) else {
            return Ok(elsewhere(&head, number));
        };
        let info = edit::info(number, known, now).ranked(head.rank(number));
        let is_readable = info.state.is_readable();
        if is_readable && !known.held {
            return Ok(elsewhere(&head, number));
        }
        let value = if is_readable { self.records.value_of(path, stored, number)? } else { None };
        if is_readable && value.is_none() {
            // pruned or destroyed meanwhile, or lost; the backend knows
            return Ok(elsewhere(&head, number));
        }
        let (secret_type, updated_at) = (known.secret_type(), Some(info.created_at));
        let record = SecretRecord { value, secret_type, metadata: head.metadata, info, updated_at };
        Ok(Found::Here(Outcome::Record(Box::new(record))))
    }
}

/// Where a version is.
enum Found {
    Here(Outcome),
    /// Here, and without the label it was asked for with.
    Mislabelled,
    /// On the other side; under its own name if that is another one, with our number.
    There(Option<(VersionSelector, u64)>),
}

fn no_version() -> Found {
    Found::Here(Outcome::Record(Box::new(SecretRecord::without_version())))
}

/// A version the copy has no value of: what its number means on the other side.
fn elsewhere(head: &Head, number: u64) -> Found {
    match remote_selector(head, number) {
        Some(VersionSelector::Number(remote)) if remote == number => Found::There(None),
        Some(version) => Found::There(Some((version, number))),
        None => Found::Here(Outcome::NotFound),
    }
}

/// How the backend calls our version `number`; `None` if it has none of it, or cannot be asked for it.
pub(in crate::sync) fn remote_selector(head: &Head, number: u64) -> Option<VersionSelector> {
    let native = head.versions.get(&number).and_then(foreign);
    match remote_number(head, number) {
        Some(remote) => Some(VersionSelector::Number(remote)),
        None => native.map(|native| VersionSelector::Native(Box::from(native))),
    }
}

/// The backend's own name of a version, where that is not our number.
fn foreign(known: &HeadVersion) -> Option<&str> {
    known.native.as_deref().filter(|native| *native != edit::ONLY_HERE)
}

fn selector(native: &str) -> VersionSelector {
    native.parse().map_or_else(|_| VersionSelector::Native(Box::from(native)), VersionSelector::Number)
}
