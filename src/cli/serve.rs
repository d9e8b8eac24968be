//! `serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Done;
use crate::app::{self, Extras};
use crate::config;

/// Serve a configuration file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  scaivault-proxy serve --config config.yaml\n\nSIGHUP or a changed file reloads; SIGTERM drains."
)]
pub(super) struct Serve {
    /// The file (YAML or JSON).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> Done {
        let config = config::load(&self.config)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let running = app::prepare(config, Extras::default())?;
        app::serve(running, Some(self.config))?;
        Ok(ExitCode::SUCCESS)
    }
}
