//! Signatures in the query.

use std::borrow::Cow;
use std::time::Duration;

use super::super::SignatureFault;
use super::parse::ALGORITHM;
use super::query;

const MAX_LIFE_SECS: u32 = 7 * 24 * 3600;
const PREFIX: &str = "x-amz-";

/// What a presigned query says.
pub(super) struct Presigned<'a> {
    pub(super) credential: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) session_token: Option<Cow<'a, str>>,
    pub(super) life: Duration,
    /// The other pairs, as sent.
    pub(super) rest: String,
}

/// The parameters while they are collected.
#[derive(Default)]
struct Found<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    session_token: Option<Cow<'a, str>>,
}

/// Reads the signature of a query; `None` if no parameter of it belongs to one. Each parameter comes once and in its usual
/// case; others that begin like them are refused.
pub(super) fn read(query: Option<&str>) -> Result<Option<Presigned<'_>>, SignatureFault> {
    let Some(query) = query else { return Ok(None) };
    let (mut found, mut rest, mut is_presigned) = (Found::default(), String::new(), false);
    for pair in query::pairs(query) {
        let pair = pair?;
        if !pair.name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            if !rest.is_empty() {
                rest.push('&');
            }
            rest.push_str(pair.raw);
            continue;
        }
        is_presigned = true;
        let unknown = SignatureFault::Incomplete("the query holds an X-Amz parameter that is not read");
        let place = found.place(&pair.name).ok_or(unknown)?;
        if place.replace(pair.value).is_some() {
            return Err(SignatureFault::Incomplete("the query holds a parameter of the signature twice"));
        }
    }
    if is_presigned { found.complete(rest).map(Some) } else { Ok(None) }
}

impl<'a> Found<'a> {
    fn place(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        match name {
            "X-Amz-Algorithm" => Some(&mut self.algorithm),
            "X-Amz-Credential" => Some(&mut self.credential),
            "X-Amz-Date" => Some(&mut self.date),
            "X-Amz-Expires" => Some(&mut self.expires),
            "X-Amz-SignedHeaders" => Some(&mut self.signed_headers),
            "X-Amz-Signature" => Some(&mut self.signature),
            "X-Amz-Security-Token" => Some(&mut self.session_token),
            _ => None,
        }
    }

    fn complete(self, rest: String) -> Result<Presigned<'a>, SignatureFault> {
        const LACKS: SignatureFault = SignatureFault::Incomplete("the query lacks a parameter of the signature");
        if self.algorithm.ok_or(LACKS)? != ALGORITHM {
            return Err(SignatureFault::Incomplete("the algorithm is not AWS4-HMAC-SHA256"));
        }
        Ok(Presigned {
            credential: self.credential.ok_or(LACKS)?,
            date: self.date.ok_or(LACKS)?,
            signed_headers: self.signed_headers.ok_or(LACKS)?,
            signature: self.signature.ok_or(LACKS)?,
            session_token: self.session_token,
            life: life(&self.expires.ok_or(LACKS)?)?,
            rest,
        })
    }
}

/// 1 second to 7 days, in plain digits.
fn life(text: &str) -> Result<Duration, SignatureFault> {
    let seconds = text.parse::<u32>().ok().filter(|seconds| (1..=MAX_LIFE_SECS).contains(seconds));
    let seconds = seconds.filter(|_| text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0'));
    let seconds = seconds.ok_or(SignatureFault::Incomplete("X-Amz-Expires is not 1 to 604800 seconds"))?;
    Ok(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Date=d&X-Amz-Expires=60\
                        &X-Amz-SignedHeaders=host%3Bx&X-Amz-Signature=00";

    #[test]
    fn the_signature_is_taken_out_and_the_rest_is_as_sent() {
        let read_good = read(Some(GOOD)).unwrap().unwrap();
        assert_eq!((&*read_good.credential, &*read_good.signed_headers), ("a/b", "host;x"));
        assert_eq!((read_good.life, read_good.rest.as_str()), (Duration::from_secs(60), ""));
        let mixed = format!("b=%20&{GOOD}&a=1&X-Amz-Security-Token=t%2B");
        let mixed = read(Some(&mixed)).unwrap().unwrap();
        assert_eq!((mixed.rest.as_str(), mixed.session_token.as_deref()), ("b=%20&a=1", Some("t+")));
        assert!(read(None).unwrap().is_none() && read(Some("a=1&b=")).unwrap().is_none());
    }

    #[test]
    fn s02_a_presigned_query_is_whole_or_refused() {
        for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
            let parameter = GOOD.split('&').find(|pair| pair.starts_with(&format!("X-Amz-{name}="))).unwrap();
            let rest: Vec<&str> = GOOD.split('&').filter(|pair| *pair != parameter).collect();
            assert!(read(Some(&rest.join("&"))).is_err(), "without {name}");
            assert!(read(Some(parameter)).is_err(), "{name} alone");
            assert!(read(Some(&format!("{GOOD}&{parameter}"))).is_err(), "{name} twice");
            assert!(
                read(Some(&GOOD.replace(parameter, &parameter.to_ascii_lowercase()))).is_err(),
                "{name} in lower case"
            );
        }
        for more in ["X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", "x-amz-target=x", "X-Amz-=", "X-AMZ-SIGNATURE=00"] {
            assert!(read(Some(&format!("{GOOD}&{more}"))).is_err(), "{more}");
        }
        let other = GOOD.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
        assert!(read(Some(&other)).is_err(), "s01");
    }

    #[test]
    fn s04_a_presigned_request_lives_a_second_to_seven_days() {
        assert_eq!(life("1"), Ok(Duration::from_secs(1)));
        assert_eq!(life("604800"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "0", "-1", "+1", "604801", "1099511627776", "060", "1.0", " 1", "1e3", "60s"] {
            assert!(life(bad).is_err(), "{bad:?}");
        }
    }
}
