//! Signed requests: who signed, and the rules about where a signature stands and what it covers.

use std::time::Duration;

use super::super::*;
use super::rig::{START_SECS, names, tenant};
use super::signer::{
    NAMES, OTHER_ID, OTHER_SECRET, PRESIGNED_NAMES, Sent, Signer, body_hash, each_is_told, moment, now, presigned,
    rigged, signed, told,
};
use crate::clock::Timestamp;

#[test]
fn a_signed_request_is_its_keys_owner() {
    let (_rig, directory) = rigged();
    let caller = directory.signed(signed().request()).unwrap();
    assert_eq!((caller.principal.tenant().as_str(), caller.principal.id()), ("a", "search/indexer"));
    assert_eq!((caller.principal.method(), caller.via), (Method::Aws, CallerVia::AccessKey));
    assert_eq!((names(caller.principal.groups()), caller.principal.folders().len()), (vec!["apps", "ops"], 1));
    assert!(caller.token.is_none() && caller.not_after.is_none());
    let by_query = directory.signed(presigned().request()).unwrap();
    assert_eq!(by_query.credential, caller.credential, "one key, one audit hash");
    assert_eq!(by_query.not_after, Some(Timestamp::from_secs(START_SECS + 900)));
    let theirs = Signer { id: OTHER_ID.into(), secret: OTHER_SECRET.into(), ..now() };
    let theirs = directory.signed(theirs.sign(Sent::read(), NAMES).request()).unwrap();
    assert_eq!(theirs.principal.tenant().as_str(), "b", "the key decides the tenant");
    assert_ne!(theirs.credential, caller.credential);
    let configured = directory.configured(&tenant("a"), "search/indexer");
    assert_eq!(configured.first().map(|principal| principal.key()), Some(caller.principal.key()));
    assert_eq!(directory.lookup(&caller).path, "auth/aws/login");
    assert_eq!(directory.renew(&caller, None).err(), Some(IdentityError::NotRenewable));
}

#[test]
fn two_signers_agree_and_unlisted_headers_are_free() {
    let (_rig, directory) = rigged();
    let by_crate = now().sign_by_crate(Sent::read());
    assert_eq!(by_crate.value("authorization"), signed().value("authorization"));
    assert!(directory.signed(by_crate.request()).is_ok());
    let mut sent = signed();
    sent.set("user-agent", "another");
    sent.add("x-forwarded-for", "10.0.0.1");
    assert!(directory.signed(sent.request()).is_ok());
    let mut sent = Sent::read();
    let length = sent.body.len().to_string();
    sent.set("content-length", &length);
    sent.set("amz-sdk-request", "attempt=1; max=3");
    sent.set("x-amz-content-sha256", &body_hash(&sent.body));
    sent.set("x-amz-user-agent", "aws-sdk-js/3.1162");
    let all = "amz-sdk-request;content-length;content-type;host;user-agent;x-amz-content-sha256;x-amz-date;\
               x-amz-target;x-amz-user-agent";
    assert!(directory.signed(now().sign(sent, all).request()).is_ok(), "as the JS SDK signs, user agent included");
    let mut without_host_line = signed();
    without_host_line.headers.remove("host");
    assert!(directory.signed(without_host_line.request()).is_ok(), "s25: HTTP/2 has an authority instead");
}

#[test]
fn s01_what_is_not_signed_is_told_so() {
    let (_rig, directory) = rigged();
    each_is_told(
        &directory,
        &signed(),
        &[
            ("nothing", SIGNATURE_MISSING, |sent| drop(sent.headers.remove("authorization"))),
            ("bearer", SIGNATURE_INCOMPLETE, |sent| sent.set("authorization", "Bearer svp.x")),
            ("basic", SIGNATURE_INCOMPLETE, |sent| sent.set("authorization", "Basic abc")),
            ("nonsense", SIGNATURE_INCOMPLETE, |sent| sent.set("authorization", "AWS4-HMAC-SHA256 nonsense")),
            ("empty", SIGNATURE_INCOMPLETE, |sent| sent.set("authorization", "")),
            ("sha1", SIGNATURE_INCOMPLETE, |sent| sent.in_authorization("SHA256", "SHA1")),
            ("v4a", SIGNATURE_INCOMPLETE, |sent| sent.in_authorization("HMAC", "ECDSA-P256")),
            ("no date", SIGNATURE_INCOMPLETE, |sent| drop(sent.headers.remove("x-amz-date"))),
        ],
    );
}

#[test]
fn s02_a_request_is_signed_in_one_place() {
    let (_rig, directory) = rigged();
    let mut both = presigned();
    both.set("authorization", &signed().value("authorization"));
    assert_eq!(told(&directory, &both), Some(SIGNATURE_INCOMPLETE));
    for query in ["X-Amz-Signature=00", "x-amz-signature=00", "X-Amz-Expires=1", "X-Amz-Algorithm=AWS4-HMAC-SHA256"] {
        let mut sent = Sent::read();
        sent.query = Some(query.to_owned());
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{query} and no header");
        let sent = now().sign(sent, NAMES);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{query}, and signed in the header");
    }
    each_is_told(
        &directory,
        &presigned(),
        &[
            ("a date in a header too", SIGNATURE_INCOMPLETE, |sent| sent.set("x-amz-date", &moment(START_SECS))),
            ("a token in a header", SIGNATURE_INCOMPLETE, |sent| sent.set("x-amz-security-token", "svp.x")),
        ],
    );
}

#[test]
fn s04_a_presigned_request_lives_as_long_as_it_says() {
    let (rig, directory) = rigged();
    for expires in ["", "0", "-1", "604801", "1099511627776", "0900", "900.0"] {
        let sent = now().presign(Sent::read(), PRESIGNED_NAMES, expires);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{expires:?}");
    }
    let week = now().presign(Sent::read(), PRESIGNED_NAMES, "604800");
    let early = Signer::at(START_SECS + 301).presign(Sent::read(), PRESIGNED_NAMES, "900");
    assert_eq!(told(&directory, &early), Some(SIGNATURE_EXPIRED));
    rig.hands.advance(Duration::from_secs(900));
    assert!(directory.signed(presigned().request()).is_ok());
    rig.hands.advance(Duration::from_secs(1));
    assert_eq!(told(&directory, &presigned()), Some(SIGNATURE_EXPIRED));
    rig.hands.advance(Duration::from_secs(604_800 - 901));
    assert!(directory.signed(week.request()).is_ok());
    rig.hands.advance(Duration::from_secs(1));
    assert_eq!(told(&directory, &week), Some(SIGNATURE_EXPIRED));
}

#[test]
fn s05_s06_the_hash_is_of_the_bytes_received() {
    let (_rig, directory) = rigged();
    let with_hash = |hash: &str| {
        let mut sent = Sent::read();
        sent.set("x-amz-content-sha256", hash);
        now().sign(sent, "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target")
    };
    let good = with_hash(&body_hash(&Sent::read().body));
    assert!(directory.signed(good.request()).is_ok());
    for hash in [
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "",
        &body_hash(b""),
        &body_hash(&Sent::read().body).to_ascii_uppercase(),
    ] {
        assert_eq!(told(&directory, &with_hash(hash)), Some(SIGNATURE_MISMATCH), "{hash}");
    }
    each_is_told(
        &directory,
        &good,
        &[
            ("another body", SIGNATURE_MISMATCH, |sent| sent.body = br#"{"SecretId":"prod/dc"}"#.to_vec()),
            ("no body", SIGNATURE_MISMATCH, |sent| sent.body.clear()),
            ("more body", SIGNATURE_MISMATCH, |sent| sent.body.push(b' ')),
            ("chunks", SIGNATURE_MISMATCH, |sent| sent.set("content-encoding", "gzip, AWS-chunked")),
            ("twice", SIGNATURE_INCOMPLETE, |sent| sent.add("x-amz-content-sha256", &body_hash(&Sent::read().body))),
        ],
    );
    let mut body_of_another = signed();
    body_of_another.body.clear();
    assert_eq!(told(&directory, &body_of_another), Some(SIGNATURE_MISMATCH));
}

#[test]
fn s07_what_decides_must_be_signed() {
    let (_rig, directory) = rigged();
    for names in [
        "content-type;x-amz-date;x-amz-target",
        "content-type;host;x-amz-target",
        "content-type;host;x-amz-date",
        "host;x-amz-date;x-amz-target",
        "host",
    ] {
        let sent = now().sign(Sent::read(), names);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{names}");
    }
    let sent = now().with_token("svp.x").sign(Sent::read(), NAMES);
    assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "the session token too");
    for names in ["content-type;x-amz-target", "content-type;host", "host;x-amz-target", "host"] {
        let sent = now().presign(Sent::read(), names, "900");
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{names}");
    }
    let mut get = Sent::read();
    get.method = http::Method::GET;
    get.headers.remove("x-amz-target");
    get.headers.remove("content-type");
    assert_eq!(told(&directory, &now().sign(get, "host;x-amz-date")), Some(SIGNATURE_INCOMPLETE));
}

#[test]
fn s09_the_list_of_headers_has_one_form() {
    let (_rig, directory) = rigged();
    for list in [
        "host;content-type;x-amz-date;x-amz-target",
        "content-type;host;host;x-amz-date;x-amz-target",
        "content-type;Host;x-amz-date;x-amz-target",
        "absent;content-type;host;x-amz-date;x-amz-target",
        "content-type;host;x-amz-date;x-amz-target;",
        ";content-type;host;x-amz-date;x-amz-target",
        "content-type;;host;x-amz-date;x-amz-target",
        "content-type; host;x-amz-date;x-amz-target",
        "",
    ] {
        let sent = now().sign(Sent::read(), NAMES);
        let value = sent.value("authorization").replace(NAMES, list);
        let mut sent = sent;
        sent.set("authorization", &value);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{list}");
    }
    let mut sent = Sent::read();
    sent.set("x-amz-user-agent", "aws-sdk-js/3");
    let sent = now().presign(sent, "content-type;host;x-amz-target;x-amz-user-agent", "900");
    assert_eq!(told(&directory, &sent), Some(SIGNATURE_MISMATCH), "the crate's list would be another");
}

#[test]
fn s10_headers_that_decide_are_there_once_and_others_in_their_order() {
    let (_rig, directory) = rigged();
    for name in ["host", "x-amz-date", "x-amz-target", "authorization", "content-type"] {
        let mut sent = signed();
        let value = sent.value(name);
        sent.add(name, &value);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{name}");
    }
    let mut sent = Sent::read();
    sent.add("my-header", "b");
    sent.add("my-header", "a");
    let names = "content-type;host;my-header;x-amz-date;x-amz-target";
    let mut sent = now().sign(sent, names);
    assert!(directory.signed(sent.request()).is_ok());
    sent.headers.remove("my-header");
    sent.add("my-header", "a");
    sent.add("my-header", "b");
    assert_eq!(told(&directory, &sent), Some(SIGNATURE_MISMATCH));
}

#[test]
fn s11_only_spaces_collapse() {
    let (_rig, directory) = rigged();
    let names = "content-type;host;my-header;x-amz-date;x-amz-target";
    let mut sent = Sent::read();
    sent.set("my-header", "\"a   b\tc\"");
    let mut sent = now().sign(sent, names);
    assert!(directory.signed(sent.request()).is_ok());
    sent.set("my-header", "\"a b\tc\"");
    assert!(directory.signed(sent.request()).is_ok(), "the same canonical request");
    sent.set("my-header", "\"a b c\"");
    assert_eq!(told(&directory, &sent), Some(SIGNATURE_MISMATCH));
}

#[test]
fn s12_s14_a_target_has_one_spelling() {
    let (_rig, directory) = rigged();
    let with = |path: &str, query: Option<&str>| {
        let mut sent = Sent::read();
        sent.path = path.to_owned();
        sent.query = query.map(str::to_owned);
        now().sign(sent, NAMES)
    };
    for query in ["b=2&a=1", "a=2&a=1&a=", "a=%20", "a=%2520", "a=~-._", "%E1%88%B4=1"] {
        assert!(directory.signed(with("/", Some(query)).request()).is_ok(), "{query}");
    }
    let mut reordered = with("/", Some("a=1&b=2"));
    reordered.query = Some("b=2&a=1".to_owned());
    assert!(directory.signed(reordered.request()).is_ok(), "order is not signed");
    for query in ["a=+", "a=%2f", "a=%7E", "a=%FF", "a=%", "a=1&&b=2", "a=/"] {
        assert_eq!(told(&directory, &with("/", Some(query))), Some(SIGNATURE_INCOMPLETE), "{query}");
    }
    assert!(directory.signed(with("/a/b-._~", None).request()).is_ok());
    for path in ["//", "/./", "/a/..", "/a//b", "/.", "/../"] {
        assert_eq!(told(&directory, &with(path, None)), Some(SIGNATURE_MISMATCH), "{path}");
    }
    for path in ["", "*", "a", "/a b", "/a#b", "/a?b", "/é", "/a\\b"] {
        assert_eq!(told(&directory, &with(path, None)), Some(SIGNATURE_INCOMPLETE), "{path}");
    }
    let long = format!("a={}", "b".repeat(40_000));
    assert_eq!(told(&directory, &with("/", Some(&long))), Some(SIGNATURE_INCOMPLETE));
}
