//! What happened, and its form as a CloudEvent 1.0 in JSON.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use crate::clock::Timestamp;
use crate::secret::{BackendId, Tenant};

/// How many problems of a rejected configuration are told.
const MAX_PROBLEMS: usize = 20;
/// How much of each, in characters.
const MAX_PROBLEM: usize = 500;

/// What can happen. A closed set: subscribers and webhooks choose from it by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A sync run ended well.
    SyncCompleted,
    /// A sync run did not.
    SyncFailed,
    /// A backend has not answered for a while.
    BackendUnreachable,
    /// It answers again.
    BackendRecovered,
    /// A backend no longer lets our credential do what the rules need.
    BackendDenied,
    /// Both sides of a synced secret changed.
    ConflictDetected,
    /// A reload was refused; the configuration before it stays.
    ConfigRejected,
}

impl EventKind {
    /// Every kind, in the order of the configuration's documentation.
    pub const ALL: [Self; 7] = [
        Self::SyncCompleted,
        Self::SyncFailed,
        Self::BackendUnreachable,
        Self::BackendRecovered,
        Self::BackendDenied,
        Self::ConflictDetected,
        Self::ConfigRejected,
    ];

    /// The CloudEvents `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SyncCompleted => "federation.sync.completed",
            Self::SyncFailed => "federation.sync.failed",
            Self::BackendUnreachable => "federation.backend.unreachable",
            Self::BackendRecovered => "federation.backend.recovered",
            Self::BackendDenied => "federation.backend.denied",
            Self::ConflictDetected => "federation.conflict.detected",
            Self::ConfigRejected => "config.rejected",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Something that happened to one tenant.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose; nobody else hears of it.
    pub tenant: Tenant,
    /// What.
    pub kind: EventKind,
    /// The backend it is about, by id and configured name.
    pub backend: Option<(BackendId, Box<str>)>,
    /// More about it: an object or null. Never a value of a secret and never a credential.
    pub data: Value,
}

impl Event {
    /// A refused reload as one tenant may hear of it: `generation` is the configuration that stays, `problems` are the
    /// key path and the text of each. What lies under another tenant's keys is only counted.
    #[must_use]
    pub fn rejected(tenant: &Tenant, generation: u64, problems: &[(String, String)]) -> Self {
        let is_foreign = |key: &str| {
            key.strip_prefix("tenants.").is_some_and(|rest| rest.split('.').next() != Some(tenant.as_str()))
        };
        let own: Vec<Value> = problems
            .iter()
            .filter(|(key, _)| !is_foreign(key))
            .take(MAX_PROBLEMS)
            .map(|(key, text)| json!({"key": key, "text": text.chars().take(MAX_PROBLEM).collect::<String>()}))
            .collect();
        let not_shown = problems.len().saturating_sub(own.len());
        let data = json!({"generation": generation, "problems": own, "not_shown": not_shown});
        Self { tenant: tenant.clone(), kind: EventKind::ConfigRejected, backend: None, data }
    }

    /// Its CloudEvent, with a fresh id.
    pub(super) fn tell(self, instance: &str, now: Timestamp) -> Told {
        let id = Ulid::from_parts(now.micros() / 1000, (u128::from(draw()) << 64) | u128::from(draw())).to_string();
        let source = format!("/scaivault-proxy/{instance}/tenants/{}", self.tenant);
        let data = about(self.data, self.backend.as_ref());
        let envelope = Envelope {
            specversion: "1.0",
            id: &id,
            source: &source,
            kind: self.kind.as_str(),
            subject: self.backend.as_ref().map(|(id, _)| id.as_str()),
            time: &now.rfc3339(),
            datacontenttype: "application/json",
            data: &data,
        };
        // nothing in it can fail to be written: every key is a string
        let text = serde_json::to_string(&envelope).unwrap_or_default();
        Told { id, kind: self.kind, text: text.into() }
    }
}

/// An event as everybody who may hear of it is told.
#[derive(Debug)]
pub(super) struct Told {
    /// A ULID, the same in every delivery.
    pub(super) id: String,
    pub(super) kind: EventKind,
    /// The CloudEvent, on one line.
    pub(super) text: Arc<str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a Value,
}

/// The data with the backend's id and name in front, where it does not say them itself.
fn about(data: Value, backend: Option<&(BackendId, Box<str>)>) -> Value {
    let Some((id, name)) = backend else { return data };
    let fields = match data {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other => return other,
    };
    let mut all = Map::with_capacity(fields.len() + 1);
    all.insert("backend".to_owned(), json!({"id": id.as_str(), "name": name}));
    all.extend(fields);
    Value::Object(all)
}

/// A name as one segment of a URI reference.
pub(super) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Unique rather than secret: the standard library keys its hashers from the system's randomness and never fails to.
pub(super) fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_795_428_417_123_456);

    fn tenant() -> Tenant {
        Tenant::parse("payments").unwrap()
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let id = BackendId::from_bytes([7; 16]);
        let event = Event {
            tenant: tenant(),
            kind: EventKind::SyncCompleted,
            backend: Some((id.clone(), Box::from("vault-eu"))),
            data: json!({"created": 3}),
        };
        let told = event.tell(&segment("pod 7/é"), AT);
        let read: Value = serde_json::from_str(&told.text).unwrap();
        assert_eq!(
            read,
            json!({
                "specversion": "1.0",
                "id": told.id,
                "source": "/scaivault-proxy/pod%207%2F%C3%A9/tenants/payments",
                "type": "federation.sync.completed",
                "subject": id.as_str(),
                "time": "2026-11-23T10:06:57.123456Z",
                "datacontenttype": "application/json",
                "data": {"backend": {"id": id.as_str(), "name": "vault-eu"}, "created": 3},
            })
        );
        let ulid = Ulid::from_string(&told.id).unwrap();
        assert_eq!(ulid.timestamp_ms(), 1_795_428_417_123);
        assert!(!told.text.contains('\n'), "one line");
    }

    #[test]
    fn an_event_without_a_backend_has_no_subject_and_ids_differ() {
        let event = Event { tenant: tenant(), kind: EventKind::ConfigRejected, backend: None, data: Value::Null };
        let (one, other) = (event.clone().tell("i", AT), event.tell("i", AT));
        let read: Value = serde_json::from_str(&one.text).unwrap();
        assert!(read.get("subject").is_none());
        assert_eq!(read["data"], Value::Null);
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn kinds_read_back_and_are_those_of_the_configuration() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::parse("federation.sync"), None);
        assert_eq!(EventKind::ALL.map(EventKind::as_str), crate::config::EVENT_TYPES);
    }

    #[test]
    fn a_tenant_hears_nothing_of_what_is_wrong_with_another() {
        let problem = |key: &str| (key.to_owned(), "is wrong".to_owned());
        let problems = [
            problem("tenants.payments.policies[0]"),
            problem("tenants.payments-eu.policies[0]"),
            problem("tenants.search.backends[0].config"),
            problem("listeners[1].address"),
        ];
        let event = Event::rejected(&tenant(), 4, &problems);
        assert_eq!((event.data["generation"].as_u64(), event.data["not_shown"].as_u64()), (Some(4), Some(2)));
        let keys: Vec<&str> =
            event.data["problems"].as_array().unwrap().iter().filter_map(|one| one["key"].as_str()).collect();
        assert_eq!(keys, ["tenants.payments.policies[0]", "listeners[1].address"]);

        let many: Vec<(String, String)> = (0..50).map(|n| (format!("listeners[{n}]"), "é".repeat(2000))).collect();
        let event = Event::rejected(&tenant(), 1, &many);
        assert_eq!(event.data["problems"].as_array().unwrap().len(), 20);
        assert_eq!(event.data["not_shown"], 30);
        assert_eq!(event.data["problems"][0]["text"].as_str().unwrap().chars().count(), 500);
    }
}
