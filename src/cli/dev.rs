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
    BackendConfig, BackendRule, BackendSettings, Config, HttpUrl, ListenerAuth, ListenerConfig, PrincipalConfig,
    SinkConfig, SinkKind, UpstreamConfig, VaultAuth, VaultConfig,
};
use crate::secret::{SecretPath, WireKind};

const TOKEN_PATH: &str = "infra/dev/backend-token";

/// Serve everything on loopback with an empty store: for trying things out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy dev
  scaivault-proxy dev --root-token my-dev-token --env-file dev.env
  scaivault-proxy dev --store ./dev-store
  scaivault-proxy dev --backend hashicorp-vault=http://127.0.0.1:8200 --backend-token-file token.txt

Without --root-token no credential is needed. Without --store secrets live in memory and are gone when it stops.")]
pub(super) struct Dev {
    /// Require this token.
    #[arg(long, value_name = "TOKEN", env = "SCAIVAULT_DEV_ROOT_TOKEN", hide_env_values = true)]
    root_token: Option<String>,
    /// Put a backend behind it: hashicorp-vault=URL.
    #[arg(long, value_name = "TYPE=TARGET")]
    backend: Option<String>,
    /// The file that holds the backend's token.
    #[arg(long, value_name = "FILE", requires = "backend")]
    backend_token_file: Option<PathBuf>,
    /// Keep secrets, and the key they are sealed with, in this directory.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Write the exports to a file as well, one a line.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

impl Dev {
    pub(super) fn run(self) -> Done {
        let scratch = Scratch::new()?;
        let token_file = self.backend_token_file.as_deref();
        let (mut config, extras) = configuration(scratch.path(), self.root_token, self.backend.as_deref(), token_file)?;
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
    backend: Option<&str>,
    token_file: Option<&Path>,
) -> Result<(Config, Extras), String> {
    let mut config = Config::default();
    config.audit.sinks =
        vec![SinkConfig { kind: SinkKind::File { path: directory.join("audit.jsonl") }, ..SinkConfig::stdout() }];
    for wire in [WireKind::Scaivault, WireKind::Vault] {
        let mut listener = ListenerConfig::new(wire);
        if root_token.is_none() {
            listener.auth = ListenerAuth::Workload;
        }
        config.listeners.push(listener);
    }
    let path = SecretPath::parse(TOKEN_PATH).map_err(|error| error.to_string())?;
    let tenant = config.tenants.first_mut().ok_or("no default tenant")?;
    tenant.identity.workload = Some(PrincipalConfig { principal: "dev".to_owned(), ..PrincipalConfig::default() });
    if let Some(shortcut) = backend {
        let token_file = token_file.ok_or("--backend needs --backend-token-file")?;
        if !token_file.exists() {
            return Err(format!("--backend-token-file: {} does not exist", token_file.display()));
        }
        tenant.backends.push(self::backend(shortcut, &path)?);
    }
    let extras = Extras {
        dev: true,
        root_token: root_token.map(|token| Arc::new(Zeroizing::new(token))),
        token_file: token_file.map(|file| (path, file.to_owned())),
    };
    Ok((config, extras))
}

/// `hashicorp-vault=URL`: the vault wire's `secret/**` and everybody's `external/hashicorp/**` on `secret/data/**`.
fn backend(shortcut: &str, token: &SecretPath) -> Result<BackendSettings, String> {
    let Some(("hashicorp-vault", url)) = shortcut.split_once('=') else {
        return Err("--backend: this release knows hashicorp-vault=URL".to_owned());
    };
    let endpoint = HttpUrl::parse(url).map_err(|error| format!("--backend: {error}"))?;
    let auth = VaultAuth::Token { auth_config_path: token.clone() };
    let vault = VaultConfig {
        endpoint,
        namespace: None,
        mount: auth.as_str().to_owned(),
        auth,
        tls_verify: true,
        client_certificate: None,
        upstream: UpstreamConfig::default(),
    };
    let mut settings = BackendSettings::new("hashicorp-vault", BackendConfig::HashicorpVault(vault));
    let rule =
        |from: &str| BackendRule { from: from.to_owned(), to: "secret/data/**".to_owned(), ..BackendRule::default() };
    settings.path_mapping = vec![rule("secret/**"), rule("external/hashicorp/**")];
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
            WireKind::Aws | WireKind::Azure | WireKind::Gcp => {}
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
        let failed = configuration(&path, None, Some("no-such-type=x"), None).map(drop);
        assert!(failed.is_err() && path.exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
