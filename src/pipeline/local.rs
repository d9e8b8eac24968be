//! The local store as a secret store: versions, soft deletes, conditional writes.
//!
//! A current read costs the index and one sealed record. Every write takes the tenant's writer, reads the sealed head and
//! commits its successor with the new value in one batch.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::seal::{Head, HeadVersion, Records, SealError};
use crate::secret::{
    Described, Metadata, MetadataChange, Outcome, Precondition, SecretAction, SecretPath, SecretRecord, SecretType,
    SecretValue, VersionInfo, VersionSelector, VersionSet, VersionState, WriteOptions,
};

/// Why the local store did not do what was asked.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The version named is not the current one, or the secret exists already.
    #[error("the precondition does not hold")]
    Conflict,
    /// The secret wants every write to name the version it replaces.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// A value that is no JSON object cannot be patched.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// The result would be larger than `limits.value_bytes`.
    #[error("the value is larger than limits.value_bytes")]
    TooLarge,
    /// Not something a local secret has.
    #[error("not offered for local secrets")]
    Unsupported,
    /// The store or the seal failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl LocalError {
    /// What a client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict => ErrorKind::Conflict,
            Self::CasRequired | Self::NotAnObject => ErrorKind::Malformed,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Seal(error) => error.kind(),
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::CasRequired => Some("check-and-set parameter required for this call"),
            Self::NotAnObject => Some("the value is not a JSON object"),
            Self::Conflict | Self::TooLarge | Self::Unsupported | Self::Seal(_) => None,
        }
    }
}

/// What a tenant's local secrets live by.
#[derive(Clone, Copy, Debug)]
pub struct LocalLimits {
    /// How many versions are kept unless the secret says otherwise.
    pub max_versions: u64,
    /// Largest value, in bytes.
    pub value_bytes: usize,
}

/// Answers a read; never waits.
pub(super) fn read(
    records: &Records,
    path: &SecretPath,
    action: &SecretAction,
    now: Timestamp,
) -> Result<Outcome, LocalError> {
    match action {
        SecretAction::Read(version) | SecretAction::Subkeys { version, .. } => one(records, path, version, now),
        SecretAction::Describe => Ok(records.head(path)?.map_or(Outcome::NotFound, |head| described(&head, now))),
        _ => Err(LocalError::Unsupported),
    }
}

fn one(records: &Records, path: &SecretPath, version: &VersionSelector, now: Timestamp) -> Result<Outcome, LocalError> {
    one_again(records, path, version, now, 0)
}

fn one_again(
    records: &Records,
    path: &SecretPath,
    version: &VersionSelector,
    now: Timestamp,
    attempt: u8,
) -> Result<Outcome, LocalError> {
    let Some(stored) = records.stored(path) else { return Ok(Outcome::NotFound) };
    let (current, newest) = (stored.current, stored.version.clone());
    let metadata = stored.metadata.clone();
    let metadata = metadata.map(|shared| (*shared).clone()).unwrap_or_default();
    let (number, known) = match version {
        VersionSelector::Current => (current, Some(newest)),
        VersionSelector::Number(number) if *number == current => (current, Some(newest)),
        VersionSelector::Number(number) => {
            (*number, records.head(path)?.and_then(|head| head.versions.get(number).cloned()))
        }
        VersionSelector::Native(_) | VersionSelector::Stage(_) => return Ok(Outcome::NotFound),
    };
    let Some(known) = known.filter(|_| number > 0) else { return Ok(Outcome::NotFound) };
    let info = info(number, &known, now);
    let value = if info.state.is_readable() { records.value_of(path, &stored, number)? } else { None };
    if info.state.is_readable() && value.is_none() {
        // a write may have removed the version between the index and the store; if it did, this answer is already old
        let still = records.head(path)?.and_then(|head| head.versions.get(&number).cloned());
        return match still.filter(|version| version.is_readable(now)) {
            Some(_) if attempt > 0 => Err(SealError::Broken.into()),
            _ if attempt > 0 => Ok(Outcome::NotFound),
            _ => one_again(records, path, version, now, attempt + 1),
        };
    }
    let updated_at = Some(info.created_at);
    Ok(Outcome::Record(Box::new(SecretRecord { value, secret_type: known.secret_type(), metadata, info, updated_at })))
}

/// Carries out a write.
pub(super) async fn write(
    records: &Records,
    path: &SecretPath,
    action: SecretAction,
    limits: LocalLimits,
    now: Timestamp,
) -> Result<Outcome, LocalError> {
    let writer = records.writer().await;
    let head = records.head(path)?;
    match action {
        SecretAction::Write { value, secret_type, options } => {
            let head = head.unwrap_or_default();
            check(&head, &options)?;
            put(records, &writer, path, head, (value, secret_type, options.metadata), limits, now).await
        }
        SecretAction::Patch { patch, options } => {
            let Some(head) = head else { return Ok(Outcome::NotFound) };
            let known = head.versions.get(&head.current).filter(|version| version.is_readable(now));
            let Some(known) = known else { return one(records, path, &VersionSelector::Current, now) };
            check(&head, &options)?;
            if known.secret_type() != SecretType::Json {
                return Err(LocalError::NotAnObject);
            }
            let current = records.value(path, head.current)?.ok_or(SealError::Broken)?;
            let value = merged(&current, &patch)?;
            put(records, &writer, path, head, (value, SecretType::Json, options.metadata), limits, now).await
        }
        SecretAction::WriteMetadata(change) => {
            let head = changed(head.unwrap_or_else(|| fresh(now)), change, now);
            records.commit(&writer, path, &head, None, &[]).await?;
            Ok(Outcome::Done)
        }
        SecretAction::Purge => {
            if let Some(head) = head {
                records.purge(&writer, path, &head).await?;
            }
            Ok(Outcome::Done)
        }
        SecretAction::Delete(set) => {
            mark(records, &writer, path, head, &set, |version| {
                if version.is_readable(now) {
                    version.deleted = Some(now.micros());
                }
            })
            .await
        }
        SecretAction::Undelete(set) => {
            mark(records, &writer, path, head, &set, |version| {
                if !version.destroyed {
                    version.deleted = None;
                }
            })
            .await
        }
        SecretAction::Destroy(set) => {
            mark(records, &writer, path, head, &set, |version| version.destroyed = true).await
        }
        _ => Err(LocalError::Unsupported),
    }
}

type Writer<'a> = tokio::sync::MutexGuard<'a, ()>;

fn fresh(now: Timestamp) -> Head {
    Head { created: now.micros(), updated: now.micros(), ..Head::default() }
}

fn check(head: &Head, options: &WriteOptions) -> Result<(), LocalError> {
    if head.cas_required && !options.conditional {
        return Err(LocalError::CasRequired);
    }
    let holds = match options.precondition {
        Precondition::None => true,
        Precondition::Absent => head.current == 0,
        Precondition::Version(version) => head.current == version,
    };
    if holds { Ok(()) } else { Err(LocalError::Conflict) }
}

async fn put(
    records: &Records,
    writer: &Writer<'_>,
    path: &SecretPath,
    head: Head,
    (value, secret_type, metadata): (SecretValue, SecretType, Option<Metadata>),
    limits: LocalLimits,
    now: Timestamp,
) -> Result<Outcome, LocalError> {
    if value.len() > limits.value_bytes {
        return Err(LocalError::TooLarge);
    }
    let mut head = if head.created == 0 { Head { created: now.micros(), ..head } } else { head };
    head.updated = now.micros();
    head.current += 1;
    if let Some(metadata) = metadata {
        head.metadata = metadata;
    }
    let deleted = (head.delete_after_secs > 0)
        .then(|| now.after(std::time::Duration::from_secs(head.delete_after_secs)).micros());
    let version =
        HeadVersion { created: now.micros(), deleted, destroyed: false, secret_type: secret_type.as_str().to_owned() };
    let info = info(head.current, &version, now);
    head.versions.insert(head.current, version);
    let gone = prune(&mut head, limits.max_versions);
    records.commit(writer, path, &head, Some((info.version, &value)), &gone).await?;
    Ok(Outcome::Written(info, head.metadata))
}

/// Forgets the oldest versions beyond what is kept; returns them.
fn prune(head: &mut Head, default: u64) -> Vec<u64> {
    let keep = if head.max_versions > 0 { head.max_versions } else { default }.max(1);
    let excess = usize::try_from((head.versions.len() as u64).saturating_sub(keep)).unwrap_or(0);
    let gone: Vec<u64> = head.versions.keys().copied().take(excess).collect();
    for version in &gone {
        head.versions.remove(version);
    }
    gone
}

async fn mark(
    records: &Records,
    writer: &Writer<'_>,
    path: &SecretPath,
    head: Option<Head>,
    set: &VersionSet,
    mut change: impl FnMut(&mut HeadVersion),
) -> Result<Outcome, LocalError> {
    let Some(mut head) = head else { return Ok(Outcome::Done) };
    let numbers = match set {
        VersionSet::Current => vec![head.current],
        VersionSet::Numbers(numbers) => numbers.clone(),
    };
    let mut gone = Vec::new();
    for number in numbers {
        if let Some(version) = head.versions.get_mut(&number) {
            change(version);
            if version.destroyed {
                gone.push(number);
            }
        }
    }
    records.commit(writer, path, &head, None, &gone).await?;
    Ok(Outcome::Done)
}

fn changed(mut head: Head, change: MetadataChange, now: Timestamp) -> Head {
    if let Some(entries) = change.metadata {
        if !change.merge {
            head.metadata.clear();
        }
        for (key, value) in entries {
            match value {
                Some(value) => drop(head.metadata.insert(key, value)),
                None => drop(head.metadata.remove(&key)),
            }
        }
    }
    head.cas_required = change.cas_required.unwrap_or(head.cas_required);
    head.max_versions = change.max_versions.unwrap_or(head.max_versions);
    head.delete_after_secs = change.delete_after_secs.unwrap_or(head.delete_after_secs);
    head.updated = now.micros();
    head
}

/// RFC 7396 on two JSON objects.
fn merged(current: &SecretValue, patch: &SecretValue) -> Result<SecretValue, LocalError> {
    let object = |value: &SecretValue| serde_json::from_slice::<Map<String, Value>>(value.expose());
    let (Ok(mut target), Ok(patch)) = (object(current), object(patch)) else { return Err(LocalError::NotAnObject) };
    merge(&mut target, patch);
    serde_json::to_vec(&target).map(SecretValue::new).map_err(|_| LocalError::NotAnObject)
}

fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(&key)),
            Value::Object(inner) => {
                let slot = target.entry(key).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(below) = slot {
                    merge(below, inner);
                }
            }
            other => drop(target.insert(key, other)),
        }
    }
}

fn info(number: u64, known: &HeadVersion, now: Timestamp) -> VersionInfo {
    let deleted = known.deleted.map(Timestamp::from_micros);
    let state = match deleted {
        _ if known.destroyed => VersionState::Destroyed(deleted),
        Some(at) if at <= now => VersionState::Deleted(at),
        _ => VersionState::Current,
    };
    VersionInfo {
        version: number,
        native_id: None,
        created_at: Timestamp::from_micros(known.created),
        state,
        deletes_at: deleted.filter(|at| *at > now),
    }
}

fn described(head: &Head, now: Timestamp) -> Outcome {
    let versions: Vec<VersionInfo> = head.versions.iter().map(|(number, known)| info(*number, known, now)).collect();
    Outcome::Described(Box::new(Described {
        metadata: head.metadata.clone(),
        current_version: head.current,
        oldest_version: versions.first().map_or(0, |first| first.version),
        created_at: Timestamp::from_micros(head.created),
        updated_at: Timestamp::from_micros(head.updated),
        cas_required: head.cas_required,
        max_versions: head.max_versions,
        delete_after_secs: head.delete_after_secs,
        versions,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Barrier, KeyProvider as _, RandomKey};
    use crate::secret::Tenant;
    use crate::store::MemoryStore;

    const LIMITS: LocalLimits = LocalLimits { max_versions: 3, value_bytes: 64 };

    struct Desk {
        records: Records,
        path: SecretPath,
        now: Timestamp,
    }

    impl Desk {
        fn new() -> Self {
            let root = RandomKey.root_key().unwrap();
            let barrier = Barrier::new(&root, [0; 16], &Tenant::default_tenant());
            let records = Records::new(barrier, Arc::new(MemoryStore::default()));
            Self { records, path: SecretPath::parse("a/b").unwrap(), now: Timestamp::from_secs(1000) }
        }

        async fn act(&mut self, action: SecretAction) -> Result<Outcome, LocalError> {
            self.now = self.now.after(std::time::Duration::from_secs(1));
            write(&self.records, &self.path, action, LIMITS, self.now).await
        }

        async fn put(&mut self, text: &str, precondition: Precondition) -> Result<Outcome, LocalError> {
            let options =
                WriteOptions { precondition, conditional: precondition != Precondition::None, metadata: None };
            let value = SecretValue::copy_of(text.as_bytes());
            self.act(SecretAction::Write { value, secret_type: SecretType::Json, options }).await
        }

        fn value(&self, version: VersionSelector) -> Option<String> {
            match read(&self.records, &self.path, &SecretAction::Read(version), self.now).unwrap() {
                Outcome::Record(record) => {
                    record.value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
                }
                _ => None,
            }
        }
    }

    #[tokio::test]
    async fn cas_lets_exactly_the_expected_version_be_replaced() {
        let mut desk = Desk::new();
        desk.put("{}", Precondition::Absent).await.unwrap();
        assert!(matches!(desk.put("{}", Precondition::Absent).await, Err(LocalError::Conflict)));
        assert!(matches!(desk.put("{}", Precondition::Version(2)).await, Err(LocalError::Conflict)));
        desk.put("{}", Precondition::Version(1)).await.unwrap();
        let change = MetadataChange { cas_required: Some(true), ..MetadataChange::default() };
        desk.act(SecretAction::WriteMetadata(change)).await.unwrap();
        assert!(matches!(desk.put("{}", Precondition::None).await, Err(LocalError::CasRequired)));
    }

    #[tokio::test]
    async fn versions_are_kept_deleted_undeleted_destroyed_and_pruned() {
        let mut desk = Desk::new();
        for text in ["1", "2", "3", "4"] {
            desk.put(text, Precondition::None).await.unwrap();
        }
        assert_eq!(desk.value(VersionSelector::Number(1)), None, "pruned");
        assert_eq!(desk.value(VersionSelector::Number(2)).as_deref(), Some("2"));
        desk.act(SecretAction::Delete(VersionSet::Current)).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current), None);
        desk.act(SecretAction::Undelete(VersionSet::Numbers(vec![4]))).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current).as_deref(), Some("4"));
        desk.act(SecretAction::Destroy(VersionSet::Numbers(vec![4]))).await.unwrap();
        desk.act(SecretAction::Undelete(VersionSet::Numbers(vec![4]))).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current), None);
        assert!(desk.records.value(&desk.path, 4).unwrap().is_none(), "a destroyed value is not kept");
        desk.put("5", Precondition::Version(4)).await.unwrap();
        desk.act(SecretAction::Purge).await.unwrap();
        assert!(matches!(
            read(&desk.records, &desk.path, &SecretAction::Describe, desk.now).unwrap(),
            Outcome::NotFound
        ));
    }

    #[tokio::test]
    async fn a_patch_merges_objects_and_removes_nulls() {
        let mut desk = Desk::new();
        desk.put(r#"{"a":1,"b":{"c":2,"d":3}}"#, Precondition::None).await.unwrap();
        let patch = SecretValue::copy_of(br#"{"b":{"c":null,"e":4},"f":5}"#);
        desk.act(SecretAction::Patch { patch, options: WriteOptions::default() }).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current).unwrap(), r#"{"a":1,"b":{"d":3,"e":4},"f":5}"#);
        let patch = SecretValue::new(format!(r#"{{"x":"{}"}}"#, "y".repeat(64)).into_bytes());
        let result = desk.act(SecretAction::Patch { patch, options: WriteOptions::default() }).await;
        assert!(matches!(result, Err(LocalError::TooLarge)), "limits hold for the result");
    }

    #[tokio::test]
    async fn a_version_deletes_itself_when_its_time_is_over() {
        let mut desk = Desk::new();
        let change = MetadataChange { delete_after_secs: Some(10), ..MetadataChange::default() };
        desk.act(SecretAction::WriteMetadata(change)).await.unwrap();
        desk.put("1", Precondition::None).await.unwrap();
        assert!(desk.value(VersionSelector::Current).is_some());
        desk.now = desk.now.after(std::time::Duration::from_secs(10));
        assert!(desk.value(VersionSelector::Current).is_none());
    }
}
