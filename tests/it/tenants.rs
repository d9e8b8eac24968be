//! Two tenants in one process: every operation of one, tried on the other's side of the line. Nothing is served, nothing
//! is changed, nothing is told, not even that something is there.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Proxy, Response, config, request, wait_until};
use crate::peers;

const SOON: Duration = Duration::from_secs(20);
const BACKENDS: &str = "/v1/federation/backends";
const SEAL_KEY: &str = "a2V5LW9mLXRoZS10d28tdGVuYW50cy1zdWl0ZXMtMDE=\n";
/// The tenants' administrators.
const ONE: &str = "admin-token-of-tenant-one-0001";
const TWO: &str = "admin-token-of-tenant-two-0002";
/// A principal of the same name in both.
const APP_ONE: &str = "app-token-of-tenant-one-000001";
const APP_TWO: &str = "app-token-of-tenant-two-000002";
const SECRET_ID: &str = "secret-id-of-tenant-one-00001";
const ROLE_ID: &str = "role-id-of-tenant-one";

/// One listener a wire for both; the credential decides. The vault listener answers logins for tenant `one`.
const CONFIG: &str = config!(
    r#"    tenant: one
    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
store: {path: {dir}/store/store.redb}
seal: {provider: file, path: {dir}/seal.key}
tenants:
  one:
    namespaces: [team-one]
    store: {local: [apps, infra, only-one]}
    identity:
      tokens:
        - {principal: t/admin, groups: [admins], file: {dir}/one.token}
        - {principal: t/app, groups: [apps], file: {dir}/app-one.token}
      approles:
        - {principal: t/role, groups: [apps], role_id: role-id-of-tenant-one, secret_id_files: [{dir}/secret-id]}
    policies: [{dir}/policies.cedar, {dir}/one.cedar]
    federation: {allow_endpoints: ["http://BAO"]}
  two:
    namespaces: [team-two]
    store: {local: [apps, infra]}
    identity:
      tokens:
        - {principal: t/admin, groups: [admins], file: {dir}/two.token}
        - {principal: t/app, groups: [apps], file: {dir}/app-two.token}
    policies: [{dir}/policies.cedar]
    federation: {allow_endpoints: ["http://BAO"]}
"#
);

/// Only tenant `one` lets its applications do anything.
const ONE_POLICIES: &str = r#"
@id("apps-read")
permit (principal in Group::"apps", action in [Action::"read", Action::"list"], resource);
"#;

fn both() -> Proxy {
    Proxy::builder()
        .config(&CONFIG.replace("BAO", peers::openbao().address()))
        .file("one.token", ONE)
        .file("two.token", TWO)
        .file("app-one.token", APP_ONE)
        .file("app-two.token", APP_TWO)
        .file("secret-id", SECRET_ID)
        .file("one.cedar", ONE_POLICIES)
        .file("seal.key", SEAL_KEY)
        .start()
}

fn api(proxy: &Proxy, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    proxy.scaivault_call(token, method, path, body.as_bytes())
}

fn ok(proxy: &Proxy, token: &str, method: &str, path: &str, body: &Value) -> Value {
    let answer = api(proxy, token, method, path, body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn put(proxy: &Proxy, token: &str, path: &str, value: &str) {
    ok(proxy, token, "PUT", &format!("/v1/secrets/{path}"), &json!({"data": {"value": value}}));
}

/// What a tenant's administrator reads on both wires, which must agree.
fn read(proxy: &Proxy, token: &str, path: &str) -> Option<String> {
    let own = api(proxy, token, "GET", &format!("/v1/secrets/{path}"), &Value::Null);
    let vault = proxy.vault_call(token, "GET", &format!("/v1/secret/data/{path}"), b"");
    assert_eq!(own.status, vault.status, "{path}: {} {}", own.text(), vault.text());
    let value = |value: &Value| value.as_str().map(str::to_owned);
    match own.status {
        200 => {
            assert_eq!(own.json()["data"]["value"], vault.json()["data"]["data"]["value"]);
            value(&own.json()["data"]["value"])
        }
        404 => None,
        status => panic!("{path}: {status} {}", own.text()),
    }
}

/// An answer without what belongs to the request.
fn bare(answer: &Response) -> (u16, Value) {
    let mut document = if answer.body.is_empty() { Value::Null } else { answer.json() };
    if let Some(fields) = document.as_object_mut() {
        fields.remove("request_id");
    }
    (answer.status, document)
}

#[test]
fn c01_secrets_of_the_same_name_are_two_and_what_one_has_the_other_never_had() {
    let mut proxy = both();
    for (token, whose) in [(ONE, "one"), (TWO, "two")] {
        put(&proxy, token, "apps/shared", &format!("of {whose}"));
        put(&proxy, token, &format!("apps/{whose}/mine"), &format!("only of {whose}"));
    }
    put(&proxy, ONE, "only-one/x", "in a folder of one");
    let look = |proxy: &Proxy| {
        assert_eq!(read(proxy, ONE, "apps/shared").as_deref(), Some("of one"));
        assert_eq!(read(proxy, TWO, "apps/shared").as_deref(), Some("of two"));
        assert_eq!(read(proxy, ONE, "apps/one/mine").as_deref(), Some("only of one"));
        assert_eq!((read(proxy, TWO, "apps/one/mine"), read(proxy, ONE, "apps/two/mine")), (None, None));
        for token in [ONE, TWO] {
            let names = if token == ONE { json!(["one/", "shared"]) } else { json!(["shared", "two/"]) };
            let listed = ok(proxy, token, "GET", "/v1/secrets/apps?list=true", &Value::Null);
            assert_eq!(listed["names"], names);
            let keys = proxy.vault_call(token, "LIST", "/v1/secret/metadata/apps", b"");
            assert_eq!(keys.json()["data"]["keys"], names, "{}", keys.text());
        }
    };
    look(&proxy);

    // whatever two does to a name of one, it is as if one were not there
    let there = "/v1/secrets/apps/one/mine";
    let nowhere = "/v1/secrets/apps/none/mine";
    for (method, suffix, body) in [
        ("GET", "", Value::Null),
        ("HEAD", "", Value::Null),
        ("GET", "?version=1", Value::Null),
        ("GET", "?versions=true", Value::Null),
        ("GET", "?list=true", Value::Null),
        ("DELETE", "", Value::Null),
        ("DELETE", "?destroy=true&version=1", Value::Null),
        ("PUT", "?undelete=true&version=1", Value::Null),
        ("PUT", "", json!({"data": {"value": "stolen"}, "cas": 1})),
    ] {
        let [tried, absent] = [there, nowhere].map(|path| {
            let mut answer = bare(&api(&proxy, TWO, method, &format!("{path}{suffix}"), &body));
            answer.1 = serde_json::from_str(&answer.1.to_string().replace("apps/one", "apps/none")).unwrap();
            answer
        });
        assert_eq!(tried, absent, "{method} {suffix}");
    }
    for (method, path, body) in [
        ("GET", "data/apps/one/mine", ""),
        ("GET", "metadata/apps/one/mine", ""),
        ("GET", "subkeys/apps/one/mine", ""),
        ("PATCH", "metadata/apps/one/mine", r#"{"custom_metadata":{"a":"b"}}"#),
        ("DELETE", "metadata/apps/one/mine", ""),
    ] {
        let [tried, absent] = [path.to_owned(), path.replace("apps/one", "apps/none")].map(|path| {
            let headers = [("X-Vault-Token", TWO), ("Content-Type", "application/merge-patch+json")];
            let target = format!("/v1/secret/{path}");
            let used = if method == "PATCH" { &headers[..] } else { &headers[..1] };
            let answer = request(&proxy.address("vault"), method, &target, used, body.as_bytes());
            bare(&answer)
        });
        assert_eq!(tried, absent, "{method} {path}");
    }
    // a folder only one has is unmapped for two, and a policy only one has permits nobody of two
    for suffix in ["", "?versions=true"] {
        assert_eq!(api(&proxy, TWO, "GET", &format!("/v1/secrets/only-one/x{suffix}"), &Value::Null).status, 403);
    }
    let app = |token: &str| api(&proxy, token, "GET", "/v1/secrets/apps/shared", &Value::Null).status;
    assert_eq!((app(APP_ONE), app(APP_TWO)), (200, 403));
    look(&proxy);
    restart(&mut proxy);
    look(&proxy);
}

fn restart(proxy: &mut Proxy) {
    proxy.signal(15);
    assert!(proxy.wait_exit(Duration::from_secs(60)).success(), "{}", proxy.stderr());
    proxy.start_again();
    for token in [ONE, TWO] {
        wait_until(SOON, "the names to be read", || {
            api(proxy, token, "GET", "/v1/secrets/apps?list=true", &Value::Null).status == 200
        });
    }
}

#[test]
fn credentials_namespaces_and_logins_belong_to_one_tenant() {
    let proxy = both();
    put(&proxy, ONE, "apps/x", "of one");
    // a namespace that is the other's
    for (token, namespace, status) in [
        (ONE, "team-one", 200),
        (ONE, "team-two", 403),
        (TWO, "team-one", 403),
        (TWO, "team-two", 404),
        (ONE, "nobodys", 403),
    ] {
        let headers = [("X-Vault-Token", token), ("X-Vault-Namespace", namespace)];
        let answer = request(&proxy.address("vault"), "GET", "/v1/secret/data/apps/x", &headers, b"");
        assert_eq!(answer.status, status, "{namespace}: {}", answer.text());
    }
    let login = |namespace: &str| {
        let body = json!({"role_id": ROLE_ID, "secret_id": SECRET_ID}).to_string();
        let headers = [("X-Vault-Namespace", namespace)];
        let headers = if namespace.is_empty() { &headers[..0] } else { &headers[..] };
        request(&proxy.address("vault"), "POST", "/v1/auth/approle/login", headers, body.as_bytes())
    };
    for namespace in ["", "team-one"] {
        assert_eq!(login(namespace).status, 200, "{namespace}");
    }
    for namespace in ["team-two", "nobodys"] {
        let refused = login(namespace);
        assert!(matches!(refused.status, 400 | 403), "{namespace}: {} {}", refused.status, refused.text());
    }
    let token = login("").json()["auth"]["client_token"].as_str().unwrap().to_owned();
    let read = |namespace: &str| {
        let headers = [("X-Vault-Token", token.as_str()), ("X-Vault-Namespace", namespace)];
        request(&proxy.address("vault"), "GET", "/v1/secret/data/apps/x", &headers, b"").status
    };
    assert_eq!((read("team-one"), read("team-two")), (200, 403));
}

#[test]
fn tokens_and_revocations_end_at_the_line() {
    let proxy = both();
    put(&proxy, ONE, "apps/x", "of one");
    put(&proxy, TWO, "apps/x", "of two");
    let issued = ok(&proxy, ONE, "POST", "/v1/tokens", &json!({"principal": "t/made", "groups": ["admins"]}));
    let (token, accessor) = (issued["token"].as_str().unwrap(), issued["accessor"].as_str().unwrap());
    // made by one, it is of one, whoever is told of it
    assert_eq!(read(&proxy, token, "apps/x").as_deref(), Some("of one"));
    for body in [json!({"token": token}), json!({"accessor": accessor})] {
        let refused = api(&proxy, TWO, "DELETE", "/v1/tokens", &body);
        let nobodys = api(&proxy, TWO, "DELETE", "/v1/tokens", &json!({"accessor": "no-such-accessor-at-all"}));
        assert_eq!(bare(&refused), bare(&nobodys));
        assert_eq!(refused.status, 404, "{}", refused.text());
    }
    assert_eq!(read(&proxy, token, "apps/x").as_deref(), Some("of one"), "its token was ended from the other side");
    // the same principal in both: each ends its own
    ok(&proxy, TWO, "PUT", "/v1/principals/t/app/revocation", &Value::Null);
    let app = |token: &str| api(&proxy, token, "GET", "/v1/secrets/apps/x", &Value::Null).status;
    assert_eq!((app(APP_ONE), app(APP_TWO)), (200, 401));
    ok(&proxy, TWO, "PUT", "/v1/principals/t/made/revocation", &Value::Null);
    assert_eq!(read(&proxy, token, "apps/x").as_deref(), Some("of one"));
    ok(&proxy, ONE, "PUT", "/v1/principals/t/app/revocation", &Value::Null);
    ok(&proxy, TWO, "DELETE", "/v1/principals/t/app/revocation", &Value::Null);
    assert_eq!((app(APP_ONE), app(APP_TWO)), (401, 403));
    ok(&proxy, ONE, "DELETE", "/v1/tokens", &json!({"accessor": accessor}));
    assert_eq!(api(&proxy, token, "GET", "/v1/secrets/apps/x", &Value::Null).status, 401);
}

/// A synced backend of a tenant over a folder of its own on the real server.
fn synced(proxy: &Proxy, token: &str, whose: &str) -> String {
    let bao = peers::openbao();
    for number in 0..3 {
        let body = json!({"data": {"value": format!("remote of {whose}")}}).to_string();
        let path = format!("/v1/secret/data/tenants/{whose}/s{number}");
        assert_eq!(bao.root("POST", &path, body.as_bytes()).status, 200);
    }
    put_credential(proxy, token);
    let made = ok(proxy, token, "POST", BACKENDS, &backend("shared-name", whose));
    format!("{BACKENDS}/{}", made["id"].as_str().unwrap())
}

fn put_credential(proxy: &Proxy, token: &str) {
    let credential = json!({"data": {"token": peers::openbao().text("backend_token")}});
    ok(proxy, token, "PUT", "/v1/secrets/infra/bao", &credential);
}

fn backend(name: &str, whose: &str) -> Value {
    json!({
        "name": name, "type": "hashicorp-vault", "mode": "sync", "sync_interval": "1h",
        "config": {"endpoint": peers::openbao().addr, "auth_method": "token", "auth_config_path": "infra/bao"},
        "path_mapping": [{"from": "external/**", "to": format!("secret/data/tenants/{whose}/**")}],
    })
}

fn sync(proxy: &Proxy, token: &str, at: &str) -> Value {
    let run = ok(proxy, token, "POST", &format!("{at}/sync"), &Value::Null)["run"].as_str().unwrap().to_owned();
    let mut report = Value::Null;
    wait_until(SOON, "the sync to end", || {
        let answer = api(proxy, token, "GET", &format!("{at}/syncs/{run}"), &Value::Null);
        report = answer.json();
        answer.status == 200 && report["outcome"] != "running"
    });
    assert_eq!(report["outcome"], "completed", "{report:#}");
    report
}

#[test]
fn backends_copies_and_conflicts_belong_to_one_tenant() {
    let mut proxy = both();
    let (ones, twos) = (synced(&proxy, ONE, "one"), synced(&proxy, TWO, "two"));
    let run = sync(&proxy, ONE, &ones)["id"].as_str().unwrap().to_owned();
    sync(&proxy, TWO, &twos);
    let own = |proxy: &Proxy| {
        for (token, whose, at) in [(ONE, "one", &ones), (TWO, "two", &twos)] {
            assert_eq!(read(proxy, token, "external/s1"), Some(format!("remote of {whose}")));
            let listed = ok(proxy, token, "GET", BACKENDS, &Value::Null);
            let ids: Vec<&Value> = listed["backends"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
            assert_eq!(ids, [&json!(at.rsplit('/').next().unwrap())]);
            assert_eq!(ok(proxy, token, "GET", &format!("{at}/status"), &Value::Null)["secrets_synced"], 3);
        }
    };
    own(&proxy);
    let nobodys = format!("{BACKENDS}/fed_01J9ZQ6W3N8X2T5V7Y0R4M6K8P");
    for (method, below, body) in [
        ("GET", String::new(), Value::Null),
        ("PATCH", String::new(), json!({"max_versions": 2})),
        ("PATCH", String::new(), json!({"mode": "proxy"})),
        ("POST", "/check".to_owned(), Value::Null),
        ("POST", "/sync".to_owned(), Value::Null),
        ("POST", "/sync".to_owned(), json!({"paths": ["external/s1"]})),
        ("GET", "/syncs".to_owned(), Value::Null),
        ("GET", format!("/syncs/{run}"), Value::Null),
        ("DELETE", format!("/syncs/{run}"), Value::Null),
        ("GET", "/status".to_owned(), Value::Null),
        ("GET", "/conflicts".to_owned(), Value::Null),
        ("POST", "/conflicts/resolve".to_owned(), json!({"path": "external/s1", "keep": "local"})),
        ("GET", "/quarantine".to_owned(), Value::Null),
        ("POST", "/quarantine/adopt".to_owned(), Value::Null),
        ("POST", "/quarantine/purge".to_owned(), Value::Null),
        ("DELETE", String::new(), Value::Null),
    ] {
        let [tried, absent] =
            [&ones, &nobodys].map(|at| bare(&api(&proxy, TWO, method, &format!("{at}{below}"), &body)));
        assert_eq!(tried, absent, "{method} {below} tells that there is something");
        assert!(!tried.1.to_string().contains("shared-name"), "{method} {below}: {}", tried.1);
    }
    // a run of the other under one's own backend is none
    assert_eq!(api(&proxy, TWO, "GET", &format!("{twos}/syncs/{run}"), &Value::Null).status, 404);
    own(&proxy);
    // a credential of the other cannot be referred to
    put(&proxy, ONE, "only-one/credential", "x");
    let mut stealing = backend("stealing", "one");
    stealing["config"]["auth_config_path"] = json!("only-one/credential");
    stealing["path_mapping"] = json!([{"from": "stolen/**", "to": "secret/data/tenants/one/**"}]);
    let refused = api(&proxy, TWO, "POST", BACKENDS, &stealing);
    assert_eq!((refused.status, &refused.json()["errors"][0]["key"]), (400, &json!("config.auth_config_path")));
    // ending one's backend quarantines one's copies and nobody else's
    ok(&proxy, ONE, "DELETE", &ones, &Value::Null);
    assert_eq!(ok(&proxy, ONE, "GET", &format!("{ones}/quarantine"), &Value::Null)["count"], 3);
    assert_eq!(ok(&proxy, TWO, "GET", &format!("{twos}/quarantine"), &Value::Null)["count"], 0);
    let purged = ok(&proxy, TWO, "POST", &format!("{ones}/quarantine/purge"), &Value::Null);
    assert_eq!(purged, json!({"purged": 0}));
    restart(&mut proxy);
    assert_eq!(read(&proxy, TWO, "external/s1").as_deref(), Some("remote of two"));
    assert_eq!(ok(&proxy, ONE, "POST", &format!("{ones}/quarantine/purge"), &Value::Null), json!({"purged": 3}));
}

/// A client of `GET /v1/events`.
struct Follower(BufReader<TcpStream>);

impl Follower {
    fn new(proxy: &Proxy, token: &str) -> Self {
        let address = proxy.address("scaivault");
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(stream, "GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut follower = Self(BufReader::new(stream));
        while !follower.line().contains("listening") {}
        follower
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
        line
    }

    fn event(&mut self) -> Value {
        loop {
            let line = self.line();
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[test]
fn events_are_told_to_their_tenant_only() {
    let proxy = both();
    let (ones, twos) = (synced(&proxy, ONE, "one"), synced(&proxy, TWO, "two"));
    let id = |at: &str| at.rsplit('/').next().unwrap().to_owned();
    let (mut one, mut two) = (Follower::new(&proxy, ONE), Follower::new(&proxy, TWO));
    // much of one, then a little of two: what two hears first is its own
    for _ in 0..3 {
        sync(&proxy, ONE, &ones);
    }
    sync(&proxy, TWO, &twos);
    let (of_two, of_one) = (two.event(), one.event());
    assert_eq!((&of_two["type"], &of_two["subject"]), (&json!("federation.sync.completed"), &json!(id(&twos))));
    assert_eq!(of_two["source"], "/scaivault-proxy/it/tenants/two");
    assert_eq!((&of_one["source"], &of_one["subject"]), (&json!("/scaivault-proxy/it/tenants/one"), &json!(id(&ones))));
    // a configuration that is refused is both's, what is wrong with it one's alone
    let config = CONFIG.replace("BAO", peers::openbao().address());
    let mut proxy = proxy;
    proxy.write_config(&config.replace("namespaces: [team-one]", "namespaces: [Canary//team]"));
    let rejected = |follower: &mut Follower| loop {
        let event = follower.event();
        if event["type"] == "config.rejected" {
            return event;
        }
    };
    let (told_one, told_two) = (rejected(&mut one), rejected(&mut two));
    assert!(told_one["data"]["problems"].to_string().contains("tenants.one.namespaces"), "{told_one:#}");
    assert_eq!(told_two["data"]["problems"], json!([]), "{told_two:#}");
    assert!(!told_two.to_string().contains("one"), "{told_two:#}");
    let mut rest = Vec::new();
    one.0.get_ref().set_nonblocking(true).unwrap();
    drop(one.0.read_to_end(&mut rest));
    assert!(!String::from_utf8_lossy(&rest).contains(&id(&twos)), "one heard of two");
}

#[test]
fn explanations_stop_at_the_line() {
    let proxy = both();
    let refused = api(&proxy, APP_ONE, "DELETE", "/v1/secrets/apps/of-one", &Value::Null);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let explain =
        |token: &str, query: &str| api(&proxy, token, "GET", &format!("/v1/federation/explain?{query}"), &Value::Null);
    let by_id = format!("request={}", refused.request_id());
    assert_eq!(explain(ONE, &by_id).json()["stopped_by"]["path"], "apps/of-one");
    let [asked, unknown] =
        [by_id.as_str(), "request=01ARZ3NDEKTSV4RRFFQ69G5FAV"].map(|query| bare(&explain(TWO, query)));
    assert_eq!(asked, unknown, "two is told of a request of one");
    assert_eq!(asked.0, 404);
    // each is told of its own rules, principals and policies
    let twos = explain(TWO, "name=only-one/x&as=t/app");
    assert!(!twos.text().contains("apps-read"), "{}", twos.text());
    let decision = |token: &str| explain(token, "name=apps/x&as=t/app").json()["decision"].clone();
    assert_eq!((decision(ONE), decision(TWO)), (json!("permit"), json!("deny")));
}

#[test]
fn a_tenant_rotates_its_own_key_and_the_trail_says_whose_every_line_is() {
    let mut proxy = both();
    for (token, whose) in [(ONE, "one"), (TWO, "two")] {
        for number in 0..5 {
            put(&proxy, token, &format!("apps/{whose}-{number}"), whose);
        }
    }
    for token in [TWO, ONE, TWO] {
        let rotated = ok(&proxy, token, "POST", "/v1/seal/rotate", &json!({"key": "tenant"}));
        assert_eq!(rotated["key"], "tenant");
    }
    // the root key is everybody's, so no tenant's beside the default one
    let refused = api(&proxy, TWO, "POST", "/v1/seal/rotate", &json!({"key": "root"}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let refused = api(&proxy, APP_TWO, "POST", "/v1/seal/rotate", &json!({"key": "tenant"}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    restart(&mut proxy);
    for (token, whose) in [(ONE, "one"), (TWO, "two")] {
        for number in 0..5 {
            assert_eq!(read(&proxy, token, &format!("apps/{whose}-{number}")).as_deref(), Some(whose));
        }
    }
    let lines = proxy.audit();
    let of = |tenant: &str| lines.iter().filter(|line| line["tenant"] == tenant).collect::<Vec<_>>();
    let (ones, twos) = (of("one"), of("two"));
    let about = |lines: &[&Value], path: &str| lines.iter().filter(|line| line["path"] == path).count();
    assert!(about(&ones, "apps/one-1") >= 3 && about(&twos, "apps/two-1") >= 3);
    assert_eq!((about(&ones, "apps/two-1"), about(&twos, "apps/one-1")), (0, 0));
    let rotations = |lines: &[&Value]| {
        let words = lines.iter().filter(|line| line["operation"] == "seal_rotate" && line["outcome"] == "ok");
        words.filter_map(|line| line["detail"].as_str()).filter(|word| !word.ends_with("intent")).count()
    };
    assert_eq!((rotations(&ones), rotations(&twos)), (1, 2));
    // every line about a request says whose it is
    let nameless: Vec<&Value> =
        lines.iter().filter(|line| line.get("request_id").is_some() && line.get("tenant").is_none()).collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    // the same principal in both is two in the trail: its credential is another one
    let credential = |lines: &[&Value]| {
        lines.iter().find(|line| line["principal"] == "t/admin").map(|line| line["credential"].clone())
    };
    assert_ne!(credential(&ones), credential(&twos));
    assert!(credential(&ones).is_some());
}

#[test]
fn the_backends_of_the_api_change_whatever_became_of_files_that_are_not_about_them() {
    let proxy = both();
    put(&proxy, ONE, "apps/x", "of one");
    let rejected = |is: f64| {
        wait_until(SOON, "the files to be looked at", || proxy.metric("scaivault_config_rejected", &[]) == Some(is));
    };
    // a policy of one that is none, and a token of one that is gone
    proxy.write("one.cedar", "permit (everything");
    std::fs::remove_file(proxy.dir().join("app-one.token")).unwrap();
    rejected(1.0);
    let (twos, ones) = (synced(&proxy, TWO, "two"), synced(&proxy, ONE, "one"));
    for (token, whose, at) in [(TWO, "two", &twos), (ONE, "one", &ones)] {
        sync(&proxy, token, at);
        assert_eq!(read(&proxy, token, "external/s1"), Some(format!("remote of {whose}")));
        let changed = ok(&proxy, token, "PATCH", at, &json!({"sync_interval": "2h"}));
        assert_eq!(changed["sync_interval"], "2h");
        assert_eq!(read(&proxy, token, "external/s2"), Some(format!("remote of {whose}")), "the copies stay");
    }
    ok(&proxy, TWO, "DELETE", &twos, &Value::Null);
    assert_eq!(api(&proxy, TWO, "GET", "/v1/secrets/external/s1", &Value::Null).status, 403);
    // what was in force before still is, of everybody
    assert_eq!(api(&proxy, APP_ONE, "GET", "/v1/secrets/apps/x", &Value::Null).status, 200);
    assert_eq!(proxy.metric("scaivault_config_rejected", &[]), Some(1.0));
    // and what the API made is kept by the next reload
    proxy.write("one.cedar", ONE_POLICIES);
    proxy.write("app-one.token", APP_ONE);
    rejected(0.0);
    assert_eq!(read(&proxy, ONE, "external/s1").as_deref(), Some("remote of one"));
    assert_eq!(ok(&proxy, TWO, "GET", BACKENDS, &Value::Null), json!({"backends": []}));
}
