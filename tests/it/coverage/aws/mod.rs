//! The aws wire's operations, in the order of a secret's life: without a signature, with one of an unknown key, with one made
//! with a wrong secret, with that of somebody no policy names, and with the admin's. The exact code, and exactly the lines.

mod case;
mod table;

use std::collections::BTreeSet;

use serde_json::json;

use self::case::{Case, NONE, Who};
use self::table::{NOT_SERVED, ONE, SERVED, cases, create};
use super::case::Who as Presented;
use super::{CONFIG, NOBODY, Probe, UNKNOWN, builder, stub, summary};
use crate::aws::sign::{Keys, Scope};
use crate::aws::world::code;
use crate::harness::{ADMIN, Proxy, Response, request};
use crate::identity::Issuer;
use crate::stub::Stub;

/// An aws listener by the names of the secret paths, keys, and an issuer for those who log in.
const LISTENER: &str = r#"  - {wire: aws, address: {aws}, account: "123456789012", region: us-east-1}
identity:
  access_keys:
    - {principal: t/nobody, file: {dir}/nobody.json}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.json}
  jwt:
    - issuer: https://issuer.example
      audiences: [scaivault]
      jwks_file: {dir}/jwks.json
      allow: {namespace: [payments]}
      principal: "{{namespace}}/{{service_account}}"
      folders: ["apps/{{service_account}}"]
"#;

fn admin() -> Keys {
    Keys::new("AKIAADMINADMINADMIN1", "/made/up+secret/key+of+the+admin00000000")
}

fn nobody() -> Keys {
    Keys::new("AKIANOBODYNOBODYNOB1", "/made/up+secret/key+of+nobody0000000000")
}

fn started(stub: &Stub, issuer: &Issuer) -> Proxy {
    let config = CONFIG.replace("STUB", stub.address());
    assert!(config.contains("\nidentity:\n"));
    builder(stub)
        .config(&config.replace("identity:\n", LISTENER))
        .file("admin.json", admin().stored())
        .file("nobody.json", nobody().stored())
        .file("jwks.json", issuer.jwks())
        .start()
}

fn send(proxy: &Proxy, case: &Case, who: Who) -> Response {
    let address = proxy.address("aws");
    let body = case.body.to_string();
    let mut signed = who.keys().sign(&address, &Scope::now(), case.operation, body.as_bytes());
    if who == Who::Unsigned {
        signed = signed.without("authorization");
    }
    signed.send(&address).unwrap_or_else(|| panic!("{} {body} by {who:?} was not answered", case.operation))
}

#[test]
fn every_operation_of_the_aws_wire_is_answered_and_told_by_who_asks() {
    let stub = stub();
    let proxy = started(&stub, &Issuer::new("one"));
    let mut probe = Probe::new(&proxy);
    let mut asked = BTreeSet::new();
    for case in cases() {
        asked.insert(case.operation);
        for who in Who::ALL {
            let (expected, wanted) = case.expected(who);
            if wanted.iter().any(|line| line.ends_with(" - -")) {
                probe.pace(Presented::None);
            }
            let before = proxy.audit().len();
            let response = send(&proxy, &case, who);
            let mut lines = proxy.audit();
            lines.drain(..before);
            let told: Vec<String> = lines.iter().map(summary).collect();
            let status = if expected.is_empty() { 200 } else { 400 };
            let got = if response.status == 200 { String::new() } else { code(&response) };
            if (response.status, got.as_str()) != (status, expected) || told != wanted {
                probe.wrong.push(format!(
                    "{} {} by {who:?}\n  {} {got} expected {status} {expected}: {}\n  lines {told:#?}\n  expected {wanted:#?}",
                    case.operation,
                    case.body,
                    response.status,
                    response.text().trim_end(),
                ));
            }
            for line in &lines {
                probe.operations.insert(line["operation"].as_str().unwrap_or_default().to_owned());
                assert_eq!(line["request_id"], response.request_id(), "the line is of another request");
            }
        }
    }
    let operations = probe.finish();
    for operation in SERVED.iter().chain(&NOT_SERVED) {
        assert!(asked.contains(operation), "the table has no {operation}");
    }
    let labels: Vec<&str> = operations.iter().map(String::as_str).collect();
    assert_eq!(
        labels,
        ["delete", "describe", "purge", "read", "scan", "system", "undelete", "unknown", "write", "write_metadata"]
    );
}

/// Whatever is read by a filter is listed once, and then read secret by secret.
#[test]
fn a_batch_by_filter_is_a_list_and_a_read_of_each() {
    let stub = stub();
    let proxy = started(&stub, &Issuer::new("one"));
    for call in [create(ONE, 1), create("apps/cov/two", 2), create("apps/other", 3)] {
        let case = Case::write(call, "write", ONE);
        assert_eq!(send(&proxy, &case, Who::Allowed).status, 200);
    }
    let call = ("BatchGetSecretValue", json!({"Filters": [{"Key": "name", "Values": ["apps/cov"]}]}));
    let case = Case::about(call, "scan", NONE, ("", Vec::new()));
    let told = |who: Who| {
        let response = send(&proxy, &case, who);
        (response.status, proxy.audit_of(&response).iter().map(summary).collect::<Vec<String>>())
    };
    let read = |path: &str| format!("read aws read ok t/admin {path}");
    let all = vec!["list aws scan ok t/admin apps/".to_owned(), read(ONE), read("apps/cov/two")];
    assert_eq!(told(Who::Allowed), (200, all));
    assert_eq!(told(Who::Denied), (400, vec!["refusal aws scan denied t/nobody -".to_owned()]));
    assert_eq!(told(Who::Forged), (400, vec!["refusal aws scan unauthenticated - -".to_owned()]));
}

/// Whoever has another proof gets a key for it, or is refused, and either is a line.
#[test]
fn every_login_of_the_aws_wire_is_told() {
    let stub = stub();
    let issuer = Issuer::new("one");
    let proxy = started(&stub, &issuer);
    let address = proxy.address("aws");
    let told = |response: &Response| proxy.audit_of(response).iter().map(summary).collect::<Vec<String>>();

    for (token, status, line) in [
        ("", 400, "refusal aws login unauthenticated - -"),
        (UNKNOWN, 400, "refusal aws login unauthenticated - -"),
        (NOBODY, 200, "note aws login ok t/nobody -"),
        (ADMIN, 200, "note aws login ok t/admin -"),
    ] {
        let header = [("Authorization", token)];
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &header };
        let response = request(&address, "GET", "/v1/credentials", headers, b"");
        assert_eq!((response.status, told(&response)), (status, vec![line.to_owned()]), "{}", response.text());
        if status == 400 {
            assert_eq!(code(&response), "UnrecognizedClientException");
        }
    }

    let role = "Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fx&RoleSessionName=xx";
    let assume = |token: &str| format!("Action=AssumeRoleWithWebIdentity&{role}&WebIdentityToken={token}");
    for (form, status, part, line) in [
        (assume(&issuer.token()), 200, "<AccessKeyId>ASIA", "note aws login ok payments/ledger -"),
        (assume("nonsense"), 400, "<Code>InvalidIdentityToken<", "refusal aws login unauthenticated - -"),
        (assume(&issuer.unsigned()), 400, "<Code>InvalidIdentityToken<", "refusal aws login unauthenticated - -"),
        (format!("Action=AssumeRole&{role}"), 400, "<Code>InvalidAction<", "refusal aws unknown unsupported - -"),
        (assume(""), 400, "<Code>ValidationError<", "refusal aws unknown malformed - -"),
    ] {
        let headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
        let response = request(&address, "POST", "/", &headers, form.as_bytes());
        assert_eq!((response.status, told(&response)), (status, vec![line.to_owned()]), "{}", response.text());
        assert!(response.text().contains(part), "{}", response.text());
    }
}
