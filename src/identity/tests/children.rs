//! Child tokens: less than their parents, and not longer.

use std::time::Duration;

use super::super::*;
use super::rig::{Rig, names, settings, static_token, tenant};
use crate::error::ErrorKind;

const TOKEN: &str = "0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

fn groups(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn with(policies: Option<Vec<String>>) -> ChildSpec {
    ChildSpec { policies, ..ChildSpec::default() }
}

fn rigged() -> (Rig, Directory) {
    let rig = Rig::new();
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    let directory = rig.directory(vec![a]);
    (rig, directory)
}

#[test]
fn g16_a_child_has_groups_of_its_parent_exactly() {
    let (_rig, directory) = rigged();
    let parent = directory.by(TOKEN).unwrap();
    let all = directory.create_child(&parent, with(None)).unwrap();
    assert_eq!(names(all.info.policies()), ["apps", "ops"]);
    assert!(!all.info.orphan);
    let some = directory.create_child(&parent, with(groups(&["ops"]))).unwrap();
    let child = directory.by(&some.token).unwrap();
    assert_eq!(names(child.principal.groups()), ["ops"]);
    assert_eq!((child.principal.id(), child.principal.method()), ("oncall", Method::Token));
    assert_eq!(child.principal.folders(), parent.principal.folders());
    assert_ne!(child.principal.key(), parent.principal.key());
    assert!(directory.create_child(&parent, with(groups(&[]))).unwrap().info.policies().is_empty());
    for beyond in [&["root"][..], &["OPS"], &["ops "], &["ops", "admin"], &["default"], &[""]] {
        let error = directory.create_child(&parent, with(groups(beyond))).unwrap_err();
        assert_eq!((error.kind(), error), (ErrorKind::Denied, IdentityError::BeyondParent), "{beyond:?}");
    }
    let grandchild = directory.create_child(&child, with(groups(&["apps"])));
    assert_eq!(grandchild.err(), Some(IdentityError::BeyondParent), "what the parent gave up stays given up");
}

#[test]
fn children_end_with_their_parents() {
    let (rig, directory) = rigged();
    let top = directory.create_child(&directory.by(TOKEN).unwrap(), with(None)).unwrap();
    let parent = directory.by(&top.token).unwrap();
    let middle = directory.create_child(&parent, ChildSpec { ttl: Some(12 * HOUR), ..with(None) }).unwrap();
    assert_eq!(middle.info.ttl, HOUR, "its parent ends before it does");
    assert_eq!(middle.info.parent.as_deref(), Some(top.info.accessor.as_str()));
    let low = directory.create_child(&directory.by(&middle.token).unwrap(), with(None)).unwrap();
    rig.hands.advance(Duration::from_secs(1800));
    directory.renew(&parent, Some(2 * HOUR)).unwrap();
    rig.hands.advance(Duration::from_secs(1799));
    assert!(directory.by(&low.token).is_ok());
    directory.revoke(&parent).unwrap();
    for token in [&top.token, &middle.token, &low.token] {
        assert_eq!(directory.by(token).err(), Some(IdentityError::Unknown));
    }
}

#[test]
fn children_of_a_configured_token_end_when_it_leaves_the_configuration() {
    let (rig, directory) = rigged();
    let child = directory.create_child(&directory.by(TOKEN).unwrap(), with(None)).unwrap();
    let grandchild = directory.create_child(&directory.by(&child.token).unwrap(), with(None)).unwrap();
    let mut a = settings("a");
    a.tokens = vec![static_token("oncall", TOKEN)];
    let same = rig.directory(vec![a.clone()]);
    assert!(same.by(&child.token).is_ok() && same.by(&grandchild.token).is_ok());
    a.tokens = vec![static_token("oncall", "another-token-entirely")];
    let rotated = rig.directory(vec![a]);
    assert!(rotated.by(&child.token).is_err() && rotated.by(&grandchild.token).is_err());
}

#[test]
fn a_child_is_renewed_within_its_own_maximum_if_at_all() {
    let (rig, directory) = rigged();
    let parent = directory.by(TOKEN).unwrap();
    let fixed = directory.create_child(&parent, ChildSpec { renewable: false, ..with(None) }).unwrap();
    assert_eq!(directory.renew(&directory.by(&fixed.token).unwrap(), None).err(), Some(IdentityError::NotRenewable));
    let short = ChildSpec { explicit_max_ttl: Some(Duration::from_secs(90)), ..with(None) };
    let short = directory.create_child(&parent, short).unwrap();
    assert_eq!(short.info.ttl, Duration::from_secs(90));
    let caller = directory.by(&short.token).unwrap();
    rig.hands.advance(Duration::from_secs(60));
    assert_eq!(directory.renew(&caller, None).unwrap().ttl, Duration::from_secs(30));
    let endless = ChildSpec { ttl: Some(HOUR * 1000), explicit_max_ttl: Some(HOUR * 1000), ..with(None) };
    assert_eq!(directory.create_child(&parent, endless).unwrap().info.ttl, 24 * HOUR);
}

#[test]
fn what_a_child_cannot_be_is_refused() {
    let (_rig, directory) = rigged();
    let parent = directory.by(TOKEN).unwrap();
    for (spec, kind) in [
        (ChildSpec { no_parent: true, ..with(None) }, ErrorKind::Denied),
        (ChildSpec { num_uses: 1, ..with(None) }, ErrorKind::Unsupported),
        (ChildSpec { display_name: Some("a\nb".into()), ..with(None) }, ErrorKind::Malformed),
        (ChildSpec { display_name: Some("a".repeat(257)), ..with(None) }, ErrorKind::Malformed),
        (ChildSpec { meta: vec![("a".into(), "\0".into())], ..with(None) }, ErrorKind::Malformed),
        (ChildSpec { meta: vec![("a".into(), "b".into()); 65], ..with(None) }, ErrorKind::Malformed),
    ] {
        assert_eq!(directory.create_child(&parent, spec.clone()).unwrap_err().kind(), kind, "{spec:?}");
    }
    let mut caller = parent;
    for depth in 0..16 {
        let child = directory.create_child(&caller, with(None)).unwrap_or_else(|error| panic!("{depth}: {error}"));
        caller = directory.by(&child.token).unwrap();
    }
    assert_eq!(directory.create_child(&caller, with(None)).err(), Some(IdentityError::TooDeep));
}

#[test]
fn a_workload_has_only_children_as_mighty_as_itself() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.workload = Some(WorkloadSettings { principal: "w".into(), groups: vec!["apps".into()], folders: vec![] });
    let directory = rig.directory(vec![a]);
    let at = tenant("a");
    let caller = directory.authenticate_now(Credential::None, None, Some(&at), true).unwrap().unwrap();
    assert!(directory.create_child(&caller, with(groups(&["apps"]))).is_ok());
    assert_eq!(directory.create_child(&caller, with(groups(&[]))).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(directory.create_child(&caller, with(groups(&["x"]))).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(rig.sessions.count(&at), 0);
}
