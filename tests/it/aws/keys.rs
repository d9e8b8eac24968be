//! Access keys: configured and made at run time, where a signature is good, and how often.

use std::process::Command;

use serde_json::{Value, json};

use super::sign::{Keys, Scope};
use super::world::{Client, admin, app, builder, code, config};
use crate::harness::{ADMIN, Proxy, Response};
use crate::peers::moto;

const READ: &[u8] = br#"{"SecretId":"local/app/a"}"#;

fn started() -> Proxy {
    let proxy = builder(moto()).config(&config("local: [local]", "")).start();
    let client = Client::of(&proxy, admin());
    for name in ["local/app/a", "local/other/b"] {
        client.ok("CreateSecret", &json!({"Name": name, "SecretString": format!("value of {name}")}));
    }
    proxy
}

/// A read of `local/app/a` with these keys for this scope.
fn read(proxy: &Proxy, keys: &Keys, scope: &Scope) -> Response {
    let address = proxy.address("aws");
    keys.sign(&address, scope, "GetSecretValue", READ).send(&address).unwrap()
}

fn presigned(proxy: &Proxy, keys: &Keys, scope: &Scope, life: &str) -> Response {
    let address = proxy.address("aws");
    keys.presign(&address, scope, life, "GetSecretValue", READ).send(&address).unwrap()
}

/// Makes a key that ends by itself.
fn issue(proxy: &Proxy, body: &Value) -> Value {
    let made = proxy.scaivault_call(ADMIN, "POST", "/v1/tokens", body.to_string().as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

fn session(made: &Value) -> Keys {
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {made}")).to_owned();
    Keys { session: Some(text("session_token")), ..Keys::new(&text("access_key_id"), &text("secret_access_key")) }
}

#[test]
fn s15_s16_a_signature_is_good_for_its_region_its_service_and_five_minutes() {
    let proxy = started();
    assert_eq!(read(&proxy, &app(), &Scope::now()).status, 200);
    for seconds in [-290, 290] {
        assert_eq!(read(&proxy, &app(), &Scope::after(seconds)).status, 200, "{seconds} s");
        assert_eq!(presigned(&proxy, &app(), &Scope::after(seconds), "900").status, 200, "{seconds} s, presigned");
    }
    for seconds in [-900, -310, 310, 900, -86_400, 86_400] {
        let refused = code(&read(&proxy, &app(), &Scope::after(seconds)));
        assert_eq!(refused, "InvalidSignatureException", "{seconds} s");
    }
    let ended = presigned(&proxy, &app(), &Scope::after(-120), "60");
    assert_eq!((ended.status, code(&ended)), (400, "InvalidSignatureException".to_owned()), "a presigned request ends");
    for life in ["0", "-1", "604801", "1099511627776", "", "060", "60s"] {
        assert!(presigned(&proxy, &app(), &Scope::now(), life).status >= 400, "s04: {life:?}");
    }
    for region in ["eu-west-1", "US-EAST-1", "us-east-1 ", "us-east-11", ""] {
        assert!(read(&proxy, &app(), &Scope::of_region(region)).status == 400, "{region:?}");
    }
    for service in ["s3", "sts", "secretsmanage", "SecretsManager", ""] {
        assert!(read(&proxy, &app(), &Scope::of_service(service)).status == 400, "{service:?}");
    }
}

#[test]
fn s19_an_unknown_key_and_a_wrong_secret_are_told_what_aws_tells_and_nothing_of_the_secret() {
    let proxy = started();
    let unknown = read(&proxy, &Keys::new("AKIAUNKNOWNUNKNOWN01", "x"), &Scope::now());
    assert_eq!(code(&unknown), "UnrecognizedClientException");
    let wrong = read(&proxy, &Keys::new(&app().id, "x"), &Scope::now());
    assert_eq!(code(&wrong), "InvalidSignatureException");
    let missing = app().sign(&proxy.address("aws"), &Scope::now(), "GetSecretValue", READ).without("authorization");
    assert_eq!(code(&missing.send(&proxy.address("aws")).unwrap()), "MissingAuthenticationTokenException");
    let stray = Keys { session: Some("made-up-session".to_owned()), ..app() };
    assert_eq!(read(&proxy, &stray, &Scope::now()).status, 400, "a configured key has no session token");
    for line in proxy.audit().iter().filter(|line| line["outcome"] == "unauthenticated") {
        assert!(line["principal"].is_null() && line["path"].is_null(), "{line}");
    }
}

/// S21: with the same identifier the new secret works at once and the old one no more.
#[test]
fn s21_a_rotated_key_file_is_in_force_after_a_reload_and_the_old_secret_is_not() {
    let proxy = started();
    let rotated = Keys::new(&app().id, "/another/made/up/secret+of+the+app000000");
    assert_eq!(read(&proxy, &rotated, &Scope::now()).status, 400);
    proxy.write("app.json", rotated.stored());
    proxy.signal(1);
    crate::harness::wait_until(std::time::Duration::from_secs(30), "the new key", || {
        read(&proxy, &rotated, &Scope::now()).status == 200
    });
    assert_eq!(code(&read(&proxy, &app(), &Scope::now())), "InvalidSignatureException");
}

#[test]
fn a_key_made_at_run_time_reads_what_its_groups_may_until_it_is_revoked() {
    let proxy = started();
    let made =
        issue(&proxy, &json!({"principal": "t/job", "groups": ["apps"], "ttl_seconds": 600, "access_key": true}));
    let keys = session(&made);
    assert!(keys.id.starts_with("ASIA") && keys.id.len() == 20 && keys.secret.len() == 40, "{}", keys.id);
    assert!(made["expires_at"].is_string() && made["token"].is_null(), "{made}");
    assert_eq!(read(&proxy, &keys, &Scope::now()).json()["SecretString"], "value of local/app/a");
    let other = Client::of(&proxy, keys.clone());
    assert_eq!(other.refused("GetSecretValue", &json!({"SecretId": "local/other/b"})), "AccessDeniedException");
    assert_eq!(presigned(&proxy, &keys, &Scope::now(), "60").status, 200);

    // s22: none of the three without the others
    let bare = Keys { session: None, ..keys.clone() };
    let twin = session(&issue(&proxy, &json!({"principal": "t/job", "groups": ["apps"], "access_key": true})));
    let swapped = Keys { session: twin.session.clone(), ..keys.clone() };
    let half = Keys { id: twin.id.clone(), ..keys.clone() };
    let long = Keys { session: Some("x".repeat(16 * 1024)), ..keys.clone() };
    for (what, wrong) in
        [("no token", &bare), ("another's token", &swapped), ("another's id", &half), ("16 KiB", &long)]
    {
        assert!(read(&proxy, wrong, &Scope::now()).status >= 400, "{what}");
    }
    let revoked = proxy.scaivault_call(
        ADMIN,
        "DELETE",
        "/v1/tokens",
        json!({"accessor": made["accessor"]}).to_string().as_bytes(),
    );
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    assert_eq!(code(&read(&proxy, &keys, &Scope::now())), "UnrecognizedClientException");
    assert_eq!(read(&proxy, &twin, &Scope::now()).status, 200, "another of the same principal goes on");
    let stderr = proxy.stderr();
    assert!(!stderr.contains(&keys.secret) && !stderr.contains(keys.session.as_deref().unwrap()));
}

#[test]
fn the_command_line_makes_a_key_that_signs() {
    let proxy = started();
    let create = |output: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
            .args(["token", "create", "--principal", "t/job", "--group", "apps", "--ttl", "10m", "--aws"])
            .args(output)
            .env_clear()
            .env("SCAIVAULT_ADDR", proxy.scaivault())
            .env("SCAIVAULT_TOKEN", ADMIN)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let made: Value = serde_json::from_str(&create(&["--output", "json"])).unwrap();
    assert_eq!(read(&proxy, &session(&made), &Scope::now()).status, 200);
    let text = create(&[]);
    assert!(text.contains("ASIA"), "{text}");
}

/// S17. Signed requests that change something are done once, whatever becomes of the secret in between.
#[test]
fn s17_a_read_sent_again_is_served_and_a_write_sent_again_is_not() {
    let proxy = started();
    let address = proxy.address("aws");
    let read = app().sign(&address, &Scope::now(), "GetSecretValue", READ);
    let answers = [read.send(&address).unwrap(), read.send(&address).unwrap()];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200]);
    for answer in &answers {
        assert_eq!(proxy.audit_of(answer).len(), 1, "each of them has a line of its own");
    }
    let client = Client::of(&proxy, admin());
    let versions = || client.ok("ListSecretVersionIds", &json!({"SecretId": "local/app/a"}))["Versions"].clone();
    let put =
        json!({"SecretId": "local/app/a", "SecretString": "put once", "ClientRequestToken": super::world::token()});
    let write = admin().sign(&address, &Scope::now(), "PutSecretValue", put.to_string().as_bytes());
    let made: Vec<_> = (0..2).map(|_| write.send(&address).unwrap()).collect();
    assert_eq!(made[0].status, 200, "{}", made[0].text());
    assert_eq!(made[0].json(), made[1].json(), "its token says that it was done");
    // what was removed is not brought back by whoever kept the request that made it
    let token = super::world::token();
    let create = json!({"Name": "local/app/gone", "SecretString": "once", "ClientRequestToken": token});
    let create = admin().sign(&address, &Scope::now(), "CreateSecret", create.to_string().as_bytes());
    assert_eq!(create.send(&address).unwrap().status, 200);
    client.ok("DeleteSecret", &json!({"SecretId": "local/app/gone", "ForceDeleteWithoutRecovery": true}));
    assert_eq!(create.send(&address).unwrap().status, 400);
    assert_eq!(client.refused("GetSecretValue", &json!({"SecretId": "local/app/gone"})), "ResourceNotFoundException");
    for (operation, body) in [
        ("DeleteSecret", json!({"SecretId": "local/app/a", "RecoveryWindowInDays": 7})),
        ("RestoreSecret", json!({"SecretId": "local/app/a"})),
        ("TagResource", json!({"SecretId": "local/app/a", "Tags": [{"Key": "a", "Value": "b"}]})),
    ] {
        let write = admin().sign(&address, &Scope::now(), operation, body.to_string().as_bytes());
        let first = write.send(&address).unwrap();
        assert_eq!(first.status, 200, "{operation}: {}", first.text());
        let again = write.send(&address).unwrap();
        assert_eq!(again.status, 400, "{operation} was done twice: {}", again.text());
        assert!(proxy.audit_of(&again).iter().all(|line| line["outcome"] != "ok"), "{operation}");
    }
    assert_eq!(versions().as_array().unwrap().len(), 2);
    assert_eq!(client.text("local/app/a"), "put once");
    let presigned = admin().presign(&address, &Scope::now(), "290", "DeleteSecret", br#"{"SecretId":"local/other/b"}"#);
    assert_eq!(presigned.send(&address).unwrap().status, 200);
    client.ok("RestoreSecret", &json!({"SecretId": "local/other/b"}));
    assert_eq!(presigned.send(&address).unwrap().status, 400, "and neither is a presigned one");
    assert_eq!(client.text("local/other/b"), "value of local/other/b");
}
