//! What a restart finds again of tokens and revocations, and what it must not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::super::digest::Digester;
use super::super::*;
use super::rig::{Hands, Rig, access_key, approle, settings, static_token, tenant};
use crate::error::ErrorKind;

const TOKEN: &str = "0123456789abcdef";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const HOUR: Duration = Duration::from_secs(3600);
const KEY: [u8; 32] = [7; 32];

type Kept = HashMap<(JournalKind, String), Vec<u8>>;

/// A journal that outlives processes, and the trouble it can have.
#[derive(Default)]
struct Disk {
    kept: Mutex<Kept>,
    is_broken: AtomicBool,
    is_stuck: AtomicBool,
    writes: AtomicUsize,
}

impl Disk {
    fn ids(&self, kind: JournalKind) -> Vec<String> {
        self.kept.lock().unwrap().keys().filter(|(of, _)| *of == kind).map(|(_, id)| id.clone()).collect()
    }

    fn count(&self) -> usize {
        self.ids(JournalKind::Token).len()
    }
}

#[async_trait]
impl Journal for Disk {
    fn read(&self, kind: JournalKind) -> Result<JournalEntries, JournalError> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(JournalError("broken".to_owned()));
        }
        let kept = self.kept.lock().unwrap();
        let of_kind = kept.iter().filter(|((of, _), _)| *of == kind);
        Ok(of_kind.map(|((_, id), content)| (id.clone(), Zeroizing::new(content.clone()))).collect())
    }

    async fn write(&self, entries: Vec<JournalEntry>) -> Result<(), JournalError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(JournalError("full".to_owned()));
        }
        let mut kept = self.kept.lock().unwrap();
        for JournalEntry { kind, id, content } in entries {
            match content {
                Some(content) => drop(kept.insert((kind, id), content.to_vec())),
                None => drop(kept.remove(&(kind, id))),
            }
        }
        Ok(())
    }
}

fn sessions(hands: &Hands, key: [u8; 32], disk: &Arc<Disk>) -> (Arc<Sessions>, usize) {
    let sessions = Sessions::over(hands.timer(), Digester::keyed(&key), 1000);
    let journal = Arc::clone(disk) as Arc<dyn Journal>;
    let count = sessions.restore(&tenant("a"), journal).unwrap();
    (Arc::new(sessions), count)
}

/// A process that starts so long after the first one did, by the wall clock.
fn process(disk: &Arc<Disk>, later: Duration) -> (Rig, Directory) {
    let hands = Hands::default();
    hands.advance_wall(later);
    let (sessions, _) = sessions(&hands, KEY, disk);
    let rig = Rig { hands, sessions, source: Arc::default() };
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    a.approles = vec![approle("payments/ledger", "role", "0123456789abcdef-secret")];
    a.access_keys = vec![access_key("signer", KEY_ID, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")];
    let directory = rig.directory(vec![a, settings("b")]);
    (rig, directory)
}

fn spec(principal: &str) -> IssueSpec {
    let (groups, folders) = (vec!["apps".into()], vec!["apps/x".into()]);
    IssueSpec { principal: principal.into(), groups, folders, ttl: None }
}

async fn issued(directory: &Directory, principal: &str) -> Issued {
    let issued = directory.issue(&tenant("a"), spec(principal)).unwrap();
    directory.settled(&tenant("a")).await.unwrap();
    issued
}

#[tokio::test]
async fn a_token_is_after_a_restart_what_it_was_before() {
    let disk = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci/deploy").await;
    let parent = directory.by(&token.token).unwrap();
    let child = ChildSpec { meta: vec![("a".into(), "b".into())], ttl: Some(HOUR / 2), ..ChildSpec::default() };
    let child = directory.create_child(&parent, child).unwrap();
    let login = Login::Approle { mount: "approle", role_id: "role", secret_id: "0123456789abcdef-secret" };
    let login = directory.login(&tenant("a"), login).await.unwrap();
    let of_configured = directory.create_child(&directory.by(TOKEN).unwrap(), ChildSpec::default()).unwrap();
    directory.settled(&tenant("a")).await.unwrap();
    let before = directory.access_key(&token);

    let (rig, directory) = process(&disk, HOUR / 4);
    assert_eq!(rig.sessions.count(&tenant("a")), 4);
    for (token, left) in [(&token, HOUR / 4 * 3), (&child, HOUR / 4), (&login, HOUR / 4 * 3)] {
        let caller = directory.by(&token.token).unwrap();
        let (info, first) = (directory.lookup(&caller), &token.info);
        assert_eq!(info.ttl, left);
        assert_eq!((info.accessor.as_str(), &info.path), (first.accessor.as_str(), &first.path));
        assert_eq!((&info.display_name, &info.meta, &info.parent), (&first.display_name, &first.meta, &first.parent));
        assert_eq!((info.issued_at, info.expires_at), (first.issued_at, first.expires_at));
        assert_eq!((info.creation_ttl, info.max_ttl), (first.creation_ttl, first.max_ttl));
        let (now, then) = (&caller.principal, &first.principal);
        assert_eq!((now.id(), now.method(), now.groups()), (then.id(), then.method(), then.groups()));
        assert_eq!((now.tenant(), now.folders()), (then.tenant(), then.folders()));
    }
    assert!(directory.by(&of_configured.token).is_ok(), "its parent is configured as before");
    let after = directory.access_key(&token);
    assert_eq!((before.id, before.secret), (after.id, after.secret));
    // and it goes on from there
    rig.hands.advance(HOUR / 4);
    assert!(directory.by(&child.token).is_err() && directory.by(&token.token).is_ok());
    let caller = directory.by(&token.token).unwrap();
    assert_eq!(directory.renew(&caller, Some(100 * HOUR)).unwrap().ttl, 24 * HOUR - HOUR / 2, "k06: of its maximum");
}

#[tokio::test]
async fn k05_what_ended_before_a_restart_never_comes_back() {
    let disk = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let (own, named, kept) =
        (issued(&directory, "ci/own").await, issued(&directory, "ci/named").await, issued(&directory, "ci/kept").await);
    let caller = directory.by(&own.token).unwrap();
    let child = directory.create_child(&caller, ChildSpec::default()).unwrap();
    directory.settled(&tenant("a")).await.unwrap();
    // renewed and ended before anything is written: what is written is how it ended
    directory.renew(&caller, None).unwrap();
    directory.revoke(&caller).unwrap();
    directory.revoke_token(&tenant("a"), &named.info.accessor).unwrap();
    directory.settled(&tenant("a")).await.unwrap();

    let (rig, directory) = process(&disk, Duration::ZERO);
    for gone in [&own, &named, &child] {
        assert_eq!(directory.by(&gone.token).err(), Some(IdentityError::Unknown));
    }
    assert!(directory.by(&kept.token).is_ok());
    assert_eq!(rig.sessions.count(&tenant("a")), 1);
    directory.settled(&tenant("a")).await.unwrap();
    assert_eq!(disk.count(), 1, "the child's entry went with the next write");
}

#[tokio::test]
async fn k05_a_revoked_principal_stays_revoked_and_its_tokens_ended_for_good() {
    let disk = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let (made, other) = (issued(&directory, "oncall").await, issued(&directory, "ci").await);
    directory.revoke_principal(&tenant("a"), "oncall").unwrap();
    directory.settled(&tenant("a")).await.unwrap();
    assert_eq!((disk.ids(JournalKind::Revocation), disk.count()), (vec!["oncall".to_owned()], 1));

    let (_rig, directory) = process(&disk, Duration::ZERO);
    assert_eq!(directory.revoked_principals(&tenant("a")), ["oncall"]);
    assert_eq!(directory.by(TOKEN).err(), Some(IdentityError::Revoked("oncall".into())));
    assert!(directory.by(&other.token).is_ok());
    assert_eq!(directory.restore_principal(&tenant("a"), "oncall"), Ok(true));
    directory.settled(&tenant("a")).await.unwrap();

    let (_rig, directory) = process(&disk, Duration::ZERO);
    assert!(directory.by(TOKEN).is_ok() && directory.revoked_principals(&tenant("a")).is_empty());
    assert_eq!(directory.by(&made.token).err(), Some(IdentityError::Unknown));
}

#[tokio::test]
async fn what_expired_while_nothing_ran_is_pruned() {
    let disk = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let (short, long) = (issued(&directory, "ci").await, issued(&directory, "ci").await);
    let caller = directory.by(&long.token).unwrap();
    directory.renew(&caller, Some(5 * HOUR)).unwrap();
    directory.settled(&tenant("a")).await.unwrap();

    let (rig, directory) = process(&disk, 2 * HOUR);
    assert!(directory.by(&short.token).is_err() && directory.by(&long.token).is_ok());
    assert_eq!((rig.sessions.count(&tenant("a")), disk.count()), (1, 2));
    directory.settled(&tenant("a")).await.unwrap();
    assert_eq!(disk.count(), 1);
    // while it runs, what ended goes when others come
    rig.hands.advance(5 * HOUR);
    for _ in 0..200 {
        directory.issue(&tenant("a"), spec("ci")).unwrap();
    }
    directory.settled(&tenant("a")).await.unwrap();
    assert_eq!((disk.count(), rig.sessions.count(&tenant("a"))), (200, 200));
}

#[tokio::test]
async fn k01_a_wall_clock_set_back_over_a_restart_extends_nothing() {
    let disk = Arc::default();
    let (rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci").await;
    rig.hands.advance(HOUR / 2);
    issued(&directory, "another").await;
    // back to where the first one was made
    let (rig, directory) = process(&disk, Duration::ZERO);
    let caller = directory.by(&token.token).unwrap();
    assert!(directory.renew(&caller, Some(100 * HOUR)).unwrap().ttl <= 24 * HOUR - HOUR / 2);
    drop((rig, directory, caller));
    let (rig, directory) = process(&disk, Duration::ZERO);
    rig.hands.advance(HOUR / 2);
    assert_eq!(directory.by(&token.token).err(), Some(IdentityError::Unknown));
}

#[tokio::test]
async fn a_journal_holds_no_token_and_tells_nothing_under_another_key() {
    let disk = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci").await;
    let secret = directory.access_key(&token).secret;
    for ((_, id), content) in disk.kept.lock().unwrap().iter() {
        let all = format!("{id} {}", String::from_utf8_lossy(content));
        for part in [token.token.as_str(), token.token.trim_start_matches("svp."), secret.as_str()] {
            assert!(!all.contains(part));
        }
    }
    let hands = Hands::default();
    let (sessions, _) = sessions(&hands, [8; 32], &disk);
    let rig = Rig { hands, sessions, source: Arc::default() };
    assert!(rig.directory(vec![settings("a")]).by(&token.token).is_err());
}

#[tokio::test]
async fn entries_that_are_none_are_left_out_and_a_revocation_that_cannot_be_read_stops_the_start() {
    let disk: Arc<Disk> = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci").await;
    let sound = disk.kept.lock().unwrap().values().next().unwrap().clone();
    let text = String::from_utf8(sound).unwrap();
    let other = |at: u8| {
        (JournalKind::Token, Digester::keyed(&[at; 32]).digest(super::super::digest::Place::Credential, "x").text())
    };
    for (at, changed) in [
        (1, text.replace("\"ci\"", "\"system/sync\"")),
        (2, text.replace("\"token\"", "\"root\"")),
        (3, text.replace("apps/x", "")),
        (4, text.replace("{\"accessor\"", "{\"num_uses\":1,\"accessor\"")),
        (5, "{}".to_owned()),
    ] {
        assert_ne!(changed, text, "{at}");
        disk.kept.lock().unwrap().insert(other(at), changed.into_bytes());
    }
    disk.kept.lock().unwrap().insert((JournalKind::Token, "no digest".to_owned()), text.into_bytes());
    let (sessions, count) = sessions(&Hands::default(), KEY, &disk);
    assert_eq!((count, sessions.count(&tenant("a"))), (1, 1));
    assert!(process(&disk, Duration::ZERO).1.by(&token.token).is_ok());

    disk.is_broken.store(true, Ordering::SeqCst);
    let sessions = Sessions::over(Hands::default().timer(), Digester::keyed(&KEY), 1000);
    let failed = sessions.restore(&tenant("a"), Arc::clone(&disk) as Arc<dyn Journal>);
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Sealed));
}

#[tokio::test]
async fn what_could_not_be_written_is_told_and_written_with_the_next() {
    let disk: Arc<Disk> = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci").await;
    directory.revoke_token(&tenant("a"), &token.token).unwrap();
    disk.is_broken.store(true, Ordering::SeqCst);
    let failed = directory.settled(&tenant("a")).await;
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Sealed));
    assert!(directory.by(&token.token).is_err(), "ended all the same");
    disk.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(disk.count(), 1);
    // a caller that goes away in the middle
    disk.is_stuck.store(true, Ordering::SeqCst);
    let of = tenant("a");
    tokio::select! {
        biased;
        _ = directory.settled(&of) => panic!("it is stuck"),
        () = std::future::ready(()) => {}
    }
    disk.is_stuck.store(false, Ordering::SeqCst);
    directory.settled(&tenant("a")).await.unwrap();
    assert_eq!(disk.count(), 0);
}

#[tokio::test]
async fn nothing_is_written_for_reads_or_for_tenants_without_a_journal() {
    let disk: Arc<Disk> = Arc::default();
    let (_rig, directory) = process(&disk, Duration::ZERO);
    let token = issued(&directory, "ci").await;
    let writes = disk.writes.load(Ordering::SeqCst);
    for _ in 0..10 {
        let caller = directory.by(&token.token).unwrap();
        drop(directory.lookup(&caller));
        directory.settled(&tenant("a")).await.unwrap();
    }
    directory.issue(&tenant("b"), spec("ci")).unwrap();
    directory.settled(&tenant("b")).await.unwrap();
    assert_eq!((disk.writes.load(Ordering::SeqCst), disk.count()), (writes, 1));
}
