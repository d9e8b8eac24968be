//! Catalogues: every secret a wire folder stands for, with what is known of each, as stores without folders list them; and
//! calls about several secrets at once. Every secret of a batch goes through mapping, policy and audit by itself.

use std::cmp::Ordering;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use super::folders::{Extent, Fixed, Names, Place, Search, Walk};
use super::window::Window;
use super::{Line, TenantState};
use crate::audit::{Disclosure, Grants};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::mapping::Route;
use crate::policy::{Permit, Resource};
use crate::seal::edit;
use crate::secret::{
    Action, Call, CatalogueOptions, CatalogueSort, Described, Entry, Filter, Folder, Mode, Operation, Outcome, Reply,
    SecretAction, SecretCall, SecretPath, VersionSelector, VersionState, WireName,
};
use crate::wire::{Answer, Fault, Shape, WireResponse};

/// How many reads of a batch are under way at once.
const AT_ONCE: usize = 8;

/// One of several reads: the name that was asked for, and what came of it.
type Item = (String, Result<Disclosure, Fault>);

impl Line<'_> {
    /// Several reads, one answer.
    pub(super) async fn batch(&self, calls: Vec<Call>, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let items = self.read_all(calls, caller).await;
        Ok(self.encode(shape, Answer::Batch(items, false), None, false))
    }

    /// A page of the secrets that meet conditions, wherever they may be listed.
    pub(super) async fn catalogue(
        &self,
        operation: Operation,
        options: &CatalogueOptions,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let (disclosure, more) = self.survey(operation, options, Action::List, caller).await?;
        Ok(self.encode_list(shape, disclosure, more))
    }

    /// The values of all secrets of a catalogue that the caller may list and read, a page of them.
    pub(super) async fn gather(&self, call: Call, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let Call { operation, secret } = call;
        let SecretAction::Catalogue(options) = secret.action else { return Err(Fault::of(ErrorKind::Internal)) };
        let (disclosure, more) = self.survey(operation, &options, Action::Read, caller).await?;
        let Reply::Neutral(Outcome::Catalogue(entries)) = disclosure.into_reply() else {
            return Err(Fault::of(ErrorKind::Internal));
        };
        let read = |Entry { name, .. }: Entry| {
            let action = SecretAction::Read(VersionSelector::Current);
            let secret = SecretCall { name: WireName::parse(&name), action, dialect: secret.dialect };
            Call { operation: Operation::Read, secret }
        };
        let items = self.read_all(entries.into_iter().map(read).collect(), caller).await;
        Ok(self.encode(shape, Answer::Batch(items, more), None, false))
    }

    /// Some at a time; their answers are in the order of the calls.
    async fn read_all(&self, calls: Vec<Call>, caller: &Caller) -> Vec<Item> {
        let mut reads: Vec<Pending<'_, Item>> = Vec::with_capacity(calls.len());
        for call in calls {
            reads.push(Box::pin(async move {
                let name = call.secret.name.as_ref().map_or_else(String::new, |name| name.as_str().to_owned());
                (name, self.one_of_many(call, caller).await)
            }));
        }
        in_order(reads).await
    }

    /// One read of a batch, with its own line.
    async fn one_of_many(&self, call: Call, caller: &Caller) -> Result<Disclosure, Fault> {
        let Call { operation, secret } = call;
        match self.grant(&secret, operation, caller) {
            Ok(granted) => self.read(&secret, operation, caller, granted).await.map(|(disclosure, _)| disclosure),
            Err(no) => Err(self.refused(Some(caller), no).await),
        }
    }

    /// A page of the secrets that may be listed, and may be `also`, with the line of the list. What policy leaves out is
    /// not told from what is not there; if nothing at all may be listed, that is refused.
    async fn survey(
        &self,
        operation: Operation,
        options: &CatalogueOptions,
        also: Action,
        caller: &Caller,
    ) -> Result<(Disclosure, bool), Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        let window = Window::of(options);
        let search = Search { tenant, caller, extent: Extent::Allowed, window: &window };
        let starts = window.folders().into_iter().map(|folder| (folder.to_owned(), beginning(folder)));
        let (places, fixed, _) = self.find_places(&search, starts.collect())?;
        let (permit, folder) = match scope(&places, &fixed) {
            Some(seen) => seen,
            None => {
                // where names were looked for there is nothing to list: whoever may list elsewhere is told just that
                let everything = Window::all();
                let (places, fixed) = self.places(&Search { window: &everything, ..search }, "").await?;
                scope(&places, &fixed).ok_or(Fault::of(ErrorKind::Internal))?
            }
        };
        let receipt = self.admit(caller, operation, Grants::folder(permit, folder)).await?;
        let mut walk = Walk::new(tenant, caller, &fixed);
        walk.window = window;
        let result = self.collect(&places, &fixed.leaves, Extent::Allowed, &mut walk).await;
        let mut facts = std::mem::take(&mut walk.facts);
        let (reply, more) = match result {
            Ok(()) => {
                let names = std::mem::take(&mut walk.names);
                let (entries, more) = self.entries(names, &walk, options, also);
                facts.outcome_count = Some(entries.len());
                (Ok(Reply::Neutral(Outcome::Catalogue(entries))), more)
            }
            Err(fault) => (Err(fault), false),
        };
        Ok((self.disclose(caller, receipt, facts, reply).await?, more))
    }

    /// A page of what is known of the names, as far as the caller may be told, of those that meet the conditions. `also`
    /// is what must be allowed beside the list.
    fn entries(&self, names: Names, walk: &Walk<'_>, options: &CatalogueOptions, also: Action) -> (Vec<Entry>, bool) {
        let known = names.into_iter().filter(|(name, _)| !name.ends_with('/') && walk.window.admits(name));
        let look = |(name, told)| self.entry(name, told, walk, options, also);
        match (options.sort, options.descending) {
            // nothing is looked at that the page does not show
            (CatalogueSort::Name, false) => cut(known.filter_map(look), options.limit),
            (CatalogueSort::Name, true) => cut(known.rev().filter_map(look), options.limit),
            _ => page(known.filter_map(look).collect(), options),
        }
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

/// What the line of a list is about: the folder that was listed, or the deepest that holds all that were. `None` if nothing
/// may be listed.
fn scope(places: &[Place], fixed: &Fixed) -> Option<(Permit, Folder)> {
    let Some((first, others)) = places.split_first() else { return fixed.seen_by.clone() };
    let holds = |folder: &str| {
        let is_held = |other: &str| {
            let rest = other.strip_prefix(folder);
            folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        others.iter().all(|other| is_held(other.folder.as_str()))
    };
    let deepest = first.folder.ancestors().find(|&folder| holds(folder)).unwrap_or_default();
    let folder = Folder::parse(deepest).unwrap_or_else(|_| Folder::root());
    Some((first.permit.clone(), folder))
}

/// What the names in a wire folder begin with.
fn beginning(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

/// Something that is waited for.
type Pending<'p, T> = Pin<Box<dyn Future<Output = T> + Send + 'p>>;

/// Waits for all of them, a few begun at a time. What they come to is in their order.
async fn in_order<T>(calls: Vec<Pending<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    let mut waiting = calls.into_iter().enumerate();
    let mut begun: Vec<(usize, Pending<'_, T>)> = Vec::with_capacity(AT_ONCE);
    poll_fn(|context| {
        loop {
            begun.extend(waiting.by_ref().take(AT_ONCE.saturating_sub(begun.len())));
            let before = begun.len();
            begun.retain_mut(|(at, call)| {
                let Poll::Ready(result) = call.as_mut().poll(context) else { return true };
                if let Some(place) = done.get_mut(*at) {
                    *place = Some(result);
                }
                false
            });
            if before == 0 {
                return Poll::Ready(());
            }
            if begun.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// The first of them, at most `limit`, and whether there are more. None is looked at but these and the one behind them.
fn cut(mut entries: impl Iterator<Item = Entry>, limit: Option<usize>) -> (Vec<Entry>, bool) {
    let page: Vec<Entry> = entries.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    (page, entries.next().is_some())
}

/// Sorts by time, and cuts a page out: what is behind `after`, at most `limit`; and whether there are more.
fn page(mut entries: Vec<Entry>, options: &CatalogueOptions) -> (Vec<Entry>, bool) {
    entries.sort_by(|one, other| {
        let order = order(one, other, options.sort);
        if options.descending { order.reverse() } else { order }
    });
    let last = options.after.as_deref().and_then(|after| entries.iter().position(|entry| *entry.name == *after));
    cut(entries.into_iter().skip(last.map_or(0, |at| at + 1)), options.limit)
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
    use std::sync::atomic::{AtomicUsize, Ordering as Order};

    use tokio::sync::Semaphore;

    use super::*;

    fn entry(name: &str, created: u64) -> Entry {
        let described = Described { created_at: Timestamp::from_secs(created), ..Described::default() };
        Entry { name: name.to_owned(), described: Some(Box::new(described)) }
    }

    fn names((page, more): (Vec<Entry>, bool)) -> (Vec<String>, bool) {
        (page.into_iter().map(|entry| entry.name).collect(), more)
    }

    #[test]
    fn pages_follow_each_other_in_the_order_of_time() {
        let all = || vec![entry("b", 1), entry("c", 3), entry("a", 2), entry("d", 3)];
        for (descending, expected) in [(false, ["b", "a", "c", "d"]), (true, ["d", "c", "a", "b"])] {
            let sort = CatalogueSort::Created;
            let base = CatalogueOptions { sort, descending, limit: Some(3), ..CatalogueOptions::default() };
            let (first, more) = names(page(all(), &base));
            assert!(more);
            let after = first.last().map(|last| Box::from(last.as_str()));
            let (second, more) = names(page(all(), &CatalogueOptions { after, ..base }));
            assert!(!more);
            assert_eq!([first, second].concat(), expected, "{descending}");
        }
    }

    #[test]
    fn nothing_is_looked_at_behind_the_page_and_the_one_that_says_there_is_more() {
        let mut looked = Vec::new();
        let entries = ["a", "b", "c", "d", "e"].into_iter().inspect(|name| looked.push(*name));
        let (page, more) = names(cut(entries.map(|name| entry(name, 1)), Some(2)));
        assert_eq!((page, more), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(looked, ["a", "b", "c"]);
        assert_eq!(names(cut(std::iter::once(entry("a", 1)), None)), (vec!["a".to_owned()], false));
    }

    #[tokio::test]
    async fn reads_go_side_by_side_a_few_at_a_time_and_keep_their_order() {
        let (under_way, most, gate) = (AtomicUsize::new(0), AtomicUsize::new(0), Semaphore::new(0));
        let mut calls: Vec<Pending<'_, usize>> = Vec::new();
        for number in 0..20 {
            let (under_way, most, gate) = (&under_way, &most, &gate);
            calls.push(Box::pin(async move {
                most.fetch_max(under_way.fetch_add(1, Order::SeqCst) + 1, Order::SeqCst);
                // the later they come the sooner they are through
                for _ in number..20 {
                    tokio::task::yield_now().await;
                }
                if number % 7 == 0 {
                    gate.acquire().await.unwrap().forget();
                } else {
                    gate.add_permits(1);
                }
                under_way.fetch_sub(1, Order::SeqCst);
                number
            }));
        }
        assert_eq!(in_order(calls).await, (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), AT_ONCE);
        assert!(in_order(Vec::<Pending<'_, ()>>::new()).await.is_empty());
    }
}
