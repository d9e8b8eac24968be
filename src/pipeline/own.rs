//! Calls that are not about secrets: logins, the caller's own token, the system, administration. Each is written to the
//! trail before its answer leaves.

use super::{Line, No, replica};
use crate::audit::{Note, Refusal};
use crate::error::ErrorKind;
use crate::identity::{Caller, ChildSpec, Credential, IdentityError, IssueSpec, Issued, Login, Principal};
use crate::mapping::Route;
use crate::policy::{Resource, SystemArea};
use crate::secret::{Action, Folder, Mode, Operation, SecretPath, Tenant, WireKind};
use crate::wire::{
    About, AdminRequest, Answer, Fault, LoginProof, LoginRequest, Probe, Shape, SystemRequest, TokenRequest,
    WireResponse,
};

pub(super) const fn token_operation(request: &TokenRequest) -> Operation {
    match request {
        TokenRequest::Lookup => Operation::TokenLookup,
        TokenRequest::Renew(_) => Operation::TokenRenew,
        TokenRequest::Revoke => Operation::TokenRevoke,
        TokenRequest::Create(_) => Operation::TokenCreate,
    }
}

pub(super) const fn admin_operation(request: &AdminRequest) -> Operation {
    match request {
        AdminRequest::IssueToken { .. } => Operation::TokenIssue,
        AdminRequest::RevokeToken(_) => Operation::TokenRevoke,
        AdminRequest::Revocation { .. } => Operation::PrincipalRevocation,
        AdminRequest::Explain(_) => Operation::Explain,
        AdminRequest::Federation(request) => super::federation::operation(request),
        AdminRequest::RotateSeal { .. } => Operation::SealRotate,
        AdminRequest::Events { .. } => Operation::FederationRead,
    }
}

impl Line<'_> {
    pub(super) async fn login(
        &self,
        login: LoginRequest,
        namespace: Option<&str>,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let tenant = match self.login_tenant(namespace) {
            Some(tenant) => tenant,
            None => {
                return Err(self.refused(None, No::other(ErrorKind::Denied)).await);
            }
        };
        match self.prove(&tenant, &login).await {
            Ok(issued) => {
                self.given(&tenant).await;
                let mut subject = self.subject(None, self.operation);
                subject.tenant = tenant;
                subject.principal = Some(issued.info.principal.clone());
                self.pipeline
                    .auditor
                    .record(subject, Note::ok("login"))
                    .await
                    .map_err(|error| self.unaudited(&error))?;
                Ok(self.encode(shape, self.issued(issued, self.state.kind == WireKind::Aws), None, false))
            }
            Err(error) => {
                let kind = error.kind();
                let refusal = match kind {
                    ErrorKind::Unauthenticated => Refusal::Unauthenticated,
                    kind => Refusal::Other { kind, path: None },
                };
                let fault = Fault { about: About::Login, ..login_fault(&error) };
                Err(self.refused(None, No::new(refusal, fault)).await)
            }
        }
    }

    /// What was issued, in the form it was asked for.
    fn issued(&self, issued: Issued, is_access_key: bool) -> Answer<'static> {
        if is_access_key {
            return Answer::AccessKey(self.snapshot.directory.access_key(&issued));
        }
        Answer::Issued(issued)
    }

    /// An access key of the caller's own principal, which ends no later than what was presented.
    pub(super) async fn access_key(&self, caller: &Caller, shape: &Shape) -> Result<WireResponse, Fault> {
        let issued = self.snapshot.directory.exchange(caller);
        self.given(caller.principal.tenant()).await;
        let note = match &issued {
            Ok(_) => Note::ok("access_key"),
            Err(error) => Note::failed(error.kind(), "access_key"),
        };
        self.record(caller, note).await?;
        match issued {
            Ok(issued) => Ok(self.encode(shape, self.issued(issued, true), None, false)),
            Err(error) => Err(login_fault(&error)),
        }
    }

    /// Whose login this is: the namespace's, else the listener's.
    fn login_tenant(&self, namespace: Option<&str>) -> Option<Tenant> {
        match namespace {
            None => Some(self.state.tenant.clone()),
            Some(_) if self.state.workload => Some(self.state.tenant.clone()),
            Some(namespace) => self.snapshot.directory.tenant_of_namespace(namespace).cloned(),
        }
    }

    async fn prove(&self, tenant: &Tenant, login: &LoginRequest) -> Result<Issued, IdentityError> {
        let directory = &self.snapshot.directory;
        let mount = login.mount.as_str();
        if self.state.workload {
            return directory.workload_login(tenant, mount);
        }
        match &login.proof {
            Some(LoginProof::Approle { role_id, secret_id }) => {
                directory.login(tenant, Login::Approle { mount, role_id, secret_id }).await
            }
            Some(LoginProof::Jwt { jwt, role }) => {
                directory.login(tenant, Login::Jwt { mount, jwt, role: role.as_deref() }).await
            }
            None => Err(IdentityError::Missing),
        }
    }

    pub(super) async fn token(
        &self,
        request: TokenRequest,
        caller: &Caller,
        credential: Credential<'_>,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let directory = &self.snapshot.directory;
        let own = match credential {
            Credential::Token(text) | Credential::Bearer(text) => Some(text),
            Credential::None | Credential::Signed(_) => None,
        };
        let (detail, answer) = match request {
            TokenRequest::Lookup => ("lookup", Ok(Answer::Token(directory.lookup(caller), own))),
            TokenRequest::Renew(by) => ("renew", directory.renew(caller, by).map(|info| Answer::Renewed(info, own))),
            TokenRequest::Revoke => {
                ("revoke", self.ended(caller, directory.revoke(caller)).await.map(|()| Answer::Done))
            }
            TokenRequest::Create(child) => {
                let spec = ChildSpec {
                    policies: child.policies,
                    ttl: child.ttl,
                    explicit_max_ttl: child.explicit_max_ttl,
                    renewable: child.renewable,
                    display_name: child.display_name,
                    meta: child.meta,
                    ..ChildSpec::default()
                };
                ("create", directory.create_child(caller, spec).map(Answer::Issued))
            }
        };
        if matches!(answer, Ok(Answer::Renewed(..) | Answer::Issued(_))) {
            self.given(caller.principal.tenant()).await;
        }
        let note = match &answer {
            Ok(_) => Note::ok(detail),
            Err(error) => Note::failed(error.kind(), detail),
        };
        self.record(caller, note).await?;
        match answer {
            Ok(answer) => Ok(self.encode(shape, answer, None, false)),
            Err(error) => Err(login_fault(&error)),
        }
    }

    pub(super) async fn system(
        &self,
        request: SystemRequest,
        caller: &Caller,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        self.record(caller, Note::ok("system")).await?;
        let answer = match &request {
            SystemRequest::Capabilities(probes) => Answer::Capabilities(
                probes.iter().map(|probe| (probe.asked.clone(), self.capabilities(probe, caller))).collect(),
            ),
            other => Answer::System(other, caller.principal.clone()),
        };
        Ok(self.encode(shape, answer, None, false))
    }

    /// What the caller may do at an API path, by the same decisions as the calls themselves.
    fn capabilities(&self, probe: &Probe, caller: &Caller) -> Vec<&'static str> {
        let may = |(word, call): &(&'static str, crate::secret::Call)| {
            let action = call.operation.action()?;
            let tenant = self.snapshot.tenants.get(caller.principal.tenant())?;
            let name = call.secret.name.as_ref()?.as_str();
            let permitted = if action == Action::List {
                let mut folders = self.state.paths.folders(name).into_iter().filter_map(|source| match source.kind {
                    crate::mapping::FolderKind::Children { folder } => Folder::parse(&folder).ok(),
                    _ => None,
                });
                folders.any(|folder| self.decide_list(tenant, caller, &folder).is_ok())
            } else {
                let path = SecretPath::parse(&self.state.paths.forward(name)?.name).ok()?;
                let route = tenant.router.resolve(&path).filter(|_| !tenant.is_guarded(&path, false))?;
                let writable = !call.operation.is_write() || replica::is_writable(tenant, &route);
                let Route { mode, path, .. } = route;
                writable && self.decide(tenant, caller, action, Resource::Secret(&path), mode).is_ok()
            };
            permitted.then_some(*word)
        };
        let mut words: Vec<&'static str> = probe.calls.iter().filter_map(may).collect();
        words.sort_unstable();
        if words.is_empty() { vec!["deny"] } else { words }
    }

    pub(super) async fn admin(
        &self,
        request: AdminRequest,
        caller: &Caller,
        credential: Credential<'_>,
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let request = match request {
            AdminRequest::Explain(request) => return self.explain(request, caller, shape).await,
            AdminRequest::Federation(request) => return self.federation(request, caller, shape).await,
            AdminRequest::RotateSeal { root } => return self.rotate_seal(root, caller, shape).await,
            AdminRequest::Events { after } => return self.follow(caller, credential, shape, after.as_deref()).await,
            request => request,
        };
        self.may_administer(caller, SystemArea::Tokens).await?;
        let answer = match request {
            AdminRequest::IssueToken { principal, groups, folders, ttl, is_access_key } => {
                self.issue(IssueSpec { principal, groups, folders, ttl }, is_access_key, caller).await?
            }
            AdminRequest::RevokeToken(named) => {
                let ended = self.snapshot.directory.revoke_token(caller.principal.tenant(), &named);
                let ended = self.ended(caller, ended).await;
                self.told(caller, "revoke", None, ended.as_ref().err()).await?;
                ended.map(|()| Answer::Done).map_err(|error| login_fault(&error))?
            }
            AdminRequest::Revocation { principal, revoked: true } => self.revoke(&principal, caller).await?,
            AdminRequest::Revocation { principal, revoked: false } => self.restore(&principal, caller).await?,
            AdminRequest::Explain(_)
            | AdminRequest::Federation(_)
            | AdminRequest::RotateSeal { .. }
            | AdminRequest::Events { .. } => return Err(Fault::of(ErrorKind::Internal)),
        };
        Ok(self.encode(shape, answer, None, false))
    }

    /// Makes a token. One whose making the trail did not take ends before anybody has it.
    async fn issue(&self, spec: IssueSpec, is_access_key: bool, caller: &Caller) -> Result<Answer<'static>, Fault> {
        let (directory, tenant) = (&self.snapshot.directory, caller.principal.tenant());
        let target = plain(&spec.principal);
        let issued = directory.issue(tenant, spec);
        self.given(tenant).await;
        if let Err(fault) = self.told(caller, "issue", target, issued.as_ref().err()).await {
            if let Ok(issued) = &issued {
                drop(self.ended(caller, directory.revoke_token(tenant, &issued.token)).await);
            }
            return Err(fault);
        }
        issued.map(|issued| self.issued(issued, is_access_key)).map_err(|error| login_fault(&error))
    }

    /// Ends a principal's credentials. They stay ended even if the trail takes no line: nothing is given by it.
    async fn revoke(&self, principal: &str, caller: &Caller) -> Result<Answer<'static>, Fault> {
        let ended = self.snapshot.directory.revoke_principal(caller.principal.tenant(), principal);
        let ended = self.ended(caller, ended).await;
        self.told(caller, "revoke_principal", plain(principal), ended.as_ref().err()).await?;
        ended.map(|()| Answer::Done).map_err(|error| login_fault(&error))
    }

    /// Lets a principal's credentials work again, unless the trail or the store does not take it.
    async fn restore(&self, principal: &str, caller: &Caller) -> Result<Answer<'static>, Fault> {
        let (directory, tenant) = (&self.snapshot.directory, caller.principal.tenant());
        let restored = directory.restore_principal(tenant, principal);
        let was_revoked = restored == Ok(true);
        let restored = self.ended(caller, restored.map(|_| ())).await;
        let told = self.told(caller, "restore_principal", plain(principal), restored.as_ref().err()).await;
        if was_revoked && (told.is_err() || restored.is_err()) {
            drop(self.ended(caller, directory.revoke_principal(tenant, principal)).await);
        }
        told?;
        restored.map(|()| Answer::Done).map_err(|error| login_fault(&error))
    }

    /// Waits until a restart finds what was given. It is given all the same where that cannot be: it is lost with the
    /// process then, and whoever has it logs in again.
    async fn given(&self, tenant: &Tenant) {
        if let Err(error) = self.settled(tenant).await {
            tracing::warn!(request_id = %self.id_text, %error, "what was given ends with this process");
        }
    }

    /// What ended is told only once no restart brings it back.
    async fn ended(&self, caller: &Caller, ended: Result<(), IdentityError>) -> Result<(), IdentityError> {
        ended?;
        self.settled(caller.principal.tenant()).await
    }

    /// On a task of its own: a client that goes away leaves nothing half done.
    async fn settled(&self, tenant: &Tenant) -> Result<(), IdentityError> {
        let (snapshot, tenant) = (self.snapshot.clone(), tenant.clone());
        let task = tokio::spawn(async move { snapshot.directory.settled(&tenant).await });
        task.await.unwrap_or(Err(IdentityError::Internal("the task that keeps tokens ended")))
    }

    /// Writes how a change ended, after it was tried and before anybody is told.
    async fn told(
        &self,
        caller: &Caller,
        word: &'static str,
        target: Option<Box<str>>,
        error: Option<&IdentityError>,
    ) -> Result<(), Fault> {
        let outcome = error.map_or(Ok(()), |error| Err(error.kind()));
        self.record(caller, Note { outcome, detail: word, target }).await
    }

    /// Asks policy for `administer`, and writes the line of a call that only looks.
    pub(super) async fn administer(&self, caller: &Caller, area: SystemArea, note: Note) -> Result<(), Fault> {
        self.may_administer(caller, area).await?;
        self.record(caller, note).await
    }

    async fn may_administer(&self, caller: &Caller, area: SystemArea) -> Result<(), Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        match self.decide(tenant, caller, Action::Administer, Resource::System(area), Mode::Local) {
            Ok(_) => Ok(()),
            Err(denial) => {
                let refusal = Refusal::Denied { path: None, denial, rule: None };
                Err(self.refused(Some(caller), No::new(refusal, Fault::of(ErrorKind::Denied))).await)
            }
        }
    }

    pub(super) async fn record(&self, caller: &Caller, note: Note) -> Result<(), Fault> {
        let subject = self.subject(Some(caller), self.operation);
        self.pipeline.auditor.record(subject, note).await.map_err(|error| self.unaudited(&error))
    }
}

/// A principal's name for the trail. What is no such name is not written down: it could be anything.
fn plain(name: &str) -> Option<Box<str>> {
    Principal::check_id(name).is_ok().then(|| Box::from(name))
}

/// What a client is told when identity says no: the kind, and the words a real server has for it.
fn login_fault(error: &IdentityError) -> Fault {
    let fault = Fault::of(error.kind());
    match error {
        IdentityError::Approle => Fault::because(ErrorKind::Malformed, "invalid role or secret ID"),
        IdentityError::BeyondParent => Fault::because(ErrorKind::Malformed, "child policies must be subset of parent"),
        IdentityError::NotRenewable => Fault::because(ErrorKind::Malformed, "lease is not renewable"),
        _ => fault,
    }
}
