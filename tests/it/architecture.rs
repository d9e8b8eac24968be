//! The house rules that a compiler does not check: who imports whom, who sees values, who speaks pingora, how long a file is.
//!
//! Reads the sources as text, without comments and without their unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// `ARCHITECTURE.md` §1: what a room may import. `*` is everything.
const TABLE: [(&str, &str); 20] = [
    ("secret", "error clock"),
    ("error", "secret clock"),
    ("clock", "secret error"),
    ("mapping", "secret error"),
    ("policy", "secret identity error"),
    ("seal", "secret error clock"),
    ("store", "secret error clock seal"),
    ("backend", "secret error clock"),
    ("identity", "secret error clock"),
    ("audit", "secret identity policy mapping error clock"),
    ("wire", "secret backend identity audit seal error"),
    ("events", "secret error clock backend"),
    ("sync", "secret error clock mapping policy seal store backend identity audit events telemetry"),
    ("pipeline", "secret error clock mapping policy seal store backend identity audit wire sync events"),
    ("listener", "wire pipeline secret error clock"),
    ("config", "secret error"),
    ("telemetry", "secret error"),
    ("api", "error"),
    ("app", "*"),
    ("cli", "*"),
];

/// What a room imports beyond its row, and why it may.
const EXTRAS: [(&str, &str, &str); 8] = [
    ("policy", "clock", "the context of a decision holds the time"),
    ("seal", "store", "records are sealed on their way into the store and opened on their way out"),
    ("wire", "clock", "times of versions and tokens are rendered"),
    ("wire", "api", "our own wire hands out its description"),
    ("pipeline", "telemetry", "every request is counted where its outcome is known"),
    ("listener", "telemetry", "the admin listener renders the metrics"),
    ("listener", "audit", "readiness asks whether the trail takes lines"),
    ("listener", "identity", "a verified client certificate becomes the peer's names"),
];

const FORBIDDEN_NAMES: [&str; 8] = ["utils", "common", "helpers", "misc", "types", "constants", "prelude", "manager"];
const MAX_LINES: usize = 600;
const MAY_EXPOSE: [&str; 7] = [
    "src/wire/",
    "src/seal/",
    "src/backend/",
    "src/secret/value.rs",
    "src/secret/wrap.rs",
    "src/sync/",
    "src/events/sign.rs",
];
const MAY_SPEAK_PINGORA: [&str; 3] = ["src/listener/", "src/app/", "src/app.rs"];
const MAY_BE_UNSAFE: &str = "src/seal/locked.rs";

/// A source file: its path from the crate's root and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room it belongs to; `None` for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let room = below.split('/').next()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        (!matches!(room, "lib" | "main")).then_some(room)
    }

    /// Whether it is compiled for unit tests only.
    fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.contains(&"tests") || parts.ends_with(&["tests.rs"]) || self.path == "src/config/harness.rs"
    }

    /// Its code: without comments, and without the tests at its end.
    fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        self.text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}

fn sources(under: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(under)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(!found.is_empty(), "{under} holds no source");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The code that ships.
fn shipped() -> Vec<Source> {
    sources("src").into_iter().filter(|source| !source.is_test()).collect()
}

/// Every `crate::room` in the code, single or in braces, with what follows the room.
fn imports(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_part = code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '$'));
        if is_part {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(named(rest)),
            Some(list) => found.extend(top_level(list).into_iter().map(|item| named(item.trim()))),
        }
    }
    found
}

fn named(text: &str) -> (String, String) {
    let end = text.find(|next: char| !(next.is_alphanumeric() || next == '_')).unwrap_or(text.len());
    (text[..end].to_owned(), text[end..].chars().take(60).collect())
}

/// The items of a list in braces, split where no inner brace is open.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0_usize, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.into_iter().filter(|item| !item.trim().is_empty()).collect()
}

/// `name` as a word of its own.
fn mentions(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(is_word) && !code[at + name.len()..].starts_with(is_word))
}

fn is_under(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| if place.ends_with('/') { path.starts_with(place) } else { path == *place })
}

#[test]
fn rooms_import_only_what_their_row_of_the_table_says() {
    let table: BTreeMap<&str, BTreeSet<&str>> =
        TABLE.iter().map(|(room, allowed)| (*room, allowed.split(' ').collect())).collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in shipped() {
        let Some(room) = source.room() else { continue };
        let Some(allowed) = table.get(room) else {
            wrong.push(format!("{}: room `{room}` has no row in the table", source.path));
            continue;
        };
        for (imported, _) in imports(&source.code()) {
            if imported == room || allowed.contains("*") || allowed.contains(imported.as_str()) {
                continue;
            }
            match EXTRAS.iter().find(|(from, to, _)| *from == room && *to == imported) {
                Some((from, to, _)) => drop(used.insert((*from, *to))),
                None => wrong.push(format!("{}: `{room}` must not import `{imported}`", source.path)),
            }
        }
    }
    for (from, to, why) in EXTRAS {
        if !used.contains(&(from, to)) {
            wrong.push(format!("the extra `{from}` -> `{to}` ({why}) is not used any more: remove it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wires_know_nothing_of_the_trail_but_what_may_be_disclosed() {
    for source in shipped().iter().filter(|source| source.room() == Some("wire")) {
        for (room, rest) in imports(&source.code()) {
            let fits = match room.as_str() {
                "audit" => rest.starts_with("::Disclosure"),
                "seal" => {
                    ["::KeyProvider", "::{KeyProvider, SealError, Wrapped}"].iter().any(|part| rest.starts_with(part))
                }
                _ => true,
            };
            assert!(fits, "{}: crate::{room}{rest}", source.path);
        }
    }
}

#[test]
fn only_the_listener_and_the_composition_root_speak_pingora() {
    for source in shipped() {
        if is_under(&source.path, &MAY_SPEAK_PINGORA) {
            continue;
        }
        let code = source.code();
        for name in ["pingora_core", "pingora_http", "pingora"] {
            assert!(!mentions(&code, name), "{} mentions {name}", source.path);
        }
    }
}

#[test]
fn values_are_exposed_where_they_are_encoded_sealed_or_stored_and_nowhere_else() {
    let exposing: Vec<String> =
        shipped().into_iter().filter(|source| source.code().contains(".expose()")).map(|source| source.path).collect();
    let wrong: Vec<&String> = exposing.iter().filter(|path| !is_under(path, &MAY_EXPOSE)).collect();
    assert!(wrong.is_empty(), "these must not read the bytes of a secret: {wrong:?}");
    assert!(!exposing.is_empty(), "the method was renamed: this test looks for the wrong thing");
}

#[test]
fn unsafe_code_is_in_one_file() {
    let with: Vec<String> = sources("src")
        .into_iter()
        .filter(|source| mentions(&source.code(), "unsafe"))
        .map(|source| source.path)
        .collect();
    assert_eq!(with, [MAY_BE_UNSAFE]);
}

#[test]
fn no_file_is_named_after_what_it_is_not() {
    for source in sources("src").into_iter().chain(sources("tests")) {
        let parts = source.path.trim_end_matches(".rs").split('/');
        let bad: Vec<&str> = parts.filter(|part| FORBIDDEN_NAMES.contains(part)).collect();
        assert!(bad.is_empty(), "{}: a helper lives with its caller, not in `{}`", source.path, bad.join("/"));
    }
}

#[test]
fn no_file_is_longer_than_anyone_reads() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "split by operation or state, {MAX_LINES} lines at most:\n{}", wrong.join("\n"));
}

#[test]
fn integration_tests_wait_for_what_they_mean() {
    let needle = concat!("sleep", "(");
    for source in sources("tests") {
        assert!(!source.code().contains(needle), "{}: wait for what is meant, with a deadline", source.path);
    }
}

#[test]
fn imports_are_read_in_every_form_they_are_written_in() {
    let code =
        "use crate::wire::Fault;\nuse crate::{audit::{Note, X}, error};\nfn f() -> crate::secret::Mode { $crate::no }";
    let rooms: Vec<String> = imports(code).into_iter().map(|(room, _)| room).collect();
    assert_eq!(rooms, ["wire", "audit", "error", "secret"]);
    assert!(mentions("unsafe fn", "unsafe") && !mentions("unsafe_code", "unsafe"));
}
