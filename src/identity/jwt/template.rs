//! Texts with `{claim}` in them, for principals, groups and folders.
//!
//! INVARIANT: two tokens whose claims differ never expand to the same text by moving a character from one claim to the
//! next: between two claims there is always a character no claim can hold.

use super::claims::Claims;
use crate::identity::JwtFault;

/// Characters that no claim in a template can hold.
const BOUNDARIES: [char; 3] = ['/', ':', '@'];

/// A parsed template.
pub(super) struct Template(Vec<Part>);

enum Part {
    Literal(Box<str>),
    Claim(Box<str>),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_once('{').map_or((rest, None), |(literal, after)| (literal, Some(after)));
            if literal.contains('}') {
                return Err("has `}` without `{`");
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(Box::from(literal)));
            }
            let Some(after) = after else { break };
            let (claim, tail) = after.split_once('}').ok_or("has `{` without `}`")?;
            if claim.is_empty() || claim.contains('{') {
                return Err("has `{}` without the name of a claim in it");
            }
            parts.push(Part::Claim(Box::from(claim)));
            rest = tail;
        }
        if are_apart(&parts) {
            Ok(Self(parts))
        } else {
            Err("has two claims in one segment: different tokens could expand to the same text")
        }
    }

    pub(super) fn expand(&self, claims: &Claims) -> Result<String, JwtFault> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Claim(name) => text.push_str(claims.segment(name)?),
            }
        }
        Ok(text)
    }

    /// What it expands to if every claim is `x`.
    pub(super) fn sample(&self) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Claim(_) => text.push('x'),
            }
        }
        text
    }
}

fn are_apart(parts: &[Part]) -> bool {
    let mut open = false;
    for part in parts {
        match part {
            Part::Literal(literal) if literal.contains(BOUNDARIES) => open = false,
            Part::Literal(_) => {}
            Part::Claim(_) if open => return false,
            Part::Claim(_) => open = true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_parsed_whole_or_not_at_all() {
        for (good, sample) in [
            ("", ""),
            ("payments/ledger", "payments/ledger"),
            ("{namespace}/{service_account}", "x/x"),
            ("team-{team}", "team-x"),
            ("{a}:{b}@{c}", "x:x@x"),
            ("{https://example.com/team}", "x"),
        ] {
            assert_eq!(Template::parse(good).map(|t| t.sample()), Ok(sample.to_owned()), "{good}");
        }
        for bad in ["{", "}", "{}", "a{", "a}b", "{a{b}}", "{a}}", "{a}{b}", "{a}-{b}", "x/{a}.{b}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn g07_expansion_needs_every_claim() {
        let claims = Claims::parse(br#"{"a":"one","b":"t/wo"}"#).unwrap();
        assert_eq!(Template::parse("x/{a}/y").unwrap().expand(&claims).as_deref(), Ok("x/one/y"));
        assert_eq!(Template::parse("x/{b}").unwrap().expand(&claims), Err(JwtFault::Template));
        assert_eq!(Template::parse("x/{c}").unwrap().expand(&claims), Err(JwtFault::Template));
    }
}
