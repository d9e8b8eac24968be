//! What the audit device of an OpenBao says was written is served at once, and whoever else talks to its socket gains
//! nothing.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::Api;
use super::relay::Relay;
use super::source::Source;
use super::world::{
    STORE, backend, backends, config, proxy, read, reload, reload_in_vain, rule, told, value, with_files,
};
use crate::harness::{Proxy, wait_until};
use crate::peers::OpenBao;

const SOON: Duration = Duration::from_secs(30);
const TERM: i32 = 15;
/// How often a secret is rotated to see how long that takes.
const ROTATIONS: usize = 9;

/// A backend that is looked over once an hour, and hears of writes at `device`, if that is not empty.
fn listening(source: &Source, address: &str, device: &str) -> String {
    let vault = backend("vault", address, &["mode: sync", "sync_interval: 1h"], &[rule(source, "apps", "")]);
    let credential = "auth_config_path: infra/openbao";
    assert!(vault.contains(credential), "{vault}");
    let heard = if device.is_empty() { String::new() } else { format!(", audit_device: {{address: '{device}'}}") };
    config(STORE, &backends(&[vault.replace(credential, &format!("{credential}{heard}"))]))
}

/// Has OpenBao report to a socket, and to a file so that it goes on when nobody listens.
fn report_to(socket: &Path, source: &Source, log: &Path) {
    let file = json!({"type": "file", "options": {"file_path": log}});
    let socket = json!({"type": "socket", "options": {"address": socket, "socket_type": "unix"}});
    for (name, device) in [("plain", file), ("refresh", socket)] {
        let made = source.call("PUT", &format!("sys/audit/{name}"), &device);
        assert!(made.status < 300, "{name}: {}", made.text());
    }
}

/// How many lines came to this so far.
fn lines(proxy: &Proxy, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    proxy.metric("scaivault_audit_device_lines_total", &[label.as_str()]).unwrap_or_default()
}

/// How many runs there is a report of.
fn reports(api: &Api) -> usize {
    api.call("GET", "/syncs", &Value::Null).json()["syncs"].as_array().unwrap().len()
}

/// A line as OpenBao writes it about a call that worked, of what it reads there.
fn line(source: &Source, operation: &str, below: &str) -> String {
    let mount = &source.mount;
    let request = json!({
        "id": "45ec", "operation": operation, "mount_point": format!("{mount}/"), "mount_type": "kv",
        "client_token": "hmac-sha256:e8ca", "namespace": {"id": "root"}, "path": format!("{mount}/{below}"),
        "data": {"data": {"n": "hmac-sha256:59b0"}}, "remote_address": "127.0.0.1",
    });
    json!({"time": "2026-11-23T16:52:14.044918002Z", "type": "response", "auth": {}, "request": request}).to_string()
}

fn connect(proxy: &Proxy, name: &str) -> TcpStream {
    let peer = TcpStream::connect(proxy.address(name)).unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    peer
}

fn say(peer: &mut TcpStream, line: &str) {
    peer.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Waits until the other end has gone.
fn is_cut(peer: &mut TcpStream) {
    match peer.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => panic!("it answered"),
        Err(error) => assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
    }
}

#[test]
fn a_rotated_secret_is_served_within_a_second_of_its_write() {
    let mut builder = Proxy::builder();
    let (address, cluster) = (builder.port("openbao"), builder.port("cluster"));
    let data = builder.dir().join("openbao");
    let openbao = OpenBao::kept(&data, &address, &cluster);
    let source = Source::on(&openbao, "kv");
    source.put("apps/rotated", &json!({"n": 0}));
    let config = listening(&source, &source.address, "unix:{dir}/device.sock");
    let mut proxy = with_files(builder, &source).config(&config).start();
    let api = Api::of(&proxy, "vault");
    api.complete();
    let runs = reports(&api);
    let socket = proxy.dir().join("device.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    report_to(&socket, &source, &data.join("audit.log"));

    let mut took = Vec::new();
    for n in 1..=ROTATIONS {
        source.put("apps/rotated", &json!({"n": n}));
        let written = Instant::now();
        wait_until(SOON, "the new value", || value(&proxy, "apps/rotated") == json!({"n": n}));
        took.push(written.elapsed());
    }
    took.sort_unstable();
    assert!(took[ROTATIONS / 2] < Duration::from_secs(1), "{took:?}");
    assert_eq!(read(&proxy, "apps/rotated"), (200, "hit".to_owned()), "it is a copy");
    assert!(lines(&proxy, "refreshed") >= 9.0 && lines(&proxy, "ignored") > 0.0);
    assert_eq!((lines(&proxy, "malformed"), lines(&proxy, "dropped")), (0.0, 0.0));

    source.put("apps/fresh", &json!({"n": 1}));
    wait_until(SOON, "a secret that is new", || value(&proxy, "apps/fresh") == json!({"n": 1}));
    source.change("DELETE", "data", "apps/rotated", &Value::Null);
    wait_until(SOON, "a deletion", || read(&proxy, "apps/rotated").0 == 404);
    source.change("POST", "undelete", "apps/rotated", &json!({"versions": [ROTATIONS + 1]}));
    wait_until(SOON, "an undeletion", || value(&proxy, "apps/rotated") == json!({"n": ROTATIONS}));
    let owner = json!({"owner": "team-one"});
    source.change("POST", "metadata", "apps/rotated", &json!({"custom_metadata": owner}));
    wait_until(SOON, "custom metadata", || told(&proxy, "apps/rotated")["custom_metadata"] == owner);
    source.change("DELETE", "metadata", "apps/fresh", &Value::Null);
    wait_until(SOON, "a removal", || read(&proxy, "apps/fresh").0 == 404);
    assert_eq!(reports(&api), runs, "no run was needed, and none is reported");

    proxy.signal(TERM);
    assert!(proxy.wait_exit(SOON).success());
    assert!(!socket.exists());
    source.put("apps/rotated", &json!({"n": "while nobody listened"}));
    proxy.start_again();
    source.put("apps/rotated", &json!({"n": "after that"}));
    wait_until(SOON, "OpenBao to have connected again", || value(&proxy, "apps/rotated") == json!({"n": "after that"}));
}

#[test]
fn whoever_connects_can_have_a_copied_secret_looked_at_and_nothing_else() {
    let source = Source::new("sync-device");
    source.put("apps/one", &json!({"n": 1}));
    let relay = Relay::to(&source.address);
    let proxy = proxy(&source, &listening(&source, relay.address(), "{device}"));
    Api::of(&proxy, "vault").complete();
    relay.forget();

    let mut peer = connect(&proxy, "device");
    say(&mut peer, "hello");
    say(&mut peer, &line(&source, "read", "data/apps/one"));
    say(&mut peer, &line(&source, "update", "data/elsewhere/one"));
    say(&mut peer, &line(&source, "update", "data/apps/one").replacen("response", "request", 1));
    wait_until(SOON, "all to be heard", || lines(&proxy, "ignored") >= 3.0);
    assert_eq!((lines(&proxy, "malformed"), lines(&proxy, "refreshed")), (1.0, 0.0));
    assert_eq!(relay.count("/one"), 0, "nothing is looked at");

    say(&mut peer, &line(&source, "update", "data/apps/one"));
    wait_until(SOON, "a look", || relay.count("/apps/one") > 0);
    assert_eq!(value(&proxy, "apps/one"), json!({"n": 1}), "what the line says is not believed");
    source.put("apps/one", &json!({"n": 2}));
    say(&mut peer, &line(&source, "update", "data/apps/one"));
    wait_until(SOON, "the new value", || value(&proxy, "apps/one") == json!({"n": 2}));
    assert_eq!(proxy.metric("scaivault_audit_device_connections", &[]), Some(1.0));

    // it may be cut while it is still sending
    drop(peer.write_all(&vec![b'x'; (1 << 20) + 1]));
    is_cut(&mut peer);
    let mut peer = connect(&proxy, "device");
    drop(peer.write_all("nonsense\n".repeat(101).as_bytes()));
    is_cut(&mut peer);
    assert_eq!(lines(&proxy, "malformed"), 102.0);
    wait_until(SOON, "both to be gone", || proxy.metric("scaivault_audit_device_connections", &[]) == Some(0.0));

    let mut peer = connect(&proxy, "device");
    source.put("apps/one", &json!({"n": 3}));
    say(&mut peer, &line(&source, "patch", "data/apps/one"));
    wait_until(SOON, "others to be heard as before", || value(&proxy, "apps/one") == json!({"n": 3}));
}

#[test]
fn a_reload_keeps_who_is_connected_until_the_address_is_another() {
    let source = Source::new("sync-device-reload");
    source.put("apps/one", &json!({"n": 1}));
    let with = |device: &str| listening(&source, &source.address, device);
    let mut proxy = proxy(&source, &with("{device}"));
    Api::of(&proxy, "vault").complete();
    let written = line(&source, "update", "data/apps/one");
    let mut peer = connect(&proxy, "device");
    say(&mut peer, &written);
    wait_until(SOON, "a line", || lines(&proxy, "refreshed") >= 1.0);

    reload(&mut proxy, &with("{device}").replace("sync_interval: 1h", "sync_interval: 2h"));
    say(&mut peer, &written);
    wait_until(SOON, "a line of the same peer", || lines(&proxy, "refreshed") >= 2.0);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    reload_in_vain(&mut proxy, &with(&taken.local_addr().unwrap().to_string()));
    say(&mut peer, &written);
    wait_until(SOON, "a line after a refusal", || lines(&proxy, "refreshed") >= 3.0);

    reload(&mut proxy, &with("{elsewhere}"));
    is_cut(&mut peer);
    wait_until(SOON, "the old address to be free", || TcpStream::connect(proxy.address("device")).is_err());
    let mut peer = connect(&proxy, "elsewhere");
    say(&mut peer, &written);
    wait_until(SOON, "a line at the new address", || lines(&proxy, "refreshed") >= 4.0);

    reload(&mut proxy, &with(""));
    is_cut(&mut peer);
    assert_eq!(value(&proxy, "apps/one"), json!({"n": 1}));
}
