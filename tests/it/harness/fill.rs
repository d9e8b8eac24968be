//! The placeholders of a test's configuration: `{dir}` and a name for every port.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux gives to outgoing connections, so that no client takes a port between our look and the binding.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

static TRIED: AtomicU16 = AtomicU16::new(0);

/// Replaces `{dir}` and every `{name}` (lower case, digits, `_`); a name not seen before gets a free loopback port.
/// `{{name}}` stands for the text `{name}`.
pub(super) fn fill(text: &str, dir: &str, ports: &mut BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, after)) = placeholder(rest, "{{", "}}") {
            out.push_str(&format!("{{{name}}}"));
            rest = after;
        } else if let Some((name, after)) = placeholder(rest, "{", "}") {
            match name {
                "dir" => out.push_str(dir),
                name => out.push_str(ports.entry(name.to_owned()).or_insert_with(free_address)),
            }
            rest = after;
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out + rest
}

fn placeholder<'t>(text: &'t str, open: &str, close: &str) -> Option<(&'t str, &'t str)> {
    let (name, after) = text.strip_prefix(open)?.split_once(close)?;
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_name.then_some((name, after))
}

/// A loopback address nobody listens on, and that no other test of this process was told.
pub(super) fn free_address() -> String {
    let span = PORTS.end - PORTS.start;
    // another start for every process, so that two runs on one machine do not meet
    let offset = u16::try_from(std::process::id() % 1_000).unwrap() * 20;
    for _ in 0..span {
        let step = TRIED.fetch_add(1, Ordering::Relaxed) % span;
        let port = PORTS.start + (offset + step) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
    panic!("no free port between {} and {}", PORTS.start, PORTS.end);
}

#[test]
fn placeholders_are_filled_and_flow_mappings_are_left_alone() {
    let mut ports = BTreeMap::new();
    let text = "a: {dir}/x, {vault} {kv: 2} {{sub}} {vault} {} {A}";
    let filled = fill(text, "/d", &mut ports);
    let vault = &ports["vault"];
    assert_eq!(filled, format!("a: /d/x, {vault} {{kv: 2}} {{sub}} {vault} {{}} {{A}}"));
    assert_ne!(free_address(), free_address());
}
