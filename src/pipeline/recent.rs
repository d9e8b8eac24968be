//! The last failures by request id, so that `explain --request ID` can say what stopped a request. Bounded; no value, no
//! credential, no unparsed name.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::audit::Refusal;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::secret::{Operation, Tenant};

const KEPT: usize = 1024;
const NOT_SERVED: &str = "no declared mount or passthrough entry of the listener serves this API path";

/// What stopped a request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trouble {
    /// `credential`, `mapping`, `policy`, `backend` or `request`.
    pub(super) stage: &'static str,
    /// The error kind's word.
    pub(super) kind: &'static str,
    /// More of it, from a closed set of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'static str>,
    /// The secret path, if it got that far.
    pub(super) path: Option<Box<str>>,
    /// The policies that decided.
    pub(super) policies: Vec<Box<str>>,
}

impl Trouble {
    pub(super) const fn at(stage: &'static str, kind: ErrorKind, detail: Option<&'static str>) -> Self {
        Self { stage, kind: kind.label(), detail, path: None, policies: Vec::new() }
    }

    /// What a refusal says. `operation` is [`Operation::Unknown`] until a request is decoded, and `is_known` false until
    /// it is known who asks.
    pub(super) fn of(refusal: &Refusal, operation: Operation, is_known: bool, detail: Option<&'static str>) -> Self {
        let kind = refusal.kind();
        let is_decoded = operation != Operation::Unknown;
        match refusal {
            Refusal::Unmapped { path } => Self { path: path.clone(), ..Self::at("mapping", kind, detail) },
            Refusal::Denied { path, denial, .. } => {
                Self { path: path.clone(), policies: denial.policies().to_vec(), ..Self::at("policy", kind, detail) }
            }
            Refusal::Unauthenticated => Self::at("credential", kind, detail),
            Refusal::Malformed { .. } | Refusal::Other { .. } if is_decoded && !is_known => {
                Self::at("credential", kind, detail)
            }
            // what a wire denies before it decodes, for no reason of its own, it does not serve
            Refusal::Other { kind: ErrorKind::Denied, .. } if !is_decoded && detail.is_none() => {
                Self::at("mapping", kind, Some(NOT_SERVED))
            }
            Refusal::Malformed { path } | Refusal::Other { path, .. } => {
                Self { path: path.clone(), ..Self::at("request", kind, detail) }
            }
        }
    }
}

/// Whose request it was: tenant and principal id.
type Owner = (Tenant, Box<str>);

struct Entry {
    request_id: Box<str>,
    caller: Option<Owner>,
    trouble: Trouble,
}

/// The last failures of this process.
#[derive(Default)]
pub(super) struct Recent {
    callers: Ring,
    /// Apart, so that nobody without a credential can push out what others want to know.
    strangers: Ring,
}

/// Entries in the order they came.
#[derive(Default)]
struct Ring(Mutex<VecDeque<Entry>>);

impl Recent {
    pub(super) fn keep(&self, request_id: &str, caller: Option<&Caller>, trouble: Trouble) {
        let caller = caller.map(|caller| (caller.principal.tenant().clone(), Box::from(caller.principal.id())));
        let ring = if caller.is_some() { &self.callers } else { &self.strangers };
        ring.push(Entry { request_id: Box::from(request_id), caller, trouble });
    }

    /// What stopped a request, and whose it was; nobody's if it was never known who asked.
    pub(super) fn find(&self, request_id: &str) -> Option<(Option<Owner>, Trouble)> {
        self.callers.find(request_id).or_else(|| self.strangers.find(request_id))
    }
}

impl Ring {
    fn push(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    fn find(&self, request_id: &str) -> Option<(Option<Owner>, Trouble)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.iter().rev().find(|entry| &*entry.request_id == request_id)?;
        Some((entry.caller.clone(), entry.trouble.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::{CallerVia, Method, Principal};

    fn caller() -> Caller {
        Caller {
            signature: None,
            principal: Arc::new(Principal::new(Tenant::default_tenant(), "ci", Method::Token, vec![], vec![])),
            credential: [0; 16],
            token: None,
            via: CallerVia::StaticToken,
            not_after: None,
        }
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let recent = Recent::default();
        let trouble = || Trouble::at("credential", ErrorKind::Unauthenticated, None);
        recent.keep("ours", Some(&caller()), trouble());
        recent.keep("first", None, trouble());
        for index in 0..KEPT {
            recent.keep(&format!("later {index}"), None, trouble());
        }
        let (owner, _) = recent.find("ours").unwrap();
        assert_eq!(owner.unwrap(), (Tenant::default_tenant(), Box::from("ci")));
        assert!(recent.find("first").is_none(), "bounded");
        let (owner, kept) = recent.find("later 0").unwrap();
        assert!(owner.is_none() && kept.stage == "credential");
    }

    #[test]
    fn the_stage_says_what_stopped_a_request() {
        let other = |kind| Refusal::Other { kind, path: None };
        for (refusal, operation, is_known, detail, stage) in [
            (Refusal::Unauthenticated, Operation::Read, false, None, "credential"),
            (other(ErrorKind::UpstreamUnavailable), Operation::Login, false, None, "credential"),
            (other(ErrorKind::Denied), Operation::Unknown, false, None, "mapping"),
            (other(ErrorKind::Denied), Operation::Unknown, false, Some("a page"), "request"),
            (other(ErrorKind::Malformed), Operation::Unknown, false, None, "request"),
            (other(ErrorKind::Denied), Operation::Read, true, None, "request"),
            (other(ErrorKind::ReadOnly), Operation::Write, true, None, "request"),
            (Refusal::Unmapped { path: None }, Operation::Read, true, None, "mapping"),
        ] {
            let trouble = Trouble::of(&refusal, operation, is_known, detail);
            assert_eq!(trouble.stage, stage, "{refusal:?}");
            assert!(trouble.path.is_none());
        }
        let undeclared = Trouble::of(&other(ErrorKind::Denied), Operation::Unknown, false, None);
        assert_eq!(undeclared.detail, Some(NOT_SERVED));
    }
}
