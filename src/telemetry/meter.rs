//! Metrics. Handles are made once; counting a request is a few atomic additions.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::error::ErrorKind;
use crate::secret::{Operation, WireKind};

const WIRES: [WireKind; 5] = [WireKind::Scaivault, WireKind::Vault, WireKind::Aws, WireKind::Azure, WireKind::Gcp];
const BUCKETS: [f64; 12] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
static METADATA: Metadata<'static> = Metadata::new("scaivault", Level::INFO, None);

/// The registry, and what renders it.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }

    /// Everything counted, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves recorded durations into their buckets; to be called every few seconds.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }

    /// A counter with labels from closed sets.
    pub fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    /// A gauge with labels from closed sets.
    pub fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A histogram of seconds with labels from closed sets.
    pub fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts requests by wire, operation and outcome, and times them by wire.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    requests: [[[OnceLock<Counter>; ErrorKind::ALL.len() + 1]; Operation::ALL.len()]; WIRES.len()],
    seconds: [Histogram; WIRES.len()],
}

impl Meter {
    /// A meter over a registry. Combinations appear when first counted.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let wire = |kind: WireKind| vec![Label::new("wire", kind.as_str())];
        let seconds = WIRES.map(|kind| metrics.histogram("scaivault_request_seconds", wire(kind)));
        let requests = std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())));
        Self(Arc::new(Inner { metrics, requests, seconds }))
    }

    /// Counts one request; `failure` is `None` for a success.
    pub fn count(&self, wire: WireKind, operation: Operation, failure: Option<ErrorKind>, started: Instant) {
        let inner = &*self.0;
        let at = WIRES.iter().position(|known| *known == wire).unwrap_or(0);
        let outcome = failure.map_or(0, |kind| kind as usize + 1);
        if let Some(seconds) = inner.seconds.get(at) {
            seconds.record(started.elapsed().as_secs_f64());
        }
        let row = inner.requests.get(at).and_then(|wire| wire.get(operation as usize));
        let Some(cell) = row.and_then(|row| row.get(outcome)) else { return };
        let register = || {
            let labels = vec![
                Label::new("wire", wire.as_str()),
                Label::new("operation", operation.label()),
                Label::new("outcome", failure.map_or("ok", ErrorKind::label)),
            ];
            inner.metrics.counter("scaivault_requests_total", labels)
        };
        cell.get_or_init(register).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_closed_labels() {
        let metrics = Metrics::new();
        let meter = Meter::new(metrics.clone());
        meter.count(WireKind::Vault, Operation::Read, None, Instant::now());
        meter.count(WireKind::Vault, Operation::Read, Some(ErrorKind::Denied), Instant::now());
        metrics.tidy();
        let text = metrics.render();
        assert!(text.contains(r#"scaivault_requests_total{wire="vault",operation="read",outcome="ok"} 1"#), "{text}");
        assert!(text.contains(r#"outcome="denied"} 1"#), "{text}");
        assert!(text.contains(r#"scaivault_request_seconds_count{wire="vault"} 2"#), "{text}");
    }

    #[test]
    fn every_operation_and_kind_has_its_own_cell() {
        for (index, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, index);
        }
        for (index, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
