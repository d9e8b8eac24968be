//! Calls about tokens: look up, renew, revoke, make children, issue, and end principals.
//!
//! The first four are about the caller's own token and need no policy; issuing and revoking others is administration,
//! which the caller of these functions has had authorised.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::credential::{MAX_TOKEN_BYTES, check_text};
use super::digest::Place;
use super::directory::Directory;
use super::jwt::parse_folder;
use super::session::{Draft, Issued, Session, Terms, TokenInfo};
use super::{Caller, CallerVia, IdentityError, Method, Principal};
use crate::secret::Tenant;

const MAX_LABEL_BYTES: usize = 256;
const MAX_META: usize = 64;
const CHILD_PATH: &str = "auth/token/create";
const ISSUE_PATH: &str = "v1/tokens";

/// A child token as a client asks for it.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// The groups it is to have: some of its parent's. `None` means all of them.
    pub policies: Option<Vec<String>>,
    /// How long it lives unless renewed; `None` or zero: the tenant's `token_ttl`.
    pub ttl: Option<Duration>,
    /// How long it can live with renewals; never more than the tenant's `token_max_ttl`.
    pub explicit_max_ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// For people.
    pub display_name: Option<String>,
    /// Attached to it.
    pub meta: Vec<(String, String)>,
    /// Refused unless zero: tokens are not counted.
    pub num_uses: u64,
    /// Refused if set: a child ends with its parent.
    pub no_parent: bool,
}

impl Default for ChildSpec {
    fn default() -> Self {
        Self {
            policies: None,
            ttl: None,
            explicit_max_ttl: None,
            renewable: true,
            display_name: None,
            meta: Vec::new(),
            num_uses: 0,
            no_parent: false,
        }
    }
}

/// A token below a caller's credential, as decided.
pub(super) struct Descent {
    pub(super) principal: Arc<Principal>,
    pub(super) path: &'static str,
    pub(super) display_name: String,
    pub(super) meta: Vec<(String, String)>,
    /// `None` or zero: the tenant's `token_ttl`.
    pub(super) ttl: Option<Duration>,
    pub(super) explicit_max_ttl: Option<Duration>,
    pub(super) renewable: bool,
}

/// A token as an administrator asks for it.
#[derive(Clone, Debug, Default)]
pub struct IssueSpec {
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
    /// How long it lives unless renewed; at most the tenant's `token_max_ttl`. `None` or zero: its `token_ttl`.
    pub ttl: Option<Duration>,
}

impl Directory {
    /// What is known about the caller's own credential.
    #[must_use]
    pub fn lookup(&self, caller: &Caller) -> TokenInfo {
        match &caller.token {
            Some(handle) => handle.0.info(self.sessions.now()),
            None => self.describe(caller, None),
        }
    }

    /// Renews the caller's own token by `increment` (default: what it was issued with), within its maximum.
    ///
    /// # Errors
    /// [`IdentityError::NotRenewable`] for credentials that were not issued here or not as renewable.
    pub fn renew(&self, caller: &Caller, increment: Option<Duration>) -> Result<TokenInfo, IdentityError> {
        let now = self.sessions.now();
        match (&caller.token, caller.via) {
            (Some(handle), _) => {
                handle.0.renew(increment, now)?;
                self.sessions.renewed(&handle.0);
                Ok(handle.0.info(now))
            }
            (None, CallerVia::Workload) => Ok(self.describe(caller, increment)),
            (None, _) => Err(IdentityError::NotRenewable),
        }
    }

    /// Ends the caller's own token and all its descendants. On a workload listener there is nothing to end.
    ///
    /// # Errors
    /// [`IdentityError::NotRevocable`] for credentials that were not issued here.
    pub fn revoke(&self, caller: &Caller) -> Result<(), IdentityError> {
        match (&caller.token, caller.via) {
            (Some(handle), _) => {
                self.sessions.end(&handle.0);
                Ok(())
            }
            (None, CallerVia::Workload) => Ok(()),
            (None, _) => Err(IdentityError::NotRevocable),
        }
    }

    /// Makes a token with some or all of the caller's groups that ends with the caller's token at the latest.
    ///
    /// # Errors
    /// [`IdentityError::BeyondParent`] for a group the caller lacks; [`IdentityError::Orphan`],
    /// [`IdentityError::Unsupported`] and [`IdentityError::Invalid`] for what a child cannot be.
    pub fn create_child(&self, caller: &Caller, spec: ChildSpec) -> Result<Issued, IdentityError> {
        check_child(&spec)?;
        self.descend(
            caller,
            Descent {
                principal: child_principal(&caller.principal, spec.policies.as_deref())?,
                path: CHILD_PATH,
                display_name: spec.display_name.map_or_else(|| "token".to_owned(), |name| format!("token-{name}")),
                meta: spec.meta,
                ttl: spec.ttl,
                explicit_max_ttl: spec.explicit_max_ttl,
                renewable: spec.renewable,
            },
        )
    }

    /// Makes a token below the caller's credential, which it does not outlive.
    pub(super) fn descend(&self, caller: &Caller, wanted: Descent) -> Result<Issued, IdentityError> {
        let entry = self.entry(caller.principal.tenant())?;
        if caller.via == CallerVia::Workload {
            return self.workload_child(caller, &wanted);
        }
        let parent = caller.token.as_ref().map(|handle| Arc::clone(&handle.0));
        if parent.as_ref().is_some_and(|parent| !parent.may_have_child()) {
            return Err(IdentityError::TooDeep);
        }
        let left = caller.not_after.map(|end| end.since(self.clock.now()));
        let terms = Terms {
            ttl: wanted.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(entry.ttl),
            max_ttl: left.map_or(entry.max_ttl, |left| left.min(entry.max_ttl)),
            explicit_max_ttl: wanted.explicit_max_ttl.filter(|max| !max.is_zero()),
            renewable: wanted.renewable,
        };
        self.keep(Draft {
            principal: wanted.principal,
            path: wanted.path.to_owned(),
            display_name: wanted.display_name,
            meta: wanted.meta,
            terms,
            anchor: self.anchor(caller, parent.as_deref())?,
            parent,
        })
    }

    /// The configured credential a token below the caller's descends from.
    fn anchor(&self, caller: &Caller, parent: Option<&Session>) -> Result<Option<[u8; 16]>, IdentityError> {
        match (parent, caller.via) {
            (Some(parent), _) => Ok(parent.anchor().copied()),
            (None, CallerVia::StaticToken) => Ok(Some(caller.credential)),
            (None, CallerVia::AccessKey) => {
                let key = self.access_keys.get(&caller.credential).ok_or(IdentityError::Unknown)?;
                Ok(Some(key.anchor))
            }
            (None, _) => Ok(None),
        }
    }

    /// Issues a token to any principal of a tenant. It has no parent.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] naming the field that is wrong.
    pub fn issue(&self, tenant: &Tenant, spec: IssueSpec) -> Result<Issued, IdentityError> {
        let entry = self.entry(tenant)?;
        Principal::check_id(&spec.principal)?;
        let mut groups: Vec<Box<str>> = Vec::with_capacity(spec.groups.len());
        for group in spec.groups {
            Principal::check_group(&group)?;
            groups.push(group.into_boxed_str());
        }
        let mut folders = Vec::with_capacity(spec.folders.len());
        for folder in &spec.folders {
            let why = "must be a secret path, and not empty";
            folders.push(parse_folder(folder).map_err(|_| IdentityError::Invalid { what: "a folder", why })?);
        }
        let ttl = spec.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(entry.ttl);
        if ttl > entry.max_ttl {
            return Err(IdentityError::Invalid { what: "ttl", why: "must not exceed the tenant's `token_max_ttl`" });
        }
        let principal = Arc::new(Principal::new(tenant.clone(), &spec.principal, Method::Token, groups, folders));
        self.keep(Draft {
            display_name: format!("token-{}", principal.id()).replace('/', "-"),
            principal,
            path: ISSUE_PATH.to_owned(),
            meta: Vec::new(),
            terms: Terms { ttl, max_ttl: entry.max_ttl, explicit_max_ttl: None, renewable: true },
            parent: None,
            anchor: None,
        })
    }

    /// Ends a run-time token of the tenant, named by its value or accessor, and all its descendants.
    ///
    /// # Errors
    /// [`IdentityError::TokenNotFound`] if the tenant has none such, whatever other tenants have.
    pub fn revoke_token(&self, tenant: &Tenant, token_or_accessor: &str) -> Result<(), IdentityError> {
        check_text(token_or_accessor, MAX_TOKEN_BYTES)?;
        let now = self.sessions.now();
        let by_value = self.sessions.find(&self.sessions.digest(Place::Credential, token_or_accessor), now);
        let own = by_value.filter(|session| session.principal().tenant() == tenant);
        let found = own.or_else(|| self.sessions.find_accessor(tenant, token_or_accessor, now));
        let session = found.ok_or(IdentityError::TokenNotFound)?;
        self.sessions.end(&session);
        Ok(())
    }

    /// Ends every credential of a principal at once, until restored; its run-time tokens for good.
    ///
    /// # Errors
    /// When the tenant is unknown, the name is not one, or the tenant has too many revocations.
    pub fn revoke_principal(&self, tenant: &Tenant, id: &str) -> Result<(), IdentityError> {
        self.entry(tenant)?;
        Principal::check_id(id)?;
        self.sessions.revocations().insert(tenant, id)?;
        self.sessions.judged(tenant, id);
        self.sessions.end_principal(tenant, id);
        Ok(())
    }

    /// Lets a principal's configured credentials, JWTs and certificates work again. Yields whether they did not before.
    ///
    /// # Errors
    /// [`IdentityError::RevokedByConfiguration`] if `identity.revoked` lists it: only an edit there restores it.
    pub fn restore_principal(&self, tenant: &Tenant, id: &str) -> Result<bool, IdentityError> {
        let entry = self.entry(tenant)?;
        Principal::check_id(id)?;
        let was_revoked = self.sessions.revocations().remove(tenant, id);
        self.sessions.judged(tenant, id);
        if entry.revoked.contains(id) { Err(IdentityError::RevokedByConfiguration) } else { Ok(was_revoked) }
    }

    /// Returns once a restart finds every token of the tenant as it is now, and every revocation: to be waited for before
    /// anybody is told that one of them ended, and before a new one is given away.
    ///
    /// # Errors
    /// [`IdentityError::Unkept`] when it cannot be written down. What was ended stays ended in this process.
    pub async fn settled(&self, tenant: &Tenant) -> Result<(), IdentityError> {
        self.sessions.settled(tenant).await
    }

    /// The revoked principals of a tenant, configured or at run time, sorted.
    #[must_use]
    pub fn revoked_principals(&self, tenant: &Tenant) -> Vec<String> {
        let mut all: BTreeSet<String> = self.sessions.revocations().of(tenant).into_iter().collect();
        if let Some(entry) = self.tenants.get(tenant) {
            all.extend(entry.revoked.iter().cloned());
        }
        all.into_iter().collect()
    }

    // Whatever is presented on a workload listener is the whole workload, so a child with fewer groups would be a lie.
    fn workload_child(&self, caller: &Caller, wanted: &Descent) -> Result<Issued, IdentityError> {
        if !Arc::ptr_eq(&wanted.principal, &caller.principal) {
            return Err(IdentityError::Unsupported("a token with fewer groups than the workload"));
        }
        let (token, accessor) = self.sessions.unkept()?;
        let mut info = self.describe(caller, None);
        info.accessor = accessor.into_string();
        info.path = wanted.path.to_owned();
        info.orphan = false;
        Ok(Issued { token, info })
    }

    /// What a credential that is no run-time token looks like as one.
    fn describe(&self, caller: &Caller, increment: Option<Duration>) -> TokenInfo {
        let now = self.clock.now();
        let (path, renewable) = match caller.via {
            CallerVia::Workload => ("auth/workload/login", true),
            CallerVia::StaticToken | CallerVia::RunTimeToken => (CHILD_PATH, false),
            CallerVia::Jwt => ("auth/jwt/login", false),
            CallerVia::Certificate => ("auth/cert/login", false),
            CallerVia::AccessKey => ("auth/aws/login", false),
        };
        let entry = self.tenants.get(caller.principal.tenant()).filter(|_| renewable);
        let life = entry.map(|entry| increment.filter(|i| !i.is_zero()).unwrap_or(entry.ttl).min(entry.max_ttl));
        let left = caller.not_after.map(|end| end.since(now)).or(life);
        TokenInfo {
            accessor: URL_SAFE_NO_PAD.encode(caller.credential),
            principal: Arc::clone(&caller.principal),
            issued_at: if renewable { now } else { self.loaded },
            expires_at: left.map(|left| now.after(left)),
            ttl: left.unwrap_or_default(),
            creation_ttl: left.unwrap_or_default(),
            max_ttl: entry.map(|entry| entry.max_ttl),
            explicit_max_ttl: None,
            renewable,
            display_name: format!("{}-{}", caller.principal.method().as_str(), caller.principal.id()).replace('/', "-"),
            meta: Vec::new(),
            orphan: true,
            path: path.to_owned(),
            parent: None,
        }
    }
}

fn check_child(spec: &ChildSpec) -> Result<(), IdentityError> {
    if spec.no_parent {
        return Err(IdentityError::Orphan);
    }
    if spec.num_uses != 0 {
        return Err(IdentityError::Unsupported("`num_uses`"));
    }
    if !spec.display_name.as_deref().is_none_or(is_label) {
        return Err(IdentityError::Invalid {
            what: "display_name",
            why: "must be at most 256 bytes without control characters",
        });
    }
    if spec.meta.len() > MAX_META || !spec.meta.iter().all(|(name, value)| is_label(name) && is_label(value)) {
        let why = "must hold at most 64 texts of at most 256 bytes without control characters";
        return Err(IdentityError::Invalid { what: "meta", why });
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control)
}

/// The parent's principal with the groups wanted, all of which it must have. Keeps the method, so that a rule about how
/// a principal was recognised holds for its children.
fn child_principal(parent: &Arc<Principal>, wanted: Option<&[String]>) -> Result<Arc<Principal>, IdentityError> {
    let Some(wanted) = wanted else { return Ok(Arc::clone(parent)) };
    let has = |group: &String| parent.groups().iter().any(|own| **own == **group);
    if !wanted.iter().all(has) {
        return Err(IdentityError::BeyondParent);
    }
    let is_wanted = |own: &str| wanted.iter().any(|group| **group == *own);
    let groups: Vec<Box<str>> = parent.groups().iter().filter(|own| is_wanted(own)).cloned().collect();
    if groups.len() == parent.groups().len() {
        return Ok(Arc::clone(parent));
    }
    let (tenant, folders) = (parent.tenant().clone(), parent.folders().to_vec());
    Ok(Arc::new(Principal::new(tenant, parent.id(), parent.method(), groups, folders)))
}
