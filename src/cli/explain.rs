//! `explain`, offline or asking a running proxy.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::rest::Rest;
use super::stdout::say;
use super::{Done, Output, print_json};
use crate::app::{self, Extras, Ground};
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::pipeline::{self, Question};
use crate::secret::{Action, Tenant};
use crate::wire::ExplainFor;

/// Say why a name is or is not served to somebody.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy explain --config config.yaml --wire vault --as payments/orders --group apps secret/orders/db
  scaivault-proxy explain --server http://127.0.0.1:8440 --wire vault secret/orders/db
  scaivault-proxy explain --server http://127.0.0.1:8440 --request 01J9ZQ6W3N8X2T5V7Y0R4M6K8P")]
pub(super) struct Explain {
    /// The name as clients of the wire have it, or an API path such as /v1/secret/data/orders/db.
    name: Option<String>,
    /// Decide offline by this file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask this proxy (its scaivault listener); the token is taken from SCAIVAULT_TOKEN.
    #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR")]
    server: Option<String>,
    /// Why this past request failed.
    #[arg(long, value_name = "ID", requires = "server", conflicts_with = "config")]
    request: Option<String>,
    /// Whose names.
    #[arg(long, default_value = "vault")]
    wire: String,
    /// For whom; on a server, the caller if absent.
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// A group of the principal; without groups and folders those of the configuration are taken.
    #[arg(long = "group", value_name = "GROUP", requires = "principal")]
    groups: Vec<String>,
    /// A folder of the principal.
    #[arg(long = "folder", value_name = "FOLDER", requires = "principal")]
    folders: Vec<String>,
    /// read, describe, list, write, delete or destroy.
    #[arg(long, default_value = "read")]
    operation: String,
    /// Whose tables and policies (offline).
    #[arg(long, default_value = "default")]
    tenant: String,
}

impl Explain {
    pub(super) fn run(self, output: Output) -> Done {
        let answer = match (&self.config, &self.server) {
            (Some(path), _) => self.offline(path)?,
            (None, Some(server)) => self.online(server)?,
            (None, None) => return Err("give --config FILE, or --server URL (or SCAIVAULT_ADDR)".into()),
        };
        if output.is_json() {
            print_json(&answer)?
        } else {
            print(&answer)
        }
        Ok(ExitCode::SUCCESS)
    }

    fn offline(&self, path: &std::path::Path) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name =
            self.name.as_deref().ok_or("give the name, as in `explain --config config.yaml --as ci secret/app/db`")?;
        let config = config::load(path)?;
        // keys and credentials play no part in an explanation
        let ground = Ground::bare().map_err(|problem| problem.to_string())?;
        let snapshot = app::outline(&config, &Extras::default(), &ground)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let asked = ExplainFor {
            id: self.principal.clone().ok_or("nobody is asking a file: give --as PRINCIPAL")?,
            groups: self.groups.clone(),
            folders: self.folders.clone(),
        };
        let who = pipeline::who(&snapshot.directory, &Tenant::parse(&self.tenant)?, &asked)?;
        let action = [Action::Read, Action::Describe, Action::List, Action::Write, Action::Delete, Action::Destroy]
            .into_iter()
            .find(|action| action.as_str() == self.operation)
            .ok_or("--operation is read, describe, list, write, delete or destroy")?;
        let listeners = snapshot.listeners.iter().filter(|listener| listener.kind.as_str() == self.wire).collect();
        let question = Question { listeners, who: &who, name, action, now: SystemClock.now() };
        let answer = pipeline::explain(&snapshot, &question);
        Ok(answer.ok_or_else(|| format!("--wire: no listener of this tenant speaks {}", self.wire))?)
    }

    fn online(&self, server: &str) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let rest = Rest::new(server)?;
        let (groups, folders) = (self.groups.join(","), self.folders.join(","));
        let mut query = Vec::new();
        match (&self.request, &self.name) {
            (Some(id), _) => query.push(("request", id.as_str())),
            (None, Some(name)) => {
                query.extend([("name", name.as_str()), ("wire", &self.wire), ("operation", &self.operation)]);
                query.extend(self.principal.as_deref().map(|principal| ("as", principal)));
                let described = [("group", groups.as_str()), ("folder", folders.as_str())];
                query.extend(described.into_iter().filter(|(_, names)| !names.is_empty()));
            }
            (None, None) => return Err("give a wire name or --request ID".into()),
        }
        Ok(rest.call("GET", "/v1/federation/explain", &query, None)?)
    }
}

/// What is printed on a line of its own, in this order.
const FIELDS: [&str; 13] = [
    "wire",
    "listener",
    "address",
    "name",
    "principal",
    "principal_from",
    "groups",
    "folders",
    "operation",
    "secret_path",
    "mode",
    "backend",
    "remote_name",
];

fn print(answer: &Value) {
    for key in FIELDS {
        if let Some(value) = answer.get(key) {
            say!("{key:<14} {}", shown(value));
        }
    }
    for table in ["paths", "path_mapping"] {
        for rule in answer.get(table).and_then(Value::as_array).into_iter().flatten() {
            let field = |key: &str| rule.get(key).map(shown).unwrap_or_default();
            let end = if field("match") == "true" {
                format!("=> {}", field("output"))
            } else {
                format!("no: {}", field("why"))
            };
            say!("{table:<14} [{}] {} -> {}   {end}", field("rule"), field("from"), field("to"));
        }
    }
    let field = |key: &str| answer.get(key).map(shown);
    if let Some(stopped) = field("stopped_by") {
        say!("{:<14} {stopped}", "stopped by");
    }
    if let Some(decision) = field("decision") {
        let (reason, policies) = (field("reason").unwrap_or_default(), field("policies").unwrap_or_default());
        say!("{:<14} {decision} ({reason}) {policies}", "decision");
    }
    if let Some(others) = field("other_listeners") {
        say!("{:<14} {others} have such a name too", "note");
    }
}

/// Texts as they are, everything else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn a_past_request_is_asked_of_a_server_and_never_of_a_file() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["scaivault-proxy", "explain"][..], arguments].concat());
        let server = "http://127.0.0.1:8440";
        assert!(parse(&["--server", server, "--request", "x"]).is_ok());
        assert!(parse(&["--config", "c", "--server", server, "--request", "x"]).is_err());
        assert!(parse(&["--config", "c", "--server", server, "secret/x"]).is_ok(), "the file decides");
    }
}
