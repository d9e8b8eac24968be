//! Lists: complete, or an error.

use std::collections::HashSet;

use super::AwsBackend;
use super::fault::Told;
use super::neutral;
use super::read::parsed;
use super::schema::{ListSecrets, NameFilter, Secret, SecretPage};
use crate::backend::{Ask, BackendError, Listed, further};
use crate::secret::Described;

/// As many as the service gives at once.
const PAGE: u32 = 100;
/// More names than an account's quota in any region allows for by default are not held in memory.
const MOST: usize = 100_000;
/// The longest text the service takes as a condition.
const MAX_FILTER: usize = 512;
const NOT_A_LIST: BackendError = BackendError::Unusable("not a list of secrets");
const TOO_MANY: BackendError = BackendError::Unusable("a list of more than 100,000 secrets");
const ENDLESS: BackendError = BackendError::Unusable("a list that turns in circles");

impl AwsBackend {
    /// Every name below the folder that begins so there, whatever is deleted and restorable too.
    pub(super) async fn names(&self, ask: Ask<'_>, begins: &str) -> Result<Listed, BackendError> {
        let folder = prefix(ask.remote.as_str());
        let prefix = format!("{folder}{begins}");
        let mut found = Found::below(&folder, begins);
        let mut pages = Pages::default();
        loop {
            let body = ListSecrets {
                max_results: PAGE,
                include_planned_deletion: true,
                filters: filter(&prefix),
                next_token: pages.token(),
            };
            match self.upstream.ask("ListSecrets", &body, ask.request_id).await? {
                Told::Answer(answer) => {
                    let page: SecretPage = parsed(&answer, NOT_A_LIST)?;
                    found.take(page.secret_list)?;
                    if !pages.turn(page.next_token)? {
                        let Found { names, described, .. } = found;
                        return Ok(Listed { names, native: None, described });
                    }
                    further().await?;
                }
                // a list is there, even if it is empty
                _ => return Err(NOT_A_LIST),
            }
        }
    }
}

/// What all names below a folder begin with.
fn prefix(folder: &str) -> String {
    match folder.trim_end_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    }
}

/// Has the service leave out what does not begin so, as far as it would understand that.
fn filter(prefix: &str) -> Option<[NameFilter<'_>; 1]> {
    // an exclamation mark turns a condition around, and what no name holds is refused
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    let length = prefix.bytes().take(MAX_FILTER).take_while(|byte| is_plain(*byte)).count();
    let plain = prefix.get(..length).filter(|plain| !plain.is_empty())?;
    Some([NameFilter { key: "name", values: [plain] }])
}

/// A list while it grows.
struct Found<'a> {
    folder: &'a str,
    begins: &'a str,
    names: Vec<String>,
    described: Vec<Described>,
    seen: HashSet<String>,
}

impl<'a> Found<'a> {
    fn below(folder: &'a str, begins: &'a str) -> Self {
        Self { folder, begins, names: Vec::new(), described: Vec::new(), seen: HashSet::new() }
    }

    /// Adds a page. Filters are understood in more ways than one; what is below the folder and begins so is decided here.
    fn take(&mut self, page: Vec<Secret>) -> Result<(), BackendError> {
        for secret in page {
            let is_meant = |name: &&str| !name.is_empty() && name.starts_with(self.begins);
            let Some(name) = secret.name.strip_prefix(self.folder).filter(is_meant) else { continue };
            // a secret that came while pages were turned may be on two of them
            if !self.seen.insert(name.to_owned()) {
                continue;
            }
            if self.names.len() == MOST {
                return Err(TOO_MANY);
            }
            self.names.push(name.to_owned());
            self.described.push(neutral::glance(&secret));
        }
        Ok(())
    }
}

/// Where in a list of pages we are.
#[derive(Default)]
pub(super) struct Pages {
    token: Option<String>,
    seen: HashSet<String>,
}

impl Pages {
    /// What asks for the next page; `None` for the first.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether there is another page behind the one that came with `next`. No token is followed twice.
    pub(super) fn turn(&mut self, next: Option<String>) -> Result<bool, BackendError> {
        self.token = next.filter(|token| !token.is_empty());
        match &self.token {
            None => Ok(false),
            Some(token) if self.seen.insert(token.clone()) => Ok(true),
            Some(_) => Err(ENDLESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str]) -> Vec<Secret> {
        let secret = |name: &&str| Secret { name: (*name).to_owned(), ..Secret::default() };
        names.iter().map(secret).collect()
    }

    #[test]
    fn names_are_those_below_the_folder_and_each_once() {
        let mut found = Found::below("app/", "");
        found.take(page(&["app/a", "App/b", "app", "app/", "apps/c", "app/x/y", "app//z"])).unwrap();
        found.take(page(&["app/x/y", "app/last"])).unwrap();
        assert_eq!(found.names, ["a", "x/y", "/z", "last"]);
        assert_eq!(found.described.len(), found.names.len());
        let mut all = Found::below("", "");
        all.take(page(&["a", "b/c"])).unwrap();
        assert_eq!(all.names, ["a", "b/c"]);
        let mut some = Found::below("app/", "db-");
        some.take(page(&["app/db-1", "app/db", "app/DB-2", "app/db-x/y", "db-3"])).unwrap();
        assert_eq!(some.names, ["db-1", "db-x/y"]);
    }

    #[test]
    fn filters_are_sent_where_they_mean_what_is_meant() {
        for (folder, expected) in
            [("", None), ("app", Some("app/")), ("app/x/", Some("app/x/")), ("!a", None), ("a b", Some("a"))]
        {
            let prefix = prefix(folder);
            assert_eq!(filter(&prefix).map(|[filter]| filter.values), expected.map(|text| [text]), "{folder}");
        }
    }

    #[test]
    fn w14_pages_end_or_the_list_fails() {
        let mut pages = Pages::default();
        assert_eq!(pages.token(), None);
        assert!(pages.turn(Some("a".to_owned())).unwrap());
        assert_eq!(pages.token(), Some("a"));
        assert!(pages.turn(Some("b".to_owned())).unwrap());
        assert!(matches!(pages.turn(Some("a".to_owned())), Err(BackendError::Unusable(_))));
        for end in [None, Some(String::new())] {
            assert!(!Pages::default().turn(end).unwrap());
        }
    }

    #[test]
    fn a_list_has_no_end_but_its_own() {
        let mut found = Found::below("", "");
        let many: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(found.take(page(&names)), Err(BackendError::Unusable(_))));
    }
}
