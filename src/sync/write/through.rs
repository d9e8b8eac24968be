//! Writes that go to the backend first.
//!
//! The other side must be what the copy was made of: a backend that can check that itself does (`cas`), elsewhere it is
//! looked at before and after. What is found changed is a conflict for the client and a reason to refresh the copy.

use super::here::{Base, Patched};
use super::{Errand, WriteError};
use crate::backend::{BackendError, Change as RemoteChange};
use crate::seal::edit;
use crate::seal::{DocumentChange, DocumentKind, Head, SealError};
use crate::secret::{
    LabelMove, Outcome, SecretAction, SecretPath, SecretType, SecretValue, VersionInfo, VersionSelector, VersionSet,
    WriteOptions,
};
use crate::sync::Replica;
use crate::sync::intent::{Intent, Step, remote_number};

/// What a write comes to on the other side.
enum Planned {
    Step(Step, Option<SecretValue>),
    /// Nothing is to be changed there.
    Nothing(Outcome),
}

impl Replica {
    /// Writes to the backend, then to the copy.
    pub(super) async fn write_through(&self, errand: &Errand<'_>, action: SecretAction) -> Result<Outcome, WriteError> {
        let Errand { rule, settings, path, remote, request_id, .. } = *errand;
        let _claim = self.copies.claim(path).await;
        self.settle_before(errand).await?;
        let is_put = puts_current(&action);
        let days = match &action {
            SecretAction::Delete(VersionSet::All, days) => *days,
            _ => None,
        };
        let base = self.base(errand, matches!(action, SecretAction::Patch { .. })).await?;
        let origin = base.head.origin.as_ref();
        if origin.is_some_and(|origin| origin.conflict.is_some()) {
            return Err(WriteError::Flagged);
        }
        let agreed = origin.and_then(|origin| origin.agreed.as_ref()).map(|agreed| agreed.local.as_str());
        let is_ahead = base.head.current > 0 && agreed != Some(base.head.fingerprint().as_str());
        if is_ahead && !is_put && !edit::is_tombstone(&base.head) {
            // what is here and not there has to be pushed before its versions can be spoken of over there
            self.copies.refresh(rule, path);
            return Err(WriteError::Conflict);
        }
        let (step, value) = match self.planned(errand, &base, action).await? {
            Planned::Nothing(outcome) => return Ok(outcome),
            Planned::Step(step, value) => (step, value),
        };
        let intent = Intent {
            path: path.as_str().to_owned(),
            remote: remote.as_str().to_owned(),
            route: settings.route,
            made: errand.clock.now().micros(),
            request_id: request_id.to_owned(),
            nonce: Intent::fresh_nonce(),
            base: base.remote,
            copied: base.is_copied,
            step,
            days,
            value,
        };
        self.send(errand, intent, base.is_seen).await
    }

    async fn planned(&self, errand: &Errand<'_>, base: &Base, action: SecretAction) -> Result<Planned, WriteError> {
        let head = &base.head;
        let put = |value, secret_type: SecretType, metadata| {
            let secret_type = secret_type.as_str().to_owned();
            Planned::Step(Step::Put { secret_type, metadata, token: None, stages: None }, Some(value))
        };
        let numbers = |set: &VersionSet| -> Vec<u64> {
            let named = edit::named(head, set).into_iter().filter(|number| *number > 0 && base.remote.is_some());
            named.filter_map(|number| remote_number(head, number)).collect()
        };
        let marked = |step: fn(Vec<u64>) -> Step, versions: Vec<u64>| match versions.is_empty() {
            true => Planned::Nothing(Outcome::Done),
            false => Planned::Step(step(versions), None),
        };
        let is_whole = self.client.capabilities().flat;
        Ok(match action {
            SecretAction::Write { value, secret_type, options } => {
                self.planned_put(errand, head, (value, secret_type), options)?
            }
            SecretAction::Patch { patch, options } => match self.patched(errand, base, &patch, options).await? {
                Patched::Nothing(outcome) => Planned::Nothing(outcome),
                Patched::Write(value, options) => put(value, SecretType::Json, options.metadata),
            },
            SecretAction::WriteMetadata(change) => {
                let is_more = change.cas_required.is_some()
                    || change.max_versions.is_some()
                    || change.delete_after_secs.is_some();
                if is_more {
                    return Err(WriteError::Unsupported);
                }
                edit::check_change(Some(head), &change)?;
                if change.absent {
                    // elsewhere a secret is made with its first value
                    if !self.client.capabilities().labels {
                        return Err(WriteError::Unsupported);
                    }
                    let mut made = Head::default();
                    edit::change(&mut made, change, errand.clock.now());
                    return Ok(Planned::Step(Step::Create(made.metadata), None));
                }
                let mut changed = head.clone();
                edit::change(&mut changed, change, errand.clock.now());
                match changed.metadata == head.metadata && base.remote.is_some() {
                    true => Planned::Nothing(Outcome::Done),
                    false => Planned::Step(Step::Metadata(changed.metadata), None),
                }
            }
            SecretAction::Label(change) => self.planned_label(errand, base, change)?,
            // a store that knows no deleted versions has deleted secrets
            SecretAction::Delete(set, _) if is_whole => self.whole(base, &set, Step::Delete)?,
            SecretAction::Undelete(set) if is_whole => self.whole(base, &set, Step::Undelete)?,
            SecretAction::Destroy(_) if is_whole => return Err(WriteError::Unsupported),
            SecretAction::Delete(set, _) => marked(Step::Delete, numbers(&set)),
            SecretAction::Undelete(set) => marked(Step::Undelete, numbers(&set)),
            SecretAction::Destroy(set) => marked(Step::Destroy, numbers(&set)),
            SecretAction::Purge if base.remote.is_none() => Planned::Nothing(Outcome::Done),
            SecretAction::Purge => Planned::Step(Step::Purge, None),
            _ => return Err(WriteError::Unsupported),
        })
    }

    fn planned_put(
        &self,
        errand: &Errand<'_>,
        head: &Head,
        (value, secret_type): (SecretValue, SecretType),
        options: WriteOptions,
    ) -> Result<Planned, WriteError> {
        if let Some(number) = edit::repeated(head, options.token.as_deref()) {
            let held = self.records.value(errand.path, number)?;
            return Ok(Planned::Nothing(edit::done_before(head, number, held, &value, errand.clock.now())?));
        }
        edit::check(head, &options)?;
        let WriteOptions { metadata, merge, token, stages, .. } = options;
        // what says no more than that the version is the current one is no choice
        let stages = stages.filter(|stages| stages.iter().any(|stage| **stage != *edit::CURRENT));
        // a version that is not the current one is found again by nothing but its identifier
        if stages.is_some() && (token.is_none() || !self.client.capabilities().labels) {
            return Err(WriteError::Unsupported);
        }
        let mut changed = Head { metadata: metadata.clone().unwrap_or(head.metadata.clone()), ..Head::default() };
        edit::merge_metadata(&mut changed, merge);
        let is_changed = metadata.is_some() || changed.metadata != head.metadata;
        let step = Step::Put {
            secret_type: secret_type.as_str().to_owned(),
            metadata: is_changed.then_some(changed.metadata),
            token: token.map(String::from),
            stages: stages.map(|stages| stages.into_iter().map(String::from).collect()),
        };
        Ok(Planned::Step(step, Some(value)))
    }

    /// A move of a label, in the other side's identifiers.
    fn planned_label(&self, errand: &Errand<'_>, base: &Base, change: LabelMove) -> Result<Planned, WriteError> {
        if !self.client.capabilities().labels {
            return Err(WriteError::Unsupported);
        }
        let head = &base.head;
        let foreign = |selector: Option<&VersionSelector>| -> Result<Option<String>, WriteError> {
            let Some(selector) = selector else { return Ok(None) };
            match (edit::select(head, selector)?, selector) {
                (Some(number), _) => {
                    let native = head.versions.get(&number).and_then(|known| known.native.as_deref());
                    // the other side does not have what was written here alone
                    let native = native.filter(|native| *native != edit::ONLY_HERE).ok_or(WriteError::Unsupported)?;
                    Ok(Some(native.to_owned()))
                }
                // one without labels need not be copied: the other side knows it or not
                (None, VersionSelector::Native(id)) if base.remote.is_some() => Ok(Some(id.to_string())),
                (None, _) => Err(edit::EditError::Missing.into()),
            }
        };
        let (from, to) = (foreign(change.from.as_ref())?, foreign(change.to.as_ref())?);
        let is_known = match &change.to {
            None => true,
            Some(to) => edit::select(head, to)?.is_some(),
        };
        if is_known {
            edit::relabel(&mut head.clone(), &change, errand.clock.now())?;
        } else {
            edit::check_move(head, &change, None)?;
        }
        Ok(Planned::Step(Step::Label { stage: change.stage.into(), from, to }, None))
    }

    /// A delete or its undoing, of a secret as a whole: of one version alone it cannot be had.
    fn whole(&self, base: &Base, set: &VersionSet, step: fn(Vec<u64>) -> Step) -> Result<Planned, WriteError> {
        let is_all = match set {
            VersionSet::All | VersionSet::Current => true,
            VersionSet::Numbers(numbers) => numbers.contains(&base.head.current),
        };
        match (is_all, base.remote.is_some()) {
            (false, _) => Err(WriteError::Unsupported),
            (true, false) => Ok(Planned::Nothing(Outcome::NotFound)),
            (true, true) => Ok(Planned::Step(step(Vec::new()), None)),
        }
    }

    /// Remembers, sends, and brings the copy along.
    async fn send(&self, errand: &Errand<'_>, intent: Intent, is_seen: bool) -> Result<Outcome, WriteError> {
        let is_put = matches!(intent.step, Step::Put { .. });
        let is_conditional = is_put && self.client.capabilities().conditional_writes;
        if !is_conditional && !is_seen {
            self.compare(errand, &intent).await?;
        }
        self.remember(errand, &intent).await?;
        let expected = is_conditional.then(|| intent.base.as_ref().map_or(0, |base| base.version));
        let mut result = self.carry(errand, &intent, expected).await;
        if is_conditional && matches!(result, Err(BackendError::Unsupported)) {
            // an engine that keeps no versions cannot check: it is looked at instead
            if !is_seen && let Err(error) = self.compare(errand, &intent).await {
                self.forget(errand, &intent).await?;
                return Err(error);
            }
            result = self.carry(errand, &intent, None).await;
        }
        match result {
            Ok(Outcome::Written(info, _)) => self.conclude(errand, intent, Some(info)).await,
            Ok(Outcome::NotFound) if !is_put => {
                self.forget(errand, &intent).await?;
                let outdated = self.outdated(errand);
                // the version named may be one that was never copied
                let is_label = matches!(intent.step, Step::Label { .. });
                Err(if is_label { edit::EditError::Missing.into() } else { outdated })
            }
            Ok(_) => {
                let info = is_put.then(|| unnumbered(&intent));
                self.conclude(errand, intent, info).await
            }
            Err(BackendError::Unknown(text)) => self.read_back(errand, intent, BackendError::Unknown(text)).await,
            Err(BackendError::Conflict) => {
                self.forget(errand, &intent).await?;
                Err(self.outdated(errand))
            }
            Err(error) => {
                self.forget(errand, &intent).await?;
                Err(error.into())
            }
        }
    }

    /// Makes the intent durable, unless the configuration changed or a write that began under another one is on its way.
    async fn remember(&self, errand: &Errand<'_>, intent: &Intent) -> Result<(), WriteError> {
        let id = Intent::id(&self.id, errand.path);
        let content = intent.encode().ok_or(SealError::Form)?;
        let _writer = self.records.writer().await;
        if !self.is_live(intent.route) || self.records.document(DocumentKind::Intent, &id)?.is_some() {
            return Err(WriteError::Replaced);
        }
        Ok(self.records.put_document(DocumentKind::Intent, &id, Some(&content)).await?)
    }

    /// Asks the backend to do it.
    async fn carry(
        &self,
        errand: &Errand<'_>,
        intent: &Intent,
        expected: Option<u64>,
    ) -> Result<Outcome, BackendError> {
        let ask = self.ask(errand.settings, errand.remote, errand.request_id);
        let set = |versions: &Vec<u64>| match versions.is_empty() {
            true => VersionSet::All,
            false => VersionSet::Numbers(versions.clone()),
        };
        match &intent.step {
            Step::Put { .. } => {
                let Some(value) = &intent.value else { return Err(BackendError::Unsupported) };
                let secret_type = intent.secret_type();
                let (token, stages) = (intent.token(), intent.stages());
                // a deletion that was known when the write was decided on
                let revives = intent.base.as_ref().is_some_and(|base| !base.readable);
                let put = RemoteChange::Put { value, secret_type, expected, token, stages, revives };
                self.client.write(ask, put).await
            }
            Step::Create(metadata) => self.client.write(ask, RemoteChange::Create(metadata)).await,
            Step::Label { stage, from, to } => {
                let label = RemoteChange::Label { stage, from: from.as_deref(), to: to.as_deref() };
                self.client.write(ask, label).await
            }
            Step::Metadata(metadata) => self.client.write(ask, RemoteChange::Metadata(metadata)).await,
            Step::Delete(versions) => self.client.write(ask, RemoteChange::Delete(&set(versions), intent.days)).await,
            Step::Undelete(versions) => self.client.write(ask, RemoteChange::Undelete(&set(versions))).await,
            Step::Destroy(versions) => self.client.write(ask, RemoteChange::Destroy(&set(versions))).await,
            Step::Purge => self.client.write(ask, RemoteChange::Purge).await,
        }
    }

    /// Whether the other side still is what the copy was made of.
    async fn compare(&self, errand: &Errand<'_>, intent: &Intent) -> Result<(), WriteError> {
        let ask = self.ask(errand.settings, errand.remote, errand.request_id);
        let sight = self.look(ask, false).await?;
        if intent.is_untouched(sight.as_ref().map(|sight| &sight.mark)) { Ok(()) } else { Err(self.outdated(errand)) }
    }

    /// The copy is behind: the engine looks at it next.
    pub(super) fn outdated(&self, errand: &Errand<'_>) -> WriteError {
        self.copies.refresh(errand.rule, errand.path);
        WriteError::Conflict
    }

    /// Nothing happened: the intent goes.
    pub(super) async fn forget(&self, errand: &Errand<'_>, intent: &Intent) -> Result<(), WriteError> {
        let writer = self.records.writer().await;
        let ended = self.ended(errand.path, intent)?;
        if !ended.is_empty() {
            self.records.commit_all(&writer, Vec::new(), ended).await?;
        }
        Ok(())
    }

    /// The removal of the intent, as a part of the commit that ends it; nothing if it is another one by now. Meant for who
    /// holds the writer.
    pub(super) fn ended(&self, path: &SecretPath, intent: &Intent) -> Result<Vec<DocumentChange>, SealError> {
        let id = Intent::id(&self.id, path);
        let kept = self.records.document(DocumentKind::Intent, &id)?;
        let is_ours = kept.is_some_and(|content| intent.is_kept_as(&content));
        let removal = is_ours.then_some(DocumentChange { kind: DocumentKind::Intent, id, content: None });
        Ok(removal.into_iter().collect())
    }
}

/// Whether an action makes a version that takes the place of the current one.
fn puts_current(action: &SecretAction) -> bool {
    match action {
        SecretAction::Write { options, .. } => {
            options.stages.as_ref().is_none_or(|stages| stages.iter().any(|stage| **stage == *edit::CURRENT))
        }
        SecretAction::Patch { .. } => true,
        _ => false,
    }
}

/// What is known of a value written to a store that does not number versions.
pub(super) fn unnumbered(intent: &Intent) -> VersionInfo {
    VersionInfo { version: intent.base.as_ref().map_or(1, |base| base.version.max(1)), ..VersionInfo::default() }
}
