//! `seal`: root keys, and new keys for a running proxy.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::rest::Rest;
use super::stdout::say;
use super::{Done, Output, print_json, table};
use crate::seal::generate_key_file;

/// Make root keys, and change the keys of a running proxy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy seal init --out /etc/scaivault-proxy/seal/root-key
  export SCAIVAULT_ADDR=http://127.0.0.1:8440 SCAIVAULT_TOKEN=...
  scaivault-proxy seal rotate --key root
  scaivault-proxy seal rotate --key tenant")]
pub(super) struct Seal {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a new random key (base64 of 32 bytes, mode 0600) to a file that does not exist yet.
    Init {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a new key in a running proxy and re-seal what the old one sealed, while it serves.
    Rotate {
        /// The proxy's scaivault listener; the token is taken from SCAIVAULT_TOKEN.
        #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR", default_value = "http://127.0.0.1:8440")]
        server: String,
        /// Which key: the store's own, or the tenant's.
        #[arg(long, value_enum)]
        key: Key,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Key {
    Root,
    Tenant,
}

impl Seal {
    pub(super) fn run(self, output: Output) -> Done {
        match self.verb {
            Verb::Init { out } => {
                generate_key_file(&out)?;
                say!("{}: written. Keep a copy where this machine cannot lose it.", out.display());
            }
            Verb::Rotate { server, key } => {
                let key = match key {
                    Key::Root => "root",
                    Key::Tenant => "tenant",
                };
                let rotated = Rest::new(&server)?.call("POST", "/v1/seal/rotate", &[], Some(&json!({"key": key})))?;
                if output.is_json() {
                    print_json(&rotated)?;
                } else {
                    for (name, value) in rotated.as_object().into_iter().flatten() {
                        say!("{name}  {}", table::cell(Some(value)));
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
