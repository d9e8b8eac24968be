//! What a JWT says, checked claim by claim.
//!
//! A claim of the wrong JSON type is never treated as absent.

use std::collections::BTreeMap;

use super::json::{Json, Object, parse_object};
use crate::clock::Timestamp;
use crate::identity::JwtFault;
use crate::secret::SecretPath;

/// How far an issuer's clock may differ from ours.
const LEEWAY_SECS: u64 = 30;
const LATEST_SECS: f64 = 9.0e15;
const KUBERNETES: &str = "kubernetes.io";

/// The claims of a token, each given once.
pub(super) struct Claims(Object);

impl Claims {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, JwtFault> {
        parse_object(bytes).map(Self).ok_or(JwtFault::Claims)
    }

    pub(super) fn issuer(&self) -> Result<&str, JwtFault> {
        self.0.get("iss").and_then(Json::as_text).ok_or(JwtFault::Issuer)
    }

    /// Checks `exp`, `nbf` and `iat`, and returns when the token ends, leeway included.
    pub(super) fn end(&self, now: Timestamp) -> Result<Timestamp, JwtFault> {
        let expires = self.time("exp")?.ok_or(JwtFault::Time)?;
        let end = Timestamp::from_secs(expires.saturating_add(LEEWAY_SECS));
        if now >= end {
            return Err(JwtFault::Expired);
        }
        let latest_start = now.secs().saturating_add(LEEWAY_SECS);
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|start| start > latest_start) {
                return Err(JwtFault::NotYet);
            }
        }
        Ok(end)
    }

    /// Whether one of `audiences` is in `aud`: a text, or a list of nothing but texts.
    pub(super) fn check_audience(&self, audiences: &[String]) -> Result<(), JwtFault> {
        let known = |text: &str| audiences.iter().any(|audience| audience == text);
        let ours = match self.0.get("aud") {
            Some(Json::Text(text)) => known(text),
            Some(Json::List(list)) => {
                list.iter().all(|one| one.as_text().is_some()) && list.iter().filter_map(Json::as_text).any(known)
            }
            _ => false,
        };
        if ours { Ok(()) } else { Err(JwtFault::Audience) }
    }

    /// Whether each claim named is there and is, or contains, one of its values.
    pub(super) fn check_allowed(&self, allow: &BTreeMap<String, Vec<String>>) -> Result<(), JwtFault> {
        for (name, values) in allow {
            let known = |text: &str| values.iter().any(|value| value == text);
            let fits = match self.claim(name).ok_or(JwtFault::Claim)? {
                Json::Text(text) => known(text),
                Json::List(list) => list.iter().filter_map(Json::as_text).any(known),
                _ => false,
            };
            if !fits {
                return Err(JwtFault::Claim);
            }
        }
        Ok(())
    }

    /// A claim that is exactly one segment of a secret path, for use in a template.
    pub(super) fn segment(&self, name: &str) -> Result<&str, JwtFault> {
        let text = self.claim(name).and_then(Json::as_text).ok_or(JwtFault::Template)?;
        if text.contains('/') || SecretPath::parse(text).is_err() {
            return Err(JwtFault::Template);
        }
        Ok(text)
    }

    /// A top-level claim, or `namespace` and `service_account` of a Kubernetes token. If a token has both and they
    /// differ there is no telling which the configuration means, so it has neither.
    fn claim(&self, name: &str) -> Option<&Json> {
        let top = self.0.get(name);
        match (top, self.kubernetes(name)) {
            (Some(top), Some(nested)) if top != nested => None,
            (top, nested) => top.or(nested),
        }
    }

    fn kubernetes(&self, name: &str) -> Option<&Json> {
        let nested = self.0.get(KUBERNETES)?.as_object()?;
        match name {
            "namespace" => nested.get("namespace"),
            "service_account" => nested.get("serviceaccount")?.as_object()?.get("name"),
            _ => None,
        }
    }

    fn time(&self, name: &str) -> Result<Option<u64>, JwtFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Json::Number(secs)) if (0.0..=LATEST_SECS).contains(secs) => Ok(Some(*secs as u64)),
            Some(_) => Err(JwtFault::Time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn j10_exp_must_be_a_time_to_come() {
        for (json, fault) in [
            ("{}", JwtFault::Time),
            (r#"{"exp":"9999999999"}"#, JwtFault::Time),
            (r#"{"exp":1e20}"#, JwtFault::Time),
            (r#"{"exp":-1}"#, JwtFault::Time),
            (r#"{"exp":[1000100]}"#, JwtFault::Time),
            (r#"{"exp":null}"#, JwtFault::Time),
            (r#"{"exp":true}"#, JwtFault::Time),
            (r#"{"exp":0}"#, JwtFault::Expired),
            (r#"{"exp":999970}"#, JwtFault::Expired),
        ] {
            assert_eq!(claims(json).end(NOW), Err(fault), "{json}");
        }
        assert_eq!(claims(r#"{"exp":999971}"#).end(NOW), Ok(Timestamp::from_secs(1_000_001)), "within the leeway");
        assert_eq!(claims(r#"{"exp":1000100.5}"#).end(NOW), Ok(Timestamp::from_secs(1_000_130)));
    }

    #[test]
    fn j11_nbf_and_iat_must_have_come_within_the_leeway() {
        for name in ["nbf", "iat"] {
            let end = |value: &str| claims(&format!(r#"{{"exp":2000000,"{name}":{value}}}"#)).end(NOW);
            assert!(end("1000030").is_ok());
            assert_eq!(end("1000031"), Err(JwtFault::NotYet));
            for bad in ["\"1\"", "null", "-1", "1e300", "{}"] {
                assert_eq!(end(bad), Err(JwtFault::Time), "{name} {bad}");
            }
        }
        assert!(claims(r#"{"exp":2000000}"#).end(NOW).is_ok());
    }

    #[test]
    fn j12_aud_is_an_exact_member() {
        let ours = ["scaivault".to_owned(), "other".to_owned()];
        for good in [r#""scaivault""#, r#"["x","scaivault"]"#, r#"["other"]"#] {
            assert_eq!(claims(&format!(r#"{{"aud":{good}}}"#)).check_audience(&ours), Ok(()), "{good}");
        }
        for bad in [
            r#""x""#,
            "[]",
            "null",
            "1",
            r#"["scaivault",1]"#,
            r#"[["scaivault"]]"#,
            r#"{"a":"scaivault"}"#,
            r#""scaivault ""#,
            r#""SCAIVAULT""#,
        ] {
            assert_eq!(claims(&format!(r#"{{"aud":{bad}}}"#)).check_audience(&ours), Err(JwtFault::Audience), "{bad}");
        }
        assert_eq!(claims("{}").check_audience(&ours), Err(JwtFault::Audience));
    }

    #[test]
    fn allow_needs_every_claim_with_one_of_its_values() {
        let allow = BTreeMap::from([
            ("namespace".to_owned(), vec!["payments".to_owned(), "search".to_owned()]),
            ("groups".to_owned(), vec!["ops".to_owned()]),
        ]);
        let check = |json: &str| claims(json).check_allowed(&allow);
        assert_eq!(check(r#"{"namespace":"search","groups":["dev","ops"]}"#), Ok(()));
        assert_eq!(check(r#"{"kubernetes.io":{"namespace":"payments"},"groups":"ops"}"#), Ok(()));
        for bad in [
            r#"{"namespace":"search"}"#,
            r#"{"namespace":"Search","groups":"ops"}"#,
            r#"{"namespace":"search","groups":[]}"#,
            r#"{"namespace":true,"groups":"ops"}"#,
            r#"{"namespace":"search","groups":{"ops":1}}"#,
            r#"{"namespace":"search","kubernetes.io":{"namespace":"payments"},"groups":"ops"}"#,
        ] {
            assert_eq!(check(bad), Err(JwtFault::Claim), "{bad}");
        }
    }

    #[test]
    fn g07_a_template_takes_single_plain_segments_only() {
        let all = claims(
            r#"{"a":"ok","b":"*","c":"a/b","d":"..","e":"","f":["x"],"g":1,"h":"a b","i":"é","j":"{a}",
               "kubernetes.io":{"namespace":"payments","serviceaccount":{"name":"ledger","uid":"1"}}}"#,
        );
        assert_eq!(all.segment("a"), Ok("ok"));
        assert_eq!(all.segment("namespace"), Ok("payments"));
        assert_eq!(all.segment("service_account"), Ok("ledger"));
        for bad in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "missing", "kubernetes.io", "uid"] {
            assert_eq!(all.segment(bad), Err(JwtFault::Template), "{bad}");
        }
    }
}
