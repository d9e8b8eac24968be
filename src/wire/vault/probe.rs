//! What our credential may do at the server, asked without doing it.

use std::collections::BTreeMap;

use http::Method;
use serde::Serialize;

use super::backend::VaultBackend;
use super::exchange::Plan;
use super::neutral;
use crate::backend::{Ask, Attempt, BackendError};

/// The name asked about in a folder; nothing is read or written there.
const ANY_NAME: &str = "scaivault-proxy-probe";

/// The API paths a remote name's permissions lie at.
struct Places {
    secret: String,
    folder: String,
}

#[derive(Serialize)]
struct Question<'a> {
    paths: [&'a str; 2],
}

impl VaultBackend {
    pub(super) async fn permissions(&self, ask: Ask<'_>) -> Result<Vec<(&'static str, bool)>, BackendError> {
        let Places { secret, folder } = Places::of(ask);
        let url = self.upstream().url(["sys", "capabilities-self"]);
        let question = Question { paths: [&secret, &folder] };
        let plan = Plan::json(Method::POST, url, &question, Attempt::Repeatable, ask.request_id)?;
        let answer = self.upstream().exchange(&plan).await?;
        let told: Option<BTreeMap<String, Vec<String>>> = neutral::data(&answer).ok().flatten();
        let told = told.ok_or(BackendError::Unusable("not an answer about capabilities"))?;
        Ok(verdict(&told, &secret, &folder))
    }
}

impl Places {
    fn of(ask: Ask<'_>) -> Self {
        let name = ask.remote.as_str();
        let (folder, secret) = match name.strip_suffix('/') {
            Some(folder) => (folder, format!("{folder}/{ANY_NAME}")),
            None => (name.rsplit_once('/').map_or("", |(folder, _)| folder), name.to_owned()),
        };
        let mut listed: Vec<&str> = folder.split('/').collect();
        if let Some(area) = ask.kv2_segment.and_then(|marker| listed.get_mut(marker)) {
            *area = "metadata";
        }
        // a list is asked for with a slash at the end, and rules are matched with it
        Self { secret, folder: format!("{}/", listed.join("/")) }
    }
}

fn verdict(told: &BTreeMap<String, Vec<String>>, secret: &str, folder: &str) -> Vec<(&'static str, bool)> {
    let may = |path: &str, wanted: &str| {
        told.get(path).is_some_and(|can| can.iter().any(|can| can == wanted || can == "root"))
    };
    vec![
        ("read", may(secret, "read")),
        ("list", may(folder, "list")),
        // the first version is a create, every other one an update
        ("write", may(secret, "create") && may(secret, "update")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Dialect, RemoteName};

    #[test]
    fn permissions_lie_where_the_engine_looks_for_them() {
        for (remote, kv2_segment, secret, folder) in [
            ("secret/data/app/db", Some(1), "secret/data/app/db", "secret/metadata/app/"),
            ("secret/data/db", Some(1), "secret/data/db", "secret/metadata/"),
            ("secret/data/app/", Some(1), "secret/data/app/scaivault-proxy-probe", "secret/metadata/app/"),
            ("kv1/app/one", None, "kv1/app/one", "kv1/app/"),
        ] {
            let remote = RemoteName::parse(remote).unwrap();
            let dialect = Dialect::Neutral;
            let ask = Ask { remote: &remote, kv2_segment, dialect, request_id: "", principal: None };
            let places = Places::of(ask);
            assert_eq!((places.secret.as_str(), places.folder.as_str()), (secret, folder), "{remote}");
        }
    }

    #[test]
    fn what_is_not_granted_is_not_allowed() {
        let body = r#"{"secret/data/app/x":["create","read"],"secret/metadata/app/":["list","read"]}"#;
        let told = serde_json::from_str(body).unwrap();
        let found = verdict(&told, "secret/data/app/x", "secret/metadata/app/");
        assert_eq!(found, [("read", true), ("list", true), ("write", false)]);
        assert_eq!(verdict(&told, "other", "other/"), [("read", false), ("list", false), ("write", false)]);
        let root = BTreeMap::from([("a".to_owned(), vec!["root".to_owned()])]);
        assert_eq!(verdict(&root, "a", "a"), [("read", true), ("list", true), ("write", true)]);
        let denied = BTreeMap::from([("a".to_owned(), vec!["deny".to_owned()])]);
        assert_eq!(verdict(&denied, "a", "a"), [("read", false), ("list", false), ("write", false)]);
    }
}
