//! Which parts of the context a policy set looks at.
//!
//! It decides whether decisions may be cached and which attributes a request has to carry, so it errs towards "all of
//! them": the context used as anything but `context.x` or `context has x` counts as a mention of everything.

use cedar_policy::Policy;
use serde_json::Value;

/// The attributes of `context` that policies look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    pub(super) wire: bool,
    pub(super) mode: bool,
    pub(super) now: bool,
    pub(super) source_ip: bool,
}

impl Mentions {
    /// Every attribute.
    pub(super) const ALL: Self = Self { wire: true, mode: true, now: true, source_ip: true };

    /// Whether the same question has the same answer at any time and from anywhere.
    pub(super) const fn is_timeless(self) -> bool {
        !self.now && !self.source_ip
    }

    /// Adds what one policy mentions.
    pub(super) fn add(&mut self, policy: &Policy) {
        match policy.to_json() {
            Ok(tree) => self.walk(&tree),
            Err(_) => *self = Self::ALL,
        }
    }

    /// Walks the JSON form of a policy. An attribute access is `{".": {"left": X, "attr": "a"}}`, a presence test
    /// `{"has": {"left": X, "attr": "a" or ["a", "b"]}}`, the context variable `{"Var": "context"}`.
    fn walk(&mut self, tree: &Value) {
        match tree {
            Value::Object(fields) => {
                if is_context(tree) {
                    *self = Self::ALL;
                    return;
                }
                for (operator, operand) in fields {
                    match attribute_of_context(operator, operand) {
                        Some(attribute) => self.mark(attribute),
                        None => self.walk(operand),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn mark(&mut self, attribute: &str) {
        match attribute {
            "wire" => self.wire = true,
            "mode" => self.mode = true,
            "now" => self.now = true,
            "source_ip" => self.source_ip = true,
            _ => *self = Self::ALL,
        }
    }
}

fn is_context(tree: &Value) -> bool {
    tree.get("Var").and_then(Value::as_str) == Some("context")
}

fn attribute_of_context<'a>(operator: &str, operand: &'a Value) -> Option<&'a str> {
    if !matches!(operator, "." | "has") || !is_context(operand.get("left")?) {
        return None;
    }
    match operand.get("attr")? {
        Value::Array(names) => names.first()?.as_str(),
        name => name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentions(condition: &str) -> Mentions {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let mut found = Mentions::default();
        found.add(&Policy::parse(None, text).unwrap());
        found
    }

    #[test]
    fn wire_and_mode_are_told_apart_from_time_and_place() {
        assert_eq!(mentions("true"), Mentions::default());
        assert_eq!(mentions(r#"context.wire == "aws""#), Mentions { wire: true, ..Mentions::default() });
        let both = mentions(r#"context.mode != "sync" || context["wire"] like "a*""#);
        assert_eq!(both, Mentions { wire: true, mode: true, ..Mentions::default() });
        assert!(both.is_timeless());
    }

    #[test]
    fn every_spelling_of_time_and_place_is_seen() {
        for condition in [
            r#"context.now > datetime("2026-01-01")"#,
            r#"context["now"] > datetime("2026-01-01")"#,
            "context has now",
            "context has source_ip",
            "context has source_ip.prefix",
            r#"context has "source_ip""#,
            r#"if context.wire == "aws" then true else context.source_ip.isLoopback()"#,
            r#"[1, 2].contains(3) || !(context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")))"#,
            r#"{"seen": context.now}.seen > datetime("2026-01-01")"#,
        ] {
            assert!(!mentions(condition).is_timeless(), "{condition}");
        }
    }

    #[test]
    fn the_context_as_a_value_counts_as_everything() {
        for condition in [
            "context == context",
            r#"{"all": context}.all.wire == "aws""#,
            r#"(if true then context else context).wire == "aws""#,
            "[context].contains(context)",
            "context has tomorrow",
        ] {
            assert_eq!(mentions(condition), Mentions::ALL, "{condition}");
        }
    }

    #[test]
    fn the_same_words_elsewhere_are_not_a_mention() {
        for condition in [
            r#"resource.path == "now""#,
            "principal has now",
            "principal.source_ip == 1",
            r#"{"now": 1, "Var": "contexts"} has source_ip"#,
        ] {
            assert_eq!(mentions(condition), Mentions::default(), "{condition}");
        }
    }
}
