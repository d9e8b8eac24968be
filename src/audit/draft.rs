//! The lines of one call before they enter a chain: formatted once, on the caller's thread, for all sinks.

use std::cell::Cell;
use std::net::IpAddr;

use super::id::RequestId;
use crate::clock::Timestamp;

/// More than this is given back after a call with many lines.
const KEPT_BYTES: usize = 64 << 10;

/// One or more line bodies in one buffer: all fields but `time`, `instance`, `seq`, `prev` and `mac`.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) time: Timestamp,
    pub(super) text: String,
    pub(super) cuts: Vec<Cut>,
}

/// Where a body ends, and where its `ok` stands should the caller be told otherwise.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) len: usize,
    /// Offset in the body of the outcome's `ok`; `None` if the outcome is another or there is none.
    pub(super) ok_at: Option<usize>,
}

thread_local! {
    static SCRATCH: Cell<Option<Draft>> = const { Cell::new(None) };
}

impl Draft {
    /// Lends the thread's buffer, empty, for lines of this time.
    pub(super) fn with<R>(time: Timestamp, work: impl FnOnce(&mut Self) -> R) -> R {
        let mut draft = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
        draft.time = time;
        draft.text.clear();
        draft.cuts.clear();
        let result = work(&mut draft);
        if draft.text.capacity() <= KEPT_BYTES {
            // Without a thread-local any more, the buffer is simply dropped.
            let _kept = SCRATCH.try_with(|scratch| scratch.set(Some(draft)));
        }
        result
    }

    /// Appends one body. `write` says where in the whole text the outcome's `ok` begins.
    pub(super) fn line(&mut self, write: impl FnOnce(&mut Fields<'_>) -> Option<usize>) {
        let start = self.text.len();
        let mut fields = Fields { out: &mut self.text, first: true };
        fields.id("id", RequestId::at(self.time));
        let ok_at = write(&mut fields).and_then(|at| at.checked_sub(start));
        self.cuts.push(Cut { len: self.text.len() - start, ok_at });
    }
}

/// Writes the fields of one JSON object, without its braces.
pub(super) struct Fields<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(out: &'a mut String) -> Self {
        Self { out, first: true }
    }

    fn key(&mut self, name: &str) {
        self.out.push_str(if self.first { "\"" } else { ",\"" });
        self.first = false;
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// A word of ours: no character in it needs escaping. Returns where in the whole text it begins.
    pub(super) fn word(&mut self, name: &str, word: &str) -> usize {
        self.key(name);
        self.out.push('"');
        let at = self.out.len();
        self.out.push_str(word);
        self.out.push('"');
        at
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        self.out.push('"');
        escape(text, self.out);
        self.out.push('"');
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[Box<str>]) {
        self.key(name);
        let mut before = "[\"";
        for text in texts {
            self.out.push_str(before);
            escape(text, self.out);
            before = "\",\"";
        }
        self.out.push_str(if texts.is_empty() { "[]" } else { "\"]" });
    }

    /// A path and what follows it, as one text.
    pub(super) fn folder(&mut self, name: &str, folder: &str) {
        self.key(name);
        self.out.push('"');
        escape(folder, self.out);
        self.out.push_str("/\"");
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.key(name);
        self.out.push_str(itoa::Buffer::new().format(number));
    }

    pub(super) fn flag(&mut self, name: &str) {
        self.key(name);
        self.out.push_str("true");
    }

    pub(super) fn id(&mut self, name: &str, id: RequestId) {
        self.key(name);
        self.out.push('"');
        id.write(self.out);
        self.out.push('"');
    }

    /// Two numbers with a slash: `2/0`.
    pub(super) fn pair(&mut self, name: &str, left: u32, right: u32) {
        self.key(name);
        self.out.push('"');
        self.out.push_str(itoa::Buffer::new().format(left));
        self.out.push('/');
        self.out.push_str(itoa::Buffer::new().format(right));
        self.out.push('"');
    }

    pub(super) fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        self.out.push('"');
        for byte in bytes {
            self.out.push(char::from(hex_digit(byte >> 4)));
            self.out.push(char::from(hex_digit(byte & 15)));
        }
        self.out.push('"');
    }

    pub(super) fn address(&mut self, name: &str, address: IpAddr) {
        self.key(name);
        self.out.push('"');
        match address {
            IpAddr::V4(v4) => {
                let mut before = "";
                for octet in v4.octets() {
                    self.out.push_str(before);
                    self.out.push_str(itoa::Buffer::new().format(octet));
                    before = ".";
                }
            }
            IpAddr::V6(v6) => self.out.push_str(&v6.to_string()),
        }
        self.out.push('"');
    }
}

/// The lower-case digit of a value below 16.
pub(super) const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

/// Appends `text` so that it stays on one line, moves no terminal and reads back equal from JSON.
fn escape(text: &str, out: &mut String) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if is_unseen(other) => escape_units(other, out),
            other => out.push(other),
        }
    }
}

/// Controls, and what separates lines, joins or reorders characters without showing.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}

fn escape_units(character: char, out: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        for byte in unit.to_be_bytes() {
            out.push(char::from(hex_digit(byte >> 4)));
            out.push(char::from(hex_digit(byte & 15)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(write: impl FnOnce(&mut Fields<'_>)) -> String {
        let mut text = String::from("{");
        write(&mut Fields::new(&mut text));
        text.push('}');
        text
    }

    #[test]
    fn a07_hostile_text_is_one_escaped_line() {
        let hostile = "a\nb\r\u{2028}\u{2029}\u{1b}[31m\0\"}{\"\\ \u{7f}\u{85}\u{202e}\u{feff}\t\u{e0041}é";
        let line = object(|fields| fields.text("path", hostile));
        assert!(!line.chars().any(is_unseen), "{line}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back, serde_json::json!({ "path": hostile }));
    }

    #[test]
    fn every_kind_of_field_reads_back() {
        let line = object(|fields| {
            fields.word("word", "read");
            fields.texts("none", &[]);
            fields.texts("two", &["a\"".into(), "b".into()]);
            fields.folder("root", "");
            fields.number("number", u64::MAX);
            fields.flag("flag");
            fields.pair("rule", 2, 10);
            fields.hex("hex", &[0, 0xaf, 0xff]);
            fields.address("four", "10.0.255.1".parse().unwrap());
            fields.address("six", "2001:db8::1".parse().unwrap());
        });
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "word": "read", "none": [], "two": ["a\"", "b"], "root": "/", "number": u64::MAX, "flag": true,
            "rule": "2/10", "hex": "00afff", "four": "10.0.255.1", "six": "2001:db8::1",
        });
        assert_eq!(back, expected);
    }

    #[test]
    fn cuts_say_where_each_body_ends_and_its_ok_begins() {
        Draft::with(Timestamp::from_secs(1), |draft| {
            draft.line(|fields| Some(fields.word("outcome", "ok")));
            draft.line(|fields| {
                fields.word("outcome", "denied");
                None
            });
            let [first, second] = draft.cuts[..] else { panic!("two lines") };
            assert!(draft.text.split_at(first.ok_at.unwrap()).1.starts_with("ok"));
            assert_eq!(second.ok_at, None);
            assert_eq!(first.len + second.len, draft.text.len());
            assert!(draft.text.split_at(first.len).1.starts_with("\"id\":\""));
        });
    }

    proptest! {
        #[test]
        fn a07_any_text_reads_back_equal(text in any::<String>()) {
            let line = object(|fields| fields.text("t", &text));
            prop_assert!(!line.chars().any(is_unseen));
            let back: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(back, serde_json::json!({ "t": text }));
        }
    }
}
