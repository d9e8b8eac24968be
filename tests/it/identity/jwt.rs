//! Signed tokens, as bearer and behind logins.

use std::time::Duration;

use serde_json::json;

use super::issuer::{Issuer, now};
use super::{jwt_config, reads, with_secrets};
use crate::harness::{Proxy, wait_until};

#[test]
fn a_signed_token_reads_the_folder_its_claims_name() {
    let issuer = Issuer::new("one");
    let proxy = with_secrets(Proxy::builder().config(&jwt_config()).file("jwks.json", issuer.jwks()));
    let token = issuer.token();
    assert_eq!(reads(&proxy, &token), (200, 403));
    let read = proxy.scaivault_call(&token, "GET", "/v1/secrets/apps/ledger/db", b"");
    assert_eq!(proxy.audit_of(&read)[0]["principal"], "payments/ledger");
    assert!(!proxy.stderr().contains(&token) && !proxy.audit()[0].to_string().contains(&token));
}

#[test]
fn group_j_tokens_that_prove_nothing_open_nothing() {
    let issuer = Issuer::new("one");
    let proxy = with_secrets(Proxy::builder().config(&jwt_config()).file("jwks.json", issuer.jwks()));
    let mut broken = issuer.token();
    let last = broken.pop().unwrap();
    broken.push(if last == 'A' { 'Q' } else { 'A' });
    for (id, token) in [
        ("J01", issuer.unsigned()),
        ("J06", Issuer::new("two").token()),
        ("J06", Issuer::new("one").token()),
        ("J10", issuer.token_with(&json!({"exp": now() - 120}))),
        ("J10", issuer.token_with(&json!({"exp": null}))),
        ("J11", issuer.token_with(&json!({"nbf": now() + 600}))),
        ("J12", issuer.token_with(&json!({"aud": "somebody-else"}))),
        ("J12", issuer.token_with(&json!({"aud": null}))),
        ("G07", issuer.token_with(&json!({"service_account": "../other"}))),
        ("G07", issuer.token_with(&json!({"service_account": null}))),
        ("J14", issuer.token_with(&json!({"iss": "https://issuer.example.evil"}))),
        ("allow", issuer.token_with(&json!({"namespace": "search"}))),
        ("signature", broken),
    ] {
        assert_eq!(reads(&proxy, &token), (401, 401), "{id}");
        let login = format!(r#"{{"role":"any","jwt":"{token}"}}"#);
        let answer = proxy.vault_call("", "POST", "/v1/auth/jwt/login", login.as_bytes());
        assert_eq!(answer.status, 403, "{id}: {}", answer.text());
        assert_eq!(answer.json()["errors"], json!(["permission denied"]), "{id}");
    }
}

#[test]
fn a_login_with_a_signed_token_gives_a_token_with_the_same_rights() {
    let issuer = Issuer::new("one");
    let proxy = with_secrets(Proxy::builder().config(&jwt_config()).file("jwks.json", issuer.jwks()));
    for mount in ["kubernetes", "jwt"] {
        let login = json!({"role": "admins", "jwt": issuer.token()}).to_string();
        let answer = proxy.vault_call("", "PUT", &format!("/v1/auth/{mount}/login"), login.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let auth = &answer.json()["auth"];
        assert_eq!(auth["policies"], json!(["readers"]), "the role a client asks for decides nothing");
        let token = auth["client_token"].as_str().unwrap();
        assert_eq!(proxy.vault_call(token, "GET", "/v1/secret/data/apps/ledger/db", b"").status, 200);
        assert_eq!(proxy.vault_call(token, "GET", "/v1/secret/data/apps/other/db", b"").status, 403);
        let looked_up = proxy.vault_call(token, "GET", "/v1/auth/token/lookup-self", b"").json();
        assert_eq!(looked_up["data"]["path"], format!("auth/{mount}/login"));
    }
}

#[test]
fn j26_a_replaced_key_set_refuses_the_old_key_and_knows_the_new_one() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let proxy = with_secrets(Proxy::builder().config(&jwt_config()).file("jwks.json", old.jwks()));
    assert_eq!((reads(&proxy, &old.token()).0, reads(&proxy, &new.token()).0), (200, 401));
    proxy.write("jwks.json", new.jwks());
    wait_until(Duration::from_secs(15), "the new key", || reads(&proxy, &new.token()).0 == 200);
    assert_eq!(reads(&proxy, &old.token()).0, 401);
}
