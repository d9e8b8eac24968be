//! Well-formed requests with canaries in values and credentials, allowed and not.

use super::{GUESS, REMOTE, ROLE_ID, SECRET_ID, Scene, TOKEN, VALUE, backend};
use crate::certs::get;

/// The life of local secrets on both wires.
pub(super) fn local(scene: &mut Scene) {
    let object = format!(r#"{{"data":{{"password":"{VALUE}","nested":{{"again":"{VALUE}"}}}}}}"#);
    let fields = format!(r#"{{"password":"{VALUE}"}}"#);
    let custom = r#"{"custom_metadata":{"owner":"it"}}"#;
    let kv = [
        ("POST", "/v1/secret/data/apps/one", object.as_str(), 200),
        ("GET", "/v1/secret/data/apps/one", "", 200),
        ("GET", "/v1/secret/subkeys/apps/one", "", 200),
        ("GET", "/v1/secret/metadata/apps/one", "", 200),
        ("LIST", "/v1/secret/metadata/apps", "", 200),
        ("POST", "/v1/secret/metadata/apps/one", custom, 204),
        ("DELETE", "/v1/secret/data/apps/one", "", 204),
        ("GET", "/v1/secret/data/apps/one", "", 404),
        ("PUT", "/v1/secret/undelete/apps/one", r#"{"versions":[1]}"#, 204),
        ("PUT", "/v1/secret/destroy/apps/one", r#"{"versions":[1]}"#, 204),
        ("PUT", "/v1/kv1/one", fields.as_str(), 204),
        ("GET", "/v1/kv1/one", "", 200),
        ("DELETE", "/v1/kv1/one", "", 204),
        ("GET", "/v1/kv1/one", "", 404),
    ];
    for (method, path, body, status) in kv {
        for token in ["", GUESS, TOKEN] {
            let answer = scene.proxy.vault_call(token, method, path, body.as_bytes());
            let answer = scene.note(answer);
            let expected = if token == TOKEN { status } else { 403 };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
        }
    }
    let text = format!(r#"{{"data":"{VALUE}","metadata":{{"owner":"it"}}}}"#);
    let binary = format!(r#"{{"data":"{}","secret_type":"binary"}}"#, base64_of(VALUE));
    for (method, path, body, status) in [
        ("PUT", "/v1/secrets/apps/two", object.as_str(), 201),
        ("PUT", "/v1/secrets/apps/two", text.as_str(), 200),
        ("PUT", "/v1/secrets/apps/two", binary.as_str(), 200),
        ("GET", "/v1/secrets/apps/two?version=2", "", 200),
        ("GET", "/v1/secrets/apps/two?versions=true", "", 200),
        ("GET", "/v1/secrets/apps?list=true", "", 200),
        ("DELETE", "/v1/secrets/apps/two?destroy=true", "", 204),
        ("GET", "/v1/secrets/apps/two", "", 404),
    ] {
        for token in ["", GUESS, TOKEN] {
            let answer = scene.proxy.scaivault_call(token, method, path, body.as_bytes());
            let answer = scene.note(answer);
            let expected = if token == TOKEN { status } else { 401 };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
        }
    }
}

fn base64_of(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}

/// A backend in good order and in every kind of trouble.
pub(super) fn remote(scene: &mut Scene) {
    for path in ["/v1/secret/data/live/one", "/v1/secret/metadata/live/missing"] {
        let answer = scene.proxy.vault_call(TOKEN, "GET", path, b"");
        scene.note(answer);
    }
    let good = scene.proxy.vault_call(TOKEN, "GET", "/v1/secret/data/live/one", b"");
    assert!(good.status == 200 && good.text().contains(REMOTE), "{}", good.text());
    for trouble in backend::TROUBLES {
        let path = format!("/v1/secret/data/live/{trouble}");
        let answer = scene.proxy.vault_call(TOKEN, "GET", &path, b"");
        let answer = scene.note(answer);
        // what a backend says of a time or a lease is its own affair on its own wire
        let native = matches!(trouble, "times");
        assert!(answer.status >= 400 || native, "{trouble}: {} {}", answer.status, answer.text());
        let answer = scene.proxy.scaivault_call(TOKEN, "GET", &format!("/v1/secrets/live/{trouble}"), b"");
        let answer = scene.note(answer);
        assert!(answer.status >= 400, "{trouble}: {} {}", answer.status, answer.text());
        let answer = scene.proxy.vault_call(TOKEN, "GET", &format!("/v1/db/{trouble}"), b"");
        scene.note(answer);
    }
    let body = format!(r#"{{"password":"{VALUE}"}}"#);
    let answer = scene.proxy.vault_call(TOKEN, "POST", "/v1/db/status-500", body.as_bytes());
    assert!(scene.note(answer).status >= 400);
    let written = scene.proxy.vault_call(TOKEN, "POST", "/v1/secret/data/live/one", body.as_bytes());
    assert!(scene.note(written).status >= 400, "proxied paths are read-only");
}

/// Logins and tokens.
pub(super) fn sessions(scene: &mut Scene) {
    let good = format!(r#"{{"role_id":"{ROLE_ID}","secret_id":"{SECRET_ID}"}}"#);
    let bad = format!(r#"{{"role_id":"{ROLE_ID}","secret_id":"{GUESS}"}}"#);
    let swapped = format!(r#"{{"role_id":"{SECRET_ID}","secret_id":"{ROLE_ID}"}}"#);
    let jwt = format!(r#"{{"role":"{GUESS}","jwt":"{GUESS}"}}"#);
    for (mount, body) in
        [("approle", &bad), ("approle", &swapped), ("jwt", &jwt), ("kubernetes", &jwt), ("userpass", &bad)]
    {
        let answer = scene.proxy.vault_call("", "POST", &format!("/v1/auth/{mount}/login"), body.as_bytes());
        assert!(scene.note(answer).status >= 400, "{mount}");
    }
    let login = scene.proxy.vault_call("", "POST", "/v1/auth/approle/login", good.as_bytes());
    assert_eq!(login.status, 200, "{}", login.text());
    let token = login.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("GET", "/v1/auth/token/lookup-self", ""),
        ("POST", "/v1/auth/token/renew-self", "{}"),
        ("POST", "/v1/sys/capabilities-self", r#"{"paths":["secret/data/apps/one"]}"#),
        ("POST", "/v1/auth/token/create", r#"{"no_parent":true}"#),
        ("POST", "/v1/auth/token/revoke-self", ""),
        ("GET", "/v1/auth/token/lookup-self", ""),
    ] {
        let answer = scene.proxy.vault_call(&token, method, path, body.as_bytes());
        scene.note(answer);
    }
    let made = scene.proxy.scaivault_call(TOKEN, "POST", "/v1/tokens", br#"{"principal":"t/made"}"#).json();
    let issued = made["token"].as_str().unwrap().to_owned();
    let end = format!(r#"{{"token":"{issued}"}}"#);
    for _ in 0..2 {
        let answer = scene.proxy.scaivault_call(TOKEN, "DELETE", "/v1/tokens", end.as_bytes());
        scene.note(answer);
    }
    let unknown = format!(r#"{{"token":"{GUESS}"}}"#);
    let answer = scene.proxy.scaivault_call(TOKEN, "DELETE", "/v1/tokens", unknown.as_bytes());
    assert_eq!(scene.note(answer).status, 404);
    scene.issued.extend([token, issued]);
}

/// The same credentials and values over TLS, by HTTP/1.1 and HTTP/2.
pub(super) fn http2(scene: &Scene) {
    let address = scene.proxy.address("tls");
    let headers = format!("X-Vault-Token: {TOKEN}\r\n");
    let answer = get(&address, &scene.authority, "/v1/secret/data/live/one", &headers).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(REMOTE), "{answer}");

    drop(rustls::crypto::ring::default_provider().install_default());
    let root = reqwest::Certificate::from_pem(scene.authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let url = format!("https://{address}/v1/secret/data/apps/three");
    let body = format!(r#"{{"data":{{"password":"{VALUE}"}}}}"#);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let written = client.put(&url).header("X-Vault-Token", TOKEN).body(body).send().await.unwrap();
        assert_eq!((written.version(), written.status().as_u16()), (reqwest::Version::HTTP_2, 200));
        let read = client.get(&url).header("X-Vault-Token", TOKEN).send().await.unwrap();
        assert!(read.text().await.unwrap().contains(VALUE));
        let refused = client.get(&url).header("X-Vault-Token", GUESS).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 403);
    });
}
