//! The line of one request: decode, authenticate, map, authorise, admit, execute, disclose, encode.
//!
//! Every stage is called from here and no stage calls the next. The order of the security checks is `Line::secret`;
//! what a later stage needs exists only because an earlier one made it. This room knows no socket and no vendor.

mod catalogue;
mod desk;
mod execute;
mod explain;
mod federation;
mod folders;
mod follow;
mod local;
mod own;
mod proxy;
mod recent;
mod refusal;
mod replay;
mod replica;
mod snapshot;
mod sources;
mod window;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;

pub use desk::{Command, Desk, DeskError, Errand};
pub use explain::{Question, Who, explain, who};
pub use federation::{BackendSource, BackendView, FederationView};
pub use local::{LocalError, LocalLimits};
pub use snapshot::{BackendState, Guard, ListenerState, Snapshot, TenantState};

use self::execute::{Executed, execute, finish, found, untaken, unwrap_value, write_local};
use self::recent::{Recent, Trouble};
use self::refusal::{FOREIGN_PAGE, No, Told, UNKNOWN_HOST, check_writable, is_from_a_page};
use self::replay::Seen;
use crate::audit::{
    AuditError, Auditor, Disclosure, Facts, Grant, Grants, IdText, Receipt, Refusal, RequestId, Subject,
};
use crate::clock::{Clock, Timestamp};
use crate::error::ErrorKind;
use crate::events::Bus;
use crate::identity::{Caller, Credential, IdentityError, PeerCertificate};
use crate::mapping::Route;
use crate::policy::{Context, Denial, Permit, Resource};
use crate::secret::{
    Action, Call, Folder, Mode, Operation, Reply, SecretAction, SecretCall, SecretPath, Tenant, WireKind,
};
use crate::sync::Engine;
use crate::telemetry::Meter;
use crate::wire::{Answer, Decoded, Fault, Request, Reveal, Shape, SystemRequest, WireRequest, WireResponse};

/// Who is at the other end of a connection, as far as the transport knows.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address; `None` on a Unix socket.
    pub source: Option<IpAddr>,
    /// Its verified client certificate.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// What every request goes through. Shared by all listeners; a reload swaps the snapshot.
pub struct Pipeline {
    snapshot: ArcSwap<Snapshot>,
    auditor: Arc<Auditor>,
    clock: Arc<dyn Clock>,
    meter: Meter,
    engine: Arc<Engine>,
    desk: Desk,
    events: Bus,
    recent: Recent,
    seen: Seen,
}

impl Pipeline {
    /// A pipeline over a first snapshot.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        auditor: Arc<Auditor>,
        clock: Arc<dyn Clock>,
        meter: Meter,
        (engine, desk, events): (Arc<Engine>, Desk, Bus),
    ) -> Self {
        let snapshot = ArcSwap::from_pointee(snapshot);
        Self { snapshot, auditor, clock, meter, engine, desk, events, recent: Recent::default(), seen: Seen::default() }
    }

    /// Swaps what requests are decided by; those already under way keep what they started with.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// What requests are decided by now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Answers a whole request.
    pub async fn handle(self: &Arc<Self>, listener: usize, request: WireRequest<'_>, peer: &Peer) -> WireResponse {
        let snapshot = self.snapshot.load_full();
        let Some(state) = snapshot.listeners.get(listener) else {
            return WireResponse::new(http::StatusCode::NOT_FOUND, "text/plain", bytes::Bytes::new());
        };
        let mut line = Line::new(self, &snapshot, state, peer);
        match line.run(&request).await {
            Ok(response) => {
                self.meter.count(state.kind, line.operation, None, line.started);
                response
            }
            Err(fault) => line.render(fault),
        }
    }

    /// Records a request whose head could not be read: nothing of it is known. Yields the id it got.
    pub async fn refuse_unread(self: &Arc<Self>, listener: usize, peer: &Peer) -> String {
        let response = self.refuse_whole(listener, peer, Fault::of(ErrorKind::Malformed)).await;
        let id = response.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        id.unwrap_or_default().to_owned()
    }

    /// Refuses a request before it was decoded, in the words of its wire.
    pub async fn refuse_whole(self: &Arc<Self>, listener: usize, peer: &Peer, fault: Fault) -> WireResponse {
        let snapshot = self.snapshot.load_full();
        let Some(state) = snapshot.listeners.get(listener) else {
            return WireResponse::new(http::StatusCode::NOT_FOUND, "text/plain", bytes::Bytes::new());
        };
        let line = Line::new(self, &snapshot, state, peer);
        let refusal = Refusal::Other { kind: fault.kind, path: None };
        let fault = line.refused(None, No::new(refusal, fault)).await;
        line.render(fault)
    }
}

/// One request on its way.
struct Line<'a> {
    pipeline: &'a Arc<Pipeline>,
    snapshot: &'a Arc<Snapshot>,
    state: &'a ListenerState,
    peer: &'a Peer,
    request_id: RequestId,
    id_text: IdText,
    id_uuid: IdText,
    now: Timestamp,
    started: Instant,
    operation: Operation,
    /// What is wrong with the request, key by key, once somebody found it.
    problems: OnceLock<Vec<(String, String)>>,
}

/// A mapped call: where it goes and whose rules hold.
struct Mapped<'a> {
    tenant: &'a TenantState,
    route: Route,
}

impl<'a> Line<'a> {
    fn new(pipeline: &'a Arc<Pipeline>, snapshot: &'a Arc<Snapshot>, state: &'a ListenerState, peer: &'a Peer) -> Self {
        let now = pipeline.clock.now();
        let request_id = RequestId::at(now);
        Self {
            pipeline,
            snapshot,
            state,
            peer,
            request_id,
            id_text: request_id.to_text(),
            id_uuid: request_id.to_uuid(),
            now,
            started: Instant::now(),
            operation: Operation::Unknown,
            problems: OnceLock::new(),
        }
    }

    async fn run(&mut self, request: &WireRequest<'_>) -> Result<WireResponse, Fault> {
        let decoded = if !self.state.facts.answers_for(request.host) {
            Err(UNKNOWN_HOST)
        } else if is_from_a_page(request.headers) {
            Err(FOREIGN_PAGE)
        } else {
            self.state.frontend.decode(request, &self.state.facts)
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(fault) => {
                let refusal = Refusal::Other { kind: fault.kind, path: None };
                return Err(self.refused(None, No::new(refusal, fault)).await);
            }
        };
        let Decoded { credential, namespace, request, shape } = decoded;
        self.operation = operation(&request);
        match request {
            Request::System(
                request @ (SystemRequest::Health
                | SystemRequest::Init
                | SystemRequest::SealStatus
                | SystemRequest::Leader
                | SystemRequest::OpenApi),
            ) => Ok(self.encode(&shape, Answer::Public(&request), None, false)),
            Request::Login(login) => Box::pin(self.login(login, namespace.as_deref(), &shape)).await,
            request => {
                let caller = match self.authenticate_now(credential) {
                    Some(Ok(caller)) => caller,
                    Some(Err(error)) => return Err(self.not_authenticated(&error).await),
                    None => Box::pin(self.authenticate(credential)).await?,
                };
                if let Err(no) = self.check_namespace(&caller, namespace.as_deref()) {
                    return Err(self.refused(Some(&caller), no).await);
                }
                match request {
                    Request::Secret(call) if is_list(&call) => Box::pin(self.list(call, &caller, &shape)).await,
                    Request::Secret(call) => self.secret(call, caller, &shape).await,
                    Request::Batch(calls) => Box::pin(self.batch(calls, &caller, &shape)).await,
                    Request::Gather(call) => Box::pin(self.gather(call, &caller, &shape)).await,
                    request => Box::pin(self.own(request, &caller, credential, &shape)).await,
                }
            }
        }
    }

    /// Calls that are not about secrets.
    async fn own(
        &self,
        request: Request,
        caller: &Caller,
        credential: Credential<'_>,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        match request {
            Request::Token(request) => self.token(request, caller, credential, shape).await,
            Request::System(request) => self.system(request, caller, shape).await,
            Request::Admin(request) => self.admin(request, caller, credential, shape).await,
            Request::AccessKey => self.access_key(caller, shape).await,
            Request::Secret(_) | Request::Batch(_) | Request::Gather(_) | Request::Login(_) => {
                Err(Fault::of(ErrorKind::Internal))
            }
        }
    }

    /// As far as nobody has to be asked.
    fn authenticate_now(&self, credential: Credential<'_>) -> Option<Result<Caller, IdentityError>> {
        let certificate = self.peer.certificate.as_deref();
        let (tenant, workload) = (Some(&self.state.tenant), self.state.workload);
        self.snapshot.directory.authenticate_now(credential, certificate, tenant, workload)
    }

    async fn authenticate(&self, credential: Credential<'_>) -> Result<Caller, Fault> {
        let certificate = self.peer.certificate.as_deref();
        let (tenant, workload) = (Some(&self.state.tenant), self.state.workload);
        match self.snapshot.directory.authenticate(credential, certificate, tenant, workload).await {
            Ok(caller) => Ok(caller),
            Err(error) => Err(self.not_authenticated(&error).await),
        }
    }

    fn not_authenticated(&self, error: &IdentityError) -> Told<'_> {
        let kind = error.kind();
        let refusal = match kind {
            ErrorKind::Unauthenticated => Refusal::Unauthenticated,
            kind => Refusal::Other { kind, path: None },
        };
        self.refused(None, No::new(refusal, Fault { detail: error.detail(), ..Fault::of(kind) }))
    }

    fn check_namespace(&self, caller: &Caller, namespace: Option<&str>) -> Result<(), No> {
        let Some(namespace) = namespace else { return Ok(()) };
        let tenant = caller.principal.tenant();
        let directory = &self.snapshot.directory;
        let allowed = if self.state.workload {
            directory.workload_namespace_allowed(tenant, namespace)
        } else {
            directory.namespace_allowed(tenant, namespace)
        };
        if allowed {
            return Ok(());
        }
        Err(No::other(ErrorKind::Denied))
    }

    /// The order of the security checks for everything that is about a secret.
    async fn secret(&self, call: Call, caller: Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let Call { operation, secret } = call;
        let (tenant, grant) = match self.grant(&secret, operation, &caller) {
            Ok(granted) => granted,
            Err(no) => return Err(self.refused(Some(&caller), no).await),
        };
        let mode = grant.route.mode;
        let backend = tenant.backend(&grant.route).map(|backend| &*backend.name);
        let (disclosure, age_seconds) = if operation.is_write() {
            let written = Box::pin(self.write(secret, operation, &caller, grant)).await.inspect_err(|fault| {
                // what a client may try again, it may
                let again = matches!(
                    fault.kind,
                    ErrorKind::UpstreamUnavailable | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::Internal
                );
                if let Some(signature) = caller.signature.filter(|_| again) {
                    self.pipeline.seen.forget(caller.principal.tenant(), signature);
                }
            });
            (written?, None)
        } else {
            self.read(&secret, operation, &caller, (tenant, grant)).await?
        };
        let reveal = Reveal { mode: Some(mode), backend, age_seconds, ..self.reveal() };
        Ok(self.state.frontend.encode(shape, Answer::Secret(disclosure), reveal))
    }

    /// A read that is granted: its line, and how old the copy is that was read, in seconds.
    async fn read(
        &self,
        secret: &SecretCall,
        operation: Operation,
        caller: &Caller,
        (tenant, grant): (&TenantState, Grant),
    ) -> Result<(Disclosure, Option<u64>), Fault> {
        let backend = tenant.backend(&grant.route);
        let subject = self.subject(Some(caller), operation);
        let receipt = self.pipeline.auditor.admit_read(subject, Grants::one(grant));
        let receipt = receipt.ok_or(Fault::of(ErrorKind::Internal))?;
        let (facts, result) = match execute(tenant, secret, &receipt, self.now, &self.id_text) {
            Executed::Done(facts, result) => (facts, result),
            Executed::Live(reading) => reading.await,
        };
        match found(result) {
            Ok(mut reply) => {
                if self.state.kind == WireKind::Aws && backend.is_some_and(|it| it.client.capabilities().wraps) {
                    unwrap_value(&mut reply);
                }
                let disclosed = self.pipeline.auditor.disclose(receipt, &facts, reply).await;
                let disclosed = disclosed.map_err(|error| self.noted(caller, untaken(error)))?;
                Ok((disclosed, facts.age_seconds))
            }
            Err(fault) => Err(self.failed(caller, receipt, facts, fault).await),
        }
    }

    /// Mapping, policy, and what may be written at all.
    fn grant(
        &self,
        secret: &SecretCall,
        operation: Operation,
        caller: &Caller,
    ) -> Result<(&'a TenantState, Grant), No> {
        let Mapped { tenant, route } = self.resolve(secret, operation, caller)?;
        let permit = self.authorize(caller, operation, tenant, &route)?;
        check_writable(operation, tenant, &route)?;
        self.check_replay(operation, secret, tenant, &route, caller)?;
        Ok((tenant, Grant { permit, route }))
    }

    /// Table 1, the grammar of secret paths, table 2. What is not mapped does not exist for anybody.
    fn resolve(&self, secret: &SecretCall, operation: Operation, caller: &Caller) -> Result<Mapped<'a>, No> {
        let tenant = self.snapshot.tenants.get(caller.principal.tenant()).ok_or_else(|| No::unmapped(None))?;
        let name = secret.name.as_ref().map_or("", |name| name.as_str());
        let Some(mapped) = self.state.paths.forward(name) else {
            // what is no name anywhere is malformed before it is unmapped
            let is_name = SecretPath::parse(name).is_ok();
            return Err(if is_name { No::unmapped(None) } else { No::malformed() });
        };
        let Ok(path) = SecretPath::parse(&mapped.name) else { return Err(No::malformed()) };
        let route = if tenant.is_guarded(&path, operation.is_write()) { None } else { tenant.router.resolve(&path) };
        let holdable = |route: &Route| {
            let kv2_segment = route.rule.and_then(|rule| tenant.kv2_segment(rule));
            route.targets.iter().all(|target| folders::is_holdable(&target.remote, kv2_segment))
        };
        match route.filter(holdable) {
            Some(route) => Ok(Mapped { tenant, route }),
            None => Err(No::unmapped(Some(&path))),
        }
    }

    fn authorize(
        &self,
        caller: &Caller,
        operation: Operation,
        tenant: &TenantState,
        route: &Route,
    ) -> Result<Permit, No> {
        let Some(action) = operation.action() else { return Err(No::other(ErrorKind::Internal)) };
        let folder;
        let resource = if action == Action::List {
            folder = Folder::from(route.path.clone());
            Resource::Folder(&folder)
        } else {
            Resource::Secret(&route.path)
        };
        self.decide(tenant, caller, action, resource, route.mode).map_err(|denial| {
            let path = Some(Box::from(route.path.as_str()));
            No::new(Refusal::Denied { path, denial, rule: route.rule }, Fault::of(ErrorKind::Denied))
        })
    }

    fn decide(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        mode: Mode,
    ) -> Result<Permit, Denial> {
        let context = Context { wire: self.state.kind, mode, now: self.now, source_ip: self.peer.source };
        tenant.policies.authorize(&caller.principal, action, resource, &context)
    }

    async fn admit(&self, caller: &Caller, operation: Operation, grants: Grants) -> Result<Receipt, Fault> {
        let subject = self.subject(Some(caller), operation);
        self.pipeline.auditor.admit(subject, grants).await.map_err(|error| self.unaudited(&error))
    }

    /// Carries a write to its end on a task of its own: a client that goes away does not cut it in half.
    async fn write(
        &self,
        secret: SecretCall,
        operation: Operation,
        caller: &Caller,
        grant: Grant,
    ) -> Result<Disclosure, Fault> {
        let receipt = self.admit(caller, operation, Grants::one(grant)).await?;
        let pipeline = self.pipeline.clone();
        let snapshot = self.snapshot.clone();
        let tenant = caller.principal.tenant().clone();
        let (id_text, now) = (self.id_text, self.now);
        let task = tokio::spawn(async move {
            let Some(tenant) = snapshot.tenants.get(&tenant) else { return Err(Fault::of(ErrorKind::Internal)) };
            let is_passed = matches!(secret.action, SecretAction::Pass(_));
            let route = receipt.grants().first().map(|grant| &grant.route);
            let (facts, result) = match route.map(|route| (route.mode, route)) {
                Some((Mode::Local, _)) => write_local(tenant, secret, &receipt, &*pipeline.clock).await,
                Some((Mode::Sync, route)) if !is_passed => {
                    replica::write(tenant, secret, route, &*pipeline.clock, &id_text).await
                }
                _ => match execute(tenant, &secret, &receipt, now, &id_text) {
                    Executed::Done(facts, result) => (facts, result),
                    Executed::Live(calling) => calling.await,
                },
            };
            finish(&pipeline, receipt, facts, result).await
        });
        task.await.unwrap_or(Err(Fault::of(ErrorKind::Internal))).map_err(|fault| self.noted(caller, fault))
    }

    async fn disclose(
        &self,
        caller: &Caller,
        receipt: Receipt,
        facts: Facts,
        result: Result<Reply, Fault>,
    ) -> Result<Disclosure, Fault> {
        finish(self.pipeline, receipt, facts, result).await.map_err(|fault| self.noted(caller, fault))
    }

    /// The end of an admitted read that yielded nothing.
    fn failed<'s>(&'s self, caller: &'s Caller, receipt: Receipt, facts: Facts, fault: Fault) -> Told<'s> {
        Box::pin(async move {
            let ended = finish(self.pipeline, receipt, facts, Err(fault)).await;
            self.noted(caller, ended.err().unwrap_or(fault))
        })
    }

    fn subject(&self, caller: Option<&Caller>, operation: Operation) -> Subject {
        let tenant: &Tenant = caller.map_or(&self.state.tenant, |caller| caller.principal.tenant());
        Subject {
            request_id: self.request_id,
            tenant: tenant.clone(),
            wire: self.state.kind,
            operation,
            source: self.peer.source,
            principal: caller.map(|caller| caller.principal.clone()),
            credential: caller.map(|caller| caller.credential),
            config_generation: self.snapshot.generation,
            started: self.started,
        }
    }

    /// Writes the refusal's line and gives back what the client is told: the fault, or that the trail takes no lines.
    /// Apart from the line's own future, which every request pays for.
    fn refused<'s>(&'s self, caller: Option<&'s Caller>, no: No) -> Told<'s> {
        Box::pin(async move {
            let No { refusal, fault } = no;
            let trouble = Trouble::of(&refusal, self.operation, caller.is_some(), fault.detail);
            self.pipeline.recent.keep(&self.id_text, caller, trouble);
            match self.pipeline.auditor.refuse(self.subject(caller, self.operation), refusal).await {
                Ok(()) => fault,
                Err(error) => self.unaudited(&error),
            }
        })
    }

    fn unaudited(&self, error: &AuditError) -> Fault {
        tracing::error!(request_id = %self.id_text, error = %error, "the audit trail takes no lines");
        Fault::of(error.kind())
    }

    fn noted(&self, caller: &Caller, fault: Fault) -> Fault {
        self.pipeline.recent.keep(&self.id_text, Some(caller), Trouble::at("backend", fault.kind, fault.detail));
        fault
    }

    fn encode_list(&self, shape: &Shape, disclosure: Disclosure, more: bool) -> WireResponse {
        let reveal = Reveal { mode: Some(Mode::Local), more, ..self.reveal() };
        self.state.frontend.encode(shape, Answer::Secret(disclosure), reveal)
    }

    fn encode(&self, shape: &Shape, answer: Answer<'_>, mode: Option<Mode>, more: bool) -> WireResponse {
        self.state.frontend.encode(shape, answer, Reveal { mode, more, ..self.reveal() })
    }

    fn reveal(&self) -> Reveal<'_> {
        Reveal {
            request_id: &self.id_text,
            request_uuid: &self.id_uuid,
            facts: &self.state.facts,
            now_secs: self.now.secs(),
            backend: None,
            mode: None,
            more: false,
            age_seconds: None,
            problems: self.problems.get().map(Vec::as_slice).unwrap_or_default(),
        }
    }

    fn render(&self, fault: Fault) -> WireResponse {
        self.pipeline.meter.count(self.state.kind, self.operation, Some(fault.kind), self.started);
        tracing::debug!(request_id = %self.id_text, kind = fault.kind.label(), "refused");
        self.state.frontend.refuse(fault, self.reveal())
    }
}

fn is_list(call: &Call) -> bool {
    matches!(call.secret.action, SecretAction::List(_) | SecretAction::Scan(_) | SecretAction::Catalogue(_))
}

/// What a request is called in metrics and audit.
const fn operation(request: &Request) -> Operation {
    match request {
        Request::Secret(call) | Request::Gather(call) => call.operation,
        Request::Batch(_) => Operation::Read,
        Request::AccessKey => Operation::Login,
        Request::Login(_) => Operation::Login,
        Request::System(_) => Operation::System,
        Request::Token(request) => own::token_operation(request),
        Request::Admin(request) => own::admin_operation(request),
    }
}
