//! Tries tables of rows on a [`World`] and counts: bad inputs tried, handled as specified.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::{Case, Reach};
use super::socket::{Heard, Line};
use super::world::World;
use crate::harness::wait_until;

/// The trail writes at most 100 refusals of unknown callers a second in full; rows keep well below that, so that each has
/// its line.
const ROWS_A_SECOND: usize = 60;

/// The count of one group.
#[derive(Default)]
pub(crate) struct Tally {
    tried: usize,
    handled: usize,
}

/// All groups of a run, and every row that was not handled as it says.
#[derive(Default)]
pub(crate) struct Score {
    groups: BTreeMap<String, Tally>,
    wrong: Vec<String>,
}

impl Score {
    /// Counts one row that is no raw request.
    pub(crate) fn check(&mut self, id: &str, note: &str, is_right: bool) {
        let problem = if is_right { None } else { Some("not as specified".to_owned()) };
        self.count(id, note, problem);
    }

    /// Counts one row; `problem` says what was wrong.
    pub(crate) fn count(&mut self, id: &str, note: &str, problem: Option<String>) {
        let group = id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let tally = self.groups.entry(group).or_default();
        tally.tried += 1;
        match problem {
            None => tally.handled += 1,
            Some(problem) => self.wrong.push(format!("{id} ({note}): {problem}")),
        }
    }

    /// Prints the table; fails the test if any row was not handled as specified.
    pub(crate) fn conclude(self) {
        println!("group  bad inputs tried  handled as specified");
        let (mut tried, mut handled) = (0, 0);
        for (group, tally) in &self.groups {
            println!("{group:<5}  {:>16}  {:>20}", tally.tried, tally.handled);
            tried += tally.tried;
            handled += tally.handled;
        }
        println!("all    {tried:>16}  {handled:>20}");
        assert!(
            self.wrong.is_empty(),
            "{} rows were not handled as specified:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
    }
}

/// Runs tables; the lines of the trail are looked up at the end of each.
pub(crate) struct Runner<'w> {
    world: &'w World,
    score: &'w mut Score,
    started: VecDeque<Instant>,
    /// Ids that answers carried.
    told: HashSet<String>,
}

/// What a row left to be looked up in the trail.
struct Owed {
    id: &'static str,
    note: String,
    request_id: String,
    outcomes: &'static [&'static str],
}

impl<'w> Runner<'w> {
    pub(crate) fn new(world: &'w World, score: &'w mut Score) -> Self {
        Self { world, score, started: VecDeque::new(), told: HashSet::new() }
    }

    /// Tries every row, then checks that an ordinary client is still served and that nothing panicked.
    pub(crate) fn run(&mut self, cases: Vec<Case>) {
        let mut owed = Vec::new();
        let lines_before = self.unread_heads();
        let mut unread = 0;
        for case in cases {
            self.pace();
            let (problem, request_id) = self.one(&case);
            self.told.extend(request_id.clone());
            if problem.is_none() && !case.audit.is_empty() {
                match request_id {
                    Some(request_id) => {
                        owed.push(Owed { id: case.id, note: case.note, request_id, outcomes: case.audit })
                    }
                    None if !case.may_close => {
                        unread += 1;
                        self.score.count(case.id, &case.note, None);
                    }
                    None => self.score.count(case.id, &case.note, None),
                }
            } else {
                self.score.count(case.id, &case.note, problem);
            }
        }
        self.settle(owed);
        let lines = self.unread_heads().saturating_sub(lines_before);
        if lines < unread {
            let problem = format!("{unread} heads were refused unread, the trail has {lines} lines about them");
            self.score.count("A12", "heads that could not be read", Some(problem));
        }
        self.world.assert_calm();
    }

    fn pace(&mut self) {
        if self.started.len() >= ROWS_A_SECOND
            && let Some(oldest) = self.started.pop_front()
        {
            wait_until(Duration::from_secs(3), "the rate of rows", || oldest.elapsed() > Duration::from_secs(1));
        }
        self.started.push_back(Instant::now());
    }

    /// What was wrong with a row, and the id of its request if it got one.
    fn one(&self, case: &Case) -> (Option<String>, Option<String>) {
        let before = self.world.fake.seen().len();
        let mut line = Line::open(&self.world.proxy.address(case.listener));
        line.say(&case.send);
        if case.ends {
            line.finish();
        }
        let heard = line.hear(case.send.starts_with(b"HEAD "));
        let seen = self.world.fake.seen().split_off(before);
        let targets: Vec<&str> = seen.iter().map(|seen| seen.target.as_str()).collect();
        let reached = match case.reach {
            Reach::Never if !targets.is_empty() => Some(format!("reached the backend: {targets:?}")),
            Reach::Once(target) if targets != [target] => Some(format!("the backend saw {targets:?}, not {target}")),
            _ => None,
        };
        let violations = self.world.fake.take_violations();
        let leaked = (!violations.is_empty()).then(|| format!("the backend complains: {violations:?}"));
        let request_id = heard.answers.first().and_then(|answer| answer.header("x-request-id")).map(str::to_owned);
        (judge(case, &heard).or(reached).or(leaked), request_id)
    }

    /// Looks every owed line up in the trail.
    fn settle(&mut self, owed: Vec<Owed>) {
        if owed.is_empty() {
            return;
        }
        let lines = self.world.proxy.audit();
        let mut outcomes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &lines {
            if let (Some(id), Some(outcome)) = (text(line, "request_id"), text(line, "outcome")) {
                outcomes.entry(id).or_default().push(outcome);
            }
        }
        for row in owed {
            let found = outcomes.get(row.request_id.as_str()).cloned().unwrap_or_default();
            let problem = match found.as_slice() {
                [outcome] if row.outcomes.contains(outcome) => None,
                [] => Some("the trail has no line about it".to_owned()),
                found => Some(format!("the trail says {found:?}, not one of {:?}", row.outcomes)),
            };
            self.score.count(row.id, &row.note, problem);
        }
    }

    /// How many lines are about requests that were refused before they got so far as to have an id in their answer.
    fn unread_heads(&self) -> usize {
        let is_unread = |line: &&Value| {
            text(line, "outcome") == Some("malformed")
                && text(line, "request_id").is_some_and(|id| !self.told.contains(id))
        };
        self.world.proxy.audit().iter().filter(is_unread).count()
    }
}

fn text<'l>(line: &'l Value, field: &str) -> Option<&'l str> {
    line.get(field)?.as_str()
}

fn judge(case: &Case, heard: &Heard) -> Option<String> {
    let Some(first) = heard.answers.first() else {
        let silent = if heard.closed { "the connection was ended without an answer" } else { "no answer" };
        let fine = heard.closed && case.may_close;
        return (!fine).then(|| format!("{silent} ({} other bytes)", heard.rest.len()));
    };
    if !case.statuses.contains(&first.status) {
        return Some(format!("answered {}, not {:?}: {}", first.status, case.statuses, shortened(&first.text())));
    }
    if heard.answers.len() > case.answers {
        let all: Vec<u16> = heard.answers.iter().map(|answer| answer.status).collect();
        return Some(format!("answered {} times: {all:?}", all.len()));
    }
    if heard.answers.iter().any(|answer| answer.status == 101) {
        return Some("switched protocols".to_owned());
    }
    if case.must_close && !heard.closed {
        return Some("the connection was left open".to_owned());
    }
    let everything = || {
        heard.answers.iter().flat_map(|answer| {
            answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).chain([answer.text()])
        })
    };
    if let Some(text) = case.absent.filter(|text| everything().any(|part| part.contains(text))) {
        return Some(format!("the answer holds {text}"));
    }
    if let Some(text) = case.present.filter(|text| !everything().any(|part| part.contains(text))) {
        return Some(format!("the answer does not hold {text}: {}", shortened(&first.text())));
    }
    None
}

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}
