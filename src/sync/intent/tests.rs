//! What is remembered of writes, and how it is judged.

use super::*;
use crate::clock::Timestamp;
use crate::seal::{Agreed, Origin};

fn mark_of(version: u64, digest: &str) -> RemoteMark {
    RemoteMark { version, native: None, readable: true, digest: digest.to_owned() }
}

fn intent(step: Step, base: Option<RemoteMark>) -> Intent {
    Intent {
        path: "a/b".to_owned(),
        remote: "secret/data/b".to_owned(),
        route: 7,
        made: 5,
        request_id: "r".to_owned(),
        nonce: [3; 16],
        base,
        copied: true,
        step,
        days: None,
        value: None,
    }
}

fn described(states: &[VersionState]) -> Described {
    let versions: Vec<VersionInfo> = (1..)
        .zip(states)
        .map(|(version, state)| VersionInfo {
            version,
            created_at: Timestamp::from_secs(version),
            state: *state,
            ..VersionInfo::default()
        })
        .collect();
    Described {
        current_version: versions.len() as u64,
        oldest_version: 1,
        created_at: Timestamp::from_secs(1),
        updated_at: Timestamp::from_secs(1),
        versions,
        ..Described::default()
    }
}

#[test]
fn an_intent_reads_back_with_any_bytes() {
    for bytes in [&b""[..], b"\n", b"{\"a\":1}\n\0\xff"] {
        let (secret_type, metadata, token, stages) = ("json".to_owned(), None, None, None);
        let mut written = intent(Step::Put { secret_type, metadata, token, stages }, None);
        written.value = Some(SecretValue::copy_of(bytes));
        let read = Intent::decode(&written.encode().unwrap()).unwrap();
        assert_eq!(read.value.as_ref().unwrap().expose(), bytes);
        assert_eq!((read.step, read.route, read.base), (written.step, 7, None));
    }
    let read = Intent::decode(&intent(Step::Purge, Some(mark_of(3, "x"))).encode().unwrap()).unwrap();
    assert_eq!((read.base.unwrap().version, read.value.is_none()), (3, true));
    assert!(Intent::decode(b"{}").is_none());
}

#[test]
fn intents_of_earlier_releases_still_read() {
    let base = r#"{"path":"a/b","remote":"n","route":7,"made":5,"request_id":"r","base":null,"copied":true,"step":"#;
    let read = |step: &str| Intent::decode(format!("{base}{step}}}\nv").as_bytes()).unwrap();
    let deleted = read(r#"{"delete":[1,2]}"#);
    assert_eq!((deleted.step, deleted.days), (Step::Delete(vec![1, 2]), None));
    let put = read(r#"{"put":{"secret_type":"text","metadata":null}}"#);
    assert!(put.stages().is_none() && put.token().is_none() && put.is_for_current());
    assert_eq!(put.value.unwrap().expose(), b"v");
    assert_eq!(read(r#""purge""#).step, Step::Purge);
    let within = Intent { days: Some(9), ..intent(Step::Delete(Vec::new()), None) };
    assert_eq!(Intent::decode(&within.encode().unwrap()).unwrap().days, Some(9));
}

#[test]
fn w04_labels_and_secrets_without_a_version_are_judged_by_what_is_there() {
    let version = |version: u64, rank: Rank, stages: &[&str]| VersionInfo {
        version,
        native_id: Some(format!("v{version}").into_boxed_str()),
        rank,
        stages: stages.iter().map(|stage| Box::from(*stage)).collect(),
        ..VersionInfo::default()
    };
    let secret = |versions: Vec<VersionInfo>| Described { versions, current_version: 2, ..described(&[]) };
    let before = secret(vec![version(1, Rank::Other, &["x"]), version(2, Rank::Current, &[])]);
    let judge = |step: Step, base: Option<&Described>, after: Option<&Described>| {
        let mark = after.map(mark::of_described);
        intent(step, base.map(mark::of_described)).judge(mark.as_ref().map(|mark| (mark, after)))
    };
    let label = |stage: &str, from: Option<&str>, to: Option<&str>| Step::Label {
        stage: stage.to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    let moved = secret(vec![version(1, Rank::Other, &[]), version(2, Rank::Current, &["x"])]);
    let taken = secret(vec![version(1, Rank::Other, &[]), version(2, Rank::Current, &[])]);
    let to_two = || label("x", Some("v1"), Some("v2"));
    assert_eq!(judge(to_two(), Some(&before), Some(&moved)), Verdict::Applied(None));
    assert_eq!(judge(to_two(), Some(&before), Some(&before)), Verdict::Dropped);
    assert_eq!(judge(to_two(), Some(&before), Some(&taken)), Verdict::Overtaken);
    assert_eq!(judge(label("x", Some("v1"), None), Some(&before), Some(&taken)), Verdict::Applied(None));
    let flipped = secret(vec![version(1, Rank::Current, &["x"]), version(2, Rank::Previous, &[])]);
    let flip = || label(CURRENT, Some("v2"), Some("v1"));
    assert_eq!(judge(flip(), Some(&before), Some(&flipped)), Verdict::Applied(None));
    assert_eq!(intent(flip(), Some(mark::of_described(&before))).leads_to(None), Some("v1"));
    assert_eq!(intent(to_two(), Some(mark::of_described(&before))).leads_to(None), Some("v2"));

    let wanted = Metadata::from([("k".to_owned(), "v".to_owned())]);
    let bare = |metadata: Metadata| Described { metadata, ..described(&[]) };
    let create = || Step::Create(wanted.clone());
    let more = Metadata::from([("k".to_owned(), "v".to_owned()), ("team".to_owned(), "a".to_owned())]);
    assert_eq!(judge(create(), None, None), Verdict::Dropped);
    assert_eq!(judge(create(), None, Some(&bare(more))), Verdict::Applied(None));
    assert_eq!(judge(create(), None, Some(&bare(Metadata::new()))), Verdict::Overtaken);
    assert_eq!(judge(create(), None, Some(&before)), Verdict::Overtaken);

    let (there, all) = (bare(wanted.clone()), || Step::Delete(Vec::new()));
    let ended = Described { purges_at: Some(Timestamp::from_secs(9)), ..there.clone() };
    assert_eq!(judge(all(), Some(&there), Some(&ended)), Verdict::Applied(None));
    assert_eq!(judge(all(), Some(&there), Some(&there)), Verdict::Dropped);
    let back = || Step::Undelete(Vec::new());
    assert_eq!(judge(back(), Some(&ended), Some(&there)), Verdict::Applied(None));
    assert_eq!(judge(back(), Some(&ended), Some(&ended)), Verdict::Dropped);
}

#[test]
fn an_intent_is_told_from_another_write_of_the_path() {
    let one = intent(Step::Purge, None);
    let kept = one.encode().unwrap();
    let other = Intent { nonce: Intent::fresh_nonce(), ..intent(Step::Purge, None) };
    assert!(one.is_kept_as(&kept) && !other.is_kept_as(&kept) && !one.is_kept_as(b"{}"));
}

#[test]
fn an_intent_is_one_backends() {
    let (one, other) = (BackendId::from_bytes([1; 16]), BackendId::from_bytes([2; 16]));
    let id = Intent::id(&one, &SecretPath::parse("a/b").unwrap());
    assert!(Intent::is_of(&id, &one) && !Intent::is_of(&id, &other));
}

#[test]
fn w04_a_lost_answer_is_judged_by_what_the_remote_side_is() {
    let deleted = VersionState::Deleted(Timestamp::from_secs(9));
    let before = described(&[VersionState::Current, VersionState::Current]);
    let base = mark::of_described(&before);
    let judge = |step: Step, after: Option<&Described>| {
        let mark = after.map(mark::of_described);
        intent(step, Some(base.clone())).judge(mark.as_ref().map(|mark| (mark, after)))
    };
    let after = described(&[VersionState::Current, deleted]);
    let gone = described(&[VersionState::Current, VersionState::Destroyed(None)]);
    assert_eq!(judge(Step::Delete(vec![2]), Some(&after)), Verdict::Applied(None));
    assert_eq!(judge(Step::Delete(vec![2]), Some(&before)), Verdict::Dropped);
    assert_eq!(judge(Step::Delete(vec![1]), Some(&after)), Verdict::Overtaken);
    assert_eq!(judge(Step::Destroy(vec![2]), Some(&gone)), Verdict::Applied(None));
    assert_eq!(judge(Step::Undelete(vec![2]), Some(&after)), Verdict::Overtaken);
    assert_eq!(judge(Step::Purge, None), Verdict::Applied(None));
    assert_eq!(judge(Step::Purge, Some(&before)), Verdict::Dropped);
    assert_eq!(judge(Step::Delete(vec![2]), None), Verdict::Overtaken);
    assert_eq!(judge(Step::Metadata(Metadata::from([("a".into(), "b".into())])), Some(&before)), Verdict::Dropped);
}

fn head(numbers: &[(u64, Option<&str>)], agreed: Option<(u64, u64)>) -> Head {
    let version = |native: Option<&str>| HeadVersion { native: native.map(str::to_owned), ..HeadVersion::default() };
    Head {
        current: numbers.last().map_or(0, |(number, _)| *number),
        versions: numbers.iter().map(|(number, native)| (*number, version(*native))).collect(),
        origin: Some(Origin {
            backend: String::new(),
            remote: String::new(),
            route: 1,
            agreed: agreed.map(|(local_version, remote)| Agreed {
                local: String::new(),
                local_version,
                remote: mark_of(remote, ""),
                at: 1,
            }),
            conflict: None,
        }),
        ..Head::default()
    }
}

#[test]
fn numbers_are_the_remote_sides_own_until_somebody_writes_here() {
    let aligned = head(&[(4, None), (5, None)], Some((5, 5)));
    assert_eq!(numbering(&aligned, &VersionInfo { version: 6, ..VersionInfo::default() }), 6);
    for number in [2, 4, 5, 9] {
        assert_eq!(remote_number(&aligned, number), Some(number));
    }
    let ahead = head(&[(5, None), (6, None)], Some((5, 5)));
    assert_eq!(numbering(&ahead, &VersionInfo { version: 6, ..VersionInfo::default() }), 7);
    for (number, remote) in [(2, Some(2)), (5, Some(5)), (6, None), (9, None)] {
        assert_eq!(remote_number(&ahead, number), remote);
    }
    let apart = head(&[(5, None), (6, None), (7, Some("6"))], Some((7, 6)));
    for (number, remote) in [(7, Some(6)), (3, Some(3)), (8, None)] {
        assert_eq!(remote_number(&apart, number), remote);
    }
    assert_eq!((local_number(&apart, 6), local_number(&apart, 5), local_number(&apart, 3)), (Some(7), Some(5), None));
    let pushed = head(&[(5, None), (6, Some("6"))], Some((6, 6)));
    assert_eq!((remote_number(&pushed, 6), remote_number(&pushed, 9)), (Some(6), Some(9)));
    assert_eq!(numbering(&Head::default(), &VersionInfo { version: 5, ..VersionInfo::default() }), 5);
}
