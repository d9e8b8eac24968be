//! What is on the disk is sealed: neither values nor names nor credentials nor keys, in no encoding, while it runs, after
//! it ended and after it was killed.

use std::fs;
use std::path::Path;

use super::{KEY_FILE, ROOT_KEY, builder, file_of, sealed_by, stop};
use crate::canary::Canaries;
use crate::harness::{ADMIN, Proxy};

const VALUE: &str = "Canary-value-7f3a91-of-a-secret";
const DELETED: &str = "Canary-value-80bd12-soft-deleted";
const DESTROYED: &str = "Canary-value-c41e77-destroyed";
const FOLDER: &str = "canary-folder-2b6f";
const NAME: &str = "canary-name-9d10";
const OWNER: &str = "Canary-owner-51aa-in-metadata";
const METADATA_KEY: &str = "canary-key-of-metadata";
const CREDENTIAL: &str = "Canary-secret-id-0e77-of-a-backend";
const BACKEND: &str = "canary-backend-name-44";
const ENDPOINT: &str = "canary-endpoint.example";
const TEMPLATE: &str = "canary-template-of-a-rule";

fn canaries(issued: &str) -> Canaries {
    Canaries::new([
        ("a value", VALUE),
        ("a deleted value", DELETED),
        ("a destroyed value", DESTROYED),
        ("a folder", FOLDER),
        ("a name", NAME),
        ("metadata", OWNER),
        ("a key of metadata", METADATA_KEY),
        ("a backend's credential", CREDENTIAL),
        ("a backend's name", BACKEND),
        ("a backend's endpoint", ENDPOINT),
        ("a backend's rule", TEMPLATE),
        ("the admin's token", ADMIN),
        ("an issued token", issued),
        ("the root key", ROOT_KEY),
        ("the root key's file", KEY_FILE.trim()),
    ])
}

/// Everything in the store's directory, by whatever name.
fn search(canaries: &Canaries, directory: &Path) {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        canaries.are_not_in("a file's name", name.as_bytes());
        let content = fs::read(&path).unwrap();
        bytes += content.len();
        canaries.are_not_in(&name, &content);
    }
    assert!(bytes > 4096, "there is nothing to search");
}

/// Writes every canary; yields an issued token.
fn fill(proxy: &Proxy) -> String {
    let call = |method: &str, path: &str, body: &str, status: u16| {
        let answer = proxy.scaivault_call(ADMIN, method, path, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer
    };
    let at = |name: &str| format!("/v1/secrets/apps/{FOLDER}/{name}");
    let body = |value: &str| format!(r#"{{"data":{{"a":"{value}"}},"metadata":{{"{METADATA_KEY}":"{OWNER}"}}}}"#);
    call("PUT", &at(NAME), &body(VALUE), 201);
    call("PUT", &at("text"), &format!(r#"{{"data":"{VALUE}","secret_type":"text"}}"#), 201);
    call("PUT", &at("deleted"), &body(DELETED), 201);
    call("DELETE", &at("deleted"), "", 204);
    call("PUT", &at("destroyed"), &body(DESTROYED), 201);
    call("DELETE", &format!("{}?destroy=true&version=1", at("destroyed")), "", 204);
    // rewritten often enough that pages are freed and used again
    for round in 0..20 {
        call("PUT", &at("busy"), &body(&format!("{VALUE}-{round}")), if round == 0 { 201 } else { 200 });
    }
    let stored = format!(r#"{{"data":{{"role_id":"canary-role","secret_id":"{CREDENTIAL}"}}}}"#);
    call("PUT", "/v1/secrets/infra/hidden/approle", &stored, 201);
    let backend = format!(
        r#"{{"name":"{BACKEND}","type":"hashicorp-vault","config":{{"endpoint":"https://{ENDPOINT}","auth_method":"approle",
        "auth_config_path":"infra/hidden/approle"}},"path_mapping":{{"{TEMPLATE}/**":"secret/data/**"}}}}"#
    );
    call("POST", "/v1/federation/backends", &backend, 201);
    let issued = call("POST", "/v1/tokens", r#"{"principal":"t/issued","groups":["admins"]}"#, 201);
    issued.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn l10_nothing_in_the_stores_directory_can_be_read() {
    let config = format!("{}federation: {{allow_endpoints: [{ENDPOINT}]}}\n", sealed_by(super::FILE_SEAL));
    let mut proxy = builder().config(&config).start();
    let issued = fill(&proxy);
    let canaries = canaries(&issued);
    let directory = file_of(&proxy).parent().unwrap().to_owned();
    search(&canaries, &directory);
    // and nothing secret was said either
    canaries_of_values(&issued).are_not_in("the log", proxy.stderr().as_bytes());
    stop(&mut proxy);
    search(&canaries, &directory);
    proxy.start_again();
    fill_again(&proxy);
    proxy.signal(9);
    proxy.wait_exit(super::SOON);
    search(&canaries, &directory);
    let trail = fs::read(proxy.dir().join("audit/audit.jsonl")).unwrap();
    canaries_of_values(&issued).are_not_in("the trail", &trail);
}

/// What may be named in a log or in the trail by nobody, unlike paths and backends.
fn canaries_of_values(issued: &str) -> Canaries {
    Canaries::new([
        ("a value", VALUE),
        ("a deleted value", DELETED),
        ("a destroyed value", DESTROYED),
        ("metadata", OWNER),
        ("a backend's credential", CREDENTIAL),
        ("the admin's token", ADMIN),
        ("an issued token", issued),
        ("the root key", ROOT_KEY),
    ])
}

fn fill_again(proxy: &Proxy) {
    for round in 0..5 {
        let body = format!(r#"{{"data":{{"a":"{VALUE}-{round}"}}}}"#);
        let path = format!("/v1/secrets/apps/{FOLDER}/more-{round}");
        let answer = proxy.scaivault_call(ADMIN, "PUT", &path, body.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}
