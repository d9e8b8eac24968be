//! Tampering: a signed request with any one thing in it changed is refused, and nothing behind the proxy hears of it.
//!
//! The corpus is made of a request that is served: a bit of every byte of its signature, its credential, its date, its target
//! and its body, every header changed, left out, doubled, its list of signed headers rearranged, in the header form and in the
//! query form, with a configured key and with one that ends by itself.

use serde_json::json;

use super::relay::Relay;
use super::sign::{Keys, REGION, Scope, Signed};
use super::world::{Client, admin, app, backend, backends, builder, config};
use crate::harness::{ADMIN, Proxy};
use crate::peers::moto;

/// A region of this file's tests.
const OWN_REGION: &str = "sa-east-1";
const BODY: &[u8] = br#"{"SecretId":"external/aws/db","VersionStage":"AWSCURRENT"}"#;
/// The size of the corpus must not shrink unseen.
const LEAST: usize = 500;

/// A request and what was done to it.
type Altered = (String, Signed);

fn started(relay: &Relay) -> Proxy {
    let one = backend("aws", relay.address(), OWN_REGION, &[], &["from: 'external/aws/**', to: 'tamper/**'"]);
    builder(moto()).config(&config("local: [local]", &backends(&[one]))).start()
}

/// Every byte of a text with its lowest bit flipped, one at a time, as long as that still makes a header.
fn flips(text: &str) -> impl Iterator<Item = (usize, String)> {
    let bytes = text.as_bytes().to_vec();
    (0..bytes.len()).filter_map(move |at| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let is_text = (b' '..=b'~').contains(&bytes[at]);
        is_text.then(|| (at, String::from_utf8(bytes).unwrap()))
    })
}

/// Every bit of every header that is signed, and of the signature.
fn bits_of_headers(signed: &Signed, all: &mut Vec<Altered>) {
    for (name, value) in &signed.headers {
        // a session token is long, and each of its bytes as good as any other
        let step = if value.len() > 300 { value.len() / 60 } else { 1 };
        for (at, other) in flips(value).step_by(step) {
            all.push((format!("bit of {name} at {at}"), signed.clone().with(name, &other)));
        }
    }
}

fn bits_of_bodies(signed: &Signed, all: &mut Vec<Altered>) {
    for at in 0..signed.body.len() {
        let mut altered = signed.clone();
        altered.body[at] ^= 1;
        all.push((format!("bit of the body at {at}"), altered));
    }
    for (what, body) in [
        ("no body", &b""[..]),
        ("another secret", br#"{"SecretId":"external/aws/other"}"#),
        ("a longer body", br#"{"SecretId":"external/aws/db","VersionStage":"AWSCURRENT"} "#),
        ("a shorter body", br#"{"SecretId":"external/aws/db"}"#),
    ] {
        all.push((what.to_owned(), Signed { body: body.to_vec(), ..signed.clone() }));
    }
}

/// Headers that are signed: gone, doubled, elsewhere; and headers that are not, which would change what is done.
fn headers(signed: &Signed, all: &mut Vec<Altered>) {
    for (name, value) in &signed.headers {
        // a request without a host gets the right one from the client
        if name != "host" {
            all.push((format!("without {name}"), signed.clone().without(name)));
        }
        all.push((format!("{name} twice"), signed.clone().and(name, value)));
        all.push((format!("{name} empty"), signed.clone().with(name, "")));
        all.push((format!("{name} longer"), signed.clone().with(name, &format!("{value}x"))));
    }
    for (name, value) in [
        ("x-amz-target", "secretsmanager.DeleteSecret"),
        ("x-amz-target", "secretsmanager.ListSecrets"),
        ("x-amz-target", "DynamoDB_20120810.GetItem"),
        ("content-type", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "127.0.0.1:1"),
        ("host", "secretsmanager.us-east-1.amazonaws.com"),
    ] {
        all.push((format!("{name}: {value}"), signed.clone().with(name, value)));
    }
    for (name, value) in [
        ("x-amz-security-token", "made-up-token"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("content-encoding", "aws-chunked"),
        ("content-encoding", "gzip"),
    ] {
        all.push((format!("and {name}: {value}"), signed.clone().and(name, value)));
    }
}

/// The parts of the Authorization header, each in ways that another reader might take for the same.
fn authorizations(keys: &Keys, signed: &Signed, all: &mut Vec<Altered>) {
    let value = signed.header("authorization").to_owned();
    let signature = value.rsplit_once("Signature=").unwrap().1.to_owned();
    let names = value.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0.to_owned();
    let mut reversed: Vec<&str> = names.split(';').collect();
    reversed.reverse();
    let mut replaced = |what: &str, from: &str, to: &str| {
        let altered = value.replacen(from, to, 1);
        assert_ne!(altered, value, "{what} changes nothing");
        all.push((format!("authorization: {what}"), signed.clone().with("authorization", &altered)));
    };
    let (upper, zeroes, letters) = (signature.to_ascii_uppercase(), "0".repeat(64), "g".repeat(64));
    for (what, other) in [
        ("in upper case", upper.as_str()),
        ("one digit short", &signature[1..]),
        ("cut in half", &signature[..32]),
        ("empty", ""),
        ("of zeroes", zeroes.as_str()),
        ("no digits", letters.as_str()),
    ] {
        replaced(&format!("the signature {what}"), &signature, other);
    }
    replaced("one digit more", &signature, &format!("{signature}0"));
    for (what, other) in [("reversed", reversed.join(";")), ("in upper case", names.to_ascii_uppercase())] {
        replaced(&format!("names {what}"), &names, &other);
    }
    replaced("a name twice", &names, &format!("{names};x-amz-target"));
    replaced("a name that is absent", &names, &format!("{names};x-amz-user-agent"));
    replaced("no names", &names, "");
    for name in names.split(';') {
        let fewer: Vec<&str> = names.split(';').filter(|own| *own != name).collect();
        replaced(&format!("names without {name}"), &names, &fewer.join(";"));
    }
    for algorithm in ["AWS4-HMAC-SHA1", "AWS4-ECDSA-P256-SHA256", "aws4-hmac-sha256", "AWS3", "Bearer", "Basic"] {
        replaced(algorithm, "AWS4-HMAC-SHA256", algorithm);
    }
    for (from, to) in [
        (REGION, "eu-west-1"),
        (REGION, "us-east-1%20"),
        ("secretsmanager/", "sts/"),
        ("secretsmanager/", "s3/"),
        ("/aws4_request", "/AWS4_REQUEST"),
        ("/aws4_request", ""),
        ("Credential=", "credential="),
        ("Credential=", "Credential=AKIAOTHEROTHEROTHER1,Credential="),
        ("Credential=", "Credential=x/"),
        ("Signature=", "Signature=00,Signature="),
        (keys.id.as_str(), "AKIAADMINADMINADMIN1"),
        (keys.id.as_str(), ""),
        (", ", "; "),
        (", SignedHeaders", ",, SignedHeaders"),
    ] {
        replaced(&format!("{from} is {to}"), from, to);
    }
}

/// Where a request goes, and how.
fn lines(signed: &Signed, all: &mut Vec<Altered>) {
    for method in ["GET", "PUT", "DELETE", "PATCH", "post", "HEAD", "OPTIONS"] {
        all.push((format!("method {method}"), Signed { method: method.to_owned(), ..signed.clone() }));
    }
    for target in
        ["//", "/.", "/x", "/%2F", "/?", "/?a=b", "/?X-Amz-Signature=00", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256"]
    {
        // `/?` has an empty query, which signs as no query does
        if target != "/?" {
            all.push((format!("target {target}"), Signed { target: target.to_owned(), ..signed.clone() }));
        }
    }
}

/// A signature in the query: every bit of it, every parameter gone, twice, or in both places.
fn queries(keys: &Keys, address: &str, all: &mut Vec<Altered>) {
    let signed = keys.presign(address, &Scope::now(), "300", "GetSecretValue", BODY);
    let query = signed.target.strip_prefix("/?").unwrap().to_owned();
    let with = |query: &str| Signed { target: format!("/?{query}"), ..signed.clone() };
    let pairs: Vec<&str> = query.split('&').collect();
    for pair in &pairs {
        let (name, value) = pair.split_once('=').unwrap();
        let rest: Vec<&str> = pairs.iter().filter(|other| *other != pair).copied().collect();
        all.push((format!("query without {name}"), with(&rest.join("&"))));
        all.push((format!("query {name} twice"), with(&format!("{query}&{pair}"))));
        all.push((format!("query {name} empty"), with(&query.replacen(pair, &format!("{name}="), 1))));
        let step = if value.len() > 300 { value.len() / 40 } else { 2 };
        for (at, other) in flips(value).step_by(step) {
            let is_plain = other.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte));
            if is_plain {
                all.push((
                    format!("query bit of {name} at {at}"),
                    with(&query.replacen(pair, &format!("{name}={other}"), 1)),
                ));
            }
        }
    }
    for more in [
        "a=b",
        "X-Amz-Extra=1",
        "x-amz-signature=00",
        "X-Amz-Target=secretsmanager.ListSecrets",
        "%58-Amz-Signature=00",
    ] {
        all.push((format!("query and {more}"), with(&format!("{query}&{more}"))));
    }
    let header = keys.sign(address, &Scope::now(), "GetSecretValue", BODY);
    let both = signed.clone().and("authorization", header.header("authorization"));
    all.push(("in header and query".to_owned(), both));
    all.push(("a date in a header, too".to_owned(), signed.clone().and("x-amz-date", header.header("x-amz-date"))));
    for operation in ["ListSecrets", "DeleteSecret"] {
        let other = signed.clone().with("x-amz-target", &format!("secretsmanager.{operation}"));
        all.push((format!("query for {operation}"), other));
    }
    all.push((
        "query with another body".to_owned(),
        Signed { body: br#"{"SecretId":"external/aws/other"}"#.to_vec(), ..signed },
    ));
}

fn corpus(keys: &Keys, address: &str) -> Vec<Altered> {
    let signed = keys.sign(address, &Scope::now(), "GetSecretValue", BODY);
    let mut all = Vec::new();
    bits_of_headers(&signed, &mut all);
    bits_of_bodies(&signed, &mut all);
    headers(&signed, &mut all);
    authorizations(keys, &signed, &mut all);
    lines(&signed, &mut all);
    queries(keys, address, &mut all);
    // what came out as it was is no alteration
    all.retain(|(_, altered)| format!("{altered:?}") != format!("{signed:?}"));
    all
}

#[test]
fn no_altered_request_is_accepted_and_none_reaches_the_backend() {
    let direct = Client::direct(moto(), OWN_REGION);
    for name in ["db", "other", "eb"] {
        direct.ok("CreateSecret", &json!({"Name": format!("tamper/{name}"), "SecretString": "made-up-value"}));
    }
    let relay = Relay::to(moto().address());
    let proxy = started(&relay);
    let address = proxy.address("aws");
    let issued = proxy.scaivault_call(
        ADMIN,
        "POST",
        "/v1/tokens",
        br#"{"principal":"t/job","groups":["apps"],"access_key":true}"#,
    );
    let issued = issued.json();
    let text = |name: &str| issued[name].as_str().unwrap_or_else(|| panic!("no {name} in {issued}"));
    let session = Keys {
        session: Some(text("session_token").to_owned()),
        ..Keys::new(text("access_key_id"), text("secret_access_key"))
    };
    let mut count = 0;
    let mut accepted = Vec::new();
    for (who, keys) in [("configured", app()), ("session", session)] {
        let is_good = |signed: Signed| signed.send(&address).is_some_and(|answer| answer.status == 200);
        assert!(is_good(keys.sign(&address, &Scope::now(), "GetSecretValue", BODY)), "{who}: as it was made");
        assert!(is_good(keys.presign(&address, &Scope::now(), "300", "GetSecretValue", BODY)), "{who}: presigned");
        relay.forget();
        for (what, altered) in corpus(&keys, &address) {
            count += 1;
            // no answer at all is a refusal as well
            let answer = altered.send(&address);
            let reached = relay.calls().len();
            relay.forget();
            let is_refused = answer.as_ref().is_none_or(|answer| (400..500).contains(&answer.status));
            if !is_refused || reached > 0 {
                accepted.push(format!("{who}: {what}: {:?}, {reached} calls", answer.map(|answer| answer.status)));
            } else if let Some(answer) = answer {
                assert!(!answer.text().contains("made-up-value"), "{who}: {what}");
            }
        }
    }
    assert!(accepted.is_empty(), "{} of {count} got through:\n{}", accepted.len(), accepted.join("\n"));
    assert!(count >= LEAST, "the corpus has shrunk to {count}");
    let client = Client::of(&proxy, admin());
    assert_eq!(client.text("external/aws/db"), "made-up-value", "and the proxy goes on");
}
