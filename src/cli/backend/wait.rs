//! Waiting for a sync, with a bar on a terminal.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;

use crate::cli::progress::Bar;
use crate::cli::rest::Rest;

const LOOK: Duration = Duration::from_millis(500);
/// A run that is nowhere for so long has gone with its process.
const LOST: Duration = Duration::from_secs(30);

/// Waits until the run has a report with an end; `at` is the path of its backend.
pub(super) fn for_end(rest: &Rest, at: &str, run: &str) -> Result<Value, String> {
    let bar = Bar::new();
    let mut seen = Instant::now();
    loop {
        if let Some(report) = report(rest, at, run)? {
            seen = Instant::now();
            let ended = report.get("ended_at").and_then(Value::as_str).is_some_and(|at| !at.is_empty());
            if ended {
                bar.finish();
                return Ok(report);
            }
        }
        let status = rest.call("GET", &format!("{at}/status"), &[], None)?;
        let running = status.get("running").filter(|running| !running.is_null());
        if running.is_some() {
            seen = Instant::now();
        }
        let number = |key: &str| running.and_then(|running| running.get(key)).and_then(Value::as_u64);
        bar.draw(number("done").unwrap_or(0), number("total"));
        if seen.elapsed() > LOST {
            bar.finish();
            return Err(format!("{run}: the proxy knows nothing of it any more; was it restarted?"));
        }
        std::thread::sleep(LOOK);
    }
}

/// The run's report; `None` while there is none.
fn report(rest: &Rest, at: &str, run: &str) -> Result<Option<Value>, String> {
    let answer = rest.ask("GET", &format!("{at}/syncs/{run}"), &[], None)?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() => rest.json(&answer.body).map(Some),
        _ => Err(rest.trouble(&answer)),
    }
}
