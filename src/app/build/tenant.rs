//! A tenant's part of a snapshot: its table, its policies, its backends, its local secrets.

use std::collections::HashMap;
use std::sync::Arc;

use super::Extras;
use super::backend::{self, Whose, data_segment};
use super::reach;
use crate::app::examine::unprefetchable;
use crate::app::made::Made;
use crate::app::{Ground, files};
use crate::config::{
    AllowedEndpoints, BackendRule, BackendSettings, Config, Problem, TenantConfig, backend_credentials,
    describe_backend,
};
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec, Side, Table};
use crate::pipeline::{BackendSource, BackendState, BackendView, FederationView, Guard, LocalLimits, TenantState};
use crate::policy::Policies;
use crate::secret::{BackendId, SecretPath, WriteMode};

/// How much of a tenant is made anew.
pub(super) enum Scope<'a> {
    /// All of it, of this generation.
    Whole(u64),
    /// What follows from this backend of the API. The policies are these, and the clients of the other backends stay.
    Backend(&'a BackendId, Arc<Policies>),
}

/// `made` are the tenant's backends that came over the API; they are tried after those of the file.
pub(super) fn state(
    (config, file): (&Config, &TenantConfig),
    made: &[Made],
    extras: &Extras,
    ground: &Ground,
    scope: Scope<'_>,
) -> Result<TenantState, Vec<Problem>> {
    let allowed = reach::allowed(config, file, extras)?;
    let served: Vec<&Made> = made.iter().filter(|made| made.unsupported(&allowed).is_none()).collect();
    let tenant = &with_made(file, &served);
    let mut problems = Vec::new();
    let router = router(tenant, extras).map_err(|found| problems.extend(found)).ok();
    let policies = match &scope {
        Scope::Whole(generation) => policies(tenant, extras, *generation).map_err(|found| problems.extend(found)).ok(),
        Scope::Backend(_, kept) => Some(kept.clone()),
    };
    let records = ground.records(&tenant.tenant).map_err(|problem| problems.push(problem)).ok();
    let (Some(router), Some(policies), Some(records)) = (router, policies, records) else { return Err(problems) };
    problems.extend(unprefetchable(file, &router));
    let router = Arc::new(router);
    let mut backends = Vec::new();
    for (index, settings) in (0_u32..).zip(&tenant.backends) {
        let made = usize::try_from(index).ok().and_then(|index| served.get(index.checked_sub(file.backends.len())?));
        let allowed = made.map(|_| &allowed);
        let id = made.map_or_else(|| backend::file_id(&tenant.tenant, &settings.name), |made| made.id.clone());
        let stays = matches!(&scope, Scope::Backend(changed, _) if **changed != id);
        match backend::state(Whose { tenant, settings, id, index, allowed, stays }, &router, extras, ground) {
            Ok(state) => backends.push(state),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let limits = LocalLimits { max_versions: tenant.local.max_versions.into(), value_bytes: tenant.value_bytes };
    let federation = Arc::new(view(file, (made, &allowed), &backends, &router));
    let kv2_segments = kv2_segments(tenant);
    let guarded = guarded(file, made);
    Ok(TenantState { router, policies, backends, kv2_segments, records, guarded, limits, federation })
}

/// The tenant with the backends of the API behind its own.
pub(in crate::app) fn with_made(file: &TenantConfig, made: &[&Made]) -> TenantConfig {
    let mut tenant = file.clone();
    tenant.backends.extend(made.iter().enumerate().map(|(at, made)| {
        let key = tenant_key(file, file.backends.len() + at);
        BackendSettings { key, ..made.settings.clone() }
    }));
    tenant
}

/// The key a backend would have in the file.
fn tenant_key(tenant: &TenantConfig, index: usize) -> String {
    tenant.key_of(&format!("backends[{index}]"))
}

/// What the API shows: those of the file, then those it made itself.
fn view(
    file: &TenantConfig,
    (made, allowed): (&[Made], &AllowedEndpoints),
    backends: &[BackendState],
    router: &Router,
) -> FederationView {
    let index_of = |id: &BackendId| backends.iter().position(|state| state.id == *id).and_then(|at| at.try_into().ok());
    let one = |id: BackendId, settings: &BackendSettings, source, unsupported: Option<&'static str>| {
        let index: Option<u32> = index_of(&id);
        BackendView {
            name: Box::from(settings.name.as_str()),
            folder: index.and_then(|index| router.backend_folder(index)),
            index,
            source,
            settings: describe_backend(settings),
            unsupported: unsupported.map(Box::from),
            id,
        }
    };
    let of_file = file.backends.iter().map(|settings| {
        let source = BackendSource::File { key: Box::from(settings.key.as_str()) };
        one(backend::file_id(&file.tenant, &settings.name), settings, source, None)
    });
    let of_api = made.iter().map(|m| one(m.id.clone(), &m.settings, BackendSource::Api, m.unsupported(allowed)));
    FederationView { backends: of_file.chain(of_api).collect() }
}

/// What can be said of a tenant without its backends. It serves nothing.
pub(super) fn outline(tenant: &TenantConfig, extras: &Extras, ground: &Ground) -> Result<TenantState, Vec<Problem>> {
    Ok(TenantState {
        router: Arc::new(router(tenant, extras)?),
        policies: policies(tenant, extras, 1)?,
        backends: Vec::new(),
        kv2_segments: kv2_segments(tenant),
        records: ground.records(&tenant.tenant).map_err(|problem| vec![problem])?,
        guarded: guarded(tenant, &[]),
        limits: LocalLimits { max_versions: 1, value_bytes: 1 },
        federation: Arc::default(),
    })
}

fn kv2_segments(tenant: &TenantConfig) -> Vec<Vec<Option<usize>>> {
    tenant.backends.iter().map(backend::kv2_segments).collect()
}

/// Table 2, checked as far as it can be without asking anybody.
pub(in crate::app) fn router(tenant: &TenantConfig, extras: &Extras) -> Result<Router, Vec<Problem>> {
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
            writable: rule.write_mode.unwrap_or(settings.write_mode) != WriteMode::Disabled,
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

fn rule_spec(rule: &BackendRule) -> RuleSpec {
    RuleSpec { from: rule.from.clone(), to: rule.to.clone(), separator: rule.separator.clone(), escape: rule.escape }
}

/// A tenant's policy set.
pub(in crate::app) fn policies(
    tenant: &TenantConfig,
    extras: &Extras,
    generation: u64,
) -> Result<Arc<Policies>, Vec<Problem>> {
    if extras.dev {
        return Ok(Arc::new(Policies::permit_all(generation)));
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
        .map(Arc::new)
        .map_err(|found| found.into_iter().map(|text| Problem::new(key.clone(), None, text)).collect())
}

/// Paths kept from wires: what the configuration holds itself, and what it gives to backends.
/// Of every backend, served or not.
fn guarded(tenant: &TenantConfig, made: &[Made]) -> HashMap<SecretPath, Guard> {
    let all = tenant.backends.iter().chain(made.iter().map(|made| &made.settings));
    let mut guarded: HashMap<SecretPath, Guard> =
        all.flat_map(backend_credentials).map(|(_, path)| (path.clone(), Guard::WriteOnly)).collect();
    guarded.extend(tenant.webhooks.iter().map(|hook| (hook.secret_path.clone(), Guard::WriteOnly)));
    guarded.extend(tenant.secrets.iter().map(|secret| (secret.path.clone(), Guard::Hidden)));
    guarded
}
