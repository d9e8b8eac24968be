//! What the key-value engines answer, in the neutral language: complete, or an error. Values are copied as the text they
//! are and never parsed into anything else.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body;
use super::schema::{Keys, Metadata2, ReadData, Told, VersionMetadata};
use crate::backend::{Answer, BackendError};
use crate::clock::Timestamp;
use crate::secret::{Described, Metadata, Outcome, Rank, SecretRecord, SecretType, SecretValue, VersionInfo};

/// A read of KV version 2. A version that cannot be read comes without its value.
pub(super) fn read_v2(answer: &Answer, now: Timestamp) -> Result<Outcome, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not a KV version 2 read");
    let Some(read) = data::<ReadData<'_>>(answer).map_err(|_| UNUSABLE)? else {
        return if answer.status == StatusCode::NOT_FOUND { Ok(Outcome::NotFound) } else { Err(UNUSABLE) };
    };
    let info = read.metadata.info(read.metadata.version, now).ok_or(UNUSABLE)?;
    let value = read.data.filter(|data| data.get() != "null" && info.state.is_readable());
    let record = SecretRecord {
        value: value.map(|data| SecretValue::copy_of(data.get().as_bytes())),
        secret_type: SecretType::Json,
        metadata: read.metadata.custom_metadata.unwrap_or_default(),
        info,
        updated_at: None,
    };
    Ok(Outcome::Record(Box::new(record)))
}

/// A read of KV version 1, which keeps neither versions nor times.
pub(super) fn read_v1(answer: &Answer) -> Result<Outcome, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not a KV version 1 read");
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Outcome::NotFound);
    }
    let data: &RawValue = self::data(answer).map_err(|_| UNUSABLE)?.ok_or(UNUSABLE)?;
    let record = SecretRecord {
        value: Some(SecretValue::copy_of(data.get().as_bytes())),
        secret_type: SecretType::Json,
        metadata: Metadata::new(),
        info: only_version(),
        updated_at: None,
    };
    Ok(Outcome::Record(Box::new(record)))
}

/// The one version of a KV version 1 secret.
pub(super) fn only_version() -> VersionInfo {
    VersionInfo { version: 1, rank: Rank::Current, ..VersionInfo::default() }
}

/// Metadata and all versions of a KV version 2 secret.
pub(super) fn described(answer: &Answer, now: Timestamp) -> Result<Outcome, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not KV version 2 metadata");
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Outcome::NotFound);
    }
    let found: Metadata2 = data(answer).map_err(|_| UNUSABLE)?.ok_or(UNUSABLE)?;
    let time = |text: &str| Timestamp::parse_rfc3339(text).ok_or(UNUSABLE);
    let versions: Option<Vec<VersionInfo>> =
        found.versions.iter().map(|(version, metadata)| metadata.info(*version, now)).collect();
    let described = Described {
        metadata: found.custom_metadata.unwrap_or_default(),
        current_version: found.current_version,
        // the server says 0 until it has forgotten one
        oldest_version: found.versions.keys().next().copied().unwrap_or(found.oldest_version),
        created_at: time(&found.created_time)?,
        updated_at: time(&found.updated_time)?,
        cas_required: found.cas_required,
        max_versions: found.max_versions,
        delete_after_secs: body::duration(&found.delete_version_after).map_or(0, |after| after.as_secs()),
        purges_at: None,
        versions: versions.ok_or(UNUSABLE)?,
    };
    Ok(Outcome::Described(Box::new(described)))
}

/// The names of a list.
pub(super) fn names(answer: &Answer) -> Result<Vec<String>, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not a list");
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    let Keys { keys } = data(answer).map_err(|_| UNUSABLE)?.ok_or(UNUSABLE)?;
    Ok(keys)
}

/// What a write of a KV version 2 value made.
pub(super) fn written(answer: &Answer, now: Timestamp) -> Result<Outcome, BackendError> {
    const LOST: BackendError = BackendError::Unknown("the answer cannot be read");
    if answer.status == StatusCode::NO_CONTENT {
        // what KV version 1 answers: it kept the envelope as a value, under a name nobody asks for
        return Err(BackendError::Unusable("not a KV version 2 mount"));
    }
    let made: VersionMetadata = data(answer).map_err(|_| LOST)?.ok_or(LOST)?;
    let info = made.info(made.version, now).filter(|info| info.version > 0).ok_or(LOST)?;
    Ok(Outcome::Written(info, Metadata::new()))
}

/// `data` of the envelope, in one pass over the body.
pub(super) fn data<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<Option<T>, serde_json::Error> {
    serde_json::from_slice::<Told<T>>(&answer.body).map(|told| told.data)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::secret::VersionState;

    /// 2026-11-23T17:00:00Z.
    const NOW: Timestamp = Timestamp::from_secs(1_795_453_200);

    fn answer(status: u16, body: &'static str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    fn record(outcome: Outcome) -> SecretRecord {
        let Outcome::Record(record) = outcome else { panic!("not a record: {outcome:?}") };
        *record
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    const READ: &str = r#"{"request_id":"5c91d5cf","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"b":1.50, "a":"\u00e9"},"metadata":{"created_time":"2026-11-23T16:51:09.215257886Z","custom_metadata":{"owner":"team-one"},"deletion_time":"","destroyed":false,"version":2}},"wrap_info":null,"warnings":null,"auth":null}"#;

    #[test]
    fn a_value_is_the_text_of_the_body_with_all_that_is_known_of_its_version() {
        let record = record(read_v2(&answer(200, READ), NOW).unwrap());
        assert_eq!(record.value.unwrap().expose(), br#"{"b":1.50, "a":"\u00e9"}"#);
        assert_eq!(record.secret_type, SecretType::Json);
        assert_eq!(record.metadata.get("owner").map(String::as_str), Some("team-one"));
        assert_eq!((record.info.version, record.info.state), (2, VersionState::Current));
        assert_eq!(record.info.created_at, at("2026-11-23T16:51:09.215257Z"));
    }

    #[test]
    fn versions_that_cannot_be_read_come_without_a_value_and_absence_is_absence() {
        for (status, body, state) in [
            (
                404,
                r#"{"data":{"data":null,"metadata":{"created_time":"2026-11-23T16:51:09Z","custom_metadata":null,"deletion_time":"2026-11-23T16:52:00Z","destroyed":false,"version":1}}}"#,
                VersionState::Deleted(at("2026-11-23T16:52:00Z")),
            ),
            (
                404,
                r#"{"data":{"data":null,"metadata":{"created_time":"2026-11-23T16:51:09Z","custom_metadata":null,"deletion_time":"","destroyed":true,"version":1}}}"#,
                VersionState::Destroyed(None),
            ),
            (
                // a value beside the statement that there is none is not believed
                200,
                r#"{"data":{"data":{"a":1},"metadata":{"created_time":"2026-11-23T16:51:09Z","deletion_time":"","destroyed":true,"version":1}}}"#,
                VersionState::Destroyed(None),
            ),
        ] {
            let record = record(read_v2(&answer(status, body), NOW).unwrap());
            assert!(record.value.is_none(), "{body}");
            assert_eq!(record.info.state, state, "{body}");
        }
        assert!(matches!(read_v2(&answer(404, r#"{"errors":[]}"#), NOW), Ok(Outcome::NotFound)));
        for body in [r#"{"data":null}"#, "{}", "", r#"{"data":{"data":{"a":1}}}"#, "<html>"] {
            let error = read_v2(&answer(200, body), NOW).unwrap_err();
            assert!(matches!(error, BackendError::Unusable(_)), "{body}: {error:?}");
        }
    }

    #[test]
    fn a_version_that_will_delete_itself_is_readable_and_says_when() {
        let body = r#"{"data":{"data":{"a":1},"metadata":{"created_time":"2026-11-23T16:51:09Z","deletion_time":"2026-11-24T16:51:09Z","destroyed":false,"version":3}}}"#;
        let record = record(read_v2(&answer(200, body), NOW).unwrap());
        assert_eq!(record.info.state, VersionState::Current);
        assert_eq!(record.info.deletes_at, Some(at("2026-11-24T16:51:09Z")));
        assert!(record.value.is_some());
    }

    #[test]
    fn a_description_has_every_version_with_its_state_and_times() {
        let body = r#"{"data":{"cas_required":true,"created_time":"2026-11-23T16:51:09.081779729Z","current_metadata_version":5,"current_version":12,"custom_metadata":{"owner":"x"},"delete_version_after":"768h0m0s","max_versions":20,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2026-11-23T16:55:00Z","versions":{"10":{"created_time":"2026-11-23T16:51:10Z","deletion_time":"2026-11-23T16:52:00Z","destroyed":false},"12":{"created_time":"2026-11-23T16:55:00Z","deletion_time":"2026-12-25T16:55:00Z","destroyed":false},"9":{"created_time":"2026-11-23T16:51:09Z","deletion_time":"","destroyed":true}}}}"#;
        let Outcome::Described(found) = described(&answer(200, body), NOW).unwrap() else { panic!("not described") };
        assert_eq!((found.current_version, found.oldest_version, found.max_versions), (12, 9, 20));
        assert!(found.cas_required);
        assert_eq!(found.delete_after_secs, 768 * 3600);
        assert_eq!(found.metadata.get("owner").map(String::as_str), Some("x"));
        assert_eq!(found.created_at, at("2026-11-23T16:51:09.081779Z"));
        assert_eq!(found.updated_at, at("2026-11-23T16:55:00Z"));
        let states: Vec<_> = found.versions.iter().map(|info| (info.version, info.state, info.deletes_at)).collect();
        let expected = [
            (9, VersionState::Destroyed(None), None),
            (10, VersionState::Deleted(at("2026-11-23T16:52:00Z")), None),
            (12, VersionState::Current, Some(at("2026-12-25T16:55:00Z"))),
        ];
        assert_eq!(states, expected, "oldest first, by number and not by text");
        assert!(matches!(described(&answer(404, r#"{"errors":[]}"#), NOW), Ok(Outcome::NotFound)));
        for body in [r#"{"data":{}}"#, r#"{"data":null}"#, "", &body_with_a_time_that_is_none()] {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body };
            assert!(described(&answer, NOW).is_err());
        }
    }

    fn body_with_a_time_that_is_none() -> String {
        r#"{"data":{"created_time":"2026-11-23T16:51:09Z","current_version":1,"updated_time":"2026-11-23T16:51:09Z","versions":{"1":{"created_time":"yesterday"}}}}"#.to_owned()
    }

    #[test]
    fn w14_what_is_not_a_list_is_never_an_empty_one() {
        let listed = names(&answer(200, r#"{"data":{"keys":["a","b/"]}}"#)).unwrap();
        assert_eq!(listed, ["a", "b/"]);
        assert!(names(&answer(404, r#"{"errors":[]}"#)).unwrap().is_empty());
        for body in
            [r#"{"data":{}}"#, r#"{"data":null}"#, r#"{"data":{"keys":null}}"#, "{}", "", r#"{"data":{"keys":["a""#]
        {
            assert!(names(&answer(200, body)).is_err(), "{body}");
        }
    }

    #[test]
    fn kv1_values_have_one_version_and_no_times() {
        let body = r#"{"request_id":"0be8","lease_id":"","renewable":false,"lease_duration":2764800,"data":{"x":"1"},"wrap_info":null,"warnings":null,"auth":null}"#;
        let record = record(read_v1(&answer(200, body)).unwrap());
        assert_eq!(record.value.unwrap().expose(), br#"{"x":"1"}"#);
        assert_eq!(record.info, only_version());
        assert!(matches!(read_v1(&answer(404, r#"{"errors":[]}"#)), Ok(Outcome::NotFound)));
        assert!(read_v1(&answer(200, r#"{"data":null}"#)).is_err());
    }

    #[test]
    fn w04_a_write_whose_answer_cannot_be_read_is_a_doubt() {
        let body = r#"{"data":{"created_time":"2026-11-23T16:51:09.081779729Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}}"#;
        let Outcome::Written(info, metadata) = written(&answer(200, body), NOW).unwrap() else { panic!("not written") };
        assert_eq!((info.version, info.state), (7, VersionState::Current));
        assert!(metadata.is_empty());
        for body in ["", "{}", r#"{"data":{"created_time":"2026-11-23T16:51:09Z"}}"#, r#"{"data":{"version":7}}"#] {
            let error = written(&answer(200, body), NOW).unwrap_err();
            assert!(matches!(error, BackendError::Unknown(_)), "{body}: {error:?}");
        }
        assert!(matches!(written(&answer(204, ""), NOW), Err(BackendError::Unusable(_))));
    }
}
