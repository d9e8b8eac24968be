//! The last failures by request id, so that `explain --request ID` can say what stopped a request. Bounded; no value, no
//! credential, no unparsed name.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::audit::Refusal;
use crate::error::ErrorKind;
use crate::identity::Caller;
use crate::secret::Tenant;

const KEPT: usize = 1024;

/// What stopped a request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trouble {
    /// `credential`, `mapping`, `policy`, `backend` or `request`.
    pub(super) stage: &'static str,
    /// The error kind's word.
    pub(super) kind: &'static str,
    /// The secret path, if it got that far.
    pub(super) path: Option<Box<str>>,
    /// The policies that decided.
    pub(super) policies: Vec<Box<str>>,
}

impl Trouble {
    pub(super) const fn at(stage: &'static str, kind: ErrorKind) -> Self {
        Self { stage, kind: kind.label(), path: None, policies: Vec::new() }
    }

    pub(super) fn of(refusal: &Refusal) -> Self {
        let kind = refusal.kind();
        match refusal {
            Refusal::Malformed { path } | Refusal::Other { path, .. } => {
                Self { path: path.clone(), ..Self::at("request", kind) }
            }
            Refusal::Unauthenticated => Self::at("credential", kind),
            Refusal::Unmapped { path } => Self { path: path.clone(), ..Self::at("mapping", kind) },
            Refusal::Denied { path, denial, .. } => {
                Self { path: path.clone(), policies: denial.policies().to_vec(), ..Self::at("policy", kind) }
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
pub(super) struct Recent(Mutex<VecDeque<Entry>>);

impl Recent {
    pub(super) fn keep(&self, request_id: &str, caller: Option<&Caller>, trouble: Trouble) {
        let caller = caller.map(|caller| (caller.principal.tenant().clone(), Box::from(caller.principal.id())));
        let entry = Entry { request_id: Box::from(request_id), caller, trouble };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// What stopped a request, and whose it was.
    pub(super) fn find(&self, request_id: &str) -> Option<(Option<Owner>, Trouble)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.iter().rev().find(|entry| &*entry.request_id == request_id)?;
        Some((entry.caller.clone(), entry.trouble.clone()))
    }
}
