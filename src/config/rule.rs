//! A backend's `path_mapping`: secret paths to remote names, with what may differ from rule to rule.

use std::time::Duration;

use super::raw::{Block, Item};
use crate::secret::{History, Mode, SyncScope, WriteMode};

/// A rule of a backend. The templates are not compiled yet; what is `None` is inherited from the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendRule {
    /// The template of secret paths.
    pub from: String,
    /// The template of remote names.
    pub to: String,
    /// How paths of the rule are served: [`Mode::Proxy`] or [`Mode::Sync`].
    pub mode: Option<Mode>,
    /// How often they are synced.
    pub sync_interval: Option<Duration>,
    /// Which of them are synced.
    pub sync_scope: Option<SyncScope>,
    /// Whether and how they are written.
    pub write_mode: Option<WriteMode>,
    /// Which versions are kept.
    pub history: Option<History>,
    /// How many versions are kept.
    pub max_versions: Option<u32>,
    /// The age past which a copy is not served.
    pub max_stale: Option<Duration>,
    /// The KV version on the Vault side, 1 or 2, where the remote name does not say.
    pub kv_version: Option<u8>,
    /// What joins segments into one.
    pub separator: Option<String>,
    /// Whether foreign characters are escaped.
    pub escape: bool,
    /// Where to go on when the backend cannot be reached, in order.
    pub fallback: Vec<Fallback>,
    /// The key path of the rule.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

impl BackendRule {
    /// Whether the backend named so is among the rule's further targets.
    pub(super) fn falls_back_to(&self, backend: &str) -> bool {
        self.fallback.iter().any(|fallback| fallback.backend == backend)
    }
}

/// Another target of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The name of another backend of the tenant.
    pub backend: String,
    /// The template of remote names there.
    pub to: String,
    /// The key path of the entry.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
}

pub(super) const MODES: [(&str, Mode); 2] = [(Mode::Proxy.as_str(), Mode::Proxy), (Mode::Sync.as_str(), Mode::Sync)];
pub(super) const SYNC_SCOPES: [(&str, SyncScope); 2] = [("all", SyncScope::All), ("demand", SyncScope::Demand)];
pub(super) const WRITE_MODES: [(&str, WriteMode); 3] =
    [("disabled", WriteMode::Disabled), ("write_through", WriteMode::WriteThrough), ("local", WriteMode::Local)];
pub(super) const HISTORIES: [(&str, History); 2] = [("none", History::None), ("all", History::All)];

/// Reads `path_mapping`, a list of rules or an object `FROM: TO`, and whether it was an object.
pub(super) fn compile(item: &Item<'_>) -> (Vec<BackendRule>, bool) {
    if item.is_mapping() {
        let pairs = item.entries().unwrap_or_default();
        return (pairs.iter().filter_map(|(from, to)| pair(from, to)).collect(), true);
    }
    (item.items().unwrap_or_default().iter().filter_map(rule).collect(), false)
}

fn pair(from: &str, to: &Item<'_>) -> Option<BackendRule> {
    if from.is_empty() || from.chars().any(char::is_control) {
        to.refuse("is not a template: it is empty or holds a control character");
    }
    let (key, line) = (to.key().to_owned(), Some(to.line()));
    Some(BackendRule { from: from.to_owned(), to: to.string()?, key, line, ..BackendRule::default() })
}

fn rule(item: &Item<'_>) -> Option<BackendRule> {
    item.block(|block| {
        let from = block.required("from").and_then(|item| item.string());
        let to = block.required("to").and_then(|item| item.string());
        let rule = BackendRule {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            mode: block.word("mode", &MODES),
            sync_interval: block.duration("sync_interval"),
            sync_scope: block.word("sync_scope", &SYNC_SCOPES),
            write_mode: block.word("write_mode", &WRITE_MODES),
            history: block.word("history", &HISTORIES),
            max_versions: block.optional("max_versions").and_then(|item| item.count()),
            max_stale: block.duration("max_stale"),
            kv_version: kv_version(block),
            separator: block.string("separator"),
            escape: block.flag("escape", false),
            fallback: block.some("fallback", fallback),
            key: item.key().to_owned(),
            line: Some(item.line()),
        };
        Some(rule)
    })
}

fn kv_version(block: &mut Block<'_>) -> Option<u8> {
    let item = block.optional("kv_version")?;
    let version = item.count::<u8>()?;
    if matches!(version, 1 | 2) {
        return Some(version);
    }
    item.refuse("expected 1 or 2");
    None
}

fn fallback(item: &Item<'_>) -> Option<Fallback> {
    item.block(|block| {
        let backend = block.required("backend").and_then(|item| item.string());
        let to = block.required("to").and_then(|item| item.string());
        Some(Fallback { backend: backend?, to: to?, key: item.key().to_owned(), line: Some(item.line()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, backend, refuses};

    fn rules(mapping: &str) -> (Vec<BackendRule>, bool) {
        let text = backend(&format!("mode: sync, path_mapping: {mapping}"));
        let backend = accepted(&text).tenants.remove(0).backends.remove(0);
        (backend.path_mapping, backend.from_object)
    }

    #[test]
    fn every_key_of_a_rule_is_read() {
        let (rules, from_object) = rules(
            "[{from: 'a/**', to: 'b/**', mode: sync, sync_interval: 1m, sync_scope: demand, write_mode: local, \
             history: none, max_versions: 2, max_stale: 1h, kv_version: 1, separator: '--', escape: true}]",
        );
        assert!(!from_object);
        let rule = BackendRule {
            from: "a/**".to_owned(),
            to: "b/**".to_owned(),
            mode: Some(Mode::Sync),
            sync_interval: Some(Duration::from_secs(60)),
            sync_scope: Some(SyncScope::Demand),
            write_mode: Some(WriteMode::Local),
            history: Some(History::None),
            max_versions: Some(2),
            max_stale: Some(Duration::from_secs(3_600)),
            kv_version: Some(1),
            separator: Some("--".to_owned()),
            escape: true,
            fallback: Vec::new(),
            key: "backends[0].path_mapping[0]".to_owned(),
            line: rules[0].line,
        };
        assert_eq!(rules, [rule]);
        assert!(rules[0].line.is_some());
    }

    #[test]
    fn an_object_keeps_its_order_and_says_that_it_was_one() {
        let (rules, from_object) = rules("{'z/**': 'one/**', 'a/**': 'two/**', b: three}");
        assert!(from_object);
        let pairs: Vec<_> = rules.iter().map(|rule| (rule.from.as_str(), rule.to.as_str())).collect();
        assert_eq!(pairs, [("z/**", "one/**"), ("a/**", "two/**"), ("b", "three")]);
        assert_eq!(rules[0].key, "backends[0].path_mapping[\"z/**\"]");
        assert_eq!(rules[2].key, "backends[0].path_mapping.b");
    }

    #[test]
    fn o05_rules_are_refused_with_their_key_path() {
        for (mapping, key, part) in [
            ("[{from: a, to: b}, {from: a, to: b}, {from: a}]", "[2].to", "is required"),
            ("[{from: a, to: 5}]", "[0].to", "put it in quotes"),
            ("[{from: a, to: b, kv_version: 3}]", "[0].kv_version", "expected 1 or 2"),
            ("[{from: a, to: b, mode: none}]", "[0].mode", "expected one of: proxy, sync"),
            ("[{from: a, to: b, fallback: []}]", "[0].fallback", "is an empty list"),
            ("[{from: a, to: b, separator: ''}]", "[0].separator", "is empty"),
            ("{a: b, a: c}", ".a", "duplicate key"),
            ("{a: {to: b}}", ".a", "expected a string, found a mapping"),
            ("a", "", "expected a list, found a string"),
        ] {
            let found = crate::config::harness::refused(&backend(&format!("path_mapping: {mapping}")));
            let key = format!("backends[0].path_mapping{key} (line ");
            assert!(found.iter().any(|line| line.starts_with(&key) && line.contains(part)), "{mapping}: {found:#?}");
        }
        refuses(&backend("path_mapping: [{from: a, to: b, too: c}]"), "backends[0].path_mapping[0].too", "unknown key");
    }
}
