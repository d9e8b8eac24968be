//! The service's own answer to a client that speaks the same protocol: its bytes, but for the two members at its top that
//! name the secret.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::name;
use crate::wire::AwsFacts;

/// Where a body names its secret. Twice in one body is an error.
#[derive(Deserialize)]
struct Ids<'b> {
    #[serde(borrow, rename = "ARN")]
    arn: &'b RawValue,
    #[serde(borrow, rename = "Name")]
    name: &'b RawValue,
}

/// The body with the client's name for the secret, and the ARN it has here: the same in every answer and every mode,
/// whatever the service calls it. Nothing else is touched. `None` for a body that is not about one secret.
pub(super) fn renamed(body: Bytes, name: &str, aws: &AwsFacts) -> Option<Bytes> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let ids: Ids<'_> = serde_json::from_slice(&body).ok()?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
    if text(ids.name)? != name {
        edits.push((place(&body, ids.name)?, serde_json::to_string(name).ok()?));
    }
    let arn = name::arn(name, aws);
    if text(ids.arn)? != arn {
        edits.push((place(&body, ids.arn)?, serde_json::to_string(&arn).ok()?));
    }
    if edits.is_empty() {
        return Some(body);
    }
    edits.sort_by_key(|(place, _)| place.start);
    let mut out = Vec::with_capacity(body.len() + edits.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut from = 0;
    for (place, text) in edits {
        out.extend_from_slice(body.get(from..place.start)?);
        out.extend_from_slice(text.as_bytes());
        from = place.end;
    }
    out.extend_from_slice(body.get(from..)?);
    Some(Bytes::from(out))
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Where in the body a part of it lies.
fn place(body: &[u8], raw: &RawValue) -> Option<Range<usize>> {
    let start = raw.get().as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let place = start..start.checked_add(raw.get().len())?;
    (body.get(place.clone())? == raw.get().as_bytes()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws() -> AwsFacts {
        AwsFacts { account: "123456789012".to_owned(), region: "us-east-1".to_owned() }
    }

    fn renamed(body: &str, name: &str) -> Option<String> {
        let body = super::renamed(Bytes::copy_from_slice(body.as_bytes()), name, &aws())?;
        Some(String::from_utf8(body.to_vec()).unwrap())
    }

    const BODY: &str = r#"{"ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-zvhYAY", "Name": "app/db", "SecretString": "{\"Name\":\"x\"}", "n": 1.50, "VersionStages": ["AWSCURRENT"]}"#;

    #[test]
    fn a_body_with_the_names_it_has_here_is_left_as_it_is() {
        let body = BODY.replace(
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-zvhYAY",
            &name::arn("app/db", &aws()),
        );
        assert_eq!(renamed(&body, "app/db"), Some(body));
    }

    #[test]
    fn only_the_two_names_at_the_top_change() {
        let ours = name::arn("mine", &aws());
        let expected = format!(
            r#"{{"ARN": "{ours}", "Name": "mine", "SecretString": "{{\"Name\":\"x\"}}", "n": 1.50, "VersionStages": ["AWSCURRENT"]}}"#
        );
        assert_eq!(renamed(BODY, "mine"), Some(expected));
        let swapped = r#"{"Tags":[{"Name":"app/db"}],"Name":"app\/db","x":{"ARN":"y"},"ARN":"z"}"#;
        let expected = format!(r#"{{"Tags":[{{"Name":"app/db"}}],"Name":"mine","x":{{"ARN":"y"}},"ARN":"{ours}"}}"#);
        assert_eq!(renamed(swapped, "mine"), Some(expected));
    }

    #[test]
    fn an_arn_is_the_same_whatever_the_service_calls_it() {
        for elsewhere in ["us-east-1:123456789012", "eu-west-1:000000000000", "eu-west-1:123456789012"] {
            let body = BODY.replace("us-east-1:123456789012", elsewhere);
            let told = renamed(&body, "app/db").unwrap();
            assert!(told.contains(&name::arn("app/db", &aws())), "{told}");
            assert!(told.contains(r#""Name": "app/db""#), "{told}");
        }
    }

    #[test]
    fn names_are_escaped_where_they_are_put() {
        let told = renamed(BODY, "a\"b").unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["Name"], "a\"b");
        assert_eq!(told["SecretString"], r#"{"Name":"x"}"#);
    }

    #[test]
    fn what_is_not_about_one_secret_is_no_answer() {
        for body in [
            "",
            "<html>",
            "[\"arn\",\"name\"]",
            "{}",
            r#"{"ARN":"a"}"#,
            r#"{"ARN":null,"Name":"a"}"#,
            r#"{"ARN":"a","Name":["a"]}"#,
            r#"{"ARN":"a","Name":"a","Name":"b"}"#,
            r#"{"ARN":"a","Name":"a"} {}"#,
            r#"{"ARN":"a","Name":"a""#,
        ] {
            assert_eq!(renamed(body, "a"), None, "{body}");
        }
    }
}
