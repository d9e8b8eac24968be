//! Who is who: the configuration's identities with their credentials, all tenants in one directory.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Extras;
use crate::app::{HttpKeys, files};
use crate::clock::Clock;
use crate::config::{Config, JwtConfig, JwtKeys, Problem, TenantConfig};
use crate::identity::{
    self, Approle, CertRule, Directory, JwksLocation, JwtIssuer, Sessions, StaticAccessKey, StaticToken,
    TenantIdentity, WorkloadSettings,
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

/// What the file of an access key holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPair {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
}

impl KeyPair {
    fn parse(text: &str) -> Result<Self, String> {
        // the error's own text may hold a part of what it does not like
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!(
                "expected a JSON object of two texts, `access_key_id` and `secret_access_key` (line {line}, column \
                 {column})"
            )
        })
    }
}

impl Credentials {
    fn key_pair(self, path: &Path, key: &str, line: Option<u32>) -> Result<KeyPair, Problem> {
        let text = self.read(path, key, line)?;
        match self {
            Self::Files => {
                KeyPair::parse(&text).map_err(|why| Problem::new(key, line, format!("{}: {why}", path.display())))
            }
            Self::MadeUp => Ok(KeyPair { access_key_id: ulid::Ulid::new().to_string(), secret_access_key: text }),
        }
    }

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
    let access_keys = access_keys(tenant, credentials, &mut problems);
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
        access_keys,
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

fn access_keys(tenant: &TenantConfig, credentials: Credentials, problems: &mut Vec<Problem>) -> Vec<StaticAccessKey> {
    let mut keys = Vec::new();
    for (index, entry) in tenant.identity.access_keys.iter().enumerate() {
        match credentials.key_pair(&entry.file, &format!("{}.file", entry.key), entry.line) {
            Ok(pair) => keys.push(StaticAccessKey {
                principal: entry.principal.principal.clone(),
                groups: entry.principal.groups.clone(),
                folders: texts(&entry.principal.folders),
                id: pair.access_key_id,
                secret: pair.secret_access_key,
                key: format!("identity.access_keys[{index}]"),
            }),
            Err(problem) => problems.push(problem),
        }
    }
    keys
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_exactly_two_texts() {
        let pair = KeyPair::parse(r#"{"access_key_id": "AKIA1", "secret_access_key": "s/+"}"#).unwrap();
        assert_eq!((pair.access_key_id.as_str(), pair.secret_access_key.as_str()), ("AKIA1", "s/+"));
        for bad in [
            "",
            "canary",
            "[]",
            "{}",
            r#"{"access_key_id": "canary"}"#,
            r#"{"access_key_id": "AKIA1", "secret_access_key": 31415926}"#,
            r#"{"access_key_id": "AKIA1", "secret_access_key": "canary", "secret_access_key": "canary"}"#,
            r#"{"access_key_id": "AKIA1", "secret_access_key": "canary", "canary": ""}"#,
            r#"{"access_key_id": "AKIA1", "secret_access_key": "canary"} canary"#,
            r#"{"AccessKeyId": "AKIA1", "SecretAccessKey": "canary"}"#,
        ] {
            let why = KeyPair::parse(bad).err().unwrap();
            assert!(why.contains("`access_key_id`") && !why.contains("canary") && !why.contains("31415926"), "{why}");
        }
    }
}
