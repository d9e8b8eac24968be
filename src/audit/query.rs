//! Who read what: lines of the trail that match a question. Reads what is there and checks no chain; `verify` does that.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One line of the trail, for a table. `raw` is the whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Line {
    /// RFC 3339, UTC, microseconds.
    pub time: String,
    /// Which process wrote it.
    pub instance: String,
    /// Its number in its chain.
    pub seq: u64,
    /// `read`, `list`, `intent`, `outcome`, `refusal`, `note`, `summary`, `start`, `checkpoint` or `stop`.
    pub kind: String,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Through which wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<String>,
    /// What the call does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The secret path; a folder ends in `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The version read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The backend that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `ok` or the kind of error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The line as it stands in the file.
    #[serde(skip)]
    pub raw: String,
}

/// Which lines are wanted; all of what is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A secret path, or a folder: the path itself and everything below it. With a trailing slash only what is below.
    pub path: Option<String>,
    /// The principal's exact name.
    pub principal: Option<String>,
    /// Nothing older than this.
    pub since: Option<Timestamp>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Lines in all, without empty ones.
    pub lines: u64,
    /// Lines handed out.
    pub matched: u64,
    /// Lines that are not lines of a trail, or torn.
    pub unreadable: u64,
}

/// Hands every matching line of `reader` to `found`, in the order of the file.
///
/// # Errors
/// When `reader` cannot be read on; what was found until then has been handed out.
pub fn query(mut reader: impl BufRead, filter: &Filter, mut found: impl FnMut(Line)) -> io::Result<Searched> {
    let mut searched = Searched::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(searched);
        }
        let text = bytes.trim_ascii_end();
        if text.is_empty() {
            continue;
        }
        searched.lines += 1;
        let Some(line) = Line::parse(text) else {
            searched.unreadable += 1;
            continue;
        };
        if filter.matches(&line) {
            searched.matched += 1;
            found(line);
        }
    }
}

impl Line {
    fn parse(text: &[u8]) -> Option<Self> {
        let line: Self = serde_json::from_slice(text).ok()?;
        Some(Self { raw: String::from_utf8(text.to_vec()).ok()?, ..line })
    }
}

impl Filter {
    /// Whether a line is wanted. A line without what is asked for is not.
    #[must_use]
    pub fn matches(&self, line: &Line) -> bool {
        let holds_path = |wanted: &String| line.path.as_deref().is_some_and(|path| is_at_or_below(path, wanted));
        let is_recent = |since: &Timestamp| Timestamp::parse_rfc3339(&line.time).is_some_and(|time| time >= *since);
        self.path.as_ref().is_none_or(holds_path)
            && self.principal.as_ref().is_none_or(|wanted| line.principal.as_ref() == Some(wanted))
            && self.since.as_ref().is_none_or(is_recent)
    }
}

fn is_at_or_below(path: &str, wanted: &str) -> bool {
    let folder = wanted.trim_end_matches('/');
    if folder.is_empty() {
        return true;
    }
    match path.strip_prefix(folder) {
        Some("") => folder == wanted,
        Some(rest) => rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, principal: &str, path: &str) -> String {
        format!(r#"{{"time":"{time}","instance":"i","seq":1,"principal":"{principal}","path":"{path}","kind":"read"}}"#)
    }

    fn paths(text: &str, filter: &Filter) -> (Vec<String>, Searched) {
        let mut paths = Vec::new();
        let searched = query(text.as_bytes(), filter, |line| paths.extend(line.path)).unwrap();
        (paths, searched)
    }

    #[test]
    fn lines_match_by_path_folder_principal_and_time() {
        let old = line("2026-11-23T10:00:00.000000Z", "app", "apps/led");
        let new = line("2026-11-23T11:00:00.000000Z", "app", "apps/led/db");
        let other = line("2026-11-23T12:00:00.000000Z", "ops", "apps/ledger");
        let text = format!("{old}\n\n{new}\n{other}\n{{\"time\":\"torn");
        let path = |path: &str| Filter { path: Some(path.to_owned()), ..Filter::default() };
        let (all, searched) = paths(&text, &Filter::default());
        assert_eq!(all, ["apps/led", "apps/led/db", "apps/ledger"]);
        assert_eq!(searched, Searched { lines: 4, matched: 3, unreadable: 1 });
        assert_eq!(paths(&text, &path("apps/led")).0, ["apps/led", "apps/led/db"]);
        assert_eq!(paths(&text, &path("apps/led/")).0, ["apps/led/db"]);
        assert_eq!(paths(&text, &path("/")).0.len(), 3);
        assert_eq!(paths(&text, &path("app")).0.len(), 0);
        let principal = Filter { principal: Some("ops".to_owned()), ..Filter::default() };
        assert_eq!(paths(&text, &principal).0, ["apps/ledger"]);
        let since = Timestamp::parse_rfc3339("2026-11-23T11:00:00Z");
        assert_eq!(paths(&text, &Filter { since, ..path("apps/led") }).0, ["apps/led/db"]);
    }

    #[test]
    fn a_found_line_is_kept_as_it_stands() {
        let text = line("2026-11-23T10:00:00.000000Z", "app", "a");
        let mut raw = Vec::new();
        query(text.as_bytes(), &Filter::default(), |line| raw.push(line.raw)).unwrap();
        assert_eq!(raw, [text]);
    }
}
