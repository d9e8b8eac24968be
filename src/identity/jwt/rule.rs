//! One entry under `identity.jwt`: which tokens of an issuer a tenant accepts, and as whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::claims::Claims;
use super::discovery::is_fetchable;
use super::key_ring::{KeyRing, Look};
use super::parts::Parts;
use super::template::Template;
use crate::identity::moment::Moment;
use crate::identity::{JwksLocation, JwtFault, JwtIssuer, Method, Principal};
use crate::secret::{Folder, Tenant};

const MAX_KNOWN: usize = 4096;

/// A compiled entry.
pub(in crate::identity) struct IssuerRule {
    tenant: Tenant,
    issuer: String,
    audiences: Vec<String>,
    allow: BTreeMap<String, Vec<String>>,
    principal: Template,
    groups: Vec<Template>,
    folders: Vec<Template>,
    ring: Arc<KeyRing>,
    // Principals made before, so that a client that comes back with a new token is the same principal to caches.
    known: Mutex<HashMap<Box<str>, Arc<Principal>>>,
}

/// Why a rule does not accept a token now.
pub(super) enum Hold {
    /// It never will.
    Fault(JwtFault),
    /// The issuer's keys must be fetched first.
    Fetch,
    /// The issuer's keys cannot be had.
    Unavailable,
}

impl From<JwtFault> for Hold {
    fn from(fault: JwtFault) -> Self {
        Self::Fault(fault)
    }
}

impl IssuerRule {
    /// Compiles an entry. Problems are pairs of a key relative to the entry and a message.
    pub(in crate::identity) fn compile(
        tenant: &Tenant,
        settings: &JwtIssuer,
        ring: Arc<KeyRing>,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut checker = Checker { problems: place_problems(settings) };
        let principal = checker.template("principal".to_owned(), &settings.principal, check_id);
        let groups = checker.templates("groups", &settings.groups, check_group);
        let folders = checker.templates("folders", &settings.folders, check_folder);
        let problems = checker.problems;
        match principal {
            Some(principal) if problems.is_empty() => Ok(Self {
                tenant: tenant.clone(),
                issuer: settings.issuer.clone(),
                audiences: settings.audiences.clone(),
                allow: settings.allow.clone(),
                principal,
                groups,
                folders,
                ring,
                known: Mutex::default(),
            }),
            _ => Err(problems),
        }
    }

    pub(in crate::identity) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Whether some token is bound to be accepted by both rules: same issuer, a common audience, and one of them
    /// accepts everything.
    pub(in crate::identity) fn overlaps(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.audiences.iter().any(|audience| other.audiences.contains(audience))
            && (self.allow.is_empty() || other.allow.is_empty())
    }

    pub(super) fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Whether this rule accepts the token: cheap claims first, then the signature, then the name. Returns the
    /// principal and the generation of keys that proved it.
    pub(super) fn judge(&self, parts: &Parts, token: &str, now: Moment) -> Result<(Arc<Principal>, u64), Hold> {
        parts.claims.check_audience(&self.audiences)?;
        parts.claims.check_allowed(&self.allow)?;
        let (keys, generation) = match self.ring.look(parts.kid.as_deref(), now) {
            Look::Use(keys, generation) => (keys, generation),
            Look::Fetch => return Err(Hold::Fetch),
            Look::Unavailable => return Err(Hold::Unavailable),
        };
        let key = keys.find(parts.kid.as_deref()).ok_or(JwtFault::Key)?;
        key.verify(token, parts.algorithm, &self.issuer, &self.audiences)?;
        Ok((self.name(&parts.claims)?, generation))
    }

    fn name(&self, claims: &Claims) -> Result<Arc<Principal>, JwtFault> {
        let id = self.principal.expand(claims)?;
        Principal::check_id(&id).map_err(|_| JwtFault::Template)?;
        let mut groups: Vec<Box<str>> = Vec::with_capacity(self.groups.len());
        for template in &self.groups {
            let group = template.expand(claims)?;
            Principal::check_group(&group).map_err(|_| JwtFault::Template)?;
            groups.push(group.into_boxed_str());
        }
        let mut folders = Vec::with_capacity(self.folders.len());
        for template in &self.folders {
            folders.push(parse_folder(&template.expand(claims)?).map_err(|_| JwtFault::Template)?);
        }
        Ok(self.share(Principal::new(self.tenant.clone(), &id, Method::Jwt, groups, folders)))
    }

    fn share(&self, principal: Principal) -> Arc<Principal> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(principal.id())
            && same.groups() == principal.groups()
            && same.folders() == principal.folders()
        {
            return Arc::clone(same);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let principal = Arc::new(principal);
        known.insert(Box::from(principal.id()), Arc::clone(&principal));
        principal
    }
}

type Check = fn(&str) -> Result<(), String>;

/// Parses the templates of an entry and collects what is wrong with them.
struct Checker {
    problems: Vec<(String, String)>,
}

impl Checker {
    fn template(&mut self, key: String, text: &str, check: Check) -> Option<Template> {
        let parsed = Template::parse(text).map_err(str::to_owned);
        let checked = parsed.and_then(|template| check(&template.sample()).map(|()| template));
        checked.map_err(|message| self.problems.push((key, message))).ok()
    }

    fn templates(&mut self, name: &str, texts: &[String], check: Check) -> Vec<Template> {
        let mut parsed = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            parsed.extend(self.template(format!("{name}[{index}]"), text, check));
        }
        parsed
    }
}

fn check_id(sample: &str) -> Result<(), String> {
    Principal::check_id(sample).map_err(|error| error.to_string())
}

fn check_group(sample: &str) -> Result<(), String> {
    Principal::check_group(sample).map_err(|error| error.to_string())
}

fn check_folder(sample: &str) -> Result<(), String> {
    parse_folder(sample).map(|_| ())
}

/// A folder a principal may call its own: any but the root.
pub(in crate::identity) fn parse_folder(text: &str) -> Result<Folder, String> {
    match Folder::parse(text) {
        Ok(folder) if folder.is_root() => Err("is empty: the root is nobody's own folder".to_owned()),
        Ok(folder) => Ok(folder),
        Err(error) => Err(error.to_string()),
    }
}

fn place_problems(settings: &JwtIssuer) -> Vec<(String, String)> {
    const ADDRESS: &str = "must be an `https` URL without userinfo (`http` only for loopback addresses)";
    let mut problems = Vec::new();
    let mut problem = |key: &str, message: &str| problems.push((key.to_owned(), message.to_owned()));
    if settings.issuer.is_empty() {
        problem("issuer", "must not be empty");
    }
    match &settings.jwks {
        JwksLocation::Url(address) if !is_fetchable(address) => problem("jwks_url", ADDRESS),
        JwksLocation::Discovery if !is_fetchable(&settings.issuer) => problem("issuer", ADDRESS),
        _ => {}
    }
    if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
        problem("audiences", "must name at least one audience, none of them empty");
    }
    for (claim, values) in &settings.allow {
        if claim.is_empty() || values.is_empty() {
            problem(&format!("allow.{claim}"), "must list at least one value: without any it accepts nothing");
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::rig::issuer;

    fn problems(change: impl FnOnce(&mut JwtIssuer)) -> Vec<String> {
        let mut settings = issuer("https://i.example");
        change(&mut settings);
        let ring = Arc::new(KeyRing::new(settings.clone()));
        let compiled = IssuerRule::compile(&Tenant::default_tenant(), &settings, ring);
        compiled.err().unwrap_or_default().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn every_problem_of_an_entry_is_found() {
        assert!(problems(|_| {}).is_empty());
        let all = problems(|settings| {
            settings.issuer = "http://i.example".into();
            settings.audiences.clear();
            settings.allow.insert("team".into(), vec![]);
            settings.principal = "{a}{b}".into();
            settings.groups = vec!["ok".into(), "not ok".into()];
            settings.folders = vec!["apps/{sub}".into(), "/x".into(), String::new()];
        });
        assert_eq!(all, ["issuer", "audiences", "allow.team", "principal", "groups[1]", "folders[1]", "folders[2]"]);
        assert_eq!(problems(|s| s.principal = "system/{sub}".into()), ["principal"]);
        assert_eq!(problems(|s| s.principal = String::new()), ["principal"]);
        assert_eq!(problems(|s| s.jwks = JwksLocation::Url("file:///etc/passwd".into())), ["jwks_url"]);
    }
}
