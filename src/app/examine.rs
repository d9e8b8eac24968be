//! `check`: everything that can be said about a configuration without serving it.

use std::collections::HashSet;

use super::Extras;
use super::build::{paths, policies, router};
use crate::config::{BackendConfig, Config, Problem, TenantConfig};
use crate::mapping::{RuleSpec, Side, Table};

/// What `check` found.
#[derive(Debug, Default)]
pub struct Examined {
    /// What `serve` would refuse on any machine.
    pub problems: Vec<Problem>,
    /// What probably is not meant, and files that are not on this machine.
    pub warnings: Vec<Problem>,
    /// Valid, and not served by this release.
    pub not_built: Vec<Problem>,
}

/// Examines a compiled configuration. Files other than policies need not exist here.
#[must_use]
pub fn examine(config: &Config) -> Examined {
    let mut found =
        Examined { warnings: config.warnings.clone(), not_built: config.not_built(), ..Examined::default() };
    let extras = Extras::default();
    for listener in &config.listeners {
        match paths(&listener.paths, &listener.key) {
            Ok(table) => {
                let key = format!("{}.paths", listener.key);
                found
                    .warnings
                    .extend(table.collisions().into_iter().map(|text| Problem::new(&key, listener.line, text)));
            }
            Err(problems) => found.problems.extend(problems),
        }
    }
    for tenant in &config.tenants {
        if let Err(problems) = router(tenant, &extras) {
            found.problems.extend(problems);
        }
        match policies(tenant, &extras, 1) {
            Ok(policies) => {
                let key = tenant.key_of("policies");
                found.warnings.extend(policies.warnings().iter().map(|text| Problem::new(&key, None, text)));
            }
            Err(problems) => found.problems.extend(problems),
        }
        collisions(tenant, &mut found);
        missing(tenant, &mut found);
    }
    found
}

fn collisions(tenant: &TenantConfig, found: &mut Examined) {
    for backend in &tenant.backends {
        let spec = |rule: &crate::config::BackendRule| RuleSpec {
            from: rule.from.clone(),
            to: rule.to.clone(),
            separator: rule.separator.clone(),
            escape: rule.escape,
        };
        let specs: Vec<RuleSpec> = backend.path_mapping.iter().map(spec).collect();
        if let Ok(table) = Table::compile(&specs, Side::To) {
            let key = format!("{}.path_mapping", backend.key);
            found.warnings.extend(table.collisions().into_iter().map(|text| Problem::new(&key, backend.line, text)));
        }
    }
}

fn missing(tenant: &TenantConfig, found: &mut Examined) {
    let mut files: Vec<(String, &std::path::Path)> = Vec::new();
    for token in &tenant.identity.tokens {
        files.push((format!("{}.file", token.key), &token.file));
    }
    for role in &tenant.identity.approles {
        files.extend(role.secret_id_files.iter().map(|file| (format!("{}.secret_id_files", role.key), file.as_path())));
    }
    for secret in &tenant.secrets {
        files.push((tenant.key_of(&format!("secrets.{}", secret.path)), &secret.file));
    }
    for backend in &tenant.backends {
        let key = |name: &str| format!("{}.config.{name}", backend.key);
        files.extend(backend.config.upstream().ca_path.iter().map(|file| (key("ca_path"), file.as_path())));
        if let BackendConfig::HashicorpVault(vault) = &backend.config
            && let Some(pair) = &vault.client_certificate
        {
            files.push((key("client_cert_path"), &pair.certificate));
            files.push((key("client_key_path"), &pair.private_key));
        }
    }
    let mut said = HashSet::new();
    for (key, file) in files {
        if !file.exists() && said.insert(file) {
            found.warnings.push(Problem::new(key, None, format!("{} does not exist on this machine", file.display())));
        }
    }
}
