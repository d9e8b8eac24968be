//! From a configuration to a snapshot.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Ground, HttpKeys, files};
use crate::backend::{Backend, HttpClient, HttpSettings, client_config};
use crate::config::{
    BackendConfig, BackendSettings, Config, JwtKeys, ListenerAuth, ListenerConfig, MountKind, PassOperation, PathRule,
    Problem, TenantConfig, VaultAuth, VaultConfig,
};
use crate::identity::{
    Approle, CertRule, Directory, JwksLocation, JwtIssuer, PeerCertificate, StaticToken, TenantIdentity,
    WorkloadSettings,
};
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec, Side, Table};
use crate::pipeline::{BackendState, Guard, ListenerState, LocalLimits, Snapshot, TenantState};
use crate::policy::Policies;
use crate::secret::{SecretPath, SecretValue, Tenant};
use crate::wire::vault::{AuthMethod, CredentialSource, VaultBackend, VaultSettings};
use crate::wire::{ListenerFacts, Mount, Passthrough, frontend};

/// What `dev` adds to a configuration.
#[derive(Clone, Default)]
pub struct Extras {
    /// Permit everything to everybody, and keep what no rule maps locally.
    pub dev: bool,
    /// The token that is needed then.
    pub root_token: Option<Arc<Zeroizing<String>>>,
    /// A file that holds a bare backend token, for backends that log in with the path given.
    pub token_file: Option<(SecretPath, PathBuf)>,
}

/// Builds what requests are decided by. Nothing is connected and nothing spawned.
///
/// # Errors
/// Everything that is wrong, by key path; the ground is as it was then.
pub fn build(config: &Config, extras: &Extras, ground: &Ground, generation: u64) -> Result<Snapshot, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut take = |result: Result<(), Vec<Problem>>| {
        if let Err(found) = result {
            problems.extend(found);
        }
    };
    let mut tenants = HashMap::new();
    let mut identities = Vec::new();
    for tenant in &config.tenants {
        take(self::tenant(tenant, extras, ground, generation).map(|state| {
            tenants.insert(tenant.tenant.clone(), state);
        }));
        take(identity(tenant, extras).map(|identity| identities.push(identity)));
    }
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        take(self::listener(listener, config, ground).map(|state| listeners.push(state)));
    }
    let directory = Directory::compile(identities, ground.sessions.clone(), Arc::new(HttpKeys), ground.clock.clone())
        .map_err(|found| found.into_iter().map(|p| Problem::new(p.key, None, p.message)).collect::<Vec<_>>());
    match directory {
        Ok(directory) if problems.is_empty() => Ok(Snapshot { generation, listeners, directory, tenants }),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

/// What `explain` needs of a configuration: tables and policies, without credentials, backends or files other than
/// policies. It can serve nobody.
///
/// # Errors
/// As [`build`].
pub fn outline(config: &Config, extras: &Extras, ground: &Ground) -> Result<Snapshot, Vec<Problem>> {
    let mut bare = config.clone();
    let mut tenants = HashMap::new();
    for tenant in &mut bare.tenants {
        tenant.identity = crate::config::IdentityConfig::default();
        let state = TenantState {
            router: router(tenant, extras)?,
            policies: policies(tenant, extras, 1)?,
            backends: Vec::new(),
            records: ground.records(&tenant.tenant),
            guarded: guarded(tenant),
            limits: LocalLimits { max_versions: 1, value_bytes: 1 },
        };
        tenants.insert(tenant.tenant.clone(), state);
    }
    let served = bare.listeners.iter().filter(|listener| frontend(listener.wire).is_some());
    let listeners: Result<Vec<_>, _> = served.map(|l| listener(l, &bare, ground)).collect();
    let directory = Directory::compile(Vec::new(), ground.sessions.clone(), Arc::new(HttpKeys), ground.clock.clone())
        .map_err(|_| Vec::new())?;
    Ok(Snapshot { generation: 1, listeners: listeners?, directory, tenants })
}

fn tenant(
    tenant: &TenantConfig,
    extras: &Extras,
    ground: &Ground,
    generation: u64,
) -> Result<TenantState, Vec<Problem>> {
    let mut problems = Vec::new();
    let router = router(tenant, extras).map_err(|found| problems.extend(found)).ok();
    let policies = policies(tenant, extras, generation).map_err(|found| problems.extend(found)).ok();
    let mut backends = Vec::new();
    for settings in &tenant.backends {
        match backend(tenant, settings, extras, ground) {
            Ok(state) => backends.push(state),
            Err(problem) => problems.push(problem),
        }
    }
    let (Some(router), Some(policies), true) = (router, policies, problems.is_empty()) else { return Err(problems) };
    let limits = LocalLimits { max_versions: tenant.local.max_versions.into(), value_bytes: tenant.value_bytes };
    Ok(TenantState {
        router,
        policies,
        backends,
        records: ground.records(&tenant.tenant),
        guarded: guarded(tenant),
        limits,
    })
}

/// Table 2, checked as far as it can be without asking anybody.
pub(super) fn router(tenant: &TenantConfig, extras: &Extras) -> Result<Router, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut all = Vec::new();
    for settings in &tenant.backends {
        let specs: Vec<RuleSpec> = settings.path_mapping.iter().map(rule_spec).collect();
        if settings.from_object
            && let Ok(table) = Table::compile(&specs, Side::To)
        {
            for (one, other) in table.overlaps() {
                let text = format!("rules {one} and {other} overlap; use the array form, where order is kept");
                problems.push(Problem::new(format!("{}.path_mapping", settings.key), settings.line, text));
            }
        }
        let rules = settings.path_mapping.iter().zip(specs).map(|(rule, spec)| RouteSpec {
            rule: spec,
            mode: settings.mode_of(rule),
            kv_version: rule.kv_version,
            writable: false,
        });
        for rule in &settings.path_mapping {
            if rule.kv_version == Some(2) && data_segment(&rule.to).is_none() {
                problems.push(Problem::new(
                    format!("{}.to", rule.key),
                    rule.line,
                    "kv_version 2 needs a literal `data` segment",
                ));
            }
        }
        all.push(BackendRules { backend: Box::from(settings.name.as_str()), rules: rules.collect() });
    }
    match Router::compile(&all, &tenant.local.folders, extras.dev) {
        Ok(router) if problems.is_empty() => Ok(router),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| Problem::new(tenant.key_of(&p.key), None, p.message)));
            Err(problems)
        }
    }
}

fn rule_spec(rule: &crate::config::BackendRule) -> RuleSpec {
    RuleSpec { from: rule.from.clone(), to: rule.to.clone(), separator: rule.separator.clone(), escape: rule.escape }
}

/// Table 1.
pub(super) fn paths(rules: &[PathRule], key: &str) -> Result<Table, Vec<Problem>> {
    if rules.is_empty() {
        return Ok(Table::identity());
    }
    let spec = |rule: &PathRule| RuleSpec {
        from: rule.from.clone(),
        to: rule.to.clone(),
        separator: rule.separator.clone(),
        escape: rule.escape,
    };
    let specs: Vec<RuleSpec> = rules.iter().map(spec).collect();
    Table::compile(&specs, Side::From).map_err(|found| {
        found.into_iter().map(|p| Problem::new(format!("{key}.paths{}", p.key), None, p.message)).collect()
    })
}

/// The first literal `data` segment before any `**`: everything before it is one segment a piece.
fn data_segment(to: &str) -> Option<usize> {
    to.split('/').take_while(|segment| *segment != "**").position(|segment| segment == "data")
}

pub(super) fn policies(tenant: &TenantConfig, extras: &Extras, generation: u64) -> Result<Policies, Vec<Problem>> {
    if extras.dev {
        return Ok(Policies::permit_all(generation));
    }
    let key = tenant.key_of("policies");
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for (index, path) in tenant.policies.iter().enumerate() {
        match files::text(path, &format!("{key}[{index}]"), None) {
            Ok(text) => sources.push((path.display().to_string(), text.as_str().to_owned())),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Policies::compile(&sources, generation)
        .map_err(|found| found.into_iter().map(|text| Problem::new(key.clone(), None, text)).collect())
}

/// Paths kept from wires: what the configuration holds itself, and what it gives to backends.
fn guarded(tenant: &TenantConfig) -> HashMap<SecretPath, Guard> {
    let mut guarded: HashMap<SecretPath, Guard> = HashMap::new();
    for settings in &tenant.backends {
        if let BackendConfig::HashicorpVault(vault) = &settings.config
            && let VaultAuth::Approle { auth_config_path } | VaultAuth::Token { auth_config_path } = &vault.auth
        {
            guarded.insert(auth_config_path.clone(), Guard::WriteOnly);
        }
    }
    guarded.extend(tenant.webhooks.iter().map(|hook| (hook.secret_path.clone(), Guard::WriteOnly)));
    guarded.extend(tenant.secrets.iter().map(|secret| (secret.path.clone(), Guard::Hidden)));
    guarded
}

fn backend(
    tenant: &TenantConfig,
    settings: &BackendSettings,
    extras: &Extras,
    ground: &Ground,
) -> Result<BackendState, Problem> {
    let failed = |text: String| Problem::new(format!("{}.config", settings.key), settings.line, text);
    let BackendConfig::HashicorpVault(vault) = &settings.config else {
        return Err(Problem::new(format!("{}.type", settings.key), settings.line, "not served by this release"));
    };
    let ca = vault.upstream.ca_path.as_deref();
    let identity = vault.client_certificate.as_ref();
    let mut named = Vec::new();
    let pair = identity.map(|identity| [&identity.certificate, &identity.private_key]);
    for file in vault.upstream.ca_path.iter().chain(pair.iter().flatten().copied()) {
        let bytes = files::bytes(file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
        named.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    }
    let client = ground.backend(&tenant.tenant, settings, named, || {
        let identity = identity.map(|identity| (identity.certificate.as_path(), identity.private_key.as_path()));
        let tls = client_config(ca, identity, vault.tls_verify).map_err(failed)?;
        let http = HttpClient::new(HttpSettings { tls, connect_timeout: vault.upstream.attempt_timeout })
            .map_err(|error| failed(error.to_string()))?;
        let endpoint = reqwest::Url::parse(vault.endpoint.base()).map_err(|error| failed(error.to_string()))?;
        let namespace = vault.namespace.as_deref().map(http::HeaderValue::from_str).transpose();
        let client: Arc<dyn Backend> = Arc::new(VaultBackend::new(VaultSettings {
            endpoint,
            namespace: namespace.map_err(|_| failed("namespace is not visible ASCII".to_owned()))?,
            method: method(tenant, vault, extras, ground).map_err(failed)?,
            http,
            timeout: vault.upstream.timeout,
            attempt_timeout: vault.upstream.attempt_timeout,
        }));
        Ok(client)
    })?;
    let kv2 = |rule: &crate::config::BackendRule| {
        if rule.kv_version == Some(1) { None } else { data_segment(&rule.to) }
    };
    let kv2_segments = settings.path_mapping.iter().map(kv2).collect();
    Ok(BackendState { name: Box::from(settings.name.as_str()), client, kv2_segments })
}

fn method(tenant: &TenantConfig, vault: &VaultConfig, extras: &Extras, ground: &Ground) -> Result<AuthMethod, String> {
    let source = |path: &SecretPath| credential_source(tenant, path, extras, ground);
    Ok(match &vault.auth {
        VaultAuth::Token { auth_config_path } => AuthMethod::Token(source(auth_config_path)),
        VaultAuth::Approle { auth_config_path } => {
            AuthMethod::Approle { mount: vault.mount.clone(), source: source(auth_config_path) }
        }
        VaultAuth::Kubernetes { role, token_path, .. } => {
            AuthMethod::Kubernetes { mount: vault.mount.clone(), role: role.clone(), token_path: token_path.clone() }
        }
        VaultAuth::Aws { .. } | VaultAuth::Gcp { .. } => {
            return Err("auth_method is not served by this release".to_owned());
        }
    })
}

/// Where a backend's credential is read at each login: a file of `secrets:`, else the local store.
fn credential_source(tenant: &TenantConfig, path: &SecretPath, extras: &Extras, ground: &Ground) -> CredentialSource {
    if let Some((_, file)) = extras.token_file.as_ref().filter(|(dev, _)| dev == path) {
        let file = file.clone();
        return Arc::new(move || {
            let token = files::credential(&file, "--backend-token-file", None);
            let token = token.map_err(|_| "the backend token file cannot be read")?;
            let json = serde_json::to_vec(&serde_json::json!({"token": token.as_str()}));
            json.map(SecretValue::new).map_err(|_| "the backend token cannot be used")
        });
    }
    if let Some(secret) = tenant.secrets.iter().find(|secret| secret.path == *path) {
        let file = secret.file.clone();
        return Arc::new(move || {
            let bytes = files::bytes(&file).map_err(|_| "the file of the stored credential cannot be read")?;
            Ok(SecretValue::copy_of(&bytes))
        });
    }
    let (records, clock, path) = (ground.records(&tenant.tenant), ground.clock.clone(), path.clone());
    Arc::new(move || {
        let stored = records.stored(&path).filter(|stored| stored.version.is_readable(clock.now()));
        let stored = stored.ok_or("the stored credential does not exist, or is deleted")?;
        let value = records.value(&path, stored.current).map_err(|_| "the stored credential cannot be opened")?;
        value.ok_or("the stored credential has no value")
    })
}

fn identity(tenant: &TenantConfig, extras: &Extras) -> Result<TenantIdentity, Vec<Problem>> {
    let known = &tenant.identity;
    let folders =
        |list: &[crate::secret::Folder]| list.iter().map(|folder| folder.as_str().to_owned()).collect::<Vec<_>>();
    let mut problems = Vec::new();
    let mut read = |path: &PathBuf, key: &str, line| match files::credential(path, key, line) {
        Ok(text) => Some(text),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let mut tokens = Vec::new();
    for entry in &known.tokens {
        let Some(token) = read(&entry.file, &format!("{}.file", entry.key), entry.line) else { continue };
        let principal = &entry.principal;
        tokens.push(StaticToken {
            principal: principal.principal.clone(),
            groups: principal.groups.clone(),
            folders: folders(&principal.folders),
            token,
            key: entry.key.clone(),
            dev: false,
        });
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
    let mut approles = Vec::new();
    for entry in &known.approles {
        let key = format!("{}.secret_id_files", entry.key);
        let secret_ids: Vec<_> = entry.secret_id_files.iter().filter_map(|file| read(file, &key, entry.line)).collect();
        approles.push(Approle {
            principal: entry.principal.principal.clone(),
            groups: entry.principal.groups.clone(),
            folders: folders(&entry.principal.folders),
            role_id: entry.role_id.clone(),
            secret_ids,
            token_ttl: Some(entry.token_ttl),
            token_max_ttl: Some(entry.token_max_ttl),
        });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let workload = known.workload.as_ref().map(|workload| WorkloadSettings {
        principal: workload.principal.clone(),
        groups: workload.groups.clone(),
        folders: folders(&workload.folders),
    });
    let certificates = known.certificates.iter().map(|entry| CertRule {
        san: entry.san.clone(),
        principal: entry.principal.principal.clone(),
        groups: entry.principal.groups.clone(),
        folders: folders(&entry.principal.folders),
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
        jwt: known.jwt.iter().map(issuer).collect(),
        certificates: certificates.collect(),
    })
}

fn issuer(entry: &crate::config::JwtConfig) -> JwtIssuer {
    JwtIssuer {
        issuer: entry.issuer.as_str().to_owned(),
        audiences: entry.audiences.clone(),
        jwks: match &entry.keys {
            JwtKeys::Discovery => JwksLocation::Discovery,
            JwtKeys::Url(url) => JwksLocation::Url(url.as_str().to_owned()),
            JwtKeys::File(path) => JwksLocation::File(path.clone()),
        },
        ca_path: entry.ca_path.clone(),
        allow: entry.allow.iter().cloned().collect(),
        principal: entry.principal.clone(),
        groups: entry.groups.clone(),
        folders: entry.folders.clone(),
    }
}

fn listener(listener: &ListenerConfig, config: &Config, ground: &Ground) -> Result<ListenerState, Vec<Problem>> {
    let failed = |key: &str, text: &str| vec![Problem::new(format!("{}.{key}", listener.key), listener.line, text)];
    let frontend = frontend(listener.wire).ok_or_else(|| failed("wire", "not served by this release"))?;
    let tenant = listener.tenant.clone().unwrap_or_else(Tenant::default_tenant);
    let settings = config.tenant(&tenant).or_else(|| config.tenants.first());
    let mut mounts: Vec<Mount> = listener.mounts.iter().map(mount).collect();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.split('/').count()));
    let passthrough = listener.passthrough.iter().map(|entry| Passthrough {
        path: entry.path.split('/').map(str::to_owned).collect(),
        operations: entry.operations.iter().map(pass_operation).collect(),
    });
    let facts = ListenerFacts {
        mounts,
        passthrough: passthrough.collect(),
        require_request_header: listener.require_request_header,
        workload: listener.auth == ListenerAuth::Workload,
        max_versions: settings.map_or(10, |tenant| tenant.local.max_versions.into()),
        value_bytes: config.tenants.iter().map(|tenant| tenant.value_bytes).max().unwrap_or(1_048_576),
        hosts: hosts(listener),
        cursors: ground.cursors.clone(),
    };
    Ok(ListenerState {
        kind: listener.wire,
        frontend,
        facts,
        paths: paths(&listener.paths, &listener.key)?,
        workload: listener.auth == ListenerAuth::Workload,
        tenant,
    })
}

fn mount(mount: &crate::config::Mount) -> Mount {
    let kind = match mount.kind {
        MountKind::Kv1 => crate::wire::MountKind::Kv1,
        MountKind::Kv2 => crate::wire::MountKind::Kv2,
        MountKind::Logical => crate::wire::MountKind::Logical,
    };
    Mount { path: mount.path.clone(), kind }
}

const fn pass_operation(operation: &PassOperation) -> crate::wire::PassOperation {
    match operation {
        PassOperation::Read => crate::wire::PassOperation::Read,
        PassOperation::List => crate::wire::PassOperation::List,
        PassOperation::Write => crate::wire::PassOperation::Write,
    }
}

/// The hosts a listener answers for. Our own API, and listeners that ask for no credential, always have a list: what the
/// configuration says, else loopback names, the listener's own address and the names in its certificate.
fn hosts(listener: &ListenerConfig) -> Vec<String> {
    let is_open = listener.auth == ListenerAuth::Workload && matches!(listener.address, crate::config::Address::Tcp(_));
    if !listener.hosts.is_empty() || (listener.wire != crate::secret::WireKind::Scaivault && !is_open) {
        return listener.hosts.clone();
    }
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if let crate::config::Address::Tcp(address) = &listener.address {
        hosts.push(address.ip().to_string());
    }
    let pem = listener.tls.as_ref().and_then(|tls| files::bytes(&tls.certificate).ok());
    let der = pem.and_then(|pem| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_slice(&pem).ok()
    });
    if let Some(certificate) = der.and_then(|der| PeerCertificate::from_der(&der).ok()) {
        let names =
            certificate.sans.iter().filter_map(|san| san.strip_prefix("dns:").or_else(|| san.strip_prefix("ip:")));
        hosts.extend(names.map(str::to_owned));
    }
    hosts
}
