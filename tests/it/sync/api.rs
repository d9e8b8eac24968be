//! What the federation API says of one backend.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{ADMIN, Proxy, Response, request, wait_until};

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One backend over the API. Stays valid when the proxy starts again.
pub(super) struct Api {
    address: String,
    path: String,
}

impl Api {
    /// The backend of a name.
    pub(super) fn of(proxy: &Proxy, name: &str) -> Self {
        let listed = proxy.scaivault_call(ADMIN, "GET", "/v1/federation/backends", b"");
        assert_eq!(listed.status, 200, "{}", listed.text());
        let all = listed.json();
        let backend = all["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == name);
        let id = backend.unwrap_or_else(|| panic!("no {name} in {all}"))["id"].as_str().unwrap();
        Self { address: proxy.address("scaivault"), path: format!("/v1/federation/backends/{id}") }
    }

    /// Its id.
    pub(super) fn id(&self) -> Option<&str> {
        self.path.rsplit('/').next()
    }

    /// A call below the backend; a body that is null is not sent.
    pub(super) fn call(&self, method: &str, below: &str, body: &Value) -> Response {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
        request(&self.address, method, &format!("{}{below}", self.path), &headers, &bytes)
    }

    fn document(&self, below: &str) -> Value {
        let response = self.call("GET", below, &Value::Null);
        assert_eq!(response.status, 200, "{below}: {}", response.text());
        response.json()
    }

    pub(super) fn status(&self) -> Value {
        self.document("/status")
    }

    /// The unresolved conflicts.
    pub(super) fn conflicts(&self) -> Vec<Value> {
        self.document("/conflicts")["conflicts"].as_array().unwrap().clone()
    }

    /// Decides a conflict.
    pub(super) fn resolve(&self, path: &str, keep: &str) -> Response {
        self.call("POST", "/conflicts/resolve", &json!({"path": path, "keep": keep}))
    }

    /// The paths in quarantine.
    pub(super) fn quarantined(&self) -> Vec<String> {
        let held = self.document("/quarantine");
        let paths = held["copies"].as_array().unwrap().iter().map(|copy| copy["path"].as_str().unwrap().to_owned());
        paths.collect()
    }

    /// Orders a run over everything and waits for its report.
    pub(super) fn sync(&self) -> Value {
        self.report(&self.call("POST", "/sync", &Value::Null))
    }

    /// Orders a look at some paths and waits for the report.
    pub(super) fn sync_paths(&self, paths: &[&str]) -> Value {
        self.report(&self.call("POST", "/sync", &json!({"paths": paths})))
    }

    /// Orders a run that has to go through without a complaint.
    pub(super) fn complete(&self) -> Value {
        let report = self.sync();
        assert_eq!(report["outcome"], "completed", "{report:#}");
        report
    }

    fn report(&self, ordered: &Response) -> Value {
        assert_eq!(ordered.status, 202, "{}", ordered.text());
        let run = ordered.json()["run"].as_str().unwrap().to_owned();
        let below = format!("/syncs/{run}");
        assert_eq!(ordered.header("location"), Some(format!("{}{below}", self.path).as_str()));
        let mut report = Value::Null;
        wait_until(PATIENCE, "the report of a run", || {
            // a run that waits for its turn has none
            let response = self.call("GET", &below, &Value::Null);
            let is_there = response.status == 200;
            if is_there {
                report = response.json();
            }
            is_there && report["outcome"] != "running"
        });
        report
    }

    /// A count of all whole runs together: the first one may have begun before it was ordered.
    pub(super) fn total(&self, count: &str) -> u64 {
        let runs = self.document("/syncs");
        let full = runs["syncs"].as_array().unwrap().iter().filter(|run| run["scope"] == "full");
        full.map(|run| run[count].as_u64().unwrap_or_else(|| panic!("no {count} in {run}"))).sum()
    }
}
