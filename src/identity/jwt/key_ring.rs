//! The keys of one issuer over time: when to fetch, what to keep.
//!
//! Promises: at most one fetch at a time and one per cooldown, whatever tokens arrive; keys in use stay in use when a
//! fetch fails; a key that the issuer withdrew is forgotten within the refresh interval; a client that goes away does
//! not cancel the fetch others wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Gate;
use tracing::warn;

use super::keys::{KeySet, read_file};
use super::source::JwksSource;
use crate::identity::moment::{Moment, Timer};
use crate::identity::{JwksError, JwksLocation, JwtIssuer};

const COOLDOWN: Duration = Duration::from_secs(30);
const REFRESH_AFTER: Duration = Duration::from_secs(15 * 60);
const FETCH_DEADLINE: Duration = Duration::from_secs(5);

/// The keys of one issuer at one place.
pub(in crate::identity) struct KeyRing {
    issuer: JwtIssuer,
    state: Mutex<State>,
    gate: Arc<Gate<()>>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    generation: u64,
    fetched: Option<Moment>,
    attempted: Option<Moment>,
    fetching: bool,
}

/// What to do with a token whose key id was looked up.
pub(super) enum Look {
    /// Use this set of this generation, whether it has the key or not.
    Use(Arc<KeySet>, u64),
    /// Fetch first, then look again.
    Fetch,
    /// There are no keys, and it is too early to try again.
    Unavailable,
}

/// Whether what was verified with a generation of keys still counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Same,
    /// The keys are old: fetch first, then look again.
    Fetch,
    /// The keys changed: verify again.
    Changed,
}

impl KeyRing {
    pub(in crate::identity) fn new(issuer: JwtIssuer) -> Self {
        Self { issuer, state: Mutex::default(), gate: Arc::default() }
    }

    /// Whether `issuer` has its keys at the same place.
    pub(in crate::identity) fn is_of(&self, issuer: &JwtIssuer) -> bool {
        let own = &self.issuer;
        own.issuer == issuer.issuer && own.jwks == issuer.jwks && own.ca_path == issuer.ca_path
    }

    /// Puts keys in place that were read elsewhere.
    pub(in crate::identity) fn install(&self, keys: KeySet, now: Moment) {
        let mut state = self.state();
        state.attempted = Some(now);
        state.take(keys, now);
    }

    pub(super) fn look(&self, kid: Option<&str>, now: Moment) -> Look {
        let state = self.state();
        let worth_waiting = state.fetching || state.is_due(now);
        match &state.keys {
            None if worth_waiting => Look::Fetch,
            None => Look::Unavailable,
            Some(_) if state.wants_refresh(now) => Look::Fetch,
            Some(keys) if worth_waiting && keys.find(kid).is_none() => Look::Fetch,
            Some(keys) => Look::Use(Arc::clone(keys), state.generation),
        }
    }

    pub(super) fn standing(&self, generation: u64, now: Moment) -> Standing {
        let state = self.state();
        if state.generation != generation {
            Standing::Changed
        } else if state.wants_refresh(now) {
            Standing::Fetch
        } else {
            Standing::Same
        }
    }

    /// Fetches the keys, or waits for the fetch under way. Returns without one if it is too early.
    pub(in crate::identity) async fn refresh(self: Arc<Self>, source: Arc<dyn JwksSource>, timer: Arc<Timer>) {
        let pass = Arc::clone(&self.gate).lock_owned().await;
        if !self.begin(timer.now()) {
            return;
        }
        // In a task of its own: the client that asked may go away, others wait for the result.
        let fetch = tokio::spawn(async move {
            let _pass = pass;
            let flight = Flight(&self);
            let fetched = self.fetch(source.as_ref()).await;
            flight.0.finish(fetched, timer.now());
        });
        // A task that panicked has ended its flight; the keys are as they were.
        let _ = fetch.await;
    }

    async fn fetch(&self, source: &dyn JwksSource) -> Result<KeySet, JwksError> {
        let bytes = if let JwksLocation::File(path) = &self.issuer.jwks {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
            read.unwrap_or(Err(JwksError::Unusable("reading the file was interrupted")))?
        } else {
            let fetched = tokio::time::timeout(FETCH_DEADLINE, source.fetch(&self.issuer)).await;
            fetched.unwrap_or_else(|_| Err(JwksError::Unreachable("no answer in time".to_owned())))?
        };
        KeySet::parse(&bytes)
    }

    fn begin(&self, now: Moment) -> bool {
        let mut state = self.state();
        let due = state.is_due(now);
        if due {
            state.attempted = Some(now);
            state.fetching = true;
        }
        due
    }

    fn finish(&self, fetched: Result<KeySet, JwksError>, now: Moment) {
        match fetched {
            Ok(keys) => self.state().take(keys, now),
            Err(error) => warn!(issuer = %self.issuer.issuer, %error, "the issuer's keys could not be fetched"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&self, now: Moment) -> bool {
        self.attempted.is_none_or(|at| now.since(at) >= COOLDOWN)
    }

    fn wants_refresh(&self, now: Moment) -> bool {
        !self.fetching && self.is_due(now) && self.fetched.is_none_or(|at| now.since(at) >= REFRESH_AFTER)
    }

    fn take(&mut self, keys: KeySet, now: Moment) {
        self.fetched = Some(now);
        if self.keys.as_ref().is_some_and(|known| known.is_same(&keys)) {
            return;
        }
        self.keys = Some(Arc::new(keys));
        self.generation += 1;
    }
}

/// A fetch under way; however it ends, it is not under way any more.
struct Flight<'a>(&'a KeyRing);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.state().fetching = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::forge::{Forge, set};
    use crate::identity::tests::rig::{FakeSource, Hands, issuer};

    fn ring() -> Arc<KeyRing> {
        Arc::new(KeyRing::new(issuer("https://i.example")))
    }

    async fn refresh(ring: &Arc<KeyRing>, source: &Arc<FakeSource>, timer: &Arc<Timer>) {
        Arc::clone(ring).refresh(Arc::clone(source) as Arc<dyn JwksSource>, Arc::clone(timer)).await;
    }

    #[tokio::test]
    async fn j07_one_fetch_per_cooldown_and_good_keys_survive_failures() {
        let hands = Hands::default();
        let timer = Arc::new(hands.timer());
        let source = Arc::new(FakeSource::default());
        let ring = ring();
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Fetch));
        source.serve(&set(&[Forge::ed25519("k").jwk()]));
        refresh(&ring, &source, &timer).await;
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Use(_, 1)));
        assert!(matches!(ring.look(Some("other"), timer.now()), Look::Use(_, 1)), "too early to ask again");
        for _ in 0..100 {
            refresh(&ring, &source, &timer).await;
        }
        assert_eq!(source.calls(), 1);

        hands.advance(COOLDOWN);
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Use(_, 1)), "a known key does not wait");
        assert!(matches!(ring.look(Some("other"), timer.now()), Look::Fetch));
        for broken in ["not json", r#"{"keys":[]}"#] {
            source.serve(broken);
            refresh(&ring, &source, &timer).await;
            hands.advance(COOLDOWN);
        }
        source.fail();
        refresh(&ring, &source, &timer).await;
        assert_eq!(source.calls(), 4);
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Use(keys, 1) if keys.find(Some("k")).is_some()));
    }

    #[tokio::test]
    async fn j26_withdrawn_keys_are_forgotten_at_the_refresh() {
        let hands = Hands::default();
        let timer = Arc::new(hands.timer());
        let source = Arc::new(FakeSource::default());
        let ring = ring();
        let (old, new) = (Forge::ed25519("old").jwk(), Forge::ed25519("new").jwk());
        source.serve(&set(std::slice::from_ref(&old)));
        refresh(&ring, &source, &timer).await;
        source.serve(&set(&[old.clone(), new.clone()]));
        hands.advance(COOLDOWN);
        refresh(&ring, &source, &timer).await;
        assert_eq!(ring.standing(1, timer.now()), Standing::Changed);
        assert!(matches!(ring.look(Some("old"), timer.now()), Look::Use(keys, 2) if keys.find(Some("old")).is_some()));
        source.serve(&set(&[new]));
        hands.advance(REFRESH_AFTER);
        assert_eq!(ring.standing(2, timer.now()), Standing::Fetch);
        assert!(matches!(ring.look(Some("old"), timer.now()), Look::Fetch));
        refresh(&ring, &source, &timer).await;
        assert!(matches!(ring.look(Some("old"), timer.now()), Look::Use(keys, 3) if keys.find(Some("old")).is_none()));
    }

    #[tokio::test]
    async fn an_unchanged_set_keeps_its_generation_and_no_keys_are_unavailable() {
        let hands = Hands::default();
        let timer = Arc::new(hands.timer());
        let source = Arc::new(FakeSource::default());
        let ring = ring();
        source.fail();
        refresh(&ring, &source, &timer).await;
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Unavailable));
        source.serve(&set(&[Forge::ed25519("k").jwk()]));
        for _ in 0..3 {
            hands.advance(REFRESH_AFTER);
            refresh(&ring, &source, &timer).await;
        }
        assert_eq!((source.calls(), ring.standing(1, timer.now())), (4, Standing::Same));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_does_not_cancel_the_fetch() {
        let hands = Hands::default();
        let timer = Arc::new(hands.timer());
        let source = Arc::new(FakeSource::default());
        let ring = ring();
        source.serve(&set(&[Forge::ed25519("k").jwk()]));
        let hold = source.hold();
        let leaving = Arc::clone(&ring);
        let (gone_source, gone_timer) = (Arc::clone(&source) as Arc<dyn JwksSource>, Arc::clone(&timer));
        let client = tokio::spawn(async move { leaving.refresh(gone_source, gone_timer).await });
        while source.calls() == 0 {
            tokio::task::yield_now().await;
        }
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Fetch), "still under way");
        drop(hold);
        refresh(&ring, &source, &timer).await;
        assert_eq!(source.calls(), 1);
        assert!(matches!(ring.look(Some("k"), timer.now()), Look::Use(_, 1)));
    }
}
