//! Checks trails after the fact: many files, in any order, with overlaps.
//!
//! Every line proves itself by its MAC; `walk` then links the lines that do. A tail that was cut off at a line's end
//! leaves no trace in what remains: only an expected number finds it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead};

use ring::hmac;
use serde::Serialize;

use super::chain::{Head, Link};
use super::walk::{Kind, Place, Proven, short, walk};

/// What is wrong with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A line whose text does not fit its MAC: changed, or written under another key.
    Edited,
    /// Lines before this one are not in any of the files.
    Missing,
    /// The line stands behind one that was written after it.
    Reordered,
    /// Two different lines claim the same place.
    Forked,
    /// The line's number does not follow that of the line it is linked to.
    Misnumbered,
    /// The trail ends before the expected number.
    CutTail,
    /// Not a line of a trail.
    Foreign,
    /// The file could not be read to its end.
    Unreadable,
    /// The beginning of a line that was never finished: a crash or a full disk. Nothing is missing by it alone.
    Torn,
}

impl FindingKind {
    /// Whether the trail is sound in spite of it.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Torn)
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The name the file was given by; empty if it is about no file.
    pub file: String,
    /// The line in the file, from 1; 0 if it is about the whole file.
    pub line: u64,
    /// What.
    pub kind: FindingKind,
    /// What exactly, for people.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// One chain that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainSummary {
    /// The process that wrote its last line.
    pub instance: String,
    /// The sink it was written to, if one of its start lines is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// The run that wrote its last line, if it says so somewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The number of its first line here; above 1 if earlier files were rotated away.
    pub first_seq: u64,
    /// The number of its last line here.
    pub last_seq: u64,
    /// Whether it ends in a stop line.
    pub is_stopped: bool,
}

/// The newest line a trail must reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Of which instance; any if `None`.
    pub instance: Option<String>,
    /// Its number or a later one must be there.
    pub seq: u64,
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that prove themselves, each counted once.
    pub lines: u64,
    /// Exact copies of such lines.
    pub duplicates: u64,
    /// The chains, oldest number first.
    pub chains: Vec<ChainSummary>,
    /// By file and line.
    pub findings: Vec<Finding>,
    /// Requests with more intents than outcomes: writes of which it is not known whether they happened.
    pub unresolved: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong. Torn lines and unresolved writes are told of, but are what a crash leaves.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind.is_harmless())
    }

    /// How many findings are of this kind.
    #[must_use]
    pub fn count(&self, kind: FindingKind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }
}

/// Verifies files, each given as a name for the report and its content. `key` is the chain's key,
/// [`super::AuditKey::as_bytes`]. Needs about 100 bytes of memory for each line.
#[must_use]
pub fn verify(files: Vec<(String, impl BufRead)>, key: &[u8], expect_seq: Option<&Expected>) -> Report {
    let mut reading = Reading::new(key);
    for (name, reader) in files {
        reading.file(name, reader);
    }
    reading.conclude(expect_seq)
}

/// What has been read so far.
struct Reading {
    key: hmac::Key,
    names: Vec<String>,
    words: Words,
    proven: Vec<Proven>,
    edited: HashSet<(u32, u64)>,
    findings: Vec<Finding>,
}

impl Reading {
    fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            names: Vec::new(),
            words: Words::default(),
            proven: Vec::new(),
            edited: HashSet::new(),
            findings: Vec::new(),
        }
    }

    fn file(&mut self, name: String, reader: impl BufRead) {
        let file = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name);
        let mut line = 0;
        if let Err(error) = self.lines(reader, file, &mut line) {
            self.find(Place { file, line }, FindingKind::Unreadable, format!("cannot be read on: {error}"));
        }
    }

    fn lines(&mut self, mut reader: impl BufRead, file: u32, line: &mut u32) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            *line = line.saturating_add(1);
            let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            if !text.is_empty() {
                self.line(Place { file, line: *line }, text);
            }
        }
    }

    fn line(&mut self, at: Place, text: &[u8]) {
        let Some(link) = Link::parse(text) else {
            let (kind, message) = if text.starts_with(b"{\"time\":\"") {
                (FindingKind::Torn, "the beginning of a line that was never finished")
            } else {
                (FindingKind::Foreign, "not a line of a trail")
            };
            return self.find(at, kind, message.to_owned());
        };
        let head = serde_json::from_slice::<Head<'_>>(text).ok();
        let Some(head) = head.as_ref().filter(|_| link.is_authentic(&self.key)) else {
            if let Some(head) = head {
                self.edited.insert((self.words.number(&head.instance), head.seq));
            }
            let message = "does not fit its MAC: changed, or written under another key";
            return self.find(at, FindingKind::Edited, message.to_owned());
        };
        let kind = Kind::parse(&head.kind);
        self.proven.push(Proven {
            at,
            seq: head.seq,
            prev: short(&link.prev),
            mac: short(&link.mac),
            instance: self.words.number(&head.instance),
            run: head.run.as_ref().map(|run| self.words.number(run)),
            sink: head.sink.as_ref().map(|sink| self.words.number(sink)),
            request: head.request_id.as_ref().filter(|_| kind.is_half()).map(|request| self.words.number(request)),
            kind,
        });
    }

    fn find(&mut self, at: Place, kind: FindingKind, message: String) {
        let file = at.name(&self.names);
        self.findings.push(Finding { file, line: at.line.into(), kind, message });
    }

    fn conclude(mut self, expect_seq: Option<&Expected>) -> Report {
        let words = self.words.into_list();
        let walked = walk(self.proven, &self.names, &words, &self.edited);
        self.findings.extend(walked.findings);
        if let Some(expected) = expect_seq {
            self.findings.extend(expected.missed_by(&walked.chains));
        }
        self.findings.sort();
        Report {
            lines: walked.lines,
            duplicates: walked.duplicates,
            chains: walked.chains,
            findings: self.findings,
            unresolved: walked.unresolved,
        }
    }
}

impl Expected {
    fn missed_by(&self, chains: &[ChainSummary]) -> Option<Finding> {
        let is_meant = |chain: &&ChainSummary| self.instance.as_ref().is_none_or(|name| *name == chain.instance);
        let last = chains.iter().filter(is_meant).map(|chain| chain.last_seq).max();
        if last.is_some_and(|last| last >= self.seq) {
            return None;
        }
        let of = self.instance.as_ref().map_or(String::new(), |name| format!(" of {name}"));
        let message = match last {
            Some(last) => format!("the trail{of} ends at line {last}, but line {} was written", self.seq),
            None => format!("there is no trail{of}, but line {} was written", self.seq),
        };
        Some(Finding { file: String::new(), line: 0, kind: FindingKind::CutTail, message })
    }
}

/// Names that occur again and again, kept once.
#[derive(Default)]
struct Words(HashMap<Box<str>, u32>);

impl Words {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.0.get(word) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(Box::from(word), number);
        number
    }

    fn into_list(self) -> Vec<Box<str>> {
        let mut words: Vec<(Box<str>, u32)> = self.0.into_iter().collect();
        words.sort_unstable_by_key(|(_, number)| *number);
        words.into_iter().map(|(word, _)| word).collect()
    }
}
