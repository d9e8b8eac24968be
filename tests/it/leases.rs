//! What another engine lends, against a real OpenBao: who may look it up, renew it and give it back, and how long it
//! lasts.
//!
//! Two of OpenBao's engines lend what cannot be renewed: one-time passwords (`ssh`) and certificates (`pki`). Its
//! RabbitMQ engine lends users, which can be, and needs nothing but a broker's management interface: a stub plays that,
//! and tells which users there are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{ADMIN, Proxy, READER, Response, config, wait_until};
use crate::peers::{OpenBao, openbao};
use crate::stub::{Seen, Stub};

const TERM: i32 = 15;
const SOON: Duration = Duration::from_secs(30);
/// How long something is lent unless somebody asks for more.
const HOUR: u64 = 3600;

/// Users are read, passwords are written for; the server knows both engines by other names.
const CONFIG: &str = config!(
    r#"    mounts: {secret: {kv: 2}, queues: {logical: true}, hosts: {logical: true}}
    passthrough:
      - {path: "queues/creds/*", operations: [read]}
      - {path: "hosts/creds/*", operations: [write]}
    paths:
      - {from: "queues/**", to: "lent/queues/**"}
      - {from: "hosts/**", to: "lent/hosts/**"}
      - {from: "secret/**", to: "**"}
identity:
  tokens:
    - {principal: t/reader, groups: [readers], folders: [lent/queues], file: {dir}/reader.token}
    - {principal: t/admin, groups: [admins], file: {dir}/admin.token}
policies: [{dir}/policies.cedar]
secrets: {infra/lender: {file: {dir}/lender.json}}
backends:
  - name: lender
    type: hashicorp-vault
    config: {endpoint: 'http://BAO', auth_method: approle, auth_config_path: infra/lender}
    path_mapping:
      - {from: "lent/queues/**", to: "NAME-mq/**"}
      - {from: "lent/hosts/**", to: "NAME-ssh/**"}
"#
);

/// What the proxy's own credential may do: ask for both, and nothing about leases but what concerns one.
const POLICY: &str = r#"
path "NAME-mq/creds/*" { capabilities = ["read"] }
path "NAME-ssh/creds/*" { capabilities = ["create", "update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;

/// Both engines in OpenBao under names of the test's own, the broker, and a proxy with a role of its own.
struct World {
    server: &'static OpenBao,
    name: &'static str,
    broker: Stub,
    proxy: Proxy,
}

/// A user somebody was lent.
struct Lent {
    /// As the client knows it.
    id: String,
    user: String,
    password: String,
}

impl World {
    fn start(name: &'static str) -> Self {
        let server = openbao();
        let broker = Stub::start(|seen: &Seen| match seen.method.as_str() {
            "GET" => (200, "[]".to_owned()),
            "PUT" => (201, String::new()),
            _ => (204, String::new()),
        });
        let uri = format!("http://{}", broker.address());
        set_up(server, &format!("sys/mounts/{name}-mq"), &json!({"type": "rabbitmq"}));
        let connection = json!({"connection_uri": uri, "username": "made-up", "password": "made-up"});
        set_up(server, &format!("{name}-mq/config/connection"), &connection);
        set_up(server, &format!("{name}-mq/config/lease"), &json!({"ttl": HOUR, "max_ttl": 24 * HOUR}));
        let rights = r#"{"/":{"configure":".*","write":".*","read":".*"}}"#;
        set_up(server, &format!("{name}-mq/roles/app"), &json!({"vhosts": rights}));
        set_up(server, &format!("sys/mounts/{name}-ssh"), &json!({"type": "ssh"}));
        let otp = json!({"key_type": "otp", "default_user": "made-up", "cidr_list": "127.0.0.0/8"});
        set_up(server, &format!("{name}-ssh/roles/otp"), &otp);

        set_up(server, &format!("sys/policies/acl/{name}"), &json!({"policy": POLICY.replace("NAME", name)}));
        let role = format!("auth/approle/role/{name}");
        set_up(server, &role, &json!({"token_policies": [name], "token_period": "1h"}));
        let role_id = server.root("GET", &format!("/v1/{role}/role-id"), b"").json()["data"]["role_id"].clone();
        let secret_id = set_up(server, &format!("{role}/secret-id"), &json!({})).json()["data"]["secret_id"].clone();
        let proxy = Proxy::builder()
            .file("lender.json", json!({"role_id": role_id, "secret_id": secret_id}).to_string())
            .config(&CONFIG.replace("BAO", server.address()).replace("NAME", name))
            .start();
        Self { server, name, broker, proxy }
    }

    /// Somebody is lent a user.
    fn lend(&self, token: &str) -> Lent {
        let answer = self.proxy.vault_call(token, "GET", "/v1/queues/creds/app", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lent = answer.json();
        assert_eq!((&lent["renewable"], &lent["lease_duration"]), (&json!(true), &json!(HOUR)), "{lent}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let data = &lent["data"];
        Lent { id: text(&lent["lease_id"]), user: text(&data["username"]), password: text(&data["password"]) }
    }

    /// A call about a lease with its id in the body.
    fn about(&self, token: &str, verb: &str, id: &str, further: &Value) -> Response {
        let mut body = json!({"lease_id": id});
        body.as_object_mut().unwrap().extend(further.as_object().cloned().unwrap_or_default());
        self.proxy.vault_call(token, "PUT", &format!("/v1/sys/leases/{verb}"), body.to_string().as_bytes())
    }

    /// The seconds a lease still has at the server itself; `None`: there is no such lease.
    fn left(&self, id: &str) -> Option<u64> {
        let (mount, rest) = id.split_once('/').unwrap();
        let engine = if mount == "queues" { "mq" } else { "ssh" };
        let body = json!({"lease_id": format!("{}-{engine}/{rest}", self.name)}).to_string();
        let answer = self.server.root("PUT", "/v1/sys/leases/lookup", body.as_bytes());
        assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
        (answer.status == 200).then(|| answer.json()["data"]["ttl"].as_u64().unwrap())
    }

    /// The users the broker has.
    fn users(&self) -> BTreeSet<String> {
        let mut users = BTreeSet::new();
        for seen in self.broker.seen() {
            let Some(user) = seen.target.strip_prefix("/api/users/").filter(|user| !user.is_empty()) else { continue };
            match seen.method.as_str() {
                "PUT" => users.insert(user.to_owned()),
                "DELETE" => users.remove(user),
                _ => false,
            };
        }
        users
    }

    /// The accessors of all tokens the proxy has at the server.
    fn logins(&self) -> BTreeSet<String> {
        let all = self.server.root("LIST", "/v1/auth/token/accessors", b"").json();
        let accessors = all["data"]["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned());
        accessors.filter(|accessor| self.is_ours(accessor)).collect()
    }

    fn is_ours(&self, accessor: &str) -> bool {
        let body = json!({"accessor": accessor}).to_string();
        let told = self.server.root("POST", "/v1/auth/token/lookup-accessor", body.as_bytes());
        // other tests' tokens come and go
        told.status == 200 && told.json()["data"]["meta"]["role_name"] == self.name
    }
}

impl Drop for World {
    /// Gives everything back while there is a broker to be told.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let path = format!("/v1/sys/leases/revoke-prefix/{}-mq", self.name);
            assert!(self.server.root("PUT", &path, br#"{"sync":true}"#).status < 300);
        }
    }
}

fn set_up(server: &OpenBao, path: &str, body: &Value) -> Response {
    let answer = server.root("PUT", &format!("/v1/{path}"), body.to_string().as_bytes());
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer
}

#[test]
fn what_is_lent_is_looked_up_renewed_and_given_back_by_whoever_asked_for_it() {
    let world = World::start("lent");
    let lent = world.lend(READER);
    assert!(lent.id.starts_with("queues/creds/app/"), "spelled as the client knows the path: {}", lent.id);
    assert_eq!(world.users(), BTreeSet::from([lent.user.clone()]));

    let looked_up = world.about(READER, "lookup", &lent.id, &json!({}));
    assert_eq!(looked_up.status, 200, "{}", looked_up.text());
    let data = looked_up.json()["data"].clone();
    assert_eq!((&data["id"], &data["path"]), (&json!(lent.id), &json!("queues/creds/app")), "{data}");
    assert_eq!(data["renewable"], true, "{data}");

    let renewed = world.about(READER, "renew", &lent.id, &json!({"increment": "3h"}));
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let told = renewed.json();
    assert_eq!((&told["lease_id"], &told["lease_duration"]), (&json!(lent.id), &json!(3 * HOUR)), "{told}");
    assert!(world.left(&lent.id).unwrap() > 2 * HOUR);
    let by_path = format!("/v1/sys/leases/renew/{}", lent.id);
    let renewed = world.proxy.vault_call(READER, "PUT", &by_path, br#"{"increment":7200}"#);
    assert_eq!((renewed.status, &renewed.json()["lease_duration"]), (200, &json!(2 * HOUR)), "{}", renewed.text());

    let revoked = world.about(READER, "revoke", &lent.id, &json!({"sync": true}));
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    assert_eq!((world.left(&lent.id), world.users().len()), (None, 0), "the broker's user is gone with it");
    for verb in ["lookup", "renew", "revoke"] {
        assert_eq!(world.about(READER, verb, &lent.id, &json!({})).status, 404, "{verb}");
    }

    let lines = world.proxy.audit();
    let about: Vec<&Value> = lines.iter().filter(|line| line["path"] == "lent/queues/creds/app").collect();
    assert_eq!(about.len(), 8, "{about:#?}");
    assert!(about.iter().all(|line| line["principal"] == "t/reader" && line["mode"] == "proxy"), "{about:#?}");
    let said = format!("{lines:?}{}", world.proxy.stderr());
    assert!(!said.contains(&lent.password), "what was lent is said nowhere");
}

#[test]
fn v14_a_lease_is_not_there_for_anybody_else() {
    let world = World::start("foreign");
    let lent = world.lend(READER);
    let others = world.lend(ADMIN);
    let before = world.left(&lent.id).unwrap();
    for (token, id) in [(ADMIN, &lent.id), (READER, &others.id)] {
        for verb in ["lookup", "renew", "revoke"] {
            let answer = world.about(token, verb, id, &json!({"increment": 2 * HOUR}));
            // `increment` says nothing to the other two, and is not looked at by a server either
            assert_eq!((answer.status, answer.json()), (404, json!({"errors": []})), "{verb}: {}", answer.text());
        }
    }
    let made_up = "queues/creds/app/AbCdEfGhIjKlMnOpQrStUvWx";
    assert_eq!(world.about(ADMIN, "lookup", made_up, &json!({})).status, 404, "and it looks the same");
    for path in [
        format!("/v1/sys/renew/{}", lent.id),
        format!("/v1/sys/revoke/{}", lent.id),
        "/v1/sys/leases/revoke-prefix/queues/creds".to_owned(),
        "/v1/sys/leases/revoke-force/queues/creds".to_owned(),
        "/v1/sys/leases/renew/queues/roles/app/AbCd".to_owned(),
    ] {
        let answer = world.proxy.vault_call(ADMIN, "PUT", &path, b"{}");
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    assert!(world.left(&lent.id).unwrap() <= before && world.left(&others.id).is_some());
    assert_eq!(world.users(), BTreeSet::from([lent.user.clone(), others.user.clone()]));

    // and who may not ask for one may not ask about one
    let password = world.proxy.vault_call(ADMIN, "PUT", "/v1/hosts/creds/otp", br#"{"ip":"127.0.0.1"}"#);
    let id = password.json()["lease_id"].as_str().unwrap().to_owned();
    assert_eq!(world.about(READER, "lookup", &id, &json!({})).status, 403);
    let refused = world.proxy.vault_call(READER, "PUT", "/v1/hosts/creds/otp", br#"{"ip":"127.0.0.1"}"#);
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[test]
fn what_cannot_be_renewed_says_so_as_a_server_does_and_can_be_looked_up_and_given_back() {
    let world = World::start("fixed");
    let answer = world.proxy.vault_call(ADMIN, "PUT", "/v1/hosts/creds/otp", br#"{"ip":"127.0.0.1"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lent = answer.json();
    let id = lent["lease_id"].as_str().unwrap();
    assert!(id.starts_with("hosts/creds/otp/") && lent["renewable"] == false, "{lent}");
    assert_eq!(world.about(ADMIN, "lookup", id, &json!({})).json()["data"]["renewable"], false);

    let direct = json!({"lease_id": id.replacen("hosts", "fixed-ssh", 1)}).to_string();
    let direct = world.server.root("PUT", "/v1/sys/leases/renew", direct.as_bytes());
    let proxied = world.about(ADMIN, "renew", id, &json!({}));
    assert_eq!((proxied.status, proxied.json()), (direct.status, direct.json()), "{}", proxied.text());
    assert_eq!(proxied.status, 400);
    let lines = world.proxy.audit_of(&proxied);
    assert_eq!(lines.last().unwrap()["outcome"], "malformed", "{lines:#?}");

    assert_eq!(world.about(ADMIN, "revoke", id, &json!({"sync": true})).status, 204);
    assert_eq!(world.left(id), None);
}

#[test]
fn everybody_has_a_login_of_their_own_and_only_their_leases_end_with_it() {
    let world = World::start("seats");
    // the login that is nobody's is made first, so that what is counted afterwards are seats
    let nobodys = world.proxy.scaivault_call(ADMIN, "GET", "/v1/secrets/lent/queues/creds/app", b"");
    assert_eq!(nobodys.status, 405, "{}", nobodys.text());
    let before = world.logins();
    let readers = world.lend(READER);
    let with_reader = world.logins();
    let admins = world.lend(ADMIN);
    let again = world.lend(READER);
    let with_both = world.logins();
    let own: Vec<&String> = with_reader.difference(&before).collect();
    assert_eq!((own.len(), with_both.difference(&with_reader).count()), (1, 1), "one login each");

    let body = json!({"accessor": own[0]}).to_string();
    assert_eq!(world.server.root("POST", "/v1/auth/token/revoke-accessor", body.as_bytes()).status, 204);
    let kept = BTreeSet::from([admins.user.clone()]);
    wait_until(SOON, "the server to end what hung on the login", || {
        world.users() == kept && world.left(&readers.id).is_none() && world.left(&again.id).is_none()
    });
    assert!(world.left(&admins.id).is_some());
    assert_eq!(world.about(ADMIN, "renew", &admins.id, &json!({"increment": "2h"})).status, 200);

    // a login is not given up in its first seconds
    let mut next = None;
    wait_until(SOON, "the reader to be lent something again", || {
        let answer = world.proxy.vault_call(READER, "GET", "/v1/queues/creds/app", b"");
        next = (answer.status == 200).then(|| answer.json()["lease_id"].as_str().unwrap().to_owned());
        next.is_some()
    });
    assert_eq!(world.about(READER, "lookup", &next.unwrap(), &json!({})).status, 200);
}

#[test]
fn leases_outlast_the_proxy_which_then_knows_them_no_more() {
    let mut world = World::start("outlast");
    let lent = world.lend(READER);
    world.proxy.signal(TERM);
    assert!(world.proxy.wait_exit(SOON).success(), "{}", world.proxy.stderr());
    assert!(world.left(&lent.id).is_some() && world.users().contains(&lent.user), "nothing is taken back");
    world.proxy.start_again();
    for verb in ["lookup", "renew", "revoke"] {
        assert_eq!(world.about(READER, verb, &lent.id, &json!({})).status, 404, "{verb}");
    }
    assert!(world.left(&lent.id).is_some());
    let next = world.lend(READER);
    assert_eq!(world.about(READER, "revoke", &next.id, &json!({"sync": true})).status, 204);
}

#[test]
fn where_nobody_can_be_lent_anything_it_is_given_back_at_once() {
    let world = World::start("refused");
    let refused = world.proxy.scaivault_call(ADMIN, "GET", "/v1/secrets/lent/queues/creds/app", b"");
    assert_eq!((refused.status, &refused.json()["kind"]), (405, &json!("unsupported")), "{}", refused.text());
    let made = |world: &World| world.broker.seen().iter().any(|seen| seen.target.starts_with("/api/permissions/"));
    assert!(made(&world), "the server did lend something");
    wait_until(SOON, "the user to be gone", || world.users().is_empty());
    let unlisted = world.proxy.vault_call(ADMIN, "GET", "/v1/queues/roles/app", b"");
    assert_eq!(unlisted.status, 403, "{}", unlisted.text());
}
