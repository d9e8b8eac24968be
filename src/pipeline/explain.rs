//! Why a name is or is not served to somebody: the same tables and policies, asked aloud.
//!
//! A name is tried on every listener of a wire; the one on which it gets farthest answers. Nothing is said of whether the
//! secret exists.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Line, ListenerState, No, Snapshot, TenantState, folders, replica};
use crate::audit::{Note, Refusal, RequestId};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::{Caller, Directory, Method, Principal};
use crate::mapping::{Route, Trial};
use crate::policy::{Context, Decision, Resource, SystemArea};
use crate::secret::{Action, Folder, Mode, SecretPath, Tenant};
use crate::wire::{Answer, ExplainFor, ExplainRequest, Fault, Shape, WireResponse};

const FORGOTTEN: Fault =
    Fault::because(ErrorKind::NotFound, "no failed request of this tenant with this id is remembered");
const NO_LISTENER: Fault = Fault::because(ErrorKind::NotFound, "no listener speaks this wire");

impl Line<'_> {
    pub(super) async fn explain(
        &self,
        request: ExplainRequest,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let value = match request {
            ExplainRequest::Request(id) => self.explain_request(&id, caller).await?,
            ExplainRequest::Name { wire, name, operation, principal } => {
                let asked = principal.as_ref();
                let value = match self.answer(wire.as_deref(), &name, operation.as_deref(), asked, caller) {
                    Ok(value) => value,
                    Err(fault) => {
                        return Err(self
                            .refused(Some(caller), No::new(Refusal::Malformed { path: None }, fault))
                            .await);
                    }
                };
                let note = note(value.is_some());
                match asked {
                    None => self.record(caller, note).await?,
                    Some(asked) => self.administer(caller, SystemArea::Federation, note.about(&asked.id)).await?,
                }
                value.ok_or(NO_LISTENER)?
            }
        };
        Ok(self.encode(shape, Answer::Explained(value), None, false))
    }

    /// What stopped a past request. Callers may ask about their own, who administers the trail about all of the tenant, and
    /// who administers federation about those nobody was recognised for.
    async fn explain_request(&self, id: &str, caller: &Caller) -> Result<Value, Fault> {
        let id = RequestId::parse(id).map_or_else(|| id.to_owned(), |id| id.to_string());
        let tenant = caller.principal.tenant();
        let trouble = match self.pipeline.recent.find(&id) {
            Some((Some((whose, who)), trouble)) if whose == *tenant => {
                if *who == *caller.principal.id() {
                    self.record(caller, note(true)).await?;
                } else {
                    self.administer(caller, SystemArea::Audit, note(true)).await?;
                }
                trouble
            }
            Some((None, trouble)) => {
                self.administer(caller, SystemArea::Federation, note(true)).await?;
                trouble
            }
            // another tenant's is told of as if there were none
            Some((Some(_), _)) | None => {
                self.administer(caller, SystemArea::Audit, note(false)).await?;
                return Err(FORGOTTEN);
            }
        };
        Ok(json!({"request_id": id, "stopped_by": trouble}))
    }

    /// The explanation of a name; `None` if no listener speaks the wire.
    fn answer(
        &self,
        wire: Option<&str>,
        name: &str,
        operation: Option<&str>,
        asked: Option<&ExplainFor>,
        caller: &Caller,
    ) -> Result<Option<Value>, Fault> {
        let action = action(operation)?;
        let who = match asked {
            None => Who { principal: caller.principal.clone(), source: "credential", others: 0 },
            Some(asked) => who(&self.snapshot.directory, caller.principal.tenant(), asked).map_err(Fault::malformed)?,
        };
        let listeners = match wire {
            None => vec![self.state],
            Some(wire) => self.snapshot.listeners.iter().filter(|listener| listener.kind.as_str() == wire).collect(),
        };
        let now = self.pipeline.clock.now();
        Ok(explain(self.snapshot, &Question { listeners, who: &who, name, action, now }))
    }
}

fn note(is_found: bool) -> Note {
    if is_found { Note::ok("explain") } else { Note::failed(ErrorKind::NotFound, "explain") }
}

fn action(word: Option<&str>) -> Result<Action, Fault> {
    let all = [Action::Read, Action::Describe, Action::List, Action::Write, Action::Delete, Action::Destroy];
    match word {
        None => Ok(Action::Read),
        Some(word) => all
            .into_iter()
            .find(|action| action.as_str() == word)
            .ok_or(Fault::malformed("operation is read, describe, list, write, delete or destroy")),
    }
}

/// Whom an explanation is for.
pub struct Who {
    /// The principal, with what policy knows of it.
    pub principal: Arc<Principal>,
    /// Where its groups and folders come from: `credential` (the caller's), `question`, `configuration`, or `name` if
    /// nothing but that is known.
    pub source: &'static str,
    /// How many principals of that name are configured otherwise.
    pub others: usize,
}

/// The principal a question is about: as the question describes it, else as a configured credential makes it, else known
/// by its name only.
///
/// # Errors
/// What of the question cannot be what it should be.
pub fn who(directory: &Directory, tenant: &Tenant, asked: &ExplainFor) -> Result<Who, &'static str> {
    Principal::check_id(&asked.id).map_err(|_| "as is not the name of a principal")?;
    if asked.groups.iter().any(|group| Principal::check_group(group).is_err()) {
        return Err("group holds something that is not the name of a group");
    }
    let folders: Result<Vec<Folder>, _> = asked.folders.iter().map(|folder| Folder::parse(folder)).collect();
    let folders = folders.ok().filter(|folders| !folders.iter().any(Folder::is_root));
    let folders = folders.ok_or("folder holds something that is not a folder of secret paths")?;
    let is_described = !asked.groups.is_empty() || !folders.is_empty();
    if !is_described {
        let mut known = directory.configured(tenant, &asked.id).into_iter();
        if let Some(principal) = known.next() {
            return Ok(Who { principal, source: "configuration", others: known.len() });
        }
    }
    let groups = asked.groups.iter().map(|group| Box::from(group.as_str())).collect();
    let principal = Arc::new(Principal::new(tenant.clone(), &asked.id, Method::Token, groups, folders));
    Ok(Who { principal, source: if is_described { "question" } else { "name" }, others: 0 })
}

/// A name, and what is asked about it.
pub struct Question<'q> {
    /// Where it may be used: listeners of one wire.
    pub listeners: Vec<&'q ListenerState>,
    /// By whom.
    pub who: &'q Who,
    /// The name as a client of the wire has it, or an API path of the wire.
    pub name: &'q str,
    /// What for.
    pub action: Action,
    /// When.
    pub now: Timestamp,
}

/// Tells how a name would be decided for a principal: every rule tried, where it leads, and who permits or forbids. `None`
/// if there is no listener the principal could use.
#[must_use]
pub fn explain(snapshot: &Snapshot, question: &Question<'_>) -> Option<Value> {
    let tenant = question.who.principal.tenant();
    // a listener of another tenant's workload takes no call of this principal
    let open = question.listeners.iter().filter(|listener| !listener.workload || listener.tenant == *tenant);
    let told: Vec<Told<'_>> = open.map(|listener| Told::of(snapshot, listener, question)).collect();
    let routed = told.iter().filter(|told| told.reached == Reached::Route);
    let routed: Vec<&ListenerState> = routed.map(|told| told.listener).collect();
    // of equals the first one configured
    let mut best = told.into_iter().rev().max_by_key(|told| told.reached)?;
    let others = routed.into_iter().map(|listener| &*listener.key).filter(|key| **key != *best.listener.key);
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        best.say("other_listeners", json!(others));
    }
    Some(Value::Object(best.fields))
}

/// How far a name gets on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Listener,
    Mount,
    Name,
    Path,
    Route,
}

/// Which table, list or check ends a call, and why.
type Stop = (&'static str, &'static str);

/// What is told of a name on one listener.
struct Told<'l> {
    listener: &'l ListenerState,
    reached: Reached,
    fields: Map<String, Value>,
}

impl<'l> Told<'l> {
    fn of(snapshot: &Snapshot, listener: &'l ListenerState, question: &Question<'_>) -> Self {
        let mut told = Self { listener, reached: Reached::Listener, fields: Map::new() };
        told.begin(question);
        let (decision, reason) = match told.follow(snapshot, question) {
            Ok(reason) => ("permit", reason),
            Err((by, reason)) => {
                told.say("stopped_by", json!(by));
                ("deny", reason)
            }
        };
        told.say("decision", json!(decision));
        told.say("reason", json!(reason));
        told
    }

    fn say(&mut self, key: &str, value: Value) {
        self.fields.insert(key.to_owned(), value);
    }

    fn begin(&mut self, question: &Question<'_>) {
        let Who { principal, source, others } = question.who;
        let folders: Vec<&str> = principal.folders().iter().map(Folder::as_str).collect();
        self.say("wire", json!(self.listener.kind.as_str()));
        self.say("listener", json!(self.listener.key));
        self.say("address", json!(self.listener.address));
        self.say("name", json!(question.name));
        self.say("principal", json!(principal.id()));
        self.say("principal_from", json!(source));
        if *others > 0 {
            self.say("other_principals", json!(others));
        }
        self.say("groups", json!(principal.groups()));
        self.say("folders", json!(folders));
        self.say("operation", json!(question.action.as_str()));
    }

    /// The way of a call, in the order of `Line::secret`; why it is permitted, or what stops it.
    fn follow(&mut self, snapshot: &Snapshot, question: &Question<'_>) -> Result<&'static str, Stop> {
        let listener = self.listener;
        let named = match listener.frontend.named(question.name, question.action, &listener.facts) {
            Ok(named) => named,
            Err("passthrough") => {
                self.reached = Reached::Mount;
                return Err(("passthrough", "no passthrough entry of the listener has this name and operation"));
            }
            Err(list) => return Err((list, "the name lies in none of the listener's mounts")),
        };
        self.reached = Reached::Name;
        self.say("name", json!(named.name));
        let path = self.path(&named.name)?;
        self.reached = Reached::Path;
        let (tenant, route) = self.route(snapshot, &path, question)?;
        self.reached = Reached::Route;
        let reason = self.decide(tenant, &route, question)?;
        if is_write(question.action) && !named.is_passed && !is_writable(tenant, &route) {
            return Err(("mode", "permitted by policy, but the path is served read-only"));
        }
        Ok(reason)
    }

    /// Table 1, and the grammar of secret paths.
    fn path(&mut self, name: &str) -> Result<SecretPath, Stop> {
        let listener = self.listener;
        let paths = &listener.paths;
        self.say("paths", paths.trial(name).iter().map(trial).collect());
        match paths.forward(name) {
            Some(mapped) => {
                SecretPath::parse(&mapped.name).map_err(|_| ("name", "the mapped name is not a secret path"))
            }
            None if SecretPath::parse(name).is_ok() => Err(("paths", "no rule of the listener's paths matches")),
            None => Err(("name", "no rule of the listener's paths matches, and the name cannot be a secret path")),
        }
    }

    /// Table 2, and what a path may be used for.
    fn route<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        path: &SecretPath,
        question: &Question<'_>,
    ) -> Result<(&'s TenantState, Route), Stop> {
        self.say("secret_path", json!(path.as_str()));
        let tenant: &TenantState =
            snapshot.tenants.get(question.who.principal.tenant()).ok_or(("tenant", "there is no such tenant"))?;
        let tried = tenant.router.trial(path);
        self.say("path_mapping", tried.iter().map(|(backend, tried)| with_backend(trial(tried), backend)).collect());
        let is_served = |route: &Route| {
            let kv2_segment = route.rule.and_then(|rule| tenant.kv2_segment(rule));
            !tenant.is_guarded(path, is_write(question.action))
                && route.targets.iter().all(|target| folders::is_holdable(&target.remote, kv2_segment))
        };
        let unmapped = ("path_mapping", "no backend rule maps the path, and it is not under store.local");
        let route = tenant.router.resolve(path).filter(is_served).ok_or(unmapped)?;
        self.say("mode", json!(route.mode.as_str()));
        if let (Some(target), Some((backend, _))) = (route.targets.first(), tried.last()) {
            self.say("backend", json!(backend));
            self.say("remote_name", json!(target.remote.as_str()));
        }
        Ok((tenant, route))
    }

    fn decide(&mut self, tenant: &TenantState, route: &Route, question: &Question<'_>) -> Result<&'static str, Stop> {
        let context = Context { wire: self.listener.kind, mode: route.mode, now: question.now, source_ip: None };
        let folder = Folder::from(route.path.clone());
        let is_list = question.action == Action::List;
        let resource = if is_list { Resource::Folder(&folder) } else { Resource::Secret(&route.path) };
        let found = tenant.policies.explain(&question.who.principal, question.action, resource, &context);
        self.say("policies", json!(found.policies.to_vec()));
        match found.decision {
            Decision::Permit => Ok("permitted by these policies"),
            Decision::Deny if !found.errors.is_empty() => {
                Err(("policy", "a policy could not be evaluated, which denies"))
            }
            Decision::Deny if found.policies.is_empty() => Err(("policy", "no policy permits it")),
            Decision::Deny => Err(("policy", "forbidden by these policies")),
        }
    }
}

const fn is_write(action: Action) -> bool {
    matches!(action, Action::Write | Action::Delete | Action::Destroy)
}

/// As calls find it. A tenant without its backends cannot be asked about copied paths; its table holds the same settings.
fn is_writable(tenant: &TenantState, route: &Route) -> bool {
    let by_table = || route.mode == Mode::Sync && route.rule.is_some_and(|rule| tenant.router.is_writable(rule));
    replica::is_writable(tenant, route) || (tenant.backends.is_empty() && by_table())
}

fn trial(tried: &Trial) -> Value {
    match &tried.outcome {
        Ok(output) => json!({"rule": tried.rule, "from": tried.from, "to": tried.to, "match": true, "output": output}),
        Err(reason) => json!({"rule": tried.rule, "from": tried.from, "to": tried.to, "match": false, "why": reason}),
    }
}

fn with_backend(mut value: Value, backend: &str) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("backend".to_owned(), json!(backend));
    }
    value
}

#[cfg(test)]
mod tests;
