//! What stays, what is adopted, what goes, and what stands in the way.

use super::*;
use crate::clock::Clock as _;
use crate::secret::{Folder, RuleSettings, SecretAction, VersionSelector, WriteMode};
use crate::sync::replica::tests::fake::{Fate, Rig, settings};

/// The folder of the rule became a local one.
fn local() -> Router {
    Router::compile(&[], &[Folder::parse("app").unwrap()], false).unwrap()
}

#[tokio::test]
async fn w17_copies_are_in_quarantine_once_no_rule_of_theirs_leads_to_them() {
    let rig = Rig::synced(settings()).await;
    let (records, id) = (rig.replica.records.clone(), rig.replica.id.clone());
    let router = rig.replica.router.clone();
    let mut replica = rig.replica;
    let list = |replica: Replica, router: &Router| {
        let replicas = [Arc::new(replica)];
        let quarantine = Quarantine { records: &records, router, replicas: &replicas };
        let found = quarantine.list(Some(&id)).unwrap();
        let [replica] = replicas;
        (found, Arc::into_inner(replica).unwrap())
    };
    let (found, back) = list(replica, &router);
    replica = back;
    assert!(found.is_empty());
    replica.rules[0].route = 8;
    let (found, back) = list(replica, &router);
    replica = back;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.as_str(), found[0].is_ahead, found[0].is_conflicted), ("app/db", false, false));
    replica.rules[0] = RuleSettings { mode: Mode::Proxy, ..settings() };
    let (found, _) = list(replica, &router);
    assert_eq!(found.len(), 1);
    let none = Quarantine { records: &records, router: &router, replicas: &[] };
    assert_eq!(none.list(None).unwrap().len(), 1, "the backend is gone");
    assert!(none.list(Some(&BackendId::from_bytes([9; 16]))).unwrap().is_empty());
}

#[tokio::test]
async fn adopted_copies_are_local_secrets_where_local_secrets_may_be() {
    let rig = Rig::synced(settings()).await;
    let (records, now) = (&*rig.replica.records, rig.clock.now());
    let elsewhere = Router::compile(&[], &[], false).unwrap();
    let emptied = Quarantine { records, router: &elsewhere, replicas: &[] }.adopt(None, now).await.unwrap();
    assert_eq!((emptied.done, emptied.left.len()), (0, 1));
    let router = local();
    let emptied = Quarantine { records, router: &router, replicas: &[] }.adopt(None, now).await.unwrap();
    assert_eq!((emptied.done, emptied.left.len()), (1, 0));
    let head = rig.head().unwrap();
    assert!(head.origin.is_none() && head.versions[&1].held);
    assert!(records.stored(&rig.path).unwrap().copy.is_none());
    assert_eq!(rig.value(1).as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(rig.read(VersionSelector::Current), "live", "and no copy any more");
}

#[tokio::test]
async fn a_copy_without_its_value_cannot_be_adopted() {
    let rig = Rig::synced(settings()).await;
    let mut head = rig.head().unwrap();
    head.versions.get_mut(&1).unwrap().held = false;
    rig.keep(&head).await;
    let router = local();
    let quarantine = Quarantine { records: &rig.replica.records, router: &router, replicas: &[] };
    let emptied = quarantine.adopt(None, rig.clock.now()).await.unwrap();
    assert_eq!((emptied.done, emptied.left.len()), (0, 1));
}

#[tokio::test]
async fn what_is_purged_is_gone_and_nothing_else() {
    let rig = Rig::synced(settings()).await;
    let router = local();
    let quarantine = Quarantine { records: &rig.replica.records, router: &router, replicas: &[] };
    let foreign = BackendId::from_bytes([9; 16]);
    assert_eq!(quarantine.purge(Some(&foreign)).await.unwrap().done, 0);
    assert_eq!(quarantine.purge(Some(&rig.replica.id)).await.unwrap().done, 1);
    assert!(rig.head().is_none() && rig.value(1).is_none());
}

#[tokio::test]
async fn a_flip_is_refused_while_anything_would_be_lost() {
    let rig = Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await;
    assert!(rig.replica.unsettled(None).unwrap().is_empty());
    rig.put("{}").await.unwrap();
    assert_eq!(rig.replica.unsettled(Some(0)).unwrap(), ["secrets with changes that are only here: 1"]);
    assert!(rig.replica.unsettled(Some(1)).unwrap().is_empty(), "another rule's matter");
    let mut head = rig.head().unwrap();
    head.origin.as_mut().unwrap().conflict = Some(crate::seal::Conflict { since: 1, remote: None });
    rig.keep(&head).await;
    assert_eq!(rig.replica.unsettled(None).unwrap(), ["secrets with an unresolved conflict: 1"]);
    let rig = Rig::synced(settings()).await;
    rig.fake.fate(Fate::LostAfterAndDown);
    assert!(rig.act(SecretAction::Purge).await.is_err());
    assert_eq!(rig.replica.unsettled(None).unwrap(), ["secrets with a write that is not settled: 1"]);
}

#[tokio::test]
async fn the_copies_of_a_flipped_rule_are_purged() {
    let rig = Rig::synced(settings()).await;
    assert_eq!(rig.replica.purge_copies(Some(1)).await.unwrap(), 0);
    assert_eq!(rig.replica.purge_copies(Some(0)).await.unwrap(), 1);
    assert!(rig.head().is_none() && rig.replica.records.is_empty());
    assert_eq!(rig.read(VersionSelector::Current), "live", "a missing copy is no missing secret");
}

#[tokio::test]
async fn a_purge_leaves_what_is_nowhere_else() {
    let rig = Rig::synced(RuleSettings { write_mode: WriteMode::Local, ..settings() }).await;
    rig.put("{}").await.unwrap();
    assert_eq!(rig.replica.purge_copies(None).await.unwrap(), 0, "it came after somebody looked");
    assert_eq!(rig.value(2).as_deref(), Some("{}"));
    let rig = Rig::synced(settings()).await;
    rig.fake.fate(Fate::LostAfterAndDown);
    assert!(rig.act(SecretAction::Purge).await.is_err());
    assert_eq!(rig.replica.purge_copies(None).await.unwrap(), 0, "its write is not settled");
    assert!(rig.head().is_some());
    let router = local();
    let quarantine = Quarantine { records: &rig.replica.records, router: &router, replicas: &[] };
    assert_eq!(quarantine.purge(Some(&BackendId::from_bytes([9; 16]))).await.unwrap().done, 0);
    assert_eq!(rig.intents(), 1, "another backend's matter");
    assert_eq!(quarantine.purge(Some(&rig.replica.id)).await.unwrap().done, 1);
    assert!(rig.head().is_none() && rig.intents() == 0);
}
