//! The `identity` block of a tenant: who exists, and by which credential they are known. Files are not read here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::jwt::{self, JwtConfig};
use super::raw::{Block, Item};
use super::store::folder;
use crate::secret::Folder;

/// Who a tenant knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// How long a token made at run time lives unless renewed.
    pub token_ttl: Duration,
    /// How long it lives at most.
    pub token_max_ttl: Duration,
    /// Principals whose credentials are all void.
    pub revoked: Vec<String>,
    /// Who reaches a listener with `auth: workload`.
    pub workload: Option<PrincipalConfig>,
    /// Static tokens.
    pub tokens: Vec<TokenConfig>,
    /// AppRoles.
    pub approles: Vec<ApproleConfig>,
    /// AWS access keys.
    pub access_keys: Vec<AccessKeyConfig>,
    /// Issuers of JWTs.
    pub jwt: Vec<JwtConfig>,
    /// Client certificates.
    pub certificates: Vec<CertificateConfig>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(3_600),
            token_max_ttl: Duration::from_secs(24 * 3_600),
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

/// A principal that stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrincipalConfig {
    /// Its id: 1 to 256 visible ASCII characters, not `system` or below.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its folders.
    pub folders: Vec<Folder>,
}

/// A static token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Who presents it.
    pub principal: PrincipalConfig,
    /// The file with the token.
    pub file: PathBuf,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// An AppRole.
#[derive(Clone, PartialEq, Eq)]
pub struct ApproleConfig {
    /// Who logs in with it.
    pub principal: PrincipalConfig,
    /// The role id.
    pub role_id: String,
    /// Files with secret ids, any of which is accepted; never empty.
    pub secret_id_files: Vec<PathBuf>,
    /// How long a token of it lives unless renewed.
    pub token_ttl: Duration,
    /// How long it lives at most.
    pub token_max_ttl: Duration,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

impl fmt::Debug for ApproleConfig {
    /// Leaves the role id out: it is half of a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApproleConfig")
            .field("principal", &self.principal)
            .field("secret_id_files", &self.secret_id_files)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// An AWS access key that clients sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyConfig {
    /// Who signs with it.
    pub principal: PrincipalConfig,
    /// The file with the key pair.
    pub file: PathBuf,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// The subject alternative name it must carry.
    pub san: String,
    /// Who presents it.
    pub principal: PrincipalConfig,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

/// Reads `identity`.
pub(super) fn compile(item: &Item<'_>) -> Option<IdentityConfig> {
    item.block(|block| {
        let default = IdentityConfig::default();
        let ttls = ttls(block, (default.token_ttl, default.token_max_ttl));
        Some(IdentityConfig {
            token_ttl: ttls.0,
            token_max_ttl: ttls.1,
            revoked: block.each("revoked", |item| item.parse(principal_id)),
            workload: block.optional("workload").and_then(|item| item.block(|block| Some(principal(block)))),
            tokens: block.each("tokens", token),
            approles: block.each("approles", |item| approle(item, ttls)),
            access_keys: block.each("access_keys", access_key),
            jwt: block.each("jwt", jwt::compile),
            certificates: block.each("certificates", certificate),
        })
    })
}

fn ttls(block: &mut Block<'_>, default: (Duration, Duration)) -> (Duration, Duration) {
    let ttl = block.duration("token_ttl").unwrap_or(default.0);
    let max_ttl = block.duration("token_max_ttl").unwrap_or(default.1);
    if ttl > max_ttl {
        let message = "token_ttl is longer than token_max_ttl (set or inherited)";
        block.scope().refuse(&block.key_of("token_ttl"), Some(block.line()), message);
    }
    (ttl, max_ttl)
}

/// The three keys every principal of the configuration has. A missing id is reported and stands as an empty text.
fn principal(block: &mut Block<'_>) -> PrincipalConfig {
    let id = block.required("principal").and_then(|item| item.parse(principal_id));
    PrincipalConfig {
        principal: id.unwrap_or_default(),
        groups: block.each("groups", |item| item.parse(group)),
        folders: block.each("folders", folder),
    }
}

fn principal_id(text: &str) -> Result<String, &'static str> {
    if text == "system" || text.starts_with("system/") {
        return Err("system principals are built in and cannot be given to anyone");
    }
    let fits = text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected a principal: at most 256 visible ASCII characters, no braces")
    }
}

fn group(text: &str) -> Result<String, &'static str> {
    let fits = text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}'));
    if fits { Ok(text.to_owned()) } else { Err("expected a group: at most 256 visible ASCII characters, no braces") }
}

fn token(item: &Item<'_>) -> Option<TokenConfig> {
    item.block(|block| {
        let principal = principal(block);
        let file = block.required("file").and_then(|item| item.file())?;
        Some(TokenConfig { principal, file, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

fn approle(item: &Item<'_>, inherited: (Duration, Duration)) -> Option<ApproleConfig> {
    item.block(|block| {
        let principal = principal(block);
        let role_id = block.required("role_id").and_then(|item| item.string());
        let files = block.required("secret_id_files").is_some();
        let secret_id_files = if files { block.some("secret_id_files", Item::file) } else { Vec::new() };
        let ttls = ttls(block, inherited);
        Some(ApproleConfig {
            principal,
            role_id: role_id?,
            secret_id_files,
            token_ttl: ttls.0,
            token_max_ttl: ttls.1,
            key: item.key().to_owned(),
            line: Some(item.line()),
        })
    })
}

fn access_key(item: &Item<'_>) -> Option<AccessKeyConfig> {
    item.block(|block| {
        let principal = principal(block);
        let file = block.required("file").and_then(|item| item.file())?;
        Some(AccessKeyConfig { principal, file, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

fn certificate(item: &Item<'_>) -> Option<CertificateConfig> {
    item.block(|block| {
        let san = block.required("san").and_then(|item| item.string());
        let principal = principal(block);
        Some(CertificateConfig { san: san?, principal, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, refuses, with};

    #[test]
    fn every_kind_of_credential_is_read() {
        let identity = accepted(&with(
            "identity: {token_ttl: 30m, revoked: [x], workload: {principal: ns/sa, groups: [g], folders: [a/b]}, \
             tokens: [{principal: t, file: t}], access_keys: [{principal: k, file: k}], \
             approles: [{principal: r, role_id: r-1, secret_id_files: [s], token_ttl: 1m}], \
             jwt: [{issuer: 'https://i/', audiences: [a], jwks_file: j, allow: {ns: [x]}, principal: '{ns}/{sa}', \
             folders: ['a/{sa}']}], certificates: [{san: 'spiffe://x', principal: c}]}",
        ))
        .tenants
        .remove(0)
        .identity;
        assert_eq!(identity.workload.as_ref().unwrap().principal, "ns/sa");
        let approle = &identity.approles[0];
        let ttls = (Duration::from_secs(60), Duration::from_secs(86_400));
        assert_eq!((approle.token_ttl, approle.token_max_ttl), ttls);
        assert!(!format!("{approle:?}").contains("r-1"));
        assert_eq!(identity.certificates[0].key, "identity.certificates[0]");
        assert_eq!((identity.tokens.len(), identity.access_keys.len(), identity.jwt.len()), (1, 1, 1));
    }

    #[test]
    fn each_kind_is_checked() {
        for (identity, key, part) in [
            ("workload: {groups: [g]}", "workload.principal", "is required"),
            ("workload: {principal: system/sync}", "workload.principal", "built in"),
            ("workload: {principal: '{x}'}", "workload.principal", "no braces"),
            ("workload: {principal: p, folders: ['a/']}", "workload.folders[0]", "segment 1 is empty"),
            ("workload: {principal: p, groups: ['a b']}", "workload.groups[0]", "expected a group"),
            ("tokens: [{principal: p}]", "tokens[0].file", "is required"),
            ("approles: [{principal: p, role_id: r}]", "approles[0].secret_id_files", "is required"),
            (
                "approles: [{principal: p, role_id: r, secret_id_files: []}]",
                "approles[0].secret_id_files",
                "is an empty list",
            ),
            (
                "approles: [{principal: p, role_id: r, secret_id_files: [f], token_ttl: 48h}]",
                "approles[0].token_ttl",
                "longer than token_max_ttl",
            ),
            ("token_max_ttl: 30m", "token_ttl", "longer than token_max_ttl"),
            ("certificates: [{principal: p}]", "certificates[0].san", "is required"),
            ("revoked: [system]", "revoked[0]", "built in"),
        ] {
            refuses(&with(&format!("identity: {{{identity}}}")), &format!("identity.{key}"), part);
        }
    }
}
