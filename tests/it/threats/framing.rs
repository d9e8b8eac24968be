//! Group H: heads and bodies that two HTTP implementations could frame differently.

use super::case::{Case, bad, bytes, denied, good, read, vault};
use super::world::{ADMIN, READER};

const DB: &str = "/v1/secret/data/app/db";
const OWN: &str = "/v1/secret/data/scratch/h";
const DATA: &str = r#"{"data":{"a":"b"}}"#;

pub(super) fn cases() -> Vec<Case> {
    let mut all = framings();
    all.extend(chunks());
    all.extend(heads());
    all.extend(connections());
    all.extend(sizes());
    all
}

/// A head written out by hand; `\n` stands for CRLF. Host and token are added behind the request line.
fn head(text: &str) -> Vec<u8> {
    let (line, rest) = text.split_once('\n').unwrap();
    raw(&format!("{line}\nHost: 127.0.0.1\nX-Vault-Token: {READER}\n{rest}"))
}

/// Bytes written out by hand; `\n` stands for CRLF.
fn raw(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// A request that would be served if anybody took it for one.
fn smuggled() -> String {
    format!("GET {DB} HTTP/1.1\nHost: 127.0.0.1\nX-Vault-Token: {ADMIN}\n\n")
}

fn framings() -> Vec<Case> {
    let post = |headers: &str, body: &str| head(&format!("POST {OWN} HTTP/1.1\n{headers}\n\n{body}"));
    let length = DATA.len();
    let chunked = format!("{length:x}\n{DATA}\n0\n\n");
    let mut all = vec![
        bad(
            "H01",
            "CL.TE",
            post(&format!("Content-Length: {length}\nTransfer-Encoding: chunked"), &format!("0\n\n{}", smuggled())),
        )
        .closes(),
        bad("H02", "TE.CL", post("Transfer-Encoding: chunked\nContent-Length: 4", &format!("{chunked}{}", smuggled())))
            .closes(),
        bad("H02", "CL.CL", post(&format!("Content-Length: {length}\nContent-Length: 0"), DATA)).closes(),
        bad("H02", "CL.CL, the same", post(&format!("Content-Length: {length}\nContent-Length: {length}"), DATA))
            .closes(),
        bad("H02", "CL with a list", post(&format!("Content-Length: {length}, {length}"), DATA)).closes(),
        bad(
            "H01",
            "CL and TE with other letters",
            post(&format!("content-length: {length}\ntRANSFER-eNCODING: chunked"), &chunked),
        )
        .closes(),
        good("H04", "chunked", post("Transfer-Encoding: chunked", &chunked)),
        good("H04", "Chunked", post("Transfer-Encoding: Chunked", &chunked)),
    ];
    for coding in [
        "xchunked",
        "chunked, identity",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;x=y",
        "\u{b}chunked",
        "chunked\u{b}",
        "\"chunked\"",
        ",chunked",
        "",
        "chunked\nTransfer-Encoding: chunked",
        "chunked\nTransfer-Encoding: identity",
        "identity\nTransfer-Encoding: chunked",
    ] {
        let case =
            bad("H04", coding.escape_debug().to_string(), post(&format!("Transfer-Encoding: {coding}"), &chunked));
        all.push(case.status(&[400, 501]).closes());
    }
    for value in
        ["+5", "-5", "0x5", "5 5", "5.0", "5e0", "", "\u{663}", "99999999999999999999999", "18446744073709551616"]
    {
        let case = bad("L01", format!("Content-Length: {value}"), post(&format!("Content-Length: {value}"), "12345"));
        all.push(case.status(&[400, 413]).audit(&["malformed", "too_large"]).closes());
    }
    let old = |headers: &str, body: &str| head(&format!("POST {OWN} HTTP/1.0\n{headers}\n\n{body}"));
    all.push(
        bad("H05", "a coding in HTTP/1.0", old("Transfer-Encoding: chunked\nConnection: keep-alive", &chunked))
            .closes(),
    );
    all.push(
        bad("H05", "a body without a length", old("Connection: keep-alive", &format!("{DATA}{}", smuggled()))).closes(),
    );
    all
}

/// H10, H11: chunks. A body that is not what its head announced ends the connection.
fn chunks() -> Vec<Case> {
    let post = |body: &str| head(&format!("POST {OWN} HTTP/1.1\nTransfer-Encoding: chunked\n\n{body}"));
    let mut all = Vec::new();
    for (note, body) in [
        ("0x5", "0x5\nhello\n0\n\n".to_owned()),
        ("+5", "+5\nhello\n0\n\n".to_owned()),
        ("-5", "-5\nhello\n0\n\n".to_owned()),
        ("a blank before", " 5\nhello\n0\n\n".to_owned()),
        ("17 digits", "00000000000000005\nhello\n0\n\n".to_owned()),
        ("16 digits, all f", "ffffffffffffffff\nhello\n0\n\n".to_owned()),
        ("no digit", "g\nhello\n0\n\n".to_owned()),
        ("no end of a chunk", "5\nhello0\n\n".to_owned()),
        ("a longer chunk than said", "5\nhello world\n0\n\n".to_owned()),
        ("an extension of 128 KiB", format!("5;{}\nhello\n0\n\n", "x".repeat(128 << 10))),
        ("a trailer of 128 KiB", format!("0\nX: {}\n\n", "x".repeat(128 << 10))),
    ] {
        all.push(bad("H10", note, post(&body)).closes().status(&[400, 413]).or_closed());
    }
    let odd = post(&format!("5;a\u{0}b\nhello\n0\n\n{}", smuggled()));
    all.push(bad("H10", "an odd extension, and more behind the body", odd).closes().or_closed());
    let length = DATA.len();
    // whole but for one byte: what a reader that ends lines elsewhere would take for another body
    for (note, byte) in [("LF", b'\n'), ("CR", b'\r'), ("NUL", 0), ("DEL", 0x7f), ("a letter above ASCII", 0xe9)] {
        for (place, body) in [
            ("an extension", format!("{length:x};a\u{1}b\n{DATA}\n0\n\n")),
            ("the last extension", format!("{length:x}\n{DATA}\n0;a\u{1}b\n\n")),
            ("the end of a size", format!("{length:x}\u{1}\n{DATA}\n0\n\n")),
        ] {
            let send = post(&body).into_iter().map(|own| if own == 1 { byte } else { own }).collect();
            all.push(bad("H10", format!("{note} in {place}"), send).closes().or_closed());
        }
    }
    for (note, body) in [
        ("a blank behind a size", format!("{length:x} \n{DATA}\n0\n\n")),
        ("a folded trailer", format!("{length:x}\n{DATA}\n0\nX: a\n b\n\n")),
        ("an extension of 5 KiB", format!("{length:x};{}\n{DATA}\n0\n\n", "x".repeat(5 << 10))),
    ] {
        all.push(bad("H10", note, post(&body)).closes().or_closed());
    }
    all.push(good("H10", "an extension", post(&format!("{length:x};a=b;c=\"d e\"\n{DATA}\n0;e\n\n"))));
    let read = head(&format!("GET {DB} HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n"));
    all.push(bad("H10", "a read with a chunked body", read).closes());
    let trailed = |trailer: &str| post(&format!("{length:x}\n{DATA}\n0\n{trailer}\n\n"));
    for trailer in [
        "Authorization: Bearer x",
        "X-Vault-Token: x",
        "Content-Length: 5",
        "Host: evil.example",
        "X-Vault-Namespace: ns1",
    ] {
        all.push(good("H11", trailer, trailed(trailer)));
    }
    let bare = raw(&format!(
        "POST {OWN} HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\n\n{length:x}\n{DATA}\n0\nX-Vault-Token: {READER}\n\n"
    ));
    all.push(denied("H11", "a token in a trailer is none", bare).audit(&["unauthenticated"]));
    all
}

/// H06, H07, H09, H12, H14, H15, H19.
fn heads() -> Vec<Case> {
    let get = |lines: &str| head(&format!("GET {DB} HTTP/1.1\n{lines}\n\n"));
    let post = |headers: &str, body: &str| head(&format!("POST {OWN} HTTP/1.1\n{headers}\n\n{body}"));
    let line = |line: &str| raw(&format!("{line}\nHost: 127.0.0.1\nX-Vault-Token: {READER}\n\n"));
    let lf = format!("GET {DB} HTTP/1.1\nHost: 127.0.0.1\nX-Vault-Token: {READER}\n\n").into_bytes();
    let mut all = vec![
        bad("H07", "a folded line", get("X-A: b\n c: d")).closes(),
        bad("H07", "a folded line, tab", get("X-A: b\n\tc")).closes(),
        bad(
            "H07",
            "a folded token",
            raw(&format!("GET {DB} HTTP/1.1\nHost: 127.0.0.1\nX-Vault-Token:\n {READER}\n\n")),
        )
        .closes(),
        bad("H09", "a blank before the colon", get("X-A : b")).closes(),
        bad(
            "H09",
            "a blank before the colon of Host",
            raw(&format!("GET {DB} HTTP/1.1\nHost : 127.0.0.1\nX-Vault-Token: {READER}\n\n")),
        )
        .closes(),
        bad(
            "H09",
            "a blank before the first name",
            raw(&format!("GET {DB} HTTP/1.1\n Host: 127.0.0.1\nX-Vault-Token: {READER}\n\n")),
        )
        .closes(),
        bad("H09", "a NUL in a name", get("X-\0A: b")).closes(),
        bad("H09", "a NUL in a value", get("X-A: \0b")).closes(),
        bad("H09", "a bracket in a name", get("X(A): b")).closes(),
        bad("H09", "a letter above ASCII in a name", get("X-\u{e9}: b")).closes(),
        bad("H09", "no name", get(": b")).closes(),
        bad("H09", "no colon", get("X-A")).closes(),
        bad("H09", "LF alone", lf).closes(),
        bad("H09", "CR alone in a value", get("X-A: b\rX-B: c")).closes(),
        bad("H12", "a shorter body than announced", post("Content-Length: 500", DATA)).ends().closes().or_closed(),
        good("H12", "more than announced", {
            let send = format!("Content-Length: {}\nConnection: keep-alive", DATA.len());
            post(&send, &format!("{DATA}rubbish behind the body\n\n"))
        })
        .closes(),
        denied("H12", "a request without a token, with one behind it", {
            let first = format!("GET {DB} HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 0\n\n");
            raw(&format!("{first}{}", smuggled()))
        })
        .audit(&["unauthenticated"])
        .closes(),
        bad("H14", "an answer before the end of the body", post("Content-Length: 100000000", &smuggled()))
            .status(&[413])
            .audit(&["too_large"])
            .closes(),
        bad("H15", "no Host", raw(&format!("GET {DB} HTTP/1.1\nX-Vault-Token: {READER}\n\n"))).closes(),
        bad("H15", "two Hosts", get("Host: 127.0.0.1")).closes(),
        bad("H15", "two different Hosts", get("Host: other")).closes(),
        bad("H15", "an empty Host", raw(&format!("GET {DB} HTTP/1.1\nHost:\nX-Vault-Token: {READER}\n\n"))).closes(),
    ];
    for text in [
        format!("GET {DB}"),
        format!("GET {DB} HTTP/1.2"),
        format!("GET {DB} HTTP/0.9"),
        format!("GET {DB} HTTP/2.0"),
        format!("GET {DB} HTTP/1.1x"),
        format!("GET {DB} HTTP/1.10"),
        format!("GET {DB} http/1.1"),
        format!("GET {DB} HTTP/1,1"),
        format!("GET {DB} SIP/2.0"),
        "GET".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}".to_owned(),
        "PRI * HTTP/2.0".to_owned(),
    ] {
        all.push(bad("H19", text.escape_debug().to_string(), line(&text)).status(&[400, 505]).closes());
    }
    all.push(
        bad("H19", "an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec())
            .status(&[400, 505])
            .closes()
            .or_closed(),
    );
    all.push(
        bad("H19", "an empty line before the request", [b"\r\n".to_vec(), read(DB)].concat())
            .closes()
            .status(&[400, 200])
            .freely()
            .audit(&[]),
    );
    all
}

/// H06, H16, H17: what a client says about the connection stays between it and us.
fn connections() -> Vec<Case> {
    let with = |headers: &[(&str, &str)]| vault("GET", DB, headers, b"");
    let mut all = Vec::new();
    for protocol in ["websocket", "h2c", "TLS/1.0", "HTTP/2.0"] {
        let settings = ("HTTP2-Settings", "AAMAAABkAAQAAP__");
        let mut send = with(&[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", protocol), settings]);
        send.extend(raw(&smuggled()));
        // the second request may be answered behind the first, as a request; it never becomes part of a tunnel
        all.push(good("H06", protocol, send).freely().answers(2));
    }
    for options in [
        "X-Vault-Namespace, Authorization, Host, X-Vault-Token, close",
        "X-Vault-Request, X-Request-Id, close",
        "keep-alive, Transfer-Encoding, Content-Length, close",
        "close",
    ] {
        all.push(
            good("H16", options, with(&[("Connection", options), ("Keep-Alive", "timeout=1000")])).reaches(DB).closes(),
        );
    }
    for name in [
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Via",
        "Max-Forwards",
        "X-Forwarded-For",
        "Cookie",
        "Range",
        "If-None-Match",
    ] {
        all.push(good("H16", name, with(&[(name, "x-canary")])).reaches(DB));
    }
    for options in ["\"X-Forwarded-For\"", ":path", "a b", "a;b", "(x)", "close,,X", ",", "\u{e9}"] {
        all.push(bad("H17", options, with(&[("Connection", options)])).closes());
    }
    all
}

/// H20: bounded heads.
fn sizes() -> Vec<Case> {
    let many = |count: usize, size: usize| {
        let value = "v".repeat(size);
        let names: Vec<String> = (0..count).map(|n| format!("X-H{n}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        vault("GET", DB, &headers, b"")
    };
    let large = |note: &str, send| bad("H20", note, send).status(&[431]).closes();
    vec![
        good("H20", "40 headers", many(40, 10)).reaches(DB),
        good("H20", "16 KiB in four", many(4, 4 << 10)).reaches(DB),
        large("65 headers", many(62, 10)),
        large("200 headers", many(200, 10)),
        // more than the library has room for
        large("257 headers", many(257, 10)),
        large("300 headers, none of them long", many(300, 1)),
        large("2,000 headers", many(2_000, 10)).or_closed(),
        large("one of 9 KiB", many(1, 9 << 10)),
        large("40 KiB", many(6, 7 << 10)),
        large("64 KiB", many(9, 7 << 10)),
        large("1 MiB", many(150, 7 << 10)).or_closed(),
        large("one of 1 MiB", many(1, 1 << 20)).or_closed(),
        large(
            "a name of 40 KiB",
            bytes("GET", DB.as_bytes(), &[(&"n".repeat(40 << 10), "v"), ("X-Vault-Token", READER)], b""),
        )
        .status(&[400, 431]),
    ]
}
