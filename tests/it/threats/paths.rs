//! Group P: spellings and encodings of paths.

use super::case::{Case, bad, bytes, denied, good, no_name, read, scaivault, vault, with_token};
use super::world::{ADMIN, PLAIN, READER, STRICT};

pub(super) fn cases() -> Vec<Case> {
    let mut all = spelled();
    all.extend(requests());
    all.extend(long());
    all.extend(hosts());
    all.extend(on_scaivault());
    all
}

/// Names below `secret/data/app/`.
fn spelled() -> Vec<Case> {
    let below = |name: &str| read(format!("/v1/secret/data/app/{name}"));
    let mut all = Vec::new();
    for (id, name) in [
        ("P01", "a%2fb"),
        ("P02", "a%2Fb"),
        ("P04", "../../sys/mounts"),
        ("P04", "x/../db"),
        ("P04", "%2e%2e/db"),
        ("P04", ".%2e/db"),
        ("P04", "%2E./db"),
        ("P07", "%c0%ae%c0%ae%c0%af"),
        ("P07", "%e0%80%ae"),
        ("P09", "..\\..\\x"),
        ("P09", "a\\b"),
        ("P09", "a%5cb"),
        ("P09", "..%5c..%5cx"),
        ("P10", "/db"),
        ("P10", "x//db"),
        ("P12", "db/"),
        ("P15", "."),
        ("P15", "./db"),
        ("P15", "%2e"),
        ("P15", "db/."),
        ("P15", "db/%2e/"),
        ("P16", "%00"),
        ("P16", "db%00.txt"),
        ("P16", "db\0"),
        ("P17", "db%0d%0aX-Vault-Token:%20x"),
        ("P17", "db%0a"),
        ("P19", "a<b"),
        ("P19", "a>b"),
        ("P19", "a\"b"),
        ("P19", "a\tb"),
        ("P19", "a\x7fb"),
        ("P20", "db#fragment"),
        ("P29", "%ff"),
        ("P29", "db%80"),
        ("P29", "%ed%a0%80"),
        ("P06", "db%"),
        ("P06", "db%2"),
        ("P06", "db%zz"),
    ] {
        all.push(bad(id, name.escape_debug().to_string(), below(name)));
    }
    for (id, name) in [
        ("P05", "..;/sys"),
        ("P05", ".;/db"),
        ("P05", "db;a=b"),
        ("P06", "%252e%252e%252fdb"),
        ("P06", "%252e%252e"),
        ("P19", "a b"),
        ("P20", "db%23fragment"),
        ("P21", "db%3fversion=1"),
        ("P21", "db%3f"),
        ("P25", "%c3%a9"),
        ("P25", "e%cc%81"),
        ("P26", "a%ef%bc%8fb"),
        ("P26", "%ef%bc%8e%ef%bc%8e"),
        ("P26", "a%e2%88%95b"),
        ("P26", "a%e2%81%84b"),
        ("P27", "%e2%84%aa"),
        ("P05", "a:b"),
        ("P05", "a,b"),
        ("P05", "a@b"),
    ] {
        all.push(no_name(id, name.escape_debug().to_string(), below(name)));
    }
    all.push(good("P14", "three dots", below(".../db")).reaches("/v1/secret/data/app/.../db"));
    all.push(good("P14", "four dots", below("....")).reaches("/v1/secret/data/app/...."));
    all.push(good("P06", "a plain letter, encoded", below("%64b")).reaches("/v1/secret/data/app/db"));
    all.push(bad("P29", "a raw byte above ASCII", read(*b"/v1/secret/data/app/\xff")));
    all.push(bad("P29", "raw UTF-8", read("/v1/secret/data/app/\u{e9}")));
    all
}

/// Spellings of the whole target, and parameters.
fn requests() -> Vec<Case> {
    let db = "/v1/secret/data/app/db";
    let absolute =
        |target: &str, host: &str| bytes("GET", target.as_bytes(), &[("Host", host), ("X-Vault-Token", READER)], b"");
    let mut all = vec![
        bad("P10", "double slash behind v1", read("/v1//secret/data/app/db")),
        bad("P10", "double slash behind the mount", read("/v1/secret//data/app/db")),
        bad("P11", "looks like an authority", read("//v1/secret/data/app/db")),
        bad("P11", "three slashes", read("///v1/secret/data/app/db")),
        bad("P22", "absolute, another host", absolute("http://other/v1/secret/data/app/db", "127.0.0.1")),
        bad("P22", "absolute, user information", absolute("http://a@127.0.0.1/v1/secret/data/app/db", "127.0.0.1")),
        bad("P22", "absolute, another port", absolute("http://127.0.0.1:1/v1/secret/data/app/db", "127.0.0.1")),
        bad("P22", "absolute, no path", absolute("http://127.0.0.1", "127.0.0.1")),
        bad("P22", "another scheme", absolute("ftp://127.0.0.1/v1/secret/data/app/db", "127.0.0.1")),
        good("P22", "absolute, the same host", absolute("http://127.0.0.1/v1/secret/data/app/db", "127.0.0.1"))
            .reaches(db),
        denied("P24", "/V1", read("/V1/Secret/Data/app/db")).status(&[403, 404]).audit(&["denied", "not_found"]),
        denied("P24", "the mount", read("/v1/SECRET/data/app/db")),
        denied("P24", "the area", read("/v1/secret/DATA/app/db")),
        denied("P24", "the name", read("/v1/secret/data/APP/db")),
        denied("P40", "a longer mount", read("/v1/secretx/data/app/db")),
        denied("P40", "a shorter mount", read("/v1/sec/data/app/db")),
        denied("P40", "an encoded dot", read("/v1/secret%2edata/app/db")),
        denied("P40", "a longer area", read("/v1/secret/datax/app/db")),
        denied("P40", "a longer folder", with_token(ADMIN, "GET", "/v1/secret/data/appx/db", &[], b"")),
        denied("P40", "our own secrets", with_token(ADMIN, "GET", "/v1/secret/data/infra/backend/token", &[], b"")),
        good("P21", "a version", read("/v1/secret/data/app/db?version=1")).reaches("/v1/secret/data/app/db?version=1"),
        good("P21", "an encoded parameter", read("/v1/secret/data/app/db?versio%6e=%31"))
            .reaches("/v1/secret/data/app/db?version=1"),
    ];
    for query in [
        "version=1&version=2",
        "version=1&version=1",
        "list=true&list=false",
        "list=true&l%69st=false",
        "version=-1",
        "version=+1",
        "version=1e3",
        "version=0x1",
        "version=99999999999999999999",
        "list=maybe",
        "unknown=1",
        "version=%ff",
        "version=1%0a",
        "version=1#2",
    ] {
        all.push(bad("P42", query, read(format!("{db}?{query}"))));
    }
    for name in [
        "X-Forwarded-Uri",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
        "X-Forwarded-Host",
        "X-Original-Uri",
        "Forwarded",
    ] {
        let send = vault("GET", db, &[(name, "/v1/sys/raw/x-canary")], b"");
        all.push(good("P41", name, send).reaches(db));
    }
    all
}

/// P30: refused in bounded time and memory.
fn long() -> Vec<Case> {
    let long = |size: usize| read(format!("/v1/secret/data/app/{}", "a".repeat(size)));
    let deep = |count: usize| read(format!("/v1/secret/data/app{}", "/a".repeat(count)));
    vec![
        no_name("P30", "8 KiB", long(8 << 10)).status(&[400, 403, 414]),
        bad("P30", "64 KiB", long(64 << 10)).status(&[414, 431]),
        bad("P30", "1 MiB", long(1 << 20)).status(&[414, 431]).or_closed(),
        no_name("P30", "10,000 segments", deep(10_000)).status(&[400, 403, 414]),
        no_name("P30", "a segment of 129", long(129)),
        no_name("P30", "33 segments", deep(33)),
        bad("P30", "a query of 64 KiB", read(format!("/v1/secret/data/app/db?version={}", "1".repeat(64 << 10))))
            .status(&[414, 431]),
    ]
}

fn hosts() -> Vec<Case> {
    let db = b"/v1/secret/data/app/db";
    let on = |hosts: &[(&str, &str)]| {
        let mut headers = vec![("X-Vault-Token", READER)];
        headers.extend_from_slice(hosts);
        bytes("GET", db, &headers, b"")
    };
    let with_header =
        |host: &str| bytes("GET", db, &[("Host", host), ("X-Vault-Token", READER), ("X-Vault-Request", "true")], b"");
    let mut all = vec![
        bad("P39", "two Hosts", on(&[("Host", "127.0.0.1"), ("Host", "127.0.0.1")])),
        bad("P39", "an empty Host", on(&[("Host", "")])),
        bad("P39", "user information", on(&[("Host", "a@127.0.0.1")])),
        good("P39", "the listener's host", with_header("vault.internal")).on(STRICT).reaches("/v1/secret/data/app/db"),
        good("P39", "with a port", with_header("vault.internal:8200")).on(STRICT).reaches("/v1/secret/data/app/db"),
    ];
    for host in ["evil.example", "vault.internal.evil.example", "127.0.0.1", "evil-vault.internal"] {
        let case = bad("P39", format!("not in listeners[].hosts: {host}"), with_header(host));
        all.push(case.on(STRICT).status(&[400, 403, 421]).audit(&["malformed", "denied"]));
    }
    let plain = |host: &str| {
        let bearer = format!("Bearer {READER}");
        bytes("GET", b"/v1/secrets/app/db", &[("Host", host), ("Authorization", &bearer)], b"")
    };
    for host in ["localhost", "LOCALHOST", "localhost.", "localhost:8440", "127.0.0.1:1", "[::1]", "[::1]:8440"] {
        all.push(good("P39", host, plain(host)).on(PLAIN).reaches("/v1/secret/data/app/db"));
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost..",
        "localhost:80:80",
        "::1",
        "[localhost]",
    ] {
        all.push(bad("P39", host, plain(host)).on(PLAIN));
    }
    all
}

/// The same spellings by the other wire: one rule, not one a wire.
fn on_scaivault() -> Vec<Case> {
    let mut all = Vec::new();
    for (id, name) in [
        ("P01", "a%2fb"),
        ("P02", "a%2Fb"),
        ("P04", "../db"),
        ("P04", "%2e%2e/db"),
        ("P07", "%c0%ae"),
        ("P09", "a%5cb"),
        ("P10", "/db"),
        ("P12", "db/"),
        ("P15", "."),
        ("P16", "%00"),
        ("P17", "%0d%0a"),
        ("P20", "db#x"),
        ("P29", "%ff"),
    ] {
        let send = scaivault("GET", format!("/v1/secrets/app/{name}"), &[], b"");
        all.push(bad(id, format!("scaivault: {name}"), send).on(PLAIN));
    }
    for (id, name) in
        [("P06", "%252e%252e"), ("P21", "db%3f"), ("P25", "%c3%a9"), ("P26", "a%ef%bc%8fb"), ("P20", "a%23")]
    {
        let send = scaivault("GET", format!("/v1/secrets/app/{name}"), &[], b"");
        all.push(no_name(id, format!("scaivault: {name}"), send).on(PLAIN));
    }
    let twice = scaivault("GET", "/v1/secrets/app/db?version=1&version=2", &[], b"");
    all.push(bad("P42", "scaivault: twice", twice).on(PLAIN));
    let unknown = scaivault("GET", "/v1/secrets/app/db?unknown=1", &[], b"");
    all.push(bad("P42", "scaivault: unknown", unknown).on(PLAIN));
    all
}
