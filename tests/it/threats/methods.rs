//! Group M: methods, bodies and media types.

use super::case::{Case, bad, bytes, denied, good, read, scaivault, vault, with_token};
use super::world::{ADMIN, PLAIN, READER};

const DB: &str = "/v1/secret/data/app/db";
const OWN: &str = "/v1/secret/data/scratch/m";

pub(super) fn cases() -> Vec<Case> {
    let mut all = verbs();
    all.extend(bodies());
    all
}

fn verbs() -> Vec<Case> {
    let refused = |id, note: &str, send| bad(id, note, send).status(&[400, 405]).audit(&["malformed", "unsupported"]);
    let raw = |line: &str| format!("{line}\r\nHost: 127.0.0.1\r\nX-Vault-Token: {READER}\r\n\r\n").into_bytes();
    let mut all = Vec::new();
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        all.push(good("M01", name, vault("GET", DB, &[(name, "DELETE")], b"")).reaches(DB));
    }
    all.push(bad("M01", "_method", read(format!("{DB}?_method=DELETE"))));
    for method in ["get", "Get", "GETX", "FETCH", "list", "PROPFIND", "PURGE"] {
        all.push(refused("M02", method, vault(method, DB, &[], b"")));
    }
    all.push(refused("M02", "two spaces", raw(&format!("LIST  {DB} HTTP/1.1"))));
    all.push(refused("M02", "a tab", raw(&format!("GET\t{DB} HTTP/1.1"))).closes());
    all.push(refused("M02", "no token", raw(&format!("G@T {DB} HTTP/1.1"))).closes());
    let metadata = "/v1/secret/metadata/app/pub";
    all.push(good("M04", "scan is its own operation", read(format!("{metadata}?scan=true"))).freely().present("one"));
    all.push(bad("M04", "list and scan", read(format!("{metadata}?list=true&scan=true"))));
    all.push(bad("M04", "LIST with scan", vault("LIST", format!("{metadata}?scan=true"), &[], b"")));
    all.push(bad("M04", "SCAN with list", vault("SCAN", format!("{metadata}?list=true"), &[], b"")));
    all.push(bad("M04", "DELETE with list", vault("DELETE", format!("{metadata}?list=true"), &[], b"")));
    all.push(bad("M04", "POST with list", vault("POST", format!("{metadata}?list=true"), &[], b"{}")));
    let listed = vault("LIST", "/v1/logical/keys", &[], b"");
    all.push(good("M04", "LIST of a listed passthrough path", listed).reaches("/v1/logical/keys?list=true"));
    all.push(refused("M05", "HEAD of a secret", vault("HEAD", DB, &[], b"")).status(&[405]).audit(&["unsupported"]));
    for method in ["OPTIONS", "TRACE", "CONNECT", "PRI"] {
        let send = vault(method, DB, &[("X-Canary", "echo-of-the-client")], b"");
        all.push(refused("M06", method, send).absent("echo-of-the-client"));
    }
    all.push(refused("M06", "CONNECT to a host", raw("CONNECT 169.254.169.254:80 HTTP/1.1")));
    all.push(refused("M06", "OPTIONS of everything", raw("OPTIONS * HTTP/1.1")));
    let page = ("Origin", "https://evil.example");
    let preflight = vault("OPTIONS", DB, &[page, ("Access-Control-Request-Method", "GET")], b"");
    let case = refused("M06", "a preflight", preflight).status(&[400, 403, 405]).audit(&[
        "malformed",
        "denied",
        "unsupported",
    ]);
    all.push(case.absent("access-control-allow"));
    all.push(denied("X04", "from a page", vault("GET", DB, &[page], b"")).absent("access-control-allow"));
    all.push(denied("X04", "from another site", vault("GET", DB, &[("Sec-Fetch-Site", "cross-site")], b"")));
    let form = scaivault("PUT", "/v1/secrets/scratch/m", &[("Content-Type", "text/plain")], br#"{"data":1}"#);
    all.push(bad("X04", "a body no page needs leave for", form).on(PLAIN).status(&[415]).audit(&["unsupported"]));
    let from_page = scaivault("GET", "/v1/secrets/app/db", &[page], b"");
    all.push(denied("X04", "from a page, the other wire", from_page).on(PLAIN).absent("access-control-allow"));
    all
}

fn bodies() -> Vec<Case> {
    let write = |body: &str| vault("POST", OWN, &[], body.as_bytes());
    let typed = |method: &str, kind: &str, body: &str| vault(method, OWN, &[("Content-Type", kind)], body.as_bytes());
    let data = r#"{"data":{"a":"b"}}"#;
    let media = |case: Case| case.status(&[415]).audit(&["unsupported"]);
    let mut all = vec![
        good("M07", "PUT without a media type", vault("PUT", OWN, &[], data.as_bytes())),
        media(bad("M07", "PATCH without a media type", vault("PATCH", OWN, &[], data.as_bytes()))),
        media(bad("M07", "PATCH as JSON", typed("PATCH", "application/json", data))),
        good("M07", "PATCH as it should be", typed("PATCH", "application/merge-patch+json", r#"{"data":{"c":"d"}}"#)),
        bad("M09", "a form", typed("POST", "application/x-www-form-urlencoded", "data=a&b=c"))
            .status(&[400, 415])
            .audit(&["malformed", "unsupported"]),
        bad("M09", "parts of a form", typed("POST", "multipart/form-data; boundary=x", "--x\r\n\r\na\r\n--x--"))
            .status(&[400, 415])
            .audit(&["malformed", "unsupported"]),
        good("M11", "numbers that are numbers", write(r#"{"data":{"a":-0,"b":"1E5","c":1e5}}"#)),
        denied("M09", "a form to a path that is not served", with_token(ADMIN, "POST", "/v1/cubbyhole/x", &[], b"a=b")),
    ];
    let wide = format!(r#"{{"data":{{"a":[{}1]}}}}"#, "1,".repeat(40_000));
    let keys = format!(r#"{{"data":{{{}"z":1}}}}"#, (0..12_000).map(|n| format!("\"{n}\":1,")).collect::<String>());
    let deep = format!(r#"{{"data":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!(r#"{{"data":{}1{}}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    for (id, note, body) in [
        ("M10", "a key twice", r#"{"data":{"a":1,"a":2}}"#),
        ("M10", "a key twice, escaped", r#"{"data":{"a":1,"\u0061":2}}"#),
        ("M10", "data twice", r#"{"data":{"a":1},"data":{"a":2}}"#),
        ("M10", "options twice", r#"{"data":{"a":1},"options":{"cas":1},"options":{"cas":0}}"#),
        ("M10", "a nested key twice", r#"{"data":{"a":{"b":1,"b":2}}}"#),
        ("M11", "10,000 deep", deep.as_str()),
        ("M11", "200 objects deep", deep_objects.as_str()),
        ("M11", "40,000 values", wide.as_str()),
        ("M11", "NaN", r#"{"data":{"a":NaN}}"#),
        ("M11", "Infinity", r#"{"data":{"a":Infinity}}"#),
        ("M11", "a number past all numbers", r#"{"data":{"a":1e400}}"#),
        ("M11", "half a surrogate", r#"{"data":{"a":"\ud800"}}"#),
        ("M12", "a mark before the document", "\u{feff}{\"data\":{\"a\":1}}"),
        ("M12", "two documents", r#"{"data":{"a":1}}{"data":{"a":2}}"#),
        ("M12", "rubbish behind the document", r#"{"data":{"a":1}}x"#),
        ("M12", "a comment", r#"{"data":{"a":1}}//"#),
        ("M12", "single quotes", "{'data':{'a':1}}"),
        ("M12", "nothing", ""),
        ("M12", "half a document", r#"{"data":{"a":"#),
        ("M12", "a control character in a string", "{\"data\":{\"a\":\"\u{1}\"}}"),
    ] {
        all.push(bad(id, note, write(body)));
    }
    // under the cap of values or above it, but never anything else
    all.push(good("M11", "12,000 keys", write(&keys)).status(&[200, 400]).audit(&["ok", "malformed"]));
    let wide: Vec<u8> = "{\"data\":{\"a\":1}}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    all.push(bad("M12", "UTF-16", vault("POST", OWN, &[], &wide)));
    all.push(bad("M12", "a byte that is no text", vault("POST", OWN, &[], b"{\"data\":{\"a\":\"\xff\"}}")));
    all.extend(expectations());
    all
}

/// M17: an answer before the body, or none at all; never a body that becomes a request.
fn expectations() -> Vec<Case> {
    let data = br#"{"data":{"a":"b"}}"#;
    let expecting = |what: &str| vault("POST", OWN, &[("Expect", what)], data);
    let hidden = format!("GET {DB} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Token: {READER}\r\n\r\n");
    let zero = bytes(
        "GET",
        DB.as_bytes(),
        &[("Expect", "100-continue"), ("X-Vault-Token", READER), ("Content-Length", "0")],
        hidden.as_bytes(),
    );
    vec![
        good("M17", "100-continue", expecting("100-continue")),
        good("M17", "100-Continue", expecting("100-Continue")),
        bad("M17", "an unknown expectation", expecting("200-ok")).status(&[417]).closes(),
        bad("M17", "two at once", expecting("100-continue, 200-ok")).status(&[417]).closes(),
        good("M17", "a request behind no body", zero).reaches(DB),
    ]
}
