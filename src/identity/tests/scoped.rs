//! Signed requests: the rules about scope, time, keys and host.

use std::time::Duration;

use super::super::*;
use super::rig::{Rig, START_SECS, access_key, settings, tenant};
use super::signer::{
    HOST, KEY_ID, NAMES, OTHER_ID, OTHER_SECRET, PRESIGNED_NAMES, SECRET, Sent, Signer, each_is_told, now, presigned,
    rigged, signed, told,
};

/// `START_SECS` is 08:00 on the day it lies in.
const TO_MIDNIGHT: u64 = 16 * 3600;

#[test]
fn s15_the_scope_is_the_configured_one() {
    let (_rig, directory) = rigged();
    let sign = |change: fn(&mut Signer)| {
        let mut signer = now();
        change(&mut signer);
        (signer.sign(Sent::read(), NAMES), signer.presign(Sent::read(), PRESIGNED_NAMES, "900"))
    };
    let changes: [fn(&mut Signer); 7] = [
        |signer| signer.region = "us-east-1".into(),
        |signer| signer.region = "eu-west-1 ".into(),
        |signer| signer.region = "EU-WEST-1".into(),
        |signer| signer.service = "sts".into(),
        |signer| signer.service = "s3".into(),
        |signer| signer.day = Some("20270114".into()),
        |signer| signer.day = Some("2027011".into()),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (header, query) = sign(change);
        assert_eq!(told(&directory, &header), Some(SIGNATURE_MISMATCH), "{index}");
        assert_eq!(told(&directory, &query), Some(SIGNATURE_MISMATCH), "{index}");
    }
    let (header, query) = sign(|signer| signer.id = "AKIA/IOSFODNN7EXAMPLE".into());
    assert_eq!(told(&directory, &header), Some(SIGNATURE_INCOMPLETE));
    assert_eq!(told(&directory, &query), Some(SIGNATURE_INCOMPLETE));
    let mut sent = signed();
    sent.in_authorization("aws4_request", "AWS4_REQUEST");
    assert_eq!(told(&directory, &sent), Some(SIGNATURE_MISMATCH));
}

#[test]
fn s16_five_minutes_on_either_side() {
    let (_rig, directory) = rigged();
    for (at, is_good) in [
        (START_SECS - 299, true),
        (START_SECS - 300, true),
        (START_SECS - 301, false),
        (START_SECS - 901, false),
        (START_SECS + 299, true),
        (START_SECS + 300, true),
        (START_SECS + 301, false),
        (START_SECS + 899, false),
        (0, false),
    ] {
        let sent = Signer::at(at).sign(Sent::read(), NAMES);
        match directory.signed(sent.request()) {
            Ok(_) => assert!(is_good, "{at}"),
            Err(error) => assert_eq!((is_good, error.detail()), (false, Some(SIGNATURE_EXPIRED)), "{at}"),
        }
    }
    for bad in ["20270115T080060Z", "20270115T080000", "2027-01-15T08:00:00Z", "Fri, 15 Jan 2027 08:00:00 GMT", ""] {
        let mut sent = signed();
        sent.set("x-amz-date", bad);
        assert_eq!(told(&directory, &sent), Some(SIGNATURE_INCOMPLETE), "{bad}");
    }
    let mut dated = Sent::read();
    dated.set("date", "Thu, 01 Jan 1970 00:00:00 GMT");
    assert!(directory.signed(now().sign(dated.clone(), NAMES).request()).is_ok(), "X-Amz-Date decides");
    dated.set("date", "Fri, 15 Jan 2027 08:00:00 GMT");
    let old = Signer::at(START_SECS - 301).sign(dated, NAMES);
    assert_eq!(told(&directory, &old), Some(SIGNATURE_EXPIRED), "and Date does not mend it");
}

#[test]
fn s16_at_midnight_the_day_is_that_of_the_request() {
    let (rig, directory) = rigged();
    rig.hands.advance(Duration::from_secs(TO_MIDNIGHT - 60));
    let tomorrow = Signer::at(START_SECS + TO_MIDNIGHT + 60);
    assert!(directory.signed(tomorrow.sign(Sent::read(), NAMES).request()).is_ok(), "their clock is ahead");
    let wrong = Signer { day: Some("20270115".into()), ..tomorrow };
    assert_eq!(told(&directory, &wrong.sign(Sent::read(), NAMES)), Some(SIGNATURE_MISMATCH));
    rig.hands.advance(Duration::from_secs(120));
    let yesterday = Signer::at(START_SECS + TO_MIDNIGHT - 60);
    assert!(directory.signed(yesterday.sign(Sent::read(), NAMES).request()).is_ok(), "it was sent before midnight");
    assert!(directory.signed(yesterday.presign(Sent::read(), PRESIGNED_NAMES, "300").request()).is_ok());
    let wrong = Signer { day: Some("20270116".into()), ..yesterday };
    assert_eq!(told(&directory, &wrong.sign(Sent::read(), NAMES)), Some(SIGNATURE_MISMATCH));
    assert_eq!(told(&directory, &wrong.presign(Sent::read(), PRESIGNED_NAMES, "300")), Some(SIGNATURE_MISMATCH));
}

#[test]
fn s17_equal_requests_have_equal_signatures_and_no_others() {
    let (rig, directory) = rigged();
    let of = |sent: &Sent| directory.signed(sent.request()).unwrap().signature.unwrap();
    let first = of(&signed());
    assert_eq!(of(&signed()), first);
    rig.hands.advance(Duration::from_secs(60));
    let mut again = signed();
    again.set("user-agent", "another");
    assert_eq!(of(&again), first, "what is not signed does not make it another");
    assert_ne!(of(&Signer::at(START_SECS + 1).sign(Sent::read(), NAMES)), first);
    let mut other = Sent::read();
    other.body = b"{}".to_vec();
    assert_ne!(of(&now().sign(other, NAMES)), first);
    assert_ne!(of(&presigned()), first);
}

#[test]
fn s19_a_key_that_is_no_good_is_a_key_nobody_has() {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    a.access_keys = vec![access_key("gone", KEY_ID, SECRET)];
    a.revoked = vec!["gone".into()];
    b.access_keys = vec![access_key("ended", OTHER_ID, OTHER_SECRET)];
    let directory = rig.directory(vec![a, b]);
    directory.revoke_principal(&tenant("b"), "ended").unwrap();
    let unknown = Signer { id: "AKIAUNKNOWN000000000".into(), ..now() };
    let other = Signer { id: OTHER_ID.into(), secret: OTHER_SECRET.into(), ..now() };
    let wrong = Signer { secret: "wrong".into(), ..now() };
    for signer in [&unknown, &now(), &other, &wrong] {
        for sent in [signer.sign(Sent::read(), NAMES), signer.presign(Sent::read(), PRESIGNED_NAMES, "60")] {
            assert_eq!(told(&directory, &sent), None, "{}", signer.id);
        }
    }
    let error = directory.signed(wrong.sign(Sent::read(), NAMES).request()).unwrap_err();
    assert_eq!(error, IdentityError::Unknown, "without the secret not even the audit line says whose key it was");
    let error = directory.signed(now().sign(Sent::read(), NAMES).request()).unwrap_err();
    assert!(matches!(error, IdentityError::Revoked(_)));
    let lower = Signer { id: KEY_ID.to_ascii_lowercase(), ..now() };
    assert_eq!(told(&directory, &lower.sign(Sent::read(), NAMES)), None, "ids are exact");
}

#[test]
fn s19_an_unknown_key_is_refused_for_everything_a_known_one_is() {
    let (_rig, directory) = rigged();
    let unknown = Signer { id: "AKIAUNKNOWN000000000".into(), ..now() };
    let mut tampered = unknown.sign(Sent::read(), "content-type;host;x-amz-date");
    assert_eq!(told(&directory, &tampered), Some(SIGNATURE_INCOMPLETE));
    tampered = Signer { at: START_SECS - 301, ..unknown.clone() }.sign(Sent::read(), NAMES);
    assert_eq!(told(&directory, &tampered), Some(SIGNATURE_EXPIRED));
    tampered = unknown.sign(Sent::read(), NAMES);
    tampered.body.push(b' ');
    assert_eq!(told(&directory, &tampered), None, "a wrong signature of nobody's key says nothing of the key");
}

#[test]
fn s20_a_signature_is_64_lower_case_digits() {
    let (_rig, directory) = rigged();
    for sent in [signed(), presigned()] {
        let text = match &sent.query {
            Some(query) => query.clone(),
            None => sent.value("authorization"),
        };
        let signature = text.rsplit_once('=').unwrap().1.to_owned();
        assert_eq!(signature.len(), 64);
        let changed = [
            signature.to_ascii_uppercase(),
            format!("{signature}0"),
            signature.split_at(63).0.to_owned(),
            String::new(),
            "0".repeat(64),
            "g".repeat(64),
        ];
        for other in changed {
            let mut sent = sent.clone();
            match sent.query {
                Some(_) => sent.in_query(&signature, &other),
                None => sent.in_authorization(&signature, &other),
            }
            assert_eq!(told(&directory, &sent), Some(SIGNATURE_MISMATCH), "{other}");
        }
    }
}

#[test]
fn s21_another_secret_under_the_same_id_is_another_key() {
    let (rig, directory) = rigged();
    let child = directory.exchange(&directory.signed(signed().request()).unwrap()).unwrap();
    assert!(directory.by(&child.token).is_ok());
    let mut a = settings("a");
    a.access_keys = vec![access_key("search/indexer", KEY_ID, OTHER_SECRET)];
    let rotated = rig.directory(vec![a]);
    assert_eq!(told(&rotated, &signed()), Some(SIGNATURE_MISMATCH), "the old secret fails at once");
    let new = Signer { secret: OTHER_SECRET.into(), ..now() };
    assert!(rotated.signed(new.sign(Sent::read(), NAMES).request()).is_ok(), "the new one works at once");
    assert_eq!(rotated.by(&child.token).err(), Some(IdentityError::Unknown), "and what came of the old one is gone");
    assert!(directory.signed(signed().request()).is_ok(), "a request in flight keeps its snapshot");
}

#[test]
fn s25_s26_the_host_is_the_one_that_was_sent() {
    let (_rig, directory) = rigged();
    each_is_told(
        &directory,
        &signed(),
        &[
            ("another authority", SIGNATURE_INCOMPLETE, |sent| sent.host = "other.internal:8442".into()),
            ("another line", SIGNATURE_INCOMPLETE, |sent| sent.set("host", "other.internal:8442")),
            ("no port", SIGNATURE_MISMATCH, |sent| {
                sent.host = "secrets.internal".into();
                sent.set("host", "secrets.internal");
            }),
            ("case", SIGNATURE_MISMATCH, |sent| {
                sent.host = HOST.to_ascii_uppercase();
                sent.headers.remove("host");
            }),
        ],
    );
    let mut default_port = Sent::read();
    default_port.host = "secrets.internal:443".into();
    default_port.set("host", "secrets.internal:443");
    assert!(directory.signed(now().sign(default_port, NAMES).request()).is_ok(), "a port that was sent is signed");
}

#[test]
fn access_keys_are_checked_when_compiling() {
    let rig = Rig::new();
    let (mut a, mut b) = (settings("a"), settings("b"));
    let at =
        |index: usize, key: StaticAccessKey| StaticAccessKey { key: format!("identity.access_keys[{index}]"), ..key };
    a.access_keys = vec![
        access_key("p", KEY_ID, SECRET),
        at(1, access_key("", OTHER_ID, OTHER_SECRET)),
        at(2, access_key("p", "short", "short")),
        at(3, access_key("p", "AKIA/IOSFODNN7EXAMPLE", &"a".repeat(129))),
        at(4, access_key("p", "AKIAIOSFODNN7EXAMPL2", "0123456789 abcdef")),
    ];
    b.access_keys = vec![access_key("p", KEY_ID, OTHER_SECRET)];
    let problems = rig.compile(vec![a, b]).unwrap_err();
    let found: Vec<String> = problems.iter().map(|problem| format!("{} {}", problem.tenant, problem.key)).collect();
    assert_eq!(
        found,
        [
            "a identity.access_keys[1].principal",
            "a identity.access_keys[2].file",
            "a identity.access_keys[2].file",
            "a identity.access_keys[3].file",
            "a identity.access_keys[3].file",
            "a identity.access_keys[4].file",
            "b identity.access_keys[0].file",
        ]
    );
    assert!(
        problems.iter().all(|problem| !problem.message.contains(SECRET) && !problem.message.contains("0123456789"))
    );
}

#[test]
fn on_a_workload_listener_no_signature_is_read() {
    let rig = Rig::new();
    let mut a = settings("a");
    a.workload = Some(WorkloadSettings { principal: "w".into(), groups: vec![], folders: vec![] });
    let directory = rig.directory(vec![a]);
    let at = tenant("a");
    let mut nonsense = Sent::read();
    nonsense.set("authorization", "AWS4-HMAC-SHA256 nonsense");
    for sent in [Sent::read(), signed(), nonsense] {
        let caller = directory.authenticate_now(Credential::Signed(sent.request()), None, Some(&at), true);
        let caller = caller.unwrap().unwrap();
        assert_eq!((caller.principal.id(), caller.via, caller.signature), ("w", CallerVia::Workload, None));
    }
}
