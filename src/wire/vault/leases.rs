//! Whose leases are whose, and the tokens they hang on.
//!
//! A server ends a lease with the token it was made under. So everybody who is lent something has a login of their own
//! here (one for all where the credential is a token), and a token that was replaced is renewed until nothing hangs on it
//! any more; none is ever revoked by us. INVARIANT: a lease is known under exactly one principal, and only while this
//! process lives: what is not known is nobody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::login::Account;
use super::token::{FOREVER, Login, SHORTEST, Session};
use crate::backend::BackendError;

const MAX_SEATS: usize = 10_000;
const MAX_LEASES: usize = 10_000;
/// How long a login without a lease is kept for the next call.
const IDLE: Duration = Duration::from_secs(600);

type Seats = Mutex<HashMap<Box<str>, Arc<Seat>>>;

/// The principals of one backend that were let through to other engines. Dropping it leaves running what leases hang on.
pub(super) struct LeaseDesk {
    account: Account,
    shared: Arc<Session>,
    seats: Arc<Seats>,
}

/// One principal: its login and what it was lent.
pub(super) struct Seat {
    session: Arc<Session>,
    /// Whether nobody else keeps the session's token alive.
    is_own: bool,
    held: Mutex<Held>,
    changed: Notify,
}

struct Held {
    leases: HashMap<Box<str>, Leased>,
    /// Tokens that were replaced and that leases hang on, by generation.
    retired: HashMap<u64, Login>,
    used: Instant,
    /// Nothing is added any more.
    is_closed: bool,
}

struct Leased {
    login: Arc<Login>,
    ends_at: Instant,
    is_renewable: bool,
}

/// What a look at a seat found to do.
struct Round {
    due: Vec<Login>,
    next: Instant,
    is_closed: bool,
    is_over: bool,
}

impl LeaseDesk {
    pub(super) fn new(shared: Arc<Session>) -> Self {
        Self { account: shared.account().clone(), shared, seats: Arc::default() }
    }

    /// The seat of a principal, made when it is first needed. Called on the runtime that serves requests.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn seat(&self, principal: &str) -> Result<Arc<Seat>, BackendError> {
        let mut seats = lock(&self.seats);
        if let Some(seat) = seats.get(principal) {
            seat.held().used = Instant::now();
            return Ok(seat.clone());
        }
        if seats.len() >= MAX_SEATS {
            return Err(BackendError::RateLimited(None));
        }
        let is_own = !self.account.has_one_token();
        let session = if is_own { Arc::new(Session::new(self.account.clone())) } else { self.shared.clone() };
        let seat = Arc::new(Seat::new(session, is_own));
        seats.insert(Box::from(principal), seat.clone());
        tokio::spawn(tend(seat.clone(), Arc::downgrade(&self.seats), Box::from(principal)));
        Ok(seat)
    }

    /// The seat of a principal that has one.
    pub(super) fn known(&self, principal: &str) -> Option<Arc<Seat>> {
        lock(&self.seats).get(principal).cloned()
    }
}

impl Drop for LeaseDesk {
    fn drop(&mut self) {
        for (_, seat) in lock(&self.seats).drain() {
            seat.held().is_closed = true;
            seat.changed.notify_one();
        }
    }
}

impl Seat {
    fn new(session: Arc<Session>, is_own: bool) -> Self {
        let held = Held { leases: HashMap::new(), retired: HashMap::new(), used: Instant::now(), is_closed: false };
        Self { session, is_own, held: Mutex::new(held), changed: Notify::new() }
    }

    /// What this principal's calls are made under.
    pub(super) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Remembers a lease that was made under `login`. `false`: it cannot be kept and must be given back.
    pub(super) fn keep(&self, id: &str, seconds: u64, is_renewable: bool, login: Arc<Login>) -> bool {
        let mut held = self.held();
        if held.is_closed || held.leases.len() >= MAX_LEASES {
            return false;
        }
        held.used = Instant::now();
        held.leases.insert(Box::from(id), Leased { login, ends_at: end(seconds), is_renewable });
        drop(held);
        self.changed.notify_one();
        true
    }

    /// Whether a lease is this principal's, and then whether it can be renewed.
    pub(super) fn holds(&self, id: &str) -> Option<bool> {
        let held = self.held();
        held.leases.get(id).filter(|leased| leased.ends_at > Instant::now()).map(|leased| leased.is_renewable)
    }

    /// A lease was renewed.
    pub(super) fn extend(&self, id: &str, seconds: u64) {
        if let Some(leased) = self.held().leases.get_mut(id) {
            leased.ends_at = end(seconds);
        }
        self.changed.notify_one();
    }

    /// A lease was ended.
    pub(super) fn release(&self, id: &str) {
        self.held().leases.remove(id);
        self.changed.notify_one();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Forgets what has ended and finds the replaced tokens that are to be renewed now.
    fn round(&self) -> Round {
        let current = self.session.current().map(|login| login.generation);
        let now = Instant::now();
        let mut held = self.held();
        let Held { leases, retired, used, is_closed } = &mut *held;
        leases.retain(|_, leased| leased.ends_at > now);
        let mut before = std::mem::take(retired);
        for Leased { login, .. } in leases.values().filter(|leased| Some(leased.login.generation) != current) {
            let latest = || before.remove(&login.generation).unwrap_or_else(|| Login::clone(login));
            retired.entry(login.generation).or_insert_with(latest);
        }
        // a token that cannot be renewed takes with it what hangs on it
        retired.retain(|_, login| login.renewable || login.ends_at > now);
        leases.retain(|_, Leased { login, .. }| {
            Some(login.generation) == current || retired.contains_key(&login.generation)
        });
        let (due, later): (Vec<_>, Vec<_>) =
            retired.values().partition(|login| login.renewable && login.renew_at <= now);
        let tokens = later.into_iter().map(|login| if login.renewable { login.renew_at } else { login.ends_at });
        let ends = leases.values().map(|leased| leased.ends_at);
        let idle = *used + IDLE;
        let next = tokens.chain(ends).fold(idle.max(now + IDLE / 10), Instant::min);
        let is_over = leases.is_empty() && (*is_closed || idle <= now);
        Round { due: due.into_iter().cloned().collect(), next, is_closed: *is_closed, is_over }
    }

    /// Renews a replaced token. Where the server does not do that any more, what hangs on it has ended.
    async fn renew(&self, login: &Login) {
        let renewed = self.session.account().renew(&login.token).await;
        let mut held = self.held();
        match renewed {
            Ok(fresh) => {
                let mut next = Login::new(login.generation, fresh);
                // the last of its time: it is waited for, not renewed again
                next.renewable &= next.ends_at > Instant::now() + SHORTEST;
                held.retired.insert(login.generation, next);
            }
            Err(BackendError::Login(_)) => {
                held.retired.remove(&login.generation);
                held.leases.retain(|_, leased| leased.login.generation != login.generation);
            }
            Err(_) => {
                held.retired.insert(login.generation, login.postponed());
            }
        }
    }
}

/// A seat's life: until its principal has been away for long enough, or the backend is gone, and nothing is lent any more.
async fn tend(seat: Arc<Seat>, seats: Weak<Seats>, principal: Box<str>) {
    loop {
        let round = seat.round();
        if round.is_over && leave(&seat, &seats, &principal) {
            return;
        }
        for login in &round.due {
            seat.renew(login).await;
        }
        let mut next = if round.due.is_empty() { round.next } else { Instant::now() };
        if seat.is_own || round.is_closed {
            next = next.min(seat.session.keep().await);
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = seat.changed.notified() => {}
        }
    }
}

/// Gives the seat up unless it was used meanwhile.
fn leave(seat: &Arc<Seat>, seats: &Weak<Seats>, principal: &str) -> bool {
    let Some(seats) = seats.upgrade() else { return true };
    let mut seats = lock(&seats);
    let mut held = seat.held();
    let is_over = held.leases.is_empty() && (held.is_closed || held.used + IDLE <= Instant::now());
    if is_over {
        held.is_closed = true;
        if seats.get(principal).is_some_and(|known| Arc::ptr_eq(known, seat)) {
            seats.remove(principal);
        }
    }
    is_over
}

fn end(seconds: u64) -> Instant {
    let left = if seconds == 0 { FOREVER } else { Duration::from_secs(seconds).min(FOREVER) };
    Instant::now() + left
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::login::{AuthMethod, Fresh};
    use super::*;
    use crate::backend::{HttpClient, HttpSettings, client_config};

    fn desk() -> LeaseDesk {
        let tls = client_config(None, None, false).unwrap();
        let http = HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(1) }).unwrap();
        let endpoint = url::Url::parse("http://127.0.0.1:1").unwrap();
        let method = AuthMethod::Token(Arc::new(|| Err("there is none")));
        LeaseDesk::new(Arc::new(Session::new(Account::new(http, endpoint, None, method))))
    }

    fn login(generation: u64, seconds: u64, renewable: bool) -> Arc<Login> {
        let token = HeaderValue::from_static("made-up");
        Arc::new(Login::new(generation, Fresh { token, ttl: Duration::from_secs(seconds), renewable }))
    }

    #[tokio::test(start_paused = true)]
    async fn v14_a_lease_is_its_principals_and_nobody_elses() {
        let desk = desk();
        let one = desk.seat("team/one").unwrap();
        let two = desk.seat("team/two").unwrap();
        assert!(one.keep("db/creds/app/a", 60, true, login(1, 3600, true)));
        assert!(two.keep("db/creds/app/b", 60, false, login(1, 3600, true)));
        assert_eq!(desk.known("team/one").unwrap().holds("db/creds/app/a"), Some(true));
        assert_eq!(desk.known("team/two").unwrap().holds("db/creds/app/b"), Some(false));
        assert_eq!(two.holds("db/creds/app/a"), None);
        for other in ["team/on", "team/one/", "Team/one", ""] {
            assert!(desk.known(other).is_none(), "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn leases_end_by_time_renewal_and_revocation() {
        let desk = desk();
        let seat = desk.seat("a").unwrap();
        for id in ["short", "long", "ended"] {
            assert!(seat.keep(id, 60, true, login(1, 3600, true)));
        }
        seat.extend("long", 120);
        seat.release("ended");
        assert_eq!(seat.holds("ended"), None);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!((seat.holds("short"), seat.holds("long")), (None, Some(true)));
        seat.extend("short-that-never-was", 120);
        assert_eq!(seat.holds("short-that-never-was"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_token_is_kept_exactly_while_something_hangs_on_it() {
        let seat = Seat::new(desk().shared.clone(), true);
        // the session has no token, so both are of logins that were replaced
        assert!(seat.keep("on-the-first", 300, true, login(1, 90, true)));
        assert!(seat.keep("on-the-second", 600, true, login(2, 120, false)));
        let round = seat.round();
        assert!(round.due.is_empty() && !round.is_over);
        tokio::time::advance(Duration::from_secs(61)).await;
        let due = seat.round().due;
        assert_eq!(due.iter().map(|login| login.generation).collect::<Vec<_>>(), [1], "at two thirds of its time");
        seat.held().retired.insert(1, Login::clone(&login(1, 3600, true)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(seat.round().due.is_empty());
        assert_eq!(seat.holds("on-the-second"), None, "its token has ended and could not be renewed");
        assert_eq!(seat.holds("on-the-first"), Some(true));
        tokio::time::advance(Duration::from_secs(180)).await;
        assert!(seat.round().due.is_empty());
        assert!(seat.held().retired.is_empty() && seat.held().leases.is_empty(), "nothing hangs on it any more");
        tokio::time::advance(IDLE).await;
        assert!(seat.round().is_over);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lent_outlives_the_backend_it_came_from_and_nothing_is_added() {
        let desk = desk();
        let seat = desk.seat("a").unwrap();
        assert!(seat.keep("lent", 60, true, login(1, 3600, true)));
        drop(desk);
        assert_eq!(seat.holds("lent"), Some(true));
        assert!(!seat.round().is_over, "kept alive until it ends");
        assert!(!seat.keep("more", 60, true, login(1, 3600, true)));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(seat.round().is_over);
    }
}
