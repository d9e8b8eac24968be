//! The process the tables are tried on: every kind of mount and rule in front of a strict stand-in backend.

use super::fake::Fake;
use super::socket::{Line, tell};
use crate::harness::{Proxy, ProxyBuilder, config};

/// The vault listener most rows go to.
pub(crate) const DOOR: &str = "vault";
/// A vault listener that wants `X-Vault-Request` and answers for one host only.
pub(crate) const STRICT: &str = "strict";
/// The scaivault listener.
pub(crate) const PLAIN: &str = "scaivault";

pub(crate) const READER: &str = "reader-token-of-the-threats";
pub(crate) const ADMIN: &str = "admin-token-of-the-threats-1";
/// In no group.
pub(crate) const NOBODY: &str = "nobody-token-of-the-threats";
pub(crate) const DESCRIBER: &str = "describer-token-of-the-threats";
pub(crate) const VALUER: &str = "valuer-token-of-the-threats-1";
pub(crate) const LISTER: &str = "lister-token-of-the-threats-1";
pub(crate) const WRITER: &str = "writer-token-of-the-threats-1";
pub(crate) const DELETER: &str = "deleter-token-of-the-threats";
/// In `Admins`, which is not `admins`.
pub(crate) const CASED: &str = "cased-token-of-the-threats-01";
/// What the proxy itself presents to the backend.
pub(crate) const UPSTREAM: &str = "upstream-token-of-the-proxy-1";
pub(crate) const SECRET_ID: &str = "secret-id-of-the-threats-0001";

const PEOPLE: [(&str, &str); 9] = [
    ("readers", READER),
    ("admins", ADMIN),
    ("nobodies", NOBODY),
    ("describers", DESCRIBER),
    ("valuers", VALUER),
    ("listers", LISTER),
    ("writers", WRITER),
    ("deleters", DELETER),
    ("Admins", CASED),
];

const POLICIES: &str = r#"
@id("readers-read")
permit (principal in Group::"readers", action in [Action::"read", Action::"describe", Action::"list"], resource)
when {
  resource in Folder::"app" || resource in Folder::"single" || resource in Folder::"scratch" ||
  resource in Folder::"eng" || resource in Folder::"one"
};

@id("readers-write-scratch")
permit (principal in Group::"readers", action in [Action::"write", Action::"delete"], resource in Folder::"scratch");

@id("readers-pass")
permit (principal in Group::"readers", action == Action::"write", resource in Folder::"eng");

@id("private")
forbid (principal in Group::"readers", action, resource in Folder::"app/private");

@id("admins-do-everything")
permit (principal in Group::"admins", action, resource);

@id("describers")
permit (principal in Group::"describers", action == Action::"describe", resource in Folder::"app");

@id("valuers")
permit (principal in Group::"valuers", action == Action::"read", resource in Folder::"app/foo");

@id("listers")
permit (principal in Group::"listers", action == Action::"list", resource in Folder::"app");

@id("writers")
permit (principal in Group::"writers", action == Action::"write", resource in Folder::"scratch");

@id("deleters")
permit (principal in Group::"deleters", action == Action::"delete", resource in Folder::"scratch");
"#;

const CONFIG: &str = config!(
    r#"    mounts:
      secret: {kv: 2}
      kv1: {kv: 1}
      logical: {logical: true}
    passthrough:
      - {path: "logical/ok/*", operations: [read]}
      - {path: "logical/do/*", operations: [write]}
      - {path: "logical/keys", operations: [list]}
    paths:
      - {from: "secret/**", to: "**"}
      - {from: "kv1/**", to: "one/**"}
      - {from: "logical/**", to: "eng/**"}
  - wire: vault
    address: {strict}
    require_request_header: true
    hosts: [vault.internal]
    paths:
      - {from: "secret/**", to: "**"}
namespaces: [team/a]
server:
  header_timeout: 2s
  body_timeout: 2s
  header_bytes: 32768
  body_bytes: 131072
store:
  local: [scratch]
identity:
  approles:
    - principal: t/role
      groups: [readers]
      role_id: role-of-the-threats
      secret_id_files: ["{dir}/secret-id"]
  tokens:
TOKENS
policies:
  - {dir}/policies.cedar
secrets:
  infra/backend/token:
    file: {dir}/backend.json
backends:
  - name: fake
    type: hashicorp-vault
    config:
      endpoint: http://BACKEND
      auth_method: token
      auth_config_path: infra/backend/token
      timeout: 4s
      attempt_timeout: 2s
    mode: proxy
    path_mapping:
      - {from: "app/ord/special", to: "secret/data/first"}
      - {from: "app/ord/*", to: "secret/data/ord/*"}
      - {from: "app/**", to: "secret/data/app/**"}
      - {from: "single/*", to: "secret/data/single/*"}
      - {from: "one/**", to: "kv1/**"}
      - {from: "eng/**", to: "logical/**"}
"#
);

/// A proxy and what stands behind it.
pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) fake: Fake,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder, |config| config)
    }

    /// The same with a changed builder and configuration.
    pub(crate) fn start_with(
        prepare: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let canaries: Vec<&str> = PEOPLE.iter().map(|(_, token)| *token).chain([SECRET_ID, "x-canary"]).collect();
        let fake = Fake::start(UPSTREAM, &canaries);
        let mut tokens = String::new();
        let mut builder = Proxy::builder()
            .file("policies.cedar", POLICIES)
            .file("secret-id", SECRET_ID)
            .file("backend.json", format!(r#"{{"token":"{UPSTREAM}"}}"#));
        for (at, (group, token)) in PEOPLE.iter().enumerate() {
            builder = builder.file(&format!("{at}.token"), *token);
            tokens.push_str(&format!(
                "    - {{principal: t/p{at}, groups: [\"{group}\"], file: \"{{dir}}/{at}.token\"}}\n"
            ));
        }
        let config = CONFIG.replace("TOKENS\n", &tokens).replace("BACKEND", &fake.address);
        let proxy = prepare(builder).config(&change(config)).start();
        Self { proxy, fake }
    }

    /// A process whose policy file holds no policy.
    pub(crate) fn start_without_policies() -> Self {
        Self::start_with(|builder| builder.file("policies.cedar", "// nothing\n"), |config| config)
    }

    /// Whether an ordinary client is served.
    pub(crate) fn serves(&self) -> bool {
        let answer = tell(&self.proxy.address(DOOR), &super::case::read("/v1/secret/data/app/db"));
        answer.status() == Some(200)
    }

    /// An open connection to the vault listener.
    pub(crate) fn line(&self) -> Line {
        Line::open(&self.proxy.address(DOOR))
    }

    /// The process's resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.proxy.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Fails the test if the process said that it panicked.
    pub(crate) fn assert_calm(&self) {
        let stderr = self.proxy.stderr();
        assert!(!stderr.contains("panicked"), "the process panicked:\n{stderr}");
        assert!(self.serves(), "an ordinary client is no longer served");
    }
}
