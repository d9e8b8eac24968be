//! `explain`, offline or asking a running proxy.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::rest::Rest;
use super::{Done, Output, print_json};
use crate::app::{self, Extras, Ground};
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::identity::{Method, Principal};
use crate::pipeline;
use crate::secret::{Action, Folder, Tenant};

/// Say why a name is or is not served to somebody.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy explain --config config.yaml --wire vault --as payments/orders --group apps secret/orders/db
  scaivault-proxy explain --server http://127.0.0.1:8440 --wire vault secret/orders/db
  scaivault-proxy explain --server http://127.0.0.1:8440 --request 01J9ZQ6W3N8X2T5V7Y0R4M6K8P")]
pub(super) struct Explain {
    /// The wire name; the secret path on the scaivault wire.
    name: Option<String>,
    /// Decide offline by this file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask this proxy (its scaivault listener); the token is taken from SCAIVAULT_TOKEN.
    #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR")]
    server: Option<String>,
    /// Why this past request failed.
    #[arg(long, value_name = "ID", requires = "server")]
    request: Option<String>,
    /// Whose names.
    #[arg(long, default_value = "vault")]
    wire: String,
    /// For whom; on a server, the caller if absent.
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// A group of the principal (offline).
    #[arg(long = "group", value_name = "GROUP", requires = "config")]
    groups: Vec<String>,
    /// A folder of the principal (offline).
    #[arg(long = "folder", value_name = "FOLDER", requires = "config")]
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
            (None, None) => return Err("give --config FILE or --server URL".into()),
        };
        if output.is_json() {
            print_json(&answer)?
        } else {
            print(&answer)
        }
        Ok(ExitCode::SUCCESS)
    }

    fn offline(&self, path: &std::path::Path) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = self.name.as_deref().ok_or("give the wire name")?;
        let config = config::load(path)?;
        // keys and credentials play no part in an explanation
        let ground = Ground::lay(None).map_err(|problem| problem.to_string())?;
        let snapshot = app::outline(&config, &Extras::default(), &ground)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let tenant = Tenant::parse(&self.tenant)?;
        let folders: Result<Vec<Folder>, _> = self.folders.iter().map(|folder| Folder::parse(folder)).collect();
        let groups = self.groups.iter().map(|group| Box::from(group.as_str())).collect();
        let id = self.principal.as_deref().ok_or("give --as PRINCIPAL")?;
        let principal = Principal::new(tenant, id, Method::Token, groups, folders?);
        let listener = snapshot.listeners.iter().find(|listener| listener.kind.as_str() == self.wire);
        let listener = listener.ok_or_else(|| format!("--wire: no listener speaks {}", self.wire))?;
        let action = [Action::Read, Action::Describe, Action::List, Action::Write, Action::Delete, Action::Destroy]
            .into_iter()
            .find(|action| action.as_str() == self.operation)
            .ok_or("--operation is read, describe, list, write, delete or destroy")?;
        Ok(pipeline::explain(&snapshot, listener, &principal, name, action, SystemClock.now()))
    }

    fn online(&self, server: &str) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let rest = Rest::new(server)?;
        let mut query = Vec::new();
        match (&self.request, &self.name) {
            (Some(id), _) => query.push(("request", id.as_str())),
            (None, Some(name)) => {
                query.extend([("name", name.as_str()), ("wire", &self.wire), ("operation", &self.operation)]);
                query.extend(self.principal.as_deref().map(|principal| ("as", principal)));
            }
            (None, None) => return Err("give a wire name or --request ID".into()),
        }
        Ok(rest.call("GET", "/v1/federation/explain", &query, None)?)
    }
}

fn print(answer: &Value) {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    for key in ["wire", "name", "principal", "operation", "secret_path", "mode", "backend", "remote_name"] {
        if answer.get(key).is_some() {
            println!("{key:<12} {}", text(key));
        }
    }
    for table in ["paths", "path_mapping"] {
        for rule in answer.get(table).and_then(Value::as_array).into_iter().flatten() {
            let field = |key: &str| {
                rule.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default()
            };
            let end = if field("match") == "true" {
                format!("=> {}", field("output"))
            } else {
                format!("no: {}", field("why"))
            };
            println!("{table:<12} [{}] {} -> {}   {end}", field("rule"), field("from"), field("to"));
        }
    }
    if let Some(stopped) = answer.get("stopped_by") {
        println!("stopped by   {stopped}");
    } else {
        let policies = answer.get("policies").map(ToString::to_string).unwrap_or_default();
        println!("{:<12} {} ({}) {policies}", "decision", text("decision"), text("reason"));
    }
}
