//! What every step of a run shares: the replica it runs for, the hand that calls the backend, and the line through policy
//! and audit that a step of `system/sync` walks like anybody's call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use thiserror::Error;
use tokio::sync::Semaphore;

use super::Replica;
use super::batch::Batch;
use super::plan::Terms;
use super::rate::Bucket;
use crate::audit::{AuditError, Auditor, Grant, RequestId, Subject};
use crate::backend::{Ask, BackendError, Toll, tolled};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::identity::{Method, Principal};
use crate::mapping::{Route, RuleId, Target, Targets};
use crate::policy::{Context, Denial, Policies, Resource};
use crate::seal::SealError;
use crate::secret::{
    Action, Described, Dialect, Mode, Operation, RemoteName, RuleSettings, SecretPath, Tenant, WireKind,
};

/// Calls to the backend at once, however many steps wait for one.
pub(super) const CONCURRENCY: usize = 16;
/// After so many calls in a row without any answer the backend is given up for this run.
const DEAD_AFTER: u32 = 8;
/// So many at the end of a run make it one in which the backend was lost.
const LOST_AFTER: u32 = 3;
/// After so many refusals and not one permission, too.
const DENIED_AFTER: u64 = 20;
/// How a login that the backend refused is told from one that could not be tried.
const REFUSED_LOGIN: &str = "the backend refused our credential";
const WAITING_LOGIN: &str = "the last login failed; the next one waits";

/// Why a step did not get through. A path's own trouble leaves the others alone.
#[derive(Debug, Error)]
pub(super) enum StepError {
    /// The backend gave no usable answer.
    #[error("the backend: {0}")]
    Backend(#[from] BackendError),
    /// The store failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The trail takes no lines.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The built-in policy said no: a defect.
    #[error("the built-in policy does not allow this: {0}")]
    Denied(Denial),
    /// Whatever is tried, the other side has changed meanwhile.
    #[error("it kept changing while it was looked at; the next run tries again")]
    Restless,
}

impl StepError {
    /// The word for reports and metrics.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Backend(error) => error.kind(),
            Self::Seal(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::Denied(_) => ErrorKind::Internal,
            Self::Restless => ErrorKind::Conflict,
        }
    }
}

/// A path to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) rule: u32,
    pub(super) path: SecretPath,
    pub(super) remote: RemoteName,
    /// Whether the copy may go if the backend says that there is nothing of this name.
    pub(super) may_delete: bool,
    /// Whether nothing says that there is a secret of this name: a rule could have one.
    pub(super) is_guess: bool,
    /// How often it was tried in this run before.
    pub(super) tries: u8,
}

/// What all steps of all runs of one backend share.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) auditor: Arc<Auditor>,
    pub(super) policies: Arc<Policies>,
    pub(super) bucket: Arc<Bucket>,
    pub(super) latency: Arc<Latency>,
}

/// How the backend took a run's calls.
#[derive(Debug, Default)]
pub(super) struct Contact {
    pub(super) calls: AtomicU64,
    granted: AtomicU64,
    denied: AtomicU64,
    lost: AtomicU64,
    /// Calls without any answer since the last one that had one.
    lost_in_a_row: AtomicU32,
}

/// What a run's calls say about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers and lets us in.
    Fine,
    /// It answers, and never lets us in.
    Denied,
    /// It does not answer, or no longer.
    Lost,
    /// Nobody asked, or nothing can be told from the answers.
    Unknown,
}

/// How long calls take, smoothed, in microseconds; 0: unknown.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    fn learn(&self, took: u64) {
        let before = self.0.load(Ordering::Relaxed);
        let smoothed = if before == 0 { took } else { (before.saturating_mul(7).saturating_add(took)) / 8 };
        self.0.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// In milliseconds; `None` before the first answer.
    pub(super) fn millis(&self) -> Option<u64> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(micros.div_ceil(1000)),
        }
    }
}

/// One run's desk.
pub(super) struct Desk {
    pub(super) replica: Arc<Replica>,
    pub(super) parts: Parts,
    pub(super) contact: Contact,
    /// Values read, and their bytes.
    pub(super) reads: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Set when the run is not to change anything any more.
    pub(super) is_over: AtomicBool,
    pub(super) id_text: String,
    id: RequestId,
    principal: Arc<Principal>,
    /// By rule: the backend tells nothing but values.
    blind: Vec<AtomicBool>,
    notes: Mutex<Vec<&'static str>>,
    slots: Semaphore,
    pub(super) batch: Batch,
    /// What lists told of secrets nobody has looked at yet, by remote name.
    told: Mutex<HashMap<String, Described>>,
}

impl Desk {
    pub(super) fn new(replica: Arc<Replica>, parts: Parts, principal: Arc<Principal>, id: RequestId) -> Self {
        let blind = replica.rules.iter().map(|_| AtomicBool::new(false)).collect();
        Self {
            replica,
            parts,
            contact: Contact::default(),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            id_text: id.to_string(),
            id,
            principal,
            blind,
            notes: Mutex::default(),
            slots: Semaphore::new(CONCURRENCY),
            batch: Batch::default(),
            told: Mutex::default(),
        }
    }

    pub(super) fn settings(&self, rule: u32) -> Option<&RuleSettings> {
        self.replica.rules.get(rule as usize)
    }

    /// What decisions about paths of the rule depend on.
    pub(super) fn terms<'a>(&'a self, settings: &RuleSettings) -> Terms<'a> {
        Terms {
            backend: self.replica.id.as_str(),
            route: settings.route,
            conflict_on: self.replica.conflict_on,
            conflict_policy: self.replica.conflict_policy,
            on_backend_delete: self.replica.on_backend_delete,
            write_mode: settings.write_mode,
        }
    }

    /// What the backend is asked about.
    pub(super) fn ask<'a>(&'a self, rule: u32, remote: &'a RemoteName) -> Ask<'a> {
        let kv2_segment = self.settings(rule).and_then(|settings| settings.kv2_segment);
        Ask { remote, kv2_segment, dialect: Dialect::Neutral, request_id: &self.id_text, principal: None }
    }

    /// Calls the backend when the rate allows, and learns from the answer. Each request of a call counts, pages of a list
    /// and second tries too.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<T, BackendError>>) -> Result<T, BackendError> {
        let _slot = self.slots.acquire().await;
        self.parts.bucket.take().await;
        let started = Instant::now();
        let toll: Arc<dyn Toll> = self.parts.bucket.clone();
        let (result, spent) = tolled(toll, call).await;
        self.contact.calls.fetch_add(spent.requests(), Ordering::Relaxed);
        self.parts.bucket.owe(spent.unasked());
        match &result {
            Err(BackendError::RateLimited(after)) => self.parts.bucket.pause(after.unwrap_or(1)),
            // several took longer than one does, and may have waited in between
            Ok(_) if spent.requests() > 1 => {}
            Ok(_) => self.parts.latency.learn(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Err(_) => {}
        }
        self.contact.learn(result.as_ref().err());
        result
    }

    /// Asks what our credential may do. Says nothing about whether the backend lets us in.
    pub(super) async fn may_read(&self, candidate: &Candidate) -> Option<bool> {
        self.parts.bucket.take().await;
        let toll: Arc<dyn Toll> = self.parts.bucket.clone();
        let probe = self.replica.client.probe(self.ask(candidate.rule, &candidate.remote));
        let (rights, spent) = tolled(toll, probe).await;
        self.contact.calls.fetch_add(spent.requests(), Ordering::Relaxed);
        self.parts.bucket.owe(spent.unasked());
        let rights = rights.ok()?;
        rights.iter().find(|(right, _)| *right == "read").map(|(_, allowed)| *allowed)
    }

    /// Policy's word on one step, as a grant for the trail.
    pub(super) fn grant(&self, candidate: &Candidate, action: Action) -> Result<Grant, StepError> {
        let now = self.parts.clock.now();
        let context = Context { wire: WireKind::Scaivault, mode: Mode::Sync, now, source_ip: None };
        let resource = Resource::Secret(&candidate.path);
        let permit = self.parts.policies.authorize(&self.principal, action, resource, &context);
        let backend = self.replica.index;
        let target = Target { backend, remote: candidate.remote.clone(), kv_version: None };
        let route = Route {
            path: candidate.path.clone(),
            rule: Some(RuleId { backend, rule: candidate.rule }),
            mode: Mode::Sync,
            targets: Targets::one(target),
        };
        Ok(Grant { permit: permit.map_err(StepError::Denied)?, route })
    }

    /// Who does it, for the trail.
    pub(super) fn subject(&self, operation: Operation) -> Subject {
        Subject {
            request_id: self.id,
            tenant: self.replica.tenant.clone(),
            wire: WireKind::Scaivault,
            operation,
            source: None,
            principal: Some(self.principal.clone()),
            credential: None,
            config_generation: 0,
            started: Instant::now(),
        }
    }

    /// Keeps what a list told beside its names.
    pub(super) fn listed(&self, folder: &RemoteName, names: &[String], described: Vec<Described>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(names.iter().map(|name| folder.child(name)).zip(described));
    }

    /// What a list told of a secret, once.
    pub(super) fn take_told(&self, remote: &RemoteName) -> Option<Described> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(remote.as_str())
    }

    /// Whether the rule's remote side tells nothing but values.
    pub(super) fn is_blind(&self, rule: u32) -> bool {
        let known = self.blind.get(rule as usize).is_some_and(|blind| blind.load(Ordering::Relaxed));
        known || !self.replica.client.capabilities().describe
    }

    pub(super) fn blinded(&self, rule: u32) {
        if let Some(blind) = self.blind.get(rule as usize) {
            blind.store(true, Ordering::Relaxed);
        }
    }

    /// Something a report says once.
    pub(super) fn note(&self, note: &'static str) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(super) fn notes(&self) -> Vec<&'static str> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Contact {
    fn learn(&self, error: Option<&BackendError>) {
        let counter = match error {
            None => Some(&self.granted),
            Some(error) if is_denial(error) => Some(&self.denied),
            // says nothing about the backend: nobody was asked
            Some(BackendError::Login(why)) if *why == WAITING_LOGIN => return,
            Some(error) if is_loss(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.lost_in_a_row.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Some(_) => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.lost_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Whether it makes no sense to ask on.
    pub(super) fn is_hopeless(&self) -> bool {
        let denied = self.denied.load(Ordering::Relaxed) >= DENIED_AFTER && self.granted.load(Ordering::Relaxed) == 0;
        denied || self.lost_in_a_row.load(Ordering::Relaxed) >= DEAD_AFTER
    }

    pub(super) fn verdict(&self) -> Verdict {
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        let (granted, denied, lost) = (counted(&self.granted), counted(&self.denied), counted(&self.lost));
        let is_lost = lost && (!granted || self.lost_in_a_row.load(Ordering::Relaxed) >= LOST_AFTER);
        match (granted, denied) {
            _ if is_lost && !denied => Verdict::Lost,
            (true, _) if !is_lost => Verdict::Fine,
            (false, true) => Verdict::Denied,
            _ if is_lost => Verdict::Lost,
            _ => Verdict::Unknown,
        }
    }
}

/// Whether the backend refused us, and not only this request.
pub(super) fn is_denial(error: &BackendError) -> bool {
    match error {
        BackendError::Denied => true,
        BackendError::Login(why) => *why == REFUSED_LOGIN,
        _ => false,
    }
}

/// Whether there was no answer.
pub(super) fn is_loss(error: &BackendError) -> bool {
    matches!(error.kind(), ErrorKind::UpstreamUnavailable | ErrorKind::Timeout)
}

/// Who runs syncs for a tenant: authorised by the built-in policies, recorded like everybody.
pub(super) fn principal(tenant: &Tenant) -> Arc<Principal> {
    Arc::new(Principal::new(tenant.clone(), "system/sync", Method::Workload, vec![Box::from("system")], Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(errors: &[Option<BackendError>]) -> (Verdict, bool) {
        let contact = Contact::default();
        for error in errors {
            contact.learn(error.as_ref());
        }
        (contact.verdict(), contact.is_hopeless())
    }

    #[test]
    fn answers_say_how_the_backend_is() {
        let (lost, denied) = (Some(BackendError::Timeout), Some(BackendError::Denied));
        let refused = Some(BackendError::Login(REFUSED_LOGIN));
        assert_eq!(verdict(&[]), (Verdict::Unknown, false));
        assert_eq!(verdict(&[None, denied.clone()]), (Verdict::Fine, false), "one path is not the backend");
        assert_eq!(verdict(&[denied.clone(), refused]), (Verdict::Denied, false));
        assert_eq!(verdict(&[None, lost.clone()]), (Verdict::Fine, false), "one call is not the backend");
        let gone = [None, lost.clone(), lost.clone(), lost.clone()];
        assert_eq!(verdict(&gone), (Verdict::Lost, false), "it went away meanwhile");
        assert_eq!(verdict(&[lost.clone(), None]), (Verdict::Fine, false));
        assert_eq!(verdict(&vec![lost; 8]), (Verdict::Lost, true));
        assert_eq!(verdict(&vec![denied; 20]), (Verdict::Denied, true));
        assert_eq!(verdict(&[Some(BackendError::Login(WAITING_LOGIN))]), (Verdict::Unknown, false));
        assert_eq!(verdict(&[Some(BackendError::Rejected(404))]).0, Verdict::Unknown);
    }
}
