//! The three parts of a compact JWS, before anything in them is trusted.
//!
//! INVARIANT: what passes here is read the same way by every parser: strict base64url, no duplicate member, no
//! extension.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::claims::Claims;
use super::json::{Json, Object, parse_object};
use crate::identity::JwtFault;
use crate::identity::credential::MAX_JWT_BYTES;

const MAX_KID_BYTES: usize = 512;
/// `crit` and `b64` change what is signed, `enc` and `zip` what is read: none of them is understood.
const EXTENSIONS: [&str; 4] = ["crit", "b64", "enc", "zip"];
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A parsed, unverified token.
pub(super) struct Parts {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Claims,
}

impl Parts {
    pub(super) fn parse(token: &str) -> Result<Self, JwtFault> {
        if token.len() > MAX_JWT_BYTES {
            return Err(JwtFault::Shape);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtFault::Shape);
        };
        if decode(signature)?.is_empty() {
            return Err(JwtFault::Shape);
        }
        let header = parse_object(&decode(header)?).ok_or(JwtFault::Header)?;
        check_header(&header)?;
        Ok(Self { algorithm: algorithm(&header)?, kid: kid(&header)?, claims: Claims::parse(&decode(claims)?)? })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtFault::Shape)
}

fn check_header(header: &Object) -> Result<(), JwtFault> {
    if EXTENSIONS.iter().any(|name| header.contains_key(*name)) {
        return Err(JwtFault::Header);
    }
    match header.get("typ") {
        None => Ok(()),
        Some(Json::Text(text)) if TYPES.iter().any(|known| text.eq_ignore_ascii_case(known)) => Ok(()),
        Some(_) => Err(JwtFault::Header),
    }
}

fn algorithm(header: &Object) -> Result<Algorithm, JwtFault> {
    let name = header.get("alg").and_then(Json::as_text).ok_or(JwtFault::Algorithm)?;
    let algorithm = name.parse::<Algorithm>().map_err(|_| JwtFault::Algorithm)?;
    if algorithm.family() == AlgorithmFamily::Hmac { Err(JwtFault::Algorithm) } else { Ok(algorithm) }
}

fn kid(header: &Object) -> Result<Option<String>, JwtFault> {
    match header.get("kid") {
        None => Ok(None),
        Some(Json::Text(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Ok(Some(kid.clone())),
        Some(_) => Err(JwtFault::Header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
            URL_SAFE_NO_PAD.encode("sig")
        )
    }

    fn fault(token: &str) -> Option<JwtFault> {
        Parts::parse(token).err()
    }

    #[test]
    fn j01_j02_algorithms_that_prove_nothing() {
        for alg in
            [r#""none""#, r#""None""#, r#""nOnE""#, r#""HS256""#, r#""HS512""#, r#""rs256""#, r#""""#, "null", "[]"]
        {
            assert_eq!(fault(&token(&format!(r#"{{"alg":{alg}}}"#), "{}")), Some(JwtFault::Algorithm), "{alg}");
        }
        assert_eq!(fault(&token("{}", "{}")), Some(JwtFault::Algorithm));
        assert_eq!(fault(&token(r#"{"alg":"ES256"}"#, "{}")), None);
    }

    #[test]
    fn j06_kid_is_a_text_or_absent() {
        for bad in [r#"["a"]"#, "1", "null", r#""""#, &format!("\"{}\"", "k".repeat(65_536 / 8))] {
            assert_eq!(fault(&token(&format!(r#"{{"alg":"ES256","kid":{bad}}}"#), "{}")), Some(JwtFault::Header));
        }
        let odd = Parts::parse(&token(r#"{"alg":"ES256","kid":"../../dev/null"}"#, "{}")).unwrap();
        assert_eq!(odd.kid.as_deref(), Some("../../dev/null"), "looked up as it is, never opened");
    }

    #[test]
    fn j14_j16_types_and_extensions_that_are_not_understood() {
        for extra in
            [r#""crit":["b64"],"b64":false"#, r#""b64":false"#, r#""crit":[]"#, r#""zip":"DEF""#, r#""enc":"A128GCM""#]
        {
            assert_eq!(
                fault(&token(&format!(r#"{{"alg":"ES256",{extra}}}"#), "{}")),
                Some(JwtFault::Header),
                "{extra}"
            );
        }
        for (typ, good) in [("JWT", true), ("at+JWT", true), ("logout+jwt", false), ("JOSE", false), ("", false)] {
            let fault = fault(&token(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#), "{}"));
            assert_eq!(fault, (!good).then_some(JwtFault::Header), "{typ}");
        }
    }

    #[test]
    fn j15_duplicate_members() {
        assert_eq!(fault(&token(r#"{"alg":"ES256","alg":"ES256"}"#, "{}")), Some(JwtFault::Header));
        assert_eq!(fault(&token(r#"{"alg":"ES256"}"#, r#"{"iss":"a","iss":"b"}"#)), Some(JwtFault::Claims));
        assert_eq!(fault(&token(r#"{"alg":"ES256"}"#, "[]")), Some(JwtFault::Claims));
    }

    #[test]
    fn j17_j19_other_shapes_and_loose_base64() {
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        let (head, signature) = good.rsplit_once('.').unwrap();
        for bad in [
            String::new(),
            "a.b".to_owned(),
            format!("{good}.x"),
            format!("{good}=="),
            format!("{good} "),
            format!("{good}\n"),
            format!("{head}."),
            format!("{head}.{signature}A"),
            format!("{head}.a+b/"),
            format!("{head}.AB"),
            r#"{"payload":"e30","signatures":[]}"#.to_owned(),
            token(r#"{"alg":"ES256"}"#, &format!("{{\"a\":\"{}\"}}", "a".repeat(MAX_JWT_BYTES))),
        ] {
            assert_eq!(fault(&bad), Some(JwtFault::Shape), "{}", bad.get(..40).unwrap_or(&bad));
        }
    }
}
