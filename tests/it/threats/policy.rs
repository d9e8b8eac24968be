//! Group G: policy, globs and mapping order, as a client meets them.

use std::path::Path;

use scaivault_proxy::config::compile_text;
use scaivault_proxy::mapping::{RuleSpec, Side, Table};

use super::case::{Case, bad, denied, good, no_name, read, scaivault, vault, with_token};
use super::fake::HIDDEN;
use super::runner::Score;
use super::world::{ADMIN, CASED, DELETER, DESCRIBER, LISTER, NOBODY, PLAIN, VALUER, WRITER, World};
use crate::harness::Proxy;

pub(super) fn cases() -> Vec<Case> {
    let mut all = decisions();
    all.extend(listings());
    all.extend(sub_paths());
    all
}

fn get(token: &str, target: &str) -> Vec<u8> {
    with_token(token, "GET", target, &[], b"")
}

fn decisions() -> Vec<Case> {
    let mut all = vec![
        denied("G01", "no rule matches", get(NOBODY, "/v1/secret/data/app/db")),
        denied("G01", "no rule matches, another wire", {
            let bearer = format!("Bearer {NOBODY}");
            super::case::bytes("GET", b"/v1/secrets/app/db", &[("Authorization", &bearer)], b"")
        })
        .on(PLAIN),
        good("G04", "below the folder", get(VALUER, "/v1/secret/data/app/foo/x")).reaches("/v1/secret/data/app/foo/x"),
        denied("G04", "a longer name", get(VALUER, "/v1/secret/data/app/foobar")),
        denied("G04", "a longer folder", get(VALUER, "/v1/secret/data/app/foobar/x")),
        denied("G04", "a secret of the folder's name", get(VALUER, "/v1/secret/data/app/foo")),
        good("G05", "one segment", read("/v1/secret/data/single/a")).reaches("/v1/secret/data/single/a"),
        denied("G05", "two segments", read("/v1/secret/data/single/a/b")),
        denied("G05", "no segment", read("/v1/secret/data/single")),
        good("G09", "the first rule", read("/v1/secret/data/app/ord/special")).reaches("/v1/secret/data/first"),
        good("G09", "the second rule", read("/v1/secret/data/app/ord/other")).reaches("/v1/secret/data/ord/other"),
        good("G09", "the third rule", read("/v1/secret/data/app/ord/x/y")).reaches("/v1/secret/data/app/ord/x/y"),
        denied("G15", "a version 1 path on version 2", read("/v1/secret/app/db")),
        // no marker is guessed from what a client names: the backend is asked for exactly that, and has no such thing
        bad("G15", "a version 2 path on version 1", read("/v1/kv1/data/app"))
            .status(&[404])
            .audit(&["not_found"])
            .reaches("/v1/kv1/data/app"),
        denied("G16", "a group in another case", get(CASED, "/v1/secret/data/app/db")),
        denied("G22", "climbing by dots", read("/v1/secret/data/app/..%2f..%2fsys"))
            .status(&[400])
            .audit(&["malformed"]),
    ];
    for name in ["*", "%2a", "**", "db*", "[a]", "{a}", "%7ba%7d", "d+b", "a|b", "%3f"] {
        all.push(no_name("G06", name, read(format!("/v1/secret/data/app/{name}"))));
    }
    all
}

/// The seven cases of GHSA-xp3c-3jw3-4vcr: list is allowed on `app`, forbidden on `app/private` and below.
fn listings() -> Vec<Case> {
    let mut all = Vec::new();
    for folder in ["app/private", "app/private/", "app/private/deep", "app/private/deep/"] {
        let target = format!("/v1/secret/metadata/{folder}");
        all.push(denied("G10", format!("LIST {folder}"), vault("LIST", &target, &[], b"")));
        for flag in ["list=true", "list=1", "list=T", "list=True", "list", "scan=true"] {
            let case = denied("G10", format!("GET {folder}?{flag}"), read(format!("{target}?{flag}")));
            // a flag without a value is no boolean on this wire
            all.push(if flag == "list" { case.status(&[400, 403]).audit(&["malformed", "denied"]) } else { case });
        }
        all.push(denied("G10", format!("SCAN {folder}"), vault("SCAN", &target, &[], b"")));
    }
    all.push(
        denied("G10", "by the other wire", scaivault("GET", "/v1/secrets/app/private?list=true", &[], b"")).on(PLAIN),
    );
    all.push(
        denied("G10", "by the other wire", scaivault("GET", "/v1/secrets/app/private/?list=true", &[], b"")).on(PLAIN),
    );
    for (note, send) in [
        ("LIST of the parent", vault("LIST", "/v1/secret/metadata/app", &[], b"")),
        ("LIST of the parent, slash", vault("LIST", "/v1/secret/metadata/app/", &[], b"")),
        ("SCAN of the parent", vault("SCAN", "/v1/secret/metadata/app", &[], b"")),
        ("?scan=true of the parent", read("/v1/secret/metadata/app/?scan=true")),
    ] {
        all.push(good("G10", note, send).freely().present("pub/").absent(HIDDEN));
    }
    let list = |query: &str| with_token(LISTER, "LIST", format!("/v1/secret/metadata/app/pub?{query}"), &[], b"");
    all.push(good("G11", "names without values", list("")).freely().present("\"one\""));
    all.push(denied("G11", "values of listed names", get(LISTER, "/v1/secret/data/app/db")));
    all.push(denied("G11", "metadata of listed names", get(LISTER, "/v1/secret/metadata/app/db")));
    all.push(good("G11", "limit=1", list("limit=1")).freely().present("\"one\"").absent("\"two\""));
    all.push(good("G11", "limit=0 is no limit", list("limit=0")).freely().present("\"two\""));
    all.push(good("G11", "a negative limit is none", list("limit=-1")).freely().present("\"two\""));
    all.push(good("G11", "after a name", list("after=one")).freely().present("\"two\"").absent("\"one\""));
    all.push(bad("G11", "a limit that is no number", list("limit=x")));
    all.push(bad("G11", "a limit past all numbers", list("limit=99999999999999999999")));
    for query in ["limit=0", "limit=-1", "limit=x", "cursor=AAAA", "cursor=../../x"] {
        let send = scaivault("GET", format!("/v1/secrets/app/pub?list=true&{query}"), &[], b"");
        all.push(bad("G11", format!("scaivault: {query}"), send).on(PLAIN));
    }
    // `app` is a folder and nothing else: `app/**` can mean the secret `app`, but the backend has none
    let root = scaivault("GET", "/v1/secrets/?list=true", &[], b"");
    let root = String::from_utf8(root).unwrap().replace(super::world::READER, ADMIN).into_bytes();
    all.push(good("G11", "a list names what is there", root).on(PLAIN).freely().present("\"app/\"").absent("\"app\""));
    all
}

/// G12: every sub-path is its own operation.
fn sub_paths() -> Vec<Case> {
    let post = |token: &str, target: &str, body: &str| with_token(token, "POST", target, &[], body.as_bytes());
    let versions = r#"{"versions":[1]}"#;
    let data = r#"{"data":{"a":"b"}}"#;
    let delete = |token: &str, target: &str| with_token(token, "DELETE", target, &[], b"");
    vec![
        good("G12", "describe reads metadata", get(DESCRIBER, "/v1/secret/metadata/app/db"))
            .reaches("/v1/secret/metadata/app/db"),
        good("G12", "describe reads subkeys", get(DESCRIBER, "/v1/secret/subkeys/app/db"))
            .reaches("/v1/secret/subkeys/app/db?depth=0"),
        denied("G12", "describe is not read", get(DESCRIBER, "/v1/secret/data/app/db")),
        denied("G12", "describe is not list", with_token(DESCRIBER, "LIST", "/v1/secret/metadata/app", &[], b"")),
        denied("G12", "read is not describe", get(VALUER, "/v1/secret/metadata/app/foo/x")),
        denied("G12", "read is not subkeys", get(VALUER, "/v1/secret/subkeys/app/foo/x")),
        denied("G12", "read is not list", with_token(VALUER, "LIST", "/v1/secret/metadata/app/foo", &[], b"")),
        good("G12", "write writes", post(WRITER, "/v1/secret/data/scratch/g12", data)),
        denied("G12", "write is not read", get(WRITER, "/v1/secret/data/scratch/g12")),
        denied("G12", "write is not delete", delete(WRITER, "/v1/secret/data/scratch/g12")),
        denied("G12", "write is not delete of versions", post(WRITER, "/v1/secret/delete/scratch/g12", versions)),
        denied("G12", "write is not destroy", post(WRITER, "/v1/secret/destroy/scratch/g12", versions)),
        denied("G12", "write is not purge", delete(WRITER, "/v1/secret/metadata/scratch/g12")),
        good("G12", "delete deletes versions", post(DELETER, "/v1/secret/delete/scratch/g12", versions)).status(&[204]),
        denied("G12", "delete is not undelete", post(DELETER, "/v1/secret/undelete/scratch/g12", versions)),
        good("G12", "write undeletes", post(WRITER, "/v1/secret/undelete/scratch/g12", versions)).status(&[204]),
        denied("G12", "delete is not destroy", post(DELETER, "/v1/secret/destroy/scratch/g12", versions)),
        denied("G12", "delete is not purge", delete(DELETER, "/v1/secret/metadata/scratch/g12")),
        denied("G12", "delete is not write", post(DELETER, "/v1/secret/data/scratch/g12", data)),
        denied("G12", "delete is not metadata", post(DELETER, "/v1/secret/metadata/scratch/g12", "{}")),
        bad("G12", "destroy by GET", get(ADMIN, "/v1/secret/destroy/scratch/g12"))
            .status(&[405])
            .audit(&["unsupported"]),
        bad("G12", "LIST of data", with_token(ADMIN, "LIST", "/v1/secret/data/scratch", &[], b""))
            .status(&[405])
            .audit(&["unsupported"]),
        denied("G12", "an unknown area", get(ADMIN, "/v1/secret/detailed-metadata/scratch/g12")),
        // proxied paths are read-only whatever the area, and the backend does not hear of it
        denied("G12", "write to a proxied path", post(ADMIN, "/v1/secret/data/app/db", data)).audit(&["read_only"]),
        denied("G12", "delete of a proxied path", delete(ADMIN, "/v1/secret/data/app/db")).audit(&["read_only"]),
        denied("G12", "destroy of a proxied path", post(ADMIN, "/v1/secret/destroy/app/db", versions))
            .audit(&["read_only"]),
        denied("G12", "purge of a proxied path", delete(ADMIN, "/v1/secret/metadata/app/db")).audit(&["read_only"]),
        denied("G12", "what may not be written anyway", post(DESCRIBER, "/v1/secret/data/app/db", data)),
    ]
}

/// What is refused before a process serves anything.
pub(super) fn at_compile_time(score: &mut Score) {
    let listener = "version: 1\nlisteners: [{wire: vault}]\n";
    score.check(
        "G17",
        "an ordinary name",
        compile_text(&format!("{listener}tenants: {{team: {{}}}}\n"), Path::new("/")).is_ok(),
    );
    for name in ["''", "'..'", "'root'", "'*'", "'a/b'", "'\u{e9}'", "A", &"a".repeat(256 << 10)] {
        let text = format!("{listener}tenants: {{{name}: {{}}}}\n");
        let refused = compile_text(&text, Path::new("/")).is_err();
        score.check("G17", &name.chars().take(12).collect::<String>(), refused);
    }
    for to in
        ["../**", "secret/data/../**", "/etc/**", "secret//**", "./**", "secret/\u{0}/**", "secret/**/..", "**/**"]
    {
        let spec = RuleSpec { from: "a/**".to_owned(), to: to.to_owned(), ..RuleSpec::default() };
        score.check("G22", &to.escape_debug().to_string(), Table::compile(&[spec], Side::To).is_err());
    }
    let spec = RuleSpec { from: "a/**".to_owned(), to: "secret/data/**".to_owned(), ..RuleSpec::default() };
    let table = Table::compile(&[spec], Side::To).unwrap();
    for name in ["a/../b", "a/..", "a/./b", "a//b", "a/", "a/\\..\\b", "a/%2e%2e/b"] {
        score.check("G22", name, table.forward(name).is_none());
    }
}

/// G02: no policy is no permission, and a policy that cannot be read or understood is no process.
pub(super) fn without_policies(score: &mut Score) {
    let empty = World::start_without_policies();
    for (method, target) in [
        ("GET", "/v1/secret/data/app/db"),
        ("LIST", "/v1/secret/metadata/app"),
        ("GET", "/v1/secret/data/scratch/x"),
        ("DELETE", "/v1/secret/data/scratch/x"),
    ] {
        let answer = empty.proxy.vault_call(ADMIN, method, target, b"");
        let denied = answer.status == 403 && empty.fake.seen().is_empty();
        score.check("G02", &format!("an empty policy: {method} {target}"), denied);
    }
    let half = "@id(\"a\") permit (principal, action, resource";
    let unknown = "@id(\"a\") permit (principal, action == Action::\"fly\", resource);";
    let twice = "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);";
    let nameless = "permit (principal, action, resource);";
    for (note, text) in [("half", half), ("unknown action", unknown), ("an id twice", twice), ("no id", nameless)] {
        let started = Proxy::builder().file("policies.cedar", text).try_start();
        let named = started.as_ref().err().is_some_and(|ended| ended.stderr.contains("policies"));
        score.check("G02", note, started.is_err() && named);
    }
    let missing = crate::harness::BASIC.replace("policies.cedar", "absent.cedar");
    let started = Proxy::builder().config(&missing).try_start();
    score.check("G02", "a policy file that is not there", started.is_err());
}
