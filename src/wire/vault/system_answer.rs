//! Answers to `sys/*`, from the listener's facts alone.

use serde_json::{Map, Value, json};

use super::encode::ok;
use super::schema::Envelope;
use crate::wire::{Mount, MountKind, Reveal, SystemRequest, WireResponse};

/// The API level announced: clients compare it with what they need.
const VERSION: &str = concat!("1.18.0+scaivault-proxy.", env!("CARGO_PKG_VERSION"));
const CLUSTER: &str = "scaivault-proxy";

pub(super) fn render(request: &SystemRequest, reveal: Reveal<'_>) -> WireResponse {
    let id = reveal.request_uuid;
    match request {
        SystemRequest::Health => ok(&json!({
            "initialized": true, "sealed": false, "standby": false, "performance_standby": false,
            "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
            "server_time_utc": reveal.now_secs, "version": VERSION, "cluster_name": CLUSTER, "cluster_id": "",
        })),
        // asked for over another wire only
        SystemRequest::RandomPassword(_) => ok(&json!({})),
        SystemRequest::Init => ok(&json!({"initialized": true})),
        SystemRequest::SealStatus => ok(&json!({
            "type": "shamir", "initialized": true, "sealed": false, "t": 1, "n": 1, "progress": 0, "nonce": "",
            "version": VERSION, "build_date": "", "migration": false, "cluster_name": CLUSTER, "cluster_id": "",
            "recovery_seal": false, "storage_type": CLUSTER,
        })),
        SystemRequest::Leader => ok(&json!({
            "ha_enabled": false, "is_self": false, "active_time": "0001-01-01T00:00:00Z", "leader_address": "",
            "leader_cluster_address": "", "performance_standby": false, "performance_standby_last_remote_wal": 0,
        })),
        SystemRequest::Mounts => mounts(reveal),
        SystemRequest::UiMounts => {
            let secret: Map<String, Value> =
                reveal.facts.mounts.iter().map(|mount| (format!("{}/", mount.path), describe(mount))).collect();
            ok(&Envelope::new(id, json!({"auth": {"token/": {"type": "token"}}, "secret": secret}), ()))
        }
        SystemRequest::UiMount(path) => match reveal.facts.mounts.iter().find(|mount| mount.path == *path) {
            Some(mount) => {
                let mut data = describe(mount);
                if let Some(fields) = data.as_object_mut() {
                    fields.insert("path".to_owned(), json!(format!("{path}/")));
                }
                ok(&Envelope::new(id, data, ()))
            }
            None => super::fault::render(crate::wire::Fault::of(crate::error::ErrorKind::Denied), reveal),
        },
        SystemRequest::MountConfig => {
            let data =
                json!({"cas_required": false, "delete_version_after": "0s", "max_versions": reveal.facts.max_versions});
            ok(&Envelope::new(id, data, ()))
        }
        SystemRequest::Capabilities(_) => capabilities(&[], reveal),
        // asked for over our own wire only
        SystemRequest::OpenApi => {
            super::fault::render(crate::wire::Fault::of(crate::error::ErrorKind::NotFound), reveal)
        }
    }
}

/// A real server repeats the mounts at the top level and under `data`.
fn mounts(reveal: Reveal<'_>) -> WireResponse {
    let mut all = Map::new();
    for mount in &reveal.facts.mounts {
        all.insert(format!("{}/", mount.path), describe(mount));
    }
    ok(&repeated(all, reveal))
}

/// An envelope whose data also stands at its top level.
fn repeated(data: Map<String, Value>, reveal: Reveal<'_>) -> Value {
    let mut body = data.clone();
    body.insert("request_id".to_owned(), json!(reveal.request_uuid));
    body.insert("lease_id".to_owned(), json!(""));
    body.insert("renewable".to_owned(), json!(false));
    body.insert("lease_duration".to_owned(), json!(0));
    body.insert("data".to_owned(), Value::Object(data));
    for absent in ["wrap_info", "warnings", "auth"] {
        body.insert(absent.to_owned(), Value::Null);
    }
    Value::Object(body)
}

fn describe(mount: &Mount) -> Value {
    let (kind, options) = match mount.kind {
        MountKind::Kv1 => ("kv", json!({"version": "1"})),
        MountKind::Kv2 => ("kv", json!({"version": "2"})),
        MountKind::Logical => (mount.path.rsplit('/').next().unwrap_or_default(), Value::Null),
    };
    json!({
        "accessor": "", "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false},
        "description": "served by scaivault-proxy", "external_entropy_access": false, "local": false,
        "options": options, "plugin_version": "", "running_plugin_version": "", "running_sha256": "",
        "seal_wrap": false, "type": kind, "uuid": "",
    })
}

/// By path, and for a single path also under `capabilities`, at the top level and under `data`.
pub(super) fn capabilities(paths: &[(String, Vec<&'static str>)], reveal: Reveal<'_>) -> WireResponse {
    let mut data = Map::new();
    for (path, allowed) in paths {
        data.insert(path.clone(), json!(allowed));
    }
    if let [(_, allowed)] = paths {
        data.insert("capabilities".to_owned(), json!(allowed));
    }
    ok(&repeated(data, reveal))
}
