//! New keys for a store that is there: the provider's by `seal.previous`, the store's own and the tenant's over the API
//! while it is read and written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::damage::entry;
use super::{FILE_SEAL, OTHER_KEY_FILE, builder, file_of, holds, read, refused, restart, sealed_by, stop, told, write};
use crate::harness::{ADMIN, Proxy, READER, Response, wait_until};

const OTHER_SEAL: &str = "{provider: file, path: {dir}/other.key}";

fn rotate(proxy: &Proxy, token: &str, key: &str) -> Response {
    proxy.scaivault_call(token, "POST", "/v1/seal/rotate", format!(r#"{{"key":"{key}"}}"#).as_bytes())
}

#[test]
fn e10_the_providers_key_changes_by_seal_previous() {
    let with_previous = |seal: &str, previous: &str| {
        let inner = seal.strip_suffix('}').unwrap();
        sealed_by(&format!("{inner}, previous: {previous}}}"))
    };
    let variable = "{provider: env, variable: SEAL_KEY}";
    let mut proxy = builder().env("SEAL_KEY", OTHER_KEY_FILE.trim()).start();
    write(&proxy, "apps/one", "sealed once");
    let mut expected = vec![("apps/one".to_owned(), "sealed once".to_owned())];
    // from one file to another, from a file to the environment, and back: each with both keys once, then with the new one
    for (number, (from, to)) in
        [(FILE_SEAL, OTHER_SEAL), (OTHER_SEAL, variable), (variable, FILE_SEAL)].into_iter().enumerate()
    {
        for config in [with_previous(to, from), sealed_by(to)] {
            stop(&mut proxy);
            proxy.write_config(&config);
            proxy.start_again();
            for (path, value) in &expected {
                holds(&proxy, path, value);
            }
        }
        let (path, value) = (format!("apps/after-{number}"), format!("written after change {number}"));
        write(&proxy, &path, &value);
        expected.push((path, value));
    }
    stop(&mut proxy);
    // a key that is not in force any more opens nothing, also as the previous one
    proxy.write_config(&sealed_by(OTHER_SEAL));
    assert!(refused(&proxy, &[]).contains("other.key"));
    proxy.write_config(&with_previous(OTHER_SEAL, "{provider: file, path: {dir}/admin.token}"));
    refused(&proxy, &[]);
    proxy.write_config(&sealed_by(FILE_SEAL));
    proxy.start_again();
    for (path, value) in &expected {
        holds(&proxy, path, value);
    }
}

#[test]
fn e10_the_root_key_and_the_tenants_key_change_while_secrets_are_read_and_written() {
    let mut proxy = builder().start();
    for number in 0..40 {
        write(&proxy, &format!("apps/old/{number}"), &format!("old {number}"));
    }
    let wrapped = |proxy: &mut Proxy| {
        stop(proxy);
        let wrapped = entry(&file_of(proxy), "root");
        proxy.start_again();
        wrapped
    };
    let first = wrapped(&mut proxy);
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let number = count.load(Ordering::SeqCst);
                write(&proxy, &format!("apps/new/{number}"), &format!("new {number}"));
                holds(&proxy, &format!("apps/old/{}", number % 40), &format!("old {}", number % 40));
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        for key in ["root", "tenant", "tenant", "root"] {
            let before = count.load(Ordering::SeqCst);
            let rotated = rotate(&proxy, ADMIN, key);
            assert_eq!(rotated.status, 200, "{key}: {}", rotated.text());
            assert_eq!(rotated.json()["key"], key, "{}", rotated.text());
            wait_until(super::SOON, "writes under the new key", || count.load(Ordering::SeqCst) > before + 1);
        }
        over.store(true, Ordering::SeqCst);
    });
    let all = |proxy: &Proxy| {
        for number in 0..40 {
            holds(proxy, &format!("apps/old/{number}"), &format!("old {number}"));
        }
        for number in 0..count.load(Ordering::SeqCst) {
            holds(proxy, &format!("apps/new/{number}"), &format!("new {number}"));
        }
    };
    all(&proxy);
    assert_ne!(wrapped(&mut proxy), first, "the root key is the old one");
    all(&proxy);
    let lines: Vec<(String, String)> = told(&proxy, "seal_rotate");
    let words: Vec<&str> = lines.iter().map(|(word, _)| word.as_str()).collect();
    let (root, tenant) = (["rotate_root_intent", "rotate_root"], ["rotate_tenant_intent", "rotate_tenant"]);
    assert_eq!(words, [root, tenant, tenant, root].concat());
    assert!(lines.iter().all(|(_, outcome)| outcome == "ok"), "{lines:?}");
}

#[test]
fn e10_a_rotation_that_was_killed_leaves_every_record_readable() {
    let mut proxy = builder().start();
    for number in 0..60 {
        write(&proxy, &format!("apps/k{number}"), &format!("value {number}"));
    }
    for (round, key) in ["tenant", "root", "tenant", "root"].into_iter().enumerate() {
        let before = proxy.audit().len();
        let pid = proxy.pid();
        std::thread::scope(|scope| {
            // nobody hears the answer
            let address = proxy.address("scaivault");
            scope.spawn(move || {
                let bearer = format!("Bearer {ADMIN}");
                let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                let body = format!(r#"{{"key":"{key}"}}"#);
                drop(crate::harness::try_request(&address, "POST", "/v1/seal/rotate", &headers, body.as_bytes()));
            });
            // the intent is written right before the work begins
            wait_until(super::SOON, "the rotation to begin", || proxy.audit().len() > before);
            crate::harness::send_signal(pid, 9);
        });
        proxy.wait_exit(super::SOON);
        proxy.start_again();
        for number in 0..60 {
            holds(&proxy, &format!("apps/k{number}"), &format!("value {number}"));
        }
        write(&proxy, &format!("apps/after-{round}"), "a value");
    }
    let rotated = rotate(&proxy, ADMIN, "tenant");
    assert_eq!(rotated.status, 200, "what was left over is taken up: {}", rotated.text());
    restart(&mut proxy);
    holds(&proxy, "apps/k0", "value 0");
}

#[test]
fn rotating_is_for_those_who_administer_the_seal() {
    let proxy = builder().start();
    for (token, status) in [("", 401), ("a-token-that-nobody-has", 401), (READER, 403)] {
        assert_eq!(rotate(&proxy, token, "root").status, status);
    }
    for body in ["", "{}", r#"{"key":"other"}"#, r#"{"key":"root","more":1}"#, r#"["root"]"#] {
        let answer = proxy.scaivault_call(ADMIN, "POST", "/v1/seal/rotate", body.as_bytes());
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    assert!(told(&proxy, "seal_rotate").iter().all(|(_, outcome)| outcome != "ok"));
    // a process that keeps nothing has nothing to rotate
    let bare = Proxy::builder().start();
    let refused = rotate(&bare, ADMIN, "root");
    assert!(matches!(refused.status, 405 | 409), "{} {}", refused.status, refused.text());
    assert_eq!(read(&bare, "apps/none").status, 404);
}
