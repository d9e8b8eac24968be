//! What a run does about one path: both sides against what they last agreed on. Pure.
//!
//! INVARIANT: carrying out a decision and planning again decides on nothing more. A change on the local side alone is
//! pushed or kept, never overwritten; a conflict is settled by the policy or flagged, never merged.

use super::mark;
use crate::clock::Timestamp;
use crate::seal::{Head, Origin, RemoteMark};
use crate::secret::{ConflictOn, ConflictPolicy, OnBackendDelete, WriteMode};

/// Both sides of a path.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    /// Our head, with what was last agreed in its origin; `None` if there is none.
    pub(super) local: Option<&'a Head>,
    /// The remote side; `None` if the backend says that there is nothing of this name.
    pub(super) remote: Option<&'a RemoteMark>,
    /// What comparing both contents yielded, once that was done.
    pub(super) same: Same,
    /// Decides which versions are deleted by now.
    pub(super) now: Timestamp,
}

/// Whether both sides hold the same, however they came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// Nobody looked yet.
    Unknown,
    /// They differ.
    No,
    /// The remote side is what was agreed and our current value on top of it: a push whose answer was lost.
    Value,
    /// They hold the same.
    Yes,
}

/// The settings a decision depends on.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) backend: &'a str,
    pub(super) route: u64,
    pub(super) conflict_on: ConflictOn,
    pub(super) conflict_policy: ConflictPolicy,
    pub(super) on_backend_delete: OnBackendDelete,
    pub(super) write_mode: WriteMode,
}

/// What is to be done. `conflict` says that the other side's change is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Neither side changed.
    Nothing,
    /// Both contents have to be compared first.
    Compare,
    /// Both changed to the same: remember that they agree.
    Confirm,
    /// The copy becomes what the remote side is.
    Pull { conflict: bool },
    /// The remote side becomes what the copy is.
    Push { conflict: bool },
    /// The remote side is deleted as the copy was.
    DeleteRemote { conflict: bool },
    /// The copy is removed as the remote side was.
    DeleteLocal { conflict: bool },
    /// Nobody wins: it is flagged and served as it is.
    Flag,
    /// The sides differ and stay so.
    Keep,
    /// Flagged before, and not resolved yet.
    Held,
    /// Our record is not a copy of this route.
    Foreign(Foreign),
}

/// Whose a record is that stands where a copy would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// A local secret.
    Local,
    /// A copy made under another route, with changes that are nowhere else.
    Quarantined,
}

/// Decides.
pub(super) fn plan(sides: &Sides<'_>, terms: &Terms<'_>) -> Decision {
    let Some(local) = sides.local else {
        return if sides.remote.is_some() { Decision::Pull { conflict: false } } else { Decision::Nothing };
    };
    let Some(origin) = &local.origin else { return Decision::Foreign(Foreign::Local) };
    if origin.backend != terms.backend || origin.route != terms.route {
        return match sides.remote {
            _ if !is_spent(local, origin) => Decision::Foreign(Foreign::Quarantined),
            Some(_) => Decision::Pull { conflict: false },
            None => Decision::Nothing,
        };
    }
    if origin.conflict.is_some() {
        return Decision::Held;
    }
    let case = Case { sides, terms, local, origin };
    match (case.is_local_changed(), case.is_remote_changed()) {
        (false, false) => Decision::Nothing,
        (true, false) => case.ahead(false),
        (false, true) => case.behind(),
        (true, true) => case.settle(),
    }
}

/// Whether a quarantined copy holds nothing the other side did not have: it may be replaced.
pub(super) fn is_spent(local: &Head, origin: &Origin) -> bool {
    let agreed = origin.agreed.as_ref();
    origin.conflict.is_none() && agreed.is_some_and(|agreed| agreed.local == local.fingerprint())
}

/// Whether the newest version of a secret was deleted, destroyed or purged.
pub(super) fn is_gone(head: &Head, now: Timestamp) -> bool {
    match head.versions.get(&head.current) {
        Some(version) => !version.is_readable(now),
        // a secret that never had a value is no deleted one
        None => head.current > 0,
    }
}

/// A path whose record is a copy of the route in question and not flagged.
struct Case<'a> {
    sides: &'a Sides<'a>,
    terms: &'a Terms<'a>,
    local: &'a Head,
    origin: &'a Origin,
}

impl Case<'_> {
    fn is_local_changed(&self) -> bool {
        self.origin.agreed.as_ref().is_none_or(|agreed| agreed.local != self.local.fingerprint())
    }

    fn is_remote_changed(&self) -> bool {
        match (&self.origin.agreed, self.sides.remote) {
            (Some(agreed), Some(remote)) => !mark::is_same(&agreed.remote, remote),
            (None, None) => false,
            _ => true,
        }
    }

    /// Whether the backend's secret is gone, or its newest version is and was not before.
    fn is_remote_deleted(&self) -> bool {
        let was_readable = self.origin.agreed.as_ref().is_none_or(|agreed| agreed.remote.readable);
        self.sides.remote.is_none_or(|remote| !remote.readable && was_readable)
    }

    fn is_local_gone(&self) -> bool {
        is_gone(self.local, self.sides.now)
    }

    /// The local side alone changed, or is the authority.
    fn ahead(&self, conflict: bool) -> Decision {
        if self.terms.write_mode != WriteMode::WriteThrough {
            return if conflict { Decision::Flag } else { Decision::Keep };
        }
        match self.sides.remote {
            Some(remote) if remote.readable && self.is_local_gone() => Decision::DeleteRemote { conflict },
            // deleted here and never or no more there: only the tombstone is left
            None if self.is_local_gone() => Decision::DeleteLocal { conflict: false },
            _ => Decision::Push { conflict },
        }
    }

    /// The remote side alone changed.
    fn behind(&self) -> Decision {
        let (on, policy) = (self.terms.conflict_on, self.terms.conflict_policy);
        if policy != ConflictPolicy::LocalWins && on == ConflictOn::Both {
            return self.give_in(false);
        }
        self.settle()
    }

    /// A conflict, unless both sides turn out to hold the same.
    fn settle(&self) -> Decision {
        if self.sides.remote.is_none() && self.is_local_gone() {
            return self.give_in(false);
        }
        if self.sides.remote.is_some() {
            match self.sides.same {
                Same::Unknown => return Decision::Compare,
                Same::Yes => return Decision::Confirm,
                Same::Value if self.terms.write_mode == WriteMode::WriteThrough => return self.ahead(false),
                Same::Value | Same::No => {}
            }
        }
        match self.terms.conflict_policy {
            ConflictPolicy::BackendWins => self.give_in(true),
            ConflictPolicy::LocalWins => self.ahead(true),
            ConflictPolicy::Manual => Decision::Flag,
        }
    }

    /// The remote side's change is taken over.
    fn give_in(&self, conflict: bool) -> Decision {
        if self.terms.on_backend_delete == OnBackendDelete::Keep && self.is_remote_deleted() {
            return Decision::Keep;
        }
        match self.sides.remote {
            Some(_) => Decision::Pull { conflict },
            None => Decision::DeleteLocal { conflict },
        }
    }
}

#[cfg(test)]
mod tests;
