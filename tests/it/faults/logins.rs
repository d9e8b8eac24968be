//! Our own credential at the backend: replaced when the backend no longer knows it, never burned.

use std::thread;
use std::time::{Duration, Instant};

use super::rows::status;
use super::server::{Fault, Server, answer};
use super::{flaky, read, recovers};
use crate::harness::{Proxy, wait_until};

/// How long a look-up or login that found our token good is believed, and a little.
const TRUST: Duration = Duration::from_millis(5_500);

/// Reads until the backend's word about our token is old enough to be asked for again.
fn outlive_trust(proxy: &Proxy) {
    let begun = Instant::now();
    wait_until(TRUST * 2, "the last look at our token to be old", || {
        assert_eq!(read(proxy, "x").status, 200);
        begun.elapsed() > TRUST
    });
}

#[test]
fn k04_a_revoked_token_is_replaced_by_one_login_and_nobody_notices() {
    let server = Server::start();
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    assert_eq!(server.state().logins, 1);
    outlive_trust(&proxy);
    server.revoke_all();
    let calls = server.state().calls;
    let response = read(&proxy, "x");
    assert_eq!(response.status, 200, "{}", response.text());
    let state = server.state();
    assert_eq!((state.logins, state.lookups, state.calls - calls), (2, 1, 2), "look-up, login, and the call once more");
    drop(state);
    assert_eq!(proxy.audit_of(&response).len(), 1);
    outlive_trust(&proxy);
    server.revoke_all();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| read(&proxy, "x").status)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 16]);
    assert_eq!(server.state().logins, 3, "16 callers, one login");
}

#[test]
fn k04_a_token_revoked_right_after_its_login_is_replaced_too() {
    let server = Server::start();
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    server.revoke_all();
    wait_until(Duration::from_secs(10), "a second login", || read(&proxy, "x").status == 200);
    assert_eq!(server.state().logins, 2);
}

#[test]
fn k04_a_real_denial_is_no_reason_to_log_in() {
    let server = Server::start();
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    server.set(status(403));
    for _ in 0..30 {
        let response = read(&proxy, "x");
        assert_eq!(response.status, 502, "{}", response.text());
        let lines = proxy.audit_of(&response);
        assert_eq!((lines.len(), lines[0]["outcome"].as_str()), (1, Some("upstream_rejected")));
    }
    let state = server.state();
    assert_eq!(state.logins, 1);
    assert!(state.lookups <= 4, "{} look-ups for 30 denials", state.lookups);
}

#[test]
fn v16_failing_logins_are_spaced_out() {
    for fault in [
        Fault::Kept(answer(400, r#"{"errors":["invalid role or secret ID"]}"#)),
        Fault::Kept(answer(200, r#"{"auth":null}"#)),
        Fault::CutAt(0),
    ] {
        let server = Server::start();
        let proxy = flaky(&server, |builder| builder);
        recovers(&proxy, "the start");
        outlive_trust(&proxy);
        server.state().login = fault.clone();
        server.revoke_all();
        let before = server.state().logins;
        let begun = Instant::now();
        let mut refused = 0;
        while begun.elapsed() < Duration::from_secs(4) {
            let response = read(&proxy, "x");
            assert!(matches!(response.status, 502 | 503), "{fault:?}: {} {}", response.status, response.text());
            refused += 1;
        }
        let tried = server.state().logins - before;
        assert!((1..=6).contains(&tried), "{fault:?}: {tried} logins in 4 s for {refused} calls");
        server.state().login = Fault::None;
        recovers(&proxy, "logins work again");
    }
}

#[test]
fn v19_a_token_is_renewed_ahead_of_its_end_and_replaced_when_that_fails() {
    let server = Server::start();
    server.state().lease = 3;
    let proxy = flaky(&server, |builder| builder);
    recovers(&proxy, "the start");
    wait_until(Duration::from_secs(10), "two renewals", || {
        assert_eq!(read(&proxy, "x").status, 200);
        server.state().renewals >= 2
    });
    assert_eq!(server.state().logins, 1);
    server.state().renewal = Fault::Kept(answer(403, r#"{"errors":["permission denied"]}"#));
    wait_until(Duration::from_secs(10), "a login in place of a renewal", || {
        assert_eq!(read(&proxy, "x").status, 200);
        server.state().logins >= 2
    });
    // a renewal that no longer gives time: the token's life is over soon whatever we do
    server.state().renewal = Fault::Kept(answer(
        200,
        r#"{"auth":{"client_token":"given-token-number-2","lease_duration":1,"renewable":false}}"#,
    ));
    let logins = server.state().logins;
    wait_until(Duration::from_secs(15), "a login before the end", || {
        assert_eq!(read(&proxy, "x").status, 200);
        server.state().logins > logins
    });
}
