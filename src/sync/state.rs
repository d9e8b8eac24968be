//! What the engine remembers across restarts, as sealed documents: when each rule was last copied whole, which lists came
//! back empty, and the reports of the last runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Replica;
use super::report::Report;
use crate::clock::Timestamp;
use crate::mapping::RuleId;
use crate::seal::{DocumentChange, DocumentKind, Records, SealError};
use crate::secret::{BackendId, Mode, RuleSettings, SyncScope};

/// How many reports are kept.
pub(super) const MAX_REPORTS: usize = 20;

/// The memory of one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// By route.
    #[serde(default)]
    rules: BTreeMap<u64, RuleMemory>,
    /// How many whole runs there were.
    #[serde(default)]
    pub(super) runs: u64,
    /// Since when the backend denies us, in microseconds; 0: it does not.
    #[serde(default)]
    pub(super) denied_since: u64,
    /// By route: the earlier rules that took paths from the rule when this was kept.
    #[serde(default)]
    ahead: Ahead,
}

/// By route of a rule that copies everything: the earlier rules that can take paths from it, hashed.
pub(super) type Ahead = BTreeMap<u64, Vec<u64>>;

/// What is remembered of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RuleMemory {
    /// When the last whole run began, in microseconds.
    pub(super) whole: u64,
    /// Paths that could not be copied in it: a missing copy of any other means a missing secret, also after a restart.
    pub(super) uncopied: Vec<String>,
    /// Whether those are all.
    pub(super) is_whole: bool,
    /// Remote folders with copies whose lists came back empty in it.
    pub(super) empty: Vec<String>,
}

impl Memory {
    /// Reads what is remembered of a backend. What does not read back is forgotten: the next run starts from nothing.
    pub(super) fn load(records: &Records, id: &str) -> Result<Self, SealError> {
        let document = records.document(DocumentKind::SyncState, id)?;
        Ok(document.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn rule(&self, route: u64) -> Option<&RuleMemory> {
        self.rules.get(&route)
    }

    /// When the rule's last whole run began.
    pub(super) fn whole_at(&self, route: u64) -> Option<Timestamp> {
        self.rules.get(&route).filter(|rule| rule.whole > 0).map(|rule| Timestamp::from_micros(rule.whole))
    }

    /// Whether a list of the folder came back empty in the rule's last whole run.
    pub(super) fn was_empty(&self, route: u64, folder: &str) -> bool {
        self.rules.get(&route).is_some_and(|rule| rule.empty.iter().any(|known| known == folder))
    }

    pub(super) fn learn(&mut self, route: u64, rule: RuleMemory) {
        self.rules.insert(route, rule);
    }

    /// Forgets rules that are no more.
    pub(super) fn retain(&mut self, is_used: impl Fn(u64) -> bool) {
        self.rules.retain(|route, _| is_used(*route));
        self.ahead.retain(|route, _| is_used(*route));
    }

    /// Routes that lead to more paths than when this was kept.
    pub(super) fn widened(&self, replica: &Replica) -> Vec<u64> {
        widened(&self.ahead, &ahead(replica))
    }
}

/// The earlier rules that can take paths from a replica's.
pub(super) fn ahead(replica: &Replica) -> Ahead {
    let of = |(settings, rule): (&RuleSettings, u32)| {
        let ahead = replica.router.ahead_of(RuleId { backend: replica.index, rule });
        (settings.route, ahead.into_iter().map(hashed).collect())
    };
    let is_whole =
        |(settings, _): &(&RuleSettings, u32)| settings.mode == Mode::Sync && settings.scope == SyncScope::All;
    replica.rules.iter().zip(0_u32..).filter(is_whole).map(of).collect()
}

/// Routes from which an earlier rule took paths before and takes none now: no run of theirs has looked there.
pub(super) fn widened(before: &Ahead, now: &Ahead) -> Vec<u64> {
    let is_widened = |(route, before): &(&u64, &Vec<u64>)| {
        now.get(route).is_some_and(|now| before.iter().any(|earlier| !now.contains(earlier)))
    };
    before.iter().filter(is_widened).map(|(route, _)| *route).collect()
}

fn hashed(text: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The reports of a backend's last runs, newest first.
pub(super) fn reports(records: &Records, id: &BackendId) -> Result<Vec<Report>, SealError> {
    let prefix = format!("{id} ");
    let documents = records.documents(DocumentKind::Run)?;
    let ours = documents.into_iter().filter(|(name, _)| name.starts_with(&prefix));
    let mut reports: Vec<Report> = ours.filter_map(|(_, bytes)| serde_json::from_slice(&bytes).ok()).collect();
    // identifiers begin with their time
    reports.sort_by(|one, other| other.id.cmp(&one.id));
    reports.truncate(MAX_REPORTS);
    Ok(reports)
}

/// Keeps what a run taught: its report, the memory, and without the reports that are too old.
pub(super) async fn keep(
    replica: &Replica,
    memory: &Memory,
    report: Option<&Report>,
    old: &[String],
) -> Result<(), SealError> {
    let document =
        |kind, id: String, content: Option<Vec<u8>>| DocumentChange { kind, id, content: content.map(Zeroizing::new) };
    let (records, id) = (&replica.records, &replica.id);
    let writer = records.writer().await;
    // a rule that is not synced any more may come back without its copies
    let mut memory = memory.clone();
    memory.retain(|route| replica.is_live(route));
    memory.ahead = ahead(replica);
    let json = serde_json::to_vec(&memory).map_err(|_| SealError::Form)?;
    let mut documents = vec![document(DocumentKind::SyncState, id.to_string(), Some(json))];
    if let Some(report) = report {
        let json = serde_json::to_vec(report).map_err(|_| SealError::Form)?;
        documents.push(document(DocumentKind::Run, format!("{id} {}", report.id), Some(json)));
    }
    documents.extend(old.iter().map(|run| document(DocumentKind::Run, format!("{id} {run}"), None)));
    records.commit_all(&writer, Vec::new(), documents).await
}

/// The document that remembers nothing of these routes any more; `None` if it remembers nothing of them now. Meant for
/// who holds the writer.
pub(super) fn without(records: &Records, id: &str, routes: &[u64]) -> Result<Option<DocumentChange>, SealError> {
    let mut memory = Memory::load(records, id)?;
    if !routes.iter().any(|route| memory.rules.contains_key(route)) {
        return Ok(None);
    }
    memory.retain(|route| !routes.contains(&route));
    let json = serde_json::to_vec(&memory).map_err(|_| SealError::Form)?;
    let content = Some(Zeroizing::new(json));
    Ok(Some(DocumentChange { kind: DocumentKind::SyncState, id: id.to_owned(), content }))
}

/// Removes everything remembered of a backend that is gone.
pub(super) async fn forget(records: &Records, id: &BackendId) -> Result<(), SealError> {
    let prefix = format!("{id} ");
    let removed = |kind, id| DocumentChange { kind, id, content: None };
    let mut documents = vec![removed(DocumentKind::SyncState, id.to_string())];
    for (name, _) in records.documents(DocumentKind::Run)? {
        if name.starts_with(&prefix) {
            documents.push(removed(DocumentKind::Run, name));
        }
    }
    let writer = records.writer().await;
    records.commit_all(&writer, Vec::new(), documents).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_leads_to_more_only_where_an_earlier_one_is_gone() {
        let ahead = |rules: &[u64]| Ahead::from([(1, rules.to_vec())]);
        for (before, now, expected) in [
            (ahead(&[]), ahead(&[]), vec![]),
            (ahead(&[5]), ahead(&[5, 6]), vec![]),
            (ahead(&[5, 6]), ahead(&[6]), vec![1]),
            (ahead(&[5]), ahead(&[6]), vec![1]),
            (ahead(&[5]), Ahead::new(), vec![]),
            (Ahead::new(), ahead(&[5]), vec![]),
        ] {
            assert_eq!(widened(&before, &now), expected, "{before:?} {now:?}");
        }
        // what a release kept that did not know of this
        let memory: Memory = serde_json::from_str(r#"{"rules":{},"runs":1,"denied_since":0}"#).unwrap();
        assert_eq!(memory, Memory { runs: 1, ..Memory::default() });
    }

    #[test]
    fn memory_reads_back_and_forgets_rules_that_are_no_more() {
        let mut memory = Memory { runs: 3, ..Memory::default() };
        let rule = RuleMemory {
            whole: 7,
            uncopied: vec!["a/b".to_owned()],
            is_whole: true,
            empty: vec!["kv/data".to_owned()],
        };
        memory.learn(u64::MAX, rule.clone());
        memory.learn(2, RuleMemory::default());
        let json = serde_json::to_vec(&memory).unwrap();
        let mut read: Memory = serde_json::from_slice(&json).unwrap();
        assert_eq!(read, memory);
        assert_eq!(read.whole_at(u64::MAX), Some(Timestamp::from_micros(7)));
        assert_eq!(read.whole_at(2), None, "it never went through");
        assert!(read.was_empty(u64::MAX, "kv/data") && !read.was_empty(2, "kv/data"));
        read.retain(|route| route == 2);
        assert_eq!((read.rule(u64::MAX), read.rule(2)), (None, Some(&RuleMemory::default())));
    }
}
