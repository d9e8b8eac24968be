//! The end of a write through: the copy becomes what the backend made of it. Where the answer was lost, or the process
//! died before it came, the backend is read back first.
//!
//! INVARIANT: head, value, the agreed mark and the removal of the intent are one commit. Both sides count as agreed only
//! if what is found is what was written and nothing after it.

use super::by_hand::{by_hand, told};
use super::through::unnumbered;
use super::{Errand, Sight, WriteError, selector_of};
use crate::backend::{BackendError, Change as RemoteChange};
use crate::clock::{Clock, Timestamp};
use crate::seal::{Change, Conflict, DocumentKind, Head, RemoteMark, SealError, edit};
use crate::secret::{ConflictPolicy, Outcome, RemoteName, SecretPath, VersionInfo, WriteOptions};
use crate::sync::Replica;
use crate::sync::intent::{Intent, Step, Verdict};
use crate::sync::replica::Standing;

/// How many newer versions are read to find ours.
const MAX_CANDIDATES: usize = 16;

/// What became of writes that had not come to an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Carried out, and in the copies now.
    pub applied: u64,
    /// Not carried out.
    pub dropped: u64,
    /// The other side is neither what it was nor what was written; settled by the conflict policy.
    pub overtaken: u64,
    /// Not known yet: the backend cannot be asked.
    pub open: u64,
}

/// What reading back came to.
enum Found {
    Applied(Outcome),
    Dropped,
    Overtaken,
    Open(BackendError),
}

impl Replica {
    /// Finds out what became of every write whose end is not known. Called at start and before each run, after the index
    /// of names was built or not.
    ///
    /// # Errors
    /// When the store or the seal fails.
    pub async fn settle_intents(&self, clock: &dyn Clock, request_id: &str) -> Result<Settled, SealError> {
        let mut settled = Settled::default();
        for (id, content) in self.records.documents(DocumentKind::Intent)? {
            if !Intent::is_of(&id, &self.id) {
                continue;
            }
            let intent = Intent::decode(&content).ok_or(SealError::Form)?;
            let known = SecretPath::parse(&intent.path).ok().zip(RemoteName::parse(&intent.remote));
            let Some((path, remote)) = known else { return Err(SealError::Form) };
            let rule = self.rules.iter().position(|settings| settings.route == intent.route);
            let Some((rule, settings)) = rule.and_then(|rule| Some((rule, self.rules.get(rule)?))) else {
                // the newest configuration may have the rule: then it is not ours to settle
                if self.copies.is_kept(intent.route) {
                    continue;
                }
                // the rule is gone and its copies are quarantined: nobody is left to bring along
                tracing::warn!(backend = %self.name, "a write of a rule that is gone is given up");
                self.records.put_document(DocumentKind::Intent, &id, None).await?;
                settled.dropped += 1;
                continue;
            };
            let rule = u32::try_from(rule).unwrap_or(u32::MAX);
            let errand = Errand { rule, settings, path: &path, remote: &remote, clock, request_id };
            let _claim = self.copies.claim(&path).await;
            // somebody may have settled it while we waited
            let Some(content) = self.records.document(DocumentKind::Intent, &id)? else { continue };
            let intent = Intent::decode(&content).ok_or(SealError::Form)?;
            match self.found(&errand, intent).await {
                Ok(Found::Applied(_)) => settled.applied += 1,
                Ok(Found::Dropped) => settled.dropped += 1,
                Ok(Found::Overtaken) => settled.overtaken += 1,
                Ok(Found::Open(_)) => settled.open += 1,
                Err(WriteError::Seal(error)) => return Err(error),
                // both sides agree on what could be carried out, or the next run sees that they do not
                Err(_) => settled.applied += 1,
            }
        }
        Ok(settled)
    }

    /// Settles an earlier write of the path, so that a new one starts from something known.
    pub(super) async fn settle_before(&self, errand: &Errand<'_>) -> Result<(), WriteError> {
        let id = Intent::id(&self.id, errand.path);
        let Some(content) = self.records.document(DocumentKind::Intent, &id)? else { return Ok(()) };
        let intent = Intent::decode(&content).ok_or(SealError::Form)?;
        match self.found(errand, intent).await {
            Ok(Found::Applied(_) | Found::Dropped) | Err(WriteError::Metadata(_)) => Ok(()),
            Ok(Found::Overtaken) => Err(WriteError::Conflict),
            Ok(Found::Open(error)) => Err(WriteError::Pending(error)),
            Err(error) => Err(error),
        }
    }

    /// The answer to a write was lost: what the client is told depends on what is there now.
    pub(super) async fn read_back(
        &self,
        errand: &Errand<'_>,
        intent: Intent,
        lost: BackendError,
    ) -> Result<Outcome, WriteError> {
        match self.found(errand, intent).await? {
            Found::Applied(outcome) => Ok(outcome),
            Found::Overtaken => Err(WriteError::Conflict),
            Found::Dropped | Found::Open(_) => Err(lost.into()),
        }
    }

    async fn found(&self, errand: &Errand<'_>, intent: Intent) -> Result<Found, WriteError> {
        let ask = self.ask(errand.settings, errand.remote, errand.request_id);
        let sight = match self.look(ask, false).await {
            Ok(sight) => sight,
            Err(error) => return Ok(Found::Open(error)),
        };
        let verdict = match &intent.step {
            Step::Put { .. } => match self.judge_put(errand, &intent, sight.as_ref()).await {
                Ok(verdict) => verdict,
                Err(error) => return Ok(Found::Open(error)),
            },
            _ => intent.judge(sight.as_ref().map(|sight| (&sight.mark, Some(&sight.described)))),
        };
        match verdict {
            Verdict::Applied(info) => Ok(Found::Applied(self.conclude(errand, intent, info).await?)),
            Verdict::Dropped => {
                self.forget(errand, &intent).await?;
                Ok(Found::Dropped)
            }
            Verdict::Overtaken => {
                self.overtaken(errand, intent, sight.map(|sight| sight.mark)).await?;
                Ok(Found::Overtaken)
            }
        }
    }

    /// Whether a newer version on the other side is the one we sent.
    async fn judge_put(
        &self,
        errand: &Errand<'_>,
        intent: &Intent,
        sight: Option<&Sight>,
    ) -> Result<Verdict, BackendError> {
        if intent.is_untouched(sight.map(|sight| &sight.mark)) {
            return Ok(Verdict::Dropped);
        }
        let (Some(sight), Some(value)) = (sight, &intent.value) else { return Ok(Verdict::Overtaken) };
        if sight.is_bare {
            let is_ours = sight.value().is_some_and(|found| edit::is_same(found, value));
            return Ok(if is_ours { Verdict::Applied(Some(unnumbered(intent))) } else { Verdict::Overtaken });
        }
        let ask = self.ask(errand.settings, errand.remote, errand.request_id);
        for info in intent.candidates(&sight.described).take(MAX_CANDIDATES) {
            let read = self.value_at(ask, &selector_of(info)).await?;
            if read.is_some_and(|(found, _)| edit::is_same(&found, value)) {
                return Ok(Verdict::Applied(Some(info.clone())));
            }
        }
        Ok(Verdict::Overtaken)
    }

    /// The write is done over there; `info` is the version a put made.
    pub(super) async fn conclude(
        &self,
        errand: &Errand<'_>,
        mut intent: Intent,
        info: Option<VersionInfo>,
    ) -> Result<Outcome, WriteError> {
        let ask = self.ask(errand.settings, errand.remote, errand.request_id);
        let mut lost = None;
        if let Step::Put { metadata: Some(metadata), .. } = &intent.step {
            lost = self.client.write(ask, RemoteChange::Metadata(metadata)).await.err();
        }
        // both sides agree on what is there now, if it is what was written; an unanswered look leaves that to the next run
        let sight = self.look(ask, false).await.ok();
        if let (Some(Some(sight)), Some(value)) = (&sight, &intent.value)
            && sight.is_bare
            && !sight.value().is_some_and(|found| edit::is_same(found, value))
        {
            self.forget(errand, &intent).await?;
            return Err(self.outdated(errand));
        }
        if let (Step::Put { metadata: Some(metadata), .. }, Some(Some(sight))) = (&intent.step, &sight)
            && sight.described.metadata == *metadata
        {
            lost = None;
        }
        let now = errand.clock.now();
        let writer = self.records.writer().await;
        let origin = Some(self.origin(errand.settings, errand.remote));
        let (head, spent) = match self.standing(errand.settings, errand.path)? {
            // done over there; the copy is given up
            _ if !self.is_live(errand.settings.route) => (None, Vec::new()),
            Standing::Copy(head) if !head.is_expired(now) => (Some(head), Vec::new()),
            Standing::Empty if intent.copied => (Some(Head { origin, ..Head::default() }), Vec::new()),
            // numbers go on where the copy of another route, or of a secret that is gone, left off
            Standing::Spent(before) | Standing::Copy(before) if intent.copied => (
                Some(Head { current: before.next() - 1, origin, ..Head::default() }),
                before.versions.into_keys().collect(),
            ),
            Standing::Empty | Standing::Spent(_) | Standing::Copy(_) | Standing::Foreign => (None, Vec::new()),
        };
        let (changes, outcome): (Vec<Change>, Outcome) = match head {
            Some(head) => {
                let done = Done { errand, now, info: info.as_ref(), sight };
                let (mut change, outcome) = self.brought_along(done, head, &mut intent, lost.is_some());
                if let Some(change) = &mut change {
                    let is_reused = |number: &u64| change.values.iter().any(|(of, _)| of == number);
                    let left: Vec<u64> = spent.into_iter().filter(|number| !is_reused(number)).collect();
                    change.gone.extend(left);
                }
                (change.into_iter().collect(), outcome)
            }
            None => {
                self.copies.want(errand.rule, errand.path);
                self.copies.refresh(errand.rule, errand.path);
                (Vec::new(), told(info, &intent))
            }
        };
        let ended = self.ended(errand.path, &intent)?;
        self.records.commit_all(&writer, changes, ended).await?;
        match lost {
            None => Ok(outcome),
            Some(error) => Err(WriteError::Metadata(error)),
        }
    }

    /// The copy after a write that was carried out over there; `None` if the engine was faster.
    fn brought_along(
        &self,
        done: Done<'_>,
        head: Head,
        intent: &mut Intent,
        is_metadata_lost: bool,
    ) -> (Option<Change>, Outcome) {
        let Done { errand, now, info, sight } = done;
        let path = errand.path.clone();
        if intent.step == Step::Purge {
            let gone = head.versions.keys().copied().collect();
            if !matches!(sight, Some(None)) {
                self.copies.refresh(errand.rule, errand.path);
            }
            return (Some(Change { path, head: None, values: Vec::new(), gone }), Outcome::Done);
        }
        let written = intent.value.take();
        let intent: &Intent = intent;
        let made = info.and_then(|info| info.native_id.as_deref());
        let sight = sight.flatten().filter(|sight| sight.is_bare || is_wanted(sight, intent, info));
        let (mut head, values, gone) = match sight {
            Some(mut sight) => {
                if let Some(value) = written {
                    let current = sight.described.current_version;
                    let is_it = |known: &VersionInfo| match made {
                        Some(made) => known.native_id.as_deref() == Some(made),
                        None => known.version == current,
                    };
                    let at = sight.described.versions.iter().position(is_it);
                    let known = at.and_then(|at| sight.described.versions.get_mut(at));
                    let number = known.as_ref().map_or(current, |known| known.version);
                    if let (Some(known), Some(info)) = (known, info.filter(|_| made.is_some())) {
                        known.created_at = info.created_at;
                    }
                    sight.fetched.insert(number, (value, intent.secret_type()));
                }
                let taken = self.taken(errand.settings, errand.remote, sight, (Some(&head), true), now);
                (taken.head, taken.values, taken.gone)
            }
            None => {
                self.copies.refresh(errand.rule, errand.path);
                match by_hand(errand, head, written, (intent, info), is_metadata_lost, now) {
                    Some(by_hand) => by_hand,
                    None => return (None, told(info.cloned(), intent)),
                }
            }
        };
        let is_label = matches!(intent.step, Step::Label { .. });
        if is_label && head.versions.get(&head.current).is_some_and(|known| !known.held) {
            // a version that was not copied is the current one now
            self.copies.refresh(errand.rule, errand.path);
        }
        let outcome = match info {
            None if is_label => Outcome::Described(Box::new(edit::summary(&head, now))),
            None => Outcome::Done,
            Some(_) => {
                let named = made.and_then(|made| edit::repeated(&head, Some(made)));
                let number = named.or(values.last().map(|(number, _)| *number)).unwrap_or(head.current);
                let known = head.versions.get(&number).cloned().unwrap_or_default();
                Outcome::Written(edit::info(number, &known, now).ranked(head.rank(number)), head.metadata.clone())
            }
        };
        if let Some(origin) = &mut head.origin {
            origin.conflict = None;
        }
        (Some(Change { path, head: Some(head), values, gone }), outcome)
    }

    /// Neither what it was nor what was written: the conflict policy decides what becomes of ours.
    async fn overtaken(
        &self,
        errand: &Errand<'_>,
        mut intent: Intent,
        remote: Option<RemoteMark>,
    ) -> Result<(), WriteError> {
        self.copies.refresh(errand.rule, errand.path);
        let now = errand.clock.now();
        let writer = self.records.writer().await;
        let mut changes = Vec::new();
        let ended = self.ended(errand.path, &intent)?;
        let keeps_ours = self.is_live(errand.settings.route) && self.conflict_policy != ConflictPolicy::BackendWins;
        let is_put = matches!(intent.step, Step::Put { .. });
        if let (Standing::Copy(mut head), Some(value)) =
            (self.standing(errand.settings, errand.path)?, intent.value.take().filter(|_| keeps_ours && is_put))
        {
            let metadata = match &intent.step {
                Step::Put { metadata, .. } => metadata.clone(),
                _ => None,
            };
            let stages = intent.stages().map(|stages| stages.iter().map(|stage| Box::from(stage.as_str())).collect());
            let options = WriteOptions { metadata, stages, ..WriteOptions::default() };
            let (info, gone) = super::here::put_here(&mut head, intent.secret_type(), options, errand.settings, now);
            if let Some(origin) = head.origin.as_mut().filter(|_| self.conflict_policy == ConflictPolicy::Manual) {
                origin.conflict = Some(Conflict { since: now.micros(), remote });
            }
            let values = vec![(info.version, value)];
            changes.push(Change { path: errand.path.clone(), head: Some(head), values, gone });
        }
        Ok(self.records.commit_all(&writer, changes, ended).await?)
    }
}

/// A write that was carried out over there.
struct Done<'a> {
    errand: &'a Errand<'a>,
    now: Timestamp,
    /// The version a put made.
    info: Option<&'a VersionInfo>,
    /// What was found afterwards; `None` if that could not be looked at.
    sight: Option<Option<Sight>>,
}

/// Whether what is found after a write is what it made, and nothing after it.
fn is_wanted(sight: &Sight, intent: &Intent, info: Option<&VersionInfo>) -> bool {
    let described = &sight.described;
    let made = info.and_then(|info| info.native_id.as_deref());
    let has_made = made.is_none_or(|made| described.versions.iter().any(|it| it.native_id.as_deref() == Some(made)));
    // where versions have identifiers, numbers are made up by whoever tells of them
    match intent.leads_to(made) {
        Some(native) => has_made && sight.newest().is_some_and(|newest| newest.native_id.as_deref() == Some(native)),
        None => {
            let before = intent.base.as_ref().map_or(0, |base| base.version);
            described.current_version == info.map_or(before, |info| info.version)
        }
    }
}
