//! Changes of secrets. Each call is sent once; where a change takes several, a failure behind the first is a doubt.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::AwsBackend;
use super::fault::Told;
use super::neutral;
use super::read::parsed;
use super::schema::{Create, Delete, MoveLabel, Named, Put, Tag, TagSecret, UntagSecret, Update, Written};
use crate::backend::{Ask, Attempt, BackendError, Change};
use crate::clock::{Clock as _, SystemClock};
use crate::secret::{DESCRIPTION, Metadata, Outcome, Rank, SecretType, SecretValue, VersionInfo, VersionSet};

/// Days a deleted secret can be restored for, as the service offers them.
const WINDOWS: RangeInclusive<u16> = 7..=30;
/// The label of the version that is read when none is named.
const CURRENT: &str = "AWSCURRENT";
/// The label of the one before.
const PREVIOUS: &str = "AWSPREVIOUS";
/// Tags the account's own tools set under this prefix are nobody's to change.
const RESERVED: &str = "aws:";
const REFUSED: BackendError = BackendError::Rejected(400);
const NO_ANSWER: BackendError = BackendError::Unknown("the answer cannot be read");
const IN_PART: BackendError = BackendError::Unknown("only a part of the change was made");
const RESTORED: BackendError = BackendError::Unknown("the secret was restored, and its value not written");

/// A value, as it is sent.
struct Payload<'a> {
    text: Option<&'a str>,
    binary: Option<Zeroizing<String>>,
}

/// A version that is to be made.
#[derive(Clone, Copy)]
struct Fresh<'a> {
    payload: &'a Payload<'a>,
    /// Its identifier.
    token: &'a str,
    /// Its labels, where the client chose them.
    stages: Option<&'a [String]>,
    /// Whether a deleted secret comes back with it.
    revives: bool,
}

impl AwsBackend {
    pub(super) async fn change(&self, ask: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        match change {
            Change::Put { value, secret_type, expected, token, stages, revives } => {
                if let Some(expected) = expected {
                    self.compare(ask, expected).await?;
                }
                let made;
                let token: &str = match token {
                    Some(token) => token,
                    None => {
                        made = uuid()?;
                        &made
                    }
                };
                let payload = Payload::of(value, secret_type)?;
                let id = self.put(ask, Fresh { payload: &payload, token, stages, revives }).await?;
                Ok(Outcome::Written(self.made(ask, id, stages).await, Metadata::new()))
            }
            Change::Create(metadata) => self.create(ask, metadata).await,
            Change::Label { stage, from, to } => self.label(ask, stage, from, to).await,
            Change::Metadata(wanted) => self.describe_as(ask, wanted).await,
            Change::Delete(VersionSet::Numbers(versions), days) => self.delete_versions(ask, versions, days).await,
            Change::Delete(VersionSet::Current | VersionSet::All, days) => self.delete(ask, Some(window(days))).await,
            Change::Purge => self.delete(ask, None).await,
            // labels and versions are as they were, whichever are meant
            Change::Undelete(_) => match self.send(ask, "RestoreSecret", &named(ask)).await? {
                Told::Answer(_) | Told::Alive => Ok(Outcome::Done),
                Told::Absent => Ok(Outcome::NotFound),
                _ => Err(REFUSED),
            },
            Change::Destroy(_) => Err(BackendError::Unsupported),
        }
    }

    /// The service compares nothing: this is the nearest there is.
    async fn compare(&self, ask: Ask<'_>, expected: u64) -> Result<(), BackendError> {
        let known = self.known(ask).await?;
        if known.map_or(0, |known| known.current_version) == expected { Ok(()) } else { Err(BackendError::Conflict) }
    }

    /// Writes a version; yields its identifier.
    ///
    /// A put that is told of a deleted secret restores it only if the writer knew that it is: in a store with versions that
    /// is what a new version of a deleted secret does. A client of this service's own kind never comes here with one: its
    /// write wants a secret that is not deleted. A deletion nobody here knew of is somebody else's, and a conflict.
    async fn put(&self, ask: Ask<'_>, fresh: Fresh<'_>) -> Result<String, BackendError> {
        let Fresh { payload, token, stages, revives } = fresh;
        let (secret_string, secret_binary) = (payload.text, payload.binary.as_ref().map(|text| text.as_str()));
        let put = Put {
            secret_id: ask.remote.as_str(),
            client_request_token: token,
            secret_string,
            secret_binary,
            version_stages: stages,
        };
        match self.send(ask, "PutSecretValue", &put).await? {
            // a secret is made with a current version and no other: what was to be staged was not for this one
            Told::Absent if stages.is_some() => return Err(BackendError::Conflict),
            Told::Absent => {}
            Told::Deleted if !revives => return Err(BackendError::Conflict),
            Told::Deleted => {
                match self.send(ask, "RestoreSecret", &named(ask)).await? {
                    Told::Answer(_) | Told::Alive => {}
                    _ => return Err(BackendError::Conflict),
                }
                let told = self.send(ask, "PutSecretValue", &put).await;
                return written(told.map_err(|_| RESTORED)?, token).map_err(|_| RESTORED);
            }
            told => return written(told, token),
        }
        let create = Create {
            name: ask.remote.as_str(),
            client_request_token: Some(token),
            description: None,
            secret_string,
            secret_binary,
            kms_key_id: self.kms_key_id.as_deref(),
            tags: &self.tags,
        };
        written(self.send(ask, "CreateSecret", &create).await?, token)
    }

    /// What is known of a version just written. That it was written does not depend on it: if the service does not say,
    /// the time it was made at is about now.
    async fn made(&self, ask: Ask<'_>, id: String, stages: Option<&[String]>) -> VersionInfo {
        let known = self.known(ask).await.ok().flatten();
        let is_it = |info: &VersionInfo| info.native_id.as_deref() == Some(id.as_str());
        let found = known.and_then(|known| known.versions.into_iter().find(is_it));
        found.unwrap_or_else(|| {
            let now = SystemClock.now();
            let is_current = stages.is_none_or(|stages| stages.iter().any(|stage| stage == CURRENT));
            let own = stages.into_iter().flatten().filter(|stage| !matches!(stage.as_str(), CURRENT | PREVIOUS));
            VersionInfo {
                version: now.micros() / 1000,
                native_id: Some(id.clone().into_boxed_str()),
                created_at: now,
                rank: if is_current { Rank::Current } else { Rank::Other },
                stages: own.map(|stage| Box::from(stage.as_str())).collect(),
                ..VersionInfo::default()
            }
        })
    }

    /// Makes a secret without a value.
    async fn create(&self, ask: Ask<'_>, metadata: &Metadata) -> Result<Outcome, BackendError> {
        let given = self.tags.iter().filter(|tag| !metadata.contains_key(&tag.key)).cloned();
        let own = metadata.iter().filter(|(key, _)| !key.starts_with(RESERVED));
        let own = own.map(|(key, value)| Tag { key: key.clone(), value: Some(value.clone()) });
        let tags: Vec<Tag> = given.chain(own).collect();
        let create = Create {
            name: ask.remote.as_str(),
            client_request_token: None,
            description: metadata.get(DESCRIPTION).map(String::as_str),
            secret_string: None,
            secret_binary: None,
            kms_key_id: self.kms_key_id.as_deref(),
            tags: &tags,
        };
        match self.send(ask, "CreateSecret", &create).await? {
            Told::Answer(_) => Ok(Outcome::Done),
            Told::Exists | Told::Deleted => Err(BackendError::Conflict),
            Told::Absent | Told::NoValue | Told::Alive => Err(REFUSED),
        }
    }

    async fn label(
        &self,
        ask: Ask<'_>,
        version_stage: &str,
        remove_from_version_id: Option<&str>,
        move_to_version_id: Option<&str>,
    ) -> Result<Outcome, BackendError> {
        let secret_id = ask.remote.as_str();
        let body = MoveLabel { secret_id, version_stage, remove_from_version_id, move_to_version_id };
        match self.send(ask, "UpdateSecretVersionStage", &body).await? {
            Told::Answer(_) => Ok(Outcome::Done),
            Told::Absent | Told::NoValue => Ok(Outcome::NotFound),
            Told::Deleted => Err(BackendError::Conflict),
            Told::Alive | Told::Exists => Err(REFUSED),
        }
    }

    /// Makes tags and description what is wanted.
    async fn describe_as(&self, ask: Ask<'_>, wanted: &Metadata) -> Result<Outcome, BackendError> {
        let Some(secret) = self.description(ask).await? else { return Ok(Outcome::NotFound) };
        if secret.deleted_date.is_some() {
            return Err(REFUSED);
        }
        let there = neutral::metadata(&secret);
        let Difference { set, mut unset, description } = Difference::between(&there, wanted);
        // what the configuration gives every secret is not the client's to leave out
        unset.retain(|key| !self.tags.iter().any(|tag| tag.key == *key));
        let secret_id = ask.remote.as_str();
        let mut is_first = true;
        if !unset.is_empty() {
            let body = UntagSecret { secret_id, tag_keys: &unset };
            self.step(ask, "UntagResource", &body, &mut is_first).await?;
        }
        if !set.is_empty() {
            let body = TagSecret { secret_id, tags: &set };
            self.step(ask, "TagResource", &body, &mut is_first).await?;
        }
        if let Some(description) = description {
            let token = uuid()?;
            let body = Update { secret_id, client_request_token: &token, description };
            self.step(ask, "UpdateSecret", &body, &mut is_first).await?;
        }
        Ok(Outcome::Done)
    }

    /// One of several calls that make a change.
    async fn step(
        &self,
        ask: Ask<'_>,
        action: &str,
        body: &impl Serialize,
        is_first: &mut bool,
    ) -> Result<(), BackendError> {
        let was_first = std::mem::replace(is_first, false);
        match self.send(ask, action, body).await {
            Ok(Told::Answer(_)) => Ok(()),
            _ if !was_first => Err(IN_PART),
            Ok(_) => Err(REFUSED),
            Err(error) => Err(error),
        }
    }

    /// Deletes the secret if one of `versions` is its current one. A single version cannot be deleted.
    async fn delete_versions(
        &self,
        ask: Ask<'_>,
        versions: &[u64],
        days: Option<u16>,
    ) -> Result<Outcome, BackendError> {
        let (secret, known) = tokio::join!(self.description(ask), self.known(ask));
        let (Some(secret), Some(known)) = (secret?, known?) else { return Ok(Outcome::NotFound) };
        let glance = neutral::glance(&secret);
        if versions.contains(&known.current_version) || versions.contains(&glance.current_version) {
            return self.delete(ask, Some(window(days))).await;
        }
        let is_other = known.versions.iter().chain(&glance.versions).any(|info| versions.contains(&info.version));
        Err(if is_other { BackendError::Unsupported } else { BackendError::Conflict })
    }

    /// Deletes the secret, for good if no number of days is given.
    async fn delete(&self, ask: Ask<'_>, days: Option<u16>) -> Result<Outcome, BackendError> {
        let body = Delete {
            secret_id: ask.remote.as_str(),
            recovery_window_in_days: days,
            force_delete_without_recovery: days.is_none().then_some(true),
        };
        match self.send(ask, "DeleteSecret", &body).await? {
            Told::Answer(_) => Ok(Outcome::Done),
            Told::Deleted if days.is_some() => Ok(Outcome::Done),
            Told::Absent => Ok(Outcome::NotFound),
            _ => Err(REFUSED),
        }
    }

    async fn send(&self, ask: Ask<'_>, action: &str, body: &impl Serialize) -> Result<Told, BackendError> {
        self.upstream.call(action, body, Attempt::Write, ask.request_id).await
    }
}

/// Days a deleted secret can be restored for; the longest the service offers, if nobody chose.
fn window(days: Option<u16>) -> u16 {
    days.unwrap_or(*WINDOWS.end()).clamp(*WINDOWS.start(), *WINDOWS.end())
}

fn named(ask: Ask<'_>) -> Named<'_> {
    Named { secret_id: ask.remote.as_str() }
}

/// The identifier of what was written.
fn written(told: Told, token: &str) -> Result<String, BackendError> {
    match told {
        Told::Answer(answer) => {
            let Written { version_id } = parsed(&answer, NO_ANSWER)?;
            Ok(version_id.unwrap_or_else(|| token.to_owned()))
        }
        // the identifier is another version's, or somebody else made the secret meanwhile
        Told::Exists | Told::Deleted => Err(BackendError::Conflict),
        Told::Absent | Told::NoValue | Told::Alive => Err(REFUSED),
    }
}

impl<'a> Payload<'a> {
    fn of(value: &'a SecretValue, secret_type: SecretType) -> Result<Self, BackendError> {
        // nothing was sent
        const NOT_TEXT: BackendError = BackendError::Unusable("the value is not of its type");
        Ok(match secret_type {
            SecretType::Binary => Self { text: None, binary: Some(Zeroizing::new(STANDARD.encode(value.expose()))) },
            SecretType::Json | SecretType::Text => {
                let text = std::str::from_utf8(value.expose()).map_err(|_| NOT_TEXT)?;
                Self { text: Some(text), binary: None }
            }
        })
    }
}

/// What has to be done for metadata to become what is wanted.
#[derive(Debug)]
struct Difference<'a> {
    set: Vec<Tag>,
    unset: Vec<&'a str>,
    description: Option<&'a str>,
}

impl<'a> Difference<'a> {
    fn between(there: &'a Metadata, wanted: &'a Metadata) -> Self {
        let is_ours = |key: &str| !key.starts_with(RESERVED);
        let set = wanted.iter().filter(|(key, value)| is_ours(key) && there.get(*key) != Some(*value));
        let set = set.map(|(key, value)| Tag { key: key.clone(), value: Some(value.clone()) }).collect();
        let unset = there.keys().filter(|key| is_ours(key) && !wanted.contains_key(*key)).map(String::as_str).collect();
        let text = |metadata: &'a Metadata| metadata.get(DESCRIPTION).map_or("", String::as_str);
        let description = (text(there) != text(wanted)).then_some(text(wanted));
        Self { set, unset, description }
    }
}

/// A new identifier of a version.
fn uuid() -> Result<String, BackendError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| BackendError::Unusable("the system's random source failed"))?;
    let random = u128::from_be_bytes(bytes);
    let marked = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    Ok(hyphenated(marked))
}

fn hyphenated(number: u128) -> String {
    let part = |shift: u32, digits: u32| (number >> shift) & ((1 << (digits * 4)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_out_as_what_they_are() {
        let sent = |bytes: &[u8], secret_type| {
            let value = SecretValue::copy_of(bytes);
            let payload = Payload::of(&value, secret_type)?;
            Ok::<_, BackendError>((payload.text.map(str::to_owned), payload.binary.map(|text| text.to_string())))
        };
        assert_eq!(sent(br#"{"a": 1.50}"#, SecretType::Json).unwrap(), (Some(r#"{"a": 1.50}"#.to_owned()), None));
        assert_eq!(sent(b"x", SecretType::Text).unwrap(), (Some("x".to_owned()), None));
        assert_eq!(sent(b"\x00\xff", SecretType::Binary).unwrap(), (None, Some("AP8=".to_owned())));
        assert!(matches!(sent(b"\xff", SecretType::Text), Err(BackendError::Unusable(_))));
    }

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_differs_is_changed_and_nothing_that_is_reserved() {
        let there = metadata(&[("a", "1"), ("b", "2"), ("c", "3"), ("aws:stack", "x"), (DESCRIPTION, "old")]);
        let wanted = metadata(&[("a", "1"), ("b", "9"), ("d", "4"), ("aws:other", "y")]);
        let found = Difference::between(&there, &wanted);
        let set: Vec<_> = found.set.iter().map(|tag| (tag.key.as_str(), tag.value.as_deref())).collect();
        assert_eq!(set, [("b", Some("9")), ("d", Some("4"))]);
        assert_eq!((found.unset, found.description), (vec!["c"], Some("")));
        let found = Difference::between(&there, &there);
        assert!(found.set.is_empty() && found.unset.is_empty() && found.description.is_none());
    }

    #[test]
    fn identifiers_are_random_uuids() {
        assert_eq!(hyphenated(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff), "00112233-4455-6677-8899-aabbccddeeff");
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        let parts: Vec<&str> = one.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{one}");
    }

    #[test]
    fn w04_an_answer_that_cannot_be_read_is_a_doubt() {
        let answer = |body: &'static str| {
            let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
            Told::Answer(crate::backend::Answer { status, headers, body: bytes::Bytes::from_static(body.as_bytes()) })
        };
        assert_eq!(written(answer(r#"{"VersionId":"v"}"#), "t").unwrap(), "v");
        assert_eq!(written(answer("{}"), "t").unwrap(), "t");
        assert!(matches!(written(answer("<html>"), "t"), Err(BackendError::Unknown(_))));
        assert!(matches!(written(Told::Exists, "t"), Err(BackendError::Conflict)));
    }
}
