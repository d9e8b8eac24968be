//! One value with its key path, and the types it can be read as.
//!
//! Every read reports what is wrong and yields `None`; callers go on, so that one pass finds everything.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::block::Block;
use super::duration;
use super::node::{Kind, Node, Scalar, Value};
use super::scope::{Reference, Scope, child};
use crate::secret::SecretPath;

/// A value of the file.
pub(crate) struct Item<'a> {
    node: &'a Node,
    key: String,
    line: u32,
    scope: &'a Scope,
}

impl<'a> Item<'a> {
    /// The whole document.
    pub(crate) fn root(node: &'a Node, scope: &'a Scope) -> Self {
        Self::new(node, String::new(), node.line, scope)
    }

    pub(super) fn new(node: &'a Node, key: String, line: u32, scope: &'a Scope) -> Self {
        Self { node, key, line, scope }
    }

    /// The key path.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The line of the key, or of the item in a list.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// Reports an error here.
    pub(crate) fn refuse(&self, message: impl Into<String>) {
        self.scope.refuse(&self.key, Some(self.line), message);
    }

    /// Reports a warning here.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.scope.warn(&self.key, Some(self.line), message);
    }

    fn wrong(&self, expected: &str) {
        self.refuse(format!("expected {expected}, found {}", self.node.kind().describe()));
    }

    fn scalar(&self, kind: Kind) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) if self.node.kind() == kind => Some(scalar),
            _ => None,
        }
    }

    /// Text that is not empty and holds no control character.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let Some(scalar) = self.scalar(Kind::Text) else {
            match self.node.kind() {
                Kind::Bool | Kind::Number => self.refuse("expected a string; put it in quotes"),
                _ => self.wrong("a string"),
            }
            return None;
        };
        if scalar.text.is_empty() {
            self.refuse("is empty");
            return None;
        }
        if scalar.text.chars().any(char::is_control) {
            self.refuse("holds a control character");
            return None;
        }
        Some(&scalar.text)
    }

    /// As [`Self::text`], owned.
    pub(crate) fn string(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// Text that `read` accepts. Its error becomes the message, so it must not hold the text.
    pub(crate) fn parse<T, E: fmt::Display>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(why.to_string());
                None
            }
        }
    }

    /// One word of a closed set. The set is shown when the word is not in it.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let set: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(format!("expected one of: {}", set.join(", ")));
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.scalar(Kind::Bool).map(|scalar| scalar.text.as_str()) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => {
                self.refuse("expected true or false in lower case");
                None
            }
            None => {
                self.wrong("true or false");
                None
            }
        }
    }

    /// A whole decimal number above zero.
    pub(crate) fn count<T: TryFrom<u64>>(&self) -> Option<T> {
        let digits = self.scalar(Kind::Number).map(|scalar| scalar.text.as_str());
        let Some(digits) = digits.filter(|text| text.bytes().all(|b| b.is_ascii_digit())) else {
            self.wrong("a whole number above zero");
            return None;
        };
        if digits.starts_with('0') {
            self.refuse("must be a whole number above zero, without leading zeros");
            return None;
        }
        let count = digits.parse::<u64>().ok().and_then(|count| T::try_from(count).ok());
        if count.is_none() {
            self.refuse("is too large");
        }
        count
    }

    /// A duration longer than zero.
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.parse(duration::parse)
    }

    /// A file or directory; relative ones start from the configuration's directory.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.text().map(|text| self.scope.file(text))
    }

    /// A secret path.
    pub(crate) fn secret_path(&self) -> Option<SecretPath> {
        self.parse(SecretPath::parse)
    }

    /// A secret path that must be one of the tenant's own secrets; looked up when those are known.
    pub(crate) fn reference(&self) -> Option<SecretPath> {
        let path = self.secret_path()?;
        self.scope.refer(Reference { path: path.clone(), key: self.key.clone(), line: self.line });
        Some(path)
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Vec<Item<'a>>> {
        let Value::List(nodes) = &self.node.value else {
            self.wrong("a list");
            return None;
        };
        let items = nodes.iter().enumerate();
        Some(items.map(|(at, node)| Self::new(node, format!("{}[{at}]", self.key), node.line, self.scope)).collect())
    }

    /// The entries of a mapping whose keys are free, in the order of the file.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Item<'a>)>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a mapping");
            return None;
        };
        let item = |name: &str, line, node| Self::new(node, child(&self.key, name), line, self.scope);
        Some(entries.iter().map(|entry| (entry.name.as_str(), item(&entry.name, entry.line, &entry.node))).collect())
    }

    /// Whether this is a mapping, for a key that may be a list or a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether this is a list, for a key that may be a list or a word.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether this is a mapping with the key `name`.
    pub(crate) fn holds(&self, name: &str) -> bool {
        matches!(&self.node.value, Value::Map(entries) if entries.iter().any(|entry| entry.name == name))
    }

    /// Reads a mapping with a fixed set of keys; the ones `read` did not ask for are reported.
    pub(crate) fn block<T>(&self, read: impl FnOnce(&mut Block<'a>) -> Option<T>) -> Option<T> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a mapping");
            return None;
        };
        let mut block = Block::new(entries, self.key.clone(), self.line, self.scope);
        let value = read(&mut block);
        block.finish();
        value
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.kind() == Kind::Null
    }
}
