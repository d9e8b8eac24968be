//! Changes: laid on the desk, with a line in the trail before and one after, on a task of their own so that a client that
//! leaves does not take them along.

use serde_json::Value;

use super::ok;
use super::view::{BackendSource, BackendView};
use crate::audit::Note;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::pipeline::Line;
use crate::pipeline::desk::{Command, DeskError};
use crate::policy::{Resource, SystemArea};
use crate::secret::BackendId;
use crate::wire::{Fault, Shape, WireResponse};

const IN_FILE: &str = "this backend is one of the configuration file; change it there";

/// The words of a change in the trail: before, and after.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) &'static str, pub(super) &'static str);

impl Line<'_> {
    /// `POST /v1/seal/rotate`.
    pub(in crate::pipeline) async fn rotate_seal(
        &self,
        root: bool,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        self.permit(tenant, caller, Resource::System(SystemArea::Seal)).await?;
        let command = Command::RotateSeal { tenant: caller.principal.tenant().clone(), root };
        let words = if root {
            Words("rotate_root_intent", "rotate_root")
        } else {
            Words("rotate_tenant_intent", "rotate_tenant")
        };
        let rotated = self.change(caller, words, None, command).await?;
        Ok(self.encode(shape, ok(rotated), None, false))
    }

    /// Backends of the file are changed in the file.
    pub(super) async fn writable(&self, view: &BackendView, caller: &Caller, word: &'static str) -> Result<(), Fault> {
        let BackendSource::File { key } = &view.source else { return Ok(()) };
        self.record(caller, Note::failed(ErrorKind::Conflict, word).about(view.id.as_str())).await?;
        Err(self.wrong(DeskError::at(ErrorKind::Conflict, &**key, IN_FILE)))
    }

    /// Lays a command down, with a line before and one after it, on a task of its own.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        Words(intent, outcome): Words,
        target: Option<&BackendId>,
        command: Command,
    ) -> Result<Value, Fault> {
        let about = |note: Note, target: Option<&str>| match target {
            Some(target) => note.about(target),
            None => note,
        };
        self.record(caller, about(Note::ok(intent), target.map(BackendId::as_str))).await?;
        let (pipeline, subject) = (self.pipeline.clone(), self.subject(Some(caller), self.operation));
        let target = target.cloned();
        let task = tokio::spawn(async move {
            let result = pipeline.desk.ask(command).await;
            let note = match &result {
                Ok(_) => Note::ok(outcome),
                Err(error) => Note::failed(error.kind, outcome),
            };
            let made = result.as_ref().ok().and_then(|made| made.get("id")).and_then(Value::as_str);
            let note = about(note, target.as_ref().map(BackendId::as_str).or(made));
            match pipeline.auditor.record(subject, note).await {
                Ok(()) => result,
                Err(error) => Err(DeskError::of(error.kind())),
            }
        });
        task.await.unwrap_or(Err(DeskError::of(ErrorKind::Internal))).map_err(|error| self.wrong(error))
    }

    /// Keeps what is wrong, key by key, for the answer.
    pub(super) fn wrong(&self, error: DeskError) -> Fault {
        let DeskError { kind, problems } = error;
        let _first_kept = self.problems.set(problems);
        Fault::of(kind)
    }
}
