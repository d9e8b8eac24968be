//! Requests that cannot be understood, with a canary in the part that is wrong.

use super::{GUESS, Scene, TOKEN, VALUE};
use crate::harness::{Response, raw, try_request};

/// Heads and framings: nothing behind the parser ever sees these.
pub(super) fn heads(scene: &mut Scene) {
    let filler = |length: usize| "x".repeat(length);
    let get = "GET /v1/secret/data/apps/one HTTP/1.1\r\nHost: localhost\r\n";
    let post = "POST /v1/secret/data/apps/one HTTP/1.1\r\nHost: localhost\r\n";
    let requests: Vec<Vec<u8>> = vec![
        format!("{get}X-Vault-Token: {TOKEN}\x01\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}\0\r\n\r\n").into(),
        [format!("{get}X-Vault-Token: {TOKEN}").as_bytes(), b"\xff\xfe\r\n\r\n"].concat(),
        format!("{get}X-Vault-Token : {TOKEN}\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\n {TOKEN}\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\nX-Vault-Token: {GUESS}\r\n\r\n").into(),
        format!("{get}X-Vault-Token {TOKEN}\r\n\r\n").into(),
        format!("{get}X-Vault-{TOKEN}\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}{}\r\n\r\n", filler(9_000)).into(),
        format!("{get}X-Vault-Token: {TOKEN}{}\r\n\r\n", filler(40_000)).into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\nX-Filler: {}\r\n\r\n", filler(200_000)).into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\n{}\r\n", "X-More: y\r\n".repeat(300)).into(),
        format!("{get}Authorization: Basic {TOKEN}\r\n\r\n").into(),
        format!("{get}Authorization: Bearer {TOKEN} {GUESS}\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\nAuthorization: Bearer {GUESS}\r\n\r\n").into(),
        format!("{get}X-Vault-Token: {TOKEN}\r\nX-Vault-Namespace: {VALUE}/../x\r\n\r\n").into(),
        format!("{get}Connection: {TOKEN} {GUESS}\r\n\r\n").into(),
        format!("{get}Expect: {TOKEN}\r\n\r\n").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nContent-Length: {VALUE}\r\n\r\n").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{VALUE}").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{VALUE}")
            .into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nTransfer-Encoding: {VALUE}\r\n\r\n").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n{VALUE}\r\n\r\n").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nContent-Length: 900\r\n\r\n{VALUE}").into(),
        format!("{post}X-Vault-Token: {TOKEN}\r\nContent-Encoding: gzip\r\nContent-Length: 19\r\n\r\n{VALUE}").into(),
        format!("GET /v1/secret/data/apps/one?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n").into(),
        format!("GET /v1/{TOKEN}\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n").into(),
        format!("GET http://{TOKEN}@localhost/v1/sys/health HTTP/1.1\r\nHost: localhost\r\n\r\n").into(),
        format!("GET /v1/sys/health {TOKEN}\r\nHost: localhost\r\n\r\n").into(),
        format!("{TOKEN} /v1/sys/health HTTP/1.1\r\nHost: localhost\r\n\r\n").into(),
        format!("{TOKEN}\r\n\r\n").into(),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{TOKEN}").into(),
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: {TOKEN}\r\nHost: localhost\r\n\r\n").into(),
    ];
    for listener in ["vault", "scaivault", "admin", "tls"] {
        let address = scene.proxy.address(listener);
        let place = address.as_str();
        let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
            // some are answered only when the reader's patience ends
            let running: Vec<_> = requests.iter().map(|request| scope.spawn(move || raw(place, request))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for answer in answers {
            scene.errors.extend_from_slice(&answer);
        }
    }
}

/// Bodies that are no JSON, the wrong JSON, or too much of it.
pub(super) fn bodies(scene: &mut Scene) {
    let large = format!(r#"{{"data":{{"password":"{VALUE}{}"}}}}"#, "x".repeat(5_000));
    let huge = format!(r#"{{"data":{{"password":"{VALUE}{}"}}}}"#, "x".repeat(3_000_000));
    let bodies = [
        format!(r#"{{"data":{{"password":"{VALUE}"#),
        format!(r#"{{"data":{{"password":"{VALUE}"}}}} {VALUE}"#),
        format!(r#"{{"data":{{"password":"{VALUE}","password":"{VALUE}"}}}}"#),
        format!(r#"{{"data":"{VALUE}"}}"#),
        format!(r#"["{VALUE}"]"#),
        format!(r#"{{"data":{{"a":1}},"options":{{"cas":"{VALUE}"}}}}"#),
        format!(r#"{{"data":{{"a":1}},"options":{{"{VALUE}":1}}}}"#),
        format!(r#"{{"versions":["{VALUE}"]}}"#),
        format!(r#"{{"versions":"{VALUE}"}}"#),
        format!(r#"{{"custom_metadata":"{VALUE}"}}"#),
        format!(r#"{{"{VALUE}":1}}"#),
        format!(r#"{{"increment":"{VALUE}"}}"#),
        format!(r#"{{"role_id":["{VALUE}"],"secret_id":7}}"#),
        format!(r#"{{"ttl":"{VALUE}","policies":"{VALUE}"}}"#),
        format!(r#"{{"principal":["{VALUE}"]}}"#),
        VALUE.to_owned(),
        large,
        huge,
    ];
    let vault = [
        ("POST", "/v1/secret/data/apps/one"),
        ("PATCH", "/v1/secret/data/apps/one"),
        ("POST", "/v1/secret/metadata/apps/one"),
        ("POST", "/v1/secret/delete/apps/one"),
        ("PUT", "/v1/kv1/one"),
        ("POST", "/v1/db/one"),
        ("POST", "/v1/auth/approle/login"),
        ("POST", "/v1/auth/token/renew-self"),
        ("POST", "/v1/auth/token/create"),
        ("POST", "/v1/sys/capabilities-self"),
    ];
    let own = [("PUT", "/v1/secrets/apps/one"), ("POST", "/v1/tokens"), ("DELETE", "/v1/tokens")];
    let refuse = |answer: Response| if answer.status >= 400 { Some(answer) } else { None };
    for body in &bodies {
        for (method, path) in vault {
            let address = scene.proxy.address("vault");
            let headers = [("X-Vault-Token", TOKEN), ("Content-Type", "application/merge-patch+json")];
            let answer = try_request(&address, method, path, &headers, body.as_bytes());
            // a server that has said no need not read the rest, and the client may see that as a broken pipe
            if let Some(answer) = answer.ok().and_then(refuse) {
                scene.note(answer);
            }
        }
        for (method, path) in own {
            let address = scene.proxy.address("scaivault");
            let bearer = format!("Bearer {TOKEN}");
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            let answer = try_request(&address, method, path, &headers, body.as_bytes());
            if let Some(answer) = answer.ok().and_then(refuse) {
                scene.note(answer);
            }
        }
    }
}

/// Names that cannot be one, and parameters that are none.
pub(super) fn names(scene: &mut Scene) {
    for path in [
        format!("/v1/secret/data/{VALUE}%00"),
        format!("/v1/secret/data/{VALUE}/../x"),
        format!("/v1/secret/data/{VALUE}%2Fx"),
        format!("/v1/secret/data/{VALUE}//x"),
        format!("/v1/secret/data/{VALUE}%C3%A9"),
        format!("/v1/secret/data/{VALUE}%zz"),
        format!("/v1/{VALUE}/data/x"),
        format!("/v1/sys/{VALUE}"),
        format!("/v1/secret/{VALUE}/x"),
        format!("/{VALUE}"),
        format!("/v1/secret/data/apps/one?version={VALUE}"),
        format!("/v1/secret/data/apps/one?{VALUE}=1"),
        format!("/v1/secret/metadata/apps?list={VALUE}"),
        format!("/v1/secrets/apps/one?version={VALUE}"),
        format!("/v1/secrets/apps?list=true&cursor={VALUE}"),
        format!("/v1/federation/explain?request={VALUE}"),
        format!("/v1/federation/explain?name={VALUE}%00&operation={VALUE}"),
    ] {
        let answer = scene.proxy.vault_call(TOKEN, "GET", &path, b"");
        assert!(scene.note(answer).status >= 400, "{path}");
        let answer = scene.proxy.scaivault_call(TOKEN, "GET", &path, b"");
        assert!(scene.note(answer).status >= 400, "{path}");
    }
}
