use crate::wire::WireResponse;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{ScaivaultFrontend, Shape};
use crate::error::ErrorKind;
use crate::secret::{Mode, Operation, SecretAction, VersionSelector, VersionSet};
use crate::wire::{
    AdminRequest, Answer, BackendAction, Cursors, Decoded, Fault, FederationRequest, Frontend as _, JsonBody,
    ListenerFacts, Request, Reveal, Shape as WireShape, SystemRequest, Winner, WireRequest,
};

const ID: &str = "fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P";

fn facts() -> ListenerFacts {
    ListenerFacts {
        aws: None,
        mounts: Vec::new(),
        passthrough: Vec::new(),
        require_request_header: false,
        workload: false,
        max_versions: 10,
        value_bytes: 64,
        hosts: Vec::new(),
        cursors: Cursors::new(&[7; 32]),
    }
}

fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers
}

/// What a request is decoded to, without its credential.
fn ask_as(content_type: &'static str, method: &str, target: &str, body: &str) -> Result<(Request, WireShape), Fault> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (method, headers) = (Method::from_bytes(method.as_bytes()).unwrap(), headers(content_type));
    let request =
        WireRequest { method: &method, path, query, host: "localhost", headers: &headers, body: body.as_bytes() };
    let Decoded { request, shape, .. } = ScaivaultFrontend.decode(&request, &facts())?;
    Ok((request, shape))
}

fn ask(method: &str, target: &str, body: &str) -> Result<Request, Fault> {
    ask_as("application/json", method, target, body).map(|(request, _)| request)
}

fn backend(method: &str, below: &str, body: &str) -> BackendAction {
    match ask(method, &format!("/v1/federation/backends/{ID}{below}"), body) {
        Ok(Request::Admin(AdminRequest::Federation(FederationRequest::Backend { id, action }))) => {
            assert_eq!(id.as_str(), ID);
            action
        }
        other => panic!("{method} {below}: {other:?}"),
    }
}

#[test]
fn federation_calls_are_decoded() {
    let federation = |method, target, body| match ask(method, target, body) {
        Ok(Request::Admin(AdminRequest::Federation(request))) => request,
        other => panic!("{method} {target}: {other:?}"),
    };
    assert!(matches!(federation("GET", "/v1/federation/backends", ""), FederationRequest::List));
    let body = r#"{"name":"a","path_mapping":{"z/**":"1/**","a/**":"2/**"}}"#;
    let FederationRequest::Create(JsonBody(made)) = federation("POST", "/v1/federation/backends", body) else {
        panic!("not a creation")
    };
    assert_eq!(made.to_string(), body, "the order of keys is kept");

    assert!(matches!(backend("GET", "", ""), BackendAction::Show));
    assert!(matches!(backend("PATCH", "", r#"{"mode":null}"#), BackendAction::Update(JsonBody(Value::Object(_)))));
    assert!(matches!(backend("DELETE", "", ""), BackendAction::Delete));
    assert!(matches!(backend("POST", "/check", ""), BackendAction::Check));
    assert!(matches!(backend("POST", "/check", "{}"), BackendAction::Check));
    assert!(matches!(backend("POST", "/sync", ""), BackendAction::Sync(None)));
    assert!(matches!(backend("POST", "/sync", "{}"), BackendAction::Sync(None)));
    let BackendAction::Sync(Some(paths)) = backend("POST", "/sync", r#"{"paths":["a/b","c"]}"#) else { panic!() };
    assert_eq!(paths.iter().map(crate::secret::SecretPath::as_str).collect::<Vec<_>>(), ["a/b", "c"]);
    assert!(matches!(backend("GET", "/syncs", ""), BackendAction::Syncs));
    assert!(matches!(backend("GET", "/syncs/r1", ""), BackendAction::Run(run) if run == "r1"));
    assert!(matches!(backend("DELETE", "/syncs/r1", ""), BackendAction::Cancel(run) if run == "r1"));
    assert!(matches!(backend("GET", "/status", ""), BackendAction::Status));
    assert!(matches!(backend("GET", "/conflicts", ""), BackendAction::Conflicts));
    let body = r#"{"path":"a/b","keep":"backend"}"#;
    let BackendAction::Resolve { path, keep } = backend("POST", "/conflicts/resolve", body) else { panic!() };
    assert_eq!((path.as_str(), keep), ("a/b", Winner::Backend));
    assert!(matches!(backend("GET", "/quarantine", ""), BackendAction::Quarantine));
    assert!(matches!(backend("POST", "/quarantine/adopt", ""), BackendAction::Adopt));
    assert!(matches!(backend("POST", "/quarantine/purge", ""), BackendAction::Purge));
}

#[test]
fn the_rest_of_administration_is_decoded() {
    let admin = |method, target, body| match ask(method, target, body) {
        Ok(Request::Admin(request)) => request,
        other => panic!("{method} {target}: {other:?}"),
    };
    let rotate = "/v1/seal/rotate";
    assert!(matches!(admin("POST", rotate, r#"{"key":"root"}"#), AdminRequest::RotateSeal { root: true }));
    assert!(matches!(admin("POST", rotate, r#"{"key":"tenant"}"#), AdminRequest::RotateSeal { root: false }));
    assert!(matches!(admin("GET", "/v1/events", ""), AdminRequest::Events { after: None }));
    assert!(matches!(
        admin("PUT", "/v1/principals/a/b/revocation", "{}"),
        AdminRequest::Revocation { revoked: true, .. }
    ));
    let open = ask("GET", "/v1/openapi.json", "");
    assert!(matches!(open, Ok(Request::System(SystemRequest::OpenApi))), "{open:?}");
}

#[test]
fn m10_bodies_that_are_not_what_the_call_takes_are_refused() {
    let one = format!("/v1/federation/backends/{ID}");
    let below = |text: &str| format!("{one}{text}");
    for (method, target, body) in [
        ("POST", "/v1/federation/backends".to_owned(), ""),
        ("POST", "/v1/federation/backends".to_owned(), "[]"),
        ("POST", "/v1/federation/backends".to_owned(), r#"{"name":"a","name":"b"}"#),
        ("POST", "/v1/federation/backends".to_owned(), r#"{"path_mapping":{"a":"b","a":"c"}}"#),
        ("POST", "/v1/federation/backends?x=1".to_owned(), "{}"),
        ("PATCH", one.clone(), r#""text""#),
        ("GET", one.clone(), "{}"),
        ("GET", "/v1/federation/backends/fed_abc".to_owned(), ""),
        ("GET", format!("/v1/federation/backends/{}", ID.to_lowercase()), ""),
        ("DELETE", one.clone(), r#"{"force":true}"#),
        ("POST", below("/check"), r#"{"deep":true}"#),
        ("POST", below("/sync"), r#"{"paths":[]}"#),
        ("POST", below("/sync"), r#"{"paths":["a//b"]}"#),
        ("POST", below("/sync"), r#"{"path":"a"}"#),
        ("POST", below("/conflicts/resolve"), r#"{"path":"a"}"#),
        ("POST", below("/conflicts/resolve"), r#"{"path":"a","keep":"both"}"#),
        ("POST", "/v1/seal/rotate".to_owned(), "{}"),
        ("POST", "/v1/seal/rotate".to_owned(), r#"{"key":"other"}"#),
        ("PUT", "/v1/secrets/a?undelete=true".to_owned(), r#"{"data":1}"#),
        ("DELETE", "/v1/secrets/a".to_owned(), r#"{"version":1}"#),
    ] {
        let fault = ask(method, &target, body).map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, ErrorKind::Malformed, "{method} {target} {body}: {fault:?}");
    }
}

#[test]
fn a_method_that_is_not_there_names_those_that_are() {
    let below = |text: &str| format!("/v1/federation/backends/{ID}{text}");
    for (method, target, allow) in [
        ("POST", "/v1/secrets/a".to_owned(), "GET, HEAD, PUT, DELETE"),
        ("GET", "/v1/tokens".to_owned(), "POST, DELETE"),
        ("GET", "/v1/principals/a/revocation".to_owned(), "PUT, DELETE"),
        ("DELETE", "/v1/events".to_owned(), "GET"),
        ("PUT", "/v1/openapi.json".to_owned(), "GET"),
        ("GET", "/v1/seal/rotate".to_owned(), "POST"),
        ("POST", "/v1/federation/explain".to_owned(), "GET"),
        ("PUT", "/v1/federation/backends".to_owned(), "GET, POST"),
        ("PUT", below(""), "GET, PATCH, DELETE"),
        ("GET", below("/check"), "POST"),
        ("GET", below("/sync"), "POST"),
        ("DELETE", below("/syncs"), "GET"),
        ("POST", below("/syncs/x"), "GET, DELETE"),
        ("PATCH", below("/status"), "GET"),
        ("GET", below("/conflicts/resolve"), "POST"),
        ("TRACE", below("/quarantine"), "GET"),
        ("GET", below("/quarantine/purge"), "POST"),
    ] {
        let fault = ask(method, &target, "").map(|_| ()).unwrap_err();
        assert_eq!((fault.kind, fault.allow), (ErrorKind::Unsupported, Some(allow)), "{method} {target}");
    }
    for target in ["/v1/nowhere", "/v1/federation", "/v1/federation/backends/x/y", "/v1/seal", "/v1/tokens/x", "/v2"] {
        let fault = ask("GET", target, "").map(|_| ()).unwrap_err();
        assert_eq!((fault.kind, fault.allow), (ErrorKind::NotFound, None), "{target}");
    }
}

#[test]
fn x04_a_body_that_a_web_page_could_send_is_refused() {
    for (kind, method, target) in [
        ("text/plain", "POST", "/v1/federation/backends"),
        ("", "POST", "/v1/federation/backends"),
        ("application/x-www-form-urlencoded", "POST", "/v1/seal/rotate"),
        ("application/merge-patch+json", "POST", "/v1/federation/backends"),
    ] {
        let fault = ask_as(kind, method, target, r#"{"key":"root"}"#).map(|_| ()).unwrap_err();
        assert_eq!(fault.detail, Some(super::encode::WRONG_MEDIA_TYPE), "{kind}");
    }
    let patch = format!("/v1/federation/backends/{ID}");
    assert!(ask_as("application/merge-patch+json; charset=utf-8", "PATCH", &patch, "{}").is_ok());
}

#[test]
fn secrets_calls_are_decoded() {
    let secret = |method, target, body| match ask_as("application/json", method, target, body) {
        Ok((Request::Secret(call), WireShape::Scaivault(shape))) => (call.operation, call.secret.action, shape),
        other => panic!("{method} {target}: {other:?}"),
    };
    for method in ["GET", "HEAD"] {
        let (operation, action, shape) = secret(method, "/v1/secrets/a/b?version=3", "");
        assert_eq!((operation, shape), (Operation::Read, Shape::Secret("a/b".to_owned())));
        assert!(matches!(action, SecretAction::Read(VersionSelector::Number(3))));
    }
    let (operation, _, shape) = secret("GET", "/v1/secrets/a/?list=true&limit=5", "");
    assert_eq!((operation, shape), (Operation::List, Shape::Names("a".to_owned())));
    let (operation, ..) = secret("GET", "/v1/secrets/a?versions=true", "");
    assert_eq!(operation, Operation::Describe);
    let body = r#"{"data":"x","secret_type":"text","metadata":{"k":"v"},"cas":2}"#;
    let (operation, action, _) = secret("PUT", "/v1/secrets/a", body);
    assert_eq!(operation, Operation::Write);
    assert!(matches!(action, SecretAction::Write { value, options, .. } if value.len() == 1 && options.conditional));
    let (operation, action, _) = secret("DELETE", "/v1/secrets/a?destroy=true&version=2", "");
    assert_eq!(operation, Operation::Destroy);
    assert!(matches!(action, SecretAction::Destroy(VersionSet::Numbers(numbers)) if numbers == [2]));
    let (operation, ..) = secret("PUT", "/v1/secrets/a?undelete=true", "");
    assert_eq!(operation, Operation::Undelete);
    let fault = ask("PUT", "/v1/secrets/a", &format!(r#"{{"data":"{}"}}"#, "x".repeat(80))).map(|_| ()).unwrap_err();
    assert_eq!(fault.kind, ErrorKind::TooLarge);
}

fn reveal<'a>(facts: &'a ListenerFacts, problems: &'a [(String, String)]) -> Reveal<'a> {
    Reveal {
        request_id: "01K00000000000000000000000",
        request_uuid: "01980000-0000-0000-0000-000000000000",
        facts,
        now_secs: 0,
        backend: None,
        mode: Some(Mode::Local),
        more: false,
        age_seconds: None,
        problems,
    }
}

fn body(response: &WireResponse) -> Value {
    serde_json::from_slice(response.body.whole().unwrap()).unwrap()
}

#[test]
fn documents_carry_their_status_and_headers() {
    let facts = facts();
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::from_static("/v1/x"));
    let answer = Answer::Document { status: StatusCode::CREATED, body: json!({"id": ID}), headers };
    let response = ScaivaultFrontend.encode(&WireShape::Scaivault(Shape::Other), answer, reveal(&facts, &[]));
    assert_eq!((response.status, body(&response)), (StatusCode::CREATED, json!({"id": ID})));
    assert_eq!(response.headers[header::LOCATION], "/v1/x");
    assert_eq!(response.headers[header::CACHE_CONTROL], "no-store");
    let open = Answer::Public(&SystemRequest::OpenApi);
    let response = ScaivaultFrontend.encode(&WireShape::Scaivault(Shape::Other), open, reveal(&facts, &[]));
    assert_eq!(body(&response)["openapi"], "3.1.0");
}

#[test]
fn problems_name_each_key_that_is_wrong() {
    let facts = facts();
    let problems = [("path_mapping[0].from".to_owned(), "is required".to_owned())];
    let response = ScaivaultFrontend.refuse(Fault::of(ErrorKind::Malformed), reveal(&facts, &problems));
    assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(body(&response)["errors"], json!([{"key": "path_mapping[0].from", "message": "is required"}]));
    let fault = Fault { allow: Some("GET"), ..Fault::of(ErrorKind::Unsupported) };
    let response = ScaivaultFrontend.refuse(fault, reveal(&facts, &[]));
    assert_eq!((response.status.as_u16(), &response.headers[header::ALLOW]), (405, &HeaderValue::from_static("GET")));
    assert!(body(&response).get("errors").is_none());
}
