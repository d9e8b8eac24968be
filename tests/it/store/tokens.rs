//! Tokens and revocations over a restart, however the process ended: what was given is still good, what ended never comes
//! back.

use serde_json::{Value, json};

use super::{FILE_SEAL, KEY_FILE, SOON, restart, sealed_by, stop};
use crate::harness::{ADMIN, Proxy, READER, Response, wait_until};

const KILL: i32 = 9;
const REVOCATION: &str = "/v1/principals/t/reader/revocation";

fn call(proxy: &Proxy, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    proxy.scaivault_call(token, method, path, body.as_bytes())
}

fn issue(proxy: &Proxy, principal: &str, ttl_seconds: u64) -> Value {
    let body = json!({"principal": principal, "groups": ["admins"], "ttl_seconds": ttl_seconds});
    let answer = call(proxy, ADMIN, "POST", "/v1/tokens", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn token(issued: &Value) -> &str {
    issued["token"].as_str().unwrap()
}

/// The status of a call anybody may make.
fn known(proxy: &Proxy, token: &str) -> u16 {
    proxy.vault_call(token, "GET", "/v1/auth/token/lookup-self", b"").status
}

fn kill(proxy: &mut Proxy) {
    proxy.signal(KILL);
    proxy.wait_exit(SOON);
    proxy.start_again();
}

/// `store.path` with a seal, and `store.state`, which keeps a key of its own.
fn places() -> [String; 2] {
    let config = sealed_by(FILE_SEAL);
    let state = config.replace("  path: {dir}/store/store.redb\n", "  state: {dir}/state\n");
    let state = state.replace(&format!("seal: {FILE_SEAL}\n"), "");
    assert!(state.contains("state:") && !state.contains("seal:"), "{state}");
    [config, state]
}

#[test]
fn k05_tokens_outlive_the_process_and_what_ended_before_it_stays_ended() {
    for config in places() {
        let mut proxy = Proxy::builder().config(&config).file("seal.key", KEY_FILE).start();
        let (kept, ended) = (issue(&proxy, "t/kept", 3600), issue(&proxy, "t/ended", 3600));
        let child = proxy.vault_call(token(&ended), "POST", "/v1/auth/token/create", b"{}").json();
        let child = child["auth"]["client_token"].as_str().unwrap().to_owned();
        let own = proxy.vault_call(token(&kept), "POST", "/v1/auth/token/create", b"{}").json();
        let own = own["auth"]["client_token"].as_str().unwrap().to_owned();
        let all = [token(&kept), &own, token(&ended), &child];
        assert_eq!(all.map(|token| known(&proxy, token)), [200; 4]);
        let before = proxy.vault_call(token(&kept), "GET", "/v1/auth/token/lookup-self", b"").json();
        // given, answered, killed
        kill(&mut proxy);
        assert_eq!(all.map(|token| known(&proxy, token)), [200; 4], "{}", proxy.stderr());
        let after = proxy.vault_call(token(&kept), "GET", "/v1/auth/token/lookup-self", b"").json();
        for field in ["accessor", "policies", "display_name", "expire_time", "creation_time", "path", "meta"] {
            assert_eq!(before["data"][field], after["data"][field], "{field}");
        }
        assert!(after["data"]["ttl"].as_u64() <= before["data"]["ttl"].as_u64());

        // ended, answered, killed
        let named = json!({"accessor": ended["accessor"]});
        assert_eq!(call(&proxy, ADMIN, "DELETE", "/v1/tokens", &named).status, 204);
        assert_eq!(proxy.vault_call(&own, "POST", "/v1/auth/token/revoke-self", b"").status, 204);
        kill(&mut proxy);
        assert_eq!(all.map(|token| known(&proxy, token)), [200, 403, 403, 403]);
        restart(&mut proxy);
        assert_eq!(all.map(|token| known(&proxy, token)), [200, 403, 403, 403]);
        stop(&mut proxy);
    }
}

#[test]
fn k05_a_revoked_principal_is_out_after_a_restart_until_it_is_restored() {
    let mut proxy = Proxy::builder().config(&places()[0]).file("seal.key", KEY_FILE).start();
    let issued = issue(&proxy, "t/reader", 3600);
    assert_eq!([READER, token(&issued)].map(|token| known(&proxy, token)), [200; 2]);
    assert_eq!(call(&proxy, ADMIN, "PUT", REVOCATION, &Value::Null).status, 204);
    kill(&mut proxy);
    assert_eq!([READER, token(&issued)].map(|token| known(&proxy, token)), [403; 2]);
    assert_eq!(call(&proxy, ADMIN, "DELETE", REVOCATION, &Value::Null).status, 204);
    kill(&mut proxy);
    assert_eq!([READER, token(&issued)].map(|token| known(&proxy, token)), [200, 403], "its tokens ended for good");
}

#[test]
fn k06_a_token_does_not_live_longer_for_a_restart() {
    let mut proxy = Proxy::builder().config(&places()[0]).file("seal.key", KEY_FILE).start();
    let (short, long) = (issue(&proxy, "t/short", 5), issue(&proxy, "t/long", 3600));
    stop(&mut proxy);
    proxy.start_again();
    wait_until(SOON, "the short one to end", || known(&proxy, token(&short)) == 403);
    assert_eq!(known(&proxy, token(&long)), 200);
    restart(&mut proxy);
    assert_eq!((known(&proxy, token(&short)), known(&proxy, token(&long))), (403, 200));
}
