//! From settings to a [`Directory`]: pure but for key set files, and every problem at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::access_key::{is_key_id, secret_of};
use super::certificate::canonical_san;
use super::credential::{MAX_TOKEN_BYTES, check_text};
use super::digest::{Digest, Place};
use super::directory::{Directory, Entry, Named, Role, SigningKey};
use super::jwt::{self, IssuerRule, Issuers, JwksSource, KeyRing, KeySet};
use super::settings::{Approle, CertRule, JwksLocation, JwtIssuer, StaticAccessKey, StaticToken, TenantIdentity};
use super::{Method, Principal, Sessions, parse_namespace};
use crate::clock::Clock;
use crate::secret::{Folder, Tenant};

const MIN_SECRET_BYTES: usize = 16;
const MAX_SECRET_KEY_BYTES: usize = 128;

/// Something wrong with a tenant's identity settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whose settings.
    pub tenant: Tenant,
    /// The key, relative to the tenant: `identity.approles[0].role_id`.
    pub key: String,
    /// What is wrong and what to do. Never holds a credential.
    pub message: String,
}

impl Directory {
    /// Checks the settings and builds the directory. `sessions` is the process's one table: what was issued or revoked
    /// at run time stays. Reads key set files; fetches nothing.
    ///
    /// # Errors
    /// Every problem found, in the order of the settings.
    pub fn compile(
        settings: Vec<TenantIdentity>,
        sessions: Arc<Sessions>,
        jwks: Arc<dyn JwksSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<Problem>> {
        jwt::install_provider();
        let mut compiler = Compiler::new(Arc::clone(&sessions));
        for tenant in settings {
            compiler.tenant(tenant);
        }
        if !compiler.problems.is_empty() {
            return Err(compiler.problems);
        }
        for (ring, keys) in compiler.key_files {
            ring.install(keys, sessions.now());
        }
        let pairs = compiler.access_keys.values().map(|found| found.key.anchor);
        Ok(Self {
            anchors: compiler.tokens.keys().map(Digest::short).chain(pairs).collect(),
            access_keys: compiler.access_keys.into_iter().map(|(id, found)| (id, found.key)).collect(),
            no_secret: secret_of(&sessions, ""),
            tokens: compiler.tokens.into_iter().map(|(digest, found)| (digest, found.principal)).collect(),
            tenants: compiler.tenants,
            certificates: compiler.certificates,
            namespaces: compiler.namespaces,
            issuers: Issuers::new(compiler.rules),
            no_role: HashSet::from([sessions.digest(Place::SecretId, "")]),
            sessions,
            jwks,
            loaded: clock.now(),
            clock,
        })
    }
}

/// What is collected while walking the tenants.
struct Compiler {
    sessions: Arc<Sessions>,
    tenants: HashMap<Tenant, Entry>,
    tokens: HashMap<Digest, FoundToken>,
    access_keys: HashMap<[u8; 16], FoundKey>,
    certificates: HashMap<String, Named>,
    namespaces: HashMap<String, Tenant>,
    rules: HashMap<String, Vec<IssuerRule>>,
    key_files: Vec<(Arc<KeyRing>, KeySet)>,
    problems: Vec<Problem>,
}

struct FoundToken {
    principal: Arc<Principal>,
    key: String,
}

struct FoundKey {
    key: SigningKey,
    place: String,
}

impl Compiler {
    fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            tenants: HashMap::new(),
            tokens: HashMap::new(),
            access_keys: HashMap::new(),
            certificates: HashMap::new(),
            namespaces: HashMap::new(),
            rules: HashMap::new(),
            key_files: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn tenant(&mut self, settings: TenantIdentity) {
        let tenant = settings.tenant;
        if self.tenants.contains_key(&tenant) {
            return self.problem(&tenant, "identity", "the tenant is configured twice");
        }
        let has_namespaces = !settings.namespaces.is_empty();
        self.namespaces(&tenant, &settings.namespaces);
        let (ttl, max_ttl) = (settings.token_ttl, settings.token_max_ttl);
        self.lifetimes(&tenant, "identity", ttl, max_ttl);
        for (index, id) in settings.revoked.iter().enumerate() {
            if let Err(error) = Principal::check_id(id) {
                self.problem(&tenant, &format!("identity.revoked[{index}]"), &error.to_string());
            }
        }
        let workload = settings.workload.and_then(|found| {
            let key = "identity.workload";
            let principal =
                self.principal(&tenant, key, Method::Workload, &found.principal, &found.groups, &found.folders)?;
            let credential = self.sessions.digest(Place::Workload, tenant.as_str()).short();
            Some(Named { principal, credential })
        });
        for token in &settings.tokens {
            self.token(&tenant, token);
        }
        for key in &settings.access_keys {
            self.access_key(&tenant, key);
        }
        let mut roles = HashMap::new();
        for (index, role) in settings.approles.iter().enumerate() {
            self.approle(&tenant, &format!("identity.approles[{index}]"), role, (ttl, max_ttl), &mut roles);
        }
        for (index, issuer) in settings.jwt.iter().enumerate() {
            self.issuer(&tenant, &format!("identity.jwt[{index}]"), issuer);
        }
        for (index, rule) in settings.certificates.iter().enumerate() {
            self.certificate(&tenant, &format!("identity.certificates[{index}]"), rule);
        }
        let revoked = settings.revoked.into_iter().collect();
        self.tenants.insert(tenant, Entry { ttl, max_ttl, has_namespaces, revoked, workload, roles });
    }

    fn namespaces(&mut self, tenant: &Tenant, namespaces: &[String]) {
        for (index, namespace) in namespaces.iter().enumerate() {
            let key = format!("namespaces[{index}]");
            if parse_namespace(namespace) != Ok(namespace.as_str()) || namespace == "root" {
                let message = "must be plain segments joined by `/` without a slash at either end, and not `root`";
                self.problem(tenant, &key, message);
            } else if let Some(other) = self.namespaces.insert(namespace.clone(), tenant.clone()) {
                self.problem(tenant, &key, &format!("is a namespace of tenant `{other}` already"));
            }
        }
    }

    fn lifetimes(&mut self, tenant: &Tenant, key: &str, ttl: Duration, max_ttl: Duration) {
        if ttl.is_zero() {
            self.problem(tenant, &format!("{key}.token_ttl"), "must be longer than zero");
        }
        if ttl > max_ttl {
            self.problem(tenant, &format!("{key}.token_ttl"), "must not exceed `token_max_ttl`");
        }
    }

    fn token(&mut self, tenant: &Tenant, found: &StaticToken) {
        let subject =
            self.principal(tenant, &found.key, Method::Token, &found.principal, &found.groups, &found.folders);
        let file = if found.dev { found.key.clone() } else { format!("{}.file", found.key) };
        if !self.secret(tenant, &file, &found.token, if found.dev { 1 } else { MIN_SECRET_BYTES }) {
            return;
        }
        let Some(principal) = subject else { return };
        let digest = self.sessions.digest(Place::Credential, &found.token);
        if let Some(other) = self.tokens.get(&digest) {
            let message = format!("is the same token as `{}` of tenant `{}`", other.key, other.principal.tenant());
            return self.problem(tenant, &file, &message);
        }
        self.tokens.insert(digest, FoundToken { principal, key: found.key.clone() });
    }

    fn access_key(&mut self, tenant: &Tenant, found: &StaticAccessKey) {
        let subject = self.principal(tenant, &found.key, Method::Aws, &found.principal, &found.groups, &found.folders);
        let file = format!("{}.file", found.key);
        let has_id = is_key_id(&found.id);
        if !has_id {
            self.problem(tenant, &file, "`access_key_id` must be 16 to 128 ASCII letters and digits");
        }
        let has_secret =
            found.secret.len() >= MIN_SECRET_BYTES && check_text(&found.secret, MAX_SECRET_KEY_BYTES).is_ok();
        if !has_secret {
            self.problem(tenant, &file, "`secret_access_key` must be 16 to 128 bytes of visible ASCII");
        }
        let Some(principal) = subject.filter(|_| has_id && has_secret) else { return };
        let id = self.sessions.digest(Place::AccessKey, &found.id).short();
        if let Some(other) = self.access_keys.get(&id) {
            let owner = other.key.principal.tenant();
            let message = format!("has the same access key id as `{}` of tenant `{owner}`", other.place);
            return self.problem(tenant, &file, &message);
        }
        let pair = Zeroizing::new(format!("{}/{}", found.id, found.secret.as_str()));
        let anchor = self.sessions.digest(Place::AccessPair, &pair).short();
        let key = SigningKey { principal, secret: found.secret.clone(), anchor };
        self.access_keys.insert(id, FoundKey { key, place: found.key.clone() });
    }

    fn approle(
        &mut self,
        tenant: &Tenant,
        key: &str,
        found: &Approle,
        (ttl, max_ttl): (Duration, Duration),
        roles: &mut HashMap<Digest, Role>,
    ) {
        let own_lifetimes = found.token_ttl.is_some() || found.token_max_ttl.is_some();
        let (ttl, max_ttl) = (found.token_ttl.unwrap_or(ttl), found.token_max_ttl.unwrap_or(max_ttl));
        if own_lifetimes {
            self.lifetimes(tenant, key, ttl, max_ttl);
        }
        let subject = self.principal(tenant, key, Method::Approle, &found.principal, &found.groups, &found.folders);
        if check_text(&found.role_id, MAX_TOKEN_BYTES).is_err() {
            self.problem(tenant, &format!("{key}.role_id"), "must be visible ASCII");
        }
        if found.secret_ids.is_empty() {
            self.problem(
                tenant,
                &format!("{key}.secret_id_files"),
                "must list at least one: a role id alone proves nothing",
            );
        }
        let mut secrets = HashSet::new();
        for (index, secret) in found.secret_ids.iter().enumerate() {
            if self.secret(tenant, &format!("{key}.secret_id_files[{index}]"), secret, MIN_SECRET_BYTES) {
                secrets.insert(self.sessions.digest(Place::SecretId, secret));
            }
        }
        let Some(principal) = subject else { return };
        let role_id = self.sessions.digest(Place::RoleId, &found.role_id);
        if roles.insert(role_id, Role { principal, secrets, ttl, max_ttl }).is_some() {
            self.problem(tenant, &format!("{key}.role_id"), "is the role id of another role of this tenant");
        }
    }

    fn issuer(&mut self, tenant: &Tenant, key: &str, found: &JwtIssuer) {
        let ring = self.sessions.ring(found);
        if let JwksLocation::File(path) = &found.jwks {
            match jwt::read_file(path).and_then(|bytes| KeySet::parse(&bytes)) {
                Ok(keys) => self.key_files.push((Arc::clone(&ring), keys)),
                Err(error) => self.problem(tenant, &format!("{key}.jwks_file"), &error.to_string()),
            }
        }
        let rule = match IssuerRule::compile(tenant, found, ring) {
            Ok(rule) => rule,
            Err(problems) => {
                for (relative, message) in problems {
                    self.problem(tenant, &format!("{key}.{relative}"), &message);
                }
                return;
            }
        };
        let others = self.rules.entry(found.issuer.clone()).or_default();
        let rival = others.iter().find(|other| other.tenant() != tenant && other.overlaps(&rule));
        if let Some(rival) = rival.map(|other| other.tenant().clone()) {
            let message =
                format!("tenant `{rival}` accepts the same tokens: give both an `allow` that tells them apart");
            return self.problem(tenant, &format!("{key}.allow"), &message);
        }
        others.push(rule);
    }

    fn certificate(&mut self, tenant: &Tenant, key: &str, found: &CertRule) {
        let subject = self.principal(tenant, key, Method::Certificate, &found.principal, &found.groups, &found.folders);
        let san = match canonical_san(&found.san) {
            Ok(san) => san,
            Err(message) => return self.problem(tenant, &format!("{key}.san"), message),
        };
        let Some(principal) = subject else { return };
        let credential = self.sessions.digest(Place::Certificate, &san).short();
        if let Some(other) = self.certificates.insert(san, Named { principal, credential }) {
            let message = format!(
                "is a name of principal `{}` of tenant `{}` already",
                other.principal.id(),
                other.principal.tenant()
            );
            self.problem(tenant, &format!("{key}.san"), &message);
        }
    }

    fn secret(&mut self, tenant: &Tenant, key: &str, text: &str, min: usize) -> bool {
        let message = if check_text(text, MAX_TOKEN_BYTES).is_err() {
            "must hold 1 to 8192 bytes of visible ASCII"
        } else if text.len() < min {
            "is too short to be a secret: 16 bytes at least"
        } else {
            return true;
        };
        self.problem(tenant, key, message);
        false
    }

    fn principal(
        &mut self,
        tenant: &Tenant,
        key: &str,
        method: Method,
        id: &str,
        groups: &[String],
        folders: &[String],
    ) -> Option<Arc<Principal>> {
        let before = self.problems.len();
        if let Err(error) = Principal::check_id(id) {
            self.problem(tenant, &format!("{key}.principal"), &error.to_string());
        }
        for (index, group) in groups.iter().enumerate() {
            if let Err(error) = Principal::check_group(group) {
                self.problem(tenant, &format!("{key}.groups[{index}]"), &error.to_string());
            }
        }
        let mut parsed: Vec<Folder> = Vec::with_capacity(folders.len());
        for (index, folder) in folders.iter().enumerate() {
            match jwt::parse_folder(folder) {
                Ok(folder) => parsed.push(folder),
                Err(message) => self.problem(tenant, &format!("{key}.folders[{index}]"), &message),
            }
        }
        let groups = groups.iter().map(|group| Box::from(group.as_str())).collect();
        let is_sound = self.problems.len() == before;
        is_sound.then(|| Arc::new(Principal::new(tenant.clone(), id, method, groups, parsed)))
    }

    fn problem(&mut self, tenant: &Tenant, key: &str, message: &str) {
        self.problems.push(Problem { tenant: tenant.clone(), key: key.to_owned(), message: message.to_owned() });
    }
}
