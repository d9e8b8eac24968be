//! A tenant's identity settings as configuration hands them over: files read, nothing checked yet.
//!
//! [`super::Directory::compile`] checks them. Credentials are wiped on drop and absent from `Debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::secret::Tenant;

/// Everything under `identity:` of one tenant, and its `namespaces`.
#[derive(Clone, Debug)]
pub struct TenantIdentity {
    /// Whose settings these are.
    pub tenant: Tenant,
    /// Values of `X-Vault-Namespace` that mean this tenant.
    pub namespaces: Vec<String>,
    /// How long a run-time token lives unless renewed.
    pub token_ttl: Duration,
    /// How long it can live with renewals.
    pub token_max_ttl: Duration,
    /// Principals none of whose credentials work.
    pub revoked: Vec<String>,
    /// Who everything on an `auth: workload` listener is.
    pub workload: Option<WorkloadSettings>,
    /// Configured tokens.
    pub tokens: Vec<StaticToken>,
    /// AppRoles.
    pub approles: Vec<Approle>,
    /// Access keys that clients sign with.
    pub access_keys: Vec<StaticAccessKey>,
    /// Issuers whose JWTs are accepted, first match wins.
    pub jwt: Vec<JwtIssuer>,
    /// Client certificates.
    pub certificates: Vec<CertRule>,
}

impl TenantIdentity {
    /// A tenant in which nobody can authenticate, with the default lifetimes (1 h, 24 h).
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            namespaces: Vec::new(),
            token_ttl: Duration::from_secs(3600),
            token_max_ttl: Duration::from_secs(24 * 3600),
            revoked: Vec::new(),
            workload: None,
            tokens: Vec::new(),
            approles: Vec::new(),
            access_keys: Vec::new(),
            jwt: Vec::new(),
            certificates: Vec::new(),
        }
    }
}

/// Who everything on an `auth: workload` listener is.
#[derive(Clone, Debug)]
pub struct WorkloadSettings {
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
}

/// A token of the configuration.
#[derive(Clone)]
pub struct StaticToken {
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
    /// The token: 16 to 8,192 bytes of visible ASCII.
    pub token: Zeroizing<String>,
    /// Where it stands, for problems: the key path of the entry within the tenant (`identity.tokens[0]`), or the option
    /// (`--root-token`) if `dev` is set.
    pub key: String,
    /// Whether it comes from `dev --root-token`, where one byte is enough.
    pub dev: bool,
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticToken")
            .field("key", &self.key)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// An AppRole.
#[derive(Clone)]
pub struct Approle {
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
    /// The role id a login names.
    pub role_id: String,
    /// The secret ids that prove it; at least one.
    pub secret_ids: Vec<Zeroizing<String>>,
    /// Instead of the tenant's `token_ttl`.
    pub token_ttl: Option<Duration>,
    /// Instead of the tenant's `token_max_ttl`.
    pub token_max_ttl: Option<Duration>,
}

impl fmt::Debug for Approle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approle").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// An access key of the configuration, which clients sign with.
#[derive(Clone)]
pub struct StaticAccessKey {
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
    /// The access key id: 16 to 128 ASCII letters and digits.
    pub id: String,
    /// The secret access key: 16 to 128 bytes of visible ASCII.
    pub secret: Zeroizing<String>,
    /// Where it stands, for problems: the key path of the entry within the tenant (`identity.access_keys[0]`).
    pub key: String,
}

impl fmt::Debug for StaticAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticAccessKey")
            .field("key", &self.key)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksLocation {
    /// At this address.
    Url(String),
    /// At the `jwks_uri` of `<issuer>/.well-known/openid-configuration`.
    Discovery,
    /// In this file.
    File(PathBuf),
}

/// An issuer whose JWTs are accepted.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// The exact `iss`.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub jwks: JwksLocation,
    /// The CA of that place, instead of the system's roots.
    pub ca_path: Option<PathBuf>,
    /// Each claim named must be present and have (or contain) one of the values.
    pub allow: BTreeMap<String, Vec<String>>,
    /// Template of the principal's name.
    pub principal: String,
    /// Templates of its groups.
    pub groups: Vec<String>,
    /// Templates of its folders.
    pub folders: Vec<String>,
}

/// A client certificate.
#[derive(Clone, Debug)]
pub struct CertRule {
    /// The subject alternative name with its kind: `dns:`, `uri:`, `ip:` or `email:`.
    pub san: String,
    /// The principal's name.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_debug_shows_no_credential() {
        let mut identity = TenantIdentity::new(Tenant::default_tenant());
        identity.tokens.push(StaticToken {
            principal: "p".into(),
            groups: vec![],
            folders: vec![],
            token: Zeroizing::new("canary-token".into()),
            key: "identity.tokens[0]".into(),
            dev: false,
        });
        identity.approles.push(Approle {
            principal: "p".into(),
            groups: vec![],
            folders: vec![],
            role_id: "canary-role".into(),
            secret_ids: vec![Zeroizing::new("canary-secret".into())],
            token_ttl: None,
            token_max_ttl: None,
        });
        identity.access_keys.push(StaticAccessKey {
            principal: "p".into(),
            groups: vec![],
            folders: vec![],
            id: "canaryid".into(),
            secret: Zeroizing::new("canary-secret-key".into()),
            key: "identity.access_keys[0]".into(),
        });
        assert!(!format!("{identity:?}").contains("canary"));
    }
}
