//! Keys for whoever has another proof: a workload's own token becomes an access key, by environment alone. Asked for by boto3,
//! which is not told where it is.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::sign::{Keys, Scope};
use super::world::{Client, admin, builder, config};
use crate::harness::{ADMIN, Place, Proxy, request};
use crate::identity::Issuer;
use crate::peers::{installed, moto};

/// A client that knows nothing but its environment: who it is to the SDK, and what it may read.
const CLIENT: &str = r#"
import json, boto3
session = boto3.Session()
manager = session.client("secretsmanager")
try:
    other = manager.get_secret_value(SecretId="local/other/db")["SecretString"]
except manager.exceptions.ClientError as error:
    other = error.response["Error"]["Code"]
own = [manager.get_secret_value(SecretId="local/ledger/db")["SecretString"] for _ in range(3)]
keys = session.get_credentials()
print(json.dumps({"own": own, "other": other, "method": keys.method, "id": keys.access_key[:4], "token": bool(keys.token)}))
"#;

/// Workloads of the namespace `payments` read the folder named after their service account.
const JWT: &str = r#"identity:
  jwt:
    - issuer: https://issuer.example
      audiences: [scaivault]
      jwks_file: {dir}/jwks.json
      allow: {namespace: [payments]}
      principal: "{{namespace}}/{{service_account}}"
      folders: ["local/{{service_account}}"]
"#;

const POLICIES: &str = r#"
@id("admins-do-everything")
permit (principal in Group::"admins", action, resource);

@id("own-folders")
permit (principal, action == Action::"read", resource) when { resource in principal.folders };
"#;

fn started(issuer: &Issuer) -> Proxy {
    let text = config("local: [local]", "").replace("identity:\n", JWT);
    let builder = builder(moto()).file("jwks.json", issuer.jwks()).file("aws.cedar", POLICIES);
    let proxy = builder.config(&text).start();
    let client = Client::of(&proxy, admin());
    for name in ["local/ledger/db", "local/other/db"] {
        client.ok("CreateSecret", &json!({"Name": name, "SecretString": name}));
    }
    proxy
}

/// boto3 with nothing in its environment but these variables and the endpoint.
fn boto3(proxy: &Proxy, variables: &[(&str, String)]) -> Value {
    let place = Place::new();
    let done = Command::new(&installed().python)
        .args(["-c", CLIENT])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", place.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://{}", proxy.address("aws")))
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{variables:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn reads_its_own(said: &Value, method: &str) {
    assert_eq!(said["own"], json!(["local/ledger/db", "local/ledger/db", "local/ledger/db"]), "{said}");
    assert_eq!((&said["other"], &said["method"]), (&json!("AccessDeniedException"), &json!(method)), "{said}");
    assert_eq!((&said["id"], &said["token"]), (&json!("ASIA"), &json!(true)), "a key that ends by itself: {said}");
}

#[test]
fn a_web_identity_becomes_a_key_by_environment_alone() {
    let issuer = Issuer::new("one");
    let proxy = started(&issuer);
    let place = Place::new();
    let token = place.write("token", issuer.token().as_bytes());
    let said = boto3(
        &proxy,
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/of-nobody".to_owned()),
            ("AWS_ROLE_SESSION_NAME", "of-a-test".to_owned()),
            ("AWS_ENDPOINT_URL_STS", format!("http://{}", proxy.address("aws"))),
        ],
    );
    reads_its_own(&said, "assume-role-with-web-identity");
    let lines = proxy.audit();
    let logins = lines.iter().filter(|line| line["operation"] == "login" && line["outcome"] == "ok");
    assert_eq!(logins.count(), 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line["principal"] == "payments/ledger" && line["path"] == "local/ledger/db"));
}

#[test]
fn container_credentials_are_a_key_of_whoever_asks() {
    let issuer = Issuer::new("one");
    let proxy = started(&issuer);
    let place = Place::new();
    let token = place.write("token", issuer.token().as_bytes());
    let said = boto3(
        &proxy,
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/v1/credentials", proxy.address("aws"))),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
        ],
    );
    reads_its_own(&said, "container-role");
}

#[test]
fn who_proves_nothing_gets_no_key() {
    let issuer = Issuer::new("one");
    let proxy = started(&issuer);
    let address = proxy.address("aws");
    let ask =
        |authorization: &str| request(&address, "GET", "/v1/credentials", &[("Authorization", authorization)], b"");
    let given = ask(&issuer.token());
    assert_eq!(given.status, 200, "{}", given.text());
    let answer = given.json();
    for field in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId"] {
        assert!(answer[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {answer}");
    }
    let read = Keys::of_container(&answer).sign(
        &address,
        &Scope::now(),
        "GetSecretValue",
        br#"{"SecretId":"local/ledger/db"}"#,
    );
    assert_eq!(read.send(&address).unwrap().status, 200);

    let none = request(&address, "GET", "/v1/credentials", &[], b"");
    let stranger = Issuer::new("one").token();
    let elsewhere = issuer.token_with(&json!({"namespace": "other"}));
    let refused = [none, ask(""), ask("nonsense"), ask(&stranger), ask(&elsewhere), ask(&issuer.unsigned())];
    for answer in &refused {
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert!(!answer.text().contains("SecretAccessKey"), "{answer:?}");
    }
    assert_eq!(ask(ADMIN).status, 200, "a configured token is a proof, too");

    let form = |parameters: &str| {
        let headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
        request(&address, "POST", "/", &headers, parameters.as_bytes())
    };
    let role = "Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fx&RoleSessionName=xx";
    let assume = |token: &str| form(&format!("Action=AssumeRoleWithWebIdentity&{role}&WebIdentityToken={token}"));
    let given = assume(&issuer.token());
    assert_eq!(given.status, 200, "{}", given.text());
    assert!(given.text().contains("<AccessKeyId>ASIA") && given.text().contains("<RequestId>"), "{}", given.text());
    for answer in [
        assume(&stranger),
        assume(&issuer.unsigned()),
        assume("nonsense"),
        form("Action=GetCallerIdentity&Version=2011-06-15"),
        form(&format!("Action=AssumeRole&{role}")),
        form(""),
    ] {
        assert!((400..500).contains(&answer.status) && answer.text().contains("<Error>"), "{answer:?}");
        assert!(!answer.text().contains("AccessKeyId"), "{answer:?}");
    }
}
