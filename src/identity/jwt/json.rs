//! JSON in which nothing is said twice.
//!
//! Most parsers keep the last of two equal members, some the first; a token that two parties read differently is an
//! attack, so a duplicate anywhere makes the whole text invalid.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON object with unique members.
pub(super) type Object = BTreeMap<String, Json>;

/// A JSON value. Numbers are floats: exact for every time and small integer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(Object),
}

impl Json {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    pub(super) fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

/// The object `bytes` hold; `None` for any other value, a duplicate member at any depth, or anything after it.
pub(super) fn parse_object(bytes: &[u8]) -> Option<Object> {
    match serde_json::from_slice::<Json>(bytes) {
        Ok(Json::Object(object)) => Some(object),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with unique members")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is given twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j15_duplicates_are_refused_at_any_depth_and_in_any_spelling() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"a":1} "#.trim_end().repeat(2).as_str(),
            "[]",
            "1",
            "",
            r#"{"a":1e999}"#,
        ] {
            assert_eq!(parse_object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_object(&[b'[', 0xff]), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(parse_object(deep.as_bytes()), None, "too deep");
    }

    #[test]
    fn every_kind_of_value_is_kept() {
        let object =
            parse_object(br#"{"n":null,"b":true,"u":7,"i":-7,"f":1.5,"s":"x","l":["y",2],"o":{"z":"w"}}"#).unwrap();
        assert_eq!(object.get("n"), Some(&Json::Null));
        assert_eq!(object.get("b"), Some(&Json::Bool(true)));
        assert_eq!(object.get("u"), Some(&Json::Number(7.0)));
        assert_eq!(object.get("i"), Some(&Json::Number(-7.0)));
        assert_eq!(object.get("f"), Some(&Json::Number(1.5)));
        assert_eq!(object.get("s").and_then(Json::as_text), Some("x"));
        assert_eq!(object.get("l").and_then(Json::as_list).map(<[Json]>::len), Some(2));
        assert!(object.get("o").and_then(Json::as_object).is_some_and(|o| o.contains_key("z")));
    }
}
