//! Links proven lines into chains and says where the links break. Pure.

use std::collections::{HashMap, HashSet};

use super::verify::{ChainSummary, Finding, FindingKind};

/// The first half of a MAC: enough to tell lines apart, since only proven ones get here.
pub(super) type ShortMac = [u8; 16];

const GENESIS: ShortMac = [0; 16];

/// A line of a file, both counted: files from 0, lines from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) line: u32,
}

/// A line whose MAC fits. Names are numbers of words.
pub(super) struct Proven {
    pub(super) at: Place,
    pub(super) seq: u64,
    pub(super) prev: ShortMac,
    pub(super) mac: ShortMac,
    pub(super) instance: u32,
    pub(super) run: Option<u32>,
    pub(super) sink: Option<u32>,
    /// Of intents and outcomes.
    pub(super) request: Option<u32>,
    pub(super) kind: Kind,
}

/// What matters here of a line's kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Stop,
    Intent,
    Outcome,
    Other,
}

/// What came out.
pub(super) struct Walked {
    pub(super) lines: u64,
    pub(super) duplicates: u64,
    pub(super) chains: Vec<ChainSummary>,
    pub(super) findings: Vec<Finding>,
    pub(super) unresolved: Vec<String>,
}

/// Links the lines. `edited` holds instance and number of lines that were found but do not prove themselves, so that
/// they are not told of a second time as missing.
pub(super) fn walk(
    mut lines: Vec<Proven>,
    names: &[String],
    words: &[Box<str>],
    edited: &HashSet<(u32, u64)>,
) -> Walked {
    let all = lines.len();
    lines.sort_unstable_by_key(|line| (line.seq, line.mac, line.at));
    lines.dedup_by(|later, kept| later.seq == kept.seq && later.mac == kept.mac);
    let mut walk = Walk {
        names,
        words,
        edited,
        strands: Vec::new(),
        tips: HashMap::new(),
        level: Level::default(),
        findings: Vec::new(),
    };
    let mut placed: Vec<(Place, usize, u64)> = Vec::with_capacity(lines.len());
    for line in &lines {
        placed.push((line.at, walk.place(line), line.seq));
    }
    walk.check_order(placed);
    Walked {
        lines: count(lines.len()),
        duplicates: count(all - lines.len()),
        unresolved: unresolved(&lines, words),
        chains: walk.summaries(),
        findings: walk.findings,
    }
}

impl Place {
    pub(super) fn name(self, names: &[String]) -> String {
        usize::try_from(self.file).ok().and_then(|file| names.get(file)).cloned().unwrap_or_default()
    }
}

impl Kind {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "intent" => Self::Intent,
            "outcome" => Self::Outcome,
            _ => Self::Other,
        }
    }

    /// One of the two lines of a write.
    pub(super) const fn is_half(self) -> bool {
        matches!(self, Self::Intent | Self::Outcome)
    }
}

pub(super) fn short(mac: &[u8; 32]) -> ShortMac {
    mac.first_chunk().copied().unwrap_or_default()
}

struct Walk<'a> {
    names: &'a [String],
    words: &'a [Box<str>],
    edited: &'a HashSet<(u32, u64)>,
    strands: Vec<Strand>,
    /// The last MAC of each strand that may go on.
    tips: HashMap<ShortMac, usize>,
    level: Level,
    findings: Vec<Finding>,
}

/// The number being placed, and which predecessors lines of that number have claimed.
#[derive(Default)]
struct Level {
    seq: u64,
    claimed: HashMap<ShortMac, Place>,
}

/// A chain as far as it has been followed.
struct Strand {
    instance: u32,
    sink: Option<u32>,
    run: Option<u32>,
    first_seq: u64,
    last_seq: u64,
    last_mac: ShortMac,
    last_at: Place,
    is_stopped: bool,
}

impl Walk<'_> {
    /// Places a line; lines come by ascending number. Returns its strand.
    fn place(&mut self, line: &Proven) -> usize {
        if self.level.seq != line.seq {
            self.level.seq = line.seq;
            self.level.claimed.clear();
        }
        if let Some(strand) = self.tips.remove(&line.prev) {
            self.level.claimed.insert(line.prev, line.at);
            let last = self.strands.get(strand).map_or(0, |strand| strand.last_seq);
            if last.checked_add(1) != Some(line.seq) {
                let message = format!("is number {} but follows number {last}", line.seq);
                self.find(line.at, FindingKind::Misnumbered, message);
            }
            return self.extend(strand, line);
        }
        if let Some(other) = self.level.claimed.get(&line.prev) {
            let (name, other) = (other.name(self.names), other.line);
            let message =
                format!("claims the place of {name}:{other}: two processes wrote one chain, or a copy went on");
            self.find(line.at, FindingKind::Forked, message);
            return self.begin(line);
        }
        if line.seq == 1 && line.prev == GENESIS { self.begin(line) } else { self.bridge(line) }
    }

    /// A line whose predecessor is in no file.
    fn bridge(&mut self, line: &Proven) -> usize {
        let instance = self.word(line.instance);
        let Some((strand, last, at)) = self.nearest(line) else {
            // A file made by rotation begins with a start line; older files may be gone by intent.
            if line.kind != Kind::Start && !self.are_edited(line.instance, 1, line.seq) {
                let message = format!("the chain of {instance} begins with number {} and no start line", line.seq);
                self.find(line.at, FindingKind::Missing, message);
            }
            return self.begin(line);
        };
        if !self.are_edited(line.instance, last + 1, line.seq) {
            let (from, to, name) = (last + 1, line.seq - 1, at.name(self.names));
            let message = format!("numbers {from} to {to} of {instance} are missing, after {name}:{}", at.line);
            self.find(line.at, FindingKind::Missing, message);
        }
        self.extend(strand, line)
    }

    /// The strand a line most likely belongs to: of its instance and sink, ending closest before it.
    fn nearest(&self, line: &Proven) -> Option<(usize, u64, Place)> {
        let could_precede = |strand: &Strand| {
            let is_sink = line.sink.is_none() || strand.sink.is_none() || line.sink == strand.sink;
            strand.instance == line.instance && is_sink && strand.last_seq.saturating_add(1) < line.seq
        };
        let open = self.tips.values().filter_map(|index| self.strands.get(*index).map(|strand| (*index, strand)));
        open.filter(|(_, strand)| could_precede(strand))
            .max_by_key(|(index, strand)| (strand.last_seq, *index))
            .map(|(index, strand)| (index, strand.last_seq, strand.last_at))
    }

    /// Whether every number from `from` up to but without `to` was found as an edited line.
    fn are_edited(&self, instance: u32, from: u64, to: u64) -> bool {
        from < to
            && to - from <= count(self.edited.len())
            && (from..to).all(|seq| self.edited.contains(&(instance, seq)))
    }

    fn begin(&mut self, line: &Proven) -> usize {
        let index = self.strands.len();
        self.strands.push(Strand {
            instance: line.instance,
            sink: line.sink,
            run: line.run,
            first_seq: line.seq,
            last_seq: line.seq,
            last_mac: line.mac,
            last_at: line.at,
            is_stopped: line.kind == Kind::Stop,
        });
        self.tips.insert(line.mac, index);
        index
    }

    fn extend(&mut self, index: usize, line: &Proven) -> usize {
        let Some(strand) = self.strands.get_mut(index) else { return index };
        self.tips.remove(&strand.last_mac);
        *strand = Strand {
            instance: line.instance,
            sink: line.sink.or(strand.sink),
            run: line.run.or(strand.run),
            first_seq: strand.first_seq,
            last_seq: line.seq,
            last_mac: line.mac,
            last_at: line.at,
            is_stopped: line.kind == Kind::Stop,
        };
        self.tips.insert(line.mac, index);
        index
    }

    /// Within one file, a chain's numbers only rise.
    fn check_order(&mut self, mut placed: Vec<(Place, usize, u64)>) {
        placed.sort_unstable();
        let mut file = None;
        let mut newest: HashMap<usize, u64> = HashMap::new();
        for (at, strand, seq) in placed {
            if file.replace(at.file) != Some(at.file) {
                newest.clear();
            }
            let newest = newest.entry(strand).or_insert(seq);
            if seq < *newest {
                let message = format!("is number {seq} but stands behind number {newest}");
                self.find(at, FindingKind::Reordered, message);
            }
            *newest = seq.max(*newest);
        }
    }

    fn find(&mut self, at: Place, kind: FindingKind, message: String) {
        let file = at.name(self.names);
        self.findings.push(Finding { file, line: at.line.into(), kind, message });
    }

    fn word(&self, number: u32) -> String {
        word(self.words, number)
    }

    fn summaries(&self) -> Vec<ChainSummary> {
        let summary = |strand: &Strand| ChainSummary {
            instance: self.word(strand.instance),
            sink: strand.sink.map(|sink| self.word(sink)),
            run: strand.run.map(|run| self.word(run)),
            first_seq: strand.first_seq,
            last_seq: strand.last_seq,
            is_stopped: strand.is_stopped,
        };
        let mut summaries: Vec<ChainSummary> = self.strands.iter().map(summary).collect();
        summaries.sort_by(|one, two| (&one.instance, one.first_seq).cmp(&(&two.instance, two.first_seq)));
        summaries
    }
}

fn unresolved(lines: &[Proven], words: &[Box<str>]) -> Vec<String> {
    let mut open: HashMap<u32, i64> = HashMap::new();
    for line in lines {
        if let Some(request) = line.request {
            *open.entry(request).or_default() += if line.kind == Kind::Intent { 1 } else { -1 };
        }
    }
    let still = open.into_iter().filter(|(_, halves)| *halves > 0);
    let mut requests: Vec<String> = still.map(|(request, _)| word(words, request)).collect();
    requests.sort_unstable();
    requests
}

fn word(words: &[Box<str>], number: u32) -> String {
    usize::try_from(number).ok().and_then(|number| words.get(number)).map(|word| word.to_string()).unwrap_or_default()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
