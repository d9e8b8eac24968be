//! A run-time token as a journal holds it: everything but the token.
//!
//! INVARIANT: what is read back lives no longer than it would have without the restart. No clock of this process has run
//! while it was down, so the wall clock is believed as far as it does not lie behind anything that was written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::digest::Digest;
use super::journal::JournalEntries;
use super::jwt::parse_folder;
use super::moment::Moment;
use super::session::{Draft, Life, MAX_DEPTH, Session, Terms};
use super::{IdentityError, Method, Principal};
use crate::clock::Timestamp;
use crate::secret::Tenant;

const METHODS: [Method; 6] =
    [Method::Workload, Method::Token, Method::Approle, Method::Aws, Method::Jwt, Method::Certificate];

/// A token. Times are in microseconds since the epoch, durations in microseconds. A field this release does not know
/// might restrict the token: such a one is not read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptToken {
    accessor: String,
    principal: String,
    method: String,
    groups: Vec<String>,
    folders: Vec<String>,
    path: String,
    display_name: String,
    meta: Vec<(String, String)>,
    ttl: u64,
    max_ttl: u64,
    explicit_max_ttl: Option<u64>,
    renewable: bool,
    parent: Option<[u8; 32]>,
    anchor: Option<[u8; 16]>,
    issued: u64,
    end: u64,
    written: u64,
}

impl KeptToken {
    /// What a journal is to hold of a token from `now` on.
    pub(super) fn of(session: &Session, now: Moment) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let (draft, principal) = (session.draft(), session.principal());
        let kept = Self {
            accessor: session.accessor().to_owned(),
            principal: principal.id().to_owned(),
            method: principal.method().as_str().to_owned(),
            groups: principal.groups().iter().map(|group| group.to_string()).collect(),
            folders: principal.folders().iter().map(|folder| folder.as_str().to_owned()).collect(),
            path: draft.path.clone(),
            display_name: draft.display_name.clone(),
            meta: draft.meta.clone(),
            ttl: micros(draft.terms.ttl),
            max_ttl: micros(draft.terms.max_ttl),
            explicit_max_ttl: draft.terms.explicit_max_ttl.map(micros),
            renewable: draft.terms.renewable,
            parent: draft.parent.as_ref().map(|parent| *parent.digest.bytes()),
            anchor: draft.anchor,
            issued: session.issued().wall.micros(),
            end: session.wall_end().micros(),
            written: now.wall.micros(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|_| IdentityError::Internal("a token cannot be written down"))?;
        Ok(Zeroizing::new(bytes))
    }

    /// `None` for what is none of this release's, or names what no token can be for.
    fn read(content: &[u8]) -> Option<Self> {
        let kept: Self = serde_json::from_slice(content).ok()?;
        let fits = Principal::check_id(&kept.principal).is_ok()
            && kept.groups.iter().all(|group| Principal::check_group(group).is_ok())
            && kept.folders.iter().all(|folder| parse_folder(folder).is_ok())
            && kept.method().is_some();
        fits.then_some(kept)
    }

    fn method(&self) -> Option<Method> {
        METHODS.into_iter().find(|method| method.as_str() == self.method)
    }

    /// The token with `latest` as the time it is, which may be later than the clock says.
    fn session(
        self,
        tenant: &Tenant,
        digest: Digest,
        parent: Option<Arc<Session>>,
        (now, latest): (Moment, Timestamp),
    ) -> Option<Session> {
        let groups = self.groups.iter().map(|group| Box::from(group.as_str())).collect();
        let folders = self.folders.iter().filter_map(|folder| parse_folder(folder).ok()).collect();
        let principal = Principal::new(tenant.clone(), &self.principal, self.method()?, groups, folders);
        let terms = Terms {
            ttl: Duration::from_micros(self.ttl),
            max_ttl: Duration::from_micros(self.max_ttl),
            explicit_max_ttl: self.explicit_max_ttl.map(Duration::from_micros),
            renewable: self.renewable,
        };
        let draft = Draft {
            principal: Arc::new(principal),
            path: self.path,
            display_name: self.display_name,
            meta: self.meta,
            terms,
            parent,
            anchor: self.anchor,
        };
        let life = Life { issued: Timestamp::from_micros(self.issued), end: Timestamp::from_micros(self.end), latest };
        Some(Session::again(digest, self.accessor.into_boxed_str(), draft, life, now))
    }
}

/// What became of a tenant's entries.
#[derive(Default)]
pub(super) struct Revived {
    /// The tokens that live on.
    pub(super) sessions: Vec<Arc<Session>>,
    /// Ids of entries that nothing stands behind any more.
    pub(super) gone: Vec<Digest>,
    /// How many entries were none.
    pub(super) unread: usize,
}

/// Makes tokens of a journal's entries: those that live, whose ancestors live, and whose principal `may` have any.
pub(super) fn revive(tenant: &Tenant, entries: JournalEntries, now: Moment, may: impl Fn(&str) -> bool) -> Revived {
    let mut revived = Revived::default();
    let mut waiting = Vec::with_capacity(entries.len());
    for (id, content) in entries {
        match (Digest::parse(&id), KeptToken::read(&content)) {
            (Some(digest), Some(kept)) => waiting.push((digest, kept)),
            _ => revived.unread += 1,
        }
    }
    let latest = waiting.iter().map(|(_, kept)| Timestamp::from_micros(kept.written)).fold(now.wall, Ord::max);
    let mut made: HashMap<[u8; 32], Arc<Session>> = HashMap::new();
    for _ in 0..MAX_DEPTH {
        // parents before their children; a child whose parent ended never gets its turn
        let is_ready = |(_, kept): &(Digest, KeptToken)| kept.parent.is_none_or(|parent| made.contains_key(&parent));
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
        waiting = rest;
        if ready.is_empty() {
            break;
        }
        for (digest, kept) in ready {
            let parent = kept.parent.and_then(|parent| made.get(&parent)).map(Arc::clone);
            let session = Some(kept).filter(|kept| may(&kept.principal));
            let session = session.and_then(|kept| kept.session(tenant, digest, parent, (now, latest)));
            match session.filter(|session| session.is_alive(now)) {
                Some(session) => drop(made.insert(*digest.bytes(), Arc::new(session))),
                None => revived.gone.push(digest),
            }
        }
    }
    revived.gone.extend(waiting.into_iter().map(|(digest, _)| digest));
    revived.sessions = made.into_values().collect();
    revived
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
