//! Calls about backends: who may, a line in the trail, then the answer. Reads come from the snapshot and the sync engine;
//! changes lie on the desk and are carried out by whoever owns the configuration.
//!
//! Who asks about a backend must be allowed to administer it; one that does not exist looks like one that is not theirs.
//! What a backend can reach (its rules, its login) is the business of those who may make backends. A change has a line
//! before it and one after, and goes on when its client has left.

mod change;
mod probe;
mod view;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

pub use view::{BackendSource, BackendView, FederationView};

use self::change::Words;
use super::desk::{Command, DeskError};
use super::{Line, No, TenantState};
use crate::audit::{Note, Refusal};
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::policy::{Resource, SystemArea};
use crate::secret::{Action, BackendId, Mode, Operation, SecretPath};
use crate::sync::{Keep, Progress, Quarantine, Replica, Report};
use crate::wire::{Answer, BackendAction, Fault, FederationRequest, JsonBody, Shape, Winner, WireResponse};

/// What decides which remote secrets a backend can reach, and as whom.
const REACH: [&str; 4] = ["name", "type", "config", "path_mapping"];
const NOT_SYNCED: &str = "nothing of this backend is synced; set mode: sync on it or on a rule";
const NO_SUCH: &str = "no backend of this tenant has this id";
const FEDERATION: Resource<'static> = Resource::System(SystemArea::Federation);

/// Which operation a call counts as.
pub(super) const fn operation(request: &FederationRequest) -> Operation {
    match request {
        FederationRequest::List => Operation::FederationRead,
        FederationRequest::Create(_) => Operation::FederationWrite,
        FederationRequest::Backend { action, .. } => match action {
            BackendAction::Show
            | BackendAction::Check
            | BackendAction::Syncs
            | BackendAction::Run(_)
            | BackendAction::Status
            | BackendAction::Conflicts
            | BackendAction::Quarantine => Operation::FederationRead,
            BackendAction::Update(_)
            | BackendAction::Delete
            | BackendAction::Sync(_)
            | BackendAction::Cancel(_)
            | BackendAction::Resolve { .. }
            | BackendAction::Adopt
            | BackendAction::Purge => Operation::FederationWrite,
        },
    }
}

/// A backend that was found and may be administered.
struct Found<'t> {
    tenant: &'t TenantState,
    view: &'t BackendView,
}

impl Found<'_> {
    fn replica(&self) -> Option<&std::sync::Arc<Replica>> {
        let index = usize::try_from(self.view.index?).ok()?;
        self.tenant.backends.get(index)?.replica.as_ref()
    }
}

impl Line<'_> {
    pub(super) async fn federation(
        &self,
        request: FederationRequest,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        let answer = match request {
            FederationRequest::List => ok(self.list_backends(tenant, caller).await?),
            FederationRequest::Create(JsonBody(body)) => {
                self.permit(tenant, caller, FEDERATION).await?;
                let command = Command::Create { tenant: caller.principal.tenant().clone(), body };
                let words = Words("backend_create_intent", "backend_create");
                let made = self.change(caller, words, None, command).await?;
                let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
                located(StatusCode::CREATED, view::location(id, ""), made)
            }
            FederationRequest::Backend { id, action } => self.backend_call(tenant, caller, &id, action).await?,
        };
        Ok(self.encode(shape, answer, None, false))
    }

    /// Those the caller may administer. Who may administer none and may make none is refused.
    async fn list_backends(&self, tenant: &TenantState, caller: &Caller) -> Result<Value, Fault> {
        let may =
            |view: &&BackendView| self.decide(tenant, caller, Action::Administer, view.resource(), Mode::Local).is_ok();
        let shown: Vec<Value> = tenant.federation.backends.iter().filter(may).map(BackendView::shown).collect();
        if shown.is_empty() {
            self.permit(tenant, caller, FEDERATION).await?;
        }
        self.record(caller, Note::ok("backend_list")).await?;
        Ok(json!({"backends": shown}))
    }

    async fn backend_call(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        id: &BackendId,
        action: BackendAction,
    ) -> Result<Answer<'static>, Fault> {
        let command = match action {
            // copies may outlive their backend
            BackendAction::Quarantine => return self.quarantine(tenant, caller, id).await.map(ok),
            BackendAction::Adopt => {
                self.permit_known(tenant, caller, id).await?;
                Command::Adopt { tenant: caller.principal.tenant().clone(), id: id.clone() }
            }
            BackendAction::Purge => {
                self.permit_known(tenant, caller, id).await?;
                Command::Purge { tenant: caller.principal.tenant().clone(), id: id.clone() }
            }
            action => {
                let view = self.find(tenant, caller, id).await?;
                return self.on_found(Found { tenant, view }, caller, action).await;
            }
        };
        let words = match command {
            Command::Adopt { .. } => Words("quarantine_adopt_intent", "quarantine_adopt"),
            _ => Words("quarantine_purge_intent", "quarantine_purge"),
        };
        self.change(caller, words, Some(id), command).await.map(ok)
    }

    async fn on_found(
        &self,
        found: Found<'_>,
        caller: &Caller,
        action: BackendAction,
    ) -> Result<Answer<'static>, Fault> {
        let id = &found.view.id;
        let owner = || caller.principal.tenant().clone();
        match action {
            BackendAction::Update(JsonBody(body)) => {
                self.writable(found.view, caller, "backend_update").await?;
                if REACH.iter().any(|key| body.get(key).is_some()) {
                    self.permit(found.tenant, caller, FEDERATION).await?;
                }
                let command = Command::Patch { tenant: owner(), id: id.clone(), body };
                self.change(caller, Words("backend_update_intent", "backend_update"), Some(id), command).await.map(ok)
            }
            BackendAction::Delete => {
                self.writable(found.view, caller, "backend_delete").await?;
                let command = Command::Delete { tenant: owner(), id: id.clone() };
                let words = Words("backend_delete_intent", "backend_delete");
                self.change(caller, words, Some(id), command).await.map(|_| Answer::Done)
            }
            BackendAction::Sync(paths) => self.sync(&found, caller, paths).await,
            BackendAction::Cancel(run) => self.cancel(&found, caller, &run).await,
            BackendAction::Resolve { path, keep } => self.resolve_conflict(&found, caller, path, keep).await,
            other => self.look(&found, caller, other).await.map(ok),
        }
    }

    /// The calls that change nothing.
    async fn look(&self, found: &Found<'_>, caller: &Caller, action: BackendAction) -> Result<Value, Fault> {
        let (id, engine) = (&found.view.id, &self.pipeline.engine);
        let owner = caller.principal.tenant();
        let word = match &action {
            BackendAction::Check => "backend_check",
            BackendAction::Syncs => "sync_list",
            BackendAction::Run(_) => "sync_show",
            BackendAction::Status => "backend_status",
            BackendAction::Conflicts => "conflict_list",
            _ => "backend_show",
        };
        self.record(caller, Note::ok(word).about(id.as_str())).await?;
        match action {
            BackendAction::Check => Ok(probe::check(found.tenant, found.view, &self.id_text).await),
            BackendAction::Syncs => Ok(json!({"syncs": document(&engine.runs(owner, id))?})),
            BackendAction::Run(run) => self.one_run(caller, id, &run),
            BackendAction::Status => match engine.status(owner, id).filter(|_| found.replica().is_some()) {
                Some(status) => with_reason(document(&status)?),
                None => Ok(probe::status(found.tenant, found.view).await),
            },
            BackendAction::Conflicts => {
                let all = found.replica().map(|replica| replica.conflicts()).unwrap_or_default();
                let shown = all.iter().map(|item| {
                    json!({
                        "path": item.path.as_str(), "remote": item.remote, "since": item.since.rfc3339(),
                        "local_version": item.local_version, "remote_version": item.remote_version,
                        "agreed_version": item.agreed_version,
                    })
                });
                Ok(json!({"conflicts": shown.collect::<Vec<_>>()}))
            }
            _ => Ok(found.view.shown()),
        }
    }

    async fn sync(
        &self,
        found: &Found<'_>,
        caller: &Caller,
        paths: Option<Vec<SecretPath>>,
    ) -> Result<Answer<'static>, Fault> {
        let id = &found.view.id;
        let foreign: Vec<(String, String)> = paths
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, path)| !is_synced(found, path))
            .map(|(at, _)| (format!("paths[{at}]"), "is not synced from this backend".to_owned()))
            .collect();
        if !foreign.is_empty() {
            self.record(caller, Note::failed(ErrorKind::Malformed, "sync").about(id.as_str())).await?;
            return Err(self.wrong(DeskError { kind: ErrorKind::Malformed, problems: foreign }));
        }
        self.record(caller, Note::ok("sync").about(id.as_str())).await?;
        // what memory holds of them is read anew as well
        for path in paths.iter().flatten() {
            found.tenant.records.evict(path).map_err(|error| Fault::of(error.kind()))?;
        }
        let run = self.pipeline.engine.sync_now(caller.principal.tenant(), id, paths);
        let run = run.ok_or(Fault::because(ErrorKind::Conflict, NOT_SYNCED))?.to_string();
        let at = view::location(id.as_str(), &format!("/syncs/{run}"));
        Ok(located(StatusCode::ACCEPTED, at, json!({"run": run, "state": "started"})))
    }

    async fn cancel(&self, found: &Found<'_>, caller: &Caller, run: &str) -> Result<Answer<'static>, Fault> {
        let id = &found.view.id;
        self.record(caller, Note::ok("sync_cancel").about(id.as_str())).await?;
        let is_running = self.running(caller, id, run).is_some();
        if is_running && self.pipeline.engine.cancel(caller.principal.tenant(), id) {
            return Ok(Answer::Done);
        }
        Err(Fault::because(ErrorKind::Conflict, "this sync does not run (any more)"))
    }

    /// One run's report, or how far it is.
    fn one_run(&self, caller: &Caller, id: &BackendId, run: &str) -> Result<Value, Fault> {
        let (engine, owner) = (&self.pipeline.engine, caller.principal.tenant());
        // asked first: the report is kept before the run is open no longer
        let is_open = engine.is_ordered(owner, id, run);
        match engine.run(owner, id, run) {
            Some(report) => document(&report),
            None if is_open => {
                let queued = || Progress { run: run.to_owned(), total: None, done: 0 };
                under_way(&self.running(caller, id, run).unwrap_or_else(queued))
            }
            None => Err(Fault::because(ErrorKind::NotFound, "no sync of this backend has this id")),
        }
    }

    /// How far a run is, if it is the one under way.
    fn running(&self, caller: &Caller, id: &BackendId, run: &str) -> Option<Progress> {
        let status = self.pipeline.engine.status(caller.principal.tenant(), id)?;
        status.running.filter(|progress| progress.run == run)
    }

    /// Decides a conflict on a task of its own: it may change both sides.
    async fn resolve_conflict(
        &self,
        found: &Found<'_>,
        caller: &Caller,
        path: SecretPath,
        keep: Winner,
    ) -> Result<Answer<'static>, Fault> {
        let none = Fault::because(ErrorKind::NotFound, "there is no conflict of this secret");
        let Some(replica) = found.replica().cloned() else { return Err(none) };
        self.record(caller, Note::ok("conflict_resolve_intent").about(path.as_str())).await?;
        let (pipeline, subject) = (self.pipeline.clone(), self.subject(Some(caller), self.operation));
        let id_text = self.id_text;
        let task = tokio::spawn(async move {
            let keep = match keep {
                Winner::Local => Keep::Local,
                Winner::Backend => Keep::Backend,
            };
            let result = replica.resolve(&path, keep, &*pipeline.clock, &id_text).await;
            let result = result.map_err(|error| {
                tracing::warn!(request_id = %id_text, error = %error, "a conflict was not resolved");
                Fault { detail: error.detail(), ..Fault::of(error.kind()) }
            });
            let note = match &result {
                Ok(()) => Note::ok("conflict_resolve"),
                Err(fault) => Note::failed(fault.kind, "conflict_resolve"),
            };
            match pipeline.auditor.record(subject, note.about(path.as_str())).await {
                Ok(()) => result,
                Err(error) => Err(Fault::of(error.kind())),
            }
        });
        task.await.unwrap_or(Err(Fault::of(ErrorKind::Internal))).map(|()| Answer::Done)
    }

    async fn quarantine(&self, tenant: &TenantState, caller: &Caller, id: &BackendId) -> Result<Value, Fault> {
        self.permit_known(tenant, caller, id).await?;
        self.record(caller, Note::ok("quarantine_list").about(id.as_str())).await?;
        let replicas: Vec<_> = tenant.backends.iter().filter_map(|backend| backend.replica.clone()).collect();
        let quarantine = Quarantine { records: &tenant.records, router: &tenant.router, replicas: &replicas };
        let held = quarantine.list(Some(id)).map_err(|error| Fault::of(error.kind()))?;
        let shown = held.iter().map(|copy| {
            json!({
                "path": copy.path.as_str(), "remote": copy.remote, "ahead": copy.is_ahead,
                "conflicted": copy.is_conflicted, "agreed_at": copy.agreed_at.map(|at| at.rfc3339()),
            })
        });
        Ok(json!({"count": held.len(), "copies": shown.collect::<Vec<_>>()}))
    }

    /// The backend of an id, if the caller may administer it. Whether an unknown id is unknown is told to those who may
    /// make backends.
    async fn find<'t>(
        &self,
        tenant: &'t TenantState,
        caller: &Caller,
        id: &BackendId,
    ) -> Result<&'t BackendView, Fault> {
        self.permit_known(tenant, caller, id).await?;
        if let Some(view) = tenant.federation.find(id) {
            return Ok(view);
        }
        self.record(caller, Note::failed(ErrorKind::NotFound, "backend").about(id.as_str())).await?;
        Err(Fault::because(ErrorKind::NotFound, NO_SUCH))
    }

    /// Whether the caller may administer the backend of an id; for an id without a backend, backends as such.
    async fn permit_known(&self, tenant: &TenantState, caller: &Caller, id: &BackendId) -> Result<(), Fault> {
        let resource = tenant.federation.find(id).map_or(FEDERATION, BackendView::resource);
        self.permit(tenant, caller, resource).await
    }

    async fn permit(&self, tenant: &TenantState, caller: &Caller, resource: Resource<'_>) -> Result<(), Fault> {
        match self.decide(tenant, caller, Action::Administer, resource, Mode::Local) {
            Ok(_) => Ok(()),
            Err(denial) => {
                let refusal = Refusal::Denied { path: None, denial, rule: None };
                Err(self.refused(Some(caller), No::new(refusal, Fault::of(ErrorKind::Denied))).await)
            }
        }
    }
}

/// Whether a path is copied from the backend.
fn is_synced(found: &Found<'_>, path: &SecretPath) -> bool {
    found.tenant.router.resolve(path).is_some_and(|route| {
        route.mode == Mode::Sync && route.targets.first().map(|target| target.backend) == found.view.index
    })
}

fn ok(body: Value) -> Answer<'static> {
    Answer::Document { status: StatusCode::OK, body, headers: HeaderMap::new() }
}

fn located(status: StatusCode, at: Option<http::HeaderValue>, body: Value) -> Answer<'static> {
    let headers = at.into_iter().map(|at| (header::LOCATION, at)).collect();
    Answer::Document { status, body, headers }
}

fn document(value: &impl serde::Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|_| Fault::of(ErrorKind::Internal))
}

/// What can be said of a run that has no report yet.
fn under_way(progress: &Progress) -> Result<Value, Fault> {
    let mut report = document(&Report { id: progress.run.clone(), ..Report::default() })?;
    if let Some(fields) = report.as_object_mut() {
        fields.insert("outcome".to_owned(), Value::from("running"));
        fields.insert("done".to_owned(), Value::from(progress.done));
        fields.insert("total".to_owned(), Value::from(progress.total));
    }
    Ok(report)
}

/// The one field that backends without a replica have more.
fn with_reason(mut status: Value) -> Result<Value, Fault> {
    if let Some(fields) = status.as_object_mut() {
        fields.entry("reason").or_insert(Value::Null);
    }
    Ok(status)
}
