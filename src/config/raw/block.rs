//! A mapping with a fixed set of keys.

use std::path::PathBuf;
use std::time::Duration;

use super::item::Item;
use super::node::Entry;
use super::scope::{Scope, child};

/// A mapping while it is read. Asking for a key makes it known.
pub(crate) struct Block<'a> {
    entries: &'a [Entry],
    key: String,
    line: u32,
    known: Vec<&'static str>,
    scope: &'a Scope,
}

impl<'a> Block<'a> {
    pub(super) fn new(entries: &'a [Entry], key: String, line: u32, scope: &'a Scope) -> Self {
        Self { entries, key, line, known: Vec::new(), scope }
    }

    /// The key path of the mapping itself.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The key path of `name` in this mapping.
    pub(crate) fn key_of(&self, name: &str) -> String {
        child(&self.key, name)
    }

    /// The line the mapping begins on.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// What findings are reported to.
    pub(crate) fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// Whether the key is there, without making it known.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The key's value, if it is there. A key without a value is reported.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Item<'a>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        let item = Item::new(&entry.node, self.key_of(name), entry.line, self.scope);
        if item.is_null() {
            item.refuse("has no value; give it one or remove the key");
            return None;
        }
        Some(item)
    }

    /// The key's value; its absence is reported.
    pub(crate) fn required(&mut self, name: &'static str) -> Option<Item<'a>> {
        if !self.holds(name) {
            self.scope.refuse(&self.key_of(name), Some(self.line), "is required");
        }
        self.optional(name)
    }

    /// Reports each of `names` that is there: known keys that mean nothing in this place.
    pub(crate) fn out_of_place(&mut self, names: &[&'static str], why: &str) {
        for &name in names {
            if let Some(item) = self.optional(name) {
                item.refuse(why);
            }
        }
    }

    /// Makes `names` known without reading them.
    pub(crate) fn skip(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    /// Text, if the key is there.
    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        self.optional(name)?.string()
    }

    /// A file, if the key is there.
    pub(crate) fn file(&mut self, name: &'static str) -> Option<PathBuf> {
        self.optional(name)?.file()
    }

    /// A duration, if the key is there.
    pub(crate) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.optional(name)?.duration()
    }

    /// One word of a closed set, if the key is there.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.optional(name)?.word(words)
    }

    /// A whole number above zero, or `default`.
    pub(crate) fn count<T: TryFrom<u64>>(&mut self, name: &'static str, default: T) -> T {
        self.optional(name).and_then(|item| item.count()).unwrap_or(default)
    }

    /// `true` or `false`, or `default`.
    pub(crate) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.optional(name).and_then(|item| item.flag()).unwrap_or(default)
    }

    /// What `read` makes of each item of a list; nothing if the key is not there.
    pub(crate) fn each<T>(&mut self, name: &'static str, read: impl FnMut(&Item<'a>) -> Option<T>) -> Vec<T> {
        let items = self.optional(name).and_then(|item| item.items()).unwrap_or_default();
        items.iter().filter_map(read).collect()
    }

    /// As [`Self::each`]; a list without an item is reported, for keys where "nothing" and "no list" must not be confused.
    pub(crate) fn some<T>(&mut self, name: &'static str, read: impl FnMut(&Item<'a>) -> Option<T>) -> Vec<T> {
        let Some(list) = self.optional(name) else { return Vec::new() };
        let items = list.items();
        if items.as_ref().is_some_and(Vec::is_empty) {
            list.refuse("is an empty list; name what is meant or remove the key");
        }
        items.unwrap_or_default().iter().filter_map(read).collect()
    }

    pub(super) fn finish(self) {
        for entry in self.entries {
            if self.known.iter().any(|known| *known == entry.name) {
                continue;
            }
            let message = format!("unknown key; known here: {}", self.known.join(", "));
            self.scope.refuse(&self.key_of(&entry.name), Some(entry.line), message);
        }
    }
}
