//! `exec`: a command with a proxy of its own.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::{Done, dev};
use crate::app::{self, Extras};
use crate::config::{self, Address, Config};
use crate::secret::WireKind;

const START: Duration = Duration::from_secs(10);

/// Run a command with its secrets client pointed at a proxy of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy exec --wire vault --backend hashicorp-vault=http://127.0.0.1:8200 --backend-token-file t -- python3 app.py
  scaivault-proxy exec --wire vault --config sidecar.yaml -- ./server

Only the variables of the secrets client are set: its endpoint, its token.")]
pub(super) struct Exec {
    /// Which clients the command uses; several with commas.
    #[arg(long, value_delimiter = ',', default_value = "vault")]
    wire: Vec<String>,
    /// Serve this file instead of a proxy made for the command.
    #[arg(long, value_name = "FILE", conflicts_with = "backend")]
    config: Option<PathBuf>,
    /// Put a backend behind it: hashicorp-vault=URL.
    #[arg(long, value_name = "TYPE=TARGET")]
    backend: Option<String>,
    /// The file that holds the backend's token.
    #[arg(long, value_name = "FILE", requires = "backend")]
    backend_token_file: Option<PathBuf>,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self) -> Done {
        for wire in &self.wire {
            if !matches!(wire.as_str(), "vault" | "scaivault") {
                return Err(format!("--wire: this release serves vault and scaivault, not {wire}").into());
            }
        }
        let directory = dev::scratch()?;
        let (mut config, extras) = match &self.config {
            Some(path) => (config::load(path)?, Extras::default()),
            None => dev::configuration(&directory, None, self.backend.as_deref(), self.backend_token_file.as_deref())?,
        };
        if self.config.is_none() {
            own_ports(&mut config)?;
        }
        let variables = variables(&config, &self.wire);
        let admin = config.admin.address;
        let running = app::prepare(config, extras)?.deaf();
        let server = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || app::serve(running, None))?;
        wait(admin)?;
        let code = self.command(variables);
        drop(server);
        drop(std::fs::remove_dir_all(&directory));
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

/// Free loopback ports, so that several commands can run beside each other.
fn own_ports(config: &mut Config) -> std::io::Result<()> {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    for listener in &mut config.listeners {
        listener.address = Address::Tcp(free()?);
    }
    config.admin.address = free()?;
    Ok(())
}

fn variables(config: &Config, wires: &[String]) -> Vec<(&'static str, String)> {
    let mut set = Vec::new();
    for listener in config.listeners.iter().filter(|listener| wires.iter().any(|wire| wire == listener.wire.as_str())) {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.address);
        match listener.wire {
            WireKind::Vault => set.extend([("VAULT_ADDR", url.clone()), ("BAO_ADDR", url)]),
            WireKind::Scaivault => set.push(("SCAIVAULT_ADDR", url)),
            WireKind::Aws | WireKind::Azure | WireKind::Gcp => {}
        }
        if std::env::var_os("VAULT_TOKEN").is_none() && listener.wire == WireKind::Vault {
            set.push(("VAULT_TOKEN", "workload".to_owned()));
        }
    }
    set
}

fn wait(admin: std::net::SocketAddr) -> Result<(), String> {
    let until = Instant::now() + START;
    while std::net::TcpStream::connect_timeout(&admin, Duration::from_millis(200)).is_err() {
        if Instant::now() > until {
            return Err("the proxy did not start".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
