//! JSON from clients: one document, no key twice, bounded depth and size of structure.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 20_000;

/// A body is not acceptable JSON. Holds no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError;

/// Checks that `bytes` are exactly one JSON document in which no object names a key twice, nested at most 64 levels and
/// holding at most 20,000 values. Parsers differ on what a duplicate key means; here it means refusal.
///
/// # Errors
/// When they are not.
pub fn check_json(bytes: &[u8]) -> Result<(), JsonError> {
    let mut nodes = 0;
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    Check { depth: 0, nodes: &mut nodes }.deserialize(&mut parser).map_err(|_| JsonError)?;
    parser.end().map_err(|_| JsonError)
}

struct Check<'n> {
    depth: usize,
    nodes: &'n mut usize,
}

impl Check<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<Check<'_>, E> {
        *self.nodes += 1;
        if self.depth >= MAX_DEPTH || *self.nodes > MAX_NODES {
            return Err(E::custom("too deep or too large"));
        }
        Ok(Check { depth: self.depth + 1, nodes: self.nodes })
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.enter()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            if !seen.insert(key) {
                return Err(A::Error::custom("duplicate key"));
            }
            map.next_value_seed(self.enter()?)?;
        }
        Ok(())
    }
}

/// A key by its decoded text, so that `"a"` and `"\u0061"` are the same key.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Key(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_m11_m12_json_that_parsers_read_differently_is_refused() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let wide = format!("[{}1]", "1,".repeat(1_000_000));
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"b":1,"b":1}}"#,
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1}x"#,
            "\u{feff}{}",
            "NaN",
            "1e400",
            "",
            &deep,
            &wide,
        ] {
            assert_eq!(check_json(bad.as_bytes()), Err(JsonError), "{}", bad.chars().take(20).collect::<String>());
        }
        assert!(check_json(&[0xff, 0xfe, b'{', 0, b'}', 0]).is_err(), "UTF-16");
        for good in ["null", r#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#, "-0", r#""1E5""#] {
            assert_eq!(check_json(good.as_bytes()), Ok(()), "{good}");
        }
    }
}
