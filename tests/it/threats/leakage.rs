//! Group L: nothing secret in logs, errors, headers or the process's own description, whatever is sent.

use super::case::{Case, bad, bytes, good, read, vault, with_token};
use super::fake::VALUE;
use super::runner::Score;
use super::socket::{Heard, tell};
use super::world::{ADMIN, DOOR, LISTER, NOBODY, PLAIN, READER, SECRET_ID, UPSTREAM, VALUER, WRITER, World};
use crate::canary::Canaries;

const DB: &str = "/v1/secret/data/app/db";
const OWN: &str = "/v1/secret/data/scratch/l";
/// Written to the local store by these rows, and nowhere else to be found.
const WRITTEN: &str = "written-canary-0123456789";
/// In no request that is served.
const GUESSED: &str = "guessed-canary-9876543210";

/// L01, L04, L09: what is refused is not quoted.
pub(super) fn cases() -> Vec<Case> {
    let token = |headers: &str| {
        format!("GET {DB} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Token: {GUESSED}\r\n{headers}\r\n\r\n").into_bytes()
    };
    let write = |body: &str| vault("POST", OWN, &[], body.as_bytes());
    let mut all = vec![
        bad("L01", "a token beside a broken header", token("X-A\u{1}: b")),
        bad("L01", "a token beside a header without a colon", token("X-A")),
        bad("L01", "a token beside too large a header", token(&format!("X-A: {}", "b".repeat(9 << 10)))).status(&[431]),
        bad("L01", "a token beside a large head", token(&format!("X-A: {}", "b".repeat(1 << 20))))
            .status(&[431])
            .or_closed(),
        bad("L01", "a token beside a bad length", token("Content-Length: x")),
        bad("L01", "a token in the request line", read(format!("{DB}?token={GUESSED}"))),
        bad("L01", "a token in a broken request line", format!("GET {DB} {GUESSED}\r\nHost: a\r\n\r\n").into_bytes()),
        bad(
            "L01",
            "a token as a method",
            format!("{GUESSED} {DB} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").into_bytes(),
        )
        .status(&[400, 405])
        .audit(&["malformed", "unsupported"]),
        bad("L01", "a token in a path that is none", read(format!("/v1/secret/data/app/{GUESSED}%zz"))),
        bad(
            "L01",
            "a token in a Host",
            bytes("GET", DB.as_bytes(), &[("Host", &format!("{GUESSED}@a")), ("X-Vault-Token", READER)], b""),
        ),
        bad(
            "L01",
            "a token in a namespace",
            vault("GET", DB, &[("X-Vault-Namespace", &format!("{GUESSED}/../x"))], b""),
        ),
        bad("L01", "an unknown token", with_token(GUESSED, "GET", DB, &[], b""))
            .status(&[403])
            .audit(&["unauthenticated"]),
        bad("L04", "half a document", write(&format!(r#"{{"data":{{"password":"{GUESSED}""#))),
        bad("L04", "a key twice", write(&format!(r#"{{"data":{{"a":"{GUESSED}","a":"{GUESSED}"}}}}"#))),
        bad("L04", "a value where an object belongs", write(&format!(r#"{{"data":"{GUESSED}"}}"#))),
        bad("L04", "a number that is a text", write(&format!(r#"{{"data":{{}},"options":{{"cas":"{GUESSED}"}}}}"#))),
        bad("L04", "an unknown option", write(&format!(r#"{{"data":{{}},"options":{{"{GUESSED}":1}}}}"#))),
        bad(
            "L04",
            "a version that is a text",
            vault("POST", "/v1/secret/delete/scratch/l", &[], format!(r#"{{"versions":["{GUESSED}"]}}"#).as_bytes()),
        ),
        bad(
            "L04",
            "a login that is none",
            bytes(
                "POST",
                b"/v1/auth/approle/login",
                &[],
                format!(r#"{{"role_id":1,"secret_id":"{GUESSED}"}}"#).as_bytes(),
            ),
        ),
        good("L16", "a value that is written", write(&format!(r#"{{"data":{{"password":"{WRITTEN}"}}}}"#)))
            .absent(WRITTEN),
        good("L16", "a local read", read(OWN)).present(WRITTEN),
        good("L16", "a read", read(DB)).reaches("/v1/secret/data/app/db").present(VALUE),
    ];
    for case in &mut all {
        case.absent = case.absent.or(Some(GUESSED));
    }
    all
}

/// Whether an answer says `no-store` and nothing about what made it.
fn is_discreet(heard: &Heard) -> Option<String> {
    for answer in &heard.answers {
        let store = answer.header("cache-control").unwrap_or_default();
        if !store.contains("no-store") {
            return Some(format!("a {} may be stored: {store:?}", answer.status));
        }
        for name in ["server", "via", "x-powered-by", "x-cache", "x-backend"] {
            if let Some(value) = answer.header(name) {
                return Some(format!("a {} has {name}: {value}", answer.status));
            }
        }
    }
    None
}

/// L14, L15, L16: the answers of a kind look alike and name nobody.
pub(super) fn answers(world: &World, score: &mut Score) {
    let door = world.proxy.address(DOOR);
    let ask = |send: Vec<u8>| tell(&door, &send);
    for (note, send) in [
        ("a read", read(DB)),
        ("a list", vault("LIST", "/v1/secret/metadata/app", &[], b"")),
        ("metadata", read("/v1/secret/metadata/app/db")),
        ("a missing secret", read("/v1/kv1/nothing")),
        ("a denial", read("/v1/secret/data/other/x")),
        ("an unknown caller", with_token("nobody-has-this-token", "GET", DB, &[], b"")),
        ("a bad path", read("/v1/secret/data/app/%00")),
        ("a bad body", vault("POST", OWN, &[], b"{")),
        ("a body too large", vault("POST", OWN, &[("Content-Length", "99999999")], b"")),
        ("an unsupported method", vault("OPTIONS", DB, &[], b"")),
        ("health", with_token("", "GET", "/v1/sys/health", &[], b"")),
        (
            "two framings",
            vault("POST", OWN, &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")], b"0\r\n\r\n"),
        ),
        ("a head that cannot be read", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n".to_vec()),
        ("a head too large", vault("GET", DB, &[("X-A", &"a".repeat(9 << 10))], b"")),
    ] {
        let heard = ask(send);
        let problem = if heard.answers.is_empty() { Some("no answer".to_owned()) } else { is_discreet(&heard) };
        score.count("L15", note, problem);
    }
    // a caller without permission learns nothing from how it is refused
    for (token, there, absent) in [
        (NOBODY, "/v1/secret/data/app/db", "/v1/secret/data/app/no-such-name"),
        (NOBODY, OWN, "/v1/secret/data/scratch/no-such-name"),
        (NOBODY, "/v1/kv1/app", "/v1/kv1/nothing"),
        (LISTER, OWN, "/v1/secret/data/scratch/no-such-name"),
        (VALUER, "/v1/secret/metadata/scratch/l", "/v1/secret/metadata/scratch/no-such-name"),
        (WRITER, OWN, "/v1/secret/data/scratch/no-such-name"),
        (NOBODY, "/v1/secret/data/app/db", "/v1/secret/data/unmapped/x"),
        (ADMIN, "/v1/secret/data/infra/backend/token", "/v1/secret/data/infra/backend/no-such-name"),
    ] {
        let [one, two] = [there, absent].map(|target| {
            let heard = ask(with_token(token, "GET", target, &[], b""));
            heard.answers.into_iter().next().map(|answer| {
                let names: Vec<String> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
                (answer.status, names, answer.body)
            })
        });
        let same = one.is_some() && one == two;
        score.count("L14", &format!("{there} and {absent}"), (!same).then(|| format!("{one:?} and {two:?}")));
    }
    let lists = ["/v1/secrets/app/private?list=true", "/v1/secrets/app/no-such-folder?list=true"].map(|target| {
        let bearer = format!("Bearer {NOBODY}");
        let heard =
            tell(&world.proxy.address(PLAIN), &bytes("GET", target.as_bytes(), &[("Authorization", &bearer)], b""));
        heard.answers.first().map(|answer| (answer.status, answer.body.len()))
    });
    score.check("L14", "lists of folders that are there or not", lists[0].is_some() && lists[0] == lists[1]);
}

/// L01, L02, L07, L09: nothing of it is in what the process wrote or shows of itself.
pub(super) fn traces(world: &World, score: &mut Score) {
    let canaries = Canaries::new([
        ("the reader's token", READER),
        ("the admin's token", ADMIN),
        ("the writer's token", WRITER),
        ("the token for the backend", UPSTREAM),
        ("the secret id", SECRET_ID),
        ("a value of the backend", VALUE),
        ("a local value", WRITTEN),
        ("a guess", GUESSED),
    ]);
    let pid = world.proxy.pid();
    let of_process = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    for (id, place, content) in [
        ("L02", "stderr", world.proxy.stderr().into_bytes()),
        ("L02", "stdout", world.proxy.stdout().into_bytes()),
        ("L01", "the trail", std::fs::read(world.proxy.dir().join("audit/audit.jsonl")).unwrap()),
        ("L01", "metrics", world.proxy.page("/metrics").body),
        ("L07", "its arguments", of_process("cmdline")),
        ("L07", "its environment", of_process("environ")),
    ] {
        let looked = std::panic::catch_unwind(|| canaries.are_not_in(place, &content));
        score.check(id, place, looked.is_ok());
    }
    let limits = String::from_utf8_lossy(&of_process("limits")).into_owned();
    let core: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    score.count("L06", "no core file", (core.get(4..6) != Some(&["0", "0"][..])).then(|| format!("{core:?}")));
    let open = std::fs::read_dir(world.proxy.dir()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = open.filter(|name| name.to_string_lossy().contains("core")).collect();
    score.count("L10", "no crash files", (!left.is_empty()).then(|| format!("{left:?}")));
}
