//! `dev`: everything on loopback, nothing to set up.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Done;
use super::stdout::say;
use crate::app::{self, Extras};
use crate::config::{
    AwsConfig, BackendConfig, BackendRule, BackendSettings, Config, HttpUrl, ListenerAuth, ListenerConfig, PathRule,
    PrincipalConfig, SinkConfig, SinkKind, UpstreamConfig, VaultAuth, VaultConfig,
};
use crate::secret::{SecretPath, WireKind};

const TOKEN_PATH: &str = "infra/dev/backend-token";
/// What names of the aws wire lie in while nobody says.
const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

/// Serve everything on loopback with an empty store: for trying things out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy dev
  scaivault-proxy dev --root-token my-dev-token --env-file dev.env
  scaivault-proxy dev --store ./dev-store
  scaivault-proxy dev --backend hashicorp-vault=http://127.0.0.1:8200 --backend-token-file token.txt
  scaivault-proxy dev --backend aws-secrets-manager=eu-west-1 --profile staging

Without --root-token no credential is needed. Without --store secrets live in memory and are gone when it stops.")]
pub(super) struct Dev {
    /// Require this token.
    #[arg(long, value_name = "TOKEN", env = "SCAIVAULT_DEV_ROOT_TOKEN", hide_env_values = true)]
    root_token: Option<String>,
    #[command(flatten)]
    behind: Behind,
    /// Keep secrets, and the key they are sealed with, in this directory.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Write the exports to a file as well, one a line.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// A backend without a configuration file.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Behind {
    /// Put a backend behind it: hashicorp-vault=URL or aws-secrets-manager=REGION.
    #[arg(long, value_name = "TYPE=TARGET")]
    pub(super) backend: Option<String>,
    /// The file that holds the token of a hashicorp-vault backend.
    #[arg(long, value_name = "FILE", requires = "backend")]
    pub(super) backend_token_file: Option<PathBuf>,
    /// The profile whose credentials an aws-secrets-manager backend is called with, at its endpoint_url if it has one; else
    /// they come from the environment.
    #[arg(long, requires = "backend")]
    pub(super) profile: Option<String>,
}

impl Dev {
    pub(super) fn run(self) -> Done {
        let scratch = Scratch::new()?;
        let (mut config, extras) = configuration(scratch.path(), self.root_token, &self.behind)?;
        config.store.path = self.store.as_ref().map(|directory| directory.join("store.redb"));
        let exports = exports(&config, extras.root_token.as_deref());
        if let Some(path) = &self.env_file {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            for line in &exports {
                writeln!(file, "{line}")?;
            }
        }
        let running = app::prepare(config.clone(), extras)?;
        banner(&config, &exports, scratch.path());
        app::serve(running, None)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A private directory for the audit file of one run, gone with it however it ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> std::io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("scaivault-proxy-{}", ulid::Ulid::new()));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self(directory))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The configuration `dev` and `exec` serve without a file.
pub(super) fn configuration(
    directory: &Path,
    root_token: Option<String>,
    behind: &Behind,
) -> Result<(Config, Extras), String> {
    let mut config = Config::default();
    config.audit.sinks =
        vec![SinkConfig { kind: SinkKind::File { path: directory.join("audit.jsonl") }, ..SinkConfig::stdout() }];
    for wire in [WireKind::Scaivault, WireKind::Vault, WireKind::Aws] {
        let mut listener = ListenerConfig::new(wire);
        if wire == WireKind::Aws {
            listener.account = Some(ACCOUNT.to_owned());
            listener.region = Some(REGION.to_owned());
        }
        if root_token.is_none() {
            listener.auth = ListenerAuth::Workload;
        }
        config.listeners.push(listener);
    }
    let path = SecretPath::parse(TOKEN_PATH).map_err(|error| error.to_string())?;
    let tenant = config.tenants.first_mut().ok_or("no default tenant")?;
    tenant.identity.workload = Some(PrincipalConfig { principal: "dev".to_owned(), ..PrincipalConfig::default() });
    let token_file = behind.backend_token_file.as_deref();
    match behind.backend.as_deref().map(|shortcut| shortcut.split_once('=').unwrap_or((shortcut, ""))) {
        None => {}
        Some(("hashicorp-vault", url)) => {
            let token_file = token_file.ok_or("--backend hashicorp-vault needs --backend-token-file")?;
            if !token_file.exists() {
                return Err(format!("--backend-token-file: {} does not exist", token_file.display()));
            }
            tenant.backends.push(vault(url, &path)?);
        }
        Some(("aws-secrets-manager", region)) => {
            if token_file.is_some() {
                return Err("--backend-token-file: an aws-secrets-manager backend has no token".to_owned());
            }
            tenant.backends.push(aws(region, behind.profile.clone())?);
            for listener in config.listeners.iter_mut().filter(|listener| listener.wire == WireKind::Aws) {
                listener.region = Some(region.to_owned());
                // the account's own names
                let (from, to) = ("**".to_owned(), "external/aws/**".to_owned());
                listener.paths = vec![PathRule { from, to, ..PathRule::default() }];
            }
        }
        Some(_) => {
            return Err("--backend: expected hashicorp-vault=URL or aws-secrets-manager=REGION".to_owned());
        }
    }
    let extras = Extras {
        dev: true,
        root_token: root_token.map(|token| Arc::new(Zeroizing::new(token))),
        token_file: token_file.map(|file| (path, file.to_owned())),
    };
    Ok((config, extras))
}

/// `hashicorp-vault=URL`: the vault wire's `secret/**` and everybody's `external/hashicorp/**` on `secret/data/**`.
fn vault(url: &str, token: &SecretPath) -> Result<BackendSettings, String> {
    let endpoint = HttpUrl::parse(url).map_err(|error| format!("--backend: {error}"))?;
    let auth = VaultAuth::Token { auth_config_path: token.clone() };
    let vault = VaultConfig {
        endpoint,
        namespace: None,
        mount: auth.as_str().to_owned(),
        auth,
        tls_verify: true,
        client_certificate: None,
        audit_device: None,
        upstream: UpstreamConfig::default(),
    };
    let mut settings = BackendSettings::new("hashicorp-vault", BackendConfig::HashicorpVault(vault));
    let rule =
        |from: &str| BackendRule { from: from.to_owned(), to: "secret/data/**".to_owned(), ..BackendRule::default() };
    settings.path_mapping = vec![rule("secret/**"), rule("external/hashicorp/**")];
    Ok(settings)
}

/// `aws-secrets-manager=REGION`: the account's own names on the aws wire, and everybody's `external/aws/**`.
fn aws(region: &str, profile: Option<String>) -> Result<BackendSettings, String> {
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("--backend: expected aws-secrets-manager=REGION, for example eu-west-1".to_owned());
    }
    let aws = AwsConfig { region: region.to_owned(), profile, ..AwsConfig::default() };
    let mut settings = BackendSettings::new("aws-secrets-manager", BackendConfig::AwsSecretsManager(aws));
    let (from, to) = ("external/aws/**".to_owned(), "**".to_owned());
    settings.path_mapping = vec![BackendRule { from, to, ..BackendRule::default() }];
    Ok(settings)
}

/// What a client needs, as lines for a shell.
pub(super) fn exports(config: &Config, token: Option<&Zeroizing<String>>) -> Vec<String> {
    let mut lines = Vec::new();
    let token = token.map_or("dev", |token| token.as_str());
    for listener in &config.listeners {
        match listener.wire {
            WireKind::Vault => {
                lines.push(format!("export VAULT_ADDR=http://{}", listener.address));
                lines.push(format!("export VAULT_TOKEN={}", quoted(token)));
            }
            WireKind::Scaivault => {
                lines.push(format!("export SCAIVAULT_ADDR=http://{}", listener.address));
                lines.push(format!("export SCAIVAULT_TOKEN={}", quoted(token)));
            }
            WireKind::Aws => lines.push(format!("export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://{}", listener.address)),
            WireKind::Azure | WireKind::Gcp => {}
        }
    }
    lines
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn banner(config: &Config, exports: &[String], directory: &Path) {
    let fate = match &config.store.path {
        None => "gone when it stops".to_owned(),
        Some(path) => format!("kept in {}", path.display()),
    };
    say!("scaivault-proxy dev: loopback only, everything is permitted, secrets are {fate}\n");
    for listener in &config.listeners {
        say!("  {:<10} http://{}", listener.wire.as_str(), listener.address);
    }
    say!("  {:<10} http://{}", "admin", config.admin.address);
    say!("  {:<10} {}\n", "audit", directory.join("audit.jsonl").display());
    for line in exports {
        say!("{line}");
    }
    if config.listeners.iter().any(|listener| listener.auth == ListenerAuth::Workload) {
        say!("# AWS clients sign with whatever credentials they have: any will do here");
    } else {
        say!("# AWS clients need an access key of this proxy: scaivault-proxy token create --principal dev --aws");
    }
    say!("\n# then, for example:\n#   vault kv put secret/hello name=world && vault kv get secret/hello");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_fails_leaves_no_directory() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("audit.jsonl"), "line").unwrap();
        let behind = Behind { backend: Some("no-such-type=x".to_owned()), ..Behind::default() };
        let failed = configuration(&path, None, &behind).map(drop);
        assert!(failed.is_err() && path.exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
