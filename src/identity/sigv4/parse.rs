//! The texts a signature is made of: the `Authorization` header and hexadecimal digits.

use super::super::SignatureFault;

/// The one algorithm there is. SigV4a and the SHA-1 one are not.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The three parts of a signature, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) credential: &'a str,
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
}

/// Reads `AWS4-HMAC-SHA256 Credential=.., SignedHeaders=.., Signature=..`: each part once, in any order, nothing else.
pub(super) fn authorization(value: &str) -> Result<Parts<'_>, SignatureFault> {
    const FORM: SignatureFault = SignatureFault::Incomplete("the Authorization header is not of the form it must have");
    let rest = value.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
    let rest = rest.ok_or(SignatureFault::Incomplete("the algorithm is not AWS4-HMAC-SHA256"))?;
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for (index, part) in rest.split(',').enumerate() {
        let part = part.strip_prefix(' ').filter(|_| index > 0).unwrap_or(part);
        let (name, text) = part.split_once('=').ok_or(FORM)?;
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(FORM),
        };
        if place.replace(text).is_some() {
            return Err(FORM);
        }
    }
    match (credential, signed_headers, signature) {
        (Some(credential), Some(signed_headers), Some(signature)) => {
            Ok(Parts { credential, signed_headers, signature })
        }
        _ => Err(SignatureFault::Incomplete("the Authorization header lacks a part")),
    }
}

/// Decodes a signature: 64 lower-case hexadecimal digits.
pub(super) fn signature(text: &str) -> Result<[u8; 32], SignatureFault> {
    const FORM: SignatureFault = SignatureFault::Mismatch("it is not 64 lower-case hexadecimal digits");
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return Err(FORM);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return Err(FORM) };
        *byte = lower_digit(*high).zip(lower_digit(*low)).map(|(high, low)| (high << 4) | low).ok_or(FORM)?;
    }
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)));
    }
    text
}

const fn lower_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    #[test]
    fn the_three_parts_come_in_any_order_once_each() {
        let parts = Parts { credential: "a/b", signed_headers: "host;x", signature: "00" };
        for good in [
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x, Signature=00",
            "AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=host;x,Signature=00",
            "AWS4-HMAC-SHA256 Signature=00, Credential=a/b, SignedHeaders=host;x",
        ] {
            assert_eq!(authorization(good).as_ref(), Ok(&parts), "{good}");
        }
    }

    #[test]
    fn s01_no_other_scheme_and_no_other_form_is_read() {
        for bad in [
            "",
            "Bearer x",
            "Basic abc",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 ",
            "AWS4-HMAC-SHA256 nonsense",
            "AWS4-HMAC-SHA1 Credential=a, SignedHeaders=b, Signature=c",
            "AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b, Signature=c",
            "aws4-hmac-sha256 Credential=a, SignedHeaders=b, Signature=c",
            "AWS4-HMAC-SHA256\tCredential=a, SignedHeaders=b, Signature=c",
            "AWS4-HMAC-SHA256  Credential=a, SignedHeaders=b, Signature=c",
            "AWS4-HMAC-SHA256 Credential=a,  SignedHeaders=b, Signature=c",
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b",
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c, Signature=c",
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c, Extra=d",
            "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c,",
            "AWS4-HMAC-SHA256 credential=a, signedheaders=b, signature=c",
        ] {
            assert!(matches!(authorization(bad), Err(SignatureFault::Incomplete(_))), "{bad}");
        }
    }

    #[test]
    fn s20_a_signature_is_64_lower_case_digits() {
        assert_eq!(hexadecimal(&signature(SIGNATURE).unwrap()), SIGNATURE);
        let long = format!("{SIGNATURE}0");
        let upper = SIGNATURE.to_ascii_uppercase();
        let short = SIGNATURE.strip_prefix('5').unwrap();
        let spaced = format!(" {short}");
        let wide = format!("é{}", SIGNATURE.strip_prefix("5d").unwrap());
        for bad in ["", short, &long, &upper, &spaced, &wide, &"g".repeat(64)] {
            assert!(signature(bad).is_err(), "{bad}");
        }
    }
}
