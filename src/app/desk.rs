//! Carries out what the API asks of the configuration. The reloader owns both, so that one change follows the other.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::hands::Hands;
use super::made::{self, AllMade, Made};
use super::touch::Touch;
use super::{build, keeper};
use crate::config::{
    Config, Problem, TenantConfig, check_backend, compile_backend, kept_body, patched_body, problems_in_body,
};
use crate::error::ErrorKind;
use crate::pipeline::{Command, DeskError};
use crate::seal::SealError;
use crate::secret::{BackendId, Folder, Tenant};
use crate::sync::{Emptied, Quarantine};

/// Each is a client, a sync and reports.
const MAX_MADE: usize = 100;

/// How many commands run beside the changes of the configuration; more are refused.
const ASIDE: usize = 4;

/// The configuration as it is in force.
pub(super) struct Book {
    pub(super) config: Config,
    pub(super) made: AllMade,
    pub(super) generation: u64,
    aside: Arc<Semaphore>,
}

impl Book {
    pub(super) fn new(config: Config, made: AllMade) -> Self {
        Self { config, made, generation: 1, aside: Arc::new(Semaphore::new(ASIDE)) }
    }

    /// Carries out one command. What fails has changed nothing.
    pub(super) async fn carry_out(&mut self, hands: &Hands, command: Command) -> Result<Value, DeskError> {
        match command {
            Command::Create { tenant, body } => {
                let id = BackendId::from_bytes(ulid::Ulid::new().to_bytes());
                self.put(hands, &tenant, id, body).await
            }
            Command::Patch { tenant, id, body } => {
                let kept = self.find(&tenant, &id).ok_or(DeskError::of(ErrorKind::NotFound))?;
                let body = patched_body(&kept.body, &body);
                self.put(hands, &tenant, id, body).await
            }
            Command::Delete { tenant, id } => self.delete(hands, &tenant, &id).await,
            Command::Adopt { .. } | Command::Purge { .. } | Command::RotateSeal { .. } => {
                Err(DeskError::of(ErrorKind::Internal))
            }
        }
    }

    /// Commands that change no configuration and may take long run beside what does.
    pub(super) fn aside(
        &self,
        hands: &Hands,
        command: Command,
    ) -> Result<impl Future<Output = Result<Value, DeskError>> + Send + use<>, Command> {
        if !matches!(command, Command::Adopt { .. } | Command::Purge { .. } | Command::RotateSeal { .. }) {
            return Err(command);
        }
        let (hands, config) = (hands.clone(), self.config.clone());
        let permit = self.aside.clone().try_acquire_owned();
        Ok(async move {
            let _permit = permit.map_err(|_| DeskError::of(ErrorKind::RateLimited))?;
            // they read and seal many records in one go
            tokio::task::block_in_place(|| Handle::current().block_on(carry_out_aside(&hands, &config, command)))
        })
    }

    fn find(&self, tenant: &Tenant, id: &BackendId) -> Option<&Made> {
        self.made.get(tenant)?.iter().find(|made| made.id == *id)
    }

    /// Makes a backend, or makes it anew.
    async fn put(&mut self, hands: &Hands, tenant: &Tenant, id: BackendId, body: Value) -> Result<Value, DeskError> {
        let file = self.config.tenants.iter().find(|known| known.tenant == *tenant);
        let file = file.ok_or(DeskError::of(ErrorKind::Denied))?;
        let durable = made::is_durable(&self.config);
        // what is kept has its rules as a list; what is compiled is what was sent, so that an object's rules are checked
        let settings = compile_backend(&body.to_string(), durable).map_err(wrong)?;
        let mut next = self.made.clone();
        let list = next.entry(tenant.clone()).or_default();
        let others: Vec<_> = list.iter().filter(|made| made.id != id).map(|made| &made.settings).collect();
        let others: Vec<_> = file.backends.iter().chain(others).collect();
        let mut tenant_now = file.clone();
        if hands.extras.dev {
            // what no rule maps is local
            tenant_now.local.folders = vec![Folder::root()];
        }
        let mut problems = check_backend(&settings, &tenant_now, &others);
        let allowed = build::allowed(&self.config, file, &hands.extras).map_err(wrong)?;
        problems.extend(allowed.check(&settings));
        if !problems.is_empty() {
            return Err(wrong(problems));
        }
        let is_new = list.iter().all(|made| made.id != id);
        if is_new && list.len() >= MAX_MADE {
            let text = format!("a tenant has at most {MAX_MADE} backends made over the API");
            return Err(DeskError::at(ErrorKind::Conflict, "name", text));
        }
        let made = Made { id: id.clone(), body: kept_body(&body), settings };
        match list.iter_mut().find(|known| known.id == id) {
            Some(known) => *known = made.clone(),
            None => list.push(made.clone()),
        }
        let served = list.iter().filter(|made| made.unsupported(&allowed).is_none());
        let index = file.backends.len() + served.take_while(|made| made.id != id).count();
        let generation = self.generation + 1;
        let staged = hands.stage_one(Touch { config: &self.config, tenant: file, made: list, id: &id, generation });
        let staged = staged.map_err(|found| refused(problems_in_body(own(found, file), file, index)))?;
        made::keep(&hands.ground, tenant, &id, Some(&made)).await.map_err(unkept)?;
        hands.commit_one(staged).await;
        self.made = next;
        self.generation += 1;
        Ok(shown(hands, tenant, &id))
    }

    async fn delete(&mut self, hands: &Hands, tenant: &Tenant, id: &BackendId) -> Result<Value, DeskError> {
        let mut next = self.made.clone();
        let list = next.get_mut(tenant).ok_or(DeskError::of(ErrorKind::NotFound))?;
        let before = list.len();
        list.retain(|made| made.id != *id);
        if list.len() == before {
            return Err(DeskError::of(ErrorKind::NotFound));
        }
        let file = self.config.tenants.iter().find(|known| known.tenant == *tenant);
        let file = file.ok_or(DeskError::of(ErrorKind::Denied))?;
        let generation = self.generation + 1;
        let staged = hands.stage_one(Touch { config: &self.config, tenant: file, made: list, id, generation });
        let staged = staged.map_err(|found| refused(own(found, file)))?;
        made::keep(&hands.ground, tenant, id, None).await.map_err(unkept)?;
        hands.commit_one(staged).await;
        self.made = next;
        self.generation += 1;
        let records = hands.ground.records(tenant).map_err(|problem| wrong(vec![problem]))?;
        if let Err(error) = hands.engine.forget(&records, id).await {
            tracing::warn!(%error, "the reports of a deleted backend could not be removed");
        }
        Ok(Value::Null)
    }
}

async fn carry_out_aside(hands: &Hands, config: &Config, command: Command) -> Result<Value, DeskError> {
    match command {
        Command::Adopt { tenant, id } => {
            let now = hands.ground.clock.now();
            let emptied = quarantine(hands, &tenant, async |all| all.adopt(Some(&id), now).await).await?;
            let left = emptied.left.iter().map(|(path, reason)| json!({"path": path.as_str(), "reason": reason}));
            Ok(json!({"adopted": emptied.done, "left": left.collect::<Vec<_>>()}))
        }
        Command::Purge { tenant, id } => {
            let emptied = quarantine(hands, &tenant, async |all| all.purge(Some(&id)).await).await?;
            Ok(json!({"purged": emptied.done}))
        }
        Command::RotateSeal { tenant, root } => rotate(hands, config, &tenant, root).await,
        Command::Create { .. } | Command::Patch { .. } | Command::Delete { .. } => {
            Err(DeskError::of(ErrorKind::Internal))
        }
    }
}

async fn quarantine(
    hands: &Hands,
    tenant: &Tenant,
    work: impl AsyncFnOnce(Quarantine<'_>) -> Result<Emptied, SealError>,
) -> Result<Emptied, DeskError> {
    let snapshot = hands.pipeline.current();
    let state = snapshot.tenants.get(tenant).ok_or(DeskError::of(ErrorKind::Denied))?;
    let replicas: Vec<_> = state.backends.iter().filter_map(|backend| backend.replica.clone()).collect();
    let all = Quarantine { records: &state.records, router: &state.router, replicas: &replicas };
    work(all).await.map_err(unkept)
}

async fn rotate(hands: &Hands, config: &Config, tenant: &Tenant, root: bool) -> Result<Value, DeskError> {
    let none = || DeskError::at(ErrorKind::Unsupported, "store.path", "a store in memory has no key to rotate");
    let keyring = hands.ground.keeper().keyring().ok_or_else(none)?;
    if root {
        // the root key is everybody's
        if config.tenants.len() > 1 && *tenant != Tenant::default_tenant() {
            return Err(DeskError::at(ErrorKind::Denied, "key", "the root key is rotated by tenant default"));
        }
        let provider = keeper::current(config).map_err(|problem| wrong(vec![problem]))?;
        keyring.rotate_root(&*provider).await.map_err(unkept)?;
        return Ok(json!({"key": "root"}));
    }
    let records = hands.ground.records(tenant).map_err(|problem| wrong(vec![problem]))?;
    let rotation = keyring.rotate_tenant(&records).await.map_err(unkept)?;
    Ok(json!({"key": "tenant", "term": rotation.term, "resealed": rotation.resealed}))
}

/// A tenant is told of its own problems. Of others' it learns that there are some.
fn own(problems: Vec<Problem>, tenant: &TenantConfig) -> Vec<Problem> {
    let prefix = tenant.key_of("");
    let is_own = |problem: &Problem| !problem.key.starts_with("tenants.") || problem.key.starts_with(&prefix);
    let (own, foreign): (Vec<_>, Vec<_>) = problems.into_iter().partition(is_own);
    if own.is_empty() && !foreign.is_empty() {
        let text = "something outside this tenant stands in the way; the operator's log says what";
        return vec![Problem::new("(process)", None, text)];
    }
    own
}

fn shown(hands: &Hands, tenant: &Tenant, id: &BackendId) -> Value {
    let snapshot = hands.pipeline.current();
    let state = snapshot.tenants.get(tenant);
    state.and_then(|state| state.federation.find(id)).map_or(Value::Null, crate::pipeline::BackendView::shown)
}

fn pairs(problems: Vec<Problem>) -> Vec<(String, String)> {
    problems.into_iter().map(|problem| (problem.key, problem.message)).collect()
}

fn wrong(problems: Vec<Problem>) -> DeskError {
    DeskError { kind: ErrorKind::Malformed, problems: pairs(problems) }
}

/// What cannot be put in force beside what there is.
fn refused(problems: Vec<Problem>) -> DeskError {
    let is_flip = problems.iter().any(|problem| problem.key.ends_with("].mode"));
    let kind = if is_flip { ErrorKind::Conflict } else { ErrorKind::Malformed };
    DeskError { kind, problems: pairs(problems) }
}

fn unkept(error: SealError) -> DeskError {
    DeskError::at(error.kind(), "store", error.to_string())
}
