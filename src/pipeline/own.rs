//! Calls that are not about secrets: logins, the caller's own token, the system, administration. Each is written to the
//! trail before its answer leaves.

use super::{Line, No};
use crate::audit::{Note, Refusal};
use crate::error::ErrorKind;
use crate::identity::{Caller, ChildSpec, Credential, IdentityError, IssueSpec, Issued, Login};
use crate::mapping::Route;
use crate::policy::{Resource, SystemArea};
use crate::secret::{Action, Folder, Mode, Operation, SecretPath, Tenant};
use crate::wire::{
    AdminRequest, Answer, Fault, LoginProof, LoginRequest, Probe, Shape, SystemRequest, TokenRequest, WireResponse,
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
                let mut subject = self.subject(None, self.operation);
                subject.tenant = tenant;
                subject.principal = Some(issued.info.principal.clone());
                self.pipeline
                    .auditor
                    .record(subject, Note::ok("login"))
                    .await
                    .map_err(|error| self.unaudited(&error))?;
                Ok(self.encode(shape, Answer::Issued(issued), None, false))
            }
            Err(error) => {
                let kind = error.kind();
                let refusal = match kind {
                    ErrorKind::Unauthenticated => Refusal::Unauthenticated,
                    kind => Refusal::Other { kind, path: None },
                };
                Err(self.refused(None, No::new(refusal, login_fault(&error))).await)
            }
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
            Credential::None => None,
        };
        let (detail, answer) = match request {
            TokenRequest::Lookup => ("lookup", Ok(Answer::Token(directory.lookup(caller), own))),
            TokenRequest::Renew(by) => ("renew", directory.renew(caller, by).map(|info| Answer::Renewed(info, own))),
            TokenRequest::Revoke => ("revoke", directory.revoke(caller).map(|()| Answer::Done)),
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
                let Route { mode, path, .. } =
                    tenant.router.resolve(&path).filter(|_| !tenant.is_guarded(&path, false))?;
                let writable = mode == Mode::Local || !call.operation.is_write();
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
        shape: &Shape,
    ) -> Result<WireResponse, Fault> {
        let tenant = caller.principal.tenant();
        let directory = &self.snapshot.directory;
        let answer = match request {
            AdminRequest::Explain(request) => return self.explain(request, caller, shape).await,
            AdminRequest::IssueToken { principal, groups, folders, ttl } => {
                let note = Note::ok("issue").about(&principal);
                self.administer(caller, SystemArea::Tokens, note).await?;
                let spec = IssueSpec { principal, groups, folders, ttl };
                directory.issue(tenant, spec).map(Answer::Issued).map_err(|error| login_fault(&error))
            }
            AdminRequest::RevokeToken(named) => {
                self.administer(caller, SystemArea::Tokens, Note::ok("revoke")).await?;
                directory.revoke_token(tenant, &named).map(|()| Answer::Done).map_err(|error| login_fault(&error))
            }
            AdminRequest::Revocation { principal, revoked } => {
                let word = if revoked { "revoke_principal" } else { "restore_principal" };
                self.administer(caller, SystemArea::Tokens, Note::ok(word).about(&principal)).await?;
                let done = if revoked {
                    directory.revoke_principal(tenant, &principal)
                } else {
                    directory.restore_principal(tenant, &principal)
                };
                done.map(|_| Answer::Done).map_err(|error| login_fault(&error))
            }
        };
        answer.map(|answer| self.encode(shape, answer, None, false))
    }

    /// Asks policy for `administer` and writes the trail's line before anything is changed.
    pub(super) async fn administer(&self, caller: &Caller, area: SystemArea, note: Note) -> Result<(), Fault> {
        let Some(tenant) = self.snapshot.tenants.get(caller.principal.tenant()) else {
            return Err(Fault::of(ErrorKind::Denied));
        };
        match self.decide(tenant, caller, Action::Administer, Resource::System(area), Mode::Local) {
            Ok(_) => self.record(caller, note).await,
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
