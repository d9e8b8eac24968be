//! Who is who: the configuration's identities with their credentials, all tenants in one directory.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Extras;
use crate::app::{HttpKeys, files};
use crate::clock::Clock;
use crate::config::{Config, JwtConfig, JwtKeys, Problem, TenantConfig};
use crate::identity::{
    self, Approle, CertRule, Directory, JwksLocation, JwtIssuer, Sessions, StaticToken, TenantIdentity,
    WorkloadSettings,
};
use crate::secret::Folder;

/// Where the place of a key set that is not read stands for it; nothing is fetched from there.
const NO_KEYS: &str = "https://keys.invalid/";

/// Where credentials and key sets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Credentials {
    /// From the files the configuration names.
    Files,
    /// Nowhere: each credential is random and known to nobody, so that all the rest can be checked where the files are
    /// not.
    MadeUp,
}

impl Credentials {
    fn read(self, path: &Path, key: &str, line: Option<u32>) -> Result<Zeroizing<String>, Problem> {
        match self {
            Self::Files => files::credential(path, key, line),
            Self::MadeUp => Ok(Zeroizing::new(ulid::Ulid::new().to_string())),
        }
    }

    fn keys(self, keys: &JwtKeys) -> JwksLocation {
        match (keys, self) {
            (JwtKeys::Discovery, _) => JwksLocation::Discovery,
            (JwtKeys::Url(url), _) => JwksLocation::Url(url.as_str().to_owned()),
            (JwtKeys::File(path), Self::Files) => JwksLocation::File(path.clone()),
            (JwtKeys::File(_), Self::MadeUp) => JwksLocation::Url(NO_KEYS.to_owned()),
        }
    }
}

/// Compiles the identities of all tenants over what was issued at run time.
///
/// # Errors
/// Everything that is wrong, by key path.
pub(in crate::app) fn directory(
    config: &Config,
    extras: &Extras,
    credentials: Credentials,
    sessions: Arc<Sessions>,
    clock: Arc<dyn Clock>,
) -> Result<Directory, Vec<Problem>> {
    let (mut identities, mut problems) = (Vec::new(), Vec::new());
    for tenant in &config.tenants {
        match settings(tenant, extras, credentials) {
            Ok(settings) => identities.push(settings),
            Err(found) => problems.extend(found),
        }
    }
    match Directory::compile(identities, sessions, Arc::new(HttpKeys), clock) {
        Ok(directory) if problems.is_empty() => Ok(directory),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| keyed(config, problem)));
            Err(problems)
        }
    }
}

/// A problem of a tenant's identity, by its key path in the file.
fn keyed(config: &Config, problem: identity::Problem) -> Problem {
    let key = config.tenant(&problem.tenant).map(|tenant| tenant.key_of(&problem.key));
    Problem::new(key.unwrap_or(problem.key), None, problem.message)
}

fn settings(tenant: &TenantConfig, extras: &Extras, credentials: Credentials) -> Result<TenantIdentity, Vec<Problem>> {
    let known = &tenant.identity;
    let mut problems = Vec::new();
    let tokens = tokens(tenant, extras, credentials, &mut problems);
    let approles = approles(tenant, credentials, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let workload = known.workload.as_ref().map(|workload| WorkloadSettings {
        principal: workload.principal.clone(),
        groups: workload.groups.clone(),
        folders: texts(&workload.folders),
    });
    let certificates = known.certificates.iter().map(|entry| CertRule {
        san: entry.san.clone(),
        principal: entry.principal.principal.clone(),
        groups: entry.principal.groups.clone(),
        folders: texts(&entry.principal.folders),
    });
    Ok(TenantIdentity {
        tenant: tenant.tenant.clone(),
        namespaces: tenant.namespaces.clone(),
        token_ttl: known.token_ttl,
        token_max_ttl: known.token_max_ttl,
        revoked: known.revoked.clone(),
        workload,
        tokens,
        approles,
        jwt: known.jwt.iter().map(|entry| issuer(entry, credentials)).collect(),
        certificates: certificates.collect(),
    })
}

fn tokens(
    tenant: &TenantConfig,
    extras: &Extras,
    credentials: Credentials,
    problems: &mut Vec<Problem>,
) -> Vec<StaticToken> {
    let mut tokens = Vec::new();
    for (index, entry) in tenant.identity.tokens.iter().enumerate() {
        match credentials.read(&entry.file, &format!("{}.file", entry.key), entry.line) {
            Ok(token) => tokens.push(StaticToken {
                principal: entry.principal.principal.clone(),
                groups: entry.principal.groups.clone(),
                folders: texts(&entry.principal.folders),
                token,
                key: format!("identity.tokens[{index}]"),
                dev: false,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(token) = &extras.root_token {
        tokens.push(StaticToken {
            principal: "dev".to_owned(),
            groups: Vec::new(),
            folders: Vec::new(),
            token: (**token).clone(),
            key: "--root-token".to_owned(),
            dev: true,
        });
    }
    tokens
}

fn approles(tenant: &TenantConfig, credentials: Credentials, problems: &mut Vec<Problem>) -> Vec<Approle> {
    let mut approles = Vec::new();
    for entry in &tenant.identity.approles {
        let key = format!("{}.secret_id_files", entry.key);
        let mut secret_ids = Vec::new();
        for file in &entry.secret_id_files {
            match credentials.read(file, &key, entry.line) {
                Ok(secret_id) => secret_ids.push(secret_id),
                Err(problem) => problems.push(problem),
            }
        }
        approles.push(Approle {
            principal: entry.principal.principal.clone(),
            groups: entry.principal.groups.clone(),
            folders: texts(&entry.principal.folders),
            role_id: entry.role_id.clone(),
            secret_ids,
            token_ttl: Some(entry.token_ttl),
            token_max_ttl: Some(entry.token_max_ttl),
        });
    }
    approles
}

fn issuer(entry: &JwtConfig, credentials: Credentials) -> JwtIssuer {
    JwtIssuer {
        issuer: entry.issuer.as_str().to_owned(),
        audiences: entry.audiences.clone(),
        jwks: credentials.keys(&entry.keys),
        ca_path: entry.ca_path.clone(),
        allow: entry.allow.iter().cloned().collect(),
        principal: entry.principal.clone(),
        groups: entry.groups.clone(),
        folders: entry.folders.clone(),
    }
}

fn texts(folders: &[Folder]) -> Vec<String> {
    folders.iter().map(|folder| folder.as_str().to_owned()).collect()
}
