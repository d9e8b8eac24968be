//! What the engine counts for Prometheus: closed labels only, over all tenants and backends.

use metrics::{Counter, Gauge, Histogram, Label};

use super::report::{Health, Report, RunOutcome};
use crate::telemetry::Metrics;

const OUTCOMES: [RunOutcome; 4] =
    [RunOutcome::Completed, RunOutcome::Partial, RunOutcome::Failed, RunOutcome::Cancelled];

/// A counter and what of a report it counts.
type Counted = (Counter, fn(&Report) -> u64);

/// Handles, made once.
pub(super) struct Meters {
    runs: [Counter; OUTCOMES.len()],
    refreshes: Counter,
    seconds: Histogram,
    secrets: [Counted; 8],
    calls: Counter,
    bytes: Counter,
    saved: Counter,
    backends: [Gauge; Health::ALL.len()],
    copies: Gauge,
    conflicts: Gauge,
    staleness: Gauge,
}

/// The state of all backends together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Levels {
    /// By [`Health::ALL`].
    pub(super) backends: [u32; Health::ALL.len()],
    pub(super) copies: u64,
    pub(super) conflicts: u64,
    /// The stalest backend's.
    pub(super) staleness: u64,
    pub(super) saved: u64,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let secrets = |result: &'static str, count: fn(&Report) -> u64| {
            (metrics.counter("scaivault_sync_secrets_total", vec![Label::new("result", result)]), count)
        };
        Self {
            runs: OUTCOMES.map(|outcome| {
                metrics.counter("scaivault_sync_runs_total", vec![Label::new("outcome", outcome.as_str())])
            }),
            refreshes: metrics.counter("scaivault_sync_refreshes_total", Vec::new()),
            seconds: metrics.histogram("scaivault_sync_run_seconds", Vec::new()),
            secrets: [
                secrets("created", |report| report.created),
                secrets("updated", |report| report.updated),
                secrets("unchanged", |report| report.unchanged),
                secrets("deleted", |report| report.deleted),
                secrets("pushed", |report| report.pushed),
                secrets("skipped", |report| report.skipped_count),
                secrets("conflict", |report| report.conflicts),
                secrets("failed", |report| report.error_count),
            ],
            calls: metrics.counter("scaivault_sync_backend_calls_total", Vec::new()),
            bytes: metrics.counter("scaivault_sync_value_bytes_total", Vec::new()),
            saved: metrics.counter("scaivault_sync_saved_calls_total", Vec::new()),
            backends: Health::ALL
                .map(|health| metrics.gauge("scaivault_sync_backends", vec![Label::new("state", health.as_str())])),
            copies: metrics.gauge("scaivault_sync_copies", Vec::new()),
            conflicts: metrics.gauge("scaivault_sync_conflicts", Vec::new()),
            staleness: metrics.gauge("scaivault_sync_staleness_seconds", Vec::new()),
        }
    }

    /// Counts one run; `is_full` is false for a refresh of named paths.
    pub(super) fn count(&self, report: &Report, is_full: bool) {
        if is_full {
            let outcome = OUTCOMES.iter().position(|outcome| *outcome == report.outcome);
            if let Some(runs) = outcome.and_then(|outcome| self.runs.get(outcome)) {
                runs.increment(1);
            }
            self.seconds.record(std::time::Duration::from_millis(report.duration_ms).as_secs_f64());
        } else {
            self.refreshes.increment(1);
        }
        for (counter, count) in &self.secrets {
            counter.increment(count(report));
        }
        self.calls.increment(report.calls);
        self.bytes.increment(report.bytes);
    }

    /// Shows the state of all backends.
    pub(super) fn show(&self, levels: &Levels) {
        for (gauge, count) in self.backends.iter().zip(levels.backends) {
            gauge.set(f64::from(count));
        }
        self.copies.set(approximate(levels.copies));
        self.conflicts.set(approximate(levels.conflicts));
        self.staleness.set(approximate(levels.staleness));
        self.saved.increment(levels.saved);
    }
}

/// Gauges are floating; counts are far below where that matters.
fn approximate(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_levels_are_shown_by_closed_labels() {
        let metrics = Metrics::new();
        let meters = Meters::new(&metrics);
        meters.count(&Report { created: 3, calls: 7, ..Report::default() }, true);
        meters.count(&Report { updated: 1, ..Report::default() }, false);
        meters.show(&Levels { backends: [0, 1, 0, 0, 0, 0], copies: 3, saved: 5, ..Levels::default() });
        metrics.tidy();
        let text = metrics.render();
        for line in [
            r#"scaivault_sync_runs_total{outcome="completed"} 1"#,
            "scaivault_sync_refreshes_total 1",
            r#"scaivault_sync_secrets_total{result="created"} 3"#,
            "scaivault_sync_backend_calls_total 7",
            r#"scaivault_sync_backends{state="degraded"} 1"#,
            "scaivault_sync_copies 3",
            "scaivault_sync_saved_calls_total 5",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
