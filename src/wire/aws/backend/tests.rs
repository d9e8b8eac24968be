use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::backend::{HttpSettings, Toll, client_config, tolled};
use crate::secret::{DESCRIPTION, Metadata, Rank, RemoteName, SecretType, SecretValue, VersionSet};

/// A service that gives scripted answers, one a connection, and keeps what it was asked.
struct Service {
    url: Url,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn answering(script: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let mut script: VecDeque<(u16, String)> =
            script.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Some((status, body)) = script.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    let mut part = [0; 4096];
                    let count = stream.read(&mut part).await.unwrap();
                    assert!(count > 0, "cut short");
                    request.extend_from_slice(&part[..count]);
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

fn keys(names: &'static [&'static str]) -> AwsIdentity {
    let left = Mutex::new(names.iter().copied());
    AwsIdentity::Keys(KeySource::Stored(Arc::new(move || {
        let mut left = left.lock().unwrap();
        let id = left.next().ok_or("no more keys")?;
        Ok(SecretValue::new(format!(r#"{{"access_key_id":"{id}","secret_access_key":"made-up"}}"#).into_bytes()))
    })))
}

fn client(service: &Service, identity: AwsIdentity) -> AwsBackend {
    let tls = client_config(None, None, false).unwrap();
    let timeout = Duration::from_secs(5);
    AwsBackend::new(AwsSettings {
        region: "eu-west-1".to_owned(),
        endpoint: Some(service.url.clone()),
        sts_endpoint: Some(service.url.clone()),
        identity,
        kms_key_id: Some("alias/k".to_owned()),
        tags: vec![("team".to_owned(), "a".to_owned())],
        http: HttpClient::new(HttpSettings { tls, connect_timeout: timeout }).unwrap(),
        timeout,
        attempt_timeout: timeout,
    })
    .unwrap()
}

fn ask(remote: &RemoteName) -> Ask<'_> {
    Ask { remote, kv2_segment: None, dialect: Dialect::Neutral, request_id: "01REQUEST", principal: None }
}

const VALUE: &str =
    r#"{"Name":"app/db","VersionId":"v","VersionStages":["AWSCURRENT"],"CreatedDate":2,"SecretString":"s"}"#;
const STRANGER: &str = r#"{"__type":"UnrecognizedClientException","message":"x"}"#;
const ABSENT: &str = r#"{"__type":"ResourceNotFoundException","Message":"x"}"#;
const THROTTLED: &str = r#"{"__type":"ThrottlingException","Message":"Rate exceeded"}"#;

async fn read(client: &AwsBackend) -> Result<Reply, BackendError> {
    let remote = RemoteName::parse("app/db").unwrap();
    client.read(ask(&remote), &VersionSelector::Current).await
}

#[tokio::test]
async fn a_read_is_one_signed_call() {
    let service = Service::answering(&[(200, VALUE)]).await;
    let client = client(&service, keys(&["AKIDONE"]));
    let Ok(Reply::Neutral(Outcome::Record(record))) = read(&client).await else { panic!("not a record") };
    assert_eq!(record.value.unwrap().expose(), b"s");
    let seen = service.seen();
    assert_eq!(seen.len(), 1);
    let request = seen[0].to_lowercase();
    assert!(request.starts_with("post / http/1.1\r\n"), "{request}");
    for part in [
        "x-amz-target: secretsmanager.getsecretvalue\r\n",
        "content-type: application/x-amz-json-1.1\r\n",
        "authorization: aws4-hmac-sha256 credential=akidone/",
        "x-request-id: 01request\r\n",
        "\r\n\r\n{\"secretid\":\"app/db\"}",
    ] {
        assert!(request.contains(part), "{part}\n{request}");
    }
}

#[tokio::test]
async fn refused_keys_are_read_anew_and_the_call_is_made_again() {
    let service = Service::answering(&[(400, STRANGER), (200, VALUE)]).await;
    let client = client(&service, keys(&["AKIDOLD", "AKIDNEW"]));
    assert!(read(&client).await.is_ok());
    let seen = service.seen();
    assert!(seen[0].contains("Credential=AKIDOLD/") && seen[1].contains("Credential=AKIDNEW/"));
}

#[tokio::test]
async fn keys_that_stay_refused_are_not_tried_over_and_over() {
    let service = Service::answering(&[(400, STRANGER)]).await;
    let client = client(&service, keys(&["AKIDONE", "AKIDONE"]));
    for _ in 0..2 {
        let error = read(&client).await.unwrap_err();
        assert!(error.is_refusal(), "{error:?}");
    }
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn throttled_calls_are_made_again_writes_too() {
    let service = Service::answering(&[(400, THROTTLED), (400, THROTTLED), (200, VALUE)]).await;
    assert!(read(&client(&service, keys(&["AKIDONE"]))).await.is_ok());
    assert_eq!(service.seen().len(), 3);
    let service = Service::answering(&[(400, THROTTLED), (200, "{}")]).await;
    let remote = RemoteName::parse("app/db").unwrap();
    let done = client(&service, keys(&["AKIDONE"])).write(ask(&remote), Change::Purge).await;
    assert!(matches!(done, Ok(Outcome::Done)), "{done:?}");
}

#[tokio::test]
async fn a_value_of_a_secret_that_is_not_there_makes_one() {
    let created = r#"{"Name":"app/db","VersionId":"11111111-2222-4333-8444-555555555555"}"#;
    let service = Service::answering(&[(400, ABSENT), (200, created), (500, ""), (500, "")]).await;
    let client = client(&service, keys(&["AKIDONE"]));
    let remote = RemoteName::parse("app/db").unwrap();
    let value = SecretValue::copy_of(b"{}");
    let put = put(&value, None, false);
    let Ok(Outcome::Written(info, _)) = client.write(ask(&remote), put).await else { panic!("not written") };
    assert_eq!(info.native_id.as_deref(), Some("11111111-2222-4333-8444-555555555555"));
    assert!(info.version > 1_700_000_000_000, "about now, where nobody says");
    let seen = service.seen();
    assert!(seen[0].contains("secretsmanager.PutSecretValue") && seen[1].contains("secretsmanager.CreateSecret"));
    assert!(seen[1].contains(r#""KmsKeyId":"alias/k","Tags":[{"Key":"team","Value":"a"}]"#));
}

const ID: &str = "11111111-2222-4333-8444-555555555555";
const WRITTEN: &str = r#"{"Name":"app/db","VersionId":"11111111-2222-4333-8444-555555555555"}"#;
const EXISTS: &str = r#"{"__type":"ResourceExistsException","Message":"x"}"#;
const DELETED: &str = r#"{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}"#;

fn put<'a>(value: &'a SecretValue, stages: Option<&'a [String]>, revives: bool) -> Change<'a> {
    let token = stages.map(|_| ID);
    Change::Put { value, secret_type: SecretType::Json, expected: None, token, stages, revives }
}

/// What a change comes to against scripted answers, and what the service was asked.
async fn changed(script: &[(u16, &str)], change: Change<'_>) -> (Result<Outcome, BackendError>, Vec<String>) {
    let service = Service::answering(script).await;
    let remote = RemoteName::parse("app/db").unwrap();
    let done = client(&service, keys(&["AKIDONE"])).write(ask(&remote), change).await;
    (done, service.seen())
}

#[tokio::test]
async fn a_version_is_put_under_the_labels_it_was_given() {
    let (value, stages) = (SecretValue::copy_of(b"{}"), ["AWSPENDING".to_owned()]);
    let (done, seen) = changed(&[(200, WRITTEN), (500, ""), (500, "")], put(&value, Some(&stages), false)).await;
    let Ok(Outcome::Written(info, _)) = done else { panic!("not written") };
    assert_eq!((info.rank, info.stages), (Rank::Other, vec![Box::from("AWSPENDING")]));
    assert!(seen[0].contains(r#""VersionStages":["AWSPENDING"]"#), "{}", seen[0]);
    let (absent, seen) = changed(&[(400, ABSENT)], put(&value, Some(&stages), false)).await;
    assert!(matches!(absent, Err(BackendError::Conflict)), "a new secret's version would be the current one");
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn labels_are_moved_and_secrets_made_without_a_value() {
    let label = Change::Label { stage: "AWSCURRENT", from: Some("v1"), to: Some("v2") };
    let (done, seen) = changed(&[(200, "{}")], label).await;
    assert!(matches!(done, Ok(Outcome::Done)) && seen[0].contains("secretsmanager.UpdateSecretVersionStage"));
    let body = r#"{"SecretId":"app/db","VersionStage":"AWSCURRENT","RemoveFromVersionId":"v1","MoveToVersionId":"v2"}"#;
    assert!(seen[0].ends_with(body), "{}", seen[0]);
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let metadata = Metadata::from([entry(DESCRIPTION, "d"), entry("k", "v")]);
    let (done, seen) = changed(&[(200, "{}")], Change::Create(&metadata)).await;
    assert!(matches!(done, Ok(Outcome::Done)));
    let tags = r#""Tags":[{"Key":"team","Value":"a"},{"Key":"k","Value":"v"}]}"#;
    let body = format!(r#"{{"Name":"app/db","Description":"d","KmsKeyId":"alias/k",{tags}"#);
    assert!(seen[0].ends_with(&body), "{}", seen[0]);
    let (taken, _) = changed(&[(400, EXISTS)], Change::Create(&metadata)).await;
    assert!(matches!(taken, Err(BackendError::Conflict)));
}

#[tokio::test]
async fn a_deletion_window_is_the_one_that_was_asked_for() {
    for (days, sent) in [(Some(9), 9), (None, 30), (Some(3), 7)] {
        let (done, seen) = changed(&[(200, "{}")], Change::Delete(&VersionSet::All, days)).await;
        assert!(matches!(done, Ok(Outcome::Done)));
        assert!(seen[0].ends_with(&format!(r#"{{"SecretId":"app/db","RecoveryWindowInDays":{sent}}}"#)), "{}", seen[0]);
    }
}

#[tokio::test]
async fn only_a_deletion_the_writer_knew_of_is_undone_by_a_put() {
    let value = SecretValue::copy_of(b"{}");
    let (refused, seen) = changed(&[(400, DELETED)], put(&value, None, false)).await;
    assert!(matches!(refused, Err(BackendError::Conflict)) && seen.len() == 1);
    let script = [(400, DELETED), (200, "{}"), (200, WRITTEN), (500, ""), (500, "")];
    let (done, seen) = changed(&script, put(&value, None, true)).await;
    assert!(matches!(done, Ok(Outcome::Written(..))) && seen[1].contains("secretsmanager.RestoreSecret"));
}

#[tokio::test]
async fn w04_a_write_that_failed_midway_is_a_doubt() {
    let service = Service::answering(&[(503, "<html>")]).await;
    let client = client(&service, keys(&["AKIDONE"]));
    let remote = RemoteName::parse("app/db").unwrap();
    let lost = client.write(ask(&remote), Change::Purge).await;
    assert!(matches!(lost, Err(BackendError::Unknown(_))), "{lost:?}");
}

#[tokio::test]
async fn lists_follow_every_page() {
    let entry = |name: &str| {
        format!(r#"{{"Name":"{name}","LastChangedDate":1,"SecretVersionsToStages":{{"v":["AWSCURRENT"]}}}}"#)
    };
    let one = format!(r#"{{"SecretList":[{}],"NextToken":"t"}}"#, entry("app/a"));
    let two = format!(r#"{{"SecretList":[{},{}]}}"#, entry("app/b/c"), entry("APP/d"));
    let service = Service::answering(&[(200, one.as_str()), (200, two.as_str())]).await;
    let client = client(&service, keys(&["AKIDONE"]));
    let remote = RemoteName::parse("app").unwrap();
    let listed = client.list(ask(&remote)).await.unwrap();
    assert_eq!(listed.names, ["a", "b/c"]);
    assert_eq!(listed.described.len(), 2);
    let seen = service.seen();
    assert!(seen[0].contains(r#""IncludePlannedDeletion":true,"Filters":[{"Key":"name","Values":["app/"]}]"#));
    assert!(seen[1].contains(r#""NextToken":"t""#));
    let service = Service::answering(&[(200, two.as_str())]).await;
    let listed = self::client(&service, keys(&["AKIDONE"])).list_by_prefix(ask(&remote), "b/").await.unwrap();
    assert_eq!(listed.names, ["b/c"], "the service is not taken at its word");
    assert!(service.seen()[0].contains(r#""Filters":[{"Key":"name","Values":["app/b/"]}]"#));
    let cut = Service::answering(&[(200, one.as_str()), (400, THROTTLED), (400, ABSENT)]).await;
    let failed = self::client(&cut, keys(&["AKIDONE"])).list(ask(&remote)).await;
    assert!(failed.is_err(), "a list that was cut short is none");
}

/// Lets so many further requests through.
struct Allowance(AtomicU64);

#[async_trait]
impl Toll for Allowance {
    async fn further(&self) -> Result<(), BackendError> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| BackendError::Unsupported)
    }
}

#[tokio::test]
async fn each_page_and_each_second_try_is_a_request_that_is_counted() {
    let one = r#"{"SecretList":[{"Name":"a"}],"NextToken":"t"}"#;
    let two = r#"{"SecretList":[{"Name":"b"}]}"#;
    let script = [(200, one), (400, THROTTLED), (200, two)];
    let service = Service::answering(&script).await;
    let remote = RemoteName::root();
    let client = self::client(&service, keys(&["AKIDONE"]));
    let (listed, spent) = tolled(Arc::new(Allowance(AtomicU64::new(9))), client.list(ask(&remote))).await;
    assert_eq!(listed.unwrap().names, ["a", "b"]);
    assert_eq!((spent.requests(), spent.unasked()), (3, 1));
    let service = Service::answering(&script).await;
    let client = self::client(&service, keys(&["AKIDONE"]));
    let (listed, _) = tolled(Arc::new(Allowance(AtomicU64::new(0))), client.list(ask(&remote))).await;
    assert!(matches!(listed, Err(BackendError::Unsupported)), "{listed:?}");
    assert_eq!(service.seen().len(), 1, "no page is asked for that is not allowed");
}

#[tokio::test]
async fn a_role_is_assumed_with_stored_keys() {
    let assumed = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
        <SecretAccessKey>x</SecretAccessKey><SessionToken>made-up-token</SessionToken>\
        <Expiration>2199-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let service = Service::answering(&[(200, assumed), (200, VALUE)]).await;
    let AwsIdentity::Keys(source) = keys(&["AKIDBASE"]) else { panic!("not keys") };
    let role = Role {
        arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        external_id: Some("e".to_owned()),
        session_name: Some("s1".to_owned()),
    };
    let client = client(&service, AwsIdentity::Role(source, role));
    assert!(read(&client).await.is_ok());
    let seen = service.seen();
    assert!(seen[0].contains("Credential=AKIDBASE/") && seen[0].contains("/eu-west-1/sts/aws4_request"));
    assert!(seen[0].ends_with("RoleSessionName=s1&ExternalId=e"), "{}", seen[0]);
    assert!(seen[1].contains("Credential=ASIAROLE/") && seen[1].contains("x-amz-security-token: made-up-token"));
}
