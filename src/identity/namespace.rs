//! Vault namespaces: how a client may spell one.
//!
//! A namespace names a tenant before there is a credential, and must agree with it afterwards. `root` means nothing
//! special here: it is a namespace nobody has.

use super::IdentityError;
use crate::secret::SecretPath;

/// The namespace a header or path prefix names: one slash at either end is dropped (`team1/`, `/team1/`), the rest must
/// be 1 to 32 plain segments.
///
/// # Errors
/// [`IdentityError::Invalid`] for anything else: empty, only slashes, dot segments, blanks.
pub fn parse_namespace(text: &str) -> Result<&str, IdentityError> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    match SecretPath::parse(inner) {
        Ok(_) => Ok(inner),
        Err(_) => Err(IdentityError::Invalid { what: "the namespace", why: "must be plain segments joined by `/`" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v02_one_spelling_is_left() {
        for good in ["team1", "team1/", "/team1/", "/team1"] {
            assert_eq!(parse_namespace(good), Ok("team1"));
        }
        assert_eq!(parse_namespace("a/b/"), Ok("a/b"));
        for bad in ["", "/", "//", "..", "ns1/../ns2", "ns1//", "//ns1", " ns1", "ns1 ", "a//b", "*", "é"] {
            assert!(parse_namespace(bad).is_err(), "{bad:?}");
        }
    }
}
