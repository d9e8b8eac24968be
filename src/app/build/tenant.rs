//! A tenant's part of a snapshot: its table, its policies, its backends, its local secrets.

use std::collections::HashMap;

use super::Extras;
use super::backend::{self, data_segment};
use crate::app::{Ground, files};
use crate::config::{BackendConfig, BackendRule, Problem, TenantConfig, VaultAuth};
use crate::mapping::{BackendRules, RouteSpec, Router, RuleSpec, Side, Table};
use crate::pipeline::{Guard, LocalLimits, TenantState};
use crate::policy::Policies;
use crate::secret::SecretPath;

pub(super) fn state(
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
        match backend::state(tenant, settings, extras, ground) {
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

/// What can be said of a tenant without its backends. It serves nothing.
pub(super) fn outline(tenant: &TenantConfig, extras: &Extras, ground: &Ground) -> Result<TenantState, Vec<Problem>> {
    Ok(TenantState {
        router: router(tenant, extras)?,
        policies: policies(tenant, extras, 1)?,
        backends: Vec::new(),
        records: ground.records(&tenant.tenant),
        guarded: guarded(tenant),
        limits: LocalLimits { max_versions: 1, value_bytes: 1 },
    })
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

fn rule_spec(rule: &BackendRule) -> RuleSpec {
    RuleSpec { from: rule.from.clone(), to: rule.to.clone(), separator: rule.separator.clone(), escape: rule.escape }
}

/// A tenant's policy set.
pub(in crate::app) fn policies(
    tenant: &TenantConfig,
    extras: &Extras,
    generation: u64,
) -> Result<Policies, Vec<Problem>> {
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
