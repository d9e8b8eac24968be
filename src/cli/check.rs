//! `check`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::stdout::say;
use super::{Done, Output, print_json};
use crate::app::{self, Examined};
use crate::config::{self, BackendConfig, BackendRule, BackendSettings, Problem};
use crate::policy::{Policies, check_cases};
use crate::secret::{Mode, WriteMode};
use crate::wire::aws::minimal_policy;

/// Check a configuration file, and its policies' decisions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy check --config config.yaml
  scaivault-proxy check --config config.yaml --expect cases.yaml --tenant payments

A case file is a list of {principal, groups, folders, method, action, resource: {secret: PATH}, wire, mode, expect: permit|deny}.")]
pub(super) struct Check {
    /// The file (YAML or JSON).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Decisions the policies must make.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Whose policies the decisions are of.
    #[arg(long, default_value = "default", requires = "expect")]
    tenant: String,
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    line: Option<u32>,
    message: &'a str,
}

fn lines(problems: &[Problem]) -> Vec<Line<'_>> {
    problems.iter().map(|p| Line { key: &p.key, line: p.line, message: &p.message }).collect()
}

/// The IAM policy each AWS backend needs at least, by its key path.
fn rights(config: &config::Config) -> BTreeMap<&str, serde_json::Value> {
    let backends = config.tenants.iter().flat_map(|tenant| &tenant.backends);
    let policy = |backend: &'_ BackendSettings| match &backend.config {
        BackendConfig::AwsSecretsManager(aws) => {
            let is_written = |rule: &BackendRule| {
                rule.write_mode.unwrap_or(backend.write_mode) == WriteMode::WriteThrough
                    && backend.mode_of(rule) == Mode::Sync
            };
            let names: Vec<(&str, bool)> =
                backend.path_mapping.iter().map(|rule| (rule.to.as_str(), is_written(rule))).collect();
            Some(minimal_policy(&aws.region, &names))
        }
        _ => None,
    };
    backends.filter_map(|backend| Some((backend.key.as_str(), policy(backend)?))).collect()
}

impl Check {
    pub(super) fn run(self, output: Output) -> Done {
        let config = config::load(&self.config)?;
        let Examined { problems, warnings, not_built } = app::examine(&config);
        let cases = match &self.expect {
            None => Ok(0),
            Some(path) => self.cases(&config, path)?,
        };
        let good = problems.is_empty() && cases.is_ok();
        if output.is_json() {
            print_json(&serde_json::json!({
                "valid": good, "problems": lines(&problems), "warnings": lines(&warnings), "not_served": lines(&not_built),
                "cases": cases.as_ref().ok(), "failed_cases": cases.as_ref().err(), "iam": rights(&config),
            }))?;
        } else {
            self.print(&problems, &warnings, &not_built, good);
            for (backend, policy) in rights(&config) {
                say!("\n{backend}: what its identity has to be allowed, as an IAM policy\n{policy:#}");
            }
            match &cases {
                Ok(0) => {}
                Ok(count) => say!("{count} expected decisions hold"),
                Err(failed) => failed.iter().for_each(|text| say!("FAILED  {text}")),
            }
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print(&self, problems: &[Problem], warnings: &[Problem], not_built: &[Problem], good: bool) {
        for (word, list) in [("error", problems), ("warning", warnings), ("note", not_built)] {
            for problem in list {
                say!("{word}: {problem}");
            }
        }
        if good {
            say!("{}: valid", self.config.display());
        }
    }

    /// The outer error ends the command, the inner one is its result.
    fn cases(
        &self,
        config: &config::Config,
        path: &std::path::Path,
    ) -> Result<Result<usize, Vec<String>>, Box<dyn std::error::Error + Send + Sync>> {
        let tenant = config.tenants.iter().find(|tenant| tenant.tenant.as_str() == self.tenant);
        let tenant = tenant.ok_or_else(|| format!("--tenant: there is no tenant {}", self.tenant))?;
        let mut sources = Vec::new();
        for file in &tenant.policies {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            sources.push((file.display().to_string(), text));
        }
        let policies = Policies::compile(&sources, 1).map_err(|problems| problems.join("\n"))?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(check_cases(&text, &policies))
    }
}
