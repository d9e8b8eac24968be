//! A proxy with an aws listener: its configuration, its clients, and what its backends are asked to do.

use std::time::Duration;

use serde_json::{Value, json};

use super::sign::{ACCOUNT, Keys, REGION, Scope};
use crate::harness::{ADMIN, Proxy, ProxyBuilder, Response, config, wait_until};
use crate::peers::Aws;

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Base64 of 32 bytes.
const SEAL_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\n";
const APPS_KEY: &str = "/made/up+secret/key+of+the+application00";
const ADMINS_KEY: &str = "/made/up+secret/key+of+the+admin00000000";
const NARROWS_KEY: &str = "/made/up+secret/key+of+the+narrow0000000";
const NOBODYS_KEY: &str = "/made/up+secret/key+of+the+nobody0000000";

/// Names of the aws wire are secret paths; the vault wire shows them below `secret/`, KV version 2. `t/admin` may do
/// everything, `t/app` reads below `external` and `local/app`, and lists everything but `local/team`.
/// `t/narrow` reads and lists its own folder and lists `external/aws/team/db`; `t/nobody` may do nothing.
const HEAD: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
  - {wire: aws, address: {aws}, account: "123456789012", region: us-east-1}
identity:
  tokens: [{principal: t/admin, groups: [admins], file: {dir}/admin.token}]
  access_keys:
    - {principal: t/admin, groups: [admins], file: {dir}/admin.json}
    - {principal: t/app, groups: [apps], file: {dir}/app.json}
    - {principal: t/narrow, groups: [narrow], folders: [local/own], file: {dir}/narrow.json}
    - {principal: t/nobody, groups: [nobodies], file: {dir}/nobody.json}
policies: [{dir}/aws.cedar]
seal: {provider: file, path: {dir}/seal.key}
"#
);

const POLICIES: &str = r#"
@id("admins-do-everything")
permit (principal in Group::"admins", action, resource);

@id("apps-read")
permit (
  principal in Group::"apps",
  action in [Action::"read", Action::"describe"],
  resource
) when { resource in Folder::"external" || resource in Folder::"local/app" };

@id("apps-list")
permit (principal in Group::"apps", action == Action::"list", resource) unless { resource in Folder::"local/team" };

@id("narrow-own")
permit (
  principal in Group::"narrow",
  action in [Action::"read", Action::"describe", Action::"list"],
  resource
) when { resource in principal.folders };

@id("narrow-deep")
permit (principal in Group::"narrow", action == Action::"list", resource in Folder::"external/aws/team/db");
"#;

/// The key of `t/admin`.
pub(crate) fn admin() -> Keys {
    Keys::new("AKIAADMINADMINADMIN1", ADMINS_KEY)
}

/// The key of `t/app`.
pub(crate) fn app() -> Keys {
    Keys::new("AKIAAPPAPPAPPAPPAPP1", APPS_KEY)
}

/// The key of `t/narrow`.
pub(crate) fn narrow() -> Keys {
    Keys::new("AKIANARROWNARROWNAR1", NARROWS_KEY)
}

/// The key of `t/nobody`.
pub(crate) fn nobody() -> Keys {
    Keys::new("AKIANOBODYNOBODYNOB1", NOBODYS_KEY)
}

/// A configuration: `store` keys, then whatever else, at top level.
pub(crate) fn config(store: &str, rest: &str) -> String {
    format!("{HEAD}store: {{{store}}}\n{rest}")
}

/// One AWS backend: its further keys line by line, then its rules, each a flow mapping without its braces.
pub(crate) fn backend(name: &str, address: &str, region: &str, keys: &[&str], rules: &[&str]) -> String {
    let mut text = format!(
        "  - name: {name}\n    type: aws-secrets-manager\n    config: {{region: {region}, endpoint: 'http://{address}', \
         sts_endpoint: 'http://{address}', credentials_path: infra/aws}}\n"
    );
    for key in keys {
        text.push_str(&format!("    {key}\n"));
    }
    text.push_str("    path_mapping:\n");
    for rule in rules {
        text.push_str(&format!("      - {{{rule}}}\n"));
    }
    text
}

/// `backends:` with these, and the secret they log in with.
pub(crate) fn backends(all: &[String]) -> String {
    format!("secrets: {{infra/aws: {{file: {{dir}}/backend.json}}}}\nbackends:\n{}", all.concat())
}

/// A builder with everything the configurations name.
pub(crate) fn builder(server: &Aws) -> ProxyBuilder {
    Proxy::builder()
        .file("admin.json", admin().stored())
        .file("app.json", app().stored())
        .file("narrow.json", narrow().stored())
        .file("nobody.json", nobody().stored())
        .file("backend.json", server.credential("backend").to_string())
        .file("aws.cedar", POLICIES)
        .file("seal.key", SEAL_KEY)
}

/// A client that signs.
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) region: String,
    pub(crate) keys: Keys,
}

impl Client {
    /// Of the proxy's aws listener.
    pub(crate) fn of(proxy: &Proxy, keys: Keys) -> Self {
        Self { address: proxy.address("aws"), region: REGION.to_owned(), keys }
    }

    /// Of a stand-in itself.
    pub(crate) fn direct(server: &Aws, region: &str) -> Self {
        let keys = Keys::of(&server.credential("root"));
        Self { address: server.address().to_owned(), region: region.to_owned(), keys }
    }

    /// A call. Where the service asks for a `ClientRequestToken`, SDKs make one up; so does this.
    pub(crate) fn call(&self, operation: &str, parameters: &Value) -> Response {
        let mut parameters = parameters.clone();
        let has_value = parameters.get("SecretString").is_some() || parameters.get("SecretBinary").is_some();
        let is_write =
            matches!(operation, "CreateSecret" | "PutSecretValue") || operation == "UpdateSecret" && has_value;
        if is_write && parameters.get("ClientRequestToken").is_none() {
            parameters["ClientRequestToken"] = json!(token());
        }
        let body = parameters.to_string().into_bytes();
        let signed = self.keys.sign(&self.address, &Scope::of_region(&self.region), operation, &body);
        signed.send(&self.address).unwrap_or_else(|| panic!("{operation} was not answered"))
    }

    /// A call that has to work; yields what it returned.
    pub(crate) fn ok(&self, operation: &str, parameters: &Value) -> Value {
        let answer = self.call(operation, parameters);
        assert_eq!(answer.status, 200, "{operation} {parameters}: {}", answer.text());
        answer.json()
    }

    /// A call that has to be refused; yields the code.
    pub(crate) fn refused(&self, operation: &str, parameters: &Value) -> String {
        code(&self.call(operation, parameters))
    }

    /// The current value as text.
    pub(crate) fn text(&self, name: &str) -> String {
        let answer = self.ok("GetSecretValue", &json!({"SecretId": name}));
        answer["SecretString"].as_str().unwrap_or_else(|| panic!("no text: {answer}")).to_owned()
    }

    /// Every name, in all pages, that begins so.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut parameters = json!({"MaxResults": 100, "Filters": [{"Key": "name", "Values": [prefix]}]});
        loop {
            let page = self.ok("ListSecrets", &parameters);
            let list = page["SecretList"].as_array().cloned().unwrap_or_default();
            names.extend(list.iter().map(|entry| entry["Name"].as_str().unwrap().to_owned()));
            match page["NextToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => parameters["NextToken"] = json!(token),
                None => return names,
            }
        }
    }
}

/// A refusal's code, which stands in its body and in its header.
pub(crate) fn code(answer: &Response) -> String {
    assert!(answer.status >= 400, "{}", answer.text());
    let body = answer.json();
    let code = body["__type"].as_str().unwrap_or_else(|| panic!("no __type: {body}")).to_owned();
    assert!(body["Message"].is_string(), "{body}");
    assert_eq!(answer.header("x-amzn-errortype"), Some(code.as_str()));
    assert!(answer.header("x-amzn-requestid").is_some_and(|id| !id.is_empty()), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    code
}

/// A UUID of nobody else's.
pub(crate) fn token() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{process:08x}-0000-4000-8000-{count:012x}")
}

/// The ARN of a name in the listener's account and region, without the suffix.
pub(crate) fn partial_arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}")
}

/// A read over the scaivault wire.
pub(crate) fn secret(proxy: &Proxy, path: &str) -> Response {
    proxy.scaivault_call(ADMIN, "GET", &format!("/v1/secrets/{path}"), b"")
}

/// One backend over the federation API.
pub(crate) struct Desk<'p> {
    proxy: &'p Proxy,
    path: String,
}

impl<'p> Desk<'p> {
    /// The backend of a name.
    pub(crate) fn of(proxy: &'p Proxy, name: &str) -> Self {
        let all = proxy.scaivault_call(ADMIN, "GET", "/v1/federation/backends", b"").json();
        let found = all["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == name);
        let id = found.unwrap_or_else(|| panic!("no {name} in {all}"))["id"].as_str().unwrap();
        Self { proxy, path: format!("/v1/federation/backends/{id}") }
    }

    /// What the API says below the backend.
    pub(crate) fn document(&self, below: &str) -> Value {
        let answer = self.proxy.scaivault_call(ADMIN, "GET", &format!("{}{below}", self.path), b"");
        assert_eq!(answer.status, 200, "{below}: {}", answer.text());
        answer.json()
    }

    /// Orders a run over everything and waits for its report.
    pub(crate) fn sync(&self) -> Value {
        let ordered = self.proxy.scaivault_call(ADMIN, "POST", &format!("{}/sync", self.path), b"");
        assert_eq!(ordered.status, 202, "{}", ordered.text());
        let path = format!("{}/syncs/{}", self.path, ordered.json()["run"].as_str().unwrap());
        let mut report = Value::Null;
        wait_until(PATIENCE, "the report of a run", || {
            // a run that waits for its turn has none
            let answer = self.proxy.scaivault_call(ADMIN, "GET", &path, b"");
            if answer.status == 200 {
                report = answer.json();
            }
            answer.status == 200 && report["outcome"] != "running"
        });
        report
    }

    /// Orders a run that has to go through without a complaint.
    pub(crate) fn complete(&self) -> Value {
        let report = self.sync();
        assert_eq!(report["outcome"], "completed", "{report:#}");
        report
    }

    /// A count of all whole runs together: the first one may have begun before it was ordered.
    pub(crate) fn total(&self, count: &str) -> u64 {
        let runs = self.document("/syncs");
        let full = runs["syncs"].as_array().unwrap().iter().filter(|run| run["scope"] == "full");
        full.map(|run| run[count].as_u64().unwrap_or_else(|| panic!("no {count} in {run}"))).sum()
    }
}
