//! The two ways to an access key.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{NOW, facts, headers, reveal, send, text};
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::identity::{self, AccessKey, Credential, Principal, TokenInfo};
use crate::secret::Tenant;
use crate::wire::aws::{AwsFrontend, Shape, fault};
use crate::wire::{
    About, Answer, Fault, Frontend as _, ListenerFacts, LoginProof, LoginRequest, Request, Shape as WireShape,
    WireRequest,
};

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
const BODY: &str = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=sess&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fteam%2Fapp&WebIdentityToken=a.b.c";

fn login(body: &str) -> Result<(Request, Shape), Fault> {
    send("POST", "/", &headers(FORM), body.as_bytes())
}

#[test]
fn a_web_identity_logs_in() {
    let Ok((Request::Login(LoginRequest { mount, proof }), shape)) = login(BODY) else { panic!() };
    assert_eq!(mount, "sts");
    let Some(LoginProof::Jwt { jwt, role }) = proof else { panic!() };
    assert_eq!((jwt.as_str(), role.as_deref()), ("a.b.c", Some("app")));
    assert_eq!(shape, Shape::WebIdentity { role: "app".into(), session: "sess".into() });
    assert!(login(&format!("{BODY}&DurationSeconds=900")).is_ok());
}

#[test]
fn a_login_that_asks_for_something_else_is_refused_in_its_own_protocol() {
    let with = |from: &str, to: &str| BODY.replace(from, to);
    for (body, code) in [
        ("Action=GetCallerIdentity&Version=2011-06-15".to_owned(), "InvalidAction"),
        (with("AssumeRoleWithWebIdentity", "AssumeRole"), "InvalidAction"),
        (with("2011-06-15", "2012-01-01"), "InvalidAction"),
        (String::new(), "InvalidAction"),
        (with("&WebIdentityToken=a.b.c", ""), "ValidationError"),
        (with("a.b.c", ""), "ValidationError"),
        (with("sess", "s"), "ValidationError"),
        (with("sess", "a%20b"), "ValidationError"),
        (with("%3Aiam%3A", "%3As3%3A"), "ValidationError"),
        (with("role%2F", "user%2F"), "ValidationError"),
        (with("000000000000", "0"), "ValidationError"),
        (with("%2Fapp", "%2F"), "ValidationError"),
        (format!("{BODY}&Policy=%7B%7D"), "ValidationError"),
        (format!("{BODY}&PolicyArns.member.1.arn=x"), "ValidationError"),
        (format!("{BODY}&DurationSeconds=899"), "ValidationError"),
        (format!("{BODY}&DurationSeconds=x"), "ValidationError"),
        (format!("{BODY}&Action=AssumeRoleWithWebIdentity"), "ValidationError"),
        (format!("{BODY}%"), "ValidationError"),
    ] {
        let fault = login(&body).map(|_| ()).expect_err(&body);
        let facts = facts();
        let response = AwsFrontend.refuse(fault, reveal(&facts));
        let xml = text(&response);
        assert_eq!((response.status.as_u16(), &response.headers["content-type"]), (400, &"text/xml".parse().unwrap()));
        assert!(xml.contains(&format!("<Code>{code}</Code>")), "{body}: {xml}");
        assert!(xml.starts_with("<ErrorResponse xmlns=") && xml.contains("<RequestId>01980000-"), "{xml}");
        assert!(!xml.contains("a.b.c"), "{xml}");
    }
    let fault = send("POST", "/?x=1", &headers(FORM), BODY.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(fault.about, About::Login);
}

#[test]
fn a_failed_login_says_no_more_than_that() {
    let facts = facts();
    for (kind, status, code) in [
        (ErrorKind::Unauthenticated, 400, "InvalidIdentityToken"),
        (ErrorKind::Denied, 403, "AccessDenied"),
        (ErrorKind::UpstreamUnavailable, 400, "IDPCommunicationError"),
        (ErrorKind::RateLimited, 400, "Throttling"),
        (ErrorKind::Internal, 500, "InternalFailure"),
    ] {
        let fault = Fault { about: About::Login, ..Fault::of(kind) };
        let response = AwsFrontend.refuse(fault, reveal(&facts));
        assert_eq!(response.status.as_u16(), status);
        assert!(text(&response).contains(&format!("<Code>{code}</Code>")), "{kind}");
    }
}

fn key(expires_at: Option<Timestamp>) -> AccessKey {
    let tenant = Tenant::parse("default").unwrap();
    let principal = Arc::new(Principal::new(tenant, "apps/a", identity::Method::Jwt, Vec::new(), Vec::new()));
    let info = TokenInfo {
        accessor: "x".to_owned(),
        principal,
        issued_at: Timestamp::from_secs(NOW),
        expires_at,
        ttl: Duration::from_secs(3600),
        creation_ttl: Duration::from_secs(3600),
        max_ttl: None,
        explicit_max_ttl: None,
        renewable: false,
        display_name: String::new(),
        meta: Vec::new(),
        orphan: true,
        path: String::new(),
        parent: None,
    };
    let secret = Zeroizing::new("s/cre+t=".to_owned());
    AccessKey { id: "ASIAEXAMPLE".to_owned(), secret, session_token: Zeroizing::new("tok<&>".to_owned()), info }
}

#[test]
fn a_login_yields_an_access_key_as_xml() {
    let facts = facts();
    let shape = WireShape::Aws(Shape::WebIdentity { role: "app".into(), session: "sess".into() });
    let answer = Answer::AccessKey(key(Some(Timestamp::from_micros((NOW + 3600) * 1_000_000 + 437_303))));
    let response = AwsFrontend.encode(&shape, answer, reveal(&facts));
    assert_eq!((response.status.as_u16(), &response.headers["content-type"]), (200, &"text/xml".parse().unwrap()));
    let expected = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId>\
        <SecretAccessKey>s/cre+t=</SecretAccessKey><SessionToken>tok&lt;&amp;&gt;</SessionToken>\
        <Expiration>2026-11-23T11:06:57Z</Expiration></Credentials><AssumedRoleUser>\
        <AssumedRoleId>AROAEXAMPLE:sess</AssumedRoleId>\
        <Arn>arn:aws:sts::123456789012:assumed-role/app/sess</Arn></AssumedRoleUser>\
        </AssumeRoleWithWebIdentityResult><ResponseMetadata>\
        <RequestId>01980000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>\
        </AssumeRoleWithWebIdentityResponse>";
    assert_eq!(text(&response), expected);
}

fn fetch<'r>(
    request: &WireRequest<'r>,
    facts: &'r ListenerFacts,
) -> Result<(Credential<'r>, Request, WireShape), Fault> {
    AwsFrontend.decode(request, facts).map(|decoded| (decoded.credential, decoded.request, decoded.shape))
}

fn at<'r>(method: &'r Method, query: Option<&'r str>, headers: &'r HeaderMap, body: &'r [u8]) -> WireRequest<'r> {
    WireRequest { method, path: "/v1/credentials", query, host: "localhost", headers, body }
}

#[test]
fn container_credentials_are_fetched_with_the_bare_token() {
    let (get, post) = (Method::GET, Method::POST);
    let with = headers(&[("authorization", "eyJ.pod.identity"), ("accept", "application/json")]);
    let (facts, none) = (facts(), HeaderMap::new());
    let (credential, request, shape) = fetch(&at(&get, None, &with, b""), &facts).unwrap();
    assert!(matches!(credential, Credential::Bearer("eyJ.pod.identity")));
    assert!(matches!((request, shape), (Request::AccessKey, WireShape::Aws(Shape::AccessKey))));
    let (credential, ..) = fetch(&at(&get, None, &none, b""), &facts).unwrap();
    assert!(matches!(credential, Credential::None));
    let workload = ListenerFacts { workload: true, ..facts.clone() };
    let (credential, ..) = fetch(&at(&get, None, &with, b""), &workload).unwrap();
    assert!(matches!(credential, Credential::None), "who it is, the listener says");
    let twice = headers(&[("authorization", "a"), ("authorization", "b")]);
    for request in [
        at(&post, None, &with, b""),
        at(&get, Some("x=1"), &with, b""),
        at(&get, None, &with, b"x"),
        at(&get, None, &twice, b""),
    ] {
        let fault = fetch(&request, &facts).map(|_| ()).unwrap_err();
        assert_eq!(fault::words(fault).code, "UnknownOperationException");
    }
}

#[test]
fn container_credentials_are_what_sdks_read() {
    let facts = facts();
    for (ends, expected) in
        [(Some(Timestamp::from_secs(NOW + 900)), "2026-11-23T10:21:57Z"), (None, "2026-11-23T11:06:57Z")]
    {
        let response =
            AwsFrontend.encode(&WireShape::Aws(Shape::AccessKey), Answer::AccessKey(key(ends)), reveal(&facts));
        assert_eq!(response.headers["content-type"], "application/json");
        let body: Value = serde_json::from_str(&text(&response)).unwrap();
        let expected = json!({
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": "s/cre+t=",
            "Token": "tok<&>",
            "Expiration": expected,
            "AccountId": "123456789012",
        });
        assert_eq!(body, expected);
    }
}
