//! What a backend has under a name, looked at for one write: its mark, what it says of its versions, and a value where one
//! is needed. Nothing is kept here.

use crate::backend::{Ask, BackendError};
use crate::clock::Timestamp;
use crate::seal::{Head, RemoteMark};
use crate::secret::{
    Described, Dialect, Outcome, RemoteName, Reply, RuleSettings, SecretRecord, SecretType, SecretValue, VersionInfo,
    VersionSelector,
};
use crate::sync::pull::{Fetched, Layout, Source, Taken};
use crate::sync::{Replica, mark};

/// The remote side of a path.
pub(in crate::sync) struct Sight {
    pub(in crate::sync) mark: RemoteMark,
    pub(in crate::sync) described: Described,
    /// Values read on the way, by remote version.
    pub(in crate::sync) fetched: Fetched,
    /// Whether its store tells nothing but values.
    pub(in crate::sync) is_bare: bool,
}

impl Sight {
    /// What one version says, where nothing else can be had.
    pub(in crate::sync) fn of_record(record: SecretRecord) -> Self {
        let mark = mark::of_record(&record);
        let is_bare = mark::is_timeless(&record.info);
        let SecretRecord { value, secret_type, metadata, info, updated_at } = record;
        let described = Described {
            metadata,
            current_version: info.version,
            oldest_version: info.version,
            created_at: info.created_at,
            updated_at: updated_at.unwrap_or(info.created_at),
            versions: vec![info],
            ..Described::default()
        };
        let fetched = value.map(|value| (described.current_version, (value, secret_type))).into_iter().collect();
        Self { mark, described, fetched, is_bare }
    }

    /// The newest version's value, if it was read.
    pub(in crate::sync) fn value(&self) -> Option<&SecretValue> {
        self.fetched.get(&self.described.current_version).map(|(value, _)| value)
    }
}

impl Replica {
    /// What the backend is asked about.
    pub(in crate::sync) fn ask<'a>(
        &self,
        settings: &RuleSettings,
        remote: &'a RemoteName,
        request_id: &'a str,
    ) -> Ask<'a> {
        Ask { remote, kv2_segment: settings.kv2_segment, dialect: Dialect::Neutral, request_id, principal: None }
    }

    /// What the backend has under a name, with the newest value if that is needed; `None` if it says that there is
    /// nothing.
    pub(in crate::sync) async fn look(&self, ask: Ask<'_>, with_value: bool) -> Result<Option<Sight>, BackendError> {
        let mut denied = None;
        if self.client.capabilities().describe {
            match self.client.glance(ask).await {
                Ok(Reply::Neutral(Outcome::Described(described))) => {
                    let mark = mark::of_described(&described);
                    let mut fetched = Fetched::new();
                    let newest = described.versions.iter().find(|info| info.version == described.current_version);
                    if let Some(newest) = newest.filter(|_| with_value && mark.readable) {
                        let read = self.value_at(ask, &selector_of(newest)).await?;
                        fetched.extend(read.map(|read| (newest.version, read)));
                    }
                    return Ok(Some(Sight { mark, described: *described, fetched, is_bare: false }));
                }
                Ok(Reply::Neutral(Outcome::NotFound)) => return Ok(None),
                Ok(_) => return Err(BackendError::Unusable("not a description")),
                // an engine without versions, or a credential that may not read metadata
                Err(error @ (BackendError::Unsupported | BackendError::Denied)) => denied = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (self.record(ask, &VersionSelector::Current).await, denied) {
            (Ok(record), _) => Ok(record.map(Sight::of_record)),
            (Err(_), Some(BackendError::Denied)) => Err(BackendError::Denied),
            (Err(error), _) => Err(error),
        }
    }

    /// The value of one remote version; `None` if it cannot be read any more.
    pub(in crate::sync) async fn value_at(
        &self,
        ask: Ask<'_>,
        version: &VersionSelector,
    ) -> Result<Option<(SecretValue, SecretType)>, BackendError> {
        let record = self.record(ask, version).await?;
        Ok(record.and_then(|record| Some((record.value?, record.secret_type))))
    }

    async fn record(&self, ask: Ask<'_>, version: &VersionSelector) -> Result<Option<SecretRecord>, BackendError> {
        match self.client.read(ask, version).await? {
            Reply::Neutral(Outcome::Record(record)) => Ok(Some(*record)),
            Reply::Neutral(Outcome::NotFound) => Ok(None),
            _ => Err(BackendError::Unusable("not a record")),
        }
    }

    /// The remote versions whose values a copy of what was seen needs and does not have.
    pub(in crate::sync) fn lacking(
        &self,
        settings: &RuleSettings,
        sight: &Sight,
        local: Option<&Head>,
        now: Timestamp,
    ) -> Vec<VersionInfo> {
        let (described, is_ours) = (&sight.described, local.is_some());
        let RuleSettings { history, max_versions, .. } = *settings;
        let layout = Layout::of(Source { described, local, is_ours, history, max_versions, now });
        let is_lacking = |info: &&VersionInfo| !sight.fetched.contains_key(&info.version);
        layout.wanted().into_iter().filter(is_lacking).cloned().collect()
    }

    /// A copy of what was seen, with the values that are at hand. `local` is what stands at the path now, `is_ours` if it
    /// is a copy of this route.
    pub(in crate::sync) fn taken(
        &self,
        settings: &RuleSettings,
        remote: &RemoteName,
        sight: Sight,
        (local, is_ours): (Option<&Head>, bool),
        now: Timestamp,
    ) -> Taken {
        let Sight { mark, described, fetched, .. } = sight;
        let RuleSettings { history, max_versions, .. } = *settings;
        let layout = Layout::of(Source { described: &described, local, is_ours, history, max_versions, now });
        let mut taken = layout.take(fetched);
        let mut origin = self.origin(settings, remote);
        origin.agreed = Some(mark::agreed(&taken.head, mark, now));
        taken.head.origin = Some(origin);
        taken
    }
}

/// How a remote version is asked for.
pub(in crate::sync) fn selector_of(info: &VersionInfo) -> VersionSelector {
    info.native_id.clone().map_or(VersionSelector::Number(info.version), VersionSelector::Native)
}
