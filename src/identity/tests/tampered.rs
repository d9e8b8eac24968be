//! Every byte class of a signed request, altered one at a time: nothing altered is accepted.

use http::{HeaderName, HeaderValue, Method as HttpMethod};

use super::super::*;
use super::rig::{Rig, START_SECS, access_key, settings};
use super::signer::{KEY_ID, SECRET, Sent, Signer, body_hash};

const SIGNED: [&str; 8] = [
    "amz-sdk-request",
    "content-length",
    "content-type",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-target",
    "x-amz-user-agent",
];

fn rigged() -> (Rig, Directory) {
    let rig = Rig::new();
    let mut a = settings("a");
    a.access_keys = vec![access_key("search/indexer", KEY_ID, SECRET)];
    let directory = rig.directory(vec![a]);
    (rig, directory)
}

fn sent() -> Sent {
    let mut sent = Sent::read();
    let length = sent.body.len().to_string();
    sent.set("content-length", &length);
    sent.set("amz-sdk-request", "attempt=1; max=3");
    sent.set("x-amz-content-sha256", &body_hash(&sent.body));
    sent.query = Some("a=1&b=%2F".to_owned());
    sent
}

fn signed() -> Sent {
    let mut sent = sent();
    sent.set("x-amz-user-agent", "aws-sdk-js/3.1162");
    Signer::at(START_SECS).sign(sent, &SIGNED.join(";"))
}

fn presigned() -> Sent {
    let names: Vec<&str> =
        SIGNED.into_iter().filter(|name| !matches!(*name, "x-amz-date" | "x-amz-user-agent")).collect();
    Signer::at(START_SECS).presign(sent(), &names.join(";"), "300")
}

/// Other characters for this place: near it, and of every kind that a parser may treat apart.
fn others(byte: u8) -> Vec<u8> {
    let near = [byte ^ 1, byte ^ 0x20, b'0', b'%', b'/', b'&'];
    let mut others: Vec<u8> = near.into_iter().filter(|other| *other != byte && other.is_ascii_graphic()).collect();
    others.sort_unstable();
    others.dedup();
    others
}

/// The text with one character replaced, for every place and several characters.
fn altered(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        for other in others(byte) {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = other;
            all.push(String::from_utf8(bytes).unwrap());
        }
    }
    all
}

fn with(good: &Sent, change: impl FnOnce(&mut Sent)) -> Sent {
    let mut sent = good.clone();
    change(&mut sent);
    sent
}

/// The header's value, byte by byte; `host` wherever the request names it.
fn of_header(good: &Sent, name: &str) -> Vec<Sent> {
    let values = altered(&good.value(name));
    let set = |value: &String| {
        with(good, |sent| {
            sent.set(name, value);
            if name == "host" {
                sent.host.clone_from(value);
            }
        })
    };
    values.iter().map(set).collect()
}

fn of_body(good: &Sent) -> Vec<Sent> {
    let mut all = Vec::new();
    for at in 0..good.body.len() {
        for bit in 0..8 {
            all.push(with(good, |sent| sent.body[at] ^= 1 << bit));
        }
        all.push(with(good, |sent| sent.body.truncate(at)));
        all.push(with(good, |sent| sent.body.insert(at, b' ')));
        all.push(with(good, |sent| {
            sent.body.remove(at);
        }));
    }
    all.push(with(good, |sent| sent.body.push(b'\n')));
    all
}

/// Method, path, query, and headers as a whole: gone, renamed, doubled.
fn of_shape(good: &Sent, signed: &[&str]) -> Vec<Sent> {
    let mut all = Vec::new();
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "post", "POSTS", "LIST"] {
        all.push(with(good, |sent| sent.method = HttpMethod::from_bytes(method.as_bytes()).unwrap()));
    }
    for path in ["//", "/.", "/./", "/..", "/a", "/a/..", "/%2F", "/%2f", "/%", "/;", "/*", "*", "", "/=", "/prod"] {
        all.push(with(good, |sent| sent.path = path.to_owned()));
    }
    let query = good.query.clone().unwrap();
    for query in
        [format!("{query}&"), format!("&{query}"), format!("{query}&c=1"), format!("{query}&a=1"), String::new()]
    {
        all.push(with(good, |sent| sent.query = Some(query)));
    }
    all.push(with(good, |sent| sent.query = None));
    for query in altered(&query) {
        all.push(with(good, |sent| sent.query = Some(query)));
    }
    for name in signed {
        let (header, value) = (HeaderName::from_bytes(name.as_bytes()).unwrap(), good.headers[*name].clone());
        let renamed = HeaderName::from_bytes(format!("{name}s").as_bytes()).unwrap();
        if *name != "host" {
            all.push(with(good, |sent| drop(sent.headers.remove(&header))));
            all.push(with(good, |sent| {
                let value = sent.headers.remove(&header).unwrap();
                sent.headers.insert(renamed, value);
            }));
        }
        for more in [value.clone(), HeaderValue::from_static("x")] {
            all.push(with(good, |sent| {
                sent.headers.append(&header, more);
            }));
        }
        let longer = format!("{}x", value.to_str().unwrap());
        all.push(with(good, |sent| sent.set(name, &longer)));
    }
    all
}

#[test]
fn s06_s12_nothing_altered_is_accepted_in_either_form() {
    let (_rig, directory) = rigged();
    let (header, query) = (signed(), presigned());
    let unlisted = ["x-amz-date", "x-amz-user-agent"];
    let in_query: Vec<&str> = SIGNED.into_iter().filter(|name| !unlisted.contains(name)).collect();
    let mut corpus: Vec<(&str, Vec<Sent>)> = Vec::new();
    for (good, names) in [(&header, &SIGNED[..]), (&query, in_query.as_slice())] {
        directory.signed(good.request()).unwrap();
        corpus.push(("shape", of_shape(good, names)));
        corpus.push(("body", of_body(good)));
        for name in names {
            corpus.push((*name, of_header(good, name)));
        }
    }
    corpus.push(("authorization", of_header(&header, "authorization")));
    let count: usize = corpus.iter().map(|(_, all)| all.len()).sum();
    assert!(count > 4000, "{count}");
    for (class, all) in &corpus {
        assert!(!all.is_empty(), "{class}");
        for (index, sent) in all.iter().enumerate() {
            assert!(directory.signed(sent.request()).is_err(), "{class} {index}: {sent:?}");
        }
    }
}

#[test]
fn s15_parts_of_two_good_requests_make_no_third() {
    let (_rig, directory) = rigged();
    let (first, second) =
        (signed(), Signer::at(START_SECS + 1).sign(sent(), "content-type;host;x-amz-date;x-amz-target"));
    assert!(directory.signed(first.request()).is_ok() && directory.signed(second.request()).is_ok());
    let part = |sent: &Sent, name: &str| {
        let value = sent.value("authorization");
        value.split(['=', ',']).skip_while(|text| text.trim() != name).nth(1).unwrap().to_owned()
    };
    for name in ["SignedHeaders", "Signature"] {
        let mut mixed = first.clone();
        mixed.in_authorization(&part(&first, name), &part(&second, name));
        assert!(directory.signed(mixed.request()).is_err(), "{name}");
    }
    let mut mixed = first.clone();
    mixed.set("x-amz-date", &second.value("x-amz-date"));
    assert!(directory.signed(mixed.request()).is_err());
}
