//! A mount of a test's own in OpenBao, and the credential that reaches it.

use std::thread;

use serde_json::{Value, json};

use crate::harness::{Connection, Response, request, wait_until};
use crate::peers::{OpenBao, openbao};

/// How many connections a mount is filled over.
const HANDS: usize = 4;

/// A KV version 2 mount.
pub(super) struct Source {
    /// `127.0.0.1:PORT` of its server.
    pub(super) address: String,
    /// Its name, which is the policy's too.
    pub(super) mount: String,
    /// May do everything in the mount, until [`Self::allow`] says otherwise.
    pub(super) token: String,
    root: String,
}

impl Source {
    /// A fresh mount in the server all tests share.
    pub(super) fn new(mount: &str) -> Self {
        Self::on(openbao(), mount)
    }

    /// A fresh mount in a server.
    pub(super) fn on(server: &OpenBao, mount: &str) -> Self {
        let mut source = Self {
            address: server.address().to_owned(),
            mount: mount.to_owned(),
            token: String::new(),
            root: server.root_token.clone(),
        };
        let made =
            source.call("POST", &format!("sys/mounts/{mount}"), &json!({"type": "kv", "options": {"version": "2"}}));
        assert!(made.status < 300, "{}", made.text());
        wait_until(std::time::Duration::from_secs(20), "the mount to have set itself up", || {
            source.call("GET", &format!("{mount}/config"), &Value::Null).status == 200
        });
        source.allow_all();
        let token = source.call("POST", "auth/token/create-orphan", &json!({"policies": [mount], "period": "24h"}));
        source.token = token.json()["auth"]["client_token"].as_str().unwrap().to_owned();
        source
    }

    /// A call with the root token, below `/v1/`; a body that is null is not sent.
    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("X-Vault-Token", self.root.as_str()), ("Content-Type", kind)];
        request(&self.address, method, &format!("/v1/{path}"), &headers, &bytes)
    }

    /// What the credential may do from now on, as the lines of a policy; `MOUNT` is the mount.
    pub(super) fn allow(&self, rules: &str) {
        let policy = json!({"policy": rules.replace("MOUNT", &self.mount)});
        let set = self.call("PUT", &format!("sys/policies/acl/{}", self.mount), &policy);
        assert!(set.status < 300, "{}", set.text());
    }

    /// Everything in the mount.
    pub(super) fn allow_all(&self) {
        self.allow(ALL);
    }

    /// A call about one secret: an area (`data`, `metadata`, `delete`, …) and the secret's name with its query.
    pub(super) fn about(&self, method: &str, area: &str, name: &str, body: &Value) -> Response {
        self.call(method, &format!("{}/{area}/{name}", self.mount), body)
    }

    /// Does something to a secret, which has to work.
    pub(super) fn change(&self, method: &str, area: &str, name: &str, body: &Value) {
        let done = self.about(method, area, name, body);
        assert!(done.status < 300, "{method} {area} {name}: {}", done.text());
    }

    /// Writes a version; yields its number.
    pub(super) fn put(&self, name: &str, data: &Value) -> u64 {
        let written = self.about("POST", "data", name, &json!({"data": data}));
        assert_eq!(written.status, 200, "{name}: {}", written.text());
        written.json()["data"]["version"].as_u64().unwrap()
    }

    /// Writes a first version of many secrets, each `{"name": NAME}`, over a few connections.
    pub(super) fn put_many(&self, names: &[String]) {
        thread::scope(|scope| {
            for part in names.chunks(names.len().div_ceil(HANDS)) {
                scope.spawn(move || {
                    let mut connection = Connection::open(&self.address).unwrap();
                    for name in part {
                        let path = format!("/v1/{}/data/{name}", self.mount);
                        let body = json!({"data": {"name": name}}).to_string();
                        let token = [("X-Vault-Token", self.root.as_str())];
                        let written = connection.call("POST", &path, &token, body.as_bytes()).unwrap();
                        assert_eq!(written.status, 200, "{name}: {}", written.text());
                    }
                });
            }
        });
    }

    /// What is there now of a version (`?version=N`), or of the current one.
    pub(super) fn told(&self, name: &str) -> Value {
        told(&self.about("GET", "data", name, &Value::Null))
    }

    /// The current value; null if there is none.
    pub(super) fn value(&self, name: &str) -> Value {
        self.told(name)["data"].clone()
    }

    /// The custom metadata and the versions with their states.
    pub(super) fn described(&self, name: &str) -> Value {
        described(&self.about("GET", "metadata", name, &Value::Null))
    }

    /// The names in a folder, which is empty or ends in a slash.
    pub(super) fn names(&self, folder: &str) -> Value {
        names(&self.about("GET", "metadata", &format!("{folder}?list=true"), &Value::Null))
    }
}

/// Everything a sync and a write through need.
pub(super) const ALL: &str =
    r#"path "MOUNT/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }"#;

/// What a KV version 2 client learns from a read, apart from times and what belongs to the request.
pub(super) fn told(response: &Response) -> Value {
    let body = response.json();
    let (data, metadata) = (&body["data"]["data"], &body["data"]["metadata"]);
    json!({
        "status": response.status, "data": data, "version": metadata["version"], "destroyed": metadata["destroyed"],
        "deleted": is_set(&metadata["deletion_time"]), "custom_metadata": metadata["custom_metadata"],
    })
}

/// What a KV version 2 client learns from a secret's metadata: states and seconds of every version.
pub(super) fn described(response: &Response) -> Value {
    let body = response.json();
    let data = &body["data"];
    let second = |time: &Value| time.as_str().map(|time| time[..19].to_owned());
    let versions = data["versions"].as_object().into_iter().flatten().map(|(number, version)| {
        let told = json!({
            "created": second(&version["created_time"]), "deleted": is_set(&version["deletion_time"]),
            "destroyed": version["destroyed"],
        });
        (number.clone(), told)
    });
    json!({
        "status": response.status, "current_version": data["current_version"],
        "custom_metadata": data["custom_metadata"], "versions": versions.collect::<serde_json::Map<_, _>>(),
    })
}

/// The names of a KV version 2 list; null if there are none.
pub(super) fn names(response: &Response) -> Value {
    response.json()["data"]["keys"].clone()
}

fn is_set(time: &Value) -> bool {
    time.as_str().is_some_and(|time| !time.is_empty())
}
