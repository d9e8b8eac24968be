//! `exec` for AWS clients: the one for secrets is led to the proxy, and the others only when that is asked for.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{complained, exec, exec_for, left, names, said, variables};
use crate::harness::Place;
use crate::peers::{installed, ministack};
use crate::stub::{Seen, Stub};

const ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
const CONTAINER: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// Writes a secret and reads it with nothing but what the environment says.
const WRITER: &str = r#"
import boto3, json
session = boto3.Session()
manager = session.client("secretsmanager")
manager.create_secret(Name="app/db", SecretString="first")
manager.put_secret_value(SecretId="app/db", SecretString="second")
value = manager.get_secret_value(SecretId="app/db")["SecretString"]
print(json.dumps({"value": value, "method": session.get_credentials().method}))
"#;

/// Two clients in one process: the one for secrets has its endpoint from the environment, the one for files has it here.
const REPORTER: &str = r#"
import boto3, json, os
session = boto3.Session()
manager, s3 = session.client("secretsmanager"), session.client("s3", endpoint_url=os.environ["REPORTS"])
report = s3.get_object(Bucket="reports", Key="today")["Body"].read().decode()
secret = manager.get_secret_value(SecretId="app/text")["SecretString"]
again = s3.get_object(Bucket="reports", Key="today")["Body"].read().decode()
print(json.dumps({"secret": secret, "reports": [report, again], "method": session.get_credentials().method}))
"#;

/// Lists and reads an account's own names, and tries to write one.
const LISTER: &str = r#"
import boto3, json
manager = boto3.Session().client("secretsmanager")
pages = manager.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": ["app/"]}])
names = [entry["Name"] for page in pages for entry in page["SecretList"]]
value = manager.get_secret_value(SecretId="app/text")
try:
    manager.put_secret_value(SecretId="app/text", SecretString="other")
    write = "written"
except manager.exceptions.ClientError as error:
    write = error.response["Error"]["Code"]
print(json.dumps({"names": names, "value": value["SecretString"], "arn": value["ARN"], "write": write}))
"#;

/// `exec` for AWS clients around a program of boto3 that finds no credentials and no settings but those it is given.
fn boto3(place: &Place, options: &[&str], program: &str) -> Command {
    let python = installed().python.to_str().unwrap();
    let mut command = exec_for("aws", place, options, &[python, "-c", program]);
    command.env("HOME", place.path()).env("NO_PROXY", "127.0.0.1");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_DEFAULT_REGION", "us-east-1");
    command
}

/// A file that serves ministack's secrets below `app` to whoever asks, under ministack's own key.
fn before_ministack(place: &Place) -> PathBuf {
    let key = place.write("backend.json", ministack().credential("backend").to_string().as_bytes());
    let policy = place.write("all.cedar", b"@id(\"all\") permit (principal, action, resource);\n");
    let audit = place.directory("audit").join("audit.jsonl");
    let text = r#"
version: 1
audit: {sinks: [{type: file, path: 'AUDIT'}]}
admin: {address: '127.0.0.1:1'}
listeners: [{wire: aws, address: '127.0.0.1:2', auth: workload, account: "000000000000", region: us-east-1}]
identity: {workload: {principal: t/exec}}
policies: ['POLICY']
secrets: {infra/aws: {file: 'KEY'}}
backends:
  - name: cloud
    type: aws-secrets-manager
    config: {region: us-east-1, endpoint: 'MINISTACK', sts_endpoint: 'MINISTACK', credentials_path: infra/aws}
    path_mapping: [{from: "app/**", to: "app/**"}]
"#;
    let text = text
        .replace("AUDIT", &audit.display().to_string())
        .replace("POLICY", &policy.display().to_string())
        .replace("KEY", &key.display().to_string())
        .replace("MINISTACK", &ministack().addr);
    place.write("config.yaml", text.as_bytes())
}

#[test]
fn aws_clients_are_given_the_endpoint_of_secrets_and_nothing_that_concerns_the_others() {
    let place = Place::new();
    let set = variables(&mut exec_for("aws", &place, &[], &["env"]));
    assert_eq!(names(&set), [ENDPOINT, "LANG", "PATH", "TMPDIR"]);
    let endpoint = &set.iter().find(|(name, _)| name == ENDPOINT).unwrap().1;
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");

    let both = variables(&mut exec_for("vault,aws", &place, &[], &["env"]));
    assert_eq!(names(&both), [ENDPOINT, "BAO_ADDR", "LANG", "PATH", "TMPDIR", "VAULT_ADDR", "VAULT_TOKEN"]);

    let mut command = exec_for("aws", &place, &[], &["env"]);
    let own = [("AWS_ACCESS_KEY_ID", "AKIAOFTHEPROGRAM0001"), ("AWS_PROFILE", "mine"), (ENDPOINT, "http://elsewhere")];
    let set = variables(command.envs(own));
    assert_eq!(names(&set), ["AWS_ACCESS_KEY_ID", ENDPOINT, "AWS_PROFILE", "LANG", "PATH", "TMPDIR"]);
    assert!(set.contains(&("AWS_PROFILE".to_owned(), "mine".to_owned())), "{set:?}");
    assert!(set.iter().all(|(_, value)| !value.contains("elsewhere")), "{set:?}");
}

#[test]
fn credentials_for_every_aws_client_are_asked_for_and_warned_of() {
    let place = Place::new();
    let all = ["--cloud-credentials"];
    let output = exec_for("aws", &place, &all, &["true"]).output().unwrap();
    assert!(output.status.success(), "{}", complained(&output));
    let warned = format!("{CONTAINER} is set for every AWS client of the command");
    assert!(complained(&output).contains(&warned), "{}", complained(&output));
    let quiet = exec_for("aws", &place, &[], &["true"]).output().unwrap();
    assert!(!complained(&quiet).contains(CONTAINER), "{}", complained(&quiet));

    let set = variables(&mut exec_for("aws", &place, &all, &["env"]));
    let value = |wanted: &str| set.iter().find(|(name, _)| name == wanted).unwrap().1.as_str();
    assert_eq!(names(&set), [TOKEN, CONTAINER, "AWS_DEFAULT_REGION", ENDPOINT, "AWS_REGION", "LANG", "PATH", "TMPDIR"]);
    assert_eq!(value(CONTAINER), format!("{}/v1/credentials", value(ENDPOINT)));
    assert_eq!((value(TOKEN), value("AWS_REGION")), ("workload", "us-east-1"));

    // a region that is there stays
    let mut command = exec_for("aws", &place, &all, &["env"]);
    let set = variables(command.env("AWS_DEFAULT_REGION", "eu-west-1"));
    assert_eq!(names(&set), [TOKEN, CONTAINER, "AWS_DEFAULT_REGION", ENDPOINT, "LANG", "PATH", "TMPDIR"]);
    assert!(set.contains(&("AWS_DEFAULT_REGION".to_owned(), "eu-west-1".to_owned())), "{set:?}");

    let output = exec(&place, &all, &["echo", "it-ran"]).output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), ""));
    assert!(complained(&output).contains("--cloud-credentials: needs --wire aws"), "{}", complained(&output));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

#[test]
fn a_program_without_any_credentials_reads_and_writes_with_those_of_its_proxy() {
    let place = Place::new();
    let output = boto3(&place, &["--cloud-credentials"], WRITER).output().unwrap();
    assert!(output.status.success(), "{}", complained(&output));
    let told: Value = serde_json::from_str(&said(&output)).unwrap();
    assert_eq!(told, json!({"value": "second", "method": "container-role"}));

    let output = boto3(&place, &[], WRITER).output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), ""), "without them it cannot even ask");
    assert!(complained(&output).contains("NoCredentialsError"), "{}", complained(&output));
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

/// The program's key is one that ministack does not know: what comes from there was asked for under the proxy's own.
#[test]
fn an_s3_client_of_the_same_process_goes_where_it_went_under_its_own_key() {
    const KEY: &str = "AKIAOFTHEPROGRAM0001";
    let place = Place::new();
    let config = before_ministack(&place);
    let config = config.to_str().unwrap();
    // the program's own credentials come before those it is offered
    for options in [&["--config", config][..], &["--config", config, "--cloud-credentials"]] {
        let files = Stub::start(|_: &Seen| (200, "made-up report".to_owned()));
        let mut command = boto3(&place, options, REPORTER);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", "/made/up+secret/key+of+the+program0000");
        let output = command.env("REPORTS", format!("http://{}", files.address())).output().unwrap();
        assert!(output.status.success(), "{options:?}: {}", complained(&output));
        let told: Value = serde_json::from_str(&said(&output)).unwrap();
        let report = "made-up report";
        assert_eq!(
            told,
            json!({"secret": "made-up text, no object", "reports": [report, report], "method": "env"}),
            "{options:?}"
        );
        let seen = files.seen();
        assert_eq!(seen.len(), 2, "{options:?}: {seen:?}");
        for seen in &seen {
            assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/reports/today"));
            let signature = seen.header("authorization").unwrap();
            assert!(signature.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY}/")), "{signature}");
            assert!(signature.contains("/us-east-1/s3/aws4_request, "), "{signature}");
            assert_eq!(seen.header("x-amz-security-token"), None);
        }
    }
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}

/// What `dev --backend aws-secrets-manager=REGION --profile P` serves, on free ports. The profile says where its account is.
#[test]
fn the_accounts_own_names_are_served_under_the_key_of_a_profile() {
    let place = Place::new();
    let key = ministack().credential("backend");
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("access_key_id"), text("secret_access_key"));
    let endpoint = &ministack().addr;
    let profile = format!(
        "[profile account]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\nendpoint_url = {endpoint}\n"
    );
    place.write(".aws/config", profile.as_bytes());
    let mut command = boto3(&place, &["--backend", "aws-secrets-manager=us-east-1", "--profile", "account"], LISTER);
    // the program's own key, which ministack does not know
    command.env("AWS_ACCESS_KEY_ID", "AKIAOFTHEPROGRAM0001").env("AWS_SECRET_ACCESS_KEY", "made/up+program");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", complained(&output));
    let told: Value = serde_json::from_str(&said(&output)).unwrap();
    assert_eq!(told["names"], json!(["app/binary", "app/db", "app/nested/deep", "app/text"]));
    assert_eq!((&told["value"], &told["write"]), (&json!("made-up text, no object"), &json!("AccessDeniedException")));
    let arn = told["arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:secretsmanager:us-east-1:000000000000:secret:app/text-"), "{arn}");
    assert_eq!(left(&place), Vec::<PathBuf>::new());
}
