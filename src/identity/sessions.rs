//! What identity holds at run time: tokens, revoked principals and issuers' keys. Survives reloads, and a restart where a
//! tenant has a journal.
//!
//! Tokens are found by keyed hash only and never kept in clear. The table is bounded per tenant, and what has ended is
//! swept a few entries at a time by those who add.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;
use zeroize::Zeroizing;

use super::digest::{Digest, Digester, Place};
use super::journal::{Journal, JournalEntry, JournalError, JournalKind, Ledger, Mark};
use super::jwt::KeyRing;
use super::kept::{KeptToken, revive};
use super::moment::{Moment, Timer};
use super::revocation::Revocations;
use super::session::{Draft, Session};
use super::{IdentityError, JwtIssuer};
use crate::clock::Clock;
use crate::secret::Tenant;

const SHARDS: usize = 16;
const MAX_PER_TENANT: usize = 100_000;
const SWEEP_ON_INSERT: usize = 4;
const SWEEP_WHEN_FULL: usize = 64;
const NO_SHARD: IdentityError = IdentityError::Internal("the token table has no shard for a digest");

/// Run-time tokens of all tenants, run-time revocations, and issuers' keys. One per process.
pub struct Sessions {
    timer: Arc<Timer>,
    digester: Digester,
    shards: Vec<Mutex<Shard>>,
    counts: Mutex<HashMap<Tenant, usize>>,
    max_per_tenant: usize,
    revocations: Revocations,
    rings: Mutex<Vec<Arc<KeyRing>>>,
    ledger: Ledger,
}

#[derive(Default)]
struct Shard {
    by_digest: HashMap<Digest, Arc<Session>>,
    // INVARIANT: every key of `by_digest` is in the queue once; digests of removed tokens go when they reach the front.
    queue: VecDeque<Digest>,
}

impl Sessions {
    /// An empty table under a new random key.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, IdentityError> {
        Self::with(Timer::new(clock), MAX_PER_TENANT)
    }

    /// An empty table under a key that is the same after a restart: what a journal holds is found again, and access keys
    /// that follow from tokens stay what they are.
    #[must_use]
    pub fn keyed(clock: Arc<dyn Clock>, key: &[u8; 32]) -> Self {
        Self::over(Timer::new(clock), Digester::keyed(key), MAX_PER_TENANT)
    }

    pub(super) fn with(timer: Timer, max_per_tenant: usize) -> Result<Self, IdentityError> {
        Ok(Self::over(timer, Digester::new()?, max_per_tenant))
    }

    pub(super) fn over(timer: Timer, digester: Digester, max_per_tenant: usize) -> Self {
        Self {
            timer: Arc::new(timer),
            digester,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            counts: Mutex::default(),
            max_per_tenant,
            revocations: Revocations::default(),
            rings: Mutex::default(),
            ledger: Ledger::default(),
        }
    }

    /// Takes up what a tenant's journal holds, and writes to it from now on. To be called once a tenant, before anybody
    /// of it is served. Yields how many tokens live on.
    ///
    /// # Errors
    /// [`IdentityError::Unkept`] when the journal cannot be read: a principal that was revoked might be let in.
    pub fn restore(&self, tenant: &Tenant, journal: Arc<dyn Journal>) -> Result<usize, IdentityError> {
        let revoked = journal.read(JournalKind::Revocation).map_err(unkept)?;
        let revoked: HashSet<String> = revoked.into_iter().map(|(id, _)| id).collect();
        let entries = journal.read(JournalKind::Token).map_err(unkept)?;
        self.revocations.insert_all(tenant, &revoked);
        let revived = revive(tenant, entries, self.now(), |id| !revoked.contains(id));
        if revived.unread > 0 {
            warn!(tenant = tenant.as_str(), tokens = revived.unread, "tokens of another release are not valid here");
        }
        let count = revived.sessions.len();
        *locked(&self.counts).entry(tenant.clone()).or_default() += count;
        for session in revived.sessions {
            let mut shard = locked(self.shard(&session.digest).ok_or(NO_SHARD)?);
            shard.queue.push_back(session.digest);
            shard.by_digest.insert(session.digest, session);
        }
        self.ledger.open(tenant, journal, revived.gone.into_iter().map(Mark::Token).collect());
        Ok(count)
    }

    /// Returns once everything of the tenant that was issued, renewed, ended or revoked before this call is where a restart
    /// finds it; at once if nothing of it is kept.
    ///
    /// # Errors
    /// [`IdentityError::Unkept`] when it cannot be written now; it is tried again with the next call.
    pub async fn settled(&self, tenant: &Tenant) -> Result<(), IdentityError> {
        let Some(page) = self.ledger.page(tenant) else { return Ok(()) };
        // whoever had the turn before has written what was noted then, or put it back
        let _turn = page.turn.lock().await;
        let taken = page.take();
        if taken.is_empty() {
            return Ok(());
        }
        let entries: Result<Vec<_>, _> = taken.iter().map(|mark| self.entry(tenant, mark)).collect();
        page.journal.write(entries?).await.map_err(unkept)?;
        taken.written();
        Ok(())
    }

    /// Notes that a token's life was changed.
    pub(super) fn renewed(&self, session: &Session) {
        self.ledger.mark(session.principal().tenant(), Mark::Token(session.digest));
    }

    /// Notes that a principal was revoked or restored.
    pub(super) fn judged(&self, tenant: &Tenant, id: &str) {
        self.ledger.mark(tenant, Mark::Principal(Box::from(id)));
    }

    /// What is to be known of something from now on.
    fn entry(&self, tenant: &Tenant, mark: &Mark) -> Result<JournalEntry, IdentityError> {
        match mark {
            Mark::Principal(id) => {
                let content = self.revocations.contains(tenant, id).then(Zeroizing::default);
                Ok(JournalEntry { kind: JournalKind::Revocation, id: id.to_string(), content })
            }
            Mark::Token(digest) => {
                let found = self.shard(digest).and_then(|shard| locked(shard).by_digest.get(digest).map(Arc::clone));
                let found = found.filter(|session| !session.has_ended());
                let content = found.map(|session| KeptToken::of(&session, self.now())).transpose()?;
                Ok(JournalEntry { kind: JournalKind::Token, id: digest.text(), content })
            }
        }
    }

    /// How many tokens of the tenant are held, those that ended and were not swept yet included.
    #[must_use]
    pub fn count(&self, tenant: &Tenant) -> usize {
        locked(&self.counts).get(tenant).copied().unwrap_or(0)
    }

    pub(super) fn now(&self) -> Moment {
        self.timer.now()
    }

    pub(super) fn timer(&self) -> &Arc<Timer> {
        &self.timer
    }

    pub(super) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub(super) fn digest(&self, place: Place, text: &str) -> Digest {
        self.digester.digest(place, text)
    }

    pub(super) fn derive(&self, place: Place, text: &str) -> Zeroizing<[u8; 32]> {
        self.digester.derive(place, text)
    }

    /// A token value and accessor that are kept nowhere.
    pub(super) fn unkept(&self) -> Result<(Zeroizing<String>, Box<str>), IdentityError> {
        Ok((self.digester.token()?, self.digester.accessor()?))
    }

    /// The token with this digest, if it lives.
    pub(super) fn find(&self, digest: &Digest, now: Moment) -> Option<Arc<Session>> {
        let session = locked(self.shard(digest)?).by_digest.get(digest).map(Arc::clone)?;
        session.is_alive(now).then_some(session)
    }

    /// The tenant's token with this accessor. Walks the table: for administration only.
    pub(super) fn find_accessor(&self, tenant: &Tenant, accessor: &str, now: Moment) -> Option<Arc<Session>> {
        self.shards.iter().find_map(|shard| {
            let shard = locked(shard);
            let mut all = shard.by_digest.values();
            all.find(|s| s.principal().tenant() == tenant && s.accessor() == accessor && s.is_alive(now))
                .map(Arc::clone)
        })
    }

    /// Makes a token.
    pub(super) fn issue(&self, draft: Draft) -> Result<(Zeroizing<String>, Arc<Session>), IdentityError> {
        let now = self.now();
        let (token, accessor) = self.unkept()?;
        let digest = self.digest(Place::Credential, &token);
        let shard = self.shard(&digest).ok_or(NO_SHARD)?;
        self.reserve(draft.principal.tenant(), now)?;
        let session = Arc::new(Session::new(digest, accessor, draft, now));
        let tenant = session.principal().tenant();
        let swept = {
            let mut shard = locked(shard);
            let swept = shard.sweep(SWEEP_ON_INSERT, now);
            shard.by_digest.insert(digest, Arc::clone(&session));
            shard.queue.push_back(digest);
            swept
        };
        self.release(&swept);
        self.ledger.mark(tenant, Mark::Token(digest));
        Ok((token, session))
    }

    /// Ends a token and with it all its descendants.
    pub(super) fn end(&self, session: &Session) {
        session.end_now();
        let removed = self.shard(&session.digest).and_then(|shard| locked(shard).by_digest.remove(&session.digest));
        self.release(removed.as_slice());
    }

    /// Ends every token of a principal.
    pub(super) fn end_principal(&self, tenant: &Tenant, id: &str) {
        for shard in &self.shards {
            let mut ended = Vec::new();
            locked(shard).by_digest.retain(|_, session| {
                let is_theirs = session.principal().tenant() == tenant && session.principal().id() == id;
                if is_theirs {
                    session.end_now();
                    ended.push(Arc::clone(session));
                }
                !is_theirs
            });
            self.release(&ended);
        }
    }

    /// The key ring of an issuer, shared by all tenants and generations that name the same place.
    pub(super) fn ring(&self, issuer: &JwtIssuer) -> Arc<KeyRing> {
        let mut rings = locked(&self.rings);
        if let Some(ring) = rings.iter().find(|ring| ring.is_of(issuer)) {
            return Arc::clone(ring);
        }
        rings.retain(|ring| Arc::strong_count(ring) > 1);
        let ring = Arc::new(KeyRing::new(issuer.clone()));
        rings.push(Arc::clone(&ring));
        ring
    }

    fn shard(&self, digest: &Digest) -> Option<&Mutex<Shard>> {
        self.shards.get(digest.spread() % SHARDS)
    }

    fn reserve(&self, tenant: &Tenant, now: Moment) -> Result<(), IdentityError> {
        if self.try_reserve(tenant) {
            return Ok(());
        }
        for shard in &self.shards {
            let swept = locked(shard).sweep(SWEEP_WHEN_FULL, now);
            self.release(&swept);
        }
        if self.try_reserve(tenant) { Ok(()) } else { Err(IdentityError::TooManyTokens) }
    }

    fn try_reserve(&self, tenant: &Tenant) -> bool {
        let mut counts = locked(&self.counts);
        let count = counts.entry(tenant.clone()).or_default();
        let fits = *count < self.max_per_tenant;
        if fits {
            *count += 1;
        }
        fits
    }

    fn release(&self, gone: &[Arc<Session>]) {
        if gone.is_empty() {
            return;
        }
        let mut counts = locked(&self.counts);
        for session in gone {
            if let Some(count) = counts.get_mut(session.principal().tenant()) {
                *count = count.saturating_sub(1);
            }
        }
        drop(counts);
        for session in gone {
            self.ledger.mark(session.principal().tenant(), Mark::Token(session.digest));
        }
    }
}

impl Shard {
    /// Looks at the `steps` entries not looked at for longest and removes what has ended.
    fn sweep(&mut self, steps: usize, now: Moment) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        for _ in 0..steps.min(self.queue.len()) {
            let Some(digest) = self.queue.pop_front() else { break };
            let Some(session) = self.by_digest.get(&digest) else { continue };
            if session.is_alive(now) {
                self.queue.push_back(digest);
            } else {
                gone.extend(self.by_digest.remove(&digest));
            }
        }
        gone
    }
}

fn unkept(error: JournalError) -> IdentityError {
    IdentityError::Unkept(error.0.into_boxed_str())
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(..)")
    }
}

// A panic while a lock is held leaves whole entries behind, never half ones: the data stays usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::session::Terms;
    use super::super::tests::rig::Hands;
    use super::super::{Method, Principal};
    use super::*;

    fn draft(tenant: &str, id: &str, parent: Option<Arc<Session>>) -> Draft {
        let tenant = Tenant::parse(tenant).unwrap();
        Draft {
            principal: Arc::new(Principal::new(tenant, id, Method::Token, vec![], vec![])),
            path: "auth/token/create".into(),
            display_name: "token".into(),
            meta: vec![],
            terms: Terms {
                ttl: Duration::from_secs(60),
                max_ttl: Duration::from_secs(100),
                explicit_max_ttl: None,
                renewable: true,
            },
            parent,
            anchor: None,
        }
    }

    #[test]
    fn a_full_tenant_takes_no_more_until_tokens_end_and_others_are_not_affected() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 3).unwrap();
        let a = Tenant::parse("a").unwrap();
        for _ in 0..3 {
            sessions.issue(draft("a", "p", None)).unwrap();
        }
        assert_eq!(sessions.issue(draft("a", "p", None)).err(), Some(IdentityError::TooManyTokens));
        sessions.issue(draft("b", "p", None)).unwrap();
        assert_eq!(sessions.count(&a), 3);
        hands.advance(Duration::from_secs(61));
        sessions.issue(draft("a", "p", None)).unwrap();
        assert_eq!(sessions.count(&a), 1, "the ended ones were swept");
    }

    #[test]
    fn k01_a_wall_clock_set_back_extends_nothing() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 10).unwrap();
        let (token, session) = sessions.issue(draft("a", "p", None)).unwrap();
        let digest = sessions.digest(Place::Credential, &token);
        hands.advance(Duration::from_secs(30));
        hands.set_wall_back(Duration::from_secs(1_000_000));
        assert!(sessions.find(&digest, sessions.now()).is_some());
        hands.advance_ticks(Duration::from_secs(30));
        assert!(sessions.find(&digest, sessions.now()).is_none());
        assert_eq!(session.renew(None, sessions.now()), Err(IdentityError::Unknown), "what ended is not renewed");
    }

    #[test]
    fn k02_a_machine_that_slept_serves_no_expired_token() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 10).unwrap();
        let (token, _) = sessions.issue(draft("a", "p", None)).unwrap();
        hands.advance_wall(Duration::from_secs(61));
        assert!(sessions.find(&sessions.digest(Place::Credential, &token), sessions.now()).is_none());
    }

    #[test]
    fn k05_ending_a_parent_or_a_principal_ends_all_at_once() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 10).unwrap();
        let (_, parent) = sessions.issue(draft("a", "p", None)).unwrap();
        let (_, child) = sessions.issue(draft("a", "p", Some(Arc::clone(&parent)))).unwrap();
        let (token, _) = sessions.issue(draft("a", "p", Some(child))).unwrap();
        let digest = sessions.digest(Place::Credential, &token);
        assert!(sessions.find(&digest, sessions.now()).is_some());
        sessions.end(&parent);
        assert!(sessions.find(&digest, sessions.now()).is_none());

        let (ours, _) = sessions.issue(draft("a", "q", None)).unwrap();
        let (theirs, _) = sessions.issue(draft("b", "q", None)).unwrap();
        sessions.end_principal(&Tenant::parse("a").unwrap(), "q");
        assert!(sessions.find(&sessions.digest(Place::Credential, &ours), sessions.now()).is_none());
        assert!(sessions.find(&sessions.digest(Place::Credential, &theirs), sessions.now()).is_some());
    }

    #[test]
    fn the_chain_of_parents_is_bounded() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 100).unwrap();
        let (_, mut last) = sessions.issue(draft("a", "p", None)).unwrap();
        let mut depth = 1;
        while last.may_have_child() {
            last = sessions.issue(draft("a", "p", Some(last))).unwrap().1;
            depth += 1;
        }
        assert_eq!(depth, 16);
    }

    #[test]
    fn the_queue_does_not_grow_with_tokens_that_come_and_go() {
        let hands = Hands::default();
        let sessions = Sessions::with(hands.timer(), 10).unwrap();
        for _ in 0..2000 {
            let (_, session) = sessions.issue(draft("a", "p", None)).unwrap();
            sessions.end(&session);
        }
        let queued: usize = sessions.shards.iter().map(|shard| locked(shard).queue.len()).sum();
        assert!(queued <= SHARDS * SWEEP_ON_INSERT, "{queued}");
        assert_eq!(sessions.count(&Tenant::parse("a").unwrap()), 0);
    }
}
