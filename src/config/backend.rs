//! The `backends` list of a tenant.

use std::time::Duration;

use super::raw::{Block, Item};
use super::rule::{self, BackendRule};
use super::vendor::{self, BackendConfig, BackendType};
use crate::secret::{ConflictOn, ConflictPolicy, History, Mode, OnBackendDelete, RateLimit, SyncScope, WriteMode};

const SYNC_INTERVAL: Duration = Duration::from_secs(15 * 60);
const MAX_VERSIONS: u32 = 10;

/// A backend of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// The key path, as in `tenants.payments.backends[0]`.
    pub key: String,
    /// Its line in the file.
    pub line: Option<u32>,
    /// Its name, unique in the tenant: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// How its paths are served unless a rule says otherwise: [`Mode::Proxy`] or [`Mode::Sync`].
    pub mode: Mode,
    /// How often a sync runs.
    pub sync_interval: Duration,
    /// Which paths a sync pulls.
    pub sync_scope: SyncScope,
    /// Whether and how synced paths are written.
    pub write_mode: WriteMode,
    /// Which versions a sync keeps.
    pub history: History,
    /// How many versions are kept.
    pub max_versions: u32,
    /// What counts as a conflict since the last agreed version.
    pub conflict_on: ConflictOn,
    /// Who wins a conflict.
    pub conflict_policy: ConflictPolicy,
    /// What happens to the copy of a secret the backend deleted.
    pub on_backend_delete: OnBackendDelete,
    /// The age past which a copy is not served; `None` is any age.
    pub max_stale: Option<Duration>,
    /// How long a copy is served after the backend denied us; `None` is not at all.
    pub deny_grace: Option<Duration>,
    /// What a sync may ask of the backend; `None` is the default of the backend's type, [`BackendType::rate_limit`].
    pub rate_limit: Option<RateLimit>,
    /// How it is reached and logged in to.
    pub config: BackendConfig,
    /// Its rules in order; empty only if another backend falls back to it.
    pub path_mapping: Vec<BackendRule>,
    /// Whether the rules came as an object, whose order other tools may have changed: overlapping ones must be refused.
    pub from_object: bool,
}

impl BackendSettings {
    /// A proxied backend without rules and with every default of a configuration file.
    #[must_use]
    pub fn new(name: impl Into<String>, config: BackendConfig) -> Self {
        Self {
            key: "backends[0]".to_owned(),
            line: None,
            name: name.into(),
            mode: Mode::Proxy,
            sync_interval: SYNC_INTERVAL,
            sync_scope: SyncScope::Demand,
            write_mode: WriteMode::Disabled,
            history: History::None,
            max_versions: MAX_VERSIONS,
            conflict_on: ConflictOn::Both,
            conflict_policy: ConflictPolicy::BackendWins,
            on_backend_delete: OnBackendDelete::Delete,
            max_stale: None,
            deny_grace: None,
            rate_limit: None,
            config,
            path_mapping: Vec::new(),
            from_object: false,
        }
    }

    /// How paths of `rule` are served.
    #[must_use]
    pub fn mode_of(&self, rule: &BackendRule) -> Mode {
        rule.mode.unwrap_or(self.mode)
    }
}

const CONFLICTS: [(&str, ConflictOn); 2] = [("both", ConflictOn::Both), ("any", ConflictOn::Any)];
const CONFLICT_POLICIES: [(&str, ConflictPolicy); 3] = [
    ("backend_wins", ConflictPolicy::BackendWins),
    ("local_wins", ConflictPolicy::LocalWins),
    ("manual", ConflictPolicy::Manual),
];
const DELETIONS: [(&str, OnBackendDelete); 2] = [("delete", OnBackendDelete::Delete), ("keep", OnBackendDelete::Keep)];

/// Reads one of `backends`. `durable` is whether the store outlives the process, which decides what a sync pulls.
pub(super) fn compile(item: &Item<'_>, durable: bool) -> Option<BackendSettings> {
    item.block(|block| {
        let name = block.required("name").and_then(|item| item.parse(name));
        let backend = block.required("type").and_then(|item| item.word(&vendor::TYPES));
        let config = config(block, backend);
        let mode = block.word("mode", &rule::MODES).unwrap_or(Mode::Proxy);
        let write_mode = block.word("write_mode", &rule::WRITE_MODES).unwrap_or(WriteMode::Disabled);
        let mapping = block.optional("path_mapping").map(|item| rule::compile(&item));
        let (path_mapping, from_object) = mapping.unwrap_or_default();
        report_contradictions(block, backend, mode, write_mode, &path_mapping);
        let is_synced = |rule: &BackendRule| rule.mode.unwrap_or(mode) == Mode::Sync;
        if config.as_ref().is_some_and(|config| config.audit_device().is_some()) && !path_mapping.iter().any(is_synced)
        {
            let key = format!("{}.audit_device", block.key_of("config"));
            let message = "needs mode: sync, of the backend or of a rule: there is no copy to refresh";
            block.scope().refuse(&key, Some(block.line()), message);
        }
        let scope = if durable { SyncScope::All } else { SyncScope::Demand };
        Some(BackendSettings {
            key: item.key().to_owned(),
            line: Some(item.line()),
            mode,
            sync_interval: block.duration("sync_interval").unwrap_or(SYNC_INTERVAL),
            sync_scope: block.word("sync_scope", &rule::SYNC_SCOPES).unwrap_or(scope),
            write_mode,
            history: block.word("history", &rule::HISTORIES).unwrap_or(History::None),
            max_versions: block.count("max_versions", MAX_VERSIONS),
            conflict_on: block.word("conflict_on", &CONFLICTS).unwrap_or(ConflictOn::Both),
            conflict_policy: block.word("conflict_policy", &CONFLICT_POLICIES).unwrap_or(ConflictPolicy::BackendWins),
            on_backend_delete: block.word("on_backend_delete", &DELETIONS).unwrap_or(OnBackendDelete::Delete),
            max_stale: block.duration("max_stale"),
            deny_grace: block.duration("deny_grace"),
            rate_limit: block.optional("rate_limit").and_then(|item| item.block(rate_limit)),
            path_mapping,
            from_object,
            // Last, so that a missing one does not hide what is wrong above.
            name: name?,
            config: config?,
        })
    })
}

fn name(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 64 characters of A-Z a-z 0-9 . _ -") }
}

fn config(block: &mut Block<'_>, backend: Option<BackendType>) -> Option<BackendConfig> {
    match backend {
        Some(backend) => vendor::compile(&block.required("config")?, backend),
        None => {
            block.skip(&["config"]);
            None
        }
    }
}

fn rate_limit(block: &mut Block<'_>) -> Option<RateLimit> {
    let per_second = block.required("per_second").and_then(|item| item.count());
    let burst = block.required("burst").and_then(|item| item.count());
    Some(RateLimit { per_second: per_second?, burst: burst? })
}

fn report_contradictions(
    block: &Block<'_>,
    backend: Option<BackendType>,
    mode: Mode,
    write_mode: WriteMode,
    rules: &[BackendRule],
) {
    let is_synced = |rule: &BackendRule| rule.mode.unwrap_or(mode) == Mode::Sync;
    let scope = block.scope();
    if write_mode != WriteMode::Disabled && mode != Mode::Sync && !rules.iter().any(is_synced) {
        scope.refuse(&block.key_of("write_mode"), Some(block.line()), "needs mode: sync; proxied paths are read-only");
    }
    for rule in rules {
        if rule.write_mode.is_some_and(|mode| mode != WriteMode::Disabled) && !is_synced(rule) {
            scope.refuse(
                &format!("{}.write_mode", rule.key),
                rule.line,
                "needs mode: sync; proxied paths are read-only",
            );
        }
        if rule.kv_version.is_some() && backend.is_some_and(|backend| backend != BackendType::HashicorpVault) {
            scope.refuse(&format!("{}.kv_version", rule.key), rule.line, "is for hashicorp-vault backends only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::harness::{accepted, backend, refuses, with};

    const RULE: &str = "path_mapping: [{from: a, to: b}]";

    #[test]
    fn every_key_of_a_backend_is_read() {
        let keys = "mode: sync, sync_interval: 1m, sync_scope: all, write_mode: write_through, history: all, \
                    max_versions: 3, conflict_on: any, conflict_policy: manual, on_backend_delete: keep, \
                    max_stale: 24h, deny_grace: 1h, rate_limit: {per_second: 5, burst: 9}";
        let settings = accepted(&backend(&format!("{keys}, {RULE}"))).tenants.remove(0).backends.remove(0);
        assert_eq!((settings.mode, settings.sync_scope), (Mode::Sync, SyncScope::All));
        assert_eq!((settings.write_mode, settings.history), (WriteMode::WriteThrough, History::All));
        assert_eq!((settings.conflict_on, settings.conflict_policy), (ConflictOn::Any, ConflictPolicy::Manual));
        assert_eq!((settings.on_backend_delete, settings.max_versions), (OnBackendDelete::Keep, 3));
        assert_eq!(settings.max_stale, Some(Duration::from_secs(86_400)));
        assert_eq!(settings.rate_limit, Some(RateLimit { per_second: 5, burst: 9 }));
        assert_eq!(settings.mode_of(&settings.path_mapping[0]), Mode::Sync);
    }

    #[test]
    fn defaults_are_those_of_the_constructor() {
        let read = accepted(&backend(RULE)).tenants.remove(0).backends.remove(0);
        let mut made = BackendSettings::new("v", read.config.clone());
        made.path_mapping.clone_from(&read.path_mapping);
        made.line = read.line;
        assert_eq!(read, made);
    }

    #[test]
    fn contradictions_and_wrong_words_are_refused() {
        for (keys, key, part) in [
            ("mode: local", ".mode", "expected one of: proxy, sync"),
            ("sync_interval: often", ".sync_interval", "expected a duration"),
            ("write_mode: local", ".write_mode", "needs mode: sync"),
            ("rate_limit: {per_second: 5}", ".rate_limit.burst", "is required"),
            ("max_versions: 0", ".max_versions", "above zero"),
        ] {
            refuses(&backend(&format!("{keys}, {RULE}")), &format!("backends[0]{key}"), part);
        }
        let rule = "mode: sync, path_mapping: [{from: a, to: b, mode: proxy, write_mode: local}]";
        refuses(&backend(rule), "backends[0].path_mapping[0].write_mode", "needs mode: sync");
        let inherited = "mode: sync, write_mode: write_through, path_mapping: [{from: a, to: b, mode: proxy}]";
        accepted(&backend(inherited));
        let aws = "backends: [{name: a, type: aws-secrets-manager, config: {region: eu-west-1}, \
                   path_mapping: [{from: a, to: b, kv_version: 2}]}]";
        refuses(&with(aws), "backends[0].path_mapping[0].kv_version", "hashicorp-vault backends only");
        let name =
            "backends: [{name: a/b, type: aws-secrets-manager, config: {region: eu-west-1}, path_mapping: {a: b}}]";
        refuses(&with(name), "backends[0].name", "expected 1 to 64 characters");
    }
}
