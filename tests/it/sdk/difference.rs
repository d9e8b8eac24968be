//! What differs between two records of a session, field by field, and whether it may.

use std::collections::BTreeSet;

use serde_json::Value;

use super::allowed::{ALLOWED, Allowed};
use super::allowed_aws::AWS;

/// The field of a step that one of the sessions does not have.
const STEP: &str = "(step)";
/// How a step of an AWS session ended. Where it ended differently, nothing else of it can be compared.
const OUTCOME: &str = "outcome";

/// The steps of a session, in order.
pub(super) struct Recorded(Vec<(String, Value)>);

impl Recorded {
    /// Reads normalised lines.
    pub(super) fn parse(lines: &str) -> Self {
        Self::parse_of(lines, false)
    }

    /// As [`Self::parse`], of a server whose connections are not ours.
    pub(super) fn parse_of(lines: &str, may_retry: bool) -> Self {
        let mut steps: Vec<(String, Value)> = Vec::new();
        for line in lines.lines() {
            let mut step: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let name = step["step"].as_str().unwrap().to_owned();
            // a connection that breaks on a busy machine is tried again; what matters is that nothing we say asks for it
            if let (Some(1..), true) = (step["retries"].as_u64(), may_retry) {
                step["retries"] = Value::from(0);
            }
            assert!(steps.iter().all(|(known, _)| *known != name), "the step `{name}` was recorded twice");
            steps.push((name, step));
        }
        assert!(!steps.is_empty(), "the session recorded nothing");
        Self(steps)
    }

    fn step(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, step)| step)
    }
}

/// Compares what a client saw of a real server and of the proxy.
///
/// # Errors
/// Every difference that is not in the table, and every entry of the table that no longer differs.
pub(super) fn compare(client: &str, direct: &Recorded, proxied: &Recorded) -> Result<(), String> {
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut check = |step: &str, field: &str, was: String, is: String| match find(client, step, field) {
        Some(place) => drop(used.insert(place)),
        None => wrong.push(format!("{client} {step} {field}\n  server {was}\n  proxy  {is}")),
    };
    for (name, step) in &direct.0 {
        match proxied.step(name) {
            None => check(name, STEP, "has it".to_owned(), "has not".to_owned()),
            Some(other) if step.get(OUTCOME) != other.get(OUTCOME) => {
                check(name, "/outcome", shown(step.get(OUTCOME)), shown(other.get(OUTCOME)));
            }
            Some(other) => {
                let mut found = Vec::new();
                differences(step, other, String::new(), &mut found);
                for (field, was, is) in found {
                    check(name, &field, was, is);
                }
            }
        }
    }
    for (name, _) in proxied.0.iter().filter(|(name, _)| direct.step(name).is_none()) {
        check(name, STEP, "has not".to_owned(), "has it".to_owned());
    }
    wrong.extend(expected(client).filter(|place| !used.contains(place)).map(|(at, step, field)| {
        let why = table().nth(at).unwrap().why;
        format!("{client} {step} {field}: listed as allowed ({why}), and does not differ any more")
    }));
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} differences:\n{}", wrong.len(), wrong.join("\n"))) }
}

/// An entry's position in the table, one of its steps and one of its fields.
type Listed = (usize, &'static str, &'static str);

/// Both tables.
fn table() -> impl Iterator<Item = &'static Allowed> {
    ALLOWED.iter().chain(AWS)
}

/// Everything the tables say of a client.
fn expected(client: &str) -> impl Iterator<Item = Listed> {
    let own = |allowed: &Allowed| words(allowed.clients).any(|name| name == client);
    let entries: Vec<(usize, &Allowed)> = table().enumerate().filter(|(_, allowed)| own(allowed)).collect();
    entries.into_iter().flat_map(|(at, allowed)| {
        words(allowed.steps).flat_map(move |step| words(allowed.fields).map(move |field| (at, step, field)))
    })
}

fn find(client: &str, step: &str, field: &str) -> Option<Listed> {
    let covers = |listed: &str| field == listed || field.strip_prefix(listed).is_some_and(|rest| rest.starts_with('/'));
    expected(client).find(|(_, known, listed)| *known == step && covers(listed))
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split_whitespace()
}

/// Collects the places where two values differ, as JSON pointers, with both values.
fn differences(direct: &Value, proxied: &Value, at: String, found: &mut Vec<(String, String, String)>) {
    match (direct, proxied) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let below = format!("{at}/{}", name.replace('/', "~1"));
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => differences(one, other, below, found),
                    (one, other) => found.push((below, shown(one), shown(other))),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, format!("{at}/{index}"), found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push((at, shown(Some(one)), shown(Some(other)))),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "(absent)".to_owned(), Value::to_string)
}

#[test]
fn differences_are_found_by_field_and_the_table_is_read_in_both_directions() {
    let record = |policies: &str, id: &str| {
        let data = format!(r#"{{"data":{{"policies":{policies}}},"request_id":"{id}"}}"#);
        Recorded::parse(&format!("{{\"step\":\"child_lookup\",\"data\":{data}}}\n"))
    };
    let direct = record(r#"["a","default"]"#, "<uuid>");
    let report = compare("nobody", &direct, &record(r#"["a"]"#, "<uuid>")).unwrap_err();
    assert!(report.starts_with("1 differences:\nnobody child_lookup /data/data/policies\n"), "{report}");
    let report = compare("nobody", &direct, &record(r#"["a","b"]"#, "no id")).unwrap_err();
    assert!(report.contains(" /data/data/policies/1\n") && report.contains(" /data/request_id\n"), "{report}");
    assert_eq!(compare("nobody", &direct, &direct), Ok(()));
    for allowed in table() {
        assert!(allowed.why.len() > 20 && words(allowed.steps).count() > 0 && words(allowed.fields).count() > 0);
    }
    let step = |outcome: &str| {
        Recorded::parse(&format!("{{\"step\":\"a\",\"outcome\":\"{outcome}\",\"data\":\"{outcome}\"}}\n"))
    };
    let report = compare("nobody", &step("ok"), &step("Denied")).unwrap_err();
    assert!(report.starts_with("1 differences:\nnobody a /outcome\n"), "{report}");
    let listed = expected("hvac").next().unwrap();
    assert_eq!(find("hvac", listed.1, listed.2), Some(listed));
    assert!(compare("hvac", &direct, &direct).unwrap_err().contains("does not differ any more"));
}
