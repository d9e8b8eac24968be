//! Answers about backends, as people read them.

use serde_json::Value;

use crate::cli::stdout::say;
use crate::cli::table::{cell, fields, print};

fn items<'v>(answer: &'v Value, key: &str) -> &'v [Value] {
    answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A table of some keys of each item.
fn rows(items: &[Value], keys: &[&str]) -> Vec<Vec<String>> {
    items.iter().map(|item| keys.iter().map(|key| cell(item.get(key))).collect()).collect()
}

fn count(answer: &Value, key: &str) -> u64 {
    answer.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn list(answer: &Value) {
    let keys = ["name", "id", "type", "mode", "source", "unsupported"];
    print(&["NAME", "ID", "TYPE", "MODE", "SOURCE", "UNSUPPORTED"], &rows(items(answer, "backends"), &keys));
}

pub(super) fn backend(answer: &Value) {
    let names = [
        "id",
        "name",
        "type",
        "source",
        "config_key",
        "unsupported",
        "mode",
        "sync_interval",
        "sync_scope",
        "write_mode",
        "history",
        "max_versions",
        "conflict_on",
        "conflict_policy",
        "on_backend_delete",
        "max_stale",
        "deny_grace",
        "rate_limit",
    ];
    fields(answer, &names);
    for (key, value) in answer.get("config").and_then(Value::as_object).into_iter().flatten() {
        say!("config.{key}  {}", cell(Some(value)));
    }
    say!("");
    print(&["FROM", "TO", "MODE"], &rows(items(answer, "path_mapping"), &["from", "to", "mode"]));
}

pub(super) fn check(answer: &Value) {
    fields(answer, &["ok", "reachable", "latency_ms", "unsupported"]);
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        say!("error  {}: {}", cell(error.get("kind")), cell(error.get("message")));
    }
    let may = |rule: &Value, what: &str| {
        let permitted = rule.get("permissions").and_then(|all| all.get(what)).and_then(Value::as_bool);
        permitted.map_or("?", |may| if may { "yes" } else { "no" }).to_owned()
    };
    let line = |rule: &Value| {
        let error = rule.get("error").and_then(|error| error.get("message"));
        vec![
            cell(rule.get("from")),
            cell(rule.get("to")),
            may(rule, "read"),
            may(rule, "list"),
            may(rule, "write"),
            cell(error),
        ]
    };
    let lines: Vec<Vec<String>> = items(answer, "rules").iter().map(line).collect();
    if !lines.is_empty() {
        say!("");
        print(&["FROM", "TO", "READ", "LIST", "WRITE", "ERROR"], &lines);
    }
}

pub(super) fn status(answer: &Value) {
    let names = [
        "state",
        "reason",
        "last_sync_at",
        "next_sync_at",
        "secrets_synced",
        "staleness_seconds",
        "connection_latency_ms",
        "consecutive_failures",
        "conflicts",
        "skipped",
    ];
    fields(answer, &names);
    if let Some(running) = answer.get("running").filter(|running| !running.is_null()) {
        say!("running  {} {}/{}", cell(running.get("run")), cell(running.get("done")), cell(running.get("total")));
    }
}

pub(super) fn syncs(answer: &Value) {
    let keys = [
        "id",
        "started_at",
        "outcome",
        "read",
        "created",
        "updated",
        "deleted",
        "pushed",
        "skipped_count",
        "error_count",
    ];
    let headings =
        ["RUN", "STARTED", "OUTCOME", "READ", "CREATED", "UPDATED", "DELETED", "PUSHED", "SKIPPED", "ERRORS"];
    print(&headings, &rows(items(answer, "syncs"), &keys));
}

pub(super) fn report(answer: &Value) {
    let names = [
        "id",
        "scope",
        "started_at",
        "ended_at",
        "outcome",
        "found",
        "read",
        "created",
        "updated",
        "unchanged",
        "deleted",
        "pushed",
        "skipped_count",
        "outside",
        "conflicts",
        "error_count",
        "calls",
        "bytes",
        "duration_ms",
    ];
    fields(answer, &names);
    for note in items(answer, "notes") {
        say!("note  {}", cell(Some(note)));
    }
    for (list, total, headings, keys) in [
        ("skipped", "skipped_count", ["SKIPPED", "REASON"], ["remote", "reason"]),
        ("errors", "error_count", ["FAILED", "ERROR"], ["remote", "error"]),
    ] {
        let shown = items(answer, list);
        if shown.is_empty() {
            continue;
        }
        say!("");
        print(&headings, &rows(shown, &keys));
        let left = count(answer, total).saturating_sub(u64::try_from(shown.len()).unwrap_or(0));
        if left > 0 {
            say!("… and {left} more");
        }
    }
}

pub(super) fn conflicts(answer: &Value) {
    let keys = ["path", "remote", "since", "local_version", "remote_version", "agreed_version"];
    print(&["PATH", "REMOTE", "SINCE", "LOCAL", "BACKEND", "AGREED"], &rows(items(answer, "conflicts"), &keys));
}

pub(super) fn quarantine(answer: &Value) {
    let keys = ["path", "remote", "ahead", "conflicted", "agreed_at"];
    print(&["PATH", "REMOTE", "AHEAD", "CONFLICT", "AGREED"], &rows(items(answer, "copies"), &keys));
}

pub(super) fn adopted(answer: &Value) {
    say!("{} adopted", count(answer, "adopted"));
    let left = items(answer, "left");
    if !left.is_empty() {
        print(&["LEFT", "REASON"], &rows(left, &["path", "reason"]));
    }
}

/// A line a field, in the order of the answer.
pub(super) fn counts(answer: &Value) {
    for (key, value) in answer.as_object().into_iter().flatten() {
        say!("{key}  {}", cell(Some(value)));
    }
}
