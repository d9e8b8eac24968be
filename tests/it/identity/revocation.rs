//! Revoking a principal ends every credential of it at once.

use super::issuer::Issuer;
use super::{jwt_config, reads, with_secrets};
use crate::harness::{ADMIN, Proxy};

const REVOCATION: &str = "/v1/principals/payments/ledger/revocation";

#[test]
fn c05_a_revoked_principal_is_out_with_the_next_request() {
    let issuer = Issuer::new("one");
    let tokens = "  tokens:\n    - {principal: payments/ledger, groups: [readers], folders: [apps/ledger], file: {dir}/ledger.token}\n";
    let config = jwt_config().replace("  tokens:\n", tokens);
    let configured = "configured-token-of-the-ledger";
    let builder = Proxy::builder().config(&config).file("jwks.json", issuer.jwks()).file("ledger.token", configured);
    let proxy = with_secrets(builder);
    let signed = issuer.token();
    let login = format!(r#"{{"role":"any","jwt":"{signed}"}}"#);
    let log_in = || proxy.vault_call("", "POST", "/v1/auth/jwt/login", login.as_bytes());
    let issued = log_in().json()["auth"]["client_token"].as_str().unwrap().to_owned();
    let child = proxy.vault_call(&issued, "POST", "/v1/auth/token/create", b"{}");
    let child = child.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    let all = [signed.as_str(), configured, issued.as_str(), child.as_str()];
    assert_eq!(all.map(|credential| reads(&proxy, credential)), [(200, 403); 4]);

    let revoked = proxy.scaivault_call(ADMIN, "PUT", REVOCATION, b"");
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    assert_eq!(all.map(|credential| reads(&proxy, credential)), [(401, 401); 4]);
    assert_eq!(log_in().status, 403);

    let restored = proxy.scaivault_call(ADMIN, "DELETE", REVOCATION, b"");
    assert_eq!(restored.status, 204, "{}", restored.text());
    let after = all.map(|credential| reads(&proxy, credential).0);
    assert_eq!(after, [200, 200, 401, 401], "what was issued at run time ended for good");
    assert_eq!(log_in().status, 200);
}

#[test]
fn a_revoked_token_takes_its_children_with_it_and_nobody_else() {
    let proxy = with_secrets(Proxy::builder());
    let issue = || {
        let answer =
            proxy.scaivault_call(ADMIN, "POST", "/v1/tokens", br#"{"principal":"t/made","groups":["admins"]}"#);
        answer.json()["token"].as_str().unwrap().to_owned()
    };
    let child_of = |token: &str| {
        let answer = proxy.vault_call(token, "POST", "/v1/auth/token/create", b"{}");
        answer.json()["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (one, other) = (issue(), issue());
    let child = child_of(&one);
    let grandchild = child_of(&child);
    let statuses = || [&one, &child, &grandchild, &other].map(|token| reads(&proxy, token).0);
    assert_eq!(statuses(), [200; 4]);
    assert_eq!(proxy.vault_call(&child, "POST", "/v1/auth/token/revoke-self", b"").status, 204);
    assert_eq!(statuses(), [200, 401, 401, 200]);
    assert_eq!(proxy.vault_call(&one, "PUT", "/v1/auth/token/revoke-self", b"null").status, 204);
    assert_eq!(statuses(), [401, 401, 401, 200]);
}
