//! Why a name is or is not served to somebody: the same tables and policies, asked aloud.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Line, ListenerState, Snapshot, TenantState};
use crate::audit::{Note, RequestId};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::{Caller, Method, Principal};
use crate::policy::{Context, Resource, SystemArea};
use crate::secret::{Action, Mode, SecretPath, WireKind};
use crate::wire::{Answer, ExplainRequest, Fault, Shape, WireResponse};

impl Line<'_> {
    pub(super) async fn explain(
        &self,
        request: ExplainRequest,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let value = match request {
            ExplainRequest::Request(id) => {
                let id = RequestId::parse(&id).map_or(id, |id| id.to_string());
                let tenant = caller.principal.tenant();
                let found = self.pipeline.recent.find(&id);
                let own = found.as_ref().and_then(|(owner, _)| owner.as_ref());
                let is_own = own.is_some_and(|(whose, who)| whose == tenant && **who == *caller.principal.id());
                // what nobody was recognised for belongs to no tenant's administrators
                let ours = found.filter(|(owner, _)| owner.as_ref().is_some_and(|(whose, _)| whose == tenant));
                let note =
                    if ours.is_some() { Note::ok("explain") } else { Note::failed(ErrorKind::NotFound, "explain") };
                if is_own {
                    self.record(caller, note).await?;
                } else {
                    self.administer(caller, SystemArea::Audit, note).await?;
                }
                let (_, trouble) = ours.ok_or(Fault::because(
                    ErrorKind::NotFound,
                    "no failed request of this tenant with this id is remembered",
                ))?;
                json!({"request_id": id, "stopped_by": trouble})
            }
            ExplainRequest::Name { wire, name, operation, principal } => {
                let principal = match principal {
                    None => {
                        self.record(caller, Note::ok("explain")).await?;
                        caller.principal.clone()
                    }
                    Some(id) => {
                        self.administer(caller, SystemArea::Federation, Note::ok("explain").about(&id)).await?;
                        named(&id, &caller.principal)
                    }
                };
                let listener = listener(self.snapshot, wire.as_deref(), self.state)
                    .ok_or(Fault::because(ErrorKind::NotFound, "no listener speaks this wire"))?;
                let action = action(operation.as_deref())?;
                explain(self.snapshot, listener, &principal, &name, action, self.pipeline.clock.now())
            }
        };
        Ok(self.encode(shape, Answer::Explained(value), None, false))
    }
}

/// Another principal of the same tenant, known by name only: no groups, no folders of its own.
fn named(id: &str, asker: &Principal) -> Arc<Principal> {
    Arc::new(Principal::new(asker.tenant().clone(), id, Method::Token, Vec::new(), Vec::new()))
}

fn listener<'s>(snapshot: &'s Snapshot, wire: Option<&str>, own: &'s ListenerState) -> Option<&'s ListenerState> {
    match wire {
        None => Some(own),
        Some(wire) => snapshot.listeners.iter().find(|listener| listener.kind.as_str() == wire),
    }
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

/// Tells how a wire name would be decided for a principal: every rule tried, where it leads, and who permits or forbids.
/// Whether the secret exists is not part of the answer.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    listener: &ListenerState,
    principal: &Principal,
    name: &str,
    action: Action,
    now: Timestamp,
) -> Value {
    let paths: Vec<Value> = listener.paths.trial(name).iter().map(trial).collect();
    let mut answer = json!({
        "wire": listener.kind.as_str(), "name": name, "principal": principal.id(), "operation": action.as_str(),
        "paths": paths, "decision": "deny", "reason": "no rule of the listener's paths matches",
    });
    let mut say = |key: &str, value: Value| {
        if let Some(fields) = answer.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    };
    let Some(mapped) = listener.paths.forward(name) else { return answer };
    let Ok(path) = SecretPath::parse(&mapped.name) else {
        say("reason", json!("the mapped name is not a secret path"));
        return answer;
    };
    say("secret_path", json!(path.as_str()));
    let Some(tenant) = snapshot.tenants.get(principal.tenant()) else { return answer };
    let rules: Vec<Value> =
        tenant.router.trial(&path).iter().map(|(backend, tried)| with_backend(trial(tried), backend)).collect();
    say("path_mapping", json!(rules));
    let Some(route) = tenant.router.resolve(&path).filter(|_| !tenant.is_guarded(&path, false)) else {
        say("reason", json!("no backend rule matches and the path is not under store.local"));
        return answer;
    };
    say("mode", json!(route.mode.as_str()));
    if let Some(target) = route.targets.first() {
        say("backend", json!(backend_name(tenant, target.backend)));
        say("remote_name", json!(target.remote.as_str()));
    }
    let verdict = verdict(tenant, listener.kind, principal, action, &path, route.mode, now);
    say("decision", json!(verdict.0));
    say("policies", json!(verdict.1));
    say("reason", json!(verdict.2));
    if verdict.0 == "permit"
        && route.mode == Mode::Proxy
        && !matches!(action, Action::Read | Action::Describe | Action::List)
    {
        say("decision", json!("deny"));
        say("reason", json!("permitted by policy, but a proxied path is read-only"));
    }
    answer
}

fn verdict(
    tenant: &TenantState,
    wire: WireKind,
    principal: &Principal,
    action: Action,
    path: &SecretPath,
    mode: Mode,
    now: Timestamp,
) -> (&'static str, Vec<Box<str>>, &'static str) {
    let context = Context { wire, mode, now, source_ip: None };
    let folder = crate::secret::Folder::from(path.clone());
    let resource = if action == Action::List { Resource::Folder(&folder) } else { Resource::Secret(path) };
    let found = tenant.policies.explain(principal, action, resource, &context);
    let reason = match (found.decision.as_str(), found.errors.is_empty(), found.policies.is_empty()) {
        (_, false, _) => "a policy could not be evaluated, which denies",
        ("permit", ..) => "permitted by these policies",
        (_, _, true) => "no policy permits it",
        _ => "forbidden by these policies",
    };
    (found.decision.as_str(), found.policies.to_vec(), reason)
}

fn backend_name(tenant: &TenantState, index: u32) -> &str {
    tenant.backends.get(index as usize).map_or("", |backend| &backend.name)
}

fn trial(tried: &crate::mapping::Trial) -> Value {
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
