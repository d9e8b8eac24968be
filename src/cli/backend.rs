//! `backend`: backends of a running proxy, their syncs, conflicts and quarantine.

mod show;
mod wait;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::rest::Rest;
use super::{Done, Output, print_json, table};
use crate::secret::{BackendId, SecretPath};

const BACKENDS: &str = "/v1/federation/backends";

/// Backends of a running proxy, their syncs, conflicts and quarantine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  export SCAIVAULT_ADDR=http://127.0.0.1:8440 SCAIVAULT_TOKEN=...
  scaivault-proxy backend list
  scaivault-proxy backend create -f hashicorp.json
  scaivault-proxy backend update hashicorp-production --set mode=sync --set config.namespace=acme
  scaivault-proxy backend check hashicorp-production
  scaivault-proxy backend sync hashicorp-production --wait
  scaivault-proxy backend sync hashicorp-production apps/orders/db
  scaivault-proxy backend resolve hashicorp-production apps/orders/db --keep backend
  scaivault-proxy backend quarantine fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P --purge

A BACKEND is its name or its id.")]
pub(super) struct Backend {
    /// The proxy's scaivault listener; the token is taken from SCAIVAULT_TOKEN.
    #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR", default_value = "http://127.0.0.1:8440", global = true)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// The backends, in the order they are tried.
    List,
    /// A backend's settings, each with its effective value.
    Show { backend: String },
    /// Make a backend from a JSON object.
    Create {
        /// The file; `-` is standard input.
        #[arg(short = 'f', long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Merge a JSON object into a backend's settings; null removes a key.
    Update {
        backend: String,
        /// The file; `-` is standard input.
        #[arg(short = 'f', long, value_name = "FILE", required_unless_present = "set")]
        file: Option<PathBuf>,
        /// One key, with dots for those inside: JSON, else text. May be given several times.
        #[arg(long, value_name = "KEY=VALUE", conflicts_with = "file")]
        set: Vec<String>,
    },
    /// End a backend. Its copies are quarantined.
    Delete { backend: String },
    /// Connect, log in, and ask what we may do.
    Check { backend: String },
    /// Sync now: everything, or these paths.
    Sync {
        backend: String,
        /// Secret paths.
        paths: Vec<String>,
        /// Wait for its end and print its report.
        #[arg(long)]
        wait: bool,
    },
    /// The last syncs, or the report of one.
    Syncs {
        backend: String,
        /// Its id.
        run: Option<String>,
    },
    /// Stop a running sync.
    Cancel {
        backend: String,
        /// Its id.
        run: String,
    },
    /// How a backend is doing.
    Status { backend: String },
    /// Paths where both sides changed.
    Conflicts { backend: String },
    /// Decide a conflict.
    Resolve {
        backend: String,
        /// The secret path.
        path: String,
        /// The side that wins.
        #[arg(long, value_enum)]
        keep: Keep,
    },
    /// Copies no rule leads to any more.
    Quarantine {
        backend: String,
        /// Make those under store.local local secrets.
        #[arg(long, conflicts_with = "purge")]
        adopt: bool,
        /// Remove them for good.
        #[arg(long)]
        purge: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Keep {
    Local,
    Backend,
}

impl Backend {
    pub(super) fn run(self, output: Output) -> Done {
        let rest = Rest::new(&self.server)?;
        match self.verb {
            Verb::List => told(&rest.call("GET", BACKENDS, &[], None)?, output, show::list),
            Verb::Show { backend } => told(&get(&rest, &backend, "")?, output, show::backend),
            Verb::Create { file } => {
                let made = rest.call("POST", BACKENDS, &[], Some(&object(&file)?))?;
                told(&made, output, show::backend)
            }
            Verb::Update { backend, file, set } => {
                let patch = match file {
                    Some(file) => object(&file)?,
                    None => assignments(&set)?,
                };
                let changed = rest.call("PATCH", &at(&rest, &backend)?, &[], Some(&patch))?;
                told(&changed, output, show::backend)
            }
            Verb::Delete { backend } => {
                rest.call("DELETE", &at(&rest, &backend)?, &[], None)?;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Check { backend } => {
                let found = post(&rest, &backend, "/check", None)?;
                told(&found, output, show::check)?;
                Ok(code(found.get("ok") == Some(&Value::Bool(true))))
            }
            Verb::Sync { backend, paths, wait } => sync(&rest, &backend, &paths, wait, output),
            Verb::Syncs { backend, run: None } => told(&get(&rest, &backend, "/syncs")?, output, show::syncs),
            Verb::Syncs { backend, run: Some(run) } => {
                told(&get(&rest, &backend, &format!("/syncs/{}", segment(&run)?))?, output, show::report)
            }
            Verb::Cancel { backend, run } => {
                rest.call("DELETE", &format!("{}/syncs/{}", at(&rest, &backend)?, segment(&run)?), &[], None)?;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Status { backend } => told(&get(&rest, &backend, "/status")?, output, show::status),
            Verb::Conflicts { backend } => told(&get(&rest, &backend, "/conflicts")?, output, show::conflicts),
            Verb::Resolve { backend, path, keep } => {
                let keep = match keep {
                    Keep::Local => "local",
                    Keep::Backend => "backend",
                };
                post(&rest, &backend, "/conflicts/resolve", Some(&json!({"path": path, "keep": keep})))?;
                Ok(ExitCode::SUCCESS)
            }
            Verb::Quarantine { backend, adopt, purge } => match (adopt, purge) {
                (true, _) => told(&post(&rest, &backend, "/quarantine/adopt", None)?, output, show::adopted),
                (_, true) => told(&post(&rest, &backend, "/quarantine/purge", None)?, output, show::counts),
                _ => told(&get(&rest, &backend, "/quarantine")?, output, show::quarantine),
            },
        }
    }
}

fn sync(rest: &Rest, backend: &str, paths: &[String], wait: bool, output: Output) -> Done {
    for path in paths {
        SecretPath::parse(path).map_err(|error| format!("{}: {error}", table::plain(path)))?;
    }
    let body = if paths.is_empty() { json!({}) } else { json!({"paths": paths}) };
    let at = at(rest, backend)?;
    let started = rest.call("POST", &format!("{at}/sync"), &[], Some(&body))?;
    if !wait {
        return told(&started, output, show::counts);
    }
    let run = started.get("run").and_then(Value::as_str).ok_or("the proxy did not name the run")?;
    let report = wait::for_end(rest, &at, run)?;
    told(&report, output, show::report)?;
    Ok(code(report.get("outcome").and_then(Value::as_str) == Some("completed")))
}

/// Prints an answer: JSON, or as `show` shows it to people.
fn told(answer: &Value, output: Output, show: fn(&Value)) -> Done {
    if output.is_json() {
        print_json(answer)?;
    } else {
        show(answer);
    }
    Ok(ExitCode::SUCCESS)
}

const fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn get(rest: &Rest, backend: &str, below: &str) -> Result<Value, String> {
    rest.call("GET", &format!("{}{below}", at(rest, backend)?), &[], None)
}

fn post(rest: &Rest, backend: &str, below: &str, body: Option<&Value>) -> Result<Value, String> {
    rest.call("POST", &format!("{}{below}", at(rest, backend)?), &[], Some(body.unwrap_or(&json!({}))))
}

/// The path of a backend, named by its id or its name.
fn at(rest: &Rest, backend: &str) -> Result<String, String> {
    if let Some(id) = BackendId::parse(backend) {
        return Ok(format!("{BACKENDS}/{id}"));
    }
    let all = rest.call("GET", BACKENDS, &[], None)?;
    let all = all.get("backends").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let known = all.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(backend));
    let id = known.and_then(|known| known.get("id")).and_then(Value::as_str).and_then(BackendId::parse);
    let id = id.ok_or_else(|| format!("there is no backend {} that you may administer", table::plain(backend)))?;
    Ok(format!("{BACKENDS}/{id}"))
}

/// Text that is one segment of a path as it is.
fn segment(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if fits { Ok(text) } else { Err(format!("{} is no id of a run", table::plain(text))) }
}

/// Reads a JSON object from a file, or from standard input.
fn object(file: &Path) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(file).map_err(failed)?;
    }
    crate::wire::check_json(text.as_bytes())
        .map_err(|_| format!("{}: is not one JSON document without duplicate keys", file.display()))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
        _ => Err(format!("{}: is not a JSON object", file.display())),
    }
}

/// A merge patch of `KEY=VALUE` texts.
fn assignments(texts: &[String]) -> Result<Value, String> {
    let mut patch = Map::new();
    for text in texts {
        let (key, value) = text.split_once('=').ok_or("--set: KEY=VALUE")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        assign(&mut patch, key, value).ok_or_else(|| format!("--set: {} is set twice or empty", table::plain(key)))?;
    }
    Ok(Value::Object(patch))
}

fn assign(fields: &mut Map<String, Value>, key: &str, value: Value) -> Option<()> {
    match key.split_once('.') {
        _ if key.is_empty() => None,
        None if fields.contains_key(key) => None,
        None => {
            fields.insert(key.to_owned(), value);
            Some(())
        }
        Some((first, rest)) => {
            let inner = fields.entry(first.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            assign(inner.as_object_mut()?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_become_a_patch() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let patch = assignments(&texts(&["mode=sync", "max_versions=3", "config.namespace=acme", "config.role=null"]));
        let expected = json!({"mode": "sync", "max_versions": 3, "config": {"namespace": "acme", "role": null}});
        assert_eq!(patch, Ok(expected));
        assert_eq!(assignments(&texts(&["a=b=c"])), Ok(json!({"a": "b=c"})));
        for bad in [&["mode"][..], &["=x"], &["a.=x"], &["a=1", "a=2"], &["a=1", "a.b=2"]] {
            assert!(assignments(&texts(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_of_a_run_is_one_segment() {
        assert_eq!(segment("run_01J9"), Ok("run_01J9"));
        for bad in ["", "a/b", "..", "a?b", "a%2fb"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
    }
}
