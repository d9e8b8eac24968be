//! The sources of a list: the local store, copies, and backends, each asked for the children of one folder.
//!
//! A store without folders is listed once by prefix and read as if it had them.

use std::collections::btree_map::Entry;

use super::folders::{FlatList, Names, Source, Walk, is_holdable, mode};
use super::{BackendState, Line, replica};
use crate::backend::{Ask, Listed};
use crate::error::ErrorKind;
use crate::mapping::{FolderKind, ListSource, RuleId};
use crate::secret::{Described, Dialect, Folder, Mode, Outcome, RemoteName, Reply, SecretPath, VersionSelector};
use crate::wire::Fault;

impl Line<'_> {
    /// The children of one folder over all its sources that may be listed.
    pub(super) async fn children(
        &self,
        folder: &Folder,
        modes: &[Mode],
        below: &str,
        walk: &mut Walk<'_>,
    ) -> Result<Names, Fault> {
        let mut children = Names::new();
        let mut sources = walk.tenant.router.list(folder);
        sources.retain(|source| modes.contains(&mode(source)));
        walk.is_pure &= sources.len() == 1;
        for source in sources {
            let is_synced = mode(&source) == Mode::Sync;
            let (rule, backend, kind) = match source {
                ListSource::Local => {
                    let place = Source { folder, below, rule: None };
                    let found = replica::local_children(walk.tenant, folder, self.now)?;
                    add(&mut children, found.into_iter().filter(|child| self.leads_back(walk, &place, child)));
                    continue;
                }
                ListSource::Backend { rule, backend, kind, .. } => (rule, backend, kind),
            };
            let Some(state) = walk.tenant.backends.get(backend as usize) else { continue };
            let place = Source { folder, below, rule: Some(rule) };
            if is_synced {
                let now = self.pipeline.clock.now();
                let copied = replica::children(state, rule, (folder, &kind), now, &self.id_text)?;
                let is_whole = copied.is_some();
                let found = copied.unwrap_or_else(|| replica::ahead(state, rule, folder, now));
                walk.is_pure &= !is_whole && found.is_empty();
                add(&mut children, found.into_iter().filter(|child| self.leads_back(walk, &place, child)));
                if is_whole {
                    walk.facts.backend = Some(state.name.clone());
                    walk.facts.cache = Some("hit");
                    continue;
                }
            }
            if state.client.capabilities().flat && matches!(kind, FolderKind::Flat { .. } | FolderKind::Children { .. })
            {
                for (child, described) in self.flat_children(state, rule, (&kind, &place), walk).await? {
                    if self.leads_back(walk, &place, &child) {
                        children.entry(child).or_insert(described);
                    }
                }
                walk.is_pure = false;
                continue;
            }
            match kind {
                FolderKind::Flat { .. } => return Err(Fault::of(ErrorKind::Unsupported)),
                FolderKind::Fixed { name, target } => {
                    if !name.ends_with('/') && !walk.window.admits(&format!("{below}{name}")) {
                        continue;
                    }
                    let there = name.ends_with('/') || self.exists(state, rule, &target, walk).await?;
                    if there && self.leads_back(walk, &place, &name) {
                        children.entry(name).or_insert(None);
                    }
                }
                FolderKind::Children { folder } => {
                    let Some(remote) = RemoteName::parse(&folder) else { continue };
                    let names = self.remote_names(state, rule, &remote, walk).await?;
                    let found = names.len();
                    let before = children.len();
                    add(&mut children, names.into_iter().filter(|child| self.leads_back(walk, &place, child)));
                    walk.is_pure &= children.len() - before == found;
                }
            }
        }
        Ok(children)
    }

    /// The children of a folder of ours in a store that has none: what its names are here, cut at the next slash.
    async fn flat_children(
        &self,
        state: &BackendState,
        rule: RuleId,
        (kind, place): (&FolderKind, &Source<'_>),
        walk: &mut Walk<'_>,
    ) -> Result<Names, Fault> {
        let there = match kind {
            FolderKind::Children { folder } => folder.trim_end_matches('/'),
            FolderKind::Flat { .. } => "",
            FolderKind::Fixed { .. } => return Ok(Names::new()),
        };
        let prefix = flat_prefix(kind, walk.window.behind(place.below));
        let held = |known: &&FlatList| known.0 == rule.backend && prefix.starts_with(&known.1);
        if walk.flat.iter().find(held).is_none() {
            let listed = self.listed_flat(state, &prefix, walk).await?;
            walk.flat.push((rule.backend, prefix.clone(), listed));
        }
        let mut children = Names::new();
        let router = &walk.tenant.router;
        let known = walk.flat.iter().filter(held).flat_map(|(_, _, names)| names);
        for (name, described) in known {
            let path;
            let rest = if matches!(kind, FolderKind::Children { .. }) {
                // the folder there is this folder here
                below_of(name, there)
            } else {
                let Some(remote) = RemoteName::parse(name) else { continue };
                let Ok((found, by)) = router.reverse(rule.backend, &remote) else { continue };
                path = found;
                below_of(path.as_str(), place.folder.as_str()).filter(|_| by == rule)
            };
            let Some(rest) = rest else { continue };
            match rest.split_once('/') {
                Some((child, _)) => drop(children.entry(format!("{child}/")).or_insert(None)),
                None => drop(children.insert(rest.to_owned(), described.clone())),
            }
        }
        Ok(children)
    }

    /// All names that begin with a prefix, in full, with what the list says of them.
    async fn listed_flat(
        &self,
        state: &BackendState,
        prefix: &str,
        walk: &mut Walk<'_>,
    ) -> Result<Vec<(String, Option<Described>)>, Fault> {
        let split = prefix.rsplit_once('/').filter(|(folder, _)| !folder.is_empty());
        let (folder, begins) = split.unwrap_or(("", prefix));
        let remote = if folder.is_empty() { RemoteName::root() } else { remote_folder(folder)? };
        let ask = Ask {
            remote: &remote,
            kv2_segment: None,
            dialect: Dialect::Neutral,
            request_id: &self.id_text,
            principal: None,
        };
        let listed = walk.call(&self.id_text, state.client.list_by_prefix(ask, begins)).await?;
        let Listed { names, described, .. } = listed;
        walk.facts.backend = Some(state.name.clone());
        walk.facts.remote = Some(Box::from(remote.as_str()));
        walk.facts.cache = Some("live");
        let mut described = described.into_iter();
        Ok(names.iter().map(|name| (remote.child(name), described.next())).collect())
    }

    async fn remote_names(
        &self,
        state: &BackendState,
        rule: RuleId,
        remote: &RemoteName,
        walk: &mut Walk<'_>,
    ) -> Result<Vec<String>, Fault> {
        let kv2_segment = walk.tenant.kv2_segment(rule);
        let ask = Ask { remote, kv2_segment, dialect: walk.dialect, request_id: &self.id_text, principal: None };
        let Listed { names, native, .. } = walk.call(&self.id_text, state.client.list(ask)).await?;
        walk.facts.backend = Some(state.name.clone());
        walk.facts.remote = Some(Box::from(remote.as_str()));
        walk.facts.cache = Some("live");
        walk.native = native;
        Ok(names)
    }

    /// Whether the secret that a literal rule of the listener names is there.
    pub(super) async fn leaf_exists(&self, path: &SecretPath, walk: &mut Walk<'_>) -> Result<bool, Fault> {
        if walk.tenant.is_guarded(path, false) {
            return Ok(false);
        }
        let Some(route) = walk.tenant.router.resolve(path) else { return Ok(false) };
        let (Some(rule), Some(target)) = (route.rule, route.targets.first()) else {
            let stored = walk.tenant.records.stored(path);
            return Ok(stored.is_some_and(|stored| stored.copy.is_none() && stored.is_there(self.now)));
        };
        let Some(state) = walk.tenant.backends.get(target.backend as usize) else { return Ok(false) };
        if route.mode == Mode::Sync {
            let known = replica::exists(state, rule, path, self.pipeline.clock.now(), &self.id_text)?;
            if let Some(is_there) = known {
                return Ok(is_there);
            }
        }
        self.exists(state, rule, target.remote.as_str(), walk).await
    }

    /// Whether the one secret a rule can yield is there.
    async fn exists(
        &self,
        state: &BackendState,
        rule: RuleId,
        target: &str,
        walk: &mut Walk<'_>,
    ) -> Result<bool, Fault> {
        let kv2_segment = walk.tenant.kv2_segment(rule);
        let Some(remote) = RemoteName::parse(target).filter(|remote| is_holdable(remote, kv2_segment)) else {
            return Ok(false);
        };
        let ask =
            Ask { remote: &remote, kv2_segment, dialect: Dialect::Neutral, request_id: &self.id_text, principal: None };
        let current = VersionSelector::Current;
        let looked = match kv2_segment {
            Some(_) => state.client.describe(ask),
            None if state.client.capabilities().flat => state.client.glance(ask),
            None => state.client.read(ask, &current),
        };
        let found = walk.call(&self.id_text, looked).await?;
        Ok(!matches!(found, Reply::Neutral(Outcome::NotFound)))
    }
}

/// What all names there begin with that a folder of ours is made of. `behind` is what all wanted names in the folder go on
/// with, which is the same on both sides only where names are unchanged.
fn flat_prefix(kind: &FolderKind, behind: &str) -> String {
    match kind {
        FolderKind::Children { folder } if folder.is_empty() => behind.to_owned(),
        FolderKind::Children { folder } => format!("{}/{behind}", folder.trim_end_matches('/')),
        FolderKind::Flat { prefix } => prefix.clone(),
        FolderKind::Fixed { target, .. } => target.clone(),
    }
}

/// What a name is called in a folder that holds it.
pub(super) fn below_of<'n>(name: &'n str, folder: &str) -> Option<&'n str> {
    if folder.is_empty() { Some(name) } else { name.strip_prefix(folder)?.strip_prefix('/') }
}

fn add(children: &mut Names, names: impl IntoIterator<Item = String>) {
    for name in names {
        if let Entry::Vacant(free) = children.entry(name) {
            free.insert(None);
        }
    }
}

fn remote_folder(prefix: &str) -> Result<RemoteName, Fault> {
    RemoteName::parse(prefix).ok_or(Fault::of(ErrorKind::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_folders_is_asked_for_what_is_wanted() {
        let children = |folder: &str| FolderKind::Children { folder: folder.to_owned() };
        let flat = FolderKind::Flat { prefix: "prod--".to_owned() };
        assert_eq!(flat_prefix(&children(""), ""), "");
        assert_eq!(flat_prefix(&children(""), "db-"), "db-");
        assert_eq!(flat_prefix(&children("prod/apps"), ""), "prod/apps/");
        assert_eq!(flat_prefix(&children("prod/apps"), "db/"), "prod/apps/db/");
        assert_eq!(flat_prefix(&flat, "db"), "prod--", "names are spelled another way there");
    }

    #[test]
    fn a_name_lies_in_a_folder_by_whole_segments() {
        assert_eq!(below_of("apps/db", "apps"), Some("db"));
        assert_eq!(below_of("apps/db", ""), Some("apps/db"));
        assert_eq!((below_of("apps", "apps"), below_of("apps-2/db", "apps")), (None, None));
    }
}
