//! Copies no rule leads to any more: they are kept and not served until somebody adopts or purges them. And what stands in
//! the way of giving up copies that a rule still leads to.
//!
//! INVARIANT: nothing is removed here but on request, and a head is removed or adopted only as it was found under the
//! tenant's writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::intent::Intent;
use super::{Replica, plan, state};
use crate::clock::Timestamp;
use crate::mapping::Router;
use crate::seal::{Change, DocumentChange, DocumentKind, Head, Origin, Records, SealError, Stored, edit};
use crate::secret::{BackendId, Mode, SecretPath};

/// How many records one commit holds.
const BATCH: usize = 256;

/// A copy no rule leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stood.
    pub path: SecretPath,
    /// The id of the backend it came from.
    pub backend: String,
    /// What that backend calls it.
    pub remote: String,
    /// When both sides last agreed; `None` if they never did.
    pub agreed_at: Option<Timestamp>,
    /// Whether it holds changes that are nowhere else.
    pub is_ahead: bool,
    /// Whether it is a conflict nobody resolved.
    pub is_conflicted: bool,
}

/// What became of a request about quarantined copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// How many were adopted or purged.
    pub done: u64,
    /// Those that stay in quarantine, with the reason.
    pub left: Vec<(SecretPath, &'static str)>,
}

/// One tenant's quarantine.
#[derive(Clone, Copy)]
pub struct Quarantine<'a> {
    /// Where the copies are.
    pub records: &'a Records,
    /// Which rule leads where now.
    pub router: &'a Router,
    /// Every replica there is now.
    pub replicas: &'a [Arc<Replica>],
}

impl Quarantine<'_> {
    /// What is in it, by path; of one backend, or of all.
    ///
    /// # Errors
    /// When a record does not open.
    pub fn list(&self, backend: Option<&BackendId>) -> Result<Vec<Quarantined>, SealError> {
        self.records.indexed()?;
        let mut found = Vec::new();
        for path in self.paths() {
            let Some(head) = self.records.head(&path)? else { continue };
            let Some(origin) = &head.origin else { continue };
            if backend.is_some_and(|backend| backend.as_str() != origin.backend) {
                continue;
            }
            let agreed = origin.agreed.as_ref();
            found.push(Quarantined {
                backend: origin.backend.clone(),
                remote: origin.remote.clone(),
                agreed_at: agreed.map(|agreed| Timestamp::from_micros(agreed.at)),
                is_ahead: agreed.is_none_or(|agreed| agreed.local != head.fingerprint()),
                is_conflicted: origin.conflict.is_some(),
                path,
            });
        }
        Ok(found)
    }

    /// Makes copies local secrets: those of one backend, or of all, at paths that are local now.
    ///
    /// # Errors
    /// When the store or the seal fails; what was adopted before stays so.
    pub async fn adopt(&self, backend: Option<&BackendId>, now: Timestamp) -> Result<Emptied, SealError> {
        self.empty(backend, |path, head| {
            if self.router.resolve(path).is_none_or(|route| route.mode != Mode::Local) {
                return Err("the path is not in a folder of store.local");
            }
            adopted(head, now)
        })
        .await
    }

    /// Removes copies with all their versions, and writes of rules that are gone: those of one backend, or of all.
    ///
    /// # Errors
    /// When the store or the seal fails; what was removed before is gone.
    pub async fn purge(&self, backend: Option<&BackendId>) -> Result<Emptied, SealError> {
        let emptied = self.empty(backend, |_, head| Ok((None, head.versions.into_keys().collect()))).await?;
        self.give_up_intents(backend).await?;
        Ok(emptied)
    }

    /// Writes that were not settled and whose rule is not synced any more: nobody is left to settle them.
    async fn give_up_intents(&self, backend: Option<&BackendId>) -> Result<(), SealError> {
        let writer = self.records.writer().await;
        let mut documents = Vec::new();
        for (id, content) in self.records.documents(DocumentKind::Intent)? {
            let is_synced = |replica: &Arc<Replica>| {
                let route = Intent::decode(&content).map(|intent| intent.route);
                let synced = |route: u64| replica.routes(None).contains(&route);
                Intent::is_of(&id, &replica.id) && route.is_none_or(synced)
            };
            let is_meant = backend.is_none_or(|backend| Intent::is_of(&id, backend));
            if is_meant && !self.replicas.iter().any(is_synced) {
                documents.push(DocumentChange { kind: DocumentKind::Intent, id, content: None });
            }
        }
        if documents.is_empty() {
            return Ok(());
        }
        self.records.commit_all(&writer, Vec::new(), documents).await
    }

    async fn empty(
        &self,
        backend: Option<&BackendId>,
        edit: impl Fn(&SecretPath, Head) -> Result<(Option<Head>, Vec<u64>), &'static str>,
    ) -> Result<Emptied, SealError> {
        self.records.indexed()?;
        let mut emptied = Emptied::default();
        let paths = self.paths();
        for batch in paths.chunks(BATCH) {
            let writer = self.records.writer().await;
            let (mut changes, mut left) = (Vec::new(), Left::new());
            for path in batch {
                let is_still = self.records.stored(path).is_some_and(|stored| self.is_quarantined(path, &stored));
                let Some(head) = self.records.head(path)?.filter(|_| is_still) else { continue };
                let is_meant = |origin: &Origin| backend.is_none_or(|backend| backend.as_str() == origin.backend);
                let Some(origin) = head.origin.as_ref().filter(|origin| is_meant(origin)) else { continue };
                let (from, route) = (origin.backend.clone(), origin.route);
                match edit(path, head) {
                    Ok((head, gone)) => {
                        left.entry(from).or_default().insert(route);
                        changes.push(Change { path: path.clone(), head, values: Vec::new(), gone });
                    }
                    Err(reason) => emptied.left.push((path.clone(), reason)),
                }
            }
            let done = changes.len() as u64;
            if done > 0 {
                let forgotten = self.forgotten(&left)?;
                self.records.commit_all(&writer, changes, forgotten).await?;
            }
            emptied.done += done;
        }
        Ok(emptied)
    }

    /// What was known of the routes whose copies go: should a rule lead there again, a missing copy is no missing secret.
    fn forgotten(&self, left: &Left) -> Result<Vec<DocumentChange>, SealError> {
        let mut documents = Vec::new();
        for (backend, routes) in left {
            let routes: Vec<u64> = routes.iter().copied().collect();
            for replica in self.replicas.iter().filter(|replica| replica.id.as_str() == backend) {
                replica.forget_runs(&routes);
            }
            documents.extend(state::without(self.records, backend, &routes)?);
        }
        Ok(documents)
    }

    fn paths(&self) -> Vec<SecretPath> {
        let mut paths = Vec::new();
        self.records.copies(|path, stored| {
            if self.is_quarantined(path, stored) {
                paths.push(path.clone());
            }
        });
        paths.sort_unstable();
        paths
    }

    /// Whether a record is a copy of another route than the one that leads to it now.
    fn is_quarantined(&self, path: &SecretPath, stored: &Stored) -> bool {
        let Some(copy) = stored.copy else { return false };
        let Some(rule) = self.router.resolve(path).and_then(|route| route.rule) else { return true };
        let replica = self.replicas.iter().find(|replica| replica.index == rule.backend);
        let settings = replica.and_then(|replica| replica.rules.get(rule.rule as usize));
        settings.is_none_or(|settings| settings.mode != Mode::Sync || settings.route != copy.route)
    }
}

/// Routes whose copies go, by the backend they came from.
type Left = BTreeMap<String, BTreeSet<u64>>;

/// A copy as a local secret: only what is held here stays of it.
fn adopted(mut head: Head, now: Timestamp) -> Result<(Option<Head>, Vec<u64>), &'static str> {
    if edit::is_tombstone(&head) {
        return Ok((None, Vec::new()));
    }
    let newest = head.versions.get(&head.current);
    if newest.is_some_and(|newest| newest.is_readable(now) && !newest.held) {
        return Err("the value of the newest version was never copied");
    }
    let newest = head.current;
    head.versions.retain(|number, version| version.held || *number == newest);
    for version in head.versions.values_mut() {
        version.native = None;
    }
    head.origin = None;
    head.updated = now.micros();
    Ok((Some(head), Vec::new()))
}

impl Replica {
    /// Why the copies of one rule, or of all, must not be given up: each text is a reason with its count. Empty if nothing
    /// would be lost.
    ///
    /// # Errors
    /// When the store or the seal fails.
    pub fn unsettled(&self, rule: Option<u32>) -> Result<Vec<String>, SealError> {
        self.records.indexed()?;
        let routes = self.routes(rule);
        let (mut ahead, mut conflicted, mut intents) = (0_u64, 0_u64, 0_u64);
        self.records.copies(|_, stored| {
            if let Some(copy) = stored.copy.filter(|copy| routes.contains(&copy.route)) {
                ahead += u64::from(copy.ahead && !copy.conflicted);
                conflicted += u64::from(copy.conflicted);
            }
        });
        for (id, content) in self.records.documents(DocumentKind::Intent)? {
            let is_ours = || Intent::decode(&content).is_none_or(|intent| routes.contains(&intent.route));
            intents += u64::from(Intent::is_of(&id, &self.id) && is_ours());
        }
        let counted = [
            (ahead, "secrets with changes that are only here"),
            (conflicted, "secrets with an unresolved conflict"),
            (intents, "secrets with a write that is not settled"),
        ];
        let reason = |(count, what): (u64, &str)| (count > 0).then(|| format!("{what}: {count}"));
        Ok(counted.into_iter().filter_map(reason).collect())
    }

    /// Removes the copies of one rule, or of all, and what is remembered of them. What is nowhere else stays, unserved: a
    /// copy that is ahead, in conflict, was never agreed on, or has a write that is not settled.
    ///
    /// # Errors
    /// When the store or the seal fails; what was removed before is gone.
    pub async fn purge_copies(&self, rule: Option<u32>) -> Result<u64, SealError> {
        self.records.indexed()?;
        let routes = self.routes(rule);
        let is_ours = |stored: &Stored| stored.copy.is_some_and(|copy| routes.contains(&copy.route));
        let mut paths = Vec::new();
        self.records.copies(|path, stored| {
            if is_ours(stored) {
                paths.push(path.clone());
            }
        });
        // before the first copy goes: what is missing then is not missing over there
        self.forget_runs(&routes);
        let writer = self.records.writer().await;
        if let Some(document) = state::without(&self.records, self.id.as_str(), &routes)? {
            self.records.commit_all(&writer, Vec::new(), vec![document]).await?;
        }
        drop(writer);
        let mut purged = 0;
        for batch in paths.chunks(BATCH) {
            let writer = self.records.writer().await;
            let mut changes = Vec::new();
            for path in batch {
                let Some(head) = self.records.head(path)?.filter(|head| self.is_spent(head, &routes)) else { continue };
                if self.records.document(DocumentKind::Intent, &Intent::id(&self.id, path))?.is_some() {
                    continue;
                }
                let gone = head.versions.into_keys().collect();
                changes.push(Change { path: path.clone(), head: None, values: Vec::new(), gone });
            }
            let count = changes.len() as u64;
            if count > 0 {
                self.records.commit_all(&writer, changes, Vec::new()).await?;
            }
            purged += count;
        }
        Ok(purged)
    }

    /// Whether a record is a copy of one of the routes and holds nothing that its backend did not have.
    fn is_spent(&self, head: &Head, routes: &[u64]) -> bool {
        let origin = head.origin.as_ref();
        let origin = origin.filter(|origin| origin.backend == self.id.as_str() && routes.contains(&origin.route));
        origin.is_some_and(|origin| plan::is_spent(head, origin))
    }

    fn routes(&self, rule: Option<u32>) -> Vec<u64> {
        let rules = self.rules.iter().enumerate().filter(|(index, settings)| {
            settings.mode == Mode::Sync && rule.is_none_or(|rule| u32::try_from(*index) == Ok(rule))
        });
        rules.map(|(_, settings)| settings.route).collect()
    }
}

#[cfg(test)]
mod tests;
