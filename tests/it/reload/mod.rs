//! Reloads under load: what changes takes effect, what is wrong changes nothing, and no request is dropped either way.

mod load;
mod tls;

use std::time::Duration;

use self::load::Load;
use crate::harness::{ADMIN, BASIC, POLICIES, Proxy, READER, wait_until};
use crate::stub::{Seen, Stub, kv2_body};

const HUP: i32 = 1;
const SOON: Duration = Duration::from_secs(15);
const REJECTED: &str = "scaivault_config_rejected";

fn started() -> Proxy {
    let proxy = Proxy::builder().start();
    let written = proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/apps/db/x", br#"{"data":{"a":1}}"#);
    assert_eq!(written.status, 201, "{}", written.text());
    proxy
}

/// The status of the reader's read of `apps/db/x`.
fn read(proxy: &Proxy, token: &str) -> u16 {
    proxy.scaivault_call(token, "GET", "/v1/secrets/apps/db/x", b"").status
}

fn rejected(proxy: &Proxy) -> f64 {
    proxy.metric(REJECTED, &[]).unwrap_or_else(|| panic!("no {REJECTED}"))
}

/// The number of the configuration that decided a request.
fn generation(proxy: &Proxy) -> u64 {
    let response = proxy.scaivault_call(ADMIN, "GET", "/v1/secrets/apps/db/x", b"");
    proxy.audit_of(&response)[0]["config_generation"].as_u64().unwrap()
}

#[test]
fn c04_policies_change_with_their_file_and_a_bad_one_keeps_the_old_set() {
    let proxy = started();
    let load = Load::start(&proxy, ADMIN, "/v1/secrets/apps/db/x");
    assert_eq!((read(&proxy, READER), rejected(&proxy)), (200, 0.0));

    let stricter = POLICIES.replace(r#"Group::"readers""#, r#"Group::"auditors""#);
    proxy.write("policies.cedar", &stricter);
    wait_until(SOON, "the stricter policies", || read(&proxy, READER) == 403);
    assert_eq!(rejected(&proxy), 0.0);

    for bad in [
        "permit (",
        "permit (principal, action, resource);",
        "@id(\"x\") permit (principal, action == Action::\"no\", resource);",
    ] {
        let before = generation(&proxy);
        proxy.write("policies.cedar", bad);
        wait_until(SOON, "the bad policies to be rejected", || rejected(&proxy) == 1.0);
        assert_eq!((read(&proxy, READER), generation(&proxy)), (403, before), "{bad}");
        proxy.write("policies.cedar", &stricter);
        wait_until(SOON, "the rejection to be over", || rejected(&proxy) == 0.0);
    }

    proxy.write("policies.cedar", POLICIES);
    wait_until(SOON, "the first policies", || read(&proxy, READER) == 200);
    load.finish();
}

#[test]
fn a_hangup_reloads_although_no_file_has_changed() {
    let proxy = started();
    let load = Load::start(&proxy, ADMIN, "/v1/secrets/apps/db/x");
    let before = generation(&proxy);
    proxy.signal(HUP);
    wait_until(SOON, "the next generation", || generation(&proxy) > before);
    load.finish();
}

#[test]
fn mapping_and_backends_change_with_the_configuration() {
    let stub = Stub::start(|_: &Seen| (200, kv2_body(r#"{"password":"made-up"}"#)));
    let mut proxy = Proxy::builder()
        .file("backend.json", r#"{"role_id":"role-at-the-backend","secret_id":"secret-id-at-the-backend"}"#)
        .start();
    proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/apps/db/x", br#"{"data":{"a":1}}"#);
    let load = Load::start(&proxy, ADMIN, "/v1/secrets/apps/db/x");
    let live = |proxy: &Proxy, path: &str| proxy.scaivault_call(ADMIN, "GET", path, b"").status;
    let put = |proxy: &Proxy| proxy.scaivault_call(ADMIN, "PUT", "/v1/secrets/more/x", br#"{"data":{}}"#).status;
    assert_eq!((live(&proxy, "/v1/secrets/live/one"), put(&proxy)), (403, 403));

    let backends = |from: &str| {
        format!(
            "secrets: {{infra/backend: {{file: {{dir}}/backend.json}}}}\n\
             backends:\n- name: stub\n  type: hashicorp-vault\n  config: {{endpoint: 'http://{}', auth_method: approle, \
             auth_config_path: infra/backend}}\n  path_mapping: [{{from: '{from}/**', to: 'secret/data/live/**'}}]\n",
            stub.address()
        )
    };
    let larger = BASIC.replace("local: [apps, scratch]", "local: [apps, scratch, more]");
    proxy.write_config(&format!("{larger}{}", backends("live")));
    wait_until(SOON, "the backend", || live(&proxy, "/v1/secrets/live/one") == 200);
    assert_eq!(put(&proxy), 201);
    assert_eq!(rejected(&proxy), 0.0);

    proxy.write_config(&format!("{larger}{}", backends("moved")));
    wait_until(SOON, "the moved rule", || live(&proxy, "/v1/secrets/moved/one") == 200);
    assert_eq!(live(&proxy, "/v1/secrets/live/one"), 403);

    // a local folder inside a rule's reach would make order decide which of them serves
    proxy.write_config(&format!("{larger}{}", backends("more")));
    wait_until(SOON, "the contradiction to be rejected", || rejected(&proxy) == 1.0);
    assert_eq!((live(&proxy, "/v1/secrets/moved/one"), put(&proxy)), (200, 200));
    load.finish();
}

#[test]
fn tokens_change_with_their_files_and_with_the_list() {
    let mut proxy = started();
    let load = Load::start(&proxy, ADMIN, "/v1/secrets/apps/db/x");
    let fresh = "another-reader-token-of-the-harness";
    assert_eq!((read(&proxy, READER), read(&proxy, fresh)), (200, 401));
    proxy.write("reader.token", fresh);
    wait_until(SOON, "the new token", || read(&proxy, fresh) == 200);
    assert_eq!(read(&proxy, READER), 401, "the old token ends with the new one's beginning");

    proxy.write("reader.token", "short");
    wait_until(SOON, "the short token to be rejected", || rejected(&proxy) == 1.0);
    assert_eq!(read(&proxy, fresh), 200);
    assert!(!proxy.stderr().contains(fresh));
    proxy.write("reader.token", fresh);
    wait_until(SOON, "the rejection to be over", || rejected(&proxy) == 0.0);

    let revoked = BASIC.replace("identity:\n", "identity:\n  revoked: [t/reader]\n");
    proxy.write_config(&revoked);
    wait_until(SOON, "the revocation", || read(&proxy, fresh) == 401);
    proxy.write_config(BASIC);
    wait_until(SOON, "the end of the revocation", || read(&proxy, fresh) == 200);
    load.finish();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let mut proxy = started();
    let load = Load::start(&proxy, ADMIN, "/v1/secrets/apps/db/x");
    let before = generation(&proxy);
    for (bad, part) in [
        (BASIC.replace("policies:", "polices:"), "polices"),
        (BASIC.replace("address: {scaivault}", "address: {elsewhere}"), "listeners"),
        (BASIC.replace("instance: it", "instance: other"), "audit"),
        ("version: [".to_owned(), "is not YAML"),
        (String::new(), "is empty"),
    ] {
        let said = proxy.stderr().len();
        proxy.write_config(&bad);
        wait_until(SOON, part, || proxy.stderr()[said..].contains("rejected"));
        assert_eq!(rejected(&proxy), 1.0, "{part}");
        assert!(proxy.stderr()[said..].contains(part), "`{part}` is not told: {}", &proxy.stderr()[said..]);
        assert_eq!((read(&proxy, READER), generation(&proxy)), (200, before), "{part}");
    }
    proxy.write_config(BASIC);
    wait_until(SOON, "the rejection to be over", || rejected(&proxy) == 0.0);
    load.finish();
}
