//! The line of one request: decode, authenticate, map, authorise, admit, execute, disclose, encode.
//!
//! Every stage is called from here and no stage calls the next. The order of the security checks is `Line::secret`;
//! what a later stage needs exists only because an earlier one made it. This room knows no socket and no vendor.

mod explain;
mod folders;
mod local;
mod own;
mod proxy;
mod recent;
mod snapshot;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

pub use explain::{Question, Who, explain, who};
pub use local::{LocalError, LocalLimits};
pub use snapshot::{BackendState, Guard, ListenerState, Snapshot, TenantState};

use self::recent::{Recent, Trouble};
use crate::audit::{AuditError, Auditor, Disclosure, Facts, Grant, Grants, Receipt, Refusal, RequestId, Subject};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::identity::{Caller, IdentityError, PeerCertificate};
use crate::mapping::Route;
use crate::policy::{Context, Denial, Permit, Resource};
use crate::secret::{
    Action, Call, Folder, Mode, Operation, Outcome, Reply, SecretAction, SecretCall, SecretPath, Tenant,
};
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
    recent: Recent,
}

impl Pipeline {
    /// A pipeline over a first snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot, auditor: Arc<Auditor>, clock: Arc<dyn Clock>, meter: Meter) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), auditor, clock, meter, recent: Recent::default() }
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
        let fault = line.refused(None, refusal, fault).await;
        line.render(fault)
    }
}

/// A page that rebinds its own name to us, or a client that meant somebody else.
const UNKNOWN_HOST: Fault = Fault::malformed("the Host is not one this listener answers for (listeners[].hosts)");

/// No secrets client sends what browsers add; a page in one could otherwise write where no credential is asked for.
const FOREIGN_PAGE: Fault = Fault::because(ErrorKind::Denied, "requests from web pages are not answered");

const NOT_A_PATH: Fault = Fault::malformed("the name cannot be a secret path");

fn is_from_a_page(headers: &http::HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    headers.contains_key(http::header::ORIGIN) || site.is_some_and(|site| site != "none" && site != "same-origin")
}

/// One request on its way.
struct Line<'a> {
    pipeline: &'a Arc<Pipeline>,
    snapshot: &'a Arc<Snapshot>,
    state: &'a ListenerState,
    peer: &'a Peer,
    request_id: RequestId,
    id_text: String,
    id_uuid: String,
    started: Instant,
    operation: Operation,
}

/// A mapped call: where it goes and whose rules hold.
struct Mapped<'a> {
    tenant: &'a TenantState,
    route: Route,
}

impl<'a> Line<'a> {
    fn new(pipeline: &'a Arc<Pipeline>, snapshot: &'a Arc<Snapshot>, state: &'a ListenerState, peer: &'a Peer) -> Self {
        let request_id = RequestId::fresh(&*pipeline.clock);
        Self {
            pipeline,
            snapshot,
            state,
            peer,
            request_id,
            id_text: request_id.to_string(),
            id_uuid: request_id.to_uuid(),
            started: Instant::now(),
            operation: Operation::Unknown,
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
                return Err(self.refused(None, refusal, fault).await);
            }
        };
        let Decoded { credential, namespace, request, shape } = decoded;
        self.operation = operation(&request);
        match request {
            Request::System(
                request @ (SystemRequest::Health
                | SystemRequest::Init
                | SystemRequest::SealStatus
                | SystemRequest::Leader),
            ) => Ok(self.encode(&shape, Answer::Public(&request), None, false)),
            Request::Login(login) => self.login(login, namespace.as_deref(), &shape).await,
            request => {
                let caller = self.authenticate(credential).await?;
                self.check_namespace(&caller, namespace.as_deref()).await?;
                match request {
                    Request::Secret(call) => self.secret(call, caller, &shape).await,
                    Request::Token(request) => self.token(request, &caller, credential, &shape).await,
                    Request::System(request) => self.system(request, &caller, &shape).await,
                    Request::Admin(request) => self.admin(request, &caller, &shape).await,
                    Request::Login(_) => Err(Fault::of(ErrorKind::Internal)),
                }
            }
        }
    }

    async fn authenticate(&self, credential: crate::identity::Credential<'_>) -> Result<Caller, Fault> {
        let directory = &self.snapshot.directory;
        let certificate = self.peer.certificate.as_deref();
        let (tenant, workload) = (Some(&self.state.tenant), self.state.workload);
        let result = match directory.authenticate_now(credential, certificate, tenant, workload) {
            Some(result) => result,
            None => directory.authenticate(credential, certificate, tenant, workload).await,
        };
        match result {
            Ok(caller) => Ok(caller),
            Err(error) => Err(self.not_authenticated(&error).await),
        }
    }

    async fn not_authenticated(&self, error: &IdentityError) -> Fault {
        let kind = error.kind();
        let refusal = match kind {
            ErrorKind::Unauthenticated => Refusal::Unauthenticated,
            kind => Refusal::Other { kind, path: None },
        };
        self.refused(None, refusal, Fault::of(kind)).await
    }

    async fn check_namespace(&self, caller: &Caller, namespace: Option<&str>) -> Result<(), Fault> {
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
        let refusal = Refusal::Other { kind: ErrorKind::Denied, path: None };
        Err(self.refused(Some(caller), refusal, Fault::of(ErrorKind::Denied)).await)
    }

    /// The order of the security checks for everything that is about a secret or a folder.
    async fn secret(&self, call: Call, caller: Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let Call { operation, secret } = call;
        if matches!(secret.action, SecretAction::List(_) | SecretAction::Scan(_)) {
            return self.list(operation, secret, &caller, shape).await;
        }
        let mapped = self.resolve(&secret, operation, &caller).await?;
        let permit = self.authorize(&caller, operation, &mapped).await?;
        self.check_writable(operation, &caller, &mapped).await?;
        let Mapped { tenant, route } = mapped;
        let mode = route.mode;
        let backend = route.targets.first().and_then(|target| tenant.backends.get(target.backend as usize));
        let name = backend.map(|backend| backend.name.clone());
        let receipt = self.admit(&caller, operation, Grants::one(Grant { permit, route })).await?;
        let disclosure = if operation.is_write() {
            self.write(secret, &caller, receipt).await?
        } else {
            let (facts, result) = execute(tenant, &secret, &receipt, &*self.pipeline.clock, &self.id_text).await;
            self.disclose(&caller, receipt, facts, result).await?
        };
        Ok(self.encode_secret(shape, disclosure, name.as_deref(), mode, false))
    }

    /// Table 1, the grammar of secret paths, table 2. What is not mapped does not exist for anybody.
    async fn resolve<'s>(
        &'s self,
        secret: &SecretCall,
        operation: Operation,
        caller: &Caller,
    ) -> Result<Mapped<'s>, Fault> {
        let unmapped =
            |path: Option<&SecretPath>| Refusal::Unmapped { path: path.map(|path| Box::from(path.as_str())) };
        let denied = Fault::of(ErrorKind::Denied);
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(self.refused(Some(caller), unmapped(None), denied).await);
        };
        let name = secret.name.as_ref().map_or("", |name| name.as_str());
        let Some(mapped) = self.state.paths.forward(name) else {
            // what is no name anywhere is malformed before it is unmapped
            let is_name = SecretPath::parse(name).is_ok();
            let malformed = (Refusal::Malformed { path: None }, NOT_A_PATH);
            let (refusal, fault) = if is_name { (unmapped(None), denied) } else { malformed };
            return Err(self.refused(Some(caller), refusal, fault).await);
        };
        let Ok(path) = SecretPath::parse(&mapped.name) else {
            return Err(self.refused(Some(caller), Refusal::Malformed { path: None }, NOT_A_PATH).await);
        };
        let route = if tenant.is_guarded(&path, operation.is_write()) { None } else { tenant.router.resolve(&path) };
        let holdable = |route: &Route| {
            let kv2_segment = route.rule.and_then(|rule| tenant.kv2_segment(rule));
            route.targets.iter().all(|target| folders::is_holdable(&target.remote, kv2_segment))
        };
        match route.filter(holdable) {
            Some(route) => Ok(Mapped { tenant, route }),
            None => Err(self.refused(Some(caller), unmapped(Some(&path)), denied).await),
        }
    }

    async fn authorize(&self, caller: &Caller, operation: Operation, mapped: &Mapped<'_>) -> Result<Permit, Fault> {
        let route = &mapped.route;
        let Some(action) = operation.action() else { return Err(Fault::of(ErrorKind::Internal)) };
        let folder;
        let resource = if action == Action::List {
            folder = Folder::from(route.path.clone());
            Resource::Folder(&folder)
        } else {
            Resource::Secret(&route.path)
        };
        match self.decide(mapped.tenant, caller, action, resource, route.mode) {
            Ok(permit) => Ok(permit),
            Err(denial) => {
                let path = Some(Box::from(route.path.as_str()));
                let refusal = Refusal::Denied { path, denial, rule: route.rule };
                Err(self.refused(Some(caller), refusal, Fault::of(ErrorKind::Denied)).await)
            }
        }
    }

    fn decide(
        &self,
        tenant: &TenantState,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        mode: Mode,
    ) -> Result<Permit, Denial> {
        let now = self.pipeline.clock.now();
        let context = Context { wire: self.state.kind, mode, now, source_ip: self.peer.source };
        tenant.policies.authorize(&caller.principal, action, resource, &context)
    }

    /// Proxied paths are read-only; passthrough of another API is what its listener lists.
    async fn check_writable(&self, operation: Operation, caller: &Caller, mapped: &Mapped<'_>) -> Result<(), Fault> {
        if !operation.is_write() || operation == Operation::PassWrite || mapped.route.mode == Mode::Local {
            return Ok(());
        }
        let path = Some(Box::from(mapped.route.path.as_str()));
        let refusal = Refusal::Other { kind: ErrorKind::ReadOnly, path };
        Err(self.refused(Some(caller), refusal, Fault::of(ErrorKind::ReadOnly)).await)
    }

    async fn admit(&self, caller: &Caller, operation: Operation, grants: Grants) -> Result<Receipt, Fault> {
        let subject = self.subject(Some(caller), operation);
        self.pipeline.auditor.admit(subject, grants).await.map_err(|error| self.unaudited(&error))
    }

    /// Carries a write to its end on a task of its own: a client that goes away does not cut it in half.
    async fn write(&self, secret: SecretCall, caller: &Caller, receipt: Receipt) -> Result<Disclosure, Fault> {
        let pipeline = self.pipeline.clone();
        let snapshot = self.snapshot.clone();
        let tenant = caller.principal.tenant().clone();
        let id_text = self.id_text.clone();
        let task = tokio::spawn(async move {
            let Some(tenant) = snapshot.tenants.get(&tenant) else { return Err(Fault::of(ErrorKind::Internal)) };
            let local = receipt.grants().first().is_some_and(|grant| grant.route.mode == Mode::Local);
            let (facts, result) = if local {
                write_local(tenant, secret, &receipt, &*pipeline.clock).await
            } else {
                execute(tenant, &secret, &receipt, &*pipeline.clock, &id_text).await
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
    async fn refused(&self, caller: Option<&Caller>, refusal: Refusal, fault: Fault) -> Fault {
        let trouble = Trouble::of(&refusal, self.operation, caller.is_some(), fault.detail);
        self.pipeline.recent.keep(&self.id_text, caller, trouble);
        match self.pipeline.auditor.refuse(self.subject(caller, self.operation), refusal).await {
            Ok(()) => fault,
            Err(error) => self.unaudited(&error),
        }
    }

    fn unaudited(&self, error: &AuditError) -> Fault {
        tracing::error!(request_id = %self.id_text, error = %error, "the audit trail takes no lines");
        Fault::of(error.kind())
    }

    fn noted(&self, caller: &Caller, fault: Fault) -> Fault {
        self.pipeline.recent.keep(&self.id_text, Some(caller), Trouble::at("backend", fault.kind, fault.detail));
        fault
    }

    fn encode_secret(
        &self,
        shape: &Shape,
        disclosure: Disclosure,
        backend: Option<&str>,
        mode: Mode,
        more: bool,
    ) -> WireResponse {
        let reveal = Reveal { mode: Some(mode), backend, more, ..self.reveal() };
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
            now_secs: self.pipeline.clock.now().secs(),
            backend: None,
            mode: None,
            more: false,
        }
    }

    fn render(&self, fault: Fault) -> WireResponse {
        self.pipeline.meter.count(self.state.kind, self.operation, Some(fault.kind), self.started);
        tracing::debug!(request_id = %self.id_text, kind = fault.kind.label(), "refused");
        self.state.frontend.refuse(fault, self.reveal())
    }
}

/// What a request is called in metrics and audit.
const fn operation(request: &Request) -> Operation {
    match request {
        Request::Secret(call) => call.operation,
        Request::Login(_) => Operation::Login,
        Request::System(_) => Operation::System,
        Request::Token(request) => own::token_operation(request),
        Request::Admin(request) => own::admin_operation(request),
    }
}

/// Reads from where the admitted route leads.
async fn execute(
    tenant: &TenantState,
    secret: &SecretCall,
    receipt: &Receipt,
    clock: &dyn Clock,
    request_id: &str,
) -> (Facts, Result<Reply, Fault>) {
    let Some(Grant { route, .. }) = receipt.grants().first() else {
        return (Facts::default(), Err(Fault::of(ErrorKind::Internal)));
    };
    if route.mode == Mode::Local {
        let result = local::read(&tenant.records, &route.path, &secret.action, clock.now());
        return (Facts::default(), result.map(Reply::Neutral).map_err(|error| local_fault(&error)));
    }
    proxy::execute(tenant, secret, route, request_id).await
}

async fn write_local(
    tenant: &TenantState,
    secret: SecretCall,
    receipt: &Receipt,
    clock: &dyn Clock,
) -> (Facts, Result<Reply, Fault>) {
    let Some(Grant { route, .. }) = receipt.grants().first() else {
        return (Facts::default(), Err(Fault::of(ErrorKind::Internal)));
    };
    let result = local::write(&tenant.records, &route.path, secret.action, tenant.limits, clock.now()).await;
    (Facts::default(), result.map(Reply::Neutral).map_err(|error| local_fault(&error)))
}

fn local_fault(error: &LocalError) -> Fault {
    Fault { detail: error.detail(), ..Fault::of(error.kind()) }
}

/// The end of an admitted call in the trail, and its reply if the trail took it.
async fn finish(
    pipeline: &Pipeline,
    receipt: Receipt,
    facts: Facts,
    result: Result<Reply, Fault>,
) -> Result<Disclosure, Fault> {
    let result = match result {
        Ok(Reply::Neutral(Outcome::NotFound)) => Err(Fault::of(ErrorKind::NotFound)),
        other => other,
    };
    match result {
        Ok(reply) => pipeline.auditor.disclose(receipt, facts, reply).await.map_err(|error| Fault::of(error.kind())),
        Err(fault) => match pipeline.auditor.fail(receipt, facts, fault.kind).await {
            Ok(()) => Err(fault),
            Err(error) => Err(Fault::of(error.kind())),
        },
    }
}
