//! A backend whose every answer holds a canary, also where it has no business.

use super::REMOTE;
use crate::stub::{Seen, Stub, kv2_body};

pub(super) fn start() -> Stub {
    Stub::start(|seen: &Seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let errors = format!(r#"{{"errors":["{REMOTE}"],"data":{{"data":{{"password":"{REMOTE}"}}}}}}"#);
        match last {
            "one" => (200, kv2_body(&format!(r#"{{"password":"{REMOTE}"}}"#))),
            "status-400" => (400, errors),
            "status-403" => (403, errors),
            "status-404" => (404, errors),
            "status-429" => (429, errors),
            "status-500" => (500, errors),
            "status-307" => (307, errors),
            "html" => (200, format!("<html>{REMOTE}</html>")),
            "cut" => (200, format!(r#"{{"data":{{"data":{{"password":"{REMOTE}"#)),
            "types" => {
                (200, format!(r#"{{"data":{{"data":{{"a":"{REMOTE}"}},"metadata":{{"version":"{REMOTE}"}}}}}}"#))
            }
            "times" => (200, kv2_body("{}").replace("2026-11-23T10:00:00.000000Z", REMOTE)),
            "leased" => (200, format!(r#"{{"lease_id":"db/creds/{REMOTE}","data":{{"password":"{REMOTE}"}}}}"#)),
            _ => (404, r#"{"errors":[]}"#.to_owned()),
        }
    })
}

/// The last segment of everything it answers with trouble. Those that keep it from being asked again for a while are last.
pub(super) const TROUBLES: [&str; 11] = [
    "html",
    "cut",
    "types",
    "times",
    "leased",
    "status-400",
    "status-403",
    "status-404",
    "status-307",
    "status-500",
    "status-429",
];
