//! What the API shows of a tenant's backends: part of the snapshot, made with it.

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::policy::Resource;
use crate::secret::{BackendId, Folder};

/// A tenant's backends as the API knows them, in the order they are tried.
#[derive(Clone, Debug, Default)]
pub struct FederationView {
    /// All of them, those this release cannot serve included.
    pub backends: Vec<BackendView>,
}

/// One backend.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// Its id.
    pub id: BackendId,
    /// Its configured name, unique in the tenant.
    pub name: Box<str>,
    /// Its position among the tenant's backends and in the router; `None` if no rule of it is served.
    pub index: Option<u32>,
    /// The deepest folder that holds all its rules, if that is not the root: what its policies are about.
    pub folder: Option<Folder>,
    /// Where it was made.
    pub source: BackendSource,
    /// Its settings as an object ([`crate::config::describe_backend`]): credentials are references.
    pub settings: Value,
    /// Why this release cannot serve it.
    pub unsupported: Option<Box<str>>,
}

/// Where a backend was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendSource {
    /// In the configuration file, under this key: read-only in the API.
    File {
        /// As in `tenants.payments.backends[0]`.
        key: Box<str>,
    },
    /// Over the API.
    Api,
}

impl FederationView {
    /// The backend of an id.
    #[must_use]
    pub fn find(&self, id: &BackendId) -> Option<&BackendView> {
        self.backends.iter().find(|backend| backend.id == *id)
    }
}

impl BackendView {
    /// What policy is asked about.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource::Backend { name: &self.name, folder: self.folder.as_ref() }
    }

    /// The document of `GET /v1/federation/backends/{id}`.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        let (source, key) = match &self.source {
            BackendSource::File { key } => ("file", Value::from(&**key)),
            BackendSource::Api => ("api", Value::Null),
        };
        put("id", Value::from(self.id.as_str()));
        put("source", Value::from(source));
        put("read_only", Value::from(!key.is_null()));
        put("config_key", key);
        put("unsupported", self.unsupported.as_deref().map_or(Value::Null, Value::from));
        if let Value::Object(settings) = &self.settings {
            fields.extend(settings.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Value::Object(fields)
    }

    /// Its rules: templates of secret paths and of remote names.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        let rules = self.settings.get("path_mapping").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        rules.iter().map(|rule| {
            let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            (text("from"), text("to"))
        })
    }
}

/// The path of a backend, or of something below it.
pub(super) fn location(id: &str, below: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("/v1/federation/backends/{id}{below}")).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backend_is_shown_with_its_settings_and_where_it_was_made() {
        let mut view = BackendView {
            id: BackendId::from_bytes([3; 16]),
            name: "v".into(),
            index: Some(0),
            folder: None,
            source: BackendSource::Api,
            settings: json!({"name": "v", "mode": "proxy", "path_mapping": [{"from": "a/**", "to": "b/**"}]}),
            unsupported: None,
        };
        let shown = view.shown();
        assert_eq!(shown["id"], view.id.as_str());
        assert_eq!((&shown["source"], &shown["read_only"]), (&json!("api"), &json!(false)));
        assert_eq!((&shown["config_key"], &shown["mode"]), (&Value::Null, &json!("proxy")));
        assert_eq!(view.rules().collect::<Vec<_>>(), [("a/**", "b/**")]);
        view.source = BackendSource::File { key: "backends[0]".into() };
        view.unsupported = Some("no client".into());
        let shown = view.shown();
        assert_eq!((&shown["read_only"], &shown["config_key"]), (&json!(true), &json!("backends[0]")));
        assert_eq!(shown["unsupported"], "no client");
    }
}
