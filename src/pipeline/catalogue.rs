//! Catalogues: every secret a wire folder stands for, with what is known of each, as stores without folders list them; and
//! calls about several secrets at once. Every secret of a batch goes through mapping, policy and audit by itself.

use std::cmp::Ordering;

use super::execute::{Executed, execute, found, untaken, unwrap_value};
use super::folders::{Names, Walk};
use super::{Line, TenantState};
use crate::audit::{Disclosure, Grants};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::Route;
use crate::policy::Resource;
use crate::seal::edit;
use crate::secret::{
    Action, Call, CatalogueOptions, CatalogueSort, Described, Entry, Filter, Mode, Operation, Outcome, Reply,
    SecretAction, SecretCall, SecretPath, VersionSelector, VersionState, WireName,
};
use crate::wire::{Answer, Fault, Shape, WireResponse};

impl Line<'_> {
    /// Several reads, one answer.
    pub(super) async fn batch(&self, calls: Vec<Call>, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let mut items = Vec::with_capacity(calls.len());
        for call in calls {
            let name = call.secret.name.as_ref().map_or_else(String::new, |name| name.as_str().to_owned());
            items.push((name, self.one_of_many(call, caller).await));
        }
        Ok(self.encode(shape, Answer::Batch(items, false), None, false))
    }

    /// The values of all secrets of a catalogue that the caller may list and read, a page of them.
    pub(super) async fn gather(&self, call: Call, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let Call { operation, secret } = call;
        let SecretAction::Catalogue(options) = secret.action else { return Err(Fault::of(ErrorKind::Internal)) };
        let (entries, more) = self.readable(operation, options, caller).await?;
        let mut items = Vec::with_capacity(entries.len());
        for Entry { name, .. } in entries {
            let action = SecretAction::Read(VersionSelector::Current);
            let secret = SecretCall { name: WireName::parse(&name), action, dialect: secret.dialect };
            items.push((name, self.one_of_many(Call { operation: Operation::Read, secret }, caller).await));
        }
        Ok(self.encode(shape, Answer::Batch(items, more), None, false))
    }

    /// One read of a batch, with its own line.
    async fn one_of_many(&self, call: Call, caller: &Caller) -> Result<Disclosure, Fault> {
        let Call { operation, secret } = call;
        let (tenant, grant) = match self.grant(&secret, operation, caller) {
            Ok(granted) => granted,
            Err(no) => return Err(self.refused(Some(caller), no).await),
        };
        let backend = grant.route.targets.first().and_then(|target| tenant.backends.get(target.backend as usize));
        let wraps = backend.is_some_and(|backend| backend.client.capabilities().wraps);
        let subject = self.subject(Some(caller), operation);
        let receipt = self.pipeline.auditor.admit_read(subject, Grants::one(grant));
        let receipt = receipt.ok_or(Fault::of(ErrorKind::Internal))?;
        let (facts, result) = match execute(tenant, &secret, &receipt, self.now, &self.id_text) {
            Executed::Done(facts, result) => (facts, result),
            Executed::Live(reading) => reading.await,
        };
        match found(result) {
            Ok(mut reply) => {
                if wraps {
                    unwrap_value(&mut reply);
                }
                let disclosed = self.pipeline.auditor.disclose(receipt, &facts, reply).await;
                disclosed.map_err(|error| self.noted(caller, untaken(error)))
            }
            Err(fault) => Err(self.failed(caller, receipt, facts, fault).await),
        }
    }

    /// A page of the names that may be listed and read.
    async fn readable(
        &self,
        operation: Operation,
        options: CatalogueOptions,
        caller: &Caller,
    ) -> Result<(Vec<Entry>, bool), Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        let (places, fixed) = self.places(tenant, caller, "", true).await?;
        let (permit, folder) = match places.first() {
            Some(first) => (first.permit.clone(), first.folder.clone()),
            None => fixed.seen_by.clone().ok_or(Fault::of(ErrorKind::Internal))?,
        };
        let receipt = self.admit(caller, operation, Grants::folder(permit, folder)).await?;
        let mut walk = Walk::new(tenant, caller, &fixed);
        let result = self.collect(&places, &fixed.leaves, true, &mut walk).await;
        let mut facts = std::mem::take(&mut walk.facts);
        let page = result.map(|()| {
            let names = std::mem::take(&mut walk.names);
            page(self.entries(names, &walk, &options, Action::Read), &options)
        });
        let reply = match &page {
            Ok((entries, _)) => {
                facts.outcome_count = Some(entries.len());
                Ok(Reply::Neutral(Outcome::Done))
            }
            Err(fault) => Err(*fault),
        };
        let _told: Disclosure = self.disclose(caller, receipt, facts, reply).await?;
        page
    }

    /// What is known of each name, as far as the caller may be told, of those that meet the conditions. `also` is what
    /// must be allowed beside the list.
    pub(super) fn entries(
        &self,
        names: Names,
        walk: &Walk<'_>,
        options: &CatalogueOptions,
        also: Action,
    ) -> Vec<Entry> {
        let known = names.into_iter().filter(|(name, _)| !name.ends_with('/'));
        known.filter_map(|(name, told)| self.entry(name, told, walk, options, also)).collect()
    }

    fn entry(
        &self,
        name: String,
        told: Option<Described>,
        walk: &Walk<'_>,
        options: &CatalogueOptions,
        also: Action,
    ) -> Option<Entry> {
        let about_names = |filter: &&Filter| filter.is_about_names();
        if !options.filters.iter().filter(about_names).all(|filter| filter.holds(&name, None)) {
            return None;
        }
        let (tenant, caller) = (walk.tenant, walk.caller);
        let path = SecretPath::parse(&self.state.paths.forward(&name)?.name).ok()?;
        let route = tenant.router.resolve(&path)?;
        let may = |action| self.decide(tenant, caller, action, Resource::Secret(&path), route.mode).is_ok();
        if also == Action::Read && !may(Action::Read) {
            return None;
        }
        let told = told.or_else(|| kept(tenant, &route, self.now));
        if !options.with_deleted && told.as_ref().is_some_and(is_deleted) {
            return None;
        }
        let described = told.filter(|_| may(Action::Describe));
        let holds = options.filters.iter().all(|filter| filter.holds(&name, described.as_ref()));
        holds.then(|| Entry { name, described: described.map(Box::new) })
    }
}

/// What this store knows of a path, as far as it is served where the path leads now.
fn kept(tenant: &TenantState, route: &Route, now: Timestamp) -> Option<Described> {
    let head = tenant.records.head(&route.path).ok().flatten()?;
    let copied_by = head.origin.as_ref().map(|origin| origin.route);
    let served_by = match (route.mode, route.rule) {
        (Mode::Proxy, _) => return None,
        (Mode::Sync, Some(id)) => {
            let backend = tenant.backends.get(id.backend as usize)?;
            Some(backend.rules.get(id.rule as usize)?.route)
        }
        _ => None,
    };
    (copied_by == served_by).then(|| edit::summary(&head, now))
}

/// Whether the secret is deleted as a whole, and not only an older version of it.
fn is_deleted(described: &Described) -> bool {
    let current = described.versions.iter().find(|info| info.version == described.current_version);
    described.purges_at.is_some() || current.is_some_and(|info| !matches!(info.state, VersionState::Current))
}

/// Sorts, and cuts a page out: what is behind `after`, at most `limit`; and whether there are more.
pub(super) fn page(mut entries: Vec<Entry>, options: &CatalogueOptions) -> (Vec<Entry>, bool) {
    entries.sort_by(|one, other| {
        let order = order(one, other, options.sort);
        if options.descending { order.reverse() } else { order }
    });
    let behind = options.after.as_deref().map(|after| match options.sort {
        // a name that went meanwhile has its place all the same
        CatalogueSort::Name if options.descending => entries.partition_point(|entry| entry.name.as_str() >= after),
        CatalogueSort::Name => entries.partition_point(|entry| entry.name.as_str() <= after),
        _ => entries.iter().position(|entry| entry.name == after).map_or(0, |at| at + 1),
    });
    let mut rest = entries.into_iter().skip(behind.unwrap_or(0));
    let page: Vec<Entry> = rest.by_ref().take(options.limit.unwrap_or(usize::MAX)).collect();
    (page, rest.next().is_some())
}

fn order(one: &Entry, other: &Entry, by: CatalogueSort) -> Ordering {
    let time = |entry: &Entry| {
        entry.described.as_ref().map(|described| match by {
            CatalogueSort::Changed => described.updated_at,
            CatalogueSort::Name | CatalogueSort::Created => described.created_at,
        })
    };
    let by_time = if by == CatalogueSort::Name { Ordering::Equal } else { time(one).cmp(&time(other)) };
    by_time.then_with(|| one.name.cmp(&other.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, created: u64) -> Entry {
        let described = Described { created_at: Timestamp::from_secs(created), ..Described::default() };
        Entry { name: name.to_owned(), described: Some(Box::new(described)) }
    }

    fn names(options: &CatalogueOptions) -> (Vec<String>, bool) {
        let (page, more) = page(vec![entry("b", 1), entry("c", 3), entry("a", 2), entry("d", 3)], options);
        (page.into_iter().map(|entry| entry.name).collect(), more)
    }

    #[test]
    fn pages_follow_each_other_in_every_order() {
        for (sort, descending, expected) in [
            (CatalogueSort::Name, false, ["a", "b", "c", "d"]),
            (CatalogueSort::Name, true, ["d", "c", "b", "a"]),
            (CatalogueSort::Created, false, ["b", "a", "c", "d"]),
            (CatalogueSort::Created, true, ["d", "c", "a", "b"]),
        ] {
            let base = CatalogueOptions { sort, descending, limit: Some(3), ..CatalogueOptions::default() };
            let (first, more) = names(&base);
            assert!(more);
            let after = first.last().map(|last| Box::from(last.as_str()));
            let (second, more) = names(&CatalogueOptions { after, ..base });
            assert!(!more);
            assert_eq!([first, second].concat(), expected, "{sort:?} {descending}");
        }
    }

    #[test]
    fn a_page_goes_on_where_a_name_was_that_went_meanwhile() {
        let options = CatalogueOptions { after: Some("bb".into()), ..CatalogueOptions::default() };
        assert_eq!(names(&options).0, ["c", "d"]);
    }
}
