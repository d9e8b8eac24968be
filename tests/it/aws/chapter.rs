//! The federation chapter's AWS backend, word for word as it is printed there, before the hosts it means: nothing but a
//! `proxy_url` is added, behind which ministack verifies every signature, session and permission.

use serde_json::{Value, json};

use super::egress::Egress;
use super::relay::{Call, Relay};
use super::sign::ACCOUNT;
use super::world::{Client, Desk, app, builder, config, secret};
use crate::harness::{ADMIN, Proxy};
use crate::peers::Aws;

const PRINTED: &str = include_str!("../federation/chapter/aws.sh");
const SECRETS: &str = "secretsmanager.us-east-1.amazonaws.com";
const STS: &str = "sts.us-east-1.amazonaws.com";
/// What its rule makes of `prod/orders/db`.
const PATH: &str = "external/aws/orders/db";

/// The body of the chapter's command.
fn printed() -> Value {
    let (_, body) = PRINTED.split_once("-d '").unwrap();
    let (body, _) = body.rsplit_once('\'').unwrap();
    serde_json::from_str(body).unwrap()
}

/// A proxy with this backend, made over the API behind a forward proxy, and its credential stored as the chapter says.
fn with(server: &Aws, egress: &Egress, mut body: Value) -> Proxy {
    body["config"]["proxy_url"] = json!(egress.url());
    let rest = format!("federation: {{allow_endpoints: ['{}']}}\n", egress.url());
    let text = config("path: {dir}/store/store.redb, local: [infra]", &rest);
    let proxy = egress.trusted_by(builder(server)).config(&text).start();
    let credential = json!({"data": server.credential("backend"), "secret_type": "json"});
    for (method, path, document) in
        [("PUT", "/v1/secrets/infra/aws/sm/reader", credential), ("POST", "/v1/federation/backends", body)]
    {
        let answer = proxy.scaivault_call(ADMIN, method, path, document.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }
    proxy
}

/// Over the aws, the vault and our own wire.
fn reads(proxy: &Proxy, mode: &str) {
    assert_eq!(Client::of(proxy, app()).text(PATH), r#"{"password":"made-up-prod"}"#);
    let over_vault = proxy.vault_call(ADMIN, "GET", &format!("/v1/secret/data/{PATH}"), b"");
    assert_eq!(over_vault.status, 200, "{}", over_vault.text());
    assert_eq!(over_vault.json()["data"]["data"], json!({"password": "made-up-prod"}));
    let own = secret(proxy, PATH).json();
    assert_eq!((&own["data"]["password"], &own["source"]["mode"]), (&json!("made-up-prod"), &json!(mode)), "{own}");
    assert_eq!(own["source"]["backend"], "aws-prod-sm");
}

/// The role was assumed once, with the stored key, and everything else is signed by that session. Yields the login.
fn signed_by_one_session(relay: &Relay, server: &Aws, role: &str) -> Call {
    let calls = relay.calls();
    let (mut logins, others): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.operation == "AssumeRole");
    assert_eq!(logins.len(), 1, "{logins:?}");
    let login = logins.remove(0);
    let stored = server.credential("backend");
    let stored = format!("AWS4-HMAC-SHA256 Credential={}/", stored["access_key_id"].as_str().unwrap());
    assert!(login.header("authorization").starts_with(&stored), "{login:?}");
    assert_eq!((login.header("host"), login.header("x-amz-security-token")), (STS, ""), "{login:?}");
    assert_eq!(login.field("RoleArn").as_deref(), Some(role));
    assert!(!others.is_empty());
    let session = others[0].header("x-amz-security-token").to_owned();
    for call in &others {
        assert_eq!(call.header("host"), SECRETS, "{call:?}");
        assert!(!call.header("authorization").starts_with(&stored), "signed with the stored key: {call:?}");
        assert!(!session.is_empty() && call.header("x-amz-security-token") == session, "{call:?}");
    }
    login
}

#[test]
fn the_chapters_aws_backend_works_as_printed_and_proxied() {
    let server = Aws::of_account(ACCOUNT);
    for (mode, is_sealed) in [("sync", false), ("proxy", true)] {
        let relay = Relay::to(server.address());
        let egress = Egress::before(&relay, is_sealed);
        let mut body = printed();
        assert_eq!(
            (&body["mode"], &body["config"]["role_arn"]),
            (&json!("sync"), &json!(server.text("plain_role_arn")))
        );
        body["mode"] = json!(mode);
        let proxy = with(&server, &egress, body);
        if mode == "sync" {
            // the two permissions the chapter asks for are all that the role has
            let desk = Desk::of(&proxy, "aws-prod-sm");
            let report = desk.complete();
            assert_eq!((desk.total("created"), &report["error_count"]), (1, &json!(0)), "{report:#}");
        }
        reads(&proxy, mode);
        let login = signed_by_one_session(&relay, &server, server.text("plain_role_arn"));
        assert_eq!(login.field("ExternalId"), None);
        assert_eq!(egress.asked(), [format!("{SECRETS}:443"), format!("{STS}:443")], "{mode}");
        relay.forget();
        reads(&proxy, mode);
        let asked = relay.calls().len();
        assert!(if mode == "sync" { asked == 0 } else { asked >= 3 }, "{mode}: {:?}", relay.calls());
    }
}

#[test]
fn a_role_that_asks_for_an_external_id_is_assumed_with_it_only() {
    let server = Aws::of_account(ACCOUNT);
    let told = server.text("external_id").to_owned();
    for (mode, external_id) in [("proxy", Some(told.as_str())), ("sync", Some(told.as_str())), ("proxy", None)] {
        let relay = Relay::to(server.address());
        let egress = Egress::before(&relay, false);
        let mut body = printed();
        body["mode"] = json!(mode);
        body["config"]["role_arn"] = json!(server.text("role_arn"));
        if let Some(id) = external_id {
            body["config"]["external_id"] = json!(id);
        }
        let proxy = with(&server, &egress, body);
        if mode == "sync" {
            Desk::of(&proxy, "aws-prod-sm").complete();
        }
        if external_id.is_some() {
            reads(&proxy, mode);
            let login = signed_by_one_session(&relay, &server, server.text("role_arn"));
            assert_eq!(login.field("ExternalId"), external_id.map(str::to_owned));
        } else {
            let answer = Client::of(&proxy, app()).call("GetSecretValue", &json!({"SecretId": PATH}));
            assert!(answer.status >= 400 && !answer.text().contains("made-up"), "{}", answer.text());
            assert!(relay.count("AssumeRole") > 0);
            assert!(relay.calls().iter().all(|call| call.operation == "AssumeRole"), "{:?}", relay.calls());
        }
    }
}
