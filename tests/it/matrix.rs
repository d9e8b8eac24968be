//! Any wire in, any store out: every operation of every wire at every kind of store, one real exchange a cell, on one proxy.
//!
//! What a store does not do is the table's to say, and the wire has its own words for it. Nothing else may be refused, and the
//! refusals are counted.

use std::fmt;

use serde_json::{Value, json};

use crate::aws::world::{Client, Desk, admin, backend, builder, code, config};
use crate::harness::{ADMIN, Proxy, Response, request, wait_until};
use crate::peers::{moto, openbao};

/// A region of this file's.
const REGION: &str = "us-west-1";
/// The mount in OpenBao.
const MOUNT: &str = "matrix";
/// A staging label of a client's own.
const LABEL: &str = "GREEN";

/// `ok`, or why not, by operation and store. Live stores are read-only; a store without single versions to destroy says so.
const TABLE: &str = "
    operation  local  vault-live  vault-copy  aws-live   aws-copy
    read       ok     ok          ok          ok         ok
    version    ok     ok          ok          ok         ok
    describe   ok     ok          ok          ok         ok
    list       ok     ok          ok          ok         ok
    write      ok     read_only   ok          read_only  ok
    delete     ok     read_only   ok          read_only  ok
    undelete   ok     read_only   ok          read_only  ok
    metadata   ok     read_only   ok          read_only  ok
    purge      ok     read_only   ok          read_only  ok
    destroy    ok     read_only   ok          read_only  unsupported
    patch      ok     read_only   ok          read_only  ok
    batch      ok     ok          ok          ok         ok
    label      ok     read_only   unsupported read_only  ok
";
/// Cells in which a wire has such a call: the aws wire destroys no single version, our own wire writes metadata with a
/// value and ends a secret by its versions; only the vault wire patches, and only the aws wire has batches and labels.
const EXCHANGES: usize = 3 * 5 * 13 - 5 - 2 * 5 - 3 * 2 * 5;
/// Seven operations of the vault wire, six of the aws wire and four of ours at two live stores; two destructions, a label.
const REFUSALS: usize = (7 + 6 + 4) * 2 + 2 + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Vault,
    Aws,
    Own,
}

/// A cell: a secret of its own in the store, `STORE/WIRE-OPERATION/one`.
struct Cell {
    wire: Wire,
    operation: &'static str,
    store: &'static str,
    expected: &'static str,
}

impl Wire {
    const ALL: [Self; 3] = [Self::Vault, Self::Aws, Self::Own];

    fn has(self, operation: &str) -> bool {
        match self {
            Self::Vault => !matches!(operation, "batch" | "label"),
            Self::Aws => !matches!(operation, "destroy" | "patch"),
            Self::Own => !matches!(operation, "metadata" | "purge" | "patch" | "batch" | "label"),
        }
    }
}

impl Cell {
    fn folder(&self) -> String {
        format!("{}/{:?}-{}", self.store, self.wire, self.operation).to_lowercase()
    }

    fn path(&self) -> String {
        format!("{}/one", self.folder())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} wire, {}, {}", self.wire, self.store, self.operation)
    }
}

/// The table, by wire.
fn cells() -> Vec<Cell> {
    let mut rows = TABLE.trim().lines().map(|line| line.split_whitespace().collect::<Vec<&'static str>>());
    let head = rows.next().unwrap();
    let mut cells = Vec::new();
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        for (&store, &expected) in head.iter().zip(&row).skip(1) {
            let operation = row[0];
            let wires = Wire::ALL.into_iter().filter(|wire| wire.has(operation));
            cells.extend(wires.map(|wire| Cell { wire, operation, store, expected }));
        }
    }
    cells
}

/// A proxy before all stores, each cell's secret in place: version 1 is `{"n":1}`, version 2 `{"n":2}`, its owner `matrix`.
struct World {
    proxy: Proxy,
    client: Client,
}

impl World {
    fn start(cells: &[Cell]) -> Self {
        let token = mount();
        let direct = Client::direct(moto(), REGION);
        for cell in cells {
            match cell.store {
                "vault-live" | "vault-copy" => in_openbao(&cell.path()),
                "aws-live" | "aws-copy" => in_moto(&direct, &cell.path()),
                _ => {}
            }
        }
        let builder = builder(moto()).file("vault.json", json!({"token": token}).to_string());
        let proxy = builder.config(&configuration()).start();
        let client = Client::of(&proxy, admin());
        for cell in cells.iter().filter(|cell| cell.store == "local") {
            for n in 1..=2 {
                let body = json!({"data": {"n": n}, "metadata": {"owner": "matrix"}});
                let put = proxy.scaivault_call(
                    ADMIN,
                    "PUT",
                    &format!("/v1/secrets/{}", cell.path()),
                    body.to_string().as_bytes(),
                );
                assert!(put.status < 300, "{}", put.text());
            }
        }
        for copy in ["vault-copy", "aws-copy"] {
            Desk::of(&proxy, copy).complete();
        }
        Self { proxy, client }
    }

    fn vault(&self, method: &str, area: &str, path: &str, body: &Value) -> Response {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.proxy.vault_call(ADMIN, method, &format!("/v1/secret/{area}/{path}"), &bytes)
    }

    fn own(&self, method: &str, path: &str, body: &Value) -> Response {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.proxy.scaivault_call(ADMIN, method, &format!("/v1/secrets/{path}"), &bytes)
    }

    /// The oldest and the current version's number.
    fn numbers(&self, path: &str) -> (u64, u64) {
        let described = self.own("GET", &format!("{path}?versions=true"), &Value::Null);
        assert_eq!(described.status, 200, "{path}: {}", described.text());
        let described = described.json();
        let versions =
            described["versions"].as_array().unwrap().iter().map(|version| version["version"].as_u64().unwrap());
        (versions.min().unwrap(), described["current_version"].as_u64().unwrap())
    }

    /// The identifier of the version before the current one, as the aws wire has it.
    fn previous(&self, path: &str) -> Value {
        let listed = self.client.ok("ListSecretVersionIds", &json!({"SecretId": path, "IncludeDeprecated": true}));
        let is_old = |version: &&Value| !version["VersionStages"].to_string().contains("AWSCURRENT");
        let found = listed["Versions"].as_array().unwrap().iter().find(is_old);
        found.unwrap_or_else(|| panic!("one version only: {listed}"))["VersionId"].clone()
    }

    fn perform(&self, cell: &Cell, operation: &str) -> Response {
        let (folder, path) = (cell.folder(), cell.path());
        match cell.wire {
            Wire::Vault => self.by_vault(operation, &folder, &path),
            Wire::Aws => self.by_aws(operation, &folder, &path),
            Wire::Own => self.by_own(operation, &folder, &path),
        }
    }

    fn by_vault(&self, operation: &str, folder: &str, path: &str) -> Response {
        let none = Value::Null;
        match operation {
            "read" => self.vault("GET", "data", path, &none),
            "version" => self.vault("GET", "data", &format!("{path}?version={}", self.numbers(path).0), &none),
            "describe" => self.vault("GET", "metadata", path, &none),
            "list" => self.vault("LIST", "metadata", &format!("{folder}/"), &none),
            "write" => self.vault("POST", "data", path, &json!({"data": {"n": 3}})),
            "delete" => self.vault("DELETE", "data", path, &none),
            "undelete" => self.vault("POST", "undelete", path, &json!({"versions": [self.numbers(path).1]})),
            "destroy" => self.vault("POST", "destroy", path, &json!({"versions": [self.numbers(path).0]})),
            "metadata" => self.vault("POST", "metadata", path, &json!({"custom_metadata": {"owner": "changed"}})),
            "purge" => self.vault("DELETE", "metadata", path, &none),
            "patch" => {
                let headers = [("X-Vault-Token", ADMIN), ("Content-Type", "application/merge-patch+json")];
                let target = format!("/v1/secret/data/{path}");
                request(&self.proxy.address("vault"), "PATCH", &target, &headers, br#"{"data":{"more":3}}"#)
            }
            other => panic!("the vault wire has no {other}"),
        }
    }

    fn by_aws(&self, operation: &str, folder: &str, path: &str) -> Response {
        let client = &self.client;
        match operation {
            "read" => client.call("GetSecretValue", &json!({"SecretId": path})),
            "version" => client.call("GetSecretValue", &json!({"SecretId": path, "VersionId": self.previous(path)})),
            "describe" => client.call("DescribeSecret", &json!({"SecretId": path})),
            "list" => {
                let filter = json!([{"Key": "name", "Values": [format!("{folder}/")]}]);
                client.call("ListSecrets", &json!({"Filters": filter}))
            }
            "write" => client.call("PutSecretValue", &json!({"SecretId": path, "SecretString": r#"{"n":3}"#})),
            "delete" => client.call("DeleteSecret", &json!({"SecretId": path, "RecoveryWindowInDays": 7})),
            "undelete" => client.call("RestoreSecret", &json!({"SecretId": path})),
            "metadata" => {
                let tags = json!([{"Key": "owner", "Value": "changed"}]);
                client.call("TagResource", &json!({"SecretId": path, "Tags": tags}))
            }
            "purge" => client.call("DeleteSecret", &json!({"SecretId": path, "ForceDeleteWithoutRecovery": true})),
            "batch" => client.call("BatchGetSecretValue", &json!({"SecretIdList": [path]})),
            "label" => {
                let moved = json!({"SecretId": path, "VersionStage": LABEL, "MoveToVersionId": self.previous(path)});
                client.call("UpdateSecretVersionStage", &moved)
            }
            other => panic!("the aws wire has no {other}"),
        }
    }

    fn by_own(&self, operation: &str, folder: &str, path: &str) -> Response {
        let none = Value::Null;
        match operation {
            "read" => self.own("GET", path, &none),
            "version" => self.own("GET", &format!("{path}?version={}", self.numbers(path).0), &none),
            "describe" => self.own("GET", &format!("{path}?versions=true"), &none),
            "list" => self.own("GET", &format!("{folder}/?list=true"), &none),
            "write" => self.own("PUT", path, &json!({"data": {"n": 3}})),
            "delete" => self.own("DELETE", path, &none),
            "undelete" => self.own("PUT", &format!("{path}?undelete=true"), &none),
            "destroy" => self.own("DELETE", &format!("{path}?destroy=true&version={}", self.numbers(path).0), &none),
            other => panic!("our own wire has no {other}"),
        }
    }

    /// Runs a cell that is to work: what the client learned and what was left behind are as they should be.
    fn works(&self, cell: &Cell) -> Result<(), String> {
        let path = cell.path();
        let oldest = if cell.operation == "destroy" { self.numbers(&path).0 } else { 0 };
        if cell.operation == "undelete" {
            let deleted = self.perform(cell, "delete");
            if deleted.status >= 300 || self.own("GET", &path, &Value::Null).status != 404 {
                return Err(format!("was not deleted first: {} {}", deleted.status, deleted.text()));
            }
        }
        let answer = self.perform(cell, cell.operation);
        if answer.status >= 300 {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        if let Some(expected) = learned(cell.operation) {
            let told = told(cell, &answer);
            return if told == expected {
                Ok(())
            } else {
                Err(format!("told {told}, not {expected}: {}", answer.text()))
            };
        }
        let read = |query: &str| self.own("GET", &format!("{path}{query}"), &Value::Null);
        let now = read("");
        let is_right = match cell.operation {
            "write" => now.status == 200 && now.json()["data"]["n"] == 3,
            "delete" => now.status == 404,
            "undelete" => now.status == 200 && now.json()["data"]["n"] == 2,
            "destroy" => now.status == 200 && read(&format!("?version={oldest}")).status == 404,
            "metadata" => now.status == 200 && read("?versions=true").json()["metadata"]["owner"] == "changed",
            "purge" => now.status == 404 && read("?versions=true").status == 404,
            "patch" => now.status == 200 && now.json()["data"] == json!({"n": 2, "more": 3}),
            "label" => {
                let labelled = json!({"SecretId": path, "VersionStage": LABEL});
                now.json()["data"]["n"] == 2 && number_in(&self.client.ok("GetSecretValue", &labelled)) == 1
            }
            other => panic!("what does {other} leave behind?"),
        };
        if is_right { Ok(()) } else { Err(format!("afterwards: {} {}", now.status, now.text())) }
    }

    /// Runs a cell that is to be refused: in the wire's own words, in the trail for what it is, and with nothing changed.
    fn is_refused(&self, cell: &Cell) -> Result<(), String> {
        let answer = self.perform(cell, cell.operation);
        if answer.status < 400 {
            return Err(format!("was done: {} {}", answer.status, answer.text()));
        }
        let said = match cell.wire {
            Wire::Vault => answer.status.to_string(),
            Wire::Aws => code(&answer),
            Wire::Own => answer.json()["kind"].as_str().unwrap_or_default().to_owned(),
        };
        let words = match (cell.expected, cell.wire) {
            ("read_only", Wire::Vault) => "403",
            ("unsupported", Wire::Vault) => "405",
            ("read_only", Wire::Aws) => "AccessDeniedException",
            ("unsupported", Wire::Aws) => "InvalidRequestException",
            (kind, _) => kind,
        };
        let lines = self.proxy.audit_of(&answer);
        let outcome = lines.last().map_or(&Value::Null, |line| &line["outcome"]);
        let now = self.own("GET", &cell.path(), &Value::Null);
        if said == words && outcome == cell.expected && now.json()["data"]["n"] == 2 {
            return Ok(());
        }
        Err(format!("said {said}, in the trail {outcome}, holds {}", now.text()))
    }
}

/// What a client of a call that tells something has to learn.
fn learned(operation: &str) -> Option<Value> {
    match operation {
        "read" | "batch" => Some(json!(2)),
        "version" => Some(json!(1)),
        "describe" => Some(json!("matrix")),
        "list" => Some(json!(["one"])),
        _ => None,
    }
}

/// The `n` of a value as the aws wire tells it.
fn number_in(told: &Value) -> Value {
    let value: Value = serde_json::from_str(told["SecretString"].as_str().unwrap_or("null")).unwrap();
    value["n"].clone()
}

/// What a client was told: a value's `n`, an owner, or names in the folder.
fn told(cell: &Cell, answer: &Response) -> Value {
    let body = answer.json();
    match (cell.wire, cell.operation) {
        (Wire::Vault, "describe") => body["data"]["custom_metadata"]["owner"].clone(),
        (Wire::Vault, "list") => body["data"]["keys"].clone(),
        (Wire::Vault, _) => body["data"]["data"]["n"].clone(),
        (Wire::Aws, "describe") => {
            let tags = body["Tags"].as_array().cloned().unwrap_or_default();
            tags.into_iter().find(|tag| tag["Key"] == "owner").map_or(Value::Null, |tag| tag["Value"].clone())
        }
        (Wire::Aws, "list") => {
            let folder = format!("{}/", cell.folder());
            let entries = body["SecretList"].as_array().cloned().unwrap_or_default();
            let names = entries.iter().map(|entry| entry["Name"].as_str().unwrap().replacen(&folder, "", 1));
            names.collect::<Vec<_>>().into()
        }
        (Wire::Aws, "batch") => number_in(&body["SecretValues"][0]),
        (Wire::Aws, _) => number_in(&body),
        (Wire::Own, "describe") => body["metadata"]["owner"].clone(),
        (Wire::Own, "list") => body["names"].clone(),
        (Wire::Own, _) => body["data"]["n"].clone(),
    }
}

/// A fresh mount in OpenBao; yields a token that may do everything in it.
fn mount() -> String {
    let bao = openbao();
    let call = |method: &str, path: &str, body: &Value| {
        let done = bao.root(method, &format!("/v1/{path}"), body.to_string().as_bytes());
        assert!(done.status < 300, "{path}: {}", done.text());
        done
    };
    call("POST", &format!("sys/mounts/{MOUNT}"), &json!({"type": "kv", "options": {"version": "2"}}));
    wait_until(std::time::Duration::from_secs(20), "the mount to have set itself up", || {
        bao.root("GET", &format!("/v1/{MOUNT}/config"), b"").status == 200
    });
    let rules =
        format!(r#"path "{MOUNT}/*" {{ capabilities = ["create", "read", "update", "patch", "delete", "list"] }}"#);
    call("PUT", &format!("sys/policies/acl/{MOUNT}"), &json!({"policy": rules}));
    let made = call("POST", "auth/token/create-orphan", &json!({"policies": [MOUNT], "period": "24h"}));
    made.json()["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn in_openbao(path: &str) {
    let call = |area: &str, body: Value| {
        let done = openbao().root("POST", &format!("/v1/{MOUNT}/{area}/{path}"), body.to_string().as_bytes());
        assert!(done.status < 300, "{}", done.text());
    };
    call("data", json!({"data": {"n": 1}}));
    call("data", json!({"data": {"n": 2}}));
    call("metadata", json!({"custom_metadata": {"owner": "matrix"}}));
}

fn in_moto(direct: &Client, path: &str) {
    let tags = json!([{"Key": "owner", "Value": "matrix"}]);
    direct.ok("CreateSecret", &json!({"Name": path, "SecretString": r#"{"n":1}"#, "Tags": tags}));
    direct.ok("PutSecretValue", &json!({"SecretId": path, "SecretString": r#"{"n":2}"#}));
}

/// Four backends, two of them copied and written through, and a local folder.
fn configuration() -> String {
    let copied = ["mode: sync", "sync_interval: 1h", "write_mode: write_through", "history: all"];
    let aws = |name: &str, keys: &[&str]| {
        backend(name, moto().address(), REGION, keys, &[&format!("from: '{name}/**', to: '{name}/**'")])
    };
    let vault = |name: &str, keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("    {key}\n")).collect();
        format!(
            "  - name: {name}\n    type: hashicorp-vault\n    config: {{endpoint: '{}', auth_method: token, auth_config_path: \
             infra/vault}}\n{keys}    path_mapping: [{{from: '{name}/**', to: '{MOUNT}/data/{name}/**'}}]\n",
            openbao().addr
        )
    };
    let backends =
        [vault("vault-live", &[]), vault("vault-copy", &copied), aws("aws-live", &[]), aws("aws-copy", &copied)]
            .concat();
    let secrets = "secrets:\n  infra/aws: {file: {dir}/backend.json}\n  infra/vault: {file: {dir}/vault.json}\n";
    config("path: {dir}/store/store.redb, local: [local]", &format!("{secrets}backends:\n{backends}"))
}

#[test]
fn every_operation_of_every_wire_at_every_store_does_what_the_table_says() {
    let cells = cells();
    let world = World::start(&cells);
    let (mut wrong, mut refusals) = (Vec::new(), 0);
    for cell in &cells {
        let result = match cell.expected {
            "ok" => world.works(cell),
            _ => {
                refusals += 1;
                world.is_refused(cell)
            }
        };
        if let Err(what) = result {
            wrong.push(format!("{cell} ({}): {what}", cell.expected));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    assert_eq!((cells.len(), refusals), (EXCHANGES, REFUSALS));
}
