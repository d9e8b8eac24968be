//! Vault's `aws` auth method. OpenBao has none, so a stand-in for the server takes the logins: it has the signed question
//! asked of ministack, which verifies signatures, and gives a token of the real OpenBao on its yes. All other calls go to
//! OpenBao as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::sign::{Keys, REGION};
use crate::harness::{ADMIN, Proxy, Response, config, request, wait_until};
use crate::peers::{ministack, openbao};
use crate::stub::{Seen, Stub};

const SOON: Duration = Duration::from_secs(30);
const LOGIN: &str = "/v1/auth/aws/login";
const QUESTION: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const SERVER_ID: &str = "x-vault-aws-iam-server-id";
/// Whom the role is for, as the token service says it.
const BOUND: &str = ":user/backend</Arn>";
/// What OpenBao holds at `secret/app/db`.
const PASSWORD: &str = "made-up-3";

const CONFIG: &str = config!(
    r#"    mounts: {secret: {kv: 2}}
    paths: [{from: "secret/**", to: "**"}]
identity:
  tokens: [{principal: t/admin, groups: [admins], file: {dir}/admin.token}]
policies: [{dir}/policies.cedar]
secrets: {infra/aws: {file: {dir}/aws.json}}
backends:
  - name: vault
    type: hashicorp-vault
    config:
      endpoint: 'http://STAND-IN'
      auth_method: aws
      role: reader
      region: REGION
      sts_endpoint: 'http://MINISTACK'
      auth_config_path: infra/aws
    path_mapping: [{from: "app/**", to: "secret/data/app/**"}]
"#
);

/// A signed question, as a login brings it.
struct Proof {
    role: String,
    method: String,
    url: String,
    body: String,
    headers: BTreeMap<String, Vec<String>>,
}

impl Proof {
    fn of(login: &Seen) -> Self {
        let login: Value = serde_json::from_slice(&login.body).unwrap();
        let own = |name: &str| login[name].as_str().unwrap_or_else(|| panic!("no {name} in {login}")).to_owned();
        let decoded = |name: &str| String::from_utf8(STANDARD.decode(own(name)).unwrap()).unwrap();
        Self {
            role: own("role"),
            method: own("iam_http_request_method"),
            url: decoded("iam_request_url"),
            body: decoded("iam_request_body"),
            headers: serde_json::from_str(&decoded("iam_request_headers")).unwrap(),
        }
    }

    /// The one value of a header; empty if it is not there.
    fn header(&self, name: &str) -> &str {
        match self.headers.get(name).map(Vec::as_slice) {
            None => "",
            Some([one]) => one,
            Some(several) => panic!("{name}: {several:?}"),
        }
    }

    /// Whether the signature covers a header.
    fn signs(&self, name: &str) -> bool {
        let signed = self.header("authorization").split_once("SignedHeaders=").unwrap().1;
        signed.split(',').next().unwrap().split(';').any(|own| own == name)
    }

    /// Asks the question. Its host is the one it was signed for: the stand-in's own address.
    fn ask(&self) -> Response {
        let headers: Vec<(&str, &str)> = self.headers.keys().map(|name| (name.as_str(), self.header(name))).collect();
        request(ministack().address(), &self.method, "/", &headers, self.body.as_bytes())
    }
}

/// The server. One with a name takes only proofs that are made out to it.
fn stand_in(server_id: Option<&'static str>) -> Stub {
    // they start now: a login does not wait for that
    ministack();
    openbao();
    Stub::start(move |seen| match seen.target.as_str() {
        LOGIN => log_in(&Proof::of(seen), server_id),
        _ => pass_on(seen),
    })
}

fn log_in(proof: &Proof, server_id: Option<&str>) -> (u16, String) {
    let refused = |why: &str| (400, json!({"errors": [why]}).to_string());
    // whoever names the token service could name one that says yes to everything
    if proof.method != "POST" || proof.url != format!("{}/", ministack().addr) || proof.body != QUESTION {
        return refused("not a question this server asks");
    }
    if server_id.is_some_and(|id| proof.header(SERVER_ID) != id || !proof.signs(SERVER_ID)) {
        return refused("made out to somebody else");
    }
    let answer = proof.ask();
    if answer.status != 200 || !answer.text().contains(BOUND) {
        return refused("the token service does not say that this is who the role is for");
    }
    let given = openbao().root("POST", "/v1/auth/token/create", br#"{"policies":["backend"],"ttl":"1h"}"#);
    (given.status, given.text())
}

fn pass_on(seen: &Seen) -> (u16, String) {
    let of_the_way = |name: &str| matches!(name, "host" | "connection" | "content-length" | "transfer-encoding");
    let headers = seen.headers.iter().filter(|(name, _)| !of_the_way(name));
    let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = request(openbao().address(), &seen.method, &seen.target, &headers, &seen.body);
    (answer.status, answer.text())
}

/// A proxy before the stand-in that signs with these keys.
fn started(server: &Stub, keys: &Keys, server_id: Option<&str>) -> Proxy {
    let named = server_id.map(|id| format!("      server_id: {id}\n")).unwrap_or_default();
    let config = CONFIG
        .replace("STAND-IN", server.address())
        .replace("MINISTACK", ministack().address())
        .replace("REGION", REGION)
        .replace("    path_mapping:", &format!("{named}    path_mapping:"));
    Proxy::builder().config(&config).file("aws.json", keys.stored()).start()
}

fn read(proxy: &Proxy) -> Response {
    proxy.vault_call(ADMIN, "GET", "/v1/secret/data/app/db", b"")
}

fn reads(proxy: &Proxy) {
    let response = read(proxy);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["data"]["data"]["password"], PASSWORD);
}

/// A read that ends in the one line of a backend that cannot be used, and says nothing of why.
fn reads_nothing(proxy: &Proxy, what: &str) {
    let response = read(proxy);
    assert_eq!(response.status, 503, "{what}: {}", response.text());
    let lines = proxy.audit_of(&response);
    assert_eq!((lines.len(), lines[0]["outcome"].as_str()), (1, Some("upstream_unavailable")), "{what}: {lines:?}");
    assert!(!response.text().contains(PASSWORD) && !response.text().contains("token service"), "{what}");
}

fn backend() -> Keys {
    Keys::of(&ministack().credential("backend"))
}

fn logins(server: &Stub) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.target == LOGIN).collect()
}

#[test]
fn a_signed_question_that_the_token_service_answers_is_a_login() {
    let server = stand_in(None);
    let proxy = started(&server, &backend(), None);
    for _ in 0..3 {
        reads(&proxy);
    }
    let logins = logins(&server);
    assert_eq!(logins.len(), 1, "one login for all reads");
    assert_eq!((logins[0].method.as_str(), logins[0].header("x-vault-token")), ("POST", None));
    let proof = Proof::of(&logins[0]);
    assert_eq!((proof.role.as_str(), proof.method.as_str(), proof.body.as_str()), ("reader", "POST", QUESTION));
    assert_eq!(proof.url, format!("{}/", ministack().addr));
    let signature = proof.header("authorization");
    assert!(signature.starts_with(&format!("AWS4-HMAC-SHA256 Credential={}/", backend().id)), "{signature}");
    assert!(signature.contains(&format!("/{REGION}/sts/aws4_request, ")), "{signature}");
    assert!(proof.signs("host") && proof.signs("x-amz-date"), "{signature}");
    assert_eq!(proof.header(SERVER_ID), "", "made out to nobody in particular");
    let secret = backend().secret;
    for seen in server.seen() {
        let sent = format!("{seen:?} {}", String::from_utf8_lossy(&seen.body));
        assert!(!sent.contains(&secret), "the secret key goes nowhere");
        assert_eq!(seen.header("x-vault-token").is_some(), seen.target != LOGIN, "{}", seen.target);
    }
    assert!(!proxy.stderr().contains(signature), "a proof is as good as a credential");
}

#[test]
fn who_the_token_service_does_not_vouch_for_is_not_let_in() {
    let wrong = Keys::new(&backend().id, "/another/made/up/secret+of+the+backend0");
    let unknown = Keys::new("AKIAUNKNOWNUNKNOWN01", "/another/made/up/secret+of+nobody000000");
    let other = Keys::of(&ministack().credential("app"));
    for (what, keys, verdict) in [
        ("a wrong secret", wrong, "SignatureDoesNotMatch"),
        ("an unknown key", unknown, "InvalidClientTokenId"),
        ("somebody else", other, ":user/app</Arn>"),
    ] {
        let server = stand_in(None);
        let proxy = started(&server, &keys, None);
        reads_nothing(&proxy, what);
        let logins = logins(&server);
        let said = Proof::of(&logins[0]).ask().text();
        assert!(said.contains(verdict), "{what}: {said}");
        assert!(server.seen().iter().all(|seen| seen.target == LOGIN), "{what}: nothing but logins was sent");
        let log = proxy.stderr();
        assert!(log.contains("refused our credential") && !log.contains(&keys.secret), "{what}: {log}");

        // the right key is read at the next login
        proxy.write("aws.json", backend().stored());
        wait_until(SOON, "a login with the right key", || read(&proxy).status == 200);
        reads(&proxy);
    }
}

#[test]
fn a_proof_can_be_made_out_to_one_server() {
    const OURS: &str = "vault.example";
    let server = stand_in(Some(OURS));
    let proxy = started(&server, &backend(), Some(OURS));
    reads(&proxy);
    let mut proof = Proof::of(&logins(&server)[0]);
    assert_eq!(proof.header(SERVER_ID), OURS);
    assert!(proof.signs(SERVER_ID), "{}", proof.header("authorization"));
    assert_eq!(proof.ask().status, 200);
    // who is shown it cannot use it elsewhere
    proof.headers.insert(SERVER_ID.to_owned(), vec!["another.example".to_owned()]);
    let said = proof.ask();
    assert_eq!(said.status, 403, "{}", said.text());
    assert!(said.text().contains("SignatureDoesNotMatch"), "{}", said.text());

    for named in [None, Some("another.example")] {
        let server = stand_in(Some(OURS));
        let proxy = started(&server, &backend(), named);
        reads_nothing(&proxy, named.unwrap_or("no server"));
        assert!(server.seen().iter().all(|seen| seen.target == LOGIN), "{named:?}");
    }
}
