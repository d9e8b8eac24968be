//! The conflict matrix, cell by cell, and that a plan carried out leaves nothing to plan.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::seal::edit::{self, Mark};
use crate::seal::{Agreed, Conflict, HeadVersion, Origin};
use crate::secret::{Described, History, Metadata, SecretType, SecretValue, VersionInfo, VersionState};
use crate::sync::pull::{Fetched, Layout, Source};
use crate::sync::push::{Needed, Value, needed};
use crate::sync::sight::{Likeness, likeness};
use crate::sync::step::link;
use crate::sync::write::Sight;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const ROUTE: u64 = 7;
const ON: [ConflictOn; 2] = [ConflictOn::Both, ConflictOn::Any];
const POLICIES: [ConflictPolicy; 3] = [ConflictPolicy::BackendWins, ConflictPolicy::LocalWins, ConflictPolicy::Manual];
const MODES: [WriteMode; 3] = [WriteMode::Disabled, WriteMode::Local, WriteMode::WriteThrough];
const DELETES: [OnBackendDelete; 2] = [OnBackendDelete::Delete, OnBackendDelete::Keep];

fn terms(on: ConflictOn, policy: ConflictPolicy, delete: OnBackendDelete, mode: WriteMode) -> Terms<'static> {
    Terms {
        backend: "fed_a",
        route: ROUTE,
        conflict_on: on,
        conflict_policy: policy,
        on_backend_delete: delete,
        write_mode: mode,
    }
}

fn remote_mark(version: u64, readable: bool) -> RemoteMark {
    RemoteMark { version, native: None, readable, digest: format!("{version}{readable}") }
}

/// A copy of version 3 that agrees with the other side.
fn copy() -> Head {
    let mut head = Head { current: 3, ..Head::default() };
    head.versions.insert(3, HeadVersion { created: 3, secret_type: "json".into(), ..HeadVersion::default() });
    let agreed = Agreed { local: head.fingerprint(), local_version: 3, remote: remote_mark(3, true), at: 1 };
    let (backend, remote) = ("fed_a".to_owned(), "kv/data/a".to_owned());
    head.origin = Some(Origin { backend, remote, route: ROUTE, agreed: Some(agreed), conflict: None });
    head
}

/// What happened here since.
fn local(state: &str) -> Head {
    let mut head = copy();
    let _gone = match state {
        "same" => Vec::new(),
        "changed" => edit::put(&mut head, SecretType::Json, None, 10, NOW).1,
        "deleted" => edit::mark(&mut head, &[3], Mark::Deleted(NOW), NOW),
        "purged" => edit::bury(&mut head, NOW),
        _ => panic!("{state}"),
    };
    head
}

/// What happened there since.
fn remote(state: &str) -> Option<RemoteMark> {
    match state {
        "same" => Some(remote_mark(3, true)),
        "changed" => Some(remote_mark(4, true)),
        "deleted" => Some(remote_mark(3, false)),
        "gone" => None,
        _ => panic!("{state}"),
    }
}

/// Decides, where comparing the contents comes to `same`.
fn decide(head: &Head, remote: Option<&RemoteMark>, same: Same, terms: &Terms<'_>) -> Decision {
    let sides = Sides { local: Some(head), remote, same: Same::Unknown, now: NOW };
    match plan(&sides, terms) {
        Decision::Compare => plan(&Sides { same, ..sides }, terms),
        decision => decision,
    }
}

fn letter(decision: Decision) -> char {
    match decision {
        Decision::Nothing => '.',
        Decision::Keep => 'K',
        Decision::Pull { conflict: false } => 'P',
        Decision::Pull { conflict: true } => 'p',
        Decision::Push { conflict: false } => 'U',
        Decision::Push { conflict: true } => 'u',
        Decision::DeleteLocal { conflict: false } => 'D',
        Decision::DeleteLocal { conflict: true } => 'd',
        Decision::DeleteRemote { conflict: false } => 'R',
        Decision::DeleteRemote { conflict: true } => 'r',
        Decision::Flag => 'F',
        Decision::Confirm => 'C',
        Decision::Held => 'H',
        Decision::Compare | Decision::Foreign(_) => '?',
    }
}

/// One row: local state, remote state, then for `conflict_on` both and any, and for each of backend_wins, local_wins and
/// manual, the decisions under `write_mode` disabled, local and write_through.
type Row = (&'static str, &'static str, [&'static str; 3], [&'static str; 3]);

#[rustfmt::skip]
const MATRIX: [Row; 16] = [
    //  local      remote       both: backend local  manual   any: backend local  manual
    ("same",    "same",    ["...", "...", "..."], ["...", "...", "..."]),
    ("changed", "same",    ["KKU", "KKU", "KKU"], ["KKU", "KKU", "KKU"]),
    ("deleted", "same",    ["KKR", "KKR", "KKR"], ["KKR", "KKR", "KKR"]),
    ("purged",  "same",    ["KKR", "KKR", "KKR"], ["KKR", "KKR", "KKR"]),
    ("same",    "changed", ["PPP", "FFu", "PPP"], ["ppp", "FFu", "FFF"]),
    ("same",    "deleted", ["PPP", "FFu", "PPP"], ["ppp", "FFu", "FFF"]),
    ("same",    "gone",    ["DDD", "FFu", "DDD"], ["ddd", "FFu", "FFF"]),
    ("changed", "changed", ["ppp", "FFu", "FFF"], ["ppp", "FFu", "FFF"]),
    ("changed", "deleted", ["ppp", "FFu", "FFF"], ["ppp", "FFu", "FFF"]),
    ("changed", "gone",    ["ddd", "FFu", "FFF"], ["ddd", "FFu", "FFF"]),
    ("deleted", "changed", ["ppp", "FFr", "FFF"], ["ppp", "FFr", "FFF"]),
    ("deleted", "deleted", ["ppp", "FFu", "FFF"], ["ppp", "FFu", "FFF"]),
    ("deleted", "gone",    ["DDD", "DDD", "DDD"], ["DDD", "DDD", "DDD"]),
    ("purged",  "changed", ["ppp", "FFr", "FFF"], ["ppp", "FFr", "FFF"]),
    ("purged",  "deleted", ["ppp", "FFu", "FFF"], ["ppp", "FFu", "FFF"]),
    ("purged",  "gone",    ["DDD", "DDD", "DDD"], ["DDD", "DDD", "DDD"]),
];

/// Every cell of the matrix with its settings and the decision it names.
fn cells() -> impl Iterator<Item = (&'static str, &'static str, ConflictOn, ConflictPolicy, WriteMode, char)> {
    MATRIX.into_iter().flat_map(|(local, remote, both, any)| {
        ON.into_iter().zip([both, any]).flat_map(move |(on, row)| {
            POLICIES.into_iter().zip(row).flat_map(move |(policy, cell)| {
                MODES.into_iter().zip(cell.chars()).map(move |(mode, letter)| (local, remote, on, policy, mode, letter))
            })
        })
    })
}

#[test]
fn w02_every_cell_of_the_conflict_matrix() {
    let mut count = 0;
    for (here, there, on, policy, mode, expected) in cells() {
        let terms = terms(on, policy, OnBackendDelete::Delete, mode);
        let decision = decide(&local(here), remote(there).as_ref(), Same::No, &terms);
        assert_eq!(letter(decision), expected, "local {here}, remote {there}, {on:?}, {policy:?}, {mode:?}");
        count += 1;
    }
    assert_eq!(count, 16 * 2 * 3 * 3);
}

#[test]
fn a_deletion_over_there_leaves_the_copy_where_it_is_kept() {
    for (here, there, on, policy, mode, deleting) in cells() {
        let terms = terms(on, policy, OnBackendDelete::Keep, mode);
        let decision = letter(decide(&local(here), remote(there).as_ref(), Same::No, &terms));
        let is_deletion = matches!(there, "deleted" | "gone");
        let expected = match deleting {
            'P' | 'p' | 'D' | 'd' if is_deletion => 'K',
            other => other,
        };
        assert_eq!(decision, expected, "local {here}, remote {there}, {on:?}, {policy:?}, {mode:?}");
    }
}

#[test]
fn two_sides_that_changed_to_the_same_are_no_conflict() {
    for (here, there, on, policy, mode, differing) in cells().filter(|cell| cell.1 != "gone") {
        let terms = terms(on, policy, OnBackendDelete::Delete, mode);
        let found = |same| letter(decide(&local(here), remote(there).as_ref(), same, &terms));
        let is_settled = matches!(differing, '.' | 'K' | 'U' | 'R' | 'P');
        assert_eq!(found(Same::Yes), if is_settled { differing } else { 'C' }, "{here} {there} {on:?} {policy:?}");
        if mode == WriteMode::WriteThrough && here == "changed" && there == "changed" {
            assert_eq!(found(Same::Value), 'U', "w04: our own write, whose answer was lost: the rest follows");
        }
    }
}

#[test]
fn a_flagged_path_is_left_alone_whatever_happens() {
    for (here, there, on, policy, mode, _) in cells() {
        let mut head = local(here);
        head.origin.as_mut().unwrap().conflict = Some(Conflict { since: 1, remote: None });
        let terms = terms(on, policy, OnBackendDelete::Delete, mode);
        assert_eq!(decide(&head, remote(there).as_ref(), Same::Yes, &terms), Decision::Held);
    }
}

#[test]
fn w17_records_of_others_are_replaced_only_if_nothing_is_lost() {
    let (on, policy, mode) = (ConflictOn::Both, ConflictPolicy::BackendWins, WriteMode::WriteThrough);
    let mut terms = terms(on, policy, OnBackendDelete::Delete, mode);
    let there = remote("changed");
    let bare = Head { origin: None, ..copy() };
    assert_eq!(decide(&bare, there.as_ref(), Same::No, &terms), Decision::Foreign(Foreign::Local));
    terms.route = 8;
    assert_eq!(decide(&local("same"), there.as_ref(), Same::No, &terms), Decision::Pull { conflict: false });
    assert_eq!(decide(&local("same"), None, Same::No, &terms), Decision::Nothing);
    let ahead = decide(&local("changed"), there.as_ref(), Same::No, &terms);
    assert_eq!(ahead, Decision::Foreign(Foreign::Quarantined));
}

#[test]
fn a_secret_of_one_side_only() {
    for mode in MODES {
        let terms = terms(ConflictOn::Both, ConflictPolicy::BackendWins, OnBackendDelete::Delete, mode);
        let nobody = Sides { local: None, remote: None, same: Same::Unknown, now: NOW };
        assert_eq!(plan(&nobody, &terms), Decision::Nothing);
        let there = remote("changed");
        let theirs = Sides { remote: there.as_ref(), ..nobody };
        assert_eq!(plan(&theirs, &terms), Decision::Pull { conflict: false });
        let mut head = copy();
        head.origin.as_mut().unwrap().agreed = None;
        let ours = plan(&Sides { local: Some(&head), ..nobody }, &terms);
        let is_through = mode == WriteMode::WriteThrough;
        assert_eq!(ours, if is_through { Decision::Push { conflict: false } } else { Decision::Keep });
    }
}

/// Both sides of one path, with values.
#[derive(Clone, Debug)]
struct World {
    local: Option<Head>,
    values: BTreeMap<u64, u8>,
    remote: Option<Described>,
    remote_values: BTreeMap<u64, u8>,
    secs: u64,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Put(u8),
    Delete,
    Undelete,
    Destroy,
    Metadata(u8),
    Purge,
}

impl World {
    fn new() -> Self {
        let (values, remote_values) = (BTreeMap::new(), BTreeMap::new());
        Self { local: None, values, remote: None, remote_values, secs: 1000 }
    }

    fn tick(&mut self) -> Timestamp {
        self.secs += 1;
        Timestamp::from_secs(self.secs)
    }

    fn here(&mut self, op: Op) {
        let now = self.tick();
        let origin = || {
            let (backend, remote) = ("fed_a".to_owned(), "kv/data/a".to_owned());
            Origin { backend, remote, route: ROUTE, agreed: None, conflict: None }
        };
        let head = self.local.get_or_insert_with(|| Head { origin: Some(origin()), ..edit::fresh(now) });
        let current = head.current;
        let gone = match op {
            Op::Put(value) => {
                let (info, gone) = edit::put(head, SecretType::Json, None, 10, now);
                self.values.insert(info.version, value);
                gone
            }
            Op::Delete => edit::mark(head, &[current], Mark::Deleted(now), now),
            // a version whose value is not here is not undeleted here
            Op::Undelete if head.versions.get(&current).is_none_or(|version| !version.held) => Vec::new(),
            Op::Undelete => edit::mark(head, &[current], Mark::Undeleted, now),
            Op::Destroy => edit::mark(head, &[current], Mark::Destroyed, now),
            Op::Metadata(value) => {
                head.metadata = metadata(value);
                Vec::new()
            }
            Op::Purge => edit::bury(head, now),
        };
        self.values.retain(|number, _| !gone.contains(number));
    }

    fn there(&mut self, op: Op) {
        let now = self.tick();
        let remote = self.remote.get_or_insert_with(|| Described {
            metadata: Metadata::new(),
            current_version: 0,
            oldest_version: 0,
            created_at: now,
            updated_at: now,
            cas_required: false,
            max_versions: 0,
            delete_after_secs: 0,
            purges_at: None,
            versions: Vec::new(),
        });
        remote.updated_at = now;
        match op {
            Op::Put(value) => {
                let version = remote.current_version + 1;
                let state = VersionState::Current;
                let info = VersionInfo {
                    version,
                    native_id: None,
                    created_at: now,
                    state,
                    deletes_at: None,
                    ..VersionInfo::default()
                };
                remote.current_version = version;
                remote.versions.push(info);
                self.remote_values.insert(version, value);
            }
            Op::Metadata(value) => remote.metadata = metadata(value),
            Op::Purge => {
                self.remote = None;
                self.remote_values.clear();
            }
            Op::Delete | Op::Undelete | Op::Destroy => {
                let Some(newest) = remote.versions.last_mut() else { return };
                newest.state = match (op, newest.state) {
                    (Op::Delete, VersionState::Current) => VersionState::Deleted(now),
                    (Op::Undelete, VersionState::Deleted(_)) => VersionState::Current,
                    (Op::Destroy, _) => VersionState::Destroyed(None),
                    (_, state) => state,
                };
            }
        }
    }

    fn sight(&self) -> Option<Sight> {
        let described = self.remote.clone()?;
        Some(Sight { mark: mark::of_described(&described), described, fetched: Fetched::new(), is_bare: false })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.secs)
    }

    fn plan(&self, terms: &Terms<'_>) -> Decision {
        let sight = self.sight();
        let remote = sight.as_ref().map(|sight| &sight.mark);
        let sides = Sides { local: self.local.as_ref(), remote, same: Same::Unknown, now: self.now() };
        match plan(&sides, terms) {
            Decision::Compare => plan(&Sides { same: self.compared(), ..sides }, terms),
            decision => decision,
        }
    }

    fn compared(&self) -> Same {
        let (Some(head), Some(sight)) = (&self.local, self.sight()) else { return Same::No };
        match likeness(head, &sight, self.now()) {
            Likeness::Different => Same::No,
            Likeness::Values { newest: None, if_equal } => if_equal,
            Likeness::Values { newest: Some(newest), if_equal } => {
                let (ours, theirs) = (self.values.get(&head.current), self.remote_values.get(&newest.version));
                if ours == theirs { if_equal } else { Same::No }
            }
        }
    }

    /// Carries a decision out the way a run does.
    fn apply(&mut self, decision: Decision, history: History) {
        match decision {
            Decision::Pull { .. } => self.pull(history),
            Decision::Confirm => self.agree(),
            Decision::DeleteLocal { .. } => {
                self.local = None;
                self.values.clear();
            }
            Decision::Push { .. } | Decision::DeleteRemote { .. } => self.push(),
            Decision::Flag => {
                let remote = self.sight().map(|sight| sight.mark);
                let head = self.local.as_mut().unwrap();
                head.origin.as_mut().unwrap().conflict = Some(Conflict { since: 1, remote });
            }
            Decision::Nothing | Decision::Keep | Decision::Held => {}
            Decision::Compare | Decision::Foreign(_) => panic!("{decision:?}"),
        }
    }

    fn pull(&mut self, history: History) {
        let (sight, now) = (self.sight().unwrap(), self.now());
        let local = self.local.take();
        let described = &sight.described;
        let source = Source { described, local: local.as_ref(), is_ours: true, history, max_versions: 10, now };
        let layout = Layout::of(source);
        let mut fetched = Fetched::new();
        for info in layout.wanted() {
            let value = SecretValue::new(vec![self.remote_values[&info.version]]);
            fetched.insert(info.version, (value, SecretType::Json));
        }
        let taken = layout.take(fetched);
        let mut head = taken.head;
        self.values.retain(|number, _| !taken.gone.contains(number));
        self.values.extend(taken.values.iter().map(|(number, value)| (*number, value.expose()[0])));
        let agreed = Some(mark::agreed(&head, sight.mark, now));
        let (backend, remote) = ("fed_a".to_owned(), "kv/data/a".to_owned());
        head.origin = Some(Origin { backend, remote, route: ROUTE, agreed, conflict: None });
        self.local = Some(head);
    }

    fn push(&mut self) {
        let head = self.local.clone().unwrap();
        let is_equal = self.compared() == Same::Value;
        let Needed { value, metadata } = needed(&head, self.sight().as_ref(), is_equal, self.now());
        match value {
            Value::Nothing => {}
            Value::Put => self.there(Op::Put(self.values[&head.current])),
            Value::Undelete => self.there(Op::Undelete),
            Value::Delete => self.there(Op::Delete),
        }
        if metadata {
            self.there(Op::Metadata(0));
            self.remote.as_mut().unwrap().metadata = head.metadata;
        }
        if self.remote.is_some() {
            self.agree();
        } else {
            self.local = None;
            self.values.clear();
        }
    }

    fn agree(&mut self) {
        let (sight, now) = (self.sight().unwrap(), self.now());
        let head = self.local.as_mut().unwrap();
        if let Some(newest) = sight.newest().filter(|info| info.state.is_readable()) {
            link(head, newest);
        }
        let agreed = mark::agreed(head, sight.mark, now);
        head.origin.as_mut().unwrap().agreed = Some(agreed);
    }

    /// What a reader of the copy gets; what is not held is asked of the backend.
    fn served(&self) -> Option<u8> {
        let head = self.local.as_ref().filter(|head| !is_gone(head, self.now()))?;
        let is_held = head.versions.get(&head.current).is_some_and(|version| version.held);
        if is_held { self.values.get(&head.current).copied() } else { self.upstream() }
    }

    /// What a reader of the backend gets.
    fn upstream(&self) -> Option<u8> {
        let remote = self.remote.as_ref()?;
        let newest = remote.versions.iter().find(|info| info.version == remote.current_version)?;
        newest.state.is_readable().then(|| self.remote_values[&newest.version])
    }
}

fn metadata(value: u8) -> Metadata {
    Metadata::from([("key".to_owned(), value.to_string())])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u8..3).prop_map(Op::Put),
        2 => Just(Op::Delete),
        1 => Just(Op::Undelete),
        1 => Just(Op::Destroy),
        1 => (0_u8..2).prop_map(Op::Metadata),
        1 => Just(Op::Purge),
    ]
}

fn settings() -> impl Strategy<Value = (Terms<'static>, History)> {
    let pick = (0_usize..2, 0_usize..3, 0_usize..2, 0_usize..3, any::<bool>());
    pick.prop_map(|(on, policy, delete, mode, all)| {
        let history = if all { History::All } else { History::None };
        (terms(ON[on], POLICIES[policy], DELETES[delete], MODES[mode]), history)
    })
}

impl std::fmt::Debug for Terms<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { conflict_on, conflict_policy, on_backend_delete, write_mode, .. } = self;
        write!(f, "{conflict_on:?} {conflict_policy:?} {on_backend_delete:?} {write_mode:?}")
    }
}

proptest! {
    #[test]
    fn w16_a_plan_carried_out_leaves_nothing_to_plan(
        before in proptest::collection::vec(op(), 0..5),
        rounds in proptest::collection::vec(
            (proptest::collection::vec(op(), 0..3), proptest::collection::vec(op(), 0..3)),
            1..4,
        ),
        (terms, history) in settings(),
    ) {
        let mut world = World::new();
        before.into_iter().for_each(|op| world.there(op));
        for (here, there) in rounds {
            if world.local.is_some() {
                here.into_iter().for_each(|op| world.here(op));
            }
            there.into_iter().for_each(|op| world.there(op));
            let decision = world.plan(&terms);
            let next = world.local.as_ref().map_or(1, Head::next);
            world.apply(decision, history);
            let after = world.plan(&terms);
            let is_quiet = matches!(after, Decision::Nothing | Decision::Keep | Decision::Held);
            prop_assert!(is_quiet, "{:?} then {:?} in {:?}", decision, after, world);
            match decision {
                Decision::Pull { .. } | Decision::Push { .. } | Decision::Confirm | Decision::DeleteRemote { .. } => {
                    prop_assert_eq!(world.served(), world.upstream(), "{:?} in {:?}", decision, world);
                }
                _ => {}
            }
            if let Some(head) = &world.local {
                prop_assert!(head.next() >= next, "numbers only grow: {:?}", world);
                prop_assert!(head.versions.keys().all(|number| *number <= head.current), "{:?}", world);
            }
        }
    }
}

#[test]
fn w07_a_remote_side_without_versions_leaves_nothing_of_ours_to_serve() {
    let terms = terms(ConflictOn::Both, ConflictPolicy::BackendWins, OnBackendDelete::Delete, WriteMode::Disabled);
    let mut world = World::new();
    for (here, there) in [(None, Op::Delete), (Some(Op::Put(0)), Op::Metadata(0))] {
        if let (Some(op), true) = (here, world.local.is_some()) {
            world.here(op);
        }
        world.there(there);
        let decision = world.plan(&terms);
        world.apply(decision, History::None);
    }
    assert_eq!((world.served(), world.upstream()), (None, None), "{world:?}");
}
