//! `exec`: a command with a proxy of its own.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::Done;
use super::dev::{self, Behind, Scratch};
use crate::app::{self, Extras};
use crate::config::{self, Address, Config, ListenerConfig};
use crate::secret::WireKind;

const START: Duration = Duration::from_secs(10);

/// Run a command with its secrets client pointed at a proxy of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy exec --wire vault --backend hashicorp-vault=http://127.0.0.1:8200 --backend-token-file t -- python3 app.py
  scaivault-proxy exec --wire aws --backend aws-secrets-manager=eu-west-1 -- python3 app.py
  scaivault-proxy exec --wire vault --config sidecar.yaml -- ./server

Only the variables of the secrets client are set: its endpoint, its token.")]
pub(super) struct Exec {
    /// Which clients the command uses; several with commas.
    #[arg(long, value_delimiter = ',', default_value = "vault")]
    wire: Vec<String>,
    /// Serve what this file says, on free loopback ports, instead of a proxy made for the command.
    #[arg(long, value_name = "FILE", conflicts_with = "backend")]
    config: Option<PathBuf>,
    #[command(flatten)]
    behind: Behind,
    /// Also give AWS clients credentials of this proxy. This concerns every AWS client of the command, not only the one
    /// for secrets.
    #[arg(long)]
    cloud_credentials: bool,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self) -> Done {
        for wire in &self.wire {
            if !matches!(wire.as_str(), "vault" | "scaivault" | "aws") {
                return Err(format!("--wire: this release serves vault, aws and scaivault, not {wire}").into());
            }
        }
        let scratch = Scratch::new()?;
        let (mut config, extras) = match &self.config {
            Some(path) => (config::load(path)?, Extras::default()),
            None => dev::configuration(scratch.path(), None, &self.behind)?,
        };
        own_ports(&mut config)?;
        let mut variables = variables(&config, &self.wire);
        if self.cloud_credentials {
            let cloud = cloud_variables(&config, &self.wire)?;
            eprintln!(
                "scaivault-proxy: AWS_CONTAINER_CREDENTIALS_FULL_URI is set for every AWS client of the command, not only \
                 the one for secrets: calls to other AWS services will fail unless it brings credentials that come first"
            );
            variables.extend(cloud);
        }
        let (admin, sockets) = (config.admin.address, sockets(&config));
        let running = app::prepare(config, extras)?.deaf();
        let server = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || app::serve(running, None))?;
        wait(admin)?;
        let code = self.command(variables);
        drop(server);
        for socket in sockets {
            drop(std::fs::remove_file(socket));
        }
        drop(scratch);
        // the proxy's threads end with the process: the command they served is gone
        std::process::exit(code?);
    }

    /// Runs the command to its end, passing on what asks us to stop; its exit code as a shell would tell it.
    fn command(&self, variables: Vec<(&'static str, String)>) -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
        let (program, arguments) = self.command.split_first().ok_or("no command")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            // before the command exists: a signal that comes with it must not leave it behind
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let mut command = tokio::process::Command::new(program);
            command.args(arguments).envs(variables);
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    eprintln!("scaivault-proxy: {program}: {error}");
                    return Ok(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
                }
            };
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    _ = term.recv() => pass_on(&child, Signal::TERM),
                    _ = int.recv() => pass_on(&child, Signal::INT),
                }
            };
            Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
        })
    }
}

/// Sends the command the signal we got. A command that has just ended needs none.
fn pass_on(child: &tokio::process::Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _gone = kill_process(id, signal);
    }
}

/// Free loopback ports in place of the configured ones, so that several commands can run beside each other. TLS and Unix
/// sockets stay as they are.
fn own_ports(config: &mut Config) -> std::io::Result<()> {
    let mut held = Vec::new();
    for listener in &mut config.listeners {
        if let Address::Tcp(address) = &mut listener.address {
            *address = free(&mut held)?;
            if !listener.hosts.is_empty() {
                listener.hosts.push(address.ip().to_string());
            }
        }
    }
    config.admin.address = free(&mut held)?;
    Ok(())
}

/// A port nobody has. It is held until all are found, so that none is found twice.
fn free(held: &mut Vec<TcpListener>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    held.push(listener);
    Ok(address)
}

/// Files of Unix sockets that this process will have made.
fn sockets(config: &Config) -> Vec<PathBuf> {
    let socket = |listener: &ListenerConfig| match &listener.address {
        Address::Unix(path) => Some(path.clone()),
        Address::Tcp(_) => None,
    };
    config.listeners.iter().filter_map(socket).collect()
}

fn variables(config: &Config, wires: &[String]) -> Vec<(&'static str, String)> {
    let mut set = Vec::new();
    for listener in config.listeners.iter().filter(|listener| wires.iter().any(|wire| wire == listener.wire.as_str())) {
        let url = match &listener.address {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(address) if listener.tls.is_some() => format!("https://{address}"),
            Address::Tcp(address) => format!("http://{address}"),
        };
        match listener.wire {
            WireKind::Vault => set.extend([("VAULT_ADDR", url.clone()), ("BAO_ADDR", url)]),
            WireKind::Scaivault => set.push(("SCAIVAULT_ADDR", url)),
            WireKind::Aws => set.push(("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)),
            WireKind::Azure | WireKind::Gcp => {}
        }
        if std::env::var_os("VAULT_TOKEN").is_none() && listener.wire == WireKind::Vault {
            set.push(("VAULT_TOKEN", "workload".to_owned()));
        }
    }
    set
}

/// Where AWS clients of the command get credentials that this proxy made. They look there if nothing else gives them any.
fn cloud_variables(config: &Config, wires: &[String]) -> Result<Vec<(&'static str, String)>, String> {
    let is_aws = |listener: &&ListenerConfig| listener.wire == WireKind::Aws;
    let listener = config.listeners.iter().find(is_aws).filter(|_| wires.iter().any(|wire| wire == "aws"));
    let Some(ListenerConfig { address: Address::Tcp(address), tls, region, .. }) = listener else {
        return Err("--cloud-credentials: needs --wire aws, and a listener of it on a port".to_owned());
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut set = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{scheme}://{address}/v1/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "workload".to_owned()),
    ];
    let has_region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|name| std::env::var_os(name).is_some());
    if let Some(region) = region.clone().filter(|_| !has_region) {
        // the SDK for Python knows only the second
        set.extend([("AWS_REGION", region.clone()), ("AWS_DEFAULT_REGION", region)]);
    }
    Ok(set)
}

fn wait(admin: SocketAddr) -> Result<(), String> {
    let until = Instant::now() + START;
    while std::net::TcpStream::connect_timeout(&admin, Duration::from_millis(200)).is_err() {
        if Instant::now() > until {
            return Err("the proxy did not start".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn commands_beside_each_other_get_ports_of_their_own() {
        let text = "version: 1\nlisteners:\n- {wire: vault, hosts: [vault.internal], tls: {certificate: c, key: k}}\n\
                    - {wire: vault, address: 'unix:/run/v.sock'}\n- {wire: scaivault}\n";
        let file = config::compile_text(text, Path::new("/")).unwrap();
        let mut seen = HashSet::new();
        let (mut one, mut other) = (file.clone(), file.clone());
        own_ports(&mut one).unwrap();
        own_ports(&mut other).unwrap();
        assert!(one.admin.address.ip().is_loopback() && one.admin.address != file.admin.address);
        for (listener, before) in one.listeners.iter().zip(&file.listeners) {
            assert_eq!(listener.tls, before.tls);
            match &listener.address {
                Address::Unix(_) => assert_eq!(listener.address, before.address),
                Address::Tcp(address) => {
                    assert!(address.ip().is_loopback() && listener.address != before.address);
                    assert!(seen.insert(*address), "{address} is given twice");
                }
            }
        }
        assert_eq!(one.listeners[0].hosts, ["vault.internal", "127.0.0.1"]);
        let variables = variables(&one, &["vault".to_owned()]);
        assert!(variables.iter().any(|(name, url)| *name == "VAULT_ADDR" && url.starts_with("https://127.0.0.1:")));
        assert!(variables.iter().any(|(_, url)| url == "unix:///run/v.sock"));
        assert_eq!(sockets(&one), [Path::new("/run/v.sock")]);
    }
}
