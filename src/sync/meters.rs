//! What the engine counts for Prometheus: closed labels only, for each tenant over all of its backends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, Label};

use super::report::{Health, Report, RunOutcome};
use crate::secret::Tenant;
use crate::telemetry::Metrics;

const OUTCOMES: [RunOutcome; 4] =
    [RunOutcome::Completed, RunOutcome::Partial, RunOutcome::Failed, RunOutcome::Cancelled];

/// A counter and what of a report it counts.
type Counted = (Counter, fn(&Report) -> u64);

/// The handles of every tenant that has or had backends.
pub(super) struct Meters {
    metrics: Metrics,
    tenants: Mutex<BTreeMap<Tenant, Arc<TenantMeters>>>,
}

/// One tenant's handles, made once.
pub(super) struct TenantMeters {
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

/// The state of all backends of a tenant together.
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
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, tenants: Mutex::default() }
    }

    /// The handles of a tenant.
    pub(super) fn of(&self, tenant: &Tenant) -> Arc<TenantMeters> {
        let mut tenants = self.lock();
        if let Some(known) = tenants.get(tenant) {
            return known.clone();
        }
        let made = Arc::new(TenantMeters::new(&self.metrics, tenant));
        tenants.insert(tenant.clone(), made.clone());
        made
    }

    /// Shows the state of all backends. A tenant that has none any more has nothing.
    pub(super) fn show(&self, levels: &BTreeMap<Tenant, Levels>) {
        for tenant in levels.keys() {
            self.of(tenant);
        }
        for (tenant, meters) in &*self.lock() {
            meters.show(&levels.get(tenant).copied().unwrap_or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Tenant, Arc<TenantMeters>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantMeters {
    fn new(metrics: &Metrics, tenant: &Tenant) -> Self {
        let own = || vec![Label::new("tenant", tenant.as_str().to_owned())];
        let with = |key: &'static str, value: &'static str| [own(), vec![Label::new(key, value)]].concat();
        let secrets = |result: &'static str, count: fn(&Report) -> u64| {
            (metrics.counter("scaivault_sync_secrets_total", with("result", result)), count)
        };
        Self {
            runs: OUTCOMES
                .map(|outcome| metrics.counter("scaivault_sync_runs_total", with("outcome", outcome.as_str()))),
            refreshes: metrics.counter("scaivault_sync_refreshes_total", own()),
            seconds: metrics.histogram("scaivault_sync_run_seconds", own()),
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
            calls: metrics.counter("scaivault_sync_backend_calls_total", own()),
            bytes: metrics.counter("scaivault_sync_value_bytes_total", own()),
            saved: metrics.counter("scaivault_sync_saved_calls_total", own()),
            backends: Health::ALL
                .map(|health| metrics.gauge("scaivault_sync_backends", with("state", health.as_str()))),
            copies: metrics.gauge("scaivault_sync_copies", own()),
            conflicts: metrics.gauge("scaivault_sync_conflicts", own()),
            staleness: metrics.gauge("scaivault_sync_staleness_seconds", own()),
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

    fn show(&self, levels: &Levels) {
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
    fn runs_and_levels_are_shown_by_closed_labels_for_each_tenant() {
        let metrics = Metrics::new();
        let meters = Meters::new(metrics.clone());
        let [one, two] = ["one", "two"].map(|name| Tenant::parse(name).unwrap());
        meters.of(&one).count(&Report { created: 3, calls: 7, ..Report::default() }, true);
        meters.of(&one).count(&Report { updated: 1, ..Report::default() }, false);
        meters.of(&two).count(&Report { created: 5, ..Report::default() }, true);
        let levels = |copies| Levels { backends: [0, 1, 0, 0, 0, 0], copies, saved: 5, ..Levels::default() };
        meters.show(&BTreeMap::from([(one, levels(3)), (two.clone(), levels(4))]));
        let text = || {
            metrics.tidy();
            metrics.render()
        };
        let told = text();
        for line in [
            r#"scaivault_sync_runs_total{tenant="one",outcome="completed"} 1"#,
            r#"scaivault_sync_refreshes_total{tenant="one"} 1"#,
            r#"scaivault_sync_secrets_total{tenant="one",result="created"} 3"#,
            r#"scaivault_sync_secrets_total{tenant="two",result="created"} 5"#,
            r#"scaivault_sync_backend_calls_total{tenant="one"} 7"#,
            r#"scaivault_sync_backends{tenant="one",state="degraded"} 1"#,
            r#"scaivault_sync_copies{tenant="one"} 3"#,
            r#"scaivault_sync_copies{tenant="two"} 4"#,
            r#"scaivault_sync_saved_calls_total{tenant="two"} 5"#,
        ] {
            assert!(told.contains(line), "{line} in\n{told}");
        }
        meters.show(&BTreeMap::from([(two, levels(4))]));
        let told = text();
        for line in [
            r#"scaivault_sync_copies{tenant="one"} 0"#,
            r#"scaivault_sync_backends{tenant="one",state="degraded"} 0"#,
            r#"scaivault_sync_copies{tenant="two"} 4"#,
        ] {
            assert!(told.contains(line), "{line} in\n{told}");
        }
    }
}
