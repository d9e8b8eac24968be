//! Names of secrets: as they are, or in an ARN of the listener's account and region.
//!
//! INVARIANT: what an ARN is reduced to is a name by the same rules as a name that comes alone; an ARN of anywhere else is
//! refused before anybody asks whether there is such a secret.

use ring::digest::{Context, SHA256};

use super::fault;
use crate::error::ErrorKind;
use crate::secret::WireName;
use crate::wire::{AwsFacts, Fault};

const MAX_NAME: usize = 512;
const MAX_REFERENCE: usize = 2048;
/// How many characters follow the last hyphen of an ARN.
const SUFFIX: usize = 6;
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The secret that a client means: its name, its ARN, or its ARN without the last hyphen and what follows it.
pub(super) fn secret(text: &str, aws: &AwsFacts) -> Result<WireName, Fault> {
    if text.is_empty() || text.len() > MAX_REFERENCE {
        return Err(Fault::malformed(fault::SECRET_ID_LENGTH));
    }
    let name = if text.starts_with("arn:") { of_arn(text, aws)? } else { text };
    if !is_name(name) {
        return Err(Fault::malformed(fault::BAD_NAME));
    }
    WireName::parse(name).ok_or(Fault::malformed(fault::BAD_NAME))
}

/// The secret that a client means to change. Behind the last hyphen of an ARN only what this proxy puts there is taken:
/// any other six characters may be the end of a longer name, and what is meant for one secret is not done to another.
pub(super) fn changed(text: &str, aws: &AwsFacts) -> Result<WireName, Fault> {
    let name = secret(text, aws)?;
    let resource = Arn::parse(text).map_or(name.as_str(), |arn| arn.resource);
    if resource == name.as_str() || arn(name.as_str(), aws).ends_with(resource) {
        Ok(name)
    } else {
        Err(Fault::malformed(fault::SUFFIX))
    }
}

/// A name for a new secret. Those with `!` belong to services that own their secrets.
pub(super) fn fresh(text: &str) -> Result<WireName, Fault> {
    if !is_name(text) || text.contains('!') {
        return Err(Fault::malformed(fault::BAD_NAME));
    }
    WireName::parse(text).ok_or(Fault::malformed(fault::BAD_NAME))
}

/// Whether the text can be the name of a secret there is.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(fits)
}

/// The name in an ARN of this account and region.
fn of_arn<'t>(text: &'t str, aws: &AwsFacts) -> Result<&'t str, Fault> {
    let arn = Arn::parse(text).ok_or(Fault::malformed(fault::BAD_ARN))?;
    if arn.is_of(aws) { Ok(arn.name()) } else { Err(Fault::of(ErrorKind::Denied)) }
}

/// An ARN of a secret.
pub(super) struct Arn<'t> {
    region: &'t str,
    account: &'t str,
    resource: &'t str,
}

impl<'t> Arn<'t> {
    /// `None` if it is not one of a secret.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let mut parts = text.splitn(7, ':');
        let mut next = || parts.next();
        let (arn, partition, service) = (next()?, next()?, next()?);
        let (region, account, kind, resource) = (next()?, next()?, next()?, next()?);
        let is_secret = arn == "arn" && service == "secretsmanager" && kind == "secret";
        (is_secret && PARTITIONS.contains(&partition)).then_some(Self { region, account, resource })
    }

    pub(super) fn is_of(&self, aws: &AwsFacts) -> bool {
        self.region == aws.region && self.account == aws.account
    }

    /// The name without what the service puts behind it. A name that ends as ARNs do can only be given as a name.
    pub(super) fn name(&self) -> &'t str {
        match self.resource.rsplit_once('-') {
            Some((name, suffix)) if suffix.len() == SUFFIX && suffix.bytes().all(|b| b.is_ascii_alphanumeric()) => name,
            _ => self.resource,
        }
    }
}

/// The ARN under which clients see a secret: always the same for the same account, region and name.
pub(super) fn arn(name: &str, aws: &AwsFacts) -> String {
    let AwsFacts { account, region } = aws;
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let mut arn = String::with_capacity(64 + region.len() + name.len());
    for part in ["arn:", partition, ":secretsmanager:", region, ":", account, ":secret:", name, "-"] {
        arn.push_str(part);
    }
    let mut context = Context::new(&SHA256);
    for part in ["scaivault arn", account, region, name] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let hash = context.finish();
    let letter = |byte: &u8| ALPHABET.get(usize::from(*byte) % ALPHABET.len()).copied().map_or('A', char::from);
    arn.extend(hash.as_ref().iter().take(SUFFIX).map(letter));
    arn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws() -> AwsFacts {
        AwsFacts { account: "123456789012".to_owned(), region: "us-east-1".to_owned() }
    }

    fn named(text: &str) -> Result<String, (ErrorKind, Option<&'static str>)> {
        secret(text, &aws()).map(|name| name.as_str().to_owned()).map_err(|fault| (fault.kind, fault.detail))
    }

    #[test]
    fn a_secret_is_found_by_its_name_its_arn_and_a_part_of_it() {
        let arn = |rest: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{rest}");
        let long = "a".repeat(512);
        for (text, name) in [
            ("app/db".to_owned(), "app/db"),
            ("app/db-zvhYAY".to_owned(), "app/db-zvhYAY"),
            (arn("app/db-zvhYAY"), "app/db"),
            (arn("app/db"), "app/db"),
            (arn("app/db-main"), "app/db-main"),
            (arn("app/db-long12-zvhYAY"), "app/db-long12"),
            (arn("app/db-zvhYA_"), "app/db-zvhYA_"),
            (arn("x").replace("arn:aws:", "arn:aws-cn:"), "x"),
            (arn("x").replace("arn:aws:", "arn:aws-us-gov:"), "x"),
            ("rds!cluster-1".to_owned(), "rds!cluster-1"),
            ("A_+=.@-9".to_owned(), "A_+=.@-9"),
            ("a".repeat(512), long.as_str()),
        ] {
            assert_eq!(named(&text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_malformed() {
        let arn = |rest: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:{rest}");
        for text in [
            "bad name!*".to_owned(),
            "a\0b".to_owned(),
            "a%2fb".to_owned(),
            "gr\u{fc}n".to_owned(),
            "a:b".to_owned(),
            "a\\b".to_owned(),
            "a".repeat(513),
            "a".repeat(2049),
            String::new(),
            "arn:".to_owned(),
            arn("secret"),
            arn("secret:"),
            arn("secret:-abcdef"),
            arn("secret:a b"),
            arn("secret:app/db-zvhYAY:password::"),
            arn("other:app/db"),
            arn("secret:x").replace("arn:aws:", "arn:aws-iso:"),
            arn("secret:x").replace("secretsmanager", "ssm"),
        ] {
            assert_eq!(named(&text).map_err(|(kind, _)| kind), Err(ErrorKind::Malformed), "{text}");
        }
        assert_eq!(named("bad name!*"), Err((ErrorKind::Malformed, Some(fault::BAD_NAME))));
        assert!(fresh("rds!x").is_err() && fresh("a b").is_err() && fresh("").is_err());
        assert_eq!(fresh("app/db").unwrap().as_str(), "app/db");
    }

    #[test]
    fn p32_a_change_takes_no_end_of_a_longer_name_for_the_end_of_an_arn() {
        let changed = |text: &str| {
            changed(text, &aws()).map(|name| name.as_str().to_owned()).map_err(|fault| (fault.kind, fault.detail))
        };
        let arn_of = |rest: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{rest}");
        for (text, name) in [
            ("app/db-backup".to_owned(), "app/db-backup"),
            (arn_of("app/db"), "app/db"),
            (arn_of("app/db-main"), "app/db-main"),
            (arn("app/db", &aws()), "app/db"),
            (arn("app/db-backup", &aws()), "app/db-backup"),
            (arn("x", &aws()).replace("arn:aws:", "arn:aws-cn:"), "x"),
        ] {
            assert_eq!(changed(&text).as_deref(), Ok(name), "{text}");
        }
        let of_another = arn("b", &aws()).replace(":secret:b-", ":secret:app/db-");
        for text in [arn_of("app/db-backup"), arn_of("app/db-zvhYAY"), of_another] {
            assert_eq!(changed(&text), Err((ErrorKind::Malformed, Some(fault::SUFFIX))), "{text}");
            assert_eq!(named(&text).as_deref(), Ok("app/db"), "a read takes any six: {text}");
        }
        let elsewhere = arn_of("app/db-backup").replace("us-east-1", "eu-west-1");
        assert_eq!(changed(&elsewhere), Err((ErrorKind::Denied, None)));
        assert_eq!(changed("a b"), Err((ErrorKind::Malformed, Some(fault::BAD_NAME))));
    }

    #[test]
    fn s15_x16_an_arn_of_anywhere_else_is_denied() {
        for text in [
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-zvhYAY",
            "arn:aws:secretsmanager:us-east-1:000000000000:secret:app/db-zvhYAY",
            "arn:aws:secretsmanager:us-east-1::secret:app/db-zvhYAY",
            "arn:aws:secretsmanager::123456789012:secret:app/db-zvhYAY",
            "arn:aws:secretsmanager:us-east-1 :123456789012:secret:app/db",
        ] {
            assert_eq!(named(text), Err((ErrorKind::Denied, None)), "{text}");
        }
    }

    #[test]
    fn our_arns_are_stable_and_lead_back_to_their_name() {
        let one = arn("app/db", &aws());
        assert_eq!(one, arn("app/db", &aws()));
        assert!(one.starts_with("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-"), "{one}");
        assert_eq!(one.len(), "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-".len() + SUFFIX);
        for name in ["app/db", "app/db-zvhYAY", "a", "x-", "rds!x"] {
            assert_eq!(named(&arn(name, &aws())).as_deref(), Ok(name));
        }
        assert_ne!(arn("a", &aws()).split_off(55), arn("b", &aws()).split_off(55));
        let at = |region: &str| arn("a", &AwsFacts { region: region.to_owned(), ..aws() });
        assert!(at("cn-north-1").starts_with("arn:aws-cn:secretsmanager:cn-north-1:"));
        assert!(at("us-gov-west-1").starts_with("arn:aws-us-gov:"));
        assert!(at("us-west-2").starts_with("arn:aws:"));
    }
}
