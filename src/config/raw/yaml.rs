//! YAML text to a tree. JSON is YAML.
//!
//! Reads the parser's events, not serde values: keys keep their order and their lines, all duplicate keys are found at
//! once, and a plain scalar keeps its text. Tags, directives, merge keys (an unknown key like any other) and a second
//! document are refused. Aliases are copied, within one budget for the whole tree, so a small file cannot become a large
//! one.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle};

use super::node::{Entry, Node, Scalar, Value};
use super::scope::{Scope, child};

/// The largest configuration, in bytes.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_NODES: usize = 250_000;
const MAX_DEPTH: usize = 24;

/// The tree of the one document in `text`, or `None` with the reason reported. Duplicate keys and tags are reported and
/// skipped, so that the rest can be checked as well.
pub(crate) fn parse(text: &str, scope: &Scope) -> Option<Node> {
    if text.len() > MAX_BYTES {
        scope.refuse("", None, format!("is larger than {MAX_BYTES} bytes"));
        return None;
    }
    let options = granit_parser::options! { disallow_directives: true, emit_comments: false };
    let mut tree = Tree { scope, stack: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0, documents: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        let refused = match event {
            Ok((event, span)) => {
                let line = line(span.start.line());
                tree.take(event, line).err().map(|message| (line, message.to_owned()))
            }
            Err(error) => Some((line(error.marker().line()), format!("is not YAML: {}", reason(error.kind())))),
        };
        if let Some((line, message)) = refused {
            scope.refuse(&tree.path(), Some(line), message);
            return None;
        }
    }
    if tree.root.is_none() {
        scope.refuse("", None, "is empty");
    }
    tree.root
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The parser's words; the one that shows a character of the file is replaced.
fn reason(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::UnexpectedCharacter { .. } => "unexpected character".to_owned(),
        kind => kind.to_string(),
    }
}

/// What stands open while the events come in.
struct Tree<'s> {
    scope: &'s Scope,
    stack: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
}

struct Open {
    line: u32,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Mapping),
}

#[derive(Default)]
struct Mapping {
    entries: Vec<Entry>,
    lines: HashMap<String, u32>,
    pending: Option<Pending>,
}

/// A key whose value has not come yet.
struct Pending {
    name: String,
    line: u32,
    duplicate: bool,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, line: u32) -> Result<(), &'static str> {
        if event.tag().is_some() {
            self.scope.refuse(&self.path(), Some(line), "YAML tags (`!name`) are not used here");
        }
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(..) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    Err("a second document begins; a configuration is one document")
                } else {
                    Ok(())
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                self.charge(1)?;
                let scalar = Scalar { text: text.into_owned(), plain: matches!(style, ScalarStyle::Plain) };
                self.place(Node { line, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Open { line, anchor, content: Content::List(Vec::new()) }),
            Event::MappingStart(_, anchor, _) => {
                self.open(Open { line, anchor, content: Content::Map(Mapping::default()) })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor),
            _ => Err("YAML that is not used here"),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), &'static str> {
        self.charge(1)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err("is nested too deeply");
        }
        if let Some(Open { content: Content::Map(Mapping { pending: None, .. }), .. }) = self.stack.last() {
            return Err("a key must be a word, not a list or a mapping");
        }
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let Some(Open { line, anchor, content }) = self.stack.pop() else { return Err("YAML that is not used here") };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map(mapping) => Value::Map(mapping.entries),
        };
        self.place(Node { line, value }, anchor)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), &'static str> {
        let Some(target) = self.anchors.get(&anchor) else { return Err("an alias stands inside what it refers to") };
        let (nodes, depth) = target.extent();
        if self.stack.len().saturating_add(depth) > MAX_DEPTH {
            return Err("is nested too deeply");
        }
        self.charge(nodes)?;
        match self.anchors.get(&anchor).cloned() {
            Some(copy) => self.place(copy, 0),
            None => Ok(()),
        }
    }

    /// Puts a finished node where it belongs: the root, an item, a key or a key's value.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), &'static str> {
        if anchor != 0 {
            self.charge(node.extent().0)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(mapping)) => match mapping.pending.take() {
                Some(Pending { duplicate: true, .. }) => {}
                Some(Pending { name, line, .. }) => mapping.entries.push(Entry { name, line, node }),
                None => return self.key(node),
            },
        }
        Ok(())
    }

    fn key(&mut self, node: Node) -> Result<(), &'static str> {
        let Value::Scalar(Scalar { text: name, .. }) = node.value else {
            return Err("a key must be a word, not a list or a mapping");
        };
        let parent = self.path();
        let Some(Open { content: Content::Map(mapping), .. }) = self.stack.last_mut() else { return Ok(()) };
        let first = mapping.lines.get(&name).copied();
        if let Some(first) = first {
            let message = format!("duplicate key; the first is on line {first}");
            self.scope.refuse(&child(&parent, &name), Some(node.line), message);
        } else {
            mapping.lines.insert(name.clone(), node.line);
        }
        mapping.pending = Some(Pending { name, line: node.line, duplicate: first.is_some() });
        Ok(())
    }

    fn charge(&mut self, nodes: usize) -> Result<(), &'static str> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err("is too large once aliases are expanded") } else { Ok(()) }
    }

    /// The key path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match &open.content {
                Content::List(items) => path = format!("{path}[{}]", items.len()),
                Content::Map(Mapping { pending: Some(pending), .. }) => path = child(&path, &pending.name),
                Content::Map(_) => {}
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let scope = Scope::new(Path::new("/"));
        let _ = parse(text, &scope);
        scope.conclude().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn tree(text: &str) -> Node {
        let scope = Scope::new(Path::new("/"));
        let node = parse(text, &scope).unwrap();
        assert!(scope.conclude().is_ok());
        node
    }

    #[test]
    fn keys_keep_their_order_and_their_lines() {
        let Value::Map(entries) = tree("b: 1\na: {z: x, y: x}\n\"c\": [1,\n 2]\n").value else { panic!() };
        let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.line)).collect();
        assert_eq!(names, [("b", 1), ("a", 2), ("c", 3)]);
    }

    #[test]
    fn json_is_read_with_its_escapes() {
        let Value::Map(entries) = tree("{\n\t\"a\": \"\\/x \\ud83d\\ude00\",\t\"b\":[true,null]}").value else {
            panic!()
        };
        let Some(Value::Scalar(scalar)) = entries.first().map(|entry| &entry.node.value) else { panic!() };
        assert_eq!(scalar.text, "/x 😀");
    }

    #[test]
    fn o05_every_duplicate_key_is_found_at_once_with_path_and_line() {
        let text = "a: 1\nb:\n  - {x: 1, x: 2}\na: 3\nc: {d: {e: 1, \"e\": {f: 1, f: 2}}}\n";
        assert_eq!(
            problems(text),
            [
                "b[0].x (line 3): duplicate key; the first is on line 3",
                "a (line 4): duplicate key; the first is on line 1",
                "c.d.e (line 5): duplicate key; the first is on line 5",
                "c.d.e.f (line 5): duplicate key; the first is on line 5",
            ]
        );
    }

    #[test]
    fn aliases_copy_what_they_refer_to() {
        let Value::Map(entries) = tree("a: &t {k: v}\nb: *t\n").value else { panic!() };
        let Some(Value::Map(copy)) = entries.last().map(|entry| &entry.node.value) else { panic!() };
        assert_eq!(copy.first().map(|entry| entry.name.as_str()), Some("k"));
    }

    #[test]
    fn alias_bombs_are_refused_without_being_built() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..16 {
            let last = level - 1;
            text.push_str(&format!("a{level}: &a{level} [*a{last},*a{last},*a{last},*a{last},*a{last},*a{last}]\n"));
        }
        let found = problems(&text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("is too large once aliases are expanded"), "{found:?}");

        let mut deep = "a0: &a0 [x]\n".to_owned();
        for level in 1..40 {
            deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(problems(&deep)[0].contains("nested too deeply"));
        assert!(problems("a: &a [*a]\n")[0].contains("inside what it refers to"));
    }

    #[test]
    fn yaml_that_hides_meaning_is_refused() {
        for (text, part) in [
            ("", "is empty"),
            ("# nothing\n", "is empty"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("%YAML 1.2\n---\na: 1\n", "not YAML"),
            ("a: !!str 1\n", "tags"),
            ("a: !secret x\n", "tags"),
            ("? [a]\n: 1\n", "a key must be a word"),
            ("a: *nowhere\n", "not YAML"),
            ("a: [1\n", "not YAML"),
            (&format!("{}1{}", "[".repeat(60), "]".repeat(60)), "nested too deeply"),
            (&format!("a: {}", "x".repeat(MAX_BYTES)), "larger than"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:?}");
        }
    }
}
