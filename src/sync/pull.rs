//! What a copy looks like after it took over the remote side: numbers, states and which values are needed for it. Pure.
//!
//! INVARIANT: a number of ours is never used for two versions. Remote numbers are ours as long as nobody wrote here; from
//! then on remote versions get the next free number and carry their own along. The newest version always has the highest
//! number.

use std::collections::BTreeMap;

use super::mark;
use crate::clock::Timestamp;
use crate::seal::edit::ONLY_HERE;
use crate::seal::{Head, HeadVersion};
use crate::secret::{Described, History, Rank, SecretType, SecretValue, VersionInfo, VersionState};

/// Values read from the backend, by remote version.
pub(super) type Fetched = BTreeMap<u64, (SecretValue, SecretType)>;

/// Both sides, as far as numbering needs them.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// What the backend has.
    pub(super) described: &'a Described,
    /// What we have.
    pub(super) local: Option<&'a Head>,
    /// Whether what we have is a copy of this route: its settings and the versions written here stay.
    pub(super) is_ours: bool,
    pub(super) history: History,
    /// How many versions are kept, at least one.
    pub(super) max_versions: u64,
    pub(super) now: Timestamp,
}

/// A remote version and its number here.
struct Entry<'a> {
    info: &'a VersionInfo,
    number: u64,
    known: Option<&'a HeadVersion>,
}

/// The remote versions that are kept, oldest first, numbered.
pub(super) struct Layout<'a> {
    source: Source<'a>,
    entries: Vec<Entry<'a>>,
    top: u64,
}

/// A head that took over the remote side, without its origin.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) head: Head,
    /// New values, by our number.
    pub(super) values: Vec<(u64, SecretValue)>,
    /// Numbers whose values are not kept any more.
    pub(super) gone: Vec<u64>,
}

impl<'a> Layout<'a> {
    /// Numbers the remote versions.
    pub(super) fn of(source: Source<'a>) -> Self {
        let versions = &source.described.versions;
        let excess = versions.len().saturating_sub(usize::try_from(source.max_versions.max(1)).unwrap_or(usize::MAX));
        let considered: Vec<&VersionInfo> = versions.iter().skip(excess).collect();
        let highest = |head: &Head| head.next() - 1;
        let mut top = source.local.map_or(0, highest);
        let links: Vec<_> = considered.iter().map(|info| link(&source, info, top)).collect();
        let newest_link = links.iter().rposition(Option::is_some);
        // below the lowest number both sides share, all numbers were the remote side's
        let shared = links.iter().flatten().filter(|(_, known)| known.native.is_none());
        let floor = shared.map(|(number, _)| *number).min().unwrap_or(0);
        let mut entries = Vec::with_capacity(considered.len());
        for (index, (info, link)) in considered.into_iter().zip(links).enumerate() {
            // where identifiers tell versions apart, numbers need not follow their order
            let is_new = info.native_id.is_some() || newest_link.is_none_or(|newest| index > newest);
            let (number, known) = match link {
                Some((number, known)) => (number, Some(known)),
                None if is_new => {
                    top = if has_own_number(info) && info.version > top { info.version } else { top + 1 };
                    (top, None)
                }
                None if has_own_number(info) && info.version < floor && !is_taken(&source, info.version) => {
                    (info.version, None)
                }
                // older than what we know, and its place is not known
                None => continue,
            };
            entries.push(Entry { info, number, known });
        }
        Self { source, entries, top }
    }

    /// The remote versions whose values have to be read: those that are kept, readable and not held yet.
    pub(super) fn wanted(&self) -> Vec<&'a VersionInfo> {
        let is_wanted = |entry: &&Entry<'a>| {
            let is_held = entry.known.is_some_and(|known| known.held && !known.destroyed);
            entry.info.state.is_readable() && self.keeps_value(entry.info) && !is_held
        };
        self.entries.iter().filter(is_wanted).map(|entry| entry.info).collect()
    }

    /// The head with what was read. A wanted value that could not be had makes a version that is known and not held.
    pub(super) fn take(self, mut fetched: Fetched) -> Taken {
        let source = self.source;
        let mut head = self.settings();
        let mut values = Vec::new();
        for entry in &self.entries {
            let is_destroyed = matches!(entry.info.state, VersionState::Destroyed(_));
            let read = fetched.remove(&entry.info.version).filter(|_| !is_destroyed);
            let was_held = entry.known.is_some_and(|known| known.held && !known.destroyed);
            let held = !is_destroyed && (read.is_some() || (was_held && self.keeps_value(entry.info)));
            let known_type = entry.known.map(|known| known.secret_type());
            let secret_type = read.as_ref().map(|(_, kind)| *kind).or(known_type).unwrap_or(SecretType::Json);
            let created = if mark::is_timeless(entry.info) { source.now } else { entry.info.created_at };
            let version = HeadVersion {
                created: created.micros(),
                deleted: mark::deletion(entry.info),
                destroyed: is_destroyed,
                secret_type: secret_type.as_str().to_owned(),
                native: mark::native_of(entry.number, entry.info),
                stages: entry.info.stages.iter().map(|stage| stage.to_string()).collect(),
                held,
            };
            head.versions.insert(entry.number, version);
            values.extend(read.map(|(value, _)| (entry.number, value)));
        }
        self.keep_ours(&mut head);
        self.keep_unlabelled(&mut head);
        prune(&mut head, source.max_versions.max(1));
        if head.versions.is_empty() && source.described.versions.is_empty() {
            // a secret without a version, and none that had versions: only their numbers are remembered
            (head.last, head.current) = (head.last.max(head.current), 0);
        }
        values.retain(|(number, _)| head.versions.contains_key(number));
        let is_held = |number: &u64| head.versions.get(number).is_some_and(|version| version.held);
        let before = source.local.map(|local| local.versions.keys()).into_iter().flatten();
        let gone = before.copied().filter(|number| !is_held(number)).collect();
        Taken { head, values, gone }
    }

    /// Everything but the versions. Settings of writes are ours: they are not copied.
    fn settings(&self) -> Head {
        let Source { described, local, is_ours, now, .. } = self.source;
        let ours = local.filter(|_| is_ours);
        let newest = self.entries.iter().find(|entry| entry.info.version == described.current_version);
        let previous = self.entries.iter().find(|entry| entry.info.rank == Rank::Previous);
        let deleted = newest.and_then(|entry| mark::deletion(entry.info));
        let known = |at: Timestamp| (at != Timestamp::default()).then_some(at.micros());
        let created = known(described.created_at).or(ours.map(|head| head.created).filter(|at| *at > 0));
        Head {
            metadata: described.metadata.clone(),
            current: newest.map_or(self.top, |entry| entry.number),
            previous: previous.map_or(0, |entry| entry.number),
            // what is still told of is not gone, whatever is said of its end
            purge_at: described.purges_at.filter(|at| *at > now).map(Timestamp::micros),
            deleted_at: described.purges_at.map(|_| deleted.unwrap_or(described.updated_at.micros())),
            last: if newest.is_some_and(|entry| entry.number < self.top) { self.top } else { 0 },
            created: created.unwrap_or(now.micros()),
            updated: known(described.updated_at).unwrap_or(now.micros()),
            cas_required: ours.is_some_and(|head| head.cas_required),
            max_versions: ours.map_or(0, |head| head.max_versions),
            delete_after_secs: ours.map_or(0, |head| head.delete_after_secs),
            ..Head::default()
        }
    }

    /// Versions that were written here and nowhere else: they lost, and stay readable by their numbers.
    fn keep_ours(&self, head: &mut Head) {
        let Some(local) = self.source.local.filter(|_| self.source.is_ours) else { return };
        let agreed = local.origin.as_ref().and_then(|origin| origin.agreed.as_ref());
        let agreed = agreed.map_or(0, |agreed| agreed.local_version);
        for (number, version) in &local.versions {
            let is_here = match version.native.as_deref() {
                Some(native) => native == ONLY_HERE,
                None => *number > agreed,
            };
            if is_here {
                let mut version = HeadVersion { native: Some(ONLY_HERE.to_owned()), ..version.clone() };
                if *number == head.current {
                    // the remote side has no version at all: ours must not stand for one
                    let now = self.source.now.micros();
                    version.deleted = Some(version.deleted.map_or(now, |at| at.min(now)));
                }
                head.versions.entry(*number).or_insert(version);
            }
        }
    }

    /// Versions that lost their labels stay while all history is kept: a store that tells labelled ones only still has them.
    fn keep_unlabelled(&self, head: &mut Head) {
        let ours = self.source.local.filter(|_| self.source.is_ours && self.source.history == History::All);
        for (number, version) in ours.iter().flat_map(|local| &local.versions) {
            let native =
                version.native.as_deref().filter(|native| *native != ONLY_HERE && native.parse::<u64>().is_err());
            let is_there =
                native.is_none_or(|native| head.versions.values().any(|it| it.native.as_deref() == Some(native)));
            if !is_there {
                head.versions.entry(*number).or_insert(HeadVersion { stages: Vec::new(), ..version.clone() });
            }
        }
    }

    fn keeps_value(&self, info: &VersionInfo) -> bool {
        let is_labelled = info.native_id.is_some() && (info.rank == Rank::Previous || !info.stages.is_empty());
        self.source.history == History::All || info.version == self.source.described.current_version || is_labelled
    }
}

/// Our version of a remote one. The newest remote version is only linked to our highest number: below it, it would not
/// be the newest here.
fn link<'a>(source: &Source<'a>, info: &VersionInfo, top: u64) -> Option<(u64, &'a HeadVersion)> {
    let is_newest = info.version == source.described.current_version;
    let versions = &source.local?.versions;
    let (number, known) = versions.iter().find(|(number, known)| mark::is_link(**number, known, info))?;
    (!is_newest || *number == top || info.native_id.is_some()).then_some((*number, known))
}

fn has_own_number(info: &VersionInfo) -> bool {
    info.native_id.is_none() && !mark::is_timeless(info)
}

fn is_taken(source: &Source<'_>, number: u64) -> bool {
    source.local.is_some_and(|local| local.versions.contains_key(&number))
}

/// Forgets the oldest versions beyond what is kept, never the newest.
fn prune(head: &mut Head, keep: u64) {
    while head.versions.len() as u64 > keep {
        let Some(oldest) = head.versions.keys().copied().find(|number| *number != head.current) else { return };
        head.versions.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Agreed, Origin, RemoteMark};
    use crate::secret::Metadata;

    fn info(version: u64) -> VersionInfo {
        VersionInfo { version, created_at: Timestamp::from_secs(100 + version), ..VersionInfo::default() }
    }

    fn remote(versions: Vec<VersionInfo>) -> Described {
        Described {
            metadata: Metadata::from([("owner".to_owned(), "me".to_owned())]),
            current_version: versions.last().map_or(0, |info| info.version),
            oldest_version: versions.first().map_or(0, |info| info.version),
            created_at: Timestamp::from_secs(100),
            updated_at: Timestamp::from_secs(200),
            cas_required: true,
            max_versions: 5,
            versions,
            ..Described::default()
        }
    }

    fn source<'a>(described: &'a Described, local: Option<&'a Head>, history: History) -> Source<'a> {
        Source { described, local, is_ours: true, history, max_versions: 4, now: Timestamp::from_secs(1000) }
    }

    /// Takes over everything that is wanted.
    fn taken(source: Source<'_>) -> (Taken, Vec<u64>) {
        let layout = Layout::of(source);
        let wanted: Vec<u64> = layout.wanted().iter().map(|info| info.version).collect();
        let value = |version: &u64| (*version, (SecretValue::copy_of(b"{}"), SecretType::Json));
        let fetched = wanted.iter().map(value).collect();
        let mut taken = layout.take(fetched);
        taken.head.origin = Some(agreed(taken.head.current));
        (taken, wanted)
    }

    fn agreed(local_version: u64) -> Origin {
        let agreed = Agreed { local: String::new(), local_version, remote: RemoteMark::default(), at: 1 };
        let (backend, remote) = (String::new(), String::new());
        Origin { backend, remote, route: 1, agreed: Some(agreed), conflict: None }
    }

    /// A version written here.
    fn ours() -> HeadVersion {
        HeadVersion { created: 1, held: true, ..HeadVersion::default() }
    }

    fn numbers(head: &Head) -> Vec<(u64, Option<&str>, bool)> {
        head.versions.iter().map(|(number, v)| (*number, v.native.as_deref(), v.held)).collect()
    }

    #[test]
    fn remote_numbers_are_ours_while_nobody_wrote_here() {
        let described = remote((1..=6).map(info).collect());
        let (all, wanted) = taken(source(&described, None, History::All));
        assert_eq!(wanted, [3, 4, 5, 6], "the newest four");
        assert_eq!(numbers(&all.head), [(3, None, true), (4, None, true), (5, None, true), (6, None, true)]);
        assert_eq!((all.head.current, all.head.cas_required), (6, false));
        assert_eq!(all.head.metadata, described.metadata);
        let (none, wanted) = taken(source(&described, None, History::None));
        assert_eq!(wanted, [6]);
        assert_eq!(numbers(&none.head), [(3, None, false), (4, None, false), (5, None, false), (6, None, true)]);
    }

    #[test]
    fn what_is_held_is_not_read_again_and_what_is_not_kept_is_dropped() {
        let described = remote((1..=3).map(info).collect());
        let (first, _) = taken(source(&described, None, History::All));
        let later = remote((1..=5).map(info).collect());
        let (second, wanted) = taken(source(&later, Some(&first.head), History::All));
        assert_eq!(wanted, [4, 5]);
        assert_eq!(second.gone, [1], "beyond four");
        let (third, wanted) = taken(source(&later, Some(&second.head), History::None));
        assert!(wanted.is_empty());
        assert_eq!(third.gone, [2, 3, 4], "only the newest value is kept now");
        let (fourth, wanted) = taken(source(&later, Some(&third.head), History::All));
        assert_eq!(wanted, [2, 3, 4]);
        assert_eq!(numbers(&fourth.head), numbers(&second.head));
    }

    #[test]
    fn w07_deleted_undeleted_and_destroyed_versions_follow() {
        let mut described = remote((1..=2).map(info).collect());
        let (first, _) = taken(source(&described, None, History::All));
        described.versions[1].state = VersionState::Deleted(Timestamp::from_secs(300));
        let (deleted, wanted) = taken(source(&described, Some(&first.head), History::All));
        assert!(wanted.is_empty());
        let newest = &deleted.head.versions[&2];
        assert_eq!((newest.deleted, newest.held), (Some(300_000_000), true));
        described.versions[1].state = VersionState::Current;
        let (back, wanted) = taken(source(&described, Some(&deleted.head), History::All));
        assert!(wanted.is_empty(), "its value was kept sealed");
        assert!(back.head.versions[&2].is_readable(Timestamp::from_secs(1000)));
        described.versions[0].state = VersionState::Destroyed(None);
        let (destroyed, _) = taken(source(&described, Some(&back.head), History::All));
        assert_eq!(destroyed.gone, [1]);
        assert!(destroyed.head.versions[&1].destroyed);
    }

    #[test]
    fn after_a_local_write_remote_versions_get_new_numbers_and_ours_stay_as_history() {
        let described = remote((1..=3).map(info).collect());
        let (first, _) = taken(source(&described, None, History::All));
        let mut local = first.head;
        local.current = 4;
        local.versions.insert(4, ours());
        let later = remote((1..=4).map(info).collect());
        let (second, wanted) = taken(source(&later, Some(&local), History::All));
        assert_eq!(wanted, [4]);
        assert_eq!(second.head.current, 5);
        assert_eq!(
            numbers(&second.head),
            [(2, None, true), (3, None, true), (4, Some("local"), true), (5, Some("4"), true)]
        );
        let again = remote((1..=5).map(info).collect());
        let (third, wanted) = taken(source(&again, Some(&second.head), History::All));
        assert_eq!(wanted, [5]);
        let (ours, theirs) = ((4, Some("local"), true), (5, Some("4"), true));
        assert_eq!(numbers(&third.head), [(3, None, true), ours, theirs, (6, Some("5"), true)]);
    }

    #[test]
    fn the_newest_version_has_the_highest_number_even_if_ours_was_higher() {
        let described = remote((1..=3).map(info).collect());
        let (first, _) = taken(source(&described, None, History::None));
        let mut local = first.head;
        local.current = 4;
        local.versions.insert(4, ours());
        let (second, wanted) = taken(source(&described, Some(&local), History::None));
        assert_eq!((second.head.current, wanted), (5, vec![3]));
        assert_eq!(second.head.versions[&5].native.as_deref(), Some("3"));
    }

    #[test]
    fn a_secret_made_anew_on_the_other_side_does_not_reuse_numbers() {
        let described = remote((1..=3).map(info).collect());
        let (first, _) = taken(source(&described, None, History::All));
        let anew = VersionInfo { created_at: Timestamp::from_secs(900), ..info(1) };
        let described = remote(vec![anew]);
        let (second, _) = taken(source(&described, Some(&first.head), History::All));
        assert_eq!(numbers(&second.head), [(4, Some("1"), true)]);
        assert_eq!(second.gone, [1, 2, 3]);
    }

    #[test]
    fn what_is_still_told_of_has_not_gone_whatever_is_said_of_its_end() {
        for (secs, is_ahead) in [(1001, true), (999, false)] {
            let deleted = VersionInfo { state: VersionState::Deleted(Timestamp::from_secs(300)), ..info(1) };
            let described = Described { purges_at: Some(Timestamp::from_secs(secs)), ..remote(vec![deleted]) };
            let (first, _) = taken(source(&described, None, History::All));
            assert!(first.head.is_there(Timestamp::from_secs(1000)) && first.head.is_marked());
            assert_eq!((first.head.purge_at.is_some(), first.head.deleted_at), (is_ahead, Some(300_000_000)));
        }
    }

    #[test]
    fn a_secret_made_anew_without_a_version_is_one_and_numbers_go_on() {
        let described = remote((1..=3).map(info).collect());
        let (first, _) = taken(source(&described, None, History::All));
        let bare = remote(Vec::new());
        let (second, _) = taken(source(&bare, Some(&first.head), History::All));
        assert!(second.head.is_there(Timestamp::from_secs(1000)));
        assert_eq!((second.head.current, second.head.next(), second.gone), (0, 4, vec![1, 2, 3]));
    }

    #[test]
    fn stores_without_times_count_here() {
        let timeless = VersionInfo { created_at: Timestamp::default(), ..info(1) };
        let described = Described { created_at: Timestamp::default(), ..remote(vec![timeless]) };
        let (first, wanted) = taken(source(&described, None, History::None));
        assert_eq!((first.head.current, wanted), (1, vec![1]));
        let (second, wanted) = taken(source(&described, Some(&first.head), History::None));
        assert_eq!((numbers(&second.head), wanted), (vec![(2, None, true)], vec![1]));
        assert_eq!(second.head.created, first.head.created);
    }
}
