//! The local store as a secret store: versions, soft deletes, conditional writes.
//!
//! A current read costs the index and one sealed record. Every write takes the tenant's writer, reads the sealed head and
//! commits its successor with the new value in one batch.

use thiserror::Error;

use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::seal::edit::{self, EditError, Mark};
use crate::seal::{Head, Records, SealError};
use crate::secret::{
    Outcome, Rank, SecretAction, SecretPath, SecretRecord, SecretType, SecretValue, VersionSelector, VersionSet,
    WriteOptions,
};

/// Why the local store did not do what was asked.
#[derive(Debug, Error)]
pub enum LocalError {
    /// What is asked for does not fit what is there.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The result would be larger than `limits.value_bytes`.
    #[error("the value is larger than limits.value_bytes")]
    TooLarge,
    /// A copy of a remote secret, which no rule leads to any more, stands at the path.
    #[error("a quarantined record stands at this path: adopt or purge it")]
    InTheWay,
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
            Self::Edit(error) => error.kind(),
            Self::InTheWay => ErrorKind::Conflict,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Seal(error) => error.kind(),
        }
    }

    /// A text for the client, where there is more to say than the kind.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Edit(error) => error.detail(),
            Self::InTheWay => Some("a quarantined record stands at this path"),
            Self::TooLarge | Self::Unsupported | Self::Seal(_) => None,
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
        SecretAction::Describe => {
            let head = records.head(path)?.filter(|head| head.origin.is_none());
            Ok(head.map_or(Outcome::NotFound, |head| edit::described(&head, now)))
        }
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
    // a copy of a remote secret is served by the rule that leads to it, or not at all
    let Some(stored) = records.stored(path).filter(|stored| stored.copy.is_none() && stored.is_there(now)) else {
        return Ok(Outcome::NotFound);
    };
    let (current, newest) = (stored.current, stored.version.clone());
    let metadata = stored.metadata.clone();
    let metadata = metadata.map(|shared| (*shared).clone()).unwrap_or_default();
    let (number, known, rank) = match version {
        VersionSelector::Current => (current, Some(newest), Rank::Current),
        VersionSelector::Number(number) if *number == current => (current, Some(newest), Rank::Current),
        selector => {
            let Some(head) = records.head(path)? else { return Ok(Outcome::NotFound) };
            let Some(number) = edit::select(&head, selector)? else { return Ok(no_version()) };
            (number, head.versions.get(&number).cloned(), head.rank(number))
        }
    };
    let Some(known) = known.filter(|_| number > 0) else { return Ok(no_version()) };
    let info = edit::info(number, &known, now).ranked(rank);
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

/// There is a secret, and not this version of it.
fn no_version() -> Outcome {
    Outcome::Record(Box::new(SecretRecord::without_version()))
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
    let mut head = records.head(path)?;
    if head.as_ref().is_some_and(|head| head.origin.is_some()) {
        return Err(LocalError::InTheWay);
    }
    if let Some(over) = head.take_if(|head| head.is_expired(now)) {
        records.purge(&writer, path, &over).await?;
    }
    match action {
        SecretAction::Write { value, secret_type, options } => {
            let head = head.unwrap_or_default();
            if let Some(number) = edit::repeated(&head, options.token.as_deref()) {
                let held = records.value(path, number)?;
                return Ok(edit::done_before(&head, number, held, &value, now)?);
            }
            edit::check(&head, &options)?;
            put(records, &writer, path, head, (value, secret_type, options), limits, now).await
        }
        SecretAction::Patch { patch, options } => {
            let Some(head) = head else { return Ok(Outcome::NotFound) };
            let known = head.versions.get(&head.current).filter(|version| version.is_readable(now));
            let Some(known) = known else { return one(records, path, &VersionSelector::Current, now) };
            edit::check(&head, &options)?;
            if known.secret_type() != SecretType::Json {
                return Err(EditError::NotAnObject.into());
            }
            let current = records.value(path, head.current)?.ok_or(SealError::Broken)?;
            let value = edit::merged(&current, &patch)?;
            put(records, &writer, path, head, (value, SecretType::Json, options), limits, now).await
        }
        SecretAction::WriteMetadata(change) => {
            edit::check_change(head.as_ref(), &change)?;
            let mut head = head.unwrap_or_else(|| edit::fresh(now));
            edit::change(&mut head, change, now);
            records.commit(&writer, path, &head, None, &[]).await?;
            Ok(Outcome::Done)
        }
        SecretAction::Purge => {
            if let Some(head) = head {
                records.purge(&writer, path, &head).await?;
            }
            Ok(Outcome::Done)
        }
        SecretAction::Label(change) => {
            let Some(mut head) = head else { return Ok(Outcome::NotFound) };
            edit::relabel(&mut head, &change, now)?;
            records.commit(&writer, path, &head, None, &[]).await?;
            Ok(Outcome::Described(Box::new(edit::summary(&head, now))))
        }
        SecretAction::Delete(VersionSet::All, days) => {
            let Some(mut head) = head else { return Ok(Outcome::NotFound) };
            let gone = edit::delete(&mut head, days, now);
            records.commit(&writer, path, &head, None, &gone).await?;
            Ok(Outcome::Done)
        }
        SecretAction::Delete(set, _) => mark(records, &writer, path, head, &set, Mark::Deleted(now), now).await,
        SecretAction::Undelete(VersionSet::All) => {
            let Some(mut head) = head else { return Ok(Outcome::NotFound) };
            let gone = edit::restore(&mut head, now);
            records.commit(&writer, path, &head, None, &gone).await?;
            Ok(Outcome::Done)
        }
        SecretAction::Undelete(set) => mark(records, &writer, path, head, &set, Mark::Undeleted, now).await,
        SecretAction::Destroy(set) => mark(records, &writer, path, head, &set, Mark::Destroyed, now).await,
        _ => Err(LocalError::Unsupported),
    }
}

type Writer<'a> = tokio::sync::MutexGuard<'a, ()>;

async fn put(
    records: &Records,
    writer: &Writer<'_>,
    path: &SecretPath,
    mut head: Head,
    (value, secret_type, options): (SecretValue, SecretType, WriteOptions),
    limits: LocalLimits,
    now: Timestamp,
) -> Result<Outcome, LocalError> {
    if value.len() > limits.value_bytes {
        return Err(LocalError::TooLarge);
    }
    let (info, gone) = edit::put_with(&mut head, secret_type, options, limits.max_versions, now);
    records.commit(writer, path, &head, Some((info.version, &value)), &gone).await?;
    Ok(Outcome::Written(info, head.metadata))
}

async fn mark(
    records: &Records,
    writer: &Writer<'_>,
    path: &SecretPath,
    head: Option<Head>,
    set: &VersionSet,
    mark: Mark,
    now: Timestamp,
) -> Result<Outcome, LocalError> {
    let Some(mut head) = head else { return Ok(Outcome::Done) };
    let numbers = edit::named(&head, set);
    let gone = edit::mark(&mut head, &numbers, mark, now);
    records.commit(writer, path, &head, None, &gone).await?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Barrier, KeyProvider as _, Origin, RandomKey};
    use crate::secret::{MetadataChange, Precondition, Tenant};
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
            let options = WriteOptions {
                precondition,
                conditional: precondition != Precondition::None,
                ..WriteOptions::default()
            };
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
        assert!(matches!(desk.put("{}", Precondition::Absent).await, Err(LocalError::Edit(EditError::Conflict))));
        assert!(matches!(desk.put("{}", Precondition::Version(2)).await, Err(LocalError::Edit(EditError::Conflict))));
        desk.put("{}", Precondition::Version(1)).await.unwrap();
        let change = MetadataChange { cas_required: Some(true), ..MetadataChange::default() };
        desk.act(SecretAction::WriteMetadata(change)).await.unwrap();
        assert!(matches!(desk.put("{}", Precondition::None).await, Err(LocalError::Edit(EditError::CasRequired))));
    }

    #[tokio::test]
    async fn versions_are_kept_deleted_undeleted_destroyed_and_pruned() {
        let mut desk = Desk::new();
        for text in ["1", "2", "3", "4"] {
            desk.put(text, Precondition::None).await.unwrap();
        }
        assert_eq!(desk.value(VersionSelector::Number(1)), None, "pruned");
        assert_eq!(desk.value(VersionSelector::Number(2)).as_deref(), Some("2"));
        desk.act(SecretAction::Delete(VersionSet::Current, None)).await.unwrap();
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
    async fn what_was_deleted_alone_stays_deleted_when_the_secret_is_restored() {
        let mut desk = Desk::new();
        for text in ["1", "2"] {
            desk.put(text, Precondition::None).await.unwrap();
        }
        desk.act(SecretAction::Delete(VersionSet::Numbers(vec![1]), None)).await.unwrap();
        desk.act(SecretAction::Delete(VersionSet::All, Some(7))).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current), None);
        assert!(matches!(desk.put("3", Precondition::Present).await, Err(LocalError::Edit(EditError::Deleted))));
        desk.act(SecretAction::Undelete(VersionSet::All)).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current).as_deref(), Some("2"));
        assert_eq!(desk.value(VersionSelector::Number(1)), None);
    }

    #[tokio::test]
    async fn a_secret_that_has_no_value_yet_is_not_made_again() {
        let mut desk = Desk::new();
        let bare = || MetadataChange { absent: true, ..MetadataChange::default() };
        desk.act(SecretAction::WriteMetadata(bare())).await.unwrap();
        assert!(matches!(desk.put("1", Precondition::New).await, Err(LocalError::Edit(EditError::Conflict))));
        let again = desk.act(SecretAction::WriteMetadata(bare())).await;
        assert!(matches!(again, Err(LocalError::Edit(EditError::Conflict))));
        desk.put("1", Precondition::Absent).await.unwrap();
        assert_eq!(desk.value(VersionSelector::Current).as_deref(), Some("1"), "it had no version");
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
    async fn w17_a_copy_no_rule_leads_to_is_neither_served_nor_overwritten() {
        let mut desk = Desk::new();
        desk.put("{}", Precondition::None).await.unwrap();
        let mut head = desk.records.head(&desk.path).unwrap().unwrap();
        head.origin = Some(Origin {
            backend: "fed_x".to_owned(),
            remote: "x".to_owned(),
            route: 1,
            agreed: None,
            conflict: None,
        });
        let writer = desk.records.writer().await;
        desk.records.commit(&writer, &desk.path, &head, None, &[]).await.unwrap();
        drop(writer);
        assert_eq!(desk.value(VersionSelector::Current), None);
        let described = read(&desk.records, &desk.path, &SecretAction::Describe, desk.now).unwrap();
        assert!(matches!(described, Outcome::NotFound));
        assert!(matches!(desk.put("{}", Precondition::None).await, Err(LocalError::InTheWay)));
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
