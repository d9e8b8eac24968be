//! All issuers of all tenants: from a bearer text to a principal.

use std::collections::HashMap;
use std::sync::Arc;

use super::key_ring::{KeyRing, Standing};
use super::parts::Parts;
use super::rule::{Hold, IssuerRule};
use super::verified::{Verified, VerifiedTokens};
use crate::clock::Timestamp;
use crate::identity::digest::Digest;
use crate::identity::moment::Moment;
use crate::identity::{IdentityError, JwtFault, Principal};
use crate::secret::Tenant;

/// The rules of a configuration and what was verified under them.
pub(in crate::identity) struct Issuers {
    rules: HashMap<String, Vec<IssuerRule>>,
    verified: VerifiedTokens,
}

/// A verified token.
#[derive(Debug)]
pub(in crate::identity) struct Accepted {
    pub(in crate::identity) principal: Arc<Principal>,
    /// When the token ends, leeway included.
    pub(in crate::identity) end: Timestamp,
}

/// What is known about a token without waiting.
pub(in crate::identity) enum Verdict {
    /// It is good.
    Accepted(Accepted),
    /// It is not, or its issuer's keys cannot be had now.
    Refused(IdentityError),
    /// These keys must be fetched first; then ask again.
    Fetch(Arc<KeyRing>),
}

/// When a token is judged.
#[derive(Clone, Copy)]
struct Now {
    wall: Timestamp,
    moment: Moment,
}

impl Issuers {
    pub(in crate::identity) fn new(rules: HashMap<String, Vec<IssuerRule>>) -> Self {
        Self { rules, verified: VerifiedTokens::new() }
    }

    /// Judges a bearer token; its issuer and claims decide the tenant.
    pub(in crate::identity) fn judge(&self, token: &str, digest: &Digest, wall: Timestamp, moment: Moment) -> Verdict {
        if let Some(verdict) = self.remembered(digest, wall, moment) {
            return verdict;
        }
        match self.verify(token, None, Now { wall, moment }) {
            Ok(verified) => {
                self.verified.insert(digest, verified.clone());
                Verdict::Accepted(Accepted { principal: verified.principal, end: verified.end })
            }
            Err(verdict) => verdict,
        }
    }

    /// Judges a token that is presented for a login at `tenant`.
    pub(in crate::identity) fn judge_for(
        &self,
        token: &str,
        tenant: &Tenant,
        wall: Timestamp,
        moment: Moment,
    ) -> Verdict {
        match self.verify(token, Some(tenant), Now { wall, moment }) {
            Ok(verified) => Verdict::Accepted(Accepted { principal: verified.principal, end: verified.end }),
            Err(verdict) => verdict,
        }
    }

    fn remembered(&self, digest: &Digest, wall: Timestamp, moment: Moment) -> Option<Verdict> {
        let verified = self.verified.find(digest)?;
        if wall < verified.end {
            match verified.ring.standing(verified.generation, moment) {
                Standing::Same => {
                    return Some(Verdict::Accepted(Accepted { principal: verified.principal, end: verified.end }));
                }
                Standing::Fetch => return Some(Verdict::Fetch(verified.ring)),
                Standing::Changed => {}
            }
        }
        self.verified.remove(digest);
        None
    }

    /// The first rule of a tenant that accepts the token decides; if two tenants accept it nobody does.
    fn verify(&self, token: &str, only: Option<&Tenant>, now: Now) -> Result<Verified, Verdict> {
        let (parts, end) = parse(token, now.wall)?;
        let rules = self.rules.get(parts.claims.issuer().map_err(refused)?).map(Vec::as_slice).unwrap_or_default();
        let mut winner: Option<Verified> = None;
        let mut error = IdentityError::Jwt(JwtFault::Issuer);
        for rule in rules.iter().filter(|rule| only.is_none_or(|tenant| tenant == rule.tenant())) {
            if winner.as_ref().is_some_and(|winner| winner.principal.tenant() == rule.tenant()) {
                continue;
            }
            match rule.judge(&parts, token, now.moment) {
                Ok(_) if winner.is_some() => return Err(refused(JwtFault::Ambiguous)),
                Ok((principal, generation)) => {
                    winner = Some(Verified { principal, end, ring: Arc::clone(rule.ring()), generation });
                }
                Err(Hold::Fetch) => return Err(Verdict::Fetch(Arc::clone(rule.ring()))),
                Err(Hold::Unavailable) => error = unavailable(&parts),
                Err(Hold::Fault(fault)) => {
                    if !matches!(error, IdentityError::KeysUnavailable(_)) {
                        error = IdentityError::Jwt(fault);
                    }
                }
            }
        }
        winner.ok_or(Verdict::Refused(error))
    }
}

fn parse(token: &str, wall: Timestamp) -> Result<(Parts, Timestamp), Verdict> {
    let parts = Parts::parse(token).map_err(refused)?;
    let end = parts.claims.end(wall).map_err(refused)?;
    Ok((parts, end))
}

fn refused(fault: JwtFault) -> Verdict {
    Verdict::Refused(IdentityError::Jwt(fault))
}

// The issuer is one of the configuration here: a rule was found by it.
fn unavailable(parts: &Parts) -> IdentityError {
    IdentityError::KeysUnavailable(Box::from(parts.claims.issuer().unwrap_or_default()))
}
