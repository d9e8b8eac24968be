//! Writes through to a store whose versions have identifiers and labels, and whose secrets need no version.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::backend::{Ask, Backend, Capabilities, Change, Listed};
use crate::clock::{ManualClock, Timestamp};
use crate::secret::{Described, LabelMove, PassCall, Rank, Reply, SecretRecord, VersionInfo, VersionState};

const DAY: u64 = 86_400;

struct Version {
    id: String,
    value: Vec<u8>,
    labels: BTreeSet<String>,
}

#[derive(Default)]
struct Secret {
    metadata: Metadata,
    changed: Timestamp,
    ends: Option<Timestamp>,
    versions: Vec<Version>,
}

#[derive(Default)]
struct State {
    secret: Option<Secret>,
    fate: Option<Fate>,
    is_down: bool,
    /// Nothing answers after the next write.
    goes_down: bool,
    /// What the last deletion was told.
    days: Option<u16>,
}

/// A store of one secret.
struct Shelf {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

impl Secret {
    /// What a description tells: versions with labels, the current one last.
    fn described(&self) -> Described {
        let state = if self.ends.is_some() { VersionState::Deleted(self.changed) } else { VersionState::Current };
        let rank = |version: &Version| match version.labels.contains(edit::CURRENT) {
            true => Rank::Current,
            false if version.labels.contains(edit::PREVIOUS) => Rank::Previous,
            false => Rank::Other,
        };
        let own = |label: &&String| !matches!(label.as_str(), edit::CURRENT | edit::PREVIOUS);
        let info = |version: &Version| VersionInfo {
            native_id: Some(Box::from(version.id.as_str())),
            created_at: Timestamp::from_secs(1),
            state,
            rank: rank(version),
            stages: version.labels.iter().filter(own).map(|label| Box::from(label.as_str())).collect(),
            ..VersionInfo::default()
        };
        let labelled = self.versions.iter().filter(|version| !version.labels.is_empty());
        let mut versions: Vec<VersionInfo> = labelled.map(info).collect();
        versions.sort_by_key(|info| match info.rank {
            Rank::Current => 2,
            Rank::Previous => 1,
            _ => 0,
        });
        for (number, info) in (1..).zip(&mut versions) {
            info.version = number;
        }
        if let Some(newest) = versions.last_mut() {
            newest.created_at = self.changed;
        }
        let current = versions.iter().find(|info| info.rank == Rank::Current);
        Described {
            metadata: self.metadata.clone(),
            current_version: current.map_or(0, |info| info.version),
            oldest_version: versions.first().map_or(0, |info| info.version),
            created_at: Timestamp::from_secs(1),
            updated_at: self.changed,
            purges_at: self.ends,
            versions,
            ..Described::default()
        }
    }

    fn carrier(&self, label: &str) -> Option<String> {
        self.versions.iter().find(|version| version.labels.contains(label)).map(|version| version.id.clone())
    }

    fn attach(&mut self, label: &str, to: Option<&str>) {
        let before = self.carrier(label);
        if label == edit::CURRENT && before.as_deref() != to {
            self.attach(edit::PREVIOUS, before.as_deref());
        }
        for version in &mut self.versions {
            version.labels.remove(label);
            if to == Some(version.id.as_str()) {
                version.labels.insert(label.to_owned());
            }
        }
    }
}

impl State {
    fn put(&mut self, now: Timestamp, id: &str, value: &[u8], stages: Option<&[String]>) -> VersionInfo {
        let secret = self.secret.get_or_insert_default();
        let mut labels = stages.map_or_else(|| vec![edit::CURRENT.to_owned()], <[String]>::to_vec);
        if secret.versions.is_empty() {
            labels.push(edit::CURRENT.to_owned());
        }
        secret.versions.push(Version { id: id.to_owned(), value: value.to_vec(), labels: BTreeSet::new() });
        for label in labels {
            secret.attach(&label, Some(id));
        }
        secret.changed = now;
        let found = secret.described().versions.into_iter().find(|info| info.native_id.as_deref() == Some(id)).unwrap();
        VersionInfo { version: now.micros() / 1000, created_at: now, ..found }
    }

    fn carry(&mut self, now: Timestamp, change: Change<'_>) -> Result<Outcome, BackendError> {
        let is_deleted = self.secret.as_ref().is_some_and(|secret| secret.ends.is_some());
        match (change, &mut self.secret) {
            (Change::Put { stages: Some(_), .. }, None) => return Err(BackendError::Conflict),
            (Change::Put { revives: false, .. }, Some(_)) if is_deleted => return Err(BackendError::Conflict),
            (Change::Put { value, token, stages, .. }, secret) => {
                let id = token.unwrap_or("made").to_owned();
                if let Some(secret) = secret {
                    secret.ends = None;
                }
                return Ok(Outcome::Written(self.put(now, &id, value.expose(), stages), Metadata::new()));
            }
            (Change::Create(_), Some(_)) => return Err(BackendError::Conflict),
            (Change::Create(metadata), secret) => {
                // what a configuration gives every secret
                let given = ("team".to_owned(), "a".to_owned());
                let metadata = metadata.clone().into_iter().chain([given]).collect();
                *secret = Some(Secret { metadata, changed: now, ..Secret::default() });
            }
            (_, None) => return Ok(Outcome::NotFound),
            (Change::Label { stage, from, to }, Some(secret)) => {
                if secret.carrier(stage).as_deref() != from {
                    return Err(BackendError::Rejected(400));
                }
                if to.is_some_and(|to| secret.versions.iter().all(|version| version.id != to)) {
                    return Ok(Outcome::NotFound);
                }
                secret.attach(stage, to);
                secret.changed = now;
            }
            (Change::Metadata(metadata), Some(secret)) => secret.metadata = metadata.clone(),
            (Change::Delete(_, days), Some(secret)) => {
                let window = Duration::from_secs(u64::from(days.unwrap_or(30)) * DAY);
                (secret.ends, secret.changed) = (Some(now.after(window)), now);
                self.days = days;
            }
            (Change::Undelete(_), Some(secret)) => (secret.ends, secret.changed) = (None, now),
            (Change::Purge, secret) => *secret = None,
            (Change::Destroy(_), _) => return Err(BackendError::Unsupported),
        }
        Ok(Outcome::Done)
    }
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.advance(Duration::from_secs(1));
        self.clock.now()
    }

    /// Somebody else writes.
    fn put(&self, id: &str, text: &str) {
        let now = self.now();
        self.state().put(now, id, text.as_bytes(), None);
    }

    fn up(&self) {
        self.state().is_down = false;
    }

    /// Every version with its labels.
    fn told(&self) -> String {
        let state = self.state();
        let Some(secret) = &state.secret else { return "nothing".to_owned() };
        let show = |version: &Version| {
            let labels: Vec<&str> = version.labels.iter().map(String::as_str).collect();
            format!("{} {}", version.id, labels.join(" "))
        };
        let versions: Vec<String> = secret.versions.iter().map(show).collect();
        if versions.is_empty() { "no version".to_owned() } else { versions.join("; ") }
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, BackendError> {
        let state = self.state();
        if state.is_down { Err(BackendError::Unavailable("the test server is down")) } else { Ok(state) }
    }
}

#[async_trait]
impl Backend for Shelf {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: true,
            describe: true,
            soft_delete: true,
            flat: true,
            labels: true,
            ..Capabilities::default()
        }
    }

    async fn read(&self, _: Ask<'_>, version: &VersionSelector) -> Result<Reply, BackendError> {
        let state = self.answering()?;
        let Some(secret) = &state.secret else { return Ok(Reply::Neutral(Outcome::NotFound)) };
        let is_meant = |it: &&Version| match version {
            VersionSelector::Native(id) => *it.id == **id,
            _ => it.labels.contains(edit::CURRENT),
        };
        let Some(version) = secret.versions.iter().find(is_meant) else { return Ok(Reply::Neutral(Outcome::NotFound)) };
        let info = VersionInfo {
            version: 1,
            native_id: Some(Box::from(version.id.as_str())),
            created_at: Timestamp::from_secs(1),
            ..VersionInfo::default()
        };
        let value = secret.ends.is_none().then(|| SecretValue::copy_of(&version.value));
        let (metadata, secret_type) = (secret.metadata.clone(), SecretType::Json);
        let record = SecretRecord { value, secret_type, metadata, info, updated_at: None };
        Ok(Reply::Neutral(Outcome::Record(Box::new(record))))
    }

    async fn describe(&self, _: Ask<'_>) -> Result<Reply, BackendError> {
        let state = self.answering()?;
        let described = state.secret.as_ref().map(|secret| Outcome::Described(Box::new(secret.described())));
        Ok(Reply::Neutral(described.unwrap_or(Outcome::NotFound)))
    }

    async fn subkeys(&self, _: Ask<'_>, _: &VersionSelector, _: u32) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn list(&self, _: Ask<'_>) -> Result<Listed, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn write(&self, _: Ask<'_>, change: Change<'_>) -> Result<Outcome, BackendError> {
        let now = self.now();
        let mut state = self.answering()?;
        let lost = Err(BackendError::Unknown("lost"));
        match state.fate.take() {
            None => {
                let done = state.carry(now, change);
                state.is_down = state.goes_down;
                done
            }
            Some(Fate::Denied) => Err(BackendError::Denied),
            Some(Fate::LostBefore) => lost,
            Some(Fate::Overtaken) => {
                state.put(now, "another", OTHER.as_bytes(), None);
                lost
            }
            Some(fate @ (Fate::LostAfter | Fate::LostAfterAndDown)) => {
                state.carry(now, change)?;
                state.is_down = fate == Fate::LostAfterAndDown;
                lost
            }
        }
    }

    async fn pass(&self, _: Ask<'_>, _: &PassCall, _: bool) -> Result<Reply, BackendError> {
        Err(BackendError::Unsupported)
    }

    async fn check(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn probe(&self, _: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        Ok(Vec::new())
    }

    fn calls(&self) -> u64 {
        0
    }

    async fn tend(&self) {}
}

/// A rig before a shelf, with everything looked at; `is_filled`: a secret of one version, `v1`.
async fn rig(is_filled: bool) -> (Rig, Arc<Shelf>) {
    let mut rig = Rig::new(settings());
    let shelf = Arc::new(Shelf { clock: rig.clock.clone(), state: Mutex::default() });
    rig.replica.client = shelf.clone();
    if is_filled {
        shelf.put("v1", ONE);
        rig.pull().await;
    }
    rig.replica.copies.run_ended(0, rig.clock.now());
    (rig, shelf)
}

fn staged(text: &str, token: &str, stages: &[&str]) -> SecretAction {
    let options = WriteOptions {
        precondition: Precondition::Present,
        token: Some(Box::from(token)),
        stages: Some(stages.iter().map(|stage| Box::from(*stage)).collect()),
        ..WriteOptions::default()
    };
    SecretAction::Write { value: SecretValue::copy_of(text.as_bytes()), secret_type: SecretType::Json, options }
}

fn pending() -> SecretAction {
    staged(TWO, "v2", &["AWSPENDING"])
}

fn label(stage: &str, from: Option<&str>, to: &str) -> SecretAction {
    let native = |id: &str| VersionSelector::Native(Box::from(id));
    SecretAction::Label(LabelMove { stage: Box::from(stage), from: from.map(native), to: Some(native(to)) })
}

fn mine() -> SecretAction {
    label("mine", None, "v1")
}

fn bare() -> SecretAction {
    let metadata = Some(vec![("owner".to_owned(), Some("me".to_owned()))]);
    SecretAction::WriteMetadata(MetadataChange { metadata, absent: true, ..MetadataChange::default() })
}

fn stage(rig: &Rig, stage: &str) -> String {
    rig.read(VersionSelector::Stage(Box::from(stage)))
}

#[tokio::test]
async fn a_version_is_staged_and_becomes_the_current_one_on_both_sides() {
    let (rig, shelf) = rig(true).await;
    let Outcome::Written(info, _) = rig.act(pending()).await.unwrap() else { panic!("not written") };
    assert_eq!((info.version, info.rank, info.stages), (2, Rank::Other, vec![Box::from("AWSPENDING")]));
    assert_eq!(shelf.told(), "v1 AWSCURRENT; v2 AWSPENDING");
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    assert_eq!(stage(&rig, "AWSPENDING"), format!("hit 2 {TWO}"));
    assert!(rig.is_agreed().await && rig.intents() == 0);
    let moved = rig.act(label(edit::CURRENT, Some("v1"), "v2")).await.unwrap();
    assert!(matches!(moved, Outcome::Described(_)));
    assert_eq!(shelf.told(), "v1 AWSPREVIOUS; v2 AWSCURRENT AWSPENDING");
    assert_eq!(current(&rig), format!("hit 2 {TWO}"));
    assert_eq!(stage(&rig, edit::PREVIOUS), format!("hit 1 {ONE}"));
    assert!(rig.is_agreed().await && rig.intents() == 0);
    let elsewhere = rig.act(label(edit::CURRENT, Some("v1"), "v2")).await;
    assert!(matches!(elsewhere, Err(WriteError::Edit(edit::EditError::Labelled))));
    let destroyed = rig.act(SecretAction::Destroy(VersionSet::Numbers(vec![1]))).await;
    assert!(matches!(destroyed, Err(WriteError::Unsupported)));
}

#[tokio::test]
async fn w04_lost_answers_about_labels_and_bare_secrets_are_read_back() {
    type Case = (bool, fn() -> SecretAction, &'static str, &'static str);
    let cases: [Case; 3] = [
        (true, pending, "v1 AWSCURRENT", "v1 AWSCURRENT; v2 AWSPENDING"),
        (true, mine, "v1 AWSCURRENT", "v1 AWSCURRENT mine"),
        (false, bare, "nothing", "no version"),
    ];
    for (is_filled, action, before, after) in cases {
        let (rig, shelf) = rig(is_filled).await;
        shelf.state().fate = Some(Fate::LostBefore);
        assert!(matches!(rig.act(action()).await, Err(WriteError::Backend(BackendError::Unknown(_)))), "{after}");
        assert_eq!((shelf.told().as_str(), rig.intents()), (before, 0));
        shelf.state().fate = Some(Fate::LostAfterAndDown);
        assert!(matches!(rig.act(action()).await, Err(WriteError::Backend(BackendError::Unknown(_)))), "{after}");
        assert_eq!((shelf.told().as_str(), rig.intents()), (after, 1));
        shelf.up();
        let settled = rig.replica.settle_intents(&*rig.clock, "test").await.unwrap();
        assert_eq!(settled, Settled { applied: 1, ..Settled::default() }, "{after}");
        assert!(rig.is_agreed().await && rig.intents() == 0, "{after}");
    }
    for (is_filled, action, _, after) in cases {
        let (rig, shelf) = rig(is_filled).await;
        shelf.state().fate = Some(Fate::LostAfter);
        rig.act(action()).await.unwrap();
        assert_eq!((shelf.told().as_str(), rig.intents()), (after, 0));
        assert!(rig.is_agreed().await, "{after}");
    }
    for (is_filled, action, _, after) in cases {
        let (rig, shelf) = rig(is_filled).await;
        shelf.state().fate = Some(Fate::Overtaken);
        assert!(matches!(rig.act(action()).await, Err(WriteError::Conflict)), "{after}");
        assert!(shelf.told().contains("another AWSCURRENT") && rig.intents() == 0, "{after}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_afterwards_is_staged_here_all_the_same() {
    let (rig, shelf) = rig(true).await;
    shelf.state().goes_down = true;
    rig.act(pending()).await.unwrap();
    assert_eq!(current(&rig), format!("hit 1 {ONE}"), "a staged version is not the current one");
    assert_eq!(stage(&rig, "AWSPENDING"), format!("hit 2 {TWO}"));
    assert_eq!((rig.intents(), rig.told().await), (0, 1), "the engine looks at it next");
}

#[tokio::test]
async fn a_secret_is_made_without_a_version_and_once() {
    let (rig, shelf) = rig(false).await;
    assert!(matches!(rig.act(bare()).await.unwrap(), Outcome::Done));
    assert_eq!((shelf.told().as_str(), current(&rig).as_str()), ("no version", "hit 0 -"));
    assert_eq!(rig.head().unwrap().metadata.len(), 2, "what the backend added is here");
    assert!(rig.is_agreed().await && rig.intents() == 0);
    assert!(matches!(rig.act(bare()).await, Err(WriteError::Edit(edit::EditError::Conflict))));
    let new = rig.put_if(ONE, Precondition::New).await;
    assert!(matches!(new, Err(WriteError::Edit(edit::EditError::Conflict))), "{new:?}");
    rig.act(staged(ONE, "v1", &["AWSPENDING"])).await.unwrap();
    assert_eq!(shelf.told(), "v1 AWSCURRENT AWSPENDING", "the first version is the current one");
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    assert!(rig.is_agreed().await);
}

#[tokio::test]
async fn a_secret_that_is_not_there_gets_no_version_of_a_client_that_wants_it_there() {
    let (rig, shelf) = rig(false).await;
    for write_mode in [WriteMode::WriteThrough, WriteMode::Local] {
        let mut rig = Rig::new(RuleSettings { write_mode, ..settings() });
        rig.replica.client = shelf.clone();
        let missing = rig.put_if(ONE, Precondition::Present).await;
        assert!(matches!(missing, Err(WriteError::Edit(edit::EditError::Missing))), "{missing:?}");
        let change = MetadataChange { present: true, ..MetadataChange::default() };
        let missing = rig.act(SecretAction::WriteMetadata(change)).await;
        assert!(matches!(missing, Err(WriteError::Edit(edit::EditError::Missing))), "{missing:?}");
        let deleted = rig.act(SecretAction::Delete(VersionSet::All, Some(7))).await.unwrap();
        assert!(matches!(deleted, Outcome::NotFound));
        assert!(rig.head().is_none());
    }
    assert_eq!((shelf.told().as_str(), rig.intents()), ("nothing", 0));
}

#[tokio::test]
async fn a_deletion_window_goes_through_and_only_a_known_deletion_is_undone() {
    let (rig, shelf) = rig(true).await;
    let delete = || SecretAction::Delete(VersionSet::All, Some(9));
    rig.act(delete()).await.unwrap();
    assert_eq!(shelf.state().days, Some(9));
    let ends = shelf.state().secret.as_ref().unwrap().ends;
    assert_eq!(rig.head().unwrap().purge_at, ends.map(Timestamp::micros));
    let refused = rig.put_if(TWO, Precondition::Present).await;
    assert!(matches!(refused, Err(WriteError::Edit(edit::EditError::Deleted))), "{refused:?}");
    rig.act(SecretAction::Undelete(VersionSet::All)).await.unwrap();
    assert_eq!(current(&rig), format!("hit 1 {ONE}"));
    rig.act(delete()).await.unwrap();
    assert_eq!(rig.put(TWO).await.unwrap(), 2, "a new version of a deleted secret brings it back");
    assert_eq!(shelf.told(), "v1 AWSPREVIOUS; made AWSCURRENT");
    assert!(!rig.head().unwrap().is_marked() && rig.is_agreed().await);
    let (now, days) = (shelf.now(), Some(9));
    shelf.state().carry(now, Change::Delete(&VersionSet::All, days)).unwrap();
    assert!(matches!(rig.put(ONE).await, Err(WriteError::Conflict)), "somebody else deleted it");
    assert!(shelf.state().secret.as_ref().unwrap().ends.is_some());
}

#[tokio::test]
async fn a_label_goes_to_a_version_that_was_never_copied() {
    let (rig, shelf) = rig(true).await;
    let old = Version { id: "v0".to_owned(), value: TWO.as_bytes().to_vec(), labels: BTreeSet::new() };
    shelf.state().secret.as_mut().unwrap().versions.push(old);
    let nowhere = rig.act(label(edit::CURRENT, Some("v1"), "nowhere")).await;
    assert!(matches!(nowhere, Err(WriteError::Edit(edit::EditError::Missing))), "{nowhere:?}");
    assert_eq!(rig.told().await, 1);
    rig.act(label(edit::CURRENT, Some("v1"), "v0")).await.unwrap();
    assert_eq!(shelf.told(), "v1 AWSPREVIOUS; v0 AWSCURRENT");
    assert!(current(&rig).starts_with("live"), "its value is not here: {}", current(&rig));
    assert_eq!(rig.told().await, 1, "the engine fetches it");
    rig.pull().await;
    assert!(current(&rig).ends_with(TWO), "{}", current(&rig));
}

#[tokio::test]
async fn a_secret_whose_time_is_over_is_made_anew_through() {
    let (rig, shelf) = rig(true).await;
    rig.act(SecretAction::Delete(VersionSet::All, Some(7))).await.unwrap();
    rig.clock.advance(Duration::from_secs(7 * DAY + 5));
    assert!(current(&rig).ends_with("NotFound"), "{}", current(&rig));
    shelf.state().secret = None;
    assert_eq!(rig.put_if(TWO, Precondition::New).await.unwrap(), 2, "numbers go on");
    assert_eq!(shelf.told(), "made AWSCURRENT");
    assert!(current(&rig).ends_with(TWO) && rig.value(1).is_none() && rig.is_agreed().await);
}
