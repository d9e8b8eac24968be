//! The credential scope and the time of a signature.

use time::{Date, Month, PrimitiveDateTime, Time};

use super::super::SignatureFault;
use crate::clock::Timestamp;

const TERMINATOR: &str = "aws4_request";
const MAX_KEY_ID_BYTES: usize = 128;

/// `KEYID/DATE/REGION/SERVICE/aws4_request`, as sent.
pub(super) struct Scope<'a> {
    pub(super) key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn parse(credential: &'a str) -> Result<Self, SignatureFault> {
        let mut parts = credential.split('/');
        let five = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(key_id), Some(date), Some(region), Some(service), Some(terminator), None) = five else {
            return Err(SignatureFault::Incomplete("the credential is not of five parts"));
        };
        let fits = (1..=MAX_KEY_ID_BYTES).contains(&key_id.len());
        if !fits || !key_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(SignatureFault::Incomplete("the access key id is not of letters and digits"));
        }
        Ok(Self { key_id, date, region, service, terminator })
    }

    /// Whether it is for this service in this region, on the day of the request.
    pub(super) fn check(&self, moment: &str, region: &str, service: &str) -> Result<(), SignatureFault> {
        if moment.split_once('T').is_none_or(|(day, _)| day != self.date) {
            Err(SignatureFault::Mismatch("its credential is for another day than its request"))
        } else if self.region != region {
            Err(SignatureFault::Mismatch("its credential is for another region"))
        } else if self.service != service {
            Err(SignatureFault::Mismatch("its credential is for another service"))
        } else if self.terminator != TERMINATOR {
            Err(SignatureFault::Mismatch("its credential does not end in aws4_request"))
        } else {
            Ok(())
        }
    }
}

/// Reads `20150830T123600Z`. There are no leap seconds.
pub(super) fn moment(text: &str) -> Result<Timestamp, SignatureFault> {
    parsed(text).ok_or(SignatureFault::Incomplete("X-Amz-Date is not of the form 20150830T123600Z"))
}

fn parsed(text: &str) -> Option<Timestamp> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (day, time) = (digits(day, 8)?, digits(time, 6)?);
    let small = |number: u32| u8::try_from(number % 100).ok();
    let year = i32::try_from(day / 10_000).ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(small(day / 100)?).ok()?, small(day)?).ok()?;
    let time = Time::from_hms(small(time / 10_000)?, small(time / 100)?, small(time)?).ok()?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    u64::try_from(seconds).ok().map(Timestamp::from_secs)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_a_moment_has_one_form() {
        assert_eq!(moment("20150830T123600Z"), Ok(Timestamp::from_secs(1_440_938_160)));
        assert_eq!(moment("20240229T235959Z"), Ok(Timestamp::from_secs(1_709_251_199)));
        assert_eq!(moment("19700101T000000Z"), Ok(Timestamp::from_secs(0)));
        for bad in [
            "",
            "20150830T123600",
            "20150830t123600Z",
            "20150830T123600z",
            "20150830 123600Z",
            "2015-08-30T12:36:00Z",
            "20150830T123600.000Z",
            "20150830T123600+0000",
            "20150830T123600ZZ",
            "20150830T12360Z",
            "+2015083T123600Z",
            " 20150830T123600Z",
            "20151330T123600Z",
            "20150230T123600Z",
            "20150830T243600Z",
            "20161231T235960Z",
            "19691231T235959Z",
            "Sun, 30 Aug 2015 12:36:00 GMT",
            "1440938160",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s15_a_scope_is_exactly_the_configured_one() {
        let check = |text: &str| {
            Scope::parse(text).and_then(|scope| scope.check("20150830T123600Z", "eu-west-1", "secretsmanager"))
        };
        assert_eq!(check("AKIDEXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request"), Ok(()));
        for bad in [
            "AKIDEXAMPLE/20150829/eu-west-1/secretsmanager/aws4_request",
            "AKIDEXAMPLE/20150830/us-east-1/secretsmanager/aws4_request",
            "AKIDEXAMPLE/20150830/eu-west-1 /secretsmanager/aws4_request",
            "AKIDEXAMPLE/20150830/EU-WEST-1/secretsmanager/aws4_request",
            "AKIDEXAMPLE/20150830/eu-west-1/sts/aws4_request",
            "AKIDEXAMPLE/20150830/eu-west-1/s3/aws4_request",
            "AKIDEXAMPLE/20150830/eu-west-1/secretsmanager/AWS4_REQUEST",
            "AKIDEXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request ",
            "AKIDEXAMPLE/20150830//secretsmanager/aws4_request",
        ] {
            assert!(matches!(check(bad), Err(SignatureFault::Mismatch(_))), "{bad}");
        }
        for bad in [
            "",
            "AKIDEXAMPLE",
            "AKIDEXAMPLE/20150830/eu-west-1/secretsmanager",
            "AKID/EXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request",
            "AKIDEXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request/",
            "/20150830/eu-west-1/secretsmanager/aws4_request",
            "AKID EXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request",
            "AKID-EXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request",
        ] {
            assert!(matches!(check(bad), Err(SignatureFault::Incomplete(_))), "{bad}");
        }
    }
}
