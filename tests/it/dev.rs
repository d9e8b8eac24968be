//! `dev --store`: what was made in one run is there in the next one, however the first one ended.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Response, request, send_signal, try_request, wait_until};
use crate::peers;

const TOKEN: &str = "root-token-of-the-dev-suite";
const SCAIVAULT: &str = "127.0.0.1:8440";
const VAULT: &str = "127.0.0.1:8441";
const AWS: &str = "127.0.0.1:8442";
const ADMIN: &str = "127.0.0.1:8449";
const BACKENDS: &str = "/v1/federation/backends";
const SOON: Duration = Duration::from_secs(60);
const TERM: i32 = 15;
const KILL: i32 = 9;

/// `dev` on its own addresses, ended with its value.
struct Dev(Child);

impl Dev {
    fn start(place: &Place, store: &Path) -> Self {
        for address in [SCAIVAULT, VAULT, AWS, ADMIN] {
            drop(TcpListener::bind(address).unwrap_or_else(|error| {
                panic!("{address}, where `dev` serves, is not free ({error}): end what serves there and test again")
            }));
        }
        let child = Command::new(env!("CARGO_BIN_EXE_scaivault-proxy"))
            .args(["dev", "--root-token", TOKEN, "--store"])
            .arg(store)
            .env_clear()
            .env("TMPDIR", place.directory("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut dev = Self(child);
        wait_until(SOON, "`dev` to serve", || {
            let ended = dev.0.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            try_request(ADMIN, "GET", "/startupz", &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        dev
    }

    fn end(mut self, signal: i32) {
        send_signal(self.0.id(), signal);
        wait_until(SOON, "`dev` to end", || self.0.try_wait().unwrap().is_some());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn own(method: &str, path: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(SCAIVAULT, method, path, &headers, body.as_bytes())
}

#[track_caller]
fn done(method: &str, path: &str, body: &Value) -> Value {
    let answer = own(method, path, body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// Everything that is to last.
fn seen() -> Vec<Value> {
    let paths =
        ["apps/one", "apps/one?version=1", "apps/one?versions=true", "apps/gone?versions=true", "apps?list=true"];
    let mut seen: Vec<Value> = paths.map(|path| done("GET", &format!("/v1/secrets/{path}"), &Value::Null)).into();
    let vault = request(VAULT, "GET", "/v1/secret/data/hello", &[("X-Vault-Token", TOKEN)], b"");
    assert_eq!(vault.status, 200, "{}", vault.text());
    seen.push(vault.json()["data"].clone());
    seen.push(done("GET", BACKENDS, &Value::Null));
    let copy = done("GET", "/v1/secrets/external/dev/one", &Value::Null);
    seen.extend([copy["data"].clone(), copy["version"].clone(), copy["source"]["mode"].clone()]);
    seen
}

#[test]
fn a_store_keeps_everything_across_restarts_and_crashes() {
    let place = Place::new();
    let store = place.path().join("dev-store");
    let dev = Dev::start(&place, &store);
    for n in 1..=2 {
        done("PUT", "/v1/secrets/apps/one", &json!({"data": {"n": n}, "metadata": {"owner": "me"}}));
    }
    done("PUT", "/v1/secrets/apps/gone", &json!({"data": {"n": 1}}));
    done("DELETE", "/v1/secrets/apps/gone", &Value::Null);
    let hello =
        request(VAULT, "POST", "/v1/secret/data/hello", &[("X-Vault-Token", TOKEN)], br#"{"data":{"name":"world"}}"#);
    assert_eq!(hello.status, 200, "{}", hello.text());
    // a backend with its credential and its copies
    let bao = peers::openbao();
    let written = bao.root("POST", "/v1/secret/data/dev-suite/one", br#"{"data":{"n":"of the server"}}"#);
    assert_eq!(written.status, 200, "{}", written.text());
    done("PUT", "/v1/secrets/infra/bao", &json!({"data": {"token": bao.text("backend_token")}}));
    let made = done(
        "POST",
        BACKENDS,
        &json!({
            "name": "dev", "type": "hashicorp-vault", "mode": "sync", "sync_interval": "1h",
            "config": {"endpoint": bao.addr, "auth_method": "token", "auth_config_path": "infra/bao"},
            "path_mapping": [{"from": "external/dev/**", "to": "secret/data/dev-suite/**"}],
        }),
    );
    let at = format!("{BACKENDS}/{}", made["id"].as_str().unwrap());
    done("POST", &format!("{at}/sync"), &json!({}));
    wait_until(SOON, "a copy", || done("GET", &format!("{at}/status"), &Value::Null)["secrets_synced"] == 1);
    let issued = done("POST", "/v1/tokens", &json!({"principal": "t/made", "ttl_seconds": 3600}));
    let issued = format!("Bearer {}", issued["token"].as_str().unwrap());
    let before = seen();
    dev.end(TERM);
    for signal in [KILL, TERM] {
        let dev = Dev::start(&place, &store);
        wait_until(SOON, "the names to be read", || {
            own("GET", "/v1/secrets/apps?list=true", &Value::Null).status == 200
        });
        assert_eq!(seen(), before);
        let read = request(SCAIVAULT, "GET", "/v1/secrets/apps/one", &[("Authorization", &issued)], b"");
        assert_eq!(read.status, 200, "an issued token lasts, too: {}", read.text());
        let denied = own("GET", "/v1/secrets/infra/bao", &Value::Null);
        assert_eq!(denied.status, 403, "a credential of a backend stays write-only: {}", denied.text());
        dev.end(signal);
    }
}
