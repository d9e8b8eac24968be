use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::document;
use crate::wire::scaivault::ScaivaultFrontend;
use crate::wire::{Cursors, Frontend as _, ListenerFacts, WireRequest};

fn described() -> Value {
    serde_json::from_slice(&document()).unwrap()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Method and path of every call, as written there.
fn calls(document: &Value) -> Vec<(String, String, Value)> {
    let paths = object(&document["paths"]).iter();
    paths
        .flat_map(|(path, item)| {
            object(item).iter().map(move |(method, call)| (method.to_uppercase(), path.clone(), call.clone()))
        })
        .collect()
}

/// The methods our wire says a path has.
fn served(path: &str) -> BTreeSet<String> {
    let path = path
        .replace("{id}", "fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P")
        .replace("{path}", "a/b")
        .replace("{principal}", "p")
        .replace("{run}", "r");
    let facts = ListenerFacts {
        aws: None,
        mounts: Vec::new(),
        passthrough: Vec::new(),
        require_request_header: false,
        workload: false,
        max_versions: 10,
        value_bytes: 64,
        hosts: Vec::new(),
        cursors: Cursors::new(&[7; 32]),
    };
    let (method, headers) = (Method::TRACE, HeaderMap::new());
    let request = WireRequest { method: &method, path: &path, query: None, host: "h", headers: &headers, body: b"" };
    let fault = ScaivaultFrontend.decode(&request, &facts).map(|_| ()).unwrap_err();
    fault.allow.unwrap_or_else(|| panic!("{path}: {fault:?}")).split(", ").map(str::to_owned).collect()
}

#[test]
fn what_is_described_is_what_is_served() {
    let document = described();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, _) in calls(&document) {
        told.entry(path).or_default().insert(method);
    }
    for (path, methods) in &told {
        if path == "/v1/secrets" {
            assert_eq!(methods, &BTreeSet::from(["GET".to_owned()]), "the root can only be listed");
        } else {
            assert_eq!(methods, &served(path), "{path}");
        }
    }
    assert_eq!(told.len(), 21, "a path came or went: {:?}", told.keys());
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, inner) in fields {
                    match inner.as_str().filter(|_| key == "$ref") {
                        Some(target) => drop(found.insert(target.to_owned())),
                        None => references(inner, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = described();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for target in &found {
        assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
    }
    for name in object(&document["components"]["schemas"]).keys() {
        assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is used nowhere");
    }
}

#[test]
fn every_call_says_what_it_is_and_how_it_fails() {
    let document = described();
    let mut ids = BTreeSet::new();
    for (method, path, call) in calls(&document) {
        assert!(ids.insert(call["operationId"].as_str().unwrap().to_owned()), "{method} {path}: its id is another's");
        assert!(call["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let answers = object(&call["responses"]);
        assert!(answers.contains_key("default") && answers.keys().any(|status| status.starts_with('2')), "{path}");
        let is_open = call["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(is_open, matches!(path.as_str(), "/v1/health" | "/v1/openapi.json"), "{path}");
        assert_eq!(answers.contains_key("401"), !is_open, "{path}");
        let named: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = call["parameters"].as_array().cloned().unwrap_or_default();
        let parts: BTreeSet<&str> =
            parameters.iter().filter(|part| part["in"] == "path").map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(parts, named, "{path}");
    }
}

#[test]
fn bodies_are_closed_and_credentials_are_references() {
    let document = described();
    let create = &document["components"]["schemas"]["BackendCreate"]["oneOf"];
    let types: Vec<&str> =
        create.as_array().unwrap().iter().map(|one| one["properties"]["type"]["enum"][0].as_str().unwrap()).collect();
    assert_eq!(types, ["hashicorp-vault", "aws-secrets-manager", "azure-key-vault", "google-secret-manager"]);
    for one in create.as_array().unwrap() {
        assert_eq!(
            (&one["additionalProperties"], &one["properties"]["config"]["additionalProperties"]),
            (&Value::Bool(false), &Value::Bool(false))
        );
        for key in object(&one["properties"]["config"]["properties"]).keys() {
            let secret = ["secret", "password", "access_key", "token"].iter().any(|word| key.contains(word));
            assert!(!secret, "{key} looks like a credential");
            let file = key.ends_with("_path") && !matches!(key.as_str(), "auth_config_path" | "credentials_path");
            assert!(!file && key != "profile", "{key} names a file of the machine");
        }
        let body = &one["examples"][0];
        assert!(crate::config::compile_backend(&body.to_string(), true).is_ok(), "{body}");
    }
    assert_eq!(create[0]["properties"]["config"]["properties"]["tls_verify"]["enum"], serde_json::json!([true]));
}

#[test]
fn what_is_shown_of_a_backend_is_described() {
    let document = described();
    let create = document["components"]["schemas"]["BackendCreate"]["oneOf"].as_array().unwrap();
    let shown = object(&document["components"]["schemas"]["Backend"]["properties"]);
    for one in create {
        let settings = crate::config::compile_backend(&one["examples"][0].to_string(), true).unwrap();
        for key in object(&crate::config::describe_backend(&settings)).keys() {
            assert!(shown.contains_key(key), "{key}");
        }
    }
}
