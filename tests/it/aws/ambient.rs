//! The process's own identity: every place an SDK would look for keys in, each with a stand-in for what is there, and what a
//! read is signed with then. What hands out keys over HTTPS is asked under its own name, behind a forward proxy.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::json;

use super::egress::Egress;
use super::relay::{Call, Fate, Relay};
use super::world::{builder, config, secret};
use crate::harness::Response;
use crate::peers::moto;

/// What whoever hands out keys hands out.
const ID: &str = "ASIAMADEUPMADEUPMADE";
const SESSION: &str = "made-up-session-token";
const ENDS: &str = "2099-01-01T00:00:00Z";
/// The same in milliseconds.
const ENDS_MILLIS: u64 = 4_070_908_800_000;
/// Keys of an environment or a file.
const OWN: &str = "AKIAMADEUPMADEUPMADE";
const OWN_ENV: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", OWN), ("AWS_SECRET_ACCESS_KEY", "made/up+own")];
const NOWHERE: &str = "http://127.0.0.1:1";

/// Keys as the container endpoint, the instance's metadata and a `credential_process` say them.
fn keys() -> String {
    json!({
        "Version": 1, "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "AccessKeyId": ID,
        "SecretAccessKey": "made/up+secret", "Token": SESSION, "SessionToken": SESSION, "Expiration": ENDS,
    })
    .to_string()
}

/// Keys as the token service says them.
fn session(action: &str) -> Fate {
    let text = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/reader/x</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{ID}</AccessKeyId><SecretAccessKey>made/up+secret</SecretAccessKey>\
         <SessionToken>{SESSION}</SessionToken><Expiration>{ENDS}</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    );
    Fate::Answer(200, text)
}

/// A relay to nobody: it answers reads itself, and everything else as `others` says.
fn relay(others: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Relay {
    let relay = Relay::to("127.0.0.1:1");
    relay.decide(move |call| {
        if call.operation != "GetSecretValue" {
            return others(call);
        }
        let value = json!({
            "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf", "Name": "app/db",
            "VersionId": "11111111-2222-4333-8444-555555555555", "VersionStages": ["AWSCURRENT"], "CreatedDate": 1,
            "SecretString": "made-up value",
        });
        Fate::Answer(200, value.to_string())
    });
    relay
}

/// Nothing but reads is expected.
fn nothing(call: &Call) -> Fate {
    Fate::Answer(500, format!("not expected: {call:?}"))
}

/// A process in a home of its own: `HOME` in texts is that home.
#[derive(Default)]
struct Surroundings<'a> {
    env: Vec<(&'a str, &'a str)>,
    files: Vec<(&'a str, &'a str)>,
    /// Further keys of the backend, each after a comma.
    keys: &'a str,
    egress: Option<&'a Egress>,
}

impl Surroundings<'_> {
    /// Reads a secret; yields what was asked on the way.
    fn read(self, relay: &Relay) -> Vec<Call> {
        let there = format!("endpoint: 'http://{0}', sts_endpoint: 'http://{0}'", relay.address());
        self.read_from(&there, relay)
    }

    /// The same with an endpoint as given, or none.
    fn read_from(self, there: &str, relay: &Relay) -> Vec<Call> {
        let mut inside: Vec<String> = vec!["region: us-east-1".to_owned()];
        inside.extend([there, self.keys].into_iter().filter(|keys| !keys.is_empty()).map(str::to_owned));
        inside.extend(self.egress.map(|egress| format!("proxy_url: '{}'", egress.url())));
        let rest = format!(
            "secrets: {{infra/aws: {{file: {{dir}}/backend.json}}}}\nbackends:\n  - name: aws\n    \
             type: aws-secrets-manager\n    config: {{{}}}\n    path_mapping: [{{from: 'external/aws/**', to: '**'}}]\n",
            inside.join(", ")
        );
        let mut builder = builder(moto()).config(&config("local: [local]", &rest));
        let home = builder.dir().display().to_string();
        for (name, text) in self.files {
            builder = builder.file(name, text.replace("HOME", &home));
        }
        // no test asks the machine it runs on
        builder = builder.env("AWS_EC2_METADATA_DISABLED", "true");
        for (name, value) in self.env {
            builder = builder.env(name, value.replace("HOME", &home));
        }
        if let Some(egress) = self.egress {
            builder = egress.trusted_by(builder);
        }
        let proxy = builder.start();
        let answer = secret(&proxy, "external/aws/app/db");
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), proxy.stderr());
        assert_eq!(answer.json()["data"], "made-up value");
        assert!(!proxy.stderr().contains(SESSION), "{}", proxy.stderr());
        relay.calls()
    }
}

/// The one read is signed with this key, and with this session's token if there is one.
fn signed(calls: &[Call], id: &str, session: &str) {
    let reads: Vec<&Call> = calls.iter().filter(|call| call.operation == "GetSecretValue").collect();
    assert_eq!(reads.len(), 1, "{calls:?}");
    let by = format!("AWS4-HMAC-SHA256 Credential={id}/");
    assert!(reads[0].header("authorization").starts_with(&by), "{calls:?}");
    assert_eq!(reads[0].header("x-amz-security-token"), session, "{calls:?}");
}

#[test]
fn keys_of_the_environment_sign_and_its_endpoints_lead_nowhere() {
    let relay = relay(nothing);
    let mut env = OWN_ENV.to_vec();
    env.extend([("AWS_SESSION_TOKEN", SESSION), ("AWS_ENDPOINT_URL", NOWHERE), ("HTTPS_PROXY", NOWHERE)]);
    env.extend([("AWS_ENDPOINT_URL_SECRETS_MANAGER", NOWHERE), ("HTTP_PROXY", NOWHERE)]);
    let calls = Surroundings { env, ..Surroundings::default() }.read(&relay);
    signed(&calls, OWN, SESSION);
}

#[test]
fn keys_of_a_profile_sign_the_one_that_is_named_before_all_others() {
    let file = "[default]\naws_access_key_id = AKIAOFTHEDEFAULT0001\naws_secret_access_key = x\n\
                [other]\naws_access_key_id = AKIAOFANOTHERONE0001\naws_secret_access_key = x\n";
    let named = [("AWS_PROFILE", "other")];
    let all: Vec<_> = OWN_ENV.into_iter().chain([("AWS_PROFILE", "default")]).collect();
    for (env, keys, expected) in [
        (Vec::new(), "", "AKIAOFTHEDEFAULT0001"),
        (named.to_vec(), "", "AKIAOFANOTHERONE0001"),
        (all, "profile: other", "AKIAOFANOTHERONE0001"),
    ] {
        let relay = relay(nothing);
        let files = vec![(".aws/credentials", file)];
        let calls = Surroundings { env, files, keys, egress: None }.read(&relay);
        signed(&calls, expected, "");
    }
}

#[test]
fn a_profile_that_was_named_says_where_its_account_is() {
    let relay = relay(nothing);
    let file = format!(
        "[profile here]\naws_access_key_id = {OWN}\naws_secret_access_key = x\nendpoint_url = http://{}\n",
        relay.address()
    );
    let files = vec![(".aws/config", file.as_str())];
    let calls = Surroundings { files, keys: "profile: here", ..Surroundings::default() }.read_from("", &relay);
    signed(&calls, OWN, "");
}

#[test]
fn keys_of_a_process_sign() {
    let relay = relay(nothing);
    let (process, keys) = ("[profile p]\ncredential_process = cat HOME/keys.json\n", keys());
    let files = vec![(".aws/config", process), ("keys.json", keys.as_str())];
    let calls = Surroundings { files, keys: "profile: p", ..Surroundings::default() }.read(&relay);
    signed(&calls, ID, SESSION);
}

#[test]
fn keys_of_a_single_sign_on_sign() {
    let relay = relay(|call| {
        let is_right = call.target.starts_with("/federation/credentials?")
            && ["role_name=reader", "account_id=123456789012"].iter().all(|part| call.target.contains(part))
            && call.header("x-amz-sso_bearer_token") == "made-up-sso-token"
            && call.header("host") == "portal.sso.us-east-1.amazonaws.com";
        let keys =
            json!({"accessKeyId": ID, "secretAccessKey": "x", "sessionToken": SESSION, "expiration": ENDS_MILLIS});
        if is_right { Fate::Answer(200, json!({"roleCredentials": keys}).to_string()) } else { nothing(call) }
    });
    let egress = Egress::before(&relay, false);
    let file = "[profile p]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n\
                [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://made-up.awsapps.com/start\n";
    // what `aws sso login` leaves behind
    let name: String =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, b"corp").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!(".aws/sso/cache/{name}.json");
    let token = json!({"accessToken": "made-up-sso-token", "expiresAt": ENDS, "region": "us-east-1",
        "startUrl": "https://made-up.awsapps.com/start"})
    .to_string();
    let files = vec![(".aws/config", file), (name.as_str(), token.as_str())];
    let surroundings = Surroundings { files, keys: "profile: p", egress: Some(&egress), ..Surroundings::default() };
    signed(&surroundings.read(&relay), ID, SESSION);
    assert_eq!(egress.asked(), ["portal.sso.us-east-1.amazonaws.com:443"]);
}

#[test]
fn keys_of_a_role_that_a_profile_assumes_sign() {
    let relay = relay(|call| {
        let is_right = call.operation == "AssumeRole"
            && call.header("host") == "sts.us-east-1.amazonaws.com"
            && call.field("RoleArn").as_deref() == Some("arn:aws:iam::123456789012:role/reader")
            && call.header("authorization").contains(OWN);
        if is_right { session("AssumeRole") } else { nothing(call) }
    });
    let egress = Egress::before(&relay, false);
    let file = format!(
        "[profile p]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = q\n\
         [profile q]\naws_access_key_id = {OWN}\naws_secret_access_key = x\n"
    );
    let (env, files) = (vec![("AWS_PROFILE", "p")], vec![(".aws/config", file.as_str())]);
    let calls = Surroundings { env, files, keys: "", egress: Some(&egress) }.read(&relay);
    signed(&calls, ID, SESSION);
}

#[test]
fn keys_of_a_web_identity_sign() {
    let relay = relay(|call| {
        let is_right = call.operation == "AssumeRoleWithWebIdentity"
            && call.header("host") == "sts.us-east-1.amazonaws.com"
            && call.field("WebIdentityToken").as_deref() == Some("made-up-web-identity");
        if is_right { session("AssumeRoleWithWebIdentity") } else { nothing(call) }
    });
    let egress = Egress::before(&relay, false);
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "HOME/web-identity"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader"),
        ("AWS_ROLE_SESSION_NAME", "of-the-proxy"),
        ("AWS_ENDPOINT_URL_STS", NOWHERE),
    ];
    let files = vec![("web-identity", "made-up-web-identity")];
    let calls = Surroundings { env, files, keys: "", egress: Some(&egress) }.read(&relay);
    signed(&calls, ID, SESSION);
}

#[test]
fn keys_of_the_container_sign() {
    let relay = relay(|call| {
        let is_right = call.target == "/keys" && call.header("authorization") == "made-up-container-token";
        if is_right { Fate::Answer(200, keys()) } else { nothing(call) }
    });
    // of this machine: a forward proxy is not asked
    let egress = Egress::before(&relay, false);
    let place = format!("http://{}/keys", relay.address());
    let env = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "made-up-container-token"),
    ];
    let calls = Surroundings { env, egress: Some(&egress), ..Surroundings::default() }.read(&relay);
    signed(&calls, ID, SESSION);
    assert_eq!(egress.asked(), Vec::<String>::new());
}

/// The second version of the service: nothing is told without a token.
#[test]
fn keys_of_the_instance_sign() {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    let relay = relay(|call| {
        let is_known = call.header("x-aws-ec2-metadata-token") == "made-up-metadata-token";
        let ttl = call.header(TTL).to_owned();
        let say = |body: String| {
            let headers = vec![(TTL.to_owned(), if ttl.is_empty() { "21600".to_owned() } else { ttl.clone() })];
            Fate::Say(Response { status: 200, headers, body: body.into_bytes() })
        };
        match call.target.as_str() {
            "/latest/api/token" if !call.header(TTL).is_empty() => say("made-up-metadata-token".to_owned()),
            "/latest/meta-data/iam/security-credentials/" if is_known => say("reader".to_owned()),
            "/latest/meta-data/iam/security-credentials/reader" if is_known => say(keys()),
            _ => nothing(call),
        }
    });
    let place = format!("http://{}", relay.address());
    let env = vec![("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", place.as_str())];
    let calls = Surroundings { env, ..Surroundings::default() }.read(&relay);
    signed(&calls, ID, SESSION);
}

#[test]
fn endpoints_of_another_kind_are_asked_where_the_environment_says_so() {
    for (variable, value, place) in [
        ("AWS_USE_FIPS_ENDPOINT", "true", "secretsmanager-fips.us-east-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true", "secretsmanager.us-east-1.api.aws"),
        ("AWS_USE_FIPS_ENDPOINT", "false", "secretsmanager.us-east-1.amazonaws.com"),
    ] {
        let relay = relay(nothing);
        let egress = Egress::before(&relay, true);
        let (env, keys) = (vec![(variable, value)], "credentials_path: infra/aws");
        let calls = Surroundings { env, keys, egress: Some(&egress), ..Surroundings::default() }.read_from("", &relay);
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(calls[0].header("host"), place);
        assert_eq!(egress.asked(), [format!("{place}:443")]);
    }
}
