//! Answers to changes, and what all answers are made of: dates and labels.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::fault::Trouble;
use super::{encode, name, version};
use crate::clock::Timestamp;
use crate::secret::{Rank, VersionInfo, WireName};
use crate::wire::AwsFacts;

const DAY: u64 = 86_400;

/// A time as the service writes it: seconds since the epoch, with milliseconds where there are any.
#[derive(Clone, Copy)]
pub(super) struct Date(pub(super) Timestamp);

impl Date {
    /// `None` for a time nobody knows.
    pub(super) fn known(at: Timestamp) -> Option<Self> {
        (at != Timestamp::default()).then_some(Self(at))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.micros() / 1000;
        if millis.is_multiple_of(1000) {
            return serializer.serialize_u64(millis / 1000);
        }
        // thirteen digits: exact in a double
        serializer.serialize_f64(millis as f64 / 1000.0)
    }
}

/// The labels of a version, its place first.
pub(super) struct Stages<'i> {
    rank: Rank,
    others: &'i [Box<str>],
}

impl<'i> Stages<'i> {
    pub(super) fn at(rank: Rank, info: &'i VersionInfo) -> Self {
        Self { rank, others: &info.stages }
    }

    /// `None` where the place is not known.
    pub(super) fn of(info: &'i VersionInfo) -> Option<Self> {
        (info.rank != Rank::Unknown).then(|| Self::at(info.rank, info))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &'i str> {
        let place = match self.rank {
            Rank::Current => Some("AWSCURRENT"),
            Rank::Previous => Some("AWSPREVIOUS"),
            Rank::Unknown | Rank::Other => None,
        };
        place.into_iter().chain(self.others.iter().map(|stage| &**stage).filter(move |stage| Some(*stage) != place))
    }
}

impl Serialize for Stages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenOut<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_stages: Option<Stages<'a>>,
}

/// The secret, and the version that was made if one was; its labels where the answer names them.
pub(super) fn written(name: &WireName, made: Option<(&VersionInfo, bool)>, aws: &AwsFacts) -> Result<Bytes, Trouble> {
    let name = name.as_str();
    let out = WrittenOut {
        arn: name::arn(name, aws),
        name,
        version_id: made.and_then(|(info, _)| version::shown(name, info)),
        version_stages: made.filter(|(_, stages)| *stages).and_then(|(info, _)| Stages::of(info)),
    };
    encode::bytes(&out, 384)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeletedOut<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    deletion_date: u64,
}

/// The secret, and when it is gone for good.
pub(super) fn deleted(name: &WireName, days: u16, aws: &AwsFacts, now_secs: u64) -> Result<Bytes, Trouble> {
    let name = name.as_str();
    let deletion_date = now_secs.saturating_add(u64::from(days) * DAY);
    encode::bytes(&DeletedOut { arn: name::arn(name, aws), name, deletion_date }, 384)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_numbers_of_seconds_down_to_milliseconds() {
        for (micros, text) in [
            (1_795_428_417_000_000, "1795428417"),
            (1_795_428_417_000_999, "1795428417"),
            (1_795_428_417_123_456, "1795428417.123"),
            (1_795_428_417_500_000, "1795428417.5"),
            (1_795_428_417_001_000, "1795428417.001"),
            (4_102_444_799_999_999, "4102444799.999"),
        ] {
            assert_eq!(serde_json::to_string(&Date(Timestamp::from_micros(micros))).unwrap(), text);
        }
        assert!(Date::known(Timestamp::default()).is_none());
    }

    #[test]
    fn labels_begin_with_the_place_and_name_it_once() {
        let info = |rank, stages: &[&str]| VersionInfo {
            rank,
            stages: stages.iter().map(|stage| Box::from(*stage)).collect(),
            ..VersionInfo::default()
        };
        for (rank, others, text) in [
            (Rank::Current, &[][..], r#"["AWSCURRENT"]"#),
            (Rank::Current, &["mine", "AWSCURRENT"], r#"["AWSCURRENT","mine"]"#),
            (Rank::Previous, &["AWSPENDING"], r#"["AWSPREVIOUS","AWSPENDING"]"#),
            (Rank::Other, &[], "[]"),
        ] {
            let info = info(rank, others);
            assert_eq!(serde_json::to_string(&Stages::of(&info).unwrap()).unwrap(), text);
        }
        assert!(Stages::of(&info(Rank::Unknown, &["mine"])).is_none());
    }
}
