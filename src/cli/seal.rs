//! `seal`: root keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Done;
use crate::seal::generate_key_file;

/// Make root keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  scaivault-proxy seal init --out /etc/scaivault-proxy/seal/root-key")]
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
}

impl Seal {
    pub(super) fn run(self) -> Done {
        let Verb::Init { out } = self.verb;
        generate_key_file(&out)?;
        println!("{}: written. Keep a copy where this machine cannot lose it.", out.display());
        Ok(ExitCode::SUCCESS)
    }
}
