//! What Secrets Manager tells, in the neutral language.
//!
//! Versions have no numbers there. A version is known by its identifier; its number is its creation in milliseconds since
//! the epoch where every version is listed, and its place among the labelled ones where only those are told. Numbers of
//! the one kind mean nothing in the other; identifiers link both.
//! INVARIANT: a glance depends on nothing but what a description and a list entry both tell.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use super::schema::{Epoch, Secret, Value, Version, at_millis};
use crate::backend::BackendError;
use crate::clock::Timestamp;
use crate::secret::{
    DESCRIPTION, Described, Metadata, Rank, SecretRecord, SecretType, SecretValue, VersionInfo, VersionState,
};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const UNUSABLE: BackendError = BackendError::Unusable("not a secret's value");

/// One version with its value.
pub(super) fn record(value: Value) -> Result<SecretRecord, BackendError> {
    let Value { version_id, version_stages, created_date, secret_string, secret_binary, .. } = value;
    let (value, secret_type) = match (secret_string, secret_binary) {
        (Some(mut text), None) => {
            let secret_type = if is_object(&text) { SecretType::Json } else { SecretType::Text };
            (SecretValue::new(std::mem::take(&mut *text).into_bytes()), secret_type)
        }
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| UNUSABLE)?;
            (SecretValue::new(bytes), SecretType::Binary)
        }
        _ => return Err(UNUSABLE),
    };
    let millis = created_date.map_or(0, Epoch::millis);
    let info = info(millis, at_millis(millis), version_id, version_stages.unwrap_or_default());
    Ok(SecretRecord { value: Some(value), secret_type, metadata: Metadata::new(), info, updated_at: None })
}

/// What is known of a secret at the cost of one description, or of an entry in a list: only versions with labels.
pub(super) fn glance(secret: &Secret) -> Described {
    let changed = secret.last_changed_date.or(secret.created_date).unwrap_or_default().at();
    let created = secret.created_date.or(secret.last_changed_date).unwrap_or_default().at();
    let stages = secret.version_ids_to_stages.as_ref().or(secret.secret_versions_to_stages.as_ref());
    let labelled = stages.into_iter().flatten().filter(|(_, stages)| !stages.is_empty());
    let mut versions: Vec<VersionInfo> =
        labelled.map(|(id, stages)| info(0, created, id.clone(), stages.clone())).collect();
    versions.sort_by(|one, other| (order(one), &one.native_id).cmp(&(order(other), &other.native_id)));
    for (number, version) in (1..).zip(&mut versions) {
        version.version = number;
    }
    // times of single versions are not told; this one makes every change of the secret show
    if let Some(newest) = versions.last_mut() {
        newest.created_at = changed;
    }
    described(secret, versions)
}

/// What is known of a secret and all its versions.
pub(super) fn whole(secret: &Secret, versions: Vec<Version>) -> Described {
    // no version is younger than the last change
    let changed = secret.last_changed_date.map_or(u64::MAX, Epoch::millis);
    let infos = versions.into_iter().map(|version| {
        let millis = version.created_date.map_or(0, Epoch::millis).min(changed);
        info(millis, at_millis(millis), version.version_id, version.version_stages.unwrap_or_default())
    });
    described(secret, numbered(infos.collect()))
}

/// Every version under a number of its own. Of versions made in the same millisecond the newest keeps it, so that the
/// current one is known by the same number wherever it is told of.
fn numbered(mut versions: Vec<VersionInfo>) -> Vec<VersionInfo> {
    versions.sort_by_key(|info| (info.version, order(info)));
    let mut next = u64::MAX;
    for info in versions.iter_mut().rev() {
        info.version = info.version.min(next.saturating_sub(1));
        next = info.version;
    }
    versions
}

fn described(secret: &Secret, mut versions: Vec<VersionInfo>) -> Described {
    let changed = secret.last_changed_date.or(secret.created_date);
    if let Some(end) = secret.deleted_date {
        // when it goes for good may lie ahead; when it was deleted is told by nothing but the last change
        let at = changed.unwrap_or(end).at();
        versions.iter_mut().for_each(|info| info.state = VersionState::Deleted(at));
    }
    let current = versions.iter().find(|info| info.rank == Rank::Current);
    Described {
        metadata: metadata(secret),
        current_version: current.map_or(0, |info| info.version),
        oldest_version: versions.first().map_or(0, |info| info.version),
        created_at: secret.created_date.or(changed).unwrap_or_default().at(),
        updated_at: changed.unwrap_or_default().at(),
        purges_at: secret.deleted_date.map(Epoch::at),
        versions,
        ..Described::default()
    }
}

/// Tags, and the description among them.
pub(super) fn metadata(secret: &Secret) -> Metadata {
    let tags = secret.tags.iter().flatten();
    let mut metadata: Metadata = tags.map(|tag| (tag.key.clone(), tag.value.clone().unwrap_or_default())).collect();
    if let Some(description) = secret.description.as_ref().filter(|text| !text.is_empty()) {
        metadata.insert(DESCRIPTION.to_owned(), description.clone());
    }
    metadata
}

fn info(version: u64, created_at: Timestamp, id: String, stages: Vec<String>) -> VersionInfo {
    let has = |label: &str| stages.iter().any(|stage| stage == label);
    let rank = match (has(CURRENT), has(PREVIOUS)) {
        (true, _) => Rank::Current,
        (false, true) => Rank::Previous,
        (false, false) => Rank::Other,
    };
    let more = stages.into_iter().filter(|stage| stage != CURRENT && stage != PREVIOUS);
    let mut stages: Vec<Box<str>> = more.map(String::into_boxed_str).collect();
    stages.sort();
    VersionInfo { version, native_id: Some(id.into_boxed_str()), created_at, rank, stages, ..VersionInfo::default() }
}

/// The current version comes last: what is staged for later is not newer yet.
const fn order(info: &VersionInfo) -> u8 {
    match info.rank {
        Rank::Unknown | Rank::Other => 0,
        Rank::Previous => 1,
        Rank::Current => 2,
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<SecretRecord, BackendError> {
        record(serde_json::from_str(text).unwrap())
    }

    fn secret(text: &str) -> Secret {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn values_are_the_bytes_written_and_of_the_type_they_look_like() {
        let read = |value: &str| {
            self::value(&format!(
                r#"{{"Name":"n","VersionId":"v","VersionStages":["AWSCURRENT"],"CreatedDate":2,{value}}}"#
            ))
        };
        for (text, bytes, secret_type) in [
            (r#""SecretString":"{\"a\": 1.50}""#, &b"{\"a\": 1.50}"[..], SecretType::Json),
            (r#""SecretString":" {} ""#, &b" {} "[..], SecretType::Json),
            (r#""SecretString":"{no""#, &b"{no"[..], SecretType::Text),
            (r#""SecretString":"[1]""#, &b"[1]"[..], SecretType::Text),
            (r#""SecretString":"\u00e9""#, "é".as_bytes(), SecretType::Text),
            (r#""SecretString":"""#, &b""[..], SecretType::Text),
            (r#""SecretString":null,"SecretBinary":"AP8=""#, &b"\x00\xff"[..], SecretType::Binary),
        ] {
            let record = read(text).unwrap();
            assert_eq!((record.value.unwrap().expose(), record.secret_type), (bytes, secret_type), "{text}");
            assert_eq!((record.info.version, record.info.rank), (2000, Rank::Current));
            assert_eq!(record.info.native_id.as_deref(), Some("v"));
        }
        for text in [r#""ARN":"x""#, r#""SecretBinary":"%""#, r#""SecretBinary":"AA==","SecretString":"x""#] {
            assert!(matches!(read(text), Err(BackendError::Unusable(_))), "{text}");
        }
    }

    #[test]
    fn labels_are_ranks_and_stages() {
        let text = r#"{"Name":"n","VersionId":"v","VersionStages":["b","AWSPREVIOUS","a"],"SecretString":"x"}"#;
        let info = value(text).unwrap().info;
        assert_eq!((info.rank, info.stages), (Rank::Previous, vec![Box::from("a"), Box::from("b")]));
        let text = r#"{"Name":"n","VersionId":"v","VersionStages":null,"SecretString":"x"}"#;
        assert_eq!(value(text).unwrap().info.rank, Rank::Other);
    }

    const ENTRY: &str = r#"{"Name":"n","Description":"Main","CreatedDate":100,"LastChangedDate":200.5,
        "Tags":[{"Key":"team","Value":"a"},{"Key":"empty"}],
        "STAGES":{"p":["AWSPENDING"],"c":["AWSCURRENT"],"b":["AWSPREVIOUS"],"gone":[]}}"#;

    #[test]
    fn a_list_entry_and_a_description_give_the_same_glance() {
        let described = glance(&secret(&ENTRY.replace("STAGES", "VersionIdsToStages")));
        let listed = secret(&ENTRY.replace("STAGES", "SecretVersionsToStages"));
        assert_eq!(described, glance(&listed));
        let told: Vec<_> =
            described.versions.iter().map(|info| (info.version, info.native_id.as_deref().unwrap())).collect();
        assert_eq!(told, [(1, "p"), (2, "b"), (3, "c")]);
        assert_eq!((described.current_version, described.oldest_version), (3, 1));
        let times: Vec<u64> = described.versions.iter().map(|info| info.created_at.secs()).collect();
        assert_eq!(times, [100, 100, 200]);
        let metadata = [("aws:description", "Main"), ("empty", ""), ("team", "a")];
        assert!(described.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(metadata));
    }

    #[test]
    fn every_change_of_the_secret_changes_the_glance_and_its_reading_does_not() {
        let before = secret(&ENTRY.replace("STAGES", "VersionIdsToStages"));
        let of = |edit: fn(&mut Secret)| {
            let mut secret = secret(&ENTRY.replace("STAGES", "VersionIdsToStages"));
            edit(&mut secret);
            glance(&secret)
        };
        let before = glance(&before);
        assert_eq!(of(|_| {}), before);
        for after in [
            of(|secret| secret.last_changed_date = Some(Epoch(201.0))),
            of(|secret| secret.deleted_date = Some(Epoch(900.0))),
            of(|secret| secret.description = None),
            of(|secret| secret.tags = None),
        ] {
            assert_ne!((after.versions, after.metadata), (before.versions.clone(), before.metadata.clone()));
        }
    }

    #[test]
    fn a_deleted_secret_is_deleted_now_and_goes_later() {
        let text = r#"{"Name":"n","CreatedDate":100,"LastChangedDate":200,"DeletedDate":9000,
            "VersionIdsToStages":{"c":["AWSCURRENT"]}}"#;
        let found = glance(&secret(text));
        assert_eq!(found.versions[0].state, VersionState::Deleted(Timestamp::from_secs(200)));
        assert_eq!(found.purges_at, Some(Timestamp::from_secs(9000)));
    }

    #[test]
    fn a_secret_without_a_value_has_no_version() {
        for text in [r#"{"Name":"n","CreatedDate":100}"#, r#"{"Name":"n","VersionIdsToStages":{"x":[]}}"#] {
            let found = glance(&secret(text));
            assert!(found.versions.is_empty());
            assert_eq!((found.current_version, found.oldest_version), (0, 0));
        }
    }

    fn version(id: &str, millis: u64, stages: &[&str]) -> Version {
        let version_stages = Some(stages.iter().map(|stage| (*stage).to_owned()).collect());
        Version { version_id: id.to_owned(), version_stages, created_date: Some(Epoch(millis as f64 / 1000.0)) }
    }

    fn numbers(described: &Described) -> Vec<(u64, &str)> {
        described.versions.iter().map(|info| (info.version, info.native_id.as_deref().unwrap())).collect()
    }

    #[test]
    fn numbers_are_times_and_never_the_same_twice() {
        let secret = secret(r#"{"Name":"n","CreatedDate":1,"LastChangedDate":9}"#);
        let versions = vec![
            version("c", 5000, &["AWSCURRENT"]),
            version("a", 3000, &[]),
            version("b", 5000, &["AWSPREVIOUS"]),
            version("z", 5000, &[]),
            version("n", 6000, &["AWSPENDING"]),
        ];
        let found = whole(&secret, versions);
        assert_eq!(numbers(&found), [(3000, "a"), (4998, "z"), (4999, "b"), (5000, "c"), (6000, "n")]);
        assert_eq!((found.current_version, found.oldest_version), (5000, 3000));
        assert_eq!(found.versions[2].created_at, Timestamp::from_secs(5), "times stay what they are");
    }

    #[test]
    fn no_version_is_younger_than_the_last_change() {
        // one emulator calls every version as old as the question
        let secret = secret(r#"{"Name":"n","CreatedDate":1,"LastChangedDate":9}"#);
        let found = whole(&secret, vec![version("b", 77_000, &["AWSCURRENT"]), version("a", 77_000, &["AWSPREVIOUS"])]);
        assert_eq!(numbers(&found), [(8999, "a"), (9000, "b")]);
    }
}
