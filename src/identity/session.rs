//! One run-time token: what it stands for and how long.
//!
//! A token lives while it and every ancestor lives, so ending a parent ends all its descendants at once without finding
//! them. Lives are measured on both clocks (see `moment`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::digest::Digest;
use super::moment::Moment;
use super::{IdentityError, Principal};
use crate::clock::Timestamp;

/// How many tokens a line of parents may have.
pub(super) const MAX_DEPTH: usize = 16;

/// What a token is to be, before it has a value.
pub(super) struct Draft {
    pub(super) principal: Arc<Principal>,
    pub(super) path: String,
    pub(super) display_name: String,
    pub(super) meta: Vec<(String, String)>,
    pub(super) terms: Terms,
    pub(super) parent: Option<Arc<Session>>,
    /// The configured token (its short digest) this one descends from, and must not outlive.
    pub(super) anchor: Option<[u8; 16]>,
}

/// How long a token lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) ttl: Duration,
    pub(super) max_ttl: Duration,
    pub(super) explicit_max_ttl: Option<Duration>,
    pub(super) renewable: bool,
}

impl Terms {
    fn limit(&self) -> Duration {
        self.explicit_max_ttl.map_or(self.max_ttl, |explicit| explicit.min(self.max_ttl))
    }
}

/// The times of a token of an earlier process, by the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) issued: Timestamp,
    pub(super) end: Timestamp,
    /// The latest time known: what has passed of a life has passed by then.
    pub(super) latest: Timestamp,
}

/// A live (or just ended) run-time token.
pub(super) struct Session {
    pub(super) digest: Digest,
    accessor: Box<str>,
    draft: Draft,
    issued: Moment,
    /// Nothing renews it beyond.
    last: Moment,
    ended: AtomicBool,
    // INVARIANT: the two ends are set together by `settle` only; either one passing ends the token, so a reader between
    // the two stores sees at worst the end that held before.
    wall_end: AtomicU64,
    ticks_end: AtomicU64,
}

impl Session {
    pub(super) fn new(digest: Digest, accessor: Box<str>, draft: Draft, now: Moment) -> Self {
        let ttl = draft.terms.ttl.min(draft.terms.limit());
        let last = now.after(draft.terms.limit());
        Self::with(digest, accessor, draft, (now, last), now.after(ttl))
    }

    /// A token of an earlier process, with as much left of it as there was.
    pub(super) fn again(digest: Digest, accessor: Box<str>, draft: Draft, life: Life, now: Moment) -> Self {
        let when = |wall: Timestamp| Moment {
            wall,
            ticks: (now.ticks + wall.since(life.latest)).saturating_sub(life.latest.since(wall)),
        };
        let last = when(life.issued.after(draft.terms.limit()));
        Self::with(digest, accessor, draft, (when(life.issued), last), when(life.end))
    }

    fn with(digest: Digest, accessor: Box<str>, draft: Draft, (issued, last): (Moment, Moment), end: Moment) -> Self {
        let session = Self {
            digest,
            accessor,
            draft,
            issued,
            last,
            ended: AtomicBool::new(false),
            wall_end: AtomicU64::new(0),
            ticks_end: AtomicU64::new(0),
        };
        session.settle(end);
        session
    }

    pub(super) const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// When it ends by the wall clock, unless it is renewed or ended before.
    pub(super) fn wall_end(&self) -> Timestamp {
        self.end().wall
    }

    /// Whether it was ended by a call.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn principal(&self) -> &Arc<Principal> {
        &self.draft.principal
    }

    /// When it was made: described at this moment, it has all of its life left.
    pub(super) fn issued(&self) -> Moment {
        self.issued
    }

    pub(super) fn anchor(&self) -> Option<&[u8; 16]> {
        self.draft.anchor.as_ref()
    }

    pub(super) fn accessor(&self) -> &str {
        &self.accessor
    }

    /// Whether it and all its ancestors still live.
    pub(super) fn is_alive(&self, now: Moment) -> bool {
        self.line().all(|session| !session.has_ended() && !now.reached(session.end()))
    }

    pub(super) fn end_now(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether a child of this token would still be within the depth allowed.
    pub(super) fn may_have_child(&self) -> bool {
        self.line().count() < MAX_DEPTH
    }

    /// Gives it `increment` (default: what it was issued with) from now, within its maximum.
    pub(super) fn renew(&self, increment: Option<Duration>, now: Moment) -> Result<(), IdentityError> {
        if !self.draft.terms.renewable {
            return Err(IdentityError::NotRenewable);
        }
        if !self.is_alive(now) {
            return Err(IdentityError::Unknown);
        }
        let wanted = increment.filter(|wanted| !wanted.is_zero()).unwrap_or(self.draft.terms.ttl);
        self.settle(now.after(wanted.min(now.until(self.last))));
        Ok(())
    }

    pub(super) fn info(&self, now: Moment) -> TokenInfo {
        let end = self.line().map(|session| session.end()).reduce(sooner).unwrap_or(now);
        let ttl = if self.is_alive(now) {
            end.wall.since(now.wall).min(end.ticks.saturating_sub(now.ticks))
        } else {
            Duration::ZERO
        };
        let terms = &self.draft.terms;
        TokenInfo {
            accessor: self.accessor.to_string(),
            principal: Arc::clone(&self.draft.principal),
            issued_at: self.issued.wall,
            expires_at: Some(end.wall),
            ttl,
            creation_ttl: terms.ttl.min(terms.limit()),
            max_ttl: Some(terms.limit()),
            explicit_max_ttl: terms.explicit_max_ttl,
            renewable: terms.renewable,
            display_name: self.draft.display_name.clone(),
            meta: self.draft.meta.clone(),
            orphan: self.draft.parent.is_none() && self.draft.anchor.is_none(),
            path: self.draft.path.clone(),
            parent: self.draft.parent.as_ref().map(|parent| parent.accessor.to_string()),
        }
    }

    /// This token and its ancestors, nearest first.
    fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |session| session.draft.parent.as_deref())
    }

    fn end(&self) -> Moment {
        Moment {
            wall: Timestamp::from_micros(self.wall_end.load(Ordering::Acquire)),
            ticks: Duration::from_micros(self.ticks_end.load(Ordering::Acquire)),
        }
    }

    fn settle(&self, end: Moment) {
        self.wall_end.store(end.wall.micros(), Ordering::Release);
        self.ticks_end.store(u64::try_from(end.ticks.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
    }
}

fn sooner(one: Moment, other: Moment) -> Moment {
    Moment { wall: one.wall.min(other.wall), ticks: one.ticks.min(other.ticks) }
}

/// A presented run-time token that was found alive. Cloning is a reference count.
#[derive(Clone)]
pub struct TokenHandle(pub(super) Arc<Session>);

impl fmt::Debug for TokenHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHandle(..)")
    }
}

/// A new token, once.
pub struct Issued {
    /// Its value, to be shown to the client and nowhere else.
    pub token: Zeroizing<String>,
    /// What is known about it.
    pub info: TokenInfo,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What is known about a credential, in the words of Vault's token lookup.
#[derive(Clone, Debug)]
pub struct TokenInfo {
    /// Names the token without being one.
    pub accessor: String,
    /// Who it stands for; its policies are the principal's groups.
    pub principal: Arc<Principal>,
    /// When it was issued; for configured ones when the configuration was loaded.
    pub issued_at: Timestamp,
    /// When it ends, ancestors considered; `None` if it does not end by itself.
    pub expires_at: Option<Timestamp>,
    /// What is left of it; zero if it does not end by itself.
    pub ttl: Duration,
    /// What it was issued with; zero if it does not end by itself.
    pub creation_ttl: Duration,
    /// How long it can live with renewals; `None` if it does not end by itself.
    pub max_ttl: Option<Duration>,
    /// The maximum that was asked for.
    pub explicit_max_ttl: Option<Duration>,
    /// Whether it can be renewed. There are no periodic tokens.
    pub renewable: bool,
    /// For people.
    pub display_name: String,
    /// What was attached to it.
    pub meta: Vec<(String, String)>,
    /// Whether it has no parent.
    pub orphan: bool,
    /// The API path that made it, such as `auth/approle/login`.
    pub path: String,
    /// The parent's accessor, if the parent is a run-time token.
    pub parent: Option<String>,
}

impl TokenInfo {
    /// The token's policies in Vault's sense: its principal's groups.
    #[must_use]
    pub fn policies(&self) -> &[Box<str>] {
        self.principal.groups()
    }
}
