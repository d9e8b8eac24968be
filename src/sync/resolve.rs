//! Conflicts that wait for somebody, and their decisions.
//!
//! INVARIANT: a decision for the local side is about the remote state that was shown; if that changed meanwhile, the
//! conflict is shown anew instead. Callers authorise and record the decision before.

use thiserror::Error;

use super::replica::Standing;
use super::write::{Sight, selector_of};
use super::{Replica, mark};
use crate::backend::{Ask, BackendError};
use crate::clock::{Clock, Timestamp};
use crate::error::ErrorKind;
use crate::seal::{Agreed, Change, Conflict, Head, SealError};
use crate::secret::{RemoteName, RuleSettings, SecretPath};

/// A secret of which nobody has won yet. It is served as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictItem {
    /// The secret.
    pub path: SecretPath,
    /// What the backend calls it.
    pub remote: String,
    /// When the conflict was found.
    pub since: Timestamp,
    /// Our newest version.
    pub local_version: u64,
    /// The backend's newest version then; `None` if the secret was gone there.
    pub remote_version: Option<u64>,
    /// Our version that both sides last agreed on; `None` if they never did.
    pub agreed_version: Option<u64>,
}

/// Which side stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Ours. It is pushed with `write_through`, else it stays here only.
    Local,
    /// The backend's. It replaces ours.
    Backend,
}

/// Why a conflict could not be resolved.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// There is none at the path.
    #[error("there is no conflict of this secret")]
    NoConflict,
    /// Something changed since the conflict was shown.
    #[error("the secret changed again; look at the conflict and decide anew")]
    Moved,
    /// The rule is not synced any more. Nothing was changed here.
    #[error("the configuration changed while this was decided")]
    Replaced,
    /// The backend's value is not copied.
    #[error("the backend's value is larger than limits.value_bytes")]
    TooLarge,
    /// The backend gave no answer.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store or the seal failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl ResolveError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoConflict => ErrorKind::NotFound,
            Self::Moved => ErrorKind::Conflict,
            Self::Replaced => ErrorKind::UpstreamUnavailable,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Backend(error) => error.kind(),
            Self::Seal(error) => error.kind(),
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::NoConflict => Some("there is no conflict of this secret"),
            Self::Moved => Some("the secret changed again; look at the conflict and decide anew"),
            Self::Replaced => Some("the configuration changed while this was decided; try again"),
            Self::TooLarge | Self::Backend(_) | Self::Seal(_) => None,
        }
    }
}

impl Replica {
    /// Every conflict of this backend's paths that is not resolved, by path. One whose record does not open is listed with
    /// what the index knows.
    #[must_use]
    pub fn conflicts(&self) -> Vec<ConflictItem> {
        let mut flagged = Vec::new();
        self.records.copies(|path, stored| {
            let route = stored.copy.filter(|copy| copy.conflicted).map(|copy| copy.route);
            if route.is_some_and(|route| self.rules.iter().any(|settings| settings.route == route)) {
                flagged.push((path.clone(), stored.current));
            }
        });
        flagged.sort_unstable();
        flagged.into_iter().map(|(path, current)| self.item(path, current)).collect()
    }

    fn item(&self, path: SecretPath, local_version: u64) -> ConflictItem {
        let head = self.records.head(&path).ok().flatten();
        let origin = head.and_then(|head| head.origin);
        let conflict = origin.as_ref().and_then(|origin| origin.conflict.as_ref());
        ConflictItem {
            path,
            remote: origin.as_ref().map(|origin| origin.remote.clone()).unwrap_or_default(),
            since: Timestamp::from_micros(conflict.map_or(0, |conflict| conflict.since)),
            local_version,
            remote_version: conflict.and_then(|conflict| conflict.remote.as_ref()).map(|remote| remote.version),
            agreed_version: origin.as_ref().and_then(|o| o.agreed.as_ref()).map(|agreed| agreed.local_version),
        }
    }

    /// Ends a conflict by keeping one side. Keeping the local side of a path that is written through leaves pushing it to
    /// the engine, which is told to do so now.
    ///
    /// # Errors
    /// When nothing was changed, except for [`ResolveError::Moved`]: the conflict shows the newer remote state then.
    pub async fn resolve(
        &self,
        path: &SecretPath,
        keep: Keep,
        clock: &dyn Clock,
        request_id: &str,
    ) -> Result<(), ResolveError> {
        let route = self.router.resolve(path);
        let rule = route.as_ref().and_then(|route| route.rule).filter(|rule| rule.backend == self.index);
        let target = route.as_ref().and_then(|route| route.targets.first());
        let (Some(rule), Some(target)) = (rule.map(|rule| rule.rule), target) else {
            return Err(ResolveError::NoConflict);
        };
        let Some(settings) = self.rules.get(rule as usize) else { return Err(ResolveError::NoConflict) };
        let _claim = self.copies.claim(path).await;
        let head = match self.standing(settings, path)? {
            Standing::Copy(head) if is_flagged(&head) => head,
            _ => return Err(ResolveError::NoConflict),
        };
        let ask = self.ask(settings, &target.remote, request_id);
        let sight = self.look(ask, keep == Keep::Backend).await?;
        let change = match keep {
            Keep::Local => self.keep_local(path, &head, sight, clock.now()).await?,
            Keep::Backend => {
                let remote = &target.remote;
                self.keep_backend((path, settings, remote), &head, (ask, sight), clock.now()).await?
            }
        };
        self.store(path, &head, change).await?;
        match keep {
            Keep::Local => self.copies.refresh(rule, path),
            Keep::Backend => self.copies.path_checked(path, clock.now()),
        }
        Ok(())
    }

    /// From now on the remote side is what both agreed on, and ours is a change of it.
    async fn keep_local(
        &self,
        path: &SecretPath,
        head: &Head,
        sight: Option<Sight>,
        now: Timestamp,
    ) -> Result<Change, ResolveError> {
        let remote = sight.map(|sight| sight.mark);
        let mut kept = head.clone();
        let change = |head: Head| Change { path: path.clone(), head: Some(head), values: Vec::new(), gone: Vec::new() };
        let Some(origin) = &mut kept.origin else { return Err(ResolveError::NoConflict) };
        let shown = origin.conflict.as_ref().and_then(|conflict| conflict.remote.as_ref());
        let is_as_shown = match (shown, &remote) {
            (None, None) => true,
            (Some(shown), Some(remote)) => mark::is_same(shown, remote),
            _ => false,
        };
        if !is_as_shown {
            origin.conflict = Some(Conflict { since: now.micros(), remote });
            self.store(path, head, change(kept)).await?;
            return Err(ResolveError::Moved);
        }
        let local_version = origin.agreed.as_ref().map_or(0, |agreed| agreed.local_version);
        // no fingerprint is empty: ours counts as changed until it is pushed
        let agreed = |remote| Agreed { local: String::new(), local_version, remote, at: now.micros() };
        origin.agreed = remote.map(agreed);
        origin.conflict = None;
        Ok(change(kept))
    }

    /// The copy becomes what the backend has; versions written here stay as history.
    async fn keep_backend(
        &self,
        (path, settings, remote): (&SecretPath, &RuleSettings, &RemoteName),
        head: &Head,
        (ask, sight): (Ask<'_>, Option<Sight>),
        now: Timestamp,
    ) -> Result<Change, ResolveError> {
        let path = path.clone();
        let Some(mut sight) = sight else {
            let gone = head.versions.keys().copied().collect();
            return Ok(Change { path, head: None, values: Vec::new(), gone });
        };
        for info in self.lacking(settings, &sight, Some(head), now) {
            let read = self.value_at(ask, &selector_of(&info)).await?;
            sight.fetched.extend(read.map(|read| (info.version, read)));
        }
        let newest = sight.value().map_or(0, crate::secret::SecretValue::len);
        if newest > self.max_value_bytes {
            return Err(ResolveError::TooLarge);
        }
        sight.fetched.retain(|_, (value, _)| value.len() <= self.max_value_bytes);
        let taken = self.taken(settings, remote, sight, (Some(head), true), now);
        Ok(Change { path, head: Some(taken.head), values: taken.values, gone: taken.gone })
    }

    /// Commits a change that was made for `head`.
    async fn store(&self, path: &SecretPath, head: &Head, change: Change) -> Result<(), ResolveError> {
        let writer = self.records.writer().await;
        if head.origin.as_ref().is_some_and(|origin| !self.is_live(origin.route)) {
            return Err(ResolveError::Replaced);
        }
        if self.records.head(path)?.as_ref() != Some(head) {
            return Err(ResolveError::Moved);
        }
        Ok(self.records.commit_all(&writer, vec![change], Vec::new()).await?)
    }
}

fn is_flagged(head: &Head) -> bool {
    head.origin.as_ref().is_some_and(|origin| origin.conflict.is_some())
}

#[cfg(test)]
mod tests;
