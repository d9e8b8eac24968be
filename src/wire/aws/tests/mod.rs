//! The wire from outside: bodies as SDKs send them, answers as they read them.

mod answers;
mod calls;
mod faults;
mod logins;
mod refusals;
mod values;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{AwsFrontend, Shape, encode};
use crate::secret::{Call, Mode, Outcome, Reply, SecretAction, WireName};
use crate::wire::{
    AwsFacts, Cursors, Decoded, Fault, Frontend as _, ListenerFacts, Request, Reveal, Shape as WireShape, WireRequest,
    WireResponse,
};

const JSON: &str = "application/x-amz-json-1.1";
const TOKEN: &str = "6cda964a-b839-48fd-88b6-92663ebe5943";
/// 2026-11-23T10:06:57Z.
const NOW: u64 = 1_795_428_417;

fn facts() -> ListenerFacts {
    ListenerFacts {
        mounts: Vec::new(),
        passthrough: Vec::new(),
        require_request_header: false,
        workload: false,
        max_versions: 10,
        value_bytes: 64,
        hosts: Vec::new(),
        cursors: Cursors::new(&[7; 32]),
        aws: Some(aws()),
    }
}

fn aws() -> AwsFacts {
    AwsFacts { account: "123456789012".to_owned(), region: "us-east-1".to_owned() }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// What a request is decoded to, without its credential.
fn send(method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Result<(Request, Shape), Fault> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (method, facts) = (Method::from_bytes(method.as_bytes()).unwrap(), facts());
    let request = WireRequest { method: &method, path, query, host: "127.0.0.1:19500", headers, body };
    let Decoded { request, shape, namespace, .. } = AwsFrontend.decode(&request, &facts)?;
    assert_eq!(namespace, None);
    match shape {
        WireShape::Aws(shape) => Ok((request, shape)),
        other => panic!("{other:?}"),
    }
}

/// An operation of the JSON protocol.
fn ask(operation: &str, body: &str) -> Result<(Request, Shape), Fault> {
    let mut headers = headers(&[("content-type", JSON)]);
    headers.insert("x-amz-target", HeaderValue::from_str(&format!("secretsmanager.{operation}")).unwrap());
    send("POST", "/", &headers, body.as_bytes())
}

/// A call about one secret.
fn call(operation: &str, body: &str) -> (Call, Shape) {
    match ask(operation, body) {
        Ok((Request::Secret(call), shape)) => (call, shape),
        other => panic!("{operation} {body}: {other:?}"),
    }
}

/// What a call about one secret does, and to which.
fn act(operation: &str, body: &str) -> (String, SecretAction) {
    let (Call { secret, .. }, _) = call(operation, body);
    (secret.name.map(|name| name.as_str().to_owned()).unwrap_or_default(), secret.action)
}

fn name(text: &str) -> WireName {
    WireName::parse(text).unwrap()
}

fn reveal(facts: &ListenerFacts) -> Reveal<'_> {
    Reveal {
        request_id: "01K00000000000000000000000",
        request_uuid: "01980000-0000-0000-0000-000000000000",
        facts,
        now_secs: NOW,
        backend: None,
        mode: Some(Mode::Local),
        more: false,
        age_seconds: None,
        problems: &[],
    }
}

fn text(response: &WireResponse) -> String {
    assert_eq!(response.headers["x-amzn-requestid"], "01980000-0000-0000-0000-000000000000");
    assert_eq!(response.headers["cache-control"], "no-store");
    String::from_utf8(response.body.whole().unwrap().to_vec()).unwrap()
}

/// The status and the body of an answer.
fn told(response: &WireResponse) -> (u16, Value) {
    assert_eq!(response.headers["content-type"], JSON);
    (response.status.as_u16(), serde_json::from_str(&text(response)).unwrap())
}

fn answer(shape: &Shape, outcome: Outcome) -> (u16, Value) {
    told(&encode::reply(shape, Reply::Neutral(outcome), reveal(&facts())))
}
