//! The tree: scalars, lists and ordered mappings, each with its line.

/// A value and the line it stands on, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, names unique.
    Map(Vec<Entry>),
}

/// A scalar as written; `plain` means without quotes.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) plain: bool,
}

/// A key with its value. The line is the key's.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) line: u32,
    pub(crate) node: Node,
}

/// What a value is by YAML's core schema. Quoted scalars are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
}

impl Kind {
    /// In words, for messages.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }
}

impl Node {
    /// What the value is.
    pub(crate) fn kind(&self) -> Kind {
        match &self.value {
            Value::Scalar(scalar) => scalar.kind(),
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
        }
    }

    /// How many nodes there are, this one included, and how many levels.
    pub(crate) fn extent(&self) -> (usize, usize) {
        let below = |(nodes, depth): (usize, usize), node: &Self| {
            let (more, levels) = node.extent();
            (nodes.saturating_add(more), depth.max(levels))
        };
        let (nodes, depth) = match &self.value {
            Value::Scalar(_) => (0, 0),
            Value::List(items) => items.iter().fold((0, 0), below),
            Value::Map(entries) => entries.iter().map(|entry| &entry.node).fold((0, 0), below),
        };
        (nodes.saturating_add(1), depth.saturating_add(1))
    }
}

impl Scalar {
    fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
            text if is_number(text) => Kind::Number,
            _ => Kind::Text,
        }
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(octal) = unsigned.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| matches!(b, b'0'..=b'7'));
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    is_decimal(unsigned)
}

fn is_decimal(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Scalar { text: text.to_owned(), plain: true }.kind()
    }

    #[test]
    fn plain_scalars_are_typed_by_the_core_schema() {
        for text in ["1", "-7", "0600", "1.5", ".5", "5.", "6e9", "1E+3", "0x1F", "0o17", ".inf", "-.INF", ".nan"] {
            assert_eq!(kind(text), Kind::Number, "{text}");
        }
        for text in ["127.0.0.1", "127.0.0.1:8441", "1h", "6f9c-1", ".", "-", "e5", "1e", "0x", "no", "yes", "1_000"] {
            assert_eq!(kind(text), Kind::Text, "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(kind(text), Kind::Null, "{text:?}");
        }
        assert_eq!(kind("true"), Kind::Bool);
        assert_eq!(Scalar { text: "true".to_owned(), plain: false }.kind(), Kind::Text);
    }
}
