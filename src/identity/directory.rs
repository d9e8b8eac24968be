//! The directory: a snapshot of all tenants' identity settings, and the one door every request comes in by.
//!
//! INVARIANT: each kind of credential is decided by one function and there is no falling back from one to another;
//! every success passes `admit`, which knows who is revoked.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::credential::{MAX_JWT_BYTES, MAX_TOKEN_BYTES, check_text};
use super::digest::{Digest, Place};
use super::jwt::{self, Issuers, JwksSource, KeyRing, Verdict};
use super::moment::Moment;
use super::session::Session;
use super::{
    Caller, CallerVia, Credential, IdentityError, JwtFault, PeerCertificate, Principal, Sessions, TokenHandle,
    parse_namespace,
};
use crate::clock::{Clock, Timestamp};
use crate::secret::{Folder, Tenant};

/// How many key sets one request waits for: more than one only if an issuer is configured at several places.
const MAX_FETCHES: usize = 4;

/// Who is who, for all tenants. Immutable: a reload compiles a new one over the same [`Sessions`] and swaps it in.
pub struct Directory {
    pub(super) tenants: HashMap<Tenant, Entry>,
    pub(super) tokens: HashMap<Digest, Arc<Principal>>,
    /// Access keys by the short digest of their ids.
    pub(super) access_keys: HashMap<[u8; 16], SigningKey>,
    /// What a signature is verified with whose access key id nobody has, so that it takes as long.
    pub(super) no_secret: Zeroizing<String>,
    /// Short digests of the keys of `tokens`, and of the pairs of `access_keys`: tokens descending from a configured
    /// credential live while it is configured.
    pub(super) anchors: HashSet<[u8; 16]>,
    pub(super) certificates: HashMap<String, Named>,
    pub(super) namespaces: HashMap<String, Tenant>,
    pub(super) issuers: Issuers,
    /// What a login with an unknown role id is compared with, so that it takes as long.
    pub(super) no_role: HashSet<Digest>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) jwks: Arc<dyn JwksSource>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) loaded: Timestamp,
}

/// What one tenant's settings come to.
pub(super) struct Entry {
    pub(super) ttl: Duration,
    pub(super) max_ttl: Duration,
    pub(super) has_namespaces: bool,
    pub(super) revoked: HashSet<String>,
    pub(super) workload: Option<Named>,
    pub(super) roles: HashMap<Digest, Role>,
}

/// A principal recognised by something that is no secret.
pub(super) struct Named {
    pub(super) principal: Arc<Principal>,
    pub(super) credential: [u8; 16],
}

/// A configured access key.
pub(super) struct SigningKey {
    pub(super) principal: Arc<Principal>,
    pub(super) secret: Zeroizing<String>,
    /// Its id and secret together, digested: another secret under the same id is another key.
    pub(super) anchor: [u8; 16],
}

/// An AppRole.
pub(super) struct Role {
    pub(super) principal: Arc<Principal>,
    pub(super) secrets: HashSet<Digest>,
    pub(super) ttl: Duration,
    pub(super) max_ttl: Duration,
}

/// The answer of a step that may need keys first.
enum Step {
    Done(Result<Caller, IdentityError>),
    Fetch(Arc<KeyRing>),
}

impl Directory {
    /// Decides who a request comes from, waiting for an issuer's keys if need be.
    ///
    /// With `workload` everything is the workload of `tenant` (default: the default tenant) and the credential is not
    /// read. Otherwise the credential decides, and with it the tenant; a certificate counts only without a credential.
    ///
    /// # Errors
    /// Why nobody is let in; see [`IdentityError::kind`].
    pub async fn authenticate(
        &self,
        credential: Credential<'_>,
        certificate: Option<&PeerCertificate>,
        tenant: Option<&Tenant>,
        workload: bool,
    ) -> Result<Caller, IdentityError> {
        for _ in 0..MAX_FETCHES {
            match self.step(credential, certificate, tenant, workload) {
                Step::Done(result) => return result,
                Step::Fetch(ring) => self.fetch(ring).await,
            }
        }
        Err(JwtFault::Key.into())
    }

    /// As [`Self::authenticate`] without waiting; `None` if that needs an issuer's keys first.
    pub fn authenticate_now(
        &self,
        credential: Credential<'_>,
        certificate: Option<&PeerCertificate>,
        tenant: Option<&Tenant>,
        workload: bool,
    ) -> Option<Result<Caller, IdentityError>> {
        match self.step(credential, certificate, tenant, workload) {
            Step::Done(result) => Some(result),
            Step::Fetch(_) => None,
        }
    }

    /// The tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.keys()
    }

    /// The principals of this name that configured credentials stand for: one for each method and set of groups and
    /// folders, in a fixed order. JWTs describe theirs themselves. Walks the tables: for administration only.
    #[must_use]
    pub fn configured(&self, tenant: &Tenant, id: &str) -> Vec<Arc<Principal>> {
        let entry = self.tenants.get(tenant);
        let workload = entry.and_then(|entry| entry.workload.as_ref()).map(|named| &named.principal);
        let roles = entry.into_iter().flat_map(|entry| entry.roles.values()).map(|role| &role.principal);
        let certificates = self.certificates.values().map(|named| &named.principal);
        let access_keys = self.access_keys.values().map(|key| &key.principal);
        let all = self.tokens.values().chain(workload).chain(roles).chain(certificates).chain(access_keys);
        let is_meant = |principal: &&Arc<Principal>| principal.tenant() == tenant && principal.id() == id;
        let mut found: Vec<Arc<Principal>> = all.filter(is_meant).map(Arc::clone).collect();
        found.sort_by(|one, other| content(one).cmp(&content(other)));
        found.dedup_by(|one, other| content(one) == content(other));
        found
    }

    /// Whose `namespaces` hold this one; `None` also for what [`parse_namespace`] refuses.
    #[must_use]
    pub fn tenant_of_namespace(&self, namespace: &str) -> Option<&Tenant> {
        self.namespaces.get(parse_namespace(namespace).ok()?)
    }

    /// Whether an authenticated request of the tenant may name this namespace.
    #[must_use]
    pub fn namespace_allowed(&self, tenant: &Tenant, namespace: &str) -> bool {
        self.tenant_of_namespace(namespace) == Some(tenant)
    }

    /// The same on a workload listener, where any namespace will do if the tenant has none configured.
    #[must_use]
    pub fn workload_namespace_allowed(&self, tenant: &Tenant, namespace: &str) -> bool {
        let any = self.tenants.get(tenant).is_some_and(|entry| !entry.has_namespaces);
        (any && parse_namespace(namespace).is_ok()) || self.namespace_allowed(tenant, namespace)
    }

    /// Fetches keys and returns when they are here or cannot be had now.
    pub(super) async fn fetch(&self, ring: Arc<KeyRing>) {
        ring.refresh(Arc::clone(&self.jwks), Arc::clone(self.sessions.timer())).await;
    }

    pub(super) fn entry(&self, tenant: &Tenant) -> Result<&Entry, IdentityError> {
        self.tenants.get(tenant).ok_or_else(|| IdentityError::UnknownTenant(Box::from(tenant.as_str())))
    }

    pub(super) fn is_revoked(&self, principal: &Principal) -> bool {
        let configured =
            self.tenants.get(principal.tenant()).is_some_and(|entry| entry.revoked.contains(principal.id()));
        configured || self.sessions.revocations().contains(principal.tenant(), principal.id())
    }

    pub(super) fn check_revoked(&self, principal: &Principal) -> Result<(), IdentityError> {
        if self.is_revoked(principal) { Err(IdentityError::Revoked(Box::from(principal.id()))) } else { Ok(()) }
    }

    /// The workload of a tenant.
    pub(super) fn workload(&self, tenant: Option<&Tenant>) -> Result<Caller, IdentityError> {
        let entry = match tenant {
            Some(tenant) => self.tenants.get(tenant),
            None => self.tenants.get(&Tenant::default_tenant()),
        };
        let Some(workload) = entry.and_then(|entry| entry.workload.as_ref()) else {
            return Err(IdentityError::NoWorkload(Box::from(tenant.map_or(Tenant::DEFAULT, Tenant::as_str))));
        };
        self.admit(workload.caller(CallerVia::Workload))
    }

    fn step(
        &self,
        credential: Credential<'_>,
        certificate: Option<&PeerCertificate>,
        tenant: Option<&Tenant>,
        workload: bool,
    ) -> Step {
        if workload {
            return Step::Done(self.workload(tenant));
        }
        match credential {
            Credential::None => Step::Done(self.by_certificate(certificate)),
            Credential::Token(token) => Step::Done(self.by_token(token)),
            Credential::Bearer(text) => self.by_bearer(text),
            Credential::Signed(request) => Step::Done(self.by_signature(request)),
        }
    }

    fn by_token(&self, token: &str) -> Result<Caller, IdentityError> {
        check_text(token, MAX_TOKEN_BYTES)?;
        let digest = self.sessions.digest(Place::Credential, token);
        self.by_digest(&digest).unwrap_or(Err(IdentityError::Unknown))
    }

    fn by_bearer(&self, text: &str) -> Step {
        let is_jwt = jwt::looks_like(text);
        if let Err(error) = check_text(text, if is_jwt { MAX_JWT_BYTES } else { MAX_TOKEN_BYTES }) {
            return Step::Done(Err(error));
        }
        let digest = self.sessions.digest(Place::Credential, text);
        if let Some(known) = self.by_digest(&digest) {
            return Step::Done(known);
        }
        if !is_jwt {
            return Step::Done(Err(IdentityError::Unknown));
        }
        match self.issuers.judge(text, &digest, self.clock.now(), self.sessions.now()) {
            Verdict::Accepted(accepted) => Step::Done(self.admit(Caller {
                principal: accepted.principal,
                credential: digest.short(),
                token: None,
                via: CallerVia::Jwt,
                not_after: Some(accepted.end),
                signature: None,
            })),
            Verdict::Refused(error) => Step::Done(Err(error)),
            Verdict::Fetch(ring) => Step::Fetch(ring),
        }
    }

    /// A configured or run-time token; `None` if there is no such token.
    fn by_digest(&self, digest: &Digest) -> Option<Result<Caller, IdentityError>> {
        let caller = |principal: Arc<Principal>, token: Option<TokenHandle>, via| Caller {
            principal,
            credential: digest.short(),
            token,
            via,
            not_after: None,
            signature: None,
        };
        if let Some(principal) = self.tokens.get(digest) {
            return Some(self.admit(caller(Arc::clone(principal), None, CallerVia::StaticToken)));
        }
        let session = self.session(digest, self.sessions.now())?;
        let principal = Arc::clone(session.principal());
        Some(self.admit(caller(principal, Some(TokenHandle(session)), CallerVia::RunTimeToken)))
    }

    /// A live run-time token whose tenant and, if it descends from one, configured token still exist.
    pub(super) fn session(&self, digest: &Digest, now: Moment) -> Option<Arc<Session>> {
        let session = self.sessions.find(digest, now)?;
        let stands = self.tenants.contains_key(session.principal().tenant())
            && session.anchor().is_none_or(|anchor| self.anchors.contains(anchor));
        stands.then_some(session)
    }

    fn by_certificate(&self, certificate: Option<&PeerCertificate>) -> Result<Caller, IdentityError> {
        let certificate = certificate.ok_or(IdentityError::Missing)?;
        let mut found: Option<&Named> = None;
        for named in certificate.sans.iter().filter_map(|san| self.certificates.get(san)) {
            match found {
                Some(first) if !first.is_same(named) => return Err(IdentityError::AmbiguousCertificate),
                Some(_) => {}
                None => found = Some(named),
            }
        }
        let named = found.ok_or(IdentityError::UnknownCertificate)?;
        self.admit(named.caller(CallerVia::Certificate))
    }

    pub(super) fn admit(&self, caller: Caller) -> Result<Caller, IdentityError> {
        self.check_revoked(&caller.principal).map(|()| caller)
    }
}

impl Named {
    fn caller(&self, via: CallerVia) -> Caller {
        Caller {
            principal: Arc::clone(&self.principal),
            credential: self.credential,
            token: None,
            via,
            not_after: None,
            signature: None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.principal, &other.principal);
        one.tenant() == two.tenant()
            && one.id() == two.id()
            && one.groups() == two.groups()
            && one.folders() == two.folders()
    }
}

/// What tells principals of one name apart.
fn content(principal: &Principal) -> (&'static str, &[Box<str>], &[Folder]) {
    (principal.method().as_str(), principal.groups(), principal.folders())
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory(..)")
    }
}
