//! The second table of a tenant: every backend's rules in configured order, and the folders of the local store.
//!
//! The first rule that matches over all backends wins; a path no rule matches is local if it lies in a local folder.
//! A local folder inside a rule's reach is refused when compiling, so which of the two serves a path is never a matter
//! of order. Knows backends by their position only.

use std::fmt;

use super::folders::FolderKind;
use super::table::{Table, Trial};
use super::target::{Target, Targets};
use super::{Problem, RuleSpec, Side, Unmapped};
use crate::secret::{Folder, Mode, RemoteName, SecretPath};

/// One backend's part of the table.
#[derive(Clone, Debug)]
pub struct BackendRules {
    /// The backend's configured name, for `explain`.
    pub backend: Box<str>,
    /// Its rules, in order.
    pub rules: Vec<RouteSpec>,
}

/// One rule and how what it maps is served.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The templates; `to` is the backend's side.
    pub rule: RuleSpec,
    /// How the paths are served.
    pub mode: Mode,
    /// The declared KV version, for Vault backends.
    pub kv_version: Option<u8>,
    /// Whether the paths may be written.
    pub writable: bool,
}

/// A rule of a router: the positions of its backend and of itself in the backend's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Index into the backends in configured order.
    pub backend: u32,
    /// Index into that backend's rules.
    pub rule: u32,
}

impl RuleId {
    fn new(backend: usize, rule: usize) -> Self {
        let position = |index| u32::try_from(index).unwrap_or(u32::MAX);
        Self { backend: position(backend), rule: position(rule) }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.rule)
    }
}

/// Where a secret path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path asked for.
    pub path: SecretPath,
    /// The rule that matched; `None` for the local store.
    pub rule: Option<RuleId>,
    /// How the path is served.
    pub mode: Mode,
    /// Where it is, in the order to try; empty for the local store.
    pub targets: Targets,
}

/// A source of the names directly in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// The local store holds the folder, or something below it.
    Local,
    /// A backend's rule can yield children of the folder.
    Backend {
        /// The rule.
        rule: RuleId,
        /// Index into the backends in configured order.
        backend: u32,
        /// How the rule's paths are served.
        mode: Mode,
        /// The declared KV version, for Vault backends.
        kv_version: Option<u8>,
        /// What the rule can contribute.
        kind: FolderKind,
    },
}

/// All rules of a tenant's backends and the folders of its local store.
#[derive(Clone, Debug)]
pub struct Router {
    backends: Box<[Backend]>,
    local: Box<[Folder]>,
    all_local: bool,
}

#[derive(Clone, Debug)]
struct Backend {
    name: Box<str>,
    table: Table,
    serving: Box<[Serving]>,
    /// Each rule as it is configured: two that are spelled alike map alike.
    spelled: Box<[String]>,
}

/// What is configured beside a rule's templates.
#[derive(Clone, Copy, Debug)]
struct Serving {
    mode: Mode,
    kv_version: Option<u8>,
    writable: bool,
}

impl Router {
    /// Compiles the tables of all backends. With `all_local` every path no rule matches is local.
    ///
    /// # Errors
    /// Every problem, keyed `backends[1].path_mapping[0].from` or, for a local folder in which a rule could match,
    /// `store.local[0]`.
    pub fn compile(backends: &[BackendRules], local: &[Folder], all_local: bool) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut compiled = Vec::with_capacity(backends.len());
        for (index, rules) in backends.iter().enumerate() {
            match Backend::compile(rules) {
                Ok(backend) => compiled.push(backend),
                Err(found) => problems.extend(found.into_iter().map(|Problem { key, message }| Problem {
                    key: format!("backends[{index}].path_mapping{key}"),
                    message,
                })),
            }
        }
        let router = Self { backends: compiled.into_boxed_slice(), local: Box::from(local), all_local };
        if problems.is_empty() {
            problems = router.contested_folders();
        }
        if problems.is_empty() { Ok(router) } else { Err(problems) }
    }

    /// Where `path` leads; `None` if no rule matches and it is not local.
    #[must_use]
    pub fn resolve(&self, path: &SecretPath) -> Option<Route> {
        if let Some((rule, serving, remote)) = self.locate(path.as_str()) {
            let target = Target { backend: rule.backend, remote, kv_version: serving.kv_version };
            let targets = Targets::one(target);
            return Some(Route { path: path.clone(), rule: Some(rule), mode: serving.mode, targets });
        }
        let is_local = self.all_local || self.local.iter().any(|folder| folder.holds(path));
        is_local.then(|| Route { path: path.clone(), rule: None, mode: Mode::Local, targets: Targets::none() })
    }

    /// The path that leads to `remote` on `backend`, and the rule it goes by.
    ///
    /// # Errors
    /// Why there is none; shadowed also when a rule of an earlier backend takes the path.
    pub fn reverse(&self, backend: u32, remote: &RemoteName) -> Result<(SecretPath, RuleId), Unmapped<RuleId>> {
        let held = self.backend(backend).ok_or(Unmapped::NoRule)?;
        let id = |rule: usize| RuleId { backend, rule: u32::try_from(rule).unwrap_or(u32::MAX) };
        let locate = |path: &str| self.locate(path).map(|(rule, _, name)| (rule, name.as_str().to_owned()));
        let (rule, path) = held.table.backward_by(remote.as_str(), id, locate)?;
        let path = SecretPath::parse(&path).map_err(|_| Unmapped::NotAName)?;
        Ok((path, rule))
    }

    /// Where names directly in the folder can come from: the local store first when it serves the folder or anything
    /// below it, then every rule in order. May promise too much: drop each name that does not resolve to the same rule,
    /// and each folder for which [`Router::could_yield`] is false.
    #[must_use]
    pub fn list(&self, folder: &Folder) -> Vec<ListSource> {
        let mut sources = Vec::new();
        if self.all_local || self.local.iter().any(|local| is_related(local, folder)) {
            sources.push(ListSource::Local);
        }
        for (index, backend) in self.backends.iter().enumerate() {
            for source in backend.table.folders(folder.as_str()) {
                let Some(serving) = backend.serving.get(source.rule) else { continue };
                let rule = RuleId::new(index, source.rule);
                let Serving { mode, kv_version, .. } = *serving;
                sources.push(ListSource::Backend { rule, backend: rule.backend, mode, kv_version, kind: source.kind });
            }
        }
        sources
    }

    /// Whether a path strictly below `folder` could match the rule.
    #[must_use]
    pub fn could_yield(&self, rule: RuleId, folder: &Folder) -> bool {
        let Ok(index) = usize::try_from(rule.rule) else { return false };
        self.backend(rule.backend).is_some_and(|backend| backend.table.could_yield(index, folder.as_str()))
    }

    /// The earlier rules that can take paths from this one, each in one text for all it says. When one of them is not
    /// there any more, the rule leads to paths it did not lead to before. Empty for a rule that does not exist.
    #[must_use]
    pub fn ahead_of(&self, rule: RuleId) -> Vec<&str> {
        let own = usize::try_from(rule.rule).ok().and_then(|at| self.backend(rule.backend)?.table.compiled().get(at));
        let Some(own) = own else { return Vec::new() };
        let mut ahead = Vec::new();
        for (index, backend) in self.backends.iter().enumerate() {
            for (at, (earlier, spelled)) in backend.table.compiled().iter().zip(backend.spelled.iter()).enumerate() {
                if RuleId::new(index, at) >= rule {
                    return ahead;
                }
                if earlier.from.overlaps(&own.from) {
                    ahead.push(spelled.as_str());
                }
            }
        }
        ahead
    }

    /// Whether the rule's paths may be written; false for a rule that does not exist.
    #[must_use]
    pub fn is_writable(&self, rule: RuleId) -> bool {
        let Ok(index) = usize::try_from(rule.rule) else { return false };
        self.backend(rule.backend)
            .and_then(|backend| backend.serving.get(index))
            .is_some_and(|serving| serving.writable)
    }

    /// Every rule up to and including the first that matches, each with its backend's name.
    #[must_use]
    pub fn trial(&self, path: &SecretPath) -> Vec<(Box<str>, Trial)> {
        let mut trials = Vec::new();
        for backend in &self.backends {
            trials.extend(backend.table.trial(path.as_str()).into_iter().map(|trial| (backend.name.clone(), trial)));
            if trials.last().is_some_and(|(_, trial)| trial.outcome.is_ok()) {
                break;
            }
        }
        trials
    }

    /// The deepest folder, named by literals, in which all of a backend's rules map; `None` if that is the root or the
    /// backend has no rules.
    #[must_use]
    pub fn backend_folder(&self, backend: u32) -> Option<Folder> {
        let mut rules = self.backend(backend)?.table.compiled().iter().map(|rule| rule.from.literal_folder());
        let first = rules.next()?;
        let shared = rules.fold(first, |shared, folder| {
            shared.into_iter().zip(folder).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
        });
        Folder::parse(&shared.join("/")).ok().filter(|folder| !folder.is_root())
    }

    fn backend(&self, index: u32) -> Option<&Backend> {
        self.backends.get(usize::try_from(index).ok()?)
    }

    /// The first rule over all backends that maps the path.
    fn locate(&self, path: &str) -> Option<(RuleId, Serving, RemoteName)> {
        self.backends.iter().enumerate().find_map(|(index, backend)| {
            let mapped = backend.table.first(path)?;
            let serving = *backend.serving.get(mapped.rule)?;
            Some((RuleId::new(index, mapped.rule), serving, RemoteName::parse(&mapped.name)?))
        })
    }

    fn contested_folders(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, folder) in self.local.iter().enumerate() {
            for backend in &self.backends {
                let rules = backend.table.rules().enumerate();
                for (rule, (from, _)) in rules.filter(|(rule, _)| backend.table.could_yield(*rule, folder.as_str())) {
                    problems.push(Problem {
                        key: format!("store.local[{index}]"),
                        message: format!(
                            "rule {rule} of backend `{}` (`{}`) also maps paths in the local folder `{folder}`; narrow the \
                             rule or drop the folder",
                            backend.name,
                            from.escape_debug(),
                        ),
                    });
                }
            }
        }
        problems
    }
}

impl Backend {
    fn compile(rules: &BackendRules) -> Result<Self, Vec<Problem>> {
        let specs: Vec<RuleSpec> = rules.rules.iter().map(|route| route.rule.clone()).collect();
        let serving = rules.rules.iter().map(|route| Serving {
            mode: route.mode,
            kv_version: route.kv_version,
            writable: route.writable,
        });
        let table = Table::compile(&specs, Side::To)?;
        let spelled = specs.iter().map(|RuleSpec { from, to, separator, escape }| {
            // no template holds a control character
            format!("{from}\n{to}\n{}\n{escape}", separator.as_deref().unwrap_or_default())
        });
        Ok(Self { name: rules.backend.clone(), table, serving: serving.collect(), spelled: spelled.collect() })
    }
}

/// Whether one folder is the other or holds it.
fn is_related(one: &Folder, two: &Folder) -> bool {
    one.ancestors().any(|folder| folder == two.as_str()) || two.ancestors().any(|folder| folder == one.as_str())
}

#[cfg(test)]
mod tests;
