//! The command line: one file a verb. Nothing here decides anything about secrets.

mod audit;
mod backend;
mod check;
mod dev;
mod exec;
mod explain;
mod progress;
mod rest;
mod seal;
mod secret;
mod serve;
mod stdout;
mod table;
mod token;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use self::stdout::say;
use crate::telemetry::{self, LogFormat};

const EXAMPLES: &str = "\
Examples:
  scaivault-proxy dev
  scaivault-proxy dev --backend hashicorp-vault=http://127.0.0.1:8200 --backend-token-file ~/.vault-token
  scaivault-proxy check --config /etc/scaivault-proxy/config.yaml
  scaivault-proxy serve --config /etc/scaivault-proxy/config.yaml";

/// A sidecar that speaks the wire formats of several secret stores and answers from any of them.
#[derive(Debug, Parser)]
#[command(name = "scaivault-proxy", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// How logs on standard error look.
    #[arg(long, global = true, value_enum, default_value_t = Logs::Auto)]
    log: Logs,
    /// How answers on standard output look.
    #[arg(long, global = true, value_enum, default_value_t = Output::Auto)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

/// How logs look.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Logs {
    Auto,
    Json,
    Text,
}

/// How answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table on a terminal, JSON otherwise.
    Auto,
    Json,
    Table,
}

impl Output {
    fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stdout().is_terminal(),
            Self::Json => true,
            Self::Table => false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve everything on loopback with an empty store: for trying things out.
    Dev(dev::Dev),
    /// Serve a configuration file.
    Serve(serve::Serve),
    /// Check a configuration file, and its policies' decisions.
    Check(check::Check),
    /// Say why a name is or is not served to somebody.
    Explain(explain::Explain),
    /// Run a command with its secrets client pointed at a proxy of its own.
    Exec(exec::Exec),
    /// Backends of a running proxy, their syncs, conflicts and quarantine.
    Backend(backend::Backend),
    /// Secrets of a running proxy.
    Secret(secret::Secret),
    /// Make and end tokens of a running proxy.
    Token(token::Token),
    /// Verify and search audit files.
    Audit(audit::Audit),
    /// Make root keys, and change the keys of a running proxy.
    Seal(seal::Seal),
    /// Print a completion script.
    #[command(after_help = "\
Examples:
  scaivault-proxy completions bash > ~/.local/share/bash-completion/completions/scaivault-proxy
  scaivault-proxy completions fish > ~/.config/fish/completions/scaivault-proxy.fish")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { log, output, verb } = Cli::parse();
    telemetry::init(match log {
        Logs::Auto => LogFormat::Auto,
        Logs::Json => LogFormat::Json,
        Logs::Text => LogFormat::Text,
    });
    let done = match verb {
        Verb::Dev(dev) => dev.run(),
        Verb::Serve(serve) => serve.run(),
        Verb::Check(check) => check.run(output),
        Verb::Explain(explain) => explain.run(output),
        Verb::Exec(exec) => exec.run(),
        Verb::Backend(backend) => backend.run(output),
        Verb::Secret(secret) => secret.run(output),
        Verb::Token(token) => token.run(output),
        Verb::Audit(audit) => audit.run(output),
        Verb::Seal(seal) => seal.run(output),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "scaivault-proxy", &mut script);
            stdout::bytes(&[&script]);
            Ok(ExitCode::SUCCESS)
        }
    };
    let told = done.and_then(|code| match stdout::trouble() {
        None => Ok(code),
        Some(error) => Err(format!("standard output: {error}").into()),
    });
    told.unwrap_or_else(|problem| {
        eprintln!("scaivault-proxy: {problem}");
        ExitCode::FAILURE
    })
}

/// What a verb ends with: an exit code, or a text for the person who called it.
type Done = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;

/// Prints JSON on standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), serde_json::Error> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_shows_how_it_is_called() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for verb in cli.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let call = format!("scaivault-proxy {}", verb.get_name());
            assert!(help.starts_with("Examples:\n") && help.contains(&call), "{}: {help}", verb.get_name());
        }
    }
}
