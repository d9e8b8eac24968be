//! Writes that stay here: the copy runs ahead of its backend. Where there is no copy yet the backend is asked once what it
//! has, so that the next comparison knows what the write was based on.

use super::{Errand, WriteError};
use crate::clock::Timestamp;
use crate::seal::edit::{self, Mark, ONLY_HERE};
use crate::seal::{Change, Head, RemoteMark, SealError};
use crate::secret::{
    Outcome, Precondition, RuleSettings, SecretAction, SecretRecord, SecretType, SecretValue, VersionInfo, VersionSet,
    WriteMode, WriteOptions,
};
use crate::sync::Replica;
use crate::sync::replica::{Standing, remote_selector};

/// How often a write is based anew because what it was based on went away meanwhile.
const TRIES: u32 = 3;

/// What the store had at the path when a write was based on it.
enum Stood {
    Nothing,
    Spent(Box<Head>),
    /// A copy: read again before anything is committed.
    Copy,
}

/// What a write starts from.
pub(super) struct Base {
    pub(super) head: Head,
    /// Values that came along, by our number.
    pub(super) values: Vec<(u64, SecretValue)>,
    /// Numbers whose values go when the head is stored.
    pub(super) gone: Vec<u64>,
    /// What the remote side is, as far as we know; `None`: nothing.
    pub(super) remote: Option<RemoteMark>,
    /// Whether the remote side was just looked at.
    pub(super) is_seen: bool,
    /// Whether a write through is to leave a copy: there is one, or there is nothing anywhere yet.
    pub(super) is_copied: bool,
    stood: Stood,
}

/// What a patch comes to.
pub(super) enum Patched {
    /// The whole new value, to be written on top of the version it was made from.
    Write(SecretValue, WriteOptions),
    /// There is nothing to patch.
    Nothing(Outcome),
}

impl Base {
    /// A copy. One that was deleted and whose time is over is gone, and its numbers go on.
    pub(super) fn of(mut head: Head, now: Timestamp) -> Self {
        let agreed = head.origin.as_ref().and_then(|origin| origin.agreed.as_ref());
        let remote = agreed.map(|agreed| agreed.remote.clone());
        let gone = if head.is_expired(now) { edit::bury(&mut head, now) } else { Vec::new() };
        let (values, stood) = (Vec::new(), Stood::Copy);
        Self { head, values, gone, remote, is_seen: false, is_copied: true, stood }
    }
}

impl Replica {
    /// What a write starts from: the copy, or what the backend says it has.
    pub(super) async fn base(&self, errand: &Errand<'_>, with_value: bool) -> Result<Base, WriteError> {
        let Errand { rule, settings, path, remote, .. } = *errand;
        let now = errand.clock.now();
        let is_through = self.write_mode(rule) == WriteMode::WriteThrough;
        let before = match self.standing(settings, path)? {
            // the other side's time should be over, too: whether it is has to be seen
            Standing::Copy(head) if is_through && head.is_expired(now) => Some(head),
            Standing::Copy(head) => return Ok(Base::of(head, now)),
            Standing::Foreign => return Err(WriteError::InTheWay),
            Standing::Empty => None,
            Standing::Spent(head) => Some(head),
        };
        let is_known_absent = before.is_none() && self.knows_absent(rule, settings, path);
        let stood = before.as_ref().map_or(Stood::Nothing, |head| Stood::Spent(Box::new(head.clone())));
        let ask = self.ask(settings, remote, errand.request_id);
        let sight = if is_known_absent { None } else { self.look(ask, with_value).await? };
        let Some(sight) = sight else {
            // numbers go on where an earlier copy left off
            let current = before.as_ref().map_or(0, |head| head.next() - 1);
            let gone = before.map(|head| head.versions.into_keys().collect()).unwrap_or_default();
            let head = Head { current, origin: Some(self.origin(settings, remote)), ..Head::default() };
            let is_seen = !is_known_absent;
            return Ok(Base { head, values: Vec::new(), gone, remote: None, is_seen, is_copied: true, stood });
        };
        let mark = sight.mark.clone();
        let taken = self.taken(settings, remote, sight, (before.as_ref(), false), now);
        Ok(Base {
            head: taken.head,
            values: taken.values,
            gone: taken.gone,
            remote: Some(mark),
            is_seen: true,
            is_copied: false,
            stood,
        })
    }

    /// Writes to the copy alone.
    pub(super) async fn write_here(
        &self,
        errand: &Errand<'_>,
        mut action: SecretAction,
    ) -> Result<Outcome, WriteError> {
        let _claim = self.copies.claim(errand.path).await;
        let mut tries = 0..TRIES;
        let (base, now, writer) = loop {
            tries.next().ok_or(WriteError::Replaced)?;
            let base = self.base(errand, matches!(action, SecretAction::Patch { .. })).await?;
            if let SecretAction::Patch { patch, options } = action {
                action = match self.patched(errand, &base, &patch, options).await? {
                    Patched::Nothing(outcome) => return Ok(outcome),
                    Patched::Write(value, options) => {
                        SecretAction::Write { value, secret_type: SecretType::Json, options }
                    }
                };
            }
            let now = errand.clock.now();
            let writer = self.records.writer().await;
            if !self.is_live(errand.settings.route) {
                return Err(WriteError::Replaced);
            }
            let standing = self.standing(errand.settings, errand.path)?;
            let is_as_seen = match (&standing, &base.stood) {
                (Standing::Empty, Stood::Nothing) => true,
                (Standing::Spent(head), Stood::Spent(seen)) => *head == **seen,
                _ => false,
            };
            match standing {
                // the engine may have made a copy meanwhile, or changed it
                Standing::Copy(head) => break (Base::of(head, now), now, writer),
                Standing::Foreign => return Err(WriteError::InTheWay),
                Standing::Empty | Standing::Spent(_) if is_as_seen => break (base, now, writer),
                // what this is based on is gone, and the values its head names went with it
                Standing::Empty | Standing::Spent(_) => {}
            }
        };
        let Base { head, mut values, mut gone, .. } = base;
        let (head, value, dropped, outcome) = edited(head, action, errand.settings, now)?;
        values.extend(value);
        gone.extend(dropped);
        values.retain(|(number, _)| !gone.contains(number));
        let change = Change { path: errand.path.clone(), head, values, gone };
        self.records.commit_all(&writer, vec![change], Vec::new()).await?;
        Ok(outcome)
    }

    /// Merges a patch into the current value, wherever that is.
    pub(super) async fn patched(
        &self,
        errand: &Errand<'_>,
        base: &Base,
        patch: &SecretValue,
        options: WriteOptions,
    ) -> Result<Patched, WriteError> {
        let (head, now) = (&base.head, errand.clock.now());
        let number = head.current;
        let Some(known) = head.versions.get(&number).filter(|_| number > 0) else {
            return Ok(Patched::Nothing(Outcome::NotFound));
        };
        let info = edit::info(number, known, now);
        if !info.state.is_readable() {
            let (metadata, updated_at) = (head.metadata.clone(), Some(info.created_at));
            let record = SecretRecord { value: None, secret_type: known.secret_type(), metadata, info, updated_at };
            return Ok(Patched::Nothing(Outcome::Record(Box::new(record))));
        }
        edit::check(head, &options)?;
        if known.secret_type() != SecretType::Json {
            return Err(edit::EditError::NotAnObject.into());
        }
        let at_hand = base.values.iter().find(|(of, _)| *of == number);
        let value = match at_hand {
            Some((_, value)) => edit::merged(value, patch)?,
            None if known.held => {
                let value = self.records.value(errand.path, number)?.ok_or(SealError::Broken)?;
                edit::merged(&value, patch)?
            }
            None => {
                let ask = self.ask(errand.settings, errand.remote, errand.request_id);
                let version = remote_selector(head, number).ok_or(WriteError::Conflict)?;
                let read = self.value_at(ask, &version).await?;
                let (value, _) = read.ok_or(WriteError::Conflict)?;
                edit::merged(&value, patch)?
            }
        };
        if value.len() > self.max_value_bytes {
            return Err(WriteError::TooLarge);
        }
        let precondition = Precondition::Version(number);
        Ok(Patched::Write(value, WriteOptions { precondition, conditional: true, ..options }))
    }
}

type Edited = (Option<Head>, Option<(u64, SecretValue)>, Vec<u64>, Outcome);

/// What a write makes of a copy that may run ahead.
fn edited(mut head: Head, action: SecretAction, settings: &RuleSettings, now: Timestamp) -> Result<Edited, WriteError> {
    let (value, gone, outcome) = match action {
        SecretAction::Write { value, secret_type, options } => {
            edit::check(&head, &options)?;
            let (info, gone) = put_here(&mut head, secret_type, options, settings, now);
            (Some((info.version, value)), gone, Outcome::Written(info, head.metadata.clone()))
        }
        SecretAction::WriteMetadata(change) => {
            edit::check_change(Some(&head), &change)?;
            edit::change(&mut head, change, now);
            (None, Vec::new(), Outcome::Done)
        }
        SecretAction::Label(change) => {
            edit::relabel(&mut head, &change, now)?;
            (None, Vec::new(), Outcome::Described(Box::new(edit::summary(&head, now))))
        }
        SecretAction::Purge if head.origin.as_ref().is_some_and(|origin| origin.agreed.is_some()) => {
            (None, edit::bury(&mut head, now), Outcome::Done)
        }
        // the other side never had it: there is nothing to remember
        SecretAction::Purge => return Ok((None, None, head.versions.into_keys().collect(), Outcome::Done)),
        SecretAction::Delete(VersionSet::All, _) | SecretAction::Undelete(VersionSet::All) if !head.is_there(now) => {
            (None, Vec::new(), Outcome::NotFound)
        }
        SecretAction::Delete(VersionSet::All, days) => (None, edit::delete(&mut head, days, now), Outcome::Done),
        SecretAction::Delete(set, _) => {
            let numbers = edit::named(&head, &set);
            (None, edit::mark(&mut head, &numbers, Mark::Deleted(now), now), Outcome::Done)
        }
        SecretAction::Undelete(VersionSet::All) => (None, edit::restore(&mut head, now), Outcome::Done),
        SecretAction::Undelete(set) => {
            let numbers = edit::named(&head, &set);
            (None, edit::mark(&mut head, &numbers, Mark::Undeleted, now), Outcome::Done)
        }
        SecretAction::Destroy(set) => {
            let numbers = edit::named(&head, &set);
            (None, edit::mark(&mut head, &numbers, Mark::Destroyed, now), Outcome::Done)
        }
        _ => return Err(WriteError::Unsupported),
    };
    // marking versions of a secret that never was leaves it so
    let is_agreed = head.origin.as_ref().is_some_and(|origin| origin.agreed.is_some());
    let is_nothing = head.current == 0 && edit::is_tombstone(&head) && !is_agreed;
    Ok((if is_nothing { None } else { Some(head) }, value, gone, outcome))
}

/// Adds a version that no backend has.
pub(super) fn put_here(
    head: &mut Head,
    secret_type: SecretType,
    options: WriteOptions,
    settings: &RuleSettings,
    now: Timestamp,
) -> (VersionInfo, Vec<u64>) {
    let (info, gone) = edit::put_with(head, secret_type, options, settings.max_versions, now);
    if let Some(version) = head.versions.get_mut(&info.version) {
        version.native = Some(ONLY_HERE.to_owned());
    }
    (info, gone)
}
