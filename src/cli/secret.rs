//! `secret`: secrets of a running proxy. A value is read from a file or standard input, never from the command line, where
//! every process of the machine could see it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::rest::Rest;
use super::stdout::{self, say};
use super::{Done, Output, print_json, table};
use crate::secret::{Folder, SecretPath, SecretType};

/// Secrets of a running proxy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  export SCAIVAULT_ADDR=http://127.0.0.1:8440 SCAIVAULT_TOKEN=...
  echo '{\"role_id\": \"...\", \"secret_id\": \"...\"}' | scaivault-proxy secret put infra/hashicorp/approle
  scaivault-proxy secret put apps/tls/key -f key.der --type binary --metadata owner=web --cas 0
  scaivault-proxy secret get external/hashicorp/app/db
  scaivault-proxy secret get external/hashicorp/app/db --field password
  scaivault-proxy secret list external/hashicorp
  scaivault-proxy secret versions apps/tls/key
  scaivault-proxy secret delete apps/tls/key && scaivault-proxy secret undelete apps/tls/key")]
pub(super) struct Secret {
    /// The proxy's scaivault listener; the token is taken from SCAIVAULT_TOKEN.
    #[arg(long, value_name = "URL", env = "SCAIVAULT_ADDR", default_value = "http://127.0.0.1:8440", global = true)]
    server: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Read a secret.
    Get {
        /// The secret path.
        path: String,
        /// Another version than the current one.
        #[arg(long)]
        version: Option<u64>,
        /// Print the value only: JSON and text as written, binary as its bytes.
        #[arg(long, conflicts_with = "field")]
        raw: bool,
        /// Print one field of a JSON object only; text without quotes.
        #[arg(long, value_name = "NAME")]
        field: Option<String>,
    },
    /// Write a new version; the value comes from a file or standard input.
    Put {
        /// The secret path.
        path: String,
        /// The file; `-` is standard input.
        #[arg(short = 'f', long, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// How the value is to be understood.
        #[arg(long = "type", value_enum, default_value_t = Kind::Json)]
        kind: Kind,
        /// Custom metadata; replaces what is there. May be given several times.
        #[arg(long = "metadata", value_name = "KEY=VALUE")]
        metadata: Vec<String>,
        /// The version that must be the current one; 0: the secret must not exist.
        #[arg(long, value_name = "VERSION")]
        cas: Option<u64>,
    },
    /// Delete a version so that it can be restored.
    Delete(Which),
    /// Restore a deleted version.
    Undelete(Which),
    /// Destroy a version for good.
    Destroy(Which),
    /// The names in a folder; folders end in `/`.
    List {
        /// The folder; the root if absent.
        folder: Option<String>,
    },
    /// The versions of a secret.
    Versions {
        /// The secret path.
        path: String,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The secret path.
    path: String,
    /// Which version; the current one if absent.
    #[arg(long)]
    version: Option<u64>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Json,
    Text,
    Binary,
}

impl Secret {
    pub(super) fn run(self, output: Output) -> Done {
        let rest = Rest::new(&self.server)?;
        match self.verb {
            Verb::Get { path, version, raw, field } => {
                let version = version.map(|version| version.to_string());
                let query: Vec<(&str, &str)> = version.iter().map(|version| ("version", version.as_str())).collect();
                let answer = rest.send("GET", &at(&path)?, &query, None)?;
                show(&answer.body, raw, field.as_deref(), output)
            }
            Verb::Put { path, file, kind, metadata, cas } => {
                let body = body(&value(&file)?, kind, &metadata, cas)?;
                let answer = rest.send("PUT", &at(&path)?, &[], Some(body))?;
                let written = rest.json(&answer.body)?;
                told(&written, output, &["path", "version", "created_at"])
            }
            Verb::Delete(which) => change(&rest, "DELETE", &which, None),
            Verb::Destroy(which) => change(&rest, "DELETE", &which, Some("destroy")),
            Verb::Undelete(which) => change(&rest, "PUT", &which, Some("undelete")),
            Verb::List { folder } => list(&rest, folder.as_deref().unwrap_or_default(), output),
            Verb::Versions { path } => versions(&rest.call("GET", &at(&path)?, &[("versions", "true")], None)?, output),
        }
    }
}

/// The path of a secret. Checked here: what a URL library makes of `a/../b` is another secret.
fn at(path: &str) -> Result<String, String> {
    let path = SecretPath::parse(path).map_err(|error| format!("{}: {error}", table::plain(path)))?;
    Ok(format!("/v1/secrets/{path}"))
}

fn change(rest: &Rest, method: &str, which: &Which, flag: Option<&'static str>) -> Done {
    let version = which.version.map(|version| version.to_string());
    let mut query: Vec<(&str, &str)> = flag.iter().map(|flag| (*flag, "true")).collect();
    query.extend(version.iter().map(|version| ("version", version.as_str())));
    rest.send(method, &at(&which.path)?, &query, None)?;
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &Value, output: Output, names: &[&str]) -> Done {
    if output.is_json() {
        print_json(answer)?;
    } else {
        table::fields(answer, names);
    }
    Ok(ExitCode::SUCCESS)
}

/// A read answer; its value is kept as it came.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    secret_type: String,
}

impl Read<'_> {
    /// The value's own bytes.
    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let text = || serde_json::from_str::<Zeroizing<String>>(self.data.get()).map_err(|_| "the value is no text");
        match SecretType::parse(&self.secret_type) {
            Some(SecretType::Json) => Ok(Zeroizing::new(self.data.get().as_bytes().to_vec())),
            Some(SecretType::Text) => Ok(Zeroizing::new(text()?.as_bytes().to_vec())),
            Some(SecretType::Binary) => {
                let bytes = STANDARD.decode(text()?.as_bytes()).map_err(|_| "the value is not base64")?;
                Ok(Zeroizing::new(bytes))
            }
            None => Err(format!("{} is no secret_type this release knows", table::plain(&self.secret_type))),
        }
    }

    fn field(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let fields: Result<std::collections::BTreeMap<String, &RawValue>, _> = serde_json::from_str(self.data.get());
        let fields = fields.map_err(|_| "the value is no JSON object")?;
        let raw = fields.get(name).ok_or_else(|| format!("the value has no field {}", table::plain(name)))?.get();
        let text = serde_json::from_str::<Zeroizing<String>>(raw);
        Ok(text.map_or_else(|_| raw.as_bytes().to_vec(), |text| text.as_bytes().to_vec()).into())
    }
}

fn show(body: &[u8], raw: bool, field: Option<&str>, output: Output) -> Done {
    if raw || field.is_some() {
        let read: Read<'_> = serde_json::from_slice(body).map_err(|_| "the proxy's answer is not that of a read")?;
        let bytes = match field {
            Some(name) => read.field(name)?,
            None => read.bytes()?,
        };
        let end: &[u8] = if field.is_some() { b"\n" } else { b"" };
        stdout::bytes(&[&bytes, end]);
        return Ok(ExitCode::SUCCESS);
    }
    if output.is_json() {
        stdout::bytes(&[body, b"\n"]);
        return Ok(ExitCode::SUCCESS);
    }
    let read: Value = serde_json::from_slice(body).map_err(|_| "the proxy answered something else than JSON")?;
    table::fields(&read, &["path", "version", "secret_type", "metadata", "created_at", "updated_at", "source"]);
    say!("");
    match read.get("data") {
        Some(Value::Object(fields)) => {
            let rows: Vec<Vec<String>> =
                fields.iter().map(|(key, value)| vec![table::plain(key), table::cell(Some(value))]).collect();
            table::print(&["FIELD", "VALUE"], &rows);
        }
        other => say!("{}", table::cell(other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a value. A newline that `echo` put at the end of a text stays: it may be meant.
fn value(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut bytes = Zeroizing::new(Vec::new());
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let mut opened = std::fs::File::open(file).map_err(failed)?;
        opened.read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

#[derive(Serialize)]
struct Put<'a> {
    data: &'a RawValue,
    secret_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cas: Option<u64>,
}

/// The body of a write. JSON goes as it is: parsed and written again, a large number would be another one.
fn body(value: &[u8], kind: Kind, metadata: &[String], cas: Option<u64>) -> Result<Bytes, String> {
    let text = || std::str::from_utf8(value).map_err(|_| "the value is not UTF-8; use --type binary");
    let (json, secret_type) = match kind {
        Kind::Json => (text()?.trim().to_owned(), SecretType::Json),
        Kind::Text => (serde_json::to_string(text()?).map_err(|error| error.to_string())?, SecretType::Text),
        Kind::Binary => (format!("\"{}\"", STANDARD.encode(value)), SecretType::Binary),
    };
    let data = RawValue::from_string(json).map_err(|_| "the value is not JSON; use --type text or binary")?;
    let mut fields = Map::new();
    for text in metadata {
        let (key, value) = text.split_once('=').ok_or("--metadata: KEY=VALUE")?;
        if key.is_empty() || fields.insert(key.to_owned(), Value::from(value)).is_some() {
            return Err(format!("--metadata: {} is given twice or empty", table::plain(key)));
        }
    }
    let metadata = (!fields.is_empty()).then_some(fields);
    let put = Put { data: &data, secret_type: secret_type.as_str(), metadata, cas };
    serde_json::to_vec(&put).map(Bytes::from).map_err(|error| error.to_string())
}

/// All names, page after page.
fn list(rest: &Rest, folder: &str, output: Output) -> Done {
    let folder = folder.strip_suffix('/').unwrap_or(folder);
    let folder = Folder::parse(folder).map_err(|error| format!("{}: {error}", table::plain(folder)))?;
    let at = if folder.is_root() { "/v1/secrets".to_owned() } else { format!("/v1/secrets/{}", folder.as_str()) };
    let (mut names, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("list", "true")];
        query.extend(cursor.iter().map(|cursor| ("cursor", cursor.as_str())));
        let page = rest.call("GET", &at, &query, None)?;
        names.extend(page.get("names").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
            _ => break,
        }
    }
    if output.is_json() {
        print_json(&names)?;
    } else {
        names.iter().for_each(|name| say!("{}", table::cell(Some(name))));
    }
    Ok(ExitCode::SUCCESS)
}

fn versions(answer: &Value, output: Output) -> Done {
    if output.is_json() {
        print_json(answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    table::fields(answer, &["path", "current_version", "metadata", "created_at", "updated_at"]);
    say!("");
    let keys = ["version", "state", "created_at", "deleted_at", "native_id"];
    let all = answer.get("versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> =
        all.iter().map(|version| keys.iter().map(|key| table::cell(version.get(key))).collect()).collect();
    table::print(&["VERSION", "STATE", "CREATED", "DELETED", "NATIVE ID"], &rows);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_sent_as_it_was_written() {
        let sent = body(b" {\"n\": 12345678901234567890.10}\n", Kind::Json, &["k=v=w".to_owned()], Some(0)).unwrap();
        let expected = r#"{"data":{"n": 12345678901234567890.10},"secret_type":"json","metadata":{"k":"v=w"},"cas":0}"#;
        assert_eq!(text(&sent), expected);
        let sent = body(b"a\"b\n", Kind::Text, &[], None).unwrap();
        assert_eq!(text(&sent), r#"{"data":"a\"b\n","secret_type":"text"}"#);
        let sent = body(&[0, 255], Kind::Binary, &[], None).unwrap();
        assert_eq!(text(&sent), r#"{"data":"AP8=","secret_type":"binary"}"#);
        assert!(body(b"no json", Kind::Json, &[], None).is_err());
        assert!(body(&[255], Kind::Text, &[], None).is_err());
        assert!(body(b"1", Kind::Json, &["k=1".to_owned(), "k=2".to_owned()], None).is_err());
    }

    #[test]
    fn values_come_out_as_they_were_written() {
        let read = |answer: &'static str| serde_json::from_str::<Read<'_>>(answer).unwrap();
        let json = read(r#"{"path":"a","data":{"n": 1.10, "s": "x y"},"secret_type":"json"}"#);
        assert_eq!(text(&json.bytes().unwrap()), r#"{"n": 1.10, "s": "x y"}"#);
        assert_eq!(text(&json.field("n").unwrap()), "1.10");
        assert_eq!(text(&json.field("s").unwrap()), "x y");
        assert!(json.field("t").is_err());
        let binary = read(r#"{"data":"AP8=","secret_type":"binary"}"#);
        assert_eq!(*binary.bytes().unwrap(), [0, 255]);
        assert_eq!(text(&read(r#"{"data":"\u00e9","secret_type":"text"}"#).bytes().unwrap()), "é");
    }

    #[test]
    fn p15_a_path_is_never_another_one() {
        for bad in ["a/../b", "a//b", "", "/a", "a?version=1", "a%2fb"] {
            assert!(at(bad).is_err(), "{bad}");
        }
        assert_eq!(at("a/b.c").as_deref(), Ok("/v1/secrets/a/b.c"));
    }
}
