//! Logins: from a credential that proves something once to a run-time token.
//!
//! A login belongs to one tenant, named by the namespace or the listener; no other tenant's roles or issuers are looked
//! at. What a client asks for in a login (its `role`) decides nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::credential::{MAX_JWT_BYTES, MAX_TOKEN_BYTES, check_text};
use super::digest::Place;
use super::directory::Directory;
use super::jwt::{Accepted, Verdict};
use super::session::{Draft, Issued, Terms};
use super::{IdentityError, JwtFault, Method, Principal};
use crate::secret::{SecretPath, Tenant};

const MAX_FETCHES: usize = 4;

/// What a client logs in with. `Debug` shows the kind and mount only.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    /// `auth/<mount>/login` with a role id and a secret id.
    Approle {
        /// The mount, usually `approle`.
        mount: &'a str,
        /// The role id.
        role_id: &'a str,
        /// The secret id.
        secret_id: &'a str,
    },
    /// `auth/<mount>/login` with a JWT.
    Jwt {
        /// The mount, usually `kubernetes` or `jwt`.
        mount: &'a str,
        /// The token.
        jwt: &'a str,
        /// The role asked for: shown in the token's metadata if it is a plain name, otherwise ignored.
        role: Option<&'a str>,
    },
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approle { mount, .. } => write!(f, "Approle({mount:?}, ..)"),
            Self::Jwt { mount, .. } => write!(f, "Jwt({mount:?}, ..)"),
        }
    }
}

impl Directory {
    /// Logs a client in at `tenant`, waiting for an issuer's keys if need be.
    ///
    /// # Errors
    /// [`IdentityError::Approle`] for any wrong or unknown half of an AppRole, [`IdentityError::Jwt`] for a JWT that
    /// proves nothing, [`IdentityError::Revoked`], [`IdentityError::TooManyTokens`] and so on.
    pub async fn login(&self, tenant: &Tenant, login: Login<'_>) -> Result<Issued, IdentityError> {
        match login {
            Login::Approle { mount, role_id, secret_id } => self.approle_login(tenant, mount, role_id, secret_id),
            Login::Jwt { mount, jwt, role } => self.jwt_login(tenant, mount, jwt, role).await,
        }
    }

    /// Answers any login on a workload listener: a token that looks new and is kept nowhere, because nothing on that
    /// listener is read.
    ///
    /// # Errors
    /// When the tenant has no workload, it is revoked, or `mount` is not a path.
    pub fn workload_login(&self, tenant: &Tenant, mount: &str) -> Result<Issued, IdentityError> {
        let path = login_path(mount)?;
        let caller = self.workload(Some(tenant))?;
        let (token, accessor) = self.sessions.unkept()?;
        let mut info = self.lookup(&caller);
        info.display_name = display_name(mount, &caller.principal);
        info.accessor = accessor.into_string();
        info.path = path;
        Ok(Issued { token, info })
    }

    fn approle_login(
        &self,
        tenant: &Tenant,
        mount: &str,
        role_id: &str,
        secret_id: &str,
    ) -> Result<Issued, IdentityError> {
        let path = login_path(mount)?;
        let is_plain = |text: &str| check_text(text, MAX_TOKEN_BYTES).is_ok();
        if !is_plain(role_id) || !is_plain(secret_id) {
            return Err(IdentityError::Approle);
        }
        // Both halves are always hashed and looked up, so that which one was wrong takes no longer to find out.
        let role = self.entry(tenant)?.roles.get(&self.sessions.digest(Place::RoleId, role_id));
        let secret = self.sessions.digest(Place::SecretId, secret_id);
        let is_proven = role.map_or(&self.no_role, |role| &role.secrets).contains(&secret);
        let role = role.filter(|_| is_proven).ok_or(IdentityError::Approle)?;
        let meta = vec![("role_name".to_owned(), role.principal.id().to_owned())];
        self.grant(mount, path, &role.principal, meta, (role.ttl, role.max_ttl))
    }

    async fn jwt_login(
        &self,
        tenant: &Tenant,
        mount: &str,
        jwt: &str,
        role: Option<&str>,
    ) -> Result<Issued, IdentityError> {
        let path = login_path(mount)?;
        check_text(jwt, MAX_JWT_BYTES)?;
        let entry = self.entry(tenant)?;
        let accepted = self.await_verdict(tenant, jwt).await?;
        let mut meta = vec![("principal".to_owned(), accepted.principal.id().to_owned())];
        if let Some(role) = role.filter(|role| Principal::check_group(role).is_ok()) {
            meta.push(("role".to_owned(), role.to_owned()));
        }
        self.grant(mount, path, &accepted.principal, meta, (entry.ttl, entry.max_ttl))
    }

    async fn await_verdict(&self, tenant: &Tenant, jwt: &str) -> Result<Accepted, IdentityError> {
        for _ in 0..MAX_FETCHES {
            match self.issuers.judge_for(jwt, tenant, self.clock.now(), self.sessions.now()) {
                Verdict::Accepted(accepted) => return Ok(accepted),
                Verdict::Refused(error) => return Err(error),
                Verdict::Fetch(ring) => self.fetch(ring).await,
            }
        }
        Err(JwtFault::Key.into())
    }

    fn grant(
        &self,
        mount: &str,
        path: String,
        principal: &Arc<Principal>,
        meta: Vec<(String, String)>,
        (ttl, max_ttl): (Duration, Duration),
    ) -> Result<Issued, IdentityError> {
        self.keep(Draft {
            principal: Arc::clone(principal),
            path,
            display_name: display_name(mount, principal),
            meta,
            terms: Terms { ttl, max_ttl, explicit_max_ttl: None, renewable: true },
            parent: None,
            anchor: None,
        })
    }

    /// Makes a run-time token, unless its principal is revoked.
    pub(super) fn keep(&self, draft: Draft) -> Result<Issued, IdentityError> {
        self.check_revoked(&draft.principal)?;
        let (token, session) = self.sessions.issue(draft)?;
        // A revocation may have walked the table just before the token was in it.
        if let Err(error) = self.check_revoked(session.principal()) {
            self.sessions.end(&session);
            return Err(error);
        }
        Ok(Issued { token, info: session.info(session.issued()) })
    }
}

fn login_path(mount: &str) -> Result<String, IdentityError> {
    match SecretPath::parse(mount) {
        Ok(_) => Ok(format!("auth/{mount}/login")),
        Err(_) => Err(IdentityError::Invalid { what: "the mount", why: "must be plain segments joined by `/`" }),
    }
}

fn display_name(mount: &str, principal: &Principal) -> String {
    // a real server shows an AppRole's login by its mount alone
    match principal.method() {
        Method::Approle => mount.to_owned(),
        _ => format!("{mount}-{}", principal.id()).replace('/', "-"),
    }
}
