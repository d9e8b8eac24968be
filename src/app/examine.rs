//! `check`: everything that can be said about a configuration without serving it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::Extras;
use super::build::{Credentials, directory, paths, policies, router};
use super::run::socket_tls;
use crate::clock::{Clock, SystemClock};
use crate::config::{BackendConfig, BackendRule, Config, JwtKeys, PassphraseSource, Problem, SealKey, TenantConfig};
use crate::identity::Sessions;
use crate::mapping::{Router, RuleSpec, Side, Table};
use crate::secret::{Mode, SecretPath};

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
        found.problems.extend(socket_tls(listener));
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
        match router(tenant, &extras) {
            Ok(router) => found.problems.extend(unprefetchable(tenant, &router)),
            Err(problems) => found.problems.extend(problems),
        }
        match policies(tenant, &extras, 1) {
            Ok(policies) => {
                let key = tenant.key_of("policies");
                found.warnings.extend(policies.warnings().iter().map(|text| Problem::new(&key, None, text)));
            }
            Err(problems) => found.problems.extend(problems),
        }
        collisions(tenant, &mut found);
    }
    found.problems.extend(identities(config, &extras));
    missing(config, &mut found);
    found
}

/// What of `prefetch.paths` nothing would ever copy, by the tenant's own backends: those the API makes come and go. The
/// router may know these as well, behind the tenant's own.
pub(super) fn unprefetchable(tenant: &TenantConfig, router: &Router) -> Vec<Problem> {
    let is_own = |backend: u32| usize::try_from(backend).is_ok_and(|index| index < tenant.backends.len());
    let why = |path: &SecretPath| {
        let route = router.resolve(path).filter(|route| route.rule.is_none_or(|rule| is_own(rule.backend)));
        match route.map(|route| route.mode) {
            Some(Mode::Sync | Mode::Local) => None,
            Some(Mode::Proxy) => Some("is always read live: only paths of rules with mode: sync are prefetched"),
            None => Some("is mapped by no backend's rule: only paths of rules with mode: sync are prefetched"),
        }
    };
    let paths = tenant.prefetch.paths.iter().enumerate();
    let problem = |at: usize, text: &str| Problem::new(tenant.key_of(&format!("prefetch.paths[{at}]")), None, text);
    paths.filter_map(|(at, path)| Some(problem(at, why(path)?))).collect()
}

/// What is wrong with who is who, whatever the credentials are.
fn identities(config: &Config, extras: &Extras) -> Vec<Problem> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let compiled = match Sessions::new(clock.clone()) {
        Ok(sessions) => directory(config, extras, Credentials::MadeUp, Arc::new(sessions), clock).map(drop),
        Err(error) => Err(vec![Problem::new("identity", None, error.to_string())]),
    };
    compiled.err().unwrap_or_default()
}

fn collisions(tenant: &TenantConfig, found: &mut Examined) {
    for backend in &tenant.backends {
        let spec = |rule: &BackendRule| RuleSpec {
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

/// Files by the key path that names them.
type Files<'c> = Vec<(String, &'c Path)>;

/// Warns of files that are not here; each once.
fn missing(config: &Config, found: &mut Examined) {
    let mut files = of_process(config);
    for tenant in &config.tenants {
        of_identity(tenant, &mut files);
        of_backends(tenant, &mut files);
    }
    let mut said = HashSet::new();
    for (key, file) in files {
        if !file.exists() && said.insert(file) {
            found.warnings.push(Problem::new(key, None, format!("{} does not exist on this machine", file.display())));
        }
    }
}

fn of_process(config: &Config) -> Files<'_> {
    let mut files = Files::new();
    if let Some(seal) = &config.seal {
        for (key, source) in [("seal.path", Some(&seal.current)), ("seal.previous.path", seal.previous.as_ref())] {
            match source {
                Some(SealKey::File { path } | SealKey::Passphrase(PassphraseSource::File(path))) => {
                    files.push((key.to_owned(), path));
                }
                None | Some(SealKey::Env { .. } | SealKey::Passphrase(_) | SealKey::Service { .. }) => {}
            }
        }
    }
    files.extend(config.audit.key.iter().map(|file| ("audit.key.file".to_owned(), file.as_path())));
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let key = |name: &str| format!("{}.tls.{name}", listener.key);
        files.push((key("certificate"), &tls.certificate));
        files.push((key("key"), &tls.private_key));
        files.extend(tls.client_ca.iter().map(|file| (key("client_ca"), file.as_path())));
    }
    files
}

fn of_identity<'c>(tenant: &'c TenantConfig, files: &mut Files<'c>) {
    let identity = &tenant.identity;
    files.extend(identity.tokens.iter().map(|token| (format!("{}.file", token.key), token.file.as_path())));
    for role in &identity.approles {
        files.extend(role.secret_id_files.iter().map(|file| (format!("{}.secret_id_files", role.key), file.as_path())));
    }
    files.extend(identity.access_keys.iter().map(|pair| (format!("{}.file", pair.key), pair.file.as_path())));
    for jwt in &identity.jwt {
        if let JwtKeys::File(file) = &jwt.keys {
            files.push((format!("{}.jwks_file", jwt.key), file));
        }
        files.extend(jwt.ca_path.iter().map(|file| (format!("{}.ca_path", jwt.key), file.as_path())));
    }
}

fn of_backends<'c>(tenant: &'c TenantConfig, files: &mut Files<'c>) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{compile_text, load};

    fn examined(text: &str) -> Examined {
        examine(&compile_text(text, Path::new("/nowhere")).unwrap_or_else(|problems| panic!("{problems:?}")))
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.key.as_str()).collect()
    }

    #[test]
    fn o05_identities_are_compiled_without_their_files() {
        let identity = "identity: {tokens: [{principal: a//b, file: t}], approles: [{principal: r, role_id: r, \
                        secret_id_files: [s]}], jwt: [{issuer: 'https://i.example', audiences: [a], jwks_file: j, \
                        principal: '{a}{b}'}, {issuer: 'https://j.example', audiences: [a], principal: '{sub}'}], \
                        certificates: [{san: 'spiffe://x', principal: c}, {san: 'dns:x', principal: d}]}";
        let found = examined(&format!("version: 1\nlisteners: [{{wire: vault}}]\n{identity}\n"));
        assert_eq!(
            keys(&found.problems),
            ["identity.tokens[0].principal", "identity.jwt[0].principal", "identity.certificates[0].san"]
        );
        assert_eq!(
            keys(&found.warnings),
            [
                "policies",
                "identity.tokens[0].file",
                "identity.approles[0].secret_id_files",
                "identity.jwt[0].jwks_file",
            ]
        );
        let nested = format!("version: 1\nlisteners: [{{wire: vault}}]\ntenants: {{pay: {{{identity}}}}}\n");
        assert_eq!(
            keys(&examined(&nested).problems),
            [
                "tenants.pay.identity.tokens[0].principal",
                "tenants.pay.identity.jwt[0].principal",
                "tenants.pay.identity.certificates[0].san",
            ]
        );
    }

    #[test]
    fn only_what_is_copied_is_prefetched() {
        let tenant = "store: {local: [infra]}\nsecrets: {infra/t: {file: t}}\nbackends:\n\
                      - name: v\n  type: hashicorp-vault\n  \
                      config: {endpoint: 'https://v', auth_method: token, auth_config_path: infra/t}\n  \
                      path_mapping: [{from: 'copied/**', to: 'secret/data/**', mode: sync}, \
                      {from: 'live/**', to: 'secret/data/**'}]\n\
                      prefetch: {paths: [copied/x, live/x, nowhere/x, infra/x]}\n";
        let found = examined(&format!("version: 1\nlisteners: [{{wire: vault}}]\n{tenant}"));
        assert_eq!(keys(&found.problems), ["prefetch.paths[1]", "prefetch.paths[2]"]);
        let [live, nowhere] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
        assert!(
            live.message.contains("read live") && nowhere.message.contains("no backend's rule"),
            "{live} {nowhere}"
        );
        let nested: String = tenant.lines().map(|line| format!("    {line}\n")).collect();
        let found = examined(&format!("version: 1\nlisteners: [{{wire: vault}}]\ntenants:\n  pay:\n{nested}"));
        assert_eq!(keys(&found.problems), ["tenants.pay.prefetch.paths[1]", "tenants.pay.prefetch.paths[2]"]);
        // a rule of a backend the API made is no rule of the file
        let text = format!("version: 1\nlisteners: [{{wire: vault}}]\n{tenant}");
        let mut file = compile_text(&text, Path::new("/nowhere")).unwrap().tenants.remove(0);
        let with_made = router(&file, &Extras::default()).unwrap();
        file.backends.clear();
        let found = unprefetchable(&file, &with_made);
        assert_eq!(keys(&found), ["prefetch.paths[0]", "prefetch.paths[1]", "prefetch.paths[2]"]);
    }

    #[test]
    fn every_file_the_process_reads_is_looked_for() {
        let found = examined(
            "version: 1\nseal: {provider: file, path: seal}\naudit: {key: {file: audit}}\nlisteners: [{wire: vault, \
             tls: {certificate: crt, key: key, client_ca: ca}}, {wire: scaivault, address: 'unix:/run/p.sock', \
             tls: {certificate: crt, key: key}}]\n",
        );
        let tls = ["listeners[0].tls.certificate", "listeners[0].tls.key", "listeners[0].tls.client_ca"];
        let wanted = ["policies", "seal.path", "audit.key.file"].into_iter().chain(tls);
        assert_eq!(keys(&found.warnings), wanted.collect::<Vec<_>>());
        assert_eq!(keys(&found.problems), ["listeners[1].tls"], "`serve` refuses TLS on a socket");
    }

    #[test]
    fn the_shipped_files_give_no_warning_but_of_what_is_elsewhere() {
        for name in ["sidecar.yaml", "gateway.yaml"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
            let found = examine(&load(&file).unwrap());
            assert!(found.problems.is_empty(), "{name}: {:?}", found.problems);
            let is_elsewhere = |warning: &&Problem| warning.message.ends_with("does not exist on this machine");
            let other =
                found.warnings.iter().find(|warning| !is_elsewhere(warning) && !warning.key.ends_with("policies"));
            assert_eq!(other, None, "{name}");
        }
    }
}
