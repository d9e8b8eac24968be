//! Asking a backend how it is: whether it answers, lets us in, and what it lets us do.

use std::time::Instant;

use serde_json::{Value, json};

use super::view::BackendView;
use crate::backend::{Ask, BackendError};
use crate::error::ErrorKind;
use crate::pipeline::{BackendState, TenantState};
use crate::secret::{Dialect, RemoteName};

/// Rules asked about in one check.
const MAX_RULES: usize = 100;

/// Connects, logs in, and asks for our rights by rule.
pub(super) async fn check(tenant: &TenantState, view: &BackendView, request_id: &str) -> Value {
    let Some(backend) = client(tenant, view) else { return unchecked(view) };
    let started = Instant::now();
    if let Err(error) = backend.client.check().await {
        return json!({
            "ok": false, "reachable": false, "latency_ms": null, "unsupported": null, "error": told(&error), "rules": [],
        });
    }
    let latency = millis(started);
    let mut rules = Vec::new();
    let mut is_good = true;
    for (at, (from, to)) in view.rules().take(MAX_RULES).enumerate() {
        let kv2_segment = backend.kv2_segments.get(at).copied().flatten();
        let (permissions, error) = match remote(to, kv2_segment) {
            None => (Value::Null, Value::Null),
            Some(remote) => {
                let ask = Ask { remote: &remote, kv2_segment, dialect: Dialect::Neutral, request_id, principal: None };
                match backend.client.probe(ask).await {
                    Ok(rights) => {
                        is_good &= rights.iter().any(|(right, may)| *right == "read" && *may);
                        (
                            rights.into_iter().map(|(right, may)| (right.to_owned(), Value::from(may))).collect(),
                            Value::Null,
                        )
                    }
                    Err(BackendError::Unsupported) => (Value::Null, Value::Null),
                    Err(error) => {
                        is_good = false;
                        (Value::Null, told(&error))
                    }
                }
            }
        };
        rules.push(json!({"from": from, "to": to, "permissions": permissions, "error": error}));
    }
    json!({
        "ok": is_good, "reachable": true, "latency_ms": latency, "unsupported": null, "error": null, "rules": rules,
    })
}

/// The status of a backend nothing of which is synced: what it says now.
pub(super) async fn status(tenant: &TenantState, view: &BackendView) -> Value {
    let (state, latency, reason) = match client(tenant, view) {
        None => ("unsupported", None, view.unsupported.as_deref().map(str::to_owned)),
        Some(backend) => {
            let started = Instant::now();
            match backend.client.check().await {
                Ok(()) => ("healthy", Some(millis(started)), None),
                Err(error) => (state(&error), None, Some(error.to_string())),
            }
        }
    };
    json!({
        "state": state, "reason": reason, "last_sync_at": null, "next_sync_at": null, "last_sync": null,
        "secrets_synced": 0, "connection_latency_ms": latency,
        "consecutive_failures": u8::from(matches!(state, "unreachable" | "denied" | "degraded")),
        "conflicts": 0, "skipped": 0, "staleness_seconds": null, "running": null,
    })
}

fn state(error: &BackendError) -> &'static str {
    match error.kind() {
        _ if error.is_refusal() => "denied",
        ErrorKind::UpstreamUnavailable | ErrorKind::Timeout => "unreachable",
        ErrorKind::UpstreamRejected => "denied",
        _ => "degraded",
    }
}

fn client<'t>(tenant: &'t TenantState, view: &BackendView) -> Option<&'t BackendState> {
    let index = view.index.filter(|_| view.unsupported.is_none())?;
    tenant.backends.get(usize::try_from(index).ok()?)
}

fn unchecked(view: &BackendView) -> Value {
    let reason = view.unsupported.as_deref().unwrap_or("no rule of it is served");
    json!({
        "ok": false, "reachable": false, "latency_ms": null, "unsupported": reason, "error": null, "rules": [],
    })
}

/// Our own words for a backend's trouble.
fn told(error: &BackendError) -> Value {
    json!({"kind": error.kind().label(), "message": error.to_string()})
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What is asked about for a rule: the name it leads to, or the folder its literals spell out, with a slash. `None` if
/// that does not reach the segment by which the backend is called.
fn remote(to: &str, kv2_segment: Option<usize>) -> Option<RemoteName> {
    if !to.contains('*') {
        return RemoteName::parse(to);
    }
    let literal: Vec<&str> = to.split('/').take_while(|segment| !segment.contains('*')).collect();
    let reaches = kv2_segment.is_none_or(|segment| segment < literal.len());
    let folder = literal.join("/");
    if folder.is_empty() || !reaches { None } else { RemoteName::parse(&format!("{folder}/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_asked_about_where_its_literals_end() {
        let asked = |to: &str, kv2| remote(to, kv2).map(|remote| remote.as_str().to_owned());
        for (to, kv2, expected) in [
            ("secret/data/**", Some(1), Some("secret/data/")),
            ("secret/data/apps/*/db", Some(1), Some("secret/data/apps/")),
            ("secret/data/app", Some(1), Some("secret/data/app")),
            ("kv/**", None, Some("kv/")),
            ("**", None, None),
            ("*/data/**", Some(1), None),
            ("prod-*", None, None),
        ] {
            assert_eq!(asked(to, kv2).as_deref(), expected, "{to}");
        }
    }

    #[test]
    fn troubles_become_states() {
        for (error, expected) in [
            (BackendError::Unavailable("no connection"), "unreachable"),
            (BackendError::Timeout, "unreachable"),
            (BackendError::Denied, "denied"),
            (BackendError::REFUSED_LOGIN, "denied"),
            (BackendError::Login("the stored credential does not exist"), "unreachable"),
            (BackendError::RateLimited(None), "degraded"),
        ] {
            assert_eq!(state(&error), expected);
            assert_eq!(told(&error)["kind"], error.kind().label());
        }
    }
}
