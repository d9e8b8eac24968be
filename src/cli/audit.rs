//! `audit`: verify and search audit files.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::stdout::{self, say};
use super::{Done, Output, print_json};
use crate::app;
use crate::audit::{AuditKey, Expected, Filter, Finding, Line, query, verify};
use crate::clock::Timestamp;
use crate::seal::{FileKey, KeyProvider as _};

const NO_KEY: &str =
    "give --key FILE (the file of audit.key) or --seal FILE (the seal's key file, where audit.key is not set)";

const EXPECTED_SEQ: &str = "--expect-seq: INSTANCE=SEQ is expected, such as web-1=48213; both stand in every line";

/// Verify and search audit files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  scaivault-proxy audit verify --key audit.key audit.jsonl audit.jsonl.1
  scaivault-proxy audit verify --seal root-key --expect-seq web-1=48213 audit.jsonl
  scaivault-proxy audit query --path apps/orders --since 2026-11-23T00:00:00Z audit.jsonl")]
pub(super) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Find edited, dropped and reordered lines.
    Verify {
        /// The file of audit.key; this or --seal is needed.
        #[arg(long, value_name = "FILE", conflicts_with = "seal")]
        key: Option<PathBuf>,
        /// The seal's key file, where the audit key is derived from it; this or --key is needed.
        #[arg(long, value_name = "FILE")]
        seal: Option<PathBuf>,
        /// The last line an instance is known to have written: INSTANCE=SEQ.
        #[arg(long, value_name = "INSTANCE=SEQ")]
        expect_seq: Option<String>,
        /// The files, in any order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print who did what.
    Query {
        /// A secret path, or a folder and everything below it.
        #[arg(long)]
        path: Option<String>,
        /// A principal.
        #[arg(long)]
        principal: Option<String>,
        /// Not before this time (RFC 3339).
        #[arg(long)]
        since: Option<String>,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

impl Audit {
    pub(super) fn run(self, output: Output) -> Done {
        match self.verb {
            Verb::Verify { key, seal, expect_seq, files } => verified(key, seal, expect_seq.as_deref(), &files, output),
            Verb::Query { path, principal, since, files } => {
                let since = match since {
                    None => None,
                    Some(text) => Some(
                        Timestamp::parse_rfc3339(&text)
                            .ok_or("--since: not an RFC 3339 time such as 2026-11-23T00:00:00Z")?,
                    ),
                };
                searched(&Filter { path, principal, since }, &files, output)
            }
        }
    }
}

fn open(path: &PathBuf) -> Result<BufReader<File>, String> {
    File::open(path).map(BufReader::new).map_err(|error| format!("{}: {error}", path.display()))
}

fn verified(
    key: Option<PathBuf>,
    seal: Option<PathBuf>,
    expect_seq: Option<&str>,
    files: &[PathBuf],
    output: Output,
) -> Done {
    let key = match (key, seal) {
        (Some(path), _) => app::audit_key(&path).map_err(|problem| problem.to_string())?,
        (None, Some(path)) => AuditKey::derive(FileKey(path).root_key()?.bytes()),
        (None, None) => return Err(NO_KEY.into()),
    };
    let expected = match expect_seq {
        None => None,
        Some(text) => {
            let (instance, seq) = text.rsplit_once('=').ok_or(EXPECTED_SEQ)?;
            Some(Expected { instance: Some(instance.to_owned()), seq: seq.parse().map_err(|_| EXPECTED_SEQ)? })
        }
    };
    let mut opened = Vec::new();
    for path in files {
        opened.push((path.display().to_string(), open(path)?));
    }
    let report = verify(opened, key.as_bytes(), expected.as_ref());
    let findings: Vec<String> = report.findings.iter().map(told).collect();
    if output.is_json() {
        print_json(
            &json!({"sound": report.is_sound(), "lines": report.lines, "duplicates": report.duplicates, "findings": findings}),
        )?;
    } else {
        findings.iter().for_each(|finding| say!("{finding}"));
        say!(
            "{} lines, {} duplicates, {}",
            report.lines,
            report.duplicates,
            if report.is_sound() { "sound" } else { "NOT sound" }
        );
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A finding with its place, if it has one.
fn told(finding: &Finding) -> String {
    match (finding.file.as_str(), finding.line) {
        ("", _) => finding.message.clone(),
        (file, 0) => format!("{file}: {}", finding.message),
        _ => finding.to_string(),
    }
}

fn searched(filter: &Filter, files: &[PathBuf], output: Output) -> Done {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    for path in files {
        if written.is_err() {
            break;
        }
        let found = query(open(path)?, filter, |line| {
            if written.is_ok() {
                written = print(&mut out, line, output);
            }
        });
        found.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    stdout::note(written.and_then(|()| out.flush()));
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl std::io::Write, line: Line, output: Output) -> std::io::Result<()> {
    if output.is_json() {
        return writeln!(out, "{}", serde_json::to_string(&line).map_err(std::io::Error::other)?);
    }
    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let (who, what, outcome, path) = (or(line.principal), or(line.operation), or(line.outcome), or(line.path));
    writeln!(out, "{}  {:<10} {who:<28} {what:<16} {outcome:<16} {path}", line.time, line.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::FindingKind;

    #[test]
    fn a_finding_is_told_with_the_place_it_has() {
        let finding = |file: &str, line| Finding {
            file: file.to_owned(),
            line,
            kind: FindingKind::CutTail,
            message: "what".to_owned(),
        };
        assert_eq!(told(&finding("", 0)), "what");
        assert_eq!(told(&finding("a.jsonl", 0)), "a.jsonl: what");
        assert_eq!(told(&finding("a.jsonl", 7)), "a.jsonl:7: what");
    }
}
